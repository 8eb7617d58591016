/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy.c: what happens to requests that the storage failed.
 *
 * A stock blkfront turns a failed empty flush into a success and never flushes again, and a failed write
 * into a broken file system.  Waiting is the one answer that loses nothing: it has no request timeout. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "blkif-impl.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define RETRY_MS 1000

const char *const blk_policy_name[] = { "retry", "report", "stop", "ignore", NULL };
const char *const blk_data_name[] = { "auto", "copy", "map", NULL };
const char *const blk_error_class_name[BLK_ERR_NR] = { "enospc", "flush-error", "io-error" };

static enum blk_error_class classify(const struct bio *bio)
{
	if (bio->op == BIO_FLUSH)
		return BLK_ERR_FLUSH;
	if (bio->result == -ENOSPC || bio->result == -EDQUOT)
		return BLK_ERR_ENOSPC;
	return BLK_ERR_IO;
}

/* A held read or write gives its buffers back: all disks of the guest live from one pool, and a full disk must not
 * starve the others.  The guest's pages are still granted, so it begins anew.  Of barriers and flushes with data there is
 * one a device, and they are in the middle of their steps. */
static bool keeps_data(const struct blk_req *r)
{
	return r->e->op != BLKIF_OP_READ && r->e->op != BLKIF_OP_WRITE;
}

static void retry_parked(void *arg)
{
	struct blk_dev *dev = arg;
	struct blk_req *r;

	while ((r = blk_list_pop(&dev->parked)))
		blk_list_add(keeps_data(r) ? &dev->ctx->submit : &dev->ctx->taken, r);
	__atomic_store_n(&dev->stats->parked, 0, __ATOMIC_RELAXED);
	blk_run(dev->ctx);
}

static void park(struct blk_req *r, enum blk_policy policy)
{
	struct blk_dev *dev = r->q->dev;
	char text[160];

	if (!keeps_data(r))
		data_release(r);
	blk_list_add(&dev->parked, r);
	stats_add(&dev->stats->parked, 1);
	if (dev->closing)
		return; /* given up with the connection: an answer "failed" would be as bad now as at any time */
	if (!r->troubled) {
		r->troubled = true;
		if (dev->nr_troubled++ == 0) {
			snprintf(text, sizeof(text), "%s of %llu bytes at %llu: %s; held, %s", bio_op_name[r->bio.op],
				 (unsigned long long)r->bio.len, (unsigned long long)r->bio.off, strerror(-r->bio.result),
				 policy == BLK_STOP ? "waiting for resume" : "tried again each second");
			dev->ctx->cb.alarm(dev->ctx->arg, dev, text);
		}
	}
	if (policy == BLK_STOP)
		dev->stopped = true;
	else if (!dev->retry && !dev->stopped)
		pvb_loop_timer(dev->ctx->io->loop, RETRY_MS, retry_parked, dev, &dev->retry);
}

bool policy_holds(struct blk_req *r)
{
	struct blk_dev *dev = r->q->dev;
	enum blk_policy policy = dev->cfg.policy[classify(&r->bio)];

	if (r->bio.result == -EOPNOTSUPP)
		return false;
	switch (policy) {
	case BLK_REPORT:
		return false;
	case BLK_IGNORE:
		for (unsigned i = 0; r->bio.op == BIO_READ && i < r->bio.nr_iov; i++)
			memset(r->bio.iov[i].iov_base, 0, r->bio.iov[i].iov_len); /* never the buffer's last user's data */
		r->bio.result = 0;
		return false;
	case BLK_RETRY:
	case BLK_STOP:
		park(r, policy);
		return true;
	}
	return false;
}

void policy_over(struct blk_req *r)
{
	struct blk_dev *dev = r->q->dev;

	if (!r->troubled)
		return;
	r->troubled = false;
	if (--dev->nr_troubled == 0)
		dev->ctx->cb.alarm(dev->ctx->arg, dev, NULL);
}

void policy_drop(struct blk_dev *dev, void (*drop)(struct blk_req *r))
{
	struct blk_req *r;

	pvb_source_free(&dev->retry);
	while ((r = blk_list_pop(&dev->parked)))
		drop(r);
	__atomic_store_n(&dev->stats->parked, 0, __ATOMIC_RELAXED);
}

void blk_resume(struct blk_dev *dev)
{
	dev->stopped = false;
	pvb_source_free(&dev->retry);
	retry_parked(dev);
}

void blk_set_policy(struct blk_dev *dev, enum blk_error_class cls, enum blk_policy p)
{
	dev->cfg.policy[cls] = p;
	blk_resume(dev); /* what is held is judged anew */
}
