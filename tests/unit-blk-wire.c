// SPDX-License-Identifier: GPL-2.0-or-later
/* backend/block/wire.c against an oracle that shares no line with it: whatever is out of range is refused with the
 * right status, whatever is in range passes, and responses carry nothing but what they must. */
#include "unit.h"
#include <stdbool.h>
#include <stdio.h>
#include "backend/block/wire.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define OK 0
#define ERR BLKIF_RSP_ERROR
#define NOTSUP BLKIF_RSP_EOPNOTSUPP

/* A slot in our own words; segments of an indirect request are not in the slot. */
struct want {
	enum blk_abi abi;
	uint8_t op, inner, flag;
	unsigned nr_segs;
	uint64_t id, sector, count;                   /* count: of a discard */
	struct { uint32_t gref; unsigned first, last; } seg[PVB_VBD_MAX_INDIRECT];
};

static struct blk_entry entry;
static struct pvb_error err;
static const struct blk_limits all = { .nr_sectors = 1 << 20, .discard = true, .secure_discard = true,
				       .write_zeroes = true, .barrier = true,
				       .max_indirect = PVB_VBD_MAX_INDIRECT };

static void build(const struct want *w, uint8_t slot[BLK_SLOT_MAX])
{
	uint8_t *body = slot + (w->abi == BLK_ABI_32 ? 4 : 8);

	memset(slot, 0xa5, BLK_SLOT_MAX);
	slot[0] = w->op;
	memcpy(body, &w->id, 8);
	memcpy(body + 8, &w->sector, 8);
	if (w->op == BLKIF_OP_INDIRECT) {
		uint16_t nr = (uint16_t)w->nr_segs;

		slot[1] = w->inner;
		memcpy(slot + 2, &nr, 2);
		for (uint32_t i = 0; i < 8; i++)
			memcpy(body + 20 + 4 * i, &(uint32_t){ 1000 + i }, 4);
		return;
	}
	if (w->op == BLKIF_OP_DISCARD) {
		slot[1] = w->flag;
		memcpy(body + 16, &w->count, 8);
		return;
	}
	slot[1] = (uint8_t)w->nr_segs;
	for (unsigned i = 0; i < w->nr_segs && i < 11; i++) {
		memcpy(body + 16 + 8 * i, &w->seg[i].gref, 4);
		body[16 + 8 * i + 4] = (uint8_t)w->seg[i].first;
		body[16 + 8 * i + 5] = (uint8_t)w->seg[i].last;
	}
}

/* What blkif.h and our own offer say about it. */
static int oracle(const struct want *w, const struct blk_limits *lim)
{
	bool indirect = w->op == BLKIF_OP_INDIRECT;
	unsigned op = indirect ? w->inner : w->op, max = indirect ? lim->max_indirect : 11;
	unsigned __int128 end = w->sector;

	if (indirect && op != BLKIF_OP_READ && op != BLKIF_OP_WRITE)
		return ERR;
	if (indirect && max == 0)
		return NOTSUP;
	switch (op) {
	case BLKIF_OP_READ: case BLKIF_OP_WRITE: case BLKIF_OP_FLUSH_DISKCACHE:
		break;
	case BLKIF_OP_WRITE_BARRIER:
		if (!lim->barrier)
			return NOTSUP;
		break;
	case BLKIF_OP_DISCARD:
		if (lim->readonly)
			return ERR;
		if (lim->write_zeroes && (w->flag & 2))
			return w->flag & 1 || w->count == 0 || end + w->count > lim->nr_sectors ? ERR : OK;
		if (!lim->discard || ((w->flag & 1) && !lim->secure_discard))
			return NOTSUP;
		return w->count == 0 || end + w->count > lim->nr_sectors ? ERR : OK;
	default:
		return NOTSUP;
	}
	if (w->nr_segs > max || (lim->readonly && op != BLKIF_OP_READ))
		return ERR;
	if (w->nr_segs == 0)
		return op == BLKIF_OP_READ || op == BLKIF_OP_WRITE ? ERR : OK;
	for (unsigned i = 0; i < w->nr_segs; i++) {
		if (w->seg[i].last >= 8 || w->seg[i].first > w->seg[i].last)
			return ERR;
		end += w->seg[i].last - w->seg[i].first + 1;
	}
	return end > lim->nr_sectors ? ERR : OK;
}

