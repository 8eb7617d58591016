#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvlocald as a daemon: starts, says that it listens, refuses a directory in use, ends cleanly, cleans up after
# one that was killed; wrong options.
set -u
build=${abs_top_builddir:-$PWD}
pvlocald=$build/bus/pvlocald
[ -x "$pvlocald" ] || { echo "FAIL: $pvlocald is not built"; exit 1; }
tmp=$(mktemp -d /tmp/pvbus-pvlocald.XXXXXX)
dir=$tmp/fabric pids=""
cleanup() {
	for p in $pids; do kill -9 "$p" 2>/dev/null; done
	rm -rf "$tmp"
}
trap cleanup EXIT
fail() { echo "FAIL: $*"; exit 1; }
# gone PID: wait until the process has ended
gone() {
	for _ in $(seq 500); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.02
	done
	return 1
}

# becomes a daemon and listens when the command returns
"$pvlocald" --dir="$dir" --pidfile="$tmp/pid" || fail "does not start"
pid=$(cat "$tmp/pid") && pids="$pids $pid"
[ "$(cat "$dir/lock")" = "$pid" ] || fail "lock file"
[ -S "$dir/store" ] && [ -S "$dir/ctl" ] || fail "sockets are missing"
[ "$(stat -c %a "$dir/store")" = 600 ] || fail "mode of store"

# a second one: refused, with the first one's pid
if "$pvlocald" -d "$dir" 2>"$tmp/err"; then fail "two in one directory"; fi
grep -q "$pid" "$tmp/err" || fail "does not name the process: $(cat "$tmp/err")"

# SIGTERM: everything is removed
kill "$pid"
gone "$pid" || fail "does not end"
[ ! -e "$dir" ] || fail "left: $(ls -R "$dir")"
[ ! -e "$tmp/pid" ] || fail "left its pidfile"

# killed: the next one starts all the same
"$pvlocald" -d "$dir" -p "$tmp/pid" || fail "does not start again"
pid=$(cat "$tmp/pid") && pids="$pids $pid"
kill -9 "$pid"
gone "$pid" || fail "kill -9"
[ -S "$dir/store" ] || fail "nothing was left by the one killed?"
"$pvlocald" -d "$dir" -p "$tmp/pid" || fail "does not start after a crash"
pid=$(cat "$tmp/pid") && pids="$pids $pid"
kill "$pid"
gone "$pid" || fail "does not end"

# in the foreground, with a descriptor that says when
mkfifo "$tmp/ready"
exec 8<>"$tmp/ready" # open before it writes: what it says is lost when it has closed its end and nobody else has one
"$pvlocald" -f -d "$dir" --ready-fd=7 7>&8 8>&- >"$tmp/out" 2>&1 &
pid=$! && pids="$pids $pid"
read -r -t 20 -u 8 || fail "did not say that it is ready"
grep -q ready "$tmp/out" || fail "printed $(cat "$tmp/out")"
kill -INT "$pid"
gone "$pid" || fail "does not end on SIGINT"
wait "$pid" || fail "status $? after SIGINT"

# what it can not do
"$pvlocald" -d /proc/nowhere 2>"$tmp/err" && fail "/proc/nowhere"
grep -q /proc/nowhere "$tmp/err" || fail "does not name the directory"
for bad in --dir=relative --quota-nodes=0 --quota-nodes=x --quota-nodes=99999999999 --dom0-pages=0 --nonsense surplus; do
	"$pvlocald" -d "$dir" -f "$bad" >"$tmp/out" 2>"$tmp/err"
	[ $? = 2 ] || fail "$bad: status is not 2"
	[ -s "$tmp/err" ] || fail "$bad: no word"
done
"$pvlocald" --version | grep -q '^pvlocald [0-9]' || fail "version"
"$pvlocald" --help | grep -q -- --quota-nodes || fail "help"

# the quotas are obeyed
"$pvlocald" -d "$dir" -p "$tmp/pid" --quota-nodes=3 --quota-watches=2 || fail "with quotas"
pid=$(cat "$tmp/pid") && pids="$pids $pid"
if command -v xenstore-control >/dev/null; then
	XENSTORED_PATH=$dir/store xenstore-control quota | grep -q 'nodes *3$' || fail "quota"
fi
kill "$pid"
gone "$pid" || fail "does not end"
echo "ok"
