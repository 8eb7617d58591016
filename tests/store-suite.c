/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What store.h, state.h, nodes.h and offer.h promise, on whichever store.  See suite.h for where it runs. */
#include "suite.h"
#include <errno.h>
#include <pthread.h>
#include <xenstore.h>
#include "hv.h"
#include "loop.h"
#include "nodes.h"
#include "offer.h"
#include "state.h"
#include "store.h"

static struct pvb_store *st, *other; /* two connections of the same domain */
static char base[64];                /* everything happens below */

#define NOBODY 4711u /* a domain that is not there */
static uint32_t self;

static const char *at(const char *name)
{
	static char buf[4][256];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", base, name);
	return buf[i];
}

static int setup(void **state)
{
	struct pvb_error err = { 0 };

	if (pvb_store_open(&st, suite.back, &err) < 0 || pvb_store_open(&other, suite.back, &err) < 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	assert_int_equal(pvb_store_domid(st, &self), 0);
	snprintf(base, sizeof(base), "/local/domain/%u/pvbus-suite-%d", self, getpid());
	return pvb_store_mkdir(st, PVB_NO_TXN, base);
}

static int teardown(void **state)
{
	assert_int_equal(pvb_store_rm(st, PVB_NO_TXN, base), 0);
	pvb_store_close(other);
	pvb_store_close(st);
	return 0;
}

static void put(const char *name, const char *value)
{
	assert_int_equal(pvb_store_write(other, PVB_NO_TXN, at(name), value), 0);
}

static void expect(const char *name, const char *value)
{
	char *v;

	assert_int_equal(pvb_store_read(st, PVB_NO_TXN, at(name), &v), 0);
	assert_string_equal(v, value);
	free(v);
}

/* ---- nodes ----------------------------------------------------------------------------------------- */

static void test_open_errors(void **state)
{
	struct pvb_store *s = (struct pvb_store *)1;
	struct pvb_error err = { 0 };

	assert_int_equal(pvb_store_open(&s, "nonsense", &err), -EINVAL);
	assert_true(pvb_store_open(&s, "local:/nowhere/at/all", &err) < 0);
	assert_non_null(strstr(err.text, "/nowhere/at/all/store"));
	assert_ptr_equal(s, (struct pvb_store *)1);
	pvb_store_close(NULL);
	/* the environment is as it was */
	setenv("XENSTORED_PATH", "/kept", 1);
	assert_true(pvb_store_open(&s, "local:/nowhere", &err) < 0);
	assert_string_equal(getenv("XENSTORED_PATH"), "/kept");
	unsetenv("XENSTORED_PATH");
	assert_true(pvb_store_open(&s, "local:/nowhere", &err) < 0);
	assert_null(getenv("XENSTORED_PATH"));
}

static void test_nodes(void **state)
{
	char *value = (char *)1, **names, big[PVB_STORE_VALUE_MAX + 2];
	unsigned nr, i, found = 0;
	uint64_t v = 4711;

	assert_int_equal(pvb_store_read(st, PVB_NO_TXN, at("none"), &value), -ENOENT);
	assert_ptr_equal(value, (char *)1);
	assert_false(pvb_store_exists(st, PVB_NO_TXN, at("none")));
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, at("a/b/c"), "hello"), 0);
	expect("a/b/c", "hello");
	assert_true(pvb_store_exists(st, PVB_NO_TXN, at("a/b")));
	expect("a", "");
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, at("a/b/c"), ""), 0);
	expect("a/b/c", "");
	assert_int_equal(pvb_store_printf(st, PVB_NO_TXN, at("a/n"), "%u", 42u), 0);
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("a/n"), 0, 42, &v), 0);
	assert_int_equal(v, 42);
	v = 4711;
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("a/n"), 0, 41, &v), -ERANGE);
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("a/b"), 0, 41, &v), -EINVAL);
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("none"), 0, 41, &v), -ENOENT);
	assert_int_equal(v, 4711);
	assert_int_equal(pvb_store_mkdir(st, PVB_NO_TXN, at("a/d")), 0);
	assert_int_equal(pvb_store_mkdir(st, PVB_NO_TXN, at("a/d")), 0);
	assert_int_equal(pvb_store_list(st, PVB_NO_TXN, at("a"), &names, &nr), 0);
	assert_int_equal(nr, 3);
	for (i = 0; i < nr; i++)
		found += strcmp(names[i], "b") == 0 || strcmp(names[i], "n") == 0 || strcmp(names[i], "d") == 0;
	assert_int_equal(found, 3);
	pvb_store_list_free(names, nr);
	assert_int_equal(pvb_store_list(st, PVB_NO_TXN, at("a/d"), &names, &nr), 0);
	assert_int_equal(nr, 0);
	pvb_store_list_free(names, nr);
	assert_int_equal(pvb_store_list(st, PVB_NO_TXN, at("none"), &names, &nr), -ENOENT);
	assert_int_equal(pvb_store_rm(st, PVB_NO_TXN, at("a")), 0);
	assert_int_equal(pvb_store_rm(st, PVB_NO_TXN, at("a")), 0);
	assert_int_equal(pvb_store_rm(st, PVB_NO_TXN, at("none/of/these")), 0);
	assert_false(pvb_store_exists(st, PVB_NO_TXN, at("a/b/c")));
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, at("big"), big), -E2BIG);
	assert_false(pvb_store_exists(st, PVB_NO_TXN, at("big")));
	big[1500] = '\0';
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, at("big"), big), 0);
	expect("big", big);
}

