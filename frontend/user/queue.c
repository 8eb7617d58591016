// SPDX-License-Identifier: GPL-2.0-or-later
/* One ring of a disk: turns requests into slots and looks responses up.  It never touches the store and
 * never decides what becomes of a disk; a lie is reported by pvf_dev_dead() and nothing more is read. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/blkif.h>
#include "disk-impl.h"

#define EARLY 8              /* responses, then what they made room for is shown */
#define MIN_POOL (PVF_DIRECT_SEGS + 1)

/* --- the list --------------------------------------------------------------------------------------- */

void pvf_list_add(struct pvf_list *l, struct pvf_req *req)
{
	req->next = NULL;
	req->prev = l->tail;
	if (l->tail != NULL)
		l->tail->next = req;
	else
		l->head = req;
	l->tail = req;
	if (l->issue == NULL)
		l->issue = req;
	l->nr++;
}

void pvf_list_del(struct pvf_list *l, struct pvf_req *req)
{
	if (l->issue == req)
		l->issue = req->next;
	if (req->prev != NULL)
		req->prev->next = req->next;
	else
		l->head = req->next;
	if (req->next != NULL)
		req->next->prev = req->prev;
	else
		l->tail = req->prev;
	l->nr--;
}

void pvf_list_restart(struct pvf_list *l)
{
	for (struct pvf_req *r = l->head; r != NULL; r = r->next) {
		r->cursor = 0;
		r->pending = 0;
		r->rc = 0;
	}
	l->issue = l->head;
}

/* --- shadows and pages ------------------------------------------------------------------------------ */

static uint8_t *pool_page(const struct pvf_queue *q, uint16_t page)
{
	return (uint8_t *)q->pool.addr + (size_t)page * PVB_PAGE_SIZE;
}

static uint16_t *shadow_pages(const struct pvf_queue *q, const struct pvf_shadow *sh)
{
	return q->pages + (size_t)(sh - q->shadow) * (q->max_bounce + 1);
}

static struct pvf_shadow *shadow_take(struct pvf_queue *q, struct pvf_req *req, uint8_t op)
{
	struct pvf_shadow *sh = &q->shadow[q->free_shadow];

	q->free_shadow = sh->next_free;
	sh->id += (uint64_t)1 << 32; /* an answer to the last user of this entry is not one to this */
	sh->req = req;
	sh->op = op;
	sh->at = req->cursor;
	sh->len = 0;
	sh->nr_pages = 0;
	sh->bounced = sh->indirect = false;
	return sh;
}

static void shadow_give(struct pvf_queue *q, struct pvf_shadow *sh)
{
	const uint16_t *pages = shadow_pages(q, sh);

	while (sh->nr_pages > 0)
		q->free_pages[q->nr_free_pages++] = pages[--sh->nr_pages];
	sh->req = NULL;
	sh->next_free = q->free_shadow;
	q->free_shadow = (uint32_t)(sh - q->shadow);
}

static int pool_new(struct pvf_queue *q, uint32_t want, struct pvb_error *err)
{
	struct pvf_disk *disk = q->disk;
	int rc;

	for (;;) {
		rc = pvb_hv_grant(disk->dev.guest->hv, disk->dev.back_domid, want, true, &q->pool);
		if (rc == 0)
			return 0;
		if (want == MIN_POOL)
			return pvb_err(err, rc, "vbd %u: queue %u: no %u pages to grant for data", disk->dev.devid,
				       q->nr,
				       want);
		want = want / 2 > MIN_POOL ? want / 2 : MIN_POOL;
	}
}

int pvf_queue_start(struct pvf_queue *q, struct pvb_error *err)
{
	struct pvf_disk *disk = q->disk;
	uint32_t nr = q->ring.nr_slots, want = disk->opt.pool_pages != 0 ? disk->opt.pool_pages : PVF_POOL_PAGES;
	int rc;

	if (want < MIN_POOL)
		want = MIN_POOL;
	if (want > UINT16_MAX)
		want = UINT16_MAX;
	rc = pool_new(q, want, err);
	if (rc < 0)
		return rc;
	/* one must fit into the pool alone, with its indirect page, or it would wait for ever */
	q->max_bounce = disk->info.max_segments < q->pool.nr - 1 ? disk->info.max_segments : q->pool.nr - 1;
	q->shadow = calloc(nr, sizeof(*q->shadow));
	q->pages = calloc(nr, (q->max_bounce + 1) * sizeof(*q->pages));
	q->free_pages = calloc(q->pool.nr, sizeof(*q->free_pages));
	if (q->shadow == NULL || q->pages == NULL || q->free_pages == NULL)
		return pvb_err(err, -ENOMEM, "vbd %u: queue %u: out of memory", disk->dev.devid, q->nr);
	for (uint32_t i = 0; i < nr; i++) {
		q->shadow[i].id = i;
		q->shadow[i].next_free = i + 1;
	}
	for (uint32_t i = 0; i < q->pool.nr; i++)
		q->free_pages[i] = (uint16_t)i;
	q->nr_free_pages = q->pool.nr;
	q->free_shadow = 0;
	return 0;
}

