// SPDX-License-Identifier: GPL-2.0-or-later
/* The control ring: hashing, and pages mapped for good; and Oracle's pools, which are the same by other means. */
#include "unit.h"
#include <stdio.h>
#include "net-rig.h"

#define OK XEN_NETIF_CTRL_STATUS_SUCCESS
#define NOT_SUPPORTED XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED
#define INVALID XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER
#define OVERFLOW XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW

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

static uint32_t ctrl(unsigned type, uint32_t a, uint32_t b, uint32_t c)
{
	return rnic_ctrl(&nic, type, a, b, c).status;
}

/* ---- hash ------------------------------------------------------------------------------------------------------ */

/* Microsoft's verification suite for receive side scaling. */
static const uint8_t rss_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
static const struct { uint32_t src, dst; uint16_t sport, dport; uint32_t ip, tcp; } rss[] = {
	{ IP4(66, 9, 149, 187), IP4(161, 142, 100, 80), 2794, 1766, 0x323e8fc2, 0x51ccc178 },
	{ IP4(199, 92, 111, 2), IP4(65, 69, 140, 83), 14230, 4739, 0xd718262a, 0xc626b0ea },
	{ IP4(24, 19, 198, 95), IP4(12, 22, 207, 184), 12898, 38024, 0xd2d0a5de, 0x5c2b394a },
	{ IP4(38, 27, 205, 30), IP4(209, 142, 163, 6), 48228, 2217, 0x82989176, 0xafc7327f },
	{ IP4(153, 39, 163, 191), IP4(202, 188, 127, 2), 44251, 1303, 0x5d1809c5, 0x10e828a2 },
};
static const struct { uint8_t src[16], dst[16]; uint16_t sport, dport; uint32_t ip, tcp;
} rss6[] = {
	{ { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x07 },
	  { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 0x01 },
	  2794,
	  1766,
	  0x2cc18cd5,
	  0x40207d3d },
};

static void hash_on(uint32_t flags)
{
	memcpy(rnic_page(&nic, 0), rss_key, sizeof(rss_key));
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0),
			 OK);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rnic_gref(&nic, 0), sizeof(rss_key), 0), OK);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, flags, 0, 0), OK);
}

static enum frame_verdict deliver(unsigned len)
{
	struct frame f = { 0 };

	frame_local(&f, out, len);
	return rport_deliver(&nic, 0, &f);
}

static void receive_hashed(unsigned q, bool hashed, uint32_t hash, unsigned type)
{
	rnic_await(&nic, q, &got);
	assert_int_equal(got.hashed, hashed);
	assert_int_equal(got.extras, hashed);
	if (hashed) {
		assert_int_equal(got.hash, hash);
		assert_int_equal(got.hash_type, type);
	}
	rnic_post(&nic, q, got.slots + got.extras);
}

static void the_hash_is_the_known_one(void **state)
{
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true });
	for (unsigned flags = 1; flags < 4; flags++) {
		hash_on(flags);
		for (unsigned i = 0; i < sizeof(rss) / sizeof(rss[0]); i++) {
			bool tcp = flags & XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP;

			rig_tcp4(out, 100, &seed, rss[i].src, rss[i].dst, rss[i].sport, rss[i].dport, false);
			assert_int_equal(deliver(100), FRAME_SENT);
			receive_hashed(0, true, tcp ? rss[i].tcp : rss[i].ip, tcp);
			rig_udp4(out, 100, &seed); /* other addresses, no TCP */
			assert_int_equal(deliver(100), FRAME_SENT);
			rnic_await(&nic, 0, &got);
			assert_int_equal(got.hashed, flags & XEN_NETIF_CTRL_HASH_TYPE_IPV4);
			assert_int_equal(got.hash_type, 0);
			rnic_post(&nic, 0, got.slots + got.extras);
		}
	}
	hash_on(15);
	memset(out, 0, 14);
	memcpy(out + 12, "\x86\xdd\x60\0\0\0\0\x28\x06\x40", 10);
	memcpy(out + 22, rss6[0].src, 16);
	memcpy(out + 38, rss6[0].dst, 16);
	memcpy(out + 54, (uint8_t[]){ 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 }, 4);
	memset(out + 58, 0, 36);
	out[66] = 0x50;
	assert_int_equal(deliver(94), FRAME_SENT);
	receive_hashed(0, true, rss6[0].tcp, _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP);
	hash_on(4);
	assert_int_equal(deliver(94), FRAME_SENT);
	receive_hashed(0, true, rss6[0].ip, _XEN_NETIF_CTRL_HASH_TYPE_IPV6);
	/* no key: the hash is 0; no algorithm: none */
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, 0x3fffffff, 0, 0), OK);
	assert_int_equal(deliver(94), FRAME_SENT);
	receive_hashed(0, true, 0, _XEN_NETIF_CTRL_HASH_TYPE_IPV6);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 0, 0, 0), OK);
	assert_int_equal(deliver(94), FRAME_SENT);
	receive_hashed(0, false, 0, 0);
	rnic_free(&nic);
}

