/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hv.h promises, on whichever bus: mapping, copying, granting, events, faults, and that counters
 * return to zero.  See suite.h for where it runs. */
#include "suite.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include "event.h"
#include "hv.h"

#define PAGE PVB_PAGE_SIZE
#define NOBODY 4711u  /* a domain that is not there */

static struct pvb_hv *back, *front;
static uint32_t back_domid, front_domid;

static int setup(void **state)
{
	struct pvb_error err = { 0 };

	if (pvb_hv_open(&back, suite.back, PVB_HV_BACK, &err) < 0 ||
	    pvb_hv_open(&front, suite.front, PVB_HV_FRONT, &err) < 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	back_domid = pvb_hv_domid(back);
	front_domid = pvb_hv_domid(front);
	return 0;
}

static void all_gone(const struct pvb_hv *hv)
{
	const struct pvb_hv_live *live = pvb_hv_live(hv);

	assert_int_equal(live->maps, 0);
	assert_int_equal(live->map_pages, 0);
	assert_int_equal(live->grants, 0);
	assert_int_equal(live->ports, 0);
}

static int teardown(void **state)
{
	all_gone(back);
	all_gone(front);
	pvb_hv_close(back);
	pvb_hv_close(front);
	return 0;
}

static void grant(struct pvb_grant *g, uint32_t nr, bool writable)
{
	memset(g, 0, sizeof(*g));
	assert_int_equal(pvb_hv_grant(front, back_domid, nr, writable, g), 0);
	assert_int_equal(g->nr, nr);
}

static uint8_t *page(void *addr, uint32_t nr)
{
	return (uint8_t *)addr + (size_t)nr * PAGE;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static void test_open_errors(void **state)
{
	struct pvb_hv *hv = (struct pvb_hv *)1;
	struct pvb_error err = { 0 };

	assert_int_equal(pvb_hv_open(&hv, "hyperv", PVB_HV_BACK, &err), -EINVAL);
	assert_non_null(strstr(err.text, "hyperv"));
	assert_int_equal(pvb_hv_open(&hv, "xen:thing", PVB_HV_BACK, &err), -EINVAL);
	assert_int_equal(pvb_hv_open(&hv, suite.back, 0x80, &err), -EINVAL);
	err = (struct pvb_error){ 0 };
	assert_true(pvb_hv_open(&hv, "local:/nowhere/at/all", PVB_HV_BACK, &err) < 0);
	assert_non_null(strstr(err.text, "/nowhere/at/all"));
	assert_ptr_equal(hv, (struct pvb_hv *)1);
	pvb_hv_close(NULL);
	assert_string_equal(pvb_hv_spec(back), suite.back);
}

/* ---- mapping --------------------------------------------------------------------------------------- */

static void test_map(void **state)
{
	struct pvb_grant g;
	struct pvb_map m;
	unsigned i, k;

	grant(&g, 5, true);
	assert_int_equal(pvb_hv_live(front)->grants, 5);
	for (i = 0; i < 5 * PAGE; i++)
		assert_int_equal(page(g.addr, 0)[i], 0);
	for (i = 0; i < 5; i++)
		memset(page(g.addr, i), (int)i + 1, PAGE);
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 5, true, &m), 0);
	assert_int_equal(m.nr, 5);
	assert_true(m.writable);
	assert_int_equal(pvb_hv_live(back)->maps, 1);
	assert_int_equal(pvb_hv_live(back)->map_pages, 5);
	for (i = 0; i < 5; i++)
		for (k = 0; k < PAGE; k += 511)
			assert_int_equal(page(m.addr, i)[k], i + 1);
	/* shared, both ways */
	page(m.addr, 4)[4095] = 77;
	assert_int_equal(page(g.addr, 4)[4095], 77);
	page(g.addr, 0)[0] = 78;
	assert_int_equal(page(m.addr, 0)[0], 78);
	pvb_hv_unmap(back, &m);
	assert_int_equal(m.nr, 0);
	pvb_hv_unmap(back, &m);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	assert_int_equal(g.nr, 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

/* In the order of the references, whatever the order of the grants. */
static void test_map_order(void **state)
{
	uint32_t refs[4];
	struct pvb_grant a, b;
	struct pvb_map m;
	unsigned i;

	grant(&a, 2, true);
	grant(&b, 2, true);
	for (i = 0; i < 2; i++) {
		page(a.addr, i)[0] = (uint8_t)(10 + i);
		page(b.addr, i)[0] = (uint8_t)(20 + i);
	}
	refs[0] = b.refs[1];
	refs[1] = a.refs[0];
	refs[2] = b.refs[0];
	refs[3] = a.refs[1];
	assert_int_equal(pvb_hv_map(back, front_domid, refs, 4, false, &m), 0);
	assert_int_equal(page(m.addr, 0)[0], 21);
	assert_int_equal(page(m.addr, 1)[0], 10);
	assert_int_equal(page(m.addr, 2)[0], 20);
	assert_int_equal(page(m.addr, 3)[0], 11);
	pvb_hv_unmap(back, &m);
	/* the same page twice in one mapping, and in two */
	refs[1] = refs[0];
	assert_int_equal(pvb_hv_map(back, front_domid, refs, 2, true, &m), 0);
	page(m.addr, 0)[9] = 99;
	assert_int_equal(page(m.addr, 1)[9], 99);
	pvb_hv_unmap(back, &m);
	assert_int_equal(pvb_hv_ungrant(front, &a), 0);
	assert_int_equal(pvb_hv_ungrant(front, &b), 0);
}

static void refuse_map(const uint32_t *refs, uint32_t nr, bool writable)
{
	struct pvb_map m = { .addr = (void *)5, .nr = 6 };
	int rc = pvb_hv_map(back, front_domid, refs, nr, writable, &m);

	assert_true(rc < 0);
	assert_ptr_equal(m.addr, (void *)5);
	assert_int_equal(m.nr, 6);
	assert_int_equal(pvb_hv_live(back)->maps, 0);
}

/* One bad reference anywhere fails the whole, and the good ones are not left mapped: they can be revoked. */
static void test_map_all_or_nothing(void **state)
{
	struct pvb_grant g, gone;
	uint32_t refs[4], bad[3], i, k;

	grant(&gone, 1, true);
	bad[0] = gone.refs[0];
	bad[1] = 0x00ffffff;
	bad[2] = UINT32_MAX - 1;
	assert_int_equal(pvb_hv_ungrant(front, &gone), 0);
	grant(&g, 4, true);
	for (k = 0; k < 3; k++) {
		/* the freed reference may be in use again, then it is not a bad one */
		if (bad[k] == g.refs[0] || bad[k] == g.refs[1] || bad[k] == g.refs[2] || bad[k] == g.refs[3])
			continue;
		for (i = 0; i < 4; i++) {
			memcpy(refs, g.refs, sizeof(refs));
			refs[i] = bad[k];
			refuse_map(refs, 4, true);
		}
		refuse_map(&bad[k], 1, false);
	}
	memcpy(refs, g.refs, sizeof(refs));
	refs[2] = PVB_GREF_NONE;
	refuse_map(refs, 4, true);
	refuse_map(refs, 0, true);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	assert_int_equal(pvb_hv_live(front)->stuck, 0);
}

static void test_map_read_only(void **state)
{
	struct pvb_grant g;
	struct pvb_map m;

	grant(&g, 1, false);
	refuse_map(g.refs, 1, true);
	page(g.addr, 0)[7] = 7; /* read-only for the peer, not for us */
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 1, false, &m), 0);
	assert_int_equal(page(m.addr, 0)[7], 7);
	pvb_hv_unmap(back, &m);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

/* Granted to somebody else. */
static void test_map_foreign(void **state)
{
	struct pvb_grant g = { 0 };

	/* a bus may refuse to grant to a domain that is not there */
	if (pvb_hv_grant(front, NOBODY, 1, true, &g) == 0) {
		refuse_map(g.refs, 1, true);
		assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	}
	grant(&g, 1, true);
	struct pvb_map m;
	assert_true(pvb_hv_map(back, NOBODY, g.refs, 1, true, &m) < 0);
	assert_int_equal(pvb_hv_map(back, 0x10000, g.refs, 1, true, &m), -EINVAL);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

static void test_wrong_side(void **state)
{
	struct pvb_copy op = { .src.local = &op, .dst = { .ref = 1 }, .len = 4 };
	struct pvb_grant g;
	struct pvb_map m;
	uint32_t ref = 8;

	assert_int_equal(pvb_hv_map(front, back_domid, &ref, 1, true, &m), -EINVAL);
	assert_int_equal(pvb_hv_copy(front, &op, 1), -EINVAL);
	assert_int_not_equal(op.status, 0);
	assert_int_equal(pvb_hv_grant(back, front_domid, 1, true, &g), -EINVAL);
	assert_int_equal(pvb_hv_grant(front, back_domid, 0, true, &g), -EINVAL);
	assert_int_equal(pvb_hv_grant(front, 0x10000, 1, true, &g), -EINVAL);
}

/* Again and again, some failing: nothing piles up. */
static void test_map_soak(void **state)
{
	uint32_t refs[8];
	struct pvb_grant g;
	struct pvb_map m;
	unsigned i;

	for (i = 0; i < 300; i++) {
		grant(&g, 8, true);
		memcpy(refs, g.refs, sizeof(refs));
		assert_int_equal(pvb_hv_map(back, front_domid, refs, 8, true, &m), 0);
		page(m.addr, 7)[0] = (uint8_t)i;
		assert_int_equal(page(g.addr, 7)[0], (uint8_t)i);
		pvb_hv_unmap(back, &m);
		refs[i % 8] = UINT32_MAX - 1;
		refuse_map(refs, 8, true);
		assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	}
	assert_int_equal(pvb_hv_live(back)->nr_map, 300);
}

/* Revoked while mapped: the memory stays good for who has it mapped. */
static void test_ungrant_mapped(void **state)
{
	struct pvb_grant g, h;
	struct pvb_map m;
	int rc;

	grant(&g, 2, true);
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 2, true, &m), 0);
	memset(page(m.addr, 0), 0x5a, 2 * PAGE);
	rc = pvb_hv_ungrant(front, &g);
	assert_true(rc == -EBUSY || rc == 0);
	assert_int_equal(pvb_hv_live(front)->stuck, rc == -EBUSY ? 2 : 0);
	assert_int_equal(g.nr, 0);
	grant(&h, 4, true);
	memset(h.addr, 0xff, 4 * PAGE);
	assert_int_equal(page(m.addr, 0)[0], 0x5a);
	assert_int_equal(page(m.addr, 1)[4095], 0x5a);
	pvb_hv_unmap(back, &m);
	assert_int_equal(pvb_hv_ungrant(front, &h), 0);
}