static int run(const struct want *w, const struct blk_limits *lim)
{
	uint8_t slot[BLK_SLOT_MAX], page[4096];
	unsigned pages;

	build(w, slot);
	memset(&entry, 0x5c, sizeof(entry));
	err = (struct pvb_error){ 0 };
	blk_wire_decode(w->abi, slot, &entry);
	pages = blk_wire_indirect_pages(&entry, lim);
	if (w->op != BLKIF_OP_INDIRECT && pages)
		fail_msg("operation %u wants %u indirect pages", w->op, pages);
	if (pages) {
		if (pages != (w->nr_segs + 511) / 512 || pages > BLK_MAX_INDIRECT_PAGES || w->nr_segs > PVB_VBD_MAX_INDIRECT)
			fail_msg("%u segments want %u pages", w->nr_segs, pages);
		memset(page, 0xa5, sizeof(page));
		for (unsigned i = 0; i < w->nr_segs; i++) {
			memcpy(page + 8 * i, &w->seg[i].gref, 4);
			page[8 * i + 4] = (uint8_t)w->seg[i].first;
			page[8 * i + 5] = (uint8_t)w->seg[i].last;
		}
		blk_wire_segments(&entry, 0, page, w->nr_segs);
		entry.have_segs = 1;
	}
	return blk_wire_check(&entry, lim, &err);
}

/* Both agree; what passes says the same as the slot, what is refused has a reason. */
static void same(const struct want *w, const struct blk_limits *lim)
{
	int got = run(w, lim), right = oracle(w, lim);
	uint64_t sum = 0;

	if (got != right)
		fail_msg("abi %d op %u inner %u flag %u, %u segments (first %u-%u) or %llu at sector %llu of %llu: %d, expected %d (%s)",
			 w->abi, w->op, w->inner, w->flag, w->nr_segs, w->seg[0].first, w->seg[0].last,
			 (unsigned long long)w->count, (unsigned long long)w->sector, (unsigned long long)lim->nr_sectors, got,
			 right, err.text);
	if (entry.id != w->id)
		fail_msg("op %u: id %llx became %llx", w->op, (unsigned long long)w->id, (unsigned long long)entry.id);
	if (got != OK) {
		if (err.code == 0 || err.text[0] == '\0')
			fail_msg("op %u refused without a word", w->op);
		return;
	}
	for (unsigned i = 0; w->op != BLKIF_OP_DISCARD && i < w->nr_segs; i++) {
		sum += w->seg[i].last - w->seg[i].first + 1;
		if (entry.segs[i].gref != w->seg[i].gref || entry.segs[i].first != w->seg[i].first ||
		    entry.segs[i].last != w->seg[i].last)
			fail_msg("segment %u of %u is not the one in the slot", i, w->nr_segs);
	}
	if (entry.nr_sectors != (w->op == BLKIF_OP_DISCARD ? w->count : sum))
		fail_msg("op %u: %llu sectors", w->op, (unsigned long long)entry.nr_sectors);
	if (entry.nr_sectors != 0 && entry.sector != w->sector)
		fail_msg("op %u: sector %llu became %llu", w->op, (unsigned long long)w->sector,
			 (unsigned long long)entry.sector);
}

static struct want good(enum blk_abi abi, uint8_t op, unsigned nr)
{
	struct want w = { .abi = abi, .op = op, .inner = BLKIF_OP_READ, .nr_segs = nr, .id = 0xfedcba9876543210u,
			  .sector = 8, .count = 8 };

	for (unsigned i = 0; i < PVB_VBD_MAX_INDIRECT; i++) {
		w.seg[i].gref = 0x10000 + i;
		w.seg[i].last = 7;
	}
	return w;
}

static const uint8_t data_ops[] = { BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_WRITE_BARRIER };
#define EACH_ABI(abi) for (enum blk_abi abi = BLK_ABI_64; abi <= BLK_ABI_32; abi++)

/* --- the tables ------------------------------------------------------------------------------------- */

