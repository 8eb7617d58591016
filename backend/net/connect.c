// SPDX-License-Identifier: GPL-2.0-or-later
/* connect.c: the context of a worker, its NICs, and how their rings come and go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nif-impl.h"

#define RING_BYTES PVB_PAGE_SIZE

/* ---- the worker's ---------------------------------------------------------------------------------------------- */

int nif_ctx_new(struct nif_ctx **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop,
		size_t memory, const struct nif_callbacks *cb, void *arg)
{
	struct nif_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc;

	if (!ctx)
		return -ENOMEM;
	ctx->hv = hv;
	ctx->events = events;
	ctx->loop = loop;
	ctx->cb = *cb;
	ctx->arg = arg;
	rc = copy_new(ctx, memory);
	if (rc < 0) {
		nif_ctx_free(ctx);
		return rc;
	}
	*out = ctx;
	return 0;
}

void nif_ctx_free(struct nif_ctx *ctx)
{
	if (!ctx)
		return;
	pvb_source_free(&ctx->again);
	pvb_source_free(&ctx->tick);
	copy_free(ctx);
	free(ctx->queues);
	free(ctx);
}

struct pvb_loop *nif_ctx_loop(struct nif_ctx *ctx)
{
	return ctx->loop;
}

uint8_t *nif_ctx_area(struct nif_ctx *ctx, size_t *bytes)
{
	*bytes = NIF_PORT_AREA;
	return ctx->arena + ctx->arena_bytes - NIF_PORT_AREA;
}

/* ---- a NIC ------------------------------------------------------------------------------------------------------- */

int nif_new(struct nif **out, struct nif_ctx *ctx, const struct nif_config *cfg, struct port *port,
	    struct nif_stats *stats, void *owner)
{
	struct nif *nif = calloc(1, sizeof(*nif));

	if (!nif)
		return -ENOMEM;
	nif->ctx = ctx;
	nif->cfg = *cfg;
	nif->port = port;
	nif->stats = stats;
	nif->owner = owner;
	nif_set_rate(nif, &cfg->tx, &cfg->rx);
	rate_set(&nif->refusals, NIF_REFUSALS, 1000000, pvb_now_ns());
	for (struct port *p = port; p; p = p->below) {
		p->nif = nif;
		p->ctx = ctx;
	}
	if (ctx->nifs && ctx->nifs->cfg.domid != cfg->domid)
		ctx->many = true;
	nif->next = ctx->nifs;
	ctx->nifs = nif;
	*out = nif;
	return 0;
}

void *nif_owner(const struct nif *nif)
{
	return nif->owner;
}

const struct nif_config *nif_config(const struct nif *nif)
{
	return &nif->cfg;
}

bool nif_connected(const struct nif *nif)
{
	return nif->nr_queues != 0;
}

size_t nif_journal_bytes(void)
{
	return nifj_bytes();
}

void nif_free(struct nif *nif)
{
	struct nif **at;

	if (!nif)
		return;
	nif_disconnect(nif);
	for (at = &nif->ctx->nifs; *at != nif; at = &(*at)->next)
		;
	*at = nif->next;
	port_close(nif->port);
	free(nif);
}

void nif_set_rate(struct nif *nif, const struct nif_rate *tx, const struct nif_rate *rx)
{
	uint64_t now = pvb_now_ns();

	nif->cfg.tx = *tx;
	nif->cfg.rx = *rx;
	rate_set(&nif->tx_rate, tx->bytes, tx->usecs, now);
	rate_set(&nif->rx_rate, rx->bytes, rx->usecs, now);
	/* who waits for the old rate asks the new one */
	pvb_source_free(&nif->throttle);
	for (unsigned i = 0; i < nif->nr_queues; i++)
		nif->queues[i].tx.throttled = false;
	if (nif->nr_queues)
		nif_again(nif->ctx);
}

static void tell_port(struct nif *nif)
{
	const struct nif_connect *c = &nif->c;
	struct port_offers offers = { .queues = c->nr_queues, .csum4 = c->csum4, .csum6 = c->csum6, .gso4 = c->gso4,
				      .gso6 = c->gso6, .sg = c->sg, .again = nif->queues[0].again };

	port_connected(nif->port, &offers);
}

void nif_ctx_poll(struct nif_ctx *ctx, struct poll *poll)
{
	ctx->poll = poll;
}

