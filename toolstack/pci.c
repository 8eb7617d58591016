// SPDX-License-Identifier: GPL-2.0-or-later
/* PCI devices of this host, read from sysfs.  Judging them is pci-judge.c's. */
#include "config.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pci.h"
#include "sysfs.h"

#define PCI_COMMAND        0x04
#define PCI_COMMAND_MASTER 0x04
#define PCI_STATUS         0x06
#define PCI_STATUS_CAPS    0x10
#define PCI_HEADER         0x0e
#define PCI_CAPS           0x34
#define PCI_PIN            0x3d /* 0: no interrupt but messages */
#define PCI_CAP_EXP        0x10 /* PCI Express */
#define RESOURCE_IO        0x100
#define RESOURCE_MEM       0x200

int pci_parse(const char *text, uint32_t *sbdf, bool *all)
{
	unsigned seg = 0, bus, slot, fn = 0;
	int end = 0;
	bool star;

	if (strspn(text, "0123456789abcdefABCDEF:.*") != strlen(text))
		return -EINVAL;
	if (sscanf(text, "%4x:%2x:%2x.%n", &seg, &bus, &slot, &end) != 3 || !end) {
		seg = 0;
		end = 0;
		if (sscanf(text, "%2x:%2x.%n", &bus, &slot, &end) != 2 || !end)
			return -EINVAL;
	}
	star = strcmp(text + end, "*") == 0;
	if (star ? !all : !(text[end] >= '0' && text[end] <= '7' && !text[end + 1]))
		return -EINVAL;
	if (!star)
		fn = (unsigned)(text[end] - '0');
	if (slot > 0x1f)
		return -EINVAL;
	*sbdf = seg << 16 | bus << 8 | slot << 3 | fn;
	if (all)
		*all = star;
	return 0;
}

void pci_name(uint32_t sbdf, char name[PCI_NAME])
{
	snprintf(name, PCI_NAME, "%04x:%02x:%02x.%x", sbdf >> 16 & 0xffff, sbdf >> 8 & 0xff, sbdf >> 3 & 0x1f, sbdf & 7);
}

/* The last part of where a link of a device points to, "" when there is none. */
static void read_link_name(const char *dir, const char *file, char *buf, size_t len)
{
	char path[512], to[512];
	ssize_t n;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	n = readlink(path, to, sizeof(to) - 1);
	if (n <= 0)
		return;
	to[n] = '\0';
	snprintf(buf, len, "%.*s", (int)len - 1, strrchr(to, '/') ? strrchr(to, '/') + 1 : to);
}

static size_t read_config(const char *dir, uint8_t *buf, size_t len)
{
	char path[512];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/config", dir);
	f = fopen(path, "re");
	if (f) {
		n = fread(buf, 1, len, f);
		fclose(f);
	}
	return n;
}

/* Does a bridge put its own name on the requests of what is behind it?  Bridges to conventional PCI do; PCI Express
 * ports hand requests on as they are. */
static bool hides_requesters(const char *dir)
{
	uint8_t c[256] = { 0 }, at;
	size_t n = read_config(dir, c, sizeof(c));

	if (n < 64 || (c[PCI_HEADER] & 0x7f) != 1)
		return false;
	if (!(c[PCI_STATUS] & PCI_STATUS_CAPS))
		return true;
	at = c[PCI_CAPS] & 0xfc;
	for (int i = 0; i < 48 && at >= 64 && (size_t)at + 3 < n; i++, at = c[at + 1] & 0xfc)
		if (c[at] == PCI_CAP_EXP)
			return (c[at + 2] >> 4) == 7; /* PCI Express to PCI */
	return true;
}

/* The topmost such bridge above a device.  path: .../pci0000:00/0000:00:13.0/0000:01:01.0 */
static void find_requester(const struct pci_host *pci, struct pci_dev *d)
{
	char dir[512], *next = d->path, name[PCI_NAME];
	uint32_t sbdf;

	while ((next = strchr(next + 1, '/'))) {
		const char *end = strchr(next + 1, '/');

		if (!end)
			return; /* the device itself */
		if ((size_t)(end - next - 1) >= sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(end - next - 1), next + 1);
		if (pci_parse(name, &sbdf, NULL))
			continue;
		snprintf(dir, sizeof(dir), "%s/sys/bus/pci/devices/%s", pci->root, name);
		if (hides_requesters(dir)) {
			snprintf(d->requester, sizeof(d->requester), "%s", name);
			return;
		}
	}
}

