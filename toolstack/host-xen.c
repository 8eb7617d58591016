// SPDX-License-Identifier: GPL-2.0-or-later
/* The Xen host: opening it, its domains, and what is done to one of them.  Creating, disks and
 * configuration have files of their own. */
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <libxl_event.h>
#include <libxlutil.h>
#include "host-xen.h"
#include "loop.h"
#include "output.h"
#include "statscli.h"

/* --- xl.conf ----------------------------------------------------------------------------------------- */

static void conf_text(struct cfg *cfg, const char *key, char **to)
{
	const char *v;

	if (cfg_string(cfg, key, &v, NULL) == 0)
		*to = strdup(v);
}

static void conf_u32(struct cfg *cfg, const char *key, uint32_t *to)
{
	long v;

	if (cfg_long(cfg, key, 0, INT32_MAX, &v, NULL) == 0)
		*to = (uint32_t)v;
}

void xl_conf_read(struct xl_conf *conf, const char *file)
{
	const char *v;
	struct cfg *cfg;
	bool b;

	memset(conf, 0, sizeof(*conf));
	conf->hotplug_scripts = true;
	conf->autoballoon = BALLOON_AUTO;
	conf->max_grant_frames = conf->max_maptrack_frames = LIBXL_MAX_GRANT_DEFAULT;
	if (cfg_read(&cfg, file, NULL, 0, NULL))
		return; /* without one the defaults hold, as for xl */
	if (cfg_bool(cfg, "run_hotplug_scripts", &b, NULL) == 0)
		conf->hotplug_scripts = b;
	if (cfg_bool(cfg, "claim_mode", &b, NULL) == 0)
		conf->claim = b;
	if (cfg_string(cfg, "autoballoon", &v, NULL) == 0)
		conf->autoballoon = strcmp(v, "off") == 0 || strcmp(v, "0") == 0 ? BALLOON_OFF :
				    strcmp(v, "on") == 0 || strcmp(v, "1") == 0	 ? BALLOON_ON : BALLOON_AUTO;
	conf_u32(cfg, "max_grant_frames", &conf->max_grant_frames);
	conf_u32(cfg, "max_maptrack_frames", &conf->max_maptrack_frames);
	conf_text(cfg, "lockfile", &conf->lockfile);
	conf_text(cfg, "vif.default.script", &conf->vif_script);
	conf_text(cfg, "vif.default.bridge", &conf->vif_bridge);
	conf_text(cfg, "vif.default.backend", &conf->vif_backend);
	conf_text(cfg, "vif.default.gatewaydev", &conf->vif_gatewaydev);
	conf_text(cfg, "blkdev_start", &conf->blkdev_start);
	cfg_free(cfg);
}

void xl_conf_free(struct xl_conf *conf)
{
	free(conf->lockfile);
	free(conf->vif_script);
	free(conf->vif_bridge);
	free(conf->vif_backend);
	free(conf->vif_gatewaydev);
	free(conf->blkdev_start);
}

/* --- opening ----------------------------------------------------------------------------------------- */

/* Our children are ours to reap (monitor, console); libxl's are libxl's. */
static const libxl_childproc_hooks childproc = { .chldowner = libxl_sigchld_owner_libxl_always_selective_reap };

static int xen_open(struct pvl *p, const char *spec, struct host **out, struct pvb_error *err)
{
	struct host *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return pvb_err(err, -ENOMEM, "host xen: out of memory");
	h->p = p;
	xlog_init(&h->log, p);
	if (access("/dev/xen/privcmd", F_OK) && access("/proc/xen/privcmd", F_OK)) {
		free(h);
		return pvb_err(err, -ENODEV, "host xen: no /dev/xen/privcmd: this is not dom0 of a running Xen "
			       "(--host local works anywhere)");
	}
	rc = libxl_ctx_alloc(&h->ctx, LIBXL_VERSION, 0, &h->log.vtable);
	if (rc) {
		xen_err(h, err, rc, "host xen%s", geteuid() ? " (needs root)" : "");
		free(h);
		return err ? err->code : -EIO;
	}
	libxl_childproc_setmode(h->ctx, &childproc, NULL);
	xl_conf_read(&h->conf, "/etc/xen/xl.conf");
	*out = h;
	return 0;
}

