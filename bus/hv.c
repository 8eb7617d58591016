/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seam's common half: which implementation, argument checks, counters, fault injection.  What is
 * refused here never reaches the hypervisor, so both implementations refuse the same things. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hv-impl.h"
#include "store.h"

#define COPY_BAD_ARG (-10)   /* GNTST_bad_copy_arg */
#define COPY_BAD_DOM (-2)    /* GNTST_bad_domain */
#define COPY_ERROR   (-1)    /* GNTST_general_error */
#define MAX_PAGES    (1u << 16)
#define NOT_RESTRICTED UINT32_MAX

static const struct pvb_hv_ops *const impls[] = { &pvb_hv_xen, &pvb_hv_local };

/* ---- which one ------------------------------------------------------------------------------------- */

static const char *resolve(const char *spec)
{
	if (spec)
		return spec;
	spec = getenv("PVBUS_HV");
	if (spec && *spec)
		return spec;
	return access("/dev/xen/evtchn", F_OK) == 0 ? "xen" : "local:/run/pvbus-local";
}

/* Splits "name[:arg]". */
static const struct pvb_hv_ops *find_impl(const char *spec, const char **arg)
{
	size_t len = strcspn(spec, ":");
	unsigned i;

	for (i = 0; i < sizeof(impls) / sizeof(*impls); i++)
		if (strlen(impls[i]->name) == len && memcmp(impls[i]->name, spec, len) == 0) {
			*arg = spec[len] ? spec + len + 1 : "";
			return impls[i];
		}
	return NULL;
}

static int bad_spec(const char *spec, struct pvb_error *err)
{
	return pvb_err(err, -EINVAL, "bus \"%s\" is neither \"xen[:DOMID]\" nor \"local:DIR[:DOMID]\"", spec);
}

int pvb_hv_open(struct pvb_hv **out, const char *spec, unsigned flags, struct pvb_error *err)
{
	const struct pvb_hv_ops *ops;
	const char *arg;
	struct pvb_hv *hv;
	int rc;

	spec = resolve(spec);
	ops = find_impl(spec, &arg);
	if (!ops)
		return bad_spec(spec, err);
	if (flags & ~(PVB_HV_BACK | PVB_HV_FRONT | PVB_HV_GUARD))
		return pvb_err(err, -EINVAL, "bus %s: unknown flags %#x", spec, flags);
	hv = calloc(1, sizeof(*hv));
	if (hv)
		hv->spec = strdup(spec);
	if (!hv || !hv->spec) {
		free(hv);
		return pvb_err(err, -ENOMEM, "bus %s: out of memory", spec);
	}
	hv->ops = ops;
	hv->flags = flags;
	hv->only = NOT_RESTRICTED;
	rc = ops->open(hv, arg, flags, err);
	if (rc < 0) {
		free(hv->spec);
		free(hv);
		return rc;
	}
	*out = hv;
	return 0;
}

void pvb_hv_close(struct pvb_hv *hv)
{
	if (!hv)
		return;
	hv->ops->close(hv);
	free(hv->spec);
	free(hv);
}

const char *pvb_hv_spec(const struct pvb_hv *hv)
{
	return hv->spec;
}

uint32_t pvb_hv_domid(const struct pvb_hv *hv)
{
	return hv->domid;
}

/* DIR/store for domain 0, DIR/dom/N/store for the others: see bus/local/fabric.h. */
static char *local_store_path(const char *arg)
{
	const char *colon = strrchr(arg, ':');
	int len = (int)strlen(arg), r;
	uint64_t domid = 0;
	char *path;

	if (colon && pvb_parse_u64(colon + 1, 0, PVB_DOMID_SELF - 1, &domid) == 0)
		len = (int)(colon - arg);
	if (domid)
		r = asprintf(&path, "%.*s/dom/%u/store", len, arg, (unsigned)domid);
	else
		r = asprintf(&path, "%.*s/store", len, arg);
	return r < 0 ? NULL : path;
}

int pvb_hv_store_path(const char *spec, char **path, struct pvb_error *err)
{
	const struct pvb_hv_ops *ops;
	const char *arg;
	char *p;

	spec = resolve(spec);
	ops = find_impl(spec, &arg);
	if (!ops)
		return bad_spec(spec, err);
	if (ops == &pvb_hv_xen) {
		*path = NULL;
		return 0;
	}
	p = local_store_path(arg);
	if (!p)
		return pvb_err(err, -ENOMEM, "bus %s: out of memory", spec);
	*path = p;
	return 0;
}

