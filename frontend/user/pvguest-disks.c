// SPDX-License-Identifier: GPL-2.0-or-later
/* The disks of pvguest's domain: found, opened, watched, counted. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "offer.h"
#include "pvguest.h"

static void tell(struct disk *d)
{
	const struct pvf_info *i = pvf_disk_info(d->disk);
	enum pvf_phase phase = pvf_disk_phase(d->disk);

	/* the steps in between are of no interest, and a resize is not a phase */
	if (phase == d->said || phase == PVF_WAITING || phase == PVF_OFFERED || phase == PVF_CLOSING || d->p->quiet)
		return;
	d->said = phase;
	if (phase == PVF_LIVE)
		fprintf(stderr, "pvguest: %s: live, %" PRIu64 " bytes%s, %u queues of %u slots, %u segments%s%s%s%s\n",
			d->name, i->size, i->readonly ? " read-only" : "", i->queues, i->ring_slots, i->max_segments,
			i->flush ? ", flush" : "", i->barrier ? ", barrier" : "", i->discard ? ", discard" : "",
			i->persistent ? ", persistent" : "");
	else
		fprintf(stderr, "pvguest: %s: %s%s%s\n", d->name, pvf_phase_name(phase),
			pvf_disk_error(d->disk)->code != 0 ? ", " : "", pvf_disk_error(d->disk)->text);
}

static void changed(void *arg, struct pvf_disk *disk)
{
	struct disk *d = arg;

	d->disk = disk;
	tell(d);
	if (d->p->nbd != NULL)
		nbd_server_changed(d->p->nbd, disk);
}

static bool known(const struct program *p, uint32_t devid)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_devid(p->disks[i].disk) == devid)
			return true;
	return false;
}

static void add_disk(struct program *p, uint32_t devid)
{
	struct disk *d = &p->disks[p->nr];
	struct pvf_options opt = p->o.disk;
	struct pvb_error err;
	int rc;

	if (p->nr == PVGUEST_DISKS || known(p, devid))
		return;
	memset(d, 0, sizeof(*d));
	d->p = p;
	pvb_vdev_name(devid, d->name, sizeof(d->name));
	opt.changed = changed;
	opt.arg = d;
	rc = pvf_disk_open(&d->disk, p->guest, devid, &opt, &err);
	if (rc < 0) {
		if (rc != -ENOENT)
			complain(&err);
		return;
	}
	p->nr++;
	if (p->nbd != NULL)
		nbd_server_export(p->nbd, d->name, d->disk);
}

static void add_named(struct program *p)
{
	uint32_t devid;

	for (unsigned i = 0; i < p->o.nr_disks; i++)
		if (pvb_vdev_parse(p->o.disks[i], &devid, NULL) == 0)
			add_disk(p, devid);
}

bool next_device(char **names, unsigned nr, uint64_t from, uint64_t *devid)
{
	uint64_t v, best = UINT64_MAX;

	for (unsigned i = 0; i < nr; i++)
		if (pvb_parse_u64(names[i], from, INT32_MAX, &v) == 0 && v < best)
			best = v;
	*devid = best;
	return best != UINT64_MAX;
}

/* At the start, and whenever a device is plugged in. */
void scan_disks(void *arg, const char *path)
{
	struct program *p = arg;
	char dir[96], **names;
	uint64_t devid, last = 0;
	unsigned nr;

	if (p->o.nr_disks > 0) {
		add_named(p);
		return;
	}
	snprintf(dir, sizeof(dir), "%s/device/vbd", p->home);
	if (pvb_store_list(p->st, PVB_NO_TXN, dir, &names, &nr) < 0)
		return;
	/* in order: the first is the default export */
	while (next_device(names, nr, last, &devid)) {
		add_disk(p, (uint32_t)devid);
		last = devid + 1;
	}
	pvb_store_list_free(names, nr);
}

bool disks_live(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_phase(p->disks[i].disk) != PVF_LIVE)
			return false;
	return p->nr >= p->o.nr_disks;
}

bool disks_hopeless(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++) {
		enum pvf_phase phase = pvf_disk_phase(p->disks[i].disk);

		if (phase == PVF_DEAD ||
		    (phase == PVF_DOWN && !p->o.disk.wait && pvf_disk_error(p->disks[i].disk)->code != 0))
			return true;
	}
	return false;
}

void disks_late(struct program *p)
{
	struct pvb_error err;

	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_wait(p->disks[i].disk, 0, &err) < 0)
			complain(&err);
	if (p->nr < p->o.nr_disks)
		fprintf(stderr, "pvguest: %u of the %u disks asked for are there\n", p->nr, p->o.nr_disks);
}

/* --- counters --------------------------------------------------------------------------------------- */

void print_line(const char *kind, const char *name, const struct counter *c, size_t nr, bool json)
{
	fprintf(stderr, json ? "{\"%s\": \"%s\", " : "%s %s: ", kind, name);
	counters_print(stderr, c, nr, json);
	fprintf(stderr, json ? "}\n" : "\n");
}

static void print_disk(const struct disk *d, bool json)
{
	struct pvf_stats s;

	pvf_disk_stats(d->disk, &s);
	const struct counter c[] = {
		{ "requests", s.requests }, { "slots", s.slots }, { "bytes_read", s.bytes_read },
		{ "bytes_written", s.bytes_written }, { "bytes_copied", s.bytes_copied }, { "errors", s.errors },
		{ "pushes", s.pushes }, { "notifies", s.notifies }, { "events", s.events }, { "spurious", s.spurious },
		{ "ring_full", s.ring_full }, { "pool_empty", s.pool_empty }, { "connects", s.connects },
	};
	print_line("disk", d->name, c, sizeof(c) / sizeof(c[0]), json);
}

void print_stats(const struct program *p)
{
	const struct pvb_hv_live *l = pvb_hv_live(p->hv);
	struct nbd_stats n = p->nbd_stats;

	if (p->nbd != NULL)
		nbd_server_stats(p->nbd, &n);
	const struct counter nbd[] = {
		{ "connections", n.accepted },	    { "refused", n.refused },
		{ "commands", n.commands },	    { "errors", n.errors },
		{ "bytes_in", n.bytes_in },	    { "bytes_out", n.bytes_out },
		{ "bytes_copied", n.bytes_copied },
	};
	const struct counter hv[] = { { "grants", l->grants }, { "ports", l->ports }, { "stuck", l->stuck } };

	for (unsigned i = 0; i < p->nr; i++)
		print_disk(&p->disks[i], p->o.json);
	print_nics(p);
	if (p->socket[0] != '\0')
		print_line("nbd", p->socket, nbd, sizeof(nbd) / sizeof(nbd[0]), p->o.json);
	print_line("domain", p->home, hv, sizeof(hv) / sizeof(hv[0]), p->o.json);
}
