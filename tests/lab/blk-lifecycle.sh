#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The life of disks under unmodified xl, with pvbackd as the only back end and stock guests: what an operator does
# and what goes wrong.  After each step nothing may be left of a disk that is gone.
#   lab/run --with-fio --file tests/lab/blk-functions.sh tests/lab/blk-lifecycle.sh [STEP...]
# ROUNDS=N: attach and detach so often (100)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

image() { # NAME MB: of random bytes
	[ -e "/run/$1.img" ] || dd if=/dev/urandom "of=/run/$1.img" bs=1M count="$2" 2>/dev/null
	echo "/run/$1.img"
}

# fio that writes what it can check again.  Runs in the guest's background; guest_fio_end says how it went.
verify="fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size=8m \
--verify=crc32c --verify_fatal=1 --verify_backlog=64 --norandommap --time_based"

guest_fio() { # NAME SECONDS
	guest_exec "$1" "rm -f /tmp/fio.rc; ($verify --runtime=$2 >/tmp/fio.out 2>&1; echo \$? >/tmp/fio.rc) </dev/null >/dev/null 2>&1 &"
	guest_exec "$1" 'i=0; until set -- $(cat /sys/block/xvda/stat) && [ $7 -gt 200 ] || [ $i = 300 ]; do usleep 100000; i=$((i + 1)); done; [ $i -lt 300 ]'
}

guest_fio_end() {
	guest_exec "$1" 'i=0; until [ -s /tmp/fio.rc ] || [ $i = 1200 ]; do usleep 100000; i=$((i + 1)); done; [ "$(cat /tmp/fio.rc)" = 0 ] || { cat /tmp/fio.out; exit 1; }' 150
}

there='i=0; until [ -b /dev/xvdb ] || [ $i = 200 ]; do usleep 50000; i=$((i + 1)); done; [ -b /dev/xvdb ]'
gone='i=0; while [ -e /sys/bus/xen/devices/vbd-51728 ] && [ $i -lt 200 ]; do usleep 50000; i=$((i + 1)); done; [ ! -e /sys/bus/xen/devices/vbd-51728 ]'

# The guests that most steps use.
need() {
	local g

	for g; do
		xl domid "$g" >/dev/null 2>&1 && continue
		guest_create "$g" "${g%[0-9]}" --fio --mem 160 --disk "$(spec xvda rw "$(image "$g" 12)")" || exit 1
		guest_up "$g" || exit 1
	done
}

attach() { xl block-attach "$1" "$(spec xvdb "$2" "$3")"; }

detached() { # NAME: of xvdb there is nothing left; pvbackd gives xl 2 s before it clears up after a failed attach
	local id
	id=$(guest_id "$1")
	wait_for "[ -z \"\$(state_of $id 51728)\" ]" 12 "xvdb's node gone"
	[ -z "$(state_of "$id" 51728)" ] || { echo "node left: state $(state_of "$id" 51728)" >&2; return 1; }
	[ -z "$(xenstore-read "/local/domain/$id/device/vbd/51728/state" 2>/dev/null)" ] || { echo "front end's node left" >&2; return 1; }
	[ -z "$(xenstore-read "/libxl/$id/device/vbd/51728/backend" 2>/dev/null)" ] || { echo "libxl's node left" >&2; return 1; }
	guest_exec "$1" "$gone"
}

step_create() {
	local g

	need pv1 pv2
	for g in pv1 pv2; do
		xl block-list $g
		[ "$(state_of "$(guest_id $g)" 51712)" = 4 ] || { echo "$g: not connected" >&2; return 1; }
		[ "$(guest_exec $g 'md5sum </dev/xvda')" = "$(md5sum <"/run/$g.img")" ] || { echo "$g reads something else" >&2; return 1; }
	done
}

# The names go round: a guest may still be taking leave of a device when the next one comes, and Linux takes a new
# device of the same name for the old one until it is through.
step_rounds() {
	local i g t=$EPOCHREALTIME img vdev

	need pv1
	img=$(image round 4)
	for ((i = 0; i < ${ROUNDS:-100}; i++)); do
		g=pv1
		vdev=xvd$(echo bcdefghij | cut -c $((i % 9 + 1)))
		xl block-attach $g "$(spec $vdev rw "$img")" || { echo "round $i: attach" >&2; return 1; }
		if [ $((i % 10)) -ge 8 ]; then
			guest_exec $g "i=0; until [ -b /dev/$vdev ] || [ \$i = 200 ]; do usleep 50000; i=\$((i + 1)); done; dd if=/dev/urandom of=/dev/$vdev bs=64k count=4 seek=$((i % 32)) oflag=direct 2>/dev/null && md5sum </dev/$vdev" \
				>/tmp/sum || { echo "round $i: I/O" >&2; cat /tmp/sum; return 1; }
		fi
		xl block-detach $g $vdev || { echo "round $i: detach" >&2; return 1; }
		[ $((i % 10)) -lt 8 ] || [ "$(md5sum <"$img")" = "$(cat /tmp/sum)" ] ||
			{ echo "round $i: the image is not what the guest wrote" >&2; return 1; }
	done
	[ "$(xenstore-list "/local/domain/0/backend/vbd/$(guest_id $g)")" = 51712 ] || { echo "nodes left" >&2; return 1; }
	guest_exec $g 'ls /sys/block | grep xvd; dmesg | grep -E "BUG|WARN|blkfront.*rror"' | grep -v '^xvda$' && return 1
	wait_for "[ -z \"\$(users_of $img)\" ]" 5 || return
	note "  ${ROUNDS:-100} times attached and detached in $(since "$t") s"
}

