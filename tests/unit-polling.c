/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a worker looks at its rings: what it learns from how long it slept. */
#include "tests/unit.h"
#include "backend/polling.h"

#define US 1000u
#define MAX (100 * US)

static uint64_t now = 1;
static long preempted;

/* Work comes this long after the last; at what time was looking over?  0: it was not on. */
static uint64_t after(struct poll *p, uint64_t ns)
{
	uint64_t began = now, over = 0;

	while (p->on && !over && now < began + ns) {
		now += US;
		assert_true(poll_stay(p, now, false));
		if (now >= p->until) {
			poll_over(p, now, preempted);
			over = now - began;
		}
	}
	now = began + ns;
	poll_stay(p, now, true);
	return over;
}

static void never(void **state)
{
	struct poll off = { 0 };

	(void)state;
	assert_false(poll_stay(NULL, now, true));
	for (unsigned i = 0; i < 10; i++) {
		now += US;
		assert_false(poll_stay(&off, now, true));
	}
	assert_false(off.on);
}

static void busy(void **state)
{
	struct poll p = { .max_ns = MAX };

	(void)state;
	assert_false(poll_stay(&p, now, true)); /* nothing is known yet */
	after(&p, 35 * US);
	assert_true(p.on);
	assert_int_equal(p.ns, POLL_FIRST_NS);
	assert_int_equal(after(&p, 35 * US), 10 * US); /* too short twice */
	assert_int_equal(after(&p, 35 * US), 20 * US);
	assert_int_equal(p.ns, 40 * US);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(after(&p, 35 * US), 0); /* long enough: no sleep, no lengthening */
	assert_int_equal(p.ns, 40 * US);
	for (unsigned i = 0; i < 10; i++)
		after(&p, MAX - US);
	assert_int_equal(p.ns, MAX); /* and never more */
}

static void idle(void **state)
{
	struct poll p = { .max_ns = MAX, .ns = MAX };
	uint64_t looked = 0;

	(void)state;
	poll_stay(&p, now, true);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t over = after(&p, 10 * MAX);

		looked += over;
		assert_true(i < 4 || over == 0);
	}
	assert_false(p.on);
	assert_int_equal(p.ns, 0);
	assert_true(looked < 2 * MAX);
	/* nothing to do is no work, however often it is asked */
	for (unsigned i = 0; i < 20; i++) {
		now += US;
		assert_false(poll_stay(&p, now, false));
	}
}

/* Somebody else wants the processor. */
static void crowded(void **state)
{
	struct poll p = { .max_ns = MAX, .ns = MAX };

	(void)state;
	poll_stay(&p, now, true);
	assert_true(p.on);
	preempted++;
	now += MAX;
	poll_over(&p, now, preempted);
	assert_false(p.on);
	for (uint64_t t = 10 * US; t < POLL_CROWDED_NS; t += 10 * US) {
		now += 10 * US;
		assert_false(poll_stay(&p, now, true));
	}
	now += 10 * US;
	assert_true(poll_stay(&p, now, true));
	poll_over(&p, now, preempted); /* nobody this time */
	now += US;
	assert_true(poll_stay(&p, now, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(never), cmocka_unit_test(busy), cmocka_unit_test(idle),
					     cmocka_unit_test(crowded) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
