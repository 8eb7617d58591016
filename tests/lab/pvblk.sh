#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Our block module in guests under unmodified xl: data is what was written, and what an operator does works, on our
# back end and on the stock ones.
#   lab/run --with-fio [--with-qemu] --file pvblk.ko --file tests/lab/blk-functions.sh \
#     --file tests/lab/pvblk-guest.sh --file tests/lab/failing.sh tests/lab/pvblk.sh [STEP...]
# ROUNDS=N: attach, detach, bind and unbind so often (20);  BACKS: of which back ends (pvbackd blkback qdisk)
# Step lies needs --file lying-vbd and no back end (BACKS=none); LIES: only these.
# FRONT: xen-blkfront, for steps data and cells, instead of pvblk;  GUEST: kind of guest (pv);  VCPUS: of a guest (4);  MEM: of a guest, MB (256)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

backs=${BACKS:-pvbackd}
rounds=${ROUNDS:-20}
kind=${GUEST:-pv}
module=${FRONT:-pvblk}
mem=${MEM:-256}
vcpus=${VCPUS:-4} # more than the machine has CPUs are slow
front="lab.modules=xen-netfront lab.wait=0"
xvdb=51728

# wait in the guest: CONDITION [TENTHS]
until_true() { echo "i=0; until $1; do [ \$i != ${2:-300} ] || { echo 'not within the limit: $1' | tr -d '\"' >&2; exit 1; }; usleep 100000; i=\$((i + 1)); done; "; }
# Linux shows the node a moment before it can be opened.
there="$(until_true '[ -b /dev/xvdb ] && (: </dev/xvdb) 2>/dev/null')"
scanned="$(until_true '[ -e /sys/block/xvdb ] && [ "$(cat /sys/block/xvdb/inflight | tr -d " 0\n")" != "" ]')"
gone="$(until_true '[ ! -e /sys/bus/xen/devices/vbd-51728 ]')"

disk() { # BACK VDEV ACCESS IMAGE [OPTIONS]
	local loop

	case $1 in
	pvbackd) spec "$2" "$3" "${5:+file:}$4${5:-}" ;;
	blkback)
		loop=$(losetup -j "$4" | cut -d: -f1)
		[ -n "$loop" ] || loop=$(losetup -f --show "$4") || return
		echo "phy:$loop,$2,${3/rw/w}"
		;;
	qdisk) echo "format=raw,vdev=$2,access=$3,backendtype=qdisk,target=$4" ;;
	esac
}

image() { # NAME MB
	[ -e "/run/$1.img" ] || truncate -s "$2M" "/run/$1.img"
	echo "/run/$1.img"
}

start() { # NAME DISK [MODULE PARAMETERS]
	local name=$1 disk=$2 driver load="insmod /root/pvblk.ko ${3:-}"

	[ "$module" = pvblk ] || load="modprobe $module"
	# the lab's processor has no invariant TSC: Xen would emulate each time stamp
	guest_create "$name" "$kind" --config 'tsc_mode="native"' --fio --mem "$mem" --vcpus "$vcpus" --append "$front" \
		--file /root/pvblk.ko --file /root/pvblk-guest.sh --file /root/failing.sh \
		--cmd "$load && $(until_true '[ -b /dev/xvda ]')" --disk "$disk" || return
	guest_wait "$name" || return
	driver=$(guest_exec "$name" 'basename $(readlink /sys/bus/xen/devices/vbd-51712/driver)')
	[ "$driver" = "${module/xen-blkfront/vbd}" ] || { echo "another driver has the disk: $driver" >&2; return 1; }
}

in_guest() { # NAME WORD [ARG...]
	local name=$1
	shift
	guest_exec "$name" "sh /root/pvblk-guest.sh $*" 900
}

# Raw, then a file system with things in it; seen from dom0, too.
data_basic() {
	[ "$module" != pvblk ] || in_guest "$1" zeroes "$([ "$back" = pvbackd ] && echo 1 || echo 0)" || return
	in_guest "$1" raw >/tmp/sum || { cat /tmp/sum; return 1; }
	[ "$(head -c 6553600 "$2" | sha256sum)" = "$(cat /tmp/sum)" ] || { echo "dom0 reads something else" >&2; return 1; }
	mkfs.ext4 -qF "$2"
	in_guest "$1" files || return
	fsck.ext4 -fn "$2" >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
}

each_guest_gone() {
	local g

	for g in $(xl list | awk 'NR > 1 && $2 { print $1 }'); do guest_destroy "$g"; done
}

