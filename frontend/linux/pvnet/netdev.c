// SPDX-License-Identifier: GPL-2.0-or-later
/* The interface that the network stack sees, and what ethtool shows of it. */
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <net/tcp.h>
#include "pvnet.h"

/* --- operations --------------------------------------------------------------------------------------- */

static int open(struct net_device *netdev)
{
	netif_tx_start_all_queues(netdev);
	return 0;
}

static int stop(struct net_device *netdev)
{
	netif_tx_stop_all_queues(netdev);
	return 0;
}

static netdev_features_t fix_features(struct net_device *netdev, netdev_features_t features)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);
	const struct pvnet_offers *o = &dev->offers;

	if (!o->sg)
		features &= ~(NETIF_F_SG | NETIF_F_TSO | NETIF_F_TSO6);
	if (!o->csum6)
		features &= ~(NETIF_F_IPV6_CSUM | NETIF_F_TSO6);
	if (!o->gso4)
		features &= ~NETIF_F_TSO;
	if (!o->gso6)
		features &= ~NETIF_F_TSO6;
	return features;
}

static void set_rx_mode(struct net_device *netdev)
{
	struct pvnet_dev *dev = netdev_priv(netdev);

	if (READ_ONCE(dev->filtered))
		pvnet_kick_work(dev);
}

static void get_stats64(struct net_device *netdev, struct rtnl_link_stats64 *s)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);
	unsigned int i;

	for (i = 0; i < dev->max_queues; i++) {
		const struct pvnet_counts *n = &dev->queues[i].n;

		s->tx_packets += READ_ONCE(n->tx_packets);
		s->tx_bytes += READ_ONCE(n->tx_bytes);
		s->tx_dropped += READ_ONCE(n->tx_dropped) + READ_ONCE(n->tx_lost);
		s->tx_errors += READ_ONCE(n->tx_errors);
		s->rx_packets += READ_ONCE(n->rx_packets);
		s->rx_bytes += READ_ONCE(n->rx_bytes);
		s->rx_dropped += READ_ONCE(n->rx_dropped);
		s->rx_errors += READ_ONCE(n->rx_errors) + READ_ONCE(n->rx_bad);
	}
}

/* By it the rules that name interfaces tell the half of a pair from the pair, which has the same device. */
static int get_phys_port_name(struct net_device *netdev, char *to, size_t len)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);

	if (!dev->pair.failover)
		return -EOPNOTSUPP;
	return snprintf(to, len, "sby") < len ? 0 : -EOPNOTSUPP;
}

static const struct net_device_ops netdev_ops = {
	.ndo_open = open,
	.ndo_stop = stop,
	.ndo_start_xmit = pvnet_xmit,
	.ndo_fix_features = fix_features,
	.ndo_get_stats64 = get_stats64,
	.ndo_set_rx_mode = set_rx_mode,
	.ndo_bpf = pvnet_xdp_setup,
	.ndo_xdp_xmit = pvnet_xdp_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_get_phys_port_name = get_phys_port_name,
};

/* --- ethtool ------------------------------------------------------------------------------------------ */

static const struct {
	char name[ETH_GSTRING_LEN];
	size_t at;
} counters[] = {
#define COUNTER(field) { #field, offsetof(struct pvnet_counts, field) }
	COUNTER(tx_packets), COUNTER(tx_bytes), COUNTER(tx_slots), COUNTER(tx_gso), COUNTER(tx_csum_blank),
	COUNTER(tx_copied), COUNTER(tx_linearized), COUNTER(tx_full), COUNTER(tx_dropped), COUNTER(tx_errors),
	COUNTER(tx_lost),
	COUNTER(rx_packets), COUNTER(rx_bytes), COUNTER(rx_slots), COUNTER(rx_gso), COUNTER(rx_csum_blank),
	COUNTER(rx_copied), COUNTER(rx_hashed), COUNTER(rx_dropped), COUNTER(rx_errors), COUNTER(rx_bad),
	COUNTER(rx_no_memory),
	COUNTER(xdp_pass), COUNTER(xdp_drop), COUNTER(xdp_tx), COUNTER(xdp_redirect), COUNTER(xdp_xmit),
	COUNTER(xdp_refused), COUNTER(xdp_errors),
	COUNTER(notify_sent), COUNTER(notify_suppressed), COUNTER(events), COUNTER(spurious),
#undef COUNTER
};

static int get_sset_count(struct net_device *netdev, int set)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);

	return set == ETH_SS_STATS ? ARRAY_SIZE(counters) + 1 + 2 * dev->max_queues : -EOPNOTSUPP;
}

static void get_strings(struct net_device *netdev, u32 set, u8 *to)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);
	u32 i;

	if (set != ETH_SS_STATS)
		return;
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		ethtool_sprintf(&to, "%s", counters[i].name);
	ethtool_sprintf(&to, "staged");
	for (i = 0; i < dev->max_queues; i++) {
		ethtool_sprintf(&to, "tx%u_packets", i);
		ethtool_sprintf(&to, "rx%u_packets", i);
	}
}

