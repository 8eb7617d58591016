/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at nodes and changing them, inside a transaction or outside: the one place that knows both.
 * Permissions were checked by the caller; quotas are checked here, before anything is changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

#define NODE_HEAD 24 /* what C xenstored's record of a node begins with; counts for the size of a node */

/* ---- looking ---------------------------------------------------------------------------------------- */

static void see_node(const struct lst_node *n, struct lst_seen *seen)
{
	seen->is_there = true;
	seen->value = n->value;
	seen->perms = n->perms;
}

static int see(struct lst *st, struct lst_txn *t, const char *path, size_t len, struct lst_seen *seen)
{
	char buf[LST_PATH_MAX + 1];
	struct lst_tnode *tn;
	int rc;

	memset(seen, 0, sizeof(*seen));
	memcpy(buf, path, len);
	buf[len] = '\0';
	seen->node = lst_tree_find(&st->tree, buf);
	if (seen->node) {
		seen->children_len = seen->node->children_len;
		seen->children_generation = seen->node->children_generation;
	}
	if (seen->node && !t)
		see_node(seen->node, seen);
	if (!t)
		return 0;
	rc = lst_tnode_get(t, path, len, &tn);
	if (rc)
		return rc;
	seen->tnode = tn;
	seen->children_len += (uint32_t)tn->children_len;
	if (tn->own_children_generation > seen->children_generation)
		seen->children_generation = tn->own_children_generation;
	seen->is_there = tn->is_there;
	seen->value = tn->value;
	seen->perms = tn->perms;
	return 0;
}

int lst_see(struct lst *st, struct lst_txn *t, const char *path, struct lst_seen *seen)
{
	return see(st, t, path, strlen(path), seen);
}

static size_t parent_len(const char *path, size_t len)
{
	while (len > 1 && path[len - 1] != '/')
		len--;
	return len > 1 ? len - 1 : 1;
}

static uint32_t join(char *buf, const char *dir, const char *name)
{
	size_t dlen = dir[1] ? strlen(dir) : 0, nlen = strlen(name);

	if (dlen + 1 + nlen > LST_PATH_MAX)
		return 0;
	memcpy(buf, dir, dlen);
	buf[dlen] = '/';
	memcpy(buf + dlen + 1, name, nlen + 1);
	return (uint32_t)(dlen + 1 + nlen);
}

static bool hidden(const struct lst_txn *t, const char *dir, const char *name)
{
	char path[LST_PATH_MAX + 1];
	const struct lst_tnode *tn;
	uint32_t len = join(path, dir, name);

	tn = len ? lst_tnode_find(t, path, len) : NULL;
	return tn && tn->changed && !tn->is_there;
}

int lst_list(struct lst *st, struct lst_txn *t, const char *path, const struct lst_seen *seen, char **names,
	     uint32_t *len)
{
	const struct lst_node *n;
	const struct lst_tnode *tn;
	uint32_t size = 1, at = 0;
	const char *name;
	char *buf;

	if (seen->node)
		size += seen->node->children_len;
	if (seen->tnode) {
		seen->tnode->listed = true;
		for (tn = seen->tnode->added; tn; tn = tn->next_added)
			size += tn->path_len + 1;
	}
	buf = malloc(size);
	if (!buf)
		return ENOMEM;
	for (n = seen->node ? seen->node->first : NULL; n; n = n->next) {
		if (t && hidden(t, path, n->name))
			continue;
		memcpy(buf + at, n->name, n->name_len + 1);
		at += n->name_len + 1;
	}
	for (tn = seen->tnode ? seen->tnode->added : NULL; tn; tn = tn->next_added) {
		name = strrchr(tn->path, '/') + 1;
		memcpy(buf + at, name, strlen(name) + 1);
		at += (uint32_t)strlen(name) + 1;
	}
	*names = buf;
	*len = at;
	return 0;
}

/* ---- quotas ----------------------------------------------------------------------------------------- */

static bool too_big(const struct lst_conn *c, const struct lst_perms *perms, uint64_t value_len, uint64_t children_len)
{
	return !lst_privileged(c->dom) &&
	       NODE_HEAD + perms->nr * 8 + value_len + children_len > c->store->quota.node_size;
}

/* ---- creating --------------------------------------------------------------------------------------- */

/* The new nodes inherit the permissions of the nearest one above them; what a domain makes is its own. */
static struct lst_perms *inherit(const struct lst_conn *c, const struct lst_seen *above)
{
	struct lst_perms *p;

	if (lst_privileged(c->dom))
		return lst_perms_get(above->perms);
	p = lst_perms_new(above->perms->nr);
	if (!p)
		return NULL;
	memcpy(p->p, above->perms->p, lst_perms_bytes(above->perms));
	p->p[0].domid = c->dom->domid;
	p->p[0].generation = c->dom->generation;
	return p;
}

