#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian's xenstore-* tools and Xen's own test-xenstore, unmodified, on the local fabric's store.
# test-xenstore is in package xen-utils-*, which must not be installed here (it would start services): it is
# taken from the lab's cache, or downloaded and unpacked there.
set -u
build=${abs_top_builddir:-$PWD}
cache=${PVBUS_CACHE:-$HOME/.cache/pvbus}
tmp=$(mktemp -d /tmp/pvbus-xstools.XXXXXX)
dir=$tmp/fabric pid="" watcher=""
cleanup() {
	[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	rm -rf "$tmp"
}
trap cleanup EXIT
fail() { echo "FAIL: $*"; exit 1; }
for tool in read write ls rm exists list chmod watch; do
	command -v xenstore-$tool >/dev/null || { echo "SKIP: no xenstore-$tool (apt-get install xenstore-utils)"; exit 77; }
done

"$build/bus/pvlocald" -d "$dir" -p "$tmp/pid" || fail "pvlocald does not start"
pid=$(cat "$tmp/pid")
export XENSTORED_PATH=$dir/store

# expect WHAT COMMAND...: its output
expect() {
	local want=$1 got
	shift
	got=$("$@" 2>&1) || fail "$*: status $?: $got"
	[ "$got" = "$want" ] || fail "$*: \"$got\", not \"$want\""
}
refuse() { "$@" >"$tmp/out" 2>&1 && fail "$*: was to fail"; }

expect "" xenstore-write /test/a 1 /test/b "two words" /test/dir/c ""
expect 1 xenstore-read /test/a
expect "two words" xenstore-read /test/b
expect "" xenstore-read /test/dir/c
refuse xenstore-read /test/none
grep -q "couldn't read" "$tmp/out" || fail "xenstore-read: $(cat "$tmp/out")"
expect "$(printf 'a\nb\ndir')" xenstore-list /test
expect "" xenstore-exists /test/a
refuse xenstore-exists /test/none
expect "" xenstore-chmod /test/a n0 r1 b2
xenstore-ls -fp /test >"$tmp/ls" || fail "xenstore-ls"
grep -q '^/test/a = "1".*(n0,r1,b2)$' "$tmp/ls" || fail "xenstore-ls -fp: $(cat "$tmp/ls")"
expect "" xenstore-chmod -r /test n0 r3
xenstore-ls -fp /test | grep -q '^/test/dir/c = "".*(n0,r3)$' || fail "xenstore-chmod -r"
expect "" xenstore-rm /test/dir
refuse xenstore-exists /test/dir/c
expect "" xenstore-rm -t /test/b
printf 'x\001y' | xargs -0 xenstore-write /test/raw || fail "binary value"
expect 'x\001y' xenstore-read /test/raw
expect "$(printf 'x\001y')" xenstore-read -R /test/raw

# xenstore-watch: one event up front, then one for each change
xenstore-watch -n 3 /test/watched >"$tmp/events" &
watcher=$!
for _ in $(seq 500); do [ -s "$tmp/events" ] && break; sleep 0.02; done
xenstore-write /test/watched/x 1
for _ in $(seq 500); do [ "$(wc -l <"$tmp/events")" -ge 2 ] && break; sleep 0.02; done
xenstore-rm /test/watched
wait "$watcher" || fail "xenstore-watch: status $?"
watcher=""
printf '/test/watched\n/test/watched/x\n/test/watched\n' | cmp -s - "$tmp/events" || fail "events: $(cat "$tmp/events")"

# a directory that needs DIRECTORY_PART
names=()
for i in $(seq 1 600); do names+=("/test/many/some-long-name-$i" v); done
xenstore-write "${names[@]}" || fail "600 nodes"
[ "$(xenstore-list /test/many | wc -l)" = 600 ] || fail "xenstore-list of 600"
expect "" xenstore-rm /test

# Xen's own test
find_test() { find "$cache/tree" -path '*/bin/test-xenstore' -type f 2>/dev/null | head -1; }
test=$(find_test)
if [ -z "$test" ]; then
	pkg=$(apt-cache pkgnames xen-utils-4. 2>/dev/null | sort -V | tail -1)
	mkdir -p "$cache/tree/xen-utils"
	if [ -z "$pkg" ] || ! (cd "$tmp" && apt-get -q download "$pkg" && dpkg-deb -x xen-utils-4*.deb "$cache/tree/xen-utils") \
			>"$tmp/apt" 2>&1; then
		echo "the tools work; SKIP: test-xenstore (in xen-utils) is not in $cache and can not be downloaded"
		exit 77
	fi
	test=$(find_test)
fi
[ -n "$test" ] || { echo "the tools work; SKIP: package xen-utils has no test-xenstore"; exit 77; }
if ! ldd "$test" >"$tmp/ldd" 2>&1 || grep -q 'not found' "$tmp/ldd"; then
	echo "the tools work; SKIP: test-xenstore does not run here: $(grep 'not found' "$tmp/ldd")"
	exit 77
fi
"$test" -i 20 >"$tmp/test" 2>&1 || fail "test-xenstore: $(cat "$tmp/test")"
"$test" -r 2 >>"$tmp/test" 2>&1 || fail "test-xenstore -r: $(cat "$tmp/test")"
! grep -q 'failed\|Exhaustive' "$tmp/test" || fail "test-xenstore: $(cat "$tmp/test")"
cat "$tmp/test"
# it has left nothing behind
expect "" xenstore-list /local/domain/0
echo "ok"
