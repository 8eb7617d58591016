// SPDX-License-Identifier: GPL-2.0-or-later
/* From xl.cfg keys to libxl_domain_config: everything but the devices.  Asks Xen nothing, except for the
 * number of processors and nodes behind cpus="node:N".
 *
 * Plain keys are rows of a table; what needs thought has a function below it.
 */
#include "config.h"
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxlutil.h>
#include "host-xen.h"

#define PV  0x1u
#define PVH 0x2u
#define HVM 0x4u
#define ALL (PV | PVH | HVM)

enum kind { STR, BOOL, MIB, INT, U32, LISTS };
struct plain {
	const char *key;
	enum kind kind;
	unsigned types;
	size_t off; /* into libxl_domain_config */
};
#define AT(field) offsetof(libxl_domain_config, field)
static const struct plain plain[] = {
	{ "hap", BOOL, PVH | HVM, AT(c_info.hap) },
	{ "oos", BOOL, PVH | HVM, AT(c_info.oos) },
	{ "pool", STR, ALL, AT(c_info.pool_name) },
	{ "driver_domain", BOOL, ALL, AT(c_info.driver_domain) },
	{ "xend_suspend_evtchn_compat", BOOL, ALL, AT(c_info.xend_suspend_evtchn_compat) },
	{ "kernel", STR, ALL, AT(b_info.kernel) },
	{ "ramdisk", STR, ALL, AT(b_info.ramdisk) },
	{ "bootloader", STR, PV | PVH, AT(b_info.bootloader) },
	{ "cpu_weight", INT, ALL, AT(b_info.sched_params.weight) },
	{ "cap", INT, ALL, AT(b_info.sched_params.cap) },
	{ "shadow_memory", MIB, PVH | HVM, AT(b_info.shadow_memkb) },
	{ "videoram", MIB, HVM, AT(b_info.video_memkb) },
	{ "nomigrate", BOOL, ALL, AT(b_info.disable_migrate) },
	{ "localtime", BOOL, ALL, AT(b_info.localtime) },
	{ "rtc_timeoffset", U32, ALL, AT(b_info.rtc_timeoffset) },
	{ "max_event_channels", U32, ALL, AT(b_info.event_channels) },
	{ "max_grant_frames", U32, ALL, AT(b_info.max_grant_frames) },
	{ "max_maptrack_frames", U32, ALL, AT(b_info.max_maptrack_frames) },
	{ "max_grant_version", INT, ALL, AT(b_info.max_grant_version) },
	{ "acpi", BOOL, PVH | HVM, AT(b_info.acpi) },
	{ "apic", BOOL, PVH | HVM, AT(b_info.apic) },
	{ "nestedhvm", BOOL, PVH | HVM, AT(b_info.nested_hvm) },
	{ "vpmu", BOOL, ALL, AT(b_info.vpmu) },
	{ "vmtrace_buf_kb", INT, PVH | HVM, AT(b_info.vmtrace_buf_kb) },
	{ "msr_relaxed", BOOL, ALL, AT(b_info.arch_x86.msr_relaxed) },
	{ "dm_restrict", BOOL, ALL, AT(b_info.dm_restrict) },
	{ "device_model_override", STR, ALL, AT(b_info.device_model) },
	{ "device_model_user", STR, ALL, AT(b_info.device_model_user) },
	{ "device_model_stubdomain_override", BOOL, HVM, AT(b_info.device_model_stubdomain) },
	{ "device_model_args", LISTS, ALL, AT(b_info.extra) },
	{ "device_model_args_pv", LISTS, ALL, AT(b_info.extra_pv) },
	{ "device_model_args_hvm", LISTS, ALL, AT(b_info.extra_hvm) },
	{ "stubdomain_memory", MIB, HVM, AT(b_info.stubdomain_memkb) },
	{ "stubdomain_kernel", STR, HVM, AT(b_info.stubdomain_kernel) },
	{ "stubdomain_cmdline", STR, HVM, AT(b_info.stubdomain_cmdline) },
	{ "stubdomain_ramdisk", STR, HVM, AT(b_info.stubdomain_ramdisk) },
	{ "bootloader_args", LISTS, PV | PVH, AT(b_info.bootloader_args) },
	{ "e820_host", BOOL, PV, AT(b_info.u.pv.e820_host) },
	{ "pvshim", BOOL, PVH, AT(b_info.u.pvh.pvshim) },
	{ "pvshim_path", STR, PVH, AT(b_info.u.pvh.pvshim_path) },
	{ "pvshim_cmdline", STR, PVH, AT(b_info.u.pvh.pvshim_cmdline) },
	{ "pvshim_extra", STR, PVH, AT(b_info.u.pvh.pvshim_extra) },
	{ "firmware_override", STR, HVM, AT(b_info.u.hvm.firmware) },
	{ "bios_path_override", STR, HVM, AT(b_info.u.hvm.system_firmware) },
	{ "smbios_firmware", STR, HVM, AT(b_info.u.hvm.smbios_firmware) },
	{ "acpi_firmware", STR, HVM, AT(b_info.u.hvm.acpi_firmware) },
	{ "pae", BOOL, HVM, AT(b_info.u.hvm.pae) },
	{ "acpi_s3", BOOL, HVM, AT(b_info.u.hvm.acpi_s3) },
	{ "acpi_s4", BOOL, HVM, AT(b_info.u.hvm.acpi_s4) },
	{ "acpi_laptop_slate", BOOL, HVM, AT(b_info.u.hvm.acpi_laptop_slate) },
	{ "nx", BOOL, HVM, AT(b_info.u.hvm.nx) },
	{ "hpet", BOOL, HVM, AT(b_info.u.hvm.hpet) },
	{ "vpt_align", BOOL, HVM, AT(b_info.u.hvm.vpt_align) },
	{ "timeoffset", STR, HVM, AT(b_info.u.hvm.timeoffset) },
	{ "xen_platform_pci", BOOL, HVM, AT(b_info.u.hvm.xen_platform_pci) },
	{ "mmio_hole", MIB, HVM, AT(b_info.u.hvm.mmio_hole_memkb) },
	{ "keymap", STR, HVM, AT(b_info.u.hvm.keymap) },
	{ "boot", STR, HVM, AT(b_info.u.hvm.boot) },
	{ "usb", BOOL, HVM, AT(b_info.u.hvm.usb) },
	{ "usbversion", INT, HVM, AT(b_info.u.hvm.usbversion) },
	{ "vkb_device", BOOL, HVM, AT(b_info.u.hvm.vkb_device) },
	{ "soundhw", STR, HVM, AT(b_info.u.hvm.soundhw) },
	{ "nographic", BOOL, HVM, AT(b_info.u.hvm.nographic) },
	{ "vnc", BOOL, HVM, AT(b_info.u.hvm.vnc.enable) },
	{ "vnclisten", STR, HVM, AT(b_info.u.hvm.vnc.listen) },
	{ "vncpasswd", STR, HVM, AT(b_info.u.hvm.vnc.passwd) },
	{ "vncdisplay", INT, HVM, AT(b_info.u.hvm.vnc.display) },
	{ "vncunused", BOOL, HVM, AT(b_info.u.hvm.vnc.findunused) },
	{ "sdl", BOOL, HVM, AT(b_info.u.hvm.sdl.enable) },
	{ "opengl", BOOL, HVM, AT(b_info.u.hvm.sdl.opengl) },
};

