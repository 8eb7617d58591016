// SPDX-License-Identifier: GPL-2.0-or-later
/* One queue: its rings, grants and pages, its interrupts and its NAPI instance.  What the rings hold is the business of
 * tx.c and rx.c. */
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/page.h>
#include "pvnet.h"

/* --- lies --------------------------------------------------------------------------------------------- */

/* The first lie of a device is kept and told; there may be more in other queues at the same time. */
void pvnet_lie(struct pvnet_queue *q, const char *fmt, ...)
{
	struct pvnet_dev *dev = q->dev;
	va_list ap;

	WRITE_ONCE(q->live, false);
	if (test_and_set_bit(PVNET_LIED, &dev->flags))
		return;
	va_start(ap, fmt);
	vsnprintf(dev->lie, sizeof(dev->lie), fmt, ap);
	va_end(ap);
	dev_err_ratelimited(&dev->xdev->dev, "%s: queue %u: %s; the device is disabled\n", dev->netdev->name, q->nr,
			    dev->lie);
	pvnet_kick_work(dev);
}

/* --- interrupts and NAPI ------------------------------------------------------------------------------ */

static irqreturn_t wanted(struct pvnet_queue *q, unsigned int which)
{
	q->n.events++;
	set_bit(which, &q->eoi);
	napi_schedule(&q->napi);
	return IRQ_HANDLED;
}

static irqreturn_t tx_interrupt(int irq, void *arg)
{
	return wanted(arg, PVNET_EOI_TX);
}

static irqreturn_t rx_interrupt(int irq, void *arg)
{
	return wanted(arg, PVNET_EOI_RX);
}

/* The end of the interrupts that NAPI has worked for; who has nothing to say is heard less often. */
static void end_interrupt(struct pvnet_queue *q, int irq, bool worked)
{
	q->n.spurious += !worked;
	xen_irq_lateeoi(irq, worked ? 0 : XEN_EOI_FLAG_SPURIOUS);
}

/* There are answers, or a sender in want of room took the one that the event was asked for: then no other is asked for. */
static bool tx_answered(const struct pvnet_queue *q)
{
	u32 cons = READ_ONCE(q->tx.ring.cons);

	return pvb_ring_load(&q->tx.ring.sh->rsp_prod) != cons || (s32)(READ_ONCE(q->tx.due) - cons) <= 0;
}

int pvnet_poll(struct napi_struct *napi, int budget)
{
	struct pvnet_queue *q = container_of(napi, struct pvnet_queue, napi);
	bool tx_worked, rx_worked;
	unsigned long ended;
	int done = 0;

	if (!READ_ONCE(q->live)) {
		/* without an end of interrupt there are no more of them */
		napi_complete_done(napi, 0);
		return 0;
	}
	if (tx_answered(q))
		pvnet_tx_clean(q, budget);
	if (budget > 0 && READ_ONCE(q->live))
		done = pvnet_rx_run(q, budget);
	pvnet_xdp_flush(q);
	if (done == budget)
		return done;
	if (!READ_ONCE(q->live)) {
		napi_complete_done(napi, done);
		return done;
	}
	/* if the buffers ran out, this is what the retry timer calls for */
	if (q->rx.ring.prod - q->rx.ring.cons < PVNET_SLOTS / 4)
		pvnet_rx_refill(q);
	/* all this before NAPI may run on another processor */
	if (pvb_ring_front_rearm(&q->rx.ring) != 0)
		return budget;
	ended = xchg(&q->eoi, 0);
	tx_worked = q->tx_worked;
	rx_worked = q->rx_worked || (q->tx_irq == q->rx_irq && tx_worked);
	/* what was found before its event was heard is the event's work all the same */
	if (ended & BIT(PVNET_EOI_RX))
		q->rx_worked = false;
	if (ended & BIT(q->tx_irq == q->rx_irq ? PVNET_EOI_RX : PVNET_EOI_TX))
		q->tx_worked = false;
	napi_complete_done(napi, done);
	if (ended & BIT(PVNET_EOI_TX))
		end_interrupt(q, q->tx_irq, tx_worked);
	if (ended & BIT(PVNET_EOI_RX))
		end_interrupt(q, q->rx_irq, rx_worked);
	return done;
}