# Since Linux 5.15 blkfront lets go of a mounted disk at once and the guest gets errors; older ones refuse until it is
# unmounted.  Either way nothing is left, and what was synced is there.
step_mounted() {
	local img t

	need pv1
	img=$(image mounted 16)
	mkfs.ext4 -qF "$img"
	attach pv1 rw "$img" || return
	guest_exec pv1 "$there && mount -t ext4 /dev/xvdb /mnt && cp /bin/busybox /mnt/a && sync" || return
	t=$EPOCHREALTIME
	if xl block-detach pv1 xvdb; then
		note "  the guest let go of the mounted disk after $(since "$t") s"
		guest_exec pv1 'dd if=/dev/zero of=/mnt/b bs=64k count=1 conv=fsync 2>/dev/null' && { echo "the guest writes on" >&2; return 1; }
		guest_exec pv1 'umount /mnt'
	else
		note "  refused after $(since "$t") s; the guest goes on"
		guest_exec pv1 'cp /mnt/a /mnt/b && sync && cmp /mnt/a /bin/busybox && cmp /mnt/b /bin/busybox && umount /mnt' || return
		wait_for '[ "$(state_of "$(guest_id pv1)" 51728)" != 5 ]' 10 "closed after umount" || return
		[ -z "$(state_of "$(guest_id pv1)" 51728)" ] || xl block-detach pv1 xvdb || return
	fi
	detached pv1 || return
	fsck.ext4 -fy "$img" >/tmp/fsck 2>&1 # replays the journal
	fsck.ext4 -fn "$img" >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
	mount -t ext4 -o loop "$img" /mnt && cmp /mnt/a /bin/busybox && umount /mnt || { umount /mnt; return 1; }
	attach pv1 rw "$img" && guest_exec pv1 "$there" && xl block-detach pv1 xvdb && detached pv1
}

step_paused() {
	local img t

	need pv1
	img=$(image paused 8)
	attach pv1 rw "$img" && guest_exec pv1 "$there" || return
	xl pause pv1
	t=$EPOCHREALTIME
	xl block-detach pv1 xvdb && echo "   xl says: detached"
	note "  answer after $(since "$t") s"
	xl unpause pv1
	wait_for '[ "$(state_of "$(guest_id pv1)" 51728)" != 5 ]' 15 "closed once the guest runs" || return
	[ -z "$(state_of "$(guest_id pv1)" 51728)" ] || xl block-detach pv1 xvdb || return
	detached pv1
}

step_missing() {
	local t

	need pv1
	t=$EPOCHREALTIME
	attach pv1 rw /run/nothing.img >/tmp/out 2>&1 && { echo "attached nothing" >&2; return 1; }
	note "  a missing target fails after $(since "$t") s"
	grep -o 'block-pvbus.*\|/run/nothing.img.*' /tmp/out
	grep -q '/run/nothing.img: No such file or directory' /tmp/out || { cat /tmp/out; return 1; }
	awk -v t="$(since "$t")" 'BEGIN { exit t > 8 }' || { echo "slow" >&2; return 1; }
	detached pv1 || return
	t=$EPOCHREALTIME
	guest_create nodisk pv --disk "$(spec xvda rw /run/nothing.img)" >/tmp/out 2>&1 && { echo "created without its disk" >&2; return 1; }
	note "  xl create with a missing target fails after $(since "$t") s"
	grep -q '/run/nothing.img: No such file or directory' /tmp/out || { cat /tmp/out; return 1; }
	wait_for '! xl domid nodisk >/dev/null 2>&1' 20 || return
	attach pv1 rw '/run/nothing.img?colour=red' >/tmp/out 2>&1 && return 1
	detached pv1 || return
	attach pv1 rw "nosuch:thing" >/tmp/out 2>&1 && { echo "attached an unknown provider" >&2; return 1; }
	detached pv1 || return
	attach pv1 rw "$(image paused 8)" && guest_exec pv1 "$there" && xl block-detach pv1 xvdb && detached pv1
}

