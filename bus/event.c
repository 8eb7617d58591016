/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels of one handle: from the descriptor to handlers, and back to unmasked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "event.h"

#define BATCH 64
#define MAX_PORT (1u << 17)  /* ports of a domain with Xen's FIFO ABI */

struct pvb_event {
	struct pvb_events *ev;
	uint32_t port;
	bool (*fn)(void *arg);
	void *arg;
	struct pvb_event_stats stats;
	unsigned empty;                  /* events in a row without work */
	struct pvb_source *delay;        /* unmask put off */
	bool dead;
	struct pvb_event *next;          /* in the graveyard */
};

struct pvb_events {
	struct pvb_hv *hv;
	struct pvb_loop *loop;
	struct pvb_source *src;
	void (*after)(void *arg);
	void *arg;
	struct pvb_event **by_port;
	uint32_t nr_ports;               /* size of by_port */
	struct pvb_event *graveyard;     /* freed while a batch may still name them */
	bool in_batch;
};

unsigned pvb_event_backoff_ms(unsigned empty)
{
	if (empty < 2)
		return 0;
	return empty < 12 ? 1u << (empty - 2) : 1024;
}

static struct pvb_event *lookup(const struct pvb_events *ev, uint32_t port)
{
	return port < ev->nr_ports ? ev->by_port[port] : NULL;
}

static int set_port(struct pvb_events *ev, uint32_t port, struct pvb_event *e)
{
	struct pvb_event **table;
	uint32_t size = ev->nr_ports ? ev->nr_ports : 64;

	if (port >= MAX_PORT)
		return -ENOSPC;
	while (size <= port)
		size *= 2;
	if (size > ev->nr_ports) {
		table = realloc(ev->by_port, size * sizeof(struct pvb_event *));
		if (!table)
			return -ENOMEM;
		memset(table + ev->nr_ports, 0, (size - ev->nr_ports) * sizeof(struct pvb_event *));
		ev->by_port = table;
		ev->nr_ports = size;
	}
	ev->by_port[port] = e;
	return 0;
}

static void clear_graveyard(struct pvb_events *ev)
{
	struct pvb_event *e;

	while ((e = ev->graveyard)) {
		ev->graveyard = e->next;
		free(e);
	}
}

/* ---- dispatch -------------------------------------------------------------------------------------- */

static void unmask_late(void *arg)
{
	struct pvb_event *e = arg;

	pvb_hv_evt_unmask(e->ev->hv, &e->port, 1);
}

/* Run one handler.  True: unmask with the batch; false: the port is gone or stays masked for a while. */
static bool handle(struct pvb_event *e)
{
	unsigned ms;
	bool work;

	e->stats.received++;
	work = e->fn(e->arg);
	if (e->dead)
		return false;
	if (work) {
		e->empty = 0;
		return true;
	}
	e->stats.spurious++;
	ms = pvb_event_backoff_ms(++e->empty);
	if (ms == 0 || pvb_loop_timer(e->ev->loop, ms, unmask_late, e, &e->delay) < 0)
		return true;
	e->stats.delayed++;
	return false;
}

static void readable(void *arg, uint32_t events)
{
	struct pvb_events *ev = arg;
	struct pvb_event *done[BATCH];
	uint32_t ports[BATCH];
	unsigned nr_done = 0, nr = 0, i;
	int n;

	n = pvb_hv_evt_take(ev->hv, ports, BATCH);
	ev->in_batch = true;
	for (i = 0; n > 0 && i < (unsigned)n; i++) {
		struct pvb_event *e = lookup(ev, ports[i]);

		/* none: an event that was on its way when its port was unbound.  One that waits for its
		 * unmask was told by a port that had the same number before. */
		if (e && !e->delay && handle(e))
			done[nr_done++] = e;
	}
	if (n > 0 && ev->after)
		ev->after(ev->arg);
	for (i = 0; i < nr_done; i++)
		if (!done[i]->dead)
			ports[nr++] = done[i]->port;
	pvb_hv_evt_unmask(ev->hv, ports, nr);
	ev->in_batch = false;
	clear_graveyard(ev);
}

/* ---- life ------------------------------------------------------------------------------------------ */

int pvb_events_new(struct pvb_events **out, struct pvb_hv *hv, struct pvb_loop *loop, void (*after)(void *arg),
		   void *arg)
{
	struct pvb_events *ev = calloc(1, sizeof(*ev));
	int rc;

	if (!ev)
		return -ENOMEM;
	ev->hv = hv;
	ev->loop = loop;
	ev->after = after;
	ev->arg = arg;
	rc = pvb_loop_fd(loop, pvb_hv_evt_fd(hv), EPOLLIN, readable, ev, &ev->src);
	if (rc < 0) {
		free(ev);
		return rc;
	}
	*out = ev;
	return 0;
}

void pvb_events_free(struct pvb_events *ev)
{
	uint32_t port;

	if (!ev)
		return;
	for (port = 0; port < ev->nr_ports; port++) {
		struct pvb_event *e = ev->by_port[port];

		pvb_event_free(&e);
	}
	pvb_source_free(&ev->src);
	clear_graveyard(ev);
	free(ev->by_port);
	free(ev);
}

static int event_new(struct pvb_events *ev, int port, bool (*fn)(void *arg), void *arg, struct pvb_event **out)
{
	struct pvb_event *e;
	int rc;

	if (port < 0)
		return port;
	e = calloc(1, sizeof(*e));
	rc = e ? set_port(ev, (uint32_t)port, e) : -ENOMEM;
	if (rc < 0) {
		pvb_hv_evt_unbind(ev->hv, (uint32_t)port);
		free(e);
		return rc;
	}
	e->ev = ev;
	e->port = (uint32_t)port;
	e->fn = fn;
	e->arg = arg;
	*out = e;
	return 0;
}

int pvb_event_bind(struct pvb_events *ev, uint32_t domid, uint32_t remote_port, bool (*fn)(void *arg), void *arg,
		   struct pvb_event **out)
{
	return event_new(ev, pvb_hv_evt_bind(ev->hv, domid, remote_port), fn, arg, out);
}

int pvb_event_alloc(struct pvb_events *ev, uint32_t domid, bool (*fn)(void *arg), void *arg, struct pvb_event **out)
{
	return event_new(ev, pvb_hv_evt_alloc(ev->hv, domid), fn, arg, out);
}

void pvb_event_free(struct pvb_event **ep)
{
	struct pvb_event *e;

	if (!ep || !*ep)
		return;
	e = *ep;
	*ep = NULL;
	pvb_source_free(&e->delay);
	e->ev->by_port[e->port] = NULL;
	pvb_hv_evt_unbind(e->ev->hv, e->port);
	e->dead = true;
	e->next = e->ev->graveyard;
	e->ev->graveyard = e;
	if (!e->ev->in_batch)
		clear_graveyard(e->ev);
}

uint32_t pvb_event_port(const struct pvb_event *e)
{
	return e->port;
}

int pvb_event_notify(struct pvb_event *e)
{
	e->stats.sent++;
	return pvb_hv_evt_notify(e->ev->hv, e->port);
}

const struct pvb_event_stats *pvb_event_stats(const struct pvb_event *e)
{
	return &e->stats;
}
