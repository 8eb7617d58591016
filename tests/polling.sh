#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvbackd --poll: a busy guest need not notify, every byte is right; an idle one costs nothing.
set -euo pipefail
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"

backd_start --poll 100000
# create NAME COMMAND: a guest with one disk
create() {
	cat >"$1.cfg" <<-END
		name = "$1"
		memory = 64
		guest = "$2"
		disk = [ "format=raw,vdev=xvda,access=rw,target=mem:size=16M" ]
	END
	run pvl --host "local:$fabric" create "$dir/$1.cfg"
}
create g "sleep 1000"
# Whoever finds that others want its processor does not look for a while, and here there may always be others.
looked=0
for how in "qd=1 count=5000" "qd=16 count=20000 bs=8k"; do
	bench xvda "op=randrw verify=1 $how" >bench.json
	[ "$(member bad)" = 0 ] && [ "$(member verified)" -gt 0 ] || fail "$how: $(cat bench.json)"
	looked=$((looked + ($(member notifies) * 10 < $(member pushes) * 9)))
	echo "$how: $(member notifies) notifies for $(member pushes) pushes"
done
for ((n = 0; n < 40 && looked == 0; n++)); do
	bench xvda "op=randread qd=1 count=2000" >bench.json
	looked=$(($(member notifies) * 10 < $(member pushes) * 9))
done
[ $looked -gt 0 ] || fail "$(member notifies) notifies for $(member pushes) pushes: nobody looked"
run pvl --host "local:$fabric" destroy g

# one that stays, and has nothing more to do
create h "pvguest --nbd unix:$dir/nbd.sock --pidfile $dir/guestpid"
await 30 test -s guestpid
head -c 16M /dev/urandom >data
run nbdcopy data "nbd+unix:///xvda?socket=$dir/nbd.sock"
run nbdcopy "nbd+unix:///xvda?socket=$dir/nbd.sock" back
cmp data back || fail "another file came back"
worker=$(pgrep -P "$backd" | head -n 1)
ticks() { awk '{ print $14 + $15 }' "/proc/$worker/stat"; }
sleeps() { local t; t=$(ticks); sleep 0.5; [ "$(ticks)" = "$t" ]; }
await 20 sleeps
run pvl --host "local:$fabric" destroy h
backd_stop

! pvbackd --poll 1000001 2>wrong.log || fail "a second and more was taken"
grep -q -- '--poll is "1000001", must be 0..1000000' wrong.log || fail "$(cat wrong.log)"
echo "PASS: looked while there was work, slept when there was none"