# One back end after the other: xen-blkback would take pvbackd's disks.
serving=none
serve() { # BACK
	[ "$1" != "$serving" ] || return 0
	each_guest_gone
	losetup -D
	case $serving in
	pvbackd) all_gone || return; backd_stop ;;
	blkback) assert_clean && rmmod xen-blkback || return ;;
	*) assert_clean || return ;;
	esac
	case $1 in
	pvbackd) backd_start --memory 32M ;;
	blkback) modprobe xen-blkback || return ;;
	esac
	serving=$1
}

each_back() { # BACK VERIFY
	local img id d t=$EPOCHREALTIME

	serve "$1" || return
	img=$(image "$1" 32)
	d=$(disk "$1" xvda rw "$img" '?queues=4&ring-order=4') || return
	start "$1" "$d" || return
	data_basic "$1" "$img" && in_guest "$1" "$2" && in_guest "$1" sane || return
	[ "$module" != pvblk ] || in_guest "$1" facts
	guest_destroy "$1" || return
	losetup -D
	note "$kind guest, $module on $1: $(since "$t") s"
}

step_data() {
	local back

	for back in $backs; do
		each_back "$back" verify || return
	done
}

# The same in short, for all the back ends, kinds of guest and front ends there are.
step_cells() {
	local back

	for back in $backs; do
		each_back "$back" verify_some || return
	done
}

need() {
	xl domid g >/dev/null 2>&1 || start g "$(disk "${backs%% *}" xvda rw "$(image g 24)" '?queues=4&ring-order=4')"
}

attach() { xl block-attach g "$(disk "${backs%% *}" xvdb "$1" "$2" "${3:-}")"; } # ACCESS IMAGE [OPTIONS]

detached() {
	local id

	id=$(guest_id g)
	wait_for "! xenstore-exists /local/domain/0/backend/vbd/$id/$xvdb" 15 "xvdb's node gone" || return
	guest_exec g "$gone"
}

step_readonly() {
	local img

	need && img=$(image ro 4) && dd if=/dev/urandom of="$img" bs=1M count=4 2>/dev/null && attach ro "$img" || return
	guest_exec g "$there [ \$(cat /sys/block/xvdb/ro) = 1 ]" || return
	guest_exec g 'dd if=/dev/zero of=/dev/xvdb bs=4k count=1 oflag=direct' && { echo "wrote to a read-only disk" >&2; return 1; }
	[ "$(guest_exec g 'md5sum </dev/xvdb')" = "$(md5sum <"$img")" ] || return
	xl block-detach g xvdb && detached
}

step_resize() {
	local img

	need && img=$(image grows 4) && attach rw "$img" && guest_exec g "$there [ \$(cat /sys/block/xvdb/size) = 8192 ]" || return
	truncate -s 8M "$img"
	guest_exec g "$(until_true '[ $(cat /sys/block/xvdb/size) = 16384 ]')" || return
	guest_exec g 'dd if=/bin/busybox of=/dev/xvdb bs=4k count=16 seek=2032 oflag=direct 2>/dev/null && dd if=/bin/busybox bs=4k count=16 2>/dev/null | md5sum' >/tmp/sum || return
	[ "$(tail -c 65536 "$img" | md5sum)" = "$(cat /tmp/sum)" ] || { echo "the new end holds something else" >&2; return 1; }
	xl block-detach g xvdb && detached && rm "$img"
}

# A mounted disk stays until it is unmounted.
step_mounted() {
	local img

	need && img=$(image mounted 16) && mkfs.ext4 -qF "$img" && attach rw "$img" || return
	guest_exec g "$there mount -t ext4 /dev/xvdb /mnt && cp /bin/busybox /mnt/a && sync" || return
	xl block-detach g xvdb >/tmp/out 2>&1 && { echo "a mounted disk was detached" >&2; return 1; }
	guest_exec g 'cp /mnt/a /mnt/b && sync && cmp /mnt/a /bin/busybox && umount /mnt' || return
	wait_for '[ "$(state_of "$(guest_id g)" 51728)" != 5 ]' 15 "closed after umount" || return
	[ -z "$(state_of "$(guest_id g)" $xvdb)" ] || xl block-detach g xvdb || return
	detached && fsck.ext4 -fn "$img" >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
}

step_rounds() {
	local img i

	need && img=$(image rounds 4) || return
	for ((i = 0; i < rounds; i++)); do
		attach rw "$img" || return
		guest_exec g "$there dd if=/dev/xvdb of=/dev/null bs=64k iflag=direct 2>/dev/null" || return
		xl block-detach g xvdb && detached || return
	done
	in_guest g sane
}

# What is taken away under I/O may be in the back end's hands at that moment; the kernel says so, and keeps the page.
step_rmmod() { need && in_guest g rmmod "$rounds" && in_guest g sane "'I/O|g.e. .* still in use'"; }

