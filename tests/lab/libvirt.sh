#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Unmodified libvirtd (its libxl driver) and virsh with pvbackd as the back end: guests are defined, started, get and lose disks
# and NICs, are saved and restored, get a PCI device, shut down and are destroyed; nothing of them stays.
#   lab/run --with-libvirt [--iommu] --file tests/lab/pvl-functions.sh tests/lab/libvirt.sh [pv] [pvh] [save] [hostdev]
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- pv pvh save
pci="" # is the next guest to have a PCI device?

# guest_create makes the guest's files; libvirt makes the guest
guest_begin() {
	cp "$lab_dir/$1.initrd" "$lab_dir/$1.files"
	xml "$1" >"/tmp/$1.xml"
	virsh -q define "/tmp/$1.xml" >/dev/null && start "$1"
}
start() {
	cp "$lab_dir/$1.files" "$lab_dir/$1.initrd"
	rm -f "$lab_dir/$1.seq"
	virsh -q start "$1" >/dev/null && xl domid "$1" >"$lab_dir/$1.id"
}
value() { sed -n "s/^$2=\"*\([^\"]*\)\"*$/\1/p" "$lab_dir/cfg/$1.cfg"; }
xml() { # GUEST
	local type features=""
	type=$(value "$1" type)
	[ -z "$pci" ] || features="<features><xen><e820_host state='on'/><passthrough state='on'/></xen></features>"
	cat <<-END
		<domain type='xen'>
		  <name>$1</name>
		  <memory unit='MiB'>$(value "$1" memory)</memory>
		  <vcpu>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='xen$type'>$([ "$type" = pvh ] && echo xenpvh || echo linux)</type>
		    <kernel>/guest/vmlinux</kernel><initrd>$lab_dir/$1.initrd</initrd><cmdline>$(value "$1" cmdline)</cmdline>
		  </os>
		  $features
		  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
		  <devices>
		    <disk type='file' device='disk'>
		      <driver name='phy' type='raw'/><source file='/tmp/$1.img'/><target dev='xvda' bus='xen'/>
		    </disk>
		    <interface type='bridge'>
		      <mac address='00:16:3e:0b:00:01'/><source bridge='xenbr0'/>
		    </interface>
		    <console type='pty'><target type='xen' port='0'/></console>
		  </devices>
		</domain>
	END
}
# virsh ARG...: must succeed, and says what it did
do_virsh() {
	local t=$EPOCHREALTIME rc=0
	virsh "$@" >/tmp/virsh.out 2>&1 </dev/null || rc=$?
	printf '   %-72s status %s, %.1f s\n' "virsh $*" "$rc" "$(awk "BEGIN { print $EPOCHREALTIME - $t }")"
	[ "$rc" = 0 ] || { fail "virsh $*"; cat /tmp/virsh.out; return 1; }
}
state_is() { check "$1 is $2" test "$(virsh domstate "$1" 2>&1 | head -n 1)" = "$2"; }
# in_guest NAME WHAT CMD
in_guest() { guest_exec "$1" "$3" 60 >/tmp/guest.out 2>&1 || { fail "$2"; cat /tmp/guest.out; }; }
served() { grep -q "$1.*Connected" /var/log/pvbus/pvbackd.log || fail "pvbackd has not connected $1"; }

mkdir -p /var/log/pvbus /var/lib/libvirt /run/libvirt
ln -s pvbus /var/log/libvirt
modprobe tun && modprobe bridge && modprobe xen-pciback || exit
brctl addbr xenbr0 && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
# libvirt can name no script for a disk: this host's disks are pvbackd's
mv /etc/xen/scripts/block /etc/xen/scripts/block.xen && ln -s block-pvbus /etc/xen/scripts/block || exit
pvbackd 2>>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
libvirtd 2>/var/log/pvbus/libvirtd.log &
libvirtd=$!
export LIBVIRT_DEFAULT_URI=xen:///system
wait_for 'virsh -q version >/dev/null 2>&1' 60 "libvirtd" || { cat /var/log/pvbus/libvirtd.log /var/log/libvirtd.log; exit 1; }
virsh version | sed 's/^/   /'

make() { # NAME TYPE OPTION...: with a disk that begins with known bytes
	local name=$1 type=$2
	shift 2
	head -c 4194304 /dev/urandom >"/tmp/$name.img"
	truncate -s 32M "/tmp/$name.img"
	guest_create "$name" "$type" "$@" || return
	{ guest_boots "$name" && guest_up "$name"; } || return
	in_guest "$name" "its NIC" 'ip addr add 10.9.0.11/24 dev eth0 && ip link set eth0 up'
}
sum_of() { head -c 4194304 "$1" | sha256sum | cut -d' ' -f1; }
reads() { # GUEST DEVICE FILE
	in_guest "$1" "$2" "head -c 4194304 /dev/$2 | sha256sum"
	grep -q "$(sum_of "$3")" /tmp/guest.out || fail "$1 reads other bytes from $2: $(cat /tmp/guest.out)"
}
gone() { # GUEST
	wait_for "[ \"\$(virsh domstate $1 2>&1 | head -n 1)\" = 'shut off' ]" 60 "$1 is shut off" || fail "$1 is not shut off"
	do_virsh undefine "$1"
	virsh -q list --all | grep -w "$1" && fail "$1 is still defined"
	guest_gone "$1" || failed=1
}

