/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_BENCHFILE_H
#define PVL_BENCHFILE_H
/* A file of benchmark results: the JSON of pvbus-bench(7).
 *
 * Rows     One measured thing is a row: a cell ("disk null 4k randread qd1"), measured on a subject ("pvbus", or who it is
 *          compared with), in a mode ("polled, 2 CPUs").  These three name it; a file has each name once.
 * Samples  All of them are kept.  Median, spread and ratios are made from them here, whatever else the file says.
 * Trust    A file may be anything: it is checked as a whole when it is read, and nobody checks again.
 * Errors   0 or -errno and one sentence.  Never prints.
 */
#include <stdbool.h>
#include <json-c/json.h>
#include "error.h"

#define BENCH_FORMAT "pvbus-bench"
#define BENCH_VERSION 1
#define BENCH_ANY_MODE "any" /* of a row that every mode is compared with */

struct bench_row {
	const char *cell, *subject, *kind, *unit, *mode, *pinning;
	bool more_is_better;
	struct json_object *samples, *counters; /* counters: an object */
	size_t nr;
	int64_t disturbed;       /* samples that were thrown away */
	double median, min, max, mad; /* mad: median of the distances from the median */
};

struct benchfile {
	struct json_object *root;
	struct bench_row *rows;
	size_t nr;
};

int benchfile_read(const char *path, struct benchfile *f, struct pvb_error *err);
/* Takes over root, also on failure. */
int benchfile_take(struct json_object *root, const char *name, struct benchfile *f, struct pvb_error *err);
void benchfile_free(struct benchfile *f);
/* The file "-" is stdout. */
int benchfile_write(const char *path, struct json_object *root, struct pvb_error *err);

/* A row as JSON, from its samples; for whoever measures.  better: "more" or "less".  Takes over samples. */
struct json_object *benchfile_row(const char *cell, const char *subject, const char *kind, const char *unit,
				  const char *better, const char *mode, const char *pinning, struct json_object *samples);

bool bench_is_ours(const struct bench_row *r);
/* The next row from `from` on that r is compared with, or NULL. */
const struct bench_row *bench_peer(const struct benchfile *f, const struct bench_row *r, const struct bench_row *from);
/* How many times as good r is as peer: 2 is twice as many, or half as long. */
double bench_ratio(const struct bench_row *r, const struct bench_row *peer);
/* The row of the same name, or NULL. */
const struct bench_row *bench_same(const struct benchfile *f, const struct bench_row *r);
/* -1 now is worse than before, by more than both spreads and `percent`; 1 better; 0 neither. */
int bench_change(const struct bench_row *now, const struct bench_row *before, double percent);
/* "2.98 M", "831", "0.26": three digits. */
void bench_number(char *buf, size_t len, double v);
#endif
