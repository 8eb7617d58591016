/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BUFPOOL_H
#define PVB_BACKEND_BUFPOOL_H
/* Page-aligned buffers for requests being served, of 1 to 256 pages, with a cap for the whole worker (that
 * is: per guest).  Memory follows what is in flight, not what the rings could hold.
 *
 * At the cap get() says NULL: the caller stops taking requests until a put().  The cap is at least one
 * request of the largest size, so there is always progress.  Freed buffers are kept for reuse (mapping
 * memory is dear, in a PV dom0 above all).  Contents are whatever the last user left: the caller overwrites
 * or never shows them.  One thread.
 *
 * An area that copies best (pvb_hv_arena()) can be lent to the pool: buffers come from there while there is room,
 * from ordinary memory after that.
 */
#include <stddef.h>

#define BUFPOOL_MAX_PAGES 256u
struct bufpool;
int bufpool_new(struct bufpool **out, size_t cap_bytes);
/* Whole pages; they count towards the cap and stay the caller's, who keeps them until bufpool_free(). Once. */
int bufpool_lend(struct bufpool *p, void *area, size_t bytes);
void bufpool_free(struct bufpool *p);          /* everything was put back */
void *bufpool_get(struct bufpool *p, size_t len, size_t *got);  /* *got: give it to put() */
void bufpool_put(struct bufpool *p, void *buf, size_t got);
size_t bufpool_used(const struct bufpool *p);  /* bytes handed out */
#endif
