/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions: what they see, what conflicts, that they are all or nothing and that nobody starves.
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

#define expect_read(cl, t, path, v) do { \
	assert_int_equal(t_read(cl, t, path), 0); \
	assert_string_equal((cl)->reply, v); \
} while (0)

static void isolation(void **state)
{
	uint32_t t;

	assert_int_equal(t_write(a, 0, "data/x", "old"), 0);
	t = t_start(a);
	expect_read(a, t, "data/x", "old");
	assert_int_equal(t_write(a, t, "data/x", "new"), 0);
	assert_int_equal(t_write(a, t, "data/made/deep", "1"), 0);
	expect_read(a, t, "data/x", "new");
	expect_read(a, 0, "data/x", "old");
	assert_int_equal(t_read(a, 0, "data/made"), ENOENT);
	assert_int_equal(t_dir(a, t, "data"), 0);
	assert_memory_equal(a->reply, "x\0made", 7);
	assert_int_equal(t_rm(a, t, "data/x"), 0);
	assert_int_equal(t_read(a, t, "data/x"), ENOENT);
	assert_int_equal(t_dir(a, t, "data"), 0);
	assert_memory_equal(a->reply, "made", 5);
	expect_read(a, 0, "data/x", "old");
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_read(a, 0, "data/x"), ENOENT);
	expect_read(a, 0, "data/made/deep", "1");
	/* given up: nothing of it */
	t = t_start(a);
	assert_int_equal(t_rm(a, t, "data/made"), 0);
	assert_int_equal(t_write(a, t, "data/z", "1"), 0);
	assert_int_equal(t_end(a, t, "F"), 0);
	expect_read(a, 0, "data/made/deep", "1");
	assert_int_equal(t_read(a, 0, "data/z"), ENOENT);
	/* a transaction is of its connection */
	struct client *a2 = client(1);
	t = t_start(a);
	assert_int_equal(t_read(a2, t, "data"), ENOENT);
	client_free(a2);
}

/* Each kind of access against each kind of change outside: conflict or not. */
static void conflicts(void **state)
{
	static const struct {
		const char *inside, *outside;
		int result;
	} table[] = {
		{ "read x", "write x", EAGAIN }, { "read x", "rm x", EAGAIN }, { "read x", "perm x", EAGAIN },
		{ "write x", "write x", EAGAIN }, { "write x", "rm x", EAGAIN }, { "rm x", "write x", EAGAIN },
		{ "read none", "write none", EAGAIN }, { "write none", "write none", EAGAIN },
		{ "dir x", "write x/new", EAGAIN }, { "dir x", "rm x/1", EAGAIN },
		{ "rm x", "write x/new", EAGAIN }, { "rm x", "write x/1", EAGAIN },
		{ "read x", "write y", 0 }, { "write x", "write y", 0 }, { "read x", "write x/new", 0 },
		{ "write x/n1", "write x/n2", 0 }, { "write x/n1", "rm x/1", 0 }, { "dir y", "write x", 0 },
		{ "write x/n1", "rm x", EAGAIN }, { "write x/n1", "perm x", EAGAIN },
		{ "read none", "mkdir other", 0 }, { "mkdir x", "mkdir x", 0 },
	};
	unsigned i, how;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		t_rm(a, 0, "data/x");
		t_rm(a, 0, "data/y");
		t_rm(a, 0, "data/none");
		assert_int_equal(t_write(a, 0, "data/x/1", "v"), 0);
		assert_int_equal(t_write(a, 0, "data/x/2", "v"), 0);
		assert_int_equal(t_write(a, 0, "data/y", "v"), 0);
		uint32_t t = t_start(a);
		for (how = 0; how < 2; how++) {
			const char *s = how ? table[i].outside : table[i].inside;
			char path[64];
			uint32_t tx = how ? 0 : t;

			snprintf(path, sizeof(path), "data/%s", strchr(s, ' ') + 1);
			if (s[0] == 'r' && s[1] == 'e')
				t_read(a, tx, path);
			else if (s[0] == 'w')
				assert_int_equal(t_write(a, tx, path, "new"), 0);
			else if (s[0] == 'r')
				assert_int_equal(t_rm(a, tx, path), 0);
			else if (s[0] == 'p')
				assert_int_equal(t_perms(a, tx, path, "n1", "r2"), 0);
			else if (s[0] == 'd')
				assert_int_equal(t_dir(a, tx, path), 0);
			else
				assert_int_equal(t_mkdir(a, tx, path), 0);
		}
		int rc = t_end(a, t, "T");
		if (rc != table[i].result)
			fail_msg("inside \"%s\", outside \"%s\": %d, not %d", table[i].inside, table[i].outside, rc,
				 table[i].result);
		lst_dom(S, 1)->failures = 0;
		if (S->protect)
			lst_end_window(S);
	}
}

