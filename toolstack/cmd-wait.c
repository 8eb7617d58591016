// SPDX-License-Identifier: GPL-2.0-or-later
/* wait: until something is so with a domain.  device: both ends of one device, as the store and pvbackd have them. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "host.h"
#include "loop.h"
#include "output.h"
#include "state.h"
#include "statscli.h"

/* --- wait -------------------------------------------------------------------------------------------- */

static int left(uint64_t end)
{
	uint64_t now = pvb_now_ms();

	return end == UINT64_MAX ? -1 : now < end ? (int)(end - now) : 0;
}

/* 1: it is there, 0: it is not, -1: reported. */
static int find(struct pvl *p, const char *arg, unsigned *domid)
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	uint64_t id = UINT64_MAX;
	int found = 0;
	unsigned nr;

	if (p->ops->list(p->host, &list, &nr, &err)) {
		pvl_fail(p, &err);
		return -1;
	}
	pvb_parse_u64(arg, 0, UINT32_MAX - 1, &id);
	for (unsigned i = 0; i < nr && !found; i++) {
		found = list[i].domid == id || (id == UINT64_MAX && strcmp(list[i].name, arg) == 0);
		*domid = list[i].domid;
	}
	dom_list_free(list, nr);
	return found;
}

static void woken(void *arg, const char *path)
{
}

static int wait_created(struct pvl *p, const char *name, uint64_t end, unsigned *domid)
{
	struct pvb_store *st = p->ops->store(p->host);
	struct pvb_watch *w = NULL;
	int found;

	/* a domain gets its name in its directory, whichever tool makes it */
	if (!st || pvb_store_watch(st, "/local/domain", woken, NULL, &w))
		return pvl_failf(p, "the store can not be watched");
	while ((found = find(p, name, domid)) == 0 && left(end) != 0)
		pvb_store_dispatch(st, left(end));
	pvb_store_unwatch(&w);
	return found > 0 ? PVL_OK : found < 0 ? PVL_FAIL : pvl_failf(p, "there is no domain \"%s\" yet", name);
}

static bool is_connected(const char *value, void *arg)
{
	bool *gone = arg;

	*gone = !value;
	return *gone || strcmp(value, "4") == 0;
}

/* Wait for one end of a device that is not connected.  0 also when the end went away: the list is looked at again. */
static int wait_state(struct pvl *p, const char *dir, uint64_t end)
{
	char path[512];
	bool gone;

	snprintf(path, sizeof(path), "%.490s/state", dir);
	return pvb_store_wait(p->ops->store(p->host), path, is_connected, &gone, left(end));
}

/* The first device with an end that is not connected: its directory and name; 0 when there is none, -1 when reported. */
static int find_unconnected(struct pvl *p, unsigned domid, char *dir, size_t len, char *what, size_t what_len)
{
	struct block_info *disks;
	struct nic_info *nics = NULL;
	struct pvb_error err = { 0 };
	unsigned nr_disks, nr_nics = 0;
	int found = 0;

	if (p->ops->block_list(p->host, domid, &disks, &nr_disks, &err)) {
		pvl_fail(p, &err);
		return -1;
	}
	if (p->ops->nic_list(p->host, domid, &nics, &nr_nics, &err)) {
		block_list_free(disks, nr_disks);
		pvl_fail(p, &err);
		return -1;
	}
	for (unsigned i = 0; i < nr_disks && !found; i++) {
		const struct block_info *b = &disks[i];

		if (b->front_state == 4 && b->back_state == 4)
			continue;
		found = 1;
		snprintf(what, what_len, "disk %s", b->vdev);
		if (b->back_state == 4)
			snprintf(dir, len, "/local/domain/%u/device/vbd/%u", domid, b->devid);
		else
			snprintf(dir, len, "%s", b->backend_path);
	}
	for (unsigned i = 0; i < nr_nics && !found; i++) {
		const struct nic_info *n = &nics[i];

		if (n->front_state == 4 && n->back_state == 4)
			continue;
		found = 1;
		snprintf(what, what_len, "NIC %u", n->devid);
		if (n->back_state == 4)
			snprintf(dir, len, "/local/domain/%u/device/vif/%u", domid, n->devid);
		else
			snprintf(dir, len, "%s", n->backend_path);
	}
	block_list_free(disks, nr_disks);
	nic_list_free(nics, nr_nics);
	return found;
}

