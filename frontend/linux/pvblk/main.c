// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver: what becomes of a device as the two ends' states change.
 *
 *   back end              we                     we do
 *   InitWait          in  Initialising           make rings, publish them; Initialised
 *   Connected         in  Initialised            read what is offered, make the disk; Connected; add the disk
 *   Connected, again  in  Connected              look whether the size has changed
 *   Closing                                      once nobody has the disk open: remove it, take back all; Closed
 *   Closed                                       fail what is in flight, then the same
 *   Closing, with the key "restarting"           hold requests, wait for those in flight; Closed, the disk stays
 *   Closed, with "restarting"                    take back what is in flight; Closed, Initialising, and so on
 *   any                   Initialising, as the store has it and we do not: another device of this name; leave, begin with it
 *
 * After a restore or a migration the core sets us to Initialising; the disk stays, its requests wait for Connected
 * and are issued again.  Step by step this is done by a work item, which reads the states when it runs: only the
 * last change counts, and only one runs at a time.  A back end that comes and goes all the time is followed ever more
 * slowly.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include "pvblk.h"
#include "selftest.h"

static unsigned int max_queues;
module_param(max_queues, uint, 0444);
MODULE_PARM_DESC(max_queues, "most queues of a disk (0: one a processor)");

unsigned int pvblk_poll_queues;
module_param_named(poll_queues, pvblk_poll_queues, uint, 0444);
MODULE_PARM_DESC(poll_queues, "queues of a disk beside those, for requests that are polled for (0)");

unsigned int pvblk_max_order = PVBLK_MAX_ORDER;
module_param_named(max_ring_order, pvblk_max_order, uint, 0444);
MODULE_PARM_DESC(max_ring_order, "most pages of a ring, as a power of two (0 to 4, 4)");

unsigned int pvblk_max_segs = PVBLK_MAX_SEGS;
module_param_named(max_segments, pvblk_max_segs, uint, 0444);
MODULE_PARM_DESC(max_segments, "most pages of a request (11 to 256, 256)");

unsigned int pvblk_ask_after = 30;
module_param_named(ask_after, pvblk_ask_after, uint, 0444);
MODULE_PARM_DESC(ask_after, "seconds without an answer after which the back end is asked again (1 to 3600, 30)");

unsigned int pvblk_fail_after;
module_param_named(fail_after, pvblk_fail_after, uint, 0644);
MODULE_PARM_DESC(fail_after, "seconds without an answer after which the disk is given up (0: never)");

bool pvblk_trusted = true;
module_param_named(trusted, pvblk_trusted, bool, 0444);
MODULE_PARM_DESC(trusted, "N: copy all data through pages that hold nothing else, for each disk (Y)");

bool pvblk_persistent = true;
module_param_named(persistent, pvblk_persistent, bool, 0444);
MODULE_PARM_DESC(persistent, "N: no pages that stay granted for data, even where the back end keeps them mapped (Y)");

#define TRIES_AT_ONCE 3u         /* of so many connections in a row the next is made at once, */
#define TRY_PAUSE_MAX 32u        /* then after twice the time each, up to so many seconds */
#define TRY_LASTS     (60 * HZ)  /* who lasted so long does not count */
#define RESIZE_EVERY  HZ         /* each is a line in the kernel's log */

static struct workqueue_struct *wq, *disk_wq, *again_wq;

/* A disk that is open outlives its device; its last user must not start work for what is gone. */
static void work_in(struct pvblk_dev *dev, unsigned long delay)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->disk_lock, flags);
	if (!test_bit(PVBLK_REMOVED, &dev->flags))
		mod_delayed_work(wq, &dev->work, delay);
	spin_unlock_irqrestore(&dev->disk_lock, flags);
}

void pvblk_kick_work(struct pvblk_dev *dev)
{
	work_in(dev, 0);
}

void pvblk_kick_disk(struct pvblk_dev *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->disk_lock, flags);
	if (!test_bit(PVBLK_REMOVED, &dev->flags))
		queue_work(disk_wq, &dev->disk_work);
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

/* --- the connection; under dev->lock ------------------------------------------------------------------ */

static void failed(struct pvblk_dev *dev, int rc, const char *what)
{
	pvb_fatal(dev->xdev, rc, "%s", what);
	pvblk_kill(dev);
}

