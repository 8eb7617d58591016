#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of blk-verify.sh: fio over block sizes and depths, then flushes, discards, a file system.
# Leaves in /tmp/done what was done.
set -e
full=$(sed -n 's/.*lab\.full=\([0-9]\).*/\1/p' /proc/cmdline)

run() { # RW BS DEPTH MIB
	fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --rw="$1" --bs="$2" --iodepth="$3" --size="$4"m \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --randseed="$seed" --output=/tmp/fio.out ${5:-}
	seed=$((seed + 1))
	runs=$((runs + 1))
}

seed=1
runs=0
if [ "$full" = 1 ]; then
	for bs in 512 4k 64k 256k 1m; do
		for depth in 1 16 64; do
			case $bs in 512) mib=1 ;; 4k) mib=4 ;; *) mib=16 ;; esac
			run randwrite $bs $depth $mib
		done
	done
else
	run randwrite 512 16 1
	run randwrite 4k 64 6
	run randwrite 1m 8 16
fi
# several sizes at once, not aligned to anything, with flushes in between
run randwrite 512-128k 32 12 "--bsrange=512-128k --fsync=16 --verify_backlog=64"
run randrw 4k 32 8 "--fdatasync=8"
run randread 64k 16 0 "--size=16m --verify=null --do_verify=0"

# discard: what is gone reads as zeroes or as it was, what lies beside it is untouched
if [ "$(cat /sys/block/xvda/queue/discard_max_bytes)" -gt 0 ]; then
	dd if=/dev/urandom of=/tmp/pat bs=1M count=4 2>/dev/null
	dd if=/tmp/pat of=/dev/xvda bs=1M seek=8 conv=fsync 2>/dev/null
	blkdiscard -o $((9 * 1048576)) -l $((2 * 1048576)) /dev/xvda
	dd if=/dev/xvda of=/tmp/got bs=1M skip=8 count=4 iflag=direct 2>/dev/null
	for mib in 0 3; do
		dd if=/tmp/pat bs=1M skip=$mib count=1 2>/dev/null | md5sum >/tmp/a
		dd if=/tmp/got bs=1M skip=$mib count=1 2>/dev/null | md5sum >/tmp/b
		cmp /tmp/a /tmp/b || { echo "discard took MiB $mib too" >/tmp/fio.out; exit 1; }
	done
	discarded=$(dd if=/tmp/got bs=1M skip=1 count=2 2>/dev/null | tr -d '\0' | wc -c)
	discarded=", discard leaves $discarded bytes"
fi
sync
echo "$runs runs of fio${discarded:-}" >/tmp/done
