// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-stage.h.  What there is to see is looked at by look_*(), in the process where pvbackd's is a neighbour:
 * the test itself on the local fabric, stage_answer() in domain 0 of Xen. */
#include "unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
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
static int ctl = -1;                   /* pvbackd's control socket; domain 0 of Xen only */

#define WHY 300 /* bytes of what is wrong */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static bool wrong(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, WHY, fmt, ap);
	va_end(ap);
	return false;
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

/* ---- what is to be seen beside pvbackd -------------------------------------------------------------------- */

struct usage {
	unsigned fds, maps, kib;
};
static struct usage mark, worker_mark;
static long log_mark;
static uint64_t last_io;

static void usage(pid_t pid, struct usage *u)
{
	char path[64], line[1024];
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
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		u->maps++;
	if (f != NULL)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "VmRSS: %u", &u->kib);
	if (f != NULL)
		fclose(f);
}

/* A little more is the allocator's; the sanitizers keep what was freed. */
static bool same(const struct usage *now, const struct usage *then)
{
#ifdef PVB_SANITIZED
	bool more = false;
#else
	bool more = now->maps > then->maps + 4 || now->kib > then->kib + 1024;
#endif

	return !more && now->fds == then->fds;
}

static bool differ(char *why, const char *who, const struct usage *now, const struct usage *then)
{
	return wrong(why, "%s: %u descriptors, %u mappings, %u KiB; before %u, %u, %u", who, now->fds, now->maps, now->kib,
		     then->fds, then->maps, then->kib);
}

/* Is this "pvbackd-worker --worker SOCKET DOMID ..." of the liar? */
static bool is_liars(pid_t pid)
{
	char path[64], args[200] = "", *at = args;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "r");
	if (f == NULL || fread(args, 1, sizeof(args) - 1, f) == 0)
		args[0] = '\0';
	if (f != NULL)
		fclose(f);
	for (unsigned i = 0; i < 3 && at < args + sizeof(args) - 1; i++)
		at += strlen(at) + 1;
	return strcmp(args, "pvbackd-worker") == 0 && strtoul(at, NULL, 10) == liar_domid;
}

static pid_t liars_worker(void)
{
	char path[64];
	pid_t pid, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", backd, backd);
	f = fopen(path, "r");
	while (f != NULL && found == 0 && fscanf(f, "%d", &pid) == 1)
		if (is_liars(pid))
			found = pid;
	if (f != NULL)
		fclose(f);
	return found;
}

/* Reads and writes of the honest guest; on Xen those that pvbackd has answered. */
static uint64_t honest_io(void)
{
	static char text[65536];
	size_t have = 0;
	uint64_t sum = 0;
	ssize_t n;

	if (ctl < 0)
		return __atomic_load_n(&good.rounds, __ATOMIC_RELAXED);
	n = snprintf(text, sizeof(text), "{\"cmd\":\"stats\",\"domid\":%u}\n", stage_good_domid);
	if (write(ctl, text, (size_t)n) != n)
		return 0;
	do {
		n = read(ctl, text + have, sizeof(text) - 1 - have);
		have += n > 0 ? (size_t)n : 0;
	} while (n > 0 && memchr(text + have - n, '\n', (size_t)n) == NULL);
	text[have] = '\0';
	for (const char *at = text; (at = strstr(at, "\"count\":")) != NULL; at++)
		sum += strtoull(at + 8, NULL, 10);
	return sum;
}

static bool look_good(char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS, now;

	while ((now = honest_io()) < last_io + 4 && pvb_now_ms() < until)
		nap();
	if (now < last_io + 4)
		return wrong(why, "the honest guest stands at %llu", (unsigned long long)now);
	last_io = now;
	if (kill(backd, 0) < 0 || (ctl < 0 && waitpid(backd, NULL, WNOHANG) != 0))
		return wrong(why, "pvbackd is gone");
	return true;
}

static void look_rate(const char *when)
{
	uint64_t before = honest_io(), t = pvb_now_ms(), ms = ctl < 0 ? 200 : 2000;

	while (pvb_now_ms() < t + ms)
		nap();
	printf("honest guest, %s: %llu requests a second\n", when, (unsigned long long)((honest_io() - before) * 1000 / ms));
	fflush(stdout);
}

/* Lines of the log since the mark; those with part in them, if there is one. */
static unsigned log_lines(const char *part)
{
	char line[2048];
	unsigned n = 0;
	FILE *f = fopen(log_path, "r");

	if (f == NULL)
		return UINT32_MAX;
	fseek(f, log_mark, SEEK_SET);
	while (fgets(line, sizeof(line), f) != NULL)
		n += part == NULL || strstr(line, part) != NULL;
	fclose(f);
	return n;
}

static bool look_at_most(unsigned lines, char *why)
{
	unsigned n = log_lines(NULL);

	printf("%u lines in the log, limit %u\n", n, lines);
	fflush(stdout);
	return n <= lines || wrong(why, "%u lines in the log, expected at most %u", n, lines);
}

static bool look_says(const char *part, char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS / 2;

	while (log_lines(part) == 0 && pvb_now_ms() < until)
		nap();
	return log_lines(part) != 0 || wrong(why, "the log does not say \"%s\"", part);
}

static void look_mark(void)
{
	FILE *f = fopen(log_path, "r");

	usage(backd, &mark);
	if (f != NULL && fseek(f, 0, SEEK_END) == 0)
		log_mark = ftell(f);
	if (f != NULL)
		fclose(f);
}

