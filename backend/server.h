/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_SERVER_H
#define PVB_BACKEND_SERVER_H
/* A small Unix stream server on the supervisor's loop: a request is a line (of at most 4096 bytes), its
 * answer a malloc'ed text.  Mode 0600: who may connect may operate every disk.  Connections are limited to
 * 32, a client that does not read its answer holds up only itself. */
#include <stdbool.h>
#include <stddef.h>
#include "bus/error.h"
#include "bus/loop.h"

struct server;
struct server_ops {
	/* Answer one line (without its newline). NULL: close. */
	char *(*answer)(void *arg, const char *line);
	bool once;   /* close after the first answer (HTTP/1.0) */
};
int server_open(struct server **out, struct pvb_loop *loop, const char *path, const struct server_ops *ops, void *arg,
		struct pvb_error *err);
void server_close(struct server *s); /* removes the socket; NULL is fine */
#endif