/* How long the next connection has to wait still. */
static unsigned long too_soon(struct pvblk_dev *dev)
{
	unsigned long at;

	if (time_after(jiffies, dev->tried + TRY_LASTS))
		dev->tries = 0;
	if (dev->tries < TRIES_AT_ONCE)
		return 0;
	at = dev->tried + min(1u << min(dev->tries - TRIES_AT_ONCE, 10u), TRY_PAUSE_MAX) * HZ;
	return time_before(jiffies, at) ? at - jiffies : 0;
}

/* A device that was closed begins anew when its driver is bound again, or its back end comes back. */
static void begin(struct pvblk_dev *dev, enum xenbus_state back)
{
	struct xenbus_device *xdev = dev->xdev;
	unsigned long wait;
	int rc;

	if (test_bit(PVBLK_LIED, &dev->flags))
		return;
	if (xdev->state == XenbusStateClosed && back != XenbusStateClosing &&
	    (test_bit(PVBLK_PAUSED, &dev->flags) || (!dev->disk && (dev->rebind || back == XenbusStateInitWait)))) {
		dev->rebind = false;
		dev->stale = true;
		dev->told_busy = false;
		clear_bit(PVBLK_CLOSING, &dev->flags);
		if (!dev->disk)
			clear_bit(PVBLK_DEAD, &dev->flags);
		pvb_switch(xdev, XenbusStateInitialising);
	}
	if (xdev->state != XenbusStateInitialising || back != XenbusStateInitWait || pvblk_dead(dev))
		return;
	wait = too_soon(dev);
	if (wait) {
		work_in(dev, wait);
		return;
	}
	dev->tries++;
	dev->tried = jiffies;
	rc = pvblk_setup(dev);
	if (!rc)
		return;
	/* It is being taken away, and goes; or it is made again, and begins anew when there is something new in the store. */
	if (rc == -ENOENT || rc == -EACCES || rc == -ESTALE)
		xenbus_dev_error(xdev, rc, "its keys can not be written");
	else
		failed(dev, rc, "no rings for the back end");
	pvblk_teardown(dev);
}

/* The disk is there from an earlier connection: what waits goes on. */
static void reconnected(struct pvblk_dev *dev, const struct pvblk_limits *had)
{
	pvb_switch(dev->xdev, XenbusStateConnected);
	pvblk_go_on(dev);
	/* after that: who changes limits by hand may hold them until the requests that waited are done */
	pvblk_disk_relimit(dev, had);
	if (test_and_clear_bit(PVBLK_PAUSED, &dev->flags))
		dev_info(&dev->xdev->dev, "%s: the back end is there again\n", dev->name);
}

static void connect(struct pvblk_dev *dev)
{
	struct pvblk_limits had;
	bool again = dev->disk;
	int rc;

	memcpy(&had, &dev->limits, sizeof(had));
	rc = pvblk_properties(dev);
	if (rc) {
		failed(dev, rc, "what the back end says of the disk can not be used");
		return;
	}
	if (!again) {
		if (list_empty(&dev->names))
			rc = pvblk_disk_name(dev);
		if (rc) {
			failed(dev, rc, "no name for the disk");
			return;
		}
		rc = pvblk_disk_make(dev);
	}
	if (!rc)
		rc = pvblk_start(dev);
	if (rc) {
		failed(dev, rc, "no memory for the disk");
		return;
	}
	if (again) {
		reconnected(dev, &had);
		return;
	}
	pvb_switch(dev->xdev, XenbusStateConnected);
	set_bit(PVBLK_ADD, &dev->flags);
	pvblk_kick_disk(dev);
}

/* Does the back end that goes say that it will come back?  Nobody waits for one that the toolstack removes. */
static bool restarting(struct pvblk_dev *dev)
{
	return dev->disk && !pvblk_dead(dev) && !test_bit(PVBLK_LEAVING, &dev->flags) &&
	       xenbus_read_unsigned(dev->otherend, "restarting", 0) && xenbus_read_unsigned(dev->otherend, "online", 0);
}

static bool in_flight(struct pvblk_dev *dev)
{
	unsigned int i;
	bool some = false;

	for (i = 0; i < dev->nr_rings; i++) {
		spin_lock_irq(&dev->rings[i].lock);
		some |= dev->rings[i].in_flight;
		spin_unlock_irq(&dev->rings[i].lock);
	}
	return some;
}

/* What it has taken it answers before it is Closed.  What it has not answered then it has given up, and the next
 * connection does it: not earlier, as a write that is done late could undo a newer one. */
