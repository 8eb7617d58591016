#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl on a local fabric: each command does what it says or fails and says why, and leaves nothing behind.
set -u
builddir=${abs_top_builddir:-$(cd "$(dirname "$0")/.." && pwd)/build/main}
PATH=$builddir/backend:$builddir/bus:$builddir/toolstack:$builddir/frontend/user:$PATH
for tool in pvlocald pvbackd pvl pvguest; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done
# libxlutil, which pvl asks about configurations, loses a few bytes
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}

dir=$(mktemp -d /tmp/pvl-local.XXXXXX)
cd "$dir" || exit 99
f=$dir/f backd="" failed=0
export PVBUS_HV=local:$f
stop() { # PID
	kill "$1" 2>/dev/null && for ((n = 0; n < 100; n++)); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.05; done
}
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
	[ "$failed" = 0 ] || tail -n 20 "$f"/log/*.log "$dir"/*.log 2>/dev/null
	for id in $(p list --names 2>/dev/null | grep -v Domain-0); do p destroy "$id" >/dev/null 2>&1; done
	[ -z "$backd" ] || stop "$backd"
	[ ! -s "$dir/localpid" ] || stop "$(cat "$dir/localpid")"
	cd / && rm -rf "$dir"
}
trap cleanup EXIT
p() { pvl --host "local:$f" "$@"; }

# want STATUS REGEX WHAT... : run pvl; its status, and what both its outputs must contain
want() {
	local status=$1 regex=$2 rc=0
	shift 2
	p "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	if [ $rc -ne "$status" ] || ! { cat "$dir/out" "$dir/err"; echo; } | grep -qE -- "$regex"; then
		echo "FAIL: pvl $*: status $rc (wanted $status), output (wanted /$regex/):"
		cat "$dir/out" "$dir/err"
		failed=1
	fi
}
check() { # WHAT COMMAND...
	local what=$1
	shift
	"$@" || { echo "FAIL: $what"; failed=1; }
}
# shellcheck disable=SC2317 # check calls it
until_true() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}
node() { XENSTORED_PATH=$f/store xenstore-read "$1" 2>/dev/null; }
children() { XENSTORED_PATH=$f/store xenstore-list "$1" 2>/dev/null; }
have_store=$(command -v xenstore-list)

want 1 'no local fabric at .*pvlocald --dir' list
pvlocald --dir "$f" --pidfile "$dir/localpid" >pvlocald.log 2>&1 || { echo "FAIL: pvlocald does not start"; exit 1; }
want 0 '^Domain-0 +0 ' list
want 1 'error: daemon: .*running' doctor
want 1 '"ok": ?false' --json doctor

truncate -s 4M a.img b.img
cat >g.cfg <<-END
	name = "g"
	memory = 16
	guest = "pvguest --nbd unix:$dir/nbd --pidfile $dir/gpid --pool 64 --buffer 1M"
	disk = [ "format=raw,vdev=xvda,access=rw,target=$dir/a.img", "$dir/b.img,raw,xvdb,ro" ]
	on_crash = "preserve"
END
want 0 '"vdev": ?"xvdb"' create -N g.cfg
# without a back end nothing comes into being
want 1 'is pvbackd running' --timeout 1 create g.cfg
want 0 '^Domain-0$' list --names
[ "$(p list --names)" = Domain-0 ] || { echo "FAIL: a domain is left"; failed=1; }

mkfifo ready
pvbackd --nice 7 --ready-fd 3 3>ready 2>pvbackd.log & # lower is for everybody, the default is not
backd=$!
cat ready
want 0 'all well' doctor

# create, look
want 0 'created domain [0-9]+' create -p g.cfg
want 0 '^g +[0-9]+ +16 +1 +--p---' list g
want 0 '"state": ?"paused"' --json list g
want 1 'paused and can not answer' shutdown g
want 0 '' unpause g
check "the guest is up" until_true 20 test -s gpid
want 0 '^g +[0-9]+ +16 +1 +[rb-]{2}----' list g
check "its worker has the priority asked for" [ "$(cut -d ' ' -f 19 "/proc/$(tr -d " " </proc/$backd/task/$backd/children)/stat")" = 7 ]
want 0 '^[0-9]+$' domid g
id=$(p domid g)
want 0 '^g$' domname "$id"
want 0 '^[0-9a-f-]{36} +'"$id"' +g$' vm-list
want 0 "^g +$id +0:00" uptime g
want 0 '^1$' info domains
want 1 'no field "nofield"' info nofield
want 0 '"on_crash": ?"preserve"' list -l g
want 1 'no domain "nobody"' list nobody
want 1 'there is a domain "g" already' create g.cfg
want 1 'no console.*log/g.log' console g

# wrong usage, prefixes, options after arguments
want 2 'could be domid domname doctor' 'do'
want 2 'no command "frobnicate"' frobnicate
want 2 'at least 2 needed' block-attach g
want 2 'Usage: pvl list' list --nonsense
want 2 'not a number of seconds' --timeout soon list
want 0 '"name": ?"g"' li g --json
want 0 '^\{"name":"g",.*\}$' --json-lines list
want 1 'host local has no such operation' vcpu-list
want 1 '^\{"ok":false,"error":"host local has no such operation"\}$' save g "$dir/saved" --json-lines
want 2 'not a size' mem-set g 12q

# wait, device, top, and what the shells ask for
want 0 '"state": ?"connected"' --json wait g connected
want 1 'no domain "later" yet' --timeout 1 wait later created
want 0 '' wait later gone
want 1 'no domain "later"' wait later shutdown
want 2 'is not created' wait g happy
want 0 '^ +ring-ref0? +[0-9]+$' device show g xvda
want 0 '^counters:$' device show g 51712
want 0 '"back": ?\{' --json device show g xvdb
want 1 'no device "xvdq": a disk is xvda' device show g xvdq
want 0 '^g +[0-9]+ [rb-]{2}---- .* 2 +[0-9]+ +[0-9]+$' top -b -d 1 -i 1
want 0 '"cpu_percent": ?[0-9.]+' --json top -d 1
[ "$(p --json-lines top -d 1 -i 2 | grep -c '^{"name":"g",.*"vbds":2')" = 2 ] || { echo "FAIL: top -i 2"; failed=1; }
[ "$(p --json-lines stats -w 1 --count 2 g | grep -c '"vdev":"xvda"')" = 2 ] || { echo "FAIL: stats -w"; failed=1; }
want 2 'goes with --watch' stats --count 2
[ "$(p help --complete -- block-detach g x | xargs)" = "xvda xvdb" ] || { echo "FAIL: completion of disks"; failed=1; }
[ "$(p help --complete -- pause '' | xargs)" = "Domain-0 g" ] || { echo "FAIL: completion of domains"; failed=1; }

# rename
want 1 'not a domain name' rename g 'a b'
want 0 '' rename g h
want 0 '^h ' list h
want 0 '' rename h g
# names of migration, which has left something behind
want 0 '' rename g g--incoming
want 1 'migration: domain [0-9]+ .g--incoming. is a copy that was never started' doctor
want 0 '' rename g--incoming g--migratedaway
want 1 'migration: domain [0-9]+ .g--migratedaway. has been sent' doctor
want 0 '' rename g--migratedaway g

# pause
want 0 '' pause g
want 0 ' --p---' list g
want 0 '' pause g
want 0 '' unpause g

# disks
want 0 '^51712 0   '"$id"' +4 ' block-list g
want 0 '"front_state": ?"Connected"' --json block-list g
[ "$(p block-list --names g | xargs)" = "xvda xvdb" ] || { echo "FAIL: block-list --names"; failed=1; }
want 1 'has a disk xvdb already' block-attach g "$dir/b.img,raw,xvdb,r"
want 1 'disk: no device name' block-attach g "$dir/b.img"
want 0 '"target": ?"mem:1M"' -N block-attach g vdev=xvdc target=mem:1M
truncate -s 1M c.img
want 1 'No such file|can not be opened|nonexistent' --timeout 5 block-attach g "vdev=xvdc,target=$dir/nonexistent.img"
want 0 '"vdev": ?"xvdc"' --json block-attach --no-wait g "vdev=xvdc,target=$dir/c.img"
want 0 'xvdc' block-list --names g
want 0 '' block-detach g xvdc --timeout 5
want 0 '"front_state": ?"Connected"' --json block-attach g "vdev=xvdc,target=$dir/c.img"
want 0 '' block-detach g xvdc
# what no driver connects to is taken away
p wait idle created >waited 2>&1 &
waiter=$!
want 0 'created' create /dev/null name=idle memory=4 'guest=sleep 1000'
wait $waiter || { echo "FAIL: wait idle created: $(cat waited)"; failed=1; }
want 1 'not connected after 1000 ms.*taken away' --timeout 1 block-attach idle "vdev=xvdc,target=$dir/c.img"
want 1 'has no disk "xvdc"' block-detach idle xvdc
[ -z "$(p block-list --names idle)" ] || { echo "FAIL: xvdc is left"; failed=1; }
want 0 '' destroy idle
p pause g
want 0 'will connect once it runs' block-attach g "vdev=xvdc,target=$dir/c.img"
p unpause g
check "it connects once the guest runs" until_true 10 sh -c "pvl --host local:$f block-list g | grep -q '^51744 0 .* 4 '"
want 0 '' block-detach g xvdc

# a guest that does not let go keeps the disk, whole
p pause g
want 1 'not released within 1000 ms.*--force takes it away' --timeout 1 block-detach g xvdb
want 0 '^51728 0   '"$id"' +4 ' block-list g
[ -z "$have_store" ] || check "xvdb is online and Connected" \
	test "$(node /local/domain/0/backend/vbd/"$id"/51728/online)$(node /local/domain/0/backend/vbd/"$id"/51728/state)" = 14
p unpause g
if command -v nbdinfo >/dev/null; then
	check "xvdb still works" sh -c "nbdinfo --size 'nbd+unix:///xvdb?socket=$dir/nbd' >/dev/null"
fi
want 0 'xvdb' -N block-detach g xvdb
want 0 '' block-detach g xvdb
want 1 'has no disk "xvdb"' block-detach g xvdb
p pause g
want 0 '' --timeout 1 block-detach -f g xvda
p unpause g
[ -z "$have_store" ] || check "no back end is left" test -z "$(children /local/domain/0/backend/vbd/"$id")"

# NICs, on ports that need no rights
cat >n.cfg <<-END
	name = "n"
	memory = 16
	guest = "pvguest --nic 0,tap=off --nic 1,tap=off"
	vif = [ "port=switch:lan,mac=00:16:3e:00:00:01" ]
END
want 0 'created' create n.cfg
check "its NIC connects" until_true 20 sh -c "pvl --host local:$f network-list n | grep -qE '^0 +0 .* 4 '"
id=$(p domid n)
want 0 "^0 +0 +00:16:3e:00:00:01 +0 +4 .*/local/domain/0/backend/vif/$id/0 *\$" network-list n
want 0 '"port": ?"switch:lan"' --json network-list n
want 1 'has a NIC 0 already' network-attach n devid=0 port=null
want 1 'NIC 1: .*no-such-port' --timeout 5 network-attach n port=no-such-port
want 0 '"port": ?"null"' -N network-attach n port=null
want 0 '"devid": ?1,' --json network-attach n port=null mac=00:16:3e:00:00:02
[ "$(p network-list --names n | xargs)" = "0 1" ] || { echo "FAIL: network-list --names"; failed=1; }
want 0 "^ +$id +0 Connected +00:16:3e:00:00:01" stats n
want 0 '"tx_dropped_spoof"' --json stats n vif1
want 0 "^pvbus_vif_tx_packets_total\{domid=\"$id\",devid=\"0\",queue=\"0\"\} [0-9]+\$" stats --prometheus
want 1 'serves no such device' stats n vif7
want 0 '00:16:3e:00:00:02' -N network-detach n 1
want 0 '' network-detach n 00:16:3E:00:00:02
want 1 'has no NIC "1"' network-detach n 1
want 1 'not connected after 1000 ms.*taken away' --timeout 1 network-attach n devid=2 port=null
[ "$(p network-list --names n)" = 0 ] || { echo "FAIL: NIC 2 is left"; failed=1; }
p pause n
want 0 '' --timeout 1 network-detach -f n 0
p unpause n
[ -z "$have_store" ] || check "no NIC's back end is left" test -z "$(children /local/domain/0/backend/vif/"$id")"
want 0 'all well' doctor
want 0 '' destroy n
id=$(p domid g)

