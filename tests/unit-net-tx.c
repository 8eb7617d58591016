// SPDX-License-Identifier: GPL-2.0-or-later
/* Packets out of the TX ring: from the guest's slots to a port, whole or in part, and the answers. */
#include "unit.h"
#include <stdio.h>
#include "net-rig.h"
#include "trap.h"

static struct rig rig;
static struct rnic nic, peer;
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

static void said(const char *part)
{
	if (strstr(nic.refused, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", nic.refused, part);
}

static const struct nif_queue_stats *stats(void)
{
	return &nic.stats.queue[0];
}

/* ---- good packets -------------------------------------------------------------------------------------------- */

static void guest_to_port_to_guest(void **state)
{
	static const unsigned lens[] = { 14, 60, 192, 193, 1514, 4096, 4097, 9014, 65535 };
	uint64_t seed = 7;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &peer, &(struct rnic_options){ .shared_event = whole });
		rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = whole });
		nic.port.does = RPORT_FORWARDS;
		nic.port.to = &peer;
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			if (lens[i] >= 60)
				rig_udp4(out, lens[i], &seed);
			else
				memset(out, 0x77, lens[i]);
			assert_int_equal(rnic_send(&nic, 0, out, lens[i], NULL, 0, 0, 0), NETIF_RSP_OKAY);
			rnic_await(&peer, 0, &got);
			assert_int_equal(got.status, 0);
			assert_int_equal(got.len, lens[i]);
			assert_int_equal(got.slots, (lens[i] + 4095) / 4096);
			assert_memory_equal(got.data, out, lens[i]);
			rnic_post(&peer, 0, got.slots);
		}
		rnic_free(&nic);
		rnic_free(&peer);
	}
}

/* Any cut into 1 to 18 slots, empty ones among them, anywhere in their pages. */
static void any_cut(void **state)
{
	uint64_t seed = 3;

	for (unsigned whole = 0; whole < 2; whole++) {
		rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
		rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = whole });
		nic.port.does = RPORT_FORWARDS;
		nic.port.to = &peer;
		for (unsigned round = 0; round < 400; round++) {
			unsigned nr = 1 + rnd(&seed) % 18, sizes[18], len = 0, at = 0;

			for (unsigned i = 0; i < nr; i++) {
				static const unsigned few[] = { 0, 1, 2, 14, 128 };

				sizes[i] =
					rnd(&seed) % 2 ? few[rnd(&seed) % 5] : rnd(&seed) % (len > 58000 ? 100 : 4097);
				len += sizes[i];
			}
			if (len < 60 || len > 65535)
				continue;
			rig_udp4(out, len, &seed);
			for (unsigned i = 0; i < nr; i++) {
				unsigned offset = rnd(&seed) % (PVB_PAGE_SIZE - sizes[i] + 1);

				memcpy(rnic_page(&nic, i) + offset, out + at, sizes[i]);
				at += sizes[i];
				rnic_put(&nic, 0, i, offset, i ? sizes[i] : len, i + 1 < nr ? NETTXF_more_data : 0);
			}
			rnic_push(&nic, 0);
			rnic_tx_await(&nic, 0, nr);
			for (unsigned i = 0; i < nr; i++)
				assert_int_equal(rnic_tx_status(&nic, 0, NULL), NETIF_RSP_OKAY);
			rnic_await(&peer, 0, &got);
			assert_int_equal(got.len, len);
			assert_memory_equal(got.data, out, len);
			assert_in_range(got.slots, (len + 4095) / 4096, (len + 4095) / 4096 + 1);
			rnic_post(&peer, 0, got.slots);
		}
		rnic_free(&nic);
		rnic_free(&peer);
	}
}

