/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_PCI_H
#define PVL_PCI_H
/* This host's PCI devices, as the kernel shows them, and what speaks against giving one to a guest.
 *
 * The scan reads /sys and /proc below a root (tests have one of their own; NULL is "") and asks Xen nothing; who owns a
 * device is filled in by the host (struct pci_ops).  Looking never changes anything.
 *
 * Names     A device is DDDD:BB:SS.F, lower case, everywhere; a text may leave out the segment, as for xl.
 * Judgement What speaks against it is a list of sentences, each with how it can be overcome.  It is made in one place, so that
 *           pci-assignable-list --candidates, pci-assignable-add, pci-attach and create never disagree.
 * Errors    0 or -errno and err.  Never logs.
 * Threads   None.
 */
#include <stdbool.h>
#include <stdint.h>
#include "error.h"

struct host;
struct json_object;

#define PCI_NAME 16       /* room for DDDD:BB:SS.F */
#define PCI_DEFAULT_MAX 6 /* devices of one domain, unless pci_max= says otherwise */

struct pci_bar {
	uint64_t start, end;      /* inclusive; both 0: not there */
	bool memory;              /* else ports */
};

struct pci_dev {
	char name[PCI_NAME];
	uint32_t sbdf;            /* segment << 16 | bus << 8 | slot << 3 | function */
	uint32_t class;           /* base, subclass, interface: 24 bits */
	uint16_t vendor, device;
	bool bridge;              /* by class or by header: no endpoint */
	bool boot_vga;            /* firmware's screen */
	bool enabled, msi;        /* a driver has switched it on; it has message interrupts now */
	bool intx;                /* it could have an interrupt of the old kind, on a pin */
	unsigned irq;             /* 0: none */
	char driver[32];          /* "": none */
	char reset[48];           /* how the kernel can reset it, "" = not at all */
	char requester[PCI_NAME]; /* the bridge in whose name it makes requests, "" = its own */
	struct pci_bar bar[6];
	char *path;               /* its directory */
	/* what the host knows; -1, "" and false by the scan */
	int64_t owner;            /* domain that has it by the back ends' nodes */
	int64_t record;           /* domain that has it by libxl's record, which gets lost */
	bool taken;               /* Xen says that some guest has it */
	char label[64];           /* name given with pci-assignable-add -n */
};

struct pci_host {
	struct pci_dev *dev;      /* ordered by sbdf */
	unsigned nr;
	const char *root;
	bool pciback;             /* its driver is loaded */
};

int pci_scan(struct pci_host *out, const char *root, struct pvb_error *err);
void pci_free(struct pci_host *pci);

/* "[DDDD:]BB:SS.F" (all of the text, F may be "*" if all is not NULL); the function is 0 for "*".  0 or -EINVAL. */
int pci_parse(const char *text, uint32_t *sbdf, bool *all);
void pci_name(uint32_t sbdf, char name[PCI_NAME]);
struct pci_dev *pci_find(const struct pci_host *pci, uint32_t sbdf); /* or NULL */
bool pci_on_pciback(const struct pci_dev *d);
bool pci_bus_master(const struct pci_host *pci, const struct pci_dev *d);

/* --- judgement --------------------------------------------------------------------------------------- */

enum pci_hard {
	PCI_NOTE,  /* said, stops nothing */
	PCI_RESET, /* --no-reset overrides it */
	PCI_FORCE, /* --force overrides it */
	PCI_NEVER, /* nothing does */
};
struct pci_reason {
	enum pci_hard hard;
	char text[200];
};
#define PCI_MAX_REASONS 12
struct pci_reasons {
	unsigned nr;
	struct pci_reason why[PCI_MAX_REASONS];
};
/* What speaks against taking d away from dom0 (pciback gets it). */
void pci_judge_take(const struct pci_host *pci, const struct pci_dev *d, struct pci_reasons *out);
/* What speaks against giving d, on pciback already, to domain domid (-1: to some domain). */
void pci_judge_give(const struct pci_host *pci, const struct pci_dev *d, int64_t domid, struct pci_reasons *out);
/* The first reason that is not overridden becomes err, with the device's name: -EBUSY.  0 if there is none. */
int pci_refuse(const struct pci_dev *d, const struct pci_reasons *why, bool force, bool no_reset, struct pvb_error *err);

/* --- the host's side --------------------------------------------------------------------------------- */

struct pci_guest_dev {
	char name[PCI_NAME];
	uint32_t sbdf;
	unsigned vslot;           /* slot << 3 | function in the guest, 0 if not known (PV) */
	char opts[64];            /* ",permissive=1" and such, as a specification has them; "" = the defaults */
};

struct pci_attach_opts {
	bool no_reset;            /* take a device that can not be reset */
	bool dry_run;             /* all checks, then nothing */
	int timeout_ms;
};

struct pci_ops {
	/* The scan, and what Xen and our records know.  -ENODEV with err when there is no IOMMU and iommu is NULL; else *iommu. */
	int (*scan)(struct host *h, struct pci_host *out, bool *iommu, struct pvb_error *err);
	/* All or none: on failure each device is where it was. */
	int (*add)(struct host *h, const uint32_t *sbdf, unsigned nr, const char *label, bool dry_run, struct pvb_error *err);
	/* back: to the driver that it came from. */
	int (*remove)(struct host *h, uint32_t sbdf, bool back, bool dry_run, struct pvb_error *err);
	/* spec as in pci=[].  *out: what has been attached. */
	int (*attach)(struct host *h, uint32_t domid, const char *spec, const struct pci_attach_opts *o,
		      struct json_object **out, struct pvb_error *err);
	int (*detach)(struct host *h, uint32_t domid, const char *spec, bool force, bool dry_run, int timeout_ms,
		      struct pvb_error *err);
	int (*list)(struct host *h, uint32_t domid, struct pci_guest_dev **out, unsigned *nr, struct pvb_error *err);
	/* The device that a name of pci-assignable-add -n means. */
	int (*by_label)(struct host *h, const char *label, uint32_t *sbdf, struct pvb_error *err);
};
#endif
