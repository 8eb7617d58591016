#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Dry runs need neither Xen nor a fabric: what pvl would build from a configuration, and what it refuses and why.
set -u
builddir=${abs_top_builddir:-$(cd "$(dirname "$0")/.." && pwd)/build/main}
pvl=$builddir/toolstack/pvl
[ -x "$pvl" ] || { echo "FAIL: $pvl is not built"; exit 1; }
command -v python3 >/dev/null || { echo "SKIP: no python3 to look at JSON with"; exit 77; }
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-} # libxlutil loses a few bytes
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
failed=0 nr=0
fail() { echo "FAIL: $*"; failed=1; }

# plan EXPRESSION CONFIG [ARG...]: a dry run succeeds, and EXPRESSION (python; c is the configuration) holds
plan() {
	local expression=$1 config=$2
	shift 2
	nr=$((nr + 1))
	printf '%s\n' "$config" >"$tmp/t.cfg"
	if ! "$pvl" create -N "$tmp/t.cfg" "$@" >"$tmp/out" 2>"$tmp/err"; then
		fail "refused: $config $*: $(cat "$tmp/err")"
	elif ! python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); c = d["config"]; b = c.get("b_info")
assert d["domid"] is None and eval(sys.argv[2]), d' "$tmp/out" "$expression" 2>"$tmp/py"; then
		fail "$expression does not hold for: $config $*: $(tail -n 1 "$tmp/py")"
	fi
}
# refuse REGEX CONFIG [ARG...]: exit status 1 and REGEX on standard error, nothing but an error object on stdout
refuse() {
	local regex=$1 config=$2 rc=0
	shift 2
	nr=$((nr + 1))
	printf '%s\n' "$config" >"$tmp/t.cfg"
	"$pvl" create -N "$tmp/t.cfg" "$@" >"$tmp/out" 2>"$tmp/err" || rc=$?
	if [ $rc -ne 1 ]; then
		fail "status $rc, not 1: $config $*"
	elif ! grep -qE "$regex" "$tmp/err"; then
		fail "no /$regex/ for: $config $*: $(cat "$tmp/err")"
	elif [ -s "$tmp/out" ]; then
		fail "output in spite of an error: $config $*"
	fi
}

# --- the local host
local_ok='name="g"; guest="pvguest"'
plan 'c["memory_mib"] == 64 and c["on_reboot"] == "restart" and c["disks"] == []' "$local_ok"
plan 'c["memory_mib"] == 8 and c["uuid"] == "01234567-89ab-cdef-0123-456789abcdef"' "$local_ok" memory=8 \
	uuid=01234567-89ab-cdef-0123-456789abcdef
plan '[d["vdev"] for d in c["disks"]] == ["xvda", "xvdb"] and c["disks"][1]["readonly"]' \
	"$local_ok; disk=['/x,raw,xvda,rw', 'vdev=xvdb,access=ro,target=nbd:a,b']"
refuse 'name is missing' 'guest="x"'
refuse 'guest is missing' 'name="g"' --host local
refuse 'name: "a b" is not' 'name="a b"; guest="x"'
refuse 'memory: 0 is not from 1' "$local_ok; memory=0"
refuse 'uuid: "x" is not' "$local_ok; uuid='x'"
refuse 'disk xvda is given twice' "$local_ok; disk=['a,raw,xvda', 'b,raw,xvda']"
refuse 'format qcow2' "$local_ok; disk=['a,qcow2,xvda']"
refuse 'script=' "$local_ok; disk=['script=x,vdev=xvda,target=y']"
plan '[(n["devid"], n["port"]) for n in c["nics"]] == [(1, "tap"), (0, "switch:lan?vlan=5")]' \
	"$local_ok; vif=['devid=1', 'port=switch:lan?vlan=5']"
plan 'c["nics"][0]["mac"] == "00:16:3e:00:00:01" and c["nics"][0]["ip"] == "10.0.0.2" and c["nics"][0]["mtu"] == 9000' \
	"$local_ok; vif=['mac=00:16:3e:00:00:01,ip=10.0.0.2,mtu=9000,bridge=null,script=vif-pvbus']"
