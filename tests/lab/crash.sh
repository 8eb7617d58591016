#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Back ends die under guests whose disks and NICs are in use: each worker and pvbackd itself, at random times,
# while files are written, disks are taken away, guests are started again, and another pvbackd is put in.  No guest may notice.
#   lab/run --with-fio --file /usr/bin/nice --file tests/lab/blk-functions.sh --file tests/lab/crash-guest.sh \
#   [--file pvblk.ko --file pvnet.ko] tests/lab/crash.sh [STEP...]
# A guest has the stock front ends; a second one ours, if their modules are given.  Each step is done to one, then to the other.
# KILLS=N: of each guest's workers under traffic (200); a quarter of it under files, of both together; fewer of the others
# VCPUS=N: of a guest, and its disk's queues (4)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

kills=${KILLS:-200}
vcpus=${VCPUS:-4}
base=/local/domain/0/backend

rand() { echo "$((RANDOM % $1 / 1000)).$(printf %03d $((RANDOM % $1 % 1000)))"; } # seconds below MS
connected() { pvl --json stats | grep -o '"phase": *"connected"' | wc -l; }
# all of them go on, those of workers that have not even begun, too
all_connected() { wait_for "[ \"\$(connected)\" = $devices ]" 60 "all $devices devices connected again"; }

declare -A worker # of a domain, as the log has told
need=1 seen=0 deaths=0 # devices of who died last, those of them that go on again, and deaths still to be told of
struck=0 # workers, by the last kill_worker

# A line of the log, if there is one: nothing is forked to know who is who.
hear() {
	local line

	read -r -u "$news" line || return
	case $line in
	*"died by signal"*" with "*" devices") need=${line##* with } need=${need% devices} seen=0 deaths=$((deaths - 1)) ;;
	*"goes on, after"*) seen=$((seen + 1)) ;;
	*) [[ ! $line =~ "domain "([0-9]+)": worker "([0-9]+)$ ]] || worker[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]} ;;
	esac
}

kill_worker() { # DOMID [SIGNAL|memory]: and now and then the one after it at once
	local pid how=${2:-} signals=(KILL KILL SEGV BUS) end=$((SECONDS + 10))

	while hear; do :; done
	pid=${worker[$1]}
	deaths=1 struck=1
	case $how in
	memory) echo 1000 >"/proc/$pid/oom_score_adj" && echo f >/proc/sysrq-trigger || return ;; # and the kernel chooses it
	*) kill -s "${how:-${signals[RANDOM % 4]}}" "$pid" || return ;;
	esac
	[ $((RANDOM % 4)) = 0 ] || return 0
	until [ "${worker[$1]}" != "$pid" ]; do
		hear || sleep 0.02
		[ $SECONDS -lt $end ] || { echo "no worker after $pid within 10 s" >&2; return 1; }
	done
	deaths=$((deaths + 1)) struck=2
	kill -KILL "${worker[$1]}"
}

# The log tells of so many deaths, and that each device of the last one goes on.
all_go_on() {
	local end=$((SECONDS + 60))

	until [ $deaths -le 0 ] && [ $seen -ge "$need" ]; do
		[ $SECONDS -lt $end ] || { echo "$seen of $need devices went on within 60 s, $deaths deaths not told of" >&2; return 1; }
		hear || sleep 0.02
	done
}

killed() { # GUEST COUNT
	local id how n=0 t=$EPOCHREALTIME

	id=$(guest_id "$1")
	while [ $n -lt "$2" ]; do
		sleep "$(rand 300)"
		how=""
		[ $((n % 50)) != 3 ] || how=memory # the kernel has a lot to say then, and takes seconds for it
		kill_worker "$id" "$how" || return
		n=$((n + struck))
		all_go_on || return
	done
	all_connected || return
	note "  $n deaths took $(since "$t") s"
}

stalls() { # FROM-LINE
	tail -n "+$1" $log | grep -o 'goes on, after [0-9]*' | grep -o '[0-9]*$' | sort -n |
		awk '{ v[NR] = $1 } END { if (NR) printf "%d devices went on, after %d ms in the middle, %d at 99 of 100, %d at most\n", NR, v[int((NR + 1) / 2)], v[int((NR * 99 + 99) / 100)], v[NR] }'
}

start() { # GUEST WORD...: in its background
	local g=$1 word
	shift

	rm -f /tmp/stop /tmp/wrong /tmp/rounds
	guest_exec "$g" 'rm -f /tmp/stop /tmp/wrong; dmesg | wc -l >/tmp/lines' || return
	for word; do
		guest_exec "$g" "(sh /root/crash-guest.sh $word </dev/null >/dev/null 2>&1 &)" || return
	done
	case " $* " in *" net "*) fetch "${address[$g]}" & fetching=$! ;; esac
}

