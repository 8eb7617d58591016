/* SPDX-License-Identifier: GPL-2.0-or-later */
/* serve.c: see serve.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net/rate.h"
#include "backend/stats.h"
#include "client.h"
#include "ring.h"
#include "serve.h"

#define GREF_CONSOLE 0u          /* Xen keeps this entry of each guest's grant table for the page of its console */
#define MAX_CLIENTS 8u           /* of one address */
#define PASS 16u                 /* looks at the ring before others have their turn */
#define CHUNK 2048u
#define DIAL_MS 250u             /* doubled with each failure, up to */
#define DIAL_MAX_MS 30000u

/* One of the places where the console is served. */
struct port {
	struct serve *s;
	unsigned nr;
	enum con_kind kind;
	bool dial, telnet;
	int fd;                      /* that listens, or the log; -1 */
	struct pvb_source *src;      /* that listens */
	struct client *clients;
	unsigned nr_clients;
	uint64_t seen;               /* what somebody has got here: where the next one begins */
	struct pvb_source *again;    /* before the next attempt to dial */
	unsigned pause_ms;
	bool connecting;
	uint64_t rotate, size;
	bool rotating, failed;       /* log */
};

struct serve {
	struct pvb_hv *hv;
	struct pvb_loop *loop;
	struct pvb_map map;
	struct pvb_event *event;
	struct con_ring ring;
	bool broken;
	int room;                    /* for what clients say, as last seen */
	struct rate rate;
	struct pvb_source *wake;     /* there is more than the rate, or a pass, allows */
	struct history history;
	struct port ports[CON_MAX_ENDS];
	unsigned nr_ports;
	struct con_stats *stats;
	const struct serve_ops *ops;
	void *arg;
};

static bool pump(struct serve *s);
static void dial_again(struct port *p);

static void on_wake(void *arg)
{
	pump(arg);
}

static void break_down(struct serve *s, const struct pvb_error *err)
{
	if (s->broken)
		return;
	s->broken = true;
	pvb_event_free(&s->event);
	pvb_source_free(&s->wake);
	s->ops->broken(s->arg, err->text);
}

/* ---- the log -------------------------------------------------------------------------------------------- */

static void log_trouble(struct port *p, const char *why)
{
	if (!p->failed)
		p->s->ops->log_failed(p->s->arg, p->nr, why);
	p->failed = true;
}

static void log_put(struct port *p, const char *buf, size_t len)
{
	struct con_stats *stats = p->s->stats;

	while (len > 0 && p->fd >= 0) {
		ssize_t n = write(p->fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_trouble(p, n < 0 ? strerror(errno) : "nothing could be written");
			break;
		}
		p->failed = false;
		p->size += (uint64_t)n;
		stats_add(&stats->log_bytes, (uint64_t)n);
		buf += n;
		len -= (size_t)n;
	}
	stats_add(&stats->log_lost_bytes, len);
	if (p->size >= p->rotate && !p->rotating && p->fd >= 0) {
		p->rotating = true;
		p->s->ops->rotate(p->s->arg, p->nr);
	}
}

/* ---- clients -------------------------------------------------------------------------------------------- */

static void drop(struct client *c)
{
	struct port *p = c->port;
	struct client **at;

	for (at = &p->clients; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	p->nr_clients--;
	__atomic_store_n(&p->s->stats->clients, p->s->stats->clients - (p->kind != CON_PTY), __ATOMIC_RELAXED);
	pvb_source_free(&c->src);
	close(c->fd);
	free(c);
	if (p->dial)
		dial_again(p);
}

static void wait_for(struct client *c)
{
	/* never nothing: who has gone for good is told by EPOLLHUP, which comes unasked to whom anything comes */
	uint32_t events = EPOLLERR | (c->blocked ? EPOLLOUT : 0u) | (c->port->s->room > 0 && !c->eof && !c->port->s->broken ? EPOLLIN : 0u);

	if (events == c->events)
		return;
	c->events = events;
	pvb_source_events(c->src, events);
}

/* False: it is gone. */
static bool flush_out(struct client *c)
{
	struct serve *s = c->port->s;
	uint64_t lost = 0;
	int rc = client_send(c, &s->history, &lost);

	stats_add(&s->stats->lost_bytes, lost);
	if (rc < 0) {
		drop(c);
		return false;
	}
	if (c->pos > c->port->seen && !c->eof) /* one that may be gone has perhaps not seen it */
		c->port->seen = c->pos;
	wait_for(c);
	return true;
}

static void flush_all(struct serve *s)
{
	for (unsigned i = 0; i < s->nr_ports; i++) {
		struct client *c, *next;

		for (c = s->ports[i].clients; c; c = next) {
			next = c->next;
			if (!c->blocked)
				flush_out(c);
			else
				wait_for(c);
		}
	}
}

/* False: it is gone. */
static bool take_in(struct client *c)
{
	struct serve *s = c->port->s;
	uint8_t buf[sizeof(((struct xencons_interface *)0)->in)];
	struct pvb_error err = { 0 };
	ssize_t n;

	n = client_receive(c, buf, (size_t)s->room < sizeof(buf) ? (size_t)s->room : sizeof(buf));
	if (n == -EPIPE && !c->port->dial) {
		c->eof = true; /* it may still listen, as nc does when its input ends */
		wait_for(c);
		return true;
	}
	if (n < 0) {
		drop(c);
		return false;
	}
	if (n == 0)
		return true;
	n = con_ring_in(&s->ring, buf, (size_t)n, &err);
	if (n < 0) {
		break_down(s, &err);
		return true;
	}
	s->room -= (int)n;
	stats_add(&s->stats->in_bytes, (uint64_t)n);
	pvb_event_notify(s->event);
	return true;
}

static void connected(struct client *c)
{
	struct port *p = c->port;
	int e = 0;
	socklen_t len = sizeof(e);

	p->connecting = false;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 || e) {
		drop(c);
		return;
	}
	p->pause_ms = 0;
	stats_add(&p->s->stats->connections, 1);
	flush_out(c);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	struct serve *s = c->port->s;

	if (c->port->connecting) {
		connected(c);
		return;
	}
	if (events & EPOLLIN && s->room > 0 && !c->eof && !s->broken) {
		if (!take_in(c))
			return;
	} else if (events & (EPOLLHUP | EPOLLERR) && c->port->kind != CON_PTY) {
		drop(c);
		return;
	}
	if (flush_out(c) && s->room == 0)
		flush_all(s); /* the others are not to speak either */
}

