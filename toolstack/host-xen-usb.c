// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving USB devices to Xen domains and getting them back.  Everything is checked before anything is touched; libxl then does
 * it, and its own list is looked at afterwards. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen-usb.h"
#include "output.h"

#define USB_MS 20000 /* for QEMU or a back end to answer, when nobody says otherwise */

static int domain_fits(struct host *h, uint32_t domid, struct pvb_error *err)
{
	libxl_dominfo i;
	int rc = xen_look(h, domid, &i, err);

	if (!rc && (i.shutdown || i.dying))
		rc = pvb_err(err, -ESRCH, "domain %u has shut down", domid);
	libxl_dominfo_dispose(&i);
	return rc;
}

bool xen_usb_place(struct host *h, uint32_t domid, uint8_t bus, uint8_t addr, libxl_device_usbdev *out)
{
	int nr = 0;
	libxl_device_usbdev *list = libxl_device_usbdev_list(h->ctx, domid, &nr);
	bool found = false;

	for (int i = 0; list && i < nr && !found; i++)
		if (list[i].u.hostdev.hostbus == bus && list[i].u.hostdev.hostaddr == addr) {
			found = true;
			*out = list[i]; /* no pointers in it */
		}
	libxl_device_usbdev_list_free(list, nr);
	return found;
}

/* libxl takes what was plugged in again for what was there before. */
static bool is_stale(struct host *h, uint32_t domid, const libxl_device_usbdev *dev)
{
	struct usb_kept k;

	return xen_usb_kept_at(h, domid, dev->ctrl, dev->port, &k) &&
	       (k.bus != dev->u.hostdev.hostbus || k.addr != dev->u.hostdev.hostaddr);
}

int xen_usb_scan(struct host *h, struct usb_host *usb, struct pvb_error *err)
{
	int nr_doms = 0, rc = usb_scan(usb, NULL, err);
	libxl_dominfo *doms;

	if (rc)
		return rc;
	doms = libxl_list_domain(h->ctx, &nr_doms);
	if (!doms) {
		usb_free(usb);
		return xen_err(h, err, ERROR_FAIL, "listing domains");
	}
	for (int k = 0; k < nr_doms; k++) {
		int nr = 0;
		libxl_device_usbdev *list = doms[k].domid ? libxl_device_usbdev_list(h->ctx, doms[k].domid, &nr) : NULL;

		for (int i = 0; list && i < nr; i++)
			for (unsigned d = 0; d < usb->nr; d++)
				if (usb->dev[d].bus == list[i].u.hostdev.hostbus && usb->dev[d].addr == list[i].u.hostdev.hostaddr &&
				    !is_stale(h, doms[k].domid, &list[i]))
					usb->dev[d].owner = doms[k].domid;
		libxl_device_usbdev_list_free(list, nr);
	}
	libxl_dominfo_list_free(doms, nr_doms);
	return 0;
}

/* --- controllers ------------------------------------------------------------------------------------- */

/* 0 and *out, to be disposed of; -ENOENT with err. */
static int find_ctrl(struct host *h, uint32_t domid, int devid, libxl_device_usbctrl *out, struct pvb_error *err)
{
	int nr = 0, rc = -ENOENT;
	libxl_device_usbctrl *list = libxl_device_usbctrl_list(h->ctx, domid, &nr);

	libxl_device_usbctrl_init(out);
	for (int i = 0; list && i < nr && rc; i++)
		if (list[i].devid == devid) {
			libxl_device_usbctrl_copy(h->ctx, out, &list[i]);
			rc = 0;
		}
	libxl_device_usbctrl_list_free(list, nr);
	return rc ? pvb_err(err, rc, "domain %u has no USB controller %d", domid, devid) : 0;
}

static int ctrl_attach(struct host *h, uint32_t domid, const struct usb_ctrl_spec *spec, struct json_object **out,
		       struct pvb_error *err)
{
	libxl_device_usbctrl ctrl, seen;
	libxl_asyncop_how how;
	int rc = domain_fits(h, domid, err);

