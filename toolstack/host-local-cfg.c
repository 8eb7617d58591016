// SPDX-License-Identifier: GPL-2.0-or-later
/* A local domain's configuration: from xl.cfg keys, from its record in the store, to JSON. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "host-local.h"
#include "local/fabric.h"
#include "output.h"

const char *const local_action_word[3] = { "destroy", "restart", "preserve" };

static int parse_action(const char *text, enum local_action *to)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(local_action_word[i], text) == 0) {
			*to = (enum local_action)i;
			return 0;
		}
	return -EINVAL;
}

static int read_action(struct cfg *cfg, const char *key, enum local_action *to, struct pvb_error *err)
{
	const char *v;
	int rc = cfg_string(cfg, key, &v, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return parse_action(v, to) ? pvb_err(err, -EINVAL,
					     "%s: %s: \"%s\" is not destroy, restart or preserve",
					     cfg_name(cfg), key, v)
				   : 0;
}

static int read_text(struct cfg *cfg, const char *key, char **to, struct pvb_error *err)
{
	const char *v;
	int rc = cfg_string(cfg, key, &v, err);

	if (rc == -ENOENT)
		return pvb_err(err, -EINVAL, "%s: %s is missing", cfg_name(cfg), key);
	if (rc)
		return rc;
	*to = strdup(v);
	return *to ? 0 : pvb_err(err, -ENOMEM, "%s: out of memory", key);
}

static int check_name(const struct cfg *cfg, const char *name, struct pvb_error *err)
{
	size_t n = strlen(name);

	if (!n || n > PVB_LOCAL_NAME_MAX ||
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != n || *name == '.')
		return pvb_err(err, -EINVAL, "%s: name: \"%s\" is not 1 to %d letters, digits, \"_\", \".\" or \"-\"",
			       cfg_name(cfg), name, PVB_LOCAL_NAME_MAX);
	return 0;
}

static int read_uuid(struct cfg *cfg, char uuid[37], struct pvb_error *err)
{
	unsigned char b[16];
	const char *v;
	int rc = cfg_string(cfg, "uuid", &v, err);

	if (rc && rc != -ENOENT)
		return rc;
	if (!rc) {
		bool ok = strlen(v) == 36;

		for (int i = 0; ok && i < 36; i++)
			ok = i == 8 || i == 13 || i == 18 || i == 23 ? v[i] == '-' :
								     strchr("0123456789abcdefABCDEF", v[i]) != NULL;
		if (!ok)
			return pvb_err(err, -EINVAL, "%s: uuid: \"%s\" is not a uuid", cfg_name(cfg), v);
		memcpy(uuid, v, 37);
		return 0;
	}
	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return pvb_err(err, -EIO, "no random numbers for a uuid");
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		 b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return 0;
}

int local_disk_check(const struct diskspec *d, struct pvb_error *err)
{
	if (d->backendtype && strcmp(d->backendtype, "pvbus") && strcmp(d->backendtype, "phy"))
		return pvb_err(err, -EINVAL, "disk %s: backendtype=%s: --host local has only pvbackd", d->vdev,
			       d->backendtype);
	if (strcmp(d->format, "raw"))
		return pvb_err(err, -EINVAL, "disk %s: format %s: pvbackd takes raw; put it behind an nbd: target",
			       d->vdev, d->format);
	if (d->backend)
		return pvb_err(err, -EINVAL, "disk %s: backend=%s: --host local has no driver domains", d->vdev,
			       d->backend);
	if (d->script)
		return pvb_err(err, -EINVAL, "disk %s: script=%s: --host local runs no hotplug scripts", d->vdev,
			       d->script);
	if (!*d->target)
		return pvb_err(err, -EINVAL, "disk %s: an empty drive is not possible on --host local", d->vdev);
	return 0;
}

static int read_disks(struct cfg *cfg, struct local_cfg *lc, struct pvb_error *err)
{
	unsigned nr;
	int rc = cfg_list_len(cfg, "disk", &nr, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	lc->disks = calloc(nr ? nr : 1, sizeof(*lc->disks));
	if (!lc->disks)
		return pvb_err(err, -ENOMEM, "disk: out of memory");
	for (unsigned i = 0; i < nr; i++) {
		const char *v;

		rc = cfg_list_item(cfg, "disk", i, &v, err);
		if (!rc)
			rc = diskspec_parse(&lc->disks[i], &v, 1, err);
		if (rc)
			return pvb_err_prefix(err, rc, "%s", cfg_name(cfg));
		lc->nr_disks++;
		rc = local_disk_check(&lc->disks[i], err);
		for (unsigned j = 0; j < i && !rc; j++)
			if (lc->disks[j].devid == lc->disks[i].devid)
				rc = pvb_err(err, -EINVAL, "disk %s is given twice", lc->disks[i].vdev);
		if (rc)
			return pvb_err_prefix(err, rc, "%s", cfg_name(cfg));
	}
	return 0;
}

static int read_nics(struct cfg *cfg, struct local_cfg *lc, struct pvb_error *err)
{
	unsigned nr;
	int rc = cfg_list_len(cfg, "vif", &nr, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	lc->nics = calloc(nr ? nr : 1, sizeof(*lc->nics));
	if (!lc->nics)
		return pvb_err(err, -ENOMEM, "vif: out of memory");
	for (unsigned i = 0; i < nr; i++) {
		const char *v;

		rc = cfg_list_item(cfg, "vif", i, &v, err);
		if (!rc)
			rc = nicspec_parse(&lc->nics[i], &v, 1, err);
		if (rc)
			return pvb_err_prefix(err, rc, "%s", cfg_name(cfg));
		lc->nr_nics++;
		rc = local_nic_number(&lc->nics[i], lc->nics, i);
		if (rc)
			return pvb_err(err, rc, "%s: vif \"%s\": NIC %d is given twice", cfg_name(cfg), v,
				       lc->nics[i].devid);
	}
	return 0;
}

static int read_numbers(struct cfg *cfg, struct local_cfg *lc, struct pvb_error *err)
{
	int rc = cfg_long(cfg, "memory", 1, PVB_LOCAL_PAGES_MAX / 256, &lc->memory_mib, err);

	if (rc && rc != -ENOENT)
		return rc;
	rc = cfg_long(cfg, "vcpus", 1, 4096, &lc->vcpus, err);
	return rc == -ENOENT ? 0 : rc;
}

int local_cfg_read(struct cfg *cfg, struct local_cfg *out, struct pvb_error *err)
{
	struct local_cfg lc = { .memory_mib = 64, .vcpus = 1, .on_reboot = LOCAL_RESTART };
	char **argv;
	int rc = read_text(cfg, "name", &lc.name, err);

	if (!rc)
		rc = check_name(cfg, lc.name, err);
	if (!rc)
		rc = read_text(cfg, "guest", &lc.guest, err);
	if (!rc && !(rc = local_argv_split(lc.guest, &argv, err)))
		local_argv_free(argv);
	if (!rc)
		rc = read_uuid(cfg, lc.uuid, err);
	if (!rc)
		rc = read_numbers(cfg, &lc, err);
	if (!rc)
		rc = read_action(cfg, "on_poweroff", &lc.on_poweroff, err);
	if (!rc)
		rc = read_action(cfg, "on_reboot", &lc.on_reboot, err);
	if (!rc)
		rc = read_action(cfg, "on_crash", &lc.on_crash, err);
	if (!rc)
		rc = read_disks(cfg, &lc, err);
	if (!rc)
		rc = read_nics(cfg, &lc, err);
	if (rc)
		local_cfg_free(&lc);
	else
		*out = lc;
	return rc;
}

/* --- from the record --------------------------------------------------------------------------------- */

