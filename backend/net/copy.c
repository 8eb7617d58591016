// SPDX-License-Identifier: GPL-2.0-or-later
/* copy.c: the grant copies of a pass, each way gathered and carried out in one call, and the memory they go to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "nif-impl.h"

#define ARENA_MIN (4u * 65536u)

/* Pages of their own, that are not there before they are used: a guest may have no NIC at all. */
static void *fresh(size_t nr, size_t size)
{
	void *mem = mmap(NULL, nr * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static void drop(void *mem, size_t nr, size_t size)
{
	if (mem)
		munmap(mem, nr * size);
}

static int batch_new(struct nif_batch *b)
{
	b->copy = fresh(NIF_OPS, sizeof(*b->copy));
	b->op = fresh(NIF_OPS, sizeof(*b->op));
	b->cap = NIF_OPS;
	return b->copy && b->op ? 0 : -ENOMEM;
}

static void batch_free(struct nif_batch *b)
{
	drop(b->copy, NIF_OPS, sizeof(*b->copy));
	drop(b->op, NIF_OPS, sizeof(*b->op));
}

int copy_new(struct nif_ctx *ctx, size_t memory)
{
	void *area;

	memory = memory < ARENA_MIN ? ARENA_MIN : memory & ~(size_t)(PVB_PAGE_SIZE - 1);
	if (batch_new(&ctx->in) < 0 || batch_new(&ctx->out) < 0)
		return -ENOMEM;
	ctx->sorted = fresh(NIF_OPS, sizeof(*ctx->sorted));
	ctx->keys = fresh(NIF_OPS, sizeof(*ctx->keys));
	ctx->scratch = aligned_alloc(PVB_PAGE_SIZE, PVB_PAGE_SIZE);
	if (!ctx->sorted || !ctx->keys || !ctx->scratch)
		return -ENOMEM;
	ctx->arena_bytes = memory + NIF_PORT_AREA;
	if (pvb_hv_arena(ctx->hv, ctx->arena_bytes, &area) < 0) {
		area = aligned_alloc(PVB_PAGE_SIZE, ctx->arena_bytes);
		ctx->arena_ours = true;
	}
	ctx->arena = area;
	ctx->arena_size = memory;
	return area ? 0 : -ENOMEM;
}

void copy_free(struct nif_ctx *ctx)
{
	if (ctx->arena_ours)
		free(ctx->arena);
	batch_free(&ctx->in);
	batch_free(&ctx->out);
	drop(ctx->sorted, NIF_OPS, sizeof(*ctx->sorted));
	drop(ctx->keys, NIF_OPS, sizeof(*ctx->keys));
	free(ctx->scratch);
}

/* len bytes that begin `skew` bytes into a page (the smaller ones: somewhere, but in one page). */
uint8_t *copy_buffer(struct nif_ctx *ctx, size_t len, size_t skew)
{
	size_t at = (ctx->arena_used + 63) & ~(size_t)63, page = at & ~(size_t)(PVB_PAGE_SIZE - 1);

	if (len <= PVB_PAGE_SIZE / 2) {
		if (at + len > page + PVB_PAGE_SIZE)
			at = page + PVB_PAGE_SIZE;
	} else {
		at = page + skew >= at ? page + skew : page + PVB_PAGE_SIZE + skew;
	}
	if (at + len > ctx->arena_size)
		return NULL;
	ctx->arena_used = at + len;
	return ctx->arena + at;
}

/* ---- order: the hypervisor keeps the last pair of domains at hand ------------------------------------------- */

static uint32_t domain_of(const struct pvb_copy_end *e)
{
	return e->local ? 0xffff : e->domid;
}

static uint32_t pair_of(const struct pvb_copy *c)
{
	return domain_of(&c->src) << 16 | domain_of(&c->dst);
}

static bool after(const struct nif_key *a, const struct nif_key *b)
{
	return a->pair > b->pair || (a->pair == b->pair && a->at > b->at);
}

/* Shell's sort: in place, no memory, fast on what is nearly in order. */
static void sort(struct nif_key *k, unsigned nr)
{
	static const unsigned gaps[] = { 1750, 701, 301, 132, 57, 23, 10, 4, 1 };

	for (unsigned g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		unsigned gap = gaps[g];

		for (unsigned i = gap; i < nr; i++) {
			struct nif_key keep = k[i];
			unsigned at = i;

			for (; at >= gap && after(&k[at - gap], &keep); at -= gap)
				k[at] = k[at - gap];
			k[at] = keep;
		}
	}
}

/* Does the order as it is change from pair to pair so rarely that sorting would cost more?  Large frames from guest to guest
 * do: a copy of the headers, and one for each page. */
static bool good_order(const struct nif_batch *b)
{
	uint32_t pair = pair_of(&b->copy[0]);
	unsigned changes = 0;

	for (unsigned i = 1; i < b->nr; i++) {
		changes += pair_of(&b->copy[i]) != pair;
		pair = pair_of(&b->copy[i]);
	}
	return changes <= b->nr / 4;
}

/* One call for all of a batch; statuses stand where the ops were made. */
static void run(struct nif_ctx *ctx, struct nif_batch *b)
{
	ctx->copy_calls++;
	if (!ctx->many || good_order(b)) {
		(void)pvb_hv_copy(ctx->hv, b->copy, b->nr); /* each op has a status, also when the call failed */
		return;
	}
	for (unsigned i = 0; i < b->nr; i++)
		ctx->keys[i] = (struct nif_key){ pair_of(&b->copy[i]), i };
	sort(ctx->keys, b->nr);
	for (unsigned i = 0; i < b->nr; i++)
		ctx->sorted[i] = b->copy[ctx->keys[i].at];
	(void)pvb_hv_copy(ctx->hv, ctx->sorted, b->nr);
	for (unsigned i = 0; i < b->nr; i++)
		b->copy[ctx->keys[i].at].status = ctx->sorted[i].status;
}

/* ---- both ways ----------------------------------------------------------------------------------------------- */

void copy_fetch(struct nif_ctx *ctx)
{
	struct nif_batch *b = &ctx->in;

	if (b->nr == 0)
		return;
	run(ctx, b);
	PVB_CRASH_POINT(nif_fetched);
	for (unsigned i = 0; i < b->nr; i++) {
		const struct pvb_copy *c = &b->copy[i];
		const struct nif_op *op = &b->op[i];

		if (c->status == 0 || op->pkt->bad)
			continue;
		op->pkt->bad = true;
		nif_refused(op->q->nif, "queue %u: grant %u: copy failed with status %d", op->q->id, c->src.ref,
			    c->status);
	}
	b->nr = 0;
}

static void tell_receiver(const struct nif_ctx *ctx, unsigned i)
{
	struct nif_queue *q = ctx->out.op[i].q;

	nif_refused(q->nif, "queue %u: RX buffer's grant %u: copy failed with status %d", q->id, ctx->out.copy[i].dst.ref,
		    ctx->out.copy[i].status);
}

/* A copy between two guests failed: one of the two ends is bad, and the status does not say which.  Try the sender's
 * alone, into a page nobody looks at. */
static void find_senders(struct nif_ctx *ctx)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < ctx->out.nr; i++) {
		const struct pvb_copy *c = &ctx->out.copy[i];

		if (c->status == 0 || c->src.local)
			continue;
		ctx->keys[nr].at = i;
		ctx->sorted[nr] = *c;
		ctx->sorted[nr++].dst = (struct pvb_copy_end){ .local = ctx->scratch };
	}
	if (nr == 0)
		return;
	(void)pvb_hv_copy(ctx->hv, ctx->sorted, nr);
	ctx->copy_calls++;
	for (unsigned i = 0; i < nr; i++)
		if (ctx->sorted[i].status != 0)
			tx_mark_bad(ctx, ctx->sorted[i].src.domid, ctx->sorted[i].src.ref);
		else
			tell_receiver(ctx, ctx->keys[i].at);
}

void copy_deliver(struct nif_ctx *ctx)
{
	struct nif_batch *b = &ctx->out;
	bool foreign = false;

	if (b->nr == 0)
		return;
	run(ctx, b);
	PVB_CRASH_POINT(nif_delivered);
	for (unsigned i = 0; i < b->nr; i++) {
		if (b->copy[i].status == 0)
			continue;
		rx_failed(b->op[i].q, b->op[i].first);
		if (b->copy[i].src.local)
			tell_receiver(ctx, i);
		else
			foreign = true;
	}
	if (foreign)
		find_senders(ctx);
	b->nr = 0;
}