plan '(c["nics"][0]["rate_bytes"], c["nics"][0]["rate_usecs"]) == (62500, 50000)' "$local_ok; vif=['rate=10Mb/s']"
plan '(c["nics"][0]["rate_bytes"], c["nics"][0]["rate_usecs"]) == (20000, 20000)' "$local_ok; vif=['rate=1MB/s@20ms']"
refuse 'bridge=xenbr0: --host local has no bridges' "$local_ok; vif=['bridge=xenbr0']"
refuse 'script=vif-bridge: --host local runs no' "$local_ok; vif=['bridge=a,script=vif-bridge']"
refuse 'NIC 2 is given twice' "$local_ok; vif=['devid=2', 'devid=2']"
refuse 'mac=01:00:5e:00:00:01 is the address of a group' "$local_ok; vif=['mac=01:00:5e:00:00:01']"
refuse 'rate=10Mb is not a rate' "$local_ok; vif=['rate=10Mb']"
refuse '"model" is nothing the local host' "$local_ok; vif=['model=e1000']"
refuse '"pair" is nothing the local host' "$local_ok; vif=['pair=00:10.0']"
refuse 'mtu=20 is not a number from 68' "$local_ok; vif=['mtu=20']"
refuse 't.cfg:2: key "kernel" is only for --host xen' "$local_ok
kernel='x'"
refuse 't.cfg:1: ' 'name = g'
refuse 'No such file' "$local_ok" -f "$tmp/missing.cfg"

# --- Xen
if ! "$pvl" --host xen create -N /dev/null name=x kernel=k >/dev/null 2>"$tmp/err"; then
	grep -q 'built without libxl' "$tmp/err" || fail "a plain dry run: $(cat "$tmp/err")"
	[ $failed -ne 0 ] || echo "SKIP: of $nr local dry runs all are right; built without libxl"
	exit $((failed ? 1 : 77))
fi
pv='name="g"; kernel="/k"'
plan 'c["c_info"]["type"] == "pv" and b["kernel"] == "/k" and c["on_reboot"] == "restart"' "$pv"
plan 'c["c_info"]["type"] == "pvh"' "$pv; type='pvh'"
plan 'c["c_info"]["type"] == "hvm"' 'name="g"; type="hvm"'
plan 'c["c_info"]["type"] == "hvm"' 'name="g"; builder="hvm"'
plan 'b["target_memkb"] == 65536 == b["max_memkb"]' "$pv; memory=64"
plan 'b["target_memkb"] == 65536 and b["max_memkb"] == 131072' "$pv; memory=64; maxmem=128"
plan 'b["max_vcpus"] == 4 and b["avail_vcpus"] == [0, 1]' "$pv; vcpus=2; maxvcpus=4"
plan 'b["vcpu_hard_affinity"] == [[0, 1, 3], [0, 1, 3]]' "$pv; vcpus=2; cpus='0-3,^2'"
plan 'b["vcpu_hard_affinity"] == [[5], [6]]' "$pv; vcpus=2; cpus=['5', '6', '7']"
plan 'b["cmdline"] == "root=/dev/xvda quiet"' "$pv; root='/dev/xvda'; extra='quiet'"
plan 'b["cmdline"] == "a b"' "$pv" cmdline='a b'
plan 'b["bootloader"] == "pygrub" and b["bootloader_args"] == ["-q", "--x"]' 'name="g"; bootloader="pygrub"; bootloader_args="-q --x"'
plan 'b["kernel"].endswith("pvgrub64.bin")' 'name="g"; type="pvh"; firmware="pvgrub64"'
plan 'c["on_crash"] == "coredump_restart"' "$pv; on_crash='coredump-restart'"
plan 'b["max_grant_frames"] == 256 and b["event_channels"] == 4095' "$pv; max_grant_frames=256; max_event_channels=4095"
plan 'c["disks"][0] == {"pdev_path": "/dev/a", "vdev": "xvda", "format": "raw", "readwrite": 1}' "$pv; disk=['/dev/a,raw,xvda,rw']"
plan 'c["disks"][0]["backend"] == "phy" and c["disks"][0]["script"] == "block-pvbus" and c["disks"][0]["pdev_path"] == "mem:1M,x"' \
	"$pv; disk=['backendtype=pvbus,vdev=xvda,target=mem:1M,x']"
