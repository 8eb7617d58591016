/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes: a tree whose children are found through one hash table.  Nothing here recurses, and nothing
 * here asks for permission. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

uint32_t lst_hash(const void *data, size_t len, uint32_t seed)
{
	const uint8_t *p = data;
	uint32_t h = seed ^ 2166136261u;

	while (len-- > 0)
		h = (h ^ *p++) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t hash_child(const struct lst_node *parent, const char *name, size_t len)
{
	/* the address differs from run to run, so nobody can choose names that collide */
	return lst_hash(name, len, (uint32_t)((uintptr_t)parent >> 4) * 2654435761u);
}

size_t lst_node_bytes(const struct lst_node *n)
{
	return sizeof(*n) + n->name_len + 1 + lst_value_len(n->value) + lst_perms_bytes(n->perms);
}

int lst_value_new(const char *bytes, uint32_t len, struct lst_value **out)
{
	struct lst_value *v = NULL;

	if (len) {
		v = malloc(sizeof(*v) + len);
		if (!v)
			return ENOMEM;
		v->refs = 1;
		v->len = len;
		memcpy(v->bytes, bytes, len);
	}
	*out = v;
	return 0;
}

struct lst_value *lst_value_get(struct lst_value *v)
{
	if (v)
		v->refs++;
	return v;
}

void lst_value_put(struct lst_value *v)
{
	if (v && --v->refs == 0)
		free(v);
}

struct lst_node *lst_node_new(const char *name, size_t name_len, struct lst_perms *perms)
{
	struct lst_node *n = calloc(1, sizeof(*n) + name_len + 1);

	if (!n)
		return NULL;
	memcpy(n->name, name, name_len);
	n->name_len = (uint32_t)name_len;
	n->perms = perms;
	return n;
}

void lst_node_free(struct lst_node *n)
{
	if (!n)
		return;
	lst_perms_put(n->perms);
	lst_value_put(n->value);
	free(n);
}

/* ---- finding ---------------------------------------------------------------------------------------- */

struct lst_node *lst_tree_child(const struct lst_tree *t, const struct lst_node *parent, const char *name, size_t len)
{
	uint32_t hash = hash_child(parent, name, len);
	struct lst_node *n;

	for (n = t->buckets[hash & (t->nr_buckets - 1)]; n; n = n->hash_next)
		if (n->hash == hash && n->parent == parent && n->name_len == len && memcmp(n->name, name, len) == 0)
			return n;
	return NULL;
}

struct lst_node *lst_tree_nearest(const struct lst_tree *t, const char *path, bool *found)
{
	struct lst_node *n = t->root, *child;
	size_t len;

	*found = false;
	for (path++; *path; path += len + (path[len] == '/')) {
		len = strcspn(path, "/");
		child = lst_tree_child(t, n, path, len);
		if (!child)
			return n;
		n = child;
	}
	*found = true;
	return n;
}

struct lst_node *lst_tree_find(const struct lst_tree *t, const char *path)
{
	bool found;
	struct lst_node *n = lst_tree_nearest(t, path, &found);

	return found ? n : NULL;
}

struct lst_node *lst_node_next(const struct lst_node *n, const struct lst_node *top)
{
	if (n->first)
		return n->first;
	for (; n != top; n = n->parent)
		if (n->next)
			return n->next;
	return NULL;
}

size_t lst_node_path(const struct lst_node *n, char *buf)
{
	size_t len = 0, at;
	const struct lst_node *i;

	for (i = n; i->parent; i = i->parent)
		len += 1 + i->name_len;
	if (len == 0) {
		strcpy(buf, "/");
		return 1;
	}
	buf[at = len] = '\0';
	for (i = n; i->parent; i = i->parent) {
		at -= i->name_len;
		memcpy(buf + at, i->name, i->name_len);
		buf[--at] = '/';
	}
	return len;
}

/* ---- changing --------------------------------------------------------------------------------------- */

static void grow(struct lst_tree *t)
{
	uint32_t i, nr = t->nr_buckets * 2;
	struct lst_node **buckets, *n, *next;

	if (t->nr_nodes < t->nr_buckets || nr == 0)
		return;
	buckets = calloc(nr, sizeof(*buckets));
	if (!buckets)
		return; /* slower, not wrong */
	for (i = 0; i < t->nr_buckets; i++)
		for (n = t->buckets[i]; n; n = next) {
			next = n->hash_next;
			n->hash_next = buckets[n->hash & (nr - 1)];
			buckets[n->hash & (nr - 1)] = n;
		}
	free(t->buckets);
	t->buckets = buckets;
	t->nr_buckets = nr;
}

static void charge(struct lst *st, const struct lst_node *n, bool in)
{
	struct lst_dom *owner = lst_perms_owner(st, n->perms);
	int64_t bytes = (int64_t)lst_node_bytes(n);

	if (!owner)
		return;
	owner->nodes += in ? 1 : -1u;
	lst_charge(owner, in ? bytes : -bytes);
}

void lst_tree_link(struct lst *st, struct lst_node *parent, struct lst_node *n, uint32_t writer)
{
	struct lst_tree *t = &st->tree;

	grow(t);
	n->parent = parent;
	n->hash = hash_child(parent, n->name, n->name_len);
	n->hash_next = t->buckets[n->hash & (t->nr_buckets - 1)];
	t->buckets[n->hash & (t->nr_buckets - 1)] = n;
	t->nr_nodes++;
	n->prev = parent->last;
	if (n->prev)
		n->prev->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->nr_children++;
	parent->children_len += n->name_len + 1;
	n->generation = n->children_generation = parent->children_generation = ++t->generation;
	n->writer = n->children_writer = parent->children_writer = writer;
	charge(st, n, true);
}

static void unlink_leaf(struct lst *st, struct lst_node *n, uint32_t writer)
{
	struct lst_node *parent = n->parent, **p;
	struct lst_tree *t = &st->tree;

	for (p = &t->buckets[n->hash & (t->nr_buckets - 1)]; *p != n; p = &(*p)->hash_next)
		;
	*p = n->hash_next;
	t->nr_nodes--;
	if (n->prev)
		n->prev->next = n->next;
	else
		parent->first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		parent->last = n->prev;
	parent->nr_children--;
	parent->children_len -= n->name_len + 1;
	parent->children_generation = ++t->generation;
	parent->children_writer = writer;
	charge(st, n, false);
	lst_node_free(n);
}

void lst_tree_remove(struct lst *st, struct lst_node *top, uint32_t writer)
{
	struct lst_node *n = top, *up;
	bool last;

	do {
		while (n->first)
			n = n->first;
		last = n == top;
		up = n->parent;
		unlink_leaf(st, n, writer);
		n = up;
	} while (!last);
}

void lst_node_set_value(struct lst *st, struct lst_node *n, struct lst_value *value, uint32_t writer)
{
	charge(st, n, false);
	lst_value_put(n->value);
	n->value = value;
	n->generation = ++st->tree.generation;
	n->writer = writer;
	charge(st, n, true);
}

void lst_node_set_perms(struct lst *st, struct lst_node *n, struct lst_perms *perms, uint32_t writer)
{
	charge(st, n, false);
	lst_perms_put(n->perms);
	n->perms = perms;
	n->generation = ++st->tree.generation;
	n->writer = writer;
	charge(st, n, true);
}

/* ---- begin and end ---------------------------------------------------------------------------------- */

static int make(struct lst *st, const char *parent, const char *name)
{
	struct lst_node *up = lst_tree_find(&st->tree, parent), *n;

	n = lst_node_new(name, strlen(name), lst_perms_get(up->perms));
	if (!n)
		return ENOMEM;
	lst_tree_link(st, up, n, 0);
	return 0;
}

int lst_tree_init(struct lst *st)
{
	struct lst_tree *t = &st->tree;
	struct lst_perms *perms = lst_perms_new(1); /* "n0" */

	t->nr_buckets = 1024;
	t->buckets = calloc(t->nr_buckets, sizeof(*t->buckets));
	t->root = perms ? lst_node_new("", 0, perms) : NULL;
	if (!t->buckets || !t->root)
		return ENOMEM;
	perms->p[0].generation = lst_dom(st, 0)->generation;
	t->nr_nodes = 1;
	return make(st, "/", "tool") || make(st, "/tool", "xenstored") ? ENOMEM : 0;
}

void lst_tree_free(struct lst *st)
{
	struct lst_tree *t = &st->tree;

	if (t->root) {
		while (t->root->first)
			lst_tree_remove(st, t->root->first, 0);
		lst_node_free(t->root);
	}
	free(t->buckets);
	memset(t, 0, sizeof(*t));
}