/* --- small readers: 0 = set, -ENOENT = not there, else an error -------------------------------------- */

static int get_string(struct cfg *cfg, const char *key, char **to, struct pvb_error *err)
{
	const char *v;
	int rc = cfg_string(cfg, key, &v, err);

	if (rc)
		return rc;
	free(*to);
	*to = strdup(v);
	return *to ? 0 : pvb_err(err, -ENOMEM, "%s: out of memory", key);
}

static int get_bool(struct cfg *cfg, const char *key, libxl_defbool *to, struct pvb_error *err)
{
	bool v;
	int rc = cfg_bool(cfg, key, &v, err);

	if (!rc)
		libxl_defbool_set(to, v);
	return rc;
}

/* A list of strings, or one string split at blanks (old files). */
static int get_strings(struct cfg *cfg, const char *key, libxl_string_list *to, struct pvb_error *err)
{
	unsigned nr = 0;
	const char *v = NULL;
	char *copy, *next, *part;
	int rc = cfg_is_list(cfg, key) ? cfg_list_len(cfg, key, &nr, err) : cfg_string(cfg, key, &v, err);

	if (rc)
		return rc;
	libxl_string_list_dispose(to);
	if (v)
		nr = strlen(v) / 2 + 1;
	*to = calloc(nr + 1, sizeof(**to));
	if (!*to)
		return pvb_err(err, -ENOMEM, "%s: out of memory", key);
	if (!v) {
		for (unsigned i = 0; i < nr && !rc; i++) {
			rc = cfg_list_item(cfg, key, i, &v, err);
			if (!rc)
				(*to)[i] = strdup(v);
		}
		return rc;
	}
	copy = next = strdup(v);
	nr = 0;
	while ((part = strsep(&next, " \t")))
		if (*part)
			(*to)[nr++] = strdup(part);
	free(copy);
	return 0;
}

