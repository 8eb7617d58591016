/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkif.c: the passes over the rings.  Connecting is connect.c, reaching guest pages data.c, the policy for
 * failing storage policy.c; all share blkif-impl.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backend/polling.h"
#include "blkif-impl.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define MAX_ROUNDS 16         /* passes in a row before the loop gets a turn: fairness between guests' fds */
#define PASS 32               /* requests of a queue in one pass: the front end has these while we do the next */

/* ---- answering ------------------------------------------------------------------------------------ */

static enum stats_op stats_class(const struct blk_entry *e)
{
	switch (e->op) {
	case BLKIF_OP_READ:
		return STATS_READ;
	case BLKIF_OP_DISCARD:
		return STATS_DISCARD;
	case BLKIF_OP_FLUSH_DISKCACHE:
		return STATS_FLUSH;
	}
	return STATS_WRITE;
}

/* The request is over, one way or another: its one response goes into the ring. */
static void respond(struct blk_req *r, int16_t status)
{
	struct blk_queue *q = r->q;
	struct blk_entry *e = r->e;
	uint8_t rsp[16];

	data_release(r); /* before the response can be seen: stock front ends insist on unmapped grants */
	pvb_journal_done(&e->j, status);
	blk_wire_response(q->abi, e, status, rsp);
	pvb_journal_respond(&e->j, q->ring.prod);
	pvb_ring_back_put(&q->ring, rsp, blk_rsp_size(q->abi));
	r->next = q->responded;
	q->responded = r;
	stats_done(q->stats, stats_class(e), e->nr_sectors * 512, q->dev->ctx->now - r->t0, status != BLKIF_RSP_OKAY);
	policy_over(r);
	if (!q->dirty) {
		q->dirty = true;
		q->next_dirty = q->dev->ctx->dirty;
		q->dev->ctx->dirty = q;
	}
}

/* Show the front end all responses of this pass, then free their journal entries. */
static void push_responses(struct blk_ctx *ctx)
{
	struct blk_queue *q;
	struct blk_req *r;

	while ((q = ctx->dirty)) {
		ctx->dirty = q->next_dirty;
		q->dirty = false;
		pvb_journal_push_begin(&q->journal, q->ring.prod);
		if (pvb_ring_back_push(&q->ring)) {
			pvb_event_notify(q->event);
			PVB_CRASH_POINT(blk_notified);
			stats_add(&q->stats->notify_sent, 1);
		} else {
			stats_add(&q->stats->notify_suppressed, 1);
		}
		pvb_journal_push_end(&q->journal, q->ring.prod);
		while ((r = q->responded)) {
			q->responded = r->next;
			pvb_journal_put_at(&q->journal, &r->e->j, (uint32_t)(r - q->reqs));
			q->dev->in_flight--;
		}
		PVB_CRASH_POINT(blk_pushed);
		__atomic_store_n(&q->stats->in_flight, q->journal.in_use, __ATOMIC_RELAXED);
	}
}

static void refuse(struct blk_req *r, int16_t status, const struct pvb_error *err)
{
	struct blk_dev *dev = r->q->dev;
	struct blk_ctx *ctx = dev->ctx;

	stats_add(&r->q->stats->rejected, 1);
	if (ctx->now - dev->last_refusal >= 1000000000ull) {
		ctx->cb.refused(ctx->arg, dev, err->text, dev->untold);
		dev->last_refusal = ctx->now;
		dev->untold = 0;
	} else {
		dev->untold++;
	}
	respond(r, status);
}

/* ---- carrying out ---------------------------------------------------------------------------------- */

static void io_done(struct bio *bio)
{
	struct blk_req *r = bio->owner;

	PVB_CRASH_POINT(blk_io_done);
	blk_list_add(&r->q->dev->ctx->finished, r);
}