plan 'c["nics"][0]["mac"] == "00:16:3e:01:02:03" and c["nics"][0]["bridge"] == "b0" and c["nics"][1]["devid"] == 1' \
	"$pv; vif=['mac=00:16:3e:01:02:03, bridge=b0,rate=10Mb/s', '']"
plan 'c["pcidevs"][0]["bus"] == 3 and c["pcidevs"][0]["permissive"] and b["type.pv"]["e820_host"] == "True"' \
	"$pv; pci=['0000:03:00.1']; pci_permissive=1"
plan 'c["usbctrls"][0]["type"] == "qusb" and c["usbdevs"][0]["type.hostdev"]["hostaddr"] == 7' \
	"$pv; usbctrl=['type=qusb,version=2']; usbdev=['hostbus=1,hostaddr=7']"
usb=$tmp/usb/sys/bus/usb/devices/1-1.2
mkdir -p "$usb" && echo 1 >"$usb/busnum" && echo 9 >"$usb/devnum" && echo 46f4 >"$usb/idVendor" && echo 0001 >"$usb/idProduct"
PVL_SYSROOT=$tmp/usb plan 'c["usbdevs"][0]["type.hostdev"]["hostaddr"] == 9 and c["usbdevs"][0]["port"] == 2' \
	"$pv; usbdev=['46f4:0001,controller=0,port=2']"
PVL_SYSROOT=$tmp/usb plan 'c["usbdevs"][0]["type.hostdev"]["hostaddr"] == 9' "$pv; usbdev=['1-1.2']"
PVL_SYSROOT=$tmp/usb refuse 'USB device 1-1.3: there is none' "$pv; usbdev=['1-1.3']"
refuse 'is no USB device' "$pv; usbdev=['nope']"
refuse 'none is named' "$pv; usbdev=['controller=0,port=2']"
plan 'c["channels"][0]["name"] == "x"' "$pv; channel=['connection=pty,name=x']"
hvm='name="g"; type="hvm"'
plan 'b["type.hvm"]["boot"] == "dc" and b["type.hvm"]["vga"]["kind"] == "std" and b["type.hvm"]["vnc"]["enable"] == "True"' \
	"$hvm; boot='dc'; vga='stdvga'; vnc=1"
plan 'b["type.hvm"]["bios"] == "ovmf"' "$hvm; firmware='uefi'"
plan 'b["type.hvm"]["firmware"] == "/x"' "$hvm; firmware='/x'"
plan 'b["type.hvm"]["serial_list"] == ["pty", "none"]' "$hvm; serial=['pty', 'none']"
plan 'b["type.hvm"]["viridian"] == "True" and b["type.hvm"]["viridian_disable"] == [5]' "$hvm; viridian=['defaults', '!apic_assist']"
plan 'b["tsc_mode"] == "native"' "$hvm; tsc_mode='native'"
plan 'b["tsc_mode"] == "always_emulate"' "$hvm; tsc_mode=1"
plan 'b["device_model_user"] == "q"' "$hvm; device_model_user='q'"
plan 'c["disks"][0]["is_cdrom"] == 1 and c["disks"][0]["removable"] == 1' "$hvm; disk=[',raw,hdc:cdrom,r']"

