/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches: from libxenstore's queue, merged, to callbacks in bounded rounds.
 *
 * libxenstore's thread queues whatever the server sends.  A round moves a bounded number of events from
 * there to the watches they belong to, where equal paths are kept once and many different ones collapse
 * into "the watched path": what a peer can make us hold or do per round does not depend on how fast it
 * writes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <xenstore.h>
#include "loop.h"
#include "store-impl.h"

#define ROUND_READS 512
#define ROUND_CALLS 64
#define ROOM 32        /* paths a watch keeps apart unless told otherwise */
#define MAX_WATCHES 65536u

struct pvb_watch {
	struct pvb_store *st;
	char *path;
	char token[32];
	void (*fn)(void *arg, const char *path);
	void *arg;
	unsigned slot;
	bool dead, queued;
	struct pvb_watch *next;           /* in the ready list or the graveyard */
	struct change *pending;           /* changed paths, each once; those from first to nr are still there */
	unsigned first, nr, size, room;   /* room: how many there may be */
};

struct change {
	char *path;
	uint32_t hash;
};

/* ---- the ready list -------------------------------------------------------------------------------- */

static void make_ready(struct pvb_watch *w)
{
	struct pvb_store *st = w->st;

	if (w->queued)
		return;
	w->queued = true;
	w->next = NULL;
	if (st->ready)
		st->ready_tail->next = w;
	else
		st->ready = w;
	st->ready_tail = w;
}

static struct pvb_watch *pop_ready(struct pvb_store *st)
{
	struct pvb_watch *w = st->ready;

	st->ready = w->next;
	w->queued = false;
	return w;
}

static void unqueue(struct pvb_watch *w)
{
	struct pvb_watch **at, *prev = NULL;

	if (!w->queued)
		return;
	for (at = &w->st->ready; *at != w; at = &(*at)->next)
		prev = *at;
	*at = w->next;
	if (w->st->ready_tail == w)
		w->st->ready_tail = prev;
	w->queued = false;
}

static void drop_pending(struct pvb_watch *w)
{
	while (w->first < w->nr)
		free(w->pending[w->first++].path);
	w->first = w->nr = 0;
}

static char *pop_pending(struct pvb_watch *w)
{
	char *path = w->pending[w->first++].path;

	if (w->first == w->nr)
		w->first = w->nr = 0;
	return path;
}

/* FNV-1a: most paths that differ do so at their end. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

static bool is_pending(const struct pvb_watch *w, const char *path, uint32_t h)
{
	for (unsigned i = w->first; i < w->nr; i++)
		if (w->pending[i].hash == h && strcmp(w->pending[i].path, path) == 0)
			return true;
	return false;
}

static bool make_place(struct pvb_watch *w)
{
	unsigned size = w->size ? 2 * w->size : 4;
	struct change *more;

	if (w->nr < w->size)
		return true;
	if (w->first > w->size / 2) {
		w->nr -= w->first;
		memmove(w->pending, w->pending + w->first, w->nr * sizeof(*w->pending));
		w->first = 0;
		return true;
	}
	more = realloc(w->pending, size * sizeof(*more));
	if (!more)
		return false;
	w->pending = more;
	w->size = size;
	return true;
}

static void add_pending(struct pvb_watch *w, const char *path)
{
	uint32_t h = hash(path);
	char *copy;

	if (is_pending(w, path, h))
		return;
	if (w->nr - w->first == w->room) {
		/* too many to tell apart: look at everything below the watched path */
		drop_pending(w);
		path = w->path;
		h = hash(path);
	}
	copy = make_place(w) ? strdup(path) : NULL;
	if (!copy)
		return; /* without memory nobody can act on it either */
	w->pending[w->nr++] = (struct change){ copy, h };
	make_ready(w);
}

/* ---- setting and removing -------------------------------------------------------------------------- */

static int get_slot(struct pvb_store *st, unsigned *slot)
{
	struct pvb_watch **slots;
	unsigned i, size;

	for (i = 0; i < st->nr_slots; i++)
		if (!st->slots[i]) {
			*slot = i;
			return 0;
		}
	size = st->nr_slots ? 2 * st->nr_slots : 16;
	if (size > MAX_WATCHES)
		return -ENOSPC;
	slots = realloc(st->slots, size * sizeof(struct pvb_watch *));
	if (!slots)
		return -ENOMEM;
	memset(slots + st->nr_slots, 0, (size - st->nr_slots) * sizeof(struct pvb_watch *));
	*slot = st->nr_slots;
	st->slots = slots;
	st->nr_slots = size;
	return 0;
}

static void watch_free(struct pvb_watch *w)
{
	drop_pending(w);
	free(w->pending);
	free(w->path);
	free(w);
}

static void clear_graveyard(struct pvb_store *st)
{
	struct pvb_watch *w;

	while ((w = st->graveyard)) {
		st->graveyard = w->next;
		watch_free(w);
	}
}

int pvb_store_watch(struct pvb_store *st, const char *path, void (*fn)(void *arg, const char *path), void *arg,
		    struct pvb_watch **out)
{
	struct pvb_watch *w;
	int rc = 0;

