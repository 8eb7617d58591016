#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Back ends die under guests whose disks and NICs are in use: each worker and pvbackd itself, at random times,
# while files are written, disks are taken away, guests are started again, and another pvbackd is put in.  No guest may notice.
#   lab/run --with-fio --file tests/lab/blk-functions.sh --file tests/lab/crash-guest.sh \
#   [--file pvblk.ko --file pvnet.ko] tests/lab/crash.sh [STEP...]
# The guest's front ends are the stock ones, or ours if their modules are given.
# KILLS=N: of workers under traffic (200); a quarter of it under files; fewer of the others
# VCPUS=N: of the guest, and its disk's queues (4)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

kills=${KILLS:-200}
vcpus=${VCPUS:-4}
base=/local/domain/0/backend

rand() { echo "$((RANDOM % $1 / 1000)).$(printf %03d $((RANDOM % $1 % 1000)))"; } # seconds below MS
pick() { local list=("$@"); echo "${list[RANDOM % $#]}"; }
connected() { pvl --json stats | grep -o '"phase": *"connected"' | wc -l; }
# all of them go on, those of workers that have not even begun, too
all_connected() { wait_for "[ \"\$(connected)\" = $1 ]" 60 "all $1 devices connected again"; }

kill_worker() { # [DOMID [SIGNAL|memory]]: one, and now and then the one after it at once; their number is $deaths then
	local pid next domain=${1:-} how=${2:-}

	deaths=1
	# shellcheck disable=SC2046 # words
	pid=$(pick $(worker_of "$domain"))
	[ -n "$how" ] || how=$(pick KILL KILL SEGV BUS)
	case $how in
	memory) echo 1000 >"/proc/$pid/oom_score_adj" && echo f >/proc/sysrq-trigger || return ;; # and the kernel chooses it
	*) kill -s "$how" "$pid" || return ;;
	esac
	[ $((RANDOM % 5)) = 0 ] || return 0
	deaths=2
	wait_for "next=\$(worker_of $domain | grep -vx $pid | tail -n 1); [ -n \"\$next\" ]" 10 && kill -KILL "$next"
}

# The log tells of so many deaths, and that each device of the last one goes on.
all_go_on() {
	local line need=1 seen=0 end=$((SECONDS + 60))

	until [ $deaths -le 0 ] && [ $seen -ge "$need" ]; do
		[ $SECONDS -lt $end ] || { echo "$seen of $need devices went on within 60 s" >&2; return 1; }
		read -r -u "$news" line || { sleep 0.03; continue; }
		case $line in
		*"died by signal"*" with "*" devices") need=${line##* with } need=${need% devices} seen=0 deaths=$((deaths - 1)) ;;
		*"goes on, after"*) seen=$((seen + 1)) ;;
		esac
	done
}

killed() { # COUNT DEVICES
	local n how

	while read -r -u "$news"; do :; done # what was
	for ((n = 0; n < $1; n++)); do
		sleep "$(rand 500)"
		how=""
		[ $((n % 16)) != 3 ] || how=memory # the kernel has a lot to say then, and takes seconds for it
		kill_worker "" "$how" && all_go_on || return
	done
	all_connected "$2"
}

stalls() { # FROM-LINE
	tail -n "+$1" $log | grep -o 'goes on, after [0-9]*' | grep -o '[0-9]*$' | sort -n |
		awk '{ v[NR] = $1 } END { if (NR) printf "%d devices went on, after %d ms in the middle, %d at 99 of 100, %d at most\n", NR, v[int((NR + 1) / 2)], v[int((NR * 99 + 99) / 100)], v[NR] }'
}

start() { # WORD...: in the guest's background
	local word

	guest_exec good 'rm -f /tmp/stop /tmp/wrong; dmesg | wc -l >/tmp/lines' || return
	for word; do
		guest_exec good "(sh /root/crash-guest.sh $word </dev/null >/dev/null 2>&1 &)" || return
	done
	rm -f /tmp/stop /tmp/wrong /tmp/rounds
	case " $* " in *" net "*) fetch & fetching=$! ;; esac
}

