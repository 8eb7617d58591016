/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vbd.c: one synthetic disk: what device.c asks of it.  Its image is opened when it is attached and locked
 * while rings are connected. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "log.h"
#include "stats.h"
#include "supervisor.h"
#include "vbd.h"

static void name(const struct device *d, char *buf, size_t len)
{
	char dev[16];

	pvb_vdev_name(d->id.devid, dev, sizeof(dev));
	snprintf(buf, len, "%s %u/%u (%s)", d->kind, d->id.front, d->id.devid, dev);
}

static int attach(struct device *d, struct ipc_msg *m, int *fds, unsigned *nr_fds, struct pvb_error *err)
{
	struct vbd *v = vbd_of(d);
	int rc = 0;

	if (!v->open) {
		rc = vbd_read_config(v, err);
		if (rc == 0)
			rc = disk_prepare(v->target, v->readonly, v->fds, &v->nr_fds, v->identity, err);
		v->open = rc == 0;
	}
	if (rc == 0 && !vbd_fenced(v))
		rc = -EAGAIN;
	if (rc == 0)
		rc = vbd_fds_for_worker(v, fds, nr_fds, err);
	if (rc < 0)
		return rc;
	d->nbd = provider_find(v->target->provider)->libnbd;
	m->u.attach.cfg = v->cfg;
	m->u.attach.direct_io_safe = v->direct_io_safe;
	snprintf(m->u.attach.target, sizeof(m->u.attach.target), "%s", v->target->text);
	return 0;
}

static void found(struct device *d)
{
	struct pvb_error err;

	vbd_of(d)->found = true;
	vbd_read_config(vbd_of(d), &err);
}

static bool outlives(const struct device *d)
{
	const struct vbd *v = (const struct vbd *)d;

	return v->target && provider_find(v->target->provider)->outlives;
}

static bool resumes(const struct device *d)
{
	const struct vbd *v = (const struct vbd *)d;

	return v->target && provider_find(v->target->provider)->reopens;
}

static void detach(struct device *d)
{
	struct vbd *v = vbd_of(d);

	ipc_close_fds(v->fds, v->nr_fds);
	v->nr_fds = 0;
	v->identity[0] = 0;
	v->open = false;
	target_free(v->target);
	v->target = NULL;
}

static int before_connect(struct device *d, struct pvb_error *err)
{
	struct vbd *v = vbd_of(d);
	int rc = vbd_lock(v, err);

	if (rc < 0)
		return rc;
	rc = vbd_publish_disk(v);
	return rc < 0 ? pvb_err(err, rc, "properties can not be published: %s", strerror(-rc)) : 0;
}

static void let_go(struct device *d)
{
	vbd_of(d)->alarm[0] = 0;
	vbd_unlock(vbd_of(d));
}

static size_t journal_bytes(const union ipc_connect *c)
{
	return blk_journal_bytes(&c->blk) * c->blk.nr_queues;
}

static bool plausible(const struct disk_info *info)
{
	return info->size >= 512 && info->size <= INT64_MAX && info->size % 512 == 0 && info->physical_block >= 512 &&
	       info->physical_block <= 1u << 20 && (info->discard_granularity == 0 || info->max_discard >= 512);
}

static const char *info(struct device *d, const struct ipc_msg *m)
{
	struct vbd *v = vbd_of(d);

	if (!plausible(&m->u.info))
		return "told an impossible disk size";
	if (m->type == IPC_RESIZED)
		device_log(d, LOG_LEVEL_INFO, "size is now %llu bytes, was %llu", (unsigned long long)m->u.info.size,
			 (unsigned long long)v->info.size);
	v->info = m->u.info;
	if (m->type == IPC_RESIZED && d->phase == DEV_CONNECTED)
		vbd_publish_size(v);
	return NULL;
}

static void message(struct device *d, const struct ipc_msg *m, const char *text)
{
	struct vbd *v = vbd_of(d);

	if (m->type != IPC_ALARM)
		return;
	snprintf(v->alarm, sizeof(v->alarm), "%s", text);
	device_set_text(d, &pvb_vbd_back[VBD_B_ALARM], v->alarm[0] ? v->alarm : NULL);
	device_log(d, LOG_LEVEL_WARN, "%s", v->alarm[0] ? v->alarm : "all held requests are done");
}

static void nothing(struct device *d)
{
}

const struct device_ops vbd_ops = {
	.class = "vbd",
	.ipc = IPC_VBD,
	.bytes = sizeof(struct vbd),
	.stats_bytes = sizeof(struct stats_device),
	.stats_version = STATS_VERSION,
	.error = &pvb_vbd_back[VBD_B_ERROR],
	.online = &pvb_vbd_back[VBD_B_ONLINE],
	.script = &pvb_vbd_back[VBD_B_SCRIPT],
	.hotplug_status = &pvb_vbd_back[VBD_B_HOTPLUG_STATUS],
	/* a front end may have started with the defaults before it saw us: 3, or even 4 */
	.ready = 1u << PVB_INITIALISED | 1u << PVB_CONNECTED,
	.mounted = true,
	.name = name,
	.found = found,
	.probe = vbd_publish_limits,
	.attach = attach,
	.resumes = resumes,
	.outlives = outlives,
	.info = info,
	.read_front = vbd_read_front,
	.before_connect = before_connect,
	.journal_version = PVB_JOURNAL_VERSION,
	.journal_bytes = journal_bytes,
	.message = message,
	.let_go = let_go,
	.detach = detach,
	.gone = nothing,
	.free = nothing,
	.check = vbd_check,
};