/* ---- copying --------------------------------------------------------------------------------------- */

static struct pvb_copy from_grant(uint32_t ref, uint16_t offset, void *to, uint16_t len)
{
	return (struct pvb_copy){ .src = { .ref = ref, .domid = (uint16_t)front_domid, .offset = offset },
				  .dst.local = to,
				  .len = len };
}

static struct pvb_copy to_grant(const void *from, uint32_t ref, uint16_t offset, uint16_t len)
{
	return (struct pvb_copy){ .src.local = (void *)from,
				  .dst = { .ref = ref, .domid = (uint16_t)front_domid, .offset = offset },
				  .len = len };
}

/* The copy tests run twice: with memory from anywhere, and with the handle's arena. */
static bool with_arena;

static int setup_arena(void **state)
{
	with_arena = true;
	return setup(state);
}

static int teardown_arena(void **state)
{
	with_arena = false;
	return teardown(state);
}

static void free_local(uint8_t *p)
{
	if (!with_arena)
		free(p);
}

static uint8_t *local_pages(unsigned nr)
{
	uint8_t *p;

	if (with_arena) {
		void *area;

		assert_int_equal(pvb_hv_arena(back, nr * PAGE, &area), 0);
		p = area;
		for (unsigned i = 0; i < nr * PAGE; i++)
			assert_int_equal(p[i], 0);
	} else {
		p = aligned_alloc(PAGE, nr * PAGE);
		assert_non_null(p);
	}
	memset(p, 0xa5, nr * PAGE);
	return p;
}

