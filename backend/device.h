/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_DEVICE_H
#define PVB_BACKEND_DEVICE_H
/* What a disk and a NIC have in common in the supervisor: a place in the store, states, a worker that serves it.
 *
 *   device.c       made, looked for, freed; its worker's messages
 *   device-step.c  the states
 *   vbd.c, vif.c   the two users: each a struct that begins with a struct device, and a const struct device_ops
 *
 * A device is driven by device_step(), which looks at everything afresh and may be called at any time: events
 * only say "look again".  What a kind of device does on its way is in its ops; none of them moves a state.
 *
 *   1 Initialising   the toolstack made it        -> probe(), 2
 *   2 InitWait       until the hotplug script has finished and the front end has written its keys: the worker
 *                    attaches the device, connects the rings; 4.
 *                    A back end that left 2 earlier would break xl, which waits to see exactly 2.
 *   4 Connected      until the front end (5, 6, gone), the toolstack (writes 5 here) or an error ends it
 *   5 Closing        until the front end is at 6 or gone and the worker has let go, then 6
 *   6 Closed         offline: the toolstack removes it; online: a front end that starts anew (1) leads to 2
 *
 * Trust    As supervisor.h says.  hotplug-status is the toolstack's and never changed here.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/nodes.h"
#include "bus/offer.h"
#include "bus/state.h"
#include "ipc.h"
#include "log.h"

struct supervisor;
struct guest;
struct device;

enum device_phase {
	DEV_NEW,             /* the worker knows nothing of it */
	DEV_ATTACHING, DEV_ATTACHED,
	DEV_CONNECTING, DEV_CONNECTED,
	DEV_DISCONNECTING,
};
extern const char *const device_phase_name[];

/* All may be called again and again.  -errno with *err filled fails the device. */
struct device_ops {
	const char *class;           /* "vbd", "vif": below the front end's device/ */
	enum ipc_class ipc;
	size_t bytes;                /* of the user's struct */
	size_t stats_bytes;          /* of its counters, */
	uint32_t stats_version;      /* which begin with this */
	const struct pvb_key *error, *online, *script, *hotplug_status; /* keys of the back end's directory */
	unsigned ready;              /* bits: front end's states in which its keys are complete */
	bool mounted;                /* a guest may have good reason to keep it open: never hurried */
	bool restarts;               /* a connected front end at 1 has begun anew */

	void (*name)(const struct device *d, char *buf, size_t len); /* "vbd 3/51712 (xvda)" */
	/* It was there when we came: take hold of what outlives a pvbackd.  Nobody hears of failures. */
	void (*found)(struct device *d);
	/* Before state 2: publish what the front end may choose from.  -ENOENT: the directory is gone. */
	int (*probe)(struct device *d, struct pvb_error *err);
	/* Open what it stands for, unless it is open since a worker died.  Fills the message, d->place, and descriptors (which
	 * are closed when sent).  -EAGAIN: an earlier worker's I/O still goes on, asked again soon. */
	int (*attach)(struct device *d, struct ipc_msg *m, int fds[IPC_MAX_FDS - 1], unsigned *nr_fds, struct pvb_error *err);
	/* Can another worker go on where one died?  NULL: no. */
	bool (*resumes)(const struct device *d);
	/* Is what it stands for still there for another pvbackd? */
	bool (*outlives)(const struct device *d);
	/* What the worker says of it when attached or later.  NULL, or what it did ("told ..."): it is killed. */
	const char *(*info)(struct device *d, const struct ipc_msg *m);
	/* The front end's keys, read and checked in the transaction t, in which its state asks for it; *c is zeroed
	 * before. */
	int (*read_front)(struct device *d, struct pvb_store *st, pvb_txn t, union ipc_connect *c, struct pvb_error *err);
	/* Publish what must be there before state 4, take what must be ours.  -EAGAIN: not yet, will be stepped. */
	int (*before_connect)(struct device *d, struct pvb_error *err);
	uint32_t journal_version;    /* of what follows in each of them */
	size_t (*journal_bytes)(const union ipc_connect *c); /* of all queues */
	/* Connected, and something may have changed: may be NULL. */
	void (*look)(struct device *d);
	/* Other messages of the worker; text is clean. */
	void (*message)(struct device *d, const struct ipc_msg *m, const char *text);
	void (*let_go)(struct device *d);   /* the rings are gone: undo before_connect() */
	void (*detach)(struct device *d);   /* the worker has forgotten it: undo attach() */
	void (*gone)(struct device *d);     /* its directory is gone, for good: undo probe() */
	void (*free)(struct device *d);     /* the process ends, or after gone() */
	/* Could it be attached?  For the hotplug script: changes nothing. */
	int (*check)(struct supervisor *sup, const char *back, struct pvb_error *err);
};
extern const struct device_ops vbd_ops, vif_ops;

