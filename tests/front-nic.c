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

#define TURN_UNTIL(env, nic, cond) DO_UNTIL(WAIT_MS, cond, turn(env, nic))

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

/* --- checksums and large packets -------------------------------------------------------------------------- */

static const struct shape kinds[] = {
	{ .version = 4, .tcp = true, .len = 1514 },
	{ .version = 4, .len = 700 },
	{ .version = 6, .tcp = true, .len = 1514, .tcp_options = 3 },
	{ .version = 6, .len = 99 },
	{ .version = 4, .tcp = true, .tagged = true, .options = 3, .tcp_options = 10, .len = 1000 },
	{ .version = 6, .tcp = true, .tagged = true, .options = 2, .len = 1001 },
	{ .version = 4, .len = 42 },
	{ .version = 6, .len = 63, .tagged = true },
};

static void send_kinds(struct env *e, struct pvf_nic *nic, struct nback *nb)
{
	static uint8_t f[65536];
	struct nback_counts c;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct shape s = kinds[i];
		bool left = s.version == 4 ? nic->info.csum4 : nic->info.csum6;
		struct pvf_nic_stats before, after;
		struct made m;

		s.blank = true;
		m = make_frame(f, &s);
		assert_false(sum_is_whole(f, &m, &s));
		pvf_nic_stats(nic, &before);
		/* in three pieces, one of them odd */
		struct iovec iov[] = { { f, 21 }, { f + 21, 0 }, { f + 21, m.len - 30 }, { f + m.len - 9, 9 } };

		assert_int_equal(pvf_nic_send(nic, 0, iov, 4, &m.off), 0);
		pvf_nic_kick(nic);
		TURN_UNTIL(e, nic, pvf_nic_in_flight(nic) == 0);
		pvf_nic_stats(nic, &after);
		nback_counts(nb, &c);
		assert_int_equal(after.tx_csum_blank - before.tx_csum_blank, left);
		assert_int_equal(after.tx_csum_filled - before.tx_csum_filled, !left);
		assert_int_equal(c.tx_blank, after.tx_csum_blank);
		assert_int_equal(c.last_len, m.len);
		if (left)
			assert_memory_equal(c.last, f, m.len);
		else if (!sum_is_whole(c.last, &m, &s))
			fail_msg("kind %zu: the checksum is wrong", i);
	}
}

static void test_checksums_sent(void **state)
{
	struct env *e = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct nback_options bo = { .sink = true, .csum6 = i & 1 };
		struct pvf_nic_options fo = { .no_csum = i >> 1 };
		struct pvf_nic *nic;
		struct nback *nb;

		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, &fo);
		send_kinds(e, nic, nb);
		no_complaints(nb);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

