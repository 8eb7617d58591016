#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of pair.sh: pair-guest.sh WORD [ARG...]; a function for each word.
set -e
peer=10.0.2.2

until_true() { # TENTHS COMMAND...
	left=$1
	shift
	until "$@"; do
		[ "$left" -gt 0 ] || { echo "not within the limit: $*" >&2; do_show >&2; exit 1; }
		usleep 100000
		left=$((left - 1))
	done
}

driver_of() { basename "$(readlink "/sys/class/net/$1/device/driver")"; }

# The interface of both is the one that has lower ones.
master() {
	for lower in /sys/class/net/*/lower_*; do
		[ -e "$lower" ] || return 1
		basename "${lower%/lower_*}"
		return
	done
}

# pv or passed
half() {
	m=$(master) || return
	for lower in "/sys/class/net/$m"/lower_*; do
		name=${lower##*/lower_}
		case $1/$(driver_of "$name") in
		passed/e1000e | pv/vif | pv/pvnet) echo "$name"; return ;;
		esac
	done
	return 1
}

has() { half "$1" >/dev/null; }

has_not() { ! has "$1"; }

linked() { [ "$(cat "/sys/class/net/$(half "$1")/carrier" 2>/dev/null)" = 1 ]; }

sent() { name=$(half "$1") && cat "/sys/class/net/$name/statistics/tx_packets" || echo 0; }

got() { name=$(half "$1") && cat "/sys/class/net/$name/statistics/rx_packets" || echo 0; }

do_show() {
	for nic in /sys/class/net/*; do
		[ ! -e "$nic/device" ] || echo "${nic##*/}: $(driver_of "${nic##*/}") $(cat "$nic/address") carrier $(cat "$nic/carrier" 2>&1)" \
			"port $(cat "$nic/phys_port_name" 2>/dev/null) $(cd "$nic" && echo lower_* upper_*)"
	done
}

do_up() {
	until_true 200 has pv
	ip link set "$(master)" up
	ip addr show dev "$(master)" | grep -q 10.0.2.15/ || ip addr add 10.0.2.15/24 dev "$(master)"
	until_true 300 linked pv
}

do_name() { master; }

do_attached() {
	until_true 100 has passed
	until_true 300 linked passed
}

do_detached() { until_true 100 has_not passed; }

# COUNT pings are answered, over one half and not the other.
do_over() { # HALF COUNT
	other=passed
	[ "$1" = pv ] || other=pv
	a=$(sent "$1") b=$(sent $other) c=$(got "$1")
	ping -c "$2" -W 5 $peer | grep -q " $2 packets received" || { echo "no answers"; do_show; exit 1; }
	a=$(($(sent "$1") - a)) b=$(($(sent $other) - b)) c=$(($(got "$1") - c))
	echo "$2 pings: $1 sent $a, got $c; $other sent $b"
	[ $a -ge "$2" ] && [ $c -ge "$2" ] && [ $b -eq 0 ] || { do_show; exit 1; }
}

# A single interface, that of ours, which works.
do_alone() {
	! master >/dev/null || { do_show; exit 1; }
	ip link set eth0 up
	ip addr show dev eth0 | grep -q 10.0.2.15/ || ip addr add 10.0.2.15/24 dev eth0
	until_true 300 ping -c 1 -W 1 $peer >/dev/null
}

do_pinging() { # until do_pinged; each tenth of a second
	ping -i 0.1 -W 1 $peer >/tmp/ping.log 2>&1 &
	echo $! >/tmp/ping.pid
}

# How many were sent and answered so far, and at least MORE are still to come.
do_answered() { # MORE
	n=$(grep -c 'seq=' /tmp/ping.log)
	until_true 300 more $((n + $1))
}

more() { [ "$(grep -c 'seq=' /tmp/ping.log)" -ge "$1" ]; }

do_pinged() {
	kill -INT "$(cat /tmp/ping.pid)"
	usleep 300000
	sed -n 's/\(.* packets transmitted.*\)/\1/p' /tmp/ping.log
}

# The driver comes and goes; what the passed NIC has is left alone meanwhile.
do_reload() { # ROUNDS
	i=0
	while [ $i -lt "$1" ]; do
		echo vif-0 >/sys/bus/xen/drivers/pvnet/unbind
		! master >/dev/null
		rmmod pvnet
		insmod /root/pvnet.ko
		do_up
		i=$((i + 1))
	done
}

do_sane() {
	! dmesg | grep -E 'BUG|WARNING:|Call Trace|refcount|is disabled' || exit 1
}

word=$1
shift
"do_$word" "$@"