static int get_plain(struct cfg *cfg, const struct plain *k, libxl_domain_config *dc, struct pvb_error *err)
{
	char *field = (char *)dc + k->off;
	long v;
	int rc;

	switch (k->kind) {
	case STR:
		return get_string(cfg, k->key, (char **)field, err);
	case BOOL:
		return get_bool(cfg, k->key, (libxl_defbool *)field, err);
	case LISTS:
		return get_strings(cfg, k->key, (libxl_string_list *)field, err);
	case MIB:
		rc = cfg_long(cfg, k->key, 0, INT_MAX, &v, err);
		if (!rc)
			*(uint64_t *)field = (uint64_t)v * 1024;
		return rc;
	case INT:
		rc = cfg_long(cfg, k->key, 0, INT_MAX, &v, err);
		if (!rc)
			*(int *)field = (int)v;
		return rc;
	case U32:
		rc = cfg_long(cfg, k->key, 0, UINT32_MAX, &v, err);
		if (!rc)
			*(uint32_t *)field = (uint32_t)v;
		return rc;
	}
	return 0;
}

static unsigned type_bit(libxl_domain_type type)
{
	return type == LIBXL_DOMAIN_TYPE_HVM ? HVM : type == LIBXL_DOMAIN_TYPE_PVH ? PVH : PV;
}

static int fill_plain(struct pvl *p, struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		int rc;

		if (!(plain[i].types & type_bit(dc->c_info.type))) {
			if (cfg_is_set(cfg, plain[i].key))
				pvl_note(p, "%s: %s has no effect for type %s", cfg_name(cfg), plain[i].key,
					 libxl_domain_type_to_string(dc->c_info.type));
			continue;
		}
		rc = get_plain(cfg, &plain[i], dc, err);
		if (rc && rc != -ENOENT)
			return rc;
	}
	return 0;
}

/* One word out of a libxl enumeration. */
static int get_word(struct cfg *cfg, const char *key, int (*from)(const char *s, int *v), int *to,
		    struct pvb_error *err)
{
	const char *v;
	int rc = cfg_string(cfg, key, &v, err);

	if (rc)
		return rc;
	return from(v, to) ? pvb_err(err, -EINVAL, "%s: %s: \"%s\" is not a value of it", cfg_name(cfg), key, v) : 0;
}

#define ENUM_READER(name)									\
	static int name##_word(const char *s, int *v)						\
	{											\
		libxl_##name e;									\
		int rc = libxl_##name##_from_string(s, &e);					\
		*v = e;										\
		return rc;									\
	}
ENUM_READER(bios_type)
ENUM_READER(passthrough)
ENUM_READER(tsc_mode)
ENUM_READER(timer_mode)
ENUM_READER(hdtype)

/* --- identity ---------------------------------------------------------------------------------------- */

static int fill_type(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_domain_type type = LIBXL_DOMAIN_TYPE_INVALID;
	const char *v;
	int rc = cfg_string(cfg, "type", &v, err);

	if (!rc && strcmp(v, "pv") && strcmp(v, "pvh") && strcmp(v, "hvm"))
		return pvb_err(err, -EINVAL, "%s: type: \"%s\" is not pv, pvh or hvm", cfg_name(cfg), v);
	if (!rc)
		type = v[0] == 'h' ? LIBXL_DOMAIN_TYPE_HVM : v[2] ? LIBXL_DOMAIN_TYPE_PVH : LIBXL_DOMAIN_TYPE_PV;
	else if (rc != -ENOENT)
		return rc;
	rc = cfg_string(cfg, "builder", &v, err);
	if (!rc && strcmp(v, "hvm") && strcmp(v, "generic"))
		return pvb_err(err, -EINVAL, "%s: builder: \"%s\" is not hvm or generic", cfg_name(cfg), v);
	if (!rc && type != LIBXL_DOMAIN_TYPE_INVALID && (v[0] == 'h') != (type == LIBXL_DOMAIN_TYPE_HVM))
		return pvb_err(err, -EINVAL, "%s: builder \"%s\" contradicts type", cfg_name(cfg), v);
	if (!rc && type == LIBXL_DOMAIN_TYPE_INVALID)
		type = v[0] == 'h' ? LIBXL_DOMAIN_TYPE_HVM : LIBXL_DOMAIN_TYPE_PV;
	else if (rc && rc != -ENOENT)
		return rc;
	dc->c_info.type = type == LIBXL_DOMAIN_TYPE_INVALID ? LIBXL_DOMAIN_TYPE_PV : type;
	libxl_domain_build_info_init_type(&dc->b_info, dc->c_info.type);
	return 0;
}

