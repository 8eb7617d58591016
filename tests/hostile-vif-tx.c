// SPDX-License-Identifier: GPL-2.0-or-later
/* hostile-vif: what a guest sends.  Each packet is carried whole or refused, slot by slot, and never with other
 * bytes. */
#include "unit.h"
#include <stdio.h>
#include <time.h>
#include "bus/loop.h"
#include "tests/hostile-vif.h"
#include "tests/nic-frames.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

static struct hgot got;
static uint8_t out[65536];

/* Each in a connection of its own: the first refusal is told at once, others once a second. */
static struct hnic *begin(unsigned i)
{
	struct hnic *n = i % 2 ? &lan : &own;

	connect_plain(n);
	memset(hnic_page(n, 0), 0x12, PVB_PAGE_SIZE);
	return n;
}

static void refused(struct hnic *n, unsigned nr, unsigned nulls, const char *why)
{
	char text[200];

	hnic_push(n, 0);
	answered(n, nr, nulls, NETIF_RSP_ERROR);
	snprintf(text, sizeof(text), "vif %u/%u: refused: %s", n->dev.domid, n->dev.devid, why);
	stage_log_says(text);
	if (n == &own) /* what was refused has not come back */
		assert_int_equal(hnic_unread(&n->rx[0]), 0);
	honest_frame(n);
	stage_good();
	begin_anew(n);
}

void packets_of_odd_sizes(void **state)
{
	static const struct { const char *why; unsigned slots, offset, total, next_offset, next_size; } c[] = {
		{ "queue 0: a packet of 0 bytes, at least 14", 1 },
		{ "queue 0: a packet of 0 bytes, at least 14", 18 },
		{ "queue 0: a packet of 13 bytes, at least 14", 1, 0, 13 },
		{ "queue 0: 4097 bytes at 0 do not fit a page", 1, 0, 4097 },
		{ "queue 0: 65535 bytes at 0 do not fit a page", 1, 0, 65535 },
		{ "queue 0: 100 bytes at 4000 do not fit a page", 1, 4000, 100 },
		{ "queue 0: 60 bytes at 65535 do not fit a page", 1, 65535, 60 },
		{ "queue 0: 2 bytes at 4095 do not fit a page", 3, 0, 100, 4095, 2 },
		{ "queue 0: 5000 bytes at 0 do not fit a page", 2, 0, 9000, 0, 5000 },
		{ "queue 0: a slot of 65535 bytes where 100 of 100 are left", 2, 0, 100, 0, 65535 },
		{ "queue 0: a slot of 60 bytes where 40 of 100 are left", 3, 0, 100, 0, 60 },
		{ "queue 0: 40000 bytes at 0 do not fit a page", 2, 0, 40010, 0, 10 },
		{ "queue 0: a packet in 19 slots, at most 18", 19, 0, 1000, 0, 10 },
		{ "queue 0: a packet in 200 slots, at most 18", 200, 0, 1000, 0, 1 },
		{ "queue 0: a packet in 256 slots, at most 18", 256, 0, 1000 },
	};
	unsigned nr = sizeof(c) / sizeof(c[0]);
	struct hnic *n;

	for (unsigned i = 0; i < nr; i++) {
		n = begin(i);
		for (unsigned k = 0; k < c[i].slots; k++)
			hnic_put(n, 0, 0, k ? c[i].next_offset : c[i].offset, k ? c[i].next_size : c[i].total,
				 k + 1 < c[i].slots ? NETTXF_more_data : 0);
		refused(n, c[i].slots, 0, c[i].why);
	}
	n = begin(0); /* at the limit */
	for (unsigned k = 0; k < 18; k++)
		hnic_put(n, 0, 0, 0, k ? 50 : 1000, k < 17 ? NETTXF_more_data : 0);
	hnic_push(n, 0);
	answered(n, 18, 0, NETIF_RSP_OKAY);
	assert_int_equal(hnic_receive(n, 0, &got, WAIT_MS), 0);
	assert_int_equal(got.len, 1000);
	begin_anew(n);
	stage_log_at_most((nr + 1) * LINES_A_LIE);
	print_message("%u lies\n", nr);
}