/* A checksum the back end would look for elsewhere: of the inner packet of a tunnel, of a protocol it does not know. */
static void test_checksum_elsewhere(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sink = true, .csum6 = true };
	struct shape outer = { .version = 4, .len = 200 }, none = { .len = 100 };
	struct pvf_offload off = { .csum_blank = true, .csum_start = 80, .csum_offset = 16 };
	static uint8_t f[4096];
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	for (unsigned i = 0; i < 2; i++) {
		struct made m = make_frame(f, i == 0 ? &outer : &none);

		off.csum_start = i == 0 ? 80 : 33; /* odd, too */
		assert_int_equal(send_whole(nic, 0, f, m.len, &off), 0);
		pvf_nic_kick(nic);
		TURN_UNTIL(e, nic, pvf_nic_in_flight(nic) == 0);
		nback_counts(nb, &c);
		assert_int_equal(c.tx_blank, 0);
		/* what lay in the field counts into the sum, as the pseudo header's sum would */
		put16(f + off.csum_start + 16, ~slow_sum(f + off.csum_start, m.len - off.csum_start, 0) & 0xffff);
		assert_memory_equal(c.last, f, m.len);
	}
	assert_int_equal(nic->stats.tx_csum_filled, 2);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_gso_both_ways(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sg = true, .gso = true, .csum6 = true };
	static uint8_t f[65536];
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	for (unsigned i = 0; i < 12; i++) {
		struct shape s = { .version = i % 2 ? 6 : 4, .tcp = true, .blank = true, .tagged = i % 3 == 0,
				   .len = i < 6 ? 65535 : 4000 + 1111 * i, .tcp_options = 3, .seed = (uint8_t)i };
		struct made m = make_frame(f, &s);
		const struct pvf_offload *got = &in.off[i];

		m.off.gso = s.version == 4 ? PVF_GSO_TCP4 : PVF_GSO_TCP6;
		m.off.gso_size = (uint16_t)(1448 - i);
		assert_int_equal(send_whole(nic, 0, f, m.len, &m.off), 0);
		pvf_nic_kick(nic);
		TURN_UNTIL(e, nic, in.nr == i + 1);
		assert_int_equal(in.len[i], m.len);
		assert_memory_equal(in.data[i], f, m.len);
		assert_int_equal(got->gso, m.off.gso);
		assert_int_equal(got->gso_size, m.off.gso_size);
		assert_int_equal(got->csum_start, m.l4);
		assert_int_equal(got->csum_offset, 16);
		assert_int_equal(got->hdr_len, m.l4 + 32);
		assert_true(got->csum_blank);
	}
	nback_counts(nb, &c);
	assert_int_equal(c.tx_gso, 12);
	assert_int_equal(c.most_slots, 16);
	assert_int_equal(c.tx_bytes_of_gso_size, 1448 - 11);
	no_complaints(nb);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_offload_received(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sg = true, .send_hash = true };
	static uint8_t f[65536];
	struct pvf_nic *nic;
	struct nback *nb;
	unsigned nr = 0;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++, nr++) {
		struct shape s = kinds[i / 2];
		struct made m;

		s.blank = i % 2;
		m = make_frame(f, &s);
		nback_inject(nb, 0, f, m.len, s.blank, 0, 0);
		TURN_UNTIL(e, nic, in.nr == nr + 1);
		assert_memory_equal(in.data[nr], f, m.len);
		assert_int_equal(in.off[nr].csum_blank, s.blank);
		assert_int_equal(in.off[nr].csum_start, m.off.csum_start);
		assert_int_equal(in.off[nr].csum_offset, m.off.csum_offset);
		assert_int_equal(in.off[nr].gso, PVF_GSO_NONE);
		assert_int_equal(in.off[nr].hash_type, 2);
		assert_int_equal(in.off[nr].hash, 0x12345678);
	}
	assert_int_equal(nic->stats.rx_hashed, nr);
	assert_int_equal(nic->stats.rx_bad, 0);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

