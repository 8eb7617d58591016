/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_JOURNAL_H
#define PVB_BUS_JOURNAL_H
/* The in-flight journal of one queue: what a back end must know to go on after it died at any instruction.
 *
 * Why       Requests and responses share the ring's slots, so the answer to a request that was served
 *           early overwrites one that is still running.  After a crash the ring alone can not tell which
 *           requests are unanswered.  The journal can: it lives in a memfd which the supervisor holds, and
 *           its entries are the private copies the worker works on anyway, so writing it costs one or two
 *           cache lines a request and no system call.
 * Layout    struct pvb_journal_head, then nr entries of entry_size bytes (8-byte multiple), each
 *           beginning with struct pvb_journal_entry; what follows is the protocol's (private copy of the
 *           request with its segments).  Version PVB_JOURNAL_VERSION; a change of layout changes it, and a
 *           back end of another version starts the ring's device anew rather than guess.
 * Order     take:     payload, then state TAKEN (release), then head.seq, which is req_cons as well: the two
 *                     are one 64-bit word (req_cons = its low half), so no crash can fall between them
 *           finish:   status, then state DONE (release)
 *           respond:  rsp_index into the entry, slot into the ring; then, for all of a batch,
 *                     head.rsp_next = target (release); the ring's rsp_prod; head.rsp_prod = target;
 *                     then state FREE.
 * Recovery  The ring's rsp_prod is believed only within [head.rsp_prod, head.rsp_next]; call that R.
 *           An entry RESPONDED with rsp_index < R is free; any other RESPONDED or DONE entry is
 *           answered (again); TAKEN entries are carried out again in order of seq; then taking goes on
 *           at req_cons.  A TAKEN entry with seq >= head.seq was never counted: it is dropped, the ring still
 *           holds it.
 * Trust     Written by the worker only; the supervisor and the next worker check magic, version, sizes.
 * Threads   One queue, one thread.
 */
#include <stdint.h>
#include <stddef.h>
#include "crash.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PVB_JOURNAL_MAGIC   0x4c4e524a42565021ull /* "!PVBJRNL" */
#define PVB_JOURNAL_VERSION 1

enum pvb_journal_state { PVB_J_FREE = 0, PVB_J_TAKEN = 1, PVB_J_DONE = 2, PVB_J_RESPONDED = 3 };

struct pvb_journal_entry {
	uint32_t state;      /* enum pvb_journal_state */
	int16_t status;      /* once DONE: what the response will say */
	uint16_t reserved;
	uint64_t seq;        /* order in which requests were taken; low half = its index in the ring */
	uint32_t rsp_index;  /* once RESPONDED */
	uint32_t next_free;  /* the free list; rebuilt at recovery */
};

struct pvb_journal_head {
	uint64_t magic;
	uint32_t version, head_size, entry_size, nr;
	uint64_t generation;     /* counts connections of this ring */
	uint64_t seq __attribute__((aligned(64))); /* of the next request; low half = req_cons */
	uint32_t rsp_prod;       /* responses certainly shown to the front end */
	uint32_t rsp_next;       /* responses perhaps shown: rsp_prod, or the batch being pushed */
};

struct pvb_journal {
	struct pvb_journal_head *head;
	uint8_t *entries;
	uint32_t entry_size, nr;
	uint32_t free;           /* head of the free list */
	uint32_t fresh;          /* entries from here on have never been used, are all zero and on no list */
	uint32_t in_use;
	size_t bytes;
};

/* Bytes a journal of nr entries needs (page multiple). */
size_t pvb_journal_bytes(uint32_t nr, uint32_t entry_size);
/* Make a new journal in mem (pvb_journal_bytes() long), for a ring whose next request has index req_cons and whose
 * next response has index rsp_prod.  mem is all zero, as a new file is, but for what a call that did not come to its end
 * may have left.  Entries are not touched before they are used: a ring that is idle has no memory behind them. */
void pvb_journal_init(struct pvb_journal *j, void *mem, uint32_t nr, uint32_t entry_size, uint64_t generation,
		      uint32_t req_cons, uint32_t rsp_prod);
/* Open what an earlier process left: checks everything recovery depends on.  -EPROTO with words.
 * No entry can be had from it until pvb_journal_recover() has sorted them. */