static int fill_identity(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	const char *v;
	int rc = get_string(cfg, "name", &dc->c_info.name, err);

	if (rc == -ENOENT)
		return pvb_err(err, -EINVAL, "%s: name is missing", cfg_name(cfg));
	if (rc)
		return rc;
	if (!*dc->c_info.name || strlen(dc->c_info.name) > 127)
		return pvb_err(err, -EINVAL, "%s: name: 1 to 127 characters wanted", cfg_name(cfg));
	for (const char *c = dc->c_info.name; *c; c++)
		if (*c <= ' ' || *c == '/' || *c == 0x7f)
			return pvb_err(err, -EINVAL, "%s: name: \"%s\" has a blank, \"/\" or control character in it",
				       cfg_name(cfg), dc->c_info.name);
	rc = cfg_string(cfg, "uuid", &v, err);
	if (rc == -ENOENT)
		libxl_uuid_generate(&dc->c_info.uuid);
	else if (rc)
		return rc;
	else if (libxl_uuid_from_string(&dc->c_info.uuid, v))
		return pvb_err(err, -EINVAL, "%s: uuid: \"%s\" is not a uuid", cfg_name(cfg), v);
	return 0;
}

static int fill_actions(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	static const struct {
		const char *word;
		libxl_action_on_shutdown action;
	} words[] = {
		{ "destroy", LIBXL_ACTION_ON_SHUTDOWN_DESTROY }, { "restart", LIBXL_ACTION_ON_SHUTDOWN_RESTART },
		{ "rename-restart", LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME },
		{ "preserve", LIBXL_ACTION_ON_SHUTDOWN_PRESERVE },
		{ "coredump-destroy", LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY },
		{ "coredump-restart", LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART },
		{ "soft-reset", LIBXL_ACTION_ON_SHUTDOWN_SOFT_RESET },
	};
	const struct {
		const char *key, *def;
		libxl_action_on_shutdown *to;
	} keys[] = {
		{ "on_poweroff", "destroy", &dc->on_poweroff }, { "on_reboot", "restart", &dc->on_reboot },
		{ "on_watchdog", "destroy", &dc->on_watchdog }, { "on_crash", "destroy", &dc->on_crash },
		{ "on_soft_reset", "soft-reset", &dc->on_soft_reset },
	};

	for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		const char *v = keys[k].def;
		int rc = cfg_string(cfg, keys[k].key, &v, err);
		unsigned w;

		if (rc && rc != -ENOENT)
			return rc;
		for (w = 0; w < sizeof(words) / sizeof(words[0]) && strcmp(words[w].word, v); w++)
			;
		if (w == sizeof(words) / sizeof(words[0]))
			return pvb_err(err, -EINVAL, "%s: %s: \"%s\" is not an action", cfg_name(cfg), keys[k].key, v);
		*keys[k].to = words[w].action;
	}
	return 0;
}

/* --- memory and processors --------------------------------------------------------------------------- */

static int bitmap_new(libxl_bitmap *map, unsigned bits)
{
	map->size = (bits + 7) / 8;
	map->map = calloc(1, map->size ? map->size : 1);
	return map->map ? 0 : -ENOMEM;
}

static int fill_memory(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_domain_build_info *b = &dc->b_info;
	long v;
	int rc = cfg_long(cfg, "memory", 1, INT_MAX, &v, err);

	if (!rc)
		b->target_memkb = (uint64_t)v * 1024;
	else if (rc != -ENOENT)
		return rc;
	rc = cfg_long(cfg, "maxmem", 1, INT_MAX, &v, err);
	if (!rc)
		b->max_memkb = (uint64_t)v * 1024;
	else if (rc != -ENOENT)
		return rc;
	else
		b->max_memkb = b->target_memkb;
	if (b->target_memkb != LIBXL_MEMKB_DEFAULT && b->max_memkb < b->target_memkb)
		return pvb_err(err, -EINVAL, "%s: maxmem %llu MiB is less than memory %llu MiB", cfg_name(cfg),
			       (unsigned long long)b->max_memkb / 1024, (unsigned long long)b->target_memkb / 1024);
	return 0;
}

