// SPDX-License-Identifier: GPL-2.0-or-later
/* A fabric of our own with a pvbackd and a guest, and the loads that pvguest puts on its disks and NICs. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"
#include "loop.h"
#include "output.h"

#define GUEST_MS 60000
#define END_MS 10000
#define MAX_SAMPLES 64u
#define MIB (1024u * 1024u)

static const struct bench_mode modes[] = {
	{ "polled, 2 CPUs", 2, true, "5000" }, /* longer than any front end is silent that is measured so */
	{ "sleeping, 2 CPUs", 2, false, "0" },
	{ "sleeping, 1 CPU", 1, false, "0" },
	{ "adaptive, 2 CPUs", 2, false, "50" },
};
#define NR_MODES (sizeof(modes) / sizeof(modes[0]))

/* --- a fabric ----------------------------------------------------------------------------------------- */

int rig_start(struct rig *r, struct bench *b, const struct bench_mode *m, struct pvb_error *err)
{
	*r = (struct rig){ .b = b };
	snprintf(r->dir, sizeof(r->dir), "%s/fabric", b->run);
	snprintf(r->spec, sizeof(r->spec), "local:%s", r->dir);
	snprintf(r->log, sizeof(r->log), "%s/log", b->dir);
	const char *const local[] = { "pvlocald", "--foreground", "--dir", r->dir, "--ready-fd", "3", NULL };
	/* it is the workers that count, and they are where it is when a guest comes */
	const char *const backd[] = { "pvbackd", "--hv", r->spec, "--ready-fd", "3", "--poll", m->poll_us, NULL };
	int rc;

	rc = proc_start(&r->local, local, -1, false, r->log, PROC_READY, err);
	if (rc == 0)
		rc = proc_ready(&r->local, local[0], r->log, err);
	if (rc == 0)
		rc = proc_start(&r->backd, backd, b->cpu[0], b->realtime, r->log, PROC_READY, err);
	if (rc == 0)
		rc = proc_ready(&r->backd, backd[0], r->log, err);
	if (rc < 0)
		rig_stop(r);
	return rc;
}

int rig_do(struct rig *r, const char *command, const char *arg, struct pvb_error *err)
{
	const char *const args[] = { "/proc/self/exe", "--host", r->spec, command, arg, NULL };

	return proc_run(args, r->log, GUEST_MS, err);
}

void rig_stop(struct rig *r)
{
	proc_end(&r->backd);
	proc_end(&r->local);
}

int rig_guest(struct rig *r, const char *name, const char *devices, unsigned *domid, struct pvb_error *err)
{
	char path[160];
	FILE *f;
	int rc;

	snprintf(path, sizeof(path), "%s/%s.cfg", r->b->dir, name);
	f = fopen(path, "we");
	if (!f)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	fprintf(f, "name = \"%s\"\nmemory = 512\nguest = \"sleep 100000\"\n%s\n", name, devices);
	fclose(f);
	rc = rig_do(r, "create", path, err);
	*domid = rc < 0 ? 0 : ++r->nr_guests;
	return rc;
}

/* --- one load ------------------------------------------------------------------------------------------- */

/* What a row needs of each line that pvguest prints. */
struct load {
	const char *settings;    /* of --bench or --nic-bench */
	bool nic, write, trip;
	double value[MAX_SAMPLES], share[MAX_SAMPLES];
	unsigned nr, lines;
	double ops, notifies, pushes, events, switches; /* sums */
	pid_t worker;
	uint64_t worker_cpu, worker_switches, at; /* at the last line */
	double back_switches;
	bool realtime;
};

static double number(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) ? json_object_get_double(v) : 0;
}

/* pvbackd has a child for each guest; here there is one guest. */
static pid_t find_worker(pid_t backd)
{
	char path[64], name[64];
	int pid = 0, found = 0;
	FILE *f, *comm;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)backd, (int)backd);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		comm = fopen(path, "re");
		if (comm && fgets(name, sizeof(name), comm) && strncmp(name, "pvbackd-worker", 14) == 0)
			found = pid;
		if (comm)
			fclose(comm);
	}
	if (f)
		fclose(f);
	return found;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