static void xen_close(struct host *h)
{
	pvb_store_close(h->store);
	libxl_ctx_free(h->ctx);
	xl_conf_free(&h->conf);
	free(h);
}

struct pvb_store *xen_store(struct host *h)
{
	struct pvb_error err = { 0 };

	if (!h->store && pvb_store_open(&h->store, "xen", &err))
		pvl_error(h->p, "%s", err.text);
	return h->store;
}

int xen_add_reason(struct host *h, const char *back, struct pvb_error *err, int rc)
{
	static const char *const keys[] = { "hotplug-error", "error" };
	char path[256], text[sizeof(err->text)], *said;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", back, keys[i]);
		if (!xen_store(h) || pvb_store_read(h->store, PVB_NO_TXN, path, &said))
			continue;
		snprintf(text, sizeof(text), "%s", err->text);
		pvb_err(err, rc, "%.140s; the back end says: %.80s", text, said);
		free(said);
		break;
	}
	return rc;
}

int xen_ask_pvbackd(struct host *h, struct pvb_error *why)
{
	const char *path = getenv("PVBACKD_SOCKET");
	struct json_object *req, *reply;
	char buf[128];
	int rc;

	if (!path) {
		host_xen.ctl_path(h, buf, sizeof(buf));
		path = buf;
	}
	req = out_obj();
	out_str(req, "cmd", "devices");
	rc = statscli_call(path, req, &reply, why);
	if (!rc)
		json_object_put(reply);
	return rc;
}

static const char *xen_store_spec(struct host *h)
{
	return "xen";
}

static void xen_ctl_path(struct host *h, char *buf, size_t len)
{
	snprintf(buf, len, "/run/pvbackd/ctl");
}

/* --- looking ----------------------------------------------------------------------------------------- */

static char reason_letter(libxl_shutdown_reason r)
{
	static const char letters[] = "-rscwS";

	return r >= 0 && r < (int)sizeof(letters) - 1 ? letters[r] : ' ';
}

/* libxl keeps the start time (seconds since 1970, fraction) beside the vm's name. */
static int64_t uptime_of(struct host *h, const libxl_dominfo *i)
{
	struct pvb_store *st = xen_store(h);
	char path[80], uuid[37], *text = NULL;
	int64_t up = -1;

	snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(i->uuid));
	snprintf(path, sizeof(path), "/vm/%s/start_time", uuid);
	if (i->domid == 0) {
		struct timespec ts;

		clock_gettime(CLOCK_BOOTTIME, &ts);
		return ts.tv_sec;
	}
	if (st && pvb_store_read(st, PVB_NO_TXN, path, &text) == 0) {
		long long start = strtoll(text, NULL, 10);

		if (start > 0)
			up = (int64_t)time(NULL) - start;
	}
	free(text);
	return up < 0 ? -1 : up;
}

/* Xen does not tell pvh from hvm; libxl keeps a note. */
static const char *type_of(struct host *h, const libxl_dominfo *i)
{
	char path[40], *text = NULL;
	bool pvh;

	if (i->domid == 0)
		return "dom0";
	snprintf(path, sizeof(path), "/libxl/%u/type", i->domid);
	pvh = xen_store(h) && pvb_store_read(h->store, PVB_NO_TXN, path, &text) == 0 && strcmp(text, "pvh") == 0;
	free(text);
	return pvh ? "pvh" : libxl_domain_type_to_string(i->domain_type);
}

