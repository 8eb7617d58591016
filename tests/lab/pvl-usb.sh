#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# USB passthrough by pvl on real Xen to HVM guests; the command is in tests/lab/LIST.
#   pvl-usb.sh [give] [config] [again] [use]
# give: commands, a guest in its firmware; config: by usbdev=[]; again: unplugged and plugged in; use: a guest that reads and
# writes, also after that.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- give config again use

for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" != lab.monitor ] || exec 8<>"/dev/${port##*/}"
done
# QMP of the machine below: the answer, or nothing within 20 s
qmp() {
	local line

	printf '%s\n' "$1" >&8
	while read -r -t 20 -u 8 line; do
		case $line in *'"return"'* | *'"error"'*) echo "$line"; return ;; esac
	done
	return 1
}
unplug() { qmp '{"execute":"device_del","arguments":{"id":"stick"}}' | grep -q return && wait_for '[ ! -e /sys/bus/usb/devices/2-1 ]' 20; }
plug() {
	# QEMU lets go of the one that was there when its removal is over, a moment after Linux saw it go
	wait_for "qmp '{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"usb-storage\",\"id\":\"stick\",\"bus\":\"usb.0\",\"port\":\"1\",\"drive\":\"stick\",\"serial\":\"PVBUS1\"}}' |
		grep -q return" 20 && wait_for '[ -e /sys/bus/usb/devices/2-1/idVendor ]' 20
}
address() { cat /sys/bus/usb/devices/2-1/devnum; }
# has_stick GUEST: by the address that it has now
has_stick() { pvl --json usb-list "$1" | tr -d ' \n' | grep -q "\"hostaddr\":$(address),\"device\":\"2-1\""; }
said() { grep -q "$2" "/var/log/xen/pvl-$1.log"; }

