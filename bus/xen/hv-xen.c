/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seam on real Xen: libxengnttab and libxenevtchn over Linux' gntdev, gntalloc and evtchn devices.
 *
 * gntdev is asked for whole batches only.  Its grant copy takes any number of segments in one call; a
 * segment it dislikes fails the rest of the batch, which is why hv.c checks them all before.
 * The evtchn descriptor is read and written directly: one read(2) brings many pending ports, one
 * write(2) unmasks many; the library does one port a call.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xentoollog.h>
#include "../hv-impl.h"
#include "../store.h"

/* The kernel moves at most a page of port numbers per call. */
#define EVTCHN_IO_MAX (PVB_PAGE_SIZE / sizeof(evtchn_port_t))

/* Memory that must go when the handle goes: both devices keep a page alive while it is mapped. */
struct region {
	struct region *next, **at;
	void *addr;
	uint32_t nr;
};

struct xen_hv {
	xengnttab_handle *gnttab;    /* PVB_HV_BACK */
	xengntshr_handle *gntshr;    /* PVB_HV_FRONT */
	xenevtchn_handle *evtchn;
	struct region *maps, *grants;
	xengntshr_handle *self;      /* grants the arenas' pages to ourselves */
	struct arena { uint8_t *addr; size_t bytes; uint32_t *refs; } arena[PVB_HV_ARENAS];
	xengnttab_grant_copy_segment_t *segs; /* grown, never shrunk: no allocation per copy */
	unsigned nr_segs;
};

/* ---- a logger that drops everything: libxengnttab would write to stderr without one ------------------ */

static void drop_message(struct xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
			 const char *format, va_list al)
{
}

static void drop_progress(struct xentoollog_logger *logger, const char *context, const char *doing_what, int percent,
			  unsigned long done, unsigned long total)
{
}

static void keep_logger(struct xentoollog_logger *logger)
{
}

static struct xentoollog_logger quiet = { drop_message, drop_progress, keep_logger };

/* ---- regions --------------------------------------------------------------------------------------- */

static struct region *region_add(struct region **list, void *addr, uint32_t nr)
{
	struct region *r = malloc(sizeof(*r));

	if (!r)
		return NULL;
	r->addr = addr;
	r->nr = nr;
	r->next = *list;
	r->at = list;
	if (r->next)
		r->next->at = &r->next;
	*list = r;
	return r;
}

