/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ctl.c: the control socket: a JSON object a line, each answered by one.
 *
 *   {"cmd":"stats"[,"domid":N][,"devid":N][,"class":"vbd"|"vif"]}   counters of all (matching) devices
 *   {"cmd":"devices"}                         the same without counters
 *   {"cmd":"check","path":BACKEND}            can this device's target or port be opened? (hotplug scripts)
 *   {"cmd":"refresh","domid":N,"devid":N}     look at the image's size now
 *   {"cmd":"resume","domid":N,"devid":N[,"class":"vif"]}      try held requests now; a parked device: go on
 *   {"cmd":"consoles"[,"domid":N]}            the consoles that are served, with counters
 *   {"cmd":"console","domid":N,"serve":TEXT}  serve one there (pvbus-console(7)); also what was parked
 *   {"cmd":"info"}                            version, process, since when, and where its journals are
 *   {"cmd":"upgrade","path":PROGRAM[,"force":true]}   stop, and become that program
 *   {"cmd":"policy","domid":N,"devid":N,"class":C,"policy":P}
 *
 * Answers: {"ok":true,...} or {"ok":false,"error":"..."}.
 */
#include "config.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console.h"
#include "log.h"
#include "net/packet.h"
#include "nif-fields.h"
#include "server.h"
#include "stats.h"
#include "supervisor.h"
#include "vbd.h"
#include "vif.h"

static void add(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static struct json_object *op_json(const struct stats_queue *q, unsigned op)
{
	struct json_object *o = json_object_new_object();

	add(o, "count", stats_get(&q->op[op].count));
	add(o, "bytes", stats_get(&q->op[op].bytes));
	add(o, "errors", stats_get(&q->op[op].errors));
	return o;
}

static struct json_object *latency_json(const uint64_t *hist, uint64_t max_ns)
{
	static const struct { const char *name; double percent; } points[] = {
		{ "p50", 50 }, { "p95", 95 }, { "p99", 99 }, { "p999", 99.9 },
	};
	struct json_object *o = json_object_new_object();

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		json_object_object_add(o, points[i].name, json_object_new_double(stats_percentile(hist, points[i].percent)));
	json_object_object_add(o, "max", json_object_new_double((double)max_ns / 1000.0));
	return o;
}

static struct json_object *queue_json(const struct stats_device *s, unsigned id)
{
	const struct stats_queue *q = &s->queue[id];
	struct json_object *o = json_object_new_object(), *hist = json_object_new_array();
	uint64_t sum[STATS_BUCKETS] = { 0 }, errors = 0, max_ns = 0;

	add(o, "id", id);
	for (unsigned op = 0; op < STATS_NR_OPS; op++) {
		json_object_object_add(o, stats_op_name[op], op_json(q, op));
		errors += stats_get(&q->op[op].errors);
		if (stats_get(&q->op[op].max_ns) > max_ns)
			max_ns = stats_get(&q->op[op].max_ns);
		for (unsigned b = 0; b < STATS_BUCKETS; b++)
			sum[b] += stats_get(&q->op[op].hist[b]);
	}
	add(o, "errors", errors);
	add(o, "rejected", stats_get(&q->rejected));
	add(o, "in_flight", stats_get(&q->in_flight));
	add(o, "passes", stats_get(&q->passes));
	add(o, "starved", stats_get(&q->starved));
	add(o, "notify_sent", stats_get(&q->notify_sent));
	add(o, "notify_suppressed", stats_get(&q->notify_suppressed));
	add(o, "event_received", stats_get(&q->event_received));
	add(o, "event_spurious", stats_get(&q->event_spurious));
	add(o, "event_delayed", stats_get(&q->event_delayed));
	add(o, "copy_calls", stats_get(&s->copy_calls));
	add(o, "copy_ops", stats_get(&q->copy_ops));
	add(o, "maps", stats_get(&q->map_ops));
	add(o, "persistent_hits", stats_get(&q->persistent_hits));
	json_object_object_add(o, "latency_us", latency_json(sum, max_ns));
	for (unsigned b = 0; b < STATS_BUCKETS; b++)
		json_object_array_add(hist, json_object_new_uint64(sum[b]));
	json_object_object_add(o, "latency_hist", hist);
	return o;
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text && *text ? json_object_new_string(text) : NULL);
}

/* What there is to say of any device. */
static struct json_object *device_json(struct device *d)
{
	struct json_object *o = json_object_new_object();

	add(o, "domid", d->id.front);
	add(o, "devid", d->id.devid);
	add_text(o, "class", d->id.class);
	add_text(o, "kind", d->kind);
	add_text(o, "state", pvb_state_name(pvb_state_read(d->sup->store, PVB_NO_TXN, d->back)));
	add_text(o, "phase", device_phase_name[d->phase]);
	add(o, "worker", d->guest ? (uint64_t)d->guest->pid : 0);
	add_text(o, "error", d->error);
	json_object_object_add(o, "waits_for_resume", json_object_new_boolean(d->parked));
	return o;
}

