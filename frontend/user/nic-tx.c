// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames into transmit slots, and their responses looked up. */
#include <errno.h>
#include <string.h>
#include "nic-impl.h"

_Static_assert(sizeof(struct netif_tx_request) == 12 && sizeof(union netif_tx_sring_entry) == 12, "transmit slot");
_Static_assert(sizeof(struct netif_tx_response) == 4, "transmit response");
_Static_assert(sizeof(struct netif_extra_info) == 8, "extra info");

/* --- slots and pages -------------------------------------------------------------------------------- */

bool pvf_nic_tx_room(const struct pvf_nicq *q, unsigned slots, unsigned extras)
{
	return q->nr_free_tx >= slots && pvb_ring_front_free(&q->tx) >= slots + extras;
}

uint16_t pvf_nic_tx_take(struct pvf_nicq *q, enum pvf_tx_kind kind, uint16_t *id)
{
	uint16_t page = q->free_tx[--q->nr_free_tx];
	struct pvf_tx_slot *s = &q->slot[page];

	s->kind = (uint8_t)kind;
	s->uses++; /* an answer to the page's last user is not one to this */
	*id = (uint16_t)(s->uses << 8 | page);
	return page;
}

/* --- sending ---------------------------------------------------------------------------------------- */

/* What is to be done for a frame, decided before anything is touched. */
struct plan {
	uint32_t len;
	unsigned slots;
	uint16_t flags;
	bool fill;               /* the checksum is finished here */
	uint8_t gso;
	uint16_t gso_size;
};

static size_t gather(uint8_t *to, size_t max, const struct iovec *iov, unsigned nr)
{
	size_t done = 0, n;

	for (unsigned i = 0; i < nr && done < max; i++, done += n) {
		n = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;
		memcpy(to + done, iov[i].iov_base, n);
	}
	return done;
}

/* A checksum is left to the back end if it would look for it where it is. */
static int plan_offload(const struct pvf_nic *nic, const struct iovec *iov, unsigned nr, const struct pvf_offload *off,
			struct plan *p)
{
	const struct pvf_nic_info *info = &nic->info;
	uint32_t field = (uint32_t)off->csum_start + off->csum_offset;
	uint8_t hdr[PVF_NIC_HDR];
	struct pvf_l4 l4;
	bool found;

	if (!off->csum_blank) {
		p->flags = off->csum_valid ? NETTXF_data_validated : 0;
		return off->gso != PVF_GSO_NONE ? -EINVAL : 0;
	}
	if (field + 2 > p->len || field + 2 > PVB_PAGE_SIZE)
		return -EINVAL;
	l4 = pvf_find_l4(hdr, gather(hdr, sizeof(hdr), iov, nr), p->len);
	found = l4.version != 0 && l4.start == off->csum_start && l4.offset == off->csum_offset;
	if (off->gso != PVF_GSO_NONE) {
		if (off->gso > PVF_GSO_TCP6 || off->gso_size == 0 || !found || !l4.tcp ||
		    l4.version != (off->gso == PVF_GSO_TCP4 ? 4 : 6))
			return -EINVAL;
		if (off->gso == PVF_GSO_TCP4 ? !info->gso4 : !info->gso6)
			return -EOPNOTSUPP;
		p->gso = off->gso;
		p->gso_size = off->gso_size;
	}
	if (found && (l4.version == 4 ? info->csum4 : info->csum6))
		p->flags = NETTXF_csum_blank | NETTXF_data_validated;
	else
		p->fill = true;
	return 0;
}

static int make_plan(const struct pvf_nic *nic, const struct iovec *iov, unsigned nr, const struct pvf_offload *off,
		     struct plan *p)
{
	size_t len = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (iov[i].iov_len > nic->info.max_frame - len)
			return -EMSGSIZE;
		len += iov[i].iov_len;
	}
	if (len < 14)
		return -EINVAL;
	*p = (struct plan){ .len = (uint32_t)len, .slots = (unsigned)((len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE) };
	return off != NULL ? plan_offload(nic, iov, nr, off, p) : 0;
}

static uint8_t *tx_page(const struct pvf_nicq *q, uint16_t page)
{
	return (uint8_t *)q->tx_pool.addr + (size_t)page * PVB_PAGE_SIZE;
}