/* ---- offload -------------------------------------------------------------------------------------------------- */

#define TYPE "queue 0: GSO of type "
#define NO_TCP "queue 0: GSO, but no whole TCP header over its IP"
#define NO_L4 "queue 0: blank checksum, but no TCP or UDP header"

void offloads_that_are_not(void **state)
{
	/* type: of GSO, modulo 256; 0: no GSO.  cut: so many bytes are sent. */
	static const struct { const char *why; struct shape s; unsigned cut, ethertype, proto, blank, type, size; } c[] = {
		{ TYPE "0 with packets of 1000 bytes", { 4, true, .len = 2000 }, .blank = 1, .type = 256 + 0, .size = 1000 },
		{ TYPE "3 with packets of 1000 bytes", { 4, true, .len = 2000 }, .blank = 1, .type = 3, .size = 1000 },
		{ TYPE "255 with packets of 1 bytes", { 4, true, .len = 2000 }, .blank = 1, .type = 255, .size = 1 },
		{ TYPE "1 with packets of 0 bytes", { 4, true, .len = 2000 }, .blank = 1, .type = 1 },
		{ "queue 0: GSO size out of range", { 4, true, .len = 2000 }, .blank = 1, .type = 1, .size = 1 },
		{ "queue 0: GSO size out of range", { 4, true, .len = 2000 }, .blank = 1, .type = 1, .size = 65535 },
		{ "queue 0: GSO size out of range", { 6, true, .len = 3000 }, .blank = 1, .type = 2, .size = 3001 },
		{ "queue 0: GSO without payload", { 4, true, .tcp_options = 10, .len = 94 }, .cut = 94, .blank = 1,
		  .type = 1, .size = 90 },
		{ NO_TCP, { 4, true, .len = 2000 }, .blank = 1, .type = 2, .size = 1000 },
		{ NO_TCP, { 6, true, .len = 2000 }, .blank = 1, .type = 1, .size = 1000 },
		{ NO_TCP, { 4, false, .len = 2000 }, .blank = 1, .type = 1, .size = 1000 },
		{ NO_TCP, { 0, .len = 2000 }, .blank = 1, .type = 1, .size = 1000 },
		{ NO_TCP, { 4, true, .len = 2000 }, .proto = 47, .blank = 1, .type = 1, .size = 1000 },
		{ NO_L4, { 4, true, .len = 200 }, .cut = 50, .blank = 1 },
		{ NO_L4, { 4, true, .len = 200 }, .proto = 1, .blank = 1 },
		{ NO_L4, { 4, true, .len = 200 }, .ethertype = 0x0806, .blank = 1 },
		{ NO_L4, { 4, true, .len = 200 }, .ethertype = 0x86dd, .blank = 1 },
		{ NO_L4, { 6, false, .options = 30, .len = 400 }, .blank = 1 },
		{ NO_L4, { 0, .len = 14 }, .cut = 14, .blank = 1 },
		{ NULL, { 0, .len = 200 } }, /* nothing claimed, nothing looked at */
		{ NULL, { 4, true, .len = 2000 }, .blank = 1, .type = 1, .size = 1000 },
	};
	unsigned nr = sizeof(c) / sizeof(c[0]);

	for (unsigned i = 0; i < nr; i++) {
		struct hnic *n = begin(i);
		struct shape s = c[i].s;
		struct made m;
		unsigned type = c[i].type & 255, len, flags = c[i].blank ? NETTXF_csum_blank : 0;

		s.blank = c[i].blank;
		m = make_frame(hnic_page(n, 0), &s);
		hnic_page(n, 0)[5] = 0x99;
		if (c[i].ethertype != 0)
			put16(hnic_page(n, 0) + 12, c[i].ethertype);
		if (c[i].proto != 0)
			hnic_page(n, 0)[23] = (uint8_t)c[i].proto;
		len = c[i].cut != 0 ? c[i].cut : m.len;
		hnic_put(n, 0, 0, 0, len, flags | (c[i].type != 0 ? NETTXF_extra_info : 0));
		if (c[i].type != 0)
			hnic_put_gso(n, 0, type, c[i].size, false);
		if (c[i].why != NULL) {
			refused(n, 1 + (c[i].type != 0), c[i].type != 0, c[i].why);
			continue;
		}
		hnic_push(n, 0);
		answered(n, 1 + (c[i].type != 0), c[i].type != 0, NETIF_RSP_OKAY);
		begin_anew(n);
	}
	print_message("%u lies\n", nr);
}

