/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop: who is called, who is not called any more, and when; and the rule of the storm back-off. */
#include "unit.h"
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "event.h"
#include "loop.h"

static struct pvb_loop *loop;

static int setup(void **state)
{
	return pvb_loop_new(&loop);
}

static int teardown(void **state)
{
	pvb_loop_free(loop);
	return 0;
}

struct thing {
	struct pvb_source *src;
	struct thing *victim;       /* its source is freed by our callback */
	unsigned calls;
	uint32_t events;
	int fd;
};

static void hit(void *arg, uint32_t events)
{
	struct thing *t = arg;

	t->calls++;
	t->events = events;
	if (t->victim)
		pvb_source_free(&t->victim->src);
}

static void watch_ready(struct thing *t)
{
	*t = (struct thing){ .fd = eventfd(1, EFD_CLOEXEC) };
	assert_true(t->fd >= 0);
	assert_int_equal(pvb_loop_fd(loop, t->fd, EPOLLIN, hit, t, &t->src), 0);
}

static void drop(struct thing *t)
{
	pvb_source_free(&t->src);
	close(t->fd);
}

static void test_level(void **state)
{
	struct thing t;
	uint64_t v;

	watch_ready(&t);
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	assert_int_equal(pvb_loop_once(loop, 0), 1); /* still readable */
	assert_int_equal(t.events, EPOLLIN);
	assert_int_equal(read(t.fd, &v, sizeof(v)), sizeof(v));
	assert_int_equal(pvb_loop_once(loop, 0), 0);
	assert_int_equal(pvb_source_events(t.src, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	assert_int_equal(t.events, EPOLLOUT);
	drop(&t);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
	pvb_source_free(&t.src);
	pvb_source_free(NULL);
}

/* Paused means silent, also for hang-up and error, which epoll reports unasked. */
static void test_pause(void **state)
{
	struct thing t = { 0 };
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pvb_loop_fd(loop, fds[0], EPOLLIN, hit, &t, &t.src), 0);
	close(fds[1]);
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	assert_int_equal(t.events, EPOLLHUP);
	assert_int_equal(pvb_source_events(t.src, 0), 0);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
	assert_int_equal(pvb_source_events(t.src, 0), 0);
	assert_int_equal(pvb_source_events(t.src, EPOLLIN), 0);
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	pvb_source_free(&t.src);
	close(fds[0]);
}

/* Two sources ready in the same round, each removes the other: exactly one is called. */
static void test_remove_other(void **state)
{
	struct thing a, b;

	watch_ready(&a);
	watch_ready(&b);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	assert_int_equal(a.calls + b.calls, 1);
	assert_true((a.src == NULL) != (b.src == NULL));
	drop(&a);
	drop(&b);
}

static void test_remove_self(void **state)
{
	struct thing a;

	watch_ready(&a);
	a.victim = &a;
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	assert_null(a.src);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
	drop(&a);
}

static void pause_victim(void *arg, uint32_t events)
{
	struct thing *t = arg;

	t->calls++;
	assert_int_equal(pvb_source_events(t->victim->src, 0), 0);
}

/* Paused by another callback of the same round counts as well. */
static void test_pause_other(void **state)
{
	struct thing a = { .fd = eventfd(1, 0) }, b = { .fd = eventfd(1, 0) };

	a.victim = &b;
	b.victim = &a;
	assert_int_equal(pvb_loop_fd(loop, a.fd, EPOLLIN, pause_victim, &a, &a.src), 0);
	assert_int_equal(pvb_loop_fd(loop, b.fd, EPOLLIN, pause_victim, &b, &b.src), 0);
	assert_int_equal(pvb_loop_once(loop, 0), 1);
	drop(&a);
	drop(&b);
}

static void test_bad_fd(void **state)
{
	struct pvb_source *src = (struct pvb_source *)1;

	assert_int_equal(pvb_loop_fd(loop, 9999, EPOLLIN, hit, NULL, &src), -EBADF);
	assert_ptr_equal(src, (struct pvb_source *)1);
}

/* ---- timers ---------------------------------------------------------------------------------------- */

static unsigned order[64], nr_order;
static struct pvb_source *timers[64];

static void note(void *arg)
{
	order[nr_order++] = (unsigned)(uintptr_t)arg;
	assert_null(timers[(uintptr_t)arg]); /* cleared before the call */
}

static void run_for(unsigned callbacks)
{
	uint64_t end = pvb_now_ms() + 5000;

	while (nr_order < callbacks && pvb_now_ms() < end)
		assert_true(pvb_loop_once(loop, 1000) >= 0);
	assert_int_equal(nr_order, callbacks);
}

static void test_timer_order(void **state)
{
	static const uint64_t ms[] = { 12, 3, 9, 3, 0, 15, 3, 0 };
	static const unsigned want[] = { 4, 7, 1, 3, 6, 2, 0, 5 };
	uint64_t start = pvb_now_ms();
	unsigned i;

	nr_order = 0;
	for (i = 0; i < 8; i++)
		assert_int_equal(pvb_loop_timer(loop, ms[i], note, (void *)(uintptr_t)i, &timers[i]), 0);
	run_for(8);
	assert_true(pvb_now_ms() - start >= 15);
	/* same delay set at different nanoseconds: still in the order of setting */
	assert_memory_equal(order, want, sizeof(want));
}

static void test_timer_cancel(void **state)
{
	uint64_t seed = 5;
	unsigned i, k;

	/* a heap of 60, half of them removed in random order */
	nr_order = 0;
	for (i = 0; i < 60; i++)
		assert_int_equal(pvb_loop_timer(loop, rnd(&seed) % 8, note, (void *)(uintptr_t)i, &timers[i]), 0);
	for (i = 0; i < 30;) {
		k = rnd(&seed) % 60;
		i += timers[k] != NULL;
		pvb_source_free(&timers[k]);
	}
	run_for(30);
	for (i = 0; i < 60; i++)
		assert_null(timers[i]);
	assert_int_equal(pvb_loop_once(loop, 20), 0);
}

/* Far ones are told by a descriptor, near ones by the sleep's end: together still in order, none early, none lost
 * when the one that the descriptor was set for is gone. */
static void test_timer_far(void **state)
{
	static const uint64_t ms[] = { 190, 110, 130, 5, 110, 160 };
	static const unsigned want[] = { 3, 1, 2, 5, 0 };
	uint64_t start = pvb_now_ms();
	unsigned i, rounds = 0;

	nr_order = 0;
	for (i = 0; i < 6; i++)
		assert_int_equal(pvb_loop_timer(loop, ms[i], note, (void *)(uintptr_t)i, &timers[i]), 0);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
	pvb_source_free(&timers[4]);
	run_for(3);
	assert_true(pvb_now_ms() - start >= 130);
	pvb_source_free(&timers[5]);
	assert_int_equal(pvb_loop_timer(loop, 0, note, (void *)(uintptr_t)5, &timers[5]), 0);
	while (nr_order < 5 && rounds++ < 20)
		assert_true(pvb_loop_once(loop, 1000) >= 0); /* sleeps, does not spin */
	assert_int_equal(nr_order, 5);
	assert_true(pvb_now_ms() - start >= 190);
	assert_memory_equal(order, want, sizeof(want));
}

static void rearm(void *arg)
{
	unsigned *left = arg;

	if (--*left > 0)
		assert_int_equal(pvb_loop_timer(loop, 0, rearm, arg, NULL), 0);
}

/* A timer of 0 ms set by a timer runs in the next round: no round is endless. */
static void test_timer_zero(void **state)
{
	unsigned left = 3;

	assert_int_equal(pvb_loop_timer(loop, 0, rearm, &left, NULL), 0);
	assert_int_equal(pvb_loop_once(loop, 1000), 1);
	assert_int_equal(left, 2);
	assert_int_equal(pvb_loop_once(loop, 1000), 1);
	assert_int_equal(pvb_loop_once(loop, 1000), 1);
	assert_int_equal(left, 0);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
}

static void cancel_timer(void *arg, uint32_t events)
{
	struct thing *t = arg;

	t->calls++;
	pvb_source_free(&timers[0]);
	pvb_source_free(&t->src);
}

/* Due in this round, but a descriptor's callback of the same round removes it. */
static void test_timer_removed_when_due(void **state)
{
	struct thing t = { .fd = eventfd(1, 0) };

	nr_order = 0;
	assert_int_equal(pvb_loop_timer(loop, 0, note, (void *)0, &timers[0]), 0);
	assert_int_equal(pvb_loop_fd(loop, t.fd, EPOLLIN, cancel_timer, &t, &t.src), 0);
	assert_int_equal(pvb_loop_once(loop, 100), 1);
	assert_int_equal(nr_order, 0);
	close(t.fd);
}

static void stop(void *arg)
{
	pvb_loop_stop(loop, *(int *)arg);
}

static void nested(void *arg)
{
	struct thing *t = arg;

	/* a wait inside a callback: what is freed in there must live until the outer round is over */
	pvb_source_free(&t->src);
	assert_int_equal(pvb_loop_once(loop, 0), 0);
}

static void test_run_and_nested(void **state)
{
	int value = 42;
	struct thing t;

	watch_ready(&t);
	drop(&t);
	assert_int_equal(pvb_loop_timer(loop, 2, stop, &value, NULL), 0);
	assert_int_equal(pvb_loop_run(loop), 42);
	value = -3;
	assert_int_equal(pvb_loop_timer(loop, 0, stop, &value, NULL), 0);
	assert_int_equal(pvb_loop_run(loop), -3);
	watch_ready(&t);
	assert_int_equal(pvb_loop_timer(loop, 0, nested, &t, NULL), 0);
	assert_true(pvb_loop_once(loop, 100) >= 1);
	assert_null(t.src);
	close(t.fd);
}

static unsigned asked;

static bool busy(void *arg)
{
	asked++;
	return asked < 4;
}

/* Busy: no sleep, but descriptors are looked at and timers run; then it sleeps, and when nobody is asked any more, too. */
static void test_busy(void **state)
{
	int value = 0;

	asked = 0;
	pvb_loop_busy(loop, busy, NULL);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pvb_loop_once(loop, -1), 0); /* would be for ever */
	assert_int_equal(asked, 3);
	assert_int_equal(pvb_loop_timer(loop, 1, stop, &value, NULL), 0);
	assert_int_equal(pvb_loop_once(loop, -1), 1);
	assert_int_equal(asked, 4);
	pvb_loop_busy(loop, NULL, NULL);
	pvb_loop_once(loop, 0);
	assert_int_equal(asked, 4);
}

