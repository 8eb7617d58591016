// SPDX-License-Identifier: GPL-2.0-or-later
/* A run of the benchmark: its settings, the machine it is on, its parts in order, and the file it writes. */
#include "config.h"
#include <errno.h>
#include <fnmatch.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"
#include "cmd.h"
#include "loop.h"
#include "output.h"

/* --- rows --------------------------------------------------------------------------------------------- */

bool bench_named(const char *pattern, const char *cell, const char *subject, const char *mode)
{
	char name[620]; /* three texts of a file may have 200 each */

	snprintf(name, sizeof(name), "%s; %s; %s", cell, subject, mode);
	return !pattern || fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, cell, 0) == 0;
}

bool bench_wanted(const struct bench *b, const char *cell, const char *subject, const char *mode)
{
	if (proc_stopped() || !bench_named(b->only, cell, subject, mode))
		return false;
	if (!b->list)
		return true;
	printf("%s; %s; %s\n", cell, subject, mode);
	return false;
}

const char *bench_pinning(const struct bench *b, const struct bench_mode *m)
{
	return b->pinning[m->cpus - 1];
}

void bench_add(struct bench *b, struct json_object *row, struct json_object *counters, unsigned disturbed)
{
	double median = json_object_get_double(json_object_object_get(row, "median"));
	double seconds = (double)(pvb_now_ms() - b->begun_ms) / 1000;
	char number[32];

	out_int(row, "disturbed", disturbed);
	if (counters)
		json_object_object_add(row, "counters", counters);
	json_object_array_add(b->rows, row);
	bench_number(number, sizeof(number), median);
	if (b->p->verbose >= 0)
		fprintf(stderr, "pvl: bench: %4.0f s  %s; %s; %s: %s %s\n", seconds,
			json_object_get_string(json_object_object_get(row, "cell")),
			json_object_get_string(json_object_object_get(row, "subject")),
			json_object_get_string(json_object_object_get(row, "mode")), number,
			json_object_get_string(json_object_object_get(row, "unit")));
}

void bench_missing(struct bench *b, const char *subject, const char *fmt, ...)
{
	struct json_object *m = out_obj();
	char why[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	out_str(m, "subject", subject);
	out_str(m, "why", why);
	json_object_array_add(b->missing, m);
	pvl_note(b->p, "bench: not measured: %s: %s", subject, why);
}

static struct json_object *real(double v)
{
	char text[40];

	snprintf(text, sizeof(text), "%.6g", v);
	return json_object_new_double_s(v, text);
}

struct json_object *bench_array(const double *v, unsigned nr)
{
	struct json_object *a = out_arr();

	for (unsigned i = 0; i < nr; i++)
		json_object_array_add(a, real(v[i]));
	return a;
}

void bench_count_of(struct json_object *counters, const char *key, double value)
{
	json_object_object_add(counters, key, real(value));
}

#define SHARE 0.95

unsigned bench_good(const double *share, unsigned nr)
{
	unsigned good = 0;

	for (unsigned i = 0; i < nr; i++)
		good += share[i] >= SHARE;
	return good;
}

unsigned bench_undisturbed(double *v, const double *share, unsigned nr)
{
	unsigned good = 0;

	if (bench_good(share, nr) < 3)
		return nr;
	for (unsigned i = 0; i < nr; i++)
		if (share[i] >= SHARE)
			v[good++] = v[i];
	return good;
}

/* --- the machine --------------------------------------------------------------------------------------- */

static void cpu_name(char *buf, size_t len)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256], *colon;

	snprintf(buf, len, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, len, "%.*s", (int)len - 1, colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static struct json_object *machine(const struct bench *b)
{
	struct json_object *m = out_obj();
	char text[128] = "";
	struct utsname u;
	struct sysinfo s;
	double load[3] = { 0 };

	cpu_name(text, sizeof(text));
	out_str(m, "cpu", text);
	out_int(m, "cpus", b->nr_cpus);
	if (sysinfo(&s) == 0)
		out_int(m, "memory_mib", (long long)((uint64_t)s.totalram * s.mem_unit >> 20));
	if (uname(&u) == 0) {
		out_str(m, "machine", u.machine);
		out_str(m, "kernel", u.release);
	}
	if (getloadavg(load, 3) == 3)
		snprintf(text, sizeof(text), "%.2f %.2f %.2f", load[0], load[1], load[2]);
	out_str(m, "load", text);
	return m;
}

static struct json_object *settings(const struct bench *b)
{
	struct json_object *s = out_obj();

	out_bool(s, "quick", b->quick);
	out_int(s, "samples", b->samples);
	out_int(s, "sample_ms", b->sample_ms);
	out_bool(s, "realtime", b->realtime);
	out_int(s, "cpu_back", b->cpu[0]);
	out_int(s, "cpu_front", b->cpu[1]);
	if (b->only)
		out_str(s, "only", b->only);
	return s;
}

/* Two of the processors we may use; on a machine with one both are the same. */
static void choose_cpus(struct bench *b)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) == 0)
		CPU_SET(0, &set);
	b->nr_cpus = CPU_COUNT(&set);
	b->cpu[0] = -1;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (b->cpu[0] < 0)
			b->cpu[0] = b->cpu[1] = i;
		else if (b->cpu[1] == b->cpu[0])
			b->cpu[1] = i;
	}
	snprintf(b->pinning[0], sizeof(b->pinning[0]), "both sides on CPU %d", b->cpu[0]);
	snprintf(b->pinning[1], sizeof(b->pinning[1]), "back end on CPU %d, front end on CPU %d", b->cpu[0], b->cpu[1]);
}

