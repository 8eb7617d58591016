// SPDX-License-Identifier: GPL-2.0-or-later
/* The load's settings from words, and its figures as text or JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

/* --- words in ---------------------------------------------------------------------------------------- */

int bench_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmgt";
	char num[24];
	const char *unit;
	size_t len = strlen(text);
	uint64_t v;
	unsigned shift = 0;

	if (len == 0 || len >= sizeof(num))
		return -EINVAL;
	memcpy(num, text, len + 1);
	unit = strchr(units, num[len - 1] | 0x20);
	if (unit != NULL && *unit != '\0') {
		shift = 10 * (unsigned)(unit - units + 1);
		num[len - 1] = '\0';
	}
	if (pvb_parse_u64(num, 0, UINT64_MAX >> shift, &v) < 0)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

static int parse_op(struct bench_config *cfg, const char *v)
{
	static const struct { const char *name; bool random; unsigned mix; } ops[] = {
		{ "read", false, 100 }, { "write", false, 0 }, { "rw", false, 50 },
		{ "randread", true, 100 }, { "randwrite", true, 0 }, { "randrw", true, 50 },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(v, ops[i].name) != 0)
			continue;
		cfg->random = ops[i].random;
		cfg->mix = ops[i].mix;
		return 0;
	}
	return -EINVAL;
}

/* Seconds with at most three decimals. */
static int parse_ms(const char *v, uint64_t *ms)
{
	char *end;
	double d = strtod(v, &end);

	if (end == v || *end != '\0' || !(d >= 0 && d <= 1e6))
		return -EINVAL;
	*ms = (uint64_t)(d * 1000 + 0.5);
	return 0;
}

