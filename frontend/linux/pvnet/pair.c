// SPDX-License-Identifier: GPL-2.0-or-later
/* A NIC that is one half of a pair: the other is a passed-through one with the same address, and the guest uses a third
 * interface, made by the kernel's net_failover, whose frames take the passed NIC while it is there and ours otherwise.
 *
 * That module is looked for when a pair wants it; we do not depend on it.  It finds the other half by its address, and chooses.
 * Ours is to make the interface, to keep its MTU within what we can, and to tell the network when frames take another way:
 * a switch has learned that the address is behind the passed NIC, and would go on sending there.
 */
#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <net/net_failover.h>
#include "pvnet.h"

static LIST_HEAD(pairs); /* under rtnl */

/* --- looking for a change of ways --------------------------------------------------------------------- */

/* With rtnl held.  What can not be done here is left to the device's work item. */
static int changed(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *master = NULL;
	struct pvnet_dev *dev;

	switch (event) {
	case NETDEV_CHANGEUPPER:
		master = ((struct netdev_notifier_changeupper_info *)info)->upper_dev;
		break;
	case NETDEV_UP:
	case NETDEV_DOWN:
	case NETDEV_CHANGE:
		master = netdev_master_upper_dev_get(netdev_notifier_info_to_dev(info));
		break;
	}
	if (!master)
		return NOTIFY_DONE;
	list_for_each_entry(dev, &pairs, pair.entry)
		if (dev->pair.master == master) {
			set_bit(PVNET_PATH, &dev->flags);
			pvnet_kick_work(dev);
		}
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = changed };

int pvnet_pair_init(void)
{
	return register_netdevice_notifier(&notifier);
}

void pvnet_pair_exit(void)
{
	unregister_netdevice_notifier(&notifier);
}

void pvnet_pair_announce(struct pvnet_dev *dev)
{
	if (!test_and_clear_bit(PVNET_PATH, &dev->flags))
		return;
	rtnl_lock();
	__netdev_notify_peers(dev->pair.master);
	rtnl_unlock();
}

/* --- the interface of both ---------------------------------------------------------------------------- */

struct net_device *pvnet_face(struct pvnet_dev *dev)
{
	return dev->pair.master ?: dev->netdev;
}

/* net_failover looks at our limit when we become a half of it, and when the passed NIC leaves; ours changes in between. */
void pvnet_pair_fit(struct pvnet_dev *dev)
{
	struct net_device *master = dev->pair.master, *half;
	struct list_head *at;

	ASSERT_RTNL();
	if (!master)
		return;
	netdev_for_each_lower_dev(master, half, at)
		if (half != dev->netdev)
			return; /* the limit is that of the other */
	master->max_mtu = dev->netdev->max_mtu;
}

static struct failover *make(struct pvnet_dev *dev)
{
	struct failover *(*create)(struct net_device *half) = symbol_get(net_failover_create);
	struct failover *failover;

	if (!create) {
		request_module("net_failover");
		create = symbol_get(net_failover_create);
	}
	if (!create)
		return ERR_PTR(-ENOENT);
	failover = create(dev->netdev);
	/* create's own hold goes, as this one came while it lasted */
	dev->pair.destroy = IS_ERR(failover) ? NULL : symbol_get(net_failover_destroy);
	symbol_put(net_failover_create);
	return failover;
}

void pvnet_pair_make(struct pvnet_dev *dev)
{
	struct device *xdev = &dev->xdev->dev;
	struct failover *failover;

	if (!xenbus_read_unsigned(dev->xdev->nodename, "pair", 0))
		return;
	failover = make(dev);
	if (IS_ERR(failover)) {
		dev_warn(xdev, "no pair with a passed-through NIC: %s (%ld); the NIC works alone\n",
			 PTR_ERR(failover) == -ENOENT ? "there is no kernel module net_failover" :
							"its interface could not be made", PTR_ERR(failover));
		return;
	}
	rtnl_lock();
	dev->pair.failover = failover;
	dev->pair.master = rtnl_dereference(failover->failover_dev);
	list_add(&dev->pair.entry, &pairs);
	rtnl_unlock();
	netdev_info(dev->pair.master, "%s and a passed-through NIC with its address\n", dev_name(xdev));
}

void pvnet_pair_drop(struct pvnet_dev *dev)
{
	if (!dev->pair.failover)
		return;
	rtnl_lock();
	list_del(&dev->pair.entry);
	dev->pair.master = NULL;
	rtnl_unlock();
	dev->pair.destroy(dev->pair.failover);
	dev->pair.failover = NULL;
	symbol_put(net_failover_destroy);
}
