/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/net-doubles.h"

uint8_t granted_page[NR_PAGES][4096];
const struct port_offers all_offers = {
	.queues = 2, .csum4 = true, .csum6 = true, .gso4 = true, .gso6 = true, .sg = true,
};

/* --- the doubles -------------------------------------------------------------------------------------- */

struct pvb_loop *nif_ctx_loop(struct nif_ctx *ctx)
{
	return ctx->loop;
}

uint8_t *nif_ctx_area(struct nif_ctx *ctx, size_t *bytes)
{
	static uint8_t area[512 * 1024] __attribute__((aligned(4096)));

	*bytes = sizeof(area);
	return area;
}

void nif_ctx_retry(struct nif_ctx *ctx)
{
	ctx->retries++;
}

enum frame_verdict nif_deliver(struct nif *nif, unsigned queue, struct frame *f)
{
	struct got *g = &nif->got[nif->nr];

	if (!nif->room) {
		nif->said_held = true;
		return FRAME_HELD;
	}
	nif->room--;
	assert_true(nif->nr < NIC_MAX_FRAMES);
	assert_true(f->nr_segs <= FRAME_MAX_SEGS);
	*g = (struct got){ .len = f->len, .queue = queue, .csum_blank = f->csum_blank, .csum_valid = f->csum_valid,
			   .gso = f->gso, .gso_size = f->gso_size, .f = *f };
	nif->nr++;
	return FRAME_SENT;
}

static void read_bytes(struct got *g)
{
	const struct frame *f = &g->f;
	uint32_t at = 0, skip = f->hdr_len;

	g->bytes = malloc(f->len);
	assert_non_null(g->bytes);
	memcpy(g->bytes, f->hdr, f->hdr_len);
	for (unsigned i = 0; i < f->nr_segs; i++) {
		const struct frame_seg *s = &f->seg[i];
		const uint8_t *from = s->local ? s->local : granted_page[s->ref] + s->offset;
		uint32_t cut = s->len < skip ? s->len : skip;

		assert_true(at + s->len <= f->len);
		memcpy(g->bytes + at + cut, from + cut, s->len - cut);
		g->granted += s->local ? 0 : s->len - cut;
		at += s->len;
		skip -= cut;
	}
	assert_int_equal(at, f->len);
}

void nif_ctx_flush(struct nif_ctx *ctx)
{
	ctx->flushes++;
	for (struct nif *n = ctx->nifs; n; n = n->next)
		for (; n->flushed < n->nr; n->flushed++)
			read_bytes(&n->got[n->flushed]);
	while (ctx->nr_fetched)
		free(ctx->fetched[--ctx->nr_fetched]);
}

void nif_fetch(struct nif_ctx *ctx, struct frame **frames, unsigned nr)
{
	ctx->fetches++;
	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frames[i];
		struct got g = { .f = *f };

		assert_false(f->nr_segs == 1 && f->seg[0].local);
		if (ctx->fetch_says != FRAME_PENDING) {
			f->verdict = ctx->fetch_says;
			continue;
		}
		read_bytes(&g);
		assert_true(ctx->nr_fetched < NIC_MAX_FRAMES);
		ctx->fetched[ctx->nr_fetched++] = g.bytes;
		f->hdr = g.bytes;
		f->nr_segs = 1;
		f->seg[0] = (struct frame_seg){ .local = g.bytes, .len = f->len };
	}
}

/* --- NICs --------------------------------------------------------------------------------------------- */

struct nif_ctx *ctx_new(void)
{
	struct nif_ctx *ctx = calloc(1, sizeof(*ctx));

	assert_non_null(ctx);
	assert_int_equal(pvb_loop_new(&ctx->loop), 0);
	return ctx;
}

void ctx_free(struct nif_ctx *ctx)
{
	while (ctx->nifs)
		nic_free(ctx->nifs);
	pvb_loop_free(ctx->loop);
	free(ctx);
}

int chain_open(struct nif_ctx *ctx, uint8_t id, const char *text, struct port **out, struct pvb_error *err)
{
	struct port_nic nic = { .domid = id, .ifname = "pvbtest0", .mtu = 1500, .queues = 2 };
	struct mac mac = mac_of(id);
	int fds[PORT_MAX_FDS], rc;
	struct target *t;
	unsigned nr;

	memcpy(nic.mac, mac.a, 6);
	rc = port_parse(text, &t, err);
	if (rc)
		return rc;
	rc = port_prepare(t, &nic, fds, &nr, err);
	if (!rc)
		rc = port_open(t, &nic, fds, nr, ctx, out, err);
	target_free(t);
	return rc;
}

struct nif *nic_new(struct nif_ctx *ctx, uint8_t id, const char *text, const struct port_offers *offers)
{
	struct nif *n = calloc(1, sizeof(*n));
	struct pvb_error err = { .text = "" };

	assert_non_null(n);
	n->ctx = ctx;
	n->room = UINT32_MAX;
	n->next = ctx->nifs;
	ctx->nifs = n;
	if (chain_open(ctx, id, text, &n->port, &err))
		fail_msg("%s: %s", text, err.text);
	for (struct port *p = n->port; p; p = p->below)
		p->nif = n;
	port_connected(n->port, offers ? offers : &all_offers);
	return n;
}

void nic_forget(struct nif *nic)
{
	for (unsigned i = 0; i < nic->nr; i++)
		free(nic->got[i].bytes);
	nic->nr = nic->flushed = 0;
}

void nic_free(struct nif *nic)
{
	struct nif **at = &nic->ctx->nifs;

	while (*at != nic)
		at = &(*at)->next;
	*at = nic->next;
	port_connected(nic->port, NULL);
	port_close(nic->port);
	nic_forget(nic);
	free(nic);
}

void nic_make_room(struct nif *nic, unsigned frames)
{
	nic->room = frames;
	if (nic->said_held) {
		nic->said_held = false;
		port_room(nic->port, 0);
	}
}

enum frame_verdict nic_send(struct nif *nic, struct frame *f)
{
	f->verdict = FRAME_PENDING;
	port_xmit(nic->port, &f, 1);
	port_flush(nic->port);
	nif_ctx_flush(nic->ctx);
	assert_true(f->verdict != FRAME_PENDING);
	return f->verdict;
}

void grant(struct frame *f, uint8_t *hdr, unsigned page)
{
	const uint8_t *from = f->hdr;
	uint32_t at = 0;

	memcpy(hdr, from, f->hdr_len);
	f->hdr = hdr;
	for (f->nr_segs = 0; at < f->len; f->nr_segs++) {
		uint32_t len = f->len - at < 4096 ? f->len - at : 4096;

		assert_true(page < NR_PAGES);
		memcpy(granted_page[page], from + at, len);
		f->seg[f->nr_segs] = (struct frame_seg){ .ref = page++, .domid = 1, .len = len };
		at += len;
	}
	memset(granted_page[f->seg[0].ref], 0x66, f->hdr_len); /* the guest's second thoughts */
}