void nif_set_multicast_control(struct nif *nif, bool on)
{
	if (nif->nr_queues == 0)
		return;
	nifj_state_begin(nif->queues[0].j)->mcast_on = on;
	nifj_state_end(nif->queues[0].j);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void count_events(struct nif_queue *q)
{
	const struct pvb_event_stats *t = pvb_event_stats(q->tx.event);
	const struct pvb_event_stats *r = q->rx.event ? pvb_event_stats(q->rx.event) : NULL;

	__atomic_store_n(&q->stats->event_received, t->received + (r ? r->received : 0), __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats->event_spurious, t->spurious + (r ? r->spurious : 0), __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats->event_delayed, t->delayed + (r ? r->delayed : 0), __ATOMIC_RELAXED);
}

/* A request that a pass took before its event was read is work all the same. */
static bool tx_event(struct nif_queue *q)
{
	bool work = q->tx.since_event != 0 || pvb_ring_back_avail(&q->tx.ring) > (int)q->tx.partial;

	q->tx.since_event = 0;
	q->tx.ready = true;
	return work;
}

static bool rx_event(struct nif_queue *q)
{
	uint32_t prod = pvb_ring_load(&q->rx.ring.sh->req_prod);
	bool work = prod != q->rx.heard;

	q->rx.heard = prod;
	q->rx.ready = true;
	return work;
}

static bool on_tx_event(void *arg)
{
	struct nif_queue *q = arg;
	bool work = false;

	count_events(q);
	if (!q->nif->broken) /* a ring that lied is not looked at again: its events are without work */
		work = tx_event(q);
	if (!q->nif->broken && !q->rx.event)
		work |= rx_event(q);
	return work;
}

static bool on_rx_event(void *arg)
{
	struct nif_queue *q = arg;

	count_events(q);
	return !q->nif->broken && rx_event(q);
}

static bool on_ctrl_event(void *arg)
{
	struct nif *nif = arg;

	if (nif->broken)
		return false;
	nif->ctrl.ready = true;
	return pvb_ring_back_avail(&nif->ctrl.ring) != 0;
}

static int bind_port(struct nif *nif, uint32_t port, bool (*fn)(void *arg), void *arg, struct pvb_event **event,
		     struct pvb_error *err)
{
	int rc = pvb_event_bind(nif->ctx->events, nif->cfg.domid, port, fn, arg, event);

	return rc < 0 ? pvb_err(err, rc, "event channel %u: %s", port, strerror(-rc)) : 0;
}

/* ---- rings ------------------------------------------------------------------------------------------------------- */

static int map_ring(struct nif *nif, uint32_t ref, uint32_t slot_size, const char *what, struct pvb_map *map,
		    struct pvb_ring *ring, struct pvb_error *err)
{
	struct pvb_ring_shared *sh;
	uint32_t prod, req;
	int rc;

	rc = pvb_hv_map(nif->ctx->hv, nif->cfg.domid, &ref, 1, true, map);
	if (rc < 0)
		return pvb_err(err, rc, "%s ring, grant %u: %s", what, ref, strerror(-rc));
	/* a ring that was in use and drained goes on where it stopped; a new one says 0 */
	sh = map->addr;
	prod = pvb_ring_load(&sh->rsp_prod);
	req = pvb_ring_load(&sh->req_prod);
	pvb_ring_attach(ring, sh, RING_BYTES, slot_size, prod, prod);
	if (req - prod > ring->nr_slots)
		return pvb_err(err, -EPROTO, "the %s ring begins with %u requests, it has %u slots", what, req - prod,
			       ring->nr_slots);
	return 0;
}

/* One of Oracle's pools.  Only a shortcut: what can not be had is done without, and said. */
static void add_pool(struct nif_queue *q, const char *what, uint32_t ref, uint32_t size)
{
	struct xen_netif_gref list[NIF_MAX_GREFS];
	struct nif *nif = q->nif;
	struct pvb_copy op = { .src = { .ref = ref, .domid = (uint16_t)nif->cfg.domid },
			       .dst = { .local = list },
			       .status = 1 };
	uint32_t bad = 0;
	int rc;

	if (size == 0)
		return;
	if (size > NIF_MAX_GREFS) {
		nif_refused(nif, "queue %u: %s pool of %u pages, at most %u: not used", q->id, what, size,
			    NIF_MAX_GREFS);
		return;
	}
	op.len = (uint16_t)(size * sizeof(list[0]));
	(void)pvb_hv_copy(nif->ctx->hv, &op, 1);
	if (op.status != 0) {
		nif_refused(nif, "queue %u: %s pool, grant %u: copy failed with status %d: not used", q->id, what, ref,
			    op.status);
		return;
	}
	rc = gref_add(q, list, size, NIFJ_GREFS, gref_count(q->grefs), &bad);
	if (rc < 0)
		nif_refused(nif, "queue %u: %s pool of %u, grant %u: %s: not used", q->id, what, size, bad,
			    strerror(-rc));
}

/* Once a connection: what the guest has taken out since must not come back with another worker, and it may use the lists'
 * pages for something else. */
static void read_pools(struct nif_queue *q)
{
	const struct nif_connect *c = &q->nif->c;

	if (q->j->pools_read)
		return;
	add_pool(q, "tx", c->queue[q->id].tx_pool_ref, c->queue[q->id].tx_pool_size);
	add_pool(q, "rx", c->queue[q->id].rx_pool_ref, c->queue[q->id].rx_pool_size);
	__atomic_store_n(&q->j->pools_read, 1, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nif_pools_read);
}

static int ring_go_on(struct nif_journal *j, enum nifj_dir dir, struct pvb_ring *r, struct pvb_error *err)
{
	struct nifj_recovery found;
	int rc = nifj_recover(j, dir, pvb_ring_load(&r->sh->rsp_prod), &found, err);

	if (rc < 0)
		return rc;
	r->prod = r->pushed = found.put_from;
	nifj_push(j, dir, r, found.put_to); /* the event comes when all is ready */
	r->cons = found.cons;
	if (dir != NIFJ_CTRL) /* what was taken there is not read again */
		nifj_taken(j, dir, r->cons);
	return 0;
}

/* Another process served this queue and died: its journal says how far it was. */
static int go_on(struct nif_queue *q, struct nif_journal *j, struct pvb_error *err)
{
	int rc = nifj_open(j, nif_journal_bytes(), err);

	if (rc == 0)
		rc = ring_go_on(j, NIFJ_TX, &q->tx.ring, err);
	if (rc == 0)
		rc = ring_go_on(j, NIFJ_RX, &q->rx.ring, err);
	if (rc == 0 && q->id == 0 && q->nif->c.ctrl)
		rc = ring_go_on(j, NIFJ_CTRL, &q->nif->ctrl.ring, err);
	if (rc < 0)
		return rc;
	PVB_CRASH_POINT(nif_rings_gone_on);
	q->j = j;
	q->again = true;
	gref_restore(q);
	return 0;
}

static int queue_connect(struct nif_queue *q, void *journal, struct pvb_error *err)
{
	struct nif *nif = q->nif;
	const struct nif_connect *c = &nif->c;
	uint32_t tx_port = c->queue[q->id].tx_port, rx_port = c->queue[q->id].rx_port;
	int rc;

	q->tx.pkt = calloc(NIF_BUDGET, sizeof(*q->tx.pkt));
	if (!q->tx.pkt)
		return pvb_err(err, -ENOMEM, "no memory");
	rc = map_ring(nif, c->queue[q->id].tx_ref, sizeof(struct netif_tx_request), "TX", &q->tx.map, &q->tx.ring, err);
	if (rc == 0)
		rc = map_ring(nif, c->queue[q->id].rx_ref, sizeof(struct netif_rx_request), "RX", &q->rx.map,
			      &q->rx.ring, err);
	if (rc < 0)
		return rc;
	if (((struct nif_journal *)journal)->magic != 0)
		rc = go_on(q, journal, err);
	else
		nifj_init(journal, nif->generation, q->tx.ring.cons, q->rx.ring.cons, nif->ctrl.ring.cons);
	if (rc < 0)
		return rc;
	q->j = journal;
	q->rx.heard = q->rx.ring.cons;
	rc = bind_port(nif, tx_port, on_tx_event, q, &q->tx.event, err);
	if (rc == 0 && rx_port != tx_port)
		rc = bind_port(nif, rx_port, on_rx_event, q, &q->rx.event, err);
	if (rc < 0)
		return rc;
	q->tx.ready = q->rx.ready = true;
	return 0;
}

static int ctrl_map(struct nif *nif, struct pvb_error *err)
{
	return map_ring(nif, nif->c.ctrl_ref, sizeof(struct xen_netif_ctrl_request), "control", &nif->ctrl.map,
			&nif->ctrl.ring, err);
}

static int ctrl_bind(struct nif *nif, struct pvb_error *err)
{
	int rc = bind_port(nif, nif->c.ctrl_port, on_ctrl_event, nif, &nif->ctrl.event, err);

	nif->ctrl.ready = rc == 0;
	return rc;
}

/* The list of queues of all NICs, which passes go through. */
static void relist(struct nif_ctx *ctx)
{
	unsigned n = 0;

	for (struct nif *nif = ctx->nifs; nif; nif = nif->next)
		for (unsigned i = 0; i < nif->nr_queues; i++)
			ctx->queues[n++] = &nif->queues[i];
	ctx->nr_queues = n;
	ctx->turn = 0;
}

static int make_room(struct nif_ctx *ctx, unsigned more)
{
	struct nif_queue **list = realloc(ctx->queues, (ctx->nr_queues + more) * sizeof(struct nif_queue *));

	if (!list)
		return -ENOMEM;
	ctx->queues = list;
	return 0;
}

static void queue_free(struct nif_queue *q)
{
	struct pvb_hv *hv = q->nif->ctx->hv;

	pvb_event_free(&q->tx.event); /* first: nothing may call in while the rest goes */
	pvb_event_free(&q->rx.event);
	gref_free(q);
	pvb_hv_unmap(hv, &q->tx.map);
	pvb_hv_unmap(hv, &q->rx.map);
	free(q->tx.pkt);
}

/* Fine on what is half there. */
static void all_free(struct nif *nif)
{
	pvb_source_free(&nif->throttle);
	pvb_event_free(&nif->ctrl.event);
	pvb_hv_unmap(nif->ctx->hv, &nif->ctrl.map);
	for (unsigned i = 0; nif->queues && i < nif->c.nr_queues; i++)
		queue_free(&nif->queues[i]);
	free(nif->queues);
	nif->queues = NULL;
	nif->nr_queues = 0;
	nif->ctrl.ready = false;
	nif->hash.on = false;
}

static int connect_all(struct nif *nif, void *const *journals, struct pvb_error *err)
{
	const struct nif_connect *c = &nif->c;
	int rc = 0;

	nif->queues = calloc(c->nr_queues, sizeof(*nif->queues));
	if (!nif->queues || make_room(nif->ctx, c->nr_queues) < 0)
		return pvb_err(err, -ENOMEM, "no memory for %u queues", c->nr_queues);
	for (unsigned i = 0; i < c->nr_queues; i++) {
		nif->queues[i].nif = nif;
		nif->queues[i].id = i;
		nif->queues[i].stats = &nif->stats->queue[i];
	}
	if (c->ctrl) /* first: queue 0's journal is the control ring's, too */
		rc = ctrl_map(nif, err);
	for (unsigned i = 0; i < c->nr_queues && rc == 0; i++) {
		rc = queue_connect(&nif->queues[i], journals[i], err);
		if (rc < 0)
			pvb_err_prefix(err, rc, "queue %u", i);
	}
	if (rc == 0 && c->ctrl)
		rc = ctrl_bind(nif, err);
	return rc;
}

/* Who died may have shown responses without the event. */
static void tell_front(struct nif_queue *q)
{
	if (!q->again)
		return;
	PVB_CRASH_POINT(nif_went_on);
	pvb_event_notify(q->tx.event);
	if (q->rx.event)
		pvb_event_notify(q->rx.event);
	PVB_CRASH_POINT(nif_told_front);
}

int nif_connect(struct nif *nif, const struct nif_connect *c, void *const *journals, struct pvb_error *err)
{
	int rc;

	if (c->nr_queues == 0 || c->nr_queues > NIF_MAX_QUEUES)
		return pvb_err(err, -EINVAL, "%u queues, 1 to %u", c->nr_queues, NIF_MAX_QUEUES);
	if (nif->nr_queues)
		return pvb_err(err, -EISCONN, "connected already");
	nif->c = *c;
	nif->broken = false;
	nif->generation++;
	nif->ctx->now = pvb_now_ns();
	rc = connect_all(nif, journals, err);
	if (rc < 0) {
		all_free(nif);
		return rc;
	}
	nif->nr_queues = c->nr_queues;
	for (unsigned i = 0; nif->cfg.gref_tables && i < c->nr_queues; i++)
		read_pools(&nif->queues[i]);
	nif_set_multicast_control(nif, c->multicast_control);
	hash_setup(nif);
	nif->stats->nr_queues = c->nr_queues;
	relist(nif->ctx);
	tell_port(nif);
	nif_run(nif->ctx); /* stock front ends may have queued before we came */
	for (unsigned i = 0; i < nif->nr_queues; i++)
		tell_front(&nif->queues[i]);
	if (nif->ctrl.event && nif->queues[0].again)
		pvb_event_notify(nif->ctrl.event);
	return 0;
}

void nif_disconnect(struct nif *nif)
{
	if (nif->nr_queues == 0)
		return;
	nif_ctx_flush(nif->ctx); /* what others have sent here may still point into what goes now */
	port_connected(nif->port, NULL);
	all_free(nif);
	relist(nif->ctx);
	nif_ctx_retry(nif->ctx); /* who waited for this guest need not */
}