static void hashes_choose_queues(void **state)
{
	uint32_t *map;
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .queues = 4 });
	hash_on(3);
	for (unsigned i = 0; i < 5; i++) { /* no table: modulo */
		rig_tcp4(out, 100, &seed, rss[i].src, rss[i].dst, rss[i].sport, rss[i].dport, false);
		assert_int_equal(deliver(100), FRAME_SENT);
		receive_hashed(rss[i].tcp % 4, true, rss[i].tcp, 1);
	}
	map = (uint32_t *)rnic_page(&nic, 1);
	for (unsigned i = 0; i < 128; i++)
		map[i] = (i * 7 + 1) % 4;
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 128, 0, 0), OK);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 128, 0), OK);
	for (unsigned i = 0; i < 5; i++) {
		rig_tcp4(out, 100, &seed, rss[i].src, rss[i].dst, rss[i].sport, rss[i].dport, false);
		assert_int_equal(deliver(100), FRAME_SENT);
		receive_hashed(map[rss[i].tcp % 128], true, rss[i].tcp, 1);
	}
	rnic_free(&nic);
}

/* XSA-270: what is refused changes nothing. */
static void mapping_is_checked_before_it_is_used(void **state)
{
	static const struct { uint32_t nr, at;
	} bad[] = {
		{ 1, 0xffffffff }, { 2, 0xffffffff }, { 100, 0xffffff9c },
		{ 128, 1 },	   { 129, 0 },	      { 65536 + 4, 0 },
		{ 65536, 0 },	   { 0xffffffff, 1 }, { 0xffffffff, 0xffffffff },
		{ 0x40000001, 0 }, { 1, 128 },	      { 1025, 0 },
		{ 0, 129 },
	};
	struct nifj_state before;
	uint32_t *map;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .queues = 4 });
	map = (uint32_t *)rnic_page(&nic, 1);
	memset(map, 0, PVB_PAGE_SIZE);
	/* no table yet */
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 1, 0), INVALID);
	assert_int_equal(rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE, 0, 0, 0).data, 128);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 129, 0, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, UINT32_MAX, 0, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, 128, 0, 0), OK);
	map[127] = 3;
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 128, 0), OK);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 0, 128), OK);
	before = *nif_state(nic.nif);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), bad[i].nr, bad[i].at),
				 INVALID);
		assert_memory_equal(nif_state(nic.nif), &before, sizeof(before));
	}
	map[5] = 4; /* one queue too many */
	map[6] = 1;
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 10, 0), INVALID);
	map[5] = 0x10000;
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, rnic_gref(&nic, 1), 10, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, 0x3fffffff, 10, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rnic_gref(&nic, 0), 41, 0), OVERFLOW);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, rnic_gref(&nic, 0), UINT32_MAX, 0), OVERFLOW);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, 0x3fffffff, 40, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 2, 0, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 1, 0, 0), NOT_SUPPORTED);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0), NOT_SUPPORTED);
	assert_memory_equal(nif_state(nic.nif), &before, sizeof(before));
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 1, 0, 0), OK);
	assert_int_equal(rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, 0, 0, 0).data, 15);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 16, 0, 0), INVALID);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, UINT32_MAX, 0, 0), INVALID);
	for (unsigned type = 0; type < 65536; type = type < 20 ? type + 1 : type * 2 + 1)
		if (type == 0 || type > XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING)
			assert_int_equal(ctrl(type, 1, 2, 3), NOT_SUPPORTED);
	assert_true(nic.stats.ctrl_errors > 30 && nic.stats.ctrl_requests > nic.stats.ctrl_errors);
	assert_int_equal(nic.nr_broken, 0);
	rnic_free(&nic);
}

