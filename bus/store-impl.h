/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_STORE_IMPL_H
#define PVB_BUS_STORE_IMPL_H
/* What store.c and watch.c share. */
#include "store.h"

struct xs_handle;
struct pvb_source;

struct pvb_store {
	struct xs_handle *xs;             /* asks and is answered */
	/* Watches have a connection of their own: for the first one libxenstore starts a thread that reads all of the
	 * connection, and from then on each answer would take a way through it, with two changes of threads. */
	struct xs_handle *watcher;        /* NULL: not needed yet */
	char *path;                       /* of the store; NULL: its usual place */
	uint64_t seed;                    /* of the back-off between transactions */
	/* watch.c */
	struct pvb_watch **slots;         /* watches by number; NULL = free */
	unsigned nr_slots;
	uint32_t generation;              /* part of every token, so that a late event finds no new watch */
	struct pvb_watch *ready, *ready_tail; /* watches with undelivered events, first come first served */
	struct pvb_watch *graveyard;
	unsigned depth;                   /* of callbacks running */
	struct pvb_loop *loop;
	struct pvb_source *readable, *again;
};

/* store.c: 0 or -EINVAL. */
int pvb_store_check_path(const char *path);
/* store.c: the watcher, 0 or -errno. */
int pvb_store_open_watcher(struct pvb_store *st);
/* watch.c: drop all watches and the loop's sources. */
void pvb_store_detach(struct pvb_store *st);
#endif