/* ---- fault injection ------------------------------------------------------------------------------- */

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

void pvb_hv_fault(struct pvb_hv *hv, enum pvb_fault_op op, uint64_t skip, uint64_t count, int status)
{
	bool any = false;
	unsigned i;

	if ((unsigned)op >= PVB_FAULT_NR)
		return;
	pthread_mutex_lock(&fault_lock);
	hv->fault[op] = (struct pvb_fault){ skip, count, status };
	for (i = 0; i < PVB_FAULT_NR; i++)
		any |= hv->fault[i].count > 0;
	__atomic_store_n(&hv->faulty, any, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&fault_lock);
}

/* The status to fail this call with, or 0.  Locked as notify may come from any thread. */
static int fault(struct pvb_hv *hv, enum pvb_fault_op op)
{
	struct pvb_fault *f = &hv->fault[op];
	int status = 0;

	if (!__atomic_load_n(&hv->faulty, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&fault_lock);
	if (f->count > 0 && f->skip > 0) {
		f->skip--;
	} else if (f->count > 0) {
		f->count--;
		status = f->status;
	}
	pthread_mutex_unlock(&fault_lock);
	return status;
}

/* ---- mapping and copying --------------------------------------------------------------------------- */

static int check_domid(const struct pvb_hv *hv, uint32_t domid)
{
	if (domid > PVB_DOMID_SELF)
		return -EINVAL;
	return hv->only == NOT_RESTRICTED || hv->only == domid ? 0 : -EACCES;
}

int pvb_hv_map(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable, struct pvb_map *map)
{
	struct pvb_map m = { .nr = nr, .writable = writable };
	uint32_t i;
	int rc;

	if (!(hv->flags & PVB_HV_BACK) || nr == 0 || nr > MAX_PAGES)
		return -EINVAL;
	for (i = 0; i < nr; i++)
		if (refs[i] == PVB_GREF_NONE)
			return -EINVAL;
	rc = check_domid(hv, domid);
	if (rc == 0)
		rc = fault(hv, PVB_FAULT_MAP);
	if (rc == 0)
		rc = hv->ops->map(hv, domid, refs, nr, writable, &m);
	if (rc < 0)
		return rc;
	hv->live.nr_map++;
	hv->live.maps++;
	hv->live.map_pages += nr;
	*map = m;
	return 0;
}

void pvb_hv_unmap(struct pvb_hv *hv, struct pvb_map *map)
{
	if (map->nr == 0)
		return;
	hv->ops->unmap(hv, map);
	hv->live.maps--;
	hv->live.map_pages -= map->nr;
	*map = (struct pvb_map){ 0 };
}

static int check_end(const struct pvb_hv *hv, const struct pvb_copy_end *end, uint16_t len)
{
	if (end->local)
		return 0;
	if (end->ref == PVB_GREF_NONE || (uint32_t)end->offset + len > PVB_PAGE_SIZE)
		return COPY_BAD_ARG;
	return check_domid(hv, end->domid) < 0 ? COPY_BAD_DOM : 0;
}

/* 0: give it to the hypervisor; otherwise the status of an op that is settled here. */
static int check_op(struct pvb_hv *hv, const struct pvb_copy *op)
{
	int rc;

	/* two local ends are a memcpy, and gntdev refuses the whole batch for it */
	if (op->src.local && op->dst.local)
		return COPY_BAD_ARG;
	rc = check_end(hv, &op->src, op->len);
	if (rc == 0)
		rc = check_end(hv, &op->dst, op->len);
	return rc ? rc : fault(hv, PVB_FAULT_COPY_OP);
}

static int copy_failed(struct pvb_copy *ops, unsigned nr, int rc)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		ops[i].status = COPY_ERROR;
	return rc;
}

int pvb_hv_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr)
{
	unsigned from, to;
	int rc;

	if (nr == 0)
		return 0;
	if (!(hv->flags & PVB_HV_BACK))
		return copy_failed(ops, nr, -EINVAL);
	rc = fault(hv, PVB_FAULT_COPY_BATCH);
	if (rc < 0)
		return copy_failed(ops, nr, rc);
	/* One call unless an op is refused here: then the runs between the refused ones. */
	for (from = 0; from < nr; from = to + 1) {
		for (to = from; to < nr && (ops[to].status = check_op(hv, &ops[to])) == 0; to++)
			;
		if (to == from)
			continue;
		rc = hv->ops->copy(hv, ops + from, to - from);
		if (rc < 0)
			return copy_failed(ops, nr, rc);
		hv->live.nr_copy_calls++;
		hv->live.nr_copy_ops += to - from;
	}
	return 0;
}

