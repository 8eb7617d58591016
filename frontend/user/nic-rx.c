// SPDX-License-Identifier: GPL-2.0-or-later
/* Receive responses into frames, and buffers posted again.
 *
 * A response lies in the slot of its request; a frame is one or more of them with extra infos in between.  What the
 * back end may say at each place is checked before it is used, and a frame it shows in pieces waits in q->packet,
 * which is bounded. */
#include <errno.h>
#include <string.h>
#include "nic-impl.h"

_Static_assert(sizeof(struct netif_rx_request) == 8 && sizeof(union netif_rx_sring_entry) == 8, "receive slot");
_Static_assert(sizeof(struct netif_rx_response) == 8, "receive response");

#define MAX_EXTRAS (XEN_NETIF_EXTRA_TYPE_MAX - 1u)

/* --- buffers ---------------------------------------------------------------------------------------- */

void pvf_nic_rx_post(struct pvf_nicq *q)
{
	struct netif_rx_request req = { 0 };
	uint16_t page;

	while (q->nr_free_rx > 0 && pvb_ring_front_free(&q->rx) > 0) {
		page = q->free_rx[--q->nr_free_rx];
		req.id = (uint16_t)(q->rx.prod & (NIC_SLOTS - 1));
		req.gref = q->rx_pool.refs[page];
		q->rx_page[req.id] = page;
		pvb_ring_front_put(&q->rx, &req);
	}
}

static const uint8_t *rx_page(const struct pvf_nicq *q, uint16_t page)
{
	return (const uint8_t *)q->rx_pool.addr + (size_t)page * PVB_PAGE_SIZE;
}

static void give_back(struct pvf_nicq *q, uint16_t page)
{
	q->free_rx[q->nr_free_rx++] = page;
}

/* --- a whole frame ---------------------------------------------------------------------------------- */

/* iov[0] is the private beginning, the rest points into the pages. */
static unsigned make_iov(struct pvf_nicq *q, struct iovec *iov)
{
	const struct pvf_rx_packet *p = &q->packet;
	uint32_t priv = p->len < PVF_NIC_HDR ? p->len : PVF_NIC_HDR, got = 0, n;
	unsigned nr = 1;

	for (unsigned i = 0; i < p->nr; i++) {
		const uint8_t *at = rx_page(q, p->piece[i].page) + p->piece[i].offset;

		n = p->piece[i].len < priv - got ? p->piece[i].len : priv - got;
		memcpy(q->hdr + got, at, n);
		got += n;
		if (p->piece[i].len > n)
			iov[nr++] = (struct iovec){ (void *)(uintptr_t)(at + n), p->piece[i].len - n };
	}
	iov[0] = (struct iovec){ q->hdr, priv };
	return nr;
}

/* What the back end says about the frame, against its headers. */
static bool take_offload(const struct pvf_nicq *q, struct pvf_offload *off)
{
	const struct pvf_rx_packet *p = &q->packet;
	struct pvf_l4 l4;

	*off = (struct pvf_offload){ .csum_valid = p->valid, .hash_type = p->hash_type, .hash = p->hash };
	if (!p->blank && p->gso == PVF_GSO_NONE)
		return true;
	l4 = pvf_find_l4(q->hdr, p->len < PVF_NIC_HDR ? p->len : PVF_NIC_HDR, p->len);
	if (l4.version == 0 || !q->nic->info.rx_csum)
		return false;
	off->csum_blank = true; /* some forget it on large packets */
	off->csum_start = l4.start;
	off->csum_offset = l4.offset;
	if (p->gso == PVF_GSO_NONE)
		return true;
	if (!l4.tcp || l4.version != (p->gso == PVF_GSO_TCP4 ? 4 : 6))
		return false;
	off->gso = p->gso;
	off->gso_size = p->gso_size;
	off->hdr_len = l4.payload;
	return true;
}

