/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control connections: who may ask what, and what is undone when a client goes away, however it went. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "fabric-int.h"
#include "store.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#define CLIENTS_MAX 64 /* control connections of one domain other than 0 */

/* ---- replies ---------------------------------------------------------------------------------------- */

/* A client that does not read its replies does not follow the protocol: it has one request at a time. */
static void answer(struct lf_client *c, const struct lf_reply *rep, size_t len, const int *fds, unsigned nr_fds)
{
	union { char buf[CMSG_SPACE(LF_MAX_FDS * sizeof(int))]; struct cmsghdr align; } ctl = { { 0 } };
	struct iovec iov = { (void *)(uintptr_t)rep, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;
	ssize_t r;

	if (nr_fds) {
		msg.msg_control = ctl.buf;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, nr_fds * sizeof(int));
	}
	while ((r = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	if (r < 0)
		c->dead = true;
}

static void answer_waiter(struct lf_client *c)
{
	struct lf_domain *dom = lf_domain(c->fabric, c->wait_domid);
	struct lf_reply rep = { .a = 1 };

	if (dom) {
		lf_domain_info(dom, &rep.list[0]);
	} else {
		rep.list[0].domid = c->wait_domid;
		rep.list[0].state = PVB_LOCAL_GONE;
	}
	c->wait_domid = LF_NR_DOMIDS;
	answer(c, &rep, LF_REPLY_MIN + sizeof(rep.list[0]), NULL, 0);
}

void lf_ctl_tell_waiters(struct lf_fabric *f, uint32_t domid)
{
	struct lf_client *c;

	for (c = f->clients; c; c = c->next)
		if (c->wait_domid == domid && domid != LF_NR_DOMIDS)
			answer_waiter(c);
}

/* ---- clients ---------------------------------------------------------------------------------------- */

/* Undo what an hv handle holds. */
static void end_handle(struct lf_client *c, bool crashed)
{
	if (!c->handle)
		return;
	c->handle = false;
	c->fabric->nr_handles--;
	c->dom->nr_handles--;
	lf_ports_close_all(c, crashed);
	lf_pages_drop_all(c);
	lf_columns_put_all(c);
	munmap(c->links, LF_LINK_BYTES);
	close(c->link_fd);
	close(c->efd);
}

static void end_owner(struct lf_fabric *f, struct lf_domain *dom)
{
	dom->owner = NULL;
	if (dom->destroy_with_owner)
		lf_domain_destroy(f, dom->domid);
	else
		lf_domain_shutdown(dom, PVB_LOCAL_CRASH);
}

void lf_client_free(struct lf_client *c)
{
	struct lf_fabric *f = c->fabric;
	struct lf_domain *owned = c->owns;

	end_handle(c, true);
	pvb_source_free(&c->src);
	close(c->fd);
	c->dom->nr_clients--;
	if (c->prev)
		c->prev->next = c->next;
	else
		f->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	if (owned)
		end_owner(f, owned);
}

void lf_ctl_domain_gone(struct lf_domain *dom)
{
	struct lf_fabric *f = dom->fabric;
	struct lf_client *c, *next;

	if (dom->owner) {
		dom->owner->owns = NULL;
		dom->owner = NULL;
	}
	for (c = f->clients; c; c = next) {
		next = c->next;
		if (c->dom == dom)
			lf_client_free(c);
	}
}

/* ---- requests of a handle --------------------------------------------------------------------------- */

static bool privileged(const struct lf_client *c)
{
	return c->dom->domid == 0 && c->restricted == LF_NR_DOMIDS;
}

/* May this client have to do with that domain at all? */
static bool may_touch(const struct lf_client *c, uint32_t domid)
{
	return c->restricted == LF_NR_DOMIDS || c->restricted == domid || c->dom->domid == domid;
}

static int say(struct lf_reply *rep, int rc, const char *text)
{
	snprintf(rep->text, sizeof(rep->text), "%s", text);
	return rc;
}

static int op_hello(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_fabric *f = c->fabric;

	if (req->a != LF_PROTO_VERSION) {
		snprintf(rep->text, sizeof(rep->text), "client speaks version %u of the fabric's protocol, the server %u",
			 req->a, LF_PROTO_VERSION);
		return -EPROTO;
	}
	if (c->handle)
		return say(rep, -EINVAL, "a second HELLO");
	c->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->efd < 0)
		return -errno;
	c->link_fd = lf_memfd("pvbus-links", LF_LINK_BYTES, LF_LINK_BYTES, &c->links, F_SEAL_FUTURE_WRITE);
	if (c->link_fd < 0) {
		close(c->efd);
		return c->link_fd;
	}
	c->handle = true;
	f->nr_handles++;
	c->dom->nr_handles++;
	rep->a = c->dom->domid;
	fds[0] = f->info_fd;
	fds[1] = c->link_fd;
	fds[2] = c->efd;
	return 3;
}

static int op_bye(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	end_handle(c, false);
	return 0;
}

static int op_getmem(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_domain *of = lf_domain(c->fabric, req->a);
	int rc;

	if (c->dom->domid != req->a && (c->dom->domid != 0 || !may_touch(c, req->a)))
		return -EACCES;
	if (!of)
		return -ESRCH;
	if (req->b) {
		rc = lf_column_get(c, of, &rep->b);
		if (rc < 0)
			return rc;
	}
	rep->a = of->layout.pages;
	rep->c = of->generation;
	fds[0] = of->memfd;
	return 1;
}

static int op_putmem(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_domain *of = lf_domain(c->fabric, req->a);

	if (!of)
		return -ESRCH;
	lf_column_put(c, of);
	return 0;
}

static int op_reserve(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	return lf_pages_reserve(c, req->a, &rep->a);
}

static int op_return(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	return lf_pages_return(c, req->a, req->b, &rep->a);
}

static int port_reply(const struct lf_port *p, struct lf_reply *rep, int *fds)
{
	rep->a = p->number;
	rep->b = p->slot;
	rep->c = p->page->id;
	fds[0] = p->page->fd;
	return 1;
}

static int op_evt_alloc(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_port *p;
	int rc;

	if (!may_touch(c, req->a))
		return -EACCES;
	rc = lf_port_alloc(c, req->a, &p);
	return rc < 0 ? rc : port_reply(p, rep, fds);
}

static int op_evt_bind(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_port *p;
	int rc;

	if (!may_touch(c, req->a))
		return -EACCES;
	rc = lf_port_bind(c, req->a, req->b, &p);
	return rc < 0 ? rc : port_reply(p, rep, fds);
}

static int op_evt_unbind(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_port *p = lf_port_find(c, req->a);

	if (!p)
		return -EINVAL;
	lf_port_close(p);
	return 0;
}

static int op_evt_peer(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_port *p = lf_port_find(c, req->a);

	if (!p)
		return -EINVAL;
	if (!p->peer)
		return 0;
	port_reply(p->peer, rep, fds);
	rep->a = p->generation;
	fds[1] = p->peer->client->efd;
	return 2;
}

static int op_restrict(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	if (!may_touch(c, req->a))
		return -EACCES;
	c->restricted = req->a;
	return 0;
}

/* ---- requests of a toolstack ------------------------------------------------------------------------ */

static int op_dom_create(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct pvb_local_new spec = { .pages = req->a, .domid = req->b, .uid = req->c, .gid = req->d };
	char name[sizeof(req->name) + 1] = { 0 };
	struct pvb_error err = { 0 };
	int rc;

	memcpy(name, req->name, sizeof(req->name));
	spec.name = name;
	rc = lf_domain_new(c->fabric, &spec, &rep->a, &err);
	return rc < 0 ? say(rep, rc, err.text) : 0;
}

static int op_dom_destroy(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	return lf_domain_destroy(c->fabric, req->a);
}

static int op_dom_list(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	uint32_t domid;

	for (domid = req->a ? req->a : 1; domid < LF_NR_DOMIDS && rep->a < LF_LIST_MAX; domid++)
		if (c->fabric->domains[domid])
			lf_domain_info(c->fabric->domains[domid], &rep->list[rep->a++]);
	return 0;
}

static int op_dom_wait(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_domain *dom = lf_domain(c->fabric, req->a);

	if (!dom || req->a == 0)
		return -ESRCH;
	c->wait_domid = req->a;
	if (dom->state != PVB_LOCAL_RUNNING)
		answer_waiter(c);
	return 0;
}

static int op_dom_shutdown(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_domain *dom = lf_domain(c->fabric, req->a);

	if (!privileged(c) && c->dom != dom)
		return -EPERM;
	return dom ? lf_domain_shutdown(dom, (enum pvb_local_reason)req->b) : -ESRCH;
}

static int op_dom_own(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_domain *dom = lf_domain(c->fabric, req->a);

	if (!dom || req->a == 0)
		return -ESRCH;
	if (dom->owner || c->owns)
		return -EBUSY;
	dom->owner = c;
	dom->destroy_with_owner = req->b != 0;
	c->owns = dom;
	return 0;
}

static int op_stats(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	struct lf_fabric *f = c->fabric;
	struct pvb_local_stats *st = &rep->stats;
	uint32_t domid;

	lst_stats(f->store, st);
	st->domains = f->nr_domains;
	st->handles = f->nr_handles;
	for (domid = 0; domid < LF_NR_DOMIDS; domid++) {
		if (!f->domains[domid])
			continue;
		lf_pages_reap(f->domains[domid]);
		st->ports += f->domains[domid]->nr_ports;
		st->pages += f->domains[domid]->nr_reserved;
		st->stuck += f->domains[domid]->nr_stuck;
	}
	return 0;
}

/* ---- dispatch --------------------------------------------------------------------------------------- */

enum { ANYBODY, HANDLE, TOOLSTACK };
static const struct {
	int who;
	int (*fn)(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds);
} ops[] = {
	[LF_HELLO] = { ANYBODY, op_hello },
	[LF_BYE] = { HANDLE, op_bye },
	[LF_GETMEM] = { HANDLE, op_getmem },
	[LF_PUTMEM] = { HANDLE, op_putmem },
	[LF_RESERVE] = { HANDLE, op_reserve },
	[LF_RETURN] = { HANDLE, op_return },
	[LF_EVT_ALLOC] = { HANDLE, op_evt_alloc },
	[LF_EVT_BIND] = { HANDLE, op_evt_bind },
	[LF_EVT_UNBIND] = { HANDLE, op_evt_unbind },
	[LF_EVT_PEER] = { HANDLE, op_evt_peer },
	[LF_RESTRICT] = { HANDLE, op_restrict },
	[LF_DOM_CREATE] = { TOOLSTACK, op_dom_create },
	[LF_DOM_DESTROY] = { TOOLSTACK, op_dom_destroy },
	[LF_DOM_LIST] = { TOOLSTACK, op_dom_list },
	[LF_DOM_WAIT] = { TOOLSTACK, op_dom_wait },
	[LF_DOM_SHUTDOWN] = { ANYBODY, op_dom_shutdown },
	[LF_DOM_OWN] = { TOOLSTACK, op_dom_own },
	[LF_STATS] = { TOOLSTACK, op_stats },
};

static void request(struct lf_client *c, const struct lf_request *req)
{
	size_t len = LF_REPLY_MIN;
	struct lf_reply rep = { 0 };
	int fds[LF_MAX_FDS], rc;

	if (req->op >= sizeof(ops) / sizeof(*ops) || !ops[req->op].fn)
		rc = -ENOSYS;
	else if (ops[req->op].who == HANDLE && !c->handle)
		rc = -EINVAL;
	else if (ops[req->op].who == TOOLSTACK && !privileged(c))
		rc = -EPERM;
	else
		rc = ops[req->op].fn(c, req, &rep, fds);
	if (rc >= 0 && req->op == LF_DOM_WAIT)
		return; /* answered when it happens, or already */
	if (rc >= 0 && req->op == LF_DOM_LIST)
		len += rep.a * sizeof(rep.list[0]);
	if (rc >= 0 && req->op == LF_STATS)
		len = offsetof(struct lf_reply, stats) + sizeof(rep.stats);
	rep.status = rc < 0 ? rc : 0;
	answer(c, &rep, len, fds, rc > 0 ? (unsigned)rc : 0);
}

static void readable(void *arg, uint32_t events)
{
	struct lf_client *c = arg;
	struct lf_request req;
	ssize_t r;

	/* no control buffer: descriptors a client sends are dropped by the kernel */
	r = recv(c->fd, &req, sizeof(req), MSG_DONTWAIT | MSG_TRUNC);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r == sizeof(req) && c->wait_domid == LF_NR_DOMIDS)
		request(c, &req);
	else
		c->dead = true; /* end of file, a message of another size, or talking while waiting */
	if (c->dead)
		lf_client_free(c);
}