static void test_copy(void **state)
{
	struct pvb_copy ops[6];
	struct pvb_grant g;
	uint8_t *buf = local_pages(4);
	unsigned i;

	grant(&g, 3, true);
	for (i = 0; i < 3 * PAGE; i++)
		page(g.addr, 0)[i] = (uint8_t)(i * 7 + i / PAGE);
	ops[0] = from_grant(g.refs[0], 0, buf, PAGE);
	ops[1] = from_grant(g.refs[1], 512, page(buf, 1) + 512, 1024);
	ops[2] = from_grant(g.refs[2], 4095, page(buf, 2), 1);
	ops[3] = from_grant(g.refs[2], 100, page(buf, 3) - 50, 100); /* our end crosses a page */
	ops[4] = from_grant(g.refs[2], 3, page(buf, 3) + 333, 3);
	ops[5] = from_grant(g.refs[2], 0, page(buf, 3) + 999, 0);
	assert_int_equal(pvb_hv_copy(back, ops, 6), 0);
	for (i = 0; i < 6; i++)
		assert_int_equal(ops[i].status, 0);
	assert_memory_equal(buf, g.addr, PAGE);
	assert_memory_equal(page(buf, 1) + 512, page(g.addr, 1) + 512, 1024);
	assert_int_equal(page(buf, 1)[511], 0xa5);
	assert_int_equal(page(buf, 1)[512 + 1024], 0xa5);
	assert_int_equal(page(buf, 2)[0], page(g.addr, 2)[4095]);
	assert_memory_equal(page(buf, 3) - 50, page(g.addr, 2) + 100, 100);
	assert_memory_equal(page(buf, 3) + 333, page(g.addr, 2) + 3, 3);
	assert_int_equal(page(buf, 3)[999], 0xa5);
	/* and the other way */
	memset(buf, 0x3c, PAGE);
	ops[0] = to_grant(buf, g.refs[1], 1000, 96);
	ops[1] = to_grant(buf, g.refs[2], 4000, 96);
	assert_int_equal(pvb_hv_copy(back, ops, 2), 0);
	assert_int_equal(ops[0].status | ops[1].status, 0);
	assert_memory_equal(page(g.addr, 1) + 1000, buf, 96);
	assert_memory_equal(page(g.addr, 2) + 4000, buf, 96);
	assert_int_not_equal(page(g.addr, 1)[999], 0x3c);
	assert_int_equal(pvb_hv_live(back)->nr_copy_calls, 2);
	assert_int_equal(pvb_hv_live(back)->nr_copy_ops, 8);
	assert_int_equal(pvb_hv_copy(back, ops, 0), 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	free_local(buf);
}

static void test_copy_between_grants(void **state)
{
	struct pvb_grant g;
	struct pvb_copy op = { .len = 500 };

	grant(&g, 2, true);
	memset(page(g.addr, 0), 0x42, PAGE);
	op.src.domid = op.dst.domid = (uint16_t)front_domid;
	op.src.ref = g.refs[0];
	op.dst.ref = g.refs[1];
	op.dst.offset = 123;
	assert_int_equal(pvb_hv_copy(back, &op, 1), 0);
	assert_int_equal(op.status, 0);
	assert_memory_equal(page(g.addr, 1) + 123, g.addr, 500);
	assert_int_equal(page(g.addr, 1)[122], 0);
	assert_int_equal(page(g.addr, 1)[623], 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

static void test_arena_limits(void **state)
{
	void *area = NULL, *other;

	assert_int_equal(pvb_hv_arena(back, 0, &area), -EINVAL);
	assert_int_equal(pvb_hv_arena(back, PAGE + 1, &area), -EINVAL);
	assert_int_equal(pvb_hv_arena(front, PAGE, &area), -EINVAL); /* has nothing to copy */
	assert_null(area);
	assert_int_equal(pvb_hv_arena(back, 64 * PAGE, &area), 0);
	memset(area, 1, 64 * PAGE);
	for (unsigned i = 1; i < PVB_HV_ARENAS; i++) {
		assert_int_equal(pvb_hv_arena(back, PAGE, &other), 0);
		assert_ptr_not_equal(area, other);
	}
	assert_int_equal(pvb_hv_arena(back, PAGE, &other), -EMFILE);
}

/* A whole ring's worth in one call. */
static void test_copy_many(void **state)
{
	enum { NR = 1000 };
	struct pvb_copy *ops = calloc(NR, sizeof(*ops));
	uint8_t *buf = local_pages(2);
	struct pvb_grant g;
	unsigned i;

	grant(&g, 4, true);
	for (i = 0; i < 4 * PAGE; i++)
		page(g.addr, 0)[i] = (uint8_t)(i % 251);
	for (i = 0; i < NR; i++)
		ops[i] = from_grant(g.refs[i % 4], (uint16_t)(i * 4), buf + i * 8, 8);
	assert_int_equal(pvb_hv_copy(back, ops, NR), 0);
	for (i = 0; i < NR; i++) {
		assert_int_equal(ops[i].status, 0);
		assert_memory_equal(buf + i * 8, page(g.addr, i % 4) + i * 4, 8);
	}
	assert_int_equal(pvb_hv_live(back)->nr_copy_calls, 1);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	free(ops);
	free_local(buf);
}

/* Bad ops of every kind between good ones: each gets its own verdict and the good ones are done. */
static void test_copy_mixed(void **state)
{
	uint8_t *buf = local_pages(1);
	struct pvb_copy ops[16];
	struct pvb_grant g, ro;
	uint8_t want[16];
	unsigned i, n = 0;

	grant(&g, 1, true);
	grant(&ro, 1, false);
	memset(g.addr, 0x77, PAGE);
	want[n] = 1; ops[n++] = from_grant(g.refs[0], 0, buf, 16);
	want[n] = 0; ops[n++] = from_grant(g.refs[0], 4090, buf + 100, 7);          /* past the page by one */
	want[n] = 1; ops[n++] = from_grant(g.refs[0], 4090, buf + 16, 6);
	want[n] = 0; ops[n++] = from_grant(PVB_GREF_NONE, 0, buf + 100, 8);
	want[n] = 0; ops[n++] = from_grant(UINT32_MAX - 1, 0, buf + 100, 8);        /* no such grant */
	want[n] = 1; ops[n++] = from_grant(g.refs[0], 0, buf + 32, 16);
	want[n] = 0; ops[n++] = (struct pvb_copy){ .src.local = buf, .dst.local = buf + 200, .len = 8 };
	want[n] = 0; ops[n++] = to_grant(buf, ro.refs[0], 0, 8);                    /* read-only */
	want[n] = 1; ops[n++] = from_grant(ro.refs[0], 0, buf + 300, 8);
	want[n] = 0; ops[n] = from_grant(g.refs[0], 0, buf + 100, 8); ops[n++].src.domid = NOBODY;
	want[n] = 0; ops[n++] = from_grant(g.refs[0], 65535, buf + 100, 1);
	want[n] = 0; ops[n++] = from_grant(g.refs[0], 0, buf + 100, 4097);
	want[n] = 1; ops[n++] = from_grant(g.refs[0], 0, buf + 48, 16);
	for (i = 0; i < n; i++)
		ops[i].status = want[i] ? -77 : 0; /* stale values must not count */
	assert_int_equal(pvb_hv_copy(back, ops, n), 0);
	for (i = 0; i < n; i++)
		if ((ops[i].status == 0) != want[i])
			fail_msg("op %u has status %d", i, ops[i].status);
	for (i = 0; i < 22; i++)
		assert_int_equal(buf[i], 0x77);
	for (i = 32; i < 64; i++)
		assert_int_equal(buf[i], 0x77);
	for (i = 100; i < 300; i++)
		assert_int_equal(buf[i], 0xa5);
	for (i = 0; i < PAGE; i++)
		assert_int_equal(page(ro.addr, 0)[i], 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	assert_int_equal(pvb_hv_ungrant(front, &ro), 0);
	free_local(buf);
}

static void test_copy_revoked(void **state)
{
	uint8_t *buf = local_pages(1);
	struct pvb_grant g;
	struct pvb_copy op;

	grant(&g, 1, true);
	op = from_grant(g.refs[0], 0, buf, 8);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	pvb_hv_copy(back, &op, 1);
	assert_int_not_equal(op.status, 0);
	assert_int_equal(buf[0], 0xa5);
	free_local(buf);
}

/* ---- faults ---------------------------------------------------------------------------------------- */

static void test_faults(void **state)
{
	uint8_t *buf = local_pages(1);
	struct pvb_copy ops[4];
	struct pvb_grant g;
	struct pvb_map m;
	unsigned i;

	grant(&g, 1, true);
	pvb_hv_fault(back, PVB_FAULT_MAP, 1, 2, -ENOMEM);
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 1, true, &m), 0);
	pvb_hv_unmap(back, &m);
	refuse_map(g.refs, 1, true);
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 1, true, &m), -ENOMEM);
	assert_int_equal(pvb_hv_map(back, front_domid, g.refs, 1, true, &m), 0);
	pvb_hv_unmap(back, &m);

	for (i = 0; i < 4; i++)
		ops[i] = from_grant(g.refs[0], 0, buf + 16 * i, 16);
	pvb_hv_fault(back, PVB_FAULT_COPY_OP, 2, 1, 1); /* a positive status is no success either */
	assert_int_equal(pvb_hv_copy(back, ops, 4), 0);
	assert_int_equal(ops[0].status | ops[1].status | ops[3].status, 0);
	assert_int_equal(ops[2].status, 1);
	assert_int_equal(buf[31], 0);
	assert_int_equal(buf[32], 0xa5);
	pvb_hv_fault(back, PVB_FAULT_COPY_BATCH, 0, 1, -EAGAIN);
	assert_int_equal(pvb_hv_copy(back, ops, 4), -EAGAIN);
	for (i = 0; i < 4; i++)
		assert_int_not_equal(ops[i].status, 0);
	assert_int_equal(pvb_hv_copy(back, ops, 4), 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);

	pvb_hv_fault(front, PVB_FAULT_GRANT, 0, 1, -ENOSPC);
	assert_int_equal(pvb_hv_grant(front, back_domid, 1, true, &g), -ENOSPC);
	pvb_hv_fault(front, PVB_FAULT_BIND, 0, 2, -ENOSPC);
	assert_int_equal(pvb_hv_evt_bind(front, back_domid, 1), -ENOSPC);
	assert_int_equal(pvb_hv_evt_alloc(front, back_domid), -ENOSPC);
	pvb_hv_fault(front, PVB_FAULT_NOTIFY, 0, 1, -EBADF);
	assert_int_equal(pvb_hv_evt_notify(front, 1), -EBADF);
	assert_int_equal(pvb_hv_live(front)->nr_notify, 0);
	/* switched off before it struck */
	pvb_hv_fault(front, PVB_FAULT_GRANT, 0, 5, -ENOSPC);
	pvb_hv_fault(front, PVB_FAULT_GRANT, 0, 0, 0);
	grant(&g, 1, true);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	free(buf);
}

