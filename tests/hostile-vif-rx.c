// SPDX-License-Identifier: GPL-2.0-or-later
/* hostile-vif: what a guest receives into, floods, and the control ring. */
#include "unit.h"
#include <sched.h>
#include <stdio.h>
#include "bus/loop.h"
#include "tests/hostile-vif.h"
#include "tests/nic-frames.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

static struct hgot got;
static uint8_t out[65536];

/* ---- buffers ---------------------------------------------------------------------------------------------------- */

/* What is to go into them comes from the same guest, which is not to blame for that: its sending is answered well. */
void buffers_that_are_not(void **state)
{
	enum { NONE, BEYOND, ANOTHERS, CONSTANT, NR };
	struct pvb_grant other = { 0 }, constant = { 0 };
	uint32_t refs[NR] = { 0x3fffffff, 0xfffffff0u };
	struct made m = make_frame(out, &(struct shape){ .version = 4, .tcp = true, .len = 3000 });

	assert_int_equal(pvb_hv_grant(own.dev.hv, stage_good_domid, 1, true, &other), 0);
	assert_int_equal(pvb_hv_grant(own.dev.hv, own.dev.back_domid, 1, false, &constant), 0);
	memset(constant.addr, 0xa5, PVB_PAGE_SIZE);
	refs[ANOTHERS] = other.refs[0];
	refs[CONSTANT] = constant.refs[0];
	connect_or_fail(&own, &(struct hnic_options){ .start = RING_START, .no_buffers = true });
	for (unsigned i = 0; i < NR; i++) {
		hnic_post_ref(&own, 0, refs[i]);
		hnic_show_posts(&own, 0);
		assert_int_equal(send_frame(&own, out, m.len, 0, 0, 0), NETIF_RSP_OKAY);
		assert_int_equal(hnic_receive(&own, 0, &got, WAIT_MS), 0);
		assert_int_equal(got.status, NETIF_RSP_ERROR);
		stage_good();
	}
	for (unsigned i = 0; i < PVB_PAGE_SIZE; i++)
		assert_int_equal(((uint8_t *)constant.addr)[i], 0xa5);
	stage_counter("rx_errors", NR, NR);
	stage_log_says("queue 0: RX buffer's grant 1073741823: copy failed with status ");
	/* one page twice in a frame: the guest's own affair what it finds there */
	make_frame(out, &(struct shape){ .version = 4, .tcp = true, .len = 8000 });
	hnic_post_ref(&own, 0, own.buffers[0].refs[5]);
	hnic_post_ref(&own, 0, own.buffers[0].refs[5]);
	hnic_show_posts(&own, 0);
	assert_int_equal(send_frame(&own, out, 8000, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(hnic_receive(&own, 0, &got, WAIT_MS), 0);
	assert_int_equal(got.slots, 2);
	assert_int_equal(got.len, 8000);
	/* the half good: a bad page after a good one fails them both, and so the frame */
	hnic_post_ref(&own, 0, own.buffers[0].refs[6]);
	hnic_post_ref(&own, 0, refs[NONE]);
	hnic_show_posts(&own, 0);
	assert_int_equal(send_frame(&own, out, 8000, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(hnic_receive(&own, 0, &got, WAIT_MS), 0);
	assert_int_equal(got.slots, 2);
	assert_int_equal(got.status, NETIF_RSP_ERROR);
	assert_int_equal(got.len, 0);
	hnic_post(&own, 0, 32);
	honest_frame(&own);
	begin_anew(&own);
	assert_int_equal(pvb_hv_ungrant(own.dev.hv, &other), 0);
	assert_int_equal(pvb_hv_ungrant(own.dev.hv, &constant), 0); /* not kept mapped */
	stage_log_at_most(LINES_A_LIE);
}

/* The frames that no longer fit are dropped, none is kept; reading makes it good again. */
void answers_that_nobody_reads(void **state)
{
	unsigned frames = stage_on_xen ? 100 : 300;

	connect_plain(&own);
	honest_frame(&own);
	stage_worker_mark();
	make_frame(out, &(struct shape){ .version = 0, .len = 1000 });
	for (unsigned i = 0; i < frames; i++)
		assert_int_equal(send_frame(&own, out, 1000, 0, 0, 0), NETIF_RSP_OKAY);
	assert_int_equal(hnic_unread(&own.rx[0]), HNIC_PAGES);
	stage_counter("rx_packets", HNIC_PAGES + 1, HNIC_PAGES + 1);
	stage_counter("rx_dropped_stall", frames - HNIC_PAGES, frames - HNIC_PAGES);
	stage_counter("rx_no_room", 1, 1);
	stage_worker_same();
	for (unsigned i = 0; i < HNIC_PAGES; i++)
		comes_back(&own, out, 1000, &got);
	honest_frame(&own);
	begin_anew(&own);
	stage_log_at_most(LINES_A_LIE);
}

/* ---- floods ----------------------------------------------------------------------------------------------------- */

/* A thread that refills a ring as fast as it is emptied. */
struct flood {
	struct hnic *n;
	uint8_t slot[16][12];          /* a packet; HNIC_SLOTS is a multiple of nr */
	unsigned nr;
	pthread_t thread;
	int stop;
};

static void *do_flood(void *arg)
{
	struct flood *f = arg;
	struct hring *r = &f->n->tx[0];

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		uint32_t rsp = pvb_ring_load(&r->sh->rsp_prod);

		pvb_ring_rmb();
		while (r->prod + f->nr - rsp <= HNIC_SLOTS)
			for (unsigned i = 0; i < f->nr; i++)
				pvb_ring_copy_out(hnic_slot(r, r->prod++), f->slot[i], 12);
		hnic_push_to(f->n, r, r->prod);
		sched_yield();
	}
	return NULL;
}

static void flood_start(struct flood *f)
{
	f->stop = 0;
	assert_int_equal(pthread_create(&f->thread, NULL, do_flood, f), 0);
}

static void flood_stop(struct flood *f)
{
	struct hring *r = &f->n->tx[0];

	__atomic_store_n(&f->stop, 1, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
	assert_int_equal(hnic_await(f->n, r, r->prod - r->cons, WAIT_MS), 0);
	r->cons = r->prod;
}

static void in_turns(struct flood *f, const char *what)
{
	for (unsigned i = 0; i < 4; i++) {
		stage_lap(false);
		flood_start(f);
		stage_lap(true);
		stage_good();
		flood_stop(f);
	}
	stage_compare(what);
}

static void put_slot(struct flood *f, uint32_t ref, unsigned size, unsigned flags)
{
	struct netif_tx_request req = { .gref = ref, .flags = (uint16_t)flags, .size = (uint16_t)size };

	memcpy(f->slot[f->nr++], &req, sizeof(req));
}

/* XSA-392: one buffer at a time under a flood of large frames; the honest guest is on the same switch. */
void a_flood_for_one_slot(void **state)
{
	static struct flood f;
	struct netif_extra_info x = { .type = XEN_NETIF_EXTRA_TYPE_GSO };
	struct made m;

	connect_or_fail(&lan, &(struct hnic_options){ .start = RING_START, .no_buffers = true });
	connect_plain(&lan2);
	hnic_post(&lan, 0, 1);
	m = make_frame(out, &(struct shape){ .version = 4, .tcp = true, .blank = true, .len = 57344 });
	memcpy(out, "\x00\x16\x3e\x01\x00\x01\x00\x16\x3e\x01\x00\x02", 12);
	x.u.gso.size = 1448;
	x.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
	f = (struct flood){ .n = &lan2 };
	for (unsigned i = 0; i < 14; i++) {
		memcpy(hnic_page(&lan2, i), out + i * PVB_PAGE_SIZE, PVB_PAGE_SIZE);
		put_slot(&f, hnic_gref(&lan2, i), i == 0 ? m.len : PVB_PAGE_SIZE,
			 (i == 0 ? NETTXF_csum_blank | NETTXF_extra_info : 0) | (i < 13 ? NETTXF_more_data : 0));
		if (i == 0)
			memcpy(f.slot[f.nr++], &x, sizeof(x));
	}
	put_slot(&f, hnic_gref(&lan2, 20), 60, 0); /* and a small one, which fits */
	assert_int_equal(f.nr, 16);
	memset(hnic_page(&lan2, 20), 0xff, 60);
	memcpy(hnic_page(&lan2, 20) + 6, "\x00\x16\x3e\x01\x00\x02\x88\xb5", 8);
	in_turns(&f, "flood for one slot");
	stage_counter("rx_dropped_stall", 1, UINT64_MAX);
	stage_counter("rx_no_room", 1, 100);
	stage_counter("tx_bad", 0, 0);
	hnic_post(&lan, 0, HNIC_PAGES - 1); /* takes again */
	assert_int_equal(send_frame(&lan2, out, 57344, NETTXF_csum_blank, XEN_NETIF_GSO_TYPE_TCPV4, 1448),
			 NETIF_RSP_OKAY);
	do
		assert_int_equal(hnic_receive(&lan, 0, &got, WAIT_MS), 0);
	while (got.len != 57344);
	assert_memory_equal(got.data, out, 57344);
	assert_int_equal(got.gso_size, 1448);
	begin_anew(&lan);
	begin_anew(&lan2);
	stage_log_at_most(3 * LINES_A_LIE);
}

/* Small packets without end: refused ones, good ones that the switch drops at once (for their sender), and good ones for
 * an unknown station, which all get up to the switch's limit; that is more than an emulated processor can look at. */
void a_ring_that_never_empties(void **state)
{
	static const char *const what[] = { "flood of refused packets", "flood of dropped frames", "flood of frames for nobody" };
	static const char *const counts[] = { "tx_bad", "tx_dropped_port", "port_flooded" };
	static struct flood f;

	for (unsigned i = 0; i < (stage_on_xen ? 2 : 3); i++) {
		connect_plain(&lan2);
		memset(hnic_page(&lan2, 0), 0x12, PVB_PAGE_SIZE);
		memcpy(hnic_page(&lan2, 0) + 6, "\x00\x16\x3e\x01\x00\x02\x88\xb5", 8);
		if (i == 1)
			memcpy(hnic_page(&lan2, 0), hnic_page(&lan2, 0) + 6, 6);
		f = (struct flood){ .n = &lan2 };
		put_slot(&f, hnic_gref(&lan2, 0), i ? 1000 : 5, 0);
		in_turns(&f, what[i]);
		stage_counter(counts[i], 200, UINT64_MAX);
		stage_counter(i ? "tx_bad" : "tx_packets", 0, 0);
		honest_frame(&lan2);
		begin_anew(&lan2);
	}
	stage_log_at_most(3 * LINES_A_LIE + (stage_on_xen ? 120 : 60));
}

/* ---- the control ring ------------------------------------------------------------------------------------------- */

static uint32_t ctrl(struct hnic *n, unsigned type, uint32_t a, uint32_t b, uint32_t c, uint32_t *data)
{
	uint32_t status = UINT32_MAX;
	int rc = hnic_ctrl(n, type, a, b, c, &status, data, WAIT_MS);

	if (rc < 0)
		fail_msg("type %u, %u, %u, %u: %d", type, a, b, c, rc);
	return status;
}

void extremes_on_the_control_ring(void **state)
{
	static const uint32_t all[] = { 0, UINT32_MAX, 1, 2, 127, 128, 511, 512, 513, 4096, 65535, 65536, 0x1fffffff,
					0x20000001, 0x3fffffff, 0x7fffffff, 0x80000000u, 0xfffffff8u };
	const unsigned n = stage_on_xen ? 8 : sizeof(all) / sizeof(all[0]);
	const unsigned bad = XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER, large = XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
	uint32_t page, data = 0;
	uint64_t seed = 1;
	char text[120];

	for (unsigned k = 0; k < 2; k++) {
		struct hnic *nic = k ? &lan : &own;

		connect_or_fail(nic, &(struct hnic_options){ .start = RING_START, .ctrl = true, .queues = 2 });
		page = hnic_gref(nic, 1);
		/* named */
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 1, 0, 0, NULL), 0);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 2, 0, 0, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 16, 0, 0, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, page, 4097, 0, NULL), large);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 4096, 0, 0, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 64, 0, 0, NULL), 0);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page, 1, 64, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page, 2, UINT32_MAX, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page, 65536 + 8, 0, NULL), bad);
		((uint32_t *)hnic_page(nic, 1))[3] = 2; /* there are queues 0 and 1 */
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page, 8, 0, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, 2, 0, 0, NULL), bad);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, page, 513, NULL), bad);
		assert_int_equal(ctrl(nic, 11, 0, 0, 0, NULL), XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED);
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, 0x3fffffff, 40, 0, NULL), bad);
		stage_log_says("refused: control ring: grant 1073741823: copy failed with status");
		/* and all the rest */
		for (unsigned i = 0; i < PVB_PAGE_SIZE / 4; i++)
			((uint32_t *)hnic_page(nic, 1))[i] = all[rnd(&seed) % (sizeof(all) / sizeof(all[0]))];
		for (unsigned type = 0; type < 12; type++) {
			for (unsigned i = 0; i < n * n; i++) {
				uint32_t a = all[i / n], b = all[i % n];

				for (unsigned j = 0; j < 3; j++) {
					uint32_t status = ctrl(nic, type, j == 0 ? page : a, j == 1 ? page : b,
							       j == 2 ? page : b, &data);

					assert_true(status <= large);
				}
			}
			stage_good();
		}
		begin_anew(nic);
		/* the sentence of a list that can not be mapped, in a connection that has said nothing yet */
		connect_or_fail(nic, &(struct hnic_options){ .start = RING_START, .ctrl = true });
		((struct xen_netif_gref *)hnic_page(nic, 1))[0] = (struct xen_netif_gref){ .ref = hnic_gref(nic, 0) };
		((struct xen_netif_gref *)hnic_page(nic, 1))[1] = (struct xen_netif_gref){ .ref = 0x3fffffff };
		assert_int_equal(ctrl(nic, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, hnic_gref(nic, 1), 2, NULL), bad);
		snprintf(text, sizeof(text),
			 "vif %u/%u: refused: control ring: queue 0: grant 1073741823 of 2: can not be added",
			 nic->dev.domid, nic->dev.devid);
		stage_log_says(text);
		stage_counter("grefs_mapped", 0, 0); /* all or none */
		honest_frame(nic);
		begin_anew(nic);
	}
	stage_log_at_most(4 * LINES_A_LIE + (stage_on_xen ? 200 : 60));
}

