/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Targets: takes the text apart and checks every key it knows by type.  Which keys there are says the
 * provider, the table below and nobody else; what they mean is their users' business. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/provider.h"
#include "backend/target.h"

#define TARGET_MAX_TEXT 4096

static const char *const words_data[] = { "auto", "copy", "map", NULL };
static const char *const words_off_on[] = { "off", "on", NULL };
static const char *const words_policy[] = { "retry", "report", "stop", "ignore", NULL };

/* The keys every target may have. words: one of them; max: a number; neither: its user parses it. */
static const struct target_key common_keys[] = {
	{ .name = "fault", .repeats = true },
	{ .name = "delay", .repeats = true },
	{ .name = "data", .words = words_data },
	{ .name = "persistent", .words = words_off_on },
	{ .name = "queues", .min = 1, .max = 8 },
	{ .name = "ring-order", .min = 0, .max = 4 },
	{ .name = "indirect", .min = 0, .max = 256 },
	{ .name = "stable-writes", .words = words_off_on },
	{ .name = "on-enospc", .words = words_policy },
	{ .name = "on-flush-error", .words = words_policy },
	{ .name = "on-io-error", .words = words_policy },
	{ .name = "shared", .words = words_off_on },
};

static bool find_provider(const char *name, const char *const **keys)
{
	const struct provider *prov = provider_find(name);

	if (!prov || prov->wrapper)
		return false;
	*keys = prov->keys;
	return true;
}

static const struct target_grammar disks = {
	.noun = "provider", .path = "file", .find = find_provider,
	.common = common_keys, .nr_common = sizeof(common_keys) / sizeof(common_keys[0]),
};

static const struct target_key *find_common(const struct target_grammar *g, const char *key)
{
	for (unsigned i = 0; i < g->nr_common; i++)
		if (!strcmp(g->common[i].name, key))
			return &g->common[i];
	return NULL;
}

