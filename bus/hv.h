/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_HV_H
#define PVB_BUS_HV_H
/* The hypervisor seam: memory is granted, events are sent and the store is reached through here and
 * nowhere else.  Two implementations: bus/xen (libxengnttab, libxenevtchn) and bus/local (the local
 * fabric, see pvlocald(8)).  The same tests pass on both; nobody above asks which one it is.
 *
 * Trust    The peer may rewrite every byte of a mapping at any moment, revoke grants, close ports and
 *          send events without cause.  Nothing here trusts it; what it wrote must be copied before use.
 * Units    A page is 4096 bytes.  Domains, grant references and ports are uint32_t as Xen has them.
 * Threads  A handle belongs to one thread at a time.  pvb_hv_evt_notify() alone may be called from any
 *          thread while the handle is open.
 * Fork     A handle does not survive fork(); open it in the process that uses it.
 * Errors   0 or -errno; constructors also fill a pvb_error.  Never logs.
 * Source   xen/include/public/{grant_table,event_channel}.h for what the values mean.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PVB_PAGE_SIZE 4096u
#define PVB_GREF_NONE UINT32_MAX /* 0 is a real grant reference */
#define PVB_DOMID_SELF 0x7ff0u

struct pvb_hv;

/* Flags of pvb_hv_open(). */
#define PVB_HV_BACK  0x1u /* will map and copy other domains' grants (gntdev) */
#define PVB_HV_FRONT 0x2u /* will grant pages of its own (gntalloc) */
#define PVB_HV_GUARD 0x4u /* local only, for tests: an unmapped page on either side of every mapping */

/* Open a handle.
 * spec  "xen[:DOMID]"         this Xen domain; DOMID is its own number, if known
 *       "local:DIR[:DOMID]"   the local fabric at DIR, acting as DOMID (default 0)
 *       NULL                  $PVBUS_HV if set; "xen" where /dev/xen/evtchn is; else "local:/run/pvbus-local"
 * On failure *out is untouched and err names the device or socket that could not be opened. */
int pvb_hv_open(struct pvb_hv **out, const char *spec, unsigned flags, struct pvb_error *err);
/* NULL is fine.  Unmaps, unbinds and revokes whatever is left; what is still in a struct pvb_map or
 * pvb_grant then points nowhere, only grant.refs is the caller's to free. */
void pvb_hv_close(struct pvb_hv *hv);

const char *pvb_hv_spec(const struct pvb_hv *hv);  /* resolved; opens the same thing in another process */
/* Our domain.  Xen tells it only through the store (pvb_store_domid()): there this is what the spec said, or 0. */
uint32_t pvb_hv_domid(const struct pvb_hv *hv);

/* Where the store listens: a path for XENSTORED_PATH, or NULL for libxenstore's own default.
 * Resolves spec as pvb_hv_open() does, without opening anything. *path is malloc'ed. */
int pvb_hv_store_path(const char *spec, char **path, struct pvb_error *err);

/* --- mapping and copying what a peer granted (back ends) ------------------------------------------ */

struct pvb_map {
	void *addr;        /* nr pages in a row */
	uint32_t nr;       /* pages; 0 = not mapped */
	bool writable;
	void *priv;        /* of the implementation */
};

/* Map nr pages granted by domid, in a row.  All or nothing: a grant that can not be mapped fails the
 * whole call, nothing stays mapped and *map is untouched.
 * -EINVAL a reference is not granted to us (or read-only and writable asked); -ENOMEM, -ENOSPC out of
 * map slots; -ESRCH no such domain (Linux' gntdev says -EINVAL for that as well). */
int pvb_hv_map(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable,
	       struct pvb_map *map);
/* map->nr == 0 is fine.  Afterwards map->nr is 0. */
void pvb_hv_unmap(struct pvb_hv *hv, struct pvb_map *map);

struct pvb_copy_end {
	void *local;       /* our memory, or NULL: a grant */
	uint32_t ref;
	uint16_t domid;
	uint16_t offset;   /* bytes into the granted page */
};
struct pvb_copy {
	struct pvb_copy_end src, dst;
	uint16_t len;      /* bytes; neither end may cross a page of a grant */
	int16_t status;    /* out: 0 = copied; anything else = this one was not */
};
/* Carry out nr copies in one call (one system call where there is one).  Each op's status must be
 * looked at.  Non-zero return: the batch itself failed and every op has a non-zero status.
 * A grant end that does not fit its page, and an op without a grant end, is refused before the
 * hypervisor is asked; the good ops of the batch are carried out all the same.
 * Local memory may be anywhere, but an end that lies in one page is cheapest. */
int pvb_hv_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr);