static int wait_connected(struct pvl *p, unsigned domid, uint64_t end)
{
	char dir[512], what[40];
	int found;

	if (!p->ops->store(p->host))
		return pvl_failf(p, "the store can not be reached");
	while ((found = find_unconnected(p, domid, dir, sizeof(dir), what, sizeof(what))) > 0)
		if (wait_state(p, dir, end))
			return pvl_failf(p, "%s is not connected: %s is not in state Connected", what, dir);
	return found < 0 ? PVL_FAIL : PVL_OK;
}

int cmd_wait(struct pvl *p)
{
	static const char *const words[] = { "created", "connected", "shutdown", "gone" };
	enum { CREATED, CONNECTED, SHUTDOWN, GONE, NONE } what;
	uint64_t end = p->timeout_ms < 0 ? UINT64_MAX : pvb_now_ms() + (uint64_t)p->timeout_ms;
	struct pvb_error err = { 0 };
	struct json_object *fields;
	unsigned domid = 0;
	int rc = PVL_OK, found;

	for (what = CREATED; what < NONE && strcmp(p->argv[1], words[what]) != 0; what++)
		;
	if (what == NONE)
		return pvl_usage(p, "\"%s\" is not created, connected, shutdown or gone", p->argv[1]);
	if (!pvl_host(p))
		return PVL_FAIL;
	if (what == CREATED) {
		rc = wait_created(p, p->argv[0], end, &domid);
	} else {
		found = find(p, p->argv[0], &domid);
		if (found < 0)
			return PVL_FAIL;
		if (!found && what != GONE)
			return pvl_failf(p, "no domain \"%s\"", p->argv[0]);
		if (found && what == CONNECTED)
			rc = wait_connected(p, domid, end);
		else if (found &&
			 p->ops->wait_end(p->host, domid, what == GONE ? END_GONE : END_SHUTDOWN, p->timeout_ms, &err))
			rc = pvl_fail(p, &err);
	}
	if (rc)
		return rc;
	fields = out_obj();
	out_int(fields, "domid", domid);
	out_str(fields, "state", p->argv[1]);
	return pvl_done(p, fields);
}

/* --- device ------------------------------------------------------------------------------------------ */

#define MAX_DEPTH 4 /* device, queue, and some room: a guest can nest deeper, and is not followed there */

static struct json_object *read_tree(struct pvb_store *st, const char *path, unsigned depth)
{
	struct json_object *obj = out_obj();
	char **names, *value, child[512];
	unsigned nr;

	if (pvb_store_list(st, PVB_NO_TXN, path, &names, &nr))
		return obj;
	for (unsigned i = 0; i < nr; i++) {
		struct json_object *below;

		snprintf(child, sizeof(child), "%.380s/%.120s", path, names[i]);
		below = depth < MAX_DEPTH ? read_tree(st, child, depth + 1) : out_obj();
		if (json_object_object_length(below)) {
			json_object_object_add(obj, names[i], below);
			continue;
		}
		json_object_put(below);
		value = NULL;
		out_str(obj, names[i], pvb_store_read(st, PVB_NO_TXN, child, &value) ? NULL : value);
		free(value);
	}
	pvb_store_list_free(names, nr);
	return obj;
}

static void print_tree(struct json_object *obj, unsigned indent)
{
	struct json_object_iterator it = json_object_iter_begin(obj), end = json_object_iter_end(obj);
	char cell[1024];

	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		struct json_object *value = json_object_iter_peek_value(&it);
		const char *name = json_object_iter_peek_name(&it);

		if (json_object_is_type(value, json_type_object)) {
			printf("%*s%s:\n", (int)indent, "", name);
			print_tree(value, indent + 2);
		} else if (json_object_is_type(value, json_type_array)) {
			for (size_t i = 0; i < json_object_array_length(value); i++) {
				struct json_object *item = json_object_array_get_idx(value, i);

				printf("%*s%s %zu:\n", (int)indent, "", name, i);
				if (json_object_is_type(item, json_type_object))
					print_tree(item, indent + 2);
			}
		} else {
			out_cell(value, cell, sizeof(cell));
			printf("%*s%-*s %s\n", (int)indent, "", 30 - (int)indent, name, cell);
		}
	}
}