# what a guest writes into its own nodes leads nobody astray; leftovers are found
if [ -n "$have_store" ]; then
	p destroy g
	rm -f gpid
	want 0 'created' create g.cfg
	check "the guest is up" until_true 20 test -s gpid
	id=$(p domid g)
	as_guest() { XENSTORED_PATH=$f/dom/$id/store "$@"; }
	as_guest xenstore-write device/vbd/51712/backend /local/domain/0/backend/vbd/999/51712 device/vbd/51712/backend-id 7
	want 0 "^51712 0   $id .*/local/domain/0/backend/vbd/$id/51712\$" block-list g
	as_guest xenstore-rm device/vbd/51728 # a device that the guest hides is still ours to take away
	want 1 'stale|stuck' doctor
	want 0 '' --timeout 2 block-detach -f g xvdb
	check "its back end is gone" test -z "$(node "/local/domain/0/backend/vbd/$id/51728/state")"
	XENSTORED_PATH=$f/store xenstore-write /local/domain/0/backend/vbd/99/51712/state 4
	want 1 'stale: /local/domain/0/backend/vbd/99: the domain is gone' doctor
	want 1 '"check": ?"stale"' --json doctor
	XENSTORED_PATH=$f/store xenstore-rm /local/domain/0/backend/vbd/99
