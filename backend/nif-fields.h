/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NIF_FIELDS_H
#define PVB_BACKEND_NIF_FIELDS_H
/* A NIC's counters by name: what the control socket and the metrics show of struct nif_stats, one row a counter. */
#include <stdbool.h>
#include <stddef.h>
#include "net/nif-stats.h"

struct nif_field {
	const char *name;      /* in JSON; the metric is pvbus_vif_NAME[_total] */
	const char *help;
	size_t offset;         /* in struct nif_queue_stats or struct nif_stats */
	bool gauge;            /* what is now; else it only grows */
};
#define NR_NIF_QUEUE_FIELDS 30u
#define NR_NIF_FIELDS 11u
extern const struct nif_field nif_queue_field[NR_NIF_QUEUE_FIELDS];
extern const struct nif_field nif_stats_field[NR_NIF_FIELDS];

static inline uint64_t nif_field(const void *stats, const struct nif_field *f)
{
	return stats_get((const uint64_t *)((const char *)stats + f->offset));
}
#endif
