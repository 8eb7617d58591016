// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of multicast groups, told to the back end by transmit requests without data, so that it sends no others.  If
 * there are more than it takes, or one is refused, it is asked for all.  By the work item. */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include "pvnet.h"

static bool has(const struct pvnet_groups *g, const u8 *addr)
{
	u32 i;

	for (i = 0; i < g->nr; i++)
		if (ether_addr_equal(g->addr[i], addr))
			return true;
	return false;
}

/* What the stack wants; false: all there are. */
static bool wanted(struct net_device *netdev, struct pvnet_groups *g)
{
	const struct netdev_hw_addr *ha;
	bool listed;

	g->nr = 0;
	netif_addr_lock_bh(netdev);
	listed = !(netdev->flags & (IFF_PROMISC | IFF_ALLMULTI)) && netdev_mc_count(netdev) <= PVNET_MAX_GROUPS;
	if (listed)
		netdev_for_each_mc_addr(ha, netdev)
			ether_addr_copy(g->addr[g->nr++], ha->addr);
	netif_addr_unlock_bh(netdev);
	return listed;
}

/* False: no room in the ring.  Its next answers call for us again. */
static bool tell(struct pvnet_dev *dev, const u8 *addr, bool add)
{
	if (pvnet_tx_group(&dev->queues[0], addr, add))
		return true;
	set_bit(PVNET_GROUPS_WAIT, &dev->flags);
	return pvnet_tx_group(&dev->queues[0], addr, add);
}

static void update(struct pvnet_dev *dev, const struct pvnet_groups *want)
{
	struct pvnet_groups *told = &dev->groups;
	u32 i;

	/* those that go first, as the list has an end */
	for (i = 0; i < told->nr; i++) {
		if (has(want, told->addr[i]))
			continue;
		if (!tell(dev, told->addr[i], false))
			return;
		told->nr--;
		memmove(told->addr[i], told->addr[told->nr], ETH_ALEN);
		i--;
	}
	for (i = 0; i < want->nr; i++) {
		if (has(told, want->addr[i]))
			continue;
		if (!tell(dev, want->addr[i], true))
			return;
		ether_addr_copy(told->addr[told->nr++], want->addr[i]);
	}
}

void pvnet_groups_begin(struct pvnet_dev *dev)
{
	dev->groups.nr = 0;
	dev->all_groups = false;
	clear_bit(PVNET_GROUPS_REFUSED, &dev->flags);
	clear_bit(PVNET_GROUPS_WAIT, &dev->flags);
}

void pvnet_groups_look(struct pvnet_dev *dev)
{
	struct pvnet_groups want;
	bool all;

	if (!dev->filtered || !dev->started)
		return;
	all = !wanted(dev->netdev, &want) || test_bit(PVNET_GROUPS_REFUSED, &dev->flags);
	if (!all)
		update(dev, &want);
	if (all == dev->all_groups)
		return;
	if (xenbus_printf(XBT_NIL, dev->xdev->nodename, "request-multicast-control", "%d", !all) == 0)
		dev->all_groups = all;
}
