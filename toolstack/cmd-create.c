// SPDX-License-Identifier: GPL-2.0-or-later
/* create: read the configuration, refuse keys nobody acts on, hand it to the host. */
#include "config.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cfg.h"
#include "cmd.h"
#include "host.h"
#include "output.h"

static void report_key(void *arg, const char *text)
{
	pvl_error(arg, "%s", text);
}

/* FILE is -f's, or the first argument unless that is a setting. */
static int read_config(struct pvl *p, struct cfg **cfg, struct pvb_error *err)
{
	const char *file = pvl_opt_arg(p, "defconfig");
	int first = 0;

	if (!file && p->argc && !strchr(p->argv[0], '='))
		file = p->argv[first++];
	if (!file && first == p->argc)
		return pvb_err(err, -22, "no configuration file and no settings");
	return cfg_read(cfg, file, p->argv + first, (unsigned)(p->argc - first), err);
}

/* A dry run needs no host: where none was named and there is no Xen, a configuration without guest= is
 * still one for Xen. */
static const struct host_ops *choose(struct pvl *p, struct cfg *cfg, bool dry, struct pvb_error *err)
{
	const char *rest;

	if (!p->host_spec && dry && access("/dev/xen", F_OK) != 0 && !cfg_is_set(cfg, "guest"))
		p->host_spec = "xen";
	return host_choose(p->host_spec, &rest, err);
}

int pvl_check_keys(struct pvl *p, struct cfg *cfg, const struct host_ops *ops)
{
	unsigned nr = cfg_check_keys(cfg, strcmp(ops->name, "xen") == 0 ? CFG_XEN : CFG_LOCAL, report_key, p);

	if (!nr)
		return 0;
	if (p->force) {
		pvl_note(p, "%s: going on without %u key%s (--force)", p->cmd->name, nr, nr == 1 ? "" : "s");
		return 0;
	}
	return pvl_failf(p, "%u key%s nobody acts on; --force goes on without", nr, nr == 1 ? "" : "s");
}

static int plan(struct pvl *p, struct cfg *cfg, const struct host_ops *ops, bool show_on_stderr)
{
	struct pvb_error err = { 0 };
	struct json_object *obj;
	int rc;

	if (ops->plan(p, cfg, &obj, &err))
		return pvl_fail(p, &err);
	if (show_on_stderr)
		fprintf(stderr, "%s\n", json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY));
	rc = show_on_stderr ? 0 : out_json(obj);
	json_object_put(obj);
	p->answered = true;
	return rc ? PVL_FAIL : PVL_OK;
}

static int create(struct pvl *p, struct cfg *cfg)
{
	struct create_opts o = {
		.paused = pvl_opt(p, "paused"),
		.console = pvl_opt(p, "console"),
		.foreground = pvl_opt(p, "foreground"),
		.no_monitor = pvl_opt(p, "no-monitor"),
		.quiet = p->verbose < 0,
	};
	struct json_object *fields;
	struct pvb_error err = { 0 };
	uint32_t domid;

	if (o.foreground && o.no_monitor)
		return pvl_usage(p, "--foreground and --no-monitor exclude each other");
	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->create(p->host, cfg, &o, &domid, &err))
		return pvl_fail(p, &err);
	fields = out_obj();
	out_int(fields, "domid", domid);
	pvl_note(p, "created domain %u", domid);
	return pvl_done(p, fields);
}

int cmd_create(struct pvl *p)
{
	bool dry = p->dry_run || pvl_opt(p, "dryrun");
	const struct host_ops *ops;
	struct pvb_error err = { 0 };
	struct cfg *cfg;
	int rc;

	if (read_config(p, &cfg, &err))
		return pvl_fail(p, &err);
	ops = choose(p, cfg, dry, &err);
	if (!ops)
		rc = pvl_fail(p, &err);
	else
		rc = pvl_check_keys(p, cfg, ops);
	if (!rc && (dry || pvl_opt(p, "dump")))
		rc = plan(p, cfg, ops, !dry);
	p->answered = p->answered && dry;
	if (!rc && !dry)
		rc = create(p, cfg);
	cfg_free(cfg);
	return rc;
}