static void pause(struct pvblk_dev *dev, enum xenbus_state back)
{
	struct xenbus_device *xdev = dev->xdev;

	if (xdev->state != XenbusStateConnected && xdev->state != XenbusStateInitialised) {
		begin(dev, back);
		return;
	}
	pvblk_hold(dev);
	set_bit(PVBLK_DRAINING, &dev->flags);
	if (back == XenbusStateClosing && in_flight(dev))
		return;
	dev_info(&xdev->dev, "%s: the back end restarts; requests wait for it\n", dev->name);
	clear_bit(PVBLK_DRAINING, &dev->flags);
	pvblk_recall(dev);
	pvblk_teardown(dev);
	set_bit(PVBLK_PAUSED, &dev->flags);
	pvb_switch(xdev, XenbusStateClosed);
	begin(dev, back);
}

static void resize(struct pvblk_dev *dev)
{
	unsigned long next = dev->resized + RESIZE_EVERY;
	u64 sectors;

	if (pvblk_read_sectors(dev, &sectors) || sectors == get_capacity(dev->disk))
		return;
	if (dev->resized && time_before(jiffies, next)) {
		work_in(dev, next - jiffies);
		return;
	}
	dev->resized = jiffies ?: 1;
	pvblk_disk_resize(dev, sectors);
}

static void tell_lie(struct pvblk_dev *dev)
{
	if (!test_bit(PVBLK_LIED, &dev->flags) || dev->told_lie)
		return;
	smp_rmb(); /* the bit before the text: pairs with lie() */
	dev->told_lie = true;
	pvblk_kill(dev);
	pvb_fatal(dev->xdev, -EPROTO, "%s; the disk is disabled", dev->lie);
}

static void take_step(struct pvblk_dev *dev)
{
	struct xenbus_device *xdev = dev->xdev;
	enum xenbus_state back;
	bool close = false, paused;

	mutex_lock(&dev->lock);
	if (pvb_made_again(xdev)) {
		/* nobody answers what was asked of the old one */
		pvblk_kill(dev);
		if (!test_and_set_bit(PVBLK_AGAIN, &dev->flags) && !pvb_take_again(xdev, again_wq))
			clear_bit(PVBLK_AGAIN, &dev->flags);
		mutex_unlock(&dev->lock);
		return;
	}
	tell_lie(dev);
	back = xenbus_read_driver_state(dev->otherend);
	if ((back == XenbusStateClosing || back == XenbusStateClosed) && restarting(dev)) {
		pause(dev, back);
		mutex_unlock(&dev->lock);
		return;
	}
	paused = test_bit(PVBLK_PAUSED, &dev->flags);
	switch (back) {
	case XenbusStateInitWait:
		begin(dev, back);
		break;
	case XenbusStateConnected:
		if (xdev->state == XenbusStateInitialised)
			connect(dev);
		/* it may have wanted to go or to restart, and does not any more */
		clear_bit(PVBLK_CLOSE, &dev->flags);
		clear_bit(PVBLK_CLOSING, &dev->flags);
		if (test_and_clear_bit(PVBLK_DRAINING, &dev->flags))
			pvblk_go_on(dev);
		if (xdev->state == XenbusStateConnected && dev->added && !pvblk_dead(dev))
			resize(dev);
		break;
	case XenbusStateClosing:
		close = paused || xdev->state != XenbusStateClosed;
		break;
	case XenbusStateClosed:
		if (dev->rebind) {
			begin(dev, back);
			break;
		}
		close = paused || (xdev->state != XenbusStateClosed && xdev->state != XenbusStateInitialising);
		/* nobody will answer */
		if (close && dev->disk)
			pvblk_kill(dev);
		break;
	default:
		break;
	}
	if (close) {
		set_bit(PVBLK_CLOSE, &dev->flags);
		pvblk_kick_disk(dev);
	}
	mutex_unlock(&dev->lock);
}

static void step(struct work_struct *work)
{
	/* also what the kernel allocates for us: memory may have to be written to this disk before it is free */
	unsigned int noio = memalloc_noio_save();

	take_step(container_of(to_delayed_work(work), struct pvblk_dev, work));
	memalloc_noio_restore(noio);
}

/* --- the disk; dev->lock is not held ------------------------------------------------------------------ */