static int recorded_disks(struct host *h, uint32_t domid, struct local_cfg *lc, struct pvb_error *err)
{
	char path[64], **names;
	unsigned nr;
	int rc;

	snprintf(path, sizeof(path), "/pvl/%u/device", domid);
	rc = pvb_store_list(h->store, PVB_NO_TXN, path, &names, &nr);
	if (rc)
		return rc == -ENOENT ? 0 : pvb_err(err, rc, "%s: %s", path, strerror(-rc));
	lc->disks = calloc(nr ? nr : 1, sizeof(*lc->disks));
	for (unsigned i = 0; lc->disks && i < nr && !rc; i++) {
		char key[48], *spec;

		snprintf(key, sizeof(key), "device/%.20s", names[i]);
		spec = local_recorded(h, domid, key);
		if (!spec)
			continue;
		rc = diskspec_parse(&lc->disks[lc->nr_disks], (const char *const *)&spec, 1, err);
		if (!rc)
			lc->nr_disks++;
		free(spec);
	}
	pvb_store_list_free(names, nr);
	return lc->disks ? rc : pvb_err(err, -ENOMEM, "disks of domain %u: out of memory", domid);
}

static int recorded_nics(struct host *h, uint32_t domid, struct local_cfg *lc, struct pvb_error *err)
{
	char path[64], **names;
	unsigned nr;
	int rc;

	snprintf(path, sizeof(path), "/pvl/%u/nic", domid);
	rc = pvb_store_list(h->store, PVB_NO_TXN, path, &names, &nr);
	if (rc)
		return rc == -ENOENT ? 0 : pvb_err(err, rc, "%s: %s", path, strerror(-rc));
	lc->nics = calloc(nr ? nr : 1, sizeof(*lc->nics));
	for (unsigned i = 0; lc->nics && i < nr && !rc; i++) {
		char key[48], *spec;

		snprintf(key, sizeof(key), "nic/%.20s", names[i]);
		spec = local_recorded(h, domid, key);
		if (!spec)
			continue;
		rc = nicspec_parse(&lc->nics[lc->nr_nics], (const char *const *)&spec, 1, err);
		if (!rc)
			lc->nr_nics++;
		free(spec);
	}
	pvb_store_list_free(names, nr);
	return lc->nics ? rc : pvb_err(err, -ENOMEM, "NICs of domain %u: out of memory", domid);
}

