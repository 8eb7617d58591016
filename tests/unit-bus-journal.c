/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal: a small back end is stopped after every single store it makes to the journal and to the
 * ring, and from each of these moments a successor must give every request exactly one answer. */
#include "unit.h"
#include <stdio.h>
#include <errno.h>
#include <sys/mman.h>
#include "journal.h"
#include "ring.h"
#include "trap.h"

#define START 0xfffffff0u
#define SLOT 16u          /* bytes of a request: id, and 12 bytes of its complement */
#define RING_BYTES 192u   /* 8 slots */
#define NR 8u
#define REQUESTS 48u
#define PAGE 4096u

struct entry {
	struct pvb_journal_entry e;
	uint32_t id, pad;
};

static int16_t status_of(uint32_t id)
{
	return (int16_t)(id * 3 + 1);
}

/* ---- the back end under test ------------------------------------------------------------------------- */

struct queue {
	uint8_t *mem;             /* the ring's page, then the journal */
	size_t bytes;
	struct pvb_ring front, back;
	struct pvb_journal j;
	uint64_t seed;
	uint32_t sent;            /* requests the front end has pushed */
	uint32_t received;        /* answers it has read, in `answers` */
	uint32_t answers[REQUESTS];
};

static void queue_init(struct queue *q, uint64_t seed)
{
	memset(q, 0, sizeof(*q));
	q->seed = seed;
	q->bytes = PAGE + pvb_journal_bytes(NR, sizeof(struct entry));
	q->mem = mmap(NULL, q->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(q->mem, MAP_FAILED);
	pvb_ring_front_init(&q->front, q->mem, RING_BYTES, SLOT);
	q->front.sh->req_prod = q->front.sh->rsp_prod = START;
	pvb_ring_attach(&q->front, q->mem, RING_BYTES, SLOT, START, START);
	pvb_ring_attach(&q->back, q->mem, RING_BYTES, SLOT, START, START);
	assert_int_equal(q->back.nr_slots, NR);
	pvb_journal_init(&q->j, q->mem + PAGE, NR, sizeof(struct entry), 1, START, START);
}

static void take_some(struct queue *q, int nr)
{
	uint32_t req[SLOT / 4];

	for (; nr > 0; nr--) {
		struct entry *e = (struct entry *)pvb_journal_get(&q->j);

		pvb_ring_back_take(&q->back, req);
		e->id = req[0];
		pvb_journal_take(&q->j, &e->e);
	}
}

static void finish_some(struct queue *q)
{
	uint32_t i;

	for (i = 0; i < NR; i++) {
		struct entry *e = (struct entry *)pvb_journal_at(&q->j, i);

		if (e->e.state == PVB_J_TAKEN && rnd(&q->seed) % 2)
			pvb_journal_done(&e->e, status_of(e->id));
	}
}

/* The order that journal.h asks for. */
static void answer_done(struct queue *q)
{
	uint32_t pushed[NR], n = 0, i, rsp[2];

	for (i = 0; i < NR; i++) {
		struct entry *e = (struct entry *)pvb_journal_at(&q->j, i);

		if (e->e.state != PVB_J_DONE)
			continue;
		rsp[0] = e->id;
		rsp[1] = (uint16_t)e->e.status;
		pvb_journal_respond(&e->e, q->back.prod);
		pvb_ring_back_put(&q->back, rsp, sizeof(rsp));
		pushed[n++] = i;
	}
	if (n == 0)
		return;
	pvb_journal_push_begin(&q->j, q->back.prod);
	pvb_ring_back_push(&q->back);
	pvb_journal_push_end(&q->j, q->back.prod);
	while (n > 0)
		pvb_journal_put(&q->j, pvb_journal_at(&q->j, pushed[--n]));
}

/* The front end lives in the same thread, but what it writes is not what is cut short. */
static void front_turn(struct queue *q)
{
	uint32_t req[SLOT / 4], rsp[2];

	while (pvb_ring_front_avail(&q->front) > 0) {
		pvb_ring_front_take(&q->front, rsp, sizeof(rsp));
		assert_int_equal((int16_t)rsp[1], status_of(rsp[0]));
		q->answers[q->received++] = rsp[0];
	}
	while (q->sent < REQUESTS && pvb_ring_front_free(&q->front) > 0 && rnd(&q->seed) % 4) {
		req[0] = q->sent++;
		req[1] = req[2] = req[3] = ~req[0];
		pvb_ring_front_put(&q->front, req);
	}
	pvb_ring_front_push(&q->front);
}

static void back_turn(struct queue *q)
{
	int n = pvb_ring_back_avail(&q->back);

	assert_true(n >= 0);
	take_some(q, n > 0 ? (int)(rnd(&q->seed) % ((unsigned)n + 1)) : 0);
	finish_some(q);
	if (rnd(&q->seed) % 2)
		answer_done(q);
}

/* ---- the moments it is stopped at ---------------------------------------------------------------------- */

struct moment {
	uint8_t *mem;             /* everything shared, as it was */
	uint32_t sent, received;
};

struct film {
	struct queue *q;
	struct moment *m;
	unsigned nr, size;
};

static void shoot(void *arg)
{
	struct film *f = arg;
	struct moment *m;

	if (f->nr == f->size)
		abort();
	m = &f->m[f->nr++];
	memcpy(m->mem, f->q->mem, f->q->bytes);
	m->sent = f->q->sent;
	m->received = f->q->received;
}

static void film_init(struct film *f, struct queue *q, unsigned size)
{
	unsigned i;

	f->q = q;
	f->nr = 0;
	f->size = size;
	f->m = calloc(size, sizeof(*f->m));
	for (i = 0; i < size; i++)
		f->m[i].mem = malloc(q->bytes);
}

static void film_free(struct film *f)
{
	unsigned i;

	for (i = 0; i < f->size; i++)
		free(f->m[i].mem);
	free(f->m);
}

/* ---- the successor ------------------------------------------------------------------------------------- */

struct tally {
	unsigned answers[REQUESTS];
};

static void count(struct tally *t, uint32_t id)
{
	assert_in_range(id, 0, REQUESTS - 1);
	t->answers[id]++;
}

/* What the front end had read or can read at this moment. */
static void count_seen(struct tally *t, const struct queue *q, const struct moment *m, struct pvb_ring *ring)
{
	uint32_t i, rsp[2], n = ring->sh->rsp_prod - (START + m->received);

	for (i = 0; i < m->received; i++)
		count(t, q->answers[i]);
	assert_in_range(n, 0, NR);
	ring->cons = START + m->received;
	for (i = 0; i < n; i++) {
		pvb_ring_front_take(ring, rsp, sizeof(rsp));
		assert_int_equal((int16_t)rsp[1], status_of(rsp[0]));
		count(t, rsp[0]);
	}
}

/* What the ring still holds for the successor to take. */
static void count_untaken(struct tally *t, const struct moment *m, struct pvb_ring *ring, uint32_t req_cons)
{
	uint32_t req[SLOT / 4], n = ring->sh->req_prod - req_cons;

	assert_in_range(n, 0, NR);
	assert_int_equal(ring->sh->req_prod, START + m->sent);
	for (ring->cons = req_cons; n > 0; n--) {
		pvb_ring_back_take(ring, req);
		assert_int_equal(req[1], ~req[0]);
		assert_int_equal(req[3], ~req[0]);
		count(t, req[0]);
	}
}

static void count_entries(struct tally *t, const struct pvb_journal *j, const uint32_t *entries,
			  const struct pvb_journal_recovery *rec)
{
	uint64_t seq = 0;
	uint32_t i;

	for (i = 0; i < rec->nr_answer + rec->nr_redo; i++) {
		const struct entry *e = (const struct entry *)pvb_journal_at(j, entries[i]);
		bool answer = i < rec->nr_answer;

		assert_int_equal(e->e.state, answer ? PVB_J_DONE : PVB_J_TAKEN);
		if (answer)
			assert_int_equal(e->e.status, status_of(e->id));
		if (i != 0 && i != rec->nr_answer)
			assert_true(e->e.seq > seq);
		seq = e->e.seq;
		count(t, e->id);
	}
}

static void check_free_list(struct pvb_journal *j, const struct pvb_journal_recovery *rec)
{
	uint32_t used = rec->nr_answer + rec->nr_redo, n;

	assert_int_equal(j->in_use, used);
	for (n = 0; pvb_journal_get(j); n++)
		;
	assert_int_equal(n, NR - used);
}

static void recover_and_check(const struct queue *q, const struct moment *m, uint8_t *mem)
{
	struct pvb_journal_recovery rec;
	struct tally t = { 0 };
	uint32_t entries[NR], i;
	struct pvb_journal j;
	struct pvb_ring ring;
	struct pvb_error err = { 0 };

	assert_int_equal(pvb_journal_open(&j, mem + PAGE, q->bytes - PAGE, NR, sizeof(struct entry), &err), 0);
	pvb_ring_attach(&ring, mem, RING_BYTES, SLOT, 0, 0);
	if (pvb_journal_recover(&j, ring.sh->rsp_prod, entries, &rec, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(rec.rsp_prod, ring.sh->rsp_prod);
	count_seen(&t, q, m, &ring);
	count_entries(&t, &j, entries, &rec);
	count_untaken(&t, m, &ring, rec.req_cons);
	for (i = 0; i < REQUESTS; i++)
		assert_int_equal(t.answers[i], i < m->sent ? 1 : 0);
	check_free_list(&j, &rec);
}

static void run(struct queue *q, struct film *f)
{
	/* the index of a response the front end has read is its receipt: its order is not ours to film */
	while (q->received < REQUESTS) {
		front_turn(q);
#if TRAP_WORKS
		trap_arm(q->mem, q->bytes, PROT_READ, shoot, f);
		back_turn(q);
		trap_disarm();
#else
		back_turn(q);
		shoot(f);
#endif
	}
}

static void test_crash_anywhere(void **state)
{
	uint8_t *mem;
	struct queue q;
	struct film f;
	unsigned i, seed;

	for (seed = 1; seed <= 5; seed++) {
		queue_init(&q, seed);
		film_init(&f, &q, 3000);
		mem = malloc(q.bytes);
		run(&q, &f);
		assert_true(f.nr > (TRAP_WORKS ? REQUESTS * 10 : 10));
		for (i = 0; i < f.nr; i++) {
			memcpy(mem, f.m[i].mem, q.bytes);
			recover_and_check(&q, &f.m[i], mem);
		}
		free(mem);
		film_free(&f);
		munmap(q.mem, q.bytes);
	}
}

#if TRAP_WORKS
/* The successor dies during recovery as well, after every store it makes. */
static void crash_again(const struct queue *q, const struct moment *m, struct queue *q2, struct film *f2)
{
	struct pvb_journal_recovery rec;
	uint32_t entries[NR];
	struct pvb_journal j;
	unsigned i;
	int rc;

	memcpy(q2->mem, m->mem, q->bytes);
	f2->nr = 0;
	assert_int_equal(pvb_journal_open(&j, q2->mem + PAGE, q->bytes - PAGE, NR, sizeof(struct entry), NULL), 0);
	trap_arm(q2->mem, q2->bytes, PROT_READ, shoot, f2);
	rc = pvb_journal_recover(&j, ((struct pvb_ring_shared *)q2->mem)->rsp_prod, entries, &rec, NULL);
	trap_disarm();
	assert_int_equal(rc, 0);
	for (i = 0; i < f2->nr; i++) {
		struct moment second = { f2->m[i].mem, m->sent, m->received };

		recover_and_check(q, &second, f2->m[i].mem);
	}
}
#endif

static void test_crash_in_recovery(void **state)
{
#if TRAP_WORKS
	struct queue q, q2;
	struct film f, f2;
	unsigned i;

	queue_init(&q, 11);
	queue_init(&q2, 0);
	film_init(&f, &q, 3000);
	film_init(&f2, &q2, 200);
	run(&q, &f);
	for (i = 0; i < f.nr; i += 3)
		crash_again(&q, &f.m[i], &q2, &f2);
	film_free(&f);
	film_free(&f2);
	munmap(q.mem, q.bytes);
	munmap(q2.mem, q2.bytes);
#else
	skip();
#endif
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void test_open_refuses(void **state)
{
	size_t bytes = pvb_journal_bytes(NR, sizeof(struct entry));
	uint8_t *mem = aligned_alloc(PAGE, bytes);
	struct pvb_error err = { 0 };
	struct pvb_journal j, o;

	memset(mem, 0xff, bytes);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, sizeof(struct entry), &err), -EPROTO);
	assert_non_null(strstr(err.text, "magic"));
	memset(mem, 0, bytes);
	pvb_journal_init(&j, mem, NR, sizeof(struct entry), 7, START, START);
	assert_int_equal(j.head->generation, 7);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, sizeof(struct entry), &err), 0);
	assert_null(pvb_journal_get(&o)); /* not before recovery */
	assert_int_equal(pvb_journal_open(&o, mem, bytes - 1, NR, sizeof(struct entry), &err), -EPROTO);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR + 1, sizeof(struct entry), &err), -EPROTO);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, sizeof(struct entry) + 8, &err), -EPROTO);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, 0, sizeof(struct entry), &err), -EINVAL);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, 12, &err), -EINVAL);
	assert_int_equal(pvb_journal_open(&o, mem, bytes, UINT32_MAX, UINT32_MAX - 7, &err), -EINVAL);
	j.head->version++;
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, sizeof(struct entry), &err), -EPROTO);
	assert_non_null(strstr(err.text, "version 2"));
	j.head->version--;
	j.head->head_size += 64;
	assert_int_equal(pvb_journal_open(&o, mem, bytes, NR, sizeof(struct entry), &err), -EPROTO);
	free(mem);
}

