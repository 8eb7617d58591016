// SPDX-License-Identifier: GPL-2.0-or-later
/* list, vm-list, uptime, domid, domname: one snapshot of the domains, shown in several ways. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

static const struct dom_info *find(const struct dom_info *list, unsigned nr, const char *arg)
{
	uint64_t id = UINT64_MAX;

	pvb_parse_u64(arg, 0, UINT32_MAX - 1, &id);
	for (unsigned i = 0; i < nr; i++)
		if (list[i].domid == id || (id == UINT64_MAX && strcmp(list[i].name, arg) == 0))
			return &list[i];
	return NULL;
}

/* Call add(row, domain) for the domains named on the command line, all when none is.  PVL_OK also when one
 * was added to rows; PVL_FAIL after reporting an unknown one (the others are still added). */
static int each_domain(struct pvl *p, struct json_object *rows, bool zero,
		       int (*add)(struct pvl *p, struct json_object *rows, const struct dom_info *d))
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	unsigned nr;
	int rc = PVL_OK;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->list(p->host, &list, &nr, &err))
		return pvl_fail(p, &err);
	for (unsigned i = 0; i < nr && !p->argc; i++)
		if ((list[i].domid || zero) && add(p, rows, &list[i]))
			rc = PVL_FAIL;
	for (int i = 0; i < p->argc; i++) {
		const struct dom_info *d = find(list, nr, p->argv[i]);

		if (!d)
			pvl_error(p, "%s: no domain \"%s\"", p->cmd->name, p->argv[i]);
		if (!d || add(p, rows, d))
			rc = PVL_FAIL;
	}
	dom_list_free(list, nr);
	return rc;
}

static int add_row(struct pvl *p, struct json_object *rows, const struct dom_info *d)
{
	return json_object_array_add(rows, dom_json(d));
}

static int add_config(struct pvl *p, struct json_object *rows, const struct dom_info *d)
{
	struct pvb_error err = { 0 };
	struct json_object *obj;

	if (p->ops->config(p->host, d->domid, &obj, &err)) {
		pvl_error(p, "list: %s", err.text);
		return -EIO;
	}
	return json_object_array_add(rows, obj);
}

static int show(struct pvl *p, struct json_object *rows, const struct out_col *cols, unsigned nr, bool title, int rc)
{
	int out;

	if (rc && !json_object_array_length(rows))
		out = 0; /* the error was all there is to say */
	else
		out = p->json ? out_json(rows) : out_table(rows, cols, nr, title);
	json_object_put(rows);
	return out ? PVL_FAIL : rc;
}