step_unbind() { need && in_guest g unbind "$rounds" && in_guest g sane "'I/O|g.e. .* still in use'"; }

step_save() {
	local old

	need || return
	old=$(guest_id g)
	in_guest g fio 25 || return
	xl save g /run/g.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	[ "${backs%% *}" != pvbackd ] || disk_gone "$old" /run/g.img || return
	xl restore /run/g.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	rm /run/g.save
	guest_again g && in_guest g fio_end && in_guest g facts && in_guest g sane
}

# Live, within this host; a PVH guest, as there is no shadow paging in the lab that a PV one would need.
step_migrate() {
	local old

	need || return
	old=$(guest_id g)
	in_guest g fio 25 || return
	xl migrate -s '' g 'xl migrate-receive' >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	[ "${backs%% *}" != pvbackd ] || disk_gone "$old" || return
	guest_again g && in_guest g fio_end && in_guest g facts && in_guest g sane
}

# Memory that can not be granted: what a file system has from the slab allocator.
step_copied() {
	local img

	need && img=$(image copied 32) && mkfs.ext4 -qF -b 1024 "$img" && attach rw "$img" || return
	guest_exec g "$there" && in_guest g copied && xl block-detach g xvdb && detached || return
	fsck.ext4 -fn "$img" >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
}

# A back end that closes, says that it comes back, and does.
step_restart() {
	local back i

	need && in_guest g fio 15 || return
	back=/local/domain/0/backend/vbd/$(guest_id g)/51712
	for i in 1 2; do
		xenstore-write "$back/restarting" 1 "$back/state" 5 || return
		wait_node "$back/state" 60 '[ "$value" = 4 ]' || { echo "it does not come back" >&2; return 1; }
	done
	in_guest g fio_end && in_guest g said back.end.restarts 2 && in_guest g said there.again 2 && in_guest g sane
}

# A back end that does not answer is asked, and given up only if the parameter says so.
step_late() {
	local worker rc=0

	start late "$(disk "${backs%% *}" xvda rw "$(image late 8)" '?queues=2')" ask_after=1 || return
	worker=$(worker_of "$(guest_id late)")
	kill -STOP "$worker"
	in_guest late late || rc=1
	kill -CONT "$worker"
	[ $rc = 0 ] && in_guest late late_end || return
	kill -STOP "$worker"
	in_guest late given_up || rc=1
	kill -CONT "$worker"
	[ $rc = 0 ] && in_guest late sane "'I/O|disk is disabled'" && guest_destroy late
}

# Partitions are read while the disk is taken away, and while the guest is saved.
step_scan() {
	local img t

	need && img=$(image scan 4) && attach rw "$img" '?delay=read:20s' && guest_exec g "$scanned" || return
	t=$SECONDS
	guest_exec g "echo vbd-$xvdb >/sys/bus/xen/drivers/pvblk/unbind; [ ! -e /sys/block/xvdb ]" || return
	[ $((SECONDS - t)) -lt 15 ] || { echo "unbinding waited for the reading of partitions" >&2; return 1; }
	wait_for '[ "$(state_of "$(guest_id g)" $xvdb)" = 6 ]' 60 "pvbackd is done with it" || return
	xl block-detach g xvdb && detached && attach rw "$img" '?delay=read:3s' && guest_exec g "$scanned" || return
	xl save g /run/g.save >/tmp/out 2>&1 && xl restore /run/g.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	rm /run/g.save
	guest_again g && guest_exec g "$(until_true 'dd if=/dev/xvdb of=/dev/null bs=4k count=1 2>/dev/null' 600)" || return
	xl block-detach g xvdb && detached && in_guest g sane I/O
}

step_bounce() {
	local img

	local back=${backs%% *}

	img=$(image bounce 32)
	start bounce "$(disk "${backs%% *}" xvda rw "$img" '?queues=4&ring-order=2')" trusted=N || return
	in_guest bounce facts >/tmp/facts && grep bounce=1 /tmp/facts || return
	data_basic bounce "$img" && in_guest bounce verify && in_guest bounce sane && guest_destroy bounce
}

# Pages that stay granted and mapped, also those of a back end that comes back; and none where the parameter says so.
step_persistent() {
	local img node back=pvbackd

	img=$(image persistent 32)
	start persistent "$(disk pvbackd xvda rw "$img" '?queues=2&persistent=on')" || return
	in_guest persistent facts >/tmp/facts && grep 'persistent=1' /tmp/facts && data_basic persistent "$img" || return
	in_guest persistent verify && in_guest persistent fio 8 || return
	node=/local/domain/0/backend/vbd/$(guest_id persistent)/51712
	xenstore-write "$node/restarting" 1 "$node/state" 5 || return
	wait_node "$node/state" 60 '[ "$value" = 4 ]' || { echo "it does not come back" >&2; return 1; }
	in_guest persistent fio_end && in_guest persistent sane && guest_destroy persistent || return
	start persistent "$(disk pvbackd xvda rw "$img" '?queues=2&persistent=on')" persistent=N || return
	in_guest persistent facts >/tmp/facts && grep 'bounce=0.*persistent=0' /tmp/facts || return
	data_basic persistent "$img" && in_guest persistent sane && guest_destroy persistent
}