static void get_ethtool_stats(struct net_device *netdev, struct ethtool_stats *stats, u64 *to)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);
	u32 i, nr;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		for (to[i] = 0, nr = 0; nr < dev->max_queues; nr++)
			to[i] += READ_ONCE(*(const u64 *)((const char *)&dev->queues[nr].n + counters[i].at));
	to[i++] = pvnet_staged(dev);
	for (nr = 0; nr < dev->max_queues; nr++) {
		to[i++] = READ_ONCE(dev->queues[nr].n.tx_packets);
		to[i++] = READ_ONCE(dev->queues[nr].n.rx_packets);
	}
}

static void get_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "pvnet", sizeof(info->driver));
	strscpy(info->bus_info, dev_name(netdev->dev.parent), sizeof(info->bus_info));
}

static void get_ringparam(struct net_device *netdev, struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kernel_ring, struct netlink_ext_ack *extack)
{
	ring->tx_pending = ring->tx_max_pending = PVNET_SLOTS;
	ring->rx_pending = ring->rx_max_pending = PVNET_SLOTS;
}

static void get_channels(struct net_device *netdev, struct ethtool_channels *c)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);

	c->max_combined = dev->max_queues;
	c->combined_count = netdev->real_num_tx_queues;
}

static int get_rxnfc(struct net_device *netdev, struct ethtool_rxnfc *what, u32 *locations)
{
	if (what->cmd != ETHTOOL_GRXRINGS)
		return -EOPNOTSUPP;
	what->data = netdev->real_num_rx_queues;
	return 0;
}

static u32 get_rxfh_key_size(struct net_device *netdev)
{
	return PVNET_RSS_KEY;
}

static u32 get_rxfh_indir_size(struct net_device *netdev)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);

	return dev->offers.ctrl ? PVNET_RSS_MAP : 0;
}

PVNET_GET_RXFH(get_rxfh, netdev, p)
{
	const struct pvnet_dev *dev = netdev_priv(netdev);
	u32 i;

	p->hfunc = ETH_RSS_HASH_TOP;
	for (i = 0; p->indir && i < PVNET_RSS_MAP; i++)
		p->indir[i] = dev->rss.map[i] % netdev->real_num_rx_queues;
	if (p->key)
		memcpy(p->key, dev->rss.key, sizeof(dev->rss.key));
	return 0;
}

/* The work item tells the back end, now and after each reconnection. */
PVNET_SET_RXFH(set_rxfh, netdev, p)
{
	struct pvnet_dev *dev = netdev_priv(netdev);

	if (p->hfunc != ETH_RSS_HASH_NO_CHANGE && p->hfunc != ETH_RSS_HASH_TOP)
		return -EOPNOTSUPP;
	if (p->indir)
		memcpy(dev->rss.map, p->indir, sizeof(dev->rss.map));
	if (p->key)
		memcpy(dev->rss.key, p->key, sizeof(dev->rss.key));
	dev->rss.changes++;
	pvnet_kick_work(dev);
	return 0;
}

void pvnet_rss_init(struct pvnet_dev *dev)
{
	u32 i;

	netdev_rss_key_fill(dev->rss.key, sizeof(dev->rss.key));
	for (i = 0; i < PVNET_RSS_MAP; i++)
		dev->rss.map[i] = ethtool_rxfh_indir_default(i, dev->max_queues);
}

static const struct ethtool_ops ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ringparam = get_ringparam,
	.get_channels = get_channels,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_rxnfc = get_rxnfc,
	.get_rxfh_key_size = get_rxfh_key_size,
	.get_rxfh_indir_size = get_rxfh_indir_size,
	.get_rxfh = get_rxfh,
	.set_rxfh = set_rxfh,
};

/* --- life --------------------------------------------------------------------------------------------- */

struct net_device *pvnet_netdev_new(unsigned int max_queues)
{
	struct net_device *netdev = alloc_etherdev_mqs(sizeof(struct pvnet_dev), max_queues, max_queues);

	if (!netdev)
		return NULL;
	netdev->netdev_ops = &netdev_ops;
	netdev->priv_flags &= ~IFF_TX_SKB_SHARING; /* what is known of a frame under way is in its skb */
	netdev->ethtool_ops = &ethtool_ops;
	netdev->hw_features = NETIF_F_SG | NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM | NETIF_F_TSO | NETIF_F_TSO6;
	netdev->features = netdev->hw_features | NETIF_F_RXCSUM;
	pvnet_set_xdp_features(netdev);
	netdev->min_mtu = ETH_MIN_MTU;
	netdev->max_mtu = ETH_DATA_LEN;
	netif_set_tso_max_size(netdev, XEN_NETIF_MAX_TX_SIZE - MAX_TCP_HEADER);
	netif_carrier_off(netdev);
	return netdev;
}
