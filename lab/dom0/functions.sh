# shellcheck shell=bash disable=SC2016 # conditions are evaluated later
# SPDX-License-Identifier: GPL-2.0-or-later
#
# functions.sh owns what a dom0 script of the lab needs to handle guests:
# making them with unmodified xl, waiting for what they report, running
# commands in them, and checking that nothing of them is left.
# A script starts with:  . "$LAB/functions.sh"

lab_dir=/run/lab
lab_console=/var/log/xen/console
mkdir -p "$lab_dir/cfg"

lab_fail() { echo "FAIL: $*" >&2; exit 1; }

# wait_for 'CMD' TIMEOUT [WHAT]: for things that have no event, asked ten times
# a second.  Guests and block devices do have events: use guest_wait.
wait_for() {
	local command=$1 timeout=$2 end

	end=$((SECONDS + timeout))
	until eval "$command"; do
		if [ $SECONDS -ge $end ]; then
			echo "lab: not within $timeout s: ${3:-$command}" >&2
			return 1
		fi
		sleep 0.1
	done
}

# wait_node PATH TIMEOUT 'CONDITION': until CONDITION holds, which may look at
# $value, what the node says (empty while it is not there).  Looks once at the
# start and again at each change.
wait_node() {
	local path=$1 timeout=$2 condition=$3 value watch pid rc=1 end left

	end=$((SECONDS + timeout))
	exec {watch}< <(exec xenstore-watch "$path")
	pid=$!
	while left=$((end - SECONDS)) && [ "$left" -gt 0 ] && read -r -t "$left" -u "$watch" _; do
		# shellcheck disable=SC2034 # value is for the condition
		value=$(xenstore-read "$path" 2>/dev/null) || value=""
		if eval "$condition"; then
			rc=0
			break
		fi
	done
	kill $pid 2>/dev/null
	exec {watch}<&-
	return $rc
}

guest_id() { cat "$lab_dir/$1.id" 2>/dev/null || xl domid "$1"; }

guest_create_usage() {
	cat >&2 <<-END
	usage: guest_create NAME pv|pvh|hvm [option...]
	  --script FILE | --cmd 'CMD'   what the guest runs; status by guest_wait
	  --disk SPEC  --vif SPEC       as in xl.cfg, each may be repeated
	  --file SRC[:DST]              into the guest (DST: a path, default /root/NAME)
	  --mem MB  --vcpus N           default 128 (hvm 160) and 1
	  --append CMDLINE              e.g. xen_blkfront.max_queues=1
	  --config 'KEY=VALUE'          a line for the xl.cfg, may be repeated
	  --kernel FILE  --initrd FILE  instead of the lab's
	  --fio                         fio, iperf3, ethtool, lsblk in the guest (lab/run --with-fio)
	  --paused                      xl create -p
	END
}

# The guest's job travels as one more cpio behind its initramfs.
guest_job() {
	local stage=$1 out=$2

	(cd "$stage" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 2>/dev/null) >"$out"
}

