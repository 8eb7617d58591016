// SPDX-License-Identifier: GPL-2.0-or-later
/* Parts of the user-space front end that need no bus: slots as bytes, the page allocator, the load's settings
 * and its percentiles, the list of requests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <xen/xen.h>
#include <xen/io/blkif.h>
#include "frontend/user/bench.h"
#include "frontend/user/disk-impl.h"
#include "frontend/user/nbd-impl.h"

/* --- slots ------------------------------------------------------------------------------------------- */

static struct pvf_seg segs[11];

static void test_slots64(void **state)
{
	uint8_t slot[PVF_SLOT_MAX];
	struct blkif_request rw;
	struct blkif_request_indirect ind;
	struct blkif_request_discard dis;

	for (unsigned i = 0; i < 11; i++)
		segs[i] = (struct pvf_seg){ 1000 + i, (uint8_t)(i % 8), 7, 0 };
	memset(slot, 0xff, sizeof(slot));
	pvf_wire_direct(&pvf_wire64, slot, BLKIF_OP_WRITE, 0xca00, 0x1122334455667788, 0x99aabbccddeeff, segs, 11);
	memcpy(&rw, slot, sizeof(rw));
	assert_true(rw.operation == BLKIF_OP_WRITE && rw.nr_segments == 11 && rw.handle == 0xca00);
	assert_true(rw.id == 0x1122334455667788 && rw.sector_number == 0x99aabbccddeeff);
	assert_memory_equal(rw.seg, segs, sizeof(segs));
	memset(slot, 0xff, sizeof(slot));
	pvf_wire_indirect(&pvf_wire64, slot, BLKIF_OP_READ, 0xca00, 42, 7, 0x12345678, 256);
	memcpy(&ind, slot, sizeof(ind));
	assert_true(ind.operation == BLKIF_OP_INDIRECT && ind.indirect_op == BLKIF_OP_READ && ind.nr_segments == 256);
	assert_true(ind.id == 42 && ind.sector_number == 7 && ind.handle == 0xca00 &&
		    ind.indirect_grefs[0] == 0x12345678);
	assert_int_equal(ind.indirect_grefs[1], 0);
	pvf_wire_discard(&pvf_wire64, slot, true, 0xca00, 43, 8, 0x123456789abc);
	memcpy(&dis, slot, sizeof(dis));
	assert_true(dis.operation == BLKIF_OP_DISCARD && dis.flag == BLKIF_DISCARD_SECURE && dis.handle == 0xca00);
	assert_true(dis.id == 43 && dis.sector_number == 8 && dis.nr_sectors == 0x123456789abc);
}

/* What 32-bit x86 lays out: 64-bit fields aligned to 4. */
#pragma pack(push, 4)
struct rw32 {
	uint8_t operation, nr_segments;
	uint16_t handle;
	uint64_t id, sector;
	struct pvf_seg seg[11];
};
struct ind32 {
	uint8_t operation, indirect_op;
	uint16_t nr_segments;
	uint64_t id, sector;
	uint16_t handle;
	uint32_t grefs[8];
	uint64_t pad;
};
struct dis32 {
	uint8_t operation, flag;
	uint16_t handle;
	uint64_t id, sector, nr_sectors;
};
#pragma pack(pop)

static void test_slots32(void **state)
{
	uint8_t slot[PVF_SLOT_MAX];
	struct rw32 rw;
	struct ind32 ind;
	struct dis32 dis;

	assert_int_equal(sizeof(rw), pvf_wire32.slot_size);
	assert_int_equal(sizeof(ind), 64);
	pvf_wire_direct(&pvf_wire32, slot, BLKIF_OP_READ, 5, UINT64_MAX - 1, UINT64_MAX / 3, segs, 2);
	memcpy(&rw, slot, sizeof(rw));
	assert_true(rw.operation == BLKIF_OP_READ && rw.nr_segments == 2 && rw.handle == 5 && rw.id == UINT64_MAX - 1 &&
		    rw.sector == UINT64_MAX / 3);
	assert_memory_equal(rw.seg, segs, 2 * sizeof(segs[0]));
	pvf_wire_indirect(&pvf_wire32, slot, BLKIF_OP_WRITE, 5, 44, 9, 77, 12);
	memcpy(&ind, slot, sizeof(ind));
	assert_true(ind.operation == BLKIF_OP_INDIRECT && ind.indirect_op == BLKIF_OP_WRITE && ind.nr_segments == 12 &&
		    ind.id == 44 && ind.sector == 9 && ind.handle == 5 && ind.grefs[0] == 77 && ind.pad == 0);
	pvf_wire_discard(&pvf_wire32, slot, false, 5, 45, 10, 11);
	memcpy(&dis, slot, sizeof(dis));
	assert_true(dis.operation == BLKIF_OP_DISCARD && dis.flag == 0 && dis.id == 45 && dis.sector == 10 &&
		    dis.nr_sectors == 11);
}

/* --- pages against a simple model ---------------------------------------------------------------------- */