static void take_line(struct load *l, struct json_object *line, const struct rig *r)
{
	struct json_object *side = NULL, *lat = NULL;
	double seconds = number(line, "seconds"), share, ops;
	uint64_t now = pvb_now_ns(), cpu, switches;

	if (!l->worker || l->lines == 0) /* what was there before may have been the last load's, about to end */
		l->worker = find_worker(r->backd.pid);
	cpu = l->worker ? proc_cpu_ns(l->worker) : 0;
	switches = l->worker ? proc_switches(l->worker) : 0;
	json_object_object_get_ex(line, l->write ? "write" : "read", &side);
	json_object_object_get_ex(line, "latency_ns", &lat);
	share = seconds > 0 ? number(line, "cpu_ns") / (seconds * 1e9) : 0;
	ops = l->nic ? number(line, "frames") : number(side, "ops");
	if (l->lines++ > 0 && l->lines <= r->b->samples + 1) {
		l->share[l->nr] = least(share, (double)(cpu - l->worker_cpu) / (double)(now - l->at));
		l->value[l->nr++] = l->trip ? number(lat, "mean") / 1e3 : l->nic ? number(line, "frames_per_s") :
										   number(side, "iops");
		l->ops += ops;
		l->notifies += number(line, "notifies");
		l->pushes += number(line, "pushes");
		l->events += number(line, "events");
		l->switches += number(line, "switches");
		l->back_switches += (double)(switches - l->worker_switches);
	}
	l->at = now;
	l->worker_cpu = cpu;
	l->worker_switches = switches;
}

/* Run pvguest in domain domid with this load; its samples come after those that l has. */
static int run_once(struct rig *r, const struct bench_mode *m, unsigned domid, const char *device, struct load *l,
		    struct pvb_error *err)
{
	struct bench *b = r->b;
	char hv[160], log[160], words[160], line[4096];
	const char *args[] = { "pvguest", "--hv", hv, "--queues", "1", "--ring-order", "4", "--json", l->nic ? "--nic" : "--disk",
			       device, l->nic ? "--nic-bench" : "--bench", l->settings, NULL };
	struct json_object *obj;
	struct proc p;
	int rc;

	l->lines = 0;
	snprintf(hv, sizeof(hv), "%s:%u", r->spec, domid);
	snprintf(log, sizeof(log), "%s/guest.log", b->dir);
	unlink(log);
	proc_place(r->backd.pid, b->cpu[0], l->realtime); /* and the worker, who comes now or was here before */
	l->worker = find_worker(r->backd.pid);
	if (l->worker)
		proc_place(l->worker, b->cpu[0], l->realtime);
	rc = proc_start(&p, args, m->cpus == 2 ? b->cpu[1] : b->cpu[0], l->realtime, log, 1, err);
	if (rc < 0)
		return rc;
	while (!proc_stopped() && fgets(line, sizeof(line), p.out)) {
		obj = json_tokener_parse(line);
		if (obj)
			take_line(l, obj, r);
		json_object_put(obj);
	}
	if (proc_stopped())
		kill(p.pid, SIGTERM);
	rc = proc_wait(&p, END_MS);
	proc_last_words(log, words, sizeof(words));
	if (rc != 0 || l->nr == 0)
		return pvb_err(err, -EIO, "pvguest: status %d: %s", rc, words);
	return 0;
}

#define TRIES 4
#define PAUSE_NS 500000000   /* who used up what real-time programs may have of this second gets it again */

/* Again, if others have disturbed half of the samples. */
static int run_load(struct rig *r, const struct bench_mode *m, unsigned domid, const char *device, struct load *l,
		    struct pvb_error *err)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	int rc = 0;

	for (unsigned n = 0; n < TRIES; n++) {
		rc = run_once(r, m, domid, device, l, err);
		if (rc < 0 || proc_stopped() || !m->polled || bench_good(l->share, l->nr) * 2 >= r->b->samples ||
		    l->nr + r->b->samples > MAX_SAMPLES)
			break;
		nanosleep(&pause, NULL);
	}
	return rc;
}