	/* "@introduceDomain" and the like are names, not paths */
	if (path[0] != '@')
		rc = pvb_store_check_path(path);
	if (rc < 0)
		return rc;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->st = st;
	w->fn = fn;
	w->arg = arg;
	w->room = ROOM;
	w->path = strdup(path);
	rc = w->path ? pvb_store_open_watcher(st) : -ENOMEM;
	if (rc == 0)
		rc = get_slot(st, &w->slot);
	if (rc < 0) {
		watch_free(w);
		return rc;
	}
	snprintf(w->token, sizeof(w->token), "%x.%x", w->slot, ++st->generation);
	st->slots[w->slot] = w;
	if (!xs_watch(st->watcher, path, w->token)) {
		rc = errno == 0 ? -EIO : errno == EAGAIN ? -EBUSY : -errno;
		st->slots[w->slot] = NULL;
		watch_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void pvb_watch_room(struct pvb_watch *w, unsigned paths)
{
	w->room = paths;
}

void pvb_store_unwatch(struct pvb_watch **wp)
{
	struct pvb_watch *w;
	struct pvb_store *st;

	if (!wp || !*wp)
		return;
	w = *wp;
	*wp = NULL;
	st = w->st;
	/* events already on their way carry a token that matches nothing any more */
	xs_unwatch(st->watcher, w->path, w->token);
	st->slots[w->slot] = NULL;
	unqueue(w);
	w->dead = true;
	w->next = st->graveyard;
	st->graveyard = w;
	if (st->depth == 0)
		clear_graveyard(st);
}

void pvb_store_detach(struct pvb_store *st)
{
	unsigned i;

	pvb_source_free(&st->readable);
	pvb_source_free(&st->again);
	for (i = 0; i < st->nr_slots; i++)
		if (st->slots[i])
			watch_free(st->slots[i]);
	clear_graveyard(st);
	free(st->slots);
}

/* ---- rounds ---------------------------------------------------------------------------------------- */

static struct pvb_watch *find_watch(struct pvb_store *st, const char *token)
{
	unsigned long slot = strtoul(token, NULL, 16);
	struct pvb_watch *w = slot < st->nr_slots ? st->slots[slot] : NULL;

	return w && strcmp(w->token, token) == 0 ? w : NULL;
}

static void collect(struct pvb_store *st)
{
	struct pvb_watch *w;
	unsigned i;
	char **ev;

	for (i = 0; st->watcher && i < ROUND_READS; i++) {
		ev = xs_check_watch(st->watcher);
		if (!ev)
			return;
		w = find_watch(st, ev[XS_WATCH_TOKEN]);
		if (w)
			add_pending(w, ev[XS_WATCH_PATH]);
		free(ev);
	}
}

static int deliver(struct pvb_store *st)
{
	int nr = 0;

	st->depth++;
	while (st->ready && nr < ROUND_CALLS) {
		struct pvb_watch *w = pop_ready(st);
		char *path = pop_pending(w);

		if (w->nr > 0)
			make_ready(w); /* behind the others */
		w->fn(w->arg, path);
		free(path);
		nr++;
	}
	if (--st->depth == 0)
		clear_graveyard(st);
	return nr;
}

static void come_again(void *arg);

static void round_from_loop(struct pvb_store *st)
{
	collect(st);
	deliver(st);
	/* what is left is no longer in libxenstore's pipe, so the descriptor would not wake us for it */
	if (st->ready && !st->again)
		pvb_loop_timer(st->loop, 0, come_again, st, &st->again);
}

static void come_again(void *arg)
{
	round_from_loop(arg);
}

static void readable(void *arg, uint32_t events)
{
	round_from_loop(arg);
}

int pvb_store_attach(struct pvb_store *st, struct pvb_loop *loop)
{
	int rc = pvb_store_open_watcher(st), fd = rc < 0 ? -1 : xs_fileno(st->watcher);

	if (fd < 0)
		return rc < 0 ? rc : -EMFILE;
	if (st->loop)
		return -EBUSY;
	st->loop = loop;
	return pvb_loop_fd(loop, fd, EPOLLIN, readable, st, &st->readable);
}

/* ---- without a loop -------------------------------------------------------------------------------- */

static int left_ms(uint64_t deadline_ms)
{
	uint64_t now = pvb_now_ms();

	return deadline_ms > now ? (int)(deadline_ms - now) : 0;
}

int pvb_store_dispatch(struct pvb_store *st, int timeout_ms)
{
	uint64_t deadline = pvb_now_ms() + (timeout_ms > 0 ? (unsigned)timeout_ms : 0);
	int n, left, rc = pvb_store_open_watcher(st);
	struct pollfd pfd = { .events = POLLIN };

	if (rc < 0)
		return rc;
	pfd.fd = xs_fileno(st->watcher);

	for (;;) {
		collect(st);
		n = deliver(st);
		if (n > 0)
			return n;
		left = timeout_ms < 0 ? -1 : left_ms(deadline);
		if (left == 0)
			return 0;
		if (poll(&pfd, 1, left) < 0)
			return -errno;
	}
}

static void mark(void *arg, const char *path)
{
	*(bool *)arg = true;
}

static int check_value(struct pvb_store *st, const char *path, bool (*done)(const char *value, void *arg), void *arg)
{
	char *value = NULL;
	int rc = pvb_store_read(st, PVB_NO_TXN, path, &value);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = done(value, arg);
	free(value);
	return rc;
}

int pvb_store_wait(struct pvb_store *st, const char *path, bool (*done)(const char *value, void *arg), void *arg,
		   int timeout_ms)
{
	uint64_t deadline = pvb_now_ms() + (timeout_ms > 0 ? (unsigned)timeout_ms : 0);
	struct pvb_watch *w;
	bool changed = true; /* look before waiting: the first event may be late */
	int rc, left;

	rc = pvb_store_watch(st, path, mark, &changed, &w);
	if (rc < 0)
		return rc;
	for (;;) {
		if (changed) {
			changed = false;
			rc = check_value(st, path, done, arg);
			if (rc != 0)
				break;
		}
		left = timeout_ms < 0 ? -1 : left_ms(deadline);
		rc = left == 0 ? -ETIMEDOUT : pvb_store_dispatch(st, left);
		if (rc < 0)
			break;
	}
	pvb_store_unwatch(&w);
	return rc > 0 ? 0 : rc;
}
