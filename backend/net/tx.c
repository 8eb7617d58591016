// SPDX-License-Identifier: GPL-2.0-or-later
/* tx.c: packets out of a TX ring, and the answers to them.  Each slot is copied out of the ring once, into the journal;
 * what is checked, fetched and answered is that copy. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "nif-impl.h"
#include "filter.h"
#include "packet.h"

static struct netif_tx_request *slot_at(struct nif_queue *q, uint32_t index)
{
	return &q->j->tx_req[index & (NIF_RING_SLOTS - 1)];
}

static inline const struct netif_tx_request *read_slot(struct nif_queue *q, uint32_t index)
{
	struct netif_tx_request *r = slot_at(q, index);

	pvb_ring_copy_in(r, pvb_ring_slot(&q->tx.ring, index), sizeof(*r));
	PVB_CRASH_POINT(tx_slot_read);
	return r;
}

/* ---- taking -------------------------------------------------------------------------------------------------- */

static int take_extra(struct nif_queue *q, struct nif_pkt *p, uint32_t index, bool *more, struct pvb_error *why)
{
	struct netif_extra_info x;

	memcpy(&x, read_slot(q, index), sizeof(x));
	*more = x.flags & XEN_NETIF_EXTRA_FLAG_MORE;
	switch (x.type) {
	case XEN_NETIF_EXTRA_TYPE_GSO:
		if (x.u.gso.size == 0 ||
		    (x.u.gso.type != XEN_NETIF_GSO_TYPE_TCPV4 && x.u.gso.type != XEN_NETIF_GSO_TYPE_TCPV6))
			pvb_err(why, -1, "queue %u: GSO of type %u with packets of %u bytes", q->id, x.u.gso.type,
				x.u.gso.size);
		p->gso = x.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV4 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
		p->gso_size = x.u.gso.size;
		break;
	case XEN_NETIF_EXTRA_TYPE_MCAST_ADD:
	case XEN_NETIF_EXTRA_TYPE_MCAST_DEL:
		p->kind = PKT_MCAST;
		p->mcast_add = x.type == XEN_NETIF_EXTRA_TYPE_MCAST_ADD;
		memcpy(p->mcast, x.u.mcast.addr, sizeof(p->mcast));
		break;
	case XEN_NETIF_EXTRA_TYPE_HASH:
		break; /* whoever needs one makes it of what is in the frame */
	default:
		nif_broken(q->nif, "queue %u: extra info of type %u at index %u", q->id, x.type, index);
		return -1;
	}
	return 0;
}

/* The sizes of a packet whose slots are all there: the first one's is the total. */
static void check_sizes(struct nif_queue *q, const struct nif_pkt *p, struct pvb_error *why)
{
	const struct netif_tx_request *first = slot_at(q, p->first);
	unsigned nr_data = p->nr_slots - p->nr_extras;
	uint32_t left = first->size;

	if (nr_data > NIF_MAX_SLOTS) {
		pvb_err(why, -1, "queue %u: a packet in %u slots, at most %u", q->id, nr_data, NIF_MAX_SLOTS);
		return;
	}
	if (first->size < FRAME_MIN_LEN) {
		pvb_err(why, -1, "queue %u: a packet of %u bytes, at least %u", q->id, first->size, FRAME_MIN_LEN);
		return;
	}
	for (unsigned i = 1u + p->nr_extras; i < p->nr_slots; i++) {
		const struct netif_tx_request *r = slot_at(q, p->first + i);

		if (r->size > left) {
			pvb_err(why, -1, "queue %u: a slot of %u bytes where %u of %u are left", q->id, r->size, left,
				first->size);
			return;
		}
		if ((uint32_t)r->offset + r->size > PVB_PAGE_SIZE) {
			pvb_err(why, -1, "queue %u: %u bytes at %u do not fit a page", q->id, r->size, r->offset);
			return;
		}
		left -= r->size;
	}
	if (first->offset + left > PVB_PAGE_SIZE)
		pvb_err(why, -1, "queue %u: %u bytes at %u do not fit a page", q->id, left, first->offset);
}

