// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver: what becomes of a device as the two ends' states change.
 *
 *   back end              we                     we do
 *   InitWait          in  Initialising           make queues, publish them; Connected
 *   Connected         in  Connected              carrier on; frames go
 *   Connected, again  in  Connected              look at carrier and MTU
 *   Closing                                      no frames any more; Closed
 *   Closed                                       take back all
 *   Closed, online    in  Closed                 Initialising, if it worked before: it all begins anew
 *   InitWait          in  Closed                 the same
 *   Connected         in  Connected, an XDP program has come or gone: Closing, and then the same
 *   any                   Initialising, as the store has it and we do not: another device of this name; leave, begin with it
 *
 * The interface is there from probe to remove, with the carrier off while there is no connection (but for a pair: pvnet_stop()).
 * After a restore or a migration the core sets us to Initialising; frames that were in flight are lost and counted.  Step by step this is
 * done by a work item, which reads the states when it runs: only the last change counts, and only one runs at a time.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <xen/events.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>
#include "pvnet.h"
#include "selftest.h"

#define CLOSE_WAIT (5 * HZ)

static unsigned int max_queues;
module_param(max_queues, uint, 0444);
MODULE_PARM_DESC(max_queues, "most queues of a NIC (0: one a processor)");

bool pvnet_trusted = true;
module_param_named(trusted, pvnet_trusted, bool, 0444);
MODULE_PARM_DESC(trusted, "N: copy all frames through pages that hold nothing else, for each NIC (Y)");

bool pvnet_staging = true;
module_param_named(staging, pvnet_staging, bool, 0444);
MODULE_PARM_DESC(staging, "N: the back end is not asked to map pages for good (Y)");

bool pvnet_multicast;
module_param_named(multicast, pvnet_multicast, bool, 0444);
MODULE_PARM_DESC(multicast, "Y: the back end is told which multicast groups it is to send (N)");

static struct workqueue_struct *wq, *again_wq;
static DECLARE_WAIT_QUEUE_HEAD(changed);

void pvnet_kick_work(struct pvnet_dev *dev)
{
	if (!test_bit(PVNET_REMOVED, &dev->flags))
		queue_work(wq, &dev->work);
}

/* --- the steps, under dev->lock ----------------------------------------------------------------------- */

/* A device that was closed begins anew when its driver is bound again, or its back end comes back.  Some back ends wait
 * for us to be the first. */
static void begin(struct pvnet_dev *dev, enum xenbus_state back)
{
	struct xenbus_device *xdev = dev->xdev;
	int rc;

	if (pvnet_dead(dev))
		return;
	if ((xdev->state == XenbusStateClosed && (dev->again || back == XenbusStateInitWait)) ||
	    (xdev->state == XenbusStateClosing && back == XenbusStateInitWait)) {
		dev->again = false;
		dev->stale = true;
		pvnet_teardown(dev);
		pvb_switch(xdev, XenbusStateInitialising);
	}
	if (xdev->state != XenbusStateInitialising || back != XenbusStateInitWait)
		return;
	/* after a resume nobody has told us of yet there still is what was before it */
	pvnet_teardown(dev);
	rc = pvnet_setup(dev);
	if (!rc)
		return;
	dev->soon = false;
	pvnet_teardown(dev);
	/* It is being taken away, and goes; or it is made again, and begins anew when there is something new in the store. */
	if (rc == -ENOENT || rc == -EACCES || rc == -ESTALE)
		xenbus_dev_error(xdev, rc, "its keys can not be written");
	else
		pvb_fatal(xdev, rc, "no queues for the back end");
}

static void announce(struct pvnet_dev *dev)
{
	const struct pvnet_offers *o = &dev->offers;

	netdev_info(dev->netdev, "%u queues%s%s%s%s%s, %u pages staged\n", dev->nr_queues,
		    o->split ? ", split events" : "", o->sg ? ", sg" : "", o->gso4 ? ", tso" : "",
		    o->gso6 ? ", tso6" : "", dev->untrusted ? ", bounced" : "", pvnet_staged(dev));
}

static void close(struct pvnet_dev *dev)
{
	dev->soon = false;
	pvnet_stop(dev);
	if (dev->xdev->state == XenbusStateClosed)
		return;
	pvb_switch(dev->xdev, XenbusStateClosed);
	complete(&dev->xdev->down);
}

