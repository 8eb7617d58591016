/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_HOST_XEN_PCI_H
#define PVL_HOST_XEN_PCI_H
/* What the files of PCI passthrough on Xen share: the nodes of backend/pci, Xen's own word on who has a device, and
 * handing a device back.
 *
 * Records  libxl writes /libxl/pci/BDF/domid at attach and takes it away when an attach fails, also one of a device that
 *          another guest has.  So the owner is read from the back end's nodes, and Xen is asked whether some guest has it.
 */
#include <xenctrl.h>
#include "host-xen.h"
#include "pci.h"

#define PCI_BACK "/local/domain/0/backend/pci"

/* One device of a domain's back end, as its nodes say. */
struct pci_slot {
	unsigned index;     /* N of dev-N */
	uint32_t sbdf;
	unsigned state;     /* of state-N, 0: none */
	unsigned vdevfn;
	char opts[64];      /* as in struct pci_guest_dev */
};
/* The devices of a domain; none (nr 0) is no error. */
int xen_pci_slots(struct host *h, uint32_t domid, struct pci_slot **out, unsigned *nr, struct pvb_error *err);
/* One of them: 0, or -ENOENT without text. */
int xen_pci_slot(struct host *h, uint32_t domid, uint32_t sbdf, struct pci_slot *out);
/* The scan, with owners, labels and Xen's word. */
int xen_pci_scan(struct host *h, struct pci_host *out, bool *iommu, struct pvb_error *err);
/* Does Xen say that some guest has it?  1, 0, -errno. */
int xen_pci_taken(struct host *h, uint32_t sbdf);
/* Domain domid (UINT32_MAX: whichever) has it no more: forget the record, reset it, and see that it reads and writes no memory
 * by itself.  -EIO when it still could or could not be reset. */
int xen_pci_settle(struct host *h, uint32_t domid, uint32_t sbdf, struct pvb_error *err);
/* Drop libxl's record of an owner.  Was there one? */
bool xen_pci_forget_owner(struct host *h, uint32_t sbdf);
/* PV Linux binds the interrupt pin of each device that it enables, and never unbinds it; when such a guest goes on in another domain Xen
 * refuses to map that interrupt again, and Linux (tried: 6.1) walks on from a list entry that it has just freed.  So it is noted
 * which domain had such a device, as long as the domain is there. */
void xen_pci_note_intx(struct host *h, uint32_t domid, const struct pci_dev *d);
char *xen_pci_had_intx(struct host *h, uint32_t domid); /* the device's name, or NULL */
/* Back from pciback to a driver (NULL: none, "": whichever wants it), by sysfs alone. */
int xen_pci_restore(const struct pci_dev *d, const char *driver, struct pvb_error *err);

/* --- host-xen-pcipv.c: a PV guest's devices ---------------------------------------------------------- */

/* Have the guest let go; on failure it has the device as before.  -ETIMEDOUT and such. */
int xen_pcipv_ask(struct host *h, uint32_t domid, const struct pci_slot *s, int timeout_ms, struct pvb_error *err);
/* Have both ends look for a new device, if they are not at it: libxl does not when the bus is there but has no device. */
void xen_pcipv_kick(struct host *h, uint32_t domid, uint32_t sbdf);
/* Have pciback let go of it in the guest's name, for a guest that does not answer: it hears of a change from nobody else. */
void xen_pcipv_drive(struct host *h, uint32_t domid, const struct pci_slot *s, int timeout_ms);
/* Take it out of the list; no error if it is not there. */
int xen_pcipv_forget(struct host *h, uint32_t domid, uint32_t sbdf);
/* Take it away in Xen and in the store, whether or not the guest has let go. */
int xen_pci_take(struct host *h, uint32_t domid, const struct pci_dev *d, struct pvb_error *err);
/* Wait until both ends are connected and have the device. */
int xen_pcipv_connected(struct host *h, uint32_t domid, uint32_t sbdf, int timeout_ms, struct pvb_error *err);
/* The whole bus, of a guest that never connected. */
void xen_pcipv_drop_all(struct host *h, uint32_t domid);
int xen_pcipv_state(struct host *h, uint32_t domid, bool front);

/* --- host-xen-pciown.c: what dom0 keeps and what is assignable --------------------------------------- */

int xen_pci_add(struct host *h, const uint32_t *sbdf, unsigned nr, const char *label, bool dry_run, struct pvb_error *err);
int xen_pci_remove(struct host *h, uint32_t sbdf, bool back, bool dry_run, struct pvb_error *err);
int xen_pci_by_label(struct host *h, const char *label, uint32_t *sbdf, struct pvb_error *err);
/* The address that a NIC has by itself, from dom0's driver or as it was noted when it became assignable; -ENODATA: not known. */
int xen_pci_mac(struct host *h, uint32_t sbdf, uint8_t mac[6]);
int xen_pci_iommu(struct host *h, struct pvb_error *err); /* -ENODEV and what to do */
#endif
