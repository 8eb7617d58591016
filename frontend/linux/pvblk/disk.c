// SPDX-License-Identifier: GPL-2.0-or-later
/* The disk the block layer sees: its name, its limits, its attributes.  It knows nothing of rings' contents. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/ctype.h>
#include <linux/hdreg.h>
#include <linux/major.h>
#include <linux/module.h>
#include "pvblk.h"

static LIST_HEAD(all_names);
static DEFINE_MUTEX(names_lock);

/* --- names -------------------------------------------------------------------------------------------- */

/* A virtual device number is a disk and a partition of it; which bits are which depends on the major number that
 * the disk would have were it real.  They all become xvd. */
static void split_vdev(unsigned int vdev, unsigned int *disk, unsigned int *part)
{
	unsigned int major = vdev >> 8 & 0xff, minor = vdev & 0xff, shift = 4, base = 0;

	if (vdev & 1u << 28) {
		*disk = vdev >> 8 & 0xfffff;
		*part = vdev & 0xff;
		return;
	}
	if (major == IDE0_MAJOR || major == IDE1_MAJOR) {
		shift = 6;
		base = major == IDE0_MAJOR ? 0 : 2;
	} else if (major >= SCSI_DISK1_MAJOR && major <= SCSI_DISK7_MAJOR) {
		base = 16 * (major - SCSI_DISK1_MAJOR + 1);
	} else if (major >= SCSI_DISK8_MAJOR && major <= SCSI_DISK15_MAJOR) {
		base = 16 * (major - SCSI_DISK8_MAJOR + 8);
	}
	*disk = base + (minor >> shift);
	*part = minor & ((1u << shift) - 1);
}

/* a to z, aa to zz, ... */
static void put_letters(char *to, size_t size, unsigned int n)
{
	char text[8];
	unsigned int at = sizeof(text);

	text[--at] = '\0';
	for (;;) {
		text[--at] = 'a' + n % 26;
		if (n < 26 || at == 0)
			break;
		n = n / 26 - 1;
	}
	strlcat(to, text + at, size);
}

static void make_name(char *to, size_t size, unsigned int vdev)
{
	unsigned int disk, part;

	split_vdev(vdev, &disk, &part);
	strscpy(to, "xvd", size);
	put_letters(to, size, disk);
	if (part)
		snprintf(to + strlen(to), size - strlen(to), "%u", part);
}

#ifdef DEBUG
/* Numbers as xl gives them: xvda, xvdb1, hda, hdd3, sda, sdp15, and the 28-bit ones of what has no old number. */
bool __init pvblk_selftest_names(void)
{
	static const struct {
		unsigned int vdev;
		const char *name;
	} cases[] = {
		{ 202 << 8, "xvda" }, { 202 << 8 | 17, "xvdb1" }, { 202 << 8 | 255, "xvdp15" }, { 3 << 8, "xvda" },
		{ 22 << 8 | 67, "xvdd3" }, { 8 << 8, "xvda" }, { 8 << 8 | 255, "xvdp15" }, { 65 << 8, "xvdq" },
		{ 1 << 28 | 16 << 8, "xvdq" }, { 1 << 28 | 26 << 8 | 1, "xvdaa1" }, { 1 << 28 | 702 << 8, "xvdaaa" },
	};
	char name[DISK_NAME_LEN];
	bool ok = true;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		make_name(name, sizeof(name), cases[i].vdev);
		if (!strcmp(name, cases[i].name))
			continue;
		pr_err("self-test failed: disk %u is %s, not %s\n", cases[i].vdev, name, cases[i].name);
		ok = false;
	}
	return ok;
}
#endif

int pvblk_disk_name(struct pvblk_dev *dev)
{
	struct pvblk_dev *other;
	unsigned int vdev;
	int rc;

	rc = xenbus_scanf(XBT_NIL, dev->xdev->nodename, "virtual-device", "%u", &vdev);
	if (rc != 1)
		rc = xenbus_scanf(XBT_NIL, dev->xdev->nodename, "virtual-device-ext", "%u", &vdev);
	if (rc != 1)
		return rc < 0 ? rc : -EINVAL;
	make_name(dev->name, sizeof(dev->name), vdev);

	rc = 0;
	mutex_lock(&names_lock);
	/* hda and xvda would be the same to us */
	list_for_each_entry(other, &all_names, names)
		if (!strcmp(other->name, dev->name))
			rc = -EEXIST;
	if (!rc)
		list_add(&dev->names, &all_names);
	mutex_unlock(&names_lock);
	return rc;
}

