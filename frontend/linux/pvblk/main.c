// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver: what becomes of a device as the two ends' states change.
 *
 *   back end              we                     we do
 *   InitWait          in  Initialising           make rings, publish them; Initialised
 *   Connected         in  Initialised            read what is offered, make the disk; Connected; add the disk
 *   Connected, again  in  Connected              look whether the size has changed
 *   Closing                                      once nobody has the disk open: remove it, take back all; Closed
 *   Closed                                       fail what is in flight, then the same
 *
 * After a restore or a migration the core sets us to Initialising; the disk stays, its requests wait for Connected
 * and are issued again.  Step by step this is done by a work item, which reads the states when it runs: only the
 * last change counts, and only one runs at a time.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include "pvblk.h"

unsigned int pvblk_max_queues;
module_param_named(max_queues, pvblk_max_queues, uint, 0444);
MODULE_PARM_DESC(max_queues, "most queues of a disk (0: one a processor)");

unsigned int pvblk_max_order = PVBLK_MAX_ORDER;
module_param_named(max_ring_order, pvblk_max_order, uint, 0444);
MODULE_PARM_DESC(max_ring_order, "most pages of a ring, as a power of two (0 to 4, 4)");

unsigned int pvblk_max_segs = PVBLK_MAX_SEGS;
module_param_named(max_segments, pvblk_max_segs, uint, 0444);
MODULE_PARM_DESC(max_segments, "most pages of a request (11 to 256, 256)");

bool pvblk_trusted = true;
module_param_named(trusted, pvblk_trusted, bool, 0444);
MODULE_PARM_DESC(trusted, "N: copy all data through pages that hold nothing else, for each disk (Y)");

static struct workqueue_struct *wq;

/* A disk that is open outlives its device; its last user must not start work for what is gone. */
void pvblk_kick_work(struct pvblk_dev *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->disk_lock, flags);
	if (!test_bit(PVBLK_REMOVED, &dev->flags))
		queue_work(wq, &dev->work);
	spin_unlock_irqrestore(&dev->disk_lock, flags);
}

static void dev_free(struct kref *ref)
{
	struct pvblk_dev *dev = container_of(ref, struct pvblk_dev, ref);

	kvfree(dev->rings);
	kfree(dev->otherend);
	kfree(dev);
}

void pvblk_dev_put(struct pvblk_dev *dev)
{
	kref_put(&dev->ref, dev_free);
}

/* --- the steps; up to connect() under dev->lock ------------------------------------------------------- */

static void failed(struct pvblk_dev *dev, int rc, const char *what)
{
	xenbus_dev_fatal(dev->xdev, rc, "%s", what);
	pvblk_kill(dev);
}

/* A device that was closed begins anew when its driver is bound again, or its back end comes back. */
static void begin(struct pvblk_dev *dev, enum xenbus_state back)
{
	struct xenbus_device *xdev = dev->xdev;
	int rc;

	if (test_bit(PVBLK_LIED, &dev->flags))
		return;
	if (xdev->state == XenbusStateClosed && !dev->disk && (dev->rebind || back == XenbusStateInitWait)) {
		dev->rebind = false;
		dev->stale = true;
		dev->told_busy = false;
		clear_bit(PVBLK_CLOSING, &dev->flags);
		clear_bit(PVBLK_DEAD, &dev->flags);
		xenbus_switch_state(xdev, XenbusStateInitialising);
	}
	if (xdev->state != XenbusStateInitialising || back != XenbusStateInitWait || pvblk_dead(dev))
		return;
	rc = pvblk_setup(dev);
	if (rc) {
		failed(dev, rc, "no rings for the back end");
		pvblk_teardown(dev);
		return;
	}
	xenbus_switch_state(xdev, XenbusStateInitialised);
}

/* The disk is there from an earlier connection: what waits goes on. */
static void reconnected(struct pvblk_dev *dev)
{
	struct request_queue *q = dev->disk->queue;

	pvblk_disk_relimit(dev);
	xenbus_switch_state(dev->xdev, XenbusStateConnected);
	if (!test_and_clear_bit(PVBLK_QUIESCED, &dev->flags))
		return;
	blk_mq_unquiesce_queue(q);
	blk_mq_kick_requeue_list(q);
	blk_mq_start_stopped_hw_queues(q, true);
}

/* True: the disk is to be added. */
static bool connect(struct pvblk_dev *dev)
{
	bool again = dev->disk;
	int rc;

	rc = pvblk_properties(dev);
	if (rc) {
		failed(dev, rc, "what the back end says of the disk can not be used");
		return false;
	}
	if (!again) {
		if (list_empty(&dev->names))
			rc = pvblk_disk_name(dev);
		if (rc) {
			failed(dev, rc, "no name for the disk");
			return false;
		}
		rc = pvblk_disk_make(dev);
	}
	if (!rc)
		rc = pvblk_start(dev);
	if (rc) {
		failed(dev, rc, "no memory for the disk");
		return false;
	}
	if (again) {
		reconnected(dev);
		return false;
	}
	xenbus_switch_state(dev->xdev, XenbusStateConnected);
	return true;
}

