/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_ENDS_H
#define PVB_BACKEND_CONSOLE_ENDS_H
/* Opening what a console's process has no right to: pseudo-terminals, sockets, logs.  The supervisor's.
 *
 * Files    A log is appended to, made with mode 0600, never through a symbolic link; a socket's path gets mode 0600, and a
 *          socket nobody listens on is taken away first.
 * Blocking Never: a connection is begun, and whoever has the descriptor sees how it ends.  Addresses are numbers, as a name
 *          would have to be asked for.
 * Errors   0 or -errno with words.  Never logs.
 */
#include "spec.h"

struct con_open {
	int fd;                      /* -1: not open */
	int slave;                   /* of a pty: held open, so that it has somebody whoever comes and goes */
	char tty[64];
	uint64_t size;               /* of a log, when it was opened */
};
#define CON_OPEN_NONE ((struct con_open){ .fd = -1, .slave = -1 })

/* One that dials is not opened: con_end_dial(). */
int con_end_open(const struct con_end *e, struct con_open *o, struct pvb_error *err);
/* Also takes a listening socket's path away.  What is not open is fine. */
void con_end_close(const struct con_end *e, struct con_open *o);
/* A descriptor whose connection is on its way, or -errno. */
int con_end_dial(const struct con_end *e, struct pvb_error *err);
/* Move the log's files on and open a new one.  If they can not be moved o stays open, and err says why. */
int con_end_rotate(const struct con_end *e, struct con_open *o, struct pvb_error *err);
#endif
