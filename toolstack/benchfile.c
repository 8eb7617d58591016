// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of benchmark results: reading, checking, writing; what their samples amount to.  How they look is benchshow.c's and
 * benchhtml.c's. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "benchfile.h"
#include "output.h"

#define MAX_FILE (64u << 20)
#define MAX_ROWS 100000u

/* --- samples ---------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double middle(double *v, size_t nr)
{
	qsort(v, nr, sizeof(*v), ascending);
	return nr % 2 ? v[nr / 2] : (v[nr / 2 - 1] + v[nr / 2]) / 2;
}

static void reckon(struct bench_row *r)
{
	double *v = calloc(r->nr, sizeof(*v));

	if (!v) {
		fputs("pvl: out of memory\n", stderr);
		exit(1);
	}
	for (size_t i = 0; i < r->nr; i++)
		v[i] = json_object_get_double(json_object_array_get_idx(r->samples, i));
	r->median = middle(v, r->nr);
	r->min = v[0];
	r->max = v[r->nr - 1];
	for (size_t i = 0; i < r->nr; i++)
		v[i] = fabs(v[i] - r->median);
	r->mad = middle(v, r->nr);
	free(v);
}

/* As many digits as are of use; json-c would write 17. */
static void add_real(struct json_object *obj, const char *key, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.6g", value);
	json_object_object_add(obj, key, json_object_new_double_s(value, text));
}

struct json_object *benchfile_row(const char *cell, const char *subject, const char *kind, const char *unit,
				  const char *better, const char *mode, const char *pinning, struct json_object *samples)
{
	struct bench_row r = { .samples = samples, .nr = json_object_array_length(samples) };
	struct json_object *row = out_obj();

	reckon(&r);
	out_str(row, "cell", cell);
	out_str(row, "subject", subject);
	out_str(row, "kind", kind);
	out_str(row, "unit", unit);
	out_str(row, "better", better);
	out_str(row, "mode", mode);
	out_str(row, "pinning", pinning);
	json_object_object_add(row, "samples", samples);
	add_real(row, "median", r.median);
	add_real(row, "min", r.min);
	add_real(row, "max", r.max);
	add_real(row, "mad", r.mad);
	out_int(row, "disturbed", 0);
	json_object_object_add(row, "counters", out_obj());
	return row;
}

/* --- checking --------------------------------------------------------------------------------------- */

/* What is wrong with a row, or NULL. */
static const char *wrong_text(struct json_object *row, const char *key, const char **out, bool may_be_empty)
{
	struct json_object *v;

	if (!json_object_object_get_ex(row, key, &v) || !json_object_is_type(v, json_type_string))
		return "is no text";
	*out = json_object_get_string(v);
	if (!may_be_empty && !**out)
		return "is empty";
	return strlen(*out) > 200 ? "is longer than 200 characters" : NULL;
}

static const char *wrong_samples(struct json_object *row, struct bench_row *r)
{
	if (!json_object_object_get_ex(row, "samples", &r->samples) || !json_object_is_type(r->samples, json_type_array))
		return "is no array";
	r->nr = json_object_array_length(r->samples);
	if (r->nr == 0)
		return "is empty";
	for (size_t i = 0; i < r->nr; i++) {
		struct json_object *v = json_object_array_get_idx(r->samples, i);

		if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
			return "has something else than numbers";
		if (!isfinite(json_object_get_double(v)) || json_object_get_double(v) < 0)
			return "has a number below zero, or none";
	}
	return NULL;
}

static const char *wrong_counters(struct json_object *row, struct bench_row *r)
{
	if (!json_object_object_get_ex(row, "counters", &r->counters) || !json_object_is_type(r->counters, json_type_object))
		return "is no object";
	json_object_object_foreach(r->counters, key, v)
		if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
			return *key ? "has something else than numbers" : "has a member without a name";
	return NULL;
}

