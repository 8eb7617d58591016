/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests as bytes: frames, paths, arguments, sizes at their limits.
 * The numbers are Xen's advisories whose flaw each test looks for. */
#include <pthread.h>
#include "local-store.h"

static struct client *tool, *a;

static int up(void **state)
{
	store_up(state);
	tool = client(0);
	make_domain(tool, 1);
	a = client(1);
	return 0;
}

static int down(void **state)
{
	client_free(tool);
	client_free(a);
	return store_down(state);
}

/* XSA-420: a length beyond the limit ends the connection, once, and nothing else. */
static void bad_frames(void **state)
{
	static const uint32_t lens[] = { 4097, 65536, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xfffffff0,
					 0xffffffff };
	uint64_t requests = S->requests;
	struct client *c;
	unsigned i;

	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		struct xsd_sockmsg h = { XS_READ, 1, 0, lens[i] };

		c = client(1);
		feed(c, &h, sizeof(h));
		assert_null(c->c);
		client_free(c);
		check_all();
	}
	assert_int_equal(S->requests, requests);
	assert_int_equal(lst_dom(S, 1)->conns, 1);
	assert_int_equal(t_read(a, 0, "data"), 0);
}

/* XSA-325: a violation is not the domain's death; that is told once, when it comes. */
static void violation_is_not_death(void **state)
{
	struct xsd_sockmsg h = { XS_READ, 1, 0, 5000 };

	assert_int_equal(t_watch(tool, "@releaseDomain", "t"), 0);
	no_events(tool);
	feed(a, &h, sizeof(h));
	assert_null(a->c);
	assert_string_equal(event(tool), "");
	assert_int_equal(rqs(tool, XS_IS_DOMAIN_INTRODUCED, 0, "1", NULL), 0);
	assert_string_equal(tool->reply, "T");
	end_domain(1);
	drain(tool);
	assert_string_equal(event(tool), "@releaseDomain t");
	assert_string_equal(event(tool), "");
	assert_int_equal(rqs(tool, XS_IS_DOMAIN_INTRODUCED, 0, "1", NULL), 0);
	assert_string_equal(tool->reply, "F");
}

/* A request may come in any pieces. */
static void pieces(void **state)
{
	uint8_t msg[16 + 5];
	struct xsd_sockmsg h = { XS_READ, 7, 0, 5 };
	unsigned cut, i;

	memcpy(msg, &h, 16);
	memcpy(msg + 16, "data", 5);
	for (cut = 0; cut < sizeof(msg); cut++) {
		a->replies = 0;
		feed(a, msg, cut);
		assert_int_equal(a->replies, 0);
		feed(a, msg + cut, sizeof(msg) - cut);
		assert_int_equal(a->replies, 1);
	}
	/* and many at once */
	a->replies = 0;
	uint8_t many[19 * sizeof(msg)];
	for (i = 0; i < 19; i++)
		memcpy(many + i * sizeof(msg), msg, sizeof(msg));
	feed(a, many, sizeof(many));
	assert_int_equal(a->replies, 19);
}

static void unknown(void **state)
{
	unsigned type;

	for (type = 0; type < 40; type++) {
		int rc;

		if (type == XS_TRANSACTION_START)
			continue;
		rc = rq(a, type, 0, "", 0);
		assert_true(rc != 0 || type == XS_RESET_WATCHES);
		if (type >= XS_TYPE_COUNT || type == XS_WATCH_EVENT || type == XS_ERROR || type == 20)
			assert_int_equal(rc, ENOSYS);
		/* arguments without their NUL, empty, too many */
		rq(a, type, 0, "data", 4);
		rq(a, type, 0, "\0\0\0\0\0", 5);
		rq(a, type, 0, "1\0" "1\0" "1\0" "1\0" "1", 9);
		rq(tool, type, 0, "", 0);
		rq(tool, type, 0, "data", 4);
		rq(tool, type, 0, "\0\0\0\0\0", 5);
	}
	assert_int_equal(rq(a, 0xffffffff, 0xffffffff, "", 0), ENOSYS);
	assert_int_equal(t_read(a, 0, "data"), 0);
}

