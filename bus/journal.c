/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making, opening and recovering a journal; the hot path is inline in the header. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "journal.h"

#define PAGE 4096u
#define MAX_ENTRIES 65536u
#define MAX_ENTRY_SIZE 65536u

_Static_assert(sizeof(struct pvb_journal_entry) == 24, "layout of the journal's entries");
_Static_assert(offsetof(struct pvb_journal_head, seq) == 64, "the hot words have a cache line of their own");
_Static_assert(sizeof(struct pvb_journal_head) == 128, "layout of the journal's head");

static bool sizes_ok(uint32_t nr, uint32_t entry_size)
{
	return nr >= 1 && nr <= MAX_ENTRIES && entry_size >= sizeof(struct pvb_journal_entry) &&
	       entry_size <= MAX_ENTRY_SIZE && entry_size % 8 == 0;
}

size_t pvb_journal_bytes(uint32_t nr, uint32_t entry_size)
{
	size_t bytes = sizeof(struct pvb_journal_head) + (size_t)nr * entry_size;

	return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static void attach(struct pvb_journal *j, void *mem, uint32_t nr, uint32_t entry_size)
{
	j->head = mem;
	j->entries = (uint8_t *)mem + sizeof(struct pvb_journal_head);
	j->entry_size = entry_size;
	j->nr = nr;
	j->free = UINT32_MAX;
	j->fresh = nr;
	j->in_use = nr;
	j->bytes = pvb_journal_bytes(nr, entry_size);
}

void pvb_journal_init(struct pvb_journal *j, void *mem, uint32_t nr, uint32_t entry_size, uint64_t generation,
		      uint32_t req_cons, uint32_t rsp_prod)
{
	memset(mem, 0, sizeof(*j->head)); /* who died here before may have begun */
	PVB_CRASH_POINT(journal_init_zeroed);
	attach(j, mem, nr, entry_size);
	j->fresh = j->in_use = 0;
	j->head->version = PVB_JOURNAL_VERSION;
	j->head->head_size = sizeof(struct pvb_journal_head);
	j->head->entry_size = entry_size;
	j->head->nr = nr;
	j->head->generation = generation;
	j->head->seq = req_cons;
	j->head->rsp_prod = j->head->rsp_next = rsp_prod;
	PVB_CRASH_POINT(journal_init_head);
	/* last: a journal that was only half made is not one */
	__atomic_store_n(&j->head->magic, PVB_JOURNAL_MAGIC, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(journal_init_magic);
}

int pvb_journal_open(struct pvb_journal *j, void *mem, size_t bytes, uint32_t nr, uint32_t entry_size,
		     struct pvb_error *err)
{
	const struct pvb_journal_head *h = mem;

	if (!sizes_ok(nr, entry_size))
		return pvb_err(err, -EINVAL, "journal: %u entries of %u bytes are out of bounds", nr, entry_size);
	if (bytes < pvb_journal_bytes(nr, entry_size))
		return pvb_err(err, -EPROTO, "journal: %zu bytes, %u entries of %u bytes need %zu", bytes, nr,
			       entry_size, pvb_journal_bytes(nr, entry_size));
	if (h->magic != PVB_JOURNAL_MAGIC)
		return pvb_err(err, -EPROTO, "journal: magic %#" PRIx64 ", expected %#" PRIx64, h->magic,
			       (uint64_t)PVB_JOURNAL_MAGIC);
	if (h->version != PVB_JOURNAL_VERSION || h->head_size != sizeof(*h))
		return pvb_err(err, -EPROTO, "journal: version %u with a head of %u bytes, expected %u with %zu",
			       h->version, h->head_size, PVB_JOURNAL_VERSION, sizeof(*h));
	if (h->nr != nr || h->entry_size != entry_size)
		return pvb_err(err, -EPROTO, "journal: %u entries of %u bytes, expected %u of %u", h->nr,
			       h->entry_size, nr, entry_size);
	attach(j, mem, nr, entry_size);
	return 0;
}

/* Does the entry stand for a request that the front end has no answer to yet? */
static bool unanswered(const struct pvb_journal *j, const struct pvb_journal_entry *e, uint32_t rsp_prod)
{
	switch (e->state) {
	case PVB_J_TAKEN:
		return e->seq < j->head->seq; /* otherwise never counted: the ring still holds it */
	case PVB_J_DONE:
		return true;
	case PVB_J_RESPONDED:
		return (int32_t)(e->rsp_index - rsp_prod) >= 0;
	default:
		return false;
	}
}

static int check(const struct pvb_journal *j, uint32_t rsp_prod, struct pvb_error *err)
{
	uint32_t open = (uint32_t)j->head->seq - rsp_prod, found = 0, i;

	for (i = 0; i < j->nr; i++) {
		const struct pvb_journal_entry *e = pvb_journal_at(j, i);

		if (e->state > PVB_J_RESPONDED)
			return pvb_err(err, -EPROTO, "journal: entry %u has state %u", i, e->state);
		if (e->state > PVB_J_TAKEN && e->seq >= j->head->seq)
			return pvb_err(err, -EPROTO, "journal: entry %u is number %" PRIu64 " of %" PRIu64 " taken", i,
				       e->seq, j->head->seq);
		found += unanswered(j, e, rsp_prod);
	}
	/* every request that was counted and is not answered has exactly one entry */
	if (found != open)
		return pvb_err(err, -EPROTO, "journal: %u entries for %u requests without an answer", found, open);
	return 0;
}

/* Heap sort, as qsort() has no argument for the journal; by state group (DONE first), then seq. */
static bool later(const struct pvb_journal *j, uint32_t a, uint32_t b)
{
	const struct pvb_journal_entry *x = pvb_journal_at(j, a), *y = pvb_journal_at(j, b);

	if ((x->state == PVB_J_TAKEN) != (y->state == PVB_J_TAKEN))
		return x->state == PVB_J_TAKEN;
	return x->seq > y->seq;
}

static void sink(const struct pvb_journal *j, uint32_t *v, uint32_t at, uint32_t nr)
{
	uint32_t child, keep = v[at];

	for (; (child = 2 * at + 1) < nr; at = child) {
		if (child + 1 < nr && later(j, v[child + 1], v[child]))
			child++;
		if (!later(j, v[child], keep))
			break;
		v[at] = v[child];
	}
	v[at] = keep;
}

static void sort(const struct pvb_journal *j, uint32_t *v, uint32_t nr)
{
	uint32_t i, top;

	for (i = nr / 2; i-- > 0;)
		sink(j, v, i, nr);
	while (nr > 1) {
		top = v[0];
		v[0] = v[--nr];
		v[nr] = top;
		sink(j, v, 0, nr);
	}
}

int pvb_journal_recover(struct pvb_journal *j, uint32_t ring_rsp_prod, uint32_t *entries,
			struct pvb_journal_recovery *out, struct pvb_error *err)
{
	struct pvb_journal_head *h = j->head;
	struct pvb_journal_recovery found = { .req_cons = (uint32_t)h->seq, .rsp_prod = ring_rsp_prod };
	uint32_t i, nr = 0;
	int rc;

	if (ring_rsp_prod - h->rsp_prod > h->rsp_next - h->rsp_prod)
		return pvb_err(err, -EPROTO, "journal: the ring says %u responses, ours were %u to %u", ring_rsp_prod,
			       h->rsp_prod, h->rsp_next);
	rc = check(j, ring_rsp_prod, err);
	if (rc < 0)
		return rc;
	/* Entries first, head after: run again from any point in between, the same entries are found. */
	j->free = UINT32_MAX;
	j->fresh = j->in_use = j->nr;
	for (i = j->nr; i-- > 0;) {
		struct pvb_journal_entry *e = pvb_journal_at(j, i);

		if (!unanswered(j, e, ring_rsp_prod)) {
			pvb_journal_put(j, e);
			continue;
		}
		if (e->state == PVB_J_RESPONDED)
			pvb_journal_done(e, e->status);
		found.nr_answer += e->state == PVB_J_DONE;
		found.nr_redo += e->state == PVB_J_TAKEN;
		entries[nr++] = i;
	}
	pvb_journal_push_end(j, ring_rsp_prod);
	pvb_journal_push_begin(j, ring_rsp_prod);
	sort(j, entries, nr);
	*out = found;
	return 0;
}
