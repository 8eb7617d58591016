#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of hosts.sh: fio writes and verifies, and a numbered line after the other goes to each address and has to come
# back, in its order, by one connection that lasts. What is wrong is in /tmp/wrong; /tmp/disk and /tmp/ADDRESS count what was good.
#   hosts-guest.sh ADDRESS...
wrong() { echo "$*" >>/tmp/wrong; }

disk() {
	n=0
	while :; do
		n=$((n + 1))
		fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --rw=randrw --bsrange=4k-128k --blockalign=4k --iodepth=16 \
			--size=16m --verify=crc32c --verify_fatal=1 --verify_backlog=64 --do_verify=1 --randseed=$n >/tmp/fio.out 2>&1 ||
			{ wrong "fio, pass $n: $(tail -n 5 /tmp/fio.out)"; return; }
		echo $n >/tmp/disk
	done
}

stream() { # ADDRESS
	{
		i=0
		while :; do
			i=$((i + 1))
			echo "$i"
			[ $((i % 100)) -ne 0 ] || usleep 20000
		done
	} | nc "$1" 5000 | awk -v file="/tmp/$1" '
		$0 != ++n { print "line " n " comes back as " $0; exit 1 }
		n % 500 == 0 { print n >file; close(file) }' >"/tmp/$1.wrong"
	wrong "stream to $1 ended: $(cat "/tmp/$1.wrong")"
}

disk &
for address; do
	stream "$address" &
done
