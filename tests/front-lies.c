// SPDX-License-Identifier: GPL-2.0-or-later
/* libpvfront against a back end that lies: each lie kills that disk alone, once, with a sentence that names it;
 * every request still ends exactly once, nothing stays granted, and a device made anew works again. */
#include <errno.h>
#include "front-env.h"
#include "frontend/user/disk-impl.h"

#define MANY 24

struct lie {
	const char *name;
	enum fback_lie lie;
	const char *text; /* part of the error */
};

static const struct lie lies[] = {
	{ "an id never given out", FBACK_WRONG_ID, "not outstanding" },
	{ "an id with all bits", FBACK_HUGE_ID, "not outstanding" },
	{ "an id of an earlier use", FBACK_STALE_ID, "not outstanding" },
	{ "the same answer twice", FBACK_DUPLICATE, "not outstanding" },
	{ "another operation", FBACK_WRONG_OP, "says operation" },
	{ "a status that is none", FBACK_WRONG_STATUS, "has status 7" },
	{ "a producer far ahead", FBACK_PROD_JUMP, "response producer" },
	{ "a producer one ahead", FBACK_PROD_ONE, "response producer" },
	{ "a producer behind", FBACK_PROD_BACK, "response producer" },
};

static struct pvf_disk *open_live(struct env *e, uint32_t devid, const struct pvf_options *opt)
{
	struct pvf_disk *d;

	MUST(e, pvf_disk_open(&d, e->guest, devid, opt, &e->err));
	MUST(e, pvf_disk_wait(d, WAIT_MS, &e->err));
	return d;
}

static unsigned changes_to_dead;

static void changed(void *arg, struct pvf_disk *d)
{
	changes_to_dead += pvf_disk_phase(d) == PVF_DEAD;
}

static void one_lie(struct env *e, const struct lie *l, struct pvf_disk *other, unsigned honest, bool wait)
{
	struct fback_options bo = { .lie = l->lie, .honest = honest };
	struct io ios[MANY] = { 0 };
	uint8_t *data = calloc(MANY, 8192);
	unsigned pending = 0, ok = 0;
	struct pvf_disk *d;
	struct fback *fb;

	print_message("%s, after %u honest answers\n", l->name, honest);
	changes_to_dead = 0;
	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ .changed = changed, .wait = wait });
	fback_shift(fb, 0, 0xfffffff0, &d->queues[0].ring);
	for (unsigned i = 0; i < MANY; i++)
		MUST(e, io_submit(d, 0, &ios[i], &pending, i % 2 ? PVF_READ : PVF_WRITE, 8192 * i, 8192,
				  data + 8192 * i, NULL));
	pvf_disk_kick(d);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_DEAD);
	assert_int_equal(pending, 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(ios[i].calls, 1);
		assert_true(ios[i].rc == 0 || ios[i].rc == -EIO);
		ok += ios[i].rc == 0;
	}
	/* a duplicate comes after an honest answer of its own; nobody else's request may succeed by a lie */
	assert_in_range(ok, 0, honest + 1);
	assert_int_equal(changes_to_dead, 1);
	if (strstr(pvf_disk_error(d)->text, l->text) == NULL || pvf_disk_error(d)->code != -EPROTO)
		fail_msg("%s: \"%s\"", l->name, pvf_disk_error(d)->text);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), -ENOTCONN);
	assert_int_equal(pvf_disk_read(other, 0, data, 512), 0);
	/* it does not come back by itself, only as another device */
	for (unsigned i = 0; i < 5; i++)
		pvb_loop_once(e->loop, 5);
	assert_int_equal(pvf_disk_phase(d), PVF_DEAD);
	fback_lie(fb, FBACK_HONEST);
	fback_remake(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_LIVE);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

static void test_lies(void **state)
{
	struct env *e = *state;
	struct fback_options honest = { 0 };
	struct pvf_disk *other;
	struct fback *fo;

	MUST(e, fback_start(&fo, e->dir, e->domid, DEVID + 16, &honest, &e->err));
	other = open_live(e, DEVID + 16, &(struct pvf_options){ 0 });
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		one_lie(e, &lies[i], other, 0, false);
		one_lie(e, &lies[i], other, 5, true);
	}
	pvf_disk_close(&other, WAIT_MS);
	fback_remove(fo, true);
}