/* --- refusals and room ------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sink = true };
	struct shape s = { .version = 4, .tcp = true, .blank = true, .len = 3000 };
	static uint8_t f[66000];
	struct pvf_offload off = { .csum_blank = true, .csum_start = 34, .csum_offset = 16 };
	struct iovec huge[2] = { { f, 66000 }, { f, SIZE_MAX } };
	struct pvf_nic *nic;
	struct nback *nb;

	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_nic(e, &(struct pvf_nic_options){ 0 });
	assert_int_equal(send_whole(nic, 0, f, 60, NULL), -ENOTCONN);
	MUST(e, pvf_nic_wait(nic, WAIT_MS, &e->err));
	make_frame(f, &s);
	assert_int_equal(send_whole(nic, 0, f, 13, NULL), -EINVAL);
	assert_int_equal(send_whole(nic, 0, f, 0, NULL), -EINVAL);
	assert_int_equal(pvf_nic_send(nic, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(send_whole(nic, 0, f, 4097, NULL), -EMSGSIZE);
	assert_int_equal(pvf_nic_send(nic, 0, huge, 2, NULL), -EMSGSIZE);
	huge[0].iov_len = 100;
	assert_int_equal(pvf_nic_send(nic, 0, huge, 2, NULL), -EMSGSIZE);
	off.csum_start = 2990;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL);
	off.csum_start = off.csum_offset = 0xffff;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL);
	off = (struct pvf_offload){ .gso = PVF_GSO_TCP4, .gso_size = 1448 };
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL);
	off = (struct pvf_offload){ .csum_blank = true, .csum_start = 34, .csum_offset = 16, .gso = PVF_GSO_TCP4 };
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL); /* size 0 */
	off.gso_size = 1448;
	off.gso = PVF_GSO_TCP6;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL); /* it is IPv4 */
	off.gso = 3;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL);
	off.gso = PVF_GSO_TCP4;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EOPNOTSUPP);
	off.csum_start = 35;
	assert_int_equal(send_whole(nic, 0, f, 3000, &off), -EINVAL); /* not where TCP is */
	assert_int_equal(nic->stats.tx_frames, 0);
	assert_int_equal(nic->queues[0].nr_free_tx, nic->info.tx_pages);
	pvf_nic_stop(nic);
	assert_int_equal(send_whole(nic, 0, f, 60, NULL), -ENOTCONN);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
	assert_int_equal(pvf_nic_open(&nic, e->guest, VIF, &(struct pvf_nic_options){ 0 }, &e->err), -ENOENT);
	assert_int_equal(pvf_nic_open(&nic, e->guest, VIF, &(struct pvf_nic_options){ .queues = 9 }, &e->err), -EINVAL);
	assert_int_equal(pvf_nic_open(&nic, e->guest, VIF, &(struct pvf_nic_options){ .rx_pages = 257 }, &e->err),
			 -EINVAL);
}

static void test_room(void **state)
{
	struct env *e = *state;
	static uint8_t f[65535];

	for (unsigned i = 0; i < 4; i++) {
		struct nback_options bo = { .sg = true, .gso = true, .sink = true, .hold = true };
		struct pvf_nic_options fo = { .tx_pages = i % 2 ? 40 : 0 };
		uint32_t len = i < 2 ? 60 : 20000;
		unsigned sent = 0, rooms = 0;
		struct nback_counts c;
		struct pvf_nic *nic;
		struct nback *nb;

		inbox_clear();
		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, &fo);
		while (send_whole(nic, 0, f, len, NULL) == 0)
			sent++;
		assert_int_equal(sent, nic->info.tx_pages / ((len + 4095) / 4096));
		assert_int_equal(send_whole(nic, 0, f, len, NULL), -EAGAIN);
		pvf_nic_kick(nic);
		assert_int_equal(pvf_nic_in_flight(nic), sent);
		nback_release(nb);
		LOOP_UNTIL(e, in.rooms > rooms);
		/* from now on the back end is faster than we are, or slower: all must go through */
		while (sent < 3000) {
			rooms = in.rooms;
			if (send_whole(nic, 0, f, len, NULL) == 0) {
				sent++;
				continue;
			}
			pvf_nic_kick(nic);
			LOOP_UNTIL(e, in.rooms > rooms);
		}
		pvf_nic_kick(nic);
		LOOP_UNTIL(e, pvf_nic_in_flight(nic) == 0);
		nback_counts(nb, &c);
		assert_int_equal(c.tx_frames, sent);
		assert_int_equal(nic->queues[0].nr_free_tx, nic->info.tx_pages);
		no_complaints(nb);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

static void test_statuses(void **state)
{
	struct env *e = *state;
	static uint8_t f[9000];

	for (int16_t status = -2; status <= -1; status++) {
		struct nback_options bo = { .sg = true, .sink = true, .tx_status = status };
		struct pvf_nic *nic;
		struct nback *nb;

		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, &(struct pvf_nic_options){ 0 });
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(send_whole(nic, 0, f, 9000, NULL), 0);
		pvf_nic_kick(nic);
		LOOP_UNTIL(e, pvf_nic_in_flight(nic) == 0);
		assert_int_equal(nic->stats.tx_errors, status == -1 ? 10 : 0);
		assert_int_equal(nic->stats.tx_dropped, status == -2 ? 10 : 0);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

/* Replies from within the callback, many at a time, over several queues. */
static void test_answers_from_callbacks(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .max_queues = 4, .sg = true, .sink = true, .split = true };
	static uint8_t f[10000];
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	in.answer = true;
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ .queues = 4 });
	for (unsigned i = 0; i < 2000; i++) {
		nback_inject(nb, i % 4, f, i % 7 ? 100 : 10000, false, 0, 0);
		if (i % 40 == 39)
			LOOP_UNTIL(e, in.nr == i + 1);
	}
	LOOP_UNTIL(e, in.nr == 2000 && pvf_nic_in_flight(nic) == 0);
	nback_counts(nb, &c);
	assert_int_equal(c.tx_frames, 2000);
	for (unsigned q = 0; q < 4; q++)
		assert_int_equal(in.per_queue[q], 500);
	no_complaints(nb);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

