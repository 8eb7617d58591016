#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A capture file goes out through one process guest's NIC, through pvbackd's switch, and is recorded by another guest:
# every frame, in order, byte for byte; with and without staged pages.  No interface is made, so no right is needed.
set -u
# shellcheck source=tests/fabric-functions.sh
. "$(dirname "$0")/fabric-functions.sh"
command -v perl >/dev/null || { echo "SKIP: no perl"; exit 77; }

# make MAC FRAMES: broadcasts of an experimental ethertype, each with its number
make() {
	# shellcheck disable=SC2016 # perl's variables
	perl -e 'binmode STDOUT; my ($mac, $nr) = @ARGV; $mac =~ s/://g;
		print pack("LSSLLLL", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1);
		for my $i (1 .. $nr) {
			my $f = pack("H12H12H4N", "f" x 12, $mac, "88b5", $i) . chr($i & 255) x (42 + $i * 37 % 1400);
			print pack("LLLL", $i, 0, length $f, length $f), $f;
		}' "$1" "$2"
}
# frames FILE: those of our ethertype, in hex, a line each
frames() {
	# shellcheck disable=SC2016
	perl -e 'binmode STDIN; local $/; my $d = <STDIN>;
		for (my $at = 24; $at + 16 <= length $d;) {
			my $n = unpack("L", substr($d, $at + 8, 4));
			my $f = unpack("H*", substr($d, $at + 16, $n));
			print "$f\n" if substr($f, 24, 4) eq "88b5";
			$at += 16 + $n;
		}' <"$1"
}

backd_start
for g in a b; do
	cat >$g.cfg <<-END
		name = "$g"
		memory = 128
		guest = "sleep 1000"
		vif = [ "mac=00:16:3e:00:00:0$g,port=switch:lan" ]
	END
	must pvl --host "local:$fabric" create "$dir/$g.cfg"
done
a=$(pvl --host "local:$fabric" domid a) || fail "domid"
b=$(pvl --host "local:$fabric" domid b) || fail "domid"
frames=200 # fewer than a ring has buffers: a switch need not wait for a slow receiver
make 00:16:3e:00:00:0a $frames >in.pcap
frames in.pcap >want
[ "$(wc -l <want)" -eq "$frames" ] || fail "the capture file was not made"

for how in staging=off staging=on queues=1 sg=off,queues=1; do
	rm -f guest.pid out.pcap
	pvguest --hv "local:$fabric:$b" --nic "0,tap=off,$how" --pcap-record out.pcap --pidfile "$dir/guest.pid" \
		2>guest.log &
	holders=($!)
	await 20 test -s guest.pid
	pvguest --hv "local:$fabric:$a" --nic "0,$how" --pcap-replay in.pcap --json >replay.json 2>replay.log ||
		fail "$how: replay"
	grep -q "\"sent\": $frames, .*\"skipped\": 0" replay.json || fail "$how: $(cat replay.json)"
	stop "${holders[0]}"
	frames out.pcap >got
	cmp -s want got ||
		fail "$how: $(wc -l <got) of $frames frames arrived, or others: $(diff want got | head -c 300)"
done
echo "$frames frames through two rings and a switch, four times: equal"

# what is wrong is said
pvguest --hv "local:$fabric:$a" --pcap-replay /nonexistent 2>replay.log && fail "a file that is not there"
grep -q "/nonexistent: No such file" replay.log || fail "$(cat replay.log)"
for wrong in "x" "0,queues=9" "0,gso=maybe" "0,ifname=" "0,ifname=a-name-that-is-too-long" "0,colour=red" \
	"all,ifname=e" ""; do
	pvguest --hv "local:$fabric:$a" --nic "$wrong" 2>replay.log
	[ $? -eq 2 ] || fail "--nic \"$wrong\" was taken"
done
pvguest --hv "local:$fabric:$a" --nic 7 --timeout 1 2>replay.log && fail "a NIC that is not there"
grep -q "1 of the NICs asked for are not there" replay.log || fail "$(cat replay.log)"
backd_stop