/* --- pages of our own --------------------------------------------------------------------------------- */

/* A page the back end still uses is freed by the kernel once it does not. */
void pvnet_pages_drop(struct pvb_page **pages)
{
	u32 i;

	for (i = 0; *pages && i < PVNET_SLOTS; i++)
		pvb_page_drop(&(*pages)[i]);
	kvfree(*pages);
	*pages = NULL;
}

int pvnet_pages_make(struct pvnet_dev *dev, struct pvb_page **pages, bool readonly)
{
	struct pvb_page *p = kvcalloc(PVNET_SLOTS, sizeof(*p), PVB_GFP);
	int rc = p ? 0 : -ENOMEM;
	u32 i;

	for (i = 0; !rc && i < PVNET_SLOTS; i++)
		rc = pvb_page_make(dev->xdev, &p[i], readonly);
	if (rc)
		pvnet_pages_drop(&p);
	*pages = p;
	return rc;
}

/* --- life --------------------------------------------------------------------------------------------- */

static int refs_make(struct pvnet_queue *q)
{
	grant_ref_t head;
	u32 i;
	int rc = gnttab_alloc_grant_references(2 * PVNET_SLOTS, &head);

	for (i = 0; !rc && i < PVNET_SLOTS; i++) {
		q->tx.slot[i].ref = gnttab_claim_grant_reference(&head);
		q->rx.slot[i].ref = gnttab_claim_grant_reference(&head);
	}
	return rc;
}

static int xdp_make(struct pvnet_queue *q)
{
	int rc = xdp_rxq_info_reg(&q->xdp_rxq, q->dev->netdev, q->nr, q->napi.napi_id);

	return rc ?: xdp_rxq_info_reg_mem_model(&q->xdp_rxq, MEM_TYPE_PAGE_POOL, q->rx.pool);
}

static int memory_make(struct pvnet_queue *q)
{
	struct page_pool_params params = {
		.pool_size = 2 * PVNET_SLOTS, .nid = NUMA_NO_NODE, .dma_dir = DMA_FROM_DEVICE,
	};
	struct pvnet_dev *dev = q->dev;
	int rc;

	rc = xenbus_setup_ring(dev->xdev, PVB_GFP, &q->tx_page, 1, &q->tx_ring_ref);
	if (rc) {
		q->tx_page = NULL;
		return rc;
	}
	rc = xenbus_setup_ring(dev->xdev, PVB_GFP, &q->rx_page, 1, &q->rx_ring_ref);
	if (rc) {
		q->rx_page = NULL;
		return rc;
	}
	pvb_ring_front_init(&q->tx.ring, q->tx_page, PAGE_SIZE, sizeof(struct xen_netif_tx_request));
	pvb_ring_front_init(&q->rx.ring, q->rx_page, PAGE_SIZE, sizeof(struct xen_netif_rx_request));
	if (WARN_ON_ONCE(q->tx.ring.nr_slots != PVNET_SLOTS || q->rx.ring.nr_slots != PVNET_SLOTS))
		return -EINVAL;
	q->tx.slot = kvcalloc(PVNET_SLOTS, sizeof(*q->tx.slot), PVB_GFP);
	q->rx.slot = kvcalloc(PVNET_SLOTS, sizeof(*q->rx.slot), PVB_GFP);
	if (!q->tx.slot || !q->rx.slot)
		return -ENOMEM;
	rc = refs_make(q);
	if (rc)
		return rc;
	q->tx.copy = q->rx.copy = false;
	if (dev->untrusted || !dev->offers.sg)
		rc = pvnet_pages_make(dev, &q->tx.own, true);
	q->tx.copy = !rc && q->tx.own;
	if (!rc && dev->untrusted)
		rc = pvnet_pages_make(dev, &q->rx.own, false);
	q->rx.copy = !rc && q->rx.own;
	if (rc)
		return rc;
	q->rx.pool = page_pool_create(&params);
	if (IS_ERR(q->rx.pool)) {
		rc = PTR_ERR(q->rx.pool);
		q->rx.pool = NULL;
	}
	return rc ?: xdp_make(q);
}