void pvblk_disk_unname(struct pvblk_dev *dev)
{
	mutex_lock(&names_lock);
	list_del_init(&dev->names);
	mutex_unlock(&names_lock);
}

/* --- attributes --------------------------------------------------------------------------------------- */

static struct pvblk_dev *dev_of(struct device *d)
{
	return dev_to_disk(d)->private_data;
}

#define SHOW(name, fmt, value) \
	static ssize_t name##_show(struct device *d, struct device_attribute *attr, char *buf) \
	{ \
		struct pvblk_dev *dev = dev_of(d); \
\
		return sysfs_emit(buf, fmt "\n", value); \
	} \
	static DEVICE_ATTR_RO(name)

static u64 sum(struct pvblk_dev *dev, size_t field)
{
	unsigned int i;
	u64 n = 0;

	for (i = 0; i < dev->max_rings; i++)
		n += READ_ONCE(*(u64 *)((char *)&dev->rings[i] + field));
	return n;
}

static const char *flush_name(const struct pvblk_dev *dev)
{
	return dev->flush_op == BLKIF_OP_FLUSH_DISKCACHE ? "flush" : dev->flush_op ? "barrier" : "none";
}

SHOW(queues, "%u", dev->nr_rings);
SHOW(poll_queues, "%u", dev->nr_poll);
SHOW(ring_order, "%u", dev->order);
SHOW(max_segments, "%u", dev->max_segs);
SHOW(indirect, "%d", dev->max_segs > PVBLK_DIRECT_SEGS);
SHOW(flush, "%s", flush_name(dev));
SHOW(discard, "%d", dev->limits.discard);
SHOW(secure_discard, "%d", dev->limits.secure);
SHOW(write_zeroes, "%d", dev->limits.zeroes);
SHOW(bounce, "%d", dev->bounce);
SHOW(persistent, "%d", dev->persistent);
SHOW(connected, "%d", !pvblk_dead(dev) && !test_bit(PVBLK_QUIESCED, &dev->flags));
SHOW(responses, "%llu", sum(dev, offsetof(struct pvblk_ring, responses)));
SHOW(copied, "%llu", sum(dev, offsetof(struct pvblk_ring, copied)));
SHOW(notifies, "%llu", sum(dev, offsetof(struct pvblk_ring, notifies)));
SHOW(events, "%llu", sum(dev, offsetof(struct pvblk_ring, events)));
SHOW(spurious_events, "%llu", sum(dev, offsetof(struct pvblk_ring, spurious)));

static struct attribute *attrs[] = {
	&dev_attr_queues.attr,
	&dev_attr_poll_queues.attr,
	&dev_attr_ring_order.attr,
	&dev_attr_max_segments.attr,
	&dev_attr_indirect.attr,
	&dev_attr_flush.attr,
	&dev_attr_discard.attr,
	&dev_attr_secure_discard.attr,
	&dev_attr_write_zeroes.attr,
	&dev_attr_bounce.attr,
	&dev_attr_persistent.attr,
	&dev_attr_connected.attr,
	&dev_attr_responses.attr,
	&dev_attr_copied.attr,
	&dev_attr_notifies.attr,
	&dev_attr_events.attr,
	&dev_attr_spurious_events.attr,
	NULL
};

static const struct attribute_group group = { .name = "pvblk", .attrs = attrs };
static const struct attribute_group *groups[] = { &group, NULL };

/* --- operations --------------------------------------------------------------------------------------- */

PVBLK_OPEN(pvblk_open, disk)
{
	struct pvblk_dev *dev = disk->private_data;

	/* who is to go gets no new users */
	return test_bit(PVBLK_CLOSING, &dev->flags) || pvblk_dead(dev) ? -ENXIO : 0;
}

PVBLK_RELEASE(pvblk_release, disk)
{
	struct pvblk_dev *dev = disk->private_data;

	if (test_bit(PVBLK_CLOSING, &dev->flags) && disk_openers(disk) == 0)
		pvblk_kick_disk(dev);
}

