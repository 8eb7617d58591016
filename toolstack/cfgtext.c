// SPDX-License-Identifier: GPL-2.0-or-later
/* Lexer and parser for the text of xl.cfg files.  Knows no key. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cfgtext.h"

struct lex {
	const char *name, *p, *end;
	unsigned line;
	struct pvb_error *err;
};

static int bad(struct lex *l, const char *what)
{
	return pvb_err(l->err, -EINVAL, "%s:%u: %s", l->name, l->line, what);
}

static int peek(const struct lex *l)
{
	return l->p < l->end ? (unsigned char)*l->p : -1;
}

/* Blanks and a comment; newlines too where a value may go on over lines. */
static void skip(struct lex *l, bool newlines)
{
	for (;;) {
		int c = peek(l);

		if (c == '#') {
			while (peek(l) != -1 && peek(l) != '\n')
				l->p++;
		} else if (c == ' ' || c == '\t') {
			l->p++;
		} else if (c == '\n' && newlines) {
			l->line++;
			l->p++;
		} else {
			return;
		}
	}
}

static int hex(int c)
{
	return isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What follows a backslash.  The byte, or -EINVAL. */
static int unescape(struct lex *l)
{
	static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
	int c = peek(l), v = 0;
	const char *at;

	if (c > 0 && (at = strchr(from, c))) {
		l->p++;
		return to[at - from];
	}
	if (c == 'x') {
		l->p++;
		for (int i = 0; i < 2; i++, l->p++) {
			if (peek(l) < 0 || hex(peek(l)) < 0)
				return bad(l, "\\x without two hexadecimal digits");
			v = v * 16 + hex(peek(l));
		}
	} else if (c >= '0' && c <= '7') {
		for (int i = 0; i < 3 && peek(l) >= '0' && peek(l) <= '7'; i++, l->p++)
			v = v * 8 + peek(l) - '0';
	} else {
		return bad(l, "unknown escape in a string");
	}
	return v > 0 && v < 256 ? v : bad(l, "a string can not hold this byte");
}

static int take_string(struct lex *l, char **out)
{
	int quote = *l->p++, c;
	char *buf = malloc(l->end - l->p + 1);
	size_t n = 0;

	if (!buf)
		return -ENOMEM;
	while ((c = peek(l)) != quote) {
		if (c == -1 || c == '\n' || c == 0) {
			free(buf);
			return bad(l, c == 0 ? "NUL in a string" : "string without an end");
		}
		l->p++;
		if (c == '\\' && (c = unescape(l)) < 0) {
			free(buf);
			return c;
		}
		buf[n++] = (char)c;
	}
	l->p++;
	buf[n] = '\0';
	*out = realloc(buf, n + 1);
	return *out ? 0 : -ENOMEM;
}

static int take_number(struct lex *l, char **out)
{
	const char *start = l->p;

	while (isdigit(peek(l)) || (peek(l) >= 'a' && peek(l) <= 'f') || peek(l) == 'x')
		l->p++;
	*out = strndup(start, l->p - start);
	return *out ? 0 : -ENOMEM;
}

static void free_value(struct cfg_value *v)
{
	for (unsigned i = 0; i < v->nr; i++)
		free_value(&v->items[i]);
	free(v->items);
	free(v->text);
}

static int take_value(struct lex *l, struct cfg_value *v, unsigned depth);

static int add_item(struct lex *l, struct cfg_value *list, unsigned depth)
{
	if (list->nr == list->room) {
		unsigned room = list->room ? list->room * 2 : 8;
		struct cfg_value *items = reallocarray(list->items, room, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	memset(&list->items[list->nr], 0, sizeof(*list->items));
	return take_value(l, &list->items[list->nr++], depth);
}

static int take_list(struct lex *l, struct cfg_value *v, unsigned depth)
{
	int rc;

	if (depth == CFG_MAX_DEPTH)
		return bad(l, "lists nested too deep");
	v->is_list = true;
	l->p++;
	skip(l, true);
	while (peek(l) != ']') {
		rc = add_item(l, v, depth + 1);
		if (rc)
			return rc;
		skip(l, true);
		if (peek(l) == ',') {
			l->p++;
			skip(l, true);
		} else if (peek(l) != ']') {
			return bad(l, peek(l) == -1 ? "list without an end" : "\",\" or \"]\" expected in a list");
		}
	}
	l->p++;
	return 0;
}

static int take_value(struct lex *l, struct cfg_value *v, unsigned depth)
{
	int c = peek(l);

	if (c == '[')
		return take_list(l, v, depth);
	if (c == '"' || c == '\'')
		return take_string(l, &v->text);
	if (isdigit(c))
		return take_number(l, &v->text);
	return bad(l, "a number, a quoted string or a list expected");
}

static int take_setting(struct lex *l, struct cfg_setting *s)
{
	const char *start = l->p;
	int c;

	s->line = l->line;
	while ((c = peek(l)) != -1 &&
	       ((c >= 'a' && c <= 'z') || (l->p > start && (isdigit(c) || c == '_' || c == '.'))))
		l->p++;
	if (l->p == start)
		return bad(l, "a key (small letters, digits, \"_\", \".\") expected");
	s->key = strndup(start, l->p - start);
	if (!s->key)
		return -ENOMEM;
	skip(l, false);
	if (peek(l) == '+') {
		s->add = true;
		l->p++;
	}
	if (peek(l) != '=')
		return bad(l, "\"=\" expected after a key");
	l->p++;
	skip(l, false);
	return take_value(l, &s->value, 0);
}

static int parse_all(struct lex *l, struct cfg_text *t)
{
	unsigned room = 0;
	int rc;

	for (;;) {
		skip(l, true);
		if (peek(l) == ';') {
			l->p++;
			continue;
		}
		if (peek(l) == -1)
			return 0;
		if (t->nr == room) {
			room = room ? room * 2 : 32;
			struct cfg_setting *s = reallocarray(t->settings, room, sizeof(*s));

			if (!s)
				return -ENOMEM;
			t->settings = s;
		}
		memset(&t->settings[t->nr], 0, sizeof(*t->settings));
		rc = take_setting(l, &t->settings[t->nr++]);
		if (rc)
			return rc;
		skip(l, false);
		if (peek(l) != -1 && peek(l) != '\n' && peek(l) != ';')
			return bad(l, "end of line or \";\" expected after a value");
	}
}

int cfg_text_parse(struct cfg_text *out, const char *name, const char *text, size_t len, struct pvb_error *err)
{
	struct lex l = { .name = name, .p = text, .end = text + len, .line = 1, .err = err };
	struct cfg_text t = { 0 };
	int rc;

	if (len > CFG_MAX_TEXT)
		return pvb_err(err, -E2BIG, "%s: %zu bytes, at most %u", name, len, CFG_MAX_TEXT);
	rc = parse_all(&l, &t);
	if (rc) {
		cfg_text_free(&t);
		return rc == -ENOMEM ? pvb_err(err, rc, "%s: out of memory", name) : rc;
	}
	*out = t;
	return 0;
}

void cfg_text_free(struct cfg_text *t)
{
	for (unsigned i = 0; i < t->nr; i++) {
		free(t->settings[i].key);
		free_value(&t->settings[i].value);
	}
	free(t->settings);
	memset(t, 0, sizeof(*t));
}
