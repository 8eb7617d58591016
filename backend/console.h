/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_H
#define PVB_BACKEND_CONSOLE_H
/* Guests' primary PV consoles, in the supervisor: which there are, where each is served, the process that does it.
 *
 * Not a struct device: a console has no states.  libxl makes /local/domain/0/backend/console/DOMID/0 and, in the same
 * transaction, /local/domain/DOMID/console with the number of an event channel; the guest has known both that and the
 * page since its start and never looks into the store.  Both directories are dom0's, readable for the guest.
 *
 * Taken     From the moment both are there until either is gone.  The page is entry 0 of the guest's grant table.  Whoever has
 *           bound the event channel has the console: while that is xenconsoled nothing is disturbed; we try again, ever
 *           more rarely, and say so in the error node.  When it ends Xen offers the channel again.
 * Where     The "serve" key of the back end's directory, else what pvbackd was started with, as spec.h says.
 * Process   One each (console/worker.h).  It gets what it needs and is started again when it dies; what is opened
 *           here outlives it: the pty, listening sockets with those who wait there, the log.
 * Parked    A guest that has lied about its ring: nobody looks at it any more until "serve" is written or asked for anew.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include "bus/loop.h"
#include "bus/store.h"
#include "console/ends.h"
#include "console/setup.h"

struct json_object;
struct supervisor;

struct console {
	struct console *next;
	struct supervisor *sup;
	uint32_t domid;
	char back[96], front[96];
	struct pvb_watch *watch;     /* the front end's directory */
	bool gone;                   /* only its process is left */
	char text[CON_TEXT_MAX];     /* where it is served: what spec was made of, */
	char wrong[CON_TEXT_MAX];    /* or what none could be made of */
	struct con_spec spec;
	struct con_open open[CON_MAX_ENDS];
	bool partly;                 /* not all of them could be opened */
	uint64_t port, ring_ref;     /* the guest's */
	pid_t pid;                   /* 0: no process */
	int sock;                    /* -1: it is to end, or there is none */
	struct pvb_source *src, *overdue;
	bool up;                     /* it serves */
	char told[64];               /* the terminal that the store names by our word */
	bool parked;
	unsigned deaths, soon;       /* of its processes; in a row, soon after their start */
	bool hold;                   /* no process before the next attempt */
	unsigned pause_ms;           /* before that */
	struct pvb_source *retry;
	uint64_t started, dialled;   /* ms */
	struct con_stats *stats;     /* NULL: none */
	int stats_fd;
	char error[240];
};

int consoles_open(struct supervisor *sup, struct pvb_error *err);
void consoles_close(struct supervisor *sup);
/* False: it was not a console's process. */
bool console_reaped(struct supervisor *sup, pid_t pid, int status);
/* For the control socket and the other one: */
int console_serve(struct supervisor *sup, uint32_t domid, const char *text, struct pvb_error *err);
struct json_object *consoles_json(struct supervisor *sup, int64_t domid);
void consoles_metrics(FILE *f, struct supervisor *sup);
#endif
