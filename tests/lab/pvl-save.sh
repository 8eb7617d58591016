#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Save, restore and migrate (within this host) of a stock guest with a disk of pvbackd: by pvl, by xl, and from one to
# the other; and a failure at each step, after which exactly one guest runs, with its memory and its disk.
#   lab/run tests/lab/pvl-save.sh [save] [migrate] [fail]
# PV, so migration is cold: QEMU's Xen has no log-dirty mode for PV guests.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
[ $# -gt 0 ] || set -- save migrate fail
failed=0
g=mover
fail() { echo "FAIL: $*"; failed=1; }
# want STATUS REGEX COMMAND...: its status, and what its outputs together must contain
want() {
	local status=$1 regex=$2 rc=0 started=$EPOCHREALTIME
	shift 2
	"$@" >/tmp/want.out 2>&1 </dev/null || rc=$?
	took=$(awk "BEGIN { print $EPOCHREALTIME - $started }")
	printf '   %-72s status %s, %.1f s\n' "$*" $rc "$took"
	if [ $rc -ne "$status" ] || ! { cat /tmp/want.out; echo; } | grep -qE -- "$regex"; then
		fail "$*: status $rc (wanted $status), output (wanted /$regex/):"
		cat /tmp/want.out
	fi
}
# one WHAT: exactly one guest is there, it runs, remembers what it was told and reads its disk
one() {
	local nr
	nr=$(pvl list --names | grep -c "^$g")
	[ "$nr" = 1 ] || fail "$1: $nr guests: $(pvl list --names | xargs)"
	[ "$(xl domid $g 2>/dev/null)" = "$(pvl domid $g 2>/dev/null)" ] || fail "$1: it is not called $g"
	pvl list $g | grep -qE ' [rb-]{2}---- ' || fail "$1: it does not run: $(pvl list $g | tail -n 1)"
	rm -f /run/lab/$g.id
	told=$((told + 1))
	guest_exec $g "[ \$(cat /run/told) = $((told - 1)) ] && echo $told >/run/told && dd if=/dev/xvda bs=4k count=1 iflag=direct 2>/dev/null | grep -q disk" 60 ||
		fail "$1: it has lost its memory or its disk"
}
monitored() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "monitor --ready-fd [0-9]* $(pvl domid $g)"; }

mkdir -p /var/log/pvbus
pvbackd 2>>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
truncate -s 16M /tmp/a.img
printf 'disk' | dd of=/tmp/a.img conv=notrunc 2>/dev/null
guest_create $g pv --disk "format=raw,vdev=xvda,access=rw,backendtype=phy,script=block-pvbus,target=/tmp/a.img" || exit 1
pvl destroy $g
want 0 'created' pvl create /run/lab/cfg/$g.cfg
rm -f /run/lab/$g.id
guest_up $g || exit 1
guest_exec $g 'echo 0 >/run/told' || exit 1
told=0
one start

