/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels of one handle.  Sending is two atomic operations in memory shared with the receiver, and
 * a write to its eventfd only if it may sleep; receiving reads that memory; the server is asked when
 * ports come and go.
 *
 * Waking     A page's `woken` says that our eventfd was written for it since we last read it.  take() reads the
 *            eventfd only if it sees the flag; then clears the flags, then looks at the bits again:
 *              sender    pending, mask?, woken = 1 (was 0): write
 *              receiver  read, woken = 0, fence, pending again
 *            so a sender that found woken = 1 has its bit seen by the second look.
 * Hostile    A domain writes only pages of its own channels.  Slots without a port are skipped; masked ports
 *            stay masked as our own copy of the mask decides; an eventfd written for no reason is read
 *            after some rounds without work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "hv-local.h"

#define IDLE_TAKES 256 /* empty takes after which the eventfd is read without being asked to */

/* ---- event pages ------------------------------------------------------------------------------------ */

static struct lhv_page *page_get(struct lhv_page **list, uint32_t id, int fd, int efd)
{
	struct lhv_page *pg;
	void *mem;

	for (pg = *list; pg; pg = pg->next)
		if (pg->id == id)
			break;
	if (!pg) {
		pg = calloc(1, sizeof(*pg));
		mem = pg ? mmap(NULL, PVB_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
		if (mem == MAP_FAILED) {
			free(pg);
			pg = NULL;
		} else {
			pg->mem = mem;
			pg->id = id;
			pg->efd = efd;
			efd = -1;
			pg->next = *list;
			*list = pg;
		}
	}
	if (pg)
		pg->refs++;
	close(fd);
	if (efd >= 0)
		close(efd);
	return pg;
}

static void page_free(struct lhv_page *pg)
{
	munmap(pg->mem, PVB_PAGE_SIZE);
	if (pg->efd >= 0)
		close(pg->efd);
	free(pg);
}

static void page_put(struct lhv_page **list, struct lhv_page *pg)
{
	struct lhv_page **p;

	if (!pg || --pg->refs > 0)
		return;
	for (p = list; *p != pg; p = &(*p)->next)
		;
	*p = pg->next;
	page_free(pg);
}

void lhv_event_close(struct lhv *l)
{
	struct lhv_page *pg;

	while ((pg = l->receive)) {
		l->receive = pg->next;
		page_free(pg);
	}
	while ((pg = l->send)) {
		l->send = pg->next;
		page_free(pg);
	}
}

/* ---- ports ------------------------------------------------------------------------------------------ */

static int port_new(struct lhv *l, const struct lf_request *req)
{
	struct lf_request undo = { .op = LF_EVT_UNBIND };
	struct lhv_page *pg = NULL;
	struct lf_reply rep;
	struct lhv_port *p;
	int rc, fd;

	/* the lock also for our own tables: notify from another thread looks into them */
	pthread_mutex_lock(&l->lock);
	rc = lhv_call_locked(l, req, &rep, &fd, 1);
	if (rc < 0)
		goto out;
	rc = -EPROTO;
	if (fd < 0 || rep.a == 0 || rep.a >= LF_NR_PORTS || rep.b >= LF_NR_SLOTS || l->ports[rep.a].page) {
		if (fd >= 0)
			close(fd);
		goto out;
	}
	pg = page_get(&l->receive, rep.c, fd, -1);
	if (!pg) {
		undo.a = rep.a;
		lhv_call_locked(l, &undo, &rep, NULL, 0);
		rc = -ENOMEM;
		goto out;
	}
	p = &l->ports[rep.a];
	*p = (struct lhv_port){ .page = pg, .slot = (uint16_t)rep.b };
	pg->port[p->slot] = (uint16_t)rep.a;
	rc = (int)rep.a;
out:
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int lhv_evt_bind(struct pvb_hv *hv, uint32_t domid, uint32_t remote_port)
{
	struct lf_request req = { .op = LF_EVT_BIND, .a = domid == PVB_DOMID_SELF ? hv->domid : domid,
				  .b = remote_port };

	return port_new(lhv(hv), &req);
}

int lhv_evt_alloc(struct pvb_hv *hv, uint32_t domid)
{
	struct lf_request req = { .op = LF_EVT_ALLOC, .a = domid == PVB_DOMID_SELF ? hv->domid : domid };

	return port_new(lhv(hv), &req);
}

static void set_mask(struct lhv_page *pg, uint32_t slot, bool masked)
{
	uint64_t bit = 1ull << (slot % 64), *mine = &pg->masked[slot / 64];

	*mine = masked ? *mine | bit : *mine & ~bit;
	__atomic_store_n(&pg->mem->masked[slot / 64], *mine, __ATOMIC_SEQ_CST);
}

int lhv_evt_unbind(struct pvb_hv *hv, uint32_t port)
{
	struct lf_request req = { .op = LF_EVT_UNBIND, .a = port };
	struct lhv *l = lhv(hv);
	struct lf_reply rep;
	struct lhv_port *p;
	int rc = -EINVAL;

	if (port >= LF_NR_PORTS)
		return -EINVAL;
	pthread_mutex_lock(&l->lock);
	p = &l->ports[port];
	if (p->page) {
		/* ours is gone whatever the server says: it may be gone itself */
		lhv_call_locked(l, &req, &rep, NULL, 0);
		set_mask(p->page, p->slot, false);
		p->page->port[p->slot] = 0;
		page_put(&l->receive, p->page);
		page_put(&l->send, p->peer);
		*p = (struct lhv_port){ NULL };
		rc = 0;
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static void wake(int efd)
{
	uint64_t one = 1;

	/* a full counter is readable as well, so nothing is lost when this fails */
	if (write(efd, &one, sizeof(one)) < 0)
		return;
}

/* The peer is another one than we knew: ask for its event page.  With the lock. */
static int find_peer(struct lhv *l, uint32_t port, struct lhv_port *p)
{
	struct lf_request req = { .op = LF_EVT_PEER, .a = port };
	struct lf_reply rep;
	int fds[2], rc;

	page_put(&l->send, p->peer);
	p->peer = NULL;
	p->peer_generation = 0;
	rc = lhv_call_locked(l, &req, &rep, fds, 2);
	if (rc < 0)
		return -EBADF; /* the server is gone, and with it every port */
	if (rep.a == 0)
		return 0;
	if (fds[0] < 0 || fds[1] < 0 || rep.b >= LF_NR_SLOTS) {
		if (fds[0] >= 0)
			close(fds[0]);
		if (fds[1] >= 0)
			close(fds[1]);
		return -EPROTO;
	}
	p->peer = page_get(&l->send, rep.c, fds[0], fds[1]);
	if (!p->peer)
		return -ENOMEM;
	p->peer_slot = (uint16_t)rep.b;
	p->peer_generation = rep.a;
	return 0;
}

int lhv_evt_notify(struct pvb_hv *hv, uint32_t port)
{
	struct lhv *l = lhv(hv);
	struct lhv_port *p;
	uint32_t generation;
	int rc = 0;

	if (port >= LF_NR_PORTS)
		return -EINVAL;
	pthread_mutex_lock(&l->lock);
	p = &l->ports[port];
	if (!p->page) {
		rc = -EINVAL;
		goto out;
	}
	/* what the event is about comes before looking who the peer is: a peer that binds later is made
	 * pending by the server, and then sees it */
	pvb_ring_mb();
	generation = __atomic_load_n(&l->links[port], __ATOMIC_ACQUIRE);
	if (generation == 0)
		goto out; /* nobody there: dropped, as Xen does */
	if (generation != p->peer_generation)
		rc = find_peer(l, port, p);
	if (p->peer && lf_evt_raise(p->peer->mem, p->peer_slot))
		wake(p->peer->efd);
out:
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* ---- receiving -------------------------------------------------------------------------------------- */

int lhv_evt_fd(struct pvb_hv *hv)
{
	return lhv(hv)->efd;
}

/* Ports of one word into ports[]; how many. */
static unsigned take_word(struct lhv_page *pg, unsigned w, uint32_t *ports, unsigned max)
{
	uint64_t bits = __atomic_load_n(&pg->mem->pending[w], __ATOMIC_SEQ_CST) & ~pg->masked[w];
	unsigned n = 0, bit;

	for (; bits && n < max; bits &= bits - 1) {
		bit = (unsigned)__builtin_ctzll(bits);
		if (pg->port[w * 64 + bit])
			set_mask(pg, w * 64 + bit, true);
		/* masked before taken: who sets it again from here on need not wake us */
		__atomic_fetch_and(&pg->mem->pending[w], ~(1ull << bit), __ATOMIC_SEQ_CST);
		if (pg->port[w * 64 + bit])
			ports[n++] = pg->port[w * 64 + bit];
	}
	if (bits)
		__atomic_fetch_or(&pg->mem->summary, 1ull << w, __ATOMIC_SEQ_CST);
	return n;
}

static unsigned take_page(struct lhv_page *pg, uint32_t *ports, unsigned max)
{
	uint64_t words, turned;
	unsigned n = 0, w;

	if (!__atomic_load_n(&pg->mem->summary, __ATOMIC_RELAXED))
		return 0;
	words = __atomic_exchange_n(&pg->mem->summary, 0, __ATOMIC_SEQ_CST);
	/* begins after the word that was served last, so that low ports do not always win */
	while (words && n < max) {
		turned = words & ~0ull << pg->cursor;
		w = (unsigned)__builtin_ctzll(turned ? turned : words);
		words &= ~(1ull << w);
		n += take_word(pg, w, ports + n, max - n);
		pg->cursor = (w + 1) % 64;
	}
	if (words)
		__atomic_fetch_or(&pg->mem->summary, words, __ATOMIC_SEQ_CST);
	return n;
}

static unsigned take_all(struct lhv *l, uint32_t *ports, unsigned max)
{
	struct lhv_page *pg, **p;
	unsigned n = 0;

	for (pg = l->receive; pg && n < max; pg = pg->next)
		n += take_page(pg, ports + n, max - n);
	if (n == max && l->receive && l->receive->next) {
		/* the first goes to the end: the next call begins with another domain */
		pg = l->receive;
		l->receive = pg->next;
		for (p = &l->receive; *p; p = &(*p)->next)
			;
		pg->next = NULL;
		*p = pg;
	}
	return n;
}

static bool woken(const struct lhv *l)
{
	const struct lhv_page *pg;

	for (pg = l->receive; pg; pg = pg->next)
		if (__atomic_load_n(&pg->mem->woken, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* Never blocks, whatever a peer may have done to the flags of the open file it shares with us. */
static bool read_eventfd(int efd)
{
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };

	ssize_t r = preadv2(efd, &iov, 1, -1, RWF_NOWAIT);

	if (r < 0 && errno == EOPNOTSUPP) /* Linux before 5.8 */
		r = read(efd, &count, sizeof(count));
	return r == sizeof(count);
}

int lhv_evt_take(struct pvb_hv *hv, uint32_t *ports, unsigned max)
{
	struct lhv *l = lhv(hv);
	struct lhv_page *pg;
	unsigned n;

	n = take_all(l, ports, max);
	if (n == max)
		return (int)n;
	if (!woken(l)) {
		l->idle_takes = n ? 0 : l->idle_takes + 1;
		if (l->idle_takes % IDLE_TAKES == IDLE_TAKES - 1)
			read_eventfd(l->efd);
		return (int)n;
	}
	l->idle_takes = 0;
	/* nothing to read: the sender is about to write, and then we are called again */
	if (!read_eventfd(l->efd))
		return (int)n;
	/* all of them, also of a sender that is about to write: its bit is seen by the second look */
	for (pg = l->receive; pg; pg = pg->next)
		__atomic_store_n(&pg->mem->woken, 0, __ATOMIC_SEQ_CST);
	return (int)(n + take_all(l, ports + n, max - n));
}

int lhv_evt_unmask(struct pvb_hv *hv, const uint32_t *ports, unsigned nr)
{
	struct lhv *l = lhv(hv);
	bool again = false;
	struct lhv_port *p;
	unsigned i;

	for (i = 0; i < nr; i++)
		if (ports[i] < LF_NR_PORTS && l->ports[ports[i]].page)
			set_mask(l->ports[ports[i]].page, l->ports[ports[i]].slot, false);
	for (i = 0; i < nr; i++) {
		if (ports[i] >= LF_NR_PORTS || !l->ports[ports[i]].page)
			continue;
		p = &l->ports[ports[i]];
		/* pairs with lf_evt_raise(): unmasked before looking, pending before the mask there */
		if (!(__atomic_load_n(&p->page->mem->pending[p->slot / 64], __ATOMIC_SEQ_CST) & 1ull << (p->slot % 64)))
			continue;
		__atomic_fetch_or(&p->page->mem->summary, 1ull << (p->slot / 64), __ATOMIC_SEQ_CST);
		again |= __atomic_exchange_n(&p->page->mem->woken, 1, __ATOMIC_SEQ_CST) == 0;
	}
	if (again)
		wake(l->efd);
	return 0;
}