void pvf_queue_free(struct pvf_queue *q)
{
	struct pvb_hv *hv = q->disk->dev.guest->hv;

	/* a page the back end did not let go of stays granted and is leaked: see pvb_hv_ungrant() */
	if (q->ring_pages.nr != 0)
		pvb_hv_ungrant(hv, &q->ring_pages);
	if (q->pool.nr != 0)
		pvb_hv_ungrant(hv, &q->pool);
	q->ring_pages.nr = q->pool.nr = 0;
	free(q->shadow);
	free(q->pages);
	free(q->free_pages);
	q->shadow = NULL;
	q->pages = q->free_pages = NULL;
}

/* --- requests into slots ---------------------------------------------------------------------------- */

enum put { PUT_WAIT, PUT_MORE, PUT_ALL };

static uint8_t data_op(const struct pvf_disk *disk, enum pvf_op op)
{
	switch (op) {
	case PVF_READ:
		return BLKIF_OP_READ;
	case PVF_BARRIER:
		return BLKIF_OP_WRITE_BARRIER;
	case PVF_FLUSH:
		return disk->info.flush ? BLKIF_OP_FLUSH_DISKCACHE : BLKIF_OP_WRITE_BARRIER;
	default:
		return BLKIF_OP_WRITE;
	}
}

static enum put put_discard(struct pvf_queue *q, struct pvf_req *req)
{
	struct pvf_shadow *sh = shadow_take(q, req, BLKIF_OP_DISCARD);
	uint8_t slot[PVF_SLOT_MAX];

	pvf_wire_discard(q->disk->wire, slot, req->op == PVF_SECURE_DISCARD, (uint16_t)q->disk->dev.devid, sh->id,
			 req->offset / 512, req->length / 512);
	pvb_ring_front_put(&q->ring, slot);
	return PUT_ALL;
}

/* Flush and empty barrier. */
static enum put put_empty(struct pvf_queue *q, struct pvf_req *req)
{
	struct pvf_shadow *sh = shadow_take(q, req, data_op(q->disk, req->op));
	uint8_t slot[PVF_SLOT_MAX];

	pvf_wire_direct(q->disk->wire, slot, sh->op, (uint16_t)q->disk->dev.devid, sh->id, req->offset / 512, NULL, 0);
	pvb_ring_front_put(&q->ring, slot);
	return PUT_ALL;
}

/* Take pages from the pool for nr segments and, in front, fill them if this is a write. */
static void fill_bounce(struct pvf_queue *q, struct pvf_shadow *sh, const struct pvf_req *req, struct pvf_seg *segs,
			unsigned nr)
{
	uint16_t *pages = shadow_pages(q, sh);
	uint32_t done = 0, n;

	for (unsigned i = 0; i < nr; i++, done += n) {
		n = sh->len - done < PVB_PAGE_SIZE ? sh->len - done : PVB_PAGE_SIZE;
		pages[i] = q->free_pages[--q->nr_free_pages];
		if (req->op == PVF_ZERO)
			memset(pool_page(q, pages[i]), 0, n);
		else if (req->op != PVF_READ)
			memcpy(pool_page(q, pages[i]), (const uint8_t *)req->data + sh->at + done, n);
		segs[i] = (struct pvf_seg){ q->pool.refs[pages[i]], 0, (uint8_t)(n / 512 - 1), 0 };
	}
	sh->nr_pages = (uint16_t)nr;
	sh->bounced = true;
	q->disk->stats.bytes_copied += sh->len;
}

/* The data lies in granted pages already. */
static void fill_direct(const struct pvf_shadow *sh, const struct pvf_req *req, struct pvf_seg *segs, unsigned nr)
{
	size_t at = (size_t)((const uint8_t *)req->data - (const uint8_t *)req->buf->addr) + sh->at;
	uint32_t done = 0, n, off;

	for (unsigned i = 0; i < nr; i++, done += n) {
		off = (at + done) % PVB_PAGE_SIZE;
		n = sh->len - done < PVB_PAGE_SIZE - off ? sh->len - done : PVB_PAGE_SIZE - off;
		segs[i] = (struct pvf_seg){ req->buf->grant.refs[(at + done) / PVB_PAGE_SIZE], (uint8_t)(off / 512),
					    (uint8_t)((off + n) / 512 - 1), 0 };
	}
}

