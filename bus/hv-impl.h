/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_HV_IMPL_H
#define PVB_BUS_HV_IMPL_H
/* What an implementation of hv.h provides.  hv.c does argument checks, counting and fault injection
 * for both, so an implementation only does the deed.  Contracts are those of hv.h. */
#include "hv.h"

struct pvb_hv_ops {
	const char *name;                   /* the spec up to the first ':' */
	/* arg: the spec after the first ':', "" when there is none; sets hv->domid and hv->priv */
	int (*open)(struct pvb_hv *hv, const char *arg, unsigned flags, struct pvb_error *err);
	void (*close)(struct pvb_hv *hv);
	int (*map)(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable,
		   struct pvb_map *map);
	void (*unmap)(struct pvb_hv *hv, struct pvb_map *map);
	/* only ops that passed the checks; sets every status; < 0: hv.c marks all of them as failed */
	int (*copy)(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr);
	/* number hv->nr_arenas, less than PVB_HV_ARENAS */
	int (*arena)(struct pvb_hv *hv, size_t bytes, void **addr);
	/* grant->refs is there (nr of them) and freed by hv.c; fills refs, addr, priv */
	int (*grant)(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant);
	int (*ungrant)(struct pvb_hv *hv, struct pvb_grant *grant);  /* 0, or how many pages are stuck */
	int (*evt_fd)(struct pvb_hv *hv);
	int (*evt_bind)(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port);
	int (*evt_alloc)(struct pvb_hv *hv, uint32_t domid);
	int (*evt_unbind)(struct pvb_hv *hv, uint32_t port);
	int (*evt_notify)(struct pvb_hv *hv, uint32_t port);
	int (*evt_take)(struct pvb_hv *hv, uint32_t *ports, unsigned max);
	int (*evt_unmask)(struct pvb_hv *hv, const uint32_t *ports, unsigned nr);
	int (*restrict_to)(struct pvb_hv *hv, uint32_t domid);
};

struct pvb_fault {
	uint64_t skip, count;
	int status;
};

struct pvb_hv {
	const struct pvb_hv_ops *ops;
	char *spec;
	uint32_t domid;
	uint32_t only;                      /* pvb_hv_restrict(): the one domain left, or UINT32_MAX */
	unsigned flags;
	unsigned nr_arenas;
	struct pvb_hv_live live;
	bool faulty;                        /* any fault armed: one test on the fast path */
	struct pvb_fault fault[PVB_FAULT_NR];
	void *priv;                         /* of the implementation */
};

extern const struct pvb_hv_ops pvb_hv_xen, pvb_hv_local;
#endif
