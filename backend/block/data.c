/* SPDX-License-Identifier: GPL-2.0-or-later */
/* data.c: how a request's data gets from and to the guest's pages: by grant copy, by a mapping for the time
 * of the request, or over persistently mapped grants.  It never looks at what the data means. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "blkif-impl.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define MAP_FROM 65536u               /* bytes from which direct I/O is mapped rather than copied */
#define PGRANTS_PER_SLOT 33u          /* 1056 for a ring of 32, as blkback keeps */

/* ---- copies, gathered over a pass ----------------------------------------------------------------- */

/* Room for nr more. */
static bool ops_fit(struct blk_ctx *ctx, unsigned nr)
{
	unsigned cap = ctx->cap_ops ? ctx->cap_ops : 256;
	struct pvb_copy *ops;

	if (ctx->nr_ops + nr <= ctx->cap_ops)
		return true;
	while (cap < ctx->nr_ops + nr)
		cap *= 2;
	ops = realloc(ctx->ops, cap * sizeof(*ops));
	if (!ops)
		return false;
	ctx->ops = ops;
	ctx->cap_ops = cap;
	return true;
}

static inline void set_op(struct pvb_copy *op, uint32_t domid, const uint8_t *local, uint32_t gref, uint16_t offset,
			  uint16_t len, bool from_guest)
{
	struct pvb_copy_end guest = { .ref = gref, .domid = (uint16_t)domid, .offset = offset };
	struct pvb_copy_end ours = { .local = (void *)(uintptr_t)local }; /* not written to unless from_guest */

	op->src = from_guest ? guest : ours;
	op->dst = from_guest ? ours : guest;
	op->len = len;
	op->status = 1; /* not done until it says so */
}

static inline void set_ops(struct pvb_copy *op, const struct blk_req *r, uint32_t domid, const uint8_t *local, bool same,
			   bool from_guest)
{
	for (const struct blk_seg *s = r->e->segs, *end = s + r->e->nr_segs; s < end; s++, op++) {
		uint16_t len = (uint16_t)((s->last - s->first + 1u) * 512);

		set_op(op, domid, local, s->gref, (uint16_t)(s->first * 512u), len, from_guest);
		local += same ? 0 : len;
	}
}

void data_copy_add(struct blk_req *r, bool from_guest)
{
	struct blk_ctx *ctx = r->q->dev->ctx;
	unsigned nr = r->e->nr_segs;
	struct pvb_copy *op;

	r->fetch_status = 0;
	r->nr_ops = 0;
	if (!r->copies)
		return;
	if (!ops_fit(ctx, nr)) {
		r->fetch_status = -ENOMEM;
		return;
	}
	op = &ctx->ops[ctx->nr_ops];
	if (from_guest)
		set_ops(op, r, ctx->domid, r->buf, false, true);
	else if (!r->in_place)
		set_ops(op, r, ctx->domid, r->buf, false, false);
	else
		set_ops(op, r, ctx->domid, r->place ? r->place : ctx->zeroes, !r->place, false);
	r->first_op = ctx->nr_ops;
	r->nr_ops = nr;
	ctx->nr_ops += nr;
	stats_add(&r->q->stats->copy_ops, nr);
}

void data_copy_run(struct blk_ctx *ctx)
{
	if (ctx->nr_ops) {
		/* a failed batch leaves a status in every op: looked at one by one in data_copy_check() */
		(void)pvb_hv_copy(ctx->hv, ctx->ops, ctx->nr_ops);
		PVB_CRASH_POINT(blk_copied);
		ctx->copy_calls++;
	}
}

int data_copy_check(struct blk_req *r)
{
	struct blk_ctx *ctx = r->q->dev->ctx;
	int status = r->fetch_status;
	unsigned i;

	for (i = 0; i < r->nr_ops; i++) {
		const struct pvb_copy *op = &ctx->ops[r->first_op + i];

		if (op->status != 0 && status == 0) {
			status = op->status;
			r->bad_gref = op->src.local ? op->dst.ref : op->src.ref;
		}
	}
	r->nr_ops = 0;
	r->fetch_status = 0;
	return status;
}

