// SPDX-License-Identifier: GPL-2.0-or-later
/* doctor: run the checks, print what they found. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "doctor.h"
#include "host.h"
#include "output.h"

static void print(struct json_object *findings)
{
	for (size_t i = 0; i < json_object_array_length(findings); i++) {
		struct json_object *f = json_object_array_get_idx(findings, i),
				   *todo = json_object_object_get(f, "todo");

		printf("%s: %s: %s\n", json_object_get_string(json_object_object_get(f, "severity")),
		       json_object_get_string(json_object_object_get(f, "check")),
		       json_object_get_string(json_object_object_get(f, "what")));
		if (todo)
			printf("    -> %s\n", json_object_get_string(todo));
	}
}

int cmd_doctor(struct pvl *p)
{
	struct doctor d = { .p = p, .findings = out_arr(), .sys = "/sys", .proc = "/proc" };
	struct pvb_error err = { 0 };
	const struct host_ops *ops;
	struct json_object *obj;
	const char *rest;
	size_t nr;
	int rc;

	ops = host_choose(p->host_spec, &rest, &err);
	if (!ops) {
		json_object_put(d.findings);
		return pvl_fail(p, &err);
	}
	d.xen = strcmp(ops->name, "xen") == 0;
	p->ops = ops;
	if (ops->open(p, rest, &p->host, &err)) {
		/* a host that can not be opened is what a doctor is for */
		p->host = NULL;
		doctor_find(&d, "host", "error", NULL, "%s", err.text);
	}
	doctor_kernel(&d);
	if (p->host) {
		doctor_daemon(&d);
		doctor_consoles(&d);
		doctor_store(&d);
		doctor_pci(&d);
	}
	nr = json_object_array_length(d.findings);
	if (p->json) {
		obj = out_obj();
		out_bool(obj, "ok", nr == 0);
		json_object_object_add(obj, "findings", d.findings);
		rc = out_json(obj);
		json_object_put(obj);
	} else {
		print(d.findings);
		if (!nr)
			puts("all well");
		rc = out_flush();
		json_object_put(d.findings);
	}
	return rc || nr ? PVL_FAIL : PVL_OK;
}
