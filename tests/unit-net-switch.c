/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch: who gets what, and from where its bytes come. */
#include "tests/net-doubles.h"
#include "backend/net/switch-table.h"
#include "backend/net/switch.h"
#include <errno.h>
#include <unistd.h>

static uint8_t buf[70000];

/* As a guest does: from granted pages. */
static enum frame_verdict say(struct nif *from, struct build b)
{
	uint8_t hdr[FRAME_HDR];
	struct frame f;

	build(&f, buf, &b);
	grant(&f, hdr, 0);
	return nic_send(from, &f);
}

#define SAY(nif, ...) say(nif, (struct build){ __VA_ARGS__ })

/* --- the table ---------------------------------------------------------------------------------------- */

static void table_learns_moves_and_ages(void **state)
{
	struct mac_table t = { .seed = 5 };
	struct mac_owner a, b;
	struct mac m = mac_of(1);

	assert_int_equal(mac_owner_init(&a, 4), 0);
	assert_int_equal(mac_owner_init(&b, 4), 0);
	assert_null(mac_find(&t, m.a, 1, 0));
	assert_int_equal(mac_learn(&t, &a, m.a, 1, 1000), MAC_NEW);
	assert_int_equal(mac_learn(&t, &a, m.a, 1, 2000), MAC_KNOWN);
	assert_ptr_equal(mac_find(&t, m.a, 1, 2000 + MAC_AGE_MS), &a);
	assert_null(mac_find(&t, m.a, 1, 2001 + MAC_AGE_MS));
	assert_null(mac_find(&t, m.a, 2, 2000)); /* of another VLAN */
	assert_int_equal(mac_learn(&t, &b, m.a, 1, 3000), MAC_MOVED);
	assert_ptr_equal(mac_find(&t, m.a, 1, 3000), &b);
	assert_int_equal(mac_owner_count(&a), 0);
	mac_pin(&t, &a, m.a, 1);
	assert_int_equal(mac_learn(&t, &b, m.a, 1, 3000), MAC_REFUSED);
	assert_ptr_equal(mac_find(&t, m.a, 1, UINT64_MAX), &a);
	mac_owner_free(&t, &a);
	assert_null(mac_find(&t, m.a, 1, 3000));
	mac_owner_free(&t, &b);
}

/* One port's thousands of addresses push out only its own, and never its pin. */
static void table_is_capped_by_port(void **state)
{
	struct mac_table t = { .seed = 77 };
	struct mac_owner good, bad;
	struct mac mine = mac_of(1), theirs = mac_of(2);
	uint64_t seed = 4;

	assert_int_equal(mac_owner_init(&good, 64), 0);
	assert_int_equal(mac_owner_init(&bad, 64), 0);
	mac_pin(&t, &bad, theirs.a, 1);
	for (uint8_t i = 10; i < 70; i++)
		mac_learn(&t, &good, mac_of(i).a, 1, 5);
	mac_learn(&t, &good, mine.a, 1, 5);
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t mac[6] = { 2, 1, (uint8_t)rnd(&seed), (uint8_t)rnd(&seed), (uint8_t)rnd(&seed), 0 };

		mac_learn(&t, &bad, mac, (uint16_t)(i % 4095), 10);
	}
	assert_int_equal(mac_owner_count(&bad), 64);
	assert_int_equal(mac_owner_count(&good), 61);
	for (uint8_t i = 10; i < 70; i++)
		assert_ptr_equal(mac_find(&t, mac_of(i).a, 1, 10), &good);
	assert_ptr_equal(mac_find(&t, theirs.a, 1, 10), &bad);
	mac_owner_free(&t, &bad);
	mac_owner_free(&t, &good);
	for (unsigned i = 0; i < MAC_TABLE_BUCKETS; i++)
		assert_null(t.bucket[i]);
}