static struct json_object *vbd_json(struct vbd *v, bool counters)
{
	struct json_object *o = device_json(&v->dev), *queues;
	const struct stats_device *stats = v->dev.stats;
	unsigned nr_queues = v->dev.connect.blk.nr_queues;
	char dev[16];

	pvb_vdev_name(v->dev.id.devid, dev, sizeof(dev));
	add_text(o, "vdev", dev);
	add_text(o, "provider", v->target ? v->target->provider : NULL);
	add_text(o, "target", v->target ? v->target->text : NULL);
	json_object_object_add(o, "readonly", json_object_new_boolean(v->readonly));
	add(o, "size", v->info.size);
	add(o, "nr_queues", nr_queues);
	add(o, "ring_pages", v->dev.connect.blk.ring_pages);
	add_text(o, "alarm", v->alarm);
	if (!counters)
		return o;
	add(o, "parked", stats ? stats_get(&stats->parked) : 0);
	queues = json_object_new_array();
	for (unsigned i = 0; stats && i < nr_queues; i++)
		json_object_array_add(queues, queue_json(stats, i));
	json_object_object_add(o, "queues", queues);
	return o;
}

static void add_rate(struct json_object *o, const char *key, const struct nif_rate *rate)
{
	struct json_object *r = json_object_new_object();

	add(r, "bytes", rate->bytes);
	add(r, "usecs", rate->usecs);
	json_object_object_add(o, key, r);
}

static struct json_object *nif_queue_json(const struct nif_queue_stats *q, unsigned id)
{
	struct json_object *o = json_object_new_object();

	add(o, "id", id);
	for (unsigned i = 0; i < NR_NIF_QUEUE_FIELDS; i++)
		add(o, nif_queue_field[i].name, nif_field(q, &nif_queue_field[i]));
	return o;
}

static struct json_object *vif_json(struct vif *v, bool counters)
{
	struct json_object *o = device_json(&v->dev), *list;
	const struct nif_stats *stats = v->dev.stats;
	unsigned nr_queues = v->dev.connect.nif.nr_queues;
	char text[32];

	packet_mac_text(v->cfg.mac, text);
	add_text(o, "mac", text);
	vif_ifname(v, text);
	add_text(o, "ifname", text);
	add_text(o, "port", v->port ? v->port->text : NULL);
	add(o, "mtu", v->cfg.mtu);
	add(o, "nr_queues", nr_queues);
	add(o, "max_queues", v->max_queues);
	add(o, "ips", v->cfg.nr_ips);
	add_rate(o, "rate", &v->tx);
	add_rate(o, "rx_rate", &v->rx);
	json_object_object_add(o, "stalled", json_object_new_boolean(v->stalled));
	json_object_object_add(o, "multicast_control", json_object_new_boolean(v->multicast_control));
	if (!counters)
		return o;
	for (unsigned i = 0; i < NR_NIF_FIELDS; i++)
		add(o, nif_stats_field[i].name, stats ? nif_field(stats, &nif_stats_field[i]) : 0);
	list = json_object_new_array();
	for (unsigned i = 0; stats && i < nr_queues; i++)
		json_object_array_add(list, nif_queue_json(&stats->queue[i], i));
	json_object_object_add(o, "queues", list);
	return o;
}

static char *finish(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	size_t len = strlen(text);
	char *out = malloc(len + 2);

	if (out) {
		memcpy(out, text, len);
		memcpy(out + len, "\n", 2);
	}
	json_object_put(o);
	return out;
}

static char *fail(const char *text)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "ok", json_object_new_boolean(0));
	json_object_object_add(o, "error", json_object_new_string(text));
	return finish(o);
}

static char *ok(struct json_object *extra, const char *key)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "ok", json_object_new_boolean(1));
	if (extra)
		json_object_object_add(o, key, extra);
	return finish(o);
}

static int64_t number(struct json_object *req, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(req, key, &v) && json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;
}

