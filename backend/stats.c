/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stats.c: the arithmetic of the shared counters.  It keeps no state. */
#include <math.h>
#include "stats.h"

const char *const stats_op_name[STATS_NR_OPS] = { "read", "write", "flush", "discard" };

unsigned stats_bucket(uint64_t ns)
{
	uint64_t us2 = ns / 1000 * (ns / 1000); /* squared, so that a doubling is half an octave */
	unsigned b;

	if (ns / 1000 == 0)
		return 0;
	if (ns / 1000 >= UINT32_MAX)
		return STATS_BUCKETS - 1;
	b = 63 - (unsigned)__builtin_clzll(us2) + 1;
	return b < STATS_BUCKETS ? b : STATS_BUCKETS - 1;
}

double stats_bucket_us(unsigned bucket)
{
	return exp2(bucket / 2.0);
}

double stats_percentile(const uint64_t hist[STATS_BUCKETS], double percent)
{
	uint64_t total = 0, seen = 0;
	unsigned b;

	for (b = 0; b < STATS_BUCKETS; b++)
		total += stats_get(&hist[b]);
	if (total == 0)
		return 0;
	for (b = 0; b < STATS_BUCKETS; b++) {
		seen += stats_get(&hist[b]);
		if ((double)seen >= (double)total * percent / 100.0)
			return stats_bucket_us(b);
	}
	return stats_bucket_us(STATS_BUCKETS - 1);
}

void stats_done(struct stats_queue *q, enum stats_op op, uint64_t bytes, uint64_t ns, int error)
{
	stats_add(&q->op[op].count, 1);
	if (error)
		stats_add(&q->op[op].errors, 1);
	else
		stats_add(&q->op[op].bytes, bytes);
	stats_add(&q->op[op].ns, ns);
	if (ns > q->op[op].max_ns)
		__atomic_store_n(&q->op[op].max_ns, ns, __ATOMIC_RELAXED);
	stats_add(&q->op[op].hist[stats_bucket(ns)], 1);
}
