/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_HOST_XEN_USB_H
#define PVL_HOST_XEN_USB_H
/* USB devices that domains have, by libxl's records (host-xen-usb.c), and what makes one that was unplugged come back
 * (host-xen-usbback.c).
 *
 * libxl 4.17 records a device by its port on the host, so what its list says of an unplugged one is nothing, and of one that was
 * plugged in again that the domain has it.  But QEMU knows it by the address that it had when it was attached, and has a dead
 * one.  So for each port of a guest that has one of our devices a record is kept with the domain: what the device is called, and
 * its address as QEMU knows it; libxl removes it with the domain.  A device has been unplugged if nothing has that address.  The
 * domain's monitor sees what is plugged in, and gives it to the domain, at the port of the guest where it was, if that is what
 * the record means.
 *
 * Errors    0 or -errno and err.  Logs what the functions with a note say.
 */
#include "host-xen.h"
#include "usb.h"

/* What is at a port of a domain. */
struct usb_kept {
	struct usb_spec spec;    /* its name; ctrl and port are where it is in the guest */
	uint8_t bus, addr;       /* when it was attached */
};
/* All records of a domain, to be freed; NULL and nr 0: there are none. */
struct usb_kept *xen_usb_kept(struct host *h, uint32_t domid, unsigned *nr);
/* The one of this port.  false: there is none. */
bool xen_usb_kept_at(struct host *h, uint32_t domid, int ctrl, int port, struct usb_kept *out);
bool xen_usb_is_there(const struct usb_host *usb, const struct usb_kept *k);
/* As libxl wants it. */
void xen_usb_device(const struct usb_kept *k, libxl_device_usbdev *out);

/* The host's devices, and which domain has each: unplugged ones are nobody's. */
int xen_usb_scan(struct host *h, struct usb_host *usb, struct pvb_error *err);
/* Where in the domain the device with this address is.  false: it is not there. */
bool xen_usb_place(struct host *h, uint32_t domid, uint8_t bus, uint8_t addr, libxl_device_usbdev *out);
/* Attach d, which has been judged; *out: what became of it. */
int xen_usb_put(struct host *h, uint32_t domid, const struct usb_spec *spec, const struct usb_dev *d, struct json_object **out,
		struct pvb_error *err);

/* Remember what the device at this port is called: the port of the host if spec names one, else its identity, with the serial
 * number unless spec names it without. */
int xen_usb_keep(struct host *h, uint32_t domid, const libxl_device_usbdev *at, const struct usb_spec *spec, const struct usb_dev *d,
		 struct pvb_error *err);
void xen_usb_forget(struct host *h, uint32_t domid, int ctrl, int port);

/* The monitor's part. */
struct usb_back;
/* NULL: the kernel's events can not be had. */
struct usb_back *usb_back_new(void);
void usb_back_free(struct usb_back *b);
/* Something was plugged in or out since the last call; true at the first one. */
bool usb_back_due(struct usb_back *b);
/* Give the domain what is there again.  note is called for each device that is, or could not be. */
void usb_back_look(struct usb_back *b, struct host *h, uint32_t domid, void (*note)(void *arg, const char *text), void *arg);
/* Before a domain is built again from dc: addresses that have changed are set right, and devices that are unplugged are taken out;
 * they come back to the new domain.  After: the new domain's records. */
void usb_back_leave(struct usb_back *b, struct host *h, uint32_t domid, libxl_domain_config *dc);
void usb_back_enter(struct usb_back *b, struct host *h, uint32_t domid);
#endif
