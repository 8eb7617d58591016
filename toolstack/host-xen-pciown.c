// SPDX-License-Identifier: GPL-2.0-or-later
/* Who has a PCI device: the scan with what Xen and xenstore know, and moving devices between dom0's drivers and pciback.
 * Giving them to guests is host-xen-pci.c's. */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "host-xen-pci.h"
#include "nicspec.h"

#define DRIVERS "/sys/bus/pci/drivers"
#define DEVICES "/sys/bus/pci/devices"
#define OWN_MAC 32   /* room for the longest address that a kernel knows */
#define MASTER  0x04 /* in the low byte of a device's command register, at offset 4 */

static int sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* libxl's notes on a device: /libxl/pci/0000-00-10-0/KEY */
static void note_path(char *buf, size_t len, uint32_t sbdf, const char *key)
{
	snprintf(buf, len, "/libxl/pci/%04x-%02x-%02x-%x%s%s", sbdf >> 16, sbdf >> 8 & 0xff, sbdf >> 3 & 0x1f, sbdf & 7,
		 *key ? "/" : "", key);
}

static char *note(struct host *h, uint32_t sbdf, const char *key)
{
	char path[64], *v = NULL;

	note_path(path, sizeof(path), sbdf, key);
	return xen_store(h) && pvb_store_read(h->store, PVB_NO_TXN, path, &v) == 0 ? v : NULL;
}

static void forget(struct host *h, uint32_t sbdf, const char *key)
{
	char path[64];

	note_path(path, sizeof(path), sbdf, key);
	if (xen_store(h))
		pvb_store_rm(h->store, PVB_NO_TXN, path);
}

static void intx_path(char *buf, size_t len, uint32_t domid)
{
	snprintf(buf, len, "/libxl/%u/pvl-intx", domid);
}

void xen_pci_note_intx(struct host *h, uint32_t domid, const struct pci_dev *d)
{
	char path[64];

	intx_path(path, sizeof(path), domid);
	if (d->intx && (!xen_store(h) || pvb_store_write(h->store, PVB_NO_TXN, path, d->name)))
		pvl_error(h->p, "%s can not be written: nothing will keep domain %u, which had PCI device %s, from being saved", path, domid,
			  d->name);
}

char *xen_pci_had_intx(struct host *h, uint32_t domid)
{
	char path[64], *name = NULL;

	intx_path(path, sizeof(path), domid);
	return xen_store(h) && pvb_store_read(h->store, PVB_NO_TXN, path, &name) == 0 ? name : NULL;
}

bool xen_pci_forget_owner(struct host *h, uint32_t sbdf)
{
	char *owner = note(h, sbdf, "domid");

	if (owner)
		forget(h, sbdf, "domid");
	free(owner);
	return owner != NULL;
}

/* --- looking ----------------------------------------------------------------------------------------- */

int xen_pci_iommu(struct host *h, struct pvb_error *err)
{
	libxl_physinfo i;
	bool on;

	libxl_physinfo_init(&i);
	on = libxl_get_physinfo(h->ctx, &i) == 0 && i.cap_hvm_directio;
	libxl_physinfo_dispose(&i);
	return on ? 0 : pvb_err(err, -ENODEV, "this host's IOMMU is off: switch VT-d or AMD-Vi (\"IOMMU\") on in the firmware, leave "
				"iommu=off out of Xen's command line, boot, and look for hvm_directio in pvl info virt_caps");
}

static int taken(xc_interface *xch, uint32_t sbdf)
{
	if (xc_test_assign_device(xch, DOMID_INVALID, sbdf) == 0)
		return 0;
	/* Xen 4.17 says EINVAL, others EBUSY, of what some guest has */
	return errno == EBUSY || errno == EINVAL ? 1 : -errno;
}

int xen_pci_taken(struct host *h, uint32_t sbdf)
{
	xc_interface *xch = xc_interface_open(&h->log.vtable, NULL, 0);
	int rc = xch ? taken(xch, sbdf) : -errno;

	if (xch)
		xc_interface_close(xch);
	return rc;
}

