// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks of local domains: the nodes libxl would write, made and removed with bus/offer.h.  Served by pvbackd. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-local.h"
#include "loop.h"
#include "output.h"
#include "state.h"

static struct pvb_device_id id_of(uint32_t domid, uint32_t devid)
{
	return (struct pvb_device_id){ .kind = "vbd", .class = "vbd", .back = 0, .front = domid, .devid = devid };
}

static int record_disk(struct host *h, uint32_t domid, const struct diskspec *d)
{
	char key[32], *spec = diskspec_text(d, "");
	int rc;

	if (!spec)
		return -ENOMEM;
	snprintf(key, sizeof(key), "device/%u", d->devid);
	rc = local_record(h, domid, key, spec);
	free(spec);
	return rc;
}

static void unrecord_disk(struct host *h, uint32_t domid, uint32_t devid)
{
	char path[64];

	snprintf(path, sizeof(path), "/pvl/%u/device/%u", domid, devid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
}

int local_disk_offer(struct host *h, uint32_t domid, const struct diskspec *d, struct pvb_error *err)
{
	struct pvb_device_id id = id_of(domid, d->devid);
	const char *devtype = d->cdrom ? "cdrom" : "disk";
	bool discard = d->discard < 0 ? !d->readonly : d->discard;
	char virtual_device[16];
	/* hotplug-status says that no script is to be waited for */
	struct pvb_pair back[] = {
		{ "params", d->target }, { "script", "" }, { "dev", d->vdev }, { "type", "phy" },
		{ "mode", d->readonly ? "r" : "w" }, { "device-type", devtype },
		{ "removable", d->removable ? "1" : "0" },
		{ "bootable", "1" }, { "discard-enable", discard ? "1" : "0" }, { "specification", "xen" },
		{ "hotplug-status", "connected" }, { "direct-io-safe", "1" },
	}, front[] = {
		{ "virtual-device", virtual_device }, { "device-type", devtype },
		{ "trusted", d->untrusted ? "0" : "1" },
	};
	unsigned nr_back = sizeof(back) / sizeof(back[0]) - !d->direct_io_safe;
	char key[32], *there;
	int rc;

	snprintf(key, sizeof(key), "device/%u", d->devid);
	there = local_recorded(h, domid, key);
	if (there) {
		rc = pvb_err(err, -EEXIST, "domain %u has a disk %s already (%.120s)", domid, d->vdev, there);
		free(there);
		return rc;
	}
	rc = record_disk(h, domid, d);
	if (rc)
		return pvb_err(err, rc, "recording disk %s: %s", d->vdev, strerror(-rc));
	snprintf(virtual_device, sizeof(virtual_device), "%u", d->devid);
	rc = pvb_offer(h->store, &id, back, nr_back, front, 3, err);
	if (rc)
		unrecord_disk(h, domid, d->devid);
	return rc;
}

/* --- list -------------------------------------------------------------------------------------------- */

static void fill_block(struct host *h, uint32_t domid, const struct diskspec *d, struct block_info *b)
{
	struct pvb_device_id id = id_of(domid, d->devid);
	char path[160];

	pvb_device_front_path(&id, path, sizeof(path));
	b->domid = domid;
	b->devid = d->devid;
	snprintf(b->vdev, sizeof(b->vdev), "%.15s", d->vdev);
	b->front_state = host_number_or(h->store, path, "state", -1);
	b->event_channel = host_number_or(h->store, path, "event-channel", -1);
	b->ring_ref = host_number_or(h->store, path, "ring-ref", -1);
	pvb_device_back_path(&id, path, sizeof(path));
	b->back_state = host_number_or(h->store, path, "state", -1);
	b->backend_path = strdup(path);
	b->target = strdup(d->target);
	b->provider = strdup("pvbus");
	b->readonly = d->readonly;
	b->cdrom = d->cdrom;
}

int local_block_list(struct host *h, uint32_t domid, struct block_info **out, unsigned *nr, struct pvb_error *err)
{
	struct local_cfg lc;
	struct block_info *list;
	int rc;

	if (domid == 0) {
		*out = NULL;
		*nr = 0;
		return 0;
	}
	rc = local_cfg_recorded(h, domid, &lc, err);
	if (rc)
		return rc;
	list = calloc(lc.nr_disks + 1, sizeof(*list));
	for (unsigned i = 0; list && i < lc.nr_disks; i++)
		fill_block(h, domid, &lc.disks[i], &list[i]);
	if (list) {
		*out = list;
		*nr = lc.nr_disks;
	}
	local_cfg_free(&lc);
	return list ? 0 : pvb_err(err, -ENOMEM, "disks of domain %u: out of memory", domid);
}

/* --- attach ------------------------------------------------------------------------------------------ */

static bool is_waiting(const char *value, void *arg)
{
	return !value || strcmp(value, "1") != 0;
}

static bool is_connected(const char *value, void *arg)
{
	return !value || strcmp(value, "4") == 0;
}

/* The back end says in words why it did not do it. */
static int add_reason(struct host *h, const char *back, struct pvb_error *err, int rc)
{
	char path[200], *said, text[sizeof(err->text)];

	snprintf(path, sizeof(path), "%s/error", back);
	if (pvb_store_read(h->store, PVB_NO_TXN, path, &said))
		return rc;
	snprintf(text, sizeof(text), "%s", err->text);
	pvb_err(err, rc, "%.140s; the back end says: %.80s", text, said);
	free(said);
	return rc;
}

static int wait_state(struct host *h, const char *dir, bool (*done)(const char *value, void *arg), int timeout_ms)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/state", dir);
	return pvb_store_wait(h->store, path, done, NULL, timeout_ms);
}

