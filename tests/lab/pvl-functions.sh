# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of pvl share: commands of pvl with the status and the words that are wanted, and failures that do
# not end the script; it ends with `exit $failed`.
#   lab/run ... --file tests/lab/pvl-functions.sh tests/lab/pvl-*.sh

# guest_create makes its guests with pvl, which keeps pci_max=; everything else that says xl means xl
xl() {
	if [ "$1" = create ]; then
		shift
		pvl create "$@"
	else
		command xl "$@"
	fi
}
failed=0
fail() { echo "FAIL: $*"; failed=1; }
# want STATUS REGEX ARG...: run pvl; its status, and what its two outputs together must contain
want() {
	local status=$1 regex=$2 rc=0 started=$EPOCHREALTIME
	shift 2
	pvl "$@" >/tmp/want.out 2>&1 </dev/null || rc=$?
	printf '   %-60s status %s, %.1f s\n' "pvl $*" $rc "$(awk "BEGIN { print $EPOCHREALTIME - $started }")"
	if [ $rc -ne "$status" ] || ! { cat /tmp/want.out; echo; } | grep -qE -- "$regex"; then
		fail "pvl $*: status $rc (wanted $status), output (wanted /$regex/):"
		cat /tmp/want.out
	fi
}
check() { # WHAT COMMAND...
	local what=$1
	shift
	"$@" || fail "$what"
}
# The guest gets an address by DHCP (10.0.2.15 is what QEMU gives) and pings the only other machine there.
guest_pings() { # GUEST
	# one line: the store's tools show a line break as two letters
	# shellcheck disable=SC2016 # the guest's
	local wait='n=0; until [ -e /sys/class/net/eth0 ]; do n=$((n + 1)); [ $n -lt 100 ] || exit 3; usleep 100000; done' \
		bound='[ $1 != bound ] || ip addr add $ip/24 dev $interface'

	guest_exec "$1" "$wait; (echo '#!/bin/sh'; echo '$bound') >/tmp/bound; chmod 755 /tmp/bound; ip link set eth0 up && udhcpc -i eth0 -n -q -t 10 -T 1 -s /tmp/bound && ping -c 2 -W 5 10.0.2.2"
}
