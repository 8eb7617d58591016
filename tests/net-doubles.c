/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/net-doubles.h"

uint8_t granted_page[NR_PAGES][4096];
const struct port_offers all_offers = {
	.queues = 2, .csum4 = true, .csum6 = true, .gso4 = true, .gso6 = true, .sg = true, .mtu = 1500,
};

/* --- the doubles -------------------------------------------------------------------------------------- */

struct pvb_loop *nif_ctx_loop(struct nif_ctx *ctx)
{
	return ctx->loop;
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

struct mac mac_of(uint8_t id)
{
	struct mac m = { { 2, 0, 0, 0, 0, id } };

	if (id == 255)
		memset(&m, 0xff, sizeof(m));
	return m;
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

/* --- frames ------------------------------------------------------------------------------------------- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The plain way, byte by byte: another one than that under test. */
static uint32_t sum_slow(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_slow(const uint8_t *ip, bool v6, unsigned proto, uint32_t l4_len)
{
	uint32_t sum = sum_slow(ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);

	sum += proto + l4_len;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint8_t *put_ip(uint8_t *p, const struct build *b, uint32_t l4_len)
{
	uint8_t proto = b->udp ? IPPROTO_UDP : IPPROTO_TCP;

	if (b->v6) {
		p[0] = 0x60;
		put16(p + 4, b->extensions + l4_len);
		p[6] = b->extensions ? IPPROTO_DSTOPTS : proto;
		p[7] = 64;
		p[8] = p[24] = 0xfd;
		p[23] = b->src;
		p[39] = b->dst;
		p += 40;
		if (b->extensions) {
			p[0] = proto;
			p[1] = (uint8_t)(b->extensions / 8 - 1);
			p[2] = 1;
			p[3] = (uint8_t)(b->extensions - 4); /* PadN */
			p += b->extensions;
		}
		return p;
	}
	p[0] = 0x45;
	put16(p + 2, 20 + l4_len);
	put16(p + 4, 0xfffe);
	p[6] = 0x40;
	p[8] = 64;
	p[9] = proto;
	p[12] = p[16] = 10;
	p[15] = b->src;
	p[19] = b->dst;
	put16(p + 10, ~sum_slow(p, 20, 0) & 0xffff);
	return p + 20;
}

void build(struct frame *f, uint8_t *buf, const struct build *b)
{
	unsigned l4_hdr = b->udp ? 8 : 20 + b->options, at = b->tagged ? 18 : 14;
	uint32_t l4_len = l4_hdr + b->payload, len, sum;
	struct mac dst = mac_of(b->dst), src = mac_of(b->src);
	uint8_t *l4, *field;
	const char *why;

	len = at + (b->v6 ? 40 + b->extensions : 20) + l4_len;
	memset(buf, 0, len < 60 ? 60 : len);
	memcpy(buf, dst.a, 6);
	memcpy(buf + 6, src.a, 6);
	if (b->tagged) {
		put16(buf + 12, 0x8100);
		put16(buf + 14, b->vlan);
	}
	put16(buf + at - 2, b->v6 ? 0x86dd : 0x0800);
	l4 = put_ip(buf + at, b, l4_len);
	put16(l4, 1000);
	put16(l4 + 2, 2000);
	if (b->udp) {
		put16(l4 + 4, l4_len);
	} else {
		put16(l4 + 6, 0xfff0);
		l4[4] = l4[5] = 0xff;
		l4[12] = (uint8_t)(l4_hdr / 4 << 4);
		l4[13] = b->tcp_flags ? b->tcp_flags : 0x10;
		memset(l4 + 20, 1, b->options);
	}
	for (uint32_t i = 0; i < b->payload; i++)
		l4[l4_hdr + i] = (uint8_t)(i * 7 + (i >> 8));
	field = l4 + (b->udp ? 6 : 16);
	sum = pseudo_slow(buf + at, b->v6, b->udp ? IPPROTO_UDP : IPPROTO_TCP, l4_len);
	put16(field, b->blank || b->gso_size ? sum : ~sum_slow(l4, l4_len, sum) & 0xffff);
	if (b->padded && len < 60) {
		memset(buf + len, 0xa5, 60 - len);
		len = 60;
	}
	memset(f, 0, sizeof(*f));
	frame_local(f, buf, len);
	f->csum_blank = b->blank;
	f->gso = !b->gso_size ? FRAME_GSO_NONE : b->v6 ? FRAME_GSO_TCP6 : FRAME_GSO_TCP4;
	f->gso_size = b->gso_size;
	if (packet_parse(f, &why))
		fail_msg("%s", why);
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

bool checksums_are_good(const uint8_t *p, uint32_t len)
{
	unsigned at = 14, type = (unsigned)p[12] << 8 | p[13], proto;
	uint32_t l4, l4_len;

	if (type == 0x8100) {
		at = 18;
		type = (unsigned)p[16] << 8 | p[17];
	}
	if (type == 0x0800) {
		l4 = at + (p[at] & 15) * 4u;
		l4_len = ((uint32_t)p[at + 2] << 8 | p[at + 3]) - (l4 - at);
		proto = p[at + 9];
		if (sum_slow(p + at, l4 - at, 0) != 0xffff)
			return false;
	} else {
		proto = p[at + 6];
		l4 = at + 40;
		l4_len = (uint32_t)p[at + 4] << 8 | p[at + 5];
		if (proto == IPPROTO_DSTOPTS) {
			proto = p[l4];
			l4_len -= (p[l4 + 1] + 1u) * 8;
			l4 += (p[l4 + 1] + 1u) * 8;
		}
	}
	if (l4 + l4_len > len)
		return false;
	return sum_slow(p + l4, l4_len, pseudo_slow(p + at, type != 0x0800, proto, l4_len)) == 0xffff;
}
