#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# pvl(1) and pvl --help come from two hands: each command and each of its options is in both, with the same
# argument.  And pvl.cfg(5) names every key that pvl acts on.
set -u
srcdir=${abs_top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
builddir=${abs_top_builddir:-$srcdir/build/main}
pvl=$builddir/toolstack/pvl page=$srcdir/man/pvl.1.md
[ -x "$pvl" ] || { echo "FAIL: $pvl is not built"; exit 1; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# Options as the help has them: "NAME[ ARG]", sorted.
help_options() { # FROM-LINE-REGEX
	awk -v from="$1" '/^[A-Z].*:$/ { on = $0 ~ from } on' | sed -nE 's/^ +(-[A-Za-z], +)?--([a-z-]+)( [A-Z]+)?  .*/\2\3/p' | sort
}
# The same from the page: terms of definition lists, **-f**, **\--force** or **\--host** *HOST*.
page_options() {
	sed -nE 's/^(\*\*-[A-Za-z]\*\*, )?\*\*\\--([a-z-]+)\*\*( \*([A-Z]+)\*)?$/\2 \4/p' | sed 's/ $//' | sort
}

nr=0
for command in $("$pvl" help --list); do
	"$pvl" "$command" --help >"$tmp/help" || fail "$command --help: status $?"
	awk -v c="$command" '/^## / { on = $2 == c } on' "$page" >"$tmp/section"
	[ -s "$tmp/section" ] || { fail "$page has no section \"## $command\""; continue; }
	help_options '^Options:' <"$tmp/help" >"$tmp/a"
	page_options <"$tmp/section" >"$tmp/b"
	diff "$tmp/a" "$tmp/b" >"$tmp/diff" || fail "options of $command in --help (<) and in pvl(1) (>): $(cat "$tmp/diff")"
	# the arguments, as both show them
	usage=$(sed -n '1s/^Usage: pvl [a-z-]* \[OPTION\]\.\.\. *//p' "$tmp/help")
	term=$(sed -n '3s/[*]//g; 3s/\\//g; 3s/^pvl [a-z-]* *//p' "$tmp/section")
	[ "$usage" = "$term" ] || fail "arguments of $command: --help \"$usage\", pvl(1) \"$term\""
	nr=$((nr + 1 + $(wc -l <"$tmp/a")))
done
awk '/^# / { on = $2 == "COMMANDS" } on && /^## / { print $2 }' "$page" | sort >"$tmp/a"
"$pvl" help --list | sort | comm -23 "$tmp/a" - >"$tmp/b"
[ ! -s "$tmp/b" ] || fail "$page explains what is no command: $(cat "$tmp/b")"

"$pvl" help >/dev/null || fail "help: status $?"
"$pvl" list --help | help_options '^Options of all' | grep -v '^verbose$' >"$tmp/a"
awk '/^# / { on = $2 == "OPTIONS" } on' "$page" | page_options | grep -v '^verbose$' >"$tmp/b"
diff "$tmp/a" "$tmp/b" >"$tmp/diff" || fail "options of all commands in --help (<) and in pvl(1) (>): $(cat "$tmp/diff")"

# keys: the table in cfgkeys.c, those somebody acts on
sed -nE 's/\{ "([a-z0-9_]+)", [^}]*[XL]/\n@\1 /gp' "$srcdir/toolstack/cfgkeys.c" | sed -n 's/^@\([a-z0-9_]*\) .*/\1/p' |
	sort -u >"$tmp/a"
grep -E '^\*\*[a-z0-9_]+\*\*=' "$srcdir/man/pvl.cfg.5.md" | grep -oE '\*\*[a-z0-9_]+\*\*=' | tr -d '*=' | sort -u >"$tmp/b"
[ "$(wc -l <"$tmp/a")" -gt 50 ] || fail "the table of keys was not understood"
diff "$tmp/a" "$tmp/b" >"$tmp/diff" || fail "keys of cfgkeys.c (<) and pvl.cfg(5) (>): $(cat "$tmp/diff")"

# ... and somebody does act on them
while read -r key; do
	grep -qF "\"$key\"" "$srcdir"/toolstack/host-*.c || fail "nobody reads the key $key"
done <"$tmp/a"

# completion offers what there is, in both shells
mkdir "$tmp/bin" && ln -s "$pvl" "$tmp/bin/pvl"
# offers LINE WORD...: what bash offers at the end of LINE
offers() {
	local line=$1 got
	shift
	# shellcheck disable=SC2016 # for that bash
	got=$(PATH=$tmp/bin:$PATH bash -c '. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _pvl_complete; echo "${COMPREPLY[*]}"' \
		- "$srcdir/toolstack/pvl.bash" "$line")
	[ "$got" = "$*" ] || fail "completion of \"$line\" offers: $got"
}
offers 'pvl block-' block-attach block-detach block-list
offers 'pvl create --no' --no-monitor
offers 'pvl --quiet trigger g n' nmi
offers 'pvl wait g ' created connected shutdown gone
offers 'pvl backend u' upgrade
offers 'pvl device ' show
offers 'pvl --host ' xen local
(cd "$tmp" && offers 'pvl backend upgrade bi' bin && exit $failed) || failed=1
if command -v zsh >/dev/null; then
	zsh -n "$srcdir/toolstack/pvl.zsh" || fail "pvl.zsh"
fi
# --json lists the same commands
[ "$("$pvl" --json-lines help | sed -n 's/^{"name":"\([a-z-]*\)".*/\1/p')" = "$("$pvl" help --list)" ] || fail "help --json-lines"
[ $failed -ne 0 ] || echo "$nr commands and options, $(wc -l <"$tmp/a") keys: page and program agree"
exit $failed
