#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# With --icount two runs of the same work take the same virtual time, within 5 %.

# shellcheck source=lab/tests/common.sh disable=SC2016 # the script is for dom0
. "$(dirname "$0")/common.sh"

job=$(script '
started=$EPOCHREALTIME
for ((i = 0; i < 100000; i++)); do :; done
for ((i = 0; i < 20; i++)); do xenstore-write /local/domain/0/data/x $i; done
awk "BEGIN { printf \"%d\n\", ($EPOCHREALTIME - $started) * 1e6 }"
')
first=$("$lab/run" --icount --name self-icount "$job") || fail "status $?"
second=$("$lab/run" --icount --name self-icount "$job") || fail "status $?"
echo "virtual time: $first and $second us"
awk -v a="$first" -v b="$second" 'BEGIN { d = a > b ? a - b : b - a; exit !(a > 0 && d <= a * 0.05) }' ||
	fail "$first and $second us differ by more than 5 %"
pass
