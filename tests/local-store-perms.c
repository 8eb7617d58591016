/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may do what in the store: permissions, watches of what one may not read, domids that come back.
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

/* XSA-353: every op on the root, by somebody who has no right there. */
static void root_is_guarded(void **state)
{
	uint32_t t = t_start(a);

	assert_int_equal(t_read(a, 0, "/"), EACCES);
	assert_int_equal(t_dir(a, 0, "/"), EACCES);
	assert_int_equal(rqs(a, XS_DIRECTORY_PART, 0, "/", "0", NULL), EACCES);
	assert_int_equal(t_getperms(a, 0, "/"), EACCES);
	assert_int_equal(t_perms(a, 0, "/", "n1"), EACCES);
	assert_int_equal(t_write(a, 0, "/", "x"), EACCES);
	assert_int_equal(t_mkdir(a, 0, "/"), EACCES);
	assert_int_equal(t_rm(a, 0, "/"), EACCES);
	assert_int_equal(t_mkdir(a, 0, "/new"), EACCES);
	assert_int_equal(t_write(a, t, "/", "x"), EACCES);
	assert_int_equal(t_rm(a, t, "/"), EACCES);
	assert_int_equal(t_rm(a, t, "/tool"), EACCES);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_rm(tool, 0, "/"), EINVAL);
	assert_int_equal(t_read(tool, 0, "/"), 0);
}

/* XSA-352: giving away what one owns is for domain 0; what others own is not even shown. */
static void owner_stays(void **state)
{
	assert_int_equal(t_write(a, 0, "data/x", "1"), 0);
	assert_int_equal(t_perms(a, 0, "data/x", "n2"), EPERM);
	assert_int_equal(t_perms(a, 0, "data/x", "n0"), EPERM);
	assert_int_equal(t_perms(a, 0, "data/x", "n1", "r2"), 0);
	assert_int_equal(t_read(b, 0, "/local/domain/1/data/x"), 0);
	assert_int_equal(t_write(b, 0, "/local/domain/1/data/x", "2"), EACCES);
	assert_int_equal(t_perms(b, 0, "/local/domain/1/data/x", "n1", "b2"), EACCES);
	assert_int_equal(t_perms(tool, 0, "/local/domain/1/data/x", "n2"), 0);
	assert_int_equal(t_write(b, 0, "/local/domain/1/data/x", "2"), 0);
	assert_int_equal(t_write(a, 0, "data/x", "3"), EACCES);
	/* and in a transaction */
	assert_int_equal(t_perms(tool, 0, "/local/domain/1/data/x", "n1"), 0);
	uint32_t t = t_start(a);
	assert_int_equal(t_perms(a, t, "data/x", "n2"), EPERM);
	assert_int_equal(t_perms(a, t, "data/x", "b1"), 0);
	assert_int_equal(t_end(a, t, "T"), 0);
	assert_int_equal(t_write(b, 0, "/local/domain/1/data/x", "4"), 0);
}

static void inheritance(void **state)
{
	/* what a guest makes is its own, with the rights of what it is in */
	assert_int_equal(t_perms(a, 0, "data", "n1", "r2"), 0);
	assert_int_equal(t_write(a, 0, "data/p/q/r", "1"), 0);
	assert_int_equal(t_getperms(tool, 0, "/local/domain/1/data/p"), 0);
	assert_memory_equal(a->reply, "OK", 3);
	assert_memory_equal(tool->reply, "n1\0r2", 6);
	assert_int_equal(t_read(b, 0, "/local/domain/1/data/p/q/r"), 0);
	/* what domain 0 makes in there belongs to who owns the directory */
	assert_int_equal(t_mkdir(tool, 0, "/local/domain/1/data/byzero"), 0);
	assert_int_equal(t_getperms(tool, 0, "/local/domain/1/data/byzero"), 0);
	assert_memory_equal(tool->reply, "n1\0r2", 6);
	/* the home is domain 0's: nothing can be made in it */
	assert_int_equal(t_mkdir(a, 0, "device"), EACCES);
	assert_int_equal(t_dir(a, 0, "/local/domain/1"), 0);
}

