// SPDX-License-Identifier: GPL-2.0-or-later
/* The local host: a fabric (pvlocald) on this machine, its domains, and what is done to one of them. */
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "host-local.h"
#include "local/fabric.h"
#include "loop.h"
#include "output.h"

#define DEFAULT_DIR "/run/pvbus-local"

/* --- record ------------------------------------------------------------------------------------------ */

int local_record(struct host *h, uint32_t domid, const char *key, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "/pvl/%u/%.60s", domid, key);
	return pvb_store_write(h->store, PVB_NO_TXN, path, value);
}

char *local_recorded(struct host *h, uint32_t domid, const char *key)
{
	char path[96], *value = NULL;

	snprintf(path, sizeof(path), "/pvl/%u/%.60s", domid, key);
	return pvb_store_read(h->store, PVB_NO_TXN, path, &value) ? NULL : value;
}

/* --- opening ----------------------------------------------------------------------------------------- */

static void local_close(struct host *h)
{
	pvb_store_close(h->store);
	free(h->dir);
	free(h);
}

/* --host local:DIR, or $PVBUS_HV if that is local, or the default. */
static char *choose_dir(const char *spec)
{
	const char *env = getenv("PVBUS_HV");
	char *dir;
	size_t n;

	if (spec)
		dir = strdup(spec);
	else if (env && strncmp(env, "local:", 6) == 0 && env[6])
		dir = strndup(env + 6, strcspn(env + 6, ":"));
	else
		dir = strdup(DEFAULT_DIR);
	for (n = dir ? strlen(dir) : 0; n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	return dir;
}

static int local_open(struct pvl *p, const char *spec, struct host **out, struct pvb_error *err)
{
	struct host *h = calloc(1, sizeof(*h));
	struct pvb_local_stats st;
	struct pvb_error why = { 0 };
	int rc;

	if (h)
		h->dir = choose_dir(spec);
	if (!h || !h->dir) {
		free(h);
		return pvb_err(err, -ENOMEM, "host local: out of memory");
	}
	h->p = p;
	snprintf(h->spec, sizeof(h->spec), "local:%s", h->dir);
	if (strlen(h->dir) > 60 || strchr(h->dir, ':'))
		rc = pvb_err(err, -EINVAL, "host local: directory \"%s\": at most 60 characters and no \":\"", h->dir);
	else if ((rc = pvb_local_stats(h->dir, &st, &why)))
		pvb_err(err, rc, "no local fabric at %s (%.80s); start one with: pvlocald --dir %s", h->dir, why.text,
			h->dir);
	else
		rc = pvb_store_open(&h->store, h->spec, err);
	if (rc)
		local_close(h);
	else
		*out = h;
	return rc;
}

static struct pvb_store *local_store(struct host *h)
{
	return h->store;
}

static const char *local_store_spec(struct host *h)
{
	return h->spec;
}

static void local_ctl_path(struct host *h, char *buf, size_t len)
{
	snprintf(buf, len, "%s/pvbackd.sock", h->dir);
}

/* --- looking ----------------------------------------------------------------------------------------- */

static void fill_dom0(struct dom_info *d)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	d->name = strdup("Domain-0");
	strcpy(d->uuid, "00000000-0000-0000-0000-000000000000");
	d->vcpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	d->memory_kib = d->max_memory_kib =
		(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)(sysconf(_SC_PAGESIZE) / 1024);
	d->running = true;
	d->reason = ' ';
	d->uptime = ts.tv_sec;
	d->type = "dom0";
}

static void fill_info(struct host *h, const struct pvb_local_domain *i, struct dom_info *d)
{
	static const char letters[] = "-rsc";
	char *name = local_recorded(h, i->domid, "name"), *uuid = local_recorded(h, i->domid, "uuid");
	char *vcpus = local_recorded(h, i->domid, "vcpus");
	struct local_proc p;
	struct timespec ts;
	uint64_t n = 1;

	local_proc_look(h, i->domid, &p);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	d->domid = i->domid;
	d->name = name ? name : strdup(i->name);
	snprintf(d->uuid, sizeof(d->uuid), "%s", uuid ? uuid : "");
	free(uuid);
	if (vcpus)
		pvb_parse_u64(vcpus, 1, 4096, &n);
	free(vcpus);
	d->vcpus = (uint32_t)n;
	d->memory_kib = d->max_memory_kib = (uint64_t)i->pages * 4;
	d->shutdown = i->state == PVB_LOCAL_SHUTDOWN;
	d->paused = !d->shutdown && (p.state == 'T' || p.state == 't');
	d->running = !d->shutdown && p.state == 'R';
	d->blocked = !d->shutdown && !d->paused && !d->running;
	d->dying = i->state == PVB_LOCAL_GONE;
	d->reason = d->shutdown ? letters[i->reason & 3] : ' ';
	d->cpu_seconds = p.cpu_seconds;
	d->uptime = ts.tv_sec - (int64_t)(i->created_ns / 1000000000u);
	d->type = "process";
}