/* The answer to an indirect request must name the inner operation. */
static void test_outer_operation(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .lie = FBACK_OUTER_OP, .indirect = 64 };
	uint8_t *data = calloc(1, 1 << 18);
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ .indirect = 64 });
	assert_int_equal(pvf_disk_read(d, 0, data, 1 << 18), -EIO);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_DEAD);
	assert_non_null(strstr(pvf_disk_error(d)->text, "says operation 6, the request was 0"));
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* A back end that never answers: the disk stays as it is, and can still be closed in bounded time. */
static void test_silent(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .lie = FBACK_SILENT };
	uint8_t data[512];
	unsigned pending = 0;
	struct pvf_disk *d;
	struct fback *fb;
	struct io io;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ 0 });
	MUST(e, io_submit(d, 0, &io, &pending, PVF_READ, 0, 512, data, NULL));
	pvf_disk_kick(d);
	for (unsigned i = 0; i < 20; i++)
		pvb_loop_once(e->loop, 5);
	assert_int_equal(pending, 1);
	pvf_disk_close(&d, WAIT_MS);
	assert_int_equal(io.rc, -EIO);
	fback_remove(fb, true);
}

struct key_lie { const char *key, *value, *text; };

/* Nonsense in the back end's keys is refused with the key's name, before anything is sized by it. */
static void test_keys(void **state)
{
	static const struct key_lie keys[] = {
		{ "multi-queue-max-queues", "0", "multi-queue-max-queues" },
		{ "multi-queue-max-queues", "-1", "multi-queue-max-queues" },
		{ "multi-queue-max-queues", "99999999999999999999", "multi-queue-max-queues" },
		{ "max-ring-page-order", "4x", "max-ring-page-order" },
		{ "max-ring-page-order", "", "max-ring-page-order" },
		{ "feature-max-indirect-segments", " 32", "feature-max-indirect-segments" },
		{ "feature-flush-cache", "2", "feature-flush-cache" },
		{ "sectors", "18446744073709551615", "sectors" },
		{ "sectors", "0x1000", "sectors" },
		{ "sectors", NULL, "no sectors" },
		{ "sector-size", "511", "sector-size" },
		{ "sector-size", "768", "sector-size" },
		{ "sector-size", "65536", "sector-size" },
		{ "info", "-1", "info" },
		{ "frontend", "/local/domain/0/device/vbd/1", "not us" },
		{ "frontend-id", "0", "serves domain 0" },
	};
	struct env *e = *state;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct fback_options bo = { .wait = true };
		struct pvf_disk *d;
		struct fback *fb;

		MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
		fback_key(fb, keys[i].key, keys[i].value);
		fback_go(fb);
		MUST(e, pvf_disk_open(&d, e->guest, DEVID,
				      &(struct pvf_options){ .queues = 8, .ring_order = 4, .indirect = 64 }, &e->err));
		assert_true(pvf_disk_wait(d, WAIT_MS, &e->err) < 0);
		if (strstr(e->err.text, keys[i].text) == NULL || pvf_disk_phase(d) != PVF_DEAD)
			fail_msg("%s=%s: %s, \"%s\"", keys[i].key, keys[i].value, pvf_phase_name(pvf_disk_phase(d)),
				 e->err.text);
		pvf_disk_close(&d, WAIT_MS);
		fback_remove(fb, true);
	}
}

/* Our own directory as a confused toolstack may leave it. */
static void test_front_keys(void **state)
{
	static const struct { const char *key, *value; } keys[] = {
		{ "backend", "/local/domain/0/backend/vbd/4711/51712" }, { "backend", "/local/domain/0/backend/vbd" },
		{ "backend", "" }, { "backend-id", "5" }, { "backend-id", "-1" },
	};
	struct env *e = *state;
	char path[128];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct fback_options bo = { 0 };
		struct pvf_disk *d;
		struct fback *fb;

		MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
		snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/%u/%s", e->domid, DEVID, keys[i].key);
		MUST(e, pvb_store_write(e->st, PVB_NO_TXN, path, keys[i].value));
		MUST(e, pvf_disk_open(&d, e->guest, DEVID, &(struct pvf_options){ 0 }, &e->err));
		assert_true(pvf_disk_wait(d, WAIT_MS, &e->err) < 0);
		assert_int_equal(pvf_disk_phase(d), PVF_DEAD);
		assert_non_null(strstr(e->err.text, "backend"));
		pvf_disk_close(&d, WAIT_MS);
		fback_remove(fb, false);
	}
}

/* States in any order while requests run: no crash, no leak, each request ends once, and a sane back end is served
 * again afterwards. */
