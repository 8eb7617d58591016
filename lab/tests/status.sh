#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a script says is what the caller hears: its status, its output, its end
# by timeout, and trouble in the logs even when the script itself is content.

# shellcheck source=lab/tests/common.sh disable=SC2016 # the scripts are for dom0
. "$(dirname "$0")/common.sh"

expect() {
	want=$1 what=$2
	shift 2
	rc=0
	"$lab/run" --name self-status "$@" >"$tmp/out" 2>"$tmp/err" || rc=$?
	[ $rc -eq "$want" ] || { cat "$tmp/out" "$tmp/err"; fail "$what: status $rc, not $want"; }
}

expect 7 "exit status" "$(name=seven script 'echo out; echo err >&2; exit 7')"
[ "$(tr '\n' ' ' <"$tmp/out")" = "out err " ] || fail "output of the script is not as written"

splat=$(name=splat script 'echo "<4>WARNING: CPU: 0 PID: 1 at lab/self-test" >/dev/kmsg')
expect 120 "a warning in the log" "$splat"
grep -q 'dmesg.log.*lab/self-test' "$tmp/err" || fail "the warning is not shown"
expect 0 "an allowed warning" --allow-splat 'at lab/self-test' "$splat"

expect 124 "timeout" --timeout 15 "$(name=hang script 'echo here >/out/left; sleep 1000')"
grep -q 'last line of the console' "$tmp/err" || fail "timeout does not name the last line"
run=$(sed -n 's/.*logs in //p' "$tmp/err")
[ "$(cat "$run/out/left")" = here ] || fail "what dom0 had in /out is lost at a timeout"

expect 125 "a dead dom0" "$(name=dead script 'echo c >/proc/sysrq-trigger')"
grep -q 'without a verdict' "$tmp/err" || fail "the end of dom0 is not named"

expect 2 "wrong usage" --no-such-option
expect 125 "a missing kernel" --guest-kernel 1.2.3-4-amd64 "$splat"
grep -q 'linux-image-1.2.3-4-amd64' "$tmp/err" || fail "the missing package is not named"
pass
