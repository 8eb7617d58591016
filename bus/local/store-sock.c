/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store's sockets: moves bytes between them and the store's connections, and tells it the time. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "../loop.h"
#include "store-int.h"

#define IOVECS 64
#define SNDBUF 32768 /* of a domain's connection: what it does not read is to wait here, where it is counted */

struct lst_sock {
	struct lst *st;
	struct pvb_source *soon, *timer;
	uint64_t timer_ms;
};

struct sconn {
	struct lst_sock *sock;
	struct lst_conn *c;
	struct pvb_source *src;
	int fd;
	bool eof;
};

static void schedule(struct lst_sock *s);

static void run(struct lst_sock *s)
{
	s->st->now_ms = pvb_now_ms();
	lst_run(s->st);
	schedule(s);
}

static void soon(void *arg)
{
	struct lst_sock *s = arg;

	s->soon = NULL;
	run(s);
}

static void tick(void *arg)
{
	struct lst_sock *s = arg;

	s->timer = NULL;
	s->st->now_ms = pvb_now_ms();
	lst_tick(s->st);
	schedule(s);
}

/* Others are to have their turn before we go on. */
static void schedule(struct lst_sock *s)
{
	uint64_t due;

	if (lst_has_work(s->st) && !s->soon)
		pvb_loop_timer(s->st->loop, 0, soon, s, &s->soon);
	due = lst_deadline(s->st);
	if (due == UINT64_MAX || (s->timer && s->timer_ms <= due))
		return;
	pvb_source_free(&s->timer);
	s->timer_ms = due;
	pvb_loop_timer(s->st->loop, due > s->st->now_ms ? due - s->st->now_ms : 0, tick, s, &s->timer);
}

/* ---- one connection --------------------------------------------------------------------------------- */

/* False: it is broken. */
static bool flush(struct sconn *sc)
{
	struct iovec iov[IOVECS];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t r;

	while ((msg.msg_iovlen = lst_conn_output(sc->c, iov, IOVECS)) > 0) {
		r = sendmsg(sc->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0)
			return errno == EAGAIN || errno == EINTR;
		lst_conn_sent(sc->c, (size_t)r);
	}
	return true;
}

static void ready(void *arg)
{
	struct sconn *sc = arg;
	struct iovec iov;
	uint32_t space;

	if (!flush(sc))
		sc->eof = true;
	lst_conn_space(sc->c, &space);
	/* when it is broken, an input event brings us to close it */
	pvb_source_events(sc->src, (space || sc->eof ? EPOLLIN : 0) |
			  (lst_conn_output(sc->c, &iov, 1) && !sc->eof ? EPOLLOUT : 0));
}

static void closed(void *arg)
{
	struct sconn *sc = arg;

	pvb_source_free(&sc->src);
	close(sc->fd);
	free(sc);
}

static const struct lst_io io = { ready, closed };

static void event(void *arg, uint32_t events)
{
	struct sconn *sc = arg;
	struct lst_sock *s = sc->sock;
	uint32_t space;
	uint8_t *at;
	ssize_t r = -1;

	s->st->now_ms = pvb_now_ms();
	at = lst_conn_space(sc->c, &space);
	if (space) {
		r = recv(sc->fd, at, space, MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
			sc->eof = true;
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		sc->eof = true;
	}
	if (sc->eof) {
		lst_conn_kill(sc->c);
	} else {
		if (r > 0)
			lst_conn_input(sc->c, (uint32_t)r);
		if (events & EPOLLOUT)
			ready(sc);
	}
	run(s);
}

int lst_accept(struct lst *st, int fd, uint32_t domid)
{
	struct sconn *sc = calloc(1, sizeof(*sc));
	int rc = -ENOMEM, size = SNDBUF;

	if (!sc)
		goto fail;
	sc->sock = st->sock;
	sc->fd = fd;
	rc = lst_conn_new(st, domid, &io, sc, &sc->c);
	if (rc < 0)
		goto fail;
	rc = pvb_loop_fd(st->loop, fd, EPOLLIN, event, sc, &sc->src);
	if (rc < 0) {
		lst_conn_kill(sc->c);
		return rc;
	}
	if (domid != 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
fail:
	free(sc);
	close(fd);
	return rc;
}

/* ---- begin and end ---------------------------------------------------------------------------------- */

int lst_new(struct lst **out, struct pvb_loop *loop, const struct pvb_store_quota *quota,
	    bool (*exists)(void *arg, uint32_t domid), void *arg)
{
	struct lst_sock *s = calloc(1, sizeof(*s));
	struct lst *st;
	int rc;

	if (!s)
		return -ENOMEM;
	rc = lst_core_new(&st, quota, exists, arg);
	if (rc < 0) {
		free(s);
		return rc;
	}
	st->loop = loop;
	st->sock = s;
	st->now_ms = pvb_now_ms();
	s->st = st;
	*out = st;
	return 0;
}

void lst_free(struct lst *st)
{
	struct lst_sock *s;

	if (!st)
		return;
	s = st->sock;
	lst_core_free(st);
	pvb_source_free(&s->soon);
	pvb_source_free(&s->timer);
	free(s);
}
