// SPDX-License-Identifier: GPL-2.0-or-later
/* Results as one HTML page: styles and plots (benchplot.c) are in it, nothing is fetched, no script runs. */
#include <errno.h>
#include <string.h>
#include "bench.h"

#define text bench_text

static void fields(FILE *to, const char *title, struct json_object *obj)
{
	fputs("<table><caption>", to);
	text(to, title);
	fputs("</caption>\n", to);
	json_object_object_foreach(obj, key, v) {
		fputs("<tr><th>", to);
		text(to, key);
		fputs("</th><td>", to);
		text(to, v ? json_object_get_string(v) : "-");
		fputs("</td></tr>\n", to);
	}
	fputs("</table>\n", to);
}

static bool in_cell(const struct bench_row *r, const struct bench_row *of)
{
	return strcmp(r->cell, of->cell) == 0;
}

static void counters(FILE *to, const struct bench_row *r)
{
	char number[32];

	json_object_object_foreach(r->counters, key, v) {
		bench_number(number, sizeof(number), json_object_get_double(v));
		fprintf(to, "%s ", number);
		text(to, key);
		fputs("; ", to);
	}
	if (r->disturbed > 0)
		fprintf(to, "%lld samples disturbed", (long long)r->disturbed);
}

static void table_row(FILE *to, const struct benchfile *f, const struct bench_row *r)
{
	char median[32], min[32], max[32], mad[32];

	bench_number(median, sizeof(median), r->median);
	bench_number(min, sizeof(min), r->min);
	bench_number(max, sizeof(max), r->max);
	bench_number(mad, sizeof(mad), r->mad);
	fputs("<tr><td>", to);
	text(to, r->subject);
	fputs("</td><td title=\"", to);
	text(to, r->pinning);
	fputs("\">", to);
	text(to, r->mode);
	fprintf(to, "</td><td class=\"n\">%s ", median);
	text(to, r->unit);
	fprintf(to, "</td><td class=\"n\">%s..%s</td><td class=\"n\">%s</td><td class=\"n\">%zu</td><td>", min, max, mad, r->nr);
	for (const struct bench_row *p = bench_is_ours(r) ? bench_peer(f, r, f->rows) : NULL; p; p = bench_peer(f, r, p + 1)) {
		fprintf(to, "%.2f &times; ", bench_ratio(r, p));
		text(to, p->subject);
		fputs("<br>", to);
	}
	fputs("</td><td>", to);
	counters(to, r);
	fputs("</td></tr>\n", to);
}

static void cell(FILE *to, const struct benchfile *f, const struct bench_row *first)
{
	fputs("<h3>", to);
	text(to, first->cell);
	fprintf(to, "</h3>\n<p>%s is better</p>\n", first->more_is_better ? "more" : "less");
	bench_plot(to, f, first);
	fputs("<details><summary>figures</summary><table><tr><th>subject<th>mode<th>median<th>min..max<th>MAD<th>samples"
	      "<th>times as good as<th>per operation</tr>\n", to);
	for (const struct bench_row *r = first; r < f->rows + f->nr; r++)
		if (in_cell(r, first))
			table_row(to, f, r);
	fputs("</table></details>\n", to);
}

static void missing(FILE *to, struct json_object *list)
{
	if (json_object_array_length(list) == 0)
		return;
	fputs("<h3>not measured</h3><ul>\n", to);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *m = json_object_array_get_idx(list, i), *v;

		fputs("<li>", to);
		text(to, json_object_object_get_ex(m, "subject", &v) ? json_object_get_string(v) : "?");
		fputs(": ", to);
		text(to, json_object_object_get_ex(m, "why", &v) ? json_object_get_string(v) : "?");
		fputs("</li>\n", to);
	}
	fputs("</ul>\n", to);
}

static void one_file(FILE *to, const struct benchfile *f, const char *name)
{
	struct json_object *when;

	fputs("<h2>", to);
	text(to, name);
	fputs("</h2>\n<p>", to);
	text(to, json_object_object_get_ex(f->root, "when", &when) && when ? json_object_get_string(when) : "");
	fputs("</p>\n<div class=\"f\">\n", to);
	fields(to, "machine", json_object_object_get(f->root, "machine"));
	fields(to, "versions", json_object_object_get(f->root, "versions"));
	fields(to, "settings", json_object_object_get(f->root, "settings"));
	fputs("</div>\n", to);
	for (size_t i = 0; i < f->nr; i++) {
		bool first = true;

		for (size_t j = 0; j < i && first; j++)
			first = !in_cell(&f->rows[j], &f->rows[i]);
		if (first)
			cell(to, f, &f->rows[i]);
	}
	missing(to, json_object_object_get(f->root, "missing"));
}

int bench_html(const char *path, const struct benchfile *files, const char *const *names, size_t nr, struct pvb_error *err)
{
	FILE *to = fopen(path, "we");
	bool bad;

	if (!to)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>pvbus: benchmark</title>\n<style>\n"
	      ":root{color-scheme:light dark;--fg:#222;--bg:#fff;--ours:#2166ac;--peer:#b2622a;--floor:#999}\n"
	      "@media(prefers-color-scheme:dark){:root{--fg:#ddd;--bg:#1a1a1a;--ours:#6aaed6;--peer:#e08f57;--floor:#777}}\n"
	      "body{font:15px/1.4 sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:var(--fg);background:var(--bg)}\n"
	      "svg{width:100%;height:auto;font-size:12px}\n" BENCH_PLOT_STYLE
	      "table{border-collapse:collapse;font-size:13px}th,td{text-align:left;vertical-align:top;padding:1px 8px}\n"
	      "caption{text-align:left;font-weight:bold}.n{text-align:right;white-space:nowrap}.f{display:flex;flex-wrap:wrap;gap:2em}\n"
	      "h3{margin-bottom:0}p{margin:.2em 0}</style></head><body>\n<h1>pvbus: benchmark</h1>\n"
	      "<p>Bars are medians; where figures are far apart, dots on a logarithmic scale are. Thin lines go from the least to the most "
	      "of all samples. What each figure says, and what not: pvbus-bench(7).</p>\n", to);
	for (size_t i = 0; i < nr; i++)
		one_file(to, &files[i], names[i]);
	fputs("</body></html>\n", to);
	bad = ferror(to);
	if (fclose(to) != 0 || bad)
		return pvb_err(err, -EIO, "%s: can not be written", path);
	return 0;
}
