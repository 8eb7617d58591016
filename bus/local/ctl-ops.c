/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The requests of control connections: who may ask for what, and what is answered. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "fabric-int.h"
#include "store.h"

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
		snprintf(rep->text, sizeof(rep->text),
			 "client speaks version %u of the fabric's protocol, the server %u",
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
	lf_handle_end(c, false);
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
		lf_answer_waiter(c);
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

/* ---- the table -------------------------------------------------------------------------------------- */

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

int lf_op(struct lf_client *c, const struct lf_request *req, struct lf_reply *rep, int *fds)
{
	if (req->op >= sizeof(ops) / sizeof(*ops) || !ops[req->op].fn)
		return -ENOSYS;
	if (ops[req->op].who == HANDLE && !c->handle)
		return -EINVAL;
	if (ops[req->op].who == TOOLSTACK && !privileged(c))
		return -EPERM;
	return ops[req->op].fn(c, req, rep, fds);
}