guest_create() {
	local name=$1 type=$2 script="" command="" mem="" vcpus=1 append="" fio="" paused=""
	local kernel="" initrd="" stage src dst
	local disks=() vifs=() files=() config=()

	[ $# -ge 2 ] || { guest_create_usage; return 2; }
	shift 2
	while [ $# -gt 0 ]; do
		case $1 in
		--fio) fio=yes; shift; continue ;;
		--paused) paused=-p; shift; continue ;;
		esac
		[ $# -ge 2 ] || { guest_create_usage; return 2; }
		case $1 in
		--script) script=$2 ;;
		--cmd) command=$2 ;;
		--disk) disks+=("$2") ;;
		--vif) vifs+=("$2") ;;
		--file) files+=("$2") ;;
		--mem) mem=$2 ;;
		--vcpus) vcpus=$2 ;;
		--append) append="$append $2" ;;
		--config) config+=("$2") ;;
		--kernel) kernel=$2 ;;
		--initrd) initrd=$2 ;;
		*) echo "guest_create: unknown option '$1'" >&2; guest_create_usage; return 2 ;;
		esac
		shift 2
	done
	# Unpacked, PV and PVH start seconds sooner; an HVM guest gets its files
	# through QEMU at nearly 4 s a megabyte, so there small is fast.
	case $type in
	hvm) : "${kernel:=/guest/vmlinuz}" "${initrd:=/guest/initrd.xz}" ;;
	*) : "${kernel:=/guest/vmlinux}" "${initrd:=/guest/initrd}" ;;
	esac
	[ -e "$kernel" ] || lab_fail "guest $name: $kernel: no such kernel"

	stage=$lab_dir/$name.stage
	rm -rf "$stage"
	mkdir -p "$stage/job"
	if [ -n "$script" ]; then
		cp "$script" "$stage/job/script" || return 1
	elif [ -n "$command" ]; then
		printf '#!/bin/sh\n%s\n' "$command" >"$stage/job/script"
	fi
	[ ! -e "$stage/job/script" ] || chmod 755 "$stage/job/script"
	for src in "${files[@]}"; do
		dst=/root/$(basename "${src%%:*}")
		case $src in *:*) dst=${src#*:} ;; esac
		mkdir -p "$stage/$(dirname "$dst")"
		cp -a "${src%%:*}" "$stage/$dst" || return 1
	done
	guest_job "$stage" "$lab_dir/$name.job"
	if [ -n "$fio" ]; then
		[ -e /guest/fio ] || lab_fail "guest $name: --fio needs lab/run --with-fio"
		cat "$initrd" /guest/fio "$lab_dir/$name.job" >"$lab_dir/$name.initrd"
	else
		cat "$initrd" "$lab_dir/$name.job" >"$lab_dir/$name.initrd"
	fi
	rm -rf "$stage" "$lab_dir/$name.job"

	append="console=hvc0 panic=-1 quiet loglevel=5 lab.name=$name$append"
	case $type in
	hvm)
		: "${mem:=160}"
		# Keeps the emulated disk and NIC beside the synthetic ones.
		case $append in
		*xen_emul_unplug=*) ;;
		*) append="$append xen_emul_unplug=unnecessary" ;;
		esac
		[ -e /usr/libexec/xen-qemu-system-i386 ] ||
			lab_fail "guest $name: HVM needs lab/run --with-qemu"
		config+=('vnc=0' 'vga="none"' 'usb=0')
		;;
	pv | pvh) : "${mem:=128}" ;;
	*) lab_fail "guest $name: type '$type' is none of pv, pvh, hvm" ;;
	esac

	{
		echo "name=\"$name\""
		echo "type=\"$type\""
		echo "kernel=\"$kernel\""
		echo "ramdisk=\"$lab_dir/$name.initrd\""
		echo "cmdline=\"$append\""
		echo "memory=$mem"
		echo "vcpus=$vcpus"
		echo 'on_poweroff="destroy"'
		echo 'on_reboot="restart"'
		echo 'on_crash="destroy"'
		echo "disk=[$(lab_quote "${disks[@]}")]"
		echo "vif=[$(lab_quote "${vifs[@]}")]"
		printf '%s\n' "${config[@]}"
	} >"$lab_dir/cfg/$name.cfg"

	guest_begin "$name" $paused
}

# guest_begin NAME [-p]: make the domain that guest_create has described.
guest_begin() {
	local name=$1 paused=${2:-}

	rm -f "$lab_dir/$name.id" "$lab_dir/$name.seq"
	# An earlier guest of that name keeps its console log.
	local log=$lab_console/guest-$name.log n=1
	if [ -e "$log" ]; then
		while [ -e "${log%.log}.$n.log" ]; do n=$((n + 1)); done
		mv "$log" "${log%.log}.$n.log"
	fi
	# shellcheck disable=SC2086 # -p or nothing
	xl create $paused "$lab_dir/cfg/$name.cfg" </dev/null >"$lab_dir/cfg/$name.create" 2>&1 || {
		local rc=$?
		sed 's/^/xl create: /' "$lab_dir/cfg/$name.create" >&2
		! guest_is "$name" hvm || tail -n 5 "/var/log/xen/qemu-dm-$name.log" >&2
		return $rc
	}
	xl domid "$name" >"$lab_dir/$name.id"
}

