/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_VBD_H
#define PVB_BACKEND_VBD_H
/* A synthetic disk in the supervisor: a device (device.h) with an image.
 *
 *   vbd.c        what a device does on its way
 *   vbd-nodes.c  what is read from and published in the store for it
 *   lock.c       one writer an image
 */
#include "device.h"
#include "target.h"

struct vbd {
	struct device dev;           /* first: a struct device is all others know of */
	char alarm[240];
	struct target *target;
	bool readonly, cdrom, direct_io_safe;
	char identity[64];           /* of the image; "" = may be shared */
	bool found;                  /* an earlier pvbackd has offered it */
	bool open;                   /* fds and identity are its image's */
	bool locked;
	int fds[PROVIDER_MAX_FDS];
	unsigned nr_fds;
	struct disk_info info;       /* from DEV_ATTACHED on */
	struct blk_config cfg;
	bool offer_persistent, offer_write_zeroes;
	unsigned max_queues, max_ring_order;
};
/* NULL: it is no disk. */
static inline struct vbd *vbd_of(struct device *d)
{
	return d->ops == &vbd_ops ? (struct vbd *)d : NULL;
}

/* --- vbd-nodes.c ------------------------------------------------------------------------------------ */
int vbd_read_config(struct vbd *v, struct pvb_error *err);          /* toolstack's keys and the target's options */
int vbd_publish_limits(struct device *d, struct pvb_error *err);    /* before state 2 */
int vbd_read_front(struct device *d, struct pvb_store *st, pvb_txn t, union ipc_connect *c, struct pvb_error *err);
int vbd_publish_disk(struct vbd *v);                                 /* before state 4 */
int vbd_publish_size(struct vbd *v);                                 /* after a resize */
int vbd_check(struct supervisor *sup, const char *back, struct pvb_error *err); /* for the hotplug script */

/* --- lock.c ----------------------------------------------------------------------------------------- */
/* Lock the image against every other writer (other daemons by an open file description lock). 0, -EBUSY
 * with the holder's name, or -EAGAIN: the same VM's old domain is letting go of it, try again when told. */
int vbd_lock(struct vbd *v, struct pvb_error *err);
/* Would it be -EBUSY now?  Changes nothing. */
int vbd_lock_check(struct vbd *v, struct pvb_error *err);
void vbd_unlock(struct vbd *v);
/* Its image for a worker: descriptors to be sent and closed.  0 or an error, then there are none. */
int vbd_fds_for_worker(const struct vbd *v, int *fds, unsigned *nr_fds, struct pvb_error *err);
/* Is all that an earlier worker has begun over?  Only that makes it safe to write again. */
bool vbd_fenced(const struct vbd *v);
#endif