/* Those that differ from what they are without a word; libxl keeps them as "KEY=0|1,...". */
static void read_opts(struct host *h, uint32_t domid, struct pci_slot *s)
{
	static const char *const on[] = { "msitranslate=1", "power_mgmt=1", "permissive=1" };
	char path[96], *text;
	size_t n = 0;

	s->opts[0] = '\0';
	snprintf(path, sizeof(path), PCI_BACK "/%u/0/opts-%u", domid, s->index);
	if (pvb_store_read(h->store, PVB_NO_TXN, path, &text))
		return;
	for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++)
		if (strstr(text, on[i]))
			n += (size_t)snprintf(s->opts + n, sizeof(s->opts) - n, ",%s", on[i]);
	free(text);
}

static int read_slot(struct host *h, uint32_t domid, unsigned i, struct pci_slot *s)
{
	char path[96], *text;
	uint64_t v;
	int rc;

	snprintf(path, sizeof(path), PCI_BACK "/%u/0/dev-%u", domid, i);
	rc = pvb_store_read(h->store, PVB_NO_TXN, path, &text);
	if (rc)
		return rc;
	rc = pci_parse(text, &s->sbdf, NULL);
	free(text);
	s->index = i;
	snprintf(path, sizeof(path), PCI_BACK "/%u/0/state-%u", domid, i);
	s->state = pvb_store_read_u64(h->store, PVB_NO_TXN, path, 0, 8, &v) ? 0 : (unsigned)v;
	snprintf(path, sizeof(path), PCI_BACK "/%u/0/vdevfn-%u", domid, i);
	s->vdevfn = 0;
	if (pvb_store_read(h->store, PVB_NO_TXN, path, &text) == 0) {
		s->vdevfn = (unsigned)strtoul(text, NULL, 16) & 0xff;
		free(text);
	}
	read_opts(h, domid, s);
	return rc;
}

int xen_pci_slots(struct host *h, uint32_t domid, struct pci_slot **out, unsigned *nr, struct pvb_error *err)
{
	char path[96];
	uint64_t count = 0;
	unsigned n = 0;

	snprintf(path, sizeof(path), PCI_BACK "/%u/0/num_devs", domid);
	if (!xen_store(h))
		return pvb_err(err, -EIO, "PCI devices of domain %u: no store", domid);
	if (pvb_store_read_u64(h->store, PVB_NO_TXN, path, 0, 256, &count))
		count = 0;
	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return pvb_err(err, -ENOMEM, "PCI devices of domain %u: out of memory", domid);
	for (unsigned i = 0; i < count; i++)
		if (read_slot(h, domid, i, &(*out)[n]) == 0)
			n++;
	*nr = n;
	return 0;
}

int xen_pci_slot(struct host *h, uint32_t domid, uint32_t sbdf, struct pci_slot *out)
{
	struct pci_slot *list;
	unsigned nr;
	int rc = xen_pci_slots(h, domid, &list, &nr, NULL);

	if (rc)
		return rc;
	rc = -ENOENT;
	for (unsigned i = 0; i < nr && rc; i++)
		if (list[i].sbdf == sbdf) {
			*out = list[i];
			rc = 0;
		}
	free(list);
	return rc;
}

static void fill_owners(struct host *h, struct pci_host *pci)
{
	struct pci_slot *list;
	char **names;
	unsigned nr, n;
	uint64_t domid;

	if (pvb_store_list(h->store, PVB_NO_TXN, PCI_BACK, &names, &nr))
		return;
	for (unsigned i = 0; i < nr; i++) {
		/* what a dead domain has left behind is nobody's */
		if (pvb_parse_u64(names[i], 0, UINT16_MAX, &domid) || !pvb_store_domain_alive(h->store, (uint32_t)domid) ||
		    xen_pci_slots(h, (uint32_t)domid, &list, &n, NULL))
			continue;
		for (unsigned k = 0; k < n; k++) {
			struct pci_dev *d = pci_find(pci, list[k].sbdf);

			if (d)
				d->owner = (int64_t)domid;
		}
		free(list);
	}
	pvb_store_list_free(names, nr);
}

