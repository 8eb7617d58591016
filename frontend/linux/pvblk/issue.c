// SPDX-License-Identifier: GPL-2.0-or-later
/* From a request of the block layer to a slot of a ring.  A request is issued as one slot; if it is larger than the
 * back end takes (it may have been made for an earlier connection) the first part of it is, and the rest after that. */
#include <linux/highmem.h>
#include <xen/events.h>
#include <xen/page.h>
#include "pvblk.h"

/* Take n grant references to the ring's stack, if they are not there. */
static bool refs_have(struct pvblk_ring *r, u32 n)
{
	u32 want, most = PVBLK_MAX_REFS - r->claimed;
	grant_ref_t head;
	int ref;

	if (n <= r->nr_refs)
		return true;
	want = n - r->nr_refs;
	if (want > most)
		return false;
	if (gnttab_alloc_grant_references(min(max(want, PVBLK_REF_BATCH), most), &head) == 0)
		want = min(max(want, PVBLK_REF_BATCH), most);
	else if (gnttab_alloc_grant_references(want, &head) < 0)
		return false;
	for (; want > 0; want--) {
		ref = gnttab_claim_grant_reference(&head);
		r->refs[r->nr_refs++] = ref;
		r->claimed++;
	}
	return true;
}

/* What must not be granted itself.  The back end may never let go of a page.  A reference then keeps the page, but not
 * an object of the slab allocator within it, nor a page that is counted elsewhere: that would be somebody else's soon,
 * and the back end could still read and write it.  And a grant can not say where in a sector memory begins. */
static bool must_copy(const struct bio_vec *bv)
{
	return PageSlab(bv->bv_page) || page_count(bv->bv_page) == 0 || (bv->bv_offset | bv->bv_len) % SECTOR_SIZE;
}

/* The request's memory as pieces that lie within pages, at most max of them; *bytes is what they hold.  0: copy it. */
static u32 walk(struct pvblk_ring *r, struct request *rq, u32 max, u32 *bytes)
{
	struct pvblk_seg *last = NULL;
	struct req_iterator iter;
	struct bio_vec bv;
	u32 n = 0, total = 0, over;

	rq_for_each_segment(bv, rq, iter) {
		if (must_copy(&bv))
			return 0;
		if (last && last->page == bv.bv_page && last->offset + last->len == bv.bv_offset) {
			last->len += bv.bv_len;
		} else {
			if (n == max)
				break;
			last = &r->segs[n++];
			last->page = bv.bv_page;
			last->offset = bv.bv_offset;
			last->len = bv.bv_len;
		}
		total += bv.bv_len;
	}
	/* a part ends where a block of the disk does */
	over = total < blk_rq_bytes(rq) ? total % r->dev->limits.logical_block : 0;
	total -= over;
	for (; over >= r->segs[n - 1].len && over > 0; n--)
		over -= r->segs[n - 1].len;
	r->segs[n - 1].len -= over;
	*bytes = total;
	return n;
}

/* Copy the request's first bytes into bounce pages. */
static void fill_bounce(struct pvblk_ring *r, struct request *rq, const u32 *pages, u32 bytes)
{
	struct req_iterator iter;
	struct bio_vec bv;
	u32 at = 0, done, n;

	rq_for_each_segment(bv, rq, iter) {
		for (done = 0; done < bv.bv_len && at < bytes; done += n, at += n) {
			n = min3(bv.bv_len - done, (u32)PAGE_SIZE - at % (u32)PAGE_SIZE, bytes - at);
			memcpy_from_page(page_address(r->bounce[pages[at / PAGE_SIZE]].page) + at % PAGE_SIZE,
					 bv.bv_page, bv.bv_offset + done, n);
		}
		if (at == bytes)
			return;
	}
}

static struct pvblk_shadow *shadow_take(struct pvblk_ring *r, struct request *rq, u8 op, u32 bytes)
{
	struct pvblk_shadow *sh = &r->shadow[r->free_shadow];
	struct pvblk_rq *p = pvblk_rq_of(rq);

	r->free_shadow = sh->next_free;
	sh->id += 1ull << 32;   /* an answer to the last user of this slot is not one to this */
	sh->rq = rq;
	sh->op = op;
	sh->bytes = bytes;
	sh->nr_refs = 0;
	sh->bounced = false;
	sh->indirect = NULL;
	r->in_flight++;
	p->bytes = bytes;
	p->slot = sh - r->shadow;
	p->since = jiffies;
	return sh;
}

const char *pvblk_op_name(u8 op)
{
	static const char * const names[] = {
		[BLKIF_OP_READ] = "read", [BLKIF_OP_WRITE] = "write", [BLKIF_OP_WRITE_BARRIER] = "barrier",
		[BLKIF_OP_FLUSH_DISKCACHE] = "flush", [BLKIF_OP_DISCARD] = "discard",
	};

	return op < ARRAY_SIZE(names) && names[op] ? names[op] : "?";
}

