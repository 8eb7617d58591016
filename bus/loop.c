/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: one epoll set and one heap of timers.  It owns its sources, never their descriptors.
 *
 * A timer that is far away is left to a timerfd, set once.  As a timeout of epoll_wait() it would be set up and torn
 * down in the kernel each time the loop sleeps, which a server pays with every request. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "loop.h"

#define ROUND_EVENTS 64
#define NOT_IN_HEAP SIZE_MAX
#define FAR_NS 100000000u
#define MAX_TIMER_MS (UINT64_C(1) << 40) /* 35 years: keeps the nanoseconds in 64 bits */

struct pvb_source {
	struct pvb_loop *loop;
	struct pvb_source *prev, *next;  /* all live sources, or (next) the graveyard */
	bool dead;
	int fd;                          /* -1: a timer */
	uint32_t events;                 /* 0: not in the epoll set */
	void (*fd_fn)(void *arg, uint32_t events);
	void (*timer_fn)(void *arg);
	void *arg;
	uint64_t due_ns, seq;
	size_t pos;                      /* in the heap */
	struct pvb_source **owner;       /* where the caller keeps a timer: cleared when it fires */
};

struct pvb_loop {
	int epfd;
	unsigned depth;                  /* of nested pvb_loop_once() */
	bool stop;
	int stop_value;
	uint64_t seq;
	struct pvb_source *sources, *graveyard;
	struct pvb_source **heap;        /* by due_ns, then seq */
	size_t nr_timers, heap_size;
	bool (*busy)(void *arg);
	void *busy_arg;
	int far_fd;
	uint64_t far_due;                /* when it will tell; 0: it is not set */
};

uint64_t pvb_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t pvb_now_ms(void)
{
	return pvb_now_ns() / 1000000u;
}

/* ---- timer heap ------------------------------------------------------------------------------------ */

static bool before(const struct pvb_source *a, const struct pvb_source *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void heap_set(struct pvb_loop *loop, size_t pos, struct pvb_source *src)
{
	loop->heap[pos] = src;
	src->pos = pos;
}

static void sift_up(struct pvb_loop *loop, size_t pos, struct pvb_source *src)
{
	for (; pos > 0 && before(src, loop->heap[(pos - 1) / 2]); pos = (pos - 1) / 2)
		heap_set(loop, pos, loop->heap[(pos - 1) / 2]);
	heap_set(loop, pos, src);
}

static void sift_down(struct pvb_loop *loop, size_t pos, struct pvb_source *src)
{
	size_t child;

	for (; (child = 2 * pos + 1) < loop->nr_timers; pos = child) {
		if (child + 1 < loop->nr_timers && before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (before(src, loop->heap[child]))
			break;
		heap_set(loop, pos, loop->heap[child]);
	}
	heap_set(loop, pos, src);
}

static int heap_add(struct pvb_loop *loop, struct pvb_source *src)
{
	if (loop->nr_timers == loop->heap_size) {
		size_t size = loop->heap_size ? 2 * loop->heap_size : 16;
		struct pvb_source **heap = realloc(loop->heap, size * sizeof(struct pvb_source *));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_size = size;
	}
	sift_up(loop, loop->nr_timers++, src);
	return 0;
}

static void heap_del(struct pvb_loop *loop, struct pvb_source *src)
{
	size_t pos = src->pos;
	struct pvb_source *last;

	if (pos == NOT_IN_HEAP)
		return;
	src->pos = NOT_IN_HEAP;
	last = loop->heap[--loop->nr_timers];
	if (last == src)
		return;
	/* the last one may belong above or below the hole */
	if (pos > 0 && before(last, loop->heap[(pos - 1) / 2]))
		sift_up(loop, pos, last);
	else
		sift_down(loop, pos, last);
}

/* ---- sources --------------------------------------------------------------------------------------- */

static struct pvb_source *source_new(struct pvb_loop *loop)
{
	struct pvb_source *src = calloc(1, sizeof(*src));

	if (!src)
		return NULL;
	src->loop = loop;
	src->fd = -1;
	src->pos = NOT_IN_HEAP;
	return src;
}

static void source_link(struct pvb_source *src)
{
	src->next = src->loop->sources;
	if (src->next)
		src->next->prev = src;
	src->loop->sources = src;
}

/* A round may still hold a pointer to it: freed when the outermost round is over. */
static void source_bury(struct pvb_source *src)
{
	struct pvb_loop *loop = src->loop;

	if (src->prev)
		src->prev->next = src->next;
	else
		loop->sources = src->next;
	if (src->next)
		src->next->prev = src->prev;
	src->dead = true;
	src->next = loop->graveyard;
	loop->graveyard = src;
}

static void clear_graveyard(struct pvb_loop *loop)
{
	struct pvb_source *src;

	while ((src = loop->graveyard)) {
		loop->graveyard = src->next;
		free(src);
	}
}

int pvb_loop_fd(struct pvb_loop *loop, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
		struct pvb_source **out)
{
	struct pvb_source *src = source_new(loop);
	int rc;

	if (!src)
		return -ENOMEM;
	src->fd = fd;
	src->fd_fn = fn;
	src->arg = arg;
	source_link(src);
	rc = pvb_source_events(src, events);
	if (rc < 0) {
		pvb_source_free(&src);
		return rc;
	}
	*out = src;
	return 0;
}

int pvb_source_events(struct pvb_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };
	int op;

	if (events == src->events)
		return 0;
	/* taken out for a pause: epoll would go on to report EPOLLHUP and EPOLLERR */
	op = !events ? EPOLL_CTL_DEL : src->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(src->loop->epfd, op, src->fd, &ev) < 0)
		return -errno;
	src->events = events;
	return 0;
}

