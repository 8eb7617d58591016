/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one domain may use of the store, to the very unit, and that nobody else notices.
 * The numbers are Xen's advisories whose flaw each test looks for. */
#include "local-store.h"

static struct client *tool, *a, *b;

static int up(void **state)
{
	store_up(state);
	tool = client(0);
	make_domain(tool, 1);
	make_domain(tool, 2);
	a = client(1);
	b = client(2);
	return 0;
}

static int down(void **state)
{
	client_free(tool);
	client_free(a);
	client_free(b);
	return store_down(state);
}

static struct lst_dom *dom(uint32_t id)
{
	return lst_dom(S, id);
}

static int make(uint32_t tx, const char *fmt, unsigned i, bool write)
{
	char path[64];

	snprintf(path, sizeof(path), fmt, i);
	return write ? t_write(a, tx, path, "v") : t_mkdir(a, tx, path);
}

/* XSA-272: exactly at the limit, by every way to make a node. */
static void nodes(void **state)
{
	uint32_t i, t;

	a->quiet = true;
	for (i = 0; dom(1)->nodes < 1000; i++)
		assert_int_equal(make(0, i < 500 ? "data/a/%u" : "data/b/%u", i, i & 1), 0);
	check_all();
	assert_int_equal(make(0, "data/c%u", 0, true), ENOSPC);
	assert_int_equal(make(0, "data/c%u", 0, false), ENOSPC);
	t = t_start(a);
	assert_int_equal(make(t, "data/c%u", 0, true), ENOSPC);
	assert_int_equal(t_end(a, t, "F"), 0);
	/* what is there may be written, made again and removed */
	assert_int_equal(make(0, "data/a/%u", 3, true), 0);
	assert_int_equal(make(0, "data/a/%u", 3, false), 0);
	assert_int_equal(dom(1)->nodes, 1000);
	t = t_start(a);
	assert_int_equal(t_rm(a, t, "data/a/3"), 0);
	assert_int_equal(make(t, "data/d%u", 0, true), 0);
	assert_int_equal(make(t, "data/d%u", 1, true), ENOSPC);
	assert_int_equal(t_end(a, t, "T"), 0);
	check_all();
	assert_int_equal(dom(1)->nodes, 1000);
	assert_int_equal(t_rm(a, 0, "data/d0"), 0);
	/* two are wanted, one would fit: none is made (XSA-414) */
	assert_int_equal(make(0, "data/e%u/f", 0, true), ENOSPC);
	assert_int_equal(t_read(tool, 0, "/local/domain/1/data/e0"), ENOENT);
	/* two transactions that fit alone: the second does not */
	t = t_start(a);
	uint32_t u = t_start(a);
	assert_int_equal(make(t, "data/t%u", 0, true), 0);
	assert_int_equal(make(u, "data/u%u", 0, true), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_end(a, u, "T"), ENOSPC);
	assert_int_equal(dom(1)->nodes, 1000);
	/* domain 0 is not limited, others are not concerned */
	assert_int_equal(t_write(tool, 0, "/local/domain/1/data/more", "1"), 0);
	assert_int_equal(dom(1)->nodes, 1001);
	assert_int_equal(t_write(b, 0, "data/x", "1"), 0);
}

/* XSA-414: the node itself too big, at each depth; nothing of the path is left. */
static void failed_create(void **state)
{
	char path[256] = "data", big[2100];
	unsigned depth;
	uint32_t nodes;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (depth = 0; depth < 20; depth++) {
		strcat(path, "/d");
		nodes = S->tree.nr_nodes;
		assert_int_equal(t_write(a, 0, path, big), ENOSPC);
		assert_int_equal(S->tree.nr_nodes, nodes);
		uint32_t t = t_start(a);
		assert_int_equal(t_write(a, t, path, big), ENOSPC);
		assert_int_equal(t_end(a, t, "T"), 0);
		assert_int_equal(S->tree.nr_nodes, nodes);
	}
}

