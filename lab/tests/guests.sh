#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PV, PVH and HVM guests use a disk of stock xen-blkback: dom0 makes the file
# system, the guest writes to it, dom0 checks it and finds what was written.
# Arguments choose among the types.

# shellcheck source=lab/tests/common.sh disable=SC2016 # the scripts are for dom0
. "$(dirname "$0")/common.sh"

cat >"$tmp/guests" <<'END'
#!/bin/bash
. "$LAB/functions.sh"
modprobe xen-blkback || exit
modprobe xen-netback || exit
brctl addbr xenbr0 && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit

for type; do
	echo "== $type"
	truncate -s 64M /tmp/disk.img
	mkfs.ext4 -qF /tmp/disk.img || exit
	loop=$(losetup -f --show /tmp/disk.img) || exit
	started=$EPOCHREALTIME
	guest_create g1 "$type" --disk "phy:$loop,xvda,w" --vif bridge=xenbr0 \
		--append xen_blkfront.max_ring_page_order=1 --cmd '
		set -e
		mount /dev/xvda /mnt
		echo "from the guest" >/mnt/note
		umount /mnt
		test "$(cat /sys/module/xen_blkfront/parameters/max_ring_page_order)" = 1
		ip addr add 10.9.0.2/24 dev eth0
		ip link set eth0 up
		ping -c 2 10.9.0.1
		exit 3' || exit
	created=$EPOCHREALTIME
	guest_wait g1; rc=$?
	awk "BEGIN { printf \"%s: xl create %.1f s, verdict after %.1f s more\n\", \"$type\",
		$created - $started, $EPOCHREALTIME - $created }"
	[ $rc = 3 ] || lab_fail "$type: verdict $rc, not 3"
	got=$(guest_exec g1 'echo out; echo err >&2; head -c 5000 /dev/zero | tr "\0" x; exit 4'); rc=$?
	[ $rc = 4 ] || lab_fail "$type: guest_exec gave $rc, not 4"
	[ "$(head -n 2 <<<"$got" | tr "\n" " ")" = "out err " ] && [ ${#got} = 5008 ] ||
		lab_fail "$type: guest_exec gave ${#got} bytes: ${got:0:80}"
	xl block-list g1 | grep -q 51712 || lab_fail "$type: no block device"
	guest_log g1 | grep -q "script ends with 3" || lab_fail "$type: nothing in the console log"
	guest_shutdown g1 || exit
	assert_clean || exit
	losetup -d "$loop"
	fsck.ext4 -fn /tmp/disk.img || exit
	mount -o loop /tmp/disk.img /mnt && grep "from the guest" /mnt/note || exit
	umount /mnt
done
END
chmod +x "$tmp/guests"
[ $# -gt 0 ] || set -- pv pvh hvm
"$lab/run" --name self-guests --timeout 1200 --with-qemu "$tmp/guests" "$@" || fail "status $?"
pass