int pvb_loop_timer(struct pvb_loop *loop, uint64_t ms, void (*fn)(void *arg), void *arg, struct pvb_source **out)
{
	struct pvb_source *src = source_new(loop);
	int rc;

	if (!src)
		return -ENOMEM;
	src->timer_fn = fn;
	src->arg = arg;
	src->due_ns = pvb_now_ns() + (ms < MAX_TIMER_MS ? ms : MAX_TIMER_MS) * 1000000u;
	src->seq = loop->seq++;
	src->owner = out;
	rc = heap_add(loop, src);
	if (rc < 0) {
		free(src);
		return rc;
	}
	source_link(src);
	if (out)
		*out = src;
	return 0;
}

void pvb_source_free(struct pvb_source **srcp)
{
	struct pvb_source *src;
	struct pvb_loop *loop;

	if (!srcp || !*srcp)
		return;
	src = *srcp;
	*srcp = NULL;
	loop = src->loop;
	if (src->fd >= 0 && src->events)
		epoll_ctl(loop->epfd, EPOLL_CTL_DEL, src->fd, NULL);
	heap_del(loop, src);
	source_bury(src);
	if (loop->depth == 0)
		clear_graveyard(loop);
}

/* ---- the loop -------------------------------------------------------------------------------------- */

int pvb_loop_new(struct pvb_loop **out)
{
	struct epoll_event ev = { .events = EPOLLIN }; /* no source */
	struct pvb_loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (!loop)
		return -ENOMEM;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	loop->far_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epfd < 0 || loop->far_fd < 0 || epoll_ctl(loop->epfd, EPOLL_CTL_ADD, loop->far_fd, &ev) < 0) {
		rc = -errno;
		if (loop->far_fd >= 0)
			close(loop->far_fd);
		if (loop->epfd >= 0)
			close(loop->epfd);
		free(loop);
		return rc;
	}
	*out = loop;
	return 0;
}

void pvb_loop_free(struct pvb_loop *loop)
{
	struct pvb_source *src;

	if (!loop)
		return;
	while ((src = loop->sources))
		source_bury(src);
	clear_graveyard(loop);
	free(loop->heap);
	close(loop->far_fd);
	close(loop->epfd);
	free(loop);
}

