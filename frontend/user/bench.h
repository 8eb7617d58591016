/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_BENCH_H
#define PVF_BENCH_H
/* Load generators: for one disk, with verification, and for one NIC (bench-nic.c).
 *
 * A run keeps qd requests in flight, spread over the disk's queues, each with a buffer of its own.  Latency is
 * from submit to done, per request, in a histogram of 3 % resolution.  With verify each block written carries its
 * offset, a version and a CRC; a block is never written twice at a time, every read of one that this run wrote
 * is checked, and in the end all of them are read back.
 * Threads  The loop's; bench_run() runs the loop itself.  Errors: 0 or -errno and a pvb_error.  Never logs.
 */
#include <stdio.h>
#include "pvfront.h"

struct bench_config {
	bool random, verify, copy, poll;
	bool touch;               /* read every byte that was read from the disk */
	unsigned mix;             /* percent of reads: 100 read, 0 write */
	uint32_t bs, qd;
	uint64_t time_ms, ramp_ms, count;  /* count 0: by time */
	uint64_t offset, size;    /* region, bytes; size 0: to the end */
	uint64_t seed;
	unsigned samples;         /* runs, one after the other */
	char text[160];           /* as given */
};

#define BENCH_BUCKETS 2048u
#define BENCH_MAX_SAMPLES 1000u

/* What a run has cost this thread. */
struct bench_cost {
	uint64_t cpu_ns;
	uint64_t switches;        /* times it went to sleep */
};
void bench_cost_begin(struct bench_cost *c);
void bench_cost_end(struct bench_cost *c); /* c: of the beginning; becomes the difference */

struct bench_side {
	uint64_t ops, bytes, errors, sum_ns, min_ns, max_ns;
	uint64_t hist[BENCH_BUCKETS];
};

struct bench_result {
	uint64_t elapsed_ns;
	struct bench_side read, write;
	uint64_t verified, bad;   /* blocks checked; of these wrong */
	int first_error;          /* -errno of the first request that failed */
	struct pvf_stats stats;   /* difference over the run */
	struct bench_cost cost;
	uint64_t touched;         /* sum of all words read; with touch */
	char where[160];          /* the first wrong block, in words */
};

/* "op=randrw mix=70 bs=4k qd=32 time=5 verify=1": blanks or commas between; see pvguest(1). */
int bench_parse(struct bench_config *cfg, const char *text, struct pvb_error *err);
/* *stop set from a loop callback ends the run early.  -EIO: requests failed or blocks were wrong. */
int bench_run(struct pvf_disk *disk, struct pvb_loop *loop, const struct bench_config *cfg, const bool *stop,
	      struct bench_result *res, struct pvb_error *err);
struct counter { const char *name; uint64_t value; };
/* "a 1, b 2", or the inside of a JSON object. */
void counters_print(FILE *f, const struct counter *c, size_t nr, bool json);
void bench_print(FILE *f, const char *disk, const struct bench_config *cfg, const struct bench_result *res, bool json);
/* "4k", "1M", "512": bytes. */
int bench_size(const char *text, uint64_t *bytes);
void bench_count(struct bench_side *side, uint32_t bytes, uint64_t ns); /* one request done */
/* Latency below which `permille` thousandths of the requests were, ns. */
uint64_t bench_percentile(const struct bench_side *side, unsigned permille);
#endif