static void region_del(struct region *r)
{
	*r->at = r->next;
	if (r->next)
		r->next->at = r->at;
	free(r);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void xen_close(struct pvb_hv *hv)
{
	struct xen_hv *x = hv->priv;

	/* ports first: no event may find memory that is going away */
	if (x->evtchn)
		xenevtchn_close(x->evtchn);
	while (x->maps) {
		xengnttab_unmap(x->gnttab, x->maps->addr, x->maps->nr);
		region_del(x->maps);
	}
	while (x->grants) {
		xengntshr_unshare(x->gntshr, x->grants->addr, x->grants->nr);
		region_del(x->grants);
	}
	for (unsigned i = 0; i < hv->nr_arenas; i++) {
		xengntshr_unshare(x->self, x->arena[i].addr, (uint32_t)(x->arena[i].bytes / PVB_PAGE_SIZE));
		free(x->arena[i].refs);
	}
	if (x->self)
		xengntshr_close(x->self);
	if (x->gnttab)
		xengnttab_close(x->gnttab);
	if (x->gntshr)
		xengntshr_close(x->gntshr);
	free(x->segs);
	free(x);
	hv->priv = NULL;
}

static int open_devices(struct xen_hv *x, unsigned flags, struct pvb_error *err)
{
	x->evtchn = xenevtchn_open(&quiet, 0);
	if (!x->evtchn)
		return pvb_err(err, -errno, "/dev/xen/evtchn: %s", strerror(errno));
	if (fcntl(xenevtchn_fd(x->evtchn), F_SETFL, O_NONBLOCK) < 0)
		return pvb_err(err, -errno, "/dev/xen/evtchn: no O_NONBLOCK: %s", strerror(errno));
	if (flags & PVB_HV_BACK) {
		x->gnttab = xengnttab_open(&quiet, 0);
		if (!x->gnttab)
			return pvb_err(err, -errno, "/dev/xen/gntdev: %s", strerror(errno));
	}
	if (flags & PVB_HV_FRONT) {
		x->gntshr = xengntshr_open(&quiet, 0);
		if (!x->gntshr)
			return pvb_err(err, -errno, "/dev/xen/gntalloc: %s", strerror(errno));
		/* 4.17's library leaves it open across exec */
		fcntl(xengntshr_fd(x->gntshr), F_SETFD, FD_CLOEXEC);
	}
	return 0;
}

static int xen_open(struct pvb_hv *hv, const char *arg, unsigned flags, struct pvb_error *err)
{
	uint64_t self = 0;
	int rc;

	if (*arg && pvb_parse_u64(arg, 0, PVB_DOMID_SELF - 1, &self) < 0)
		return pvb_err(err, -EINVAL, "bus xen takes the number of this domain (0 to %u), got \"%s\"", PVB_DOMID_SELF - 1, arg);
	hv->domid = (uint32_t)self;
	hv->priv = calloc(1, sizeof(struct xen_hv));
	if (!hv->priv)
		return pvb_err(err, -ENOMEM, "bus xen: out of memory");
	rc = open_devices(hv->priv, flags, err);
	if (rc < 0)
		xen_close(hv);
	return rc;
}

/* ---- mapping and copying --------------------------------------------------------------------------- */

/* The library maps all or nothing: gntdev's mmap fails when one grant does, whatever sign its status has. */
static int xen_map(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable,
		   struct pvb_map *map)
{
	struct xen_hv *x = hv->priv;
	void *addr;

	addr = xengnttab_map_domain_grant_refs(x->gnttab, nr, domid, (uint32_t *)refs,
					       writable ? PROT_READ | PROT_WRITE : PROT_READ);
	if (!addr)
		return errno ? -errno : -EIO;
	map->priv = region_add(&x->maps, addr, nr);
	if (!map->priv) {
		xengnttab_unmap(x->gnttab, addr, nr);
		return -ENOMEM;
	}
	map->addr = addr;
	return 0;
}

static void xen_unmap(struct pvb_hv *hv, struct pvb_map *map)
{
	struct xen_hv *x = hv->priv;

	xengnttab_unmap(x->gnttab, map->addr, map->nr);
	region_del(map->priv);
}

static int reserve_segs(struct xen_hv *x, unsigned nr)
{
	xengnttab_grant_copy_segment_t *segs;

	if (nr <= x->nr_segs)
		return 0;
	nr = nr < 64 ? 64 : nr;
	segs = realloc(x->segs, nr * sizeof(*segs));
	if (!segs)
		return -ENOMEM;
	x->segs = segs;
	x->nr_segs = nr;
	return 0;
}

static int open_self(struct xen_hv *x)
{
	if (x->self)
		return 0;
	x->self = xengntshr_open(&quiet, 0);
	if (!x->self)
		return errno == ENOENT ? -ENODEV : -errno;
	fcntl(xengntshr_fd(x->self), F_SETFD, FD_CLOEXEC);
	return 0;
}

/* The whole area at once or not at all. */
static int xen_arena(struct pvb_hv *hv, size_t bytes, void **addr)
{
	struct xen_hv *x = hv->priv;
	struct arena *a = &x->arena[hv->nr_arenas];
	uint32_t nr = (uint32_t)(bytes / PVB_PAGE_SIZE);
	int rc;

	if (!strchr(hv->spec, ':'))
		return -EINVAL;
	rc = open_self(x);
	if (rc < 0)
		return rc;
	a->refs = malloc(nr * sizeof(*a->refs));
	if (!a->refs)
		return -ENOMEM;
	a->addr = xengntshr_share_pages(x->self, hv->domid, (int)nr, a->refs, 1);
	if (!a->addr) {
		rc = errno ? -errno : -ENOSPC;
		free(a->refs);
		return rc;
	}
	a->bytes = bytes;
	*addr = a->addr;
	return 0;
}

static uint16_t copy_end(const struct pvb_hv *hv, const struct pvb_copy_end *from, uint16_t len,
			 union xengnttab_copy_ptr *to, uint16_t flag)
{
	const struct xen_hv *x = hv->priv;

	for (unsigned i = 0; from->local && i < hv->nr_arenas; i++) {
		uintptr_t at = (uintptr_t)from->local - (uintptr_t)x->arena[i].addr;

		if (at >= x->arena[i].bytes || at % PVB_PAGE_SIZE + len > PVB_PAGE_SIZE)
			continue;
		to->foreign.ref = x->arena[i].refs[at / PVB_PAGE_SIZE];
		to->foreign.offset = (uint16_t)(at % PVB_PAGE_SIZE);
		to->foreign.domid = DOMID_SELF;
		return flag;
	}
	if (from->local) {
		to->virt = from->local;
		return 0;
	}
	to->foreign.ref = from->ref;
	to->foreign.offset = from->offset;
	to->foreign.domid = from->domid;
	return flag;
}

static int xen_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr)
{
	struct xen_hv *x = hv->priv;
	unsigned i;
	int rc;

	rc = reserve_segs(x, nr);
	if (rc < 0)
		return rc;
	for (i = 0; i < nr; i++) {
		xengnttab_grant_copy_segment_t *s = &x->segs[i];

		s->len = ops[i].len;
		s->flags = copy_end(hv, &ops[i].src, ops[i].len, &s->source, GNTCOPY_source_gref);
		s->flags |= copy_end(hv, &ops[i].dst, ops[i].len, &s->dest, GNTCOPY_dest_gref);
		s->status = GNTST_general_error; /* what the kernel does not touch was not copied */
	}
	if (xengnttab_grant_copy(x->gnttab, nr, x->segs) != 0)
		return errno ? -errno : -EIO;
	for (i = 0; i < nr; i++)
		ops[i].status = x->segs[i].status;
	return 0;
}

