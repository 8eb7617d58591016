/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lock.c: one writer per image.  The lock is taken when rings connect, not before: a migrating guest's new
 * domain is set up while the old one still runs, and gets the image handed over when it wants to connect. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "log.h"
#include "supervisor.h"

/* The same VM's old domain has stopped (it is being migrated away), or the VM is ours twice. */
static bool same_vm(const struct vbd *a, const struct vbd *b)
{
	return a->vm[0] && strcmp(a->vm, b->vm) == 0 && a->id.devid == b->id.devid && a->id.front != b->id.front;
}

static int lock_file(struct vbd *v, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET };

	if (v->nr_fds == 0 || v->identity[0] == 0)
		return 0;
	/* of the open file description: it lives as long as the supervisor or the worker holds the image */
	return fcntl(v->fds[0], F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* The disk whose lock is in v's way, or NULL. */
static struct vbd *holder(struct vbd *v)
{
	const char *shared = target_get(v->target, "shared");
	struct vbd *o;

	if (v->identity[0] == 0 || (shared && strcmp(shared, "on") == 0))
		return NULL;
	for (o = v->sup->vbds; o; o = o->next)
		if (o != v && o->locked && strcmp(o->identity, v->identity) == 0 && !(o->readonly && v->readonly))
			return o;
	return NULL;
}

int vbd_lock_check(struct vbd *v, struct pvb_error *err)
{
	struct vbd *o = holder(v);

	if (!o || same_vm(o, v))
		return 0;
	return pvb_err(err, -EBUSY, "image %s is in use by domain %u, device %u", v->target->arg, o->id.front, o->id.devid);
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
		log_info("%s: handing the image over to domain %u", vbd_name(o), v->id.front);
		o->yielded = true;
		vbd_quiesce(o);
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
	struct vbd *o;

	if (!v->locked)
		return;
	v->locked = false;
	lock_file(v, F_UNLCK);
	for (o = v->sup->vbds; o; o = o->next) /* who waits for it looks again */
		if (o != v && strcmp(o->identity, v->identity) == 0)
			vbd_step(o);
}
