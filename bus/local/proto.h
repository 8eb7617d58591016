/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_PROTO_H
#define PVB_BUS_LOCAL_PROTO_H
/* What the server of the local fabric and its clients share: the control messages and four memory layouts.
 *
 * Domain memory   a memfd, sealed against changing its size, so that no access inside it can fault:
 *                   head | grant table (8 bytes a page) | pins (64 bytes a page) | pages
 *                 Page i of `pages` is frame i; entry i of the table is grant reference i.  The server
 *                 hands out ranges of pages to processes, a process grants page i through entry i (a
 *                 hostile guest may put any frame into any entry: the mapper checks it against `pages`).
 *                 All of it is written by the guest at will; only the size, which the server tells in its
 *                 own message, is believed.
 * Grants          Revoking must know whether a peer uses the page, also after that peer was killed at
 *                 any instruction.  So a use is not a bit that only its setter can clear: each mapping handle has
 *                 a column of its own in `pins`, and the server clears the column when the handle dies.
 *                   mapper  pins[ref][col]++, fence, load entry, check;  refused: pins[ref][col]--
 *                   granter entry = 0, fence, look at pins[ref][*]
 *                 One of the two sees the other.  Only its owner writes a column: no locked read-modify-write.
 * Event page      one per (handle, peer domain): pending and masked bits of the handle's ports towards that
 *                 domain, written by both.  Nobody else has it mapped, so a domain can only spoil its own
 *                 channels.
 * Links           per handle, read-only for it: for each of its ports the generation of the peer, 0 when
 *                 the peer is not bound.  A sender looks here first: no system call, no lost kick (a port
 *                 that is bound is pending at once).
 * Info            one for all, read-only: for each domid the generation of that domain, 0 = there is none.
 */
#include <stdint.h>
#include "../hv.h"
#include "../ring.h" /* pvb_ring_mb(): the full fence that every sanitizer knows */
#include "fabric.h"

#define LF_NR_DOMIDS    0x7ff0u        /* DOMID_FIRST_RESERVED */
#define LF_NR_PORTS     4096u          /* of one domain; 0 is never used */
#define LF_NR_SLOTS     4096u          /* of one event page */
#define LF_NR_COLUMNS   32u            /* handles that map pages of one domain at a time */

#define LF_INFO_BYTES   (LF_NR_DOMIDS * sizeof(uint32_t))
#define LF_LINK_BYTES   (LF_NR_PORTS * sizeof(uint32_t))

/* Grant table entry, read and written whole: flags as in xen/grant_table.h | domid << 16 | frame << 32. */
typedef uint64_t lf_entry;
static inline lf_entry lf_entry_make(uint16_t flags, uint16_t domid, uint32_t frame)
{
	return flags | (uint64_t)domid << 16 | (uint64_t)frame << 32;
}
#define lf_entry_flags(e) ((uint16_t)(e))
#define lf_entry_domid(e) ((uint16_t)((e) >> 16))
#define lf_entry_frame(e) ((uint32_t)((e) >> 32))

typedef uint16_t lf_pins[LF_NR_COLUMNS];
_Static_assert(sizeof(lf_pins) == 64, "the pins of a page are one cache line");

/* Where the parts of a domain's memory are, all page aligned. */
struct lf_layout {
	uint32_t pages;
	size_t table, pins, data, total;
};

static inline struct lf_layout lf_layout(uint32_t pages)
{
	struct lf_layout l = { .pages = pages };

	l.table = 0;
	l.pins = l.table + (((size_t)pages * sizeof(lf_entry) + PVB_PAGE_SIZE - 1) & ~(size_t)(PVB_PAGE_SIZE - 1));
	l.data = l.pins + (((size_t)pages * sizeof(lf_pins) + PVB_PAGE_SIZE - 1) & ~(size_t)(PVB_PAGE_SIZE - 1));
	l.total = l.data + (size_t)pages * PVB_PAGE_SIZE;
	return l;
}