guest_is() { grep -q "^type=\"$2\"" "$lab_dir/cfg/$1.cfg" 2>/dev/null; } # NAME TYPE

# The SVM that QEMU emulates loses a PVH or HVM guest now and then while its firmware or kernel starts: it stands still, or Xen
# tells of a triple fault and the guest is gone within a second. One whose /init has not begun has met nothing that is tested here:
# it is made again, up to three times, and that is said.
guest_boots() { # NAME
	local end tries=3 why id

	! guest_is "$1" pv || return 0
	id=$(guest_id "$1") end=$((SECONDS + $(guest_patience "$1") / 2))
	while :; do
		why=""
		# Xen reboots one with a triple fault: it has the name, and another number
		[ "$(xl domid "$1" 2>/dev/null)" = "$id" ] || why="it ended"
		[ $SECONDS -lt $end ] || why="nothing comes"
		! guest_log "$1" | grep -q '^lab: init' || return 0
		if [ -n "$why" ]; then
			[ $tries -gt 0 ] || return 0
			echo "lab: guest $1 is made again: $why before its /init began" >&2
			guest_tail "$1" 5
			# the end of a domain takes its initrd along
			ln -f "$lab_dir/$1.initrd" "$lab_dir/$1.again" || return
			! xl domid "$1" >/dev/null 2>&1 || guest_destroy "$1" || return
			mv "$lab_dir/$1.again" "$lab_dir/$1.initrd" && guest_begin "$1" || return
			id=$(guest_id "$1") tries=$((tries - 1)) end=$((SECONDS + $(guest_patience "$1") / 2))
		fi
		sleep 0.5
	done
}

lab_quote() {
	local sep="" word
	for word; do
		[ -n "$word" ] || continue
		printf "%s'%s'" "$sep" "$word"
		sep=", "
	done
}

guest_log() { cat "$lab_console/guest-$1.log" 2>/dev/null; }

guest_tail() {
	echo "---- the end of guest $1's console" >&2
	guest_log "$1" | tr -d '\r' | tail -n "${2:-25}" | cut -c 1-160 >&2
	echo "----" >&2
}

# How long a guest is waited for when nobody says: five times what a boot takes
# on a quiet machine, since emulated CPUs share theirs with whatever else runs.
guest_patience() { if guest_is "$1" hvm; then echo 400; else echo 180; fi; }

# guest_wait NAME [TIMEOUT]: the status of the guest's script; 124 when there is
# none in time, 125 when the guest is gone without a verdict.
guest_wait() {
	local name=$1 timeout id verdict=""

	guest_id "$name" >/dev/null || lab_fail "no guest $name"
	guest_boots "$name" || return
	timeout=${2:-$(guest_patience "$name")}
	id=$(guest_id "$name") || lab_fail "no guest $name"
	wait_node "/local/domain/$id/data/verdict" "$timeout" \
		'[ -n "$value" ] && verdict=$value || ! xenstore-exists "/local/domain/$id/name"' || {
		echo "lab: guest $name: no verdict within $timeout s" >&2
		guest_tail "$name"
		return 124
	}
	if [ -z "$verdict" ]; then
		echo "lab: guest $name ended without a verdict" >&2
		guest_tail "$name"
		return 125
	fi
	[ "$verdict" = 0 ] || guest_tail "$name"
	return "$verdict"
}

# guest_up NAME [TIMEOUT]: until its /init runs and its front ends are loaded.
guest_up() {
	local id timeout=${2:-$(guest_patience "$1")}

	id=$(guest_id "$1") || lab_fail "no guest $1"
	wait_node "/local/domain/$id/data/up" "$timeout" '[ -n "$value" ]' && return
	echo "lab: guest $1 is not up within $timeout s" >&2
	guest_tail "$1"
	return 124
}

