// SPDX-License-Identifier: GPL-2.0-or-later
/* libpvfront against a back end that keeps to the protocol: negotiation, data, splitting, features, and every
 * way a device can come and go. */
#include <errno.h>
#include "front-env.h"
#include "frontend/user/disk-impl.h"

static struct pvf_disk *open_live(struct env *e, const struct pvf_options *opt)
{
	struct pvf_disk *d;

	MUST(e, pvf_disk_open(&d, e->guest, DEVID, opt, &e->err));
	MUST(e, pvf_disk_wait(d, WAIT_MS, &e->err));
	return d;
}

static void no_complaints(struct fback *fb)
{
	struct fback_counts c;

	fback_counts(fb, &c);
	if (c.complaints != 0)
		fail_msg("the back end complains %u times, last: %s", c.complaints, c.complaint);
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i >> 9) * 7 + i * 31 + seed);
}

/* --- data over every shape of connection -------------------------------------------------------------- */

struct shape {
	const char *name;
	struct fback_options back;
	struct pvf_options front;
	uint32_t queues, order, segs; /* expected */
};

static const struct shape shapes[] = {
	{ "plain", { .flush = true }, { 0 }, 1, 0, 11 },
	{ "32 bit slots", { .flush = true, .indirect = 64 }, { .abi32 = true, .indirect = 256 }, 1, 0, 64 },
	{ "32 bit slots, 4 pages", { .flush = true, .max_order = 4 }, { .abi32 = true, .ring_order = 2 }, 1, 2, 11 },
	{ "indirect", { .flush = true, .indirect = 256 }, { .indirect = 256 }, 1, 0, 256 },
	{ "indirect, large pool", { .flush = true, .indirect = 256 },
	  { .indirect = 256, .pool_pages = 600 }, 1, 0, 256 },
	{ "back end has less", { .flush = true, .max_queues = 2, .max_order = 1, .indirect = 32 },
	  { .queues = 8, .ring_order = 4, .indirect = 256 }, 2, 1, 32 },
	{ "front end has less", { .flush = true, .max_queues = 8, .max_order = 4, .indirect = 256 },
	  { .queues = 3, .ring_order = 1, .indirect = 20 }, 3, 1, 20 },
	{ "everything",
	  { .flush = true, .max_queues = 8, .max_order = 4, .indirect = 256, .persistent = true, .reverse = true },
	  { .queues = 8, .ring_order = 4, .indirect = 256, .persistent = true }, 8, 4, 256 },
	{ "tiny pool", { .flush = true, .indirect = 256 }, { .indirect = 256, .pool_pages = 12 }, 1, 0, 256 },
	{ "indirect of 11 is none", { .flush = true, .indirect = 11 }, { .indirect = 256 }, 1, 0, 11 },
	{ "polled", { .flush = true, .max_queues = 2 }, { .queues = 2, .polled = true }, 2, 0, 11 },
};

#define REGION (4u << 20)

