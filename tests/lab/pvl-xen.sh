#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl on real Xen: guests with stock kernels, disks of pvbackd.  Each command does what it says or fails, says why and
# leaves nothing half done; xl sees what pvl does, and the other way round.
#   lab/run --allow-splat 'sysrq triggered crash|Call Trace' --file tests/lab/pvl-functions.sh tests/lab/pvl-xen.sh [pv|pvh|hvm]...
# (hvm: lab/run --with-qemu)
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
# shellcheck source=tests/lab/pvl-functions.sh
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- pv pvh

# shellcheck disable=SC2317 # check and wait_for call it
monitor_runs() { # [DOMID]
	cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "monitor --ready-fd [0-9]* ${1:-[0-9]}"
}
node() { xenstore-read "$1" 2>/dev/null; }
blanks() { tr -s ' \t' ' ' | sed 's/ $//'; }
same_lists() { # both tools print the same, blanks aside
	[ "$(xl "$@" | blanks)" = "$(pvl "$@" | blanks)" ] || {
		fail "xl and pvl differ: $*"
		xl "$@"
		pvl "$@"
	}
}
start_pvbackd() {
	mkdir -p /var/log/pvbus
	pvbackd 2>>/var/log/pvbus/pvbackd.log &
	backd=$!
	wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
}

want 0 '^xen_version +: 4\.' info
want 0 '^4$' info xen_major
want 1 'no field "nofield"' info nofield
want 0 '^Domain-0 +0 ' list
want 1 'daemon: pvbackd' doctor
start_pvbackd
want 0 'all well' doctor

for type; do
	echo "== $type"
	g=x-$type
	truncate -s 16M /tmp/a.img /tmp/b.img
	disk="backendtype=pvbus,vdev=xvda,target=/tmp/a.img"

	# --- create, and what both tools see
	guest_create "$g" "$type" --disk "$disk" || lab_fail "pvl create: $(cat "/run/lab/cfg/$g.create")"
	guest_up "$g" || exit 1
	id=$(pvl domid "$g")
	want 0 '"vdev": "xvda"' -N create "/run/lab/cfg/$g.cfg"
	want 1 "there is a domain \"$g\" already" create "/run/lab/cfg/$g.cfg"
	want 0 "^$g +$id +[0-9]+ +1 +[rb-]{2}----" list "$g"
	want 0 "\"type\": \"$type\"" --json list "$g"
	[ "$(xl list -l "$g" | tr -d ' \t\n')" = "$(pvl list -l "$g" | tr -d ' \t\n')" ] || {
		fail "list -l differs"
		xl list -l "$g" >/out/xl.json
		pvl list -l "$g" >/out/pvl.json
	}
	check "domid and domname" test "$(xl domname "$id") $(pvl domname "$id")" = "$g $g"
	want 0 "^[0-9a-f-]{36} +$id +$g" vm-list
	want 0 "^$g +$id +0:0" uptime "$g"
	check "its monitor runs" monitor_runs "$id"

	# --- pause, rename, keys
	want 0 '' pause "$g"
	check "xl sees it paused" sh -c "xl list $g | grep -qE -- '-[b-]p---'"
	want 1 'paused and can not answer' shutdown "$g"
	want 0 '' pause "$g"
	want 0 '' unpause "$g"
	check "xl sees it unpaused" sh -c "! xl list $g | grep -qE -- '-[b-]p---'"
	want 0 '' rename "$g" other
	check "xl sees the new name" test "$(xl domid other)" = "$id"
	want 0 '' rename "$id" "$g"
	want 0 '' sysrq "$g" h

	# --- disks
	want 0 '"front_state": "Connected"' --json block-list "$g"
	same_lists block-list "$g"
	want 1 "has a disk xvda already" block-attach "$g" "$disk"
	want 0 '"vdev": "xvdb"' --json block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img
	same_lists block-list "$g"
	want 0 '51728' -N block-detach "$g" xvdb
	check "the guest writes to it" guest_exec "$g" 'echo hello | dd of=/dev/xvdb conv=sync 2>/dev/null && sync'
	check "and it is in the image" grep -q hello /tmp/b.img
	want 0 "^ +$id xvdb +Connected +file" stats "$g"
	want 0 '"latency_us"' --json stats "$g" xvdb
	want 0 "pvbus_vbd_requests_total\{domid=\"$id\",vdev=\"xvdb\",queue=\"0\",op=\"write\"\} [1-9]" stats --prometheus
	want 0 '' block-detach "$g" xvdb
	same_lists block-list "$g"
	check "the guest has no xvdb" guest_exec "$g" '! grep -q xvdb /proc/partitions'
	want 1 'has no disk "xvdb"' block-detach "$g" xvdb

	# one tool attaches, the other detaches
	check "xl block-attach" xl block-attach "$g" "format=raw,vdev=xvdb,backendtype=phy,script=block-pvbus,target=/tmp/b.img"
	# shellcheck disable=SC2016 # wait_node evaluates it
	check "it connects" wait_node "/local/domain/$id/device/vbd/51728/state" 20 '[ "$value" = 4 ]'
	want 0 '' block-detach "$g" xvdb
	want 0 'xvdb' --json block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img
	check "xl block-detach" xl block-detach "$g" xvdb

	# what can not be attached leaves nothing, and a second try is possible
	want 1 'nope.img' block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/nope.img
	check "nothing is left of it" test -z "$(node "/local/domain/0/backend/vbd/$id/51728/state")$(node "/libxl/$id/device/vbd/51728/backend")"
	want 0 'xvdb' --json block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img

	# a guest that does not let go keeps the disk, whole
	pvl pause "$g"
	want 1 'device is whole' --timeout 2 block-detach "$g" xvdb
	check "back end online and Connected" test \
		"$(node "/local/domain/0/backend/vbd/$id/51728/online")$(node "/local/domain/0/backend/vbd/$id/51728/state")" = 14
	pvl unpause "$g"
	check "the disk still works" guest_exec "$g" 'dd if=/dev/xvdb bs=4k count=1 2>/dev/null | grep -q hello'
	want 0 '' block-detach "$g" xvdb
	# by force, with the guest asleep; it wakes up without the disk and without a hang
	want 0 '' block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img
	pvl pause "$g"
	want 0 '' --timeout 1 block-detach -f "$g" xvdb
	check "no nodes are left" test -z \
		"$(node "/local/domain/0/backend/vbd/$id/51728/state")$(node "/local/domain/$id/device/vbd/51728/state")"
	pvl unpause "$g"
	check "the guest lives on without it" guest_exec "$g" '! grep -q xvdb /proc/partitions; dd if=/dev/xvda of=/dev/null bs=4k count=1 2>/dev/null'

	# --- reboot: another domain, same name, with the disk that came later
	pvl unpause "$g"
	want 0 '' block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img
	want 0 '' reboot -ww "$g"
	check "it comes back" wait_for "new=\$(pvl domid $g 2>/dev/null) && [ \"\$new\" != $id ]" 60
	rm -f "/run/lab/$g.id"
	guest_up "$g" || exit 1
	check "it has both disks" test "$(pvl block-list --names "$g" | xargs)" = "xvda xvdb"
	check "the guest sees both" guest_exec "$g" 'grep -q xvda /proc/partitions && grep -q xvdb /proc/partitions'

	# --- end
	want 0 '' shutdown -ww "$g"
	want 1 "no domain \"$g\"" list "$g"
	assert_clean || failed=1
	check "its monitor is gone" wait_for '! monitor_runs' 10

	guest_create "$g" "$type" --disk "$disk" --paused || exit 1
	want 0 '-[b-]p---' list "$g"
	want 0 'will connect once it runs' block-attach "$g" backendtype=pvbus vdev=xvdb target=/tmp/b.img
	want 0 '' destroy "$g"
	assert_clean || failed=1

	# a crash is carried out as on_crash says (HVM kernels do not tell Xen, they reset the machine)
	if [ "$type" != hvm ]; then
		guest_create "$g" "$type" --disk "$disk" || exit 1
		guest_up "$g" || exit 1
		guest_exec "$g" 'echo 1 >/proc/sys/kernel/sysrq' || exit 1
		want 0 '' sysrq "$g" c
		check "it is destroyed" wait_for "! pvl domid $g >/dev/null 2>&1" 30
		assert_clean || failed=1
	fi
	# without a monitor nobody does what is due
	rm -f "/run/lab/$g.id"
	want 0 'created' create -e "/run/lab/cfg/$g.cfg"
	guest_up "$g" || exit 1
	want 0 '' shutdown -w "$g"
	want 0 '---s--' list "$g"
	want 0 '"shutdown_reason": "poweroff"' --json list "$g"
	pvl monitor "$g" >/tmp/monitor.log 2>&1 &
	check "a monitor carries out what is due" wait_for "! pvl domid $g >/dev/null 2>&1" 30
	wait $! || fail "monitor: status $?: $(cat /tmp/monitor.log)"
	rm -f "/run/lab/$g.id"
	assert_clean || failed=1

	# --- what can not be created leaves nothing
	want 1 'nokernel' create "/run/lab/cfg/$g.cfg" kernel=/nokernel
	want 1 'nope.img' create "/run/lab/cfg/$g.cfg" 'disk=["backendtype=pvbus,vdev=xvda,target=/tmp/nope.img"]'
	want 1 'unknown key "memroy"; did you mean "memory"' create "/run/lab/cfg/$g.cfg" memroy=64
	assert_clean || failed=1