static int fill_vcpus(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_domain_build_info *b = &dc->b_info;
	long vcpus = 0, max = 0;
	int rc = cfg_long(cfg, "vcpus", 1, 4096, &vcpus, err);

	if (rc && rc != -ENOENT)
		return rc;
	rc = cfg_long(cfg, "maxvcpus", 1, 4096, &max, err);
	if (rc && rc != -ENOENT)
		return rc;
	if (max && max < vcpus)
		return pvb_err(err, -EINVAL, "%s: maxvcpus %ld is less than vcpus %ld", cfg_name(cfg), max, vcpus);
	b->max_vcpus = (int)(max ? max : vcpus);
	if (vcpus) {
		if (bitmap_new(&b->avail_vcpus, (unsigned)vcpus))
			return pvb_err(err, -ENOMEM, "vcpus: out of memory");
		for (long i = 0; i < vcpus; i++)
			libxl_bitmap_set(&b->avail_vcpus, (int)i);
	}
	return 0;
}

#define MAX_CPUS 4096
static int set_range(libxl_bitmap *map, const char *text, bool value)
{
	char *end;
	unsigned long a = strtoul(text, &end, 10), z = a;

	if (end == text)
		return -EINVAL;
	if (*end == '-') {
		text = end + 1;
		z = strtoul(text, &end, 10);
		if (end == text)
			return -EINVAL;
	}
	if (*end || a > z || z >= map->size * 8)
		return -EINVAL;
	for (; a <= z; a++)
		value ? libxl_bitmap_set(map, (int)a) : libxl_bitmap_reset(map, (int)a);
	return 0;
}

static int set_nodes(struct host *h, libxl_bitmap *map, const char *text, bool value)
{
	libxl_bitmap nodes, cpus;
	int rc;

	if (!h)
		return -ENODEV;
	libxl_bitmap_init(&nodes);
	libxl_bitmap_init(&cpus);
	rc = libxl_node_bitmap_alloc(h->ctx, &nodes, 0) || libxl_cpu_bitmap_alloc(h->ctx, &cpus, 0) ? -ENOMEM : 0;
	if (!rc)
		rc = set_range(&nodes, text, true);
	if (!rc && libxl_nodemap_to_cpumap(h->ctx, &nodes, &cpus))
		rc = -EINVAL;
	for (int i = 0; !rc && i < (int)cpus.size * 8 && i < MAX_CPUS; i++)
		if (libxl_bitmap_test(&cpus, i))
			value ? libxl_bitmap_set(map, i) : libxl_bitmap_reset(map, i);
	libxl_bitmap_dispose(&nodes);
	libxl_bitmap_dispose(&cpus);
	return rc;
}

/* "all", "0-3,^2", "node:1,^5", "nodes:0-1" */
int xen_cpus_parse(struct host *h, const char *text, libxl_bitmap *map)
{
	char *copy = strdup(text), *next = copy, *part;
	int rc = copy ? 0 : -ENOMEM;

	while (!rc && (part = strsep(&next, ","))) {
		bool value = *part != '^';

		part += !value;
		if (strcmp(part, "all") == 0)
			memset(map->map, value ? 0xff : 0, map->size);
		else if (strncmp(part, "node:", 5) == 0)
			rc = set_nodes(h, map, part + 5, value);
		else if (strncmp(part, "nodes:", 6) == 0)
			rc = set_nodes(h, map, part + 6, value);
		else
			rc = set_range(map, part, value);
	}
	free(copy);
	return rc;
}

