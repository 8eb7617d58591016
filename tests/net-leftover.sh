#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The TAP of a NIC that went while no pvbackd ran is taken away when one starts; the TAPs of NICs that are there, of
# another fabric, and of people stay.
# What it needs: see net-functions.sh.
set -euo pipefail

# shellcheck source=tests/net-functions.sh
. "$(dirname "$0")/net-functions.sh"

backd_start
for g in stays goes; do
	guest_begin $g "'port=tap'" ""
	guest_ready $g
done
stays=vif$(pvl --host "local:$fabric" domid stays).0
id=$(pvl --host "local:$fabric" domid goes)
goes=vif$id.0
ip link show "$goes" | grep -q "alias pvbackd local:$fabric" || fail "$goes does not say whose it is: $(ip link show "$goes")"
ip tuntap add dev vif98.0 mode tap multi_queue vnet_hdr
ip link set vif98.0 alias "pvbackd local:/elsewhere vif 98/0"
ip tuntap add dev vif99.0 mode tap multi_queue vnet_hdr
# one that its owner gave another name
ip link set "$goes" down
ip link set "$goes" name uplink7

kill -9 $backd
wait $backd 2>/dev/null || true
rm pvbackd.log
pvl --host "local:$fabric" --timeout 2 destroy goes >out.log 2>&1 || true
! XENSTORED_PATH=$fabric/store xenstore-exists "/local/domain/0/backend/vif/$id" || fail "the NIC is still there: $(cat out.log)"
there uplink7 && there "$stays" || fail "the TAPs went with pvbackd"

backd_again
until_true 15 not_there uplink7 || fail "the TAP of a NIC that is gone is left"
for t in "$stays" vif98.0 vif99.0; do there "$t" || fail "$t was taken away"; done
# said once it is done
until_true 5 grep -q "TAP uplink7 taken away: vif .*/0 is gone" pvbackd.log || fail "the log does not say so"
pvl --host "local:$fabric" destroy stays >/dev/null
backd_stop
echo "PASS: only what was left over is gone"
