/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lock.c: one writer per image.  The lock is taken when rings connect, not before: a migrating guest's new
 * domain is set up while the old one still runs, and gets the image handed over when it wants to connect.
 * And the fence (fence.h): each device has a byte, far behind any image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "fence.h"
#include "log.h"
#include "supervisor.h"
#include "vbd.h"

/* The same VM's old domain has stopped (it is being migrated away), or the VM is ours twice. */
static bool same_vm(const struct vbd *a, const struct vbd *b)
{
	const struct device *x = &a->dev, *y = &b->dev;

	return x->vm[0] && strcmp(x->vm, y->vm) == 0 && x->id.devid == y->id.devid && x->id.front != y->id.front;
}

#define FENCE ((off_t)1 << 62) /* no file is that large */

static int lock_file(struct vbd *v, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_len = FENCE };

	if (v->nr_fds == 0 || v->identity[0] == 0)
		return 0;
	/* of the open file description: it lives as long as the supervisor or the worker holds the image */
	return fcntl(v->fds[0], F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* ---- the fence -------------------------------------------------------------------------------------------- */

static off_t fence(const struct vbd *v)
{
	return FENCE + ((off_t)v->dev.id.front << 32) + v->dev.id.devid;
}

int vbd_fds_for_worker(const struct vbd *v, int *fds, unsigned *nr_fds, struct pvb_error *err)
{
	unsigned n;

	for (n = 0; n < v->nr_fds; n++) {
		fds[n] = fence_fd(v->fds[n], fence(v));
		if (fds[n] < 0) {
			int rc = fds[n];

			ipc_close_fds(fds, n);
			return pvb_err(err, rc, "image %s for its worker: %s", v->target->arg, strerror(-rc));
		}
	}
	*nr_fds = n;
	return 0;
}

bool vbd_fenced(const struct vbd *v)
{
	for (unsigned n = 0; n < v->nr_fds; n++)
		if (!fence_open(v->fds[n], fence(v)))
			return false;
	return true;
}

/* ---- one writer ------------------------------------------------------------------------------------------- */

/* The disk whose lock is in v's way, or NULL. */
static struct vbd *holder(struct vbd *v)
{
	const char *shared = target_get(v->target, "shared");
	struct device *d;
	struct vbd *o;

	if (v->identity[0] == 0 || (shared && strcmp(shared, "on") == 0))
		return NULL;
	for (d = v->dev.sup->devices; d; d = d->next) {
		o = vbd_of(d);
		if (o && o != v && o->locked && strcmp(o->identity, v->identity) == 0 && !(o->readonly && v->readonly))
			return o;
	}
	return NULL;
}

int vbd_lock_check(struct vbd *v, struct pvb_error *err)
{
	struct vbd *o = holder(v);

	if (!o || same_vm(o, v))
		return 0;
	return pvb_err(err, -EBUSY, "image %s is in use by domain %u, device %u", v->target->arg, o->dev.id.front, o->dev.id.devid);
}

int vbd_lock(struct vbd *v, struct pvb_error *err)
{
	const char *shared = target_get(v->target, "shared");
	struct vbd *o;
	int rc;

	if (v->locked || v->identity[0] == 0 || (shared && strcmp(shared, "on") == 0))
		return 0;
	rc = vbd_lock_check(v, err);
	if (rc < 0)
		return rc;
	o = holder(v);
	if (o) {
		device_log(&o->dev, LOG_LEVEL_INFO, "handing the image over to domain %u", v->dev.id.front);
		o->dev.yielded = true;
		device_quiesce(&o->dev);
		return -EAGAIN;
	}
	rc = lock_file(v, v->readonly ? F_RDLCK : F_WRLCK);
	if (rc == -EAGAIN || rc == -EACCES)
		return pvb_err(err, -EBUSY, "image %s is locked by another process", v->target->arg);
	if (rc < 0 && rc != -EBADF && rc != -EINVAL && rc != -EOPNOTSUPP)
		return pvb_err(err, rc, "image %s can not be locked: %s", v->target->arg, strerror(-rc));
	v->locked = true;
	return 0;
}

void vbd_unlock(struct vbd *v)
{
	struct device *d;

	if (!v->locked)
		return;
	v->locked = false;
	lock_file(v, F_UNLCK);
	for (d = v->dev.sup->devices; d; d = d->next) /* who waits for it looks again */
		if (vbd_of(d) && vbd_of(d) != v && strcmp(vbd_of(d)->identity, v->identity) == 0)
			device_step(d);
}
