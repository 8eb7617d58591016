/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_XFER_H
#define PVB_BACKEND_BLOCK_XFER_H
/* One exact transfer on a descriptor: short reads and writes are continued, interruptions repeated, the
 * end of the file is an error (-EIO) as no disk is shorter than it said.
 *
 * Ownership  Transfers come from a pool that only grows; nothing is allocated once it is warm.
 * Errors     done(x, rc) once, from aio: rc 0 or -errno; x->got bytes went through, also on failure.
 */
#include "backend/aio.h"

struct xfer {
	struct bio bio;              /* what is left to do, as aio sees it */
	struct xfer_pool *pool;
	struct iovec *vec;           /* bio.iov, ours to advance */
	unsigned max_vec;
	uint64_t got;
	void (*done)(struct xfer *x, int rc);
	void *owner;                 /* the user's */
	struct bio *bios;            /* the user's */
	struct xfer *next;
};

struct xfer_pool {
	struct aio *aio;
	int fd;
	struct xfer *free;
};

/* A transfer with room for nr_vec pieces, or NULL.  Fill x->bio.op, off, x->vec with xfer_add(), done. */
struct xfer *xfer_get(struct xfer_pool *pool, unsigned nr_vec);
void xfer_add(struct xfer *x, const struct iovec *iov, unsigned nr);
/* Start after `got` bytes that have gone through already.  Sent by the next aio_flush(). */
void xfer_start(struct xfer *x, uint64_t got);
void xfer_put(struct xfer *x);
void xfer_pool_free(struct xfer_pool *pool);
#endif