int pvb_journal_open(struct pvb_journal *j, void *mem, size_t bytes, uint32_t nr, uint32_t entry_size,
		     struct pvb_error *err);

/* What recovery found. */
struct pvb_journal_recovery {
	uint32_t req_cons;       /* index of the next request to take */
	uint32_t rsp_prod;       /* index of the next response (R above) */
	uint32_t nr_answer;      /* entries[0 .. nr_answer): DONE, to be answered (again) */
	uint32_t nr_redo;        /* the nr_redo entries after these: TAKEN, to be carried out again */
};
/* Apply the recovery rule to a journal just opened; ring_rsp_prod is one fetch of the ring's word.
 * entries has room for j->nr numbers (for pvb_journal_at()); both groups are in order of seq.  Free
 * entries are on the free list afterwards.  May itself be interrupted and run again.
 * -EPROTO: the guest changed its rsp_prod, or the entries contradict the head; the journal is as it was. */
int pvb_journal_recover(struct pvb_journal *j, uint32_t ring_rsp_prod, uint32_t *entries,
			struct pvb_journal_recovery *out, struct pvb_error *err);

static inline struct pvb_journal_entry *pvb_journal_at(const struct pvb_journal *j, uint32_t i)
{
	return (struct pvb_journal_entry *)(j->entries + (size_t)i * j->entry_size);
}

static inline uint32_t pvb_journal_index(const struct pvb_journal *j, const struct pvb_journal_entry *e)
{
	return (uint32_t)(((const uint8_t *)e - j->entries) / j->entry_size);
}

/* The number of the entry that pvb_journal_get() gives next, if it gives one. */
static inline uint32_t pvb_journal_next(const struct pvb_journal *j)
{
	return j->free != UINT32_MAX ? j->free : j->fresh;
}

/* A free entry to copy the next request into, or NULL: as many are in use as the ring has slots. */
static inline struct pvb_journal_entry *pvb_journal_get(struct pvb_journal *j)
{
	struct pvb_journal_entry *e;

	if (j->free == UINT32_MAX) {
		if (j->fresh == j->nr)
			return NULL;
		j->in_use++;
		return pvb_journal_at(j, j->fresh++);
	}
	e = pvb_journal_at(j, j->free);
	j->free = e->next_free;
	j->in_use++;
	return e;
}

/* The entry's payload is complete: it counts from here on. */
static inline void pvb_journal_take(struct pvb_journal *j, struct pvb_journal_entry *e)
{
	e->seq = j->head->seq;
	PVB_CRASH_POINT(journal_take_seq);
	__atomic_store_n(&e->state, PVB_J_TAKEN, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_take_state);
	__atomic_store_n(&j->head->seq, e->seq + 1, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_take_counted);
}

static inline void pvb_journal_done(struct pvb_journal_entry *e, int16_t status)
{
	e->status = status;
	PVB_CRASH_POINT(journal_done_status);
	__atomic_store_n(&e->state, PVB_J_DONE, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_done_state);
}

static inline void pvb_journal_respond(struct pvb_journal_entry *e, uint32_t rsp_index)
{
	e->rsp_index = rsp_index;
	PVB_CRASH_POINT(journal_respond_index);
	__atomic_store_n(&e->state, PVB_J_RESPONDED, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_respond_state);
}

/* Around the store to the ring's rsp_prod. */
static inline void pvb_journal_push_begin(struct pvb_journal *j, uint32_t rsp_prod)
{
	__atomic_store_n(&j->head->rsp_next, rsp_prod, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_push_begin);
}
static inline void pvb_journal_push_end(struct pvb_journal *j, uint32_t rsp_prod)
{
	__atomic_store_n(&j->head->rsp_prod, rsp_prod, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_push_end);
}

/* Of an entry whose number is known, which saves a division. */
static inline void pvb_journal_put_at(struct pvb_journal *j, struct pvb_journal_entry *e, uint32_t i)
{
	__atomic_store_n(&e->state, PVB_J_FREE, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_put_state);
	e->next_free = j->free;
	PVB_CRASH_POINT(journal_put_next);
	j->free = i;
	j->in_use--;
}

static inline void pvb_journal_put(struct pvb_journal *j, struct pvb_journal_entry *e)
{
	pvb_journal_put_at(j, e, pvb_journal_index(j, e));
}

#ifdef __cplusplus
}
#endif
#endif
