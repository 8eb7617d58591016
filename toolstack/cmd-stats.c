// SPDX-License-Identifier: GPL-2.0-or-later
/* stats: pvbackd's counters, one line a device; disks and NICs each in a table. */
#include "config.h"
#include <poll.h>
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

static bool is_nic(struct json_object *dev)
{
	struct json_object *v;

	return json_object_object_get_ex(dev, "class", &v) && v && strcmp(json_object_get_string(v), "vif") == 0;
}

static struct json_object *nic_row(struct json_object *dev)
{
	static const char *const texts[] = { "state", "mac", "ifname", "port" };
	static const struct { const char *key, *of[5]; } sums[] = {
		{ "tx_packets", { "tx_packets", NULL } },
		{ "tx_bytes", { "tx_bytes", NULL } },
		{ "rx_packets", { "rx_packets", NULL } },
		{ "rx_bytes", { "rx_bytes", NULL } },
		{ "tx_dropped", { "tx_bad", "tx_dropped_spoof", "tx_dropped_port", NULL } },
		{ "rx_dropped", { "rx_dropped_size", "rx_dropped_rate", "rx_dropped_stall", "rx_errors", NULL } },
		{ "tx_waited", { "tx_held", "tx_throttled", NULL } },
		{ "rx_waited", { "rx_no_room", NULL } },
		{ "notify_sent", { "notify_sent", NULL } },
	};
	struct json_object *row = out_obj(), *queues = NULL, *v;
	size_t nr = 0;

	if (json_object_object_get_ex(dev, "queues", &queues) && json_object_is_type(queues, json_type_array))
		nr = json_object_array_length(queues);
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		out_str(row, texts[i], json_object_object_get_ex(dev, texts[i], &v) ? json_object_get_string(v) : NULL);
	out_int(row, "domid", number(dev, "domid"));
	out_int(row, "devid", number(dev, "devid"));
	out_int(row, "queues", (long long)nr);
	for (unsigned s = 0; s < sizeof(sums) / sizeof(sums[0]); s++) {
		int64_t sum = 0;

		for (size_t i = 0; i < nr; i++)
			for (const char *const *k = sums[s].of; *k; k++)
				sum += number(json_object_array_get_idx(queues, i), *k);
		out_int(row, sums[s].key, sum);
	}
	out_int(row, "tx_kib", number(row, "tx_bytes") / 1024);
	out_int(row, "rx_kib", number(row, "rx_bytes") / 1024);
	return row;
}

struct json_object *stats_row(struct json_object *dev, bool *nic)
{
	*nic = is_nic(dev);
	return *nic ? nic_row(dev) : sum_row(dev);
}

static int show_nics(struct json_object *rows)
{
	static const struct out_col cols[] = {
		{ "domid", "ID", 5 },		      { "devid", "vif", 3 },	      { "state", "State", -12 },
		{ "mac", "Mac Addr.", -17 },	      { "queues", "Q", 2 },	      { "tx_packets", "TxPkts", 10 },
		{ "tx_kib", "TxKiB", 10 },	      { "rx_packets", "RxPkts", 10 }, { "rx_kib", "RxKiB", 10 },
		{ "tx_dropped", "TxDrop", 7 },	      { "rx_dropped", "RxDrop", 7 },  { "tx_waited", "TxWait", 7 },
		{ "rx_waited", "RxWait", 7 },	      { "ifname", "Interface", -9 },  { "port", "Port", 0 },
	};

	return out_table(rows, cols, sizeof(cols) / sizeof(cols[0]), true);
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
	struct json_object *rows, *nics;
	int rc = 0;

	if (pvl_opt(p, "prometheus")) {
		statscli_prometheus(devices);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	rows = out_arr();
	nics = out_arr();
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		bool nic;
		struct json_object *row = stats_row(json_object_array_get_idx(devices, i), &nic);

		json_object_array_add(nic ? nics : rows, row);
	}
	if (json_object_array_length(rows) || !json_object_array_length(nics))
		rc = out_table(rows, cols, sizeof(cols) / sizeof(cols[0]), true);
	if (!rc && json_object_array_length(nics))
		rc = show_nics(nics);
	json_object_put(rows);
	json_object_put(nics);
	return rc ? PVL_FAIL : PVL_OK;
}

static int one_round(struct pvl *p)
{
	struct json_object *req = out_obj(), *reply, *devices;
	int rc;

	out_str(req, "cmd", "stats");
	rc = p->argc ? pvl_device(p, p->argv[0], p->argc > 1 ? p->argv[1] : NULL, req) : PVL_OK;
	if (rc) {
		json_object_put(req);
		return rc;
	}
	if (pvl_ask(p, req, &reply))
		return PVL_FAIL;
	if (!json_object_object_get_ex(reply, "devices", &devices) || !json_object_is_type(devices, json_type_array))
		rc = pvl_failf(p, "pvbackd's answer has no devices");
	else if (p->argc && !json_object_array_length(devices))
		rc = pvl_failf(p, "pvbackd serves no such device");
	else if (p->json && !pvl_opt(p, "prometheus"))
		rc = out_json(p->lines ? devices : reply) ? PVL_FAIL : PVL_OK;
	else
		rc = show(p, devices);
	json_object_put(reply);
	return rc;
}

int cmd_stats(struct pvl *p)
{
	const char *every = pvl_opt_arg(p, "watch"), *count = pvl_opt_arg(p, "count");
	uint64_t s = 0, n = every ? UINT64_MAX : 1;
	int rc = PVL_OK;

	if (every && pvb_parse_u64(every, 1, 86400, &s))
		return pvl_usage(p, "--watch \"%s\" is not a number of seconds", every);
	if (count && (!every || pvb_parse_u64(count, 1, UINT32_MAX, &n)))
		return pvl_usage(p, "--count is a number, and goes with --watch");
	for (uint64_t i = 0; i < n && !rc; i++) {
		if (i)
			poll(NULL, 0, (int)s * 1000);
		rc = one_round(p);
	}
	return rc;
}
