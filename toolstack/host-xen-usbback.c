// SPDX-License-Identifier: GPL-2.0-or-later
/* USB devices that come back when they are plugged in again: what they are called, kept with the domain, and the kernel's
 * events of what is plugged in.  It decides nothing that usb.c does not decide for a command. */
#include "config.h"
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "host-xen-usb.h"
#include "output.h"

#define USB_MS 20000 /* for QEMU or a back end to let go of what is not there any more */
#define KERNEL 1     /* the group of events that the kernel sends, not udev */

/* --- what a device is called ------------------------------------------------------------------------- */

static const char *record_of(int ctrl, int port)
{
	static char id[40];

	snprintf(id, sizeof(id), "pvusb-%d-%d", ctrl, port);
	return id;
}

static int store(struct host *h, uint32_t domid, const struct usb_kept *k, struct pvb_error *err)
{
	struct json_object *o = out_obj();
	const char *text;
	int rc;

	out_int(o, "bus", k->bus);
	out_int(o, "address", k->addr);
	if (*k->spec.port_path) {
		out_str(o, "port", k->spec.port_path);
	} else {
		out_int(o, "vendor", k->spec.vendor);
		out_int(o, "product", k->spec.product);
		out_str(o, "serial", k->spec.serial);
	}
	text = json_object_to_json_string(o);
	rc = libxl_userdata_store(h->ctx, domid, record_of(k->spec.ctrl, k->spec.port), (const uint8_t *)text, (int)strlen(text));
	json_object_put(o);
	return rc ? xen_err(h, err, rc, "domain %u: what its USB device is called can not be kept", domid) : 0;
}

static int number_in(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_object_get(o, key);

	return v && json_object_is_type(v, json_type_int) ? json_object_get_int(v) : -1;
}

static void text_in(struct json_object *o, const char *key, char *buf, size_t len)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	snprintf(buf, len, "%s", text ? text : "");
}

bool xen_usb_kept_at(struct host *h, uint32_t domid, int ctrl, int port, struct usb_kept *out)
{
	struct usb_spec s = { .bus = -1, .addr = -1, .vendor = -1, .product = -1, .ctrl = ctrl, .port = port };
	struct json_object *o = NULL;
	uint8_t *kept = NULL;
	int len = 0, bus = -1, addr = -1;
	char text[512];

	if (libxl_userdata_retrieve(h->ctx, domid, record_of(ctrl, port), &kept, &len) == 0 && kept && len > 0 &&
	    (size_t)len < sizeof(text)) {
		memcpy(text, kept, (size_t)len);
		text[len] = '\0';
		o = json_tokener_parse(text);
	}
	free(kept);
	if (json_object_is_type(o, json_type_object)) {
		bus = number_in(o, "bus");
		addr = number_in(o, "address");
		s.vendor = number_in(o, "vendor");
		s.product = number_in(o, "product");
		text_in(o, "serial", s.serial, sizeof(s.serial));
		text_in(o, "port", s.port_path, sizeof(s.port_path));
	}
	json_object_put(o);
	*out = (struct usb_kept){ s, (uint8_t)bus, (uint8_t)addr };
	return (s.vendor >= 0 || *s.port_path) && bus > 0 && bus < 256 && addr > 0 && addr < 256;
}

struct usb_kept *xen_usb_kept(struct host *h, uint32_t domid, unsigned *nr)
{
	int nr_ctrls = 0;
	libxl_device_usbctrl *ctrls = libxl_device_usbctrl_list(h->ctx, domid, &nr_ctrls);
	struct usb_kept *all = NULL, *more, k;

	*nr = 0;
	for (int i = 0; ctrls && i < nr_ctrls; i++)
		for (int port = 1; port <= ctrls[i].ports; port++) {
			if (!xen_usb_kept_at(h, domid, ctrls[i].devid, port, &k))
				continue;
			more = reallocarray(all, *nr + 1, sizeof(*more));
			if (!more)
				break;
			all = more;
			all[(*nr)++] = k;
		}
	libxl_device_usbctrl_list_free(ctrls, nr_ctrls);
	return all;
}

bool xen_usb_is_there(const struct usb_host *usb, const struct usb_kept *k)
{
	for (unsigned i = 0; i < usb->nr; i++)
		if (usb->dev[i].bus == k->bus && usb->dev[i].addr == k->addr)
			return k->spec.vendor < 0 || (usb->dev[i].vendor == k->spec.vendor && usb->dev[i].product == k->spec.product);
	return false;
}

