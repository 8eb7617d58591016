// SPDX-License-Identifier: GPL-2.0-or-later
/* suspend, resume, save, restore, migrate, migrate-receive. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "away.h"
#include "cfg.h"
#include "cmd.h"
#include "host.h"
#include "output.h"
#include "pace.h"
#include "store.h"

int cmd_suspend(struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned domid;

	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->suspend)
		return pvl_cannot(p);
	if (p->ops->suspend(p->host, domid, pvl_timeout(p, 60000), &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would suspend domain %u", domid);
	return pvl_done(p, NULL);
}

int cmd_resume(struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned domid;

	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->resume)
		return pvl_cannot(p);
	if (p->ops->resume(p->host, domid, &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would resume domain %u", domid);
	return pvl_done(p, NULL);
}

/* A configuration to be used instead of the domain's own; *cfg NULL without file. */
static int read_cfg(struct pvl *p, const char *file, struct cfg **cfg)
{
	struct pvb_error err = { 0 };
	int rc;

	*cfg = NULL;
	if (!file)
		return PVL_OK;
	if (cfg_read(cfg, file, NULL, 0, &err))
		return pvl_fail(p, &err);
	rc = pvl_check_keys(p, *cfg, p->ops);
	if (rc) {
		cfg_free(*cfg);
		*cfg = NULL;
	}
	return rc;
}

/* MiB a second; 0: there is no such option. */
static int bandwidth(struct pvl *p, uint64_t *mib)
{
	const char *text = pvl_opt_arg(p, "bandwidth");

	*mib = 0;
	if (text && pvb_parse_u64(text, 1, PACE_MAX, mib))
		return pvl_usage(p, "--bandwidth \"%s\" is not a number of MiB a second from 1 to %u", text, PACE_MAX);
	return PVL_OK;
}

/* --- save and migrate, with or without detaching what can not go along -------------------------------- */

typedef int leave_fn(struct pvl *p, uint32_t domid, const void *opts, struct pvb_error *err);

enum stay { GOES, STAYS, STAYS_PAUSED }; /* what becomes of the domain here, if nothing fails */

static int leave_save(struct pvl *p, uint32_t domid, const void *opts, struct pvb_error *err)
{
	return p->ops->save(p->host, domid, opts, err);
}

static int leave_migrate(struct pvl *p, uint32_t domid, const void *opts, struct pvb_error *err)
{
	return p->ops->migrate(p->host, domid, opts, err);
}

/* A domain that may be another host's by now. */
static bool is_away(struct pvl *p, uint32_t domid)
{
	struct dom_info *list = NULL;
	unsigned nr = 0;
	bool away = false;

	if (p->ops->list(p->host, &list, &nr, NULL))
		return false;
	for (unsigned i = 0; i < nr; i++)
		if (list[i].domid == domid)
			away = dom_name_ends(list[i].name, DOM_AWAY);
	dom_list_free(list, nr);
	return away;
}

/* The guest's devices come back whenever it runs on here. */
static int leave_without(struct pvl *p, uint32_t domid, leave_fn *leave, const void *opts, enum stay stay, struct pvb_error *err)
{
	bool dry_run = p->dry_run;
	struct away away;
	unsigned left = 0;
	int rc;

	/* whatever else speaks against it, before anything is touched */
	p->dry_run = true;
	rc = leave(p, domid, opts, err);
	p->dry_run = dry_run;
	if (!rc)
		rc = away_detach(&away, p, domid, err);
	if (rc)
		return rc;
	if (!dry_run) {
		rc = leave(p, domid, opts, err);
		if (rc && is_away(p, domid))
			pvl_note(p, "domain %u has no PCI devices if it comes back: then pvl pci-attach", domid);
		else if (rc || stay == STAYS)
			left = away_back(&away, p);
		if (left && !rc)
			rc = pvb_err(err, -EIO, "it is saved, but domain %u lacks %u PCI device%s now", domid, left, left == 1 ? "" : "s");
		for (unsigned i = 0; i < away.nr && !rc && stay == STAYS_PAUSED; i++)
			pvl_note(p, "domain %u is paused: pvl pci-attach PCI device %s when it runs", domid, away.dev[i].name);
	}
	away_free(&away);
	return rc;
}

int cmd_save(struct pvl *p)
{
	struct save_opts o = { .running = pvl_opt(p, "checkpoint"), .paused = pvl_opt(p, "pause"),
			       .keep_domid = pvl_opt(p, "keep-domid"), .pci_goes = pvl_opt(p, "detach-first"),
			       .file = p->argv[1] };
	struct pvb_error err = { 0 };
	unsigned domid;
	int rc;

	if (o.running && o.paused)
		return pvl_usage(p, "--checkpoint and --pause exclude each other");
	if (bandwidth(p, &o.bandwidth))
		return PVL_USAGE;
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->save)
		return pvl_cannot(p);
	if (read_cfg(p, p->argc > 2 ? p->argv[2] : NULL, &o.cfg))
		return PVL_FAIL;
	if (o.pci_goes)
		rc = leave_without(p, domid, leave_save, &o, o.running ? STAYS : o.paused ? STAYS_PAUSED : GOES, &err);
	else
		rc = leave_save(p, domid, &o, &err);
	cfg_free(o.cfg);
	if (rc)
		return pvl_fail(p, &err);
	pvl_note(p, "%s domain %u to %s", p->dry_run ? "would save" : "saved", domid, o.file);
	return pvl_done(p, NULL);
}

