# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the block tests of the lab share, and those of guests' modules: starting pvbackd, disk specs, the proof that nothing
# is left of a disk, a guest that comes again, and a back end that lies to one.
#   lab/run ... --file tests/lab/blk-functions.sh tests/lab/blk-*.sh

log=/var/log/pvbus/pvbackd.log
expected=() # what the log may say at level error, as extended regular expressions

note() { printf '%s %s\n' "$(date +%T)" "$*"; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
spec() { echo "format=raw,vdev=$1,access=$2,backendtype=phy,script=block-pvbus,target=$3"; }

backd_start() {
	mkdir -p "${log%/*}"
	pvbackd "$@" 2>>"$log" &
	backd=$!
	wait_for '[ -S /run/pvbackd/ctl ]' 10 "pvbackd's socket" || exit 1
	backd_fds=$(fds_of $backd)
}

fds_of() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# The worker of a domain: "pvbackd-worker --worker FD DOMID ..."
worker_of() {
	local f words

	for f in /proc/[0-9]*/cmdline; do
		mapfile -d '' -t words 2>/dev/null <"$f" || continue
		if [ "${words[0]:-}" = pvbackd-worker ] && { [ -z "${1:-}" ] || [ "${words[3]:-}" = "$1" ]; }; then
			f=${f%/cmdline}
			echo "${f#/proc/}"
		fi
	done
}

# Who has the image open, or a loop device of it.
users_of() { find /proc/[0-9]*/fd -lname "$1" 2>/dev/null; }

# disk_gone DOMID [IMAGE]: no node, no worker, no mapped grant (they are the worker's), no open image.
disk_gone() {
	local base=/local/domain/0/backend/vbd

	wait_for "[ -z \"\$(xenstore-list $base/$1 2>/dev/null)\" ]" 15 "domain $1's nodes gone" || return
	wait_for "[ -z \"\$(worker_of $1)\" ]" 15 "domain $1's worker gone" || return
	[ -z "${2:-}" ] || wait_for "[ -z \"\$(users_of $2)\" ]" 5 "$2 closed"
}

# All guests are gone: so is all that was theirs, and the log tells of no error that was not provoked.
all_gone() {
	local left

	assert_clean || return
	wait_for '[ -z "$(worker_of)" ]' 15 "all workers gone" || return
	left=$(fds_of $backd)
	[ "$left" -le "$backd_fds" ] || {
		echo "pvbackd has $left descriptors open, had $backd_fds:" >&2
		ls -l /proc/$backd/fd >&2
		return 1
	}
	log_clean
}

log_clean() {
	local found

	found=$(grep -E "^<[0-3]>" "$log" | grep -vE -f <(printf "%s\n" "${expected[@]:-^$}")) || return 0
	echo "pvbackd's log:" >&2
	echo "$found" >&2
	return 1
}

backd_stop() {
	kill $backd
	wait $backd || lab_fail "pvbackd ended with status $?"
}

state_of() { xenstore-read "/local/domain/0/backend/vbd/$1/$2/state" 2>/dev/null; }

# A guest that xl made again (reboot, restore, migration) has a new domid.
guest_again() {
	xl domid "$1" >"$lab_dir/$1.id" || return
	xenstore-rm "/local/domain/$(guest_id "$1")/data/done" 2>/dev/null
	rm -f "$lab_dir/$1.seq"
}

# lie_to GUEST PROGRAM DEVID LIE WANTED [OPTION]: a back end that lies till the guest has seen what WANTED says
lie_to() {
	local guest=$1 program=$2 devid=$3 lie=$4 wanted=$5 option=${6:-} rc=0 pid

	[ -p /tmp/hold ] || mkfifo /tmp/hold || return
	"/root/$program" "$(guest_id "$guest")" "$devid" "$lie" ${option:+"$option"} </tmp/hold >/tmp/lie.out 2>&1 &
	pid=$!
	exec 9>/tmp/hold
	in_guest "$guest" lied "$devid" "$wanted" >/tmp/out || rc=1
	exec 9>&-
	wait $pid || rc=1
	note "$lie${option:+ $option}: $(tr '\n' ' ' </tmp/out) $(tail -n 1 /tmp/lie.out)"
	case $lie in
	spy) grep -q 'complaints 0 ' /tmp/lie.out || { echo "it has seen what is not for it" >&2; return 1; } ;;
	spy-trusted) ! grep -q 'complaints 0 ' /tmp/lie.out || { echo "the spy sees nothing at all" >&2; return 1; } ;;
	esac
	[ $rc = 0 ] && in_guest "$guest" unlied "$devid"
}

# half_made GUEST KIND DEVID FRONT-KEYS STATES: a device whose back end says one state after the other (N:M: wait until the
# front end says M), and is then taken away as it is.
half_made() {
	local id front back state

	id=$(guest_id "$1") || return
	front=/local/domain/$id/device/$2/$3 back=/local/domain/0/backend/$2/$id/$3
	xenstore-write "$back/frontend" "$front" "$back/frontend-id" "$id" "$back/online" 1 "$back/feature-rx-copy" 1 "$back/state" 1 || return
	xenstore-chmod -r "$back" n0 "r$id" || return
	# shellcheck disable=SC2086
	set -- "$1" "$2" "$3" "$5" $4
	xenstore-write "$front" "" && xenstore-chmod "$front" "n$id" r0 || return
	xenstore-write "$front/backend-id" 0 "$front/backend" "$back" || return
	while [ $# -gt 5 ]; do
		xenstore-write "$front/$5" "$6" || return
		set -- "$1" "$2" "$3" "$4" "${@:7}"
	done
	xenstore-write "$front/state" 1 && xenstore-chmod "$front/state" "n$id" r0 || return
	for state in $4; do
		xenstore-write "$back/state" "${state%:*}" || return
		[ "$state" = "${state%:*}" ] || wait_node "$front/state" 60 '[ "$value" = '"${state#*:}"' ]' || {
			echo "$2 $3 does not answer state ${state%:*} with ${state#*:}" >&2
			return 1
		}
	done
	xenstore-rm -t "$back" && xenstore-rm "$front" && in_guest "$1" unlied "$3"
}