/* Freed with everything still in it. */
static void test_free_full(void **state)
{
	struct pvb_loop *l;
	struct pvb_source *a, *b;
	int fd = eventfd(1, 0);

	assert_int_equal(pvb_loop_new(&l), 0);
	assert_int_equal(pvb_loop_fd(l, fd, EPOLLIN, hit, NULL, &a), 0);
	assert_int_equal(pvb_loop_timer(l, UINT64_MAX, stop, NULL, &b), 0);
	pvb_loop_free(l);
	pvb_loop_free(NULL);
	close(fd);
}

static void test_backoff(void **state)
{
	static const unsigned want[] = { 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024 };
	unsigned i;

	for (i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_int_equal(pvb_event_backoff_ms(i), want[i]);
	assert_int_equal(pvb_event_backoff_ms(33), 1024);
	assert_int_equal(pvb_event_backoff_ms(UINT32_MAX), 1024);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_level),		T(test_pause),
		T(test_remove_other),	T(test_remove_self),
		T(test_pause_other),	T(test_bad_fd),
		T(test_timer_order),	T(test_timer_cancel),
		T(test_timer_far),
		T(test_timer_zero),	T(test_timer_removed_when_due),
		T(test_run_and_nested), T(test_free_full),
		T(test_busy),
		T(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
