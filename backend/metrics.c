/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics.c: the counters as Prometheus text, over HTTP/1.0 on a Unix socket:
 *   curl --unix-socket /run/pvbackd/metrics.sock http://localhost/metrics
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console.h"
#include "nif-fields.h"
#include "server.h"
#include "stats.h"
#include "supervisor.h"
#include "vbd.h"
#include "vif.h"

struct metric {
	const char *name, *type, *help;
	uint64_t (*get)(const struct stats_queue *q);
};
#define FIELD(f) static uint64_t get_##f(const struct stats_queue *q) { return stats_get(&q->f); }
FIELD(in_flight) FIELD(rejected) FIELD(notify_sent) FIELD(notify_suppressed) FIELD(event_received) FIELD(event_spurious)
FIELD(copy_ops) FIELD(map_ops) FIELD(persistent_hits) FIELD(passes) FIELD(starved)

static const struct metric per_queue[] = {
	{ "pvbus_vbd_in_flight", "gauge", "Requests taken and not yet answered", get_in_flight },
	{ "pvbus_vbd_rejected_total", "counter", "Requests refused as illegal", get_rejected },
	{ "pvbus_vbd_notify_sent_total", "counter", "Events sent to the front end", get_notify_sent },
	{ "pvbus_vbd_notify_suppressed_total", "counter", "Pushes for which the front end wanted no event", get_notify_suppressed },
	{ "pvbus_vbd_events_received_total", "counter", "Events from the front end", get_event_received },
	{ "pvbus_vbd_events_spurious_total", "counter", "Events that brought no request", get_event_spurious },
	{ "pvbus_vbd_grant_copies_total", "counter", "Grant copy operations", get_copy_ops },
	{ "pvbus_vbd_grant_maps_total", "counter", "Grants mapped", get_map_ops },
	{ "pvbus_vbd_persistent_hits_total", "counter", "Segments served from persistent mappings", get_persistent_hits },
	{ "pvbus_vbd_passes_total", "counter", "Looks at the ring that found work", get_passes },
	{ "pvbus_vbd_starved_total", "counter", "Requests that waited for buffer memory", get_starved },
};

static void labels(FILE *f, const struct device *v, unsigned queue)
{
	char dev[16];

	pvb_vdev_name(v->id.devid, dev, sizeof(dev));
	fprintf(f, "domid=\"%u\",vdev=\"%s\",queue=\"%u\"", v->id.front, dev, queue);
}

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

#define OP_FIELD(f) (offsetof(struct stats_queue, op[0].f) - offsetof(struct stats_queue, op))
#define EACH_QUEUE(sup, v, i) \
	for (struct device *v = (sup)->devices; v; v = v->next) \
		for (unsigned i = 0; vbd_of(v) && v->stats && !v->gone && i < v->connect.blk.nr_queues; i++)

static const struct stats_device *stats_of(const struct device *v)
{
	return v->stats;
}

static void per_op(FILE *f, struct supervisor *sup, const char *name, const char *help, size_t offset)
{
	head(f, name, "counter", help);
	EACH_QUEUE(sup, v, i) {
		for (unsigned op = 0; op < STATS_NR_OPS; op++) {
			const char *base = (const char *)&stats_of(v)->queue[i].op[op];

			fprintf(f, "%s{", name);
			labels(f, v, i);
			fprintf(f, ",op=\"%s\"} %llu\n", stats_op_name[op],
				(unsigned long long)stats_get((const uint64_t *)(base + offset)));
		}
	}
}

static void histogram(FILE *f, struct supervisor *sup)
{
	static const char name[] = "pvbus_vbd_latency_seconds";

	head(f, name, "histogram", "From taking a request to its response");
	EACH_QUEUE(sup, v, i) {
		for (unsigned op = 0; op < STATS_NR_OPS; op++) {
			const struct stats_queue *q = &stats_of(v)->queue[i];
			uint64_t sum = 0;

			for (unsigned b = 0; b < STATS_BUCKETS; b++) {
				sum += stats_get(&q->op[op].hist[b]);
				if (b % 4) /* every second octave is plenty here; pvl stats --json has all */
					continue;
				fprintf(f, "%s_bucket{", name);
				labels(f, v, i);
				fprintf(f, ",op=\"%s\",le=\"%.9g\"} %llu\n", stats_op_name[op], stats_bucket_us(b) / 1e6,
					(unsigned long long)sum);
			}
			fprintf(f, "%s_bucket{", name);
			labels(f, v, i);
			fprintf(f, ",op=\"%s\",le=\"+Inf\"} %llu\n%s_sum{", stats_op_name[op], (unsigned long long)sum, name);
			labels(f, v, i);
			fprintf(f, ",op=\"%s\"} %.9g\n%s_count{", stats_op_name[op], (double)stats_get(&q->op[op].ns) / 1e9, name);
			labels(f, v, i);
			fprintf(f, ",op=\"%s\"} %llu\n", stats_op_name[op], (unsigned long long)sum);
		}
	}
}

