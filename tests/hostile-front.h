/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_FRONT_H
#define PVB_TESTS_HOSTILE_FRONT_H
/* A block front end that does what a test says and nothing else: no negotiation, no checks, no shadow.  For
 * tests that lie to a back end.  It connects correctly by default; every text in the store, every index,
 * slot and shared word can be replaced.
 *
 *	struct hfront h;
 *	hfront_offer(tool, "vbd", 0, 3, 51712, keys, nr, &err);    // as domain 0: both directories
 *	hfront_open(&h, "local:DIR:3", "vbd", 51712, &err);        // as domain 3
 *	hfront_connect(&h, &(struct hfront_options){ .pages = 16 }, 5000, &err);
 *	hfront_rw(&h, slot, BLKIF_OP_READ, 7, 0, 0, 1);            // id 7, sector 0, data page 0, 1 page
 *	hfront_put(&h, 0, slot); hfront_push(&h, 0);
 *	hfront_response(&h, 0, &rsp, 1000);
 *	hfront_close(&h);
 *
 * What it does to the store suits any class of device: hostile-nic.h uses it for NICs.
 * All waits are bounded and end with -ETIMEDOUT.  Calls return 0 or -errno.  One thread, except the flipper's.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "frontend/user/wire.h"
#include "hv.h"
#include "offer.h"
#include "ring.h"
#include "state.h"
#include "store.h"

#define HFRONT_QUEUES 8

struct hfront_options {
	unsigned queues;       /* 0 = 1; at most HFRONT_QUEUES */
	unsigned ring_order;   /* pages of each ring: 2^n */
	unsigned pages;        /* of data, granted writable; 0 = 16 */
	bool abi32, persistent;
	/* Below the device's directory ("ring-ref", "queue-1/event-channel"), after the correct keys were written
	 * and in the same transaction: a value replaces or adds, NULL removes. */
	const struct pvb_pair *keys;
	unsigned nr_keys;
};

struct hfront_queue {
	struct pvb_grant grant;        /* the ring's pages */
	struct pvb_ring_shared *sh;    /* raw: write what you like */
	uint8_t *slots;                /* raw, nr_slots * slot_size */
	uint32_t port;                 /* ours; UINT32_MAX = none */
	uint32_t prod;                 /* next slot hfront_put() fills */
	uint32_t cons;                 /* next response hfront_response() reads */
};

struct hfront {
	struct pvb_hv *hv;
	struct pvb_store *st;
	uint32_t domid, devid, back_domid;
	char dir[128];                 /* ours */
	char *back;                    /* the back end's directory */
	const struct pvf_wire *wire;
	unsigned queues;
	uint32_t nr_slots, slot_size;
	struct hfront_queue q[HFRONT_QUEUES];
	struct pvb_grant data;
};

/* --- making and connecting ------------------------------------------------------------------------- */

/* tool: a store handle of domain 0 (or of who may).  class: "vbd" or "vif".  pairs go to the back end's directory, at
 * least what the back end needs ("params", "mode"...; "mac", "port"...). */
int hfront_offer(struct pvb_store *tool, const char *class, uint32_t back, uint32_t front, uint32_t devid,
		 const struct pvb_pair *pairs, unsigned nr, struct pvb_error *err);
/* Open handles as the domain spec says and find the device's back end. */
int hfront_open(struct hfront *h, const char *spec, const char *class, uint32_t devid, struct pvb_error *err);
/* Wait until the back end is in 2, so that a front end may begin; in 4, or *err has what it says instead. */
int hfront_offered(struct hfront *h, int timeout_ms, struct pvb_error *err);
int hfront_connected(struct hfront *h, int timeout_ms, struct pvb_error *err);
/* Rings, ports and data pages, correct and empty (indices 0).  Nothing is written to the store. */
int hfront_rings(struct hfront *h, const struct hfront_options *opt, struct pvb_error *err);
/* Keys for the rings there are, changed as opt->keys says.  Not the state. */
int hfront_publish(struct hfront *h, const struct hfront_options *opt, struct pvb_error *err);
/* All of it: wait for 2, rings, publish, state 3, wait for 4, state 4. */
int hfront_connect(struct hfront *h, const struct hfront_options *opt, int timeout_ms, struct pvb_error *err);
/* Free everything; the store is left as it is.  Fine on a zeroed or half-opened one. */
void hfront_close(struct hfront *h);
/* Give up rings, ports and data (in any state), keep the handles: to connect again. */
void hfront_drop(struct hfront *h);

/* --- the store -------------------------------------------------------------------------------------- */

int hfront_state(struct hfront *h, unsigned state);                      /* our state, any number */
int hfront_write(struct hfront *h, const char *key, const char *value);  /* any key of ours, any text */
/* The same in a transaction; value NULL removes it. */
int hfront_write_txn(struct hfront *h, pvb_txn t, const char *key, const char *value);
int hfront_write_num(struct hfront *h, pvb_txn t, const char *key, uint32_t value);
/* Wait until the back end's state is one of the bits (1u << state); the state, or -ETIMEDOUT. */
int hfront_wait_back(struct hfront *h, unsigned states, int timeout_ms);
/* The back end's error node (or hotplug-error); "" when there is none. */
void hfront_error(struct hfront *h, char *buf, size_t len);

/* --- the ring --------------------------------------------------------------------------------------- */

uint8_t *hfront_slot(struct hfront *h, unsigned q, uint32_t index);      /* raw pointer, index taken modulo */
void hfront_put(struct hfront *h, unsigned q, const void *slot);         /* slot_size bytes at prod++; not shown yet */
void hfront_push(struct hfront *h, unsigned q);                          /* req_prod = prod, and notify always */
void hfront_push_to(struct hfront *h, unsigned q, uint32_t req_prod);    /* req_prod = any number, and notify */
int hfront_notify(struct hfront *h, unsigned q);
/* The next response, in ring order. */
int hfront_response(struct hfront *h, unsigned q, struct pvf_rsp *rsp, int timeout_ms);
/* Responses not read yet, without waiting. */
uint32_t hfront_unread(struct hfront *h, unsigned q);
/* put, push and wait for the one response: its status, or -ETIMEDOUT (-110) / -EBADMSG (another id). */
int hfront_roundtrip(struct hfront *h, unsigned q, const void *slot, uint64_t id, int timeout_ms);

/* --- well-formed slots to start from (PVF_SLOT_MAX bytes) ------------------------------------------- */

/* nr whole data pages from page on (at most 11). */
void hfront_rw(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, unsigned page, unsigned nr);
/* Any segments, nr as it is to be written (memory is only read for the first 11). */
void hfront_segs(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, const struct pvf_seg *segs,
		 unsigned nr);
/* Indirect: nr segments of whole pages from `page` on, the table in data page `table`. */
void hfront_indirect(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, unsigned table,
		     unsigned page, unsigned nr);
void hfront_discard(struct hfront *h, void *slot, uint64_t id, uint64_t sector, uint64_t nr_sectors, uint8_t flag);
uint8_t *hfront_page(struct hfront *h, unsigned page);
uint32_t hfront_gref(struct hfront *h, unsigned page);

/* --- a thread that rewrites one shared word between two values as fast as it can -------------------- */

struct hflip {
	pthread_t thread;
	volatile uint32_t *word;
	uint32_t a, b;
	int stop;
	uint64_t flips;      /* valid after hflip_stop() */
};
int hflip_start(struct hflip *f, void *word, uint32_t a, uint32_t b); /* it has begun on return */
void hflip_stop(struct hflip *f);
#endif
