// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-stage.h.  Local: process ids and /proc.  Xen: questions. */
#include "unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "config.h"
#include "bus/local/fabric.h"
#include "bus/loop.h"
#include "tests/hostile-stage.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

bool stage_on_xen;
uint32_t stage_good_domid;

static char dir[64], spec[80], log_path[100];
static struct pvb_fabric *fabric;
static struct pvb_store *store;        /* local: as domain 0; Xen: as the liar */
static pid_t backd;
static uint32_t liar_domid;

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* ---- Xen: questions to domain 0 ------------------------------------------------------------------------- */

static bool has_answer(const char *value, void *arg)
{
	unsigned long want = *(unsigned *)arg;

	return value != NULL && strtoul(value, NULL, 10) == want;
}

static void ask(const char *fmt, ...)
{
	char home[64], path[100], text[300], *answer, *rest;
	static unsigned seq;
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "%u ", ++seq);
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	pvb_store_home(liar_domid, home, sizeof(home));
	snprintf(path, sizeof(path), "%s/data/ask", home);
	assert_int_equal(pvb_store_write(store, PVB_NO_TXN, path, text), 0);
	snprintf(path, sizeof(path), "%s/data/answer", home);
	if (pvb_store_wait(store, path, has_answer, &seq, 5 * STAGE_WAIT_MS) < 0)
		fail_msg("no answer to: %s", text);
	assert_int_equal(pvb_store_read(store, PVB_NO_TXN, path, &answer), 0);
	rest = strchr(answer, ' ');
	if (rest == NULL || strcmp(rest, " ok") != 0)
		fail_msg("%s: domain 0 says %s", text, answer);
	free(answer);
}

/* ---- local: the honest guest, its own thread, its own handles ------------------------------------------- */

static struct {
	struct hfront front;
	pthread_t thread;
	int stop;
	unsigned rounds;
	uint64_t worst_ms;
	char wrong[100];
} good;

static void *do_good(void *arg)
{
	uint8_t slot[PVF_SLOT_MAX];
	uint64_t seed = 3;

	while (!__atomic_load_n(&good.stop, __ATOMIC_RELAXED)) {
		uint64_t sector = rnd(&seed) % 256 * 8, t = pvb_now_ms();
		uint8_t *out = hfront_page(&good.front, 0), *in = hfront_page(&good.front, 2);
		int rc;

		for (unsigned i = 0; i < PVB_PAGE_SIZE; i++)
			out[i] = (uint8_t)rnd(&seed);
		hfront_rw(&good.front, slot, BLKIF_OP_WRITE, 1, sector, 0, 1);
		rc = hfront_roundtrip(&good.front, 0, slot, 1, STAGE_WAIT_MS);
		hfront_rw(&good.front, slot, BLKIF_OP_READ, 2, sector, 2, 1);
		if (rc == 0)
			rc = hfront_roundtrip(&good.front, 0, slot, 2, STAGE_WAIT_MS);
		if (rc != 0 || memcmp(out, in, PVB_PAGE_SIZE) != 0) {
			snprintf(good.wrong, sizeof(good.wrong), "round %u: %d", good.rounds, rc);
			break;
		}
		t = pvb_now_ms() - t;
		if (t > good.worst_ms)
			good.worst_ms = t;
		__atomic_fetch_add(&good.rounds, 1, __ATOMIC_RELAXED);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* others share the machine */
	}
	return NULL;
}

static unsigned rounds(void)
{
	return __atomic_load_n(&good.rounds, __ATOMIC_RELAXED);
}

void stage_good(void)
{
	unsigned now = rounds();
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;

	if (stage_on_xen) {
		ask("good");
		return;
	}
	while (rounds() < now + 3 && pvb_now_ms() < until)
		nap();
	assert_true(rounds() >= now + 3);
	assert_int_equal(kill(backd, 0), 0);
	assert_int_equal(waitpid(backd, NULL, WNOHANG), 0);
}

void stage_rate(const char *when)
{
	unsigned before = rounds();
	uint64_t t = pvb_now_ms();

	if (stage_on_xen) {
		ask("rate %s", when);
		return;
	}
	while (pvb_now_ms() < t + 200)
		nap();
	print_message("honest guest, %s: %u rounds a second\n", when, (rounds() - before) * 5);
}

/* ---- local: the stage ----------------------------------------------------------------------------------- */

