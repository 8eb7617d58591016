/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker-net.c: a worker's NICs.  What their guests say is net/'s business. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "net/netif.h"
#include "target.h"
#include "worker-net.h"

struct wnic {
	struct wnet *w;
	struct wnic *next;
	uint32_t domid, devid;
	struct nif *nif;
	struct nif_stats *stats;
	void *journal;
	size_t journal_bytes;
};

struct wnet {
	struct nif_ctx *ctx;
	struct wnic *nics;
	void (*say)(void *arg, struct ipc_msg *m);
	void *arg;
};

static void tell(struct wnet *w, enum ipc_type type, uint32_t domid, uint32_t devid, int rc, uint64_t num, const char *text)
{
	struct ipc_msg m = { .type = type, .class = IPC_VIF, .domid = domid, .devid = devid, .rc = rc, .num = num };

	snprintf(m.u.text, sizeof(m.u.text), "%s", text ? text : "");
	w->say(w->arg, &m);
}

static void tell_of(struct wnic *n, enum ipc_type type, int rc, uint64_t num, const char *text)
{
	tell(n->w, type, n->domid, n->devid, rc, num, text);
}

static void on_broken(void *arg, struct nif *nif, const char *why)
{
	tell_of(nif_owner(nif), IPC_BROKEN, -EPROTO, 0, why);
}

static void on_refused(void *arg, struct nif *nif, const char *why, uint64_t more)
{
	tell_of(nif_owner(nif), IPC_REFUSED, 0, more, why);
}

static void on_stalled(void *arg, struct nif *nif, bool stalled)
{
	tell_of(nif_owner(nif), IPC_STALLED, 0, stalled, NULL);
}

int wnet_new(struct wnet **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop, size_t memory,
	     void (*say)(void *arg, struct ipc_msg *m), void *arg)
{
	static const struct nif_callbacks cb = { on_broken, on_refused, on_stalled };
	struct wnet *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->say = say;
	w->arg = arg;
	rc = nif_ctx_new(&w->ctx, hv, events, loop, memory, &cb, w);
	if (rc < 0)
		free(w);
	else
		*out = w;
	return rc;
}

static void drop_journal(struct wnic *n)
{
	if (n->journal)
		munmap(n->journal, n->journal_bytes);
	n->journal = NULL;
}

static void free_nic(struct wnic *n)
{
	struct wnic **at;

	for (at = &n->w->nics; *at != n; at = &(*at)->next)
		;
	*at = n->next;
	nif_free(n->nif);
	drop_journal(n);
	if (n->stats)
		munmap(n->stats, sizeof(*n->stats));
	free(n);
}

void wnet_free(struct wnet *w)
{
	if (!w)
		return;
	while (w->nics)
		free_nic(w->nics);
	nif_ctx_free(w->ctx);
	free(w);
}

void wnet_run(struct wnet *w)
{
	if (w->nics)
		nif_run(w->ctx);
}

void wnet_poll(struct wnet *w, struct poll *poll)
{
	nif_ctx_poll(w->ctx, poll);
}

/* ---- what the supervisor asks ----------------------------------------------------------------------- */

static struct wnic *find(struct wnet *w, const struct ipc_msg *m)
{
	struct wnic *n = w->nics;

	while (n && (n->domid != m->domid || n->devid != m->devid))
		n = n->next;
	return n;
}

/* Takes over the descriptors. */
static int open_nic(struct wnic *n, struct ipc_msg *m, int *fds, unsigned nr_fds, struct pvb_error *err)
{
	struct port_nic nic = { .domid = m->domid, .devid = m->devid, .ifname = m->u.attach_nic.ifname,
				.mtu = m->u.attach_nic.cfg.mtu, .queues = m->u.attach_nic.queues };
	struct target *t = NULL;
	struct port *port;
	int rc;

	memcpy(nic.mac, m->u.attach_nic.cfg.mac, sizeof(nic.mac));
	n->stats = ipc_map(fds[0], sizeof(*n->stats));
	close(fds[0]);
	if (!n->stats) {
		rc = pvb_err(err, -errno, "statistics: %s", strerror(errno));
	} else {
		rc = port_parse(m->u.attach_nic.target, &t, err);
	}
	if (rc < 0) {
		ipc_close_fds(fds + 1, nr_fds - 1);
		return rc;
	}
	rc = port_open(t, &nic, fds + 1, nr_fds - 1, n->w->ctx, &port, err);
	target_free(t);
	if (rc < 0)
		return rc;
	rc = nif_new(&n->nif, n->w->ctx, &m->u.attach_nic.cfg, port, n->stats, n);
	if (rc < 0) {
		port_close(port);
		return pvb_err(err, rc, "NIC: %s", strerror(-rc));
	}
	return 0;
}

