#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of crash.sh: crash-guest.sh WORD, each in the background until /tmp/stop is there; what is wrong is in
# /tmp/wrong then, and /tmp/WORD says how often it was done.
stop() { [ -e /tmp/stop ] || [ -e /tmp/wrong ]; }
wrong() { echo "$*" >>/tmp/wrong; }

# Mixed sizes up to the largest, many at a time, verified within the pass and after it.
do_disk() {
	fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --rw=randrw --bsrange=4k-512k --blockalign=4k --iodepth=32 \
		--size=12m --verify=crc32c --verify_fatal=1 --verify_backlog=32 --do_verify=1 --randseed="$1" >/tmp/fio.out 2>&1 ||
		wrong "fio, pass $1: $(tail -n 5 /tmp/fio.out)"
}

do_net() {
	rc=0
	rm -f /tmp/got
	wget -q -O /tmp/got http://10.9.0.1/file 2>/tmp/wget || rc=$?
	# an address nobody answers for in 3 s: no connection that could be reset
	[ -e /tmp/got ] || ! grep -q "No route to host" /tmp/wget || { n=$((n - 1)); return 0; }
	cmp /tmp/got /www/file >/tmp/cmp 2>&1 ||
		wrong "fetch $1: wget ended with $rc, $(wc -c </tmp/got) bytes, $(cat /tmp/cmp)"
}

# shellcheck disable=SC2086 # $tree is words
# Files come and go, and each is on the disk when that is said.
do_fs() {
	d=/mnt/$(($1 % 4))
	rm -rf $d
	mkdir $d
	tar cf - -C / $tree 2>/dev/null | tar xf - -C $d
	find $d -type f | while read -r f; do dd if=/dev/null of="$f" conv=notrunc,fsync 2>/tmp/fsync || wrong "fsync of $f: $(cat /tmp/fsync)"; done
	(cd $d && find . -type f -exec sha256sum {} + | sort) >/mnt/sums.$(($1 % 4)).new
	cmp /tmp/sums /mnt/sums.$(($1 % 4)).new || wrong "round $1: other bytes"
	mv /mnt/sums.$(($1 % 4)).new /mnt/sums.$(($1 % 4))
	sync
}

tree="./usr/lib/modules ./usr/bin/busybox ./etc"
# shellcheck disable=SC2086 # words
[ "$1" != fs ] || (cd / && find $tree -type f -exec sha256sum {} + | sort) >/tmp/sums
rm -f "/tmp/$1"
n=0
until stop; do
	n=$((n + 1))
	"do_$1" $n || wrong "$1 ended with $?"
done
[ "$1" != fs ] || umount /mnt || wrong "umount"
echo $n >"/tmp/$1"