/* Read one packet's slots.  Their number; 0: not all there yet; -1: the device is broken. */
static int walk(struct nif_queue *q, unsigned avail, struct nif_pkt *p, struct pvb_error *why)
{
	const struct netif_tx_request *r = read_slot(q, p->first);
	bool extra = r->flags & NETTXF_extra_info, more = r->flags & NETTXF_more_data;
	unsigned n = 1;

	for (; extra && n < avail; n++) {
		if (take_extra(q, p, p->first + n, &extra, why) < 0)
			return -1;
		p->nr_extras++;
	}
	for (; more && !extra && n < avail; n++) {
		r = read_slot(q, p->first + n);
		if (r->flags & NETTXF_extra_info) {
			nif_broken(q->nif, "queue %u: extra info after slot %u of a packet", q->id, n);
			return -1;
		}
		more = r->flags & NETTXF_more_data;
	}
	if (!extra && !more)
		return (int)n;
	if (n < NIF_RING_SLOTS)
		return 0;
	nif_broken(q->nif, "queue %u: a packet without end, the ring has %u slots", q->id, n);
	return -1;
}

static void judge(struct nif_queue *q, struct nif_pkt *p, struct pvb_error *why)
{
	if (why->code == 0 && p->nr_extras > NIF_MAX_EXTRAS)
		pvb_err(why, -1, "queue %u: %u extra infos, at most %u", q->id, p->nr_extras, NIF_MAX_EXTRAS);
	if (why->code == 0 && p->kind == PKT_MCAST && p->nr_slots > p->nr_extras + 1u)
		pvb_err(why, -1, "queue %u: a multicast request in %u slots", q->id, p->nr_slots - p->nr_extras);
	if (why->code == 0 && p->kind == PKT_FRAME)
		check_sizes(q, p, why);
	if (why->code == 0)
		return;
	p->kind = PKT_REFUSED;
	nif_refused(q->nif, "%s", why->text);
}

/* Its event may wait to be read until all passes in a row are over, and who keeps us busy must not see to that: the ring
 * itself tells at the price of a load. */
void tx_notice(struct nif_queue *q)
{
	struct nif_tx *tx = &q->tx;

	if (!tx->ready && !q->nif->broken && pvb_ring_back_avail(&tx->ring) > (int)tx->partial)
		tx->ready = true;
}

void tx_take(struct nif_queue *q)
{
	struct nif_tx *tx = &q->tx;
	int n, slots = 0;
	unsigned before = tx->nr;

	if (!tx->ready || tx->held || tx->throttled || q->nif->broken)
		return;
	tx->partial = 0;
	if (rate_wait(&q->nif->refusals, q->nif->ctx->now) > 0) {
		tx->throttled = true;
		stats_add(&q->stats->tx_throttled, 1);
		return;
	}
	n = pvb_ring_back_avail(&tx->ring);
	if (n < 0) {
		nif_broken(q->nif, "queue %u: the front end claims %u TX requests at index %u, the ring has %u slots",
			   q->id, pvb_ring_load(&tx->ring.sh->req_prod) - tx->ring.cons, tx->ring.cons,
			   tx->ring.nr_slots);
		return;
	}
	for (; n > 0 && tx->nr < NIF_BUDGET; n -= slots) {
		struct nif_pkt *p = &tx->pkt[tx->nr];
		struct pvb_error why;

		why.code = 0; /* what follows it is only there to be read if this is not 0 */
		memset(p, 0, offsetof(struct nif_pkt, f));
		p->first = tx->ring.cons;
		slots = walk(q, (unsigned)n, p, &why);
		if (slots < 0)
			return;
		if (slots == 0) {
			tx->partial = (uint32_t)n;
			break;
		}
		p->nr_slots = (uint16_t)slots;
		judge(q, p, &why);
		if (p->kind == PKT_FRAME &&
		    !rate_take(&q->nif->tx_rate, slot_at(q, p->first)->size, q->nif->ctx->now)) {
			tx->throttled = true;
			stats_add(&q->stats->tx_throttled, 1);
			break;
		}
		tx->ring.cons += (uint32_t)slots;
		tx->nr++;
	}
	nifj_taken(q->j, NIFJ_TX, tx->ring.cons);
	tx->since_event += tx->nr - before;
	if (tx->nr != before) {
		stats_add(&q->stats->passes, 1);
		q->nif->ctx->took = true;
	}
}