static int local_list(struct host *h, struct dom_info **out, unsigned *nr, struct pvb_error *err)
{
	struct pvb_local_domain *doms;
	struct dom_info *list;
	bool oom;
	unsigned n;
	int rc = pvb_local_domain_list(h->dir, &doms, &n, err);

	if (rc)
		return rc;
	list = calloc((size_t)n + 1, sizeof(*list));
	if (list) {
		fill_dom0(&list[0]);
		for (unsigned i = 0; i < n; i++)
			fill_info(h, &doms[i], &list[i + 1]);
	}
	free(doms);
	oom = !list;
	for (unsigned i = 0; !oom && i <= n; i++)
		oom = !list[i].name;
	if (oom) {
		dom_list_free(list, n + 1);
		return pvb_err(err, -ENOMEM, "listing domains: out of memory");
	}
	*out = list;
	*nr = n + 1;
	return 0;
}

static int local_config(struct host *h, uint32_t domid, struct json_object **out, struct pvb_error *err)
{
	struct local_cfg lc;
	int rc;

	if (domid == 0) {
		struct json_object *c = out_obj();

		*out = out_obj();
		out_int(*out, "domid", 0);
		out_str(c, "name", "Domain-0");
		json_object_object_add(*out, "config", c);
		return 0;
	}
	rc = local_cfg_recorded(h, domid, &lc, err);
	if (rc)
		return rc;
	*out = local_cfg_json(&lc, domid);
	local_cfg_free(&lc);
	return 0;
}

static int local_info(struct host *h, struct json_object **out, struct pvb_error *err)
{
	struct pvb_local_stats st;
	struct json_object *obj;
	struct utsname u;
	int rc = pvb_local_stats(h->dir, &st, err);

	if (rc)
		return rc;
	obj = out_obj();
	uname(&u);
	out_str(obj, "host", u.nodename);
	out_str(obj, "release", u.release);
	out_str(obj, "version", u.version);
	out_str(obj, "machine", u.machine);
	out_int(obj, "nr_cpus", sysconf(_SC_NPROCESSORS_ONLN));
	out_int(obj, "total_memory", sysconf(_SC_PHYS_PAGES) / (1048576 / sysconf(_SC_PAGESIZE)));
	out_int(obj, "free_memory", sysconf(_SC_AVPHYS_PAGES) / (1048576 / sysconf(_SC_PAGESIZE)));
	out_str(obj, "fabric", h->dir);
	out_int(obj, "domains", st.domains);
	out_int(obj, "handles", st.handles);
	out_int(obj, "ports", st.ports);
	out_int(obj, "pages", st.pages);
	out_int(obj, "stuck_pages", st.stuck);
	out_int(obj, "store_nodes", st.store_nodes);
	out_int(obj, "store_watches", st.store_watches);
	out_int(obj, "store_requests", (long long)st.store_requests);
	out_str(obj, "pvl_version", VERSION);
	*out = obj;
	return 0;
}

/* --- doing ------------------------------------------------------------------------------------------- */

static bool is_gone(const char *value, void *arg)
{
	return !value;
}

static int local_wait_end(struct host *h, uint32_t domid, enum end_kind kind, int timeout_ms, struct pvb_error *err)
{
	struct pvb_local_domain info;
	char path[64];
	int rc = pvb_local_domain_wait(h->dir, domid, timeout_ms, &info, err);

	if (rc == -ESRCH || (!rc && (kind == END_SHUTDOWN || info.state == PVB_LOCAL_GONE)))
		return 0;
	if (rc)
		return pvb_err_prefix(err, rc, "waiting for the end of domain %u", domid);
	snprintf(path, sizeof(path), "/pvl/%u/name", domid);
	rc = pvb_store_wait(h->store, path, is_gone, NULL, timeout_ms);
	return rc ? pvb_err(err, rc, "domain %u has shut down but is still there", domid) : 0;
}

/* A process guest's power button is SIGTERM; having taken the request is having ended. */
static int local_shutdown(struct host *h, uint32_t domid, bool reboot, bool fallback, int timeout_ms,
			  struct pvb_error *err)
{
	struct local_proc p;
	int rc;