static void announce(struct pvblk_dev *dev)
{
	dev_info(&dev->xdev->dev, "%s: %llu sectors, %u queues (%u polled) of %u slots, %u pages a request%s%s%s%s\n",
		 dev->name, dev->sectors, dev->nr_rings, dev->nr_poll, dev->tags.queue_depth, dev->max_segs,
		 dev->flush_op ? "" : ", no flush", dev->limits.discard ? ", discard" : "",
		 dev->readonly ? ", read-only" : "", dev->persistent ? ", persistent grants" : dev->bounce ? ", bounced" : "");
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
	/* what waits for a new connection would wait for ever; and nobody begins to wait from here on */
	mutex_lock(&dev->lock);
	set_bit(PVBLK_LEAVING, &dev->flags);
	if (test_bit(PVBLK_QUIESCED, &dev->flags))
		pvblk_kill(dev);
	mutex_unlock(&dev->lock);
	if (dev->added && pvblk_dead(dev))
		blk_mark_disk_dead(dev->disk);
	pvblk_disk_remove(dev);
	mutex_lock(&dev->lock);
	pvblk_disk_free(dev);
	clear_bit(PVBLK_LEAVING, &dev->flags);
	clear_bit(PVBLK_PAUSED, &dev->flags);
	clear_bit(PVBLK_DRAINING, &dev->flags);
	pvblk_teardown(dev);
	/* After a restore meanwhile it was not this back end that wanted to go: begin anew with it. */
	if (!test_and_clear_bit(PVBLK_CLOSE, &dev->flags))
		dev->rebind = true;
	if (dev->xdev->state != XenbusStateClosed) {
		pvb_switch(dev->xdev, XenbusStateClosed);
		complete(&dev->xdev->down);
	}
	mutex_unlock(&dev->lock);
	pvblk_kick_work(dev);
}

static void disk_step(struct work_struct *work)
{
	struct pvblk_dev *dev = container_of(work, struct pvblk_dev, disk_work);

	if (test_and_clear_bit(PVBLK_ADD, &dev->flags) && dev->disk) {
		announce(dev);
		if (pvblk_disk_add(dev)) {
			mutex_lock(&dev->lock);
			failed(dev, -EIO, "the disk could not be added");
			pvblk_disk_free(dev);
			mutex_unlock(&dev->lock);
		}
		/* what has changed meanwhile */
		pvblk_kick_work(dev);
	}
	if (!test_bit(PVBLK_CLOSE, &dev->flags) || (dev->disk && !pvblk_dead(dev) && in_use(dev)))
		return;
	unplug(dev);
}

/* --- the driver --------------------------------------------------------------------------------------- */

static void otherend_changed(struct xenbus_device *xdev, enum xenbus_state back)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);

	if (dev)
		pvblk_kick_work(dev);
}

static void remade(struct xenbus_watch *watch, const char *path, const char *token)
{
	pvblk_kick_work(container_of(watch, struct pvblk_dev, back_watch));
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
	unsigned int i, devid;

	if (emulated(xdev) || kstrtouint(strrchr(xdev->nodename, '/') + 1, 10, &devid))
		return -ENODEV;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	/* its lower half, which is all there is room for; few back ends look at it */
	dev->handle = devid;
	kref_init(&dev->ref);
	mutex_init(&dev->lock);
	spin_lock_init(&dev->disk_lock);
	INIT_DELAYED_WORK(&dev->work, step);
	INIT_WORK(&dev->disk_work, disk_step);
	INIT_LIST_HEAD(&dev->names);
	dev->xdev = xdev;
	dev->max_rings = min(max_queues ?: num_possible_cpus(), num_possible_cpus()) + pvblk_poll_queues;
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
	if (pvb_watch(&dev->back_watch, xdev->nodename, "backend", remade))
		dev_warn(&xdev->dev, "another device of this name will not be seen\n");
	pvblk_debug_add(dev);
	return 0;
}

