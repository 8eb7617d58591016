// SPDX-License-Identifier: GPL-2.0-or-later
/* What the machine itself can: two processes that answer each other, by a line of memory, by eventfds, by one of our rings;
 * and plain io_uring on the file that disks are measured on. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"
#include "loop.h"
#include "output.h"
#include "hv.h"
#include "ring.h"

#define ROUND_TRIP "round trip"
#define SLOT 112             /* bytes of a disk's slot */
#define STEP 16              /* round trips between looks at the clock */

/* What both processes share. */
struct shared {
	_Alignas(128) uint32_t ping;
	_Alignas(128) uint32_t pong;
	_Alignas(128) uint32_t over;
	_Alignas(4096) uint8_t ring[PVB_PAGE_SIZE];
};

struct pair {
	struct shared *s;
	int there, back;         /* eventfds */
	bool polled;
	struct pvb_ring ring;
};

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		_exit(1);
}

static void wait_fd(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		_exit(1);
}

/* --- by a line of memory, by eventfds ------------------------------------------------------------------ */

static void line_answer(struct pair *p)
{
	for (uint32_t n = 1;; n++) {
		while (__atomic_load_n(&p->s->ping, __ATOMIC_ACQUIRE) != n) {
			if (__atomic_load_n(&p->s->over, __ATOMIC_RELAXED))
				return;
			pvb_ring_relax();
		}
		__atomic_store_n(&p->s->pong, n, __ATOMIC_RELEASE);
	}
}

static void line_ask(struct pair *p)
{
	uint32_t n = p->s->ping + 1;

	__atomic_store_n(&p->s->ping, n, __ATOMIC_RELEASE);
	while (__atomic_load_n(&p->s->pong, __ATOMIC_ACQUIRE) != n)
		pvb_ring_relax();
}

static void eventfd_answer(struct pair *p)
{
	for (;;) {
		wait_fd(p->there);
		if (__atomic_load_n(&p->s->over, __ATOMIC_RELAXED))
			return;
		signal_fd(p->back);
	}
}

static void eventfd_ask(struct pair *p)
{
	signal_fd(p->there);
	wait_fd(p->back);
}

/* --- by one of our rings -------------------------------------------------------------------------------- */

static bool back_pass(struct pair *p)
{
	uint8_t slot[SLOT];
	int n = pvb_ring_back_avail(&p->ring);

	if (n <= 0)
		return false;
	while (n-- > 0) {
		pvb_ring_back_take(&p->ring, slot);
		pvb_ring_back_put(&p->ring, slot, 16);
	}
	if (pvb_ring_back_push(&p->ring) && !p->polled)
		signal_fd(p->back);
	return true;
}

static void ring_answer(struct pair *p)
{
	pvb_ring_attach(&p->ring, p->s->ring, sizeof(p->s->ring), SLOT, 0, 0);
	while (!__atomic_load_n(&p->s->over, __ATOMIC_RELAXED)) {
		if (back_pass(p))
			continue;
		pvb_ring_relax();
		if (p->polled)
			continue;
		if (pvb_ring_back_rearm(&p->ring) == 0)
			wait_fd(p->there);
	}
}

static void ring_ask(struct pair *p)
{
	uint8_t slot[SLOT] = { 1 };

	pvb_ring_front_put(&p->ring, slot);
	if (pvb_ring_front_push(&p->ring) && !p->polled)
		signal_fd(p->there);
	while (pvb_ring_front_avail(&p->ring) == 0) {
		if (!p->polled && pvb_ring_front_rearm(&p->ring) == 0)
			wait_fd(p->back);
		pvb_ring_relax();
	}
	pvb_ring_front_take(&p->ring, slot, 16);
}

/* --- measuring ------------------------------------------------------------------------------------------ */

struct way {
	const char *subject, *kind, *unit;
	void (*answer)(struct pair *p);
	void (*ask)(struct pair *p);
};

static double one_sample(struct pair *p, const struct way *w, unsigned ms)
{
	uint64_t start = pvb_now_ns(), end = start + ms * 1000000ull, now, n = 0;

	do {
		for (unsigned i = 0; i < STEP; i++)
			w->ask(p);
		n += STEP;
		now = pvb_now_ns();
	} while (now < end);
	return (double)(now - start) / (double)n / 1e3;
}

