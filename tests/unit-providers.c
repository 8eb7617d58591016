/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Providers against a model: random reads, writes, discards and flushes, unaligned and many in flight, on each
 * kind of disk; the model is a plain array.  A request never overlaps another one in flight except where a
 * test says so, because the outcome of that is nobody's promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/aio.h"
#include "backend/block/e512.h"
#include "backend/provider.h"
#include "backend/target.h"

#define WAIT_MS 20000

static struct e512 *over;                   /* when set, requests go through it and not right to the disk */

struct world {
	struct pvb_loop *loop;
	struct aio *aio;
	struct worker_io io;
	struct disk *disk;
	int ready;                   /* 1 = not yet */
	char why[240];
	unsigned afters;
	char identity[64];
};

static void was_ready(struct disk *disk, int rc, const struct pvb_error *err, void *arg)
{
	struct world *w = arg;

	assert_int_equal(w->ready, 1);
	w->ready = rc;
	snprintf(w->why, sizeof(w->why), "%s", err ? err->text : "");
}

static void after(void *arg)
{
	((struct world *)arg)->afters++;
}

static void world_new(struct world *w)
{
	memset(w, 0, sizeof(*w));
	assert_int_equal(pvb_loop_new(&w->loop), 0);
	assert_int_equal(aio_new(&w->aio, w->loop, 64), 0);
	aio_set_after(w->aio, after, w);
	w->io = (struct worker_io) { .loop = w->loop, .aio = w->aio };
	w->ready = 1;
}

/* Open a disk as supervisor and worker together would; what came, 0 or -errno. */
static int open_disk(struct world *w, const char *text, bool readonly)
{
	struct pvb_error err = { 0 };
	struct target *t;
	int fds[PROVIDER_MAX_FDS], rc;
	uint64_t end = pvb_now_ms() + WAIT_MS;
	unsigned nr_fds;

	w->ready = 1;
	rc = target_parse(text, &t, &err);
	if (!rc) {
		rc = disk_prepare(t, readonly, fds, &nr_fds, w->identity, &err);
		if (!rc)
			rc = disk_open(t, readonly, fds, nr_fds, &w->io, was_ready, w, &w->disk, &err);
		target_free(t);
	}
	if (rc) {
		snprintf(w->why, sizeof(w->why), "%s", err.text);
		return rc;
	}
	while (w->ready == 1) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w->loop, 100);
	}
	if (w->ready) {
		disk_close(w->disk);
		w->disk = NULL;
	}
	return w->ready;
}

static void must_open(struct world *w, const char *text, bool readonly)
{
	if (open_disk(w, text, readonly))
		fail_msg("%s: %s", text, w->why);
}

static void world_free(struct world *w)
{
	disk_close(w->disk);
	assert_int_equal(aio_in_flight(w->aio), 0);
	aio_free(w->aio);
	pvb_loop_free(w->loop);
}

static void submit(struct world *w, struct bio **bios, unsigned nr)
{
	if (over)
		e512_submit(over, bios, nr);
	else
		disk_submit(w->disk, bios, nr);
}

/* --- single requests -------------------------------------------------------------------------------- */

static void set_flag(struct bio *bio)
{
	*(bool *)bio->owner = true;
}

static int do_io(struct world *w, enum bio_op op, uint64_t off, void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };
	bool done = false;
	struct bio bio = { .op = op, .off = off, .len = len, .iov = buf ? &iov : NULL, .nr_iov = buf ? 1 : 0,
			   .done = set_flag, .owner = &done };
	struct bio *list = &bio;
	uint64_t end = pvb_now_ms() + WAIT_MS;

	submit(w, &list, 1);
	while (!done) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w->loop, 100);
	}
	return bio.result;
}

/* --- the model -------------------------------------------------------------------------------------- */

#define MODEL_SIZE (4U << 20)
#define MAX_IO (64U << 10)
#define DEPTH 24
#define MAX_VEC 9

struct job {
	struct bio bio;
	struct iovec vec[MAX_VEC];
	unsigned char *buf;
	bool busy;
	struct oracle *oracle;
};

struct oracle {
	struct world *w;
	unsigned char *model;
	unsigned char *known;        /* per sector: 0 after a discard, when the disk may say what it likes */
	struct job jobs[DEPTH];
	unsigned seed, in_flight, mem_align;
	bool fixed_discard;          /* discarded sectors read as zeroes */
};

