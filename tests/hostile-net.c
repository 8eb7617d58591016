// SPDX-License-Identifier: GPL-2.0-or-later
/* Lies told through rings, slots, extra infos and grants of a NIC.  Each is answered once for each slot or ends the
 * liar's connection, named with its numbers, and costs the honest NIC nothing and us not a page. */
#include "unit.h"
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sched.h>
#include "net-rig.h"

#if defined(__SANITIZE_THREAD__) || defined(PVB_TSAN)
#define RACES 0 /* races are what these are */
#else
#define RACES 1
#endif
#define ROUNDS 3000u

static struct rig rig;
static struct rnic bad, peer;
static uint8_t out[65536];
static struct rgot got;

static int set_up(void **state)
{
	rig_new(&rig);
	return 0;
}

static int tear_down(void **state)
{
	rig_free(&rig);
	return 0;
}

static void said(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void await_broken(const char *why)
{
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;

	while (bad.nr_broken == 0 && pvb_now_ms() < until)
		rig_pump(&rig, 10);
	said(bad.broken, why);
	assert_int_equal(bad.nr_broken, 1);
}

/* After that nothing comes from it or goes to it, until it connects anew; then it is as good as others. */
static void is_dead(void)
{
	struct frame f = { 0 };
	unsigned tx = rnic_tx_unread(&bad, 0), rx = rnic_rx_unread(&bad, 0);

	rnic_push(&bad, 0);
	memset(out, 0, 100);
	frame_local(&f, out, 100);
	assert_int_equal(rport_deliver(&bad, 0, &f), FRAME_DROPPED);
	rig_settle(&rig);
	assert_int_equal(rnic_tx_unread(&bad, 0), tx);
	assert_int_equal(rnic_rx_unread(&bad, 0), rx);
	assert_int_equal(bad.nr_broken, 1);
	rnic_free(&bad);
}

/* ---- indices --------------------------------------------------------------------------------------------------- */

static void the_producer_jumps(void **state)
{
	static const uint32_t starts[] = { 0, 0xfffffff0u, 0x7ffffff0u },
			      jumps[] = { 257, 1u << 31, UINT32_MAX, 0x80000101u };
	char text[120];

	for (unsigned s = 0; s < 3; s++) {
		for (unsigned k = 0; k < 3 * 4; k++) {
			static const char *const names[] = { "TX", "RX", "control ring: the front end claims" };
			struct nif_connect c;
			struct pvb_error err;
			struct rring *r;
			struct frame f = { 0 };

			rnic_new(&rig, &bad, &(struct rnic_options){ .ctrl = true });
			bad.start = starts[s];
			rnic_rings(&bad);
			rnic_describe(&bad, &c);
			assert_int_equal(rnic_attach(&bad, &c, &err), 0);
			rig_settle(&rig);
			r = k % 3 == 0 ? &bad.q[0].tx : k % 3 == 1 ? &bad.q[0].rx : &bad.ctrl;
			__atomic_store_n(&r->sh->req_prod, r->prod + jumps[k / 3], __ATOMIC_RELEASE);
			pvb_hv_evt_notify(bad.hv, r->port);
			if (k % 3 == 1) { /* is looked at when somebody sends */
				memset(out, 0, 100);
				frame_local(&f, out, 100);
				assert_int_equal(rport_deliver(&bad, 0, &f), FRAME_DROPPED);
			}
			snprintf(text, sizeof(text), "claims %u %s%srequests at index %u, the ring has %u slots",
				 jumps[k / 3], k % 3 == 2 ? "" : names[k % 3], k % 3 == 2 ? "" : " ", starts[s],
				 k % 3 == 2 ? 128u : 256u);
			await_broken(text);
			__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE); /* too late for remorse */
			is_dead();
		}
	}
}

