// SPDX-License-Identifier: GPL-2.0-or-later
/* The network back end dies at each point of its way.  Two NICs of one guest are on a switch: each packet has its answers
 * once and in order, each buffer comes back once, frames arrive whole (some again, after a death), the control ring's
 * requests are carried out as they were made.
 *
 *	crash-net [--all | --stride=N[:K]] [--only=SCRIPT] [--list]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bus/loop.h"
#include "crash-rig.h"
#include "nic-frames.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

#define RING 256u             /* slots of TX and RX */
#define CTRL_RING 128u
#define TX_PAGES 64u
#define POSTED 200u           /* buffers lent at most */
#define UNTOUCHED 0xee
#define STRIDE 29u            /* of so many cases `make check` runs one */
#define MAX_FRAMES 16u
#define MAX_SLOTS 128u
#define MAX_CTRL 16u
#define BATCHES 4u
#define LIST_PAGES 8u         /* of the control ring's requests, and of the pools */
#define POOL 5u

enum packet { ONE, MANY, LARGE, GROUP, JOIN, LEAVE, GROUP_LEFT, OTHER_GROUP, TOO_SHORT };

struct batch {
	enum packet a[8], b[8];   /* of either NIC */
	unsigned nr_a, nr_b;
	bool lost_ok;             /* the receiver has no room, or the wrong one, for too long */
	bool hashed;              /* B's frames have hashes now */
	unsigned post;            /* buffers of B in the middle of it */
	void (*ctrl)(void);       /* requests of B's control ring */
	void (*after)(void);      /* looks at what they made of it */
};

struct script {
	struct batch batch[BATCHES];
	unsigned nr_batches;
	bool shared_event;
	bool pools;               /* Oracle's: B's first pages each way are mapped from the beginning */
	unsigned lent;            /* by B in the beginning; 0: POSTED */
	bool bad_buffer;          /* B's third one */
};

struct ring {
	struct pvb_grant grant;
	struct pvb_ring_shared *sh;
	uint8_t *slots;
	uint32_t port, prod, cons;
};

struct sent { uint8_t bytes[40000]; uint32_t len; uint8_t gso; uint16_t gso_size; uint32_t hash; };

struct nic {
	struct crash_device *dev;
	uint8_t mac[6];
	struct ring tx, rx, ctrl;
	struct pvb_grant pages, buffers;
	/* of the batch that is on its way: what is to come */
	struct netif_tx_response answer[MAX_SLOTS];
	unsigned nr_answers, answered, next_page;
	struct sent frame[MAX_FRAMES];   /* to the other NIC */
	unsigned nr_frames;
	/* as the receiver */
	unsigned arrived, again;         /* of the other's frames; how often they began anew */
	unsigned lost;
};

static struct crash_rig rig;
static struct nic nics[2], *const a = &nics[0], *const b = &nics[1];
static const struct script *script;
static const struct batch *now;
static unsigned at_batch;
static struct pvb_grant lists;
static uint8_t got[66000];
/* hashes of the run in which nobody died: the others' must be the same */
static uint32_t hashes[BATCHES][MAX_FRAMES];

static struct xen_netif_ctrl_response ctrl_answer[MAX_CTRL];
static unsigned nr_ctrl, ctrl_answered;
static uint8_t seed;          /* of the next frame; every case has the same frames */

static const uint8_t group[6] = { 0x01, 0, 0x5e, 0, 0, 1 }, other_group[6] = { 0x01, 0, 0x5e, 0, 0, 2 };

/* ---- packets out ------------------------------------------------------------------------------------------------- */

static uint8_t *slot_of(struct ring *r, uint32_t index, unsigned nr, unsigned size)
{
	return r->slots + (size_t)(index & (nr - 1)) * size;
}

static void put_slot(struct nic *n, const void *slot, uint16_t id, int16_t status)
{
	memcpy(slot_of(&n->tx, n->tx.prod++, RING, 12), slot, 12);
	CRASH_CHECK(&rig, n->nr_answers < MAX_SLOTS, "a test of too many slots");
	n->answer[n->nr_answers++] = (struct netif_tx_response){ .id = id, .status = status };
}

