# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# net-functions.sh owns what a test of process guests' NICs stands on: network namespaces of its own (that takes the
# right to make them: root, or user namespaces), a directory, the fabric, pvbackd, and their end.  It is sourced first,
# and begins the script anew inside.  With PVBUS_BUILD=DIR the programs are those of that build tree; else of
# $abs_top_builddir, else installed ones.

show=""
[ "${1:-}" != --show ] || show=yes
build=${PVBUS_BUILD:-${abs_top_builddir:-}}
[ -z "$build" ] || PATH=$build/backend:$build/bus:$build/toolstack:$build/frontend/user:$PATH
PATH=$PATH:/usr/sbin:/sbin
for tool in pvlocald pvbackd pvl pvguest; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done
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

dir=$(mktemp -d /tmp/pvbus-net.XXXXXX)
cd "$dir" || exit 99
fabric=$dir/fabric backd="" holders=()
export PVBUS_HV=local:$fabric
stop() {
	kill "$1" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null || true
}
cleanup() {
	local rc=$?

	trap - EXIT
	[ $rc -eq 0 ] || [ -n "$show" ] || { echo "---- pvbackd:"; cat pvbackd.log; echo "---- guests:"; cat fabric/log/*.log; } 2>/dev/null
	for g in netns-*; do timeout 20 pvl --host "local:$fabric" destroy "${g#netns-}" >/dev/null 2>&1 || true; done
	[ -z "$backd" ] || { kill "$backd" && wait "$backd"; } 2>/dev/null || true
	[ ! -s localpid ] || stop "$(cat localpid)"
	for h in "${holders[@]}"; do stop "$h"; done
	cd /
	umount "$dir"/netns-* 2>/dev/null || true
	rm -rf "$dir"
	exit $rc
}
trap cleanup EXIT

title() { [ -z "$show" ] || printf '\n-- %s\n' "$*"; }
# run COMMAND...: shown as a person would type it, its output indented.
run() {
	if [ -n "$show" ]; then
		printf '   $ %s\n' "${*//$dir\//}"
		"$@" 2>&1 | sed "s|$dir/||g; s/^/   /"
	else
		"$@" >out.log 2>&1 || { echo "FAIL: $*"; cat out.log; return 1; }
	fi
}
fail() { echo "FAIL: $*"; exit 1; }
# in_guest NAME COMMAND...: in the network namespace of that guest
in_guest() {
	local name=$1
	shift
	nsenter --net="$dir/netns-$name" "$@"
}

# backd_start [OPTION...]: pvlocald, and pvbackd with these
backd_start() {
	run pvlocald --dir "$fabric" --pidfile "$dir/localpid"
	[ -z "$show" ] || echo '   $ pvbackd &'
	mkfifo ready
	pvbackd --ready-fd 3 "$@" 3>ready 2>pvbackd.log &
	backd=$!
	cat ready
	kill -0 $backd 2>/dev/null || fail "pvbackd did not start"
}
backd_stop() {
	kill "$backd" || fail "pvbackd has died"
	wait "$backd" || fail "pvbackd ended with status $?: $(tail -n 3 pvbackd.log)"
	backd=""
}

# guest NAME VIFS WORDS...: pvl create; a NIC ethN in netns-NAME for each of WORDS (",queues=4,sg=off" or "").
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
guest_ready() {
	for ((i = 0; i < 300; i++)); do
		[ ! -s "pid-$1" ] || return 0
		sleep 0.05
	done
	fail "the NICs of guest $1 did not connect within 15 s"
}
no_taps() {
	for ((i = 0; i < 50; i++)); do
		ip -brief link | grep -q '^vif' || return 0
		sleep 0.1
	done
	! ip -brief link | grep '^vif' || fail "TAPs are left"
}
