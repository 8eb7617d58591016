// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames into the RX ring: how they lie in the guest's buffers, and what happens when these run out. */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include "net-rig.h"

static struct rig rig;
static struct rnic nic, peer;
static uint8_t area[3 * 65536] __attribute__((aligned(4096)));
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

static const struct nif_queue_stats *stats(void)
{
	return &nic.stats.queue[0];
}

/* A frame of random bytes at any place. */
static void make(struct frame *f, unsigned offset, unsigned len, uint64_t *seed)
{
	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < len; i++)
		area[offset + i] = (uint8_t)rnd(seed);
	area[offset] &= 0xfe; /* no group address */
	area[offset + 12] = 0x12;
	frame_local(f, area + offset, len);
}

static void without_buffers(const struct rnic_options *opt)
{
	struct pvb_error err = { 0 };
	struct nif_connect c;

	rnic_new(&rig, &nic, opt);
	rnic_rings(&nic);
	rnic_describe(&nic, &c);
	if (rnic_attach(&nic, &c, &err) < 0)
		fail_msg("%s", err.text);
}

/* ---- room enough ------------------------------------------------------------------------------------------------ */

static void from_anywhere(void **state)
{
	uint64_t seed = 1;
	struct frame f;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	for (unsigned i = 0; i < 600; i++) {
		unsigned len = i < 20 ? 14 + i : 14 + rnd(&seed) % (65535 - 13), offset = rnd(&seed) % 8192;

		make(&f, offset, len, &seed);
		assert_int_equal(rport_deliver(&nic, i, &f), FRAME_SENT);
		assert_true(rnic_receive(&nic, 0, &got));
		assert_int_equal(got.len, len);
		assert_int_equal(got.slots, (len + 4095) / 4096);
		assert_memory_equal(got.data, area + offset, len);
		rnic_post(&nic, 0, got.slots);
	}
	rnic_free(&nic);
}

/* A header in front of pieces that have a part of it as well, as a switch makes them. */
static void in_pieces(void **state)
{
	uint64_t seed = 4;
	struct frame f;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	for (unsigned i = 0; i < 600; i++) {
		unsigned nr = 1 + rnd(&seed) % FRAME_MAX_SEGS, at = 0;

		make(&f, 0, 20000, &seed);
		f.hdr = area + 100000 + rnd(&seed) % 5000;
		f.len = 0;
		for (f.nr_segs = 0; f.nr_segs < nr; f.nr_segs++) {
			unsigned len = rnd(&seed) % 3 ? rnd(&seed) % 30 : rnd(&seed) % 1000;

			f.seg[f.nr_segs] = (struct frame_seg){ .local = area + at, .len = len + (f.nr_segs == 0) * 14 };
			at += f.seg[f.nr_segs].len;
		}
		f.len = at;
		f.hdr_len = (uint16_t)(at < FRAME_HDR ? at : FRAME_HDR);
		for (unsigned k = 0; k < f.hdr_len; k++)
			f.hdr[k] = (uint8_t)~area[k];
		f.hdr[0] &= 0xfe;
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
		assert_true(rnic_receive(&nic, 0, &got));
		assert_int_equal(got.len, at);
		assert_memory_equal(got.data, f.hdr, f.hdr_len); /* the private copy, not what the pieces say */
		assert_memory_equal(got.data + f.hdr_len, area + f.hdr_len, at - f.hdr_len);
		rnic_post(&nic, 0, got.slots);
	}
	rnic_free(&nic);
}

static void gso_needs_a_slot_more(void **state)
{
	uint64_t seed = 2;
	struct frame f;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	for (unsigned i = 0; i < 100; i++) {
		unsigned len = 100 + rnd(&seed) % 60000;

		make(&f, 0, len, &seed);
		f.gso = i % 2 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
		f.gso_size = (uint16_t)(500 + i);
		f.csum_blank = true;
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
		assert_true(rnic_receive(&nic, 0, &got));
		assert_memory_equal(got.data, area, len);
		assert_int_equal(got.len, len);
		assert_int_equal(got.gso, f.gso);
		assert_int_equal(got.gso_size, f.gso_size);
		assert_true(got.csum_blank && got.csum_valid && got.extras == 1);
		rnic_post(&nic, 0, got.slots + 1);
	}
	assert_int_equal(stats()->rx_gso, 100);
	rnic_free(&nic);
}

