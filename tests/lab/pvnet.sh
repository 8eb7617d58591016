#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Our network module in guests under unmodified xl: frames arrive as they were sent, and what an operator does works, on
# our back end and on the stock one.  eth0 is on a Linux bridge in dom0, eth1 (pvbackd only) on a switch in pvbackd.
#   lab/run --with-fio --file pvnet.ko --file tests/lab/pvnet-guest.sh --file tests/lab/failing.sh --file tests/lab/blk-functions.sh \
#   tests/lab/pvnet.sh [STEP...]
# ROUNDS=N: attach, detach, bind, unbind and unload so often (5);  BACKS: of which back ends (pvbackd netback none)
# FRONT: xen-netfront, for step data, instead of pvnet;  GUEST: kind of guest (pv);  VCPUS: of a guest (2);  MIB: of a file that is fetched (16);  MEM: of a guest, MB;  PARAMETERS: of the module
# Step xdp needs --file xdp-load --file xdp-pass ... (make -C tests xdp-programs); XDP: of the module's parameters for
# it, "" staging=N trusted=N, only this one.
# Step lies needs --file lying-vif and no back end (BACKS=none); LIES: only these, see all_lies.
# Step compare measures (lab/run --icount): stock driver, ours, and ours without staging.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh

backs=${BACKS:-pvbackd}
rounds=${ROUNDS:-5}
kind=${GUEST:-pv}
module=${FRONT:-pvnet}
vcpus=${VCPUS:-2}
mib=${MIB:-16}
least=160
[ "$kind" != hvm ] || least=448 # its initramfs is unpacked beside its compressed self, and QEMU has some of it
mem=${MEM:-$((least + 2 * mib))}
front="lab.modules=xen-blkfront lab.wait=0"
# What is taken away under traffic may be in the back end's hands at that moment; the kernel says so, and keeps the page.
kept="'g.e. .* still in use'"

all_lies="honest honest-plain rx-short rx-short-plain rx-short-first rx-short-first-plain rx-many rx-many-plain rx-empty rx-empty-plain
	rx-error rx-error-plain rx-blank rx-blank-plain rx-gso-udp rx-gso-udp-plain storm storm-plain tx-id tx-stale tx-duplicate
	tx-duplicate-plain tx-status tx-null tx-jump tx-one tx-backwards rx-id rx-size rx-size-plain rx-offset rx-status
	rx-jump rx-backwards rx-prefix rx-extra-type rx-extra-none rx-extra-endless rx-gso-type rx-gso-size rx-gso-twice
	rx-slots rx-slots-plain ctrl-id ctrl-type ctrl-status ctrl-jump keep-plain chaos chaos-plain spy spy-plain
	spy-trusted-plain states remake halves"

in_guest() { # NAME WORD [ARG...]
	local name=$1
	shift
	guest_exec "$name" "PARAMETERS='$parameters' sh /root/pvnet-guest.sh $*" 900
}

vifs() { # NUMBER
	echo --vif "bridge=xenbr0,mac=00:16:3e:09:00:0$1"
	[ "$back" != pvbackd ] || echo --vif "script=vif-pvbus,bridge=switch:lan,mac=00:16:3e:08:00:0$1"
}

