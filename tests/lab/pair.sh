#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One NIC of a guest that is made of a synthetic and a passed-through one: frames take the passed NIC while it is there, and ours
# otherwise; detaching and attaching, the driver's going and coming, back ends that die, saving and restoring.
#   lab/run --iommu [--with-qemu --mem 2560 --env GUEST=hvm] --file pvnet.ko --file tests/lab/blk-functions.sh --file tests/lab/pvl-functions.sh --file tests/lab/pair-guest.sh tests/lab/pair.sh [STEP...]
# Both lead to a 10.0.2.2 of one address: behind the passed NIC that of QEMU's user network, behind ours dom0's bridge.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/blk-functions.sh
. /root/blk-functions.sh
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- wrong missing switch reload killed hotplug save migrate

bdf=00:10.0
type=${GUEST:-pv}
peer_mac=52:55:0a:00:02:02 # what QEMU's user network says of 10.0.2.2

in_guest() { # NAME WORD [ARG...]
	local name=$1
	shift
	guest_exec "$name" "sh /root/pair-guest.sh $*" 120 || { fail "$*"; return 1; }
}

create() { # NAME [APPEND]
	local more=(--config e820_host=1 --mem 192)

	[ "$type" = pv ] || more=(--mem 224)
	guest_create "$1" "$type" "${more[@]}" --vif "type=vif,bridge=xenbr0,pair=$bdf" --append "iommu=soft ipv6.disable=1 lab.wait=0 lab.modules=xen-blkfront,xen-pcifront,e1000e ${2:-}" \
		--config 'passthrough="enabled"' --file /root/pvnet.ko --file /root/pair-guest.sh \
		--cmd 'insmod /root/pvnet.ko' && guest_wait "$1"
}

# Both ends are told, and the address is the card's.
step_wrong() {
	local id

	id=$(guest_id g1)
	check "the front end is told" test "$(xenstore-read "/local/domain/$id/device/vif/0/pair")" = 1
	check "the back end is told" test "$(xenstore-read "/local/domain/0/backend/vif/$id/0/pair")" = 0000:$bdf
	check "the address is the card's" test "$(xenstore-read "/local/domain/$id/device/vif/0/mac")" = "$mac"
	want 0 "\"pair\": \"0000:$bdf\"" --json network-list g1
	want 1 "mac=00:16:3e:00:00:01, but pair=0000:$bdf has $mac" network-attach g1 bridge=xenbr0 pair=$bdf mac=00:16:3e:00:00:01
	want 1 'pair=0000:00:13.0 is no NIC' network-attach g1 bridge=xenbr0 pair=00:13.0
	want 1 "pair=0000:05:00.0: that NIC's address is not known; say mac=" network-attach g1 bridge=xenbr0 pair=05:00.0
	want 1 "mac=00:16:3e:00:00:01, but pair=0000:$bdf has $mac" create "/run/lab/cfg/g1.cfg" name=g9 "vif=['pair=$bdf,mac=00:16:3e:00:00:01']"
}

# Without net_failover: a word in the log, and a NIC that works alone.
step_missing() {
	create g0 module_blacklist=net_failover && in_guest g0 alone || return
	check "one line says why" test "$(guest_exec g0 'dmesg | grep -c "there is no kernel module net_failover"')" = 1
	in_guest g0 sane
	guest_destroy g0
}

# Frames take the passed NIC while it is there, and the bridge learns where the guest is as soon as it is gone.
step_switch() {
	local i vif

	vif=vif$(guest_id g1).0
	for i in 1 2 3; do
		want 0 '' pci-attach g1 $bdf
		in_guest g1 attached && in_guest g1 over passed 5 || return
		bridge fdb del $mac dev "$vif" master 2>/dev/null
		want 0 '' pci-detach g1 $bdf
		in_guest g1 detached || return
		wait_for "bridge fdb show dev $vif | grep -q ^$mac" 10 "the bridge knows where the guest is" || fail "no announcement"
		in_guest g1 over pv 5 || return
	done
}

# The module comes and goes, with the passed NIC and without.
step_reload() {
	in_guest g1 reload 3 && in_guest g1 over pv 3 || return
	want 0 '' pci-attach g1 $bdf
	in_guest g1 attached && in_guest g1 reload 3 && in_guest g1 attached && in_guest g1 over passed 3 || return
	want 0 '' pci-detach g1 $bdf
	in_guest g1 detached && in_guest g1 over pv 3
}

step_killed() {
	local i id pid

	id=$(guest_id g1)
	for i in 1 2; do
		pid=$(worker_of "$id")
		expected+=("domain $id: worker $pid died by signal 9" "vif $id/0 .*goes on, after")
		kill -9 "$pid"
		wait_for "[ -n \"\$(worker_of $id)\" ] && [ \"\$(worker_of $id)\" != $pid ]" 20 || return
		in_guest g1 over pv 3 || return
		want 0 '' pci-attach g1 $bdf
		in_guest g1 attached && in_guest g1 over passed 3 || return
		want 0 '' pci-detach g1 $bdf
		in_guest g1 detached || return
	done
}

