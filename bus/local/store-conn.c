/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections: bytes to requests, and who is served when.
 *
 * Back-pressure   a domain with too many requests not yet delivered (reply unread, or events they caused unread
 *                 by others) is not served until that changes; a client of domain 0, while much output waits.
 *                 What it sends meanwhile stays in its own socket.
 * Events          one that waits already is not queued again.  Unread for event_timeout_ms, it closes the
 *                 connection of a domain; in one of domain 0 it ceases to hold up who caused it.
 * Fairness        a connection gets TURN requests, then the next one.  A domain whose commits fail through
 *                 others gets a window in which only it (and domain 0) may change the tree: domain 0 at
 *                 once and as long as it needs (at most 100 ms, twice that after the next failure, up to
 *                 1.6 s), the others after 4 failures for 20 ms, 5 times a second at most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

#define TURN             16
#define WINDOW_PRIV_MS   100
#define WINDOW_MS        20
#define WINDOW_EVERY_MS  200
#define WINDOW_FAILURES  4

/* ---- scheduling ------------------------------------------------------------------------------------- */

void lst_make_runnable(struct lst_conn *c)
{
	struct lst *st = c->store;

	if (c->runnable)
		return;
	c->runnable = true;
	c->run_next = NULL;
	*st->run_tail = c;
	st->run_tail = &c->run_next;
}

void lst_make_dirty(struct lst_conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	c->dirty_next = c->store->dirty;
	c->store->dirty = c;
}

void lst_wake_dom(struct lst_dom *dom)
{
	struct lst_conn *c;

	for (c = dom->first; c; c = c->dom_next)
		lst_make_runnable(c);
}

void lst_end_window(struct lst *st)
{
	struct lst_conn *c;

	st->protect = NULL;
	for (c = st->conns; c; c = c->next)
		if (c->held) {
			c->held = false;
			lst_make_runnable(c);
		}
}

void lst_commit_failed(struct lst_conn *c)
{
	struct lst *st = c->store;
	struct lst_dom *dom = c->dom;

	/* domain 0 takes over a window that another domain has */
	if (dom->failures == 0 || (st->protect && (st->protect == dom || !lst_privileged(dom))))
		return;
	if (!lst_privileged(dom) && (dom->failures < WINDOW_FAILURES || st->now_ms < dom->next_window_ms))
		return;
	st->protect = dom;
	st->protect_until_ms = st->now_ms + WINDOW_MS;
	if (lst_privileged(dom)) /* longer each time: its transaction may be long, or the machine slow */
		st->protect_until_ms = st->now_ms + (WINDOW_PRIV_MS << (dom->failures < 5 ? dom->failures - 1 : 4));
	dom->next_window_ms = st->now_ms + WINDOW_EVERY_MS;
}

void lst_commit_done(struct lst_conn *c)
{
	if (c->store->protect == c->dom)
		lst_end_window(c->store);
}

/* ---- begin and end ---------------------------------------------------------------------------------- */

int lst_conn_new(struct lst *st, uint32_t domid, const struct lst_io *io, void *io_arg, struct lst_conn **out)
{
	struct lst_dom *dom = lst_dom(st, domid);
	struct lst_conn *c;

	if (!dom)
		return -ESRCH;
	if (!lst_privileged(dom) && dom->conns >= st->quota.connections)
		return -EUSERS;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->store = st;
	c->dom = dom;
	c->io = io;
	c->io_arg = io_arg;
	c->id = ++st->next_conn_id;
	c->out_tail = &c->out;
	c->watch_tail = &c->watches;
	c->dom_next = dom->first;
	dom->first = c;
	dom->conns++;
	c->next = st->conns;
	if (c->next)
		c->next->prev = c;
	st->conns = c;
	st->nr_conns++;
	*out = c;
	return 0;
}

static void leave_lists(struct lst_conn *c)
{
	struct lst *st = c->store;
	struct lst_conn **p;

	for (p = &st->runnable; c->runnable && *p; )
		if (*p == c) {
			*p = c->run_next;
			if (st->run_tail == &c->run_next)
				st->run_tail = p;
			c->runnable = false;
		} else {
			p = &(*p)->run_next;
		}
	for (p = &st->dirty; c->dirty && *p; )
		if (*p == c) {
			*p = c->dirty_next;
			c->dirty = false;
		} else {
			p = &(*p)->dirty_next;
		}
	for (p = &c->dom->first; *p != c; p = &(*p)->dom_next)
		;
	*p = c->dom_next;
	c->dom->conns--;
	if (c->prev)
		c->prev->next = c->next;
	else
		st->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	st->nr_conns--;
}

void lst_conn_kill(struct lst_conn *c)
{
	struct lst_msg *m;

	if (c->store->current == c) {
		c->dead = true;
		return;
	}
	lst_watch_drop_all(c);
	while (c->txns)
		lst_txn_free(c->txns);
	while ((m = c->out)) {
		c->out = m->next;
		lst_msg_free(c, m);
	}
	leave_lists(c);
	c->io->closed(c->io_arg);
	free(c);
}