static int recover(struct pvb_journal *j, uint32_t rsp_prod)
{
	struct pvb_journal_recovery rec = { 0 };
	struct pvb_error err = { 0 };
	uint32_t entries[NR];
	int rc = pvb_journal_recover(j, rsp_prod, entries, &rec, &err);

	assert_int_equal(err.code, rc);
	return rc;
}

static void test_recover_refuses(void **state)
{
	size_t bytes = pvb_journal_bytes(NR, sizeof(struct entry));
	uint8_t *mem = aligned_alloc(PAGE, bytes);
	struct pvb_journal_entry *a, *b;
	struct pvb_journal j;

	memset(mem, 0, bytes);
	pvb_journal_init(&j, mem, NR, sizeof(struct entry), 1, START, START);
	/* the guest wrote its rsp_prod: nothing was pushed */
	assert_int_equal(recover(&j, START + 1), -EPROTO);
	assert_int_equal(recover(&j, START - 1), -EPROTO);
	a = pvb_journal_get(&j);
	pvb_journal_take(&j, a);
	b = pvb_journal_get(&j);
	pvb_journal_take(&j, b);
	/* entries and head disagree */
	b->state = PVB_J_FREE;
	assert_int_equal(recover(&j, START), -EPROTO);
	b->state = 9;
	assert_int_equal(recover(&j, START), -EPROTO);
	b->state = PVB_J_DONE;
	b->seq = j.head->seq;
	assert_int_equal(recover(&j, START), -EPROTO);
	b->seq = j.head->seq - 1;
	assert_int_equal(recover(&j, START), 0);
	/* a push in progress: both ends of it are possible, nothing beyond */
	pvb_journal_done(a, 0);
	pvb_journal_respond(a, START);
	pvb_journal_push_begin(&j, START + 1);
	assert_int_equal(recover(&j, START + 2), -EPROTO);
	assert_int_equal(recover(&j, START + 1), 0);
	assert_int_equal(a->state, PVB_J_FREE);
	assert_int_equal(b->state, PVB_J_DONE);
	assert_int_equal(j.head->rsp_next, START + 1);
	free(mem);
}

