/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_SUPERVISOR_H
#define PVB_BACKEND_SUPERVISOR_H
/* The supervisor: the one process of pvbackd that sees the store, opens images and owns every device's life
 * cycle and permissions.  It never touches guest memory.
 *
 *   supervisor.c  start, stop, the watches: which devices exist
 *   device.c, device-step.c   one device: its states, driven by whoever moves (device.h)
 *   vbd.c, vbd-nodes.c, lock.c   a disk (vbd.h)
 *   vif.c, vif-nodes.c           a NIC (vif.h)
 *   guest.c       worker processes, one a guest or a switch: start, messages, death
 *   console.c, console-stats.c   consoles, each with a process of its own (console.h)
 *   ctl.c         the control socket; metrics.c the Prometheus one
 *
 * All of it is one thread and one loop; nothing waits.
 *
 * Trust    Back end directories are the toolstack's word (only dom0 can write them).  Front end directories
 *          are the guest's: values are checked one by one and read once, in one transaction.
 *          Workers are checked like peers (ipc.h).
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "bus/hv.h"
#include "device.h"
#include "ipc.h"

#define SUP_MAX_KINDS 4

struct sup_options {
	const char *hv;              /* spec or NULL */
	const char *kinds[SUP_MAX_KINDS + 1]; /* directories below backend/ that are ours, NULL-terminated */
	const char *ctl, *metrics;   /* socket paths; NULL: the default place, "": none */
	uint32_t uid_base;           /* a worker's uid is uid_base + domid; 0: keep ours */
	bool sandbox;
	size_t memory;               /* bytes of buffers per guest */
	unsigned max_queues, max_ring_order, max_indirect; /* offered */
	bool persistent, barrier;
	unsigned max_nic_queues;     /* offered */
	int nice;                    /* of workers */
	const char *consoles;        /* where consoles are served by default; NULL: they are not ours */
	uint64_t poll_us;            /* longest look of a worker at its rings before it sleeps */
	int ready_fd;                /* closed when serving; -1 */
	char **argv;                 /* how we were started: so is who takes over */
};


/* --- guest.c ---------------------------------------------------------------------------------------- */
struct guest {
	struct guest *next;
	struct supervisor *sup;
	uint32_t domid;              /* a switch's: PVB_DOMID_SELF */
	char place[32];              /* "", or the switch whose NICs it serves, whatever domain they are in */
	bool nbd;                    /* has libnbd, and serves the guest's disks that need it */
	unsigned slot;               /* of a switch: which of the uids above all domains' */
	pid_t pid;                   /* 0: no worker */
	int sock;
	struct pvb_source *src;
	bool ready;                  /* IPC_HELLO has come */
	unsigned devices;            /* that point here */
	unsigned deaths;
};
/* A guest's worker, or that of a switch (place is not ""); started when there is none.  A guest has another one for what needs
 * libnbd, which is not loaded where it is not used (block/nbd-lib.h). */
int guest_get(struct supervisor *sup, uint32_t domid, const char *place, bool nbd, struct guest **out, struct pvb_error *err);
void guest_put(struct guest *g);                    /* one device less; the last one ends the worker */
void guests_free(struct supervisor *sup);           /* at the end: workers that are still ending are left to it */
int guest_send(struct guest *g, const struct ipc_msg *m, const int *fds, unsigned nr_fds);
void guest_reaped(struct supervisor *sup, pid_t pid, int status);
void guest_kill(struct guest *g, const char *why);  /* it misbehaved */

/* --- ctl.c, metrics.c ------------------------------------------------------------------------------- */
struct server;
int ctl_open(struct server **out, struct supervisor *sup, const char *path, struct pvb_error *err);
int metrics_open(struct server **out, struct supervisor *sup, const char *path, struct pvb_error *err);

/* --- supervisor.c ----------------------------------------------------------------------------------- */
struct supervisor {
	struct sup_options o;
	struct pvb_loop *loop;
	struct pvb_store *store;
	char *hv;                    /* resolved spec */
	uint32_t domid;
	struct guest *guests;
	struct device *devices;
	unsigned scan;               /* counts looks at whole directories */
	struct console *consoles;
	struct pvb_watch *console_watch;
	struct server *ctl, *metrics;
	struct pvb_source *signals;
	int signal_fd;
	struct pvb_watch *kinds[SUP_MAX_KINDS], *release;
	struct pvb_source *sweep;
	struct links *links;         /* news of interfaces; NULL: none */
	int keep_fd;                 /* keep.c's directory; -1: none */
	bool kept;                   /* its leftovers were looked for */
	bool swept;                  /* leftovers of NICs were looked for */
	bool stopping;
	char *successor;             /* the program that takes over when we have stopped; NULL: none */
	uint64_t started;            /* pvb_now_ns() */
};
int supervisor_main(const struct sup_options *o);
void supervisor_sweep(struct supervisor *sup);         /* free devices marked gone, from the loop */
/* Stop, and become this program: the same process, which finds what keep.h keeps.  Refused, unless force, while a device is
 * connected that would not outlive us; err names it. */
int supervisor_hand_over(struct supervisor *sup, const char *path, bool force, struct pvb_error *err);
/* The default place of a file: "/run/pvbackd/XEN", or "DIR/LOCAL" in the directory of the local fabric. */
void supervisor_path(const struct supervisor *sup, const char *xen, const char *local, char *buf, size_t len);
void supervisor_check_stopped(struct supervisor *sup); /* a device let go while stopping */
#endif