static void put_request(struct nic *n, unsigned page, unsigned offset, unsigned size, unsigned flags, int16_t status)
{
	struct netif_tx_request req = { .gref = n->pages.refs[page], .offset = (uint16_t)offset, .flags = (uint16_t)flags,
					.id = (uint16_t)(n->tx.prod & (RING - 1)), .size = (uint16_t)size };

	put_slot(n, &req, req.id, status);
}

static void put_extra(struct nic *n, const struct netif_extra_info *x)
{
	uint8_t slot[12] = { 0 };

	memcpy(slot, x, sizeof(*x));
	put_slot(n, slot, 0, NETIF_RSP_NULL);
}

/* In slots of `piece` bytes, each with pages of its own. */
static void put_frame(struct nic *n, struct sent *f, unsigned piece, unsigned flags)
{
	uint32_t done = 0;

	while (done < f->len) {
		uint32_t len = f->len - done < piece ? f->len - done : piece, offset = piece == PVB_PAGE_SIZE ? 0 : 64;
		bool more = done + len < f->len;
		unsigned page = n->next_page++;

		CRASH_CHECK(&rig, page < TX_PAGES, "a test of too many pages");
		memcpy((uint8_t *)n->pages.addr + page * PVB_PAGE_SIZE + offset, f->bytes + done, len);
		put_request(n, page, offset, done == 0 ? f->len : len,
			    (done == 0 ? flags : 0) | (more ? NETTXF_more_data : 0), NETIF_RSP_OKAY);
		if (done == 0 && f->gso) {
			struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

			x.u.gso.type = f->gso;
			x.u.gso.size = f->gso_size;
			put_extra(n, &x);
		}
		done += len;
	}
}

static struct sent *make(struct nic *n, const uint8_t *to, uint32_t len, bool gso, bool expected)
{
	static struct sent dropped;
	struct shape s = { .version = 4, .tcp = true, .blank = gso, .len = len, .seed = seed };
	struct sent *f = expected ? &n->frame[n->nr_frames++] : &dropped;

	CRASH_CHECK(&rig, n->nr_frames <= MAX_FRAMES, "a test of too many frames");
	seed++;
	f->len = make_frame(f->bytes, &s).len;
	memcpy(f->bytes, to, 6);
	memcpy(f->bytes + 6, n->mac, 6);
	f->gso = gso ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_NONE;
	f->gso_size = gso ? 1400 : 0;
	return f;
}

static void put_list_change(struct nic *n, bool add)
{
	struct netif_extra_info x = { .type = add ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD : XEN_NETIF_EXTRA_TYPE_MCAST_DEL };

	memcpy(x.u.mcast.addr, group, 6);
	put_request(n, n->next_page++, 0, 0, NETTXF_extra_info, NETIF_RSP_OKAY);
	put_extra(n, &x);
}

static void put(struct nic *n, enum packet p)
{
	const uint8_t *to = n == a ? b->mac : a->mac;

	switch (p) {
	case ONE:
		put_frame(n, make(n, to, 90, false, true), PVB_PAGE_SIZE, NETTXF_data_validated);
		break;
	case MANY:
		put_frame(n, make(n, to, 6000, false, true), 2100, 0);
		break;
	case LARGE:
		put_frame(n, make(n, to, 14000, true, true), PVB_PAGE_SIZE,
			  NETTXF_extra_info | NETTXF_csum_blank | NETTXF_data_validated);
		break;
	case GROUP:
		put_frame(n, make(n, group, 120, false, true), PVB_PAGE_SIZE, 0);
		break;
	case GROUP_LEFT:
	case OTHER_GROUP:
		put_frame(n, make(n, p == GROUP_LEFT ? group : other_group, 120, false, false), PVB_PAGE_SIZE, 0);
		break;
	case JOIN:
	case LEAVE:
		put_list_change(n, p == JOIN);
		break;
	case TOO_SHORT:
		put_request(n, n->next_page++, 0, 13, 0, NETIF_RSP_ERROR);
	}
}

static void publish(struct ring *r)
{
	__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE);
	if (r->port != UINT32_MAX)
		pvb_hv_evt_notify(rig.hv, r->port);
}

