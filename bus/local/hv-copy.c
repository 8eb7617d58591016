/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grant copies: all ends of a batch are pinned, then checked after one fence, copied, unpinned. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "hv-local.h"

#define COPY_BATCH 64

#if defined(__SANITIZE_THREAD__) || defined(PVB_TSAN)
/* The peer may write the page while we copy; the result is a private copy that is checked later.  The
 * sanitizer can not know, and its memcpy reports it. */
__attribute__((no_sanitize("thread"))) static void copy_bytes(void *to, const void *from, size_t len)
{
	volatile uint8_t *t = to;
	const volatile uint8_t *f = from;

	while (len-- > 0)
		*t++ = *f++;
}
#else
static void copy_bytes(void *to, const void *from, size_t len)
{
	memmove(to, from, len); /* both ends may be grants of one page */
}
#endif

/* One end while its op is carried out. */
struct copy_end {
	struct lhv_mem *mem;        /* NULL: local memory, or refused */
	uint32_t ref;
};

/* Whose memory was found last: mostly that of the next end as well. */
struct last {
	struct lhv_mem *mem;        /* NULL: none */
	uint32_t domid;
};

static int16_t find(struct lhv *l, uint32_t domid, struct last *last)
{
	int rc;

	if (last->mem && last->domid == domid)
		return GNTST_okay;
	last->domid = domid;
	rc = lhv_mem_find(l, domid, &last->mem);
	if (rc == 0)
		return GNTST_okay;
	last->mem = NULL;
	return rc == -ESRCH ? GNTST_bad_domain : rc == -EACCES ? GNTST_permission_denied : GNTST_general_error;
}

static inline int16_t pin_end(struct lhv *l, const struct pvb_copy_end *from, struct copy_end *end, struct last *last)
{
	int16_t status;

	end->mem = NULL;
	if (from->local)
		return GNTST_okay;
	status = find(l, from->domid, last);
	if (status != GNTST_okay)
		return status;
	if (!lhv_mem_pin(last->mem, from->ref))
		return from->ref < last->mem->layout.pages ? GNTST_general_error : GNTST_bad_gntref;
	end->mem = last->mem;
	end->ref = from->ref;
	/* a second domain's memory may be fetched meanwhile: this one must not be dropped */
	end->mem->nr_maps++;
	return GNTST_okay;
}

static inline void unpin_end(struct lhv *l, struct copy_end *end)
{
	if (!end->mem)
		return;
	lhv_mem_unpin(end->mem, end->ref);
	if (--end->mem->nr_maps == 0 && end->mem->stale)
		lhv_mem_drop(l, end->mem);
}

static inline int16_t resolve(const struct lhv *l, const struct pvb_copy_end *from, const struct copy_end *end,
			      uint16_t len, bool writable, uint8_t **at)
{
	uint32_t frame = 0;
	int status;

	if (from->local) {
		*at = from->local;
		return GNTST_okay;
	}
	if ((uint32_t)from->offset + len > PVB_PAGE_SIZE)
		return GNTST_bad_copy_arg;
	status = lhv_mem_check(l, end->mem, end->ref, writable, &frame);
	*at = end->mem->rw + end->mem->layout.data + (size_t)frame * PVB_PAGE_SIZE + from->offset;
	return (int16_t)status;
}

static void copy_batch(struct lhv *l, struct pvb_copy *ops, unsigned nr)
{
	struct copy_end src[COPY_BATCH], dst[COPY_BATCH];
	uint8_t *from = NULL, *to = NULL;
	struct last last = { 0 };
	unsigned i;

	for (i = 0; i < nr; i++) {
		ops[i].status = pin_end(l, &ops[i].src, &src[i], &last);
		dst[i].mem = NULL;
		if (ops[i].status == GNTST_okay)
			ops[i].status = pin_end(l, &ops[i].dst, &dst[i], &last);
	}
	/* pairs with revoke(): pins before entries here, entries before pins there; once for the batch */
	pvb_ring_mb();
	for (i = 0; i < nr; i++) {
		if (ops[i].status == GNTST_okay)
			ops[i].status = resolve(l, &ops[i].src, &src[i], ops[i].len, false, &from);
		if (ops[i].status == GNTST_okay)
			ops[i].status = resolve(l, &ops[i].dst, &dst[i], ops[i].len, true, &to);
		if (ops[i].status == GNTST_okay)
			copy_bytes(to, from, ops[i].len);
	}
	for (i = 0; i < nr; i++) {
		unpin_end(l, &src[i]);
		unpin_end(l, &dst[i]);
	}
}

static struct pvb_copy_end *granted_end(struct pvb_copy *op)
{
	return op->src.local ? &op->dst : &op->src;
}

/* Is each of them between us and the one domain? */
static bool with_one_domain(struct pvb_copy *ops, unsigned nr)
{
	uint16_t domid = granted_end(&ops[0])->domid;

	for (unsigned i = 0; i < nr; i++)
		if ((!ops[i].src.local && !ops[i].dst.local) || granted_end(&ops[i])->domid != domid)
			return false;
	return true;
}

/* The same for these, which are nearly all: one end to pin, and all in memory that nothing can take away meanwhile. */
static void copy_with(struct lhv *l, struct pvb_copy *ops, unsigned nr)
{
	struct last last = { 0 };
	int16_t status = find(l, granted_end(&ops[0])->domid, &last);
	uint64_t pinned = 0;
	unsigned i;

	_Static_assert(COPY_BATCH <= 64, "a bit for each");
	for (i = 0; i < nr; i++) {
		uint32_t ref = granted_end(&ops[i])->ref;

		ops[i].status = status;
		if (status != GNTST_okay)
			continue;
		if (lhv_mem_pin(last.mem, ref))
			pinned |= 1ull << i;
		else
			ops[i].status = ref < last.mem->layout.pages ? GNTST_general_error : GNTST_bad_gntref;
	}
	/* pairs with revoke(), as above */
	pvb_ring_mb();
	for (i = 0; i < nr; i++) {
		struct pvb_copy *op = &ops[i];
		struct copy_end end = { last.mem, granted_end(op)->ref };
		bool in = op->dst.local;
		uint8_t *at = NULL;

		if (op->status == GNTST_okay)
			op->status = resolve(l, granted_end(op), &end, op->len, !in, &at);
		if (op->status == GNTST_okay)
			copy_bytes(in ? op->dst.local : at, in ? at : op->src.local, op->len);
	}
	for (i = 0; i < nr; i++)
		if (pinned >> i & 1)
			lhv_mem_unpin(last.mem, granted_end(&ops[i])->ref);
}

int lhv_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr)
{
	unsigned n;

	for (; nr > 0; ops += n, nr -= n) {
		n = nr < COPY_BATCH ? nr : COPY_BATCH;
		if (with_one_domain(ops, n))
			copy_with(lhv(hv), ops, n);
		else
			copy_batch(lhv(hv), ops, n);
	}
	return 0;
}
