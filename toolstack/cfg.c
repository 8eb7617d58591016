// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading a configuration and looking its values up.  Acts on no key. */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cfg.h"
#include "cfgtext.h"
#ifdef HAVE_XL
#include <libxlutil.h>
#endif

struct cfg {
	char *name, *source;
	size_t len;
	struct cfg_text text;
#ifdef HAVE_XL
	XLU_Config *xlu;
	FILE *report;             /* libxlutil's messages; it keeps the stream */
	char *report_text;
	size_t report_len;
#else
	struct cfg_setting *merged; /* one per key, lists and strings joined */
	unsigned nr_merged;
#endif
};

static int bad_value(const struct cfg *c, const char *key, int code, const char *what, struct pvb_error *err)
{
	return pvb_err(err, code, "%s: %s: %s", c->name, key, what);
}

#ifdef HAVE_XL
/* --- values by libxlutil ----------------------------------------------------------------------------- */

static int load(struct cfg *c, struct pvb_error *err)
{
	char *nl;
	int r;

	c->report = open_memstream(&c->report_text, &c->report_len);
	c->xlu = c->report ? xlu_cfg_init(c->report, c->name) : NULL;
	if (!c->xlu)
		return pvb_err(err, -ENOMEM, "%s: out of memory", c->name);
	r = xlu_cfg_readdata(c->xlu, c->source, (int)c->len);
	if (!r)
		return 0;
	fflush(c->report);
	nl = strchr(c->report_text, '\n');
	if (nl)
		*nl = '\0';
	return pvb_err(err, -EINVAL, "%s", *c->report_text ? c->report_text : "configuration refused by libxlutil");
}

static void unload(struct cfg *c)
{
	if (c->xlu)
		xlu_cfg_destroy(c->xlu);
	if (c->report)
		fclose(c->report);
	free(c->report_text);
}

int cfg_string(const struct cfg *c, const char *key, const char **out, struct pvb_error *err)
{
	const char *v;
	int r = xlu_cfg_get_string(c->xlu, key, &v, 1);

	if (r == ESRCH)
		return -ENOENT;
	if (r)
		return bad_value(c, key, -EINVAL, "a list, where one value is wanted", err);
	*out = v;
	return 0;
}

bool cfg_is_list(const struct cfg *c, const char *key)
{
	XLU_ConfigList *l;

	return xlu_cfg_get_list(c->xlu, key, &l, NULL, 1) == 0;
}

int cfg_list_len(const struct cfg *c, const char *key, unsigned *nr, struct pvb_error *err)
{
	XLU_ConfigList *l;
	int n, r = xlu_cfg_get_list(c->xlu, key, &l, &n, 1);

	if (r == ESRCH)
		return -ENOENT;
	if (r)
		return bad_value(c, key, -EINVAL, "one value, where a list is wanted", err);
	*nr = (unsigned)n;
	return 0;
}

int cfg_list_item(const struct cfg *c, const char *key, unsigned i, const char **out, struct pvb_error *err)
{
	XLU_ConfigList *l;
	const char *v = NULL;

	if (xlu_cfg_get_list(c->xlu, key, &l, NULL, 1) == 0)
		v = xlu_cfg_get_listitem(l, (int)i);
	if (!v)
		return bad_value(c, key, -EINVAL, "a list inside the list, where a string is wanted", err);
	*out = v;
	return 0;
}

#else
/* --- values by our own parser ------------------------------------------------------------------------ */

static struct cfg_setting *find(const struct cfg *c, const char *key)
{
	for (unsigned i = 0; i < c->nr_merged; i++)
		if (strcmp(c->merged[i].key, key) == 0)
			return &c->merged[i];
	return NULL;
}

