// SPDX-License-Identifier: GPL-2.0-or-later
/* The checks of pvl doctor. */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "doctor.h"
#include "host.h"
#include "output.h"
#include "state.h"
#include "statscli.h"

void doctor_find(struct doctor *d, const char *check, const char *severity, const char *todo, const char *fmt, ...)
{
	struct json_object *f = out_obj();
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_str(f, "check", check);
	out_str(f, "severity", severity);
	out_str(f, "what", text);
	out_str(f, "todo", todo);
	json_object_array_add(d->findings, f);
}

/* --- store ------------------------------------------------------------------------------------------- */

struct alive {
	struct dom_info *list;
	unsigned nr;
};

static const struct dom_info *domain(const struct alive *a, const char *id)
{
	uint64_t n;

	if (pvb_parse_u64(id, 0, UINT32_MAX - 1, &n))
		return NULL;
	for (unsigned i = 0; i < a->nr; i++)
		if (a->list[i].domid == n)
			return &a->list[i];
	return NULL;
}

/* Call fn for every child's name of a directory; nothing when there is none. */
static void
each_child(struct doctor *d, struct pvb_store *st, const char *path,
	   void (*fn)(struct doctor *d, struct pvb_store *st, const char *path, const char *name, void *arg), void *arg)
{
	char **names;
	unsigned nr;

	if (pvb_store_list(st, PVB_NO_TXN, path, &names, &nr))
		return;
	for (unsigned i = 0; i < nr; i++)
		fn(d, st, path, names[i], arg);
	pvb_store_list_free(names, nr);
}

struct place {
	struct alive *alive;
	const char *kind;
	const struct dom_info *dom;
	const char *front_id;
};

/* vif-bridge would fail, and did: the NIC has nowhere to go. */
static void check_bridge(struct doctor *d, struct pvb_store *st, const char *back)
{
	char path[240], *script = NULL, *bridge = NULL, todo[200];

	snprintf(path, sizeof(path), "%s/script", back);
	pvb_store_read(st, PVB_NO_TXN, path, &script);
	snprintf(path, sizeof(path), "%s/bridge", back);
	pvb_store_read(st, PVB_NO_TXN, path, &bridge);
	if (script && bridge && strstr(script, "/vif-bridge") && !strchr(bridge, '/')) {
		snprintf(path, sizeof(path), "%s/class/net/%.64s/bridge", d->sys, bridge);
		snprintf(todo, sizeof(todo), "ip link add %.64s type bridge && ip link set %.64s up, then attach the NIC again",
			 bridge, bridge);
		if (access(path, F_OK))
			doctor_find(d, "network", "error", todo, "%s: there is no bridge %.64s", back, bridge);
	}
	free(script);
	free(bridge);
}

static void one_device(struct doctor *d, struct pvb_store *st, const char *dir, const char *devid, void *arg)
{
	const struct place *pl = arg;
	char back[200], front[200], todo[300];
	const char *class = strcmp(pl->kind, "vif") == 0 ? "vif" : "vbd";
	enum pvb_state b, f;

	snprintf(back, sizeof(back), "%s/%s", dir, devid);
	snprintf(front, sizeof(front), "/local/domain/%s/device/%s/%s", pl->front_id, class, devid);
	b = pvb_state_read(st, PVB_NO_TXN, back);
	f = pvb_state_read(st, PVB_NO_TXN, front);
	snprintf(todo, sizeof(todo), "pvl -f %s-detach %s %s", strcmp(class, "vif") ? "block" : "network", pl->dom->name, devid);
	if (strcmp(class, "vif") == 0)
		check_bridge(d, st, back);
	if (!pvb_store_exists(st, PVB_NO_TXN, front))
		doctor_find(d, "stale", "error", todo, "%s: back end without a front end (%s)", back,
			    pvb_state_name(b));
	else if (b == PVB_CLOSING || (b == PVB_CLOSED && f == PVB_CONNECTED))
		doctor_find(d, "stuck", "error", todo, "%s: closing does not end: back end %s, front end %s", back,
			    pvb_state_name(b), pvb_state_name(f));
	else if (b == PVB_INITIALISING && !pl->dom->paused)
		doctor_find(d, "stuck", "error", strcmp(class, "vif") ?
			    "start the back end that serves it (pvbackd, or modprobe xen-blkback)" :
			    "start the back end that serves it (pvbackd, or modprobe xen-netback)", "%s: no back end has taken it (back end %s)", back, pvb_state_name(b));
	else if (b == PVB_CONNECTED && (f == PVB_CLOSED || f == PVB_UNKNOWN))
		doctor_find(d, "stuck", "warning", todo, "%s: back end %s, front end %s", back, pvb_state_name(b),
			    pvb_state_name(f));
}

