/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_SAVEFILE_H
#define PVL_SAVEFILE_H
/* What xl and pvl put in front of libxl's stream, in a file and on the way to another host.
 *
 * Layout   32 bytes of magic; four 32-bit numbers in the writer's byte order: 0x01020304, flags a reader must know, flags
 *          it may know, bytes that follow.  These are a 32-bit length, and so many bytes of configuration.
 * Trust    The file may come from anywhere: lengths are checked against each other and bounded (4 MiB) before
 *          anything is allocated.
 * Errors   0 or -errno; never logs.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

struct savefile {
	bool json;               /* the configuration is libxl's JSON, not an xl.cfg */
	uint32_t stream_version; /* of libxl's stream: 1 or 2 */
	char *config;            /* malloc'ed; NULL: there is none */
};
/* Fills out on success only. */
int savefile_get_header(int fd, struct savefile *out, struct pvb_error *err);
/* config: JSON. */
int savefile_put_header(int fd, const char *config, struct pvb_error *err);

/* All of it.  -EPIPE: the other end closed before that; -ETIMEDOUT (-1: wait for ever); -EINTR: a signal has set
 * *stop, which may be NULL. */
int savefile_get(int fd, void *data, size_t len, int timeout_ms, const volatile sig_atomic_t *stop);
int savefile_put(int fd, const void *data, size_t len);
#endif
