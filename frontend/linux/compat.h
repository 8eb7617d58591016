/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_COMPAT_H
#define PVB_COMPAT_H
/* Where the kernels we build on (6.1 and 6.12) differ, and nothing else. */
#include <linux/version.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/netdevice.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

/* What a disk can do, in units of the block layer: sectors of 512, bytes for block sizes. */
struct pvblk_limits {
	unsigned int logical_block, physical_block;
	unsigned int max_segments;
	unsigned int discard_granularity, discard_alignment;
	bool write_cache, discard, secure, zeroes;
};

#define PVBLK_DISCARD_MAX UINT_MAX
#define PVBLK_ZEROES_MAX  (1u << 16) /* 32 MiB: these are written, so they take their time */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)

static inline void pvblk_fill_limits(struct queue_limits *to, const struct pvblk_limits *l)
{
	to->features &= ~(BLK_FEAT_WRITE_CACHE | BLK_FEAT_ROTATIONAL);
	if (l->write_cache)
		to->features |= BLK_FEAT_WRITE_CACHE;
	to->logical_block_size = l->logical_block;
	to->physical_block_size = l->physical_block;
	to->max_hw_sectors = l->max_segments * (PAGE_SIZE / SECTOR_SIZE);
	to->max_segments = l->max_segments;
	to->max_segment_size = PAGE_SIZE;
	to->seg_boundary_mask = PAGE_SIZE - 1;
	to->dma_alignment = SECTOR_SIZE - 1;
	to->max_hw_discard_sectors = l->discard ? PVBLK_DISCARD_MAX : 0;
	to->discard_granularity = l->discard ? l->discard_granularity : 0;
	to->discard_alignment = l->discard ? l->discard_alignment : 0;
	to->max_secure_erase_sectors = l->secure ? PVBLK_DISCARD_MAX : 0;
	to->max_write_zeroes_sectors = l->zeroes ? PVBLK_ZEROES_MAX : 0;
}

static inline struct gendisk *pvblk_alloc_disk(struct blk_mq_tag_set *set, const struct pvblk_limits *l, void *data)
{
	struct queue_limits lim = {};

	pvblk_fill_limits(&lim, l);
	return blk_mq_alloc_disk(set, &lim, data);
}

static inline int pvblk_set_limits(struct request_queue *q, const struct pvblk_limits *l)
{
	struct queue_limits lim = queue_limits_start_update(q);

	pvblk_fill_limits(&lim, l);
	return queue_limits_commit_update(q, &lim);
}

#else

static inline int pvblk_set_limits(struct request_queue *q, const struct pvblk_limits *l)
{
	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	blk_queue_logical_block_size(q, l->logical_block);
	blk_queue_physical_block_size(q, l->physical_block);
	blk_queue_max_hw_sectors(q, l->max_segments * (PAGE_SIZE / SECTOR_SIZE));
	blk_queue_max_segments(q, l->max_segments);
	blk_queue_max_segment_size(q, PAGE_SIZE);
	blk_queue_segment_boundary(q, PAGE_SIZE - 1);
	blk_queue_dma_alignment(q, SECTOR_SIZE - 1);
	blk_queue_max_discard_sectors(q, l->discard ? PVBLK_DISCARD_MAX : 0);
	q->limits.discard_granularity = l->discard ? l->discard_granularity : 0;
	q->limits.discard_alignment = l->discard ? l->discard_alignment : 0;
	blk_queue_max_secure_erase_sectors(q, l->secure ? PVBLK_DISCARD_MAX : 0);
	blk_queue_max_write_zeroes_sectors(q, l->zeroes ? PVBLK_ZEROES_MAX : 0);
	blk_queue_write_cache(q, l->write_cache, false);
	return 0;
}

static inline struct gendisk *pvblk_alloc_disk(struct blk_mq_tag_set *set, const struct pvblk_limits *l, void *data)
{
	struct gendisk *disk = blk_mq_alloc_disk(set, data);

	if (!IS_ERR(disk))
		pvblk_set_limits(disk->queue, l);
	return disk;
}

static inline void blk_queue_disable_discard(struct request_queue *q)
{
	blk_queue_max_discard_sectors(q, 0);
}

static inline void blk_queue_disable_secure_erase(struct request_queue *q)
{
	blk_queue_max_secure_erase_sectors(q, 0);
}

static inline void blk_queue_disable_write_zeroes(struct request_queue *q)
{
	blk_queue_max_write_zeroes_sectors(q, 0);
}

#endif

/* The two calls of block_device_operations that have changed; each gives a whole-disk gendisk. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define PVBLK_OPEN(name, disk) static int name(struct gendisk *disk, blk_mode_t mode)
#define PVBLK_RELEASE(name, disk) static void name(struct gendisk *disk)
#else
#define PVBLK_OPEN(name, disk) \
	static int name##_disk(struct gendisk *disk); \
	static int name(struct block_device *bdev, fmode_t mode) { return name##_disk(bdev->bd_disk); } \
	static int name##_disk(struct gendisk *disk)
#define PVBLK_RELEASE(name, disk) static void name(struct gendisk *disk, fmode_t mode)
#endif

/* Since 6.3 a driver says what it can; before, what it has functions for. */
static inline void pvnet_set_xdp_features(struct net_device *netdev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	netdev->xdp_features = NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT;
#endif
}

/* ethtool's hash calls: both are written as those of 6.8 and later. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define PVNET_GET_RXFH(name, netdev, p) \
	static int name(struct net_device *netdev, struct ethtool_rxfh_param *p)
#define PVNET_SET_RXFH(name, netdev, p) \
	static int name(struct net_device *netdev, struct ethtool_rxfh_param *p, struct netlink_ext_ack *extack)
#else
struct ethtool_rxfh_param {
	u8 hfunc;
	u32 *indir;
	u8 *key;
};
#define PVNET_GET_RXFH(name, netdev, p) \
	static int name##_param(struct net_device *netdev, struct ethtool_rxfh_param *p); \
	static int name(struct net_device *dev, u32 *indir, u8 *key, u8 *hfunc) \
	{ \
		struct ethtool_rxfh_param param = { .indir = indir, .key = key }; \
		int rc = name##_param(dev, &param); \
\
		if (hfunc) \
			*hfunc = param.hfunc; \
		return rc; \
	} \
	static int name##_param(struct net_device *netdev, struct ethtool_rxfh_param *p)
#define PVNET_SET_RXFH(name, netdev, p) \
	static int name##_param(struct net_device *netdev, const struct ethtool_rxfh_param *p); \
	static int name(struct net_device *dev, const u32 *indir, const u8 *key, const u8 hfunc) \
	{ \
		struct ethtool_rxfh_param param = { .hfunc = hfunc, .indir = (u32 *)indir, .key = (u8 *)key }; \
\
		return name##_param(dev, &param); \
	} \
	static int name##_param(struct net_device *netdev, const struct ethtool_rxfh_param *p)
#endif

#endif
