// SPDX-License-Identifier: GPL-2.0-or-later
/* From xl.cfg's device lists to libxl's: disks, network, PCI, USB, frame buffers, channels.  Disk, PCI and rate
 * texts are parsed by libxlutil; the others have the same shape, KEY=VALUE parts between commas, and are read
 * here, each by its own small table.  Asks Xen nothing.
 */
#include "config.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxlutil.h>
#include "diskspec.h"
#include "host-xen.h"
#include "usb.h"

/* --- parts between commas ---------------------------------------------------------------------------- */

/* Call fn for each part; value is NULL where there is no "=".  what names the list in errors. */
static int each_part(const char *what, const char *spec, void *dev,
		     int (*fn)(void *dev, const char *key, const char *value, struct pvb_error *err),
		     struct pvb_error *err)
{
	char *copy = strdup(spec), *next = copy, *part;
	int rc = copy ? 0 : pvb_err(err, -ENOMEM, "%s: out of memory", what);

	while (!rc && (part = strsep(&next, ","))) {
		char *value;

		part += strspn(part, " \t");
		if (!*part)
			continue;
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		rc = fn(dev, part, value, err);
		if (rc)
			pvb_err_prefix(err, rc, "%s \"%s\"", what, spec);
	}
	free(copy);
	return rc;
}

static int set_text(char **to, const char *value)
{
	free(*to);
	*to = strdup(value);
	return *to ? 0 : -ENOMEM;
}

static int set_number(const char *key, const char *value, uint64_t min, uint64_t max, uint64_t *to,
		      struct pvb_error *err)
{
	return pvb_parse_u64(value, min, max, to)
		       ? pvb_err(err, -EINVAL, "%s=%s is not a number from %llu to %llu", key, value,
				 (unsigned long long)min, (unsigned long long)max)
		       : 0;
}

static int unknown_part(const char *key, struct pvb_error *err)
{
	return pvb_err(err, -EINVAL, "unknown part \"%s\"", key);
}

/* A new zeroed element at the end of a libxl array; NULL when out of memory. */
static void *grow(void **array, int *nr, size_t size)
{
	char *a = reallocarray(*array, (size_t)*nr + 1, size);

	if (!a)
		return NULL;
	*array = a;
	memset(a + (size_t)*nr * size, 0, size);
	return a + (size_t)(*nr)++ * size;
}
#define GROW(dc, what, type) ((type *)grow((void **)&(dc)->what##s, &(dc)->num_##what##s, sizeof(type)))

/* --- disks ------------------------------------------------------------------------------------------- */

/* libxlutil reports into a stream only: catch its first line. */
static int parse_by_xlu(const char *const *specs, int nr, libxl_device_disk *disk, struct pvb_error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *report = open_memstream(&text, &len);
	XLU_Config *x = report ? xlu_cfg_init(report, "disk") : NULL;
	int r = x ? xlu_disk_parse(x, nr, specs, disk) : ENOMEM;

	if (x)
		xlu_cfg_destroy(x);
	if (report)
		fclose(report);
	if (text)
		text[strcspn(text, "\n")] = '\0';
	if (r)
		pvb_err(err, -r, "disk \"%s\": %s", nr ? specs[0] : "", text && *text ? text : strerror(r));
	free(text);
	return -r;
}

int xen_disk_parse(const char *const *specs, int nr, libxl_device_disk *disk, struct pvb_error *err)
{
	struct diskspec d;
	const char *one;
	char *words;
	int rc;

	for (int i = 0; i < nr; i++)
		if (strpbrk(specs[i], "\n\r"))
			return pvb_err(err, -EINVAL, "disk \"%s\": it has more than one line", specs[i]);
	if (!diskspec_is_pvbus(specs, nr))
		return parse_by_xlu(specs, nr, disk, err);
	rc = diskspec_parse(&d, specs, nr, err);
	if (rc)
		return rc;
	if (strcmp(d.format, "raw") != 0) {
		rc = pvb_err(err, -EINVAL,
			     "disk %s: backendtype=pvbus takes no format (%s); put it behind an nbd: target", d.vdev,
			     d.format);
		diskspec_free(&d);
		return rc;
	}
	words = diskspec_for_xl(&d);
	diskspec_free(&d);
	if (!words)
		return pvb_err(err, -ENOMEM, "disk: out of memory");
	one = words;
	rc = parse_by_xlu(&one, 1, disk, err);
	free(words);
	return rc;
}

static int add_disk(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
		    struct pvb_error *err)
{
	libxl_device_disk *d = GROW(dc, disk, libxl_device_disk);

	if (!d)
		return pvb_err(err, -ENOMEM, "disk: out of memory");
	libxl_device_disk_init(d);
	return xen_disk_parse(&spec, 1, d, err);
}