bool tx_rearm(struct nif_queue *q)
{
	struct nif_tx *tx = &q->tx;
	int n;

	if (!tx->ready || tx->held || tx->throttled || q->nif->broken)
		return false; /* stays ready: looked at again when what holds it is over */
	if (tx->nr > 0)
		return true;  /* there was no buffer for all */
	n = nif_ring_rearm(&tx->ring, tx->partial);
	if (n < 0 || n > (int)tx->partial)
		return true;  /* the next look says what it is */
	tx->ready = false;
	return false;
}

/* ---- fetching ------------------------------------------------------------------------------------------------ */

static void add_seg(struct nif_queue *q, struct frame *f, const struct netif_tx_request *r, uint32_t len)
{
	const uint8_t *page;

	if (len == 0)
		return; /* legal, and nothing */
	page = gref_find(q->grefs, r->gref, false);
	f->seg[f->nr_segs++] = (struct frame_seg){ .ref = r->gref,
						   .domid = (uint16_t)q->nif->cfg.domid,
						   .offset = r->offset,
						   .len = len,
						   .staged = page ? page + r->offset : NULL };
}

/* All but where its bytes are. */
static void begin_frame(struct nif_queue *q, struct nif_pkt *p, const struct netif_tx_request *first)
{
	struct frame *f = &p->f;

	memset(f, 0, offsetof(struct frame, seg));
	f->len = first->size;
	f->csum_blank = first->flags & NETTXF_csum_blank;
	f->csum_valid = first->flags & (NETTXF_csum_blank | NETTXF_data_validated);
	f->gso = p->gso;
	f->gso_size = p->gso_size;
	f->queue = q->id;
	f->owner = p;
}

static void add_segs(struct nif_queue *q, struct nif_pkt *p, const struct netif_tx_request *first)
{
	uint32_t left = first->size;

	for (unsigned i = 1u + p->nr_extras; i < p->nr_slots; i++)
		left -= slot_at(q, p->first + i)->size;
	add_seg(q, &p->f, first, left);
	for (unsigned i = 1u + p->nr_extras; i < p->nr_slots; i++)
		add_seg(q, &p->f, slot_at(q, p->first + i), slot_at(q, p->first + i)->size);
}

/* Ops (or a memcpy) for the first len bytes of a frame, to one local piece, cut where that crosses a page. */
static void fetch_bytes(struct nif_queue *q, struct nif_pkt *p, uint8_t *to, uint32_t len)
{
	struct nif_ctx *ctx = q->nif->ctx;
	uint32_t ops = 0, staged = 0;

	for (unsigned i = 0; len > 0; i++) {
		const struct frame_seg *s = &p->f.seg[i];
		uint32_t piece = s->len < len ? s->len : len, done = 0, n;

		len -= piece;
		if (s->staged) {
			memcpy(to, s->staged, piece);
			to += piece;
			staged++;
			continue;
		}
		for (; done < piece; done += n, to += n, ops++) {
			uint32_t room = PVB_PAGE_SIZE - (uint32_t)((uintptr_t)to & (PVB_PAGE_SIZE - 1));
			struct pvb_copy *c = copy_add(&ctx->in, q, p, 0);

			n = piece - done < room ? piece - done : room;
			c->src = (struct pvb_copy_end){ .ref = s->ref,
							.domid = s->domid,
							.offset = (uint16_t)(s->offset + done) };
			c->dst = (struct pvb_copy_end){ .local = to };
			c->len = (uint16_t)n;
		}
	}
	q->tx.new_ops += ops;
	q->tx.new_staged += staged;
}

/* Where in a page a frame begins here, so that pieces that fill pages there fill pages here: one copy each.  Where one
 * begins at its page's beginning all later ones do, as far as they are one stretch of memory. */
static size_t skew_of(const struct frame *f)
{
	uint32_t at = f->seg[0].len;

	for (unsigned i = 1; i < f->nr_segs; at += f->seg[i++].len)
		if (f->seg[i].offset == 0)
			return (PVB_PAGE_SIZE - at) & (PVB_PAGE_SIZE - 1);
	return (PVB_PAGE_SIZE - f->seg[0].len) & (PVB_PAGE_SIZE - 1);
}

static bool is_whole(const struct nif_queue *q)
{
	return q->nif->port->whole;
}