/* As pvb_ring_front_put(), for slots of this size. */
static void put_slot(struct pvf_nicq *q, const void *slot)
{
	pvb_ring_copy_out(pvb_ring_slot(&q->tx, q->tx.prod), slot, sizeof(struct netif_tx_request));
	q->tx.prod++;
}

static void put_extra(struct pvf_nicq *q, const struct plan *p)
{
	uint8_t slot[12] = { 0 };
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

	extra.u.gso.size = p->gso_size;
	extra.u.gso.type = p->gso == PVF_GSO_TCP4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
	memcpy(slot, &extra, sizeof(extra));
	put_slot(q, slot);
	q->tx_extras++;
}

/* Where a copy from an iovec has got to. */
struct cursor {
	const struct iovec *iov;
	size_t at;
};

static void copy_some(struct cursor *c, uint8_t *to, size_t len)
{
	size_t n;

	for (; len > 0; len -= n, to += n) {
		while (c->at == c->iov->iov_len) {
			c->iov++;
			c->at = 0;
		}
		n = c->iov->iov_len - c->at < len ? c->iov->iov_len - c->at : len;
		memcpy(to, (const uint8_t *)c->iov->iov_base + c->at, n);
		c->at += n;
	}
}

/* The sum is made of the caller's bytes: what lies in the granted page is not read back. */
static void fill_checksum(uint8_t *first_page, const struct iovec *iov, unsigned nr, const struct pvf_offload *off)
{
	uint16_t sum = pvf_sum_iov(iov, nr, off->csum_start);

	if (sum == 0 && off->csum_offset == 6)
		sum = 0xffff; /* UDP: 0 means there is none */
	memcpy(first_page + off->csum_start + off->csum_offset, &sum, 2);
}

/* The usual one: a piece of memory that fits a page and leaves nothing to be done. */
static void put_plain(struct pvf_nicq *q, const struct plan *p, const struct iovec *iov)
{
	struct netif_tx_request req = { .flags = p->flags, .size = (uint16_t)p->len };
	uint16_t page = pvf_nic_tx_take(q, PVF_TX_FIRST, &req.id);

	memcpy(tx_page(q, page), iov->iov_base, p->len);
	req.gref = q->tx_pool.refs[page];
	put_slot(q, &req);
	q->tx_frames++;
}

static void put_frame(struct pvf_nicq *q, const struct plan *p, const struct iovec *iov, unsigned nr,
		      const struct pvf_offload *off)
{
	struct cursor c = { iov, 0 };
	uint32_t done = 0, n;

	for (unsigned i = 0; i < p->slots; i++, done += n) {
		struct netif_tx_request req = { 0 };
		uint16_t page = pvf_nic_tx_take(q, i == 0 ? PVF_TX_FIRST : PVF_TX_MORE, &req.id);

		n = p->len - done < PVB_PAGE_SIZE ? p->len - done : PVB_PAGE_SIZE;
		copy_some(&c, tx_page(q, page), n);
		req.gref = q->tx_pool.refs[page];
		req.size = (uint16_t)(i == 0 ? p->len : n); /* the first names the whole */
		req.flags = i + 1 < p->slots ? NETTXF_more_data : 0;
		if (i == 0) {
			req.flags |= p->flags | (p->gso != PVF_GSO_NONE ? NETTXF_extra_info : 0);
			if (p->fill)
				fill_checksum(tx_page(q, page), iov, nr, off);
		}
		put_slot(q, &req);
		if (i == 0 && p->gso != PVF_GSO_NONE)
			put_extra(q, p);
	}
	q->tx_frames++;
}

static void count(struct pvf_nic_stats *s, const struct plan *p)
{
	s->tx_frames++;
	s->tx_bytes += p->len;
	s->tx_slots += p->slots;
	s->tx_gso += p->gso != PVF_GSO_NONE;
	s->tx_csum_blank += (p->flags & NETTXF_csum_blank) != 0;
	s->tx_csum_filled += p->fill;
}

