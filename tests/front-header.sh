#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pvfront.h and pvnic.h compile alone, twice in a row, without warnings; in C++ too.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
command -v "${CC:-cc}" >/dev/null 2>&1 || { echo "no C compiler"; exit 77; }
flags="-I$srcdir/frontend/user -I$srcdir/bus -Wall -Wextra -Werror -fsyntax-only"
for header in pvfront.h pvnic.h; do
	printf '#include <%s>\n#include <%s>\n' $header $header >"$tmp/t.c"
	cp "$tmp/t.c" "$tmp/t.cc"
	# shellcheck disable=SC2086 # words
	${CC:-cc} -std=c11 $flags "$tmp/t.c" || { echo "FAIL: $header in C"; exit 1; }
	if command -v "${CXX:-c++}" >/dev/null 2>&1; then
		# shellcheck disable=SC2086
		${CXX:-c++} -std=c++17 $flags "$tmp/t.cc" || { echo "FAIL: $header in C++"; exit 1; }
	fi
done
