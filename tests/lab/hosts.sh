#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Migration between two hosts of a stock guest with a disk that both reach by NBD and a NIC on a bridge that spans both, while
# fio verifies what it writes and TCP streams to both hosts run. With move it goes to and fro, ROUNDS (3) times each way; with a step
# of the hand-over, or several, somebody dies there, and then exactly one guest runs, on the host where it has to.
#   lab/two --nbd FILE --with-fio --file tests/lab/pvl-functions.sh --file tests/lab/hosts-guest.sh --file tests/lab/hosts-link.sh
#	tests/lab/hosts.sh [move] [banner] [stream] [ready] [go] [report]
# GUEST=pvh: live. Else PV, and cold, as QEMU's Xen has no log-dirty mode for PV guests.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
. /root/pvl-functions.sh
[ $# -gt 0 ] || set -- move banner stream ready go report
g=mover type=${GUEST:-pv} rounds=${ROUNDS:-3} net=10.9.9
cold=(--cold)
[ "$type" = pv ] || cold=()

# ---- both hosts

mkdir -p /var/log/pvbus /run/sshd /run/link
modprobe tun && modprobe bridge || exit
brctl addbr xenbr0 && brctl addif xenbr0 lan && ip link set xenbr0 up && ip addr add "$net.$LAB_LAN/24" dev xenbr0 || exit
/usr/sbin/sshd || exit
pvbackd 2>>/var/log/pvbus/pvbackd.log &
backd=$!
wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
nc -ll -p 5000 -e cat &
echo=$!
printf '%s\n' '#!/bin/bash' '. /lab/functions.sh' '"$@"' >/run/with-functions
chmod 755 /run/with-functions

leave() {
	assert_clean || failed=1
	kill $echo "$backd"
	wait "$backd" || fail "pvbackd ended with status $?"
	[ -z "$(ls /run/pvbackd/incoming 2>/dev/null)" ] || fail "left: $(ls /run/pvbackd/incoming)"
	[ -z "$(xenstore-list /tool/pvl/incoming 2>/dev/null)" ] || fail "left in xenstore: $(xenstore-ls /tool/pvl)"
	exit "$failed"
}
if [ "$LAB_LAN" = 2 ]; then
	wait_for '[ -e /run/over ]' 100000
	leave
fi

# ---- the first directs

# on HOST COMMAND...: with the functions of the lab
on() {
	local host=$1
	shift
	# shellcheck disable=SC2029 # quoted for the shell there
	if [ "$host" = "$LAB_LAN" ]; then /run/with-functions "$@"; else ssh "$net.$host" "$(printf '%q ' /run/with-functions "$@")"; fi
}
wait_for "on 2 true 2>/dev/null" 120 "the other host" || exit 1
trap 'on 2 touch /run/over' EXIT

names() { on "$1" pvl list --names 2>&1 | grep -v '^Domain-0$'; }
# in_guest HOST COMMAND
in_guest() {
	local seq
	# a number that it has not had, on whatever host; this may be a subshell
	seq=$(($(cat /run/seq 2>/dev/null || echo 0) + 1))
	echo $seq >/run/seq
	on "$1" sh -c "rm -f /run/lab/$g.id; echo $seq >/run/lab/$g.seq"
	on "$1" guest_exec $g "$2" 60
}
# one HOST WHAT: one guest in all, running there, all it does goes on
one() {
	local end=$((SECONDS + 200)) here there before after i
	while :; do
		here=$(names "$1" | xargs) there=$(names $((3 - $1)) | xargs)
		[ "$here" != $g ] || [ -n "$there" ] || ! on "$1" pvl list $g | grep -qE ' [rb-]{2}---- ' || break
		[ $SECONDS -lt $end ] || { fail "$2: not one $g on host $1, but there: ${here:-none}, on the other: ${there:-none}"; return; }
		sleep 0.5
	done
	before=$(in_guest "$1" 'cat /tmp/disk /tmp/10.*[0-9]; cat /tmp/wrong 2>/dev/null' | xargs)
	for i in {1..60}; do
		after=$(in_guest "$1" 'cat /tmp/disk /tmp/10.*[0-9]; cat /tmp/wrong 2>/dev/null' | xargs)
		[ "$(wc -w <<<"$after")" = 3 ] || break
		# shellcheck disable=SC2086 # three numbers each
		further $before $after && { echo "   $2: one guest, on host $1; passes of fio, lines of the streams: $after"; return; }
		sleep 1
	done
	fail "$2: something in the guest stands still: $before, then $after"
}
further() { [ $# = 6 ] && [ "$4" -gt "$1" ] && [ "$5" -gt "$2" ] && [ "$6" -gt "$3" ]; }
# move FROM WHAT
move() {
	local out
	local t=$EPOCHREALTIME
	if out=$(on "$1" pvl migrate "${cold[@]}" $g $net.$((3 - $1)) 2>&1); then
		echo "   moved from host $1 in $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $t }") s"
	else
		fail "$2: $(tail -n 3 <<<"$out")"
	fi
	one $((3 - $1)) "$2"
}

receiver() { # HOST: processes there that receive; not those that settle
	# shellcheck disable=SC2016 # for that shell
	on "$1" bash -c 'for p in /proc/[0-9]*; do
		c=$(tr "\0" " " <$p/cmdline) && case "$c" in *--settle*) ;; "pvl migrate-receive"*) echo ${p#/proc/} ;; esac
	done 2>/dev/null'
}
do_kill() { # WHOM
	local pid
	case $1 in
	sender) kill -KILL "$sender" ;;
	held) kill -STOP "$sender" ;; # it does not notice what is killed next
	receiver)
		pid=$(receiver 2)
		[ -n "$pid" ] || { fail "no receiver"; return; }
		on 2 kill -KILL "$pid"
		;;
	ssh) touch /run/link/drop; kill -KILL "$(cat /run/link/ssh)" ;;
	hung) kill -STOP "$(cat /run/link/ssh)" ;;
	net) ip link set lan down ;;
	esac
}
# dies STEP HOST WHOM...: where the guest has to be then
dies() {
	local step=$1 host=$2 whom
	shift 2

	rm -f /run/link/*
	echo "$step" >/run/link/hold
	pvl --json-lines migrate "${cold[@]}" -s 'bash /root/hosts-link.sh' $g $net.2 >/run/link/out 2>&1 &
	sender=$!
	if [ "$step" = go ]; then
		wait_for 'grep -q "handed over" /run/link/out' 150 "\"go\"" || fail "no go: $(cat /run/link/out)"
	else
		wait_for "[ \"\$(cat /run/link/word 2>/dev/null)\" = $step ]" 150 "step $step" || fail "no $step: $(cat /run/link/out)"
	fi
	for whom; do do_kill "$whom"; done
	echo none >/run/link/hold
	case " $* " in *" net "*)
		# both sides' ssh give up after 15 s, and the first question gets no answer
		sleep 40
		ip link set lan up
		;;
	esac
	wait $sender
	echo "   $step, killed: $*: sender ends with $?: $(grep -v '"progress"' /run/link/out | tail -n 1 | cut -c 1-200)"
	! [ -e /run/link/ssh ] || kill -KILL "$(cat /run/link/ssh)" 2>/dev/null
	one "$host" "$step, killed: $*"
	[ "$host" = 1 ] || move 2 "and back"
}

echo "== a $type guest on host 1, its disk on NBD"
mem=160
[ "$type" = pv ] || mem=192
guest_create $g "$type" --fio --mem $mem --disk "format=raw,vdev=xvda,access=rw,backendtype=phy,script=block-pvbus,target=nbd:10.0.2.2:$LAB_NBD" \
	--vif "bridge=xenbr0,mac=00:16:3e:09:09:0a" --file /root/hosts-guest.sh \
	--cmd "ip addr add $net.10/24 dev eth0; ip link set eth0 up; sh /root/hosts-guest.sh $net.1 $net.2" || exit 1
guest_wait $g || exit 1
wait_for "in_guest 1 'ls /tmp/disk /tmp/$net.1 /tmp/$net.2' >/dev/null" 60 "fio and streams" || { in_guest 1 'cat /tmp/wrong'; fail "the guest's work does not begin"; }
one 1 "at the start"

for step; do
	echo "== $step"
	case $step in
	move)
		for ((i = 1; i <= rounds; i++)); do
			move 1 "there, $i"
			move 2 "back, $i"
		done
		;;
	banner | stream | ready)
		for whom in sender receiver ssh "held receiver sender"; do
			# shellcheck disable=SC2086 # words
			dies "$step" 1 $whom
		done
		;;
	go)
		dies go 2 sender
		dies go 1 receiver
		dies go 1 ssh
		dies go 1 hung
		dies go 1 sender ssh
		dies go 1 net
		;;
	report)
		dies report 2 sender
		dies report 2 ssh
		;;
	*) fail "no step $step" ;;
	esac
	[ "$failed" = 0 ] || break
done

echo "== end"
host=1
[ -n "$(names 1)" ] || host=2
on $host pvl destroy $g || failed=1
# shellcheck disable=SC2016 # evaluated later
wait_for '[ -z "$(names 1)$(names 2)" ]' 30 "both hosts are empty" || failed=1
[ "$failed" -ne 0 ] || echo "PASS: between two hosts: $*"
trap - EXIT
on 2 touch /run/over
leave
