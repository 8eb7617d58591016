/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains as the store knows them: what is charged to each, and what ends with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

struct lst_dom *lst_dom(const struct lst *st, uint32_t domid)
{
	return domid < LST_NR_DOMIDS ? st->doms[domid] : NULL;
}

void lst_charge(struct lst_dom *dom, int64_t bytes)
{
	if (!dom)
		return;
	dom->memory += (uint64_t)bytes;
	if (dom->memory > dom->peak)
		dom->peak = dom->memory;
}

bool lst_over_memory(const struct lst *st, const struct lst_dom *dom, uint64_t more)
{
	return dom && !lst_privileged(dom) && dom->memory + more > st->quota.memory_hard;
}

/* ---- requests that are not yet delivered -------------------------------------------------------------- */

struct lst_req *lst_req_new(struct lst *st, struct lst_dom *dom)
{
	struct lst_req *req = malloc(sizeof(*req));

	if (!req)
		return NULL;
	req->refs = 1;
	req->dom = dom;
	dom->outstanding++;
	req->next = st->reqs;
	req->pprev = &st->reqs;
	if (req->next)
		req->next->pprev = &req->next;
	st->reqs = req;
	return req;
}

void lst_req_put(struct lst *st, struct lst_req *req)
{
	if (!req || --req->refs > 0)
		return;
	if (req->dom && req->dom->outstanding-- == st->quota.outstanding)
		lst_wake_dom(req->dom);
	*req->pprev = req->next;
	if (req->next)
		req->next->pprev = req->pprev;
	free(req);
}

/* ---- begin and end ------------------------------------------------------------------------------------ */

int lst_domain_introduce(struct lst *st, uint32_t domid)
{
	struct lst_dom *dom;

	if (domid >= LST_NR_DOMIDS)
		return -EINVAL;
	if (st->doms[domid])
		return -EEXIST;
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return -ENOMEM;
	dom->domid = domid;
	dom->generation = ++st->next_generation ? st->next_generation : ++st->next_generation;
	dom->target = LST_NR_DOMIDS;
	dom->next = st->first_dom;
	st->first_dom = dom;
	st->doms[domid] = dom;
	if (domid != 0)
		lst_fire_special(st, "@introduceDomain");
	return 0;
}

/* Nodes of a domain end with it, and what is below them.  Watchers hear of it. */
static void remove_nodes(struct lst *st, struct lst_dom *dom)
{
	char path[LST_PATH_MAX + 1];
	struct lst_node *n, *next, *below;

	for (n = st->tree.root; n && dom->nodes > 0; n = next) {
		if (n == st->tree.root || lst_perms_owner(st, n->perms) != dom) {
			next = lst_node_next(n, st->tree.root);
			continue;
		}
		for (below = n; below; below = lst_node_next(below, n)) {
			lst_node_path(below, path);
			lst_fire_node(st, NULL, below, path, below == n ? LST_BELOW : LST_EXACT, NULL);
		}
		/* what comes after all that is below it */
		for (next = n; next && !next->next; next = next->parent)
			;
		next = next ? next->next : NULL;
		lst_tree_remove(st, n, 0);
	}
}

int lst_dom_release(struct lst *st, struct lst_dom *dom)
{
	struct lst_dom **p;
	struct lst_req *req;

	while (dom->first)
		lst_conn_kill(dom->first);
	remove_nodes(st, dom);
	for (req = st->reqs; req; req = req->next)
		if (req->dom == dom)
			req->dom = NULL;
	if (st->protect == dom)
		lst_end_window(st);
	/* from here on its entries in permissions mean nobody */
	st->doms[dom->domid] = NULL;
	for (p = &st->first_dom; *p != dom; p = &(*p)->next)
		;
	*p = dom->next;
	free(dom);
	lst_fire_special(st, "@releaseDomain");
	return 0;
}

void lst_domain_gone(struct lst *st, uint32_t domid)
{
	struct lst_dom *dom = lst_dom(st, domid);

	if (dom && domid != 0)
		lst_dom_release(st, dom);
	lst_run(st);
}

void lst_domain_shutdown(struct lst *st, uint32_t domid)
{
	struct lst_dom *dom = lst_dom(st, domid);

	if (!dom || domid == 0 || dom->shutdown)
		return;
	dom->shutdown = true;
	lst_fire_special(st, "@releaseDomain");
	lst_run(st);
}
