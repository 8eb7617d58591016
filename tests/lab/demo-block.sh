#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Stock guests on real Xen with a disk that pvbackd serves: Debian's kernel and its xen-blkfront, created by
# unmodified xl.  Each guest mounts ext4, unpacks a source tree from a second, read-only disk and checks the sum of
# each file; dom0 then finds a clean file system.
#   lab/run --file /usr/include/linux:/tree/linux tests/lab/demo-block.sh [pv|pvh]...
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
[ $# -gt 0 ] || set -- pv pvh
[ -d /tree ] || lab_fail "no tree to work with (lab/run --file DIR:/tree/NAME)"

show() { echo; echo "   # $*"; }
indent() { sed 's/^/   /'; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

mkdir -p /var/log/pvbus
show "pvbackd &       xen-blkback is not loaded: $(lsmod | grep -c xen_blkback) of it"
pvbackd 2>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1

(cd /tree && find . -type f -exec sha256sum {} + >/tmp/SHA256SUMS && mv /tmp/SHA256SUMS . && tar -cf /tmp/tree.tar .) || exit 1
total=$(wc -l </tree/SHA256SUMS)
echo "   a tree of $total files, $(($(stat -c %s /tmp/tree.tar) / 1048576)) MiB"

cat >/tmp/guest.sh <<-'END'
	set -e
	mount -t ext4 /dev/xvda /mnt
	tar -xf /dev/xvdb -C /mnt
	sync
	echo 3 >/proc/sys/vm/drop_caches
	cd /mnt
	sha256sum -c SHA256SUMS >/tmp/sums
	grep -c ': OK$' /tmp/sums >/tmp/good
	cd /
	umount /mnt
	dmesg | grep -iE 'blkfront|xvd[ab]' || true
END

# QEMU's emulated SVM loses a PVH guest now and then: Xen sees a triple fault with the registers of somebody else,
# and xl makes the guest anew.  That is no verdict on its disks; the guest is started again.
lost_by_qemu() { # NAME STATUS
	[ "$2" = 125 ] && xl dmesg | grep -q "d$(guest_id "$1")v0 Triple fault" || return 1
	echo "   (the lab's emulated processor lost the guest: a triple fault; once more)"
	wait_for "xl domid $1 >/dev/null 2>&1" 20 "xl made $1 anew" && xl destroy "$1"
	wait_for "! xl domid $1 >/dev/null 2>&1" 20 "$1 is gone"
}

for type; do
	g=demo-$type
	disk="format=raw,vdev=xvda,access=rw,backendtype=phy,script=block-pvbus,target=/tmp/$g.img"
	show "xl create $g.cfg       # type=\"$type\", stock kernel; disk: $disk"
	truncate -s 96M "/tmp/$g.img"
	mkfs.ext4 -qF "/tmp/$g.img" || exit 1
	for try in 1 2 3 4; do
		t=$EPOCHREALTIME
		guest_create "$g" "$type" --mem 192 --script /tmp/guest.sh --disk "$disk" \
			--disk "format=raw,vdev=xvdb,access=ro,backendtype=phy,script=block-pvbus,target=/tmp/tree.tar" || exit 1
		echo "   created after $(since "$t")"
		t=$EPOCHREALTIME
		guest_wait "$g" 300 && break
		lost_by_qemu "$g" $? && [ $try -lt 4 ] || exit 1
		mkfs.ext4 -qF "/tmp/$g.img" || exit 1
	done
	good=$(guest_exec "$g" 'cat /tmp/good') || exit 1
	echo "   the guest: mount, tar -x, sha256sum -c: $good of $total files OK; umount; boot and all $(since "$t")"
	[ "$good" = "$total" ] || lab_fail "$g: $good of $total files are right"
	show "xl block-list $g"
	xl block-list "$g" | indent
	show "pvl stats $g"
	pvl stats "$g" | indent
	guest_shutdown "$g" || exit 1
	show "fsck.ext4 -fn $g.img"
	fsck.ext4 -fn "/tmp/$g.img" >/tmp/fsck 2>&1 || { cat /tmp/fsck; lab_fail "$g: the file system is not clean"; }
	indent </tmp/fsck
	rm "/tmp/$g.img"
done

show "what is left: no domain, no device"
assert_clean || exit 1
kill $backd
wait $backd || lab_fail "pvbackd ended with status $?"
echo
echo "PASS: $* guests with stock kernels on disks of pvbackd, $total files each, all sums right"