int pvf_nic_send(struct pvf_nic *nic, unsigned queue, const struct iovec *iov, unsigned nr,
		 const struct pvf_offload *off)
{
	struct pvf_nicq *q;
	struct plan p;
	unsigned extras;
	int rc;

	if (!pvf_dev_works(&nic->dev) || nic->dev.stopping)
		return -ENOTCONN;
	q = &nic->queues[queue < nic->nr_queues ? queue : queue % nic->nr_queues];
	rc = make_plan(nic, iov, nr, off, &p);
	if (rc < 0)
		return rc;
	extras = p.gso != PVF_GSO_NONE;
	if (!pvf_nic_tx_room(q, p.slots, extras)) {
		rc = pvf_nic_tx_reclaim(q);
		if (rc < 0)
			return -ENOTCONN;
	}
	if (!pvf_nic_tx_room(q, p.slots, extras)) {
		nic->stats.tx_full++;
		q->want_room = true;
		return -EAGAIN;
	}
	if (nr == 1 && p.slots == 1 && p.gso == PVF_GSO_NONE && !p.fill)
		put_plain(q, &p, iov);
	else
		put_frame(q, &p, iov, nr, off);
	count(&nic->stats, &p);
	return 0;
}

/* --- responses -------------------------------------------------------------------------------------- */

/* rsp is our copy.  Its id is a key to look up, nothing else. */
static int answer(struct pvf_nicq *q, const struct netif_tx_response *rsp)
{
	struct pvf_nic *nic = q->nic;
	unsigned page = rsp->id & 0xff;
	struct pvf_tx_slot *s = page < q->tx_pool.nr ? &q->slot[page] : NULL;

	if (rsp->status == NETIF_RSP_NULL) { /* of an extra info: there is no id in it */
		if (q->tx_extras == 0) {
			pvf_dev_dead(&nic->dev, "queue %u: transmit response of status 1 without an extra info", q->nr);
			return -EPROTO;
		}
		q->tx_extras--;
		return 0;
	}
	if (s == NULL || s->kind == PVF_TX_FREE || s->uses != rsp->id >> 8) {
		pvf_dev_dead(&nic->dev, "queue %u: transmit response to id %#x, which is not outstanding", q->nr,
			     rsp->id);
		return -EPROTO;
	}
	if (rsp->status != NETIF_RSP_OKAY && rsp->status != NETIF_RSP_ERROR && rsp->status != NETIF_RSP_DROPPED) {
		pvf_dev_dead(&nic->dev, "queue %u: transmit response to id %#x has status %d, expected 0, -1 or -2",
			     q->nr, rsp->id, rsp->status);
		return -EPROTO;
	}
	if (s->kind == PVF_TX_FIRST) {
		q->tx_frames--;
		nic->stats.tx_errors += rsp->status == NETIF_RSP_ERROR;
		nic->stats.tx_dropped += rsp->status == NETIF_RSP_DROPPED;
	} else if (s->kind == PVF_TX_MCAST) {
		pvf_mcast_answer(nic, s->group, rsp->status);
	}
	s->kind = PVF_TX_FREE;
	q->free_tx[q->nr_free_tx++] = (uint16_t)page;
	return 0;
}

static int lied(struct pvf_nicq *q)
{
	pvf_dev_dead(&q->nic->dev,
		     "queue %u: transmit response producer %#x, %#x were read and %u requests are outstanding", q->nr,
		     pvb_ring_load(&q->tx.sh->rsp_prod), q->tx.cons, q->tx.pushed - q->tx.cons);
	return -EPROTO;
}

int pvf_nic_tx_poll(struct pvf_nicq *q)
{
	struct netif_tx_response rsp;
	int n = pvb_ring_front_avail(&q->tx);

	if (n < 0)
		return lied(q);
	for (int i = 0; i < n; i++) {
		pvb_ring_front_take(&q->tx, &rsp, sizeof(rsp));
		if (answer(q, &rsp) < 0)
			return -EPROTO;
	}
	return n;
}

int pvf_nic_tx_rearm(struct pvf_nicq *q)
{
	/* nobody waits for the first: half of them at a time */
	int n = pvf_nic_rearm(&q->tx, (q->tx.pushed - q->tx.cons) / 2);

	return n < 0 ? lied(q) : n;
}

int pvf_nic_tx_reclaim(struct pvf_nicq *q)
{
	int n;

	do {
		n = pvf_nic_tx_poll(q);
		q->since_event += n > 0 ? (unsigned)n : 0;
		if (n >= 0 && !q->nic->opt.polled)
			n = pvf_nic_tx_rearm(q);
	} while (n > 0 && !q->nic->opt.polled);
	return n < 0 ? n : 0;
}