struct lf_evtpage {
	uint64_t summary;                        /* bit w: pending[w] may have a bit set */
	uint32_t woken;                          /* the receiver's eventfd was written and not read since */
	uint32_t reserved[13];
	_Alignas(64) uint64_t pending[LF_NR_SLOTS / 64];
	uint64_t masked[LF_NR_SLOTS / 64];       /* a hint for the sender; the receiver keeps its own */
};
_Static_assert(sizeof(struct lf_evtpage) <= PVB_PAGE_SIZE, "an event page is a page");

/* Make slot pending, as any sender does.  True: the receiver may sleep, write its eventfd. */
static inline bool lf_evt_raise(struct lf_evtpage *p, uint32_t slot)
{
	uint64_t bit = 1ull << (slot % 64);

	/* pairs with lf take: pending before summary, both before looking at the mask and at woken */
	if (__atomic_fetch_or(&p->pending[slot / 64], bit, __ATOMIC_SEQ_CST) & bit)
		return false;
	__atomic_fetch_or(&p->summary, 1ull << (slot / 64), __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&p->masked[slot / 64], __ATOMIC_SEQ_CST) & bit)
		return false;
	return __atomic_exchange_n(&p->woken, 1, __ATOMIC_SEQ_CST) == 0;
}

/* --- control messages: SOCK_SEQPACKET, one request one reply, descriptors beside the reply --------------- */

#define LF_PROTO_VERSION 1u

enum lf_op {
	LF_HELLO = 1,      /* become an hv handle; a = version -> a = domid, fds: info, links, eventfd */
	LF_BYE,            /* undo everything this handle holds; answered when done */
	LF_GETMEM,         /* a = domid, b = want a pin column -> a = pages, b = column, c = generation, fd */
	LF_PUTMEM,         /* a = domid: give the column back */
	LF_RESERVE,        /* a = pages wanted in a row -> a = first frame */
	LF_RETURN,         /* a = first, b = how many: entries are revoked -> a = how many are stuck */
	LF_EVT_ALLOC,      /* a = domid -> a = port, b = slot, c = page id, fd: event page */
	LF_EVT_BIND,       /* a = domid, b = remote port -> as LF_EVT_ALLOC */
	LF_EVT_UNBIND,     /* a = port */
	LF_EVT_PEER,       /* a = port -> a = generation (0: unbound), b = slot, c = page id, fds: page, eventfd */
	LF_RESTRICT,       /* a = domid */
	LF_DOM_CREATE,     /* name, a = pages, b = domid or 0, c = uid, d = gid -> a = domid */
	LF_DOM_DESTROY,    /* a = domid */
	LF_DOM_LIST,       /* a = first domid of interest -> a = number, then struct pvb_local_domain[a] */
	LF_DOM_WAIT,       /* a = domid -> when it has shut down or gone: a = 1, one struct pvb_local_domain */
	LF_DOM_SHUTDOWN,   /* a = domid, b = reason */
	LF_DOM_OWN,        /* a = domid, b = destroy with owner */
	LF_STATS,          /* -> struct pvb_local_stats */
};

struct lf_request {
	uint32_t op;
	uint32_t a, b, c, d;
	char name[PVB_LOCAL_NAME_MAX + 1];
};

#define LF_MAX_FDS 3
#define LF_LIST_MAX 32
struct lf_reply {
	int32_t status;    /* 0 or -errno */
	uint32_t a, b, c;
	char text[240];    /* of an error, or empty */
	union {
		struct pvb_local_domain list[LF_LIST_MAX];
		struct pvb_local_stats stats;
	};
};
#define LF_REPLY_MIN offsetof(struct lf_reply, list)

/* --- client side (call.c) ------------------------------------------------------------------------------ */

/* Connect to DIR's control socket as domain as_domid. */
int lf_connect(const char *dir, uint32_t as_domid, struct pvb_error *err);
/* One request, its reply, and up to nr_fds descriptors (-1 where none came; close-on-exec).  0 or the
 * reply's status; with a failure no descriptor is left open. timeout_ms -1 = for ever. */
int lf_call(int sock, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds, int timeout_ms);
/* Path of a socket or -ENAMETOOLONG; what is "ctl" or "store". */
int lf_socket_path(const char *dir, uint32_t domid, const char *what, char *buf, size_t len);
#endif