fetch() { # what the guest does, from here
	local n=0 unreachable=0 rc

	until [ -e /tmp/stop ]; do
		rm -f /tmp/got
		rc=0
		wget -q -O /tmp/got "http://10.9.0.2/file" 2>/tmp/wget || rc=$?
		# an address nobody answers for in 3 s: no connection that could be reset
		if [ ! -e /tmp/got ] && grep -q "No route to host" /tmp/wget; then
			unreachable=$((unreachable + 1))
			continue
		fi
		n=$((n + 1))
		cmp /tmp/got /www/file >/tmp/cmp 2>&1 || { echo "fetch $n from the guest: wget ended with $rc, $(wc -c </tmp/got) bytes, $(cat /tmp/cmp)" >/tmp/wrong; break; }
	done
	echo "$n" >/tmp/rounds
	[ $unreachable = 0 ] || note "  the guest's address was not found $unreachable times"
}

finish() { # WORD...
	local word said=""

	touch /tmp/stop
	guest_exec good 'touch /tmp/stop' || return
	for word; do
		guest_exec good "i=0; until [ -s /tmp/$word ] || [ \$i = 2400 ]; do usleep 100000; i=\$((i + 1)); done; [ -s /tmp/$word ]" 300 || { echo "$word does not end" >&2; return 1; }
		said="$said, $word $(guest_exec good "cat /tmp/$word")"
		[ "$word" != net ] || { wait "$fetching"; said="$said and $(cat /tmp/rounds) from here"; }
	done
	note "  rounds done, all right:${said#,}"
	guest_exec good '! cat /tmp/wrong 2>/dev/null' && [ ! -e /tmp/wrong ] || { cat /tmp/wrong; return 1; }
	# hrtimer and clocksource speak of the machine: it is emulated, and slow
	guest_exec good 'dmesg | tail -n +$(($(cat /tmp/lines) + 1)) >/tmp/new; ! grep -vE "hrtimer: interrupt took|clocksource|EXT4-fs .*mount(ed|ing) filesystem|blkfront: xvdc: flush" /tmp/new' || { echo "the guest's kernel had something to say" >&2; return 1; }
}

# --- steps -----------------------------------------------------------------------------------------------

step_traffic() {
	local from=$(($(wc -l <$log) + 1))

	start disk net && killed "$kills" $devices && finish disk net || return
	note "  $kills times: $(stalls $from)"
}

step_files() {
	local from=$(($(wc -l <$log) + 1)) n

	guest_exec good 'mount -t ext4 /dev/xvdb /mnt' && start fs && killed $((kills / 4 + 2)) $devices && finish fs || return
	fsck.ext4 -fn /run/files.img >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
	mount -o loop,ro /run/files.img /mnt || return
	for n in 0 1 2 3; do
		[ ! -e /mnt/sums.$n ] || (cd /mnt/$n && sha256sum -cs ../sums.$n) || { umount /mnt; return 1; }
	done
	umount /mnt
	losetup -D
	note "  $((kills / 4 + 2)) times: $(stalls $from)"
}

# pvbackd with its workers, without them, told to stop, and replaced in place
step_daemon() {
	local from=$(($(wc -l <$log) + 1)) n how all fds=$backd_fds

	start disk net || return
	for ((n = 0; n < kills / 10 + 4; n++)); do
		sleep "$(rand 900)"
		how=$((n % 4))
		all=$(worker_of)
		case $how in
		0) kill -9 $backd ;;
		1) kill -9 $backd $all ;;
		2) kill $backd ;;
		3) pvl backend upgrade >/tmp/out 2>&1 || { cat /tmp/out; return 1; } ;;
		esac
		[ $how = 3 ] || { wait $backd; backd_start; }
		all_connected $devices || return
	done
	backd_fds=$((fds + 1)) # of the one that had no device yet; and $news, which this one was started with
	finish disk net || return
	note "  $n times: $(stalls $from)"
}

# xenstored becomes another process image, as when it is upgraded; then pvbackd must still hear of what happens
step_store() {
	local n

	start disk net || return
	for n in 1 2 3; do
		xenstore-control live-update "$(readlink -f "/proc/$(cat /run/xenstored.pid)/exe")" -t 30 >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		xl block-attach good "$(spec xvdc rw /run/extra.img)" >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		wait_node "$base/vbd/$(guest_id good)/51744/state" 30 '[ "$value" = 4 ]' || { echo "round $n: xvdc does not connect" >&2; return 1; }
		xl block-detach good xvdc >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	done
	finish disk net || return
	note "  $n times"
}

