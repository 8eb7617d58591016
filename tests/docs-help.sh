#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each long option that a program's --help names is in section OPTIONS of its man page, and none is there that
# --help does not name.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
builddir=${abs_top_builddir:-$srcdir/build/main}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
status=0 nr=0

options() { grep -oE -e '--[a-z][a-z0-9-]*' | sort -u; }

# compare PROGRAM PAGE
compare() {
	program=$builddir/$1 page=$srcdir/man/$2
	[ -x "$program" ] || { echo "FAIL: $program is not built"; status=1; return; }
	[ -e "$page" ] || { echo "FAIL: $page is missing"; status=1; return; }
	"$program" --help >"$tmp/help.txt" || { echo "FAIL: $1 --help: status $?"; status=1; }
	# a word of the text beside the options may name other programs' options: only what starts a line counts
	sed -nE 's/^ *(-[A-Za-z], )?(--[a-z][a-z0-9-]*).*/\2/p' "$tmp/help.txt" | sort -u >"$tmp/help"
	# from "# OPTIONS" to the next section; "\--" is how pandoc keeps two hyphens; terms only, not their text
	awk '/^# / { in_options = ($0 ~ /^# OPTIONS/) } in_options && /^[^: \t]/' "$page" |
		sed 's/\\-/-/g' | options >"$tmp/page"
	[ -s "$tmp/help" ] || { echo "FAIL: $1 --help names no option"; status=1; }
	if ! diff "$tmp/help" "$tmp/page" >"$tmp/diff"; then
		echo "FAIL: $1 --help (<) and section OPTIONS of $2 (>) differ:"
		grep '^[<>]' "$tmp/diff"
		status=1
	fi
	nr=$((nr + $(wc -l <"$tmp/help")))
}

compare backend/pvbackd pvbackd.8.md
compare bus/pvlocald pvlocald.8.md
compare frontend/user/pvguest pvguest.1.md
[ $status -ne 0 ] || echo "$nr options are the same in program and page"
exit $status