/* Write a region with requests of many sizes, half of them through granted buffers, read it back with others. */
static void traffic(struct env *e, struct pvf_disk *d, struct fback *fb, bool zero_copy)
{
	static const uint32_t sizes[] = { 512, 4096, 1024, 65536, 45056, 49152, 1536, 1048576, 262144 + 512, 512 };
	static struct io ios[4096];
	uint8_t *data = malloc(REGION), *back = malloc(REGION);
	struct pvf_buf buf = { 0 };
	unsigned pending = 0, nr = 0;
	uint64_t at, n;

	fill(data, REGION, zero_copy);
	memset(back, 0xee, REGION);
	if (zero_copy) {
		MUST(e, pvf_buf_alloc(d, REGION + PVB_PAGE_SIZE, &buf));
		memcpy((uint8_t *)buf.addr + 512, data, REGION); /* not at a page boundary */
	}
	for (at = 0; at < REGION; at += n, nr++) {
		n = sizes[nr % 10] < REGION - at ? sizes[nr % 10] : REGION - at;
		MUST(e, io_submit(d, nr, &ios[nr], &pending, PVF_WRITE, at, n,
				  zero_copy ? (uint8_t *)buf.addr + 512 + at : data + at, zero_copy ? &buf : NULL));
	}
	pvf_disk_kick(d);
	while (pending > 0) {
		for (unsigned q = 0; d->opt.polled && q < 2; q++)
			pvf_disk_poll(d, q);
		pvb_loop_once(e->loop, d->opt.polled ? 0 : 1000);
	}
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(ios[i].rc, 0);
	assert_memory_equal(fback_data(fb), data, REGION);
	if (zero_copy)
		memset(buf.addr, 0, buf.size);
	for (at = 0, nr = 0; at < REGION; at += n, nr++) {
		n = sizes[(nr + 3) % 10] < REGION - at ? sizes[(nr + 3) % 10] : REGION - at;
		MUST(e, io_submit(d, nr, &ios[nr], &pending, PVF_READ, at, n,
				  zero_copy ? (uint8_t *)buf.addr + 512 + at : back + at, zero_copy ? &buf : NULL));
	}
	pvf_disk_kick(d);
	while (pending > 0) {
		for (unsigned q = 0; d->opt.polled && q < 2; q++)
			pvf_disk_poll(d, q);
		pvb_loop_once(e->loop, d->opt.polled ? 0 : 1000);
	}
	assert_memory_equal(zero_copy ? (uint8_t *)buf.addr + 512 : back, data, REGION);
	pvf_buf_free(d, &buf);
	free(data);
	free(back);
}

static void test_shapes(void **state)
{
	struct env *e = *state;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];
		struct fback_counts c;
		struct pvf_disk *d;
		struct fback *fb;

		MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &s->back, &e->err));
		d = open_live(e, &s->front);
		fback_counts(fb, &c);
		if (d->info.queues != s->queues || c.queues != s->queues || d->info.ring_order != s->order ||
		    d->info.max_segments != s->segs || c.abi32 != s->front.abi32)
			fail_msg("%s: %u queues (%u), order %u, %u segments", s->name, d->info.queues, c.queues,
				 d->info.ring_order, d->info.max_segments);
		for (unsigned q = 0; q < d->nr_queues; q++)
			fback_shift(fb, q, 0xfffffff0, &d->queues[q].ring);
		traffic(e, d, fb, false);
		traffic(e, d, fb, true);
		assert_int_equal(pvf_disk_do(d, PVF_FLUSH, 0, 0, NULL), 0);
		no_complaints(fb);
		fback_counts(fb, &c);
		if (s->segs > 11)
			assert_true(c.indirect > 0 && c.max_segs == s->segs);
		else
			assert_true(c.indirect == 0 && c.max_segs == 11);
		pvf_disk_close(&d, WAIT_MS);
		fback_remove(fb, true);
		assert_int_equal(pvb_hv_live(e->hv)->stuck, 0);
	}
}

/* --- operations ------------------------------------------------------------------------------------- */