static unsigned rnd(struct oracle *o, unsigned n)
{
	o->seed = o->seed * 1103515245 + 12345;
	return (o->seed >> 8) % n;
}

static void check_read(struct oracle *o, struct job *job)
{
	for (uint64_t s = 0; s < job->bio.len / 512; s++) {
		uint64_t sector = job->bio.off / 512 + s;

		if (o->known[sector] && memcmp(job->buf + s * 512, o->model + sector * 512, 512))
			fail_msg("sector %" PRIu64 " (read of %" PRIu64 " at %" PRIu64 "): got %02x, want %02x", sector,
				 job->bio.len, job->bio.off, job->buf[s * 512], o->model[sector * 512]);
	}
}

static void job_done(struct bio *bio)
{
	struct job *job = bio->owner;
	struct oracle *o = job->oracle;

	assert_true(job->busy);
	if (bio->result)
		fail_msg("%s of %" PRIu64 " at %" PRIu64 ": %s", bio_op_name[bio->op], bio->len, bio->off,
			 strerror(-bio->result));
	if (bio->op == BIO_READ)
		check_read(o, job);
	job->busy = false;
	o->in_flight--;
}

static bool overlaps(struct oracle *o, const struct bio *bio)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct bio *other = &o->jobs[i].bio;

		if (o->jobs[i].busy && other->off < bio->off + bio->len && bio->off < other->off + other->len)
			return true;
	}
	return false;
}

/* Cut the buffer into pieces of whole sectors, as guest segments are. */
static void cut(struct oracle *o, struct job *job)
{
	struct bio *bio = &job->bio;
	uint64_t left = bio->len, at = 0;
	unsigned max = o->w->disk->info.linear ? 1 : MAX_VEC;

	bio->iov = job->vec;
	bio->nr_iov = 0;
	while (left) {
		uint64_t n = bio->nr_iov + 1 == max ? left : 512 * (1 + rnd(o, (unsigned)(left / 512)));

		job->vec[bio->nr_iov++] = (struct iovec) { job->buf + at, n };
		at += n;
		left -= n;
	}
}

static void apply(struct oracle *o, struct job *job)
{
	struct bio *bio = &job->bio;

	if (bio->op == BIO_WRITE) {
		for (uint64_t i = 0; i < bio->len; i += 4) {
			uint32_t v = o->seed = o->seed * 1103515245 + 12345;

			memcpy(job->buf + i, &v, 4);
		}
		memcpy(o->model + bio->off, job->buf, bio->len);
		memset(o->known + bio->off / 512, 1, bio->len / 512);
	} else if (bio->op == BIO_READ) {
		memset(job->buf, 0xee, bio->len);
	} else if (bio->op == BIO_DISCARD) {
		memset(o->model + bio->off, 0, bio->len);
		memset(o->known + bio->off / 512, o->fixed_discard, bio->len / 512);
	}
}

static enum bio_op pick_op(struct oracle *o)
{
	unsigned n = rnd(o, 100);

	if (n < 45)
		return BIO_WRITE;
	if (n < 92)
		return BIO_READ;
	if (n < 96)
		return BIO_FLUSH;
	return o->w->disk->info.discard_granularity ? BIO_DISCARD : BIO_READ;
}

static struct bio *new_job(struct oracle *o, uint64_t *sequential)
{
	struct job *job = o->jobs;
	struct bio *bio;

	while (job->busy)
		if (++job == o->jobs + DEPTH)
			return NULL;
	bio = &job->bio;
	*bio = (struct bio) { .op = pick_op(o), .done = job_done, .owner = job };
	if (bio->op != BIO_FLUSH) {
		bio->len = 512 * (uint64_t)(1 + rnd(o, rnd(o, 4) ? 16 : MAX_IO / 512));
		bio->off = 512 * (uint64_t)rnd(o, (unsigned)((MODEL_SIZE - bio->len) / 512 + 1));
		if (!rnd(o, 3) && *sequential + bio->len <= MODEL_SIZE)
			bio->off = *sequential;
		*sequential = bio->off + bio->len;
		if (overlaps(o, bio))
			return NULL;
		if (bio->op != BIO_DISCARD)
			cut(o, job);
	}
	apply(o, job);
	job->busy = true;
	o->in_flight++;
	return bio;
}