/* ---- events ---------------------------------------------------------------------------------------- */

static bool readable(struct pvb_hv *hv, int timeout_ms)
{
	struct pollfd pfd = { .fd = pvb_hv_evt_fd(hv), .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

/* Wait for exactly this port. */
static void expect_event(struct pvb_hv *hv, uint32_t port)
{
	uint32_t ports[8] = { 0 };

	assert_true(readable(hv, 5000));
	assert_int_equal(pvb_hv_evt_take(hv, ports, 8), 1);
	assert_int_equal(ports[0], port);
}

static void expect_nothing(struct pvb_hv *hv)
{
	uint32_t ports[8];

	assert_false(readable(hv, 20));
	assert_int_equal(pvb_hv_evt_take(hv, ports, 8), 0);
}

/* A pair: f is front's port (allocated), b is back's (bound to it), both quiet and unmasked. */
static void connect_ports(uint32_t *f, uint32_t *b)
{
	int rc = pvb_hv_evt_alloc(front, back_domid);

	assert_true(rc > 0);
	*f = (uint32_t)rc;
	rc = pvb_hv_evt_bind(back, front_domid, *f);
	assert_true(rc > 0);
	*b = (uint32_t)rc;
	/* binding raises the new port at once: a notify sent before would have been lost otherwise */
	expect_event(back, *b);
	assert_int_equal(pvb_hv_evt_unmask(back, b, 1), 0);
}

static void disconnect_ports(uint32_t f, uint32_t b)
{
	assert_int_equal(pvb_hv_evt_unbind(back, b), 0);
	assert_int_equal(pvb_hv_evt_unbind(front, f), 0);
}

static void test_event(void **state)
{
	uint32_t f, b, i;

	connect_ports(&f, &b);
	expect_nothing(back);
	expect_nothing(front);
	for (i = 0; i < 20; i++) {
		assert_int_equal(pvb_hv_evt_notify(front, f), 0);
		expect_event(back, b);
		assert_int_equal(pvb_hv_evt_unmask(back, &b, 1), 0);
		assert_int_equal(pvb_hv_evt_notify(back, b), 0);
		expect_event(front, f);
		assert_int_equal(pvb_hv_evt_unmask(front, &f, 1), 0);
	}
	expect_nothing(back);
	expect_nothing(front);
	assert_int_equal(pvb_hv_live(front)->nr_notify, 20);
	assert_int_equal(pvb_hv_live(back)->ports, 1);
	disconnect_ports(f, b);
}

/* Fetched means masked: events in between are merged into one, delivered after the unmask. */
static void test_event_masked(void **state)
{
	uint32_t f, b, i;

	connect_ports(&f, &b);
	assert_int_equal(pvb_hv_evt_notify(front, f), 0);
	expect_event(back, b);
	for (i = 0; i < 5; i++)
		assert_int_equal(pvb_hv_evt_notify(front, f), 0);
	expect_nothing(back);
	assert_int_equal(pvb_hv_evt_unmask(back, &b, 1), 0);
	expect_event(back, b);
	assert_int_equal(pvb_hv_evt_unmask(back, &b, 1), 0);
	expect_nothing(back);
	/* unmasking what is not masked changes nothing */
	assert_int_equal(pvb_hv_evt_unmask(back, &b, 1), 0);
	expect_nothing(back);
	disconnect_ports(f, b);
}

static void test_event_many(void **state)
{
	enum { NR = 40 };
	uint32_t f[NR], b[NR], got[64], seen = 0, i, k;
	int n, total = 0;

	for (i = 0; i < NR; i++)
		connect_ports(&f[i], &b[i]);
	for (i = 0; i < NR; i++)
		assert_int_equal(pvb_hv_evt_notify(front, f[i]), 0);
	assert_true(readable(back, 5000));
	/* max is kept */
	n = pvb_hv_evt_take(back, got, 7);
	assert_true(n >= 1 && n <= 7);
	total = n;
	while (total < NR) {
		assert_true(readable(back, 5000));
		n = pvb_hv_evt_take(back, got + total, 64 - (unsigned)total);
		assert_true(n >= 1);
		total += n;
	}
	for (i = 0; i < NR; i++)
		for (k = 0; k < NR; k++)
			seen += got[k] == b[i];
	assert_int_equal(seen, NR);
	assert_int_equal(pvb_hv_evt_unmask(back, got, NR), 0);
	expect_nothing(back);
	for (i = 0; i < NR; i++)
		disconnect_ports(f[i], b[i]);
}

static void test_event_refused(void **state)
{
	uint32_t f, b;
	int rc;

	connect_ports(&f, &b);
	assert_true(pvb_hv_evt_bind(back, front_domid, f) < 0);       /* taken */
	assert_true(pvb_hv_evt_bind(back, front_domid, 60000) < 0);
	assert_true(pvb_hv_evt_bind(back, front_domid, UINT32_MAX) < 0);
	assert_true(pvb_hv_evt_bind(back, NOBODY, f) < 0);
	assert_int_equal(pvb_hv_evt_bind(back, 0x10000, f), -EINVAL);
	assert_true(pvb_hv_evt_notify(back, 60001) < 0);
	assert_true(pvb_hv_evt_unbind(back, 60001) < 0);
	assert_int_equal(pvb_hv_live(back)->ports, 1);
	disconnect_ports(f, b);
	/* a port for somebody else can not be bound by us */
	rc = pvb_hv_evt_alloc(front, NOBODY);
	if (rc > 0) {
		assert_true(pvb_hv_evt_bind(back, front_domid, (uint32_t)rc) < 0);
		assert_int_equal(pvb_hv_evt_unbind(front, (uint32_t)rc), 0);
	}
}

/* The peer closed its end: what we do with ours is an error at most, and an unbind always works. */
static void test_event_peer_gone(void **state)
{
	uint32_t f, b;
	int rc;

	connect_ports(&f, &b);
	assert_int_equal(pvb_hv_evt_unbind(front, f), 0);
	rc = pvb_hv_evt_notify(back, b);
	assert_true(rc == 0 || rc == -EBADF || rc == -EINVAL);
	assert_int_equal(pvb_hv_evt_unmask(back, &b, 1), 0);
	assert_int_equal(pvb_hv_evt_unbind(back, b), 0);
	/* and the back end's: the port waits for it again, as after a crash (block.md E1) */
	connect_ports(&f, &b);
	assert_int_equal(pvb_hv_evt_unbind(back, b), 0);
	assert_int_equal(pvb_hv_evt_notify(front, f), 0);
	rc = pvb_hv_evt_bind(back, front_domid, f);
	assert_true(rc > 0);
	expect_event(back, (uint32_t)rc); /* no notify is lost */
	disconnect_ports(f, (uint32_t)rc);
}

struct ringer {
	struct pvb_hv *hv;
	uint32_t port;
	bool stop;
	unsigned times;
};

static void *ring(void *arg)
{
	struct ringer *r = arg;
	unsigned i;

	for (i = 0; i < r->times && !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++)
		if (pvb_hv_evt_notify(r->hv, r->port) != 0)
			abort();
	return NULL;
}

/* Notify alone may be called from other threads. */
static void test_event_threads(void **state)
{
	struct ringer r = { .times = 2000 };
	uint32_t f, b, ports[4], got = 0;
	pthread_t t[3];
	unsigned i;

	connect_ports(&f, &b);
	r.hv = front;
	r.port = f;
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ring, &r), 0);
	for (i = 0; i < 200 && readable(back, 1000); i++) {
		if (pvb_hv_evt_take(back, ports, 4) == 1) {
			assert_int_equal(ports[0], b);
			got++;
			pvb_hv_evt_unmask(back, &b, 1);
		}
		if (__atomic_load_n(&pvb_hv_live(front)->nr_notify, __ATOMIC_RELAXED) == 6000)
			break;
	}
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(pvb_hv_live(front)->nr_notify, 6000);
	assert_true(got > 0);
	disconnect_ports(f, b);
}

