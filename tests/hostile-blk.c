// SPDX-License-Identifier: GPL-2.0-or-later
/* Lies told through rings, slots and grants.  Each must be answered once, named with its numbers, and cost neither
 * the guest's honest disk anything nor us a page. */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include "blk-rig.h"
#include "hostile-lies.h"
#include "trap.h"
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#define MEM "mem:size=1M"

static struct rig rig;
static struct rdev bad;
static uint8_t slot[PVF_SLOT_MAX];

static int set_up(void **state)
{
	rig_new(&rig);
	return 0;
}

static int tear_down(void **state)
{
	rig_free(&rig);
	return 0;
}

static void with(const char *target, const struct blk_config *cfg, const struct hfront_options *opt)
{
	rdev_new(&rig, &bad, target, cfg);
	rdev_connect(&bad, opt);
}

static void done(void)
{
	if (blk_connected(bad.blk))
		rdev_disconnect(&bad);
	rdev_free(&bad);
}

static void said(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static struct pvf_seg whole(unsigned page)
{
	return (struct pvf_seg){ hfront_gref(&bad.front, page), 0, 7, 0 };
}

/* ---- what a slot can say ------------------------------------------------------------------------------ */

static void every_lie_in_a_slot(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);

	for (unsigned k = 0; k < 4; k++) { /* both ABIs, read-only or not */
		struct blk_config cfg = { .readonly = k & 1, .discard = true, .barrier = true, .max_indirect = 256 };
		uint64_t rejected = 0;

		with(MEM, &cfg, &(struct hfront_options){ .abi32 = k & 2 });
		for (unsigned i = 0; i < nr_hlies; i++) {
			uint64_t id = 0xdeadbeef00000000u + i, ops, before;
			uint8_t *at;

			if (hlies[i].readonly != cfg.readonly)
				continue;
			hlie_slot(&bad.front, &hlies[i], id, slot);
			before = live->nr_copy_ops;
			at = hfront_slot(&bad.front, 0, bad.front.q[0].prod);
			assert_int_equal(rdev_do(&bad, slot, id), hlies[i].status);
			ops = live->nr_copy_ops - before;
			assert_true(ops <= 3); /* 2 of the honest disk, and the table: no data */
			said(bad.refused, hlies[i].text);
			rejected++;
			/* the whole slot is ours now: header, then zeroes */
			for (unsigned b = bad.front.wire->rsp_size; b < bad.front.slot_size; b++)
				assert_int_equal(at[b], 0);
			assert_true(at[9] == 0 && (bad.opt.abi32 || (at[12] | at[13] | at[14] | at[15]) == 0));
		}
		assert_int_equal(bad.nr_refused, rejected);
		assert_int_equal(bad.stats.queue[0].rejected, rejected);
		assert_int_equal(bad.nr_broken, 0);
		for (unsigned b = 0; b < PVB_PAGE_SIZE; b++) /* nothing was read into it */
			assert_int_equal(hfront_page(&bad.front, 0)[b], 0xa5);
		done();
	}
}

static void ids_are_the_guests_affair(void **state)
{
	static const uint64_t ids[] = { 0, 5, 5, 5, UINT64_MAX, 1ull << 63, 0xffffffff, 1ull << 32, 5, 0 };
	unsigned n = sizeof(ids) / sizeof(ids[0]), seen[sizeof(ids) / sizeof(ids[0])] = { 0 };
	struct pvf_rsp rsp;

	with(MEM "?delay=read:2ms", NULL, &(struct hfront_options){ .abi32 = true });
	for (unsigned i = 0; i < n; i++) {
		hfront_rw(&bad.front, slot, BLKIF_OP_READ, ids[i], i * 8, i % 16, 1);
		hfront_put(&bad.front, 0, slot);
	}
	hfront_push(&bad.front, 0);
	rdev_await(&bad, n);
	for (unsigned i = 0; i < n; i++) {
		unsigned k;

		assert_int_equal(hfront_response(&bad.front, 0, &rsp, 0), 0);
		assert_int_equal(rsp.status, 0);
		for (k = 0; k < n; k++) {
			if (ids[k] == rsp.id && !seen[k]) {
				seen[k] = 1;
				break;
			}
		}
		assert_true(k < n);
	}
	rdev_quiet(&bad, 0);
	done();
}

