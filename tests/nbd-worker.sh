#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libnbd is loaded by the worker that serves disks over NBD, and by no other: such a disk is attached to a guest whose worker
# runs already, both kinds work in their sandboxes, and each kind's worker ends with its last disk.
set -euo pipefail
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"
for tool in nbdkit nbdcopy; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool"; exit 77; }
done
[ -z "$build" ] || grep -q "define HAVE_NBD" "$build/config.h" || { echo "SKIP: built without libnbd"; exit 77; }

backd_start
two_disks
nbdkit -f -U "$dir/store.sock" memory 16M &
holders+=($!)
pvguest --hv "local:$fabric:1" --nbd "unix:$dir/guest.sock" 2>guest.log &
holders+=($!)
await 20 test -S "$dir/store.sock"

workers() { pgrep -P "$backd"; }
live() { grep -q "$1: live" guest.log; }
loaded() { grep -q libnbd "/proc/$1/maps"; }
await 20 live xvda
plain=$(workers)
! loaded "$plain" || fail "libnbd without a disk that needs it"

must pvl --host "local:$fabric" block-attach g "format=raw,vdev=xvdc,access=rw,target=nbd:unix:$dir/store.sock"
await 20 live xvdc
[ "$(workers | wc -l)" = 2 ] || fail "workers: $(workers)"
other=$(workers | grep -vx "$plain")
loaded "$other" || fail "the worker of the disk over NBD has no libnbd"
! loaded "$plain" || fail "the other worker has libnbd now"

head -c 16M /dev/urandom >data
for disk in xvdb xvdc; do
	must nbdcopy data "nbd+unix:///$disk?socket=$dir/guest.sock"
	must nbdcopy "nbd+unix:///$disk?socket=$dir/guest.sock" back
	cmp data back || fail "$disk: what was read is not what was written"
done
must nbdcopy "nbd+unix://?socket=$dir/store.sock" there
cmp data there || fail "the data is not at the NBD server"

must pvl --host "local:$fabric" block-detach g xvdc
ended() { [ "$(workers)" = "$plain" ]; }
await 20 ended
