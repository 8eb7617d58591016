/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_STATS_H
#define PVB_BACKEND_STATS_H
/* Counters of one device, in memory that the worker writes and the supervisor reads (a file of keep.h): asking for
 * statistics can neither be blocked by a stuck worker nor race its end.
 *
 * One writer, plain 64-bit stores; a reader may see a request's count before its bytes.
 * The latency histogram is logarithmic: bucket b of an operation counts requests that took
 *  [2^((b-1)/2) .. 2^(b/2)) microseconds (half octaves; bucket 0: below 1 us), from the moment the worker saw the
 * request to the moment it published the response.
 */
#include <stdint.h>

#define STATS_MAX_QUEUES 8
#define STATS_BUCKETS 60
#define STATS_VERSION 1u

enum stats_op { STATS_READ, STATS_WRITE, STATS_FLUSH, STATS_DISCARD, STATS_NR_OPS };
extern const char *const stats_op_name[STATS_NR_OPS];

struct stats_queue {
	struct {
		uint64_t count, bytes, errors, ns, max_ns;
		uint64_t hist[STATS_BUCKETS];
	} op[STATS_NR_OPS];
	uint64_t in_flight;
	uint64_t rejected;             /* requests refused as illegal */
	uint64_t notify_sent, notify_suppressed;
	uint64_t event_received, event_spurious, event_delayed;
	uint64_t copy_ops, map_ops, persistent_hits;
	uint64_t passes;               /* looks at the ring that found work */
	uint64_t starved;              /* passes cut short for want of buffers */
};
struct stats_device {
	uint32_t version;              /* STATS_VERSION, the supervisor's word */
	uint32_t nr_queues;
	uint64_t parked;               /* requests held by the error policy now */
	uint64_t copy_calls;           /* of the worker, all devices */
	struct stats_queue queue[STATS_MAX_QUEUES];
};

static inline void stats_add(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, __atomic_load_n(c, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline uint64_t stats_get(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}
unsigned stats_bucket(uint64_t ns);
double stats_bucket_us(unsigned bucket);     /* upper edge, microseconds */
/* The latency in us which `percent` of the requests in hist did not exceed (bucket edge); 0 when empty. */
double stats_percentile(const uint64_t hist[STATS_BUCKETS], double percent);
void stats_done(struct stats_queue *q, enum stats_op op, uint64_t bytes, uint64_t ns, int error);
#endif
