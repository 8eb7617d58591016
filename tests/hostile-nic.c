// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-nic.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "hostile-nic.h"
#include "loop.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

/* ---- rings ----------------------------------------------------------------------------------------------- */

static int ring_new(struct hnic *n, struct hring *r, unsigned slot_size, uint32_t start, bool with_port)
{
	int rc = pvb_hv_grant(n->dev.hv, n->dev.back_domid, 1, true, &r->grant);

	if (rc < 0)
		return rc;
	r->sh = r->grant.addr;
	r->slots = (uint8_t *)(r->sh + 1);
	r->slot_size = slot_size;
	r->nr_slots = pvb_ring_slots(PVB_PAGE_SIZE, slot_size);
	memset(r->slots, 0xa5, PVB_PAGE_SIZE - sizeof(*r->sh));
	r->prod = r->cons = r->sh->req_prod = r->sh->rsp_prod = start;
	r->sh->req_event = r->sh->rsp_event = start + 1;
	rc = with_port ? pvb_hv_evt_alloc(n->dev.hv, n->dev.back_domid) : 0;
	r->port = with_port && rc >= 0 ? (uint32_t)rc : UINT32_MAX;
	return rc < 0 ? rc : 0;
}

static void ring_drop(struct hnic *n, struct hring *r)
{
	if (r->grant.nr != 0 && r->port != UINT32_MAX)
		pvb_hv_evt_unbind(n->dev.hv, r->port);
	pvb_hv_ungrant(n->dev.hv, &r->grant);
	memset(r, 0, sizeof(*r));
}

int hnic_rings(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err)
{
	unsigned queues = opt->queues != 0 ? opt->queues : 1;
	int rc = pvb_hv_grant(n->dev.hv, n->dev.back_domid, HNIC_PAGES, true, &n->data);

	n->no_rx_notify = opt->no_rx_notify;
	for (n->queues = 0; rc == 0 && n->queues < queues; n->queues++) {
		unsigned i = n->queues;

		rc = ring_new(n, &n->tx[i], sizeof(struct netif_tx_request), opt->start, true);
		if (rc == 0)
			rc = ring_new(n, &n->rx[i], sizeof(struct netif_rx_request), opt->start, !opt->shared_event);
		if (rc == 0)
			rc = pvb_hv_grant(n->dev.hv, n->dev.back_domid, HNIC_PAGES, true, &n->buffers[i]);
	}
	if (rc == 0 && opt->ctrl)
		rc = ring_new(n, &n->ctrl, sizeof(struct xen_netif_ctrl_request), opt->start, true);
	return rc < 0 ? pvb_err(err, rc, "rings and pages of %u queues", queues) : 0;
}

void hnic_drop(struct hfront *dev)
{
	struct hnic *n = (struct hnic *)dev;

	if (dev->hv == NULL)
		return;
	for (unsigned i = 0; i < HNIC_QUEUES; i++) {
		ring_drop(n, &n->tx[i]);
		ring_drop(n, &n->rx[i]);
		pvb_hv_ungrant(dev->hv, &n->buffers[i]);
	}
	ring_drop(n, &n->ctrl);
	pvb_hv_ungrant(dev->hv, &n->data);
	n->queues = 0;
}

/* ---- the store ------------------------------------------------------------------------------------------- */

struct publishing {
	struct hnic *n;
	const struct hnic_options *opt;
};

static int publish_queue(struct hnic *n, pvb_txn t, unsigned i)
{
	const struct hring *tx = &n->tx[i], *rx = &n->rx[i];
	bool split = rx->port != UINT32_MAX;
	const struct { const char *key; uint32_t value; } keys[] = {
		{ "tx-ring-ref", tx->grant.refs[0] }, { "rx-ring-ref", rx->grant.refs[0] },
		{ split ? "event-channel-tx" : "event-channel", tx->port }, { "event-channel-rx", rx->port },
	};
	char name[64];
	int rc = 0;

	for (unsigned k = 0; rc == 0 && k < (split ? 4 : 3); k++) {
		if (n->queues > 1)
			snprintf(name, sizeof(name), "queue-%u/%s", i, keys[k].key);
		else
			snprintf(name, sizeof(name), "%s", keys[k].key);
		rc = hfront_write_num(&n->dev, t, name, keys[k].value);
	}
	return rc;
}