/* The grammar of paths is one, for all ops (found by the fuzzer of oxenstored in 2021: not for WATCH). */
static void path_grammar(void **state)
{
	static const char *const bad[] = {
		"", "//", "data/", "/local//domain", "/local/domain/1/data//x", "/local/domain/1/data/", "data x",
		"data\x01",
		"data.x", "/a\xff", "/local/domain/", "/local/domain/1/", "data//x", "/local/domain/1/data/\\",
	};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct client *cl[] = { a, tool };
		unsigned k;

		for (k = 0; k < 2; k++) {
			assert_int_equal(t_read(cl[k], 0, bad[i]), EINVAL);
			assert_int_equal(t_dir(cl[k], 0, bad[i]), EINVAL);
			assert_int_equal(rqs(cl[k], XS_DIRECTORY_PART, 0, bad[i], "0", NULL), EINVAL);
			assert_int_equal(t_write(cl[k], 0, bad[i], "x"), EINVAL);
			assert_int_equal(t_mkdir(cl[k], 0, bad[i]), EINVAL);
			assert_int_equal(t_rm(cl[k], 0, bad[i]), EINVAL);
			assert_int_equal(t_getperms(cl[k], 0, bad[i]), EINVAL);
			assert_int_equal(t_perms(cl[k], 0, bad[i], "n1"), EINVAL);
			assert_int_equal(t_watch(cl[k], bad[i], "t"), EINVAL);
		}
	}
	assert_int_equal(t_watch(a, "@releaseDomain", "t"), 0);
	assert_int_equal(t_watch(a, "@some thing", "t"), EINVAL);
	assert_int_equal(t_read(a, 0, "@releaseDomain"), EINVAL);
	assert_int_equal(t_perms(tool, 0, "@nonsense", "n0"), EINVAL);
	assert_int_equal(t_write(tool, 0, "/A-z_0@9", "x"), 0);
}

/* XSA-481: no path to be had, no error either. */
static void home_with_slash(void **state)
{
	assert_int_equal(t_dir(tool, 0, "/local/domain/"), EINVAL);
	assert_int_equal(t_read(a, 0, "/local/domain/"), EINVAL);
	assert_int_equal(t_watch(a, "/local/domain/", "t"), EINVAL);
}

static void build_path(char *path, const char *prefix, unsigned total)
{
	unsigned len = (unsigned)strlen(prefix);

	memcpy(path, prefix, len);
	for (; len < total; len++)
		path[len] = len % 100 == 99 && len + 1 < total ? '/' : 'p';
	path[len] = '\0';
}

/* XSA-323: a path is too long or not, however it is given; what exists can be listed and read. */
static void path_lengths(void **state)
{
	static const unsigned lens[] = { 2047, 2048, 2049, 3071, 3072, 3073 };
	char path[3200], whole[3300];
	const unsigned home = 16; /* "/local/domain/1/" */
	unsigned i;
	int rel, ab;

	/* what a relative path may have, an absolute one into the same directory may have as well */
	S->quota.nodes = 100000;
	for (i = 0; i < 6; i++) {
		build_path(path, "data/", lens[i]);
		snprintf(whole, sizeof(whole), "/local/domain/1/%s", path);
		rel = t_mkdir(a, 0, path);
		ab = t_mkdir(a, 0, whole);
		assert_int_equal(rel, ab);
		assert_int_equal(rel, lens[i] <= 2048 ? 0 : EINVAL);
		assert_int_equal(t_watch(a, path, "t"), rel);
		assert_int_equal(t_read(tool, 0, whole), rel);
		if (rel == 0) {
			*strrchr(whole, '/') = '\0';
			assert_int_equal(t_dir(tool, 0, whole), 0);
			assert_true(tool->reply_len > 0);
		}
		build_path(whole, "/local/domain/1/data/", lens[i]);
		assert_int_equal(t_mkdir(a, 0, whole), lens[i] - home <= 2048 ? 0 : EINVAL);
		build_path(whole, "/elsewhere/", lens[i]);
		assert_int_equal(t_mkdir(tool, 0, whole), lens[i] <= 2048 ? 0 : EINVAL);
	}
}

/* XSA-324: path and token together do not fit an event: refused or not sent, nobody dies. */
static void long_tokens(void **state)
{
	char path[2100], token[4096];
	unsigned len, sum;

	build_path(path, "data/", 2000);
	assert_int_equal(t_mkdir(a, 0, path), 0);
	for (sum = 4080; sum <= 4096; sum++) {
		len = sum - 2000 - 2;
		memset(token, 't', len);
		token[len] = '\0';
		assert_int_equal(t_watch(a, path, token), 0);
		assert_int_equal(t_write(a, 0, path, ""), 0);
		assert_int_equal(t_unwatch(a, path, token), 0);
	}
	/* a short path watched, with a token that leaves no room for the long one that changes */
	memset(token, 't', 4000);
	token[4000] = '\0';
	assert_int_equal(t_watch(a, "data", token), 0);
	no_events(a);
	assert_int_equal(t_write(a, 0, path, "x"), 0);
	assert_int_equal(a->events_seen, a->nr_events);
	assert_non_null(a->c);
}

