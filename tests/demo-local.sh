#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A synthetic disk from one end to the other, without Xen and without root: an ext4 image goes out of one disk and
# into another through a process guest and comes back bit for bit.
#   tests/demo-local.sh [--show]     --show prints each command before it runs, and what it says
# With PVBUS_BUILD=DIR the programs are those of that build tree; else of $abs_top_builddir, else installed ones.
set -euo pipefail

show=""
[ "${1:-}" != --show ] || show=yes
build=${PVBUS_BUILD:-${abs_top_builddir:-}}
[ -z "$build" ] || PATH=$build/backend:$build/bus:$build/toolstack:$build/frontend/user:$PATH
PATH=$PATH:/usr/sbin:/sbin
for tool in pvlocald pvbackd pvl pvguest; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done
for tool in mkfs.ext4 fsck.ext4 debugfs nbdcopy nbdinfo; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool (apt-get install e2fsprogs libnbd-bin)"; exit 77; }
done

dir=$(mktemp -d /tmp/pvbus-demo.XXXXXX)
cd "$dir"
fabric=$dir/fabric backd=""
export PVBUS_HV=local:$fabric
stop() {
	kill "$1" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null || true
}
cleanup() {
	local rc=$?

	trap - EXIT
	[ $rc -eq 0 ] || [ -n "$show" ] || { echo "---- pvbackd:"; cat pvbackd.log; echo "---- guest:"; cat fabric/log/*.log; } 2>/dev/null
	timeout 20 pvl --host "local:$fabric" destroy demo >/dev/null 2>&1 || true
	[ -z "$backd" ] || { kill "$backd" && wait "$backd"; } 2>/dev/null || true
	[ ! -s localpid ] || stop "$(cat localpid)"
	cd /
	rm -rf "$dir"
	exit $rc
}
trap cleanup EXIT

title() { [ -z "$show" ] || printf '\n-- %s\n' "$*"; }
# run COMMAND...: shown as a person would type it, its output indented.
run() {
	if [ -n "$show" ]; then
		printf '   $ %s\n' "${*//$dir\//}"
		"$@" 2>&1 | sed "s|$dir/||g; s/^/   /"
	else
		"$@" >out.log 2>&1 || { echo "FAIL: $*"; cat out.log; return 1; }
	fi
}
fail() { echo "FAIL: $*"; exit 1; }
hash_of() { sha256sum "$1" | cut -d' ' -f1; }

title "The bus: a store, domains, grants and event channels, all in $fabric"
run pvlocald --dir "$fabric" --pidfile "$dir/localpid"

title "The back ends. They open the images; each guest gets a sandboxed worker of its own."
[ -z "$show" ] || echo '   $ pvbackd &'
mkfifo ready
pvbackd --ready-fd 3 3>ready 2>pvbackd.log &
backd=$!
cat ready
kill -0 $backd 2>/dev/null || fail "pvbackd did not start"

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
for ((i = 0; i < 300; i++)); do # it writes the file when its disks are live
	[ ! -s guestpid ] || break
	sleep 0.1
done
[ -s guestpid ] || { cat fabric/log/demo.log; fail "the guest's disks did not connect within 30 s"; }
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
kill "$backd" || fail "pvbackd has died"
wait "$backd" || fail "pvbackd ended with status $?: $(tail -n 3 pvbackd.log)"
backd=""
echo
echo "PASS: $files files, 48 MiB, through two synthetic disks: every byte is the same"