static void one_front(struct doctor *d, struct pvb_store *st, const char *dir, const char *id, void *arg)
{
	struct place pl = *(struct place *)arg;
	char path[160], todo[300];

	snprintf(path, sizeof(path), "%s/%s", dir, id);
	pl.dom = domain(pl.alive, id);
	pl.front_id = id;
	if (!pl.dom) {
		snprintf(todo, sizeof(todo), "xenstore-rm %s", path);
		doctor_find(d, "stale", "error", todo, "%s: the domain is gone", path);
	} else if (strcmp(pl.kind, "pci")) { /* has one bus for all devices: doctor_pci() looks at these */
		each_child(d, st, path, one_device, &pl);
	}
}

static void one_kind(struct doctor *d, struct pvb_store *st, const char *dir, const char *kind, void *arg)
{
	static const char *const ours[] = { "vbd", "vbd3", "vif", "qdisk", "pci" };
	struct place pl = { .alive = arg, .kind = kind };
	char path[120];

	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(ours[i], kind) == 0) {
			snprintf(path, sizeof(path), "%s/%s", dir, kind);
			each_child(d, st, path, one_front, &pl);
		}
}

/* The other way round: a front end directory whose back end is not there. */
static void half_fronts(struct doctor *d, struct pvb_store *st, const struct dom_info *dom)
{
	struct block_info *list;
	unsigned nr;

	if (!dom->domid || d->p->ops->block_list(d->p->host, dom->domid, &list, &nr, NULL))
		return;
	for (unsigned i = 0; i < nr; i++)
		if (list[i].backend_path && *list[i].backend_path &&
		    !pvb_store_exists(st, PVB_NO_TXN, list[i].backend_path)) {
			char todo[200];

			snprintf(todo, sizeof(todo), "pvl -f block-detach %s %s", dom->name, list[i].vdev);
			doctor_find(d, "stale", "error", todo, "disk %s of %s: its back end %s is gone", list[i].vdev,
				    dom->name, list[i].backend_path);
		}
	block_list_free(list, nr);
}

/* Names that a domain has while it is moved, or for good when who moved it was killed. */
static void half_moved(struct doctor *d, const struct dom_info *dom)
{
	char todo[200];

	if (dom_name_ends(dom->name, DOM_INCOMING)) {
		snprintf(todo, sizeof(todo), "unless it is just being received: pvl destroy %u", dom->domid);
		doctor_find(d, "migration", "warning", todo, "domain %u (%s) is a copy that was never started", dom->domid, dom->name);
	} else if (dom_name_ends(dom->name, DOM_AWAY)) {
		snprintf(todo, sizeof(todo), "look on the other host; if it does not run there: pvl rename %u NAME and pvl resume %u",
			 dom->domid, dom->domid);
		doctor_find(d, "migration", "warning", todo, "domain %u (%s) has been sent, and what became of it is not known",
			    dom->domid, dom->name);
	}
}

void doctor_store(struct doctor *d)
{
	struct pvb_store *st = d->p->ops->store(d->p->host);
	struct pvb_error err = { 0 };
	struct alive a;

	if (!st) {
		doctor_find(d, "stale", "error", "start xenstored (or pvlocald)", "the store can not be reached");
		return;
	}
	if (d->p->ops->list(d->p->host, &a.list, &a.nr, &err)) {
		doctor_find(d, "stale", "error", NULL, "domains can not be listed: %s", err.text);
		return;
	}
	each_child(d, st, "/local/domain/0/backend", one_kind, &a);
	for (unsigned i = 0; i < a.nr; i++) {
		half_fronts(d, st, &a.list[i]);
		half_moved(d, &a.list[i]);
		if (a.list[i].dying)
			doctor_find(d, "stale", "warning", "find who still maps its memory (pvbackd, QEMU) and end it",
				    "domain %u (%s) is dying but not gone", a.list[i].domid, a.list[i].name);
	}
	dom_list_free(a.list, a.nr);
}