/* The usual one, in one slot whose page is not mapped for good: one op, to memory in one page. */
static void fetch_plain(struct nif_queue *q, struct nif_pkt *p, const struct netif_tx_request *r, uint8_t *to, uint32_t len)
{
	struct pvb_copy *c = copy_add(&q->nif->ctx->in, q, p, 0);

	c->src = (struct pvb_copy_end){ .ref = r->gref, .domid = (uint16_t)q->nif->cfg.domid, .offset = r->offset };
	c->dst = (struct pvb_copy_end){ .local = to };
	c->len = (uint16_t)len;
	q->tx.new_ops++;
	if (!is_whole(q)) /* else what is here is all that anybody looks at */
		add_seg(q, &p->f, r, r->size);
}

/* false: no buffer in this pass. */
static bool fetch_one(struct nif_queue *q, struct nif_pkt *p)
{
	const struct netif_tx_request *first = slot_at(q, p->first);
	bool plain = p->nr_slots == 1 && !q->grefs;
	struct nif_ctx *ctx = q->nif->ctx;
	struct frame *f = &p->f;
	uint32_t len;
	uint8_t *to;

	begin_frame(q, p, first);
	if (!plain)
		add_segs(q, p, first);
	p->bad = p->spoofed = false;
	len = is_whole(q) || f->len < FRAME_HDR ? f->len : FRAME_HDR;
	if (!copy_fits(&ctx->in, NIF_FRAME_OPS))
		return false;
	to = copy_buffer(ctx, len, plain ? (PVB_PAGE_SIZE - f->len) & (PVB_PAGE_SIZE - 1) : skew_of(f));
	if (!to)
		return false;
	if (plain)
		fetch_plain(q, p, first, to, len);
	else
		fetch_bytes(q, p, to, len);
	if (is_whole(q)) {
		frame_local(f, to, len);
	} else {
		f->hdr = to;
		f->hdr_len = (uint16_t)len;
	}
	return true;
}

void tx_fetch(struct nif_queue *q)
{
	struct nif_tx *tx = &q->tx;

	tx->nr_fetched = 0;
	if (tx->held || q->nif->broken)
		return;
	tx->new_ops = tx->new_staged = 0;
	while (tx->nr_fetched < tx->nr) {
		struct nif_pkt *p = &tx->pkt[tx->nr_fetched];

		if (p->kind == PKT_FRAME && !fetch_one(q, p))
			break;
		tx->nr_fetched++;
	}
	stats_add(&q->stats->copy_ops, tx->new_ops);
	stats_add(&q->stats->staged, tx->new_staged);
}

unsigned tx_frames(struct nif_queue *q, struct frame **frames)
{
	const struct nif_config *cfg = &q->nif->cfg;
	unsigned n = 0;

	for (unsigned i = 0; i < q->tx.nr_fetched; i++) {
		struct nif_pkt *p = &q->tx.pkt[i];
		const char *why;

		if (p->kind != PKT_FRAME || p->bad)
			continue;
		if (packet_parse(&p->f, &why) < 0) {
			p->bad = true;
			nif_refused(q->nif, "queue %u: %s", q->id, why);
		} else if ((cfg->spoof_mac || cfg->nr_ips) && !filter_pass(&p->f, cfg, &why)) {
			p->spoofed = true;
			nif_refused(q->nif, "queue %u: %s", q->id, why);
		} else {
			p->f.verdict = FRAME_PENDING;
			frames[n++] = &p->f;
		}
	}
	return n;
}

void tx_mark_bad(struct nif_ctx *ctx, uint32_t domid, uint32_t ref)
{
	for (unsigned k = 0; k < ctx->nr_queues; k++) {
		struct nif_queue *q = ctx->queues[k];

		for (unsigned i = 0; q->nif->cfg.domid == domid && i < q->tx.nr_fetched; i++) {
			struct nif_pkt *p = &q->tx.pkt[i];

			for (unsigned s = 0; p->kind == PKT_FRAME && !p->bad && s < p->f.nr_segs; s++) {
				if (p->f.seg[s].local || p->f.seg[s].ref != ref)
					continue;
				p->bad = true;
				nif_refused(q->nif, "queue %u: grant %u: can not be copied from", q->id, ref);
			}
		}
	}
}

