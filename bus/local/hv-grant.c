/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Granting pages of our own domain.  The server gives this process ranges of the domain's pages (so that
 * several processes can grant for one domain, and a dead one's pages come back); within them granting
 * and revoking are plain stores.  Page i is always granted through reference i. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "hv-local.h"

#define EXTENT_PAGES 64 /* asked for at once, so that single pages do not cost a message each */

static int reserve(struct lhv *l, uint32_t nr, struct lhv_extent **out)
{
	struct lf_request req = { .op = LF_RESERVE, .a = nr < EXTENT_PAGES ? EXTENT_PAGES : nr };
	struct lhv_extent *ext;
	struct lf_reply rep;
	int rc;

	rc = lhv_call(l, &req, &rep, NULL, 0);
	if (rc == -ENOSPC && req.a > nr) {
		req.a = nr;
		rc = lhv_call(l, &req, &rep, NULL, 0);
	}
	if (rc < 0)
		return rc;
	if (rep.a >= l->own->layout.pages || req.a > l->own->layout.pages - rep.a)
		return -EPROTO;
	ext = calloc(1, sizeof(*ext) + req.a * sizeof(ext->used[0]));
	if (!ext) {
		req = (struct lf_request){ .op = LF_RETURN, .a = rep.a, .b = req.a };
		lhv_call(l, &req, &rep, NULL, 0);
		return -ENOMEM;
	}
	ext->first = rep.a;
	ext->nr = ext->nr_free = req.a;
	ext->next = l->extents;
	l->extents = ext;
	*out = ext;
	return 0;
}

static void give_back(struct lhv *l, struct lhv_extent *ext)
{
	struct lf_request req = { .op = LF_RETURN, .a = ext->first, .b = ext->nr };
	struct lhv_extent **p;
	struct lf_reply rep;

	for (p = &l->extents; *p != ext; p = &(*p)->next)
		;
	*p = ext->next;
	lhv_call(l, &req, &rep, NULL, 0);
	free(ext);
}

/* nr free pages in a row, or NULL. */
static struct lhv_extent *find_run(struct lhv *l, uint32_t nr, uint32_t *at)
{
	struct lhv_extent *ext;
	uint32_t i, run;

	for (ext = l->extents; ext; ext = ext->next) {
		if (ext->nr_free < nr)
			continue;
		for (i = run = 0; i < ext->nr; i++) {
			run = ext->used[i] ? 0 : run + 1;
			if (run == nr) {
				*at = i + 1 - nr;
				return ext;
			}
		}
	}
	return NULL;
}

int lhv_grant(struct pvb_hv *hv, uint32_t domid, uint32_t nr, bool writable, struct pvb_grant *grant)
{
	struct lhv *l = lhv(hv);
	struct lhv_extent *ext;
	uint32_t i, at = 0, frame;
	int rc;

	if (domid == PVB_DOMID_SELF)
		domid = hv->domid;
	if (nr > l->own->layout.pages)
		return -ENOSPC;
	ext = find_run(l, nr, &at);
	if (!ext) {
		rc = reserve(l, nr, &ext);
		if (rc < 0)
			return rc;
	}
	memset(ext->used + at, true, nr);
	ext->nr_free -= nr;
	frame = ext->first + at;
	grant->addr = l->own->rw + l->own->layout.data + (size_t)frame * PVB_PAGE_SIZE;
	grant->priv = ext;
	memset(grant->addr, 0, (size_t)nr * PVB_PAGE_SIZE);
	for (i = 0; i < nr; i++) {
		grant->refs[i] = frame + i;
		/* release: the zeroes come before the right to see the page */
		__atomic_store_n(&l->own->table[frame + i],
				 lf_entry_make(GTF_permit_access | (writable ? 0 : GTF_readonly), (uint16_t)domid,
					       frame + i), __ATOMIC_RELEASE);
	}
	return 0;
}

static bool in_use(const struct lhv_mem *m, uint32_t ref)
{
	unsigned col;
	uint16_t any = 0;

	for (col = 0; col < LF_NR_COLUMNS; col++)
		any |= __atomic_load_n(&m->pins[ref][col], __ATOMIC_ACQUIRE);
	return any != 0;
}

/* One unused range of ordinary size is kept, so that a grant and an ungrant in turn cost no messages. */
static bool is_spare(const struct lhv *l, const struct lhv_extent *ext)
{
	const struct lhv_extent *other;

	for (other = l->extents; other; other = other->next)
		if (other != ext && other->nr_free == other->nr)
			return false;
	return ext->nr <= EXTENT_PAGES;
}

int lhv_ungrant(struct pvb_hv *hv, struct pvb_grant *grant)
{
	struct lhv_extent *ext = grant->priv;
	struct lhv *l = lhv(hv);
	uint32_t i, first = grant->refs[0];
	int stuck = 0;

	for (i = 0; i < grant->nr; i++)
		__atomic_store_n(&l->own->table[first + i], 0, __ATOMIC_RELAXED);
	/* pairs with pin_all(): entries before pins here, pins before entries there */
	pvb_ring_mb();
	for (i = 0; i < grant->nr; i++) {
		if (in_use(l->own, first + i)) {
			stuck++; /* stays used: the server takes it back once the peer has let go */
			continue;
		}
		ext->used[first + i - ext->first] = false;
		ext->nr_free++;
	}
	if (ext->nr_free == ext->nr && !is_spare(l, ext))
		give_back(l, ext);
	return stuck;
}

void lhv_grant_close(struct lhv *l)
{
	struct lhv_extent *ext;

	while ((ext = l->extents)) {
		l->extents = ext->next;
		free(ext);
	}
}