/* --- kernel ------------------------------------------------------------------------------------------ */

static bool exists(const char *root, const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return access(full, F_OK) == 0;
}

/* Devices bound to a xenbus driver: links "vbd-DOM-DEV" below it. */
static unsigned count_bound(const char *root, const char *path, const char *prefix)
{
	char full[256];
	struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	snprintf(full, sizeof(full), "%s%s", root, path);
	dir = opendir(full);
	while (dir && (e = readdir(dir)))
		n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	if (dir)
		closedir(dir);
	return n;
}

void doctor_kernel(struct doctor *d)
{
	static const struct {
		const char *path, *module, *what;
	} needs[] = {
		{ "/dev/xen/privcmd", "xen-privcmd", "domains can not be managed" },
		{ "/dev/xen/evtchn", "xen-evtchn", "back ends in user space have no event channels" },
		{ "/dev/xen/gntdev", "xen-gntdev", "back ends in user space can not map grants" },
		{ "/dev/xen/gntalloc", "xen-gntalloc", "front ends in user space can not grant pages" },
		{ "/dev/xen/xenbus", "xenfs", "the store can only be reached through xenstored's socket" },
	};
	char todo[80];

	if (!d->xen)
		return;
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (access(needs[i].path, F_OK)) {
			snprintf(todo, sizeof(todo), "modprobe %s", needs[i].module);
			doctor_find(d, "kernel", i < 3 ? "error" : "warning", todo, "%s is missing: %s", needs[i].path,
				    needs[i].what);
		}
	if (exists(d->sys, "/bus/xen-backend/drivers/vbd"))
		doctor_find(
			d, "kernel", "warning",
			"rmmod xen-blkback; /etc/modprobe.d/pvbus-modprobe.conf keeps it from coming back",
			"xen-blkback is loaded (%u devices bound): it takes every vbd, also those meant for pvbackd",
			count_bound(d->sys, "/bus/xen-backend/drivers/vbd", "vbd-"));
	if (exists(d->sys, "/bus/xen-backend/drivers/vif"))
		doctor_find(
			d, "kernel", "warning",
			"rmmod xen-netback; /etc/modprobe.d/pvbus-modprobe.conf keeps it from coming back; restart pvbackd",
			"xen-netback is loaded (%u devices bound): it takes every vif, and pvbackd leaves them to it",
			count_bound(d->sys, "/bus/xen-backend/drivers/vif", "vif-"));
	if (access(XEN_SCRIPT_DIR "/vif-pvbus", X_OK))
		doctor_find(d, "script", "error", "make install (or link the script there)",
			    XEN_SCRIPT_DIR "/vif-pvbus: %s: NICs on ports of pvbackd can not be attached",
			    strerror(errno));
	if (access(XEN_SCRIPT_DIR "/block-pvbus", X_OK))
		doctor_find(d, "script", "error", "make install (or link the script there)",
			    XEN_SCRIPT_DIR "/block-pvbus: %s: backendtype=pvbus disks can not be attached",
			    strerror(errno));
}

/* --- daemon ------------------------------------------------------------------------------------------ */

static const char *text(struct json_object *obj, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(obj, key, &v) && v ? json_object_get_string(v) : NULL;
}

/* Somebody took the interface away under the guest. */
static void check_tap(struct doctor *d, struct json_object *dev)
{
	const char *port = text(dev, "port"), *phase = text(dev, "phase"), *dom = text(dev, "domid"), *id = text(dev, "devid");

	if (port && strncmp(port, "tap", 3) == 0 && phase && strcmp(phase, "connected") == 0 && !text(dev, "ifname"))
		doctor_find(d, "network", "error", "detach the NIC and attach it again",
			    "vif %s of domain %s is connected, but its TAP interface is gone", id ? id : "?", dom ? dom : "?");
}

