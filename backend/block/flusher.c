/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend/block/facts.h"
#include "backend/block/flusher.h"

#define WORD_BITS (8 * sizeof(unsigned long))

static void next_flush(struct flusher *fl);
static void rewrite_on(struct flusher *fl);

/* --- the map ---------------------------------------------------------------------------------------- */

static bool map_new(struct region_map *map, uint64_t nr_regions)
{
	map->bits = calloc(nr_regions / WORD_BITS + 1, sizeof(unsigned long));
	map->from = UINT64_MAX;
	map->to = 0;
	return map->bits;
}

static bool map_test(const struct region_map *map, uint64_t n)
{
	return map->bits[n / WORD_BITS] & 1UL << n % WORD_BITS;
}

static void map_set(struct region_map *map, uint64_t n)
{
	map->bits[n / WORD_BITS] |= 1UL << n % WORD_BITS;
	if (n < map->from)
		map->from = n;
	if (n >= map->to)
		map->to = n + 1;
}

static void map_clear(struct region_map *map)
{
	if (map->from < map->to)
		memset(map->bits + map->from / WORD_BITS, 0,
		       (map->to / WORD_BITS + 1 - map->from / WORD_BITS) * sizeof(unsigned long));
	map->from = UINT64_MAX;
	map->to = 0;
}

void flusher_wrote(struct flusher *fl, uint64_t off, uint64_t len)
{
	uint64_t n = off / FLUSH_REGION, end;

	if (!fl->cached || !len)
		return;
	end = (off + len - 1) / FLUSH_REGION;
	if (end >= fl->nr_regions) /* the file has grown */
		end = fl->nr_regions - 1;
	for (n = n < end ? n : end; n <= end; n++)
		map_set(&fl->dirty, n);
}

/* --- lists ------------------------------------------------------------------------------------------ */

static void list_add(struct bio ***last, struct bio *bio)
{
	bio->next = NULL;
	**last = bio;
	*last = &bio->next;
}

static struct bio *list_take_all(struct bio **first, struct bio ***last)
{
	struct bio *bios = *first;

	*first = NULL;
	*last = first;
	return bios;
}

static struct bio *take_current(struct flusher *fl)
{
	struct bio *bios = fl->current;

	fl->current = NULL;
	return bios;
}

static void done_all(struct bio *bio, int rc)
{
	while (bio) {
		struct bio *next = bio->next;

		bio_done(bio, rc);
		bio = next;
	}
}

/* --- writing again what the kernel dropped ---------------------------------------------------------- */

static void rewrite_over(struct flusher *fl, int rc)
{
	struct bio *held, *next;
	int failed = fl->failed;

	free(fl->buf);
	fl->buf = NULL;
	fl->suspect = rc != 0;
	fl->failed = 0;
	fl->state = FL_IDLE;
	if (failed)
		done_all(take_current(fl), failed);
	else if (rc)
		done_all(list_take_all(&fl->waiting, &fl->last_waiting), rc);
	held = list_take_all(&fl->held, &fl->last_held);
	for (; held; held = next) {
		next = held->next;
		fl->resume(fl, held);
	}
	next_flush(fl);
}

static void rewritten(struct xfer *x, int rc)
{
	struct flusher *fl = x->owner;

	xfer_put(x);
	if (rc)
		rewrite_over(fl, rc);
	else
		rewrite_on(fl);
}

static void rewrite_start(struct flusher *fl, enum bio_op op, uint64_t off, uint64_t len,
			  void (*done)(struct xfer *x, int rc))
{
	struct iovec iov = { fl->buf, len };
	struct xfer *x = xfer_get(fl->pool, 1);

	if (!x) {
		rewrite_over(fl, -ENOMEM);
		return;
	}
	x->bio.op = op;
	x->bio.off = off;
	xfer_add(x, &iov, 1);
	x->owner = fl;
	x->done = done;
	xfer_start(x, 0);
}

static void read_back(struct xfer *x, int rc)
{
	struct flusher *fl = x->owner;
	uint64_t len = x->got, off = fl->pos;

	xfer_put(x);
	if (rc) {
		rewrite_over(fl, rc);
		return;
	}
	fl->pos += len;
	rewrite_start(fl, BIO_WRITE, off, len, rewritten);
}

static uint64_t region_end(const struct flusher *fl, uint64_t n)
{
	uint64_t end = (n + 1) * FLUSH_REGION;

	return n + 1 == fl->nr_regions || end > fl->end ? fl->end : end;
}

