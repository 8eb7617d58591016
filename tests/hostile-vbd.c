// SPDX-License-Identifier: GPL-2.0-or-later
/* Lies told through the store, the ring and its slots, and deaths: a real pvbackd with one lying guest and one honest
 * one, whose verified I/O never stops.  Each lie must be named, and pvbackd must be as it was afterwards.  On the local
 * fabric, or in a guest of a real Xen (hostile-stage.h):
 *   hostile-vbd [PATTERN]                        the tests whose name fits
 *   hostile-vbd --answer PVBACKD LIAR GOOD LOG   in domain 0: see stage_answer()
 */
#include "unit.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "bus/loop.h"
#include "tests/hostile-disks.h"
#include "tests/hostile-lies.h"
#include "tests/hostile-stage.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define WAIT_MS STAGE_WAIT_MS
#define LINES_A_LIE 10u        /* in the log: a connection's coming and going, and the error */

static struct hfront liar, readonly;
static uint8_t slot[PVF_SLOT_MAX];

static bool left; /* cmocka does not count what goes wrong after the last test */

static int set_up(void **state)
{
	static struct hfront *const both[] = { &liar, &readonly };

	stage_up(&stage_disks, both);
	return 0;
}

static int tear_down(void **state)
{
	stage_down();
	left = true;
	return 0;
}

static int connecting(struct hfront *h, const struct hfront_options *opt, struct pvb_error *err)
{
	return hfront_connect(h, opt, WAIT_MS, err);
}

static void connect_or_fail(struct hfront *h, const struct hfront_options *opt)
{
	struct pvb_error err = { 0 };

	if (connecting(h, opt, &err) < 0)
		fail_msg("%s", err.text);
}

static int rw(struct hfront *h, uint8_t op, unsigned page, unsigned nr)
{
	hfront_rw(h, slot, op, 5, 0, page, nr);
	return hfront_roundtrip(h, 0, slot, 5, WAIT_MS);
}

/* A connection whose worker has all it needs: what it is from now on, it must be at the end. */
static void connect_and_mark(struct hfront *h, const struct hfront_options *opt)
{
	connect_or_fail(h, opt);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rw(h, BLKIF_OP_READ, 0, 11), 0);
	stage_worker_mark();
}

static void works(void)
{
	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	stage_begin_anew(&liar);
}

/* After much that made no sense: the back end may still be busy with what it saw in the middle of that, and say so; not
 * for long. */
static void works_again(void)
{
	struct pvb_error err;

	stage_begin_anew(&liar);
	for (unsigned i = 0; connecting(&liar, &(struct hfront_options){ 0 }, &err) < 0; i++) {
		if (i == 3)
			fail_msg("%s", err.text);
		stage_begin_anew(&liar);
	}
	stage_begin_anew(&liar);
	works();
}

/* ---- the store ------------------------------------------------------------------------------------------ */

static const struct {
	const char *key, *value, *text;
	unsigned queues, order;
} lies[] = {
	STAGE_QUEUE_LIES,
	{ "multi-queue-num-queues", "2", "queue 0: event-channel is missing" },
	{ "ring-page-order", "", "ring-page-order" },
	{ "ring-page-order", "-1", "ring-page-order" },
	{ "ring-page-order", " 1", "ring-page-order" },
	{ "ring-page-order", "1x", "ring-page-order" },
	{ "ring-page-order", "0x1", "ring-page-order" },
	{ "ring-page-order", "5", "ring-page-order" },
	{ "ring-page-order", "31", "ring-page-order" },
	{ "ring-page-order", "4294967296", "ring-page-order" },
	{ "ring-page-order", "2", "queue 0: ring-ref0 is missing, the ring has 4 pages" },
	{ "ring-ref", NULL, "ring-ref0 is missing, the ring has 1 pages" },
	{ "ring-ref", "", "ring-ref" },
	{ "ring-ref", "4294967296", "ring-ref" },
	{ "ring-ref", "-1", "ring-ref" },
	{ "ring-ref", "1073741823", "first grant 1073741823" },
	{ "ring-ref3", NULL, "ring-ref3 is missing, the ring has 4 pages", 1, 2 },
	{ "ring-ref2", "1073741823", "ring of 4 pages", 1, 2 },
	{ "event-channel", NULL, "event-channel is missing" },
	{ "event-channel", "", "event-channel" },
	{ "event-channel", "65000", "event channel 65000" },
	{ "event-channel", "4294967295", "event" },
	{ "queue-2/event-channel", NULL, "queue 2: event-channel is missing", 4 },
	{ "queue-3/ring-ref", NULL, "queue 3: ring-ref0 is missing", 4 },
	{ "queue-1/ring-ref", "77x", "ring-ref", 4 },
	{ "protocol", "foo", "protocol is \"foo\", served are x86_32-abi and x86_64-abi" },
	{ "protocol", "", "protocol is \"\"" },
	{ "protocol", "x86_64-abi\n[INFO] all is well", "protocol is \"x86_64-abi?[INFO] all is well\"" },
	{ "feature-persistent", "2", "feature-persistent" },
};

