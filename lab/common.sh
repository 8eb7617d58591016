# shellcheck shell=bash
# shellcheck disable=SC2034 # set here, used where this is sourced
# SPDX-License-Identifier: GPL-2.0-or-later
#
# common.sh owns what fetch, image and run share: where things live, how a
# failure is worded, and which Debian package holds a host tool.  It is
# sourced; it starts nothing.

lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$lab")
prog="lab/$(basename "$0")"

# Downloads outlive "make clean"; everything built lives under build/.
cache=${PVBUS_CACHE:-${HOME:?HOME is not set, set PVBUS_CACHE instead}/.cache/pvbus}
build=${PVBUS_LAB_BUILD:-$top/build/lab}

# A command nobody expected to fail must not end a script without a word.
set -E
trap 'echo "$prog: line $LINENO: failed: $BASH_COMMAND" >&2' ERR

die() { echo "$prog: $*" >&2; exit "${die_status:-1}"; }
say() { echo "$prog: $*" >&2; }

# The Debian package a host tool comes from, for the one line that mends it.
package_of() {
	case $1 in
	qemu-system-x86_64) echo qemu-system-x86 ;;
	qemu-img) echo qemu-utils ;;
	depmod) echo kmod ;;
	flock) echo util-linux ;;
	cc) echo gcc ;;
	xz) echo xz-utils ;;
	od | dd | sha256sum | tee | mkfifo | stat) echo coreutils ;;
	ldd) echo libc-bin ;;
	readelf | nm) echo binutils ;;
	dpkg-deb) echo dpkg ;;
	apt-get | apt-cache) echo apt ;;
	find) echo findutils ;;
	*) echo "$1" ;;
	esac
}

# need TOOL...: all that is missing, in one message.
need() {
	local tool missing="" packages=""

	for tool; do
		command -v "$tool" >/dev/null && continue
		missing="$missing $tool"
		packages="$packages $(package_of "$tool")"
	done
	[ -z "$missing" ] ||
		die "not on this machine:$missing (apt-get install$packages)"
}

# lock FILE: hold it until this process ends, so that two runs take turns.
lock() {
	mkdir -p "$(dirname "$1")"
	exec {lock_fd}>"$1"
	flock -n "$lock_fd" && return
	say "waiting for another run that holds $1"
	flock "$lock_fd"
}

# After fetch: kernel=6.1.0-NN-amd64 and xen=4.17, as this machine's apt has them.
kernel="" xen=""
load_versions() {
	[ -e "$cache/versions" ] || die "$cache/versions is missing: run lab/fetch first"
	# shellcheck source=/dev/null
	. "$cache/versions"
}
