/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wire.c: the block protocol's slots and the check of what they say.  No I/O, no state: the fuzzer and the
 * exhaustive tests call it as it is. */
#include <errno.h>
#include <string.h>
#include "wire.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

_Static_assert(sizeof(struct blk_seg) == sizeof(struct blkif_request_segment), "segment layout");
_Static_assert(sizeof(struct blk_entry) % 8 == 0, "journal entries are 8-byte multiples");

static uint16_t get16(const uint8_t *p) { uint16_t v; memcpy(&v, p, sizeof(v)); return v; }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, sizeof(v)); return v; }
static uint64_t get64(const uint8_t *p) { uint64_t v; memcpy(&v, p, sizeof(v)); return v; }

void blk_wire_decode(enum blk_abi abi, const void *slot, struct blk_entry *e)
{
	const uint8_t *p = slot;
	const uint8_t *q = p + (abi == BLK_ABI_32 ? 4 : 8); /* what follows the 4-byte head */
	unsigned i;

	e->wire_op = e->op = p[0];
	e->id = get64(q);
	e->sector = get64(q + 8);
	e->nr_sectors = 0;
	e->flag = 0;
	e->have_segs = 1;
	e->nr_segs = 0;
	e->nr_indirect = 0;
	switch (e->wire_op) {
	case BLKIF_OP_DISCARD:
		e->flag = p[1];
		e->nr_sectors = get64(q + 16);
		break;
	case BLKIF_OP_INDIRECT:
		e->op = p[1];
		e->nr_segs = get16(p + 2);
		e->have_segs = 0;
		e->nr_indirect = (uint16_t)((e->nr_segs + 511u) / 512u);
		for (i = 0; i < BLK_MAX_INDIRECT_PAGES; i++)
			e->indirect[i] = get32(q + 20 + 4 * i);
		break;
	default:
		e->nr_segs = p[1];
		for (i = 0; i < e->nr_segs && i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
			e->segs[i].gref = get32(q + 16 + 8 * i);
			e->segs[i].first = q[20 + 8 * i];
			e->segs[i].last = q[21 + 8 * i];
			e->segs[i].zero = 0;
		}
	}
}

void blk_wire_segments(struct blk_entry *e, unsigned at, const void *page, unsigned n)
{
	const uint8_t *p = page;
	unsigned i;

	for (i = 0; i < n; i++, p += 8) {
		e->segs[at + i].gref = get32(p);
		e->segs[at + i].first = p[4];
		e->segs[at + i].last = p[5];
		e->segs[at + i].zero = 0;
		PVB_CRASH_POINT(wire_segment);
	}
}

unsigned blk_wire_indirect_pages(const struct blk_entry *e, const struct blk_limits *lim)
{
	if (e->wire_op != BLKIF_OP_INDIRECT || e->nr_segs == 0 || e->nr_segs > lim->max_indirect)
		return 0;
	if (e->op != BLKIF_OP_READ && (e->op != BLKIF_OP_WRITE || lim->readonly))
		return 0;
	return e->nr_indirect;
}

static int check_range(struct blk_entry *e, const struct blk_limits *lim, const char *what, struct pvb_error *err)
{
	/* no sum: sector + nr may wrap */
	if (e->sector > lim->nr_sectors || e->nr_sectors > lim->nr_sectors - e->sector) {
		pvb_err(err, -ERANGE, "%s of %llu sectors at %llu, the disk has %llu", what, (unsigned long long)e->nr_sectors,
			(unsigned long long)e->sector, (unsigned long long)lim->nr_sectors);
		return BLKIF_RSP_ERROR;
	}
	return 0;
}

static int check_segments(struct blk_entry *e, const char *what, struct pvb_error *err)
{
	unsigned i;

	e->nr_sectors = 0;
	for (i = 0; i < e->nr_segs; i++) {
		const struct blk_seg *s = &e->segs[i];

		if (s->last > 7 || s->first > s->last) {
			pvb_err(err, -EINVAL, "%s: segment %u covers sectors %u to %u of a page, which has 0 to 7", what, i,
				s->first, s->last);
			return BLKIF_RSP_ERROR;
		}
		e->nr_sectors += s->last - s->first + 1u;
		PVB_CRASH_POINT(wire_check_sectors);
	}
	return 0;
}