/* The asking side, in a process of its own as well: where it runs is nobody else's business. */
static void ask(struct pair *p, const struct way *w, unsigned samples, unsigned ms, double *out)
{
	uint64_t cpu, start;

	for (unsigned i = 0; i < samples; i++) {
		cpu = proc_cpu_ns(0);
		start = pvb_now_ns();
		out[i] = one_sample(p, w, ms);
		out[samples + i] = (double)(proc_cpu_ns(0) - cpu) / (double)(pvb_now_ns() - start);
	}
	__atomic_store_n(&p->s->over, 1, __ATOMIC_RELAXED);
	signal_fd(p->there);
}

static pid_t child(struct pair *p, int cpu, bool realtime)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	proc_place(0, cpu, realtime);
	return 0;
}

/* after: only its median, for the settings. */
static void trip(struct bench *b, const struct way *w, const struct bench_mode *m, bool after)
{
	unsigned most = b->samples * 2;
	size_t bytes = sizeof(struct shared) + 2 * most * sizeof(double);
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pair p = { .there = eventfd(0, EFD_CLOEXEC), .back = eventfd(0, EFD_CLOEXEC), .polled = m->polled };
	double *v = (void *)((uint8_t *)mem + sizeof(struct shared));
	int status = 1, cpu_ask = m->cpus == 2 ? b->cpu[1] : b->cpu[0];
	pid_t answers = 0, asks = 0;
	unsigned nr;

	if (mem == MAP_FAILED || p.there < 0 || p.back < 0) {
		bench_missing(b, w->subject, "no memory");
		return;
	}
	p.s = mem;
	pvb_ring_front_init(&p.ring, p.s->ring, sizeof(p.s->ring), SLOT);
	answers = child(&p, b->cpu[0], b->realtime);
	if (answers == 0) {
		w->answer(&p);
		_exit(0);
	}
	asks = child(&p, cpu_ask, b->realtime);
	if (asks == 0) {
		ask(&p, w, most, b->sample_ms / 2, v);
		_exit(0);
	}
	if (answers > 0 && asks > 0)
		waitpid(asks, &status, 0);
	if (answers > 0) {
		kill(answers, SIGKILL);
		waitpid(answers, NULL, 0);
	}
	nr = m->polled ? bench_undisturbed(v, v + most, most) : most;
	if (status == 0) {
		struct json_object *row = benchfile_row(ROUND_TRIP, w->subject, w->kind, "us", "less", m->name,
							bench_pinning(b, m), bench_array(v, nr));

		if (after) {
			bench_count_of(json_object_object_get(b->root, "settings"), "cache_line_us_after",
				       json_object_get_double(json_object_object_get(row, "median")));
			json_object_put(row);
		} else {
			bench_add(b, row, NULL, most - nr);
		}
	}
	close(p.there);
	close(p.back);
	munmap(mem, bytes);
}

static const struct way line = { "cache line", "floor", "us", line_answer, line_ask };
static const struct bench_mode polled = { "polled, 2 CPUs", 2, true, NULL };

void bench_line_again(struct bench *b)
{
	if (b->nr_cpus >= 2 && !b->list && !proc_stopped())
		trip(b, &line, &polled, true);
}

void bench_floors(struct bench *b)
{
	static const struct way efd = { "eventfd", "floor", "us", eventfd_answer, eventfd_ask },
				ring = { "pvbus ring", "ours", "us", ring_answer, ring_ask };
	static const struct bench_mode two = { "sleeping, 2 CPUs", 2, false, NULL },
				       one = { "sleeping, 1 CPU", 1, false, NULL };
	static const struct { const struct way *w; const struct bench_mode *m; } all[] = {
		{ &line, &polled }, { &ring, &polled }, { &efd, &two }, { &ring, &two }, { &efd, &one }, { &ring, &one },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].m->cpus <= (unsigned)b->nr_cpus && bench_wanted(b, ROUND_TRIP, all[i].w->subject, all[i].m->name))
			trip(b, all[i].w, all[i].m, false);
}

/* --- io_uring on the same file ---------------------------------------------------------------------------- */

struct uring_load {
	struct io_uring ring;
	uint8_t *buf;
	uint64_t size, seed, sum;
	unsigned qd, bs;
	bool write;
};