void data_copy_clear(struct blk_ctx *ctx)
{
	ctx->nr_ops = 0;
}

/* ---- indirect pages -------------------------------------------------------------------------------- */

void data_fetch_indirect(struct blk_ctx *ctx)
{
	struct blk_limits lim;
	struct blk_req *r;
	size_t pages = 0, at = 0;
	unsigned i;

	for (r = ctx->taken.head; r; r = r->next) {
		r->fetch_status = 0;
		r->nr_ops = 0;
		if (r->e->wire_op == BLKIF_OP_INDIRECT && !r->e->have_segs) {
			blk_limits_now(r->q->dev, &lim);
			pages += blk_wire_indirect_pages(r->e, &lim);
		}
	}
	if (pages == 0)
		return;
	if (pages > ctx->indirect_pages) {
		free(ctx->indirect);
		ctx->indirect_pages = 0;
		ctx->indirect = aligned_alloc(PVB_PAGE_SIZE, pages * PVB_PAGE_SIZE);
		if (ctx->indirect)
			ctx->indirect_pages = pages;
	}
	for (r = ctx->taken.head; r; r = r->next) {
		unsigned left = r->e->nr_segs, n;

		if (r->e->wire_op != BLKIF_OP_INDIRECT || r->e->have_segs) /* from before a restart */
			continue;
		blk_limits_now(r->q->dev, &lim);
		n = blk_wire_indirect_pages(r->e, &lim);
		if (n && (!ctx->indirect_pages || !ops_fit(ctx, n)))
			r->fetch_status = -ENOMEM;
		if (n == 0 || r->fetch_status)
			continue;
		r->first_op = ctx->nr_ops;
		for (i = 0; i < n; i++, at++) {
			unsigned here = left < 512 ? left : 512;

			set_op(&ctx->ops[ctx->nr_ops++], ctx->domid, ctx->indirect + at * PVB_PAGE_SIZE, r->e->indirect[i], 0,
			       (uint16_t)(here * 8), true);
			left -= here;
		}
		r->nr_ops = n;
	}
	data_copy_run(ctx);
	for (r = ctx->taken.head; r; r = r->next) {
		unsigned n = r->nr_ops, left = r->e->nr_segs;

		if (n == 0)
			continue;
		r->fetch_status = data_copy_check(r);
		for (i = 0; r->fetch_status == 0 && i < n; i++) {
			unsigned here = left < 512 ? left : 512;

			blk_wire_segments(r->e, i * 512, ctx->ops[r->first_op + i].dst.local, here);
			left -= here;
		}
		if (r->fetch_status == 0) {
			PVB_CRASH_POINT(blk_segments);
			r->e->have_segs = 1;
			PVB_CRASH_POINT(blk_have_segments);
		}
	}
	data_copy_clear(ctx);
}

/* ---- persistent grants: a hash from reference to its mapping, least recently used goes first -------- */

struct pgrant {
	uint32_t gref;
	uint32_t users;
	struct pvb_map map;
	struct pgrant *next;          /* in its bucket */
	struct pgrant *newer, *older;
};
struct pgrants {
	uint32_t nr, cap, mask;
	struct pgrant *newest, *oldest;
	struct pgrant *bucket[];
};

int pgrants_new(struct pgrants **out, uint32_t nr_slots)
{
	uint32_t cap = nr_slots * PGRANTS_PER_SLOT, n = 64;
	struct pgrants *p;

	if (cap > 32 * PGRANTS_PER_SLOT)
		cap = 32 * PGRANTS_PER_SLOT; /* what a guest can make us map is capped, whatever its ring */
	while (n < cap)
		n *= 2;
	p = calloc(1, sizeof(*p) + n * sizeof(p->bucket[0]));
	if (!p)
		return -ENOMEM;
	p->cap = cap;
	p->mask = n - 1;
	*out = p;
	return 0;
}