for step; do
	echo "== $step"
	case $step in
	save)
		want 0 "progress|saved domain .* to /run/s" pvl save $g /run/s
		want 1 'no domain' pvl domid $g
		want 0 '"name": ?"mover"' pvl -N restore /run/s
		want 0 'restored domain' pvl restore /run/s
		one "saved and restored by pvl"
		monitored || fail "it has no monitor"
		want 1 'there is a domain "mover" already' pvl restore /run/s
		one "restored twice"

		want 0 '"event":"progress"' pvl --json-lines save -c $g /run/s
		one "checkpoint"
		want 0 '' pvl save -p $g /run/s
		pvl list $g | grep -q -- '-[b-]p---' || fail "save -p leaves it $(pvl list $g)"
		want 0 '' pvl unpause $g
		one "saved and paused"
		wait_for monitored 5 || fail "its monitor is gone after save -c"

		want 0 '' pvl save $g /run/s
		want 0 '' xl restore /run/s
		one "saved by pvl, restored by xl"
		want 2 '"0" is not a number of MiB' pvl save --bandwidth 0 $g /run/s
		want 0 'saved' pvl save --bandwidth 40 $g /run/s
		[ "$(cut -d. -f1 <<<"$took")" -ge $(($(stat -c %s /run/s) / 41943040)) ] || fail "$(stat -c %s /run/s) bytes in $took s"
		want 0 'restored' pvl restore /run/s
		one "saved slowly"
		want 0 '' xl save $g /run/s
		want 0 'restored' pvl restore /run/s
		one "saved by xl, restored by pvl"
		;;
	migrate)
		want 0 'migrated' pvl migrate --bandwidth 60 --cold -s '' $g 'xl migrate-receive'
		one "sent by pvl, received by xl"
		want 0 'migrated' pvl migrate --cold -s '' $g 'pvl migrate-receive'
		one "migrated by pvl"
		monitored || fail "it has no monitor"
		;;
	fail)
		want 1 'No space left' pvl save $g /dev/full
		one "disk full"
		want 1 'nodir' pvl save $g /nodir/s
		one "no directory"
		echo before >/run/t
		mount -t tmpfs -o size=8m none /mnt
		echo before >/mnt/t
		want 1 'runs on' pvl save $g /mnt/t
		[ "$(cat /mnt/t)" = before ] && [ "$(find /mnt -type f | wc -l)" = 1 ] || fail "a failed save spoils files: $(ls -l /mnt)"
		umount /mnt
		one "no room"
		pvl save -q -c $g /run/s
		head -c 3000000 /run/s >/run/short
		sed 's/^name.*/name = "other"/' /run/lab/cfg/$g.cfg >/run/other.cfg
		want 1 'building' pvl restore /run/other.cfg /run/short
		pvl domid other 2>/dev/null && fail "half a domain is left"
		head -c 20 /run/s >/run/short
		want 1 'not a saved domain' pvl restore /run/short
		one "short files"

		# the receiver: does not start; is no receiver; ends in the stream; ends before ready; cannot go; dies after go
		want 1 'receiver.*runs on' pvl migrate --cold -s '' $g 'false'
		one "no receiver"
		want 1 'something else.*runs on' pvl migrate --cold -s '' $g 'yes no'
		one "another program"
		want 1 'log-dirty|saving.*runs on' pvl migrate -s '' $g 'pvl migrate-receive'
		one "no log-dirty mode"
		want 1 'runs on' pvl migrate --cold -s '' $g 'head -c 5000000 | pvl migrate-receive'
		one "the stream ends"
		want 1 'runs on' pvl migrate --cold -s '' $g 'pvl migrate-receive | head -c 54'
		one "no ready"
		# shellcheck disable=SC2016 # for that shell
		dying='case "$*" in *settle*) exec pvl migrate-receive "$@" ;; esac
			exec 3<&0; mkfifo /run/p; pvl migrate-receive <&3 3<&- >/run/p & r=$!; exec 3<&-; exec 4</run/p; rm /run/p
			head -c 54 <&4; head -c 34 <&4 >/run/said; kill -KILL $r; wait $r; cat /run/said'
		echo "$dying" >/run/dying
		want 1 'asking again.*' pvl migrate --cold -s '' $g 'sh /run/dying'
		one "the receiver dies before it starts the guest"

		# the sender: stopped by a signal, killed with the guest suspended
		pvl migrate --cold -s '' $g 'cat >/dev/null' >/tmp/sender 2>&1 &
		sender=$!
		kill $sender
		wait $sender && fail "a stopped sender succeeds"
		one "the sender is stopped"
		mkfifo /run/slow
		pvl save $g /run/slow >/tmp/sender 2>&1 &
		sender=$!
		exec 5</run/slow
		head -c 1000000 <&5 >/dev/null
		wait_for "pvl list $g | grep -q -- '---ss-'" 20 "suspended"
		kill -KILL $sender
		exec 5<&-
		rm /run/slow
		wait_for "pvl list $g | grep -qE ' [rb-]{2}---- '" 20 "it goes on" || pvl list
		one "the sender is killed"
		;;
	esac
done

want 0 '' pvl destroy $g
wait_for '! pvl list --names | grep -v Domain-0' 20 || fail "left: $(pvl list)"
assert_clean || failed=1
kill "$backd"
wait "$backd" || fail "pvbackd ended with status $?"
[ $failed -ne 0 ] || echo "PASS: saved, restored, moved: $*"
exit $failed