/* A guest can put a NUL into a value: not a C string, so not a value. */
static void test_nul(void **state)
{
	struct xs_handle *xs;
	char *path, *value;
	uint64_t v;

	assert_int_equal(pvb_hv_store_path(suite.back, &path, NULL), 0);
	if (path)
		setenv("XENSTORED_PATH", path, 1);
	xs = xs_open(0);
	unsetenv("XENSTORED_PATH");
	assert_non_null(xs);
	assert_true(xs_write(xs, XBT_NULL, at("nul"), "12\0" "34", 5));
	assert_int_equal(pvb_store_read(st, PVB_NO_TXN, at("nul"), &value), -EILSEQ);
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("nul"), 0, 99, &v), -EILSEQ);
	assert_true(pvb_store_exists(st, PVB_NO_TXN, at("nul")));
	assert_true(xs_write(xs, XBT_NULL, at("nul"), "12\0", 3)); /* also at the end */
	assert_int_equal(pvb_store_read_u64(st, PVB_NO_TXN, at("nul"), 0, 99, &v), -EILSEQ);
	xs_close(xs);
	free(path);
}

static void test_paths(void **state)
{
	static const char *const bad[] = { "", "relative", "/a//b", "/a/", "//", "/local/domain/0/", "@releaseDomain" };
	char path[PVB_STORE_PATH_MAX + 2], *v;
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(pvb_store_read(st, PVB_NO_TXN, bad[i], &v), -EINVAL);
		assert_int_equal(pvb_store_write(st, PVB_NO_TXN, bad[i], ""), -EINVAL);
		assert_int_equal(pvb_store_rm(st, PVB_NO_TXN, bad[i]), -EINVAL);
		assert_int_equal(pvb_store_mkdir(st, PVB_NO_TXN, bad[i]), -EINVAL);
	}
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(pvb_store_read(st, PVB_NO_TXN, path, &v), -EINVAL);
	for (i = 0; i < 2 * (PVB_STORE_DEPTH_MAX + 1); i += 2)
		memcpy(path + i, "/d", 3);
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, path, ""), -EINVAL);
	path[2 * PVB_STORE_DEPTH_MAX] = '\0';
	assert_int_equal(pvb_store_read(st, PVB_NO_TXN, path, &v), -ENOENT);
	assert_true(pvb_store_exists(st, PVB_NO_TXN, "/"));
}

static void test_domains(void **state)
{
	uint32_t owner = 99;
	char home[64];
	int rc;

	pvb_store_home(7, home, sizeof(home));
	assert_string_equal(home, "/local/domain/7");
	assert_true(pvb_store_domain_alive(st, self));
	assert_false(pvb_store_domain_alive(st, NOBODY));
	put("mine", "x");
	assert_int_equal(pvb_store_owner(st, PVB_NO_TXN, at("mine"), &owner), 0);
	assert_int_equal(owner, self);
	/* rights for a domain that is not there: refused, or without effect */
	rc = pvb_store_perms(st, PVB_NO_TXN, at("mine"), NOBODY, NOBODY);
	assert_true(rc == 0 || rc == -ENOENT);
	assert_int_equal(pvb_store_perms(st, PVB_NO_TXN, at("mine"), self, UINT32_MAX), 0);
	assert_int_equal(pvb_store_owner(st, PVB_NO_TXN, at("none"), &owner), -ENOENT);
}