	if (rc)
		return rc;
	libxl_device_usbctrl_init(&ctrl);
	if (*spec->type)
		libxl_usbctrl_type_from_string(spec->type, &ctrl.type);
	ctrl.version = spec->version;
	ctrl.ports = spec->ports;
	if (h->p->dry_run) {
		pvl_note(h->p, "would give domain %u a USB controller", domid);
		libxl_device_usbctrl_dispose(&ctrl);
		return 0;
	}
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_device_usbctrl_add(h->ctx, domid, &ctrl, &how), pvl_timeout(h->p, USB_MS));
	if (rc)
		rc = xen_err(h, err, rc, "USB controller for domain %u", domid);
	else if ((rc = find_ctrl(h, domid, ctrl.devid, &seen, err)) == 0) {
		*out = out_obj();
		out_int(*out, "domid", domid);
		out_int(*out, "devid", ctrl.devid);
		libxl_device_usbctrl_dispose(&seen);
	}
	libxl_device_usbctrl_dispose(&ctrl);
	return rc;
}

static int ctrl_detach(struct host *h, uint32_t domid, int devid, struct pvb_error *err)
{
	int timeout_ms = pvl_timeout(h->p, USB_MS), rc;
	libxl_device_usbctrl ctrl, seen;
	libxl_asyncop_how how;

	rc = find_ctrl(h, domid, devid, &ctrl, err);
	if (!rc && h->p->dry_run)
		pvl_note(h->p, "would take USB controller %d and what is on it from domain %u", devid, domid);
	if (rc || h->p->dry_run)
		goto out;
	how = xen_op(h);
	rc = h->p->force ? libxl_device_usbctrl_destroy(h->ctx, domid, &ctrl, &how) :
			   libxl_device_usbctrl_remove(h->ctx, domid, &ctrl, &how);
	rc = xen_wait(h, &how, rc, timeout_ms);
	if (rc)
		rc = xen_err(h, err, rc, "USB controller %d of domain %u", devid, domid);
	else if (find_ctrl(h, domid, devid, &seen, NULL) == 0) {
		rc = pvb_err(err, -EBUSY, "domain %u still has USB controller %d", domid, devid);
		libxl_device_usbctrl_dispose(&seen);
	}
	for (int port = 1; !rc && port <= ctrl.ports; port++)
		xen_usb_forget(h, domid, devid, port);
out:
	libxl_device_usbctrl_dispose(&ctrl);
	return rc;
}

/* --- devices ----------------------------------------------------------------------------------------- */

int xen_usb_put(struct host *h, uint32_t domid, const struct usb_spec *spec, const struct usb_dev *d, struct json_object **out,
		struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	libxl_device_usbdev dev, seen;
	int rc;

	libxl_device_usbdev_init(&dev);
	libxl_device_usbdev_init_type(&dev, LIBXL_USBDEV_TYPE_HOSTDEV);
	dev.u.hostdev.hostbus = d->bus;
	dev.u.hostdev.hostaddr = d->addr;
	if (spec->ctrl >= 0)
		dev.ctrl = spec->ctrl;
	if (spec->port >= 0)
		dev.port = spec->port;
	rc = xen_wait(h, &how, libxl_device_usbdev_add(h->ctx, domid, &dev, &how), pvl_timeout(h->p, USB_MS));
	libxl_device_usbdev_dispose(&dev);
	if (rc)
		return xen_err(h, err, rc, "attaching USB device %s to domain %u", d->name, domid);
	if (!xen_usb_place(h, domid, d->bus, d->addr, &seen))
		return pvb_err(err, -EIO, "USB device %s was attached to domain %u but is not in its list", d->name, domid);
	*out = out_obj();
	out_int(*out, "domid", domid);
	out_str(*out, "device", d->name);
	out_int(*out, "controller", seen.ctrl);
	out_int(*out, "port", seen.port);
	return 0;
}

