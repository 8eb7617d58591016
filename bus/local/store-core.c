/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store as a whole: its begin, its end, its figures. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

int lst_core_new(struct lst **out, const struct pvb_store_quota *quota, bool (*exists)(void *arg, uint32_t domid),
		 void *arg)
{
	struct lst *st = calloc(1, sizeof(*st));
	unsigned i;
	int rc;

	if (!st)
		return -ENOMEM;
	st->quota = *quota;
	st->exists = exists;
	st->arg = arg;
	st->run_tail = &st->runnable;
	st->nr_watch_buckets = st->nr_event_buckets = 256;
	st->watch_buckets = calloc(st->nr_watch_buckets, sizeof(*st->watch_buckets));
	st->event_buckets = calloc(st->nr_event_buckets, sizeof(*st->event_buckets));
	rc = !st->watch_buckets || !st->event_buckets ? -ENOMEM : lst_domain_introduce(st, 0);
	if (rc == 0)
		rc = -lst_tree_init(st);
	for (i = 0; i < 2 && rc == 0; i++) {
		st->special[i] = lst_perms_new(1);
		if (!st->special[i])
			rc = -ENOMEM;
		else
			st->special[i]->p[0].generation = st->doms[0]->generation;
	}
	if (rc < 0) {
		lst_core_free(st);
		return rc;
	}
	*out = st;
	return 0;
}

void lst_core_free(struct lst *st)
{
	struct lst_dom *dom;

	if (!st)
		return;
	while (st->conns)
		lst_conn_kill(st->conns);
	lst_tree_free(st);
	while ((dom = st->first_dom)) {
		st->first_dom = dom->next;
		free(dom);
	}
	lst_perms_put(st->special[0]);
	lst_perms_put(st->special[1]);
	free(st->watch_buckets);
	free(st->event_buckets);
	free(st);
}

void lst_stats(const struct lst *st, struct pvb_local_stats *stats)
{
	const struct lst_dom *dom;

	stats->store_conns = st->nr_conns;
	stats->store_nodes = st->tree.nr_nodes;
	stats->store_watches = st->nr_watches;
	stats->store_txns = st->nr_txns;
	stats->store_requests = st->requests;
	stats->store_events = st->events;
	stats->store_merged = st->merged;
	stats->store_conflicts = st->conflicts;
	stats->store_bytes = 0;
	for (dom = st->first_dom; dom; dom = dom->next)
		if (dom->domid != 0)
			stats->store_bytes += dom->memory;
}