# Polled queues, also when the back end comes back under them; on each fio that asks for it, the others as always.
step_poll() {
	local back

	start poll "$(disk "${backs%% *}" xvda rw "$(image poll 32)" '?queues=4&ring-order=2')" poll_queues=2 || return
	in_guest poll polled && in_guest poll verify || return
	in_guest poll fio 8 --ioengine=io_uring --hipri=1 || return
	if [ "${backs%% *}" = pvbackd ]; then
		back=/local/domain/0/backend/vbd/$(guest_id poll)/51712
		xenstore-write "$back/restarting" 1 "$back/state" 5 || return
		wait_node "$back/state" 60 '[ "$value" = 4 ]' || { echo "it does not come back" >&2; return 1; }
	fi
	in_guest poll fio_end && in_guest poll polled && in_guest poll facts && in_guest poll sane && guest_destroy poll
}

lie() { # LIE WANTED
	devid=$((devid + 16))
	lie_to lies lying-vbd $devid "$@"
}

# Back ends that get no further than this, and take no leave.
half_made_disks() {
	local states

	for states in "1" "2" "2:3" "2:3 4" "2:3 5:6" "5" "6" "99" "2:3 1 2" "4"; do
		devid=$((devid + 16))
		half_made lies vbd $devid "virtual-device $devid device-type disk" "$states" || return
	done
}

# One line in the guest's log, a disk that is disabled, and a guest that goes on.
step_lies() {
	local devid=51712 name

	guest_create lies "$kind" --config 'tsc_mode="native"' --fio --mem "$mem" --vcpus "$vcpus" --append "$front" \
		--file /root/pvblk.ko --file /root/pvblk-guest.sh --cmd "insmod /root/pvblk.ko" && guest_wait lies || return
	for name in ${LIES:-honest reverse storm id huge stale duplicate op status jump one backwards keep spy spy-trusted states remake halves honest}; do
		case $name in
		halves) half_made_disks || return ;;
		spy*) lie "$name" odd || return ;;
		states) lie "$name" cycled || return ;;
		remake) lie "$name" remade || return ;;
		honest | reverse | storm) lie "$name" alive || return ;;
		status) lie "$name" fails || return ;;
		*) lie "$name" dead || return ;;
		esac
	done
	in_guest lies sane "'I/O|disk is disabled|still in use'" && guest_destroy lies
}

# Each allocation of a connection fails once (a debug kernel with fault injection); STRIDE: each so manieth.
# One that fails when the store has taken the keys already: the back end may find that what they name is taken back.
step_failing() { expected+=('grant [0-9]+: Invalid argument'); need && guest_exec g "sh /root/pvblk-guest.sh failing ${STRIDE:-1}" 3000 && in_guest g verify_some && in_guest g sane "'I/O|sysfs|remove_proc_entry|Call Trace'"; }

# A disk that is taken away before its front end has done anything since the guest was restored.
step_resumed() {
	local img i

	need && img=$(image resumed 4) || return
	for ((i = 0; i < rounds; i++)); do
		attach rw "$img" && guest_exec g "$there" || return
		xl save g /run/g.save >/tmp/out 2>&1 && xl restore -p /run/g.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		rm /run/g.save
		guest_again g || return
		xl block-detach g xvdb >/tmp/out 2>&1 &
		xl unpause g
		wait $! || { cat /tmp/out; return 1; }
		detached && in_guest g verify_some || return
	done
	in_guest g sane
}

[ $# -gt 0 ] || set -- data bounce persistent readonly resize mounted copied rounds rmmod restart late scan save unbind poll
failures=()
for step; do
	t=$EPOCHREALTIME
	note "$step"
	serve "${backs%% *}" && "step_$step" || {
		failures+=("$step")
		note "$step: FAILED"
		for g in $(xl list | awk 'NR > 1 && $2 { print $1 }'); do
			guest_tail "$g" 30
			guest_exec "$g" 'dmesg | tail -n 20' >&2
			guest_destroy "$g"
		done
		[ ! -e $log ] || tail -n 5 $log
	}
	note "$step: $(since "$t") s"
done
serve none || failures+=(leftovers)
[ ${#failures[@]} = 0 ] || lab_fail "${failures[*]}"
echo "PASS: $*"
