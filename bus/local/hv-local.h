/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_HV_LOCAL_H
#define PVB_BUS_LOCAL_HV_LOCAL_H
/* An hv handle on the local fabric, shared by the files that implement hv.h: hv-local.c (open, close),
 * hv-memory.c (mapping), hv-copy.c, hv-grant.c (granting), hv-event.c (event channels).
 *
 * Threads  As hv.h: one, except notify.  `lock` covers the control socket and what notify uses of ports.
 */
#include <pthread.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "../hv-impl.h"
#include "proto.h"

/* A domain's memory as this handle has it mapped: twice whole, read-only and writable. */
struct lhv_mem {
	struct lhv_mem *next;
	uint32_t domid, generation;
	uint32_t column;            /* ours in pins */
	struct lf_layout layout;
	int fd;
	uint8_t *rw, *ro;
	lf_entry *table;            /* these two inside rw */
	lf_pins *pins;
	uint32_t nr_maps;           /* struct pvb_map that need it */
	bool stale;                 /* the domain is gone: unmapped with the last map */
};

/* Pages this process may grant, given by the server. */
struct lhv_extent {
	struct lhv_extent *next;
	uint32_t first, nr, nr_free;
	bool used[];                /* granted, or stuck */
};

/* An event page: of ours (we receive through it) or of a peer (we send through it). */
struct lhv_page {
	struct lhv_page *next;
	struct lf_evtpage *mem;
	uint32_t id, refs;          /* ports that use it */
	int efd;                    /* peer's: to wake it; ours: -1 */
	/* ours only */
	unsigned cursor;            /* where the next scan starts: word */
	uint64_t masked[LF_NR_SLOTS / 64];
	uint16_t port[LF_NR_SLOTS];
};

struct lhv_port {
	struct lhv_page *page;      /* NULL: not ours */
	struct lhv_page *peer;      /* NULL: not looked up yet */
	uint32_t peer_generation;
	uint16_t slot, peer_slot;
};

struct lhv {
	struct pvb_hv *hv;
	int sock, efd;
	pthread_mutex_t lock;
	const uint32_t *info, *links;   /* read-only, the server writes */
	struct { void *addr; size_t bytes; } arena[PVB_HV_ARENAS];
	struct lhv_mem *mems;           /* most recently used first */
	struct lhv_map *maps;           /* all that are mapped */
	struct lhv_map *free_maps;      /* of one page, kept for the next map */
	struct lhv_mem *own;            /* our own memory, for granting */
	struct lhv_extent *extents;
	struct lhv_port *ports;         /* LF_NR_PORTS */
	struct lhv_page *receive, *send;
	unsigned idle_takes;
};

static inline struct lhv *lhv(struct pvb_hv *hv)
{
	return hv->priv;
}

/* A request on the handle's socket.  Takes the lock unless the caller (notify) has it. */
int lhv_call(struct lhv *l, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds);
int lhv_call_locked(struct lhv *l, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds);

/* hv-memory.c */
int lhv_mem_open(struct lhv *l, uint32_t domid, bool to_map, struct lhv_mem **out);
void lhv_mem_free(struct lhv_mem *m);
void lhv_memory_close(struct lhv *l);
void lhv_memory_restrict(struct lhv *l, uint32_t domid);
int lhv_map(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable, struct pvb_map *map);
void lhv_unmap(struct pvb_hv *hv, struct pvb_map *map);
/* The memory of a domain, asked for once.  One that is gone, or whose domid another one has now, is seen by its
 * generation. */
int lhv_mem_find(struct lhv *l, uint32_t domid, struct lhv_mem **out);
void lhv_mem_drop(struct lhv *l, struct lhv_mem *m);

/* Pins: inline, as there are one or two for each piece of data.
 * Only this handle writes its column (a guest that does so as well deceives itself about its own page). */
static inline bool lhv_mem_pin(const struct lhv_mem *m, uint32_t ref)
{
	uint16_t *pins, v;

	if (ref >= m->layout.pages)
		return false;
	pins = &m->pins[ref][m->column];
	v = __atomic_load_n(pins, __ATOMIC_RELAXED);
	if (v == UINT16_MAX)
		return false;
	__atomic_store_n(pins, v + 1, __ATOMIC_RELAXED);
	return true;
}

static inline void lhv_mem_unpin(const struct lhv_mem *m, uint32_t ref)
{
	uint16_t *pins = &m->pins[ref][m->column];
	uint16_t v = __atomic_load_n(pins, __ATOMIC_RELAXED);

	/* release: our accesses to the page come before the granter may reuse it */
	if (v)
		__atomic_store_n(pins, v - 1, __ATOMIC_RELEASE);
}

/* Look at a pinned entry: is the page ours to use, and which is it?  *frame is within the memory.  A GNTST_*. */
static inline int lhv_mem_check(const struct lhv *l, const struct lhv_mem *m, uint32_t ref, bool writable, uint32_t *frame)
{
	lf_entry e = __atomic_load_n(&m->table[ref], __ATOMIC_ACQUIRE);

	if ((lf_entry_flags(e) & GTF_type_mask) != GTF_permit_access || lf_entry_domid(e) != l->hv->domid)
		return GNTST_bad_gntref;
	if (lf_entry_frame(e) >= m->layout.pages)
		return GNTST_bad_page;
	if (writable && (lf_entry_flags(e) & GTF_readonly))
		return GNTST_permission_denied;
	*frame = lf_entry_frame(e);
	return GNTST_okay;
}

/* hv-copy.c */
int lhv_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr);

/* hv-grant.c */
int lhv_grant(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant);
int lhv_ungrant(struct pvb_hv *hv, struct pvb_grant *grant);
void lhv_grant_close(struct lhv *l);

/* hv-event.c */
int lhv_evt_fd(struct pvb_hv *hv);
int lhv_evt_bind(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port);
int lhv_evt_alloc(struct pvb_hv *hv, uint32_t domid);
int lhv_evt_unbind(struct pvb_hv *hv, uint32_t port);
int lhv_evt_notify(struct pvb_hv *hv, uint32_t port);
int lhv_evt_take(struct pvb_hv *hv, uint32_t *ports, unsigned max);
int lhv_evt_unmask(struct pvb_hv *hv, const uint32_t *ports, unsigned nr);
void lhv_event_close(struct lhv *l);
#endif
