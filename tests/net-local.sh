#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Synthetic NICs from one end to the other without Xen: two process guests, each with a network namespace of its own,
# talk to each other over a switch inside pvbackd, and to a Linux bridge on the host side by a TAP.
#   tests/net-local.sh [--show]     --show prints each command before it runs, and what it says
# What it needs: see net-functions.sh.
set -euo pipefail

# shellcheck source=tests/net-functions.sh
. "$(dirname "$0")/net-functions.sh"


title "The bus, the back ends."
backd_start

title "Two guests that are processes, each with a network namespace: eth0 on a TAP of the host, eth1 on the switch \"lan\"."
n=0
for g in one two; do
	n=$((n + 1))
	guest_begin $g "'mac=00:16:3e:09:00:0$n,port=tap', 'mac=00:16:3e:08:00:0$n,port=switch:lan'" "" ""
	[ -z "$show" ] || [ $g = two ] || sed "s|$dir/||g; s/^/   /" $g.cfg
done
for g in one two; do guest_ready $g; done
run pvl --host "local:$fabric" network-list one two

title "Addresses; a bridge on the host's side, as vif-bridge would plug it."
run ip link set lo up
run ip link add br0 type bridge
run ip link set br0 up
run ip address add 10.9.0.1/24 dev br0
n=0
for g in one two; do
	n=$((n + 1))
	id=$(pvl --host "local:$fabric" domid $g)
	run ip link set "vif$id.0" master br0
	run ip link set "vif$id.0" up
	for e in 0 1; do
		in_guest $g ip address add 10.$((9 - e)).0.1$n/24 dev eth$e
		in_guest $g ip link set eth$e up
	done
done

title "Ping: host to guest, guest to guest over the bridge, guest to guest over the switch."
# the bridge's ports take part as soon as their carrier is known
for ((i = 0; i < 50; i++)); do ! python3 "$net" ping 10.9.0.11 1 0.2 >/dev/null 2>&1 || break; done
run python3 "$net" ping 10.9.0.11 3 5
run in_guest one python3 "$net" ping 10.9.0.12 3 5
run in_guest one python3 "$net" ping 10.8.0.12 3 5

title "A file of 32 MiB over TCP."
head -c 32M /dev/urandom >big
nsenter --net="$dir/netns-one" python3 "$net" serve big >/dev/null 2>&1 & # nsenter becomes it
holders+=($!)
await 5 test -e serving
transfer "" 10.9.0.11 "guest -> host, TAP"
transfer "in_guest two" 10.9.0.11 "guest -> guest, TAPs and bridge"
transfer "in_guest two" 10.8.0.11 "guest -> guest, switch"
rm serving
stop "${holders[0]}"
python3 "$net" serve big >/dev/null 2>&1 &
holders+=($!)
await 5 test -e serving
transfer "in_guest one" 10.9.0.1 "host -> guest, TAP"

title "What the host makes of its interface is the guest's link."
id=$(pvl --host "local:$fabric" domid two)
link_is() { in_guest two ip link show eth0 | grep -q "$@"; }
run ip link set "vif$id.0" mtu 1400
await 5 link_is " mtu 1400 "
run ip link set "vif$id.0" down
await 5 link_is NO-CARRIER
run ip link set "vif$id.0" mtu 1500 up
await 5 link_is LOWER_UP
await 5 link_is " mtu 1500 "

title "Counters; detach, and nothing is left."
run pvl --host "local:$fabric" stats
id=$(pvl --host "local:$fabric" domid one)
run pvl --host "local:$fabric" network-detach one 0
until_true 5 not_there "vif$id.0" || fail "the TAP vif$id.0 is left"
run pvl --host "local:$fabric" destroy one two
no_taps
backd_stop
echo
echo "PASS: two guests, host, bridge and switch: pings answered, 4 x 32 MiB over TCP, every byte is the same"
