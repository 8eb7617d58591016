// SPDX-License-Identifier: GPL-2.0-or-later
/* From a frame to slots of the TX ring, and their answers looked up. */
#include <linux/kmemleak.h>
#include <linux/nospec.h>
#include <linux/skbuff.h>
#include <xen/events.h>
#include <xen/page.h>
#include "pvnet.h"

/* The queue stops when a largest frame with an extra info would not fit any more. */
#define ROOM (PVNET_MAX_SLOTS + 1)

/* In skb->cb, once the frame is ours. */
struct pending {
	u16 slots;
};

static struct pending *pending_of(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct pending) > sizeof(skb->cb));
	return (struct pending *)skb->cb;
}

static struct netdev_queue *txq_of(const struct pvnet_queue *q)
{
	return netdev_get_tx_queue(q->dev->netdev, q->nr);
}

/* --- slots -------------------------------------------------------------------------------------------- */

void pvnet_tx_start(struct pvnet_queue *q)
{
	struct pvnet_tx *tx = &q->tx;
	u16 i;

	for (i = 0; i < PVNET_SLOTS; i++)
		tx->slot[i].next_free = i + 1;
	tx->free = 0;
	tx->extras = tx->granted = tx->groups = 0;
	tx->due = tx->ring.cons + 1;
}

/* There is one whenever the ring has room: a slot of the ring is free again when an id is. */
static struct pvnet_tx_slot *slot_take(struct pvnet_tx *tx, struct xen_netif_tx_request *req, u8 kind)
{
	struct pvnet_tx_slot *s = &tx->slot[tx->free];

	req->id = (u16)(++s->uses << 8 | tx->free);
	tx->free = s->next_free;
	s->kind = kind;
	return s;
}

/* A frame of XDP that the back end does not let go of: who made it forgets it, the kernel keeps its page until it can be
 * revoked.  Such a frame is never of the slab allocator. */
static void xdpf_lost(struct pvnet_tx_slot *s)
{
	struct page *page = virt_to_page(s->xdpf->data);

	get_page(page);
	xdp_return_frame(s->xdpf);
	gnttab_end_foreign_access(s->ref, page);
	s->ref = 0;
}

/* For kmemleak.  What TCP sends is a clone that lies in the same object as the frame it is of. */
static void skb_lost(struct sk_buff *skb)
{
	if (skb->fclone == SKB_FCLONE_CLONE)
		skb = &container_of(skb, struct sk_buff_fclones, skb2)->skb1;
	kmemleak_not_leak(skb);
}

/* False: the back end still uses the page.  Then the frame is never freed: the kernel keeps a reference to the page, but that
 * does not hold an object of the slab allocator, in which a frame may begin. */
static bool slot_give(struct pvnet_tx *tx, struct pvnet_tx_slot *s, int budget)
{
	bool ok = true;

	if (s->kind == PVNET_XDP) {
		tx->granted--;
		ok = gnttab_end_foreign_access_ref(s->ref);
		if (ok)
			xdp_return_frame(s->xdpf);
		else
			xdpf_lost(s);
	} else if (s->kind == PVNET_GRANTED) {
		tx->granted--;
		ok = gnttab_end_foreign_access_ref(s->ref);
		if (!ok) {
			gnttab_end_foreign_access(s->ref, NULL);
			s->ref = 0;
			skb_lost(s->skb);
		} else if (--pending_of(s->skb)->slots == 0) {
			napi_consume_skb(s->skb, budget);
		}
	}
	s->skb = NULL;
	s->kind = PVNET_FREE;
	s->next_free = tx->free;
	tx->free = s - tx->slot;
	return ok;
}

/* --- answers ------------------------------------------------------------------------------------------ */