void multicast_without_number(void **state)
{
	struct pvb_pair key = { "request-multicast-control", "1" };
	struct hnic_options opt = { .start = RING_START, .keys = &key, .nr_keys = 1 };
	uint8_t mac[6] = { 1 };
	unsigned nr = stage_on_xen ? 300 : 3000;
	int status;

	for (unsigned i = 0; i < 3; i++) {
		uint8_t station[6] = { 0, 0x16, 0x3e, 1, 2, 3 };
		struct hnic *n = begin(i);

		switch (i) {
		case 0:
			hnic_put(n, 0, 0, 0, 0, NETTXF_extra_info);
			hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_MCAST_ADD, false, station);
			refused(n, 2, 1, "queue 0: no multicast address");
			break;
		case 1:
			hnic_put(n, 0, 0, 0, 100, NETTXF_extra_info | NETTXF_more_data);
			hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_MCAST_DEL, false, mac);
			hnic_put(n, 0, 0, 0, 50, 0);
			refused(n, 3, 1, "queue 0: a multicast request in 2 slots");
			break;
		default: /* each kind once is 4 */
			hnic_put(n, 0, 0, 0, 100, NETTXF_extra_info);
			for (unsigned k = 0; k < 5; k++)
				hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_HASH, k < 4, NULL);
			refused(n, 6, 5, "queue 0: 5 extra infos, at most 4");
		}
	}
	connect_or_fail(&own, &opt);
	honest_frame(&own);
	stage_worker_mark();
	for (unsigned i = 0; i < nr; i++) {
		mac[4] = (uint8_t)(i >> 8);
		mac[5] = (uint8_t)i;
		hnic_put(&own, 0, 0, 0, 0, NETTXF_extra_info);
		hnic_put_extra(&own, 0, i % 7 ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD : XEN_NETIF_EXTRA_TYPE_MCAST_DEL, false,
			       mac);
		hnic_push(&own, 0);
		assert_int_equal(hnic_sent(&own, 0, NULL, &status, WAIT_MS), 0);
		assert_int_equal(status, i < 64 && i % 7 ? NETIF_RSP_OKAY : status);
		assert_int_equal(hnic_sent(&own, 0, NULL, &status, WAIT_MS), 0);
	}
	stage_log_says("queue 0: more than 64 multicast addresses");
	stage_counter("mcast_entries", 64, 64);
	stage_worker_same();
	for (unsigned i = 0; i < 100; i++) { /* and while it goes */
		hnic_put(&own, 0, 0, 0, 0, NETTXF_extra_info);
		hnic_put_extra(&own, 0, XEN_NETIF_EXTRA_TYPE_MCAST_ADD, false, mac);
	}
	hnic_push(&own, 0);
	begin_anew(&own);
}

/* ---- chains --------------------------------------------------------------------------------------------------- */

void extras_out_of_place(void **state)
{
	static const uint8_t types[] = { 0, 5, 127, 255 };
	char text[120];

	for (unsigned i = 0; i < sizeof(types); i++) {
		struct hnic *n = begin(i);
		bool second = i / 2;

		hnic_put(n, 0, 0, 0, 100, NETTXF_extra_info);
		if (second)
			hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_HASH, true, NULL);
		hnic_put_extra(n, 0, types[i], false, NULL);
		hnic_push(n, 0);
		snprintf(text, sizeof(text), "queue 0: extra info of type %u at index %u", types[i],
			 RING_START + 1 + second);
		broken(n, text);
		begin_anew(n);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct hnic *n = begin(i);

		hnic_put(n, 0, 0, 0, 100, NETTXF_more_data);
		hnic_put(n, 0, 0, 0, 10, NETTXF_more_data);
		hnic_put(n, 0, 0, 0, 10, NETTXF_extra_info);
		hnic_push(n, 0);
		broken(n, "queue 0: extra info after slot 2 of a packet");
		begin_anew(n);
		works(n);
	}
}

