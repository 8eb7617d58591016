#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# USB passthrough by pvl on real Xen to an HVM guest in its firmware; the command is in tests/lab/LIST.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
for m in usb-common usbcore xhci-hcd xhci-pci; do
	insmod /root/$m.ko || exit
done
wait_for '[ -e /sys/bus/usb/devices/2-1/idVendor ]' 20 || exit
printf 'name="h2"\ntype="hvm"\nmemory=64\nvnc=0\nvga="none"\nusb=0\n' >/tmp/h2.cfg
want 1 'needs a controller' create -e /tmp/h2.cfg 'usbdev=["46f4:0001"]'
want 0 '' create -e /tmp/h2.cfg
want 0 '' usbctrl-attach h2 type=devicemodel version=3 ports=4
want 1 'is a hub' usbdev-attach h2 hostbus=1 hostaddr=1
want 0 'would attach USB device 2-1' -N usbdev-attach h2 46f4:0001
want 1 'has 4 ports, not 5' usbdev-attach h2 46f4:0001 controller=0 port=5
want 0 '"device": "2-1"' --json usbdev-attach h2 46f4:0001 controller=0 port=1
want 1 'has 1 USB device of this host; detach first' save h2 /run/h2.save
want 1 'domain [0-9]+ has it already' usbdev-attach h2 2-1
want 0 '"id": "46f4:0001"' --json usb-list h2
check "xl sees the same" test "$(command xl usb-list h2)" = "$(pvl usb-list h2)"
want 0 '' usbdev-detach h2 0 1
want 0 '' usbctrl-detach h2 0
check "the controller is gone from the list" test "$(pvl --json usb-list h2 | tr -d "\n ")" = "[]"
want 1 'has no USB controller 0' usbctrl-detach h2 0
want 0 '' destroy h2

# By the configuration, twice: the second one finds it free again.  A controller takes what is on it along.
for round in 1 2; do
	want 0 '' create -e /tmp/h2.cfg 'usbctrl=["type=devicemodel,version=3,ports=4"]' 'usbdev=["46f4:0001"]'
	want 0 '"id": "46f4:0001"' --json usb-list h2
	want 1 'domain [0-9]+ has it already' usbdev-attach h2 2-1
	[ $round = 2 ] || want 0 '' destroy h2
done
want 0 '' usbctrl-detach h2 0
check "the controller is gone from the list" test "$(pvl --json usb-list h2 | tr -d "\n ")" = "[]"
want 0 'would attach USB device 2-1' -N usbdev-attach h2 46f4:0001
want 0 '' destroy h2
assert_clean || failed=1
exit "$failed"