/* ---- indices ------------------------------------------------------------------------------------------ */

static void the_producer_jumps(void **state)
{
	static const uint32_t starts[] = { 0, 0xfffffff0u, 0x7ffffff0u }, jumps[] = { 33, 1u << 31, UINT32_MAX, 0x80000021u };
	char text[100];

	for (unsigned s = 0; s < 3; s++) {
		for (unsigned j = 0; j < 4; j++) {
			for (unsigned n = 0; n < 2; n++) { /* at once, and after some honest requests */
				rdev_new(&rig, &bad, MEM, NULL);
				bad.start = starts[s];
				rdev_connect(&bad, &(struct hfront_options){ 0 });
				hfront_rw(&bad.front, slot, BLKIF_OP_READ, 1, 0, 0, 1);
				for (unsigned i = 0; i < n * 40; i++)
					assert_int_equal(rdev_do(&bad, slot, 1), 0);
				hfront_push_to(&bad.front, 0, bad.front.q[0].prod + jumps[j]);
				for (unsigned i = 0; i < 1000 && bad.nr_broken == 0; i++)
					rig_pump(&rig, 10);
				snprintf(text, sizeof(text), "claims %u requests at index %u, the ring has 32 slots", jumps[j],
					 bad.front.q[0].prod);
				said(bad.broken, text);
				hfront_push(&bad.front, 0); /* too late for remorse */
				rdev_quiet(&bad, 0);
				assert_int_equal(bad.nr_broken, 1);
				done();
			}
		}
	}
}

static void more_in_flight_than_slots(void **state)
{
	with(MEM "?delay=read:100ms", NULL, &(struct hfront_options){ 0 });
	hfront_rw(&bad.front, slot, BLKIF_OP_READ, 1, 0, 0, 1);
	for (unsigned i = 0; i < 32; i++)
		hfront_put(&bad.front, 0, slot);
	hfront_push(&bad.front, 0);
	for (unsigned i = 0; i < 1000 && bad.blk->in_flight < 32; i++)
		rig_pump(&rig, 1);
	assert_int_equal(bad.blk->in_flight, 32);
	hfront_put(&bad.front, 0, slot);
	hfront_push(&bad.front, 0);
	for (unsigned i = 0; i < 1000 && bad.nr_broken == 0; i++)
		rig_pump(&rig, 1);
	said(bad.broken, "the ring has 32 slots");
	assert_int_equal(bad.blk->in_flight, 32);
	done();
}

static void a_ring_that_begins_with_a_lie(void **state)
{
	struct pvb_error err;
	struct blk_connect c;

	rdev_new(&rig, &bad, MEM, NULL);
	rdev_rings(&bad, &(struct hfront_options){ 0 });
	rdev_describe(&bad, &c);
	bad.front.q[0].sh->req_prod = bad.start + 33;
	assert_int_equal(rdev_attach(&bad, &c, &err), -EPROTO);
	said(err.text, "the ring begins with 33 requests, it has 32 slots");
	bad.front.q[0].sh->req_prod = bad.start;
	c.queue[0].refs[0] ^= 0x40000000;
	assert_int_equal(rdev_attach(&bad, &c, &err), -EINVAL);
	said(err.text, "queue 0: ring of 1 pages");
	rdev_describe(&bad, &c);
	c.queue[0].event_channel += 1000;
	assert_true(rdev_attach(&bad, &c, &err) < 0);
	said(err.text, "event channel");
	rdev_describe(&bad, &c);
	pvb_hv_fault(rig.hv, PVB_FAULT_BIND, 0, 1, -ENOMEM);
	assert_int_equal(rdev_attach(&bad, &c, &err), -ENOMEM);
	rdev_describe(&bad, &c);
	assert_int_equal(rdev_attach(&bad, &c, &err), 0); /* and none of that was in the way */
	hfront_rw(&bad.front, slot, BLKIF_OP_READ, 1, 0, 0, 1);
	assert_int_equal(rdev_do(&bad, slot, 1), 0);
	done();
}