static void rsp_prod_is_not_believed(void **state)
{
	rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
	memset(rnic_page(&bad, 0), 0, 100);
	for (unsigned i = 0; i < 300; i++) {
		rnic_put(&bad, 0, 0, 0, 100, 0);
		bad.q[0].tx.sh->rsp_prod = (uint32_t)rnd(&rig.seed);
		bad.q[0].tx.sh->req_event = (uint32_t)rnd(&rig.seed);
		bad.q[0].rx.sh->rsp_prod = (uint32_t)rnd(&rig.seed);
		bad.port.nr_frames = 0;
		rnic_push(&bad, 0);
		for (unsigned k = 0; k < 1000 && bad.port.nr_frames == 0; k++)
			rig_pump(&rig, 10);
		assert_int_equal(bad.port.nr_frames, 1);
		assert_int_equal(rnic_tx_unread(&bad, 0), i + 1);
	}
	assert_int_equal(bad.nr_broken, 0);
	rnic_free(&bad);
}

/* ---- chains ---------------------------------------------------------------------------------------------------- */

static void extras_out_of_place(void **state)
{
	static const uint8_t types[] = { 0, 5, 6, 127, 255 };
	char text[80];

	for (unsigned i = 0; i < sizeof(types) * 2; i++) {
		uint8_t good[12] = { XEN_NETIF_EXTRA_TYPE_HASH, 1 }, x[12] = { types[i / 2] };

		rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
		rnic_put(&bad, 0, 0, 0, 100, NETTXF_extra_info);
		if (i % 2)
			rnic_put_raw(&bad, 0, good);
		rnic_put_raw(&bad, 0, x);
		rnic_push(&bad, 0);
		snprintf(text, sizeof(text), "queue 0: extra info of type %u at index %u", types[i / 2],
			 RIG_START + 1 + i % 2);
		await_broken(text);
		is_dead();
	}
	rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
	rnic_put(&bad, 0, 0, 0, 100, NETTXF_more_data);
	rnic_put(&bad, 0, 0, 0, 10, NETTXF_more_data);
	rnic_put(&bad, 0, 0, 0, 10, NETTXF_extra_info);
	rnic_push(&bad, 0);
	await_broken("queue 0: extra info after slot 2 of a packet");
	is_dead();
}

static void chains_without_end(void **state)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		uint8_t x[12] = { XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_FLAG_MORE };

		rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
		rnic_put(&bad, 0, 0, 0, 100, kind ? NETTXF_extra_info : NETTXF_more_data);
		for (unsigned i = 1; i < NIF_RING_SLOTS; i++) {
			if (kind)
				rnic_put_raw(&bad, 0, x);
			else
				rnic_put(&bad, 0, 0, 0, 0, NETTXF_more_data);
			if (i % 50 == 0) {
				rnic_push(&bad, 0);
				honest(&rig);
				assert_int_equal(bad.nr_broken, 0); /* may come to an end yet */
			}
		}
		rnic_push(&bad, 0);
		await_broken("queue 0: a packet without end, the ring has 256 slots");
		is_dead();
	}
}

/* ---- slots and lengths ----------------------------------------------------------------------------------------- */

/* XSA-423: whatever way the headers are cut, the port has them in one piece. */
static void headers_cut_everywhere(void **state)
{
	uint64_t seed = 1;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = whole });
		for (unsigned nr = 1; nr <= 18; nr++) {
			for (unsigned cut = 1; cut < 200; cut++) {
				unsigned len = 54 + 200 + rnd(&seed) % 100, at = 0, seen = bad.port.nr_kept;

				rig_tcp4(out, len, &seed, 1, 2, 3, 4, true);
				for (unsigned i = 0; i < nr; i++) { /* nr - 1 pieces of a byte or so round the cut */
					unsigned n = i + 1 == nr ? len - at : i == 0 ? cut : 1 + (cut + i) % 3;

					memcpy(rnic_page(&bad, i) + PVB_PAGE_SIZE - n, out + at, n);
					rnic_put(&bad, 0, i, PVB_PAGE_SIZE - n, i ? n : len,
						 (i == 0 ? NETTXF_csum_blank : 0) |
							 (i + 1 < nr ? NETTXF_more_data : 0));
					at += n;
				}
				rnic_push(&bad, 0);
				rnic_tx_await(&bad, 0, nr);
				for (unsigned i = 0; i < nr; i++)
					assert_int_equal(rnic_tx_status(&bad, 0, NULL), NETIF_RSP_OKAY);
				assert_int_equal(bad.port.nr_kept, seen + 1);
				assert_int_equal(bad.port.kept->len, len);
				assert_memory_equal(bad.port.kept->data, out,
						    whole || len < FRAME_HDR ? len : FRAME_HDR);
			}
			honest(&rig);
		}
		assert_int_equal(bad.nr_refused, 0);
		rnic_free(&bad);
	}
}

