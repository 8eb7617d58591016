// SPDX-License-Identifier: GPL-2.0-or-later
/* One connection: the keys read and published, the rings, event channels and granted pages made and taken back.
 * When to do so is main.c's business. */
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/page.h>
#include <xen/interface/io/protocols.h>
#include "pvblk.h"

/* --- rings and event channels ------------------------------------------------------------------------- */

/* The last rings are those of polled queues, on a connection that has one for each queue of the disk. */
static bool polled(const struct pvblk_dev *dev, unsigned int nr)
{
	return (!dev->disk || dev->nr_rings == dev->nr_hw_queues) && nr >= dev->nr_rings - dev->nr_poll;
}

static int ring_make(struct pvblk_dev *dev, struct pvblk_ring *r)
{
	unsigned int pages = 1u << dev->order;
	struct pvblk_shadow *shadow;
	u32 i;
	int rc;

	rc = xenbus_setup_ring(dev->xdev, PVB_GFP, &r->pages, pages, r->page_refs);
	if (rc)
		return rc;
	r->nr_pages = pages;
	pvb_ring_front_init(&r->ring, r->pages, pages * PAGE_SIZE, sizeof(struct blkif_request));
	r->polled = polled(dev, r->nr);
	if (r->polled)
		pvb_ring_store(&r->ring.sh->rsp_event, PVBLK_NEVER);
	shadow = kvcalloc(r->ring.nr_slots, sizeof(*shadow), PVB_GFP);
	r->refs = kvmalloc_array(PVBLK_MAX_REFS, sizeof(*r->refs), PVB_GFP);
	if (!shadow || !r->refs) {
		kvfree(shadow);
		return -ENOMEM;
	}
	for (i = 0; i < r->ring.nr_slots; i++) {
		shadow[i].id = i;
		shadow[i].next_free = i + 1;
	}
	spin_lock_irq(&r->lock);
	r->shadow = shadow;
	r->free_shadow = 0;
	r->in_flight = 0;
	spin_unlock_irq(&r->lock);

	rc = xenbus_alloc_evtchn(dev->xdev, &r->port);
	if (rc)
		return rc;
	rc = bind_evtchn_to_irqhandler_lateeoi(r->port, pvblk_interrupt, 0, "pvblk", r);
	if (rc < 0) {
		xenbus_free_evtchn(dev->xdev, r->port);
		return rc;
	}
	r->irq = rc;
	/* where the block layer submits from: as many rings as processors are one each */
	irq_set_affinity_hint(r->irq, cpumask_of(cpumask_next(r->nr - 1, cpu_online_mask) % nr_cpu_ids));
	return 0;
}

static int indirect_make(struct pvblk_dev *dev, struct pvblk_ring *r)
{
	struct pvblk_indirect *ind;
	u32 i;
	int rc;

	for (i = 0; i < min(PVBLK_INDIRECT, r->ring.nr_slots); i++) {
		ind = kzalloc(sizeof(*ind), PVB_GFP);
		if (!ind)
			return i ? 0 : -ENOMEM;
		/* xen-blkback maps this, too, to stay, and for writing */
		rc = pvb_page_make(dev->xdev, &ind->table, !dev->persistent);
		if (rc) {
			kfree(ind);
			return i ? 0 : rc;
		}
		ind->next = r->indirect;
		r->indirect = ind;
	}
	return 0;
}

static int bounce_make(struct pvblk_dev *dev, struct pvblk_ring *r)
{
	u32 most = dev->bounce ? PVBLK_BOUNCE_PAGES : PVBLK_COPY_PAGES;
	int rc = 0;

	r->bounce = kvcalloc(most, sizeof(*r->bounce), PVB_GFP);
	r->free_bounce = kvmalloc_array(most, sizeof(*r->free_bounce), PVB_GFP);
	if (!r->bounce || !r->free_bounce)
		return -ENOMEM;
	for (r->nr_bounce = 0; r->nr_bounce < most; r->nr_bounce++) {
		rc = pvb_page_make(dev->xdev, &r->bounce[r->nr_bounce], false);
		if (rc)
			break;
		r->free_bounce[r->nr_bounce] = r->nr_bounce;
	}
	r->nr_free_bounce = r->nr_bounce;
	/* fewer will do, if a block of the disk fits */
	return r->nr_bounce >= PVBLK_DIRECT_SEGS ? 0 : rc;
}

