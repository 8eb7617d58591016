/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_AWAY_H
#define PVL_AWAY_H
/* A domain's PCI devices that are detached while it is saved or sent, and given back to it if it stays here.
 *
 * Promise   All or none: when one can not be detached, those before it are attached again.
 * Signals   SIGINT, SIGTERM and SIGHUP wait until all are detached, and then are a failure as another one.  Who is killed in
 *           between leaves the guest without devices that it can be given by pci-attach.
 * Errors    0 or -errno and err.  What is given back is said; what can not be is an error that is printed.
 */
#include "cmd.h"
#include "pci.h"

struct away {
	uint32_t domid;
	struct pci_guest_dev *dev;
	unsigned nr;               /* of dev that are detached */
};

int away_detach(struct away *a, struct pvl *p, uint32_t domid, struct pvb_error *err);
/* 0, or the number of those that the domain has not got again. */
unsigned away_back(const struct away *a, struct pvl *p);
void away_free(struct away *a);
#endif