/* --- control ring and multicast ---------------------------------------------------------------------------- */

static void test_hash(void **state)
{
	struct env *e = *state;
	struct pvf_hash hash = { .types = 0xf, .nr_map = 128 };
	struct nback_options bo = { .max_queues = 3, .ctrl = true, .hash_types = 0x3, .hash_map = 64 };
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;
	unsigned sum = 0;

	for (unsigned i = 0; i < 40; i++)
		sum += hash.key[i] = (uint8_t)(7 * i + 1);
	for (unsigned i = 0; i < 128; i++)
		hash.map[i] = (uint8_t)(i / 2);
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ .queues = 3, .hash = &hash, .staging = true });
	LOOP_UNTIL(e, nic->info.hash_types != 0);
	assert_int_equal(nic->info.hash_types, 3);
	nback_counts(nb, &c);
	assert_int_equal(c.hash_types, 3);
	assert_int_equal(c.hash_key_sum, sum);
	assert_int_equal(c.nr_hash_map, 64);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(c.hash_map[i], i / 2 % 3);
	LOOP_UNTIL(e, nic->ctrl.step == 9 && !nic->ctrl.busy); /* staging: not supported */
	assert_int_equal(nic->info.staged, 0);
	no_complaints(nb);
	/* the same for a back end that knows none of it */
	bo.hash_types = 0;
	nback_close(nb);
	LOOP_UNTIL(e, pvf_nic_phase(nic) != PVF_LIVE);
	nback_reopen(nb, &bo);
	LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_LIVE && nic->ctrl.step == 9 && !nic->ctrl.busy);
	assert_int_equal(nic->info.hash_types, 0);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static uint32_t groups_of(struct nback *nb)
{
	struct nback_counts c;

	nback_counts(nb, &c);
	return c.groups;
}

static bool asks_for_list(struct nback *nb)
{
	struct nback_counts c;

	nback_counts(nb, &c);
	return c.multicast;
}

static void test_multicast(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .multicast = true, .dynamic = true, .sink = true };
	uint8_t list[70][6] = { { 0 } };
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	for (unsigned i = 0; i < 70; i++)
		memcpy(list[i], (uint8_t[]){ 0x01, 0, 0x5e, 0, 1, (uint8_t)i }, 6);
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_nic(e, &(struct pvf_nic_options){ .multicast = true });
	assert_int_equal(pvf_nic_multicast(nic, list, 65), -E2BIG);
	assert_int_equal(pvf_nic_multicast(nic, list, 3), 0); /* before it is live */
	MUST(e, pvf_nic_wait(nic, WAIT_MS, &e->err));
	LOOP_UNTIL(e, groups_of(nb) == 3);
	assert_int_equal(pvf_nic_multicast(nic, list + 2, 64), 0);
	LOOP_UNTIL(e, groups_of(nb) == 64);
	list[69][0] = 0;
	assert_int_equal(pvf_nic_multicast(nic, list + 60, 10), -EINVAL);
	for (unsigned i = 0; i < 40; i++) /* faster than the answers come */
		assert_int_equal(pvf_nic_multicast(nic, list + i % 6, i % 3 ? 2 : 64), 0);
	assert_int_equal(pvf_nic_multicast(nic, list, 5), 0);
	LOOP_UNTIL(e, groups_of(nb) == 5);
	nback_close(nb);
	LOOP_UNTIL(e, pvf_nic_phase(nic) != PVF_LIVE);
	assert_int_equal(pvf_nic_multicast(nic, list, 4), 0);
	bo.mcast_max = 2;
	nback_reopen(nb, &bo);
	LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_LIVE && groups_of(nb) == 2);
	/* two were refused: it is asked for all */
	LOOP_UNTIL(e, nic->stats.mcast_refused == 2 && !asks_for_list(nb));
	assert_int_equal(pvf_nic_multicast(nic, list, 0), 0);
	LOOP_UNTIL(e, groups_of(nb) == 0);
	no_complaints(nb);
	nback_counts(nb, &c);
	assert_int_equal(c.tx_frames, 0);
	LOOP_UNTIL(e, nic->queues[0].tx_extras == 0);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