/* Six columns as xl has them, then what was asked for. */
static unsigned choose_cols(struct pvl *p, struct out_col *cols)
{
	static const struct out_col always[] = {
		{ "name", "Name", -40 }, { "domid", "ID", 5 }, { "memory_mib", "Mem", 5 }, { "vcpus", "VCPUs", 5 },
		{ "flags", "State", -6, "     " }, { "cpu_seconds", "Time(s)", 8, "  " },
	};
	static const struct {
		const char *option;
		struct out_col col;
	} more[] = {
		{ "verbose", { "type", "Type", -8 } },
		{ "verbose", { "uptime_seconds", "Uptime", 8 } },
		{ "verbose", { "uuid", "UUID", -36, "  " } },
		{ "context", { "security_label", "Security Label", 16 } },
		{ "cpupool", { "cpupool", "Cpupool", 15 } },
		{ "numa", { "node_affinity", "NODE Affinity", 0 } },
	};
	unsigned nr = sizeof(always) / sizeof(always[0]);

	memcpy(cols, always, sizeof(always));
	for (unsigned i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (pvl_opt(p, more[i].option))
			cols[nr++] = more[i].col;
	return nr;
}

int cmd_list(struct pvl *p)
{
	struct json_object *rows = out_arr();
	struct out_col cols[12];
	int rc;

	if (pvl_opt(p, "long")) {
		rc = each_domain(p, rows, true, add_config);
		p->json = true;
		return show(p, rows, NULL, 0, false, rc);
	}
	rc = each_domain(p, rows, true, add_row);
	if (pvl_opt(p, "names")) {
		static const struct out_col name[] = { { "name", "Name", 0 } };

		p->json = false;
		return show(p, rows, name, 1, false, rc);
	}
	return show(p, rows, cols, choose_cols(p, cols), true, rc);
}

int cmd_vm_list(struct pvl *p)
{
	static const struct out_col cols[] = {
		{ "uuid", "UUID", -36 }, { "domid", "ID", 5, "  " }, { "name", "name", 0, "    " },
	};
	struct json_object *rows = out_arr();
	int rc = each_domain(p, rows, true, add_row);

	return show(p, rows, cols, 3, true, rc);
}

/* As xl shows it: 3 days,  4:05:06; brief: without seconds and a single unit's padding. */
static void uptime_text(long long s, bool brief, char *buf, size_t len)
{
	int n = 0;

	if (s < 0) {
		snprintf(buf, len, "-");
		return;
	}
	if (s >= 86400)
		n = snprintf(buf, len, "%lld day%s, ", s / 86400, s < 172800 ? "" : "s");
	if (brief)
		snprintf(buf + n, len - (size_t)n, "%2lld:%02lld", s % 86400 / 3600, s % 3600 / 60);
	else
		snprintf(buf + n, len - (size_t)n, "%2lld:%02lld:%02lld", s % 86400 / 3600, s % 3600 / 60, s % 60);
}

static int add_uptime(struct pvl *p, struct json_object *rows, const struct dom_info *d)
{
	struct json_object *row = dom_json(d);
	char text[40], line[256], when[16] = "";
	time_t now = time(NULL);
	struct tm tm;

	uptime_text(d->uptime, false, text, sizeof(text));
	out_str(row, "uptime", text);
	uptime_text(d->uptime, true, text, sizeof(text));
	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%H:%M:%S", &tm);
	snprintf(line, sizeof(line), " %s up %s, %.140s (%u)", when, text, d->name, d->domid);
	out_str(row, "line", line);
	return json_object_array_add(rows, row);
}

int cmd_uptime(struct pvl *p)
{
	static const struct out_col cols[] = { { "name", "Name", -33 },
					       { "domid", "ID", 4 },
					       { "uptime", "Uptime", 0 } },
				    line[] = { { "line", "", 0 } };
	struct json_object *rows = out_arr();
	int rc = each_domain(p, rows, true, add_uptime);

	if (pvl_opt(p, "short"))
		return show(p, rows, line, 1, false, rc);
	return show(p, rows, cols, 3, true, rc);
}

static int one_field(struct pvl *p, bool by_id)
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	uint64_t id = UINT64_MAX;
	unsigned nr, i;
	int rc;

	if (by_id && pvb_parse_u64(p->argv[0], 0, UINT32_MAX - 1, &id))
		return pvl_usage(p, "\"%s\" is not a domain id", p->argv[0]);
	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->list(p->host, &list, &nr, &err))
		return pvl_fail(p, &err);
	for (i = 0; i < nr; i++)
		if (by_id ? list[i].domid == id : strcmp(list[i].name, p->argv[0]) == 0)
			break;
	if (i == nr) {
		rc = pvl_failf(p, "no domain \"%s\"", p->argv[0]);
	} else if (p->json) {
		struct json_object *obj = out_obj();

		out_int(obj, "domid", list[i].domid);
		out_str(obj, "name", list[i].name);
		rc = out_json(obj) ? PVL_FAIL : PVL_OK;
		json_object_put(obj);
	} else {
		if (by_id)
			puts(list[i].name);
		else
			printf("%u\n", list[i].domid);
		rc = out_flush() ? PVL_FAIL : PVL_OK;
	}
	dom_list_free(list, nr);
	return rc;
}

int cmd_domid(struct pvl *p)
{
	return one_field(p, false);
}

int cmd_domname(struct pvl *p)
{
	return one_field(p, true);
}
