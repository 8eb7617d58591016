// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks of Xen domains.  libxl makes and removes them, so that xl and virsh see the same; what libxl does
 * not do is done here: looking whether it worked, undoing what did not, and asking a guest to let go without
 * breaking the device when it does not.
 *
 * Back end paths come from libxl's own record (/libxl/DOMID), never from the guest's directory.
 */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl_event.h>
#include <libxlutil.h>
#include "host-xen.h"
#include "loop.h"
#include "offer.h"
#include "output.h"
#include "release.h"
#include "state.h"

#define CONNECT_MS 20000 /* for a driver to connect, when nobody says otherwise */

static int state_or_none(struct pvb_store *st, const char *dir)
{
	return host_number_or(st, dir, "state", -1);
}

static int fill_block(struct host *h, uint32_t domid, const libxl_device_disk *disk, struct block_info *b)
{
	libxl_diskinfo i;
	uint32_t devid;

	memset(b, 0, sizeof(*b));
	libxl_diskinfo_init(&i);
	if (libxl_device_disk_getinfo(h->ctx, domid, disk, &i)) {
		libxl_diskinfo_dispose(&i);
		return -EIO;
	}
	b->devid = (uint32_t)i.devid;
	if (pvb_vdev_parse(disk->vdev, &devid, NULL) == 0)
		b->devid = devid;
	b->domid = domid;
	b->backend_domid = i.backend_id;
	snprintf(b->vdev, sizeof(b->vdev), "%s", disk->vdev);
	b->front_state = i.state;
	b->event_channel = i.evtch;
	b->ring_ref = i.rref;
	b->backend_path = strdup(i.backend ? i.backend : "");
	b->back_state = xen_store(h) ? state_or_none(h->store, b->backend_path) : -1;
	b->target = strdup(disk->pdev_path ? disk->pdev_path : "");
	b->provider = strdup(disk->script && strstr(disk->script, "block-pvbus") ? "pvbus" :
			     libxl_disk_backend_to_string(disk->backend));
	b->readonly = !disk->readwrite;
	b->cdrom = disk->is_cdrom;
	libxl_diskinfo_dispose(&i);
	return b->backend_path && b->target && b->provider ? 0 : -ENOMEM;
}

int xen_block_list(struct host *h, uint32_t domid, struct block_info **out, unsigned *nr, struct pvb_error *err)
{
	libxl_device_disk *disks;
	struct block_info *list;
	unsigned n = 0;
	int count = 0;

	h->log.cause[0] = '\0';
	disks = libxl_device_disk_list(h->ctx, domid, &count);
	if (!disks && *h->log.cause)
		return xen_err(h, err, ERROR_FAIL, "disks of domain %u", domid);
	list = calloc((size_t)count + 1, sizeof(*list));
	for (int i = 0; list && i < count; i++)
		if (fill_block(h, domid, &disks[i], &list[n]) == 0)
			n++;
	libxl_device_disk_list_free(disks, count);
	if (!list)
		return pvb_err(err, -ENOMEM, "disks of domain %u: out of memory", domid);
	*out = list;
	*nr = n;
	return 0;
}

/* One disk by name: 0, or -ENOENT and no text. */
static int find_block(struct host *h, uint32_t domid, const char *vdev, struct block_info *b, struct pvb_error *err)
{
	struct block_info *list;
	unsigned nr, i;
	int rc = xen_block_list(h, domid, &list, &nr, err);

	if (rc)
		return rc;
	i = block_find(list, nr, vdev);
	if (i < nr) {
		*b = list[i];
		memset(&list[i], 0, sizeof(list[i]));
	}
	block_list_free(list, nr);
	return i < nr ? 0 : -ENOENT;
}

static void block_clear(struct block_info *b)
{
	free(b->backend_path);
	free(b->target);
	free(b->provider);
	memset(b, 0, sizeof(*b));
}

int xen_disk_served(struct host *h, const libxl_device_disk *disk, struct pvb_error *err)
{
	struct pvb_error why = { 0 };
	int rc;

	if (h->p->force || !disk->script || !strstr(disk->script, "block-pvbus") || disk->backend_domid ||
	    disk->backend_domname)
		return 0;
	rc = xen_ask_pvbackd(h, &why);
	if (rc)
		return pvb_err(err, rc, "disk %s is for pvbackd, but: %.150s", disk->vdev, why.text);
	return 0;
}