static uint32_t unread(struct ring *r)
{
	pvb_ring_store(&r->sh->rsp_event, r->cons + 1);
	pvb_ring_mb();
	return __atomic_load_n(&r->sh->rsp_prod, __ATOMIC_ACQUIRE) - r->cons;
}

static void take_answers(struct nic *n)
{
	for (uint32_t nr; (nr = unread(&n->tx)) > 0;) {
		struct netif_tx_response rsp, *expected = &n->answer[n->answered];

		CRASH_CHECK(&rig, nr <= n->nr_answers - n->answered, "%u TX answers where %u are to come", nr,
			    n->nr_answers - n->answered);
		memcpy(&rsp, slot_of(&n->tx, n->tx.cons++, RING, 12), sizeof(rsp));
		CRASH_CHECK(&rig, rsp.status == expected->status && (rsp.status == NETIF_RSP_NULL || rsp.id == expected->id),
			    "TX answer %u: id %u status %d, expected %u, %d", n->answered, rsp.id, rsp.status, expected->id,
			    expected->status);
		n->answered++;
	}
}

/* ---- frames in --------------------------------------------------------------------------------------------------- */

static void lend(struct nic *n, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++, n->rx.prod++) {
		uint32_t at = n->rx.prod & (RING - 1);
		struct netif_rx_request req = { .id = (uint16_t)at, .gref = n->buffers.refs[at] };

		if (script->bad_buffer && n == b && n->rx.prod == rig.start + 2)
			req.gref = 0x00fffff0;
		memset((uint8_t *)n->buffers.addr + at * PVB_PAGE_SIZE, UNTOUCHED, PVB_PAGE_SIZE);
		memcpy(slot_of(&n->rx, n->rx.prod, RING, 8), &req, sizeof(req));
	}
	publish(&n->rx);
}

struct arrival { uint32_t len; uint8_t gso; uint16_t gso_size; bool hashed, blank; uint32_t hash; int status; };

static const uint8_t *rx_slot(struct nic *n, uint32_t end)
{
	CRASH_CHECK(&rig, n->rx.cons != end, "half a frame is shown");
	return slot_of(&n->rx, n->rx.cons++, RING, 8);
}

static void take_extra(struct nic *n, uint32_t end, struct arrival *f, bool *more)
{
	struct netif_extra_info x;

	memcpy(&x, rx_slot(n, end), sizeof(x));
	*more = x.flags & XEN_NETIF_EXTRA_FLAG_MORE;
	if (x.type == XEN_NETIF_EXTRA_TYPE_GSO) {
		f->gso = x.u.gso.type;
		f->gso_size = x.u.gso.size;
		return;
	}
	CRASH_CHECK(&rig, x.type == XEN_NETIF_EXTRA_TYPE_HASH, "an extra info of type %u", x.type);
	f->hashed = true;
	memcpy(&f->hash, x.u.hash.value, 4);
}

static void take_frame(struct nic *n, uint32_t end, struct arrival *f)
{
	bool more = true, extra, first = true;

	*f = (struct arrival){ 0 };
	for (; more; first = false) {
		uint32_t at = n->rx.cons & (RING - 1);
		struct netif_rx_response rsp;

		memcpy(&rsp, rx_slot(n, end), sizeof(rsp));
		CRASH_CHECK(&rig, rsp.id == at, "RX answer in slot %u has id %u", at, rsp.id);
		more = rsp.flags & NETRXF_more_data;
		if (first)
			f->blank = rsp.flags & NETRXF_csum_blank;
		extra = first && (rsp.flags & NETRXF_extra_info);
		while (extra)
			take_extra(n, end, f, &extra);
		if (rsp.status < 0) {
			f->status = rsp.status;
			continue;
		}
		CRASH_CHECK(&rig, rsp.offset + rsp.status <= (int)PVB_PAGE_SIZE && f->len + (uint32_t)rsp.status < sizeof(got),
			    "RX answer of %d bytes at %u", rsp.status, rsp.offset);
		memcpy(got + f->len, (uint8_t *)n->buffers.addr + at * PVB_PAGE_SIZE + rsp.offset, (size_t)rsp.status);
		f->len += (uint32_t)rsp.status;
	}
}

