/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_DOCTOR_H
#define PVL_DOCTOR_H
/* Looking for what is wrong with a host's devices.  Reads only; each finding says what to do about it.
 *
 * Checks   stale    back end directories whose domain is gone; devices with one end only
 *          stuck    devices that have been closing, or never connected, while their domain runs
 *          kernel   (Xen) xen-blkback or xen-netback bound to or loaded beside pvbackd's devices; modules that are missing
 *          daemon   pvbackd not answering; alarms and errors it reports
 *          console  (Xen) xenconsoled beside a pvbackd that serves consoles, or neither; what pvbackd says of one
 *          script   (Xen) the hotplug scripts block-pvbus and vif-pvbus missing or not executable
 *          pci      (Xen) devices about whose owner the back ends' nodes, xl's record and Xen disagree; without an IOMMU, on pciback
 *          network  a bridge that a NIC's configuration names and the host does not have; the TAP of a connected NIC gone
 */
#include <stdbool.h>

struct pvl;
struct json_object;

struct doctor {
	struct pvl *p;
	struct json_object *findings;  /* {check, severity, what, todo} */
	bool xen;
	const char *sys, *proc;        /* "/sys", "/proc"; tests give others */
};

/* severity: "error" (something does not work) or "warning". */
void doctor_find(struct doctor *d, const char *check, const char *severity, const char *todo, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void doctor_store(struct doctor *d);
void doctor_kernel(struct doctor *d);
void doctor_daemon(struct doctor *d);
void doctor_consoles(struct doctor *d);
void doctor_pci(struct doctor *d);
#endif