static void uring_issue(struct uring_load *u, int fd, unsigned slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	uint64_t off;

	u->seed = u->seed * 6364136223846793005ull + 1442695040888963407ull;
	off = (u->seed >> 33) % (u->size / u->bs) * u->bs;
	if (u->write)
		io_uring_prep_write(sqe, fd, u->buf + (size_t)slot * u->bs, u->bs, off);
	else
		io_uring_prep_read(sqe, fd, u->buf + (size_t)slot * u->bs, u->bs, off);
	io_uring_sqe_set_data64(sqe, slot);
}

static int uring_done(struct uring_load *u, int fd, bool again)
{
	struct io_uring_cqe *cqe;
	unsigned slot;
	int n = 0;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		slot = (unsigned)io_uring_cqe_get_data64(cqe);
		if (cqe->res != (int)u->bs)
			return -EIO;
		io_uring_cqe_seen(&u->ring, cqe);
		for (unsigned i = 0; !u->write && i < u->bs / 8; i++)
			u->sum += ((uint64_t *)(void *)(u->buf + (size_t)slot * u->bs))[i];
		if (again)
			uring_issue(u, fd, slot);
		n++;
	}
	return n;
}

/* Operations a second in each sample; their number, or -errno. */
static int uring_samples(struct uring_load *u, int fd, unsigned samples, unsigned ms, double *out)
{
	int rc = 0;

	for (unsigned i = 0; i < u->qd; i++)
		uring_issue(u, fd, i);
	for (unsigned s = 0; s < samples && rc >= 0; s++) {
		uint64_t start = pvb_now_ns(), end = start + ms * 1000000ull, now = start, n = 0;

		while (rc >= 0 && now < end) {
			rc = io_uring_submit_and_wait(&u->ring, 1);
			rc = rc < 0 ? rc : uring_done(u, fd, true);
			n += rc > 0 ? (uint64_t)rc : 0;
			now = pvb_now_ns();
		}
		out[s] = (double)n * 1e9 / (double)(now - start);
	}
	return rc < 0 ? rc : (int)samples;
}

static int uring_measure(struct bench *b, const char *cell, unsigned bs, unsigned qd, bool write)
{
	struct uring_load u = { .qd = qd, .bs = bs, .write = write, .seed = 1 };
	int fd = open(b->file, O_RDWR | O_DIRECT | O_CLOEXEC), rc;
	double *v = calloc(b->samples, sizeof(*v));

	if (fd < 0 && errno == EINVAL)
		fd = open(b->file, O_RDWR | O_CLOEXEC); /* as provider file does */
	rc = fd < 0 ? -errno : io_uring_queue_init(256, &u.ring, 0);
	if (rc == 0) {
		u.buf = aligned_alloc(4096, (size_t)bs * qd);
		u.size = (uint64_t)lseek(fd, 0, SEEK_END);
		rc = u.buf && v ? 0 : -ENOMEM;
		if (u.buf)
			memset(u.buf, 1, (size_t)bs * qd);
		proc_place(0, b->cpu[0], b->realtime);
		rc = rc < 0 ? rc : uring_samples(&u, fd, b->samples, b->sample_ms, v);
		proc_place(0, -1, false);
		if (b->realtime)
			proc_attend();
		io_uring_queue_exit(&u.ring); /* waits for what is in flight */
		free(u.buf);
	}
	if (fd >= 0)
		close(fd);
	if (rc > 0)
		bench_add(b, benchfile_row(cell, "io_uring", "floor", "IOPS", "more", BENCH_ANY_MODE, "one process",
					   bench_array(v, (unsigned)rc)), NULL, 0);
	free(v);
	return rc;
}

void bench_io_uring(struct bench *b)
{
	static const struct { unsigned bs, qd; } sizes[] = { { 4096, 1 }, { 4096, 32 }, { 4096, 128 }, { 131072, 8 } };

	for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		char cell[80];
		int rc;

		bench_disk_cell(cell, sizeof(cell), "file", i & 1, sizes[i / 2].bs, sizes[i / 2].qd);
		if (!bench_wanted(b, cell, "io_uring", BENCH_ANY_MODE))
			continue;
		rc = bench_make_file(b);
		if (rc == 0)
			rc = uring_measure(b, cell, sizes[i / 2].bs, sizes[i / 2].qd, i & 1);
		if (rc < 0) {
			bench_missing(b, "io_uring", "%s: %s", b->file, strerror(-rc));
			return;
		}
	}
}
