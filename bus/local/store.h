/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_STORE_H
#define PVB_BUS_LOCAL_STORE_H
/* The store: xenstore's wire protocol (xen/io/xs_wire.h, docs/misc/xenstore.txt in Xen) with the semantics
 * and quotas of C xenstored 4.17.
 *
 * Trust    A client is a domain; domain 0 may do everything, the others what permissions and quotas let them.
 *          What a client sends is bytes: bad requests are answered with an error, a frame that is no
 *          frame closes the connection.  One that does not read is not served either, and what waits
 *          for it is bounded.
 * Threads  One, that of the loop.
 * Errors   0 or -errno.  Never logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "fabric.h"

struct lst;
struct pvb_loop;

/* exists(arg, domid): is there such a domain?  (For XS_INTRODUCE.) */
int lst_new(struct lst **out, struct pvb_loop *loop, const struct pvb_store_quota *quota,
	    bool (*exists)(void *arg, uint32_t domid), void *arg);
void lst_free(struct lst *st); /* NULL is fine */

/* Serve a connected stream socket as this domain; takes fd over. */
int lst_accept(struct lst *st, int fd, uint32_t domid);

int lst_domain_introduce(struct lst *st, uint32_t domid);  /* -EEXIST: it is */
void lst_domain_shutdown(struct lst *st, uint32_t domid);  /* fires @releaseDomain: look what happened */
void lst_domain_gone(struct lst *st, uint32_t domid);      /* fires it too; all that was the domain's is gone */

void lst_stats(const struct lst *st, struct pvb_local_stats *stats); /* fills the store_ fields */
#endif
