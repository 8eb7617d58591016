/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_RING_H
#define PVB_BACKEND_CONSOLE_RING_H
/* The console's page, seen from the back end: bytes both ways, no requests, no answers.
 *
 * Trust    The guest may rewrite any byte of the page at any time.  Each of its indices is loaded once a call and checked
 *          against ours, of which we have a copy that it can not reach; bytes leave by copy.  A guest that claims more than a
 *          direction holds has lied: the ring is dead from then on and says -EPROTO on each call, with words.
 * Indices  uint32_t, free running; place = index & (size - 1).  Only differences are compared.
 * Resume   What is ours of the indices is in the page as well (out_cons, in_prod), and that is all there is to go on with
 *          where another process ended.  A guest that changes them between two of us changes its own console.
 * Order    con_ring_out() copies and does not give the room back: con_ring_done() does, when the bytes are where they
 *          are to be.  Who dies in between delivers them twice, never not at all.
 * Pure     No events, no memory of its own; never logs.
 * Source   xen/include/public/io/console.h for the layout.
 */
#include <stddef.h>
#include <stdint.h>
#include <xen/io/console.h>
#include "bus/error.h"

struct con_ring {
	struct xencons_interface *page;
	uint32_t out_cons, in_prod;  /* ours */
	int dead;                    /* 0, or what each call says */
};

/* Take hold of a page, with the indices that are in it. */
int con_ring_open(struct con_ring *r, struct xencons_interface *page, struct pvb_error *err);
/* Copy at most len of the bytes that the guest has put out and that come first; how many (0: there are none), or -EPROTO. */
int con_ring_out(struct con_ring *r, void *buf, size_t len, struct pvb_error *err);
/* So many of them are done with: the guest may use their place. */
void con_ring_done(struct con_ring *r, uint32_t len);
/* Bytes that can be put in now, or -EPROTO. */
int con_ring_room(struct con_ring *r, struct pvb_error *err);
/* Put in as many of len bytes as there is room for; how many, or -EPROTO. */
int con_ring_in(struct con_ring *r, const void *buf, size_t len, struct pvb_error *err);
#endif
