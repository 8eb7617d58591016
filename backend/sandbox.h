/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_SANDBOX_H
#define PVB_BACKEND_SANDBOX_H
/* A worker's sandbox: what is left to a process that a guest may take over.
 *
 * Own uid and gid (uid_base + domid, so that two guests' workers can not touch each other), no new
 * privileges, no core dump, limits, and a list of system calls: reading and writing what is open,
 * memory, waiting, messages on the socket it has.  Nothing opens, connects, binds, executes, forks or signals.
 * A call outside the list kills the worker (SIGSYS), which the supervisor reports.
 * Sanitizer builds keep the uid but not the call filter: their run time needs more.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/error.h"

struct sandbox {
	uint32_t uid;            /* 0: stay who we are (not root, or asked for) */
	bool seccomp;
};
int sandbox_enter(const struct sandbox *s, struct pvb_error *err);
#endif
