/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "backend/block/e512.h"

#define BUFFER_ALIGN 4096
#define BATCH 64

/* One bio on its way.  A bounced write takes up to three steps: the first block, the last, all of it. */
struct e512_job {
	struct bio bio;              /* what the disk sees, step by step */
	struct e512 *e;
	struct bio *orig;
	struct range range;
	bool locked;
	unsigned char *buf;          /* of range.start..range.end, NULL when nothing is bounced */
	struct iovec iov;
	enum { READ_FIRST, READ_LAST, TRANSFER } step;
	struct e512_job *next;
};

static struct e512_job *job_get(struct e512 *e, struct bio *orig)
{
	struct e512_job *job = e->free;

	if (job)
		e->free = job->next;
	else
		job = malloc(sizeof(*job));
	if (!job)
		return NULL;
	memset(job, 0, sizeof(*job));
	job->e = e;
	job->orig = orig;
	return job;
}

static void job_finish(struct e512_job *job, int rc)
{
	struct e512 *e = job->e;
	struct bio *orig = job->orig;

	free(job->buf);
	if (job->locked)
		range_unlock(&e->lock, &job->range);
	job->next = e->free;
	e->free = job;
	if (rc)
		bio_fail(orig, rc);
	else
		bio_done(orig, 0);
}

/* --- copying between a bio's pieces and the buffer -------------------------------------------------- */

static void copy_out(const struct bio *bio, const unsigned char *from)
{
	for (unsigned i = 0; i < bio->nr_iov; i++) {
		memcpy(bio->iov[i].iov_base, from, bio->iov[i].iov_len);
		from += bio->iov[i].iov_len;
	}
}

static void copy_in(const struct bio *bio, unsigned char *to)
{
	for (unsigned i = 0; i < bio->nr_iov; i++) {
		memcpy(to, bio->iov[i].iov_base, bio->iov[i].iov_len);
		to += bio->iov[i].iov_len;
	}
}

/* --- steps ------------------------------------------------------------------------------------------ */

static void part(struct e512_job *job, enum bio_op op, uint64_t start, uint64_t len)
{
	job->iov = (struct iovec) { job->buf + (start - job->range.start), len };
	job->bio.op = op;
	job->bio.off = start;
	job->bio.len = len;
	job->bio.iov = &job->iov;
	job->bio.nr_iov = 1;
}

/* Set job->bio to the next thing the disk has to do. */
static void next_step(struct e512_job *job)
{
	const struct bio *orig = job->orig;
	uint64_t start = job->range.start, end = job->range.end, block = job->e->block;
	bool first = orig->off != start, last = orig->off + orig->len != end;

	if (orig->op == BIO_READ) {
		job->step = TRANSFER;
		part(job, BIO_READ, start, end - start);
		return;
	}
	if (job->step == READ_FIRST) {
		job->step = READ_LAST;
		if (first) {
			part(job, BIO_READ, start, block);
			return;
		}
	}
	if (job->step == READ_LAST) {
		job->step = TRANSFER;
		if (last && !(first && end - start == block)) {
			part(job, BIO_READ, end - block, block);
			return;
		}
	}
	copy_in(orig, job->buf + (orig->off - start));
	part(job, BIO_WRITE, start, end - start);
}

static void step_done(struct bio *bio)
{
	struct e512_job *job = bio->owner;
	struct bio *list = &job->bio;
	int rc = bio->result;

	if (!rc && job->buf && job->bio.op == BIO_READ && job->orig->op == BIO_WRITE) {
		next_step(job);
		job->e->submit(job->e->disk, &list, 1);
		return;
	}
	if (!rc && job->buf && job->orig->op == BIO_READ)
		copy_out(job->orig, job->buf + (job->orig->off - job->range.start));
	job_finish(job, rc);
}

static bool memory_fits(const struct e512 *e, const struct bio *bio)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < bio->nr_iov; i++)
		bits |= (uintptr_t)bio->iov[i].iov_base | bio->iov[i].iov_len;
	return !(bits & (e->mem - 1));
}

static bool is_straight(const struct e512 *e, const struct bio *bio)
{
	return !((bio->off | bio->len) & (e->block - 1)) && memory_fits(e, bio);
}

/* What the job begins with; false: it can not begin and is finished. */
static bool job_begin(struct e512_job *job)
{
	struct bio *orig = job->orig, *bio = &job->bio;
	uint64_t len = job->range.end - job->range.start;

	bio->done = step_done;
	bio->owner = job;
	if (orig->op != BIO_READ && orig->op != BIO_WRITE) {
		bio->op = orig->op;
		bio->off = job->range.start;
		bio->len = len;
		return true;
	}
	if (is_straight(job->e, orig)) {
		bio->op = orig->op;
		bio->off = orig->off;
		bio->len = orig->len;
		bio->iov = orig->iov;
		bio->nr_iov = orig->nr_iov;
		return true;
	}
	job->buf = aligned_alloc(BUFFER_ALIGN, (len + BUFFER_ALIGN - 1) & ~(BUFFER_ALIGN - 1ULL));
	if (!job->buf) {
		job_finish(job, -ENOMEM);
		return false;
	}
	next_step(job);
	return true;
}

static void granted(struct range *r)
{
	struct e512_job *job = (struct e512_job *)((char *)r - offsetof(struct e512_job, range));
	struct bio *list = &job->bio;

	if (job_begin(job))
		job->e->submit(job->e->disk, &list, 1);
}

/* The bio to hand to the disk now for orig: itself, a job's, or NULL when it waits or is done. */
static struct bio *translate(struct e512 *e, struct bio *orig)
{
	uint64_t mask = e->block - 1;
	bool data = orig->op == BIO_READ || orig->op == BIO_WRITE;
	bool lock = e->block > 512 && orig->op != BIO_READ && orig->op != BIO_FLUSH;
	struct e512_job *job;

	if (!bio_fits(orig, e->disk->info.size)) {
		bio_fail(orig, -EIO); /* here already, as rounding up must not wrap */
		return NULL;
	}
	if (orig->op == BIO_FLUSH || (!lock && (!data || is_straight(e, orig))))
		return orig;
	job = job_get(e, orig);
	if (!job) {
		bio_fail(orig, -ENOMEM);
		return NULL;
	}
	job->range.start = orig->off & ~mask;
	job->range.end = (orig->off + orig->len + mask) & ~mask;
	if (!data) { /* a discard is a wish: whole blocks only */
		job->range.start = (orig->off + mask) & ~mask;
		job->range.end = (orig->off + orig->len) & ~mask;
		if (job->range.start >= job->range.end) {
			job_finish(job, 0);
			return NULL;
		}
	}
	job->range.granted = granted;
	job->locked = lock;
	if (lock && !range_lock(&e->lock, &job->range))
		return NULL;
	return job_begin(job) ? &job->bio : NULL;
}

void e512_submit(struct e512 *e, struct bio **bios, unsigned nr)
{
	struct bio *list[BATCH];
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct bio *bio = translate(e, bios[i]);

		if (bio)
			list[n++] = bio;
		if (n == BATCH || (n && i + 1 == nr)) {
			e->submit(e->disk, list, n);
			n = 0;
		}
	}
}

void e512_init(struct e512 *e, struct disk *disk, uint32_t block, uint32_t mem,
	       void (*submit)(struct disk *disk, struct bio **bios, unsigned nr))
{
	e->disk = disk;
	e->block = block;
	e->mem = mem;
	e->submit = submit;
	range_lock_init(&e->lock);
}

void e512_free(struct e512 *e)
{
	struct e512_job *job;

	while ((job = e->free)) {
		e->free = job->next;
		free(job);
	}
}