/* XSA-432, XSA-448: up to 18 slots and hardly a byte; empty ones everywhere. */
static void tiny_and_empty_slots(void **state)
{
	static const unsigned few[] = { 0, 1, 2, 14, 128 };
	uint64_t seed = 1;

	rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = true });
	memset(rnic_page(&bad, 0), 0x12, PVB_PAGE_SIZE);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned nr = 1 + rnd(&seed) % 20, total = rnd(&seed) % 513, left = total, size[20] = { 0 },
			 kept = bad.port.nr_kept;
		bool ok = total >= 14 && nr <= 18;

		for (unsigned k = 1; k < nr; k++) {
			size[k] = few[rnd(&seed) % (i % 2 ? 2 : 5)];
			ok = ok && size[k] <= left;
			left -= size[k] <= left ? size[k] : left;
		}
		for (unsigned k = 0; k < nr; k++)
			rnic_put(&bad, 0, 0, k ? PVB_PAGE_SIZE - size[k] : 0, k ? size[k] : total,
				 k + 1 < nr ? NETTXF_more_data : 0);
		rnic_push(&bad, 0);
		rnic_tx_await(&bad, 0, nr);
		assert_int_equal(rnic_tx_unread(&bad, 0), nr);
		for (unsigned k = 0; k < nr; k++) {
			uint16_t id;

			assert_int_equal(rnic_tx_status(&bad, 0, &id), ok ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
			assert_int_equal(id, (uint16_t)(bad.next_id - nr + k));
		}
		assert_int_equal(bad.port.nr_kept, kept + ok);
		assert_true(!ok || bad.port.kept->len == total);
		if (i % 500 == 0)
			honest(&rig);
	}
	assert_int_equal(bad.nr_broken, 0);
	rnic_free(&bad);
}

/* What a sender claims about checksum and segments must be in the packet. */
static void offloads_that_are_not(void **state)
{
	static const struct { unsigned proto, ethertype, len, flags, type, size; bool ok; } c[] = {
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 1, 1000, true },
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 2, 1000, false }, /* TCP over IPv6 it says */
		{ IPPROTO_TCP, 0x86dd, 2000, NETTXF_csum_blank, 2, 1000, false },
		{ IPPROTO_TCP, 0x0806, 2000, NETTXF_csum_blank, 1, 1000, false },
		{ IPPROTO_UDP, 0x0800, 2000, NETTXF_csum_blank, 1, 1000, false },
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 1, 1, false },
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 1, 0, false },
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 1, 65535, false },
		{ IPPROTO_TCP, 0x0800, 2000, NETTXF_csum_blank, 3, 1000, false },
		{ IPPROTO_TCP, 0x0800, 50, NETTXF_csum_blank, 0, 0, false }, /* ends before the checksum */
		{ IPPROTO_ICMP, 0x0800, 100, NETTXF_csum_blank, 0, 0, false },
		{ IPPROTO_TCP, 0x0806, 100, NETTXF_csum_blank, 0, 0, false },
		{ IPPROTO_TCP, 0x0806, 100, 0, 0, 0, true },
	};
	uint64_t seed = 1;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = whole });
		for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
			unsigned len = c[i].len < 100 ? 100 : c[i].len, kept = bad.port.nr_kept;

			rig_tcp4(out, len, &seed, 1, 2, 3, 4, true);
			out[12] = (uint8_t)(c[i].ethertype >> 8);
			out[13] = (uint8_t)c[i].ethertype;
			out[23] = (uint8_t)c[i].proto;
			assert_int_equal(rnic_send(&bad, 0, out, c[i].len, NULL, c[i].flags, c[i].type, c[i].size),
					 c[i].ok ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
			assert_int_equal(bad.port.nr_kept, kept + c[i].ok);
			honest(&rig);
		}
		assert_int_equal(bad.nr_broken, 0);
		rnic_free(&bad);
	}
}

/* ---- things that change while they are looked at --------------------------------------------------------------- */