# guest_exec NAME CMD [TIMEOUT]: run a shell command line in the guest; its
# output (both streams, up to 90 KB) and status are this function's.
guest_exec() {
	local name=$1 command=$2 timeout=${3:-120} id seq status="" pieces="" i base

	id=$(guest_id "$name") || lab_fail "no guest $name"
	base=/local/domain/$id/data
	seq=$(($(cat "$lab_dir/$name.seq" 2>/dev/null || echo 0) + 1))
	echo $seq >"$lab_dir/$name.seq"
	xenstore-write "$base/cmd" "$seq:$command" || return 125
	wait_node "$base/done" "$timeout" \
		'[ "${value%% *}" = $seq ] && read -r _ status pieces <<<"$value" || ! xenstore-exists "/local/domain/$id/name"' || {
		echo "lab: guest $name: no answer within $timeout s to: $command" >&2
		guest_tail "$name"
		return 124
	}
	[ -n "$status" ] || { echo "lab: guest $name ended during: $command" >&2; return 125; }
	for ((i = 0; i < pieces; i++)); do
		xenstore-read "$base/out/$i"
	done | base64 -d
	return "$status"
}

# guest_gone NAME [TIMEOUT]: until the domain is no more.
guest_gone() {
	local id
	id=$(guest_id "$1") || return 0

	wait_node "/local/domain/$id" "${2:-60}" '! xl domname "$id" >/dev/null 2>&1' && {
		rm -f "$lab_dir/$1.id" "$lab_dir/$1.initrd"
		return
	}
	echo "lab: guest $1 (domain $id) is still there after ${2:-60} s" >&2
	return 124
}

guest_shutdown() {
	xl shutdown "$1" >/dev/null || return
	guest_gone "$1" "${2:-60}"
}

guest_destroy() {
	xl destroy "$1" || return
	guest_gone "$1" "${2:-60}"
}

# mapped_grants [DOMID]: what Xen knows of grants in use by somebody, "OWNER REFERENCE USER" a line; of
# one owner, or of all.  Not those of a domain's console and store (0 and 1) while it exists.
# shellcheck disable=SC2120 # scripts give it
mapped_grants() {
	local table

	xl debug-keys g || return
	table=$(xl dmesg | awk '/gnttab_usage_print_all \[/ { at = NR } { line[NR] = $0 }
		END { if (!at) exit 1; for (; at <= NR; at++) print line[at] }') || return
	case $table in *"gnttab_usage_print_all ] done"*) ;; *) echo "lab: Xen's list of grants is cut off" >&2; return 1 ;; esac
	awk -v want="${1:-}" -v live=" $(xl list | awk 'NR > 1 { print $2 }' | tr '\n' ' ') " '
		/grant-table for remote/ { match($0, /remote d[a-z: ]*[0-9]+/); owner = substr($0, RSTART, RLENGTH); gsub(/[^0-9]/, "", owner) }
		match($0, /\[0x[0-9a-f]+\] +[0-9]+ /) {
			split(substr($0, RSTART, RLENGTH), f, /[][ ]+/)
			if (want != "" && owner != want)
				next
			if ((f[2] == "0x000" || f[2] == "0x001") && index(live, " " owner " "))
				next
			print owner, f[2], f[3]
		}' <<<"$table"
}

# assert_clean: no guest, no device node, no grant still mapped.
assert_clean() {
	local left rc=0 kind

	left=$(xl list | awk 'NR > 1 && $2 != 0')
	[ -z "$left" ] || { echo "lab: domains left: $left" >&2; rc=1; }
	for kind in $(xenstore-list /local/domain/0/backend 2>/dev/null); do
		left=$(xenstore-list "/local/domain/0/backend/$kind" 2>/dev/null)
		[ -z "$left" ] || {
			echo "lab: nodes left:" >&2
			xenstore-ls -f "/local/domain/0/backend/$kind" >&2
			rc=1
		}
	done
	left=$(xenstore-list /local/domain | grep -vx 0)
	[ -z "$left" ] || { echo "lab: /local/domain has left: $left" >&2; rc=1; }
	# who had them may be letting go
	for kind in 1 2 3; do
		left=$(mapped_grants) || left="unknown"
		[ -n "$left" ] || break
		sleep 1
	done
	[ -z "$left" ] || { echo "lab: grants left (owner, reference, user): $left" >&2; rc=1; }
	return $rc
}