void xen_usb_device(const struct usb_kept *k, libxl_device_usbdev *out)
{
	libxl_device_usbdev_init(out);
	libxl_device_usbdev_init_type(out, LIBXL_USBDEV_TYPE_HOSTDEV);
	out->ctrl = k->spec.ctrl;
	out->port = k->spec.port;
	out->u.hostdev.hostbus = k->bus;
	out->u.hostdev.hostaddr = k->addr;
}

int xen_usb_keep(struct host *h, uint32_t domid, const libxl_device_usbdev *at, const struct usb_spec *spec, const struct usb_dev *d,
		 struct pvb_error *err)
{
	struct usb_kept k = { { .bus = -1, .addr = -1, .vendor = d->vendor, .product = d->product, .ctrl = at->ctrl, .port = at->port },
			      d->bus, d->addr };

	if (spec)
		snprintf(k.spec.port_path, sizeof(k.spec.port_path), "%s", spec->port_path);
	if (!spec || spec->vendor < 0 || *spec->serial)
		snprintf(k.spec.serial, sizeof(k.spec.serial), "%s", d->serial);
	return store(h, domid, &k, err);
}

void xen_usb_forget(struct host *h, uint32_t domid, int ctrl, int port)
{
	libxl_userdata_store(h->ctx, domid, record_of(ctrl, port), NULL, 0);
}

/* --- the kernel's events ----------------------------------------------------------------------------- */

struct kepts {
	struct usb_kept *kept;
	unsigned nr;
};

struct usb_back {
	int fd;
	bool first;
	struct kepts lost;  /* unplugged, and in no list of libxl's */
	struct kepts moved; /* of a domain that is being built again */
};

/* Without memory it is forgotten, as without a monitor. */
static void add(struct kepts *l, const struct usb_kept *k)
{
	struct usb_kept *more = reallocarray(l->kept, l->nr + 1, sizeof(*more));

	if (!more)
		return;
	l->kept = more;
	l->kept[l->nr++] = *k;
}

struct usb_back *usb_back_new(void)
{
	struct sockaddr_nl from = { .nl_family = AF_NETLINK, .nl_groups = KERNEL };
	struct usb_back *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->first = true;
	b->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (b->fd >= 0 && bind(b->fd, (struct sockaddr *)&from, sizeof(from)) == 0)
		return b;
	usb_back_free(b);
	return NULL;
}

void usb_back_free(struct usb_back *b)
{
	if (!b)
		return;
	if (b->fd >= 0)
		close(b->fd);
	free(b->lost.kept);
	free(b->moved.kept);
	free(b);
}

bool usb_back_due(struct usb_back *b)
{
	static const char wanted[] = "DEVTYPE=usb_device";
	bool due = b->first;
	char text[8192];
	ssize_t n;

	b->first = false;
	/* too many at once (ENOBUFS): some are lost, and one of them may have been ours */
	while ((n = recv(b->fd, text, sizeof(text), 0)) > 0 || (n < 0 && (errno == ENOBUFS || errno == EINTR)))
		due |= n < 0 ? errno == ENOBUFS : memmem(text, (size_t)n, wanted, sizeof(wanted)) != NULL;
	return due;
}

/* --- coming back ------------------------------------------------------------------------------------- */

/* What it means, of those that no domain has: another one of the same make may be somebody's. */
static int find_free(const struct usb_host *usb, const struct usb_spec *spec, struct usb_dev **out, struct pvb_error *err)
{
	struct usb_host fit = { .root = usb->root };
	int rc;

	fit.dev = calloc(usb->nr + 1, sizeof(*fit.dev));
	if (!fit.dev)
		return pvb_err(err, -ENOMEM, "USB: out of memory");
	for (unsigned i = 0; i < usb->nr; i++)
		if (usb->dev[i].owner < 0)
			fit.dev[fit.nr++] = usb->dev[i]; /* its path stays usb's */
	rc = usb_resolve(&fit, spec, out, err);
	for (unsigned i = 0; !rc && i < usb->nr; i++)
		if (usb->dev[i].bus == (*out)->bus && usb->dev[i].addr == (*out)->addr) {
			*out = &usb->dev[i];
			break;
		}
	free(fit.dev);
	return rc;
}

/* stale: libxl and QEMU have it still, by an address that is gone.  -ENODEV: it is not plugged in.  *gone: it was taken away. */
static int bring_back(struct host *h, uint32_t domid, const struct usb_kept *k, bool stale, bool *gone, char *text, size_t len,
		      struct pvb_error *err)
{
	struct json_object *done = NULL;
	libxl_device_usbdev at, old;
	struct usb_dev *d = NULL;
	libxl_asyncop_how how;
	struct usb_host usb;
	int rc = xen_usb_scan(h, &usb, err);

