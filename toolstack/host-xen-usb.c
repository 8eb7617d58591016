// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving USB devices to Xen domains and getting them back.  Everything is checked before anything is touched; libxl then does
 * it, and its own list is looked at afterwards. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen.h"
#include "output.h"
#include "usb.h"

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

/* Where in the domain the device with this address is.  false: it is not there. */
static bool place(struct host *h, uint32_t domid, uint8_t bus, uint8_t addr, libxl_device_usbdev *out)
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

/* The host's devices, and which domain has each by libxl's records. */
static int scan(struct host *h, struct usb_host *usb, struct pvb_error *err)
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
				if (usb->dev[d].bus == list[i].u.hostdev.hostbus && usb->dev[d].addr == list[i].u.hostdev.hostaddr)
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
out:
	libxl_device_usbctrl_dispose(&ctrl);
	return rc;
}

/* --- devices ----------------------------------------------------------------------------------------- */

static int do_attach(struct host *h, uint32_t domid, const struct usb_spec *spec, const struct usb_dev *d, struct json_object **out,
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
	if (!place(h, domid, d->bus, d->addr, &seen))
		return pvb_err(err, -EIO, "USB device %s was attached to domain %u but is not in its list", d->name, domid);
	*out = out_obj();
	out_int(*out, "domid", domid);
	out_str(*out, "device", d->name);
	out_int(*out, "controller", seen.ctrl);
	out_int(*out, "port", seen.port);
	return 0;
}

static int usb_attach(struct host *h, uint32_t domid, const struct usb_spec *spec, struct json_object **out, struct pvb_error *err)
{
	libxl_device_usbctrl ctrl;
	struct usb_dev *d = NULL;
	struct usb_host usb;
	int rc = domain_fits(h, domid, err);

	if (!rc)
		rc = scan(h, &usb, err);
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
		rc = do_attach(h, domid, spec, d, out, err);
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
	rc = scan(h, &usb, err);
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

/* What a detach means: a port of the guest, or a device of the host.  One that is unplugged is found by its address only. */
static int find_dev(struct host *h, uint32_t domid, const struct usb_spec *spec, libxl_device_usbdev *dev, struct pvb_error *err)
{
	struct usb_dev *d = NULL;
	struct usb_host usb;
	int rc, bus = spec->bus, addr = spec->addr;

	if (bus < 0 && spec->vendor < 0 && !*spec->port_path)
		return libxl_ctrlport_to_device_usbdev(h->ctx, domid, spec->ctrl, spec->port, dev) ?
			       pvb_err(err, -ENOENT, "domain %u has no USB device at port %d of controller %d", domid, spec->port,
				       spec->ctrl) : 0;
	if (bus < 0) {
		rc = usb_scan(&usb, NULL, err);
		if (rc)
			return rc;
		rc = usb_resolve(&usb, spec, &d, err);
		if (!rc) {
			bus = d->bus;
			addr = d->addr;
		}
		usb_free(&usb);
		if (rc)
			return rc;
	}
	return place(h, domid, (uint8_t)bus, (uint8_t)addr, dev) ? 0 :
		       pvb_err(err, -ENOENT, "domain %u has no USB device hostbus=%d hostaddr=%d", domid, bus, addr);
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
	return place(h, domid, dev.u.hostdev.hostbus, dev.u.hostdev.hostaddr, &seen) ?
		       pvb_err(err, -EBUSY, "domain %u still has the USB device at port %d of controller %d", domid, dev.port, dev.ctrl) : 0;
}

/* --- list -------------------------------------------------------------------------------------------- */

static void add_devices(const libxl_device_usbdev *list, int nr, int ctrl, const struct usb_host *usb, struct json_object *row)
{
	struct json_object *devices = out_arr();
	char id[16];

	for (int i = 0; list && i < nr; i++) {
		struct json_object *o;
		const struct usb_dev *d = NULL;

		if (list[i].ctrl != ctrl)
			continue;
		for (unsigned k = 0; k < usb->nr && !d; k++)
			if (usb->dev[k].bus == list[i].u.hostdev.hostbus && usb->dev[k].addr == list[i].u.hostdev.hostaddr)
				d = &usb->dev[k];
		o = out_obj();
		out_int(o, "port", list[i].port);
		out_int(o, "hostbus", list[i].u.hostdev.hostbus);
		out_int(o, "hostaddr", list[i].u.hostdev.hostaddr);
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
	int nr_ctrls = 0, nr = 0, rc = 0;
	libxl_device_usbctrl *ctrls = libxl_device_usbctrl_list(h->ctx, domid, &nr_ctrls);
	libxl_device_usbdev *devs = libxl_device_usbdev_list(h->ctx, domid, &nr);
	struct usb_host usb = { 0 };

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
			add_devices(devs, nr, info.devid, &usb, row);
			json_object_array_add(rows, row);
		}
		libxl_usbctrlinfo_dispose(&info);
	}
	usb_free(&usb);
	libxl_device_usbctrl_list_free(ctrls, nr_ctrls);
	libxl_device_usbdev_list_free(devs, nr);
	return rc;
}

const struct usb_ops xen_usb_ops = {
	.ctrl_attach = ctrl_attach,
	.ctrl_detach = ctrl_detach,
	.attach = usb_attach,
	.detach = usb_detach,
	.list = usb_list,
};