/* Against a plain list. */
static void table_model(void **state)
{
	struct mac_table t = { .seed = 1 };
	struct mac_owner o[3];
	int model[64];
	uint64_t seed = 8;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(mac_owner_init(&o[i], 64), 0);
	memset(model, -1, sizeof(model));
	for (unsigned i = 0; i < 20000; i++) {
		unsigned who = rnd(&seed) % 3, k = rnd(&seed) % 64;

		if (rnd(&seed) % 500 == 0) {
			mac_owner_clear(&t, &o[who]);
			for (unsigned j = 0; j < 64; j++)
				model[j] = model[j] == (int)who ? -1 : model[j];
		}
		mac_learn(&t, &o[who], mac_of((uint8_t)k).a, (uint16_t)(k % 5), i);
		model[k] = (int)who;
		k = rnd(&seed) % 64;
		assert_ptr_equal(mac_find(&t, mac_of((uint8_t)k).a, (uint16_t)(k % 5), i),
				 model[k] < 0 ? NULL : &o[model[k]]);
	}
	for (unsigned i = 0; i < 3; i++)
		mac_owner_free(&t, &o[i]);
}

/* --- unicast and floods ------------------------------------------------------------------------------- */

static void known_from_the_start(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	struct nif *c = nic_new(ctx, 3, "switch:lan", NULL), *other = nic_new(ctx, 4, "switch:other", NULL);

	assert_int_equal(SAY(a, .src = 1, .dst = 2, .payload = 100, .blank = true), FRAME_SENT);
	assert_int_equal(b->nr, 1);
	assert_int_equal(a->nr + c->nr + other->nr, 0);
	assert_true(b->got[0].csum_blank); /* goes through as it is */
	assert_memory_equal(b->got[0].bytes, buf, b->got[0].len);
	assert_int_equal(SAY(a, .src = 1, .dst = 255), FRAME_SENT);
	assert_int_equal(b->nr, 2);
	assert_int_equal(c->nr, 1);
	assert_int_equal(other->nr + a->nr, 0);
	assert_int_equal(a->port->stats.flooded, 1);
	ctx_free(ctx);
}

static void learns(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	struct nif *c = nic_new(ctx, 3, "switch:lan", NULL);

	assert_int_equal(SAY(a, .src = 1, .dst = 50), FRAME_SENT); /* unknown: to all */
	assert_int_equal(b->nr + c->nr, 2);
	SAY(b, .src = 50, .dst = 1); /* a bridge in guest 2 has it */
	assert_int_equal(SAY(a, .src = 1, .dst = 50), FRAME_SENT);
	assert_int_equal(b->nr, 2);
	assert_int_equal(c->nr, 1);
	assert_int_equal(SAY(b, .src = 2, .dst = 50), FRAME_DROPPED); /* it is on the port it came from */
	port_connected(b->port, NULL); /* forgotten with the port */
	SAY(a, .src = 1, .dst = 50);
	assert_int_equal(c->nr, 2);
	ctx_free(ctx);
}

static void another_ones_mac(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	struct nif *thief = nic_new(ctx, 3, "switch:lan", NULL), *moved;

	assert_int_equal(SAY(thief, .src = 2, .dst = 1), FRAME_DROPPED);
	assert_int_equal(thief->port->stats.tx_dropped_filter, 1);
	SAY(a, .src = 1, .dst = 2);
	assert_int_equal(b->nr, 1);
	assert_int_equal(thief->nr, 0);
	/* the guest arrives as another domain on the same host: the one that connected last has it */
	moved = nic_new(ctx, 2, "switch:lan", NULL);
	SAY(a, .src = 1, .dst = 2);
	assert_int_equal(b->nr, 1);
	assert_int_equal(moved->nr, 1);
	nic_free(moved); /* and back when that goes */
	SAY(a, .src = 1, .dst = 2);
	assert_int_equal(b->nr, 2);
	ctx_free(ctx);
}

static void not_for_bridges(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	struct frame f;

	build(&f, buf, &(struct build){ .src = 1, .dst = 255 });
	memcpy(buf, "\x01\x80\xc2\0\0\0", 6); /* spanning tree */
	assert_int_equal(nic_send(a, &f), FRAME_DROPPED);
	memcpy(buf, "\x01\x80\xc2\0\0\x10", 6);
	assert_int_equal(nic_send(a, &f), FRAME_SENT);
	memcpy(buf + 6, "\x01\0\0\0\0\1", 6); /* nobody's source */
	assert_int_equal(nic_send(a, &f), FRAME_DROPPED);
	assert_int_equal(b->nr, 1);
	ctx_free(ctx);
}

