/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches, and who hears of what.  A change is looked up by its path and by each path above it, so its cost
 * does not grow with the number of watches.  A watcher hears of a node only if it may read it or the
 * directory it is in, before or after the change. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

#define HASH_SEED 2166136261u

static uint32_t hash_char(uint32_t h, char c)
{
	return (h ^ (uint8_t)c) * 16777619u;
}

static uint32_t hash_path(const char *path, size_t len)
{
	uint32_t h = HASH_SEED;

	while (len-- > 0)
		h = hash_char(h, *path++);
	return h;
}

static size_t watch_bytes(const struct lst_watch *w)
{
	return sizeof(*w) + strlen(w->path) + strlen(w->token) + 2;
}

/* ---- setting ---------------------------------------------------------------------------------------- */

static void grow(struct lst *st)
{
	uint32_t i, nr = st->nr_watch_buckets * 2;
	struct lst_watch **buckets, **p, *w, *next;

	if (st->nr_watches < st->nr_watch_buckets || !(buckets = calloc(nr, sizeof(*buckets))))
		return;
	for (i = 0; i < st->nr_watch_buckets; i++)
		for (w = st->watch_buckets[i]; w; w = next) {
			next = w->hash_next;
			/* at the end: watches of one path fire in the order they were set */
			for (p = &buckets[w->hash & (nr - 1)]; *p; p = &(*p)->hash_next)
				;
			w->hash_next = NULL;
			*p = w;
		}
	free(st->watch_buckets);
	st->watch_buckets = buckets;
	st->nr_watch_buckets = nr;
}

static struct lst_watch **find(struct lst_conn *c, const char *path, const char *token)
{
	struct lst_watch **p;

	for (p = &c->watches; *p; p = &(*p)->next)
		if (strcmp((*p)->path, path) == 0 && strcmp((*p)->token, token) == 0)
			break;
	return p;
}

int lst_watch_add(struct lst_conn *c, const char *path, bool relative, const char *token)
{
	size_t plen = strlen(path), tlen = strlen(token);
	struct lst_watch *w, **p;
	struct lst *st = c->store;

	if (*find(c, path, token))
		return EEXIST;
	if (!lst_privileged(c->dom) && c->dom->watches >= st->quota.watches)
		return E2BIG;
	w = lst_over_memory(st, c->dom, sizeof(*w) + plen + tlen + 2) ? NULL : calloc(1, sizeof(*w) + plen + tlen + 2);
	if (!w)
		return ENOMEM;
	memcpy(w->path, path, plen);
	w->token = memcpy(w->path + plen + 1, token, tlen);
	w->conn = c;
	w->hash = hash_path(path, plen);
	if (relative) /* shown without "/local/domain/N/" */
		w->skip = (uint32_t)(strcspn(path + strlen("/local/domain/"), "/") + strlen("/local/domain/"));
	st->nr_watches++;
	grow(st);
	for (p = &st->watch_buckets[w->hash & (st->nr_watch_buckets - 1)]; *p; p = &(*p)->hash_next)
		;
	*p = w;
	*c->watch_tail = w;
	c->watch_tail = &w->next;
	c->dom->watches++;
	lst_charge(c->dom, (int64_t)watch_bytes(w));
	return 0;
}

static void drop(struct lst_conn *c, struct lst_watch **at)
{
	struct lst_watch *w = *at, **p;
	struct lst *st = c->store;

	*at = w->next;
	if (c->watch_tail == &w->next)
		c->watch_tail = at;
	for (p = &st->watch_buckets[w->hash & (st->nr_watch_buckets - 1)]; *p != w; p = &(*p)->hash_next)
		;
	*p = w->hash_next;
	st->nr_watches--;
	c->dom->watches--;
	lst_charge(c->dom, -(int64_t)watch_bytes(w));
	free(w);
}

int lst_watch_del(struct lst_conn *c, const char *path, const char *token)
{
	struct lst_watch **p = find(c, path, token);

	if (!*p)
		return ENOENT;
	drop(c, p);
	return 0;
}

void lst_watch_drop_all(struct lst_conn *c)
{
	while (c->watches)
		drop(c, &c->watches);
}

/* ---- firing ----------------------------------------------------------------------------------------- */

static const char *shown(const struct lst_watch *w, const char *path)
{
	path += w->skip;
	return w->skip && *path == '/' ? path + 1 : path;
}

struct change {
	struct lst *st;
	struct lst_req *cause;
	const char *path;
	const struct lst_perms *perms, *old, *parent;
};

static bool may_hear(const struct change *ch, const struct lst_dom *dom)
{
	return (ch->perms && (lst_perms_for(ch->st, dom, ch->perms) & LST_R)) ||
	       (ch->old && (lst_perms_for(ch->st, dom, ch->old) & LST_R)) ||
	       (ch->parent && (lst_perms_for(ch->st, dom, ch->parent) & LST_R));
}

static void fire_at(const struct change *ch, uint32_t hash, size_t len)
{
	struct lst *st = ch->st;
	struct lst_watch *w;

	for (w = st->watch_buckets[hash & (st->nr_watch_buckets - 1)]; w; w = w->hash_next)
		if (w->hash == hash && strncmp(w->path, ch->path, len) == 0 && w->path[len] == '\0' &&
		    may_hear(ch, w->conn->dom))
			lst_event(w->conn, ch->cause, shown(w, ch->path), w->token);
}

/* The hash of every path on the way, in one pass: deep paths must not cost their length squared. */
static void fire(const struct change *ch, enum lst_fire how)
{
	uint32_t h = HASH_SEED;
	const char *p;

	if (ch->st->nr_watches == 0)
		return;
	if (how == LST_BELOW && ch->path[0] == '/' && ch->path[1])
		fire_at(ch, hash_path("/", 1), 1);
	for (p = ch->path; *p; p++) {
		if (*p == '/' && p > ch->path && how == LST_BELOW)
			fire_at(ch, h, (size_t)(p - ch->path));
		h = hash_char(h, *p);
	}
	fire_at(ch, h, (size_t)(p - ch->path));
}

void lst_fire_node(struct lst *st, struct lst_req *cause, const struct lst_node *n, const char *path, enum lst_fire how,
		   const struct lst_perms *old)
{
	struct change ch = { st, cause, path, n->perms, old == n->perms ? NULL : old,
			     n->parent ? n->parent->perms : NULL };

	fire(&ch, how);
}

void lst_fire_special(struct lst *st, const char *name)
{
	struct change ch = { st, NULL, name, st->special[strcmp(name, "@releaseDomain") == 0], NULL, NULL };

	fire(&ch, LST_EXACT);
}
