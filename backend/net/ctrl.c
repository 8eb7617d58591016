// SPDX-License-Identifier: GPL-2.0-or-later
/* ctrl.c: the control ring: how a guest wants its packets hashed, and which pages are to be mapped for good.  Each
 * request is carried out and answered before the next one is read.  One that a worker died over is carried out again, from
 * the journal's copy, as a half-written answer is no request; for that, lists of pages say there how far they came. */
#include <string.h>
#include "nif-impl.h"

#define LIST_ENTRIES (PVB_PAGE_SIZE / sizeof(struct xen_netif_gref))

/* What a request names is copied once, to here. */
union page {
	uint8_t key[NIFJ_KEY];
	uint32_t mapping[NIFJ_MAPPING];
	struct xen_netif_gref list[LIST_ENTRIES];
};
_Static_assert(sizeof(union page) == PVB_PAGE_SIZE && LIST_ENTRIES == NIF_MAX_GREFS && LIST_ENTRIES == NIFJ_LIST,
	       "a list fills a page");

static bool copy_page(struct nif *nif, void *local, uint32_t ref, uint32_t len, bool from_guest)
{
	struct pvb_copy_end guest = { .ref = ref, .domid = (uint16_t)nif->cfg.domid }, ours = { .local = local };
	struct pvb_copy op = { .src = from_guest ? guest : ours,
			       .dst = from_guest ? ours : guest,
			       .len = (uint16_t)len };

	if (len == 0)
		return true;
	op.status = 1;
	(void)pvb_hv_copy(nif->ctx->hv, &op, 1);
	nif->ctx->copy_calls++;
	if (op.status != 0)
		nif_refused(nif, "control ring: grant %u: copy failed with status %d", ref, op.status);
	return op.status == 0;
}

/* ---- hash ---------------------------------------------------------------------------------------------------- */

