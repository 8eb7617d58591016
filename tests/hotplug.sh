#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The hotplug script's program asks pvbackd and leaves the answer where a toolstack looks for it: connected, or an
# error with the reason; it clears up on remove, and never brings back a piece of a device that is gone.
set -u
build=${abs_top_builddir:-}
[ -z "$build" ] || PATH=$build/backend:$build/bus:$PATH
for tool in pvlocald pvbackd pvbus-hotplug; do
	command -v $tool >/dev/null || { echo "FAIL: $tool is not built"; exit 1; }
done
command -v xenstore-write >/dev/null || { echo "SKIP: no xenstore-write (apt-get install xenstore-utils)"; exit 77; }

dir=$(mktemp -d /tmp/pvbus-hotplug.XXXXXX)
backd=""
stop() { # PID: and wait for it, killed if it must be
	kill "$1" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$1"
}
cleanup() {
	[ -z "$backd" ] || { kill "$backd"; wait "$backd"; } 2>/dev/null
	[ ! -s "$dir/pid" ] || stop "$(cat "$dir/pid")"
	rm -rf "$dir"
}
trap cleanup EXIT
status=0
fail() { echo "FAIL: $*"; status=1; }

export PVBUS_HV=local:$dir/fabric XENSTORED_PATH=$dir/fabric/store
pvlocald --dir "$dir/fabric" --pidfile "$dir/pid" || exit 1
mkfifo "$dir/ready"
pvbackd --quiet --ready-fd 3 3>"$dir/ready" 2>"$dir/log" &
backd=$!
cat "$dir/ready"

export XENBUS_PATH=backend/vbd/7/51712 XENBUS_BASE_PATH=backend XENBUS_TYPE=vbd
full=/local/domain/0/$XENBUS_PATH
device() { # TARGET
	xenstore-rm $full 2>/dev/null
	xenstore-write $full/frontend-id 7 $full/online 1 $full/mode w $full/type phy \
		$full/script /etc/xen/scripts/block-pvbus $full/params "$1" $full/state 1
}
key() { xenstore-read "$full/$1" 2>/dev/null; }

# expect STATUS HOTPLUG-STATUS ERROR-PATTERN WHAT COMMAND...
expect() {
	local want=$1 hotplug=$2 pattern=$3 what=$4 rc=0
	shift 4
	"$@" 2>"$dir/err" || rc=$?
	[ $rc -eq "$want" ] || { fail "$what: exit status $rc, not $want"; cat "$dir/err"; }
	[ "$(key hotplug-status)" = "$hotplug" ] || fail "$what: hotplug-status is \"$(key hotplug-status)\", not \"$hotplug\""
	# shellcheck disable=SC2254 # it is a pattern
	case $(key hotplug-error) in
	$pattern) ;;
	*) fail "$what: hotplug-error is \"$(key hotplug-error)\", not $pattern" ;;
	esac
}

truncate -s 1M "$dir/good.img"
device "$dir/good.img"
expect 0 connected "" "an image that is there" pvbus-hotplug add
expect 0 "" "" "remove" pvbus-hotplug remove
expect 0 connected "" "a path in full" env XENBUS_PATH=$full pvbus-hotplug add
expect 0 connected "" "a path below the base path" env XENBUS_PATH=vbd/7/51712 pvbus-hotplug add

device "$dir/missing.img"
expect 1 error "*missing.img*No such file*" "an image that is not there" pvbus-hotplug add
truncate -s 1M "$dir/missing.img"
expect 0 connected "" "it is there now" pvbus-hotplug add
device "file:$dir/good.img?no-such-option=1"
expect 1 error "*no-such-option*" "a wrong option" pvbus-hotplug add

# by another name, as a link: it is ours all the same, and a link to something else is not
device "file:$dir/good.img?no-such-option=1"
for name in block-pvbus other; do
	touch "$dir/$name"
	ln -sf "$dir/$name" "$dir/block"
	xenstore-write $full/script "$dir/block"
	case $name in
	other) expect 1 error "*neither physical-device*" "a link to a script of others" pvbus-hotplug add ;;
	*) expect 1 error "*no-such-option*" "a link to our script" pvbus-hotplug add ;;
	esac
done

xenstore-rm $full
expect 1 "" "" "a device that is gone" pvbus-hotplug add
expect 0 "" "" "remove of a device that is gone" pvbus-hotplug remove
! xenstore-exists $full || fail "the directory of a removed device is back"
expect 1 "" "" "no back end's path" env XENBUS_PATH=/local/domain/7 pvbus-hotplug add
expect 2 "" "" "a wrong word" pvbus-hotplug attach

device "$dir/good.img"
kill $backd
wait $backd
backd=""
expect 1 error "*pvbackd is not running*" "no pvbackd" pvbus-hotplug add
expect 0 "" "" "remove without pvbackd" pvbus-hotplug remove

# one that takes the call and then says nothing useful
if command -v python3 >/dev/null; then
	python3 - "$dir/silent" <<-'END' &
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.bind(sys.argv[1])
		s.listen(1)
		for answer in b"", b"nonsense\n", b'{"ok":false,"error":"a\\nb"}\n', b"x" * 5000:
		    c, _ = s.accept()
		    c.recv(1000)
		    try:
		        c.sendall(answer)
		    except OSError:
		        pass
		    c.close()
	END
	server=$!
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$dir/silent" ] || break
		sleep 0.05
	done
	expect 1 error "*hung up*" "a daemon that hangs up" pvbus-hotplug --ctl "$dir/silent" add
	expect 1 error "*makes no sense*" "a daemon that talks nonsense" pvbus-hotplug --ctl "$dir/silent" add
	expect 1 error "a?b" "an error of two lines" pvbus-hotplug --ctl "$dir/silent" add
	expect 1 error "*longer than*" "an endless answer" pvbus-hotplug --ctl "$dir/silent" add
	wait $server
fi
[ $status -ne 0 ] || echo "all answers arrive"
exit $status