/* rsp is our copy. */
static bool answer(struct pvnet_queue *q, const struct xen_netif_tx_response *rsp, int budget)
{
	struct pvnet_tx *tx = &q->tx;
	struct pvnet_tx_slot *s;

	if (rsp->status == XEN_NETIF_RSP_NULL) { /* of an extra info; there is no id in it */
		if (tx->extras == 0) {
			pvnet_lie(q, "transmit response of status 1 without an extra info");
			return false;
		}
		tx->extras--;
		return true;
	}
	s = &tx->slot[array_index_nospec(rsp->id & 0xff, PVNET_SLOTS)];
	if (s->kind == PVNET_FREE || s->uses != rsp->id >> 8) {
		pvnet_lie(q, "transmit response to id %#x, which is not outstanding", rsp->id);
		return false;
	}
	if (rsp->status > XEN_NETIF_RSP_OKAY || rsp->status < XEN_NETIF_RSP_DROPPED) {
		pvnet_lie(q, "transmit response to id %#x has status %d", rsp->id, rsp->status);
		return false;
	}
	if (s->kind == PVNET_GROUP) {
		tx->groups--;
		if (rsp->status != XEN_NETIF_RSP_OKAY) {
			set_bit(PVNET_GROUPS_REFUSED, &q->dev->flags);
			pvnet_kick_work(q->dev);
		}
	} else {
		q->n.tx_errors += rsp->status != XEN_NETIF_RSP_OKAY;
	}
	if (!slot_give(tx, s, budget)) {
		pvnet_lie(q, "transmit response to id %#x, but its page is still in use", rsp->id);
		return false;
	}
	return true;
}

/* All answers there are. */
static void reclaim(struct pvnet_queue *q, int budget)
{
	struct xen_netif_tx_response rsp;
	int n, i;

	if (!q->live)
		return;
	n = pvb_ring_front_avail(&q->tx.ring);
	if (n < 0)
		pvnet_lie(q, "transmit response producer %#x, %#x were read and %u are outstanding",
			  pvb_ring_load(&q->tx.ring.sh->rsp_prod), q->tx.ring.cons,
			  q->tx.ring.pushed - q->tx.ring.cons);
	if (n > 0)
		q->tx_worked = true;
	for (i = 0; i < n; i++) {
		pvb_ring_front_take(&q->tx.ring, &rsp, sizeof(rsp));
		if (!answer(q, &rsp, budget))
			return;
	}
}

/* Ask for an event, and look again.  Nobody waits for the first answer: half of those that are due come at a time, and
 * what was copied is missed by nobody at all, until the ring is full. */
static bool rearm(struct pvnet_queue *q, bool full)
{
	struct pvb_ring *ring = &q->tx.ring;
	u32 due = ring->pushed - ring->cons, ahead = max(due / 2, 1u);

	if (q->tx.groups > 0)
		ahead = 1; /* somebody waits for these */
	else if (q->tx.copy && q->tx.granted == 0 && !full)
		ahead = PVNET_SLOTS - ROOM;
	WRITE_ONCE(q->tx.due, ring->cons + ahead);
	pvb_ring_store(&ring->sh->rsp_event, q->tx.due);
	pvb_ring_mb();
	return pvb_ring_front_avail(ring) != 0;
}

/* Room for the next frame, whatever it is; else the queue stops, and answers wake it. */
static void keep_room(struct pvnet_queue *q, struct netdev_queue *txq)
{
	struct pvb_ring *ring = &q->tx.ring;

	if (pvb_ring_front_free(ring) >= ROOM)
		return;
	reclaim(q, 0);
	if (!q->live || pvb_ring_front_free(ring) >= ROOM)
		return;
	netif_tx_stop_queue(txq);
	q->n.tx_full++;
}

static void wake(struct pvnet_queue *q, struct netdev_queue *txq)
{
	if (q->live && q->tx.on && netif_tx_queue_stopped(txq) && pvb_ring_front_free(&q->tx.ring) >= 2 * ROOM)
		netif_tx_wake_queue(txq);
}

void pvnet_tx_clean(struct pvnet_queue *q, int budget)
{
	struct netdev_queue *txq = txq_of(q);

	__netif_tx_lock(txq, smp_processor_id());
	do {
		reclaim(q, budget);
		wake(q, txq);
	} while (q->live && rearm(q, netif_tx_queue_stopped(txq)) && q->live);
	__netif_tx_unlock(txq);
	if (test_and_clear_bit(PVNET_GROUPS_WAIT, &q->dev->flags))
		pvnet_kick_work(q->dev);
}

/* Only for the statistics, so the back end's word is good enough. */
static u32 unread(const struct pvb_ring *ring)
{
	return min(pvb_ring_load(&ring->sh->rsp_prod) - ring->cons, ring->pushed - ring->cons);
}

