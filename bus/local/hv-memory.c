/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapping what a domain granted, and what copying (hv-copy.c) needs of it as well.  Every word of the domain's
 * memory is read once, checked in the copy, and used from the copy; no access leaves the memfd, whose size is
 * sealed. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "hv-local.h"

/* What one pvb_map stands on. */
struct lhv_map {
	struct lhv_map *next, **pprev; /* all that are mapped, or (next) spare ones */
	struct lhv_mem *mem;
	void *area;                 /* a mapping of its own, or NULL: points into the whole one */
	size_t area_bytes;
	uint32_t nr;
	uint32_t refs[];
};

/* ---- a domain's memory ------------------------------------------------------------------------------ */

void lhv_mem_free(struct lhv_mem *m)
{
	if (!m)
		return;
	if (m->rw)
		munmap(m->rw, m->layout.total);
	if (m->ro)
		munmap(m->ro, m->layout.total);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

static uint8_t *map_whole(const struct lhv_mem *m, int prot)
{
	void *p = mmap(NULL, m->layout.total, prot, MAP_SHARED | MAP_NORESERVE, m->fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

int lhv_mem_open(struct lhv *l, uint32_t domid, bool to_map, struct lhv_mem **out)
{
	struct lf_request req = { .op = LF_GETMEM, .a = domid, .b = to_map };
	struct lf_reply rep;
	struct lhv_mem *m;
	struct stat st;
	int rc, fd;

	rc = lhv_call(l, &req, &rep, &fd, 1);
	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m) {
		close(fd);
		return -ENOMEM;
	}
	m->domid = domid;
	m->column = rep.b;
	m->generation = rep.c;
	m->layout = lf_layout(rep.a);
	m->fd = fd;
	if (fstat(fd, &st) < 0 || (size_t)st.st_size != m->layout.total || m->column >= LF_NR_COLUMNS) {
		lhv_mem_free(m);
		return -EPROTO;
	}
	m->rw = map_whole(m, PROT_READ | PROT_WRITE);
	m->ro = to_map ? map_whole(m, PROT_READ) : NULL;
	if (!m->rw || (to_map && !m->ro)) {
		lhv_mem_free(m);
		return -ENOMEM;
	}
	m->table = (lf_entry *)(m->rw + m->layout.table);
	m->pins = (lf_pins *)(m->rw + m->layout.pins);
	*out = m;
	return 0;
}

void lhv_mem_drop(struct lhv *l, struct lhv_mem *m)
{
	struct lf_request req = { .op = LF_PUTMEM, .a = m->domid };
	struct lf_reply rep;
	struct lhv_mem **p;

	for (p = &l->mems; *p != m; p = &(*p)->next)
		;
	*p = m->next;
	if (!m->stale)
		lhv_call(l, &req, &rep, NULL, 0);
	lhv_mem_free(m);
}

/* The domain's memory, asked for once.  A domain that is gone, or was replaced by one of the same id, is
 * seen by its generation. */
int lhv_mem_find(struct lhv *l, uint32_t domid, struct lhv_mem **out)
{
	uint32_t generation;
	struct lhv_mem *m, **p;
	int rc;

	if (domid == PVB_DOMID_SELF)
		domid = l->hv->domid;
	if (domid >= LF_NR_DOMIDS)
		return -ESRCH;
	generation = __atomic_load_n(&l->info[domid], __ATOMIC_ACQUIRE);
	for (p = &l->mems; (m = *p); p = &m->next)
		if (m->domid == domid && !m->stale)
			break;
	if (m && m->generation == generation) {
		*p = m->next;
		m->next = l->mems;
		l->mems = m;
		*out = m;
		return 0;
	}
	if (m) {
		m->stale = true;
		if (m->nr_maps == 0)
			lhv_mem_drop(l, m);
	}
	if (generation == 0)
		return -ESRCH;
	rc = lhv_mem_open(l, domid, true, &m);
	if (rc < 0)
		return rc;
	m->next = l->mems;
	l->mems = m;
	*out = m;
	return 0;
}

void lhv_memory_restrict(struct lhv *l, uint32_t domid)
{
	struct lhv_mem *m, *next;

	for (m = l->mems; m; m = next) {
		next = m->next;
		if (m->domid != domid && m->nr_maps == 0)
			lhv_mem_drop(l, m);
	}
}

void lhv_memory_close(struct lhv *l)
{
	struct lhv_map *map;
	struct lhv_mem *m;

	while ((map = l->maps)) {
		l->maps = map->next;
		if (map->area)
			munmap(map->area, map->area_bytes);
		free(map);
	}
	while ((map = l->free_maps)) {
		l->free_maps = map->next;
		free(map);
	}
	while ((m = l->mems)) {
		l->mems = m->next;
		lhv_mem_free(m);
	}
	lhv_mem_free(l->own);
	l->own = NULL;
}

/* ---- pins ------------------------------------------------------------------------------------------- */

static void unpin_all(const struct lhv_mem *m, const uint32_t *refs, uint32_t nr)
{
	while (nr-- > 0)
		lhv_mem_unpin(m, refs[nr]);
}

/* Pins all or none. frames[nr]. */
static int pin_all(const struct lhv *l, const struct lhv_mem *m, const uint32_t *refs, uint32_t nr, bool writable,
		   uint32_t *frames)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		if (!lhv_mem_pin(m, refs[i])) {
			unpin_all(m, refs, i);
			return refs[i] < m->layout.pages ? -ENOSPC : -EINVAL;
		}
	/* pairs with revoke(): pins before entries here, entries before pins there */
	pvb_ring_mb();
	for (i = 0; i < nr; i++)
		if (lhv_mem_check(l, m, refs[i], writable, &frames[i]) != GNTST_okay) {
			unpin_all(m, refs, nr);
			return -EINVAL;
		}
	return 0;
}

/* ---- map -------------------------------------------------------------------------------------------- */

static struct lhv_map *new_map(struct lhv *l, uint32_t nr)
{
	struct lhv_map *map = l->free_maps;

	if (nr == 1 && map) {
		l->free_maps = map->next;
		map->area = NULL;
		return map;
	}
	map = malloc(sizeof(*map) + nr * sizeof(map->refs[0]));
	if (map) {
		map->nr = nr;
		map->area = NULL;
	}
	return map;
}

static void free_map(struct lhv *l, struct lhv_map *map)
{
	if (map->nr != 1) {
		free(map);
		return;
	}
	map->next = l->free_maps;
	l->free_maps = map;
}

/* A mapping of its own, with an inaccessible page on either side if asked for. */
static int map_area(struct lhv_map *map, const uint32_t *frames, bool writable, bool guard)
{
	size_t bytes = ((size_t)map->nr + (guard ? 2 : 0)) * PVB_PAGE_SIZE;
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	uint32_t i, run;
	uint8_t *area, *at;

	area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -ENOMEM;
	at = area + (guard ? PVB_PAGE_SIZE : 0);
	for (i = 0; i < map->nr; i += run, at += (size_t)run * PVB_PAGE_SIZE) {
		for (run = 1; i + run < map->nr && frames[i + run] == frames[i] + run; run++)
			;
		if (mmap(at, (size_t)run * PVB_PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, map->mem->fd,
			 (off_t)(map->mem->layout.data + (size_t)frames[i] * PVB_PAGE_SIZE)) == MAP_FAILED) {
			munmap(area, bytes);
			return -ENOMEM;
		}
	}
	map->area = area;
	map->area_bytes = bytes;
	return 0;
}

static bool in_a_row(const uint32_t *frames, uint32_t nr)
{
	uint32_t i;

	for (i = 1; i < nr; i++)
		if (frames[i] != frames[0] + i)
			return false;
	return true;
}

int lhv_map(struct pvb_hv *hv, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable, struct pvb_map *out)
{
	bool guard = hv->flags & PVB_HV_GUARD;
	uint32_t few[16], *frames = few;
	struct lhv *l = lhv(hv);
	struct lhv_map *map;
	struct lhv_mem *m;
	int rc;

	rc = lhv_mem_find(l, domid, &m);
	if (rc < 0)
		return rc;
	map = new_map(l, nr);
	if (nr > sizeof(few) / sizeof(*few))
		frames = malloc(nr * sizeof(*frames));
	if (!map || !frames) {
		rc = -ENOMEM;
		goto out;
	}
	map->mem = m;
	memcpy(map->refs, refs, nr * sizeof(*refs));
	rc = pin_all(l, m, map->refs, nr, writable, frames);
	if (rc < 0)
		goto out;
	if (guard || !in_a_row(frames, nr)) {
		rc = map_area(map, frames, writable, guard);
		if (rc < 0) {
			unpin_all(m, map->refs, nr);
			goto out;
		}
		out->addr = (uint8_t *)map->area + (guard ? PVB_PAGE_SIZE : 0);
	} else {
		out->addr = (writable ? m->rw : m->ro) + m->layout.data + (size_t)frames[0] * PVB_PAGE_SIZE;
	}
	m->nr_maps++;
	map->next = l->maps;
	map->pprev = &l->maps;
	if (map->next)
		map->next->pprev = &map->next;
	l->maps = map;
	out->priv = map;
	map = NULL;
out:
	if (map)
		free_map(l, map);
	if (frames != few)
		free(frames);
	return rc;
}

void lhv_unmap(struct pvb_hv *hv, struct pvb_map *out)
{
	struct lhv_map *map = out->priv;
	struct lhv_mem *m = map->mem;
	struct lhv *l = lhv(hv);

	if (map->area)
		munmap(map->area, map->area_bytes);
	unpin_all(m, map->refs, map->nr);
	*map->pprev = map->next;
	if (map->next)
		map->next->pprev = map->pprev;
	free_map(l, map);
	if (--m->nr_maps == 0 && m->stale)
		lhv_mem_drop(l, m);
}