int xen_pci_scan(struct host *h, struct pci_host *out, bool *iommu, struct pvb_error *err)
{
	xc_interface *xch;
	int rc = xen_pci_iommu(h, err);

	if (iommu)
		*iommu = rc == 0;
	else if (rc)
		return rc;
	if (!xen_store(h))
		return pvb_err(err, -EIO, "PCI devices: no store");
	xch = xc_interface_open(&h->log.vtable, NULL, 0);
	if (!xch)
		return pvb_err(err, -EIO, "PCI devices: no way to Xen: %s", strerror(errno));
	rc = pci_scan(out, NULL, err);
	if (!rc) {
		fill_owners(h, out);
		for (unsigned i = 0; i < out->nr; i++) {
			struct pci_dev *d = &out->dev[i];
			char *label = note(h, d->sbdf, "name"), *record = note(h, d->sbdf, "domid");
			uint64_t v;

			snprintf(d->label, sizeof(d->label), "%s", label ? label : "");
			if (record && pvb_parse_u64(record, 0, UINT16_MAX, &v) == 0)
				d->record = (int64_t)v;
			free(label);
			free(record);
			/* Xen notes each such question in its log */
			d->taken = pci_on_pciback(d) && taken(xch, d->sbdf) == 1;
		}
	}
	xc_interface_close(xch);
	return rc;
}

int xen_pci_by_label(struct host *h, const char *label, uint32_t *sbdf, struct pvb_error *err)
{
	struct pci_host pci;
	bool iommu;
	int rc = xen_pci_scan(h, &pci, &iommu, err);

	if (rc)
		return rc;
	rc = -ENOENT;
	for (unsigned i = 0; i < pci.nr && rc; i++)
		if (strcmp(pci.dev[i].label, label) == 0) {
			*sbdf = pci.dev[i].sbdf;
			rc = 0;
		}
	pci_free(&pci);
	return rc ? pvb_err(err, rc, "no PCI device has the name \"%s\" (pvl pci-assignable-list -n)", label) : 0;
}

/* --- addresses of NICs -------------------------------------------------------------------------------- */

/* The one that a card has by itself, which a driver in a guest will find; not one that dom0 gave it (a bond does). */
static int own_mac(const char *ifname, uint8_t mac[6])
{
	struct ethtool_perm_addr *addr = calloc(1, sizeof(*addr) + OWN_MAC);
	struct ifreq ifr = { .ifr_data = (char *)addr };
	static const uint8_t none[6];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = -ENODATA;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (addr)
		*addr = (struct ethtool_perm_addr){ .cmd = ETHTOOL_GPERMADDR, .size = OWN_MAC };
	if (addr && fd >= 0 && ioctl(fd, SIOCETHTOOL, &ifr) == 0 && addr->size == 6 && memcmp(addr->data, none, 6)) {
		memcpy(mac, addr->data, 6);
		rc = 0;
	}
	if (fd >= 0)
		close(fd);
	free(addr);
	return rc;
}

/* Of a NIC that dom0 has.  A function with several interfaces has no address. */
static int mac_in_dom0(const char *name, uint8_t mac[6])
{
	char path[96], ifname[IFNAMSIZ] = "";
	struct dirent *e;
	unsigned nr = 0;
	DIR *dir;

	snprintf(path, sizeof(path), DEVICES "/%s/net", name);
	dir = opendir(path);
	if (!dir)
		return -ENODATA;
	while ((e = readdir(dir)))
		if (*e->d_name != '.' && strlen(e->d_name) < sizeof(ifname)) {
			strcpy(ifname, e->d_name);
			nr++;
		}
	closedir(dir);
	return nr == 1 ? own_mac(ifname, mac) : -ENODATA;
}