# A running guest gets another pair: both keys are there before its driver looks.
step_hotplug() {
	local i

	for i in 1 2 3; do
		want 0 '"pair": "0000:00:11.0"' --json network-attach g1 bridge=xenbr0 pair=00:11.0
		check "there are two pairs" test "$(guest_exec g1 'ls -d /sys/class/net/*/lower_* | wc -l')" = 2
		want 0 '' network-detach g1 1
	done
}

# Refused with the card; without it the guest goes on, over the bridge; what fails gives it back.
step_save() {
	want 0 '' pci-attach g1 $bdf
	in_guest g1 attached && in_guest g1 over passed 3 && in_guest g1 pinging && in_guest g1 answered 5 || return
	want 1 'has 1 PCI device of this host; --detach-first' save g1 /run/g1.save
	if [ "$type" = pv ]; then
		# stock Linux would not survive the other end; so it is not tried, unless one says so
		want 1 "is PV and had PCI device 0000:$bdf, which has an interrupt pin" save --detach-first g1 /run/g1.save
		want 1 "is PV and had PCI device 0000:$bdf" migrate --detach-first -s '' g1 'pvl migrate-receive'
		want 0 "attached PCI device 0000:$bdf to domain [0-9]+ again" save -f -c --detach-first g1 /run/g1.save
		rm /run/g1.save
		in_guest g1 attached && in_guest g1 over passed 3 && in_guest g1 pinged || return
		want 0 '' pci-detach g1 $bdf
		in_guest g1 detached && in_guest g1 over pv 3 || return
		want 1 "is PV and had PCI device 0000:$bdf" save g1 /run/g1.save
		return
	fi
	want 0 "would detach PCI device 0000:$bdf" -N save --detach-first g1 /run/g1.save
	want 1 "attached PCI device 0000:$bdf to domain [0-9]+ again" save --detach-first g1 /none/g1.save
	in_guest g1 attached && in_guest g1 over passed 3 || return
	want 0 "attached PCI device 0000:$bdf to domain [0-9]+ again" save -c --detach-first g1 /run/g1.save
	rm /run/g1.save
	in_guest g1 attached && in_guest g1 over passed 3 || return
	want 0 "detached PCI device 0000:$bdf" save --detach-first g1 /run/g1.save
	want 0 'restored' restore /run/g1.save
	rm /run/g1.save
	restored
}

# The guest is another domain by now, and still answered; with a card it is as before.
restored() {
	guest_again g1 && in_guest g1 answered 20 && in_guest g1 pinged && in_guest g1 over pv 3 || return
	check "the front end is told" test "$(xenstore-read "/local/domain/$(guest_id g1)/device/vif/0/pair")" = 1
	want 0 '' pci-attach g1 $bdf
	in_guest g1 attached && in_guest g1 over passed 3 || return
	want 0 '' pci-detach g1 $bdf
	in_guest g1 detached
}

# Within this host, live.
step_migrate() {
	[ "$type" != pv ] || return 0 # as save has it
	want 0 '' pci-attach g1 $bdf
	in_guest g1 attached && in_guest g1 over passed 3 && in_guest g1 pinging && in_guest g1 answered 5 || return
	want 1 "attached PCI device 0000:$bdf to domain [0-9]+ again" migrate --detach-first -s '' g1 false
	in_guest g1 attached && in_guest g1 over passed 3 || return
	want 0 "migrated" migrate --detach-first -s '' g1 'pvl migrate-receive'
	restored
}

modprobe -a xen-pciback e1000e tun bridge || exit
wait_for "[ -d /sys/bus/pci/devices/0000:$bdf/net ]" 20 || exit
mac=$(cat /sys/bus/pci/devices/0000:$bdf/net/*/address) || exit
brctl addbr xenbr0 && ip link set xenbr0 address $peer_mac && ip link set xenbr0 up && ip addr add 10.0.2.2/24 dev xenbr0 || exit
want 0 '' pci-assignable-add $bdf
backd_start --memory 32M
for step; do
	t=$EPOCHREALTIME
	case $step in missing) ;; *) [ -e "$lab_dir/g1.id" ] || { create g1 && in_guest g1 up && in_guest g1 over pv 3; } || break ;; esac
	"step_$step" || fail "$step"
	note "$step: $(since "$t") s"
done
if xl domid g1 >/dev/null 2>&1; then
	in_guest g1 sane || guest_tail g1 40
	[ $failed = 0 ] || { in_guest g1 show; guest_exec g1 'dmesg | tail -n 30'; }
	want 0 '' destroy g1 # what libxl alone leaves of a bus without a device goes, too
fi
all_gone || failed=1
backd_stop
[ $failed != 0 ] || echo "PASS: $*"
exit $failed
