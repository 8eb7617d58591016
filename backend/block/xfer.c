/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/block/xfer.h"

struct xfer *xfer_get(struct xfer_pool *pool, unsigned nr_vec)
{
	struct xfer *x = pool->free;

	if (x)
		pool->free = x->next;
	else
		x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	x->pool = pool;
	if (nr_vec > x->max_vec) {
		struct iovec *vec = realloc(x->vec, nr_vec * sizeof(*vec));

		if (!vec) {
			xfer_put(x);
			return NULL;
		}
		x->vec = vec;
		x->max_vec = nr_vec;
	}
	memset(&x->bio, 0, sizeof(x->bio));
	x->bio.iov = x->vec;
	x->bio.owner = x;
	x->got = 0;
	x->bios = NULL;
	return x;
}

void xfer_add(struct xfer *x, const struct iovec *iov, unsigned nr)
{
	memcpy(x->vec + x->bio.nr_iov, iov, nr * sizeof(*iov));
	x->bio.nr_iov += nr;
	for (unsigned i = 0; i < nr; i++)
		x->bio.len += iov[i].iov_len;
}

static void advance(struct xfer *x, uint64_t n)
{
	struct bio *bio = &x->bio;

	x->got += n;
	bio->off += n;
	bio->len -= n;
	if (!bio->nr_iov)
		return; /* discard: no data */
	while (n && n >= bio->iov->iov_len) {
		n -= bio->iov->iov_len;
		bio->iov++;
		bio->nr_iov--;
	}
	if (n) {
		bio->iov->iov_base = (char *)bio->iov->iov_base + n;
		bio->iov->iov_len -= n;
	}
}

static void moved(struct bio *bio, int res)
{
	struct xfer *x = bio->owner;
	bool data = bio->op == BIO_READ || bio->op == BIO_WRITE;

	if (res == -EINTR) {
		aio_queue(x->pool->aio, x->pool->fd, bio, moved);
		return;
	}
	if (!data || res < 0) {
		x->done(x, res < 0 ? res : 0);
		return;
	}
	if (res == 0 || (uint64_t)res > bio->len) {
		x->done(x, -EIO); /* the file has become shorter, or takes nothing */
		return;
	}
	advance(x, (uint64_t)res);
	if (bio->len)
		aio_queue(x->pool->aio, x->pool->fd, bio, moved);
	else
		x->done(x, 0);
}

void xfer_start(struct xfer *x, uint64_t got)
{
	if (got)
		advance(x, got);
	aio_queue(x->pool->aio, x->pool->fd, &x->bio, moved);
}

void xfer_put(struct xfer *x)
{
	x->next = x->pool->free;
	x->pool->free = x;
}

void xfer_pool_free(struct xfer_pool *pool)
{
	struct xfer *x;

	while ((x = pool->free)) {
		pool->free = x->next;
		free(x->vec);
		free(x);
	}
}