/* So that it comes back when it is plugged in again. */
static int keep_name(struct host *h, uint32_t domid, const struct usb_spec *spec, const struct usb_dev *d, struct pvb_error *err)
{
	libxl_device_usbdev at;

	return xen_usb_place(h, domid, d->bus, d->addr, &at) ? xen_usb_keep(h, domid, &at, spec, d, err) : 0;
}

static int usb_attach(struct host *h, uint32_t domid, const struct usb_spec *spec, struct json_object **out, struct pvb_error *err)
{
	libxl_device_usbctrl ctrl;
	struct usb_dev *d = NULL;
	struct usb_host usb;
	int rc = domain_fits(h, domid, err);

	if (!rc)
		rc = xen_usb_scan(h, &usb, err);
	if (rc)
		return rc;
	rc = usb_resolve(&usb, spec, &d, err);
	if (!rc)
		rc = usb_judge(&usb, d, domid, h->p->force, err);
	if (!rc && spec->ctrl >= 0 && (rc = find_ctrl(h, domid, spec->ctrl, &ctrl, err)) == 0) {
		if (spec->port > ctrl.ports)
			rc = pvb_err(err, -EINVAL, "USB controller %d of domain %u has %d ports, not %d", spec->ctrl, domid, ctrl.ports,
				     spec->port);
		libxl_device_usbctrl_dispose(&ctrl);
	}
	if (!rc && h->p->dry_run)
		pvl_note(h->p, "would attach USB device %s to domain %u", d->name, domid);
	else if (!rc)
		rc = xen_usb_put(h, domid, spec, d, out, err);
	if (!rc && *out)
		rc = keep_name(h, domid, spec, d, err);
	usb_free(&usb);
	return rc;
}

int xen_usb_check_create(struct host *h, const libxl_domain_config *dc, struct pvb_error *err)
{
	struct usb_host usb;
	int rc;

	if (!dc->num_usbdevs)
		return 0;
	/* libxl 4.17 adds a controller to its records then, but none to QEMU, and fails when the domain is built */
	if (dc->c_info.type == LIBXL_DOMAIN_TYPE_HVM && !dc->num_usbctrls)
		return pvb_err(err, -EINVAL, "usbdev=[] of an HVM guest needs a controller: usbctrl=[\"type=devicemodel\"]");
	rc = xen_usb_scan(h, &usb, err);
	if (rc)
		return rc;
	for (int i = 0; i < dc->num_usbdevs && !rc; i++) {
		const struct usb_spec spec = { .bus = dc->usbdevs[i].u.hostdev.hostbus, .addr = dc->usbdevs[i].u.hostdev.hostaddr };
		struct usb_dev *d = NULL;

		rc = usb_resolve(&usb, &spec, &d, err);
		if (!rc)
			rc = usb_judge(&usb, d, -1, h->p->force, err);
		for (int k = 0; k < i && !rc; k++)
			if (dc->usbdevs[k].u.hostdev.hostbus == d->bus && dc->usbdevs[k].u.hostdev.hostaddr == d->addr)
				rc = pvb_err(err, -EINVAL, "USB device %s is in usbdev=[] twice", d->name);
	}
	usb_free(&usb);
	return rc;
}

int xen_usb_created(struct host *h, uint32_t domid, const libxl_domain_config *dc, struct pvb_error *err)
{
	struct usb_host usb;
	int rc = dc->num_usbdevs ? xen_usb_scan(h, &usb, err) : 0;

	if (rc || !dc->num_usbdevs)
		return rc;
	for (unsigned i = 0; i < usb.nr && !rc; i++) {
		libxl_device_usbdev at;

		if (usb.dev[i].owner == domid && xen_usb_place(h, domid, usb.dev[i].bus, usb.dev[i].addr, &at))
			rc = xen_usb_keep(h, domid, &at, NULL, &usb.dev[i], err);
	}
	usb_free(&usb);
	return rc;
}