/* Where from fl->pos on is data, and how far: 0, -ENXIO when there is none, -errno. */
static int find_data(struct flusher *fl, uint64_t *end)
{
	off_t data = lseek(fl->pool->fd, (off_t)fl->pos, SEEK_DATA), hole;

	if (data < 0 && errno == EINVAL) { /* a block device, or no such thing here: all is data */
		*end = fl->end;
		return fl->pos < fl->end ? 0 : -ENXIO;
	}
	if (data < 0)
		return -errno;
	hole = lseek(fl->pool->fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	fl->pos = (uint64_t)data;
	*end = (uint64_t)hole;
	return 0;
}

/* The next stretch that was written and is not a hole: its length, 0 = no more, -errno. */
static int64_t find_dirty(struct flusher *fl)
{
	for (;;) {
		uint64_t n = fl->pos / FLUSH_REGION, end = 0, stop;
		int rc;

		if (n >= fl->nr_regions)
			n = fl->nr_regions - 1;
		if (!map_test(&fl->dirty, n)) {
			if (n + 1 >= fl->dirty.to)
				return 0;
			fl->pos = (n + 1) * FLUSH_REGION;
			continue;
		}
		stop = region_end(fl, n);
		rc = find_data(fl, &end);
		if (rc)
			return rc == -ENXIO ? 0 : rc;
		if (end > stop)
			end = stop;
		if (fl->pos < end)
			return (int64_t)(end - fl->pos < FLUSH_REGION ? end - fl->pos : FLUSH_REGION);
		if (fl->pos >= fl->end)
			return 0;
	}
}

static void rewrite_on(struct flusher *fl)
{
	int64_t len = find_dirty(fl);

	if (len > 0)
		rewrite_start(fl, BIO_READ, fl->pos, (uint64_t)len, read_back);
	else
		rewrite_over(fl, (int)len);
}

static void drained(struct flusher *fl)
{
	int rc;

	fl->state = FL_REWRITING;
	fl->pos = fl->dirty.from < fl->dirty.to ? fl->dirty.from * FLUSH_REGION : 0;
	fl->buf = malloc(FLUSH_REGION);
	if (!fl->buf)
		rewrite_over(fl, -ENOMEM);
	else if ((rc = facts_size(fl->pool->fd, &fl->end)))
		rewrite_over(fl, rc);
	else
		rewrite_on(fl);
}

static void rewrite(struct flusher *fl)
{
	fl->state = FL_DRAINING;
	if (!fl->writes)
		drained(fl);
}

/* --- flushing --------------------------------------------------------------------------------------- */

static void synced(struct xfer *x, int rc)
{
	struct flusher *fl = x->owner;

	xfer_put(x);
	if (rc && fl->cached) {
		for (uint64_t n = fl->flushing.from; n < fl->flushing.to; n++)
			if (map_test(&fl->flushing, n))
				map_set(&fl->dirty, n);
		map_clear(&fl->flushing);
		fl->failed = rc;
		rewrite(fl);
		return;
	}
	if (fl->cached)
		map_clear(&fl->flushing);
	fl->state = FL_IDLE;
	done_all(take_current(fl), rc);
	next_flush(fl);
}

static void next_flush(struct flusher *fl)
{
	struct region_map swap = fl->dirty;
	struct xfer *x;

	if (fl->state != FL_IDLE || !fl->waiting)
		return;
	if (fl->suspect) {
		rewrite(fl);
		return;
	}
	x = xfer_get(fl->pool, 0);
	if (!x) {
		done_all(list_take_all(&fl->waiting, &fl->last_waiting), -ENOMEM);
		return;
	}
	fl->state = FL_SYNCING;
	fl->current = list_take_all(&fl->waiting, &fl->last_waiting);
	fl->dirty = fl->flushing;
	fl->flushing = swap;
	x->bio.op = BIO_FLUSH;
	x->owner = fl;
	x->done = synced;
	xfer_start(x, 0);
}

void flusher_flush(struct flusher *fl, struct bio *bio)
{
	list_add(&fl->last_waiting, bio);
	next_flush(fl);
}

bool flusher_holds(struct flusher *fl, struct bio *bio)
{
	if (fl->state != FL_DRAINING && fl->state != FL_REWRITING)
		return false;
	list_add(&fl->last_held, bio);
	return true;
}

void flusher_write_begin(struct flusher *fl)
{
	fl->writes++;
}

/* Marked when it is over, not when it begins: a flush that runs meanwhile does not speak for it. */
void flusher_write_end(struct flusher *fl, uint64_t off, uint64_t len)
{
	flusher_wrote(fl, off, len);
	if (!--fl->writes && fl->state == FL_DRAINING)
		drained(fl);
}

int flusher_init(struct flusher *fl, struct xfer_pool *pool, bool cached, uint64_t size,
		 void (*resume)(struct flusher *fl, struct bio *bio))
{
	fl->pool = pool;
	fl->cached = cached;
	fl->resume = resume;
	fl->last_waiting = &fl->waiting;
	fl->last_held = &fl->held;
	fl->nr_regions = (size + FLUSH_REGION - 1) / FLUSH_REGION;
	if (cached && (!map_new(&fl->dirty, fl->nr_regions) || !map_new(&fl->flushing, fl->nr_regions)))
		return -ENOMEM;
	return 0;
}

void flusher_free(struct flusher *fl)
{
	free(fl->dirty.bits);
	free(fl->flushing.bits);
	free(fl->buf);
}
