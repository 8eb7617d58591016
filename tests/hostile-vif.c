// SPDX-License-Identifier: GPL-2.0-or-later
/* Lies told by a NIC's front end through the store, rings, slots, extra infos, grants and the control ring, and deaths:
 * a real pvbackd with one lying guest and one honest one, whose verified frames never stop.  Each lie must be named,
 * and pvbackd must be as it was afterwards.  On the local fabric, or in a guest of a real Xen (hostile-stage.h):
 *   hostile-vif [PATTERN...]                     the tests whose name fits one
 *   hostile-vif --answer PVBACKD LIAR GOOD LOG   in domain 0: see stage_answer()
 * This file: the helpers, the store, indices, events, deaths.
 */
#include "unit.h"
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "bus/loop.h"
#include "tests/hostile-vif.h"
#include "tests/nic-frames.h"
#include <xen/xen.h>
#include <xen/io/netif.h>

struct hnic own, lan, lan2;

static bool dying; /* on Xen: we are there to be ended, and nothing else */
static bool left; /* cmocka does not count what goes wrong after the last test */

static int set_up(void **state)
{
	static struct hfront *const all[] = { &own.dev, &lan.dev, &lan2.dev };

	stage_up(&stage_nics, all);
	for (unsigned i = 0; !dying && i < 3; i++) /* what pvbackd keeps of a guest, it has from now on */
		works((struct hnic *)all[i]);
	return 0;
}

static int tear_down(void **state)
{
	stage_down();
	left = true;
	return 0;
}

/* ---- what is no lie ----------------------------------------------------------------------------------------- */

int connecting(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err)
{
	return hnic_connect(n, opt, WAIT_MS, err);
}

void connect_or_fail(struct hnic *n, const struct hnic_options *opt)
{
	struct pvb_error err = { 0 };

	if (connecting(n, opt, &err) < 0)
		fail_msg("%s", err.text);
}

void connect_plain(struct hnic *n)
{
	connect_or_fail(n, &(struct hnic_options){ .start = RING_START });
}

void begin_anew(struct hnic *n)
{
	stage_begin_anew(&n->dev);
}

void answered(struct hnic *n, unsigned nr, unsigned nulls, int status)
{
	int rc = hnic_await(n, &n->tx[0], nr, WAIT_MS), got = 0;
	uint16_t id, first = (uint16_t)(n->next_id - (nr - nulls));
	char text[300];

	if (rc < 0) {
		hfront_error(&n->dev, text, sizeof(text));
		fail_msg("%u answers of %u; %s", hnic_unread(&n->tx[0]), nr, text);
	}
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(hnic_sent(n, 0, &id, &got, WAIT_MS), 0);
		if (i > 0 && i <= nulls) {
			assert_int_equal(got, HNIC_STATUS_NULL);
			continue;
		}
		assert_int_equal(got, status);
		assert_int_equal(id, (uint16_t)(first + i - (i > 0 ? nulls : 0)));
	}
	assert_int_equal(hnic_unread(&n->tx[0]), 0);
}

