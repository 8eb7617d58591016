/* SPDX-License-Identifier: GPL-2.0-or-later */
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
#include <unistd.h>
#include "tests/oracle.h"

struct e512 *over;

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

void world_new(struct world *w)
{
	memset(w, 0, sizeof(*w));
	assert_int_equal(pvb_loop_new(&w->loop), 0);
	assert_int_equal(aio_new(&w->aio, w->loop, 64), 0);
	aio_set_after(w->aio, after, w);
	w->io = (struct worker_io) { .loop = w->loop, .aio = w->aio };
	w->ready = 1;
}

/* Open a disk as supervisor and worker together would; what came, 0 or -errno. */
int open_disk(struct world *w, const char *text, bool readonly)
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

void must_open(struct world *w, const char *text, bool readonly)
{
	if (open_disk(w, text, readonly))
		fail_msg("%s: %s", text, w->why);
}

void world_free(struct world *w)
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

int do_io(struct world *w, enum bio_op op, uint64_t off, void *buf, uint64_t len)
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

/* The same bytes, if the provider shows where it has them. */
static void check_place(struct oracle *o, struct job *job)
{
	const void *at;

	if (over || !disk_peek(o->w->disk, job->bio.off, job->bio.len, &at))
		return;
	if (at)
		memcpy(job->buf, at, job->bio.len);
	else
		memset(job->buf, 0, job->bio.len);
	check_read(o, job);
}

static void job_done(struct bio *bio)
{
	struct job *job = bio->owner;
	struct oracle *o = job->oracle;

	assert_true(job->busy);
	if (bio->result)
		fail_msg("%s of %" PRIu64 " at %" PRIu64 ": %s", bio_op_name[bio->op], bio->len, bio->off,
			 strerror(-bio->result));
	if (bio->op == BIO_READ) {
		check_read(o, job);
		check_place(o, job);
	}
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

void run_oracle(struct world *w, unsigned rounds, bool fixed_discard)
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
bool sh(char *out, size_t len, const char *fmt, ...)
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

void undo_later(const char *fmt, ...)
{
	va_list ap;

	assert_true(nr_undo < 8);
	va_start(ap, fmt);
	vsnprintf(undo[nr_undo++], sizeof(undo[0]), fmt, ap);
	va_end(ap);
}

int undo_all(void **state)
{
	while (nr_undo)
		sh(NULL, 0, "%s", undo[--nr_undo]);
	return 0;
}

char path[200];

const char *disk_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir ? dir : "/var/tmp";
}

int new_file(const char *dir, uint64_t size)
{
	int fd;

	snprintf(path, sizeof(path), "%s/pvbus-unit-XXXXXX", dir);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	undo_later("rm -f %s", path);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}