/* The header from the private copy, the rest from the sender's pages, where it has changed since. */
static void bytes_go_straight(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	uint8_t hdr[FRAME_HDR];
	struct frame f;

	assert_false(a->port->whole);
	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 6000, .gso_size = 1448 });
	grant(&f, hdr, 3);
	assert_int_equal(nic_send(a, &f), FRAME_SENT);
	assert_int_equal(b->nr, 1);
	assert_int_equal(b->got[0].granted, f.len - FRAME_HDR);
	assert_int_equal(b->got[0].gso_size, 1448);
	assert_memory_equal(b->got[0].bytes, buf, f.len);
	assert_int_equal(ctx->fetches, 0);
	ctx_free(ctx);
}

static void held_until_there_is_room(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL);
	struct nif *c = nic_new(ctx, 3, "switch:lan", NULL);
	static uint8_t bytes[4][200];
	struct frame f[4], *all[4] = { &f[0], &f[1], &f[2], &f[3] };
	unsigned retries;

	for (unsigned i = 0; i < 4; i++)
		build(&f[i], bytes[i], &(struct build){ .src = 1, .dst = i == 2 ? 3 : 2, .payload = i });
	b->room = 1;
	port_xmit(a->port, all, 4);
	port_flush(a->port);
	nif_ctx_flush(ctx);
	assert_int_equal(f[0].verdict, FRAME_SENT);
	for (unsigned i = 1; i < 4; i++) /* the one for another, too: order is kept */
		assert_int_equal(f[i].verdict, FRAME_HELD);
	assert_int_equal(c->nr, 0);
	assert_int_equal(SAY(a, .src = 1, .dst = 255), FRAME_SENT); /* nobody waits with what is for all */
	assert_int_equal(b->port->stats.rx_dropped_full, 1);
	retries = ctx->retries;
	nic_make_room(b, 10);
	assert_int_equal(ctx->retries, retries + 1);
	port_xmit(a->port, all + 1, 3);
	nif_ctx_flush(ctx);
	assert_int_equal(b->nr, 3);
	assert_int_equal(c->nr, 2);
	b->room = 0;
	assert_int_equal(nic_send(a, &f[0]), FRAME_HELD);
	retries = ctx->retries;
	port_connected(b->port, NULL); /* whoever waits for one that goes, waits no longer */
	assert_true(ctx->retries > retries);
	assert_int_equal(nic_send(a, &f[0]), FRAME_SENT); /* unknown now: to all */
	ctx_free(ctx);
}

static void storms_end(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan?storm=100", NULL), *b = nic_new(ctx, 2, "switch:lan?storm=0", NULL);
	unsigned sent = 0;

	for (unsigned i = 0; i < 200; i++)
		sent += SAY(a, .src = 1, .dst = 255) == FRAME_SENT;
	assert_in_range(sent, 10, 150); /* a tenth of a second's worth, and what time gave meanwhile */
	assert_int_equal(a->port->stats.tx_dropped_filter, 200 - sent);
	assert_int_equal(SAY(a, .src = 1, .dst = 2), FRAME_SENT); /* others than floods go on */
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(SAY(b, .src = 2, .dst = 255), FRAME_SENT);
	ctx_free(ctx);
}

/* --- VLANs -------------------------------------------------------------------------------------------- */

static bool is_tagged(const struct got *g, unsigned vlan)
{
	return g->bytes[12] == 0x81 && g->bytes[13] == 0 && ((g->bytes[14] & 15u) << 8 | g->bytes[15]) == vlan;
}

