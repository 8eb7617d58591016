// SPDX-License-Identifier: GPL-2.0-or-later
/* See nif-journal.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "nif-journal.h"

#define PAGE 4096u

_Static_assert(sizeof(struct netif_tx_request) == 12 && sizeof(struct netif_tx_response) == 4,
	       "TX slots as in netif.h");
_Static_assert(sizeof(struct netif_rx_request) == 8 && sizeof(struct netif_rx_response) == 8, "RX slots as in netif.h");
_Static_assert(sizeof(struct xen_netif_ctrl_request) == 16 && sizeof(struct xen_netif_ctrl_response) == 12,
	       "control slots as in netif.h");
_Static_assert(offsetof(struct nif_journal, ring) == 64 && sizeof(struct nifj_ring) == 64, "hot words apart");

size_t nifj_bytes(void)
{
	return (sizeof(struct nif_journal) + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static const char *const dir_name[NIFJ_NR_DIRS] = { "TX", "RX", "control" };

void nifj_init(struct nif_journal *j, uint64_t generation, uint32_t tx, uint32_t rx, uint32_t ctrl)
{
	memset(j, 0, sizeof(*j));
	PVB_CRASH_POINT(nifj_init_zeroed);
	j->version = NIFJ_VERSION;
	j->size = sizeof(*j);
	j->generation = generation;
	j->ring[NIFJ_TX] = (struct nifj_ring){ tx, tx, tx };
	j->ring[NIFJ_RX] = (struct nifj_ring){ rx, rx, rx };
	j->ring[NIFJ_CTRL] = (struct nifj_ring){ ctrl, ctrl, ctrl };
	PVB_CRASH_POINT(nifj_init_rings);
	/* last: a journal that was only half made is not one */
	__atomic_store_n(&j->magic, NIFJ_MAGIC, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nifj_init_magic);
}

static int check_state(const struct nifj_state *s, struct pvb_error *err)
{
	if (s->key_len > NIFJ_KEY || s->mapping_size > NIFJ_MAPPING || s->nr_mcast > NIFJ_MCAST)
		return pvb_err(err, -EPROTO, "journal: hash key of %u bytes, mapping of %u, %u multicast addresses",
			       s->key_len, s->mapping_size, s->nr_mcast);
	return 0;
}

int nifj_open(const struct nif_journal *j, size_t bytes, struct pvb_error *err)
{
	if (bytes < nifj_bytes())
		return pvb_err(err, -EPROTO, "journal: %zu bytes, expected %zu", bytes, nifj_bytes());
	if (j->magic != NIFJ_MAGIC)
		return pvb_err(err, -EPROTO, "journal: magic %#" PRIx64 ", expected %#" PRIx64, j->magic,
			       (uint64_t)NIFJ_MAGIC);
	if (j->version != NIFJ_VERSION || j->size != sizeof(*j))
		return pvb_err(err, -EPROTO, "journal: version %u of %u bytes, expected %u of %zu", j->version, j->size,
			       NIFJ_VERSION, sizeof(*j));
	if (j->current > 1)
		return pvb_err(err, -EPROTO, "journal: state %u of 2", j->current);
	for (unsigned dir = 0; dir < NIFJ_NR_DIRS; dir++) {
		const struct nifj_ring *r = &j->ring[dir];

		/* rsp_prod <= rsp_next <= cons, and no more than a ring apart */
		if (r->cons - r->rsp_prod > NIFJ_SLOTS || r->rsp_next - r->rsp_prod > r->cons - r->rsp_prod)
			return pvb_err(err, -EPROTO, "journal: %s has answered %u to %u of %u requests", dir_name[dir],
				       r->rsp_prod, r->rsp_next, r->cons);
	}
	if (j->ring[NIFJ_CTRL].cons - j->ring[NIFJ_CTRL].rsp_prod > 1)
		return pvb_err(err, -EPROTO, "journal: %u control requests at once",
			       j->ring[NIFJ_CTRL].cons - j->ring[NIFJ_CTRL].rsp_prod);
	return check_state(nifj_state(j), err);
}

int nifj_recover(const struct nif_journal *j, enum nifj_dir dir, uint32_t ring_rsp_prod, struct nifj_recovery *out,
		 struct pvb_error *err)
{
	const struct nifj_ring *r = &j->ring[dir];

	if (ring_rsp_prod != r->rsp_prod && ring_rsp_prod != r->rsp_next)
		return pvb_err(err, -EPROTO, "journal: the %s ring says %u responses, ours were %u or %u",
			       dir_name[dir], ring_rsp_prod, r->rsp_prod, r->rsp_next);
	*out = (struct nifj_recovery){ .put_from = ring_rsp_prod, .put_to = r->rsp_next, .cons = r->rsp_next,
				       .again = r->cons - r->rsp_next };
	return 0;
}

bool nifj_push(struct nif_journal *j, enum nifj_dir dir, struct pvb_ring *r, uint32_t to)
{
	bool notify;

	__atomic_store_n(&j->ring[dir].rsp_next, to, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nifj_push_begin);
	while (r->prod != to) {
		uint32_t at = r->prod & (NIFJ_SLOTS - 1);

		if (dir == NIFJ_TX)
			pvb_ring_back_put(r, &j->tx_rsp[at], sizeof(j->tx_rsp[at]));
		else if (dir == NIFJ_RX)
			pvb_ring_back_put(r, &j->rx_rsp[at], sizeof(j->rx_rsp[at]));
		else
			pvb_ring_back_put(r, &j->ctrl.rsp, sizeof(j->ctrl.rsp));
	}
	notify = pvb_ring_back_push(r);
	__atomic_store_n(&j->ring[dir].rsp_prod, to, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nifj_push_end);
	return notify;
}

struct nifj_state *nifj_state_begin(struct nif_journal *j)
{
	struct nifj_state *next = &j->state[!j->current];

	*next = j->state[j->current & 1];
	PVB_CRASH_POINT(nifj_state_copied);
	return next;
}

void nifj_state_end(struct nif_journal *j)
{
	PVB_CRASH_POINT(nifj_state_made);
	__atomic_store_n(&j->current, !j->current, __ATOMIC_RELEASE);
	PVB_CRASH_POINT(nifj_state_shown);
}