static struct json_object *one_end(struct pvb_store *st, const char *path, int state)
{
	struct json_object *obj = out_obj();

	out_str(obj, "path", path);
	out_str(obj, "state", state < 0 ? NULL : pvb_state_name(state));
	json_object_object_add(obj, "nodes", read_tree(st, path, 0));
	return obj;
}

/* pvbackd's figures of it; null when it is not pvbackd's, or that does not run. */
static struct json_object *counters(struct pvl *p, const char *domain, const char *device)
{
	struct json_object *req = out_obj(), *reply, *devices, *one = NULL;
	char buf[256];
	const char *path = pvl_ctl(p, buf, sizeof(buf));

	out_str(req, "cmd", "stats");
	if (!path || pvl_device(p, domain, device, req)) {
		json_object_put(req);
		return NULL;
	}
	if (statscli_call(path, req, &reply, NULL))
		return NULL;
	if (json_object_object_get_ex(reply, "devices", &devices) && json_object_is_type(devices, json_type_array) &&
	    json_object_array_length(devices) == 1)
		one = json_object_get(json_object_array_get_idx(devices, 0));
	json_object_put(reply);
	return one;
}

/* The device's ends: directories and states. */
static int find_ends(struct pvl *p, unsigned domid, const char *device, char *front, char *back, size_t len, int state[2])
{
	bool is_nic = strncmp(device, "vif", 3) == 0;
	struct pvb_error err = { 0 };
	struct block_info *disks;
	struct nic_info *nics;
	unsigned nr, i;

	if (is_nic ? p->ops->nic_list(p->host, domid, &nics, &nr, &err) :
		     p->ops->block_list(p->host, domid, &disks, &nr, &err))
		return pvl_fail(p, &err);
	i = is_nic ? nic_find(nics, nr, device + 3) : block_find(disks, nr, device);
	if (i < nr) {
		snprintf(front, len, "/local/domain/%u/device/%s/%u", domid, is_nic ? "vif" : "vbd",
			 is_nic ? nics[i].devid : disks[i].devid);
		snprintf(back, len, "%s", is_nic ? nics[i].backend_path : disks[i].backend_path);
		state[0] = is_nic ? nics[i].front_state : disks[i].front_state;
		state[1] = is_nic ? nics[i].back_state : disks[i].back_state;
	}
	if (is_nic)
		nic_list_free(nics, nr);
	else
		block_list_free(disks, nr);
	return i < nr ? PVL_OK : pvl_failf(p, "domain %u has no device \"%s\": a disk is xvda, a NIC vif0", domid, device);
}

int cmd_device(struct pvl *p)
{
	char front[512], back[512];
	struct json_object *obj;
	struct pvb_store *st;
	int state[2] = { -1, -1 }, rc;
	unsigned domid;

	if (strcmp(p->argv[0], "show") != 0)
		return pvl_usage(p, "\"%s\" is not show", p->argv[0]);
	if (pvl_domain(p, p->argv[1], true, &domid))
		return PVL_FAIL;
	st = p->ops->store(p->host);
	if (!st)
		return pvl_failf(p, "the store can not be reached");
	rc = find_ends(p, domid, p->argv[2], front, back, sizeof(front), state);
	if (rc)
		return rc;
	obj = out_obj();
	out_int(obj, "domid", domid);
	out_str(obj, "device", p->argv[2]);
	json_object_object_add(obj, "front", one_end(st, front, state[0]));
	json_object_object_add(obj, "back", one_end(st, back, state[1]));
	json_object_object_add(obj, "counters", counters(p, p->argv[1], p->argv[2]));
	if (p->json)
		rc = out_json(obj);
	else
		print_tree(obj, 0);
	json_object_put(obj);
	return rc || out_flush() ? PVL_FAIL : PVL_OK;
}