static void vlans_apart(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan?vlan=5", NULL), *b = nic_new(ctx, 2, "switch:lan?vlan=5", NULL);
	struct nif *c = nic_new(ctx, 3, "switch:lan?vlan=6", NULL), *d = nic_new(ctx, 4, "switch:lan", NULL);
	struct nif *native = nic_new(ctx, 5, "switch:lan?vlan=5,trunk", NULL);
	struct nif *some = nic_new(ctx, 6, "switch:lan?trunk=1,5,7", NULL);

	SAY(a, .src = 1, .dst = 255, .payload = 50);
	assert_int_equal(b->nr, 1);
	assert_int_equal(c->nr + d->nr, 0);
	assert_int_equal(native->nr, 1);
	assert_memory_equal(native->got[0].bytes, buf, native->got[0].len); /* its own VLAN: untagged */
	assert_int_equal(some->nr, 1);
	assert_true(is_tagged(&some->got[0], 5));
	assert_int_equal(some->got[0].len, b->got[0].len + 4);
	assert_memory_equal(some->got[0].bytes, buf, 12);
	assert_memory_equal(some->got[0].bytes + 16, buf + 12, some->got[0].len - 16);
	assert_int_equal(SAY(c, .src = 3, .dst = 1), FRAME_SENT); /* unknown in VLAN 6 */
	assert_int_equal(a->nr, 0);
	assert_int_equal(native->nr, 2);
	assert_true(is_tagged(&native->got[1], 6));
	assert_int_equal(some->nr, 1);
	/* an access port sends no tags, not even its own; tag 0 is none */
	assert_int_equal(SAY(a, .src = 1, .dst = 2, .tagged = true, .vlan = 5), FRAME_DROPPED);
	assert_int_equal(SAY(a, .src = 1, .dst = 3, .tagged = true, .vlan = 6), FRAME_DROPPED);
	assert_int_equal(SAY(a, .src = 1, .dst = 2, .tagged = true, .vlan = 0xa000), FRAME_SENT);
	assert_int_equal(b->nr, 2);
	assert_true(is_tagged(&b->got[1], 0));
	/* a trunk without a VLAN of its own sends nothing untagged */
	assert_int_equal(SAY(some, .src = 6, .dst = 1), FRAME_DROPPED);
	assert_int_equal(SAY(some, .src = 6, .dst = 1, .tagged = true, .vlan = 6), FRAME_DROPPED);
	assert_int_equal(SAY(some, .src = 6, .dst = 1, .tagged = true, .vlan = 0x6005, .payload = 30), FRAME_SENT);
	assert_int_equal(a->nr, 1);
	assert_false(is_tagged(&a->got[0], 5));
	assert_memory_equal(a->got[0].bytes + 12, buf + 16, a->got[0].len - 12);
	ctx_free(ctx);
}

/* Tags and pieces: header in the copy, the rest granted, in one, two and eighteen pieces. */
static void tags_in_granted_frames(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan?vlan=5", NULL), *t = nic_new(ctx, 2, "switch:lan?trunk=5", NULL);

	SAY(t, .src = 2, .dst = 255, .tagged = true, .vlan = 5);
	nic_forget(a);
	for (unsigned pieces = 1; pieces <= 18; pieces++)
		for (unsigned first = 14; first < 300; first += 13) {
			struct frame f;
			uint32_t at = 0;
			uint8_t hdr[FRAME_HDR];

			build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 1400, .blank = true });
			memcpy(hdr, buf, FRAME_HDR);
			f.hdr = hdr;
			f.nr_segs = (uint16_t)pieces;
			for (unsigned i = 0; i < pieces; i++) {
				uint32_t len = i == pieces - 1 ? f.len - at : i ? 20 : first;

				f.seg[i] = (struct frame_seg){ .ref = i, .domid = 1, .offset = (uint16_t)(i * 8),
							       .len = len };
				memcpy(granted_page[i] + i * 8, buf + at, len);
				at += len;
			}
			assert_int_equal(nic_send(a, &f), FRAME_SENT);
			assert_int_equal(t->nr, 1);
			assert_int_equal(t->got[0].len, f.len + 4);
			assert_true(is_tagged(&t->got[0], 5));
			assert_memory_equal(t->got[0].bytes + 16, buf + 12, f.len - 12);
			assert_int_equal(t->got[0].f.l4_csum, f.l4_csum + 4);
			nic_forget(t);
		}
	ctx_free(ctx);
}

/* --- mirrors, and guests that lack offloads ----------------------------------------------------------- */

static void mirror_sees_all_once(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan?vlan=5", NULL), *b = nic_new(ctx, 2, "switch:lan?vlan=5", NULL);
	struct nif *m = nic_new(ctx, 3, "switch:lan?mirror=on", NULL), *d = nic_new(ctx, 4, "switch:lan", NULL);

	SAY(a, .src = 1, .dst = 2);
	assert_int_equal(b->nr, 1);
	assert_int_equal(m->nr, 1);
	assert_true(is_tagged(&m->got[0], 5)); /* of another VLAN */
	SAY(a, .src = 1, .dst = 255);
	SAY(d, .src = 4, .dst = 255);
	SAY(d, .src = 4, .dst = 3);
	assert_int_equal(m->nr, 4);
	b->room = 0;
	assert_int_equal(SAY(a, .src = 1, .dst = 2), FRAME_HELD);
	assert_int_equal(m->nr, 4); /* not before it has gone */
	b->room = 1;
	m->room = 0;
	assert_int_equal(SAY(a, .src = 1, .dst = 2), FRAME_SENT); /* nobody waits for a mirror */
	assert_int_equal(m->port->stats.rx_dropped_full, 1);
	ctx_free(ctx);
}