static int publish(struct pvb_store *st, pvb_txn t, void *arg)
{
	static const char *const on[] = { "request-rx-copy", "feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6",
					  "feature-ipv6-csum-offload" };
	const struct publishing *p = arg;
	struct hnic *n = p->n;
	int rc = hfront_write_num(&n->dev, t, "feature-rx-notify", !n->no_rx_notify);

	for (unsigned i = 0; rc == 0 && i < sizeof(on) / sizeof(on[0]); i++)
		rc = hfront_write_num(&n->dev, t, on[i], 1);
	if (rc == 0 && n->queues > 1)
		rc = hfront_write_num(&n->dev, t, "multi-queue-num-queues", n->queues);
	if (rc == 0 && n->ctrl.grant.nr != 0)
		rc = hfront_write_num(&n->dev, t, "ctrl-ring-ref", n->ctrl.grant.refs[0]);
	if (rc == 0 && n->ctrl.grant.nr != 0)
		rc = hfront_write_num(&n->dev, t, "event-channel-ctrl", n->ctrl.port);
	for (unsigned i = 0; rc == 0 && i < n->queues; i++)
		rc = publish_queue(n, t, i);
	for (unsigned i = 0; rc == 0 && i < p->opt->nr_keys; i++)
		rc = hfront_write_txn(&n->dev, t, p->opt->keys[i].key, p->opt->keys[i].value);
	return rc;
}

int hnic_publish(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err)
{
	struct publishing p = { n, opt };
	int rc = pvb_store_txn(n->dev.st, publish, &p);

	return rc < 0 ? pvb_err(err, rc, "keys below %s", n->dev.dir) : 0;
}

int hnic_connect(struct hnic *n, const struct hnic_options *opt, int timeout_ms, struct pvb_error *err)
{
	int rc = hfront_offered(&n->dev, timeout_ms, err);

	if (rc == 0)
		rc = hnic_rings(n, opt, err);
	if (rc == 0)
		rc = hnic_publish(n, opt, err);
	for (unsigned i = 0; rc == 0 && !opt->no_buffers && i < n->queues; i++)
		hnic_post(n, i, HNIC_PAGES);
	if (rc == 0)
		rc = hfront_state(&n->dev, PVB_CONNECTED);
	return rc < 0 ? rc : hfront_connected(&n->dev, timeout_ms, err);
}

/* ---- indices ----------------------------------------------------------------------------------------------- */

void *hnic_slot(struct hring *r, uint32_t index)
{
	return r->slots + (size_t)(index & (r->nr_slots - 1)) * r->slot_size;
}

int hnic_notify(struct hnic *n, const struct hring *r)
{
	return pvb_hv_evt_notify(n->dev.hv, r->port);
}

void hnic_push_to(struct hnic *n, struct hring *r, uint32_t req_prod)
{
	pvb_ring_wmb();
	pvb_ring_store(&r->sh->req_prod, req_prod);
	pvb_ring_mb();
	hnic_notify(n, r);
}

uint32_t hnic_unread(struct hring *r)
{
	uint32_t nr = pvb_ring_load(&r->sh->rsp_prod) - r->cons;

	pvb_ring_rmb();
	return nr;
}

static void wait_event(struct hnic *n, int timeout_ms)
{
	struct pollfd p = { .fd = pvb_hv_evt_fd(n->dev.hv), .events = POLLIN };
	uint32_t ports[16];
	int nr;

	poll(&p, 1, timeout_ms);
	nr = pvb_hv_evt_take(n->dev.hv, ports, 16);
	if (nr > 0)
		pvb_hv_evt_unmask(n->dev.hv, ports, (unsigned)nr);
}

int hnic_await(struct hnic *n, struct hring *r, uint32_t nr, int timeout_ms)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;

	for (;;) {
		pvb_ring_store(&r->sh->rsp_event, r->cons + nr);
		pvb_ring_mb();
		if (hnic_unread(r) >= nr)
			return 0;
		now = pvb_now_ms();
		if (now >= until)
			return -ETIMEDOUT;
		wait_event(n, (int)(until - now));
	}
}

/* ---- sending ----------------------------------------------------------------------------------------------- */

uint8_t *hnic_page(struct hnic *n, unsigned page)
{
	return (uint8_t *)n->data.addr + (size_t)page * PVB_PAGE_SIZE;
}

uint32_t hnic_gref(struct hnic *n, unsigned page)
{
	return n->data.refs[page];
}

static void put(struct hring *r, const void *slot)
{
	pvb_ring_copy_out(hnic_slot(r, r->prod++), slot, r->slot_size);
}

uint16_t hnic_put_ref(struct hnic *n, unsigned q, uint32_t ref, unsigned offset, unsigned size, unsigned flags)
{
	struct netif_tx_request req = { ref, (uint16_t)offset, (uint16_t)flags, n->next_id++, (uint16_t)size };

	put(&n->tx[q], &req);
	return req.id;
}

uint16_t hnic_put(struct hnic *n, unsigned q, unsigned page, unsigned offset, unsigned size, unsigned flags)
{
	return hnic_put_ref(n, q, hnic_gref(n, page), offset, size, flags);
}

void hnic_put_extra(struct hnic *n, unsigned q, unsigned type, bool more, const uint8_t payload[6])
{
	uint8_t slot[sizeof(struct netif_tx_request)] = { (uint8_t)type, more ? XEN_NETIF_EXTRA_FLAG_MORE : 0 };

	if (payload != NULL)
		memcpy(slot + 2, payload, 6);
	put(&n->tx[q], slot);
}

