/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_NIF_IMPL_H
#define PVB_BACKEND_NET_NIF_IMPL_H
/* What the files of the network protocol share: netif.c (passes), connect.c (coming and going), tx.c (packets out of
 * the TX ring, answers into it), rx.c (frames into the RX ring), copy.c (grant copies of a pass), ctrl.c (control
 * ring), hash.c (Toeplitz), gref.c (standing maps), mcast.c (multicast list).
 *
 * A packet on its way, all within one pass unless it is held:
 *   TX ring -> tx.pkt[] (taken, checked) -> fetched -> frame -> port_xmit() -> verdict -> answered
 * Packets of a queue are in ring order and leave it in that order; those that are held, or that found no buffer, keep
 * their place and are fetched anew in a later pass.  The requests themselves are in the journal.
 */
#include "bus/loop.h"
#include "bus/ring.h"
#include "netif.h"
#include "nif-journal.h"
#include "rate.h"

#define NIF_RING_SLOTS NIFJ_SLOTS
#define NIF_MAX_EXTRAS 4u        /* one of each type there is */
#define NIF_CTRL_BUDGET 4u       /* control requests of a NIC in one pass */
#define NIF_POLL_MS 1u           /* looks at the ring of a front end that does not notify, while a frame waits */

struct gref_table;

/* ---- one packet ---- */
enum pkt_kind { PKT_FRAME, PKT_MCAST, PKT_REFUSED };

struct nif_pkt {
	uint32_t first;              /* index of its first slot */
	uint16_t nr_slots;           /* with extra infos, which are the 2nd and following */
	uint8_t nr_extras, kind;
	bool bad;                    /* its bytes could not be fetched, or they make no sense */
	bool spoofed;
	bool was_held;
	uint8_t gso;
	uint16_t gso_size;
	uint8_t mcast[6];
	bool mcast_add;
	struct frame f;              /* built anew whenever it is fetched */
};

struct nif_tx {
	struct pvb_ring ring;
	struct pvb_map map;
	struct pvb_event *event;     /* of both directions when rx.event is NULL */
	bool ready;                  /* may have requests: look at the ring */
	bool held;                   /* the first packet waits for its receiver */
	bool throttled;              /* waits for the rate */
	uint32_t partial;            /* slots of a packet whose rest has not come yet */
	uint32_t since_event;        /* taken */
	struct nif_pkt *pkt;         /* NIF_BUDGET */
	unsigned nr, nr_fetched;
	unsigned new_ops, new_staged; /* of this pass, not yet in the statistics */
};

struct nif_rx {
	struct pvb_ring ring;        /* cons: lent buffers used; prod: answers shown */
	struct pvb_map map;
	struct pvb_event *event;
	bool ready;                  /* an event came: look for room if somebody waits */
	bool dirty;                  /* has answers to show */
	struct nif_queue *next_dirty;
	uint32_t heard;              /* producer index at the last event */
	uint32_t avail;              /* unused buffers when last looked */
	uint32_t need;               /* not 0: a frame waits for so many */
	uint64_t since;              /* ms, when it began to wait */
	bool stalled, down;
	uint64_t new_packets, new_bytes; /* not yet in the statistics */
};

struct nif_queue {
	struct nif *nif;
	unsigned id;
	struct nif_queue_stats *stats;
	struct nif_journal *j;
	struct gref_table *grefs;    /* NULL: none yet */
	bool again;                  /* an earlier process served it, and died */
	struct nif_tx tx;
	struct nif_rx rx;
};

struct nif_hash {
	bool on;                     /* algorithm and at least one type are set */
	uint32_t nibble[72][16];     /* of each half byte of the input, under the key */
};

struct nif_ctrl {
	struct pvb_ring ring;
	struct pvb_map map;
	struct pvb_event *event;
	bool ready;
};

struct nif {
	struct nif_ctx *ctx;
	struct nif *next;
	struct nif_config cfg;
	struct port *port;
	struct nif_stats *stats;
	void *owner;
	unsigned nr_queues;          /* 0 = not connected */
	struct nif_queue *queues;
	struct nif_connect c;        /* what the front end said */
	struct nif_ctrl ctrl;
	struct nif_hash hash;
	struct rate tx_rate, rx_rate;
	struct rate refusals;        /* packets */
	struct pvb_source *throttle; /* timer */
	bool broken;
	bool xmitted;                /* in this pass: its port is to be flushed */
	uint64_t last_refusal, untold;
	uint64_t generation;
};

/* ---- copies of a pass ---- */
struct nif_op {                      /* whom copy[i] concerns */
	struct nif_queue *q;         /* whose bytes, or whose buffer */
	struct nif_pkt *pkt;         /* fetching: of this packet */
	uint32_t first;              /* delivering: the first slot of the frame */
};
struct nif_batch { struct pvb_copy *copy; struct nif_op *op; unsigned nr, cap; };
struct nif_key { uint32_t pair, at; };

#define NIF_PORT_AREA (512u * 1024)
#define NIF_OPS 4096u            /* of a batch */
#define NIF_FRAME_OPS 64u        /* one frame needs at most: 20 pieces, cut at the pages of both sides */

