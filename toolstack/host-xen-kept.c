// SPDX-License-Identifier: GPL-2.0-or-later
/* What pvl's own keys say of a domain: libxl keeps its configuration and knows nothing of them, so they are remembered beside it,
 * from one start of the domain to the next. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "cfg.h"
#include "host-xen.h"
#include "pci.h"

#define PCI_MAX_KEPT "pvl-pci-max" /* of libxl's userdata; missing: the default */
#define PCI_MAX_MOST 256

int xen_kept_read(const struct cfg *cfg, struct xen_kept *k, struct pvb_error *err)
{
	int rc;

	*k = (struct xen_kept){ .pci_max = PCI_DEFAULT_MAX };
	if (!cfg)
		return 0;
	rc = cfg_long(cfg, "pci_max", 0, PCI_MAX_MOST, &k->pci_max, err);
	if (rc == -ENOENT)
		rc = 0;
	return rc ? rc : xen_console_places(cfg, k->console, err);
}

int xen_kept_begin(struct host *h, uint32_t domid, const struct xen_kept *k, struct pvb_error *err)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%ld", k->pci_max);
	int rc = k->pci_max == PCI_DEFAULT_MAX ? 0 : libxl_userdata_store(h->ctx, domid, PCI_MAX_KEPT, (const uint8_t *)text, len);

	rc = rc ? xen_err(h, err, rc, "domain %u: pci_max can not be kept", domid) : 0;
	return rc ? rc : xen_console_serve(h, k->console, domid, err);
}

long xen_kept_pci_max(struct host *h, uint32_t domid)
{
	char text[16] = "", *end;
	uint8_t *kept = NULL;
	int len = 0;
	long max;

	if (libxl_userdata_retrieve(h->ctx, domid, PCI_MAX_KEPT, &kept, &len) == 0 && kept && len > 0 && len < (int)sizeof(text))
		snprintf(text, sizeof(text), "%.*s", len, (const char *)kept);
	free(kept);
	max = strtol(text, &end, 10);
	return *text && !*end && max >= 0 && max <= PCI_MAX_MOST ? max : PCI_DEFAULT_MAX;
}

void xen_kept_get(struct host *h, uint32_t domid, struct xen_kept *k)
{
	xen_console_kept(h, domid, k->console);
	k->pci_max = xen_kept_pci_max(h, domid);
}
