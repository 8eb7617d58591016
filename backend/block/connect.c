/* SPDX-License-Identifier: GPL-2.0-or-later */
/* connect.c: the context of a worker, its devices, and how rings come and go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "blkif-impl.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

static void after_io(void *arg)
{
	blk_run(arg);
}

static const uint8_t zeroes[PVB_PAGE_SIZE] __attribute__((aligned(PVB_PAGE_SIZE)));

int blk_ctx_new(struct blk_ctx **out, struct pvb_hv *hv, struct pvb_events *events, struct worker_io *io, uint32_t domid,
		size_t memory, const struct blk_callbacks *cb, void *arg)
{
	struct blk_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc;

	if (!ctx)
		return -ENOMEM;
	rc = bufpool_new(&ctx->pool, memory);
	if (rc < 0) {
		free(ctx);
		return rc;
	}
	ctx->hv = hv;
	ctx->events = events;
	ctx->io = io;
	ctx->domid = domid;
	ctx->map_cap = memory / PVB_PAGE_SIZE;
	ctx->cb = *cb;
	ctx->arg = arg;
	ctx->zeroes = zeroes;
	aio_set_after(io->aio, after_io, ctx);
	*out = ctx;
	return 0;
}

void blk_ctx_poll(struct blk_ctx *ctx, struct poll *poll)
{
	ctx->poll = poll;
}

int blk_ctx_lend(struct blk_ctx *ctx, void *area, size_t bytes)
{
	int rc;

	if (bytes <= PVB_PAGE_SIZE)
		return -EINVAL;
	rc = bufpool_lend(ctx->pool, (uint8_t *)area + PVB_PAGE_SIZE, bytes - PVB_PAGE_SIZE);
	if (rc == 0)
		ctx->zeroes = area; /* as it comes; reads of nothing are copied from there */
	return rc;
}

void blk_ctx_free(struct blk_ctx *ctx)
{
	if (!ctx)
		return;
	pvb_source_free(&ctx->again);
	bufpool_free(ctx->pool);
	free(ctx->ops);
	free(ctx->indirect);
	free(ctx);
}

uint64_t blk_ctx_copy_calls(const struct blk_ctx *ctx)
{
	return ctx->copy_calls;
}

int blk_dev_new(struct blk_dev **out, struct blk_ctx *ctx, const struct blk_config *cfg, struct disk *disk,
		struct stats_device *stats, void *owner)
{
	struct blk_dev *dev = calloc(1, sizeof(*dev));

	if (!dev)
		return -ENOMEM;
	dev->ctx = ctx;
	dev->cfg = *cfg;
	dev->disk = disk;
	dev->stats = stats;
	dev->owner = owner;
	dev->next = ctx->devs;
	ctx->devs = dev;
	*out = dev;
	return 0;
}

void *blk_dev_owner(const struct blk_dev *dev)
{
	return dev->owner;
}

struct disk *blk_dev_disk(const struct blk_dev *dev)
{
	return dev->disk;
}

bool blk_connected(const struct blk_dev *dev)
{
	return dev->nr_queues != 0;
}

void blk_dev_free(struct blk_dev *dev)
{
	struct blk_dev **at;

	if (!dev)
		return;
	for (at = &dev->ctx->devs; *at != dev; at = &(*at)->next)
		;
	*at = dev->next;
	disk_close(dev->disk);
	free(dev);
}

/* ---- one queue -------------------------------------------------------------------------------------- */

static bool on_event(void *arg)
{
	struct blk_queue *q = arg;
	const struct pvb_event_stats *s = pvb_event_stats(q->event);
	/* a request that a pass took before its event was read is work all the same */
	bool work = q->since_event != 0 || pvb_ring_back_avail(&q->ring) != 0;

	q->since_event = 0;
	q->ready = true; /* blk_run() comes after the last handler of this batch */
	__atomic_store_n(&q->stats->event_received, s->received, __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats->event_spurious, s->spurious, __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats->event_delayed, s->delayed, __ATOMIC_RELAXED);
	/* a ring that lied is not looked at again: its events are without work, and are put off as such */
	return !q->dev->broken && work;
}