static int parse_number(const char *v, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;

	if (bench_size(v, &n) < 0 || n < min || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}

static int parse_pair(struct bench_config *cfg, const char *k, const char *v)
{
	uint64_t n = 0;
	int rc = -ENOENT;

	if (strcmp(k, "op") == 0)
		return parse_op(cfg, v);
	if (strcmp(k, "time") == 0)
		return parse_ms(v, &cfg->time_ms);
	if (strcmp(k, "ramp") == 0)
		return parse_ms(v, &cfg->ramp_ms);
	if (strcmp(k, "count") == 0)
		return parse_number(v, 1, UINT64_MAX, &cfg->count);
	if (strcmp(k, "offset") == 0)
		return parse_number(v, 0, INT64_MAX, &cfg->offset);
	if (strcmp(k, "size") == 0)
		return parse_number(v, 512, INT64_MAX, &cfg->size);
	if (strcmp(k, "seed") == 0)
		return parse_number(v, 0, UINT64_MAX, &cfg->seed);
	if (strcmp(k, "bs") == 0 && (rc = parse_number(v, 512, 16u << 20, &n)) == 0)
		cfg->bs = (uint32_t)n;
	else if (strcmp(k, "qd") == 0 && (rc = parse_number(v, 1, 4096, &n)) == 0)
		cfg->qd = (uint32_t)n;
	else if (strcmp(k, "mix") == 0 && (rc = parse_number(v, 0, 100, &n)) == 0)
		cfg->mix = (unsigned)n;
	else if (strcmp(k, "verify") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->verify = n;
	else if (strcmp(k, "copy") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->copy = n;
	else if (strcmp(k, "poll") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->poll = n;
	else if (strcmp(k, "touch") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->touch = n;
	else if (strcmp(k, "samples") == 0 && (rc = parse_number(v, 1, BENCH_MAX_SAMPLES, &n)) == 0)
		cfg->samples = (unsigned)n;
	return rc;
}

int bench_parse(struct bench_config *cfg, const char *text, struct pvb_error *err)
{
	char buf[sizeof(cfg->text)], *p = buf, *word, *eq;
	int rc;

	*cfg = (struct bench_config){ .random = true, .mix = 100, .bs = 4096, .qd = 32, .time_ms = 5000, .seed = 1, .samples = 1 };
	if (strlen(text) >= sizeof(cfg->text))
		return pvb_err(err, -EINVAL, "bench: %zu characters, at most %zu", strlen(text), sizeof(cfg->text) - 1);
	memcpy(cfg->text, text, strlen(text) + 1);
	memcpy(buf, text, strlen(text) + 1);
	while ((word = strsep(&p, " ,")) != NULL) {
		if (*word == '\0')
			continue;
		eq = strchr(word, '=');
		if (eq == NULL)
			return pvb_err(err, -EINVAL, "bench: \"%s\": key=value expected", word);
		*eq = '\0';
		rc = parse_pair(cfg, word, eq + 1);
		if (rc == -ENOENT)
			return pvb_err(err, rc, "bench: no setting \"%s\"", word);
		if (rc < 0)
			return pvb_err(err, rc, "bench: %s can not be \"%s\"", word, eq + 1);
	}
	if (cfg->bs % 512 != 0)
		return pvb_err(err, -EINVAL, "bench: bs %u, must be a multiple of 512", cfg->bs);
	return 0;
}

/* --- figures out ------------------------------------------------------------------------------------- */

static double per_second(uint64_t n, const struct bench_result *res)
{
	return res->elapsed_ns > 0 ? (double)n * 1e9 / (double)res->elapsed_ns : 0;
}

static const struct { const char *name; unsigned permille; } points[] = {
	{ "p50", 500 }, { "p90", 900 }, { "p99", 990 }, { "p99.9", 999 },
};
#define NR_POINTS (sizeof(points) / sizeof(points[0]))

static double mean(const struct bench_side *s)
{
	return s->ops > 0 ? (double)s->sum_ns / (double)s->ops : 0;
}

static void side_text(FILE *f, const char *name, const struct bench_side *s, const struct bench_result *res)
{
	if (s->ops == 0 && s->errors == 0)
		return;
	fprintf(f, "  %-5s %9.0f IOPS  %8.1f MB/s  latency us: min %.1f mean %.1f", name, per_second(s->ops, res),
		per_second(s->bytes, res) / 1e6, (double)s->min_ns / 1e3, mean(s) / 1e3);
	for (size_t i = 0; i < NR_POINTS; i++)
		fprintf(f, " %s %.1f", points[i].name, (double)bench_percentile(s, points[i].permille) / 1e3);
	fprintf(f, " max %.1f  errors %" PRIu64 "\n", (double)s->max_ns / 1e3, s->errors);
}

static void side_json(FILE *f, const char *name, const struct bench_side *s, const struct bench_result *res)
{
	fprintf(f, "\"%s\": {\"ops\": %" PRIu64 ", \"iops\": %.1f, \"bytes_per_s\": %.0f, \"errors\": %" PRIu64, name,
		s->ops, per_second(s->ops, res), per_second(s->bytes, res), s->errors);
	fprintf(f, ", \"latency_ns\": {\"min\": %" PRIu64 ", \"mean\": %.0f", s->min_ns, mean(s));
	for (size_t i = 0; i < NR_POINTS; i++)
		fprintf(f, ", \"%s\": %" PRIu64, points[i].name, bench_percentile(s, points[i].permille));
	fprintf(f, ", \"max\": %" PRIu64 "}}, ", s->max_ns);
}

void bench_print(FILE *f, const char *disk, const struct bench_config *cfg, const struct bench_result *res, bool json)
{
	const struct pvf_stats *st = &res->stats;
	const struct counter counters[] = {
		{ "slots", st->slots },	       { "pushes", st->pushes },     { "notifies", st->notifies },
		{ "events", st->events },      { "spurious", st->spurious }, { "bytes_copied", st->bytes_copied },
		{ "verified", res->verified }, { "bad", res->bad },	  { "cpu_ns", res->cost.cpu_ns },
		{ "switches", res->cost.switches },
	};
	const size_t nr = sizeof(counters) / sizeof(counters[0]);

	if (json) {
		/* cfg->text has only what bench_parse() let through, nothing to escape */
		fprintf(f, "{\"disk\": \"%s\", \"bench\": \"%s\", \"seconds\": %.3f, ", disk, cfg->text,
			(double)res->elapsed_ns / 1e9);
		side_json(f, "read", &res->read, res);
		side_json(f, "write", &res->write, res);
		counters_print(f, counters, nr, true);
		fprintf(f, "}\n");
		return;
	}
	fprintf(f, "%s: %s: %.2f s\n", disk, cfg->text, (double)res->elapsed_ns / 1e9);
	side_text(f, "read", &res->read, res);
	side_text(f, "write", &res->write, res);
	fprintf(f, "  ");
	counters_print(f, counters, nr, false);
	fprintf(f, "\n");
	if (res->bad > 0)
		fprintf(f, "  first wrong: %s\n", res->where);
}

void counters_print(FILE *f, const struct counter *c, size_t nr, bool json)
{
	for (size_t i = 0; i < nr; i++)
		fprintf(f, json ? "%s\"%s\": %" PRIu64 : "%s%s %" PRIu64, i > 0 ? ", " : "", c[i].name, c[i].value);
}