static void deliver(struct pvf_nicq *q)
{
	struct pvf_nic *nic = q->nic;
	struct pvf_rx_packet *p = &q->packet;
	struct iovec iov[PVF_NIC_MAX_SLOTS + 1];
	struct pvf_frame f = { .iov = iov, .len = p->len };

	if (p->failed) {
		nic->stats.rx_errors++;
		return;
	}
	if (p->len < 14) {
		nic->stats.rx_bad++;
		return;
	}
	f.nr = make_iov(q, iov);
	if (!take_offload(q, &f.off)) {
		nic->stats.rx_bad++;
		return;
	}
	nic->stats.rx_frames++;
	nic->stats.rx_bytes += p->len;
	nic->stats.rx_gso += f.off.gso != PVF_GSO_NONE;
	nic->stats.rx_csum_blank += f.off.csum_blank;
	nic->stats.rx_hashed += f.off.hash_type != 0;
	if (nic->opt.receive == NULL)
		return;
	nic->in_callback++;
	nic->opt.receive(nic->opt.arg, nic, q->nr, &f);
	nic->in_callback--;
}

static void finish(struct pvf_nicq *q)
{
	struct pvf_rx_packet *p = &q->packet;

	deliver(q);
	for (unsigned i = 0; i < p->nr; i++)
		give_back(q, p->piece[i].page);
	memset(p, 0, sizeof(*p));
}

/* --- one response ----------------------------------------------------------------------------------- */

static int take_gso(struct pvf_nicq *q, const struct netif_extra_info *x)
{
	struct pvf_rx_packet *p = &q->packet;
	uint8_t type = x->u.gso.type;

	if (!q->nic->info.rx_gso || p->gso != PVF_GSO_NONE) {
		pvf_dev_dead(&q->nic->dev, "queue %u: GSO extra info %s", q->nr,
			     p->gso != PVF_GSO_NONE ? "twice in a frame" : "that was not asked for");
		return -EPROTO;
	}
	if ((type != XEN_NETIF_GSO_TYPE_TCPV4 && type != XEN_NETIF_GSO_TYPE_TCPV6) || x->u.gso.size == 0) {
		pvf_dev_dead(&q->nic->dev, "queue %u: GSO extra info of type %u, size %u: must be 1 or 2, and not 0",
			     q->nr, type, x->u.gso.size);
		return -EPROTO;
	}
	p->gso = type == XEN_NETIF_GSO_TYPE_TCPV4 ? PVF_GSO_TCP4 : PVF_GSO_TCP6;
	p->gso_size = x->u.gso.size;
	return 0;
}

static void take_hash(struct pvf_rx_packet *p, const struct netif_extra_info *x)
{
	if (x->u.hash.algorithm != XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ ||
	    x->u.hash.type > _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP)
		return;
	p->hash_type = (uint8_t)(1u << x->u.hash.type);
	p->hash = x->u.hash.value[0] | (uint32_t)x->u.hash.value[1] << 8 | (uint32_t)x->u.hash.value[2] << 16 |
		  (uint32_t)x->u.hash.value[3] << 24;
}

static int take_extra(struct pvf_nicq *q, const struct netif_extra_info *x)
{
	struct pvf_rx_packet *p = &q->packet;

	if ((x->type != XEN_NETIF_EXTRA_TYPE_GSO && x->type != XEN_NETIF_EXTRA_TYPE_HASH) ||
	    ++p->extras > MAX_EXTRAS) {
		pvf_dev_dead(&q->nic->dev, "queue %u: extra info %u of a frame has type %u", q->nr, p->extras, x->type);
		return -EPROTO;
	}
	if (x->type == XEN_NETIF_EXTRA_TYPE_GSO && take_gso(q, x) < 0)
		return -EPROTO;
	if (x->type == XEN_NETIF_EXTRA_TYPE_HASH)
		take_hash(p, x);
	if ((x->flags & XEN_NETIF_EXTRA_FLAG_MORE) == 0)
		p->next = PVF_RX_MORE;
	return 0;
}