static void put_simple(struct pvblk_ring *r, struct request *rq)
{
	struct blkif_request req = {};
	struct pvblk_shadow *sh;

	if (req_op(rq) == REQ_OP_FLUSH) {
		sh = shadow_take(r, rq, r->dev->flush_op, 0);
		req.u.rw.handle = r->dev->handle;
		req.u.rw.id = sh->id;
	} else {
		sh = shadow_take(r, rq, BLKIF_OP_DISCARD, blk_rq_bytes(rq));
		req.u.discard.id = sh->id;
		req.u.discard.sector_number = blk_rq_pos(rq);
		req.u.discard.nr_sectors = blk_rq_sectors(rq);
		if (req_op(rq) == REQ_OP_SECURE_ERASE)
			req.u.discard.flag = BLKIF_DISCARD_SECURE;
		else if (req_op(rq) == REQ_OP_WRITE_ZEROES)
			req.u.discard.flag = PVBLK_DISCARD_ZERO;
	}
	req.operation = sh->op;
	pvb_ring_front_put(&r->ring, &req);
}

static struct blkif_request_segment segment(grant_ref_t ref, u32 offset, u32 len)
{
	return (struct blkif_request_segment){
		.gref = ref, .first_sect = offset / SECTOR_SIZE, .last_sect = (offset + len) / SECTOR_SIZE - 1,
	};
}

/* Grant piece i of the request, or find its bounce page; notes in refs[i] which. */
static struct blkif_request_segment give_piece(struct pvblk_ring *r, const struct pvblk_shadow *sh, u32 *refs, u32 i)
{
	const struct pvblk_seg *seg = &r->segs[i];

	if (sh->bounced) {
		refs[i] = r->free_bounce[--r->nr_free_bounce];
		return segment(r->bounce[refs[i]].ref, 0, min_t(u32, PAGE_SIZE, sh->bytes - i * PAGE_SIZE));
	}
	refs[i] = r->refs[--r->nr_refs];
	gnttab_grant_foreign_access_ref(refs[i], r->dev->xdev->otherend_id, xen_page_to_gfn(seg->page),
					sh->op == BLKIF_OP_WRITE);
	return segment(refs[i], seg->offset, seg->len);
}

static bool put_data(struct pvblk_ring *r, struct request *rq)
{
	u8 op = rq_data_dir(rq) == WRITE ? BLKIF_OP_WRITE : BLKIF_OP_READ;
	bool bounce = r->dev->bounce;
	struct blkif_request req;
	struct blkif_request_segment *table;
	struct pvblk_shadow *sh;
	u32 n = 0, i, bytes, *refs;

	if (!bounce) {
		n = walk(r, rq, r->dev->max_segs, &bytes);
		bounce = n == 0;
	}
	if (bounce) {
		bytes = min_t(u32, blk_rq_bytes(rq), min(r->dev->max_segs, r->nr_bounce) * PAGE_SIZE);
		n = DIV_ROUND_UP(bytes, PAGE_SIZE);
		if (n > r->nr_free_bounce)
			return false;
	} else if (!refs_have(r, n)) {
		return false;
	}
	if (n > PVBLK_DIRECT_SEGS && !r->indirect)
		return false;

	sh = shadow_take(r, rq, op, bytes);
	sh->bounced = bounce;
	r->copied += bounce;
	sh->nr_refs = n;
	memset(&req, 0, offsetof(struct blkif_request, u.rw.seg));
	if (n > PVBLK_DIRECT_SEGS) {
		sh->indirect = r->indirect;
		r->indirect = sh->indirect->next;
		table = page_address(sh->indirect->table.page);
		refs = pvblk_refs_of(sh);
		for (i = 0; i < n; i++)
			table[i] = give_piece(r, sh, refs, i);
		memset(req.u.rw.seg, 0, sizeof(req.u.rw.seg));
		req.operation = BLKIF_OP_INDIRECT;
		req.u.indirect.indirect_op = op;
		req.u.indirect.handle = r->dev->handle;
		req.u.indirect.nr_segments = n;
		req.u.indirect.id = sh->id;
		req.u.indirect.sector_number = blk_rq_pos(rq);
		req.u.indirect.indirect_grefs[0] = sh->indirect->table.ref;
	} else {
		refs = pvblk_refs_of(sh);
		for (i = 0; i < n; i++)
			req.u.rw.seg[i] = give_piece(r, sh, refs, i);
		memset(&req.u.rw.seg[n], 0, (PVBLK_DIRECT_SEGS - n) * sizeof(req.u.rw.seg[0]));
		req.operation = op;
		req.u.rw.nr_segments = n;
		req.u.rw.handle = r->dev->handle;
		req.u.rw.id = sh->id;
		req.u.rw.sector_number = blk_rq_pos(rq);
	}
	if (bounce && op == BLKIF_OP_WRITE)
		fill_bounce(r, rq, refs, bytes);
	pvb_ring_front_put(&r->ring, &req);
	return true;
}

static void push(struct pvblk_ring *r)
{
	if (!r->live || !pvb_ring_front_push(&r->ring))
		return;
	r->notifies++;
	notify_remote_via_irq(r->irq);
}