/* What the domain has, by our records and then by libxl's; to be freed. */
static struct usb_kept *devices_of(struct host *h, uint32_t domid, unsigned *nr)
{
	struct usb_kept *all = xen_usb_kept(h, domid, nr), *more;
	unsigned nr_kept = *nr;
	int nr_list = 0;
	libxl_device_usbdev *list = libxl_device_usbdev_list(h->ctx, domid, &nr_list);

	for (int i = 0; list && i < nr_list; i++) {
		bool known = false;

		for (unsigned k = 0; k < nr_kept; k++)
			known |= all[k].spec.ctrl == list[i].ctrl && all[k].spec.port == list[i].port;
		more = known ? NULL : reallocarray(all, *nr + 1, sizeof(*more));
		if (!more)
			continue;
		all = more;
		all[(*nr)++] = (struct usb_kept){
			{ .bus = -1, .addr = -1, .vendor = -1, .product = -1, .ctrl = list[i].ctrl, .port = list[i].port },
			list[i].u.hostdev.hostbus, list[i].u.hostdev.hostaddr,
		};
	}
	libxl_device_usbdev_list_free(list, nr_list);
	return all;
}

static bool same_name(const struct usb_spec *a, const struct usb_spec *b)
{
	if (*a->port_path)
		return strcmp(a->port_path, b->port_path) == 0;
	return a->vendor >= 0 && a->vendor == b->vendor && a->product == b->product && (!*a->serial || strcmp(a->serial, b->serial) == 0);
}

/* What a detach means: a port of the guest, or a device of the host.  One that is unplugged is found by what it was attached as. */
static int find_dev(struct host *h, uint32_t domid, const struct usb_spec *spec, libxl_device_usbdev *dev, struct pvb_error *err)
{
	bool by_port = spec->bus < 0 && spec->vendor < 0 && !*spec->port_path;
	int rc = 0, bus = spec->bus, addr = spec->addr;
	struct usb_dev *d = NULL;
	struct usb_host usb;
	struct usb_kept *all;
	unsigned nr, i = 0;

	if (!by_port && bus < 0 && (rc = usb_scan(&usb, NULL, err)) == 0) {
		rc = usb_resolve(&usb, spec, &d, err);
		if (!rc) {
			bus = d->bus;
			addr = d->addr;
		}
		usb_free(&usb);
	}
	all = devices_of(h, domid, &nr);
	while (i < nr && !(by_port ? all[i].spec.ctrl == spec->ctrl && all[i].spec.port == spec->port
				   : bus >= 0 && all[i].bus == bus && all[i].addr == addr))
		i++;
	for (unsigned k = 0; k < nr && i == nr && !by_port; k++)
		if (same_name(spec, &all[k].spec))
			i = k;
	if (i < nr) {
		xen_usb_device(&all[i], dev);
		rc = 0;
	} else if (by_port) {
		rc = pvb_err(err, -ENOENT, "domain %u has no USB device at port %d of controller %d", domid, spec->port, spec->ctrl);
	} else if (!rc) {
		rc = pvb_err(err, -ENOENT, "domain %u has no USB device hostbus=%d hostaddr=%d", domid, bus, addr);
	}
	free(all);
	return rc;
}

