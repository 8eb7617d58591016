/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions.  One keeps a record of every node it touched: how that was outside (a generation), and how
 * it is inside if changed.  At the end all of the former must still hold; then the latter is applied, all or
 * nothing.  Making or removing a child does not conflict with others doing so in the same directory, unless
 * the directory was listed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

/* ---- records ---------------------------------------------------------------------------------------- */

struct lst_tnode *lst_tnode_find(const struct lst_txn *t, const char *path, size_t len)
{
	uint32_t hash = lst_hash(path, len, t->id);
	struct lst_tnode *n;

	for (n = t->buckets[hash & (t->nr_buckets - 1)]; n; n = n->hash_next)
		if (n->hash == hash && n->path_len == len && memcmp(n->path, path, len) == 0)
			return n;
	return NULL;
}

static void charge(struct lst_txn *t, int64_t bytes)
{
	t->memory += (uint64_t)bytes;
	lst_charge(t->conn->dom, bytes);
}

static int64_t state_bytes(const struct lst_tnode *n)
{
	return (int64_t)lst_value_len(n->value) + (n->perms ? (int64_t)lst_perms_bytes(n->perms) : 0);
}

static void grow(struct lst_txn *t)
{
	uint32_t nr = t->nr_buckets * 4;
	struct lst_tnode **buckets, *n;

	if (t->nr < t->nr_buckets || !(buckets = calloc(nr, sizeof(*buckets))))
		return;
	for (n = t->first; n; n = n->next) {
		n->hash_next = buckets[n->hash & (nr - 1)];
		buckets[n->hash & (nr - 1)] = n;
	}
	free(t->buckets);
	t->buckets = buckets;
	t->nr_buckets = nr;
}

int lst_tnode_get(struct lst_txn *t, const char *path, size_t len, struct lst_tnode **out)
{
	struct lst_tnode *n = lst_tnode_find(t, path, len);
	const struct lst *st = t->conn->store;
	const struct lst_dom *dom = t->conn->dom;
	struct lst_node *outside;

	if (n) {
		*out = n;
		return 0;
	}
	if (!lst_privileged(dom) && t->nr >= st->quota.txn_nodes)
		return t->failed = ENOSPC;
	n = lst_over_memory(st, dom, sizeof(*n) + len + 1) ? NULL : calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return t->failed = ENOMEM;
	memcpy(n->path, path, len);
	n->path_len = (uint32_t)len;
	n->hash = lst_hash(path, len, t->id);
	outside = lst_tree_find(&st->tree, n->path);
	if (outside) {
		n->was_there = n->is_there = true;
		n->value = lst_value_get(outside->value);
		n->perms = lst_perms_get(outside->perms);
		n->generation = outside->generation;
		n->children_generation = outside->children_generation;
	}
	n->hash_next = t->buckets[n->hash & (t->nr_buckets - 1)];
	t->buckets[n->hash & (t->nr_buckets - 1)] = n;
	*t->tail = n;
	t->tail = &n->next;
	t->nr++;
	grow(t);
	charge(t, (int64_t)(sizeof(*n) + len + 1) + state_bytes(n));
	*out = n;
	return 0;
}

void lst_tnode_set(struct lst_txn *t, struct lst_tnode *n, struct lst_value *value, struct lst_perms *perms)
{
	charge(t, -state_bytes(n));
	lst_value_put(n->value);
	lst_perms_put(n->perms);
	n->changed = true;
	n->is_there = perms != NULL;
	n->value = value;
	n->perms = perms;
	charge(t, state_bytes(n));
}

static void tnode_free(struct lst_tnode *n)
{
	lst_perms_put(n->perms);
	lst_perms_put(n->old_perms);
	lst_value_put(n->value);
	free(n);
}

/* ---- begin and end ---------------------------------------------------------------------------------- */

struct lst_txn *lst_txn_find(const struct lst_conn *c, uint32_t id)
{
	struct lst_txn *t;

	for (t = c->txns; t && t->id != id; t = t->next)
		;
	return t;
}

int lst_txn_new(struct lst_conn *c, struct lst_txn **out)
{
	const struct lst *st = c->store;
	struct lst_txn *t;

	if (!lst_privileged(c->dom) && c->dom->txns >= st->quota.transactions)
		return ENOSPC;
	t = lst_over_memory(st, c->dom, sizeof(*t)) ? NULL : calloc(1, sizeof(*t));
	if (!t)
		return ENOMEM;
	t->nr_buckets = 16;
	t->buckets = calloc(t->nr_buckets, sizeof(*t->buckets));
	if (!t->buckets) {
		free(t);
		return ENOMEM;
	}
	t->tail = &t->first;
	t->conn = c;
	do {
		t->id = ++c->next_txn;
	} while (t->id == 0 || lst_txn_find(c, t->id));
	t->next = c->txns;
	c->txns = t;
	c->nr_txns++;
	c->dom->txns++;
	c->store->nr_txns++;
	charge(t, sizeof(*t));
	*out = t;
	return 0;
}

