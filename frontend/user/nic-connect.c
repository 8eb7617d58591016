// SPDX-License-Identifier: GPL-2.0-or-later
/* One connection of a NIC: the keys it reads and publishes, the queues it makes and revokes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nic-impl.h"

#define ONE_PAGE_MTU (PVB_PAGE_SIZE - 18) /* header and a tag */

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* --- what we read ----------------------------------------------------------------------------------- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "00:16:3e:12:34:56" and nothing else; not a group's. */
static bool parse_mac(const char *text, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++, text += 3) {
		if (hex(text[0]) < 0 || hex(text[1]) < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(hex(text[0]) << 4 | hex(text[1]));
	}
	return (mac[0] & 1) == 0;
}

/* One page holds a frame of this MTU, or there is SG. */
static uint32_t usable_mtu(const struct pvf_nic *nic, uint64_t mtu)
{
	return nic->info.sg && nic->info.rx_sg ? (uint32_t)mtu : least(mtu, ONE_PAGE_MTU);
}

static int read_own(struct pvf_nic *nic, struct pvb_error *err)
{
	struct pvb_value v[VIF_F_NR];
	int rc = pvb_nodes_read(nic->dev.guest->store, PVB_NO_TXN, nic->dev.dir, pvb_vif_front, VIF_F_NR, v, err);

	if (rc < 0)
		return pvb_err_prefix(err, rc, "vif %u", nic->dev.devid);
	if (!v[VIF_F_MAC].present || !parse_mac(v[VIF_F_MAC].str, nic->info.mac))
		rc = pvb_err(err, -EINVAL, "vif %u: mac is \"%.60s\", must be a station's, as 00:16:3e:00:00:01",
			     nic->dev.devid, v[VIF_F_MAC].present ? v[VIF_F_MAC].str : "");
	pvb_nodes_free(v, VIF_F_NR);
	return rc;
}

/* What both of us can do, as far as it does not depend on the pages there are. */
static void agree(struct pvf_nic *nic, const struct pvb_value *v)
{
	const struct pvf_nic_options *opt = &nic->opt;
	struct pvf_nic_info *info = &nic->info;

	info->split = v[VIF_B_SPLIT_EVENTS].num && !opt->no_split;
	info->csum4 = !opt->no_csum;
	info->csum6 = !opt->no_csum && v[VIF_B_CSUM6].num;
	info->sg = !opt->no_sg && v[VIF_B_SG].num;
	info->rx_sg = !opt->no_sg;
	info->gso4 = !opt->no_gso && v[VIF_B_GSO4].num;
	info->gso6 = !opt->no_gso && v[VIF_B_GSO6].num;
	info->rx_csum = !opt->no_csum;
	info->rx_gso = !opt->no_gso;
	info->multicast = opt->multicast && v[VIF_B_MULTICAST].num;
	nic->dynamic_mcast = v[VIF_B_DYNAMIC_MULTICAST].num;
	info->ctrl = v[VIF_B_CTRL_RING].num && (opt->staging || nic->hash.types != 0);
	info->staged = info->hash_types = 0;
}

/* Large frames need as many pages in the smallest pool. */
static void fit_pages(struct pvf_nic *nic)
{
	struct pvf_nic_info *info = &nic->info;

	info->queues = nic->nr_queues;
	info->ring_slots = NIC_SLOTS;
	info->tx_pages = info->rx_pages = NIC_SLOTS;
	for (unsigned i = 0; i < nic->nr_queues; i++) {
		info->tx_pages = least(info->tx_pages, nic->queues[i].tx_pool.nr);
		info->rx_pages = least(info->rx_pages, nic->queues[i].rx_pool.nr);
	}
	info->sg = info->sg && info->tx_pages >= NIC_SG_PAGES;
	info->rx_sg = info->rx_sg && info->rx_pages >= NIC_SG_PAGES;
	info->gso4 = info->gso4 && info->sg && info->csum4;
	info->gso6 = info->gso6 && info->sg && info->csum6;
	info->rx_gso = info->rx_gso && info->rx_sg && info->rx_csum;
	info->max_frame = info->sg ? XEN_NETIF_MAX_TX_SIZE : PVB_PAGE_SIZE;
}

/* --- what we publish -------------------------------------------------------------------------------- */