static const char *text(struct json_object *req, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(req, key, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

static char *devices(struct supervisor *sup, struct json_object *req, bool counters)
{
	struct json_object *list = json_object_new_array();
	int64_t domid = number(req, "domid"), devid = number(req, "devid");
	const char *class = text(req, "class");

	for (struct device *d = sup->devices; d; d = d->next)
		if (!d->gone && (domid < 0 || domid == d->id.front) && (devid < 0 || devid == d->id.devid) &&
		    (!*class || strcmp(class, d->id.class) == 0))
			json_object_array_add(list, vbd_of(d) ? vbd_json(vbd_of(d), counters) : vif_json(vif_of(d), counters));
	return ok(list, "devices");
}

static char *check(struct supervisor *sup, struct json_object *req)
{
	const char *path = text(req, "path");
	struct pvb_device_id id;
	struct pvb_error err;
	char kind[16];

	if (pvb_device_parse(path, &id, kind) < 0)
		return fail("path is not a back end's directory");
	if (device_ops_of(kind)->check(sup, path, &err) < 0)
		return fail(err.text);
	return ok(NULL, NULL);
}

static char *about(struct supervisor *sup)
{
	struct json_object *o = json_object_new_object(), *kinds = json_object_new_array();
	char path[256];
	ssize_t n;

	add_text(o, "version", PACKAGE_VERSION);
	add(o, "pid", (uint64_t)getpid());
	add(o, "started_ns", sup->started);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = 0;
	if (n > 10 && strcmp(path + n - 10, " (deleted)") == 0)
		path[n - 10] = 0;
	add_text(o, "program", path);
	supervisor_path(sup, "journal", "pvbackd-journal", path, sizeof(path));
	add_text(o, "consoles", sup->o.consoles);
	add_text(o, "journal", sup->keep_fd < 0 ? NULL : path);
	for (unsigned i = 0; sup->o.kinds[i]; i++)
		json_object_array_add(kinds, json_object_new_string(sup->o.kinds[i]));
	json_object_object_add(o, "kinds", kinds);
	return ok(o, "info");
}

static char *upgrade(struct supervisor *sup, struct json_object *req)
{
	struct json_object *force;
	struct pvb_error err;

	if (supervisor_hand_over(sup, text(req, "path"), json_object_object_get_ex(req, "force", &force) && json_object_get_boolean(force), &err) < 0)
		return fail(err.text);
	return ok(NULL, NULL);
}

static int find_word(const char *const *words, unsigned nr, const char *word)
{
	for (unsigned i = 0; i < nr && words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return (int)i;
	return -1;
}

static char *command(struct supervisor *sup, struct json_object *req, enum ipc_type type)
{
	struct pvb_device_id id = { .front = (uint32_t)number(req, "domid"), .devid = (uint32_t)number(req, "devid") };
	struct device *d = device_find(sup, strcmp(text(req, "class"), vif_ops.class) == 0 ? vif_ops.class : vbd_ops.class, &id);
	struct ipc_msg m;
	int rc;

	if (d && d->parked && type == IPC_RESUME) {
		device_unpark(d);
		return ok(NULL, NULL);
	}
	if (!d || !vbd_of(d) || !d->guest)
		return fail("no such disk is attached");
	device_ipc(d, &m, type);
	if (type == IPC_POLICY) {
		int cls = find_word(blk_error_class_name, BLK_ERR_NR, text(req, "class"));
		int policy = find_word(blk_policy_name, 4, text(req, "policy"));

		if (cls < 0 || policy < 0)
			return fail("class is enospc, flush-error or io-error; policy is retry, report, stop or ignore");
		m.u.policy.cls = (uint32_t)cls;
		m.u.policy.policy = (uint32_t)policy;
		vbd_of(d)->cfg.policy[cls] = (enum blk_policy)policy;
	}
	rc = guest_send(d->guest, &m, NULL, 0);
	return rc < 0 ? fail(strerror(-rc)) : ok(NULL, NULL);
}

static char *console(struct supervisor *sup, struct json_object *req)
{
	int64_t domid = number(req, "domid");
	struct pvb_error err;

	if (domid < 0 || domid > UINT32_MAX)
		return fail("domid is missing");
	if (console_serve(sup, (uint32_t)domid, text(req, "serve"), &err) < 0)
		return fail(err.text);
	return ok(consoles_json(sup, domid), "consoles");
}

static char *answer(void *arg, const char *line)
{
	struct supervisor *sup = arg;
	struct json_object *req = json_tokener_parse(line);
	const char *cmd;
	char *out;

	if (!req || !json_object_is_type(req, json_type_object)) {
		json_object_put(req);
		return fail("a request is a JSON object");
	}
	cmd = text(req, "cmd");
	if (strcmp(cmd, "stats") == 0 || strcmp(cmd, "devices") == 0)
		out = devices(sup, req, *cmd == 's');
	else if (strcmp(cmd, "check") == 0)
		out = check(sup, req);
	else if (strcmp(cmd, "refresh") == 0)
		out = command(sup, req, IPC_REFRESH);
	else if (strcmp(cmd, "resume") == 0)
		out = command(sup, req, IPC_RESUME);
	else if (strcmp(cmd, "policy") == 0)
		out = command(sup, req, IPC_POLICY);
	else if (strcmp(cmd, "consoles") == 0)
		out = ok(consoles_json(sup, number(req, "domid")), "consoles");
	else if (strcmp(cmd, "console") == 0)
		out = console(sup, req);
	else if (strcmp(cmd, "info") == 0)
		out = about(sup);
	else if (strcmp(cmd, "upgrade") == 0)
		out = upgrade(sup, req);
	else
		out = fail("cmd is stats, devices, check, refresh, resume, policy, consoles, console, info or upgrade");
	json_object_put(req);
	return out;
}

int ctl_open(struct server **out, struct supervisor *sup, const char *path, struct pvb_error *err)
{
	static const struct server_ops ops = { .answer = answer };

	return server_open(out, sup->loop, path, &ops, sup, err);
}
