// SPDX-License-Identifier: GPL-2.0-or-later
/* One connection of a disk: the keys it reads and publishes, the rings and ports it makes and revokes.
 * When to do so is disk.c's business. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "disk-impl.h"

#define VDISK_CDROM_BIT     1u
#define VDISK_REMOVABLE_BIT 2u
#define VDISK_READONLY_BIT  4u

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* What must be known before there are rings, and whether it means us: it may say the rest when it is connected. */
#define OFFERED \
	(PVB_NODE(VBD_B_FRONTEND) | PVB_NODE(VBD_B_FRONTEND_ID) | PVB_NODE(VBD_B_MAX_QUEUES) | PVB_NODE(VBD_B_MAX_RING_ORDER))
/* What a connected one is and can.  Each key is a round trip. */
#define PROPERTIES \
	(PVB_NODE(VBD_B_MAX_INDIRECT) | PVB_NODE(VBD_B_FLUSH) | PVB_NODE(VBD_B_BARRIER) | PVB_NODE(VBD_B_DISCARD) | \
	 PVB_NODE(VBD_B_DISCARD_GRANULARITY) | PVB_NODE(VBD_B_DISCARD_ALIGNMENT) | PVB_NODE(VBD_B_DISCARD_SECURE) | \
	 PVB_NODE(VBD_B_PERSISTENT) | PVB_NODE(VBD_B_SECTORS) | PVB_NODE(VBD_B_INFO) | PVB_NODE(VBD_B_SECTOR_SIZE) | \
	 PVB_NODE(VBD_B_PHYSICAL_SECTOR_SIZE))

static int read_back(struct pvf_disk *disk, uint64_t which, struct pvb_value *v, struct pvb_error *err)
{
	int rc = pvb_nodes_read_some(disk->dev.guest->store, PVB_NO_TXN, disk->dev.back, pvb_vbd_back, VBD_B_NR, which, v, err);

	return rc < 0 ? pvb_err_prefix(err, rc, "vbd %u", disk->dev.devid) : 0;
}

static int make_queue(struct pvf_disk *disk, unsigned nr, struct pvb_error *err)
{
	struct pvf_queue *q = &disk->queues[nr];
	uint32_t pages = 1u << disk->ring_order;
	int rc;

	memset(q, 0, sizeof(*q));
	q->disk = disk;
	q->nr = nr;
	disk->nr_queues = nr + 1;
	rc = pvb_hv_grant(disk->dev.guest->hv, disk->dev.back_domid, pages, true, &q->ring_pages);
	if (rc < 0)
		return pvb_err(err, rc, "vbd %u: queue %u: no %u pages to grant for the ring", disk->dev.devid, nr,
			       pages);
	pvb_ring_front_init(&q->ring, q->ring_pages.addr, pages * PVB_PAGE_SIZE, disk->wire->slot_size);
	rc = pvb_event_alloc(disk->dev.guest->events, disk->dev.back_domid, pvf_queue_event, q, &q->event);
	if (rc < 0)
		return pvb_err(err, rc, "vbd %u: queue %u: no event channel to domain %u", disk->dev.devid, nr,
			       disk->dev.back_domid);
	return 0;
}

/* --- what we publish -------------------------------------------------------------------------------- */

static int publish_queue(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvf_queue *q)
{
	const struct pvb_key *keys = pvb_vbd_queue;
	int rc;

	if (q->ring_pages.nr == 1)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VBD_Q_RING_REF], q->ring_pages.refs[0]);
	else
		rc = 0;
	for (uint32_t i = 0; rc == 0 && q->ring_pages.nr > 1 && i < q->ring_pages.nr; i++)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VBD_Q_RING_REF0 + i], q->ring_pages.refs[i]);
	if (rc == 0)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VBD_Q_EVENT_CHANNEL], pvb_event_port(q->event));
	return rc;
}