void pvnet_tx_drop(struct pvnet_queue *q)
{
	struct pvnet_tx *tx = &q->tx;
	struct pvnet_tx_slot *s;
	u32 i, lost = 0;
	bool held;

	if (!tx->slot)
		return;
	for (i = 0; i < PVNET_SLOTS; i++) {
		s = &tx->slot[i];
		lost += s->kind != PVNET_FREE;
		held = s->ref && !gnttab_try_end_foreign_access(s->ref);
		if (held && s->kind == PVNET_XDP)
			xdpf_lost(s);
		else if (s->kind == PVNET_XDP)
			xdp_return_frame(s->xdpf);
		else if (held)
			gnttab_end_foreign_access(s->ref, NULL);
		if (held && s->kind == PVNET_GRANTED)
			skb_lost(s->skb);
		s->ref = 0;
		if (s->kind == PVNET_GRANTED && !held && --pending_of(s->skb)->slots == 0)
			dev_kfree_skb_any(s->skb);
		s->kind = PVNET_FREE;
	}
	q->n.tx_lost += lost - min(lost, unread(&tx->ring));
}

/* --- frames ------------------------------------------------------------------------------------------- */

static void put_extra(struct pvnet_tx *tx, const struct sk_buff *skb)
{
	u8 raw[sizeof(struct xen_netif_tx_request)] = {};
	struct xen_netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

	extra.u.gso.size = skb_shinfo(skb)->gso_size;
	extra.u.gso.type = skb_shinfo(skb)->gso_type & SKB_GSO_TCPV6 ? XEN_NETIF_GSO_TYPE_TCPV6 :
								       XEN_NETIF_GSO_TYPE_TCPV4;
	memcpy(raw, &extra, sizeof(extra));
	pvb_ring_front_put(&tx->ring, raw);
	tx->extras++;
}

/* A frame on its way into slots; the first one's size is the frame's, and the extra info stands behind it. */
struct put {
	struct pvnet_queue *q;
	struct sk_buff *skb;
	u16 left;                       /* slots to come */
	bool first;
};

static void put_slot(struct put *p, struct xen_netif_tx_request *req)
{
	struct pvnet_tx *tx = &p->q->tx;

	if (--p->left > 0)
		req->flags |= XEN_NETTXF_more_data;
	if (!p->first) {
		pvb_ring_front_put(&tx->ring, req);
		return;
	}
	p->first = false;
	req->size = p->skb->len;
	if (p->skb->ip_summed == CHECKSUM_PARTIAL)
		req->flags |= XEN_NETTXF_csum_blank | XEN_NETTXF_data_validated;
	else if (p->skb->ip_summed == CHECKSUM_UNNECESSARY)
		req->flags |= XEN_NETTXF_data_validated;
	if (skb_is_gso(p->skb))
		req->flags |= XEN_NETTXF_extra_info;
	pvb_ring_front_put(&tx->ring, req);
	if (skb_is_gso(p->skb))
		put_extra(tx, p->skb);
}

static void put_granted(struct put *p, struct page *page, u32 offset, u32 len)
{
	struct pvnet_queue *q = p->q;
	u32 n;

	page += offset >> PAGE_SHIFT;
	for (offset &= ~PAGE_MASK; len > 0; len -= n, offset = 0, page++) {
		struct xen_netif_tx_request req = { .offset = offset };
		struct pvnet_tx_slot *s = slot_take(&q->tx, &req, PVNET_GRANTED);

		n = min_t(u32, len, PAGE_SIZE - offset);
		gnttab_grant_foreign_access_ref(s->ref, q->dev->xdev->otherend_id, xen_page_to_gfn(page), true);
		s->skb = p->skb;
		q->tx.granted++;
		req.gref = s->ref;
		req.size = n;
		put_slot(p, &req);
	}
}

static void put_copied(struct put *p)
{
	struct pvnet_tx *tx = &p->q->tx;
	u32 at, n;

	for (at = 0; at < p->skb->len; at += n) {
		struct xen_netif_tx_request req = {};
		struct pvnet_tx_slot *s = slot_take(tx, &req, PVNET_OWN);
		struct pvb_page *own = &tx->own[s - tx->slot];

		n = min_t(u32, p->skb->len - at, PAGE_SIZE);
		/* fails only for lengths that are not the frame's */
		WARN_ON_ONCE(skb_copy_bits(p->skb, at, page_address(own->page), n));
		req.gref = own->ref;
		req.size = n;
		put_slot(p, &req);
	}
}

static u32 pages_of(u32 offset, u32 len)
{
	return len ? DIV_ROUND_UP((offset & ~PAGE_MASK) + len, PAGE_SIZE) : 0;
}

static u32 count_slots(const struct pvnet_queue *q, const struct sk_buff *skb)
{
	const skb_frag_t *frag;
	u32 i, n;

	if (q->tx.copy)
		return DIV_ROUND_UP(skb->len, PAGE_SIZE);
	n = pages_of(offset_in_page(skb->data), skb_headlen(skb));
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		frag = &skb_shinfo(skb)->frags[i];
		n += pages_of(skb_frag_off(frag), skb_frag_size(frag));
	}
	return n;
}