step_readonly() {
	local img sum

	need pv1
	img=$(image ro 4)
	sum=$(md5sum <"$img")
	attach pv1 ro "$img" || return
	guest_exec pv1 "$there && [ \$(cat /sys/block/xvdb/ro) = 1 ]" || return
	guest_exec pv1 'dd if=/dev/zero of=/dev/xvdb bs=4k count=1 oflag=direct' && { echo "wrote to a read-only disk" >&2; return 1; }
	[ "$(guest_exec pv1 'md5sum </dev/xvdb')" = "$sum" ] && [ "$(md5sum <"$img")" = "$sum" ] || return
	xl block-detach pv1 xvdb && detached pv1
}

step_cdrom() {
	local img

	need pv1
	img=$(image cd 4)
	xl block-attach pv1 "devtype=cdrom,$(spec xvdb ro "$img")" || return
	guest_exec pv1 "$there" || return
	[ "$(guest_exec pv1 'md5sum </dev/xvdb')" = "$(md5sum <"$img")" ] || return
	[ "$(xenstore-read "/local/domain/0/backend/vbd/$(guest_id pv1)/51728/info")" = 5 ] || { echo "info is not 5" >&2; return 1; }
	xl block-detach pv1 xvdb && detached pv1
}

step_shared() {
	local img

	need pv1 pv2
	img=$(image shared 4)
	attach pv1 rw "$img" && guest_exec pv1 "$there" || return
	attach pv2 rw "$img" >/tmp/out 2>&1 && { echo "two writers" >&2; xenstore-ls "/local/domain/0/backend/vbd/$(guest_id pv2)"; return 1; }
	grep -o 'image .* in use.*' /tmp/out || { cat /tmp/out; return 1; }
	detached pv2 || return
	attach pv2 ro "$img" >/tmp/out 2>&1 && { echo "a reader beside a writer" >&2; return 1; }
	detached pv2 || return
	guest_exec pv1 'dd if=/dev/xvdb of=/dev/null bs=64k' || return
	xl block-detach pv1 xvdb && detached pv1 || return
	attach pv1 ro "$img" && attach pv2 ro "$img" || return
	guest_exec pv1 "$there && md5sum </dev/xvdb" && guest_exec pv2 "$there && md5sum </dev/xvdb" || return
	xl block-detach pv1 xvdb && xl block-detach pv2 xvdb && detached pv1 && detached pv2
}

# A bigger image: blkfront takes the size over while the disk is in use.
step_resize() {
	local img t

	need pv2
	img=$(image grows 4)
	attach pv2 rw "$img" && guest_exec pv2 "$there && [ \$(cat /sys/block/xvdb/size) = 8192 ]" || return
	truncate -s 8M "$img"
	t=$EPOCHREALTIME
	guest_exec pv2 'i=0; until [ $(cat /sys/block/xvdb/size) = 16384 ] || [ $i = 300 ]; do usleep 100000; i=$((i + 1)); done; [ $i -lt 300 ]' ||
		{ echo "the guest does not see the new size" >&2; return 1; }
	note "  the guest sees the new size after $(since "$t") s"
	guest_exec pv2 'dd if=/bin/busybox of=/dev/xvdb bs=4k count=16 seek=2032 oflag=direct 2>/dev/null && dd if=/bin/busybox bs=4k count=16 2>/dev/null | md5sum' >/tmp/sum || return
	[ "$(tail -c 65536 "$img" | md5sum)" = "$(cat /tmp/sum)" ] || { echo "the new end holds something else" >&2; return 1; }
	xl block-detach pv2 xvdb && detached pv2 && rm "$img"
}

step_reboot() {
	local old

	need pv1
	old=$(guest_id pv1)
	guest_exec pv1 'echo before | dd of=/dev/xvda conv=fsync,notrunc 2>/dev/null' || return
	xl reboot pv1 || return
	wait_for "xl domid pv1 >/dev/null 2>&1 && [ \$(xl domid pv1) != $old ]" 60 "the guest's new domain" || return
	guest_again pv1 || return
	guest_up pv1 || return
	disk_gone "$old" || return
	[ "$(guest_exec pv1 'head -n 1 /dev/xvda')" = before ]
}

step_save() {
	local old t

	need pv1
	old=$(guest_id pv1)
	guest_fio pv1 25 || return
	t=$EPOCHREALTIME
	xl save pv1 /run/pv1.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	disk_gone "$old" /run/pv1.img || return
	xl restore /run/pv1.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	note "  saved and restored in $(since "$t") s"
	rm /run/pv1.save
	guest_again pv1 && guest_fio_end pv1
}