static void a_broken_ring_that_kicks_on(void **state)
{
	uint64_t received;

	with(MEM, NULL, &(struct hfront_options){ 0 });
	hfront_push_to(&bad.front, 0, bad.front.q[0].prod + 1000);
	for (unsigned i = 0; i < 1000 && bad.nr_broken == 0; i++)
		rig_pump(&rig, 1);
	received = bad.stats.queue[0].event_received;
	for (unsigned i = 0; i < 20000; i++) {
		hfront_notify(&bad.front, 0);
		if (i % 16 == 0)
			rig_pump(&rig, 0);
	}
	received = pvb_event_stats(bad.blk->queues[0].event)->received - received;
	if (received > 30)
		fail_msg("%llu wake-ups for a ring that is not looked at any more", (unsigned long long)received);
	honest(&rig);
	done();
}

/* ---- one fetch ---------------------------------------------------------------------------------------- */

#if TRAP_WORKS
/* Words in this part of a slot: the largest that its place and length allow. */
static unsigned words(const struct hfront *f, uint32_t index, uint32_t from, uint32_t to)
{
	uint32_t at = index * f->slot_size + from;

	return (to - from) / ((at | (to - from)) % sizeof(long) ? 4 : sizeof(long));
}
#endif

static void a_slot_is_read_once(void **state)
{
#if TRAP_WORKS
	for (unsigned abi32 = 0; abi32 < 2; abi32++) {
		unsigned count, rsp;

		rdev_new(&rig, &bad, MEM, NULL);
		bad.start = 40; /* the second page of the ring has nothing but slots */
		rdev_connect(&bad, &(struct hfront_options){ .ring_order = 1, .abi32 = abi32 });
		for (unsigned k = 0; k < 6; k++) {
			static const uint8_t ops[] = { BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_FLUSH_DISKCACHE,
						       BLKIF_OP_DISCARD, BLKIF_OP_INDIRECT, 200 };

			if (ops[k] == BLKIF_OP_DISCARD)
				hfront_discard(&bad.front, slot, 1, 0, 8, 0);
			else if (ops[k] == BLKIF_OP_INDIRECT)
				hfront_indirect(&bad.front, slot, BLKIF_OP_READ, 1, 0, 15, 0, 12);
			else
				hfront_rw(&bad.front, slot, ops[k], 1, 0, 0, ops[k] == BLKIF_OP_FLUSH_DISKCACHE ? 0 : 3);
			hfront_put(&bad.front, 0, slot);
			trap_arm((uint8_t *)bad.blk->queues[0].ring_map.addr + PVB_PAGE_SIZE, PVB_PAGE_SIZE, PROT_NONE, NULL, NULL);
			hfront_push(&bad.front, 0);
			rdev_await(&bad, 1);
			count = trap_disarm();
			/* each word of the slot: loaded once as request, stored once as response or what is left of the slot */
			rsp = abi32 ? 12 : 16;
			assert_int_equal(count, words(&bad.front, 40 + k, 0, bad.front.slot_size) +
						words(&bad.front, 40 + k, 0, rsp) +
						words(&bad.front, 40 + k, rsp, bad.front.slot_size));
			bad.front.q[0].cons++;
		}
		done();
	}
#else
	skip();
#endif
}

static void an_indirect_page_is_copied_once(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t ops, calls;

	with(MEM, NULL, &(struct hfront_options){ .pages = 64 });
	hfront_indirect(&bad.front, slot, BLKIF_OP_WRITE, 9, 0, 63, 0, 40);
	hfront_put(&bad.front, 0, slot);
	ops = live->nr_copy_ops;
	calls = live->nr_copy_calls;
	hfront_push(&bad.front, 0);
	rdev_await(&bad, 1);
	assert_int_equal(live->nr_copy_ops - ops, 41);
	assert_int_equal(live->nr_copy_calls - calls, 2);
	done();
}

#if defined(__SANITIZE_THREAD__) || defined(PVB_TSAN)
#define FLIP_ROUNDS 2000u
#else
#define FLIP_ROUNDS 30000u
#endif