fi

# counters
p destroy g && rm -f gpid
want 0 'created' create g.cfg
check "the guest is up" until_true 20 test -s gpid
id=$(p domid g)
want 0 "^ +$id xvda +Connected +file" stats g
want 0 '"latency_us"' --json stats g xvda
want 0 "^pvbus_vbd_requests_total\{domid=\"$id\",vdev=\"xvda\",queue=\"0\",op=\"read\"\} [0-9]+\$" stats --prometheus
want 1 'serves no such device' stats g xvdz

# pvbackd itself
want 0 '^version +: [0-9.]+$' backend info
want 0 '"journal": *"' --json backend info
want 0 '' backend refresh g xvda
want 0 '' backend policy g xvda io-error stop
want 0 '' backend resume g xvda
want 1 'class is enospc, flush-error or io-error' backend policy g xvda odd stop
want 1 'no such disk is attached' backend resume g xvdz
want 2 '"again" is not info, upgrade' backend again
want 2 'resume with 1 argument' backend resume g
want 0 'has taken over [0-9]+ devices' backend upgrade

# reboot makes a new domain of the same name
rm -f gpid
want 0 '' reboot -w g
check "it is up again" until_true 20 test -s gpid
new=$(p domid g)
[ "${new:-0}" -gt "$id" ] || { echo "FAIL: after the reboot the domain is ${new:-none}, was $id"; failed=1; }
# a crash: on_crash=preserve keeps it for inspection
kill -9 "$(cat gpid)"
check "it shows as crashed" until_true 10 sh -c "pvl --host local:$f list g | grep -q -- '---sc-'"
want 0 '"shutdown_reason": ?"crash"' --json list g
want 0 '' destroy g
rm -f gpid
want 0 'created' create g.cfg 'on_poweroff="destroy"'
check "the guest is up" until_true 20 test -s gpid
want 0 '' shutdown -ww g
want 1 'no domain "g"' list g
want 2 'exclude' shutdown -a g

