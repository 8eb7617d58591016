// SPDX-License-Identifier: GPL-2.0-or-later
/* One queue of a NIC: its pages, its events, and whose turn it is.  It never touches the store. */
#include <errno.h>
#include <string.h>
#include "nic-impl.h"

#define BUDGET (4 * NIC_SLOTS)
#define BATCH  (NIC_SLOTS / 4) /* received before the buffers are given back: a back end without buffers drops */

/* --- pages ------------------------------------------------------------------------------------------ */

/* Zeroed ring memory begins at 0; both ends go on from what the shared indices say. */
static void ring_new(struct pvb_ring *r, void *page, uint32_t slot_size, uint32_t first)
{
	pvb_ring_front_init(r, page, PVB_PAGE_SIZE, slot_size);
	r->cons = r->prod = r->pushed = first;
	r->sh->req_prod = r->sh->rsp_prod = first;
	r->sh->req_event = r->sh->rsp_event = first + 1;
}

static int pool_new(struct pvf_nicq *q, uint32_t want, struct pvb_grant *pool, const char *what, struct pvb_error *err)
{
	struct pvf_dev *dev = &q->nic->dev;
	int rc;

	for (;;) {
		rc = pvb_hv_grant(dev->guest->hv, dev->back_domid, want, true, pool);
		if (rc == 0)
			return 0;
		if (rc != -ENOSPC || want <= NIC_MIN_PAGES)
			return pvb_err(err, rc, "vif %u: queue %u: no %u pages to grant for what is %s", dev->devid,
				       q->nr, want, what);
		want = want / 2 > NIC_MIN_PAGES ? want / 2 : NIC_MIN_PAGES;
	}
}

int pvf_nicq_start(struct pvf_nicq *q, struct pvb_error *err)
{
	struct pvf_nic *nic = q->nic;
	struct pvf_dev *dev = &nic->dev;
	int rc;

	rc = pvb_hv_grant(dev->guest->hv, dev->back_domid, 2, true, &q->rings);
	if (rc < 0)
		return pvb_err(err, rc, "vif %u: queue %u: no 2 pages to grant for rings", dev->devid, q->nr);
	ring_new(&q->tx, q->rings.addr, sizeof(struct netif_tx_request), nic->first_index);
	ring_new(&q->rx, (uint8_t *)q->rings.addr + PVB_PAGE_SIZE, sizeof(struct netif_rx_request), nic->first_index);
	rc = pool_new(q, nic->opt.rx_pages, &q->rx_pool, "received", err);
	if (rc == 0)
		rc = pool_new(q, nic->opt.tx_pages, &q->tx_pool, "sent", err);
	if (rc == 0)
		rc = pvb_event_alloc(dev->guest->events, dev->back_domid, pvf_nicq_event, q, &q->rx_event);
	q->tx_event = q->rx_event;
	if (rc == 0 && nic->info.split) {
		q->tx_event = NULL;
		rc = pvb_event_alloc(dev->guest->events, dev->back_domid, pvf_nicq_event, q, &q->tx_event);
	}
	if (rc < 0)
		return err->code == rc ? rc : pvb_err(err, rc, "vif %u: queue %u: no event channel to domain %u",
						      dev->devid, q->nr, dev->back_domid);
	for (uint32_t i = 0; i < q->tx_pool.nr; i++) /* the lowest are used first, and again */
		q->free_tx[q->nr_free_tx++] = (uint16_t)(q->tx_pool.nr - 1 - i);
	for (uint32_t i = 0; i < q->rx_pool.nr; i++)
		q->free_rx[q->nr_free_rx++] = (uint16_t)(q->rx_pool.nr - 1 - i);
	pvf_nic_rx_post(q);
	pvb_ring_front_push(&q->rx);
	return 0;
}

void pvf_nicq_stop(struct pvf_nicq *q)
{
	pvb_source_free(&q->again);
	if (q->tx_event == q->rx_event)
		q->tx_event = NULL;
	pvb_event_free(&q->tx_event);
	pvb_event_free(&q->rx_event);
}

void pvf_nicq_free(struct pvf_nicq *q)
{
	struct pvb_hv *hv = q->nic->dev.guest->hv;
	struct pvb_grant *grants[] = { &q->rings, &q->tx_pool, &q->rx_pool };

	/* a page the back end did not let go of stays granted and is leaked: see pvb_hv_ungrant() */
	for (unsigned i = 0; i < sizeof(grants) / sizeof(grants[0]); i++) {
		if (grants[i]->nr != 0)
			pvb_hv_ungrant(hv, grants[i]);
		grants[i]->nr = 0;
	}
	q->nic->stats.tx_lost += q->tx_frames;
	q->tx_frames = 0;
}