static char *nodes_of(struct host *h, uint32_t domid)
{
	libxl_physinfo phys;
	libxl_bitmap map;
	char *text = NULL;

	libxl_physinfo_init(&phys);
	libxl_bitmap_init(&map);
	if (libxl_get_physinfo(h->ctx, &phys) == 0 && libxl_node_bitmap_alloc(h->ctx, &map, 0) == 0 &&
	    libxl_domain_get_nodeaffinity(h->ctx, domid, &map) == 0)
		text = xen_map_text(&map, (int)phys.nr_nodes);
	libxl_bitmap_dispose(&map);
	libxl_physinfo_dispose(&phys);
	return text;
}

static void fill_info(struct host *h, const libxl_dominfo *i, struct dom_info *d)
{
	char *name = libxl_domid_to_name(h->ctx, i->domid);

	d->domid = i->domid;
	d->name = name ? name : strdup("");
	snprintf(d->uuid, sizeof(d->uuid), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(i->uuid));
	d->memory_kib = i->current_memkb + i->outstanding_memkb;
	d->max_memory_kib = i->max_memkb;
	d->vcpus = i->vcpu_online;
	d->running = i->running;
	d->blocked = i->blocked;
	d->paused = i->paused;
	d->shutdown = i->shutdown;
	d->dying = i->dying;
	d->reason = i->shutdown ? reason_letter(i->shutdown_reason) : ' ';
	d->cpu_seconds = (double)i->cpu_time / 1e9;
	d->uptime = uptime_of(h, i);
	d->type = type_of(h, i);
	d->pool = libxl_cpupoolid_to_name(h->ctx, i->cpupool);
	d->label = i->ssid_label ? strdup(i->ssid_label) : NULL;
	d->nodes = nodes_of(h, i->domid);
}

static int xen_list(struct host *h, struct dom_info **out, unsigned *nr, struct pvb_error *err)
{
	int n;
	libxl_dominfo *infos = libxl_list_domain(h->ctx, &n);
	struct dom_info *list;

	if (!infos)
		return xen_err(h, err, ERROR_FAIL, "listing domains");
	list = calloc((size_t)n + 1, sizeof(*list));
	for (int i = 0; list && i < n; i++) {
		fill_info(h, &infos[i], &list[i]);
		if (!list[i].name) {
			dom_list_free(list, (unsigned)n);
			list = NULL;
		}
	}
	libxl_dominfo_list_free(infos, n);
	if (!list)
		return pvb_err(err, -ENOMEM, "listing domains: out of memory");
	*out = list;
	*nr = (unsigned)n;
	return 0;
}

struct json_object *xen_config_json(struct host *h, const libxl_domain_config *dc, int64_t domid)
{
	char *text = libxl_domain_config_to_json(h ? h->ctx : NULL, (libxl_domain_config *)dc);
	struct json_object *obj = out_obj();

	if (domid >= 0)
		out_int(obj, "domid", domid);
	else
		json_object_object_add(obj, "domid", NULL);
	json_object_object_add(obj, "config", text ? json_tokener_parse(text) : NULL);
	free(text);
	return obj;
}

static int xen_config(struct host *h, uint32_t domid, struct json_object **out, struct pvb_error *err)
{
	libxl_domain_config dc;
	libxl_asyncop_how how = xen_op(h);
	int rc;

	libxl_domain_config_init(&dc);
	rc = xen_wait(h, &how, libxl_retrieve_domain_configuration(h->ctx, domid, &dc, &how), -1);
	if (rc)
		xen_err(h, err, rc, "configuration of domain %u", domid);
	else
		*out = xen_config_json(h, &dc, domid);
	libxl_domain_config_dispose(&dc);
	return rc ? err->code : 0;
}

