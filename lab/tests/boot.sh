#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dom0 comes up under Xen, offers every guest type, and has no stock back end
# loaded that would compete with a provider under test.  How long it took is
# said, not judged: 7 to 15 s on a quiet machine, twice that on a slow one.

# shellcheck source=lab/tests/common.sh disable=SC2016 # the scripts are for dom0
. "$(dirname "$0")/common.sh"

job=$(script '
set -e
xl info >/out/info
[ "$(xl list | wc -l)" = 2 ]
for type in pv hvm hap; do
	grep -q "virt_caps.*$type" /out/info
done
[ "$1" = "two words" ] && [ "$COLOUR" = blue ] && [ "$(cat /root/note)" = note ]
! lsmod | grep -E "xen.(blk|net)back"
xenstore-exists /local/domain/0/name
')
echo note >"$tmp/note"
"$lab/run" --name self-boot --file "$tmp/note" --env COLOUR=blue "$job" "two words" \
	>"$tmp/out" 2>"$tmp/err" || { cat "$tmp/out" "$tmp/err"; fail "status $?"; }

run=$(sed -n 's/.*logs in //p' "$tmp/err")
grep -q virt_caps "$run/out/info" || fail "$run/out/info did not come back"
grep -q 'Latest ChangeSet\|Xen version' "$run/dom0/xl-dmesg.log" || fail "no xl dmesg"
[ "$(cat "$run/verdict")" = 0 ] || fail "$run/verdict is not 0"
seconds=$(sed -n 's/.*up after \([0-9]*\).*/\1/p' "$tmp/err")
echo "dom0 up after $seconds s"
pass