static int append_list(struct cfg_value *to, const struct cfg_value *from)
{
	struct cfg_value *items = reallocarray(to->items, to->nr + from->nr + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	memcpy(items + to->nr, from->items, from->nr * sizeof(*items));
	to->items = items;
	to->nr += from->nr;
	return 0;
}

/* Join "+=" settings as libxlutil does.  Items and texts stay owned by c->text, except joined texts. */
static int merge(struct cfg *c, const struct cfg_setting *s, struct pvb_error *err)
{
	struct cfg_setting *m = find(c, s->key);
	char *joined;

	if (!m) {
		m = &c->merged[c->nr_merged++];
		m->key = s->key;
	}
	if (s->add && (m->value.text || m->value.is_list) && m->value.is_list != s->value.is_list)
		return pvb_err(err, -EINVAL, "%s:%u: can not join a list and a single value", c->name, s->line);
	m->line = s->line;
	if (!s->add) {
		free(m->value.text);
		free(m->value.items);
		memset(&m->value, 0, sizeof(m->value));
	}
	m->value.is_list = s->value.is_list;
	if (s->value.is_list)
		return append_list(&m->value, &s->value);
	if (asprintf(&joined, "%s%s", m->value.text ? m->value.text : "", s->value.text) < 0)
		return -ENOMEM;
	free(m->value.text);
	m->value.text = joined;
	return 0;
}

static int load(struct cfg *c, struct pvb_error *err)
{
	int rc = 0;

	c->merged = calloc(c->text.nr + 1, sizeof(*c->merged));
	if (!c->merged)
		return pvb_err(err, -ENOMEM, "%s: out of memory", c->name);
	for (unsigned i = 0; i < c->text.nr && !rc; i++)
		rc = merge(c, &c->text.settings[i], err);
	return rc;
}

static void unload(struct cfg *c)
{
	for (unsigned i = 0; i < c->nr_merged; i++) {
		free(c->merged[i].value.text);
		free(c->merged[i].value.items);
	}
	free(c->merged);
}

int cfg_string(const struct cfg *c, const char *key, const char **out, struct pvb_error *err)
{
	const struct cfg_setting *s = find(c, key);

	if (!s)
		return -ENOENT;
	if (s->value.is_list)
		return bad_value(c, key, -EINVAL, "a list, where one value is wanted", err);
	*out = s->value.text;
	return 0;
}

bool cfg_is_list(const struct cfg *c, const char *key)
{
	const struct cfg_setting *s = find(c, key);

	return s && s->value.is_list;
}

int cfg_list_len(const struct cfg *c, const char *key, unsigned *nr, struct pvb_error *err)
{
	const struct cfg_setting *s = find(c, key);

	if (!s)
		return -ENOENT;
	if (!s->value.is_list)
		return bad_value(c, key, -EINVAL, "one value, where a list is wanted", err);
	*nr = s->value.nr;
	return 0;
}

int cfg_list_item(const struct cfg *c, const char *key, unsigned i, const char **out, struct pvb_error *err)
{
	const struct cfg_setting *s = find(c, key);

	if (!s || i >= s->value.nr || s->value.items[i].is_list)
		return bad_value(c, key, -EINVAL, "a list inside the list, where a string is wanted", err);
	*out = s->value.items[i].text;
	return 0;
}
#endif

/* --- what both share --------------------------------------------------------------------------------- */

bool cfg_is_set(const struct cfg *c, const char *key)
{
	for (unsigned i = 0; i < c->text.nr; i++)
		if (strcmp(c->text.settings[i].key, key) == 0)
			return true;
	return false;
}

int cfg_long(const struct cfg *c, const char *key, long min, long max, long *out, struct pvb_error *err)
{
	const char *text;
	char *end;
	long v;
	int rc = cfg_string(c, key, &text, err);

	if (rc)
		return rc;
	errno = 0;
	v = strtol(text, &end, 0);
	if (end == text || *end || isspace((unsigned char)*text))
		return pvb_err(err, -EINVAL, "%s: %s: \"%s\" is not a number", c->name, key, text);
	if (errno || v < min || v > max)
		return pvb_err(err, -ERANGE, "%s: %s: %s is not from %ld to %ld", c->name, key, text, min, max);
	*out = v;
	return 0;
}

int cfg_bool(const struct cfg *c, const char *key, bool *out, struct pvb_error *err)
{
	long v;
	int rc = cfg_long(c, key, 0, 1, &v, err);

	if (!rc)
		*out = v;
	return rc;
}

int cfg_from_text(struct cfg **out, const char *name, const char *text, size_t len, struct pvb_error *err)
{
	struct cfg *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (!c)
		return pvb_err(err, rc, "%s: out of memory", name);
	c->name = strdup(name);
	c->source = malloc(len + 2);
	if (!c->name || !c->source) {
		pvb_err(err, rc, "%s: out of memory", name);
	} else {
		memcpy(c->source, text, len);
		if (len && c->source[len - 1] != '\n')
			c->source[len++] = '\n';
		c->source[len] = '\0';
		c->len = len;
		rc = cfg_text_parse(&c->text, name, c->source, len, err);
		if (!rc)
			rc = load(c, err);
	}
	if (rc)
		cfg_free(c);
	else
		*out = c;
	return rc;
}

void cfg_free(struct cfg *c)
{
	if (!c)
		return;
	unload(c);
	cfg_text_free(&c->text);
	free(c->name);
	free(c->source);
	free(c);
}

const char *cfg_name(const struct cfg *c)
{
	return c->name;
}

const char *cfg_source(const struct cfg *c, size_t *len)
{
	*len = c->len;
	return c->source;
}

static int slurp(FILE *f, const char *file, FILE *to, struct pvb_error *err)
{
	char buf[4096];
	size_t n, total = 0;

	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		total += n;
		if (total > CFG_MAX_TEXT)
			return pvb_err(err, -E2BIG, "%s: more than %u bytes", file, CFG_MAX_TEXT);
		fwrite(buf, 1, n, to);
	}
	return ferror(f) ? pvb_err(err, -EIO, "%s: %s", file, strerror(errno)) : 0;
}

