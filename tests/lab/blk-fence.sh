#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A worker dies with writes in flight on slow storage: they land seconds later.  The next worker must not go on before that,
# or the guest's newer writes to the same place would be lost below older ones.
# The storage is a RAM disk; the worker's writes to it are slowed down by a control group that the next worker is not in.
#   lab/run --with-fio --file tests/lab/blk-functions.sh tests/lab/blk-fence.sh
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

modprobe brd rd_nr=1 rd_size=16384 || exit 1
slow=/sys/fs/cgroup/slow
grep -q " /sys/fs/cgroup " /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
echo +io >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p $slow || exit 1
echo "$(cat /sys/block/ram0/dev) wiops=2" >$slow/io.max || exit 1

backd_start
guest_create g pv --fio --mem 160 --disk "$(spec xvda rw 'file:/dev/ram0?cache=direct')" || exit 1
guest_up g || exit 1
id=$(guest_id g)
fio="fio --name=io --filename=/dev/xvda --direct=1 --ioengine=libaio --iodepth=16 --bs=64k --size=1m --rw=write --buffer_pattern"
guest_exec g "$fio=0 >/dev/null" || exit 1 # there is a worker, and it has all that it needs
pid=$(worker_of "$id")
echo "$pid" >$slow/cgroup.procs || exit 1
guest_exec g "rm -f /tmp/rc; ($fio=0x11 >/tmp/old.out 2>&1; echo \$? >/tmp/rc) </dev/null >/dev/null 2>&1 &" || exit 1
guest_exec g "i=0; until set -- \$(cat /sys/block/xvda/inflight) && [ \$2 -ge 12 ] || [ \$i = 300 ]; do usleep 10000; i=\$((i + 1)); done; [ \$i -lt 300 ]" ||
	lab_fail "no writes in flight"
expected+=("domain $id: worker $pid died by signal 9" "vbd $id/51712 .*goes on, after")
t=$EPOCHREALTIME
kill -9 "$pid"
wait_for "grep -q 'vbd $id/51712 .*goes on, after' $log" 30 "another worker" || exit 1
grep "vbd $id/51712 .*\(goes on\|waits for\)" $log
# at once: the same blocks, newer; then time for what is late to land, 16 writes at 2 a second
guest_exec g "i=0; until [ -s /tmp/rc ] || [ \$i = 600 ]; do usleep 10000; i=\$((i + 1)); done; [ \"\$(cat /tmp/rc)\" = 0 ] && $fio=0x22 >/dev/null" ||
	lab_fail "the guest's writes: $(guest_exec g 'cat /tmp/old.out')"
note "the guest has written again $(since "$t") s after the kill"
sleep 9
dd if=/dev/ram0 iflag=direct bs=64k count=16 2>/dev/null | tr -d '\042' | wc -c >/run/old
[ "$(cat /run/old)" = 0 ] || lab_fail "$(cat /run/old) of 1048576 bytes are older than what the guest wrote last"
grep -q "waits for I/O that its dead worker has begun" $log || lab_fail "nothing was in flight: this has shown nothing"
guest_shutdown g || exit 1
disk_gone "$id" /dev/ram0 || exit 1
all_gone || exit 1
backd_stop
echo "PASS: no write of a dead worker came after a newer one"