start() { # NAME (ends in a digit) [DRIVER]
	local name=$1 driver=${2:-$module} load="insmod /root/pvnet.ko $parameters"
	local n=${name//[!0-9]/}

	[ "$driver" = pvnet ] || load="modprobe $driver"
	# the lab's processor has no invariant TSC: Xen would emulate each time stamp
	# shellcheck disable=SC2046
	guest_create "$name" "$kind" --config 'tsc_mode="native"' --fio --mem "$mem" --vcpus "$vcpus" \
		--append "$front" "${files[@]}" \
		--cmd "set -e; $load; sh /root/pvnet-guest.sh up; sh /root/pvnet-guest.sh serve $mib" $(vifs "$n") || return
	guest_wait "$name" || return
	[ "$(in_guest "$name" driver)" = "${driver/xen-netfront/vif}" ] || { echo "another driver has the NIC" >&2; return 1; }
}

need() { # NAME...
	local name

	for name; do
		xl domid "$name" >/dev/null 2>&1 || start "$name" || return
	done
}

dom0_fetch() { # ADDRESS
	local sum want

	sum=$(wget -q -O - "http://$1/file" | sha256sum)
	want=$(wget -q -O - "http://$1/sum")
	[ -n "$want" ] && [ "$sum" = "$want" ] || { echo "sums of $1 differ: $sum, $want" >&2; return 1; }
}

# TEXT COMMAND...: how long it took
timed() {
	local text=$1 t=$EPOCHREALTIME

	shift
	"$@" || return
	note "$kind, $module, $back: $text: $(since "$t") s"
}

iperf() { # NAME ADDRESS [OPTION...]
	local name=$1 text
	shift
	text=$(guest_exec "$name" "iperf3 -t 2 -c $*" 120) || { echo "$text"; return 1; }
	note "$back: iperf3 $*: $(grep receiver <<<"$text" | tail -n 1 | tr -s ' ' | cut -d' ' -f 4-)"
}

# Both directions, by the bridge and by the switch, to our like.
step_data() {
	local peers="10.9.0.12" p

	need g1 g2 || return
	[ "$back" != pvbackd ] || peers="$peers 10.8.0.12"
	for p in 10.9.0.1 $peers; do
		in_guest g1 ping "$p" 3 || return
		in_guest g1 ping "$p" 3 8000 || return
	done
	timed "guest to dom0, $mib MiB" dom0_fetch 10.9.0.11 || return
	timed "dom0 to guest, $mib MiB" in_guest g1 fetch 10.9.0.1 || return
	for p in $peers; do
		timed "guest to guest, $p, $mib MiB" in_guest g1 fetch "$p" || return
	done
	in_guest g1 facts && in_guest g1 sane && in_guest g2 sane
}

step_iperf() {
	local p

	need g1 g2 && guest_exec g2 'iperf3 -s -D' || return
	for p in 10.9.0.1 10.9.0.12 10.8.0.12; do
		[ "$back" = pvbackd ] || [ $p != 10.8.0.12 ] || continue
		iperf g1 $p && iperf g1 $p -R && iperf g1 $p -u -b 50M -l 64 && iperf g1 $p -u -b 50M -l 64 -R || return
	done
	in_guest g1 facts && in_guest g1 sane && in_guest g2 sane
}

step_compare() {
	local driver parameters vcpus=1

	for driver in xen-netfront "pvnet staging=N" pvnet; do
		parameters=${driver#pvnet}
		start g5 "${driver%% *}" || return
		note "$back: $driver"
		iperf g5 10.9.0.1 && iperf g5 10.9.0.1 -R && iperf g5 10.9.0.1 -u -b 1G -l 64 && iperf g5 10.9.0.1 -u -b 1G -l 64 -R || return
		in_guest g5 ping 10.9.0.1 20 && in_guest g5 facts && guest_destroy g5 || return
	done
}

step_attach() {
	local id i

	need g1 && id=$(guest_id g1) || return
	for ((i = 0; i < rounds; i++)); do
		xl network-attach g1 bridge=xenbr0 mac=00:16:3e:09:00:99 >/dev/null || return
		in_guest g1 attached 00:16:3e:09:00:99 || return
		xl network-detach g1 00:16:3e:09:00:99 || return
		wait_for "[ ! -e /sys/class/net/vif$id.2 ] && ! xenstore-exists /local/domain/0/backend/vif/$id/2" 15 "the third NIC gone" || return
		in_guest g1 detached 00:16:3e:09:00:99 || return
	done
	in_guest g1 ping 10.9.0.1 1 && in_guest g1 sane "$kept"
}

step_rmmod() { need g1 && in_guest g1 rmmod "$rounds" 10.9.0.1 && in_guest g1 fetch 10.9.0.1 && in_guest g1 sane "$kept"; }

step_unbind() { need g1 && in_guest g1 unbind "$rounds" 10.9.0.1 && in_guest g1 fetch 10.9.0.1 && in_guest g1 sane "$kept"; }

lie() { # LIE WANTED [plain]
	devid=$((devid + 1))
	lie_to g6 lying-vif $devid "$@"
}

# Back ends that get no further than this, and take no leave.
half_made_nics() {
	local states

	for states in "1" "2" "2:4" "2:4 4" "2:4 5:6" "5" "6" "99" "2:4 1 2" "4"; do
		devid=$((devid + 1))
		half_made g6 vif $devid "handle $devid mac 00:16:3e:77:00:01" "$states" || return
	done
}

# One line in the guest's log, a device that is disabled, and a guest that goes on.
step_lies() {
	local devid=0 name wanted

	guest_create g6 "$kind" --config 'tsc_mode="native"' --mem "$mem" --vcpus "$vcpus" --append "$front" \
		"${files[@]}" --cmd "insmod /root/pvnet.ko" && guest_wait g6 || return
	for name in ${LIES:-$all_lies}; do
		case ${name%-plain} in
		halves) half_made_nics || return; continue ;;
		states) wanted=cycled ;;
		remake) wanted=remade ;;
		rx-many) wanted=whole ;;
		spy*) wanted=alive ;;
		chaos) wanted=any ;;
		honest | storm | rx-short* | rx-empty | rx-error | rx-blank | rx-gso-udp) wanted=alive ;;
		*) wanted=dead ;;
		esac
		case $name in
		*-plain) lie "${name%-plain}" $wanted plain || return ;;
		*) lie "$name" $wanted || return ;;
		esac
	done
	in_guest g6 sane "'device is disabled|still in use'" && guest_destroy g6
}