static uint32_t set_algorithm(struct nif *nif, uint32_t algorithm)
{
	if (algorithm > XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	nifj_state_begin(nif->queues[0].j)->hash_algorithm = algorithm;
	nifj_state_end(nif->queues[0].j);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

#define ALL_TYPES (XEN_NETIF_CTRL_HASH_TYPE_IPV4 | XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP | XEN_NETIF_CTRL_HASH_TYPE_IPV6 | \
		   XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP)

static uint32_t set_flags(struct nif *nif, uint32_t flags)
{
	if (flags & ~(uint32_t)ALL_TYPES)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	nifj_state_begin(nif->queues[0].j)->hash_flags = flags;
	nifj_state_end(nif->queues[0].j);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_key(struct nif *nif, uint32_t ref, uint32_t len)
{
	struct nifj_state *s;
	union page page;

	if (len > NIFJ_KEY)
		return XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
	if (!copy_page(nif, page.key, ref, len, true))
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	s = nifj_state_begin(nif->queues[0].j);
	memset(s->key, 0, sizeof(s->key));
	memcpy(s->key, page.key, len);
	s->key_len = len;
	nifj_state_end(nif->queues[0].j);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_mapping_size(struct nif *nif, uint32_t size)
{
	struct nifj_state *s;

	if (size > NIFJ_MAPPING)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	s = nifj_state_begin(nif->queues[0].j);
	s->mapping_size = size;
	memset(s->mapping, 0, sizeof(s->mapping));
	nifj_state_end(nif->queues[0].j);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_mapping(struct nif *nif, uint32_t ref, uint32_t nr, uint32_t at)
{
	uint32_t size = nif_state(nif)->mapping_size;
	struct nifj_state *s;
	union page page;

	/* in this order neither sum can overflow; size is at most NIFJ_MAPPING, so the copy fits */
	if (nr > size || at > size - nr)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	if (!copy_page(nif, page.mapping, ref, nr * (uint32_t)sizeof(page.mapping[0]), true))
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < nr; i++)
		if (page.mapping[i] >= nif->nr_queues)
			return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	s = nifj_state_begin(nif->queues[0].j);
	for (uint32_t i = 0; i < nr; i++)
		s->mapping[at + i] = (uint8_t)page.mapping[i];
	nifj_state_end(nif->queues[0].j);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

/* ---- pages mapped for good ------------------------------------------------------------------------------------- */

static uint32_t add_grefs(struct nif *nif, uint32_t queue, uint32_t ref, uint32_t nr)
{
	union page page;
	uint32_t bad = 0;
	int rc;

	if (queue >= nif->nr_queues || nr > LIST_ENTRIES ||
	    !copy_page(nif, page.list, ref, nr * (uint32_t)sizeof(page.list[0]), true))
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	rc = gref_add(&nif->queues[queue], page.list, nr, NIF_MAX_GREFS, nif->queues[0].j->ctrl.nr_grefs, &bad);
	if (rc == 0)
		return XEN_NETIF_CTRL_STATUS_SUCCESS;
	nif_refused(nif, "control ring: queue %u: grant %u of %u: can not be added: %s", queue, bad, nr, strerror(-rc));
	return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
}

/* Is this entry's page mapped, or was it, until this very request? */
static bool del_one(struct nif *nif, struct nif_queue *q, uint32_t entry, uint32_t ref)
{
	uint64_t *word = &nif->queues[0].j->ctrl.deleted[entry / 64], bit = 1ull << entry % 64;

	if (!(*word & bit) && !gref_find(q->grefs, ref, false))
		return false;
	__atomic_store_n(word, *word | bit, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(ctrl_deleting);
	gref_del(q, ref);
	return true;
}

static uint32_t del_grefs(struct nif *nif, uint32_t queue, uint32_t ref, uint32_t nr, uint32_t *deleted)
{
	uint32_t bytes = nr * (uint32_t)sizeof(struct xen_netif_gref);
	union page page;

	if (queue >= nif->nr_queues || nr > LIST_ENTRIES || !copy_page(nif, page.list, ref, bytes, true))
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < nr; i++) {
		bool was_there = del_one(nif, &nif->queues[queue], i, page.list[i].ref);

		page.list[i].status =
			was_there ? XEN_NETIF_CTRL_STATUS_SUCCESS : XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
		*deleted += was_there;
	}
	return copy_page(nif, page.list, ref, bytes, false) ? XEN_NETIF_CTRL_STATUS_SUCCESS :
							      XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
}

static uint32_t gref_request(struct nif *nif, const struct xen_netif_ctrl_request *r, uint32_t *data)
{
	if (!nif->cfg.gref_tables)
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	if (r->type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING)
		return add_grefs(nif, r->data[0], r->data[1], r->data[2]);
	if (r->type == XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING)
		return del_grefs(nif, r->data[0], r->data[1], r->data[2], data);
	if (r->data[0] >= nif->nr_queues)
		return XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	*data = NIF_MAX_GREFS;
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

/* ---- the ring -------------------------------------------------------------------------------------------------- */

static uint32_t carry_out(struct nif *nif, const struct xen_netif_ctrl_request *r, uint32_t *data)
{
	bool chosen = nif_state(nif)->hash_algorithm != XEN_NETIF_CTRL_HASH_ALGORITHM_NONE;

	switch (r->type) {
	case XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM:
		return set_algorithm(nif, r->data[0]);
	case XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS:
		*data = chosen ? ALL_TYPES : 0;
		return chosen ? XEN_NETIF_CTRL_STATUS_SUCCESS : XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS:
		return chosen ? set_flags(nif, r->data[0]) : XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_KEY:
		return set_key(nif, r->data[0], r->data[1]);
	case XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE:
		*data = NIFJ_MAPPING;
		return XEN_NETIF_CTRL_STATUS_SUCCESS;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE:
		return set_mapping_size(nif, r->data[0]);
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING:
		return set_mapping(nif, r->data[0], r->data[1], r->data[2]);
	case XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE:
	case XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING:
	case XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING:
		return gref_request(nif, r, data);
	}
	return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
}

/* The next request, or the one that a worker had taken before it died. */
static void take(struct nif *nif)
{
	struct nif_journal *j = nif->queues[0].j;
	struct pvb_ring *ring = &nif->ctrl.ring;
	uint32_t queue;

	if (j->ring[NIFJ_CTRL].cons != ring->cons) {
		ring->cons = j->ring[NIFJ_CTRL].cons;
		return;
	}
	pvb_ring_back_take(ring, &j->ctrl.req);
	queue = j->ctrl.req.data[0];
	j->ctrl.nr_grefs = queue < nif->nr_queues ? gref_count(nif->queues[queue].grefs) : 0;
	memset(j->ctrl.deleted, 0, sizeof(j->ctrl.deleted));
	PVB_CRASH_POINT(ctrl_slot_read);
	nifj_taken(j, NIFJ_CTRL, ring->cons);
}

/* What it cost, of NIF_CTRL_BUDGET: a list of grants may mean hundreds of system calls. */
static unsigned serve_one(struct nif *nif)
{
	struct nif_journal *j = nif->queues[0].j;
	struct xen_netif_ctrl_request r;
	struct xen_netif_ctrl_response rsp = { 0 };

	take(nif);
	r = j->ctrl.req;
	rsp.id = r.id;
	rsp.type = r.type;
	rsp.status = carry_out(nif, &r, &rsp.data);
	PVB_CRASH_POINT(ctrl_carried_out);
	if (r.type >= XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS && r.type <= XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM)
		hash_setup(nif);
	stats_add(&nif->stats->ctrl_requests, 1);
	stats_add(&nif->stats->ctrl_errors, rsp.status != XEN_NETIF_CTRL_STATUS_SUCCESS);
	j->ctrl.rsp = rsp;
	if (nifj_push(j, NIFJ_CTRL, &nif->ctrl.ring, nif->ctrl.ring.cons))
		pvb_event_notify(nif->ctrl.event);
	PVB_CRASH_POINT(ctrl_answered);
	return r.type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING || r.type == XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING ?
		NIF_CTRL_BUDGET : 1;
}

void ctrl_run(struct nif *nif)
{
	struct pvb_ring *ring = &nif->ctrl.ring;
	unsigned spent = 0;
	int n;

	while (nif->ctrl.ready && !nif->broken) {
		n = pvb_ring_back_avail(ring);
		if (n == 0)
			n = pvb_ring_back_rearm(ring);
		if (n < 0) {
			nif_broken(nif,
				   "control ring: the front end claims %u requests at index %u, the ring has %u slots",
				   pvb_ring_load(&ring->sh->req_prod) - ring->cons, ring->cons, ring->nr_slots);
			return;
		}
		if (n == 0)
			nif->ctrl.ready = false;
		for (; n > 0 && spent < NIF_CTRL_BUDGET; n--)
			spent += serve_one(nif);
		if (spent >= NIF_CTRL_BUDGET)
			return; /* stays ready: others have their turn first */
	}
}
