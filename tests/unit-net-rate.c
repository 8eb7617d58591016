/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token bucket, with a clock of the test's. */
#include "tests/unit.h"
#include "backend/net/rate.h"

#define MS 1000000ull
#define S (1000 * MS)

/* Send frames of len whenever it lets us, for `ns`; the bytes that went. */
static uint64_t run(struct rate *r, uint32_t len, uint64_t *now, uint64_t ns)
{
	uint64_t end = *now + ns, sent = 0;

	for (;;) {
		uint64_t wait;

		while (rate_take(r, len, *now))
			sent += len;
		wait = rate_wait(r, *now);
		assert_true(wait > 0);
		assert_false(rate_take(r, len, *now + wait - 1));
		*now += wait;
		if (*now >= end)
			return sent;
	}
}

static void unlimited(void **state)
{
	struct rate r = { 0 };

	for (unsigned i = 0; i < 1000; i++)
		assert_true(rate_take(&r, 65535, 5));
	assert_int_equal(rate_wait(&r, 5), 0);
}

/* Over ten seconds, whatever the frames and the interval, it is what was asked for, the first bucketful and a frame's
 * debt apart. */
static void exact_over_time(void **state)
{
	static const struct { uint64_t bytes, usecs; uint32_t len; } cases[] = {
		{ 1250000, 100000, 1514 }, { 125000000 / 20, 50000, 65535 }, { 50000, 50000, 60 },
		{ 7, 1000, 1514 }, { 100000, 1000000, 65535 }, { 125, 1, 1514 }, { 999983, 333333, 61 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double rate = (double)cases[i].bytes / (double)cases[i].usecs * 1e6, burst, sent;
		uint64_t now = 123456789, start = now;
		struct rate r = { 0 };

		rate_set(&r, cases[i].bytes, cases[i].usecs, now);
		burst = (double)(r.full / r.interval);
		sent = (double)run(&r, cases[i].len, &now, 10 * S);
		assert_true(sent <= rate * (double)(now - start) / 1e9 + burst + cases[i].len + 1);
		assert_true(sent >= rate * (double)(now - start) / 1e9 - 1);
	}
}

static void burst_is_an_interval(void **state)
{
	uint64_t now = S;
	struct rate r = { 0 };
	unsigned n = 0;

	rate_set(&r, 100000, 50000, now);
	while (rate_take(&r, 1000, now))
		n++;
	assert_int_equal(n, 101); /* the one that makes the debt */
	assert_int_equal(rate_wait(&r, now), 500000);
	now += 3600 * S; /* does not pile up */
	for (n = 0; rate_take(&r, 1000, now); n++)
		;
	assert_int_equal(n, 101);
}

static void a_short_interval_forgives_10_ms(void **state)
{
	uint64_t now = S, sent = 0;
	struct rate r = { 0 };

	rate_set(&r, 125, 1, now); /* 1 Gb/s */
	while (rate_take(&r, 1500, now))
		;
	for (unsigned i = 0; i < 100; i++) {
		now += 8 * MS; /* a lazy timer */
		while (rate_take(&r, 1500, now))
			sent += 1500;
	}
	assert_in_range(sent, 99000000, 101000000);
}

static void larger_than_the_bucket(void **state)
{
	struct rate r = { 0 };

	rate_set(&r, 1000, 10000, 0);
	assert_true(rate_take(&r, 65535, 0));
	assert_false(rate_take(&r, 60, 0));
	assert_int_equal(rate_wait(&r, 0), 645350000);
	assert_false(rate_take(&r, 60, 645349999));
	assert_true(rate_take(&r, 60, 645350000));
}

static void changed_while_in_use(void **state)
{
	struct rate r = { 0 };

	rate_set(&r, 1000000, 1000000, 0);
	assert_true(rate_take(&r, 900000, 0));
	rate_set(&r, 500000, 500000, 0); /* the same rate: the 100000 stay */
	assert_true(rate_take(&r, 100000, 0));
	assert_true(rate_take(&r, 1000, 0));
	assert_int_equal(rate_wait(&r, 0), 1 * MS);
	rate_set(&r, 5000000, 500000, 0); /* ten times as fast: the debt is paid ten times as fast */
	assert_int_equal(rate_wait(&r, 0), MS / 10);
	rate_set(&r, 0, 0, 0);
	assert_true(rate_take(&r, 65535, 0));
	rate_set(&r, 10, 1000, S);
	assert_int_equal(rate_wait(&r, S), 0);
	rate_set(&r, 1, 1000000, S); /* what is in it is cut to what the new one holds */
	assert_true(rate_take(&r, 2, S));
	assert_int_equal(rate_wait(&r, S), S);
}

static void a_clock_that_goes_back(void **state)
{
	struct rate r = { 0 };

	rate_set(&r, 1000, 1000, S);
	assert_true(rate_take(&r, 20000, S));
	assert_false(rate_take(&r, 1, S / 2));
	assert_int_equal(rate_wait(&r, S / 2), 10 * MS);
	assert_true(rate_take(&r, 1, S + 10 * MS));
}

static void extremes(void **state)
{
	struct rate r = { 0 };

	rate_set(&r, UINT64_MAX, UINT64_MAX, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(rate_take(&r, UINT32_MAX, UINT64_MAX - 1));
	rate_set(&r, 1, UINT64_MAX, UINT64_MAX - 1);
	rate_take(&r, UINT32_MAX, UINT64_MAX);
	assert_true(rate_wait(&r, UINT64_MAX) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unlimited), cmocka_unit_test(exact_over_time), cmocka_unit_test(burst_is_an_interval),
		cmocka_unit_test(a_short_interval_forgives_10_ms), cmocka_unit_test(larger_than_the_bucket),
		cmocka_unit_test(changed_while_in_use), cmocka_unit_test(a_clock_that_goes_back),
		cmocka_unit_test(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