static int check_data(struct blk_entry *e, const struct blk_limits *lim, bool may_be_empty, struct pvb_error *err)
{
	bool indirect = e->wire_op == BLKIF_OP_INDIRECT;
	unsigned max = indirect ? lim->max_indirect : BLKIF_MAX_SEGMENTS_PER_REQUEST;
	const char *what = e->op == BLKIF_OP_READ ? "read" : e->op == BLKIF_OP_WRITE ? "write" :
			   e->op == BLKIF_OP_FLUSH_DISKCACHE ? "flush" : "write barrier";
	int rc;

	if (indirect && max == 0) {
		pvb_err(err, -EOPNOTSUPP, "indirect request, none were offered");
		return BLKIF_RSP_EOPNOTSUPP;
	}
	if (e->nr_segs > max || (e->nr_segs == 0 && !may_be_empty)) {
		pvb_err(err, -EINVAL, "%s%s of %u segments, allowed are %u to %u", indirect ? "indirect " : "", what, e->nr_segs,
			may_be_empty ? 0 : 1, max);
		return BLKIF_RSP_ERROR;
	}
	if (lim->readonly && e->op != BLKIF_OP_READ) {
		pvb_err(err, -EROFS, "%s of %u segments to a read-only disk", what, e->nr_segs);
		return BLKIF_RSP_ERROR;
	}
	rc = check_segments(e, what, err);
	if (rc)
		return rc;
	if (e->nr_segs == 0)
		e->sector = 0; /* an empty flush has no place */
	PVB_CRASH_POINT(wire_checked);
	return check_range(e, lim, what, err);
}

static int check_discard(struct blk_entry *e, const struct blk_limits *lim, struct pvb_error *err)
{
	/* who has not agreed to it may have any bits there */
	bool zero = (e->flag & BLK_DISCARD_ZERO) && lim->write_zeroes;
	const char *what = zero ? "write of zeroes" : "discard";

	if (lim->readonly) {
		pvb_err(err, -EROFS, "%s of %llu sectors on a read-only disk", what, (unsigned long long)e->nr_sectors);
		return BLKIF_RSP_ERROR;
	}
	if (zero && (e->flag & BLKIF_DISCARD_SECURE)) {
		pvb_err(err, -EINVAL, "write of zeroes and secure discard in one");
		return BLKIF_RSP_ERROR;
	}
	if (zero) {
		/* needs nothing of the storage but that it can be written */
	} else if (!lim->discard || ((e->flag & BLKIF_DISCARD_SECURE) && !lim->secure_discard)) {
		pvb_err(err, -EOPNOTSUPP, "%sdiscard, not offered", e->flag & BLKIF_DISCARD_SECURE ? "secure " : "");
		return BLKIF_RSP_EOPNOTSUPP;
	}
	if (e->nr_sectors == 0) {
		pvb_err(err, -EINVAL, "%s of 0 sectors", what);
		return BLKIF_RSP_ERROR;
	}
	return check_range(e, lim, what, err);
}

int blk_wire_check(struct blk_entry *e, const struct blk_limits *lim, struct pvb_error *err)
{
	bool indirect = e->wire_op == BLKIF_OP_INDIRECT;

	switch (e->op) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
		return check_data(e, lim, false, err);
	case BLKIF_OP_FLUSH_DISKCACHE:
		if (!indirect)
			return check_data(e, lim, true, err);
		break;
	case BLKIF_OP_WRITE_BARRIER:
		if (!indirect && lim->barrier)
			return check_data(e, lim, true, err);
		break;
	case BLKIF_OP_DISCARD:
		if (!indirect)
			return check_discard(e, lim, err);
		break;
	}
	pvb_err(err, -EOPNOTSUPP, "%soperation %u, not offered", indirect ? "indirect " : "", e->op);
	return indirect ? BLKIF_RSP_ERROR : BLKIF_RSP_EOPNOTSUPP;
}

void blk_wire_response(enum blk_abi abi, const struct blk_entry *e, int16_t status, void *rsp)
{
	uint8_t *p = rsp;

	memset(p, 0, blk_rsp_size(abi));
	memcpy(p, &e->id, 8);
	/* blkfront matches the inner operation of an indirect request, whatever the header says */
	p[8] = e->op;
	memcpy(p + 10, &status, 2);
}
