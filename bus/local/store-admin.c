/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The requests that are about domains and about the store itself; most are for domain 0 alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "store-ops.h"

/* ---- domains ---------------------------------------------------------------------------------------- */

int lst_op_introduce(struct op *op)
{
	struct lst_dom *dom;
	struct lst_conn *c;
	const char *arg[3];
	uint32_t domid, port;

	/* the page and the port of Xen's ring mean nothing here: a domain has its socket */
	if (!lst_op_strings(op, arg, 3) || !lst_number(arg[0], LST_NR_DOMIDS - 1, &domid) || !lst_number(arg[2],
		UINT32_MAX, &port) ||
	    domid == 0)
		return EINVAL;
	dom = lst_dom(op->st, domid);
	if (!dom) {
		if (!op->st->exists(op->st->arg, domid))
			return ENOENT;
		return lst_domain_introduce(op->st, domid) < 0 ? ENOMEM : lst_op_ack(op);
	}
	for (c = dom->first; c; c = c->dom_next) {
		lst_watch_drop_all(c);
		while (c->txns)
			lst_txn_free(c->txns);
	}
	return lst_op_ack(op);
}

static int domain_arg(struct op *op, struct lst_dom **dom)
{
	const char *arg;
	uint32_t domid;

	if (!lst_op_strings(op, &arg, 1) || !lst_number(arg, LST_NR_DOMIDS - 1, &domid) || domid == 0)
		return EINVAL;
	*dom = lst_dom(op->st, domid);
	return *dom ? 0 : ENOENT;
}

int lst_op_release(struct op *op)
{
	struct lst_dom *dom;
	int rc = domain_arg(op, &dom);

	if (rc == 0)
		rc = lst_dom_release(op->st, dom);
	return rc ? rc : lst_op_ack(op);
}

int lst_op_resume(struct op *op)
{
	struct lst_dom *dom;
	int rc = domain_arg(op, &dom);

	if (rc)
		return rc;
	dom->shutdown = false;
	return lst_op_ack(op);
}

int lst_op_set_target(struct op *op)
{
	struct lst_dom *dom, *target;
	const char *arg[2];
	uint32_t a, b;

	if (!lst_op_strings(op, arg, 2) || !lst_number(arg[0], LST_NR_DOMIDS - 1, &a) || !lst_number(arg[1],
		LST_NR_DOMIDS - 1, &b))
		return EINVAL;
	dom = lst_dom(op->st, a);
	target = lst_dom(op->st, b);
	if (!dom || !target)
		return ENOENT;
	if (a == 0 || b == 0)
		return EINVAL;
	dom->target = b;
	dom->target_generation = target->generation;
	return lst_op_ack(op);
}

int lst_op_get_domain_path(struct op *op)
{
	const char *arg;
	uint32_t domid;
	char buf[32];

	if (!lst_op_strings(op, &arg, 1) || !lst_number(arg, 65535, &domid))
		return EINVAL;
	snprintf(buf, sizeof(buf), "/local/domain/%u", domid);
	return lst_reply(op->c, XS_GET_DOMAIN_PATH, buf, (uint32_t)strlen(buf) + 1);
}

int lst_op_is_domain_introduced(struct op *op)
{
	const char *arg;
	uint32_t domid;

	if (!lst_op_strings(op, &arg, 1) || !lst_number(arg, 65535, &domid))
		return EINVAL;
	return lst_reply(op->c, XS_IS_DOMAIN_INTRODUCED, domid == PVB_DOMID_SELF || lst_dom(op->st, domid) ? "T" :
			 "F", 2);
}

/* ---- control ---------------------------------------------------------------------------------------- */

static int control_quota(struct op *op, const char *domid)
{
	const struct pvb_store_quota *q = &op->st->quota;
	const struct lst_dom *dom;
	char buf[1024];
	uint32_t id;

	if (!domid) {
		snprintf(buf, sizeof(buf),
			 "nodes           %u\nwatches         %u\ntransactions    %u\noutstanding     %u\n"
			 "txn-nodes       %u\nperms           %u\nnode-size       %u\npath-max        %u\n"
			 "memory-soft     %u\nmemory-hard     %u\nevent-timeout   %u ms\nconnections     %u\n",
			 q->nodes, q->watches, q->transactions, q->outstanding, q->txn_nodes, q->perms, q->node_size,
			 q->path_max, q->memory_soft, q->memory_hard, q->event_timeout_ms, q->connections);
		return lst_reply(op->c, XS_CONTROL, buf, (uint32_t)strlen(buf) + 1);
	}
	if (!lst_number(domid, LST_NR_DOMIDS - 1, &id))
		return EINVAL;
	dom = lst_dom(op->st, id);
	if (!dom)
		return ENOENT;
	snprintf(buf, sizeof(buf),
		 "Domain %u:\nnodes           %u\nwatches         %u\ntransactions    %u\noutstanding     %u\n"
		 "connections     %u\nmemory          %llu\nmemory-peak     %llu%s\n",
		 id, dom->nodes, dom->watches, dom->txns, dom->outstanding, dom->conns, (unsigned long long)dom->memory,
		 (unsigned long long)dom->peak, dom->peak > q->memory_soft && id ? " (above soft quota)" : "");
	return lst_reply(op->c, XS_CONTROL, buf, (uint32_t)strlen(buf) + 1);
}

static int control_stats(struct op *op)
{
	const struct lst *st = op->st;
	char buf[512];

	snprintf(buf, sizeof(buf),
		 "nodes           %u\nwatches         %u\ntransactions    %u\nconnections     %u\n"
		 "requests        %llu\n"
		 "events          %llu\nevents-merged   %llu\nevents-dropped  %llu\nconflicts       %llu\n",
		 st->tree.nr_nodes, st->nr_watches, st->nr_txns, st->nr_conns, (unsigned long long)st->requests,
		 (unsigned long long)st->events, (unsigned long long)st->merged, (unsigned long long)st->dropped,
		 (unsigned long long)st->conflicts);
	return lst_reply(op->c, XS_CONTROL, buf, (uint32_t)strlen(buf) + 1);
}

int lst_op_control(struct op *op)
{
	static const char help[] = "check\nhelp\nquota [<domid>]\nstats\n";
	const char *arg[2] = { NULL, NULL }, *wrong;

	if (!lst_op_strings(op, arg, 1)) {
		if (!lst_op_strings(op, arg, 2) || strcmp(arg[0], "quota") != 0)
			return EINVAL;
	} else {
		arg[1] = NULL;
	}
	if (strcmp(arg[0], "help") == 0)
		return lst_reply(op->c, XS_CONTROL, help, sizeof(help));
	if (strcmp(arg[0], "quota") == 0)
		return control_quota(op, arg[1]);
	if (strcmp(arg[0], "stats") == 0)
		return control_stats(op);
	if (strcmp(arg[0], "check") == 0) {
		wrong = lst_check(op->st);
		return lst_reply(op->c, XS_CONTROL, wrong ? wrong : "OK", (uint32_t)strlen(wrong ? wrong : "OK") + 1);
	}
	return EINVAL;
}