static void unlink_lru(struct pgrants *p, struct pgrant *g)
{
	*(g->newer ? &g->newer->older : &p->newest) = g->older;
	*(g->older ? &g->older->newer : &p->oldest) = g->newer;
}

static void link_newest(struct pgrants *p, struct pgrant *g)
{
	g->newer = NULL;
	g->older = p->newest;
	*(p->newest ? &p->newest->newer : &p->oldest) = g;
	p->newest = g;
}

static void remove_pgrant(struct pgrants *p, struct pvb_hv *hv, struct pgrant *g)
{
	struct pgrant **at = &p->bucket[g->gref & p->mask];

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	unlink_lru(p, g);
	pvb_hv_unmap(hv, &g->map);
	p->nr--;
	free(g);
}

void pgrants_free(struct pgrants *p, struct pvb_hv *hv)
{
	if (!p)
		return;
	while (p->oldest)
		remove_pgrant(p, hv, p->oldest);
	free(p);
}

static struct pgrant *find_pgrant(struct pgrants *p, uint32_t gref)
{
	struct pgrant *g = p->bucket[gref & p->mask];

	while (g && g->gref != gref)
		g = g->next;
	return g;
}

/* Mapped already, or mapped now.  NULL: not granted, or the cap is reached and all are in use. */
static struct pgrant *get_pgrant(struct blk_queue *q, uint32_t gref)
{
	struct blk_ctx *ctx = q->dev->ctx;
	struct pgrants *p = q->pgrants;
	struct pgrant *g = find_pgrant(p, gref);

	if (g) {
		stats_add(&q->stats->persistent_hits, 1);
		unlink_lru(p, g);
	} else {
		struct pgrant *old = p->oldest;

		if (p->nr >= p->cap) {
			while (old && old->users)
				old = old->newer;
			if (!old)
				return NULL;
			remove_pgrant(p, ctx->hv, old);
		}
		g = calloc(1, sizeof(*g));
		if (!g)
			return NULL;
		if (pvb_hv_map(ctx->hv, ctx->domid, &gref, 1, true, &g->map) < 0) {
			free(g);
			return NULL;
		}
		stats_add(&q->stats->map_ops, 1);
		g->gref = gref;
		g->next = p->bucket[gref & p->mask];
		p->bucket[gref & p->mask] = g;
		p->nr++;
	}
	link_newest(p, g);
	g->users++;
	return g;
}

static void unpin(struct blk_req *r, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		find_pgrant(r->q->pgrants, r->e->segs[i].gref)->users--;
	r->pinned = false;
}

/* ---- a request's buffers ---------------------------------------------------------------------------- */

static int acquire_copy(struct blk_req *r, size_t bytes)
{
	r->buf = bufpool_get(r->q->dev->ctx->pool, bytes, &r->buf_got);
	if (!r->buf)
		return -EAGAIN;
	r->iov0 = (struct iovec){ r->buf, bytes };
	r->iov = &r->iov0;
	r->nr_iov = 1;
	r->copies = true;
	return 0;
}

/* A read that needs no buffer, because the provider has its data in memory already. */
static bool acquire_place(struct blk_req *r)
{
	const struct blk_dev *dev = r->q->dev;
	const void *at;

	/* over a mapping it is the provider who copies, and as directly */
	if (r->e->op != BLKIF_OP_READ || r->q->pgrants || dev->cfg.data == BLK_DATA_MAP ||
	    !disk_peek(dev->disk, r->e->sector * 512, r->e->nr_sectors * 512, &at))
		return false;
	r->place = at;
	r->in_place = r->copies = true;
	return true;
}