static void remove(struct xenbus_device *xdev)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);
	enum xenbus_state back = xenbus_read_driver_state(dev->otherend);
	bool served = back == XenbusStateConnected || back == XenbusStateClosing;
	unsigned long flags;
	bool open;

	pvblk_debug_remove(dev);
	pvb_unwatch(&dev->back_watch);
	spin_lock_irqsave(&dev->disk_lock, flags);
	/* who reads the partitions is not counted yet */
	open = dev->disk && (!dev->added || disk_openers(dev->disk));
	set_bit(PVBLK_REMOVED, &dev->flags);
	set_bit(PVBLK_LEAVING, &dev->flags);
	spin_unlock_irqrestore(&dev->disk_lock, flags);
	cancel_delayed_work_sync(&dev->work);
	/* who still has it open goes on asking for ever, and without a back end nothing would end */
	if (!served || open || test_bit(PVBLK_QUIESCED, &dev->flags))
		pvblk_kill(dev);
	cancel_work_sync(&dev->disk_work);
	if (test_bit(PVBLK_LIED, &dev->flags) && !dev->told_lie)
		dev_err(&xdev->dev, "%s\n", dev->lie);
	if (dev->added && pvblk_dead(dev))
		blk_mark_disk_dead(dev->disk);
	pvblk_disk_remove(dev);
	mutex_lock(&dev->lock);
	pvblk_disk_free(dev);
	pvblk_teardown(dev);
	pvb_leave(xdev);
	mutex_unlock(&dev->lock);
	pvblk_disk_unname(dev);
	dev_set_drvdata(&xdev->dev, NULL);
	pvblk_dev_put(dev);
}

static int resume(struct xenbus_device *xdev)
{
	struct pvblk_dev *dev = dev_get_drvdata(&xdev->dev);
	char *otherend = kstrdup(xdev->otherend, GFP_NOIO);

	mutex_lock(&dev->lock);
	if (otherend) {
		kfree(dev->otherend);
		dev->otherend = otherend;
	} else {
		/* the old one's answers will not come */
		pvblk_kill(dev);
	}
	dev->stale = true;
	dev->tries = 0;
	/* it was another back end that wanted to go */
	clear_bit(PVBLK_CLOSE, &dev->flags);
	clear_bit(PVBLK_CLOSING, &dev->flags);
	clear_bit(PVBLK_DRAINING, &dev->flags);
	clear_bit(PVBLK_PAUSED, &dev->flags);
	dev->told_busy = false;
	pvblk_hold(dev);
	if (!pvblk_dead(dev))
		pvblk_recall(dev);
	pvblk_teardown(dev);
	mutex_unlock(&dev->lock);
	pvblk_kick_work(dev);
	return otherend ? 0 : -ENOMEM;
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
	.allow_rebind = true, /* remove says Closed, but not of another device */
	.ids = ids,
	.probe = probe,
	.remove = remove,
	.resume = resume,
	.is_ready = is_ready,
	.otherend_changed = otherend_changed,
};

static void destroy_queues(void)
{
	if (wq)
		destroy_workqueue(wq);
	if (disk_wq)
		destroy_workqueue(disk_wq);
	if (again_wq)
		destroy_workqueue(again_wq);
}

static int __init pvblk_init(void)
{
	int rc;

	if (!xen_domain() || !xen_has_pv_disk_devices())
		return -ENODEV;
#ifdef DEBUG
	if (!pvb_selftest_ring(sizeof(struct blkif_request), sizeof(struct blkif_response)) || !pvblk_selftest_names())
		return -EINVAL;
	pr_info("self-tests passed\n");
#endif
	pvblk_poll_queues = min(pvblk_poll_queues, num_possible_cpus());
	pvblk_max_order = min(pvblk_max_order, PVBLK_MAX_ORDER);
	pvblk_ask_after = clamp(pvblk_ask_after, 1u, 3600u);
	pvblk_max_segs = clamp(pvblk_max_segs, PVBLK_DIRECT_SEGS, PVBLK_MAX_SEGS);
	/* reclaim: it is on the way of memory that is written out to be freed.  Freezable: a connection that is half
	 * made when the guest is suspended would be published by who comes to life with another back end. */
	wq = alloc_workqueue("pvblk", WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_FREEZABLE, 0);
	disk_wq = alloc_workqueue("pvblk-disk", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	/* freezable, too: it waits for xenbus' lock, which is held throughout a suspend, with what a suspend waits for */
	again_wq = alloc_workqueue("pvblk-again", WQ_UNBOUND | WQ_FREEZABLE, 0);
	pvblk_debug_init();
	rc = wq && disk_wq && again_wq ? xenbus_register_frontend(&driver) : -ENOMEM;
	if (rc) {
		pvblk_debug_exit();
		destroy_queues();
	}
	return rc;
}
module_init(pvblk_init);

static void __exit pvblk_exit(void)
{
	xenbus_unregister_driver(&driver);
	pvblk_debug_exit();
	destroy_queues();
}
module_exit(pvblk_exit);

MODULE_DESCRIPTION("Xen virtual disks (blkif front end of pvbus)");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:vbd");
MODULE_VERSION("0.1");
