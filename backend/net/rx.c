// SPDX-License-Identifier: GPL-2.0-or-later
/* rx.c: frames into the buffers a guest has lent on its RX ring, and what happens when it lends too few. */
#include <errno.h>
#include <string.h>
#include "nif-impl.h"
#include "packet.h"

#define ETHERTYPE_4 0x0800u
#define DOWN_POLL_MS 1000u

/* ---- room ---------------------------------------------------------------------------------------------------- */

static void look(struct nif_queue *q)
{
	struct nif_rx *rx = &q->rx;
	int n = pvb_ring_back_avail(&rx->ring);

	rx->avail = n < 0 ? 0 : (uint32_t)n;
	if (n < 0)
		nif_broken(q->nif, "queue %u: the front end claims %u RX requests at index %u, the ring has %u slots",
			   q->id, pvb_ring_load(&rx->ring.sh->req_prod) - rx->ring.cons, rx->ring.cons,
			   rx->ring.nr_slots);
}

static void carrier(struct nif_queue *q, bool up)
{
	struct nif_ctx *ctx = q->nif->ctx;

	q->rx.down = !up;
	port_carrier(q->nif->port, up);
	ctx->cb.stalled(ctx->arg, q->nif, !up);
}

static void end_wait(struct nif_queue *q)
{
	struct nif_rx *rx = &q->rx;

	rx->need = 0;
	rx->stalled = false;
	if (rx->down)
		carrier(q, true);
}

void rx_room(struct nif_queue *q)
{
	struct nif_rx *rx = &q->rx;
	uint32_t seen;

	if (rx->need == 0 || q->nif->broken)
		return;
	do {
		look(q);
		if (q->nif->broken)
			return;
		if (rx->avail >= rx->need) {
			end_wait(q);
			port_room(q->nif->port, q->id);
			return;
		}
		seen = rx->avail;
	} while (nif_ring_rearm(&rx->ring, seen) != (int)seen);
}

/* There are too few buffers for this frame. */
static enum frame_verdict no_room(struct nif_queue *q, uint32_t need)
{
	struct nif_ctx *ctx = q->nif->ctx;
	struct nif_rx *rx = &q->rx;
	uint64_t now = pvb_now_ms();

	if (rx->need == 0) {
		rx->need = need;
		rx->since = now;
		stats_add(&q->stats->rx_no_room, 1);
		/* a post between the look and this: it will be found by the pass that comes */
		if (nif_ring_rearm(&rx->ring, rx->avail) != (int)rx->avail) {
			rx->ready = true;
			nif_again(ctx);
		}
		nif_tick(ctx, q->nif->c.rx_notify ? NIF_STALL_MS : NIF_POLL_MS);
	}
	if (!rx->stalled)
		return FRAME_HELD;
	stats_add(&q->stats->rx_dropped_stall, 1);
	if (!rx->down && now - rx->since >= NIF_CARRIER_MS) {
		carrier(q, false);
		nif_tick(ctx, DOWN_POLL_MS);
	}
	return FRAME_DROPPED;
}

unsigned rx_stalls(struct nif_ctx *ctx)
{
	uint64_t now = pvb_now_ms(); /* not before `since`, whatever the pass thinks */
	unsigned soon = 0;

	for (unsigned i = 0; i < ctx->nr_queues; i++) {
		struct nif_queue *q = ctx->queues[i];
		struct nif_rx *rx = &q->rx;
		unsigned ms = 0;

		if (rx->need == 0 || q->nif->broken)
			continue;
		if (!q->nif->c.rx_notify) {
			rx_room(q);
			if (rx->need == 0 || q->nif->broken)
				continue;
		}
		if (!rx->stalled && now - rx->since >= NIF_STALL_MS) {
			rx->stalled = true;
			ctx->retry = true;
			port_room(q->nif->port, q->id); /* not for room, but for a verdict */
		}
		if (!rx->stalled)
			ms = q->nif->c.rx_notify ? (unsigned)(rx->since + NIF_STALL_MS - now) : NIF_POLL_MS;
		else if (rx->down && !q->nif->c.rx_notify)
			ms = DOWN_POLL_MS;
		if (ms && (soon == 0 || ms < soon))
			soon = ms;
	}
	return soon;
}

/* ---- filling ------------------------------------------------------------------------------------------------- */

