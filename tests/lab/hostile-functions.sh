# shellcheck shell=bash disable=SC2154,SC2016 # of the script and blk-functions.sh; conditions are evaluated later
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the hostile tests of the lab share: the lying program in a guest of its own, the answers it gets, and its end.
# Needs blk-functions.sh; $program is the program, $good the honest guest's domain, $backd and $log pvbackd's.

# The program with its libraries and loader, which are not in a guest's image.
files=()
pack_program() {
	local loader=/usr/lib64/ld-linux-x86-64.so.2 lib

	[ -x "$program" ] || lab_fail "no $program here (lab/run --file)"
	files=(--file "$program:/root/hostile/program" --file "$(readlink -f $loader):/root/hostile/ld.so")
	$loader --list "$program" >/tmp/libraries || lab_fail "libraries of $program"
	for lib in $(awk '$2 == "=>" { print $1 "=" $3 }' /tmp/libraries); do
		files+=(--file "$(readlink -f "${lib#*=}"):/root/hostile/${lib%%=*}")
	done
	# xs_close() ends its thread by pthread_cancel(), which loads this
	lib=/usr/lib/x86_64-linux-gnu/libgcc_s.so.1
	[ -e $lib ] || lab_fail "no $lib for $program"
	files+=(--file "$(readlink -f "$lib"):/root/hostile/libgcc_s.so.1")
}

# hostile [PATTERN...]: the command in the guest
hostile() {
	local words

	printf -v words " '%s'" "$@"
	[ $# -gt 0 ] || words=""
	echo "PVBUS_TEST_HV=xen HOSTILE_GOOD_DOMID=$good /root/hostile/ld.so --library-path /root/hostile /root/hostile/program$words"
}

# lying_guest PATTERNS OPTION...: no stock front end there, it would take the devices
lying_guest() {
	local patterns=$1

	shift
	pack_program
	# shellcheck disable=SC2086 # patterns are words
	guest_create liar pv --mem 160 --append "lab.modules=xen-gntalloc,xen-evtchn lab.wait=0" "${files[@]}" "$@" \
		--cmd "$(set -f; hostile $patterns)" || exit 1
	liar=$(guest_id liar)
}

# hear_lies SECONDS: answer what the program asks until it has told them all
hear_lies() {
	local console follow t0=$EPOCHREALTIME rc=0 line

	# what the program asks for: a command of that name
	printf '#!/bin/bash\n. /lab/functions.sh\nmapped_grants "$@"\n' >/usr/bin/mapped_grants
	chmod +x /usr/bin/mapped_grants
	"$program" --answer "$backd" "$liar" "$good" "$log" &
	answers=$!
	exec {console}< <(exec tail -n +1 -f "$lab_console/guest-liar.log")
	follow=$!
	while read -r -u "$console" line; do # progress, with the time
		case $line in
		"[ RUN "* | "[  "* | [0-9]*) note "${line%$'\r'}" ;;
		esac
	done &
	guest_wait liar "$1" || rc=$?
	kill $follow
	note "told in $(since "$t0") s, pvbackd's log has $(wc -l <"$log") lines"
	[ $rc = 0 ] || { tail -n 20 "$log"; lab_fail "${program##*/}: status $rc"; }
}

# liar_dies CLASS DEVID: in the middle of it
liar_dies() {
	note "the liar dies with requests in flight"
	guest_exec liar "($(hostile the_guest_dies)) </dev/null >/dev/null 2>&1 &"
	wait_node "/local/domain/0/backend/$1/$liar/$2/state" 120 '[ "$value" = 4 ]' || exit 1
	guest_destroy liar || exit 1
	kill "$answers" || exit 1
}