static void flip_slots(struct hscribble *s)
{
	struct pvf_rsp rsp;

	assert_int_equal(hscribble_start(s), 0);
	for (unsigned i = 0; i < FLIP_ROUNDS; i += 8) {
		bad.front.q[0].prod += 8;
		hfront_push(&bad.front, 0);
		rdev_await(&bad, 8);
		for (unsigned k = 0; k < 8; k++)
			assert_int_equal(hfront_response(&bad.front, 0, &rsp, 0), 0);
		if (i % 1024 == 0)
			honest(&rig);
	}
	hscribble_stop(s);
	assert_int_equal(bad.nr_broken, 0);
	assert_int_equal(hfront_unread(&bad.front, 0), 0);
	assert_int_equal(bad.blk->in_flight, 0);
}

static void slots_change_while_they_are_read(void **state)
{
	for (unsigned mode = BLK_DATA_COPY; mode <= BLK_DATA_MAP; mode++) {
		struct blk_config cfg = { .discard = true, .barrier = true, .max_indirect = 256, .data = mode };
		struct hscribble s = { .h = &bad.front };

		with(MEM, &cfg, &(struct hfront_options){ .persistent = mode == BLK_DATA_MAP });
		hfront_rw(&bad.front, s.a, BLKIF_OP_READ, 1, 0, 0, 1);
		hfront_rw(&bad.front, s.b, BLKIF_OP_WRITE, 2, 8, 1, 11);
		flip_slots(&s); /* op, nr_segments, sector, grefs: all at once */
		hfront_segs(&bad.front, s.b, BLKIF_OP_READ, 2, UINT64_MAX, (struct pvf_seg[11]){ { 77777, 255, 255, 0 } }, 255);
		flip_slots(&s);
		hfront_discard(&bad.front, s.b, 2, UINT64_MAX, UINT64_MAX, 1);
		flip_slots(&s);
		hfront_indirect(&bad.front, s.b, BLKIF_OP_READ, 3, 0, 15, 0, 12);
		flip_slots(&s);
		hfront_indirect(&bad.front, s.b, 200, 3, 0, 15, 0, 0);
		flip_slots(&s);
		done();
	}
}

#if !defined(__SANITIZE_THREAD__) && !defined(PVB_TSAN)
/* Two things at a word, as fast as a CPU can; whatever we see must be one or the other. */
static void flip(void *word, uint32_t a, uint32_t b, unsigned rounds, bool each_is_legal)
{
	struct pvf_rsp rsp;
	struct hflip f;
	unsigned ok = 0;

	assert_int_equal(hflip_start(&f, word, a, b), 0);
	for (unsigned i = 0; i < rounds; i++) {
		hfront_push_to(&bad.front, 0, ++bad.front.q[0].prod); /* what is in the slots, over and over */
		rdev_await(&bad, 1);
		assert_int_equal(hfront_response(&bad.front, 0, &rsp, 0), 0);
		ok += rsp.status == 0;
		if (i % 512 == 0)
			honest(&rig);
	}
	hflip_stop(&f);
	assert_true(f.flips > 0);
	assert_int_equal(bad.nr_broken, 0);
	assert_true(!each_is_legal || ok == rounds);
}

static uint32_t word_of(const uint8_t *s)
{
	uint32_t v;

	memcpy(&v, s, 4);
	return v;
}

static void an_indirect_page_changes_while_it_is_read(void **state)
{
	struct pvf_seg *table;
	uint8_t s[PVF_SLOT_MAX];

	with(MEM, NULL, &(struct hfront_options){ .pages = 20 });
	hfront_indirect(&bad.front, s, BLKIF_OP_READ, 3, 0, 15, 0, 12);
	table = (struct pvf_seg *)hfront_page(&bad.front, 15);
	for (unsigned word = 0; word < 2; word++) {
		uint32_t right = word_of((uint8_t *)&table[5] + 4 * word);
		struct hscribble keep = { .h = &bad.front };

		memcpy(keep.a, s, sizeof(s));
		memcpy(keep.b, s, sizeof(s));
		assert_int_equal(hscribble_start(&keep), 0);
		flip((uint8_t *)&table[5] + 4 * word, right, word == 0 ? 0x7fffffff : 0xffffff00, FLIP_ROUNDS / 4, false);
		hscribble_stop(&keep);
		memcpy((uint8_t *)&table[5] + 4 * word, &right, 4);
	}
	done();
}
#else
static void an_indirect_page_changes_while_it_is_read(void **state)
{
	skip(); /* a race is what this is */
}
#endif

