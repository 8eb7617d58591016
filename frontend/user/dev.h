/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_DEV_H
#define PVF_DEV_H
/* The life of a device of our domain, whatever its protocol: the phases of pvfront.h, which follow both ends'
 * states in the store.  A disk and a NIC each begin with one.
 *
 * Steps    All store work and every change of phase happens in step(), a timer of 0 ms which callbacks ask for by
 *          pvf_dev_poke().  So a watch, an event or a caller's function can run at any place without the device
 *          changing under the one above it.  A step may run any number of times.
 * Trust    A back end that lies is reported by pvf_dev_dead(), once, with a sentence; the next step closes the device.
 * Errors   0 or -errno with words in dev->error.  Never logs.
 */
#include "pvfront.h"
#include "event.h"
#include "nodes.h"
#include "state.h"

struct pvf_guest {
	struct pvb_hv *hv;
	struct pvb_store *store;
	struct pvb_loop *loop;
	struct pvb_events *events;
	uint32_t domid;
	char home[64];
};

struct pvf_dev;

/* What a protocol does.  All are called from step() only, except fail, stop and free, which the last call may use. */
struct pvf_dev_ops {
	const char *kind;                        /* "vbd": of our directory, and in front of each error */
	enum pvb_state offered;                  /* what announces our keys */
	int (*offer)(struct pvf_dev *dev, struct pvb_error *err);  /* rings, keys, the state */
	int (*connect)(struct pvf_dev *dev, struct pvb_error *err); /* the back end is in 4: take what it says */
	void (*begin)(struct pvf_dev *dev);      /* the phase is LIVE now */
	int (*look)(struct pvf_dev *dev, struct pvb_error *err);   /* while live: 1 = something to tell the owner */
	void (*left)(struct pvf_dev *dev);       /* no more LIVE, perhaps later again */
	void (*fail)(struct pvf_dev *dev, int rc); /* for good */
	void (*stop)(struct pvf_dev *dev);       /* no event comes any more; idempotent */
	void (*free)(struct pvf_dev *dev);       /* stop and revoke everything; idempotent */
	void (*tell)(struct pvf_dev *dev);       /* the owner's changed() */
};

struct pvf_dev {
	const struct pvf_dev_ops *ops;
	struct pvf_guest *guest;
	uint32_t devid, back_domid;
	char dir[128];             /* our device directory */
	char *back;                /* the back end's, as our key says; NULL before it was read */
	enum pvf_phase phase;
	struct pvb_error error;
	uint32_t *generation;      /* in the owner's info */
	struct pvb_watch *watch_dir, *watch_back, *watch_carrier;
	struct pvb_source *step, *timer;
	bool wait;                 /* connect again also to a back end that never served us */
	bool carrier;              /* the back end's carrier key is of interest */
	bool stopping;             /* told to close for good */
	bool dead;                 /* the back end lied */
	bool was_live;             /* this device, once */
	bool changed;              /* tell the owner at the end of this step */
	enum pvb_state own;        /* as we wrote it last */
	uint64_t since_ms;         /* of this phase */
	unsigned retry_ms;         /* pause before the next connect; doubles while connections stay short */
};

/* *dev is zeroed, but for generation, wait and carrier.  -ENOENT: no such device.  On failure nothing is left. */
int pvf_dev_open(struct pvf_dev *dev, const struct pvf_dev_ops *ops, struct pvf_guest *guest, uint32_t devid,
		 struct pvb_error *err);
void pvf_dev_stop(struct pvf_dev *dev);
bool pvf_dev_down(struct pvf_dev *dev, int timeout_ms);
void pvf_dev_close(struct pvf_dev *dev, int timeout_ms); /* down; then everything of it is freed but itself */
int pvf_dev_wait(struct pvf_dev *dev, int timeout_ms, struct pvb_error *err);

void pvf_dev_poke(struct pvf_dev *dev);
/* The back end broke the protocol. */
void pvf_dev_dead(struct pvf_dev *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool pvf_dev_works(const struct pvf_dev *dev)
{
	return dev->phase == PVF_LIVE && !dev->dead;
}

/* For connect code: the back end's directory must point back at us. */
int pvf_dev_check_pair(const struct pvf_dev *dev, const struct pvb_value *frontend, const struct pvb_value *frontend_id,
		       struct pvb_error *err);
/* Keys of an earlier connection, with other queues or another ring order, would contradict those of the next.  Of dir, all
 * that is there and is_old() goes. */
int pvf_dev_remove_old(struct pvb_store *st, pvb_txn t, const char *dir, bool (*is_old)(const char *name));
/* Our state says that the keys are there.  In their transaction; -ENOENT: the device was removed meanwhile, and writing would make half
 * a device of it. */
int pvf_dev_announce(struct pvb_store *st, pvb_txn t, const struct pvf_dev *dev);
bool pvf_dev_is_queue(const char *name, unsigned max);
#endif
