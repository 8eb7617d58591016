// SPDX-License-Identifier: GPL-2.0-or-later
/* Many devices: what each costs in memory, how fast they connect, whether they keep anybody awake, and whether guests that work
 * at the same time get the same. */
#include "config.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"
#include "loop.h"
#include "output.h"

#define PER_GUEST 10         /* disks; a worker serves a guest */
#define MAX_GUESTS 100
#define FAIR_GUESTS 10       /* of a hundred the sum was twice that of ten: their loads can not all have been at the same time */
#define MODE "sleeping, any CPU"
#define IDLE_S 5
#define SETTLE_S 20

struct herd {
	struct rig rig;
	struct proc guest[MAX_GUESTS];
	unsigned nr, disks;      /* guests; disks of each */
};

/* --- pvbackd and its workers --------------------------------------------------------------------------- */

static unsigned family(pid_t backd, pid_t *pids, unsigned max)
{
	char path[64];
	unsigned nr = 0;
	int pid;
	FILE *f;

	pids[nr++] = backd;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)backd, (int)backd);
	f = fopen(path, "re");
	while (f && nr < max && fscanf(f, "%d", &pid) == 1)
		pids[nr++] = pid;
	if (f)
		fclose(f);
	return nr;
}

/* Resident and of its own, or its part of what is shared: KiB. */
static double pss_kib(pid_t pid)
{
	char path[64], line[128];
	double kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %lf", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static double all_pss(pid_t backd)
{
	pid_t pids[MAX_GUESTS + 8];
	unsigned nr = family(backd, pids, MAX_GUESTS + 8);
	double sum = 0;

	for (unsigned i = 0; i < nr; i++)
		sum += pss_kib(pids[i]);
	return sum;
}

static double all_switches(pid_t backd)
{
	pid_t pids[MAX_GUESTS + 8];
	unsigned nr = family(backd, pids, MAX_GUESTS + 8);
	double sum = 0;

	for (unsigned i = 0; i < nr; i++)
		sum += (double)proc_all_switches(pids[i]);
	return sum;
}

/* --- guests ---------------------------------------------------------------------------------------------- */

static int create_guests(struct herd *h, struct pvb_error *err)
{
	char devices[PER_GUEST * 80] = "disk = [ ", name[16];
	unsigned domid;
	size_t n = strlen(devices);
	int rc = 0;

	for (unsigned d = 0; d < h->disks; d++)
		n += (size_t)snprintf(devices + n, sizeof(devices) - n, "%s\"format=raw,vdev=xvd%c,access=rw,target=null:size=1G\"",
				      d ? ", " : "", 'a' + d);
	snprintf(devices + n, sizeof(devices) - n, " ]");
	for (unsigned g = 0; g < h->nr && rc == 0 && !proc_stopped(); g++) {
		snprintf(name, sizeof(name), "g%u", g);
		rc = rig_guest(&h->rig, name, devices, &domid, err);
	}
	return rc;
}

static int start_guest(struct herd *h, unsigned g, const char *bench, struct pvb_error *err)
{
	char hv[160];
	const char *args[] = { "pvguest", "--hv", hv, "--queues", "1", "--ring-order", "0", "--pool", "12", bench ? "--json" : "--ready-fd",
			       bench ? "--bench" : "3", bench, NULL };

	snprintf(hv, sizeof(hv), "%s:%u", h->rig.spec, g + 1);
	return proc_start(&h->guest[g], args, -1, false, h->rig.log, bench ? 1 : PROC_READY, err);
}

static void end_guests(struct herd *h)
{
	for (unsigned g = 0; g < h->nr; g++)
		if (h->guest[g].pid)
			kill(h->guest[g].pid, SIGTERM);
	for (unsigned g = 0; g < h->nr; g++)
		proc_end(&h->guest[g]);
}

static int herd_start(struct herd *h, struct bench *b, unsigned guests, unsigned disks, struct pvb_error *err)
{
	static const struct bench_mode asleep = { MODE, 1, false, "0" };
	int rc;

	memset(h, 0, sizeof(*h));
	rc = rig_start(&h->rig, b, &asleep, err);
	if (rc < 0)
		return rc;
	proc_place(h->rig.backd.pid, -1, false);
	h->nr = guests;
	h->disks = disks;
	return create_guests(h, err);
}

static void herd_end(struct herd *h)
{
	char name[16];
	struct pvb_error err;

	end_guests(h);
	for (unsigned g = 0; g < h->nr; g++) {
		snprintf(name, sizeof(name), "g%u", g);
		rig_do(&h->rig, "destroy", name, &err);
	}
	rig_stop(&h->rig);
}

/* --- rows ------------------------------------------------------------------------------------------------- */

static void add(struct bench *b, const char *cell, const char *unit, const char *better, const double *v, unsigned nr,
		struct json_object *counters)
{
	bench_add(b, benchfile_row(cell, "pvbus", "ours", unit, better, MODE, "none", bench_array(v, nr)), counters, 0);
}

/* All at once, as after the host has booted. */
static int connect_all(struct herd *h, double *seconds, struct pvb_error *err)
{
	uint64_t start = pvb_now_ns();
	int rc = 0;

	for (unsigned g = 0; g < h->nr && rc == 0; g++)
		rc = start_guest(h, g, NULL, err);
	for (unsigned g = 0; g < h->nr && rc == 0; g++)
		rc = proc_ready(&h->guest[g], "pvguest", h->rig.log, err);
	*seconds = (double)(pvb_now_ns() - start) / 1e9;
	return rc;
}

/* What was asked for while connecting is over: nobody has woken up for a second, or somebody does all the time. */
static void settle(pid_t backd)
{
	const struct timespec second = { .tv_sec = 1 };
	double before, now = -1;

	for (unsigned i = 0; i < SETTLE_S && !proc_stopped(); i++) {
		before = now;
		now = all_switches(backd);
		if (now == before)
			break;
		nanosleep(&second, NULL);
	}
}

static int devices(struct bench *b, unsigned nr, struct pvb_error *err)
{
	unsigned per = nr < PER_GUEST ? nr : PER_GUEST;
	struct timespec idle = { .tv_sec = IDLE_S };
	double before, after, seconds, v;
	struct herd *h;
	char cell[80];
	int rc;

	snprintf(cell, sizeof(cell), "scale %u disks", nr);
	if (!bench_wanted(b, cell, "pvbus", MODE))
		return 0;
	h = malloc(sizeof(*h));
	if (!h)
		return pvb_err(err, -ENOMEM, "out of memory");
	rc = herd_start(h, b, nr / per, per, err);
	before = rc < 0 ? 0 : all_pss(h->rig.backd.pid);
	rc = rc < 0 ? rc : connect_all(h, &seconds, err);
	if (rc == 0) {
		v = nr / seconds;
		snprintf(cell, sizeof(cell), "scale %u disks: connecting", nr);
		add(b, cell, "disks/s", "more", &v, 1, NULL);
		settle(h->rig.backd.pid);
		after = all_pss(h->rig.backd.pid);
		v = (after > before ? after - before : 0) / nr;
		snprintf(cell, sizeof(cell), "scale %u disks: memory of each", nr);
		add(b, cell, "KiB", "less", &v, 1, NULL);
		before = all_switches(h->rig.backd.pid);
		idle.tv_sec = b->quick ? 2 : IDLE_S;
		nanosleep(&idle, NULL);
		v = (all_switches(h->rig.backd.pid) - before) / (double)idle.tv_sec;
		snprintf(cell, sizeof(cell), "scale %u disks: idle wake-ups", nr);
		add(b, cell, "/s of all", "less", &v, 1, NULL);
	}
	herd_end(h);
	free(h);
	return rc;
}

/* What a guest's load says it got. */
static double iops_of(struct proc *guest)
{
	struct json_object *obj, *side, *n;
	char line[4096];
	double v;

	obj = fgets(line, sizeof(line), guest->out) ? json_tokener_parse(line) : NULL;
	v = obj && json_object_object_get_ex(obj, "read", &side) && json_object_object_get_ex(side, "iops", &n) ?
		    json_object_get_double(n) : 0;
	json_object_put(obj);
	return v;
}

/* Guests with the same load at the same time: what the last has beside the first, and Jain's index, (sum)^2 / (n * sum of squares). */
static int fairness(struct bench *b, struct pvb_error *err)
{
	const char *load = b->quick ? "op=randread qd=8 time=1" : "op=randread qd=8 ramp=1 time=3";
	double least = 0, most = 0, sum = 0, squares = 0, v;
	struct json_object *counters;
	struct herd *h;
	int rc;

	if (!bench_wanted(b, "scale 10 guests: the least served", "pvbus", MODE))
		return 0;
	h = malloc(sizeof(*h));
	if (!h)
		return pvb_err(err, -ENOMEM, "out of memory");
	rc = herd_start(h, b, FAIR_GUESTS, 1, err);
	for (unsigned g = 0; g < h->nr && rc == 0; g++)
		rc = start_guest(h, g, load, err);
	for (unsigned g = 0; g < h->nr && rc == 0; g++) {
		v = iops_of(&h->guest[g]);
		least = g == 0 || v < least ? v : least;
		most = v > most ? v : most;
		sum += v;
		squares += v * v;
	}
	if (rc == 0 && most > 0) {
		counters = out_obj();
		bench_count_of(counters, "IOPS of all", sum);
		bench_count_of(counters, "Jain's index", sum * sum / (FAIR_GUESTS * squares));
		v = least / most;
		add(b, "scale 10 guests: the least served", "of the most served", "more", &v, 1, counters);
	}
	herd_end(h);
	free(h);
	return rc;
}

void bench_scale(struct bench *b)
{
	static const unsigned many[] = { 1, 10, 100, 1000 };
	struct pvb_error err = { 0 };
	int rc = 0;

	for (size_t i = 0; i < sizeof(many) / sizeof(many[0]) && rc == 0 && !proc_stopped(); i++)
		if (many[i] <= 10 || !b->quick)
			rc = devices(b, many[i], &err);
	if (rc == 0 && !proc_stopped())
		rc = fairness(b, &err);
	if (rc < 0 && !proc_stopped())
		bench_missing(b, "scale", "%s", err.text);
}