/* ---- grants ------------------------------------------------------------------------------------------- */

enum way { COPY, MAP, PERSISTENT, NR_WAYS };

static void by(enum way way, const char *target)
{
	struct blk_config cfg = { .discard = true, .barrier = true, .max_indirect = 256,
				  .data = way == COPY ? BLK_DATA_COPY : BLK_DATA_MAP };

	with(target, &cfg, &(struct hfront_options){ .persistent = way == PERSISTENT, .pages = 32 });
}

static void grants_that_are_not(void **state)
{
	for (enum way way = COPY; way < NR_WAYS; way++) {
		struct pvb_grant gone, other, readonly;
		struct { uint32_t gref; bool read_fails, write_fails; } g[5];
		char text[60];

		by(way, MEM);
		assert_int_equal(pvb_hv_grant(bad.front.hv, 0, 1, true, &gone), 0);
		g[0].gref = gone.refs[0];
		assert_int_equal(pvb_hv_ungrant(bad.front.hv, &gone), 0);
		assert_int_equal(pvb_hv_grant(bad.front.hv, rig.domid + 1, 1, true, &other), 0);
		assert_int_equal(pvb_hv_grant(bad.front.hv, 0, 1, false, &readonly), 0);
		g[1].gref = other.refs[0]; /* granted, but to somebody else */
		g[2].gref = 0x3fffffff;
		g[3].gref = UINT32_MAX;
		for (unsigned i = 0; i < 4; i++)
			g[i].read_fails = g[i].write_fails = true;
		g[4].gref = readonly.refs[0];
		g[4].read_fails = true;
		g[4].write_fails = false;
		for (unsigned i = 0; i < 5; i++) {
			for (unsigned at = 0; at < 11; at += 5) {
				for (unsigned op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++) {
					struct pvf_seg segs[11];
					bool fails = op == BLKIF_OP_READ ? g[i].read_fails : g[i].write_fails;

					for (unsigned k = 0; k < 11; k++)
						segs[k] = whole(k);
					segs[at].gref = g[i].gref;
					hfront_segs(&bad.front, slot, (uint8_t)op, 7, 0, segs, 11);
					bad.refused[0] = '\0';
					assert_int_equal(rdev_do(&bad, slot, 7), fails ? BLKIF_RSP_ERROR : 0);
					snprintf(text, sizeof(text), "grant %u: copy failed with status", g[i].gref);
					if (fails)
						said(bad.refused, text);
				}
			}
			hfront_indirect(&bad.front, slot, BLKIF_OP_READ, 8, 0, 31, 0, 12);
			pvf_wire_indirect(bad.front.wire, slot, BLKIF_OP_READ, 0, 8, 0, g[i].gref, 12);
			if (i == 4)
				continue; /* its table may be read-only */
			assert_int_equal(rdev_do(&bad, slot, 8), BLKIF_RSP_ERROR);
			snprintf(text, sizeof(text), "indirect page, grant %u: copy failed", g[i].gref);
			said(bad.refused, text);
		}
		assert_int_equal(pvb_hv_ungrant(bad.front.hv, &other), 0);
		hfront_rw(&bad.front, slot, BLKIF_OP_READ, 9, 0, 0, 11);
		assert_int_equal(rdev_do(&bad, slot, 9), 0);
		rdev_disconnect(&bad);
		assert_int_equal(pvb_hv_ungrant(bad.front.hv, &readonly), 0); /* not kept mapped */
		done();
	}
}