/* What a guest may do with nodes given to it, and with others.  (With itself when there is no guest.) */
static void test_rights(void **state)
{
	uint32_t front, owner;
	struct pvb_store *g;
	char *v;

	assert_int_equal(pvb_store_open(&g, suite.front, NULL), 0);
	assert_int_equal(pvb_store_domid(g, &front), 0);
	put("given", "x");
	put("shown", "x");
	put("hidden", "x");
	assert_int_equal(pvb_store_perms(st, PVB_NO_TXN, at("given"), front, self), 0);
	assert_int_equal(pvb_store_perms(st, PVB_NO_TXN, at("shown"), self, front), 0);
	assert_int_equal(pvb_store_perms(st, PVB_NO_TXN, at("hidden"), self, UINT32_MAX), 0);
	assert_int_equal(pvb_store_owner(st, PVB_NO_TXN, at("given"), &owner), 0);
	assert_int_equal(owner, front);
	assert_int_equal(pvb_store_write(g, PVB_NO_TXN, at("given"), "y"), 0);
	expect("given", "y");
	assert_int_equal(pvb_store_read(g, PVB_NO_TXN, at("shown"), &v), 0);
	free(v);
	assert_true(pvb_store_domain_alive(g, front));
	if (front != self) {
		assert_int_equal(pvb_store_write(g, PVB_NO_TXN, at("shown"), "y"), -EACCES);
		assert_int_equal(pvb_store_read(g, PVB_NO_TXN, at("hidden"), &v), -EACCES);
		assert_false(pvb_store_exists(g, PVB_NO_TXN, at("hidden")));
		assert_int_equal(pvb_store_write(g, PVB_NO_TXN, at("hidden"), "y"), -EACCES);
	}
	pvb_store_close(g);
}

/* ---- transactions ---------------------------------------------------------------------------------- */

struct txn_arg {
	unsigned runs, conflicts;
	int rc;
};

static int bump(struct pvb_store *s, pvb_txn t, void *arg)
{
	struct txn_arg *a = arg;
	uint64_t v = 0;
	int rc;

	a->runs++;
	rc = pvb_store_read_u64(s, t, at("counter"), 0, UINT32_MAX, &v);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	/* somebody else writes what we have read */
	if (a->runs <= a->conflicts)
		assert_int_equal(pvb_store_printf(other, PVB_NO_TXN, at("counter"), "%u", 1000 * a->runs), 0);
	rc = pvb_store_printf(s, t, at("counter"), "%llu", (unsigned long long)v + 1);
	return rc < 0 ? rc : a->rc;
}

static void test_txn(void **state)
{
	struct txn_arg a = { 0 };

	assert_int_equal(pvb_store_txn(st, bump, &a), 0);
	assert_int_equal(a.runs, 1);
	expect("counter", "1");
	a = (struct txn_arg){ .rc = -EPERM };
	assert_int_equal(pvb_store_txn(st, bump, &a), -EPERM);
	assert_int_equal(a.runs, 1);
	expect("counter", "1");
	a = (struct txn_arg){ .conflicts = 5 };
	assert_int_equal(pvb_store_txn(st, bump, &a), 0);
	assert_int_equal(a.runs, 6);
	expect("counter", "5001");
}

/* Somebody who always wins: we give up in bounded time, and nothing of ours is in. */
static void test_txn_starved(void **state)
{
	struct txn_arg a = { .conflicts = UINT32_MAX };

	assert_int_equal(pvb_store_txn(st, bump, &a), -EBUSY);
	assert_int_equal(a.runs, 200);
	expect("counter", "200000");
}

static int add_one(struct pvb_store *s, pvb_txn t, void *arg)
{
	uint64_t v = 0;
	int rc = pvb_store_read_u64(s, t, arg, 0, UINT32_MAX, &v);

	return rc < 0 ? rc : pvb_store_printf(s, t, arg, "%llu", (unsigned long long)v + 1);
}

