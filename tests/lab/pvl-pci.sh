#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PCI passthrough by pvl on real Xen: each wrong use is refused with its reason and nothing touched, a PV guest gets a NIC, uses it,
# gives it back and gets it again, and what xl answers wrongly (marked [L]) is answered rightly.
#   lab/run --iommu --disk 16-MiB-FILE --dest ... --file tests/lab/pvl-functions.sh tests/lab/pvl-pci.sh pv
#   lab/run --iommu --with-qemu --mem 2560 ... --file tests/lab/pvl-functions.sh tests/lab/pvl-pci.sh firmware hvm (hvm alone takes minutes)
#   lab/run --iommu --xen iommu=0 ... --file tests/lab/pvl-functions.sh tests/lab/pvl-pci.sh noiommu
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- pv

driver() { basename "$(readlink "/sys/bus/pci/devices/0000:$1/driver" || echo none)"; }
nic_of() { ls "/sys/bus/pci/devices/0000:$1/net"; }
# What Xen itself says: d0, d3, d[IO] ...
xen_owner() {
	xl debug-keys Q
	xl dmesg | sed -n "s/.*0000:$1 - \([dD][^ ]*\) .*/\1/p" | tail -n 1
}
# No guest has it: not in xl's list, not in the store, not in Xen; and it writes to no memory.
check_free() {
	check "$1 is on pciback" test "$(driver "$1")" = pciback
	check "$1 is assignable" grep -qx "0000:$1" <(pvl pci-assignable-list)
	check "$1 has no owner for xl" grep -q "0000:$1" <(xl pci-assignable-list)
	check "Xen has $1 back" grep -q '^DomIO' <(xen_owner "$1")
	check "$1 is no bus master" test $((0x$(od -An -tx1 -j4 -N1 "/sys/bus/pci/devices/0000:$1/config" | tr -d ' ') & 4)) -eq 0
	check "no node has $1" test -z "$(xenstore-ls -f /local/domain/0/backend/pci 2>/dev/null | grep "$1")"
}
step_refused_add() {
	local nic
	want 1 'no driver pciback.*modprobe xen-pciback' pci-assignable-list
	want 1 'no driver pciback' pci-assignable-add 00:10.0
	modprobe -a xen-pciback e1000e e1000 || return
	wait_for '[ -d /sys/bus/pci/devices/0000:00:10.0/net ] && [ -d /sys/bus/pci/devices/0000:01:02.0/net ]' 20 || return
	want 0 '0000:00:10\.0 8086:10d3 020000 e1000e +dom0 +yes' pci-assignable-list --candidates
	want 0 '0000:00:13\.0 .* bridge +no +it is a bridge' pci-assignable-list --candidates
	want 0 '0000:01:01\.0 .* dom0 +--force +the IOMMU can not tell it from 0000:01:02.0' pci-assignable-list --candidates
	want 0 '0000:01:02\.0 .* can not reset it' pci-assignable-list --candidates
	want 0 '"override": "never"' --json pci-assignable-list --candidates
	want 2 '"10.0" is no PCI device' pci-assignable-add 10.0
	want 2 'given twice' pci-assignable-add 00:10.0 0000:00:10.0
	want 1 'device 0000:05:00.0: there is none' pci-assignable-add 05:00.0
	want 1 'device 0000:00:13.0: it is a bridge' pci-assignable-add 00:13.0
	# what dom0 uses
	nic=$(nic_of 00:10.0)
	ip addr add 10.9.9.1/24 dev "$nic" && ip link set "$nic" up
	want 1 "dom0's route goes over it \($nic\)" pci-assignable-add 00:10.0
	ip route add default via 10.9.9.2
	want 1 "default route goes over it \($nic\).*--force" pci-assignable-add 00:10.0
	ip addr flush dev "$nic"
	ip link add xenbr0 type bridge && ip link set "$nic" master xenbr0
	want 1 "its $nic is part of xenbr0" pci-assignable-add 00:10.0
	ip link del xenbr0 && ip link set "$nic" down
	mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt || return
	disk=$(readlink /sys/block/vda | sed -n 's,.*/0000:\([0-9a-f:.]*\)/virtio.*,\1,p')
	want 1 "device 0000:$disk: dom0 has vda mounted on /mnt" pci-assignable-add "$disk"
	umount /mnt
	# all or none
	want 1 'device 0000:00:13.0' pci-assignable-add 00:10.0 00:13.0
	check "00:10.0 is untouched" test "$(driver 00:10.0)" = e1000e
	want 0 'would take PCI device 0000:00:10.0 from e1000e' -N pci-assignable-add 00:10.0
	check "00:10.0 is untouched" test "$(driver 00:10.0)" = e1000e
}