/* Both ends of the socket are told what a console needs; a kind of socket that has no such option needs none. */
static void tune(int fd)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static struct client *add_client(struct port *p, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->port = p;
	c->fd = fd;
	c->pos = p->seen;
	c->framed = p->telnet;
	if (c->framed)
		telnet_start(&c->telnet);
	c->events = p->connecting ? EPOLLOUT : EPOLLIN;
	if (pvb_loop_fd(p->s->loop, fd, c->events, on_client, c, &c->src) < 0) {
		close(fd);
		free(c);
		return NULL;
	}
	c->next = p->clients;
	p->clients = c;
	p->nr_clients++;
	if (p->kind != CON_PTY) {
		tune(fd);
		stats_add(&p->s->stats->clients, 1);
	}
	return c;
}

/* Of those that will say no more the one that came first; nobody knows whether it is still there. */
static bool make_room(struct port *p)
{
	struct client *oldest = NULL;

	for (struct client *c = p->clients; c; c = c->next)
		if (c->eof)
			oldest = c;
	if (oldest)
		drop(oldest);
	return oldest;
}

static void on_accept(void *arg, uint32_t events)
{
	struct port *p = arg;
	int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0)
		return;
	if (p->nr_clients >= MAX_CLIENTS && !make_room(p)) {
		static const char full[] = "[pvbackd: too many connections to this console]\r\n";

		if (send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			errno = 0; /* then it is not told */
		close(fd);
		return;
	}
	c = add_client(p, fd);
	if (!c)
		return;
	stats_add(&p->s->stats->connections, 1);
	flush_out(c);
}

static void dial(void *arg)
{
	struct port *p = arg;

	p->s->ops->dial(p->s->arg, p->nr);
}

static void dial_again(struct port *p)
{
	p->connecting = false;
	if (p->again)
		return;
	p->pause_ms = p->pause_ms ? p->pause_ms * 2 : DIAL_MS;
	if (p->pause_ms > DIAL_MAX_MS)
		p->pause_ms = DIAL_MAX_MS;
	pvb_loop_timer(p->s->loop, p->pause_ms, dial, p, &p->again);
}

void serve_give(struct serve *s, unsigned end, int fd, uint64_t size)
{
	struct port *p = end < s->nr_ports ? &s->ports[end] : NULL;

	if (p && p->kind == CON_LOG) {
		if (p->fd >= 0)
			close(p->fd);
		p->fd = fd;
		p->size = size;
		p->rotating = false;
		if (fd >= 0)
			stats_add(&s->stats->rotations, 1);
	} else if (p && p->dial && !p->clients) {
		p->connecting = fd >= 0;
		if (fd < 0 || !add_client(p, fd))
			dial_again(p);
	} else if (fd >= 0) {
		close(fd);
	}
}

/* ---- the guest ------------------------------------------------------------------------------------------ */

/* Some of what the guest has put out.  1: it may have more; 0: that was all; or -errno. */
static int take_out(struct serve *s, bool limited, struct pvb_error *err)
{
	char buf[CHUNK];
	uint64_t now = pvb_now_ns();
	int n = con_ring_out(&s->ring, buf, sizeof(buf), err);

	if (n <= 0)
		return n;
	if (!rate_take(&s->rate, (uint32_t)n, now) && limited) {
		stats_add(&s->stats->throttled, 1);
		if (!s->wake)
			pvb_loop_timer(s->loop, rate_wait(&s->rate, now) / 1000000 + 1, on_wake, s, &s->wake);
		return 0;
	}
	for (unsigned i = 0; i < s->nr_ports; i++)
		if (s->ports[i].kind == CON_LOG)
			log_put(&s->ports[i], buf, (size_t)n);
	history_put(&s->history, buf, (size_t)n);
	con_ring_done(&s->ring, (uint32_t)n);
	stats_add(&s->stats->out_bytes, (uint64_t)n);
	return 1;
}

