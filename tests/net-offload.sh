#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a guest's NIC and the host leave to each other: checksums, scatter-gather, segmentation, each on and off, with
# MTUs of 1400, 1500 and 9000, one queue and four, IPv4 and IPv6.  In each of the 96 cells TCP carries bytes both ways
# (equal sums) and UDP datagrams arrive whole; then the counters of guest, back end and TAP must agree and nothing may
# have been dropped.  Where no checksum is left open, tshark must find each one right in a capture (where there is tshark).
#   tests/net-offload.sh [--show]
# What it needs: see net-functions.sh.
set -euo pipefail
core=$(cd "$(dirname "$0")" && pwd)/net-offload.py

# shellcheck source=tests/net-functions.sh
. "$(dirname "$0")/net-functions.sh"

tshark=$(command -v tshark || true)
[ -n "$tshark" ] || echo "no tshark: what is captured is not looked at"
backd_start --max-nic-queues 4
cells=0 frames=0
for queues in 1 4; do
	for off in "" csum sg gso csum+sg csum+gso sg+gso csum+sg+gso; do
		name=q$queues-${off:-all}
		name=${name//+/-}
		capture=""
		case $off in csum*) [ -z "$tshark" ] || capture="?pcap=$dir/$name.pcap" ;; esac
		words=,queues=$queues
		[ -z "$off" ] || words+=,${off//+/=off,}=off
		guest_begin "$name" "'mac=00:16:3e:09:00:01,port=tap$capture'" "$words"
		guest_ready "$name"
		id=$(pvl --host "local:$fabric" domid "$name")
		python3 "$core" "$dir/netns-$name" "vif$id.0" "$off" "$fabric" "$name" >cells.log || { cat cells.log; fail "$name"; }
		[ -z "$show" ] || sed "s/^/   $name: /" cells.log
		cells=$((cells + $(grep -c ^cell cells.log)))
		run pvl --host "local:$fabric" destroy "$name"
		no_taps
		if [ -n "$capture" ]; then
			# ARP has no checksum; what is neither Good (1) nor absent is Bad (0) or was not looked at (2). Linux writes
			# what comes out as 0 as 0xffff, the same number, also in TCP, and tshark finds that wrong.
			"$tshark" -r "$name.pcap" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
				-Y 'tcp or udp' -T fields -e frame.number -e ip.checksum.status -e tcp.checksum.status -e udp.checksum.status -e tcp.checksum.ffff -e _ws.col.Info \
				>sums.log 2>tshark.log || { cat tshark.log; fail "tshark: $name"; }
			n=$(wc -l <sums.log)
			[ "$n" -gt 100 ] || fail "$name: only $n frames captured"
			awk -F'\t' '($2 $3 $4) ~ /[02]/ && !$5' sums.log >bad.log
			[ ! -s bad.log ] || { cat bad.log; fail "$name: of $n captured frames these have wrong checksums"; }
			frames=$((frames + n))
			rm "$name.pcap"
		fi
	done
done
backd_stop
[ $cells = 96 ] || fail "$cells cells, not 96"
echo "PASS: $cells cells, every byte right, no frame lost; checksums of $frames captured frames right"
