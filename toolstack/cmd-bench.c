// SPDX-License-Identifier: GPL-2.0-or-later
/* bench: measure; show and compare results. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "cmd.h"
#include "output.h"

#define MAX_FILES 64
#define TOLERANCE 5.0        /* percent; two runs of the same programs differ by as much */

static int tolerance(struct pvl *p, double *percent)
{
	const char *arg = pvl_opt_arg(p, "tolerance");
	char *end;

	*percent = TOLERANCE;
	if (!arg)
		return 0;
	*percent = strtod(arg, &end);
	if (end == arg || *end || !(*percent >= 0 && *percent <= 1000))
		return pvl_usage(p, "--tolerance is \"%s\", must be 0 to 1000 percent", arg);
	return 0;
}

/* Of the first file; what the exit status says. */
static int compare(struct pvl *p, const struct benchfile *now, const char *with, double percent)
{
	struct pvb_error err = { 0 };
	struct benchfile before;
	size_t worse;

	if (benchfile_read(with, &before, &err))
		return pvl_fail(p, &err);
	printf("\nagainst %s:\n", with);
	worse = bench_show_changes(stdout, now, &before, percent);
	benchfile_free(&before);
	return worse ? PVL_FAIL : PVL_OK;
}

static int report(struct pvl *p)
{
	const char *html = pvl_opt_arg(p, "html"), *with = pvl_opt_arg(p, "against"), *svg = pvl_opt_arg(p, "svg");
	const char *only = pvl_opt_arg(p, "only");
	struct benchfile files[MAX_FILES];
	int nr = p->argc - 1, i = 0, rc;
	struct pvb_error err = { 0 };
	double percent;

	if (nr < 1 || nr > MAX_FILES)
		return pvl_usage(p, "report takes 1 to %d files", MAX_FILES);
	if (with && nr != 1)
		return pvl_usage(p, "--against compares one file, these are %d", nr);
	if (svg && nr != 1)
		return pvl_usage(p, "--svg is a picture of one file, these are %d", nr);
	rc = tolerance(p, &percent);
	for (; i < nr && !rc; i++)
		if (benchfile_read(p->argv[i + 1], &files[i], &err)) {
			rc = pvl_fail(p, &err);
			break;
		}
	nr = i;
	for (i = 0; i < nr && !rc && only; i++)
		if (bench_choose(&files[i], only) == 0)
			rc = pvl_failf(p, "%s: no row or cell is named \"%s\"", p->argv[i + 1], only);
	for (i = 0; i < nr && !rc; i++) {
		if (p->json) {
			rc = out_json(files[i].root) ? PVL_FAIL : PVL_OK;
			continue;
		}
		if (nr > 1)
			printf("%s%s:\n", i ? "\n" : "", p->argv[i + 1]);
		bench_show(stdout, &files[i]);
	}
	if (!rc && html && bench_html(html, files, (const char *const *)p->argv + 1, (size_t)nr, &err))
		rc = pvl_fail(p, &err);
	if (!rc && svg && bench_svg(svg, &files[0], &err))
		rc = pvl_fail(p, &err);
	if (!rc && with)
		rc = compare(p, &files[0], with, percent);
	for (i = 0; i < nr; i++)
		benchfile_free(&files[i]);
	return out_flush() ? PVL_FAIL : rc;
}

int cmd_bench(struct pvl *p)
{
	static const char *const of_run[] = { "quick", "list", "realtime", "out", NULL };
	static const char *const of_report[] = { "html", "svg", "against", "tolerance", NULL };
	bool run = strcmp(p->argv[0], "run") == 0;

	if (!run && strcmp(p->argv[0], "report") != 0)
		return pvl_usage(p, "\"%s\" is neither run nor report", p->argv[0]);
	for (const char *const *o = run ? of_report : of_run; *o; o++)
		if (pvl_opt(p, *o))
			return pvl_usage(p, "--%s is not for %s", *o, p->argv[0]);
	if (!run)
		return report(p);
	if (p->argc > 1)
		return pvl_usage(p, "run takes no file");
	return bench_run(p, pvl_opt(p, "out") ? pvl_opt_arg(p, "out") : "bench.json");
}