# the guest's own exit status tells poweroff from crash
want 0 'created' create /dev/null name=short memory=4 'guest=true'
check "it ends by itself" until_true 10 sh -c "! pvl --host local:$f domid short >/dev/null 2>&1"
want 1 'guest:' create /dev/null name=short 'guest='
want 1 'unknown key "memroy"; did you mean "memory"' create -N /dev/null name=short 'guest=true' memroy=4
want 1 'on_crash.*not destroy, restart or preserve' create -N /dev/null name=short 'guest=true' on_crash=rename-restart
want 0 'created' create -e /dev/null name=alone memory=4 'guest=false'
check "nobody looks after it: it crashed and stays" until_true 10 sh -c "pvl --host local:$f list alone | grep -q -- '---sc-'"
want 0 '' destroy alone
want 1 'there has to be|domain 0' destroy 0

# nothing is left
if [ -n "$have_store" ]; then
	for path in /pvl /vm /local/domain/0/backend/vbd; do
		check "$path is empty: $(children $path | xargs)" test -z "$(children $path)"
	done
	check "no domain has nodes" test "$(children /local/domain | xargs)" = 0
fi
want 0 'all well' doctor
want 0 '^0$' info domains

# when the fabric ends, its guests do
want 0 'created' create /dev/null name=last memory=4 'guest=sleep 1000'
guest=$(node "/pvl/$(p domid last)/pid")
stop "$(cat localpid)"
rm -f localpid
[ -z "$guest" ] || check "the guest ended with its fabric" until_true 10 sh -c "! kill -0 ${guest% *} 2>/dev/null"
kill -0 "$backd" 2>/dev/null && stop "$backd"
backd=""
[ $failed -ne 0 ] || echo "all commands do what they say"
exit $failed
