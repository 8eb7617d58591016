// SPDX-License-Identifier: GPL-2.0-or-later
/* info: what the host is. */
#include "config.h"
#include <stdio.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

static int topology(struct json_object *obj)
{
	static const struct out_col cpu[] = { { "cpu", "cpu", 3 }, { "core", "core", 7, ":" }, { "socket", "socket", 9 },
					      { "node", "node", 8 } },
				    node[] = { { "node", "node", 4 }, { "memsize", "memsize", 10, ":" },
					       { "memfree", "memfree", 10 }, { "distances", "distances", 0, "    " } };
	struct json_object *rows;
	int rc = 0;

	if (json_object_object_get_ex(obj, "cpu_topology", &rows)) {
		puts("cpu_topology           :");
		rc = out_table(rows, cpu, 4, true);
	}
	if (!rc && json_object_object_get_ex(obj, "numa_info", &rows)) {
		puts("numa_info              :");
		rc = out_table(rows, node, 4, true);
	}
	return rc;
}

int cmd_info(struct pvl *p)
{
	struct pvb_error err = { 0 };
	struct json_object *obj, *value;
	char cell[1024];
	int rc = PVL_OK;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->info(p->host, &obj, &err))
		return pvl_fail(p, &err);
	if (!p->argc) {
		rc = p->json ? out_json(obj) : out_fields(obj);
		if (!rc && !p->json && pvl_opt(p, "numa"))
			rc = topology(obj);
	} else if (!json_object_object_get_ex(obj, p->argv[0], &value)) {
		rc = pvl_failf(p, "no field \"%s\"", p->argv[0]);
	} else if (p->json) {
		rc = out_json(value);
	} else {
		out_cell(value, cell, sizeof(cell));
		puts(cell);
		rc = out_flush();
	}
	json_object_put(obj);
	return rc ? PVL_FAIL : PVL_OK;
}
