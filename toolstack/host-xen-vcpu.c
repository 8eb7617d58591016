// SPDX-License-Identifier: GPL-2.0-or-later
/* Processors and memory of a running Xen domain: how many, where they run, how much.
 *
 * What a guest has to do itself (take a processor off line, give memory back) is asked for in the store, and Xen has no
 * event for its doing so: it is looked for every tenth of a second, for a bounded time.
 */
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen.h"
#include "loop.h"
#include "output.h"

/* --- looking ----------------------------------------------------------------------------------------- */

char *xen_map_text(const libxl_bitmap *map, int nr_cpus)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int nr = 0;

	if (!f)
		return NULL;
	for (int i = 0; i < nr_cpus; i++)
		nr += libxl_bitmap_test(map, i) != 0;
	if (nr == 0 || nr == nr_cpus)
		fputs(nr ? "all" : "none", f);
	for (int i = 0, first; nr < nr_cpus && i < nr_cpus; i++) {
		if (!libxl_bitmap_test(map, i))
			continue;
		for (first = i; i + 1 < nr_cpus && libxl_bitmap_test(map, i + 1);)
			i++;
		fprintf(f, "%s%d", ftell(f) ? "," : "", first);
		if (i > first)
			fprintf(f, "-%d", i);
	}
	fclose(f);
	return text;
}

static void add_row(struct host *h, uint32_t domid, const char *name, const libxl_vcpuinfo *v, int nr_cpus,
		    struct json_object *rows)
{
	char *hard = xen_map_text(&v->cpumap, nr_cpus), *soft = xen_map_text(&v->cpumap_soft, nr_cpus), both[256];
	struct json_object *row = out_obj();
	char state[4] = "--p";

	if (v->online)
		snprintf(state, sizeof(state), "%c%c-", v->running ? 'r' : '-', v->blocked ? 'b' : '-');
	snprintf(both, sizeof(both), "%.120s / %.120s", hard ? hard : "", soft ? soft : "");
	out_str(row, "name", name);
	out_int(row, "domid", domid);
	out_int(row, "vcpu", v->vcpuid);
	if (v->online)
		out_int(row, "cpu", v->cpu);
	else
		out_str(row, "cpu", NULL);
	out_bool(row, "online", v->online);
	out_str(row, "state", state);
	out_real(row, "cpu_seconds", (double)v->vcpu_time / 1e9);
	out_str(row, "hard_affinity", hard);
	out_str(row, "soft_affinity", soft);
	out_str(row, "affinity", both);
	json_object_array_add(rows, row);
	free(hard);
	free(soft);
}

int xen_vcpu_list(struct host *h, uint32_t domid, struct json_object *rows, struct pvb_error *err)
{
	int nr = 0, nr_cpus = 0;
	libxl_vcpuinfo *list = libxl_list_vcpu(h->ctx, domid, &nr, &nr_cpus);
	char *name;

	if (!list)
		return xen_err(h, err, ERROR_FAIL, "processors of domain %u", domid);
	name = libxl_domid_to_name(h->ctx, domid);
	for (int i = 0; i < nr; i++)
		add_row(h, domid, name ? name : "", &list[i], nr_cpus, rows);
	free(name);
	libxl_vcpuinfo_list_free(list, nr);
	return 0;
}

/* --- how many ---------------------------------------------------------------------------------------- */

/* The guest's kernel switches them; one that is paused will do so later. */
static int wait_online(struct host *h, uint32_t domid, unsigned nr, int timeout_ms, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + (uint64_t)timeout_ms;
	libxl_dominfo i;

	for (;;) {
		unsigned online;
		bool paused, over;
		int rc = xen_look(h, domid, &i, err);

		if (rc)
			return rc;
		online = i.vcpu_online;
		paused = i.paused;
		over = i.shutdown || i.dying;
		libxl_dominfo_dispose(&i);
		if (online == nr)
			return 0;
		if (paused) {
			pvl_note(h->p, "domain %u is paused: it will have %u processors once it runs", domid, nr);
			return 0;
		}
		if (over || pvb_now_ms() >= end)
			return pvb_err(err, -ETIMEDOUT, "domain %u has %u processors on line, not %u: its kernel has not done "
				       "what it was asked (some leave it to udev)", domid, online, nr);
		poll(NULL, 0, 100);
	}
}

int xen_vcpu_set(struct host *h, uint32_t domid, unsigned nr, bool ignore_host, int timeout_ms, struct pvb_error *err)
{
	int cpus = libxl_get_online_cpus(h->ctx), rc;
	libxl_asyncop_how how;
	libxl_dominfo i;
	libxl_bitmap map;
	unsigned max;

	rc = xen_look(h, domid, &i, err);
	if (rc)
		return rc;
	max = i.vcpu_max_id + 1;
	libxl_dominfo_dispose(&i);
	if (nr > max)
		return pvb_err(err, -ERANGE, "domain %u was made for %u processors (maxvcpus), not %u", domid, max, nr);
	if (!ignore_host && cpus > 0 && nr > (unsigned)cpus)
		return pvb_err(err, -ERANGE, "this host has %d processors, not %u; --ignore-host gives the domain more",
			       cpus, nr);
	if (h->p->dry_run)
		return 0;
	libxl_bitmap_init(&map);
	if (libxl_cpu_bitmap_alloc(h->ctx, &map, (int)max))
		return pvb_err(err, -ENOMEM, "vcpu-set: out of memory");
	for (unsigned c = 0; c < nr; c++)
		libxl_bitmap_set(&map, (int)c);
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_set_vcpuonline(h->ctx, domid, &map, &how), 30000);
	libxl_bitmap_dispose(&map);
	if (rc)
		return xen_err(h, err, rc, "giving domain %u %u processors", domid, nr);
	return wait_online(h, domid, nr, timeout_ms, err);
}

