#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of pvnet.sh: pvnet-guest.sh WORD [ARG...]; a function for each word.
set -e
n=$(hostname | tr -dc 0-9)

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
	for nic in /sys/class/net/eth*; do
		echo "${nic##*/}: $(do_facts "${nic##*/}" 2>&1)"
	done
	ps -o pid,stat,args 2>/dev/null | grep -v '\[' | tail -n 12
	echo w >/proc/sysrq-trigger # who sleeps for good, in the log
}

is() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

linked() { is "/sys/class/net/$1/carrier" 1; }

bytes() { cat "/sys/class/net/eth0/statistics/$1_bytes"; }

moved() { [ "$(bytes "$1")" -gt $((base + $2)) ]; }

# Addresses of all NICs there are: eth0 is on the bridge, eth1 on the switch.
do_up() {
	for nic in /sys/class/net/eth*; do
		nic=${nic##*/}
		net=$((9 - ${nic#eth}))
		ip link set "$nic" up
		ip addr show dev "$nic" | grep -q "10.$net.0.1$n/" || ip addr add "10.$net.0.1$n/24" dev "$nic"
		until_true 300 linked "$nic"
	done
}

do_driver() { basename "$(readlink /sys/class/net/eth0/device/driver)"; }

# A file to fetch, with its sum.
do_serve() { # MIB
	mkdir -p /www
	dd if=/dev/urandom of=/www/file bs=1M count="$1" 2>/dev/null
	sha256sum </www/file >/www/sum
	httpd -h /www
}

do_fetch() { # ADDRESS
	sum=$(wget -q -O - "http://$1/file" | sha256sum)
	want=$(wget -q -O - "http://$1/sum")
	[ -n "$want" ] && [ "$sum" = "$want" ] || { echo "sums of $1 differ: $sum, $want" >&2; exit 1; }
}

do_ping() { # ADDRESS COUNT [SIZE]
	left=30
	until ping -c 1 -W 2 "$1" >/dev/null; do
		left=$((left - 1))
		[ $left -gt 0 ] || { echo "$1 does not answer" >&2; exit 1; }
	done
	ping -c "$2" -W 5 -s "${3:-56}" "$1" | tail -n 2
}

# Fetching goes on in the background, through whatever happens, one time after the other so that some of it is under way
# whatever happens; do_fetched lets one more get to its end and says how it went.  Only to begin may be tried again: there may be no
# NIC for so long that the neighbour is given up.
do_fetching() { # ADDRESS
	rm -f /tmp/fetch.rc /tmp/fetch.enough
	base=$(bytes rx)
	(
		rc=0 tries=60
		while [ $rc = 0 ]; do
			if (do_fetch "$1") >/tmp/fetch.text 2>&1; then
				[ ! -e /tmp/fetch.enough ] || break
			elif [ $tries -gt 0 ] && grep -q "can't connect" /tmp/fetch.text; then
				tries=$((tries - 1))
				sleep 1
			else
				rc=1
			fi
		done
		echo $rc >/tmp/fetch.rc
	) </dev/null >/dev/null 2>&1 &
	until_true 600 moved rx 1000000
}

do_fetched() {
	touch /tmp/fetch.enough
	until_true 1800 test -s /tmp/fetch.rc
	is /tmp/fetch.rc 0 || { cat /tmp/fetch.text; exit 1; }
}

# The module can be unloaded once it has no NICs: xenbus keeps it until then.
do_rmmod() { # ROUNDS ADDRESS
	i=0
	while [ $i -lt "$1" ]; do
		base=$(bytes rx)
		ping -f -c 1000000 "$2" >/dev/null 2>&1 &
		wget -q -O /dev/null "http://$2/file" >/dev/null 2>&1 &
		until_true 300 moved rx 20000
		for nic in /sys/bus/xen/drivers/pvnet/vif-*; do
			echo "${nic##*/}" >/sys/bus/xen/drivers/pvnet/unbind
		done
		until_true 300 rmmod pvnet
		[ ! -e /sys/class/net/eth0 ] || { echo "eth0 is left" >&2; exit 1; }
		kill %1 %2 2>/dev/null || true
		wait
		# shellcheck disable=SC2086
		insmod /root/pvnet.ko $PARAMETERS
		until_true 300 test -e /sys/class/net/eth0
		do_up
		do_ping "$2" 1 >/dev/null
		i=$((i + 1))
	done
}

do_unbind() { # ROUNDS ADDRESS
	i=0
	while [ $i -lt "$1" ]; do
		base=$(bytes rx)
		wget -q -O /dev/null "http://$2/file" >/dev/null 2>&1 &
		until_true 300 moved rx 100000
		echo vif-0 >/sys/bus/xen/drivers/pvnet/unbind
		kill %1 2>/dev/null || true
		wait
		echo vif-0 >/sys/bus/xen/drivers/pvnet/bind
		until_true 300 test -e /sys/class/net/eth0
		do_up
		do_ping "$2" 1 >/dev/null
		i=$((i + 1))
	done
}

do_address6() { # of eth0, on its link
	ip -6 addr show dev eth0 scope link | sed -n 's/.*inet6 \(fe80[^/]*\).*/\1/p'
}

# A NIC that was attached has an address of its own net, and works.
do_attached() { # MAC
	mac() { grep -l "$1" /sys/class/net/eth*/address 2>/dev/null; }
	until_true 300 mac "$1" >/dev/null
	nic=$(basename "$(dirname "$(mac "$1")")")
	ip link set "$nic" up
	until_true 300 linked "$nic"
}

do_gone() { # MAC
	until_true 300 do_detached "$1"
}

do_detached() { # MAC
	! grep -l "$1" /sys/class/net/eth*/address
}

nic_of() { # DEVID
	ls "/sys/bus/xen/devices/vif-$1/net" 2>/dev/null
}

connected() { [ -n "$(nic_of "$1")" ] && linked "$(nic_of "$1")"; }

disabled() { dmesg | grep -q "vif-$1: .*device is disabled"; }

told_once() { [ "$(dmesg | grep -c "vif-$1: .*device is disabled")" = 1 ]; }

# The NIC comes and goes as its back end says.
cycled() { # DEVID
	n=0 seen=0
	while [ $n -lt 20 ]; do
		nic=$(nic_of "$1" || true)
		if [ -n "$nic" ]; then
			seen=$((seen + 1))
			ip link set "$nic" up 2>/dev/null || true
			ip addr add 10.40.0.1/24 dev "$nic" 2>/dev/null || true
			arp -s 10.40.0.9 00:16:3e:99:99:99 2>/dev/null || true
			ping -c 1 -s 1000 -W 1 10.40.0.9 >/dev/null 2>&1 || true
			ip link set "$nic" down 2>/dev/null || true
		else
			usleep 100000
		fi
		n=$((n + 1))
	done
	echo "$seen of 20 times there was a NIC"
}

bound_again() { # DEVID
	for what in unbind bind unbind bind; do
		echo "vif-$1" 2>/dev/null >"/sys/bus/xen/drivers/pvnet/$what" || true
		usleep 200000
	done
}

# Frames for a back end that lies about them.  WANTED: dead, alive, any,
# whole (its frames are good), cycled (comes to an end), or remade (works once it was made for the last time)
do_lied() { # DEVID WANTED
	case $2 in
	cycled) cycled "$1" && bound_again "$1"; return ;;
	remade) cycled "$1" && sleep 4 && set -- "$1" alive ;;
	esac
	until_true 300 nic_of "$1" >/dev/null
	nic=$(nic_of "$1")
	ip link set "$nic" up
	ip addr add 10.40.0.1/24 dev "$nic" 2>/dev/null || ip addr show dev "$nic" | grep -q 10.40.0.1/
	case $2 in alive | whole) until_true 300 connected "$1" ;; esac
	arp -s 10.40.0.9 00:16:3e:99:99:99
	left=20
	[ "$2" = dead ] || left=2
	while [ $left -gt 0 ] && ! disabled "$1"; do
		for i in 1 2 3 4 5 6 7 8 9 10; do
			ping -c 1 -s $((i * 200)) -W 1 10.40.0.9 >/dev/null 2>&1 &
		done
		wait
		left=$((left - 1))
	done
	case $2 in
	dead) told_once "$1" || { echo "vif-$1 is not disabled, or said it twice" >&2; exit 1; } ;;
	alive | whole) connected "$1" && ! disabled "$1" || { echo "vif-$1 is disabled" >&2; exit 1; } ;;
	esac
	dmesg | sed -n "s/.*vif-$1: .*\(queue .*disabled\)/\1/p"
	do_facts "$nic" >/tmp/facts
	[ "$2" != whole ] || { grep -q 'rx_packets[:=][1-9]' /tmp/facts && ! grep -q 'rx_errors[:=][1-9]' /tmp/facts; } ||
		{ echo "vif-$1: not all frames were good: $(cat /tmp/facts)" >&2; exit 1; }
	tr ' ' '\n' </tmp/facts | grep -E '^(rx_errors|rx_bad|tx_errors|events|spurious)[:=]' | tr '\n' ' ' || true
}