/* ---- pages mapped for good ------------------------------------------------------------------------------------- */

static struct xen_netif_gref *list_of(unsigned page)
{
	return (struct xen_netif_gref *)rnic_page(&nic, page);
}

static void add_all(unsigned tx_pages)
{
	struct xen_netif_gref *list = list_of(63);

	for (unsigned i = 0; i < tx_pages; i++)
		list[i] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, i), .flags = XEN_NETIF_CTRLF_GREF_readonly };
	for (unsigned i = 0; i < NIF_RING_SLOTS; i++)
		list[tx_pages + i] = (struct xen_netif_gref){ .ref = nic.q[0].buffers.refs[i] };
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 63), tx_pages + NIF_RING_SLOTS),
			 OK);
}

/* The lists' grants are not read only; so is half of them here. */
static void staged_both_ways(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 1, ops;
	uint32_t maps;

	for (unsigned whole = 0; whole < 2; whole++) {
		maps = live->maps;
		rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .whole = whole });
		assert_int_equal(rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, 0, 0, 0).data,
				 NIF_MAX_GREFS);
		add_all(32);
		assert_int_equal(live->maps - maps, 3 + 32 + 256);
		assert_int_equal(nic.stats.grefs_mapped, 32 + 256);
		nic.port.does = RPORT_REFLECTS;
		ops = live->nr_copy_ops;
		for (unsigned i = 0; i < 300; i++) {
			unsigned len = 60 + rnd(&seed) % 65000;

			rig_udp4(out, len, &seed);
			assert_int_equal(rnic_send(&nic, 0, out, len, NULL, 0, 0, 0), NETIF_RSP_OKAY);
			rnic_await(&nic, 0, &got);
			assert_int_equal(got.status, 0);
			assert_int_equal(got.len, len);
			assert_memory_equal(got.data, out, len);
			rnic_post(&nic, 0, got.slots);
		}
		assert_int_equal(live->nr_copy_ops - ops, 0); /* memcpy, nothing else */
		assert_true(nic.stats.queue[0].staged > 600);
		/* one end only */
		rnic_connect(&rig, &peer, &(struct rnic_options){ 0 });
		nic.port.does = RPORT_FORWARDS;
		nic.port.to = &peer;
		peer.port.does = RPORT_FORWARDS;
		peer.port.to = &nic;
		for (unsigned i = 0; i < 20; i++) {
			struct rnic *from = i % 2 ? &nic : &peer, *to = i % 2 ? &peer : &nic;

			rig_udp4(out, 20000, &seed);
			assert_int_equal(rnic_send(from, 0, out, 20000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
			rnic_await(to, 0, &got);
			assert_memory_equal(got.data, out, 20000);
			rnic_post(to, 0, got.slots);
		}
		rnic_free(&peer);
		rnic_free(&nic);
		assert_int_equal(live->maps, maps);
	}
}