/* Where the next byte goes. */
struct fill {
	struct nif_queue *q;
	uint32_t first, at;          /* slots: of the frame, and the one being filled */
	unsigned used, nr_data;
	uint32_t ref;
	uint8_t *page;               /* mapped for good, or NULL */
	bool uncut;                  /* a piece of the sender's begins a buffer rather than lie in two */
	uint32_t ops, foreign, staged;
};

static struct netif_rx_response *answer_at(struct nif_queue *q, uint32_t index)
{
	return &q->j->rx_rsp[index & (NIF_RING_SLOTS - 1)];
}

static const struct netif_rx_request *take_slot(struct nif_queue *q)
{
	struct netif_rx_request *r = &q->j->rx_req[q->rx.ring.cons & (NIF_RING_SLOTS - 1)];

	pvb_ring_back_take(&q->rx.ring, r);
	PVB_CRASH_POINT(rx_slot_read);
	q->rx.avail--;
	return r;
}

static void next_slot(struct fill *to)
{
	const struct netif_rx_request *r;

	to->at = to->q->rx.ring.cons;
	r = take_slot(to->q);
	to->ref = r->gref;
	to->page = gref_find(to->q->grefs, r->gref, true);
	to->used = 0;
	to->nr_data++;
	*answer_at(to->q, to->at) = (struct netif_rx_response){ .id = r->id };
	PVB_CRASH_POINT(rx_slot_begun);
}

/* Extra infos take slots of their own, whose buffers go back unused. */
static void put_extra(struct nif_queue *q, const struct netif_extra_info *x)
{
	uint32_t at = q->rx.ring.cons;

	take_slot(q);
	memcpy(answer_at(q, at), x, sizeof(*x));
	PVB_CRASH_POINT(rx_extra_written);
}

static void put_bytes(struct fill *to, const struct frame_seg *s, uint32_t skip, uint32_t n)
{
	struct pvb_copy *c;

	if (to->page && (s->local || s->staged)) {
		/* a guest may have given one page for both directions, and send to itself */
		memmove(to->page + to->used, (s->local ? s->local : s->staged) + skip, n);
		to->staged++;
		return;
	}
	c = copy_add(&to->q->nif->ctx->out, to->q, NULL, to->first);
	if (s->local)
		c->src = (struct pvb_copy_end){ .local = s->local + skip };
	else
		c->src = (struct pvb_copy_end){ .ref = s->ref,
						.domid = s->domid,
						.offset = (uint16_t)(s->offset + skip) };
	c->dst = (struct pvb_copy_end){ .ref = to->ref,
					.domid = (uint16_t)to->q->nif->cfg.domid,
					.offset = (uint16_t)to->used };
	c->len = (uint16_t)n;
	to->ops++;
	to->foreign += !s->local;
}

