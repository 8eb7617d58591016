# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fabric-functions.sh owns what a test with process guests stands on: a directory of its own, the fabric, pvbackd, and their
# end; and, with --show as first argument, that one sees what it does.  It is sourced first.  With PVBUS_BUILD=DIR the
# programs are those of that build tree; else of $abs_top_builddir, else installed ones.

show=""
[ "${1:-}" != --show ] || show=yes
build=${PVBUS_BUILD:-${abs_top_builddir:-}}
[ -z "$build" ] || PATH=$build/backend:$build/bus:$build/toolstack:$build/frontend/user:$PATH
PATH=$PATH:/usr/sbin:/sbin
for tool in pvlocald pvbackd pvl pvguest; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done

# shellcheck disable=SC2034 # for whoever sources this
here=$(cd "$(dirname "$0")" && pwd) # it may have been named from where we were
dir=$(mktemp -d /tmp/pvbus-test.XXXXXX)
cd "$dir" || exit 99
fabric=$dir/fabric backd="" holders=()
export PVBUS_HV=local:$fabric
stop() {
	local i

	{ [ -n "$1" ] && kill "$1"; } 2>/dev/null || return 0
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
	[ ! -s localpid ] || for g in *.cfg; do timeout 20 pvl --host "local:$fabric" destroy "${g%.cfg}" >/dev/null 2>&1 || true; done
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
# must COMMAND...: never shown, its output is in out.log; for scripts that go on after what fails
must() { "$@" >out.log 2>&1 || { cat out.log; fail "$*"; }; }
# until_true SECONDS COMMAND...: false if it does not succeed in that time
until_true() {
	local tries=$(($1 * 20)) i

	shift
	for ((i = 0; i < tries; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	return 1
}
# await SECONDS COMMAND...: the same, and the test fails
await() { until_true "$@" || fail "waited $1 s for: ${*:2}"; }

# backd_start [OPTION...]: pvlocald, and pvbackd with these
backd_start() {
	run pvlocald --dir "$fabric" --pidfile "$dir/localpid"
	backd_again "$@"
}
# backd_again [OPTION...]: pvbackd alone, once it has ended
backd_again() {
	[ -z "$show" ] || echo '   $ pvbackd &'
	rm -f ready
	mkfifo ready
	: >pvbackd.log # an earlier one's worker may still have a word to say: neither writes over the other
	pvbackd --ready-fd 3 "$@" 3>ready 2>>pvbackd.log &
	backd=$!
	cat ready
	kill -0 $backd 2>/dev/null || fail "pvbackd did not start"
}
backd_stop() {
	kill "$backd" || fail "pvbackd has died"
	wait "$backd" || fail "pvbackd ended with status $?: $(tail -n 3 pvbackd.log)"
	backd=""
}
# two_disks: guest g, domain 1, with a file as xvda and memory as xvdb, that does nothing by itself
two_disks() {
	truncate -s 64M a.img
	cat >g.cfg <<-END
		name = "g"
		memory = 64
		guest = "sleep 1000"
		disk = [ "format=raw,vdev=xvda,access=rw,target=$dir/a.img", "format=raw,vdev=xvdb,access=rw,target=mem:size=16M" ]
	END
	run pvl --host "local:$fabric" create "$dir/g.cfg"
}
# bench DISK WORDS [OPTION...]: domain 1 puts its disk to work; JSON, for bench.json, where the next two look
bench() { pvguest --hv "local:$fabric:1" --disk "$1" --bench "$2" --json "${@:3}" 2>guest.log || { cat guest.log; fail "$2"; }; }
member() { grep -o "\"$1\": [0-9]*" bench.json | grep -o '[0-9]*$'; }
errors() { grep -o '"errors": [0-9]*' bench.json | awk '{ n += $2 } END { print n }'; }
# how often a device has gone on, under whichever pvbackd
went_on() { cat all.log pvbackd.log 2>/dev/null | grep -c "goes on, after" || true; }
# backd_replaced killed|"killed with its workers"|stopped: pvbackd ends in this way and another comes; the log so far is in all.log
backd_replaced() {
	local workers

	workers=$(pgrep -P "$backd" || true)
	case $1 in
	killed) kill -9 "$backd" ;;
	"killed with its workers") kill -9 "$backd" ${workers:-} 2>/dev/null || true ;; # as words
	stopped) kill "$backd" ;;
	esac
	wait "$backd" 2>/dev/null || true
	cat pvbackd.log >>all.log
	backd_again
}
# killer SECONDS [patient]: kills each worker, after a random part of these.  A patient one lets most of them go on and live for
# a moment, however slow the machine is: who dies ten times in a row is parked.
killer() {
	# shellcheck disable=SC2016 # perl's variables
	exec perl -e 'my ($pid, $max, $patient) = @ARGV;
		sub went_on { open my $f, "<", "pvbackd.log"; scalar grep { /goes on, after/ } <$f> }
		for my $n (1 .. 4000) {
			select undef, undef, undef, rand $max;
			my $before = went_on();
			my @workers = split /\s+/, `pgrep -P $pid`;
			kill 9, @workers;
			next unless $patient && $n % 3;
			for (1 .. 200) { last if !@workers || went_on() >= $before + @workers; select undef, undef, undef, 0.05 }
			select undef, undef, undef, 0.25;
		}' "$backd" "$@"
}
