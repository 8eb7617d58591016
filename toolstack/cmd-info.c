// SPDX-License-Identifier: GPL-2.0-or-later
/* info: what the host is. */
#include "config.h"
#include <stdio.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

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
