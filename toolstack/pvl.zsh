#compdef pvl
# SPDX-License-Identifier: GPL-2.0-or-later
# zsh completion for pvl.  pvl itself says what may come next.

local -a offer
offer=(${(f)"$(pvl help --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
if (( ${offer[(I)<files>]} )); then
	_files
else
	compadd -a offer
fi