/* Only Xen itself can tell which grants are mapped: a command of the lab asks it. */
static bool look_grants(char *why)
{
	char command[64], text[200] = "";
	FILE *f;

	snprintf(command, sizeof(command), "mapped_grants %u", liar_domid);
	f = popen(command, "r");
	if (f == NULL || fread(text, 1, sizeof(text) - 1, f) != 0)
		wrong(why, "grants still mapped: %s", text);
	return f != NULL && pclose(f) == 0 && text[0] == '\0';
}

static bool look_idle(char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	struct usage now;

	while (liars_worker() != 0 && pvb_now_ms() < until)
		nap();
	if (liars_worker() != 0)
		return wrong(why, "the liar's worker is left");
	do
		usage(backd, &now);
	while (!same(&now, &mark) && pvb_now_ms() < until && (nap(), true));
	if (!same(&now, &mark))
		return differ(why, "pvbackd", &now, &mark);
	snprintf(why, WHY, "Xen does not tell of its grants");
	return ctl < 0 || look_grants(why);
}

static bool look_worker(bool first, char *why)
{
	pid_t pid = liars_worker();
	struct usage now;

	if (pid == 0)
		return wrong(why, "the liar has no worker");
	usage(pid, first ? &worker_mark : &now);
	return first || same(&now, &worker_mark) || differ(why, "the worker", &now, &worker_mark);
}

/* ---- the same, asked for ------------------------------------------------------------------------------------ */

#define HERE_OR_ASK(here, ...)                                                                                         \
	do {                                                                                                           \
		char why[WHY] = "";                                                                                    \
		if (stage_on_xen)                                                                                      \
			ask(__VA_ARGS__);                                                                              \
		else if (!(here))                                                                                      \
			fail_msg("%s", why);                                                                           \
	} while (0)

void stage_mark(void) { HERE_OR_ASK((look_mark(), true), "mark"); }
void stage_idle(void) { HERE_OR_ASK(look_idle(why), "idle"); }
void stage_good(void) { HERE_OR_ASK(look_good(why), "good"); }
void stage_rate(const char *when) { HERE_OR_ASK((look_rate(when), true), "rate %s", when); }
void stage_log_at_most(unsigned lines) { HERE_OR_ASK(look_at_most(lines, why), "lines %u", lines); }
void stage_log_says(const char *part) { HERE_OR_ASK(look_says(part, why), "says %s", part); }
void stage_worker_mark(void) { HERE_OR_ASK(look_worker(true, why), "worker-mark"); }
void stage_worker_same(void) { HERE_OR_ASK(look_worker(false, why), "worker-same"); }
void stage_worker_kill(int sig) { HERE_OR_ASK(kill(liars_worker(), sig) == 0, "worker-kill %d", sig); }

/* ---- domain 0 of Xen: answers ------------------------------------------------------------------------------ */

static bool answer(const char *question, char *why)
{
	const char *arg = strchr(question, ' ');
	size_t len = arg != NULL ? (size_t)(arg++ - question) : strlen(question);

#define IS(word) (len == strlen(word) && memcmp(question, word, len) == 0)
	if (IS("good"))
		return look_good(why);
	if (IS("idle"))
		return look_idle(why);
	if (IS("worker-mark") || IS("worker-same"))
		return look_worker(IS("worker-mark"), why);
	if (IS("lines") && arg != NULL)
		return look_at_most((unsigned)strtoul(arg, NULL, 10), why);
	if (IS("says") && arg != NULL)
		return look_says(arg, why);
	if (IS("worker-kill") && arg != NULL)
		return kill(liars_worker(), atoi(arg)) == 0;
	if (IS("mark"))
		look_mark();
	else if (IS("rate") && arg != NULL)
		look_rate(arg);
	else
		return wrong(why, "what?");
	return true;
}

static bool is_new(const char *value, void *arg)
{
	unsigned long *last = arg, n = value != NULL ? strtoul(value, NULL, 10) : 0;

	if (n == 0 || n == *last)
		return false;
	*last = n;
	return true;
}

int stage_answer(char **argv)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/run/pvbackd/ctl" };
	char path[64], text[WHY + 40], why[WHY], *question, *words;
	struct pvb_error err = { 0 };
	unsigned long last = 0;

	backd = atoi(argv[0]);
	stage_on_xen = true;
	liar_domid = (uint32_t)strtoul(argv[1], NULL, 10);
	stage_good_domid = (uint32_t)strtoul(argv[2], NULL, 10);
	snprintf(log_path, sizeof(log_path), "%s", argv[3]);
	ctl = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl < 0 || connect(ctl, (struct sockaddr *)&to, sizeof(to)) < 0 || pvb_store_open(&store, "xen", &err) < 0) {
		fprintf(stderr, "%s: %s %s\n", to.sun_path, strerror(errno), err.text);
		return 1;
	}
	for (;;) {
		snprintf(path, sizeof(path), "/local/domain/%u/data/ask", liar_domid);
		if (pvb_store_wait(store, path, is_new, &last, 600000) < 0 ||
		    pvb_store_read(store, PVB_NO_TXN, path, &question) < 0)
			return 1;
		words = strchr(question, ' ');
		why[0] = '\0';
		if (words != NULL && answer(words + 1, why))
			snprintf(text, sizeof(text), "%lu ok", last);
		else
			snprintf(text, sizeof(text), "%lu no: %s", last, why);
		free(question);
		snprintf(path, sizeof(path), "/local/domain/%u/data/answer", liar_domid);
		if (pvb_store_write(store, PVB_NO_TXN, path, text) < 0)
			return 1;
	}
}
