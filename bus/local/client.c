/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What toolstacks ask the fabric's server for: one connection, one question. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "proto.h"

#define TIMEOUT_MS 10000

/* Ask and keep the connection; -errno has err filled. */
static int ask_on(int *sock, const char *dir, uint32_t as_domid, const struct lf_request *req, struct lf_reply *rep,
		  int timeout_ms, struct pvb_error *err)
{
	int rc;

	*sock = rc = lf_connect(dir, as_domid, err);
	if (rc < 0)
		return rc;
	rep->text[0] = '\0';
	rc = lf_call(*sock, req, rep, NULL, 0, timeout_ms);
	if (rc < 0) {
		close(*sock);
		*sock = -1;
		return pvb_err(err, rc, "local fabric %s: %s", dir, rep->text[0] ? rep->text : strerror(-rc));
	}
	return 0;
}

static int ask(const char *dir, uint32_t as_domid, const struct lf_request *req, struct lf_reply *rep,
	       struct pvb_error *err)
{
	int sock, rc;

	rc = ask_on(&sock, dir, as_domid, req, rep, TIMEOUT_MS, err);
	if (rc == 0)
		close(sock);
	return rc;
}

int pvb_local_stats(const char *dir, struct pvb_local_stats *st, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_STATS };
	struct lf_reply rep;
	int rc = ask(dir, 0, &req, &rep, err);

	if (rc == 0)
		*st = rep.stats;
	return rc;
}

int pvb_local_domain_create_with(const char *dir, const struct pvb_local_new *spec, uint32_t *domid,
				 struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_CREATE, .a = spec->pages, .b = spec->domid, .c = spec->uid,
				  .d = spec->gid };
	size_t len = strnlen(spec->name, sizeof(req.name));
	struct lf_reply rep;
	int rc;

	if (len >= sizeof(req.name))
		return pvb_err(err, -EINVAL, "domain name \"%s\" is longer than %u bytes", spec->name,
			       PVB_LOCAL_NAME_MAX);
	memcpy(req.name, spec->name, len);
	rc = ask(dir, 0, &req, &rep, err);
	if (rc == 0)
		*domid = rep.a;
	return rc;
}

int pvb_local_domain_create(const char *dir, const char *name, uint32_t pages, uint32_t *domid, struct pvb_error *err)
{
	const struct pvb_local_new spec = { .name = name, .pages = pages };

	return pvb_local_domain_create_with(dir, &spec, domid, err);
}

int pvb_local_domain_destroy(const char *dir, uint32_t domid, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_DESTROY, .a = domid };
	struct lf_reply rep;

	return ask(dir, 0, &req, &rep, err);
}

int pvb_local_domain_list(const char *dir, struct pvb_local_domain **list, unsigned *nr, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_LIST };
	struct pvb_local_domain *all = NULL, *more;
	struct lf_reply rep;
	unsigned n = 0;
	int rc;

	do {
		rc = ask(dir, 0, &req, &rep, err);
		if (rc < 0 || rep.a == 0)
			break;
		more = rep.a <= LF_LIST_MAX ? realloc(all, (n + rep.a) * sizeof(*all)) : NULL;
		if (!more) {
			rc = pvb_err(err, -ENOMEM, "local fabric %s: out of memory for %u domains", dir, n + rep.a);
			break;
		}
		all = more;
		memcpy(all + n, rep.list, rep.a * sizeof(*all));
		n += rep.a;
		req.a = all[n - 1].domid + 1;
	} while (rep.a == LF_LIST_MAX);
	if (rc < 0) {
		free(all);
		return rc;
	}
	*list = all;
	*nr = n;
	return 0;
}

int pvb_local_domain_info(const char *dir, uint32_t domid, struct pvb_local_domain *info, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_LIST, .a = domid };
	struct lf_reply rep;
	int rc;

	rc = ask(dir, 0, &req, &rep, err);
	if (rc < 0)
		return rc;
	if (rep.a == 0 || domid == 0 || rep.list[0].domid != domid)
		return pvb_err(err, -ESRCH, "local fabric %s: there is no domain %u", dir, domid);
	*info = rep.list[0];
	return 0;
}

int pvb_local_domain_wait(const char *dir, uint32_t domid, int timeout_ms, struct pvb_local_domain *info,
			  struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_WAIT, .a = domid };
	struct pvb_local_domain now;
	struct lf_reply rep;
	int sock, rc;

	rc = ask_on(&sock, dir, 0, &req, &rep, timeout_ms, err);
	if (rc == 0) {
		close(sock);
		*info = rep.list[0];
	}
	/* with a short timeout the answer may just have been on its way */
	if (rc == -ETIMEDOUT && pvb_local_domain_info(dir, domid, &now, NULL) == 0 && now.state != PVB_LOCAL_RUNNING) {
		*info = now;
		rc = 0;
	}
	return rc;
}

int pvb_local_domain_shutdown(const char *dir, uint32_t as_domid, uint32_t domid, enum pvb_local_reason reason,
			      struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_SHUTDOWN, .a = domid, .b = reason };
	struct lf_reply rep;

	return ask(dir, as_domid, &req, &rep, err);
}

int pvb_local_domain_own(const char *dir, uint32_t domid, bool destroy, int *fd, struct pvb_error *err)
{
	struct lf_request req = { .op = LF_DOM_OWN, .a = domid, .b = destroy };
	struct lf_reply rep;

	return ask_on(fd, dir, 0, &req, &rep, TIMEOUT_MS, err);
}
