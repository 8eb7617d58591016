// SPDX-License-Identifier: GPL-2.0-or-later
/* top: what domains use, again and again.  Figures of disks and NICs are pvbackd's, and missing where it does not run. */
#include "config.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "host.h"
#include "loop.h"
#include "output.h"
#include "statscli.h"

struct sample {
	struct dom_info *list;
	unsigned nr;
	uint64_t ms;
};

static void sample_free(struct sample *s)
{
	dom_list_free(s->list, s->nr);
	*s = (struct sample){ NULL, 0, 0 };
}

static int sample_take(struct pvl *p, struct sample *s)
{
	struct pvb_error err = { 0 };

	if (p->ops->list(p->host, &s->list, &s->nr, &err))
		return pvl_fail(p, &err);
	s->ms = pvb_now_ms();
	return PVL_OK;
}

/* Processor time between the two samples, of one processor; a domain that is new counts from its start. */
static double percent(const struct dom_info *d, const struct sample *old, const struct sample *now)
{
	double was = 0;

	for (unsigned i = 0; i < old->nr; i++)
		if (old->list[i].domid == d->domid && strcmp(old->list[i].uuid, d->uuid) == 0)
			was = old->list[i].cpu_seconds;
	return now->ms > old->ms && d->cpu_seconds > was ? (d->cpu_seconds - was) * 1e5 / (double)(now->ms - old->ms) : 0;
}

static long long field(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) ? json_object_get_int64(v) : 0;
}

/* NULL when pvbackd does not answer: then these columns are empty. */
static struct json_object *ask_devices(struct pvl *p, struct json_object **reply)
{
	struct json_object *req = out_obj(), *devices;
	char buf[256];
	const char *path = pvl_ctl(p, buf, sizeof(buf));

	out_str(req, "cmd", "stats");
	if (!path || statscli_call(path, req, reply, NULL))
		return NULL;
	return json_object_object_get_ex(*reply, "devices", &devices) && json_object_is_type(devices, json_type_array) ?
		       devices : NULL;
}

static void add_devices(struct json_object *row, struct json_object *devices, uint32_t domid)
{
	static const struct { const char *from, *to; bool nic; } sums[] = {
		{ "tx_kib", "net_tx_kib", true }, { "rx_kib", "net_rx_kib", true },
		{ "reads", "vbd_reads", false }, { "writes", "vbd_writes", false },
	};
	long long sum[4] = { 0 }, nr[2] = { 0 };

	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *dev;
		bool nic;

		dev = stats_row(json_object_array_get_idx(devices, i), &nic);
		if (field(dev, "domid") == domid) {
			nr[nic]++;
			for (unsigned s = 0; s < 4; s++)
				if (sums[s].nic == nic)
					sum[s] += field(dev, sums[s].from);
		}
		json_object_put(dev);
	}
	out_int(row, "nets", nr[1]);
	out_int(row, "vbds", nr[0]);
	for (unsigned s = 0; s < 4; s++)
		out_int(row, sums[s].to, sum[s]);
}

static struct json_object *make_rows(struct pvl *p, const struct sample *old, const struct sample *now, long long total_kib)
{
	struct json_object *rows = out_arr(), *reply = NULL, *devices = ask_devices(p, &reply);

	for (unsigned i = 0; i < now->nr; i++) {
		const struct dom_info *d = &now->list[i];
		struct json_object *row = dom_json(d);

		out_real(row, "cpu_percent", percent(d, old, now));
		out_int(row, "memory_kib", (long long)d->memory_kib);
		out_int(row, "max_memory_kib", (long long)d->max_memory_kib);
		out_real(row, "memory_percent", total_kib > 0 ? 100.0 * (double)d->memory_kib / (double)total_kib : 0);
		if (devices)
			add_devices(row, devices, d->domid);
		json_object_array_add(rows, row);
	}
	json_object_put(reply);
	return rows;
}

static int show(struct pvl *p, struct json_object *rows, bool first, bool clear)
{
	static const struct out_col cols[] = {
		{ "name", "NAME", -20 },	     { "domid", "ID", 5 },	     { "flags", "STATE", -6 },
		{ "cpu_seconds", "CPU(sec)", 10 },   { "cpu_percent", "CPU(%)", 6 }, { "memory_kib", "MEM(k)", 10 },
		{ "memory_percent", "MEM(%)", 6 },   { "max_memory_kib", "MAXMEM(k)", 12 },
		{ "vcpus", "VCPUS", 5 },	     { "nets", "NETS", 4 },	     { "net_tx_kib", "NETTX(k)", 9 },
		{ "net_rx_kib", "NETRX(k)", 9 },     { "vbds", "VBDS", 4 },	     { "vbd_reads", "VBD_RD", 9 },
		{ "vbd_writes", "VBD_WR", 9 },
	};

	if (p->json)
		return out_json(rows);
	if (clear)
		fputs("\033[H\033[J", stdout);
	else if (!first)
		puts("");
	return out_table(rows, cols, sizeof(cols) / sizeof(cols[0]), true);
}

static long long total_memory(struct pvl *p)
{
	struct pvb_error err = { 0 };
	struct json_object *info;
	long long kib;

	if (p->ops->info(p->host, &info, &err))
		return 0;
	kib = field(info, "total_memory") * 1024;
	json_object_put(info);
	return kib;
}

int cmd_top(struct pvl *p)
{
	const char *delay = pvl_opt_arg(p, "delay"), *count = pvl_opt_arg(p, "iterations");
	struct sample old = { NULL, 0, 0 }, now = { NULL, 0, 0 };
	bool clear = isatty(1) && !pvl_opt(p, "batch") && !p->json;
	uint64_t s = 3, n = p->json && !p->lines ? 1 : UINT64_MAX;
	long long total;
	int rc;

	if (delay && pvb_parse_u64(delay, 1, 86400, &s))
		return pvl_usage(p, "--delay \"%s\" is not a number of seconds", delay);
	if (count && pvb_parse_u64(count, 1, UINT32_MAX, &n))
		return pvl_usage(p, "--iterations \"%s\" is not a number", count);
	if (!pvl_host(p))
		return PVL_FAIL;
	total = total_memory(p);
	rc = sample_take(p, &old);
	for (uint64_t i = 0; i < n && !rc; i++) {
		struct json_object *rows;

		poll(NULL, 0, (int)s * 1000);
		rc = sample_take(p, &now);
		if (rc)
			break;
		rows = make_rows(p, &old, &now, total);
		rc = show(p, rows, i == 0, clear) ? PVL_FAIL : PVL_OK;
		json_object_put(rows);
		sample_free(&old);
		old = now;
		now = (struct sample){ NULL, 0, 0 };
	}
	sample_free(&old);
	sample_free(&now);
	return rc;
}