static void announce(struct pvblk_dev *dev)
{
	dev_info(&dev->xdev->dev, "%s: %llu sectors, %u queues of %u slots, %u pages a request%s%s%s%s\n", dev->name,
		 dev->sectors, dev->nr_rings, dev->tags.queue_depth, dev->max_segs,
		 dev->flush_op ? "" : ", no flush", dev->limits.discard ? ", discard" : "",
		 dev->readonly ? ", read-only" : "", dev->bounce ? ", bounced" : "");
}

/* Is the disk open?  From here on nobody may open it. */
static bool in_use(struct pvblk_dev *dev)
{
	bool used;

	set_bit(PVBLK_CLOSING, &dev->flags);
	mutex_lock(&dev->disk->open_mutex);
	used = disk_openers(dev->disk) > 0;
	mutex_unlock(&dev->disk->open_mutex);
	if (used && !dev->told_busy) {
		dev->told_busy = true;
		xenbus_dev_error(dev->xdev, -EBUSY, "%s is in use; it closes with its last user", dev->name);
	}
	return used;
}

static void unplug(struct pvblk_dev *dev)
{
	/* what waits for a new connection would wait for ever */
	if (test_bit(PVBLK_QUIESCED, &dev->flags))
		pvblk_kill(dev);
	pvblk_disk_remove(dev);
	mutex_lock(&dev->lock);
	pvblk_teardown(dev);
	if (dev->xdev->state != XenbusStateClosed)
		xenbus_frontend_closed(dev->xdev);
	mutex_unlock(&dev->lock);
}

static void tell_lie(struct pvblk_dev *dev)
{
	if (!test_bit(PVBLK_LIED, &dev->flags) || dev->told_lie)
		return;
	dev->told_lie = true;
	pvblk_kill(dev);
	xenbus_dev_fatal(dev->xdev, -EPROTO, "%s", dev->lie);
}

static void step(struct work_struct *work)
{
	struct pvblk_dev *dev = container_of(work, struct pvblk_dev, work);
	struct xenbus_device *xdev = dev->xdev;
	bool add = false, close = false;
	enum xenbus_state back;
	u64 sectors;

	mutex_lock(&dev->lock);
	tell_lie(dev);
	back = xenbus_read_driver_state(dev->otherend);
	switch (back) {
	case XenbusStateInitWait:
		begin(dev, back);
		break;
	case XenbusStateConnected:
		if (xdev->state == XenbusStateInitialised)
			add = connect(dev);
		if (xdev->state == XenbusStateConnected && dev->added && pvblk_read_sectors(dev, &sectors) == 0)
			pvblk_disk_resize(dev, sectors);
		break;
	case XenbusStateClosing:
		close = xdev->state != XenbusStateClosed;
		break;
	case XenbusStateClosed:
		if (dev->rebind) {
			begin(dev, back);
			break;
		}
		close = xdev->state != XenbusStateClosed && xdev->state != XenbusStateInitialising;
		if (close && dev->disk)
			pvblk_kill(dev);
		break;
	default:
		break;
	}
	mutex_unlock(&dev->lock);

	if (add) {
		announce(dev);
		if (pvblk_disk_add(dev)) {
			failed(dev, -EIO, "the disk could not be added");
			pvblk_disk_remove(dev);
		}
	}
	if (!close || (dev->disk && !pvblk_dead(dev) && in_use(dev)))
		return;
	if (dev->added && pvblk_dead(dev))
		blk_mark_disk_dead(dev->disk);
	unplug(dev);
}

/* --- the driver --------------------------------------------------------------------------------------- */

static void otherend_changed(struct xenbus_device *xdev, enum xenbus_state back)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);

	if (!dev)
		return;
	/* nobody will answer; the work item may be waiting for just that */
	if (back == XenbusStateClosed && (xdev->state == XenbusStateConnected || xdev->state == XenbusStateClosing))
		pvblk_kill(dev);
	pvblk_kick_work(dev);
}

/* A CD of an HVM guest is the emulated one; and without unplug its disks may be as well. */
static bool emulated(struct xenbus_device *xdev)
{
	unsigned int vdev;
	bool cdrom;
	char *type;

	if (!xen_hvm_domain())
		return false;
	if (xen_has_pv_and_legacy_disk_devices() &&
	    xenbus_scanf(XBT_NIL, xdev->nodename, "virtual-device", "%u", &vdev) == 1 &&
	    vdev >> 8 != 202 && !(vdev & 1u << 28))
		return true;
	type = xenbus_read(XBT_NIL, xdev->nodename, "device-type", NULL);
	if (IS_ERR(type))
		return false;
	cdrom = !strcmp(type, "cdrom");
	kfree(type);
	return cdrom;
}

