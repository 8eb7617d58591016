/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file:PATH - a raw file or block device.
 *
 * Three ways to do I/O, chosen at open:
 *   now      tmpfs and the like, where nothing blocks: plain system calls
 *   cached   through the page cache: what is there is done at once, what would block goes to io_uring
 *   direct   O_DIRECT, all through io_uring
 * Bios of one submit() that follow each other on the disk are one system call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/block/block.h"
#include "backend/block/e512.h"
#include "backend/block/facts.h"
#include "backend/block/file.h"
#include "backend/block/flusher.h"
#include "backend/block/xfer.h"
#include "backend/target.h"

#define RUN_MAX_VEC 256              /* pieces of one merged system call */
#define RUN_MAX_BYTES (1 << 20)
#define DISCARD_MAX (128ULL << 20)   /* a longer hole would keep the inode busy for too long */
#define DISCARD_NOW (4U << 20)       /* in memory: what may be freed in the calling thread */

enum mode { NOW, CACHED, DIRECT };

struct file {
	struct disk disk;
	int fd;
	enum mode mode;
	int try_flags[BIO_NR_OPS];   /* preadv2/pwritev2 flags to try first, -1 = do not try */
	uint32_t punch_align;
	uint32_t unit;               /* what the size is rounded down to */
	bool odd;                    /* direct I/O wants more than 512-byte alignment */
	struct e512 e512;
	struct xfer_pool pool;
	struct flusher flusher;
};

static struct file *to_file(struct disk *disk)
{
	return (struct file *)disk; /* its first member */
}

/* One system call's worth. */
struct run {
	struct bio **bios;
	unsigned nr;
	unsigned nr_vec;
	uint64_t len;
	struct iovec *iov;           /* the bio's own, or vec */
	struct iovec vec[RUN_MAX_VEC];
};

/* Take as many bios as follow each other on the disk: how many. */
static unsigned make_run(struct file *f, struct bio **bios, unsigned nr, struct run *run)
{
	struct bio *bio = bios[0];

	run->bios = bios;
	run->nr = 1;
	run->len = bio->len;
	run->nr_vec = bio->nr_iov;
	run->iov = bio->iov;
	while (run->nr < nr) {
		struct bio *next = bios[run->nr];

		if (next->op != bio->op || next->off != bio->off + run->len || run->len + next->len > RUN_MAX_BYTES ||
		    run->nr_vec + next->nr_iov > RUN_MAX_VEC || !bio_fits(next, f->disk.info.size))
			break;
		if (run->nr == 1) {
			memcpy(run->vec, bio->iov, bio->nr_iov * sizeof(*bio->iov));
			run->iov = run->vec;
		}
		memcpy(run->vec + run->nr_vec, next->iov, next->nr_iov * sizeof(*next->iov));
		run->nr_vec += next->nr_iov;
		run->len += next->len;
		run->nr++;
	}
	return run->nr;
}

static void start_run(struct file *f, struct run *run, bool try);

static void alone(struct file *f, struct bio *bio)
{
	struct run run;

	make_run(f, &bio, 1, &run);
	start_run(f, &run, false);
}

/* The system call for x->bios is over. What went through is done; when one of several failed, each of the
 * others is tried on its own, so that a bad sector fails nobody but its owner. */
static void run_done(struct xfer *x, int rc)
{
	struct file *f = x->owner;
	struct bio *bio = x->bios, *next;
	uint64_t got = x->got, off = bio->off, end = x->bio.off + x->bio.len;
	bool merged = bio->next, write = bio->op == BIO_WRITE;

	xfer_put(x);
	for (; bio; bio = next) {
		next = bio->next;
		if (!rc || got >= bio->len) {
			got -= rc ? bio->len : 0;
			bio_done(bio, 0);
		} else if (merged) {
			got = 0;
			alone(f, bio);
		} else {
			bio_fail(bio, rc);
		}
	}
	if (write)
		flusher_write_end(&f->flusher, off, end - off);
}

static void fail_run(struct run *run, int rc)
{
	for (unsigned i = 0; i < run->nr; i++)
		bio_fail(run->bios[i], rc);
}

static ssize_t call_now(struct file *f, enum bio_op op, const struct run *run, int flags)
{
	off_t off = (off_t)run->bios[0]->off;

	if (!flags && run->nr_vec == 1) /* the short way in */
		return op == BIO_READ ? pread(f->fd, run->iov->iov_base, run->iov->iov_len, off) :
					pwrite(f->fd, run->iov->iov_base, run->iov->iov_len, off);
	if (op == BIO_READ)
		return preadv2(f->fd, run->iov, (int)run->nr_vec, off, flags);
	return pwritev2(f->fd, run->iov, (int)run->nr_vec, off, flags);
}

