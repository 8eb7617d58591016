// SPDX-License-Identifier: GPL-2.0-or-later
/* The NICs of pvguest's domain: found, opened, watched, counted. */
#include <errno.h>
#include <string.h>
#include "pvguest.h"

static const struct nic_choice everything = { .all = true };

static void tell(struct nic *n)
{
	const struct pvf_nic_info *i = pvf_nic_info(n->nic);
	enum pvf_phase phase = pvf_nic_phase(n->nic);
	const uint8_t *m = i->mac;

	if (phase == n->said || phase == PVF_WAITING || phase == PVF_OFFERED || phase == PVF_CLOSING || n->p->quiet)
		return;
	n->said = phase;
	if (phase == PVF_LIVE)
		fprintf(stderr,
			"pvguest: %s: live, %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, %u queues%s%s%s%s%s%s%s\n", n->name,
			m[0], m[1], m[2], m[3], m[4], m[5], i->mtu, i->queues, i->split ? ", split" : "",
			i->sg ? ", sg" : "", i->csum4 ? ", csum" : "", i->gso4 || i->gso6 ? ", gso" : "",
			i->carrier ? "" : ", no carrier", n->tap != NULL ? ", interface " : "",
			n->tap != NULL ? tap_name(n->tap) : "");
	else
		fprintf(stderr, "pvguest: %s: %s%s%s\n", n->name, pvf_phase_name(phase),
			pvf_nic_error(n->nic)->code != 0 ? ", " : "", pvf_nic_error(n->nic)->text);
}

static void changed(void *arg, struct pvf_nic *nic)
{
	struct nic *n = arg;

	n->nic = nic;
	frames_changed(n);
	tell(n);
}

static const struct nic_choice *choice_for(const struct program *p, uint32_t devid)
{
	const struct nic_choice *all = p->o.nr_nics == 0 ? &everything : NULL;

	for (unsigned i = 0; i < p->o.nr_nics; i++) {
		if (!p->o.nics[i].all && p->o.nics[i].devid == devid)
			return &p->o.nics[i];
		if (p->o.nics[i].all)
			all = &p->o.nics[i];
	}
	return all;
}

static bool known(const struct program *p, uint32_t devid)
{
	for (unsigned i = 0; i < p->nr_nics; i++)
		if (pvf_nic_devid(p->nics[i].nic) == devid)
			return true;
	return false;
}

static void add_nic(struct program *p, uint32_t devid)
{
	struct nic *n = &p->nics[p->nr_nics];
	struct pvf_nic_options opt;
	struct pvb_error err;
	int rc;

	if (p->nr_nics == PVGUEST_NICS || known(p, devid) || choice_for(p, devid) == NULL)
		return;
	memset(n, 0, sizeof(*n));
	n->p = p;
	n->choice = choice_for(p, devid);
	snprintf(n->name, sizeof(n->name), "vif %u", devid);
	opt = n->choice->nic;
	if (opt.queues == 0)
		opt.queues = p->o.disk.queues;
	opt.changed = changed;
	opt.receive = frames_received;
	opt.room = frames_room;
	opt.arg = n;
	rc = pvf_nic_open(&n->nic, p->guest, devid, &opt, &err);
	if (rc == 0)
		p->nr_nics++;
	else if (rc != -ENOENT)
		complain(&err);
}

/* At the start, and whenever a device is plugged in. */
void scan_nics(void *arg, const char *path)
{
	struct program *p = arg;
	char dir[96], **names;
	uint64_t devid, last = 0;
	unsigned nr;

	snprintf(dir, sizeof(dir), "%s/device/vif", p->home);
	if (pvb_store_list(p->st, PVB_NO_TXN, dir, &names, &nr) < 0)
		return;
	while (next_device(names, nr, last, &devid)) {
		add_nic(p, (uint32_t)devid);
		last = devid + 1;
	}
	pvb_store_list_free(names, nr);
}

/* --- are they there? -------------------------------------------------------------------------------- */

static unsigned missing(const struct program *p)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < p->o.nr_nics; i++)
		nr += !p->o.nics[i].all && !known(p, p->o.nics[i].devid);
	return nr;
}

bool nics_live(const struct program *p)
{
	for (unsigned i = 0; i < p->nr_nics; i++)
		if (pvf_nic_phase(p->nics[i].nic) != PVF_LIVE || p->nics[i].failed)
			return false;
	return missing(p) == 0;
}

bool nics_hopeless(const struct program *p)
{
	for (unsigned i = 0; i < p->nr_nics; i++) {
		enum pvf_phase phase = pvf_nic_phase(p->nics[i].nic);

		if (p->nics[i].failed || phase == PVF_DEAD ||
		    (phase == PVF_DOWN && pvf_nic_error(p->nics[i].nic)->code != 0))
			return true;
	}
	return false;
}

void nics_late(struct program *p)
{
	struct pvb_error err;

	for (unsigned i = 0; i < p->nr_nics; i++)
		if (pvf_nic_wait(p->nics[i].nic, 0, &err) < 0)
			complain(&err);
	if (missing(p) > 0)
		fprintf(stderr, "pvguest: %u of the NICs asked for are not there\n", missing(p));
}

/* --- counters --------------------------------------------------------------------------------------- */

void print_nics(const struct program *p)
{
	for (unsigned i = 0; i < p->nr_nics; i++) {
		const struct nic *n = &p->nics[i];
		struct pvf_nic_stats s;

		pvf_nic_stats(n->nic, &s);
		const struct counter c[] = {
			{ "tx_frames", s.tx_frames }, { "tx_bytes", s.tx_bytes }, { "tx_slots", s.tx_slots },
			{ "tx_gso", s.tx_gso }, { "tx_csum_blank", s.tx_csum_blank },
			{ "tx_csum_filled", s.tx_csum_filled }, { "tx_full", s.tx_full },
			{ "tx_errors", s.tx_errors }, { "tx_dropped", s.tx_dropped }, { "tx_lost", s.tx_lost },
			{ "rx_frames", s.rx_frames }, { "rx_bytes", s.rx_bytes }, { "rx_slots", s.rx_slots },
			{ "rx_gso", s.rx_gso }, { "rx_csum_blank", s.rx_csum_blank }, { "rx_errors", s.rx_errors },
			{ "rx_bad", s.rx_bad }, { "pushes", s.pushes }, { "notifies", s.notifies },
			{ "events", s.events }, { "spurious", s.spurious }, { "connects", s.connects },
			{ "staged", pvf_nic_info(n->nic)->staged }, { "from_tap", n->n.from_tap },
			{ "to_tap", n->n.to_tap }, { "tap_refused", n->n.tap_refused },
			{ "too_large", n->n.too_large }, { "not_sent", n->n.not_sent },
			{ "not_recorded", n->n.not_recorded },
		};
		print_line("nic", n->name + 4, c, sizeof(c) / sizeof(c[0]), p->o.json);
	}
}
