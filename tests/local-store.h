/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_LOCAL_STORE_H
#define PVB_TESTS_LOCAL_STORE_H
/* Drives the store's core without sockets: clients are objects, time is a variable, and after every request
 * all accounts and the tree are added up again (lst_check). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/uio.h>
#include <cmocka.h>
#include "bus/local/store-int.h"

struct client {
	struct lst_conn *c;            /* NULL once closed */
	bool deaf;                     /* does not read */
	bool quiet;                    /* no lst_check() after each request: for long loops */
	char reply[XENSTORE_PAYLOAD_MAX + 1];
	uint32_t reply_len, reply_type, reply_id;
	unsigned replies;
	char events[4096][2][160];     /* path, token */
	unsigned nr_events, events_seen;
	uint8_t acc[65536];
	uint32_t acc_len;
	uint32_t next_id;
};

static struct lst *S;
static bool S_exists[LST_NR_DOMIDS];

__attribute__((unused)) static bool s_exists(void *arg, uint32_t domid)
{
	return S_exists[domid];
}

__attribute__((unused)) static void check_all(void)
{
	const char *wrong = lst_check(S);

	if (wrong)
		fail_msg("%s", wrong);
}

static void take_message(struct client *cl, const struct xsd_sockmsg *h, const uint8_t *body)
{
	const char *path = (const char *)body;

	assert_true(h->len <= XENSTORE_PAYLOAD_MAX);
	if (h->type == XS_WATCH_EVENT) {
		assert_int_equal(body[h->len - 1], 0);
		snprintf(cl->events[cl->nr_events % 4096][0], 160, "%s", path);
		snprintf(cl->events[cl->nr_events % 4096][1], 160, "%s", path + strlen(path) + 1);
		cl->nr_events++;
		return;
	}
	memcpy(cl->reply, body, h->len);
	cl->reply[h->len] = '\0';
	cl->reply_len = h->len;
	cl->reply_type = h->type;
	cl->reply_id = h->req_id;
	cl->replies++;
}

/* Read what is waiting for a client. */
static void drain(struct client *cl)
{
	struct xsd_sockmsg h;
	struct iovec iov[8];
	unsigned i, n;
	size_t sent, take;
	uint32_t off;

	while (cl->c && !cl->deaf && (n = lst_conn_output(cl->c, iov, 8)) > 0) {
		for (sent = 0, i = 0; i < n; i++) {
			take = iov[i].iov_len;
			assert_true(cl->acc_len + take <= sizeof(cl->acc));
			memcpy(cl->acc + cl->acc_len, iov[i].iov_base, take);
			cl->acc_len += (uint32_t)take;
			sent += take;
		}
		lst_conn_sent(cl->c, sent);
		for (off = 0; cl->acc_len - off >= sizeof(h); off += (uint32_t)sizeof(h) + h.len) {
			memcpy(&h, cl->acc + off, sizeof(h));
			if (cl->acc_len - off < sizeof(h) + h.len)
				break;
			take_message(cl, &h, cl->acc + off + sizeof(h));
		}
		memmove(cl->acc, cl->acc + off, cl->acc_len - off);
		cl->acc_len -= off;
	}
}

static void cl_ready(void *arg)
{
	drain(arg);
}

static void cl_closed(void *arg)
{
	struct client *cl = arg;

	cl->c = NULL;
}

static const struct lst_io cl_io = { cl_ready, cl_closed };

__attribute__((unused)) static struct client *client(uint32_t domid)
{
	struct client *cl = calloc(1, sizeof(*cl));

	assert_non_null(cl);
	assert_int_equal(lst_conn_new(S, domid, &cl_io, cl, &cl->c), 0);
	return cl;
}

__attribute__((unused)) static void client_free(struct client *cl)
{
	if (cl->c)
		lst_conn_kill(cl->c);
	free(cl);
}

__attribute__((unused)) static void pump(void)
{
	while (lst_has_work(S))
		lst_run(S);
	lst_run(S);
}

/* Put bytes in as they are. */
__attribute__((unused)) static void feed(struct client *cl, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint32_t space;
	uint8_t *at;

	while (len > 0 && cl->c) {
		at = lst_conn_space(cl->c, &space);
		if (space == 0)
			break; /* it is not being served */
		if (space > len)
			space = (uint32_t)len;
		memcpy(at, p, space);
		p += space;
		len -= space;
		lst_conn_input(cl->c, space);
		pump();
	}
}

__attribute__((unused)) static void put(struct client *cl, uint32_t type, uint32_t tx, const void *body, uint32_t len)
{
	uint8_t msg[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX];
	struct xsd_sockmsg h = { type, ++cl->next_id, tx, len };

	assert_true(len <= XENSTORE_PAYLOAD_MAX);
	memcpy(msg, &h, sizeof(h));
	memcpy(msg + sizeof(h), body, len);
	feed(cl, msg, sizeof(h) + len);
}

static int errno_of(const char *name)
{
	unsigned i;

	for (i = 0; i < sizeof(xsd_errors) / sizeof(*xsd_errors); i++)
		if (strcmp(xsd_errors[i].errstring, name) == 0)
			return xsd_errors[i].errnum;
	fail_msg("the store answers \"%s\"", name);
	return -1;
}