/* --- where ------------------------------------------------------------------------------------------- */

/* One argument of vcpu-pin; *map stays empty for "-", which leaves things as they are. */
static int read_map(struct host *h, const char *text, libxl_bitmap *map, int nr_cpus, struct pvb_error *err)
{
	bool any = false;

	if (strcmp(text, "-") == 0)
		return 0;
	if (libxl_cpu_bitmap_alloc(h->ctx, map, 0))
		return pvb_err(err, -ENOMEM, "vcpu-pin: out of memory");
	if (xen_cpus_parse(h, text, map))
		return pvb_err(err, -EINVAL, "\"%s\" is not a set of this host's processors, such as 0-3,^2 or node:0",
			       text);
	for (int i = 0; i < nr_cpus; i++)
		any = any || libxl_bitmap_test(map, i);
	return any ? 0 : pvb_err(err, -EINVAL, "\"%s\": none of this host's %d processors is left", text, nr_cpus);
}

static int pin(struct host *h, uint32_t domid, int vcpu, const libxl_bitmap *hard, const libxl_bitmap *soft, bool force,
	       struct pvb_error *err)
{
	int rc;

	h->log.cause[0] = '\0';
	rc = force ? libxl_set_vcpuaffinity_force(h->ctx, domid, (uint32_t)vcpu, hard, soft) :
		     libxl_set_vcpuaffinity(h->ctx, domid, (uint32_t)vcpu, hard, soft);
	return rc ? xen_err(h, err, rc, "pinning vcpu %d of domain %u", vcpu, domid) : 0;
}

int xen_vcpu_pin(struct host *h, uint32_t domid, int vcpu, const char *hard, const char *soft, bool force,
		 struct json_object **out, struct pvb_error *err)
{
	int nr = 0, nr_cpus = 0, rc;
	libxl_vcpuinfo *list = libxl_list_vcpu(h->ctx, domid, &nr, &nr_cpus);
	libxl_bitmap h_map, s_map;
	char *text;

	if (!list)
		return xen_err(h, err, ERROR_FAIL, "processors of domain %u", domid);
	libxl_vcpuinfo_list_free(list, nr);
	libxl_bitmap_init(&h_map);
	libxl_bitmap_init(&s_map);
	rc = read_map(h, hard, &h_map, nr_cpus, err);
	if (!rc)
		rc = read_map(h, soft, &s_map, nr_cpus, err);
	if (!rc && vcpu >= nr)
		rc = pvb_err(err, -ERANGE, "domain %u has vcpus 0 to %d", domid, nr - 1);
	for (int v = vcpu < 0 ? 0 : vcpu; !rc && !h->p->dry_run && v <= (vcpu < 0 ? nr - 1 : vcpu); v++)
		rc = pin(h, domid, v, h_map.size ? &h_map : NULL, s_map.size ? &s_map : NULL, force, err);
	if (!rc) {
		*out = out_obj();
		out_int(*out, "domid", domid);
		text = h_map.size ? xen_map_text(&h_map, nr_cpus) : NULL;
		out_str(*out, "hard_affinity", text);
		free(text);
		text = s_map.size ? xen_map_text(&s_map, nr_cpus) : NULL;
		out_str(*out, "soft_affinity", text);
		free(text);
	}
	libxl_bitmap_dispose(&h_map);
	libxl_bitmap_dispose(&s_map);
	return rc;
}

/* --- memory ------------------------------------------------------------------------------------------ */

int xen_mem_max(struct host *h, uint32_t domid, uint64_t kib, struct pvb_error *err)
{
	int rc;

	if (h->p->dry_run)
		return 0;
	h->log.cause[0] = '\0';
	rc = libxl_domain_setmaxmem(h->ctx, domid, kib);
	return rc ? xen_err(h, err, rc, "limit of %llu KiB for domain %u", (unsigned long long)kib, domid) : 0;
}

/* Till the guest's balloon driver is there, give or take what the guest keeps for itself. */
static int wait_memory(struct host *h, uint32_t domid, uint64_t kib, int timeout_ms, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + (uint64_t)timeout_ms, has;
	libxl_dominfo i;

	for (;;) {
		int rc = xen_look(h, domid, &i, err);

		if (rc)
			return rc;
		has = i.current_memkb + i.outstanding_memkb;
		libxl_dominfo_dispose(&i);
		if (has + 1024 >= kib && has <= kib + 1024)
			return 0;
		if (pvb_now_ms() >= end)
			return pvb_err(err, -ETIMEDOUT, "domain %u has %llu MiB and not yet the %llu MiB it was asked to", domid,
				       (unsigned long long)has / 1024, (unsigned long long)kib / 1024);
		poll(NULL, 0, 100);
	}
}

int xen_mem_set(struct host *h, uint32_t domid, uint64_t kib, bool wait, int timeout_ms, struct pvb_error *err)
{
	int rc;

	if (h->p->dry_run)
		return 0;
	h->log.cause[0] = '\0';
	rc = libxl_set_memory_target(h->ctx, domid, (int64_t)kib, 0, 1);
	if (rc)
		return xen_err(h, err, rc, "%llu KiB for domain %u", (unsigned long long)kib, domid);
	return wait ? wait_memory(h, domid, kib, timeout_ms, err) : 0;
}
