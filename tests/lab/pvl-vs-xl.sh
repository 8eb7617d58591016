#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The same commands through xl and through pvl, on a stock PV guest with stock back ends: what they print, how they end and
# what is in xenstore afterwards must be the same, but for the differences listed below.  One that is listed and not seen
# fails as well.
#   lab/run --mem 3072 --allow-splat '.*' tests/lab/pvl-vs-xl.sh [look] [wrong] [use] [life]
# look: tables; wrong: what must fail; use: what changes a running guest; life: create, save, restore, reboot, shutdown.
# shellcheck source=lab/dom0/functions.sh
. "$LAB/functions.sh"
[ $# -gt 0 ] || set -- look wrong use life

# CASE|WHAT|REASON; WHAT is out, status or state; CASE is the command as it stands below.
differences='
list -v|out|pvl shows type and seconds since the start, and the reason in the state column where list has it anyway
info|out|pvl_version in the place of xend_config_format, cc_compile_by and cc_compile_domain
info -n|out|the same, and no device topology
info nofield|status|xl prints nothing and succeeds
block-list nosuch|status|xl says it on stderr and succeeds
nosuchcommand|status|2 is wrong usage in pvl; in xl 1
mem-set vs 99x|status|wrong usage
mem-max vs 99x|status|wrong usage
vcpu-set vs 0|status|wrong usage
vcpu-set vs x|status|wrong usage
sysrq vs hh|status|wrong usage
create /run/lab/cfg/vs.cfg|status|xl exits with the number that libxl gave
create /nosuch|status|as above
create /run/lab/cfg/vs.cfg kernel="/nokernel" name="other"|status|as above
create /run/lab/cfg/vs.cfg kernel="/nokernel"|status|as above
config-update vs /nosuch|status|as above
'

failed=0 nr=0 seen="" ran=""
g=vs
fail() { echo "FAIL: $*"; failed=1; }
compare() { # CASE WHAT FILE-OF-XL FILE-OF-PVL
	nr=$((nr + 1))
	ran="$ran$1|$2"$'\n'
	if cmp -s "$3" "$4"; then
		return
	fi
	seen="$seen$1|$2"$'\n'
	echo "$differences" | grep -qF "$1|$2|" && return
	fail "$1: $2 differs:"
	diff "$3" "$4" | head -n 20
}
# what of a table may change from one call to the next: times, what runs just now, memory in use
steady() {
	tr -s ' \t' ' ' | sed -E 's/ $//; s/[0-9]+\.[0-9]( |$)/T\1/g; s/ [r-][b-](-{4}|p-{3})( |$)/ F\1\2/; s/ ([0-9]+|-) [r-][b-]- T/ S T/
		s/[0-9]+:[0-9]{2}(:[0-9]{2})?/U/g; s/^(free_memory|outstanding_claims) : .*/\1/; /^ *$/d'
}
run() { # TOOL COMMAND...: /tmp/TOOL.out, /tmp/TOOL.status
	local tool=$1 rc=0
	shift
	echo "   $tool $*"
	$tool "$@" >/tmp/$tool.raw 2>/tmp/$tool.err </dev/null || rc=$?
	echo $rc >/tmp/$tool.status
	steady </tmp/$tool.raw >/tmp/$tool.out
}
# The guest as Xen and the store have it, without what is another each time.
state() {
	local id
	id=$(command xl domid $g 2>/dev/null) || { echo "no $g"; return; }
	{
		command xl list $g | tail -n 1
		command xl vcpu-list $g | tail -n +2
	} | steady | sed "s/^$g $id /$g ID /"
	{
		xenstore-ls -f "/local/domain/$id"
		xenstore-ls -f "/libxl/$id"
		for kind in vbd vif console; do
			xenstore-ls -f "/local/domain/0/backend/$kind/$id" 2>/dev/null
		done
	} | sed -E "s#/$id(/|\"|\$| )#/ID\1#g; s#(frontend-id|domid) = \"$id\"#\1 = \"ID\"#" |
		grep -vE '(ring-ref|event-channel|ring-page|tty|/port|start_time|/data|/data/[a-z]+|physical-device|uuid|request-.*|feature-.*|multi-queue.*|shutdown|sysrq|device/suspend.*) = ' | sort
}
look() { # COMMAND...
	run xl "$@"
	run pvl "$@"
	compare "$*" status /tmp/xl.status /tmp/pvl.status
	compare "$*" out /tmp/xl.out /tmp/pvl.out
}
# wrong COMMAND...: fails in the same way and changes nothing
wrong() {
	state >/tmp/before
	run xl "$@"
	run pvl "$@"
	compare "$*" status /tmp/xl.status /tmp/pvl.status
	state >/tmp/after
	compare "$*" state /tmp/before /tmp/after
	[ "$(cat /tmp/pvl.status)" != 0 ] || fail "pvl $*: succeeds"
	[ "$(wc -l </tmp/pvl.err)" -gt 0 ] || fail "pvl $*: says nothing"
}
# settled CONDITION: what a guest does by itself; bounded
settled() { wait_for "$1" 40 || fail "not settled: $1"; }
# change CONDITION UNDO -- COMMAND...: the state after it (when CONDITION holds), and after UNDO (when its holds)
change() {
	local condition=$1 undo=$2 tool
	shift 3
	for tool in xl pvl; do
		run $tool "$@"
		cp /tmp/$tool.status /tmp/$tool.did # the undoing may run more
		cp /tmp/$tool.err /tmp/$tool.said
		settled "$condition"
		state >/tmp/$tool.state
		eval "$undo"
	done
	compare "$*" status /tmp/xl.did /tmp/pvl.did
	compare "$*" state /tmp/xl.state /tmp/pvl.state
	[ "$(cat /tmp/pvl.did)" = 0 ] || fail "pvl $*: $(cat /tmp/pvl.said)"
}
# shellcheck disable=SC2317 # settled evaluates it
has() { command xl list $g | awk 'NR == 2 { print $3 }'; } # MiB
up() { rm -f /run/lab/$g.id; guest_up $g || exit 1; }

cat >/etc/xen/scripts/vif-none <<-'END'
	#!/bin/sh
	[ "$1" != online ] || xenstore-write "$XENBUS_PATH/hotplug-status" connected
END
chmod 755 /etc/xen/scripts/vif-none
modprobe xen-blkback
modprobe xen-netback
truncate -s 8M /tmp/a.img /tmp/b.img
a=$(losetup -f --show /tmp/a.img) b=$(losetup -f --show /tmp/b.img)
guest_create $g pv --vcpus 2 --disk "phy:$a,xvda,w" --config 'uuid="0e8f3a52-5c5b-4c51-9d6e-2f1a3b4c5d6e"' || exit 1
up
id=$(xl domid $g)
settled "xl list $g | grep -q -- '-b----'"

for step; do
	echo "== $step"
	case $step in
	look)
		look list
		look list $g
		look list -v
		look list -c
		look list -n
		look list -Z
		look list -l $g
		look vm-list
		look uptime
		look uptime $g
		look uptime -s $g
		look domid $g
		look domname "$id"
		look vcpu-list
		look vcpu-list $g
		look block-list $g
		look network-list $g
		look dmesg
		look info
		look info -n
		look info xen_major
		look info nofield
		look block-list nosuch
		look network-list nosuch
		run pvl --json list -l $g
		cp /tmp/pvl.out /tmp/json.out
		run pvl list -l $g
		compare "--json list -l" out /tmp/json.out /tmp/pvl.out
		;;
	wrong)
		wrong list nosuch
		wrong domid nosuch
		wrong domname 99
		wrong uptime nosuch
		wrong vcpu-list nosuch
		wrong destroy nosuch
		wrong pause nosuch
		wrong shutdown nosuch
		wrong rename nosuch other
		wrong rename
		wrong nosuchcommand
		wrong list --nosuchoption
		wrong mem-set $g 99x
		wrong mem-set $g 100000m
		wrong mem-max $g 99x
		wrong vcpu-set $g 0
		wrong vcpu-set $g x
		wrong vcpu-set $g 9
		wrong vcpu-set -i $g 9
		wrong vcpu-pin $g 9 0
		wrong vcpu-pin $g 0 77
		wrong vcpu-pin $g 0
		wrong trigger $g nosuch
		wrong sysrq $g hh
		wrong destroy 0
		wrong cd-insert $g hdc /dev/null
		wrong block-attach $g
		wrong block-attach $g "phy:/nosuch,xvdb,w"
		wrong block-detach $g xvdq
		wrong network-detach $g 7
		wrong save $g
		wrong save nosuch /tmp/s
		wrong restore /nosuch
		wrong migrate $g
		wrong config-update $g /nosuch
		wrong dump-core nosuch /tmp/core
		wrong create /nosuch
		wrong create /run/lab/cfg/$g.cfg
		wrong create /run/lab/cfg/$g.cfg 'kernel="/nokernel"' 'name="other"'
		;;
	use)
		change true "xl unpause $g; settled \"xl list $g | grep -q -- '-b----'\"" -- pause $g
		xl pause $g
		change true "xl pause $g" -- unpause $g
		xl unpause $g
		change true "xl rename $id $g" -- rename $g other
		change true "" -- sysrq $g h
		change "[ \$(has) = 112 ]" "xl mem-set $g 128m; settled '[ \$(has) = 128 ]'" -- mem-set $g 112m
		change "[ \$(has) = 112 ]" "xl mem-set $g 128; settled '[ \$(has) = 128 ]'" -- mem-set $g 114688k
		change true "xl mem-max $g 128m" -- mem-max $g 160
		change "[ \$(xl vcpu-list $g | grep -c -- --p) = 1 ]" \
			"xl vcpu-set $g 2; guest_exec $g 'echo 1 >/sys/devices/system/cpu/cpu1/online' # there is no udev in it
			settled \"! xl vcpu-list $g | grep -q -- --p\"" -- vcpu-set $g 1
		change true "xl vcpu-pin $g all all all" -- vcpu-pin $g all 1
		change true "xl vcpu-pin $g all all all" -- vcpu-pin $g 1 - 0
		change true "xl vcpu-pin $g all all all" -- vcpu-pin $g 0 0-1,^1 all
		change "[ \"\$(xenstore-read /local/domain/$id/device/vbd/51728/state)\" = 4 ]" \
			"look block-list $g; xl block-detach $g xvdb" -- block-attach $g "phy:$b,xvdb,w"
		xl block-attach $g "phy:$b,xvdb,w"
		change true "xl block-attach $g phy:$b,xvdb,w 2>/dev/null; settled '[ \"\$(xenstore-read /local/domain/$id/device/vbd/51728/state)\" = 4 ]'" \
			-- block-detach $g xvdb
		xl block-detach $g xvdb
		change "[ \"\$(xenstore-read /local/domain/$id/device/vif/0/state)\" = 4 ]" \
			"look network-list $g; xl network-detach $g 0" -- network-attach $g script=vif-none mac=00:16:3e:01:02:03 bridge=none
		xl network-attach $g script=vif-none mac=00:16:3e:01:02:03 bridge=none
		settled "[ \"\$(xenstore-read /local/domain/$id/device/vif/0/state)\" = 4 ]"
		change true "xl network-attach $g script=vif-none mac=00:16:3e:01:02:03 bridge=none
			settled '[ \"\$(xenstore-read /local/domain/$id/device/vif/0/state)\" = 4 ]'" -- network-detach $g 00:16:3e:01:02:03
		xl network-detach $g 0
		change true "" -- debug-keys h
		change true "rm /tmp/core" -- dump-core $g /tmp/core
		change true "rm -f /var/lib/xen/userdata-d.*.xl" -- config-update $g /run/lab/cfg/$g.cfg
		;;
	life)
		xl destroy $g
		change "xl list $g | grep -q -- '-b----' && [ \"\$(xenstore-read /local/domain/\$(xl domid $g)/device/vbd/51712/state)\" = 4 ]" \
			"up; \$tool reboot $g >/tmp/reboot.\$tool 2>&1; echo \$? >/tmp/\$tool.reboot; old=\$(cat /run/lab/$g.id 2>/dev/null || xl domid $g)
			settled 'id=\$(xl domid $g 2>/dev/null) && [ \$id != \$old ]'; up; settled \"xl list $g | grep -q -- '-b----'\"; state >/tmp/\$tool.again
			\$tool save -c $g /tmp/s.\$tool >/dev/null 2>&1; echo \$? >/tmp/\$tool.saved; state >/tmp/\$tool.checkpoint
			\$tool save $g /tmp/s.\$tool >/dev/null 2>&1; \$tool restore /tmp/s.\$tool >/dev/null 2>&1
			echo \$? >/tmp/\$tool.restored; rm -f /run/lab/$g.id; guest_exec $g true 60 || exit 1; settled \"xl list $g | grep -q -- '-b----'\"; state >/tmp/\$tool.resumed
			\$tool shutdown -w $g >/dev/null 2>&1; echo \$? >/tmp/\$tool.down; settled '! xl domid $g 2>/dev/null'; assert_clean || failed=1" \
			-- create /run/lab/cfg/$g.cfg
		for what in reboot saved restored down; do
			compare "$what" status /tmp/xl.$what /tmp/pvl.$what
			[ "$(cat /tmp/pvl.$what)" = 0 ] || fail "$what: $(cat /tmp/pvl.$what)"
		done
		for what in again checkpoint resumed; do
			compare "$what" state /tmp/xl.$what /tmp/pvl.$what
		done
		# and each takes what the other has saved: pvl-save.sh
		wrong create /run/lab/cfg/$g.cfg 'kernel="/nokernel"'
		pvl create /run/lab/cfg/$g.cfg memroy=64 >/dev/null 2>&1 && fail "a key that nobody knows is taken"
		;;
	esac
done
xl destroy $g 2>/dev/null

# what is listed, and was tried, was seen
while IFS='|' read -r case what _; do
	if [ -n "$case" ] && echo "$ran" | grep -qxF "$case|$what" && ! echo "$seen" | grep -qxF "$case|$what"; then
		fail "listed as different, but is not: $case ($what)"
	fi
done <<<"$differences"
echo "$nr comparisons, $(printf %s "$seen" | grep -c .) differ: $(printf %s "$seen" | tr '\n' ';')"
[ $failed -ne 0 ] || echo "PASS: pvl and xl agree: $*"
exit $failed