static int wait_attached(struct host *h, uint32_t domid, const struct diskspec *d, bool wait, int timeout_ms,
			 struct pvb_error *err)
{
	struct pvb_device_id id = id_of(domid, d->devid);
	uint64_t end = pvb_now_ms() + (uint64_t)timeout_ms;
	char back[160], front[160];
	struct local_proc proc;
	enum pvb_state s;
	int rc;

	pvb_device_back_path(&id, back, sizeof(back));
	pvb_device_front_path(&id, front, sizeof(front));
	rc = wait_state(h, back, is_waiting, timeout_ms);
	s = pvb_state_read(h->store, PVB_NO_TXN, back);
	if (rc || (s != PVB_INIT_WAIT && s != PVB_CONNECTED))
		return add_reason(h, back, err,
				  pvb_err(err, rc ? rc : -EIO,
					  "%s: the back end is %s after %d ms%s; taken away again",
					  d->vdev, pvb_state_name(s), timeout_ms,
					  rc ? " (is pvbackd running for this fabric?)" : ""));
	if (!wait)
		return 0;
	local_proc_look(h, domid, &proc);
	if (proc.state == 'T') {
		pvl_note(h->p, "domain %u is paused: %s will connect once it runs", domid, d->vdev);
		return 0;
	}
	rc = wait_state(h, front, is_connected, pvb_now_ms() < end ? (int)(end - pvb_now_ms()) : 0);
	if (!rc && pvb_state_read(h->store, PVB_NO_TXN, front) == PVB_CONNECTED)
		return 0;
	return add_reason(h, back, err,
			  pvb_err(err, rc ? rc : -EIO,
				  "%s not connected after %d ms: front end %s, back end %s; taken away again",
				  d->vdev, timeout_ms, pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, front)),
				  pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, back))));
}

static int parse_for_local(const char *const *specs, int nr, struct diskspec *d, struct pvb_error *err)
{
	int rc = diskspec_parse(d, specs, nr, err);

	if (rc)
		return rc;
	rc = local_disk_check(d, err);
	if (rc)
		diskspec_free(d);
	return rc;
}

int local_block_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		     struct pvb_error *err)
{
	struct diskspec d;
	int rc = parse_for_local(specs, nr_specs, &d, err);

	if (rc)
		return rc;
	*out = out_obj();
	json_object_object_add(*out, "disk", local_disk_json(&d));
	diskspec_free(&d);
	return 0;
}

int local_block_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait,
		       int timeout_ms, struct json_object **out, struct pvb_error *err)
{
	struct block_info b = { 0 };
	struct pvb_device_id id;
	struct diskspec d;
	char *guest;
	int rc = parse_for_local(specs, nr_specs, &d, err);

	if (rc)
		return rc;
	guest = local_recorded(h, domid, "guest");
	if (timeout_ms < 0)
		timeout_ms = 20000;
	if (!guest)
		rc = pvb_err(err, -ENOENT, "domain %u was not made by pvl: it has no record", domid);
	free(guest);
	if (!rc)
		rc = local_disk_offer(h, domid, &d, err);
	if (!rc) {
		rc = wait_attached(h, domid, &d, wait, timeout_ms, err);
		id = id_of(domid, d.devid);
		if (rc && (pvb_rescind_force(h->store, &id, 2000, NULL) || true))
			unrecord_disk(h, domid, d.devid);
	}
	if (!rc) {
		fill_block(h, domid, &d, &b);
		*out = block_json(&b);
		free(b.backend_path);
		free(b.target);
		free(b.provider);
	}
	diskspec_free(&d);
	return rc;
}

/* --- detach ------------------------------------------------------------------------------------------ */

int local_block_detach(struct host *h, uint32_t domid, const char *vdev, bool force, int timeout_ms,
		       struct pvb_error *err)
{
	struct pvb_error why = { 0 };
	struct pvb_device_id id;
	struct block_info *list;
	char path[160];
	unsigned nr, i;
	int rc = local_block_list(h, domid, &list, &nr, err);

	if (rc)
		return rc;
	i = block_find(list, nr, vdev);
	id = id_of(domid, i < nr ? list[i].devid : 0);
	block_list_free(list, nr);
	if (i == nr)
		return pvb_err(err, -ENOENT, "domain %u has no disk \"%s\"", domid, vdev);
	rc = force ? pvb_rescind_force(h->store, &id, timeout_ms, err) : pvb_rescind(h->store, &id, timeout_ms, &why);
	if (rc && !force)
		pvb_err(err, rc, "%.160s%s", why.text, rc == -EBUSY ? "; --force takes it away" : "");
	pvb_device_back_path(&id, path, sizeof(path));
	if (!rc && pvb_store_exists(h->store, PVB_NO_TXN, path))
		rc = pvb_err(err, -EIO, "%s is still there after its removal", path);
	if (!rc)
		unrecord_disk(h, domid, id.devid);
	return rc;
}

int local_disks_drop(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	struct block_info *list;
	unsigned nr;
	int rc = local_block_list(h, domid, &list, &nr, NULL);

	if (rc)
		return rc == -ENOENT ? 0 : pvb_err(err, rc, "disks of domain %u: %s", domid, strerror(-rc));
	for (unsigned i = 0; i < nr; i++) {
		struct pvb_device_id id = id_of(domid, list[i].devid);
		char front[160];
		int r;

		/* its driver is dead: say on its behalf that it lets go, so that the back end need not wait for it */
		pvb_device_front_path(&id, front, sizeof(front));
		pvb_state_write(h->store, front, PVB_CLOSED);
		r = pvb_rescind_force(h->store, &id, timeout_ms, err);
		rc = rc ? rc : r;
	}
	block_list_free(list, nr);
	return rc;
}