static void queue_free(struct blk_queue *q)
{
	struct pvb_hv *hv = q->dev->ctx->hv;

	pvb_event_free(&q->event); /* first: nothing may call in while the rest goes */
	pgrants_free(q->pgrants, hv);
	free(q->found);
	pvb_hv_unmap(hv, &q->ring_map);
	if (q->reqs)
		munmap(q->reqs, q->ring.nr_slots * sizeof(*q->reqs));
	memset(q, 0, sizeof(*q));
}

static uint32_t slots_of(const struct blk_connect *c)
{
	return pvb_ring_slots(c->ring_pages * PVB_PAGE_SIZE, blk_slot_size(c->abi));
}

size_t blk_journal_bytes(const struct blk_connect *c)
{
	return pvb_journal_bytes(slots_of(c), sizeof(struct blk_entry));
}

static int map_ring(struct blk_queue *q, const struct blk_connect *c, struct pvb_error *err)
{
	struct blk_ctx *ctx = q->dev->ctx;
	struct pvb_ring_shared *sh;
	uint32_t bytes = c->ring_pages * PVB_PAGE_SIZE, prod, req;
	int rc;

	rc = pvb_hv_map(ctx->hv, ctx->domid, c->queue[q->id].refs, c->ring_pages, true, &q->ring_map);
	if (rc < 0)
		return pvb_err(err, rc, "queue %u: ring of %u pages, first grant %u: %s", q->id, c->ring_pages,
			       c->queue[q->id].refs[0], strerror(-rc));
	/* a ring that was in use and drained goes on where it stopped; a new one says 0 */
	sh = q->ring_map.addr;
	prod = pvb_ring_load(&sh->rsp_prod);
	req = pvb_ring_load(&sh->req_prod);
	pvb_ring_attach(&q->ring, sh, bytes, blk_slot_size(c->abi), prod, prod);
	if (req - prod > q->ring.nr_slots)
		return pvb_err(err, -EPROTO, "queue %u: the ring begins with %u requests, it has %u slots", q->id, req - prod,
			       q->ring.nr_slots);
	return 0;
}

/* Another process served this ring and died: its journal says how far it was. */
static int read_journal(struct blk_queue *q, const struct blk_connect *c, void *journal, struct pvb_error *err)
{
	struct pvb_error why;
	int rc;

	q->found = calloc(q->ring.nr_slots, sizeof(*q->found));
	if (!q->found)
		return pvb_err(err, -ENOMEM, "queue %u: no memory for %u requests", q->id, q->ring.nr_slots);
	rc = pvb_journal_open(&q->journal, journal, blk_journal_bytes(c), q->ring.nr_slots, sizeof(struct blk_entry), &why);
	if (rc == 0)
		rc = pvb_journal_recover(&q->journal, pvb_ring_load(&q->ring.sh->rsp_prod), q->found, &q->recovery, &why);
	if (rc < 0)
		return pvb_err(err, rc, "queue %u: %s", q->id, why.text);
	q->ring.cons = q->recovery.req_cons;
	q->ring.prod = q->ring.pushed = q->recovery.rsp_prod;
	return 0;
}

static bool is_journal(const void *mem)
{
	return ((const struct pvb_journal_head *)mem)->magic != 0; /* what is in there is for pvb_journal_open() to judge */
}