struct flip {
	pthread_t thread;
	volatile uint32_t *at;
	unsigned words;
	const uint32_t *a, *b;
	int stop;
};

static void *do_flip(void *arg)
{
	struct flip *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < f->words; i++)
			__atomic_store_n(&f->at[i], f->a[i], __ATOMIC_RELAXED);
		for (unsigned i = 0; i < f->words; i++)
			__atomic_store_n(&f->at[i], f->b[i], __ATOMIC_RELAXED);
	}
	return NULL;
}

static void flip_start(struct flip *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, do_flip, f), 0);
}

static void flip_stop(struct flip *f)
{
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
}

static void slots_change_while_they_are_read(void **state)
{
	if (!RACES)
		skip();
	for (unsigned whole = 0; whole < 2; whole++) {
		uint32_t a[3 * NIF_RING_SLOTS], b[3 * NIF_RING_SLOTS];
		struct flip f = { .words = 3 * NIF_RING_SLOTS, .a = a, .b = b };

		rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = whole });
		memset(rnic_page(&bad, 0), 0, PVB_PAGE_SIZE);
		for (unsigned i = 0; i < NIF_RING_SLOTS; i++) {
			struct netif_tx_request x = { rnic_gref(&bad, 0), 0, 0, (uint16_t)i, 100 };
			struct netif_tx_request y = { 0x3fffffff, 0xffff, NETTXF_csum_blank, (uint16_t)i, 0xffff };

			memcpy(a + 3 * i, &x, 12);
			memcpy(b + 3 * i, &y, 12);
		}
		memcpy(bad.q[0].tx.slots, a, sizeof(a)); /* 0xa5a5 has a flag for more */
		f.at = (volatile uint32_t *)(void *)bad.q[0].tx.slots;
		flip_start(&f);
		for (unsigned i = 0; i < ROUNDS; i++) {
			bad.q[0].tx.prod += 16;
			rnic_push(&bad, 0);
			rnic_tx_await(&bad, 0, 16);
			bad.q[0].tx.cons += 16;
			if (i % 200 == 0)
				honest(&rig);
		}
		flip_stop(&f);
		assert_int_equal(rnic_tx_unread(&bad, 0), 0);
		assert_int_equal(bad.nr_broken, 0);
		rnic_free(&bad);
	}
}

/* Checked with the right source address, changed to another's before it is copied: the private copy is what goes
 * out. */
static void a_header_that_changes_is_the_one_that_was_checked(void **state)
{
	struct nif_config cfg = { .mac = { 0, 0x16, 0x3e, 0, 0, 1 }, .spoof_mac = true, .gref_tables = true };
	uint64_t seed = 1;
	unsigned sent = 0, dropped = 0;

	if (!RACES)
		skip();
	for (unsigned staged = 0; staged < 2; staged++) {
		uint32_t a, b;
		struct flip f = { .words = 1, .a = &a, .b = &b };

		rnic_connect(&rig, &peer, &(struct rnic_options){ .pool = staged * 256, .tx_pages = 256 });
		rnic_connect(&rig, &bad, &(struct rnic_options){ .cfg = &cfg, .pool = staged * 64 });
		bad.port.does = RPORT_FORWARDS;
		bad.port.to = &peer;
		rig_udp4(out, 1000, &seed);
		memcpy(rnic_page(&bad, 0), out, 1000);
		memcpy(&a, out + 8, 4);
		b = a ^ 0x0f000000;
		f.at = (volatile uint32_t *)(void *)(rnic_page(&bad, 0) + 8);
		flip_start(&f);
		for (unsigned i = 0; i < ROUNDS; i++) {
			rnic_put(&bad, 0, 0, 0, 1000, 0);
			rnic_push(&bad, 0);
			rnic_tx_await(&bad, 0, 1);
			if (rnic_tx_status(&bad, 0, NULL) == NETIF_RSP_DROPPED) {
				dropped++;
				continue;
			}
			sent++;
			rnic_await(&peer, 0, &got);
			assert_memory_equal(got.data, out, 1000);
			rnic_post(&peer, 0, 1);
		}
		flip_stop(&f);
		rnic_free(&bad);
		rnic_free(&peer);
	}
	assert_true(sent > 0 && dropped > 0);
}