static int check_row(struct json_object *row, struct bench_row *r, const char *name, size_t i, struct pvb_error *err)
{
	const char *better = "", *what = NULL;
	struct { const char *key, **to; bool empty; } texts[] = {
		{ "cell", &r->cell }, { "subject", &r->subject }, { "kind", &r->kind }, { "unit", &r->unit },
		{ "mode", &r->mode }, { "better", &better }, { "pinning", &r->pinning, true },
	};
	struct json_object *v;

	if (!json_object_is_type(row, json_type_object))
		return pvb_err(err, -EINVAL, "%s: row %zu is no object", name, i);
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		what = wrong_text(row, texts[t].key, texts[t].to, texts[t].empty);
		if (what)
			return pvb_err(err, -EINVAL, "%s: row %zu: \"%s\" %s", name, i, texts[t].key, what);
	}
	if (strcmp(r->kind, "ours") != 0 && strcmp(r->kind, "peer") != 0 && strcmp(r->kind, "floor") != 0)
		return pvb_err(err, -EINVAL, "%s: row %zu: \"kind\" is \"%s\", not ours, peer or floor", name, i, r->kind);
	if (strcmp(better, "more") != 0 && strcmp(better, "less") != 0)
		return pvb_err(err, -EINVAL, "%s: row %zu: \"better\" is \"%s\", not more or less", name, i, better);
	r->more_is_better = strcmp(better, "more") == 0;
	what = wrong_samples(row, r);
	if (what)
		return pvb_err(err, -EINVAL, "%s: row %zu: \"samples\" %s", name, i, what);
	what = wrong_counters(row, r);
	if (what)
		return pvb_err(err, -EINVAL, "%s: row %zu: \"counters\" %s", name, i, what);
	if (!json_object_object_get_ex(row, "disturbed", &v) || !json_object_is_type(v, json_type_int))
		return pvb_err(err, -EINVAL, "%s: row %zu: \"disturbed\" is no whole number", name, i);
	r->disturbed = json_object_get_int64(v);
	reckon(r);
	return 0;
}

static bool same_name(const struct bench_row *a, const struct bench_row *b)
{
	return strcmp(a->cell, b->cell) == 0 && strcmp(a->subject, b->subject) == 0 && strcmp(a->mode, b->mode) == 0;
}

static int check(struct benchfile *f, const char *name, struct pvb_error *err)
{
	static const char *const objects[] = { "machine", "versions", "settings" };
	struct json_object *v, *rows;
	int rc;

	if (!json_object_is_type(f->root, json_type_object) || !json_object_object_get_ex(f->root, "format", &v) ||
	    !json_object_is_type(v, json_type_string) || strcmp(json_object_get_string(v), BENCH_FORMAT) != 0)
		return pvb_err(err, -EINVAL, "%s: not a file of results (no \"format\": \"" BENCH_FORMAT "\")", name);
	if (!json_object_object_get_ex(f->root, "version", &v) || json_object_get_int64(v) != BENCH_VERSION)
		return pvb_err(err, -EINVAL, "%s: version %lld of the format, this program reads %d", name,
			       (long long)json_object_get_int64(v), BENCH_VERSION);
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		if (!json_object_object_get_ex(f->root, objects[i], &v) || !json_object_is_type(v, json_type_object))
			return pvb_err(err, -EINVAL, "%s: \"%s\" is no object", name, objects[i]);
	if (!json_object_object_get_ex(f->root, "missing", &v) || !json_object_is_type(v, json_type_array))
		return pvb_err(err, -EINVAL, "%s: \"missing\" is no array", name);
	if (!json_object_object_get_ex(f->root, "rows", &rows) || !json_object_is_type(rows, json_type_array))
		return pvb_err(err, -EINVAL, "%s: \"rows\" is no array", name);
	f->nr = json_object_array_length(rows);
	if (f->nr > MAX_ROWS)
		return pvb_err(err, -EINVAL, "%s: %zu rows, at most %u", name, f->nr, MAX_ROWS);
	f->rows = calloc(f->nr + 1, sizeof(*f->rows));
	if (!f->rows)
		return pvb_err(err, -ENOMEM, "%s: out of memory", name);
	for (size_t i = 0; i < f->nr; i++) {
		rc = check_row(json_object_array_get_idx(rows, i), &f->rows[i], name, i, err);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++)
			if (same_name(&f->rows[i], &f->rows[j]))
				return pvb_err(err, -EINVAL, "%s: rows %zu and %zu are both \"%.60s\" of %.40s, %.40s", name, j, i,
					       f->rows[i].cell, f->rows[i].subject, f->rows[i].mode);
	}
	return 0;
}

int benchfile_take(struct json_object *root, const char *name, struct benchfile *f, struct pvb_error *err)
{
	struct benchfile found = { .root = root };
	int rc = check(&found, name, err);

	if (rc < 0)
		benchfile_free(&found);
	else
		*f = found;
	return rc;
}

/* --- files ------------------------------------------------------------------------------------------ */