static void offloads_pass(void **state)
{
	uint64_t seed = 5;

	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	nic.port.does = RPORT_FORWARDS;
	nic.port.to = &peer;
	rig_tcp4(out, 30000, &seed, 1, 2, 3, 4, true);
	assert_int_equal(rnic_send(&nic, 0, out, 30000, NULL, NETTXF_csum_blank | NETTXF_data_validated,
				   XEN_NETIF_GSO_TYPE_TCPV4, 1448),
			 NETIF_RSP_OKAY);
	rnic_await(&peer, 0, &got);
	assert_int_equal(got.len, 30000);
	assert_memory_equal(got.data, out, 30000);
	assert_int_equal(got.gso, FRAME_GSO_TCP4);
	assert_int_equal(got.gso_size, 1448);
	assert_int_equal(got.extras, 1);
	assert_true(got.csum_blank && got.csum_valid);
	/* no promise about it, or that of its sender */
	assert_int_equal(rnic_send(&nic, 0, out, 1000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	rnic_await(&peer, 0, &got);
	assert_false(got.csum_blank || got.csum_valid || got.gso || got.extras);
	assert_int_equal(rnic_send(&nic, 0, out, 1000, NULL, NETTXF_data_validated, 0, 0), NETIF_RSP_OKAY);
	rnic_await(&peer, 0, &got);
	assert_true(got.csum_valid && !got.csum_blank);
	assert_int_equal(stats()->tx_packets, 3);
	assert_int_equal(stats()->tx_bytes, 32000);
	assert_int_equal(stats()->tx_slots, 8 + 1 + 1 + 1);
	assert_int_equal(stats()->tx_gso, 1);
	assert_int_equal(stats()->tx_csum_blank, 1);
	assert_true(stats()->copy_ops > 0);
	assert_int_equal(peer.stats.queue[0].rx_packets, 3);
	assert_int_equal(peer.stats.queue[0].rx_bytes, 32000);
	assert_true(peer.stats.queue[0].copy_foreign > 0);
	rnic_free(&nic);
	rnic_free(&peer);
}

/* What a stock front end sends: headers, the rest of a page, whole pages.  A copy each, none is cut in two: neither on
 * the way to a port that wants all of it, nor from guest to guest. */
static void pages_stay_pages(void **state)
{
	for (unsigned i = 0; i < 18; i++) {
		unsigned rest = 1 + i / 2 * 511, whole = i % 2;
		unsigned len = 66 + rest + 9 * PVB_PAGE_SIZE + 700, at = 66 + rest;
		uint64_t seed = rest;

		rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
		rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = whole });
		nic.port.does = RPORT_FORWARDS;
		nic.port.to = &peer;
		rig_udp4(out, len, &seed);
		memcpy(rnic_page(&nic, 0) + 130, out, 66);
		memcpy(rnic_page(&nic, 1) + PVB_PAGE_SIZE - rest, out + 66, rest);
		rnic_put(&nic, 0, 0, 130, len, NETTXF_more_data);
		rnic_put(&nic, 0, 1, PVB_PAGE_SIZE - rest, rest, NETTXF_more_data);
		for (unsigned k = 0; k < 10; k++, at += PVB_PAGE_SIZE) {
			unsigned n = k < 9 ? PVB_PAGE_SIZE : 700;

			memcpy(rnic_page(&nic, 2 + k), out + at, n);
			rnic_put(&nic, 0, 2 + k, 0, n, k < 9 ? NETTXF_more_data : 0);
		}
		rnic_push(&nic, 0);
		rnic_tx_await(&nic, 0, 12);
		for (unsigned k = 0; k < 12; k++)
			assert_int_equal(rnic_tx_status(&nic, 0, NULL), NETIF_RSP_OKAY);
		rnic_await(&peer, 0, &got);
		assert_int_equal(got.len, len);
		assert_memory_equal(got.data, out, len);
		assert_in_range(got.slots, (len + 4095) / 4096, (len + 4095) / 4096 + 1);
		if (whole) /* the headers may lie across a page's end */
			assert_in_range(stats()->copy_ops, 12, 13);
		else /* of the whole pages each, of what is before them what is not in the headers' copy */
			assert_in_range(peer.stats.queue[0].copy_foreign, 10, 11);
		rnic_free(&nic);
		rnic_free(&peer);
	}
}

