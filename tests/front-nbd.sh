#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Ordinary NBD tools through pvguest, the ring and pvbackd: nbdinfo, nbdcopy with equal checksums, qemu-io
# patterns, fio's verification, the built-in load, and the ways a guest ends.  Needs the programs of this tree only;
# what a missing tool would have done is left out and said.
set -u
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"
for tool in nbdcopy nbdinfo; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool (libnbd-bin)"; exit 77; }
done
hash_of() { sha256sum "$1" | cut -d' ' -f1; }
guest=""

backd_start

truncate -s 64M a.img b.img
head -c 16M /dev/urandom | dd of=a.img conv=notrunc status=none
# a domain whose guest this script starts itself
cat >g.cfg <<-END
	name = "g"
	memory = 128
	guest = "sleep 1000"
	disk = [ "format=raw,vdev=xvda,access=rw,target=$dir/a.img",
	         "format=raw,vdev=xvdb,access=rw,target=$dir/b.img" ]
END
must pvl --host "local:$fabric" create "$dir/g.cfg"
domid=$(pvl --host "local:$fabric" domid g) || fail "domid"
hv=local:$fabric:$domid
skipped=""

# --- --exec: status, environment, nothing left
# shellcheck disable=SC2016 # the command's own variables, here and below
pvguest --hv "$hv" --exec 'nbdinfo --json "$NBD_URI" >info.json; exit 7' 2>guest.log
status=$?
[ $status -eq 7 ] || fail "--exec: status $status instead of 7"
grep -q '"export-size": 67108864' info.json || fail "nbdinfo: $(cat info.json)"
for word in '"can_flush": true' '"can_fua": true' '"can_multi_conn": true' '"can_trim": true' '"can_zero": true' \
	'"is_read_only": false' '"block_size_minimum": 512'; do
	grep -q "$word" info.json || fail "nbdinfo says not: $word"
done

# --- copy out and in, over each shape of ring
n=0
for shape in "--queues 1 --ring-order 0 --indirect off" "--queues 8 --ring-order 4 --persistent" \
	"--abi 32 --indirect 64" "--queues 2 --pool 12 --buffer 128k"; do
	rm -f copy.img
	dd if=/dev/zero of=b.img bs=1M count=64 conv=notrunc status=none
	# shellcheck disable=SC2086,SC2016
	must pvguest --hv "$hv" $shape --exec '
		set -e
		nbdinfo --list "nbd+unix:///?socket=$NBD_SOCKET" | grep -q xvdb
		nbdcopy "$NBD_URI" copy.img
		nbdcopy --flush copy.img "nbd+unix:///xvdb?socket=$NBD_SOCKET"'
	[ "$(hash_of a.img)" = "$(hash_of copy.img)" ] || fail "$shape: what was read is not what is in a.img"
	[ "$(hash_of a.img)" = "$(hash_of b.img)" ] || fail "$shape: what was written is not what is in b.img"
	n=$((n + 1))
done
echo "copied 64 MiB out and in with $n shapes of ring: equal"

# --- a guest that stays
start() {
	rm -f guest.ready
	pvguest --hv "$hv" --nbd "unix:$dir/nbd" --pidfile "$dir/guest.pid" "$@" 2>guest.log &
	guest=$!
	holders=("$guest")
	await 20 test -s guest.pid
}
start
uri="nbd+unix:///xvda?socket=$dir/nbd"

if command -v qemu-io >/dev/null; then
	must qemu-io -f raw "$uri" -c "write -P 0xab 0 1M" -c "write -P 0xcd 512 512" -c "read -P 0xab 0 512" \
		-c "read -P 0xcd 512 512" -c "read -P 0xab 1024 4096" -c "write -z 64k 64k" -c "read -P 0 64k 64k" \
		-c "discard 1M 1M" -c "write -f -P 0x11 2M 512" -c "read -P 0x11 2M 512" -c "flush" \
		-c "aio_write -P 0x22 4M 8M" -c "aio_write -P 0x33 12M 1M" -c "aio_flush" -c "read -P 0x22 4M 8M"
	grep -qi "pattern verification failed\|error" out.log && { cat out.log; fail "qemu-io"; }
	echo "qemu-io patterns: right"
else
	skipped="$skipped qemu-io"
fi
if command -v qemu-img >/dev/null; then
	cp a.img a.copy # the images are locked while they are served
	cp b.img b.copy
	must qemu-img compare -f raw -F raw a.copy "$uri"
	must qemu-img convert -n -f raw -O raw b.copy "$uri"
	[ "$(hash_of a.img)" = "$(hash_of b.img)" ] || fail "qemu-img convert"
	echo "qemu-img compare and convert: right"
else
	skipped="$skipped qemu-img"
fi
if command -v fio >/dev/null && fio --enghelp 2>/dev/null | grep -q nbd; then
	must fio --name=v --ioengine=nbd --uri="$uri" --rw=randwrite --bsrange=512-128k --bs_unaligned=0 \
		--blockalign=512 --iodepth=32 --size=32M --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=1
	echo "fio randwrite and verify: right"
else
	skipped="$skipped fio's-nbd-engine"
fi

# --- a disk is taken out and put in again under clients; the other goes on
must pvl --host "local:$fabric" block-detach g xvdb
must nbdinfo "$uri"
nbdinfo "nbd+unix:///xvdb?socket=$dir/nbd" >/dev/null 2>&1 && fail "xvdb is gone and still there"
must pvl --host "local:$fabric" block-attach g "format=raw,vdev=xvdb,access=ro,target=$dir/b.img"
await 10 nbdinfo "nbd+unix:///xvdb?socket=$dir/nbd"
nbdinfo "nbd+unix:///xvdb?socket=$dir/nbd" | grep -q "is_read_only: true" || fail "xvdb came back writable"
must pvl --host "local:$fabric" block-attach g "format=raw,vdev=xvdc,access=rw,target=mem:size=8M"
await 10 nbdinfo "nbd+unix:///xvdc?socket=$dir/nbd"
echo "unplugged, plugged, plugged in later: served"

# --- killed with requests in flight; the next one finds its feet
nbdcopy copy.img "$uri" >/dev/null 2>&1 &
copy=$!
{ kill -9 "$guest"; wait "$guest"; } 2>/dev/null # the shell would report it
wait $copy
rm -f guest.pid
start --stats
must nbdcopy copy.img "$uri"
kill "$guest"
wait "$guest" || fail "SIGTERM: status $?"
guest=""
[ -e nbd ] && fail "the socket was left"
grep -q "grants 0, ports 0, stuck 0" guest.log || fail "pages were left with the back end"
echo "killed, started again, ended in order"

# --- the load, verified
must pvguest --hv "$hv" --disk xvda --bench "op=randrw mix=30 bs=8k qd=32 count=20000 verify=1" --json
grep -q '"bad": 0' out.log || { cat out.log; fail "load: wrong blocks"; }
grep -q '"verified": 0,' out.log && { cat out.log; fail "load: nothing was verified"; }
must pvguest --hv "$hv" --disk xvda --bench "op=write bs=128k qd=8 count=2000 verify=1 copy=1"
must pvguest --hv "$hv" --disk xvda --bench "op=randread bs=512 qd=64 time=0.3 poll=1"
echo "load: verified"

must pvl --host "local:$fabric" destroy g
backd_stop
[ -z "$skipped" ] || echo "left out for want of tools:$skipped"