# PVH: there is no shadow paging in the lab, which a PV guest would need to be migrated.
step_migrate() {
	local old t

	need pvh1
	old=$(guest_id pvh1)
	guest_fio pvh1 40 || return
	t=$EPOCHREALTIME
	xl migrate -s '' pvh1 'xl migrate-receive' >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	note "  migrated in $(since "$t") s"
	disk_gone "$old" || return
	guest_again pvh1 && guest_fio_end pvh1
}

step_destroy() {
	local id t

	need pv1
	id=$(guest_id pv1)
	guest_fio pv1 60 || return
	t=$EPOCHREALTIME
	guest_destroy pv1 || return
	disk_gone "$id" /run/pv1.img || return
	note "  destroyed under I/O, all gone after $(since "$t") s"
}

step_crash() {
	local id t

	need pv1
	id=$(guest_id pv1)
	guest_fio pv1 60 || return
	t=$EPOCHREALTIME
	xenstore-write "/local/domain/$id/data/cmd" "crash:echo c >/proc/sysrq-trigger"
	guest_gone pv1 || return
	disk_gone "$id" /run/pv1.img || return
	note "  crashed, all gone after $(since "$t") s"
}

step_killed() {
	local id pid n before

	need pv1 pv2
	id=$(guest_id pv1)
	before=$(grep -c "vbd $id/51712 .*goes on" $log)
	guest_fio pv2 15 && guest_fio pv1 20 || return
	for ((n = 1; n <= ${KILLS:-6}; n++)); do
		pid=$(worker_of "$id")
		expected+=("domain $id: worker $pid died by signal 9" "vbd $id/51712 .*goes on, after")
		kill -9 "$pid"
		wait_for "[ \"\$(grep -c 'vbd $id/51712 .*goes on' $log)\" -ge $((before + n)) ]" 20 || return
	done
	guest_fio_end pv2 || return
	guest_fio_end pv1 || return
	[ "$(xenstore-read "/local/domain/0/backend/vbd/$id/51712/state")" = 4 ] || { note "  it is not in state 4"; return 1; }
	note "  $((n - 1)) workers killed: $(grep -o "vbd $id/51712 .*goes on, after [0-9]* ms" $log | tail -n $((n - 1)) | grep -o '[0-9]* ms' | tr '\n' ' ')"
	guest_destroy pv1 || return
	disk_gone "$id" /run/pv1.img
}

# pvbackd itself, which takes its workers with it
step_replaced() {
	local id n fds=$backd_fds before

	need pv1 pv2
	id=$(guest_id pv1)
	before=$(grep -c "vbd $id/51712 .*goes on" $log)
	guest_fio pv2 15 && guest_fio pv1 20 || return
	for ((n = 1; n <= 4; n++)); do
		kill -9 $backd
		wait $backd
		backd_start
		wait_for "[ \"\$(grep -c 'vbd $id/51712 .*goes on' $log)\" -ge $((before + n)) ]" 20 || return
	done
	kill $backd # and in peace
	wait $backd || return
	backd_start
	backd_fds=$fds
	wait_for "[ \"\$(grep -c 'vbd $id/51712 .*goes on' $log)\" -ge $((before + n)) ]" 20 || return
	guest_fio_end pv2 || return
	guest_fio_end pv1 || return
	[ "$(xenstore-read "/local/domain/0/backend/vbd/$id/51712/state")" = 4 ] || { note "  it is not in state 4"; return 1; }
	note "  pvbackd replaced $n times: $(grep -o "vbd $id/51712 .*goes on, after [0-9]* ms" $log | tail -n $n | grep -o '[0-9]* ms' | tr '\n' ' ')"
}

expected+=('refused' 'in use by domain')
backd_start
[ $# -gt 0 ] || set -- create rounds mounted paused missing readonly cdrom shared resize reboot save migrate destroy crash replaced killed
failed=()
for step; do
	note "$step"
	t0=$EPOCHREALTIME
	if "step_$step"; then
		note "$step: good, $(since "$t0") s"
	else
		note "$step: FAILED, $(since "$t0") s"
		failed+=("$step")
		tail -n 8 $log
		for g in pv1 pv2 pvh1; do # start from fresh guests
			xl domid $g >/dev/null 2>&1 && { guest_tail $g 8; guest_destroy $g; }
		done
	fi
	log_clean || failed+=("$step-log")
done
for g in pv1 pv2 pvh1; do
	! xl domid $g >/dev/null 2>&1 || guest_destroy $g
done
all_gone || failed+=(leftovers)
backd_stop
[ ${#failed[@]} = 0 ] || lab_fail "${failed[*]}"
echo "PASS: $*"
