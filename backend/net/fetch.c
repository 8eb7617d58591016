/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include "backend/net/nif-fetch.h"
#include "backend/net/nif-impl.h"

/* Ops are made in the arrays that hold those of a batch while it is carried out: nothing is under way here. */
struct gather {
	struct nif_ctx *ctx;
	struct frame **frames;
	unsigned nr;
};

static void carry_out(struct gather *g)
{
	struct nif_ctx *ctx = g->ctx;

	if (!g->nr)
		return;
	(void)pvb_hv_copy(ctx->hv, ctx->sorted, g->nr); /* each op has a status, also when the call failed */
	ctx->copy_calls++;
	for (unsigned i = 0; i < g->nr; i++)
		if (ctx->sorted[i].status)
			g->frames[ctx->keys[i].at]->verdict = FRAME_BAD;
	g->nr = 0;
}

/* n bytes of a granted piece, cut where the memory here crosses a page. */
static void add_ops(struct gather *g, unsigned frame, const struct frame_seg *s, uint32_t skip, uint8_t *to)
{
	while (skip < s->len) {
		uint32_t n = s->len - skip, room = PVB_PAGE_SIZE - (uint32_t)((uintptr_t)to & (PVB_PAGE_SIZE - 1));
		struct pvb_copy *c = &g->ctx->sorted[g->nr];

		n = n < room ? n : room;
		*c = (struct pvb_copy){ .len = (uint16_t)n, .status = 1 };
		c->src.ref = s->ref;
		c->src.domid = s->domid;
		c->src.offset = (uint16_t)(s->offset + skip);
		c->dst = (struct pvb_copy_end){ .local = to };
		g->ctx->keys[g->nr++].at = frame;
		skip += n;
		to += n;
	}
}

static void fetch_one(struct gather *g, unsigned frame)
{
	struct frame *f = g->frames[frame];
	uint32_t skip = f->hdr_len, at = 0;
	uint8_t *to = f->hdr;

	if (f->len > f->hdr_len) { /* else all of it is here */
		to = copy_buffer(g->ctx, f->len, (PVB_PAGE_SIZE - f->seg[0].len) & (PVB_PAGE_SIZE - 1));
		if (!to) {
			f->verdict = FRAME_HELD;
			nif_ctx_retry(g->ctx);
			return;
		}
		memcpy(to, f->hdr, f->hdr_len);
	}
	for (unsigned i = 0; i < f->nr_segs; i++) {
		const struct frame_seg *s = &f->seg[i];
		const uint8_t *here = s->local ? s->local : s->staged;
		uint32_t cut = skip < s->len ? skip : s->len;

		if (here && cut < s->len)
			memcpy(to + at + cut, here + cut, s->len - cut);
		else if (!here)
			add_ops(g, frame, s, cut, to + at + cut);
		skip -= cut;
		at += s->len;
	}
	f->hdr = to;
	f->nr_segs = 1;
	f->seg[0] = (struct frame_seg){ .local = to, .len = f->len };
}

void nif_fetch(struct nif_ctx *ctx, struct frame **frames, unsigned nr)
{
	struct gather g = { .ctx = ctx, .frames = frames };

	for (unsigned i = 0; i < nr; i++) {
		const struct frame *f = frames[i];

		if (f->nr_segs == 1 && f->seg[0].local)
			continue;
		if (g.nr + NIF_FRAME_OPS > NIF_OPS)
			carry_out(&g);
		fetch_one(&g, i);
	}
	carry_out(&g);
}