static int create_quota(const struct lst_conn *c, const struct lst_txn *t, const char *path, size_t above_len,
			const struct lst_seen *above, const struct lst_perms *perms, uint32_t len, uint32_t *nr)
{
	size_t at = above_len > 1 ? above_len : 0, next, total = strlen(path);
	const struct lst *st = c->store;
	uint64_t bytes = len;

	/* each name on the way counts for the size of the node above it */
	for (*nr = 0; at < total; at = next, (*nr)++) {
		next = at + 1 + strcspn(path + at + 1, "/");
		if (too_big(c, *nr ? perms : above->perms, *nr ? 0 : lst_value_len(above->value),
			    (*nr ? 0 : above->children_len) + (next - at)))
			return ENOSPC;
		bytes += sizeof(struct lst_node) + (next - at) + lst_perms_bytes(perms);
	}
	if (too_big(c, perms, len, 0))
		return ENOSPC;
	if (lst_privileged(c->dom))
		return 0;
	if ((int64_t)c->dom->nodes + (t ? t->delta : 0) + *nr > st->quota.nodes)
		return ENOSPC;
	return lst_over_memory(st, c->dom, bytes) ? ENOMEM : 0;
}

static int create_outside(struct lst_conn *c, struct lst_node *above, const char *path, uint32_t nr,
			  struct lst_perms *perms, const char *value, uint32_t len)
{
	struct lst_node *first = NULL, *n, *up;
	size_t end = strlen(path), from;
	struct lst_value *v;
	uint32_t i;
	int rc;

	/* all are made before the first is linked, from the last to the first */
	rc = lst_value_new(value, len, &v);
	if (rc)
		return rc;
	for (i = 0; i < nr; i++, end = from) {
		from = end;
		while (path[from - 1] != '/')
			from--;
		n = lst_node_new(path + from, end - from, lst_perms_get(perms));
		if (!n) {
			lst_perms_put(perms);
			break;
		}
		n->first = first; /* only to keep them together */
		first = n;
		from--;
	}
	if (i < nr) {
		while ((n = first)) {
			first = n->first;
			n->first = NULL;
			lst_node_free(n);
		}
		lst_value_put(v);
		return ENOMEM;
	}
	for (up = above; (n = first); up = n) {
		first = n->first;
		n->first = NULL;
		if (!first)
			n->value = v;
		lst_tree_link(c->store, up, n, c->dom->domid);
	}
	return 0;
}

static void add_child(struct lst *st, struct lst_tnode *dir, struct lst_tnode *n)
{
	struct lst_tnode **p;

	dir->own_children_generation = ++st->tree.generation;
	dir->children_len += (int32_t)strlen(strrchr(n->path, '/'));
	if (n->was_there)
		return; /* is listed where it was */
	for (p = &dir->added; *p; p = &(*p)->next_added)
		;
	*p = n;
	n->next_added = NULL;
	n->is_added = true;
}

static void drop_child(struct lst *st, struct lst_tnode *dir, struct lst_tnode *n)
{
	struct lst_tnode **p;

	dir->own_children_generation = ++st->tree.generation;
	dir->children_len -= (int32_t)strlen(strrchr(n->path, '/'));
	if (!n->is_added)
		return;
	for (p = &dir->added; *p != n; p = &(*p)->next_added)
		;
	*p = n->next_added;
	n->is_added = false;
}

static int create_inside(struct lst_conn *c, struct lst_txn *t, const char *path, size_t at, struct lst_perms *perms,
			 const char *value, uint32_t len)
{
	size_t total = strlen(path), next;
	struct lst_tnode *dir, *n;
	struct lst_value *v;
	int rc;

	rc = lst_tnode_get(t, path, at ? at : 1, &dir);
	for (; rc == 0 && at < total; at = next, dir = n) {
		next = at + 1 + strcspn(path + at + 1, "/");
		rc = lst_tnode_get(t, path, next, &n);
		if (rc == 0)
			rc = lst_value_new(value, next == total ? len : 0, &v);
		if (rc) {
			t->failed = rc;
			break;
		}
		lst_tnode_set(t, n, v, lst_perms_get(perms));
		add_child(c->store, dir, n);
		if (next == total)
			lst_tnode_fire(n, LST_BELOW);
		t->delta += lst_perms_owner(c->store, perms) == c->dom;
	}
	return rc;
}

int lst_create(struct lst_conn *c, struct lst_txn *t, const char *path, const char *value, uint32_t len)
{
	struct lst *st = c->store;
	size_t above_len = strlen(path);
	struct lst_perms *perms;
	struct lst_seen above;
	uint32_t nr;
	int rc;

	do {
		above_len = parent_len(path, above_len);
		rc = see(st, t, path, above_len, &above);
		if (rc)
			return rc;
	} while (!above.is_there);
	perms = inherit(c, &above);
	if (!perms)
		return ENOMEM;
	rc = create_quota(c, t, path, above_len, &above, perms, len, &nr);
	if (rc == 0 && t)
		rc = create_inside(c, t, path, above_len > 1 ? above_len : 0, perms, value, len);
	else if (rc == 0)
		rc = create_outside(c, above.node, path, nr, perms, value, len);
	lst_perms_put(perms);
	if (rc == 0 && !t)
		lst_fire_node(st, c->req, lst_tree_find(&st->tree, path), path, LST_BELOW, NULL);
	return rc;
}