static void listen_all(struct lf_fabric *f, uint32_t events)
{
	uint32_t domid;

	for (domid = 0; domid < LF_NR_DOMIDS; domid++)
		if (f->domains[domid]) {
			pvb_source_events(f->domains[domid]->ctl_src, events);
			pvb_source_events(f->domains[domid]->store_src, events);
		}
}

static void listen_again(void *arg)
{
	struct lf_fabric *f = arg;

	f->deaf = NULL;
	listen_all(f, EPOLLIN);
}

/* A connection, or -1.  With no descriptor left the socket stays readable: without a pause we would spin. */
static int accept_one(struct lf_fabric *f, int sock)
{
	int fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) && !f->deaf &&
	    pvb_loop_timer(f->loop, 100, listen_again, f, &f->deaf) == 0)
		listen_all(f, 0);
	return fd;
}

static void accept_client(void *arg, uint32_t events)
{
	struct lf_domain *dom = arg;
	struct lf_fabric *f = dom->fabric;
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	struct lf_client *c;
	int fd;

	fd = accept_one(f, dom->ctl_fd);
	if (fd < 0)
		return;
	c = dom->domid != 0 && dom->nr_clients >= CLIENTS_MAX ? NULL : calloc(1, sizeof(*c));
	if (!c || pvb_loop_fd(f->loop, fd, EPOLLIN, readable, c, &c->src) < 0) {
		free(c);
		close(fd);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		c->pid = cred.pid;
	c->fd = fd;
	c->fabric = f;
	c->dom = dom;
	c->restricted = c->wait_domid = LF_NR_DOMIDS;
	dom->nr_clients++;
	c->next = f->clients;
	if (c->next)
		c->next->prev = c;
	f->clients = c;
}

static void accept_store(void *arg, uint32_t events)
{
	struct lf_domain *dom = arg;
	int fd = accept_one(dom->fabric, dom->store_fd);

	if (fd >= 0)
		lst_accept(dom->fabric->store, fd, dom->domid);
}

static int listen_on(const struct lf_domain *dom, const char *what, int type, struct pvb_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, rc;

	rc = lf_socket_path(dom->fabric->dir, dom->domid, what, sa.sun_path, sizeof(sa.sun_path));
	if (rc < 0)
		return pvb_err(err, rc, "domain %u: the path of its socket in %s is longer than %zu bytes", dom->domid,
			       dom->fabric->dir, sizeof(sa.sun_path) - 1);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return pvb_err(err, -errno, "%s: socket: %s", sa.sun_path, strerror(errno));
	unlink(sa.sun_path);
	/* The mode goes on the socket before there is anything to connect to. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(sa.sun_path, 0600) < 0 ||
	    ((dom->uid || dom->gid) && chown(sa.sun_path, dom->uid, dom->gid) < 0) || listen(fd, 128) < 0) {
		rc = pvb_err(err, -errno, "can not listen on %s: %s", sa.sun_path, strerror(errno));
		close(fd);
		return rc;
	}
	return fd;
}

int lf_ctl_listen(struct lf_domain *dom, struct pvb_error *err)
{
	struct pvb_loop *loop = dom->fabric->loop;
	int rc;

	dom->ctl_fd = rc = listen_on(dom, "ctl", SOCK_SEQPACKET, err);
	if (rc < 0)
		return rc;
	dom->store_fd = rc = listen_on(dom, "store", SOCK_STREAM, err);
	if (rc < 0)
		return rc;
	rc = pvb_loop_fd(loop, dom->ctl_fd, EPOLLIN, accept_client, dom, &dom->ctl_src);
	if (rc == 0)
		rc = pvb_loop_fd(loop, dom->store_fd, EPOLLIN, accept_store, dom, &dom->store_src);
	return rc < 0 ? pvb_err(err, rc, "domain %u: can not watch its sockets: %s", dom->domid, strerror(-rc)) : 0;
}
