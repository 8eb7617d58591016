// SPDX-License-Identifier: GPL-2.0-or-later
/* Answers of the RX ring into frames, and buffers posted again.
 *
 * An answer lies in the slot of its request; a frame is one or more of them with extra infos behind the first.  What
 * the back end may say at each place is checked before it is used.  The beginning of a frame is copied before it is
 * looked at, and the rest either copied or taken away from the back end. */
#include <linux/etherdevice.h>
#include <linux/nospec.h>
#include <linux/skbuff.h>
#include <xen/events.h>
#include <xen/page.h>
#include "pvnet.h"

#define COPY_WHOLE   1536u  /* a frame of one slot up to this size lies in one piece, if it is copied at all */
#define REFILL_BATCH 32u
#define RETRY_BELOW  64u    /* buffers: with fewer, somebody must look after them */

/* --- buffers ------------------------------------------------------------------------------------------ */

/* What was in it is nothing for the back end. */
static struct page *new_page(struct page_pool *pool)
{
	return page_pool_alloc_pages(pool, GFP_ATOMIC | __GFP_NOWARN | __GFP_ZERO);
}

static bool post(struct pvnet_queue *q)
{
	struct pvnet_rx *rx = &q->rx;
	u16 nr = rx->ring.prod & (PVNET_SLOTS - 1);
	struct xen_netif_rx_request req = { .id = nr };
	struct pvnet_rx_slot *s = &rx->slot[nr];

	if (smp_load_acquire(&rx->copy)) { /* pages before their use */
		s->kind = PVNET_OWN;
		req.gref = rx->own[nr].ref;
	} else {
		s->page = new_page(rx->pool);
		if (!s->page)
			return false;
		s->kind = PVNET_GRANTED;
		gnttab_grant_foreign_access_ref(s->ref, q->dev->xdev->otherend_id, xen_page_to_gfn(s->page), false);
		req.gref = s->ref;
	}
	pvb_ring_front_put(&rx->ring, &req);
	return true;
}

void pvnet_rx_refill(struct pvnet_queue *q)
{
	struct pvb_ring *ring = &q->rx.ring;

	while (pvb_ring_front_free(ring) > 0 && post(q))
		;
	if (pvb_ring_front_free(ring) > 0) {
		q->n.rx_no_memory++;
		if (ring->prod - ring->cons < RETRY_BELOW)
			mod_timer(&q->rx.retry, jiffies + HZ / 10);
	}
	if (ring->pushed == ring->prod)
		return;
	if (pvb_ring_front_push(ring) && q->rx_irq) {
		q->n.notify_sent++;
		notify_remote_via_irq(q->rx_irq);
	} else {
		q->n.notify_suppressed++;
	}
}

void pvnet_rx_retry(struct timer_list *t)
{
	struct pvnet_queue *q = from_timer(q, t, rx.retry);

	napi_schedule(&q->napi);
}

/* A page of the pool that the back end does not let go of: the pool forgets it, the kernel keeps it until it can be
 * revoked. */
static void page_lost(struct pvnet_queue *q, struct pvnet_rx_slot *s)
{
	get_page(s->page);
	page_pool_put_full_page(q->rx.pool, s->page, false);
	gnttab_end_foreign_access(s->ref, s->page);
	s->ref = 0;
	s->page = NULL;
}

/* The slot's page, which is the back end's no more; NULL: it is. */
static struct page *page_back(struct pvnet_queue *q, struct pvnet_rx_slot *s)
{
	struct page *page = s->page;

	if (!gnttab_end_foreign_access_ref(s->ref)) {
		page_lost(q, s);
		return NULL;
	}
	s->page = NULL;
	return page;
}

static void frame_end(struct pvnet_queue *q)
{
	struct pvnet_frame *f = &q->rx.frame;

	if (f->skb)
		kfree_skb(f->skb);
	if (f->whole)
		page_pool_put_full_page(q->rx.pool, f->whole, false);
	memset(f, 0, sizeof(*f));
}

void pvnet_rx_drop(struct pvnet_queue *q)
{
	struct pvnet_rx *rx = &q->rx;
	struct pvnet_rx_slot *s;
	u32 i;

	frame_end(q);
	for (i = 0; rx->slot && i < PVNET_SLOTS; i++) {
		s = &rx->slot[i];
		if (s->ref && s->kind == PVNET_GRANTED && !gnttab_try_end_foreign_access(s->ref))
			page_lost(q, s);
		else if (s->ref && s->kind != PVNET_GRANTED)
			gnttab_free_grant_reference(s->ref);
		if (s->page)
			page_pool_put_full_page(rx->pool, s->page, false);
		s->page = NULL;
		s->ref = 0;
		s->kind = PVNET_FREE;
	}
}