int cmd_restore(struct pvl *p)
{
	const char *file = p->argv[p->argc - 1];
	const struct create_opts o = {
		.paused = pvl_opt(p, "paused"),
		.console = pvl_opt(p, "console"),
		.foreground = pvl_opt(p, "foreground"),
		.no_monitor = pvl_opt(p, "no-monitor"),
		.quiet = p->verbose < 0,
	};
	struct json_object *plan = NULL, *fields;
	struct pvb_error err = { 0 };
	struct cfg *cfg;
	uint32_t domid;
	int rc;

	if (o.foreground && o.no_monitor)
		return pvl_usage(p, "--foreground and --no-monitor exclude each other");
	if (!pvl_host(p))
		return PVL_FAIL;
	if (!p->ops->restore)
		return pvl_cannot(p);
	if (read_cfg(p, p->argc > 1 ? p->argv[0] : NULL, &cfg))
		return PVL_FAIL;
	rc = p->ops->restore(p->host, file, cfg, &o, &domid, &plan, &err);
	cfg_free(cfg);
	if (plan && pvl_opt(p, "dump"))
		fprintf(stderr, "%s\n", json_object_to_json_string_ext(plan, JSON_C_TO_STRING_PRETTY));
	if (rc) {
		rc = pvl_fail(p, &err);
	} else if (p->dry_run) {
		rc = out_json(plan) ? PVL_FAIL : PVL_OK;
	} else {
		fields = out_obj();
		out_int(fields, "domid", domid);
		pvl_note(p, "restored domain %u", domid);
		rc = pvl_done(p, fields);
	}
	json_object_put(plan);
	return rc;
}

int cmd_migrate(struct pvl *p)
{
	const char *ssh = pvl_opt_arg(p, "ssh"), *tool = pvl_opt_arg(p, "receiver");
	struct migrate_opts o = {
		.host = p->argv[1],
		.ssh = ssh ? ssh : "ssh",
		.tool = tool ? tool : "pvl",
		.cold = pvl_opt(p, "cold"),
		.paused = pvl_opt(p, "pause"),
		.no_monitor = pvl_opt(p, "no-monitor"),
		.keep_domid = pvl_opt(p, "keep-domid"),
		.debug = pvl_opt(p, "debug"),
		.pci_goes = pvl_opt(p, "detach-first"),
	};
	struct pvb_error err = { 0 };
	unsigned domid;
	int rc;

	if (!*o.ssh && (o.paused || o.no_monitor || tool))
		return pvl_usage(p, "with --ssh '' the receiver is a command line: say --pause, --no-monitor and the tool there");
	if (bandwidth(p, &o.bandwidth))
		return PVL_USAGE;
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->migrate)
		return pvl_cannot(p);
	if (read_cfg(p, pvl_opt_arg(p, "config"), &o.cfg))
		return PVL_FAIL;
	rc = o.pci_goes ? leave_without(p, domid, leave_migrate, &o, GOES, &err) : leave_migrate(p, domid, &o, &err);
	cfg_free(o.cfg);
	if (rc)
		return pvl_fail(p, &err);
	pvl_note(p, "%s domain %u to %s", p->dry_run ? "would migrate" : "migrated", domid, o.host);
	return pvl_done(p, NULL);
}

/* One letter for a sender that lost sight of its domain: r(uns), n(othing left). */
static int settle(struct pvl *p, const char *uuid)
{
	struct pvb_error err = { 0 };
	bool runs = false;

	if (p->ops->settle(p->host, uuid, pvl_timeout(p, 60000), &runs, &err))
		return pvl_fail(p, &err);
	return write(1, runs ? "r" : "n", 1) == 1 ? PVL_OK : PVL_FAIL;
}

int cmd_migrate_receive(struct pvl *p)
{
	const struct create_opts o = { .paused = pvl_opt(p, "paused"), .no_monitor = pvl_opt(p, "no-monitor"),
				       .quiet = true };
	struct pvb_error err = { 0 };
	uint32_t domid;

	if (p->json)
		return pvl_usage(p, "standard output is the sender's: no --json");
	if (!pvl_host(p))
		return PVL_FAIL;
	if (!p->ops->receive || !p->ops->settle)
		return pvl_cannot(p);
	if (pvl_opt(p, "settle"))
		return settle(p, pvl_opt_arg(p, "settle"));
	if (p->dry_run)
		return pvl_usage(p, "a receiver does what its sender says: --dry-run belongs to migrate");
	if (p->ops->receive(p->host, 0, 1, &o, &domid, &err))
		return pvl_fail(p, &err);
	pvl_note(p, "received domain %u", domid);
	return PVL_OK;
}