/* Everything that can be done now.  True: there was something. */
static bool pump(struct serve *s)
{
	struct pvb_error err = { 0 };
	uint64_t before = s->history.head;
	int room, rc = 1;

	if (s->broken)
		return true;
	for (unsigned i = 0; i < PASS && rc > 0; i++)
		rc = take_out(s, true, &err);
	room = rc < 0 ? rc : con_ring_room(&s->ring, &err);
	if (room < 0) {
		break_down(s, &err);
	} else {
		bool more = room != s->room;

		s->room = room;
		if (rc > 0 && !s->wake)
			pvb_loop_timer(s->loop, 0, on_wake, s, &s->wake);
		if (s->history.head == before && !more)
			return false;
		if (s->history.head != before)
			pvb_event_notify(s->event); /* it may wait for the place */
	}
	flush_all(s);
	return true;
}

static bool on_event(void *arg)
{
	struct serve *s = arg;
	bool work = pump(s);

	stats_add(&s->stats->events, 1);
	stats_add(&s->stats->events_spurious, !work);
	return work;
}

/* ---- beginning and end ---------------------------------------------------------------------------------- */

static void set_up_port(struct serve *s, unsigned nr, const struct con_setup *setup)
{
	s->ports[nr] = (struct port){
		.s = s, .nr = nr, .kind = (enum con_kind)setup->end[nr].kind, .dial = setup->end[nr].dial,
		.telnet = setup->end[nr].telnet, .fd = -1, .rotate = setup->end[nr].rotate, .size = setup->end[nr].size,
	};
}

/* From here on the descriptor is ours, and stays if this fails. */
static int open_port(struct port *p, int fd)
{
	struct client *c;

	if (p->dial) {
		dial(p);
		return 0;
	}
	if (p->kind == CON_PTY) {
		c = add_client(p, fd);
		return c ? 0 : -ENOMEM;
	}
	p->fd = fd;
	return p->kind == CON_LOG || fd < 0 ? 0 : pvb_loop_fd(p->s->loop, fd, EPOLLIN, on_accept, p, &p->src);
}

static void close_port(struct port *p)
{
	pvb_source_free(&p->src);
	p->dial = false; /* not again */
	while (p->clients)
		drop(p->clients);
	pvb_source_free(&p->again);
	if (p->fd >= 0)
		close(p->fd);
}

static int take_hold(struct serve *s, struct pvb_events *events, uint32_t domid, uint32_t port, struct pvb_error *err)
{
	static const uint32_t gref = GREF_CONSOLE;
	int rc = pvb_hv_map(s->hv, domid, &gref, 1, true, &s->map);

	if (rc < 0)
		return pvb_err(err, rc, "its page (grant %u): %s", gref, strerror(-rc));
	rc = con_ring_open(&s->ring, s->map.addr, err);
	if (rc < 0)
		return rc;
	rc = pvb_event_bind(events, domid, port, on_event, s, &s->event);
	if (rc < 0)
		return pvb_err(err, rc, "event channel %u: %s; does xenconsoled serve this console?", port, strerror(-rc));
	return 0;
}

int serve_new(struct serve **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop, uint32_t domid,
	      const struct con_setup *setup, const int *fds, struct con_stats *stats, const struct serve_ops *ops, void *arg,
	      struct pvb_error *err)
{
	struct serve *s = calloc(1, sizeof(*s));
	int rc;

	if (!s || setup->nr_ends > CON_MAX_ENDS) {
		free(s);
		return pvb_err(err, -EINVAL, "%u places", setup->nr_ends);
	}
	s->hv = hv;
	s->loop = loop;
	s->stats = stats;
	s->ops = ops;
	s->arg = arg;
	s->history.bytes = calloc(1, HISTORY_SIZE);
	rate_set(&s->rate, setup->rate / 10, 100000, pvb_now_ns());
	rc = s->history.bytes ? take_hold(s, events, domid, setup->port, err) : pvb_err(err, -ENOMEM, "out of memory");
	for (; rc == 0 && s->nr_ports < setup->nr_ends; s->nr_ports++)
		set_up_port(s, s->nr_ports, setup);
	if (rc < 0) {
		serve_free(s);
		return rc;
	}
	/* a place that can not be had for want of memory is one less; the others are served */
	for (unsigned i = 0; i < s->nr_ports; i++)
		if (open_port(&s->ports[i], fds[i]) < 0)
			ops->log_failed(arg, i, "out of memory");
	pump(s);
	*out = s;
	return 0;
}

void serve_free(struct serve *s)
{
	struct pvb_error err;

	if (!s)
		return;
	/* its last words: a ring's worth, at any rate */
	if (s->event && !s->broken) {
		take_out(s, false, &err);
		flush_all(s);
	}
	for (unsigned i = 0; i < s->nr_ports; i++)
		close_port(&s->ports[i]);
	pvb_source_free(&s->wake);
	pvb_event_free(&s->event);
	pvb_hv_unmap(s->hv, &s->map);
	free(s->history.bytes);
	free(s);
}