static void queue_bio(struct blk_req *r, enum bio_op op, uint64_t off, uint64_t len)
{
	r->bio.op = op;
	r->bio.off = off;
	r->bio.len = len;
	if (op == BIO_READ || op == BIO_WRITE) {
		r->bio.iov = r->iov;
		r->bio.nr_iov = r->nr_iov;
	} else {
		r->bio.iov = NULL;
		r->bio.nr_iov = 0;
	}
	r->bio.done = io_done;
	r->bio.owner = r;
	blk_list_add(&r->q->dev->ctx->submit, r);
}

/* Zeroes are written as any data is, so that every provider can; a piece of them at a time. */
static void queue_zeroes(struct blk_req *r, uint64_t off, uint64_t len)
{
	static uint8_t zeroes[1 << 20] __attribute__((aligned(4096)));

	if (len > sizeof(zeroes))
		len = sizeof(zeroes);
	queue_bio(r, BIO_WRITE, off, len);
	r->zero = (struct iovec){ .iov_base = zeroes, .iov_len = len };
	r->bio.iov = &r->zero;
	r->bio.nr_iov = 1;
}

/* Set up the next piece of I/O of a request; false: there is none left.  A barrier is flush, write, flush; a
 * flush with data flush, write; a discard, or a write of zeroes, goes in pieces the provider can swallow. */
static bool next_step(struct blk_req *r)
{
	struct blk_entry *e = r->e;
	struct disk *disk = r->q->dev->disk;
	uint64_t off = e->sector * 512, len = e->nr_sectors * 512;
	unsigned step = r->step++;

	switch (e->op) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
		if (step > 0)
			return false;
		queue_bio(r, e->op == BLKIF_OP_READ ? BIO_READ : BIO_WRITE, off, len);
		return true;
	case BLKIF_OP_DISCARD:
		if (r->discarded == len)
			return false;
		off += r->discarded;
		len -= r->discarded;
		if ((e->flag & BLK_DISCARD_ZERO) && r->q->dev->write_zeroes) {
			queue_zeroes(r, off, len);
			return true;
		}
		if (len > disk->info.max_discard)
			len = disk->info.max_discard;
		queue_bio(r, e->flag & BLKIF_DISCARD_SECURE ? BIO_SECURE_DISCARD : BIO_DISCARD, off, len);
		return true;
	case BLKIF_OP_FLUSH_DISKCACHE:
	case BLKIF_OP_WRITE_BARRIER:
		if (step == 1 && e->nr_segs == 0)
			return false;
		if (step > (e->op == BLKIF_OP_WRITE_BARRIER ? 2u : 1u))
			return false;
		if (step == 1)
			queue_bio(r, BIO_WRITE, off, len);
		else
			queue_bio(r, BIO_FLUSH, 0, 0);
		return true;
	}
	return false;
}

/* Hand everything queued to the providers, consecutive requests of one disk in one call. */
static void submit_all(struct blk_ctx *ctx)
{
	struct bio *batch[64];
	struct blk_req *r;

	while ((r = ctx->submit.head)) {
		struct disk *disk = r->q->dev->disk;
		unsigned n = 0;

		while (n < 64 && (r = ctx->submit.head) && r->q->dev->disk == disk) {
			blk_list_pop(&ctx->submit);
			batch[n++] = &r->bio;
		}
		disk_submit(disk, batch, n);
		PVB_CRASH_POINT(blk_submitted);
	}
	aio_flush(ctx->io->aio);
	PVB_CRASH_POINT(blk_flushed);
}

static void start(struct blk_req *r)
{
	r->step = 0;
	r->discarded = 0;
	if (r->in_place) {
		r->bio.result = 0; /* done: there is only the copy left */
		blk_list_add(&r->q->dev->ctx->finished, r);
		return;
	}
	next_step(r);
}

/* ---- taking ---------------------------------------------------------------------------------------- */

