// SPDX-License-Identifier: GPL-2.0-or-later
/* usbctrl-attach, usbctrl-detach, usbdev-attach, usbdev-detach, usb-list. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include "cmd.h"
#include "host.h"
#include "output.h"
#include "usb.h"

static const struct usb_ops *usb_ops(struct pvl *p)
{
	if (!pvl_host(p))
		return NULL;
	if (!p->ops->usb)
		pvl_failf(p, "host %s has no USB devices to pass through; only host xen has", p->ops->name);
	return p->ops->usb;
}

int cmd_usbctrl_attach(struct pvl *p)
{
	struct json_object *obj = NULL;
	struct pvb_error err = { 0 };
	struct usb_ctrl_spec spec;
	unsigned domid;

	if (usb_ctrl_spec_parse(&spec, (const char *const *)p->argv + 1, (unsigned)p->argc - 1, &err))
		return pvl_usage(p, "%s", err.text);
	if (!usb_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->usb->ctrl_attach(p->host, domid, &spec, &obj, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, obj);
}

int cmd_usbctrl_detach(struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned domid;
	uint64_t devid;

	if (pvb_parse_u64(p->argv[1], 0, 255, &devid))
		return pvl_usage(p, "\"%s\" is no number of a USB controller", p->argv[1]);
	if (!usb_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->usb->ctrl_detach(p->host, domid, (int)devid, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

int cmd_usbdev_attach(struct pvl *p)
{
	struct json_object *obj = NULL;
	struct pvb_error err = { 0 };
	struct usb_spec spec;
	unsigned domid;

	if (usb_spec_parse(&spec, (const char *const *)p->argv + 1, (unsigned)p->argc - 1, &err))
		return pvl_usage(p, "%s", err.text);
	if (spec.bus < 0 && spec.vendor < 0 && !*spec.port_path)
		return pvl_usage(p, "USB device: none is named");
	if (!usb_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->usb->attach(p->host, domid, &spec, &obj, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, obj);
}

int cmd_usbdev_detach(struct pvl *p)
{
	struct pvb_error err = { 0 };
	char words[2][32];
	struct usb_spec spec;
	uint64_t ctrl, port;
	unsigned domid;
	int rc;

	/* xl's manual wants words, its code two numbers */
	if (p->argc == 3 && !pvb_parse_u64(p->argv[1], 0, 255, &ctrl) && !pvb_parse_u64(p->argv[2], 1, 255, &port)) {
		const char *const texts[] = { words[0], words[1] };

		snprintf(words[0], sizeof(words[0]), "controller=%u", (unsigned)ctrl);
		snprintf(words[1], sizeof(words[1]), "port=%u", (unsigned)port);
		rc = usb_spec_parse(&spec, texts, 2, &err);
	} else {
		rc = usb_spec_parse(&spec, (const char *const *)p->argv + 1, (unsigned)p->argc - 1, &err);
	}
	if (rc)
		return pvl_usage(p, "%s", err.text);
	if (!usb_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->usb->detach(p->host, domid, &spec, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

/* xl's table: a header and a line for each controller, then its ports. */
static void print_controller(struct json_object *c)
{
	struct json_object *list = json_object_object_get(c, "devices");
	int ports = json_object_get_int(json_object_object_get(c, "ports"));

	printf("%-6s %-12s %-3s %-5s %-7s %-5s\n", "Devid", "Type", "BE", "state", "usb-ver", "ports");
	printf("%-6d %-12s %-3d %-5d %-7d %-5d\n", json_object_get_int(json_object_object_get(c, "devid")),
	       json_object_get_string(json_object_object_get(c, "type")),
	       json_object_get_int(json_object_object_get(c, "backend_domid")),
	       json_object_get_int(json_object_object_get(c, "state")), json_object_get_int(json_object_object_get(c, "version")), ports);
	for (int port = 1; port <= ports; port++) {
		printf("  Port %d:", port);
		for (size_t i = 0; i < json_object_array_length(list); i++) {
			struct json_object *d = json_object_array_get_idx(list, i);

			if (json_object_get_int(json_object_object_get(d, "port")) == port)
				printf(" Bus %03x Device %03x", (unsigned)json_object_get_int(json_object_object_get(d, "hostbus")),
				       (unsigned)json_object_get_int(json_object_object_get(d, "hostaddr")));
		}
		putchar('\n');
	}
}

int cmd_usb_list(struct pvl *p)
{
	struct json_object *rows = out_arr();
	struct pvb_error err = { 0 };
	unsigned domid;
	int rc = 0;

	if (!usb_ops(p) || pvl_domain(p, p->argv[0], false, &domid)) {
		json_object_put(rows);
		return PVL_FAIL;
	}
	if (p->ops->usb->list(p->host, domid, rows, &err)) {
		json_object_put(rows);
		return pvl_fail(p, &err);
	}
	if (p->json)
		rc = out_json(rows);
	for (size_t i = 0; i < json_object_array_length(rows) && !p->json; i++)
		print_controller(json_object_array_get_idx(rows, i));
	json_object_put(rows);
	return rc || fflush(stdout) ? PVL_FAIL : PVL_OK;
}
