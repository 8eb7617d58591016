// SPDX-License-Identifier: GPL-2.0-or-later
/* dmesg, debug-keys, dump-core, cd-insert, cd-eject, config-update, suspend, resume: what Xen or libxl does for one call. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cfg.h"
#include "cmd.h"
#include "host.h"
#include "output.h"

static void print_line(void *arg, const char *text)
{
	struct json_object *lines = arg;

	if (lines)
		json_object_array_add(lines, json_object_new_string_len(text, (int)strcspn(text, "\n")));
	else
		fputs(text, stdout);
}

int cmd_dmesg(struct pvl *p)
{
	struct json_object *lines = NULL;
	struct pvb_error err = { 0 };
	int rc;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (!p->ops->dmesg)
		return pvl_cannot(p);
	if (p->json)
		lines = out_arr();
	if (p->ops->dmesg(p->host, pvl_opt(p, "clear"), print_line, lines, &err))
		rc = pvl_fail(p, &err);
	else
		rc = (lines ? out_json(lines) : out_flush()) ? PVL_FAIL : PVL_OK;
	json_object_put(lines);
	return rc;
}

int cmd_debug_keys(struct pvl *p)
{
	struct pvb_error err = { 0 };

	if (strlen(p->argv[0]) > 32 || !*p->argv[0])
		return pvl_usage(p, "1 to 32 keys at a time");
	if (!pvl_host(p))
		return PVL_FAIL;
	if (!p->ops->debug_keys)
		return pvl_cannot(p);
	if (p->ops->debug_keys(p->host, p->argv[0], &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would send \"%s\" to Xen", p->argv[0]);
	return pvl_done(p, NULL);
}

int cmd_dump_core(struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned domid;

	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->dump_core)
		return pvl_cannot(p);
	if (p->ops->dump_core(p->host, domid, p->argv[1], &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would write the memory of domain %u to %s", domid, p->argv[1]);
	return pvl_done(p, NULL);
}

static int cd_change(struct pvl *p, const char *target)
{
	struct pvb_error err = { 0 };
	unsigned domid;

	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->cd_change)
		return pvl_cannot(p);
	if (p->ops->cd_change(p->host, domid, p->argv[1], target, &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would %s drive %s of domain %u%s%s", target ? "load" : "empty", p->argv[1], domid,
			 target ? " with " : "", target ? target : "");
	return pvl_done(p, NULL);
}

int cmd_cd_insert(struct pvl *p)
{
	return cd_change(p, p->argv[2]);
}

int cmd_cd_eject(struct pvl *p)
{
	return cd_change(p, NULL);
}

int cmd_config_update(struct pvl *p)
{
	const char *file = pvl_opt_arg(p, "defconfig");
	struct pvb_error err = { 0 };
	struct json_object *obj;
	int first = 1, rc;
	unsigned domid;
	struct cfg *cfg;

	if (!file && p->argc > 1 && !strchr(p->argv[1], '='))
		file = p->argv[first++];
	if (!file && first == p->argc)
		return pvl_usage(p, "no configuration file and no settings");
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (!p->ops->config_update)
		return pvl_cannot(p);
	if (cfg_read(&cfg, file, p->argv + first, (unsigned)(p->argc - first), &err))
		return pvl_fail(p, &err);
	rc = pvl_check_keys(p, cfg, p->ops);
	if (!rc && p->ops->config_update(p->host, domid, cfg, &obj, &err))
		rc = pvl_fail(p, &err);
	cfg_free(cfg);
	if (rc)
		return rc;
	if (pvl_opt(p, "dump"))
		fprintf(stderr, "%s\n", json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY));
	if (p->dry_run) {
		rc = out_json(obj) ? PVL_FAIL : PVL_OK;
		json_object_put(obj);
		return rc;
	}
	json_object_put(obj);
	pvl_note(p, "domain %u will have this configuration when it is built again", domid);
	return pvl_done(p, NULL);
}