static void every_first_and_last(void **state)
{
	static const struct { uint8_t op; unsigned nr, at; } where[] = {
		{ BLKIF_OP_READ, 1, 0 }, { BLKIF_OP_WRITE, 11, 0 }, { BLKIF_OP_WRITE, 11, 10 }, { BLKIF_OP_WRITE_BARRIER, 2, 1 },
		{ BLKIF_OP_FLUSH_DISKCACHE, 1, 0 }, { BLKIF_OP_INDIRECT, 12, 11 },
		{ BLKIF_OP_INDIRECT, PVB_VBD_MAX_INDIRECT, PVB_VBD_MAX_INDIRECT - 1 },
	};

	EACH_ABI(abi) {
		for (unsigned k = 0; k < sizeof(where) / sizeof(where[0]); k++) {
			struct want w = good(abi, where[k].op, where[k].nr);

			for (unsigned first = 0; first < 256; first++) {
				for (unsigned last = 0; last < 256; last++) {
					w.seg[where[k].at].first = first;
					w.seg[where[k].at].last = last;
					same(&w, &all);
				}
			}
		}
	}
}

static void every_number_of_segments(void **state)
{
	static const unsigned offers[] = { 0, 1, 11, 32, PVB_VBD_MAX_INDIRECT };
	struct blk_limits lim = all;

	EACH_ABI(abi) {
		for (unsigned k = 0; k < sizeof(data_ops); k++) {
			for (unsigned nr = 0; nr < 256; nr++) {
				struct want w = good(abi, data_ops[k], nr);

				same(&w, &all);
			}
		}
		for (unsigned k = 0; k < sizeof(offers) / sizeof(offers[0]); k++) {
			struct want w = good(abi, BLKIF_OP_INDIRECT, 0);

			lim.max_indirect = offers[k];
			for (w.nr_segs = 0; w.nr_segs < 65536; w.nr_segs++) {
				w.inner = BLKIF_OP_READ;
				same(&w, &lim);
				w.inner = BLKIF_OP_WRITE;
				same(&w, &lim);
			}
		}
	}
}

static void every_operation(void **state)
{
	static const unsigned counts[] = { 0, 1, 11, 12, 255, 256, 257, 512, 513, 4096, 65535 };

	EACH_ABI(abi) {
		for (unsigned op = 0; op < 256; op++) {
			for (unsigned what = 0; what < 32; what++) {
				struct blk_limits lim = all;
				struct want w = good(abi, (uint8_t)op, 1);

				lim.readonly = what & 1;
				lim.barrier = what & 2;
				lim.discard = what & 4;
				lim.secure_discard = (what & 12) == 12;
				lim.write_zeroes = what & 16;
				same(&w, &lim);
				w.op = BLKIF_OP_INDIRECT;
				w.inner = (uint8_t)op;
				for (unsigned k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
					w.nr_segs = counts[k];
					same(&w, &lim);
				}
				w.op = BLKIF_OP_DISCARD; /* and as the flags of one */
				w.flag = (uint8_t)op;
				same(&w, &lim);
			}
		}
	}
}

static void ranges_to_the_end_of_the_world(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 7, 8, 9, 88, 1 << 20, 1ull << 55, UINT64_MAX / 512, UINT64_MAX };
	static const uint64_t bases[] = { 0, 1ull << 31, 1ull << 32, 1ull << 55, 1ull << 63 };
	struct blk_limits lim = all;

	EACH_ABI(abi) {
		for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			lim.nr_sectors = sizes[s];
			for (unsigned b = 0; b < 6; b++) {
				for (int d = -100; d <= 100; d++) {
					uint64_t at = (b < 5 ? bases[b] : sizes[s]) + (uint64_t)(int64_t)d;
					struct want w = good(abi, BLKIF_OP_READ, 1 + (unsigned)(d + 100) % 11);

					w.sector = at;
					same(&w, &lim);
					w.op = BLKIF_OP_FLUSH_DISKCACHE;
					w.nr_segs = 0; /* has no place: its sector means nothing */
					same(&w, &lim);
					w.op = BLKIF_OP_DISCARD;
					for (unsigned c = 0; c < 6; c++) {
						for (int e = -3; e <= 3; e++) {
							w.count = (c < 5 ? bases[c] : sizes[s]) + (uint64_t)(int64_t)e;
							same(&w, &lim);
							w.count = -at + (uint64_t)(int64_t)e; /* the sum wraps to 0 */
							same(&w, &lim);
						}
					}
				}
			}
		}
	}
}

