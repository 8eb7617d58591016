#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of pvblk.sh: pvblk-guest.sh WORD [ARG...]; a function for each word.
set -e
disk=/dev/xvda
stat=/sys/block/xvda/stat

until_true() { # TENTHS COMMAND...
	left=$1
	shift
	until "$@"; do
		[ "$left" -gt 0 ] || { echo "not within the limit: $*" >&2; why >&2; exit 1; }
		usleep 100000
		left=$((left - 1))
	done
}

# What there is to see of a guest that waits in vain.
why() {
	for task in /proc/[0-9]*/task/*; do
		case $(cat "$task/comm" 2>/dev/null) in
		fio | dd | sh | rmmod | insmod | *xvd*) echo "$task: $(cat "$task/comm" "$task/syscall" "$task/stack" 2>/dev/null | tr '\n' ' ')" ;;
		esac
	done
	grep . /sys/block/xvd*/stat /sys/block/xvd*/inflight 2>/dev/null
	echo w >/proc/sysrq-trigger # who sleeps for good, in the log
}

fio() { /usr/bin/env fio --name=v --filename=$disk --direct=1 --ioengine=libaio --output=/tmp/fio.out "$@" || { cat /tmp/fio.out; exit 1; }; }

verify() { fio --verify=crc32c --verify_fatal=1 --do_verify=1 "$@"; }

fields() { awk -v f="$1" '{ print $f }' $stat; }

# busy FIELD COUNT: so many more than when base was set to what the field said
busy() { [ -e $stat ] && [ "$(fields "$1")" -gt $((base + $2)) ]; }

# What is written raw is read again from the disk and not from a cache; prints its sum for dom0.
do_raw() {
	dd if=/dev/urandom of=/tmp/x bs=64k count=100 2>/dev/null
	dd if=/tmp/x of=$disk bs=1M conv=fsync 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	head -c 6553600 $disk | cmp - /tmp/x
	sha256sum </tmp/x
}

do_files() {
	mount -t ext4 $disk /mnt
	cp -r /lib /bin/busybox /mnt
	cd /mnt
	tar cf all.tar lib busybox
	sync
	sha256sum all.tar >/tmp/sum
	cd /
	umount /mnt
	echo 3 >/proc/sys/vm/drop_caches
	mount -t ext4 $disk /mnt
	cd /mnt
	sha256sum -c /tmp/sum
	cd /
	umount /mnt
}

do_verify() {
	for bs in 4k 64k 256k; do
		verify --rw=randwrite --bs=$bs --iodepth=32 --size=16m
	done
	# sizes up to the largest request, aligned to nothing, with flushes in between
	verify --rw=randwrite --bsrange=512-1m --blockalign=512 --iodepth=32 --size=24m --fsync=16
	verify --rw=randwrite --bs=4k --iodepth=32 --numjobs=4 --size=6m --offset_increment=6m --group_reporting
}

do_verify_some() { verify --rw=randwrite --bsrange=512-256k --blockalign=512 --iodepth=16 --size=12m --fsync=16; }

# The module can be unloaded once it has no disks (xenbus keeps it until then); its readers get errors.
do_rmmod() {
	n=0
	while [ $n -lt "$1" ]; do
		until_true 300 test -b $disk
		base=$(fields 1)
		dd if=$disk of=/dev/null bs=256k iflag=direct 2>/dev/null &
		dd if=$disk of=/dev/null bs=4k iflag=direct 2>/dev/null &
		until_true 300 busy 1 20
		echo vbd-51712 >/sys/bus/xen/drivers/pvblk/unbind
		wait
		until_true 300 rmmod pvblk
		insmod /root/pvblk.ko
		n=$((n + 1))
	done
	until_true 300 test -b $disk
	dd if=$disk of=/dev/null bs=1M count=8 iflag=direct
}

ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

# Taken away under fio, which gets errors or, with nothing in flight at that moment, reads nothing any more; but none of it waits
# for ever (and it must not make a file where the disk was).
do_unbind() {
	n=0
	while [ $n -lt "$1" ]; do
		until_true 300 test -b $disk
		base=$(fields 1)
		/usr/bin/env fio --name=u --filename=$disk --direct=1 --ioengine=libaio --iodepth=32 --rw=randread --bs=16k \
			--allow_file_create=0 --size=16m --time_based --runtime=300 --output=/tmp/fio.out &
		pid=$!
		until_true 300 busy 1 100
		echo vbd-51712 >/sys/bus/xen/drivers/pvblk/unbind
		[ ! -b $disk ]
		kill $pid 2>/dev/null || true
		until_true 300 ended $pid
		echo vbd-51712 >/sys/bus/xen/drivers/pvblk/bind
		n=$((n + 1))
	done
	until_true 300 test -b $disk
	dd if=$disk of=/dev/null bs=1M count=8 iflag=direct
}