static void read_bars(const char *dir, struct pci_dev *d)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/resource", dir);
	f = fopen(path, "re");
	for (int i = 0; f && i < 6; i++) {
		unsigned long long start, end, flags;

		if (fscanf(f, "%llx %llx %llx", &start, &end, &flags) != 3)
			break;
		if (flags & (RESOURCE_MEM | RESOURCE_IO))
			d->bar[i] = (struct pci_bar){ start, end, (flags & RESOURCE_MEM) != 0 };
	}
	if (f)
		fclose(f);
}

static int read_device(const struct pci_host *pci, const char *name, struct pci_dev *d)
{
	char dir[300], path[340];
	uint8_t c[64] = { 0 };

	memset(d, 0, sizeof(*d));
	d->owner = d->record = -1;
	if (pci_parse(name, &d->sbdf, NULL))
		return -EINVAL;
	pci_name(d->sbdf, d->name);
	snprintf(dir, sizeof(dir), "%s/sys/bus/pci/devices/%s", pci->root, d->name);
	d->path = realpath(dir, NULL);
	if (!d->path)
		return -errno;
	d->class = (uint32_t)sysfs_number(dir, "class", 0);
	d->vendor = (uint16_t)sysfs_number(dir, "vendor", 0);
	d->device = (uint16_t)sysfs_number(dir, "device", 0);
	d->irq = (unsigned)sysfs_number(dir, "irq", 0);
	d->enabled = sysfs_number(dir, "enable", 0) > 0;
	d->boot_vga = sysfs_number(dir, "boot_vga", 0) == 1;
	read_link_name(dir, "driver", d->driver, sizeof(d->driver));
	sysfs_line(dir, "reset_method", d->reset, sizeof(d->reset));
	snprintf(path, sizeof(path), "%s/reset", dir);
	if (!*d->reset && access(path, F_OK) == 0)
		snprintf(d->reset, sizeof(d->reset), "reset"); /* kernels before 5.15 do not say how */
	snprintf(path, sizeof(path), "%s/msi_irqs", dir);
	d->msi = access(path, F_OK) == 0;
	read_config(dir, c, sizeof(c));
	d->intx = c[PCI_PIN] != 0;
	d->bridge = d->class >> 16 == 0x06 || (c[PCI_HEADER] & 0x7f) != 0;
	read_bars(dir, d);
	return 0;
}

static int by_sbdf(const void *a, const void *b)
{
	const struct pci_dev *x = a, *y = b;

	return x->sbdf < y->sbdf ? -1 : x->sbdf > y->sbdf;
}

int pci_scan(struct pci_host *out, const char *root, struct pvb_error *err)
{
	struct pci_host pci = { .root = root ? root : "" };
	char path[512];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices", pci.root);
	dir = opendir(path);
	if (!dir)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	while ((e = readdir(dir))) {
		struct pci_dev *more, d;

		if (e->d_name[0] == '.' || read_device(&pci, e->d_name, &d))
			continue;
		more = reallocarray(pci.dev, pci.nr + 1, sizeof(*more));
		if (!more) {
			free(d.path);
			closedir(dir);
			pci_free(&pci);
			return pvb_err(err, -ENOMEM, "%s: out of memory", path);
		}
		pci.dev = more;
		pci.dev[pci.nr++] = d;
	}
	closedir(dir);
	if (pci.nr)
		qsort(pci.dev, pci.nr, sizeof(*pci.dev), by_sbdf);
	for (unsigned i = 0; i < pci.nr; i++)
		find_requester(&pci, &pci.dev[i]);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/drivers/pciback", pci.root);
	pci.pciback = access(path, F_OK) == 0;
	*out = pci;
	return 0;
}

void pci_free(struct pci_host *pci)
{
	for (unsigned i = 0; i < pci->nr; i++)
		free(pci->dev[i].path);
	free(pci->dev);
	pci->dev = NULL;
	pci->nr = 0;
}

struct pci_dev *pci_find(const struct pci_host *pci, uint32_t sbdf)
{
	for (unsigned i = 0; i < pci->nr; i++)
		if (pci->dev[i].sbdf == sbdf)
			return &pci->dev[i];
	return NULL;
}

bool pci_on_pciback(const struct pci_dev *d)
{
	return strcmp(d->driver, "pciback") == 0;
}

bool pci_bus_master(const struct pci_host *pci, const struct pci_dev *d)
{
	uint8_t c[64] = { 0 };
	char dir[300];

	snprintf(dir, sizeof(dir), "%s/sys/bus/pci/devices/%s", pci->root, d->name);
	return read_config(dir, c, sizeof(c)) == sizeof(c) && c[PCI_COMMAND] & PCI_COMMAND_MASTER && c[PCI_COMMAND] != 0xff;
}
