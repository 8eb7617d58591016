/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store sends: replies and events, queued per connection until the other end has read them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "store-int.h"

static uint32_t event_hash(const struct lst_conn *c, const uint8_t *payload, uint32_t len)
{
	return lst_hash(payload, len, c->id * 2654435761u);
}

static void grow_events(struct lst *st)
{
	uint32_t i, nr = st->nr_event_buckets * 2;
	struct lst_msg **buckets, *m, *next;

	if (st->nr_hashed < st->nr_event_buckets || !(buckets = calloc(nr, sizeof(*buckets))))
		return;
	for (i = 0; i < st->nr_event_buckets; i++)
		for (m = st->event_buckets[i]; m; m = next) {
			next = m->hash_next;
			m->hash_next = buckets[m->hash & (nr - 1)];
			buckets[m->hash & (nr - 1)] = m;
		}
	free(st->event_buckets);
	st->event_buckets = buckets;
	st->nr_event_buckets = nr;
}

/* From now on an equal event is a new one. */
static void unhash(struct lst *st, struct lst_msg *m)
{
	struct lst_msg **p;

	if (!m->hashed)
		return;
	for (p = &st->event_buckets[m->hash & (st->nr_event_buckets - 1)]; *p != m; p = &(*p)->hash_next)
		;
	*p = m->hash_next;
	st->nr_hashed--;
	m->hashed = false;
}

static size_t msg_bytes(const struct lst_msg *m)
{
	return sizeof(*m) + m->len;
}

static struct lst_msg *msg_new(struct lst_conn *c, const struct xsd_sockmsg *hdr)
{
	struct lst_msg *m = malloc(sizeof(*m) + sizeof(*hdr) + hdr->len);

	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
	m->conn = c;
	m->len = (uint32_t)sizeof(*hdr) + hdr->len;
	m->since_ms = c->store->now_ms;
	memcpy(m->bytes, hdr, sizeof(*hdr));
	return m;
}

static void queue(struct lst_conn *c, struct lst_msg *m, struct lst_req *cause)
{
	if (cause) {
		cause->refs++;
		m->req = cause;
	}
	*c->out_tail = m;
	c->out_tail = &m->next;
	c->out_bytes += msg_bytes(m);
	c->store->nr_msgs++;
	lst_charge(c->dom, (int64_t)msg_bytes(m));
	lst_make_dirty(c);
}

void lst_msg_free(struct lst_conn *c, struct lst_msg *m)
{
	unhash(c->store, m);
	c->out_bytes -= msg_bytes(m);
	c->store->nr_msgs--;
	lst_charge(c->dom, -(int64_t)msg_bytes(m));
	lst_req_put(c->store, m->req);
	free(m);
}

int lst_reply(struct lst_conn *c, uint32_t type, const void *data, uint32_t len)
{
	struct xsd_sockmsg hdr = { type, c->hdr.req_id, c->hdr.tx_id, len };
	struct lst_msg *m;

	if (len > XENSTORE_PAYLOAD_MAX)
		return E2BIG;
	m = msg_new(c, &hdr);
	if (!m)
		return ENOMEM;
	if (len)
		memcpy(m->bytes + sizeof(hdr), data, len);
	queue(c, m, c->req);
	return 0;
}

void lst_event(struct lst_conn *c, struct lst_req *cause, const char *path, const char *token)
{
	size_t plen = strlen(path) + 1, tlen = strlen(token) + 1;
	struct xsd_sockmsg hdr = { XS_WATCH_EVENT, 0, 0, (uint32_t)(plen + tlen) };
	struct lst *st = c->store;
	struct lst_msg *m, *o;

	if (plen + tlen > XENSTORE_PAYLOAD_MAX || c->dead)
		return; /* the protocol can not carry it */
	if (lst_over_memory(st, c->dom, sizeof(*m) + sizeof(hdr) + hdr.len)) {
		st->dropped++;
		return;
	}
	if (lst_privileged(c->dom) && st->quota.backlog_max && c->out_bytes > st->quota.backlog_max) {
		c->dead = true; /* freed in its turn: we may be looking at its watches */
		lst_make_runnable(c);
		return;
	}
	m = msg_new(c, &hdr);
	if (!m) {
		st->dropped++;
		return;
	}
	memcpy(m->bytes + sizeof(hdr), path, plen);
	memcpy(m->bytes + sizeof(hdr) + plen, token, tlen);
	m->event = true;
	m->hash = event_hash(c, m->bytes + sizeof(hdr), hdr.len);
	for (o = st->event_buckets[m->hash & (st->nr_event_buckets - 1)]; o; o = o->hash_next)
		if (o->hash == m->hash && o->conn == c && o->len == m->len &&
		    memcmp(o->bytes + sizeof(hdr), m->bytes + sizeof(hdr), hdr.len) == 0) {
			st->merged++;
			free(m);
			return;
		}
	grow_events(st);
	m->hash_next = st->event_buckets[m->hash & (st->nr_event_buckets - 1)];
	st->event_buckets[m->hash & (st->nr_event_buckets - 1)] = m;
	m->hashed = true;
	st->nr_hashed++;
	st->events++;
	queue(c, m, cause);
}

unsigned lst_conn_output(struct lst_conn *c, struct iovec *iov, unsigned nr)
{
	struct lst_msg *m;
	unsigned n;

	for (n = 0, m = c->out; m && n < nr; m = m->next, n++) {
		iov[n].iov_base = m->bytes + m->sent;
		iov[n].iov_len = m->len - m->sent;
	}
	return n;
}

void lst_conn_sent(struct lst_conn *c, size_t len)
{
	bool was_full = c->out_bytes >= LST_UNREAD_MAX;
	struct lst_msg *m;

	while (len > 0 && (m = c->out)) {
		unhash(c->store, m);
		if (len < m->len - m->sent) {
			m->sent += (uint32_t)len;
			break;
		}
		len -= m->len - m->sent;
		c->out = m->next;
		if (!c->out)
			c->out_tail = &c->out;
		lst_msg_free(c, m);
	}
	if (was_full && c->out_bytes < LST_UNREAD_MAX)
		lst_make_runnable(c);
}