static void only_headers_are_fetched(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 9, ops;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	rig_udp4(out, 9000, &seed);
	ops = live->nr_copy_ops;
	assert_int_equal(rnic_send(&nic, 0, out, 9000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(live->nr_copy_ops - ops, 1);
	assert_true(nic.port.kept->granted);
	assert_int_equal(nic.port.kept->slots, 3);
	assert_memory_equal(nic.port.kept->data, out, FRAME_HDR);
	rnic_free(&nic);
}

/* ---- many ------------------------------------------------------------------------------------------------------ */

static void a_pass_is_one_of_each(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 11, calls, notifies;

	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	nic.port.does = RPORT_FORWARDS;
	nic.port.to = &peer;
	rig_settle(&rig);
	rig_udp4(out, 500, &seed);
	memcpy(rnic_page(&nic, 0), out, 500);
	for (unsigned i = 0; i < NIF_BUDGET; i++)
		rnic_put(&nic, 0, 0, 0, 500, 0);
	calls = live->nr_copy_calls;
	notifies = live->nr_notify;
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, NIF_BUDGET);
	assert_int_equal(live->nr_copy_calls - calls, 2);
	assert_int_equal(live->nr_notify - notifies, 2); /* the sender's ring, and the receiver's */
	assert_int_equal(nic.port.nr_xmit, 1);
	for (unsigned i = 0; i < NIF_BUDGET; i++) {
		assert_int_equal(rnic_tx_status(&nic, 0, NULL), 0);
		assert_true(rnic_receive(&peer, 0, &got));
		assert_memory_equal(got.data, out, 500);
	}
	rnic_free(&nic);
	rnic_free(&peer);
}

static void a_full_ring_goes_by_budgets(void **state)
{
	uint16_t id;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .queues = 2 });
	memset(rnic_page(&nic, 0), 0, 100);
	for (unsigned round = 0; round < 3; round++) {
		nic.port.nr_xmit = nic.port.nr_frames = 0;
		for (unsigned i = 0; i < NIF_RING_SLOTS; i++)
			rnic_put(&nic, 0, 0, 0, 100, 0);
		for (unsigned i = 0; i < 10; i++)
			rnic_put(&nic, 1, 0, 0, 100, 0);
		rnic_push(&nic, 0);
		rnic_push(&nic, 1);
		rnic_tx_await(&nic, 0, NIF_RING_SLOTS);
		rnic_tx_await(&nic, 1, 10);
		assert_true(nic.port.nr_xmit >= 5);
		assert_int_equal(nic.port.nr_frames, NIF_RING_SLOTS + 10);
		for (unsigned i = 0; i < NIF_RING_SLOTS; i++) {
			assert_int_equal(rnic_tx_status(&nic, 0, &id), 0);
			assert_int_equal(id, (uint16_t)(round * 266 + i));
		}
		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(rnic_tx_status(&nic, 1, NULL), 0);
	}
	rnic_free(&nic);
}

static void little_memory_takes_more_passes(void **state)
{
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = true, .queues = 2, .tx_pages = 20 });
	rig.ctx->arena_size = 140000; /* two large frames */
	rig_udp4(out, 60000, &seed);
	for (unsigned q = 0; q < 2; q++) {
		for (unsigned k = 0; k < 13; k++)
			for (unsigned i = 0; i < 15; i++) {
				unsigned n = i == 14 ? 60000 - 14 * 4096 : 4096;

				memcpy(rnic_page(&nic, i), out + i * 4096, n);
				rnic_put(&nic, q, i, 0, i ? n : 60000, i < 14 ? NETTXF_more_data : 0);
			}
		rnic_push(&nic, q);
	}
	rnic_tx_await(&nic, 0, 13 * 15);
	rnic_tx_await(&nic, 1, 13 * 15);
	assert_int_equal(nic.port.nr_kept, 26);
	assert_memory_equal(nic.port.kept->data, out, 60000);
	assert_int_equal(nic.nr_refused, 0);
	rig.ctx->arena_size = 4 << 20;
	rnic_free(&nic);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void held_packets_keep_their_place(void **state)
{
	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	nic.port.does = RPORT_HOLDS;
	nic.port.hold_after = 3;
	memset(rnic_page(&nic, 0), 0, 100);
	for (unsigned i = 0; i < 10; i++)
		rnic_put(&nic, 0, 0, 0, 100, 0);
	rnic_put(&nic, 0, 0, 0, 5, 0); /* refused, but not before its turn */
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, 3);
	rig_settle(&rig);
	assert_int_equal(rnic_tx_unread(&nic, 0), 3);
	assert_int_equal(nic.port.nr_xmit, 1); /* not tried again and again */
	assert_int_equal(stats()->tx_held, 1);
	nic.port.hold_after = 2;
	nif_ctx_retry(rig.ctx);
	rnic_tx_await(&nic, 0, 5);
	rig_settle(&rig);
	assert_int_equal(rnic_tx_unread(&nic, 0), 5);
	nic.port.does = RPORT_KEEPS;
	nif_ctx_retry(rig.ctx);
	rnic_tx_await(&nic, 0, 11);
	for (unsigned i = 0; i < 11; i++) {
		uint16_t id;

		assert_int_equal(rnic_tx_status(&nic, 0, &id), i < 10 ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
		assert_int_equal(id, i);
	}
	/* and in the middle of it the guest may go */
	nic.port.does = RPORT_HOLDS;
	rnic_put(&nic, 0, 0, 0, 100, 0);
	rnic_push(&nic, 0);
	rig_settle(&rig);
	rnic_free(&nic);
}

