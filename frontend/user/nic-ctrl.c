// SPDX-License-Identifier: GPL-2.0-or-later
/* The control ring: one message after the other, when the NIC is live.
 *
 * First the hash (algorithm, what the back end knows, key, mapping, and the types last, so that a refusal on the way
 * leaves it off), then for each queue the pages that are to stay mapped.  Anything the back end does not support is
 * left out; nothing waits for it.  The page that carries keys and lists is written here and never read. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "nic-impl.h"

_Static_assert(sizeof(struct xen_netif_ctrl_request) == 16, "control request");
_Static_assert(sizeof(struct xen_netif_ctrl_response) == 12, "control response");
_Static_assert(sizeof(struct xen_netif_gref) == 8, "gref list entry");

#define MAX_GREFS (PVB_PAGE_SIZE / sizeof(struct xen_netif_gref))

enum step {
	HASH_ALGORITHM, HASH_TYPES, HASH_KEY, MAP_MAX, MAP_SIZE, MAP, HASH_ON, /* hash */
	GREF_MAX, GREF_ADD,                                                    /* each queue */
	DONE,
};

static void *page(const struct pvf_ctrl *c)
{
	return (uint8_t *)c->pages.addr + PVB_PAGE_SIZE;
}

/* --- messages --------------------------------------------------------------------------------------- */

/* The pages used most come first: the back end may take fewer. */
static uint32_t list_pages(struct pvf_nic *nic, const struct pvf_nicq *q, uint32_t max)
{
	uint8_t *to = page(&nic->ctrl);
	uint32_t nr = 0;

	for (uint32_t i = 0; nr < max && (i < q->tx_pool.nr || i < q->rx_pool.nr); i++) {
		struct xen_netif_gref e[2] = { { .flags = XEN_NETIF_CTRLF_GREF_readonly } };

		if (i < q->tx_pool.nr) {
			e[0].ref = q->tx_pool.refs[i];
			memcpy(to + sizeof(e[0]) * nr++, &e[0], sizeof(e[0]));
		}
		if (i < q->rx_pool.nr && nr < max) {
			e[1].ref = q->rx_pool.refs[i];
			memcpy(to + sizeof(e[1]) * nr++, &e[1], sizeof(e[1]));
		}
	}
	return nr;
}

static void write_map(const struct pvf_nic *nic, uint32_t nr)
{
	uint32_t *to = page(&nic->ctrl);

	for (uint32_t i = 0; i < nr; i++)
		to[i] = nic->hash.map[i] % nic->nr_queues;
}

/* What this step says.  data is zeroed. */
static uint16_t compose(struct pvf_nic *nic, uint32_t data[3])
{
	struct pvf_ctrl *c = &nic->ctrl;
	uint32_t ref = c->pages.refs[1];

	switch ((enum step)c->step) {
	case HASH_ALGORITHM:
		data[0] = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
		return XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM;
	case HASH_TYPES:
		return XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS;
	case HASH_KEY:
		memcpy(page(c), nic->hash.key, sizeof(nic->hash.key));
		data[0] = ref;
		data[1] = sizeof(nic->hash.key);
		return XEN_NETIF_CTRL_TYPE_SET_HASH_KEY;
	case MAP_MAX:
		return XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE;
	case MAP_SIZE:
		data[0] = c->nr_map;
		return XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE;
	case MAP:
		write_map(nic, c->nr_map);
		data[0] = ref;
		data[1] = c->nr_map;
		return XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING;
	case HASH_ON:
		data[0] = c->types;
		return XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS;
	case GREF_MAX:
		data[0] = c->queue;
		return XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE;
	default:
		data[0] = c->queue;
		data[1] = ref;
		data[2] = c->listed;
		return XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING;
	}
}

static void send_step(struct pvf_nic *nic)
{
	struct pvf_ctrl *c = &nic->ctrl;
	struct xen_netif_ctrl_request req = { 0 };

	if (c->step == DONE)
		return;
	req.type = compose(nic, req.data);
	req.id = ++c->id;
	c->type = req.type;
	c->busy = true;
	pvb_ring_front_put(&c->ring, &req);
	if (pvb_ring_front_push(&c->ring))
		pvb_event_notify(c->event);
}

/* --- answers ---------------------------------------------------------------------------------------- */

static enum step staging_or_done(const struct pvf_nic *nic)
{
	return nic->opt.staging ? GREF_MAX : DONE;
}

static enum step next_queue(struct pvf_nic *nic)
{
	return ++nic->ctrl.queue < nic->nr_queues ? GREF_MAX : DONE;
}

/* The step after this one, which was answered with `data`. */
static enum step granted(struct pvf_nic *nic, uint32_t data)
{
	struct pvf_ctrl *c = &nic->ctrl;