/* ---- answering ----------------------------------------------------------------------------------------------- */

/* For the statistics, of all packets of a pass. */
struct answered { uint64_t packets, bytes, gso, blank, slots; };

static void count(struct nif_queue_stats *s, const struct answered *sum)
{
	stats_add(&s->tx_packets, sum->packets);
	stats_add(&s->tx_bytes, sum->bytes);
	stats_add(&s->tx_gso, sum->gso);
	stats_add(&s->tx_csum_blank, sum->blank);
	stats_add(&s->tx_slots, sum->slots);
}

/* What the slots of a packet are answered with, and its line in the statistics. */
static int16_t settle(struct nif_queue *q, struct nif_pkt *p, struct answered *sum)
{
	struct nif_queue_stats *s = q->stats;
	const struct frame *f = &p->f;

	if (p->kind == PKT_MCAST) {
		int rc = mcast_change(q->nif, p->mcast, p->mcast_add);

		if (rc == 0)
			return NETIF_RSP_OKAY;
		nif_refused(q->nif, rc == -ENOSPC ? "queue %u: more than %u multicast addresses" :
						     "queue %u: no multicast address", q->id, NIF_MAX_MCAST);
	}
	if (p->kind != PKT_FRAME || p->bad || f->verdict == FRAME_BAD) {
		stats_add(&s->tx_bad, 1);
		return NETIF_RSP_ERROR;
	}
	if (p->spoofed) {
		stats_add(&s->tx_dropped_spoof, 1);
		return NETIF_RSP_DROPPED;
	}
	if (f->verdict != FRAME_SENT) {
		stats_add(&s->tx_dropped_port, 1);
		return NETIF_RSP_OKAY; /* nobody tells a sender on an Ethernet */
	}
	sum->packets++;
	sum->bytes += f->len;
	sum->gso += p->gso != FRAME_GSO_NONE;
	sum->blank += (slot_at(q, p->first)->flags & NETTXF_csum_blank) != 0;
	return NETIF_RSP_OKAY;
}

static void write_down(struct nif_queue *q, const struct nif_pkt *p, int16_t status)
{
	for (uint32_t i = 0; i < p->nr_slots; i++) {
		struct netif_tx_response *r = &q->j->tx_rsp[(p->first + i) & (NIF_RING_SLOTS - 1)];

		if (i > 0 && i <= p->nr_extras)
			*r = (struct netif_tx_response){ .status = NETIF_RSP_NULL };
		else
			*r = (struct netif_tx_response){ .id = slot_at(q, p->first + i)->id, .status = status };
		PVB_CRASH_POINT(tx_written_down);
	}
}

static bool is_held(const struct nif_pkt *p)
{
	return p->kind == PKT_FRAME && !p->bad && !p->spoofed && p->f.verdict == FRAME_HELD;
}

void tx_answer(struct nif_queue *q)
{
	struct nif_tx *tx = &q->tx;
	uint32_t to = tx->ring.prod, refused = 0;
	struct answered sum = { 0 };
	unsigned done;

	if (q->nif->broken)
		return;
	for (done = 0; done < tx->nr_fetched; done++) {
		struct nif_pkt *p = &tx->pkt[done];
		int16_t status;

		if (is_held(p)) {
			tx->held = true;
			stats_add(&q->stats->tx_held, !p->was_held);
			p->was_held = true;
			break;
		}
		status = settle(q, p, &sum);
		write_down(q, p, status);
		sum.slots += p->nr_slots;
		refused += status != NETIF_RSP_OKAY;
		to += p->nr_slots;
	}
	tx->nr_fetched = 0;
	if (refused)
		rate_take(&q->nif->refusals, refused, q->nif->ctx->now);
	if (done == 0)
		return;
	count(q->stats, &sum);
	tx->nr -= done;
	memmove(tx->pkt, tx->pkt + done, tx->nr * sizeof(*tx->pkt));
	if (nifj_push(q->j, NIFJ_TX, &tx->ring, to)) {
		pvb_event_notify(tx->event);
		PVB_CRASH_POINT(tx_notified);
		stats_add(&q->stats->notify_sent, 1);
	} else {
		stats_add(&q->stats->notify_suppressed, 1);
	}
}