static void *adder(void *arg)
{
	struct pvb_store *s;
	unsigned i;

	if (pvb_store_open(&s, suite.back, NULL) < 0)
		abort();
	for (i = 0; i < 50; i++)
		if (pvb_store_txn(s, add_one, arg) < 0)
			abort();
	pvb_store_close(s);
	return NULL;
}

static void test_txn_concurrent(void **state)
{
	char path[256];
	pthread_t t[3];
	unsigned i;

	put("sum", "0");
	snprintf(path, sizeof(path), "%s", at("sum"));
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, adder, path), 0);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	expect("sum", "150");
}

/* ---- watches --------------------------------------------------------------------------------------- */

struct seen {
	struct pvb_watch *w;
	unsigned calls;
	char last[256];
	struct seen *victim;
};

static void on_change(void *arg, const char *path)
{
	struct seen *s = arg;

	s->calls++;
	snprintf(s->last, sizeof(s->last), "%s", path);
	if (s->victim)
		pvb_store_unwatch(&s->victim->w);
}

static void watch(struct seen *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(pvb_store_watch(st, at(name), on_change, s, &s->w), 0);
}

static void ignore(void *arg, const char *path)
{
}

/* Events come before the answer to a later request on the connection that watches have: afterwards all events so far wait in
 * libxenstore. */
static void settle(void)
{
	struct pvb_watch *w;

	assert_int_equal(pvb_store_watch(st, base, ignore, NULL, &w), 0);
	pvb_store_unwatch(&w);
}

static void dispatch_until(const struct seen *s, unsigned calls)
{
	uint64_t end = pvb_now_ms() + 5000;

	while (s->calls < calls && pvb_now_ms() < end)
		assert_true(pvb_store_dispatch(st, 1000) >= 0);
	assert_int_equal(s->calls, calls);
}

static void test_watch(void **state)
{
	struct seen a, b;

	watch(&a, "dir");
	dispatch_until(&a, 1); /* once right away, though nothing is there */
	assert_string_equal(a.last, at("dir"));
	put("dir/sub/key", "1");
	dispatch_until(&a, 2);
	assert_string_equal(a.last, at("dir/sub/key"));
	assert_int_equal(pvb_store_dispatch(st, 20), 0);
	watch(&b, "dir");
	dispatch_until(&b, 1);
	assert_int_equal(a.calls, 2);
	put("dir/x", "1");
	dispatch_until(&b, 2);
	dispatch_until(&a, 3);
	assert_int_equal(pvb_store_rm(other, PVB_NO_TXN, at("dir")), 0);
	dispatch_until(&a, 4);
	dispatch_until(&b, 3);
	/* an event that is on its way when the watch goes is not delivered */
	put("dir", "1");
	pvb_store_unwatch(&a.w);
	pvb_store_unwatch(&a.w);
	dispatch_until(&b, 4);
	assert_int_equal(a.calls, 4);
	pvb_store_unwatch(&b.w);
	assert_int_equal(pvb_store_dispatch(st, 20), 0);
	assert_int_equal(pvb_store_watch(st, "relative", on_change, &a, &a.w), -EINVAL);
	assert_int_equal(pvb_store_watch(st, "/a//b", on_change, &a, &a.w), -EINVAL);
}

/* Two watches on one key; the first one called removes the other. */
static void test_unwatch_in_callback(void **state)
{
	struct seen a, b;

	put("key", "0");
	watch(&a, "key");
	watch(&b, "key");
	dispatch_until(&a, 1);
	dispatch_until(&b, 1);
	a.victim = &b;
	b.victim = &a;
	put("key", "1");
	while (a.calls + b.calls < 3)
		assert_true(pvb_store_dispatch(st, 5000) > 0);
	assert_int_equal(pvb_store_dispatch(st, 20), 0);
	assert_int_equal(a.calls + b.calls, 3);
	assert_true((a.w == NULL) != (b.w == NULL));
	/* itself */
	a.victim = &a;
	b.victim = &b;
	put("key", "2");
	while (a.calls + b.calls < 4)
		assert_true(pvb_store_dispatch(st, 5000) > 0);
	assert_true(a.w == NULL && b.w == NULL);
}

