// SPDX-License-Identifier: GPL-2.0-or-later
/* network-attach, network-detach, network-list. */
#include "config.h"
#include <stdio.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

int cmd_network_attach(struct pvl *p)
{
	const char *const *specs = (const char *const *)p->argv + 1;
	struct pvb_error err = { 0 };
	struct json_object *obj;
	unsigned domid;
	int rc;

	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (p->dry_run)
		rc = p->ops->nic_plan(p, specs, p->argc - 1, &obj, &err);
	else
		rc = p->ops->nic_attach(p->host, domid, specs, p->argc - 1, !pvl_opt(p, "no-wait"), p->timeout_ms, &obj, &err);
	if (rc)
		return pvl_fail(p, &err);
	if (p->dry_run && !p->json) {
		rc = out_json(obj);
		json_object_put(obj);
		return rc ? PVL_FAIL : PVL_OK;
	}
	return pvl_done(p, obj);
}

int cmd_network_detach(struct pvl *p)
{
	struct pvb_error err = { 0 };
	struct nic_info *list;
	unsigned domid, nr, i;

	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (!p->dry_run) {
		if (p->ops->nic_detach(p->host, domid, p->argv[1], p->force, pvl_timeout(p, p->force ? 3000 : 12000), &err))
			return pvl_fail(p, &err);
		return pvl_done(p, NULL);
	}
	if (p->ops->nic_list(p->host, domid, &list, &nr, &err))
		return pvl_fail(p, &err);
	i = nic_find(list, nr, p->argv[1]);
	if (i < nr)
		pvl_note(p, "would %sdetach NIC %u (%s, %s) from domain %u", p->force ? "by force " : "", list[i].devid,
			 list[i].mac, list[i].backend_path, domid);
	nic_list_free(list, nr);
	return i < nr ? pvl_done(p, NULL) : pvl_failf(p, "domain %u has no NIC \"%s\"", domid, p->argv[1]);
}

int cmd_network_list(struct pvl *p)
{
	static const struct out_col cols[] = {
		{ "devid", "Idx", -3 }, { "backend_domid", "BE", -2 }, { "mac", "Mac Addr.", -17 },
		{ "devid", "handle", 6 }, { "state", "state", 5 }, { "event_channel", "evt-ch", 6 },
		{ "ring_refs", "tx-/rx-ring-ref", -15 }, { "backend_path", "BE-path", -30 },
	}, name[] = { { "devid", "Idx", 0 } };
	struct json_object *rows = out_arr();
	int rc = PVL_OK;

	for (int i = 0; i < p->argc; i++) {
		struct pvb_error err = { 0 };
		struct nic_info *list;
		unsigned domid, nr;

		if (pvl_domain(p, p->argv[i], true, &domid)) {
			rc = PVL_FAIL;
			continue;
		}
		if (p->ops->nic_list(p->host, domid, &list, &nr, &err)) {
			rc = pvl_fail(p, &err);
			continue;
		}
		for (unsigned d = 0; d < nr; d++)
			json_object_array_add(rows, nic_json(&list[d]));
		nic_list_free(list, nr);
	}
	if (pvl_opt(p, "names"))
		rc = out_table(rows, name, 1, false) ? PVL_FAIL : rc;
	else if (!p->json)
		rc = out_table(rows, cols, sizeof(cols) / sizeof(cols[0]), true) ? PVL_FAIL : rc;
	else if (!rc) /* else the error object is the answer */
		rc = out_json(rows) ? PVL_FAIL : rc;
	json_object_put(rows);
	return rc;
}