/* XSA-72: a reply that does not fit is an error, and there is a way to get it in parts. */
static void big_directories(void **state)
{
	char name[64], gen[XENSTORE_PAYLOAD_MAX + 1], off[16];
	unsigned i, seen = 0, at = 0;
	bool end = false;

	tool->quiet = true;
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "/big/child-%u", i);
		assert_int_equal(t_mkdir(tool, 0, name), 0);
	}
	assert_int_equal(t_dir(tool, 0, "/big"), E2BIG);
	gen[0] = '\0';
	while (!end) {
		const char *p, *stop;

		snprintf(off, sizeof(off), "%u", at);
		assert_int_equal(rqs(tool, XS_DIRECTORY_PART, 0, "/big", off, NULL), 0);
		if (!gen[0])
			snprintf(gen, sizeof(gen), "%s", tool->reply);
		assert_string_equal(gen, tool->reply);
		p = tool->reply + strlen(tool->reply) + 1;
		for (stop = tool->reply + tool->reply_len; p < stop; p += strlen(p) + 1) {
			if (!*p) {
				end = true;
				break;
			}
			snprintf(name, sizeof(name), "child-%u", seen++);
			assert_string_equal(p, name);
			at += (unsigned)strlen(p) + 1;
		}
	}
	assert_int_equal(seen, 5000);
	/* past the end, and not a number */
	assert_int_equal(rqs(tool, XS_DIRECTORY_PART, 0, "/big", "999999999", NULL), 0);
	assert_int_equal(rqs(tool, XS_DIRECTORY_PART, 0, "/big", "-1", NULL), EINVAL);
	/* a change in between can be seen */
	assert_int_equal(t_mkdir(tool, 0, "/big/x"), 0);
	assert_int_equal(rqs(tool, XS_DIRECTORY_PART, 0, "/big", "0", NULL), 0);
	assert_string_not_equal(gen, tool->reply);
	assert_int_equal(t_rm(tool, 0, "/big"), 0);
	check_all();
}

static void values(void **state)
{
	char body[XENSTORE_PAYLOAD_MAX];

	/* any bytes, also none, also the most there can be */
	assert_int_equal(rq(tool, XS_WRITE, 0, "/v\0a\0b\0", 7), 0);
	assert_int_equal(t_read(tool, 0, "/v"), 0);
	assert_int_equal(tool->reply_len, 4);
	assert_memory_equal(tool->reply, "a\0b\0", 4);
	assert_int_equal(rq(tool, XS_WRITE, 0, "/v", 3), 0);
	assert_int_equal(t_read(tool, 0, "/v"), 0);
	assert_int_equal(tool->reply_len, 0);
	memset(body, 'v', sizeof(body));
	memcpy(body, "/v", 3);
	assert_int_equal(rq(tool, XS_WRITE, 0, body, sizeof(body)), 0);
	assert_int_equal(t_read(tool, 0, "/v"), 0);
	assert_int_equal(tool->reply_len, sizeof(body) - 3);
	assert_int_equal(rq(tool, XS_WRITE, 0, "/v", 2), EINVAL);
}

