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

static int16_t pin_end(struct lhv *l, const struct pvb_copy_end *from, struct copy_end *end)
{
	int rc;

	end->mem = NULL;
	if (from->local)
		return GNTST_okay;
	rc = lhv_mem_find(l, from->domid, &end->mem);
	if (rc < 0) {
		end->mem = NULL;
		return rc == -ESRCH ? GNTST_bad_domain : rc == -EACCES ? GNTST_permission_denied : GNTST_general_error;
	}
	end->ref = from->ref;
	if (!lhv_mem_pin(end->mem, end->ref)) {
		int16_t status = end->ref < end->mem->layout.pages ? GNTST_general_error : GNTST_bad_gntref;

		end->mem = NULL;
		return status;
	}
	/* a second domain's memory may be fetched meanwhile: this one must not be dropped */
	end->mem->nr_maps++;
	return GNTST_okay;
}

static void unpin_end(struct lhv *l, struct copy_end *end)
{
	if (!end->mem)
		return;
	lhv_mem_unpin(end->mem, end->ref);
	if (--end->mem->nr_maps == 0 && end->mem->stale)
		lhv_mem_drop(l, end->mem);
}

static int16_t resolve(const struct lhv *l, const struct pvb_copy_end *from, const struct copy_end *end, uint16_t len,
		       bool writable, uint8_t **at)
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
	unsigned i;

	for (i = 0; i < nr; i++) {
		ops[i].status = pin_end(l, &ops[i].src, &src[i]);
		dst[i].mem = NULL;
		if (ops[i].status == GNTST_okay)
			ops[i].status = pin_end(l, &ops[i].dst, &dst[i]);
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

int lhv_copy(struct pvb_hv *hv, struct pvb_copy *ops, unsigned nr)
{
	unsigned n;

	for (; nr > 0; ops += n, nr -= n) {
		n = nr < COPY_BATCH ? nr : COPY_BATCH;
		copy_batch(lhv(hv), ops, n);
	}
	return 0;
}