int pvb_hv_arena(struct pvb_hv *hv, size_t bytes, void **addr)
{
	int rc;

	if (!(hv->flags & PVB_HV_BACK) || bytes == 0 || bytes % PVB_PAGE_SIZE || bytes / PVB_PAGE_SIZE > MAX_PAGES)
		return -EINVAL;
	if (hv->nr_arenas == PVB_HV_ARENAS)
		return -EMFILE;
	rc = hv->ops->arena(hv, bytes, addr);
	if (rc == 0)
		hv->nr_arenas++;
	return rc;
}

/* ---- granting -------------------------------------------------------------------------------------- */

int pvb_hv_grant(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant)
{
	struct pvb_grant g = { .nr = nr, .domid = domid };
	int rc;

	if (!(hv->flags & PVB_HV_FRONT) || nr == 0 || nr > MAX_PAGES)
		return -EINVAL;
	rc = check_domid(hv, domid);
	if (rc == 0)
		rc = fault(hv, PVB_FAULT_GRANT);
	if (rc < 0)
		return rc;
	g.refs = malloc(nr * sizeof(*g.refs));
	if (!g.refs)
		return -ENOMEM;
	rc = hv->ops->grant(hv, domid, nr, writable, &g);
	if (rc < 0) {
		free(g.refs);
		return rc;
	}
	hv->live.grants += nr;
	*grant = g;
	return 0;
}

int pvb_hv_ungrant(struct pvb_hv *hv, struct pvb_grant *grant)
{
	int stuck;

	if (grant->nr == 0)
		return 0;
	stuck = hv->ops->ungrant(hv, grant);
	hv->live.grants -= grant->nr;
	if (stuck > 0)
		hv->live.stuck += (uint32_t)stuck;
	free(grant->refs);
	*grant = (struct pvb_grant){ 0 };
	return stuck > 0 ? -EBUSY : 0;
}

/* ---- events ---------------------------------------------------------------------------------------- */

int pvb_hv_evt_fd(struct pvb_hv *hv)
{
	return hv->ops->evt_fd(hv);
}

int pvb_hv_evt_bind(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port)
{
	int rc = check_domid(hv, domid);

	if (rc == 0)
		rc = fault(hv, PVB_FAULT_BIND);
	if (rc == 0)
		rc = hv->ops->evt_bind(hv, domid, remote_port);
	if (rc >= 0)
		hv->live.ports++;
	return rc;
}

int pvb_hv_evt_alloc(struct pvb_hv *hv, uint32_t domid)
{
	int rc = check_domid(hv, domid);

	/* the evtchn driver allows a restricted handle to bind, never to allocate */
	if (rc == 0 && hv->only != NOT_RESTRICTED)
		rc = -EACCES;
	if (rc == 0)
		rc = fault(hv, PVB_FAULT_BIND);
	if (rc == 0)
		rc = hv->ops->evt_alloc(hv, domid);
	if (rc >= 0)
		hv->live.ports++;
	return rc;
}

int pvb_hv_evt_unbind(struct pvb_hv *hv, uint32_t port)
{
	int rc = hv->ops->evt_unbind(hv, port);

	if (rc == 0)
		hv->live.ports--;
	return rc;
}

int pvb_hv_evt_notify(struct pvb_hv *hv, uint32_t port)
{
	int rc = fault(hv, PVB_FAULT_NOTIFY);

	if (rc < 0)
		return rc;
	__atomic_fetch_add(&hv->live.nr_notify, 1, __ATOMIC_RELAXED);
	return hv->ops->evt_notify(hv, port);
}

int pvb_hv_evt_take(struct pvb_hv *hv, uint32_t *ports, unsigned max)
{
	return max ? hv->ops->evt_take(hv, ports, max) : 0;
}

int pvb_hv_evt_unmask(struct pvb_hv *hv, const uint32_t *ports, unsigned nr)
{
	return nr ? hv->ops->evt_unmask(hv, ports, nr) : 0;
}

int pvb_hv_restrict(struct pvb_hv *hv, uint32_t domid)
{
	int rc = check_domid(hv, domid);

	if (rc < 0)
		return rc;
	if (hv->only == domid)
		return 0;
	rc = hv->ops->restrict_to(hv, domid);
	if (rc == 0)
		hv->only = domid;
	return rc;
}

const struct pvb_hv_live *pvb_hv_live(const struct pvb_hv *hv)
{
	return &hv->live;
}