/* A guest that refills its ring as fast as it is emptied gets its share and no more. */
static void *do_refill(void *arg)
{
	struct rring *r = &bad.q[0].tx;

	while (!__atomic_load_n((int *)arg, __ATOMIC_RELAXED)) {
		uint32_t rsp = __atomic_load_n(&r->sh->rsp_prod, __ATOMIC_ACQUIRE);

		for (; r->prod != rsp + NIF_RING_SLOTS; r->prod++) {
			struct netif_tx_request req = { bad.data.refs[0], 0, 0, 0, 1000 };
			const uint32_t *from = (const uint32_t *)(const void *)&req;
			uint32_t *to = (uint32_t *)(void *)(r->slots + (r->prod & (NIF_RING_SLOTS - 1)) * 12);

			for (unsigned i = 0; i < 3; i++)
				__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
		}
		__atomic_store_n(&r->sh->req_prod, r->prod, __ATOMIC_RELEASE);
		pvb_hv_evt_notify(bad.hv, r->port);
		sched_yield();
	}
	return NULL;
}

static void a_ring_that_never_empties(void **state)
{
	pthread_t thread;
	int stop = 0;
	uint64_t t;

	if (!RACES)
		skip();
	rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = true });
	assert_int_equal(pthread_create(&thread, NULL, do_refill, &stop), 0);
	t = pvb_now_ms();
	/* the other thread may not have had a processor yet */
	for (unsigned i = 0; i < 200 || (bad.stats.queue[0].tx_packets <= 200 && pvb_now_ms() - t < RIG_WAIT_MS); i++)
		honest(&rig);
	t = pvb_now_ms() - t;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(t < RIG_WAIT_MS);
	assert_true(bad.stats.queue[0].tx_packets > 200); /* and it was served */
	rnic_free(&bad);
}

/* Who keeps us busy for pass after pass does not keep us from another's ring, whose event nobody has read yet. */
static void a_busy_ring_hides_no_other(void **state)
{
	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
	rig_settle(&rig);
	memset(rnic_page(&bad, 0), 0x12, 100);
	memset(rnic_page(&peer, 0), 0x12, 100);
	for (unsigned i = 0; i < 3 * NIF_BUDGET; i++)
		rnic_put(&bad, 0, 0, 0, 100, 0);
	rnic_put(&peer, 0, 0, 0, 100, 0);
	__atomic_store_n(&peer.q[0].tx.sh->req_prod, peer.q[0].tx.prod, __ATOMIC_RELEASE); /* no event at all */
	rnic_push(&bad, 0);
	rnic_tx_await(&bad, 0, 3 * NIF_BUDGET);
	assert_int_equal(rnic_tx_unread(&peer, 0), 1);
	assert_int_equal(peer.port.nr_frames, 1);
	rnic_free(&bad);
	rnic_free(&peer);
}

/* ---- floods ---------------------------------------------------------------------------------------------------- */

/* XSA-392: one buffer at a time under a flood of large frames. */
static void a_flood_for_one_slot(void **state)
{
	struct nif_queue_stats *s = &bad.stats.queue[0];
	struct nif_connect c;
	struct pvb_error err;
	uint64_t seed = 1;
	unsigned flooded = 0;

	rnic_new(&rig, &bad, &(struct rnic_options){ 0 });
	rnic_rings(&bad);
	rnic_describe(&bad, &c);
	assert_int_equal(rnic_attach(&bad, &c, &err), 0);
	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	peer.port.does = RPORT_FORWARDS;
	peer.port.to = &bad;
	rig_tcp4(out, 60000, &seed, 1, 2, 3, 4, true);
	for (unsigned i = 0; i < 500; i++) {
		rnic_post(&bad, 0, bad.q[0].rx.prod - bad.q[0].rx.sh->rsp_prod == 0);
		assert_int_equal(rnic_send(&peer, 0, out, 60000, NULL, NETTXF_csum_blank, 1, 1448), NETIF_RSP_OKAY);
		flooded++;
		if (i % 50 == 0)
			honest(&rig);
	}
	assert_int_equal(s->rx_dropped_stall, flooded);
	assert_int_equal(s->rx_packets, 0);
	/* it stalled once and waited once; the slot that lies there changes nothing */
	assert_int_equal(s->rx_no_room, 1);
	assert_int_equal(peer.stats.queue[0].tx_held, 1);
	rnic_free(&peer);
	rnic_free(&bad);
}