/* Written 2000 times while we were busy: a handful of calls, not 2000. */
static void test_watch_flood(void **state)
{
	struct seen a;
	unsigned i;

	watch(&a, "state");
	dispatch_until(&a, 1);
	for (i = 0; i < 2000; i++)
		put("state", i & 1 ? "4" : "5");
	put("state", "6");
	settle();
	while (pvb_store_dispatch(st, 50) > 0)
		;
	assert_in_range(a.calls, 2, 12);
	expect("state", "6");
	pvb_store_unwatch(&a.w);
}

static bool saw_base;
static unsigned flood_calls;

static void on_flood(void *arg, const char *path)
{
	flood_calls++;
	saw_base |= strcmp(path, arg) == 0;
}

/* More different keys than we care to tell apart: reported as the watched path itself. */
static void test_watch_overflow(void **state)
{
	struct pvb_watch *w;
	char name[32], path[256];
	unsigned i;

	snprintf(path, sizeof(path), "%s", at("many"));
	assert_int_equal(pvb_store_watch(st, path, on_flood, path, &w), 0);
	while (pvb_store_dispatch(st, 50) > 0)
		;
	saw_base = false;
	flood_calls = 0;
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "many/%u", i);
		put(name, "");
	}
	settle();
	while (pvb_store_dispatch(st, 50) > 0)
		;
	assert_true(saw_base);
	assert_in_range(flood_calls, 1, 64);
	pvb_store_unwatch(&w);
}

/* Who has asked for room hears of each. */
static void test_watch_room(void **state)
{
	struct pvb_watch *w;
	char name[32], path[256];
	unsigned i;

	snprintf(path, sizeof(path), "%s", at("room"));
	assert_int_equal(pvb_store_watch(st, path, on_flood, path, &w), 0);
	pvb_watch_room(w, 1000);
	while (pvb_store_dispatch(st, 50) > 0)
		;
	for (unsigned round = 0; round < 2; round++) {
		saw_base = false;
		flood_calls = 0;
		for (i = 0; i < 200; i++) {
			snprintf(name, sizeof(name), "room/%u", i);
			put(name, "");
		}
		settle();
		while (pvb_store_dispatch(st, 50) > 0)
			;
	}
	assert_false(saw_base); /* in the first round it was made itself */
	assert_int_equal(flood_calls, 200);
	pvb_store_unwatch(&w);
}

static void tick(void *arg)
{
	++*(unsigned *)arg;
}

/* From a loop; a flood does not starve the loop's other business. */
static void test_watch_loop(void **state)
{
	struct pvb_loop *loop;
	struct seen a;
	unsigned ticks = 0, i;
	uint64_t end;

	assert_int_equal(pvb_loop_new(&loop), 0);
	assert_int_equal(pvb_store_attach(st, loop), 0);
	watch(&a, "k");
	for (end = pvb_now_ms() + 5000; a.calls < 1 && pvb_now_ms() < end;)
		pvb_loop_once(loop, 100);
	for (i = 0; i < 1500; i++)
		put("k", "v");
	settle();
	assert_int_equal(pvb_loop_timer(loop, 0, tick, &ticks, NULL), 0);
	assert_true(pvb_loop_once(loop, 1000) >= 1);
	assert_true(pvb_loop_once(loop, 1000) >= 1);
	assert_int_equal(ticks, 1);
	while (pvb_loop_once(loop, 50) > 0)
		;
	assert_in_range(a.calls, 2, 12);
	/* more than one round may deliver: the rest comes without the descriptor's help */
	saw_base = false;
	struct pvb_watch *w[100];
	char path[256];
	snprintf(path, sizeof(path), "%s", at("k"));
	for (i = 0; i < 100; i++)
		assert_int_equal(pvb_store_watch(st, path, on_flood, path, &w[i]), 0);
	flood_calls = 0;
	for (end = pvb_now_ms() + 5000; flood_calls < 100 && pvb_now_ms() < end;)
		pvb_loop_once(loop, 100);
	assert_int_equal(flood_calls, 100);
	for (i = 0; i < 100; i++)
		pvb_store_unwatch(&w[i]);
	pvb_store_unwatch(&a.w);
	pvb_store_close(st); /* takes its sources out of the loop */
	assert_int_equal(pvb_loop_once(loop, 10), 0);
	pvb_loop_free(loop);
	assert_int_equal(pvb_store_open(&st, suite.back, NULL), 0);
}

static bool is_four(const char *value, void *arg)
{
	++*(unsigned *)arg;
	return value && strcmp(value, "4") == 0;
}

