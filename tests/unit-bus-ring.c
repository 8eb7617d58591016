/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring helpers: ordinary traffic across the index wrap, every lie of a producer, what a response
 * leaves in a slot, who is notified when, and how often shared memory is looked at. */
#include "unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "ring.h"
#include "trap.h"

#define START 0xfffffff0u
#define SLOT 112u  /* blkif, x86-64 */
#define PAGE 4096u

struct pair {
	uint8_t *mem;
	uint32_t bytes;
	struct pvb_ring back, front;
};

static void pair_init(struct pair *p, uint32_t bytes, uint32_t slot, uint32_t start)
{
	p->bytes = bytes;
	p->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p->mem, MAP_FAILED);
	pvb_ring_front_init(&p->front, p->mem, bytes, slot);
	p->front.sh->req_prod = p->front.sh->rsp_prod = start;
	p->front.sh->req_event = p->front.sh->rsp_event = start + 1;
	pvb_ring_attach(&p->front, p->mem, bytes, slot, start, start);
	pvb_ring_attach(&p->back, p->mem, bytes, slot, start, start);
}

static void pair_free(struct pair *p)
{
	munmap(p->mem, p->bytes);
}

static void fill(uint8_t *slot, uint32_t id)
{
	uint32_t i;

	for (i = 0; i < SLOT / 4; i++)
		((uint32_t *)slot)[i] = id + i;
}

static void expect(const uint8_t *slot, uint32_t id, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len / 4; i++)
		assert_int_equal(((const uint32_t *)slot)[i], id + i);
}

static void test_slots(void **state)
{
	assert_int_equal(pvb_ring_slots(4096, 112), 32);
	assert_int_equal(pvb_ring_slots(4096, 108), 32);
	assert_int_equal(pvb_ring_slots(65536, 112), 512);
	assert_int_equal(pvb_ring_slots(8192, 112), 64);
	assert_int_equal(pvb_ring_slots(4096, 12), 256);
	assert_int_equal(pvb_ring_slots(64 + 112, 112), 1);
	assert_int_equal(pvb_ring_slots(64 + 111, 112), 0);
	assert_int_equal(pvb_ring_slots(4096, 0), 0);
	assert_int_equal(pvb_ring_slots(0, 112), 0);
	assert_int_equal(pvb_ring_slots(63, 4), 0);
}

/* Random batches in both directions, through the wrap, until the ring was full and empty many times. */
static void test_traffic(void **state)
{
	uint32_t sent = 0, taken = 0, answered = 0, received = 0, full = 0;
	uint32_t buf[SLOT / 4];
	uint64_t seed = 1;
	struct pair p;
	int n;

	pair_init(&p, PAGE, SLOT, START);
	while (received < 5000) {
		uint32_t k = rnd(&seed) % 40;

		for (; k > 0 && pvb_ring_front_free(&p.front) > 0; k--) {
			fill((uint8_t *)buf, sent++ * 100);
			pvb_ring_front_put(&p.front, buf);
		}
		full += pvb_ring_front_free(&p.front) == 0;
		pvb_ring_front_push(&p.front);
		n = pvb_ring_back_avail(&p.back);
		assert_int_equal(n, sent - taken);
		for (k = rnd(&seed) % 40; k > 0 && n > 0; k--, n--) {
			pvb_ring_back_take(&p.back, buf);
			expect((uint8_t *)buf, taken++ * 100, SLOT);
		}
		for (k = rnd(&seed) % 40; k > 0 && answered < taken; k--) {
			fill((uint8_t *)buf, answered++ * 7);
			pvb_ring_back_put(&p.back, buf, 16);
		}
		pvb_ring_back_push(&p.back);
		n = pvb_ring_front_avail(&p.front);
		assert_int_equal(n, answered - received);
		for (k = rnd(&seed) % 40; k > 0 && n > 0; k--, n--) {
			pvb_ring_front_take(&p.front, buf, 16);
			expect((uint8_t *)buf, received++ * 7, 16);
		}
	}
	assert_true(full > 10);
	assert_false(p.back.dead || p.front.dead);
	pair_free(&p);
}

