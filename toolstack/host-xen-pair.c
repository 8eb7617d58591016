// SPDX-License-Identifier: GPL-2.0-or-later
/* NICs that are a pair with a passed-through one (pair=BDF): the address that both must have, and the keys that tell both ends.
 * Giving the passed NIC to the domain is host-xen-pci.c's; either half may be there without the other.
 *
 * libxl has no field for the pair, so it is in gatewaydev, which nothing but the hotplug script vif-route reads: what libxl
 * keeps with the domain, a saved domain and one on its way to another host have it with them, whichever tool made them.
 */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen-pci.h"
#include "nicspec.h"

#define KEPT      "pair="
#define CLASS_NET 0x02 /* base class of network controllers */

bool xen_pair_of(const libxl_device_nic *nic, uint32_t *sbdf)
{
	return nic->gatewaydev && strncmp(nic->gatewaydev, KEPT, strlen(KEPT)) == 0 &&
	       pci_parse(nic->gatewaydev + strlen(KEPT), sbdf, NULL) == 0;
}

int xen_pair_set(libxl_device_nic *nic, const char *bdf, struct pvb_error *err)
{
	char name[PCI_NAME], *text;
	uint32_t sbdf, other;

	if (pci_parse(bdf, &sbdf, NULL))
		return pvb_err(err, -EINVAL, "pair=%s is no PCI device: not [DDDD:]BB:SS.F", bdf);
	if (xen_pair_of(nic, &other))
		return pvb_err(err, -EINVAL, "pair is given twice (\"%s\", \"%s\")", nic->gatewaydev + strlen(KEPT), bdf);
	if (nic->gatewaydev)
		return pvb_err(err, -EINVAL, "pair=%s and gatewaydev=%s: only one of them", bdf, nic->gatewaydev);
	pci_name(sbdf, name);
	if (asprintf(&text, KEPT "%s", name) < 0)
		return pvb_err(err, -ENOMEM, "out of memory");
	nic->gatewaydev = text;
	return 0;
}

bool xen_pair_lacks_mac(const libxl_device_nic *nic)
{
	static const libxl_mac none;
	uint32_t sbdf;

	return xen_pair_of(nic, &sbdf) && memcmp(nic->mac, none, sizeof(none)) == 0;
}

static int is_nic(uint32_t sbdf, const char *name, struct pvb_error *err)
{
	struct pci_host pci;
	struct pci_dev *d;
	int rc = pci_scan(&pci, NULL, err);

	if (rc)
		return rc;
	d = pci_find(&pci, sbdf);
	if (d && d->class >> 16 != CLASS_NET)
		rc = pvb_err(err, -EINVAL, "pair=%s is no NIC (class %06x)", name, d->class);
	pci_free(&pci);
	return rc;
}

int xen_pair_check(struct host *h, libxl_device_nic *nic, struct pvb_error *err)
{
	char name[PCI_NAME], theirs[18], ours[18];
	uint8_t mac[6];
	uint32_t sbdf;
	bool known;
	int rc;

	if (!xen_pair_of(nic, &sbdf))
		return 0;
	pci_name(sbdf, name);
	rc = is_nic(sbdf, name, err);
	if (rc)
		return rc;
	known = xen_pci_mac(h, sbdf, mac) == 0;
	if (xen_pair_lacks_mac(nic)) {
		if (!known)
			return pvb_err(err, -ENODATA, "pair=%s: that NIC's address is not known; say mac=, the address it will have in the guest",
				       name);
		memcpy(nic->mac, mac, sizeof(mac));
	}
	if (!known || memcmp(nic->mac, mac, sizeof(mac)) == 0)
		return 0;
	nicspec_mac_text(nic->mac, ours);
	nicspec_mac_text(mac, theirs);
	return pvb_err(err, -EINVAL, "mac=%s, but pair=%s has %s: both halves of a pair have one address; leave mac= out", ours, name, theirs);
}

int xen_pair_tell(struct host *h, uint32_t domid, const libxl_device_nic *nic, struct pvb_error *err)
{
	char path[96], name[PCI_NAME];
	uint32_t sbdf;
	int rc;

	if (!xen_pair_of(nic, &sbdf))
		return 0;
	pci_name(sbdf, name);
	if (!xen_store(h))
		return pvb_err(err, -EIO, "NIC %d of domain %u: no store to say that it is a pair", nic->devid, domid);
	snprintf(path, sizeof(path), "/local/domain/%u/backend/vif/%u/%d/pair", nic->backend_domid, domid, nic->devid);
	rc = pvb_store_write(h->store, PVB_NO_TXN, path, name);
	snprintf(path, sizeof(path), "/local/domain/%u/device/vif/%d/pair", domid, nic->devid);
	if (!rc)
		rc = pvb_store_write(h->store, PVB_NO_TXN, path, "1");
	return rc ? pvb_err(err, rc, "NIC %d of domain %u: %s can not be written", nic->devid, domid, path) : 0;
}
