/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests on a switch, with the real protocol between them: rings, grants, copies on the local fabric. */
#include "tests/net-frames.h"
#include <errno.h>
#include <stdio.h>
#include "backend/target.h"
#include "tests/net-rig.h"

static struct rig rig;
static struct rnic guest[3];
static uint8_t buf[70000];
static struct rgot got;

/* The rig's NIC on another port than the rig's own. */
static void guest_new(unsigned id, const char *text, const struct rnic_options *opt)
{
	struct port_nic nic = { .domid = id, .ifname = "", .mtu = 1500, .queues = 1 };
	struct pvb_error err = { .text = "" };
	struct rnic *n = &guest[id - 1];
	int fds[PORT_MAX_FDS];
	struct nif_connect c;
	struct port *top = NULL;
	struct target *t;
	unsigned nr;

	memcpy(nic.mac, mac_of((uint8_t)id).a, 6);
	rnic_new(&rig, n, opt);
	if (port_parse(text, &t, &err) || port_prepare(t, &nic, fds, &nr, &err) ||
	    port_open(t, &nic, fds, nr, rig.ctx, &top, &err))
		fail_msg("%s", err.text);
	target_free(t);
	n->nif->port = top;
	for (struct port *p = top; p; p = p->below)
		p->nif = n->nif;
	rnic_rings(n);
	rnic_describe(n, &c);
	if (rnic_attach(n, &c, &err))
		fail_msg("%s", err.text);
}

static void guest_full(unsigned id, const char *text, const struct rnic_options *opt)
{
	guest_new(id, text, opt);
	rnic_post(&guest[id - 1], 0, NIF_RING_SLOTS);
}

static int set_up(void **state)
{
	rig_new(&rig);
	return 0;
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		if (guest[i].rig)
			rnic_free(&guest[i]);
	memset(guest, 0, sizeof(guest));
	rig_free(&rig);
	return 0;
}

static struct frame make(struct build b)
{
	struct frame f;

	build(&f, buf, &b);
	return f;
}

#define MAKE(...) make((struct build){ __VA_ARGS__ })

static int transmit(unsigned from, const struct frame *f, const unsigned *pieces)
{
	unsigned type = f->gso == FRAME_GSO_TCP4 ? XEN_NETIF_GSO_TYPE_TCPV4 : f->gso ? XEN_NETIF_GSO_TYPE_TCPV6 : 0;

	return rnic_send(&guest[from - 1], 0, buf, f->len, pieces,
			 f->csum_blank ? NETTXF_csum_blank | NETTXF_data_validated : 0, type, f->gso_size);
}

static void await(unsigned id)
{
	rnic_await(&guest[id - 1], 0, &got);
	assert_int_equal(got.status, 0);
	rnic_post(&guest[id - 1], 0, got.slots + got.extras);
}

static const struct nif_queue_stats *stats(unsigned id)
{
	return &guest[id - 1].stats.queue[0];
}

/* From page to page, headers of all lengths from the private copy. */
static void straight_from_guest_to_guest(void **state)
{
	static const uint32_t sizes[] = { 0, 18, 150, 151, 1000, 1448, 8000, 30000, 60000 };

	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan", &(struct rnic_options){ 0 });
	for (unsigned i = 0; i < 9; i++)
		for (unsigned v6 = 0; v6 < 2; v6++) {
			uint64_t before = stats(2)->copy_foreign;
			struct frame f = MAKE(.src = 1, .dst = 2, .v6 = v6, .payload = sizes[i], .blank = true,
					      .gso_size = sizes[i] > 1448 ? 1448 : 0);

			assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
			await(2);
			assert_int_equal(got.len, f.len);
			assert_memory_equal(got.data, buf, f.len);
			assert_true(got.csum_blank);
			assert_int_equal(got.gso_size, f.gso_size);
			assert_int_equal(stats(2)->copy_foreign > before, f.len > FRAME_HDR);
		}
	assert_int_equal(stats(1)->tx_dropped_port, 0);
	rig_settle(&rig);
}

