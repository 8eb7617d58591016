/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_USB_H
#define PVL_USB_H
/* This host's USB devices, as the kernel shows them, how a text means one of them, and what speaks against giving it to a guest.
 *
 * The scan reads /sys and /proc below a root (tests have one of their own; NULL is "") and asks Xen nothing; who owns a
 * device is filled in by the host (struct usb_ops).  Looking never changes anything.
 *
 * Names     A device's address (bus and number) changes each time it is plugged in; its port path (1-1.2) and its identity
 *           (vendor:product[:serial]) do not.  Each may be said; it is resolved to an address when it is needed.
 * Errors    0 or -errno and err.  Never logs.
 * Threads   None.
 */
#include <stdbool.h>
#include <stdint.h>
#include "error.h"

struct host;
struct json_object;

#define USB_NAME   32 /* room for BUS-PORT.PORT... */
#define USB_SERIAL 128

struct usb_dev {
	char name[USB_NAME];      /* port path: 1-1.2 */
	uint8_t bus, addr;
	uint16_t vendor, product;
	char serial[USB_SERIAL];  /* "": none */
	char product_name[64];    /* what it calls itself, or "" */
	bool hub;
	char *path;               /* its directory */
	int64_t owner;            /* domain that has it; -1 by the scan */
};

struct usb_host {
	struct usb_dev *dev;      /* ordered by bus and address */
	unsigned nr;
	const char *root;
};

int usb_scan(struct usb_host *out, const char *root, struct pvb_error *err);
void usb_free(struct usb_host *usb);

/* What a specification says.  Numbers are -1 where nothing is said. */
struct usb_spec {
	int bus, addr;            /* hostbus=, hostaddr= */
	int vendor, product;
	char serial[USB_SERIAL];
	char port_path[USB_NAME];
	int ctrl, port;           /* of the guest: controller=, port= */
};
/* Words of xl's kind, "[type=hostdev] hostbus=N hostaddr=N [controller=N [port=N]]", each a text of its own or several
 * between commas; in place of hostbus= and hostaddr= one word VENDOR:PRODUCT[:SERIAL] (hexadecimal) or a port path. */
int usb_spec_parse(struct usb_spec *out, const char *const *texts, unsigned nr, struct pvb_error *err);
/* The one device that it means.  -ENODEV: there is none; -EEXIST: several of that identity, err names their ports. */
int usb_resolve(const struct usb_host *usb, const struct usb_spec *spec, struct usb_dev **out, struct pvb_error *err);
/* What speaks against giving d to domain domid: -EBUSY or -EINVAL.  force: what dom0 does with it does not. */
int usb_judge(const struct usb_host *usb, const struct usb_dev *d, int64_t domid, bool force, struct pvb_error *err);

/* type=, version=, ports= of a controller; type "" and numbers 0 where nothing is said. */
struct usb_ctrl_spec {
	char type[16];
	int version, ports;
};
int usb_ctrl_spec_parse(struct usb_ctrl_spec *out, const char *const *texts, unsigned nr, struct pvb_error *err);

struct usb_ops {
	int (*ctrl_attach)(struct host *h, uint32_t domid, const struct usb_ctrl_spec *spec, struct json_object **out,
			   struct pvb_error *err);
	int (*ctrl_detach)(struct host *h, uint32_t domid, int devid, struct pvb_error *err);
	int (*attach)(struct host *h, uint32_t domid, const struct usb_spec *spec, struct json_object **out, struct pvb_error *err);
	/* spec: a device of the host, or controller and port of the guest. */
	int (*detach)(struct host *h, uint32_t domid, const struct usb_spec *spec, struct pvb_error *err);
	/* Adds a row for each controller, with an array "devices". */
	int (*list)(struct host *h, uint32_t domid, struct json_object *rows, struct pvb_error *err);
};
#endif