/* Bytes done without blocking.  Errors are left to the second try, which may block and knows better. */
static uint64_t try_now(struct file *f, struct run *run)
{
	enum bio_op op = run->bios[0]->op;
	int flags = f->try_flags[op];
	ssize_t r;

	if (flags < 0)
		return 0;
	r = call_now(f, op, run, flags);
	if (r >= 0)
		return (uint64_t)r;
	if (flags && (errno == EOPNOTSUPP || errno == EINVAL))
		f->try_flags[op] = -1;
	return 0;
}

static void start_run(struct file *f, struct run *run, bool try)
{
	struct bio *first = run->bios[0];
	uint64_t got = try ? try_now(f, run) : 0;
	struct xfer *x;

	if (got && first->op == BIO_WRITE)
		flusher_wrote(&f->flusher, first->off, got);
	if (got == run->len) {
		for (unsigned i = 0; i < run->nr; i++)
			bio_done(run->bios[i], 0);
		return;
	}
	x = xfer_get(&f->pool, run->nr_vec);
	if (!x) {
		fail_run(run, -ENOMEM);
		return;
	}
	for (unsigned i = 0; i < run->nr; i++)
		run->bios[i]->next = i + 1 < run->nr ? run->bios[i + 1] : NULL;
	x->bio.op = first->op;
	x->bio.off = first->off;
	xfer_add(x, run->iov, run->nr_vec);
	x->bios = first;
	x->owner = f;
	x->done = run_done;
	if (first->op == BIO_WRITE)
		flusher_write_begin(&f->flusher);
	xfer_start(x, got);
}

static void discarded(struct xfer *x, int rc)
{
	struct file *f = x->owner;
	struct bio *bio = x->bios;

	xfer_put(x);
	bio_done(bio, rc);
	flusher_write_end(&f->flusher, 0, 0);
}

static void start_discard(struct file *f, struct bio *bio)
{
	uint64_t mask = f->punch_align - 1;
	uint64_t start = (bio->off + mask) & ~mask, end = (bio->off + bio->len) & ~mask;
	struct xfer *x = start < end ? xfer_get(&f->pool, 0) : NULL;

	if (!x) { /* a discard is a wish: whole blocks only */
		bio_done(bio, start < end ? -ENOMEM : 0);
		return;
	}
	x->bio.op = bio->op;
	x->bio.off = start;
	x->bio.len = end - start;
	x->bios = bio;
	x->owner = f;
	x->done = discarded;
	flusher_write_begin(&f->flusher);
	xfer_start(x, 0);
}

static void discard(struct file *f, struct bio *bio)
{
	if (!f->disk.info.discard_granularity || (bio->op == BIO_SECURE_DISCARD && !f->disk.info.secure_discard))
		bio_done(bio, -EOPNOTSUPP);
	else if (f->mode != NOW || bio->len > DISCARD_NOW)
		start_discard(f, bio);
	else if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)bio->off, (off_t)bio->len))
		bio_done(bio, -errno);
	else
		bio_done(bio, 0);
}

static void flush(struct file *f, struct bio *bio)
{
	if (f->mode == NOW)
		bio_done(bio, fdatasync(f->fd) ? -errno : 0);
	else
		flusher_flush(&f->flusher, bio);
}

static void submit_aligned(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct file *f = to_file(disk);
	struct run run;
	unsigned n;

	for (unsigned i = 0; i < nr; i += n) {
		struct bio *bio = bios[i];

		n = 1;
		if (!bio_fits(bio, disk->info.size)) {
			bio_fail(bio, -EIO); /* the disk has shrunk */
		} else if (bio->op == BIO_FLUSH) {
			flush(f, bio);
		} else if (bio->op != BIO_READ && flusher_holds(&f->flusher, bio)) {
			continue;
		} else if (bio->op == BIO_READ || bio->op == BIO_WRITE) {
			n = make_run(f, bios + i, nr - i, &run);
			start_run(f, &run, true);
		} else {
			discard(f, bio);
		}
	}
	aio_flush(disk->io->aio);
}

static void resume(struct flusher *fl, struct bio *bio)
{
	submit_aligned(&((struct file *)((char *)fl - offsetof(struct file, flusher)))->disk, &bio, 1);
}

static void file_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct file *f = to_file(disk);

	if (f->odd)
		e512_submit(&f->e512, bios, nr);
	else
		submit_aligned(disk, bios, nr);
}

