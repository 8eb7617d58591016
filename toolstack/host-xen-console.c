// SPDX-License-Identifier: GPL-2.0-or-later
/* A Xen domain's consoles: their terminals, by libxl, and pvconsole=, by pvbackd. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen.h"
#include "output.h"
#include "statscli.h"

#define KEPT "pvconsole" /* libxl keeps it with the domain */

int xen_console_tty(struct host *h, uint32_t domid, const char *type, int num, char **path, struct pvb_error *err)
{
	libxl_console_type t = LIBXL_CONSOLE_TYPE_PV;
	char *tty = NULL;
	int rc;

	if (type && libxl_console_type_from_string(type, &t))
		return pvb_err(err, -EINVAL, "console type \"%s\" is not pv, serial or vuart", type);
	h->log.cause[0] = '\0';
	rc = type || num >= 0 ? libxl_console_get_tty(h->ctx, domid, num < 0 ? 0 : num, t, &tty) :
				libxl_primary_console_get_tty(h->ctx, domid, &tty);
	if (rc == 0 && (!tty || !*tty)) {
		free(tty);
		return pvb_err(err, -ENOENT, "domain %u has no such console, or nobody serves it", domid);
	}
	if (rc)
		return xen_err(h, err, rc, "console of domain %u", domid);
	*path = tty;
	return 0;
}

/* The list, or the one text, with blanks between. */
int xen_console_places(const struct cfg *cfg, char text[XEN_CONSOLE_TEXT], struct pvb_error *err)
{
	const char *item;
	unsigned nr = 0;
	size_t n = 0;
	int rc = 0;

	text[0] = 0;
	if (!cfg_is_set(cfg, "pvconsole"))
		return 0;
	if (!cfg_is_list(cfg, "pvconsole")) {
		rc = cfg_string(cfg, "pvconsole", &item, err);
		if (rc == 0 && strlen(item) >= XEN_CONSOLE_TEXT)
			rc = pvb_err(err, -E2BIG, "%s: pvconsole: longer than %u bytes", cfg_name(cfg), XEN_CONSOLE_TEXT - 1);
		if (rc == 0)
			strcpy(text, item);
		return rc;
	}
	rc = cfg_list_len(cfg, "pvconsole", &nr, err);
	for (unsigned i = 0; i < nr && rc == 0; i++) {
		rc = cfg_list_item(cfg, "pvconsole", i, &item, err);
		if (rc == 0 && n + strlen(item) + 2 > XEN_CONSOLE_TEXT)
			rc = pvb_err(err, -E2BIG, "%s: pvconsole: longer than %u bytes", cfg_name(cfg), XEN_CONSOLE_TEXT - 1);
		if (rc == 0)
			n += (size_t)snprintf(text + n, XEN_CONSOLE_TEXT - n, "%s%s", i ? " " : "", item);
	}
	return rc;
}

int xen_console_serve(struct host *h, const char *text, uint32_t domid, struct pvb_error *err)
{
	struct json_object *req, *reply;
	char buf[256];
	int rc;

	if (!*text)
		return 0;
	req = out_obj();
	out_str(req, "cmd", "console");
	out_int(req, "domid", domid);
	out_str(req, "serve", text);
	rc = statscli_call(pvl_ctl(h->p, buf, sizeof(buf)), req, &reply, err);
	if (rc)
		return pvb_err_prefix(err, rc, "pvconsole");
	json_object_put(reply);
	rc = libxl_userdata_store(h->ctx, domid, KEPT, (const uint8_t *)text, (int)strlen(text));
	return rc ? xen_err(h, err, rc, "domain %u: pvconsole can not be kept for its next start", domid) : 0;
}

void xen_console_kept(struct host *h, uint32_t domid, char text[XEN_CONSOLE_TEXT])
{
	uint8_t *kept = NULL;
	int len = 0;

	text[0] = 0;
	if (libxl_userdata_retrieve(h->ctx, domid, KEPT, &kept, &len) == 0 && kept && len > 0 && len < XEN_CONSOLE_TEXT) {
		memcpy(text, kept, (size_t)len);
		text[len] = 0;
	}
	free(kept);
}
