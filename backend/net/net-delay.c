/* SPDX-License-Identifier: GPL-2.0-or-later */
/* delay=USECS[:JITTER] - each frame waits USECS, and up to JITTER more, both ways.
 *
 * Frames are copied into a ring of bytes, one for each way, and leave it in order: jitter stretches, it does not
 * reorder. When a ring is full, frames are dropped, as a line of that length and speed would. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "backend/net/netif.h"
#include "backend/net/ports.h"
#include "backend/target.h"

#define BYTES (4u * 1024 * 1024)
#define MAX_US 10000000ul
#define AGAIN_NS 1000000u            /* nobody tells when a port below has room again */

enum { TX, RX, NR_DIRS };

/* In the ring, followed by its bytes. size 0: the next one is at the beginning. */
struct entry {
	size_t size;
	uint64_t due;
	struct frame f;
};

struct line {
	uint8_t *ring;
	size_t head, tail, used;     /* put in at head, taken out at tail */
	uint64_t last_due;
};

struct delay {
	struct port port;
	int fd;
	struct pvb_source *src;
	uint64_t wait, jitter;       /* ns */
	uint64_t random;
	struct line line[NR_DIRS];
};

static int parse(const struct target *t, uint64_t *wait, uint64_t *jitter, struct pvb_error *err)
{
	const char *text = target_get(t, "delay"), *p = text;
	uint64_t *const out[2] = { wait, jitter };

	*wait = *jitter = 0;
	for (int i = 0; i < 2; i++) {
		size_t digits = strspn(p, "0123456789");
		unsigned long n = digits && digits < 10 ? strtoul(p, NULL, 10) : MAX_US + 1;

		if (n > MAX_US)
			break;
		*out[i] = n * 1000;
		p += digits;
		if (!*p)
			return 0;
		if (*p++ != ':')
			break;
	}
	return pvb_err(err, -EINVAL, "delay=%s: USECS or USECS:JITTER, up to %lu each", text, MAX_US);
}

static int delay_prepare(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			 struct pvb_error *err)
{
	uint64_t wait, jitter;

	*nr_fds = 0;
	return parse(t, &wait, &jitter, err);
}

/* --- the ring ----------------------------------------------------------------------------------------- */

static struct entry *first(struct line *l)
{
	struct entry *e = (struct entry *)(l->ring + l->tail);

	if (!l->used)
		return NULL;
	if (e->size)
		return e;
	l->used -= BYTES - l->tail;
	l->tail = 0;
	return (struct entry *)l->ring;
}

static void take_first(struct line *l)
{
	size_t size = first(l)->size;

	l->tail += size;
	l->used -= size;
	if (!l->used)
		l->head = l->tail = 0;
}

/* Contiguous room, with enough left behind it for the mark that says: go on at the beginning. */
static struct entry *make_room(struct line *l, size_t size)
{
	struct entry *e;

	if (l->head + size + sizeof(size_t) > BYTES) {
		size_t waste = BYTES - l->head;

		if (l->used + waste + size > BYTES || size > l->tail)
			return NULL;
		memset(l->ring + l->head, 0, sizeof(size_t));
		l->used += waste;
		l->head = 0;
	} else if (l->used + size > BYTES || (l->head < l->tail && l->head + size > l->tail)) {
		return NULL;
	}
	e = (struct entry *)(l->ring + l->head);
	e->size = size;
	l->head += size;
	l->used += size;
	return e;
}

static uint64_t due(struct delay *d, struct line *l)
{
	uint64_t when = pvb_now_ns() + d->wait;

	if (d->jitter) {
		d->random = d->random * 6364136223846793005u + 1442695040888963407u;
		when += (d->random >> 33) % d->jitter;
	}
	if (when > l->last_due)
		l->last_due = when;
	return l->last_due;
}

static enum frame_verdict put(struct delay *d, int dir, const struct frame *f)
{
	size_t size = (sizeof(struct entry) + f->len + 15) & ~(size_t)15;
	struct entry *e;

	if (!frame_is_local(f))
		return FRAME_DROPPED;
	e = make_room(&d->line[dir], size);
	if (!e)
		return FRAME_DROPPED;
	e->due = due(d, &d->line[dir]);
	frame_copy(&e->f, f, (uint8_t *)(e + 1));
	return FRAME_SENT;
}

/* --- time --------------------------------------------------------------------------------------------- */