/* auto: past the cache wherever that is safe, as the guest has a cache of its own */
static int choose_mode(struct file *f, const struct target *t, const struct facts *facts, uint64_t size,
		       struct pvb_error *err)
{
	bool possible = facts->direct_align && size % facts->direct_align == 0, safe;
	int cache = file_cache(t, &safe, err), flags;

	if (cache < 0)
		return cache;
	if (cache == CACHE_DIRECT && !facts->direct_align)
		return pvb_err(err, -EINVAL, "%s: cache=direct, but there is no O_DIRECT on this file system", t->arg);
	if (cache == CACHE_DIRECT && !possible)
		return pvb_err(err, -EINVAL, "%s: cache=direct: size %llu is no multiple of %u, as O_DIRECT needs here",
			       t->arg, (unsigned long long)size, facts->direct_align);
	if (facts->in_memory)
		f->mode = NOW;
	else if (cache == CACHE_DIRECT || (cache == CACHE_AUTO && possible && (!facts->network || safe)))
		f->mode = DIRECT;
	else
		f->mode = CACHED;
	f->disk.info.direct = f->mode == DIRECT && (!facts->network || safe);
	flags = fcntl(f->fd, F_GETFL);
	flags = f->mode == DIRECT ? flags | O_DIRECT : flags & ~O_DIRECT;
	if (fcntl(f->fd, F_SETFL, flags))
		return pvb_err(err, -errno, "%s: O_DIRECT: %s", t->arg, strerror(errno));
	return 0;
}

static int open_file(struct file *f, const struct target *t, int facts_fd, struct pvb_error *err)
{
	struct facts facts;
	uint64_t size;
	int rc = facts_unpack(facts_fd, &facts);

	if (!rc)
		rc = facts_size(f->fd, &size);
	if (rc)
		return pvb_err(err, rc, "%s: %s", t->arg, strerror(-rc));
	rc = choose_mode(f, t, &facts, size, err);
	if (rc)
		return rc;
	if (flusher_init(&f->flusher, &f->pool, f->mode == CACHED, size, resume))
		return pvb_err(err, -ENOMEM, "%s: no memory", t->arg);
	f->unit = 512;
	f->punch_align = facts.punch_align;
	if (f->mode == DIRECT && e512_needed(facts.direct_align, facts.mem_align)) {
		f->odd = true;
		f->unit = facts.direct_align;
		e512_init(&f->e512, &f->disk, facts.direct_align, facts.mem_align, submit_aligned);
	}
	f->disk.info.size = size - size % f->unit;
	f->disk.info.physical_block = facts.physical_block > f->unit ? facts.physical_block : f->unit;
	f->disk.info.discard_granularity = facts.discard_granularity;
	f->disk.info.max_discard = facts.discard_granularity ? DISCARD_MAX : 0;
	f->disk.info.flush = true;
	for (int op = 0; op < BIO_NR_OPS; op++)
		f->try_flags[op] = f->mode == NOW ? 0 : f->mode == CACHED ? RWF_NOWAIT : -1;
	return 0;
}

static void file_close(struct disk *disk)
{
	struct file *f = to_file(disk);

	flusher_free(&f->flusher);
	e512_free(&f->e512);
	xfer_pool_free(&f->pool);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static int file_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		     struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f || nr_fds != 2) {
		free(f);
		fds_close(fds, nr_fds);
		return pvb_err(err, f ? -EINVAL : -ENOMEM, "%s: %s", t->arg,
			       f ? "descriptors are missing" : "no memory");
	}
	f->disk.prov = provider_find(t->provider);
	f->disk.io = io;
	f->fd = fds[0];
	f->pool.fd = f->fd;
	f->pool.aio = io->aio;
	rc = open_file(f, t, fds[1], err);
	close(fds[1]);
	if (rc) {
		file_close(&f->disk);
		return rc;
	}
	*out = &f->disk;
	return 0;
}

static void file_refresh(struct disk *disk)
{
	struct file *f = to_file(disk);
	uint64_t size;

	/* a file emptied by whoever copies over it is not a disk of no size: the next look tells */
	if (!facts_size(f->fd, &size) && size >= f->unit)
		disk_resized(disk, size - size % f->unit);
}

static const char *const file_keys[] = { "cache", "direct-io-safe", NULL };

const struct provider file_provider = {
	.name = "file",
	.help = "PATH   a raw file or block device",
	.keys = file_keys,
	.outlives = true, .reopens = true, .prepare = file_prepare, .open = file_open, .submit = file_submit, .refresh = file_refresh, .close = file_close,
};
