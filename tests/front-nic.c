// SPDX-License-Identifier: GPL-2.0-or-later
/* libpvfront's NIC against a back end that keeps to the protocol: negotiation, frames of every size and kind both ways,
 * offload, staging, hash, multicast, and every way a device can come and go. */
#include <errno.h>
#include "front-env.h"
#include "fake-netback.h"
#include "frontend/user/nic-impl.h"
#include "nic-frames.h"

#define VIF 0u
#define FIRST 0xfffffff0u

/* --- what the tests receive ---------------------------------------------------------------------------- */

#define KEPT 1024

struct inbox {
	unsigned nr, rooms, changes;
	unsigned per_queue[PVF_NIC_MAX_QUEUES];
	uint32_t len[KEPT];
	unsigned pieces[KEPT], queue[KEPT];
	struct pvf_offload off[KEPT];
	uint8_t *data[KEPT];
	bool answer;             /* send each frame back */
};
static struct inbox in;

static void inbox_clear(void)
{
	for (unsigned i = 0; i < KEPT; i++)
		free(in.data[i]);
	memset(&in, 0, sizeof(in));
}

static void receive(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *f)
{
	unsigned n = in.nr++ % KEPT;
	uint32_t at = 0;

	assert_ptr_equal(arg, &in);
	assert_in_range(f->nr, 1, PVF_NIC_MAX_SLOTS + 1);
	assert_int_equal(f->iov[0].iov_len, f->len < PVF_NIC_HDR ? f->len : PVF_NIC_HDR);
	in.per_queue[queue]++;
	in.len[n] = f->len;
	in.pieces[n] = f->nr;
	in.queue[n] = queue;
	in.off[n] = f->off;
	free(in.data[n]);
	in.data[n] = malloc(f->len);
	for (unsigned i = 0; i < f->nr; i++) {
		memcpy(in.data[n] + at, f->iov[i].iov_base, f->iov[i].iov_len);
		at += (uint32_t)f->iov[i].iov_len;
	}
	assert_int_equal(at, f->len);
	if (in.answer)
		assert_int_equal(pvf_nic_send(nic, queue, f->iov, f->nr, &f->off), 0);
}

static void room(void *arg, struct pvf_nic *nic, unsigned queue)
{
	in.rooms++;
}

static void changed(void *arg, struct pvf_nic *nic)
{
	in.changes++;
}

static struct pvf_nic *open_nic(struct env *e, const struct pvf_nic_options *opt)
{
	struct pvf_nic_options o = *opt;
	struct pvf_nic *nic;

	o.receive = receive;
	o.room = room;
	o.changed = changed;
	o.arg = &in;
	MUST(e, pvf_nic_open(&nic, e->guest, VIF, &o, &e->err));
	nic->first_index = FIRST;
	return nic;
}

static struct pvf_nic *open_live(struct env *e, const struct pvf_nic_options *opt)
{
	struct pvf_nic *nic = open_nic(e, opt);

	MUST(e, pvf_nic_wait(nic, WAIT_MS, &e->err));
	return nic;
}

static void no_complaints(struct nback *nb)
{
	struct nback_counts c;

	nback_counts(nb, &c);
	if (c.complaints != 0)
		fail_msg("the back end complains %u times, last: %s", c.complaints, c.complaint);
}

/* A round of the loop, or of polls. */
static void turn(struct env *e, struct pvf_nic *nic)
{
	if (nic->opt.polled)
		for (unsigned q = 0; q < nic->nr_queues; q++)
			pvf_nic_poll(nic, q);
	pvb_loop_once(e->loop, nic->opt.polled ? 0 : 50);
}

#define TURN_UNTIL(env, nic, cond) do { \
	uint64_t until_ = pvb_now_ms() + WAIT_MS; \
	while (!(cond) && pvb_now_ms() < until_) \
		turn(env, nic); \
	if (!(cond)) \
		fail_msg("waited %d ms for: %s", WAIT_MS, #cond); \
} while (0)

static int send_whole(struct pvf_nic *nic, unsigned queue, const uint8_t *data, size_t len,
		      const struct pvf_offload *off)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };

	return pvf_nic_send(nic, queue, &iov, 1, off);
}

/* --- frames over every shape of connection ---------------------------------------------------------------- */

struct link {
	const char *name;
	struct nback_options back;
	struct pvf_nic_options front;
	unsigned queues;
	bool split, sg, gso;
	uint32_t mtu;
};