/* Buffers that a frame takes when they are filled up. */
static uint32_t slots_filled(const struct frame *f)
{
	return (f->len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE;
}

/* And when no piece of the sender's is cut. */
static uint32_t slots_uncut(const struct frame *f)
{
	uint32_t used = f->hdr_len; /* the header is the first piece, */
	uint32_t skip = used;       /* and not a second time a part of the sender's */
	uint32_t nr = 1;

	for (unsigned i = 0; i < f->nr_segs; i++) {
		uint32_t cut = skip < f->seg[i].len ? skip : f->seg[i].len, n = f->seg[i].len - cut;

		skip -= cut;
		if (used + n > PVB_PAGE_SIZE) {
			nr++;
			used = 0;
		}
		used += n;
	}
	return nr;
}

/* One piece of a frame, cut where the buffers end and where its own pages do. */
static void put_piece(struct fill *to, const struct frame_seg *s, uint32_t skip, const struct netif_extra_info *x,
		      unsigned nr_x)
{
	while (skip < s->len) {
		uint32_t n = s->len - skip, room;

		if (to->nr_data == 0 || to->used == PVB_PAGE_SIZE ||
		    (to->uncut && to->used + (s->len - skip) > PVB_PAGE_SIZE)) {
			next_slot(to);
			for (unsigned i = 0; to->nr_data == 1 && i < nr_x; i++)
				put_extra(to->q, &x[i]);
		}
		if (n > PVB_PAGE_SIZE - to->used)
			n = PVB_PAGE_SIZE - to->used;
		room = PVB_PAGE_SIZE - (uint32_t)(((uintptr_t)s->local + skip) & (PVB_PAGE_SIZE - 1));
		if (s->local && !to->page && n > room)
			n = room; /* an end in one page is cheapest */
		put_bytes(to, s, skip, n);
		skip += n;
		to->used += n;
		answer_at(to->q, to->at)->status = (int16_t)to->used;
		PVB_CRASH_POINT(rx_piece_put);
	}
}

static void put_frame(struct fill *to, const struct frame *f, const struct netif_extra_info *x, unsigned nr_x)
{
	struct frame_seg head = { .local = f->hdr, .len = f->hdr_len };
	bool whole = f->nr_segs > 0 && f->seg[0].local == f->hdr; /* the header is where the rest is: one piece */
	uint32_t skip = whole ? 0 : f->hdr_len, at = to->first;
	uint16_t flags = 0;

	if (!whole)
		put_piece(to, &head, 0, x, nr_x);
	for (unsigned i = 0; i < f->nr_segs; i++) {
		const struct frame_seg *s = &f->seg[i];

		if (skip < s->len)
			put_piece(to, s, skip, x, nr_x);
		skip -= skip < s->len ? skip : s->len;
	}
	for (unsigned i = 1; i < to->nr_data; i++, at += at == to->first ? 1 + nr_x : 1)
		answer_at(to->q, at)->flags |= NETRXF_more_data;
	if (f->csum_blank)
		flags |= NETRXF_csum_blank | NETRXF_data_validated;
	else if (f->csum_valid)
		flags |= NETRXF_data_validated;
	if (nr_x)
		flags |= NETRXF_extra_info;
	answer_at(to->q, to->first)->flags |= flags;
	PVB_CRASH_POINT(rx_frame_put);
}

static unsigned extras(const struct nif *nif, const struct frame *f, const uint32_t *hash, uint8_t type,
		       struct netif_extra_info *x)
{
	unsigned n = 0;

	memset(x, 0, 2 * sizeof(*x));
	if (f->gso) {
		x[n].type = XEN_NETIF_EXTRA_TYPE_GSO;
		x[n].u.gso.size = f->gso_size;
		x[n++].u.gso.type = f->gso == FRAME_GSO_TCP4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
	}
	if (hash) {
		x[n].type = XEN_NETIF_EXTRA_TYPE_HASH;
		x[n].u.hash.type = type;
		x[n].u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
		for (unsigned i = 0; i < 4; i++)
			x[n].u.hash.value[i] = (uint8_t)(*hash >> 8 * i);
		n++;
	}
	if (n == 2)
		x[0].flags = XEN_NETIF_EXTRA_FLAG_MORE;
	return n;
}

/* ---- delivering ---------------------------------------------------------------------------------------------- */

static struct nif_queue *choose(struct nif *nif, unsigned queue, bool hashed, uint32_t hash)
{
	const struct nifj_state *s = nif_state(nif);

	if (hashed)
		queue = s->mapping_size ? s->mapping[hash % s->mapping_size] : hash;
	return &nif->queues[queue % nif->nr_queues];
}

/* Does the guest take what this frame claims?  What can be put right, the port has put right. */
static bool suits(const struct nif *nif, const struct frame *f)
{
	const struct nif_connect *c = &nif->c;

	if (f->len > FRAME_MAX_LEN || (f->len > PVB_PAGE_SIZE && !c->sg))
		return false;
	if ((f->gso == FRAME_GSO_TCP4 && !c->gso4) || (f->gso == FRAME_GSO_TCP6 && !c->gso6))
		return false;
	return !f->csum_blank || (f->ethertype == ETHERTYPE_4 ? c->csum4 : c->csum6);
}

enum frame_verdict nif_deliver(struct nif *nif, unsigned queue, struct frame *f)
{
	struct nif_ctx *ctx = nif->ctx;
	struct netif_extra_info x[2];
	struct nif_queue *q;
	struct fill to = { 0 };
	const char *why;
	uint32_t hash = 0, filled, need;
	uint8_t type = 0;
	bool hashed;
	unsigned nr_x;

	if (nif->nr_queues == 0 || nif->broken || f->len < FRAME_MIN_LEN)
		return FRAME_DROPPED;
	if (nif->hash.on && f->ethertype == 0)
		(void)packet_parse(f, &why);
	hashed = hash_frame(nif, f, &hash, &type);
	q = choose(nif, queue, hashed, hash);
	if (!mcast_wanted(nif, f->hdr)) {
		stats_add(&q->stats->rx_dropped_mcast, 1);
		return FRAME_DROPPED;
	}
	if (!suits(nif, f)) {
		stats_add(&q->stats->rx_dropped_size, 1);
		return FRAME_DROPPED;
	}
	if (q->rx.need && !q->rx.stalled)
		return FRAME_HELD; /* others wait already */
	nr_x = extras(nif, f, hashed ? &hash : NULL, type, x);
	filled = slots_filled(f);
	need = filled + nr_x;
	if (q->rx.avail < need || q->rx.stalled)
		look(q);
	if (nif->broken)
		return FRAME_DROPPED;
	if (q->rx.stalled && q->rx.avail >= q->rx.need)
		end_wait(q);
	if (q->rx.avail < need)
		return no_room(q, need);
	if (!rate_take(&nif->rx_rate, f->len, ctx->running ? ctx->now : pvb_now_ns())) {
		stats_add(&q->stats->rx_dropped_rate, 1);
		return FRAME_DROPPED;
	}
	if (!copy_fits(&ctx->out, NIF_FRAME_OPS))
		nif_ctx_flush(ctx);
	to.q = q;
	to.first = q->rx.ring.cons;
	/* Behind the headers nothing lies in the receiver's pages as it lay in the sender's: each page would be two copies.
	 * One buffer more is what that may cost. */
	if (filled > 1 && !f->seg[0].local) {
		uint32_t uncut = slots_uncut(f);

		to.uncut = uncut <= filled + 1 && uncut <= NIF_MAX_SLOTS && uncut + nr_x <= q->rx.avail;
	}
	put_frame(&to, f, x, nr_x);
	nifj_taken(q->j, NIFJ_RX, q->rx.ring.cons);
	if (!q->rx.dirty) {
		q->rx.dirty = true;
		q->rx.next_dirty = ctx->dirty;
		ctx->dirty = q;
	}
	q->rx.new_packets++;
	q->rx.new_bytes += f->len;
	stats_add(&q->stats->rx_slots, to.nr_data + nr_x);
	stats_add(&q->stats->rx_gso, f->gso != FRAME_GSO_NONE);
	stats_add(&q->stats->rx_csum_blank, f->csum_blank);
	stats_add(&q->stats->copy_ops, to.ops);
	stats_add(&q->stats->copy_foreign, to.foreign);
	stats_add(&q->stats->staged, to.staged);
	return FRAME_SENT;
}

/* ---- showing ------------------------------------------------------------------------------------------------- */

/* All slots of the frame become errors; what they say about more slots stays. */
void rx_failed(struct nif_queue *q, uint32_t first)
{
	struct netif_rx_response *r = answer_at(q, first);
	bool more = r->flags & NETRXF_more_data, extra = r->flags & NETRXF_extra_info;
	uint64_t bytes = 0;
	uint32_t at = first;

	if (r->status < 0)
		return;
	for (;;) {
		bytes += (uint64_t)r->status;
		r->status = NETIF_RSP_ERROR;
		PVB_CRASH_POINT(rx_failed_slot);
		for (at++; extra; at++)
			extra = ((struct netif_extra_info *)(void *)answer_at(q, at))->flags &
				XEN_NETIF_EXTRA_FLAG_MORE;
		if (!more)
			break;
		r = answer_at(q, at);
		more = r->flags & NETRXF_more_data;
	}
	q->rx.new_packets--;
	q->rx.new_bytes -= bytes;
	stats_add(&q->stats->rx_errors, 1);
}

void rx_push(struct nif_ctx *ctx)
{
	struct nif_queue *q;

	while ((q = ctx->dirty)) {
		struct nif_rx *rx = &q->rx;

		ctx->dirty = rx->next_dirty;
		rx->dirty = false;
		stats_add(&q->stats->rx_packets, rx->new_packets);
		stats_add(&q->stats->rx_bytes, rx->new_bytes);
		rx->new_packets = rx->new_bytes = 0;
		if (q->nif->broken)
			continue;
		if (nifj_push(q->j, NIFJ_RX, &rx->ring, rx->ring.cons)) {
			pvb_event_notify(rx->event ? rx->event : q->tx.event);
			PVB_CRASH_POINT(rx_notified);
			stats_add(&q->stats->notify_sent, 1);
		} else {
			stats_add(&q->stats->notify_suppressed, 1);
		}
	}
}
