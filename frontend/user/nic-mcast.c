// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of multicast groups, told to the back end by transmit requests without data.  They need a page number for
 * their id and two slots of the first queue; what finds none waits. */
#include <errno.h>
#include <string.h>
#include "nic-impl.h"

#define NR_GROUPS (2 * PVF_NIC_MAX_MCAST)

static bool to_add(const struct pvf_group *g)
{
	return g->used && g->state == PVF_GROUP_WANTED && !g->left;
}

static bool to_delete(const struct pvf_group *g)
{
	return g->used && g->state == PVF_GROUP_ADDED && g->left;
}

/* Groups on the back end's list, once it has seen what was sent. */
static unsigned listed(const struct pvf_nic *nic)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_GROUPS; i++)
		nr += nic->groups[i].state == PVF_GROUP_ADDING || nic->groups[i].state == PVF_GROUP_ADDED;
	return nr;
}

static void put_group(struct pvf_nicq *q, struct pvf_group *g, unsigned nr)
{
	struct netif_tx_request req = { .flags = NETTXF_extra_info };
	struct netif_extra_info extra = { 0 };
	uint8_t slot[12] = { 0 };
	uint16_t page = pvf_nic_tx_take(q, PVF_TX_MCAST, &req.id);

	q->slot[page].group = (uint8_t)nr;
	req.gref = q->tx_pool.refs[page]; /* never looked at; 0 would be somebody's grant */
	extra.type = g->left ? XEN_NETIF_EXTRA_TYPE_MCAST_DEL : XEN_NETIF_EXTRA_TYPE_MCAST_ADD;
	memcpy(extra.u.mcast.addr, g->addr, sizeof(g->addr));
	memcpy(slot, &extra, sizeof(extra));
	pvb_ring_front_put(&q->tx, &req);
	pvb_ring_front_put(&q->tx, slot);
	q->tx_extras++;
	g->state = g->left ? PVF_GROUP_LEAVING : PVF_GROUP_ADDING;
}

void pvf_mcast_push(struct pvf_nic *nic)
{
	struct pvf_nicq *q = &nic->queues[0];
	unsigned nr;

	if (!pvf_dev_works(&nic->dev) || !nic->info.multicast)
		return;
	for (unsigned i = 0; i < NR_GROUPS; i++)
		if (to_delete(&nic->groups[i]) && pvf_nic_tx_room(q, 1, 1))
			put_group(q, &nic->groups[i], i);
	/* one that was taken back while it was being added still has its place */
	nr = listed(nic);
	for (unsigned i = 0; i < NR_GROUPS && nr < PVF_NIC_MAX_MCAST; i++) {
		if (to_add(&nic->groups[i]) && pvf_nic_tx_room(q, 1, 1)) {
			put_group(q, &nic->groups[i], i);
			nr++;
		}
	}
}

void pvf_mcast_answer(struct pvf_nic *nic, unsigned group, int16_t status)
{
	struct pvf_group *g = &nic->groups[group];

	if (g->state == PVF_GROUP_LEAVING) {
		g->state = PVF_GROUP_WANTED; /* if it was taken back meanwhile */
		g->used = !g->left;
		return;
	}
	g->state = status == NETIF_RSP_OKAY ? PVF_GROUP_ADDED : PVF_GROUP_REFUSED;
	if (g->state == PVF_GROUP_ADDED)
		return;
	nic->stats.mcast_refused++;
	nic->mcast_all = true;
	pvf_dev_poke(&nic->dev); /* the store is the step's business */
}

void pvf_mcast_restart(struct pvf_nic *nic)
{
	nic->mcast_all = false;
	for (unsigned i = 0; i < NR_GROUPS; i++) {
		nic->groups[i].state = PVF_GROUP_WANTED;
		if (nic->groups[i].left)
			memset(&nic->groups[i], 0, sizeof(nic->groups[i]));
	}
}

/* --- the owner's list ------------------------------------------------------------------------------- */

static struct pvf_group *find(struct pvf_nic *nic, const uint8_t addr[6])
{
	struct pvf_group *unused = NULL;

	for (unsigned i = 0; i < NR_GROUPS; i++) {
		if (nic->groups[i].used && memcmp(nic->groups[i].addr, addr, 6) == 0)
			return &nic->groups[i];
		if (!nic->groups[i].used)
			unused = &nic->groups[i];
	}
	return unused;
}

int pvf_nic_multicast(struct pvf_nic *nic, const uint8_t (*groups)[6], unsigned nr)
{
	struct pvf_group *g;

	if (nr > PVF_NIC_MAX_MCAST)
		return -E2BIG;
	for (unsigned i = 0; i < nr; i++)
		if ((groups[i][0] & 1) == 0)
			return -EINVAL;
	for (unsigned i = 0; i < NR_GROUPS; i++)
		nic->groups[i].left = nic->groups[i].used;
	for (unsigned i = 0; i < nr; i++) {
		g = find(nic, groups[i]);
		if (g == NULL)
			return -EBUSY;
		if (!g->used)
			*g = (struct pvf_group){ .used = true };
		memcpy(g->addr, groups[i], 6);
		g->left = false;
	}
	for (unsigned i = 0; i < NR_GROUPS; i++) {
		g = &nic->groups[i];
		/* nothing is to be told about one that never got there */
		if (g->left && (g->state == PVF_GROUP_WANTED || g->state == PVF_GROUP_REFUSED))
			memset(g, 0, sizeof(*g));
	}
	pvf_mcast_push(nic);
	pvf_nic_kick(nic);
	return 0;
}
