/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tap-pause.c: see tap-pause.h. */
#include "config.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "backend/net/tap-pause.h"

#define SKIP_MAX 63u

int tap_pause_open(struct tap_pause *p, struct pvb_loop *loop, struct pvb_source *tap,
		   void (*fn)(void *arg, uint32_t events), void *arg)
{
	*p = (struct tap_pause){ .tap = tap, .ns = TAP_PAUSE_MOST_NS };
	p->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return p->fd < 0 ? -errno : pvb_loop_fd(loop, p->fd, EPOLLIN, fn, arg, &p->timer);
}

void tap_pause_close(struct tap_pause *p)
{
	pvb_source_free(&p->timer);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* This also takes back that it was due. */
static void set(struct tap_pause *p, long ns)
{
	struct itimerspec when = { .it_value = { 0, ns } };

	timerfd_settime(p->fd, 0, &when, NULL);
}

static void end(struct tap_pause *p)
{
	if (p->on)
		set(p, 0);
	p->on = false;
}

void tap_pause_stop(struct tap_pause *p)
{
	end(p);
	pvb_source_events(p->tap, 0);
}

static void begin(struct tap_pause *p)
{
	p->on = true;
	pvb_source_events(p->tap, 0);
	set(p, (long)p->ns);
}

static void learn(struct tap_pause *p, unsigned frames)
{
	if (frames > TAP_PAUSE_MANY && p->ns / 2 >= TAP_PAUSE_LEAST_NS)
		p->ns /= 2;
	else if (frames < TAP_PAUSE_MANY / 4 && p->ns * 2 <= TAP_PAUSE_MOST_NS)
		p->ns *= 2;
}

static void listen_again(struct tap_pause *p)
{
	end(p);
	pvb_source_events(p->tap, EPOLLIN);
}

void tap_pause(struct tap_pause *p, unsigned frames, size_t bytes, bool more)
{
	if (bytes >= TAP_PAUSE_LARGE * (size_t)(frames ? frames : 1)) {
		listen_again(p);
		return;
	}
	if (p->on && more) {
		p->paid = true;
		p->wait = 0;
		learn(p, frames);
		set(p, 1);
		return;
	}
	if (p->on && frames < 2) {
		/* the end of what did pay is no mistake */
		if (!p->paid)
			p->wait = p->wait < SKIP_MAX / 2 ? (uint8_t)(2 * p->wait + 1) : SKIP_MAX;
		p->skip = p->wait;
		listen_again(p);
		return;
	}
	if (!p->on && p->skip) {
		p->skip--;
		return;
	}
	p->paid = p->on;
	if (p->paid) {
		p->wait = 0;
		learn(p, frames);
	}
	begin(p);
}
