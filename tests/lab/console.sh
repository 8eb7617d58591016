#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Consoles of stock PV guests under unmodified xl, served by pvbackd in place of xenconsoled, which is in the way at
# first: a shell over TCP, plain and telnet, over the pty with xl console and with pvl console; new clients, a killed
# process and a killed pvbackd; the log; a guest that floods, and another one that answers meanwhile.  With the word pvl
# also a guest by pvl create with pvconsole=, and its reboot.
#   lab/run tests/lab/console.sh [pvl]
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"

logs=/var/log/xen/console
xenconsole=$(echo /usr/lib/xen-*/bin/xenconsole)
backd=""
start_backd() {
	rm -f /tmp/ready
	mkfifo /tmp/ready
	mkdir -p /var/log/pvbus
	pvbackd --consoles "log=$logs/guest-%n.log,rotate=64K,keep=2" --ready-fd 3 3>/tmp/ready 2>>/var/log/pvbus/pvbackd.log &
	backd=$!
	cat /tmp/ready
}
say() { printf '\n== %s\n' "$*"; }
about() { pvl console --show --json "$1"; }
field() { about "$1" | grep -o "\"$2\": *[^,]*" | sed 's/.*: *//; s/"//g'; }
processes() { grep -ls '^pvbackd-console$' /proc/[0-9]*/comm | cut -d / -f 3; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }

# One number after the other, so that an old answer is none.
number=100
# talk PORT: the guest's shell multiplies for who is connected there, within 20 s
talk() {
	local line conn

	number=$((number + 1))
	exec {conn}<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'echo =$((%d * 7))=\r' $number >&$conn
	while read -t 20 -r -u $conn line; do
		[[ $line != *"=$((number * 7))="* ]] || { exec {conn}>&-; return 0; }
	done
	exec {conn}>&-
	return 1
}
answers() { talk "$1" 2>/dev/null; }
# run_in PROGRAM...: the same for a program that is a terminal; it is left with Ctrl-]
run_in() {
	number=$((number + 1))
	rm -f /tmp/keys
	mkfifo /tmp/keys
	"$@" </tmp/keys >/tmp/shown 2>&1 &
	local pid=$! keys
	exec {keys}>/tmp/keys
	printf 'echo =$((%d * 7))=\r' $number >&$keys
	wait_for "grep -q '=$((number * 7))=' /tmp/shown" 20 "the guest's answer by $*" || { cat /tmp/shown; return 1; }
	printf '\035' >&$keys
	exec {keys}>&-
	wait_for "! kill -0 $pid 2>/dev/null" 10 "the end of $*"
}

cat >/tmp/shell.sh <<-'END'
	setsid sh -c 'while :; do PS1="# " sh -i; done </dev/hvc0 >/dev/hvc0 2>&1' &
END

say "xenconsoled serves this one; pvbackd says so and leaves it alone"
guest_create g1 pv --script /tmp/shell.sh || exit 1
guest_wait g1 || lab_fail "the guest says $?"
id=$(guest_id g1)
start_backd
wait_for "xenstore-read /local/domain/0/backend/console/$id/0/error 2>/dev/null" 10 "an error node" || exit 1
xenstore-read "/local/domain/0/backend/console/$id/0/error"
[ "$(xenstore-read "/local/domain/$id/console/tty")" != "$(field g1 tty)" ] || lab_fail "the store names pvbackd's terminal"
is g1 phase waiting || lab_fail "phase: $(field g1 phase)"
pvl doctor | grep -i xenconsoled || lab_fail "doctor does not see it"

say "xenconsoled ends, and this console is pvbackd's"
kill "$(cat /run/xenconsoled.pid)"
wait_for "[ \"\$(pvl console --show --json g1 | grep -c '\"serving\"')\" = 1 ]" 40 "g1's console served" || { about g1; exit 1; }
pvl console --serve "tcp=127.0.0.1:4001 tcp=127.0.0.1:4002,telnet log=$logs/guest-g1.log,rotate=64K,keep=2" g1 || exit 1
talk 4001 || lab_fail "no shell over TCP"
talk 4001 || lab_fail "no shell for the next client"
echo "a shell over TCP, twice"
run_in busybox telnet 127.0.0.1 4002 2>/dev/null || lab_fail "no shell over telnet"
echo "and over telnet"