static void test_exactly_full(void **state)
{
	uint32_t buf[SLOT / 4] = { 0 };
	struct pair p;
	unsigned i;

	pair_init(&p, PAGE, SLOT, START);
	for (i = 0; i < 32; i++)
		pvb_ring_front_put(&p.front, buf);
	assert_int_equal(pvb_ring_front_free(&p.front), 0);
	pvb_ring_front_push(&p.front);
	assert_int_equal(pvb_ring_back_avail(&p.back), 32);
	for (i = 0; i < 32; i++)
		pvb_ring_back_take(&p.back, buf);
	assert_int_equal(pvb_ring_back_avail(&p.back), 0);
	/* all taken, none answered: one more would overwrite a request in flight */
	p.front.sh->req_prod++;
	assert_int_equal(pvb_ring_back_avail(&p.back), PVB_RING_EPROTO);
	pair_free(&p);
}

static const uint32_t extremes[] = {
	0,    1,	  31,	      32,	  33,	      63,	  64,	      1023,	  1024,
	1025, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffe0, 0xfffffffe, 0xffffffff,
};
#define NR_EXTREMES (sizeof(extremes) / sizeof(*extremes))

/* Every distance of the producer from every consumer index: counted right or refused, never more than
 * the ring holds, and refused for good. */
static void test_back_lies(void **state)
{
	struct pair p;
	unsigned c, d;

	pair_init(&p, PAGE, SLOT, 0);
	for (c = 0; c < NR_EXTREMES; c++) {
		for (d = 0; d < NR_EXTREMES; d++) {
			uint32_t cons = extremes[c], n = extremes[d];
			int want = n <= 32 ? (int)n : PVB_RING_EPROTO;

			pvb_ring_attach(&p.back, p.mem, PAGE, SLOT, cons, cons);
			p.back.sh->req_prod = cons + n;
			assert_int_equal(pvb_ring_back_avail(&p.back), want);
			assert_int_equal(pvb_ring_back_rearm(&p.back), want);
			assert_int_equal(p.back.sh->req_event, cons + 1);
			p.back.sh->req_prod = cons;
			assert_int_equal(pvb_ring_back_avail(&p.back), want < 0 ? PVB_RING_EPROTO : 0);
		}
	}
	pair_free(&p);
}

/* The same with requests in flight: they and the unread ones share the slots. */
static void test_back_lies_in_flight(void **state)
{
	uint32_t flight, n;
	struct pair p;

	pair_init(&p, PAGE, SLOT, 0);
	for (flight = 0; flight <= 32; flight++) {
		for (n = 0; n <= 40; n++) {
			pvb_ring_attach(&p.back, p.mem, PAGE, SLOT, START + flight, START);
			p.back.sh->req_prod = START + flight + n;
			assert_int_equal(pvb_ring_back_avail(&p.back), flight + n <= 32 ? (int)n : PVB_RING_EPROTO);
		}
		/* the producer went back: requests we took are no longer claimed */
		for (n = 1; n <= flight; n++) {
			pvb_ring_attach(&p.back, p.mem, PAGE, SLOT, START + flight, START);
			p.back.sh->req_prod = START + flight - n;
			assert_int_equal(pvb_ring_back_avail(&p.back), PVB_RING_EPROTO);
		}
	}
	pair_free(&p);
}

static void test_front_lies(void **state)
{
	uint32_t out, n;
	struct pair p;
	unsigned d;

	pair_init(&p, PAGE, SLOT, 0);
	for (out = 0; out <= 32; out++) {
		for (n = 0; n <= 40; n++) {
			pvb_ring_attach(&p.front, p.mem, PAGE, SLOT, START, START + out);
			p.front.sh->rsp_prod = START + n;
			assert_int_equal(pvb_ring_front_avail(&p.front), n <= out ? (int)n : PVB_RING_EPROTO);
			p.front.sh->rsp_prod = START;
			assert_int_equal(pvb_ring_front_rearm(&p.front), n <= out ? 0 : PVB_RING_EPROTO);
		}
		for (d = 0; d < NR_EXTREMES; d++) {
			pvb_ring_attach(&p.front, p.mem, PAGE, SLOT, START, START + out);
			p.front.sh->rsp_prod = START + extremes[d];
			n = (uint32_t)pvb_ring_front_avail(&p.front);
			assert_true(n == (uint32_t)PVB_RING_EPROTO ? p.front.dead : n <= out);
		}
	}
	pair_free(&p);
}

/* Requests written but not pushed can not be answered: the peer has not been shown them. */
static void test_front_answer_before_push(void **state)
{
	uint32_t buf[SLOT / 4] = { 0 };
	struct pair p;

	pair_init(&p, PAGE, SLOT, START);
	pvb_ring_front_put(&p.front, buf);
	p.front.sh->rsp_prod = START + 1;
	assert_int_equal(pvb_ring_front_avail(&p.front), PVB_RING_EPROTO);
	pair_free(&p);
}