static void put_frame(struct pvnet_queue *q, struct sk_buff *skb, u32 slots)
{
	struct put p = { .q = q, .skb = skb, .left = slots, .first = true };
	const skb_frag_t *frag;
	u32 i;

	q->n.tx_packets++;
	q->n.tx_bytes += skb->len;
	q->n.tx_slots += slots;
	q->n.tx_gso += skb_is_gso(skb);
	q->n.tx_csum_blank += skb->ip_summed == CHECKSUM_PARTIAL;
	skb_tx_timestamp(skb);
	if (q->tx.copy) {
		q->n.tx_copied++;
		put_copied(&p);
		dev_consume_skb_any(skb);
		return;
	}
	pending_of(skb)->slots = slots;
	put_granted(&p, virt_to_page(skb->data), offset_in_page(skb->data), skb_headlen(skb));
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		frag = &skb_shinfo(skb)->frags[i];
		put_granted(&p, skb_frag_page(frag), skb_frag_off(frag), skb_frag_size(frag));
	}
}

static void push(struct pvnet_queue *q)
{
	if (q->tx.ring.pushed == q->tx.ring.prod || !q->live)
		return;
	if (pvb_ring_front_push(&q->tx.ring)) {
		q->n.notify_sent++;
		notify_remote_via_irq(q->tx_irq);
	} else {
		q->n.notify_suppressed++;
	}
}

/* False: it can not be sent. */
static bool send(struct pvnet_queue *q, struct sk_buff *skb)
{
	u32 slots;

	if (skb->len < ETH_HLEN || skb->len > XEN_NETIF_MAX_TX_SIZE)
		return false;
	slots = count_slots(q, skb);
	if (slots > PVNET_MAX_SLOTS) {
		if (skb_linearize(skb))
			return false;
		q->n.tx_linearized++;
		slots = count_slots(q, skb);
	}
	if (slots > PVNET_MAX_SLOTS || pvb_ring_front_free(&q->tx.ring) < slots + skb_is_gso(skb))
		return false;
	put_frame(q, skb, slots);
	return true;
}

/* After frames were put: room for the next one, and the back end told, unless there is more to come at once. */
static void settle(struct pvnet_queue *q, struct netdev_queue *txq, bool more)
{
	if (!q->live || !q->tx.on)
		return;
	keep_room(q, txq);
	if (!more || netif_xmit_stopped(txq))
		push(q);
	/* what was answered before the queue stopped wakes nobody */
	if (netif_tx_queue_stopped(txq) && q->live && rearm(q, true))
		napi_schedule(&q->napi);
}

netdev_tx_t pvnet_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct pvnet_dev *dev = netdev_priv(netdev);
	u16 nr = skb_get_queue_mapping(skb);
	struct netdev_queue *txq = netdev_get_tx_queue(netdev, nr);
	struct pvnet_queue *q = &dev->queues[nr];

	if (!q->tx.on || !q->live) {
		dev_kfree_skb_any(skb);
		q->n.tx_dropped++;
		return NETDEV_TX_OK;
	}
	if (!send(q, skb)) {
		dev_kfree_skb_any(skb);
		q->n.tx_dropped++;
	}
	settle(q, txq, netdev_xmit_more());
	return NETDEV_TX_OK;
}

/* --- frames of XDP ------------------------------------------------------------------------------------ */

/* One that does not lie in one page goes the way of others. */
static bool put_as_skb(struct pvnet_queue *q, const struct xdp_frame *xdpf)
{
	struct sk_buff *skb = netdev_alloc_skb(q->dev->netdev, xdpf->len);

	if (!skb)
		return false;
	skb_put_data(skb, xdpf->data, xdpf->len);
	if (send(q, skb))
		return true;
	dev_kfree_skb_any(skb);
	return false;
}