# fio goes on in the background; do_fio_end says how it went.
do_fio() { # SECONDS [OPTION...]
	seconds=$1
	shift
	rm -f /tmp/fio.rc
	base=$(fields 5)
	(
		rc=0
		(verify --rw=randwrite --bsrange=4k-256k --iodepth=32 --size=16m --norandommap --verify_backlog=64 \
			--time_based --runtime="$seconds" "$@") >/tmp/fio.text 2>&1 || rc=$?
		echo $rc >/tmp/fio.rc
	) </dev/null >/dev/null 2>&1 &
	until_true 600 busy 5 100
}

do_fio_end() {
	until_true 1200 test -s /tmp/fio.rc
	[ "$(cat /tmp/fio.rc)" = 0 ] || { cat /tmp/fio.text; exit 1; }
}

# Blocks that look like the journal's own are written from a copy, which is a small object of the kernel.
do_copied() {
	mount -t ext4 -o data=journal /dev/xvdb /mnt
	{ printf '\300\073\071\230'; head -c 1020 /dev/zero; } >/tmp/block
	cat /tmp/block /tmp/block /tmp/block /tmp/block >/tmp/magic
	before=$(cat /sys/block/xvdb/pvblk/copied)
	cp /tmp/magic /mnt/magic
	sync
	[ "$(cat /sys/block/xvdb/pvblk/copied)" -gt "$before" ] || { echo "nothing was copied" >&2; exit 1; }
	umount /mnt
	echo 3 >/proc/sys/vm/drop_caches
	mount -t ext4 /dev/xvdb /mnt
	cmp /tmp/magic /mnt/magic
	umount /mnt
}

# Zeroes are written, and no more than was asked for; what is sent for them is not data.
do_zeroes() {
	[ "$(cat /sys/block/xvda/pvblk/write_zeroes)" = "$1" ]
	dd if=/dev/urandom of=$disk bs=1M count=8 oflag=direct 2>/dev/null
	head -c 8388608 $disk >/tmp/want
	dd if=/dev/zero of=/tmp/want bs=512 seek=2047 count=9001 conv=notrunc 2>/dev/null
	/usr/sbin/blkdiscard -z -o 1048064 -l 4608512 $disk
	sync
	echo 3 >/proc/sys/vm/drop_caches
	head -c 8388608 $disk | cmp - /tmp/want
}

# Who polls gets answers, and hardly an event.
do_polled() {
	cd /sys/block/xvda/pvblk
	[ "$(cat poll_queues)" -ge 1 ] || { echo "no queue is polled" >&2; exit 1; }
	events=$(cat events) responses=$(cat responses)
	verify --ioengine=io_uring --hipri=1 --rw=randwrite --bs=4k --iodepth=8 --size=8m
	verify --ioengine=io_uring --hipri=1 --rw=randwrite --bsrange=4k-256k --iodepth=4 --size=16m
	events=$(($(cat events) - events)) responses=$(($(cat responses) - responses))
	echo "$responses answers, $events events"
	[ $responses -gt 4000 ] && [ $((events * 20)) -lt $responses ]
}

name_of() { ls "/sys/bus/xen/devices/vbd-$1/block" 2>/dev/null || true; }

told() { dmesg | grep -c "vbd-$1: .*disk is disabled" || true; }

there_or_told() { [ -b "/dev/$(name_of "$1")" ] || [ "$(told "$1")" != 0 ]; }

# What a back end could see beside the data: sectors that begin anywhere in a page, with others' around them.
odd() { /usr/bin/env fio --name=o --filename="$1" --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw --bsrange=512-16k --blockalign=512 \
	--iomem_align=512 --refill_buffers --size=2m --output=/tmp/odd.out || { cat /tmp/odd.out >&2; exit 1; }; }

# The disk comes and goes as its back end says; what is read and written may fail, but each of it ends.
cycled() { # DEVID
	n=0 ended=0
	while [ $n -lt 40 ]; do
		lying=/dev/$(name_of "$1")
		if [ -b "$lying" ]; then
			rc=0
			timeout 60 dd if=/dev/urandom of="$lying" bs=64k count=4 oflag=direct 2>/dev/null || rc=$?
			[ $rc != 143 ] || { echo "dd does not end" >&2; exit 1; }
			[ -b "$lying" ] || rm -f "$lying"
			ended=$((ended + 1))
		else
			usleep 100000
		fi
		n=$((n + 1))
	done
	echo "$ended of 40 times there was a disk"
}

# It is there for good.
works() { # DEVID
	lying=/dev/$(name_of "$1")
	[ -b "$lying" ] && timeout 60 dd if="$lying" of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null
}

bound_again() { # DEVID
	for what in unbind bind unbind bind; do
		echo "vbd-$1" 2>/dev/null >"/sys/bus/xen/drivers/pvblk/$what" || true
		usleep 200000
	done
}

