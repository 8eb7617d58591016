/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_FRONT_H
#define PVB_FRONT_H
/* What pvblk and pvnet do alike: pages that stay granted as long as a connection lives, keys that all appear at once, and
 * devices that are made again under their driver. */
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
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

static inline int pvb_watch(struct xenbus_watch *w, const char *dir, const char *key,
			    void (*fn)(struct xenbus_watch *, const char *, const char *))
{
	int rc;

	w->node = kasprintf(GFP_NOIO, "%s/%s", dir, key);
	if (!w->node)
		return -ENOMEM;
	w->callback = fn;
	rc = register_xenbus_watch(w);
	if (rc) {
		kfree(w->node);
		w->node = NULL;
	}
	return rc;
}

/* One that was not set is none. */
static inline void pvb_unwatch(struct xenbus_watch *w)
{
	if (!w->node)
		return;
	unregister_xenbus_watch(w);
	kfree(w->node);
	w->node = NULL;
}

/* --- our state in the store -----------------------------------------------------------------------------
 *
 * A toolstack may take a device away and make one of the same name in one breath.  xenbus looks for the name when it gets to
 * it, and finds it: for it nothing has happened, and the driver would wait for ever for what another device's back end had
 * promised.  But our state in the store says so: nobody writes it but we and who makes a device.  So it is never written
 * without a look at what it is: a new device that is not Initialising is none to xenbus. */
static inline bool pvb_made_again(const struct xenbus_device *xdev)
{
	return xdev->state != XenbusStateInitialising &&
	       xenbus_read_driver_state(xdev->nodename) == XenbusStateInitialising;
}

/* What keys() writes (NULL: nothing) and the state, in one transaction; keys() is called again when somebody else was faster.
 * 0; -ENOENT: the device is being taken away; -ESTALE: it is another one by now; -errno. */
static inline int pvb_publish(struct xenbus_device *xdev, enum xenbus_state state,
			      int (*keys)(void *dev, struct xenbus_transaction t), void *dev)
{
	struct xenbus_transaction t;
	int rc, now;

	do {
		rc = xenbus_transaction_start(&t);
		if (rc)
			return rc;
		if (xenbus_scanf(t, xdev->nodename, "state", "%d", &now) != 1)
			rc = -ENOENT;
		else if (now == XenbusStateInitialising && xdev->state != XenbusStateInitialising)
			rc = -ESTALE;
		else if (keys)
			rc = keys(dev, t);
		if (!rc)
			rc = xenbus_printf(t, xdev->nodename, "state", "%d", state);
		if (rc) {
			xenbus_transaction_end(t, 1);
			return rc;
		}
		rc = xenbus_transaction_end(t, 0);
	} while (rc == -EAGAIN);
	if (!rc)
		xdev->state = state;
	return rc;
}

/* A device that goes is told nothing, nor one that was made again; what its driver does next is what it would do of the old one. */
static inline void pvb_switch(struct xenbus_device *xdev, enum xenbus_state state)
{
	int rc = state == xdev->state ? 0 : pvb_publish(xdev, state, NULL, NULL);

	if (rc && rc != -ENOENT && rc != -ESTALE)
		xenbus_dev_error(xdev, rc, "writing state %d", state);
	/* it stays one that was made again */
	if (rc != -ESTALE || state != XenbusStateInitialising)
		xdev->state = state;
}

/* As xenbus_dev_fatal(). */
#define pvb_fatal(xdev, rc, fmt, ...) do { \
	xenbus_dev_error(xdev, rc, fmt, ##__VA_ARGS__); \
	pvb_switch(xdev, XenbusStateClosing); \
} while (0)

/* The last word of a driver.  Who has told nothing yet tells nothing now: the device may be a new one already. */
static inline void pvb_leave(struct xenbus_device *xdev)
{
	if (xdev->state != XenbusStateInitialising)
		pvb_switch(xdev, XenbusStateClosed);
	/* the next driver's device is not the one that we had */
	if (pvb_made_again(xdev))
		xdev->state = XenbusStateInitialising;
}

struct pvb_again {
	struct work_struct work;
	struct xenbus_device *xdev;
};

static inline void pvb_again_work(struct work_struct *work)
{
	struct pvb_again *a = container_of(work, struct pvb_again, work);

	/* remove, then probe with the back end that is in the store now */
	if (device_reprobe(&a->xdev->dev) < 0)
		dev_warn(&a->xdev->dev, "was made again, and has no driver now\n");
	put_device(&a->xdev->dev);
	kfree(a);
}

/* Let the driver leave the old device and take the new one, from a work queue that the driver's remove does not wait for. */
static inline bool pvb_take_again(struct xenbus_device *xdev, struct workqueue_struct *wq)
{
	struct pvb_again *a = kmalloc(sizeof(*a), PVB_GFP);

	if (!a)
		return false;
	dev_info(&xdev->dev, "was taken away and made again\n");
	get_device(&xdev->dev);
	a->xdev = xdev;
	INIT_WORK(&a->work, pvb_again_work);
	return queue_work(wq, &a->work);
}
#endif