/* A response takes the whole slot: nothing of an old request, of the stack or of the heap stays. */
static void test_leftovers(void **state)
{
	static const uint32_t slots[] = { 112, 108, 24 };
	uint8_t rsp[112];
	struct pair p;
	unsigned s, i;
	uint32_t len;

	memset(rsp, 0x11, sizeof(rsp));
	for (s = 0; s < 3; s++) {
		for (len = 4; len <= slots[s]; len += 4) {
			pair_init(&p, PAGE, slots[s], START);
			memset(p.mem + 64, 0xa5, PAGE - 64);
			p.back.cons = START + 1;
			pvb_ring_back_put(&p.back, rsp, len);
			uint8_t *slot = pvb_ring_slot(&p.back, START);
			for (i = 0; i < slots[s]; i++)
				assert_int_equal(slot[i], i < len ? 0x11 : 0);
			/* and no byte more than the slot */
			assert_int_equal(slot[slots[s]], 0xa5);
			assert_int_equal(slot == p.mem + 64 ? 0xa5 : slot[-1], 0xa5);
			pair_free(&p);
		}
	}
}

/* push() asks for a notify exactly when the peer's event index lies in what was published. */
static void test_notify(void **state)
{
	uint32_t batch, at;
	struct pair p;

	pair_init(&p, PAGE, SLOT, START);
	for (batch = 0; batch <= 32; batch++) {
		for (at = 0; at <= 40; at++) {
			bool want = at >= 1 && at <= batch;

			pvb_ring_attach(&p.back, p.mem, PAGE, SLOT, START + batch, START);
			p.back.prod = START + batch;
			p.back.sh->rsp_event = START + at;
			assert_int_equal(pvb_ring_back_push(&p.back), want);
			assert_int_equal(p.back.pushed, START + batch);
			pvb_ring_attach(&p.front, p.mem, PAGE, SLOT, START, START);
			p.front.prod = START + batch;
			p.front.sh->req_event = START + at;
			assert_int_equal(pvb_ring_front_push(&p.front), want);
		}
	}
	pair_free(&p);
}

/* ---- how often shared memory is read ----------------------------------------------------------------- */

static void test_one_fetch(void **state)
{
#if TRAP_WORKS
	uint32_t buf[SLOT / 4];
	struct pair p;
	unsigned n;
	int avail;

	pair_init(&p, PAGE, SLOT, START);
	fill((uint8_t *)buf, 42);
	pvb_ring_front_put(&p.front, buf);
	pvb_ring_front_push(&p.front);
	memset(buf, 0, sizeof(buf));
	trap_arm(p.mem, PAGE, PROT_NONE, NULL, NULL);
	avail = pvb_ring_back_avail(&p.back);
	n = trap_disarm();
	assert_int_equal(avail, 1);
	assert_int_equal(n, 1); /* the index: one load, checked and used from a register */
	trap_arm(p.mem, PAGE, PROT_NONE, NULL, NULL);
	pvb_ring_back_take(&p.back, buf);
	n = trap_disarm();
	expect((uint8_t *)buf, 42, SLOT);
	assert_int_equal(n, SLOT / sizeof(long)); /* every word once */
	trap_arm(p.mem, PAGE, PROT_NONE, NULL, NULL);
	pvb_ring_back_put(&p.back, buf, 16);
	n = trap_disarm();
	assert_int_equal(n, SLOT / sizeof(long)); /* written once, never read back */
	pair_free(&p);
#else
	skip();
#endif
}

/* ---- a peer that rewrites while we read ---------------------------------------------------------------- */

struct flipper {
	uint32_t *word[40];
	uint32_t value[40][2];
	unsigned nr;
	bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	unsigned i, round;

	for (round = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); round++)
		for (i = 0; i < f->nr; i++)
			__atomic_store_n(f->word[i], f->value[i][round & 1], __ATOMIC_RELAXED);
	return NULL;
}

/* The index flips between honest and a lie: what avail() lets through fits the ring, every time, and
 * what take() got does not change under our hands. */
