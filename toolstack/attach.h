/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_ATTACH_H
#define PVL_ATTACH_H
/* This terminal and a console's, joined until one of them ends.
 *
 * Keys     As they are, Ctrl-] apart, which leaves.  When standard input ends the console is still shown.
 * Restored The terminal is as it was when this returns, and when a signal ends the program in between.
 * Errors   An ATTACH_ value, or -errno with words.
 */
#include "error.h"

enum { ATTACH_LEFT, ATTACH_ENDED }; /* by the key / by the other side: its back end or domain is gone */

int attach_tty(const char *tty, struct pvb_error *err);
#endif