static void one_without_offloads(void **state)
{
	static const struct port_offers none = { .queues = 1 };
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *b = nic_new(ctx, 2, "switch:lan", NULL), *poor;
	unsigned nr = 0, fetches;

	poor = nic_new(ctx, 3, "switch:lan", &none);
	assert_false(a->port->whole);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		SAY(a, .src = 1, .dst = 3, .v6 = v6, .udp = true, .blank = true, .payload = 777);
		assert_false(poor->got[nr].csum_blank);
		assert_true(checksums_are_good(poor->got[nr].bytes, poor->got[nr].len));
		nr++;
		SAY(a, .src = 1, .dst = 3, .v6 = v6, .payload = 10001, .gso_size = 1000);
		assert_int_equal(poor->nr, nr + 11);
		for (; nr < poor->nr; nr++) {
			assert_false(poor->got[nr].csum_blank || poor->got[nr].gso);
			assert_true(checksums_are_good(poor->got[nr].bytes, poor->got[nr].len));
		}
	}
	SAY(a, .src = 1, .dst = 255, .udp = true, .blank = true, .payload = 77); /* the same for all */
	assert_true(checksums_are_good(poor->got[nr].bytes, poor->got[nr].len));
	assert_false(b->got[0].csum_blank);
	assert_true(checksums_are_good(b->got[0].bytes, b->got[0].len));
	fetches = ctx->fetches;
	SAY(a, .src = 1, .dst = 2, .payload = 3000, .gso_size = 1000);
	assert_int_equal(b->got[1].gso_size, 1000); /* others lose nothing */
	assert_int_equal(b->got[1].granted, b->got[1].len - FRAME_HDR);
	assert_int_equal(ctx->fetches, fetches);
	poor->room = 0;
	assert_int_equal(SAY(a, .src = 1, .dst = 3, .payload = 5000, .gso_size = 1000), FRAME_HELD);
	poor->room = 2; /* begun is begun */
	assert_int_equal(SAY(a, .src = 1, .dst = 3, .payload = 5000, .gso_size = 1000), FRAME_SENT);
	assert_int_equal(poor->port->stats.rx_dropped_full, 3);
	ctx_free(ctx);
}

/* Those who capture get all bytes of what is for them, with one call for all of an xmit(). */
static void one_who_captures(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL);
	struct nif *b = nic_new(ctx, 2, "switch:lan?pcap=/tmp/pvb-switch.pcap", NULL);
	struct nif *c = nic_new(ctx, 3, "switch:lan", NULL);
	static uint8_t bytes[6][2000], hdr[6][FRAME_HDR];
	struct frame f[6], *all[6];

	unlink("/tmp/pvb-switch.pcap");
	assert_true(b->port->whole);
	for (unsigned i = 0; i < 6; i++) {
		build(&f[i], bytes[i], &(struct build){ .src = 1, .dst = i & 1 ? 3 : 2, .payload = 1000 + i });
		grant(&f[i], hdr[i], i);
		all[i] = &f[i];
	}
	port_xmit(a->port, all, 6);
	port_flush(a->port);
	nif_ctx_flush(ctx);
	assert_int_equal(ctx->fetches, 1);
	assert_int_equal(b->nr, 3);
	assert_int_equal(c->nr, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(b->got[i].granted, 0);
		assert_int_not_equal(c->got[i].granted, 0);
		assert_memory_equal(b->got[i].bytes, bytes[2 * i], f[2 * i].len);
		assert_memory_equal(c->got[i].bytes, bytes[2 * i + 1], f[2 * i + 1].len);
	}
	ctx->fetch_says = FRAME_BAD; /* pages that can not be read: only its own frame is bad */
	build(&f[0], bytes[0], &(struct build){ .src = 1, .dst = 2, .payload = 1000 });
	grant(&f[0], hdr[0], 0);
	build(&f[1], bytes[1], &(struct build){ .src = 1, .dst = 3, .payload = 1000 });
	port_xmit(a->port, all, 2);
	assert_int_equal(f[0].verdict, FRAME_BAD);
	assert_int_equal(f[1].verdict, FRAME_SENT);
	ctx->fetch_says = FRAME_HELD;
	grant(&f[0], hdr[0], 0);
	port_xmit(a->port, all, 2);
	assert_int_equal(f[0].verdict, FRAME_HELD);
	assert_int_equal(f[1].verdict, FRAME_HELD);
	ctx_free(ctx);
}