fetch() { # ADDRESS: what a guest does, from here
	local n=0 unreachable=0 rc

	until [ -e /tmp/stop ]; do
		rm -f /tmp/got
		rc=0
		/root/nice -n 19 wget -q -O /tmp/got "http://$1/file" 2>/tmp/wget || rc=$?
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

finish() { # GUEST WORD...
	local g=$1 word said=""
	shift

	touch /tmp/stop
	guest_exec "$g" 'touch /tmp/stop' || return
	for word; do
		guest_exec "$g" "i=0; until [ -s /tmp/$word ] || [ \$i = 2400 ]; do usleep 100000; i=\$((i + 1)); done; [ -s /tmp/$word ]" 300 || { echo "$word does not end" >&2; return 1; }
		said="$said, $word $(guest_exec "$g" "cat /tmp/$word")"
		[ "$word" != net ] || { wait "$fetching"; said="$said and $(cat /tmp/rounds) from here"; }
	done
	note "  rounds done, all right:${said#,}"
	guest_exec "$g" '! cat /tmp/wrong 2>/dev/null' && [ ! -e /tmp/wrong ] || { cat /tmp/wrong; return 1; }
	# hrtimer and clocksource speak of the machine: it is emulated, and slow; xvdc comes and goes as it is told to
	guest_exec "$g" 'dmesg | tail -n +$(($(cat /tmp/lines) + 1)) >/tmp/new; ! grep -vE "hrtimer: interrupt took|clocksource|EXT4-fs .*mount(ed|ing) filesystem|blkfront: xvdc: flush|pvblk vbd-51744: xvdc: [0-9]+ sectors|xvdc is in use" /tmp/new' || { echo "the guest's kernel had something to say" >&2; return 1; }
}

# --- steps -----------------------------------------------------------------------------------------------

step_traffic() { # GUEST
	local from=$(($(wc -l <$log) + 1))

	start "$1" disk net && killed "$1" "$kills" && finish "$1" disk net || return
	note "  $(stalls $from)"
}

step_files() { # GUEST
	local from=$(($(wc -l <$log) + 1)) n

	guest_exec "$1" 'mount -t ext4 /dev/xvdb /mnt' && start "$1" fs && killed "$1" $((kills / 4 / ${#guests[@]} + 2)) && finish "$1" fs || return
	fsck.ext4 -fn "/run/files-$1.img" >/tmp/fsck 2>&1 || { cat /tmp/fsck; return 1; }
	mount -o loop,ro "/run/files-$1.img" /mnt || return
	for n in 0 1 2 3; do
		[ ! -e /mnt/sums.$n ] || (cd /mnt/$n && sha256sum -cs ../sums.$n) || { umount /mnt; return 1; }
	done
	umount /mnt
	losetup -D
	note "  $(stalls $from)"
}

# pvbackd with its workers, without them, told to stop, and replaced in place
step_daemon() { # GUEST
	local from=$(($(wc -l <$log) + 1)) n how all fds=$backd_fds

	start "$1" disk net || return
	for ((n = 0; n < kills / 25 + 4; n++)); do
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
		all_connected || return
	done
	backd_fds=$((fds + 1)) # of the one that had no device yet; and $news, which this one was started with
	finish "$1" disk net || return
	note "  $n times: $(stalls $from)"
}

# xenstored becomes another process image, as when it is upgraded; then pvbackd must still hear of what happens
step_store() { # GUEST
	local n

	start "$1" disk net || return
	for n in 1 2; do
		xenstore-control live-update "$(readlink -f "/proc/$(cat /run/xenstored.pid)/exe")" -t 30 >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		xl block-attach "$1" "$(spec xvdc rw /run/extra.img)" >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		wait_node "$base/vbd/$(guest_id "$1")/51744/state" 30 '[ "$value" = 4 ]' || { echo "round $n: xvdc does not connect" >&2; return 1; }
		xl block-detach "$1" xvdc >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
	done
	finish "$1" disk net || return
	note "  $n times"
}

# What the toolstack does to another disk goes on, whoever dies meanwhile.
step_detach() { # GUEST
	local n id

	id=$(guest_id "$1")
	start "$1" disk || return
	for ((n = 0; n < kills / 20 + 2; n++)); do
		xl block-attach "$1" "$(spec xvdc rw /run/extra.img)" >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		wait_node "$base/vbd/$id/51744/state" 30 '[ "$value" = 4 ]' || { echo "round $n: xvdc does not connect" >&2; return 1; }
		guest_exec "$1" '(dd if=/dev/xvdc of=/dev/null bs=64k </dev/null >/dev/null 2>&1 &)'
		xl block-detach "$1" xvdc >/tmp/out 2>&1 &
		sleep "$(rand 300)"
		kill_worker "$id" || return
		wait $! || xl block-detach "$1" xvdc >/tmp/out 2>&1 || [ -z "$(state_of "$id" 51744)" ] || { cat /tmp/out; return 1; }
		wait_for "[ -z \"\$(state_of $id 51744)\" ]" 20 "xvdc's node gone" || return
		all_connected || return
	done
	finish "$1" disk || return
	note "  $n times"
}

# A third guest, which is started again.
step_reboot() {
	local n id

	for ((n = 0; n < kills / 80 + 1; n++)); do
		id=$(guest_id second)
		guest_exec second '(dd if=/dev/xvda of=/dev/null bs=64k </dev/null >/dev/null 2>&1 &)'
		xl reboot second || return
		sleep "$(rand 1500)"
		kill_worker "$id" 2>/dev/null # if it has not ended
		wait_for "xl domid second >/dev/null 2>&1 && [ \$(xl domid second) != $id ]" 90 "the guest's new domain" || return
		xl domid second >"$lab_dir/second.id"
		rm -f "$lab_dir/second.seq"
		guest_up second || return
		disk_gone "$id" || return
		guest_exec second 'dd if=/dev/xvda of=/dev/null bs=64k 2>/dev/null' || return
		all_connected || return
	done
	note "  $n times"
}

# --- what they are done to ---------------------------------------------------------------------------------

modprobe tun && modprobe bridge || exit
ip link add xenbr0 type bridge && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
mkdir -p /www
dd if=/dev/urandom of=/www/file bs=64k count=32 2>/dev/null
truncate -s 4M /run/extra.img
dd if=/dev/urandom of=/run/second.img bs=1M count=4 2>/dev/null
expected+=('died by signal')
# Guests that never rest must not keep those from working who are to be seen dying.
xl sched-credit2 -d 0 -w 4096 || exit 1
backd_start
exec {news}<"$log"

declare -A address front
guests=(good)
address[good]=10.9.0.2
front[good]="xen_blkfront.max_queues=$vcpus xen_blkfront.max_indirect_segments=256"
if [ -e /root/pvblk.ko ]; then
	guests+=(own)
	address[own]=10.9.0.3
	front[own]="lab.modules= lab.wait=0"
	own=(--file /root/pvblk.ko --file /root/pvnet.ko)
fi
for g in "${guests[@]}"; do
	truncate -s 16M "/run/fio-$g.img"
	truncate -s 128M "/run/files-$g.img" && mkfs.ext4 -qF "/run/files-$g.img"
	guest_create "$g" pv --fio --mem 256 --vcpus "$vcpus" --file /root/crash-guest.sh --file /www/file:/www/file --append "${front[$g]}" "${own[@]}" \
		--disk "$(spec xvda rw "file:/run/fio-$g.img?queues=$vcpus")" --disk "$(spec xvdb rw "/run/files-$g.img")" \
		--vif "bridge=xenbr0,mac=00:16:3e:09:00:0${address[$g]##*.}" || exit 1
done
guest_create second pv --mem 128 --disk "$(spec xvda rw /run/second.img)" || exit 1
for g in "${guests[@]}" second; do guest_up "$g" || exit 1; done
[ ! -e /root/pvblk.ko ] || guest_exec own "insmod /root/pvblk.ko max_queues=$vcpus && insmod /root/pvnet.ko" || exit 1
devices=$((3 * ${#guests[@]} + 1))
all_connected || exit 1
/root/nice -n 19 busybox httpd -f -p 10.9.0.1:80 -h /www &
httpd=$!
for g in "${guests[@]}"; do
	guest_exec "$g" "ip addr add ${address[$g]}/24 dev eth0 && ip link set eth0 up && httpd -h /www" || exit 1
	wait_for "ping -c 1 -W 5 ${address[$g]} >/dev/null" 60 "$g's answer" || exit 1
done

failed=()
[ $# -gt 0 ] || set -- traffic files daemon store detach reboot
for step; do
	for g in "${guests[@]}"; do
		[ "$step $g" != "reboot own" ] || continue
		note "$step, guest $g"
		t=$EPOCHREALTIME
		"step_$step" "$g" || { failed+=("$step of $g"); tail -n 15 $log; guest_tail "$g" 10; pvl backend info; pvl stats; break 2; }
		note "$step, guest $g: $(since "$t") s"
	done
done
kill $httpd
touch /tmp/stop
for g in "${guests[@]}" second; do guest_destroy "$g" || failed+=(destroy); done
all_gone || failed+=(leftovers)
backd_stop
[ ${#failed[@]} = 0 ] || lab_fail "${failed[*]}"
echo "PASS: $*"