static void info_physical(struct host *h, const libxl_physinfo *i, struct json_object *obj)
{
	char text[160];

	out_int(obj, "nr_cpus", i->nr_cpus);
	out_int(obj, "max_cpu_id", i->max_cpu_id);
	out_int(obj, "nr_nodes", i->nr_nodes);
	out_int(obj, "cores_per_socket", i->cores_per_socket);
	out_int(obj, "threads_per_core", i->threads_per_core);
	snprintf(text, sizeof(text), "%u.%03u", i->cpu_khz / 1000, i->cpu_khz % 1000);
	out_str(obj, "cpu_mhz", text);
	snprintf(text, sizeof(text), "%08x:%08x:%08x:%08x:%08x:%08x:%08x:%08x", i->hw_cap[0], i->hw_cap[1],
		 i->hw_cap[2], i->hw_cap[3], i->hw_cap[4], i->hw_cap[5], i->hw_cap[6], i->hw_cap[7]);
	out_str(obj, "hw_caps", text);
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s", i->cap_pv ? " pv" : "", i->cap_hvm ? " hvm" : "",
		 i->cap_hvm && i->cap_hvm_directio ? " hvm_directio" : "",
		 i->cap_pv && i->cap_hvm_directio ? " pv_directio" : "", i->cap_hap ? " hap" : "",
		 i->cap_shadow ? " shadow" : "", i->cap_gnttab_v1 ? " gnttab-v1" : "",
		 i->cap_gnttab_v2 ? " gnttab-v2" : "");
	out_str(obj, "virt_caps", *text ? text + 1 : "");
	out_int(obj, "total_memory", (long long)(i->total_pages / 256));
	out_int(obj, "free_memory", (long long)((i->free_pages - i->outstanding_pages) / 256));
	out_int(obj, "sharing_freed_memory", (long long)(i->sharing_freed_pages / 256));
	out_int(obj, "sharing_used_memory", (long long)(i->sharing_used_frames / 256));
	out_int(obj, "outstanding_claims", (long long)(i->outstanding_pages / 256));
}

static void info_version(const libxl_version_info *v, struct json_object *obj)
{
	char text[64];

	out_int(obj, "xen_major", v->xen_version_major);
	out_int(obj, "xen_minor", v->xen_version_minor);
	out_str(obj, "xen_extra", v->xen_version_extra);
	snprintf(text, sizeof(text), "%d.%d%.40s", v->xen_version_major, v->xen_version_minor, v->xen_version_extra);
	out_str(obj, "xen_version", text);
	out_str(obj, "xen_caps", v->capabilities);
	out_int(obj, "xen_pagesize", v->pagesize);
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v->virt_start);
	out_str(obj, "platform_params_virt_start", text);
	out_str(obj, "xen_changeset", v->changeset);
	out_str(obj, "xen_commandline", v->commandline);
	out_str(obj, "cc_compiler", v->compiler);
	out_str(obj, "cc_compile_date", v->compile_date);
	out_str(obj, "build_id", v->build_id);
}

static void info_topology(struct host *h, struct json_object *obj)
{
	struct json_object *cpus = out_arr(), *nodes = out_arr(), *row;
	int nr_cpus = 0, nr_nodes = 0;
	libxl_cputopology *cpu = libxl_get_cpu_topology(h->ctx, &nr_cpus);
	libxl_numainfo *node = libxl_get_numainfo(h->ctx, &nr_nodes);

	for (int i = 0; cpu && i < nr_cpus; i++) {
		if (cpu[i].core == LIBXL_CPUTOPOLOGY_INVALID_ENTRY)
			continue;
		row = out_obj();
		out_int(row, "cpu", i);
		out_int(row, "core", cpu[i].core);
		out_int(row, "socket", cpu[i].socket);
		out_int(row, "node", cpu[i].node);
		json_object_array_add(cpus, row);
	}
	for (int i = 0; node && i < nr_nodes; i++) {
		char text[256] = "";

		if (node[i].size == LIBXL_NUMAINFO_INVALID_ENTRY)
			continue;
		for (int d = 0; d < node[i].num_dists && strlen(text) < sizeof(text) - 12; d++)
			snprintf(text + strlen(text), 12, "%s%u", d ? "," : "", node[i].dists[d]);
		row = out_obj();
		out_int(row, "node", i);
		out_int(row, "memsize", (long long)(node[i].size >> 20));
		out_int(row, "memfree", (long long)(node[i].free >> 20));
		out_str(row, "distances", text);
		json_object_array_add(nodes, row);
	}
	libxl_cputopology_list_free(cpu, cpu ? nr_cpus : 0);
	libxl_numainfo_list_free(node, node ? nr_nodes : 0);
	json_object_object_add(obj, "cpu_topology", cpus);
	json_object_object_add(obj, "numa_info", nodes);
}

