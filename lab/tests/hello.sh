#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The smallest lab script: lab/run lab/tests/hello.sh

echo "hello from dom0, Xen $(xl info xen_version), Linux $(uname -r)"