# Each allocation of a connection fails once (a debug kernel with fault injection); STRIDE: each so manieth.
# One that fails when the store has taken the keys already: the back end may find that what they name is taken back.
step_failing() { expected+=('grant [0-9]+: Invalid argument'); need g1 && guest_exec g1 "sh /root/pvnet-guest.sh failing ${STRIDE:-1}" 3000 && in_guest g1 fetch 10.9.0.1 && in_guest g1 sane "'g.e. .* still in use|sysfs|remove_proc_entry|Call Trace'"; }

# A NIC that is taken away before its front end has done anything since the guest was restored.
step_resumed() {
	local i mac=00:16:3e:09:00:99

	need g1 || return
	for ((i = 0; i < rounds; i++)); do
		xl network-attach g1 bridge=xenbr0 mac=$mac >/dev/null && in_guest g1 attached $mac || return
		xl save g1 /run/g1.save >/tmp/out 2>&1 && xl restore -p /run/g1.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		rm /run/g1.save
		guest_again g1 || return
		xl network-detach g1 $mac >/tmp/out 2>&1 &
		xl unpause g1
		wait $! || { cat /tmp/out; return 1; }
		in_guest g1 gone $mac && in_guest g1 fetch 10.9.0.1 || return
	done
	in_guest g1 sane "$kept"
}

# Two of them, while the guest fetches a file.
step_save() {
	local i

	need g1 || return
	for i in 1 2; do
		in_guest g1 fetching 10.9.0.1 || return
		xl save g1 /run/g1.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		xl restore /run/g1.save >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		rm /run/g1.save
		guest_again g1 && in_guest g1 fetched || return
	done
	in_guest g1 facts && in_guest g1 sane "$kept"
}

# Live, within this host; a PVH guest, as there is no shadow paging in the lab that a PV one would need.
step_migrate() {
	local i

	need g1 || return
	for i in 1 2; do
		in_guest g1 fetching 10.9.0.1 || return
		xl migrate -s '' g1 'xl migrate-receive' >/tmp/out 2>&1 || { cat /tmp/out; return 1; }
		guest_again g1 && in_guest g1 fetched || return
	done
	in_guest g1 facts && in_guest g1 sane "$kept"
}

