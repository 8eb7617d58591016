// SPDX-License-Identifier: GPL-2.0-or-later
/* The calls a program makes on a disk: open, wait, stop, close, ask.  What happens then is disk.c's business. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "disk-impl.h"

const char *pvf_phase_name(enum pvf_phase phase)
{
	static const char *const names[] = { "waiting", "offered", "live", "closing", "down", "gone", "dead" };

	return names[phase];
}

int pvf_disk_open(struct pvf_disk **out, struct pvf_guest *guest, uint32_t devid, const struct pvf_options *opt,
		  struct pvb_error *err)
{
	struct pvf_disk *disk = calloc(1, sizeof(*disk));
	int rc;

	if (disk == NULL)
		return pvb_err(err, -ENOMEM, "vbd %u: out of memory", devid);
	disk->guest = guest;
	disk->devid = devid;
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
	snprintf(disk->dir, sizeof(disk->dir), "%s/device/vbd/%u", guest->home, devid);
	if (!pvb_store_exists(guest->store, PVB_NO_TXN, disk->dir)) {
		rc = pvb_err(err, -ENOENT, "vbd %u: no such device in domain %u", devid, guest->domid);
		goto fail;
	}
	disk->phase = PVF_WAITING;
	disk->own = PVB_INITIALISING;
	disk->since_ms = pvb_now_ms();
	rc = pvb_store_watch(guest->store, disk->dir, pvf_disk_changed, disk, &disk->watch_dir);
	if (rc < 0) {
		pvb_err(err, rc, "vbd %u: %s can not be watched", devid, disk->dir);
		goto fail;
	}
	pvf_disk_poke(disk);
	*out = disk;
	return 0;
fail:
	free(disk);
	return rc;
}

void pvf_disk_stop(struct pvf_disk *disk)
{
	disk->stopping = true;
	pvf_disk_poke(disk);
}

static bool at_rest(const struct pvf_disk *disk)
{
	return disk->phase == PVF_DOWN || disk->phase == PVF_GONE || disk->phase == PVF_DEAD;
}

bool pvf_disk_down(struct pvf_disk *disk, int timeout_ms)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;

	pvf_disk_stop(disk);
	while ((disk->step != NULL || !at_rest(disk)) && (now = pvb_now_ms()) < until)
		if (pvb_loop_once(disk->guest->loop, (int)(until - now)) < 0)
			break;
	return at_rest(disk);
}

void pvf_disk_close(struct pvf_disk **out, int timeout_ms)
{
	struct pvf_disk *disk = out != NULL ? *out : NULL;

	if (disk == NULL)
		return;
	pvf_disk_down(disk, timeout_ms);
	pvb_store_unwatch(&disk->watch_dir);
	pvb_store_unwatch(&disk->watch_back);
	pvb_source_free(&disk->step);
	pvb_source_free(&disk->timer);
	pvf_connect_stop(disk);
	pvf_disk_fail_all(disk, -EIO);
	pvf_connect_free(disk);
	free(disk->back);
	free(disk);
	*out = NULL;
}

static int late(struct pvf_disk *disk, struct pvb_error *err)
{
	unsigned long long ms = pvb_now_ms() - disk->since_ms;
	struct pvb_store *st = disk->guest->store;

	if (disk->error.code != 0)
		return pvb_err(err, -ETIMEDOUT, "vbd %u: still %s after %llu ms: %s", disk->devid,
			       pvf_phase_name(disk->phase), ms, disk->error.text);
	return pvb_err(err, -ETIMEDOUT, "vbd %u: still %s after %llu ms: we are %s, the back end is %s", disk->devid,
		       pvf_phase_name(disk->phase), ms, pvb_state_name(pvb_state_read(st, PVB_NO_TXN, disk->dir)),
		       pvb_state_name(disk->back != NULL ? pvb_state_read(st, PVB_NO_TXN, disk->back) : PVB_UNKNOWN));
}

int pvf_disk_wait(struct pvf_disk *disk, int timeout_ms, struct pvb_error *err)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;
	int rc;

	while (disk->phase != PVF_LIVE) {
		if (at_rest(disk) && disk->step == NULL && disk->error.code != 0 &&
		    (disk->phase != PVF_DOWN || !disk->opt.wait))
			return pvb_err(err, disk->error.code, "%s", disk->error.text);
		now = pvb_now_ms();
		if (now >= until)
			return late(disk, err);
		rc = pvb_loop_once(disk->guest->loop, (int)(until - now));
		if (rc < 0)
			return pvb_err(err, rc, "vbd %u: the event loop failed", disk->devid);
	}
	return 0;
}

enum pvf_phase pvf_disk_phase(const struct pvf_disk *disk)
{
	return disk->phase;
}

uint32_t pvf_disk_devid(const struct pvf_disk *disk)
{
	return disk->devid;
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
	return &disk->error;
}