/* cpus= and cpus_soft=: one text for all vcpus, or a list with one for each. */
static int fill_affinity(struct host *h, struct cfg *cfg, const char *key, libxl_bitmap **maps, int *nr, int vcpus,
			 struct pvb_error *err)
{
	const char *v = NULL;
	unsigned n = (unsigned)vcpus;
	bool list = cfg_is_list(cfg, key);
	int rc = list ? cfg_list_len(cfg, key, &n, err) : cfg_string(cfg, key, &v, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (n > (unsigned)vcpus)
		n = (unsigned)vcpus;
	*maps = calloc(n ? n : 1, sizeof(**maps));
	if (!*maps)
		return pvb_err(err, -ENOMEM, "%s: out of memory", key);
	for (unsigned i = 0; i < n; i++) {
		libxl_bitmap_init(&(*maps)[i]);
		*nr = (int)i + 1;
		if (bitmap_new(&(*maps)[i], MAX_CPUS))
			return pvb_err(err, -ENOMEM, "%s: out of memory", key);
		if (list && (rc = cfg_list_item(cfg, key, i, &v, err)))
			return rc;
		rc = xen_cpus_parse(h, v, &(*maps)[i]);
		if (rc)
			return pvb_err(err, rc, "%s: %s: \"%s\" is not a set of processors%s", cfg_name(cfg), key, v,
				       rc == -ENODEV ? " that can be told without Xen" : "");
	}
	return 0;
}

/* --- booting ----------------------------------------------------------------------------------------- */

static int fill_cmdline(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	const char *root = NULL, *extra = NULL, *cmdline = NULL;
	int rc[3] = { cfg_string(cfg, "root", &root, err), cfg_string(cfg, "extra", &extra, err),
		      cfg_string(cfg, "cmdline", &cmdline, err) };

	for (unsigned i = 0; i < 3; i++)
		if (rc[i] && rc[i] != -ENOENT)
			return rc[i];
	if (cmdline && (root || extra))
		return pvb_err(err, -EINVAL, "%s: cmdline makes root and extra void; give one or the other",
			       cfg_name(cfg));
	if (!cmdline && !root && !extra)
		return 0;
	if (asprintf(&dc->b_info.cmdline, "%s%s%s%s", cmdline ? cmdline : "", root ? "root=" : "", root ? root : "",
		     root && extra ? " " : "") < 0)
		return pvb_err(err, -ENOMEM, "cmdline: out of memory");
	if (extra) {
		char *both;

		if (asprintf(&both, "%s%s", dc->b_info.cmdline, extra) < 0)
			return pvb_err(err, -ENOMEM, "cmdline: out of memory");
		free(dc->b_info.cmdline);
		dc->b_info.cmdline = both;
	}
	return 0;
}

static int fill_boot(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	const char *v;
	int rc = fill_cmdline(cfg, dc, err);

	if (rc)
		return rc;
	rc = cfg_string(cfg, "firmware", &v, err);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && dc->c_info.type != LIBXL_DOMAIN_TYPE_HVM) {
		if (dc->b_info.kernel)
			return pvb_err(err, -EINVAL, "%s: both kernel and firmware are given", cfg_name(cfg));
		if (strcmp(v, "pvgrub32") && strcmp(v, "pvgrub64"))
			return pvb_err(err, -EINVAL, "%s: firmware: \"%s\" is not pvgrub32 or pvgrub64", cfg_name(cfg),
				       v);
		if (asprintf(&dc->b_info.kernel, "/usr/lib/xen/boot/%s.bin", v) < 0)
			return pvb_err(err, -ENOMEM, "firmware: out of memory");
	}
	if (dc->c_info.type != LIBXL_DOMAIN_TYPE_HVM && !dc->b_info.kernel && !dc->b_info.bootloader)
		return pvb_err(err, -EINVAL, "%s: neither kernel nor bootloader is given", cfg_name(cfg));
	return 0;
}

/* --- HVM --------------------------------------------------------------------------------------------- */

static int fill_firmware(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	const char *v;
	int e = dc->b_info.u.hvm.bios, rc = get_word(cfg, "bios", bios_type_word, &e, err);

	if (rc && rc != -ENOENT)
		return rc;
	dc->b_info.u.hvm.bios = e;
	rc = cfg_string(cfg, "firmware", &v, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (strcmp(v, "bios") == 0)
		return 0; /* libxl's choice */
	if (strcmp(v, "uefi") == 0)
		dc->b_info.u.hvm.bios = LIBXL_BIOS_TYPE_OVMF;
	else if (libxl_bios_type_from_string(v, &dc->b_info.u.hvm.bios))
		return get_string(cfg, "firmware", &dc->b_info.u.hvm.firmware, err); /* a file */
	return 0;
}

static int fill_vga(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	static const struct {
		const char *word;
		libxl_vga_interface_type type;
	} words[] = {
		{ "stdvga", LIBXL_VGA_INTERFACE_TYPE_STD }, { "cirrus", LIBXL_VGA_INTERFACE_TYPE_CIRRUS },
		{ "none", LIBXL_VGA_INTERFACE_TYPE_NONE }, { "qxl", LIBXL_VGA_INTERFACE_TYPE_QXL },
	};
	const char *v;
	bool std;
	int rc = cfg_bool(cfg, "stdvga", &std, err);

	if (!rc)
		dc->b_info.u.hvm.vga.kind = std ? LIBXL_VGA_INTERFACE_TYPE_STD : LIBXL_VGA_INTERFACE_TYPE_CIRRUS;
	else if (rc != -ENOENT)
		return rc;
	rc = cfg_string(cfg, "vga", &v, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, v) == 0) {
			dc->b_info.u.hvm.vga.kind = words[i].type;
			return 0;
		}
	return pvb_err(err, -EINVAL, "%s: vga: \"%s\" is not stdvga, cirrus, qxl or none", cfg_name(cfg), v);
}