struct nif_ctx {
	struct pvb_hv *hv;
	struct pvb_events *events;
	struct pvb_loop *loop;
	struct nif_callbacks cb;
	void *arg;
	struct nif *nifs;
	bool many;                   /* more than one guest has NICs here, or had: copies are put in order */
	struct nif_queue **queues;   /* of all connected NICs */
	unsigned nr_queues, turn;    /* who begins */
	uint8_t *arena;              /* bytes of a pass */
	size_t arena_size, arena_used;
	size_t arena_bytes;          /* with the ports' area behind it */
	bool arena_ours;             /* to be freed */
	struct nif_batch in, out;
	struct pvb_copy *sorted;
	struct nif_key *keys;
	uint8_t *scratch;            /* a page nobody looks at */
	struct nif_queue *dirty;
	uint64_t now;                /* ns, once a round */
	bool running, retry;
	struct pvb_source *again, *tick;
	unsigned tick_ms;
	uint64_t copy_calls;
	struct poll *poll;           /* or NULL */
	bool took;                   /* requests, in this round */
};

/* netif.c */
void nif_broken(struct nif *nif, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void nif_refused(struct nif *nif, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void nif_again(struct nif_ctx *ctx);                 /* a pass soon, from the loop */
void nif_tick(struct nif_ctx *ctx, unsigned ms);     /* a pass in ms at the latest */

/* Ask for an event at the first request after the `seen` ones, then look again: avail() of the moment after. */
static inline int nif_ring_rearm(struct pvb_ring *r, uint32_t seen)
{
	pvb_ring_store(&r->sh->req_event, r->cons + seen + 1);
	PVB_CRASH_POINT(nif_req_event);
	pvb_ring_mb();
	return pvb_ring_back_avail(r);
}

/* tx.c */
void tx_notice(struct nif_queue *q);                 /* between two passes in a row */
void tx_take(struct nif_queue *q);                   /* up to NIF_BUDGET packets wait then */
void tx_fetch(struct nif_queue *q);                  /* adds to ctx->in */
unsigned tx_frames(struct nif_queue *q, struct frame **frames); /* fetched, parsed, filtered */
void tx_answer(struct nif_queue *q);
bool tx_rearm(struct nif_queue *q);                  /* true: there is more to do now */
/* A copy from this domain's page failed on the way to another guest. */
void tx_mark_bad(struct nif_ctx *ctx, uint32_t domid, uint32_t ref);

/* rx.c */
void rx_room(struct nif_queue *q);                   /* somebody may have waited for buffers */
/* Whoever has waited too long is stalled.  How soon (ms) this is to be called again; 0: when something happens. */
unsigned rx_stalls(struct nif_ctx *ctx);
void rx_failed(struct nif_queue *q, uint32_t first); /* the frame's buffer could not be written */
void rx_push(struct nif_ctx *ctx);

/* copy.c */
int copy_new(struct nif_ctx *ctx, size_t memory);
void copy_free(struct nif_ctx *ctx);
static inline struct pvb_copy *copy_add(struct nif_batch *b, struct nif_queue *q, struct nif_pkt *pkt, uint32_t first)
{
	struct pvb_copy *c = &b->copy[b->nr];

	b->op[b->nr++] = (struct nif_op){ q, pkt, first };
	c->status = 1; /* not done until it says so */
	return c;
}
static inline bool copy_fits(const struct nif_batch *b, unsigned nr) { return b->nr + nr <= b->cap; }
void copy_fetch(struct nif_ctx *ctx);                /* carry out ctx->in; marks packets bad */
void copy_deliver(struct nif_ctx *ctx);              /* carry out ctx->out; marks slots as failed */
uint8_t *copy_buffer(struct nif_ctx *ctx, size_t len, size_t skew); /* until the next pass; NULL: none left */

/* ctrl.c */
void ctrl_run(struct nif *nif);

/* hash.c */
void hash_setup(struct nif *nif);                    /* after a change of the journalled state */
/* false: no hash for this frame.  *type: XEN_NETIF_CTRL_HASH_TYPE_*'s number. */
bool hash_frame(const struct nif *nif, const struct frame *f, uint32_t *value, uint8_t *type);

/* gref.c */
struct gref_entry { uint32_t ref; bool readonly; struct pvb_map map; };
uint8_t *gref_find(const struct gref_table *t, uint32_t ref, bool write); /* the page, or NULL */
/* before: how many there were; if one can not be added, so many are left. */
int gref_add(struct nif_queue *q, const struct xen_netif_gref *list, unsigned nr, unsigned max, unsigned before,
	     uint32_t *bad);
bool gref_del(struct nif_queue *q, uint32_t ref);
void gref_free(struct nif_queue *q);
/* Map what the journal says that an earlier process had mapped, as far as it is still granted. */
void gref_restore(struct nif_queue *q);
unsigned gref_count(const struct gref_table *t);

/* mcast.c */
int mcast_change(struct nif *nif, const uint8_t *addr, bool add); /* -EINVAL no group address, -ENOSPC full */
bool mcast_wanted(const struct nif *nif, const uint8_t *addr);

static inline const struct nifj_state *nif_state(const struct nif *nif)
{
	return nifj_state(nif->queues[0].j);
}
#endif
