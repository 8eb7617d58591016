#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A NIC of the host goes to a running guest and comes back: what may be passed through and why not, attach, a ping over it, detach.
#   lab/run --iommu --file tests/lab/pvl-functions.sh tests/lab/demo-pci.sh
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh

show() { echo; echo "   # $*"; }
# do_pvl ARG...: shown, and its output with it
do_pvl() {
	show "pvl $*"
	pvl "$@" >/tmp/pvl.out 2>&1 || { cat /tmp/pvl.out; lab_fail "pvl $*"; }
	sed 's/^/   /' /tmp/pvl.out
}

modprobe -a xen-pciback e1000e e1000 || exit
wait_for '[ -d /sys/bus/pci/devices/0000:00:10.0/net ] && [ -d /sys/bus/pci/devices/0000:01:02.0/net ]' 20 "NICs" || exit 1
do_pvl pci-assignable-list --candidates
grep -qE '0000:00:13\.0 .*it is a bridge' /tmp/pvl.out || lab_fail "a bridge is a candidate"
grep -qE '0000:00:10\.0 .* yes' /tmp/pvl.out || lab_fail "the NIC is no candidate"

show 'pvl create pci.cfg       # type="pv", stock kernel; passthrough="enabled", e820_host=1'
guest_create pci pv --mem 192 --append 'iommu=soft lab.modules=xen-pcifront,e1000e' --config 'passthrough="enabled"' --config e820_host=1 || exit 1
guest_up pci || exit 1
do_pvl pci-assignable-add 00:10.0
do_pvl pci-attach pci 00:10.0
do_pvl pci-list pci
show "in the guest: an address by DHCP over that NIC, and a ping"
guest_pings pci >/tmp/ping.out || { cat /tmp/ping.out; lab_fail "no answer over the NIC"; }
tail -n 2 /tmp/ping.out | sed 's/^/   /'
do_pvl pci-detach pci 00:10.0
do_pvl pci-assignable-remove -r 00:10.0
wait_for '[ -d /sys/bus/pci/devices/0000:00:10.0/net ]' 20 "dom0 has its NIC back" || exit 1
do_pvl destroy pci
{ guest_gone pci && assert_clean; } || exit 1
echo "PASS: a NIC went to a guest and came back"