/* A program came or went, and what a back end may send it is told when a connection begins. */
static void reconnect(struct pvnet_dev *dev)
{
	pvnet_stop(dev);
	pvb_switch(dev->xdev, XenbusStateClosing);
}

static void tell_lie(struct pvnet_dev *dev)
{
	if (!pvnet_dead(dev) || dev->told_lie)
		return;
	dev->told_lie = true;
	dev->soon = false;
	pvnet_stop(dev);
	pvb_fatal(dev->xdev, -EPROTO, "%s", dev->lie);
}

static void step(struct work_struct *work)
{
	struct pvnet_dev *dev = container_of(work, struct pvnet_dev, work);
	struct xenbus_device *xdev = dev->xdev;
	enum xenbus_state back;

	mutex_lock(&dev->lock);
	if (test_bit(PVNET_REMOVED, &dev->flags)) {
		mutex_unlock(&dev->lock);
		return;
	}
	if (pvb_made_again(xdev)) {
		pvnet_stop(dev);
		if (!test_and_set_bit(PVNET_AGAIN, &dev->flags) && !pvb_take_again(xdev, again_wq))
			clear_bit(PVNET_AGAIN, &dev->flags);
		mutex_unlock(&dev->lock);
		return;
	}
	tell_lie(dev);
	back = xenbus_read_driver_state(dev->otherend);
	switch (back) {
	case XenbusStateInitWait:
		begin(dev, back);
		break;
	case XenbusStateConnected:
		if (xdev->state != XenbusStateConnected || pvnet_dead(dev))
			break;
		if (dev->started && dev->plain != pvnet_has_prog(dev)) {
			reconnect(dev);
		} else if (dev->started) {
			pvnet_look(dev);
			pvnet_ctrl_hash(dev);
			pvnet_groups_look(dev);
		} else {
			pvnet_start(dev);
			announce(dev);
		}
		break;
	case XenbusStateClosing:
		close(dev);
		break;
	case XenbusStateClosed:
		if (xdev->state == XenbusStateInitialising)
			break;
		close(dev);
		/* it has let go of everything */
		pvnet_teardown(dev);
		/* not if the toolstack takes the device away */
		if (dev->again && xenbus_read_unsigned(dev->otherend, "online", 1))
			begin(dev, back);
		break;
	default:
		break;
	}
	pvnet_pair_announce(dev);
	mutex_unlock(&dev->lock);
}

/* --- the driver --------------------------------------------------------------------------------------- */

static void stop_waiting(struct pvnet_dev *dev)
{
	WRITE_ONCE(dev->leaving, true);
	wake_up(&dev->ctrl.wait);
}

static void otherend_changed(struct xenbus_device *xdev, enum xenbus_state back)
{
	struct pvnet_dev *dev = dev_get_drvdata(&xdev->dev);

	wake_up_all(&changed);
	if (!dev)
		return;
	/* the work item may be waiting for an answer that will not come */
	if (back != XenbusStateConnected && READ_ONCE(dev->started))
		stop_waiting(dev);
	pvnet_kick_work(dev);
}

static void carrier_changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	pvnet_kick_work(container_of(watch, struct pvnet_dev, carrier_watch));
}

static void mtu_changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	pvnet_kick_work(container_of(watch, struct pvnet_dev, mtu_watch));
}

static void remade(struct xenbus_watch *watch, const char *path, const char *token)
{
	pvnet_kick_work(container_of(watch, struct pvnet_dev, back_watch));
}

static int read_mac(struct xenbus_device *xdev, u8 *mac)
{
	char *text = xenbus_read(XBT_NIL, xdev->nodename, "mac", NULL);
	bool ok;

	if (IS_ERR(text))
		return PTR_ERR(text);
	ok = mac_pton(text, mac) && is_valid_ether_addr(mac);
	kfree(text);
	return ok ? 0 : -EINVAL;
}

static void queues_init(struct pvnet_dev *dev)
{
	struct pvnet_queue *q;
	unsigned int i;

	for (i = 0; i < dev->max_queues; i++) {
		q = &dev->queues[i];
		q->dev = dev;
		q->nr = i;
		timer_setup(&q->rx.retry, pvnet_rx_retry, 0);
		netif_napi_add(dev->netdev, &q->napi, pvnet_poll);
	}
}

