/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_ORACLE_H
#define PVB_TESTS_ORACLE_H
/* What tests of providers share: a worker's surroundings, one disk in them, and a model to compare it with.
 *
 * The model is a plain array; random reads, writes, discards and flushes, of odd sizes and many in flight, are
 * done to both.  A request never overlaps another one in flight, because the outcome of that is nobody's
 * promise. Everything asserts with cmocka; every wait has a bound.
 */
#include <stdbool.h>
#include "backend/aio.h"
#include "backend/block/e512.h"
#include "backend/provider.h"
#include "backend/target.h"

#define WAIT_MS 60000
#define MODEL_SIZE (4U << 20)

struct world {
	struct pvb_loop *loop;
	struct aio *aio;
	struct worker_io io;
	struct disk *disk;
	int ready;                   /* 1 = not yet */
	char why[240];               /* the last error's text */
	unsigned afters;             /* calls of aio_after() */
	char identity[64];
};

extern struct e512 *over;            /* when set, requests go through it and not right to the disk */

void world_new(struct world *w);
void world_free(struct world *w);
/* Open a disk as supervisor and worker together would: 0 or -errno, and w->why. */
int open_disk(struct world *w, const char *text, bool readonly);
void must_open(struct world *w, const char *text, bool readonly);
/* One request, waited for; its result. */
int do_io(struct world *w, enum bio_op op, uint64_t off, void *buf, uint64_t len);
/* fixed_discard: discarded sectors read as zeroes. The disk starts as zeroes. */
void run_oracle(struct world *w, unsigned rounds, bool fixed_discard);

/* Run a shell command; the first line of its output goes to out when that is given. */
bool sh(char *out, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A command for the test's teardown, which is undo_all(): last in, first out. */
void undo_later(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int undo_all(void **state);
/* A file of zeroes in a directory, gone with the teardown: its name is `path`. */
extern char path[200];
int new_file(const char *dir, uint64_t size);
const char *disk_dir(void);          /* on a real file system, most likely */
#endif