static void attach(struct wnet *w, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	struct pvb_error err = { 0 };
	struct wnic *n = NULL;
	int rc = -EINVAL;

	m->u.attach_nic.target[IPC_TARGET_MAX - 1] = 0;
	m->u.attach_nic.ifname[sizeof(m->u.attach_nic.ifname) - 1] = 0;
	if (nr_fds < 1 || m->nr_fds != nr_fds - 1 || find(w, m)) {
		ipc_close_fds(fds, nr_fds);
		tell(w, IPC_ATTACHED, m->domid, m->devid, rc, 0, "malformed attach message");
		return;
	}
	n = calloc(1, sizeof(*n));
	if (!n) {
		ipc_close_fds(fds, nr_fds);
		tell(w, IPC_ATTACHED, m->domid, m->devid, -ENOMEM, 0, "out of memory");
		return;
	}
	n->w = w;
	n->domid = m->domid;
	n->devid = m->devid;
	n->next = w->nics;
	w->nics = n;
	rc = open_nic(n, m, fds, nr_fds, &err);
	tell_of(n, IPC_ATTACHED, rc, 0, err.text);
	if (rc < 0)
		free_nic(n);
}

static void connect_rings(struct wnic *n, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	const struct nif_connect *c = &m->u.connect.nif;
	void *journals[NIF_MAX_QUEUES];
	struct pvb_error err = { 0 };
	size_t each = nif_journal_bytes();
	int rc = 0;

	if (nr_fds != 1 || !n->nif || nif_connected(n->nif) || c->nr_queues < 1 || c->nr_queues > NIF_MAX_QUEUES) {
		tell_of(n, IPC_CONNECTED, -EINVAL, 0, "malformed connect message");
		return;
	}
	drop_journal(n); /* of the rings before */
	n->journal_bytes = each * c->nr_queues;
	n->journal = ipc_map(fds[0], n->journal_bytes);
	if (!n->journal) {
		rc = pvb_err(&err, -errno, "journal of %zu bytes: %s", n->journal_bytes, strerror(errno));
	} else {
		for (unsigned i = 0; i < c->nr_queues; i++)
			journals[i] = (uint8_t *)n->journal + i * each;
		rc = nif_connect(n->nif, c, journals, &err);
	}
	if (rc < 0)
		drop_journal(n);
	tell_of(n, IPC_CONNECTED, rc, 0, err.text);
}

static void handle_known(struct wnic *n, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	switch (m->type) {
	case IPC_CONNECT:
		connect_rings(n, m, fds, nr_fds);
		break;
	case IPC_DISCONNECT:
		nif_disconnect(n->nif);
		drop_journal(n);
		tell_of(n, IPC_DISCONNECTED, 0, 0, NULL);
		break;
	case IPC_DETACH:
		free_nic(n);
		break;
	case IPC_NIC:
		nif_set_rate(n->nif, &m->u.nic.tx, &m->u.nic.rx);
		nif_set_multicast_control(n->nif, m->u.nic.multicast != 0);
		break;
	}
}

void wnet_handle(struct wnet *w, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	struct wnic *n;

	if (m->type == IPC_ATTACH) {
		attach(w, m, fds, nr_fds);
		return; /* the fds are taken over */
	}
	n = find(w, m);
	if (n)
		handle_known(n, m, fds, nr_fds);
	else if (m->type == IPC_CONNECT)
		tell(w, IPC_CONNECTED, m->domid, m->devid, -ENODEV, 0, "no such NIC");
	else if (m->type == IPC_DISCONNECT)
		tell(w, IPC_DISCONNECTED, m->domid, m->devid, 0, 0, NULL);
	ipc_close_fds(fds, nr_fds);
}