static bool in_list(const char *const *words, const char *word)
{
	for (; words && *words; words++)
		if (!strcmp(*words, word))
			return true;
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A new string of the len bytes at text with %XX replaced. */
static int decode(const char *text, size_t len, char **out, struct pvb_error *err)
{
	char *s = malloc(len + 1), *to = s;

	if (!s)
		return pvb_err(err, -ENOMEM, "target: no memory for %zu bytes", len);
	for (size_t i = 0; i < len; i++) {
		int hi, lo;

		if (text[i] != '%') {
			*to++ = text[i];
			continue;
		}
		hi = len - i > 2 ? hex_digit(text[i + 1]) : -1;
		lo = len - i > 2 ? hex_digit(text[i + 2]) : -1;
		if (hi < 0 || lo < 0 || (hi | lo) == 0) {
			free(s);
			return pvb_err(err, -EINVAL, "target: \"%.*s\": %% needs two hexadecimal digits, not 00",
				       (int)len, text);
		}
		*to++ = (char)(hi << 4 | lo);
		i += 2;
	}
	*to = 0;
	*out = s;
	return 0;
}

const char *target_get(const struct target *t, const char *key)
{
	for (unsigned i = 0; i < t->nr_options; i++)
		if (!strcmp(t->options[i].key, key))
			return t->options[i].value;
	return NULL;
}

static int check_option(const struct target *t, const char *const *keys, const char *key, struct pvb_error *err)
{
	const struct target_key *common = find_common(t->grammar, key);
	uint64_t number;
	int rc = 0;

	if (!common && !in_list(keys, key))
		return pvb_err(err, -EINVAL, "target \"%s\": %s %s has no key \"%s\"", t->text, t->grammar->noun,
			       t->provider, key);
	if (common && common->words)
		rc = target_choice(t, key, common->words, 0, err);
	else if (common && common->max)
		rc = target_number(t, key, common->min, common->max, 0, &number, err);
	return rc < 0 ? rc : 0;
}

static int add_option(struct target *t, const char *const *keys, const char *text, size_t len, struct pvb_error *err)
{
	const char *equal = memchr(text, '=', len);
	const struct target_key *common;
	struct target_option *o;
	int rc;

	if (!equal || equal == text)
		return pvb_err(err, -EINVAL, "target \"%s\": \"%.*s\" is not key=value", t->text, (int)len, text);
	o = realloc(t->options, (t->nr_options + 1) * sizeof(*o));
	if (!o)
		return pvb_err(err, -ENOMEM, "target \"%s\": no memory", t->text);
	t->options = o;
	o += t->nr_options;
	*o = (struct target_option){ 0 };
	rc = decode(text, equal - text, &o->key, err);
	if (!rc)
		rc = decode(equal + 1, text + len - equal - 1, &o->value, err);
	if (rc) {
		free(o->key);
		return rc;
	}
	common = find_common(t->grammar, o->key);
	if (target_get(t, o->key) && !(common && common->repeats))
		rc = pvb_err(err, -EINVAL, "target \"%s\": key \"%s\" is there twice", t->text, o->key);
	t->nr_options++;
	return rc ? rc : check_option(t, keys, o->key, err);
}

static int parse_options(struct target *t, const char *const *keys, const char *text, struct pvb_error *err)
{
	for (;;) {
		size_t len = strcspn(text, "&");
		int rc = add_option(t, keys, text, len, err);

		if (rc)
			return rc;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

static int parse(struct target *t, struct pvb_error *err)
{
	const struct target_grammar *g = t->grammar;
	const char *text = t->text, *query, *arg;
	const char *const *keys = NULL;
	size_t len;
	int rc;

	if (text[0] == '/' && g->path) {
		/* A plain path: no options, no %XX, so that any file name there can be is written as it is. */
		t->provider = strdup(g->path);
		t->arg = strdup(text);
		return t->provider && t->arg ? 0 : pvb_err(err, -ENOMEM, "target \"%s\": no memory", text);
	}
	len = g->bare ? strcspn(text, ":?") : strcspn(text, ":");
	if (!text[len] && !g->bare)
		return pvb_err(err, -EINVAL, "target \"%s\" is neither an absolute path nor PROVIDER:ARG", text);
	t->provider = strndup(text, len);
	if (!t->provider)
		return pvb_err(err, -ENOMEM, "target \"%s\": no memory", text);
	if (!g->find(t->provider, &keys))
		return pvb_err(err, -EINVAL, "target \"%s\": no %s \"%s\"", text, g->noun, t->provider);
	arg = text + len + (text[len] == ':');
	len = strcspn(arg, "?");
	query = arg[len] ? arg + len : NULL;
	rc = decode(arg, len, &t->arg, err);
	if (rc || !query)
		return rc;
	return parse_options(t, keys, query + 1, err);
}

int target_parse(const char *text, struct target **out, struct pvb_error *err)
{
	return target_parse_as(text, &disks, out, err);
}

int target_parse_as(const char *text, const struct target_grammar *g, struct target **out, struct pvb_error *err)
{
	struct target *t;
	int rc;

	if (strlen(text) > TARGET_MAX_TEXT)
		return pvb_err(err, -ENAMETOOLONG, "target: %zu bytes long, at most %d", strlen(text), TARGET_MAX_TEXT);
	t = calloc(1, sizeof(*t));
	if (t) {
		t->grammar = g;
		t->text = strdup(text);
	}
	if (!t || !t->text) {
		target_free(t);
		return pvb_err(err, -ENOMEM, "target \"%s\": no memory", text);
	}
	rc = parse(t, err);
	if (rc) {
		target_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->nr_options; i++) {
		free(t->options[i].key);
		free(t->options[i].value);
	}
	free(t->options);
	free(t->text);
	free(t->provider);
	free(t->arg);
	free(t);
}

int target_default(struct target *t, const char *key, const char *value, struct pvb_error *err)
{
	const char *const *keys = NULL;
	struct target_option *o;

	t->grammar->find(t->provider, &keys);
	if (target_get(t, key) || (!find_common(t->grammar, key) && !in_list(keys, key)))
		return 0;
	o = realloc(t->options, (t->nr_options + 1) * sizeof(*o));
	if (!o)
		return pvb_err(err, -ENOMEM, "target \"%s\": no memory", t->text);
	t->options = o;
	o += t->nr_options;
	o->key = strdup(key);
	o->value = strdup(value);
	if (!o->key || !o->value) {
		free(o->key);
		free(o->value);
		return pvb_err(err, -ENOMEM, "target \"%s\": no memory", t->text);
	}
	t->nr_options++;
	return check_option(t, keys, key, err);
}

/* Decimal digits only: no sign, no blank, no octal. The end of them in *end. */
static int parse_digits(const char *text, uint64_t *number, const char **end)
{
	uint64_t n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -ERANGE;
	if (p == text)
		return -EINVAL;
	*number = n;
	*end = p;
	return 0;
}

int target_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *bytes, struct pvb_error *err)
{
	static const char units[] = "KMGTP";
	const char *end = text, *unit;
	uint64_t n = 0;
	unsigned shift = 0;
	int rc = parse_digits(text, &n, &end);

	if (!rc && *end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			rc = -EINVAL;
		else
			shift = 10 * (unsigned)(unit - units + 1);
	}
	if (!rc && n > UINT64_MAX >> shift)
		rc = -ERANGE;
	if (rc == -EINVAL)
		return pvb_err(err, rc, "%s=%s is not a size (bytes, or with K, M, G, T or P)", what, text);
	if (rc || n << shift < min || n << shift > max)
		return pvb_err(err, -ERANGE, "%s=%s: from %" PRIu64 " to %" PRIu64 " bytes", what, text, min, max);
	*bytes = n << shift;
	return 0;
}

int target_choice(const struct target *t, const char *key, const char *const *words, int def, struct pvb_error *err)
{
	const char *value = target_get(t, key);
	char list[120] = "";

	if (!value)
		return def;
	for (int i = 0; words[i]; i++) {
		size_t used = strlen(list);

		if (!strcmp(words[i], value))
			return i;
		snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", words[i]);
	}
	return pvb_err(err, -EINVAL, "target \"%s\": %s=%s: one of %s", t->text, key, value, list);
}

int target_number(const struct target *t, const char *key, uint64_t min, uint64_t max, uint64_t def, uint64_t *out,
		  struct pvb_error *err)
{
	const char *value = target_get(t, key), *end;
	uint64_t n;

	if (!value) {
		*out = def;
		return 0;
	}
	if (parse_digits(value, &n, &end) || *end || n < min || n > max)
		return pvb_err(err, -EINVAL, "target \"%s\": %s=%s: a number from %" PRIu64 " to %" PRIu64, t->text,
			       key, value, min, max);
	*out = n;
	return 0;
}