static void any_slot_at_all(void **state)
{
	static const uint8_t ops[] = { BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, BLKIF_OP_FLUSH_DISKCACHE,
				       BLKIF_OP_DISCARD, BLKIF_OP_INDIRECT };
	static struct want w;
	uint64_t seed = 7;
	unsigned passed = 0, refused = 0;

	for (unsigned n = 0; n < 300000; n++) {
		struct blk_limits lim = { .nr_sectors = rnd(&seed) % 4096, .readonly = rnd(&seed) % 8 == 0,
					  .discard = rnd(&seed) % 4, .barrier = rnd(&seed) % 4, .max_indirect = rnd(&seed) % 257 };
		unsigned i;

		lim.secure_discard = lim.discard && rnd(&seed) % 2;
		lim.write_zeroes = rnd(&seed) % 2;
		w.abi = rnd(&seed) % 2;
		w.op = rnd(&seed) % 16 ? ops[rnd(&seed) % 6] : (uint8_t)rnd(&seed);
		w.inner = rnd(&seed) % 8 ? ops[rnd(&seed) % 2] : (uint8_t)rnd(&seed);
		w.flag = (uint8_t)rnd(&seed);
		w.nr_segs = w.op == BLKIF_OP_INDIRECT ? rnd(&seed) % 300 : rnd(&seed) % 13;
		w.id = (uint64_t)rnd(&seed) << 33 | rnd(&seed);
		w.sector = rnd(&seed) % 16 ? rnd(&seed) % 4200 : (uint64_t)rnd(&seed) << 33;
		w.count = rnd(&seed) % 16 ? rnd(&seed) % 100 : UINT64_MAX - rnd(&seed) % 5000;
		for (i = 0; i < w.nr_segs && i < PVB_VBD_MAX_INDIRECT; i++) {
			w.seg[i].gref = rnd(&seed);
			w.seg[i].first = rnd(&seed) % 8;
			w.seg[i].last = w.seg[i].first + rnd(&seed) % (8 - w.seg[i].first);
		}
		if (i > 0 && rnd(&seed) % 8 == 0)
			w.seg[rnd(&seed) % i].last = rnd(&seed) % 256;
		if (w.op == BLKIF_OP_INDIRECT && w.nr_segs > PVB_VBD_MAX_INDIRECT)
			lim.max_indirect %= 256;
		same(&w, &lim);
		*(oracle(&w, &lim) == OK ? &passed : &refused) += 1;
	}
	assert_true(passed > 50000 && refused > 50000);
}

/* --- words ------------------------------------------------------------------------------------------ */

static void refused_as(struct want w, const struct blk_limits *lim, int status, const char *text)
{
	EACH_ABI(abi) {
		w.abi = abi;
		assert_int_equal(run(&w, lim), status);
		assert_string_equal(err.text, text);
	}
}

static void texts_have_both_numbers(void **state)
{
	struct want w = good(BLK_ABI_64, BLKIF_OP_READ, 12);
	struct blk_limits lim = all;

	refused_as(w, &lim, ERR, "read of 12 segments, allowed are 1 to 11");
	w.op = BLKIF_OP_INDIRECT;
	w.nr_segs = 257;
	refused_as(w, &lim, ERR, "indirect read of 257 segments, allowed are 1 to 256");
	w.op = BLKIF_OP_WRITE;
	w.nr_segs = 2;
	w.seg[1].last = 8;
	refused_as(w, &lim, ERR, "write: segment 1 covers sectors 0 to 8 of a page, which has 0 to 7");
	w.seg[1].last = 7;
	w.sector = (1 << 20) - 15;
	refused_as(w, &lim, ERR, "write of 16 sectors at 1048561, the disk has 1048576");
	w.op = BLKIF_OP_DISCARD;
	w.sector = 16;
	w.count = UINT64_MAX - 7;
	refused_as(w, &lim, ERR, "discard of 18446744073709551608 sectors at 16, the disk has 1048576");
	w.op = 99;
	refused_as(w, &lim, NOTSUP, "operation 99, not offered");
}