static void test_state_chaos(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .max_queues = 2 };
	struct io ios[8] = { 0 };
	uint8_t *data = calloc(8, 8192);
	unsigned pending = 0, seed = 12345;
	struct pvf_disk *d;
	struct fback *fb;
	uint64_t until;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ .queues = 2 });
	until = pvb_now_ms() + 1500;
	while (pvb_now_ms() < until) {
		seed = seed * 1103515245 + 12345;
		fback_state(fb, (seed >> 16) % 10);
		for (unsigned i = 0; i < 8 && pending == 0; i++)
			io_submit(d, i, &ios[i], &pending, PVF_READ, 8192 * i, 8192, data + 8192 * i, NULL);
		pvf_disk_kick(d);
		pvb_loop_once(e->loop, 1);
	}
	/* the fake's own idea of its state is as confused as ours by now: start it over */
	fback_remake(fb);
	LOOP_UNTIL(e, pvf_disk_phase(d) == PVF_LIVE);
	LOOP_UNTIL(e, pending == 0);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* Pages the back end does not let go of are never used again, and closing does not wait for them. */
static void test_kept_pages(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .keep = true };
	uint8_t data[4 * 4096] = { 0 };
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ 0 });
	assert_int_equal(pvf_disk_write(d, 0, data, sizeof(data)), 0);
	pvf_disk_close(&d, WAIT_MS);
	assert_int_equal(pvb_hv_live(e->hv)->stuck, 4);
	d = open_live(e, DEVID, &(struct pvf_options){ 0 });
	assert_int_equal(pvf_disk_read(d, 0, data, sizeof(data)), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

/* Events without cause cost a bounded number of wake-ups and do no harm. */
static void test_event_storm(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { 0 };
	struct pvf_stats s;
	struct pvf_disk *d;
	struct fback *fb;
	uint8_t data[512];
	uint64_t until;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ 0 });
	until = pvb_now_ms() + 500;
	while (pvb_now_ms() < until) {
		fback_storm(fb, 1000);
		pvb_loop_once(e->loop, 0);
	}
	pvf_disk_stats(d, &s);
	assert_true(s.events < 100);
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

/* No grants left: less pool rather than no disk; none at all: an error, nothing leaked, and another try works. */
static void test_no_grants(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .indirect = 256 };
	uint8_t *data = calloc(1, 1 << 20);
	struct pvf_disk *d;
	struct fback *fb;

	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 1, 3, -ENOSPC); /* the ring is granted, three sizes of pool are not */
	d = open_live(e, DEVID, &(struct pvf_options){ .indirect = 256 });
	assert_int_equal(d->queues[0].pool.nr, 16);
	assert_int_equal(pvf_disk_read(d, 0, data, 1 << 20), 0);
	pvf_disk_close(&d, WAIT_MS);
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 0, UINT64_MAX, -ENOSPC);
	MUST(e, pvf_disk_open(&d, e->guest, DEVID, &(struct pvf_options){ 0 }, &e->err));
	assert_int_equal(pvf_disk_wait(d, WAIT_MS, &e->err), -ENOSPC);
	assert_non_null(strstr(e->err.text, "no 1 pages to grant for the ring"));
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 0, 0, 0);
	pvf_disk_close(&d, WAIT_MS);
	d = open_live(e, DEVID, &(struct pvf_options){ 0 });
	assert_int_equal(pvf_disk_read(d, 0, data, 512), 0);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
	free(data);
}

/* Whatever is granted contains payload or zeroes: with buffers of 0xc5 around, none of it must be shared. */
static void test_nothing_leaks(void **state)
{
	struct env *e = *state;
	struct fback_options bo = { .indirect = 32 };
	uint8_t *canary = malloc(1 << 20), data[512] = { 0 };
	const struct pvf_queue *q;
	struct pvf_disk *d;
	struct fback *fb;

	memset(canary, 0xc5, 1 << 20);
	free(canary);
	MUST(e, fback_start(&fb, e->dir, e->domid, DEVID, &bo, &e->err));
	d = open_live(e, DEVID, &(struct pvf_options){ .indirect = 32 });
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(pvf_disk_write(d, 512 * i, data, 512), 0);
	q = &d->queues[0];
	for (size_t i = 0; i < (size_t)q->pool.nr * PVB_PAGE_SIZE; i++)
		assert_int_equal(((const uint8_t *)q->pool.addr)[i], 0);
	for (size_t i = 0; i < (size_t)q->ring_pages.nr * PVB_PAGE_SIZE; i++)
		assert_int_not_equal(((const uint8_t *)q->ring_pages.addr)[i], 0xc5);
	pvf_disk_close(&d, WAIT_MS);
	fback_remove(fb, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, env_setup, env_teardown)
		T(test_lies),	     T(test_outer_operation), T(test_silent),
		T(test_keys),	     T(test_front_keys),      T(test_state_chaos),
		T(test_event_storm), T(test_no_grants), T(test_kept_pages),	      T(test_nothing_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
