# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab-functions.sh owns what the comparisons on real Xen have in common: their options, one run of the lab under icount, and
# their results as a file that "pvl bench report" shows (pvbus-bench(7)).
# Sourced with $peers and $seconds set to what they are by default, and usage() defined.

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
dest="" json=""
while [ $# -gt 0 ]; do
	case $1 in
	--seconds | --dest | --peers | --modules | --json)
		[ $# -gt 1 ] || { echo "${0##*/}: $1 needs a value" >&2; exit 2; }
		printf -v "${1#--}" %s "$2"
		shift 2
		;;
	-h | --help) usage; exit 0 ;;
	*) echo "${0##*/}: $1 is no option of this" >&2; usage >&2; exit 2 ;;
	esac
done

# measure LAB-OPTION...: $0.dom0 in dom0, with the seconds and the peers; sets $out to where its tables are
measure() {
	local name=${0##*/}

	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# shellcheck disable=SC2086,SC2154 # the list is words; the caller has it
	"$top/lab/run" --icount --with-fio --name "bench-${name#lab-}" "$@" ${dest:+--dest "$dest"} "$here/$name.dom0" \
		"$seconds" $peers 2>&1 | tee "$log"
	out=$(sed -n 's/.*logs in //p' "$log" | tail -n 1)/out
	rm -f "$log"
	echo
}

# keep GUESTS: stdin has "CELL <tab> SUBJECT <tab> VALUE <tab> UNIT" lines; with --json FILE they are kept there
keep() {
	[ -n "$json" ] || { cat >/dev/null; return; }
	awk -F'\t' -v guests="$1" -v when="$(date -u +%FT%TZ)" -v ms="$((seconds * 1000))" -v cpus="$(nproc)" -v kernel="$(uname -r)" \
		-v loads="$(cut -d ' ' -f 1-3 /proc/loadavg | tr ' ' ,)" -v mib="$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" \
		-v cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		-v version="$(sed -n 's/^AC_INIT(\[pvbus\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")" \
		-v xen="$(sed -n 's/^xen=//p' "${PVBUS_CACHE:-$HOME/.cache/pvbus}/versions")" \
		-v dom0="$(sed -n 's/^kernel=//p' "${PVBUS_CACHE:-$HOME/.cache/pvbus}/versions")" '
		function text(s) { gsub(/["\\]/, "", s); return "\"" s "\"" }
		BEGIN {
			printf "{\"format\":\"pvbus-bench\",\"version\":1,\"when\":%s,\n", text(when)
			printf "\"machine\":{\"cpu\":%s,\"cpus\":%d,\"memory_mib\":%d,\"kernel\":%s,\"load\":[%s]},\n", text(cpu), cpus, mib, text(kernel), loads
			printf "\"versions\":{\"pvbus\":%s,\"xen\":%s,\"linux\":%s},\n", text(version), text(xen), text(dom0)
			printf "\"settings\":{\"sample_ms\":%d,\"guests\":%s},\"missing\":[],\n\"rows\":[", ms, text(guests)
		}
		{
			printf "%s\n{\"cell\":%s,\"subject\":%s,\"kind\":\"%s\",\"unit\":%s,\"better\":\"%s\",\"mode\":\"virtual time\",", (NR == 1 ? "" : ","), text($1), text($2), ($2 ~ /^pvbackd/ ? "ours" : "peer"), text($4), ($4 == "us" ? "less" : "more")
			printf "\"pinning\":\"\",\"samples\":[%s],\"median\":%s,\"min\":%s,\"max\":%s,\"mad\":0,\"disturbed\":0,\"counters\":{}}", $3, $3, $3, $3
		}
		END { print "\n]}" }' >"$json.new"
	mv "$json.new" "$json"
}