/* XSA-115: no event tells of a node one may not read, also when its rights change. */
static void watches_see_what_may_be_read(void **state)
{
	assert_int_equal(t_watch(a, "/", "root"), 0);
	assert_int_equal(t_watch(a, "/local", "local"), 0);
	assert_int_equal(t_watch(a, "/local/domain/2", "other"), 0);
	assert_int_equal(t_watch(a, "@introduceDomain", "intro"), 0);
	assert_int_equal(t_watch(a, "@releaseDomain", "rel"), 0);
	no_events(a); /* one up front for each, which tells nothing */
	assert_int_equal(t_write(b, 0, "data/secret", "1"), 0);
	assert_int_equal(t_mkdir(tool, 0, "/local/hidden/deep"), 0);
	assert_int_equal(t_rm(tool, 0, "/local/hidden"), 0);
	assert_int_equal(t_rm(b, 0, "data/secret"), 0);
	make_domain(tool, 3);
	end_domain(3);
	assert_string_equal(event(a), "");
	/* a right given, and taken: both are heard of, what follows is not */
	assert_int_equal(t_write(b, 0, "data/s", "1"), 0);
	assert_int_equal(t_perms(b, 0, "data/s", "n2", "r1"), 0);
	assert_string_equal(event(a), "/local/domain/2/data/s root");
	no_events(a);
	assert_int_equal(t_perms(b, 0, "data/s", "n2"), 0);
	assert_string_equal(event(a), "/local/domain/2/data/s root");
	no_events(a);
	assert_int_equal(t_write(b, 0, "data/s", "2"), 0);
	assert_string_equal(event(a), "");
	assert_int_equal(rqs(a, XS_IS_DOMAIN_INTRODUCED, 0, "2", NULL), EACCES);
	/* the special ones, once allowed */
	assert_int_equal(t_getperms(a, 0, "@releaseDomain"), EACCES);
	assert_int_equal(t_perms(a, 0, "@releaseDomain", "n0", "r1"), EACCES);
	assert_int_equal(t_perms(tool, 0, "@releaseDomain", "n0", "r1"), 0);
	make_domain(tool, 4);
	no_events(a);
	end_domain(4);
	drain(a);
	assert_string_equal(event(a), "@releaseDomain rel");
	assert_string_equal(event(a), "");
}

/* XSA-322, 417: a new domain of an old number inherits no right, nor does the special nodes' list. */
static void domid_reuse(void **state)
{
	struct client *c;

	make_domain(tool, 7);
	assert_int_equal(t_write(tool, 0, "/x/y", "1"), 0);
	assert_int_equal(t_perms(tool, 0, "/x/y", "n0", "b7"), 0);
	assert_int_equal(t_write(tool, 0, "/x/default", "1"), 0);
	assert_int_equal(t_perms(tool, 0, "/x/default", "n7", "r2"), 0);
	assert_int_equal(t_perms(tool, 0, "@releaseDomain", "n0", "r7"), 0);
	uint32_t t = t_start(tool);
	assert_int_equal(t_perms(tool, t, "/x", "n0", "b7"), 0);
	c = client(7);
	assert_int_equal(t_write(c, 0, "/x/y", "2"), 0);
	assert_int_equal(t_watch(c, "@releaseDomain", "t"), 0);
	end_domain(7);
	assert_null(c->c);
	client_free(c);
	assert_int_equal(t_read(tool, 0, "/x/default"), ENOENT); /* went with its owner */
	assert_int_equal(t_end(tool, t, "T"), 0);
	make_domain(tool, 7);
	c = client(7);
	assert_int_equal(t_read(c, 0, "/x/y"), EACCES);
	assert_int_equal(t_write(c, 0, "/x/y", "3"), EACCES);
	assert_int_equal(t_mkdir(c, 0, "/x/mine"), EACCES);
	assert_int_equal(t_watch(c, "@releaseDomain", "t"), 0);
	drain(c);
	no_events(c);
	make_domain(tool, 8);
	end_domain(8);
	drain(c);
	assert_string_equal(event(c), "");
	/* rights given before there was such a domain count for nothing either */
	assert_int_equal(t_perms(tool, 0, "/x/y", "n0", "b9"), 0);
	make_domain(tool, 9);
	client_free(c);
	c = client(9);
	assert_int_equal(t_read(c, 0, "/x/y"), EACCES);
	client_free(c);
}