# Reads and writes for a back end that lies, unless it has lied when partitions were looked for: then the disk may be gone.
# WANTED: dead, alive, fails (only the requests do), odd (alive, and with other requests, too), cycled (comes to an end), or remade
# (works once it was made for the last time)
do_lied() { # DEVID WANTED
	case $2 in
	cycled) cycled "$1" && bound_again "$1"; return ;;
	remade) cycled "$1" && sleep 4 && until_true 300 works "$1"; return ;;
	esac
	until_true 300 there_or_told "$1"
	lying=/dev/$(name_of "$1")
	rc=0
	for i in 1 2 3 4 5 6 7 8; do
		[ -b "$lying" ] || { rc=1; break; }
		dd if=/dev/urandom of="$lying" bs=64k count=4 seek="$i" oflag=direct 2>/dev/null || rc=1
		dd if="$lying" of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null || rc=1
	done
	n=$(told "$1")
	dmesg | sed -n "s/.*vbd-$1: .*\(ring .*disabled\)/\1/p"
	case $2 in
	dead) [ "$n" = 1 ] && [ $rc = 1 ] ;;
	odd) [ "$n" = 0 ] && [ $rc = 0 ] && odd "$lying" ;;
	alive) [ "$n" = 0 ] && [ $rc = 0 ] ;;
	fails) [ "$n" = 0 ] && [ $rc = 1 ] ;;
	esac || { echo "vbd-$1 said $n times that it is disabled, and I/O ended with $rc" >&2; exit 1; }
}

do_unlied() { # DEVID
	until_true 300 test ! -e "/sys/bus/xen/devices/vbd-$1"
}

logged() { [ "$(dmesg | grep -c "$1")" = "$2" ]; }

do_said() { # WHAT TIMES
	logged "$1" "$2" || { echo "not $2 times: $1" >&2; dmesg | grep pvblk >&2; exit 1; }
}

# Asked once a second, told once; a kick does no harm.
do_late() {
	grep -q " /sys/kernel/debug " /proc/mounts || mount -t debugfs debugfs /sys/kernel/debug
	rings=/sys/kernel/debug/pvblk/vbd-51712
	(rc=0; dd if=$disk of=/dev/null bs=64k count=2 iflag=direct 2>/dev/null || rc=$?; echo $rc >/tmp/late.rc) </dev/null >/dev/null 2>&1 &
	until_true 100 logged 'asked again' 1
	grep -q ' late' $rings
	grep 'read, 65536 bytes at 0 ' $rings
	n=$(cat /sys/block/xvda/pvblk/notifies)
	echo kick >$rings
	if echo nonsense 2>/dev/null >$rings; then echo "nonsense was taken" >&2; exit 1; fi
	[ "$(cat /sys/block/xvda/pvblk/notifies)" -gt "$n" ]
	[ ! -e /tmp/late.rc ]
	logged 'asked again' 1
}

do_late_end() {
	until_true 300 test -s /tmp/late.rc
	[ "$(cat /tmp/late.rc)" = 0 ]
	if grep ' late' /sys/kernel/debug/pvblk/vbd-51712; then exit 1; fi
}

do_given_up() {
	echo 3 >/sys/module/pvblk/parameters/fail_after
	if dd if=$disk of=/dev/null bs=64k count=2 iflag=direct 2>/dev/null; then echo "it was answered" >&2; exit 1; fi
	until_true 100 logged 'no answer to a read for . s; the disk is disabled' 1
}

# What a debug kernel (lab/debug-kernel) has to say of memory that nobody knows any more; it tells nothing of what is
# younger than five seconds, hence the sleep.
leaks() {
	grep -q " /sys/kernel/debug " /proc/mounts || mount -t debugfs debugfs /sys/kernel/debug
	[ -e /sys/kernel/debug/kmemleak ] || return 0
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	cat /sys/kernel/debug/kmemleak
}

# Every allocation that a new device makes fails once, be it of who binds it or of xenbus' own thread; then it works.
# STRIDE: each so manieth.  (A debug kernel with fault injection.)
there() { [ -b $disk ]; }
closed() { case $(xenstore-read device/vbd/51712/state 2>/dev/null) in 5 | 6) true ;; *) false ;; esac; }
do_failing() { # STRIDE
	. /root/failing.sh
	failing "$1" pvblk vbd-51712
}

# A guest whose kernel log tells of trouble has failed, whatever its programs say.
do_sane() { # [what may be there]
	if dmesg | grep -vE "${1:-^$}" |
	   grep -E 'BUG:|WARNING:|UBSAN|ODEBUG|Oops|Call Trace|blocked for more|I/O error|still in use|disk is disabled'; then exit 1; fi
	leaks >/tmp/leaks
	[ ! -s /tmp/leaks ] || { head -n 60 /tmp/leaks >&2; exit 1; }
	dmesg -c >/dev/null # what was provoked here is nothing for those who come after
}

do_facts() {
	cd /sys/block/xvda/pvblk
	for f in *; do
		printf '%s=%s ' "$f" "$(cat "$f")"
	done
	echo
}

word=$1
shift
"do_$word" "$@"
