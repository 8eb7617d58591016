/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_RATE_H
#define PVB_BACKEND_NET_RATE_H
/* A token bucket: so many bytes in each interval, for all queues of a NIC together.
 *
 * Burst     The bucket fills all the time, not by intervals, and holds what an interval gives, at least 10 ms' worth: a
 *           wake-up that is a little late loses nothing.  It begins full.
 * Debt      A frame passes while the bucket is not in debt, whatever its length, and is paid for afterwards.  So a
 *           frame larger than the bucket passes too, and the rate over time is exact.
 * Time      Nanoseconds, the caller's word for now (pvb_now_ns()); a clock that goes back stands still.
 * Pure      No clock, no memory, no locks of its own; nothing can fail.
 */
#include <stdbool.h>
#include <stdint.h>

#define RATE_INTERVAL_US 50000u      /* when none is given; as libxl's */
#define RATE_MAX_BYTES (1ULL << 44)
#define RATE_MAX_INTERVAL_US (3600ULL * 1000000)

struct rate {
	uint64_t bytes;              /* in each interval; 0: unlimited */
	uint64_t interval;           /* ns */
	uint64_t at;                 /* when level was right, ns */
	__int128 level, full;        /* in bytes x interval: no division on the way, no rounding */
};

/* Set, or change while in use: what is in the bucket (or owed) stays, as far as the new one holds it.  Numbers
 * beyond the limits above are cut to them.  A zeroed struct is an unlimited one. */
void rate_set(struct rate *r, uint64_t bytes, uint64_t usecs, uint64_t now);
/* May a frame go now?  Then it has been paid for. */
bool rate_pay(struct rate *r, uint32_t len, uint64_t now); /* the same for a limited one */
static inline bool rate_take(struct rate *r, uint32_t len, uint64_t now)
{
	return !r->bytes || rate_pay(r, len, now);
}
/* ns until rate_take() may say yes; 0: now. */
uint64_t rate_wait(struct rate *r, uint64_t now);
#endif
