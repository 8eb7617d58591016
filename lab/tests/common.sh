# shellcheck shell=sh disable=SC2016,SC2034 # texts for dom0; used by the tests
# SPDX-License-Identifier: GPL-2.0-or-later
#
# common.sh of the lab's own tests: where lab/run is, and how a test speaks.

lab=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() { echo "$(basename "$0"): FAIL: $*" >&2; exit 1; }
pass() { echo "$(basename "$0"): ok"; exit 0; }

# script TEXT...: a dom0 script; prints its path.
script() {
	printf '#!/bin/bash\n. "$LAB/functions.sh"\n%s\n' "$*" >"$tmp/${name:=script}"
	echo "$tmp/$name"
}