static void not_for_this_guest(void **state)
{
	uint64_t seed = 2;
	struct frame f;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .no_sg = true, .no_gso = true, .no_csum = true });
	make(&f, 0, 4096, &seed);
	assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
	make(&f, 0, 4097, &seed);
	assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
	make(&f, 0, 1000, &seed);
	f.csum_blank = true;
	assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
	f.gso = FRAME_GSO_TCP4;
	assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
	assert_int_equal(stats()->rx_dropped_size, 3);
	assert_int_equal(stats()->rx_packets, 1);
	assert_false(nic.port.offers.sg || nic.port.offers.gso4 || nic.port.offers.csum6);
	rnic_free(&nic);
}

static void a_rate_drops(void **state)
{
	struct nif_config cfg = { .rx = { .bytes = 10000, .usecs = 1000000 } };
	unsigned sent = 0;
	struct frame f;
	uint64_t seed = 2;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .cfg = &cfg });
	make(&f, 0, 1000, &seed);
	for (unsigned i = 0; i < 100; i++)
		sent += rport_deliver(&nic, 0, &f) == FRAME_SENT;
	assert_in_range(sent, 10, 90); /* and one more each 100 ms */
	assert_int_equal(stats()->rx_dropped_rate, 100 - sent);
	rnic_free(&nic);
}

/* ---- too few ----------------------------------------------------------------------------------------------------- */

static void four_slots_are_enough(void **state)
{
	uint64_t seed = 2;
	struct frame f;

	without_buffers(&(struct rnic_options){ .no_gso = true }); /* iPXE */
	rnic_post(&nic, 0, 4);
	for (unsigned i = 0; i < 100; i++) {
		make(&f, i, 1514, &seed);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_HELD);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_HELD);
		for (unsigned k = 0; k < 4; k++)
			assert_true(rnic_receive(&nic, 0, &got));
		nic.port.nr_room = 0;
		rnic_post(&nic, 0, 4);
		while (nic.port.nr_room == 0)
			rig_pump(&rig, 10);
		assert_int_equal(nic.port.nr_room, 1);
	}
	assert_int_equal(stats()->rx_no_room, 100);
	assert_int_equal(stats()->rx_dropped_stall, 0);
	rnic_free(&nic);
}

/* XSA-392: enough for some, but never for the next one. */
static void never_enough_for_a_large_one(void **state)
{
	struct frame large, small;
	uint64_t seed = 2, t;

	without_buffers(&(struct rnic_options){ 0 });
	rnic_post(&nic, 0, 4);
	make(&large, 0, 60000, &seed);
	large.gso = FRAME_GSO_TCP4;
	large.csum_blank = true;
	make(&small, 100000, 100, &seed);
	assert_int_equal(rport_deliver(&nic, 0, &large), FRAME_HELD);
	assert_int_equal(rport_deliver(&nic, 0, &small), FRAME_HELD); /* in order */
	t = pvb_now_ms();
	while (nic.port.nr_room == 0)
		rig_pump(&rig, 5);
	assert_in_range(pvb_now_ms() - t, NIF_STALL_MS - 2, RIG_WAIT_MS);
	assert_int_equal(rport_deliver(&nic, 0, &large), FRAME_DROPPED);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rport_deliver(&nic, 0, &small), FRAME_SENT);
		assert_int_equal(rport_deliver(&nic, 0, &large), FRAME_DROPPED);
	}
	assert_int_equal(rport_deliver(&nic, 0, &small), FRAME_DROPPED);
	assert_int_equal(stats()->rx_no_room, 1);
	assert_int_equal(stats()->rx_dropped_stall, 6);
	/* four more: still too few for the one that stalled it, yet the small ones go on */
	rnic_post(&nic, 0, 4);
	rig_settle(&rig);
	assert_int_equal(rport_deliver(&nic, 0, &small), FRAME_SENT);
	assert_int_equal(rport_deliver(&nic, 0, &large), FRAME_DROPPED);
	rnic_post(&nic, 0, 20);
	rig_settle(&rig);
	assert_int_equal(rport_deliver(&nic, 0, &large), FRAME_SENT);
	assert_int_equal(nic.nr_stalled, 0);
	rnic_free(&nic);
}