/* Memory of our own that copies at the least cost: `bytes` zeroed bytes (whole pages), for as long as the handle is
 * open; a handle may have PVB_HV_ARENAS such areas.  pvb_hv_copy() recognises a local end that lies in one page of it.  On Xen the pages
 * are granted by this domain to itself (its number is in the spec: "xen:DOMID"), so that a copy names them by
 * reference and the kernel need not look up and pin them, a third of a copy's cost in a PV dom0; it takes a slot of
 * the domain's grant table and of gntalloc's limit for each page.
 * -ENODEV no gntalloc, -ENOSPC no grants left, -EINVAL own number unknown, -EMFILE no more areas: ordinary memory
 * copies as well. */
#define PVB_HV_ARENAS 4u
int pvb_hv_arena(struct pvb_hv *hv, size_t bytes, void **addr);

/* --- granting (front ends) ------------------------------------------------------------------------ */

struct pvb_grant {
	void *addr;        /* nr zeroed pages in a row */
	uint32_t nr;
	uint32_t domid;    /* who may use them */
	uint32_t *refs;    /* nr of them, owned by this struct */
	void *priv;
};
/* Allocate nr zeroed pages and grant them to domid.  -ENOSPC: no pages or no grants left. */
int pvb_hv_grant(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant);
/* Revoke and free.  A page the peer still has mapped is kept from reuse (leaked on purpose, counted in
 * live.stuck) rather than freed under it; the call then returns -EBUSY and the grant is gone all the same.
 * On Xen the kernel keeps such pages by itself and does not say so: 0. */
int pvb_hv_ungrant(struct pvb_hv *hv, struct pvb_grant *grant);

/* --- events --------------------------------------------------------------------------------------- */

/* One descriptor for all ports of the handle; readable while pvb_hv_evt_take() has something. */
int pvb_hv_evt_fd(struct pvb_hv *hv);
/* Bind the peer's port; a port of our own or -errno.  The new port is pending at once, as on Xen.
 * -EINVAL: the port is not waiting for us; -ESRCH: no such domain. */
int pvb_hv_evt_bind(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port);
/* A new unbound port which domid may bind; or -errno. */
int pvb_hv_evt_alloc(struct pvb_hv *hv, uint32_t domid);
int pvb_hv_evt_unbind(struct pvb_hv *hv, uint32_t port);
/* Never blocks.  -EBADF/-EINVAL: the port went away under us (peer died): not an error of ours. */
int pvb_hv_evt_notify(struct pvb_hv *hv, uint32_t port);
/* Fetch up to max pending ports without waiting; returns how many.  A fetched port stays masked (its
 * events are merged, none is delivered) until unmasked: not unmasking is free back-pressure. */
int pvb_hv_evt_take(struct pvb_hv *hv, uint32_t *ports, unsigned max);
/* Unmask nr ports in one call.  A port that got an event meanwhile is pending again at once. */
int pvb_hv_evt_unmask(struct pvb_hv *hv, const uint32_t *ports, unsigned nr);
/* Give up the right to touch any domain but domid with this handle, for good: everything else is -EACCES
 * from then on, and so is allocating ports.  Linux' evtchn driver enforces its part in the kernel (not
 * for domain 0, which it can not name). */
int pvb_hv_restrict(struct pvb_hv *hv, uint32_t domid);

/* --- what tests look at ---------------------------------------------------------------------------- */

struct pvb_hv_live {
	uint32_t maps, map_pages;   /* mappings and their pages that exist now */
	uint32_t grants;            /* pages granted now */
	uint32_t ports;             /* ports bound or allocated now */
	uint32_t stuck;             /* pages that could not be revoked, ever */
	uint64_t nr_map, nr_copy_calls, nr_copy_ops, nr_notify; /* totals */
};
const struct pvb_hv_live *pvb_hv_live(const struct pvb_hv *hv);

/* Fault injection, the same on both implementations: the call is not made (or, for copy ops, not
 * carried out) and the status given here is returned instead. */
enum pvb_fault_op {
	PVB_FAULT_MAP, PVB_FAULT_COPY_BATCH, PVB_FAULT_COPY_OP, PVB_FAULT_BIND, PVB_FAULT_NOTIFY,
	PVB_FAULT_GRANT, PVB_FAULT_NR,
};
/* Of the calls of this kind from now on, let `skip` pass, then fail `count` with `status` (-errno, or
 * for PVB_FAULT_COPY_OP the GNTST_* value).  count 0 switches it off. */
void pvb_hv_fault(struct pvb_hv *hv, enum pvb_fault_op op, uint64_t skip, uint64_t count, int status);

#ifdef __cplusplus
}
#endif
#endif
