// SPDX-License-Identifier: GPL-2.0-or-later
/* stats: pvbackd's counters, one line a device. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "host.h"
#include "offer.h"
#include "output.h"
#include "statscli.h"

static int64_t number(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return obj && json_object_object_get_ex(obj, key, &v) ? json_object_get_int64(v) : 0;
}

static double real(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return obj && json_object_object_get_ex(obj, key, &v) ? json_object_get_double(v) : 0;
}

static int64_t of_op(struct json_object *queue, const char *op, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(queue, op, &v) ? number(v, key) : 0;
}

/* Sums over the queues; of the latencies the worst, since percentiles do not add. */
static struct json_object *sum_row(struct json_object *dev)
{
	static const char *const texts[] = { "vdev", "state", "provider", "target", "alarm" };
	int64_t reads = 0, writes = 0, other = 0, read_bytes = 0, write_bytes = 0, errors = 0, flight = 0, sent = 0;
	struct json_object *row = out_obj(), *queues = NULL, *v;
	double p50 = 0, p99 = 0;
	size_t nr = 0;

	if (json_object_object_get_ex(dev, "queues", &queues) && json_object_is_type(queues, json_type_array))
		nr = json_object_array_length(queues);
	for (size_t i = 0; i < nr; i++) {
		struct json_object *q = json_object_array_get_idx(queues, i), *l = NULL;

		reads += of_op(q, "read", "count");
		writes += of_op(q, "write", "count");
		other += of_op(q, "flush", "count") + of_op(q, "discard", "count");
		read_bytes += of_op(q, "read", "bytes");
		write_bytes += of_op(q, "write", "bytes");
		errors += number(q, "errors");
		flight += number(q, "in_flight");
		sent += number(q, "notify_sent");
		json_object_object_get_ex(q, "latency_us", &l);
		p50 = real(l, "p50") > p50 ? real(l, "p50") : p50;
		p99 = real(l, "p99") > p99 ? real(l, "p99") : p99;
	}
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		out_str(row, texts[i], json_object_object_get_ex(dev, texts[i], &v) ? json_object_get_string(v) : NULL);
	out_int(row, "domid", number(dev, "domid"));
	out_int(row, "queues", (long long)nr);
	out_int(row, "reads", reads);
	out_int(row, "writes", writes);
	out_int(row, "other", other);
	out_int(row, "read_kib", read_bytes / 1024);
	out_int(row, "write_kib", write_bytes / 1024);
	out_int(row, "errors", errors);
	out_int(row, "in_flight", flight);
	out_int(row, "notify_sent", sent);
	out_real(row, "p50_us", p50);
	out_real(row, "p99_us", p99);
	return row;
}

static int show(struct pvl *p, struct json_object *devices)
{
	static const struct out_col cols[] = {
		{ "domid", "ID", 5 },		{ "vdev", "Vdev", -6 },	   { "state", "State", -12 },
		{ "provider", "Provider", -8 }, { "queues", "Q", 2 },	   { "reads", "Reads", 10 },
		{ "writes", "Writes", 10 },	{ "other", "Other", 7 },   { "read_kib", "RdKiB", 10 },
		{ "write_kib", "WrKiB", 10 },	{ "errors", "Errors", 6 }, { "in_flight", "Flight", 6 },
		{ "p50_us", "p50us", 8 },	{ "p99_us", "p99us", 8 },  { "alarm", "Alarm", 0 },
	};
	struct json_object *rows;
	int rc;

	if (pvl_opt(p, "prometheus")) {
		statscli_prometheus(devices);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	rows = out_arr();
	for (size_t i = 0; i < json_object_array_length(devices); i++)
		json_object_array_add(rows, sum_row(json_object_array_get_idx(devices, i)));
	rc = out_table(rows, cols, sizeof(cols) / sizeof(cols[0]), true);
	json_object_put(rows);
	return rc ? PVL_FAIL : PVL_OK;
}

/* A domain is looked up with its host, but a bare id needs none: counters outlive a broken toolstack. */
static int request(struct pvl *p, struct json_object *req)
{
	struct pvb_error err = { 0 };
	unsigned domid;
	uint32_t devid;
	uint64_t id;

	out_str(req, "cmd", "stats");
	if (p->argc < 1)
		return PVL_OK;
	if (pvb_parse_u64(p->argv[0], 0, UINT32_MAX - 1, &id) == 0)
		domid = (unsigned)id;
	else if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	out_int(req, "domid", domid);
	if (p->argc < 2)
		return PVL_OK;
	if (pvb_vdev_parse(p->argv[1], &devid, &err))
		return pvl_fail(p, &err);
	out_int(req, "devid", devid);
	return PVL_OK;
}

int cmd_stats(struct pvl *p)
{
	struct json_object *req = out_obj(), *reply, *devices;
	const char *path = pvl_opt_arg(p, "socket");
	struct pvb_error err = { 0 };
	char buf[256];
	int rc = request(p, req);

	if (!path)
		path = getenv("PVBACKD_SOCKET");
	if (!rc && !path) {
		if (pvl_host(p))
			p->ops->ctl_path(p->host, buf, sizeof(buf));
		else
			rc = PVL_FAIL;
		path = buf;
	}
	if (rc) {
		json_object_put(req);
		return rc;
	}
	if (statscli_call(path, req, &reply, &err))
		return pvl_fail(p, &err);
	if (!json_object_object_get_ex(reply, "devices", &devices) || !json_object_is_type(devices, json_type_array))
		rc = pvl_failf(p, "pvbackd's answer has no devices");
	else if (p->argc && !json_object_array_length(devices))
		rc = pvl_failf(p, "pvbackd serves no such device");
	else if (p->json && !pvl_opt(p, "prometheus"))
		rc = out_json(reply) ? PVL_FAIL : PVL_OK;
	else
		rc = show(p, devices);
	json_object_put(reply);
	return rc;
}
