/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_POLLING_H
#define PVB_BACKEND_POLLING_H
/* polling.h: how long a worker goes on looking at its rings before it asks for events and sleeps.
 *
 * While it looks, a guest need not notify it and nobody has to wake it up: on a host with processors to spare that is most of
 * what a small request costs.  How long is learned, as KVM does for halted processors: work that comes soon after the look
 * was over lengthens the next one, up to a limit; work that comes later than the limit halves it, down to none.  So a guest
 * that is idle, or whose requests are far apart, costs nothing.
 *
 * Looking takes a processor from whoever else waits for one.  If we were taken off it meanwhile there is somebody, and nothing
 * is looked at for a while.
 *
 * One struct for all rings of a worker:
 *   poll_stay()   at the end of each pass over rings.  True: do not ask for events, there will be another pass.
 *   on            there must be another pass.
 *   poll_over()   when `until` has come: now each ring must get a pass that asks for events.
 *
 * Units    ns of CLOCK_MONOTONIC.   Threads  one.   Errors  none.
 */
#include <stdbool.h>
#include <stdint.h>

#define POLL_FIRST_NS 10000u     /* the shortest look */
#define POLL_CROWDED_NS 50000000u /* no look for so long when others want the processor */
#define POLL_MAX_US 1000000u

struct poll {
	uint64_t max_ns;         /* the limit; 0: never */
	uint64_t ns;             /* what has been learned */
	uint64_t until;
	uint64_t worked;         /* when there was something last; 0: never yet */
	uint64_t not_before;     /* others want the processor */
	long preempted;          /* how often we were, when it was looked at last */
	bool on;
};

bool poll_stay(struct poll *p, uint64_t now, bool work); /* p may be NULL; work: this pass has done something */
/* preempted: how often this thread has been so far. */
void poll_over(struct poll *p, uint64_t now, long preempted);
long poll_preempted(void);                               /* asks the kernel */
#endif