step_add() {
	want 0 '' pci-assignable-add 00:10.0 00:11.0
	check_free 00:10.0
	check_free 00:11.0
	want 0 'assignable already' pci-assignable-add -n lan 00:10.0
	want 1 '0000:00:10.0 has the name "lan" already' pci-assignable-add -n lan 00:11.0
	want 0 '^0000:00:10.0 lan' pci-assignable-list -n
	want 1 'no PCI device has the name "wan"' pci-assignable-remove wan
}

step_refused_attach() { # paused domains of the wrong kinds, and devices that are not to be had
	guest_create n1 pv --paused && guest_create n2 pvh --paused || return
	want 1 'was made without passthrough; set passthrough="enabled" and e820_host=1' pci-attach n1 00:10.0
	want 1 'type pvh' pci-attach n2 00:10.0
	want 1 'domain 0 is this host' pci-attach 0 00:10.0
	want 1 'no domain "nobody"' pci-attach nobody 00:10.0
	want 2 'is no PCI device' pci-attach n1 10.0
	want 1 'at most 1f' pci-attach n1 00:10.0@20
	want 1 'no PCI device has the name "wan"' pci-attach n1 name=wan
	want 1 '0000:00:12.0: e1000e has it, so it is not assignable' pci-attach n1 00:12.0
	want 1 '0000:00:13.0: it is a bridge' pci-attach n1 00:13.0
	want 1 '0000:05:00.0: there is none' pci-attach n1 05:00.0
	# one requester: both or none
	want 0 '' pci-assignable-add 01:01.0
	want 1 'can not tell it from 0000:01:02.0, behind the same bridge 0000:00:13.0 .used by dom0, driver e1000' pci-attach n1 01:01.0
	want 0 'stays|can not tell|^$' pci-assignable-add 01:02.0
	want 1 '0000:01:02.0: the kernel can not reset it' pci-attach n1 01:02.0
	want 1 'without passthrough' pci-attach --no-reset n1 01:02.0
	want 1 "domain [0-9]+ has no PCI device 0000:00:10.0" pci-detach n1 00:10.0
	want 1 "domain [0-9]+ has no PCI device 0000:00:10.0" pci-detach -f n1 00:10.0 # [L] xl: 0
	check_free 00:10.0
	guest_destroy n1 && guest_destroy n2
	# create, before anything is built
	want 1 'is in pci=\[\] twice' create "/run/lab/cfg/n1.cfg" 'pci=["00:10.0","00:10.0"]'
	want 1 'e1000e has it' create "/run/lab/cfg/n1.cfg" 'pci=["00:12.0"]'
	want 1 'would have 2 PCI devices, at most 1 are allowed' create "/run/lab/cfg/n1.cfg" 'pci=["00:10.0","00:11.0"]' pci_max=1
	want 1 'contradicts passthrough' create "/run/lab/cfg/n1.cfg" 'pci=["00:10.0"]' passthrough=disabled
	want 1 'type pvh' create "/run/lab/cfg/n2.cfg" 'pci=["00:10.0"]'
	want 1 'memory=128 and maxmem=256 MiB' create "/run/lab/cfg/n1.cfg" 'pci=["00:10.0"]' type=hvm maxmem=256
	want 1 'at most 1f' create "/run/lab/cfg/n1.cfg" 'pci=["00:10.0@20"]'
	assert_clean || failed=1
}

