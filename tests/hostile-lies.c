// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-lies.h. */
#include "hostile-lies.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define SECTORS HLIE_SECTORS

const struct hlie hlies[] = {
	{ BLKIF_OP_READ, 0, 0, 7, 0, 0, -1, "read of 0 segments, allowed are 1 to 11" },
	{ BLKIF_OP_READ, 12, 0, 7, 0, 0, -1, "read of 12 segments, allowed are 1 to 11" },
	{ BLKIF_OP_WRITE, 255, 0, 7, 0, 0, -1, "write of 255 segments" },
	{ BLKIF_OP_READ, 1, 0, 8, 0, 0, -1, "sectors 0 to 8" },
	{ BLKIF_OP_WRITE, 11, 0, 255, 0, 0, -1, "sectors 0 to 255" },
	{ BLKIF_OP_WRITE, 1, 5, 4, 0, 0, -1, "sectors 5 to 4" },
	{ BLKIF_OP_READ, 1, 255, 7, 0, 0, -1, "sectors 255 to 7" },
	{ BLKIF_OP_READ, 1, 0, 7, SECTORS - 7, 0, -1, "read of 8 sectors at 2041, the disk has 2048" },
	{ BLKIF_OP_WRITE, 1, 0, 7, UINT64_MAX, 0, -1, "at 18446744073709551615" },
	{ BLKIF_OP_WRITE, 1, 0, 7, UINT64_MAX - 7, 0, -1, "at 18446744073709551608" },
	{ BLKIF_OP_READ, 1, 0, 7, 1ull << 55, 0, -1, "at 36028797018963968" },
	{ BLKIF_OP_DISCARD, 0, 0, 0, 0, 0, -1, "discard of 0 sectors" },
	{ BLKIF_OP_DISCARD, 0, 0, 0, 8, UINT64_MAX - 7, -1, "discard of 18446744073709551608 sectors at 8" },
	{ BLKIF_OP_DISCARD, 0, 0, 0, SECTORS, 1, -1, "discard of 1 sectors at 2048" },
	{ BLKIF_OP_FLUSH_DISKCACHE, 12, 0, 7, 0, 0, -1, "flush of 12 segments, allowed are 0 to 11" },
	{ BLKIF_OP_WRITE_BARRIER, 2, 0, 9, 0, 0, -1, "sectors 0 to 9" },
	{ BLKIF_OP_RESERVED_1, 1, 0, 7, 0, 0, -2, "operation 4, not offered" },
	{ 7, 1, 0, 7, 0, 0, -2, "operation 7, not offered" },
	{ 255, 1, 0, 7, 0, 0, -2, "operation 255, not offered" },
	{ BLKIF_OP_WRITE, 1, 0, 7, 0, 0, -1, "read-only", 0, true },
	{ BLKIF_OP_WRITE_BARRIER, 1, 0, 7, 0, 0, -1, "read-only", 0, true },
	{ BLKIF_OP_FLUSH_DISKCACHE, 0, 0, 7, 0, 0, -1, "read-only", 0, true },
	{ BLKIF_OP_DISCARD, 0, 0, 0, 0, 8, -1, "read-only", 0, true },
	{ BLKIF_OP_DISCARD, 0, 0, 0, 0, 8, -1, "read-only", BLKIF_DISCARD_SECURE, true },
	{ BLKIF_OP_READ, 0, 0, 7, 0, 0, -1, "indirect read of 0 segments, allowed are 1 to 256", 0, false, true },
	{ BLKIF_OP_READ, 257, 0, 7, 0, 0, -1, "indirect read of 257 segments", 0, false, true },
	{ BLKIF_OP_WRITE, 65535, 0, 7, 0, 0, -1, "indirect write of 65535 segments", 0, false, true },
	{ BLKIF_OP_READ, 12, 0, 8, 0, 0, -1, "segment 0 covers sectors 0 to 8", 0, false, true },
	{ BLKIF_OP_READ, 256, 0, 7, 8, 0, -1, "read of 2048 sectors at 8, the disk has 2048", 0, false, true },
	{ BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 7, 0, 0, -1, "indirect operation 3", 0, false, true },
	{ BLKIF_OP_INDIRECT, 1, 0, 7, 0, 0, -1, "indirect operation 6", 0, false, true },
	{ BLKIF_OP_DISCARD, 1, 0, 7, 0, 0, -1, "indirect operation 5", 0, false, true },
	{ BLKIF_OP_WRITE, 12, 0, 7, 0, 0, -1, "read-only", 0, true, true },
};
const unsigned nr_hlies = sizeof(hlies) / sizeof(hlies[0]);

void hlie_slot(struct hfront *h, const struct hlie *l, uint64_t id, uint8_t slot[PVF_SLOT_MAX])
{
	struct pvf_seg segs[11], *table = (struct pvf_seg *)hfront_page(h, 1);

	for (unsigned i = 0; i < 11; i++)
		segs[i] = (struct pvf_seg){ hfront_gref(h, 0), (uint8_t)l->first, (uint8_t)l->last, 0 };
	if (l->indirect) {
		for (unsigned i = 0; i < PVF_PAGE_SEGS; i++)
			table[i] = segs[0];
		pvf_wire_indirect(h->wire, slot, l->op, 0, id, l->sector, hfront_gref(h, 1), l->nr);
		slot[1] = l->op;
	} else if (l->op == BLKIF_OP_DISCARD) {
		hfront_discard(h, slot, id, l->sector, l->count, l->flag);
	} else {
		hfront_segs(h, slot, l->op, id, l->sector, segs, l->nr);
	}
}

static void *scribble(void *arg)
{
	struct hscribble *s = arg;

	for (uint32_t n = 0; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); n++)
		for (uint32_t i = 0; i < s->h->nr_slots; i++)
			pvb_ring_copy_out(hfront_slot(s->h, 0, i), (i + n) & 1 ? s->a : s->b, s->h->slot_size);
	return NULL;
}

int hscribble_start(struct hscribble *s)
{
	s->stop = 0;
	return -pthread_create(&s->thread, NULL, scribble, s);
}

void hscribble_stop(struct hscribble *s)
{
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
	pthread_join(s->thread, NULL);
}
