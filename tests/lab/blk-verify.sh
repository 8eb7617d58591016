#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Data through pvbackd is the data that was written: fio in stock guests with verify=crc32c, over block sizes, queue
# depths, ring sizes, queue counts, request formats, data paths, caches and sector sizes of the storage; discards and
# flushes; and what the guest wrote compared once more in dom0.
#   lab/run --with-fio --file tests/lab/blk-functions.sh --file tests/lab/blk-verify-guest.sh tests/lab/blk-verify.sh
# FULL=1: the whole matrix instead of the rows that matter most (with --mem 4096)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

size=40 # MiB of a disk

# name | kind of guest | blkfront's parameters | target's options | backing: tmpfs, brd, loop512 or loop4096 | vcpus
rows='
plain|pv||cache=buffered&data=copy|tmpfs|1
small-ring|pvh|max_ring_page_order=0 max_queues=1 max_indirect_segments=8|data=copy&indirect=0|tmpfs|1
wide|pv|max_ring_page_order=4 max_queues=4 max_indirect_segments=256|queues=4&ring-order=4&data=copy|tmpfs|4
map|pv|max_ring_page_order=4 max_queues=4 max_indirect_segments=256|queues=4&ring-order=4&data=map|brd|4
persistent|pv|feature_persistent=1 max_queues=1|persistent=on|tmpfs|1
4k|pv|max_indirect_segments=256|cache=direct|loop4096|1
'
full_rows=$rows
for order in 0 4; do
	for queues in 1 4; do
		for indirect in 0 256; do
			for data in copy map persistent; do
				case $data in
				persistent) front=feature_persistent=1 options='persistent=on' ;;
				*) front=feature_persistent=0 options="data=$data" ;;
				esac
				for backing in tmpfs brd; do
					full_rows+="o$order-q$queues-i$indirect-$data-$backing|$([ $queues = 4 ] && echo pvh || echo pv)|max_ring_page_order=$order max_queues=$queues max_indirect_segments=$indirect $front|queues=$queues&ring-order=$order&indirect=$indirect&$options|$backing|$queues"$'\n'
				done
			done
		done
	done
done
for data in copy map persistent; do
	for backing in loop512 loop4096; do
		case $data in persistent) options='persistent=on' ;; *) options="data=$data" ;; esac
		full_rows+="$data-$backing|pv|feature_persistent=1 max_indirect_segments=256|cache=direct&$options|$backing|1"$'\n'
	done
done
full_rows+='fall-buffered|pvh||cache=buffered&data=map|brd|1
stable|pvh||data=map&stable-writes=on|brd|1
'
mem=192
[ -z "${FULL:-}" ] || rows=$full_rows mem=384 # 64 requests of 1 MiB are in it

# O_DIRECT needs a disk below: brd; a loop device on it has the sector size we want.
backing_make() {
	case $1 in
	tmpfs) truncate -s ${size}M /run/v.img; device=/run/v.img ;;
	brd) device=/dev/ram0 ;;
	loop512 | loop4096) device=$(losetup -f --show -b "${1#loop}" --direct-io=on /dev/ram0) || return ;;
	esac
	dd if=/dev/zero of="$device" bs=1M count=$size conv=notrunc 2>/dev/null
}

backing_drop() {
	case $1 in
	tmpfs) rm /run/v.img ;;
	loop*) losetup -d "$device" ;;
	esac
}

run_row() {
	local name=$1 type=$2 front=$3 options=$4 backing=$5 vcpus=$6 mem=$mem append="" word id sum facts rings t=$EPOCHREALTIME

	# a stock blkfront keeps pages for all that its rings can hold: 512 requests of 256
	case $name in o4-*-i256-persistent-*) mem=1024 ;; esac
	for word in $front; do append="$append xen_blkfront.$word"; done
	backing_make "$backing" || return
	guest_create "$name" "$type" --fio --mem $mem --vcpus "$vcpus" --append "$append lab.full=${FULL:-0}" \
		--script /root/blk-verify-guest.sh --disk "$(spec xvda rw "file:$device?$options")" || return
	guest_wait "$name" 600 || { guest_exec "$name" 'cat /tmp/fio.out; dmesg | tail -n 20'; return 1; }
	id=$(guest_id "$name")
	sum=$(guest_exec "$name" 'dd if=/dev/xvda bs=1M count=16 iflag=direct 2>/dev/null | md5sum') || return
	facts=$(guest_exec "$name" 'echo "queues $(ls /sys/block/xvda/mq | wc -l), largest request $(cat /sys/block/xvda/queue/max_hw_sectors_kb) KiB, physical block $(cat /sys/block/xvda/queue/physical_block_size)"; cat /tmp/done') || return
	rings="$(pvl stats "$name" 2>/dev/null | tail -n 3)"
	guest_exec "$name" 'dmesg | grep -iE "xvda.*error|disabled for further use|blkfront: .*(bad|rror)|I/O error"' && { echo "the guest saw errors" >&2; return 1; }
	[ "$(dd if="$device" bs=1M count=16 2>/dev/null | md5sum)" = "$sum" ] || { echo "dom0 reads something else" >&2; return 1; }
	guest_destroy "$name" || return
	disk_gone "$id" || return
	backing_drop "$backing"
	note "$name: $(since "$t") s; $facts" | tr '\n' ' '
	echo
	[ -z "${SHOW:-}" ] || echo "$rings"
}

modprobe brd rd_nr=1 rd_size=$((size * 1024)) || exit 1
backd_start --memory 32M
expected+=('refused')
failed=()
nr=0
while IFS='|' read -r name type front options backing vcpus <&3; do
	[ -n "$name" ] || continue
	[ $# = 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
	nr=$((nr + 1))
	run_row "$name" "$type" "$front" "$options" "$backing" "$vcpus" || {
		note "$name: FAILED"
		failed+=("$name")
		tail -n 5 $log
		xl domid "$name" >/dev/null 2>&1 && { guest_tail "$name" 15; guest_destroy "$name"; }
		backing_drop "$backing"
	}
	log_clean || failed+=("$name-log")
done 3<<<"$rows"
all_gone || failed+=(leftovers)
backd_stop
[ ${#failed[@]} = 0 ] || lab_fail "${failed[*]}"
echo "PASS: $nr kinds of disks, no wrong byte"