qmp '{"execute":"qmp_capabilities"}' >/dev/null || exit
(exec -a systemd-udevd udevadm --daemon) || exit # libusb, and so QEMU, knows from it what is plugged in
for m in usb-common usbcore xhci-hcd xhci-pci; do
	insmod /root/usb/*-$m.ko || exit
done
wait_for '[ -e /sys/bus/usb/devices/2-1/idVendor ]' 20 || exit
printf 'name="h2"\ntype="hvm"\nmemory=64\nvnc=0\nvga="none"\nusb=0\n' >/tmp/h2.cfg

step_give() {
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
}

# By the configuration, twice: the second one finds it free again.  A controller takes what is on it along.
step_config() {
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
}

# back GUEST WHAT: unplugged it is nobody's, and plugged in it is the guest's, at another address
back() {
	local before

	before=$(address)
	unplug || fail "$2: it can not be unplugged"
	want 0 '"device": null' --json usb-list "$1"
	plug || fail "$2: it can not be plugged in"
	[ "$(address)" != "$before" ] || fail "$2: it has the address it had before"
	wait_for "has_stick $1" 20 || fail "$2: it did not come back: $(pvl --json usb-list "$1") $(cat "/var/log/xen/pvl-$1.log")"
}
step_again() {
	want 0 '' create /tmp/h2.cfg 'usbctrl=["type=devicemodel,version=3,ports=4"]' 'usbdev=["46f4:0001"]'
	back h2 "of the configuration"
	back h2 "for the second time"
	want 0 '' usbdev-detach h2 0 1
	for name in 46f4:0001:PVBUS1 46f4:0001 2-1 address; do
		[ "$name" != address ] || name="hostbus=2 hostaddr=$(address)"
		# shellcheck disable=SC2086 # two words
		want 0 '' usbdev-attach h2 $name controller=0 port=3
		back h2 "$name"
		check "at the same port" eval 'pvl --json usb-list h2 | tr -d " \n" | grep -q "\"port\":3"'
		# shellcheck disable=SC2046 # two words
		want 0 '' usbdev-detach h2 $([ "$name" = 2-1 ] && echo 2-1 || echo 0 3)
	done
	check "the monitor says so" said h2 "USB device 2-1 (46f4:0001) is back, at port 3 of controller 0"

	# One that was taken away does not come back, nor one that was unplugged and then detached.
	unplug && plug
	want 0 'would attach USB device 2-1' -N usbdev-attach h2 46f4:0001
	want 0 '' usbdev-attach h2 46f4:0001 controller=0 port=2
	unplug
	want 0 '' usbdev-detach h2 0 2
	plug
	sleep 3 # three looks of the monitor, at what must not happen
	want 0 'would attach USB device 2-1' -N usbdev-attach h2 46f4:0001
	want 0 '' destroy h2
}

# A guest's kernel: a disk whose bytes are what they are, bytes that go out by a serial line; then both again.
step_use() {
	local files=() f n=0 before

	for f in /root/usb/*.ko; do files+=(--file "$f:/usb/${f##*/}"); done
	while :; do
		guest_create u1 hvm --mem 224 "${files[@]}" --append 'lab.modules=' --config 'usbctrl=["type=devicemodel,version=3,ports=4"]' \
			--config 'usbdev=["46f4:0001,controller=0,port=1", "0403:6001,controller=0,port=2"]' \
			--cmd 'for m in /usb/*.ko; do insmod $m || exit; done; i=0; until [ -b /dev/sda ] && [ -c /dev/ttyUSB0 ]; do i=$((i + 1)); [ $i -lt 600 ] || exit 1; usleep 100000; done' &&
			guest_wait u1 600 && break
		n=$((n + 1))
		[ $n -lt 2 ] || { fail "no guest"; return; }
		guest_destroy u1
	done
	check "the guest reads the disk" test "$(guest_exec u1 'sha256sum </dev/sda | cut -d" " -f1' 200)" = "$(cat /root/usb/stick.sha256)"
	guest_exec u1 'echo hello from the guest >/dev/ttyUSB0' || fail "the serial line takes nothing"
	wait_for "qmp '{\"execute\":\"ringbuf-read\",\"arguments\":{\"device\":\"line\",\"size\":64}}' | grep -q 'hello from the guest'" 20 ||
		fail "nothing comes out of the serial line"
	back u1 "of a guest that uses it"
	guest_exec u1 'i=0; until [ -b /dev/sda ] || [ -b /dev/sdb ]; do i=$((i + 1)); [ $i -lt 600 ] || exit 1; usleep 100000; done' 100 ||
		fail "the guest does not see it again: $(guest_exec u1 'dmesg | tail -n 20')"
	check "and reads it again" test "$(guest_exec u1 'cat /dev/sd[ab] | sha256sum | cut -d" " -f1' 200)" = "$(cat /root/usb/stick.sha256)"
	guest_exec u1 'dd if=/dev/zero of=$(ls /dev/sd[ab]) bs=4096 count=4 conv=fsync 2>&1' 100 || fail "the guest can not write"

	# What is unplugged while it is built again comes later; the rest it has.
	unplug || fail "it can not be unplugged"
	before=$(command xl domid u1)
	want 0 '' reboot u1
	wait_for "now=\$(command xl domid u1 2>/dev/null) && [ \"\$now\" != $before ]" 120 || fail "u1 is not built again: $(cat /var/log/xen/pvl-u1.log)"
	wait_for 'said u1 "started again"' 20
	want 0 '"id": "0403:6001"' --json usb-list u1
	check "what is unplugged is not there" eval '! pvl --json usb-list u1 | grep -q PVBUS1'
	plug || fail "it can not be plugged in"
	wait_for "has_stick u1" 20 || fail "it did not come back after a reboot: $(pvl --json usb-list u1) $(cat /var/log/xen/pvl-u1.log)"
	want 0 '' destroy u1
}

for step; do
	echo "== $step"
	"step_$step"
done
assert_clean || failed=1
exit "$failed"