static int queue_connect(struct blk_queue *q, const struct blk_connect *c, void *journal, struct pvb_error *err)
{
	struct blk_ctx *ctx = q->dev->ctx;
	uint32_t port = c->queue[q->id].event_channel;
	void *reqs;
	int rc;

	rc = map_ring(q, c, err);
	if (rc < 0)
		return rc;
	if (is_journal(journal))
		rc = read_journal(q, c, journal, err);
	else
		pvb_journal_init(&q->journal, journal, q->ring.nr_slots, sizeof(struct blk_entry), 0, q->ring.cons,
				 q->ring.prod);
	if (rc < 0)
		return rc;
	/* pages that are not there before a request is; on a ring that is idle none is */
	reqs = mmap(NULL, q->ring.nr_slots * sizeof(*q->reqs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reqs == MAP_FAILED)
		return pvb_err(err, -ENOMEM, "queue %u: no memory for %u requests", q->id, q->ring.nr_slots);
	q->reqs = reqs;
	if (c->persistent) {
		rc = pgrants_new(&q->pgrants, q->ring.nr_slots);
		if (rc < 0)
			return pvb_err(err, rc, "queue %u: no memory for persistent grants", q->id);
	}
	rc = pvb_event_bind(ctx->events, ctx->domid, port, on_event, q, &q->event);
	if (rc < 0)
		return pvb_err(err, rc, "queue %u: event channel %u: %s", q->id, port, strerror(-rc));
	q->ready = true;
	return 0;
}

/* ---- a device --------------------------------------------------------------------------------------- */

static void queues_free(struct blk_dev *dev)
{
	for (unsigned i = 0; i < dev->nr_queues; i++)
		if (dev->queues[i].dev)
			queue_free(&dev->queues[i]);
	free(dev->queues);
	dev->queues = NULL;
	dev->nr_queues = 0;
}

/* Who died may have shown responses without the event. */
static void tell_front(struct blk_queue *q)
{
	if (!q->found)
		return;
	PVB_CRASH_POINT(blk_went_on);
	pvb_event_notify(q->event);
	PVB_CRASH_POINT(blk_told_front);
	free(q->found);
	q->found = NULL;
}

int blk_connect(struct blk_dev *dev, const struct blk_connect *c, void *const *journals, struct pvb_error *err)
{
	int rc;

	dev->queues = calloc(c->nr_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return pvb_err(err, -ENOMEM, "no memory for %u queues", c->nr_queues);
	dev->broken = dev->closing = dev->stopped = false;
	dev->write_zeroes = c->write_zeroes;
	dev->stats->nr_queues = c->nr_queues;
	dev->stats->parked = 0; /* of a worker that died */
	for (unsigned i = 0; i < c->nr_queues; i++) {
		struct blk_queue *q = &dev->queues[i];

		q->dev = dev;
		q->id = i;
		q->abi = c->abi;
		q->stats = &dev->stats->queue[i];
		dev->nr_queues = i + 1;
		rc = queue_connect(q, c, journals[i], err);
		if (rc < 0) {
			queues_free(dev);
			return rc;
		}
	}
	PVB_CRASH_POINT(blk_connected);
	for (unsigned i = 0; i < c->nr_queues; i++)
		if (dev->queues[i].found)
			blk_go_on(&dev->queues[i]);
	blk_run(dev->ctx); /* stock front ends may have queued before we came */
	for (unsigned i = 0; i < dev->nr_queues; i++)
		tell_front(&dev->queues[i]);
	return 0;
}

/* Its journal entry stays: it says truly that the request has no answer, should somebody go on after all. */
static void drop(struct blk_req *r)
{
	policy_over(r);
	data_release(r);
	r->q->dev->in_flight--;
}

/* Requests that wait for us rather than for the storage are given up with the connection. */
static void drop_waiting(struct blk_dev *dev)
{
	struct blk_ctx *ctx = dev->ctx;
	struct blk_list keep = { 0 };
	struct blk_req *r;

	policy_drop(dev, drop);
	while ((r = blk_list_pop(&ctx->starved))) {
		if (r->q->dev != dev)
			blk_list_add(&keep, r);
		else
			drop(r);
	}
	ctx->starved = keep;
	if (dev->barrier_waits)
		drop(dev->held);
	dev->held = NULL;
	dev->barrier_waits = false;
}

static void finish_disconnect(struct blk_dev *dev)
{
	queues_free(dev);
	dev->closing = false;
	dev->ctx->cb.drained(dev->ctx->arg, dev);
}

void connect_drain(struct blk_ctx *ctx)
{
	struct blk_dev *dev, *next;

	for (dev = ctx->devs; dev; dev = next) {
		next = dev->next;
		if (!dev->closing)
			continue;
		drop_waiting(dev);
		if (dev->in_flight == 0)
			finish_disconnect(dev);
	}
}

void blk_disconnect(struct blk_dev *dev)
{
	if (dev->nr_queues == 0) {
		dev->ctx->cb.drained(dev->ctx->arg, dev);
		return;
	}
	dev->closing = true;
	if (!dev->ctx->running)
		connect_drain(dev->ctx);
}