static void test_flipper(void **state)
{
	uint32_t buf[SLOT / 4], again[SLOT / 4];
	unsigned i, k, honest = 0, lies = 0;
	struct flipper f = { .nr = 1 + SLOT / 4 };
	pthread_t thread;
	struct pair p;
	int n;

	pair_init(&p, PAGE, SLOT, START);
	f.word[0] = &p.back.sh->req_prod;
	f.value[0][0] = START + 5;
	f.value[0][1] = START + 33;
	for (i = 0; i < SLOT / 4; i++) {
		f.word[1 + i] = (uint32_t *)pvb_ring_slot(&p.back, START) + i;
		f.value[1 + i][0] = 0x11111111;
		f.value[1 + i][1] = 0x22222222;
	}
	for (i = 0; i < SLOT / 4; i++)
		*f.word[1 + i] = 0x11111111;
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (k = 0; k < 5000000 && (k < 50000 || honest < 1000 || lies < 1000); k++) {
		pvb_ring_attach(&p.back, p.mem, PAGE, SLOT, START, START);
		n = pvb_ring_back_avail(&p.back);
		if (n < 0) {
			assert_int_equal(n, PVB_RING_EPROTO);
			assert_int_equal(pvb_ring_back_avail(&p.back), PVB_RING_EPROTO);
			lies++;
			continue;
		}
		honest++;
		assert_true(n == 5 || n == 0);
		if (n == 0)
			continue;
		pvb_ring_back_take(&p.back, buf);
		memcpy(again, buf, sizeof(buf));
		for (i = 0; i < SLOT / 4; i++)
			assert_true(buf[i] == 0x11111111 || buf[i] == 0x22222222);
		assert_memory_equal(again, buf, sizeof(buf));
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(honest > 0 && lies > 0);
	pair_free(&p);
}

/* ---- no wake-up is lost -------------------------------------------------------------------------------- */

#define MESSAGES 100000u

struct link {
	struct pair p;
	int to_back, to_front; /* eventfds */
};

static void wait_for(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t v;

	/* a lost wake-up shows as a failure after 10 s, not as a hang */
	if (poll(&pfd, 1, 10000) != 1 || read(fd, &v, sizeof(v)) != sizeof(v))
		abort();
}

static void kick(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void *serve(void *arg)
{
	struct link *l = arg;
	struct pvb_ring *r = &l->p.back;
	uint32_t buf[SLOT / 4], done = 0;
	int n;

	while (done < MESSAGES) {
		n = pvb_ring_back_avail(r);
		if (n == 0)
			n = pvb_ring_back_rearm(r);
		if (n < 0)
			abort();
		if (n == 0) {
			wait_for(l->to_back);
			continue;
		}
		for (; n > 0; n--, done++) {
			pvb_ring_back_take(r, buf);
			if (buf[0] != done)
				abort();
			pvb_ring_back_put(r, buf, 16);
		}
		if (pvb_ring_back_push(r))
			kick(l->to_front);
	}
	return NULL;
}

static void test_no_lost_wakeup(void **state)
{
	uint32_t buf[SLOT / 4] = { 0 }, sent = 0, received = 0;
	uint64_t seed = 7;
	pthread_t thread;
	struct link l;
	int n;

	pair_init(&l.p, PAGE, SLOT, START);
	l.to_back = eventfd(0, 0);
	l.to_front = eventfd(0, 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, &l), 0);
	while (received < MESSAGES) {
		uint32_t k = 1 + rnd(&seed) % 8;

		for (; k > 0 && sent < MESSAGES && pvb_ring_front_free(&l.p.front) > 0; k--) {
			buf[0] = sent++;
			pvb_ring_front_put(&l.p.front, buf);
		}
		if (pvb_ring_front_push(&l.p.front))
			kick(l.to_back);
		n = pvb_ring_front_avail(&l.p.front);
		if (n == 0 && (pvb_ring_front_free(&l.p.front) == 0 || sent == MESSAGES)) {
			n = pvb_ring_front_rearm(&l.p.front);
			if (n == 0) {
				wait_for(l.to_front);
				continue;
			}
		}
		assert_true(n >= 0);
		for (; n > 0; n--) {
			pvb_ring_front_take(&l.p.front, buf, 16);
			assert_int_equal(buf[0], received++);
		}
	}
	pthread_join(thread, NULL);
	close(l.to_back);
	close(l.to_front);
	pair_free(&l.p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_traffic),
		cmocka_unit_test(test_exactly_full),
		cmocka_unit_test(test_back_lies),
		cmocka_unit_test(test_back_lies_in_flight),
		cmocka_unit_test(test_front_lies),
		cmocka_unit_test(test_front_answer_before_push),
		cmocka_unit_test(test_leftovers),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_one_fetch),
		cmocka_unit_test(test_flipper),
		cmocka_unit_test(test_no_lost_wakeup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