static int xen_info(struct host *h, struct json_object **out, struct pvb_error *err)
{
	const libxl_version_info *v = libxl_get_version_info(h->ctx);
	struct json_object *obj;
	libxl_bitmap free_cpus;
	libxl_physinfo phys;
	struct utsname u;
	int rc;

	libxl_physinfo_init(&phys);
	rc = libxl_get_physinfo(h->ctx, &phys);
	if (rc || !v) {
		libxl_physinfo_dispose(&phys);
		return xen_err(h, err, rc ? rc : ERROR_FAIL, "asking Xen");
	}
	obj = out_obj();
	uname(&u);
	out_str(obj, "host", u.nodename);
	out_str(obj, "release", u.release);
	out_str(obj, "version", u.version);
	out_str(obj, "machine", u.machine);
	info_physical(h, &phys, obj);
	libxl_bitmap_init(&free_cpus);
	if (libxl_cpu_bitmap_alloc(h->ctx, &free_cpus, 0) == 0 && libxl_get_freecpus(h->ctx, &free_cpus) == 0)
		out_int(obj, "free_cpus", libxl_bitmap_count_set(&free_cpus));
	libxl_bitmap_dispose(&free_cpus);
	info_version(v, obj);
	info_topology(h, obj);
	rc = libxl_get_scheduler(h->ctx);
	out_str(obj, "xen_scheduler", rc >= 0 ? libxl_scheduler_to_string((libxl_scheduler)rc) : NULL);
	out_str(obj, "pvl_version", VERSION);
	libxl_physinfo_dispose(&phys);
	*out = obj;
	return 0;
}

/* --- doing ------------------------------------------------------------------------------------------- */

int xen_look(struct host *h, uint32_t domid, libxl_dominfo *i, struct pvb_error *err)
{
	int rc;

	libxl_dominfo_init(i);
	rc = libxl_domain_info(h->ctx, i, domid);
	return rc ? xen_err(h, err, rc, "domain %u", domid) : 0;
}

/* libxl tells of a domain's death when it begins to die; it is there until nobody has its memory mapped, QEMU for one. */
static bool is_gone(struct host *h, uint32_t domid, int timeout_ms)
{
	uint64_t end = pvb_now_ms() + (uint64_t)(timeout_ms < 0 ? 10000 : timeout_ms);
	libxl_dominfo i;
	int rc;

	for (;;) {
		libxl_dominfo_init(&i);
		rc = libxl_domain_info(h->ctx, &i, domid);
		libxl_dominfo_dispose(&i);
		if (rc || pvb_now_ms() >= end)
			return rc != 0;
		poll(NULL, 0, 50);
	}
}

int xen_destroy(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	libxl_evgen_domain_death *death = NULL;
	libxl_asyncop_how how = xen_op(h);
	libxl_event *ev = NULL;
	struct pci_slot *slots = NULL;
	unsigned nr_slots = 0;
	int rc;

	if (xen_pci_slots(h, domid, &slots, &nr_slots, NULL))
		nr_slots = 0;
	libxl_evenable_domain_death(h->ctx, domid, 0, &death);
	rc = xen_wait(h, &how, libxl_domain_destroy(h->ctx, domid, &how), timeout_ms);
	/* it stays, dying, for as long as somebody has its memory mapped */
	if (!rc && death && xen_event(h, 1u << LIBXL_EVENT_TYPE_DOMAIN_DEATH, domid, &ev, timeout_ms) == 0)
		libxl_event_free(h->ctx, ev);
	if (death)
		libxl_evdisable_domain_death(h->ctx, death);
	if (rc) {
		free(slots);
		return xen_err(h, err, rc, "destroying domain %u", domid);
	}
	if (!is_gone(h, domid, timeout_ms))
		rc = pvb_err(err, -EBUSY, "domain %u is dying but not gone: some program still maps its memory", domid);
	else
		rc = xen_pci_released(h, domid, slots, nr_slots, err);
	free(slots);
	return rc;
}