/* --- beginning and end ---------------------------------------------------------------------------------- */

static int make_in(char dir[96], const char *in)
{
	int rc = 0;

	snprintf(dir, 96, "%.60s/pvl-bench.XXXXXX", in);
	if (!mkdtemp(dir)) {
		rc = -errno;
		*dir = '\0';
	}
	return rc;
}

static int make_dirs(struct bench *b, struct pvb_error *err)
{
	const char *tmp = getenv("TMPDIR");
	int rc = make_in(b->dir, tmp ? tmp : "/tmp");

	if (rc)
		return pvb_err(err, rc, "no directory in %s: %s", tmp ? tmp : "/tmp", strerror(-rc));
	if (make_in(b->run, "/dev/shm"))
		snprintf(b->run, sizeof(b->run), "%s", b->dir);
	snprintf(b->file, sizeof(b->file), "%s/disk.img", b->dir);
	return 0;
}

static void remove_dirs(struct bench *b)
{
	const char *const args[] = { "rm", "-rf", "--", b->dir, b->run, NULL };
	struct pvb_error err;

	if (b->dir[0])
		proc_run(args, "/dev/null", 30000, &err);
}

static void begin(struct bench *b)
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	b->begun_ms = pvb_now_ms();
	b->root = out_obj();
	b->rows = out_arr();
	b->missing = out_arr();
	b->versions = out_obj();
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	out_str(b->root, "format", BENCH_FORMAT);
	out_int(b->root, "version", BENCH_VERSION);
	out_str(b->root, "when", when);
	json_object_object_add(b->root, "machine", machine(b));
	json_object_object_add(b->root, "versions", b->versions);
	json_object_object_add(b->root, "settings", settings(b));
	json_object_object_add(b->root, "missing", b->missing);
	json_object_object_add(b->root, "rows", b->rows);
	out_str(b->versions, "pvbus", VERSION);
}

/* Written, and shown unless it goes to stdout. */
static int finish(struct bench *b, const char *out)
{
	struct benchfile f = { 0 };
	struct pvb_error err = { 0 };

	if (benchfile_write(out, b->root, &err))
		return pvl_fail(b->p, &err);
	if (strcmp(out, "-") == 0)
		return PVL_OK;
	if (benchfile_take(json_object_get(b->root), out, &f, &err))
		return pvl_fail(b->p, &err);
	bench_show(stdout, &f);
	benchfile_free(&f);
	return out_flush() ? PVL_FAIL : PVL_OK;
}

int bench_run(struct pvl *p, const char *out)
{
	struct bench b = { .p = p, .only = pvl_opt_arg(p, "only"), .quick = pvl_opt(p, "quick"),
			   .realtime = pvl_opt(p, "realtime"), .list = pvl_opt(p, "list") };
	struct pvb_error err = { 0 };
	int rc;

	b.samples = b.quick ? 5 : 15;
	b.sample_ms = b.quick ? 20 : 30;
	choose_cpus(&b);
	if (make_dirs(&b, &err))
		return pvl_fail(p, &err);
	proc_signals();
	if (b.realtime)
		proc_attend();
	begin(&b);
	bench_floors(&b);
	bench_io_uring(&b);
	bench_fabric(&b);
	bench_scale(&b);
	bench_peers(&b);
	bench_line_again(&b);
	if (b.list)
		rc = out_flush() ? PVL_FAIL : PVL_OK;
	else if (proc_stopped())
		rc = pvl_failf(p, "interrupted, nothing was written");
	else if (json_object_array_length(b.rows) == 0)
		rc = pvl_failf(p, "nothing was measured%s%s%s", b.only ? ": nothing is named \"" : "", b.only ? b.only : "",
			       b.only ? "\" (see --list)" : "");
	else
		rc = finish(&b, out);
	remove_dirs(&b);
	json_object_put(b.root);
	return rc;
}