static void put_xdp(struct pvnet_queue *q, struct xdp_frame *xdpf, u8 kind)
{
	struct xen_netif_tx_request req = { .size = xdpf->len };
	struct pvnet_tx_slot *s = slot_take(&q->tx, &req, kind);
	struct pvb_page *own;

	if (kind == PVNET_OWN) {
		own = &q->tx.own[s - q->tx.slot];
		memcpy(page_address(own->page), xdpf->data, xdpf->len);
		req.gref = own->ref;
		q->n.tx_copied++;
	} else {
		gnttab_grant_foreign_access_ref(s->ref, q->dev->xdev->otherend_id, virt_to_gfn(xdpf->data), true);
		s->xdpf = xdpf;
		q->tx.granted++;
		req.gref = s->ref;
		req.offset = offset_in_page(xdpf->data);
	}
	q->n.tx_packets++;
	q->n.tx_bytes += xdpf->len;
	q->n.tx_slots++;
	pvb_ring_front_put(&q->tx.ring, &req);
}

/* Under the TX lock.  False: it can not be sent, and is still the caller's. */
static bool send_xdp(struct pvnet_queue *q, struct xdp_frame *xdpf)
{
	u32 first = q->tx.copy ? 0 : offset_in_page(xdpf->data);

	if (!q->tx.on || !q->live || xdpf->len < ETH_HLEN || xdp_frame_has_frags(xdpf))
		return false;
	if (first + xdpf->len > PAGE_SIZE) {
		if (!put_as_skb(q, xdpf))
			return false;
		xdp_return_frame(xdpf);
		return true;
	}
	if (pvb_ring_front_free(&q->tx.ring) == 0)
		return false;
	put_xdp(q, xdpf, q->tx.copy ? PVNET_OWN : PVNET_XDP);
	if (q->tx.copy)
		xdp_return_frame(xdpf);
	return true;
}

bool pvnet_tx_xdp(struct pvnet_queue *q, struct xdp_frame *xdpf)
{
	struct netdev_queue *txq = txq_of(q);
	bool ok;

	__netif_tx_lock(txq, smp_processor_id());
	ok = send_xdp(q, xdpf);
	settle(q, txq, true);
	__netif_tx_unlock(txq);
	return ok;
}

void pvnet_tx_push(struct pvnet_queue *q)
{
	struct netdev_queue *txq = txq_of(q);

	__netif_tx_lock(txq, smp_processor_id());
	push(q);
	__netif_tx_unlock(txq);
}

/* Of other devices' programs. */
int pvnet_xdp_xmit(struct net_device *netdev, int n, struct xdp_frame **frames, u32 flags)
{
	struct pvnet_dev *dev = netdev_priv(netdev);
	u32 nr = smp_processor_id() % READ_ONCE(netdev->real_num_tx_queues);
	struct netdev_queue *txq = netdev_get_tx_queue(netdev, nr);
	struct pvnet_queue *q = &dev->queues[nr];
	int sent = 0;

	if (flags & ~XDP_XMIT_FLAGS_MASK)
		return -EINVAL;
	__netif_tx_lock(txq, smp_processor_id());
	while (sent < n && send_xdp(q, frames[sent]))
		sent++;
	q->n.xdp_xmit += sent;
	q->n.tx_dropped += n - sent;
	settle(q, txq, !(flags & XDP_XMIT_FLUSH));
	__netif_tx_unlock(txq);
	return sent;
}

/* --- multicast groups --------------------------------------------------------------------------------- */

/* A request without data: only its extra info counts. */
static void put_group(struct pvnet_queue *q, const u8 *addr, bool add)
{
	struct xen_netif_extra_info extra = {
		.type = add ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD : XEN_NETIF_EXTRA_TYPE_MCAST_DEL,
	};
	struct xen_netif_tx_request req = { .flags = XEN_NETTXF_extra_info };
	struct pvnet_tx_slot *s = slot_take(&q->tx, &req, PVNET_GROUP);
	u8 raw[sizeof(struct xen_netif_tx_request)] = {};

	memcpy(extra.u.mcast.addr, addr, ETH_ALEN);
	memcpy(raw, &extra, sizeof(extra));
	req.gref = s->ref; /* never looked at */
	pvb_ring_front_put(&q->tx.ring, &req);
	pvb_ring_front_put(&q->tx.ring, raw);
	q->tx.extras++;
	q->tx.groups++;
}

bool pvnet_tx_group(struct pvnet_queue *q, const u8 *addr, bool add)
{
	struct netdev_queue *txq = txq_of(q);
	bool room;

	__netif_tx_lock_bh(txq);
	reclaim(q, 0);
	room = q->live && q->tx.on && pvb_ring_front_free(&q->tx.ring) >= 2;
	if (room) {
		put_group(q, addr, add);
		keep_room(q, txq);
		push(q);
		if (rearm(q, true))
			napi_schedule(&q->napi);
	}
	__netif_tx_unlock_bh(txq);
	return room;
}
