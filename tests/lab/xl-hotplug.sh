#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Unmodified xl and the hotplug script: a target that can not be opened fails xl with the reason and leaves nothing
# behind; disks come and go while the guest runs, by our hotplug script and by Xen's own; a reboot finds the same disk; xen-blkback is kept away.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"

spec() { echo "format=raw,vdev=$1,access=${3:-rw},backendtype=phy,script=block-pvbus,target=$2"; }
nodes() { xenstore-list "/local/domain/0/backend/vbd/$1" 2>/dev/null | sort | tr '\n' ' '; }

mkdir -p /var/log/pvbus
grep -qx 'install xen-blkback /bin/false' /etc/modprobe.d/pvbus-modprobe.conf || lab_fail "no modprobe.d snippet"
pvbackd -v 2>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1

echo "== a target that is not there"
cat >/root/bad.cfg <<-END
	name="bad"
	type="pv"
	kernel="/guest/vmlinux"
	ramdisk="/guest/initrd"
	memory=128
	disk=["$(spec xvda /tmp/nothing.img)"]
END
if xl create /root/bad.cfg >/tmp/xl.out 2>&1; then
	lab_fail "xl create succeeded with a target that is not there"
fi
grep 'nothing.img.*No such file' /tmp/xl.out || { cat /tmp/xl.out; lab_fail "xl does not say why"; }
assert_clean || exit 1

echo "== a guest, and a second disk while it runs"
truncate -s 64M /tmp/a.img
truncate -s 32M /tmp/b.img
printf 'first words' | dd of=/tmp/b.img conv=notrunc 2>/dev/null
guest_create g1 pv --disk "$(spec xvda /tmp/a.img)" || exit 1
guest_up g1 || exit 1
id=$(guest_id g1)
xl block-attach g1 "$(spec xvdb /tmp/b.img)" || lab_fail "xl block-attach: status $?"
wait_node "/local/domain/0/backend/vbd/$id/51728/state" 20 '[ "$value" = 4 ]' || lab_fail "xvdb does not connect"
wait_for 'guest_exec g1 "[ -b /dev/xvdb ]" 30' 20 "/dev/xvdb in the guest" || exit 1
got=$(guest_exec g1 'head -c 11 /dev/xvdb; echo "the guest was here" | dd of=/dev/xvdb seek=1 conv=fsync 2>/dev/null') || exit 1
[ "$got" = "first words" ] || lab_fail "the guest reads \"$got\""
dd if=/tmp/b.img skip=1 count=1 2>/dev/null | grep -q 'the guest was here' || lab_fail "what the guest wrote is not there"

echo "== an attach that fails"
xl block-attach g1 "$(spec xvdc /tmp/nothing.img)" >/tmp/xl.out 2>&1 && lab_fail "xl attached what is not there"
grep 'nothing.img.*No such file' /tmp/xl.out || { cat /tmp/xl.out; lab_fail "xl does not say why"; }
# libxl leaves the nodes of a failed attach; pvbackd takes them away
wait_for '[ "$(nodes "$id")" = "51712 51728 " ]' 15 "the failed device gone" || lab_fail "nodes left: $(nodes "$id")"

echo "== detach, and attach read-only"
xl block-detach g1 xvdb || lab_fail "xl block-detach: status $?"
[ "$(nodes "$id")" = "51712 " ] || lab_fail "nodes left: $(nodes "$id")"
xl block-attach g1 "$(spec xvdb /tmp/b.img r)" || lab_fail "xl block-attach, read-only: status $?"
wait_for 'guest_exec g1 "[ \$(cat /sys/block/xvdb/ro) = 1 ]" 30' 20 "a read-only xvdb" || exit 1
xl block-detach g1 xvdb || lab_fail "xl block-detach: status $?"

echo "== Xen's own script: a loop device and what it says of itself"
loop=$(losetup -f --show /tmp/b.img) || lab_fail "no loop device"
xl block-attach g1 "phy:$loop,xvdb,w" || lab_fail "xl block-attach, phy: status $?"
wait_for 'guest_exec g1 "[ -b /dev/xvdb ]" 30' 20 "/dev/xvdb in the guest" || exit 1
[ "$(guest_exec g1 'head -c 11 /dev/xvdb')" = "first words" ] || lab_fail "the guest reads something else by phy:"
xl block-detach g1 xvdb || lab_fail "xl block-detach, phy: status $?"
losetup -d "$loop"
xl block-attach g1 "file:/tmp/b.img,xvdb,r" || lab_fail "xl block-attach, file: status $?"
wait_for 'guest_exec g1 "[ -b /dev/xvdb ]" 30' 20 "/dev/xvdb in the guest" || exit 1
[ "$(guest_exec g1 'head -c 11 /dev/xvdb')" = "first words" ] || lab_fail "the guest reads something else by file:"
xl block-detach g1 xvdb || lab_fail "xl block-detach, file: status $?"

echo "== reboot: the disk comes back"
guest_exec g1 'echo kept | dd of=/dev/xvda conv=fsync 2>/dev/null' || exit 1
xl reboot g1 >/dev/null || lab_fail "xl reboot"
wait_for '[ "$(xl domid g1 2>/dev/null || echo '"$id"')" != '"$id"' ]' 60 "a new domain" || exit 1
xl domid g1 >"$lab_dir/g1.id"
rm -f "$lab_dir/g1.seq"
guest_up g1 || exit 1
[ "$(guest_exec g1 'head -c 4 /dev/xvda')" = kept ] || lab_fail "the disk is another after reboot"
guest_destroy g1 || exit 1
assert_clean || exit 1
lsmod | grep xen_blkback && lab_fail "xen-blkback was loaded"
kill $backd
wait $backd || lab_fail "pvbackd ended with status $?"
echo PASS