int xen_block_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		   struct pvb_error *err)
{
	libxl_device_disk disk;
	char *text;
	int rc;

	libxl_device_disk_init(&disk);
	rc = xen_disk_parse(specs, nr_specs, &disk, err);
	if (!rc) {
		text = libxl_device_disk_to_json(NULL, &disk);
		*out = out_obj();
		json_object_object_add(*out, "disk", text ? json_tokener_parse(text) : NULL);
		free(text);
	}
	libxl_device_disk_dispose(&disk);
	return rc;
}

/* --- attach ------------------------------------------------------------------------------------------ */

static bool is_connected(const char *value, void *arg)
{
	return value && strcmp(value, "4") == 0;
}

/* Leave nothing of a device behind, whatever state it is in.  Both ends are made to let go first: libxl would
 * wait 10 s for a back end that is not there. */
static void sweep(struct host *h, uint32_t domid, libxl_device_disk *disk)
{
	xentoollog_level min = h->log.min;
	struct block_info b = { 0 };
	libxl_asyncop_how how;
	char front[160];

	h->log.min = XTL_CRITICAL; /* its complaints would hide what went wrong before */
	if (find_block(h, domid, disk->vdev, &b, NULL) == 0 && xen_store(h)) {
		snprintf(front, sizeof(front), "/local/domain/%u/device/vbd/%u", domid, b.devid);
		release_device(h->store, b.backend_path, front, true, 1000, NULL);
	}
	block_clear(&b);
	how = xen_op(h);
	xen_wait(h, &how, libxl_device_disk_destroy(h->ctx, domid, disk, &how), 20000);
	h->log.min = min;
}

static int wait_connected(struct host *h, uint32_t domid, const struct block_info *b, int timeout_ms,
			  struct pvb_error *err)
{
	char path[256];
	int rc;

	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/%u/state", domid, b->devid);
	rc = xen_store(h) ? pvb_store_wait(h->store, path, is_connected, NULL, timeout_ms) : -EIO;
	if (rc == 0 && state_or_none(h->store, b->backend_path) == PVB_CONNECTED)
		return 0;
	path[strlen(path) - strlen("/state")] = '\0';
	return pvb_err(err, rc ? rc : -EIO, "%s not connected after %d ms: front end %s, back end %s; taken away again",
		       b->vdev, timeout_ms, pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, path)),
		       pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, b->backend_path)));
}

static bool is_paused(struct host *h, uint32_t domid)
{
	libxl_dominfo i;
	bool paused;

	libxl_dominfo_init(&i);
	paused = libxl_domain_info(h->ctx, &i, domid) == 0 && i.paused;
	libxl_dominfo_dispose(&i);
	return paused;
}

static int attach(struct host *h, uint32_t domid, libxl_device_disk *disk, bool wait, int timeout_ms,
		  struct block_info *b, struct pvb_error *err)
{
	uint64_t start = pvb_now_ms();
	libxl_asyncop_how how;
	char path[160];
	uint32_t devid;
	int rc, left;