/* --- network ----------------------------------------------------------------------------------------- */

static int parse_mac(const char *text, libxl_mac mac)
{
	unsigned b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || text[end])
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

static int nic_rate(libxl_device_nic *nic, const char *value, struct pvb_error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *report = open_memstream(&text, &len);
	XLU_Config *x = report ? xlu_cfg_init(report, "vif") : NULL;
	int r = x ? xlu_vif_parse_rate(x, value, nic) : ENOMEM;

	if (x)
		xlu_cfg_destroy(x);
	if (report)
		fclose(report);
	free(text);
	return r ? pvb_err(err, -EINVAL, "rate=%s is not a rate such as 10Mb/s or 10Mb/s@20ms", value) : 0;
}

static int nic_type(libxl_device_nic *nic, const char *value, struct pvb_error *err)
{
	if (strcmp(value, "vif") == 0)
		nic->nictype = LIBXL_NIC_TYPE_VIF;
	else if (strcmp(value, "ioemu") == 0)
		nic->nictype = LIBXL_NIC_TYPE_VIF_IOEMU;
	else
		return pvb_err(err, -EINVAL, "type=%s is not vif or ioemu", value);
	return 0;
}

static int nic_part(void *dev, const char *key, const char *value, struct pvb_error *err)
{
	libxl_device_nic *nic = dev;
	const struct {
		const char *key;
		char **to;
	} texts[] = {
		{ "bridge", &nic->bridge }, { "gatewaydev", &nic->gatewaydev }, { "netdev", &nic->gatewaydev },
		{ "model", &nic->model }, { "vifname", &nic->ifname }, { "script", &nic->script }, { "ip", &nic->ip },
		{ "backend", &nic->backend_domname },
	};
	uint32_t sbdf;
	uint64_t n;

	if (!value) {
		if (strcmp(key, "trusted") && strcmp(key, "untrusted"))
			return unknown_part(key, err);
		libxl_defbool_set(&nic->trusted, *key == 't');
		return 0;
	}
	if (strcmp(key, "pair") == 0) /* pvl's word */
		return xen_pair_set(nic, value, err);
	if ((strcmp(key, "gatewaydev") == 0 || strcmp(key, "netdev") == 0) && xen_pair_of(nic, &sbdf))
		return pvb_err(err, -EINVAL, "%s and %s=%s: only one of them", nic->gatewaydev, key, value);
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(texts[i].key, key) == 0)
			return set_text(texts[i].to, value);
	if (strcmp(key, "port") == 0) /* pvl's word: a port of pvbackd */
		return set_text(&nic->bridge, value) || set_text(&nic->script, "vif-pvbus") ? pvb_err(err, -ENOMEM, "out of memory") : 0;
	if (strcmp(key, "type") == 0)
		return nic_type(nic, value, err);
	if (strcmp(key, "mac") == 0)
		return parse_mac(value, nic->mac) ? pvb_err(err, -EINVAL, "mac=%s is not a MAC address", value) : 0;
	if (strcmp(key, "rate") == 0)
		return nic_rate(nic, value, err);
	if (strcmp(key, "devid") == 0 || strcmp(key, "mtu") == 0) {
		int rc = set_number(key, value, 0, 65535, &n, err);

		if (!rc)
			*(*key == 'd' ? &nic->devid : &nic->mtu) = (int)n;
		return rc;
	}
	return unknown_part(key, err);
}

int xen_nic_parse(const struct xl_conf *conf, const char *const *specs, int nr, libxl_device_nic *nic,
		  struct pvb_error *err)
{
	int rc = 0;

	if (conf->vif_script)
		set_text(&nic->script, conf->vif_script);
	if (conf->vif_bridge)
		set_text(&nic->bridge, conf->vif_bridge);
	if (conf->vif_gatewaydev)
		set_text(&nic->gatewaydev, conf->vif_gatewaydev);
	if (conf->vif_backend)
		set_text(&nic->backend_domname, conf->vif_backend);
	for (int i = 0; i < nr && !rc; i++)
		rc = each_part("vif", specs[i], nic, nic_part, err);
	return rc;
}

static int add_nic(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
		   struct pvb_error *err)
{
	libxl_device_nic *nic = GROW(dc, nic, libxl_device_nic);

	if (!nic)
		return pvb_err(err, -ENOMEM, "vif: out of memory");
	libxl_device_nic_init(nic);
	nic->devid = dc->num_nics - 1;
	return xen_nic_parse(conf, &spec, 1, nic, err);
}

/* --- PCI --------------------------------------------------------------------------------------------- */