/* The guest's other disk is in use meanwhile, by the same worker, and must go on, too. */
static void the_store_lies(void **state)
{
	unsigned nr = sizeof(lies) / sizeof(lies[0]);

	connect_or_fail(&readonly, &(struct hfront_options){ 0 });
	works();
	for (unsigned i = 0; i < nr; i++) {
		struct pvb_pair lie = { lies[i].key, lies[i].value };
		struct hfront_options opt = { .queues = lies[i].queues, .ring_order = lies[i].order, .keys = &lie, .nr_keys = 1 };
		struct pvb_error err;

		if (connecting(&liar, &opt, &err) == 0)
			fail_msg("%s = \"%s\" was taken", lie.key, lie.value != NULL ? lie.value : "(none)");
		stage_error_says(&liar, lies[i].text);
		assert_int_equal(rw(&readonly, BLKIF_OP_READ, 0, 1), 0);
		stage_good();
		stage_begin_anew(&liar);
	}
	works();
	stage_begin_anew(&readonly);
	stage_log_says(lies[0].text);
	stage_log_at_most((nr + 2) * LINES_A_LIE);
	print_message("%u lies\n", nr);
}

static void the_backend_key_points_elsewhere(void **state)
{
	struct pvb_error err;
	char path[100];

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u", stage_good_domid, DISKS_DEVID);
	assert_int_equal(hfront_write(&liar, "backend", path), 0);
	hfront_write(&liar, "virtual-device", "999");
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	stage_good();
	stage_begin_anew(&liar);
	assert_true(connecting(&liar, &(struct hfront_options){ 0 }, &err) < 0);
	stage_error_says(&liar, "the front end's backend key says /local/domain/0/backend/vbd/");
	assert_int_equal(hfront_write(&liar, "backend", liar.back), 0);
	stage_begin_anew(&liar);
	works();
}

static void states_and_keys_in_any_order(void **state)
{
	static const char *const keys[] = { "ring-ref", "event-channel", "multi-queue-num-queues", "ring-page-order", "protocol",
					    "ring-ref0", "ring-ref1", "queue-1/ring-ref", "feature-persistent" };
	unsigned seconds = stage_on_xen ? 20 : 2;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	stage_walk(&liar, PVB_INITIALISED, keys, sizeof(keys) / sizeof(keys[0]), seconds);
	works_again();
	stage_log_at_most(500 + seconds * 100); /* 100 rounds of closing and beginning anew are slowed down */
}

static void connecting_without_end(void **state)
{
	unsigned rounds = stage_on_xen ? 8 : 150, flips = stage_on_xen ? 40 : 300;

	for (unsigned i = 0; i < rounds; i++) {
		bool lie = i % 3 == 2;
		struct pvb_pair key = { "ring-ref", "1073741823" };
		struct hfront_options opt = { .queues = 1 + i % 2, .keys = &key, .nr_keys = lie && i % 2 == 0 };
		struct pvb_error err = { 0 };
		int rc = connecting(&liar, &opt, &err);

		if ((rc < 0) != (opt.nr_keys == 1))
			fail_msg("round %u: %s", i, err.text);
		stage_begin_anew(&liar);
	}
	for (unsigned i = 0; i < flips; i++) { /* without waiting for anything */
		hfront_state(&liar, PVB_INITIALISED);
		hfront_state(&liar, PVB_CLOSED);
		hfront_state(&liar, PVB_INITIALISING);
	}
	works_again();
}

/* ---- the ring ------------------------------------------------------------------------------------------- */

struct storm {
	pthread_t thread;
	int stop;
	uint64_t events;
};

static void *do_storm(void *arg)
{
	struct storm *s = arg;

	for (; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); s->events++)
		hfront_notify(&liar, 0);
	return NULL;
}