static int publish_queue(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvf_nicq *q)
{
	const struct pvb_key *keys = pvb_vif_queue;
	int rc = pvb_nodes_write_u64(st, t, dir, &keys[VIF_Q_TX_RING_REF], q->rings.refs[0]);

	if (rc == 0)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VIF_Q_RX_RING_REF], q->rings.refs[1]);
	if (rc == 0 && q->tx_event == q->rx_event)
		return pvb_nodes_write_u64(st, t, dir, &keys[VIF_Q_EVENT_CHANNEL], pvb_event_port(q->rx_event));
	if (rc == 0)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VIF_Q_EVENT_CHANNEL_TX], pvb_event_port(q->tx_event));
	if (rc == 0)
		rc = pvb_nodes_write_u64(st, t, dir, &keys[VIF_Q_EVENT_CHANNEL_RX], pvb_event_port(q->rx_event));
	return rc;
}

static bool is_old(const char *name)
{
	static const enum pvb_vif_front once[] = {
		VIF_F_NUM_QUEUES, VIF_F_NO_CSUM4, VIF_F_REQUEST_MULTICAST, VIF_F_CTRL_RING_REF,
		VIF_F_EVENT_CHANNEL_CTRL,
	};

	for (unsigned i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (strcmp(name, pvb_vif_front[once[i]].name) == 0)
			return true;
	for (unsigned i = 0; i < VIF_Q_NR; i++)
		if (strcmp(name, pvb_vif_queue[i].name) == 0)
			return true;
	return pvf_dev_is_queue(name, PVF_NIC_MAX_QUEUES);
}

static int publish_features(struct pvb_store *st, pvb_txn t, const struct pvf_nic *nic)
{
	const struct pvf_nic_info *info = &nic->info;
	const struct { enum pvb_vif_front key; uint64_t value; bool write; } keys[] = {
		{ VIF_F_RX_COPY, 1, true },
		{ VIF_F_RX_NOTIFY, 1, true },
		{ VIF_F_SG, info->rx_sg, true },
		{ VIF_F_GSO4, info->rx_gso, true },
		{ VIF_F_GSO6, info->rx_gso, true },
		{ VIF_F_CSUM6, info->rx_csum, true },
		{ VIF_F_NO_CSUM4, 1, !info->rx_csum },
		{ VIF_F_REQUEST_MULTICAST, 1, info->multicast },
		{ VIF_F_NUM_QUEUES, nic->nr_queues, nic->nr_queues > 1 },
		{ VIF_F_CTRL_RING_REF, info->ctrl ? nic->ctrl.pages.refs[0] : 0, info->ctrl },
		{ VIF_F_EVENT_CHANNEL_CTRL, info->ctrl ? pvb_event_port(nic->ctrl.event) : 0, info->ctrl },
	};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].write)
			rc = pvb_nodes_write_u64(st, t, nic->dev.dir, &pvb_vif_front[keys[i].key], keys[i].value);
	return rc;
}

static int publish_keys(struct pvb_store *st, pvb_txn t, struct pvf_nic *nic)
{
	char sub[160];
	int rc;

	rc = pvf_dev_remove_old(st, t, nic->dev.dir, is_old);
	if (rc == 0)
		rc = publish_features(st, t, nic);
	if (rc == 0 && nic->nr_queues == 1)
		return publish_queue(st, t, nic->dev.dir, &nic->queues[0]);
	for (unsigned i = 0; rc == 0 && i < nic->nr_queues; i++) {
		snprintf(sub, sizeof(sub), "%s/queue-%u", nic->dev.dir, i);
		rc = publish_queue(st, t, sub, &nic->queues[i]);
	}
	return rc;
}

/* The state, which announces them, goes with the keys: nobody sees one without the other. */
static int publish(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct pvf_nic *nic = arg;
	int rc = publish_keys(st, t, nic);

	return rc < 0 ? rc : pvf_dev_announce(st, t, &nic->dev);
}

/* --- the turns of a connection ---------------------------------------------------------------------- */

/* As many queues as there are pages for. */
static int make_queues(struct pvf_nic *nic, unsigned nr, struct pvb_error *err)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < nr; i++) {
		struct pvf_nicq *q = &nic->queues[i];

		memset(q, 0, sizeof(*q));
		q->nic = nic;
		q->nr = i;
		nic->nr_queues = i + 1;
		rc = pvf_nicq_start(q, err);
		if (rc == -ENOSPC && i > 0) {
			pvf_nicq_stop(q);
			pvf_nicq_free(q);
			nic->nr_queues = i;
			memset(err, 0, sizeof(*err));
			return 0;
		}
	}
	return rc;
}

