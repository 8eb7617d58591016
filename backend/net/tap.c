/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tap - the host's network stack, through a TAP device that the supervisor made.
 *
 * Each queue of the guest has a queue of the TAP.  A queue is read while the guest has room, a batch at a time; a frame
 * that finds none waits in `held`, and the rest in the kernel, whose queue is bounded and drops for us. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "backend/net/netif.h"
#include "backend/net/packet.h"
#include "backend/net/ports.h"
#include "backend/net/tap-pause.h"
#include "backend/net/tap.h"
#include "backend/target.h"

#define BATCH 64u

struct tap;

struct queue {
	struct tap *tap;
	int fd;
	unsigned nr;
	struct pvb_source *src;
	struct tap_pause pause;
	unsigned budget;             /* frames to read at once: as many as there were lately */
	bool is_held;
	struct frame held;
	uint8_t *held_bytes;
};

struct tap {
	struct port port;
	bool connected;
	struct port_offers offers;
	unsigned nr_queues, active;
	size_t used;                 /* of the worker's area, within readable() */
	struct queue queue[PORT_MAX_QUEUES];
};

static int tap_prepare_port(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			    struct pvb_error *err)
{
	unsigned queues = nic->queues < PORT_MAX_QUEUES ? nic->queues : PORT_MAX_QUEUES;
	int rc;

	if (!queues)
		queues = 1;
	*nr_fds = 0;
	if (t->arg[0])
		return pvb_err(err, -EINVAL, "target \"%s\": tap takes nothing but options", t->text);
	rc = tap_prepare(nic->ifname, queues, nic->mtu, fds, err);
	if (!rc)
		*nr_fds = queues;
	return rc;
}

/* --- to the guest ------------------------------------------------------------------------------------- */

static bool takes_gso(const struct port_offers *o, unsigned gso)
{
	return gso == FRAME_GSO_TCP4 ? o->gso4 : o->gso6;
}

static bool takes_blank(const struct port_offers *o, const struct frame *f)
{
	return f->ethertype == 0x0800 ? o->csum4 : o->csum6;
}

static void deliver_segment(void *arg, struct frame *f)
{
	struct queue *q = arg;

	if (port_deliver(&q->tap->port, q->nr, f) == FRAME_HELD)
		q->tap->port.stats.rx_dropped_full++;
}

/* What the guest does not take as it is, from before it said so or because TAPs know no such difference. */
static enum frame_verdict deliver(struct queue *q, struct frame *f)
{
	struct tap *tap = q->tap;
	size_t size;
	uint8_t *area;
	int nr;

	f->queue = q->nr;
	if (f->gso && !takes_gso(&tap->offers, f->gso)) {
		area = nif_ctx_area(tap->port.ctx, &size);
		nr = packet_segment(f, area + tap->used, size - tap->used, deliver_segment, q);
		if (nr < 0)
			tap->port.stats.rx_dropped_filter++;
		else
			tap->used += packet_segment_bytes(f);
		return FRAME_SENT;
	}
	if (!f->gso && f->csum_blank && !takes_blank(&tap->offers, f))
		packet_checksum(f);
	return port_deliver(&tap->port, q->nr, f);
}

static void hold(struct queue *q, const struct frame *f)
{
	frame_copy(&q->held, f, q->held_bytes);
	q->is_held = true;
	tap_pause_stop(&q->pause);
}

/* How many frames to read the next time: as many as there were, twice as many if there may have been more. */
static unsigned next_budget(unsigned budget, unsigned taken)
{
	unsigned next = taken == budget ? 2 * taken : taken;

	if (next > BATCH)
		return BATCH;
	return next ? next : 1;
}

static void readable(void *arg, uint32_t events)
{
	struct queue *q = arg;
	struct tap *tap = q->tap;
	size_t size;
	uint8_t *area = nif_ctx_area(tap->port.ctx, &size);
	size_t bytes = 0;
	const char *why;
	struct frame f;
	unsigned i, most = q->pause.on ? BATCH : q->budget;
	int rc = 1;

	if (q->is_held || !tap->connected) /* the timer had told already */
		return;
	/* To be told that there are no more frames costs as much as a frame.  The loop knows it, too; the timer does not. */
	for (i = 0; i < most && size - tap->used >= 2 * TAP_MAX_READ; i++) {
		uint8_t *buf = area + tap->used;

		rc = tap_read(q->fd, buf, &f, &why);
		if (rc < 0 && rc != -EINVAL) {
			tap_pause_stop(&q->pause); /* until the guest connects again */
			break;
		}
		tap->port.stats.rx_dropped_filter += rc < 0;
		if (rc < 0)
			continue;
		if (rc == 0)
			break;
		bytes += f.len;
		/* each at the beginning of a page: its pages are then the guest's, one copy each */
		tap->used += (f.len + PVB_PAGE_SIZE - 1) & ~(size_t)(PVB_PAGE_SIZE - 1);
		if (deliver(q, &f) == FRAME_HELD) {
			hold(q, &f);
			break;
		}
	}
	if (!q->pause.on)
		q->budget = next_budget(q->budget, i);
	nif_ctx_flush(tap->port.ctx);
	tap->used = 0;
	if (!q->is_held && tap->connected && (rc >= 0 || rc == -EINVAL))
		tap_pause(&q->pause, i, bytes, rc != 0);
}