static const struct link links[] = {
	{ "plain", { 0 }, { 0 }, 1, false, false, false, 1500 },
	{ "split", { .split = true }, { 0 }, 1, true, false, false, 1500 },
	{ "one channel wanted", { .split = true }, { .no_split = true }, 1, false, false, false, 1500 },
	{ "large frames", { .sg = true, .mtu = 9000 }, { 0 }, 1, false, true, false, 9000 },
	{ "large MTU without them", { .mtu = 9000 }, { 0 }, 1, false, false, false, 4078 },
	{ "large packets", { .sg = true, .gso = true, .csum6 = true }, { 0 }, 1, false, true, true, 1500 },
	{ "GSO without SG is none", { .gso = true }, { 0 }, 1, false, false, false, 1500 },
	{ "everything",
	  { .max_queues = 8, .split = true, .sg = true, .gso = true, .csum6 = true, .ctrl = true, .greft = 512 },
	  { .queues = 8, .staging = true, .tx_pages = 64, .rx_pages = 64 }, 8, true, true, true, 1500 },
	{ "back end has less", { .max_queues = 2, .sg = true }, { .queues = 8 }, 2, false, true, false, 1500 },
	{ "front end has less", { .max_queues = 8, .sg = true, .gso = true, .split = true },
	  { .queues = 3, .no_sg = true }, 3, true, false, false, 1500 },
	{ "no checksums", { .sg = true, .gso = true, .csum6 = true }, { .no_csum = true }, 1, false, true, false,
	  1500 },
	{ "received in small pieces", { .sg = true, .piece = 700, .offset = 66 }, { 0 }, 1, false, true, false, 1500 },
	{ "slot by slot", { .sg = true, .split = true, .slot_by_slot = true }, { 0 }, 1, true, true, false, 1500 },
	{ "four buffers", { .sg = true }, { .rx_pages = 4, .tx_pages = 4 }, 1, false, false, false, 1500 },
	{ "twenty buffers", { .sg = true, .gso = true }, { .rx_pages = 20, .tx_pages = 20 }, 1, false, true, true,
	  1500 },
	{ "staged", { .sg = true, .ctrl = true, .greft = 512 }, { .staging = true }, 1, false, true, false, 1500 },
	{ "staged in part", { .sg = true, .ctrl = true, .greft = 37 }, { .staging = true }, 1, false, true, false,
	  1500 },
	{ "staging not supported", { .sg = true, .ctrl = true }, { .staging = true }, 1, false, true, false, 1500 },
	{ "polled", { .max_queues = 2, .sg = true }, { .queues = 2, .polled = true }, 2, false, true, false, 1500 },
};

/* Frames of many sizes, each echoed and compared. */
static void echo(struct env *e, struct pvf_nic *nic, const struct link *l)
{
	static const uint32_t sizes[] = {
		14, 60, 1514, 191, 192, 193, 4096, 4097, 8192, 9014, 65535, 700, 1400, 12000,
	};
	static uint8_t data[65536];
	unsigned sent = 0;

	/* pieces of 700 bytes make more slots than a frame may have */
	for (unsigned i = 0; i < 300; i++) {
		uint32_t len = sizes[i % 14];

		if (len > nic->info.max_frame || len > (nic->info.rx_sg ? 65535 : 4096) ||
		    (l->back.piece != 0 && len > 18 * l->back.piece))
			continue;
		for (uint32_t b = 0; b < len; b++)
			data[b] = (uint8_t)(b * 31 + i + (b >> 8));
		while (send_whole(nic, i, data, len, NULL) == -EAGAIN) {
			pvf_nic_kick(nic);
			turn(e, nic);
		}
		sent++;
		pvf_nic_kick(nic);
		TURN_UNTIL(e, nic, in.nr == sent);
		assert_int_equal(in.len[(sent - 1) % KEPT], len);
		assert_memory_equal(in.data[(sent - 1) % KEPT], data, len);
		assert_int_equal(in.queue[(sent - 1) % KEPT], i % l->queues);
	}
	TURN_UNTIL(e, nic, pvf_nic_in_flight(nic) == 0);
}

static void one_link(struct env *e, const struct link *l)
{
	struct pvf_nic_stats s;
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	print_message("%s\n", l->name);
	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &l->back, &e->err));
	nic = open_live(e, &l->front);
	nback_counts(nb, &c);
	if (nic->info.queues != l->queues || c.queues != l->queues || nic->info.split != l->split ||
	    c.split != l->split || nic->info.sg != l->sg || nic->info.gso4 != l->gso || nic->info.mtu != l->mtu)
		fail_msg("%s: %u queues (%u), split %d (%d), sg %d, gso %d, mtu %u", l->name, nic->info.queues,
			 c.queues, nic->info.split, c.split, nic->info.sg, nic->info.gso4, nic->info.mtu);
	assert_memory_equal(nic->info.mac, "\x00\x16\x3e\x12\x34\x56", 6);
	assert_int_equal(c.rx_posted, nic->info.rx_pages);
	assert_int_equal(c.no_csum4, l->front.no_csum);
	assert_int_equal(c.ctrl, l->front.staging);
	if (l->back.greft != 0)
		TURN_UNTIL(e, nic, nic->ctrl.step == 9);
	echo(e, nic, l);
	no_complaints(nb);
	nback_counts(nb, &c);
	pvf_nic_stats(nic, &s);
	assert_int_equal(c.tx_frames, s.tx_frames);
	assert_int_equal(c.rx_frames, s.rx_frames);
	assert_int_equal(c.staged, nic->info.staged);
	if (l->back.greft == 512) {
		assert_int_equal(nic->info.staged, l->queues * (nic->info.tx_pages + nic->info.rx_pages));
		assert_int_equal(c.staged_misses, 0);
	}
	assert_int_equal(s.rx_errors + s.rx_bad + s.tx_errors + s.tx_dropped, 0);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_links(void **state)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		one_link(*state, &links[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_links, env_setup, env_teardown),
	};

	return cmocka_run_group_tests_name("front-nic", tests, NULL, NULL);
}