static void dev_free(struct pvnet_dev *dev)
{
	unsigned int i;

	for (i = 0; dev->queues && i < dev->max_queues; i++)
		netif_napi_del(&dev->queues[i].napi);
	kvfree(dev->queues);
	kfree(dev->otherend);
	/* who handles a change of the link would do so with memory that is somebody else's by then */
	WARN_ON(test_bit(__LINK_STATE_LINKWATCH_PENDING, &dev->netdev->state));
	free_netdev(dev->netdev);
}

static int probe(struct xenbus_device *xdev, const struct xenbus_device_id *id)
{
	unsigned int queues = min3(max_queues ?: num_possible_cpus(), num_possible_cpus(), PVNET_MAX_QUEUES);
	struct net_device *netdev = pvnet_netdev_new(queues);
	struct pvnet_dev *dev;
	u8 mac[ETH_ALEN];
	int rc;

	if (!netdev)
		return -ENOMEM;
	dev = netdev_priv(netdev);
	dev->netdev = netdev;
	dev->xdev = xdev;
	dev->max_queues = queues;
	mutex_init(&dev->lock);
	init_waitqueue_head(&dev->ctrl.wait);
	INIT_WORK(&dev->work, step);
	dev->queues = kvcalloc(queues, sizeof(*dev->queues), GFP_KERNEL);
	dev->otherend = kstrdup(xdev->otherend, GFP_KERNEL);
	rc = dev->queues && dev->otherend ? read_mac(xdev, mac) : -ENOMEM;
	if (rc) {
		xenbus_dev_fatal(xdev, rc, "no NIC: its mac can not be read, or there is no memory");
		dev_free(dev);
		return rc;
	}
	queues_init(dev);
	pvnet_rss_init(dev);
	eth_hw_addr_set(netdev, mac);
	SET_NETDEV_DEV(netdev, &xdev->dev);
	pvnet_pair_make(dev);
	rc = register_netdev(netdev);
	if (rc) {
		xenbus_dev_fatal(xdev, rc, "the interface could not be registered");
		pvnet_pair_drop(dev);
		dev_free(dev);
		return rc;
	}
	/* a driver was here before, and closed the device */
	dev->again = xdev->state == XenbusStateClosed;
	dev_set_drvdata(&xdev->dev, dev);
	if (pvb_watch(&dev->carrier_watch, dev->otherend, "carrier", carrier_changed) ||
	    pvb_watch(&dev->mtu_watch, xdev->nodename, "mtu", mtu_changed))
		netdev_warn(netdev, "changes of carrier and MTU will not be seen\n");
	if (pvb_watch(&dev->back_watch, xdev->nodename, "backend", remade))
		netdev_warn(netdev, "another device of this name will not be seen\n");
	return 0;
}

static bool back_is(const struct pvnet_dev *dev, enum xenbus_state a, enum xenbus_state b)
{
	enum xenbus_state back = xenbus_read_driver_state(dev->otherend);

	return back == a || back == b || back == XenbusStateUnknown;
}

/* Reading the store sleeps, which is why this is no wait_event_timeout().  Looks again now and then all the same. */
static void wait_back(const struct pvnet_dev *dev, enum xenbus_state a, enum xenbus_state b, unsigned long until)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	add_wait_queue(&changed, &wait);
	while (!back_is(dev, a, b) && time_before(jiffies, until))
		wait_woken(&wait, TASK_UNINTERRUPTIBLE, HZ / 10);
	remove_wait_queue(&changed, &wait);
}

/* Let the back end go first, so that what was lent is ours again; but not for ever. */
static void leave(struct pvnet_dev *dev)
{
	unsigned long until = jiffies + CLOSE_WAIT;

	/* a toolstack in a hurry takes our directory first; then there is no way to say anything */
	if (dev->xdev->state == XenbusStateInitialising || back_is(dev, XenbusStateClosed, XenbusStateInitWait) ||
	    !xenbus_exists(XBT_NIL, dev->xdev->nodename, "state") || pvb_made_again(dev->xdev))
		return;
	if (dev->xdev->state == XenbusStateConnected)
		pvb_switch(dev->xdev, XenbusStateClosing);
	wait_back(dev, XenbusStateClosing, XenbusStateClosed, until);
	pvb_switch(dev->xdev, XenbusStateClosed);
	wait_back(dev, XenbusStateClosed, XenbusStateInitWait, until);
}