static void node_size(void **state)
{
	char value[2049] = "";
	unsigned len = 2048 - 24 - 8;

	memset(value, 'v', len);
	assert_int_equal(t_write(a, 0, "data/x", value), 0);
	value[len] = 'v';
	assert_int_equal(t_write(a, 0, "data/x", value), ENOSPC);
	value[len] = '\0';
	/* permissions and children count */
	assert_int_equal(t_perms(a, 0, "data/x", "n1", "r2"), ENOSPC);
	assert_int_equal(t_mkdir(a, 0, "data/x/y"), ENOSPC);
	assert_int_equal(t_write(a, 0, "data/x", "1"), 0);
	assert_int_equal(t_perms(a, 0, "data/x", "n1", "r2"), 0);
	assert_int_equal(t_perms(a, 0, "data/x", "n1", "r2", "r2", "r2", "r2"), 0);
	assert_int_equal(t_perms(a, 0, "data/x", "n1", "r2", "r2", "r2", "r2", "r2"), ENOSPC);
	assert_int_equal(t_perms(tool, 0, "/local/domain/1/data/x", "n1", "r2", "r2", "r2", "r2", "r2"), 0);
}

/* XSA-330, 512: set to the limit, reset, again; each account comes back to nothing. */
static void watches(void **state)
{
	unsigned round, i;
	char tok[16];
	uint64_t memory;

	a->quiet = true;
	memory = dom(1)->memory;
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 128; i++) {
			snprintf(tok, sizeof(tok), "%u", i);
			assert_int_equal(t_watch(a, "data", tok), 0);
		}
		assert_int_equal(t_watch(a, "data", "one more"), E2BIG);
		assert_int_equal(t_watch(a, "data", "5"), EEXIST);
		assert_int_equal(t_unwatch(a, "data", "5"), 0);
		assert_int_equal(t_unwatch(a, "data", "5"), ENOENT);
		assert_int_equal(t_watch(a, "data", "5"), 0);
		assert_int_equal(dom(1)->watches, 128);
		if (round % 2) {
			assert_int_equal(rqs(a, XS_RESET_WATCHES, 0, "", NULL), 0);
		} else {
			client_free(a);
			a = client(1);
			a->quiet = true;
		}
		assert_int_equal(dom(1)->watches, 0);
		assert_int_equal(dom(1)->memory, memory);
		check_all();
	}
}

static void transactions(void **state)
{
	uint32_t t[10];
	unsigned i;

	for (i = 0; i < 10; i++)
		t[i] = t_start(a);
	assert_int_equal(rqs(a, XS_TRANSACTION_START, 0, "", NULL), ENOSPC);
	assert_int_equal(rqs(a, XS_TRANSACTION_START, t[0], "", NULL), EBUSY);
	assert_int_equal(rqs(b, XS_TRANSACTION_START, 0, "", NULL), 0);
	assert_int_equal(t_end(a, t[3], "F"), 0);
	assert_int_equal(t_end(a, t[3], "F"), ENOENT);
	assert_int_equal(t_read(a, t[3], "data"), ENOENT);
	t_start(a);
	/* XSA-484 */
	assert_int_equal(rqs(a, XS_RESET_WATCHES, t[1], "", NULL), 0);
	assert_int_equal(dom(1)->txns, 0);
	assert_int_equal(t_read(a, t[1], "data"), ENOENT);
	/* a second connection counts as well */
	struct client *a2 = client(1);
	for (i = 0; i < 10; i++)
		t_start(i & 1 ? a : a2);
	assert_int_equal(rqs(a2, XS_TRANSACTION_START, 0, "", NULL), ENOSPC);
	client_free(a2);
	check_all();
	assert_int_equal(dom(1)->txns, 5);
}

