// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-stage.h.  What there is to see is looked at by look_*(), in the process where pvbackd's is a neighbour:
 * the test itself on the local fabric, stage_answer() in domain 0 of Xen. */
#include "unit.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "bus/loop.h"
#include "tests/hostile-place.h"

static bool wrong(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, STAGE_WHY, fmt, ap);
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
	pvb_store_home(stage.liar_domid, home, sizeof(home));
	snprintf(path, sizeof(path), "%s/data/ask", home);
	assert_int_equal(pvb_store_write(stage.store, PVB_NO_TXN, path, text), 0);
	snprintf(path, sizeof(path), "%s/data/answer", home);
	if (pvb_store_wait(stage.store, path, has_answer, &seq, 5 * STAGE_WAIT_MS) < 0)
		fail_msg("no answer to: %s", text);
	assert_int_equal(pvb_store_read(stage.store, PVB_NO_TXN, path, &answer), 0);
	rest = strchr(answer, ' ');
	if (rest == NULL || strcmp(rest, " ok") != 0)
		fail_msg("%s: domain 0 says %s", text, answer);
	free(answer);
}

/* ---- what is to be seen beside pvbackd -------------------------------------------------------------------- */

struct usage {
	unsigned fds, maps, kib;
};
static struct usage mark, others_mark, worker_mark;
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

/* Workers that serve others, perhaps the liar as well (on a switch).  The memory for a pass is theirs from the
 * beginning, but counts when it is used for the first time. */
static bool others_same(const struct usage *now, const struct usage *then)
{
#ifdef PVB_SANITIZED
	return now->fds <= then->fds;
#else
	return now->fds <= then->fds && now->maps <= then->maps + 8 && now->kib <= then->kib + 40 * 1024;
#endif
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
	return strcmp(args, "pvbackd-worker") == 0 && strtoul(at, NULL, 10) == stage.liar_domid;
}

