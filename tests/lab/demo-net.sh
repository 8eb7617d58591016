#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Stock guests on real Xen with NICs that pvbackd serves: Debian's kernel and its xen-netfront, created by unmodified
# xl.  eth0 hangs on a Linux bridge in dom0 by Debian's own vif-bridge script, eth1 on a switch inside pvbackd by
# vif-pvbus.  Frames, a file over HTTP, and iperf3 (lab/run --with-fio) between the guests and with dom0, by both.
#   lab/run --with-fio [--with-ovs] --mem 3072 tests/lab/demo-net.sh [MIB [ROUNDS [migrate]]]
# --with-ovs: by Open vSwitch, too.  MIB: of the file; ROUNDS: of network-attach and -detach; migrate: a PVH guest within this host, too
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
mib=${1:-32} rounds=${2:-10} migrate=${3:-}

show() { echo; echo "   # $*"; }
indent() { sed 's/^/   /'; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

mkdir -p /var/log/pvbus
modprobe tun && modprobe bridge || exit
show "brctl addbr xenbr0; ip addr add 10.9.0.1/24 dev xenbr0"
brctl addbr xenbr0 && ip link set xenbr0 up && ip addr add 10.9.0.1/24 dev xenbr0 || exit
show "pvbackd &       xen-netback is not loaded: $(lsmod | grep -c xen_netback) of it"
pvbackd 2>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1

# what each guest does at its start: addresses, a file, a web server
cat >/tmp/guest.sh <<-'END'
	set -e
	n=$(hostname | tr -dc 0-9)
	ip addr add 10.9.0.1$n/24 dev eth0
	ip link set eth0 up
	ip addr add 10.8.0.1$n/24 dev eth1
	ip link set eth1 up
	mkdir -p /www
	dd if=/dev/urandom of=/www/file bs=1M count=$(cat /root/mib) 2>/dev/null
	sha256sum </www/file >/www/sum
	httpd -h /www
	dmesg | grep -iE 'netfront|eth[01]' || true
END
echo "$mib" >/root/mib
sed '/eth1/d' /tmp/guest.sh >/tmp/guest3.sh

fio=()
[ ! -e /guest/fio ] || fio=(--fio)
for n in 1 2; do
	show "xl create net$n.cfg       # stock kernel; vif = [ \"bridge=xenbr0\", \"script=vif-pvbus,bridge=switch:lan\" ]"
	t=$EPOCHREALTIME
	guest_create net$n pv --mem $((256 + 2 * mib)) --vcpus 2 --script /tmp/guest.sh --file /root/mib \
		"${fio[@]}" --vif "bridge=xenbr0,mac=00:16:3e:09:00:0$n" \
		--vif "script=vif-pvbus,bridge=switch:lan,mac=00:16:3e:08:00:0$n" || exit 1
	echo "   created after $(since "$t")"
	guest_wait net$n 300 || { rc=$?; cat /var/log/pvbus/pvbackd.log; lab_fail "net$n: status $rc"; }
done
id1=$(guest_id net1)
show "xl network-list net1"
xl network-list net1 | indent
show "bridge link"
bridge link | indent
[ -d "/sys/class/net/xenbr0/brif/vif$id1.0" ] || lab_fail "vif$id1.0 is not on the bridge"
[ ! -e "/sys/class/net/vif$id1.1" ] || lab_fail "a NIC on a switch has an interface in dom0"

show "ping: dom0 -> guest over the bridge, guest -> guest over the bridge and over the switch"
# the first answers may be long in coming where emulated processors share real ones
wait_for 'ping -c 1 -W 5 10.9.0.11 >/dev/null' 60 "net1 answers dom0" || exit 1
wait_for 'ping -c 1 -W 5 10.9.0.12 >/dev/null' 60 "net2 answers dom0" || exit 1
ping -c 3 -W 5 10.9.0.11 | tail -n 2 | indent
guest_exec net1 'ping -c 3 -W 5 10.9.0.12' >/tmp/out || { cat /tmp/out; lab_fail "bridge: net1 does not reach net2"; }
tail -n 2 /tmp/out | indent
guest_exec net1 'ping -c 3 -W 5 10.8.0.12' >/tmp/out || { cat /tmp/out; lab_fail "switch: net1 does not reach net2"; }
tail -n 2 /tmp/out | indent

# fetch WHERE WHAT URL: the file and its sum, by HTTP
fetch() {
	local t=$EPOCHREALTIME sum want command="wget -q -O - http://$3/file | sha256sum; wget -q -O - http://$3/sum"
	if [ "$1" = dom0 ]; then bash -c "$command" >/tmp/out; else guest_exec "$1" "$command" $((300 + 10 * mib)) >/tmp/out; fi || lab_fail "$2: $(cat /tmp/out)"
	{ read -r sum _; read -r want _; } </tmp/out
	[ -n "$sum" ] && [ "$sum" = "$want" ] || lab_fail "$2: sums differ: $sum, $want"
	echo "   $2: $mib MiB by HTTP, equal SHA-256, $(since "$t")"
}
show "a file of $mib MiB over HTTP"
fetch dom0 "net1 -> dom0, bridge" 10.9.0.11
fetch net2 "net1 -> net2, bridge" 10.9.0.11
fetch net2 "net1 -> net2, switch" 10.8.0.11
mkdir -p /www && dd if=/dev/urandom of=/www/file bs=1M count="$mib" 2>/tmp/out && sha256sum </www/file >/www/sum || { cat /tmp/out; lab_fail "dom0 has no room for $mib MiB"; }
busybox httpd -f -p 10.9.0.1:80 -h /www &
httpd=$!
wait_for 'wget -q -O /dev/null http://10.9.0.1/sum' 10 "dom0's web server" || exit 1
fetch net1 "dom0 -> net1, bridge" 10.9.0.1
kill $httpd

if [ -e /guest/fio ]; then
	show "iperf3 (emulated processors: only that it works)"
	guest_exec net2 'iperf3 -s -D' || exit 1
	for where in "10.9.0.12 bridge" "10.8.0.12 switch"; do
		for kind in "" "-u -b 50M -l 1400"; do
			guest_exec net1 "iperf3 -c ${where% *} -t 3 $kind" 120 >/tmp/out || { cat /tmp/out; lab_fail "iperf3 $where $kind"; }
			echo "   ${where#* } ${kind:-TCP}: $(grep -E 'receiver' /tmp/out | tail -n 1 | tr -s ' ' | cut -d' ' -f 4-)"
		done
	done
	iperf3 -c 10.9.0.12 -t 3 >/tmp/out || { cat /tmp/out; lab_fail "iperf3 from dom0"; }
	echo "   dom0 -> net2 TCP: $(grep receiver /tmp/out | tr -s ' ' | cut -d' ' -f 4-)"
fi
show "pvl stats"
pvl stats | indent

show "xl network-attach, network-detach: $rounds rounds"
for ((i = 0; i < rounds; i++)); do
	xl network-attach net1 bridge=xenbr0 mac=00:16:3e:09:00:99 >/dev/null || lab_fail "network-attach, round $i"
	wait_node "/local/domain/0/backend/vif/$id1/2/state" 20 '[ "$value" = 4 ]' || lab_fail "round $i: the NIC does not connect"
	xl network-detach net1 2 || lab_fail "network-detach, round $i"
	[ ! -e "/sys/class/net/vif$id1.2" ] || wait_for "[ ! -e /sys/class/net/vif$id1.2 ]" 5 "the TAP gone" || exit 1
done
wait_for 'ping -c 1 -W 5 10.9.0.11 >/dev/null' 60 "net1 answers after that" || exit 1

show "xl reboot net1"
xl reboot net1 >/dev/null || lab_fail "xl reboot"
wait_for '[ "$(xl domid net1 2>/dev/null || echo '"$id1"')" != '"$id1"' ]' 60 "a new domain" || exit 1
xl domid net1 >"$lab_dir/net1.id"
rm -f "$lab_dir/net1.seq"
guest_wait net1 || exit 1
wait_for 'ping -c 1 -W 5 10.9.0.11 >/dev/null' 60 "net1 answers after its reboot" || exit 1
[ ! -e "/sys/class/net/vif$id1.0" ] || lab_fail "the TAP of the domain before is left"

show "xl save net2; xl restore"
xl save net2 /tmp/net2.save >/tmp/out 2>&1 || { cat /tmp/out; lab_fail "xl save"; }
xl restore /tmp/net2.save >/tmp/out 2>&1 || { cat /tmp/out; lab_fail "xl restore"; }
xl domid net2 >"$lab_dir/net2.id"
wait_for 'ping -c 1 -W 1 10.9.0.12 >/dev/null' 30 "net2 answers dom0" || exit 1
guest_exec net1 'for i in 1 2 3 4 5 6; do ping -c 1 -W 5 10.8.0.12 && exit; done; exit 1' 60 >/dev/null || lab_fail "switch: not after the restore"

show "Debian's vif-route and vif-nat"
id1=$(guest_id net1)
for how in "route 10.7.0.5 10.9.0.1" "nat 10.6.0.5 10.6.0.132"; do
	read -r how ip router <<<"$how"
	xl network-attach net1 "script=vif-$how" "ip=$ip" gatewaydev=xenbr0 mac=00:16:3e:09:00:98 >/tmp/out 2>&1 || { cat /tmp/out; lab_fail "vif-$how"; }
	wait_node "/local/domain/0/backend/vif/$id1/2/state" 20 '[ "$value" = 4 ]' || lab_fail "vif-$how: the NIC does not connect"
	guest_exec net1 "ip addr add $ip/32 dev eth2 && ip link set eth2 up && ip route add $router/32 dev eth2" || lab_fail "vif-$how: eth2 in the guest"
	wait_for "ping -c 1 -W 5 $ip >/tmp/out" 30 "an answer from $ip" || exit 1
	ip route show "$ip" | indent
	xl network-detach net1 2 || lab_fail "vif-$how: network-detach"
	wait_for "[ ! -e /sys/class/net/vif$id1.2 ]" 5 "the TAP gone" || exit 1
done

# with --with-ovs
if type ovs-vsctl >/dev/null 2>&1; then
	show "vif-openvswitch: the NIC of net1 as a tagged port of a virtual switch that dom0 is on"
	mkdir -p /run/openvswitch /etc/openvswitch /var/log/openvswitch
	ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema &&
		ovsdb-server --remote=punix:/run/openvswitch/db.sock --pidfile --detach --log-file && ovs-vsctl --no-wait init &&
		/usr/lib/openvswitch-switch/ovs-vswitchd --pidfile --detach --log-file 2>/dev/null || lab_fail "Open vSwitch does not start"
	modprobe openvswitch
	ovs-vsctl --timeout=30 add-br ovs0 -- add-port ovs0 lan5 tag=5 -- set interface lan5 type=internal || lab_fail "ovs-vsctl"
	ip addr add 10.5.0.1/24 dev lan5 && ip link set lan5 up || lab_fail "lan5"
	xl network-attach net1 script=vif-openvswitch bridge=ovs0.5 mac=00:16:3e:09:00:97 >/tmp/out 2>&1 || { cat /tmp/out; lab_fail "vif-openvswitch"; }
	wait_node "/local/domain/0/backend/vif/$id1/2/state" 20 '[ "$value" = 4 ]' || lab_fail "vif-openvswitch: the NIC does not connect"
	guest_exec net1 "ip addr add 10.5.0.5/24 dev eth2 && ip link set eth2 up" || lab_fail "vif-openvswitch: eth2 in the guest"
	wait_for "ping -c 1 -W 5 10.5.0.5 >/tmp/out" 30 "an answer from 10.5.0.5" || exit 1
	sum=$(wget -q -O - http://10.5.0.5/file | sha256sum)
	want=$(wget -q -O - http://10.5.0.5/sum)
	[ -n "$want" ] && [ "$sum" = "$want" ] || lab_fail "by Open vSwitch: sums differ: $sum, $want"
	ovs-vsctl show | indent
	xl network-detach net1 2 || lab_fail "vif-openvswitch: network-detach"
	wait_for "[ ! -e /sys/class/net/vif$id1.2 ]" 5 "the TAP gone" || exit 1
	! ovs-vsctl list-ports ovs0 | grep -q vif || lab_fail "vif-openvswitch: the port is still there"
	kill "$(cat /run/openvswitch/ovs-vswitchd.pid)" "$(cat /run/openvswitch/ovsdb-server.pid)"
fi

guest_destroy net1 && guest_destroy net2 || exit 1

if [ -n "$migrate" ]; then
	show "xl migrate net3 (PVH), within this host, while dom0 fetches a file from it"
	guest_create net3 pvh --mem $((256 + 2 * mib)) --script /tmp/guest3.sh --file /root/mib \
		--vif "bridge=xenbr0,mac=00:16:3e:09:00:03" || exit 1
	guest_wait net3 300 || lab_fail "net3: status $?"
	wait_for 'ping -c 1 -W 5 10.9.0.13 >/dev/null' 60 "net3 answers dom0" || exit 1
	id3=$(guest_id net3)
	wget -q -O - http://10.9.0.13/file | sha256sum >/tmp/sum &
	fetching=$!
	wait_node "/local/domain/0/backend/vif/$id3/0/state" 20 '[ "$value" = 4 ]' || lab_fail "net3 is not connected"
	xl migrate -s '' net3 'xl migrate-receive' >/tmp/out 2>&1 || { cat /tmp/out; lab_fail "xl migrate"; }
	wait $fetching
	read -r sum _ </tmp/sum
	want=$(wget -q -O - http://10.9.0.13/sum | cut -d ' ' -f 1)
	[ -n "$want" ] && [ "$sum" = "$want" ] || lab_fail "across a migration: sums differ: $sum, $want"
	echo "   $mib MiB by HTTP across it, equal SHA-256"
	xl domid net3 >"$lab_dir/net3.id"
	[ "$(xl domid net3)" != "$id3" ] || lab_fail "the domain is the same one"
	wait_for "[ ! -e /sys/class/net/vif$id3.0 ]" 5 "the TAP of the domain before gone" || exit 1
	guest_destroy net3 || exit 1
fi

show "what is left: no domain, no device, no interface"
assert_clean || exit 1
wait_for '! ls /sys/class/net | grep -q "^vif"' 5 "no TAP" || exit 1
lsmod | grep xen_netback && lab_fail "xen-netback was loaded"
kill $backd
wait $backd || lab_fail "pvbackd ended with status $?"
echo
echo "PASS: two guests with stock kernels on NICs of pvbackd: bridge and switch, $mib MiB each way, all sums right"