/* XSA-326: nodes one transaction touches; beyond, it can not be committed. */
static void txn_nodes(void **state)
{
	char path[64];
	unsigned i;
	uint32_t t = t_start(a);
	int rc = 0;

	a->quiet = true;
	for (i = 0; rc != ENOSPC && i < 2000; i++) {
		snprintf(path, sizeof(path), "data/no/such/%u", i);
		rc = t_read(a, t, path);
	}
	assert_int_equal(rc, ENOSPC);
	assert_true(i < 1024 && i > 1000);
	check_all();
	assert_int_equal(t_end(a, t, "T"), ENOSPC);
	assert_int_equal(t_read(a, 0, "data"), 0);
}

/* Memory: whatever it is spent on, there is an end, and freeing helps. */
static void memory(void **state)
{
	char value[1950], path[64];
	unsigned i;
	int rc = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	a->quiet = true;
	for (i = 0; rc == 0; i++) {
		uint32_t t = i < 10 ? t_start(a) : 0;

		if (t)
			for (unsigned j = 0; rc == 0 && j < 1000; j++) {
				snprintf(path, sizeof(path), "data/%u/%u", j % 30, j);
				rc = t_write(a, t, path, value);
			}
		else
			break;
	}
	assert_true(rc == ENOMEM || rc == ENOSPC);
	assert_true(dom(1)->memory <= S->quota.memory_hard);
	check_all();
	assert_int_equal(t_write(b, 0, "data/x", value), 0);
	assert_int_equal(rqs(a, XS_RESET_WATCHES, 0, "", NULL), 0);
	assert_int_equal(t_write(a, 0, "data/x", value), 0);
}

/* XSA-326: a client that never reads is not served beyond the quota; the others are. */
static void never_reads(void **state)
{
	uint64_t bound, requests;
	unsigned i;

	a->deaf = true;
	requests = S->requests;
	for (i = 0; i < 10000; i++)
		put(a, XS_READ, 0, "data", 5);
	assert_int_equal(S->requests - requests, 20);
	assert_int_equal(dom(1)->outstanding, 20);
	bound = dom(1)->memory;
	assert_true(bound < 8192);
	assert_int_equal(t_write(b, 0, "data/x", "1"), 0);
	a->deaf = false;
	drain(a);
	pump();
	/* the rest of what it had sent, as much as had been taken in */
	assert_true(a->replies > 20);
	check_all();
	assert_int_equal(dom(1)->outstanding, 0);
}

/* XSA-326: whoever changes something another one watches waits until that was delivered ... */
static void events_hold_their_cause(void **state)
{
	uint64_t requests;
	char path[64];
	unsigned i;

	assert_int_equal(t_watch(tool, "/local/domain/1", "t"), 0);
	tool->deaf = true;
	requests = S->requests;
	for (i = 0; i < 200; i++) {
		char body[80];

		snprintf(path, sizeof(path), "data/%u", i);
		memcpy(body, path, strlen(path) + 1);
		put(a, XS_WRITE, 0, body, (uint32_t)strlen(path) + 1);
	}
	assert_int_equal(S->requests - requests, 20);
	assert_int_equal(t_write(b, 0, "data/x", "1"), 0);
	/* ... but not for ever, if it is domain 0 that does not read */
	S->now_ms += 20001;
	lst_tick(S);
	pump();
	assert_true(S->requests - requests > 20);
	check_all();
	tool->deaf = false;
	drain(tool);
	check_all();
	/* the same for 10000 times one path: one event waits */
	tool->deaf = true;
	uint64_t merged = S->merged;
	b->quiet = true;
	t_watch(tool, "/local/domain/2", "t2");
	for (i = 0; i < 10000; i++)
		assert_int_equal(t_write(b, 0, "data/x", "2"), 0);
	assert_true(S->merged - merged >= 9999);
	assert_true(dom(2)->outstanding <= 1);
	tool->deaf = false;
}