static void test_slab(void **state)
{
	enum { PAGES = 300, RUNS = 64 };
	struct slab slab = { .pages = PAGES };
	struct { uint32_t first, nr; } runs[RUNS] = { 0 };
	uint8_t model[PAGES] = { 0 };
	unsigned seed = 99, refused = 0;

	slab.used = calloc((PAGES + 63) / 64, 8);
	for (unsigned step = 0; step < 200000; step++) {
		unsigned i, nr, free_pages = 0, best = 0, run = 0;
		int64_t first;

		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % RUNS;
		nr = (seed >> 22) % 40 + 1;
		if (runs[i].nr > 0) {
			slab_give(&slab, runs[i].first, runs[i].nr);
			memset(model + runs[i].first, 0, runs[i].nr);
			runs[i].nr = 0;
			continue;
		}
		for (unsigned p = 0; p < PAGES; p++) {
			run = model[p] ? 0 : run + 1;
			best = run > best ? run : best;
			free_pages += !model[p];
		}
		assert_int_equal(slab.in_use, PAGES - free_pages);
		first = slab_take(&slab, nr);
		assert_int_equal(first >= 0, best >= nr); /* found if and only if there is room */
		if (first < 0) {
			refused++;
			continue;
		}
		assert_true((uint64_t)first + nr <= PAGES);
		for (unsigned p = 0; p < nr; p++) {
			assert_int_equal(model[first + p], 0);
			model[first + p] = 1;
		}
		runs[i].first = (uint32_t)first;
		runs[i].nr = nr;
	}
	assert_true(refused > 100);
	assert_int_equal(slab_take(&slab, 0), -1);
	assert_int_equal(slab_take(&slab, PAGES + 1), -1);
	slab_reset(&slab);
	assert_int_equal(slab_take(&slab, PAGES), 0);
	free(slab.used);
}

/* --- settings ------------------------------------------------------------------------------------------ */

static void test_sizes(void **state)
{
	static const struct { const char *text; uint64_t bytes; } good[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "4k", 4096 },
		{ "4K", 4096 },
		{ "1M", 1 << 20 },
		{ "16G", (uint64_t)16 << 30 },
		{ "2t", (uint64_t)2 << 40 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215t", (uint64_t)16777215 << 40 },
	};
	static const char *const bad[] = { "",
					   "k",
					   "4kk",
					   "-1",
					   " 4",
					   "4 ",
					   "0x10",
					   "18446744073709551616",
					   "16777216t",
					   "4x",
					   "99999999999999999999999999999",
					   "1.5k" };
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(bench_size(good[i].text, &v), 0);
		assert_true(v == good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bench_size(bad[i], &v), -EINVAL);
}

static void test_settings(void **state)
{
	static const struct { const char *text, *error; } bad[] = {
		{ "op=sideways", "op can not be \"sideways\"" },
		{ "op", "key=value" },
		{ "depth=4", "no setting \"depth\"" },
		{ "bs=1000", "bs 1000, must be a multiple of 512" },
		{ "qd=0", "qd can not" },
		{ "mix=101", "mix can not" },
		{ "time=-1", "time can not" },
		{ "time=1s", "time can not" },
		{ "verify=2", "verify can not" },
		{ "time=nan", "time can not" },
		{ "time=inf", "time can not" },
	};
	struct bench_config c;
	struct pvb_error err;

	assert_int_equal(bench_parse(&c, "", &err), 0);
	assert_true(c.random && c.mix == 100 && c.bs == 4096 && c.qd == 32 && c.time_ms == 5000 && c.count == 0);
	assert_int_equal(bench_parse(&c, "op=rw,mix=30  bs=64k qd=7 time=0.25 ramp=1 count=1k offset=1M size=2M seed=9 "
				     "verify=1 copy=1 poll=1", &err), 0);
	assert_true(!c.random && c.mix == 30 && c.bs == 65536 && c.qd == 7 && c.time_ms == 250 && c.ramp_ms == 1000 &&
		    c.count == 1024 && c.offset == 1 << 20 && c.size == 2 << 20 && c.seed == 9 && c.verify && c.copy &&
		    c.poll);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(bench_parse(&c, bad[i].text, &err) < 0);
		assert_non_null(strstr(err.text, bad[i].error));
	}
}

static void test_percentiles(void **state)
{
	static struct bench_side side;
	uint64_t v;

	assert_int_equal(bench_percentile(&side, 500), 0);
	for (v = 1; v <= 100000; v++)
		bench_count(&side, 1, v * 100);
	assert_int_equal(side.min_ns, 100);
	assert_int_equal(side.max_ns, 10000000);
	for (unsigned permille = 1; permille <= 1000; permille++) {
		v = bench_percentile(&side, permille);
		assert_true(v >= permille * 10000 && v <= permille * 10000 * 104 / 100);
	}
	bench_count(&side, 1, UINT64_MAX); /* nothing is too long for it */
	assert_true(bench_percentile(&side, 1000) == UINT64_MAX);
}

/* --- the list of requests ------------------------------------------------------------------------------ */

static void test_list(void **state)
{
	struct pvf_req r[5] = { 0 };
	struct pvf_list l = { 0 };

	for (unsigned i = 0; i < 5; i++)
		pvf_list_add(&l, &r[i]);
	assert_ptr_equal(l.issue, &r[0]);
	l.issue = &r[2];
	pvf_list_del(&l, &r[2]); /* goes while it is being issued */
	assert_ptr_equal(l.issue, &r[3]);
	pvf_list_del(&l, &r[0]);
	pvf_list_del(&l, &r[4]);
	assert_int_equal(l.nr, 2);
	r[1].pending = 3;
	r[1].cursor = 512;
	r[1].rc = -EIO;
	pvf_list_restart(&l);
	assert_ptr_equal(l.issue, &r[1]);
	assert_true(r[1].pending == 0 && r[1].cursor == 0 && r[1].rc == 0);
	pvf_list_del(&l, &r[3]);
	pvf_list_del(&l, &r[1]);
	assert_true(l.head == NULL && l.tail == NULL && l.issue == NULL && l.nr == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots64), cmocka_unit_test(test_slots32), cmocka_unit_test(test_slab),
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_settings), cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
