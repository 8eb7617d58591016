// SPDX-License-Identifier: GPL-2.0-or-later
/* Tables and JSON from the same rows.  Knows nothing of domains or devices. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "output.h"

static struct json_object *need(struct json_object *obj)
{
	if (!obj) {
		fputs("pvl: out of memory\n", stderr);
		exit(1);
	}
	return obj;
}

struct json_object *out_obj(void)
{
	return need(json_object_new_object());
}

struct json_object *out_arr(void)
{
	return need(json_object_new_array());
}

void out_str(struct json_object *obj, const char *key, const char *value)
{
	json_object_object_add(obj, key, value ? need(json_object_new_string(value)) : NULL);
}

void out_int(struct json_object *obj, const char *key, long long value)
{
	json_object_object_add(obj, key, need(json_object_new_int64(value)));
}

void out_real(struct json_object *obj, const char *key, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.1f", value);
	json_object_object_add(obj, key, need(json_object_new_double_s(value, text)));
}

void out_bool(struct json_object *obj, const char *key, bool value)
{
	json_object_object_add(obj, key, need(json_object_new_boolean(value)));
}

void out_merge(struct json_object *obj, struct json_object *from)
{
	struct json_object_iterator it = json_object_iter_begin(from), end = json_object_iter_end(from);

	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
		json_object_object_add(obj, json_object_iter_peek_name(&it),
				       json_object_get(json_object_iter_peek_value(&it)));
}

void out_cell(struct json_object *value, char *buf, unsigned len)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		snprintf(buf, len, "-");
		break;
	case json_type_double:
		snprintf(buf, len, "%.1f", json_object_get_double(value));
		break;
	case json_type_int:
		snprintf(buf, len, "%" PRId64, json_object_get_int64(value));
		break;
	default:
		snprintf(buf, len, "%s", json_object_get_string(value));
	}
	for (char *c = buf; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}

static void print_line(char *line)
{
	size_t n = strlen(line);

	while (n && line[n - 1] == ' ')
		line[--n] = '\0';
	puts(line);
}

static void add_cell(char *line, size_t size, const struct out_col *col, bool first, const char *text)
{
	size_t n = strlen(line);

	snprintf(line + n, size - n, "%s%*s", first ? "" : col->sep ? col->sep : " ", col->width, text);
}

int out_table(struct json_object *rows, const struct out_col *cols, unsigned nr_cols, bool title)
{
	char line[4096], cell[1024];

	if (title) {
		line[0] = '\0';
		for (unsigned c = 0; c < nr_cols; c++)
			add_cell(line, sizeof(line), &cols[c], c == 0, cols[c].title);
		print_line(line);
	}
	for (size_t r = 0; r < json_object_array_length(rows); r++) {
		struct json_object *row = json_object_array_get_idx(rows, r);

		line[0] = '\0';
		for (unsigned c = 0; c < nr_cols; c++) {
			out_cell(json_object_object_get(row, cols[c].key), cell, sizeof(cell));
			add_cell(line, sizeof(line), &cols[c], c == 0, cell);
		}
		print_line(line);
	}
	return out_flush();
}

int out_fields(struct json_object *obj)
{
	struct json_object_iterator it = json_object_iter_begin(obj), end = json_object_iter_end(obj);
	char cell[1024];

	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		struct json_object *value = json_object_iter_peek_value(&it);

		if (json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array))
			continue;
		out_cell(value, cell, sizeof(cell));
		printf("%-22s : %s\n", json_object_iter_peek_name(&it), cell);
	}
	return out_flush();
}

static bool lines;

void out_lines(void)
{
	lines = true;
}

static void put_line(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

int out_json(struct json_object *obj)
{
	if (lines && json_object_is_type(obj, json_type_array))
		for (size_t i = 0; i < json_object_array_length(obj); i++)
			put_line(json_object_array_get_idx(obj, i));
	else if (lines)
		put_line(obj);
	else
		puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	return out_flush();
}

int out_flush(void)
{
	return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}
