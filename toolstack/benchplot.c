// SPDX-License-Identifier: GPL-2.0-or-later
/* Plots of results, as SVG: one of a cell for the page, and a picture of all of a file's cells.
 *
 * A bar's length is its figure.  Where the largest is far above the least, bars would show nothing of the least; then the scale is
 * logarithmic, and a dot's place is the figure: a length would say nothing. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "bench.h"

#define FAR 20.0             /* times */
#define STEP 22              /* units of the drawing, for a row */
#define AXIS 16              /* for the numbers below */

struct plot {
	bool log, with_mode;
	double low, high;        /* figures at both ends of the scale */
	unsigned left, width;    /* where it begins, how long it is */
};

void bench_text(FILE *to, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<': fputs("&lt;", to); break;
		case '>': fputs("&gt;", to); break;
		case '&': fputs("&amp;", to); break;
		case '"': fputs("&quot;", to); break;
		default:
			fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, to);
		}
}

static bool shown(const struct bench_row *r, const struct bench_row *first)
{
	return strcmp(r->cell, first->cell) == 0 && strcmp(r->unit, first->unit) == 0;
}

static bool begins_cell(const struct benchfile *f, const struct bench_row *r)
{
	for (const struct bench_row *p = f->rows; p < r; p++)
		if (strcmp(p->cell, r->cell) == 0)
			return false;
	return true;
}

/* The least and the most of all samples that have this unit, of one cell or (first NULL) of all. */
static void range(const struct benchfile *f, const struct bench_row *first, const char *unit, double *low, double *high)
{
	*low = *high = 0;
	for (const struct bench_row *r = f->rows; r < f->rows + f->nr; r++) {
		if (strcmp(r->unit, unit) != 0 || (first && !shown(r, first)))
			continue;
		*low = r->min > 0 && (*low == 0 || r->min < *low) ? r->min : *low;
		*high = r->max > *high ? r->max : *high;
	}
}

static bool far_apart(const struct benchfile *f, const struct bench_row *first)
{
	double low, high;

	range(f, first, first->unit, &low, &high);
	return low > 0 && high / low > FAR;
}

/* Logarithmic: from one power of ten to another. */
static void set_scale(struct plot *p, double low, double high)
{
	p->low = p->log && low > 0 ? pow(10, floor(log10(low))) : 0;
	p->high = p->log && high > 0 ? pow(10, ceil(log10(high))) : high;
	if (p->log && p->high < 10 * p->low)
		p->high = 10 * p->low;
	if (!(p->high > p->low))
		p->high = p->low + 1;
}

static double place(const struct plot *p, double v)
{
	if (!p->log)
		return p->left + p->width * v / p->high;
	return p->left + (v > p->low ? p->width * log10(v / p->low) / log10(p->high / p->low) : 0);
}

static void row(FILE *to, const struct plot *p, const struct bench_row *r, unsigned y)
{
	double least = place(p, r->min), most = place(p, r->max), median = place(p, r->median);
	char number[32];

	bench_number(number, sizeof(number), r->median);
	fprintf(to, "<text x=\"%u\" y=\"%u\" class=\"l\">", p->left - 8, y + 13);
	bench_text(to, r->subject);
	if (p->with_mode) {
		fputs(", ", to);
		bench_text(to, r->mode);
	}
	fputs("</text>", to);
	if (p->log)
		fprintf(to, "<path class=\"g\" d=\"M%u %uH%.1f\"/><circle class=\"%s\" cx=\"%.1f\" cy=\"%u\" r=\"5\"/>", p->left, y + 9, median,
			r->kind, median, y + 9);
	else
		fprintf(to, "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"%.1f\" height=\"14\"/>", r->kind, p->left, y + 2,
			median - p->left);
	if (r->nr > 1)
		fprintf(to, "<path class=\"w\" d=\"M%.1f %uH%.1fM%.1f %uv8M%.1f %uv8\"/>", least, y + 9, most, least, y + 5, most, y + 5);
	fprintf(to, "<text x=\"%.1f\" y=\"%u\">%s</text>\n", most + 9, y + 13, number);
}