/* Another worker of the same guest among those up to `end`. */
static const struct guest *other_worker(const struct guest *from, const struct guest *of, const struct guest *end)
{
	for (; from != end; from = from->next)
		if (from != of && !from->place[0] && from->domid == of->domid)
			return from;
	return NULL;
}

static unsigned deaths_of(const struct supervisor *sup, const struct guest *g)
{
	const struct guest *o = other_worker(sup->guests, g, NULL);

	return g->deaths + (o ? o->deaths : 0);
}

static void per_device(FILE *f, struct supervisor *sup)
{
	char dev[16];

	head(f, "pvbus_vbd_parked", "gauge", "Requests held by the error policy");
	for (struct device *v = sup->devices; v; v = v->next) {
		if (v->gone || !v->stats || !vbd_of(v))
			continue;
		pvb_vdev_name(v->id.devid, dev, sizeof(dev));
		fprintf(f, "pvbus_vbd_parked{domid=\"%u\",vdev=\"%s\"} %llu\n", v->id.front, dev,
			(unsigned long long)stats_get(&stats_of(v)->parked));
	}
	head(f, "pvbus_vbd_alarm", "gauge", "1 while the operator should look at the device");
	for (struct device *v = sup->devices; v; v = v->next) {
		if (v->gone || !vbd_of(v))
			continue;
		pvb_vdev_name(v->id.devid, dev, sizeof(dev));
		fprintf(f, "pvbus_vbd_alarm{domid=\"%u\",vdev=\"%s\"} %d\n", v->id.front, dev, vbd_of(v)->alarm[0] != 0);
	}
	head(f, "pvbus_worker_deaths_total", "counter", "Worker processes that died while serving devices");
	for (struct guest *g = sup->guests; g; g = g->next)
		if (g->place[0])
			fprintf(f, "pvbus_worker_deaths_total{switch=\"%s\"} %u\n", g->place, g->deaths);
		else if (!other_worker(sup->guests, g, g))
			fprintf(f, "pvbus_worker_deaths_total{domid=\"%u\"} %u\n", g->domid, deaths_of(sup, g));
}

static void nic_value(FILE *f, const struct device *d, const char *name, const struct nif_field *field, const void *stats,
		      int queue)
{
	fprintf(f, "%s{domid=\"%u\",devid=\"%u\"", name, d->id.front, d->id.devid);
	if (queue >= 0)
		fprintf(f, ",queue=\"%d\"", queue);
	fprintf(f, "} %llu\n", (unsigned long long)nif_field(stats, field));
}

static void nics(FILE *f, struct supervisor *sup)
{
	const struct { const struct nif_field *fields; unsigned nr; bool queue; } sets[] = {
		{ nif_queue_field, NR_NIF_QUEUE_FIELDS, true }, { nif_stats_field, NR_NIF_FIELDS, false },
	};

	for (unsigned s = 0; s < 2; s++) {
		for (const struct nif_field *field = sets[s].fields; field < sets[s].fields + sets[s].nr; field++) {
			char name[96];

			snprintf(name, sizeof(name), "pvbus_vif_%s%s", field->name, field->gauge ? "" : "_total");
			head(f, name, field->gauge ? "gauge" : "counter", field->help);
			for (struct device *d = sup->devices; d; d = d->next) {
				const struct nif_stats *stats = d->stats;

				if (!vif_of(d) || d->gone || !stats)
					continue;
				if (!sets[s].queue)
					nic_value(f, d, name, field, stats, -1);
				for (unsigned i = 0; sets[s].queue && i < d->connect.nif.nr_queues; i++)
					nic_value(f, d, name, field, &stats->queue[i], (int)i);
			}
		}
	}
}

static char *answer(void *arg, const char *line)
{
	struct supervisor *sup = arg;
	char *text = NULL;
	size_t len;
	FILE *f;

	if (strncmp(line, "GET ", 4) != 0)
		return strdup("HTTP/1.0 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	fprintf(f, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n");
	per_op(f, sup, "pvbus_vbd_requests_total", "Requests answered", OP_FIELD(count));
	per_op(f, sup, "pvbus_vbd_bytes_total", "Bytes of requests that succeeded", OP_FIELD(bytes));
	per_op(f, sup, "pvbus_vbd_errors_total", "Requests answered with an error", OP_FIELD(errors));
	for (unsigned m = 0; m < sizeof(per_queue) / sizeof(per_queue[0]); m++) {
		head(f, per_queue[m].name, per_queue[m].type, per_queue[m].help);
		EACH_QUEUE(sup, v, i) {
			fprintf(f, "%s{", per_queue[m].name);
			labels(f, v, i);
			fprintf(f, "} %llu\n", (unsigned long long)per_queue[m].get(&stats_of(v)->queue[i]));
		}
	}
	histogram(f, sup);
	per_device(f, sup);
	nics(f, sup);
	consoles_metrics(f, sup);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int metrics_open(struct server **out, struct supervisor *sup, const char *path, struct pvb_error *err)
{
	static const struct server_ops ops = { .answer = answer, .once = true };

	return server_open(out, sup->loop, path, &ops, sup, err);
}