/* The row of a load. */
static void add_load(struct rig *r, const struct bench_mode *m, const char *cell, const char *subject, const char *unit,
		     struct load *l)
{
	struct json_object *counters = out_obj();
	unsigned nr = m->polled ? bench_undisturbed(l->value, l->share, l->nr) : l->nr;
	double ops = l->ops > 0 ? l->ops : 1;

	bench_count_of(counters, "notifies", l->notifies / ops);
	bench_count_of(counters, "spared", (l->pushes - l->notifies) / ops);
	bench_count_of(counters, "events", l->events / ops);
	bench_count_of(counters, "back sleeps", l->back_switches / ops);
	bench_count_of(counters, "front sleeps", l->switches / ops);
	bench_add(r->b, benchfile_row(cell, subject, "ours", unit, strcmp(unit, "us") == 0 ? "less" : "more", m->name,
				      bench_pinning(r->b, m), bench_array(l->value, nr)), counters, l->nr - nr);
}

static void timing(const struct bench *b, const struct bench_mode *m, char *buf, size_t len)
{
	/* two more than are used: before the first nobody knows what the worker had done, after the last it may be gone;
	 * polled ones together stay below the 0.95 s a second that the kernel leaves to real-time programs; a sleeping one
	 * has fewer operations, and takes longer to show anything */
	snprintf(buf, len, "time=%.3f samples=%u poll=%d", (m->polled ? 1 : 2) * b->sample_ms / 1e3, b->samples + 2, m->polled);
}

/* --- disks ---------------------------------------------------------------------------------------------- */

void bench_disk_cell(char *buf, size_t len, const char *provider, bool write, unsigned bs, unsigned qd)
{
	snprintf(buf, len, "disk %s %uk rand%s qd%u", provider, bs >> 10, write ? "write" : "read", qd);
}