/* XSA-326: a domain that does not read its events is disconnected after a while, with all it had. */
static void event_timeout(void **state)
{
	assert_int_equal(t_watch(b, "data", "t"), 0);
	b->deaf = true;
	assert_int_equal(t_write(tool, 0, "/local/domain/2/data/x", "1"), 0);
	S->now_ms += 19999;
	lst_tick(S);
	assert_non_null(b->c);
	assert_true(lst_deadline(S) <= S->now_ms + 1000);
	S->now_ms += 1;
	lst_tick(S);
	assert_null(b->c);
	assert_non_null(dom(2));
	assert_int_equal(dom(2)->watches, 0);
	client_free(b);
	b = client(2);
	assert_int_equal(t_read(b, 0, "data/x"), 0);
	/* a reply alone has no such limit */
	b->deaf = true;
	put(b, XS_READ, 0, "data/x", 7);
	S->now_ms += 100000;
	lst_tick(S);
	assert_non_null(b->c);
}

/* XSA-416: for requests that are not read, nothing but their replies is kept. */
static void only_replies_stay(void **state)
{
	uint64_t memory = dom(1)->memory;
	unsigned i;

	a->deaf = true;
	for (i = 0; i < 10000; i++)
		put(a, XS_GET_DOMAIN_PATH, 0, "1", 2);
	assert_true(dom(1)->memory - memory <= 20 * (sizeof(struct lst_msg) + sizeof(struct xsd_sockmsg) + 16));
	a->deaf = false;
	drain(a);
}

/* Also a client of domain 0 has an end: its backlog. */
static void privileged_backlog(void **state)
{
	struct client *slow = client(0);
	char path[160];
	unsigned i;

	S->quota.backlog_max = 65536;
	assert_int_equal(t_watch(slow, "/", "t"), 0);
	slow->deaf = true;
	tool->quiet = true;
	for (i = 0; i < 5000 && slow->c; i++) {
		snprintf(path, sizeof(path), "/backlog/%0100u", i);
		assert_int_equal(t_write(tool, 0, path, ""), 0);
	}
	assert_null(slow->c);
	assert_true(i > 200 && i < 1000);
	client_free(slow);
	check_all();
}

static void connections(void **state)
{
	struct client *c[40];
	unsigned i, n = 0;
	struct lst_conn *raw;

	for (i = 0; i < 40; i++) {
		c[n] = calloc(1, sizeof(*c[n]));
		if (lst_conn_new(S, 1, &cl_io, c[n], &c[n]->c) == 0)
			n++;
		else
			free(c[n]);
	}
	assert_int_equal(n, 31); /* and the one it had */
	assert_int_equal(lst_conn_new(S, 1, &cl_io, NULL, &raw), -EUSERS);
	assert_int_equal(lst_conn_new(S, 77, &cl_io, NULL, &raw), -ESRCH);
	while (n-- > 0)
		client_free(c[n]);
	check_all();
}

/* mkdir of what is there is no new node. */
static void mkdir_again(void **state)
{
	uint32_t nodes;
	unsigned i;

	assert_int_equal(t_mkdir(a, 0, "data/d"), 0);
	nodes = dom(1)->nodes;
	for (i = 0; i < 100; i++)
		assert_int_equal(t_mkdir(a, 0, "data/d"), 0);
	uint32_t t = t_start(a);
	assert_int_equal(t_mkdir(a, t, "data/d"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(dom(1)->nodes, nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nodes, up, down),
		cmocka_unit_test_setup_teardown(failed_create, up, down),
		cmocka_unit_test_setup_teardown(node_size, up, down),
		cmocka_unit_test_setup_teardown(watches, up, down),
		cmocka_unit_test_setup_teardown(transactions, up, down),
		cmocka_unit_test_setup_teardown(txn_nodes, up, down),
		cmocka_unit_test_setup_teardown(memory, up, down),
		cmocka_unit_test_setup_teardown(never_reads, up, down),
		cmocka_unit_test_setup_teardown(events_hold_their_cause, up, down),
		cmocka_unit_test_setup_teardown(event_timeout, up, down),
		cmocka_unit_test_setup_teardown(only_replies_stay, up, down),
		cmocka_unit_test_setup_teardown(privileged_backlog, up, down),
		cmocka_unit_test_setup_teardown(connections, up, down),
		cmocka_unit_test_setup_teardown(mkdir_again, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