static enum put put_data(struct pvf_queue *q, struct pvf_req *req)
{
	struct pvf_disk *disk = q->disk;
	bool bounce = req->op == PVF_ZERO || req->buf == NULL || req->buf->grant.domid != disk->dev.back_domid;
	uint32_t off = bounce ? 0 : (uint32_t)((uintptr_t)((uint8_t *)req->data + req->cursor) % PVB_PAGE_SIZE);
	uint32_t max = bounce ? q->max_bounce : disk->info.max_segments;
	uint64_t left = req->length - req->cursor, len;
	struct pvf_seg segs[PVF_MAX_SEGMENTS];
	uint8_t slot[PVF_SLOT_MAX];
	struct pvf_shadow *sh;
	unsigned nr, need;

	if (req->op == PVF_BARRIER && max > PVF_DIRECT_SEGS)
		max = PVF_DIRECT_SEGS; /* there are no indirect barriers */
	len = (uint64_t)max * PVB_PAGE_SIZE - off;
	if (len >= left)
		len = left;
	else
		len -= len % disk->info.sector_size;
	nr = (unsigned)((off + len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE);
	need = (bounce ? nr : 0) + (nr > PVF_DIRECT_SEGS);
	if (need > q->nr_free_pages) {
		disk->stats.pool_empty++;
		return PUT_WAIT;
	}
	sh = shadow_take(q, req, data_op(disk, req->op));
	sh->len = (uint32_t)len;
	if (bounce)
		fill_bounce(q, sh, req, segs, nr);
	else
		fill_direct(sh, req, segs, nr);
	if (nr > PVF_DIRECT_SEGS) {
		uint16_t page = q->free_pages[--q->nr_free_pages];

		shadow_pages(q, sh)[sh->nr_pages++] = page;
		sh->indirect = true;
		memcpy(pool_page(q, page), segs, nr * sizeof(*segs));
		pvf_wire_indirect(disk->wire, slot, sh->op, (uint16_t)disk->dev.devid, sh->id,
				  (req->offset + sh->at) / 512, q->pool.refs[page], nr);
	} else {
		pvf_wire_direct(disk->wire, slot, sh->op, (uint16_t)disk->dev.devid, sh->id,
				(req->offset + sh->at) / 512, segs, nr);
	}
	pvb_ring_front_put(&q->ring, slot);
	req->cursor += len;
	return req->cursor == req->length ? PUT_ALL : PUT_MORE;
}

static enum put put(struct pvf_queue *q, struct pvf_req *req)
{
	if (pvb_ring_front_free(&q->ring) == 0) {
		q->disk->stats.ring_full++;
		return PUT_WAIT;
	}
	if (req->op == PVF_DISCARD || req->op == PVF_SECURE_DISCARD)
		return put_discard(q, req);
	if (req->op == PVF_FLUSH || req->length == 0)
		return put_empty(q, req);
	return put_data(q, req);
}

void pvf_queue_issue(struct pvf_queue *q)
{
	struct pvf_list *l = &q->disk->lists[q->nr];
	enum put p;

	while (l->issue != NULL) {
		p = put(q, l->issue);
		if (p == PUT_WAIT)
			return;
		l->issue->pending++;
		q->disk->stats.slots++;
		if (p == PUT_ALL)
			l->issue = l->issue->next;
	}
}

void pvf_queue_push(struct pvf_queue *q)
{
	struct pvf_stats *stats = &q->disk->stats;

	if (q->ring.prod == q->ring.pushed)
		return;
	stats->pushes++;
	if (!pvb_ring_front_push(&q->ring))
		return;
	stats->notifies++;
	pvb_event_notify(q->event); /* fails when the back end is gone: the store will say so */
}

/* --- responses -------------------------------------------------------------------------------------- */

static void copy_back(struct pvf_queue *q, const struct pvf_shadow *sh)
{
	const uint16_t *pages = shadow_pages(q, sh);
	uint8_t *to = (uint8_t *)sh->req->data + sh->at;
	uint32_t done, n;

	for (done = 0; done < sh->len; done += n, pages++) {
		n = sh->len - done < PVB_PAGE_SIZE ? sh->len - done : PVB_PAGE_SIZE;
		memcpy(to + done, pool_page(q, *pages), n);
	}
}

static void piece_done(struct pvf_queue *q, struct pvf_shadow *sh, int rc)
{
	struct pvf_list *l = &q->disk->lists[q->nr];
	struct pvf_stats *stats = &q->disk->stats;
	struct pvf_req *req = sh->req;

	if (rc == 0 && sh->op == BLKIF_OP_READ) {
		stats->bytes_read += sh->len;
		if (sh->bounced)
			copy_back(q, sh);
	} else if (rc == 0) {
		stats->bytes_written += sh->len;
	}
	shadow_give(q, sh);
	req->pending--;
	if (rc != 0 && req->rc == 0)
		req->rc = rc;
	if (rc != 0 && l->issue == req)
		l->issue = req->next; /* the rest of it is of no use any more */
	if (req->pending > 0 || l->issue == req)
		return;
	pvf_list_del(l, req);
	if (req->rc != 0)
		stats->errors++;
	req->done(req, req->rc);
}

static int status_rc(int16_t status)
{
	return status == BLKIF_RSP_OKAY ? 0 : status == BLKIF_RSP_EOPNOTSUPP ? -EOPNOTSUPP : -EIO;
}

/* rsp is our copy.  Its id is a key to look up, nothing else. */
static int answer(struct pvf_queue *q, const struct pvf_rsp *rsp)
{
	uint32_t n = (uint32_t)rsp->id;
	struct pvf_shadow *sh = n < q->ring.nr_slots ? &q->shadow[n] : NULL;

	if (sh == NULL || sh->req == NULL || sh->id != rsp->id) {
		pvf_dev_dead(&q->disk->dev, "queue %u: response to id %#" PRIx64 ", which is not outstanding", q->nr,
			      rsp->id);
		return -EPROTO;
	}
	if (rsp->op != sh->op) {
		pvf_dev_dead(&q->disk->dev,
			     "queue %u: response to id %#" PRIx64 " says operation %u, the request was %u", q->nr,
			     rsp->id, rsp->op, sh->op);
		return -EPROTO;
	}
	if (rsp->status != BLKIF_RSP_OKAY && rsp->status != BLKIF_RSP_ERROR && rsp->status != BLKIF_RSP_EOPNOTSUPP) {
		pvf_dev_dead(&q->disk->dev, "queue %u: response to id %#" PRIx64 " has status %d, expected 0, -1 or -2",
			      q->nr, rsp->id, rsp->status);
		return -EPROTO;
	}
	piece_done(q, sh, status_rc(rsp->status));
	return 0;
}

static int lied(struct pvf_queue *q)
{
	pvf_dev_dead(&q->disk->dev, "queue %u: response producer %#x, %#x were read and %u requests are outstanding",
		     q->nr,
		      pvb_ring_load(&q->ring.sh->rsp_prod), q->ring.cons, q->ring.pushed - q->ring.cons);
	return -EPROTO;
}

int pvf_queue_poll(struct pvf_queue *q, uint32_t budget)
{
	struct pvf_disk *disk = q->disk;
	uint8_t raw[16];
	struct pvf_rsp rsp;
	uint32_t done = 0;
	int n;

	while (done < budget && !disk->dev.dead) {
		n = pvb_ring_front_avail(&q->ring);
		if (n < 0)
			return lied(q);
		if (n == 0)
			break;
		for (; n > 0 && done < budget; n--, done++) {
			pvb_ring_front_take(&q->ring, raw, disk->wire->rsp_size);
			pvf_wire_response(raw, &rsp);
			if (answer(q, &rsp) < 0)
				return -EPROTO;
			/* a back end that looks goes on with these while we see to the others */
			if (disk->opt.polled && done % EARLY == EARLY - 1)
				pvf_queue_push(q);
		}
		pvf_queue_issue(q);
		pvf_disk_kick(disk);
	}
	q->since_event += done;
	return (int)done;
}

static void go_on(void *arg);

/* Complete what there is, then ask for an event at the next response. */
static void drain(struct pvf_queue *q)
{
	struct pvf_disk *disk = q->disk;
	uint32_t done = 0, budget = 4 * q->ring.nr_slots;
	int n;

	do {
		n = pvf_queue_poll(q, budget - done);
		if (n < 0)
			return;
		done += (uint32_t)n;
		if (disk->opt.polled || done >= budget)
			break;
		n = pvb_ring_front_rearm(&q->ring);
		if (n < 0)
			lied(q);
	} while (n > 0);
	/* callers that submit from done() could keep us here for ever: let the others have a turn */
	if (done >= budget && !disk->opt.polled && q->again == NULL)
		pvb_loop_timer(disk->dev.guest->loop, 0, go_on, q, &q->again);
}

static void go_on(void *arg)
{
	struct pvf_queue *q = arg;

	if (q->disk->dev.phase == PVF_LIVE && !q->disk->dev.dead)
		drain(q);
}

bool pvf_queue_event(void *arg)
{
	struct pvf_queue *q = arg;
	struct pvf_disk *disk = q->disk;
	bool work;

	disk->stats.events++;
	if (pvf_dev_works(&disk->dev))
		drain(q);
	/* responses that were taken before their event was read are its work all the same */
	work = q->since_event > 0;
	q->since_event = 0;
	disk->stats.spurious += !work;
	return work;
}