static int check_data(struct pvf_nicq *q, const struct netif_rx_response *rsp, uint16_t slot)
{
	struct pvf_dev *dev = &q->nic->dev;

	if (rsp->id != slot)
		pvf_dev_dead(dev, "queue %u: receive response to id %#x in slot %#x", q->nr, rsp->id, slot);
	else if (rsp->status < NETIF_RSP_DROPPED)
		pvf_dev_dead(dev, "queue %u: receive response has status %d, expected a size, -1 or -2", q->nr,
			     rsp->status);
	else if (rsp->status > 0 && rsp->offset + (uint32_t)rsp->status > PVB_PAGE_SIZE)
		pvf_dev_dead(dev, "queue %u: received %d bytes at %u, a page has %u", q->nr, rsp->status, rsp->offset,
			     PVB_PAGE_SIZE);
	else if (rsp->flags & NETRXF_gso_prefix)
		pvf_dev_dead(dev, "queue %u: a GSO prefix, which was not asked for", q->nr);
	else if (q->packet.nr == PVF_NIC_MAX_SLOTS)
		pvf_dev_dead(dev, "queue %u: received a frame of more than %u slots", q->nr, PVF_NIC_MAX_SLOTS);
	else if ((rsp->flags & NETRXF_more_data) && !q->nic->info.rx_sg)
		pvf_dev_dead(dev, "queue %u: received a frame of several slots, which was not asked for", q->nr);
	else
		return 0;
	return -EPROTO;
}

static void take_data(struct pvf_nicq *q, const struct netif_rx_response *rsp, uint16_t page)
{
	struct pvf_rx_packet *p = &q->packet;

	if (rsp->status < 0) {
		p->failed = true;
		p->piece[p->nr].offset = p->piece[p->nr].len = 0;
	} else {
		p->piece[p->nr].offset = rsp->status > 0 ? rsp->offset : 0;
		p->piece[p->nr].len = (uint16_t)rsp->status;
		p->len += (uint32_t)rsp->status;
	}
	p->piece[p->nr++].page = page;
	p->more = rsp->flags & NETRXF_more_data;
	if (p->next == PVF_RX_FIRST) { /* the others' further flags mean nothing */
		p->blank = rsp->flags & NETRXF_csum_blank;
		p->valid = rsp->flags & NETRXF_data_validated;
		p->next = rsp->flags & NETRXF_extra_info ? PVF_RX_EXTRA : PVF_RX_MORE;
	}
}

/* raw is our copy. */
static int take(struct pvf_nicq *q, const uint8_t raw[8], uint16_t slot)
{
	struct pvf_rx_packet *p = &q->packet;
	uint16_t page = q->rx_page[slot];
	struct netif_rx_response rsp;
	struct netif_extra_info extra;

	q->nic->stats.rx_slots++;
	if (p->next == PVF_RX_EXTRA) {
		memcpy(&extra, raw, sizeof(extra));
		give_back(q, page);
		if (take_extra(q, &extra) < 0)
			return -EPROTO;
	} else {
		memcpy(&rsp, raw, sizeof(rsp));
		if (check_data(q, &rsp, slot) < 0)
			return -EPROTO;
		take_data(q, &rsp, page);
	}
	if (p->next == PVF_RX_MORE && !p->more)
		finish(q);
	return 0;
}

static int lied(struct pvf_nicq *q)
{
	pvf_dev_dead(&q->nic->dev,
		     "queue %u: receive response producer %#x, %#x were read and %u requests are outstanding", q->nr,
		     pvb_ring_load(&q->rx.sh->rsp_prod), q->rx.cons, q->rx.pushed - q->rx.cons);
	return -EPROTO;
}

int pvf_nic_rx_poll(struct pvf_nicq *q, unsigned budget)
{
	unsigned done = 0;
	uint8_t raw[8];
	uint16_t slot;
	int n = pvb_ring_front_avail(&q->rx);

	if (n < 0)
		return lied(q);
	for (; n > 0 && done < budget && !q->nic->dev.dead; n--, done++) {
		slot = (uint16_t)(q->rx.cons & (NIC_SLOTS - 1));
		pvb_ring_front_take(&q->rx, raw, sizeof(raw));
		if (take(q, raw, slot) < 0)
			return -EPROTO;
	}
	pvf_nic_rx_post(q);
	return (int)done;
}

int pvf_nic_rx_rearm(struct pvf_nicq *q)
{
	int n = pvf_nic_rearm(&q->rx, 1);

	return n < 0 ? lied(q) : n;
}