static void arm(struct delay *d, uint64_t not_before)
{
	struct itimerspec when = { { 0 } };
	uint64_t at = 0;

	for (int dir = 0; dir < NR_DIRS; dir++) {
		struct entry *e = first(&d->line[dir]);

		if (e && (!at || e->due < at))
			at = e->due;
	}
	if (at && at < not_before)
		at = not_before;
	when.it_value.tv_sec = (time_t)(at / 1000000000);
	when.it_value.tv_nsec = (long)(at % 1000000000);
	timerfd_settime(d->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static enum frame_verdict pass(struct delay *d, int dir, struct frame *f)
{
	struct frame *one = f;

	if (dir == RX)
		return port_deliver(&d->port, f->queue, f);
	port_xmit(d->port.below, &one, 1);
	return f->verdict;
}

/* What a flush reads must stay until then: entries leave the ring after it. */
static bool let_go(struct delay *d, int dir, uint64_t now)
{
	struct line *l = &d->line[dir];
	struct entry *e = first(l);
	bool held = false;

	while (e && e->due <= now) {
		held = pass(d, dir, &e->f) == FRAME_HELD;
		if (held)
			break;
		if (dir == TX)
			port_flush(d->port.below);
		nif_ctx_flush(d->port.ctx);
		take_first(l);
		e = first(l);
	}
	return held;
}

static void expired(void *arg, uint32_t events)
{
	struct delay *d = arg;
	uint64_t times, now = pvb_now_ns();
	bool held;

	if (read(d->fd, &times, sizeof(times)) < 0 && errno == EAGAIN)
		return;
	held = let_go(d, TX, now);
	held |= let_go(d, RX, now);
	arm(d, held ? pvb_now_ns() + AGAIN_NS : 0);
}

/* --- the port ----------------------------------------------------------------------------------------- */

static void delay_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	struct delay *d = (struct delay *)p;

	for (unsigned i = 0; i < nr; i++) {
		frames[i]->verdict = put(d, TX, frames[i]);
		if (frames[i]->verdict == FRAME_DROPPED)
			p->stats.tx_errors++;
	}
	arm(d, 0);
}

static enum frame_verdict delay_deliver(struct port *p, unsigned queue, struct frame *f)
{
	struct delay *d = (struct delay *)p;
	enum frame_verdict v;

	f->queue = queue;
	v = put(d, RX, f);
	if (v == FRAME_DROPPED)
		p->stats.rx_dropped_full++;
	arm(d, 0);
	return v;
}

static void delay_connected(struct port *p, const struct port_offers *offers)
{
	struct delay *d = (struct delay *)p;

	for (int dir = 0; dir < NR_DIRS; dir++)
		d->line[dir].head = d->line[dir].tail = d->line[dir].used = 0;
	arm(d, 0);
}

static void delay_close(struct port *p)
{
	struct delay *d = (struct delay *)p;

	pvb_source_free(&d->src);
	port_close_fds(&d->fd, 1);
	free(d->line[TX].ring);
	free(d->line[RX].ring);
	free(d);
}

static int start(struct delay *d, const struct target *t, struct pvb_error *err)
{
	int rc = parse(t, &d->wait, &d->jitter, err);

	if (rc)
		return rc;
	d->line[TX].ring = malloc(BYTES);
	d->line[RX].ring = malloc(BYTES);
	if (!d->line[TX].ring || !d->line[RX].ring)
		return pvb_err(err, -ENOMEM, "delay: no memory");
	d->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->fd < 0)
		return pvb_err(err, -errno, "delay: timer: %s", strerror(errno));
	rc = pvb_loop_fd(nif_ctx_loop(d->port.ctx), d->fd, EPOLLIN, expired, d, &d->src);
	return rc ? pvb_err(err, rc, "delay: timer: %s", strerror(-rc)) : 0;
}

static int delay_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		      struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	struct delay *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return pvb_err(err, -ENOMEM, "delay: no memory");
	d->port.ctx = ctx;
	d->fd = -1;
	d->random = nic->domid;
	rc = start(d, t, err);
	if (rc) {
		delay_close(&d->port);
		return rc;
	}
	*out = &d->port;
	return 0;
}

static const char *const delay_keys[] = { "delay", NULL };

const struct port_ops delay_port = {
	.name = "delay",
	.help = "USECS[:JITTER]   let each frame wait",
	.keys = delay_keys,
	.wrapper = true,
	.whole = true,
	.prepare = delay_prepare, .open = delay_open, .connected = delay_connected, .xmit = delay_xmit,
	.deliver = delay_deliver, .close = delay_close,
};
