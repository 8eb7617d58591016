// SPDX-License-Identifier: GPL-2.0-or-later
/* The caller's side of requests: what is accepted, granted buffers, and one-at-a-time helpers. */
#include <errno.h>
#include <string.h>
#include "disk-impl.h"

static bool has_data(const struct pvf_req *req)
{
	return req->op == PVF_READ || req->op == PVF_WRITE || (req->op == PVF_BARRIER && req->length > 0);
}

/* Right in itself, whatever the disk. */
static int check_shape(const struct pvf_req *req)
{
	const struct pvf_buf *buf = req->buf;
	uintptr_t at = (uintptr_t)req->data, from;

	if (req->op == PVF_FLUSH)
		return 0;
	if (req->length == 0 && req->op != PVF_BARRIER)
		return -EINVAL;
	if (req->offset % 512 != 0 || req->length % 512 != 0)
		return -EINVAL;
	if (!has_data(req))
		return 0;
	if (req->data == NULL)
		return -EINVAL;
	if (buf == NULL)
		return 0;
	from = (uintptr_t)buf->addr;
	if (at < from || at % 512 != 0 || at - from > buf->size || req->length > buf->size - (at - from))
		return -EINVAL;
	return 0;
}

int pvf_disk_check(const struct pvf_disk *disk, const struct pvf_req *req)
{
	const struct pvf_info *info = &disk->info;

	if (info->readonly && req->op != PVF_READ && req->op != PVF_FLUSH)
		return -EROFS;
	if (req->op == PVF_FLUSH)
		return info->flush || info->barrier ? 0 : -EOPNOTSUPP;
	if ((req->op == PVF_BARRIER && !info->barrier) || (req->op == PVF_DISCARD && !info->discard) ||
	    (req->op == PVF_SECURE_DISCARD && !info->secure_discard))
		return -EOPNOTSUPP;
	if (((req->offset | req->length) & (info->sector_size - 1)) != 0) /* a power of two, which was checked */
		return -EINVAL;
	if (req->offset > info->size || req->length > info->size - req->offset)
		return -EINVAL;
	return 0;
}

int pvf_disk_submit(struct pvf_disk *disk, unsigned queue, struct pvf_req *req)
{
	bool live = pvf_dev_works(&disk->dev) && !disk->dev.stopping;
	bool kept =
		disk->opt.wait && !disk->dev.dead && !disk->dev.stopping && disk->dev.phase != PVF_GONE &&
		disk->dev.phase != PVF_DEAD;
	unsigned n = disk->nr_queues > 1 ? queue % disk->nr_queues : 0;
	int rc;

	if (!live && !kept)
		return -ENOTCONN;
	rc = check_shape(req);
	if (rc == 0 && live)
		rc = pvf_disk_check(disk, req);
	if (rc < 0)
		return rc;
	if (req->op == PVF_FLUSH)
		req->offset = req->length = 0;
	req->cursor = 0;
	req->pending = 0;
	req->rc = 0;
	disk->stats.requests++;
	pvf_list_add(&disk->lists[n], req);
	/* if others wait already it only has to queue up */
	if (live && disk->lists[n].issue == req)
		pvf_queue_issue(&disk->queues[n]);
	return 0;
}

void pvf_disk_kick(struct pvf_disk *disk)
{
	if (!pvf_dev_works(&disk->dev))
		return;
	for (unsigned i = 0; i < disk->nr_queues; i++)
		pvf_queue_push(&disk->queues[i]);
}

int pvf_disk_poll(struct pvf_disk *disk, unsigned queue)
{
	struct pvf_queue *q;

	if (!pvf_dev_works(&disk->dev))
		return disk->dev.dead ? -EPROTO : 0;
	q = &disk->queues[disk->nr_queues > 1 ? queue % disk->nr_queues : 0];
	return pvf_queue_poll(q, q->ring.nr_slots);
}

uint32_t pvf_disk_in_flight(const struct pvf_disk *disk)
{
	uint32_t nr = 0;

	for (unsigned i = 0; i < PVF_MAX_QUEUES; i++)
		nr += disk->lists[i].nr;
	return nr;
}

/* --- granted buffers -------------------------------------------------------------------------------- */

int pvf_buf_alloc(struct pvf_disk *disk, size_t size, struct pvf_buf *buf)
{
	size_t pages = size / PVB_PAGE_SIZE + (size % PVB_PAGE_SIZE != 0);
	struct pvb_grant grant;
	int rc;

	if (disk->dev.back == NULL)
		return -ENOTCONN;
	if (pages == 0 || pages > UINT32_MAX)
		return -EINVAL;
	rc = pvb_hv_grant(disk->dev.guest->hv, disk->dev.back_domid, (uint32_t)pages, true, &grant);
	if (rc < 0)
		return rc;
	buf->addr = grant.addr;
	buf->size = pages * PVB_PAGE_SIZE;
	buf->grant = grant;
	return 0;
}

void pvf_buf_free(struct pvf_disk *disk, struct pvf_buf *buf)
{
	if (buf->addr == NULL)
		return;
	pvb_hv_ungrant(disk->dev.guest->hv, &buf->grant);
	memset(buf, 0, sizeof(*buf));
}

/* --- one at a time ---------------------------------------------------------------------------------- */

struct waiter {
	bool over;
	int rc;
};

static void finished(struct pvf_req *req, int rc)
{
	struct waiter *w = req->arg;

	w->over = true;
	w->rc = rc;
}

int pvf_disk_do(struct pvf_disk *disk, enum pvf_op op, uint64_t offset, uint64_t length, void *data)
{
	struct waiter w = { 0 };
	struct pvf_req req = {
		.op = op, .offset = offset, .length = length, .data = data, .done = finished, .arg = &w
	};
	int rc = pvf_disk_submit(disk, 0, &req);

	if (rc < 0)
		return rc;
	pvf_disk_kick(disk);
	while (!w.over) {
		if (disk->opt.polled)
			pvf_disk_poll(disk, 0);
		/* the request is on our stack: a failing loop must not make us leave */
		pvb_loop_once(disk->dev.guest->loop, disk->opt.polled ? 0 : 1000);
	}
	return w.rc;
}

int pvf_disk_read(struct pvf_disk *disk, uint64_t offset, void *data, size_t length)
{
	return pvf_disk_do(disk, PVF_READ, offset, length, data);
}

int pvf_disk_write(struct pvf_disk *disk, uint64_t offset, const void *data, size_t length)
{
	return pvf_disk_do(disk, PVF_WRITE, offset, length, (void *)(uintptr_t)data);
}

int pvf_disk_flush(struct pvf_disk *disk)
{
	return pvf_disk_do(disk, PVF_FLUSH, 0, 0, NULL);
}
