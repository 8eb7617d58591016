#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that lies with everything a front end can say (tests/hostile-vbd.c, over gntalloc, evtchn and the store of a
# PV guest), against pvbackd, which also serves a stock guest whose fio verifies all the while.  The liar asks for what
# only dom0 can see; the same program answers here.
#   lab/run --with-fio --file tests/hostile-vbd --file LIBCMOCKA --file tests/lab/blk-functions.sh tests/lab/hostile.sh [PATTERN]
# PATTERN: only the tests whose name fits, * and ? as in a shell
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

program=/root/hostile-vbd
[ -x $program ] || lab_fail "no $program here (lab/run --file)"

# ---- the two guests

# Round after round, so that it ends when it is told to; not as fast as it can, so that others get on, too.
fio_forever="while [ ! -e /tmp/stop ]; do fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --iodepth=4 \
--rw=randwrite --bs=4k --size=8m --verify=crc32c --verify_fatal=1 --verify_backlog=8 --norandommap --time_based \
--thinktime=50ms --thinktime_blocks=8 --runtime=15 >/tmp/fio.out 2>&1 || break; done; echo \$? >/tmp/fio.rc"

honest_guest() {
	truncate -s 12M /run/good.img
	guest_create good pv --fio --mem 160 --disk "$(spec xvda rw /run/good.img)" || exit 1
	guest_up good || exit 1
	good=$(guest_id good)
	guest_exec good "($fio_forever) </dev/null >/dev/null 2>&1 &" || lab_fail "fio does not start"
}

honest_end() {
	guest_exec good 'touch /tmp/stop; i=0; until [ -s /tmp/fio.rc ] || [ $i = 600 ]; do usleep 100000; i=$((i + 1)); done; [ "$(cat /tmp/fio.rc)" = 0 ]' 120 ||
		{ guest_exec good 'cat /tmp/fio.out'; lab_fail "the honest guest's I/O went wrong"; }
	guest_exec good 'dmesg | grep -iE "xvda.*error|I/O error|blkfront: .*(bad|rror)"' && lab_fail "the honest guest saw errors"
	grep -h 'write: IOPS\|clat (' <(guest_exec good 'cat /tmp/fio.out') | head -n 2
}

# The program with its libraries and loader, which are not in a guest's image.
files=()
pack_program() {
	local loader=/usr/lib64/ld-linux-x86-64.so.2 lib

	files=(--file "$program:/root/hostile/hostile-vbd" --file "$(readlink -f $loader):/root/hostile/ld.so")
	$loader --list $program >/tmp/libraries || lab_fail "libraries of $program"
	for lib in $(awk '$2 == "=>" { print $1 "=" $3 }' /tmp/libraries); do
		files+=(--file "$(readlink -f "${lib#*=}"):/root/hostile/${lib%%=*}")
	done
	# xs_close() ends its thread by pthread_cancel(), which loads this
	lib=/usr/lib/x86_64-linux-gnu/libgcc_s.so.1
	[ -e $lib ] || lab_fail "no $lib for $program"
	files+=(--file "$(readlink -f "$lib"):/root/hostile/libgcc_s.so.1")
}
hostile() {
	echo "PVBUS_TEST_HV=xen HOSTILE_GOOD_DOMID=$good /root/hostile/ld.so --library-path /root/hostile /root/hostile/hostile-vbd $*"
}

# No stock blkfront there: it would take the disks.
lying_guest() {
	pack_program
	truncate -s 1M /run/liar.img /run/liar-ro.img
	guest_create liar pv --mem 160 --append "lab.modules=xen-gntalloc,xen-evtchn lab.wait=0" "${files[@]}" \
		--disk "$(spec xvda rw /run/liar.img)" --disk "$(spec xvdb ro /run/liar-ro.img)" --cmd "$(hostile "$@")" || exit 1
	liar=$(guest_id liar)
	expected+=("vbd $liar/" "domain $liar: worker [0-9]+ died by signal (9|11)")
}

backd_start
honest_guest
lying_guest "$@"
# what the program asks for: a command of that name
printf '#!/bin/bash\n. /lab/functions.sh\nmapped_grants "$@"\n' >/usr/bin/mapped_grants
chmod +x /usr/bin/mapped_grants
# shellcheck disable=SC2154 # of blk-functions.sh
$program --answer $backd "$liar" "$good" $log &
answers=$!
exec {console}< <(exec tail -n +1 -f "$lab_console/guest-liar.log")
follow=$!
while read -r -u "$console" line; do # progress, with the time
	case $line in
	"[ RUN "* | "[  "* | [0-9]*) note "${line%$'\r'}" ;;
	esac
done &
t0=$EPOCHREALTIME
rc=0
guest_wait liar 1000 || rc=$?
kill $follow
note "told in $(since "$t0") s, pvbackd's log has $(wc -l <$log) lines"
[ $rc = 0 ] || { tail -n 20 $log; lab_fail "hostile-vbd: status $rc"; }

note "the liar dies with requests in flight"
guest_exec liar "($(hostile the_guest_dies)) </dev/null >/dev/null 2>&1 &"
wait_node "/local/domain/0/backend/vbd/$liar/51712/state" 20 '[ "$value" = 4 ]' || exit 1
guest_destroy liar || exit 1
kill $answers || exit 1
disk_gone "$liar" /run/liar.img || exit 1

honest_end
guest_destroy good || exit 1
disk_gone "$good" /run/good.img || exit 1
all_gone || exit 1
backd_stop
echo "PASS"
