// SPDX-License-Identifier: GPL-2.0-or-later
/* The calls a program makes on a NIC, and what a NIC does at the turns of its life (dev.h). */
#include <errno.h>
#include <stdlib.h>
#include "nic-impl.h"

/* --- turns ------------------------------------------------------------------------------------------ */

/* The back end may have worked for a while before we saw its state: its events found nobody. */
static void nic_begin(struct pvf_dev *dev)
{
	struct pvf_nic *nic = pvf_nic_of(dev);

	nic->stats.connects++;
	pvf_mcast_restart(nic);
	pvf_ctrl_begin(nic);
	for (unsigned i = 0; i < nic->nr_queues && !dev->dead; i++)
		pvf_nicq_drain(&nic->queues[i]);
}

static void nic_left(struct pvf_dev *dev)
{
}

static void nic_fail(struct pvf_dev *dev, int rc)
{
}

static void nic_tell(struct pvf_dev *dev)
{
	struct pvf_nic *nic = pvf_nic_of(dev);

	if (nic->opt.changed != NULL)
		nic->opt.changed(nic->opt.arg, nic);
}

const struct pvf_dev_ops pvf_nic_ops = {
	.kind = "vif", .offered = PVB_CONNECTED, .offer = pvf_nic_offer, .connect = pvf_nic_connect,
	.begin = nic_begin, .look = pvf_nic_look, .left = nic_left, .fail = nic_fail, .stop = pvf_nic_disconnect,
	.free = pvf_nic_release, .tell = nic_tell,
};

/* --- calls ------------------------------------------------------------------------------------------ */

static int check(const struct pvf_nic_options *opt, uint32_t devid, struct pvb_error *err)
{
	if (opt->queues > PVF_NIC_MAX_QUEUES)
		return pvb_err(err, -EINVAL, "vif %u: %u queues, at most %u", devid, opt->queues, PVF_NIC_MAX_QUEUES);
	if (opt->tx_pages > PVF_NIC_PAGES || opt->rx_pages > PVF_NIC_PAGES)
		return pvb_err(err, -EINVAL, "vif %u: %u and %u pages, at most %u", devid, opt->tx_pages, opt->rx_pages,
			       PVF_NIC_PAGES);
	if (opt->hash != NULL && opt->hash->nr_map > PVF_NIC_MAX_HASH_MAP)
		return pvb_err(err, -EINVAL, "vif %u: hash mapping of %u entries, at most %u", devid, opt->hash->nr_map,
			       PVF_NIC_MAX_HASH_MAP);
	return 0;
}

static void set_options(struct pvf_nic *nic, const struct pvf_nic_options *opt)
{
	nic->opt = *opt;
	if (nic->opt.queues == 0)
		nic->opt.queues = 1;
	if (nic->opt.tx_pages == 0)
		nic->opt.tx_pages = PVF_NIC_PAGES;
	if (nic->opt.rx_pages == 0)
		nic->opt.rx_pages = PVF_NIC_PAGES;
	nic->opt.no_gso = opt->no_gso || opt->no_sg || opt->no_csum;
	if (opt->hash != NULL)
		nic->hash = *opt->hash;
	nic->opt.hash = NULL;
}

int pvf_nic_open(struct pvf_nic **out, struct pvf_guest *guest, uint32_t devid, const struct pvf_nic_options *opt,
		 struct pvb_error *err)
{
	struct pvf_nic *nic;
	int rc = check(opt, devid, err);

	if (rc < 0)
		return rc;
	nic = calloc(1, sizeof(*nic));
	if (nic == NULL)
		return pvb_err(err, -ENOMEM, "vif %u: out of memory", devid);
	set_options(nic, opt);
	nic->dev.generation = &nic->info.generation;
	nic->dev.carrier = true;
	rc = pvf_dev_open(&nic->dev, &pvf_nic_ops, guest, devid, err);
	if (rc < 0) {
		free(nic);
		return rc;
	}
	*out = nic;
	return 0;
}

int pvf_nic_wait(struct pvf_nic *nic, int timeout_ms, struct pvb_error *err)
{
	return pvf_dev_wait(&nic->dev, timeout_ms, err);
}

void pvf_nic_stop(struct pvf_nic *nic)
{
	pvf_dev_stop(&nic->dev);
}

bool pvf_nic_down(struct pvf_nic *nic, int timeout_ms)
{
	return pvf_dev_down(&nic->dev, timeout_ms);
}

void pvf_nic_close(struct pvf_nic **out, int timeout_ms)
{
	struct pvf_nic *nic = out != NULL ? *out : NULL;

	if (nic == NULL)
		return;
	pvf_dev_close(&nic->dev, timeout_ms);
	free(nic);
	*out = NULL;
}

enum pvf_phase pvf_nic_phase(const struct pvf_nic *nic)
{
	return nic->dev.phase;
}

uint32_t pvf_nic_devid(const struct pvf_nic *nic)
{
	return nic->dev.devid;
}

const struct pvf_nic_info *pvf_nic_info(const struct pvf_nic *nic)
{
	return &nic->info;
}

void pvf_nic_stats(const struct pvf_nic *nic, struct pvf_nic_stats *stats)
{
	*stats = nic->stats;
}

const struct pvb_error *pvf_nic_error(const struct pvf_nic *nic)
{
	return &nic->dev.error;
}

void pvf_nic_kick(struct pvf_nic *nic)
{
	if (!pvf_dev_works(&nic->dev) || nic->in_callback > 0)
		return;
	for (unsigned i = 0; i < nic->nr_queues; i++)
		pvf_nicq_push(&nic->queues[i]);
}

uint32_t pvf_nic_in_flight(const struct pvf_nic *nic)
{
	uint32_t nr = 0;

	for (unsigned i = 0; i < nic->nr_queues; i++)
		nr += nic->queues[i].tx_frames;
	return nr;
}