/* --- a whole frame ------------------------------------------------------------------------------------ */

static bool set_offload(const struct pvnet_frame *f)
{
	struct sk_buff *skb = f->skb;

	if (f->blank || f->gso)
		skb->ip_summed = CHECKSUM_PARTIAL;
	else if (f->valid && !f->xdp) /* a program may have changed it */
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (f->gso) {
		if (skb->protocol != (f->gso == XEN_NETIF_GSO_TYPE_TCPV4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6)))
			return false;
		skb_shinfo(skb)->gso_size = f->gso_size;
		/* header and segments are to be checked before they are relied on */
		skb_shinfo(skb)->gso_type = SKB_GSO_DODGY |
			(f->gso == XEN_NETIF_GSO_TYPE_TCPV4 ? SKB_GSO_TCPV4 : SKB_GSO_TCPV6);
		skb_shinfo(skb)->gso_segs = 0;
	}
	/* some forget the blank checksum of large frames */
	return skb->ip_summed != CHECKSUM_PARTIAL || skb_checksum_setup(skb, f->gso && !f->blank) == 0;
}

static void deliver(struct pvnet_queue *q)
{
	struct pvnet_frame *f = &q->rx.frame;
	struct sk_buff *skb;

	/* a program sees all of a frame, or the frame is not for anybody */
	if (f->xdp && (f->large || f->gso || f->blank)) {
		q->n.xdp_refused++;
		return;
	}
	if (f->failed) {
		q->n.rx_errors++;
		return;
	}
	if (!netif_running(q->dev->netdev)) {
		q->n.rx_dropped++;
		return;
	}
	if (f->xdp && !pvnet_xdp_run(q, f))
		return;
	skb = f->skb;
	skb->protocol = eth_type_trans(skb, q->dev->netdev);
	skb_reset_network_header(skb);
	if (!set_offload(f)) {
		q->n.rx_bad++;
		return;
	}
	if (f->hashed)
		skb_set_hash(skb, f->hash, f->hash_type == _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP ||
			     f->hash_type == _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP ? PKT_HASH_TYPE_L4 : PKT_HASH_TYPE_L3);
	skb_record_rx_queue(skb, q->nr);
	q->n.rx_packets++;
	q->n.rx_bytes += f->len;
	q->n.rx_gso += f->gso != 0;
	q->n.rx_csum_blank += f->blank;
	q->n.rx_hashed += f->hashed;
	f->skb = NULL;
	napi_gro_receive(&q->napi, skb);
}

/* --- bytes -------------------------------------------------------------------------------------------- */

static void no_memory(struct pvnet_queue *q)
{
	q->n.rx_no_memory++;
	q->rx.frame.failed = true;
}

/* A page of the pool becomes part of the frame. */
static void add_page(struct pvnet_queue *q, struct page *page, u32 offset, u32 len)
{
	struct pvnet_frame *f = &q->rx.frame;

	/* of the slots a frame may have there is one more than pages here: the first one's bytes are copied then */
	if (skb_shinfo(f->skb)->nr_frags == MAX_SKB_FRAGS &&
	    !__pskb_pull_tail(f->skb, skb_frag_size(&skb_shinfo(f->skb)->frags[0]))) {
		no_memory(q);
		page_pool_put_full_page(q->rx.pool, page, true);
		return;
	}
	skb_add_rx_frag(f->skb, skb_shinfo(f->skb)->nr_frags, page, offset, len, PAGE_SIZE);
	f->fill = NULL;
}

static void add_copy(struct pvnet_queue *q, const u8 *from, u32 len)
{
	struct pvnet_frame *f = &q->rx.frame;
	u32 n;

	for (; len > 0 && !f->failed; len -= n, from += n) {
		struct page *page = f->fill;

		if (!page || f->used == PAGE_SIZE) {
			page = new_page(q->rx.pool);
			if (!page) {
				no_memory(q);
				return;
			}
			add_page(q, page, 0, 0);
			if (f->failed)
				return;
			f->fill = page;
			f->used = 0;
		}
		n = min_t(u32, len, PAGE_SIZE - f->used);
		memcpy(page_address(page) + f->used, from, n);
		skb_frag_size_add(&skb_shinfo(f->skb)->frags[skb_shinfo(f->skb)->nr_frags - 1], n);
		f->skb->len += n;
		f->skb->data_len += n;
		f->used += n;
	}
}

