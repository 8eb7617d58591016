/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The target grammar: what is taken apart how, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/provider.h"
#include "backend/target.h"

static struct target *must_parse(const char *text)
{
	struct pvb_error err = { 0 };
	struct target *t = NULL;

	if (target_parse(text, &t, &err))
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(t->text, text);
	return t;
}

static void plain_path(void **state)
{
	static const char *const paths[] = { "/img", "/a?cache=direct", "/100%", "/x:y&z=%41", "/" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct target *t = must_parse(paths[i]);

		assert_string_equal(t->provider, "file");
		assert_string_equal(t->arg, paths[i]);
		assert_int_equal(t->nr_options, 0);
		target_free(t);
	}
}

static void options(void **state)
{
	struct target *t = must_parse("file:/a%3fb%26%2525?cache=direct&data=map&fault=read:EIO&fault=flush:EIO@1");

	assert_string_equal(t->arg, "/a?b&%25");
	assert_int_equal(t->nr_options, 4);
	assert_string_equal(target_get(t, "cache"), "direct");
	assert_string_equal(target_get(t, "data"), "map");
	assert_string_equal(target_get(t, "fault"), "read:EIO");
	assert_string_equal(t->options[3].value, "flush:EIO@1");
	assert_null(target_get(t, "queues"));
	target_free(t);
	t = must_parse("null:size=1G?queues=8&ring-order=0&indirect=256&on-enospc=stop&shared=on&persistent=off");
	assert_string_equal(t->arg, "size=1G");
	target_free(t);
}

static void refused(void **state)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "", "neither" }, { "img", "neither" }, { "./img", "neither" }, { "ceph:x", "no provider \"ceph\"" },
		{ "fault:x", "no provider" }, { ":x", "no provider" }, { "file:/a%4", "hexadecimal" },
		{ "file:/a%", "hexadecimal" }, { "file:/a%00", "hexadecimal" }, { "file:/a%zz", "hexadecimal" },
		{ "file:/a?", "key=value" }, { "file:/a?cache", "key=value" }, { "file:/a?=x", "key=value" },
		{ "file:/a?cache=direct&", "key=value" }, { "file:/a?chache=direct", "no key \"chache\"" },
		{ "null:size=1G?cache=direct", "no key \"cache\"" }, { "file:/a?cache=direct&cache=auto", "twice" },
		{ "null:size=1G?queues=9", "queues=9" }, { "null:size=1G?queues=0", "queues=0" },
		{ "null:size=1G?queues=-1", "queues=-1" }, { "null:size=1G?queues= 1", "queues= 1" },
		{ "null:size=1G?queues=", "queues=" }, { "null:size=1G?ring-order=5", "0 to 4" },
		{ "null:size=1G?indirect=18446744073709551617", "indirect" }, { "null:size=1G?data=zero", "auto, copy, map" },
		{ "null:size=1G?on-io-error=panic", "retry, report, stop, ignore" },
		{ "null:size=1G?persistent=yes", "off, on" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target *t = (struct target *)1;
		struct pvb_error err = { 0 };

		if (!target_parse(cases[i].text, &t, &err))
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_ptr_equal(t, (struct target *)1);
		assert_true(err.code < 0);
		if (!strstr(err.text, cases[i].says))
			fail_msg("\"%s\": %s", cases[i].text, err.text);
	}
}

static void refused_by_prepare(void **state)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "null:1G", "size=BYTES" }, { "null:size=", "not a size" }, { "null:size=1X", "not a size" },
		{ "null:size=1KK", "not a size" }, { "null:size=100", "from 512" }, { "null:size=513", "multiple of 512" },
		{ "null:size=99999999999P", "bytes" }, { "mem:size=-1", "not a size" }, { "mem:size=18446744073709551616", "bytes" },
		{ "file:/tmp?fault=read", "OP:ERRNO" }, { "null:size=1M?fault=eat:EIO", "OP:ERRNO" },
		{ "null:size=1M?fault=read:EFUNNY", "EFUNNY" }, { "null:size=1M?fault=read:EIO@", "@N" },
		{ "null:size=1M?fault=read:EIO@1+", "@N" }, { "null:size=1M?fault=read:EIO@+1", "@N" },
		{ "null:size=1M?fault=read:EIO@1+2+3", "@N" }, { "null:size=1M?fault=read:EIO@1x", "@N" },
		{ "null:size=1M?delay=read", "OP:TIME" }, { "null:size=1M?delay=read:10", "time" },
		{ "null:size=1M?delay=read:ms", "time" }, { "null:size=1M?delay=read:2h", "time" },
		{ "null:size=1M?delay=read:3601s", "time" }, { "null:size=1M?delay=all:-1s", "time" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target *t = must_parse(cases[i].text);
		int fds[PROVIDER_MAX_FDS];
		struct pvb_error err = { 0 };
		char identity[64];
		unsigned nr_fds;

		if (!disk_prepare(t, true, fds, &nr_fds, identity, &err))
			fail_msg("\"%s\" was taken", cases[i].text);
		if (!strstr(err.text, cases[i].says))
			fail_msg("\"%s\": %s", cases[i].text, err.text);
		target_free(t);
	}
}