static blk_status_t put(struct pvblk_ring *r, struct request *rq)
{
	bool done = false;

	BUILD_BUG_ON(sizeof(struct blkif_request) != 112 || sizeof(struct blkif_response) != 16);
	/* made for an earlier connection, whose back end could; to this one it would say something else, a mere discard */
	if ((req_op(rq) == REQ_OP_WRITE_ZEROES && !r->dev->limits.zeroes) ||
	    (req_op(rq) == REQ_OP_SECURE_ERASE && !r->dev->limits.secure))
		return BLK_STS_NOTSUPP;
	switch (req_op(rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		done = pvb_ring_front_free(&r->ring) > 0 && put_data(r, rq);
		break;
	case REQ_OP_WRITE_ZEROES:
	case REQ_OP_SECURE_ERASE:
	case REQ_OP_FLUSH:
	case REQ_OP_DISCARD:
		done = pvb_ring_front_free(&r->ring) > 0;
		if (done)
			put_simple(r, rq);
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	if (done)
		return BLK_STS_OK;
	/* What is missing comes back with a response; if none is due the kernel is out of grants: ask again later.  So
	 * for hardware queues that share a ring: only the end of its own requests surely starts a queue again. */
	return r->in_flight && r->dev->nr_rings == r->dev->nr_hw_queues ? BLK_STS_DEV_RESOURCE : BLK_STS_RESOURCE;
}

static struct pvblk_ring *ring_of(struct blk_mq_hw_ctx *hctx)
{
	struct pvblk_dev *dev = hctx->queue->queuedata;

	/* the back end of a later connection may offer fewer rings than the disk has hardware queues */
	return &dev->rings[hctx->queue_num % READ_ONCE(dev->nr_rings)];
}

static blk_status_t queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *bd)
{
	struct pvblk_ring *r = ring_of(hctx);
	struct request *rq = bd->rq;
	unsigned long flags;
	blk_status_t rc;

	spin_lock_irqsave(&r->lock, flags);
	/* under the lock: a timeout in between would find nothing to ask for, and never come again */
	blk_mq_start_request(rq);
	if (!r->live) {
		/* between two connections: asked again once there is one */
		rc = pvblk_dead(r->dev) ? BLK_STS_IOERR : BLK_STS_RESOURCE;
	} else if (req_op(rq) == REQ_OP_FLUSH && r->dev->flush_op == 0) {
		/* made for an earlier connection; this back end has no cache to flush */
		push(r);
		spin_unlock_irqrestore(&r->lock, flags);
		blk_mq_end_request(rq, BLK_STS_OK);
		return BLK_STS_OK;
	} else {
		rc = put(r, rq);
	}
	if (rc == BLK_STS_DEV_RESOURCE) {
		r->starved = true;
		blk_mq_stop_hw_queue(hctx);
		/* The response that starts the queue may come before blk-mq has put the request back, and then nobody looks for it.
		 * To this blk-mq looks again by itself. */
		rc = BLK_STS_RESOURCE;
	}
	if (bd->last || rc != BLK_STS_OK)
		push(r);
	spin_unlock_irqrestore(&r->lock, flags);
	return rc;
}

static void commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct pvblk_ring *r = ring_of(hctx);
	unsigned long flags;

	spin_lock_irqsave(&r->lock, flags);
	push(r);
	spin_unlock_irqrestore(&r->lock, flags);
}

void pvblk_complete(struct request *rq)
{
	const struct pvblk_rq *p = pvblk_rq_of(rq);

	if (p->status == BLK_STS_OK && p->bytes < blk_rq_bytes(rq)) {
		blk_update_request(rq, BLK_STS_OK, p->bytes);
		blk_mq_requeue_request(rq, true);
		return;
	}
	blk_mq_end_request(rq, p->status);
}

/* The block layer asks after tags.timeout, and then again and again. */
static enum blk_eh_timer_return timed_out(struct request *rq)
{
	return pvblk_overdue(ring_of(rq->mq_hctx), rq) ? BLK_EH_RESET_TIMER : BLK_EH_DONE;
}

static int poll(struct blk_mq_hw_ctx *hctx, struct io_comp_batch *batch)
{
	return pvblk_poll(ring_of(hctx));
}

static void map_queues(struct blk_mq_tag_set *set)
{
	const struct pvblk_dev *dev = set->driver_data;
	/* the block layer may have taken less than we have */
	bool poll = set->nr_maps > HCTX_TYPE_POLL;
	unsigned int ordinary = set->nr_hw_queues - (poll ? dev->nr_poll : 0);

	set->map[HCTX_TYPE_DEFAULT].nr_queues = ordinary;
	blk_mq_map_queues(&set->map[HCTX_TYPE_DEFAULT]);
	if (!poll)
		return;
	set->map[HCTX_TYPE_READ].nr_queues = 0;
	set->map[HCTX_TYPE_POLL].nr_queues = dev->nr_poll;
	set->map[HCTX_TYPE_POLL].queue_offset = ordinary;
	blk_mq_map_queues(&set->map[HCTX_TYPE_POLL]);
}

const struct blk_mq_ops pvblk_mq_ops = {
	.queue_rq = queue_rq,
	.commit_rqs = commit_rqs,
	.complete = pvblk_complete,
	.timeout = timed_out,
	.poll = poll,
	.map_queues = map_queues,
};
