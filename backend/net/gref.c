// SPDX-License-Identifier: GPL-2.0-or-later
/* gref.c: pages of a guest that are mapped for as long as it is connected (staging grants), one table a queue.  What is
 * in them changes at any time; who copies from them must be content with any bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nif-impl.h"

#define BUCKETS (2 * NIFJ_GREFS)

struct gref_table {
	unsigned nr;
	struct gref_entry e[NIFJ_GREFS];   /* the first nr; same places as in the journal */
	uint16_t bucket[BUCKETS];          /* place + 1, or 0; linear probing */
};

static unsigned home(uint32_t ref)
{
	return (ref * 0x9e3779b1u) >> 16 & (BUCKETS - 1);
}

/* The bucket of this reference, or the free one where it belongs. */
static unsigned probe(const struct gref_table *t, uint32_t ref)
{
	unsigned b = home(ref);

	while (t->bucket[b] && t->e[t->bucket[b] - 1].ref != ref)
		b = (b + 1) & (BUCKETS - 1);
	return b;
}

uint8_t *gref_find(const struct gref_table *t, uint32_t ref, bool write)
{
	unsigned place = t ? t->bucket[probe(t, ref)] : 0;

	return place && !(write && t->e[place - 1].readonly) ? t->e[place - 1].map.addr : NULL;
}

unsigned gref_count(const struct gref_table *t)
{
	return t ? t->nr : 0;
}

static void tell_journal(struct nif_queue *q, unsigned place)
{
	const struct gref_entry *e = &q->grefs->e[place];
	uint64_t word = NIFJ_GREF_USED | (e->readonly ? NIFJ_GREF_READONLY : 0) | e->ref;

	__atomic_store_n(&q->j->gref[place], place < q->grefs->nr ? word : 0, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(gref_told_journal);
}

static int add_one(struct nif_queue *q, uint32_t ref, bool readonly)
{
	struct gref_table *t = q->grefs;
	struct gref_entry *e = &t->e[t->nr];
	int rc;

	rc = pvb_hv_map(q->nif->ctx->hv, q->nif->cfg.domid, &ref, 1, !readonly, &e->map);
	if (rc < 0)
		return rc;
	e->ref = ref;
	e->readonly = readonly;
	t->bucket[probe(t, ref)] = (uint16_t)++t->nr;
	tell_journal(q, t->nr - 1);
	stats_add(&q->nif->stats->grefs_mapped, 1);
	return 0;
}

/* All or none.  A page that is there already is fine: an answer may have been lost with a worker.  *bad names the one
 * that failed. */
int gref_add(struct nif_queue *q, const struct xen_netif_gref *list, unsigned nr, unsigned max, unsigned before,
	     uint32_t *bad)
{
	unsigned i;
	int rc = 0;

	if (!q->grefs)
		q->grefs = calloc(1, sizeof(*q->grefs));
	if (!q->grefs)
		return -ENOMEM;
	for (i = 0; i < nr && rc == 0; i++) {
		bool readonly = list[i].flags & XEN_NETIF_CTRLF_GREF_readonly;
		unsigned place = q->grefs->bucket[probe(q->grefs, list[i].ref)];

		*bad = list[i].ref;
		if (place)
			rc = q->grefs->e[place - 1].readonly == readonly ? 0 : -EEXIST;
		else if (q->grefs->nr >= max)
			rc = -ENOSPC;
		else
			rc = add_one(q, list[i].ref, readonly);
	}
	while (rc < 0 && q->grefs->nr > before)
		gref_del(q, q->grefs->e[q->grefs->nr - 1].ref);
	return rc;
}

void gref_restore(struct nif_queue *q)
{
	static const uint64_t flags = NIFJ_GREF_USED | NIFJ_GREF_READONLY;
	uint64_t *word = q->j->gref;

	/* the table is told to the journal as it grows, and never overtakes what is still to be read */
	for (unsigned i = 0; i < NIFJ_GREFS; i++) {
		struct xen_netif_gref g = { .ref = (uint32_t)(word[i] & ~flags),
					    .flags = word[i] & NIFJ_GREF_READONLY ? XEN_NETIF_CTRLF_GREF_readonly : 0 };
		uint32_t bad;

		if ((word[i] & NIFJ_GREF_USED) && gref_add(q, &g, 1, NIFJ_GREFS, gref_count(q->grefs), &bad) < 0)
			nif_refused(q->nif, "queue %u: grant %u was mapped, and can not be mapped again", q->id, g.ref);
	}
	PVB_CRASH_POINT(gref_restored);
	for (unsigned i = gref_count(q->grefs); i < NIFJ_GREFS; i++)
		word[i] = 0;
	PVB_CRASH_POINT(gref_rest_cleared);
}

/* Close the gap in the chain of buckets. */
static void remove_bucket(struct gref_table *t, unsigned gap)
{
	unsigned b = gap;

	for (;;) {
		b = (b + 1) & (BUCKETS - 1);
		if (!t->bucket[b])
			break;
		/* may move up unless its home lies between the gap and here */
		if (((b - home(t->e[t->bucket[b] - 1].ref)) & (BUCKETS - 1)) >= ((b - gap) & (BUCKETS - 1))) {
			t->bucket[gap] = t->bucket[b];
			gap = b;
		}
	}
	t->bucket[gap] = 0;
}

bool gref_del(struct nif_queue *q, uint32_t ref)
{
	struct gref_table *t = q->grefs;
	unsigned b, place, last;

	if (!t)
		return false;
	b = probe(t, ref);
	if (!t->bucket[b])
		return false;
	place = t->bucket[b] - 1u;
	last = t->nr - 1;
	pvb_hv_unmap(q->nif->ctx->hv, &t->e[place].map);
	remove_bucket(t, b);
	if (place != last) {
		t->bucket[probe(t, t->e[last].ref)] = (uint16_t)(place + 1);
		t->e[place] = t->e[last];
		tell_journal(q, place); /* twice there is better than not there */
	}
	memset(&t->e[last], 0, sizeof(t->e[last]));
	t->nr--;
	tell_journal(q, last);
	stats_add(&q->nif->stats->grefs_mapped, (uint64_t)-1);
	return true;
}

void gref_free(struct nif_queue *q)
{
	while (q->grefs && q->grefs->nr)
		gref_del(q, q->grefs->e[q->grefs->nr - 1].ref);
	free(q->grefs);
	q->grefs = NULL;
}