static void sizes(void **state)
{
	uint64_t n = 7;

	assert_int_equal(target_size("x", "4096", 0, UINT64_MAX, &n, NULL), 0);
	assert_int_equal(n, 4096);
	assert_int_equal(target_size("x", "2T", 0, UINT64_MAX, &n, NULL), 0);
	assert_int_equal(n, 2ULL << 40);
	assert_int_equal(target_size("x", "18446744073709551615", 0, UINT64_MAX, &n, NULL), 0);
	assert_int_equal(n, UINT64_MAX);
	assert_int_equal(target_size("x", "16383P", 0, UINT64_MAX, &n, NULL), 0);
	n = 7;
	assert_int_equal(target_size("x", "16384P", 0, UINT64_MAX, &n, NULL), -ERANGE);
	assert_int_equal(target_size("x", "0x10", 0, UINT64_MAX, &n, NULL), -EINVAL);
	assert_int_equal(target_size("x", "+1", 0, UINT64_MAX, &n, NULL), -EINVAL);
	assert_int_equal(target_size("x", "1k", 0, UINT64_MAX, &n, NULL), -EINVAL);
	assert_int_equal(target_size("x", "1M", 0, 1 << 19, &n, NULL), -ERANGE);
	assert_int_equal(n, 7);
}

static void defaults(void **state)
{
	struct target *t = must_parse("/img");

	assert_int_equal(target_default(t, "direct-io-safe", "on", NULL), 0);
	assert_string_equal(target_get(t, "direct-io-safe"), "on");
	assert_int_equal(target_default(t, "direct-io-safe", "off", NULL), 0);
	assert_string_equal(target_get(t, "direct-io-safe"), "on");
	target_free(t);
	t = must_parse("null:size=1M");
	assert_int_equal(target_default(t, "direct-io-safe", "on", NULL), 0); /* not for null: left out */
	assert_null(target_get(t, "direct-io-safe"));
	target_free(t);
}

/* Whatever the text is, parsing ends, with a target or an error. */
static void noise(void **state)
{
	static const char *const starts[] = { "null:", "file:/a?", "mem:size=1M?", "" };
	static const char alphabet[] = "/:?&=%@+0123456789abfilenumsz";
	char text[64];
	unsigned seed = 1;

	for (int i = 0; i < 200000; i++) {
		struct target *t = NULL;
		unsigned len = 0, start = (seed >> 16) % 4;

		len += (unsigned)sprintf(text, "%s", starts[start]);
		for (unsigned n = (seed >> 8) % 40; n; n--) {
			seed = seed * 1103515245 + 12345;
			text[len++] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		text[len] = 0;
		seed = seed * 1103515245 + 12345;
		if (!target_parse(text, &t, NULL))
			target_free(t);
	}
}

/* --- the man page ----------------------------------------------------------------------------------- */

static char *read_page(void)
{
	const char *dir = getenv("abs_top_srcdir");
	char name[400], *text;
	size_t len;
	FILE *f;

	snprintf(name, sizeof(name), "%s/man/pvbus-providers.7.md", dir ? dir : "..");
	f = fopen(name, "re");
	if (!f) {
		print_message("%s is not there\n", name);
		skip();
	}
	text = calloc(1, 1 << 17);
	len = fread(text, 1, (1 << 17) - 1, f);
	assert_true(len > 0);
	fclose(f);
	return text;
}

/* A section for each provider, in the order of the list, and in it a term for each of its keys. */
static void man_page(void **state)
{
	char *page = read_page(), *pos = page;

	for (const struct provider *const *p = providers; *p; p++) {
		char head[40], term[40], *next;
		size_t n = (size_t)snprintf(head, sizeof(head), "\n# %s\n", (*p)->name);

		for (size_t i = 0; i < n; i++)
			if (head[i] >= 'a' && head[i] <= 'z')
				head[i] -= 'a' - 'A';
		pos = strstr(pos, head);
		if (!pos)
			fail_msg("no section %s, or not in the order of the list", (*p)->name);
		pos++;
		next = strstr(pos, "\n# ");
		assert_non_null(next);
		*next = 0;
		for (const char *const *key = (*p)->keys; key && *key; key++) {
			snprintf(term, sizeof(term), "\n%s=", *key);
			if (!strstr(pos, term) && !strstr(pos, "As QCOW2"))
				fail_msg("section %s does not tell of key %s", (*p)->name, *key);
		}
		*next = '\n';
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_path), cmocka_unit_test(options), cmocka_unit_test(refused),
		cmocka_unit_test(refused_by_prepare), cmocka_unit_test(sizes), cmocka_unit_test(defaults),
		cmocka_unit_test(noise), cmocka_unit_test(man_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