/* --- pushes and polls ------------------------------------------------------------------------------- */

static void push_ring(struct pvf_nicq *q, struct pvb_ring *r, struct pvb_event *event)
{
	struct pvf_nic_stats *stats = &q->nic->stats;

	if (r->prod == r->pushed)
		return;
	stats->pushes++;
	if (!pvb_ring_front_push(r))
		return;
	stats->notifies++;
	if (event != NULL)
		pvb_event_notify(event); /* fails when the back end is gone: the store will say so */
}

void pvf_nicq_push(struct pvf_nicq *q)
{
	push_ring(q, &q->tx, q->tx_event);
	push_ring(q, &q->rx, q->rx_event);
}

int pvf_nic_rearm(struct pvb_ring *r, uint32_t ahead)
{
	pvb_ring_store(&r->sh->rsp_event, r->cons + (ahead > 0 ? ahead : 1));
	pvb_ring_mb(); /* event before index: see ring.h */
	return pvb_ring_front_avail(r);
}

/* After a refusal: is there room for whatever may come? */
static void offer_room(struct pvf_nicq *q)
{
	struct pvf_nic *nic = q->nic;

	if (!q->want_room || !pvf_nic_tx_room(q, nic->info.sg ? 17 : 1, 1))
		return;
	q->want_room = false;
	if (nic->opt.room == NULL)
		return;
	nic->in_callback++;
	nic->opt.room(nic->opt.arg, nic, q->nr);
	nic->in_callback--;
}

/* One look at both rings; what is there, or -EPROTO. */
static int poll_once(struct pvf_nicq *q, unsigned budget)
{
	int tx = pvf_nic_tx_poll(q), rx = tx < 0 ? tx : pvf_nic_rx_poll(q, budget);

	if (rx < 0)
		return rx;
	if (q->nr == 0)
		pvf_mcast_push(q->nic);
	q->since_event += (unsigned)(tx + rx);
	offer_room(q);
	return q->nic->dev.dead ? -EPROTO : tx + rx;
}

static void go_on(void *arg)
{
	struct pvf_nicq *q = arg;

	if (pvf_dev_works(&q->nic->dev))
		pvf_nicq_drain(q);
}

uint32_t pvf_nicq_drain(struct pvf_nicq *q)
{
	struct pvf_nic *nic = q->nic;
	uint32_t done = 0;
	int n, more = 0;

	do {
		n = poll_once(q, BATCH);
		if (n < 0)
			return done;
		done += (uint32_t)n;
		pvf_nicq_push(q); /* early, so that the back end goes on while we do */
		if (done >= BUDGET)
			break;
		more = n; /* there may well be more: no event yet */
		if (n >= (int)BATCH || nic->opt.polled)
			continue;
		n = pvf_nic_tx_rearm(q);
		more = n < 0 ? n : pvf_nic_rx_rearm(q);
		if (more < 0)
			return done;
		more += n;
	} while (more > 0);
	/* a back end that sends without end must not keep the others waiting */
	if (done >= BUDGET && !nic->opt.polled && q->again == NULL)
		pvb_loop_timer(nic->dev.guest->loop, 0, go_on, q, &q->again);
	pvf_nic_kick(nic);
	return done;
}

bool pvf_nicq_event(void *arg)
{
	struct pvf_nicq *q = arg;
	struct pvf_nic *nic = q->nic;
	bool work;

	nic->stats.events++;
	if (pvf_dev_works(&nic->dev))
		pvf_nicq_drain(q);
	/* responses that were taken to make room before their event was read are its work all the same */
	work = q->since_event > 0;
	q->since_event = 0;
	nic->stats.spurious += !work;
	return work;
}

int pvf_nic_poll(struct pvf_nic *nic, unsigned queue)
{
	struct pvf_nicq *q;
	int n;

	if (nic->dev.dead)
		return -EPROTO;
	if (!pvf_dev_works(&nic->dev) || nic->in_callback > 0)
		return 0;
	q = &nic->queues[queue % nic->nr_queues];
	n = poll_once(q, BUDGET);
	if (n > 0)
		pvf_nic_kick(nic);
	return n;
}
