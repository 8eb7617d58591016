#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A Debian kernel with our own front ends as modules: its root file system is on a disk of pvblk, its network on a NIC of pvnet.
# What a person would look at to know what drives them, a file written and read again after a reboot, and one over HTTP.
#   lab/run --with-fio --file pvblk.ko --file pvnet.ko tests/lab/demo-modules.sh
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"

show() { echo; echo "   # $*"; }
indent() { sed 's/^/   /'; }
in_guest() { show "$1"; guest_exec own "$1" 300 >/tmp/out || { cat /tmp/out; lab_fail "in the guest: $1"; }; indent </tmp/out; }

mkdir -p /var/log/pvbus /mnt/root
modprobe tun && modprobe bridge || exit
brctl addbr xenbr0 && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
pvbackd 2>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1

show "a disk with a root file system: the lab's guest, and the modules"
truncate -s 160M /run/root.img
mkfs.ext4 -qF /run/root.img && mount -o loop /run/root.img /mnt/root || exit
for part in /guest/initrd /guest/fio; do
	(cd /mnt/root && cpio -idmu --quiet <$part) || lab_fail "$part does not unpack"
done
mv /mnt/root/init /mnt/root/usr/sbin/init
mkdir -p /mnt/root/job
cp /root/pvblk.ko /root/pvnet.ko /mnt/root/root/
cat >/mnt/root/job/script <<-'END'
	set -e
	insmod /root/pvnet.ko
	i=0
	until [ -e /sys/class/net/eth0 ] || [ $i = 200 ]; do usleep 50000; i=$((i + 1)); done
	ip addr add 10.9.0.11/24 dev eth0
	ip link set eth0 up
	mkdir -p /www
	[ -e /www/file ] || dd if=/dev/urandom of=/www/file bs=1M count=16 2>/dev/null
	[ -e /www/sum ] || sha256sum </www/file >/www/sum
	sync
	httpd -h /www
END
chmod 755 /mnt/root/job/script
umount /mnt/root
losetup -D

# all that is done before the root file system is there
cat >/tmp/init <<-'END'
	#!/usr/bin/busybox sh
	mount -t proc proc /proc
	mount -t devtmpfs devtmpfs /dev
	exec </dev/console >/dev/console 2>&1
	insmod /root/pvblk.ko
	modprobe ext4
	i=0
	until [ -b /dev/xvda ] || [ $i = 200 ]; do usleep 50000; i=$((i + 1)); done
	mount -t ext4 /dev/xvda /mnt && mount --move /proc /mnt/proc && mount --move /dev /mnt/dev && exec switch_root /mnt /usr/sbin/init
	poweroff -f
END
chmod 755 /tmp/init

show 'xl create own.cfg       # stock kernel; root on xvda by pvblk, vif = [ "bridge=xenbr0" ] by pvnet'
guest_create own pv --mem 256 --vcpus 2 --append "lab.modules= lab.wait=0" --file /tmp/init:/init --file /root/pvblk.ko \
	--config 'tsc_mode="native"' --disk "format=raw,vdev=xvda,access=rw,backendtype=phy,script=block-pvbus,target=/run/root.img" \
	--vif "bridge=xenbr0,mac=00:16:3e:09:00:01" || exit 1
guest_wait own 300 || { rc=$?; cat /var/log/pvbus/pvbackd.log; lab_fail "own: status $rc"; }

in_guest 'grep " / " /proc/mounts; uname -r'
grep -q '^ */dev/xvda / ext4' /tmp/out || lab_fail "the root file system is not on xvda"
in_guest 'for d in /sys/bus/xen/devices/*; do echo "${d##*/} $(basename $(readlink $d/driver))"; done'
grep -q '^vbd-51712 pvblk$' /tmp/out && grep -q '^vif-0 pvnet$' /tmp/out || lab_fail "other drivers have the devices"
in_guest 'modinfo /root/pvblk.ko | grep -E "^(filename|description|license|alias|parm)"; modinfo /root/pvnet.ko | grep -E "^(description|license|alias|parm)"'
in_guest 'lsblk -o NAME,SIZE,RO,TYPE,MOUNTPOINT,PHY-SEC,DISC-GRAN'
grep -q '^xvda ' /tmp/out || lab_fail "lsblk does not show xvda"
in_guest 'ethtool -i eth0 | head -n 3; ethtool -l eth0; ethtool -k eth0 | grep -E "^(tx-checksumming|scatter-gather|tcp-segmentation-offload|generic-receive-offload)"'
grep -q '^driver: pvnet$' /tmp/out || lab_fail "ethtool does not name pvnet"

fetch() {
	local want

	wait_for 'ping -c 1 -W 5 10.9.0.11 >/dev/null' 60 "the guest answers" || exit 1
	sum=$(wget -q -O - http://10.9.0.11/file | sha256sum | cut -d ' ' -f 1)
	want=$(wget -q -O - http://10.9.0.11/sum | cut -d ' ' -f 1)
	[ -n "$want" ] && [ "$sum" = "$want" ] || lab_fail "sums differ: $sum, $want"
	echo "   16 MiB by HTTP, equal SHA-256: $sum"
}
show "wget http://10.9.0.11/file"
fetch
before=$sum

show "xl reboot own"
id=$(guest_id own)
xl reboot own >/dev/null || lab_fail "xl reboot"
wait_for "[ \"\$(xl domid own 2>/dev/null || echo $id)\" != $id ]" 60 "a new domain" || exit 1
xl domid own >"$lab_dir/own.id"
rm -f "$lab_dir/own.seq"
guest_wait own 300 || lab_fail "own does not come up again"
fetch
[ "$sum" = "$before" ] || lab_fail "the file is another one after the reboot"
in_guest 'ethtool -S eth0 | head -n 12'
guest_destroy own || exit 1
fsck.ext4 -fp /run/root.img >/tmp/out 2>&1 || [ $? -le 1 ] || { cat /tmp/out; lab_fail "the root file system"; }
assert_clean || exit 1
kill $backd
wait $backd || lab_fail "pvbackd ended with status $?"
echo
echo "PASS: a stock kernel with its root on pvblk and its network on pvnet"