static bool is_gone(const char *value, void *arg)
{
	return value == NULL;
}

static void *writer(void *arg)
{
	struct pvb_store *s;

	if (pvb_store_open(&s, suite.back, NULL) < 0)
		abort();
	usleep(20000);
	if (pvb_store_write(s, PVB_NO_TXN, arg, "3") < 0 || pvb_store_write(s, PVB_NO_TXN, arg, "4") < 0)
		abort();
	pvb_store_close(s);
	return NULL;
}

static void test_wait(void **state)
{
	unsigned looks = 0;
	uint64_t start = pvb_now_ms();
	char path[256];
	pthread_t t;

	snprintf(path, sizeof(path), "%s", at("wait"));
	assert_int_equal(pvb_store_wait(st, path, is_gone, NULL, 0), 0);
	assert_int_equal(pvb_store_wait(st, path, is_four, &looks, 30), -ETIMEDOUT);
	assert_true(pvb_now_ms() - start >= 30);
	assert_in_range(looks, 1, 3); /* waits for events, does not poll */
	assert_int_equal(pthread_create(&t, NULL, writer, path), 0);
	assert_int_equal(pvb_store_wait(st, path, is_four, &looks, 10000), 0);
	pthread_join(t, NULL);
	assert_int_equal(pvb_store_wait(st, path, is_four, &looks, -1), 0);
}

/* ---- tables and states ------------------------------------------------------------------------------ */

static void test_nodes_read(void **state)
{
	struct pvb_value v[VBD_F_NR];
	struct pvb_error err = { 0 };
	unsigned i;

	put("dev/ring-page-order", "3");
	put("dev/protocol", "x86_64-abi");
	assert_int_equal(pvb_nodes_read(st, PVB_NO_TXN, at("dev"), pvb_vbd_front, VBD_F_NR, v, &err), 0);
	assert_true(v[VBD_F_RING_ORDER].present);
	assert_int_equal(v[VBD_F_RING_ORDER].num, 3);
	assert_string_equal(v[VBD_F_PROTOCOL].str, "x86_64-abi");
	assert_false(v[VBD_F_NUM_QUEUES].present);
	assert_int_equal(v[VBD_F_NUM_QUEUES].num, 1);
	assert_int_equal(v[VBD_F_TRUSTED].num, 1);
	assert_null(v[VBD_F_BACKEND].str);
	pvb_nodes_free(v, VBD_F_NR);
	put("dev/multi-queue-num-queues", "9");
	assert_int_equal(pvb_nodes_read(st, PVB_NO_TXN, at("dev"), pvb_vbd_front, VBD_F_NR, v, &err), -ERANGE);
	assert_non_null(strstr(err.text, at("dev")));
	assert_non_null(strstr(err.text, "multi-queue-num-queues is \"9\", must be 1..8"));
	for (i = 0; i < VBD_F_NR; i++)
		assert_true(!v[i].present && !v[i].str);
	assert_int_equal(pvb_nodes_write_u64(st, PVB_NO_TXN, at("dev"), &pvb_vbd_front[VBD_F_NUM_QUEUES], 0), -ERANGE);
	assert_int_equal(pvb_nodes_write_u64(st, PVB_NO_TXN, at("dev"), &pvb_vbd_front[VBD_F_NUM_QUEUES], 8), 0);
	expect("dev/multi-queue-num-queues", "8");
	assert_int_equal(pvb_nodes_write_str(st, PVB_NO_TXN, at("dev"), &pvb_vbd_front[VBD_F_PROTOCOL], "a\nb"),
			 -EINVAL);
	assert_int_equal(pvb_nodes_write_str(st, PVB_NO_TXN, at("dev"), &pvb_vbd_front[VBD_F_PROTOCOL], "x86_32-abi"),
			 0);
	expect("dev/protocol", "x86_32-abi");
	assert_int_equal(pvb_nodes_write_str(st, PVB_NO_TXN, at("dev"), &pvb_vbd_front[VBD_F_RING_ORDER], "1"),
			 -EINVAL);
	/* a directory that is not there has no keys */
	assert_int_equal(pvb_nodes_read(st, PVB_NO_TXN, at("nothing"), pvb_vbd_back, VBD_B_NR,
					(struct pvb_value[VBD_B_NR]){ { 0 } }, &err), 0);
}