/* A list of pages added, used, taken away and added again, some of it twice; then all is left to the end. */
void pages_mapped_and_unmapped(void **state)
{
	unsigned rounds = stage_on_xen ? 40 : 2000;
	struct xen_netif_gref *list;
	uint32_t deleted;

	connect_or_fail(&own, &(struct hnic_options){ .start = RING_START, .ctrl = true });
	list = (struct xen_netif_gref *)hnic_page(&own, HNIC_PAGES - 1);
	for (unsigned r = 0; r < rounds; r++) {
		uint32_t nr = 1 + r % (HNIC_PAGES - 1), page = hnic_gref(&own, HNIC_PAGES - 1);

		for (unsigned i = 0; i < nr; i++)
			list[i] = (struct xen_netif_gref){ .ref = hnic_gref(&own, i % (r % 5 == 4 ? 7 : HNIC_PAGES)) };
		assert_int_equal(ctrl(&own, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, page, nr, NULL), 0);
		assert_int_equal(ctrl(&own, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, page, nr, NULL), 0);
		if (r % 50 == 0) {
			honest_frame(&own);
			stage_good();
		}
		if (r == 0)
			stage_worker_mark();
		assert_int_equal(ctrl(&own, XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, page, nr, &deleted), 0);
		assert_int_equal(deleted, r % 5 == 4 && nr > 7 ? 7 : nr);
	}
	stage_worker_same();
	stage_counter("grefs_mapped", 0, 0);
	for (unsigned i = 0; i < HNIC_PAGES - 1; i++) {
		list[i] = (struct xen_netif_gref){ .ref = hnic_gref(&own, i) };
		list[HNIC_PAGES - 1 + i] = (struct xen_netif_gref){ .ref = own.buffers[0].refs[i] };
	}
	assert_int_equal(ctrl(&own, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, hnic_gref(&own, HNIC_PAGES - 1),
			      2 * (HNIC_PAGES - 1), NULL), 0);
	stage_counter("grefs_mapped", 2 * (HNIC_PAGES - 1), 2 * (HNIC_PAGES - 1));
	honest_frame(&own);
	begin_anew(&own);
	works(&own);
	stage_log_at_most(2 * LINES_A_LIE);
}
