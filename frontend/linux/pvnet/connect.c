// SPDX-License-Identifier: GPL-2.0-or-later
/* One connection: the keys read and published, the queues made and taken back.  When to do so is main.c's business. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include "pvnet.h"

/* --- what the back end offers ------------------------------------------------------------------------- */

static bool offered(const struct pvnet_dev *dev, const char *key)
{
	return xenbus_read_unsigned(dev->otherend, key, 0) != 0;
}

static void read_offers(struct pvnet_dev *dev)
{
	dev->offers = (struct pvnet_offers){
		.sg = offered(dev, "feature-sg"),
		.gso4 = offered(dev, "feature-gso-tcpv4"),
		.gso6 = offered(dev, "feature-gso-tcpv6"),
		.csum6 = offered(dev, "feature-ipv6-csum-offload"),
		.split = offered(dev, "feature-split-event-channels"),
		.ctrl = offered(dev, "feature-ctrl-ring"),
		.filter = offered(dev, "feature-multicast-control") &&
			  offered(dev, "feature-dynamic-multicast-control"),
	};
	dev->filtered = pvnet_multicast && dev->offers.filter;
	/* the toolstack's word, not the back end's: it stands in our directory */
	dev->untrusted = !pvnet_trusted || !xenbus_read_unsigned(dev->xdev->nodename, "trusted", 1);
}

/* --- what we publish ---------------------------------------------------------------------------------- */

static int publish_queue(struct xenbus_transaction t, const char *dir, const struct pvnet_queue *q)
{
	int rc = xenbus_printf(t, dir, "tx-ring-ref", "%u", q->tx_ring_ref);

	if (!rc)
		rc = xenbus_printf(t, dir, "rx-ring-ref", "%u", q->rx_ring_ref);
	if (!rc && !q->dev->offers.split)
		return xenbus_printf(t, dir, "event-channel", "%u", q->rx_port);
	if (!rc)
		rc = xenbus_printf(t, dir, "event-channel-tx", "%u", q->tx_port);
	return rc ?: xenbus_printf(t, dir, "event-channel-rx", "%u", q->rx_port);
}

/* Keys of an earlier connection with another shape would contradict ours. */
static void remove_stale(struct pvnet_dev *dev, struct xenbus_transaction t)
{
	static const char * const once[] = {
		"tx-ring-ref", "rx-ring-ref", "event-channel", "event-channel-tx", "event-channel-rx",
		"multi-queue-num-queues", "feature-no-csum-offload", "request-multicast-control", "ctrl-ring-ref",
		"event-channel-ctrl", "xdp-headroom",
	};
	unsigned int i;
	char key[24];

	for (i = 0; i < ARRAY_SIZE(once); i++)
		xenbus_rm(t, dev->xdev->nodename, once[i]);
	for (i = 0; i < PVNET_MAX_QUEUES; i++) {
		snprintf(key, sizeof(key), "queue-%u", i);
		xenbus_rm(t, dev->xdev->nodename, key);
	}
}

static int publish_keys(void *arg, struct xenbus_transaction t)
{
	struct pvnet_dev *dev = arg;
	static const char * const features[] = { "request-rx-copy", "feature-rx-notify", "feature-sg" };
	static const char * const offloads[] = {
		"feature-gso-tcpv4", "feature-gso-tcpv6", "feature-ipv6-csum-offload",
	};
	const char *dir = dev->xdev->nodename;
	unsigned int i;
	char path[80];
	int rc = 0;

	if (dev->stale)
		remove_stale(dev, t);
	for (i = 0; !rc && i < ARRAY_SIZE(features); i++)
		rc = xenbus_printf(t, dir, features[i], "1");
	for (i = 0; !rc && i < ARRAY_SIZE(offloads); i++)
		rc = xenbus_printf(t, dir, offloads[i], "%d", !dev->plain);
	if (!rc && dev->plain)
		rc = xenbus_printf(t, dir, "feature-no-csum-offload", "1");
	if (!rc && dev->filtered)
		rc = xenbus_printf(t, dir, "request-multicast-control", "1");
	if (!rc && dev->offers.ctrl)
		rc = xenbus_printf(t, dir, "ctrl-ring-ref", "%u", dev->ctrl.ring_ref);
	if (!rc && dev->offers.ctrl)
		rc = xenbus_printf(t, dir, "event-channel-ctrl", "%u", dev->ctrl.port);
	if (!rc && dev->nr_queues == 1)
		return publish_queue(t, dir, &dev->queues[0]);
	if (!rc)
		rc = xenbus_printf(t, dir, "multi-queue-num-queues", "%u", dev->nr_queues);
	for (i = 0; !rc && i < dev->nr_queues; i++) {
		snprintf(path, sizeof(path), "%s/queue-%u", dir, i);
		rc = publish_queue(t, path, &dev->queues[i]);
	}
	return rc;
}

static int publish(struct pvnet_dev *dev)
{
	int rc = pvb_publish(dev->xdev, XenbusStateConnected, publish_keys, dev);

	dev->stale |= rc == 0;
	return rc;
}