/* ---- restricted -------------------------------------------------------------------------------------- */

static void test_restrict(void **state)
{
	uint32_t other = front_domid + 1;
	struct pvb_copy op;
	struct pvb_grant g;
	struct pvb_hv *hv;
	struct pvb_map m;
	char buf[8];
	int f, b;

	assert_int_equal(pvb_hv_open(&hv, suite.back, PVB_HV_BACK, NULL), 0);
	assert_int_equal(pvb_hv_restrict(hv, front_domid), 0);
	assert_int_equal(pvb_hv_restrict(hv, front_domid), 0);
	assert_int_equal(pvb_hv_restrict(hv, other), -EACCES);
	grant(&g, 1, true);
	assert_int_equal(pvb_hv_map(hv, front_domid, g.refs, 1, true, &m), 0);
	pvb_hv_unmap(hv, &m);
	assert_int_equal(pvb_hv_map(hv, other, g.refs, 1, true, &m), -EACCES);
	op = from_grant(g.refs[0], 0, buf, 8);
	assert_int_equal(pvb_hv_copy(hv, &op, 1), 0);
	assert_int_equal(op.status, 0);
	op.src.domid = (uint16_t)other;
	assert_int_equal(pvb_hv_copy(hv, &op, 1), 0);
	assert_int_not_equal(op.status, 0);
	f = pvb_hv_evt_alloc(front, back_domid);
	assert_true(f > 0);
	assert_int_equal(pvb_hv_evt_bind(hv, other, (uint32_t)f), -EACCES);
	assert_int_equal(pvb_hv_evt_alloc(hv, front_domid), -EACCES);
	b = pvb_hv_evt_bind(hv, front_domid, (uint32_t)f);
	assert_true(b > 0);
	assert_int_equal(pvb_hv_evt_notify(hv, (uint32_t)b), 0);
	expect_event(front, (uint32_t)f);
	assert_int_equal(pvb_hv_evt_unbind(hv, (uint32_t)b), 0);
	pvb_hv_close(hv);
	assert_int_equal(pvb_hv_evt_unbind(front, (uint32_t)f), 0);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

/* Closed with everything still in it: the front end can revoke and find its port unbound. */
static void test_close_full(void **state)
{
	struct pvb_grant g;
	struct pvb_hv *hv;
	struct pvb_map m;
	int f, b;

	grant(&g, 3, true);
	f = pvb_hv_evt_alloc(front, back_domid);
	assert_true(f > 0);
	assert_int_equal(pvb_hv_open(&hv, suite.back, PVB_HV_BACK | PVB_HV_FRONT, NULL), 0);
	assert_int_equal(pvb_hv_map(hv, front_domid, g.refs, 3, true, &m), 0);
	assert_int_equal(pvb_hv_map(hv, front_domid, g.refs, 1, false, &m), 0);
	struct pvb_grant left;
	assert_int_equal(pvb_hv_grant(hv, front_domid, 2, true, &left), 0);
	assert_true(pvb_hv_evt_bind(hv, front_domid, (uint32_t)f) > 0);
	pvb_hv_close(hv);
	free(left.refs); /* the struct is the caller's */
	b = pvb_hv_evt_bind(back, front_domid, (uint32_t)f);
	assert_true(b > 0);
	disconnect_ports((uint32_t)f, (uint32_t)b);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	assert_int_equal(pvb_hv_live(front)->stuck, 0);
}

/* ---- event.h on top ---------------------------------------------------------------------------------- */

static struct pvb_loop *loop;
static struct pvb_events *events;
static struct pvb_event *the_event, *other_event;
static unsigned calls, batches;
static bool work;

static bool on_event(void *arg)
{
	calls++;
	if (arg)
		pvb_event_free(arg);
	return work;
}

static void after_batch(void *arg)
{
	batches++;
}

static void run_loop(unsigned ms)
{
	uint64_t end = pvb_now_ms() + ms;

	while (pvb_now_ms() < end)
		assert_true(pvb_loop_once(loop, (int)(end - pvb_now_ms())) >= 0);
}

static void run_until(unsigned nr)
{
	uint64_t end = pvb_now_ms() + 5000;

	while (calls < nr && pvb_now_ms() < end)
		assert_true(pvb_loop_once(loop, 100) >= 0);
	assert_true(calls >= nr);
}

static void events_start(void)
{
	calls = batches = 0;
	work = true;
	assert_int_equal(pvb_loop_new(&loop), 0);
	assert_int_equal(pvb_events_new(&events, back, loop, after_batch, NULL), 0);
}

static void events_stop(void)
{
	pvb_events_free(events);
	pvb_loop_free(loop);
}

static void test_dispatch(void **state)
{
	uint32_t f;
	int rc;

	events_start();
	rc = pvb_hv_evt_alloc(front, back_domid);
	assert_true(rc > 0);
	f = (uint32_t)rc;
	assert_int_equal(pvb_event_bind(events, front_domid, f, on_event, NULL, &the_event), 0);
	run_until(1);
	assert_true(batches >= 1);
	assert_int_equal(pvb_hv_evt_notify(front, f), 0);
	run_until(2);
	assert_int_equal(pvb_event_notify(the_event), 0);
	expect_event(front, f);
	assert_int_equal(pvb_event_stats(the_event)->sent, 1);
	assert_int_equal(pvb_event_stats(the_event)->received, 2);
	assert_int_equal(pvb_event_stats(the_event)->spurious, 0);
	pvb_event_free(&the_event);
	pvb_event_free(&the_event);
	assert_int_equal(pvb_hv_evt_notify(front, f), 0);
	run_loop(5);
	assert_int_equal(calls, 2);
	/* the handler frees itself, then the other one, which is ready in the same batch */
	assert_int_equal(pvb_event_bind(events, front_domid, f, on_event, &the_event, &the_event), 0);
	run_until(3);
	assert_null(the_event);
	rc = pvb_hv_evt_alloc(front, back_domid);
	assert_true(rc > 0);
	assert_int_equal(pvb_event_bind(events, front_domid, f, on_event, &other_event, &the_event), 0);
	assert_int_equal(pvb_event_bind(events, front_domid, (uint32_t)rc, on_event, &the_event, &other_event), 0);
	run_until(4);
	run_loop(5);
	assert_int_equal(calls, 4);
	assert_true((the_event == NULL) != (other_event == NULL));
	events_stop();
	assert_int_equal(pvb_hv_evt_unbind(front, f), 0);
	assert_int_equal(pvb_hv_evt_unbind(front, (uint32_t)rc), 0);
}

/* A peer that rings without pause and without work: we look less and less often; then there is work. */
static void test_storm(void **state)
{
	struct ringer r = { .hv = front, .times = UINT32_MAX };
	const struct pvb_event_stats *st;
	pthread_t thread;
	uint64_t start;
	int rc;

	events_start();
	rc = pvb_hv_evt_alloc(front, back_domid);
	assert_true(rc > 0);
	r.port = (uint32_t)rc;
	assert_int_equal(pvb_event_bind(events, front_domid, r.port, on_event, NULL, &the_event), 0);
	run_until(1);
	work = false;
	assert_int_equal(pthread_create(&thread, NULL, ring, &r), 0);
	run_loop(250);
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	st = pvb_event_stats(the_event);
	/* 0 1 2 4 8 16 32 64 128 ms: ten looks in 255 ms */
	assert_in_range(calls, 4, 12);
	assert_int_equal(st->spurious, calls - 1);
	assert_true(st->delayed >= 2);
	/* one event waits behind the unmask, 256 ms at most: it is not lost, and it resets the count.  (The
	 * thread may not have run since the last look.) */
	assert_int_equal(pvb_hv_evt_notify(front, r.port), 0);
	work = true;
	calls = 0;
	start = pvb_now_ms();
	run_until(1);
	assert_true(pvb_now_ms() - start < 1000);
	calls = 0;
	start = pvb_now_ms();
	assert_int_equal(pvb_hv_evt_notify(front, r.port), 0);
	run_until(1);
	assert_true(pvb_now_ms() - start < 200);
	events_stop();
	assert_int_equal(pvb_hv_evt_unbind(front, r.port), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define ARENA(f) { #f " with an arena", f, setup_arena, teardown_arena, NULL }

static int run_all(const char *name)
{
	const struct CMUnitTest tests[] = {
		T(test_open_errors),
		T(test_map),
		T(test_map_order),
		T(test_map_all_or_nothing),
		T(test_map_read_only),
		T(test_map_foreign),
		T(test_wrong_side),
		T(test_map_soak),
		T(test_ungrant_mapped),
		T(test_copy),
		T(test_copy_between_grants),
		T(test_copy_many),
		T(test_copy_mixed),
		T(test_copy_revoked),
		ARENA(test_copy),
		ARENA(test_copy_many),
		ARENA(test_copy_mixed),
		ARENA(test_copy_revoked),
		T(test_arena_limits),
		T(test_faults),
		T(test_event),
		T(test_event_masked),
		T(test_event_many),
		T(test_event_refused),
		T(test_event_peer_gone),
		T(test_event_threads),
		T(test_restrict),
		T(test_close_full),
		T(test_dispatch),
		T(test_storm),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	int failed;

	alarm(300);
	suite_start(false);
	failed = run_all("one domain with itself");
	if (!suite.fabric)
		return failed != 0;
	suite_stop();
	suite_start(true);
	failed += run_all("two domains");
	suite_stop();
	return failed != 0;
}