/* A line for each power of ten, from the first row to the last. */
static void axis(FILE *to, const struct plot *p, unsigned y, unsigned height)
{
	static const char *const units[] = { "", " k", " M", " G" };

	for (double v = p->low; v <= p->high * 1.001; v *= 10) {
		unsigned u = v < 999 ? 0 : v < 999e3 ? 1 : v < 999e6 ? 2 : 3;

		fprintf(to, "<path class=\"g\" d=\"M%.1f %uv%u\"/><text x=\"%.1f\" y=\"%u\" class=\"m\">%g%s</text>", place(p, v), y,
			height, place(p, v), y + height + 11, v / pow(1000, u), units[u]);
	}
	fputc('\n', to);
}

static unsigned height_of(const struct benchfile *f, const struct plot *p, const struct bench_row *first)
{
	unsigned nr = 0;

	for (const struct bench_row *r = first; r < f->rows + f->nr; r++)
		nr += shown(r, first);
	return nr * STEP + 4 + (p->log ? AXIS : 0);
}

static void rows(FILE *to, const struct benchfile *f, const struct plot *p, const struct bench_row *first, unsigned y)
{
	if (p->log)
		axis(to, p, y, height_of(f, p, first) - AXIS);
	for (const struct bench_row *r = first; r < f->rows + f->nr; r++)
		if (shown(r, first)) {
			row(to, p, r, y);
			y += STEP;
		}
}

void bench_plot(FILE *to, const struct benchfile *f, const struct bench_row *first)
{
	struct plot p = { .log = far_apart(f, first), .with_mode = true, .left = 300, .width = 460 };
	double low, high;

	range(f, first, first->unit, &low, &high);
	set_scale(&p, low, high);
	fprintf(to, "<svg viewBox=\"0 0 860 %u\" role=\"img\">\n", height_of(f, &p, first));
	rows(to, f, &p, first, 0);
	fputs("</svg>\n", to);
}

/* --- a picture ------------------------------------------------------------------------------------------ */

#define COLUMN 480           /* its width */
#define SUBJECT 132          /* what of it is a subject's name, without its mode */
#define TITLE 24
#define GAP 12

/* Draws the cells whose middle is between two heights of one long column; where that ends.  to NULL: only asks. */
static unsigned column(FILE *to, const struct benchfile *f, struct plot *p, unsigned from, unsigned until, unsigned *lowest)
{
	unsigned y = 0, top = 0, high_of;
	double low, high;

	for (const struct bench_row *r = f->rows; r < f->rows + f->nr; r++) {
		if (!begins_cell(f, r))
			continue;
		high_of = TITLE + height_of(f, p, r) + GAP;
		if (y + high_of / 2 >= from && y + high_of / 2 < until) {
			if (to) {
				range(f, NULL, r->unit, &low, &high);
				set_scale(p, low, high);
				fprintf(to, "<text x=\"%u\" y=\"%u\" class=\"h\">", p->left - 120, top + 18);
				bench_text(to, r->cell);
				fputs(", ", to);
				bench_text(to, r->unit);
				fprintf(to, "%s</text>\n", r->more_is_better ? "" : " (less is better)");
				rows(to, f, p, r, top + TITLE);
			}
			top += high_of;
		}
		y += high_of;
	}
	*lowest = top > *lowest ? top : *lowest;
	return y;
}

int bench_svg(const char *path, const struct benchfile *f, struct pvb_error *err)
{
	struct plot p = { .width = 280 };
	unsigned all, width, lowest = 0;
	FILE *to;
	bool bad;

	/* one picture, one kind of scale */
	for (size_t i = 0; i < f->nr; i++) {
		p.log |= far_apart(f, &f->rows[i]);
		p.with_mode |= strcmp(f->rows[i].mode, f->rows[0].mode) != 0;
	}
	to = fopen(path, "we");
	if (!to)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	p.left = p.with_mode ? 300 : SUBJECT;
	width = p.left - SUBJECT + COLUMN;
	all = column(NULL, f, &p, 0, ~0u, &lowest);
	lowest = 0;
	column(NULL, f, &p, 0, all / 2, &lowest);
	column(NULL, f, &p, all / 2, ~0u, &lowest);
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n"
		"<style>svg{--fg:#222;--ours:#2166ac;--peer:#b2622a;--floor:#999}\n" BENCH_PLOT_STYLE "</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		2 * width, lowest + GAP);
	column(to, f, &p, 0, all / 2, &lowest);
	p.left += width;
	column(to, f, &p, all / 2, ~0u, &lowest);
	fputs("</svg>\n", to);
	bad = ferror(to);
	if (fclose(to) != 0 || bad)
		return pvb_err(err, -EIO, "%s: can not be written", path);
	return 0;
}
