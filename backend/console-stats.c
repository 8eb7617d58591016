/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console-stats.c: consoles for the control socket and for Prometheus. */
#include <json-c/json.h>
#include <stddef.h>
#include "console.h"
#include "stats.h"
#include "supervisor.h"

static const struct {
	const char *name, *help;
	size_t offset;
	bool gauge;
} field[] = {
#define F(f, h) { #f, h, offsetof(struct con_stats, f), false }
	F(out_bytes, "Bytes that the guest has put out"),
	F(in_bytes, "Bytes given to the guest"),
	F(lost_bytes, "Bytes that slow clients have missed"),
	F(log_bytes, "Bytes written to logs"),
	F(log_lost_bytes, "Bytes that could not be written to a log"),
	F(rotations, "Logs that were full"),
	F(throttled, "Times the guest had to wait for the rate"),
	F(connections, "Connections, of all times"),
	{ "clients", "Connections now", offsetof(struct con_stats, clients), true },
	F(events, "Events from the guest"),
	F(events_spurious, "Events from the guest without work"),
#undef F
};
#define NR_FIELDS (sizeof(field) / sizeof(field[0]))

static uint64_t value(const struct console *c, unsigned i)
{
	return stats_get((const uint64_t *)((const char *)c->stats + field[i].offset));
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, *text ? json_object_new_string(text) : NULL);
}

static struct json_object *console_json(const struct console *c)
{
	struct json_object *o = json_object_new_object(), *places = json_object_new_array();
	const char *tty = "";

	json_object_object_add(o, "domid", json_object_new_uint64(c->domid));
	add_text(o, "phase", c->parked ? "parked" : c->up ? "serving" : "waiting");
	for (unsigned i = 0; i < c->spec.nr_ends; i++) {
		struct json_object *p = json_object_new_object();
		const struct con_end *e = &c->spec.end[i];

		add_text(p, "place", e->text);
		json_object_object_add(p, "open", json_object_new_boolean(c->open[i].fd >= 0 || e->dial));
		json_object_array_add(places, p);
		if (e->kind == CON_PTY)
			tty = c->open[i].tty;
	}
	add_text(o, "tty", tty);
	add_text(o, "serve", c->text);
	json_object_object_add(o, "places", places);
	json_object_object_add(o, "rate", json_object_new_uint64(c->spec.rate));
	json_object_object_add(o, "worker", json_object_new_uint64((uint64_t)c->pid));
	json_object_object_add(o, "deaths", json_object_new_uint64(c->deaths));
	add_text(o, "error", c->error);
	for (unsigned i = 0; i < NR_FIELDS; i++)
		json_object_object_add(o, field[i].name, json_object_new_uint64(value(c, i)));
	return o;
}

struct json_object *consoles_json(struct supervisor *sup, int64_t domid)
{
	struct json_object *list = json_object_new_array();

	for (const struct console *c = sup->consoles; c; c = c->next)
		if (!c->gone && (domid < 0 || domid == c->domid))
			json_object_array_add(list, console_json(c));
	return list;
}

void consoles_metrics(FILE *f, struct supervisor *sup)
{
	for (unsigned i = 0; i < NR_FIELDS; i++) {
		const char *end = field[i].gauge ? "" : "_total";

		fprintf(f, "# HELP pvbus_console_%s%s %s\n# TYPE pvbus_console_%s%s %s\n", field[i].name, end, field[i].help,
			field[i].name, end, field[i].gauge ? "gauge" : "counter");
		for (const struct console *c = sup->consoles; c; c = c->next)
			if (!c->gone)
				fprintf(f, "pvbus_console_%s%s{domid=\"%u\"} %llu\n", field[i].name, end, c->domid,
					(unsigned long long)value(c, i));
	}
}