static int fill_pci(struct cfg *cfg, libxl_domain_config *dc, struct pvb_error *err)
{
	static const char *const keys[4] = { "pci_msitranslate", "pci_power_mgmt", "pci_permissive", "pci_seize" };
	bool def[4] = { false };
	unsigned nr;
	int rc;

	for (int i = 0; i < 4; i++) {
		rc = cfg_bool(cfg, keys[i], &def[i], err);
		if (rc && rc != -ENOENT)
			return rc;
	}
	rc = cfg_list_len(cfg, "pci", &nr, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (unsigned i = 0; i < nr; i++) {
		libxl_device_pci *pci = GROW(dc, pcidev, libxl_device_pci);
		const char *v = "";

		rc = cfg_list_item(cfg, "pci", i, &v, err);
		if (!rc && pci) {
			libxl_device_pci_init(pci);
			pci->msitranslate = def[0];
			pci->power_mgmt = def[1];
			pci->permissive = def[2];
			pci->seize = def[3];
			rc = xen_pci_parse(v, pci, err);
		} else if (!rc) {
			rc = pvb_err(err, -ENOMEM, "pci: out of memory");
		}
		if (rc)
			return pvb_err_prefix(err, rc, "%s", cfg_name(cfg));
	}
	if (nr && dc->c_info.type == LIBXL_DOMAIN_TYPE_PV)
		libxl_defbool_set(&dc->b_info.u.pv.e820_host, true);
	return 0;
}

/* --- USB --------------------------------------------------------------------------------------------- */

static int usbctrl_part(void *dev, const char *key, const char *value, struct pvb_error *err)
{
	libxl_device_usbctrl *u = dev;
	uint64_t n;
	int rc;

	if (!value)
		return unknown_part(key, err);
	if (strcmp(key, "type") == 0)
		return libxl_usbctrl_type_from_string(value, &u->type) ?
			       pvb_err(err, -EINVAL, "type=%s is not auto, pv, qusb or devicemodel", value) : 0;
	if (strcmp(key, "version") == 0) {
		rc = set_number(key, value, 1, 3, &n, err);
		if (!rc)
			u->version = (int)n;
		return rc;
	}
	if (strcmp(key, "ports") == 0) {
		rc = set_number(key, value, 1, 31, &n, err);
		if (!rc)
			u->ports = (int)n;
		return rc;
	}
	return unknown_part(key, err);
}

static int add_usbctrl(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
		       struct pvb_error *err)
{
	libxl_device_usbctrl *u = GROW(dc, usbctrl, libxl_device_usbctrl);

	if (!u)
		return pvb_err(err, -ENOMEM, "usbctrl: out of memory");
	libxl_device_usbctrl_init(u);
	u->devid = dc->num_usbctrls - 1;
	return each_part("usbctrl", spec, u, usbctrl_part, err);
}

/* A name becomes the address that the device has now. */
static int add_usbdev(struct pvl *p, const struct xl_conf *conf, const char *text, libxl_domain_config *dc,
		      struct pvb_error *err)
{
	libxl_device_usbdev *u = GROW(dc, usbdev, libxl_device_usbdev);
	struct usb_dev *d = NULL;
	struct usb_spec spec;
	struct usb_host usb;
	int rc;

	if (!u)
		return pvb_err(err, -ENOMEM, "usbdev: out of memory");
	libxl_device_usbdev_init(u);
	libxl_device_usbdev_init_type(u, LIBXL_USBDEV_TYPE_HOSTDEV);
	rc = usb_spec_parse(&spec, &text, 1, err);
	if (!rc && spec.bus < 0 && spec.vendor < 0 && !*spec.port_path)
		rc = pvb_err(err, -EINVAL, "none is named");
	if (!rc && spec.bus < 0 && (rc = usb_scan(&usb, p->dry_run ? getenv("PVL_SYSROOT") : NULL, err)) == 0) {
		rc = usb_resolve(&usb, &spec, &d, err);
		if (!rc) {
			spec.bus = d->bus;
			spec.addr = d->addr;
		}
		usb_free(&usb);
	}
	if (rc)
		return pvb_err_prefix(err, rc, "usbdev");
	u->u.hostdev.hostbus = (uint8_t)spec.bus;
	u->u.hostdev.hostaddr = (uint8_t)spec.addr;
	if (spec.ctrl >= 0)
		u->ctrl = spec.ctrl;
	if (spec.port >= 0)
		u->port = spec.port;
	return 0;
}

/* --- frame buffers, channels ------------------------------------------------------------------------- */

static int vfb_part(void *dev, const char *key, const char *value, struct pvb_error *err)
{
	libxl_device_vfb *v = dev;
	const struct {
		const char *key;
		char **text;
		libxl_defbool *flag;
	} parts[] = {
		{ "vnc", NULL, &v->vnc.enable },
		{ "vnclisten", &v->vnc.listen, NULL },
		{ "vncpasswd", &v->vnc.passwd, NULL },
		{ "vncunused", NULL, &v->vnc.findunused },
		{ "keymap", &v->keymap, NULL },
		{ "sdl", NULL, &v->sdl.enable },
		{ "opengl", NULL, &v->sdl.opengl },
		{ "display", &v->sdl.display, NULL },
		{ "xauthority", &v->sdl.xauthority, NULL },
	};
	uint64_t n;
	int rc;

	if (!value)
		return unknown_part(key, err);
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].key, key))
			continue;
		if (parts[i].text)
			return set_text(parts[i].text, value);
		rc = set_number(key, value, 0, 1, &n, err);
		if (!rc)
			libxl_defbool_set(parts[i].flag, n);
		return rc;
	}
	if (strcmp(key, "vncdisplay") == 0) {
		rc = set_number(key, value, 0, 59635, &n, err);
		if (!rc)
			v->vnc.display = (int)n;
		return rc;
	}
	return unknown_part(key, err);
}