/* The liar's worker, or 0; and what all others have. */
static pid_t look_at_workers(struct usage *others)
{
	pid_t pid, found = 0;
	struct usage one;
	char path[64];
	FILE *f;

	memset(others, 0, sizeof(*others));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", stage.backd, stage.backd);
	f = fopen(path, "r");
	while (f != NULL && fscanf(f, "%d", &pid) == 1) {
		if (is_liars(pid)) {
			found = pid;
			continue;
		}
		usage(pid, &one);
		others->fds += one.fds;
		others->maps += one.maps;
		others->kib += one.kib;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

static pid_t liars_worker(void)
{
	struct usage others;

	return look_at_workers(&others);
}

/* A member of the statistics of all devices of a domain, summed up. */
static uint64_t counter(uint32_t domid, const char *name)
{
	static char text[65536];
	size_t have = 0, len;
	uint64_t sum = 0;
	char member[64];
	ssize_t n;

	n = snprintf(text, sizeof(text), "{\"cmd\":\"stats\",\"domid\":%u}\n", domid);
	if (write(stage.ctl, text, (size_t)n) != n)
		return 0;
	do {
		n = read(stage.ctl, text + have, sizeof(text) - 1 - have);
		have += n > 0 ? (size_t)n : 0;
	} while (n > 0 && memchr(text + have - n, '\n', (size_t)n) == NULL);
	text[have] = '\0';
	len = (size_t)snprintf(member, sizeof(member), "\"%s\":", name);
	for (const char *at = text; (at = strstr(at, member)) != NULL; at++)
		sum += strtoull(at + len, NULL, 10);
	return sum;
}

/* What the honest guest has done; on Xen what pvbackd has done for it. */
static uint64_t honest_io(void)
{
	if (stage.is_dom0)
		return counter(stage_good_domid, stage.kind->works);
	return __atomic_load_n(&stage_honest.rounds, __ATOMIC_ACQUIRE);
}

static bool look_good(char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS, now;

	while ((now = honest_io()) < last_io + 4 && pvb_now_ms() < until)
		stage_nap();
	if (now < last_io + 4)
		return wrong(why, "the honest guest stands at %llu %.200s", (unsigned long long)now, stage_honest.wrong);
	last_io = now;
	if (kill(stage.backd, 0) < 0 || (!stage.is_dom0 && waitpid(stage.backd, NULL, WNOHANG) != 0))
		return wrong(why, "pvbackd is gone");
	return true;
}

static void look_rate(const char *when)
{
	uint64_t before = honest_io(), t = pvb_now_ms(), ms = stage.is_dom0 ? 2000 : 200;

	while (pvb_now_ms() < t + ms)
		stage_nap();
	printf("honest guest, %s: %llu requests a second\n", when,
	       (unsigned long long)((honest_io() - before) * 1000 / ms));
	fflush(stdout);
}

/* Round trips of the honest guest, in us: undisturbed, and with the liar at work. */
static struct pool {
	uint32_t us[STAGE_TIMES];
	unsigned nr;
} pools[2];

static void add_time(struct pool *p, uint64_t us)
{
	if (p->nr < STAGE_TIMES)
		p->us[p->nr++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static bool look_lap(bool troubled, char *why)
{
	struct pool *p = &pools[troubled];
	uint64_t until = pvb_now_ms() + (stage.is_dom0 ? 3000 : 250), t;
	unsigned first = __atomic_load_n(&stage_honest.rounds, __ATOMIC_ACQUIRE), end;

	if (stage.is_dom0 && stage.kind->ping != NULL) {
		while (pvb_now_ms() < until) {
			t = pvb_now_ns();
			if (!stage.kind->ping(why))
				return false;
			add_time(p, (pvb_now_ns() - t) / 1000);
			stage_nap();
		}
		return true;
	}
	while (pvb_now_ms() < until)
		stage_nap();
	end = __atomic_load_n(&stage_honest.rounds, __ATOMIC_ACQUIRE);
	for (first = end - first < STAGE_TIMES ? first : end - STAGE_TIMES; first != end; first++)
		add_time(p, __atomic_load_n(&stage_honest.us[first % STAGE_TIMES], __ATOMIC_RELAXED));
	return true;
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct pool *p, unsigned percent)
{
	return p->nr > 0 ? p->us[(uint64_t)p->nr * percent / 100] : 0;
}

/* A median some times larger is the machine's; one that is larger by a stall's 50 ms is not.  Not so where all have
 * one emulated processor: who uses his share of it is no liar. */
static bool look_compare(const char *what, char *why)
{
	uint32_t quiet, troubled;

	for (unsigned i = 0; i < 2; i++)
		qsort(pools[i].us, pools[i].nr, sizeof(pools[i].us[0]), by_time);
	printf("%s: honest round trip p50 %u us, p99 %u us (%u); beside one that computes p50 %u us, p99 %u us (%u)\n", what,
	       percentile(&pools[1], 50), percentile(&pools[1], 99), pools[1].nr, percentile(&pools[0], 50),
	       percentile(&pools[0], 99), pools[0].nr);
	fflush(stdout);
	quiet = percentile(&pools[0], 50);
	troubled = percentile(&pools[1], 50);
	pools[0].nr = pools[1].nr = 0;
	return stage.is_dom0 || troubled <= 10 * quiet + 25000 ||
	       wrong(why, "%s: the honest guest's median round trip is %u us, else %u", what, troubled, quiet);
}

static bool look_counter(const char *name, uint64_t least, uint64_t most, char *why)
{
	uint64_t n = counter(stage.liar_domid, name);

	printf("%llu %s, expected %llu to %llu\n", (unsigned long long)n, name, (unsigned long long)least,
	       (unsigned long long)most);
	fflush(stdout);
	return (n >= least && n <= most) || wrong(why, "%llu %s, expected %llu to %llu", (unsigned long long)n, name,
						  (unsigned long long)least, (unsigned long long)most);
}

/* Lines of the log since the mark; those with part in them, if there is one. */
static unsigned log_lines(const char *part)
{
	char line[2048];
	unsigned n = 0;
	FILE *f = fopen(stage.log_path, "r");

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
		stage_nap();
	return log_lines(part) != 0 || wrong(why, "the log does not say \"%s\"", part);
}

static void look_mark(void)
{
	FILE *f = fopen(stage.log_path, "r");

	usage(stage.backd, &mark);
	look_at_workers(&others_mark);
	if (f != NULL && fseek(f, 0, SEEK_END) == 0)
		log_mark = ftell(f);
	if (f != NULL)
		fclose(f);
}

/* Xen itself tells which grants are mapped, if a command of the lab asks it; the local fabric which were given back
 * while they were. */
static bool look_grants(char *why)
{
	char command[64], text[200] = "";
	struct pvb_local_stats st;
	struct pvb_error err;
	FILE *f;

	if (!stage.is_dom0) {
		if (pvb_local_stats(stage.dir, &st, &err) < 0)
			return wrong(why, "%s", err.text);
		return st.stuck == 0 || wrong(why, "%u pages are still mapped", st.stuck);
	}
	snprintf(why, STAGE_WHY, "Xen does not tell of its grants");
	snprintf(command, sizeof(command), "mapped_grants %u", stage.liar_domid);
	f = popen(command, "r");
	if (f == NULL || fread(text, 1, sizeof(text) - 1, f) != 0)
		wrong(why, "grants still mapped: %s", text);
	return f != NULL && pclose(f) == 0 && text[0] == '\0';
}

static bool look_idle(char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	struct usage now, others;

	while (liars_worker() != 0 && pvb_now_ms() < until)
		stage_nap();
	if (liars_worker() != 0)
		return wrong(why, "the liar's worker is left");
	do
		usage(stage.backd, &now);
	while (!same(&now, &mark) && pvb_now_ms() < until && (stage_nap(), true));
	if (!same(&now, &mark))
		return differ(why, "pvbackd", &now, &mark);
	do
		look_at_workers(&others);
	while (!others_same(&others, &others_mark) && pvb_now_ms() < until && (stage_nap(), true));
	if (!others_same(&others, &others_mark))
		return differ(why, "other workers", &others, &others_mark);
	while (!look_grants(why))
		if (pvb_now_ms() > until)
			return false;
		else
			stage_nap();
	return true;
}

static bool look_worker(bool first, char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	pid_t pid = liars_worker();
	struct usage now;

	if (pid == 0)
		return wrong(why, "the liar has no worker");
	usage(pid, &now);
	while (first && pvb_now_ms() < until) { /* what was needed to connect may still be on its way out */
		worker_mark = now;
		stage_nap();
		usage(pid, &now);
		if (now.fds == worker_mark.fds)
			return true;
	}
	if (first)
		return wrong(why, "the worker's descriptors come and go");
	return same(&now, &worker_mark) || differ(why, "the worker", &now, &worker_mark);
}

static bool look_kill(int sig, char *why)
{
	uint64_t until = pvb_now_ms() + STAGE_WAIT_MS;
	pid_t pid = liars_worker();
	char path[32], state = 0;

	if (pid == 0 || kill(pid, sig) < 0)
		return wrong(why, "the liar has no worker");
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (sig == SIGSTOP && state != 'T') { /* it may be in the middle of something */
		FILE *f = fopen(path, "r");

		if (f == NULL || fscanf(f, "%*d (%*[^)]) %c", &state) != 1 || pvb_now_ms() > until)
			state = 0;
		if (f != NULL)
			fclose(f);
		if (state == 0)
			return wrong(why, "the liar's worker can not be stopped");
	}
	return true;
}

/* ---- the same, asked for ------------------------------------------------------------------------------------ */

/* A guest that lies is busy, and on a machine with few processors that alone takes time from others: no back end can help
 * that, so it is in both figures. */
static void *compute(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

#define HERE_OR_ASK(here, ...)                                                                                         \
	do {                                                                                                           \
		char why[STAGE_WHY] = "";                                                                                    \
		if (stage_on_xen)                                                                                      \
			ask(__VA_ARGS__);                                                                              \
		else if (!(here))                                                                                      \
			fail_msg("%s", why);                                                                           \
	} while (0)

void stage_mark(void) { HERE_OR_ASK((look_mark(), true), "mark"); }
void stage_idle(void) { HERE_OR_ASK(look_idle(why), "idle"); }
void stage_good(void) { HERE_OR_ASK(look_good(why), "good"); }
void stage_rate(const char *when) { HERE_OR_ASK((look_rate(when), true), "rate %s", when); }
void stage_lap(bool troubled)
{
	pthread_t thread;
	int stop = 0;

	if (!troubled)
		assert_int_equal(pthread_create(&thread, NULL, compute, &stop), 0);
	HERE_OR_ASK(look_lap(troubled, why), "lap %d", troubled);
	if (!troubled) {
		__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
	}
}
void stage_compare(const char *what) { HERE_OR_ASK(look_compare(what, why), "compare %s", what); }
void stage_log_at_most(unsigned lines) { HERE_OR_ASK(look_at_most(lines, why), "lines %u", lines); }
void stage_log_says(const char *part) { HERE_OR_ASK(look_says(part, why), "says %s", part); }
void stage_counter(const char *name, uint64_t least, uint64_t most)
{
	HERE_OR_ASK(look_counter(name, least, most, why), "counter %llu %llu %s", (unsigned long long)least,
		    (unsigned long long)most, name);
}
void stage_worker_mark(void) { HERE_OR_ASK(look_worker(true, why), "worker-mark"); }
void stage_worker_same(void) { HERE_OR_ASK(look_worker(false, why), "worker-same"); }
void stage_worker_kill(int sig) { HERE_OR_ASK(look_kill(sig, why), "worker-kill %d", sig); }

/* ---- domain 0 of Xen: answers ------------------------------------------------------------------------------ */

static bool answer(const char *question, char *why)
{
	const char *arg = strchr(question, ' ');
	size_t len = arg != NULL ? (size_t)(arg++ - question) : strlen(question);
	unsigned long long least, most;
	char name[64];

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
	if (IS("compare") && arg != NULL)
		return look_compare(arg, why);
	if (IS("lap") && arg != NULL)
		return look_lap(*arg == '1', why);
	if (IS("counter") && arg != NULL && sscanf(arg, "%llu %llu %63s", &least, &most, name) == 3)
		return look_counter(name, least, most, why);
	if (IS("worker-kill") && arg != NULL)
		return look_kill(atoi(arg), why);
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

int stage_answer(const struct stage_kind *what, char **argv)
{
	const char *socket_path = "/run/pvbackd/ctl";
	char path[64], text[STAGE_WHY + 40], why[STAGE_WHY], *question, *words;
	struct pvb_error err = { 0 };
	unsigned long last = 0;

	stage.kind = what;
	stage.backd = atoi(argv[0]);
	stage_on_xen = stage.is_dom0 = true;
	stage.liar_domid = (uint32_t)strtoul(argv[1], NULL, 10);
	stage_good_domid = (uint32_t)strtoul(argv[2], NULL, 10);
	snprintf(stage.log_path, sizeof(stage.log_path), "%s", argv[3]);
	stage_ask_pvbackd(socket_path);
	if (stage.ctl < 0 || pvb_store_open(&stage.store, "xen", &err) < 0) {
		fprintf(stderr, "%s: %s %s\n", socket_path, strerror(errno), err.text);
		return 1;
	}
	for (;;) {
		snprintf(path, sizeof(path), "/local/domain/%u/data/ask", stage.liar_domid);
		if (pvb_store_wait(stage.store, path, is_new, &last, 600000) < 0 ||
		    pvb_store_read(stage.store, PVB_NO_TXN, path, &question) < 0)
			return 1;
		words = strchr(question, ' ');
		why[0] = '\0';
		if (words != NULL && answer(words + 1, why))
			snprintf(text, sizeof(text), "%lu ok", last);
		else
			snprintf(text, sizeof(text), "%lu no: %s", last, why);
		free(question);
		snprintf(path, sizeof(path), "/local/domain/%u/data/answer", stage.liar_domid);
		if (pvb_store_write(stage.store, PVB_NO_TXN, path, text) < 0)
			return 1;
	}
}