step_pv_guest() {
	local id
	# no xen-pcifront yet: nobody takes the device, it comes back
	guest_create g1 pv --mem 192 --append 'iommu=soft lab.modules=xen-blkfront' --config 'passthrough="enabled"' --config e820_host=1 \
		--config pci_max=1 || return
	guest_up g1 || return
	id=$(guest_id g1)
	want 1 "domain $id has not taken it in 3000 ms \(its driver: Initialising, pciback: " --timeout 3 pci-attach g1 00:10.0 # [L] xl: 0
	check_free 00:10.0
	check "the bus is gone" test -z "$(xenstore-ls -f | grep -E "(device|backend)/pci/($id/)?0")"
	guest_exec g1 'modprobe xen-pcifront && modprobe e1000e' || return
	pvl pause g1
	want 1 "domain $id is paused and can not answer" pci-attach g1 00:10.0
	pvl unpause g1
	want 0 'would attach PCI device 0000:00:10.0' -N pci-attach g1 00:10.0
	want 0 '"device": "0000:00:10.0"' --json pci-attach g1 name=lan
	check "the guest pings over it" guest_pings g1
	want 0 '^00.0 0000:00:10.0' pci-list g1
	check "xl sees the same" test "$(xl pci-list g1)" = "$(pvl pci-list g1)"
	check "Xen says domain $id" test "$(xen_owner 00:10.0)" = "d$id"
	want 1 "0000:00:10.0: domain $id has it already" pci-attach g1 00:10.0
	# [L] an attach of xl's that fails erases the owner's record: xl then lists the device as free
	command xl pci-attach g1 00:10.0 2>/dev/null && fail "xl attached it twice"
	xl pci-assignable-list | grep -q 00:10.0 || echo "   (this xl does not list it)"
	want 1 "0000:00:10.0: domain $id has it, but xl's record is lost" doctor
	check "pvl does not list it" test -z "$(pvl pci-assignable-list | grep 00:10.0)"
	want 0 "0000:00:10.0 .* in use +no +domain $id has it" pci-assignable-list --candidates
	want 1 "0000:00:10.0: domain $id has it; pvl pci-detach" pci-assignable-remove 00:10.0
	want 1 "domain $id has it" pci-assignable-add 00:10.0
	want 1 'would have 2 PCI devices, at most 1 are allowed' pci-attach g1 00:11.0
	# [L] a guest that can not let go keeps it, whole
	pvl pause g1
	want 1 "domain $id is paused and can not let go of it" pci-detach g1 00:10.0
	check "Xen says domain $id" test "$(xen_owner 00:10.0)" = "d$id"
	pvl unpause g1
	check "the guest still pings" guest_exec g1 'ping -c 1 -W 5 10.0.2.2'
	want 0 'would detach' -N pci-detach g1 00:10.0
	want 0 '' pci-detach g1 00:10.0
	check "the guest has no eth0" guest_exec g1 '! [ -e /sys/class/net/eth0 ]'
	check_free 00:10.0
	check "xl lists nothing" test -z "$(xl pci-list g1 | grep 0000:)"
	# again, and two
	want 0 '' pci-attach g1 00:10.0
	check "the guest pings over it" guest_pings g1
	want 0 '' --force pci-attach g1 00:11.0
	want 0 '0000:00:11.0' pci-list g1
	want 0 '' pci-detach g1 00:10.0
	check_free 00:10.0
	check "xl sees the other" test "$(xl pci-list g1)" = "$(printf 'Vdev Device\n00.0 0000:00:11.0')"
	# by force, from a guest that does not answer; it wakes up without the device and lives
	pvl pause g1
	want 0 '' --timeout 3 pci-detach -f g1 00:11.0
	check_free 00:11.0
	pvl unpause g1
	check "the guest lives" guest_exec g1 true
	# both functions of a card
	want 0 '' pci-assignable-add 00:12.0 00:12.1
	want 0 '"device": "0000:00:12.1"' --force --json pci-attach g1 '00:12.*'
	check "Xen says domain $id" test "$(xen_owner 00:12.0) $(xen_owner 00:12.1)" = "d$id d$id"
	want 0 '' pci-detach g1 '00:12.*'
	check_free 00:12.0
	check_free 00:12.1
	# what it has when it ends comes back
	want 0 '' pci-attach g1 00:10.0
	want 0 '' destroy g1
	check_free 00:10.0
	assert_clean || failed=1
}

step_create() {
	want 0 '' create "/run/lab/cfg/g1.cfg" 'pci=["name=lan"]' 'cmdline="console=hvc0 quiet lab.name=g1 iommu=soft lab.modules=xen-pcifront,e1000e"'
	rm -f /run/lab/g1.id /run/lab/g1.seq
	guest_up g1 || return
	check "the guest pings over it" guest_pings g1
	want 0 '' shutdown -ww g1
	check_free 00:10.0
	assert_clean || failed=1
}

step_remove() {
	want 0 'would take PCI device 0000:00:10.0 from pciback and give it to e1000e' -N pci-assignable-remove -r 00:10.0
	want 0 '' pci-assignable-remove -r lan
	check "e1000e has 00:10.0" test "$(driver 00:10.0)" = e1000e
	want 1 '0000:00:10.0 is not assignable: e1000e has it' pci-assignable-remove 00:10.0
	want 0 '' pci-assignable-remove 00:11.0
	check "nobody has 00:11.0" test "$(driver 00:11.0)" = none
	check "it is no bus master" test $((0x$(od -An -tx1 -j4 -N1 /sys/bus/pci/devices/0000:00:11.0/config | tr -d ' ') & 4)) -eq 0
	want 0 '' pci-assignable-remove -r 01:01.0
	check "e1000 has 01:01.0" test "$(driver 01:01.0)" = e1000
}