/* --- coming and going -------------------------------------------------------------------------------------- */

static void ping(struct env *e, struct pvf_nic *nic)
{
	static uint8_t f[1000];
	unsigned before = in.nr;

	f[20] = (uint8_t)before;
	assert_int_equal(send_whole(nic, before, f, sizeof(f), NULL), 0);
	pvf_nic_kick(nic);
	TURN_UNTIL(e, nic, in.nr == before + 1);
}

static void test_reconnect(void **state)
{
	struct env *e = *state;
	static const struct nback_options options[] = {
		{ .sg = true, .gso = true, .max_queues = 4, .split = true },
		{ 0 },
		{ .max_queues = 2, .ctrl = true, .greft = 512 },
		{ .sg = true, .max_queues = 3, .ctrl = true },
	};
	static uint8_t f[1000];
	struct nback_counts c;
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &options[0], &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ .queues = 4, .staging = true });
	for (unsigned i = 1; i < 9; i++) {
		struct nback_options bo = options[i % 4];

		ping(e, nic);
		nback_lie(nb, i % 2 ? NBACK_TX_SILENT : NBACK_HONEST); /* something in flight, or not */
		send_whole(nic, 0, f, sizeof(f), NULL);
		pvf_nic_kick(nic);
		nback_close(nb);
		LOOP_UNTIL(e, pvf_nic_phase(nic) != PVF_LIVE);
		assert_int_equal(send_whole(nic, 0, f, 60, NULL), -ENOTCONN);
		pvf_nic_kick(nic);
		LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_DOWN || pvf_nic_phase(nic) == PVF_WAITING);
		assert_non_null(strstr(pvf_nic_error(nic)->text, "the back end went to state 5"));
		in.nr = 0;
		nback_reopen(nb, &bo);
		LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_LIVE);
		assert_int_equal(nic->info.queues, bo.max_queues ? bo.max_queues : 1);
		assert_int_equal(nic->info.sg, bo.sg);
		assert_int_equal(pvf_nic_error(nic)->code, 0);
		nback_counts(nb, &c);
		assert_int_equal(c.connects, i + 1);
		assert_int_equal(nic->stats.connects, i + 1);
	}
	ping(e, nic);
	assert_in_range(nic->stats.tx_lost, 4, 8);
	no_complaints(nb);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_removed_and_remade(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sg = true };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	for (unsigned i = 0; i < 2; i++) {
		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, &(struct pvf_nic_options){ 0 });
		ping(e, nic);
		for (uint32_t n = 1; n < 4; n++) {
			nback_remake(nb);
			LOOP_UNTIL(e, pvf_nic_info(nic)->generation == n && pvf_nic_phase(nic) == PVF_LIVE);
			ping(e, nic);
		}
		if (i == 0) { /* without a word */
			nback_remove(nb, false);
			LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_GONE);
			assert_int_equal(pvf_nic_error(nic)->code, -ENODEV);
			assert_int_equal(pvf_nic_wait(nic, 100, &e->err), -ENODEV);
		}
		pvf_nic_close(&nic, WAIT_MS);
		if (i == 1)
			nback_remove(nb, true);
	}
}