/* Copy the frame's beginning; how much of it, or 0. */
static u32 begin(struct pvnet_queue *q, const u8 *from, u32 len, bool whole)
{
	struct pvnet_frame *f = &q->rx.frame;
	u32 room = whole ? len : PVNET_HDR, n = min(len, room);

	f->skb = napi_alloc_skb(&q->napi, room);
	if (!f->skb) {
		no_memory(q);
		return 0;
	}
	skb_mark_for_recycle(f->skb);
	memcpy(f->skb->data, from, n);
	/* what is not header lies better in pages */
	if (!whole)
		n = eth_get_headlen(q->dev->netdev, f->skb->data, n);
	skb_put(f->skb, n);
	return n;
}

/* A frame for a program is copied to a page of its own, behind the room that programs expect, wherever it came from. */
static void take_whole(struct pvnet_queue *q, const u8 *from, u32 len)
{
	struct pvnet_frame *f = &q->rx.frame;

	if (f->nr_data > 1 || f->more || len > PVNET_XDP_LEN) {
		f->large = true;
		return;
	}
	f->whole = new_page(q->rx.pool);
	if (f->whole)
		memcpy(page_address(f->whole) + XDP_PACKET_HEADROOM, from, len);
	else
		no_memory(q);
}

/* page: NULL, or one that is not the back end's any more. */
static void take_bytes(struct pvnet_queue *q, struct page *page, const u8 *from, u32 offset, u32 len)
{
	struct pvnet_frame *f = &q->rx.frame;
	bool first = f->nr_data == 1;
	u32 n = 0;

	if (f->xdp) {
		if (!f->failed)
			take_whole(q, from + offset, len);
		if (page)
			page_pool_put_full_page(q->rx.pool, page, true);
		return;
	}
	if (!f->failed && first)
		n = begin(q, from + offset, len, !f->more && len <= (page ? PVNET_HDR : COPY_WHOLE));
	if (page && !f->failed && n < len) {
		add_page(q, page, offset + n, len - n);
		return;
	}
	if (page)
		page_pool_put_full_page(q->rx.pool, page, true);
	else if (!f->failed)
		add_copy(q, from + offset + n, len - n);
}

/* --- one answer --------------------------------------------------------------------------------------- */

static bool take_gso(struct pvnet_queue *q, const struct xen_netif_extra_info *x)
{
	struct pvnet_frame *f = &q->rx.frame;

	if (f->gso || (x->u.gso.type != XEN_NETIF_GSO_TYPE_TCPV4 && x->u.gso.type != XEN_NETIF_GSO_TYPE_TCPV6) ||
	    x->u.gso.size == 0) {
		pvnet_lie(q, "GSO extra info%s of type %u, size %u", f->gso ? ", the second of a frame," : "",
			  x->u.gso.type, x->u.gso.size);
		return false;
	}
	f->gso = x->u.gso.type;
	f->gso_size = x->u.gso.size;
	return true;
}

static void take_hash(struct pvnet_frame *f, const struct xen_netif_extra_info *x)
{
	const u8 *v = x->u.hash.value;

	if (x->u.hash.algorithm != XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ)
		return;
	f->hashed = true;
	f->hash_type = x->u.hash.type;
	f->hash = v[0] | (u32)v[1] << 8 | (u32)v[2] << 16 | (u32)v[3] << 24;
}

static bool take_extra(struct pvnet_queue *q, const struct xen_netif_extra_info *x)
{
	struct pvnet_frame *f = &q->rx.frame;

	if ((x->type != XEN_NETIF_EXTRA_TYPE_GSO && x->type != XEN_NETIF_EXTRA_TYPE_HASH) ||
	    ++f->nr_extras >= XEN_NETIF_EXTRA_TYPE_MAX) {
		pvnet_lie(q, "extra info %u of a frame has type %u", f->nr_extras, x->type);
		return false;
	}
	if (x->type == XEN_NETIF_EXTRA_TYPE_GSO && !take_gso(q, x))
		return false;
	if (x->type == XEN_NETIF_EXTRA_TYPE_HASH)
		take_hash(f, x);
	if (!(x->flags & XEN_NETIF_EXTRA_FLAG_MORE))
		f->next = PVNET_MORE;
	return true;
}