static bool is_frame(const struct arrival *f, const struct sent *s)
{
	return f->len == s->len && memcmp(got, s->bytes, f->len) == 0;
}

static void take_hash(const struct arrival *f, unsigned i)
{
	CRASH_CHECK(&rig, f->hashed == now->hashed, "frame %u: %s", i, f->hashed ? "a hash" : "no hash");
	if (rig.first_nth == 0)
		hashes[at_batch][i] = f->hash;
	CRASH_CHECK(&rig, f->hash == hashes[at_batch][i] && (f->hash != 0) == f->hashed, "frame %u: hash %#x, expected %#x",
		    i, f->hash, hashes[at_batch][i]);
}

/* B is connected first: what it sends before A is, nobody gets. */
static bool may_lose(const struct nic *n)
{
	return now->lost_ok || (n == a && (rig.deaths || at_batch == 0));
}

/* The next one, or, when somebody has died meanwhile, one that was there already. */
static void take_frames(struct nic *n)
{
	struct nic *from = n == a ? b : a;

	for (uint32_t nr; (nr = unread(&n->rx)) > 0;) {
		uint32_t end = n->rx.cons + nr;
		struct arrival f;
		unsigned i;

		CRASH_CHECK(&rig, nr <= n->rx.prod - n->rx.cons, "%u RX answers where %u buffers are lent", nr,
			    n->rx.prod - n->rx.cons);
		take_frame(n, end, &f);
		if (f.status) {
			CRASH_CHECK(&rig, now->lost_ok && f.status == NETIF_RSP_ERROR, "a frame with status %d", f.status);
			n->lost++;
			continue;
		}
		for (i = n->arrived; i < from->nr_frames && !is_frame(&f, &from->frame[i]); i++)
			CRASH_CHECK(&rig, may_lose(n), "frame %u has not come, but something else (%u bytes)", i, f.len);
		if (i == from->nr_frames) {
			for (i = 0; i < n->arrived && !is_frame(&f, &from->frame[i]); i++)
				;
			CRASH_CHECK(&rig, i < n->arrived, "a frame of %u bytes that nobody has sent", f.len);
			CRASH_CHECK(&rig, ++n->again <= rig.deaths, "frames began anew %u times", n->again);
		}
		CRASH_CHECK(&rig, f.gso == from->frame[i].gso && f.gso_size == from->frame[i].gso_size &&
			    f.blank == (f.gso != 0), "frame %u: GSO %u of %u%s", i, f.gso, f.gso_size,
			    f.blank ? ", blank" : "");
		if (n == b)
			take_hash(&f, i);
		n->arrived = i + 1;
	}
}

/* ---- control ring ------------------------------------------------------------------------------------------------ */

static void ask(unsigned type, uint32_t x, uint32_t y, uint32_t z, uint32_t status, uint32_t data)
{
	struct xen_netif_ctrl_request req = { .id = (uint16_t)(77 + b->ctrl.prod), .type = (uint16_t)type, .data = { x, y, z } };

	CRASH_CHECK(&rig, nr_ctrl < MAX_CTRL, "a test of too many control requests");
	memcpy(slot_of(&b->ctrl, b->ctrl.prod++, CTRL_RING, 16), &req, sizeof(req));
	ctrl_answer[nr_ctrl++] = (struct xen_netif_ctrl_response){ .id = req.id, .type = req.type, .status = status,
								   .data = data };
}

static void take_ctrl(void)
{
	for (uint32_t nr; (nr = unread(&b->ctrl)) > 0;) {
		struct xen_netif_ctrl_response rsp, *e = &ctrl_answer[ctrl_answered];

		CRASH_CHECK(&rig, nr <= nr_ctrl - ctrl_answered, "%u control answers where %u are to come", nr,
			    nr_ctrl - ctrl_answered);
		memcpy(&rsp, slot_of(&b->ctrl, b->ctrl.cons++, CTRL_RING, 16), sizeof(rsp));
		CRASH_CHECK(&rig, rsp.id == e->id && rsp.type == e->type && rsp.status == e->status && rsp.data == e->data,
			    "control answer %u: id %u type %u status %u data %u, expected %u, %u, %u, %u", ctrl_answered,
			    rsp.id, rsp.type, rsp.status, rsp.data, e->id, e->type, e->status, e->data);
		ctrl_answered++;
	}
}