static void a_sender_waits_once(void **state)
{
	uint64_t seed = 1, t;

	without_buffers(&(struct rnic_options){ 0 });
	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	peer.port.does = RPORT_FORWARDS;
	peer.port.to = &nic;
	rig_udp4(area, 1000, &seed);
	memcpy(rnic_page(&peer, 0), area, 1000);
	for (unsigned round = 0; round < 4; round++) {
		t = pvb_now_ms();
		for (unsigned i = 0; i < NIF_RING_SLOTS; i++)
			rnic_put(&peer, 0, 0, 0, 1000, 0);
		rnic_push(&peer, 0);
		rnic_tx_await(&peer, 0, NIF_RING_SLOTS);
		for (unsigned i = 0; i < NIF_RING_SLOTS; i++)
			assert_int_equal(rnic_tx_status(&peer, 0, NULL), NETIF_RSP_OKAY);
		t = pvb_now_ms() - t;
		if (round == 0)
			assert_in_range(t, NIF_STALL_MS - 2, RIG_WAIT_MS);
	}
	assert_int_equal(peer.stats.queue[0].tx_held, 1);
	assert_int_equal(peer.stats.queue[0].tx_dropped_port, 4 * NIF_RING_SLOTS);
	assert_int_equal(stats()->rx_dropped_stall, 4 * NIF_RING_SLOTS);
	/* and none is lost if the guest takes them in time */
	rnic_post(&nic, 0, 10);
	for (unsigned i = 0; i < 100; i++)
		rnic_put(&peer, 0, 0, 0, 1000, 0);
	rnic_push(&peer, 0);
	for (unsigned i = 0; i < 100; i++) {
		rnic_await(&nic, 0, &got);
		assert_int_equal(got.len, 1000);
		if (i % 5 == 4)
			rnic_post(&nic, 0, 5);
	}
	rnic_tx_await(&peer, 0, 100);
	assert_int_equal(stats()->rx_dropped_stall, 4 * NIF_RING_SLOTS);
	rnic_free(&peer);
	rnic_free(&nic);
}

static void no_rx_notify(void **state)
{
	struct frame f;
	uint64_t seed = 1, until = pvb_now_ms() + RIG_WAIT_MS;

	without_buffers(&(struct rnic_options){ .no_rx_notify = true });
	make(&f, 0, 100, &seed);
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = nic.port.nr_room;

		if (rport_deliver(&nic, 0, &f) != FRAME_HELD)
			continue; /* a slow machine: it has stalled */
		rnic_post(&nic, 0, 1); /* says nothing */
		while (nic.port.nr_room == before && pvb_now_ms() < until)
			rig_pump(&rig, 5);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
	}
	assert_int_equal(pvb_event_stats(nic.nif->queues[0].rx.event)->received, 1); /* the one at bind */
	rnic_free(&nic);
}

static void the_carrier(void **state)
{
	struct frame f;
	uint64_t seed = 1;

	for (unsigned quiet = 0; quiet < 2; quiet++) {
		without_buffers(&(struct rnic_options){ .no_rx_notify = quiet });
		make(&f, 0, 100, &seed);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_HELD);
		while (!nic.nif->queues[0].rx.stalled)
			rig_pump(&rig, 5);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
		assert_int_equal(nic.nr_stalled, 0);
		nic.nif->queues[0].rx.since -= NIF_CARRIER_MS; /* a minute later */
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_DROPPED);
		assert_int_equal(nic.nr_stalled, 1);
		assert_true(nic.stalled && nic.port.nr_carrier == 1);
		rnic_post(&nic, 0, 4); /* nobody sends any more: it is found all the same */
		while (nic.stalled)
			rig_pump(&rig, 100);
		assert_int_equal(nic.port.nr_carrier, 2);
		assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
		rnic_free(&nic);
	}
}