static void start_pvbackd(void)
{
	const char *top = getenv("abs_top_builddir");
	char path[300], byte;
	int ready[2];

	snprintf(path, sizeof(path), "%s/backend/pvbackd", top != NULL ? top : "..");
	snprintf(log_path, sizeof(log_path), "%s.log", dir);
	assert_int_equal(pipe(ready), 0);
	backd = fork();
	assert_true(backd >= 0);
	if (backd == 0) {
		int fd = open(log_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		close(ready[0]);
		dup2(fd, 1);
		dup2(fd, 2);
		dup2(ready[1], 3);
		if (ready[1] != 3)
			close(ready[1]);
		execl(path, path, "--hv", spec, "--ready-fd", "3", NULL);
		_exit(127);
	}
	close(ready[1]);
	assert_true(read(ready[0], &byte, 1) >= 0); /* closed when it serves, or when it is dead */
	close(ready[0]);
	assert_int_equal(waitpid(backd, NULL, WNOHANG), 0);
}

/* What a toolstack writes for a domain before its devices. */
static void make_home(uint32_t domid)
{
	char path[64], num[16];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	assert_int_equal(pvb_store_write(store, PVB_NO_TXN, path, ""), 0);
	assert_int_equal(pvb_store_perms(store, PVB_NO_TXN, path, 0, domid), 0);
	snprintf(path, sizeof(path), "/local/domain/%u/domid", domid);
	snprintf(num, sizeof(num), "%u", domid);
	assert_int_equal(pvb_store_write(store, PVB_NO_TXN, path, num), 0);
}

static void make_disk(uint32_t domid, uint32_t devid, struct hfront *h)
{
	const struct pvb_pair keys[] = { { "params", "mem:size=1M" }, { "mode", devid == STAGE_RO_DEVID ? "r" : "w" },
					 { "online", "1" }, { "discard-enable", "1" } };
	struct pvb_error err = { 0 };
	char who[90];

	if (hfront_offer(store, NULL, 0, domid, devid, keys, 4, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(who, sizeof(who), "%s:%u", spec, domid);
	if (hfront_open(h, who, devid, &err) < 0)
		fail_msg("%s", err.text);
}

static void local_up(struct hfront *liar, struct hfront *readonly)
{
	struct pvb_error err = { 0 };

	snprintf(dir, sizeof(dir), "/tmp/pvb-hostile-vbd.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(spec, sizeof(spec), "local:%s", dir);
	if (pvb_fabric_start(&fabric, dir, &err) < 0 || pvb_store_open(&store, spec, &err) < 0 ||
	    pvb_local_domain_create(dir, "liar", 4096, &liar_domid, &err) < 0 ||
	    pvb_local_domain_create(dir, "good", 256, &stage_good_domid, &err) < 0)
		fail_msg("%s", err.text);
	start_pvbackd();
	make_home(stage_good_domid);
	make_disk(stage_good_domid, STAGE_DEVID, &good.front);
	if (hfront_connect(&good.front, &(struct hfront_options){ .pages = 4 }, STAGE_WAIT_MS, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pthread_create(&good.thread, NULL, do_good, NULL), 0);
	make_home(liar_domid);
	make_disk(liar_domid, STAGE_DEVID, liar);
	make_disk(liar_domid, STAGE_RO_DEVID, readonly);
}

void stage_up(struct hfront *liar, struct hfront *readonly)
{
	const char *hv = getenv("PVBUS_TEST_HV"), *domid = getenv("HOSTILE_GOOD_DOMID");
	struct pvb_error err = { 0 };

	stage_on_xen = hv != NULL && strcmp(hv, "xen") == 0;
	if (!stage_on_xen) {
		local_up(liar, readonly);
	} else {
		assert_non_null(domid);
		stage_good_domid = (uint32_t)strtoul(domid, NULL, 10);
		if (hfront_open(liar, "xen", STAGE_DEVID, &err) < 0 || hfront_open(readonly, "xen", STAGE_RO_DEVID, &err) < 0 ||
		    pvb_store_open(&store, "xen", &err) < 0)
			fail_msg("%s", err.text);
		liar_domid = liar->domid;
	}
	assert_int_equal(hfront_wait_back(liar, 1u << PVB_INIT_WAIT, STAGE_WAIT_MS), PVB_INIT_WAIT);
	assert_int_equal(hfront_wait_back(readonly, 1u << PVB_INIT_WAIT, STAGE_WAIT_MS), PVB_INIT_WAIT);
}

void stage_down(struct hfront *liar, struct hfront *readonly)
{
	int status;

	if (liar->hv == NULL)
		fail_msg("the stage was never set");
	if (!stage_on_xen) {
		stage_good();
		__atomic_store_n(&good.stop, 1, __ATOMIC_RELAXED);
		pthread_join(good.thread, NULL);
		if (good.wrong[0] != '\0')
			fail_msg("the honest guest: %s", good.wrong);
		print_message("honest guest: %u rounds, the slowest took %llu ms\n", good.rounds,
			      (unsigned long long)good.worst_ms);
		kill(backd, SIGTERM);
		assert_int_equal(waitpid(backd, &status, 0), backd);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		hfront_close(&good.front);
	}
	hfront_close(liar);
	hfront_close(readonly);
	pvb_store_close(store);
	if (!stage_on_xen) {
		pvb_fabric_stop(fabric);
		rmdir(dir);
		unlink(log_path);
	}
}

void stage_destroy_liar(struct hfront *liar)
{
	char path[100];
	struct pvb_error err;
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;

	assert_int_equal(pvb_local_domain_destroy(dir, liar_domid, &err), 0);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u", liar_domid, liar->devid);
	while (pvb_state_read(store, PVB_NO_TXN, path) != PVB_CLOSED && pvb_now_ms() < until)
		nap();
	assert_int_equal(pvb_state_read(store, PVB_NO_TXN, path), PVB_CLOSED);
}

/* ---- local: what /proc says ------------------------------------------------------------------------------ */

struct usage {
	unsigned fds, maps, kib;
};
static struct usage mark, worker_mark;
static long log_mark;

static void usage(pid_t pid, struct usage *u)
{
	char path[64], line[256];
	struct dirent *e;
	FILE *f;
	DIR *d;

	memset(u, 0, sizeof(*u));
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		u->fds += e->d_name[0] != '.';
	if (d != NULL)
		closedir(d);
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		unsigned kib;

		u->maps += strncmp(line, "Size:", 5) == 0;
		if (sscanf(line, "Rss: %u", &kib) == 1)
			u->kib += kib;
	}
	if (f != NULL)
		fclose(f);
}

/* A little more is the allocator's; the sanitizers keep what was freed. */
static void assert_same(const char *who, const struct usage *now, const struct usage *then)
{
#ifdef PVB_SANITIZED
	bool more = false;
#else
	bool more = now->maps > then->maps + 4 || now->kib > then->kib + 1024;
#endif

	if (more || now->fds != then->fds)
		fail_msg("%s: %u descriptors, %u mappings, %u KiB; before %u, %u, %u", who, now->fds, now->maps, now->kib,
			 then->fds, then->maps, then->kib);
}

/* pvbackd's children; how many.  The honest guest's is the oldest. */
static unsigned workers(pid_t pids[16])
{
	char path[64];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", backd, backd);
	f = fopen(path, "r");
	assert_non_null(f);
	while (n < 16 && fscanf(f, "%d", &pids[n]) == 1)
		n++;
	fclose(f);
	return n;
}

static pid_t liars_worker(void)
{
	static pid_t honest;
	pid_t pids[16];
	unsigned n = workers(pids);

	if (honest == 0) { /* first asked while nobody else has one */
		assert_int_equal(n, 1);
		honest = pids[0];
	}
	for (unsigned i = 0; i < n; i++)
		if (pids[i] != honest)
			return pids[i];
	return 0;
}

void stage_mark(void)
{
	FILE *f;

	if (stage_on_xen) {
		ask("mark");
		return;
	}
	assert_int_equal(liars_worker(), 0);
	usage(backd, &mark);
	f = fopen(log_path, "r");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	log_mark = ftell(f);
	fclose(f);
}

void stage_idle(void)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	struct usage now;

	if (stage_on_xen) {
		ask("idle");
		return;
	}
	while (liars_worker() != 0 && pvb_now_ms() < until)
		nap();
	assert_int_equal(liars_worker(), 0);
	do
		usage(backd, &now);
	while (now.fds != mark.fds && pvb_now_ms() < until);
	assert_same("pvbackd", &now, &mark);
}

void stage_worker_mark(void)
{
	pid_t pid;

	if (stage_on_xen) {
		ask("worker-mark");
		return;
	}
	pid = liars_worker();
	assert_true(pid > 0);
	usage(pid, &worker_mark);
}

void stage_worker_same(void)
{
	struct usage now;

	if (stage_on_xen) {
		ask("worker-same");
		return;
	}
	usage(liars_worker(), &now);
	assert_same("the worker", &now, &worker_mark);
}

void stage_worker_kill(int sig)
{
	if (stage_on_xen)
		ask("worker-kill %d", sig);
	else
		assert_int_equal(kill(liars_worker(), sig), 0);
}

/* ---- the log --------------------------------------------------------------------------------------------- */

/* Lines since the mark; those with part in them, if there is one. */
static unsigned log_lines(const char *part)
{
	char line[2048];
	unsigned n = 0;
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	fseek(f, log_mark, SEEK_SET);
	while (fgets(line, sizeof(line), f) != NULL)
		n += part == NULL || strstr(line, part) != NULL;
	fclose(f);
	return n;
}

void stage_log_at_most(unsigned lines)
{
	if (stage_on_xen)
		ask("lines %u", lines);
	else if (log_lines(NULL) > lines)
		fail_msg("%u lines in the log, expected at most %u", log_lines(NULL), lines);
}

void stage_log_says(const char *part)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;

	if (stage_on_xen) {
		ask("says %s", part);
		return;
	}
	while (log_lines(part) == 0 && pvb_now_ms() < until)
		nap();
	if (log_lines(part) == 0)
		fail_msg("the log does not say \"%s\"", part);
}