static int xen_shutdown(struct host *h, uint32_t domid, bool reboot, bool fallback, int timeout_ms,
			struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	libxl_dominfo i;
	int rc = xen_look(h, domid, &i, err);

	if (rc)
		return rc;
	if (i.shutdown || i.dying)
		rc = pvb_err(err, -ESRCH, "domain %u has shut down already", domid);
	else if (i.paused)
		rc = pvb_err(err, -EBUSY, "domain %u is paused and can not answer; unpause it first", domid);
	libxl_dominfo_dispose(&i);
	if (rc)
		return rc;
	rc = xen_wait(h, &how,
		      reboot ? libxl_domain_reboot(h->ctx, domid, &how) : libxl_domain_shutdown(h->ctx, domid, &how),
		      timeout_ms);
	if (rc == ERROR_NOPARAVIRT && fallback) {
		how = xen_op(h);
		rc = xen_wait(
			h, &how,
			libxl_send_trigger(h->ctx, domid, reboot ? LIBXL_TRIGGER_RESET : LIBXL_TRIGGER_POWER, 0, &how),
			timeout_ms);
	}
	return rc ? xen_err(h, err, rc, "asking domain %u to %s", domid, reboot ? "reboot" : "shut down") : 0;
}

static int xen_wait_end(struct host *h, uint32_t domid, enum end_kind kind, int timeout_ms, struct pvb_error *err)
{
	uint64_t types =
		1u << LIBXL_EVENT_TYPE_DOMAIN_DEATH | (kind == END_GONE ? 0 : 1u << LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN);
	libxl_evgen_domain_death *death = NULL;
	libxl_event *ev;
	libxl_dominfo i;
	int rc = libxl_evenable_domain_death(h->ctx, domid, 0, &death);

	if (rc)
		return xen_err(h, err, rc, "watching domain %u", domid);
	libxl_dominfo_init(&i);
	rc = libxl_domain_info(h->ctx, &i, domid);
	libxl_dominfo_dispose(&i);
	if (rc == ERROR_DOMAIN_NOTFOUND)
		rc = 0;
	else if (!rc && !(rc = xen_event(h, types, domid, &ev, timeout_ms)))
		libxl_event_free(h->ctx, ev);
	libxl_evdisable_domain_death(h->ctx, death);
	return rc ? xen_err(h, err, rc, "waiting for the end of domain %u", domid) : 0;
}

static int xen_pause(struct host *h, uint32_t domid, bool pause, struct pvb_error *err)
{
	libxl_dominfo i;
	int rc = xen_look(h, domid, &i, err);

	/* Xen counts pauses; what is asked for is a state */
	for (int tries = 0; !rc && i.paused != pause && tries < 32; tries++) {
		libxl_asyncop_how how = xen_op(h);

		rc = xen_wait(h, &how,
			      pause ? libxl_domain_pause(h->ctx, domid, &how)
				    : libxl_domain_unpause(h->ctx, domid, &how),
			      -1);
		if (rc)
			return xen_err(h, err, rc, "%spausing domain %u", pause ? "" : "un", domid);
		libxl_dominfo_dispose(&i);
		rc = xen_look(h, domid, &i, err);
	}
	if (!rc && i.paused != pause)
		rc = pvb_err(err, -EIO, "domain %u is still %s", domid, pause ? "running" : "paused");
	libxl_dominfo_dispose(&i);
	return rc;
}

