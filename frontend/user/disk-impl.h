/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_DISK_IMPL_H
#define PVF_DISK_IMPL_H
/* What the files of libpvfront's block part share; programs include pvfront.h only.
 *
 *   guest.c    the domain: one set of event channels, domain id
 *   dev.c      life of any device: phases, which follow both ends' states
 *   disk.c     what a disk does at the turns of its life
 *   disk-api.c the public calls on a disk
 *   connect.c  one connection: keys read and published, rings and ports made and revoked
 *   queue.c    one ring: requests into slots, responses looked up, bounce pages
 *   request.c  what is accepted from the caller, granted buffers
 *   wire.c     bytes of a slot
 */
#include "dev.h"
#include "ring.h"
#include "wire.h"

/* --- queue.c ---------------------------------------------------------------------------------------- */

/* One slot that the back end has not answered. */
struct pvf_shadow {
	uint64_t id;              /* what the answer must say: uses << 32 | own number */
	struct pvf_req *req;      /* NULL: free */
	uint64_t at;              /* first byte within the request */
	uint32_t len;             /* bytes; of a discard 0 */
	uint32_t next_free;
	uint16_t nr_pages;        /* bounce pages held; the last one is the indirect page if `indirect` */
	uint8_t op;               /* what the answer must say: BLKIF_OP_*, of an indirect request the inner one */
	bool bounced, indirect;
};

struct pvf_queue {
	struct pvf_disk *disk;
	unsigned nr;
	struct pvb_ring ring;
	struct pvb_grant ring_pages, pool;
	struct pvb_event *event;
	struct pvf_shadow *shadow;  /* ring.nr_slots */
	uint32_t max_bounce;        /* segments of a request that is copied: what the pool allows */
	uint16_t *pages;            /* max_bounce + 1 for each shadow: pool page numbers */
	uint16_t *free_pages;       /* LIFO, so that a back end which keeps pages mapped sees few of them */
	uint32_t nr_free_pages, free_shadow;
	uint32_t since_event;       /* responses taken since an event was heard */
	struct pvb_source *again;   /* a round was cut short: go on after the others had theirs */
};

/* Requests of one queue in the order they came; everything before `issue` is in the ring completely. */
struct pvf_list {
	struct pvf_req *head, *tail, *issue;
	uint32_t nr;
};

int pvf_queue_start(struct pvf_queue *q, struct pvb_error *err); /* after the limits are known: shadows and pool */
void pvf_queue_free(struct pvf_queue *q);                        /* revokes; fine on a half-made one */
void pvf_queue_issue(struct pvf_queue *q);                       /* list -> ring as far as there is room */
void pvf_queue_push(struct pvf_queue *q);
int pvf_queue_poll(struct pvf_queue *q, uint32_t budget);        /* slots answered, or -EPROTO */
bool pvf_queue_event(void *arg);                                 /* pvb_event handler */

void pvf_list_add(struct pvf_list *l, struct pvf_req *req);
void pvf_list_del(struct pvf_list *l, struct pvf_req *req);
void pvf_list_restart(struct pvf_list *l);                       /* as if nothing had been issued */

/* --- connect.c -------------------------------------------------------------------------------------- */

int pvf_connect_offer(struct pvf_disk *disk, struct pvb_error *err);   /* rings, keys; not the state */
int pvf_connect_live(struct pvf_disk *disk, struct pvb_error *err);    /* properties, shadows */
int pvf_connect_resize(struct pvf_disk *disk, struct pvb_error *err);  /* 1 = the size is another one */
void pvf_connect_stop(struct pvf_disk *disk);                          /* no event comes any more */
void pvf_connect_free(struct pvf_disk *disk);                          /* revoke everything */

/* --- disk.c ----------------------------------------------------------------------------------------- */

struct pvf_disk {
	struct pvf_dev dev;        /* first: see disk_of() */
	struct pvf_options opt;
	const struct pvf_wire *wire;
	struct pvf_info info;
	struct pvf_stats stats;
	struct pvf_list lists[PVF_MAX_QUEUES];
	struct pvf_queue queues[PVF_MAX_QUEUES];
	unsigned nr_queues;        /* of this connection; 0 = none */
	unsigned ring_order;
};
extern const struct pvf_dev_ops pvf_disk_ops;

void pvf_disk_fail_all(struct pvf_disk *disk, int rc);  /* every request there is */
/* May this disk, as it is now, carry out the request?  (request.c) */
int pvf_disk_check(const struct pvf_disk *disk, const struct pvf_req *req);
#endif