static void test_operations(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .flush = true, .barrier = true, .discard = true, .secure = true };
	uint8_t data[8192], zero[8192] = { 0 };
	struct fback_counts c;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	fill(data, sizeof(data), 3);
	assert_int_equal(pvf_disk_write(d, 4096, data, sizeof(data)), 0);
	assert_int_equal(pvf_disk_do(d, PVF_ZERO, 8192, 4096, NULL), 0);
	assert_memory_equal(fback_data(fb) + 4096, data, 4096);
	assert_memory_equal(fback_data(fb) + 8192, zero, 4096);
	assert_int_equal(pvf_disk_do(d, PVF_BARRIER, 8192, 4096, data), 0);
	assert_memory_equal(fback_data(fb) + 8192, data, 4096);
	assert_int_equal(pvf_disk_do(d, PVF_BARRIER, 0, 0, NULL), 0);
	assert_int_equal(pvf_disk_do(d, PVF_DISCARD, 4096, 8192, NULL), 0);
	assert_memory_equal(fback_data(fb) + 4096, zero, 8192);
	assert_int_equal(pvf_disk_do(d, PVF_SECURE_DISCARD, 0, 1 << 20, NULL), 0);
	assert_int_equal(pvf_disk_flush(d), 0);
	fback_counts(fb, &c);
	assert_int_equal(c.barriers, 2);
	assert_int_equal(c.discards, 2);
	assert_int_equal(c.secure_discards, 1);
	assert_int_equal(c.flushes, 1);
	/* what must be refused before it reaches the ring */
	assert_int_equal(pvf_disk_read(d, 1, data, 512), -EINVAL);
	assert_int_equal(pvf_disk_read(d, 0, data, 513), -EINVAL);
	assert_int_equal(pvf_disk_read(d, 0, data, 0), -EINVAL);
	assert_int_equal(pvf_disk_read(d, d->info.size, data, 512), -EINVAL);
	assert_int_equal(pvf_disk_read(d, d->info.size - 512, data, 1024), -EINVAL);
	assert_int_equal(pvf_disk_read(d, UINT64_MAX - 511, data, 1024), -EINVAL);
	assert_int_equal(pvf_disk_do(d, PVF_DISCARD, 512, UINT64_MAX - 511, NULL), -EINVAL);
	assert_int_equal(pvf_disk_do(d, PVF_READ, 0, 512, NULL), -EINVAL);
	no_complaints(fb);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

static void test_refused_features(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .readonly = true, .discard = true };
	uint8_t data[512];
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	assert_true(d->info.readonly && !d->info.discard);
	assert_int_equal(pvf_disk_write(d, 0, data, 512), -EROFS);
	assert_int_equal(pvf_disk_do(d, PVF_ZERO, 0, 512, NULL), -EROFS);
	assert_int_equal(pvf_disk_do(d, PVF_DISCARD, 0, 512, NULL), -EROFS);
	assert_int_equal(pvf_disk_flush(d), -EOPNOTSUPP);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	no_complaints(fb);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

/* Without flush a barrier does the same. */
static void test_flush_by_barrier(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .barrier = true };
	struct fback_counts c;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	assert_int_equal(pvf_disk_flush(d), 0);
	fback_counts(fb, &c);
	assert_int_equal(c.barriers, 1);
	no_complaints(fb);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

static void test_errors(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .flush = true,
				    .discard = true,
				    .flush_status = -1,
				    .discard_status = -2,
				    .error_status = -1,
				    .error_sector = 1000 };
	uint8_t *data = calloc(1, 1 << 20);
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	assert_int_equal(pvf_disk_flush(d), -EIO);
	assert_int_equal(pvf_disk_do(d, PVF_DISCARD, 0, 4096, NULL), -EOPNOTSUPP);
	/* one bad piece of many spoils the request, once, and leaves the disk alive */
	assert_int_equal(pvf_disk_write(d, 0, data, 1 << 20), -EIO);
	assert_int_equal(pvf_disk_read(d, 0, data, 1 << 20), -EIO);
	assert_int_equal(pvf_disk_in_flight(d), 0);
	assert_int_equal(pvf_disk_read(d, 1 << 20, data, 4096), 0);
	assert_int_equal(pvf_disk_phase(d), PVF_LIVE);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

static void test_large_sectors(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .sector_size = 4096, .indirect = 64 };
	uint8_t *data = malloc(1 << 20), *back = malloc(1 << 20);
	struct pvf_buf buf;
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;
	struct io io;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .indirect = 64 });
	assert_int_equal(d->info.sector_size, 4096);
	assert_int_equal(d->info.size, 32768 * 512);
	assert_int_equal(pvf_disk_read(d, 512, data, 4096), -EINVAL);
	fill(data, 1 << 20, 9);
	/* pieces must not end inside a sector even if the buffer begins inside a page */
	MUST(e, pvf_buf_alloc(d, (1 << 20) + 4096, &buf));
	memcpy((uint8_t *)buf.addr + 1536, data, 1 << 20);
	MUST(e, io_submit(d, 0, &io, &pending, PVF_WRITE, 4096, 1 << 20, (uint8_t *)buf.addr + 1536, &buf));
	pvf_disk_kick(d);
	LOOP_UNTIL(e, pending == 0);
	assert_int_equal(io.rc, 0);
	assert_int_equal(pvf_disk_read(d, 4096, back, 1 << 20), 0);
	assert_memory_equal(back, data, 1 << 20);
	no_complaints(fb);
	pvf_buf_free(d, &buf);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
	free(back);
}