static int acquire_iovecs(struct blk_req *r)
{
	if (r->e->nr_segs == 1) {
		r->iov = &r->iov0;
		r->nr_iov = 1;
		return 0;
	}
	r->buf = bufpool_get(r->q->dev->ctx->pool, r->e->nr_segs * sizeof(struct iovec), &r->buf_got);
	if (!r->buf)
		return -EAGAIN;
	r->iov = r->buf;
	r->nr_iov = r->e->nr_segs;
	return 0;
}

static void set_iovec(struct blk_req *r, unsigned i, void *page)
{
	const struct blk_seg *s = &r->e->segs[i];

	r->iov[i] = (struct iovec){ (uint8_t *)page + s->first * 512u, (s->last - s->first + 1u) * 512u };
}

static int acquire_map(struct blk_req *r)
{
	struct blk_ctx *ctx = r->q->dev->ctx;
	uint32_t refs[PVB_VBD_MAX_INDIRECT];
	unsigned i;
	int rc;

	/* rings of 16 pages on 8 queues could name a million pages; what a guest may have mapped is capped */
	if (ctx->mapped && ctx->mapped + r->e->nr_segs > ctx->map_cap)
		return -EAGAIN;
	rc = acquire_iovecs(r);
	if (rc < 0)
		return rc;
	for (i = 0; i < r->e->nr_segs; i++)
		refs[i] = r->e->segs[i].gref;
	rc = pvb_hv_map(ctx->hv, ctx->domid, refs, r->e->nr_segs, r->e->op == BLKIF_OP_READ, &r->map);
	if (rc < 0) {
		data_release(r);
		return rc;
	}
	for (i = 0; i < r->e->nr_segs; i++)
		set_iovec(r, i, (uint8_t *)r->map.addr + (size_t)i * PVB_PAGE_SIZE);
	ctx->mapped += r->map.nr;
	stats_add(&r->q->stats->map_ops, r->e->nr_segs);
	return 0;
}

static int acquire_persistent(struct blk_req *r)
{
	unsigned i;
	int rc = acquire_iovecs(r);

	if (rc < 0)
		return rc;
	for (i = 0; i < r->e->nr_segs; i++) {
		struct pgrant *g = get_pgrant(r->q, r->e->segs[i].gref);

		if (!g) {
			unpin(r, i);
			data_release(r);
			return -EINVAL;
		}
		set_iovec(r, i, g->map.addr);
	}
	r->pinned = true;
	return 0;
}

int data_acquire(struct blk_req *r)
{
	struct blk_dev *dev = r->q->dev;
	const struct disk_info *info = &dev->disk->info;
	size_t bytes = r->e->nr_sectors * 512;
	bool map = dev->cfg.data == BLK_DATA_MAP || (dev->cfg.data == BLK_DATA_AUTO && info->direct && bytes >= MAP_FROM);
	int rc;

	if (acquire_place(r))
		return 0;
	if (info->linear || (dev->cfg.stable_writes && r->e->op != BLKIF_OP_READ))
		return acquire_copy(r, bytes);
	if (r->q->pgrants) {
		rc = acquire_persistent(r);
		if (rc != -EINVAL)
			return rc;
		/* not kept: the cap is reached, or the reference is bad, which the copy will find out */
	} else if (map) {
		rc = acquire_map(r);
		if (rc == 0 || rc == -EAGAIN)
			return rc;
		/* one bad grant fails a whole mapping; the copy names it, or does without mapping slots */
	}
	return acquire_copy(r, bytes);
}

void data_release(struct blk_req *r)
{
	struct blk_ctx *ctx = r->q->dev->ctx;

	if (r->pinned)
		unpin(r, r->e->nr_segs);
	ctx->mapped -= r->map.nr;
	pvb_hv_unmap(ctx->hv, &r->map);
	if (r->buf)
		bufpool_put(ctx->pool, r->buf, r->buf_got);
	r->buf = NULL;
	r->copies = r->in_place = false;
	r->iov = NULL;
	r->nr_iov = 0;
}
