/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_NIF_JOURNAL_H
#define PVB_BACKEND_NET_NIF_JOURNAL_H
/* What the next worker must know about one queue to go on after this one died at any instruction.
 *
 * Why       The ring tells most: responses are put in ring order and shown by whole packets, so the slots from rsp_prod
 *           to req_prod are the unanswered requests, as the guest wrote them.  What it can not tell is what
 *           happened between the first store of a response (which destroys its request) and the store to rsp_prod.
 *           So the responses of a batch are written here first, then an intent (rsp_next), then the ring.
 * Layout    One struct in a memfd of the supervisor's, a multiple of a page.  The requests are the private copies that
 *           the worker works on anyway; the responses are 4 and 8 bytes a slot.  Plain stores, no system call.
 *           The NIC's own state (hash, multicast list) is in queue 0's, twice: `current` says which is whole.
 *           So is its control ring, of which one request is on its way at a time.
 * Order     take      copies of a packet's requests, then cons (release)
 *           respond   responses, then rsp_next (release), the ring's slots, the ring's rsp_prod, then rsp_prod
 *           state     the other copy, then `current` (release)
 * Recovery  The ring's rsp_prod is either rsp_prod or rsp_next, anything else is the guest's doing.  It is rsp_prod,
 *           and rsp_next is ahead: these responses are put again.  Then taking goes on at rsp_next: what was taken
 *           but not decided is taken again (a frame may go out twice; Ethernet allows that), buffers the guest lent are
 *           lent again.  A control request that was taken is carried out again, as it was: what must not be done twice
 *           (and be answered as if it were new) is noted beside it.  In the end each port is notified once, as a notify
 *           may be missing.
 * Trust     Written by the worker only; the next one checks magic, version, sizes and numbers.
 * Threads   One queue, one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bus/error.h"
#include "bus/ring.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

#define NIFJ_MAGIC 0x314a46494e425650ull /* "PVBNIFJ1" */
#define NIFJ_VERSION 2u
#define NIFJ_SLOTS 256u        /* of a TX or an RX ring of one page */
#define NIFJ_MAPPING 128u      /* entries of the hash mapping */
#define NIFJ_KEY 40u           /* bytes of a hash key */
#define NIFJ_MCAST 64u
#define NIFJ_GREFS 1024u       /* standing maps of a queue: a list of the control ring or two pools */
#define NIFJ_LIST 512u         /* entries of one list */

enum nifj_dir { NIFJ_TX, NIFJ_RX, NIFJ_CTRL, NIFJ_NR_DIRS };

struct nifj_ring {
	uint32_t cons;         /* requests taken, by whole packets */
	uint32_t rsp_prod;     /* responses certainly shown */
	uint32_t rsp_next;     /* responses perhaps shown: rsp_prod, or the end of the batch being pushed */
} __attribute__((aligned(64)));

struct nifj_state {
	uint32_t hash_algorithm, hash_flags, key_len, mapping_size;
	uint8_t key[NIFJ_KEY];
	uint8_t mapping[NIFJ_MAPPING]; /* queue numbers */
	uint32_t mcast_on, nr_mcast;
	uint8_t mcast[NIFJ_MCAST][8];  /* 6 used */
};

/* The control request that was taken last. */
struct nifj_ctrl {
	struct xen_netif_ctrl_request req;
	struct xen_netif_ctrl_response rsp;
	uint32_t nr_grefs;             /* standing maps of its queue before it: where to go back to if it fails */
	uint64_t deleted[NIFJ_LIST / 64]; /* bits: entries of its list that were mapped, and are no longer */
};

struct nif_journal {
	uint64_t magic;
	uint32_t version, size;
	uint64_t generation;   /* counts connections */
	struct nifj_ring ring[NIFJ_NR_DIRS];
	struct netif_tx_request tx_req[NIFJ_SLOTS];
	struct netif_rx_request rx_req[NIFJ_SLOTS];
	struct netif_tx_response tx_rsp[NIFJ_SLOTS];
	struct netif_rx_response rx_rsp[NIFJ_SLOTS]; /* extra infos as well */
	struct nifj_ctrl ctrl;         /* queue 0's only */
	uint32_t pools_read;           /* Oracle's, whose pages are in gref[] then, as far as they could be had */
	uint64_t gref[NIFJ_GREFS];     /* mapped: NIFJ_GREF_USED | flags | reference */
	uint32_t current;              /* 0 or 1: which state is whole */
	struct nifj_state state[2];    /* of the NIC; queue 0's only */
};
#define NIFJ_GREF_USED     (1ull << 63)
#define NIFJ_GREF_READONLY (1ull << 62)

size_t nifj_bytes(void);       /* of one queue: a page multiple */
/* Make a journal in mem for rings that stand at these indices. */
void nifj_init(struct nif_journal *j, uint64_t generation, uint32_t tx, uint32_t rx, uint32_t ctrl);
/* Check what an earlier process left; -EPROTO with words.  Nothing is changed. */
int nifj_open(const struct nif_journal *j, size_t bytes, struct pvb_error *err);

struct nifj_recovery {
	/* responses to put again: attach a ring at put_from, nifj_push() to put_to (also when they are equal: that
	 * closes the intent) */
	uint32_t put_from, put_to;
	uint32_t cons;             /* next request to take, and next response */
	uint32_t again;            /* how many requests from there on had been taken before */
};
/* The rule above for one ring; ring_rsp_prod is one fetch of the ring's word.  Pure. */
int nifj_recover(const struct nif_journal *j, enum nifj_dir dir, uint32_t ring_rsp_prod, struct nifj_recovery *out,
		 struct pvb_error *err);
/* Put the responses up to `to` from the journal, show them, close the intent.  As the hot path does it; at
 * recovery too.  True: the front end asked to be notified. */
bool nifj_push(struct nif_journal *j, enum nifj_dir dir, struct pvb_ring *r, uint32_t to);

static inline void nifj_taken(struct nif_journal *j, enum nifj_dir dir, uint32_t cons)
{
	__atomic_store_n(&j->ring[dir].cons, cons, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nifj_taken);
}

static inline const struct nifj_state *nifj_state(const struct nif_journal *j)
{
	return &j->state[j->current & 1];
}
/* Change the state: begin() gives a copy to write, end() makes it the one that counts. */
struct nifj_state *nifj_state_begin(struct nif_journal *j);
void nifj_state_end(struct nif_journal *j);
#endif