static void ring_drop(struct pvblk_dev *dev, struct pvblk_ring *r)
{
	struct pvblk_shadow *shadow;
	struct pvblk_indirect *ind;
	int irq;
	u32 i;

	/* pvblk_kill() looks through the shadows at any time */
	spin_lock_irq(&r->lock);
	r->live = false;
	irq = r->irq;
	r->irq = 0;
	shadow = r->shadow;
	r->shadow = NULL;
	WARN_ON_ONCE(r->in_flight);
	r->in_flight = 0;
	spin_unlock_irq(&r->lock);
	if (irq) {
		irq_set_affinity_hint(irq, NULL);
		unbind_from_irqhandler(irq, r);
	}
	if (r->nr_pages)
		xenbus_teardown_ring(&r->pages, r->nr_pages, r->page_refs);
	r->nr_pages = 0;
	pvblk_refs_give(r, 0);
	while ((ind = r->indirect)) {
		r->indirect = ind->next;
		pvb_page_drop(&ind->table);
		kfree(ind);
	}
	for (i = 0; i < r->nr_bounce; i++)
		pvb_page_drop(&r->bounce[i]);
	r->nr_bounce = r->nr_free_bounce = 0;
	kvfree(r->bounce);
	kvfree(r->free_bounce);
	kvfree(r->refs);
	kvfree(shadow);
	r->bounce = NULL;
	r->free_bounce = NULL;
	r->refs = NULL;
	r->claimed = 0;
}

/* --- what we publish ---------------------------------------------------------------------------------- */

static int publish_ring(struct xenbus_transaction t, const char *dir, const struct pvblk_ring *r)
{
	unsigned int i;
	char key[16];
	int rc = 0;

	if (r->nr_pages == 1)
		rc = xenbus_printf(t, dir, "ring-ref", "%u", r->page_refs[0]);
	for (i = 0; !rc && r->nr_pages > 1 && i < r->nr_pages; i++) {
		snprintf(key, sizeof(key), "ring-ref%u", i);
		rc = xenbus_printf(t, dir, key, "%u", r->page_refs[i]);
	}
	return rc ?: xenbus_printf(t, dir, "event-channel", "%u", r->port);
}

/* Keys of an earlier connection with another shape would contradict ours. */
static void remove_stale(struct pvblk_dev *dev, struct xenbus_transaction t)
{
	static const char * const once[] = {
		"ring-ref", "event-channel", "multi-queue-num-queues", "ring-page-order", "feature-persistent",
		"feature-write-zeroes",
	};
	unsigned int i;
	char key[24];

	for (i = 0; i < ARRAY_SIZE(once); i++)
		xenbus_rm(t, dev->xdev->nodename, once[i]);
	for (i = 0; i < PVBLK_RING_PAGES; i++) {
		snprintf(key, sizeof(key), "ring-ref%u", i);
		xenbus_rm(t, dev->xdev->nodename, key);
	}
	for (i = 0; i < dev->max_rings; i++) {
		snprintf(key, sizeof(key), "queue-%u", i);
		xenbus_rm(t, dev->xdev->nodename, key);
	}
}

static int publish_keys(void *arg, struct xenbus_transaction t)
{
	struct pvblk_dev *dev = arg;
	const char *dir = dev->xdev->nodename;
	char path[80];
	unsigned int i;
	int rc;

	if (dev->stale)
		remove_stale(dev, t);
	rc = xenbus_printf(t, dir, "protocol", "%s", XEN_IO_PROTO_ABI_NATIVE);
	if (!rc && dev->order > 0)
		rc = xenbus_printf(t, dir, "ring-page-order", "%u", dev->order);
	if (!rc && pvblk_persistent) /* the back end may say whether it does it too only when it is connected */
		rc = xenbus_printf(t, dir, "feature-persistent", "1");
	if (!rc && dev->zeroes)
		rc = xenbus_printf(t, dir, "feature-write-zeroes", "1");
	if (!rc && dev->nr_rings == 1)
		return publish_ring(t, dir, &dev->rings[0]);
	if (!rc)
		rc = xenbus_printf(t, dir, "multi-queue-num-queues", "%u", dev->nr_rings);
	for (i = 0; !rc && i < dev->nr_rings; i++) {
		snprintf(path, sizeof(path), "%s/queue-%u", dir, i);
		rc = publish_ring(t, path, &dev->rings[i]);
	}
	return rc;
}

static int publish(struct pvblk_dev *dev)
{
	int rc = pvb_publish(dev->xdev, XenbusStateInitialised, publish_keys, dev);

	dev->stale |= rc == 0;
	return rc;
}

static int make_rings(struct pvblk_dev *dev)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < dev->nr_rings && !rc; i++)
		rc = ring_make(dev, &dev->rings[i]);
	return rc;
}