/* XSA-419: what a guest leaves in other trees ends with it; no memory is left. */
static void no_orphans(void **state)
{
	uint32_t nodes, i;
	struct client *c;

	assert_int_equal(t_mkdir(tool, 0, "/shared"), 0);
	assert_int_equal(t_perms(tool, 0, "/shared", "b0"), 0);
	make_domain(tool, 5);
	end_domain(5);
	t_rm(tool, 0, "/local/domain/5");
	nodes = S->tree.nr_nodes;
	tool->quiet = true;
	for (i = 0; i < 10000; i++) {
		make_domain(tool, 5);
		c = client(5);
		c->quiet = true;
		assert_int_equal(t_write(c, 0, "/shared/left/behind", "x"), 0);
		assert_int_equal(t_write(c, 0, "data/a/b/c", "x"), 0);
		t_watch(c, "data", "t");
		t_start(c);
		S_exists[5] = false;
		lst_domain_gone(S, 5);
		client_free(c);
		assert_int_equal(t_rm(tool, 0, "/local/domain/5"), 0);
		assert_int_equal(S->tree.nr_nodes, nodes);
	}
	assert_int_equal(S->nr_watches, 0);
	assert_int_equal(S->nr_txns, 0);
}

/* XSA-483: a new domain of an old number starts with empty accounts. */
static void accounts_start_at_zero(void **state)
{
	struct client *c;
	int i;

	make_domain(tool, 6);
	c = client(6);
	for (i = 0; i < 50; i++) {
		char path[32];

		snprintf(path, sizeof(path), "data/%d", i);
		assert_int_equal(t_write(c, 0, path, "0123456789"), 0);
		t_watch(c, path, "t");
	}
	t_start(c);
	end_domain(6);
	client_free(c);
	make_domain(tool, 6);
	assert_int_equal(lst_dom(S, 6)->nodes, 1);
	assert_int_equal(lst_dom(S, 6)->watches, 0);
	assert_int_equal(lst_dom(S, 6)->txns, 0);
	assert_int_equal(lst_dom(S, 6)->outstanding, 0);
	assert_true(lst_dom(S, 6)->memory < 300);
}

static void target(void **state)
{
	/* a stub domain acts for its target */
	assert_int_equal(rqs(a, XS_SET_TARGET, 0, "2", "1", NULL), EACCES);
	assert_int_equal(rqs(tool, XS_SET_TARGET, 0, "2", "99", NULL), ENOENT);
	assert_int_equal(rqs(tool, XS_SET_TARGET, 0, "2", "1", NULL), 0);
	assert_int_equal(t_write(b, 0, "/local/domain/1/data/x", "1"), 0);
	assert_int_equal(t_write(a, 0, "/local/domain/2/data/x", "1"), EACCES);
	end_domain(1);
	client_free(a);
	make_domain(tool, 1);
	a = client(1);
	assert_int_equal(t_write(b, 0, "/local/domain/1/data/x", "1"), EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(root_is_guarded, up, down),
		cmocka_unit_test_setup_teardown(owner_stays, up, down),
		cmocka_unit_test_setup_teardown(inheritance, up, down),
		cmocka_unit_test_setup_teardown(watches_see_what_may_be_read, up, down),
		cmocka_unit_test_setup_teardown(domid_reuse, up, down),
		cmocka_unit_test_setup_teardown(no_orphans, up, down),
		cmocka_unit_test_setup_teardown(accounts_start_at_zero, up, down),
		cmocka_unit_test_setup_teardown(target, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
