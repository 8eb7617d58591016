/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels as the server sees them: who may bind what, and which memory the two ends share.  Sending
 * happens without it.
 *
 * A channel whose one end is closed leaves the other end unbound, reserved for the same domain, as in Xen:
 * a back end that died and came back binds the same port again, and is made pending, so no kick is lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fabric-int.h"

static void set_link(const struct lf_port *p, uint32_t generation)
{
	__atomic_store_n(&p->client->links[p->number], generation, __ATOMIC_SEQ_CST);
}

static void wake(const struct lf_client *c)
{
	uint64_t one = 1;

	if (write(c->efd, &one, sizeof(one)) < 0)
		return; /* full, so readable already */
}

/* ---- event pages ------------------------------------------------------------------------------------ */

static struct lf_page *page_get(struct lf_client *c, uint32_t peer_domid)
{
	struct lf_page *pg;

	for (pg = c->pages; pg; pg = pg->next)
		if (pg->peer_domid == peer_domid && pg->nr_ports < LF_NR_SLOTS)
			return pg;
	pg = calloc(1, sizeof(*pg));
	if (!pg)
		return NULL;
	pg->fd = lf_memfd("pvbus-events", PVB_PAGE_SIZE, PVB_PAGE_SIZE, &pg->mem, 0);
	if (pg->fd < 0) {
		free(pg);
		return NULL;
	}
	pg->client = c;
	pg->peer_domid = peer_domid;
	pg->id = c->fabric->next_page_id++;
	pg->next = c->pages;
	c->pages = pg;
	return pg;
}

static void page_put(struct lf_page *pg)
{
	struct lf_page **p;

	if (pg->nr_ports > 0)
		return;
	for (p = &pg->client->pages; *p != pg; p = &(*p)->next)
		;
	*p = pg->next;
	munmap(pg->mem, PVB_PAGE_SIZE);
	close(pg->fd);
	free(pg);
}

static void slot_get(struct lf_page *pg, struct lf_port *p)
{
	unsigned w = 0, bit;

	while (pg->used[w] == ~0ull)
		w++;
	bit = (unsigned)__builtin_ctzll(~pg->used[w]);
	pg->used[w] |= 1ull << bit;
	pg->nr_ports++;
	p->page = pg;
	p->slot = w * 64 + bit;
	__atomic_fetch_and(&pg->mem->pending[w], ~(1ull << bit), __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&pg->mem->masked[w], ~(1ull << bit), __ATOMIC_SEQ_CST);
}

/* ---- ports ------------------------------------------------------------------------------------------ */

static int port_new(struct lf_client *c, uint32_t remote_domid, struct lf_port **out)
{
	struct lf_domain *dom = c->dom;
	struct lf_page *pg;
	struct lf_port *p;
	uint32_t n;

	if (dom->nr_ports == LF_NR_PORTS - 1)
		return -ENOSPC;
	for (n = 1; dom->ports[n]; n++)
		;
	p = calloc(1, sizeof(*p));
	pg = p ? page_get(c, remote_domid) : NULL;
	if (!pg) {
		free(p);
		return -ENOMEM;
	}
	slot_get(pg, p);
	p->dom = dom;
	p->client = c;
	p->number = n;
	p->remote_domid = remote_domid;
	p->next = c->ports;
	c->ports = p;
	dom->ports[n] = p;
	dom->nr_ports++;
	set_link(p, 0);
	*out = p;
	return 0;
}

int lf_port_alloc(struct lf_client *c, uint32_t remote_domid, struct lf_port **out)
{
	if (!lf_domain(c->fabric, remote_domid))
		return -ESRCH;
	return port_new(c, remote_domid, out);
}

int lf_port_bind(struct lf_client *c, uint32_t remote_domid, uint32_t remote_port, struct lf_port **out)
{
	struct lf_domain *remote = lf_domain(c->fabric, remote_domid);
	struct lf_port *peer, *p;
	int rc;

	if (!remote)
		return -ESRCH;
	peer = remote_port < LF_NR_PORTS ? remote->ports[remote_port] : NULL;
	if (!peer || peer->peer || peer->remote_domid != c->dom->domid)
		return -EINVAL;
	rc = port_new(c, remote_domid, &p);
	if (rc < 0)
		return rc;
	p->peer = peer;
	peer->peer = p;
	p->generation = ++c->fabric->next_generation ? c->fabric->next_generation : ++c->fabric->next_generation;
	peer->generation = p->generation;
	set_link(p, p->generation);
	set_link(peer, p->generation);
	/* after the links: a kick dropped before is covered by this one */
	if (lf_evt_raise(p->page->mem, p->slot))
		wake(c);
	*out = p;
	return 0;
}

struct lf_port *lf_port_find(const struct lf_client *c, uint32_t number)
{
	struct lf_port *p = number < LF_NR_PORTS ? c->dom->ports[number] : NULL;

	return p && p->client == c ? p : NULL;
}

void lf_port_close(struct lf_port *p)
{
	struct lf_port **q;

	if (p->peer) {
		p->peer->peer = NULL;
		p->peer->generation = 0;
		set_link(p->peer, 0);
	}
	set_link(p, 0);
	p->dom->ports[p->number] = NULL;
	p->dom->nr_ports--;
	for (q = &p->client->ports; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	p->page->used[p->slot / 64] &= ~(1ull << (p->slot % 64));
	p->page->nr_ports--;
	page_put(p->page);
	free(p);
}

void lf_ports_close_all(struct lf_client *c, bool crashed)
{
	struct lf_port *p;

	/* It may have died between claiming a wake-up and carrying it out: do so in its place. */
	for (p = c->ports; crashed && p; p = p->next)
		if (p->peer) {
			__atomic_store_n(&p->peer->page->mem->woken, 1, __ATOMIC_SEQ_CST);
			wake(p->peer->client);
		}
	while (c->ports)
		lf_port_close(c->ports);
}

void lf_ports_forget_domid(struct lf_fabric *f, uint32_t domid)
{
	struct lf_client *c;
	struct lf_port *p;

	for (c = f->clients; c; c = c->next)
		for (p = c->ports; p; p = p->next)
			if (p->remote_domid == domid)
				p->remote_domid = LF_NR_DOMIDS;
}
