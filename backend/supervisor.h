/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_SUPERVISOR_H
#define PVB_BACKEND_SUPERVISOR_H
/* The supervisor: the one process of pvbackd that sees the store, opens images and owns every device's life
 * cycle and permissions.  It never touches guest memory.
 *
 *   supervisor.c  start, stop, the watches: which devices exist
 *   vbd.c         one disk: its states, driven by whoever moves (toolstack, front end, worker)
 *   vbd-nodes.c   what is read from and published in the store for it
 *   guest.c       one worker process per guest: start, messages, death
 *   ctl.c         the control socket; metrics.c the Prometheus one
 *
 * All of it is one thread and one loop; nothing waits.  A device is driven by vbd_step(), which looks at
 * everything afresh and may be called at any time: events only say "look again".
 *
 * Trust    Back end directories are the toolstack's word (only dom0 can write them).  Front end directories
 *          are the guest's: values are checked one by one and read once, in one transaction.
 *          Workers are checked like peers (ipc.h).
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "bus/hv.h"
#include "bus/nodes.h"
#include "bus/offer.h"
#include "bus/state.h"
#include "ipc.h"
#include "target.h"

struct sup_options {
	const char *hv;              /* spec or NULL */
	const char *kinds[4];        /* directories below backend/ that are ours, NULL-terminated */
	const char *ctl, *metrics;   /* socket paths; NULL: the default place, "": none */
	uint32_t uid_base;           /* a worker's uid is uid_base + domid; 0: keep ours */
	bool sandbox;
	size_t memory;               /* bytes of buffers per guest */
	unsigned max_queues, max_ring_order, max_indirect; /* offered */
	bool persistent, barrier;
	int ready_fd;                /* closed when serving; -1 */
};

struct supervisor;
struct vbd;

/* --- guest.c ---------------------------------------------------------------------------------------- */
struct guest {
	struct guest *next;
	struct supervisor *sup;
	uint32_t domid;
	pid_t pid;                   /* 0: no worker */
	int sock;
	struct pvb_source *src;
	bool ready;                  /* IPC_HELLO has come */
	unsigned devices;            /* that point here */
	unsigned deaths;
};
/* The guest's worker, started when there is none. */
int guest_get(struct supervisor *sup, uint32_t domid, struct guest **out, struct pvb_error *err);
void guest_put(struct guest *g);                    /* one device less; the last one ends the worker */
void guests_free(struct supervisor *sup);           /* at the end: workers that are still ending are left to it */
int guest_send(struct guest *g, const struct ipc_msg *m, const int *fds, unsigned nr_fds);
void guest_reaped(struct supervisor *sup, pid_t pid, int status);
void guest_kill(struct guest *g, const char *why);  /* it misbehaved */

/* --- vbd.c ------------------------------------------------------------------------------------------ */
enum vbd_phase {
	VBD_NEW,             /* the worker knows nothing of it */
	VBD_ATTACHING, VBD_ATTACHED,
	VBD_CONNECTING, VBD_CONNECTED,
	VBD_DISCONNECTING,
};
extern const char *const vbd_phase_name[];

struct vbd {
	struct vbd *next;
	struct supervisor *sup;
	struct pvb_device_id id;
	char kind[16];
	char back[160], front[160];
	struct pvb_watch *watch;     /* the front end's state */
	struct pvb_source *patience; /* a wait with an end: for a front end without rings, for the toolstack */
	struct guest *guest;         /* while the worker knows the device */
	enum vbd_phase phase;
	bool probed;                 /* limits are published, or the device was found in use */
	bool foreign;                /* found connected under an earlier pvbackd */
	bool failed;                 /* on its way out because of error */
	bool broken;                 /* the front end broke the protocol */
	bool yielded;                /* its image was handed to the same VM's new domain */
	bool impatient;              /* that end has come */
	bool refused;                /* its hotplug script failed and nobody takes it away */
	struct pvb_source *cooling;  /* reconnects too often: offered again when this is over */
	uint64_t cycles_since;       /* ms */
	unsigned cycles;
	bool cooled;                 /* it was told that it is slowed down: once */
	bool step_again, stepping, gone;
	char error[240], alarm[240];
	char vm[64];                 /* identity of the VM, "" unknown */

	struct target *target;
	bool readonly, cdrom, direct_io_safe;
	char identity[64];           /* of the image; "" = may be shared */
	bool locked;
	int fds[PROVIDER_MAX_FDS];
	unsigned nr_fds;
	struct disk_info info;       /* from VBD_ATTACHED on */
	struct blk_config cfg;
	bool offer_persistent;
	unsigned max_queues, max_ring_order;
	struct blk_connect connect;  /* how it is connected */
	int journal_fd;
	struct stats_device *stats;
	int stats_fd;
};
struct vbd *vbd_find(struct supervisor *sup, const struct pvb_device_id *id);
int vbd_new(struct supervisor *sup, const struct pvb_device_id *id, const char *kind);
void vbd_step(struct vbd *v);
void vbd_message(struct vbd *v, struct ipc_msg *m);
void vbd_worker_died(struct vbd *v, const char *how);
/* Give the device up: log, error node, state towards Closed. */
void vbd_fail(struct vbd *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Let go of the rings and keep all else (stopping the daemon, handing the image over). */
void vbd_quiesce(struct vbd *v);
void vbd_read_vm(struct vbd *v);
void vbd_free(struct vbd *v);
/* "vbd 3/51712 (xvda)": how logs name it. */
const char *vbd_name(const struct vbd *v);

/* --- vbd-nodes.c ------------------------------------------------------------------------------------ */
int vbd_read_config(struct vbd *v, struct pvb_error *err);          /* toolstack's keys and the target's options */
int vbd_check_target(struct supervisor *sup, const char *back, struct pvb_error *err); /* for the hotplug script */
int vbd_publish_limits(struct vbd *v);                               /* before state 2 */
/* 1: the hotplug script has finished (or there is none); 0: not yet. */
int vbd_hotplug_done(struct vbd *v);
bool vbd_hotplug_failed(struct vbd *v);
/* Take away the whole device, as libxl does after a detach. */
int vbd_remove_nodes(struct vbd *v);
int vbd_read_front(struct vbd *v, struct blk_connect *c, struct pvb_error *err);
int vbd_publish_disk(struct vbd *v);                                 /* before state 4 */
int vbd_publish_size(struct vbd *v);                                 /* after a resize */
bool vbd_online(struct vbd *v);

/* --- lock.c ----------------------------------------------------------------------------------------- */
/* Lock the image against every other writer (other daemons by an open file description lock). 0, -EBUSY
 * with the holder's name, or -EAGAIN: the same VM's old domain is letting go of it, try again when told. */
int vbd_lock(struct vbd *v, struct pvb_error *err);
/* Would it be -EBUSY now?  Changes nothing. */
int vbd_lock_check(struct vbd *v, struct pvb_error *err);
void vbd_unlock(struct vbd *v);

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
	struct vbd *vbds;
	struct server *ctl, *metrics;
	struct pvb_source *signals;
	int signal_fd;
	struct pvb_watch *kinds[4], *release;
	struct pvb_source *sweep;
	bool stopping;
};
int supervisor_main(const struct sup_options *o);
void supervisor_sweep(struct supervisor *sup);         /* free devices marked gone, from the loop */
void supervisor_check_stopped(struct supervisor *sup); /* a device let go while stopping */
#endif
