#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Workers are killed again and again while a guest verifies what it reads: no error, no wrong byte, no request twice, and
# the front end never leaves state 4.  What dies too often is parked, says so, and goes on when told to.
set -euo pipefail
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"

backd_start
two_disks

total=0
for how in "xvda op=randrw qd=16 bs=4k" "xvda op=randrw qd=32 bs=512 --queues 4" "xvdb op=randrw qd=64 bs=64k --queues 2" \
	"xvda op=randrw qd=8 bs=512k" "xvda op=randrw qd=1 bs=8k --persistent" "xvda op=randrw qd=16 bs=4k --abi 32"; do
	read -r disk words <<<"${how%% --*}"
	read -ra more <<<"$(sed -n 's/^[^-]*\(--.*\)/\1/p' <<<"$how")"
	before=$(went_on)
	bench "$disk" "$words verify=1 time=2" "${more[@]}" >bench.json &
	b=$!
	killer 0.4 patient &
	holders=($!)
	wait $b || fail "$how"
	[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] && [ "$(member verified)" -gt 0 ] || fail "$how: $(cat bench.json)"
	stop "${holders[0]}"
	holders=()
	echo "$how: $(($(went_on) - before)) workers died, $(member verified) blocks verified, none wrong"
	total=$((total + $(went_on) - before))
done
[ $total -ge 6 ] || fail "only $total workers were killed"
# A guest that leaves while its worker is dead has closed its port when the next one comes.
! grep -B1 "Closing (error)" pvbackd.log | grep "^<3>" | grep -v ": event channel [0-9]*: Invalid argument" || fail "a disk was given up"

# one after the other until nobody comes any more
bench xvda "op=randrw qd=4 bs=4k verify=1 time=10" >bench.json &
b=$!
killer 0.02 &
holders=($!)
parked() { grep -q "it waits until told to resume" pvbackd.log; }
await 20 parked
stop "${holders[0]}"
export XENSTORED_PATH=$fabric/store
[ "$(xenstore-read /local/domain/0/backend/vbd/1/51712/state)" = 4 ] || fail "the parked disk has left state 4"
xenstore-read /local/domain/0/backend/vbd/1/51712/error | grep -q "10 worker processes in a row died by signal 9" || fail "error does not say why"
kill -0 $b || fail "the guest did not wait"
! pvl --host "local:$fabric" doctor >doctor.out || fail "the doctor finds nothing"
grep -q "worker processes in a row" doctor.out && grep -q -- "-> pvl backend resume 1 xvda, once the cause is gone" doctor.out ||
	fail "the doctor says: $(cat doctor.out)"
must pvl --host "local:$fabric" backend resume 1 xvda
wait $b || fail "the guest's I/O after it was parked"
[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] || fail "parked: $(cat bench.json)"
! xenstore-read /local/domain/0/backend/vbd/1/51712/error 2>/dev/null || fail "error is left"
# What a dead worker has begun holds its open file; so does this one's borrower.  Nobody goes on before it is let go.
fence_holds() { grep -q "waits for I/O that its dead worker has begun" pvbackd.log; }
before=$(went_on)
bench xvda "op=randrw qd=4 bs=4k verify=1 time=4" >bench.json &
b=$!
serves() { worker=$(pgrep -n -P "$backd") && readlink "/proc/$worker/fd/"* | grep -qx "$dir/a.img"; }
await 20 serves
python3 - "$worker" "$dir/a.img" <<-'END' &
	import ctypes, os, signal, sys, time
	worker, image = int(sys.argv[1]), sys.argv[2]
	libc, p = ctypes.CDLL(None, use_errno=True), os.pidfd_open(worker)
	fds = [int(n) for n in os.listdir(f"/proc/{worker}/fd") if os.readlink(f"/proc/{worker}/fd/{n}") == image]
	mine = [libc.syscall(438, p, n, 0) for n in fds]  # pidfd_getfd
	assert mine and min(mine) >= 0, (fds, mine, ctypes.get_errno())
	os.kill(worker, signal.SIGKILL)
	open("borrowed", "w").close()
	while os.path.exists("borrowed"):
	    time.sleep(0.05)
END
holders=($!)
await 20 fence_holds
[ "$(went_on)" = "$before" ] || fail "another worker went on beside the I/O of the one before"
rm borrowed
wait "${holders[0]}" || fail "the worker's image can not be borrowed"
holders=()
wait $b || fail "the guest's I/O after the fence"
[ "$(member bad)" = 0 ] && [ "$(errors)" = 0 ] || fail "fence: $(cat bench.json)"
[ "$(went_on)" -gt "$before" ] || fail "nobody went on when the I/O was over"

run pvl --host "local:$fabric" destroy g
backd_stop
echo "PASS: $total workers killed, one disk parked and resumed, no error, no wrong byte"