int bench_make_file(struct bench *b)
{
	unsigned mib = b->quick ? 32 : 256;
	int fd = open(b->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;
	uint8_t *data = malloc(MIB);
	uint64_t x = 1;

	if (fd < 0 || !data) {
		rc = fd < 0 && errno == EEXIST ? 0 : -errno;
		mib = 0;
	}
	for (size_t i = 0; mib && i < MIB; i += 8) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(data + i, &x, 8);
	}
	for (unsigned i = 0; i < mib && rc == 0; i++)
		rc = write(fd, data, MIB) == (ssize_t)MIB ? 0 : -errno;
	if (mib && rc == 0)
		rc = fsync(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	free(data);
	return rc;
}

struct disk_size { unsigned bs, qd; };
static const struct disk_size disk_sizes[] = { { 4096, 1 }, { 4096, 32 }, { 4096, 128 }, { 131072, 8 } };
static const struct { const char *provider, *vdev; } disks[] = { { "null", "xvda" }, { "mem", "xvdb" }, { "file", "xvdc" } };
#define NR_SIZES (sizeof(disk_sizes) / sizeof(disk_sizes[0]))

#define ROUND_TRIP "round trip"

static void trip_subject(char *buf, size_t len, const char *provider)
{
	snprintf(buf, len, "pvbus disk %s", provider);
}

/* One operation at a time is a round trip, too. */
static void add_trip(struct rig *r, const struct bench_mode *m, const char *provider, const struct load *of)
{
	struct load l = *of;
	char subject[64];

	trip_subject(subject, sizeof(subject), provider);
	for (unsigned i = 0; i < l.nr; i++)
		l.value[i] = l.value[i] > 0 ? 1e6 / l.value[i] : 1e6 * r->b->sample_ms;
	add_load(r, m, ROUND_TRIP, subject, "us", &l);
}

#define UNREAD "pvbus, unread"

/* The rows that such a load may make. */
static void want_disk(const struct bench *b, const struct bench_mode *m, const char *provider, bool write,
		      const struct disk_size *s, bool *rate, bool *trip, bool *unread)
{
	char cell[80], subject[64];

	bench_disk_cell(cell, sizeof(cell), provider, write, s->bs, s->qd);
	trip_subject(subject, sizeof(subject), provider);
	*unread = !write && strcmp(provider, "file") != 0 && bench_wanted(b, cell, UNREAD, m->name);
	*rate = bench_wanted(b, cell, "pvbus", m->name);
	*trip = s->qd == 1 && !write && bench_wanted(b, ROUND_TRIP, subject, m->name);
}

static unsigned mem_mib(const struct bench *b)
{
	return b->quick ? 32 : 256;
}

/* What nobody has written is not in memory, and reading it is reading zeroes. */
static int write_all(struct rig *r, unsigned domid, const char *device, struct pvb_error *err)
{
	char hv[160], log[160], words[160], settings[80], line[4096];
	const char *args[] = { "pvguest", "--hv", hv, "--queues", "1", "--json", "--disk", device, "--bench", settings, NULL };
	struct proc p;
	int rc;

	snprintf(hv, sizeof(hv), "%s:%u", r->spec, domid);
	snprintf(log, sizeof(log), "%s/guest.log", r->b->dir);
	snprintf(settings, sizeof(settings), "op=write bs=128k qd=8 count=%u", mem_mib(r->b) * 8);
	unlink(log);
	rc = proc_start(&p, args, r->b->cpu[0], false, log, 1, err);
	if (rc < 0)
		return rc;
	while (!proc_stopped() && fgets(line, sizeof(line), p.out))
		;
	if (proc_stopped())
		kill(p.pid, SIGTERM);
	rc = proc_wait(&p, END_MS);
	proc_last_words(log, words, sizeof(words));
	r->written = rc == 0;
	return rc == 0 ? 0 : pvb_err(err, -EIO, "pvguest: status %d: %s", rc, words);
}

static int disk_cell(struct rig *r, const struct bench_mode *m, unsigned domid, unsigned d, bool write,
		     const struct disk_size *s, struct pvb_error *err)
{
	const bool file = strcmp(disks[d].provider, "file") == 0;
	struct load *l;
	char cell[80], when[80], text[160];
	bool rate, trip, unread;
	int rc;

	bench_disk_cell(cell, sizeof(cell), disks[d].provider, write, s->bs, s->qd);
	want_disk(r->b, m, disks[d].provider, write, s, &rate, &trip, &unread);
	if (!rate && !trip && !unread)
		return 0;
	if (strcmp(disks[d].provider, "mem") == 0 && !r->written) {
		rc = write_all(r, domid, disks[d].vdev, err);
		if (rc < 0)
			return rc;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return pvb_err(err, -ENOMEM, "out of memory");
	timing(r->b, m, when, sizeof(when));
	snprintf(text, sizeof(text), "op=rand%s bs=%u qd=%u touch=1 %s", write ? "write" : "read", s->bs, s->qd, when);
	l->settings = text;
	l->write = write;
	/* the kernel's own threads do part of a file's work, and would not get a processor that is polled on */
	l->realtime = r->b->realtime && !file;
	rc = rate || trip ? run_load(r, m, domid, disks[d].vdev, l, err) : 0;
	if (rc == 0 && trip)
		add_trip(r, m, disks[d].provider, l);
	if (rc == 0 && rate)
		add_load(r, m, cell, "pvbus", "IOPS", l);
	if (rc == 0 && unread) {
		snprintf(text, sizeof(text), "op=randread bs=%u qd=%u %s", s->bs, s->qd, when);
		*l = (struct load){ .settings = text, .realtime = l->realtime };
		rc = run_load(r, m, domid, disks[d].vdev, l, err);
		if (rc == 0)
			add_load(r, m, cell, UNREAD, "IOPS", l);
	}
	free(l);
	return rc;
}

static int all_disks(struct rig *r, const struct bench_mode *m, unsigned domid, struct pvb_error *err)
{
	int rc = 0;

	for (unsigned d = 0; d < sizeof(disks) / sizeof(disks[0]); d++)
		for (unsigned i = 0; i < 2 * NR_SIZES && rc == 0; i++)
			rc = disk_cell(r, m, domid, d, i / NR_SIZES, &disk_sizes[i % NR_SIZES], err);
	return rc;
}

/* --- NICs ----------------------------------------------------------------------------------------------- */

static int nic_cell(struct rig *r, const struct bench_mode *m, unsigned domid, unsigned bytes, bool trip, struct pvb_error *err)
{
	const char *subject = trip ? "pvbus NIC" : "pvbus";
	char cell[80], when[80], text[160];
	struct load *l;
	int rc;

	snprintf(cell, sizeof(cell), trip ? ROUND_TRIP : "frames %u", bytes);
	if (!bench_wanted(r->b, cell, subject, m->name))
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return pvb_err(err, -ENOMEM, "out of memory");
	timing(r->b, m, when, sizeof(when));
	snprintf(text, sizeof(text), "op=%s bs=%u %s", trip ? "trip" : "send", bytes, when);
	l->settings = text;
	l->nic = true;
	l->realtime = r->b->realtime;
	l->trip = trip;
	rc = run_load(r, m, domid, trip ? "1" : "0", l, err);
	if (rc == 0)
		add_load(r, m, cell, subject, trip ? "us" : "frames/s", l);
	free(l);
	return rc;
}

static int all_nics(struct rig *r, const struct bench_mode *m, unsigned domid, struct pvb_error *err)
{
	static const unsigned bytes[] = { 64, 256, 1518, 65535 };
	int rc = 0;

	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]) && rc == 0; i++)
		rc = nic_cell(r, m, domid, bytes[i], false, err);
	return rc < 0 ? rc : nic_cell(r, m, domid, 64, true, err);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