static bool is_old(const char *name)
{
	static const enum pvb_vbd_front once[] = { VBD_F_NUM_QUEUES, VBD_F_RING_ORDER, VBD_F_PERSISTENT };

	for (unsigned i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (strcmp(name, pvb_vbd_front[once[i]].name) == 0)
			return true;
	for (unsigned i = 0; i < VBD_Q_NR; i++)
		if (strcmp(name, pvb_vbd_queue[i].name) == 0)
			return true;
	return pvf_dev_is_queue(name, PVF_MAX_QUEUES);
}

static int publish_keys(struct pvb_store *st, pvb_txn t, struct pvf_disk *disk)
{
	const struct pvb_key *keys = pvb_vbd_front;
	char sub[160];
	int rc;

	rc = pvf_dev_remove_old(st, t, disk->dev.dir, is_old);
	if (rc == 0)
		rc = pvb_nodes_write_str(st, t, disk->dev.dir, &keys[VBD_F_PROTOCOL], disk->wire->protocol);
	if (rc == 0 && disk->ring_order > 0)
		rc = pvb_nodes_write_u64(st, t, disk->dev.dir, &keys[VBD_F_RING_ORDER], disk->ring_order);
	if (rc == 0 && disk->opt.persistent)
		rc = pvb_nodes_write_u64(st, t, disk->dev.dir, &keys[VBD_F_PERSISTENT], 1);
	if (rc == 0 && disk->nr_queues == 1)
		return publish_queue(st, t, disk->dev.dir, &disk->queues[0]);
	if (rc == 0)
		rc = pvb_nodes_write_u64(st, t, disk->dev.dir, &keys[VBD_F_NUM_QUEUES], disk->nr_queues);
	for (unsigned i = 0; rc == 0 && i < disk->nr_queues; i++) {
		snprintf(sub, sizeof(sub), "%s/queue-%u", disk->dev.dir, i);
		rc = publish_queue(st, t, sub, &disk->queues[i]);
	}
	return rc;
}

/* The state, which announces them, goes with the keys: nobody sees one without the other. */
static int publish(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct pvf_disk *disk = arg;
	int rc = publish_keys(st, t, disk);

	return rc < 0 ? rc : pvf_dev_announce(st, t, &disk->dev);
}

int pvf_connect_offer(struct pvf_disk *disk, struct pvb_error *err)
{
	struct pvb_value v[VBD_B_NR];
	unsigned queues;
	int rc = read_back(disk, OFFERED, v, err);

	if (rc < 0)
		return rc;
	queues = least(disk->opt.queues, v[VBD_B_MAX_QUEUES].num);
	disk->ring_order = least(disk->opt.ring_order, v[VBD_B_MAX_RING_ORDER].num);
	rc = pvf_dev_check_pair(&disk->dev, &v[VBD_B_FRONTEND], &v[VBD_B_FRONTEND_ID], err);
	pvb_nodes_free(v, VBD_B_NR);
	for (unsigned i = 0; rc == 0 && i < queues; i++)
		rc = make_queue(disk, i, err);
	if (rc < 0)
		return rc;
	rc = pvb_store_txn(disk->dev.guest->store, publish, disk);
	return rc < 0 ? pvb_err(err, rc, "vbd %u: ring keys could not be written to %s", disk->dev.devid,
				disk->dev.dir) :
			0;
}

/* --- what the back end says once it is connected ---------------------------------------------------- */

static int take_properties(struct pvf_disk *disk, const struct pvb_value *v, struct pvb_error *err)
{
	struct pvf_info *info = &disk->info;
	uint32_t ss = (uint32_t)v[VBD_B_SECTOR_SIZE].num, bits = (uint32_t)v[VBD_B_INFO].num;
	unsigned segs = least(disk->opt.indirect, v[VBD_B_MAX_INDIRECT].num);

	if (!v[VBD_B_SECTORS].present)
		return pvb_err(err, -EPROTO, "vbd %u: the back end is connected but gives no sectors", disk->dev.devid);
	if ((ss & (ss - 1)) != 0 || ss > PVB_PAGE_SIZE)
		return pvb_err(err, -EPROTO, "vbd %u: sector-size %u, must be a power of two from 512 to %u",
			       disk->dev.devid, ss, PVB_PAGE_SIZE);
	/* of 512 bytes whatever sector-size says: we do not claim feature-large-sector-size, as nobody does any more */
	info->size = v[VBD_B_SECTORS].num * 512;
	info->sector_size = ss;
	info->physical_sector_size =
		v[VBD_B_PHYSICAL_SECTOR_SIZE].present ? (uint32_t)v[VBD_B_PHYSICAL_SECTOR_SIZE].num : ss;
	info->queues = disk->nr_queues;
	info->ring_order = disk->ring_order;
	info->ring_slots = disk->queues[0].ring.nr_slots;
	info->indirect = segs > PVF_DIRECT_SEGS;
	info->max_segments = info->indirect ? segs : PVF_DIRECT_SEGS;
	info->cdrom = bits & VDISK_CDROM_BIT;
	info->removable = bits & VDISK_REMOVABLE_BIT;
	info->readonly = bits & VDISK_READONLY_BIT;
	info->flush = v[VBD_B_FLUSH].num;
	info->barrier = v[VBD_B_BARRIER].num;
	info->discard = v[VBD_B_DISCARD].num && !info->readonly;
	info->secure_discard = info->discard && v[VBD_B_DISCARD_SECURE].num;
	info->discard_granularity = v[VBD_B_DISCARD_GRANULARITY].num ? (uint32_t)v[VBD_B_DISCARD_GRANULARITY].num : ss;
	info->discard_alignment = (uint32_t)v[VBD_B_DISCARD_ALIGNMENT].num;
	info->persistent = disk->opt.persistent && v[VBD_B_PERSISTENT].num;
	return 0;
}

int pvf_connect_live(struct pvf_disk *disk, struct pvb_error *err)
{
	struct pvb_value v[VBD_B_NR];
	int rc = read_back(disk, PROPERTIES, v, err);

	if (rc < 0)
		return rc;
	rc = take_properties(disk, v, err);
	pvb_nodes_free(v, VBD_B_NR);
	for (unsigned i = 0; rc == 0 && i < disk->nr_queues; i++)
		rc = pvf_queue_start(&disk->queues[i], err);
	return rc;
}

int pvf_connect_resize(struct pvf_disk *disk, struct pvb_error *err)
{
	const struct pvb_key *key = &pvb_vbd_back[VBD_B_SECTORS];
	char path[192];
	uint64_t sectors;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", disk->dev.back, key->name);
	rc = pvb_store_read_u64(disk->dev.guest->store, PVB_NO_TXN, path, key->min, key->max, &sectors);
	if (rc < 0)
		return pvb_err(err, rc, "vbd %u: %s can not be read", disk->dev.devid, path);
	if (sectors * 512 == disk->info.size)
		return 0;
	disk->info.size = sectors * 512;
	return 1;
}

void pvf_connect_stop(struct pvf_disk *disk)
{
	for (unsigned i = 0; i < disk->nr_queues; i++) {
		pvb_source_free(&disk->queues[i].again);
		if (disk->queues[i].event != NULL)
			pvb_event_free(&disk->queues[i].event);
	}
}

void pvf_connect_free(struct pvf_disk *disk)
{
	pvf_connect_stop(disk);
	for (unsigned i = 0; i < disk->nr_queues; i++)
		pvf_queue_free(&disk->queues[i]);
	disk->nr_queues = 0;
}