static void a_storm_of_events(void **state)
{
	uint64_t before, received;

	for (unsigned broken = 0; broken < 2; broken++) {
		rnic_connect(&rig, &bad, &(struct rnic_options){ .ctrl = true });
		if (broken) {
			bad.q[0].tx.sh->req_prod = bad.q[0].tx.prod + 1000;
			pvb_hv_evt_notify(bad.hv, bad.q[0].tx.port);
			await_broken("claims 1000 TX requests");
		}
		rig_settle(&rig);
		before = pvb_event_stats(bad.nif->queues[0].tx.event)->received +
			 pvb_event_stats(bad.nif->queues[0].rx.event)->received +
			 pvb_event_stats(bad.nif->ctrl.event)->received;
		for (unsigned i = 0; i < 20000; i++) {
			pvb_hv_evt_notify(bad.hv, bad.q[0].tx.port);
			pvb_hv_evt_notify(bad.hv, bad.q[0].rx.port);
			pvb_hv_evt_notify(bad.hv, bad.ctrl.port);
			if (i % 16 == 0)
				rig_pump(&rig, 0);
			if (i % 1000 == 0)
				honest(&rig);
		}
		received = pvb_event_stats(bad.nif->queues[0].tx.event)->received +
			   pvb_event_stats(bad.nif->queues[0].rx.event)->received +
			   pvb_event_stats(bad.nif->ctrl.event)->received - before;
		if (received > 90)
			fail_msg("%llu wake-ups for nothing", (unsigned long long)received);
		rnic_free(&bad);
	}
}

static void refusals_are_told_once_a_second(void **state)
{
	rnic_connect(&rig, &bad, &(struct rnic_options){ 0 });
	bad.hear_all = false;
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < 200; k++)
			rnic_put(&bad, 0, 0, 0, 5, 0);
		rnic_push(&bad, 0);
		rnic_tx_await(&bad, 0, 200);
		bad.q[0].tx.cons += 200;
	}
	assert_in_range(bad.nr_refused, 1, 100);
	assert_int_equal(bad.stats.queue[0].tx_bad, 20000);
	rnic_free(&bad);
}

static void multicast_requests_without_number(void **state)
{
	uint8_t mac[6] = { 1 };

	rnic_connect(&rig, &bad, &(struct rnic_options){ .multicast = true });
	for (unsigned i = 0; i < 5000; i++) {
		mac[4] = (uint8_t)(i >> 8);
		mac[5] = (uint8_t)i;
		rnic_put_mcast(&bad, 0, mac, i % 7 != 0);
		rnic_push(&bad, 0);
		rnic_tx_await(&bad, 0, 2);
		bad.q[0].tx.cons += 2;
	}
	assert_int_equal(bad.stats.mcast_entries, NIF_MAX_MCAST);
	for (unsigned i = 0; i < 100; i++) /* and while it goes */
		rnic_put_mcast(&bad, 0, mac, i % 2);
	bad.q[0].tx.sh->req_prod = bad.q[0].tx.prod;
	rnic_free(&bad);
}

/* ---- the control ring ------------------------------------------------------------------------------------------ */

static void extremes_on_the_control_ring(void **state)
{
	static const uint32_t v[] = { 0,	  1,	      2,	  127,	       128,	    511,
				      512,	  513,	      4096,	  65535,       65536,	    0x1fffffff,
				      0x20000001, 0x3fffffff, 0x7fffffff, 0x80000000u, 0xfffffff8u, UINT32_MAX };
	const unsigned n = sizeof(v) / sizeof(v[0]);
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 1;
	uint32_t maps;

	rnic_connect(&rig, &bad, &(struct rnic_options){ .ctrl = true, .queues = 2 });
	maps = live->maps;
	for (unsigned i = 0; i < PVB_PAGE_SIZE / 4; i++)
		((uint32_t *)rnic_page(&bad, 1))[i] = v[rnd(&seed) % n];
	for (unsigned type = 0; type < 12; type++) {
		for (unsigned i = 0; i < n * n; i++) {
			uint32_t page = rnic_gref(&bad, 1), a = v[i / n], b = v[i % n];
			struct xen_netif_ctrl_response rsp;

			for (unsigned k = 0; k < 3; k++) {
				rsp = rnic_ctrl(&bad, type, k == 0 ? page : a, k == 1 ? page : b, k == 2 ? page : b);
				assert_true(rsp.status <= XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW);
			}
		}
		honest(&rig);
	}
	assert_true(live->maps - maps <= 2 * NIF_MAX_GREFS);
	assert_int_equal(bad.nr_broken, 0);
	rnic_free(&bad);
}