static int pvblk_getgeo(struct block_device *bdev, struct hd_geometry *geo)
{
	sector_t cylinders = get_capacity(bdev->bd_disk);

	geo->heads = 255;
	geo->sectors = 63;
	sector_div(cylinders, 255 * 63);
	geo->cylinders = min_t(sector_t, cylinders, U16_MAX);
	return 0;
}

static void pvblk_free_disk(struct gendisk *disk)
{
	pvblk_dev_put(disk->private_data);
}

static const struct block_device_operations ops = {
	.owner = THIS_MODULE,
	.open = pvblk_open,
	.release = pvblk_release,
	.getgeo = pvblk_getgeo,
	.free_disk = pvblk_free_disk,
};

/* --- life --------------------------------------------------------------------------------------------- */

int pvblk_disk_make(struct pvblk_dev *dev)
{
	struct gendisk *disk;
	int rc;

	memset(&dev->tags, 0, sizeof(dev->tags));
	dev->tags.ops = &pvblk_mq_ops;
	dev->nr_hw_queues = dev->nr_rings;
	dev->tags.nr_hw_queues = dev->nr_hw_queues;
	dev->tags.nr_maps = dev->nr_poll ? HCTX_TYPE_POLL + 1 : 1;
	dev->tags.driver_data = dev;
	dev->tags.queue_depth = dev->rings[0].ring.nr_slots;
	dev->tags.numa_node = NUMA_NO_NODE;
	dev->tags.cmd_size = sizeof(struct pvblk_rq);
	dev->tags.timeout = pvblk_ask_after * HZ;
	/* the back end has a scheduler below it; sorting here costs instructions and gains nothing */
	dev->tags.flags = BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	rc = blk_mq_alloc_tag_set(&dev->tags);
	if (rc)
		return rc;
	disk = pvblk_alloc_disk(&dev->tags, &dev->limits, dev);
	if (IS_ERR(disk)) {
		blk_mq_free_tag_set(&dev->tags);
		return PTR_ERR(disk);
	}
	disk->fops = &ops;
	disk->private_data = dev;
	strscpy(disk->disk_name, dev->name, sizeof(disk->disk_name));
	if (dev->removable)
		disk->flags |= GENHD_FL_REMOVABLE;
	if (isdigit(dev->name[strlen(dev->name) - 1]))
		disk->flags |= GENHD_FL_NO_PART;
	set_disk_ro(disk, dev->readonly);
	set_capacity(disk, dev->sectors);
	spin_lock_irq(&dev->disk_lock);
	dev->disk = disk;
	spin_unlock_irq(&dev->disk_lock);
	return 0;
}

int pvblk_disk_add(struct pvblk_dev *dev)
{
	int rc = device_add_disk(&dev->xdev->dev, dev->disk, groups);

	if (rc)
		return rc;
	dev->added = true;
	kref_get(&dev->ref);    /* free_disk drops it */
	return 0;
}

void pvblk_disk_remove(struct pvblk_dev *dev)
{
	if (dev->added)
		del_gendisk(dev->disk);
}

void pvblk_disk_free(struct pvblk_dev *dev)
{
	struct gendisk *disk = dev->disk;

	if (!disk)
		return;
	dev->added = false;
	spin_lock_irq(&dev->disk_lock);
	dev->disk = NULL;
	clear_bit(PVBLK_QUIESCED, &dev->flags);
	spin_unlock_irq(&dev->disk_lock);
	put_disk(disk);
	blk_mq_free_tag_set(&dev->tags);
}

void pvblk_disk_relimit(struct pvblk_dev *dev, const struct pvblk_limits *had)
{
	int rc = 0;

	/* Only if need be: who changes limits by hand may hold them while waiting for requests that wait for us. */
	if (memcmp(had, &dev->limits, sizeof(*had)))
		rc = pvblk_set_limits(dev->disk->queue, &dev->limits);

	/* what does not fit any more is issued in parts */
	if (rc)
		dev_warn(&dev->xdev->dev, "%s: the limits of the new back end could not be set (%d)\n", dev->name, rc);
	set_disk_ro(dev->disk, dev->readonly);
}

void pvblk_disk_resize(struct pvblk_dev *dev, u64 sectors)
{
	dev->sectors = sectors;
	if (get_capacity(dev->disk) == sectors)
		return;
	set_capacity_and_notify(dev->disk, sectors);
}