static void events_without_work(void **state)
{
	struct storm s = { 0 };
	uint64_t until;

	connect_and_mark(&liar, &(struct hfront_options){ 0 });
	stage_rate("before the storm of events");
	until = pvb_now_ms() + (stage_on_xen ? 4000 : 500);
	assert_int_equal(pthread_create(&s.thread, NULL, do_storm, &s), 0);
	stage_rate("in the storm of events");
	do
		stage_good();
	while (pvb_now_ms() < until);
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(s.thread, NULL);
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	stage_worker_same();
	stage_log_at_most(LINES_A_LIE);
	print_message("%llu events\n", (unsigned long long)s.events);
	stage_begin_anew(&liar);
}

static void the_producer_jumps(void **state)
{
	static const uint32_t jumps[] = { 33, 1000, 1u << 31, 0x80000021u, UINT32_MAX };
	char text[100];

	connect_or_fail(&readonly, &(struct hfront_options){ 0 });
	for (unsigned j = 0; j < 10; j++) {
		uint32_t jump = jumps[j / 2];

		connect_or_fail(&liar, &(struct hfront_options){ 0 });
		for (unsigned i = 0; i < j % 2 * 40; i++) /* at once, and after some honest requests */
			assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
		hfront_push_to(&liar, 0, liar.q[0].prod + jump);
		assert_true(hfront_wait_back(&liar, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
		snprintf(text, sizeof(text), "claims %u requests at index %u, the ring has 32 slots", jump, liar.q[0].prod);
		stage_error_says(&liar, text);
		stage_log_says(text);
		assert_int_equal(rw(&readonly, BLKIF_OP_READ, 0, 1), 0);
		stage_good();
		stage_begin_anew(&liar);
	}
	works();
	stage_begin_anew(&readonly);
	stage_log_at_most(12 * LINES_A_LIE);
}

static void a_ring_that_begins_with_a_lie(void **state)
{
	struct hfront_options opt = { 0 };
	struct pvb_error err = { 0 };

	assert_int_equal(hfront_rings(&liar, &opt, &err), 0);
	liar.q[0].sh->req_prod = 33;
	assert_int_equal(hfront_publish(&liar, &opt, &err), 0);
	assert_int_equal(hfront_state(&liar, PVB_INITIALISED), 0);
	assert_true(hfront_wait_back(&liar, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
	stage_error_says(&liar, "the ring begins with 33 requests, it has 32 slots");
	stage_begin_anew(&liar);
	works();
}

/* ---- slots ----------------------------------------------------------------------------------------------- */

static void untouched(struct hfront *h, unsigned page)
{
	for (unsigned b = 0; b < PVB_PAGE_SIZE; b++)
		assert_int_equal(hfront_page(h, page)[b], 0xa5);
}

static void every_lie_in_a_slot(void **state)
{
	unsigned told = 0;

	for (unsigned k = 0; k < 4; k++) { /* both ABIs, read-only or not */
		struct hfront *h = k & 1 ? &readonly : &liar;

		connect_and_mark(h, &(struct hfront_options){ .abi32 = k & 2 });
		for (unsigned i = 0; i < nr_hlies; i++) {
			if (hlies[i].readonly != (k & 1))
				continue;
			memset(hfront_page(h, 0), 0xa5, PVB_PAGE_SIZE);
			hlie_slot(h, &hlies[i], 1000 + i, slot);
			assert_int_equal(hfront_roundtrip(h, 0, slot, 1000 + i, WAIT_MS), hlies[i].status);
			untouched(h, 0);
			if (told++ % 8 == 0)
				stage_good();
		}
		assert_int_equal(rw(h, BLKIF_OP_READ, 2, 1), 0);
		stage_worker_same();
		stage_begin_anew(h);
	}
	stage_log_says("refused: read of 0 segments, allowed are 1 to 11"); /* the first is told at once */
	stage_log_says("read-only");
	stage_log_at_most(4 * LINES_A_LIE + (stage_on_xen ? 60 : 20)); /* others once a second */
	print_message("%u lies\n", told);
}

/* Segments and sectors of every kind; what is inside works, what is outside is refused. */
static void every_tuple(void **state)
{
	static const uint8_t sectors[] = { 0, 1, 3, 4, 6, 7, 8, 9, 15, 16, 64, 127, 128, 254, 255 };
	unsigned n = sizeof(sectors), nr_indirect[] = { 0, 1, 11, 12, 255, 256, 257, 511, 512, 513, 4096, 32768, 65535 };
	struct pvf_seg segs[11], *table;
	unsigned told = 0;

	connect_or_fail(&liar, &(struct hfront_options){ .pages = 16 });
	table = (struct pvf_seg *)hfront_page(&liar, 15);
	for (unsigned i = 0; i < PVF_PAGE_SEGS; i++) {
		if (i < 11)
			segs[i] = (struct pvf_seg){ hfront_gref(&liar, i), 0, 7, 0 };
		table[i] = (struct pvf_seg){ hfront_gref(&liar, i % 15), 0, 7, 0 };
	}
	for (unsigned nr = 0; nr < 256; nr++) {
		hfront_segs(&liar, slot, BLKIF_OP_READ, nr, 0, segs, nr);
		assert_int_equal(hfront_roundtrip(&liar, 0, slot, nr, WAIT_MS), nr >= 1 && nr <= 11 ? 0 : BLKIF_RSP_ERROR);
		told++;
	}
	stage_good();
	for (unsigned i = 0; i < sizeof(nr_indirect) / sizeof(nr_indirect[0]); i++) {
		unsigned nr = nr_indirect[i];

		pvf_wire_indirect(liar.wire, slot, BLKIF_OP_READ, 0, nr, 0, hfront_gref(&liar, 15), nr);
		assert_int_equal(hfront_roundtrip(&liar, 0, slot, nr, WAIT_MS), nr >= 1 && nr <= 256 ? 0 : BLKIF_RSP_ERROR);
		told++;
	}
	stage_good();
	for (unsigned k = 0; k < n * n; k++) {
		uint8_t first = sectors[k / n], last = sectors[k % n];

		memset(hfront_page(&liar, 10), 0xa5, PVB_PAGE_SIZE);
		segs[10].first = first;
		segs[10].last = last;
		hfront_segs(&liar, slot, BLKIF_OP_READ, k, 0, segs, 11);
		assert_int_equal(hfront_roundtrip(&liar, 0, slot, k, WAIT_MS), first <= last && last <= 7 ? 0 : BLKIF_RSP_ERROR);
		for (unsigned b = 0; b < PVB_PAGE_SIZE; b++) /* read was what was asked for, or nothing */
			if (first > last || last > 7 || b / 512 < first || b / 512 > last)
				assert_int_equal(hfront_page(&liar, 10)[b], 0xa5);
		told++;
	}
	stage_begin_anew(&liar);
	print_message("%u tuples\n", told);
}

static void one_lie_ten_thousand_times(void **state)
{
	uint64_t began = pvb_now_ms();
	unsigned sent = 0, got = 0;
	struct pvf_rsp rsp;

	connect_and_mark(&liar, &(struct hfront_options){ 0 });
	hfront_rw(&liar, slot, BLKIF_OP_READ, 9, HLIE_SECTORS, 0, 1);
	while (got < 10000) {
		for (; sent < got + liar.nr_slots; sent++)
			hfront_put(&liar, 0, slot);
		hfront_push(&liar, 0);
		do {
			assert_int_equal(hfront_response(&liar, 0, &rsp, WAIT_MS), 0);
			assert_int_equal(rsp.status, BLKIF_RSP_ERROR);
			got++;
		} while (hfront_unread(&liar, 0) > 0);
		if (got % 2048 == 0)
			stage_good();
	}
	for (; got < sent; got++)
		assert_int_equal(hfront_response(&liar, 0, &rsp, WAIT_MS), 0);
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	stage_worker_same();
	stage_begin_anew(&liar);
	stage_log_says("refused: read of 8 sectors at 2048, the disk has 2048");
	stage_log_at_most(LINES_A_LIE + 1 + (unsigned)((pvb_now_ms() - began) / 1000)); /* one a second */
	print_message("%u times in %llu ms\n", got, (unsigned long long)(pvb_now_ms() - began));
}

static void slots_change_while_they_are_read(void **state)
{
	unsigned rounds = stage_on_xen ? 1600 : 4000;
	struct hscribble s = { .h = &liar };
	struct pvf_rsp rsp;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	hfront_rw(&liar, s.a, BLKIF_OP_READ, 1, 0, 0, 1);
	for (unsigned k = 0; k < 3; k++) {
		if (k == 0)
			hfront_rw(&liar, s.b, BLKIF_OP_WRITE, 2, 8, 1, 11);
		else if (k == 1)
			hfront_segs(&liar, s.b, BLKIF_OP_READ, 2, UINT64_MAX, (struct pvf_seg[11]){ { 77777, 255, 255, 0 } }, 255);
		else
			hfront_indirect(&liar, s.b, BLKIF_OP_READ, 3, 0, 15, 0, 12);
		assert_int_equal(hscribble_start(&s), 0);
		for (unsigned i = 0; i < rounds; i += 8) {
			liar.q[0].prod += 8;
			hfront_push(&liar, 0);
			for (unsigned n = 0; n < 8; n++)
				assert_int_equal(hfront_response(&liar, 0, &rsp, WAIT_MS), 0);
			if (i % 800 == 0)
				stage_good();
		}
		hscribble_stop(&s);
		assert_int_equal(hfront_unread(&liar, 0), 0);
	}
	assert_int_equal(pvb_state_read(liar.st, PVB_NO_TXN, liar.back), PVB_CONNECTED);
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
	stage_begin_anew(&liar);
}

/* ---- grants ---------------------------------------------------------------------------------------------- */

static void grants_that_are_not(void **state)
{
	struct { uint32_t gref; int read, write; } g[5];
	struct pvb_grant gone, other, constant;
	char text[60];

	connect_and_mark(&liar, &(struct hfront_options){ .pages = 32 });
	assert_int_equal(pvb_hv_grant(liar.hv, liar.back_domid, 1, true, &gone), 0);
	g[0].gref = gone.refs[0];
	assert_int_equal(pvb_hv_ungrant(liar.hv, &gone), 0);
	assert_int_equal(pvb_hv_grant(liar.hv, stage_good_domid, 1, true, &other), 0);
	assert_int_equal(pvb_hv_grant(liar.hv, liar.back_domid, 1, false, &constant), 0);
	g[1].gref = other.refs[0]; /* granted, but to somebody else */
	g[2].gref = 0x3fffffff;
	g[3].gref = UINT32_MAX;
	g[4].gref = constant.refs[0];
	if (g[0].gref == g[1].gref || g[0].gref == g[4].gref) /* taken again at once */
		g[0].gref = 0x3ffffffe;
	for (unsigned i = 0; i < 5; i++) {
		g[i].read = BLKIF_RSP_ERROR;
		g[i].write = i == 4 ? 0 : BLKIF_RSP_ERROR;
		for (unsigned at = 0; at < 11; at += 5) {
			for (unsigned op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++) {
				struct pvf_seg segs[11];

				for (unsigned k = 0; k < 11; k++)
					segs[k] = (struct pvf_seg){ k == at ? g[i].gref : hfront_gref(&liar, k), 0, 7, 0 };
				hfront_segs(&liar, slot, (uint8_t)op, 7, 0, segs, 11);
				assert_int_equal(hfront_roundtrip(&liar, 0, slot, 7, WAIT_MS),
						 op == BLKIF_OP_READ ? g[i].read : g[i].write);
			}
		}
		if (i < 4) { /* a table may be read-only */
			pvf_wire_indirect(liar.wire, slot, BLKIF_OP_READ, 0, 8, 0, g[i].gref, 12);
			assert_int_equal(hfront_roundtrip(&liar, 0, slot, 8, WAIT_MS), BLKIF_RSP_ERROR);
		}
		stage_good();
	}
	snprintf(text, sizeof(text), "grant %u: copy failed with status", g[0].gref);
	stage_log_says(text);
	assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 11), 0);
	stage_worker_same();
	stage_begin_anew(&liar);
	assert_int_equal(pvb_hv_ungrant(liar.hv, &other), 0);
	assert_int_equal(pvb_hv_ungrant(liar.hv, &constant), 0); /* not kept mapped */
}

/* ---- deaths ---------------------------------------------------------------------------------------------- */

/* With a ring full of requests, on the way: each is answered once by whoever comes after. */
static void the_worker_dies(void **state)
{
	static const int signals[] = { SIGKILL, SIGSEGV, SIGKILL };
	uint32_t seen[64];
	struct pvf_rsp rsp;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	assert_true(liar.nr_slots <= sizeof(seen) / sizeof(seen[0]));
	for (unsigned i = 0; i < 3; i++) {
		memset(seen, 0, sizeof(seen));
		for (unsigned n = 0; n < liar.nr_slots; n++) {
			hfront_rw(&liar, slot, n % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, n, n, 0, 1);
			hfront_put(&liar, 0, slot);
		}
		hfront_push(&liar, 0);
		stage_worker_kill(signals[i]);
		for (unsigned n = 0; n < liar.nr_slots; n++) {
			assert_int_equal(hfront_response(&liar, 0, &rsp, WAIT_MS), 0);
			assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
			assert_true(rsp.id < liar.nr_slots);
			seen[rsp.id]++;
		}
		for (unsigned n = 0; n < liar.nr_slots; n++)
			assert_int_equal(seen[n], 1);
		assert_int_equal(hfront_unread(&liar, 0), 0);
		assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
		assert_int_equal(pvb_state_read(liar.st, PVB_NO_TXN, liar.back), PVB_CONNECTED);
		stage_log_says("goes on, after");
		stage_good();
	}
	stage_begin_anew(&liar);
	works();
}

/* What the next worker finds is the guest's to write, too: not believed beyond what its own side knows. */
static void the_ring_lies_to_the_next_worker(void **state)
{
	static const struct { uint32_t req, rsp; const char *text; } lie[] = {
		/* "0 to 1" if it dies before it has noted what the guest has seen, and then the guest's 0 would be believed */
		{ 2, 1, "queue 0: journal: the ring says 2 responses, ours were" },
		{ 2, UINT32_MAX - 1, "queue 0: journal: the ring says 4294967295 responses, ours were" },
		{ 0, 1, "queue 0: the ring begins with 4294967295 requests, it has 32 slots" },
		{ 64, 0, "64 requests" },
	};

	for (unsigned i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		struct pvb_ring_shared *sh;

		connect_or_fail(&liar, &(struct hfront_options){ 0 });
		assert_int_equal(rw(&liar, BLKIF_OP_READ, 0, 1), 0);
		stage_worker_kill(SIGSTOP); /* it would answer what it sees, and so undo the lie */
		sh = liar.q[0].sh;
		pvb_ring_store(&sh->rsp_prod, pvb_ring_load(&sh->rsp_prod) + lie[i].rsp);
		pvb_ring_store(&sh->req_prod, pvb_ring_load(&sh->req_prod) + lie[i].req);
		stage_worker_kill(SIGKILL);
		if (hfront_wait_back(&liar, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) <= 0)
			fail_msg("lie %u was believed", i);
		stage_error_says(&liar, lie[i].text);
		stage_good();
		stage_begin_anew(&liar);
	}
	works();
}

/* With requests in flight.  On Xen somebody else ends us, and all there is to do is to go on until then. */
static void the_guest_dies(void **state)
{
	struct pvf_rsp rsp;
	unsigned n;

	connect_or_fail(&liar, &(struct hfront_options){ 0 });
	hfront_rw(&liar, slot, BLKIF_OP_WRITE, 5, 0, 0, 11);
	for (n = 0; n < liar.nr_slots; n++)
		hfront_put(&liar, 0, slot);
	hfront_push(&liar, 0);
	while (stage_on_xen && hfront_response(&liar, 0, &rsp, WAIT_MS) == 0) {
		hfront_put(&liar, 0, slot);
		hfront_push(&liar, 0);
	}
	stage_destroy_liar(&liar);
}

int main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, stage_offered, stage_as_before)
	const struct CMUnitTest tests[] = {
		T(the_store_lies), T(the_backend_key_points_elsewhere), T(states_and_keys_in_any_order),
		T(connecting_without_end), T(events_without_work), T(the_producer_jumps), T(a_ring_that_begins_with_a_lie),
		T(every_lie_in_a_slot), T(every_tuple), T(one_lie_ten_thousand_times), T(slots_change_while_they_are_read),
		T(grants_that_are_not), T(the_worker_dies), T(the_ring_lies_to_the_next_worker), T(the_guest_dies),
	};

	int rc;

	if (argc == 6 && strcmp(argv[1], "--answer") == 0)
		return stage_answer(&stage_disks, argv + 2);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	else if (getenv("PVBUS_TEST_HV") != NULL)
		cmocka_set_skip_filter("the_guest_dies"); /* by name only: it does not come back */
	alarm(getenv("PVBUS_TEST_HV") != NULL ? 1100 : 120); /* whatever happens, an end */
	rc = cmocka_run_group_tests(tests, set_up, tear_down);
	return rc != 0 ? rc : !left;
}