refuse 'memroy.*did you mean "memory"' "$pv; memroy=64"
refuse 'vfi.*did you mean "vif"' "$pv; vfi=['bridge=b']"
refuse 'unknown key "bogus_option"' "$pv; bogus_option=1"
refuse 'key "vtpm" is known to xl but' "$pv; vtpm=['backend=x']"
refuse 'key "guest" is only for --host local' "$pv; guest='x'" --host xen
refuse 'name is missing' 'kernel="k"'
refuse 'neither kernel nor bootloader' 'name="g"'
refuse 'type: "pvm"' "$pv; type='pvm'"
refuse 'contradicts' "$pv; type='pv'; builder='hvm'"
refuse 'maxmem 64 MiB is less than memory 128' "$pv; memory=128; maxmem=64"
refuse 'maxvcpus 1 is less' "$pv; vcpus=2; maxvcpus=1"
refuse '"x" is not a number' "$pv; memory='x'"
refuse 'not from 1 to' "$pv; memory=99999999999999"
refuse 'memory: a list' "$pv; memory=[1]"
refuse 'disk: one value' "$pv; disk='a,raw,xvda'"
refuse 'list inside' "$pv; disk=[['a']]"
refuse 'cpus: "x"' "$pv; cpus='x'"
refuse 'told without Xen' "$pv; cpus='node:0'"
refuse 'cmdline makes root' "$pv; cmdline='a'; root='b'"
refuse 'on_crash: "explode"' "$pv; on_crash='explode'"
refuse 'both kernel and firmware' "$pv; firmware='pvgrub64'"
refuse 'timer_mode is not for type pv' "$pv; timer_mode='delay_for_missed_ticks'"
plan 'c["nics"][0]["bridge"] == "switch:lan?vlan=5" and c["nics"][0]["script"] == "vif-pvbus"' \
	"$pv; vif=['port=switch:lan?vlan=5']"
plan 'c["nics"][0]["gatewaydev"] == "pair=0000:00:10.0"' "$pv; vif=['port=switch:lan,pair=00:10.0']"
refuse 'pair=10 is no PCI device' "$pv; vif=['pair=10']"
refuse 'pair=00:10.\* is no PCI device' "$pv; vif=['pair=00:10.*']"
refuse 'pair is given twice \("0000:00:10.0", "00:11.0"\)' "$pv; vif=['pair=00:10.0,pair=00:11.0']"
refuse 'pair=0000:00:10.0 and gatewaydev=eth0: only one' "$pv; vif=['pair=00:10.0,gatewaydev=eth0']"
refuse 'pair=00:10.0 and gatewaydev=eth0: only one' "$pv; vif=['gatewaydev=eth0,pair=00:10.0']"
refuse 'vif "mac=1": mac=1 is not' "$pv; vif=['mac=1']"
refuse 'unknown part "bridgee"' "$pv; vif=['bridgee=x']"
refuse 'PCI device "nope"' "$pv; pci=['nope']"
refuse 'backendtype=pvbus takes no format' "$pv; disk=['backendtype=pvbus,format=qcow2,vdev=xvda,target=x']"
refuse 'disk' "$pv; disk=['/x,raw,xvda,rw,what=1']"
refuse 'viridian: "nope"' "$hvm; viridian=['nope']"
refuse 'vga: "x"' "$hvm; vga='x'"
refuse 'bios: "x"' "$hvm; bios='x'"
refuse 'uuid: "1"' "$pv; uuid='1'"
refuse 'name: "a/b"' 'name="a/b"; kernel="k"'
refuse 'channel.*connection=' "$pv; channel=['name=x']"
refuse 'path= goes with connection=socket' "$pv; channel=['connection=pty,path=/x']"

# --force goes on, and says so; a key without effect is named
"$pvl" --force create -N /dev/null name=g kernel=k bogus=1 >"$tmp/out" 2>"$tmp/err" || fail "--force: $(cat "$tmp/err")"
grep -q 'going on without 1 key' "$tmp/err" || fail "--force does not say what it leaves out"
"$pvl" create -N /dev/null name=g kernel=k boot=c >"$tmp/out" 2>"$tmp/err" || fail "boot= for a PV guest: $(cat "$tmp/err")"
grep -q 'boot has no effect for type pv' "$tmp/err" || fail "nobody says that boot has no effect"
# standard input; --json errors are objects
echo "$pv" | "$pvl" create -N - >"$tmp/out" 2>"$tmp/err" || fail "standard input: $(cat "$tmp/err")"
"$pvl" --json create -N /dev/null name=g >"$tmp/out" 2>/dev/null && fail "a domain without kernel"
python3 -c 'import json, sys; assert json.load(sys.stdin)["ok"] is False' <"$tmp/out" || fail "--json: the error is no object"

[ $failed -ne 0 ] || echo "$nr configurations: all planned or refused as they should be"
exit $failed