/* XSA-415, 421: made and removed in one transaction; an op that fails in the middle, and then the end. */
static void all_or_nothing(void **state)
{
	char big[2200];
	uint32_t t, nodes = S->tree.nr_nodes;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	t = t_start(a);
	assert_int_equal(t_write(a, t, "data/n/m", "1"), 0);
	assert_int_equal(t_rm(a, t, "data/n"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(S->tree.nr_nodes, nodes);
	t = t_start(a);
	assert_int_equal(t_write(a, t, "data/n/m", "1"), 0);
	assert_int_equal(t_rm(a, t, "data/n"), 0);
	assert_int_equal(t_write(a, t, "data/n/o", "2"), 0);
	assert_int_equal(t_dir(a, t, "data/n"), 0);
	assert_memory_equal(a->reply, "o", 2);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_read(a, 0, "data/n/m"), ENOENT);
	expect_read(a, 0, "data/n/o", "2");
	/* removed and made again what was there before */
	t = t_start(a);
	assert_int_equal(t_rm(a, t, "data/n"), 0);
	assert_int_equal(t_mkdir(a, t, "data/n"), 0);
	assert_int_equal(t_dir(a, t, "data/n"), 0);
	assert_int_equal(a->reply_len, 0);
	assert_int_equal(t_dir(a, t, "data"), 0);
	assert_memory_equal(a->reply, "n", 2);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_dir(a, 0, "data/n"), 0);
	assert_int_equal(a->reply_len, 0);
	/* an op that is refused leaves the transaction as it was */
	t = t_start(a);
	assert_int_equal(t_write(a, t, "data/ok", "1"), 0);
	assert_int_equal(t_write(a, t, "data/big/deep/x", big), ENOSPC);
	assert_int_equal(t_read(a, t, "data/big"), ENOENT);
	assert_int_equal(t_end(a, t, "T"), 0);
	expect_read(a, 0, "data/ok", "1");
	assert_int_equal(t_read(a, 0, "data/big"), ENOENT);
}