# An HVM guest that is still in its firmware: QEMU takes the device, and nobody lets go of it.
step_firmware() {
	local id
	modprobe -a xen-pciback e1000e || return
	want 0 '' pci-assignable-add 00:10.0 00:11.0 00:12.0 00:12.1
	want 1 'wants each function of a card by itself' create /dev/null name=x kernel=/none 'pci=["00:12.*"]'
	cat >/tmp/h2.cfg <<-END
		name="h2"
		type="hvm"
		memory=64
		vnc=0
		vga="none"
		usb=0
		passthrough="enabled"
	END
	want 0 '' create -e /tmp/h2.cfg
	id=$(pvl domid h2) || return
	want 0 '"vslot": [1-9]' --json pci-attach h2 00:10.0
	check "xl sees the same" test "$(xl pci-list h2)" = "$(pvl pci-list h2)"
	check "Xen says domain $id" test "$(xen_owner 00:10.0)" = "d$id"
	want 1 "domain $id has it already" pci-attach h2 00:10.0
	want 0 '' pci-attach h2 00:11.0@8
	want 0 '^08.0 0000:00:11.0' pci-list h2
	want 1 'gets the functions of a card one by one' pci-attach h2 '00:12.*@9' # [L] xl: 0, and none is there
	want 1 '0000:00:10.0: domain [0-9]+ did not let go of it and has it as before' pci-detach h2 00:10.0
	check "the guest has it whole" test "$(xen_owner 00:10.0) $(pvl pci-list --names h2 | grep -c 00:10.0)" = "d$id 1"
	want 0 '' pci-detach -f h2 00:10.0
	check_free 00:10.0
	want 0 '' destroy h2
	for id in 00:10.0 00:11.0; do
		check_free $id
	done
	# in the configuration, and with memory that the guest has not got
	want 0 '' create -e /tmp/h2.cfg 'pci=["00:10.0"]'
	want 0 '0000:00:10.0' pci-list h2
	want 0 '' destroy h2
	check_free 00:10.0
	want 1 'memory=64 and maxmem=96' create -e /tmp/h2.cfg 'pci=["00:10.0"]' maxmem=96
	assert_clean || failed=1
}

step_hvm() {
	local id
	modprobe -a xen-pciback e1000e || return
	want 0 '' pci-assignable-add 00:10.0 00:11.0
	guest_create h1 hvm --append lab.modules=e1000e --config 'passthrough="enabled"' || return
	guest_up h1 || return
	id=$(guest_id h1)
	want 0 '"vslot": [1-9]' --json pci-attach h1 00:10.0
	check "the guest pings over it" guest_pings h1
	check "xl sees the same" test "$(xl pci-list h1)" = "$(pvl pci-list h1)"
	check "Xen says domain $id" test "$(xen_owner 00:10.0)" = "d$id"
	want 1 "domain $id has it already" pci-attach h1 00:10.0
	want 0 '' pci-detach h1 00:10.0
	check_free 00:10.0
	want 0 '' pci-attach h1 00:11.0@8
	want 0 '^08.0 0000:00:11.0' pci-list h1
	want 0 '' destroy h1
	check_free 00:11.0
	assert_clean || failed=1
}

step_noiommu() {
	modprobe -a xen-pciback e1000e || return
	wait_for '[ -d /sys/bus/pci/devices/0000:00:10.0/net ]' 20 || return
	want 0 'IOMMU is off' pci-assignable-list --candidates
	want 0 '"passable": false' --json pci-assignable-list --candidates
	want 1 "this host's IOMMU is off: switch VT-d or AMD-Vi" pci-assignable-add 00:10.0
	check "e1000e has 00:10.0" test "$(driver 00:10.0)" = e1000e
	# [L] xl fails, leaves it on pciback, and can not take it from there again
	command xl pci-assignable-add 00:10.0 && fail "xl made it assignable"
	echo "   after xl pci-assignable-add: driver $(driver 00:10.0)"
	command xl pci-assignable-remove -r 00:10.0
	echo "   after xl pci-assignable-remove: driver $(driver 00:10.0)"
	want 1 '0000:00:10.0: pciback has it, but without an IOMMU' doctor
	[ "$(driver 00:10.0)" != pciback ] || want 0 '' pci-assignable-remove -r 00:10.0
	check "e1000e has 00:10.0" test "$(driver 00:10.0)" = e1000e
	guest_create n1 pv --paused || return
	want 1 "IOMMU is off" pci-attach n1 00:10.0
	guest_destroy n1
	assert_clean || failed=1
}

for what; do
	echo "== $what"
	case $what in
	pv)
		for step in refused_add add refused_attach pv_guest create remove; do
			echo "-- $step"
			step_$step || { fail "$step was not finished"; break; }
		done
		;;
	firmware | hvm | noiommu) step_$what || fail "$what was not finished" ;;
	*) fail "no step $what" ;;
	esac
done
[ $failed -ne 0 ] || echo "PASS: PCI passthrough: $*"
exit $failed