struct device {
	struct device *next;
	struct supervisor *sup;
	const struct device_ops *ops;
	struct pvb_device_id id;
	char kind[16];
	char back[160], front[160];
	char place[32];              /* whose worker serves it: "" its guest's, else a switch's */
	bool nbd;                    /* by the one of its workers that has libnbd */
	struct pvb_watch *watch;     /* the front end's state */
	struct pvb_source *patience; /* a wait with an end: for a front end without rings, for the toolstack */
	struct guest *guest;         /* while the worker knows the device */
	enum device_phase phase;
	enum pvb_state state;        /* the back end's, as last seen or written */
	unsigned scan;               /* the last look at a whole directory that met it */
	bool seen;                   /* it was stepped before */
	bool probed;                 /* state 2 was ours */
	bool foreign;                /* found connected under an earlier pvbackd */
	bool failed;                 /* on its way out because of error */
	bool broken;                 /* the front end broke the protocol */
	bool yielded;                /* what it stands for was handed to the same VM's new domain */
	bool impatient;              /* that end has come */
	bool hopeless;               /* could not be offered; not tried again before the front end has moved */
	bool refused;                /* its hotplug script failed and nobody takes it away */
	struct pvb_source *cooling;  /* reconnects too often: offered again when this is over */
	uint64_t cycles_since;       /* ms */
	unsigned cycles;
	bool cooled;                 /* it was told that it is slowed down: once */
	struct pvb_source *soon;     /* device_step_soon() */
	bool step_again, stepping, gone;
	char error[240];
	char vm[64];                 /* identity of the VM, "" unknown */
	union ipc_connect connect;   /* how it is connected */
	int journal_fd;
	bool adopted;                /* resuming, and it was an earlier pvbackd that connected it */
	bool resuming;               /* connected, and its worker died: another one is to go on */
	struct pvb_source *pause;    /* before the next one, if many die */
	unsigned deaths;             /* of workers, in a row */
	uint64_t unfenced;           /* ms: since when it waits for a dead worker's I/O; 0: it does not */
	bool fence_said;
	uint64_t died, connected;    /* ms, the last one */
	bool parked;                 /* too many: nobody goes on until told to */
	void *stats;                 /* the worker's counters; NULL: none */
	int stats_fd;
};

/* --- device.c --------------------------------------------------------------------------------------- */
const struct device_ops *device_ops_of(const char *kind);
/* class NULL: any; id->kind NULL: any. */
struct device *device_find(struct supervisor *sup, const char *class, const struct pvb_device_id *id);
int device_new(struct supervisor *sup, const struct pvb_device_id *id, const char *kind);
void device_init(struct device *d, struct supervisor *sup, const struct device_ops *ops, const struct pvb_device_id *id,
		 const char *kind);
void device_free(struct device *d);
/* A line about it, with its name in front, at its domain's expense (log_of()). */
void device_log(const struct device *d, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* How messages name it; valid until the next call. */
const char *device_name(const struct device *d);
void device_message(struct device *d, struct ipc_msg *m);
void device_worker_died(struct device *d, const char *how);
/* A worker died and nobody has taken over yet: do what comes next.  True: it was so. */
bool device_step_resume(struct device *d);
void device_unpark(struct device *d);
void device_ipc(const struct device *d, struct ipc_msg *m, enum ipc_type type); /* an empty message about it */
void device_attach(struct device *d);
/* Found connected: take it over from an earlier pvbackd if that has left what it takes. */
void device_adopt(struct device *d);
void device_connect(struct device *d);        /* reads the front end's keys first */
void device_send_connect(struct device *d);   /* as d->connect says */
/* Let go of the rings and keep all else (stopping the daemon, handing the image over). */
void device_quiesce(struct device *d);
void device_detach(struct device *d);
/* Give the device up: log, error node, state towards Closed. */
void device_fail(struct device *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Unless it is no longer what the step that decided this has seen: false.  A toolstack may have asked for Closing, or have
 * taken the device away and made another in its place; either is seen by the next step. */
bool device_move_state(struct device *d, enum pvb_state to, const char *why);
/* A key of the back end's directory, while that is there; NULL takes it away. */
void device_set_text(struct device *d, const struct pvb_key *key, const char *text);
/* Is the key there, with this value? */
bool device_has(struct device *d, const struct pvb_key *key, const char *want);
bool device_is_blank(struct device *d, const struct pvb_key *key); /* not there, or empty */
/* Is this hotplug script ours: a file, or a symbolic link to one, whose name begins with ours?  Toolstacks that can name no
 * script for a disk run Xen's "block", which may be such a link. */
bool device_script_is(const char *script, const char *ours);
/* Are frontend and frontend-id, where present, what the directory says? */
int device_check_front(const struct device *d, const struct pvb_value *frontend, const struct pvb_value *id,
		       struct pvb_error *err);

/* --- device-step.c ---------------------------------------------------------------------------------- */
void device_step(struct device *d);
void device_step_soon(struct device *d); /* once for all that is heard until the loop comes round */
#endif