/* ---- what can not be written ----------------------------------------------------------------------------------- */

static void a_buffer_that_is_none(void **state)
{
	struct frame f;
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	for (unsigned bad = 0; bad < 4; bad++) {
		for (unsigned gso = 0; gso < 2; gso++) {
			uint32_t at = nic.q[0].rx.cons & 255, ref = 0x3fffffff;

			/* the bad one in the middle of a frame of three; with GSO the second is the extra info's */
			memcpy(nic.q[0].rx.slots + ((at + bad) & 255) * 8 + 4, &ref, 4);
			make(&f, 0, 10000, &seed);
			f.gso = gso ? FRAME_GSO_TCP4 : FRAME_GSO_NONE;
			assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
			assert_true(rnic_receive(&nic, 0, &got));
			assert_int_equal(got.slots, 3);
			assert_int_equal(got.extras, gso);
			assert_int_equal(got.status, bad == (gso ? 1 : 3) ? 0 : NETIF_RSP_ERROR);
			if (bad == 3 && !gso) { /* used up by the next frame */
				assert_int_equal(rport_deliver(&nic, 0, &f), FRAME_SENT);
				assert_true(rnic_receive(&nic, 0, &got));
				assert_int_equal(got.status, NETIF_RSP_ERROR);
				rnic_post(&nic, 0, 3);
			}
			rnic_post(&nic, 0, 3 + gso);
		}
	}
	assert_int_equal(stats()->rx_errors, 7);
	assert_int_equal(stats()->rx_packets + stats()->rx_errors, 9);
	assert_int_equal(stats()->rx_bytes, stats()->rx_packets * 10000);
	rnic_free(&nic);
}

/* A copy between two guests fails: who is to blame? */
static void a_sender_that_grants_nothing(void **state)
{
	struct pvb_grant gone;
	uint64_t seed = 1;
	uint32_t ref;

	rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
	rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
	peer.port.does = RPORT_FORWARDS;
	peer.port.to = &nic;
	assert_int_equal(pvb_hv_grant(peer.hv, 0, 1, true, &gone), 0);
	ref = gone.refs[0];
	assert_int_equal(pvb_hv_ungrant(peer.hv, &gone), 0);
	rig_udp4(area, 2000, &seed);
	for (unsigned bad = 0; bad < 2; bad++) {
		struct netif_tx_request tail = { .gref = bad ? ref : rnic_gref(&peer, 1), .id = 9, .size = 1000 };

		memcpy(rnic_page(&peer, 0), area, 1000);
		memcpy(rnic_page(&peer, 1), area + 1000, 1000);
		if (!bad) { /* the receiver's turn */
			uint32_t none = 0x3fffffff;

			memcpy(nic.q[0].rx.slots + (nic.q[0].rx.cons & 255) * 8 + 4, &none, 4);
		}
		rnic_put(&peer, 0, 0, 0, 2000, NETTXF_more_data);
		rnic_put_raw(&peer, 0, &tail);
		rnic_push(&peer, 0);
		rnic_tx_await(&peer, 0, 2);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(rnic_tx_status(&peer, 0, NULL), bad ? NETIF_RSP_ERROR : NETIF_RSP_OKAY);
		assert_true(rnic_receive(&nic, 0, &got));
		assert_int_equal(got.status, NETIF_RSP_ERROR);
	}
	if (strstr(peer.refused, "can not be copied from") == NULL)
		fail_msg("%s", peer.refused);
	if (strstr(nic.refused, "RX buffer's grant 1073741823: copy failed with status") == NULL)
		fail_msg("%s", nic.refused);
	assert_int_equal(peer.stats.queue[0].tx_bad, 1);
	rnic_free(&nic);
	rnic_free(&peer);
}

