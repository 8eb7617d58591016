// SPDX-License-Identifier: GPL-2.0-or-later
/* What a disk does at the turns of its life (dev.h): requests that wait, go on or fail. */
#include <errno.h>
#include <string.h>
#include "disk-impl.h"

static struct pvf_disk *disk_of(struct pvf_dev *dev)
{
	return (struct pvf_disk *)dev;
}

void pvf_disk_fail_all(struct pvf_disk *disk, int rc)
{
	struct pvf_list list;
	struct pvf_req *req;

	for (unsigned i = 0; i < PVF_MAX_QUEUES; i++) {
		list = disk->lists[i]; /* done() may submit: what it adds is not failed here */
		memset(&disk->lists[i], 0, sizeof(disk->lists[i]));
		while ((req = list.head) != NULL) {
			pvf_list_del(&list, req);
			disk->stats.errors++;
			req->done(req, rc);
		}
	}
}

static bool keeps(const struct pvf_disk *disk)
{
	return disk->opt.wait && !disk->dev.stopping && !disk->dev.dead;
}

static void disk_left(struct pvf_dev *dev)
{
	struct pvf_disk *disk = disk_of(dev);

	if (!keeps(disk)) {
		pvf_disk_fail_all(disk, -EIO);
		return;
	}
	for (unsigned i = 0; i < PVF_MAX_QUEUES; i++)
		pvf_list_restart(&disk->lists[i]);
}

/* Requests that were kept may not fit the disk as it is now. */
static void disk_begin(struct pvf_dev *dev)
{
	struct pvf_disk *disk = disk_of(dev);
	struct pvf_req *req, *next;
	unsigned i;
	int rc;

	disk->stats.connects++;
	for (i = disk->nr_queues; i < PVF_MAX_QUEUES; i++) {
		while ((req = disk->lists[i].head) != NULL) {
			pvf_list_del(&disk->lists[i], req);
			pvf_list_add(&disk->lists[i % disk->nr_queues], req);
		}
	}
	for (i = 0; i < disk->nr_queues; i++) {
		for (req = disk->lists[i].head; req != NULL; req = next) {
			next = req->next;
			rc = pvf_disk_check(disk, req);
			if (rc == 0)
				continue;
			pvf_list_del(&disk->lists[i], req);
			disk->stats.errors++;
			req->done(req, rc);
		}
		pvf_queue_issue(&disk->queues[i]);
	}
	pvf_disk_kick(disk);
}


static int disk_offer(struct pvf_dev *dev, struct pvb_error *err)
{
	return pvf_connect_offer(disk_of(dev), err);
}

static int disk_connect(struct pvf_dev *dev, struct pvb_error *err)
{
	return pvf_connect_live(disk_of(dev), err);
}

static int disk_look(struct pvf_dev *dev, struct pvb_error *err)
{
	return pvf_connect_resize(disk_of(dev), err);
}

static void disk_fail(struct pvf_dev *dev, int rc)
{
	pvf_disk_fail_all(disk_of(dev), rc);
}

static void disk_stop(struct pvf_dev *dev)
{
	pvf_connect_stop(disk_of(dev));
}

static void disk_free(struct pvf_dev *dev)
{
	pvf_connect_free(disk_of(dev));
}

static void disk_tell(struct pvf_dev *dev)
{
	struct pvf_disk *disk = disk_of(dev);

	if (disk->opt.changed != NULL)
		disk->opt.changed(disk->opt.arg, disk);
}

const struct pvf_dev_ops pvf_disk_ops = {
	.kind = "vbd", .offered = PVB_INITIALISED, .offer = disk_offer, .connect = disk_connect, .begin = disk_begin,
	.look = disk_look, .left = disk_left, .fail = disk_fail, .stop = disk_stop, .free = disk_free,
	.tell = disk_tell,
};
