/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_FRONT_H
#define PVB_FRONT_H
/* What pvblk and pvnet do alike: pages that stay granted as long as a connection lives, and keys that all appear at once. */
#include <linux/gfp.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <xen/xenbus.h>

/* I/O may wait for us, so getting memory must not wait for I/O; who asked for it says when there is none. */
#define PVB_GFP (GFP_NOIO | __GFP_NOWARN)

/* A page of ours, granted for as long as the connection lives. */
struct pvb_page {
	struct page *page;
	grant_ref_t ref;
};

/* All zero.  0 or -errno. */
static inline int pvb_page_make(struct xenbus_device *xdev, struct pvb_page *p, bool readonly)
{
	struct page *page = alloc_page(PVB_GFP | __GFP_ZERO);
	int rc;

	if (!page)
		return -ENOMEM;
	rc = gnttab_grant_foreign_access(xdev->otherend_id, xen_page_to_gfn(page), readonly);
	if (rc < 0) {
		__free_page(page);
		return rc;
	}
	p->page = page;
	p->ref = rc;
	return 0;
}

/* A page the back end still uses is freed by the kernel once it does not.  One that was not made is none. */
static inline void pvb_page_drop(struct pvb_page *p)
{
	if (p->page)
		gnttab_end_foreign_access(p->ref, p->page);
	p->page = NULL;
}

/* What keys() writes, in one transaction; it is called again when somebody else was faster.  0 or -errno. */
static inline int pvb_publish(int (*keys)(void *dev, struct xenbus_transaction t), void *dev)
{
	struct xenbus_transaction t;
	int rc;

	do {
		rc = xenbus_transaction_start(&t);
		if (rc)
			return rc;
		rc = keys(dev, t);
		if (rc) {
			xenbus_transaction_end(t, 1);
			return rc;
		}
		rc = xenbus_transaction_end(t, 0);
	} while (rc == -EAGAIN);
	return rc;
}
#endif
