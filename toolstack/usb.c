// SPDX-License-Identifier: GPL-2.0-or-later
/* USB devices of this host, read from sysfs, and the texts that mean one. */
#include "config.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store.h"
#include "pci.h"
#include "sysfs.h"
#include "usb.h"

#define CLASS_HUB 9

/* --- the host ---------------------------------------------------------------------------------------- */

/* A text of the device's own, which terminals read. */
static void read_text(const char *dir, const char *file, char *buf, size_t len)
{
	sysfs_line(dir, file, buf, len);
	for (char *c = buf; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* BUS-PORT[.PORT]..., no more and no less */
static bool is_port_path(const char *text)
{
	size_t n = strspn(text, "0123456789");

	if (!n || text[n] != '-' || strlen(text) >= USB_NAME)
		return false;
	do {
		text += n + 1;
		n = strspn(text, "0123456789");
	} while (n && text[n] == '.');
	return n && !text[n];
}

/* Root hubs are called usb1; interfaces, 1-1:1.0, are no devices. */
static int read_device(const struct usb_host *usb, const char *name, struct usb_dev *d)
{
	char dir[400];

	memset(d, 0, sizeof(*d));
	d->owner = -1;
	if (!is_port_path(name) && strncmp(name, "usb", 3))
		return -EINVAL;
	snprintf(d->name, sizeof(d->name), "%.31s", name);
	snprintf(dir, sizeof(dir), "%s/sys/bus/usb/devices/%s", usb->root, d->name);
	d->bus = (uint8_t)sysfs_number(dir, "busnum", 10);
	d->addr = (uint8_t)sysfs_number(dir, "devnum", 10);
	d->vendor = (uint16_t)sysfs_number(dir, "idVendor", 16);
	d->product = (uint16_t)sysfs_number(dir, "idProduct", 16);
	d->hub = sysfs_number(dir, "bDeviceClass", 16) == CLASS_HUB || name[0] == 'u';
	read_text(dir, "serial", d->serial, sizeof(d->serial));
	read_text(dir, "product", d->product_name, sizeof(d->product_name));
	if (!d->bus || !d->addr)
		return -ENODEV; /* it goes while we look */
	d->path = realpath(dir, NULL);
	return d->path ? 0 : -errno;
}

static int by_address(const void *a, const void *b)
{
	const struct usb_dev *x = a, *y = b;

	return x->bus != y->bus ? x->bus - y->bus : x->addr - y->addr;
}

int usb_scan(struct usb_host *out, const char *root, struct pvb_error *err)
{
	struct usb_host usb = { .root = root ? root : "" };
	char path[512];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/bus/usb/devices", usb.root);
	dir = opendir(path);
	if (!dir)
		return pvb_err(err, -errno, "%s: %s (no USB controller, or no driver for it)", path, strerror(errno));
	while ((e = readdir(dir))) {
		struct usb_dev *more, d;

		if (e->d_name[0] == '.' || read_device(&usb, e->d_name, &d))
			continue;
		more = reallocarray(usb.dev, usb.nr + 1, sizeof(*more));
		if (!more) {
			free(d.path);
			closedir(dir);
			usb_free(&usb);
			return pvb_err(err, -ENOMEM, "%s: out of memory", path);
		}
		usb.dev = more;
		usb.dev[usb.nr++] = d;
	}
	closedir(dir);
	if (usb.nr)
		qsort(usb.dev, usb.nr, sizeof(*usb.dev), by_address);
	*out = usb;
	return 0;
}

void usb_free(struct usb_host *usb)
{
	for (unsigned i = 0; i < usb->nr; i++)
		free(usb->dev[i].path);
	free(usb->dev);
	usb->dev = NULL;
	usb->nr = 0;
}

/* --- specifications ---------------------------------------------------------------------------------- */

static int hex16(const char *text, size_t len, int *to)
{
	char buf[8];

	if (!len || len > 4 || strspn(text, "0123456789abcdefABCDEF") < len)
		return -EINVAL;
	snprintf(buf, sizeof(buf), "%.*s", (int)len, text);
	*to = (int)strtol(buf, NULL, 16);
	return 0;
}

/* VENDOR:PRODUCT[:SERIAL] or a port path */
static int parse_name(struct usb_spec *s, const char *text, struct pvb_error *err)
{
	size_t v = strcspn(text, ":"), p;

	if (*s->port_path || s->vendor >= 0)
		return pvb_err(err, -EINVAL, "\"%s\" is a second name", text);
	if (is_port_path(text)) {
		snprintf(s->port_path, sizeof(s->port_path), "%s", text);
		return 0;
	}
	p = text[v] ? strcspn(text + v + 1, ":") : 0;
	if (hex16(text, v, &s->vendor) || !text[v] || hex16(text + v + 1, p, &s->product))
		goto none;
	text += v + 1 + p;
	if (*text && (!text[1] || strlen(text + 1) >= sizeof(s->serial)))
		goto none;
	if (*text)
		snprintf(s->serial, sizeof(s->serial), "%s", text + 1);
	return 0;
none:
	s->vendor = s->product = -1;
	return pvb_err(err, -EINVAL, "it is no USB device: VENDOR:PRODUCT[:SERIAL], a port such as 1-1.2, or hostbus=N hostaddr=N wanted");
}

static int number(const char *key, const char *value, uint64_t min, uint64_t max, int *to, struct pvb_error *err)
{
	uint64_t n;

	if (pvb_parse_u64(value, min, max, &n))
		return pvb_err(err, -EINVAL, "%s=%s is not a number from %llu to %llu", key, value, (unsigned long long)min,
			       (unsigned long long)max);
	*to = (int)n;
	return 0;
}

static int dev_word(void *to, const char *key, const char *value, struct pvb_error *err)
{
	struct usb_spec *s = to;

	if (!value)
		return parse_name(s, key, err);
	if (strcmp(key, "type") == 0)
		return strcmp(value, "hostdev") ? pvb_err(err, -EINVAL, "type=%s is not hostdev", value) : 0;
	if (strcmp(key, "hostbus") == 0)
		return number(key, value, 1, 255, &s->bus, err);
	if (strcmp(key, "hostaddr") == 0)
		return number(key, value, 1, 255, &s->addr, err);
	if (strcmp(key, "controller") == 0)
		return number(key, value, 0, 255, &s->ctrl, err);
	if (strcmp(key, "port") == 0)
		return number(key, value, 1, 255, &s->port, err);
	return pvb_err(err, -EINVAL, "unknown part \"%s\"", key);
}

static int ctrl_word(void *to, const char *key, const char *value, struct pvb_error *err)
{
	struct usb_ctrl_spec *s = to;

	if (!value)
		return pvb_err(err, -EINVAL, "unknown part \"%s\"", key);
	if (strcmp(key, "version") == 0)
		return number(key, value, 1, 3, &s->version, err);
	if (strcmp(key, "ports") == 0)
		return number(key, value, 1, 31, &s->ports, err);
	if (strcmp(key, "type"))
		return pvb_err(err, -EINVAL, "unknown part \"%s\"", key);
	if (strcmp(value, "auto") && strcmp(value, "pv") && strcmp(value, "qusb") && strcmp(value, "devicemodel"))
		return pvb_err(err, -EINVAL, "type=%s is not auto, pv, qusb or devicemodel", value);
	snprintf(s->type, sizeof(s->type), "%s", value);
	return 0;
}

static int each_word(const char *const *texts, unsigned nr, void *to,
		     int (*fn)(void *to, const char *key, const char *value, struct pvb_error *err), struct pvb_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < nr && !rc; i++) {
		char *copy = strdup(texts[i]), *next = copy, *word;

		if (!copy)
			return pvb_err(err, -ENOMEM, "USB: out of memory");
		while (!rc && (word = strsep(&next, ", \t"))) {
			char *value = strchr(word, '=');

			/* a serial number may have one in it */
			if (value && memchr(word, ':', (size_t)(value - word)))
				value = NULL;
			if (value)
				*value++ = '\0';
			if (*word || value)
				rc = fn(to, word, value, err);
		}
		if (rc)
			pvb_err_prefix(err, rc, "\"%s\"", texts[i]);
		free(copy);
	}
	return rc;
}

int usb_ctrl_spec_parse(struct usb_ctrl_spec *out, const char *const *texts, unsigned nr, struct pvb_error *err)
{
	struct usb_ctrl_spec s = { 0 };
	int rc = each_word(texts, nr, &s, ctrl_word, err);

	if (!rc)
		*out = s;
	return rc;
}

int usb_spec_parse(struct usb_spec *out, const char *const *texts, unsigned nr, struct pvb_error *err)
{
	struct usb_spec s = { .bus = -1, .addr = -1, .vendor = -1, .product = -1, .ctrl = -1, .port = -1 };
	int rc = each_word(texts, nr, &s, dev_word, err);
	bool named = s.vendor >= 0 || *s.port_path;

	if (rc)
		return rc;
	if ((s.bus < 0) != (s.addr < 0))
		return pvb_err(err, -EINVAL, "USB device: hostbus= and hostaddr= go together");
	if (named && s.bus >= 0)
		return pvb_err(err, -EINVAL, "USB device: a name, or hostbus= and hostaddr=, but not both");
	if (s.port >= 0 && s.ctrl < 0)
		return pvb_err(err, -EINVAL, "USB device: port= goes with controller=");
	if (!named && s.bus < 0 && s.port < 0)
		return pvb_err(err, -EINVAL, "USB device: none is named");
	*out = s;
	return 0;
}

static bool fits(const struct usb_spec *s, const struct usb_dev *d)
{
	if (s->bus >= 0)
		return d->bus == s->bus && d->addr == s->addr;
	if (*s->port_path)
		return strcmp(d->name, s->port_path) == 0;
	return d->vendor == s->vendor && d->product == s->product && (!*s->serial || strcmp(d->serial, s->serial) == 0);
}

static void spec_text(const struct usb_spec *s, char *buf, size_t len)
{
	if (s->bus >= 0)
		snprintf(buf, len, "hostbus=%d hostaddr=%d", s->bus, s->addr);
	else if (*s->port_path)
		snprintf(buf, len, "%s", s->port_path);
	else
		snprintf(buf, len, "%04x:%04x%s%.100s", (unsigned)s->vendor, (unsigned)s->product, *s->serial ? ":" : "", s->serial);
}

int usb_resolve(const struct usb_host *usb, const struct usb_spec *spec, struct usb_dev **out, struct pvb_error *err)
{
	struct usb_dev *found = NULL, *second = NULL;
	char text[160];

	for (unsigned i = 0; i < usb->nr; i++) {
		if (!fits(spec, &usb->dev[i]))
			continue;
		if (!found)
			found = &usb->dev[i];
		else if (!second)
			second = &usb->dev[i];
	}
	spec_text(spec, text, sizeof(text));
	if (!found)
		return pvb_err(err, -ENODEV, "USB device %s: there is none", text);
	if (second)
		return pvb_err(err, -EEXIST, "USB device %s: there are several, at %s and at %s; say which by its serial number or port",
			       text, found->name, second->name);
	*out = found;
	return 0;
}

/* --- judgement --------------------------------------------------------------------------------------- */

int usb_judge(const struct usb_host *usb, const struct usb_dev *d, int64_t domid, bool force, struct pvb_error *err)
{
	/* A mount, a route or a console is on a device by its place in sysfs, whatever bus it is on: what holds for PCI devices
	 * holds here.  There are no other PCI devices in this host, so nothing is said of sharing. */
	const struct pci_host as_pci = { .root = usb->root };
	const struct pci_dev dev = { .path = d->path, .owner = -1, .record = -1 };
	struct pci_reasons why;

	if (d->hub)
		return pvb_err(err, -EINVAL, "USB device %s is a hub; give what is plugged into it", d->name);
	if (d->owner >= 0 && d->owner == domid)
		return pvb_err(err, -EBUSY, "USB device %s: domain %lld has it already", d->name, (long long)domid);
	if (d->owner >= 0)
		return pvb_err(err, -EBUSY, "USB device %s: domain %lld has it; pvl usbdev-detach it there first", d->name,
			       (long long)d->owner);
	pci_judge_take(&as_pci, &dev, &why);
	for (unsigned i = 0; i < why.nr && !force; i++)
		if (why.why[i].hard == PCI_FORCE)
			return pvb_err(err, -EBUSY, "USB device %s: %s (or --force)", d->name, why.why[i].text);
	return 0;
}