/* viridian=1, or a list of enlightenments, "!name" for off. */
static int fill_viridian(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_bitmap *on = &dc->b_info.u.hvm.viridian_enable, *off = &dc->b_info.u.hvm.viridian_disable;
	unsigned nr;
	int rc;

	if (!cfg_is_list(cfg, "viridian")) {
		rc = get_bool(cfg, "viridian", &dc->b_info.u.hvm.viridian, err);
		return rc == -ENOENT ? 0 : rc;
	}
	rc = cfg_list_len(cfg, "viridian", &nr, err);
	if (rc || bitmap_new(on, 64) || bitmap_new(off, 64))
		return rc ? rc : pvb_err(err, -ENOMEM, "viridian: out of memory");
	for (unsigned i = 0; i < nr; i++) {
		libxl_viridian_enlightenment e;
		const char *v;
		bool set;

		rc = cfg_list_item(cfg, "viridian", i, &v, err);
		if (rc)
			return rc;
		if (strcmp(v, "all") == 0) {
			memset(on->map, 0xff, on->size);
			continue;
		}
		if (strcmp(v, "defaults") == 0) {
			libxl_defbool_set(&dc->b_info.u.hvm.viridian, true);
			continue;
		}
		set = *v != '!';
		if (libxl_viridian_enlightenment_from_string(v + !set, &e))
			return pvb_err(err, -EINVAL, "%s: viridian: \"%s\" is no enlightenment", cfg_name(cfg), v);
		libxl_bitmap_set(set ? on : off, e);
		libxl_bitmap_reset(set ? off : on, e);
	}
	return 0;
}

static int fill_hvm(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	int e = 0, rc = fill_firmware(cfg, dc, err);

	if (!rc)
		rc = fill_vga(cfg, dc, err);
	if (!rc)
		rc = fill_viridian(cfg, dc, err);
	if (rc)
		return rc;
	rc = get_word(cfg, "hdtype", hdtype_word, &e, err);
	if (!rc)
		dc->b_info.u.hvm.hdtype = e;
	else if (rc != -ENOENT)
		return rc;
	rc = cfg_is_list(cfg, "serial") ? get_strings(cfg, "serial", &dc->b_info.u.hvm.serial_list, err) :
					  get_string(cfg, "serial", &dc->b_info.u.hvm.serial, err);
	if (rc && rc != -ENOENT)
		return rc;
	rc = cfg_is_list(cfg, "usbdevice") ? get_strings(cfg, "usbdevice", &dc->b_info.u.hvm.usbdevice_list, err) :
					     get_string(cfg, "usbdevice", &dc->b_info.u.hvm.usbdevice, err);
	return rc == -ENOENT ? 0 : rc;
}

/* --- words and numbers both allowed ------------------------------------------------------------------- */

static int get_mode(struct cfg *cfg, const char *key, int (*from)(const char *s, int *v), int max, int *to,
		    struct pvb_error *err)
{
	const char *v;
	int rc = cfg_string(cfg, key, &v, err);
	uint64_t n;

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (pvb_parse_u64(v, 0, (uint64_t)max, &n) == 0)
		*to = (int)n;
	else
		return get_word(cfg, key, from, to, err);
	return 0;
}

