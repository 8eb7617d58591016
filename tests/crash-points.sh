#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Each PVB_CRASH_POINT of the source is in a program that dies at it, and no name stands for two places.
set -eu
builddir=${abs_top_builddir:-.}
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT

grep -rhoE --include='*.[ch]' '^[^#*]*PVB_CRASH_POINT\([a-z_]+\)' "$srcdir/bus" "$srcdir/backend" |
	sed 's/.*(\([a-z_]*\))/\1/' | sort >"$tmp/written"
"$builddir/tests/crash-blk" --list >"$tmp/list"
"$builddir/tests/crash-net" --list >>"$tmp/list"
cut -d' ' -f1 "$tmp/list" | sort -u >"$tmp/tested"

status=0
uniq -d "$tmp/written" >"$tmp/twice"
[ ! -s "$tmp/twice" ] || { echo "FAIL: two places of one name:"; cat "$tmp/twice"; status=1; }
comm -23 "$tmp/written" "$tmp/tested" >"$tmp/missing"
[ ! -s "$tmp/missing" ] || { echo "FAIL: in no program that dies at it:"; cat "$tmp/missing"; status=1; }
comm -13 "$tmp/written" "$tmp/tested" >"$tmp/unknown"
[ ! -s "$tmp/unknown" ] || { echo "FAIL: not found in the source:"; cat "$tmp/unknown"; status=1; }
[ "$(wc -l <"$tmp/written")" -ge 50 ] || { echo "FAIL: only $(wc -l <"$tmp/written") points"; status=1; }
echo "$(wc -l <"$tmp/written") names, $(wc -l <"$tmp/list") points"
exit $status