/* ---- input ------------------------------------------------------------------------------------------ */

uint8_t *lst_conn_space(struct lst_conn *c, uint32_t *len)
{
	if (c->in_off) {
		memmove(c->in, c->in + c->in_off, c->in_len - c->in_off);
		c->in_len -= c->in_off;
		c->in_off = 0;
	}
	*len = c->dead ? 0 : (uint32_t)sizeof(c->in) - c->in_len;
	return c->in + c->in_len;
}

void lst_conn_input(struct lst_conn *c, uint32_t len)
{
	c->in_len += len;
	lst_make_runnable(c);
}

static bool may_be_served(struct lst_conn *c)
{
	const struct lst *st = c->store;

	if (lst_privileged(c->dom))
		return c->out_bytes < LST_UNREAD_MAX;
	if (c->dom->outstanding >= st->quota.outstanding)
		return false;
	if (st->protect && st->protect != c->dom && lst_op_changes(c->hdr.type, c->hdr.tx_id)) {
		c->held = true;
		return false;
	}
	return true;
}

static void serve(struct lst_conn *c)
{
	struct lst *st = c->store;
	int rc;

	if (!lst_privileged(c->dom)) {
		c->req = lst_req_new(st, c->dom);
		if (!c->req) {
			c->dead = true;
			return;
		}
	}
	st->current = c;
	rc = lst_op(c, (const char *)c->in + c->in_off, c->hdr.len);
	if (rc)
		rc = lst_reply(c, XS_ERROR, lst_error_name(rc), (uint32_t)strlen(lst_error_name(rc)) + 1);
	if (rc)
		c->dead = true; /* not even an error can be sent: out of memory */
	st->current = NULL;
	lst_req_put(st, c->req);
	c->req = NULL;
	st->requests++;
}

/* One turn.  True: more could be done at once. */
static bool turn(struct lst_conn *c)
{
	unsigned n;

	for (n = 0; n < TURN && !c->dead; n++) {
		if (c->in_len - c->in_off < sizeof(c->hdr))
			return false;
		memcpy(&c->hdr, c->in + c->in_off, sizeof(c->hdr));
		if (c->hdr.len > XENSTORE_PAYLOAD_MAX) {
			c->dead = true; /* out of step for ever: this connection ends, the domain does not */
			break;
		}
		if (c->in_len - c->in_off < sizeof(c->hdr) + c->hdr.len || !may_be_served(c))
			return false;
		c->in_off += (uint32_t)sizeof(c->hdr);
		serve(c);
		c->in_off += c->hdr.len;
		lst_make_dirty(c);
	}
	return true;
}

bool lst_has_work(const struct lst *st)
{
	return st->runnable != NULL;
}

void lst_run(struct lst *st)
{
	struct lst_conn *c;
	unsigned round = 0;
	bool more;

	/* one round: as many as are runnable now */
	for (c = st->runnable; c; c = c->run_next)
		round++;
	while (round-- > 0 && (c = st->runnable)) {
		st->runnable = c->run_next;
		if (!st->runnable)
			st->run_tail = &st->runnable;
		c->runnable = false;
		more = turn(c);
		if (c->dead) {
			/* what it is owed goes out first if it can */
			c->io->ready(c->io_arg);
			lst_conn_kill(c);
		} else if (more) {
			lst_make_runnable(c);
		}
	}
	while ((c = st->dirty)) {
		st->dirty = c->dirty_next;
		c->dirty = false;
		c->io->ready(c->io_arg);
	}
}

/* ---- time ------------------------------------------------------------------------------------------- */

static bool late(const struct lst *st, const struct lst_msg *m)
{
	return m->event && st->quota.event_timeout_ms && st->now_ms - m->since_ms >= st->quota.event_timeout_ms;
}

void lst_tick(struct lst *st)
{
	struct lst_conn *c, *next;
	struct lst_msg *m;

	if (st->protect && st->now_ms >= st->protect_until_ms)
		lst_end_window(st);
	for (c = st->conns; c; c = next) {
		next = c->next;
		for (m = c->out; m && !m->event; m = m->next)
			;
		if (!m || !late(st, m))
			continue;
		if (!lst_privileged(c->dom)) {
			lst_conn_kill(c);
			continue;
		}
		for (; m && (!m->event || late(st, m)); m = m->next) {
			lst_req_put(st, m->req);
			m->req = NULL;
		}
	}
	lst_run(st);
}

uint64_t lst_deadline(const struct lst *st)
{
	uint32_t timeout = st->quota.event_timeout_ms;

	if (st->protect)
		return st->protect_until_ms;
	return st->nr_msgs && timeout ? st->now_ms + (timeout < 4000 ? timeout / 4 + 1 : 1000) : UINT64_MAX;
}