void lst_txn_free(struct lst_txn *t)
{
	struct lst_conn *c = t->conn;
	struct lst_tnode *n;
	struct lst_txn **p;

	for (p = &c->txns; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	c->nr_txns--;
	c->dom->txns--;
	c->store->nr_txns--;
	lst_charge(c->dom, -(int64_t)t->memory);
	while ((n = t->first)) {
		t->first = n->next;
		tnode_free(n);
	}
	free(t->buckets);
	free(t);
}

/* ---- commit ----------------------------------------------------------------------------------------- */

/* Who made it fail, if that was somebody else, is who the transaction is protected from later. */
static bool holds(struct lst *st, const struct lst_tnode *n, uint32_t *writer)
{
	const struct lst_node *now = lst_tree_find(&st->tree, n->path);

	*writer = LST_NR_DOMIDS;
	if (!now || !n->was_there) {
		if (now)
			*writer = now->writer;
		return !now && !n->was_there;
	}
	if (now->generation != n->generation) {
		*writer = now->writer;
		return false;
	}
	if (n->listed && now->children_generation != n->children_generation) {
		*writer = now->children_writer;
		return false;
	}
	return true;
}

static int conflict(struct lst_txn *t, uint32_t writer)
{
	struct lst_dom *dom = t->conn->dom;
	struct lst *st = t->conn->store;

	st->conflicts++;
	if (writer != dom->domid)
		dom->failures++;
	return EAGAIN;
}

static int by_depth(const void *a, const void *b)
{
	const struct lst_tnode *const *x = a, *const *y = b;

	return (*x)->path_len < (*y)->path_len ? -1 : (*x)->path_len > (*y)->path_len;
}

/* What a commit will make, with all memory it needs: nothing can fail after this. */
struct plan {
	struct lst_tnode **made;
	struct lst_node **nodes;
	uint32_t nr;
};

static void plan_free(struct plan *pl)
{
	uint32_t i;

	for (i = 0; pl->nodes && i < pl->nr; i++)
		lst_node_free(pl->nodes[i]);
	free(pl->nodes);
	free(pl->made);
}

static int plan_make(struct lst_txn *t, struct plan *pl)
{
	struct lst_tnode *n;
	const char *name;
	uint32_t i;

	memset(pl, 0, sizeof(*pl));
	pl->made = calloc(t->nr + 1, sizeof(*pl->made));
	pl->nodes = calloc(t->nr + 1, sizeof(*pl->nodes));
	if (!pl->made || !pl->nodes)
		return ENOMEM;
	for (n = t->first; n; n = n->next)
		if (n->changed && n->is_there && !n->was_there)
			pl->made[pl->nr++] = n;
	qsort(pl->made, pl->nr, sizeof(*pl->made), by_depth);
	for (i = 0; i < pl->nr; i++) {
		n = pl->made[i];
		name = strrchr(n->path, '/') + 1;
		pl->nodes[i] = lst_node_new(name, strlen(name), lst_perms_get(n->perms));
		if (!pl->nodes[i]) {
			lst_perms_put(n->perms);
			return ENOMEM;
		}
	}
	return 0;
}

static void apply(struct lst_txn *t, struct plan *pl)
{
	uint32_t writer = t->conn->dom->domid, i;
	char parent[LST_PATH_MAX + 1];
	struct lst *st = t->conn->store;
	struct lst_tnode *n;
	struct lst_node *at;
	size_t len;

	for (n = t->first; n; n = n->next)
		if (n->changed && !n->is_there && (at = lst_tree_find(&st->tree, n->path)))
			lst_tree_remove(st, at, writer);
	for (n = t->first; n; n = n->next) {
		if (!n->changed || !n->is_there || !n->was_there)
			continue;
		at = lst_tree_find(&st->tree, n->path);
		n->old_perms = lst_perms_get(at->perms);
		lst_node_set_value(st, at, lst_value_get(n->value), writer);
		lst_node_set_perms(st, at, lst_perms_get(n->perms), writer);
	}
	for (i = 0; i < pl->nr; i++) {
		n = pl->made[i];
		len = (size_t)(strrchr(n->path, '/') - n->path);
		memcpy(parent, n->path, len ? len : 1);
		parent[len ? len : 1] = '\0';
		pl->nodes[i]->value = lst_value_get(n->value);
		lst_tree_link(st, lst_tree_find(&st->tree, parent), pl->nodes[i], writer);
		pl->nodes[i] = NULL;
	}
}

static void tell(struct lst_txn *t, bool removed)
{
	struct lst *st = t->conn->store;
	struct lst_tnode *n;
	struct lst_node *at;

	for (n = t->first; n; n = n->next) {
		if (!n->changed || n->fire == LST_QUIET || n->is_there == removed)
			continue;
		at = lst_tree_find(&st->tree, n->path);
		if (at)
			lst_fire_node(st, t->conn->req, at, n->path, n->fire, n->old_perms);
	}
}

int lst_txn_commit(struct lst_txn *t)
{
	struct lst_dom *dom = t->conn->dom;
	struct lst *st = t->conn->store;
	const struct lst_tnode *n;
	struct plan pl;
	uint32_t writer;
	int rc;

	if (t->failed)
		return t->failed;
	for (n = t->first; n; n = n->next)
		if (!holds(st, n, &writer))
			return conflict(t, writer);
	if (!lst_privileged(dom) && t->delta > 0 && dom->nodes + t->delta > st->quota.nodes)
		return ENOSPC;
	rc = plan_make(t, &pl);
	if (rc == 0) {
		tell(t, true);  /* while their permissions can still be looked at */
		apply(t, &pl);
		tell(t, false);
		dom->failures = 0;
	}
	plan_free(&pl);
	return rc;
}