/* ---- granting -------------------------------------------------------------------------------------- */

static int xen_grant(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant)
{
	struct xen_hv *x = hv->priv;
	void *addr = xengntshr_share_pages(x->gntshr, domid, (int)nr, grant->refs, writable);

	if (!addr)
		return errno ? -errno : -EIO;
	grant->priv = region_add(&x->grants, addr, nr);
	if (!grant->priv) {
		xengntshr_unshare(x->gntshr, addr, nr);
		return -ENOMEM;
	}
	grant->addr = addr;
	return 0;
}

/* The library took the pages off gntalloc's list when it had mapped them, so the munmap in it revokes
 * them; those the peer still uses stay with the kernel until it lets go. */
static int xen_ungrant(struct pvb_hv *hv, struct pvb_grant *grant)
{
	struct xen_hv *x = hv->priv;

	xengntshr_unshare(x->gntshr, grant->addr, grant->nr);
	region_del(grant->priv);
	return 0;
}

/* ---- events ---------------------------------------------------------------------------------------- */

static int xen_evt_fd(struct pvb_hv *hv)
{
	struct xen_hv *x = hv->priv;

	return xenevtchn_fd(x->evtchn);
}

static int xen_evt_bind(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port)
{
	struct xen_hv *x = hv->priv;
	int port = xenevtchn_bind_interdomain(x->evtchn, domid, remote_port);

	return port < 0 ? -errno : port;
}

static int xen_evt_alloc(struct pvb_hv *hv, uint32_t domid)
{
	struct xen_hv *x = hv->priv;
	int port = xenevtchn_bind_unbound_port(x->evtchn, domid);

	return port < 0 ? -errno : port;
}

/* evtchn says ENOTCONN for a port that is not this descriptor's. */
static int port_error(void)
{
	return errno == ENOTCONN ? -EINVAL : -errno;
}

static int xen_evt_unbind(struct pvb_hv *hv, uint32_t port)
{
	struct xen_hv *x = hv->priv;

	return xenevtchn_unbind(x->evtchn, port) < 0 ? port_error() : 0;
}

static int xen_evt_notify(struct pvb_hv *hv, uint32_t port)
{
	struct xen_hv *x = hv->priv;

	return xenevtchn_notify(x->evtchn, port) < 0 ? port_error() : 0;
}

static int xen_evt_take(struct pvb_hv *hv, uint32_t *ports, unsigned max)
{
	struct xen_hv *x = hv->priv;
	ssize_t n;

	if (max > EVTCHN_IO_MAX)
		max = EVTCHN_IO_MAX;
	n = read(xenevtchn_fd(x->evtchn), ports, max * sizeof(*ports));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int)((size_t)n / sizeof(*ports));
}

static int xen_evt_unmask(struct pvb_hv *hv, const uint32_t *ports, unsigned nr)
{
	struct xen_hv *x = hv->priv;
	unsigned chunk;

	for (; nr > 0; ports += chunk, nr -= chunk) {
		ssize_t n;

		chunk = nr < EVTCHN_IO_MAX ? nr : EVTCHN_IO_MAX;
		/* a port that is gone is skipped by the kernel without an error */
		n = write(xenevtchn_fd(x->evtchn), ports, chunk * sizeof(*ports));
		if (n < 0)
			return -errno;
		if ((size_t)n != chunk * sizeof(*ports))
			return -EIO;
	}
	return 0;
}

/* Only evtchn can be restricted; gntdev is held to it by hv.c.  xentoolcore_restrict_all() would close
 * gntdev instead and reach into every other handle of the process. */
static int xen_restrict(struct pvb_hv *hv, uint32_t domid)
{
	struct xen_hv *x = hv->priv;

	/* the driver knows no handle for domain 0 alone: then hv.c is all there is */
	if (domid == 0)
		return 0;
	return xenevtchn_restrict(x->evtchn, (domid_t)domid) < 0 ? -errno : 0;
}

const struct pvb_hv_ops pvb_hv_xen = {
	.name = "xen",
	.open = xen_open,
	.close = xen_close,
	.map = xen_map,
	.unmap = xen_unmap,
	.copy = xen_copy,
	.arena = xen_arena,
	.grant = xen_grant,
	.ungrant = xen_ungrant,
	.evt_fd = xen_evt_fd,
	.evt_bind = xen_evt_bind,
	.evt_alloc = xen_evt_alloc,
	.evt_unbind = xen_evt_unbind,
	.evt_notify = xen_evt_notify,
	.evt_take = xen_evt_take,
	.evt_unmask = xen_evt_unmask,
	.restrict_to = xen_restrict,
};
