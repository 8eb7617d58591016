#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvbackd itself is killed, with all its workers or without, stopped, and started again, while a guest verifies what it reads
# and sends over its NIC: another pvbackd goes on.  What it can not go on with it says and leaves alone.
set -euo pipefail
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"

backd_start
two_disks
connected() { grep -q "51712 (xvda): Connected (rings are mapped)" pvbackd.log; }
export XENSTORED_PATH=$fabric/store
node() { xenstore-read "/local/domain/0/backend/vbd/1/$1/$2" 2>/dev/null; }
# how often the disk was read, as counted under all of them
reads() { pvl --host "local:$fabric" stats --prometheus | awk '/^pvbus_vbd_requests_total.*vdev="xvda".*op="read"/ { n += $2 } END { print n + 0 }'; }
closed() { [ "$(node 51712 state)" = 2 ] || [ "$(node 51712 state)" = 6 ]; }

for how in "killed" "killed with its workers" "stopped"; do
	bench xvda "op=randrw qd=16 bs=4k verify=1 time=5" --queues 2 >bench.json &
	b=$!
	await 20 connected
	before=$(went_on) counted=0
	for ((n = 0; n < 6; n++)); do
		backd_replaced "$how"
		goes_on() { [ "$(went_on)" -gt $((before + n)) ]; }
		await 20 goes_on
		[ "$(node 51712 state)" = 4 ] || fail "the disk has left state 4"
		now=$(reads)
		[ "$now" -gt "$counted" ] || fail "$now reads counted by now, $counted by the pvbackd before"
		counted=$now
	done
	wait $b || fail "$how"
	[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] && [ "$(member verified)" -gt 0 ] || fail "$how: $(cat bench.json)"
	echo "$how: $n times another pvbackd went on, $(member verified) blocks verified, none wrong:" \
		"$(cat all.log pvbackd.log | grep -o 'after [0-9]* ms' | tail -n "$n" | tr '\n' ' ')"
	await 20 closed
	[ -z "$(ls -I '*.stats' "$fabric/pvbackd-journal")" ] || fail "left behind: $(ls "$fabric/pvbackd-journal")"
	backd_replaced stopped
done

# stopped before it has gone on, at whatever point of the way
bench xvda "op=randrw qd=16 bs=4k verify=1 time=4" >bench.json &
b=$!
await 20 connected
for ((n = 0; n < 12; n++)); do
	backd_replaced stopped
	sleep "0.0$((n * 7 % 10))"
done
wait $b || fail "stopped on the way"
[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] && [ "$(member verified)" -gt 0 ] || fail "stopped on the way: $(cat bench.json)"
! cat all.log pvbackd.log | grep "Closing (error)" || fail "a disk was given up"
backd_replaced stopped

hold() { # DISK: a guest that has it open and does nothing
	pvguest --hv "local:$fabric:1" --disk "$1" --bench "op=read qd=1 bs=4k time=1000" >/dev/null 2>&1 &
	holders+=($!)
}
says() { grep -q "$1" pvbackd.log; }

# one hands over to the next, as when a package is upgraded; the process stays
upgrade() { pvl --host "local:$fabric" backend upgrade "$@"; }
bench xvda "op=randrw qd=16 bs=4k verify=1 time=4" --queues 2 >bench.json &
b=$!
await 20 connected
cp "$(command -v pvbackd)" pvbackd-new
for program in "" "$PWD/pvbackd-new" pvbackd-new; do
	upgrade $program >up.out 2>&1 || fail "upgrade $program: $(cat up.out)"
	grep -q "pvbackd [0-9.]* has taken over 1 devices after [0-9]* ms" up.out || fail "upgrade: $(cat up.out)"
	kill -0 "$backd" || fail "upgrade: another process"
done
[ "$(readlink "/proc/$backd/exe")" = "$PWD/pvbackd-new" ] || fail "upgrade: it is $(readlink "/proc/$backd/exe")"
wait $b || fail "upgrade"
[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] && [ "$(member verified)" -gt 0 ] || fail "upgrade: $(cat bench.json)"
cat up.out
# a program that can not is not given the chance
await 20 closed
backd_replaced stopped # a new log
hold xvda
await 20 connected
refused() { # WORDS [ARGUMENT...]
	local words=$1

	shift
	! upgrade "$@" >up.out 2>&1 || fail "upgrade $*: $(cat up.out)"
	grep -q "$words" up.out || fail "upgrade $*: $(cat up.out), not $words"
	[ "$(pvl --host "local:$fabric" --json backend info | grep -o '"started_ns": *[0-9]*')" = "$started" ] || fail "upgrade $*: it was stopped"
}
started=$(pvl --host "local:$fabric" --json backend info | grep -o '"started_ns": *[0-9]*')
refused "nowhere: No such file" "$PWD/nowhere"
refused "up.out can not take over: Permission denied" "$PWD/up.out"
refused "true can not take over\|unrecognized" "$(command -v pvlocald)"
record_version() { printf "$1" | dd of="$fabric/pvbackd-journal/vbd-1-51712" bs=1 seek=8 conv=notrunc status=none; }
record_version '\377'
refused "can not take over: .*vbd-1-51712: the record of its connection is of another pvbackd: .* journal version 255, not .* and 1"
record_version '\001'
hold xvdb
await 20 says "51728 (xvdb): Connected (rings are mapped)"
refused "51728 (xvdb) would not outlive this process"
for h in "${holders[@]}"; do stop "$h"; done
holders=()
backd_replaced stopped

# the kinds of things that nobody can go on with
hold xvdb
await 20 says "51728 (xvdb): Connected (rings are mapped)"
backd_replaced killed
await 20 says "51728 (xvdb): was connected by an earlier pvbackd; detach it and attach it again"
[ "$(node 51728 state)" = 4 ] || fail "the memory disk has left state 4"
stop "${holders[0]}"
holders=()
for what in version connection; do
	hold xvda
	await 20 connected
	record=$fabric/pvbackd-journal/vbd-1-51712
	[ -s "$record" ] || fail "no record of the connection"
	kill -9 "$backd"
	wait "$backd" 2>/dev/null || true
	case $what in
	version) printf '\377' | dd of="$record" bs=1 seek=8 conv=notrunc status=none ;;
	connection) printf '\377' | dd of="$record" bs=1 seek=100 conv=notrunc status=none ;;
	esac
	cat pvbackd.log >>all.log
	backd_again
	case $what in
	version) await 20 says "can not be taken over from an earlier pvbackd: the record of its connection is of another pvbackd: .* journal version 255, not .* and 1" ;;
	connection) await 20 says "can not be taken over from an earlier pvbackd: the record of its connection is another connection's" ;;
	esac
	[ "$(node 51712 state)" = 4 ] || fail "$what: the disk has left state 4"
	stop "${holders[0]}"
	holders=()
	backd_replaced stopped
done
run pvl --host "local:$fabric" destroy g
backd_stop
[ -z "$(ls "$fabric/pvbackd-journal")" ] || fail "left behind: $(ls "$fabric/pvbackd-journal")"
echo "PASS: another pvbackd goes on, or says why not"