static bool check_data(struct pvnet_queue *q, const struct xen_netif_rx_response *rsp, u16 nr)
{
	if (rsp->id != nr)
		pvnet_lie(q, "receive response to id %#x in slot %#x", rsp->id, nr);
	else if (rsp->status < XEN_NETIF_RSP_DROPPED)
		pvnet_lie(q, "receive response has status %d", rsp->status);
	else if (rsp->status > 0 && rsp->offset + (u32)rsp->status > PAGE_SIZE)
		pvnet_lie(q, "received %d bytes at %u of a page", rsp->status, rsp->offset);
	else if (rsp->flags & XEN_NETRXF_gso_prefix)
		pvnet_lie(q, "a GSO prefix, which was not asked for");
	else if (q->rx.frame.nr_data == PVNET_MAX_SLOTS)
		pvnet_lie(q, "received a frame of more than %u slots", PVNET_MAX_SLOTS);
	else
		return true;
	return false;
}

/* page is the slot's, or NULL if it is one of our own. */
static void take_data(struct pvnet_queue *q, const struct xen_netif_rx_response *rsp, struct page *page, u16 nr)
{
	struct pvnet_frame *f = &q->rx.frame;
	u32 len = rsp->status > 0 ? rsp->status : 0, offset = len ? rsp->offset : 0;

	f->nr_data++;
	f->more = rsp->flags & XEN_NETRXF_more_data;
	if (f->nr_data == 1) { /* the others' further flags mean nothing */
		f->blank = rsp->flags & XEN_NETRXF_csum_blank;
		f->valid = rsp->flags & XEN_NETRXF_data_validated;
		f->next = rsp->flags & XEN_NETRXF_extra_info ? PVNET_EXTRA : PVNET_MORE;
		f->failed = len < ETH_HLEN; /* it must be there in one piece */
		f->xdp = pvnet_has_prog(q->dev);
	}
	f->len += len;
	if (rsp->status < 0 || f->len > XEN_NETIF_MAX_TX_SIZE)
		f->failed = true;
	q->n.rx_copied += !page;
	take_bytes(q, page, page_address(page ?: q->rx.own[nr].page), offset, len);
}

/* raw is our copy.  False: a lie. */
static bool take(struct pvnet_queue *q, const u8 *raw, u16 nr)
{
	struct pvnet_rx_slot *s = &q->rx.slot[nr];
	struct xen_netif_extra_info extra;
	struct xen_netif_rx_response rsp;
	struct page *page = NULL;
	bool own = s->kind == PVNET_OWN, is_extra = q->rx.frame.next == PVNET_EXTRA;

	memcpy(&rsp, raw, sizeof(rsp));
	q->n.rx_slots++;
	s->kind = PVNET_FREE;
	if (!own) {
		page = page_back(q, s);
		if (!page) {
			pvnet_lie(q, "receive response in slot %#x, but its page is still in use", nr);
			return false;
		}
	}
	if (is_extra) {
		if (page)
			page_pool_put_full_page(q->rx.pool, page, true);
		memcpy(&extra, raw, sizeof(extra));
		return take_extra(q, &extra);
	}
	if (!check_data(q, &rsp, nr)) {
		if (page)
			page_pool_put_full_page(q->rx.pool, page, true);
		return false;
	}
	take_data(q, &rsp, page, nr);
	return true;
}

/* Frames and slots, at most budget of frames. */
int pvnet_rx_run(struct pvnet_queue *q, int budget)
{
	struct pvnet_frame *f = &q->rx.frame;
	struct pvb_ring *ring = &q->rx.ring;
	int n = pvb_ring_front_avail(ring), done = 0;
	u8 raw[sizeof(struct xen_netif_rx_response)];
	u16 nr;

	BUILD_BUG_ON(sizeof(struct xen_netif_rx_request) != 8 || sizeof(struct xen_netif_rx_response) != 8 ||
		     sizeof(struct xen_netif_extra_info) != 8 || sizeof(struct xen_netif_tx_request) != 12);
	if (n < 0)
		pvnet_lie(q, "receive response producer %#x, %#x were read and %u are outstanding",
			  pvb_ring_load(&ring->sh->rsp_prod), ring->cons, ring->pushed - ring->cons);
	for (; n > 0 && done < budget; n--) {
		nr = array_index_nospec(ring->cons & (PVNET_SLOTS - 1), PVNET_SLOTS);
		pvb_ring_front_take(ring, raw, sizeof(raw));
		if (!take(q, raw, nr))
			return done;
		q->rx_worked = true;
		if (f->next == PVNET_MORE && !f->more) {
			deliver(q);
			frame_end(q);
			done++;
		}
	}
	if (q->live && pvb_ring_front_free(ring) >= REFILL_BATCH)
		pvnet_rx_refill(q);
	return done;
}
