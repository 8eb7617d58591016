/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An hv handle on the local fabric: opening, closing, restricting.  It holds one connection to the server
 * as long as it lives; the server undoes what the handle holds when that connection ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "hv-local.h"

#define PORTS_BYTES (LF_NR_PORTS * sizeof(struct lhv_port))
#define CALL_TIMEOUT_MS 10000 /* the server answers at once; this is for one that hangs */

int lhv_call_locked(struct lhv *l, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds)
{
	int rc = lf_call(l->sock, req, rep, fds, nr_fds, CALL_TIMEOUT_MS);

	/* an answer that comes later would be taken for that of the next request */
	if (rc == -ETIMEDOUT)
		shutdown(l->sock, SHUT_RDWR);
	return rc;
}

int lhv_call(struct lhv *l, const struct lf_request *req, struct lf_reply *rep, int *fds, unsigned nr_fds)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	rc = lhv_call_locked(l, req, rep, fds, nr_fds);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* "DIR[:DOMID]": *dir is malloc'ed. */
static int split(const char *arg, char **dir, uint32_t *domid, struct pvb_error *err)
{
	const char *colon = strrchr(arg, ':');
	size_t len = strlen(arg);
	unsigned long v = 0;

	*domid = 0;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
		v = strlen(colon + 1) > 5 ? LF_NR_DOMIDS : strtoul(colon + 1, NULL, 10);
		len = (size_t)(colon - arg);
	}
	if (len == 0)
		return pvb_err(err, -EINVAL, "bus \"local:%s\" names no directory", arg);
	if (v >= LF_NR_DOMIDS)
		return pvb_err(err, -EINVAL, "bus \"local:%s\": domain ids end at %u", arg, LF_NR_DOMIDS - 1);
	*dir = strndup(arg, len);
	if (!*dir)
		return pvb_err(err, -ENOMEM, "bus \"local:%s\": out of memory", arg);
	*domid = (uint32_t)v;
	return 0;
}

static const uint32_t *map_words(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int hello(struct lhv *l, const char *arg, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_HELLO, .a = LF_PROTO_VERSION };
	struct lf_reply rep;
	int fds[3], rc;

	rc = lhv_call(l, &req, &rep, fds, 3);
	if (rc < 0)
		return pvb_err(err, rc, "local fabric %s: %s", arg, rep.text[0] ? rep.text : strerror(-rc));
	l->hv->domid = rep.a;
	l->info = map_words(fds[0], LF_INFO_BYTES);
	l->links = map_words(fds[1], LF_LINK_BYTES);
	l->efd = fds[2];
	close(fds[0]);
	close(fds[1]);
	if (!l->info || !l->links || l->efd < 0)
		return pvb_err(err, -ENOMEM, "local fabric %s: can not map what the server gave", arg);
	return 0;
}

static void local_close(struct pvb_hv *hv)
{
	struct lf_request req = { .op = LF_BYE };
	struct lf_reply rep;
	struct lhv *l = lhv(hv);

	if (l->sock >= 0) {
		/* so that it is all undone when we return; if it fails, closing does the same a little later */
		if (l->info)
			lhv_call(l, &req, &rep, NULL, 0);
		close(l->sock);
	}
	lhv_event_close(l);
	lhv_grant_close(l);
	lhv_memory_close(l);
	for (unsigned i = 0; i < hv->nr_arenas; i++)
		munmap(l->arena[i].addr, l->arena[i].bytes);
	if (l->efd >= 0)
		close(l->efd);
	if (l->info)
		munmap((void *)(uintptr_t)l->info, LF_INFO_BYTES);
	if (l->links)
		munmap((void *)(uintptr_t)l->links, LF_LINK_BYTES);
	pthread_mutex_destroy(&l->lock);
	if (l->ports)
		munmap(l->ports, PORTS_BYTES);
	free(l);
	hv->priv = NULL;
}

static int local_open(struct pvb_hv *hv, const char *arg, unsigned flags, struct pvb_error *err)
{
	struct lhv *l = calloc(1, sizeof(*l));
	uint32_t domid;
	char *dir;
	int rc;

	if (!l)
		return pvb_err(err, -ENOMEM, "bus local:%s: out of memory", arg);
	l->hv = hv;
	l->sock = l->efd = -1;
	pthread_mutex_init(&l->lock, NULL);
	hv->priv = l;
	rc = split(arg, &dir, &domid, err);
	if (rc == 0) {
		l->sock = rc = lf_connect(dir, domid, err);
		free(dir);
	}
	if (rc >= 0)
		rc = hello(l, arg, err);
	if (rc == 0) {
		/* few are in use: the pages of the others are not there */
		l->ports = mmap(NULL, PORTS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (l->ports == MAP_FAILED)
			l->ports = NULL;
		if (!l->ports)
			rc = pvb_err(err, -ENOMEM, "bus local:%s: out of memory", arg);
	}
	if (rc == 0 && (flags & PVB_HV_FRONT)) {
		rc = lhv_mem_open(l, hv->domid, false, &l->own);
		if (rc < 0)
			pvb_err(err, rc, "bus local:%s: can not map the memory of domain %u: %s", arg, hv->domid,
				strerror(-rc));
	}
	if (rc < 0)
		local_close(hv);
	return rc;
}

/* All memory copies alike here. */
static int local_arena(struct pvb_hv *hv, size_t bytes, void **addr)
{
	struct lhv *l = lhv(hv);
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return -errno;
	l->arena[hv->nr_arenas].addr = *addr = mem;
	l->arena[hv->nr_arenas].bytes = bytes;
	return 0;
}

static int local_restrict(struct pvb_hv *hv, uint32_t domid)
{
	struct lf_request req = { .op = LF_RESTRICT, .a = domid == PVB_DOMID_SELF ? hv->domid : domid };
	struct lf_reply rep;
	int rc = lhv_call(lhv(hv), &req, &rep, NULL, 0);

	if (rc == 0)
		lhv_memory_restrict(lhv(hv), req.a);
	return rc;
}

const struct pvb_hv_ops pvb_hv_local = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.map = lhv_map,
	.unmap = lhv_unmap,
	.copy = lhv_copy,
	.arena = local_arena,
	.grant = lhv_grant,
	.ungrant = lhv_ungrant,
	.evt_fd = lhv_evt_fd,
	.evt_bind = lhv_evt_bind,
	.evt_alloc = lhv_evt_alloc,
	.evt_unbind = lhv_evt_unbind,
	.evt_notify = lhv_evt_notify,
	.evt_take = lhv_evt_take,
	.evt_unmask = lhv_evt_unmask,
	.restrict_to = local_restrict,
};
