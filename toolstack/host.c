// SPDX-License-Identifier: GPL-2.0-or-later
/* What the two hosts share: how one is chosen, and how its answers become rows. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "host.h"
#include "offer.h"
#include "output.h"
#include "state.h"

const struct host_ops *host_choose(const char *spec, const char **rest, struct pvb_error *err)
{
	*rest = NULL;
	if (!spec)
		spec = access("/dev/xen", F_OK) == 0 ? "xen" : "local";
	if (strcmp(spec, "xen") == 0) {
#ifdef HAVE_XL
		return &host_xen;
#else
		pvb_err(err, -EOPNOTSUPP, "host xen: this pvl was built without libxl; only --host local[:DIR] works");
		return NULL;
#endif
	}
	if (strcmp(spec, "local") == 0)
		return &host_local;
	if (strncmp(spec, "local:", 6) == 0 && spec[6]) {
		*rest = spec + 6;
		return &host_local;
	}
	pvb_err(err, -EINVAL, "host \"%s\": neither xen nor local[:DIR]", spec);
	return NULL;
}

bool dom_name_ends(const char *name, const char *end)
{
	size_t len = strlen(name), tail = strlen(end);

	return len > tail && strcmp(name + len - tail, end) == 0;
}

void dom_list_free(struct dom_info *list, unsigned nr)
{
	for (unsigned i = 0; list && i < nr; i++) {
		free(list[i].name);
		free(list[i].pool);
		free(list[i].nodes);
		free(list[i].label);
	}
	free(list);
}

void block_list_free(struct block_info *list, unsigned nr)
{
	for (unsigned i = 0; list && i < nr; i++) {
		free(list[i].backend_path);
		free(list[i].target);
		free(list[i].provider);
	}
	free(list);
}

unsigned block_find(const struct block_info *list, unsigned nr, const char *vdev)
{
	uint32_t devid;
	unsigned i;

	if (pvb_vdev_parse(vdev, &devid, NULL))
		return nr;
	for (i = 0; i < nr && list[i].devid != devid; i++)
		;
	return i;
}

void nic_list_free(struct nic_info *list, unsigned nr)
{
	for (unsigned i = 0; list && i < nr; i++) {
		free(list[i].backend_path);
		free(list[i].port);
		free(list[i].pair);
	}
	free(list);
}

int host_number_or(struct pvb_store *st, const char *dir, const char *key, int def)
{
	char path[256];
	uint64_t v;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	return pvb_store_read_u64(st, PVB_NO_TXN, path, 0, INT32_MAX, &v) ? def : (int)v;
}

unsigned nic_find(const struct nic_info *list, unsigned nr, const char *which)
{
	uint64_t devid = UINT64_MAX;
	unsigned i;

	pvb_parse_u64(which, 0, UINT32_MAX, &devid);
	for (i = 0; i < nr && list[i].devid != devid && strcasecmp(list[i].mac, which) != 0; i++)
		;
	return i;
}

void dom_flags(const struct dom_info *d, char flags[7])
{
	flags[0] = d->running ? 'r' : '-';
	flags[1] = d->blocked ? 'b' : '-';
	flags[2] = d->paused ? 'p' : '-';
	flags[3] = d->shutdown ? 's' : '-';
	flags[4] = d->shutdown && d->reason != ' ' ? d->reason : '-';
	flags[5] = d->dying ? 'd' : '-';
	flags[6] = '\0';
}

static const char *state_word(const struct dom_info *d)
{
	return d->dying	     ? "dying"
	       : d->shutdown ? "shutdown"
	       : d->paused   ? "paused"
	       : d->running  ? "running"
			     : "blocked";
}

static const char *reason_word(char reason)
{
	switch (reason) {
	case '-': return "poweroff";
	case 'r': return "reboot";
	case 's': return "suspend";
	case 'c': return "crash";
	case 'w': return "watchdog";
	case 'S': return "soft-reset";
	default: return NULL;
	}
}

struct json_object *dom_json(const struct dom_info *d)
{
	struct json_object *row = out_obj();
	char flags[7];

	dom_flags(d, flags);
	out_str(row, "name", d->name);
	out_int(row, "domid", d->domid);
	out_int(row, "memory_mib", d->memory_kib / 1024);
	out_int(row, "max_memory_mib", d->max_memory_kib / 1024);
	out_int(row, "vcpus", d->vcpus);
	out_str(row, "flags", flags);
	out_str(row, "state", state_word(d));
	out_str(row, "shutdown_reason", d->shutdown ? reason_word(d->reason) : NULL);
	out_real(row, "cpu_seconds", d->cpu_seconds);
	if (d->uptime >= 0)
		out_int(row, "uptime_seconds", d->uptime);
	out_str(row, "type", d->type);
	out_str(row, "uuid", d->uuid);
	out_str(row, "cpupool", d->pool);
	out_str(row, "node_affinity", d->nodes);
	out_str(row, "security_label", d->label);
	return row;
}

struct json_object *block_json(const struct block_info *b)
{
	struct json_object *row = out_obj();

	out_int(row, "devid", b->devid);
	out_str(row, "vdev", b->vdev);
	out_int(row, "backend_domid", b->backend_domid);
	out_int(row, "domid", b->domid);
	out_int(row, "state", b->front_state);
	out_str(row, "front_state", b->front_state < 0 ? NULL : pvb_state_name(b->front_state));
	out_str(row, "back_state", b->back_state < 0 ? NULL : pvb_state_name(b->back_state));
	out_int(row, "event_channel", b->event_channel);
	out_int(row, "ring_ref", b->ring_ref);
	out_str(row, "backend_path", b->backend_path);
	out_str(row, "target", b->target);
	out_str(row, "provider", b->provider);
	out_bool(row, "readonly", b->readonly);
	out_bool(row, "cdrom", b->cdrom);
	return row;
}

struct json_object *nic_json(const struct nic_info *n)
{
	struct json_object *row = out_obj();
	char refs[32];

	snprintf(refs, sizeof(refs), "%5d/%d", n->tx_ring_ref, n->rx_ring_ref);
	out_int(row, "devid", n->devid);
	out_str(row, "mac", n->mac);
	out_int(row, "backend_domid", n->backend_domid);
	out_int(row, "domid", n->domid);
	out_int(row, "state", n->front_state);
	out_str(row, "front_state", n->front_state < 0 ? NULL : pvb_state_name(n->front_state));
	out_str(row, "back_state", n->back_state < 0 ? NULL : pvb_state_name(n->back_state));
	out_int(row, "event_channel", n->event_channel);
	out_int(row, "tx_ring_ref", n->tx_ring_ref);
	out_int(row, "rx_ring_ref", n->rx_ring_ref);
	out_str(row, "ring_refs", refs);
	out_str(row, "backend_path", n->backend_path);
	out_str(row, "port", n->port);
	out_str(row, "pair", n->pair);
	return row;
}
