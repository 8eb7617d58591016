// SPDX-License-Identifier: GPL-2.0-or-later
/* libpvfront's NIC against a back end that lies: each lie kills that NIC alone, once, with a sentence that names it;
 * nothing stays granted, and a device made anew works again.  Frames that are merely no good cost themselves only. */
#include <errno.h>
#include "front-env.h"
#include "fake-netback.h"
#include "frontend/user/nic-impl.h"

#define VIF 0u

struct lie {
	const char *name;
	enum nback_lie lie;
	const char *text; /* part of the error */
	bool no_sg;
};

static const struct lie lies[] = {
	{ "an id never given out", NBACK_TX_ID, "transmit response to id" },
	{ "an id beyond the pages", NBACK_TX_ID_BEYOND, "which is not outstanding" },
	{ "an id of an earlier use", NBACK_TX_STALE, "which is not outstanding" },
	{ "the same answer twice", NBACK_TX_DUPLICATE, "which is not outstanding" },
	{ "a transmit status that is none", NBACK_TX_STATUS, "has status 7" },
	{ "an extra info that was none", NBACK_TX_NULL, "without an extra info" },
	{ "a transmit producer far ahead", NBACK_TX_JUMP, "transmit response producer" },
	/* if more was in flight, what it leads to is a slot that nobody has written */
	{ "a transmit producer one ahead", NBACK_TX_ONE, "transmit response " },
	{ "a transmit producer behind", NBACK_TX_BACKWARDS, "transmit response producer" },
	{ "another slot's id", NBACK_RX_ID, "receive response to id" },
	{ "4097 bytes", NBACK_RX_SIZE, "received 4097 bytes at 0" },
	{ "bytes beyond the page", NBACK_RX_OFFSET, "received 97 bytes at 4000" },
	{ "a receive status that is none", NBACK_RX_STATUS, "has status -3" },
	{ "a receive producer far ahead", NBACK_RX_JUMP, "receive response producer" },
	{ "a receive producer behind", NBACK_RX_BACKWARDS, "receive response producer" },
	{ "a GSO prefix", NBACK_RX_PREFIX, "GSO prefix" },
	{ "an extra info of a type not asked for", NBACK_RX_EXTRA_TYPE, "has type 5" },
	{ "an extra info without a type", NBACK_RX_EXTRA_NONE, "has type 0" },
	{ "extra infos without end", NBACK_RX_EXTRA_ENDLESS, "extra info 5 of a frame" },
	{ "GSO of no type", NBACK_RX_GSO_TYPE, "GSO extra info of type 3" },
	{ "GSO of size 0", NBACK_RX_GSO_SIZE, "size 0" },
	{ "GSO twice", NBACK_RX_GSO_TWICE, "twice in a frame" },
	{ "19 slots", NBACK_RX_SLOTS, "more than 18 slots" },
	{ "slots not asked for", NBACK_RX_UNASKED_SG, "several slots, which was not asked for", true },
	{ "GSO not asked for", NBACK_RX_UNASKED_GSO, "GSO extra info that was not asked for", true },
};

static struct { unsigned frames, dead; uint64_t sum; } seen;

static void changed(void *arg, struct pvf_nic *nic)
{
	seen.dead += pvf_nic_phase(nic) == PVF_DEAD;
}

/* Every byte is touched, so that one outside the pages would be noticed. */
static void receive(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *f)
{
	uint32_t len = 0;

	seen.frames++;
	for (unsigned i = 0; i < f->nr; i++) {
		len += (uint32_t)f->iov[i].iov_len;
		for (size_t b = 0; b < f->iov[i].iov_len; b++)
			seen.sum += ((const uint8_t *)f->iov[i].iov_base)[b];
	}
	assert_int_equal(len, f->len);
	assert_in_range(f->len, 14, 18 * 4096);
	if (f->off.csum_blank)
		assert_true((uint32_t)f->off.csum_start + f->off.csum_offset + 2 <= f->len);
	assert_true(f->off.hdr_len <= f->len);
}

static struct pvf_nic *open_live(struct env *e, uint32_t devid, const struct pvf_nic_options *opt)
{
	struct pvf_nic_options o = *opt;
	struct pvf_nic *nic;

