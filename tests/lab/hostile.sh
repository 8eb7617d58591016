#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that lies with everything a front end can say (tests/hostile-vbd.c, over gntalloc, evtchn and the store of a
# PV guest), against pvbackd, which also serves a stock guest whose fio verifies all the while.  The liar asks for what
# only dom0 can see; the same program answers here.
#   lab/run --with-fio --file tests/hostile-vbd --file LIBCMOCKA \
#	--file tests/lab/blk-functions.sh --file tests/lab/hostile-functions.sh tests/lab/hostile.sh [PATTERN]
# PATTERN: only the tests whose name fits, * and ? as in a shell
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh
# shellcheck source=tests/lab/hostile-functions.sh
. /root/hostile-functions.sh

program=/root/hostile-vbd

# ---- the two guests

# Round after round, so that it ends when it is told to; not as fast as it can, so that others get on, too.
fio_forever="while [ ! -e /tmp/stop ]; do fio --name=v --filename=/dev/xvda --direct=1 --ioengine=libaio --iodepth=4 \
--rw=randwrite --bs=4k --size=8m --verify=crc32c --verify_fatal=1 --verify_backlog=8 --norandommap --time_based \
--thinktime=50ms --thinktime_blocks=8 --runtime=15 >/tmp/fio.out 2>&1 || break; done; echo \$? >/tmp/fio.rc"

honest_guest() {
	truncate -s 12M /run/good.img
	guest_create good pv --fio --mem 160 --disk "$(spec xvda rw /run/good.img)" || exit 1
	guest_up good || exit 1
	good=$(guest_id good)
	guest_exec good "($fio_forever) </dev/null >/dev/null 2>&1 &" || lab_fail "fio does not start"
}

honest_end() {
	guest_exec good 'touch /tmp/stop; i=0; until [ -s /tmp/fio.rc ] || [ $i = 600 ]; do usleep 100000; i=$((i + 1)); done; [ "$(cat /tmp/fio.rc)" = 0 ]' 120 ||
		{ guest_exec good 'cat /tmp/fio.out'; lab_fail "the honest guest's I/O went wrong"; }
	guest_exec good 'dmesg | grep -iE "xvda.*error|I/O error|blkfront: .*(bad|rror)"' && lab_fail "the honest guest saw errors"
	grep -h 'write: IOPS\|clat (' <(guest_exec good 'cat /tmp/fio.out') | head -n 2
}

backd_start
honest_guest
truncate -s 1M /run/liar.img /run/liar-ro.img
lying_guest "$*" --disk "$(spec xvda rw /run/liar.img)" --disk "$(spec xvdb ro /run/liar-ro.img)"
expected+=("vbd $liar/" "domain $liar: worker [0-9]+ died by signal (9|11)")
hear_lies 1000
liar_dies vbd 51712
disk_gone "$liar" /run/liar.img || exit 1

honest_end
guest_destroy good || exit 1
disk_gone "$good" /run/good.img || exit 1
all_gone || exit 1
backd_stop
echo "PASS"