static void test_state(void **state)
{
	static const char *const junk[] = { "", "0", "9", "99", "-1", "4x", "0x4", "18446744073709551620" };
	unsigned i;

	assert_int_equal(pvb_state_read(st, PVB_NO_TXN, at("dev")), PVB_UNKNOWN);
	/* a device that was removed must not come back */
	assert_int_equal(pvb_state_write(st, at("dev"), PVB_CLOSED), -ENOENT);
	assert_int_equal(pvb_state_move(st, at("dev"), PVB_INIT_WAIT, PVB_CLOSED), -ENOENT);
	assert_false(pvb_store_exists(st, PVB_NO_TXN, at("dev")));
	put("dev/state", "1");
	assert_int_equal(pvb_state_write(st, at("dev"), PVB_INIT_WAIT), 0);
	assert_int_equal(pvb_state_move(st, at("dev"), PVB_INITIALISING, PVB_CONNECTED), -ECANCELED);
	assert_int_equal(pvb_state_read(st, PVB_NO_TXN, at("dev")), PVB_INIT_WAIT);
	assert_int_equal(pvb_state_move(st, at("dev"), PVB_INIT_WAIT, PVB_CONNECTED), 0);
	assert_int_equal(pvb_state_read(st, PVB_NO_TXN, at("dev")), PVB_CONNECTED);
	assert_int_equal(pvb_state_write(st, at("dev"), PVB_INIT_WAIT), 0);
	expect("dev/state", "2");
	for (i = 1; i <= 8; i++) {
		assert_int_equal(pvb_state_write(st, at("dev"), (enum pvb_state)i), 0);
		assert_int_equal(pvb_state_read(st, PVB_NO_TXN, at("dev")), i);
	}
	for (i = 0; i < sizeof(junk) / sizeof(*junk); i++) {
		put("dev/state", junk[i]);
		assert_int_equal(pvb_state_read(st, PVB_NO_TXN, at("dev")), PVB_UNKNOWN);
	}
}

/* ---- devices --------------------------------------------------------------------------------------- */

/* A kind no driver of any domain knows. */
static struct pvb_device_id device(void)
{
	return (struct pvb_device_id){
		.kind = "pvbsuite", .class = "pvbsuite", .back = self, .front = self, .devid = 3
	};
}

static const struct pvb_pair back_keys[] = { { "params", "raw:/x" }, { "mode", "w" } };
static const struct pvb_pair front_keys[] = { { "virtual-device", "3" } };

static int offer(struct pvb_error *err)
{
	struct pvb_device_id id = device();

	return pvb_offer(st, &id, back_keys, 2, front_keys, 1, err);
}

static void read_path(const char *dir, const char *key, char *buf, size_t len)
{
	char path[256], *v;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	buf[0] = '\0';
	if (pvb_store_read(st, PVB_NO_TXN, path, &v) < 0)
		return;
	snprintf(buf, len, "%s", v);
	free(v);
}

static void expect_path(const char *dir, const char *key, const char *value)
{
	char buf[256];

	read_path(dir, key, buf, sizeof(buf));
	assert_string_equal(buf, value);
}

static void expect_gone(const struct pvb_device_id *id)
{
	char path[128];

	pvb_device_back_path(id, path, sizeof(path));
	assert_false(pvb_store_exists(st, PVB_NO_TXN, path));
	pvb_device_front_path(id, path, sizeof(path));
	assert_false(pvb_store_exists(st, PVB_NO_TXN, path));
	snprintf(path, sizeof(path), "/local/domain/%u/backend/%s/%u", id->back, id->kind, id->front);
	assert_false(pvb_store_exists(st, PVB_NO_TXN, path));
}

