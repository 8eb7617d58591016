// SPDX-License-Identifier: GPL-2.0-or-later
/* The control ring: which pages the back end is to map for good (staging), and how it is to spread frames over the
 * queues.  One message at a time, by the work item, which waits for the answer; what the back end does not know is done
 * without. */
#include <linux/interrupt.h>
#include <linux/rtnetlink.h>
#include <linux/wait.h>
#include <xen/events.h>
#include <xen/page.h>
#include "pvnet.h"

#define PATIENCE (5 * HZ)

/* The kernel's header ends before these. */
#define GET_GREF_MAPPING_SIZE 8
#define ADD_GREF_MAPPING      9
#define GREF_READONLY         1

struct gref {
	u32 ref;
	u16 flags, status;
};

/* --- messages ----------------------------------------------------------------------------------------- */

static irqreturn_t interrupt(int irq, void *arg)
{
	struct pvnet_dev *dev = arg;

	/* its end is told by who waits, so nobody is disturbed by more of them */
	WRITE_ONCE(dev->ctrl.event, true);
	wake_up(&dev->ctrl.wait);
	return IRQ_HANDLED;
}

static void end_interrupt(struct pvnet_ctrl *c, bool worked)
{
	if (xchg(&c->event, false))
		xen_irq_lateeoi(c->irq, worked ? 0 : XEN_EOI_FLAG_SPURIOUS);
}

static bool answered(struct pvnet_dev *dev)
{
	if (READ_ONCE(dev->leaving) || pvb_ring_front_rearm(&dev->ctrl.ring) != 0)
		return true;
	/* an event for the answer before, or for nothing: without its end there are no more of them */
	end_interrupt(&dev->ctrl, false);
	return false;
}

/* 0 and *data, the back end's status (1 to 3), or -errno: then there will be no more messages. */
static int call(struct pvnet_dev *dev, u16 type, u32 a, u32 b, u32 c, u32 *data)
{
	struct xen_netif_ctrl_request req = { .id = ++dev->ctrl.id, .type = type, .data = { a, b, c } };
	struct xen_netif_ctrl_response rsp;
	struct pvnet_ctrl *ctrl = &dev->ctrl;

	BUILD_BUG_ON(sizeof(req) != 16 || sizeof(rsp) != 12 || sizeof(struct gref) != 8);
	if (!ctrl->usable)
		return -ENOTCONN;
	end_interrupt(ctrl, false);
	pvb_ring_front_put(&ctrl->ring, &req);
	if (pvb_ring_front_push(&ctrl->ring))
		notify_remote_via_irq(ctrl->irq);
	ctrl->usable = wait_event_timeout(ctrl->wait, answered(dev), PATIENCE) && !READ_ONCE(dev->leaving);
	if (!ctrl->usable)
		return -ETIMEDOUT;
	if (pvb_ring_front_avail(&ctrl->ring) < 0) {
		pvnet_lie(&dev->queues[0], "control response producer %#x, %#x were read and 1 is outstanding",
			  pvb_ring_load(&ctrl->ring.sh->rsp_prod), ctrl->ring.cons);
		ctrl->usable = false;
		return -EPROTO;
	}
	pvb_ring_front_take(&ctrl->ring, &rsp, sizeof(rsp));
	end_interrupt(ctrl, true);
	if (rsp.id != req.id || rsp.type != type || rsp.status > XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW) {
		pvnet_lie(&dev->queues[0], "control response %u of type %u, status %u, to message %u of type %u",
			  rsp.id, rsp.type, rsp.status, req.id, type);
		ctrl->usable = false;
		return -EPROTO;
	}
	*data = rsp.data;
	return rsp.status;
}

/* --- staging ------------------------------------------------------------------------------------------ */

static void list_pages(struct pvnet_dev *dev, u32 *nr, const struct pvb_page *pages, bool readonly)
{
	struct gref *to = page_address(dev->ctrl.list.page);
	u32 i;

	for (i = 0; pages && i < PVNET_SLOTS; i++)
		to[(*nr)++] = (struct gref){ .ref = pages[i].ref, .flags = readonly ? GREF_READONLY : 0 };
}

/* Pages there are already serve a back end that is not trusted; they are only faster when it has mapped them. */
static int pages_have(struct pvnet_dev *dev, struct pvb_page **pages, struct pvb_page **made, bool readonly)
{
	*made = NULL;
	if (*pages)
		return 0;
	return pvnet_pages_make(dev, made, readonly);
}

/* From here on frames are copied through the pages, which the queue's users may not have known till now. */
static void use_pages(struct pvnet_queue *q, struct pvb_page *tx, struct pvb_page *rx)
{
	struct netdev_queue *txq = netdev_get_tx_queue(q->dev->netdev, q->nr);

	__netif_tx_lock_bh(txq);
	if (tx)
		q->tx.own = tx;
	q->tx.copy = true;
	__netif_tx_unlock_bh(txq);
	if (rx)
		q->rx.own = rx;
	if (q->rx.own)
		smp_store_release(&q->rx.copy, true); /* NAPI: pages before their use */
}

