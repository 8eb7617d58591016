// SPDX-License-Identifier: GPL-2.0-or-later
/* See net-rig.h. */
#include "unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "backend/net/packet.h"
#include "net-rig.h"

#define GUEST_PAGES 8192
#define LOW_PAGES 16

/* ---- what the protocol reports ------------------------------------------------------------------------------- */

static void on_broken(void *arg, struct nif *nif, const char *why)
{
	struct rnic *n = nif_owner(nif);

	snprintf(n->broken, sizeof(n->broken), "%s", why);
	n->nr_broken++;
}

static void on_refused(void *arg, struct nif *nif, const char *why, uint64_t more)
{
	struct rnic *n = nif_owner(nif);

	snprintf(n->refused, sizeof(n->refused), "%s", why);
	n->nr_refused++;
	n->nr_untold += more;
	if (n->hear_all)
		nif->last_refusal = 0;
}

static void on_stalled(void *arg, struct nif *nif, bool stalled)
{
	struct rnic *n = nif_owner(nif);

	n->stalled = stalled;
	n->nr_stalled++;
}

static void after_events(void *arg)
{
	nif_run(((struct rig *)arg)->ctx);
}

/* ---- a port ---------------------------------------------------------------------------------------------------- */

static void keep(struct rport *p, const struct frame *f)
{
	struct rgot *g = p->kept;
	uint32_t at = 0;

	memset(g, 0, sizeof(*g));
	g->len = f->len;
	g->csum_blank = f->csum_blank;
	g->csum_valid = f->csum_valid;
	g->gso = f->gso;
	g->gso_size = f->gso_size;
	g->slots = f->nr_segs;
	for (unsigned i = 0; i < f->nr_segs; i++) {
		const struct frame_seg *s = &f->seg[i];

		if (s->local)
			memcpy(g->data + at, s->local, s->len);
		else
			g->granted = true;
		at += s->len;
	}
	assert_int_equal(at, f->len);
	assert_true(f->hdr_len == f->len || f->hdr_len >= FRAME_HDR);
	memcpy(g->data, f->hdr, f->hdr_len);
	p->nr_kept++;
}

static void p_xmit(struct port *port, struct frame **frames, unsigned nr)
{
	struct rport *p = (struct rport *)port;
	bool holding = false;

	assert_true(nr > 0 && nr <= NIF_BUDGET);
	p->nr_xmit++;
	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frames[i];

		assert_int_equal(f->verdict, FRAME_PENDING);
		p->nr_frames++;
		if (holding) {
			f->verdict = FRAME_HELD;
			continue;
		}
		switch (p->does) {
		case RPORT_KEEPS:
			keep(p, f);
			f->verdict = FRAME_SENT;
			break;
		case RPORT_REFLECTS:
			f->verdict = port_deliver(port, f->queue, f);
			break;
		case RPORT_FORWARDS:
			f->verdict = port_deliver(&p->to->port.port, f->queue, f);
			break;
		case RPORT_HOLDS:
			f->verdict = p->hold_after > 0 ? FRAME_SENT : FRAME_HELD;
			p->hold_after -= p->hold_after > 0;
			break;
		default:
			f->verdict = FRAME_DROPPED;
		}
		holding = f->verdict == FRAME_HELD;
	}
}

static void p_connected(struct port *port, const struct port_offers *offers)
{
	struct rport *p = (struct rport *)port;

	p->connected = offers != NULL;
	if (offers)
		p->offers = *offers;
}

static void p_room(struct port *port, unsigned queue)
{
	((struct rport *)port)->nr_room++;
	nif_ctx_retry(port->ctx);
}

static void p_flush(struct port *port)
{
	((struct rport *)port)->nr_flush++;
}

static void p_carrier(struct port *port, bool up)
{
	((struct rport *)port)->nr_carrier++;
}

static void p_close(struct port *port)
{
}