static void a_packet_in_two_pushes(void **state)
{
	uint64_t seed = 2;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .whole = true });
	rig_udp4(out, 5000, &seed);
	memcpy(rnic_page(&nic, 0), out, 4096);
	memcpy(rnic_page(&nic, 1), out + 4096, 904);
	for (unsigned i = 0; i < 50; i++) {
		rnic_put(&nic, 0, 0, 0, 5000, NETTXF_more_data);
		rnic_push(&nic, 0);
		for (unsigned k = 0; k < 3; k++)
			honest(&rig);
		assert_int_equal(rnic_tx_unread(&nic, 0), 0);
		rnic_put(&nic, 0, 1, 0, 904, 0);
		rnic_push(&nic, 0);
		rnic_tx_await(&nic, 0, 2);
		assert_int_equal(rnic_tx_status(&nic, 0, NULL), 0);
		assert_int_equal(rnic_tx_status(&nic, 0, NULL), 0);
		assert_memory_equal(nic.port.kept->data, out, 5000);
	}
	assert_int_equal(nic.nr_refused, 0);
	rnic_free(&nic);
}

/* What no driver does costs who does it: more refused packets than NIF_REFUSALS in a second wait. */
static void refusals_are_bounded(void **state)
{
	unsigned burst = NIF_REFUSALS + NIF_BUDGET, done = 0, more = 400;
	uint64_t t;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	t = pvb_now_ms();
	for (unsigned n; done < burst + more; done += n) {
		n = burst + more - done < 64 ? burst + more - done : 64;
		for (unsigned i = 0; i < n; i++)
			rnic_put(&nic, 0, 0, 0, 5, 0); /* shorter than a header */
		rnic_push(&nic, 0);
		rnic_tx_await(&nic, 0, done + n);
	}
	t = pvb_now_ms() - t;
	assert_int_equal(nic.stats.queue[0].tx_bad, burst + more);
	assert_true(nic.stats.queue[0].tx_throttled > 0);
	assert_true(t >= (burst + more - NIF_REFUSALS - 2 * NIF_BUDGET) * 1000 / NIF_REFUSALS);
	/* and then an honest packet goes at once */
	memset(rnic_page(&nic, 0), 0, 1000);
	rnic_put(&nic, 0, 0, 0, 1000, 0);
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, burst + more + 1);
	assert_int_equal(nic.stats.queue[0].tx_packets, 1);
	rnic_free(&nic);
}