/* 0: go on with the next queue. */
static int stage_queue(struct pvnet_queue *q)
{
	struct pvb_page *tx, *rx = NULL;
	struct pvnet_dev *dev = q->dev;
	u32 most, nr = 0;
	int rc = call(dev, GET_GREF_MAPPING_SIZE, q->nr, 0, 0, &most);

	if (rc || most < PVNET_SLOTS)
		return rc ?: -ENOSPC;
	rc = pages_have(dev, &q->tx.own, &tx, true);
	if (!rc && most >= 2 * PVNET_SLOTS)
		rc = pages_have(dev, &q->rx.own, &rx, false);
	if (!rc) {
		list_pages(dev, &nr, tx ?: q->tx.own, true);
		list_pages(dev, &nr, most >= 2 * PVNET_SLOTS ? rx ?: q->rx.own : NULL, false);
		rc = call(dev, ADD_GREF_MAPPING, q->nr, dev->ctrl.list.ref, nr, &most);
	}
	if (rc) {
		pvnet_pages_drop(&tx);
		pvnet_pages_drop(&rx);
		return rc;
	}
	use_pages(q, tx, rx);
	q->staged = nr;
	return 0;
}

static void stage(struct pvnet_dev *dev)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < dev->nr_queues && !rc; i++)
		rc = stage_queue(&dev->queues[i]);
	if (rc < 0 && rc != -ENOSPC && !READ_ONCE(dev->leaving))
		netdev_warn(dev->netdev, "queue %u: no staging (%d)\n", i - 1, rc);
}

/* --- hash --------------------------------------------------------------------------------------------- */

static int set_hash(struct pvnet_dev *dev, const struct pvnet_rss *rss)
{
	u32 types, most, ref = dev->ctrl.list.ref, i;
	u32 *map = page_address(dev->ctrl.list.page);
	int rc;

	rc = call(dev, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0, &types);
	if (!rc)
		rc = call(dev, XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0, &types);
	if (!rc) {
		memcpy(page_address(dev->ctrl.list.page), rss->key, sizeof(rss->key));
		rc = call(dev, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, ref, sizeof(rss->key), 0, &most);
	}
	if (!rc)
		rc = call(dev, XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE, 0, 0, 0, &most);
	if (!rc && most < PVNET_RSS_MAP)
		rc = -ENOSPC;
	if (!rc)
		rc = call(dev, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, PVNET_RSS_MAP, 0, 0, &most);
	if (!rc) {
		for (i = 0; i < PVNET_RSS_MAP; i++)
			map[i] = rss->map[i] % dev->nr_queues;
		rc = call(dev, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, ref, PVNET_RSS_MAP, 0, &most);
	}
	/* last, so that a refusal on the way leaves it off */
	return rc ?: call(dev, XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, types, 0, 0, &most);
}

void pvnet_ctrl_hash(struct pvnet_dev *dev)
{
	struct pvnet_rss rss;
	int rc;

	rtnl_lock();
	rss = dev->rss;
	rtnl_unlock();
	if (!dev->ctrl.usable || rss.changes == dev->rss_done)
		return;
	dev->rss_done = rss.changes;
	rc = set_hash(dev, &rss);
	if (rc)
		netdev_warn(dev->netdev, "the back end does not hash as it was told (%d)\n", rc);
}

/* --- life --------------------------------------------------------------------------------------------- */

int pvnet_ctrl_make(struct pvnet_dev *dev)
{
	struct pvnet_ctrl *c = &dev->ctrl;
	int rc;

	if (!dev->offers.ctrl)
		return 0;
	rc = xenbus_setup_ring(dev->xdev, GFP_NOIO, &c->page, 1, &c->ring_ref);
	if (rc) {
		c->page = NULL;
		return rc;
	}
	pvb_ring_front_init(&c->ring, c->page, PAGE_SIZE, sizeof(struct xen_netif_ctrl_request));
	rc = pvb_page_make(dev->xdev, &c->list, false);
	if (!rc)
		rc = xenbus_alloc_evtchn(dev->xdev, &c->port);
	if (rc)
		return rc;
	c->event = false;
	rc = bind_evtchn_to_irqhandler_lateeoi(c->port, interrupt, 0, dev->netdev->name, dev);
	if (rc < 0) {
		xenbus_free_evtchn(dev->xdev, c->port);
		return rc;
	}
	c->irq = rc;
	c->usable = true;
	return 0;
}

void pvnet_ctrl_start(struct pvnet_dev *dev)
{
	dev->rss_done = 0;
	if (dev->ctrl.usable && pvnet_staging)
		stage(dev);
	pvnet_ctrl_hash(dev);
}

void pvnet_ctrl_drop(struct pvnet_dev *dev)
{
	struct pvnet_ctrl *c = &dev->ctrl;

	c->usable = false;
	if (c->irq)
		unbind_from_irqhandler(c->irq, dev);
	c->irq = 0;
	if (c->page)
		xenbus_teardown_ring(&c->page, 1, &c->ring_ref);
	c->page = NULL;
	pvb_page_drop(&c->list);
}
