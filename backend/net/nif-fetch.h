/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_NIF_FETCH_H
#define PVB_BACKEND_NET_NIF_FETCH_H
/* For a port that mostly needs headers only (port->whole is false): the rest of some frames' bytes, after all. */

struct frame;
struct nif_ctx;

/* Within xmit(), for frames it was given: make those that are not yet whole and local so, with one copy call for all
 * of them.  The bytes stay until the pass is over.  A frame that can not be is given its verdict: FRAME_BAD, its pages
 * can not be read; FRAME_HELD, there is no memory left in this pass, and there will be another.  The others' verdict is
 * not touched. */
void nif_fetch(struct nif_ctx *ctx, struct frame **frames, unsigned nr);
#endif