static int usb_detach(struct host *h, uint32_t domid, const struct usb_spec *spec, struct pvb_error *err)
{
	libxl_device_usbdev dev, seen;
	libxl_asyncop_how how;
	int rc;

	libxl_device_usbdev_init(&dev);
	rc = find_dev(h, domid, spec, &dev, err);
	if (rc)
		return rc;
	if (h->p->dry_run) {
		pvl_note(h->p, "would take USB device hostbus=%u hostaddr=%u from domain %u", dev.u.hostdev.hostbus,
			 dev.u.hostdev.hostaddr, domid);
		return 0;
	}
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_device_usbdev_remove(h->ctx, domid, &dev, &how), pvl_timeout(h->p, USB_MS));
	if (rc)
		return xen_err(h, err, rc, "USB device at port %d of controller %d of domain %u", dev.port, dev.ctrl, domid);
	if (xen_usb_place(h, domid, dev.u.hostdev.hostbus, dev.u.hostdev.hostaddr, &seen))
		return pvb_err(err, -EBUSY, "domain %u still has the USB device at port %d of controller %d", domid, dev.port, dev.ctrl);
	xen_usb_forget(h, domid, dev.ctrl, dev.port);
	return 0;
}

/* --- list -------------------------------------------------------------------------------------------- */

static void add_devices(const struct usb_kept *all, unsigned nr, int ctrl, const struct usb_host *usb, struct json_object *row)
{
	struct json_object *devices = out_arr();
	char id[16];

	for (unsigned i = 0; i < nr; i++) {
		struct json_object *o;
		const struct usb_dev *d = NULL;

		if (all[i].spec.ctrl != ctrl)
			continue;
		for (unsigned k = 0; k < usb->nr && !d; k++)
			if (usb->dev[k].bus == all[i].bus && usb->dev[k].addr == all[i].addr)
				d = &usb->dev[k];
		o = out_obj();
		out_int(o, "port", all[i].spec.port);
		out_int(o, "hostbus", all[i].bus);
		out_int(o, "hostaddr", all[i].addr);
		out_str(o, "device", d ? d->name : NULL); /* null: unplugged */
		if (d)
			snprintf(id, sizeof(id), "%04x:%04x", d->vendor, d->product);
		out_str(o, "id", d ? id : NULL);
		out_str(o, "serial", d && *d->serial ? d->serial : NULL);
		out_str(o, "name", d && *d->product_name ? d->product_name : NULL);
		json_object_array_add(devices, o);
	}
	json_object_object_add(row, "devices", devices);
}

static int usb_list(struct host *h, uint32_t domid, struct json_object *rows, struct pvb_error *err)
{
	int nr_ctrls = 0, rc = 0;
	libxl_device_usbctrl *ctrls = libxl_device_usbctrl_list(h->ctx, domid, &nr_ctrls);
	struct usb_host usb = { 0 };
	unsigned nr;
	struct usb_kept *all = devices_of(h, domid, &nr);

	if (usb_scan(&usb, NULL, NULL))
		usb.nr = 0; /* without a bus the lines have addresses only */
	for (int i = 0; ctrls && i < nr_ctrls && !rc; i++) {
		libxl_usbctrlinfo info;

		libxl_usbctrlinfo_init(&info);
		rc = libxl_device_usbctrl_getinfo(h->ctx, domid, &ctrls[i], &info);
		if (rc) {
			rc = xen_err(h, err, rc, "USB controller %d of domain %u", ctrls[i].devid, domid);
		} else {
			struct json_object *row = out_obj();

			out_int(row, "devid", info.devid);
			out_str(row, "type", libxl_usbctrl_type_to_string(info.type));
			out_int(row, "backend_domid", info.backend_id);
			out_int(row, "state", info.state);
			out_int(row, "version", info.version);
			out_int(row, "ports", info.ports);
			add_devices(all, nr, info.devid, &usb, row);
			json_object_array_add(rows, row);
		}
		libxl_usbctrlinfo_dispose(&info);
	}
	usb_free(&usb);
	libxl_device_usbctrl_list_free(ctrls, nr_ctrls);
	free(all);
	return rc;
}

const struct usb_ops xen_usb_ops = {
	.ctrl_attach = ctrl_attach,
	.ctrl_detach = ctrl_detach,
	.attach = usb_attach,
	.detach = usb_detach,
	.list = usb_list,
};
