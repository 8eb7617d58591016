// SPDX-License-Identifier: GPL-2.0-or-later
/* destroy, shutdown, reboot, pause, unpause, rename, sysrq, trigger: things done to one domain after the other. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

static const struct pvb_error none = { .text = "this host has no such operation" };

/* Do fn to every domain named, go on after a failure, and fail if one failed. */
static int for_each(struct pvl *p, bool zero_ok, const char *done,
		    int (*fn)(struct pvl *p, unsigned domid, struct pvb_error *err))
{
	struct json_object *fields = out_obj(), *ids = out_arr();
	int rc = PVL_OK;

	json_object_object_add(fields, done, ids);
	for (int i = 0; i < p->argc; i++) {
		struct pvb_error err = { 0 };
		unsigned domid;

		if (pvl_domain(p, p->argv[i], zero_ok, &domid)) {
			rc = PVL_FAIL;
		} else if (p->dry_run) {
			pvl_note(p, "would %s domain %u (%s)", p->cmd->name, domid, p->argv[i]);
			json_object_array_add(ids, json_object_new_int64(domid));
		} else if (fn(p, domid, &err)) {
			rc = pvl_fail(p, &err);
		} else {
			json_object_array_add(ids, json_object_new_int64(domid));
		}
	}
	if (!rc)
		return pvl_done(p, fields);
	json_object_put(fields);
	return rc;
}

static int destroy(struct pvl *p, unsigned domid, struct pvb_error *err)
{
	return p->ops->destroy(p->host, domid, pvl_timeout(p, 30000), err);
}

int cmd_destroy(struct pvl *p)
{
	return for_each(p, p->force, "destroyed", destroy);
}

static int pause_one(struct pvl *p, unsigned domid, struct pvb_error *err)
{
	return p->ops->pause(p->host, domid, true, err);
}

static int unpause_one(struct pvl *p, unsigned domid, struct pvb_error *err)
{
	return p->ops->pause(p->host, domid, false, err);
}

int cmd_pause(struct pvl *p)
{
	return for_each(p, false, "paused", pause_one);
}

int cmd_unpause(struct pvl *p)
{
	return for_each(p, false, "unpaused", unpause_one);
}

/* --- shutdown and reboot ----------------------------------------------------------------------------- */

static int ask(struct pvl *p, unsigned domid, struct pvb_error *err)
{
	return p->ops->shutdown(p->host, domid, p->cmd->fn == cmd_reboot, pvl_opt(p, "fallback"), pvl_timeout(p, 60000),
				err);
}

static int ask_and_wait(struct pvl *p, unsigned domid, struct pvb_error *err)
{
	int rc = ask(p, domid, err);

	if (rc)
		return rc;
	pvl_debug(p, "domain %u has taken the request", domid);
	/* on_reboot=restart makes a new domain: the old one is gone then */
	return p->ops->wait_end(p->host, domid, pvl_opt(p, "wait") > 1 ? END_GONE : END_SHUTDOWN, p->timeout_ms, err);
}

/* -a: the names of all guests become the arguments. */
static int name_all(struct pvl *p, char ***out)
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	unsigned nr;
	int n = 0;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->list(p->host, &list, &nr, &err))
		return pvl_fail(p, &err);
	*out = calloc(nr + 1, sizeof(**out));
	for (unsigned i = 0; *out && i < nr; i++)
		if (list[i].domid && asprintf(&(*out)[n], "%u", list[i].domid) > 0)
			n++;
	dom_list_free(list, nr);
	p->argc = n;
	p->argv = *out;
	return *out ? PVL_OK : pvl_failf(p, "out of memory");
}

static int shutdown_all(struct pvl *p)
{
	char **all = NULL;
	int rc;

	if (pvl_opt(p, "all") && p->argc)
		return pvl_usage(p, "--all and a domain exclude each other");
	if (!pvl_opt(p, "all") && !p->argc)
		return pvl_usage(p, "a domain or --all is needed");
	if (pvl_opt(p, "all")) {
		rc = name_all(p, &all);
		if (rc)
			return rc;
	}
	/* with several domains: all are asked before any is waited for */
	if (pvl_opt(p, "wait") && p->argc > 1 && !p->dry_run) {
		char **argv = p->argv;
		struct pvb_error err = { 0 };
		unsigned domid;

		rc = PVL_OK;
		for (int i = 0; i < p->argc; i++)
			if (pvl_domain(p, argv[i], false, &domid))
				rc = PVL_FAIL;
			else if (ask(p, domid, &err))
				rc = pvl_fail(p, &err);
			else
				pvl_debug(p, "domain %u has taken the request", domid);
		for (int i = 0; i < p->argc && !rc; i++) {
			uint64_t id;

			if (pvb_parse_u64(argv[i], 0, UINT32_MAX - 1, &id) && pvl_domain(p, argv[i], false, &domid))
				continue; /* went away under this name: done */
			if (pvb_parse_u64(argv[i], 0, UINT32_MAX - 1, &id) == 0)
				domid = (unsigned)id;
			if (p->ops->wait_end(p->host, domid, pvl_opt(p, "wait") > 1 ? END_GONE : END_SHUTDOWN,
					     p->timeout_ms, &err))
				rc = pvl_fail(p, &err);
		}
		rc = rc ? rc : pvl_done(p, NULL);
	} else {
		rc = for_each(p, false, "domains", pvl_opt(p, "wait") ? ask_and_wait : ask);
	}
	for (int i = 0; all && all[i]; i++)
		free(all[i]);
	free(all);
	return rc;
}

int cmd_shutdown(struct pvl *p)
{
	return shutdown_all(p);
}

int cmd_reboot(struct pvl *p)
{
	return shutdown_all(p);
}

/* --- with more arguments ----------------------------------------------------------------------------- */

int cmd_rename(struct pvl *p)
{
	struct pvb_error err = none;
	unsigned domid;

	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (p->dry_run)
		pvl_note(p, "would rename domain %u to \"%s\"", domid, p->argv[1]);
	else if (!p->ops->rename || p->ops->rename(p->host, domid, p->argv[1], &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

int cmd_sysrq(struct pvl *p)
{
	struct pvb_error err = none;
	unsigned domid;

	if (strlen(p->argv[1]) != 1)
		return pvl_usage(p, "\"%s\" is not one letter", p->argv[1]);
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->dry_run)
		pvl_note(p, "would send sysrq %c to domain %u", p->argv[1][0], domid);
	else if (!p->ops->sysrq || p->ops->sysrq(p->host, domid, p->argv[1][0], &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

int cmd_trigger(struct pvl *p)
{
	struct pvb_error err = none;
	uint64_t vcpu = 0;
	unsigned domid;

	if (p->argc > 2 && pvb_parse_u64(p->argv[2], 0, 4095, &vcpu))
		return pvl_usage(p, "\"%s\" is not a vcpu", p->argv[2]);
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->dry_run)
		pvl_note(p, "would send trigger %s to vcpu %u of domain %u", p->argv[1], (unsigned)vcpu, domid);
	else if (!p->ops->trigger || p->ops->trigger(p->host, domid, p->argv[1], (uint32_t)vcpu, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}