/* The k-th call of a kind fails, for all k: one error, nothing left behind, the next request works. */
static void calls_that_fail(void **state)
{
	static const enum pvb_fault_op ops[] = { PVB_FAULT_COPY_OP, PVB_FAULT_COPY_BATCH, PVB_FAULT_MAP };
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);

	for (enum way way = COPY; way < NR_WAYS; way++) {
		for (unsigned f = 0; f < 3; f++) {
			static const int codes[] = { -ENOMEM, -EAGAIN, GNTST_general_error, GNTST_eagain, -77, 5 };

			for (unsigned k = 0; k < 14; k++) {
				bool both = f == 2; /* what can not be mapped is copied: let that fail as well */
				int code = codes[f == 0 ? 2 + k % 4 : k % 2], status;
				uint32_t maps, pages;

				by(way, MEM);
				maps = live->maps;
				pages = live->map_pages;
				hfront_indirect(&bad.front, slot, k & 1 ? BLKIF_OP_READ : BLKIF_OP_WRITE, 5, 0, 31, 0, 13);
				hfront_put(&bad.front, 0, slot);
				hfront_push(&bad.front, 0);
				pvb_hv_fault(rig.hv, ops[f], k, 1, code);
				if (both)
					pvb_hv_fault(rig.hv, PVB_FAULT_COPY_BATCH, 1, 1, -ENOMEM);
				rdev_await(&bad, 1);
				pvb_hv_fault(rig.hv, ops[f], 0, 0, 0);
				pvb_hv_fault(rig.hv, PVB_FAULT_COPY_BATCH, 0, 0, 0);
				status = (int16_t)(hfront_slot(&bad.front, 0, bad.front.q[0].cons)[10] |
						   hfront_slot(&bad.front, 0, bad.front.q[0].cons)[11] << 8);
				bad.front.q[0].cons++;
				/* copies: the table and 13 segments, in two calls; maps: one, or one a segment */
				if (way == COPY)
					assert_int_equal(status, both ? -1 : f == 0 || k < 2 ? -1 : 0);
				else if (f == 2)
					assert_int_equal(status, k < (way == MAP ? 1 : 13) ? -1 : 0);
				else
					assert_int_equal(status, k == 0 ? -1 : 0);
				if (way != PERSISTENT) {
					assert_int_equal(live->maps, maps);
					assert_int_equal(live->map_pages, pages);
				}
				assert_int_equal(rdev_do(&bad, slot, 5), 0);
				assert_int_equal(bufpool_used(rig.ctx->pool), 0);
				done();
			}
		}
	}
}

static void coming_and_going(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint32_t maps = live->maps, ports = live->ports;
	struct pvb_error err;
	struct blk_connect c;

	rdev_new(&rig, &bad, MEM "?delay=read:1ms", NULL);
	for (unsigned i = 0; i < 600; i++) {
		bool lie = i % 2 != 0;

		rdev_rings(&bad, &(struct hfront_options){ .queues = 1 + i % 4, .ring_order = i % 3, .pages = 12,
							   .abi32 = i % 5 == 0, .persistent = i % 7 == 0 });
		rdev_describe(&bad, &c);
		if (lie)
			c.queue[i % c.nr_queues].refs[i % c.ring_pages] = 0x7fffffff - i;
		hfront_rw(&bad.front, slot, BLKIF_OP_READ, i, 0, 0, 11);
		for (unsigned k = 0; k < i % 20; k++)
			hfront_put(&bad.front, 0, slot);
		hfront_push(&bad.front, 0); /* before the other side looks */
		assert_int_equal(rdev_attach(&bad, &c, &err), lie ? -EINVAL : 0);
		if (i % 3 == 0)
			rig_pump(&rig, 0);
		if (lie)
			hfront_drop(&bad.front);
		else
			rdev_disconnect(&bad);
		assert_int_equal(live->maps, maps);
		assert_int_equal(live->ports, ports);
		if (i % 16 == 0)
			honest(&rig);
	}
	rdev_free(&bad);
}

/* ---- storage that fails -------------------------------------------------------------------------------- */

static void until_parked(unsigned n)
{
	for (unsigned i = 0; i < 1000 && stats_get(&bad.stats.parked) != n; i++)
		rig_pump(&rig, 1);
	assert_int_equal(stats_get(&bad.stats.parked), n);
}