/* --- the turns of a connection ------------------------------------------------------------------------ */

unsigned int pvnet_max_mtu(const struct pvnet_dev *dev)
{
	unsigned int most = dev->offers.sg ? XEN_NETIF_MAX_TX_SIZE - VLAN_ETH_HLEN : ETH_DATA_LEN;

	return pvnet_has_prog(dev) ? min_t(unsigned int, most, PVNET_XDP_MTU) : most;
}

/* What the device can do is what the back end of the moment takes. */
static int fit_netdev(struct pvnet_dev *dev)
{
	struct net_device *netdev = dev->netdev;
	unsigned int most;
	int rc;

	rtnl_lock();
	most = pvnet_max_mtu(dev);
	rc = netif_set_real_num_tx_queues(netdev, dev->nr_queues);
	if (!rc)
		rc = netif_set_real_num_rx_queues(netdev, dev->nr_queues);
	if (!rc && netdev->mtu > most)
		rc = dev_set_mtu(pvnet_face(dev), most);
	netdev->max_mtu = most;
	pvnet_pair_fit(dev);
	netdev_update_features(netdev);
	rtnl_unlock();
	return rc;
}

int pvnet_setup(struct pvnet_dev *dev)
{
	unsigned int i, most = min(dev->max_queues, num_online_cpus());
	int rc;

	read_offers(dev);
	pvnet_groups_begin(dev);
	dev->plain = pvnet_has_prog(dev);
	if (!offered(dev, "feature-rx-copy"))
		return -EOPNOTSUPP;
	/* a back end may say 0 */
	dev->nr_queues = clamp(xenbus_read_unsigned(dev->otherend, "multi-queue-max-queues", 1), 1u, most);
	rc = pvnet_ctrl_make(dev);
	for (i = 0; i < dev->nr_queues && !rc; i++)
		rc = pvnet_queue_make(&dev->queues[i]);
	if (!rc)
		rc = fit_netdev(dev);
	return rc ?: publish(dev);
}

u32 pvnet_staged(const struct pvnet_dev *dev)
{
	u32 i, n = 0;

	for (i = 0; i < dev->max_queues; i++)
		n += READ_ONCE(dev->queues[i].staged);
	return n;
}

void pvnet_look(struct pvnet_dev *dev)
{
	struct net_device *netdev = dev->netdev;
	unsigned int mtu = xenbus_read_unsigned(dev->xdev->nodename, "mtu", 0);
	bool carrier = xenbus_read_unsigned(dev->otherend, "carrier", 1);

	if (!dev->started)
		return;
	if (carrier != netif_carrier_ok(netdev)) {
		if (carrier)
			netif_carrier_on(netdev);
		else
			netif_carrier_off(netdev);
	}
	/* the administrator's word stands until the toolstack says something new */
	if (mtu == dev->told_mtu)
		return;
	dev->told_mtu = mtu;
	rtnl_lock();
	if (mtu >= netdev->min_mtu && mtu <= netdev->max_mtu && mtu != netdev->mtu && dev_set_mtu(pvnet_face(dev), mtu))
		netdev_warn(netdev, "MTU of %u, as the toolstack says, could not be set\n", mtu);
	rtnl_unlock();
}

void pvnet_start(struct pvnet_dev *dev)
{
	struct pvnet_queue *q;
	unsigned int i;

	for (i = 0; i < dev->nr_queues; i++) {
		q = &dev->queues[i];
		__netif_tx_lock_bh(netdev_get_tx_queue(dev->netdev, i));
		q->tx.on = true;
		__netif_tx_unlock_bh(netdev_get_tx_queue(dev->netdev, i));
	}
	WRITE_ONCE(dev->leaving, false);
	WRITE_ONCE(dev->started, true);
	dev->soon = false;
	dev->again = true;
	pvnet_look(dev);
	for (i = 0; i < dev->nr_queues; i++)
		netif_tx_wake_queue(netdev_get_tx_queue(dev->netdev, i));
	/* after a migration others must learn where we are */
	netdev_notify_peers(pvnet_face(dev));
	pvnet_ctrl_start(dev);
	pvnet_groups_look(dev);
}

void pvnet_stop(struct pvnet_dev *dev)
{
	unsigned int i;

	dev->started = false;
	/* The interface of a pair has no queue of its own: while no half has a carrier programs get errors, which a suspend
	 * should not be to them.  What comes before we are connected again is lost, as it is on a wire. */
	if (!dev->soon || !dev->pair.failover)
		netif_carrier_off(dev->netdev);
	for (i = 0; i < dev->max_queues; i++) {
		__netif_tx_lock_bh(netdev_get_tx_queue(dev->netdev, i));
		dev->queues[i].tx.on = false;
		__netif_tx_unlock_bh(netdev_get_tx_queue(dev->netdev, i));
	}
}

void pvnet_teardown(struct pvnet_dev *dev)
{
	unsigned int i;

	pvnet_stop(dev);
	for (i = 0; i < dev->max_queues; i++)
		pvnet_queue_drop(&dev->queues[i]);
	pvnet_ctrl_drop(dev);
}