# pvbackd's worker dies while the guest fetches a file, and another one maps the staged pages again.
step_killed() {
	local i id pid

	[ "$back" = pvbackd ] || return 0
	need g1 && id=$(guest_id g1) || return
	for ((i = 0; i < rounds; i++)); do
		in_guest g1 fetching 10.9.0.1 && pid=$(worker_of "$id") || return
		expected+=("domain $id: worker $pid died by signal 9" "vif $id/[01] .*goes on, after")
		kill -9 "$pid"
		in_guest g1 fetched || return
	done
	in_guest g1 facts && in_guest g1 sane "$kept"
}

# Nothing but frames is granted.
step_bounce() {
	local parameters=trusted=N

	start g3 && in_guest g3 ping 10.9.0.1 3 8000 && in_guest g3 fetch 10.9.0.1 && dom0_fetch 10.9.0.13 || return
	in_guest g3 facts && in_guest g3 sane && guest_destroy g3
}

# A neighbour is found by a multicast group that only the guest has joined; all others stay away until it wants all.
step_multicast() {
	local parameters=multicast=Y asks address

	start g7 || return
	asks="/local/domain/$(guest_id g7)/device/vif/0/request-multicast-control"
	[ "$(xenstore-read "$asks")" = 1 ] || { echo "$asks is not 1" >&2; return 1; }
	address=$(in_guest g7 address6) && [ -n "$address" ] || { echo "g7 has no address on its link" >&2; return 1; }
	wait_for "ping -6 -c 1 -W 5 -I xenbr0 $address >/dev/null 2>&1" 60 "g7 answers to $address" || return
	guest_exec g7 'ip link set eth0 promisc on' && wait_node "$asks" 20 '[ "$value" = 0 ]' || return
	guest_exec g7 'ip link set eth0 promisc off' && wait_node "$asks" 20 '[ "$value" = 1 ]' || return
	in_guest g7 ping 10.9.0.1 1 && in_guest g7 sane && guest_destroy g7
}

# A guest of ours and one with the stock driver understand each other.
step_stock() {
	need g1 && start g4 xen-netfront && in_guest g1 fetch 10.9.0.14 && in_guest g4 fetch 10.9.0.11 || return
	in_guest g1 sane && guest_destroy g4
}

# Frames come to the queue that ethtool -X says, also on the next connection.
step_rss() {
	need g1 && in_guest g1 rss 10.9.0.1 || return
	[ "$back" != pvbackd ] || { each_restart && in_guest g1 rss 10.9.0.1; } || return
	in_guest g1 sane "$kept"
}

# The back end closes and comes back; connections over it live on.
each_restart() {
	local node

	node=/local/domain/0/backend/vif/$(guest_id g1)/0
	in_guest g1 fetching 10.9.0.1 && xenstore-write "$node/restarting" 1 "$node/state" 5 || return
	wait_node "$node/state" 60 '[ "$value" = 4 ]' || { echo "it does not come back" >&2; return 1; }
	in_guest g1 fetched
}

step_restart() {
	local i

	need g1 || return
	for ((i = 0; i < rounds; i++)); do each_restart || return; done
	in_guest g1 facts && in_guest g1 sane "$kept"
}

# Pings of dom0 to an address: of COUNT all are answered, or none.
pinged() { # ADDRESS COUNT SIZE all|none
	local n

	n=$(ping -c "$2" -W 3 -s "$3" "$1" | sed -n 's/.*, \([0-9]*\) packets received.*/\1/p')
	[ "$n" = "$([ "$4" = all ] && echo "$2" || echo 0)" ] || { echo "$1 answers $n of $2 pings, not $4" >&2; return 1; }
}