	if (rc)
		return rc;
	rc = find_free(&usb, &k->spec, &d, err);
	if (!rc)
		rc = usb_judge(&usb, d, domid, false, err);
	if (!rc && stale) {
		xen_usb_device(k, &old);
		how = xen_op(h);
		rc = xen_wait(h, &how, libxl_device_usbdev_remove(h->ctx, domid, &old, &how), USB_MS);
		if (rc)
			rc = xen_err(h, err, rc, "USB device at port %d of controller %d, which was unplugged", k->spec.port, k->spec.ctrl);
		else
			xen_usb_forget(h, domid, k->spec.ctrl, k->spec.port);
		*gone = !rc;
	}
	if (!rc)
		rc = xen_usb_put(h, domid, &k->spec, d, &done, err);
	if (!rc && xen_usb_place(h, domid, d->bus, d->addr, &at)) {
		struct usb_kept now = *k;

		now.spec.ctrl = at.ctrl;
		now.spec.port = at.port;
		now.bus = d->bus;
		now.addr = d->addr;
		rc = store(h, domid, &now, err);
		snprintf(text, len, "USB device %s (%04x:%04x) is back, at port %d of controller %d", d->name, d->vendor, d->product,
			 at.port, at.ctrl);
	}
	json_object_put(done);
	usb_free(&usb);
	return rc;
}

void usb_back_look(struct usb_back *b, struct host *h, uint32_t domid, void (*note)(void *arg, const char *text), void *arg)
{
	unsigned nr_lost = b->lost.nr, nr;
	struct kepts lost = b->lost;
	struct pvb_error err;
	struct usb_host usb;
	struct usb_kept *all = xen_usb_kept(h, domid, &nr);

	b->lost = (struct kepts){ 0 };
	if (nr && usb_scan(&usb, NULL, NULL) == 0) {
		for (unsigned i = 0; i < nr; i++)
			if (!xen_usb_is_there(&usb, &all[i]))
				add(&lost, &all[i]);
		usb_free(&usb);
	}
	free(all);
	for (unsigned i = 0; i < lost.nr; i++) {
		bool recorded = i >= nr_lost, gone = false;
		char text[160] = "";
		int rc = bring_back(h, domid, &lost.kept[i], recorded, &gone, text, sizeof(text), &err);

		if (*text)
			note(arg, text);
		if (rc && rc != -ENODEV)
			note(arg, err.text);
		/* nobody but us knows of it */
		if (rc && (gone || !recorded))
			add(&b->lost, &lost.kept[i]);
	}
	free(lost.kept);
}

/* --- a domain that is built again -------------------------------------------------------------------- */

void usb_back_leave(struct usb_back *b, struct host *h, uint32_t domid, libxl_domain_config *dc)
{
	unsigned nr = 0;
	struct usb_kept *all = xen_usb_kept(h, domid, &nr);
	struct usb_host usb = { 0 };
	struct usb_dev *d;
	int left = 0;

	if (nr && xen_usb_scan(h, &usb, NULL))
		usb = (struct usb_host){ 0 };
	/* libxl leaves out of the configuration what is unplugged, and takes what was plugged in again for what it was */
	for (int i = 0; i < dc->num_usbdevs; i++) {
		libxl_device_usbdev *dev = &dc->usbdevs[i];
		bool ours = false;

		for (unsigned k = 0; k < nr; k++)
			ours |= all[k].spec.ctrl == dev->ctrl && all[k].spec.port == dev->port;
		if (!ours)
			dc->usbdevs[left++] = *dev; /* no pointers in it */
	}
	dc->num_usbdevs = left;
	for (unsigned k = 0; k < nr; k++) {
		libxl_device_usbdev *more = NULL;

		if (!xen_usb_is_there(&usb, &all[k]) && find_free(&usb, &all[k].spec, &d, NULL) == 0) {
			all[k].bus = d->bus;
			all[k].addr = d->addr;
		}
		if (xen_usb_is_there(&usb, &all[k]))
			more = reallocarray(dc->usbdevs, (size_t)dc->num_usbdevs + 1, sizeof(*more));
		if (!more) {
			add(&b->lost, &all[k]);
			continue;
		}
		dc->usbdevs = more;
		xen_usb_device(&all[k], &more[dc->num_usbdevs++]);
		add(&b->moved, &all[k]);
	}
	free(all);
	usb_free(&usb);
}

void usb_back_enter(struct usb_back *b, struct host *h, uint32_t domid)
{
	for (unsigned i = 0; i < b->moved.nr; i++)
		store(h, domid, &b->moved.kept[i], NULL);
	b->moved.nr = 0;
	b->first |= b->lost.nr > 0;
}
