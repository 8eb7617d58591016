// SPDX-License-Identifier: GPL-2.0-or-later
/* See crash-rig.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backend/keep.h"
#include "backend/worker.h"
#include "bus/local/fabric.h"
#include "bus/loop.h"
#include "crash-rig.h"

#define TRIES 5
#define MISSED 20u            /* one case of so many may be one that does not come again: a busy machine has many of them */

extern struct crash_point __start_pvb_crash_points[], __stop_pvb_crash_points[];

static struct crash_page *page;
static uint32_t died_at[CRASH_MAX_POINTS];
static unsigned nr_cases, nr_missed, nr_skipped;

/* ---- points ---------------------------------------------------------------------------------------------------- */

static unsigned nr_points(void)
{
	return (unsigned)(((uintptr_t)__stop_pvb_crash_points - (uintptr_t)__start_pvb_crash_points) / sizeof(struct crash_point));
}

void crash_pass(struct crash_point *p)
{
	uint32_t i = (uint32_t)(p - __start_pvb_crash_points);

	if (page && ++page->passed[i] == page->nth && i == page->point)
		for (;;)
			kill(getpid(), SIGKILL);
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void crash_list(void)
{
	for (unsigned i = 0; i < nr_points(); i++) {
		const struct crash_point *p = &__start_pvb_crash_points[i];

		printf("%s %s %s:%lu\n", p->name, base(p->object), base(p->file), p->line);
	}
}

/* keep_check()'s, which nobody calls here. */
const struct device_ops *device_ops_of(const char *kind)
{
	return NULL;
}

/* keep_sweep()'s, which nobody calls here. */
struct device *device_find(struct supervisor *sup, const char *class, const struct pvb_device_id *id)
{
	return NULL;
}

/* ---- saying what is wrong --------------------------------------------------------------------------------------- */

static void name_point(uint32_t point, uint32_t nth, char *buf, size_t len)
{
	const struct crash_point *p = &__start_pvb_crash_points[point];

	snprintf(buf, len, "%s in %s, passing %u", p->name, base(p->object), nth);
}

void crash_fail(const struct crash_rig *r, const char *fmt, ...)
{
	char first[128] = "nowhere", then[128] = "nowhere", image[80];
	va_list ap;

	if (r->first_nth)
		name_point(r->first_point, r->first_nth, first, sizeof(first));
	if (r->then_nth)
		name_point(r->then_point, r->then_nth, then, sizeof(then));
	fprintf(stderr, "FAIL: %s, rings from %#x, dies at %s, then at %s (%u dead):\n      ", r->what, r->start, first,
		then, r->deaths);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	if (r->pid > 0)
		kill(r->pid, SIGKILL);
	if (r->fabric > 0) {
		close(r->fabric_stop);
		waitpid(r->fabric, NULL, 0);
		snprintf(image, sizeof(image), "%s/image", r->dir);
		unlink(image);
		rmdir(r->dir);
	}
	exit(1);
}

/* ---- the fabric -------------------------------------------------------------------------------------------------- */

/* A process of its own: who forks workers has no threads. */
static void start_fabric(struct crash_rig *r)
{
	int ready[2], stop[2];
	char byte;

	CRASH_CHECK(r, pipe2(ready, O_CLOEXEC) == 0 && pipe2(stop, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	r->fabric = fork();
	if (r->fabric == 0) {
		struct pvb_fabric *fabric;
		struct pvb_error err;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(stop[1]);
		if (pvb_fabric_start(&fabric, r->dir, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			_exit(1);
		}
		if (write(ready[1], "r", 1) != 1 || read(stop[0], &byte, 1) != 0)
			_exit(1);
		pvb_fabric_stop(fabric);
		_exit(0);
	}
	close(ready[1]);
	close(stop[0]);
	r->fabric_stop = stop[1];
	CRASH_CHECK(r, r->fabric > 0 && read(ready[0], &byte, 1) == 1, "the fabric does not start");
	close(ready[0]);
}

void crash_rig_new(struct crash_rig *r, unsigned pages)
{
	struct pvb_error err = { 0 };
	char spec[80];

	setlinebuf(stdout);
	memset(r, 0, sizeof(*r));
	r->what = "set-up";
	r->place = "";
	r->sock = -1;
	r->sup.keep_fd = -1;
	if (!page)
		page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->page = page;
	memset(page, 0, sizeof(*page));
	CRASH_CHECK(r, nr_points() > 0 && nr_points() <= CRASH_MAX_POINTS, "%u points", nr_points());
	snprintf(r->dir, sizeof(r->dir), "/tmp/pvb-crash.XXXXXX");
	CRASH_CHECK(r, mkdtemp(r->dir), "%s: %s", r->dir, strerror(errno));
	start_fabric(r);
	CRASH_CHECK(r, pvb_local_domain_create(r->dir, "guest", pages, &r->domid, &err) == 0, "%s", err.text);
	snprintf(spec, sizeof(spec), "local:%s:%u", r->dir, r->domid);
	CRASH_CHECK(r, pvb_hv_open(&r->hv, spec, PVB_HV_FRONT, &err) == 0, "%s", err.text);
}

void crash_rig_free(struct crash_rig *r)
{
	struct pvb_local_stats st;
	struct pvb_error err;
	int status;

	for (unsigned i = 0; i < r->nr_devs; i++) {
		ipc_close_fds(r->dev[i].fds, r->dev[i].nr_fds);
		close(r->dev[i].stats_fd);
		close(r->dev[i].dev.journal_fd);
	}
	pvb_hv_close(r->hv);
	CRASH_CHECK(r, pvb_local_domain_destroy(r->dir, r->domid, &err) == 0, "%s", err.text);
	CRASH_CHECK(r, pvb_local_stats(r->dir, &st, &err) == 0 && st.stuck == 0, "%u pages are stuck", st.stuck);
	close(r->fabric_stop);
	waitpid(r->fabric, &status, 0);
	r->fabric = 0;
	CRASH_CHECK(r, status == 0, "the fabric ended with %#x", status);
	rmdir(r->dir);
}

/* ---- workers ------------------------------------------------------------------------------------------------------ */

void crash_journals(struct crash_rig *r)
{
	struct pvb_error err;

	for (unsigned i = 0; i < r->nr_devs; i++) {
		struct crash_device *d = &r->dev[i];
		size_t bytes = d->connect.class == IPC_VBD ?
			blk_journal_bytes(&d->connect.u.connect.blk) * d->connect.u.connect.blk.nr_queues :
			nif_journal_bytes() * d->connect.u.connect.nif.nr_queues;

		d->dev.sup = &r->sup;
		if (d->dev.journal_fd > 0)
			close(d->dev.journal_fd);
		CRASH_CHECK(r, keep_new(&d->dev, bytes, &err) == 0, "%s", err.text);
	}
}

static void send_fds(struct crash_rig *r, struct ipc_msg *m, const int *fds, unsigned nr)
{
	int rc = ipc_send(r->sock, m, fds, nr);

	CRASH_CHECK(r, rc == 0, "message %u: %s", m->type, strerror(-rc));
}

static void send_device(struct crash_rig *r, struct crash_device *d)
{
	int fds[IPC_MAX_FDS], journal;

	fds[0] = d->stats_fd;
	memcpy(fds + 1, d->fds, d->nr_fds * sizeof(int));
	send_fds(r, &d->attach, fds, 1 + d->nr_fds);
	journal = keep_fd_for_worker(&d->dev);
	CRASH_CHECK(r, journal >= 0, "journal: %s", strerror(-journal));
	send_fds(r, &d->connect, &journal, 1);
	close(journal);
}

/* As on a kernel without io_uring. */
static void forbid_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(3);
}

static void child(struct crash_rig *r, int sock)
{
	char spec[80];
	struct worker_options o = { .sock = sock, .hv = spec, .domid = r->domid, .place = r->place, .memory = 4 << 20 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(spec, sizeof(spec), "local:%s", r->dir);
	if (r->no_uring) {
		log_init(LOG_LEVEL_ERR); /* it would say each time that it has none */
		forbid_uring();
	}
	_exit(worker_main(&o));
}

void crash_start(struct crash_rig *r)
{
	int pair[2], size = 256 * 1024;

	CRASH_CHECK(r, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "%s", strerror(errno));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	r->sock = pair[0];
	for (unsigned i = 0; i < r->nr_devs; i++)
		send_device(r, &r->dev[i]);
	memset(page->passed, 0, sizeof(page->passed));
	r->pid = fork();
	if (r->pid == 0) {
		close(pair[0]);
		child(r, pair[1]);
	}
	CRASH_CHECK(r, r->pid > 0, "fork: %s", strerror(errno));
	close(pair[1]);
}

/* What holds a journal's lock may outlive the process: the kernel, with its I/O. */
static void wait_for_fence(struct crash_rig *r)
{
	uint64_t until = pvb_now_ms() + CRASH_WAIT_MS;

	for (unsigned i = 0; i < r->nr_devs; i++)
		while (!keep_fenced(&r->dev[i].dev)) {
			CRASH_CHECK(r, pvb_now_ms() < until, "the dead worker's journal stays locked");
			poll(NULL, 0, 1);
		}
}

/* Returns when its successor has started, or it was not to die. */
static void bury(struct crash_rig *r)
{
	int status = 0;
	pid_t pid = r->pid;

	waitpid(pid, &status, 0);
	r->pid = 0;
	close(r->sock);
	r->sock = -1;
	CRASH_CHECK(r, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && page->nth &&
		       page->passed[page->point] == page->nth, "the worker ended with %#x", status);
	r->deaths++;
	died_at[page->point]++;
	page->point = r->then_point;
	page->nth = r->deaths == 1 ? r->then_nth : 0;
	wait_for_fence(r);
	crash_start(r);
}

/* True: the answer to crash_idle() was among them. */
static bool hear(struct crash_rig *r)
{
	int fds[IPC_MAX_FDS], rc;
	unsigned nr_fds;
	struct ipc_msg m;
	bool pong = false;

	while ((rc = ipc_recv(r->sock, &m, fds, &nr_fds)) > 0) {
		ipc_close_fds(fds, nr_fds);
		if (m.type == IPC_DISCONNECTED)
			pong = true;
		else if (m.type == IPC_HELLO || m.type == IPC_ATTACHED || m.type == IPC_CONNECTED)
			CRASH_CHECK(r, m.rc == 0, "worker's message %u: %s", m.type, m.u.text);
		else
			CRASH_CHECK(r, m.type == IPC_REFUSED || m.type == IPC_ALARM, "worker's message %u: %s", m.type, m.u.text);
	}
	if (rc < 0)
		bury(r);
	return pong;
}

/* One wait for the guest's events and the worker's messages. */
static void wait_once(struct crash_rig *r, uint64_t until, const char *what, bool *event, bool *pong)
{
	struct pollfd p[2] = { { .fd = r->sock, .events = POLLIN }, { .fd = pvb_hv_evt_fd(r->hv), .events = POLLIN } };
	uint64_t now = pvb_now_ms();

	CRASH_CHECK(r, now < until, "waited %d ms for %s", CRASH_WAIT_MS, what);
	poll(p, 2, (int)(until - now));
	if (p[0].revents)
		*pong |= hear(r);
	r->nr_rung = p[1].revents ? pvb_hv_evt_take(r->hv, r->rung, 16) : 0;
	if (r->nr_rung > 0)
		pvb_hv_evt_unmask(r->hv, r->rung, (unsigned)r->nr_rung);
	*event |= r->nr_rung > 0;
}

bool crash_rang(const struct crash_rig *r, uint32_t port)
{
	for (int i = 0; i < r->nr_rung; i++)
		if (r->rung[i] == port)
			return true;
	return false;
}

void crash_wait(struct crash_rig *r, bool (*done)(void *arg), void *arg, const char *what)
{
	uint64_t until = pvb_now_ms() + CRASH_WAIT_MS;
	bool pong = false;

	for (;;) {
		bool event = false;

		wait_once(r, until, what, &event, &pong);
		if (event && done(arg))
			return;
	}
}

static void disconnect(struct crash_rig *r, uint32_t devid, const char *what)
{
	struct ipc_msg ask = { .type = IPC_DISCONNECT, .class = r->dev[0].attach.class, .domid = r->domid, .devid = devid };
	uint64_t until = pvb_now_ms() + CRASH_WAIT_MS;
	bool pong = false;

	for (;;) {
		unsigned deaths = r->deaths;
		bool event = false;

		ipc_send(r->sock, &ask, NULL, 0); /* fails if it just died: then its successor is asked */
		while (!pong && r->deaths == deaths)
			wait_once(r, until, what, &event, &pong);
		if (pong)
			return;
	}
}

void crash_idle(struct crash_rig *r)
{
	disconnect(r, UINT32_MAX, "the worker to be idle"); /* there is no such device, and it says so */
}

void crash_disconnect(struct crash_rig *r)
{
	disconnect(r, r->dev[0].attach.devid, "the rings to be let go");
}

void crash_stop(struct crash_rig *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
	close(r->sock);
	r->sock = -1;
	wait_for_fence(r);
}

/* ---- all cases ----------------------------------------------------------------------------------------------------- */

static void run_once(struct crash_rig *r, const struct crash_scenario *s, uint32_t point, uint32_t nth)
{
	r->deaths = 0;
	page->point = r->first_point = point;
	page->nth = r->first_nth = nth;
	s->run(r, s);
}

/* Events and asynchronous I/O come when they come, and the same place is not passed as often each time: some tries, then it
 * is counted. */
static void run(struct crash_rig *r, const struct crash_scenario *s, uint32_t point, uint32_t nth, unsigned deaths)
{
	unsigned tries = 0;
	char name[128];

	do
		run_once(r, s, point, nth);
	while (r->deaths < deaths && ++tries < TRIES);
	nr_cases++;
	if (r->deaths < deaths) {
		nr_missed++;
		name_point(point, nth, name, sizeof(name));
		printf("%s, rings from %#x: nobody came by %s%s\n", r->what, r->start, name, deaths > 1 ? " twice" : "");
	}
}

/* Of the worker that ran last. */
static void passings(uint32_t *passed)
{
	memcpy(passed, page->passed, sizeof(page->passed));
}

static unsigned turn;

bool crash_stride(const char *arg, unsigned *stride)
{
	int end = 0;

	if (strcmp(arg, "--all") == 0) {
		*stride = 1;
		return true;
	}
	turn = 0;
	return (sscanf(arg, "--stride=%u%n:%u%n", stride, &end, &turn, &end) >= 1) && *stride && !arg[end];
}

/* A point where nobody has died yet is not left out. */
static bool skipped(uint32_t point, unsigned stride)
{
	if (turn++ % stride == 0 || died_at[point] == 0)
		return false;
	nr_skipped++;
	return true;
}

/* The successor of who died there dies as well, wherever it comes by.  Its places are those of one that lives. */
static void die_twice(struct crash_rig *r, const struct crash_scenario *s, uint32_t point, uint32_t nth, unsigned stride)
{
	uint32_t passed[CRASH_MAX_POINTS];

	passings(passed);
	for (uint32_t p = 0; p < nr_points(); p++) {
		for (uint32_t n = 1; n <= passed[p]; n++) {
			if (skipped(p, stride))
				continue;
			r->then_point = p;
			r->then_nth = n;
			run(r, s, point, nth, 2);
		}
	}
	r->then_nth = 0;
}

void crash_all(struct crash_rig *r, const struct crash_scenario *s, uint32_t start, unsigned stride, bool twice)
{
	uint32_t passed[CRASH_MAX_POINTS];

	r->what = s->name;
	r->start = start;
	run_once(r, s, 0, 0);
	passings(passed);
	for (uint32_t p = 0; p < nr_points(); p++) {
		for (uint32_t n = 1; n <= passed[p]; n++) {
			if (twice ? n != passed[p] / 2 + 1 : skipped(p, stride))
				continue;
			run(r, s, p, n, 1);
			if (twice && r->deaths == 1)
				die_twice(r, s, p, n, stride);
		}
	}
}

bool crash_report(const char *program)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < nr_points(); i++) {
		const struct crash_point *p = &__start_pvb_crash_points[i];

		if (died_at[i])
			continue;
		missing++;
		fprintf(stderr, "%s: nobody has died at %s (%s, %s:%lu)\n", program, p->name, base(p->object), base(p->file),
			p->line);
	}
	printf("%s: %u points, %u cases, %u of them without a death; %u left out by the stride; %u points not died at\n",
	       program, nr_points(), nr_cases, nr_missed, nr_skipped, missing);
	if (nr_missed > nr_cases / MISSED) {
		fprintf(stderr, "%s: in more than one case of %u nobody died\n", program, MISSED);
		return false;
	}
	return missing == 0;
}