static void run_oracle(struct world *w, unsigned rounds, bool fixed_discard)
{
	struct oracle o = { .w = w, .seed = 1, .fixed_discard = fixed_discard };
	uint64_t end = pvb_now_ms() + WAIT_MS, sequential = 0;

	assert_true(w->disk->info.size >= MODEL_SIZE);
	o.model = calloc(1, MODEL_SIZE);
	o.known = calloc(1, MODEL_SIZE / 512);
	for (unsigned i = 0; i < DEPTH; i++) {
		o.jobs[i].oracle = &o;
		o.jobs[i].buf = aligned_alloc(512, MAX_IO + 512);
		o.jobs[i].buf += 512 * (i % 2); /* not page-aligned every other time */
	}
	for (unsigned r = 0; r < rounds; r++) {
		struct bio *list[DEPTH];
		unsigned nr = 0, want = 1 + rnd(&o, DEPTH);

		while (nr < want && (list[nr] = new_job(&o, &sequential)))
			nr++;
		submit(w, list, nr);
		while (o.in_flight > rnd(&o, DEPTH)) {
			assert_true(pvb_now_ms() < end);
			pvb_loop_once(w->loop, 100);
		}
	}
	while (o.in_flight) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w->loop, 100);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		free(o.jobs[i].buf - 512 * (i % 2));
	/* all of it, once more, in one pass */
	for (uint64_t off = 0; off < MODEL_SIZE; off += MAX_IO) {
		unsigned char *buf = aligned_alloc(4096, MAX_IO);

		assert_int_equal(do_io(w, BIO_READ, off, buf, MAX_IO), 0);
		for (unsigned s = 0; s < MAX_IO / 512; s++)
			if (o.known[off / 512 + s])
				assert_memory_equal(buf + s * 512, o.model + off + s * 512, 512);
		free(buf);
	}
	free(o.model);
	free(o.known);
}

/* --- helpers from outside ----------------------------------------------------------------------------- */

/* Run a shell command; its first word of output in out when that is given. */
static bool sh(char *out, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool sh(char *out, size_t len, const char *fmt, ...)
{
	char command[600];
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	f = popen(command, "re");
	assert_non_null(f);
	if (out) {
		out[0] = 0;
		if (fgets(out, (int)len, f))
			out[strcspn(out, "\n")] = 0;
	}
	return pclose(f) == 0;
}

/* What a test leaves behind, failed or not: undone last in, first out. */
static char undo[8][300];
static unsigned nr_undo;
#define undo_later(...) snprintf(undo[nr_undo++], sizeof(undo[0]), __VA_ARGS__)

static int undo_all(void **state)
{
	while (nr_undo)
		sh(NULL, 0, "%s", undo[--nr_undo]);
	return 0;
}

/* --- files ------------------------------------------------------------------------------------------ */

static char path[200];

static const char *disk_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir ? dir : "/var/tmp";
}

static int new_file(const char *dir, uint64_t size)
{
	int fd;

	snprintf(path, sizeof(path), "%s/pvbus-unit-XXXXXX", dir);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	undo_later("rm -f %s", path);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void test_file(const char *dir, const char *options)
{
	struct world w;
	char text[300];

	close(new_file(dir, MODEL_SIZE));
	snprintf(text, sizeof(text), "file:%s%s", path, options);
	world_new(&w);
	must_open(&w, text, false);
	run_oracle(&w, 1500, true);
	world_free(&w);
}

static void file_on_tmpfs(void **state)
{
	test_file("/dev/shm", "");
}

static void file_buffered(void **state)
{
	test_file(disk_dir(), "?cache=buffered");
}

static void file_auto(void **state)
{
	test_file(disk_dir(), "");
}

static void file_direct(void **state)
{
	struct world w;
	char text[300];

	close(new_file(disk_dir(), MODEL_SIZE));
	snprintf(text, sizeof(text), "file:%s?cache=direct", path);
	world_new(&w);
	if (open_disk(&w, text, false)) {
		print_message("no O_DIRECT here: %s\n", w.why);
		world_free(&w);
			skip();
	}
	assert_true(w.disk->info.direct);
	run_oracle(&w, 1500, true);
	world_free(&w);
}

/* --- blocks larger than a sector --------------------------------------------------------------------- */

static void check_aligned(struct disk *disk, struct bio **bios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal((bios[i]->off | bios[i]->len) & 4095, 0);
		for (unsigned v = 0; v < bios[i]->nr_iov; v++)
			assert_int_equal(((uintptr_t)bios[i]->iov[v].iov_base | bios[i]->iov[v].iov_len) & 4095, 0);
	}
	disk_submit(disk, bios, nr);
}