	switch ((enum step)c->step) {
	case HASH_ALGORITHM:
		return HASH_TYPES;
	case HASH_TYPES:
		c->types = nic->hash.types & data;
		return c->types != 0 ? HASH_KEY : staging_or_done(nic);
	case HASH_KEY:
		return nic->hash.nr_map > 0 ? MAP_MAX : HASH_ON;
	case MAP_MAX:
		c->nr_map = nic->hash.nr_map < data ? nic->hash.nr_map : data;
		return c->nr_map > 0 ? MAP_SIZE : HASH_ON;
	case MAP_SIZE:
		return MAP;
	case MAP:
		return HASH_ON;
	case HASH_ON:
		nic->info.hash_types = c->types;
		return staging_or_done(nic);
	case GREF_MAX:
		c->listed = list_pages(nic, &nic->queues[c->queue], data < MAX_GREFS ? data : MAX_GREFS);
		return c->listed > 0 ? GREF_ADD : next_queue(nic);
	default:
		nic->info.staged += c->listed;
		return next_queue(nic);
	}
}

static enum step refused(struct pvf_nic *nic, uint32_t status)
{
	if (nic->ctrl.step < GREF_MAX)
		return staging_or_done(nic);
	return status == XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED ? DONE : next_queue(nic);
}

/* rsp is our copy. */
static int answer(struct pvf_nic *nic, const struct xen_netif_ctrl_response *rsp)
{
	struct pvf_ctrl *c = &nic->ctrl;

	if (!c->busy || rsp->id != c->id || rsp->type != c->type) {
		pvf_dev_dead(&nic->dev, "control response to message %u of type %u, %u of type %u was sent", rsp->id,
			     rsp->type, c->id, c->type);
		return -EPROTO;
	}
	if (rsp->status > XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW) {
		pvf_dev_dead(&nic->dev, "control response to type %u has status %u, expected 0 to 3", rsp->type,
			     rsp->status);
		return -EPROTO;
	}
	c->busy = false;
	c->step = rsp->status == XEN_NETIF_CTRL_STATUS_SUCCESS ? granted(nic, rsp->data) : refused(nic, rsp->status);
	send_step(nic);
	return 0;
}

static bool on_event(void *arg)
{
	struct pvf_nic *nic = arg;
	struct pvf_ctrl *c = &nic->ctrl;
	struct xen_netif_ctrl_response rsp;
	bool work = false;
	int n;

	nic->stats.events++;
	while (pvf_dev_works(&nic->dev) && (n = pvf_nic_rearm(&c->ring, 1)) != 0) {
		if (n < 0) {
			pvf_dev_dead(&nic->dev, "control response producer %#x, %#x were read",
				     pvb_ring_load(&c->ring.sh->rsp_prod), c->ring.cons);
			break;
		}
		pvb_ring_front_take(&c->ring, &rsp, sizeof(rsp));
		work = true;
		if (answer(nic, &rsp) < 0)
			break;
	}
	if (!work)
		nic->stats.spurious++;
	return work;
}

/* --- life ------------------------------------------------------------------------------------------- */

int pvf_ctrl_start(struct pvf_nic *nic, struct pvb_error *err)
{
	struct pvf_ctrl *c = &nic->ctrl;
	struct pvf_dev *dev = &nic->dev;
	int rc = pvb_hv_grant(dev->guest->hv, dev->back_domid, 2, true, &c->pages);

	if (rc < 0)
		return pvb_err(err, rc, "vif %u: no 2 pages to grant for the control ring", dev->devid);
	pvb_ring_front_init(&c->ring, c->pages.addr, PVB_PAGE_SIZE, sizeof(struct xen_netif_ctrl_request));
	rc = pvb_event_alloc(dev->guest->events, dev->back_domid, on_event, nic, &c->event);
	return rc < 0 ? pvb_err(err, rc, "vif %u: no event channel to domain %u", dev->devid, dev->back_domid) : 0;
}

void pvf_ctrl_begin(struct pvf_nic *nic)
{
	struct pvf_ctrl *c = &nic->ctrl;

	if (c->pages.nr == 0)
		return;
	c->queue = 0;
	c->step = nic->hash.types != 0 ? HASH_ALGORITHM : staging_or_done(nic);
	send_step(nic);
}

void pvf_ctrl_stop(struct pvf_nic *nic)
{
	pvb_event_free(&nic->ctrl.event);
}

void pvf_ctrl_free(struct pvf_nic *nic)
{
	if (nic->ctrl.pages.nr != 0)
		pvb_hv_ungrant(nic->dev.guest->hv, &nic->ctrl.pages);
	memset(&nic->ctrl, 0, sizeof(nic->ctrl));
}