static void broken(struct blk_queue *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void broken(struct blk_queue *q, const char *fmt, ...)
{
	struct blk_dev *dev = q->dev;
	char text[200];
	va_list ap;

	q->ring.dead = true;
	if (dev->broken)
		return;
	dev->broken = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev->ctx->cb.broken(dev->ctx->arg, dev, text);
}

/* A request, and its entry in the journal: the two have one index. */
static struct blk_req *req_at(struct blk_queue *q, uint32_t i)
{
	struct blk_req *r = &q->reqs[i];

	r->q = q;
	r->e = (struct blk_entry *)pvb_journal_at(&q->journal, i);
	return r;
}

/* Copy new requests of one queue into its journal and onto ctx->taken; how many. */
static unsigned take_queue(struct blk_queue *q)
{
	struct blk_dev *dev = q->dev;
	struct blk_ctx *ctx = dev->ctx;
	uint8_t slot[BLK_SLOT_MAX] __attribute__((aligned(8)));
	unsigned taken = 0;
	int n;

	if (dev->broken || dev->closing || dev->held || dev->stopped || ctx->starved.head)
		return 0;
	n = pvb_ring_back_avail(&q->ring);
	if (n < 0) {
		broken(q, "queue %u: the front end claims %u requests at index %u, the ring has %u slots", q->id,
		       pvb_ring_load(&q->ring.sh->req_prod) - q->ring.cons, q->ring.cons, q->ring.nr_slots);
		return 0;
	}
	if (n > PASS) {
		n = PASS;
		ctx->left = true;
	}
	while (n-- > 0 && !dev->held) {
		uint32_t at = pvb_journal_next(&q->journal);
		struct pvb_journal_entry *j = pvb_journal_get(&q->journal);
		struct blk_req *r;

		if (!j) { /* more in flight than slots: avail() makes this impossible, say so rather than trust it */
			broken(q, "queue %u: more than %u requests in flight", q->id, q->journal.nr);
			break;
		}
		r = req_at(q, at);
		pvb_ring_back_take(&q->ring, slot);
		PVB_CRASH_POINT(blk_slot_read);
		blk_wire_decode(q->abi, slot, r->e);
		PVB_CRASH_POINT(blk_decoded);
		pvb_journal_take(&q->journal, j);
		dev->in_flight++;
		r->t0 = ctx->now;
		blk_list_add(&ctx->taken, r);
		if (r->e->op == BLKIF_OP_WRITE_BARRIER && dev->cfg.barrier)
			dev->held = r; /* nothing more of this device until it is done */
		taken++;
	}
	q->since_event += taken;
	if (taken) {
		stats_add(&q->stats->passes, 1);
		__atomic_store_n(&q->stats->in_flight, q->journal.in_use, __ATOMIC_RELAXED);
	}
	return taken;
}

void blk_limits_now(const struct blk_dev *dev, struct blk_limits *lim)
{
	const struct disk_info *info = &dev->disk->info;

	lim->nr_sectors = info->size / 512;
	lim->readonly = dev->cfg.readonly;
	lim->discard = dev->cfg.discard && info->discard_granularity != 0;
	lim->secure_discard = lim->discard && info->secure_discard;
	lim->write_zeroes = dev->write_zeroes;
	lim->barrier = dev->cfg.barrier;
	lim->max_indirect = dev->cfg.max_indirect;
}

/* Check one request and get at its data; it ends on ctx->fetch (wants data), is started, waits, or is
 * refused. */
static void admit(struct blk_req *r)
{
	struct blk_dev *dev = r->q->dev;
	struct blk_ctx *ctx = dev->ctx;
	struct pvb_error err;
	struct blk_limits lim;
	int status;

	blk_limits_now(dev, &lim);
	if (!r->e->have_segs) { /* an indirect request whose header was already illegal, or whose page failed */
		status = r->fetch_status ? BLKIF_RSP_ERROR : blk_wire_check(r->e, &lim, &err);
		if (r->fetch_status)
			pvb_err(&err, -EFAULT, "indirect page, grant %u: copy failed with status %d", r->e->indirect[0],
				r->fetch_status);
		if (status == 0) { /* can not be: have_segs is only 0 for what the check refuses */
			pvb_err(&err, -EINVAL, "indirect request without segments");
			status = BLKIF_RSP_ERROR;
		}
	} else {
		status = blk_wire_check(r->e, &lim, &err);
	}
	if (status) {
		if (dev->held == r)
			dev->held = NULL;
		refuse(r, (int16_t)status, &err);
		return;
	}
	if (r->e->op == BLKIF_OP_DISCARD || r->e->nr_segs == 0) {
		blk_list_add(&ctx->fetched, r);
		return;
	}
	switch (data_acquire(r)) {
	case 0:
		if (r->in_place)
			start(r);
		else
			blk_list_add(&ctx->fetched, r);
		break;
	case -EAGAIN:
		stats_add(&r->q->stats->starved, 1);
		blk_list_add(&ctx->starved, r);
		break;
	default:
		if (dev->held == r)
			dev->held = NULL;
		pvb_err(&err, -EFAULT, "%u segments, first grant %u: can not be mapped", r->e->nr_segs, r->e->segs[0].gref);
		refuse(r, BLKIF_RSP_ERROR, &err);
	}
}

/* What was taken and admitted has its data fetched by one copy call and is started. */
static void fetch_and_start(struct blk_ctx *ctx)
{
	struct pvb_error err;
	struct blk_req *r;

	for (r = ctx->fetched.head; r; r = r->next)
		if (r->e->op != BLKIF_OP_READ)
			data_copy_add(r, true);
	data_copy_run(ctx);
	while ((r = blk_list_pop(&ctx->fetched))) {
		int bad = data_copy_check(r);

		if (bad) {
			if (r->q->dev->held == r)
				r->q->dev->held = NULL;
			pvb_err(&err, -EFAULT, "write: grant %u: copy failed with status %d", r->bad_gref, bad);
			refuse(r, BLKIF_RSP_ERROR, &err);
		} else if (r->q->dev->held == r && r->q->dev->in_flight > 1) {
			/* a barrier waits for everything before it; finish_all() starts it */
			r->q->dev->barrier_waits = true;
		} else {
			start(r);
		}
	}
	data_copy_clear(ctx);
}

/* ---- finishing ------------------------------------------------------------------------------------- */

/* Sort what the providers have finished: next step, policy, or answer. */
static void finish_all(struct blk_ctx *ctx)
{
	struct blk_list answer = { 0 };
	struct blk_req *r;

	for (;;) {
		while ((r = blk_list_pop(&ctx->finished))) {
			if (r->bio.result != 0) {
				if (policy_holds(r))
					continue; /* held: the policy brings it back to ctx->submit */
				blk_list_add(&answer, r);
				continue;
			}
			r->discarded += r->e->op == BLKIF_OP_DISCARD ? r->bio.len : 0;
			if (r->in_place || !next_step(r))
				blk_list_add(&answer, r);
		}
		if (!ctx->submit.head)
			break;
		submit_all(ctx);
		if (!ctx->finished.head)
			break; /* they will come back through the loop */
	}
	for (r = answer.head; r; r = r->next)
		if (r->e->op == BLKIF_OP_READ && r->bio.result == 0)
			data_copy_add(r, false);
	data_copy_run(ctx);
	while ((r = blk_list_pop(&answer))) {
		int16_t status = r->bio.result ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY;
		struct pvb_error err;
		int bad = data_copy_check(r);

		if (r->bio.result == -EOPNOTSUPP)
			status = BLKIF_RSP_EOPNOTSUPP;
		if (r->q->dev->held == r)
			r->q->dev->held = NULL;
		if (bad) {
			pvb_err(&err, -EFAULT, "read: grant %u: copy failed with status %d", r->bad_gref, bad);
			refuse(r, BLKIF_RSP_ERROR, &err);
		} else {
			respond(r, status);
		}
	}
	data_copy_clear(ctx);
	push_responses(ctx);
}

/* Barriers whose predecessors are gone, and requests that waited for buffers. */
static void restart_waiting(struct blk_ctx *ctx)
{
	struct blk_list waiting = ctx->starved;
	struct blk_dev *dev;
	struct blk_req *r;

	memset(&ctx->starved, 0, sizeof(ctx->starved));
	while ((r = blk_list_pop(&waiting)))
		admit(r);
	for (dev = ctx->devs; dev; dev = dev->next) {
		if (dev->barrier_waits && dev->in_flight == 1) {
			dev->barrier_waits = false;
			start(dev->held);
		}
	}
	if (ctx->fetched.head)
		fetch_and_start(ctx);
}

void blk_go_on(struct blk_queue *q)
{
	const struct pvb_journal_recovery *found = &q->recovery;
	struct blk_dev *dev = q->dev;

	dev->ctx->now = pvb_now_ns();
	for (uint32_t i = 0; i < found->nr_answer + found->nr_redo; i++) {
		struct blk_req *r = req_at(q, q->found[i]);

		dev->in_flight++;
		r->t0 = dev->ctx->now;
		if (i < found->nr_answer) {
			respond(r, r->e->j.status);
			continue;
		}
		blk_list_add(&dev->ctx->taken, r);
		if (r->e->op == BLKIF_OP_WRITE_BARRIER && dev->cfg.barrier)
			dev->held = r; /* the last that was taken, so nothing after it is here */
	}
}

static unsigned take_all(struct blk_ctx *ctx)
{
	struct blk_dev *dev;
	unsigned i, n = 0;

	for (dev = ctx->devs; dev; dev = dev->next)
		for (i = 0; i < dev->nr_queues; i++)
			if (dev->queues[i].ready)
				n += take_queue(&dev->queues[i]);
	return n;
}

/* Before sleeping: ask each ring for an event, then look again.  True: there is more to do. */
static bool rearm_all(struct blk_ctx *ctx)
{
	struct blk_dev *dev;
	bool more = false;
	unsigned i;

	for (dev = ctx->devs; dev; dev = dev->next) {
		for (i = 0; i < dev->nr_queues; i++) {
			struct blk_queue *q = &dev->queues[i];

			if (!q->ready || dev->held || dev->broken || dev->closing || dev->stopped || ctx->starved.head)
				continue; /* stays ready: looked at again when what holds it is over */
			if (pvb_ring_back_rearm(&q->ring) == 0)
				q->ready = false;
			else
				more = true;
		}
	}
	return more;
}

static void run_again(void *arg)
{
	blk_run(arg);
}

void blk_run(struct blk_ctx *ctx)
{
	struct blk_req *r;
	bool more = true, stay, work;
	unsigned round;

	if (ctx->running)
		return; /* a provider finished something inside submit(): the outer run takes it */
	if (!ctx->devs)
		return; /* a guest with NICs only: not even the clock */
	ctx->running = true;
	for (round = 0; more && round < MAX_ROUNDS; round++) {
		ctx->now = pvb_now_ns();
		ctx->left = false;
		work = take_all(ctx) > 0;
		data_fetch_indirect(ctx);
		while ((r = blk_list_pop(&ctx->taken)))
			admit(r);
		fetch_and_start(ctx);
		submit_all(ctx);
		ctx->now = pvb_now_ns();
		work |= ctx->finished.head != NULL;
		finish_all(ctx);
		restart_waiting(ctx);
		stay = poll_stay(ctx->poll, ctx->now, work);
		more = ctx->left || (!stay && rearm_all(ctx)) || ctx->submit.head || ctx->finished.head;
	}
	ctx->running = false;
	connect_drain(ctx);
	if (more && !ctx->again)
		pvb_loop_timer(ctx->io->loop, 0, run_again, ctx, &ctx->again);
}