/* Does anybody want a row of this mode?  To know before a fabric is made for nothing. */
static bool any_wanted(struct bench *b, const struct bench_mode *m, bool nics)
{
	static const unsigned bytes[] = { 64, 256, 1518, 65535 };
	bool any = false;
	char cell[80];

	for (unsigned i = 0; nics && i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		snprintf(cell, sizeof(cell), "frames %u", bytes[i]);
		any |= bench_wanted(b, cell, "pvbus", m->name);
	}
	if (nics)
		return bench_wanted(b, ROUND_TRIP, "pvbus NIC", m->name) || any;
	for (unsigned i = 0; i < sizeof(disks) / sizeof(disks[0]) * 2 * NR_SIZES; i++) {
		bool rate, trip, unread;

		want_disk(b, m, disks[i / (2 * NR_SIZES)].provider, i / NR_SIZES % 2, &disk_sizes[i % NR_SIZES], &rate, &trip, &unread);
		any |= rate || trip || unread;
	}
	return any;
}

static int one_mode(struct bench *b, const struct bench_mode *m, struct pvb_error *err)
{
	bool want_disks = any_wanted(b, m, false), want_nics = any_wanted(b, m, true);
	char devices[400];
	unsigned domid;
	struct rig r;
	int rc;

	if (!want_disks && !want_nics)
		return 0;
	rc = bench_make_file(b);
	if (rc < 0)
		return pvb_err(err, rc, "%s: %s", b->file, strerror(-rc));
	rc = rig_start(&r, b, m, err);
	if (rc < 0)
		return rc;
	if (want_disks) {
		snprintf(devices, sizeof(devices), "disk = [ \"format=raw,vdev=xvda,access=rw,target=null:size=1G\", "
			 "\"format=raw,vdev=xvdb,access=rw,target=mem:size=%uM\", "
			 "\"format=raw,vdev=xvdc,access=rw,target=file:%s?cache=direct\" ]", mem_mib(b), b->file);
		r.written = false;
		rc = rig_guest(&r, "disks", devices, &domid, err);
		rc = rc < 0 ? rc : all_disks(&r, m, domid, err);
		rig_do(&r, "destroy", "disks", NULL);
	}
	if (rc == 0 && want_nics) {
		rc = rig_guest(&r, "nics", "vif = [ \"mac=00:16:3e:00:00:01,port=null?read=on\", "
			       "\"mac=00:16:3e:00:00:02,port=null?echo=on&read=on\" ]", &domid, err);
		rc = rc < 0 ? rc : all_nics(&r, m, domid, err);
		rig_do(&r, "destroy", "nics", NULL);
	}
	rig_stop(&r);
	return rc;
}

void bench_fabric(struct bench *b)
{
	for (size_t i = 0; i < NR_MODES && !proc_stopped(); i++) {
		struct pvb_error err = { 0 };

		if (modes[i].cpus <= (unsigned)b->nr_cpus && one_mode(b, &modes[i], &err) < 0 && !proc_stopped())
			bench_missing(b, "pvbus", "%s: %s", modes[i].name, err.text);
	}
}