static void perm_strings(void **state)
{
	static const char *const bad[] = { "", "n", "x1", "n-1", "n 1", "1", "n1x", "n123456", "rw1" };
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(t_perms(tool, 0, "/tool", bad[i]), EINVAL);
	assert_int_equal(rq(tool, XS_SET_PERMS, 0, "/tool\0n0", 8), EINVAL);
	assert_int_equal(rq(tool, XS_SET_PERMS, 0, "/tool", 6), EINVAL);
	assert_int_equal(t_perms(tool, 0, "/tool", "n0", "r1", "w2", "b3"), 0);
	assert_int_equal(t_getperms(tool, 0, "/tool"), 0);
	assert_memory_equal(tool->reply, "n0\0r1\0w2\0b3", 12);
	/* as many as a message holds */
	char body[XENSTORE_PAYLOAD_MAX] = "/tool";
	uint32_t len = 6;
	while (len + 3 <= sizeof(body)) {
		memcpy(body + len, "r1", 3);
		len += 3;
	}
	assert_int_equal(rq(tool, XS_SET_PERMS, 0, body, len), 0);
	assert_int_equal(t_getperms(tool, 0, "/tool"), 0);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK (512u << 10)
#else
#define STACK (64u << 10)
#endif

static void *deep_tree(void *arg)
{
	char path[2049] = "";
	unsigned depth;
	uint32_t t;

	for (depth = 0; depth < 1000; depth++)
		strcat(path, "/d");
	tool->quiet = true;
	assert_int_equal(t_watch(tool, "/", "t"), 0);
	assert_int_equal(t_mkdir(tool, 0, path), 0);
	assert_int_equal(t_write(tool, 0, path, "x"), 0);
	assert_int_equal(t_perms(tool, 0, "/d", "n1"), 0);
	assert_int_equal(t_rm(tool, 0, "/d"), 0);
	check_all();
	t = t_start(tool);
	assert_int_equal(t_mkdir(tool, t, path), 0);
	assert_int_equal(t_end(tool, t, "T"), 0);
	check_all();
	t = t_start(tool);
	assert_int_equal(t_rm(tool, t, "/d"), 0);
	assert_int_equal(t_end(tool, t, "T"), 0);
	assert_int_equal(t_read(tool, 0, "/d"), ENOENT);
	return NULL;
}

/* XSA-418: depth costs no stack. */
static void deep(void **state)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstacksize(&attr, STACK), 0);
	assert_int_equal(pthread_create(&thread, &attr, deep_tree, NULL), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
}

static void removing(void **state)
{
	assert_int_equal(t_rm(tool, 0, "/tool/none"), 0);
	assert_int_equal(t_rm(tool, 0, "/none/none"), ENOENT);
	assert_int_equal(t_rm(a, 0, "data/none"), 0);
	assert_int_equal(t_rm(a, 0, "none"), EACCES);
	assert_int_equal(t_rm(a, 0, "data"), 0);
	assert_int_equal(t_read(a, 0, "data"), ENOENT);
}

static void watch_events(void **state)
{
	assert_int_equal(t_watch(a, "data", "rel"), 0);
	assert_string_equal(event(a), "data rel");
	assert_int_equal(t_watch(a, "/local/domain/1/data", "abs"), 0);
	assert_string_equal(event(a), "/local/domain/1/data abs");
	assert_int_equal(t_write(a, 0, "data/x/y", "1"), 0);
	assert_string_equal(event(a), "data/x/y rel");
	assert_string_equal(event(a), "/local/domain/1/data/x/y abs");
	assert_string_equal(event(a), "");
	assert_int_equal(t_watch(a, "data/x/y", "leaf"), 0);
	no_events(a);
	/* a directory goes: who watched below hears of his own node, who watched above of the directory */
	assert_int_equal(t_rm(a, 0, "data/x"), 0);
	assert_string_equal(event(a), "data/x rel");
	assert_string_equal(event(a), "/local/domain/1/data/x abs");
	assert_string_equal(event(a), "data/x/y leaf");
	assert_string_equal(event(a), "");
	/* names that only begin alike are others */
	assert_int_equal(t_write(a, 0, "data/xx", "1"), 0);
	no_events(a);
	assert_int_equal(t_unwatch(a, "data", "abs"), 0); /* the same path, told apart by the token */
	assert_int_equal(t_unwatch(a, "data", "rel"), 0);
	assert_int_equal(t_write(a, 0, "data/x2", "1"), 0);
	assert_string_equal(event(a), "");
	/* a watch on what does not exist yet */
	assert_int_equal(t_watch(a, "data/later/still", "l"), 0);
	no_events(a);
	assert_int_equal(t_write(a, 0, "data/later/still", "1"), 0);
	assert_string_equal(event(a), "data/later/still l");
}