static int read_file(const char *file, FILE *to, struct pvb_error *err)
{
	FILE *f;
	int rc;

	if (!file || strcmp(file, "/dev/null") == 0)
		return 0;
	if (strcmp(file, "-") == 0) {
		rc = slurp(stdin, "standard input", to, err);
	} else {
		f = fopen(file, "re");
		if (!f)
			return pvb_err(err, -errno, "%s: %s", file, strerror(errno));
		rc = slurp(f, file, to, err);
		fclose(f);
	}
	fputc('\n', to);
	return rc;
}

/* key=value as a line of the file.  What is no list, number or quoted string gets quotes. */
static int add_setting(const char *s, FILE *to, struct pvb_error *err)
{
	const char *eq = strchr(s, '='), *v;

	if (!eq || eq == s)
		return pvb_err(err, -EINVAL, "\"%s\" is not KEY=VALUE", s);
	if (strchr(s, '\n'))
		return pvb_err(err, -EINVAL, "setting \"%s\" has more than one line", s);
	v = eq + 1 + strspn(eq + 1, " \t");
	if (*v == '[' || *v == '"' || *v == '\'' || (*v && v[strspn(v, "0123456789")] == '\0')) {
		fprintf(to, "%s\n", s);
		return 0;
	}
	fprintf(to, "%.*s\"", (int)(eq + 1 - s), s);
	for (; *v; v++) {
		if (*v == '"' || *v == '\\')
			fputc('\\', to);
		fputc(*v, to);
	}
	fputs("\"\n", to);
	return 0;
}

int cfg_read(struct cfg **out, const char *file, char *const *settings, unsigned nr_settings, struct pvb_error *err)
{
	const char *name = !file || strcmp(file, "/dev/null") == 0 ? "command line" :
			   strcmp(file, "-") == 0 ? "standard input" : file;
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	int rc;

	if (!to)
		return pvb_err(err, -ENOMEM, "%s: out of memory", name);
	rc = read_file(file, to, err);
	for (unsigned i = 0; i < nr_settings && !rc; i++)
		rc = add_setting(settings[i], to, err);
	if (fclose(to) && !rc)
		rc = pvb_err(err, -ENOMEM, "%s: out of memory", name);
	if (!rc)
		rc = cfg_from_text(out, name, text, len, err);
	free(text);
	return rc;
}

/* --- keys -------------------------------------------------------------------------------------------- */

/* How far apart two words are: 2 for a letter too many, too few or two swapped, 3 for a wrong one. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][64], nb = (unsigned)strlen(b);

	if (nb > 63)
		return UINT_MAX;
	for (unsigned j = 0; j <= nb; j++)
		rows[0][j] = 2 * j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned *row = rows[i % 3], *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];

		row[0] = 2 * i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned best = up[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 3);

			if (up[j] + 2 < best)
				best = up[j] + 2;
			if (row[j - 1] + 2 < best)
				best = row[j - 1] + 2;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 2 < best)
				best = up2[j - 2] + 2;
			row[j] = best;
		}
	}
	return rows[strlen(a) % 3][nb];
}

const char *cfg_suggest(const char *key)
{
	size_t len = strlen(key);
	unsigned limit = len < 5 ? 3 : len < 10 ? 5 : 7, best_d = limit + 1;
	const char *best = NULL;

	if (len < 2 || len > 63)
		return NULL;
	for (const struct cfg_key *k = cfg_keys; k->name; k++) {
		unsigned d = distance(key, k->name);

		if (d < best_d) {
			best_d = d;
			best = k->name;
		}
	}
	return best;
}

static const struct cfg_key *find_key(const char *name)
{
	for (const struct cfg_key *k = cfg_keys; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

unsigned cfg_check_keys(const struct cfg *c, unsigned host, void (*report)(void *arg, const char *text), void *arg)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < c->text.nr; i++) {
		const struct cfg_setting *s = &c->text.settings[i];
		const struct cfg_key *k = find_key(s->key);
		const char *like;
		char text[512];

		if (k && (k->hosts & host))
			continue;
		like = k ? NULL : cfg_suggest(s->key);
		if (k && k->hosts)
			snprintf(text, sizeof(text), "%s:%u: key \"%s\" is only for --host %s", c->name, s->line,
				 s->key, k->hosts & CFG_XEN ? "xen" : "local");
		else if (k)
			snprintf(text, sizeof(text), "%s:%u: key \"%s\" is known to xl but pvl does nothing with it",
				 c->name, s->line, s->key);
		else
			snprintf(text, sizeof(text), "%s:%u: unknown key \"%.80s\"%s%s%s", c->name, s->line, s->key,
				 like ? "; did you mean \"" : "", like ? like : "", like ? "\"?" : "");
		report(arg, text);
		nr++;
	}
	return nr;
}