static int probe(struct xenbus_device *xdev, const struct xenbus_device_id *id)
{
	struct pvblk_dev *dev;
	unsigned int i;

	if (emulated(xdev))
		return -ENODEV;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	kref_init(&dev->ref);
	mutex_init(&dev->lock);
	spin_lock_init(&dev->disk_lock);
	INIT_WORK(&dev->work, step);
	INIT_LIST_HEAD(&dev->names);
	dev->xdev = xdev;
	dev->max_rings = min(pvblk_max_queues ?: num_possible_cpus(), num_possible_cpus());
	dev->rings = kvcalloc(dev->max_rings, sizeof(*dev->rings), GFP_KERNEL);
	dev->otherend = kstrdup(xdev->otherend, GFP_KERNEL);
	if (!dev->rings || !dev->otherend) {
		pvblk_dev_put(dev);
		return -ENOMEM;
	}
	for (i = 0; i < dev->max_rings; i++) {
		dev->rings[i].dev = dev;
		dev->rings[i].nr = i;
		spin_lock_init(&dev->rings[i].lock);
	}
	/* a driver was here before, and closed the device */
	dev->rebind = xdev->state == XenbusStateClosed;
	dev_set_drvdata(&xdev->dev, dev);
	return 0;
}

static void remove(struct xenbus_device *xdev)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);
	enum xenbus_state back = xenbus_read_driver_state(dev->otherend);
	bool served = back == XenbusStateConnected || back == XenbusStateClosing;
	unsigned long flags;
	bool open;

	spin_lock_irqsave(&dev->disk_lock, flags);
	open = dev->disk && disk_openers(dev->disk);
	set_bit(PVBLK_REMOVED, &dev->flags);
	spin_unlock_irqrestore(&dev->disk_lock, flags);
	/* who still has it open goes on asking for ever, and without a back end nothing would end */
	if (!served || open || test_bit(PVBLK_QUIESCED, &dev->flags))
		pvblk_kill(dev);
	cancel_work_sync(&dev->work);
	if (dev->added && pvblk_dead(dev))
		blk_mark_disk_dead(dev->disk);
	pvblk_disk_remove(dev);
	mutex_lock(&dev->lock);
	pvblk_teardown(dev);
	mutex_unlock(&dev->lock);
	pvblk_disk_unname(dev);
	dev_set_drvdata(&xdev->dev, NULL);
	pvblk_dev_put(dev);
}

static int resume(struct xenbus_device *xdev)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);
	char *otherend = kstrdup(xdev->otherend, GFP_NOIO);

	if (!otherend)
		return -ENOMEM;
	mutex_lock(&dev->lock);
	kfree(dev->otherend);
	dev->otherend = otherend;
	dev->stale = true;
	if (dev->disk && !pvblk_dead(dev)) {
		if (!test_and_set_bit(PVBLK_QUIESCED, &dev->flags))
			blk_mq_quiesce_queue(dev->disk->queue);
		pvblk_recall(dev);
	}
	pvblk_teardown(dev);
	mutex_unlock(&dev->lock);
	pvblk_kick_work(dev);
	return 0;
}

/* Who waits for a root file system waits until its disk is there. */
static int is_ready(struct xenbus_device *xdev)
{
	const struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);

	return !dev || dev->added;
}

static const struct xenbus_device_id ids[] = { { "vbd" }, { "" } };

static struct xenbus_driver driver = {
	.name = "pvblk",
	.ids = ids,
	.probe = probe,
	.remove = remove,
	.resume = resume,
	.is_ready = is_ready,
	.otherend_changed = otherend_changed,
};

static int __init pvblk_init(void)
{
	int rc;

	if (!xen_domain() || !xen_has_pv_disk_devices())
		return -ENODEV;
	pvblk_max_order = min(pvblk_max_order, PVBLK_MAX_ORDER);
	pvblk_max_segs = clamp(pvblk_max_segs, PVBLK_DIRECT_SEGS, PVBLK_MAX_SEGS);
	/* reclaim: it is on the way of memory that is written out to be freed */
	wq = alloc_workqueue("pvblk", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!wq)
		return -ENOMEM;
	rc = xenbus_register_frontend(&driver);
	if (rc)
		destroy_workqueue(wq);
	return rc;
}
module_init(pvblk_init);

static void __exit pvblk_exit(void)
{
	xenbus_unregister_driver(&driver);
	destroy_workqueue(wq);
}
module_exit(pvblk_exit);

MODULE_DESCRIPTION("Xen virtual disks (blkif front end of pvbus)");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:vbd");
MODULE_VERSION("0.1");