void doctor_daemon(struct doctor *d)
{
	struct json_object *req = out_obj(), *reply, *devices;
	struct pvb_error err = { 0 };
	char buf[256], todo[200];
	const char *path = pvl_ctl(d->p, buf, sizeof(buf));

	out_str(req, "cmd", "devices");
	if (statscli_call(path, req, &reply, &err)) {
		snprintf(todo, sizeof(todo), d->xen ? "systemctl start pvbackd (or run: pvbackd)" : "pvbackd --hv %s",
			 d->p->ops->store_spec(d->p->host));
		doctor_find(d, "daemon", "error", todo, "%s", err.text);
		return;
	}
	if (json_object_object_get_ex(reply, "devices", &devices) && json_object_is_type(devices, json_type_array))
		for (size_t i = 0; i < json_object_array_length(devices); i++) {
			struct json_object *dev = json_object_array_get_idx(devices, i);
			const char *alarm = text(dev, "alarm"), *error = text(dev, "error");
			const char *dom = text(dev, "domid"), *vdev = text(dev, "vdev"), *class = text(dev, "class");
			const char *waits = text(dev, "waits_for_resume");
			const char *noun = class && strcmp(class, "vif") == 0 ? "vif" : "disk";

			if (strcmp(noun, "vif") == 0) {
				vdev = text(dev, "devid");
				check_tap(d, dev);
			}
			snprintf(todo, sizeof(todo), "pvl backend resume %s %s%s, once the cause is gone", dom ? dom : "?",
				 *noun == 'v' ? "vif" : "", vdev ? vdev : "?");
			if (alarm)
				doctor_find(d, "daemon", "error", todo,
					    "disk %s of domain %s: alarm: %s", vdev ? vdev : "?", dom ? dom : "?",
					    alarm);
			else if (error)
				doctor_find(d, "daemon", "error",
					    waits && strcmp(waits, "true") == 0 ? todo : "detach and attach it again once the cause is gone",
					    "%s %s of domain %s: %s", noun, vdev ? vdev : "?", dom ? dom : "?", error);
		}
	json_object_put(reply);
}

/* --- consoles ---------------------------------------------------------------------------------------- */

static bool running(const char *proc, const char *name)
{
	DIR *dir = opendir(proc);
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		char path[300], comm[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s/comm", proc, e->d_name);
		f = *e->d_name >= '0' && *e->d_name <= '9' ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		found = fgets(comm, sizeof(comm), f) && strncmp(comm, name, strlen(name)) == 0 && comm[strlen(name)] == '\n';
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* An answer of pvbackd's, or NULL: doctor_daemon() has told why. */
static struct json_object *ask(struct doctor *d, const char *cmd)
{
	struct json_object *req = out_obj(), *reply = NULL;
	char buf[256];

	out_str(req, "cmd", cmd);
	return statscli_call(pvl_ctl(d->p, buf, sizeof(buf)), req, &reply, NULL) ? NULL : reply;
}

static void one_console(struct doctor *d, struct json_object *c)
{
	const char *error = text(c, "error"), *phase = text(c, "phase"), *dom = text(c, "domid");
	char todo[160];

	snprintf(todo, sizeof(todo), phase && strcmp(phase, "parked") == 0 ? "pvl console --serve pty %s, once the guest is to be trusted again" :
		 "it is tried again by itself; pvl console --show %s", dom ? dom : "?");
	if (error)
		doctor_find(d, "console", "error", todo, "console of domain %s: %s", dom ? dom : "?", error);
}

void doctor_consoles(struct doctor *d)
{
	struct json_object *info = ask(d, "info"), *reply, *list;
	const char *places = info && json_object_object_get_ex(info, "info", &list) ? text(list, "consoles") : NULL;
	bool xenconsoled = running(d->proc, "xenconsoled");

	if (d->xen && info && places && xenconsoled)
		doctor_find(d, "console", "warning", "stop xenconsoled and keep it from starting, or leave --consoles away",
			    "xenconsoled runs beside pvbackd --consoles: who is first has a guest's console");
	if (d->xen && info && !places && !xenconsoled)
		doctor_find(d, "console", "error", "start xenconsoled, or pvbackd --consoles pty",
			    "nobody serves consoles: xl create gives a domain up that gets none within 10 s");
	reply = places ? ask(d, "consoles") : NULL;
	if (reply && json_object_object_get_ex(reply, "consoles", &list) && json_object_is_type(list, json_type_array))
		for (size_t i = 0; i < json_object_array_length(list); i++)
			one_console(d, json_object_array_get_idx(list, i));
	json_object_put(reply);
	json_object_put(info);
}