static void one_rate_for_all_queues(void **state)
{
	struct nif_config cfg = { .tx = { .bytes = 100000, .usecs = 10000 } }; /* 10 MB/s, a burst of 100 kB */
	uint64_t t, bytes = 2 * 200 * 1000;
	unsigned kicked = 0;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .queues = 2, .cfg = &cfg });
	memset(rnic_page(&nic, 0), 0, 1000);
	t = pvb_now_ms();
	for (unsigned q = 0; q < 2; q++) {
		for (unsigned i = 0; i < 200; i++)
			rnic_put(&nic, q, 0, 0, 1000, 0);
		rnic_push(&nic, q);
	}
	rnic_tx_await(&nic, 0, 200);
	rnic_tx_await(&nic, 1, 200);
	t = pvb_now_ms() - t;
	assert_true(t >= (bytes - 100000) / 10000 - 2);
	assert_true(nic.stats.queue[0].tx_throttled + nic.stats.queue[1].tx_throttled > 0);
	/* and changed while it waits */
	nif_set_rate(nic.nif, &(struct nif_rate){ 1, 1000000 }, &(struct nif_rate){ 0 });
	for (unsigned i = 0; i < 100; i++)
		rnic_put(&nic, 0, 0, 0, 1000, 0);
	rnic_push(&nic, 0);
	rig_settle(&rig);
	kicked = rnic_tx_unread(&nic, 0);
	assert_true(kicked < 300);
	nif_set_rate(nic.nif, &(struct nif_rate){ 0 }, &(struct nif_rate){ 0 });
	rnic_tx_await(&nic, 0, 300);
	rnic_free(&nic);
}

/* ---- refused --------------------------------------------------------------------------------------------------- */

static void refused(const char *why)
{
	unsigned nr = nic.q[0].tx.prod - nic.q[0].tx.cons, errors = 0;

	nic.refused[0] = '\0';
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, nr);
	for (unsigned i = 0; i < nr; i++) {
		int status = rnic_tx_status(&nic, 0, NULL);

		assert_true(status == NETIF_RSP_ERROR || status == NETIF_RSP_NULL);
		errors += status == NETIF_RSP_ERROR;
	}
	assert_true(errors > 0);
	said(why);
	assert_int_equal(nic.port.nr_kept, 0);
	assert_int_equal(nic.nr_broken, 0);
	honest(&rig);
}

static void nonsense_is_refused(void **state)
{
	struct netif_tx_request r = { .gref = 0x3fffffff, .size = 100 };
	uint8_t extra[12] = { XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_FLAG_MORE };

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	rnic_put(&nic, 0, 0, 0, 0, 0);
	refused("a packet of 0 bytes, at least 14");
	rnic_put(&nic, 0, 0, 0, 13, 0);
	refused("a packet of 13 bytes, at least 14");
	rnic_put(&nic, 0, 0, 4000, 97, 0);
	refused("97 bytes at 4000 do not fit a page");
	rnic_put(&nic, 0, 0, 0xffff, 0xffff, 0);
	refused("65535 bytes at 65535 do not fit a page");
	rnic_put(&nic, 0, 0, 0, 4097, 0);
	refused("4097 bytes at 0 do not fit a page");
	rnic_put(&nic, 0, 0, 0, 1000, NETTXF_more_data);
	rnic_put(&nic, 0, 0, 0, 1001, 0);
	refused("a slot of 1001 bytes where 1000 of 1000 are left");
	rnic_put(&nic, 0, 0, 0, 1000, NETTXF_more_data);
	rnic_put(&nic, 0, 0, 4000, 100, 0);
	refused("100 bytes at 4000 do not fit a page");
	for (unsigned i = 0; i < 19; i++)
		rnic_put(&nic, 0, 0, 0, i ? 10 : 1000, i < 18 ? NETTXF_more_data : 0);
	refused("a packet in 19 slots, at most 18");
	for (unsigned i = 0; i < 250; i++)
		rnic_put(&nic, 0, 0, 0, i ? 1 : 1000, i < 249 ? NETTXF_more_data : 0);
	refused("a packet in 250 slots, at most 18");
	rnic_put_raw(&nic, 0, &r);
	refused("grant 1073741823: copy failed with status");
	r.gref = UINT32_MAX;
	rnic_put_raw(&nic, 0, &r);
	refused("grant 4294967295: copy failed with status");
	rnic_put(&nic, 0, 0, 0, 100, NETTXF_extra_info);
	rnic_put_gso(&nic, 0, XEN_NETIF_GSO_TYPE_TCPV4, 0, false);
	refused("GSO of type 1 with packets of 0 bytes");
	rnic_put(&nic, 0, 0, 0, 100, NETTXF_extra_info);
	rnic_put_gso(&nic, 0, 3, 1448, false);
	refused("GSO of type 3 with packets of 1448 bytes");
	for (unsigned nr = 5; nr < 250; nr += 60) {
		rnic_put(&nic, 0, 0, 0, 100, NETTXF_extra_info);
		for (unsigned i = 0; i < nr; i++) {
			extra[1] = i + 1 < nr;
			rnic_put_raw(&nic, 0, extra);
		}
		refused("extra infos, at most 4");
	}
	memset(rnic_page(&nic, 0), 0xff, 100);
	rnic_put(&nic, 0, 0, 0, 100, NETTXF_csum_blank);
	refused("queue 0: ");
	assert_int_equal(stats()->tx_bad, nic.nr_refused);
	/* and the device is as good as ever */
	rnic_put(&nic, 0, 0, 0, 100, 0);
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, 1);
	assert_int_equal(rnic_tx_status(&nic, 0, NULL), 0);
	assert_int_equal(nic.port.nr_kept, 1);
	rnic_free(&nic);
}