int pvblk_setup(struct pvblk_dev *dev)
{
	unsigned int most = dev->disk ? dev->nr_hw_queues :
			    min(dev->max_rings, num_online_cpus() + pvblk_poll_queues);
	int rc;

	/* a back end may say 0 */
	dev->nr_rings = clamp(xenbus_read_unsigned(dev->otherend, "multi-queue-max-queues", 1), 1u, most);
	/* what is not polled needs a queue at least */
	if (!dev->disk)
		dev->nr_poll = min(pvblk_poll_queues, dev->nr_rings - 1);
	dev->zeroes = xenbus_read_unsigned(dev->otherend, "feature-write-zeroes", 0);
	dev->order = min(xenbus_read_unsigned(dev->otherend, "max-ring-page-order", 0), pvblk_max_order);
	/* pages of a ring lie side by side, which a guest that runs for long may not have */
	while ((rc = make_rings(dev)) == -ENOMEM && dev->order > 0) {
		pvblk_teardown(dev);
		dev->order--;
	}
	return rc ?: publish(dev);
}

/* --- what the back end offers ------------------------------------------------------------------------- */

int pvblk_read_sectors(struct pvblk_dev *dev, u64 *sectors)
{
	int rc = xenbus_scanf(XBT_NIL, dev->otherend, "sectors", "%llu", sectors);

	if (rc < 0)
		return rc;
	return rc == 1 && *sectors <= LLONG_MAX / SECTOR_SIZE ? 0 : -EINVAL;
}

int pvblk_properties(struct pvblk_dev *dev)
{
	struct pvblk_limits *l = &dev->limits;
	const char *back = dev->otherend;
	unsigned int info, segs, block;
	int rc;

	rc = pvblk_read_sectors(dev, &dev->sectors);
	if (rc)
		return rc;
	block = xenbus_read_unsigned(back, "sector-size", SECTOR_SIZE);
	if (!is_power_of_2(block) || block < SECTOR_SIZE || block > PAGE_SIZE)
		return -EINVAL;
	l->logical_block = block;
	block = xenbus_read_unsigned(back, "physical-sector-size", l->logical_block);
	l->physical_block = is_power_of_2(block) && block > l->logical_block && block <= SZ_1M ? block : l->logical_block;

	info = xenbus_read_unsigned(back, "info", 0);
	dev->readonly = info & VDISK_READONLY;
	dev->cdrom = info & VDISK_CDROM;
	dev->removable = info & (VDISK_REMOVABLE | VDISK_CDROM);

	segs = min(xenbus_read_unsigned(back, "feature-max-indirect-segments", 0), pvblk_max_segs);
	dev->max_segs = max(segs, PVBLK_DIRECT_SEGS);
	l->max_segments = dev->max_segs;

	dev->flush_op = 0;
	if (xenbus_read_unsigned(back, "feature-flush-cache", 0))
		dev->flush_op = BLKIF_OP_FLUSH_DISKCACHE;
	else if (xenbus_read_unsigned(back, "feature-barrier", 0))
		dev->flush_op = BLKIF_OP_WRITE_BARRIER;
	l->write_cache = dev->flush_op != 0;

	l->zeroes = dev->zeroes && !dev->readonly;
	l->discard = xenbus_read_unsigned(back, "feature-discard", 0);
	l->secure = l->discard && xenbus_read_unsigned(back, "discard-secure", 0);
	l->discard_granularity = xenbus_read_unsigned(back, "discard-granularity", 0);
	/* the block layer rounds by masks */
	if (!is_power_of_2(l->discard_granularity) || l->discard_granularity < l->logical_block ||
	    l->discard_granularity > SZ_1G)
		l->discard_granularity = l->physical_block;
	l->discard_alignment = xenbus_read_unsigned(back, "discard-alignment", 0) % l->discard_granularity;

	dev->persistent = pvblk_persistent && xenbus_read_unsigned(back, "feature-persistent", 0);
	/* the toolstack's word, not the back end's: it stands in our directory */
	dev->bounce = dev->persistent || !pvblk_trusted || !xenbus_read_unsigned(dev->xdev->nodename, "trusted", 1);
	return 0;
}

int pvblk_start(struct pvblk_dev *dev)
{
	struct pvblk_ring *r;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < dev->nr_rings && !rc; i++) {
		r = &dev->rings[i];
		if (dev->max_segs > PVBLK_DIRECT_SEGS)
			rc = indirect_make(dev, r);
		if (!rc)
			rc = bounce_make(dev, r);
	}
	for (i = 0; i < dev->nr_rings && !rc; i++) {
		r = &dev->rings[i];
		spin_lock_irq(&r->lock);
		r->live = !pvblk_dead(dev);
		spin_unlock_irq(&r->lock);
	}
	return rc;
}

void pvblk_teardown(struct pvblk_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->max_rings; i++)
		ring_drop(dev, &dev->rings[i]);
}