	rc = xen_disk_served(h, disk, err);
	if (rc)
		return rc;
	rc = find_block(h, domid, disk->vdev, b, err);
	if (rc != -ENOENT) {
		if (!rc)
			rc = pvb_err(err, -EEXIST, "domain %u has a disk %s already (%s)", domid, b->vdev, b->target);
		return rc;
	}
	how = xen_op(h);
	/* libxl has limits of its own: 10 s for the back end, 40 s for the script */
	rc = xen_wait(h, &how, libxl_device_disk_add(h->ctx, domid, disk, &how), timeout_ms);
	if (rc) {
		rc = xen_err(h, err, rc, "attaching %s to domain %u", disk->vdev, domid);
		if (pvb_vdev_parse(disk->vdev, &devid, NULL) == 0) {
			snprintf(path, sizeof(path), "/local/domain/%u/backend/vbd/%u/%u", disk->backend_domid, domid,
				 devid);
			xen_add_reason(h, path, err, rc);
		}
		sweep(h, domid, disk);
		return rc;
	}
	rc = find_block(h, domid, disk->vdev, b, err);
	if (rc == -ENOENT)
		return pvb_err(err, -EIO, "%s was attached to domain %u but is not there", disk->vdev, domid);
	if (rc || !wait)
		return rc;
	if (is_paused(h, domid)) {
		pvl_note(h->p, "domain %u is paused: %s will connect once it runs", domid, disk->vdev);
		return 0;
	}
	left = timeout_ms < 0 ? CONNECT_MS : timeout_ms - (int)(pvb_now_ms() - start);
	rc = wait_connected(h, domid, b, left < 0 ? 0 : left, err);
	if (rc) {
		xen_add_reason(h, b->backend_path, err, rc);
		block_clear(b);
		sweep(h, domid, disk);
		return rc;
	}
	block_clear(b);
	return find_block(h, domid, disk->vdev, b, err);
}

int xen_block_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		     struct json_object **out, struct pvb_error *err)
{
	struct block_info b = { 0 };
	libxl_device_disk disk;
	int rc;

	libxl_device_disk_init(&disk);
	rc = xen_disk_parse(specs, nr_specs, &disk, err);
	if (!rc)
		rc = attach(h, domid, &disk, wait, timeout_ms, &b, err);
	if (!rc)
		*out = block_json(&b);
	block_clear(&b);
	libxl_device_disk_dispose(&disk);
	return rc;
}

/* --- detach ------------------------------------------------------------------------------------------ */

static int remove_closed(struct host *h, uint32_t domid, const char *vdev, bool force, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	libxl_device_disk disk;
	int rc;

	libxl_device_disk_init(&disk);
	rc = libxl_vdev_to_device_disk(h->ctx, domid, vdev, &disk);
	if (rc == 0)
		rc = xen_wait(h, &how, force ? libxl_device_disk_destroy(h->ctx, domid, &disk, &how) :
					       libxl_device_disk_remove(h->ctx, domid, &disk, &how), 30000);
	libxl_device_disk_dispose(&disk);
	return rc ? xen_err(h, err, rc, "removing %s from domain %u", vdev, domid) : 0;
}

static int check_gone(struct host *h, uint32_t domid, const struct block_info *was, const char *front,
		      struct pvb_error *err)
{
	struct block_info b = { 0 };
	int rc = find_block(h, domid, was->vdev, &b, err);

	block_clear(&b);
	if (rc == 0)
		return pvb_err(err, -EIO, "%s of domain %u is still listed after its removal", was->vdev, domid);
	if (rc != -ENOENT)
		return rc;
	if (pvb_store_exists(h->store, PVB_NO_TXN, was->backend_path))
		return pvb_err(err, -EIO, "%s of domain %u: %s is still there after its removal", was->vdev, domid,
			       was->backend_path);
	if (pvb_store_exists(h->store, PVB_NO_TXN, front))
		return pvb_err(err, -EIO, "%s of domain %u: %s is still there after its removal", was->vdev, domid,
			       front);
	return 0;
}

int xen_block_detach(struct host *h, uint32_t domid, const char *vdev, bool force, int timeout_ms,
		     struct pvb_error *err)
{
	struct block_info b = { 0 };
	char front[160];
	int rc = find_block(h, domid, vdev, &b, err);

	if (rc == -ENOENT)
		return pvb_err(err, rc, "domain %u has no disk \"%s\"", domid, vdev);
	if (rc)
		return rc;
	if (!xen_store(h)) {
		block_clear(&b);
		return pvb_err(err, -EIO, "the store can not be reached");
	}
	snprintf(front, sizeof(front), "/local/domain/%u/device/vbd/%u", domid, b.devid);
	rc = release_device(h->store, b.backend_path, front, force, timeout_ms, err);
	if (!rc)
		rc = remove_closed(h, domid, b.vdev, force, err);
	if (!rc)
		rc = check_gone(h, domid, &b, front, err);
	block_clear(&b);
	return rc;
}