static int xen_rename(struct host *h, uint32_t domid, const char *name, struct pvb_error *err)
{
	uint32_t other;
	char *now;
	int rc;

	if (!*name || strlen(name) > 127 || strpbrk(name, "/ \t\n"))
		return pvb_err(err, -EINVAL, "\"%s\" is not a domain name", name);
	if (libxl_name_to_domid(h->ctx, name, &other) == 0)
		return other == domid ? 0 : pvb_err(err, -EEXIST, "domain %u has the name \"%s\" already", other, name);
	h->log.cause[0] = '\0';
	rc = libxl_domain_rename(h->ctx, domid, NULL, name);
	if (rc)
		return xen_err(h, err, rc, "renaming domain %u", domid);
	now = libxl_domid_to_name(h->ctx, domid);
	rc = now && strcmp(now, name) == 0
		     ? 0
		     : pvb_err(err, -EIO, "domain %u is still called \"%s\"", domid, now ? now : "");
	free(now);
	return rc;
}

static bool sysrq_taken(const char *value, void *arg)
{
	return !value || !*value;
}

static int xen_sysrq(struct host *h, uint32_t domid, char letter, struct pvb_error *err)
{
	char path[64];
	int rc = libxl_send_sysrq(h->ctx, domid, letter);

	if (rc)
		return xen_err(h, err, rc, "sysrq to domain %u", domid);
	/* a guest that takes the key empties the node */
	snprintf(path, sizeof(path), "/local/domain/%u/control/sysrq", domid);
	rc = xen_store(h) ? pvb_store_wait(h->store, path, sysrq_taken, NULL, pvl_timeout(h->p, 5000)) : -EIO;
	return rc ? pvb_err(err, rc, "domain %u has not taken sysrq %c (no support in the guest?)", domid, letter) : 0;
}

static int xen_trigger(struct host *h, uint32_t domid, const char *name, uint32_t vcpu, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	libxl_trigger t;
	int rc;

	if (libxl_trigger_from_string(name, &t) || t == LIBXL_TRIGGER_UNKNOWN)
		return pvb_err(err, -EINVAL, "\"%s\" is not nmi, reset, init, power, sleep or s3resume", name);
	rc = xen_wait(h, &how, libxl_send_trigger(h->ctx, domid, t, vcpu, &how), pvl_timeout(h->p, 10000));
	return rc ? xen_err(h, err, rc, "trigger %s to domain %u", name, domid) : 0;
}

const struct host_ops host_xen = {
	.name = "xen",
	.open = xen_open,
	.close = xen_close,
	.plan = xen_plan,
	.create = xen_create,
	.monitor = xen_monitor,
	.list = xen_list,
	.config = xen_config,
	.info = xen_info,
	.destroy = xen_destroy,
	.shutdown = xen_shutdown,
	.wait_end = xen_wait_end,
	.pause = xen_pause,
	.rename = xen_rename,
	.sysrq = xen_sysrq,
	.trigger = xen_trigger,
	.vcpu_list = xen_vcpu_list,
	.vcpu_set = xen_vcpu_set,
	.vcpu_pin = xen_vcpu_pin,
	.mem_set = xen_mem_set,
	.mem_max = xen_mem_max,
	.dmesg = xen_dmesg,
	.debug_keys = xen_debug_keys,
	.dump_core = xen_dump_core,
	.cd_change = xen_cd_change,
	.config_update = xen_config_update,
	.suspend = xen_suspend,
	.resume = xen_resume,
	.save = xen_save,
	.restore = xen_restore,
	.migrate = xen_migrate,
	.receive = xen_receive,
	.settle = xen_settle,
	.console_tty = xen_console_tty,
	.block_list = xen_block_list,
	.block_attach = xen_block_attach,
	.block_detach = xen_block_detach,
	.block_plan = xen_block_plan,
	.nic_list = xen_nic_list,
	.nic_attach = xen_nic_attach,
	.nic_detach = xen_nic_detach,
	.nic_plan = xen_nic_plan,
	.pci = &xen_pci_ops,
	.usb = &xen_usb_ops,
	.store_spec = xen_store_spec,
	.store = xen_store,
	.ctl_path = xen_ctl_path,
};