static const struct port_ops rport_ops = {
	.name = "rig", .xmit = p_xmit, .connected = p_connected, .room = p_room, .flush = p_flush,
	.carrier = p_carrier, .close = p_close,
};

enum frame_verdict rport_deliver(struct rnic *n, unsigned queue, struct frame *f)
{
	enum frame_verdict v = port_deliver(&n->port.port, queue, f);

	nif_ctx_flush(n->rig->ctx);
	return v;
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

void rig_new_with(struct rig *r, size_t memory)
{
	static const struct nif_callbacks cb = { on_broken, on_refused, on_stalled };
	struct pvb_error err = { 0 };
	char spec[80];

	memset(r, 0, sizeof(*r));
	r->seed = 1;
	snprintf(r->dir, sizeof(r->dir), "/tmp/pvb-net.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	if (pvb_fabric_start(&r->fabric, r->dir, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(spec, sizeof(spec), "local:%s", r->dir);
	if (pvb_hv_open(&r->hv, spec, PVB_HV_BACK | PVB_HV_GUARD, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pvb_loop_new(&r->loop), 0);
	assert_int_equal(pvb_events_new(&r->events, r->hv, r->loop, after_events, r), 0);
	assert_int_equal(nif_ctx_new(&r->ctx, r->hv, r->events, r->loop, memory, &cb, r), 0);
	rnic_connect(r, &r->good, &(struct rnic_options){ .tx_pages = 8 });
}

void rig_new(struct rig *r)
{
	rig_new_with(r, 4 << 20);
}

void rig_free(struct rig *r)
{
	const struct pvb_hv_live *live = pvb_hv_live(r->hv);
	struct pvb_local_stats st;
	struct pvb_error err;

	honest(r);
	rnic_free(&r->good);
	assert_int_equal(live->maps, 0);
	assert_int_equal(live->map_pages, 0);
	assert_int_equal(live->ports, 0);
	nif_ctx_free(r->ctx);
	pvb_events_free(r->events);
	pvb_loop_free(r->loop);
	pvb_hv_close(r->hv);
	assert_int_equal(pvb_local_stats(r->dir, &st, &err), 0);
	assert_int_equal(st.stuck, 0);
	assert_int_equal(st.domains, 0);
	pvb_fabric_stop(r->fabric);
	rmdir(r->dir);
}

void rnic_new(struct rig *r, struct rnic *n, const struct rnic_options *opt)
{
	struct nif_config cfg = { .mtu = 1500, .gref_tables = true, .mac = { 0, 0x16, 0x3e, 0, 0, 1 } };
	struct pvb_error err = { 0 };
	char spec[80];

	memset(n, 0, sizeof(*n));
	n->rig = r;
	n->opt = *opt;
	n->start = RIG_START;
	n->hear_all = true;
	n->nr_queues = opt->queues ? opt->queues : 1;
	if (pvb_local_domain_create(r->dir, "guest", GUEST_PAGES, &n->domid, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(spec, sizeof(spec), "local:%s:%u", r->dir, n->domid);
	if (pvb_hv_open(&n->hv, spec, PVB_HV_FRONT, &err) < 0)
		fail_msg("%s", err.text);
	if (opt->cfg)
		cfg = *opt->cfg;
	cfg.domid = n->domid;
	n->port = (struct rport){ .port = { .ops = &rport_ops, .whole = opt->whole }, .nic = n,
				  .does = n == &r->good ? RPORT_REFLECTS : RPORT_KEEPS };
	n->port.kept = calloc(1, sizeof(*n->port.kept));
	assert_non_null(n->port.kept);
	assert_int_equal(nif_new(&n->nif, r->ctx, &cfg, &n->port.port, &n->stats, n), 0);
	assert_ptr_equal(n->port.port.nif, n->nif);
}

static void ring_new(struct rnic *n, struct rring *r, bool with_port)
{
	int port;

	assert_int_equal(pvb_hv_grant(n->hv, 0, 1, true, &r->grant), 0);
	r->sh = r->grant.addr;
	r->slots = (uint8_t *)(r->sh + 1);
	memset(r->slots, 0xa5, PVB_PAGE_SIZE - sizeof(*r->sh));
	r->prod = r->cons = r->sh->req_prod = r->sh->rsp_prod = n->start;
	r->sh->req_event = r->sh->rsp_event = n->start + 1;
	r->port = UINT32_MAX;
	if (!with_port)
		return;
	port = pvb_hv_evt_alloc(n->hv, 0);
	assert_true(port >= 0);
	r->port = (uint32_t)port;
}

static void ring_drop(struct rnic *n, struct rring *r)
{
	if (r->grant.nr && r->port != UINT32_MAX)
		pvb_hv_evt_unbind(n->hv, r->port);
	assert_int_equal(pvb_hv_ungrant(n->hv, &r->grant), 0);
	memset(r, 0, sizeof(*r));
}

static void pools(struct rnic *n, struct rqueue *q, unsigned first_page)
{
	struct xen_netif_gref *list;

	assert_int_equal(pvb_hv_grant(n->hv, 0, 2, true, &q->pool), 0);
	list = q->pool.addr;
	for (unsigned i = 0; i < n->opt.pool; i++) {
		list[i].ref = n->data.refs[first_page + i];
		list[NIF_MAX_GREFS + i].ref = q->buffers.refs[i];
	}
}

void rnic_rings(struct rnic *n)
{
	unsigned pages = n->opt.tx_pages ? n->opt.tx_pages : 64;

	assert_int_equal(pvb_hv_grant(n->hv, 0, pages, true, &n->data), 0);
	for (unsigned i = 0; i < n->nr_queues; i++) {
		struct rqueue *q = &n->q[i];

		ring_new(n, &q->tx, true);
		ring_new(n, &q->rx, !n->opt.shared_event);
		if (n->opt.shared_event)
			q->rx.port = UINT32_MAX;
		assert_int_equal(pvb_hv_grant(n->hv, 0, NIF_RING_SLOTS, true, &q->buffers), 0);
		memset(q->buffers.addr, 0xa5, (size_t)NIF_RING_SLOTS * PVB_PAGE_SIZE);
		if (n->opt.pool)
			pools(n, q, 0);
	}
	if (n->opt.ctrl)
		ring_new(n, &n->ctrl, true);
}

void rnic_describe(struct rnic *n, struct nif_connect *c)
{
	*c = (struct nif_connect){ .nr_queues = n->nr_queues,
				   .rx_notify = !n->opt.no_rx_notify,
				   .sg = !n->opt.no_sg,
				   .gso4 = !n->opt.no_gso,
				   .gso6 = !n->opt.no_gso,
				   .csum4 = !n->opt.no_csum,
				   .csum6 = !n->opt.no_csum,
				   .multicast_control = n->opt.multicast,
				   .ctrl = n->opt.ctrl };
	for (unsigned i = 0; i < n->nr_queues; i++) {
		struct rqueue *q = &n->q[i];

		c->queue[i].tx_ref = q->tx.grant.refs[0];
		c->queue[i].rx_ref = q->rx.grant.refs[0];
		c->queue[i].tx_port = q->tx.port;
		c->queue[i].rx_port = n->opt.shared_event ? q->tx.port : q->rx.port;
		if (n->opt.pool) {
			c->queue[i].tx_pool_ref = q->pool.refs[0];
			c->queue[i].rx_pool_ref = q->pool.refs[1];
			c->queue[i].tx_pool_size = c->queue[i].rx_pool_size = n->opt.pool;
		}
	}
	if (n->opt.ctrl) {
		c->ctrl_ref = n->ctrl.grant.refs[0];
		c->ctrl_port = n->ctrl.port;
	}
}

int rnic_attach(struct rnic *n, const struct nif_connect *c, struct pvb_error *err)
{
	n->nr_broken = n->nr_refused = 0;
	n->broken[0] = n->refused[0] = '\0';
	for (unsigned i = 0; i < n->nr_queues; i++) {
		free(n->journals[i]);
		n->journals[i] = aligned_alloc(PVB_PAGE_SIZE, nif_journal_bytes());
		assert_non_null(n->journals[i]);
		memset(n->journals[i], 0, nif_journal_bytes());
	}
	return nif_connect(n->nif, c, n->journals, err);
}

void rnic_connect(struct rig *r, struct rnic *n, const struct rnic_options *opt)
{
	struct pvb_error err = { 0 };
	struct nif_connect c;

	rnic_new(r, n, opt);
	rnic_rings(n);
	rnic_describe(n, &c);
	if (rnic_attach(n, &c, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(n->port.connected);
	for (unsigned i = 0; i < n->nr_queues; i++)
		rnic_post(n, i, NIF_RING_SLOTS);
}

void rnic_disconnect(struct rnic *n)
{
	nif_disconnect(n->nif);
	assert_false(n->port.connected);
	for (unsigned i = 0; i < n->nr_queues; i++) {
		struct rqueue *q = &n->q[i];

		ring_drop(n, &q->tx);
		ring_drop(n, &q->rx);
		assert_int_equal(pvb_hv_ungrant(n->hv, &q->buffers), 0);
		assert_int_equal(pvb_hv_ungrant(n->hv, &q->pool), 0);
	}
	ring_drop(n, &n->ctrl);
	assert_int_equal(pvb_hv_ungrant(n->hv, &n->data), 0);
}

void rnic_free(struct rnic *n)
{
	struct pvb_error err;

	rnic_disconnect(n);
	nif_free(n->nif);
	pvb_hv_close(n->hv);
	assert_int_equal(pvb_local_domain_destroy(n->rig->dir, n->domid, &err), 0);
	for (unsigned i = 0; i < NIF_MAX_QUEUES; i++)
		free(n->journals[i]);
	free(n->port.kept);
}

void rig_pump(struct rig *r, int timeout_ms)
{
	assert_true(pvb_loop_once(r->loop, timeout_ms) >= 0);
}

/* ---- TX ---------------------------------------------------------------------------------------------------------- */

uint8_t *rnic_page(struct rnic *n, unsigned page)
{
	assert_true(page < n->data.nr);
	return (uint8_t *)n->data.addr + (size_t)page * PVB_PAGE_SIZE;
}

uint32_t rnic_gref(struct rnic *n, unsigned page)
{
	assert_true(page < n->data.nr);
	return n->data.refs[page];
}

void rnic_put_raw(struct rnic *n, unsigned q, const void *slot)
{
	struct rring *r = &n->q[q].tx;

	memcpy(r->slots + (r->prod++ & (NIF_RING_SLOTS - 1)) * 12, slot, 12);
}

uint16_t rnic_put(struct rnic *n, unsigned q, unsigned page, unsigned offset, unsigned size, unsigned flags)
{
	struct netif_tx_request req = { rnic_gref(n, page), (uint16_t)offset, (uint16_t)flags, n->next_id++,
					(uint16_t)size };

	rnic_put_raw(n, q, &req);
	return req.id;
}

void rnic_put_gso(struct rnic *n, unsigned q, unsigned type, unsigned size, bool more)
{
	uint8_t slot[12] = { 0 };
	struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO, .flags = more ? XEN_NETIF_EXTRA_FLAG_MORE : 0 };

	x.u.gso.type = (uint8_t)type;
	x.u.gso.size = (uint16_t)size;
	memcpy(slot, &x, sizeof(x));
	rnic_put_raw(n, q, slot);
}

void rnic_put_mcast(struct rnic *n, unsigned q, const uint8_t *mac, bool add)
{
	uint8_t slot[12] = { 0 };
	struct netif_extra_info x = { .type = add ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD : XEN_NETIF_EXTRA_TYPE_MCAST_DEL };

	rnic_put(n, q, 0, 0, 0, NETTXF_extra_info);
	memcpy(x.u.mcast.addr, mac, 6);
	memcpy(slot, &x, sizeof(x));
	rnic_put_raw(n, q, slot);
}

void rnic_push(struct rnic *n, unsigned q)
{
	struct rring *r = &n->q[q].tx;

	__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE);
	pvb_hv_evt_notify(n->hv, r->port);
}

unsigned rnic_tx_unread(struct rnic *n, unsigned q)
{
	struct rring *r = &n->q[q].tx;

	return __atomic_load_n(&r->sh->rsp_prod, __ATOMIC_ACQUIRE) - r->cons;
}

void rnic_tx_await(struct rnic *n, unsigned q, unsigned nr)
{
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;

	while (rnic_tx_unread(n, q) < nr) {
		if (pvb_now_ms() > until)
			fail_msg("%u answers of %u (broken: %s; refused: %s)", rnic_tx_unread(n, q), nr, n->broken,
				 n->refused);
		rig_pump(n->rig, 10);
	}
}

int rnic_tx_status(struct rnic *n, unsigned q, uint16_t *id)
{
	struct rring *r = &n->q[q].tx;
	const uint8_t *slot = r->slots + (r->cons++ & (NIF_RING_SLOTS - 1)) * 12;
	struct netif_tx_response rsp;

	memcpy(&rsp, slot, sizeof(rsp));
	for (unsigned i = sizeof(rsp); i < 12; i++)
		assert_int_equal(slot[i], 0);
	if (id)
		*id = rsp.id;
	return rsp.status;
}

int rnic_send(struct rnic *n, unsigned q, const void *data, unsigned len, const unsigned *pieces, unsigned flags,
	      unsigned gso_type, unsigned gso_size)
{
	uint16_t ids[64], id;
	unsigned nr = 0, at = 0, size;
	int status = 0;

	if (gso_type)
		flags |= NETTXF_extra_info;
	do {
		size = pieces ? pieces[nr] : len - at < PVB_PAGE_SIZE ? len - at : PVB_PAGE_SIZE;
		memcpy(rnic_page(n, nr), (const uint8_t *)data + at, size);
		at += size;
		ids[nr] = rnic_put(n, q, nr, 0, nr == 0 ? len : size,
				   (nr == 0 ? flags : 0) | (at < len ? NETTXF_more_data : 0));
		if (nr == 0 && gso_type)
			rnic_put_gso(n, q, gso_type, gso_size, false);
		nr++;
	} while (at < len);
	assert_int_equal(at, len);
	rnic_push(n, q);
	rnic_tx_await(n, q, nr + (gso_type != 0));
	for (unsigned i = 0; i < nr; i++) {
		int s = rnic_tx_status(n, q, &id);

		assert_int_equal(id, ids[i]);
		assert_true(i == 0 || s == status);
		status = s;
		if (i == 0 && gso_type)
			assert_int_equal(rnic_tx_status(n, q, NULL), NETIF_RSP_NULL);
	}
	assert_int_equal(rnic_tx_unread(n, q), 0);
	return status;
}

/* ---- RX ---------------------------------------------------------------------------------------------------------- */

void rnic_post(struct rnic *n, unsigned q, unsigned nr)
{
	struct rring *r = &n->q[q].rx;

	for (unsigned i = 0; i < nr; i++, r->prod++) {
		uint32_t at = r->prod & (NIF_RING_SLOTS - 1);
		struct netif_rx_request req = { .id = (uint16_t)at, .gref = n->q[q].buffers.refs[at] };

		memcpy(r->slots + at * 8, &req, sizeof(req));
	}
	__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE);
	if (!n->opt.no_rx_notify)
		pvb_hv_evt_notify(n->hv, n->opt.shared_event ? n->q[q].tx.port : r->port);
}

unsigned rnic_rx_unread(struct rnic *n, unsigned q)
{
	struct rring *r = &n->q[q].rx;

	return __atomic_load_n(&r->sh->rsp_prod, __ATOMIC_ACQUIRE) - r->cons;
}

static const uint8_t *rx_slot(struct rnic *n, unsigned q)
{
	assert_true(rnic_rx_unread(n, q) > 0); /* whole frames are published */
	return n->q[q].rx.slots + (n->q[q].rx.cons++ & (NIF_RING_SLOTS - 1)) * 8;
}

static void rx_extra(struct rnic *n, unsigned q, struct rgot *g, bool *more)
{
	struct netif_extra_info x;

	memcpy(&x, rx_slot(n, q), sizeof(x));
	g->extras++;
	*more = x.flags & XEN_NETIF_EXTRA_FLAG_MORE;
	if (x.type == XEN_NETIF_EXTRA_TYPE_GSO) {
		g->gso = x.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV4 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
		g->gso_size = x.u.gso.size;
		return;
	}
	assert_int_equal(x.type, XEN_NETIF_EXTRA_TYPE_HASH);
	assert_int_equal(x.u.hash.algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ);
	g->hashed = true;
	g->hash_type = x.u.hash.type;
	memcpy(&g->hash, x.u.hash.value, 4);
}

bool rnic_receive(struct rnic *n, unsigned q, struct rgot *g)
{
	struct netif_rx_response rsp;
	bool more = true, extra;

	if (rnic_rx_unread(n, q) == 0)
		return false;
	memset(g, 0, offsetof(struct rgot, data));
	while (more) {
		uint32_t at = n->q[q].rx.cons & (NIF_RING_SLOTS - 1);

		memcpy(&rsp, rx_slot(n, q), sizeof(rsp));
		assert_int_equal(rsp.id, at); /* same slot, as Windows insists */
		more = rsp.flags & NETRXF_more_data;
		extra = g->slots == 0 && (rsp.flags & NETRXF_extra_info);
		if (g->slots == 0) {
			g->csum_blank = rsp.flags & NETRXF_csum_blank;
			g->csum_valid = rsp.flags & NETRXF_data_validated;
		} else {
			assert_int_equal(rsp.flags & ~NETRXF_more_data, 0);
		}
		g->slots++;
		while (extra)
			rx_extra(n, q, g, &extra);
		if (rsp.status < 0) {
			g->status = rsp.status;
			continue;
		}
		assert_true(rsp.offset + rsp.status <= (int)PVB_PAGE_SIZE && rsp.status > 0);
		assert_int_equal(g->status, 0);
		memcpy(g->data + g->len, (uint8_t *)n->q[q].buffers.addr + at * PVB_PAGE_SIZE + rsp.offset,
		       (size_t)rsp.status);
		g->len += (uint32_t)rsp.status;
	}
	return true;
}

void rnic_await(struct rnic *n, unsigned q, struct rgot *g)
{
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;

	while (!rnic_receive(n, q, g)) {
		if (pvb_now_ms() > until)
			fail_msg("no frame (broken: %s; refused: %s)", n->broken, n->refused);
		rig_pump(n->rig, 10);
	}
}

/* ---- control ring ---------------------------------------------------------------------------------------------- */

struct xen_netif_ctrl_response rnic_ctrl(struct rnic *n, unsigned type, uint32_t a, uint32_t b, uint32_t c)
{
	struct xen_netif_ctrl_request req = { .id = n->next_id++, .type = (uint16_t)type, .data = { a, b, c } };
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;
	struct xen_netif_ctrl_response rsp;
	struct rring *r = &n->ctrl;

	memcpy(r->slots + (r->prod++ & 127) * 16, &req, sizeof(req));
	__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE);
	pvb_hv_evt_notify(n->hv, r->port);
	while (__atomic_load_n(&r->sh->rsp_prod, __ATOMIC_ACQUIRE) == r->cons) {
		if (pvb_now_ms() > until)
			fail_msg("no answer (broken: %s)", n->broken);
		rig_pump(n->rig, 10);
	}
	memcpy(&rsp, r->slots + (r->cons++ & 127) * 16, sizeof(rsp));
	assert_int_equal(rsp.id, req.id);
	assert_int_equal(rsp.type, req.type);
	return rsp;
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static void ip4(uint8_t *buf, unsigned len, uint64_t *seed, uint32_t saddr, uint32_t daddr, uint8_t proto)
{
	static const uint8_t eth[14] = { 0, 0x16, 0x3e, 0, 0, 2, 0, 0x16, 0x3e, 0, 0, 1, 8, 0 };
	uint16_t sum;

	for (unsigned i = 0; i < len; i++)
		buf[i] = (uint8_t)rnd(seed);
	memcpy(buf, eth, 14);
	memset(buf + 14, 0, 20);
	buf[14] = 0x45;
	put16(buf + 16, len - 14);
	buf[22] = 64;
	buf[23] = proto;
	put32(buf + 26, saddr);
	put32(buf + 30, daddr);
	sum = packet_sum_fold(packet_sum(buf + 14, 20, 0));
	memcpy(buf + 24, &sum, 2);
}

static void l4_sum(uint8_t *buf, unsigned len, unsigned at, bool blank)
{
	uint8_t pseudo[12] = { 0 };
	uint32_t sum;
	uint16_t v;

	memcpy(pseudo, buf + 26, 8);
	pseudo[9] = buf[23];
	put16(pseudo + 10, len - 34);
	memset(buf + at, 0, 2);
	sum = packet_sum(pseudo, sizeof(pseudo), 0);
	if (!blank)
		sum = packet_sum(buf + 34, len - 34, sum);
	v = packet_sum_fold(sum);
	if (blank)
		v = (uint16_t)~v;
	memcpy(buf + at, &v, 2);
}

void rig_udp4(uint8_t *buf, unsigned len, uint64_t *seed)
{
	ip4(buf, len, seed, 0x0a000001, 0x0a000002, 17);
	put16(buf + 34, 1000);
	put16(buf + 36, 2000);
	put16(buf + 38, len - 34);
	l4_sum(buf, len, 40, false);
}

void rig_tcp4(uint8_t *buf, unsigned len, uint64_t *seed, uint32_t saddr, uint32_t daddr, uint16_t sport,
	      uint16_t dport, bool blank)
{
	ip4(buf, len, seed, saddr, daddr, 6);
	put16(buf + 34, sport);
	put16(buf + 36, dport);
	buf[46] = 0x50;
	buf[47] = 0x10;
	l4_sum(buf, len, 50, blank);
}

/* ---- the honest NIC -------------------------------------------------------------------------------------------- */

void honest(struct rig *r)
{
	static struct rgot got;
	static uint8_t out[9000];
	struct rnic *n = &r->good;
	unsigned len = 60 + rnd(&r->seed) % 8900;

	rig_udp4(out, len, &r->seed);
	assert_int_equal(rnic_send(n, 0, out, len, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	rnic_await(n, 0, &got);
	assert_int_equal(got.status, 0);
	assert_int_equal(got.len, len);
	assert_memory_equal(got.data, out, len);
	rnic_post(n, 0, got.slots + got.extras);
	assert_int_equal(rnic_rx_unread(n, 0), 0);
	assert_int_equal(n->nr_broken + n->nr_refused + n->nr_stalled, 0);
	r->done_honestly++;
}

void rig_settle(struct rig *r)
{
	for (unsigned i = 0; i < 10; i++) {
		honest(r);
		rig_pump(r, 1);
	}
}