/* Data outside its granted buffer must never reach the ring. */
static void test_buffer_bounds(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { 0 };
	unsigned pending = 0;
	struct pvf_disk *d;
	struct pvf_buf buf;
	struct fback *fb;
	struct io io;
	uint8_t *a;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	MUST(e, pvf_buf_alloc(d, 8000, &buf));
	assert_int_equal(buf.size, 8192);
	a = buf.addr;
	for (size_t i = 0; i < buf.size; i++)
		assert_int_equal(a[i], 0);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 8192 + 512, a, &buf), -EINVAL);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 512, a + 8192, &buf), -EINVAL);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 512, a - 512, &buf), -EINVAL);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 512, a + 1, &buf), -EINVAL);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 1024, a + 8192 - 512, &buf), -EINVAL);
	assert_int_equal(io_submit(d, 0, &io, &pending, PVF_READ, 0, 512, a + 8192 - 512, &buf), 0);
	pvf_disk_kick(d);
	LOOP_UNTIL(e, pending == 0);
	pvf_buf_free(d, &buf);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

/* --- coming and going ------------------------------------------------------------------------------- */

static void test_late_back_end(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .wait = true };
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	MUST(e, pvf_disk_open(&d, e->guest, DEVID, &(struct pvf_options){ 0 }, &e->err));
	assert_int_equal(pvf_disk_wait(d, 100, &e->err), -ETIMEDOUT);
	fback_go(fb);
	MUST(e, pvf_disk_wait(d, WAIT_MS, &e->err));
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

static void test_no_device(void **state)
{
	struct env *e = *state;
	struct pvf_disk *d = NULL;

	assert_int_equal(pvf_disk_open(&d, e->guest, DEVID, &(struct pvf_options){ 0 }, &e->err), -ENOENT);
	assert_null(d);
	assert_int_equal(pvf_disk_open(&d, e->guest, DEVID, &(struct pvf_options){ .queues = 9 }, &e->err), -EINVAL);
	assert_string_equal(e->err.text, "vbd 51712: 9 queues, at most 8");
}

/* Many opens and closes by the same domain: each finds the states where the last one left them. */
static void test_reopen(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .max_queues = 4, .max_order = 2 };
	struct fback_counts c;
	struct pvf_disk *d;
	struct fback *fb;
	uint8_t data[4096] = { 1 };

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	for (unsigned i = 0; i < 20; i++) {
		d = open_live(e, &(struct pvf_options){ .queues = 1 + i % 4, .ring_order = i % 3 });
		assert_int_equal(pvf_disk_write(d, 4096 * i, data, 4096), 0);
		pvf_disk_close(&d, WAIT_MS);
	}
	fback_counts(fb, &c);
	assert_int_equal(c.connects, 20);
	no_complaints(fb);
	fback_remove(fb, true);
	assert_int_equal(pvb_hv_live(e->hv)->stuck, 0);
}

static void submit_many(struct env *e, struct pvf_disk *d, struct io *ios, unsigned nr, unsigned *pending, void *data)
{
	for (unsigned i = 0; i < nr; i++)
		MUST(e, io_submit(d, i, &ios[i], pending, i % 2 ? PVF_READ : PVF_WRITE, 8192 * i, 8192,
				  (uint8_t *)data + 8192 * i, NULL));
	pvf_disk_kick(d);
}

#define MANY 200

/* The back end leaves with requests in flight: each fails once, states end at 6, and it may come back. */
static void test_back_end_closes(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .hold = true };
	struct io ios[MANY];
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	submit_many(e, d, ios, MANY, &pending, data);
	fback_close(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) != PVF_LIVE && pvf_disk_phase(d) != PVF_CLOSING);
	assert_int_equal(pending, 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(ios[i].calls == 1 && ios[i].rc == -EIO);
	assert_int_equal(pvb_hv_live(e->hv)->grants, 0);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), -ENOTCONN);
	fback_release(fb);
	fback_reopen(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_LIVE);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* With wait they are issued again. */