static void a_spoofed_source_is_dropped(void **state)
{
	struct nif_config cfg = { .mac = { 0, 0x16, 0x3e, 0, 0, 1 }, .spoof_mac = true };
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .cfg = &cfg });
	rig_udp4(out, 100, &seed);
	assert_int_equal(rnic_send(&nic, 0, out, 100, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(nic.port.nr_kept, 1);
	out[11] = 2;
	assert_int_equal(rnic_send(&nic, 0, out, 100, NULL, 0, 0, 0), NETIF_RSP_DROPPED);
	assert_int_equal(nic.port.nr_kept, 1);
	assert_int_equal(nic.nr_refused, 1);
	assert_int_equal(stats()->tx_dropped_spoof, 1);
	rnic_free(&nic);
}

static void what_a_port_drops(void **state)
{
	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	nic.port.does = RPORT_DROPS;
	memset(out, 0, 100);
	assert_int_equal(rnic_send(&nic, 0, out, 100, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(stats()->tx_dropped_port, 1);
	assert_int_equal(stats()->tx_packets, 0);
	rnic_free(&nic);
}

/* ---- one fetch ------------------------------------------------------------------------------------------------- */

static void a_slot_is_read_once(void **state)
{
#if TRAP_WORKS
	unsigned count;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	memset(rnic_page(&nic, 0), 0, 100);
	rig_settle(&rig);
	rnic_put(&nic, 0, 0, 0, 150, NETTXF_more_data | NETTXF_extra_info);
	rnic_put_gso(&nic, 0, 9, 9, false);
	rnic_put(&nic, 0, 0, 0, 50, 0);
	trap_arm((uint8_t *)nic.nif->queues[0].tx.map.addr, PVB_PAGE_SIZE, PROT_NONE, NULL, NULL);
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, 3);
	count = trap_disarm();
	/* Each word of 3 slots once as request and once as answer.  Indices: req_prod by the handler of the event,
	 * before and after; req_event; rsp_prod; rsp_event. */
	assert_in_range(count, 3 * 3 * 2 + 3, 3 * 3 * 2 + 8);
	rnic_free(&nic);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_to_port_to_guest),
		cmocka_unit_test(any_cut),
		cmocka_unit_test(offloads_pass),
		cmocka_unit_test(pages_stay_pages),
		cmocka_unit_test(only_headers_are_fetched),
		cmocka_unit_test(a_pass_is_one_of_each),
		cmocka_unit_test(a_full_ring_goes_by_budgets),
		cmocka_unit_test(little_memory_takes_more_passes),
		cmocka_unit_test(held_packets_keep_their_place),
		cmocka_unit_test(a_packet_in_two_pushes),
		cmocka_unit_test(refusals_are_bounded), cmocka_unit_test(one_rate_for_all_queues),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(a_spoofed_source_is_dropped),
		cmocka_unit_test(what_a_port_drops),
		cmocka_unit_test(a_slot_is_read_once),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
