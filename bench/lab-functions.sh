# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lab-functions.sh owns what the comparisons on real Xen have in common: their options, and one run of the lab under icount.
# Sourced with $peers and $seconds set to what they are by default, and usage() defined.

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
dest="" modules="" results="" options="--seconds --dest --peers --modules --results"
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

# results_file DIR/FILE...: --results, from tables of them, one a subject: cell, figure, unit (or MB/s of so many IOPS). By
# the file's name: SUBJECT.tsv, or KIND-disk-SUBJECT.tsv and KIND-nic-SUBJECT.tsv.  Its format is in pvbus-bench(7).
results_file() {
	local version kernel xen

	[ -n "$results" ] || return 0
	version=$(sed -n 's/^AC_INIT(\[pvbus\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")
	kernel=$(sed -n 's/^kernel=//p' "${PVBUS_CACHE:-$HOME/.cache/pvbus}/versions")
	xen=$(sed -n 's/^xen=//p' "${PVBUS_CACHE:-$HOME/.cache/pvbus}/versions")
	awk -F'\t' -v when="$(date -u -r "$1" +%Y-%m-%dT%H:%M:%SZ)" -v version="$version" -v kernel="$kernel" -v xen="$xen" -v seconds="$seconds" \
		-v comparison="${0##*/}" '
		function text(s) { gsub(/["\\]/, "?", s); return "\"" s "\"" }
		BEGIN {
			split("ide=emulated IDE;ahci=emulated AHCI;e1000=emulated e1000;rtl8139=emulated RTL8139;qdisk=QEMU qdisk;" \
				"blkback=xen-blkback;netback=xen-netback;pvbackd-nic=pvbackd;pvbackd-nic+pvnet=pvbackd, pvnet;" \
				"pvbackd+pvblk=pvbackd, pvblk;ours+pvblk=pvbackd, pvblk;ours+pvnet=pvbackd, pvnet;ours=pvbackd;ours-bridge=pvbackd, bridge", names, ";")
			for (i in names) { eq = index(names[i], "="); name[substr(names[i], 1, eq - 1)] = substr(names[i], eq + 1) }
			printf "{ \"format\": \"pvbus-bench\", \"version\": 1, \"when\": %s,\n", text(when)
			printf "  \"machine\": { \"cpu\": \"QEMU, icount: 2 ns of virtual time an instruction\", \"cpus\": 1, \"kernel\": %s, \"load\": \"-\" },\n", text(kernel)
			printf "  \"versions\": { \"pvbus\": %s, \"xen\": %s }, \"settings\": { \"comparison\": %s, \"sample_ms\": %d }, \"missing\": [],\n", \
				text(version), text(xen), text(comparison), seconds * 1000
			printf "  \"rows\": ["
		}
		FNR == 1 {
			subject = FILENAME; sub(/.*\//, "", subject); sub(/\.tsv$/, "", subject)
			kind = "PV guest: "
			if (subject ~ /^hvm-/) kind = "HVM guest: "
			sub(/^(hvm|pv)-(disk|nic)-/, "", subject)
			if (subject in name) subject = name[subject]
			else if (subject ~ /^ours-/) subject = "pvbackd, " substr(subject, 6)
		}
		$2 > 0 {
			disk = $3 ~ /^[0-9.]*$/
			printf "%s\n    { \"cell\": %s, \"subject\": %s, \"kind\": \"%s\", \"unit\": %s, \"better\": \"%s\", ", sep, text(kind $1), \
				text(subject), subject ~ /^pvbackd/ ? "ours" : "peer", text(disk ? "IOPS" : $3), $3 == "us" ? "less" : "more"
			printf "\"mode\": \"virtual time\", \"pinning\": \"\", \"samples\": [ %s ], \"disturbed\": 0, \"counters\": {%s} }", $2, \
				disk ? sprintf(" \"thousand instructions\": %.0f ", 500000 / $2) : ""
			sep = ","
		}
		END { print "\n  ] }" }' "$@" >"$results"
}