/* Extra infos and slots that always announce another one; and one that is announced and comes late. */
void chains_without_end(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct hnic *n = begin(kind / 2);

		hnic_put(n, 0, 0, 0, 100, kind % 2 ? NETTXF_extra_info : NETTXF_more_data);
		for (unsigned i = 1; i < HNIC_SLOTS; i++) {
			if (kind % 2)
				hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_HASH, true, NULL);
			else
				hnic_put(n, 0, 0, 0, 0, NETTXF_more_data);
			if (i % 50 != 0)
				continue;
			hnic_push(n, 0);
			stage_good();
			/* may end yet */
			assert_int_equal(hfront_wait_back(&n->dev, 1u << PVB_CONNECTED, WAIT_MS), PVB_CONNECTED);
		}
		hnic_push(n, 0);
		broken(n, "queue 0: a packet without end, the ring has 256 slots");
		begin_anew(n);
	}
	for (unsigned kind = 0; kind < 2; kind++) {
		struct hnic *n = begin(0);
		unsigned flags = kind ? NETTXF_extra_info : NETTXF_more_data;

		honest_frame(n);
		hnic_put(n, 0, 0, 0, 100, flags);
		hnic_push(n, 0);
		stage_good();
		assert_int_equal(hnic_unread(&n->tx[0]), 0);
		if (kind)
			hnic_put_extra(n, 0, XEN_NETIF_EXTRA_TYPE_HASH, false, NULL);
		else
			hnic_put(n, 0, 0, 0, 10, 0);
		hnic_push(n, 0);
		answered(n, 2, kind, NETIF_RSP_OKAY);
		assert_int_equal(hnic_receive(n, 0, &got, WAIT_MS), 0);
		assert_int_equal(got.len, 100);
		begin_anew(n);
	}
}

/* ---- pieces --------------------------------------------------------------------------------------------------- */

/* XSA-423: whatever way the headers are cut, what comes back is what was sent. */
void headers_cut_everywhere(void **state)
{
	unsigned step = stage_on_xen ? 7 : 1, told = 0;
	uint64_t seed = 1;

	connect_plain(&own);
	for (unsigned nr = 1; nr <= 18; nr += nr > 2 && stage_on_xen ? 5 : 1) {
		for (unsigned cut = 1; cut < 200; cut += step, told++) {
			struct shape s = { 4, true, .blank = cut & 1, .options = cut % 4, .tcp_options = nr % 10,
					   .len = 260 + rnd(&seed) % 100, .seed = (uint8_t)told };
			struct made m = make_frame(out, &s);
			unsigned at = 0;

			for (unsigned i = 0; i < nr; i++) { /* nr - 1 pieces of a byte or so round the cut */
				unsigned size = i + 1 == nr ? m.len - at : i == 0 ? cut : 1 + (cut + i) % 3;

				memcpy(hnic_page(&own, i) + PVB_PAGE_SIZE - size, out + at, size);
				hnic_put(&own, 0, i, PVB_PAGE_SIZE - size, i ? size : m.len,
					 (i == 0 && s.blank ? NETTXF_csum_blank : 0) |
						 (i + 1 < nr ? NETTXF_more_data : 0));
				at += size;
			}
			hnic_push(&own, 0);
			answered(&own, nr, 0, NETIF_RSP_OKAY);
			comes_back(&own, out, m.len, &got);
			assert_int_equal(!!(got.flags & NETRXF_csum_blank), s.blank);
		}
		stage_good();
	}
	stage_log_at_most(LINES_A_LIE);
	begin_anew(&own);
	print_message("%u packets\n", told);
}