/* ---- changing one node ------------------------------------------------------------------------------ */

int lst_write(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen, const char *value,
	      uint32_t len)
{
	uint32_t had = lst_value_len(seen->value);
	struct lst_value *v;
	int rc;

	if (too_big(c, seen->perms, len, seen->children_len))
		return ENOSPC;
	if (len > had && lst_over_memory(c->store, c->dom, len - had))
		return ENOMEM;
	rc = lst_value_new(value, len, &v);
	if (rc)
		return rc;
	if (t) {
		lst_tnode_set(t, seen->tnode, v, lst_perms_get(seen->perms));
		lst_tnode_fire(seen->tnode, LST_BELOW);
		return 0;
	}
	lst_node_set_value(c->store, seen->node, v, c->dom->domid);
	lst_fire_node(c->store, c->req, seen->node, path, LST_BELOW, NULL);
	return 0;
}

int lst_set_perms(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen,
		  struct lst_perms *perms)
{
	struct lst_perms *old;

	if (too_big(c, perms, lst_value_len(seen->value), seen->children_len)) {
		lst_perms_put(perms);
		return ENOSPC;
	}
	if (lst_over_memory(c->store, c->dom, lst_perms_bytes(perms))) {
		lst_perms_put(perms);
		return ENOMEM;
	}
	if (t) {
		lst_tnode_set(t, seen->tnode, lst_value_get(seen->value), perms);
		lst_tnode_fire(seen->tnode, LST_BELOW);
		return 0;
	}
	old = lst_perms_get(seen->node->perms);
	lst_node_set_perms(c->store, seen->node, perms, c->dom->domid);
	lst_fire_node(c->store, c->req, seen->node, path, LST_BELOW, old);
	lst_perms_put(old);
	return 0;
}

/* ---- removing --------------------------------------------------------------------------------------- */

static void remove_outside(struct lst_conn *c, struct lst_node *top)
{
	char path[LST_PATH_MAX + 1];
	const struct lst_node *n;

	for (n = top; n; n = lst_node_next(n, top)) {
		lst_node_path(n, path);
		lst_fire_node(c->store, c->req, n, path, n == top ? LST_BELOW : LST_EXACT, NULL);
	}
	lst_tree_remove(c->store, top, c->dom->domid);
}

struct tlist {
	struct lst_tnode **v;
	uint32_t nr, size;
};

static int push(struct tlist *l, struct lst_tnode *n)
{
	uint32_t size = l->size ? l->size * 2 : 64;
	struct lst_tnode **v;

	if (l->nr == l->size) {
		v = realloc(l->v, size * sizeof(*v));
		if (!v)
			return ENOMEM;
		l->v = v;
		l->size = size;
	}
	l->v[l->nr++] = n;
	return 0;
}

static int push_children(struct lst_conn *c, struct lst_txn *t, struct tlist *l, const struct lst_tnode *dir)
{
	char path[LST_PATH_MAX + 1], *names;
	struct lst_tnode *n;
	struct lst_seen seen;
	uint32_t off, len;
	int rc;

	rc = see(c->store, t, dir->path, dir->path_len, &seen);
	if (rc == 0)
		rc = lst_list(c->store, t, dir->path, &seen, &names, &len);
	if (rc)
		return rc;
	for (off = 0; off < len && rc == 0; off += (uint32_t)strlen(names + off) + 1) {
		rc = lst_tnode_get(t, path, join(path, dir->path, names + off), &n);
		if (rc == 0)
			rc = push(l, n);
	}
	free(names);
	return rc;
}

static int remove_inside(struct lst_conn *c, struct lst_txn *t, struct lst_tnode *top)
{
	struct tlist l = { NULL };
	struct lst_tnode *dir, *n;
	struct lst_seen seen;
	uint32_t i;
	int rc;

	/* first all of them, as that may fail; parents before children */
	rc = push(&l, top);
	for (i = 0; rc == 0 && i < l.nr; i++)
		rc = push_children(c, t, &l, l.v[i]);
	if (rc)
		t->failed = rc;
	while (rc == 0 && l.nr-- > 0) {
		n = l.v[l.nr];
		see(c->store, t, n->path, n->path_len, &seen);
		t->delta -= seen.is_there && lst_perms_owner(c->store, seen.perms) == c->dom;
		lst_tnode_set(t, n, NULL, NULL);
		lst_tnode_fire(n, l.nr == 0 ? LST_BELOW : LST_EXACT);
		dir = lst_tnode_find(t, n->path, parent_len(n->path, n->path_len));
		if (dir)
			drop_child(c->store, dir, n);
	}
	free(l.v);
	return rc;
}

int lst_remove(struct lst_conn *c, struct lst_txn *t, const char *path, const struct lst_seen *seen)
{
	struct lst_tnode *dir;
	int rc;

	if (!t) {
		remove_outside(c, seen->node);
		return 0;
	}
	/* its directory changes as well */
	rc = lst_tnode_get(t, path, parent_len(path, strlen(path)), &dir);
	return rc ? rc : remove_inside(c, t, seen->tnode);
}
