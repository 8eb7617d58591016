# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for pvl.  pvl itself says what may come next: its commands, their options and arguments, domains,
# disks and NICs.

_pvl_complete()
{
	# bash splits words at ":" and "=", which are in MAC addresses and settings: split again, at blanks
	local line=${COMP_LINE:0:COMP_POINT} cur words
	read -ra words <<<"$line"
	[[ $line == *[[:blank:]] ]] && words+=('')
	cur=${words[-1]}
	local offer
	offer=$(pvl help --complete -- "${words[@]:1}" 2>/dev/null)
	if [[ $offer == *'<files>'* ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$cur")
	# what stands in front of the last ":" or "=" is there already
	local prefix=${cur%"${cur##*[:=]}"}
	COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
complete -F _pvl_complete pvl
