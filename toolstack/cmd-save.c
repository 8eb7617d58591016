// SPDX-License-Identifier: GPL-2.0-or-later
/* suspend, resume, save, restore, migrate, migrate-receive. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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

int cmd_save(struct pvl *p)
{
	struct save_opts o = { .running = pvl_opt(p, "checkpoint"), .paused = pvl_opt(p, "pause"),
			       .keep_domid = pvl_opt(p, "keep-domid"), .file = p->argv[1] };
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
	rc = p->ops->save(p->host, domid, &o, &err);
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
	rc = p->ops->migrate(p->host, domid, &o, &err);
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
