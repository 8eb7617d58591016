/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "backend/net/rate.h"

#define MIN_BURST_NS 10000000u

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void fill(struct rate *r, uint64_t now)
{
	if (now <= r->at)
		return;
	r->level += (__int128)(now - r->at) * r->bytes;
	if (r->level > r->full)
		r->level = r->full;
	r->at = now;
}

void rate_set(struct rate *r, uint64_t bytes, uint64_t usecs, uint64_t now)
{
	uint64_t old = r->interval;
	bool limited = r->bytes;

	if (limited)
		fill(r, now);
	r->bytes = min64(bytes, RATE_MAX_BYTES);
	r->interval = min64(usecs ? usecs : RATE_INTERVAL_US, RATE_MAX_INTERVAL_US) * 1000;
	r->full = (__int128)r->bytes * (r->interval > MIN_BURST_NS ? r->interval : MIN_BURST_NS);
	r->level = limited ? r->level / (int64_t)old * (int64_t)r->interval : r->full;
	if (r->level > r->full)
		r->level = r->full;
	r->at = now;
}

bool rate_pay(struct rate *r, uint32_t len, uint64_t now)
{
	fill(r, now);
	if (r->level < 0)
		return false;
	r->level -= (__int128)len * r->interval;
	return true;
}

uint64_t rate_wait(struct rate *r, uint64_t now)
{
	if (!r->bytes)
		return 0;
	fill(r, now);
	return r->level >= 0 ? 0 : (uint64_t)((-r->level + r->bytes - 1) / r->bytes);
}