static void test_wait_through_close(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .hold = true, .max_queues = 4 };
	struct io ios[MANY], late;
	uint8_t *data = calloc(MANY, 8192), one[512];
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;

	fill(data, MANY * 8192, 5);
	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .wait = true, .queues = 4 });
	submit_many(e, d, ios, MANY, &pending, data);
	fback_close(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) != PVF_LIVE && pvf_disk_phase(d) != PVF_CLOSING);
	assert_int_equal(pending, MANY);
	MUST(e, io_submit(d, 3, &late, &pending, PVF_READ, 0, 512, one, NULL));
	fback_release(fb);
	fback_key(fb, "multi-queue-max-queues", "2"); /* it comes back with less */
	fback_reopen(fb);
	LOOP_UNTIL(e, pending == 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(ios[i].calls == 1 && ios[i].rc == 0);
	assert_int_equal(late.rc, 0);
	for (unsigned i = 0; i < MANY; i += 2)
		assert_memory_equal(fback_data(fb) + 8192 * i, data + 8192 * i, 8192);
	no_complaints(fb);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* What no longer fits when it comes back fails alone. */
static void test_wait_smaller_disk(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .hold = true };
	struct io ios[MANY];
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .wait = true });
	submit_many(e, d, ios, MANY, &pending, data);
	fback_close(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) != PVF_LIVE && pvf_disk_phase(d) != PVF_CLOSING);
	fback_release(fb);
	fback_key(fb, "sectors", "1600"); /* 100 of the 200 */
	fback_reopen(fb);
	LOOP_UNTIL(e, pending == 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(ios[i].rc, i < 100 ? 0 : -EINVAL);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

static unsigned changes;

static void count_change(void *arg, struct pvf_disk *disk)
{
	changes++;
}

static void test_resize(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { 0 };
	uint8_t data[512];
	struct pvf_disk *d;
	struct fback *fb;
	unsigned before;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .changed = count_change });
	assert_int_equal(pvf_disk_read(d, 40000 * 512, data, 512), -EINVAL);
	before = changes;
	fback_resize(fb, 65536);
	LOOP_UNTIL(e, pvf_disk_info(d)->size == 65536 * 512);
	assert_int_equal(changes, before + 1);
	assert_int_equal(pvf_disk_read(d, 40000 * 512, data, 512), 0);
	fback_resize(fb, 1000);
	LOOP_UNTIL(e, pvf_disk_info(d)->size == 1000 * 512);
	assert_int_equal(pvf_disk_read(d, 40000 * 512, data, 512), -EINVAL);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

/* Directories vanish with requests in flight; later the device is made again. */
static void test_removed(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .hold = true };
	struct io ios[MANY];
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0;
	char path[128];
	uint32_t generation;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .wait = true });
	generation = pvf_disk_info(d)->generation;
	submit_many(e, d, ios, MANY, &pending, data);
	fback_remove(fb, false);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_GONE);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(ios[i].calls == 1 && ios[i].rc == -ENODEV);
	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/%u", e->domid, DEVID);
	assert_false(pvb_store_exists(e->st, PVB_NO_TXN, path)); /* nothing of ours made it come back */
	bo.hold = false;
	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_LIVE);
	assert_int_not_equal(pvf_disk_info(d)->generation, generation);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* Removed and made anew between two looks of ours: the old connection must not write into the new device. */
static void test_remade(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { 0 };
	struct io ios[MANY];
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0;
	uint32_t generation;
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ 0 });
	for (unsigned round = 0; round < 10; round++) {
		generation = pvf_disk_info(d)->generation;
		submit_many(e, d, ios, MANY, &pending, data);
		fback_remake(fb);
		LOOP_UNTIL(e, pvf_disk_info(d)->generation != generation && pvf_disk_phase(d) == PVF_LIVE);
		assert_int_equal(pending, 0);
		assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	}
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