static void test_offer(void **state)
{
	struct pvb_device_id id = device();
	char back[128], front[128], num[16];
	struct pvb_error err = { 0 };
	uint32_t owner;

	pvb_device_back_path(&id, back, sizeof(back));
	pvb_device_front_path(&id, front, sizeof(front));
	snprintf(num, sizeof(num), "%u", self);
	assert_int_equal(offer(&err), 0);
	expect_path(back, "frontend", front);
	expect_path(back, "frontend-id", num);
	expect_path(back, "online", "1");
	expect_path(back, "state", "1");
	expect_path(back, "params", "raw:/x");
	expect_path(back, "mode", "w");
	expect_path(front, "backend", back);
	expect_path(front, "backend-id", num);
	expect_path(front, "state", "1");
	expect_path(front, "virtual-device", "3");
	assert_int_equal(pvb_store_owner(st, PVB_NO_TXN, back, &owner), 0);
	assert_int_equal(owner, id.back);
	assert_int_equal(offer(&err), -EEXIST);
	assert_non_null(strstr(err.text, "back end Initialising"));
	/* nobody serves it: graceful removal gives up and leaves it whole */
	assert_int_equal(pvb_rescind(st, &id, 30, &err), -EBUSY);
	assert_non_null(strstr(err.text, "30 ms"));
	expect_path(back, "online", "1");
	expect_path(back, "state", "1");
	expect_path(front, "state", "1");
	assert_int_equal(pvb_rescind_force(st, &id, 10, &err), 0);
	expect_gone(&id);
	assert_int_equal(pvb_rescind(st, &id, 10, &err), -ENOENT);
	assert_int_equal(pvb_rescind_force(st, &id, 10, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no such device"));
	/* a front end's directory without a back end's does not stand in the way */
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, front, "leftover"), 0);
	assert_int_equal(offer(&err), 0);
	assert_int_equal(pvb_rescind_force(st, &id, 0, &err), 0);
	assert_int_equal(pvb_store_write(st, PVB_NO_TXN, front, "leftover"), 0);
	assert_int_equal(pvb_rescind_force(st, &id, 0, &err), 0);
	expect_gone(&id);
	id.kind = "much-too-long-a-kind";
	assert_int_equal(pvb_offer(st, &id, NULL, 0, NULL, 0, &err), -EINVAL);
}

static bool is_closing(const char *value, void *arg)
{
	return value && strcmp(value, "5") == 0;
}

/* A back end that closes when it is asked to. */
static void *obedient(void *arg)
{
	char path[160];
	struct pvb_store *s;

	snprintf(path, sizeof(path), "%s/state", (const char *)arg);
	if (pvb_store_open(&s, suite.back, NULL) < 0 || pvb_store_wait(s, path, is_closing, NULL, 10000) < 0 ||
	    pvb_state_write(s, arg, PVB_CLOSED) < 0)
		abort();
	pvb_store_close(s);
	return NULL;
}

static void test_rescind(void **state)
{
	struct pvb_device_id id = device();
	struct pvb_error err = { 0 };
	char back[128];
	pthread_t t;

	pvb_device_back_path(&id, back, sizeof(back));
	assert_int_equal(offer(&err), 0);
	assert_int_equal(pthread_create(&t, NULL, obedient, back), 0);
	assert_int_equal(pvb_rescind(st, &id, 10000, &err), 0);
	pthread_join(t, NULL);
	expect_gone(&id);
	/* closed already: nothing to ask, nothing to wait for */
	assert_int_equal(offer(&err), 0);
	assert_int_equal(pvb_state_write(st, back, PVB_CLOSED), 0);
	assert_int_equal(pvb_rescind(st, &id, 0, &err), 0);
	expect_gone(&id);
	/* a second device of the same guest keeps its directory */
	assert_int_equal(offer(&err), 0);
	id.devid = 4;
	assert_int_equal(pvb_offer(st, &id, NULL, 0, NULL, 0, &err), 0);
	id.devid = 3;
	assert_int_equal(pvb_rescind_force(st, &id, 0, &err), 0);
	id.devid = 4;
	pvb_device_back_path(&id, back, sizeof(back));
	assert_true(pvb_store_exists(st, PVB_NO_TXN, back));
	assert_int_equal(pvb_rescind_force(st, &id, 0, &err), 0);
	expect_gone(&id);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open_errors),
		T(test_nodes),
		T(test_nul),
		T(test_paths),
		T(test_domains),
		T(test_rights),
		T(test_txn),
		T(test_txn_starved),
		T(test_txn_concurrent),
		T(test_watch),
		T(test_unwatch_in_callback),
		T(test_watch_flood),
		T(test_watch_overflow),
		T(test_watch_room),
		T(test_watch_loop),
		T(test_wait),
		T(test_nodes_read),
		T(test_state),
		T(test_offer),
		T(test_rescind),
	};
	int failed;

	alarm(300);
	suite_start(true);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	suite_stop();
	return failed != 0;
}