static int irq_make(struct pvnet_queue *q, irq_handler_t handler, evtchn_port_t *port, int *irq)
{
	int rc = xenbus_alloc_evtchn(q->dev->xdev, port);

	if (rc)
		return rc;
	rc = bind_evtchn_to_irqhandler_lateeoi(*port, handler, 0, q->dev->netdev->name, q);
	if (rc < 0) {
		xenbus_free_evtchn(q->dev->xdev, *port);
		return rc;
	}
	*irq = rc;
	/* as many queues as processors are one each */
	irq_set_affinity_hint(rc, cpumask_of(cpumask_next(q->nr - 1, cpu_online_mask) % nr_cpu_ids));
	return 0;
}

int pvnet_queue_make(struct pvnet_queue *q)
{
	int rc = memory_make(q);

	if (rc)
		return rc;
	pvnet_tx_start(q);
	memset(&q->rx.frame, 0, sizeof(q->rx.frame));
	q->eoi = 0;
	q->tx_worked = q->rx_worked = false;
	/* nobody else is at the ring yet, but the pool is NAPI's */
	local_bh_disable();
	pvnet_rx_refill(q);
	local_bh_enable();
	q->live = true;
	napi_enable(&q->napi);
	q->made = true;
	rc = irq_make(q, q->dev->offers.split ? tx_interrupt : rx_interrupt, &q->tx_port, &q->tx_irq);
	if (rc)
		return rc;
	if (q->dev->offers.split)
		return irq_make(q, rx_interrupt, &q->rx_port, &q->rx_irq);
	q->rx_port = q->tx_port;
	q->rx_irq = q->tx_irq;
	return 0;
}

static void irqs_drop(struct pvnet_queue *q)
{
	int irq[2] = { q->tx_irq, q->rx_irq == q->tx_irq ? 0 : q->rx_irq };
	u32 i;

	for (i = 0; i < 2; i++) {
		if (irq[i] == 0)
			continue;
		irq_set_affinity_hint(irq[i], NULL);
		unbind_from_irqhandler(irq[i], q);
	}
	q->tx_irq = q->rx_irq = 0;
}

/* TX is off already. */
void pvnet_queue_drop(struct pvnet_queue *q)
{
	WRITE_ONCE(q->live, false);
	q->staged = 0;
	if (q->made) {
		del_timer_sync(&q->rx.retry);
		napi_disable(&q->napi);
		del_timer_sync(&q->rx.retry); /* NAPI may have set it again */
		q->made = false;
	}
	irqs_drop(q);
	pvnet_tx_drop(q);
	pvnet_rx_drop(q);
	if (q->tx_page)
		xenbus_teardown_ring(&q->tx_page, 1, &q->tx_ring_ref);
	if (q->rx_page)
		xenbus_teardown_ring(&q->rx_page, 1, &q->rx_ring_ref);
	q->tx_page = q->rx_page = NULL;
	pvnet_pages_drop(&q->tx.own);
	pvnet_pages_drop(&q->rx.own);
	if (xdp_rxq_info_is_reg(&q->xdp_rxq))
		xdp_rxq_info_unreg(&q->xdp_rxq);
	if (q->rx.pool)
		page_pool_destroy(q->rx.pool);
	q->rx.pool = NULL;
	kvfree(q->tx.slot);
	kvfree(q->rx.slot);
	q->tx.slot = NULL;
	q->rx.slot = NULL;
}
