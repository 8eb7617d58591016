/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_OUTPUT_H
#define PVL_OUTPUT_H
/* Tables for people and JSON for programs, from the same rows.
 *
 * A row is a JSON object.  With --json the rows are printed as one array; without it the columns below
 * say which keys are shown and how.  What is not in a column exists in JSON only.
 *
 * Trust    Cell text may come from a guest; anything but printable ASCII is shown as "?" in tables
 *          (JSON escapes it).
 * Errors   -EIO when stdout could not be written.
 */
#include <stdbool.h>
#include <json-c/json.h>

struct out_col {
	const char *key;     /* in the row */
	const char *title;
	int width;           /* > 0 right, < 0 left aligned, 0 = as it comes */
	const char *sep;     /* printed before it; NULL = one blank */
};

/* Print rows (a JSON array), with a title line unless it is to be left out. */
int out_table(struct json_object *rows, const struct out_col *cols, unsigned nr_cols, bool title);
/* One value of a row as table text, into buf. */
void out_cell(struct json_object *value, char *buf, unsigned len);
/* "key : value" lines of one object, nested ones left out. */
int out_fields(struct json_object *obj);
int out_json(struct json_object *obj);
/* From now on out_json() prints one line for an object, and one for each element of an array. */
void out_lines(void);
/* Flush stdout; -EIO when something got lost on the way (disk full, pipe closed). */
int out_flush(void);

/* Short names; all give up the process when memory is gone. */
struct json_object *out_obj(void);
struct json_object *out_arr(void);
void out_str(struct json_object *obj, const char *key, const char *value); /* NULL = null */
void out_int(struct json_object *obj, const char *key, long long value);
void out_real(struct json_object *obj, const char *key, double value);     /* one decimal */
void out_bool(struct json_object *obj, const char *key, bool value);
void out_merge(struct json_object *obj, struct json_object *from); /* all keys of another object */
#endif
