/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control connections: who may ask what, and what is undone when a client goes away, however it went. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "fabric-int.h"
#include "store.h"

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

void lf_answer_waiter(struct lf_client *c)
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
			lf_answer_waiter(c);
}

/* ---- clients ---------------------------------------------------------------------------------------- */

void lf_handle_end(struct lf_client *c, bool crashed)
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

	lf_handle_end(c, true);
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

/* ---- dispatch --------------------------------------------------------------------------------------- */

static void request(struct lf_client *c, const struct lf_request *req)
{
	size_t len = LF_REPLY_MIN;
	struct lf_reply rep = { 0 };
	int fds[LF_MAX_FDS], rc;

	rc = lf_op(c, req, &rep, fds);
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
