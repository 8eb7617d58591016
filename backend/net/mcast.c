// SPDX-License-Identifier: GPL-2.0-or-later
/* mcast.c: the multicast addresses a guest wants to hear.  The list lives in the journal. */
#include <errno.h>
#include <string.h>
#include "nif-impl.h"
#include "packet.h"

static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static unsigned find(const struct nifj_state *s, const uint8_t *addr)
{
	unsigned i;

	for (i = 0; i < s->nr_mcast; i++)
		if (memcmp(s->mcast[i], addr, 6) == 0)
			break;
	return i;
}

int mcast_change(struct nif *nif, const uint8_t *addr, bool add)
{
	struct nif_journal *j = nif->queues[0].j;
	struct nifj_state *s;
	unsigned at;

	if (!packet_is_group(addr))
		return -EINVAL;
	at = find(nifj_state(j), addr);
	if (add == (at < nifj_state(j)->nr_mcast))
		return 0; /* as it is already: front ends repeat themselves after a reconnect */
	if (add && at == NIF_MAX_MCAST)
		return -ENOSPC;
	s = nifj_state_begin(j);
	if (add) {
		memcpy(s->mcast[s->nr_mcast++], addr, 6);
	} else {
		s->nr_mcast--;
		memcpy(s->mcast[at], s->mcast[s->nr_mcast], sizeof(s->mcast[at]));
		memset(s->mcast[s->nr_mcast], 0, sizeof(s->mcast[at]));
	}
	nifj_state_end(j);
	__atomic_store_n(&nif->stats->mcast_entries, nif_state(nif)->nr_mcast, __ATOMIC_RELAXED);
	return 0;
}

bool mcast_wanted(const struct nif *nif, const uint8_t *addr)
{
	const struct nifj_state *s = nif_state(nif);

	if (!s->mcast_on || !packet_is_group(addr) || memcmp(addr, broadcast, 6) == 0)
		return true;
	return find(s, addr) < s->nr_mcast;
}