static void test_init_leaves_entries_alone(void **state)
{
	size_t bytes = pvb_journal_bytes(NR, sizeof(struct entry)), head = sizeof(struct pvb_journal_head);
	uint8_t *mem = aligned_alloc(PAGE, bytes);
	struct pvb_journal_entry *e;
	struct pvb_journal j;
	size_t i;

	/* not what a new file has, so that each byte written shows */
	memset(mem, 0xa5, bytes);
	pvb_journal_init(&j, mem, NR, sizeof(struct entry), 1, START, START);
	for (i = head; i < bytes; i++)
		assert_int_equal(mem[i], 0xa5);
	/* one that is used again and again is the same one */
	memset(mem + head, 0, bytes - head);
	for (i = 0; i < 3; i++) {
		e = pvb_journal_get(&j);
		assert_int_equal(pvb_journal_index(&j, e), 0);
		pvb_journal_put(&j, e);
	}
	free(mem);
}

static void test_full(void **state)
{
	size_t bytes = pvb_journal_bytes(NR, sizeof(struct entry));
	uint8_t *mem = aligned_alloc(PAGE, bytes);
	struct pvb_journal_entry *e[NR];
	struct pvb_journal j;
	unsigned i;

	memset(mem, 0, bytes);
	pvb_journal_init(&j, mem, NR, sizeof(struct entry), 1, 0, 0);
	for (i = 0; i < NR; i++) {
		e[i] = pvb_journal_get(&j);
		assert_non_null(e[i]);
	}
	assert_null(pvb_journal_get(&j));
	assert_int_equal(j.in_use, NR);
	pvb_journal_put(&j, e[3]);
	assert_ptr_equal(pvb_journal_get(&j), e[3]);
	assert_int_equal(pvb_journal_bytes(1, 32), 4096);
	assert_int_equal(pvb_journal_bytes(124, 32), 4096);
	assert_int_equal(pvb_journal_bytes(125, 32), 8192);
	free(mem);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_anywhere),
		cmocka_unit_test(test_crash_in_recovery),
		cmocka_unit_test(test_open_refuses),
		cmocka_unit_test(test_recover_refuses),
		cmocka_unit_test(test_init_leaves_entries_alone),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
