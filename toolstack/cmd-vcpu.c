// SPDX-License-Identifier: GPL-2.0-or-later
/* vcpu-list, vcpu-set, vcpu-pin, mem-set, mem-max: the processors and the memory of a domain that runs. */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

static int list_all(struct pvl *p, struct json_object *rows)
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	unsigned nr;
	int rc = PVL_OK;

	if (p->ops->list(p->host, &list, &nr, &err))
		return pvl_fail(p, &err);
	for (unsigned i = 0; i < nr; i++)
		if (p->ops->vcpu_list(p->host, list[i].domid, rows, &err))
			rc = pvl_fail(p, &err);
	dom_list_free(list, nr);
	return rc;
}

int cmd_vcpu_list(struct pvl *p)
{
	static const struct out_col cols[] = {
		{ "name", "Name", -32 }, { "domid", "ID", 5 }, { "vcpu", "VCPU", 5 }, { "cpu", "CPU", 5 },
		{ "state", "State", 5 }, { "cpu_seconds", "Time(s)", 9 }, { "affinity", "Affinity (Hard / Soft)", 0 },
	};
	struct json_object *rows;
	int rc = PVL_OK;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (!p->ops->vcpu_list)
		return pvl_cannot(p);
	rows = out_arr();
	if (!p->argc)
		rc = list_all(p, rows);
	for (int i = 0; i < p->argc; i++) {
		struct pvb_error err = { 0 };
		unsigned domid;

		if (pvl_domain(p, p->argv[i], true, &domid))
			rc = PVL_FAIL;
		else if (p->ops->vcpu_list(p->host, domid, rows, &err))
			rc = pvl_fail(p, &err);
	}
	if (rc && (p->json || !json_object_array_length(rows)))
		; /* the error is the answer */
	else if (p->json ? out_json(rows) : out_table(rows, cols, 7, true))
		rc = PVL_FAIL;
	json_object_put(rows);
	return rc;
}

int cmd_vcpu_set(struct pvl *p)
{
	struct pvb_error err = { 0 };
	struct json_object *fields;
	unsigned domid;
	uint64_t nr;

	if (pvb_parse_u64(p->argv[1], 1, 4096, &nr))
		return pvl_usage(p, "\"%s\" is not a number of processors", p->argv[1]);
	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (!p->ops->vcpu_set)
		return pvl_cannot(p);
	if (p->ops->vcpu_set(p->host, domid, (unsigned)nr, pvl_opt(p, "ignore-host"), pvl_timeout(p, 10000), &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would give domain %u %u processors", domid, (unsigned)nr);
	fields = out_obj();
	out_int(fields, "domid", domid);
	out_int(fields, "vcpus", (long long)nr);
	return pvl_done(p, fields);
}

int cmd_vcpu_pin(struct pvl *p)
{
	const char *soft = p->argc > 3 ? p->argv[3] : "-";
	struct pvb_error err = { 0 };
	struct json_object *fields;
	uint64_t vcpu = 0;
	bool all = strcmp(p->argv[1], "all") == 0;
	unsigned domid;

	if (!all && pvb_parse_u64(p->argv[1], 0, 4095, &vcpu))
		return pvl_usage(p, "\"%s\" is neither a vcpu nor all", p->argv[1]);
	if (strcmp(p->argv[2], "-") == 0 && strcmp(soft, "-") == 0)
		return pvl_usage(p, "neither a hard nor a soft affinity is given");
	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (!p->ops->vcpu_pin)
		return pvl_cannot(p);
	if (p->ops->vcpu_pin(p->host, domid, all ? -1 : (int)vcpu, p->argv[2], soft, p->force, &fields, &err))
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would pin vcpu %s of domain %u to %s, better %s", p->argv[1], domid, p->argv[2], soft);
	return pvl_done(p, fields);
}

/* 100 or 100m: MiB; k, g, t, b (bytes). */
static int parse_size(const char *text, uint64_t *kib)
{
	static const char units[] = "kmgt";
	size_t len = strlen(text);
	char digits[24], unit = len ? (char)tolower((unsigned char)text[len - 1]) : '0';
	const char *u;
	uint64_t n;

	if (isdigit((unsigned char)unit))
		unit = 'm';
	else
		len--;
	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (pvb_parse_u64(digits, 0, (uint64_t)1 << 50, &n))
		return -EINVAL;
	u = strchr(units, unit);
	if (!u && unit != 'b')
		return -EINVAL;
	if (u && n > (UINT64_MAX >> 1) >> (10 * (u - units)))
		return -ERANGE;
	*kib = u ? n << (10 * (u - units)) : n >> 10;
	return *kib && *kib <= INT64_MAX >> 10 ? 0 : -ERANGE;
}

static int memory(struct pvl *p, bool max)
{
	struct pvb_error err = { 0 };
	struct json_object *fields;
	unsigned domid;
	uint64_t kib;
	int rc;

	if (parse_size(p->argv[1], &kib))
		return pvl_usage(p, "\"%s\" is not a size such as 512m, 2g or 262144k", p->argv[1]);
	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (!p->ops->mem_set || !p->ops->mem_max)
		return pvl_cannot(p);
	rc = max ? p->ops->mem_max(p->host, domid, kib, &err) :
		   p->ops->mem_set(p->host, domid, kib, pvl_opt(p, "wait"), pvl_timeout(p, 60000), &err);
	if (rc)
		return pvl_fail(p, &err);
	if (p->dry_run)
		pvl_note(p, "would set the memory%s of domain %u to %llu KiB", max ? " limit" : "", domid,
			 (unsigned long long)kib);
	fields = out_obj();
	out_int(fields, "domid", domid);
	out_int(fields, "kib", (long long)kib);
	return pvl_done(p, fields);
}

int cmd_mem_set(struct pvl *p)
{
	return memory(p, false);
}

int cmd_mem_max(struct pvl *p)
{
	return memory(p, true);
}