say "xl console and pvl console on the pty"
# xl console takes no input but from a terminal; xenconsole, which it becomes, does when asked to.
xl console g1 </dev/null >/tmp/seen 2>&1 &
seer=$!
talk 4001 || lab_fail "no shell while xl console looks"
wait_for "grep -q '=$((number * 7))=' /tmp/seen" 10 "the same by xl console" || exit 1
kill $seer
run_in "$xenconsole" --interactive --type pv --num 0 "$id" || lab_fail "xenconsole"
run_in pvl console g1 || lab_fail "pvl console"
echo "both answered and left with Ctrl-]"

say "its process is killed; then pvbackd itself, and all it had"
kill -9 "$(field g1 worker)"
wait_for "pvl console --show --json g1 | grep -q '\"deaths\": *1'" 10 "its death" || exit 1
talk 4001 || lab_fail "no shell after the process died"
run_in "$xenconsole" --interactive --type pv --num 0 "$id" || lab_fail "xenconsole after the process died"
# shellcheck disable=SC2046 # words
kill -9 $backd $(processes)
wait $backd
start_backd
wait_for "answers 4001" 20 "a shell after pvbackd died" || exit 1
run_in "$xenconsole" --interactive --type pv --num 0 "$id" || lab_fail "xenconsole after pvbackd died"
echo "a shell on both, each time; tty is $(xenstore-read "/local/domain/$id/console/tty")"

say "another guest, from its first word on: xl create needs no xenconsoled"
guest_create g2 pv --script /tmp/shell.sh || exit 1
guest_wait g2 || lab_fail "the guest says $?"
guest_log g2 | head -n 3
guest_log g2 | grep -q 'Grant table initialized' || lab_fail "its log has no boot text"

say "it floods"
pvl console --serve "log=$logs/guest-g2.log,rotate=64K,keep=2 rate=32K" g2 || exit 1
guest_exec g2 'setsid sh -c "yes all work and no play makes Jack a dull boy >/dev/hvc0" & sleep 5' >/dev/null
for _ in 1 2 3 4 5; do
	talk 4001 || lab_fail "the other guest does not answer"
done
guest_exec g2 'killall yes'
ls -l $logs/
about g2
[ "$(field g2 throttled)" -gt 0 ] && [ "$(field g2 rotations)" -gt 0 ] || lab_fail "nobody slowed it down"
[ "$(cat $logs/guest-g2.log* | wc -c)" -le $((3 * (64 + 32) * 1024)) ] || lab_fail "it fills the disk"
[ ! -e $logs/guest-g2.log.3 ] || lab_fail "too many logs"

if [ "${1:-}" = pvl ]; then
	say "pvl create with pvconsole=, and a reboot"
	places="pvconsole=['tcp=127.0.0.1:4003', 'log=$logs/guest-g3.log']"
	pvl create /run/lab/cfg/g2.cfg 'name="g3"' "pvconsole='tcp=127.0.0.1:4001'" 2>/tmp/err && lab_fail "an address in use is no error"
	cat /tmp/err
	pvl domid g3 2>/dev/null && lab_fail "a domain is left"
	pvl create /run/lab/cfg/g2.cfg 'name="g3"' "$places" || exit 1
	id=$(pvl domid g3)
	wait_for "answers 4003" 90 "g3's shell" || exit 1
	pvl console --reconnect g3 >/tmp/followed 2>&1 </dev/null &
	follower=$!
	wait_for "answers 4003 && grep -q \"=\$((number * 7))=\" /tmp/followed" 30 "pvl console at work" || { cat /tmp/followed; exit 1; }
	exec {conn}<>/dev/tcp/127.0.0.1/4003
	printf '\rreboot -f\r' >&$conn
	wait_for "new=\$(pvl domid g3 2>/dev/null) && [ \"\$new\" != $id ]" 60 "g3 again" || exit 1
	exec {conn}>&-
	wait_for "answers 4003" 90 "g3's shell after its reboot" || exit 1
	wait_for "tail -n 5 /tmp/followed | grep -q '=$((number * 7))='" 10 "that pvl console has followed" || { tail -5 /tmp/followed; exit 1; }
	kill $follower
	pvl destroy g3 || exit 1
fi

say "the end"
guest_destroy g1 && guest_destroy g2 || exit 1
wait_for '[ -z "$(processes)" ]' 10 "the end of their processes" || exit 1
assert_clean
kill $backd
wait $backd || lab_fail "pvbackd ends with $?"
grep -E "console|ERR|panic" /var/log/pvbus/pvbackd.log | cut -c 1-200