static void one_copy_call_for_a_burst(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 1, calls, notifies;
	struct frame f[8];

	rnic_connect(&rig, &nic, &(struct rnic_options){ .queues = 4 });
	rig_settle(&rig);
	calls = live->nr_copy_calls;
	notifies = live->nr_notify;
	for (unsigned i = 0; i < 8; i++) {
		make(&f[i], i * 2000, 1514, &seed);
		assert_int_equal(port_deliver(&nic.port.port, i, &f[i]), FRAME_SENT);
	}
	assert_int_equal(rnic_rx_unread(&nic, 0), 0);
	nif_ctx_flush(rig.ctx);
	assert_int_equal(live->nr_copy_calls - calls, 1);
	assert_int_equal(live->nr_notify - notifies, 4);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(rnic_receive(&nic, i % 4, &got));
		assert_memory_equal(got.data, area + i * 2000, 1514);
	}
	/* and more than a batch of copies holds */
	for (unsigned i = 0; i < 4 * 200; i++) {
		make(&f[0], 0, 60, &seed);
		f[0].nr_segs = 15;
		for (unsigned k = 0; k < 15; k++)
			f[0].seg[k] = (struct frame_seg){ .local = area + 4 * k, .len = 4 };
		f[0].hdr_len = 14;
		assert_int_equal(port_deliver(&nic.port.port, i, &f[0]), FRAME_SENT);
	}
	nif_ctx_flush(rig.ctx);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rnic_rx_unread(&nic, i), 200);
	rnic_free(&nic);
}

/* ---- multicast ------------------------------------------------------------------------------------------------- */

static enum frame_verdict group(const uint8_t *mac)
{
	struct frame f;

	memset(area, 0, 100);
	memcpy(area, mac, 6);
	area[12] = 0x12;
	memset(&f, 0, sizeof(f));
	frame_local(&f, area, 100);
	return rport_deliver(&nic, 0, &f);
}

static int mcast(const uint8_t *mac, bool add)
{
	int status;

	rnic_put_mcast(&nic, 0, mac, add);
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, 2);
	status = rnic_tx_status(&nic, 0, NULL);
	assert_int_equal(rnic_tx_status(&nic, 0, NULL), NETIF_RSP_NULL);
	return status;
}

static void the_multicast_list(void **state)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 }, station[6] = { 2 };
	uint8_t mac[6] = { 1, 0, 0x5e, 0, 0, 0 };

	rnic_connect(&rig, &nic, &(struct rnic_options){ .multicast = true });
	assert_int_equal(group(mac), FRAME_DROPPED);
	assert_int_equal(group(all), FRAME_SENT);
	assert_int_equal(group(station), FRAME_SENT);
	for (unsigned i = 0; i < NIF_MAX_MCAST; i++) {
		mac[5] = (uint8_t)i;
		assert_int_equal(mcast(mac, true), NETIF_RSP_OKAY);
		assert_int_equal(mcast(mac, true), NETIF_RSP_OKAY); /* twice is once */
		assert_int_equal(group(mac), FRAME_SENT);
		rnic_post(&nic, 0, 1);
	}
	assert_int_equal(nic.stats.mcast_entries, NIF_MAX_MCAST);
	mac[5] = 200;
	assert_int_equal(mcast(mac, true), NETIF_RSP_ERROR);
	assert_non_null(strstr(nic.refused, "more than 64 multicast addresses"));
	assert_int_equal(group(mac), FRAME_DROPPED);
	assert_int_equal(mcast(station, true), NETIF_RSP_ERROR);
	assert_non_null(strstr(nic.refused, "no multicast address"));
	assert_int_equal(mcast(mac, false), NETIF_RSP_OKAY);
	for (unsigned i = 0; i < NIF_MAX_MCAST; i += 2) {
		mac[5] = (uint8_t)i;
		assert_int_equal(mcast(mac, false), NETIF_RSP_OKAY);
	}
	for (unsigned i = 0; i < NIF_MAX_MCAST; i++) {
		mac[5] = (uint8_t)i;
		assert_int_equal(group(mac), i % 2 ? FRAME_SENT : FRAME_DROPPED);
	}
	mac[5] = 200;
	nif_set_multicast_control(nic.nif, false);
	assert_int_equal(group(mac), FRAME_SENT);
	nif_set_multicast_control(nic.nif, true);
	assert_int_equal(group(mac), FRAME_DROPPED);
	assert_int_equal(nic.port.nr_frames, 0); /* no frames were these */
	rnic_free(&nic);
}