done

# --- with console and monitor in the foreground: it ends as the domain does, and shows what the guest said
pvl create -c -F "/run/lab/cfg/$g.cfg" </dev/null >/tmp/console 2>/tmp/create.log &
creator=$!
wait_for "pvl domid $g >/dev/null 2>&1" 30 || fail "create -c -F"
rm -f "/run/lab/$g.id"
guest_up "$g" || exit 1
want 0 '' shutdown -w "$g"
wait $creator || fail "create -c -F: status $?: $(cat /tmp/create.log)"
check "the console was shown" test -s /tmp/console
assert_clean || failed=1

want 0 'all well' doctor
kill "$backd"
wait "$backd" || fail "pvbackd ended with status $?"

# --- without a back end an attach fails, and nothing is left of it
guest_create last pv || exit 1
guest_up last || exit 1
id=$(pvl domid last)
want 1 'disk xvdb is for pvbackd, but: .*is it running' block-attach last backendtype=pvbus vdev=xvdb target=/tmp/b.img
want 1 'attaching xvdb' --force block-attach last backendtype=pvbus vdev=xvdb target=/tmp/b.img
check "nothing is left of it" test -z "$(node "/local/domain/0/backend/vbd/$id/51728/state")$(node "/libxl/$id/device/vbd/51728/backend")"
# --- stock xen-blkback, stock script, through pvl
modprobe xen-blkback
want 1 'xen-blkback is loaded' doctor
loop=$(losetup -f --show /tmp/b.img)
want 0 'xvdb' --json block-attach last "phy:$loop,xvdb,w"
same_lists block-list last
check "the guest reads it" guest_exec last 'dd if=/dev/xvdb bs=4k count=1 2>/dev/null | grep -q hello'
want 0 '' block-detach last xvdb
want 0 '' destroy last
losetup -d "$loop"
assert_clean || failed=1

[ $failed -ne 0 ] || echo "PASS: pvl on real Xen, guests: $*"
exit $failed
