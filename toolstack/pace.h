/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_PACE_H
#define PVL_PACE_H
/* A stream that is sent no faster than so much a second: a process between the writer and the descriptor passes it on, as
 * libxl writes a domain's memory by itself and knows no limit.
 *
 * Usage    pace_begin(); write to p->fd; pace_end(), which waits until all has gone out, or a signal has set *stop (may be NULL).
 *          Not whole: it drops what has not gone out yet.
 * Units    MiB a second, from 1 to PACE_MAX.   Ownership  `to` stays the caller's, p->fd is the pace's.
 * Errors   0 or -errno with a message. When `to` takes no more, p->fd does not either (EPIPE).   Logs  nothing.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "error.h"

#define PACE_MAX 1000000u

struct pace {
	int fd;
	pid_t pid;
};
int pace_begin(struct pace *p, int to, uint64_t mib, struct pvb_error *err);
int pace_end(struct pace *p, bool whole, const volatile sig_atomic_t *stop, struct pvb_error *err);
#endif
