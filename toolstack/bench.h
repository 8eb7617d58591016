/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_BENCH_H
#define PVL_BENCH_H
/* What the parts of "pvl bench" share; its format is benchfile.h's.
 *
 *   cmd-bench.c    the command
 *   benchrun.c     a run: what is measured in which order, and what is written down of it
 *   benchproc.c    processes: where they run, at which priority, that none is left
 *   benchrig.c     a fabric, pvbackd and a guest of our own; loads of pvguest on it
 *   benchfloor.c   what the machine itself can: cache line, eventfd, ring, io_uring
 *   benchpeer.c    what others can, by programs of theirs
 *   benchscale.c   many devices
 *   benchshow.c    results on a terminal; benchhtml.c as a page; benchplot.c as a picture, also of the page
 */
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include "benchfile.h"

struct pvl;

/* --- results ----------------------------------------------------------------------------------------- */

/* The rows of a file, as a table with ratios. */
void bench_show(FILE *to, const struct benchfile *f);
/* What has changed since; how many rows are worse. */
size_t bench_show_changes(FILE *to, const struct benchfile *now, const struct benchfile *before, double percent);
/* The rows that are named like this stay; how many.  What is left out stays in f->root. */
size_t bench_choose(struct benchfile *f, const char *pattern);
/* A cell's rows that have the unit of its first, as SVG; BENCH_PLOT_STYLE is where its colours come from. */
void bench_plot(FILE *to, const struct benchfile *f, const struct bench_row *first);
#define BENCH_PLOT_STYLE \
	"svg text{fill:var(--fg)}svg .l{text-anchor:end}svg .m{text-anchor:middle;font-size:10px}svg .h{font-weight:bold}\n" \
	".ours{fill:var(--ours)}.peer{fill:var(--peer)}.floor{fill:var(--floor)}.w{stroke:var(--fg);fill:none}\n" \
	".g{stroke:var(--fg);stroke-opacity:.2;fill:none}\n"
void bench_text(FILE *to, const char *s); /* as HTML and XML want it */
/* All cells as one picture. */
int bench_svg(const char *path, const struct benchfile *f, struct pvb_error *err);
/* One page with everything in it. */
int bench_html(const char *path, const struct benchfile *files, const char *const *names, size_t nr, struct pvb_error *err);

/* --- a run ------------------------------------------------------------------------------------------- */

struct bench {
	struct pvl *p;
	struct json_object *root, *rows, *missing, *versions;
	const char *only;        /* pattern, or NULL */
	bool quick, realtime, list;
	unsigned samples, sample_ms;
	int cpu[2], nr_cpus;     /* back, front; those we may run on */
	char dir[96];            /* of this run; is removed */
	char run[96];            /* of its fabrics, in memory as /run is on a host; is removed */
	char file[128];          /* what disks of provider file and io_uring work on */
	char pinning[2][96];     /* both on one processor; each on its own */
	uint64_t begun_ms;
};

/* How both sides wait. */
struct bench_mode {
	const char *name;
	unsigned cpus;           /* 1 or 2 */
	bool polled;             /* the front end never sleeps */
	const char *poll_us;     /* of pvbackd */
};

int bench_run(struct pvl *p, const char *out);
/* Has the row, or its cell, this name?  pattern NULL: any has. */
bool bench_named(const char *pattern, const char *cell, const char *subject, const char *mode);
/* Is this row asked for? With --list it is printed, and not. */
bool bench_wanted(const struct bench *b, const char *cell, const char *subject, const char *mode);
const char *bench_pinning(const struct bench *b, const struct bench_mode *m);
/* Takes over row and counters (or NULL); says on stderr that there is one more. */
void bench_add(struct bench *b, struct json_object *row, struct json_object *counters, unsigned disturbed);
void bench_missing(struct bench *b, const char *subject, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct json_object *bench_array(const double *v, unsigned nr);
void bench_count_of(struct json_object *counters, const char *key, double value);

/* --- benchproc.c ------------------------------------------------------------------------------------- */

struct proc {
	pid_t pid;               /* 0: none */
	FILE *out;               /* what it writes, or NULL */
};

void proc_signals(void);     /* SIGINT and SIGTERM end a run, not the program at once */
bool proc_stopped(void);
/* cpu -1: any.  args end with NULL; args[0] is looked for in PATH and the sbin directories.  log: where stderr and stdout are
 * appended to.  fd: which of its descriptors p->out reads, 1 or PROC_READY; or 0.  It dies with us.  A real-time one is killed when it
 * has not slept for 10 s. */
#define PROC_READY 3
int proc_start(struct proc *p, const char *const *args, int cpu, bool realtime, const char *log, int fd,
	       struct pvb_error *err);
/* It was started with PROC_READY: wait until it closes that. */
int proc_ready(struct proc *p, const char *name, const char *log, struct pvb_error *err);
/* Its end; its status, 128 + signal, or -ETIMEDOUT and it is killed. */
int proc_wait(struct proc *p, int timeout_ms);
void proc_end(struct proc *p);   /* SIGTERM, then SIGKILL; none is fine */
int proc_run(const char *const *args, const char *log, int timeout_ms, struct pvb_error *err); /* start and wait; must succeed */
void proc_attend(void);      /* we look at what real-time programs do when they say so, not when they are over */
void proc_place(pid_t pid, int cpu, bool realtime); /* also of ourselves (0) */
uint64_t proc_cpu_ns(pid_t pid);
uint64_t proc_switches(pid_t pid);  /* times its first thread went to sleep */
uint64_t proc_all_switches(pid_t pid); /* times any of its threads did */
/* The last line of a log. */
void proc_last_words(const char *log, char *buf, size_t len);

/* --- benchrig.c -------------------------------------------------------------------------------------- */

struct rig {
	struct bench *b;
	struct proc local, backd;
	char dir[112], spec[128], log[128];
	unsigned nr_guests;
	bool written;                /* its disk in memory has been written to, all of it */
};
int rig_start(struct rig *r, struct bench *b, const struct bench_mode *m, struct pvb_error *err);
int rig_do(struct rig *r, const char *command, const char *arg, struct pvb_error *err); /* of pvl on its host */
void rig_stop(struct rig *r);
/* A domain with these devices, which does nothing by itself; its number. */
int rig_guest(struct rig *r, const char *name, const char *devices, unsigned *domid, struct pvb_error *err);
void bench_fabric(struct bench *b);  /* all rows of disks and NICs */
/* "disk null 4k randread qd32" */
void bench_disk_cell(char *buf, size_t len, const char *provider, bool write, unsigned bs, unsigned qd);
int bench_make_file(struct bench *b); /* b->file, filled, if it is not there yet */
/* How many samples got 95 % of their processor. */
unsigned bench_good(const double *share, unsigned nr);
/* The others go, if three are left; how many that are. */
unsigned bench_undisturbed(double *v, const double *share, unsigned nr);

void bench_floors(struct bench *b);
void bench_line_again(struct bench *b); /* at the end: is it still the same machine? */
void bench_io_uring(struct bench *b);
void bench_peers(struct bench *b);
void bench_scale(struct bench *b);
#endif