static void domains(void **state)
{
	assert_int_equal(rqs(a, XS_INTRODUCE, 0, "5", "1", "1", NULL), EACCES);
	assert_int_equal(rqs(tool, XS_INTRODUCE, 0, "5", "1", "1", NULL), ENOENT);
	S_exists[5] = true;
	assert_int_equal(t_watch(tool, "@introduceDomain", "i"), 0);
	assert_int_equal(t_watch(tool, "@releaseDomain", "r"), 0);
	no_events(tool);
	assert_int_equal(rqs(tool, XS_INTRODUCE, 0, "5", "1", "1", NULL), 0);
	assert_string_equal(event(tool), "@introduceDomain i");
	assert_int_equal(rqs(tool, XS_INTRODUCE, 0, "5", "1", "1", NULL), 0);
	assert_string_equal(event(tool), "");
	assert_int_equal(rqs(tool, XS_INTRODUCE, 0, "0", "1", "1", NULL), EINVAL);
	/* XSA-425: RELEASE with its connections open, in the middle of other things */
	struct client *c1 = client(5), *c2 = client(5);
	assert_int_equal(t_watch(c1, "@releaseDomain", "x"), 0);
	t_start(c2);
	assert_int_equal(rqs(tool, XS_RELEASE, 0, "5", NULL), 0);
	assert_string_equal(event(tool), "@releaseDomain r");
	assert_null(c1->c);
	assert_null(c2->c);
	assert_int_equal(rqs(tool, XS_RELEASE, 0, "5", NULL), ENOENT);
	assert_int_equal(rqs(tool, XS_RELEASE, 0, "0", NULL), EINVAL);
	client_free(c1);
	client_free(c2);
	end_domain(5);
	drain(tool);
	assert_string_equal(event(tool), "");
	/* shutdown is told, and again after XS_RESUME */
	lst_domain_shutdown(S, 1);
	lst_domain_shutdown(S, 1);
	drain(tool);
	assert_string_equal(event(tool), "@releaseDomain r");
	assert_string_equal(event(tool), "");
	assert_int_equal(rqs(tool, XS_RESUME, 0, "1", NULL), 0);
	lst_domain_shutdown(S, 1);
	drain(tool);
	assert_string_equal(event(tool), "@releaseDomain r");
	assert_int_equal(rqs(a, XS_RESUME, 0, "1", NULL), EACCES);
	assert_int_equal(rqs(a, XS_GET_DOMAIN_PATH, 0, "77", NULL), 0);
	assert_string_equal(a->reply, "/local/domain/77");
	assert_int_equal(rqs(a, XS_GET_DOMAIN_PATH, 0, "7x", NULL), EINVAL);
	assert_int_equal(rqs(tool, XS_IS_DOMAIN_INTRODUCED, 0, "32752", NULL), 0);
	assert_string_equal(tool->reply, "T");
}

/* XSA-233: a domain and the one that acts for it end together. */
static void stub_and_target(void **state)
{
	make_domain(tool, 2);
	make_domain(tool, 3);
	assert_int_equal(rqs(tool, XS_SET_TARGET, 0, "3", "2", NULL), 0);
	struct client *c = client(3), *d = client(2);
	t_watch(c, "/local/domain/2", "t");
	end_domain(2);
	t_read(c, 0, "/local/domain/2/data");
	end_domain(3);
	assert_null(c->c);
	assert_null(d->c);
	client_free(c);
	client_free(d);
}

static void control(void **state)
{
	assert_int_equal(rqs(a, XS_CONTROL, 0, "help", NULL), EACCES);
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "help", NULL), 0);
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "check", NULL), 0);
	assert_string_equal(tool->reply, "OK");
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "quota", NULL), 0);
	assert_non_null(strstr(tool->reply, "nodes           1000"));
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "quota", "1", NULL), 0);
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "quota", "9", NULL), ENOENT);
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "stats", NULL), 0);
	assert_int_equal(rqs(tool, XS_CONTROL, 0, "live-update", NULL), EINVAL);
	assert_int_equal(rq(tool, XS_CONTROL, 0, "", 0), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_frames, up, down),
		cmocka_unit_test_setup_teardown(violation_is_not_death, up, down),
		cmocka_unit_test_setup_teardown(pieces, up, down),
		cmocka_unit_test_setup_teardown(unknown, up, down),
		cmocka_unit_test_setup_teardown(path_grammar, up, down),
		cmocka_unit_test_setup_teardown(home_with_slash, up, down),
		cmocka_unit_test_setup_teardown(path_lengths, up, down),
		cmocka_unit_test_setup_teardown(long_tokens, up, down),
		cmocka_unit_test_setup_teardown(big_directories, up, down),
		cmocka_unit_test_setup_teardown(values, up, down),
		cmocka_unit_test_setup_teardown(perm_strings, up, down),
		cmocka_unit_test_setup_teardown(deep, up, down),
		cmocka_unit_test_setup_teardown(removing, up, down),
		cmocka_unit_test_setup_teardown(watch_events, up, down),
		cmocka_unit_test_setup_teardown(domains, up, down),
		cmocka_unit_test_setup_teardown(stub_and_target, up, down),
		cmocka_unit_test_setup_teardown(control, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