# What the toolstack does to another disk goes on, whoever dies meanwhile.
step_detach() {
	local n id

	id=$(guest_id good)
	start disk || return
	for ((n = 0; n < kills / 10 + 1; n++)); do
		xl block-attach good "$(spec xvdc rw /run/extra.img)" >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		wait_node "$base/vbd/$id/51744/state" 30 '[ "$value" = 4 ]' || { echo "round $n: xvdc does not connect" >&2; return 1; }
		guest_exec good '(dd if=/dev/xvdc of=/dev/null bs=64k </dev/null >/dev/null 2>&1 &)'
		xl block-detach good xvdc >/tmp/out 2>&1 &
		sleep "$(rand 300)"
		kill_worker "$id"
		wait $! || xl block-detach good xvdc >/tmp/out 2>&1 || [ -z "$(state_of "$id" 51744)" ] || { cat /tmp/out; return 1; }
		wait_for "[ -z \"\$(state_of $id 51744)\" ]" 20 "xvdc's node gone" || return
		all_connected $devices || return
	done
	finish disk || return
	note "  $n times"
}

step_reboot() {
	local n id

	for ((n = 0; n < kills / 40 + 1; n++)); do
		id=$(guest_id second)
		guest_exec second '(dd if=/dev/xvda of=/dev/null bs=64k </dev/null >/dev/null 2>&1 &)'
		xl reboot second || return
		sleep "$(rand 1500)"
		[ -z "$(worker_of "$id")" ] || kill_worker "$id"
		wait_for "xl domid second >/dev/null 2>&1 && [ \$(xl domid second) != $id ]" 90 "the guest's new domain" || return
		xl domid second >"$lab_dir/second.id"
		rm -f "$lab_dir/second.seq"
		guest_up second || return
		disk_gone "$id" || return
		guest_exec second 'dd if=/dev/xvda of=/dev/null bs=64k 2>/dev/null' || return
		all_connected $devices || return
	done
	note "  $n times"
}

# --- what they are done to ---------------------------------------------------------------------------------

modprobe tun && modprobe bridge || exit
ip link add xenbr0 type bridge && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
mkdir -p /www
dd if=/dev/urandom of=/www/file bs=64k count=32 2>/dev/null
truncate -s 16M /run/fio.img
truncate -s 128M /run/files.img && mkfs.ext4 -qF /run/files.img
truncate -s 4M /run/extra.img
dd if=/dev/urandom of=/run/second.img bs=1M count=4 2>/dev/null
expected+=('died by signal')
backd_start
exec {news}<"$log"
front=(--append "xen_blkfront.max_queues=$vcpus xen_blkfront.max_indirect_segments=256")
[ ! -e /root/pvblk.ko ] || front=(--append "lab.modules= lab.wait=0" --file /root/pvblk.ko --file /root/pvnet.ko)
guest_create good pv --fio --mem 256 --vcpus "$vcpus" --file /root/crash-guest.sh --file /www/file:/www/file "${front[@]}" \
	--disk "$(spec xvda rw "file:/run/fio.img?queues=$vcpus")" --disk "$(spec xvdb rw /run/files.img)" --vif "bridge=xenbr0,mac=00:16:3e:09:00:02" || exit 1
guest_create second pv --mem 128 --disk "$(spec xvda rw /run/second.img)" || exit 1
guest_up good && guest_up second || exit 1
[ ! -e /root/pvblk.ko ] || guest_exec good "insmod /root/pvblk.ko max_queues=$vcpus && insmod /root/pvnet.ko" || exit 1
devices=4
all_connected $devices || exit 1
guest_exec good 'ip addr add 10.9.0.2/24 dev eth0 && ip link set eth0 up && httpd -h /www' || exit 1
busybox httpd -f -p 10.9.0.1:80 -h /www &
httpd=$!
wait_for 'ping -c 1 -W 5 10.9.0.2 >/dev/null' 60 "the guest's answer" || exit 1

failed=()
[ $# -gt 0 ] || set -- traffic files daemon store detach reboot
for step; do
	note "$step"
	t=$EPOCHREALTIME
	"step_$step" || { failed+=("$step"); tail -n 15 $log; guest_tail good 10; pvl backend info; pvl stats; break; }
	note "$step: $(since "$t") s"
done
kill $httpd
touch /tmp/stop
guest_destroy good && guest_destroy second || failed+=(destroy)
all_gone || failed+=(leftovers)
backd_stop
[ ${#failed[@]} = 0 ] || lab_fail "${failed[*]}"
echo "PASS: $*"