int xen_pci_mac(struct host *h, uint32_t sbdf, uint8_t mac[6])
{
	char name[PCI_NAME], *text;
	int rc;

	pci_name(sbdf, name);
	rc = mac_in_dom0(name, mac);
	if (!rc)
		return 0;
	text = note(h, sbdf, "mac");
	rc = text ? nicspec_mac(text, mac, NULL) : -ENODATA;
	free(text);
	return rc;
}

/* While pciback or a guest has the NIC nobody here can ask it. */
static void keep_mac(struct host *h, uint32_t sbdf, const uint8_t mac[6])
{
	char path[64], text[18];

	note_path(path, sizeof(path), sbdf, "mac");
	nicspec_mac_text(mac, text);
	if (pvb_store_write(h->store, PVB_NO_TXN, path, text))
		pvl_debug(h->p, "%s can not be written", path);
}

/* --- moving ------------------------------------------------------------------------------------------ */

/* Off the bus: a device that nobody drives writes to no memory. */
static void quiet(const char *name)
{
	char path[96];
	uint8_t c;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/config", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pread(fd, &c, 1, 4) == 1 && c != 0xff && c & MASTER) {
		c &= (uint8_t)~MASTER;
		if (pwrite(fd, &c, 1, 4) != 1)
			c |= MASTER;
	}
	close(fd);
}

static int look_again(uint32_t sbdf, struct pci_dev *d, bool *master, struct pvb_error *err)
{
	struct pci_host pci;
	struct pci_dev *found;
	int rc = pci_scan(&pci, NULL, err);

	if (rc)
		return rc;
	found = pci_find(&pci, sbdf);
	if (found) {
		*d = *found;
		d->path = NULL;
		if (master)
			*master = pci_bus_master(&pci, found);
	}
	pci_free(&pci);
	return found ? 0 : -ENODEV;
}

int xen_pci_restore(const struct pci_dev *d, const char *driver, struct pvb_error *err)
{
	char path[160];
	struct pci_dev now;
	int rc;

	if (look_again(d->sbdf, &now, NULL, err))
		return pvb_err(err, -ENODEV, "PCI device %s is gone", d->name);
	if (pci_on_pciback(&now)) {
		rc = sysfs_write(DRIVERS "/pciback/unbind", d->name);
		if (rc)
			return pvb_err(err, rc, "PCI device %s: pciback keeps it: %s", d->name, strerror(-rc));
	}
	sysfs_write(DRIVERS "/pciback/remove_slot", d->name);
	if (!driver) {
		quiet(d->name);
		return 0;
	}
	snprintf(path, sizeof(path), DRIVERS "/%s/bind", driver);
	rc = sysfs_write(*driver ? path : "/sys/bus/pci/drivers_probe", d->name);
	if (look_again(d->sbdf, &now, NULL, err))
		return pvb_err(err, -ENODEV, "PCI device %s is gone", d->name);
	if (*driver && strcmp(now.driver, driver))
		return pvb_err(err, rc ? rc : -EIO, "PCI device %s: driver %s does not take it back: %s", d->name, driver,
			       rc ? strerror(-rc) : "no reason given");
	return 0;
}

static void fill(libxl_device_pci *to, uint32_t sbdf)
{
	libxl_device_pci_init(to);
	to->domain = (int)(sbdf >> 16);
	to->bus = (uint8_t)(sbdf >> 8);
	to->dev = sbdf >> 3 & 0x1f;
	to->func = sbdf & 7;
}

static int add_one(struct host *h, const struct pci_dev *d, const char *label, struct pvb_error *err)
{
	libxl_device_pci pci;
	struct pci_dev now;
	uint8_t mac[6];
	bool known = mac_in_dom0(d->name, mac) == 0;
	int rc;

	fill(&pci, d->sbdf);
	if (label)
		pci.name = strdup(label);
	h->log.cause[0] = '\0';
	rc = libxl_device_pci_assignable_add(h->ctx, &pci, 1);
	libxl_device_pci_dispose(&pci);
	if (rc)
		rc = xen_err(h, err, rc, "PCI device %s: making it assignable", d->name);
	else if (look_again(d->sbdf, &now, NULL, err) || !pci_on_pciback(&now))
		rc = pvb_err(err, -EIO, "PCI device %s was given to pciback but is not there", d->name);
	if (rc) {
		struct pvb_error undo = { 0 };

		/* libxl leaves it on pciback, where it would look assignable */
		if (!pci_on_pciback(d) && xen_pci_restore(d, *d->driver ? d->driver : NULL, &undo))
			pvl_error(h->p, "%s", undo.text);
		forget(h, d->sbdf, "");
	} else if (known) {
		keep_mac(h, d->sbdf, mac);
	}
	return rc;
}