static struct xen_netif_gref *list(unsigned page)
{
	return (void *)((uint8_t *)lists.addr + page * PVB_PAGE_SIZE);
}

#define OK XEN_NETIF_CTRL_STATUS_SUCCESS
#define INVALID XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER
#define ALL_TYPES 15u

static void ctrl_hash(void)
{
	uint8_t *key = (uint8_t *)list(0);

	for (unsigned i = 0; i < 40; i++)
		key[i] = (uint8_t)(i * 37 + 11);
	memset(list(1), 0, PVB_PAGE_SIZE); /* all to queue 0 */
	ask(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0, XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED, 0);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0, OK, ALL_TYPES);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, ALL_TYPES, 0, 0, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, lists.refs[0], 40, 0, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 8, 0, 0, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, lists.refs[1], 8, 0, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, lists.refs[1], 2, 7, INVALID, 0);
}

static void ctrl_no_hash(void)
{
	ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_NONE, 0, 0, OK, 0);
}

/* B's first pages each way, then two with a third that is nobody's. */
static void ctrl_map(void)
{
	for (unsigned i = 0; i < 3; i++) {
		list(2)[i] = (struct xen_netif_gref){ .ref = b->pages.refs[i], .flags = XEN_NETIF_CTRLF_GREF_readonly };
		list(2)[3 + i] = (struct xen_netif_gref){ .ref = b->buffers.refs[(rig.start + 4 + i) & (RING - 1)] };
		list(3)[i] = (struct xen_netif_gref){ .ref = i == 2 ? 0x00fffff0 : b->pages.refs[10 + i],
						      .flags = XEN_NETIF_CTRLF_GREF_readonly };
	}
	ask(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, 0, 0, 0, OK, 512);
	ask(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, lists.refs[2], 6, OK, 0);
	ask(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, lists.refs[3], 3, INVALID, 0);
}

/* Two that are there, one a second time, one that never came in. */
static void ctrl_unmap(void)
{
	const uint32_t refs[] = { b->pages.refs[0], b->buffers.refs[(rig.start + 4) & (RING - 1)], b->pages.refs[0],
				  b->pages.refs[10] };

	for (unsigned i = 0; i < 4; i++)
		list(4)[i] = (struct xen_netif_gref){ .ref = refs[i], .status = 77 };
	ask(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, lists.refs[4], 4, OK, 2);
}

static void after_unmap(void)
{
	for (unsigned i = 0; i < 4; i++)
		CRASH_CHECK(&rig, list(4)[i].status == (i < 2 ? OK : INVALID), "entry %u of the list: status %u", i,
			    list(4)[i].status);
}

/* Each pool's first page. */
static void ctrl_unmap_pool(void)
{
	list(4)[0] = (struct xen_netif_gref){ .ref = b->pages.refs[0], .status = 77 };
	list(4)[1] = (struct xen_netif_gref){ .ref = b->buffers.refs[rig.start & (RING - 1)], .status = 77 };
	ask(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, lists.refs[4], 2, OK, 2);
}

/* Who goes on does not read the pools again. */
static void ctrl_unmap_pool_again(void)
{
	ask(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, lists.refs[4], 2, OK, 0);
}

static void after_unmap_pool(void)
{
	for (unsigned i = 0; i < 2; i++)
		CRASH_CHECK(&rig, list(4)[i].status == OK, "entry %u of the list: status %u", i, list(4)[i].status);
}

/* ---- a case ------------------------------------------------------------------------------------------------------ */

static bool hear(void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		if (crash_rang(&rig, nics[i].tx.port))
			take_answers(&nics[i]);
		if (crash_rang(&rig, script->shared_event ? nics[i].tx.port : nics[i].rx.port))
			take_frames(&nics[i]);
	}
	if (crash_rang(&rig, b->ctrl.port))
		take_ctrl();
	return a->answered == a->nr_answers && b->answered == b->nr_answers && ctrl_answered == nr_ctrl;
}