static int fill_modes(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	int e = dc->b_info.tsc_mode, rc = get_mode(cfg, "tsc_mode", tsc_mode_word, 3, &e, err);
	const char *v;

	if (rc)
		return rc;
	dc->b_info.tsc_mode = e;
	if (dc->c_info.type != LIBXL_DOMAIN_TYPE_PV) {
		e = dc->b_info.timer_mode;
		rc = get_mode(cfg, "timer_mode", timer_mode_word, 3, &e, err);
		if (rc)
			return rc;
		dc->b_info.timer_mode = e;
	} else if (cfg_is_set(cfg, "timer_mode")) {
		return pvb_err(err, -EINVAL, "%s: timer_mode is not for type pv", cfg_name(cfg));
	}
	rc = get_word(cfg, "passthrough", passthrough_word, &e, err);
	if (!rc)
		dc->c_info.passthrough = e;
	else if (rc != -ENOENT)
		return rc;
	rc = cfg_string(cfg, "device_model_version", &v, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (strcmp(v, "qemu-xen") == 0)
		dc->b_info.device_model_version = LIBXL_DEVICE_MODEL_VERSION_QEMU_XEN;
	else if (strcmp(v, "qemu-xen-traditional") == 0)
		dc->b_info.device_model_version = LIBXL_DEVICE_MODEL_VERSION_QEMU_XEN_TRADITIONAL;
	else
		return pvb_err(err, -EINVAL, "%s: device_model_version: \"%s\" is not qemu-xen or qemu-xen-traditional",
			       cfg_name(cfg), v);
	return 0;
}

/* cpuid="host,flag=value,..." or a list of register policies. */
static int fill_cpuid(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	char *copy, *next, *part;
	const char *v;
	unsigned nr;
	int rc;

	if (cfg_is_list(cfg, "cpuid")) {
		rc = cfg_list_len(cfg, "cpuid", &nr, err);
		for (unsigned i = 0; i < nr && !rc; i++) {
			rc = cfg_list_item(cfg, "cpuid", i, &v, err);
			if (!rc && libxl_cpuid_parse_config_xend(&dc->b_info.cpuid, v))
				rc = pvb_err(err, -EINVAL, "%s: cpuid: \"%s\" is not understood", cfg_name(cfg), v);
		}
		return rc;
	}
	rc = cfg_string(cfg, "cpuid", &v, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	copy = next = strdup(v);
	part = strsep(&next, ",");
	if (!part || strcmp(part, "host"))
		rc = pvb_err(err, -EINVAL, "%s: cpuid: the first word must be \"host\"", cfg_name(cfg));
	while (!rc && (part = strsep(&next, ",")))
		if (libxl_cpuid_parse_config(&dc->b_info.cpuid, part))
			rc = pvb_err(err, -EINVAL, "%s: cpuid: \"%s\" is not understood", cfg_name(cfg), part);
	free(copy);
	return rc;
}

int xen_config_fill(struct pvl *p, struct host *h, const struct xl_conf *conf, struct cfg *cfg, libxl_domain_config *dc,
		    struct pvb_error *err)
{
	libxl_domain_build_info *b = &dc->b_info;
	int rc = fill_type(cfg, dc, err);

	if (rc)
		return rc;
	libxl_defbool_set(&dc->c_info.run_hotplug_scripts, conf->hotplug_scripts);
	libxl_defbool_set(&b->claim_mode, conf->claim);
	b->max_grant_frames = conf->max_grant_frames;
	b->max_maptrack_frames = conf->max_maptrack_frames;
	if (conf->blkdev_start)
		b->blkdev_start = strdup(conf->blkdev_start);
	rc = fill_identity(cfg, dc, err);
	if (!rc)
		rc = fill_plain(p, cfg, dc, err);
	if (!rc)
		rc = fill_actions(cfg, dc, err);
	if (!rc)
		rc = fill_memory(cfg, dc, err);
	if (!rc)
		rc = fill_vcpus(cfg, dc, err);
	if (!rc)
		rc = fill_affinity(h, cfg, "cpus", &b->vcpu_hard_affinity, &b->num_vcpu_hard_affinity,
				   b->max_vcpus ? b->max_vcpus : 1, err);
	if (!rc)
		rc = fill_affinity(h, cfg, "cpus_soft", &b->vcpu_soft_affinity, &b->num_vcpu_soft_affinity,
				   b->max_vcpus ? b->max_vcpus : 1, err);
	if (!rc)
		rc = fill_boot(cfg, dc, err);
	if (!rc)
		rc = fill_modes(cfg, dc, err);
	if (!rc)
		rc = fill_cpuid(cfg, dc, err);
	if (!rc && dc->c_info.type == LIBXL_DOMAIN_TYPE_HVM)
		rc = fill_hvm(cfg, dc, err);
	if (!rc)
		rc = xen_config_devices(p, h, conf, cfg, dc, err);
	return rc;
}
