// SPDX-License-Identifier: GPL-2.0-or-later
/* What Xen, or libxl, does for one call without more: Xen's console, keys, core files, media, stored configuration. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host-xen.h"
#include "output.h"

int xen_dmesg(struct host *h, bool clear, void (*line)(void *arg, const char *text), void *arg, struct pvb_error *err)
{
	libxl_xen_console_reader *reader;
	char *text;
	int rc;

	h->log.cause[0] = '\0';
	reader = libxl_xen_console_read_start(h->ctx, clear && !h->p->dry_run);
	if (!reader)
		return xen_err(h, err, ERROR_FAIL, "Xen's console");
	while ((rc = libxl_xen_console_read_line(h->ctx, reader, &text)) > 0)
		line(arg, text);
	libxl_xen_console_read_finish(h->ctx, reader);
	return rc ? xen_err(h, err, rc, "Xen's console") : 0;
}

int xen_debug_keys(struct host *h, const char *keys, struct pvb_error *err)
{
	char copy[64];
	int rc;

	if (h->p->dry_run)
		return 0;
	snprintf(copy, sizeof(copy), "%s", keys); /* libxl wants it writable */
	h->log.cause[0] = '\0';
	rc = libxl_send_debug_keys(h->ctx, copy);
	return rc ? xen_err(h, err, rc, "keys \"%s\"", keys) : 0;
}

int xen_dump_core(struct host *h, uint32_t domid, const char *file, struct pvb_error *err)
{
	libxl_asyncop_how how;
	struct stat st;
	bool there = stat(file, &st) == 0;
	int rc;

	if (there && S_ISREG(st.st_mode) && st.st_size && !h->p->force)
		return pvb_err(err, -EEXIST, "%s is there already; --force overwrites it", file);
	if (h->p->dry_run)
		return 0;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_domain_core_dump(h->ctx, domid, file, &how), -1);
	if (rc) {
		if (!there)
			unlink(file);
		return xen_err(h, err, rc, "core of domain %u to %s", domid, file);
	}
	return stat(file, &st) ? pvb_err(err, -errno, "%s: %s", file, strerror(errno)) : 0;
}

/* The drive of that name and, if wanted, what is in it; -ENOENT when there is none. */
static int find_drive(struct host *h, uint32_t domid, const char *vdev, char **medium, struct pvb_error *err)
{
	int nr = 0, rc = -ENOENT;
	libxl_device_disk *disks = libxl_device_disk_list(h->ctx, domid, &nr);

	for (int i = 0; disks && i < nr; i++)
		if (disks[i].vdev && strcmp(disks[i].vdev, vdev) == 0 && disks[i].is_cdrom) {
			rc = 0;
			if (medium)
				*medium = strdup(disks[i].pdev_path ? disks[i].pdev_path : "");
		}
	libxl_device_disk_list_free(disks, nr);
	return rc ? pvb_err(err, rc, "domain %u has no CD drive \"%s\"", domid, vdev) : 0;
}

static int check_type(struct host *h, uint32_t domid, struct pvb_error *err)
{
	libxl_dominfo i;
	int rc = xen_look(h, domid, &i, err);

	if (!rc && i.domain_type != LIBXL_DOMAIN_TYPE_HVM)
		rc = pvb_err(err, -EOPNOTSUPP, "domain %u is of type %s; only type hvm has CD drives (block-attach and "
			     "block-detach work everywhere)", domid, libxl_domain_type_to_string(i.domain_type));
	libxl_dominfo_dispose(&i);
	return rc;
}

int xen_cd_change(struct host *h, uint32_t domid, const char *vdev, const char *target, struct pvb_error *err)
{
	char *spec = NULL, *medium = NULL;
	libxl_device_disk disk;
	libxl_asyncop_how how;
	const char *one;
	int rc = check_type(h, domid, err);

	if (!rc)
		rc = find_drive(h, domid, vdev, NULL, err);
	if (!rc && target && access(target, R_OK))
		rc = pvb_err(err, -errno, "%s: %s", target, strerror(errno));
	if (!rc && asprintf(&spec, "vdev=%s,access=r,devtype=cdrom,target=%s", vdev, target ? target : "") < 0)
		rc = pvb_err(err, -ENOMEM, "%s: out of memory", vdev);
	if (rc)
		return rc;
	libxl_device_disk_init(&disk);
	one = spec;
	rc = xen_disk_parse(&one, 1, &disk, err);
	if (!rc && !h->p->dry_run) {
		how = xen_op(h);
		rc = xen_wait(h, &how, libxl_cdrom_insert(h->ctx, domid, &disk, &how), pvl_timeout(h->p, 30000));
		if (rc)
			rc = xen_err(h, err, rc, "medium of drive %s", vdev);
		else
			rc = find_drive(h, domid, vdev, &medium, err);
		if (!rc && medium && strcmp(medium, target ? target : "") != 0)
			rc = pvb_err(err, -EIO, "drive %s holds \"%s\" afterwards", vdev, medium);
	}
	libxl_device_disk_dispose(&disk);
	free(medium);
	free(spec);
	return rc;
}

/* Under the name that xl uses: whoever builds the domain again, its monitor or xl's, finds it there. */
int xen_config_update(struct host *h, uint32_t domid, struct cfg *cfg, struct json_object **out, struct pvb_error *err)
{
	libxl_domain_config dc;
	const char *text;
	size_t len;
	int rc;

	libxl_domain_config_init(&dc);
	rc = xen_config_fill(h->p, h, &h->conf, cfg, &dc, err);
	if (!rc)
		*out = xen_config_json(h, &dc, domid);
	libxl_domain_config_dispose(&dc);
	if (rc || h->p->dry_run)
		return rc;
	text = cfg_source(cfg, &len);
	h->log.cause[0] = '\0';
	rc = libxl_userdata_store(h->ctx, domid, "xl", (const uint8_t *)text, (int)len);
	if (!rc)
		return 0;
	json_object_put(*out);
	return xen_err(h, err, rc, "keeping the configuration of domain %u", domid);
}