static void remove(struct xenbus_device *xdev)
{
	struct pvnet_dev *dev = dev_get_drvdata(&xdev->dev);

	set_bit(PVNET_REMOVED, &dev->flags);
	pvb_unwatch(&dev->carrier_watch);
	pvb_unwatch(&dev->mtu_watch);
	pvb_unwatch(&dev->back_watch);
	stop_waiting(dev);
	cancel_work_sync(&dev->work);
	mutex_lock(&dev->lock);
	/* the carrier goes while somebody still waits for who handles it */
	pvnet_stop(dev);
	mutex_unlock(&dev->lock);
	pvnet_pair_drop(dev);
	unregister_netdev(dev->netdev);
	mutex_lock(&dev->lock);
	leave(dev);
	pvnet_teardown(dev);
	pvb_leave(xdev);
	mutex_unlock(&dev->lock);
	/* NAPI may have found a lie meanwhile; it is off now */
	cancel_work_sync(&dev->work);
	dev_set_drvdata(&xdev->dev, NULL);
	dev_free(dev);
}

static int resume(struct xenbus_device *xdev)
{
	struct pvnet_dev *dev = dev_get_drvdata(&xdev->dev);
	char *otherend = kstrdup(xdev->otherend, GFP_NOIO);

	if (!otherend)
		return -ENOMEM;
	pvb_unwatch(&dev->carrier_watch);
	stop_waiting(dev);
	mutex_lock(&dev->lock);
	kfree(dev->otherend);
	dev->otherend = otherend;
	dev->stale = true;
	dev->soon = true;
	pvnet_teardown(dev);
	/* the work item may have come between the core and this */
	if (xdev->state != XenbusStateInitialising)
		pvb_switch(xdev, XenbusStateInitialising);
	mutex_unlock(&dev->lock);
	if (pvb_watch(&dev->carrier_watch, otherend, "carrier", carrier_changed))
		netdev_warn(dev->netdev, "changes of the carrier will not be seen\n");
	pvnet_kick_work(dev);
	return 0;
}

/* Who waits for a root file system over the network waits for this. */
static int is_ready(struct xenbus_device *xdev)
{
	const struct pvnet_dev *dev = dev_get_drvdata(&xdev->dev);

	return !dev || dev->started;
}

static const struct xenbus_device_id ids[] = { { "vif" }, { "" } };

static struct xenbus_driver driver = {
	.name = "pvnet",
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
	if (again_wq)
		destroy_workqueue(again_wq);
	if (wq)
		destroy_workqueue(wq);
}

static int __init pvnet_init(void)
{
	int rc;

	if (!xen_domain() || !xen_has_pv_nic_devices())
		return -ENODEV;
#ifdef DEBUG
	if (!pvb_selftest_ring(sizeof(struct xen_netif_tx_request), sizeof(struct xen_netif_tx_response)) ||
	    !pvb_selftest_ring(sizeof(struct xen_netif_rx_request), sizeof(struct xen_netif_rx_response)))
		return -EINVAL;
	pr_info("self-tests passed\n");
#endif
	/* reclaim: memory may be written out over it to be freed */
	wq = alloc_workqueue("pvnet", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	/* freezable: it waits for xenbus' lock, which is held throughout a suspend, with what a suspend waits for */
	again_wq = alloc_workqueue("pvnet-again", WQ_UNBOUND | WQ_FREEZABLE, 0);
	rc = wq && again_wq ? pvnet_pair_init() : -ENOMEM;
	if (rc)
		goto queues;
	rc = xenbus_register_frontend(&driver);
	if (!rc)
		return 0;
	pvnet_pair_exit();
queues:
	destroy_queues();
	return rc;
}
module_init(pvnet_init);

static void __exit pvnet_exit(void)
{
	xenbus_unregister_driver(&driver);
	pvnet_pair_exit();
	destroy_queues();
}
module_exit(pvnet_exit);

MODULE_DESCRIPTION("Xen virtual NICs (netif front end of pvbus)");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen:vif");
MODULE_VERSION("0.1");
