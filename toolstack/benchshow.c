// SPDX-License-Identifier: GPL-2.0-or-later
/* Results as text: a table, and what has changed since another run. */
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "output.h"

size_t bench_choose(struct benchfile *f, const char *pattern)
{
	size_t nr = 0;

	for (size_t i = 0; i < f->nr; i++)
		if (bench_named(pattern, f->rows[i].cell, f->rows[i].subject, f->rows[i].mode))
			f->rows[nr++] = f->rows[i];
	return f->nr = nr;
}

static const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) ? json_object_get_string(v) : "-";
}

/* Anything but printable ASCII would be somebody's terminal sequences. */
static void plain(FILE *to, const char *text, int width)
{
	int n = 0;

	for (; *text; text++, n++)
		fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, to);
	fprintf(to, "%*s", n < width ? width - n : 0, "");
}

static void show_machine(FILE *to, const struct benchfile *f)
{
	struct json_object *m = json_object_object_get(f->root, "machine"), *s = json_object_object_get(f->root, "settings");

	plain(to, text_of(f->root, "when"), 0);
	fputs("  pvbus ", to);
	plain(to, text_of(json_object_object_get(f->root, "versions"), "pvbus"), 0);
	fputs("; ", to);
	plain(to, text_of(m, "cpus"), 0);
	fputs(" x ", to);
	plain(to, text_of(m, "cpu"), 0);
	fputs(", Linux ", to);
	plain(to, text_of(m, "kernel"), 0);
	fputs("; load before ", to);
	plain(to, text_of(m, "load"), 0);
	fputs("; samples of ", to);
	plain(to, text_of(s, "sample_ms"), 0);
	fputs(" ms\n", to);
}

static void show_ratios(FILE *to, const struct benchfile *f, const struct bench_row *r)
{
	const struct bench_row *p;
	const char *sep = "";

	for (p = bench_is_ours(r) ? bench_peer(f, r, f->rows) : NULL; p; p = bench_peer(f, r, p + 1), sep = ", ") {
		fprintf(to, "%s%.2f x ", sep, bench_ratio(r, p));
		plain(to, p->subject, 0);
	}
}

static void show_row(FILE *to, const struct benchfile *f, const struct bench_row *r)
{
	char median[32], min[32], max[32], range[80], figure[80];

	bench_number(median, sizeof(median), r->median);
	bench_number(min, sizeof(min), r->min);
	bench_number(max, sizeof(max), r->max);
	snprintf(range, sizeof(range), "[%s..%s]", min, max);
	snprintf(figure, sizeof(figure), "%s %s", median, r->unit);
	fputs("  ", to);
	plain(to, r->subject, 26);
	fputc(' ', to);
	plain(to, r->mode, 17);
	fprintf(to, " %16s  %-20s ", figure, range);
	show_ratios(to, f, r);
	fputc('\n', to);
	if (json_object_object_length(r->counters) == 0 && r->disturbed == 0)
		return;
	fprintf(to, "%46s", "");
	if (r->disturbed > 0)
		fprintf(to, "%lld disturbed; ", (long long)r->disturbed);
	json_object_object_foreach(r->counters, key, v) {
		bench_number(median, sizeof(median), json_object_get_double(v));
		fprintf(to, "%s ", median);
		plain(to, key, 0);
		fputs("; ", to);
	}
	fputc('\n', to);
}

void bench_show(FILE *to, const struct benchfile *f)
{
	struct json_object *missing = json_object_object_get(f->root, "missing");
	const char *cell = "";

	show_machine(to, f);
	for (size_t i = 0; i < f->nr; i++) {
		bool first = true;

		cell = f->rows[i].cell;
		for (size_t j = 0; j < i && first; j++)
			first = strcmp(f->rows[j].cell, cell) != 0;
		if (!first)
			continue; /* shown with the first of its cell */
		plain(to, cell, 0);
		fputc('\n', to);
		for (size_t j = i; j < f->nr; j++)
			if (strcmp(f->rows[j].cell, cell) == 0)
				show_row(to, f, &f->rows[j]);
	}
	for (size_t i = 0; i < json_object_array_length(missing); i++) {
		fputs("not measured: ", to);
		plain(to, text_of(json_object_array_get_idx(missing, i), "subject"), 0);
		fputs(": ", to);
		plain(to, text_of(json_object_array_get_idx(missing, i), "why"), 0);
		fputc('\n', to);
	}
}

size_t bench_show_changes(FILE *to, const struct benchfile *now, const struct benchfile *before, double percent)
{
	static const char *const words[] = { "WORSE ", "", "better" };
	size_t worse = 0, better = 0, same = 0, alone = 0;
	char was[32], is[32];

	for (size_t i = 0; i < now->nr; i++) {
		const struct bench_row *r = &now->rows[i], *b = bench_same(before, r);
		int change = b ? bench_change(r, b, percent) : 0;

		if (!b) {
			alone++;
			continue;
		}
		*(change < 0 ? &worse : change > 0 ? &better : &same) += 1;
		if (change == 0)
			continue;
		bench_number(was, sizeof(was), b->median);
		bench_number(is, sizeof(is), r->median);
		fprintf(to, "%s  ", words[change + 1]);
		plain(to, r->cell, 0);
		fputs("; ", to);
		plain(to, r->subject, 0);
		fputs("; ", to);
		plain(to, r->mode, 0);
		fprintf(to, ": %s -> %s ", was, is);
		plain(to, r->unit, 0);
		fprintf(to, " (%+.0f %%)\n", b->median > 0 ? (r->median / b->median - 1) * 100 : 0);
	}
	fprintf(to, "%zu worse, %zu better, %zu within the spread, %zu not in both\n", worse, better, same, alone);
	return worse;
}