int send_frame(struct hnic *n, const uint8_t *data, unsigned len, unsigned flags, unsigned gso_type, unsigned gso_size)
{
	unsigned nr = (len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE, nulls = gso_type != 0, at = 0;
	int status = 0, got = 0;

	for (unsigned i = 0; i < nr; i++, at += PVB_PAGE_SIZE) {
		unsigned size = len - at < PVB_PAGE_SIZE ? len - at : PVB_PAGE_SIZE;

		memcpy(hnic_page(n, i), data + at, size);
		hnic_put(n, 0, i, 0, i == 0 ? len : size, (i == 0 ? flags | (nulls ? NETTXF_extra_info : 0) : 0) |
								  (i + 1 < nr ? NETTXF_more_data : 0));
		if (i == 0 && nulls)
			hnic_put_gso(n, 0, gso_type, gso_size, false);
	}
	hnic_push(n, 0);
	for (unsigned i = 0; i < nr + nulls; i++) {
		int rc = hnic_sent(n, 0, NULL, &got, WAIT_MS);

		if (rc < 0)
			fail_msg("slot %u of %u: %d", i, nr + nulls, rc);
		if (i == 0)
			status = got;
		assert_int_equal(got, i > 0 && i <= nulls ? HNIC_STATUS_NULL : status);
	}
	return status;
}

void comes_back(struct hnic *n, const uint8_t *data, unsigned len, struct hgot *got)
{
	assert_int_equal(hnic_receive(n, 0, got, WAIT_MS), 0);
	assert_int_equal(got->status, 0);
	assert_int_equal(got->len, len);
	assert_memory_equal(got->data, data + 6, 6);
	assert_memory_equal(got->data + 6, data, 6);
	assert_memory_equal(got->data + 12, data + 12, len - 12);
	hnic_post(n, 0, got->slots + got->extras);
}

void honest_frame(struct hnic *n)
{
	static struct hgot got;
	static uint8_t out[9000];
	struct shape s = { .version = 4, .tcp = true, .len = n == &own ? 8000 : 1400, .seed = (uint8_t)n->next_id };
	struct made m = make_frame(out, &s);

	out[5] = 0x99; /* for nobody on the switch */
	assert_int_equal(send_frame(n, out, m.len, 0, 0, 0), NETIF_RSP_OKAY);
	if (n == &own)
		comes_back(n, out, m.len, &got);
}

void works(struct hnic *n)
{
	connect_plain(n);
	honest_frame(n);
	begin_anew(n);
}

void broken(struct hnic *n, const char *why)
{
	assert_true(hfront_wait_back(&n->dev, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
	stage_error_says(&n->dev, why);
	stage_log_says(why);
}

/* ---- the store ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *key, *value, *text; /* text NULL: nothing we care about, and it works */
	unsigned queues;
} lies[] = {
	STAGE_QUEUE_LIES,
	{ "multi-queue-num-queues", "5", "multi-queue-num-queues is 5, offered are 4" },
	{ "multi-queue-num-queues", "2", "queue 0: tx-ring-ref is missing" },
	{ "multi-queue-num-queues", "4", "queue 2: tx-ring-ref is missing", 2 },
	{ "tx-ring-ref", NULL, "queue 0: tx-ring-ref is missing" },
	{ "tx-ring-ref", "", "tx-ring-ref" },
	{ "tx-ring-ref", "4294967296", "tx-ring-ref" },
	{ "tx-ring-ref", "-1", "tx-ring-ref" },
	{ "tx-ring-ref", "1073741823", "queue 0: TX ring, grant 1073741823" },
	{ "rx-ring-ref", NULL, "queue 0: rx-ring-ref is missing" },
	{ "rx-ring-ref", "77x", "rx-ring-ref" },
	{ "rx-ring-ref", "1073741823", "queue 0: RX ring, grant 1073741823" },
	{ "queue-1/tx-ring-ref", "1073741823", "queue 1: TX ring, grant 1073741823", 2 },
	{ "queue-3/rx-ring-ref", NULL, "queue 3: rx-ring-ref is missing", 4 },
	{ "event-channel-tx", NULL, "queue 0: neither event-channel nor event-channel-tx and -rx" },
	{ "event-channel-rx", "", "event-channel-rx" },
	{ "event-channel-rx", "65000", "event channel 65000" },
	{ "event-channel-tx", "4294967295", "event-channel-tx" },
	{ "queue-2/event-channel-tx", "65000", "queue 2: event channel 65000", 4 },
	{ "ctrl-ring-ref", "1073741823", "control ring, grant 1073741823" },
	{ "ctrl-ring-ref", "x", "ctrl-ring-ref" },
	{ "event-channel-ctrl", NULL, "ctrl-ring-ref without event-channel-ctrl" },
	{ "event-channel-ctrl", "0", "event-channel-ctrl" },
	{ "event-channel-ctrl", "65000", "event channel 65000" },
	{ "request-rx-copy", NULL, "request-rx-copy is not 1" },
	{ "request-rx-copy", "0", "request-rx-copy is not 1" },
	{ "request-rx-copy", "2", "request-rx-copy" },
	{ "feature-rx-notify", "yes", "feature-rx-notify" },
	{ "feature-sg", "", "feature-sg" },
	{ "feature-gso-tcpv4", "-1", "feature-gso-tcpv4" },
	{ "feature-gso-tcpv6", "11", "feature-gso-tcpv6" },
	{ "feature-no-csum-offload", "2", "feature-no-csum-offload" },
	{ "feature-ipv6-csum-offload", "1 ", "feature-ipv6-csum-offload" },
	{ "request-multicast-control", "3", "request-multicast-control" },
	{ "mtu", "1", "mtu" },
	{ "mac", "this is no address of a NIC", "mac" },
	{ "mac", "ff:ff:ff:ff:ff:ff", NULL },
	{ "mac", "zz", NULL },
	{ "script", "/bin/rm -rf", NULL },
	{ "port", "tap", NULL },
	{ "tx-pool-size", "513", "tx-pool-size" },
	{ "rx-pool-ref", "4294967296", "rx-pool-ref" },
	{ "queue-0/tx-ring-ref", "1073741823", NULL }, /* with one queue nobody looks there */
};

/* The guest's other NICs are in use meanwhile and must go on, too. */
static void the_store_lies(void **state)
{
	unsigned nr = sizeof(lies) / sizeof(lies[0]);

	connect_plain(&lan2);
	works(&own);
	for (unsigned i = 0; i < nr; i++) {
		struct hnic *n = i % 2 ? &lan : &own;
		struct pvb_pair lie = { lies[i].key, lies[i].value };
		struct hnic_options opt = { .queues = lies[i].queues, .start = RING_START, .ctrl = true, .keys = &lie,
					    .nr_keys = 1 };
		struct pvb_error err = { 0 };
		bool taken = connecting(n, &opt, &err) == 0;

		if (!taken && err.code == -EACCES) { /* xl has kept this key from the guest */
			print_message("%s can not be written\n", lie.key);
			begin_anew(n);
			continue;
		}
		if (taken != (lies[i].text == NULL))
			fail_msg("%s = \"%s\": %s", lie.key, lie.value != NULL ? lie.value : "(none)",
				 lies[i].text != NULL ? "was taken" : err.text);
		if (lies[i].text != NULL)
			stage_error_says(&n->dev, lies[i].text);
		else
			honest_frame(n);
		honest_frame(&lan2);
		stage_good();
		begin_anew(n);
	}
	works(&own);
	works(&lan);
	begin_anew(&lan2);
	stage_log_says(lies[0].text);
	stage_log_at_most((nr + 4) * LINES_A_LIE);
	print_message("%u lies\n", nr);
}

/* Two keys that must differ; a pool that is none: it is only a shortcut, told and done without. */
static void keys_that_do_not_go_together(void **state)
{
	static const struct pvb_pair pool[] = { { "tx-pool-ref", "1073741823" }, { "tx-pool-size", "64" } };
	char port[16];
	struct pvb_pair same = { "event-channel-rx", port };
	struct hnic_options opt = { .start = RING_START, .keys = &same, .nr_keys = 1 };
	struct pvb_error err = { 0 };

	assert_int_equal(hnic_rings(&own, &opt, &err), 0);
	snprintf(port, sizeof(port), "%u", own.tx[0].port);
	assert_int_equal(hnic_publish(&own, &opt, &err), 0);
	assert_int_equal(hfront_state(&own.dev, PVB_CONNECTED), 0);
	snprintf(port, sizeof(port), "both %u", own.tx[0].port);
	broken(&own, port);
	begin_anew(&own);
	connect_or_fail(&own, &(struct hnic_options){ .start = RING_START, .keys = pool, .nr_keys = 2 });
	stage_log_says("refused: queue 0: tx pool, grant 1073741823: copy failed with status");
	honest_frame(&own);
	begin_anew(&own);
}

static void the_backend_key_points_elsewhere(void **state)
{
	struct pvb_error err;
	char path[100];

	connect_plain(&own);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vif/%u/0", stage_good_domid);
	assert_int_equal(hfront_write(&own.dev, "backend", path), 0);
	hfront_write(&own.dev, "handle", "999");
	honest_frame(&own);
	stage_good();
	begin_anew(&own);
	assert_true(connecting(&own, &(struct hnic_options){ 0 }, &err) < 0);
	stage_error_says(&own.dev, "the front end's backend key says /local/domain/0/backend/vif/");
	assert_int_equal(hfront_write(&own.dev, "backend", own.dev.back), 0);
	begin_anew(&own);
	works(&own);
}

/* After much that made no sense: the back end may still be busy with what it saw in the middle of that, and say so; not
 * for long. */
static void works_again(struct hnic *n)
{
	struct pvb_error err;

	begin_anew(n);
	for (unsigned i = 0; connecting(n, &(struct hnic_options){ 0 }, &err) < 0; i++) {
		if (i == 3)
			fail_msg("%s", err.text);
		begin_anew(n);
	}
	begin_anew(n);
	works(n);
}

static void states_and_keys_in_any_order(void **state)
{
	static const char *const keys[] = { "tx-ring-ref", "rx-ring-ref", "event-channel-tx", "event-channel-rx",
					    "event-channel", "multi-queue-num-queues", "queue-1/tx-ring-ref",
					    "ctrl-ring-ref", "request-multicast-control", "feature-sg",
					    "request-rx-copy" };
	unsigned seconds = stage_on_xen ? 15 : 2;
	struct hnic *const both[] = { &own, &lan };

	for (unsigned k = 0; k < 2; k++) {
		struct hnic *n = both[k];

		connect_plain(n);
		stage_walk(&n->dev, PVB_CONNECTED, keys, sizeof(keys) / sizeof(keys[0]), seconds);
		works_again(n);
	}
	stage_log_at_most(800 + 2 * seconds * 150); /* 100 rounds of closing and beginning anew are slowed down */
}

static void connecting_without_end(void **state)
{
	unsigned rounds = stage_on_xen ? 8 : 100, flips = stage_on_xen ? 40 : 300;

	for (unsigned i = 0; i < rounds; i++) {
		bool lie = i % 3 == 2;
		struct pvb_pair key = { "rx-ring-ref", "1073741823" };
		struct hnic_options opt = { .queues = 1 + i % 4, .keys = &key, .nr_keys = lie && i % 4 == 0,
					    .shared_event = i & 1, .ctrl = i & 2, .start = RING_START };
		struct hnic *n = i & 1 ? &lan : &own;
		struct pvb_error err = { 0 };
		int rc = connecting(n, &opt, &err);

		if ((rc < 0) != (opt.nr_keys == 1))
			fail_msg("round %u: %s", i, err.text);
		begin_anew(n);
	}
	for (unsigned i = 0; i < flips; i++) { /* without waiting for anything */
		hfront_state(&own.dev, PVB_CONNECTED);
		hfront_state(&own.dev, PVB_CLOSED);
		hfront_state(&own.dev, PVB_INITIALISING);
	}
	works_again(&own);
}

/* ---- indices ------------------------------------------------------------------------------------------------ */

static void jump(struct hnic *n, unsigned which, uint32_t start, uint32_t by)
{
	static const char *const names[] = { "TX ", "RX ", "" };
	struct hring *r;
	char text[160];

	connect_or_fail(n, &(struct hnic_options){ .start = start, .ctrl = true, .no_buffers = true });
	r = which == 0 ? &n->tx[0] : which == 1 ? &n->rx[0] : &n->ctrl;
	hnic_push_to(n, r, r->prod + by);
	if (which == 1) { /* is looked at when there is a frame for it */
		memset(hnic_page(n, 0), 0x12, 60);
		hnic_put(n, 0, 0, 0, 60, 0);
		hnic_push(n, 0);
	}
	snprintf(text, sizeof(text), "the front end claims %u %srequests at index %u, the ring has %u slots", by,
		 names[which], start, r->nr_slots);
	broken(n, text);
	hnic_push_to(n, r, r->prod); /* too late for remorse */
	stage_good();
	begin_anew(n);
}

static void the_producer_jumps(void **state)
{
	static const uint32_t jumps[] = { 257, 1u << 31, 0x80000101u, UINT32_MAX };
	static const uint32_t starts[] = { RING_START, 0, 0x7ffffff0u };

	connect_plain(&lan2);
	for (unsigned i = 0; i < 24; i++) {
		unsigned which = i % 3;

		if (stage_on_xen && i % 2 != 0)
			continue;
		/* what is sent on the switch does not come back */
		jump(i & 4 && which != 1 ? &lan : &own, which, starts[i / 2 % 3], jumps[i / 3 % 4]);
		honest_frame(&lan2);
	}
	begin_anew(&lan2);
	works(&own);
	works(&lan);
	stage_log_at_most(28 * LINES_A_LIE);
}

static void rings_that_begin_with_a_lie(void **state)
{
	static const char *const why[] = { "the TX ring begins with 300 requests, it has 256 slots",
					   "the RX ring begins with 300 requests, it has 256 slots",
					   "the control ring begins with 300 requests, it has 128 slots" };

	for (unsigned i = 0; i < 3; i++) {
		struct hnic_options opt = { .start = RING_START, .ctrl = true };
		struct pvb_error err = { 0 };
		struct hring *r;

		assert_int_equal(hnic_rings(&own, &opt, &err), 0);
		r = i == 0 ? &own.tx[0] : i == 1 ? &own.rx[0] : &own.ctrl;
		r->sh->req_prod = RING_START + 300;
		assert_int_equal(hnic_publish(&own, &opt, &err), 0);
		assert_int_equal(hfront_state(&own.dev, PVB_CONNECTED), 0);
		broken(&own, why[i]);
		begin_anew(&own);
	}
	works(&own);
}

/* ---- events ------------------------------------------------------------------------------------------------- */

struct storm {
	pthread_t thread;
	int stop;
	uint64_t events, total;
};

static void *do_storm(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		const struct { struct hnic *n; struct hring *r; } at[] = {
			{ &own, &own.tx[0] }, { &own, &own.rx[0] }, { &own, &own.ctrl }, { &lan, &lan.tx[0] },
			{ &lan, &lan.rx[0] },
		};

		for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
			hnic_notify(at[i].n, at[i].r);
		s->events += sizeof(at) / sizeof(at[0]);
	}
	return NULL;
}

/* A million of them.  An event that brings nothing is unmasked later and later, up to a second. */
static void events_without_work(void **state)
{
	uint64_t began = pvb_now_ms();
	struct storm s = { 0 };

	connect_or_fail(&own, &(struct hnic_options){ .ctrl = true, .start = RING_START });
	connect_plain(&lan);
	for (unsigned i = 0; i < 4; i++)
		honest_frame(&own);
	stage_worker_mark();
	for (unsigned i = 0; i < 4 || s.total < 1000000; i++) {
		stage_lap(false);
		s.stop = 0;
		s.events = 0;
		assert_int_equal(pthread_create(&s.thread, NULL, do_storm, &s), 0);
		stage_lap(true);
		stage_good();
		__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
		pthread_join(s.thread, NULL);
		s.total += s.events;
		honest_frame(&own);
		honest_frame(&lan);
	}
	print_message("%llu events\n", (unsigned long long)s.total);
	stage_compare("storm of events");
	/* each of five ports a few at a time, then one a second */
	stage_counter("event_received", 8, 1000 + (pvb_now_ms() - began) / 100);
	stage_worker_same();
	stage_log_at_most(2 * LINES_A_LIE);
	begin_anew(&own);
	begin_anew(&lan);
}

/* ---- deaths ------------------------------------------------------------------------------------------------- */

static void the_worker_dies(void **state)
{
	static const int signals[] = { SIGKILL, SIGSEGV };

	connect_plain(&lan);
	for (unsigned i = 0; i < 2; i++) {
		connect_plain(&own);
		honest_frame(&own);
		stage_worker_kill(signals[i]);
		honest_frame(&own); /* the same rings, another worker */
		assert_int_equal(pvb_state_read(own.dev.st, PVB_NO_TXN, own.dev.back), PVB_CONNECTED);
		stage_log_says("goes on, after");
		honest_frame(&lan);
		stage_good();
		begin_anew(&own);
		works(&own);
	}
	/* what the next one finds is the guest's to write, too */
	connect_plain(&own);
	honest_frame(&own);
	pvb_ring_store(&own.tx[0].sh->rsp_prod, pvb_ring_load(&own.tx[0].sh->rsp_prod) - 1);
	stage_worker_kill(SIGKILL);
	assert_true(hfront_wait_back(&own.dev, 1u << PVB_CLOSING | 1u << PVB_CLOSED, WAIT_MS) > 0);
	stage_error_says(&own.dev, "queue 0: journal: the TX ring says");
	stage_good();
	begin_anew(&own);
	works(&own);
	begin_anew(&lan);
}

/* With frames in flight.  On Xen somebody else ends us, and all there is to do is to go on until then. */
static void the_guest_dies(void **state)
{
	connect_plain(&own);
	connect_plain(&lan);
	do {
		for (unsigned i = 0; i < 2; i++) {
			struct hnic *n = i ? &lan : &own;

			memset(hnic_page(n, 0), 0x12, 1500);
			for (unsigned k = 0; k < 32; k++)
				hnic_put(n, 0, 0, 0, 1500, 0);
			hnic_push(n, 0);
		}
		for (unsigned k = 0; stage_on_xen && k < 64; k++) {
			struct hnic *n = k & 1 ? &lan : &own;
			int status;

			hnic_sent(n, 0, NULL, &status, WAIT_MS);
		}
	} while (stage_on_xen);
	stage_destroy_liar(&own.dev);
}

int main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, stage_offered, stage_as_before)
	const struct CMUnitTest tests[] = {
		T(the_store_lies), T(keys_that_do_not_go_together), T(the_backend_key_points_elsewhere),
		T(states_and_keys_in_any_order), T(connecting_without_end), T(the_producer_jumps),
		T(rings_that_begin_with_a_lie), T(packets_of_odd_sizes), T(offloads_that_are_not),
		T(multicast_without_number), T(extras_out_of_place), T(chains_without_end),
		T(headers_cut_everywhere), T(tiny_and_empty_slots), T(grants_to_send_from_that_are_not),
		T(slots_change_while_they_are_read), T(one_lie_ten_thousand_times), T(buffers_that_are_not),
		T(answers_that_nobody_reads), T(a_flood_for_one_slot), T(a_ring_that_never_empties),
		T(extremes_on_the_control_ring), T(pages_mapped_and_unmapped), T(events_without_work),
		T(the_worker_dies), T(the_guest_dies),
	};

	struct CMUnitTest chosen[sizeof(tests) / sizeof(tests[0])];
	unsigned nr = 0;
	int rc;

	if (argc == 6 && strcmp(argv[1], "--answer") == 0)
		return stage_answer(&stage_nics, argv + 2);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		/* on Xen that one does not come back: it is asked for by its whole name */
		bool fatal = tests[i].test_func == the_guest_dies && getenv("PVBUS_TEST_HV") != NULL;
		bool fits = argc == 1 && !fatal;

		for (int k = 1; k < argc; k++)
			fits = fits || (fatal ? strcmp(argv[k], tests[i].name) : fnmatch(argv[k], tests[i].name, 0)) == 0;
		dying = dying || (fatal && fits);
		if (fits)
			chosen[nr++] = tests[i];
	}
	alarm(getenv("PVBUS_TEST_HV") != NULL ? 3400 : 600); /* whatever happens, an end */
	rc = _cmocka_run_group_tests("hostile-vif", chosen, nr, set_up, tear_down);
	return rc != 0 ? rc : !left;
}