int pvf_nic_offer(struct pvf_dev *dev, struct pvb_error *err)
{
	struct pvf_nic *nic = pvf_nic_of(dev);
	struct pvb_value v[VIF_B_NR];
	unsigned queues;
	int rc;

	rc = pvb_nodes_read(dev->guest->store, PVB_NO_TXN, dev->back, pvb_vif_back, VIF_B_NR, v, err);
	if (rc < 0)
		return pvb_err_prefix(err, rc, "vif %u", dev->devid);
	queues = least(nic->opt.queues, v[VIF_B_MAX_QUEUES].num);
	agree(nic, v);
	rc = pvf_dev_check_pair(dev, &v[VIF_B_FRONTEND], &v[VIF_B_FRONTEND_ID], err);
	if (rc == 0 && !v[VIF_B_RX_COPY].num)
		rc = pvb_err(err, -EOPNOTSUPP, "vif %u: the back end does not copy received data", dev->devid);
	pvb_nodes_free(v, VIF_B_NR);
	if (rc == 0)
		rc = read_own(nic, err);
	if (rc == 0 && nic->info.ctrl)
		rc = pvf_ctrl_start(nic, err);
	if (rc == 0)
		rc = make_queues(nic, queues, err);
	if (rc < 0)
		return rc;
	fit_pages(nic);
	rc = pvb_store_txn(dev->guest->store, publish, nic);
	return rc < 0 ? pvb_err(err, rc, "vif %u: ring keys could not be written to %s", dev->devid, dev->dir) : 0;
}

/* A number of either end; absence means the key's default. */
static int read_key(const struct pvf_dev *dev, const char *dir, const struct pvb_key *key, uint64_t *value,
		    struct pvb_error *err)
{
	char path[PVB_STORE_VALUE_MAX + 16];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", dir, key->name);
	rc = pvb_store_read_u64(dev->guest->store, PVB_NO_TXN, path, key->min, key->max, value);
	if (rc == -ENOENT)
		*value = key->def;
	else if (rc < 0)
		return pvb_err(err, rc, "vif %u: %.150s can not be read", dev->devid, path);
	return 0;
}

int pvf_nic_look(struct pvf_dev *dev, struct pvb_error *err)
{
	struct pvf_nic *nic = pvf_nic_of(dev);
	struct pvf_nic_info *info = &nic->info;
	uint64_t carrier, mtu;
	int rc = read_key(dev, dev->back, &pvb_vif_back[VIF_B_CARRIER], &carrier, err);

	if (rc == 0)
		rc = read_key(dev, dev->dir, &pvb_vif_front[VIF_F_MTU], &mtu, err);
	if (rc < 0)
		return rc;
	if (nic->mcast_all && nic->dynamic_mcast) {
		nic->mcast_all = false;
		pvb_nodes_write_u64(dev->guest->store, PVB_NO_TXN, dev->dir, &pvb_vif_front[VIF_F_REQUEST_MULTICAST],
				    0);
	}
	mtu = usable_mtu(nic, mtu);
	if (info->carrier == (bool)carrier && info->mtu == mtu)
		return 0;
	info->carrier = carrier;
	info->mtu = (uint32_t)mtu;
	return 1;
}

int pvf_nic_connect(struct pvf_dev *dev, struct pvb_error *err)
{
	int rc = pvf_nic_look(dev, err);

	return rc < 0 ? rc : 0;
}

void pvf_nic_disconnect(struct pvf_dev *dev)
{
	struct pvf_nic *nic = pvf_nic_of(dev);

	for (unsigned i = 0; i < nic->nr_queues; i++)
		pvf_nicq_stop(&nic->queues[i]);
	pvf_ctrl_stop(nic);
}

void pvf_nic_release(struct pvf_dev *dev)
{
	struct pvf_nic *nic = pvf_nic_of(dev);

	pvf_nic_disconnect(dev);
	for (unsigned i = 0; i < nic->nr_queues; i++)
		pvf_nicq_free(&nic->queues[i]);
	nic->nr_queues = 0;
	pvf_ctrl_free(nic);
}
