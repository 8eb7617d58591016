/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_TAP_PAUSE_H
#define PVB_BACKEND_NET_TAP_PAUSE_H
/* tap-pause: fewer wake-ups for a TAP that many small frames come by, as network cards moderate their interrupts.
 *
 * A sender on our own processor is put aside each time that a frame of its wakes us up, and then each frame costs a sleep, a
 * pass and a notification to the guest. So after a pass the TAP is left alone for a while, and what came meanwhile makes one
 * pass. The first frame after a silence never waits. The while is halved each time that there were more than TAP_PAUSE_MANY
 * frames, and doubled when there were few, up to TAP_PAUSE_MOST_NS.
 *
 * Whether a pause pays is found by trying. It does while each brings two frames or more: then the timer alone calls for the
 * next pass, until one finds nothing. One that does not is tried ever less often, down to one in 64 wake-ups. Large frames
 * need no pause, and a TCP sender waits for them to be taken: after TAP_PAUSE_LARGE bytes there is none.
 *
 * Usage    the callback of the TAP's source is the timer's, too. At the end of each call: tap_pause() with what it has read.
 *          tap_pause_stop() where nobody is to read for now; who listens again says so to the TAP's source.
 * Threads  the loop's.   Errors  -errno from tap_pause_open().   Logs  nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bus/loop.h"

#define TAP_PAUSE_MOST_NS 250000u  /* 4000 a second, where network cards end */
#define TAP_PAUSE_LEAST_NS 15625u
#define TAP_PAUSE_MANY 16u         /* frames a pass: more make no difference */
#define TAP_PAUSE_LARGE 4096u

struct tap_pause {
	struct pvb_source *tap, *timer;
	int fd;
	uint32_t ns;               /* how long it is left alone */
	bool on;                   /* the TAP is left alone until the timer tells */
	bool paid;                 /* a pause since it was listened to */
	uint8_t skip, wait;        /* wake-ups without a pause: still, and after the last that was for nothing */
};

/* fd becomes -1 first: tap_pause_close() is right whatever has failed. */
int tap_pause_open(struct tap_pause *p, struct pvb_loop *loop, struct pvb_source *tap,
		   void (*fn)(void *arg, uint32_t events), void *arg);
void tap_pause_close(struct tap_pause *p);
/* more: there may be more to read right now. */
void tap_pause(struct tap_pause *p, unsigned frames, size_t bytes, bool more);
/* Neither the TAP nor the timer is listened to. */
void tap_pause_stop(struct tap_pause *p);
#endif