static int may_add(struct host *h, const struct pci_host *pci, const uint32_t *sbdf, unsigned nr, const char *label,
		   struct pvb_error *err)
{
	struct pci_reasons why;
	char name[PCI_NAME];
	int rc;

	if (!pci->pciback)
		return pvb_err(err, -ENODEV, "dom0 has no driver pciback; modprobe xen-pciback");
	for (unsigned i = 0; i < nr; i++) {
		const struct pci_dev *d = pci_find(pci, sbdf[i]);

		pci_name(sbdf[i], name);
		if (!d)
			return pvb_err(err, -ENODEV, "PCI device %s: there is none; pvl pci-assignable-list --candidates has all", name);
		if (d->owner >= 0)
			return pvb_err(err, -EBUSY, "PCI device %s: domain %lld has it", name, (long long)d->owner);
		pci_judge_take(pci, d, &why);
		rc = pci_refuse(d, &why, h->p->force, false, err);
		if (rc)
			return rc;
		for (unsigned k = 0; k < why.nr; k++)
			pvl_note(h->p, "PCI device %s: %s", name, why.why[k].text);
		for (unsigned k = 0; label && k < pci->nr; k++)
			if (&pci->dev[k] != d && strcmp(pci->dev[k].label, label) == 0)
				return pvb_err(err, -EEXIST, "PCI device %s has the name \"%s\" already", pci->dev[k].name, label);
	}
	return 0;
}

int xen_pci_add(struct host *h, const uint32_t *sbdf, unsigned nr, const char *label, bool dry_run, struct pvb_error *err)
{
	struct pci_host pci;
	unsigned i;
	int rc = xen_pci_scan(h, &pci, NULL, err);

	if (rc)
		return rc;
	rc = may_add(h, &pci, sbdf, nr, label, err);
	for (i = 0; i < nr && !rc; i++) {
		const struct pci_dev *d = pci_find(&pci, sbdf[i]);
		char path[64];

		if (pci_on_pciback(d)) {
			note_path(path, sizeof(path), d->sbdf, "name");
			if (label && !dry_run && pvb_store_write(h->store, PVB_NO_TXN, path, label))
				rc = pvb_err(err, -EIO, "PCI device %s: its name could not be recorded", d->name);
			pvl_note(h->p, "PCI device %s is assignable already", d->name);
		} else if (dry_run) {
			pvl_note(h->p, "would take PCI device %s from %s and make it assignable", d->name, *d->driver ? d->driver : "nobody");
		} else {
			rc = add_one(h, d, label, err);
		}
	}
	while (rc && !dry_run && i-- > 0) {
		const struct pci_dev *d = pci_find(&pci, sbdf[i]);
		struct pvb_error undo = { 0 };

		if (!d || pci_on_pciback(d)) /* as the scan saw it before */
			continue;
		if (xen_pci_restore(d, *d->driver ? d->driver : NULL, &undo))
			pvl_error(h->p, "%s", undo.text);
		forget(h, d->sbdf, "");
	}
	pci_free(&pci);
	return rc;
}

