#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Workers are killed again and again while files go over TCP, by a TAP and by the switch: connections go on, every byte is
# right, no interface goes away, no front end leaves state 4.
# What it needs: see net-functions.sh.
set -euo pipefail

# shellcheck source=tests/net-functions.sh
. "$(dirname "$0")/net-functions.sh"

backd_start
n=0
for g in one two; do
	n=$((n + 1))
	guest_begin $g "'mac=00:16:3e:09:00:0$n,port=tap', 'mac=00:16:3e:08:00:0$n,port=switch:lan'" ",queues=2" ""
	guest_ready $g
	id=$(pvl --host "local:$fabric" domid $g)
	ip address add 10.9.$n.1/24 dev "vif$id.0"
	ip link set "vif$id.0" up
	in_guest $g ip address add 10.9.$n.2/24 dev eth0
	in_guest $g ip address add 10.8.0.1$n/24 dev eth1
	in_guest $g ip link set eth0 up
	in_guest $g ip link set eth1 up
done
index=$(cat "/sys/class/net/vif$id.0/ifindex" 2>/dev/null || ip -o link show "vif$id.0" | cut -d: -f1)
head -c 24M /dev/urandom >big
answers() { in_guest one python3 "$net" ping 10.9.1.1 1 1 && in_guest one python3 "$net" ping 10.8.0.12 1 1; }
await 20 answers

# round SCOPE WHERE HOST WHAT: a server, and transfers from it while workers are killed
round() {
	local before

	rm -f serving
	$1 python3 "$net" serve big >/dev/null 2>&1 &
	holders=($!)
	await 10 test -e serving
	before=$(went_on)
	killer 0.3 patient &
	holders+=($!)
	for ((i = 0; i < 3; i++)); do transfer "$2" "$3" "$4"; done
	stop "${holders[1]}"
	stop "${holders[0]}"
	holders=()
	echo "$4: $(($(went_on) - before)) devices went on, 3 x 24 MiB, equal SHA-256"
	await 20 answers
}
one="nsenter --net=$dir/netns-one"
round "$one" "" 10.9.1.2 "guest -> host"
round "" "in_guest two" 10.9.2.1 "host -> guest"
round "$one" "in_guest two" 10.8.0.11 "guest -> guest, switch"
[ "$(went_on)" -ge 12 ] || fail "only $(went_on) times a device went on"
# pvbackd itself, with and without them
rm -f serving
$one python3 "$net" serve big >/dev/null 2>&1 &
holders=($!)
await 10 test -e serving
(for ((i = 0; i < 3; i++)); do transfer "" 10.9.1.2 "guest -> host" && transfer "in_guest two" 10.8.0.11 "guest -> guest, switch"; done) &
t=$!
for ((n = 1; n <= 6; n++)); do
	backd_replaced "$([ $((n % 2)) = 0 ] && echo killed || echo killed with its workers)"
	all_go_on() { [ "$(grep -c "goes on, after" pvbackd.log)" = 4 ]; }
	await 20 all_go_on
done
wait $t || fail "transfers while pvbackd was replaced"
stop "${holders[0]}"
holders=()
echo "pvbackd replaced $((n - 1)) times: 6 x 24 MiB, equal SHA-256"
await 20 answers
[ "$(ip -o link show "vif$id.0" | cut -d: -f1)" = "$index" ] || fail "the interface is another one"
! cat all.log pvbackd.log | grep "Closing (error)\|waits until told\|was connected by" || fail "a NIC was given up"
export XENSTORED_PATH=$fabric/store
for d in 1/0 1/1 2/0 2/1; do
	[ "$(xenstore-read /local/domain/0/backend/vif/$d/state)" = 4 ] || fail "vif $d has left state 4"
done
run pvl --host "local:$fabric" destroy one two
no_taps
backd_stop
echo "PASS: workers of NICs killed, no connection lost, no wrong byte"