static int add_vfb(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
		   struct pvb_error *err)
{
	libxl_device_vfb *v = GROW(dc, vfb, libxl_device_vfb);
	libxl_device_vkb *k = GROW(dc, vkb, libxl_device_vkb);

	if (!v || !k)
		return pvb_err(err, -ENOMEM, "vfb: out of memory");
	libxl_device_vfb_init(v);
	libxl_device_vkb_init(k);
	v->devid = k->devid = dc->num_vfbs - 1;
	return each_part("vfb", spec, v, vfb_part, err);
}

static int channel_part(void *dev, const char *key, const char *value, struct pvb_error *err)
{
	libxl_device_channel *c = dev;

	if (!value)
		return unknown_part(key, err);
	if (strcmp(key, "backend") == 0)
		return set_text(&c->backend_domname, value);
	if (strcmp(key, "name") == 0)
		return set_text(&c->name, value);
	if (strcmp(key, "path") == 0)
		return set_text(&c->u.socket.path, value);
	if (strcmp(key, "connection") == 0) {
		if (strcmp(value, "pty") == 0)
			c->connection = LIBXL_CHANNEL_CONNECTION_PTY;
		else if (strcmp(value, "socket") == 0)
			c->connection = LIBXL_CHANNEL_CONNECTION_SOCKET;
		else
			return pvb_err(err, -EINVAL, "connection=%s is not pty or socket", value);
		return 0;
	}
	return unknown_part(key, err);
}

static int add_channel(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
		       struct pvb_error *err)
{
	libxl_device_channel *c = GROW(dc, channel, libxl_device_channel);
	int rc;

	if (!c)
		return pvb_err(err, -ENOMEM, "channel: out of memory");
	libxl_device_channel_init(c);
	c->devid = dc->num_channels - 1;
	rc = each_part("channel", spec, c, channel_part, err);
	if (rc)
		return rc;
	if (c->connection == LIBXL_CHANNEL_CONNECTION_UNKNOWN)
		return pvb_err(err, -EINVAL, "channel \"%s\": connection=pty or connection=socket is missing", spec);
	if ((c->connection == LIBXL_CHANNEL_CONNECTION_SOCKET) != (c->u.socket.path != NULL)) {
		if (c->connection != LIBXL_CHANNEL_CONNECTION_SOCKET) {
			free(c->u.socket.path); /* libxl would not: the member is for sockets */
			c->u.socket.path = NULL;
		}
		return pvb_err(err, -EINVAL, "channel \"%s\": path= goes with connection=socket", spec);
	}
	return 0;
}

/* --- all lists --------------------------------------------------------------------------------------- */

int xen_config_devices(struct pvl *p, struct host *h, const struct xl_conf *conf, struct cfg *cfg,
		       libxl_domain_config *dc, struct pvb_error *err)
{
	static const struct {
		const char *key;
		int (*add)(struct pvl *p, const struct xl_conf *conf, const char *spec, libxl_domain_config *dc,
			   struct pvb_error *err);
	} lists[] = {
		{ "disk", add_disk }, { "vif", add_nic }, { "usbctrl", add_usbctrl }, { "usbdev", add_usbdev },
		{ "vfb", add_vfb }, { "channel", add_channel },
	};

	for (unsigned l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
		unsigned nr = 0;
		int rc = cfg_list_len(cfg, lists[l].key, &nr, err);

		if (rc && rc != -ENOENT)
			return rc;
		for (unsigned i = 0; i < nr; i++) {
			const char *v;

			rc = cfg_list_item(cfg, lists[l].key, i, &v, err);
			if (!rc)
				rc = lists[l].add(p, conf, v, dc, err);
			if (rc)
				return pvb_err_prefix(err, rc, "%s", cfg_name(cfg));
		}
	}
	return fill_pci(cfg, dc, err);
}
