/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_SERVE_H
#define PVB_BACKEND_CONSOLE_SERVE_H
/* One console at work: from the guest's page to the log and to those who read along, and from them to the guest.
 *
 * Drained  The ring is drained whether anybody reads or not, at most at the rate that was set: what is over that stays in
 *          the ring, and the guest waits.  A log gets each byte before the guest gets its place back, so no byte that the
 *          guest is rid of is missing in it, whoever dies; clients get what is kept of it (client.h).
 * Filled   What clients say is taken from them only as the guest has room for it, so nothing typed is lost while the guest
 *          is busy.  Of all clients alike: there is one keyboard.
 * Trust    The guest as ring.h says: one lie and broken() is called, once, and nothing is done with the page any more.  Clients: they
 *          are counted, and get nobody's memory.
 * Blocking Only a log's file system can hold it up.
 * Threads  One.  Never logs.
 */
#include <stdint.h>
#include "bus/event.h"
#include "setup.h"

struct serve;
struct serve_ops {
	void (*broken)(void *arg, const char *why);
	void (*dial)(void *arg, unsigned end);     /* to be answered by serve_give() */
	void (*rotate)(void *arg, unsigned end);   /* the same */
	void (*log_failed)(void *arg, unsigned end, const char *why); /* once, until it works again */
};

/* Map the page of domid, bind its event channel and begin.  fds[i] is end i's, or -1; they become ours when this succeeds.
 * -EINVAL with words when the page or the port is not to be had. */
int serve_new(struct serve **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop, uint32_t domid,
	      const struct con_setup *setup, const int *fds, struct con_stats *stats, const struct serve_ops *ops, void *arg,
	      struct pvb_error *err);
/* The connection that was dialled, or the log's new file, which has so many bytes; fd < 0: it could not be had. */
void serve_give(struct serve *s, unsigned end, int fd, uint64_t size);
/* What the guest has said before goes to the log and to whom it can; then the page is let go. */
void serve_free(struct serve *s);
#endif