/* At all of them, whatever rang. */
static bool look(void)
{
	for (unsigned i = 0; i < 2; i++) {
		take_answers(&nics[i]);
		take_frames(&nics[i]);
	}
	take_ctrl();
	return hear(NULL);
}

static void fresh_ring(struct ring *r)
{
	memset(r->slots, 0xa5, PVB_PAGE_SIZE - sizeof(*r->sh));
	r->prod = r->cons = r->sh->req_prod = r->sh->rsp_prod = rig.start;
	r->sh->req_event = r->sh->rsp_event = rig.start + 1;
}

static void fresh_pools(void)
{
	struct nif_connect *c = &b->dev->connect.u.connect.nif;

	for (unsigned i = 0; i < POOL; i++) {
		list(5)[i] = (struct xen_netif_gref){ .ref = b->pages.refs[i], .flags = XEN_NETIF_CTRLF_GREF_readonly };
		list(6)[i] = (struct xen_netif_gref){ .ref = b->buffers.refs[(rig.start + 2 * i) & (RING - 1)] };
	}
	c->queue[0].tx_pool_ref = lists.refs[5];
	c->queue[0].rx_pool_ref = lists.refs[6];
	c->queue[0].tx_pool_size = c->queue[0].rx_pool_size = script->pools ? POOL : 0;
}

static void fresh(void)
{
	seed = 0;
	fresh_pools();
	for (unsigned i = 0; i < 2; i++) {
		struct nic *n = &nics[i];
		struct nif_connect *c = &n->dev->connect.u.connect.nif;

		fresh_ring(&n->tx);
		fresh_ring(&n->rx);
		fresh_ring(&n->ctrl);
		c->queue[0].rx_port = script->shared_event ? c->queue[0].tx_port : n->rx.port;
		memset(n->buffers.addr, UNTOUCHED, (size_t)RING * PVB_PAGE_SIZE);
		n->nr_frames = 0;
		lend(n, n == b && script->lent ? script->lent : POSTED);
	}
	crash_journals(&rig);
}

static void push(void)
{
	for (unsigned i = 0; i < 2; i++) {
		nics[i].nr_answers = nics[i].answered = nics[i].next_page = 0;
		nics[i].nr_frames = nics[i].arrived = nics[i].again = nics[i].lost = 0;
	}
	nr_ctrl = ctrl_answered = 0;
	for (unsigned i = 0; i < now->nr_a; i++)
		put(a, now->a[i]);
	for (unsigned i = 0; i < now->nr_b; i++)
		put(b, now->b[i]);
	if (now->ctrl)
		now->ctrl();
	publish(&b->ctrl);
	publish(&a->tx);
	publish(&b->tx);
}

static void check_batch(void)
{
	uint32_t nr;

	look();
	for (unsigned i = 0; i < 2; i++) {
		struct nic *n = &nics[i];
		unsigned sent = nics[!i].nr_frames;

		CRASH_CHECK(&rig, n->arrived == sent || may_lose(n), "NIC %u: %u of %u frames arrived", i, n->arrived, sent);
		nr = n->rx.prod - n->rx.cons;
		for (uint32_t k = n->rx.prod; k - rig.start < RING; k++) {
			const uint8_t *page = (uint8_t *)n->buffers.addr + (k & (RING - 1)) * PVB_PAGE_SIZE;

			CRASH_CHECK(&rig, page[0] == UNTOUCHED && memcmp(page, page + 1, PVB_PAGE_SIZE - 1) == 0,
				    "NIC %u: a page that was never lent was written to", i);
		}
		if (!script->lent)
			lend(n, POSTED - nr);
	}
	if (now->after)
		now->after();
}

static void run(struct crash_rig *r, const struct crash_scenario *s)
{
	script = s->arg;
	now = &script->batch[0];
	fresh();
	for (at_batch = 0; at_batch < script->nr_batches; at_batch++) {
		now = &script->batch[at_batch];
		push();
		if (at_batch == 0)
			crash_start(r);
		if (now->post) {
			crash_idle(r);
			lend(b, now->post);
		}
		if (!now->post || !look()) /* its events were heard while it became idle */
			crash_wait(r, hear, NULL, "answers");
		crash_idle(r);
		check_batch();
	}
	crash_stop(r);
}

