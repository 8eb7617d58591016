#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl pci-assignable-list --candidates of a made-up machine, as table and as JSON, and the usage of the other PCI commands:
# what is no device is wrong usage, and nothing is tried.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
builddir=${abs_top_builddir:-$srcdir/build/main}
pvl=$builddir/toolstack/pvl
[ -x "$pvl" ] || { echo "FAIL: $pvl is not built"; exit 1; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
want() { # STATUS REGEX ARG...
	local status=$1 regex=$2 rc=0
	shift 2
	"$pvl" "$@" >"$tmp/out" 2>&1 </dev/null || rc=$?
	[ $rc -eq "$status" ] && grep -qE -- "$regex" "$tmp/out" || fail "pvl $*: status $rc (wanted $status), not /$regex/: $(cat "$tmp/out")"
}
device() { # BDF CLASS DRIVER RESET
	local dir=$tmp/root/sys/devices/pci0000:00/$1
	mkdir -p "$dir" "$tmp/root/sys/bus/pci/devices" "$tmp/root/sys/bus/pci/drivers/$3"
	echo "$2" >"$dir/class"; echo 0x8086 >"$dir/vendor"; echo 0x10d3 >"$dir/device"; echo "$4" >"$dir/reset_method"
	head -c 64 /dev/zero >"$dir/config"
	ln -s "../../../bus/pci/drivers/$3" "$dir/driver"
	ln -s "../../../devices/pci0000:00/$1" "$tmp/root/sys/bus/pci/devices/$1"
}
mkdir -p "$tmp/root/proc/net" "$tmp/root/sys/class/net"
device 0000:00:10.0 0x020000 e1000e flr
device 0000:00:11.0 0x020000 pciback ""
device 0000:00:1f.0 0x060100 lpc ""
mkdir -p "$tmp/root/sys/devices/pci0000:00/0000:00:10.0/net/eth0"
ln -s ../../devices/pci0000:00/0000:00:10.0/net/eth0 "$tmp/root/sys/class/net/eth0"
printf 'Iface\neth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n' >"$tmp/root/proc/net/route"

export PVL_SYSROOT=$tmp/root
want 0 '^0000:00:10\.0 8086:10d3 020000 e1000e +dom0 +--force +dom0.s default route goes over it \(eth0\)' pci-assignable-list --candidates
want 0 '^0000:00:11\.0 .* pciback +assignable +--no-reset +the kernel can not reset it' pci-assignable-list --candidates
want 0 '^0000:00:1f\.0 .* bridge +no +it is a bridge' pci-assignable-list --candidates
"$pvl" -q --json pci-assignable-list --candidates >"$tmp/json" || fail "--json: status $?"
if command -v python3 >/dev/null; then
	python3 - "$tmp/json" <<-'END' || fail "--json: $(cat "$tmp/json")"
		import json, sys
		d = {r["device"]: r for r in json.load(open(sys.argv[1]))}
		assert len(d) == 3
		assert [r["override"] for r in d["0000:00:10.0"]["reasons"]] == ["force"], d
		assert not d["0000:00:10.0"]["passable"] and d["0000:00:10.0"]["driver"] == "e1000e"
		assert [r["override"] for r in d["0000:00:11.0"]["reasons"]] == ["no-reset"], d
		assert d["0000:00:1f.0"]["reasons"][0]["override"] == "never"
	END
fi
rm "$tmp/root/proc/net/route"
want 0 '^0000:00:10\.0 .* dom0 +yes *-?$' pci-assignable-list --candidates
PVL_SYSROOT=$tmp/nothing want 1 'nothing/sys/bus/pci/devices: No such file' pci-assignable-list --candidates

for bad in 10.0 00:20.0 00:10.8 00:10 zz:10.0 00:10.0x; do
	want 2 'is no PCI device' --host local:"$tmp" pci-assignable-add "$bad"
	want 2 'is no PCI device' --host local:"$tmp" pci-attach g "$bad"
	want 2 'is no PCI device' --host local:"$tmp" pci-detach g "$bad"
done
want 2 'for one device, 2 are given' --host local:"$tmp" pci-assignable-add -n x 00:10.0 00:11.0
want 2 'is no name' --host local:"$tmp" pci-assignable-add -n 'a b' 00:10.0
want 2 'given twice' --host local:"$tmp" pci-assignable-add 00:10.0 0000:00:10.0
[ $failed -ne 0 ] || echo "candidates and usage are as they should be"
exit $failed