/* A request and its reply: 0 or the errno it was answered; -1 no answer, -2 connection closed. */
__attribute__((unused)) static int rq(struct client *cl, uint32_t type, uint32_t tx, const void *body, uint32_t len)
{
	unsigned before = cl->replies;

	put(cl, type, tx, body, len);
	drain(cl);
	if (!cl->quiet)
		check_all();
	if (!cl->c)
		return -2;
	if (cl->replies == before)
		return -1;
	assert_int_equal(cl->replies, before + 1);
	assert_int_equal(cl->reply_id, cl->next_id);
	if (cl->reply_type == XS_ERROR)
		return errno_of(cl->reply);
	assert_int_equal(cl->reply_type, type);
	return 0;
}

#define BODY_MAX XENSTORE_PAYLOAD_MAX
/* Strings one behind the other, each with its NUL; NULL ends. */
__attribute__((unused)) static int rqs(struct client *cl, uint32_t type, uint32_t tx, ...)
{
	char body[BODY_MAX];
	uint32_t len = 0;
	const char *s;
	va_list ap;

	va_start(ap, tx);
	while ((s = va_arg(ap, const char *))) {
		assert_true(len + strlen(s) + 1 <= sizeof(body));
		memcpy(body + len, s, strlen(s) + 1);
		len += (uint32_t)strlen(s) + 1;
	}
	va_end(ap);
	return rq(cl, type, tx, body, len);
}

__attribute__((unused)) static int t_write(struct client *cl, uint32_t tx, const char *path, const char *value)
{
	char body[BODY_MAX];
	size_t len = strlen(path) + 1;

	memcpy(body, path, len);
	memcpy(body + len, value, strlen(value));
	return rq(cl, XS_WRITE, tx, body, (uint32_t)(len + strlen(value)));
}

#define t_read(cl, tx, path)     rqs(cl, XS_READ, tx, path, NULL)
#define t_mkdir(cl, tx, path)    rqs(cl, XS_MKDIR, tx, path, NULL)
#define t_rm(cl, tx, path)       rqs(cl, XS_RM, tx, path, NULL)
#define t_dir(cl, tx, path)      rqs(cl, XS_DIRECTORY, tx, path, NULL)
#define t_perms(cl, tx, ...)     rqs(cl, XS_SET_PERMS, tx, __VA_ARGS__, NULL)
#define t_getperms(cl, tx, path) rqs(cl, XS_GET_PERMS, tx, path, NULL)
#define t_watch(cl, path, tok)   rqs(cl, XS_WATCH, 0, path, tok, NULL)
#define t_unwatch(cl, path, tok) rqs(cl, XS_UNWATCH, 0, path, tok, NULL)
#define t_end(cl, tx, how)       rqs(cl, XS_TRANSACTION_END, tx, how, NULL)

__attribute__((unused)) static uint32_t t_start(struct client *cl)
{
	assert_int_equal(rqs(cl, XS_TRANSACTION_START, 0, "", NULL), 0);
	return (uint32_t)atoi(cl->reply);
}

/* The next event not looked at yet: "path token", or "" when there is none. */
__attribute__((unused)) static const char *event(struct client *cl)
{
	static char buf[400];

	if (cl->events_seen == cl->nr_events)
		return "";
	snprintf(buf, sizeof(buf), "%s %s", cl->events[cl->events_seen % 4096][0],
		 cl->events[cl->events_seen % 4096][1]);
	cl->events_seen++;
	return buf;
}

__attribute__((unused)) static void no_events(struct client *cl)
{
	cl->events_seen = cl->nr_events;
}

/* A domain as a toolstack makes it: a home it may read, and one directory of its own in it. */
__attribute__((unused)) static void make_domain(struct client *tool, uint32_t domid)
{
	char home[64], data[80], own[16], read[16];

	S_exists[domid] = true;
	assert_int_equal(lst_domain_introduce(S, domid), 0);
	snprintf(home, sizeof(home), "/local/domain/%u", domid);
	snprintf(data, sizeof(data), "%s/data", home);
	snprintf(own, sizeof(own), "n%u", domid);
	snprintf(read, sizeof(read), "r%u", domid);
	assert_int_equal(t_mkdir(tool, 0, home), 0);
	assert_int_equal(t_perms(tool, 0, home, "n0", read), 0);
	assert_int_equal(t_mkdir(tool, 0, data), 0);
	assert_int_equal(t_perms(tool, 0, data, own), 0);
	pump();
}

__attribute__((unused)) static void end_domain(uint32_t domid)
{
	S_exists[domid] = false;
	lst_domain_gone(S, domid);
	check_all();
}

__attribute__((unused)) static void store_up_with(const struct pvb_store_quota *q)
{
	memset(S_exists, 0, sizeof(S_exists));
	assert_int_equal(lst_core_new(&S, q, s_exists, NULL), 0);
	S->now_ms = 1000000;
}

__attribute__((unused)) static int store_up(void **state)
{
	struct pvb_fabric_options opt;

	pvb_fabric_defaults(&opt);
	store_up_with(&opt.quota);
	return 0;
}

__attribute__((unused)) static int store_down(void **state)
{
	check_all();
	lst_core_free(S);
	return 0;
}
#endif