/* ---- which cases ------------------------------------------------------------------------------------------------- */

static void make_ring(struct ring *r)
{
	int port;

	CRASH_CHECK(&rig, pvb_hv_grant(rig.hv, 0, 1, true, &r->grant) == 0, "no ring");
	r->sh = r->grant.addr;
	r->slots = (uint8_t *)(r->sh + 1);
	port = pvb_hv_evt_alloc(rig.hv, 0);
	CRASH_CHECK(&rig, port >= 0, "no port");
	r->port = (uint32_t)port;
}

static void drop_ring(struct ring *r)
{
	pvb_hv_evt_unbind(rig.hv, r->port);
	pvb_hv_ungrant(rig.hv, &r->grant);
}

static void make_nic(struct nic *n, unsigned devid)
{
	struct ipc_msg *m = &n->dev->attach;
	struct nif_connect *c = &n->dev->connect.u.connect.nif;

	memcpy(n->mac, (uint8_t[]){ 0, 0x16, 0x3e, 0, 0, (uint8_t)(1 + devid) }, 6);
	make_ring(&n->tx);
	make_ring(&n->rx);
	make_ring(&n->ctrl);
	CRASH_CHECK(&rig, pvb_hv_grant(rig.hv, 0, TX_PAGES, false, &n->pages) == 0 &&
		    pvb_hv_grant(rig.hv, 0, RING, true, &n->buffers) == 0, "no pages");
	*m = (struct ipc_msg){ .type = IPC_ATTACH, .class = IPC_VIF, .domid = rig.domid, .devid = devid };
	m->u.attach_nic.cfg = (struct nif_config){ .domid = rig.domid, .devid = devid, .mtu = 1500, .gref_tables = true };
	memcpy(m->u.attach_nic.cfg.mac, n->mac, 6);
	m->u.attach_nic.queues = 1;
	snprintf(m->u.attach_nic.target, sizeof(m->u.attach_nic.target), "switch:crash");
	n->dev->connect = (struct ipc_msg){ .type = IPC_CONNECT, .class = IPC_VIF, .domid = rig.domid, .devid = devid };
	*c = (struct nif_connect){ .nr_queues = 1, .rx_notify = true, .sg = true, .gso4 = true, .gso6 = true, .csum4 = true,
				   .csum6 = true, .multicast_control = n == b, .ctrl = n == b,
				   .ctrl_ref = n->ctrl.grant.refs[0], .ctrl_port = n->ctrl.port };
	c->queue[0].tx_ref = n->tx.grant.refs[0];
	c->queue[0].rx_ref = n->rx.grant.refs[0];
	c->queue[0].tx_port = n->tx.port;
	n->dev->stats_fd = memfd_create("stats", MFD_CLOEXEC);
	CRASH_CHECK(&rig, ftruncate(n->dev->stats_fd, sizeof(struct nif_stats)) == 0, "no statistics");
}

static void begin(void)
{
	crash_rig_new(&rig, 2048);
	rig.place = "crash";
	rig.no_uring = true;
	rig.nr_devs = 2;
	/* the receiver of most comes first, so that nothing is lost because it is not there yet */
	b->dev = &rig.dev[0];
	a->dev = &rig.dev[1];
	make_nic(a, 0);
	make_nic(b, 1);
	CRASH_CHECK(&rig, pvb_hv_grant(rig.hv, 0, LIST_PAGES, true, &lists) == 0, "no pages");
}

static void end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		drop_ring(&nics[i].tx);
		drop_ring(&nics[i].rx);
		drop_ring(&nics[i].ctrl);
		pvb_hv_ungrant(rig.hv, &nics[i].pages);
		pvb_hv_ungrant(rig.hv, &nics[i].buffers);
	}
	pvb_hv_ungrant(rig.hv, &lists);
	crash_rig_free(&rig);
}

