/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spec.c: see spec.h. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include "backend/target.h"
#include "bus/store.h"
#include "spec.h"

static const struct { const char *word; enum con_kind kind; } kinds[] = {
	{ "pty", CON_PTY }, { "tcp=", CON_TCP }, { "unix=", CON_UNIX }, { "log=", CON_LOG },
};

static int number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out, struct pvb_error *err)
{
	if (pvb_parse_u64(text, min, max, out) < 0)
		return pvb_err(err, -EINVAL, "%s=%s: must be %llu..%llu", name, text, (unsigned long long)min, (unsigned long long)max);
	return 0;
}

static int option(struct con_end *e, const char *o, struct pvb_error *err)
{
	bool socket = e->kind == CON_TCP || e->kind == CON_UNIX;
	uint64_t keep;
	int rc = 0;

	if (socket && strcmp(o, "connect") == 0) {
		e->dial = true;
	} else if (socket && strcmp(o, "telnet") == 0) {
		e->telnet = true;
	} else if (e->kind == CON_LOG && strncmp(o, "rotate=", 7) == 0) {
		rc = target_size("rotate", o + 7, 4096, 1ull << 40, &e->rotate, err);
	} else if (e->kind == CON_LOG && strncmp(o, "keep=", 5) == 0) {
		rc = number("keep", o + 5, 0, CON_MAX_KEEP, &keep, err);
		if (rc == 0)
			e->keep = (unsigned)keep;
	} else {
		rc = pvb_err(err, -EINVAL, "%s: no such option of %s", o, e->text);
	}
	return rc;
}

static int check_where(const struct con_end *e, struct pvb_error *err)
{
	if (e->kind == CON_PTY)
		return e->where[0] ? pvb_err(err, -EINVAL, "%s: pty takes nothing", e->text) : 0;
	if (e->kind == CON_TCP)
		return strchr(e->where, ':') ? 0 : pvb_err(err, -EINVAL, "%s: not ADDRESS:PORT", e->text);
	if (e->where[0] != '/')
		return pvb_err(err, -EINVAL, "%s: not an absolute path", e->text);
	if (e->kind == CON_UNIX && strlen(e->where) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return pvb_err(err, -EINVAL, "%s: a socket's path has at most %zu bytes", e->text,
			       sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return 0;
}

static int end_parse(const char *word, struct con_end *e, struct pvb_error *err)
{
	char buf[sizeof(e->text)], *at = buf, *o;
	unsigned k = 0;
	int rc;

	if (strlen(word) >= sizeof(buf))
		return pvb_err(err, -EINVAL, "%.40s...: longer than %zu bytes", word, sizeof(buf) - 1);
	strcpy(buf, word);
	strcpy(e->text, word);
	o = strsep(&at, ",");
	while (k < sizeof(kinds) / sizeof(kinds[0]) && strncmp(o, kinds[k].word, strlen(kinds[k].word)) != 0)
		k++;
	if (k == sizeof(kinds) / sizeof(kinds[0]))
		return pvb_err(err, -EINVAL, "%s: not pty, tcp=, unix=, log= or rate=", word);
	e->kind = kinds[k].kind;
	o += strlen(kinds[k].word);
	if (strlen(o) >= sizeof(e->where))
		return pvb_err(err, -EINVAL, "%.40s...: longer than %zu bytes", word, sizeof(e->where) - 1);
	strcpy(e->where, o);
	e->rotate = CON_ROTATE;
	e->keep = CON_KEEP;
	rc = check_where(e, err);
	while (rc == 0 && (o = strsep(&at, ",")))
		rc = option(e, o, err);
	return rc;
}

static int add_end(struct con_spec *s, const char *word, struct pvb_error *err)
{
	int rc;

	if (s->nr_ends == CON_MAX_ENDS)
		return pvb_err(err, -E2BIG, "%s: a console is served in at most %u places", word, CON_MAX_ENDS);
	rc = end_parse(word, &s->end[s->nr_ends], err);
	for (unsigned i = 0; rc == 0 && i < s->nr_ends; i++)
		if (s->end[i].kind == s->end[s->nr_ends].kind && strcmp(s->end[i].where, s->end[s->nr_ends].where) == 0)
			rc = pvb_err(err, -EINVAL, "%s: there already", word);
	if (rc == 0)
		s->nr_ends++;
	return rc;
}

int con_spec_parse(const char *text, struct con_spec *out, struct pvb_error *err)
{
	struct con_spec s = { .rate = CON_RATE };
	bool pty = false;
	char buf[CON_TEXT_MAX], *at = buf, *word;
	int rc = 0;

	if (strlen(text) >= sizeof(buf))
		return pvb_err(err, -E2BIG, "%zu bytes, at most %zu", strlen(text), sizeof(buf) - 1);
	strcpy(buf, text);
	while (rc == 0 && (word = strsep(&at, " \t\n"))) {
		if (strncmp(word, "rate=", 5) == 0)
			rc = target_size("rate", word + 5, 1024, 1ull << 30, &s.rate, err);
		else if (*word)
			rc = add_end(&s, word, err);
	}
	for (unsigned i = 0; i < s.nr_ends; i++)
		pty |= s.end[i].kind == CON_PTY;
	if (rc == 0 && !pty)
		rc = add_end(&s, "pty", err);
	if (rc == 0)
		*out = s;
	return rc;
}

/* A name is dom0's word, but not one about paths. */
static void put_name(const char *name, char *out, size_t len)
{
	size_t n = 0;

	for (; *name && n + 1 < len; name++, n++)
		out[n] = isalnum((unsigned char)*name) || strchr("-+_", *name) || (*name == '.' && n) ? *name : '_';
	out[n] = 0;
}

int con_spec_expand(const char *text, const char *name, uint32_t domid, char out[CON_TEXT_MAX], struct pvb_error *err)
{
	size_t n = 0;

	for (out[0] = 0; *text; text++) {
		char part[128] = { *text };

		if (*text == '%') {
			text++;
			if (*text == 'n')
				put_name(name, part, sizeof(part));
			else if (*text == 'd')
				snprintf(part, sizeof(part), "%u", domid);
			else
				return pvb_err(err, -EINVAL, "%%%c: not %%n or %%d", *text);
		}
		if (n + strlen(part) >= CON_TEXT_MAX)
			return pvb_err(err, -E2BIG, "for domain %u longer than %u bytes", domid, CON_TEXT_MAX - 1);
		n += (size_t)snprintf(out + n, CON_TEXT_MAX - n, "%s", part);
	}
	return 0;
}