do_unlied() { # DEVID
	until_true 300 test ! -e "/sys/bus/xen/devices/vif-$1"
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
there() { ip link set eth0 up 2>/dev/null && linked eth0; } # one that is down has no carrier
closed() { case $(xenstore-read device/vif/0/state 2>/dev/null) in 5 | 6) true ;; *) false ;; esac; }
do_failing() { # STRIDE
	. /root/failing.sh
	failing "$1" pvnet vif-0
	do_up
}

# A guest whose kernel log tells of trouble has failed, whatever its programs say.
do_sane() { # [what may be there]
	if dmesg | grep -vE "${1:-^$}" |
	   grep -E 'BUG:|WARNING|UBSAN|ODEBUG|Oops|Call Trace|blocked for more|still in use|device is disabled|stalled pool'; then exit 1; fi
	leaks >/tmp/leaks
	[ ! -s /tmp/leaks ] || { head -n 60 /tmp/leaks >&2; exit 1; }
	dmesg -c >/dev/null # what was provoked here is nothing for those who come after
}

counter() { # NAME NIC
	ethtool -S "$2" | awk -v name="$1:" '$1 == name { print $2 }'
}

do_counted() { # NAME NIC LEAST [MOST]
	n=$(counter "$1" "$2")
	[ "$n" -ge "$3" ] && [ "$n" -le "${4:-$n}" ] || { echo "$1 of $2 is $n, not $3 ${4:+to $4}" >&2; exit 1; }
}