/* XSA-432, XSA-448: up to 18 slots and hardly a byte; empty ones everywhere. */
void tiny_and_empty_slots(void **state)
{
	static const unsigned few[] = { 0, 1, 2, 14, 128 };
	unsigned told = stage_on_xen ? 300 : 5000, carried = 0;
	uint64_t seed = 1;

	connect_plain(&own);
	for (unsigned i = 0; i < told; i++) {
		unsigned nr = 1 + rnd(&seed) % 20, total = rnd(&seed) % 513, left = total, size[20] = { 0 }, at;
		bool ok = total >= 14 && nr <= 18;

		for (unsigned k = 1; k < nr; k++) {
			size[k] = few[rnd(&seed) % (i % 2 ? 2 : 5)];
			ok = ok && size[k] <= left;
			left -= size[k] <= left ? size[k] : left;
		}
		size[0] = left;
		for (unsigned b = 0; b < total; b++)
			out[b] = (uint8_t)rnd(&seed);
		put16(out + 12, 0x88b5);
		for (unsigned k = at = 0; k < nr; at += size[k++]) {
			if (ok)
				memcpy(hnic_page(&own, k) + PVB_PAGE_SIZE - size[k], out + at, size[k]);
			hnic_put(&own, 0, k, PVB_PAGE_SIZE - size[k], k ? size[k] : total,
				 k + 1 < nr ? NETTXF_more_data : 0);
		}
		hnic_push(&own, 0);
		answered(&own, nr, 0, ok ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
		if (ok)
			comes_back(&own, out, total, &got);
		carried += ok;
		if (i % 500 == 0)
			stage_good();
	}
	assert_int_equal(hnic_unread(&own.rx[0]), 0);
	begin_anew(&own);
	print_message("%u packets, %u of them carried\n", told, carried);
	stage_log_at_most(LINES_A_LIE + (stage_on_xen ? 120 : 60));
}

/* ---- grants --------------------------------------------------------------------------------------------------- */

/* In the first slot, whose headers are looked at, and where the bytes are only passed on. */
void grants_to_send_from_that_are_not(void **state)
{
	enum { NONE, BEYOND, REVOKED, ANOTHERS, CONSTANT, NR };
	struct pvb_grant other = { 0 }, constant = { 0 }, gone = { 0 };
	uint32_t refs[NR] = { 0x3fffffff, 0xfffffff0u };
	char text[120];

	assert_int_equal(pvb_hv_grant(own.dev.hv, stage_good_domid, 1, true, &other), 0);
	assert_int_equal(pvb_hv_grant(own.dev.hv, own.dev.back_domid, 1, false, &constant), 0);
	assert_int_equal(pvb_hv_grant(own.dev.hv, own.dev.back_domid, 1, true, &gone), 0);
	refs[ANOTHERS] = other.refs[0];
	refs[CONSTANT] = constant.refs[0];
	refs[REVOKED] = gone.refs[0];
	for (unsigned i = 0; i < 2 * NR; i++) {
		uint32_t ref = refs[i / 2];
		bool first = i % 2 == 0;

		connect_plain(&own);
		if (i / 2 == REVOKED && first) /* after the rings are there: none of their pages gets the number */
			assert_int_equal(pvb_hv_ungrant(own.dev.hv, &gone), 0);
		memset(hnic_page(&own, 0), 0x12, PVB_PAGE_SIZE);
		if (i / 2 == REVOKED && !first) {
			begin_anew(&own); /* by now the number may be a page's again */
			continue;
		}
		if (first) {
			hnic_put_ref(&own, 0, ref, 0, 1500, 0);
		} else {
			hnic_put(&own, 0, 0, 0, 3000, NETTXF_more_data);
			hnic_put_ref(&own, 0, ref, 0, 1000, 0);
		}
		hnic_push(&own, 0);
		answered(&own, first ? 1 : 2, 0, i / 2 == CONSTANT ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
		if (i / 2 != CONSTANT) {
			snprintf(text, sizeof(text), first ? "queue 0: grant %u: copy failed with status" :
							     "queue 0: grant %u: can not be copied from", ref);
			stage_log_says(text);
		}
		if (i / 2 == CONSTANT || !first) {
			assert_int_equal(hnic_receive(&own, 0, &got, WAIT_MS), 0);
			assert_int_equal(got.status, i / 2 == CONSTANT ? 0 : NETIF_RSP_ERROR);
			hnic_post(&own, 0, got.slots);
		}
		honest_frame(&own);
		stage_good();
		begin_anew(&own);
	}
	assert_int_equal(pvb_hv_ungrant(own.dev.hv, &other), 0);
	assert_int_equal(pvb_hv_ungrant(own.dev.hv, &constant), 0); /* not kept mapped */
}

/* ---- races and repetition ------------------------------------------------------------------------------------- */

struct scribble {
	struct hring *r;
	uint8_t a[HNIC_SLOTS][12], b[HNIC_SLOTS][12];
	pthread_t thread;
	int stop;
};

static void *do_scribble(void *arg)
{
	struct scribble *s = arg;

	for (unsigned n = 0; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); n++)
		for (unsigned i = 0; i < HNIC_SLOTS; i++)
			pvb_ring_copy_out(hnic_slot(s->r, i), (i + n) & 1 ? s->a[i] : s->b[i], 12);
	return NULL;
}

/* Whatever the back end makes of them: one answer for each. */
void slots_change_while_they_are_read(void **state)
{
	static struct scribble s;
	unsigned rounds = stage_on_xen ? 100 : 1500;

	for (unsigned k = 0; k < 2; k++) {
		struct hnic *n = begin(k);

		s.r = &n->tx[0];
		s.stop = 0;
		for (unsigned i = 0; i < HNIC_SLOTS; i++) {
			struct netif_tx_request x = { hnic_gref(n, 0), 0, 0, (uint16_t)i, 100 };
			struct netif_tx_request y = { 0x3fffffff, 0xffff, NETTXF_csum_blank, (uint16_t)i, 0xffff };

			memcpy(s.a[i], &x, 12);
			memcpy(s.b[i], &y, 12);
			pvb_ring_copy_out(hnic_slot(s.r, i), &x, 12); /* 0xa5a5 has a flag for more */
		}
		assert_int_equal(pthread_create(&s.thread, NULL, do_scribble, &s), 0);
		for (unsigned i = 0; i < rounds; i++) {
			s.r->prod += 16;
			hnic_push(n, 0);
			if (hnic_await(n, s.r, 16, WAIT_MS) < 0)
				fail_msg("round %u: %u answers of 16", i, hnic_unread(s.r));
			s.r->cons += 16;
			if (n == &own)
				while (hnic_unread(&n->rx[0]) > 0 && hnic_receive(n, 0, &got, WAIT_MS) == 0)
					hnic_post(n, 0, got.slots);
			if (i % 500 == 0)
				stage_good();
		}
		__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
		pthread_join(s.thread, NULL);
		assert_int_equal(hnic_unread(s.r), 0);
		begin_anew(n);
	}
	stage_log_at_most(2 * LINES_A_LIE + (stage_on_xen ? 120 : 60));
}

void one_lie_ten_thousand_times(void **state)
{
	unsigned times = 0;
	uint64_t t;

	connect_plain(&own);
	honest_frame(&own);
	stage_worker_mark();
	t = pvb_now_ms();
	for (; times < 10000; times += 250) {
		for (unsigned i = 0; i < 250; i++)
			hnic_put(&own, 0, 0, 0, 5, 0);
		hnic_push(&own, 0);
		answered(&own, 250, 0, NETIF_RSP_ERROR);
	}
	t = pvb_now_ms() - t;
	stage_good();
	honest_frame(&own);
	stage_counter("tx_bad", 10000, 10000);
	stage_worker_same();
	stage_log_says("refused: queue 0: a packet of 5 bytes, at least 14");
	stage_log_at_most(LINES_A_LIE + 2 + (unsigned)(t / 1000));
	print_message("%u times in %llu ms\n", times, (unsigned long long)t);
	begin_anew(&own);
}