static void e512_model(void **state)
{
	struct e512 e = { 0 };
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M?delay=all:50us&delay=write:200us", false);
	e512_init(&e, w.disk, 4096, 4096, check_aligned);
	over = &e;
	run_oracle(&w, 500, false);
	over = NULL;
	e512_free(&e);
	world_free(&w);
}

struct counted {
	struct bio bio;
	struct iovec iov;
	unsigned *left;
};

static void count_down(struct bio *bio)
{
	assert_int_equal(bio->result, 0);
	--*((struct counted *)bio->owner)->left;
}

/* Overlapping writes in one go: the last one wins in each sector, as if there had been no other blocks. */
static void e512_keeps_order(void **state)
{
	static unsigned char data[64][8192], got[16384];
	struct counted c[64];
	struct bio *list[64];
	struct e512 e = { 0 };
	struct world w;
	unsigned left = 64, owner[32] = { 0 };
	uint64_t end = pvb_now_ms() + WAIT_MS;

	world_new(&w);
	must_open(&w, "mem:size=1M?delay=read:300us&delay=write:100us", false);
	e512_init(&e, w.disk, 4096, 512, disk_submit);
	for (unsigned i = 0; i < 64; i++) {
		unsigned sectors = 1 + i * 7 % 16, first = i * 5 % (32 - sectors);

		memset(data[i], (int)i + 1, sizeof(data[i]));
		for (unsigned s = first; s < first + sectors; s++)
			owner[s] = i + 1;
		c[i].iov = (struct iovec) { data[i], 512 * sectors };
		c[i].left = &left;
		c[i].bio = (struct bio) { .op = BIO_WRITE, .off = 512 * first, .len = 512 * sectors, .iov = &c[i].iov,
					  .nr_iov = 1, .done = count_down, .owner = &c[i] };
		list[i] = &c[i].bio;
	}
	e512_submit(&e, list, 64);
	while (left) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w.loop, 100);
	}
	assert_int_equal(do_io(&w, BIO_READ, 0, got, sizeof(got)), 0);
	for (unsigned s = 0; s < 32; s++)
		assert_int_equal(got[512 * s], owner[s]);
	e512_free(&e);
	world_free(&w);
}

static bool loop_device(char *dev, size_t len, unsigned block)
{
	if (geteuid() || !sh(dev, len, "losetup -f --show -b %u %s 2>/dev/null", block, path)) {
		print_message("loop devices need root and losetup\n");
		return false;
	}
	/* read-only stays with the number, not with the file */
	undo_later("blockdev --setrw %s; losetup -d %s", dev, dev);
	return sh(NULL, 0, "blockdev --setrw %s", dev);
}

static void test_block_device(unsigned block, const char *options)
{
	char dev[64], text[120];
	struct world w;

	close(new_file(disk_dir(), MODEL_SIZE));
	if (!loop_device(dev, sizeof(dev), block)) {
			skip();
	}
	snprintf(text, sizeof(text), "file:%s%s", dev, options);
	world_new(&w);
	must_open(&w, text, false);
	assert_int_equal(w.disk->info.physical_block, block);
	assert_memory_equal(w.identity, "block 7:", 8);
	run_oracle(&w, 800, false);
	world_free(&w);
	assert_true(sh(NULL, 0, "blockdev --setro %s", dev));
	world_new(&w);
	assert_int_equal(open_disk(&w, text, false), -EROFS);
	must_open(&w, text, true);
	world_free(&w);
}

static void block_4096_direct(void **state)
{
	test_block_device(4096, "?cache=direct");
}

static void block_4096_buffered(void **state)
{
	test_block_device(4096, "?cache=buffered");
}

static void block_512_auto(void **state)
{
	test_block_device(512, "");
}

