#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that lies with everything a NIC's front end can say (tests/hostile-vif.c, over gntalloc, evtchn and the store
# of a PV guest), against pvbackd, which also serves a stock guest on the same switch: its files of known SHA-256 go both
# ways all the while.  The liar asks for what only dom0 can see; the same program answers here.
#   lab/run --file tests/hostile-vif --file LIBCMOCKA --file tests/lab/blk-functions.sh \
#	--file tests/lab/hostile-functions.sh tests/lab/hostile-nic.sh [PATTERN...]
# PATTERN: only the tests whose name fits one, * and ? as in a shell
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh
# shellcheck source=tests/lab/hostile-functions.sh
. /root/hostile-functions.sh

program=/root/hostile-vif
kib=256

# Round after round, until told to stop or a byte is wrong; not as fast as it can, so that others get on, too.
fetch_forever="n=0; while [ ! -e /tmp/stop ]; do wget -q -O /tmp/got \$url/file; rc=\$?; \
cmp /tmp/got /www/file >/tmp/cmp 2>&1 || { echo \"round \$n: wget ended with \$rc, \$(wc -c </tmp/got) bytes, \$(cat /tmp/cmp)\" >/tmp/wrong; break; }; n=\$((n + 1)); usleep 300000; done; echo \$n >/tmp/rounds"

honest_guest() {
	mkdir -p /www
	dd if=/dev/urandom of=/www/file bs=1024 count=$kib 2>/dev/null
	guest_create good pv --mem 128 --file /www/file:/www/file \
		--vif "script=vif-pvbus,bridge=switch:lan?uplink=lan0,mac=00:16:3e:02:00:00" || exit 1
	guest_up good || exit 1
	good=$(guest_id good)
	wait_for '[ -e /sys/class/net/lan0 ]' 10 "the switch's uplink" || exit 1
	ip addr add 10.9.0.1/24 dev lan0 && ip link set lan0 up || exit 1
	busybox httpd -f -p 10.9.0.1:80 -h /www &
	httpd=$!
	guest_exec good 'ip addr add 10.9.0.2/24 dev eth0 && ip link set eth0 up && httpd -h /www' || lab_fail "eth0 of the honest guest"
	wait_for 'ping -c 1 -W 5 10.9.0.2 >/dev/null' 60 "the honest guest's answer" || exit 1
	guest_exec good "(url=http://10.9.0.1; $fetch_forever) </dev/null >/dev/null 2>&1 &" || lab_fail "no traffic to the honest guest"
	(export url=http://10.9.0.2; eval "$fetch_forever") &
	fetching=$!
}

honest_end() {
	touch /tmp/stop
	wait $fetching
	guest_exec good 'touch /tmp/stop; i=0; until [ -s /tmp/rounds ] || [ $i = 600 ]; do usleep 100000; i=$((i + 1)); done; [ -s /tmp/rounds ] && ! cat /tmp/wrong 2>/dev/null' 120 ||
		lab_fail "what the honest guest got is wrong, or does not come"
	[ ! -e /tmp/wrong ] || lab_fail "what came from the honest guest: $(cat /tmp/wrong)"
	note "$kib KiB each time with the right bytes: $(guest_exec good 'cat /tmp/rounds') to the honest guest, $(cat /tmp/rounds) from it"
	guest_exec good 'dmesg | grep -iE "(vif|eth0|netfront).*(error|invalid|bad|disabled)"' && lab_fail "the honest guest saw errors"
	kill $httpd
}

# nics_gone DOMID: no node, no worker
nics_gone() {
	wait_for "[ -z \"\$(xenstore-list /local/domain/0/backend/vif/$1 2>/dev/null)\" ]" 15 "domain $1's nodes gone" || return
	wait_for "[ -z \"\$(worker_of $1)\" ]" 15 "domain $1's worker gone"
}

modprobe tun || exit
backd_start --max-nic-queues 4
honest_guest
nic="script=vif-pvbus,mac=00:16:3e:01:00:0"
lying_guest "$*" --vif "${nic}0,bridge=null?echo=on" --vif "${nic}1,bridge=switch:lan" --vif "${nic}2,bridge=switch:lan"
expected+=("vif $liar/" "domain $liar: worker [0-9]+ died by signal (9|11)")
hear_lies 3400
liar_dies vif 1 # the second it connects
nics_gone "$liar" || exit 1

honest_end
guest_destroy good || exit 1
nics_gone "$good" || exit 1
all_gone || exit 1
backd_stop
echo "PASS"