static void nothing_changes_a_read_only_disk(void **state)
{
	struct blk_limits lim = all;
	struct want w = good(BLK_ABI_64, BLKIF_OP_WRITE, 3);

	lim.readonly = true;
	refused_as(w, &lim, ERR, "write of 3 segments to a read-only disk");
	w.op = BLKIF_OP_WRITE_BARRIER;
	refused_as(w, &lim, ERR, "write barrier of 3 segments to a read-only disk");
	w.op = BLKIF_OP_FLUSH_DISKCACHE;
	refused_as(w, &lim, ERR, "flush of 3 segments to a read-only disk");
	w.nr_segs = 0;
	refused_as(w, &lim, ERR, "flush of 0 segments to a read-only disk");
	w.op = BLKIF_OP_DISCARD;
	refused_as(w, &lim, ERR, "discard of 8 sectors on a read-only disk");
	w.flag = BLKIF_DISCARD_SECURE;
	refused_as(w, &lim, ERR, "discard of 8 sectors on a read-only disk");
	w.op = BLKIF_OP_INDIRECT;
	w.inner = BLKIF_OP_WRITE;
	w.nr_segs = 20;
	refused_as(w, &lim, ERR, "write of 20 segments to a read-only disk");
	assert_int_equal(blk_wire_indirect_pages(&entry, &lim), 0); /* not even its table is looked at */
}

static void secure_discard_is_an_offer_of_its_own(void **state)
{
	struct blk_limits lim = all;
	struct want w = good(BLK_ABI_64, BLKIF_OP_DISCARD, 0);

	lim.secure_discard = false;
	w.flag = BLKIF_DISCARD_SECURE;
	refused_as(w, &lim, NOTSUP, "secure discard, not offered");
	w.flag = 0;
	same(&w, &lim);
	assert_int_equal(oracle(&w, &lim), OK);
	lim.discard = false;
	refused_as(w, &lim, NOTSUP, "discard, not offered");
}

/* Without the offer the flag means nothing, as all but the lowest never did. */
static void zeroes_are_an_offer_of_their_own(void **state)
{
	struct blk_limits lim = all;
	struct want w = good(BLK_ABI_64, BLKIF_OP_DISCARD, 0);

	lim.discard = lim.secure_discard = false;
	w.flag = BLK_DISCARD_ZERO;
	same(&w, &lim);
	assert_int_equal(oracle(&w, &lim), OK);
	w.flag = BLK_DISCARD_ZERO | BLKIF_DISCARD_SECURE;
	refused_as(w, &lim, ERR, "write of zeroes and secure discard in one");
	w.flag = BLK_DISCARD_ZERO;
	w.count = 0;
	refused_as(w, &lim, ERR, "write of zeroes of 0 sectors");
	w.count = 8;
	lim.readonly = true;
	refused_as(w, &lim, ERR, "write of zeroes of 8 sectors on a read-only disk");
	lim.readonly = lim.write_zeroes = false;
	refused_as(w, &lim, NOTSUP, "discard, not offered");
}

/* --- responses -------------------------------------------------------------------------------------- */

static void responses_carry_nothing_else(void **state)
{
	static const int16_t statuses[] = { BLKIF_RSP_OKAY, BLKIF_RSP_ERROR, BLKIF_RSP_EOPNOTSUPP };
	uint8_t rsp[32], should[32];

	EACH_ABI(abi) {
		for (unsigned op = 0; op < 256; op++) {
			for (unsigned s = 0; s < 3; s++) {
				memset(rsp, 0xa5, sizeof(rsp));
				memset(should, 0xa5, sizeof(should));
				memset(should, 0, blk_rsp_size(abi));
				memset(&entry, 0x5c, sizeof(entry));
				entry.id = 0x8877665544332211u;
				entry.op = (uint8_t)op;
				blk_wire_response(abi, &entry, statuses[s], rsp);
				for (unsigned i = 0; i < 8; i++)
					should[i] = (uint8_t)(0x11 * (i + 1));
				should[8] = (uint8_t)op;
				memcpy(should + 10, &statuses[s], 2);
				assert_memory_equal(rsp, should, sizeof(rsp));
			}
		}
	}
	assert_int_equal(blk_rsp_size(BLK_ABI_64), sizeof(blkif_response_t));
	assert_int_equal(blk_slot_size(BLK_ABI_64), sizeof(blkif_request_t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_first_and_last),
		cmocka_unit_test(every_number_of_segments),
		cmocka_unit_test(every_operation),
		cmocka_unit_test(ranges_to_the_end_of_the_world),
		cmocka_unit_test(any_slot_at_all),
		cmocka_unit_test(texts_have_both_numbers),
		cmocka_unit_test(nothing_changes_a_read_only_disk),
		cmocka_unit_test(secure_discard_is_an_offer_of_its_own),
		cmocka_unit_test(zeroes_are_an_offer_of_their_own),
		cmocka_unit_test(responses_carry_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