static long recorded_number(struct host *h, uint32_t domid, const char *key, long def)
{
	char *text = local_recorded(h, domid, key);
	uint64_t v;
	int rc = text ? pvb_parse_u64(text, 0, INT32_MAX, &v) : -ENOENT;

	free(text);
	return rc ? def : (long)v;
}

static void recorded_action(struct host *h, uint32_t domid, const char *key, enum local_action *to)
{
	char *text = local_recorded(h, domid, key);

	if (text)
		parse_action(text, to);
	free(text);
}

int local_cfg_recorded(struct host *h, uint32_t domid, struct local_cfg *out, struct pvb_error *err)
{
	struct local_cfg lc = { 0 };
	char *uuid;
	int rc;

	lc.name = local_recorded(h, domid, "name");
	lc.guest = local_recorded(h, domid, "guest");
	uuid = local_recorded(h, domid, "uuid");
	if (!lc.name || !lc.guest || !uuid) {
		free(uuid);
		local_cfg_free(&lc);
		return pvb_err(err, -ENOENT, "domain %u was not made by pvl: it has no record", domid);
	}
	snprintf(lc.uuid, sizeof(lc.uuid), "%s", uuid);
	free(uuid);
	lc.memory_mib = recorded_number(h, domid, "memory", 64);
	lc.vcpus = recorded_number(h, domid, "vcpus", 1);
	recorded_action(h, domid, "on_poweroff", &lc.on_poweroff);
	recorded_action(h, domid, "on_reboot", &lc.on_reboot);
	recorded_action(h, domid, "on_crash", &lc.on_crash);
	rc = recorded_disks(h, domid, &lc, err);
	if (!rc)
		rc = recorded_nics(h, domid, &lc, err);
	if (rc)
		local_cfg_free(&lc);
	else
		*out = lc;
	return rc;
}

void local_cfg_free(struct local_cfg *lc)
{
	for (unsigned i = 0; i < lc->nr_disks; i++)
		diskspec_free(&lc->disks[i]);
	free(lc->disks);
	for (unsigned i = 0; i < lc->nr_nics; i++)
		nicspec_free(&lc->nics[i]);
	free(lc->nics);
	free(lc->name);
	free(lc->guest);
	memset(lc, 0, sizeof(*lc));
}

struct json_object *local_disk_json(const struct diskspec *d)
{
	struct json_object *disk = out_obj();

	out_str(disk, "vdev", d->vdev);
	out_int(disk, "devid", d->devid);
	out_str(disk, "target", d->target);
	out_bool(disk, "readonly", d->readonly);
	out_bool(disk, "cdrom", d->cdrom);
	out_bool(disk, "direct_io_safe", d->direct_io_safe);
	out_bool(disk, "discard", d->discard < 0 ? !d->readonly : d->discard);
	return disk;
}

struct json_object *local_nic_json(const struct nicspec *n)
{
	struct json_object *nic = out_obj();
	char mac[18];

	nicspec_mac_text(n->mac, mac);
	if (n->devid >= 0)
		out_int(nic, "devid", n->devid);
	out_str(nic, "mac", mac);
	out_str(nic, "port", n->port ? n->port : "tap");
	out_str(nic, "ip", n->ip);
	out_int(nic, "mtu", n->mtu);
	out_int(nic, "rate_bytes", (long long)n->rate_bytes);
	out_int(nic, "rate_usecs", (long long)n->rate_usecs);
	out_bool(nic, "trusted", !n->untrusted);
	return nic;
}

struct json_object *local_cfg_json(const struct local_cfg *lc, int64_t domid)
{
	struct json_object *obj = out_obj(), *c = out_obj(), *disks = out_arr(), *nics = out_arr();

	out_str(c, "name", lc->name);
	out_str(c, "type", "process");
	out_str(c, "uuid", lc->uuid);
	out_int(c, "memory_mib", lc->memory_mib);
	out_int(c, "vcpus", lc->vcpus);
	out_str(c, "guest", lc->guest);
	out_str(c, "on_poweroff", local_action_word[lc->on_poweroff]);
	out_str(c, "on_reboot", local_action_word[lc->on_reboot]);
	out_str(c, "on_crash", local_action_word[lc->on_crash]);
	for (unsigned i = 0; i < lc->nr_disks; i++)
		json_object_array_add(disks, local_disk_json(&lc->disks[i]));
	json_object_object_add(c, "disks", disks);
	for (unsigned i = 0; i < lc->nr_nics; i++)
		json_object_array_add(nics, local_nic_json(&lc->nics[i]));
	json_object_object_add(c, "nics", nics);
	if (domid >= 0)
		out_int(obj, "domid", domid);
	else
		json_object_object_add(obj, "domid", NULL);
	json_object_object_add(obj, "config", c);
	return obj;
}
