#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The storage below a sparse image is full: the guest's requests are held, not failed; the alarm says so in the store
# and in the log; once there is room the guest goes on as if nothing had been, and
# its file system is clean.  (Held requests keep their slots, so reads wait too once the ring is full of them.)
#   lab/run --file tests/lab/blk-functions.sh tests/lab/blk-enospc.sh
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

mkdir -p /srv
mount -t tmpfs -o size=16m tmpfs /srv || exit 1
truncate -s 40M /srv/full.img
mkfs.ext4 -qF -O ^has_journal /srv/full.img || exit 1
backd_start
guest_create full pv --disk "$(spec xvda rw /srv/full.img)" || exit 1
guest_up full || exit 1
id=$(guest_id full)
back=/local/domain/0/backend/vbd/$id/51712

guest_exec full 'dd if=/dev/urandom of=/tmp/data bs=1M count=24 2>/dev/null && mount -t ext4 /dev/xvda /mnt && (cp /tmp/data /mnt/data && sync; echo $? >/tmp/cp.rc) </dev/null >/dev/null 2>&1 &' || exit 1
t=$EPOCHREALTIME
wait_node "$back/alarm" 90 '[ -n "$value" ]' || lab_fail "no alarm"
note "alarm after $(since "$t") s: $(xenstore-read "$back/alarm")"
grep 'alarm\|space' $log | tail -n 2
[ "$(xenstore-read "$back/state")" = 4 ] || lab_fail "the disk is not connected any more"
guest_exec full '[ ! -e /tmp/cp.rc ]' || lab_fail "the copy has ended: $(guest_exec full 'cat /tmp/cp.rc')"
pvl stats full | tail -n 4

mount -o remount,size=64m /srv || exit 1
t=$EPOCHREALTIME
wait_for "! xenstore-exists $back/alarm" 30 "the alarm's end" || exit 1
note "the alarm is over $(since "$t") s after there was room"
guest_exec full 'i=0; until [ -s /tmp/cp.rc ] || [ $i = 600 ]; do usleep 100000; i=$((i + 1)); done; [ "$(cat /tmp/cp.rc)" = 0 ]' ||
	lab_fail "the copy did not end well"
guest_exec full 'echo 3 >/proc/sys/vm/drop_caches; cmp /tmp/data /mnt/data && umount /mnt' || lab_fail "the file is not what was copied"
guest_exec full 'dmesg | grep -iE "I/O error|EXT4-fs (error|warning)"' && lab_fail "the guest saw errors"
guest_shutdown full || exit 1
disk_gone "$id" /srv/full.img || exit 1
fsck.ext4 -fn /srv/full.img || lab_fail "the file system is not clean"
all_gone || exit 1
backd_stop
echo "PASS: full storage held the guest's requests, and none was lost"