/* --- a flush that failed ---------------------------------------------------------------------------- */

/* A loop device on a file system that is too small: writes succeed into the cache, writing back fails. Once
 * there is room, the next flush may say "done" only when all is really there. */
static void retried_flush_tells_the_truth(void **state)
{
	char dir[] = "/tmp/pvbus-unit-dir-XXXXXX", dev[64], text[120];
	unsigned char *data = malloc(4 << 20), *got = malloc(4 << 20);
	struct world w;
	int fd;

	assert_non_null(mkdtemp(dir));
	if (geteuid() || !sh(NULL, 0, "mount -t tmpfs -o size=1M none %s 2>/dev/null", dir)) {
		print_message("mounting needs root\n");
		rmdir(dir);
		skip();
	}
	undo_later("umount -l %s; rmdir %s", dir, dir);
	fd = new_file(dir, 8 << 20);
	assert_true(loop_device(dev, sizeof(dev), 512));
	for (unsigned i = 0; i < 4 << 20; i++)
		data[i] = (unsigned char)(i * 7 + i / 511);
	snprintf(text, sizeof(text), "file:%s?cache=buffered", dev);
	world_new(&w);
	must_open(&w, text, false);
	assert_int_equal(do_io(&w, BIO_WRITE, 3 << 20, data, 4 << 20), 0);
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_true(sh(NULL, 0, "mount -o remount,size=32M %s", dir));
	/* the background may have failed once more before there was room */
	if (do_io(&w, BIO_FLUSH, 0, NULL, 0))
		assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(pread(fd, got, 4 << 20, 3 << 20), 4 << 20);
	assert_memory_equal(got, data, 4 << 20);
	world_free(&w);
	close(fd);
	free(data);
	free(got);
}

static void file_plain_path_is_literal(void **state)
{
	char dir[] = "/tmp/pvbus-unit-dir-XXXXXX", name[100];
	struct world w;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/qcow2:x?cache=direct&%%41", dir);
	fd = open(name, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4); /* raw, whatever it says it is */
	close(fd);
	world_new(&w);
	must_open(&w, name, true);
	assert_int_equal(w.disk->info.size, 1 << 20);
	world_free(&w);
	unlink(name);
	rmdir(dir);
}

static void file_truncated_under_us(void **state)
{
	static const char *const modes[] = { "buffered", "direct" };
	unsigned char *buf = aligned_alloc(4096, 65536);

	for (int i = 0; i < 4; i++) {
		struct world w;
		char text[300];
		int fd = new_file(i < 2 ? disk_dir() : "/dev/shm", 65536);

		snprintf(text, sizeof(text), "file:%s?cache=%s", path, modes[i % 2]);
		world_new(&w);
		if (open_disk(&w, text, false)) {
			close(fd);
			world_free(&w);
					continue;
		}
		assert_int_equal(ftruncate(fd, 16384), 0);
		memset(buf, 0xaa, 65536);
		assert_int_equal(do_io(&w, BIO_READ, 8192, buf, 16384), -EIO);
		for (int n = 0; n < 16384; n++)
			assert_int_equal(buf[n], 0);
		assert_int_equal(do_io(&w, BIO_READ, 8192, buf, 8192), 0);
		disk_refresh(w.disk);
		assert_int_equal(w.disk->info.size, 16384);
		memset(buf, 0xaa, 65536);
		assert_int_equal(do_io(&w, BIO_READ, 16384, buf, 512), -EIO);
		assert_int_equal(buf[0], 0);
		close(fd);
		world_free(&w);
		}
	free(buf);
}

static void file_refusals(void **state)
{
	struct world w;
	int fd;

	world_new(&w);
	assert_int_equal(open_disk(&w, "file:/dev/null", false), -ENOTBLK);
	assert_non_null(strstr(w.why, "character device"));
	assert_int_equal(open_disk(&w, "/tmp", false), -ENOTBLK);
	assert_int_equal(open_disk(&w, "/nonexistent/x", true), -ENOENT);
	fd = new_file("/tmp", 511);
	assert_int_equal(open_disk(&w, path, true), -EINVAL);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(open_disk(&w, path, true), -EINVAL);
	assert_int_equal(ftruncate(fd, 1500), 0);
	must_open(&w, path, true);
	assert_int_equal(w.disk->info.size, 1024);
	close(fd);
	world_free(&w);
}