void hnic_put_gso(struct hnic *n, unsigned q, unsigned type, unsigned size, bool more)
{
	const uint8_t payload[6] = { (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)type };

	hnic_put_extra(n, q, XEN_NETIF_EXTRA_TYPE_GSO, more, payload);
}

void hnic_push(struct hnic *n, unsigned q)
{
	hnic_push_to(n, &n->tx[q], n->tx[q].prod);
}

int hnic_sent(struct hnic *n, unsigned q, uint16_t *id, int *status, int timeout_ms)
{
	struct hring *r = &n->tx[q];
	uint8_t slot[sizeof(struct netif_tx_request)];
	struct netif_tx_response rsp;
	int rc = hnic_await(n, r, 1, timeout_ms);

	if (rc < 0)
		return rc;
	pvb_ring_copy_in(slot, hnic_slot(r, r->cons++), r->slot_size);
	memcpy(&rsp, slot, sizeof(rsp));
	for (unsigned i = sizeof(rsp); i < sizeof(slot); i++)
		if (slot[i] != 0)
			return -EBADMSG;
	if (id != NULL)
		*id = rsp.id;
	*status = rsp.status;
	return 0;
}

/* ---- receiving --------------------------------------------------------------------------------------------- */

void hnic_post_ref(struct hnic *n, unsigned q, uint32_t ref)
{
	struct hring *r = &n->rx[q];
	struct netif_rx_request req = { .id = (uint16_t)(r->prod & (HNIC_SLOTS - 1)), .gref = ref };

	put(r, &req);
}

void hnic_show_posts(struct hnic *n, unsigned q)
{
	struct hring *r = &n->rx[q];

	pvb_ring_wmb();
	pvb_ring_store(&r->sh->req_prod, r->prod);
	pvb_ring_mb();
	if (!n->no_rx_notify)
		hnic_notify(n, r->port != UINT32_MAX ? r : &n->tx[q]);
}

void hnic_post(struct hnic *n, unsigned q, unsigned nr)
{
	while (nr-- > 0)
		hnic_post_ref(n, q, n->buffers[q].refs[n->rx[q].prod % HNIC_PAGES]);
	hnic_show_posts(n, q);
}

static void take(struct hring *r, void *slot)
{
	pvb_ring_copy_in(slot, hnic_slot(r, r->cons++), r->slot_size);
}

/* A frame's slots are shown all at once. */
int hnic_receive(struct hnic *n, unsigned q, struct hgot *got, int timeout_ms)
{
	struct hring *r = &n->rx[q];
	int rc = hnic_await(n, r, 1, timeout_ms);
	struct netif_extra_info x = { 0 };
	struct netif_rx_response rsp;

	if (rc < 0)
		return rc;
	got->len = got->slots = got->extras = got->gso_type = got->gso_size = 0;
	got->status = 0;
	do {
		uint32_t at = r->cons;

		if (hnic_unread(r) == 0)
			return -EBADMSG;
		take(r, &rsp);
		if (got->slots++ == 0) {
			got->flags = rsp.flags;
			x.flags = rsp.flags & NETRXF_extra_info ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
		}
		for (; x.flags & XEN_NETIF_EXTRA_FLAG_MORE && hnic_unread(r) > 0; got->extras++) {
			take(r, &x);
			if (x.type == XEN_NETIF_EXTRA_TYPE_GSO) {
				got->gso_type = x.u.gso.type;
				got->gso_size = x.u.gso.size;
			}
		}
		if (rsp.status < 0) {
			got->status = rsp.status;
			continue;
		}
		if (rsp.offset + rsp.status > (int)PVB_PAGE_SIZE || got->len + (uint32_t)rsp.status > sizeof(got->data))
			return -EBADMSG;
		memcpy(got->data + got->len,
		       (uint8_t *)n->buffers[q].addr + (at % HNIC_PAGES) * PVB_PAGE_SIZE + rsp.offset, (size_t)rsp.status);
		got->len += (uint32_t)rsp.status;
	} while (rsp.flags & NETRXF_more_data);
	return 0;
}

/* ---- the control ring -------------------------------------------------------------------------------------- */

int hnic_ctrl(struct hnic *n, unsigned type, uint32_t a, uint32_t b, uint32_t c, uint32_t *status, uint32_t *data,
	      int timeout_ms)
{
	struct xen_netif_ctrl_request req = { .id = n->next_id++, .type = (uint16_t)type, .data = { a, b, c } };
	struct xen_netif_ctrl_response rsp;
	uint8_t slot[sizeof(req)];
	int rc;

	put(&n->ctrl, &req);
	hnic_push_to(n, &n->ctrl, n->ctrl.prod);
	rc = hnic_await(n, &n->ctrl, 1, timeout_ms);
	if (rc < 0)
		return rc;
	take(&n->ctrl, slot);
	memcpy(&rsp, slot, sizeof(rsp));
	if (rsp.id != req.id || rsp.type != req.type)
		return -EBADMSG;
	*status = rsp.status;
	if (data != NULL)
		*data = rsp.data;
	return 0;
}