/* XSA-440: two transactions that remove the same; accounts stay right (lst_check after each step). */
static void deleted_twice(void **state)
{
	uint32_t t, u;

	assert_int_equal(t_write(a, 0, "data/x/y", "1"), 0);
	t = t_start(a);
	u = t_start(a);
	assert_int_equal(t_rm(a, t, "data/x"), 0);
	assert_int_equal(t_rm(a, u, "data/x"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_end(a, u, "T"), EAGAIN);
	assert_int_equal(lst_dom(S, 1)->nodes, 1);
	t = t_start(a);
	assert_int_equal(t_write(a, t, "data/x/y", "1"), 0);
	assert_int_equal(t_rm(a, t, "data/x/y"), 0);
	assert_int_equal(t_rm(a, t, "data/x"), 0);
	assert_int_equal(t_rm(a, t, "data"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(lst_dom(S, 1)->nodes, 0);
}

static void events_at_the_end(void **state)
{
	uint32_t t;

	assert_int_equal(t_write(a, 0, "data/x/y", "1"), 0);
	assert_int_equal(t_watch(tool, "/local/domain/1", "w"), 0);
	no_events(tool);
	t = t_start(a);
	assert_int_equal(t_write(a, t, "data/x", "2"), 0);
	assert_int_equal(t_write(a, t, "data/x", "3"), 0);
	assert_int_equal(t_write(a, t, "data/new", "3"), 0);
	assert_int_equal(t_write(a, t, "data/gone", "3"), 0);
	assert_int_equal(t_rm(a, t, "data/gone"), 0);
	drain(tool);
	assert_string_equal(event(tool), "");
	assert_int_equal(t_end(a, t, "T"), 0);
	drain(tool);
	assert_string_equal(event(tool), "/local/domain/1/data/x w");
	assert_string_equal(event(tool), "/local/domain/1/data/new w");
	assert_string_equal(event(tool), "");
	t = t_start(a);
	assert_int_equal(t_rm(a, t, "data/x"), 0);
	assert_int_equal(t_end(a, t, "F"), 0);
	t = t_start(a);
	assert_int_equal(t_rm(a, t, "data/x"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	drain(tool);
	assert_string_equal(event(tool), "/local/domain/1/data/x w");
	assert_string_equal(event(tool), "");
}

/* XSA-206: a guest that writes all the time in what the toolstack's transaction touches. */
static void toolstack_is_not_starved(void **state)
{
	unsigned tries, run;
	uint32_t t;

	for (run = 0; run < 100; run++) {
		for (tries = 1; ; tries++) {
			int rc;

			assert_true(tries <= 3);
			t = t_start(tool);
			assert_int_equal(t_write(a, 0, "data/x", "guest"), tries == 1 ? 0 : -1);
			assert_int_equal(t_write(tool, t, "/local/domain/1/data/x", "tool"), 0);
			if (tries > 1) {
				/* it waits, and so does its commit; reading goes on for others */
				assert_int_equal(t_read(b, 0, "data"), 0);
			} else {
				assert_int_equal(t_write(a, 0, "data/x", "guest"), 0);
			}
			rc = t_end(tool, t, "T");
			if (rc == 0)
				break;
			assert_int_equal(rc, EAGAIN);
		}
		assert_int_equal(tries, 2);
		/* and it is served again, what it sent meanwhile is carried out */
		pump();
		drain(a);
		assert_null(S->protect);
		expect_read(tool, 0, "/local/domain/1/data/x", "guest");
		check_all();
	}
}

/* A toolstack that never comes back does not hold the others up for more than its window. */
static void window_ends(void **state)
{
	uint32_t t = t_start(tool);

	assert_int_equal(t_read(tool, t, "/local/domain/1/data"), 0);
	assert_int_equal(t_write(a, 0, "data", "x"), 0);
	assert_int_equal(t_end(tool, t, "T"), EAGAIN);
	assert_non_null(S->protect);
	assert_int_equal(t_write(a, 0, "data", "y"), -1);
	assert_int_equal(lst_deadline(S), S->now_ms + 100);
	S->now_ms += 100;
	lst_tick(S);
	drain(a);
	assert_null(S->protect);
	expect_read(tool, 0, "/local/domain/1/data", "y");
	/* domain 0 need not wait for the end of another one's */
	S->protect = lst_dom(S, 1);
	S->protect_until_ms = S->now_ms + 20;
	t = t_start(tool);
	assert_int_equal(t_read(tool, t, "/local/domain/1/data"), 0);
	assert_int_equal(t_write(a, 0, "data", "z"), 0);
	assert_int_equal(t_end(tool, t, "T"), EAGAIN);
	assert_ptr_equal(S->protect, lst_dom(S, 0));
	assert_int_equal(t_write(a, 0, "data", "zz"), -1);
	assert_int_equal(t_write(tool, 0, "/x", "1"), 0);
	lst_end_window(S);
	pump();
	drain(a);
	/* nor does one that dies */
	t = t_start(a);
	S->protect = lst_dom(S, 2);
	S->protect_until_ms = S->now_ms + 20;
	assert_int_equal(t_end(a, t, "T"), -1);
	end_domain(2);
	pump();
	drain(a);
	assert_null(S->protect);
	client_free(b);
	make_domain(tool, 2);
	b = client(2);
}

/* Two guests on one directory: also they get through, and what one does to itself earns it nothing. */
static void guests_are_not_starved(void **state)
{
	unsigned i, failures = 0;
	uint32_t t;
	int rc;

	assert_int_equal(t_write(tool, 0, "/shared/x", "0"), 0);
	assert_int_equal(t_perms(tool, 0, "/shared/x", "b0"), 0);
	for (i = 0; ; i++) {
		assert_true(i < 10);
		t = t_start(a);
		assert_int_equal(t_read(a, t, "/shared/x"), 0);
		t_write(b, 0, "/shared/x", "b");
		assert_int_equal(t_write(a, t, "/shared/x", "a"), 0);
		rc = t_end(a, t, "T");
		if (rc == 0)
			break;
		failures++;
	}
	assert_int_equal(failures, 4);
	drain(b);
	/* not again within 200 ms: it would be a way to hold others up */
	for (i = 0; i < 10; i++) {
		t = t_start(a);
		assert_int_equal(t_read(a, t, "/shared/x"), 0);
		assert_int_equal(t_write(b, 0, "/shared/x", "b"), 0);
		assert_int_equal(t_end(a, t, "T"), EAGAIN);
	}
	assert_null(S->protect);
	S->now_ms += 1000;
	lst_dom(S, 1)->failures = 0;
	for (i = 0; i < 10; i++) {
		t = t_start(a);
		assert_int_equal(t_read(a, t, "/shared/x"), 0);
		assert_int_equal(t_write(a, 0, "/shared/x", "mine"), 0);
		assert_int_equal(t_end(a, t, "T"), EAGAIN);
	}
	assert_null(S->protect);
}

/* Random transactions of three clients, checked against what a plain list of values says. */
#define KEYS 24
struct model { bool there; unsigned value; };

static void random_against_model(void **state)
{
	uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : 20261121;
	struct model now[KEYS] = { { false } }, in[3][KEYS], was[3][KEYS];
	struct client *cl[3] = { tool, a, client(1) };
	uint32_t tx[3] = { 0 };
	bool used[3][KEYS], changed[3][KEYS];
	char path[64], value[16];
	unsigned i, who, key;

	print_message("SEED=%llu\n", (unsigned long long)seed);
	for (i = 0; i < 30000; i++) {
		uint32_t r;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		r = (uint32_t)(seed >> 33);
		who = r % 3;
		key = (r >> 4) % KEYS;
		snprintf(path, sizeof(path), "/local/domain/1/data/k%u", key);
		snprintf(value, sizeof(value), "%u", i);
		if (tx[who] == 0 && (r >> 12) % 4) {
			tx[who] = t_start(cl[who]);
			memcpy(in[who], now, sizeof(now));
			memset(used[who], 0, sizeof(used[who]));
			memset(changed[who], 0, sizeof(changed[who]));
		}
		if (tx[who] && (r >> 16) % 12 == 0) {
			bool ok = true;

			for (key = 0; key < KEYS; key++)
				if (used[who][key] && (was[who][key].there != now[key].there ||
				    (now[key].there && was[who][key].value != now[key].value)))
					ok = false;
			int rc = t_end(cl[who], tx[who], "T");
			tx[who] = 0;
			if (rc == -1) { /* held back while another one has its window */
				S->now_ms += 1000;
				lst_tick(S);
				drain(cl[who]);
				rc = cl[who]->reply_type == XS_ERROR ? errno_of(cl[who]->reply) : 0;
			}
			if (rc != (ok ? 0 : EAGAIN))
				fail_msg("step %u: commit of client %u: %d, the model says %d", i, who, rc, ok);
			for (key = 0; ok && key < KEYS; key++)
				if (changed[who][key])
					now[key] = in[who][key];
			continue;
		}
		struct model *m = tx[who] ? &in[who][key] : &now[key];
		if (tx[who] && !used[who][key]) {
			*m = was[who][key] = now[key];
			used[who][key] = true;
		}
		if (S->protect) {
			S->now_ms += 1000;
			lst_tick(S);
		}
		switch ((r >> 20) % 3) {
		case 0: {
			int rc = t_read(cl[who], tx[who], path);

			if (rc != (m->there ? 0 : ENOENT))
				fail_msg("step %u: read of %s: %d, the model says %d", i, path, rc, m->there);
			if (m->there)
				assert_int_equal((unsigned)atoi(cl[who]->reply), m->value);
			break;
		}
		case 1:
			assert_int_equal(t_write(cl[who], tx[who], path, value), 0);
			m->there = true;
			m->value = i;
			if (tx[who])
				changed[who][key] = true;
			break;
		default:
			assert_int_equal(t_rm(cl[who], tx[who], path), 0);
			if (tx[who])
				changed[who][key] = changed[who][key] || m->there;
			m->there = false;
		}
	}
	client_free(cl[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(isolation, up, down),
		cmocka_unit_test_setup_teardown(conflicts, up, down),
		cmocka_unit_test_setup_teardown(all_or_nothing, up, down),
		cmocka_unit_test_setup_teardown(deleted_twice, up, down),
		cmocka_unit_test_setup_teardown(events_at_the_end, up, down),
		cmocka_unit_test_setup_teardown(toolstack_is_not_starved, up, down),
		cmocka_unit_test_setup_teardown(window_ends, up, down),
		cmocka_unit_test_setup_teardown(guests_are_not_starved, up, down),
		cmocka_unit_test_setup_teardown(random_against_model, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
