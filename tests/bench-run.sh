#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl bench run on the local fabric: the rows asked for are there, whole, and say that the load was real; report shows them, and
# --against finds what was made worse by hand; who interrupts it gets no file, and nothing is left running.
set -u
builddir=${abs_top_builddir:-$(cd "$(dirname "$0")/.." && pwd)/build/main}
PATH=$builddir/backend:$builddir/bus:$builddir/toolstack:$builddir/frontend/user:$PATH
for tool in pvlocald pvbackd pvl pvguest; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done
command -v python3 >/dev/null || { echo "SKIP: no python3"; exit 77; }
# libxlutil, which pvl asks about configurations, loses a few bytes
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}
dir=$(mktemp -d /tmp/pvl-bench-test.XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
mkdir tmp peers
export TMPDIR=$dir/tmp PVBENCH_PEERS=$dir/peers
fail() { echo "FAIL: $*"; cat log; exit 1; }

cat >peers/other <<'END'
#!/bin/sh
echo "version	other	7"
echo "row	disk null 4k randread qd1	other	IOPS	more	sleeping, 1 CPU	1000 1001 999"
echo "row	disk null 4k randread qd1	bad	IOPS"
END
printf '#!/bin/sh\necho "not installed	apt-get install it"\n' >peers/absent
chmod +x peers/*

pvl bench run --list --only 'disk null 4k randread qd1; pvbus; *' >list 2>log || fail "--list"
grep -qx 'disk null 4k randread qd1; pvbus; sleeping, 1 CPU' list || fail "--list: $(cat list)"
pvl bench run --only 'no such row' --out none.json >out 2>log && fail "nothing was measured, and it said so not"
grep -q 'nothing is named "no such row"' log && [ ! -e none.json ] || fail "no such row"

# a disk of nothing and one of a file, a NIC, and the machine, in the mode that needs one processor alone
for only in 'disk null 4k rand* qd1; pvbus; sleeping, 1 CPU' 'round trip; *; sleeping, 1 CPU' 'frames 1518; *; sleeping, 1 CPU' \
	'disk file 4k randread qd32; *; [as]*[1n][ y]*'; do
	pvl bench run --quick --only "$only" --out "part$((n = ${n:-0} + 1)).json" >"part$n.txt" 2>log || fail "run --only '$only'"
	grep -q "pvl: bench: .*s  " log || fail "--only '$only': no progress"
done
pvl bench run --quick --only 'peer*' --out none.json >out 2>log
grep -q 'not measured: other: a row of it can not be read' log || fail "half a row"
grep -q 'not measured: absent: not installed: apt-get install it' log || fail "a peer that is not there"

python3 - part*.json <<'END' || fail "the results are not whole"
import json, sys
rows = {}
for name in sys.argv[1:]:
    f = json.load(open(name))
    assert f["format"] == "pvbus-bench" and f["version"] == 1
    assert f["machine"]["cpus"] >= 1 and f["machine"]["kernel"] and f["versions"]["pvbus"] and f["settings"]["quick"] is True
    for r in f["rows"]:
        assert len(r["samples"]) >= 3 and min(r["samples"]) == r["min"] and max(r["samples"]) == r["max"], r
        assert r["min"] <= r["median"] <= r["max"] and r["pinning"] and r["kind"] in ("ours", "peer", "floor"), r
        rows[r["cell"], r["subject"], r["mode"]] = r
one = "sleeping, 1 CPU"
for write in "read", "write":
    r = rows["disk null 4k rand%s qd1" % write, "pvbus", one]
    assert r["median"] > 100, r
    c = r["counters"]
    # one request at a time: each must be told of, as the worker is asleep
    assert c["notifies"] > 0.5 and c["notifies"] + c["spared"] > 0.99 and c["back sleeps"] > 0.3, c
for subject in "eventfd", "pvbus ring", "pvbus disk null", "pvbus NIC":
    assert 0 < rows["round trip", subject, one]["median"] < 1e5, subject
assert rows["frames 1518", "pvbus", one]["median"] > 100
assert rows["disk file 4k randread qd32", "io_uring", "any"]["median"] > 10
assert rows["disk file 4k randread qd32", "pvbus", one]["median"] > 10
END

pvl bench report part2.json >out 2>log || fail "report"
grep -qE '^  pvbus NIC .* x eventfd$' out || fail "report has no ratio: $(cat out)"
python3 - <<'END'
import json
f = json.load(open("part1.json"))
# as if the machine had been quiet: what this one does meanwhile decides nothing
for name, factor in ("quiet.json", 1), ("worse.json", 0.01):
    for r in f["rows"]:
        r["samples"] = [ factor * x for x in (1000, 1010, 990, 1005, 995) ]
    json.dump(f, open(name, "w"))
END
pvl bench report worse.json --against quiet.json >out 2>log && fail "a hundredth of before is no worse"
grep -q '^WORSE   disk null 4k randread qd1; pvbus; sleeping, 1 CPU' out || fail "--against: $(cat out)"
pvl bench report part1.json --against part1.json >out 2>log || fail "it is worse than itself: $(cat out)"

# interrupted: as soon as the first row is there
pvl bench run --only 'disk*' --out never.json >out 2>log &
pid=$!
for ((n = 0; n < 400; n++)); do ! grep -q 'IOPS' log || break; sleep 0.05; done
kill $pid
wait $pid && fail "interrupted, and it said so not"
[ ! -e never.json ] && [ -z "$(ls tmp)" ] || fail "left: $(ls tmp) never.json"
! pgrep -f "$dir/tmp" >left || fail "left running: $(cat left)"
echo "PASS: measured, shown, compared, interrupted"