	local_proc_look(h, domid, &p);
	if (!p.pid)
		return pvb_err(err, -ESRCH, "domain %u has no running process", domid);
	if (p.state == 'T')
		return pvb_err(err, -EBUSY, "domain %u is paused and can not answer; unpause it first", domid);
	rc = local_record(h, domid, "asked", reboot ? "reboot" : "poweroff");
	if (!rc && kill(p.pid, SIGTERM))
		rc = -errno;
	if (rc)
		return pvb_err(err, rc, "domain %u: process %d: %s", domid, (int)p.pid, strerror(-rc));
	rc = local_wait_end(h, domid, END_SHUTDOWN, timeout_ms, err);
	if (rc) {
		char path[64];

		snprintf(path, sizeof(path), "/pvl/%u/asked", domid);
		pvb_store_rm(h->store, PVB_NO_TXN, path);
	}
	return rc;
}

static int local_pause(struct host *h, uint32_t domid, bool pause, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + 2000;
	struct local_proc p;
	int rc = local_proc_signal(h, domid, pause ? SIGSTOP : SIGCONT);

	if (rc)
		return pvb_err(err, rc, "domain %u: %s", domid,
			       rc == -ESRCH ? "it has no running process" : strerror(-rc));
	do {
		local_proc_look(h, domid, &p);
		if (!p.pid)
			return pvb_err(err, -ESRCH, "domain %u has just ended", domid);
		if ((p.state == 'T') == pause)
			return 0;
		poll(NULL, 0, 1);
	} while (pvb_now_ms() < end);
	return pvb_err(err, -EIO, "domain %u: process %d is in state %c", domid, (int)p.pid, p.state);
}

static int local_rename(struct host *h, uint32_t domid, const char *name, struct pvb_error *err)
{
	char path[96], *uuid;
	uint32_t other;
	int rc;

	if (domid == 0)
		return pvb_err(err, -EPERM, "Domain-0 keeps its name");
	if (!*name || strlen(name) > PVB_LOCAL_NAME_MAX || *name == '.' || strpbrk(name, "/ \t\n"))
		return pvb_err(err, -EINVAL, "\"%s\" is not a domain name", name);
	rc = local_name_taken(h, name, &other);
	if (rc > 0)
		return other == domid ? 0 : pvb_err(err, -EEXIST, "domain %u has the name \"%s\" already", other, name);
	rc = local_record(h, domid, "name", name);
	snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
	if (!rc)
		rc = pvb_store_write(h->store, PVB_NO_TXN, path, name);
	uuid = local_recorded(h, domid, "uuid");
	if (!rc && uuid) {
		snprintf(path, sizeof(path), "/vm/%.36s/name", uuid);
		rc = pvb_store_write(h->store, PVB_NO_TXN, path, name);
	}
	free(uuid);
	return rc ? pvb_err(err, rc, "renaming domain %u: %s", domid, strerror(-rc)) : 0;
}

/* A process guest has none by itself, but a program may be one that has. */
static int local_console_tty(struct host *h, uint32_t domid, const char *type, int num, char **path, struct pvb_error *err)
{
	char *name, node[64];
	int rc;

	snprintf(node, sizeof(node), "/local/domain/%u/console/tty", domid);
	if (pvb_store_read(h->store, PVB_NO_TXN, node, path) == 0)
		return 0;
	name = local_recorded(h, domid, "name");
	rc = pvb_err(err, -EOPNOTSUPP, "a process guest has no console; what it prints is in %s/log/%s.log "
			 "(or use create --console)", h->dir, name ? name : "NAME");

	free(name);
	return rc;
}

const struct host_ops host_local = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.plan = local_plan,
	.create = local_create,
	.monitor = local_monitor,
	.list = local_list,
	.config = local_config,
	.info = local_info,
	.destroy = local_destroy,
	.shutdown = local_shutdown,
	.wait_end = local_wait_end,
	.pause = local_pause,
	.rename = local_rename,
	.console_tty = local_console_tty,
	.block_list = local_block_list,
	.block_attach = local_block_attach,
	.block_detach = local_block_detach,
	.block_plan = local_block_plan,
	.nic_list = local_nic_list,
	.nic_attach = local_nic_attach,
	.nic_detach = local_nic_detach,
	.nic_plan = local_nic_plan,
	.store_spec = local_store_spec,
	.store = local_store,
	.ctl_path = local_ctl_path,
};
