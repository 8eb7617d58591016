// SPDX-License-Identifier: GPL-2.0-or-later
/* The calls a program makes on a disk: open, wait, stop, close, ask.  What happens then is dev.c's business. */
#include <errno.h>
#include <stdlib.h>
#include "disk-impl.h"

int pvf_disk_open(struct pvf_disk **out, struct pvf_guest *guest, uint32_t devid, const struct pvf_options *opt,
		  struct pvb_error *err)
{
	struct pvf_disk *disk = calloc(1, sizeof(*disk));
	int rc;

	if (disk == NULL)
		return pvb_err(err, -ENOMEM, "vbd %u: out of memory", devid);
	disk->opt = *opt;
	disk->wire = opt->abi32 ? &pvf_wire32 : pvf_wire_native;
	if (disk->opt.queues == 0)
		disk->opt.queues = 1;
	rc = -EINVAL;
	if (disk->opt.queues > PVF_MAX_QUEUES)
		pvb_err(err, rc, "vbd %u: %u queues, at most %u", devid, disk->opt.queues, PVF_MAX_QUEUES);
	else if (disk->opt.ring_order > PVF_MAX_RING_ORDER)
		pvb_err(err, rc, "vbd %u: ring order %u, at most %u", devid, disk->opt.ring_order, PVF_MAX_RING_ORDER);
	else if (disk->opt.indirect > PVF_MAX_SEGMENTS)
		pvb_err(err, rc, "vbd %u: %u indirect segments, at most %u", devid, disk->opt.indirect,
			PVF_MAX_SEGMENTS);
	else
		rc = 0;
	if (rc < 0)
		goto fail;
	disk->dev.generation = &disk->info.generation;
	disk->dev.wait = opt->wait;
	rc = pvf_dev_open(&disk->dev, &pvf_disk_ops, guest, devid, err);
	if (rc < 0)
		goto fail;
	*out = disk;
	return 0;
fail:
	free(disk);
	return rc;
}

void pvf_disk_stop(struct pvf_disk *disk)
{
	pvf_dev_stop(&disk->dev);
}

bool pvf_disk_down(struct pvf_disk *disk, int timeout_ms)
{
	return pvf_dev_down(&disk->dev, timeout_ms);
}

void pvf_disk_close(struct pvf_disk **out, int timeout_ms)
{
	struct pvf_disk *disk = out != NULL ? *out : NULL;

	if (disk == NULL)
		return;
	pvf_dev_close(&disk->dev, timeout_ms);
	free(disk);
	*out = NULL;
}

int pvf_disk_wait(struct pvf_disk *disk, int timeout_ms, struct pvb_error *err)
{
	return pvf_dev_wait(&disk->dev, timeout_ms, err);
}

enum pvf_phase pvf_disk_phase(const struct pvf_disk *disk)
{
	return disk->dev.phase;
}

uint32_t pvf_disk_devid(const struct pvf_disk *disk)
{
	return disk->dev.devid;
}

const struct pvf_info *pvf_disk_info(const struct pvf_disk *disk)
{
	return &disk->info;
}

void pvf_disk_stats(const struct pvf_disk *disk, struct pvf_stats *stats)
{
	*stats = disk->stats;
}

const struct pvb_error *pvf_disk_error(const struct pvf_disk *disk)
{
	return &disk->dev.error;
}