# All frames of a flow come to the queue that the table names.
steered() { # WEIGHTS QUEUE OTHER ADDRESS
	ethtool -X eth0 weight $1
	do_ping "$4" 1 >/dev/null
	mine=$(counter "rx$2_packets" eth0) others=$(counter "rx$3_packets" eth0)
	do_fetch "$4"
	mine=$(($(counter "rx$2_packets" eth0) - mine)) others=$(($(counter "rx$3_packets" eth0) - others))
	echo "weights $1: $mine frames by queue $2, $others by queue $3"
	[ "$mine" -gt 100 ] && [ $((others * 20)) -lt "$mine" ]
}

do_rss() { # ADDRESS
	key=$(seq 11 50 | tr '\n' : | sed 's/:$//')
	ethtool -x eth0 | grep -q 'with 2 RX ring'
	steered "0 1" 1 0 "$1"
	steered "1 0" 0 1 "$1"
	ethtool -X eth0 hkey "$key"
	ethtool -x eth0 | grep -q "^$key"
	ethtool -X eth0 equal 2
	do_fetch "$1"
	do_counted rx_hashed eth0 100
	! dmesg | grep 'does not hash'
}

plain() { is_now="$(xenstore-read "device/vif/$2/feature-no-csum-offload" 2>/dev/null || echo 0)"; [ "$is_now" = "$1" ] && linked "eth$2"; }

# A program comes or goes, and the NIC has a new connection for it.
do_xdp() { # NUMBER PROGRAM|off [NIC2]
	case $2 in
	off) /root/xdp-load "eth$1" off; until_true 300 plain 0 "$1" ;;
	*) /root/xdp-load "eth$1" "/root/xdp-$2" $3; until_true 300 plain 1 "$1" ;;
	esac
}

# A page is what a program can see, so larger frames and programs exclude each other.
do_xdp_mtu() {
	ip link set eth0 mtu 4000
	if /root/xdp-load eth0 /root/xdp-pass 2>/tmp/said; then echo "taken with an MTU of 4000" >&2; exit 1; fi
	grep -q 'does not fit a page' /tmp/said || { cat /tmp/said >&2; exit 1; }
	ip link set eth0 mtu 1500
	do_xdp 0 pass
	if ip link set eth0 mtu 4000 2>/dev/null; then echo "an MTU of 4000 was taken with a program" >&2; exit 1; fi
	do_xdp 0 off
}

do_facts() {
	if ethtool --version >/dev/null 2>&1; then
		ethtool -S "${1:-eth0}" | awk 'NR > 1 && $2 { printf "%s%s ", $1, $2 }'
	else
		cd "/sys/class/net/${1:-eth0}/statistics"
		for f in [rt]x_*; do
			printf '%s=%s ' "$f" "$(cat "$f")"
		done
	fi
	echo
}

word=$1
shift
"do_$word" "$@"