static int read_text(const char *path, char **out, size_t *len, struct pvb_error *err)
{
	int fd = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0, room = 1u << 16;
	char *text = malloc(room + 1);
	ssize_t r = fd < 0 || !text ? -1 : 1;

	while (r > 0 && n <= MAX_FILE) {
		char *more = room - n > 4096 ? text : realloc(text, 2 * room + 1);

		if (!more) {
			errno = ENOMEM;
			r = -1;
			break;
		}
		room = room - n > 4096 ? room : 2 * room;
		text = more;
		r = read(fd, text + n, room - n);
		n += r > 0 ? (size_t)r : 0;
	}
	if (fd >= 0)
		close(fd);
	if (r < 0 || n > MAX_FILE) {
		free(text);
		return r < 0 ? pvb_err(err, -errno, "%s: %s", path, strerror(errno)) :
			       pvb_err(err, -EFBIG, "%s: more than %u MiB", path, MAX_FILE >> 20);
	}
	text[n] = '\0';
	*out = text;
	*len = n;
	return 0;
}

int benchfile_read(const char *path, struct benchfile *f, struct pvb_error *err)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *root = NULL;
	enum json_tokener_error why;
	char *text = NULL;
	size_t len = 0, used;
	int rc = tok ? read_text(path, &text, &len, err) : pvb_err(err, -ENOMEM, "%s: out of memory", path);

	if (rc == 0) {
		root = json_tokener_parse_ex(tok, text, (int)len);
		why = json_tokener_get_error(tok);
		used = json_tokener_get_parse_end(tok);
		if (why != json_tokener_success)
			rc = pvb_err(err, -EINVAL, "%s: not JSON: %s at byte %zu", path,
				     why == json_tokener_continue ? "it ends in the middle" : json_tokener_error_desc(why), used);
		else if (used + strspn(text + used, " \t\r\n") != len)
			rc = pvb_err(err, -EINVAL, "%s: not JSON: something stands after it at byte %zu", path, used);
		free(text);
	}
	json_tokener_free(tok);
	if (rc < 0) {
		json_object_put(root);
		return rc;
	}
	return benchfile_take(root, path, f, err);
}

void benchfile_free(struct benchfile *f)
{
	json_object_put(f->root);
	free(f->rows);
	*f = (struct benchfile){ 0 };
}

int benchfile_write(const char *path, struct json_object *root, struct pvb_error *err)
{
	const char *text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	bool out = strcmp(path, "-") == 0;
	FILE *to = out ? stdout : fopen(path, "we");
	int rc;

	if (!to)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	rc = fputs(text, to) < 0 || fputc('\n', to) < 0 ? -1 : 0;
	if ((out ? fflush(to) : fclose(to)) != 0 || rc < 0)
		return pvb_err(err, -EIO, "%s: can not be written", path);
	return 0;
}

/* --- comparing -------------------------------------------------------------------------------------- */

bool bench_is_ours(const struct bench_row *r)
{
	return strcmp(r->kind, "ours") == 0;
}

const struct bench_row *bench_peer(const struct benchfile *f, const struct bench_row *r, const struct bench_row *from)
{
	for (; from < f->rows + f->nr; from++)
		if (!bench_is_ours(from) && strcmp(from->cell, r->cell) == 0 && strcmp(from->unit, r->unit) == 0 &&
		    (strcmp(from->mode, r->mode) == 0 || strcmp(from->mode, BENCH_ANY_MODE) == 0))
			return from;
	return NULL;
}

double bench_ratio(const struct bench_row *r, const struct bench_row *peer)
{
	double a = r->more_is_better ? r->median : peer->median, b = r->more_is_better ? peer->median : r->median;

	return b > 0 ? a / b : 0;
}

const struct bench_row *bench_same(const struct benchfile *f, const struct bench_row *r)
{
	for (size_t i = 0; i < f->nr; i++)
		if (same_name(&f->rows[i], r) && strcmp(f->rows[i].unit, r->unit) == 0)
			return &f->rows[i];
	return NULL;
}

/* 1.4826 times the median distance is the standard deviation of what is normally distributed; three of both together. */
int bench_change(const struct bench_row *now, const struct bench_row *before, double percent)
{
	double by = now->median - before->median, spread = 3 * 1.4826 * hypot(now->mad, before->mad);

	if (fabs(by) <= spread || fabs(by) <= before->median * percent / 100)
		return 0;
	return (by > 0) == now->more_is_better ? 1 : -1;
}

void bench_number(char *buf, size_t len, double v)
{
	static const struct { double from; const char *unit; } units[] = { { 1e9, " G" }, { 1e6, " M" }, { 1e4, " k" }, { 0, "" } };
	unsigned u = 0;

	while (v < units[u].from)
		u++;
	if (units[u].from > 0)
		v /= units[u].from == 1e4 ? 1e3 : units[u].from;
	snprintf(buf, len, "%.*f%s", v >= 100 || v == 0 ? 0 : v >= 10 ? 1 : v >= 1 ? 2 : 3, v, units[u].unit);
}