# What a program says happens to a frame, with the pages that PARAMETERS make the driver use.
each_xdp() { # PARAMETERS
	local parameters=$1

	start g8 || return
	in_guest g8 xdp 0 pass && in_guest g8 fetch 10.9.0.1 && dom0_fetch 10.9.0.18 || return
	in_guest g8 counted xdp_pass eth0 100 || return
	guest_exec g8 'echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all' && pinged 10.9.0.18 2 56 none || return
	in_guest g8 xdp 0 reflect && pinged 10.9.0.18 5 56 all && pinged 10.9.0.18 5 1472 all || return
	in_guest g8 counted xdp_tx eth0 10 10 || return
	if [ "$back" = pvbackd ]; then
		in_guest g8 xdp 0 redirect eth1 && pinged 10.9.0.50 5 1000 all || return
		in_guest g8 counted xdp_redirect eth0 5 && in_guest g8 counted xdp_xmit eth1 5 || return
	fi
	in_guest g8 xdp 0 drop && pinged 10.9.0.18 3 56 none && in_guest g8 counted xdp_drop eth0 3 || return
	in_guest g8 xdp 0 off && in_guest g8 fetch 10.9.0.1 && in_guest g8 xdp_mtu || return
	in_guest g8 facts && in_guest g8 sane "$kept" && guest_destroy g8
}

# What is for 10.9.0.50 reaches no one but who gets it by another NIC: it is g2's address there.
step_xdp() {
	local p

	need g2 || return
	if [ "$back" = pvbackd ]; then
		ip neigh replace 10.9.0.50 lladdr 00:16:3e:08:00:02 dev xenbr0 nud permanent || return
		guest_exec g2 'ip addr add 10.9.0.50/32 dev eth1' || return
	fi
	for p in ${XDP:-"" staging=N trusted=N}; do
		timed "programs, ${p:-staging}" each_xdp "$p" || return
	done
	in_guest g2 sane
}

give_up() {
	local g

	for g in $(xl list | awk 'NR > 1 && $2 { print $1 }'); do
		guest_tail "$g" 30
		guest_exec "$g" 'dmesg | tail -n 30' >&2
		guest_destroy "$g"
	done
	[ ! -e $log ] || tail -n 20 $log
}

run_steps() {
	local t step

	for step; do
		t=$EPOCHREALTIME
		note "$back: $step"
		"step_$step" || {
			failures+=("$back/$step")
			note "$back: $step: FAILED"
			give_up
		}
		note "$back: $step: $(since "$t") s"
	done
}

modprobe tun && modprobe bridge || exit
brctl addbr xenbr0 && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
mkdir -p /www && dd if=/dev/urandom of=/www/file bs=1M count="$mib" 2>/dev/null && sha256sum </www/file >/www/sum
busybox httpd -f -p 10.9.0.1:80 -h /www &
httpd=$!
iperf3 -s -D >/dev/null
files=(--file /root/pvnet.ko --file /root/pvnet-guest.sh --file /root/failing.sh)
for f in /root/xdp-*; do
	[ ! -e "$f" ] || files+=(--file "$f")
done
failures=()
parameters=${PARAMETERS:-}
for back in $backs; do
	case $back in
	pvbackd) backd_start --memory 32M --max-nic-queues 4 ;;
	netback) modprobe xen-netback || exit ;;
	esac
	case $#/$back in
	0/none) run_steps lies ;;
	0/*) run_steps data stock bounce multicast attach rmmod unbind killed save ;;
	*) run_steps "$@" ;;
	esac
	for g in $(xl list | awk 'NR > 1 && $2 { print $1 }'); do guest_destroy "$g"; done
	case $back in
	pvbackd) all_gone || failures+=(leftovers); backd_stop ;;
	none) assert_clean || failures+=(leftovers) ;;
	*) assert_clean && rmmod xen-netback || failures+=(leftovers) ;;
	esac
done
kill $httpd
[ ${#failures[@]} = 0 ] || lab_fail "${failures[*]}"
echo "PASS: $backs: $*"