static void test_graceful_removal(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .persistent = true };
	uint8_t data[4096] = { 0 };
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .persistent = true });
	assert_true(pvf_disk_info(d)->persistent);
	assert_int_equal(pvf_disk_write(d, 0, data, 4096), 0);
	fback_state(fb, 5);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_DOWN);
	fback_remove(fb, false);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_GONE);
	pvf_disk_close(&d, WAIT_MS);
	assert_int_equal(pvb_hv_live(e->hv)->stuck, 0);
}

/* Stop with requests in flight and a back end that is dead (killed, store untouched): bounded, nothing left. */
static void test_stop_with_dead_back_end(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .hold = true };
	struct io ios[MANY];
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;
	uint64_t begin;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, &(struct pvf_options){ .wait = true });
	submit_many(e, d, ios, MANY, &pending, data);
	fback_kill(fb);
	begin = pvb_now_ms();
	pvf_disk_close(&d, 1500);
	assert_true(pvb_now_ms() - begin < 5000);
	assert_int_equal(pending, 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(ios[i].calls == 1 && ios[i].rc == -EIO);
	free(data);
}

/* A process guest that was killed leaves states 3 or 4 behind; the next one starts over. */
static void test_after_a_crash(void **state)
{
	struct env *e = *state;
	static const unsigned left[] = { 3, 4, 5, 6 };
	struct fback_options bo = { 0 };
	char path[128];
	struct pvf_disk *d;
	struct fback *fb;
	uint8_t data[512];

	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/%u/state", e->domid, DEVID);
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
		d = open_live(e, &(struct pvf_options){ 0 });
		/* forget it: as if the process had died */
		pvb_store_unwatch(&d->dev.watch_dir);
		pvb_store_unwatch(&d->dev.watch_back);
		pvf_connect_free(d);
		d->dev.phase = PVF_GONE;
		pvf_disk_close(&d, 0);
		MUST(e, pvb_store_printf(e->st, PVB_NO_TXN, path, "%u", left[i]));
		d = open_live(e, &(struct pvf_options){ 0 });
		assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
		pvf_disk_close(&d, WAIT_MS);
		fback_remove(fb, true);
	}
}

/* Two disks of one domain: what befalls one does not touch the other. */
static void test_two_disks(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { 0 };
	struct pvf_disk *a, *b;
	struct fback *fa, *fb;
	uint8_t data[512] = { 7 };

	MUST(e, fback_start(&fa, e->dir, e->domid, DEVID, &bo, &e->err));
	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID + 16, &bo, &e->err));
	a = open_live(e, &(struct pvf_options){ 0 });
	MUST(e, pvf_disk_open(&b, e->guest, DEVID + 16, &(struct pvf_options){ 0 }, &e->err));
	MUST(e, pvf_disk_wait(b, WAIT_MS, &e->err));
	assert_int_equal(pvf_disk_write(a, 0, data, 512), 0);
	fback_remove(fa, false);
	LOOP_UNTIL(e, pvf_disk_phase(a) == PVF_GONE);
	assert_int_equal(pvf_disk_write(b, 0, data, 512), 0);
	pvf_disk_close(&a, WAIT_MS);
	assert_int_equal(pvf_disk_write(b, 512, data, 512), 0);
	pvf_disk_close(&b, WAIT_MS);
	fback_remove(fb, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, env_setup, env_teardown)
		T(test_shapes),
		T(test_operations),
		T(test_refused_features),
		T(test_flush_by_barrier),
		T(test_errors),
		T(test_large_sectors),
		T(test_buffer_bounds),
		T(test_late_back_end),
		T(test_no_device),
		T(test_reopen),
		T(test_back_end_closes),
		T(test_wait_through_close),
		T(test_wait_smaller_disk),
		T(test_resize),
		T(test_removed),
		T(test_remade),
		T(test_graceful_removal),
		T(test_stop_with_dead_back_end),
		T(test_after_a_crash),
		T(test_two_disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
