/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_CLIENT_H
#define PVB_BACKEND_CONSOLE_CLIENT_H
/* Who reads along: what the guest said last, and one connection with its place in that.
 *
 * Slow     What is kept has one size for all; nobody has a queue of his own.  A client that is slower than the guest for longer
 *          than that finds a line that says how much it has missed, and nobody waits for it.
 * Blocking Never.  Neither logs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "bus/loop.h"
#include "telnet.h"

#define HISTORY_SIZE (256u << 10) /* a power of two */

struct history {
	uint64_t head;               /* bytes ever put in */
	char *bytes;                 /* HISTORY_SIZE of them */
};
void history_put(struct history *h, const char *buf, size_t len);

struct port;
struct client {
	struct client *next;
	struct port *port;
	int fd;
	struct pvb_source *src;
	uint32_t events;             /* that are waited for */
	uint64_t pos;                /* in the history: the first byte that it has not got */
	bool framed;                 /* telnet */
	bool eof;                    /* it will say no more, and may be gone */
	bool blocked;                /* takes nothing now */
	struct telnet telnet;
	uint8_t out[512];            /* for the wire, made from what is before pos */
	size_t out_at, out_len;
};

/* Send what there is, as far as it goes.  0; or -errno: it is gone.  *lost grows by what it has missed. */
int client_send(struct client *c, const struct history *h, uint64_t *lost);
/* What it says, at most len bytes.  0: nothing now; -errno: it is gone; -EPIPE: it has finished. */
ssize_t client_receive(struct client *c, uint8_t *buf, size_t len);
#endif
