#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every public header of the bus compiles alone, twice in a row, without warnings; in C++ too.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
command -v "${CC:-cc}" >/dev/null 2>&1 || { echo "no C compiler"; exit 77; }
status=0

# compile LANGUAGE COMPILER HEADER FLAGS...
compile() {
	lang=$1 compiler=$2 header=$3
	shift 3
	printf '#include "%s"\n#include "%s"\nint main(void) { return 0; }\n' "$header" "$header" > "$tmp/t.$lang"
	# shellcheck disable=SC2086 # CC may be "gcc -m64"
	if ! $compiler "$@" -I"$srcdir/bus" -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only "$tmp/t.$lang"; then
		echo "FAIL: $header alone in $lang ($compiler)"
		status=1
	fi
}

nr=0
for path in "$srcdir"/bus/*.h; do
	header=${path##*/}
	case $header in *-impl.h) continue ;; esac
	nr=$((nr + 1))
	compile c "${CC:-cc}" "$header" -std=c11
	compile c "${CC:-cc}" "$header" -std=gnu17
	if command -v "${CXX:-c++}" >/dev/null 2>&1; then
		compile cc "${CXX:-c++}" "$header" -std=c++17
	fi
done
[ "$nr" -ge 10 ] || { echo "FAIL: only $nr headers found"; status=1; }
exit $status
