/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ring.c: see ring.h. */
#include <errno.h>
#include <string.h>
#include "bus/ring.h"
#include "ring.h"

#define OUT_SIZE 2048u
#define IN_SIZE  1024u

_Static_assert(sizeof(((struct xencons_interface *)0)->out) == OUT_SIZE && sizeof(((struct xencons_interface *)0)->in) == IN_SIZE &&
	       offsetof(struct xencons_interface, in_cons) == OUT_SIZE + IN_SIZE, "the layout is the guest's, too");

/* What the guest has put out and not got back.  The acquire pairs with its release of out_prod: bytes before index. */
static int unread(const struct con_ring *r, struct pvb_error *err)
{
	uint32_t prod = pvb_ring_load_acquire(&r->page->out_prod);

	if (prod - r->out_cons > OUT_SIZE)
		return pvb_err(err, -EPROTO, "out_prod %u is %u bytes ahead of out_cons %u, of %u", prod, prod - r->out_cons,
			       r->out_cons, OUT_SIZE);
	return (int)(prod - r->out_cons);
}

static int room(const struct con_ring *r, struct pvb_error *err)
{
	uint32_t cons = pvb_ring_load_acquire(&r->page->in_cons);

	if (r->in_prod - cons > IN_SIZE)
		return pvb_err(err, -EPROTO, "in_cons %u is %u bytes behind in_prod %u, of %u", cons, r->in_prod - cons, r->in_prod,
			       IN_SIZE);
	return (int)(IN_SIZE - (r->in_prod - cons));
}

int con_ring_open(struct con_ring *r, struct xencons_interface *page, struct pvb_error *err)
{
	struct con_ring n = { .page = page };
	int rc;

	n.out_cons = pvb_ring_load(&page->out_cons);
	n.in_prod = pvb_ring_load(&page->in_prod);
	rc = unread(&n, err);
	if (rc >= 0)
		rc = room(&n, err);
	if (rc < 0)
		return rc;
	*r = n;
	return 0;
}

/* One look at one of the guest's indices, unless one has been a lie before. */
static int look(struct con_ring *r, int (*at)(const struct con_ring *r, struct pvb_error *err), struct pvb_error *err)
{
	int rc;

	if (r->dead)
		return pvb_err(err, r->dead, "the ring is dead");
	rc = at(r, err);
	if (rc < 0)
		r->dead = rc;
	return rc;
}

int con_ring_out(struct con_ring *r, void *buf, size_t len, struct pvb_error *err)
{
	uint32_t at = r->out_cons & (OUT_SIZE - 1), n, first;
	int rc = look(r, unread, err);

	if (rc <= 0)
		return rc;
	n = (uint32_t)rc < len ? (uint32_t)rc : (uint32_t)len;
	first = n < OUT_SIZE - at ? n : OUT_SIZE - at;
	memcpy(buf, r->page->out + at, first);
	memcpy((char *)buf + first, r->page->out, n - first);
	return (int)n;
}

void con_ring_done(struct con_ring *r, uint32_t len)
{
	r->out_cons += len;
	/* pairs with the guest's acquire of out_cons: bytes copied before their place is given back */
	pvb_ring_store_release(&r->page->out_cons, r->out_cons);
}

int con_ring_room(struct con_ring *r, struct pvb_error *err)
{
	return look(r, room, err);
}

int con_ring_in(struct con_ring *r, const void *buf, size_t len, struct pvb_error *err)
{
	uint32_t at = r->in_prod & (IN_SIZE - 1), n, first;
	int rc = con_ring_room(r, err);

	if (rc <= 0)
		return rc;
	n = (uint32_t)rc < len ? (uint32_t)rc : (uint32_t)len;
	first = n < IN_SIZE - at ? n : IN_SIZE - at;
	memcpy(r->page->in + at, buf, first);
	memcpy(r->page->in, (const char *)buf + first, n - first);
	r->in_prod += n;
	/* pairs with the guest's acquire of in_prod: bytes before index */
	pvb_ring_store_release(&r->page->in_prod, r->in_prod);
	return (int)n;
}