static void a_full_disk_waits(void **state)
{
	with(MEM "?fault=write:ENOSPC@1+2", NULL, &(struct hfront_options){ 0 });
	hfront_rw(&bad.front, slot, BLKIF_OP_WRITE, 1, 0, 0, 1);
	assert_int_equal(rdev_do(&bad, slot, 1), 0);
	for (unsigned i = 0; i < 2; i++)
		hfront_put(&bad.front, 0, slot);
	hfront_push(&bad.front, 0);
	until_parked(2);
	rdev_quiet(&bad, 0);
	assert_int_equal(bufpool_used(rig.ctx->pool), 0); /* the guest's other disks may need them */
	assert_int_equal(bad.nr_alarms, 1);
	said(bad.alarm, "write of 4096 bytes at 0: No space left on device; held");
	blk_resume(bad.blk); /* room again */
	rdev_await(&bad, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(hfront_slot(&bad.front, 0, bad.front.q[0].cons++)[10], 0);
	assert_int_equal(bad.nr_alarms, 2);
	assert_string_equal(bad.alarm, "");
	rdev_quiet(&bad, 0);
	done();
}

/* A failed flush must not be told: stock front ends take it for "no flush needed here". */
static void a_failed_flush_is_never_told(void **state)
{
	static const char *const targets[] = { MEM "?fault=flush:EIO", MEM "?fault=flush:EIO&delay=flush:30ms" };

	for (unsigned late = 0; late < 2; late++) {
		for (unsigned op = BLKIF_OP_WRITE_BARRIER; op <= BLKIF_OP_FLUSH_DISKCACHE; op++) {
			struct hfront_queue *q;
			uint32_t before;

			with(targets[late], NULL, &(struct hfront_options){ 0 });
			q = &bad.front.q[0];
			hfront_rw(&bad.front, slot, (uint8_t)op, 1, 0, 0, 1);
			slot[1] = op == BLKIF_OP_WRITE_BARRIER;
			hfront_put(&bad.front, 0, slot);
			hfront_push(&bad.front, 0);
			before = q->sh->rsp_prod;
			if (!late) {
				until_parked(1);
				said(bad.alarm, "flush of 0 bytes at 0: Input/output error; held");
				blk_resume(bad.blk); /* fails again, is held again */
				until_parked(1);
				rdev_quiet(&bad, 0);
			}
			/* the connection ends while it is held, or while it is still running */
			for (unsigned i = 0; i < 1000 && bad.blk->in_flight == 0; i++)
				rig_pump(&rig, 1);
			blk_disconnect(bad.blk);
			for (unsigned i = 0; i < 1000 && bad.nr_drained == 0; i++)
				rig_pump(&rig, 1);
			assert_int_equal(bad.nr_drained, 1);
			assert_int_equal(q->sh->rsp_prod, before);
			hfront_drop(&bad.front);
			rdev_free(&bad);
		}
	}
}

static void policies_that_answer(void **state)
{
	static const struct { enum blk_policy policy; int status; } cases[] = { { BLK_REPORT, -1 }, { BLK_IGNORE, 0 } };

	for (unsigned i = 0; i < 2; i++) {
		struct blk_config cfg = { .max_indirect = 256 };

		cfg.policy[BLK_ERR_IO] = cases[i].policy;
		with(MEM "?fault=read:EIO", &cfg, &(struct hfront_options){ 0 });
		hfront_rw(&bad.front, slot, BLKIF_OP_READ, 1, 0, 0, 1);
		assert_int_equal(rdev_do(&bad, slot, 1), cases[i].status);
		for (unsigned b = 0; b < PVB_PAGE_SIZE; b++) /* as it was, or zeroes: never somebody's buffer */
			assert_int_equal(hfront_page(&bad.front, 0)[b], cases[i].policy == BLK_REPORT ? 0xa5 : 0);
		done();
	}
}

static void stopped_until_told(void **state)
{
	struct blk_config cfg = { .max_indirect = 256, .policy = { [BLK_ERR_IO] = BLK_STOP } };

	with(MEM "?fault=write:EIO@0+1", &cfg, &(struct hfront_options){ 0 });
	hfront_rw(&bad.front, slot, BLKIF_OP_WRITE, 1, 0, 0, 1);
	hfront_put(&bad.front, 0, slot);
	hfront_push(&bad.front, 0);
	until_parked(1);
	hfront_put(&bad.front, 0, slot); /* nothing more is taken */
	hfront_push(&bad.front, 0);
	rdev_quiet(&bad, 0);
	said(bad.alarm, "waiting for resume");
	blk_resume(bad.blk);
	rdev_await(&bad, 2);
	rdev_quiet(&bad, 2);
	done();
}

/* ---- writing zeroes ------------------------------------------------------------------------------------ */

static void fill_disk(uint64_t sectors, unsigned pages)
{
	for (uint64_t at = 0; at < sectors; at += pages * 8) {
		hfront_rw(&bad.front, slot, BLKIF_OP_WRITE, at, at, 0, pages);
		assert_int_equal(rdev_do(&bad, slot, at), 0);
	}
}

/* All the disk is 0xa5, but zero from sector a to sector b. */
static void zero_between(uint64_t sectors, unsigned pages, uint64_t a, uint64_t b)
{
	const uint8_t *p = bad.front.data.addr;

	for (uint64_t at = 0; at < sectors; at += pages * 8) {
		hfront_rw(&bad.front, slot, BLKIF_OP_READ, at, at, 0, pages);
		assert_int_equal(rdev_do(&bad, slot, at), 0);
		for (unsigned i = 0; i < pages * PVB_PAGE_SIZE; i++)
			if (p[i] != (at + i / 512 >= a && at + i / 512 < b ? 0 : 0xa5))
				fail_msg("byte %u of sector %llu is %#x", i % 512, (unsigned long long)at + i / 512, p[i]);
	}
}

/* More than goes in one piece, neither end on a page; and without the agreement it is the discard it says it is. */
static void zeroes_where_both_agreed(void **state)
{
	enum { SECTORS_3M = 3 * 2048, PAGES = 8 };

	with("mem:size=3M", &(struct blk_config){ .max_indirect = 256 }, &(struct hfront_options){ 0 });
	fill_disk(SECTORS_3M, PAGES);
	hfront_discard(&bad.front, slot, 1, 5, 4200, BLK_DISCARD_ZERO);
	assert_int_equal(rdev_do(&bad, slot, 1), -2);
	zero_between(SECTORS_3M, PAGES, 0, 0);
	bad.blk->write_zeroes = true;
	hfront_discard(&bad.front, slot, 1, 5, 4200, BLK_DISCARD_ZERO);
	assert_int_equal(rdev_do(&bad, slot, 1), 0);
	zero_between(SECTORS_3M, PAGES, 5, 4205);
	hfront_discard(&bad.front, slot, 2, SECTORS_3M - 1, 2, BLK_DISCARD_ZERO);
	assert_int_equal(rdev_do(&bad, slot, 2), -1);
	done();
}

static void zeroes_wait_for_room(void **state)
{
	with(MEM "?fault=write:ENOSPC@0+1", NULL, &(struct hfront_options){ 0 });
	bad.blk->write_zeroes = true;
	hfront_discard(&bad.front, slot, 1, 8, 16, BLK_DISCARD_ZERO);
	hfront_put(&bad.front, 0, slot);
	hfront_push(&bad.front, 0);
	until_parked(1);
	blk_resume(bad.blk);
	rdev_await(&bad, 1);
	assert_int_equal(hfront_slot(&bad.front, 0, bad.front.q[0].cons++)[10], 0);
	done();
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(every_lie_in_a_slot), T(ids_are_the_guests_affair), T(the_producer_jumps), T(more_in_flight_than_slots),
		T(a_ring_that_begins_with_a_lie), T(a_broken_ring_that_kicks_on), T(a_slot_is_read_once),
		T(an_indirect_page_is_copied_once), T(slots_change_while_they_are_read),
		T(an_indirect_page_changes_while_it_is_read), T(grants_that_are_not), T(calls_that_fail), T(coming_and_going),
		T(a_full_disk_waits), T(a_failed_flush_is_never_told), T(policies_that_answer), T(stopped_until_told),
		T(zeroes_where_both_agreed), T(zeroes_wait_for_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
