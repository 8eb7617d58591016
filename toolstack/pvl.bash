# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for pvl.  Commands and options come from pvl's own table, domains, disks and NICs from the host.

_pvl_complete()
{
	local cur=${COMP_WORDS[COMP_CWORD]} word cmd= host= skip= domain= nr=0 i
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $skip ]]; then
			[[ $skip == host ]] && host=$word
			skip=
			continue
		fi
		case $word in
		--host) skip=host ;;
		--timeout|--socket|--defconfig|--type|--num|--ready-fd) skip=other ;;
		-*) ;;
		*)
			if [[ ! $cmd ]]; then
				cmd=$word
			else
				[[ $domain ]] || domain=$word
				nr=$((nr + 1))
			fi ;;
		esac
	done
	local -a pvl=(pvl ${host:+--host "$host"})
	if [[ $skip == host ]]; then
		COMPREPLY=($(compgen -W 'xen local' -- "$cur"))
	elif [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$(pvl help --options $cmd 2>/dev/null)" -- "$cur"))
	elif [[ ! $cmd || ( $cmd == help && $nr == 0 ) ]]; then
		COMPREPLY=($(compgen -W "$(pvl help --list 2>/dev/null)" -- "$cur"))
	elif [[ $cmd == create ]]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	elif [[ $nr == 1 && ( $cmd == block-detach || $cmd == stats ) ]]; then
		COMPREPLY=($(compgen -W "$("${pvl[@]}" block-list --names "$domain" 2>/dev/null)" -- "$cur"))
	elif [[ $nr == 1 && $cmd == network-detach ]]; then
		COMPREPLY=($(compgen -W "$("${pvl[@]}" network-list --names "$domain" 2>/dev/null)" -- "$cur"))
	elif [[ $nr == 0 && $cmd == backend ]]; then
		COMPREPLY=($(compgen -W 'info upgrade resume refresh policy' -- "$cur"))
	elif [[ $nr == 1 && $cmd == backend && $domain == upgrade ]]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	elif [[ $nr == 1 && $cmd == trigger ]]; then
		COMPREPLY=($(compgen -W 'nmi reset init power sleep s3resume' -- "$cur"))
	elif [[ $cmd != info && $cmd != doctor && $cmd != vm-list && $cmd != help ]]; then
		COMPREPLY=($(compgen -W "$("${pvl[@]}" list --names 2>/dev/null)" -- "$cur"))
	fi
}
complete -o filenames -F _pvl_complete pvl
