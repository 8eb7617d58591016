// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal of a queue: what it says after a worker died anywhere.  The pure functions first, then a real worker
 * whose memory is copied after each of its stores to the ring, as if it had died there. */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include "net-rig.h"
#include "trap.h"

static uint8_t area[65536] __attribute__((aligned(4096)));
static struct nif_journal *const j = (struct nif_journal *)area;
static const char *const dir_name[] = { "TX", "RX", "control" };

static void opened(const char *why)
{
	struct pvb_error err = { 0 };

	if (why == NULL) {
		assert_int_equal(nifj_open(j, nifj_bytes(), &err), 0);
		return;
	}
	assert_int_equal(nifj_open(j, nifj_bytes(), &err), -EPROTO);
	if (strstr(err.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void what_is_no_journal(void **state)
{
	struct pvb_error err;

	assert_true(nifj_bytes() <= sizeof(area) && nifj_bytes() % 4096 == 0);
	memset(area, 0, sizeof(area));
	opened("magic 0");
	nifj_init(j, 5, RIG_START, 7, 9);
	opened(NULL);
	assert_int_equal(j->generation, 5);
	assert_int_equal(nifj_open(j, nifj_bytes() - 1, &err), -EPROTO);
	j->magic++;
	opened("magic");
	j->magic--;
	j->version = NIFJ_VERSION - 1;
	opened("version 1");
	j->version = NIFJ_VERSION;
	j->size -= 8;
	opened("bytes, expected 2");
	j->size += 8;
	j->current = 2;
	opened("state 2 of 2");
	j->current = 1;
	j->state[1].nr_mcast = NIFJ_MCAST + 1;
	opened("multicast");
	j->current = 0;
	opened(NULL);
	j->state[0].key_len = NIFJ_KEY + 1;
	opened("hash key of 41");
	j->state[0].key_len = 0;
	j->state[0].mapping_size = NIFJ_MAPPING + 1;
	opened("mapping of 129");
	j->state[0].mapping_size = 0;
	for (unsigned dir = 0; dir < NIFJ_NR_DIRS; dir++) {
		struct nifj_ring keep = j->ring[dir];

		j->ring[dir].cons += NIFJ_SLOTS + 1;
		opened("has answered");
		opened(dir_name[dir]);
		j->ring[dir] = keep;
		j->ring[dir].rsp_next++;
		opened("has answered"); /* more than was asked */
		j->ring[dir].cons++;
		opened(NULL);
		j->ring[dir].rsp_prod += 2;
		opened("has answered");
		j->ring[dir] = keep;
	}
	opened(NULL);
	j->ring[NIFJ_CTRL].cons += 2;
	opened("2 control requests at once");
}

static void the_rule(void **state)
{
	struct nifj_recovery rec;
	struct pvb_error err;

	for (unsigned dir = 0; dir < NIFJ_NR_DIRS; dir++) {
		uint32_t at = 0xfffffff0u;

		nifj_init(j, 1, at, at, at);
		assert_int_equal(nifj_recover(j, dir, at, &rec, &err), 0);
		assert_true(rec.put_from == rec.put_to && rec.cons == at && rec.again == 0);
		nifj_taken(j, dir, at + 20); /* over the end */
		assert_int_equal(nifj_recover(j, dir, at, &rec, &err), 0);
		assert_true(rec.put_from == rec.put_to && rec.cons == at && rec.again == 20);
		j->ring[dir].rsp_next = at + 18; /* in the middle of a push: before and after it was shown */
		assert_int_equal(nifj_recover(j, dir, at, &rec, &err), 0);
		assert_true(rec.put_from == at && rec.put_to == at + 18 && rec.cons == at + 18 && rec.again == 2);
		assert_int_equal(nifj_recover(j, dir, at + 18, &rec, &err), 0);
		assert_true(rec.put_from == rec.put_to && rec.cons == at + 18 && rec.again == 2);
		/* anything else the guest has written */
		for (uint32_t i = 0; i < 40; i++)
			if (i != 1 && i != 19)
				assert_int_equal(nifj_recover(j, dir, at + i - 1, &rec, &err), -EPROTO);
		assert_int_equal(nifj_recover(j, dir, at + 0x80000000u, &rec, &err), -EPROTO);
		assert_non_null(strstr(err.text, "ring says"));
		assert_non_null(strstr(err.text, dir_name[dir]));
	}
}

static void a_state_is_whole(void **state)
{
	struct nifj_state *s;

	nifj_init(j, 1, 0, 0, 0);
	for (unsigned i = 1; i < 10; i++) {
		s = nifj_state_begin(j);
		assert_int_equal(s->hash_flags, i - 1);
		s->hash_flags = i;
		assert_int_equal(nifj_state(j)->hash_flags, i - 1); /* dies here: the old one */
		nifj_state_end(j);
		assert_int_equal(nifj_state(j)->hash_flags, i);
	}
}

/* ---- a worker that dies at each of its stores ------------------------------------------------------------------ */

#if TRAP_WORKS
static struct rig rig;
static struct rnic nic;
static enum nifj_dir dir;
static unsigned slot_size, cases, put_again;

/* What a successor would do, on copies: then all that had been decided is answered as it was decided. */
static void dies_here(void *arg)
{
	static uint8_t page[PVB_PAGE_SIZE] __attribute__((aligned(64)));
	struct pvb_ring_shared *sh = (struct pvb_ring_shared *)page;
	struct nifj_recovery rec;
	struct pvb_ring ring;
	struct pvb_error err;
	void *map = dir == NIFJ_TX ? nic.nif->queues[0].tx.map.addr : nic.nif->queues[0].rx.map.addr;

	memcpy(page, map, PVB_PAGE_SIZE);
	memcpy(area, nic.journals[0], nifj_bytes());
	assert_int_equal(nifj_open(j, nifj_bytes(), &err), 0);
	assert_int_equal(nifj_recover(j, dir, sh->rsp_prod, &rec, &err), 0);
	pvb_ring_attach(&ring, page, PVB_PAGE_SIZE, slot_size, rec.cons, rec.put_from);
	put_again += rec.put_from != rec.put_to;
	nifj_push(j, dir, &ring, rec.put_to);
	assert_int_equal(sh->rsp_prod, rec.cons);
	assert_true(j->ring[dir].rsp_prod == rec.cons && j->ring[dir].rsp_next == rec.cons);
	/* the answers are all there, and what is not answered is as the guest wrote it */
	for (uint32_t i = RIG_START; i != rec.cons; i++) {
		const uint8_t *slot = pvb_ring_slot(&ring, i);
		uint16_t id;
		int16_t status;

		memcpy(&id, slot, 2);
		memcpy(&status, slot + (dir == NIFJ_TX ? 2 : 6), 2);
		assert_int_equal(id, dir == NIFJ_TX ? (uint16_t)(i - RIG_START) : (i & 255));
		assert_int_equal(status, dir == NIFJ_TX ? 0 : 100);
	}
	for (uint32_t i = rec.cons; i != RIG_START + 20; i++) {
		const uint8_t *slot = pvb_ring_slot(&ring, i);
		uint32_t ref;

		memcpy(&ref, slot + (dir == NIFJ_TX ? 0 : 4), 4);
		assert_int_equal(ref, dir == NIFJ_TX ? rnic_gref(&nic, 0) : nic.q[0].buffers.refs[i & 255]);
	}
	cases++;
}
#endif

static void a_worker_dies_anywhere(void **state)
{
#if TRAP_WORKS
	struct frame f[20];

	rig_new(&rig);
	for (unsigned d = NIFJ_TX; d <= NIFJ_RX; d++) {
		dir = d;
		slot_size = d == NIFJ_TX ? sizeof(struct netif_tx_request) : sizeof(struct netif_rx_request);
		cases = put_again = 0;
		rnic_connect(&rig, &nic, &(struct rnic_options){ 0 });
		rig_settle(&rig);
		memset(rnic_page(&nic, 0), 0, 100);
		for (unsigned i = 0; i < 20 && d == NIFJ_TX; i++)
			rnic_put(&nic, 0, 0, 0, 100, 0);
		trap_arm(d == NIFJ_TX ? nic.nif->queues[0].tx.map.addr : nic.nif->queues[0].rx.map.addr, PVB_PAGE_SIZE,
			 PROT_READ, dies_here, NULL);
		if (d == NIFJ_TX) {
			rnic_push(&nic, 0);
			rnic_tx_await(&nic, 0, 20);
		} else {
			for (unsigned i = 0; i < 20; i++) {
				memset(&f[i], 0, sizeof(f[i]));
				memset(area + 40000, 0, 100);
				frame_local(&f[i], area + 40000, 100);
				assert_int_equal(port_deliver(&nic.port.port, 0, &f[i]), FRAME_SENT);
			}
			nif_ctx_flush(rig.ctx);
		}
		trap_disarm();
		/* every store of an answer: of 4 bytes, and 8 where they may be one; or of 8 */
		assert_true(put_again >= (d == NIFJ_TX ? 10 * 2 + 10 * 3 : 20));
		assert_true(cases > put_again);
		rnic_free(&nic);
	}
	rig_free(&rig);
#else
	skip();
#endif
}

static void the_rest_is_there(void **state)
{
#if TRAP_WORKS
	static const uint8_t mac[6] = { 1, 2, 3, 4, 5, 6 };
	const struct nif_journal *w;
	struct xen_netif_gref *list;

	rig_new(&rig);
	rnic_connect(&rig, &nic, &(struct rnic_options){ .ctrl = true, .multicast = true, .queues = 2 });
	w = nic.journals[0];
	rnic_put_mcast(&nic, 0, mac, true);
	rnic_push(&nic, 0);
	rnic_tx_await(&nic, 0, 2);
	rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, 1, 0, 0);
	rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, 5, 0, 0);
	assert_int_equal(nifj_state(w)->nr_mcast, 1);
	assert_memory_equal(nifj_state(w)->mcast[0], mac, 6);
	assert_true(nifj_state(w)->mcast_on && nifj_state(w)->hash_algorithm == 1 && nifj_state(w)->hash_flags == 5);
	list = (struct xen_netif_gref *)rnic_page(&nic, 1);
	for (unsigned i = 0; i < 3; i++)
		list[i] = (struct xen_netif_gref){ .ref = rnic_gref(&nic, i), .flags = (uint16_t)(i == 1) };
	rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, 1, rnic_gref(&nic, 1), 3);
	w = nic.journals[1];
	assert_true(w->gref[0] == (NIFJ_GREF_USED | rnic_gref(&nic, 0)));
	assert_true(w->gref[1] == (NIFJ_GREF_USED | NIFJ_GREF_READONLY | rnic_gref(&nic, 1)));
	rnic_ctrl(&nic, XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, 1, rnic_gref(&nic, 1), 1);
	assert_true(w->gref[0] == (NIFJ_GREF_USED | rnic_gref(&nic, 2)));
	assert_true(w->gref[2] == 0);
	rnic_free(&nic);
	rig_free(&rig);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_journal),
		cmocka_unit_test(the_rule),
		cmocka_unit_test(a_state_is_whole),
		cmocka_unit_test(a_worker_dies_anywhere),
		cmocka_unit_test(the_rest_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