/* ---- connecting ------------------------------------------------------------------------------------------------ */

static void every_failure_leaves_nothing(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	struct pvb_hv_live before = *live;
	struct nif_connect c;
	struct pvb_error err;
	unsigned n;

	rnic_new(&rig, &nic, &(struct rnic_options){ .queues = 3, .ctrl = true });
	rnic_rings(&nic);
	rnic_describe(&nic, &c);
	for (unsigned op = 0; op < 2; op++) {
		for (n = 0; n < 20; n++) {
			err.text[0] = '\0';
			pvb_hv_fault(rig.hv, op ? PVB_FAULT_BIND : PVB_FAULT_MAP, n, 1, -ENOMEM);
			if (rnic_attach(&nic, &c, &err) == 0)
				break;
			assert_int_equal(err.code, -ENOMEM);
			assert_non_null(strstr(err.text, op ? "event channel" : "ring, grant"));
			assert_int_equal(live->maps, before.maps);
			assert_int_equal(live->ports, before.ports);
			assert_false(nic.port.connected);
			assert_false(nif_connected(nic.nif));
			honest(&rig);
		}
		pvb_hv_fault(rig.hv, op ? PVB_FAULT_BIND : PVB_FAULT_MAP, 0, 0, 0);
		assert_int_equal(n, 7); /* three times two, and the control ring's */
		nif_disconnect(nic.nif);
		assert_int_equal(live->maps, before.maps);
	}
	c.queue[1].rx_ref = 0x3fffffff;
	assert_true(rnic_attach(&nic, &c, &err) < 0);
	assert_non_null(strstr(err.text, "queue 1: RX ring, grant 1073741823"));
	rnic_describe(&nic, &c);
	c.queue[2].tx_port += 1000;
	assert_true(rnic_attach(&nic, &c, &err) < 0);
	assert_non_null(strstr(err.text, "queue 2: event channel"));
	rnic_describe(&nic, &c);
	nic.q[0].tx.sh->req_prod += 257;
	assert_int_equal(rnic_attach(&nic, &c, &err), -EPROTO);
	assert_non_null(strstr(err.text, "the TX ring begins with 257 requests, it has 256 slots"));
	nic.q[0].tx.sh->req_prod -= 257;
	for (unsigned nr = 0; nr < 10; nr += 9) {
		c.nr_queues = nr;
		assert_int_equal(nif_connect(nic.nif, &c, nic.journals, &err), -EINVAL);
	}
	rnic_describe(&nic, &c);
	assert_int_equal(rnic_attach(&nic, &c, &err), 0);
	assert_int_equal(nif_connect(nic.nif, &c, nic.journals, &err), -EISCONN);
	for (unsigned i = 0; i < 20; i++) { /* iPXE, then the OS, then its module again */
		rnic_disconnect(&nic);
		nic.start = (uint32_t)rnd(&rig.seed);
		rnic_rings(&nic);
		rnic_describe(&nic, &c);
		assert_int_equal(rnic_attach(&nic, &c, &err), 0);
		rnic_post(&nic, 2, 5);
		memset(rnic_page(&nic, 0), 0, 100);
		rnic_put(&nic, 1, 0, 0, 100, 0);
		rnic_push(&nic, 1);
		rnic_tx_await(&nic, 1, 1);
		assert_int_equal(rnic_tx_status(&nic, 1, NULL), 0);
	}
	rnic_free(&nic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_anywhere),
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(gso_needs_a_slot_more),
		cmocka_unit_test(not_for_this_guest),
		cmocka_unit_test(a_rate_drops),
		cmocka_unit_test(four_slots_are_enough),
		cmocka_unit_test(never_enough_for_a_large_one),
		cmocka_unit_test(a_sender_waits_once),
		cmocka_unit_test(no_rx_notify),
		cmocka_unit_test(the_carrier),
		cmocka_unit_test(a_buffer_that_is_none),
		cmocka_unit_test(a_sender_that_grants_nothing),
		cmocka_unit_test(one_copy_call_for_a_burst),
		cmocka_unit_test(the_multicast_list),
		cmocka_unit_test(every_failure_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
