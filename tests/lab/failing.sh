#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A part of pvblk-guest.sh and pvnet-guest.sh.  A debug kernel makes the Nth allocation of a thread fail (fail-nth of
# /proc); a driver must get through that without a leak, and be able to take the device afterwards.
# Who includes it has until_true(), there() and closed().

# There are these two ways to allocate; most of what they are asked for may wait, which must not excuse it.
prepare() {
	grep -q " /sys/kernel/debug " /proc/mounts || mount -t debugfs debugfs /sys/kernel/debug
	for f in failslab fail_page_alloc; do
		echo N >/sys/kernel/debug/$f/ignore-gfp-wait
		echo 0 >/sys/kernel/debug/$f/verbose
	done
	echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
	echo N >/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
}

unbound() {
	[ ! -e "$driver/$device" ] || echo "$device" >"$driver/unbind"
}

# The device as far as it gets, or there.
settled() { there || closed || [ ! -e "$driver/$device" ]; }

# The Nth allocation of who binds; left: 0 if there were so many.
bind_failing() { # N
	sh -c "echo $1 >/proc/self/fail-nth; echo $device >$driver/bind; read -r left </proc/self/fail-nth; echo \$left >/tmp/left" \
		2>/dev/null || true
	left=$(cat /tmp/left)
}

# Who does what follows: xenbus' own thread, and those of work queues that are bound to no processor.
workers() { grep -lE '^(xenwatch|kworker/u.*)$' /proc/[0-9]*/comm | cut -d/ -f3; }

# ... the Nth of theirs; left: 0 if one of them had so many.
watch_failing() { # N
	who_works=$(workers)
	for pid in $who_works; do echo "$1" >"/proc/$pid/fail-nth"; done
	echo "$device" >"$driver/bind" || true
	i=0
	until settled || [ $i = 40 ]; do
		usleep 50000
		i=$((i + 1))
	done
	left=1
	for pid in $who_works; do
		[ "$(cat "/proc/$pid/fail-nth" 2>/dev/null || echo 1)" != 0 ] || left=0
		echo 0 2>/dev/null >"/proc/$pid/fail-nth" || true
	done
}

failing() { # STRIDE DRIVER DEVICE
	driver=/sys/bus/xen/drivers/$2 device=$3
	prepare
	for who in bind watch; do
		nth=0 left=0 lives=0
		until [ "$left" != 0 ] && there; do
			unbound
			nth=$((nth + $1))
			${who}_failing $nth
			[ "$left" = 0 ] || until_true 300 there
			[ $((nth % 20)) -ge "$1" ] || echo "failing: $who $nth, left $left" >/dev/kmsg
			! there || lives=$((lives + 1))
			[ $nth -lt 20000 ] || { echo "no end of allocations by $who" >&2; exit 1; }
		done
		echo "$who: less than $nth allocations, one of $1 failed; $lives times there was a device all the same"
	done
	unbound
	echo "$device" >"$driver/bind"
	until_true 300 there
}
