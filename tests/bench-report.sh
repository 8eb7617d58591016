#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl bench report: the table has medians and ratios, the page stands alone and shows names as they are, so does a picture, --against says what
# has become worse, and what is no file of results is refused with one line.
set -u
builddir=${abs_top_builddir:-$(cd "$(dirname "$0")/.." && pwd)/build/main}
pvl=$builddir/toolstack/pvl
[ -x "$pvl" ] || { echo "FAIL: $pvl is not built"; exit 1; }
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
# want STATUS REGEX ARGUMENT...: of pvl bench
want() {
	local status=$1 regex=$2 rc=0
	shift 2
	"$pvl" bench "$@" >out 2>&1 </dev/null || rc=$?
	[ $rc -eq "$status" ] && grep -qE -- "$regex" out && return
	echo "FAIL: pvl bench $*: status $rc (wanted $status), output (wanted /$regex/):"
	cat out
	: >failed
}

cat >a.json <<'END'
{ "format": "pvbus-bench", "version": 1, "when": "2026-01-01T00:00:00Z", "machine": { "cpu": "<b>fast</b>", "cpus": 2 },
  "versions": { "pvbus": "0" }, "settings": { "sample_ms": 50 }, "missing": [ { "subject": "other", "why": "not installed" } ],
  "rows": [
    { "cell": "disk", "subject": "pvbus", "kind": "ours", "unit": "IOPS", "better": "more", "mode": "polled", "pinning": "",
      "samples": [ 900, 1000, 1100, 1010, 990 ], "disturbed": 3, "counters": { "switches": 0.25 } },
    { "cell": "disk", "subject": "peer<1>", "kind": "peer", "unit": "IOPS", "better": "more", "mode": "any", "pinning": "",
      "samples": [ 400, 600 ], "disturbed": 0, "counters": {} },
    { "cell": "trip", "subject": "pvbus", "kind": "ours", "unit": "us", "better": "less", "mode": "polled", "pinning": "",
      "samples": [ 4, 4, 4 ], "disturbed": 0, "counters": {} },
    { "cell": "trip", "subject": "line", "kind": "floor", "unit": "us", "better": "less", "mode": "polled", "pinning": "",
      "samples": [ 1 ], "disturbed": 0, "counters": {} } ] }
END
want 0 '^  pvbus +polled +1000 IOPS +\[900..1100\] +2.00 x peer<1>$' report a.json
want 0 '^  pvbus +polled +4.00 us .* 0.25 x line$' report a.json
want 0 '3 disturbed; 0.250 switches' report a.json
want 0 'not measured: other: not installed' report a.json
want 0 '"peer<1>"' report a.json --json

want 0 . report a.json --html page.html
[ "$(grep -c '<svg' page.html)" = 2 ] || { echo "FAIL: $(grep -c '<svg' page.html) plots, not 2"; : >failed; }
! grep -qE '<script|src=|href=|url\(' page.html || { echo "FAIL: the page wants something else"; : >failed; }
! grep -qE '<b>|<1>' page.html && grep -q 'peer&lt;1&gt;' page.html || { echo "FAIL: a name is taken for HTML"; : >failed; }

# one picture of all cells: bars while figures are near to each other, dots on a logarithmic scale when they are not
want 0 . report a.json --svg near.svg
sed 's/400, 600/4, 6/' a.json >far.json
want 0 . report far.json --svg far.svg
for picture in near far; do
	! command -v python3 >/dev/null || python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' $picture.svg || { echo "FAIL: $picture.svg is no XML"; : >failed; }
done
[ "$(grep -c '<rect class' near.svg) $(grep -c '<circle' near.svg)" = "4 0" ] || { echo "FAIL: bars: $(cat near.svg)"; : >failed; }
[ "$(grep -c '<rect class' far.svg) $(grep -c '<circle' far.svg)" = "0 4" ] || { echo "FAIL: dots: $(cat far.svg)"; : >failed; }
want 0 '^trip$' report a.json --only trip --svg one.svg
! grep -q '^disk' out && [ "$(grep -c '<rect class' one.svg)" = 2 ] || { echo "FAIL: --only shows more"; cat out; : >failed; }
want 0 'peer<1> +any' report a.json --only 'disk; peer*'
want 1 'a.json: no row or cell is named "none"' report a.json --only none
want 2 '--svg is a picture of one file' report a.json far.json --svg two.svg

# a tenth fewer is within the spread of these, half is not; longer is worse
sed 's/900, 1000, 1100, 1010, 990/980, 960, 970/' a.json >slight.json
sed 's/900, 1000, 1100, 1010, 990/500, 510, 490/' a.json >half.json
sed 's/4, 4, 4/5, 5, 5/' a.json >longer.json
want 0 '^0 worse, 0 better, 4 within the spread, 0 not in both$' report slight.json --against a.json
want 1 '^WORSE   disk; pvbus; polled: 1000 -> 500 IOPS \(-50 %\)$' report half.json --against a.json
want 0 '^better  disk; pvbus; polled: 500 -> 1000 IOPS \(\+100 %\)$' report a.json --against half.json
want 1 '^WORSE   trip; pvbus; polled: 4.00 -> 5.00 us' report longer.json --against a.json
want 0 '^0 worse' report longer.json --against a.json --tolerance 30

# refuse REGEX: what is on stdin, with one line
refuse() {
	cat >bad.json
	want 1 "$1" report bad.json
	[ "$(wc -l <out)" = 1 ] || { echo "FAIL: more than a line:"; cat out; : >failed; }
}
refuse 'bad.json: not JSON: it ends in the middle' </dev/null
head -c 700 a.json | refuse 'bad.json: not JSON: it ends in the middle'
{ cat a.json; echo x; } | refuse 'bad.json: not JSON: something stands after it'
echo '[1]' | refuse 'bad.json: not a file of results'
sed 's/"version": 1/"version": 2/' a.json | refuse 'version 2 of the format, this program reads 1'
sed 's/\[ 1 \]/[]/' a.json | refuse 'row 3: "samples" is empty'
sed 's/\[ 1 \]/[ "1" ]/' a.json | refuse 'row 3: "samples" has something else'
sed 's/\[ 1 \]/[ -1 ]/' a.json | refuse 'row 3: "samples" has a number below zero'
sed 's/"floor"/"roof"/' a.json | refuse 'row 3: "kind" is "roof"'
sed 's/"less"/"fewer"/' a.json | refuse 'row 2: "better" is "fewer"'
sed 's/"cell": "trip"/"cell": ""/' a.json | refuse 'row 2: "cell" is empty'
sed 's/"line"/"pvbus"/' a.json | refuse 'rows 2 and 3 are both'
sed 's/"rows"/"lines"/' a.json | refuse '"rows" is no array'
want 1 'none.json: No such file' report none.json
want 2 'takes 1 to 64 files' report
want 2 '"show" is neither run nor report' show a.json
[ ! -e failed ] || exit 1 # a file, since some of them run in a pipe
echo "PASS: shown, compared, refused"
