#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvguest on real Xen, against pvbackd and against the stock xen-blkback: every shape of ring, verified; and one that
# is killed with requests in flight, whose successor connects.  Both ends are dom0, which may have disks, too.
#   lab/run --file frontend/user/pvguest tests/lab/front-user.sh
# shellcheck source=lab/dom0/functions.sh disable=SC2016 # functions.sh evaluates conditions
. "$LAB/functions.sh"
pvguest=/root/pvguest
[ -x $pvguest ] || pvguest=$(command -v pvguest) || lab_fail "no pvguest here (lab/run --file)"
for module in xen-gntalloc xen-gntdev xen-evtchn; do
	modprobe $module || exit 1
done

# load ARG...: connect, write and read with verification; fails with pvguest's status.
load() {
	$pvguest --hv xen --disk xvda --timeout 30 "$@" --stats >/tmp/load.out 2>&1 || {
		cat /tmp/load.out
		lab_fail "pvguest $*"
	}
	grep -q "grants 0, ports 0, stuck 0" /tmp/load.out || {
		cat /tmp/load.out
		lab_fail "pvguest $* left something"
	}
	grep -h "live\|IOPS" /tmp/load.out
}

shapes() {
	load --bench "op=randrw bs=4k qd=32 count=1500 verify=1"
	load --queues 1 --ring-order 0 --indirect off --bench "op=write bs=64k qd=8 count=200 verify=1"
	load --queues 4 --ring-order 4 --bench "op=randrw bs=128k qd=8 count=200 verify=1"
	load --abi 32 --bench "op=randrw bs=512 qd=16 count=500 verify=1"
	load --persistent --bench "op=randrw bs=32k qd=16 count=500 verify=1 copy=1"
}

killed() {
	local pid

	$pvguest --hv xen --disk xvda --bench "op=randwrite bs=64k qd=16 time=60" >/dev/null 2>&1 &
	pid=$!
	wait_node /local/domain/0/device/vbd/51712/state 20 '[ "$value" = 4 ]' || exit 1
	sleep 0.5
	kill -9 $pid
	wait $pid 2>/dev/null
	load --bench "op=randrw bs=8k qd=16 count=300 verify=1"
}

# with_disk NAME SPEC: the disk while shapes and killed run on it.
with_disk() {
	echo "-- $1"
	xl block-attach 0 "$2" & # waits for the front end
	attach=$!
	wait_node /local/domain/0/device/vbd/51712/backend 20 '[ -n "$value" ]' || exit 1
	shapes
	wait $attach || lab_fail "xl block-attach: status $?"
	killed
	xl block-detach 0 xvda || lab_fail "xl block-detach: status $?"
	wait_for '[ -z "$(xenstore-list /local/domain/0/backend/vbd/0 2>/dev/null)" ]' 15 "nodes gone" || exit 1
}

mkdir -p /var/log/pvbus
truncate -s 64M /tmp/a.img
pvbackd 2>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
with_disk pvbackd "format=raw,vdev=xvda,access=rw,backendtype=phy,script=block-pvbus,target=/tmp/a.img"
kill $backd
wait $backd || lab_fail "pvbackd ended with status $?"

modprobe xen-blkback || exit 1
loop=$(losetup -f --show /tmp/a.img) || exit 1
with_disk xen-blkback "phy:$loop,xvda,w"
echo "PASS"