/* ---- what fails below ------------------------------------------------------------------------------------------ */

static void copies_that_fail(void **state)
{
	uint64_t seed = 1;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
		rnic_connect(&rig, &bad, &(struct rnic_options){ .whole = whole });
		bad.port.does = RPORT_FORWARDS;
		bad.port.to = &peer;
		for (unsigned i = 0; i < 60; i++) {
			bool batch = i % 2;
			int status;

			rig_udp4(out, 9000, &seed);
			pvb_hv_fault(rig.hv, batch ? PVB_FAULT_COPY_BATCH : PVB_FAULT_COPY_OP, i / 6, 1,
				     batch ? -EIO : -3);
			status = rnic_send(&bad, 0, out, 9000, NULL, 0, 0, 0);
			pvb_hv_fault(rig.hv, batch ? PVB_FAULT_COPY_BATCH : PVB_FAULT_COPY_OP, 0, 0, 0);
			assert_true(status == NETIF_RSP_OKAY || status == NETIF_RSP_ERROR);
			if (rnic_receive(&peer, 0, &got)) {
				if (got.status == 0)
					assert_memory_equal(got.data, out, 9000);
				rnic_post(&peer, 0, got.slots);
			} else {
				assert_int_equal(status, NETIF_RSP_ERROR);
			}
			honest(&rig);
		}
		pvb_hv_fault(rig.hv, PVB_FAULT_NOTIFY, 0, 2, -EBADF);
		assert_int_equal(rnic_send(&bad, 0, out, 9000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
		pvb_hv_fault(rig.hv, PVB_FAULT_NOTIFY, 0, 0, 0);
		assert_int_equal(bad.nr_broken + peer.nr_broken, 0);
		rnic_free(&bad);
		rnic_free(&peer);
	}
}

/* Its pages, its ports and at last the domain go while it is in use. */
static void a_guest_that_goes(void **state)
{
	uint64_t seed = 1;

	for (unsigned k = 0; k < 3; k++) {
		rnic_connect(&rig, &bad, &(struct rnic_options){ .queues = 2 });
		rig_udp4(out, 9000, &seed);
		assert_int_equal(rnic_send(&bad, 0, out, 9000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
		if (k == 0) {
			pvb_hv_evt_unbind(bad.hv, bad.q[1].tx.port);
			bad.q[1].tx.port = UINT32_MAX;
		}
		if (k == 1)
			bad.port.does = RPORT_HOLDS;
		rnic_put(&bad, 0, 0, 0, 100, 0);
		rnic_push(&bad, 0);
		rig_settle(&rig);
		rnic_free(&bad);
		honest(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_producer_jumps),
		cmocka_unit_test(rsp_prod_is_not_believed),
		cmocka_unit_test(extras_out_of_place),
		cmocka_unit_test(chains_without_end),
		cmocka_unit_test(headers_cut_everywhere),
		cmocka_unit_test(tiny_and_empty_slots),
		cmocka_unit_test(offloads_that_are_not),
		cmocka_unit_test(slots_change_while_they_are_read),
		cmocka_unit_test(a_header_that_changes_is_the_one_that_was_checked),
		cmocka_unit_test(a_ring_that_never_empties),
		cmocka_unit_test(a_busy_ring_hides_no_other),
		cmocka_unit_test(a_flood_for_one_slot),
		cmocka_unit_test(a_storm_of_events),
		cmocka_unit_test(refusals_are_told_once_a_second),
		cmocka_unit_test(multicast_requests_without_number),
		cmocka_unit_test(extremes_on_the_control_ring),
		cmocka_unit_test(copies_that_fail),
		cmocka_unit_test(a_guest_that_goes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