	o.changed = changed;
	o.receive = receive;
	MUST(e, pvf_nic_open(&nic, e->guest, devid, &o, &e->err));
	nic->first_index = 0xfffffff0;
	MUST(e, pvf_nic_wait(nic, WAIT_MS, &e->err));
	return nic;
}

static int send(struct pvf_nic *nic, uint32_t len)
{
	static uint8_t f[65536] = { 0, 0x16, 0x3e, 1, 2, 3, 0, 0x16, 0x3e, 4, 5, 6, 0x88, 0xb5 };
	struct iovec iov = { f, len };
	int rc = pvf_nic_send(nic, 0, &iov, 1, NULL);

	pvf_nic_kick(nic);
	return rc;
}

static void one_ping(struct env *e, struct pvf_nic *nic)
{
	unsigned before = seen.frames;

	assert_int_equal(send(nic, 1000), 0);
	LOOP_UNTIL(e, seen.frames == before + 1);
}

/* Frames are echoed until the lie ends it. */
static void provoke(struct env *e, struct pvf_nic *nic)
{
	uint64_t until = pvb_now_ms() + WAIT_MS;
	uint8_t f[20] = { 0 };

	while (pvf_nic_phase(nic) != PVF_DEAD && pvb_now_ms() < until) {
		for (unsigned i = 0; i < 4; i++)
			pvf_nic_send(nic, 0, &(struct iovec){ f, sizeof(f) }, 1, NULL);
		pvf_nic_kick(nic);
		pvb_loop_once(e->loop, 5);
	}
	assert_int_equal(pvf_nic_phase(nic), PVF_DEAD);
}

static void expect_dead(struct env *e, struct pvf_nic *nic, const struct lie *l, struct pvf_nic *other)
{
	const struct pvb_error *err = pvf_nic_error(nic);

	assert_int_equal(seen.dead, 1);
	if (strstr(err->text, l->text) == NULL || err->code != -EPROTO)
		fail_msg("%s: %d \"%s\"", l->name, err->code, err->text);
	assert_int_equal(send(nic, 100), -ENOTCONN);
	assert_int_equal(pvf_nic_poll(nic, 0), -EPROTO);
	assert_int_equal(pvf_nic_in_flight(nic), 0);
	one_ping(e, other);
	/* it does not come back by itself */
	for (unsigned i = 0; i < 5; i++)
		pvb_loop_once(e->loop, 5);
	assert_int_equal(pvf_nic_phase(nic), PVF_DEAD);
}

static void one_lie(struct env *e, const struct lie *l, struct pvf_nic *other, unsigned honest)
{
	struct nback_options bo = { .lie = l->lie, .honest = honest, .sg = true, .gso = true };
	struct pvf_nic *nic;
	struct nback *nb;

	print_message("%s, after %u honest answers\n", l->name, honest);
	seen.dead = 0;
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, VIF, &(struct pvf_nic_options){ .no_sg = l->no_sg, .tx_pages = 128 });
	provoke(e, nic);
	expect_dead(e, nic, l, other);
	nback_lie(nb, NBACK_HONEST);
	nback_remake(nb);
	LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_LIVE);
	one_ping(e, nic);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_lies(void **state)
{
	struct env *e = *state;
	struct nback_options honest = { .sg = true };
	struct pvf_nic *other;
	struct nback *no;

	MUST(e, nback_start(&no, e->dir, e->domid, VIF + 1, &honest, &e->err));
	other = open_live(e, VIF + 1, &(struct pvf_nic_options){ 0 });
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		one_lie(e, &lies[i], other, 0);
		one_lie(e, &lies[i], other, 5);
	}
	pvf_nic_close(&other, WAIT_MS);
	nback_remove(no, true);
}

/* --- the control ring ------------------------------------------------------------------------------------ */

