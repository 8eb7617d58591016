/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_FAKE_BACK_H
#define PVB_TESTS_FAKE_BACK_H
/* A block back end on a thread of the test: serves memory, offers what it is told to offer, and lies on demand.
 * Small and simple-minded on purpose; pvbackd is the real one.  It checks what a front end must keep to (grants
 * that can be used, ranges, one meaning per field) and counts what it did not like in `complaints`.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "error.h"
#include "ring.h"

enum fback_lie {
	FBACK_HONEST,
	FBACK_WRONG_ID,      /* an id nobody gave out */
	FBACK_HUGE_ID,       /* ... with all bits set */
	FBACK_STALE_ID,      /* the right slot, of an earlier use */
	FBACK_DUPLICATE,     /* one request answered twice */
	FBACK_WRONG_OP,
	FBACK_OUTER_OP,      /* an indirect request answered as INDIRECT */
	FBACK_WRONG_STATUS,
	FBACK_PROD_JUMP,     /* rsp_prod far ahead */
	FBACK_PROD_ONE,      /* rsp_prod one ahead of what is outstanding */
	FBACK_PROD_BACK,     /* rsp_prod goes backwards */
	FBACK_SILENT,        /* takes requests and never answers */
};

struct fback_options {
	uint32_t max_queues, max_order, indirect; /* 0: key not written */
	bool flush, barrier, discard, secure, persistent, readonly;
	uint64_t sectors;        /* 0: 32768 (16 MiB) */
	uint32_t sector_size;    /* 0: key not written */
	bool reverse;            /* answer each batch backwards */
	bool wait;               /* stay in state 1 until fback_go() */
	bool keep;               /* do not unmap the first four data pages, ever */
	bool hold;               /* take requests, answer on fback_release() */
	bool spy;                /* complain of bytes that are not meant for us (spy.h) */
	bool untrusted;          /* the front end's directory says so: trusted 0 */
	enum fback_lie lie;
	unsigned honest;         /* requests answered properly before the lie */
	int16_t flush_status, discard_status, error_status;
	uint64_t error_sector;   /* requests that touch it get error_status, if that is not 0 */
};

struct fback_counts {
	uint32_t requests, reads, writes, indirect, flushes, barriers, discards, secure_discards, max_segs;
	uint32_t connects, complaints, queues, order, nr_slots;
	bool abi32, persistent;
	char complaint[160];
};

struct fback;

/* A domain with the store directories a toolstack makes. */
int fback_domain(const char *dir, uint32_t pages, uint32_t *domid, struct pvb_error *err);

/* Make the device (as domain 0 of the fabric at dir, or of the Xen we run on if that is "xen") and serve it. */
int fback_start(struct fback **out, const char *dir, uint32_t front, uint32_t devid, const struct fback_options *opt,
		struct pvb_error *err);
/* Stop serving without a word, as if killed; the store stays as it is.  Then free.  NULL is fine. */
void fback_kill(struct fback *fb);
/* Remove the device as a toolstack does (graceful: online 0 and 5, wait for 6; else only the directories); kill. */
void fback_remove(struct fback *fb, bool graceful);
/* Directories away and made again at once, with the back end starting in 1 -> 2 again. */
void fback_remake(struct fback *fb);
void fback_go(struct fback *fb);
void fback_release(struct fback *fb);       /* answer what is held; hold no more */
void fback_state(struct fback *fb, unsigned state);  /* write any state, do nothing else */
void fback_close(struct fback *fb);         /* 5, then 6 with the front end; online stays 1 */
void fback_reopen(struct fback *fb);        /* 2 again */
void fback_resize(struct fback *fb, uint64_t sectors);
void fback_key(struct fback *fb, const char *key, const char *value); /* in the back end's directory; NULL removes */
void fback_lie(struct fback *fb, enum fback_lie lie);
void fback_storm(struct fback *fb, unsigned events); /* notify without cause */
void fback_counts(struct fback *fb, struct fback_counts *c);
uint8_t *fback_data(struct fback *fb);      /* only while no request is in flight */
/* Both ends' indices to start: call when connected and idle; front: the front end's private part of queue q. */
void fback_shift(struct fback *fb, unsigned q, uint32_t start, struct pvb_ring *front);
#endif
