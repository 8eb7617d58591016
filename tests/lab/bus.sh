#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The suites of the bus on real Xen; both halves are dom0, which may grant to itself.
#   lab/run --file tests/hv-suite --file tests/store-suite tests/lab/bus.sh [SUITE...]
set -u
status=0
export PVBUS_TEST_HV=xen:0
[ $# -gt 0 ] || set -- hv-suite store-suite
for suite; do
	program=/root/$suite
	[ -x "$program" ] || { echo "FAIL: $program is not here (lab/run --file)"; status=1; continue; }
	if "$program"; then
		echo "PASS: $suite"
	else
		echo "FAIL: $suite"
		status=1
	fi
done
exit $status