int xen_pci_remove(struct host *h, uint32_t sbdf, bool back, bool dry_run, struct pvb_error *err)
{
	char name[PCI_NAME], *driver = NULL, *base = NULL;
	struct pvb_error first = { 0 };
	struct pci_dev *d, now;
	struct pci_host pci;
	libxl_device_pci dev;
	bool iommu, master = false;
	int rc = xen_pci_scan(h, &pci, &iommu, err);

	if (rc)
		return rc;
	pci_name(sbdf, name);
	d = pci_find(&pci, sbdf);
	if (!d)
		rc = pvb_err(err, -ENODEV, "PCI device %s: there is none", name);
	else if (!pci_on_pciback(d))
		rc = pvb_err(err, -EINVAL, "PCI device %s is not assignable: %s has it", name, *d->driver ? d->driver : "no driver");
	else if (d->owner >= 0)
		rc = pvb_err(err, -EBUSY, "PCI device %s: domain %lld has it; pvl pci-detach it there first", name, (long long)d->owner);
	else if (d->taken)
		rc = pvb_err(err, -EBUSY, "PCI device %s: Xen says that a guest has it; see xl debug-keys Q, xl dmesg", name);
	if (rc) {
		pci_free(&pci);
		return rc;
	}
	if (back) {
		driver = note(h, sbdf, "driver_path");
		base = driver && strrchr(driver, '/') ? strrchr(driver, '/') + 1 : NULL;
		if (!base)
			pvl_note(h->p, "PCI device %s: no driver is recorded for it; the kernel chooses one", name);
	}
	if (dry_run) {
		pvl_note(h->p, "would take PCI device %s from pciback%s%s", name, base ? " and give it to " : "", base ? base : "");
		free(driver);
		pci_free(&pci);
		return 0;
	}
	fill(&dev, sbdf);
	h->log.cause[0] = '\0';
	rc = libxl_device_pci_assignable_remove(h->ctx, &dev, base != NULL);
	if (rc)
		xen_err(h, &first, rc, "PCI device %s: making it not assignable", name);
	libxl_device_pci_dispose(&dev);
	rc = look_again(sbdf, &now, &master, err);
	/* without an IOMMU libxl gives up before it has begun; what is left is the kernel's business alone */
	if (!rc && (*first.text || pci_on_pciback(&now) || (back && !base))) {
		rc = xen_pci_restore(d, back ? (base ? base : "") : NULL, err);
		if (!rc && *first.text)
			pvl_debug(h->p, "%s", first.text);
	} else if (!rc && base && strcmp(now.driver, base)) {
		rc = pvb_err(err, -EIO, "PCI device %s: driver %s does not take it back; it has %s", name, base,
			     *now.driver ? now.driver : "none");
	} else if (!rc && master && !*now.driver) {
		quiet(name);
	}
	if (!rc)
		forget(h, sbdf, "");
	free(driver);
	pci_free(&pci);
	return rc;
}

int xen_pci_settle(struct host *h, uint32_t domid, uint32_t sbdf, struct pvb_error *err)
{
	char name[PCI_NAME], path[96], *owner;
	struct pci_dev now;
	bool master = false;
	uint64_t v;
	int rc = xen_pci_taken(h, sbdf);

	pci_name(sbdf, name);
	if (rc == 1)
		return pvb_err(err, -EIO, "PCI device %s: Xen says that a guest still has it; see xl debug-keys Q, xl dmesg", name);
	owner = note(h, sbdf, "domid");
	if (owner && (domid == UINT32_MAX || (pvb_parse_u64(owner, 0, UINT16_MAX, &v) == 0 && v == domid)))
		forget(h, sbdf, "domid");
	free(owner);
	if (look_again(sbdf, &now, NULL, NULL) || !pci_on_pciback(&now))
		return 0; /* pulled out, or dom0 has it: not ours to reset */
	rc = 0;
	snprintf(path, sizeof(path), DEVICES "/%s/reset", name);
	if (*now.reset)
		rc = sysfs_write(path, "1");
	quiet(name);
	if (!look_again(sbdf, &now, &master, NULL) && master)
		return pvb_err(err, -EIO, "PCI device %s still may write to memory (bus master); give it to nobody", name);
	return rc ? pvb_err(err, rc, "PCI device %s could not be reset: %s; what the guest left in it is still there", name,
			    strerror(-rc)) : 0;
}
