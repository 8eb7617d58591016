# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# net-functions.sh owns what a test of process guests' NICs needs besides: network namespaces of its own (that takes the
# right to make them: root, or user namespaces).  It is sourced first, and begins the script anew inside.

PATH=$PATH:/usr/sbin:/sbin
for tool in ip python3 unshare nsenter; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool (apt-get install iproute2 python3 util-linux)"; exit 77; }
done
[ -c /dev/net/tun ] || { echo "SKIP: no /dev/net/tun"; exit 77; }
if [ -z "${NET_LOCAL_INSIDE:-}" ]; then
	user=()
	[ "$(id -u)" -eq 0 ] || user=(--user --map-root-user)
	unshare "${user[@]}" --net true 2>/dev/null || { echo "SKIP: no network namespace may be made here"; exit 77; }
	NET_LOCAL_INSIDE=yes exec unshare "${user[@]}" --net --mount "$0" "$@"
fi

# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"
net=$here/net-tool.py

# in_guest NAME COMMAND...: in the network namespace of that guest
in_guest() {
	local name=$1
	shift
	nsenter --net="$dir/netns-$name" "$@"
}

# guest_begin NAME VIFS WORDS...: pvl create; a NIC ethN in netns-NAME for each of WORDS (",queues=4,sg=off" or "").
guest_begin() {
	local name=$1 vifs=$2 nics="" n=0 words

	shift 2
	touch "netns-$name"
	unshare --net="$dir/netns-$name" true || fail "no network namespace for guest $name"
	for words; do
		nics+=" --nic $n,ifname=eth$n,netns=$dir/netns-$name$words"
		n=$((n + 1))
	done
	cat >"$name.cfg" <<-END
		name  = "$name"
		memory = 64
		guest = "pvguest$nics --pidfile $dir/pid-$name"
		vif   = [ $vifs ]
	END
	run pvl --host "local:$fabric" create "$dir/$name.cfg"
}
# until its NICs are live: it writes that file then
guest_ready() { until_true 15 test -s "pid-$1" || fail "the NICs of guest $1 did not connect within 15 s"; }
there() { ip link show "$1" >/dev/null 2>&1; }
not_there() { ! there "$1"; }
any_tap() { ip -brief link | grep '^vif'; }
no_tap() { ! any_tap; }
no_taps() { until_true 5 no_tap || { any_tap; fail "TAPs are left"; }; }
# transfer WHERE HOST WHAT: fetch the big file and compare
transfer() {
	local t=$EPOCHREALTIME

	$1 python3 "$net" fetch "$2" got || fail "$3: no transfer"
	[ "$(sha256sum <got)" = "$(sha256sum <big)" ] || fail "$3: the sums differ"
	[ -z "$show" ] || awk -v a="$t" -v b="$EPOCHREALTIME" -v n="$(stat -c %s big)" -v w="$3" \
		'BEGIN { printf "   %s: %d MiB by TCP, equal SHA-256, %.0f MiB/s with everything\n", w, n / 1048576, n / 1048576 / (b - a) }'
}
