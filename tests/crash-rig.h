/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_CRASH_RIG_H
#define PVB_TESTS_CRASH_RIG_H
/* A worker process that dies at a given point, and another that goes on where it stopped.
 *
 * The test is the guest (raw front ends) and the supervisor (the messages of ipc.h, the journals and their fence of
 * keep.h).  A worker is worker_main() in a forked process; its memory is gone when the next one starts, what it had
 * handed to the kernel too.
 *
 * A case is: a scenario, a place in the ring, a point, and the how-manieth passing of it is the last thing the worker
 * does.  crash_all() first runs the scenario with nobody dying and counts the passings of each point, then each of
 * them is a case.  In a second series the worker that goes on dies as well, at each passing of what it passes.
 *
 * What is wrong ends the program, with the case's name.  Waits are for events, and bounded.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "backend/device.h"
#include "backend/supervisor.h"
#include "bus/hv.h"
#include "crash-point.h"

#define CRASH_MAX_POINTS 512u
#define CRASH_WAIT_MS 20000

/* Shared with the workers: where the next one is to die, and what it passed. */
struct crash_page {
	uint32_t point, nth;             /* nth 0: nowhere */
	uint32_t passed[CRASH_MAX_POINTS];
};

struct crash_device {
	struct device dev;               /* only what keep.h looks at */
	struct ipc_msg attach, connect;
	int fds[PROVIDER_MAX_FDS];
	unsigned nr_fds;
	int stats_fd;
};

struct crash_rig {
	char dir[64];
	pid_t fabric;
	int fabric_stop;
	uint32_t domid;
	struct pvb_hv *hv;               /* the guest's */
	const char *place;               /* of the worker: "" or a switch */
	bool no_uring;                   /* the worker's I/O is synchronous: every run is the same */
	struct supervisor sup;
	struct crash_device dev[2];
	unsigned nr_devs;
	struct crash_page *page;
	pid_t pid;                       /* the worker, or 0 */
	int sock;
	unsigned deaths;                 /* in this case */
	uint32_t rung[16];               /* ports of the guest's that events came for last */
	int nr_rung;
	uint32_t first_point, first_nth; /* where the first one dies; nth 0: nowhere */
	uint32_t then_point, then_nth;   /* where the one after it does */
	const char *what;                /* scenario, for messages */
	uint32_t start;                  /* ring index a case begins at */
};

/* One scenario: called for each case, from fresh rings to the last check.  It calls crash_start(), and crash_wait()
 * whenever it waits for the back end. */
struct crash_scenario {
	const char *name;
	void (*run)(struct crash_rig *r, const struct crash_scenario *s);
	const void *arg;
};

void crash_rig_new(struct crash_rig *r, unsigned pages);
void crash_rig_free(struct crash_rig *r);
/* New journals, as for a new connection. */
void crash_journals(struct crash_rig *r);
/* Start the worker; devices are attached and connected in order. */
void crash_start(struct crash_rig *r);
/* Wait until done(arg), which is asked whenever an event came for the guest, and looks only at rings whose port
 * crash_rang(): a ring nobody was told of stays unread.  A worker that dies as it was told to is replaced meanwhile; one
 * that dies otherwise is an error. */
void crash_wait(struct crash_rig *r, bool (*done)(void *arg), void *arg, const char *what);
bool crash_rang(const struct crash_rig *r, uint32_t port);
/* Wait until the worker has done what it had to do and looks at its messages again. */
void crash_idle(struct crash_rig *r);
/* Let the first device's rings go; a worker that dies meanwhile has one after it that goes on, and is asked again. */
void crash_disconnect(struct crash_rig *r);
/* No longer needed. */
void crash_stop(struct crash_rig *r);
/* fmt: what is wrong with this case.  Does not return. */
void crash_fail(const struct crash_rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
#define CRASH_CHECK(r, cond, ...) do { if (!(cond)) crash_fail((r), __VA_ARGS__); } while (0)

/* --all, or --stride=N[:K]: of N cases one is run, another one for each K below N.  false: this is another option. */
bool crash_stride(const char *arg, unsigned *stride);
/* Every passing of every point, with rings that begin at `start`.  stride: of so many cases one is run (1: all).
 * twice: kill the successor, too. */
void crash_all(struct crash_rig *r, const struct crash_scenario *s, uint32_t start, unsigned stride, bool twice);
/* Prints the counts; false: there are points nobody has died at, and says which. */
bool crash_report(const char *program);
/* "object file:line name" of each point, to stdout. */
void crash_list(void);
#endif
