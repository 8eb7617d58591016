#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The lab's scripts are shellcheck clean.

cd "$(dirname "$0")/../.." || exit 1
command -v shellcheck >/dev/null || { echo "lint.sh: skipped, no shellcheck (apt-get install shellcheck)"; exit 77; }
shellcheck -x -P . lab/fetch lab/image lab/run lab/two lab/splat lab/common.sh \
	lab/dom0/init lab/dom0/functions.sh lab/guest/init lab/guest/poweroff lab/tests/*.sh || exit 1
echo "lint.sh: ok"
