/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_BLKIF_IMPL_H
#define PVB_BACKEND_BLOCK_BLKIF_IMPL_H
/* What the files of the block protocol share: blkif.c (passes), data.c (guest pages), policy.c (failing
 * storage), connect.c (coming and going).
 *
 * A request is two structs with one index: its blk_entry in the journal (what it says; outlives us) and its
 * blk_req (how far it is; ours).  A blk_req is on exactly one list at a time:
 *
 *   taken -> [starved] -> fetched -> submit -> (provider) -> finished -> responded
 *                            \-> dev->held, a barrier       \-> dev->parked, by policy -> submit
 */
#include "../aio.h"
#include "blkif.h"

struct blk_list { struct blk_req *head, *tail; };

struct pgrants;                       /* persistent grants of a queue; data.c */

struct blk_req {
	struct blk_queue *q;
	struct blk_entry *e;
	struct blk_req *next;
	uint64_t t0;                  /* ns, when taken */
	struct bio bio;
	unsigned step;
	uint64_t discarded;           /* bytes */
	bool troubled;                /* was held by the policy */

	/* the data */
	struct iovec *iov, iov0;
	struct iovec zero;            /* of a write of zeroes */
	unsigned nr_iov;
	void *buf;                    /* copy: the data; map: the iovecs */
	size_t buf_got;
	struct pvb_map map;           /* map mode */
	bool copies, pinned;          /* data goes by grant copy; uses persistent grants */
	bool in_place;                /* a read of what the provider has in memory: copied from there, not submitted */
	const uint8_t *place;         /* in_place: NULL = zeroes */
	unsigned first_op, nr_ops;    /* in ctx->ops, during a copy call */
	int fetch_status;             /* indirect page */
	uint32_t bad_gref;
};

struct blk_queue {
	struct blk_dev *dev;
	unsigned id;
	enum blk_abi abi;
	bool ready;                   /* may have requests: look at the ring */
	bool dirty;                   /* has responses to push */
	unsigned since_event;         /* requests taken since an event was heard */
	struct blk_queue *next_dirty;
	struct pvb_ring ring;
	struct pvb_map ring_map;
	struct pvb_event *event;
	struct pvb_journal journal;
	struct blk_req *reqs;
	struct blk_req *responded;
	struct stats_queue *stats;
	struct pgrants *pgrants;      /* NULL unless negotiated */
	uint32_t *found;              /* while connecting: entries of the journal, as `recovery` says; NULL: a new one */
	struct pvb_journal_recovery recovery;
};

struct blk_dev {
	struct blk_ctx *ctx;
	struct blk_dev *next;
	struct blk_config cfg;
	struct disk *disk;
	struct stats_device *stats;
	void *owner;
	unsigned nr_queues;           /* 0 = not connected */
	struct blk_queue *queues;
	unsigned in_flight;           /* taken, not yet pushed */
	bool broken, closing, stopped;
	bool write_zeroes;            /* negotiated */
	struct blk_req *held;         /* the barrier that holds the device */
	bool barrier_waits;           /* and it has not started: others are before it */
	struct blk_list parked;
	unsigned nr_troubled;
	struct pvb_source *retry;
	uint64_t last_refusal, untold;
};

struct blk_ctx {
	struct pvb_hv *hv;
	struct pvb_events *events;
	struct worker_io *io;
	uint32_t domid;
	struct bufpool *pool;
	size_t mapped, map_cap;       /* pages mapped for the time of a request */
	const uint8_t *zeroes;        /* a page of them */
	struct blk_callbacks cb;
	void *arg;
	struct blk_dev *devs;
	uint64_t now;                 /* ns, read twice a pass */
	bool running;
	bool left;                    /* this pass has not taken all there was */
	struct pvb_source *again;
	struct blk_list taken, starved, fetched, submit, finished;
	struct blk_queue *dirty;
	struct pvb_copy *ops;
	unsigned nr_ops, cap_ops;
	uint8_t *indirect;            /* private copies of indirect pages of one pass */
	size_t indirect_pages;
	uint64_t copy_calls;
	struct poll *poll;            /* or NULL */
};

static inline void blk_list_add(struct blk_list *l, struct blk_req *r)
{
	r->next = NULL;
	if (l->tail)
		l->tail->next = r;
	else
		l->head = r;
	l->tail = r;
}

static inline struct blk_req *blk_list_pop(struct blk_list *l)
{
	struct blk_req *r = l->head;

	if (r) {
		l->head = r->next;
		if (!l->head)
			l->tail = NULL;
	}
	return r;
}

/* Answer what an earlier process had done, and put the rest where what is just taken goes. */
void blk_go_on(struct blk_queue *q);
void blk_limits_now(const struct blk_dev *dev, struct blk_limits *lim);

/* data.c */
void data_fetch_indirect(struct blk_ctx *ctx);        /* for all on ctx->taken: one copy call */
int data_acquire(struct blk_req *r);                  /* buffers or mappings; -EAGAIN: none free, wait */
void data_release(struct blk_req *r);                 /* idempotent */
void data_copy_add(struct blk_req *r, bool from_guest); /* nothing to do for mapped requests */
void data_copy_run(struct blk_ctx *ctx);
int data_copy_check(struct blk_req *r);               /* 0, or the status of the first copy that failed */
void data_copy_clear(struct blk_ctx *ctx);
int pgrants_new(struct pgrants **out, uint32_t nr_slots);
void pgrants_free(struct pgrants *p, struct pvb_hv *hv);

/* policy.c */
bool policy_holds(struct blk_req *r);                 /* true: the request is parked */
void policy_over(struct blk_req *r);                  /* answered */
void policy_drop(struct blk_dev *dev, void (*drop)(struct blk_req *r));

/* connect.c */
void connect_drain(struct blk_ctx *ctx);              /* finish disconnects whose requests are gone */
#endif