static void test_control_lies(void **state)
{
	static const struct lie control[] = {
		{ "another message's id", NBACK_CTRL_ID, "control response to message" },
		{ "another type", NBACK_CTRL_TYPE, "control response to message" },
		{ "a status that is none", NBACK_CTRL_STATUS, "has status 4" },
		{ "a producer ahead", NBACK_CTRL_JUMP, "control response producer" },
		{ "an answer nobody asked for", NBACK_CTRL_UNASKED, "control response producer" },
	};
	struct env *e = *state;
	struct pvf_hash hash = { .types = 0xf, .nr_map = 8 };

	for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++) {
		for (unsigned honest = 0; honest < 9; honest += 2) {
			struct nback_options bo = { .lie = control[i].lie, .honest = honest, .ctrl = true,
						    .greft = 512, .hash_types = 0xf, .hash_map = 16 };
			struct pvf_nic_options fo = { .staging = true, .hash = &hash };
			struct pvf_nic *nic;
			struct nback *nb;

			seen.dead = 0;
			if (control[i].lie == NBACK_CTRL_UNASKED)
				bo.lie = NBACK_HONEST;
			MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
			nic = open_live(e, VIF, &fo);
			if (control[i].lie == NBACK_CTRL_UNASKED) {
				LOOP_UNTIL(e, nic->info.staged == 512);
				nback_lie(nb, NBACK_CTRL_UNASKED);
			}
			LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_DEAD);
			if (strstr(pvf_nic_error(nic)->text, control[i].text) == NULL)
				fail_msg("%s: \"%s\"", control[i].name, pvf_nic_error(nic)->text);
			assert_int_equal(seen.dead, 1);
			pvf_nic_close(&nic, WAIT_MS);
			nback_remove(nb, true);
		}
	}
}

/* --- frames that are no good ------------------------------------------------------------------------------ */

static void test_bad_frames(void **state)
{
	static const struct { enum nback_lie lie; unsigned bad, errors, good; } frames[] = {
		{ NBACK_RX_SHORT, 20, 0, 0 },	    { NBACK_RX_EMPTY, 20, 0, 0 },  { NBACK_RX_ERROR, 0, 20, 0 },
		{ NBACK_RX_BLANK, 20, 0, 0 },	    { NBACK_RX_GSO_UDP, 20, 0, 0 },
		{ NBACK_RX_SHORT_FIRST, 0, 0, 20 }, { NBACK_RX_MANY, 0, 0, 20 },
	};
	struct env *e = *state;

	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct nback_options bo = { .lie = frames[i].lie, .sg = true, .gso = true };
		struct pvf_nic *nic;
		struct nback *nb;

		seen.frames = 0;
		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, VIF, &(struct pvf_nic_options){ 0 });
		for (unsigned n = 0; n < 20; n++)
			assert_int_equal(send(nic, 100 + n), 0);
		LOOP_UNTIL(e, nic->stats.rx_bad + nic->stats.rx_errors + nic->stats.rx_frames == 20);
		assert_int_equal(nic->stats.rx_bad, frames[i].bad);
		assert_int_equal(nic->stats.rx_errors, frames[i].errors);
		assert_int_equal(seen.frames, frames[i].good);
		nback_lie(nb, NBACK_HONEST);
		one_ping(e, nic);
		LOOP_UNTIL(e, nic->queues[0].rx.prod - nic->queues[0].rx.cons == 256);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

/* Anything at all in the responses: the NIC may live or die, but no byte outside its pages is touched and none of them
 * is lost.  ASan and the checks in receive() are the judges. */
static void test_chaos(void **state)
{
	struct env *e = *state;
	unsigned dead = 0;

	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct nback_options bo = { .lie = NBACK_CHAOS, .seed = seed * 2654435761u, .sg = true, .gso = true,
					    .sink = true };
		struct pvf_nic *nic;
		struct nback *nb;

		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, VIF, &(struct pvf_nic_options){ .rx_pages = seed % 3 ? 0 : 20 });
		for (unsigned i = 0; i < 100 && !nic->dev.dead; i++) {
			send(nic, 100);
			pvb_loop_once(e->loop, 1);
		}
		dead += nic->dev.dead;
		if (!nic->dev.dead)
			for (unsigned q = 0; q < nic->nr_queues; q++)
				assert_int_equal(nic->queues[q].nr_free_rx + nic->queues[q].packet.nr +
						 (nic->queues[q].rx.prod - nic->queues[q].rx.cons),
						 nic->info.rx_pages);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
	print_message("%u of 60 died, %u frames came through\n", dead, seen.frames);
	assert_in_range(dead, 1, 60);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, env_setup, env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lies), TEST(test_control_lies), TEST(test_bad_frames), TEST(test_chaos),
	};

	return cmocka_run_group_tests_name("front-nic-lies", tests, NULL, NULL);
}
