# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab-functions.sh owns what the comparisons on real Xen have in common: their options, and one run of the lab under icount.
# Sourced with $peers and $seconds set to what they are by default, and usage() defined.

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
dest="" modules="" options="--seconds --dest --peers --modules"
while [ $# -gt 0 ]; do
	case $1 in -h | --help) usage; exit 0 ;; esac
	case " $options " in
	*" $1 "*)
		[ $# -gt 1 ] || { echo "${0##*/}: $1 needs a value" >&2; exit 2; }
		printf -v "${1#--}" %s "$2"
		shift 2
		;;
	*) echo "${0##*/}: $1 is no option of this" >&2; usage >&2; exit 2 ;;
	esac
done

if [ -z "$modules" ]; then
	modules=$top/build/modules/$(sed -n 's/^kernel=//p' "${PVBUS_CACHE:-$HOME/.cache/pvbus}/versions" 2>/dev/null || true)
fi

# module NAME: sets $files to the options of lab/run for a guest kernel module, where one of the peers needs it
files=()
module() {
	# shellcheck disable=SC2154 # the caller has it
	case " $peers " in *"+$1"*) ;; *) return 0 ;; esac
	[ -e "$modules/$1.ko" ] || { echo "${0##*/}: $modules/$1.ko: no such file; ./run bench --lab makes it" >&2; exit 2; }
	files+=(--file "$modules/$1.ko")
}

# measure LAB-OPTION...: $0.dom0 in dom0, with the seconds and the peers; sets $out to where its tables are; the run's status
measure() {
	local name=${0##*/} rc=0

	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# shellcheck disable=SC2086 # the list is words
	"$top/lab/run" --icount --with-fio --name "bench-${name#lab-}" "${files[@]}" "$@" ${dest:+--dest "$dest"} "$here/$name.dom0" \
		"$seconds" $peers 2>&1 | tee "$log" || rc=$?
	out=$(sed -n 's/.*logs in //p' "$log" | tail -n 1)/out
	rm -f "$log"
	echo
	return $rc
}
