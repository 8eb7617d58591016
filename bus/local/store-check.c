/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Adds everything up again: the tree's links, and every account from what is really there.  For tests, the
 * fuzzer and "xenstore-control check"; costs time in proportion to all that is stored. */
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

struct sums {
	uint32_t nodes, watches, txns, outstanding, conns;
	uint64_t memory;
};

static const char *check_tree(const struct lst *st, struct sums *sum)
{
	const struct lst_tree *t = &st->tree;
	const struct lst_node *n, *c, *prev;
	const struct lst_dom *owner;
	uint32_t nr = 0, children, len;

	for (n = t->root; n; n = lst_node_next(n, t->root)) {
		nr++;
		children = len = 0;
		for (prev = NULL, c = n->first; c; prev = c, c = c->next) {
			if (c->parent != n || c->prev != prev)
				return "tree: a child's links are wrong";
			if (lst_tree_child(t, n, c->name, c->name_len) != c)
				return "tree: a child is not found by its name";
			children++;
			len += c->name_len + 1;
		}
		if (n->last != prev || n->nr_children != children || n->children_len != len)
			return "tree: a node's count of children is wrong";
		if (!n->perms || n->perms->nr == 0 || n->perms->refs == 0)
			return "tree: a node without permissions";
		owner = lst_perms_owner(st, n->perms);
		if (owner) {
			sum[owner->mark].nodes++;
			sum[owner->mark].memory += lst_node_bytes(n);
		}
	}
	return nr == t->nr_nodes ? NULL : "tree: nodes that can not be reached";
}

static uint64_t txn_bytes(const struct lst_txn *t)
{
	uint64_t bytes = sizeof(*t);
	const struct lst_tnode *n;

	for (n = t->first; n; n = n->next)
		bytes += sizeof(*n) + n->path_len + 1 + lst_value_len(n->value) + (n->perms ?
										   lst_perms_bytes(n->perms) : 0);
	return bytes;
}

static const char *check_conns(const struct lst *st, struct sums *sum)
{
	uint32_t conns = 0, watches = 0, txns = 0, hashed = 0, msgs = 0;
	const struct lst_watch *w;
	const struct lst_conn *c;
	const struct lst_txn *t;
	const struct lst_msg *m;
	uint64_t bytes;

	for (c = st->conns; c; c = c->next, conns++) {
		struct sums *s = &sum[c->dom->mark];

		if (lst_dom(st, c->dom->domid) != c->dom)
			return "a connection of a domain that is gone";
		s->conns++;
		for (w = c->watches; w; w = w->next, watches++) {
			s->watches++;
			s->memory += sizeof(*w) + strlen(w->path) + strlen(w->token) + 2;
		}
		for (t = c->txns; t; t = t->next, txns++) {
			bytes = txn_bytes(t);
			if (bytes != t->memory)
				return "a transaction's memory is wrong";
			s->txns++;
			s->memory += bytes;
		}
		for (bytes = 0, m = c->out; m; m = m->next) {
			bytes += sizeof(*m) + m->len;
			hashed += m->hashed;
			msgs++;
		}
		if (bytes != c->out_bytes)
			return "a connection's count of output is wrong";
		s->memory += bytes;
	}
	if (conns != st->nr_conns || watches != st->nr_watches || txns != st->nr_txns || hashed != st->nr_hashed ||
	    msgs != st->nr_msgs)
		return "the totals of connections, watches, transactions or events are wrong";
	return NULL;
}

const char *lst_check(struct lst *st)
{
	const struct lst_req *req;
	const struct sums *s;
	struct lst_dom *dom;
	const char *wrong;
	struct sums *sum;
	uint32_t nr = 0;

	for (dom = st->first_dom; dom; dom = dom->next)
		dom->mark = nr++;
	sum = calloc(nr, sizeof(*sum));
	if (!sum)
		return "out of memory";
	wrong = check_tree(st, sum);
	if (!wrong)
		wrong = check_conns(st, sum);
	for (req = st->reqs; req && !wrong; req = req->next)
		if (req->dom)
			sum[req->dom->mark].outstanding++;
	for (dom = st->first_dom; dom && !wrong; dom = dom->next) {
		s = &sum[dom->mark];
		if (s->nodes != dom->nodes)
			wrong = "a domain's count of nodes is wrong";
		else if (s->watches != dom->watches || s->txns != dom->txns || s->conns != dom->conns)
			wrong = "a domain's count of watches, transactions or connections is wrong";
		else if (s->outstanding != dom->outstanding)
			wrong = "a domain's count of outstanding requests is wrong";
		else if (s->memory != dom->memory)
			wrong = "a domain's memory is wrong";
	}
	free(sum);
	return wrong;
}
