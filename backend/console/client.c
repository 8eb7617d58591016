/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.c: see client.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "client.h"

void history_put(struct history *h, const char *buf, size_t len)
{
	size_t at = h->head % HISTORY_SIZE, first = len < HISTORY_SIZE - at ? len : HISTORY_SIZE - at;

	memcpy(h->bytes + at, buf, first);
	memcpy(h->bytes, buf + first, len - first);
	h->head += len;
}

/* The kernel's answer to a write: bytes, 0 for not now, -errno for gone. */
static ssize_t put(struct client *c, const void *buf, size_t len)
{
	ssize_t n = write(c->fd, buf, len);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	c->blocked = n < (ssize_t)len;
	return n < 0 ? 0 : n;
}

static void skip(struct client *c, const struct history *h, uint64_t *lost)
{
	uint64_t missed = h->head - HISTORY_SIZE - c->pos;

	c->pos += missed;
	*lost += missed;
	c->out_len = (size_t)snprintf((char *)c->out, sizeof(c->out), "\r\n[pvbackd: %llu bytes lost]\r\n", (unsigned long long)missed);
}

/* Something in out, or a place in the history to send from. */
static size_t next(struct client *c, const struct history *h, uint64_t *lost)
{
	size_t at = c->pos % HISTORY_SIZE, len;

	c->out_at = c->out_len = 0;
	if (c->framed && c->telnet.nr_reply) {
		memcpy(c->out, c->telnet.reply, c->telnet.nr_reply);
		c->out_len = c->telnet.nr_reply;
		c->telnet.nr_reply = 0;
		return 0;
	}
	if (h->head - c->pos > HISTORY_SIZE) {
		skip(c, h, lost);
		return 0;
	}
	len = (size_t)(h->head - c->pos);
	if (len > HISTORY_SIZE - at)
		len = HISTORY_SIZE - at;
	if (!c->framed)
		return len;
	c->out_len = telnet_encode(&c->telnet, (const uint8_t *)h->bytes + at, &len, c->out, sizeof(c->out));
	c->pos += len;
	return 0;
}

int client_send(struct client *c, const struct history *h, uint64_t *lost)
{
	ssize_t n;

	for (c->blocked = false; !c->blocked;) {
		if (c->out_at < c->out_len) {
			n = put(c, c->out + c->out_at, c->out_len - c->out_at);
			if (n < 0)
				return (int)n;
			c->out_at += (size_t)n;
			continue;
		}
		n = (ssize_t)next(c, h, lost);
		if (n == 0 && c->out_len == 0)
			break;
		if (n > 0)
			n = put(c, h->bytes + c->pos % HISTORY_SIZE, (size_t)n);
		if (n < 0)
			return (int)n;
		c->pos += (uint64_t)n;
	}
	return 0;
}

ssize_t client_receive(struct client *c, uint8_t *buf, size_t len)
{
	ssize_t n = read(c->fd, buf, len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	return c->framed ? (ssize_t)telnet_decode(&c->telnet, buf, (size_t)n) : n;
}
