// SPDX-License-Identifier: GPL-2.0-or-later
/* What comes back: responses, and requests that will not be answered any more.  A response is a copy whose id is
 * looked up; whoever says what no honest back end would say is dead from then on. */
#include <linux/highmem.h>
#include <linux/nospec.h>
#include <xen/events.h>
#include "pvblk.h"

struct list {
	struct pvblk_rq *head, **tail;
};

static void list_start(struct list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_put(struct list *l, struct request *rq, blk_status_t status)
{
	struct pvblk_rq *p = pvblk_rq_of(rq);

	p->status = status;
	p->next = NULL;
	*l->tail = p;
	l->tail = &p->next;
}

/* Without the ring's lock: who is told may submit again at once. */
static void list_complete(struct list *l)
{
	struct io_comp_batch batch = {};
	struct pvblk_rq *p, *next;
	struct request *rq;
	bool here;

	for (p = l->head; p; p = next) {
		next = p->next;
		rq = blk_mq_rq_from_pdu(p);
		/* The block layer would take the requests of a disk with one queue through a softirq, one by one. */
		here = blk_mq_rq_cpu(rq) == raw_smp_processor_id();
		if (!here && blk_mq_complete_request_remote(rq))
			continue;
		if (p->bytes == blk_rq_bytes(rq) &&
		    blk_mq_add_to_batch(rq, &batch, p->status != BLK_STS_OK, blk_mq_end_request_batch))
			continue;
		if (here)
			blk_mq_complete_request(rq);
		else
			pvblk_complete(rq);
	}
	if (batch.complete)
		batch.complete(&batch);
}

/* --- taking memory back ------------------------------------------------------------------------------- */

void pvblk_refs_give(struct pvblk_ring *r, u32 keep)
{
	while (r->nr_refs > keep) {
		gnttab_free_grant_reference(r->refs[--r->nr_refs]);
		r->claimed--;
	}
}

/* Revoke the request's pages.  Returns how many the back end still uses: Xen keeps those granted, and the kernel
 * keeps a reference to each until it can be revoked, so that nobody gets a page which the back end can reach.  A
 * reference says nothing to the slab allocator: issue.c sees to it that no page of it is granted. */
static u32 revoke(struct pvblk_ring *r, struct pvblk_shadow *sh)
{
	u32 *refs = pvblk_refs_of(sh), i, held = 0;

	if (sh->bounced) {
		for (i = 0; i < sh->nr_refs; i++)
			r->free_bounce[r->nr_free_bounce++] = refs[i];
		return 0;
	}
	for (i = 0; i < sh->nr_refs; i++) {
		if (gnttab_end_foreign_access_ref(refs[i])) {
			r->refs[r->nr_refs++] = refs[i];
			continue;
		}
		held++;
		gnttab_end_foreign_access(refs[i], NULL);
		r->claimed--;
	}
	return held;
}

static u32 shadow_give(struct pvblk_ring *r, struct pvblk_shadow *sh)
{
	u32 held = revoke(r, sh);

	if (sh->indirect) {
		sh->indirect->next = r->indirect;
		r->indirect = sh->indirect;
		sh->indirect = NULL;
	}
	sh->rq = NULL;
	sh->next_free = r->free_shadow;
	r->free_shadow = sh - r->shadow;
	r->in_flight--;
	return held;
}

static void copy_back(struct pvblk_ring *r, struct pvblk_shadow *sh)
{
	u32 *pages = pvblk_refs_of(sh), at = 0, done, n;
	struct req_iterator iter;
	struct bio_vec bv;

	rq_for_each_segment(bv, sh->rq, iter) {
		for (done = 0; done < bv.bv_len && at < sh->bytes; done += n, at += n) {
			n = min3(bv.bv_len - done, (u32)PAGE_SIZE - at % (u32)PAGE_SIZE, sh->bytes - at);
			memcpy_to_page(bv.bv_page, bv.bv_offset + done,
				       page_address(r->bounce[pages[at / PAGE_SIZE]].page) + at % PAGE_SIZE, n);
		}
		if (at == sh->bytes)
			return;
	}
}

/* --- responses ---------------------------------------------------------------------------------------- */

/* The first lie of a device (that it would answer may be one) is kept, and told by its work item; there may be more on
 * other rings at the same time. */
__printf(2, 3)
static void lie(struct pvblk_ring *r, const char *fmt, ...)
{
	struct pvblk_dev *dev = r->dev;
	va_list ap;
	int n;

	r->live = false;
	if (test_and_set_bit(PVBLK_LYING, &dev->flags))
		return;
	n = scnprintf(dev->lie, sizeof(dev->lie), "%s: ring %u: ", dev->name, r->nr);
	va_start(ap, fmt);
	vsnprintf(dev->lie + n, sizeof(dev->lie) - n, fmt, ap);
	va_end(ap);
	smp_mb__before_atomic(); /* the text before the bit: pairs with tell_lie() */
	set_bit(PVBLK_LIED, &dev->flags);
}

static blk_status_t status_of(struct pvblk_ring *r, const struct pvblk_shadow *sh, s16 status)
{
	if (status == BLKIF_RSP_OKAY)
		return BLK_STS_OK;
	if (status != BLKIF_RSP_EOPNOTSUPP)
		return BLK_STS_IOERR;
	if (sh->op == BLKIF_OP_DISCARD) {
		if (req_op(sh->rq) == REQ_OP_WRITE_ZEROES)
			blk_queue_disable_write_zeroes(sh->rq->q);
		else if (req_op(sh->rq) == REQ_OP_SECURE_ERASE)
			blk_queue_disable_secure_erase(sh->rq->q);
		else
			blk_queue_disable_discard(sh->rq->q);
	}
	return BLK_STS_NOTSUPP;
}

/* rsp is our copy. */
static bool answer(struct pvblk_ring *r, const struct blkif_response *rsp, struct list *done)
{
	u32 n = lower_32_bits(rsp->id), held;
	struct pvblk_shadow *sh;
	struct request *rq;
	blk_status_t status;

	if (n >= r->ring.nr_slots) {
		lie(r, "response to id %#llx, there are %u slots", rsp->id, r->ring.nr_slots);
		return false;
	}
	sh = &r->shadow[array_index_nospec(n, r->ring.nr_slots)];
	if (!sh->rq || sh->id != rsp->id) {
		lie(r, "response to id %#llx, which is not outstanding", rsp->id);
		return false;
	}
	if (rsp->operation != sh->op) {
		lie(r, "response to id %#llx says operation %u, the request was %u", rsp->id, rsp->operation, sh->op);
		return false;
	}
	rq = sh->rq;
	status = status_of(r, sh, rsp->status);
	if (sh->bounced && sh->op == BLKIF_OP_READ && status == BLK_STS_OK)
		copy_back(r, sh);
	held = shadow_give(r, sh);
	r->responses++;
	list_put(done, rq, held ? BLK_STS_IOERR : status);
	if (held)
		lie(r, "response to id %#llx, but %u of its pages are still in use", rsp->id, held);
	return held == 0;
}

/* Everything unread, until nothing is.  No request is issued meanwhile, so this ends after at most one ring full. */
static void drain(struct pvblk_ring *r, struct list *done)
{
	struct blkif_response rsp;
	int n;

	while (r->live) {
		n = pvb_ring_front_avail(&r->ring);
		if (n == 0 && !r->polled)
			n = pvb_ring_front_rearm(&r->ring);
		if (n == 0)
			break;
		if (n < 0)
			lie(r, "response producer %#x, %#x were read and %u are outstanding",
			    pvb_ring_load(&r->ring.sh->rsp_prod), r->ring.cons, r->ring.pushed - r->ring.cons);
		for (; n > 0; n--) {
			pvb_ring_front_take(&r->ring, &rsp, sizeof(rsp));
			if (!answer(r, &rsp, done))
				break;
		}
	}
	if (r->polled)
		pvb_ring_store(&r->ring.sh->rsp_event, r->ring.cons + PVBLK_NEVER);
	if (r->in_flight == 0 && r->nr_refs > PVBLK_IDLE_REFS)
		pvblk_refs_give(r, PVBLK_IDLE_REFS);
}

/* Takes what is there; the queue to wake then, if one waits.  Under the ring's lock. */
static struct request_queue *take(struct pvblk_ring *r, struct list *done)
{
	u64 before = r->responses;

	if (r->live)
		drain(r, done);
	if (r->responses == before)
		return NULL;
	if (test_bit(PVBLK_LATE, &r->dev->flags))
		clear_bit(PVBLK_LATE, &r->dev->flags);
	if (!r->starved)
		return NULL;
	r->starved = false;
	return r->dev->disk->queue;
}

/* Without the lock.  False: it has lied. */
static bool finish(struct pvblk_dev *dev, struct request_queue *q, struct list *done)
{
	/* before completing: the last request to complete is what keeps the queue alive */
	if (q)
		blk_mq_start_stopped_hw_queues(q, true);
	list_complete(done);
	if (test_bit(PVBLK_DRAINING, &dev->flags))
		pvblk_kick_work(dev);
	if (!test_bit(PVBLK_LIED, &dev->flags))
		return true;
	pvblk_kill(dev);
	pvblk_kick_work(dev);
	return false;
}

irqreturn_t pvblk_interrupt(int irq, void *arg)
{
	struct pvblk_ring *r = arg;
	struct request_queue *q;
	unsigned long flags;
	struct list done;
	bool idle;
	u64 before;

	list_start(&done);
	spin_lock_irqsave(&r->lock, flags);
	before = r->responses;
	r->events++;
	q = take(r, &done);
	idle = r->responses == before;
	if (idle)
		r->spurious++;
	spin_unlock_irqrestore(&r->lock, flags);

	/* without an end of interrupt there are no more of them */
	if (finish(r->dev, q, &done))
		xen_irq_lateeoi(irq, idle ? XEN_EOI_FLAG_SPURIOUS : 0);
	return IRQ_HANDLED;
}

int pvblk_poll(struct pvblk_ring *r)
{
	struct request_queue *q = NULL;
	unsigned long flags;
	struct list done;
	u64 before;
	int n;

	list_start(&done);
	/* without it the ring's memory may go while we look */
	spin_lock_irqsave(&r->lock, flags);
	before = r->responses;
	if (r->live)
		q = take(r, &done);
	n = r->responses - before;
	spin_unlock_irqrestore(&r->lock, flags);
	finish(r->dev, q, &done);
	return n;
}

/* --- answers that do not come ------------------------------------------------------------------------- */

bool pvblk_poke(struct pvblk_ring *r)
{
	struct request_queue *q = NULL;
	unsigned long flags;
	struct list done;
	bool live;

	list_start(&done);
	spin_lock_irqsave(&r->lock, flags);
	live = r->live;
	if (live)
		q = take(r, &done);
	if (r->live) {
		r->notifies++;
		notify_remote_via_irq(r->irq);
	}
	spin_unlock_irqrestore(&r->lock, flags);
	finish(r->dev, q, &done);
	return live;
}

/* An event may have been lost: look, and tell the back end once more.  What helps against a back end that is merely
 * slow is to wait; so it is given up only if somebody said so, or waits for the disk to go. */
bool pvblk_overdue(struct pvblk_ring *r, struct request *rq)
{
	const struct pvblk_rq *p = pvblk_rq_of(rq);
	struct pvblk_dev *dev = r->dev;
	const struct pvblk_shadow *sh;
	unsigned int seconds;
	unsigned long flags;
	bool here, give_up;

	pvblk_poke(r);
	spin_lock_irqsave(&r->lock, flags);
	here = r->live && p->slot < r->ring.nr_slots && r->shadow[p->slot].rq == rq;
	if (here) {
		sh = &r->shadow[p->slot];
		seconds = (jiffies - p->since) / HZ;
		give_up = test_bit(PVBLK_LEAVING, &dev->flags) || (pvblk_fail_after && seconds >= pvblk_fail_after);
		if (give_up)
			lie(r, "no answer to a %s for %u s", pvblk_op_name(sh->op), seconds);
		else if (!test_and_set_bit(PVBLK_LATE, &dev->flags))
			dev_warn(&dev->xdev->dev, "%s: ring %u: no answer to a %s for %u s; asked again\n",
				 dev->name, r->nr, pvblk_op_name(sh->op), seconds);
		here = !give_up;
	}
	spin_unlock_irqrestore(&r->lock, flags);
	if (test_bit(PVBLK_LIED, &dev->flags)) {
		pvblk_kill(dev);
		pvblk_kick_work(dev);
	}
	return here;
}

/* --- requests that this connection will not answer ---------------------------------------------------- */

static void ring_empty(struct pvblk_ring *r, struct list *l)
{
	unsigned long flags;
	struct request *rq;
	u32 i;

	spin_lock_irqsave(&r->lock, flags);
	r->live = false;
	r->starved = false;
	for (i = 0; r->shadow && i < r->ring.nr_slots; i++) {
		rq = r->shadow[i].rq;
		if (!rq)
			continue;
		shadow_give(r, &r->shadow[i]);
		list_put(l, rq, BLK_STS_IOERR);
	}
	spin_unlock_irqrestore(&r->lock, flags);
}

void pvblk_kill(struct pvblk_dev *dev)
{
	unsigned long flags;
	struct list l;
	unsigned int i;

	set_bit(PVBLK_DEAD, &dev->flags);
	for (i = 0; i < dev->max_rings; i++) {
		list_start(&l);
		ring_empty(&dev->rings[i], &l);
		list_complete(&l);
	}
	/* what waits to be issued finds the rings dead */
	spin_lock_irqsave(&dev->disk_lock, flags);
	if (dev->disk) {
		if (test_and_clear_bit(PVBLK_QUIESCED, &dev->flags))
			blk_mq_unquiesce_queue(dev->disk->queue);
		blk_mq_kick_requeue_list(dev->disk->queue);
		blk_mq_start_stopped_hw_queues(dev->disk->queue, true);
	}
	spin_unlock_irqrestore(&dev->disk_lock, flags);
}

/* Not waiting for who is issuing requests just now: what finds its ring dead, and the device not, is kept as well. */
void pvblk_hold(struct pvblk_dev *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->disk_lock, flags);
	/* as pvblk_kill() looks after us under the lock, it is not held for ever */
	if (dev->disk && !pvblk_dead(dev) && !test_and_set_bit(PVBLK_QUIESCED, &dev->flags))
		blk_mq_quiesce_queue_nowait(dev->disk->queue);
	spin_unlock_irqrestore(&dev->disk_lock, flags);
}

void pvblk_go_on(struct pvblk_dev *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->disk_lock, flags);
	if (dev->disk && test_and_clear_bit(PVBLK_QUIESCED, &dev->flags)) {
		blk_mq_unquiesce_queue(dev->disk->queue);
		blk_mq_kick_requeue_list(dev->disk->queue);
		blk_mq_start_stopped_hw_queues(dev->disk->queue, true);
	}
	spin_unlock_irqrestore(&dev->disk_lock, flags);
}

void pvblk_recall(struct pvblk_dev *dev)
{
	struct pvblk_rq *p, *next;
	struct list l;
	unsigned int i;

	list_start(&l);
	for (i = 0; i < dev->max_rings; i++)
		ring_empty(&dev->rings[i], &l);
	for (p = l.head; p; p = next) {
		next = p->next;
		blk_mq_requeue_request(blk_mq_rq_from_pdu(p), false);
	}
	/* killed meanwhile: who did it may not have seen these */
	if (pvblk_dead(dev))
		pvblk_kill(dev);
}