/* A process guest that was killed leaves state 4 behind, and its rings; the next one starts over. */
static void test_after_a_crash(void **state)
{
	struct env *e = *state;
	static const unsigned left[] = { 3, 4, 5, 6 };
	struct nback_options bo = { .max_queues = 2 };
	struct pvf_nic *nic;
	struct nback *nb;
	char text[8];

	inbox_clear();
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		nic = open_live(e, &(struct pvf_nic_options){ .queues = 2 });
		/* forget it: as if the process had died */
		pvb_store_unwatch(&nic->dev.watch_dir);
		pvb_store_unwatch(&nic->dev.watch_back);
		pvf_nic_release(&nic->dev);
		nic->dev.phase = PVF_GONE;
		pvf_nic_close(&nic, 0);
		snprintf(text, sizeof(text), "%u", left[i]);
		nback_front_key(nb, "state", text);
		nic = open_live(e, &(struct pvf_nic_options){ .queues = 1 + i % 2 });
		ping(e, nic);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

static void test_slow_start_and_death(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .wait = true };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_nic(e, &(struct pvf_nic_options){ 0 });
	assert_int_equal(pvf_nic_wait(nic, 50, &e->err), -ETIMEDOUT);
	assert_non_null(strstr(e->err.text, "vif 0: still waiting"));
	nback_go(nb);
	MUST(e, pvf_nic_wait(nic, WAIT_MS, &e->err));
	ping(e, nic);
	nback_kill(nb); /* nobody answers any more; its pages are let go of */
	pvf_nic_stop(nic);
	assert_true(pvf_nic_down(nic, WAIT_MS));
	pvf_nic_close(&nic, WAIT_MS);
}

/* A back end that keeps pages mapped: they are leaked, not reused, and nothing else is. */
static void test_pages_kept(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .keep = true };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	for (unsigned i = 0; i < 5; i++)
		ping(e, nic);
	pvf_nic_close(&nic, WAIT_MS);
	assert_in_range(pvb_hv_live(e->hv)->stuck, 1, 1024);
	nback_remove(nb, true);
}

static void test_carrier_and_mtu(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .sg = true };
	struct pvf_nic *nic;
	struct nback *nb;
	unsigned before;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	assert_true(nic->info.carrier);
	before = in.changes;
	nback_key(nb, "carrier", "0");
	LOOP_UNTIL(e, !nic->info.carrier && in.changes == before + 1);
	ping(e, nic); /* it is only told */
	nback_key(nb, "carrier", "1");
	LOOP_UNTIL(e, nic->info.carrier && in.changes == before + 2);
	nback_front_key(nb, "mtu", "9000");
	LOOP_UNTIL(e, nic->info.mtu == 9000 && in.changes == before + 3);
	nback_front_key(nb, "mtu", NULL);
	LOOP_UNTIL(e, nic->info.mtu == 1500);
	nback_key(nb, "carrier", "up");
	LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_DEAD);
	assert_non_null(strstr(pvf_nic_error(nic)->text, "carrier"));
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