/* --- out of range ----------------------------------------------------------------------------------- */

static void check_range(const char *text)
{
	static const struct { uint64_t off, len; int rc; } cases[] = {
		{ 0, 512, 0 }, { MODEL_SIZE - 512, 512, 0 }, { MODEL_SIZE, 512, -EIO }, { MODEL_SIZE - 512, 1024, -EIO },
		{ -512ULL, 512, -EIO }, { -512ULL, 1024, -EIO }, { 512, -512ULL, -EIO }, { 1ULL << 63, 512, -EIO },
		{ 1ULL << 63, 1ULL << 63, -EIO },
	};
	struct world w;

	world_new(&w);
	must_open(&w, text, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(do_io(&w, BIO_DISCARD, cases[i].off, NULL, cases[i].len), cases[i].rc);
		if (cases[i].len <= 1024) {
			unsigned char *buf = aligned_alloc(512, 1024);

			assert_int_equal(do_io(&w, BIO_WRITE, cases[i].off, buf, cases[i].len), cases[i].rc);
			assert_int_equal(do_io(&w, BIO_READ, cases[i].off, buf, cases[i].len), cases[i].rc);
			free(buf);
		}
	}
	world_free(&w);
}

static void out_of_range(void **state)
{
	check_range("null:size=4M");
	check_range("mem:size=4M");
	close(new_file(disk_dir(), MODEL_SIZE));
	check_range(path);
}

/* --- null, mem, wrappers ---------------------------------------------------------------------------- */

static void mem_model(void **state)
{
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M", false);
	run_oracle(&w, 3000, true);
	world_free(&w);
}

static void null_reads_zeroes(void **state)
{
	unsigned char buf[4096];
	struct world w;

	world_new(&w);
	must_open(&w, "null:size=1G", false);
	assert_int_equal(w.disk->info.size, 1 << 30);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(do_io(&w, BIO_WRITE, 4096, buf, sizeof(buf)), 0);
	assert_int_equal(do_io(&w, BIO_READ, 4096, buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	world_free(&w);
}

static void faults_in_turn(void **state)
{
	unsigned char buf[512];
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=1M?fault=write:ENOSPC@2+1&fault=flush:EIO&fault=read:EIO@1+2", false);
	assert_true(w.disk->info.flush);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), -ENOSPC);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	world_free(&w);
}

static void delays(void **state)
{
	unsigned char buf[512];
	uint64_t start;
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=1M?delay=read:20ms&delay=write:500us&fault=read:EIO@1", false);
	start = pvb_now_ns();
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_true(pvb_now_ns() - start >= 500000);
	assert_true(w.afters > 0);
	start = pvb_now_ns();
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_true(pvb_now_ns() - start >= 40000000);
	world_free(&w);
}

static void delayed_model(void **state)
{
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M?delay=all:100us&delay=write:300us", false);
	run_oracle(&w, 300, true);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(mem_model, undo_all),
		cmocka_unit_test_teardown(null_reads_zeroes, undo_all),
		cmocka_unit_test_teardown(file_on_tmpfs, undo_all),
		cmocka_unit_test_teardown(file_buffered, undo_all),
		cmocka_unit_test_teardown(file_auto, undo_all),
		cmocka_unit_test_teardown(file_direct, undo_all),
		cmocka_unit_test_teardown(e512_model, undo_all),
		cmocka_unit_test_teardown(e512_keeps_order, undo_all),
		cmocka_unit_test_teardown(block_4096_direct, undo_all),
		cmocka_unit_test_teardown(block_4096_buffered, undo_all),
		cmocka_unit_test_teardown(block_512_auto, undo_all),
		cmocka_unit_test_teardown(retried_flush_tells_the_truth, undo_all),
		cmocka_unit_test_teardown(file_plain_path_is_literal, undo_all),
		cmocka_unit_test_teardown(file_truncated_under_us, undo_all),
		cmocka_unit_test_teardown(file_refusals, undo_all),
		cmocka_unit_test_teardown(out_of_range, undo_all),
		cmocka_unit_test_teardown(faults_in_turn, undo_all),
		cmocka_unit_test_teardown(delays, undo_all),
		cmocka_unit_test_teardown(delayed_model, undo_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