/* More tags and segments in one pass than scratch holds: held for the next, not lost. */
static void scratch_is_bounded(void **state)
{
	static const struct port_offers none = { .queues = 1 };
	struct nif_ctx *ctx = ctx_new();
	struct nif *a = nic_new(ctx, 1, "switch:lan", NULL), *poor = nic_new(ctx, 2, "switch:lan", &none);
	struct frame f, *one = &f;
	unsigned sent = 0, retries = ctx->retries;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 60000, .gso_size = 8000 });
	for (;;) { /* local already: as from a wrapper */
		port_xmit(a->port, &one, 1);
		if (f.verdict == FRAME_HELD)
			break;
		sent++;
		assert_in_range(sent, 1, 20);
	}
	assert_in_range(sent, 10, 17);
	port_flush(a->port);
	nif_ctx_flush(ctx);
	assert_true(ctx->retries > retries);
	port_xmit(a->port, &one, 1);
	assert_int_equal(f.verdict, FRAME_SENT);
	port_flush(a->port);
	nif_ctx_flush(ctx);
	for (unsigned i = 0; i < poor->nr; i++)
		assert_true(checksums_are_good(poor->got[i].bytes, poor->got[i].len));
	ctx_free(ctx);
}

/* --- texts -------------------------------------------------------------------------------------------- */

static void bad_texts(void **state)
{
	static const char *const texts[] = {
		"switch", "switch:", "switch:a?vlan=0", "switch:a?vlan=4095", "switch:a?vlan=5,",
		"switch:a?vlan=5,trunks",
		"switch:a?vlan=x", "switch:a?trunk=", "switch:a?trunk=1,,2", "switch:a?trunk=1,4095",
		"switch:a?trunk=1,",
		"switch:a?vlan=5,trunk&trunk=7", "switch:a?storm=-1", "switch:a?storm=1x", "switch:a?macs=0",
		"switch:a?mirror=yes", "switch:a?uplink=", "switch:a?uplink=a-name-that-is-too-long",
		"switch:a?uplink=a/b",
		"switch:a?echo=on",
	};
	struct nif_ctx *ctx = ctx_new();

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct pvb_error err = { .text = "" };
		struct port *p;

		assert_int_not_equal(chain_open(ctx, 1, texts[i], &p, &err), 0);
		assert_string_not_equal(err.text, "");
	}
	ctx_free(ctx);
}

static void full(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct pvb_error err = { .text = "" };
	struct port *p;

	for (unsigned i = 0; i < SWITCH_MAX_MEMBERS; i++)
		nic_new(ctx, (uint8_t)i, "switch:lan?macs=1", NULL);
	assert_int_equal(chain_open(ctx, 200, "switch:lan", &p, &err), -ENOSPC);
	ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_learns_moves_and_ages), cmocka_unit_test(table_is_capped_by_port),
		cmocka_unit_test(table_model), cmocka_unit_test(known_from_the_start), cmocka_unit_test(learns),
		cmocka_unit_test(another_ones_mac), cmocka_unit_test(not_for_bridges),
		cmocka_unit_test(bytes_go_straight),
		cmocka_unit_test(held_until_there_is_room), cmocka_unit_test(storms_end), cmocka_unit_test(vlans_apart),
		cmocka_unit_test(tags_in_granted_frames), cmocka_unit_test(mirror_sees_all_once),
		cmocka_unit_test(one_without_offloads), cmocka_unit_test(one_who_captures),
		cmocka_unit_test(scratch_is_bounded), cmocka_unit_test(bad_texts),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