/* Keys that can not be worked with are told, and the device is tried again when it is another one. */
static void test_bad_keys(void **state)
{
	static const struct { bool front; const char *key, *value, *text; } bad[] = {
		{ false, "feature-rx-copy", "0", "does not copy" },
		{ false, "feature-sg", "2", "feature-sg" },
		{ false, "multi-queue-max-queues", "0", "multi-queue-max-queues" },
		{ false, "frontend", "/local/domain/99/device/vif/0", "not us" },
		{ false, "frontend-id", "99", "serves domain 99" },
		{ true, "mac", "00:16:3e:00:00", "mac is" },
		{ true, "mac", "01:00:5e:00:00:01", "mac is" },
		{ true, "mac", "00-16-3e-00-00-01", "mac is" },
		{ true, "mac", NULL, "mac is" },
		{ true, "mtu", "none", "mtu" },
	};
	struct env *e = *state;
	struct nback_options bo = { .wait = true };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
		if (bad[i].front)
			nback_front_key(nb, bad[i].key, bad[i].value);
		else
			nback_key(nb, bad[i].key, bad[i].value);
		nback_go(nb);
		nic = open_nic(e, &(struct pvf_nic_options){ 0 });
		assert_true(pvf_nic_wait(nic, WAIT_MS, &e->err) < 0);
		if (strstr(e->err.text, bad[i].text) == NULL)
			fail_msg("%s: \"%s\"", bad[i].key, e->err.text);
		nback_remake(nb);
		nback_go(nb);
		LOOP_UNTIL(e, pvf_nic_phase(nic) == PVF_LIVE);
		ping(e, nic);
		pvf_nic_close(&nic, WAIT_MS);
		nback_remove(nb, true);
	}
}

/* The domain can not grant what is wanted: smaller pools, then fewer queues, then none. */
static void test_few_pages(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { .max_queues = 4, .sg = true };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 1, 3, -ENOSPC); /* 256, 128, 64 */
	nic = open_live(e, &(struct pvf_nic_options){ .queues = 4 });
	assert_int_equal(nic->info.rx_pages, 32);
	assert_int_equal(nic->info.tx_pages, 256);
	assert_int_equal(nic->info.queues, 4);
	ping(e, nic);
	pvf_nic_close(&nic, WAIT_MS);
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 3 * 2 + 1, 1000, -ENOSPC);
	nic = open_live(e, &(struct pvf_nic_options){ .queues = 4 });
	assert_int_equal(nic->info.queues, 2);
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 0, 0, 0);
	ping(e, nic);
	pvf_nic_close(&nic, WAIT_MS);
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 1, 1000, -ENOSPC);
	nic = open_nic(e, &(struct pvf_nic_options){ .queues = 4 });
	assert_int_equal(pvf_nic_wait(nic, WAIT_MS, &e->err), -ENOSPC);
	pvb_hv_fault(e->hv, PVB_FAULT_GRANT, 0, 0, 0);
	/* the first attempt had pages for its rings, and one after it, when there was time for that, not even those */
	if (strstr(e->err.text, "no 4 pages to grant for what is received") == NULL &&
	    strstr(e->err.text, "no 2 pages to grant for rings") == NULL)
		fail_msg("%s", e->err.text);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

static void test_storm(void **state)
{
	struct env *e = *state;
	struct nback_options bo = { 0 };
	struct pvf_nic *nic;
	struct nback *nb;

	inbox_clear();
	MUST(e, nback_start(&nb, e->dir, e->domid, VIF, &bo, &e->err));
	nic = open_live(e, &(struct pvf_nic_options){ 0 });
	for (unsigned i = 0; i < 200; i++) {
		nback_storm(nb, 100);
		pvb_loop_once(e->loop, 0);
	}
	assert_in_range(nic->stats.spurious, 1, 30);
	ping(e, nic);
	assert_int_equal(pvf_nic_phase(nic), PVF_LIVE);
	pvf_nic_close(&nic, WAIT_MS);
	nback_remove(nb, true);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, env_setup, env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_links), TEST(test_checksums_sent), TEST(test_checksum_elsewhere), TEST(test_gso_both_ways),
		TEST(test_offload_received), TEST(test_refusals), TEST(test_room), TEST(test_statuses),
		TEST(test_answers_from_callbacks), TEST(test_hash), TEST(test_multicast), TEST(test_reconnect),
		TEST(test_removed_and_remade), TEST(test_after_a_crash), TEST(test_slow_start_and_death),
		TEST(test_pages_kept), TEST(test_carrier_and_mtu),
		TEST(test_bad_keys), TEST(test_few_pages), TEST(test_storm),
	};
	int rc = cmocka_run_group_tests_name("front-nic", tests, NULL, NULL);

	inbox_clear();
	return rc;
}