static void all_or_nothing(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	struct xen_netif_gref *list;
	uint32_t maps;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .queues = 2, .tx_pages = 700 });
	list = list_of(650);
	maps = live->maps;
	for (unsigned i = 0; i < 512; i++)
		list[i] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, i), .status = 77 };
	list[100].ref = 0x3fffffff;
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 650), 512), INVALID);
	assert_int_equal(live->maps, maps);
	assert_non_null(strstr(nic.refused, "grant 1073741823 of 512: can not be added"));
	list[100].ref = rnic_gref(&nic, 100);
	pvb_hv_fault(rig.hv, PVB_FAULT_MAP, 511, 1, -12);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 650), 512), INVALID);
	assert_int_equal(live->maps, maps);
	for (unsigned q = 0; q < 2; q++)
		assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, q, rnic_gref(&nic, 650), 512), OK);
	assert_int_equal(live->maps, maps + 1024);
	/* once more is no harm, one more is too many */
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 650), 512), OK);
	list[0].ref = rnic_gref(&nic, 600);
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 650), 1), INVALID);
	/* the same page in another way */
	list[0] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, 1), .flags = XEN_NETIF_CTRLF_GREF_readonly };
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 650), 1), INVALID);
	for (unsigned type = XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING; type <= XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING;
	     type++) {
		assert_int_equal(ctrl(type, 2, rnic_gref(&nic, 650), 1), INVALID);
		assert_int_equal(ctrl(type, UINT32_MAX, rnic_gref(&nic, 650), 1), INVALID);
		assert_int_equal(ctrl(type, 0, rnic_gref(&nic, 650), 513), INVALID);
		assert_int_equal(ctrl(type, 0, rnic_gref(&nic, 650), UINT32_MAX), INVALID);
		assert_int_equal(ctrl(type, 0, rnic_gref(&nic, 650), 0x20000001), INVALID); /* times 8 is 8 */
		assert_int_equal(ctrl(type, 0, 0x3fffffff, 1), INVALID);
		assert_int_equal(ctrl(type, 0, 0x3fffffff, 0), OK);
	}
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, 2, 0, 0), INVALID);
	assert_int_equal(live->maps, maps + 1024);
	/* gone in any order, with a status each */
	for (unsigned i = 0; i < 512; i++)
		list[i] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, (i * 37) % 600), .status = 77 };
	for (unsigned q = 0; q < 2; q++) {
		unsigned there = 0;
		struct xen_netif_ctrl_response rsp =
			rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, q, rnic_gref(&nic, 650), 512);

		assert_int_equal(rsp.status, OK);
		for (unsigned i = 0; i < 512; i++) {
			bool was = (i * 37) % 600 < 512;

			there += was;
			assert_int_equal(list[i].status, was ? OK : INVALID);
			list[i].status = 77;
		}
		assert_int_equal(rsp.data, there);
		assert_int_equal(gref_count(nic.nif->queues[q].grefs), 512 - there);
		for (unsigned i = 0; i < 512; i++) /* what is left is found */
			assert_int_equal(gref_find(nic.nif->queues[q].grefs, rnic_gref(&nic, i), true) != NULL,
					 (i * 373) % 600 >= 512);
	}
	assert_int_equal(nic.stats.grefs_mapped, live->maps - maps);
	rnic_free(&nic);
}

/* References whose places in the table crowd: what is left is found after each that goes. */
static void a_crowded_table(void **state)
{
	struct xen_netif_gref *list, all[NIF_MAX_GREFS] = { { 0 } };
	struct gref_table *t;
	unsigned nr = 0;
	uint64_t seed = 1;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .tx_pages = 6000 });
	list = list_of(0);
	for (unsigned i = 1; i < 6000; i++)
		/* as gref.c has it; round the end, too */
		if (((rnic_gref(&nic, i) * 0x9e3779b1u) >> 16 & 2047) / 32 == 63)
			all[nr++] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, i) };
	assert_in_range(nr, 40, NIF_MAX_GREFS);
	for (unsigned round = 0; round < 3; round++) {
		memcpy(list, all, nr * sizeof(all[0]));
		assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 0), nr), OK);
		t = nic.nif->queues[0].grefs;
		for (unsigned left = nr; left > 0; left--) {
			unsigned at = rnd(&seed) % left;
			struct xen_netif_gref gone = all[at];

			all[at] = all[left - 1];
			all[left - 1] = gone;
			list[0] = gone;
			assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 0, rnic_gref(&nic, 0), 1), OK);
			assert_int_equal(list[0].status, OK);
			for (unsigned i = 0; i < nr; i++)
				assert_int_equal(gref_find(t, all[i].ref, true) != NULL, i < left - 1);
		}
		assert_int_equal(nic.stats.grefs_mapped, 0);
	}
	rnic_free(&nic);
}

