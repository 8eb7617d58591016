// SPDX-License-Identifier: GPL-2.0-or-later
/* What doctor says of PCI devices: where the back ends' nodes, xl's own record and Xen disagree about who has one. */
#include "config.h"
#include <stdio.h>
#include "cmd.h"
#include "doctor.h"
#include "host.h"
#include "pci.h"

static void one(struct doctor *d, const struct pci_dev *dev, bool iommu)
{
	char todo[160];

	if (dev->owner >= 0 && !dev->taken && iommu) {
		snprintf(todo, sizeof(todo), "pvl -f pci-detach %lld %s", (long long)dev->owner, dev->name);
		doctor_find(d, "pci", "error", todo, "%s: domain %lld lists it, Xen has it back", dev->name, (long long)dev->owner);
	} else if (dev->owner < 0 && dev->taken) {
		doctor_find(d, "pci", "error", "find the domain in xl debug-keys Q, xl dmesg, and destroy it",
			    "%s: a guest has it, by Xen's word, and no record says which", dev->name);
	} else if (dev->owner >= 0 && dev->record != dev->owner) {
		doctor_find(d, "pci", "warning", "give it to domains by pvl, not by xl, until that domain is gone",
			    "%s: domain %lld has it, but xl's record is lost: xl lists it as free", dev->name, (long long)dev->owner);
	} else if (dev->owner < 0 && dev->record >= 0) {
		snprintf(todo, sizeof(todo), "xenstore-rm /libxl/pci/%04x-%02x-%02x-%x/domid", dev->sbdf >> 16, dev->sbdf >> 8 & 0xff,
			 dev->sbdf >> 3 & 0x1f, dev->sbdf & 7);
		doctor_find(d, "pci", "warning", todo, "%s: nobody has it, but xl's record says domain %lld", dev->name,
			    (long long)dev->record);
	} else if (pci_on_pciback(dev) && !iommu) {
		snprintf(todo, sizeof(todo), "pvl pci-assignable-remove -r %s", dev->name);
		doctor_find(d, "pci", "warning", todo, "%s: pciback has it, but without an IOMMU no domain can", dev->name);
	}
}

void doctor_pci(struct doctor *d)
{
	struct pvb_error err = { 0 };
	struct pci_host pci;
	bool iommu;

	if (!d->p->ops->pci)
		return;
	if (d->p->ops->pci->scan(d->p->host, &pci, &iommu, &err)) {
		doctor_find(d, "pci", "error", NULL, "PCI devices can not be looked at: %s", err.text);
		return;
	}
	for (unsigned i = 0; i < pci.nr; i++)
		one(d, &pci.dev[i], iommu);
	pci_free(&pci);
}
