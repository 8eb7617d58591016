#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A synthetic disk from one end to the other, without Xen and without root: an ext4 image goes out of one disk and
# into another through a process guest and comes back bit for bit.
#   tests/demo-local.sh [--show]     --show prints each command before it runs, and what it says
# What it needs: see fabric-functions.sh.
set -euo pipefail

# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"

for tool in mkfs.ext4 fsck.ext4 debugfs nbdcopy nbdinfo; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool (apt-get install e2fsprogs libnbd-bin)"; exit 77; }
done
hash_of() { sha256sum "$1" | cut -d' ' -f1; }

title "The bus: a store, domains, grants, event channels, in one directory. The back ends: a sandboxed worker for each guest."
backd_start

title "Two disks: an ext4 file system with a tree in it, and an empty one."
mkdir tree
cp -r /usr/include/linux tree/ 2>/dev/null || cp -r /etc/ssl tree/
run mkfs.ext4 -q -L demo -d tree -E root_owner=0:0 a.img 48M
run truncate -s 48M b.img
ls -ld tree >/dev/null

title "A guest that is a process. Its front end connects to the disks and exports them by NBD."
cat >demo.cfg <<-END
	name   = "demo"
	memory = 64
	guest  = "pvguest --nbd unix:$dir/nbd.sock --pidfile $dir/guestpid"
	disk   = [ "format=raw,vdev=xvda,access=ro,target=$dir/a.img",
	           "format=raw,vdev=xvdb,access=rw,target=$dir/b.img" ]
END
[ -z "$show" ] || sed "s|$dir/||g; s/^/   /" demo.cfg
run pvl --host "local:$fabric" create "$dir/demo.cfg"
# it writes the file when its disks are live
until_true 30 test -s guestpid || { cat fabric/log/demo.log; fail "the guest's disks did not connect within 30 s"; }
run pvl --host "local:$fabric" list
run pvl --host "local:$fabric" block-list demo

a="nbd+unix:///xvda?socket=$dir/nbd.sock" b="nbd+unix:///xvdb?socket=$dir/nbd.sock"
title "Out of one disk, into the other: guest -> shared memory -> pvbackd -> image, and back."
run nbdcopy "$a" "$dir/copy.img"
run nbdcopy --flush "$dir/copy.img" "$b"

title "Detach, and compare."
run pvl --host "local:$fabric" stats demo
run pvl --host "local:$fabric" block-detach demo xvdb
run pvl --host "local:$fabric" destroy demo
run sha256sum a.img copy.img b.img
[ "$(hash_of a.img)" = "$(hash_of copy.img)" ] || fail "what was read is not what is in a.img"
[ "$(hash_of a.img)" = "$(hash_of b.img)" ] || fail "what was written is not what is in b.img"
run fsck.ext4 -fn b.img
mkdir back
debugfs -R "rdump / back" b.img >/dev/null 2>&1
rm -rf back/lost+found
run diff -r tree back
files=$(find tree -type f | wc -l)
backd_stop
echo
echo "PASS: $files files, 48 MiB, through two synthetic disks: every byte is the same"