/* Any of the guest's queues: which one a frame goes to may say its hash.  The frame's bytes are read at the end of this
 * pass, so there is no reading on before that: the loop does. */
static void tap_room(struct port *p, unsigned queue)
{
	struct tap *tap = (struct tap *)p;

	for (unsigned i = 0; i < tap->nr_queues; i++) {
		struct queue *q = &tap->queue[i];

		if (!q->is_held)
			continue;
		q->held.verdict = FRAME_PENDING;
		if (port_deliver(p, q->nr, &q->held) == FRAME_HELD)
			continue;
		q->is_held = false;
		pvb_source_events(q->src, EPOLLIN);
	}
}

/* --- from the guest ----------------------------------------------------------------------------------- */

static void tap_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	struct tap *tap = (struct tap *)p;

	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frames[i];

		f->verdict = FRAME_SENT;
		if (!frame_is_local(f) || tap_write(tap->queue[f->queue % tap->active].fd, f)) {
			f->verdict = FRAME_DROPPED;
			p->stats.tx_errors++;
		}
	}
}

/* --- life --------------------------------------------------------------------------------------------- */

static void tap_stop(struct tap *tap)
{
	for (unsigned i = 0; i < tap->nr_queues; i++) {
		tap_pause_stop(&tap->queue[i].pause);
		tap->queue[i].is_held = false;
	}
	tap_carrier(tap->queue[0].fd, false);
}

static unsigned offload(const struct port_offers *o)
{
	unsigned flags = o->csum4 || o->csum6 ? TAP_CSUM : 0;

	flags |= o->csum4 && o->gso4 && o->sg ? TAP_TSO4 : 0;
	flags |= o->csum6 && o->gso6 && o->sg ? TAP_TSO6 : 0;
	return flags;
}

/* Queues that the guest does not have are taken out, so that the kernel spreads over the others. */
static void tap_connected(struct port *p, const struct port_offers *offers)
{
	struct tap *tap = (struct tap *)p;

	tap->connected = offers;
	if (!offers) {
		tap_stop(tap);
		return;
	}
	tap->offers = *offers;
	tap->active = offers->queues < tap->nr_queues ? offers->queues : tap->nr_queues;
	for (unsigned i = 0; i < tap->nr_queues; i++) {
		tap_attach(tap->queue[i].fd, i < tap->active);
		if (!offers->again)
			tap_drain(tap->queue[i].fd);
	}
	tap_offload(tap->queue[0].fd, offload(offers));
	for (unsigned i = 0; i < tap->nr_queues; i++)
		pvb_source_events(tap->queue[i].src, EPOLLIN);
	tap_carrier(tap->queue[0].fd, true);
}

static void tap_set_carrier(struct port *p, bool up)
{
	struct tap *tap = (struct tap *)p;

	if (tap->connected)
		tap_carrier(tap->queue[0].fd, up);
}

static void tap_close(struct port *p)
{
	struct tap *tap = (struct tap *)p;

	for (unsigned i = 0; i < tap->nr_queues; i++) {
		tap_pause_close(&tap->queue[i].pause);
		pvb_source_free(&tap->queue[i].src);
		port_close_fds(&tap->queue[i].fd, 1);
		free(tap->queue[i].held_bytes);
	}
	free(tap);
}

static int open_queue(struct tap *tap, struct queue *q, struct pvb_error *err)
{
	int rc;

	q->tap = tap;
	q->budget = 1;
	q->held_bytes = malloc(FRAME_MAX_LEN);
	if (!q->held_bytes)
		return pvb_err(err, -ENOMEM, "tap: no memory");
	rc = pvb_loop_fd(nif_ctx_loop(tap->port.ctx), q->fd, 0, readable, q, &q->src);
	if (!rc)
		rc = tap_pause_open(&q->pause, nif_ctx_loop(tap->port.ctx), q->src, readable, q);
	return rc ? pvb_err(err, rc, "tap: queue %u: %s", q->nr, strerror(-rc)) : 0;
}

static int tap_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		    struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	struct tap *tap;
	int rc = 0;

	if (!nr_fds || nr_fds > PORT_MAX_QUEUES) {
		port_close_fds(fds, nr_fds);
		return pvb_err(err, -EINVAL, "tap: %u queues, from 1 to %u", nr_fds, PORT_MAX_QUEUES);
	}
	tap = calloc(1, sizeof(*tap));
	if (!tap) {
		port_close_fds(fds, nr_fds);
		return pvb_err(err, -ENOMEM, "tap: no memory");
	}
	tap->port.ctx = ctx;
	tap->nr_queues = tap->active = nr_fds;
	for (unsigned i = 0; i < nr_fds; i++) {
		tap->queue[i].fd = fds[i];
		tap->queue[i].pause.fd = -1;
		tap->queue[i].nr = i;
	}
	for (unsigned i = 0; i < nr_fds && !rc; i++)
		rc = open_queue(tap, &tap->queue[i], err);
	if (rc) {
		tap_close(&tap->port);
		return rc;
	}
	*out = &tap->port;
	return 0;
}

const struct port_ops tap_port = {
	.name = "tap",
	.help = "the host's network, by a TAP device of the NIC's name",
	.whole = true,
	.prepare = tap_prepare_port, .open = tap_open, .connected = tap_connected, .xmit = tap_xmit, .room = tap_room,
	.carrier = tap_set_carrier, .close = tap_close,
};