static void not_offered(void **state)
{
	struct nif_config cfg = { .gref_tables = false };

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .cfg = &cfg });
	for (unsigned type = XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE; type <= XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING;
	     type++)
		assert_int_equal(ctrl(type, 0, rnic_gref(&nic, 0), 1), NOT_SUPPORTED);
	rnic_free(&nic);
}

/* Read-only pages are no buffers, whatever the guest says. */
static void a_readonly_page_is_not_written(void **state)
{
	struct xen_netif_gref *list;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true });
	list = list_of(63);
	list[0] = (struct xen_netif_gref){ .ref = nic.q[0].buffers.refs[0xf0], .flags = XEN_NETIF_CTRLF_GREF_readonly };
	assert_int_equal(ctrl(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 0, rnic_gref(&nic, 63), 1), OK);
	assert_null(gref_find(nic.nif->queues[0].grefs, list[0].ref, true));
	assert_non_null(gref_find(nic.nif->queues[0].grefs, list[0].ref, false));
	memset(out, 0x12, 100);
	assert_int_equal(deliver(100), FRAME_SENT);
	rnic_await(&nic, 0, &got);
	assert_int_equal(got.status, 0); /* by copy */
	assert_int_equal(nic.stats.queue[0].staged, 0);
	rnic_free(&nic);
}

static void pools(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint64_t seed = 1, ops;
	struct nif_connect c;
	struct pvb_error err;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .pool = 256, .tx_pages = 256 });
	assert_int_equal(nic.stats.grefs_mapped, 512);
	nic.port.does = RPORT_REFLECTS;
	ops = live->nr_copy_ops;
	rig_udp4(out, 9000, &seed);
	assert_int_equal(rnic_send(&nic, 0, out, 9000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
	rnic_await(&nic, 0, &got);
	assert_memory_equal(got.data, out, 9000);
	assert_int_equal(live->nr_copy_ops - ops, 0);
	/* lists that are none: said, and done without */
	for (unsigned i = 0; i < 3; i++) {
		nif_disconnect(nic.nif);
		assert_int_equal(nic.stats.grefs_mapped, 0);
		rnic_describe(&nic, &c);
		if (i == 0)
			c.queue[0].rx_pool_size = 513;
		else if (i == 1)
			c.queue[0].rx_pool_ref = 0x3fffffff;
		else
			((struct xen_netif_gref *)nic.q[0].pool.addr)[NIF_MAX_GREFS + 3].ref = 0x3fffffff;
		assert_int_equal(rnic_attach(&nic, &c, &err), 0);
		assert_int_equal(nic.nr_refused, 1);
		assert_non_null(strstr(nic.refused, "not used"));
		assert_int_equal(nic.stats.grefs_mapped, 256);
		assert_int_equal(rnic_send(&nic, 0, out, 9000, NULL, 0, 0, 0), NETIF_RSP_OKAY);
		rnic_await(&nic, 0, &got);
		assert_memory_equal(got.data, out, 9000);
	}
	rnic_free(&nic);
}

static void again_and_again(void **state)
{
	const struct pvb_hv_live *live = pvb_hv_live(rig.hv);
	uint32_t maps;

	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true });
	maps = live->maps;
	list_of(63)[0] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, 0) };
	for (unsigned i = 0; i < 5000; i++) {
		unsigned type = 1 + i % 10;

		rnic_ctrl(&nic, type, type == XEN_NETIF_CTRL_TYPE_SET_HASH_KEY ? rnic_gref(&nic, 0) : 0,
			  type > 8 ? rnic_gref(&nic, 63) : 1, type > 8);
	}
	assert_int_equal(live->maps, maps);
	rnic_free(&nic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_is_the_known_one),
		cmocka_unit_test(hashes_choose_queues),
		cmocka_unit_test(mapping_is_checked_before_it_is_used),
		cmocka_unit_test(staged_both_ways),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(a_crowded_table),
		cmocka_unit_test(not_offered),
		cmocka_unit_test(a_readonly_page_is_not_written),
		cmocka_unit_test(pools),
		cmocka_unit_test(again_and_again),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