static int set_far(struct pvb_loop *loop, uint64_t due)
{
	struct itimerspec t = { .it_value = { (time_t)(due / 1000000000u), (long)(due % 1000000000u) } };

	if (timerfd_settime(loop->far_fd, TFD_TIMER_ABSTIME, &t, NULL) < 0)
		return -errno;
	loop->far_due = due;
	return 0;
}

/* It tells of the first timer when that is due: no need to look at the clock. */
static bool far_is_first(const struct pvb_loop *loop)
{
	return loop->far_due != 0 && loop->heap[0]->due_ns == loop->far_due;
}

/* How long to sleep: the caller's bound or the first timer, rounded up so that it is due on waking. */
static int sleep_ms(struct pvb_loop *loop, int timeout_ms)
{
	uint64_t now, ms;

	if (loop->nr_timers == 0 || far_is_first(loop))
		return timeout_ms;
	now = pvb_now_ns();
	if (loop->heap[0]->due_ns <= now)
		return 0;
	/* set for an earlier one that is gone it wakes us for nothing, once */
	if (loop->heap[0]->due_ns - now >= FAR_NS &&
	    ((loop->far_due != 0 && loop->far_due < loop->heap[0]->due_ns) || set_far(loop, loop->heap[0]->due_ns) == 0))
		return timeout_ms;
	ms = (loop->heap[0]->due_ns - now + 999999u) / 1000000u;
	if (timeout_ms >= 0 && ms >= (uint64_t)timeout_ms)
		return timeout_ms;
	return ms > 1000000 ? 1000000 : (int)ms;
}

static int run_timers(struct pvb_loop *loop, uint64_t seq_end)
{
	struct pvb_source *src;
	uint64_t now;
	int nr = 0;

	if (loop->nr_timers == 0 || far_is_first(loop))
		return 0;
	now = pvb_now_ns();
	/* one set by a callback of this round has seq >= seq_end and waits for the next: no endless round */
	while (!loop->stop && loop->nr_timers > 0) {
		src = loop->heap[0];
		if (src->due_ns > now || src->seq >= seq_end)
			break;
		heap_del(loop, src);
		if (src->owner)
			*src->owner = NULL;
		source_bury(src);
		src->timer_fn(src->arg);
		nr++;
	}
	return nr;
}

void pvb_loop_busy(struct pvb_loop *loop, bool (*busy)(void *arg), void *arg)
{
	loop->busy = busy;
	loop->busy_arg = arg;
}

int pvb_loop_once(struct pvb_loop *loop, int timeout_ms)
{
	struct epoll_event events[ROUND_EVENTS];
	uint64_t seq_end;
	int i, n, nr = 0;

	if (loop->busy && loop->depth == 0 && loop->busy(loop->busy_arg))
		timeout_ms = 0;
	n = epoll_wait(loop->epfd, events, ROUND_EVENTS, timeout_ms ? sleep_ms(loop, timeout_ms) : 0);
	if (n < 0 && errno != EINTR)
		return -errno;
	seq_end = loop->seq;
	loop->depth++;
	for (i = 0; i < n && !loop->stop; i++) {
		struct pvb_source *src = events[i].data.ptr;
		uint64_t ticks;

		if (!src) {
			if (read(loop->far_fd, &ticks, sizeof(ticks)) > 0)
				loop->far_due = 0;
			continue;
		}
		/* an earlier callback may have freed or paused it */
		if (src->dead || !src->events)
			continue;
		src->fd_fn(src->arg, events[i].events);
		nr++;
	}
	nr += run_timers(loop, seq_end);
	if (--loop->depth == 0)
		clear_graveyard(loop);
	return nr;
}

int pvb_loop_run(struct pvb_loop *loop)
{
	int rc;

	while (!loop->stop) {
		rc = pvb_loop_once(loop, -1);
		if (rc < 0)
			return rc;
	}
	loop->stop = false;
	return loop->stop_value;
}

void pvb_loop_stop(struct pvb_loop *loop, int value)
{
	loop->stop = true;
	loop->stop_value = value;
}