static void header_in_pieces(void **state)
{
	guest_full(1, "switch:lan?vlan=5", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan?trunk=5", &(struct rnic_options){ 0 });
	MAKE(.src = 2, .dst = 255, .tagged = true, .vlan = 5);
	assert_int_equal(rnic_send(&guest[1], 0, buf, 60, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	await(1);
	for (unsigned cut = 1; cut < 400; cut += 7) {
		struct frame f = MAKE(.src = 1, .dst = 2, .payload = 1000);
		unsigned pieces[4] = { cut, 1, f.len - cut - 1, 0 };

		assert_int_equal(transmit(1, &f, pieces), NETIF_RSP_OKAY);
		await(2);
		assert_int_equal(got.len, f.len + 4);
		assert_memory_equal(got.data, buf, 12);
		assert_memory_equal(got.data + 12, "\x81\0\0\5", 4);
		assert_memory_equal(got.data + 16, buf + 12, f.len - 12);
	}
}

static void poor_receiver(void **state)
{
	struct frame f;

	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan", &(struct rnic_options){ .no_csum = true, .no_gso = true, .no_sg = true });
	guest_full(3, "switch:lan", &(struct rnic_options){ 0 });
	for (unsigned v6 = 0; v6 < 2; v6++) {
		f = MAKE(.src = 1, .dst = 2, .v6 = v6, .payload = 1001, .blank = true);
		assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
		await(2);
		assert_false(got.csum_blank);
		assert_true(checksums_are_good(got.data, got.len));
		f = MAKE(.src = 1, .dst = 2, .v6 = v6, .payload = 50000, .gso_size = 1000);
		assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
		for (unsigned i = 0; i < 50; i++) {
			await(2);
			assert_int_equal(got.gso, FRAME_GSO_NONE);
			assert_true(checksums_are_good(got.data, got.len));
			assert_memory_equal(got.data + got.len - 1000, buf + f.payload + i * 1000, 1000);
		}
	}
	f = MAKE(.src = 1, .dst = 3, .payload = 50000, .gso_size = 1000);
	assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
	await(3);
	assert_int_equal(got.gso_size, 1000);
	assert_true(stats(3)->copy_foreign > 0);
	rig_settle(&rig);
}

static void no_room_for_a_while(void **state)
{
	struct frame f;

	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_new(2, "switch:lan", &(struct rnic_options){ 0 });
	for (unsigned i = 0; i < 10; i++) {
		f = MAKE(.src = 1, .dst = 2, .payload = 100);
		memcpy(rnic_page(&guest[0], i), buf, f.len);
		rnic_put(&guest[0], 0, i, 0, f.len, 0);
	}
	rnic_push(&guest[0], 0);
	rig_pump(&rig, 1);
	rnic_post(&guest[1], 0, 64);
	rnic_tx_await(&guest[0], 0, 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(rnic_tx_status(&guest[0], 0, NULL), NETIF_RSP_OKAY);
		await(2);
		assert_memory_equal(got.data, buf, f.len);
	}
	assert_int_equal(stats(2)->rx_dropped_stall, 0);
	rig_settle(&rig);
}

/* A sender whose pages can not be read harms itself only: with the copy to the other, and with the fetch. */
static void pages_that_can_not_be_read(void **state)
{
	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(3, "switch:lan", &(struct rnic_options){ .no_csum = true });
	for (uint8_t to = 2; to < 4; to++) {
		struct frame f = MAKE(.src = 1, .dst = to, .payload = 3000, .blank = true);
		struct netif_tx_request bad = { .gref = 0x7ffffff0, .size = 1000, .id = 99 };

		memcpy(rnic_page(&guest[0], 0), buf, 2054);
		rnic_put(&guest[0], 0, 0, 0, f.len, NETTXF_more_data | NETTXF_csum_blank | NETTXF_data_validated);
		rnic_put_raw(&guest[0], 0, &bad);
		rnic_push(&guest[0], 0);
		rnic_tx_await(&guest[0], 0, 2);
		assert_int_equal(rnic_tx_status(&guest[0], 0, NULL), NETIF_RSP_ERROR);
		assert_int_equal(rnic_tx_status(&guest[0], 0, NULL), NETIF_RSP_ERROR);
		while (rnic_receive(&guest[to - 1], 0, &got)) {
			assert_int_not_equal(got.status, 0);
			rnic_post(&guest[to - 1], 0, got.slots + got.extras);
		}
		f = MAKE(.src = 1, .dst = to, .payload = 3000);
		assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
		await(to);
		assert_memory_equal(got.data, buf, f.len);
	}
	rig_settle(&rig);
}

/* What goes to many, goes to all of them; one who leaves does no harm. */
static void to_all(void **state)
{
	struct frame f;

	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(3, "switch:lan?pcap=/dev/shm/pvb-lan.pcap", &(struct rnic_options){ 0 });
	remove("/dev/shm/pvb-lan.pcap");
	f = MAKE(.src = 1, .dst = 255, .udp = true, .payload = 1400, .blank = true);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
		for (unsigned id = 2; id < 4; id++) {
			await(id);
			assert_int_equal(got.len, f.len);
			assert_memory_equal(got.data, buf, f.len);
		}
	}
	rnic_free(&guest[2]);
	guest[2].rig = NULL;
	assert_int_equal(transmit(1, &f, NULL), NETIF_RSP_OKAY);
	await(2);
	rig_settle(&rig);
}

/* No judgement: the front ends' part and the fabric's copies are in it. */
static void speed(void **state)
{
	static const unsigned lens[] = { 60, 1514 };

	guest_full(1, "switch:lan", &(struct rnic_options){ 0 });
	guest_full(2, "switch:lan", &(struct rnic_options){ 0 });
	for (unsigned k = 0; k < 2; k++) {
		struct frame f = MAKE(.src = 1, .dst = 2, .udp = true, .payload = lens[k] - 42);
		uint64_t start = pvb_now_ns(), calls = guest[0].nif->ctx->copy_calls;
		unsigned rounds = 200;

		for (unsigned i = 0; i < 32; i++)
			memcpy(rnic_page(&guest[0], i), buf, f.len);
		for (unsigned round = 0; round < rounds; round++) {
			for (unsigned i = 0; i < 32; i++)
				rnic_put(&guest[0], 0, i, 0, f.len, 0);
			rnic_push(&guest[0], 0);
			rnic_tx_await(&guest[0], 0, 32);
			for (unsigned i = 0; i < 32; i++) {
				assert_int_equal(rnic_tx_status(&guest[0], 0, NULL), NETIF_RSP_OKAY);
				await(2);
				assert_int_equal(got.len, f.len);
			}
		}
		print_message("guest to guest, %u bytes: %.0f ns a frame, %.2f copy calls\n", lens[k],
			      (double)(pvb_now_ns() - start) / (rounds * 32),
			      (double)(guest[0].nif->ctx->copy_calls - calls) / (rounds * 32));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(straight_from_guest_to_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(header_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(poor_receiver, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_room_for_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_that_can_not_be_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(to_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(speed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