static const struct script frames = {
	.nr_batches = 4,
	.batch = {
		{ .a = { ONE, MANY, LARGE, TOO_SHORT }, .nr_a = 4, .b = { JOIN, LEAVE, JOIN, ONE }, .nr_b = 4 },
		{ .a = { GROUP, OTHER_GROUP, LARGE, ONE }, .nr_a = 4, .b = { MANY, LARGE, ONE }, .nr_b = 3 },
		{ .b = { LEAVE }, .nr_b = 1 },
		{ .a = { GROUP_LEFT, MANY }, .nr_a = 2 },
	},
};
static const struct script shared_event = {
	.nr_batches = 2,
	.shared_event = true,
	.batch = {
		{ .a = { ONE, LARGE }, .nr_a = 2, .b = { ONE, MANY }, .nr_b = 2 },
		{ .a = { MANY }, .nr_a = 1, .b = { LARGE }, .nr_b = 1 },
	},
};
static const struct script control = {
	.nr_batches = 4,
	.batch = {
		{ .ctrl = ctrl_hash },
		{ .a = { ONE, LARGE, MANY }, .nr_a = 3, .b = { ONE }, .nr_b = 1, .hashed = true },
		{ .ctrl = ctrl_no_hash },
		{ .a = { ONE }, .nr_a = 1 },
	},
};
static const struct script staged = {
	.nr_batches = 4,
	.batch = {
		{ .ctrl = ctrl_map },
		{ .a = { LARGE, MANY, ONE, ONE }, .nr_a = 4, .b = { ONE, MANY, ONE }, .nr_b = 3 },
		{ .ctrl = ctrl_unmap, .after = after_unmap },
		{ .a = { ONE, LARGE }, .nr_a = 2, .b = { LARGE }, .nr_b = 1 },
	},
};
static const struct script pools = {
	.nr_batches = 3,
	.pools = true,
	.batch = {
		{ .a = { MANY, LARGE, ONE }, .nr_a = 3, .b = { ONE, MANY, ONE }, .nr_b = 3 },
		{ .ctrl = ctrl_unmap_pool, .after = after_unmap_pool },
		{ .ctrl = ctrl_unmap_pool_again },
	},
};
static const struct script no_room = {
	.nr_batches = 1,
	.lent = 2,
	.batch = { { .a = { MANY, ONE, ONE }, .nr_a = 3, .lost_ok = true, .post = 60 } },
};
static const struct script bad_buffer = {
	.nr_batches = 1,
	.bad_buffer = true,
	.batch = { { .a = { ONE, MANY, LARGE }, .nr_a = 3, .lost_ok = true } },
};
static const struct { const char *name; const struct script *script; } scripts[] = {
	{ "frames", &frames }, { "shared event channel", &shared_event }, { "hash", &control }, { "staging grants", &staged },
	{ "pools", &pools }, { "no room", &no_room }, { "a buffer that is not one", &bad_buffer },
};

/* Index and ring wrap at once, early and late; the ring alone; neither. */
static const uint32_t starts[] = { 0xfffffffe, 0xfffffff0, 0x000000f9, 5 };

int main(int argc, char **argv)
{
	const char *only = NULL;
	unsigned stride = STRIDE;

	for (int i = 1; i < argc; i++) {
		if (crash_stride(argv[i], &stride))
			continue;
		if (strncmp(argv[i], "--only=", 7) == 0)
			only = argv[i] + 7;
		else if (strcmp(argv[i], "--list") == 0)
			return crash_list(), 0;
		else
			return fprintf(stderr, "usage: crash-net [--all | --stride=N[:K]] [--only=SCRIPT] [--list]\n"), 2;
	}
	begin();
	for (unsigned i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct crash_scenario s = { scripts[i].name, run, scripts[i].script };
		uint64_t t = pvb_now_ms();

		if (only && strcmp(only, s.name) != 0)
			continue;
		for (unsigned k = 0; k < sizeof(starts) / sizeof(starts[0]); k++)
			crash_all(&rig, &s, starts[k], stride, false);
		if (scripts[i].script == &frames || scripts[i].script == &staged)
			crash_all(&rig, &s, starts[0], stride, true);
		printf("%s: %llu ms\n", s.name, (unsigned long long)(pvb_now_ms() - t));
	}
	end();
	return crash_report("crash-net") || only ? 0 : 1;
}