devices() { # GUEST: come and go
	do_virsh domblklist "$1" && check "xvda is listed" grep -q "xvda  */tmp/$1.img" /tmp/virsh.out
	do_virsh domiflist "$1" && check "the NIC is listed" grep -q 'bridge.*xenbr0.*00:16:3e:0b:00:01' /tmp/virsh.out
	do_virsh ttyconsole "$1" && check "its console is a tty" test -c "$(head -n 1 /tmp/virsh.out)"
	head -c 4194304 /dev/urandom >/tmp/b.img
	do_virsh attach-disk "$1" /tmp/b.img xvdb --driver phy --subdriver raw --sourcetype file || return
	wait_for "guest_exec $1 '[ -b /dev/xvdb ]' 30" 20 "/dev/xvdb" || failed=1
	reads "$1" xvdb /tmp/b.img
	do_virsh detach-disk "$1" xvdb
	# by Xen's own script, for a loop device
	mv /etc/xen/scripts/block /tmp/ours && cp /etc/xen/scripts/block.xen /etc/xen/scripts/block
	do_virsh attach-disk "$1" /tmp/b.img xvdc --driver phy --subdriver raw --sourcetype file
	wait_for "guest_exec $1 '[ -b /dev/xvdc ]' 30" 20 "/dev/xvdc" || failed=1
	check "a loop device" test -n "$(losetup -a)"
	reads "$1" xvdc /tmp/b.img
	do_virsh detach-disk "$1" xvdc
	mv /tmp/ours /etc/xen/scripts/block
	virsh attach-disk "$1" /tmp/nothing.img xvdd --driver phy --subdriver raw --sourcetype file >/tmp/virsh.out 2>&1 && fail "virsh attached what is not there"
	# libvirt keeps libxl's reasons in a file
	grep -q "nothing.img: No such file" /var/log/libvirt/libxl/libxl-driver.log || fail "nothing says why: $(cat /tmp/virsh.out)"
	do_virsh attach-interface "$1" bridge switch:lan --script vif-pvbus --mac 00:16:3e:0b:00:02
	wait_for "guest_exec $1 '[ -e /sys/class/net/eth1 ]' 30" 20 "eth1" || failed=1
	do_virsh detach-interface "$1" bridge --mac 00:16:3e:0b:00:02
}

guest() { # TYPE
	local g=virt-$1
	make "$g" "$1" || { fail "$g does not start"; return; }
	state_is "$g" running
	reads "$g" xvda "/tmp/$g.img"
	in_guest "$g" "ping" 'ping -c 2 -W 5 10.9.0.1'
	served vbd && served vif
	check "no loop device" test -z "$(losetup -a)"
	devices "$g"
	do_virsh shutdown "$g"
	wait_for "[ \"\$(virsh domstate $g 2>&1 | head -n 1)\" = 'shut off' ]" 60 "$g is shut off" || fail "$g does not shut down"
	guest_gone "$g" || failed=1
	wait_for "start $g 2>/tmp/virsh.out" 10 "libvirt lets $g start again" || cat /tmp/virsh.out
	{ [ -n "$(guest_id "$g")" ] && guest_boots "$g" && guest_up "$g"; } || fail "$g does not start again"
	do_virsh suspend "$g" && state_is "$g" paused
	do_virsh resume "$g" && state_is "$g" running
	do_virsh destroy "$g"
	gone "$g"
}

save() {
	local g=virt-save
	make $g pv || { fail "$g does not start"; return; }
	in_guest $g "tell" 'echo it >/run/told'
	do_virsh save $g /tmp/saved && state_is $g "shut off"
	do_virsh restore /tmp/saved && state_is $g running
	xl domid $g >"$lab_dir/$g.id"
	# shellcheck disable=SC2016 # the guest's
	in_guest $g "its memory" '[ "$(cat /run/told)" = it ]'
	reads $g xvda /tmp/$g.img
	in_guest $g "ping" 'ping -c 2 -W 5 10.9.0.1'
	do_virsh destroy $g
	gone $g
}
hostdev() {
	local g=virt-pci
	modprobe e1000e
	pci=yes
	make $g pv --mem 192 --append iommu=soft --append "lab.modules=xen-blkfront,xen-netfront,xen-pcifront,e1000e" || { fail "$g does not start"; return; }
	pci=""
	cat >/tmp/hostdev.xml <<-END
		<hostdev mode='subsystem' type='pci' managed='yes'>
		  <source><address domain='0' bus='0' slot='0x10' function='0'/></source>
		</hostdev>
	END
	do_virsh attach-device $g /tmp/hostdev.xml
	guest_exec $g 'ip link set eth0 down && ip link set eth0 name ours' 20
	wait_for "guest_exec $g 'ls /sys/class/net' 20 | grep -q 'eth[0-9]'" 30 "the passed NIC" || fail "no passed NIC"
	# shellcheck disable=SC2016 # the guest's
	guest_exec $g 'for n in /sys/class/net/eth*; do ip link set "${n##*/}" name eth0; done 2>/dev/null; true' 20
	guest_pings $g >/tmp/guest.out || { fail "no answer over the passed NIC"; cat /tmp/guest.out; }
	do_virsh detach-device $g /tmp/hostdev.xml
	check "the guest has no PCI device" test -z "$(xl pci-list $g 2>/dev/null | grep 00:10)"
	do_virsh destroy $g
	gone $g
}

for step; do
	echo "== $step"
	case $step in
	pv | pvh) guest "$step" ;;
	save) save ;;
	hostdev) hostdev ;;
	*) fail "no step $step" ;;
	esac
done

assert_clean || failed=1
kill $libvirtd
wait $libvirtd || fail "libvirtd ended with status $?"
kill "$backd"
wait "$backd" || fail "pvbackd ended with status $?"
[ "$failed" -ne 0 ] || echo "PASS: libvirt with pvbackd: $*"
exit "$failed"
