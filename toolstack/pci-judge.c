// SPDX-License-Identifier: GPL-2.0-or-later
/* What speaks against passing a PCI device through: what dom0 does with it, and what it shares with other devices.
 * Reads only. */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pci.h"

#define PAGE  4096u
#define DEPTH 6 /* a volume on a RAID on partitions: deeper than anybody builds, and an end to loops */

static void add(struct pci_reasons *out, enum pci_hard hard, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add(struct pci_reasons *out, enum pci_hard hard, const char *fmt, ...)
{
	struct pvb_error text = { 0 };
	char buf[200];
	va_list ap;

	if (out->nr == PCI_MAX_REASONS)
		return;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	pvb_err(&text, -EBUSY, "%s", buf); /* names of file systems and interfaces are other people's text */
	out->why[out->nr].hard = hard;
	snprintf(out->why[out->nr++].text, sizeof(out->why[0].text), "%.199s", text.text);
}

/* Is the thing CLASS/NAME (block/sda1, net/eth0, tty/ttyS4) on this device? */
static bool is_on(const struct pci_host *pci, const struct pci_dev *d, const char *class, const char *name)
{
	size_t len = strlen(d->path);
	char path[512], *real;
	bool on;

	if (strchr(name, '/') || name[0] == '.')
		return false;
	snprintf(path, sizeof(path), "%s/sys/class/%s/%s", pci->root, class, name);
	real = realpath(path, NULL);
	on = real && strncmp(real, d->path, len) == 0 && real[len] == '/';
	free(real);
	return on;
}

/* --- disks ------------------------------------------------------------------------------------------- */

/* Is this block device on the PCI device, itself or by what it is made of (RAID, volumes, encryption)? */
static bool disk_is_on(const struct pci_host *pci, const struct pci_dev *d, const char *name, int depth)
{
	char path[512];
	struct dirent *e;
	bool on = is_on(pci, d, "block", name);
	DIR *dir;

	if (on || depth == DEPTH)
		return on;
	snprintf(path, sizeof(path), "%s/sys/class/block/%s/slaves", pci->root, name);
	dir = opendir(path);
	while (dir && !on && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			on = disk_is_on(pci, d, e->d_name, depth + 1);
	if (dir)
		closedir(dir);
	return on;
}

/* The kernel's name of a block device: of MAJOR:MINOR, else of /dev/NAME, else of /dev/mapper/NAME.  False: none. */
static bool disk_name(const struct pci_host *pci, const char *number, const char *source, char *buf, size_t len)
{
	char path[512], mapped[128];
	struct dirent *e;
	bool found = false;
	char *real;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/dev/block/%s", pci->root, number ? number : "-");
	real = realpath(path, NULL);
	if (!real && strncmp(source, "/dev/", 5) == 0 && !strchr(source + 5, '/')) {
		snprintf(path, sizeof(path), "%s/sys/class/block/%s", pci->root, source + 5);
		real = realpath(path, NULL);
	}
	if (real) {
		snprintf(buf, len, "%s", strrchr(real, '/') + 1);
		free(real);
		return true;
	}
	if (strncmp(source, "/dev/mapper/", 12))
		return false;
	snprintf(path, sizeof(path), "%s/sys/class/block", pci->root);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		FILE *f;

		if (strncmp(e->d_name, "dm-", 3))
			continue;
		snprintf(path, sizeof(path), "%s/sys/class/block/%.32s/dm/name", pci->root, e->d_name);
		f = fopen(path, "re");
		if (f && fgets(mapped, sizeof(mapped), f)) {
			mapped[strcspn(mapped, "\n")] = '\0';
			found = strcmp(mapped, source + 12) == 0;
			if (found)
				snprintf(buf, len, "%.*s", (int)len - 1, e->d_name);
		}
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void judge_mounts(const struct pci_host *pci, const struct pci_dev *d, struct pci_reasons *out)
{
	char path[300], *line = NULL, number[32], where[256], name[64];
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", pci->root);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0) {
		const char *dash = strstr(line, " - ");
		char source[256] = "";

		if (sscanf(line, "%*s %*s %31s %*s %255s", number, where) != 2)
			continue;
		if (!dash || sscanf(dash, " - %*s %255s", source) != 1 || strncmp(source, "/dev/", 5))
			source[0] = '\0'; /* not a disk's, unless the number says so */
		if (!disk_name(pci, number, source, name, sizeof(name)) || !disk_is_on(pci, d, name, 0))
			continue;
		add(out, PCI_FORCE, "dom0 has %.60s mounted on %.80s; unmount it first", name, where);
		break; /* one is enough */
	}
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "%s/proc/swaps", pci->root);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%255s", where) != 1 || where[0] != '/' || !disk_name(pci, NULL, where, name, sizeof(name)) ||
		    !disk_is_on(pci, d, name, 0))
			continue;
		add(out, PCI_FORCE, "dom0 swaps to %.60s; swapoff first", name);
		break;
	}
	if (f)
		fclose(f);
	free(line);
}

/* --- network ----------------------------------------------------------------------------------------- */

/* Is NAME the interface of this device, or one made of it (bridge, bond, VLAN)?  below: the device's own interface. */
static bool nic_is_on(const struct pci_host *pci, const struct pci_dev *d, const char *name, char *below, size_t len, int depth)
{
	char path[512];
	struct dirent *e;
	bool on = is_on(pci, d, "net", name);
	DIR *dir;

	if (on)
		snprintf(below, len, "%s", name);
	if (on || depth == DEPTH || strchr(name, '/'))
		return on;
	snprintf(path, sizeof(path), "%s/sys/class/net/%s", pci->root, name);
	dir = opendir(path);
	while (dir && !on && (e = readdir(dir)))
		if (strncmp(e->d_name, "lower_", 6) == 0)
			on = nic_is_on(pci, d, e->d_name + 6, below, len, depth + 1);
	if (dir)
		closedir(dir);
	return on;
}

/* 2: a default route over this device, 1: another route, 0: none; over: the interface that has it. */
static int routes(const struct pci_host *pci, const struct pci_dev *d, char *over, char *below, size_t len)
{
	char path[300], *line = NULL, name[64], dest[40], mask[40];
	unsigned flags;
	size_t size = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/net/route", pci->root);
	f = fopen(path, "re");
	while (f && found < 2 && getline(&line, &size, f) > 0) {
		bool def;

		if (sscanf(line, "%63s %39s %*s %x %*s %*s %*s %39s", name, dest, &flags, mask) != 4 || !(flags & 1))
			continue;
		def = strcmp(dest, "00000000") == 0 && strcmp(mask, "00000000") == 0;
		if ((def || !found) && nic_is_on(pci, d, name, below, len, 0)) {
			snprintf(over, len, "%s", name);
			found = def ? 2 : 1;
		}
	}
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "%s/proc/net/ipv6_route", pci->root);
	f = fopen(path, "re");
	while (f && found < 2 && getline(&line, &size, f) > 0) {
		/* the gateway's place is zero for what is only this link; flag 0x200: "there is no such route" */
		if (sscanf(line, "%39s %39s %*s %*s %*s %*s %*s %*s %x %63s", dest, mask, &flags, name) != 4 || flags & 0x200)
			continue;
		if (strspn(dest, "0") == 32 && strcmp(mask, "00") == 0 && nic_is_on(pci, d, name, below, len, 0)) {
			snprintf(over, len, "%s", name);
			found = 2;
		}
	}
	if (f)
		fclose(f);
	free(line);
	return found;
}

static void judge_network(const struct pci_host *pci, const struct pci_dev *d, struct pci_reasons *out)
{
	char over[64], below[64], path[512];
	struct dirent *e, *u;
	DIR *dir, *nic;
	int found = routes(pci, d, over, below, sizeof(over));

	if (found)
		add(out, PCI_FORCE, "dom0's %sroute goes over it (%s%s%s); move the route first", found == 2 ? "default " : "", below,
		    strcmp(over, below) ? " below " : "", strcmp(over, below) ? over : "");
	snprintf(path, sizeof(path), "%s/sys/class/net", pci->root);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || !is_on(pci, d, "net", e->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/sys/class/net/%.64s", pci->root, e->d_name);
		nic = opendir(path);
		while (nic && (u = readdir(nic)))
			if (strncmp(u->d_name, "upper_", 6) == 0 && !(found && strcmp(u->d_name + 6, over) == 0))
				add(out, PCI_FORCE, "its %.40s is part of %.40s; take it out first", e->d_name, u->d_name + 6);
		if (nic)
			closedir(nic);
	}
	if (dir)
		closedir(dir);
}

/* --- console ----------------------------------------------------------------------------------------- */

static void judge_console(const struct pci_host *pci, const struct pci_dev *d, struct pci_reasons *out)
{
	char path[300], line[128], name[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/consoles", pci->root);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s", name) == 1 && is_on(pci, d, "tty", name)) {
			add(out, PCI_FORCE, "dom0's console is on it (%s); boot without console=%s first", name, name);
			break;
		}
	if (f)
		fclose(f);
	if (d->boot_vga)
		add(out, PCI_FORCE, "it is the screen that the firmware and dom0 write to");
}

/* --- what it shares ---------------------------------------------------------------------------------- */

static bool share_page(const struct pci_dev *a, const struct pci_dev *b, uint64_t *where)
{
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 6; k++) {
			const struct pci_bar *x = &a->bar[i], *y = &b->bar[k];

			if (!x->memory || !y->memory || !x->end || !y->end)
				continue;
			if (x->start / PAGE <= y->end / PAGE && y->start / PAGE <= x->end / PAGE) {
				*where = x->start / PAGE * PAGE;
				return true;
			}
		}
	return false;
}

static void who(const struct pci_dev *d, char buf[64])
{
	if (d->owner >= 0)
		snprintf(buf, 64, "domain %lld", (long long)d->owner);
	else if (pci_on_pciback(d))
		snprintf(buf, 64, "nobody");
	else
		snprintf(buf, 64, "%s%s", *d->driver ? "dom0, driver " : "dom0", d->driver);
}

/* giving: d goes to domid (-1: some domain) now; else this is only worth a note. */
static void judge_shared(const struct pci_host *pci, const struct pci_dev *d, bool giving, int64_t domid, struct pci_reasons *out)
{
	char user[64];
	uint64_t where;

	for (unsigned i = 0; i < pci->nr; i++) {
		const struct pci_dev *o = &pci->dev[i];
		bool same = o->owner >= 0 && o->owner == domid, free_now = pci_on_pciback(o) && o->owner < 0;

		if (o->sbdf == d->sbdf || same) /* d may be a copy */
			continue;
		who(o, user);
		if (*d->requester && strcmp(d->requester, o->requester) == 0 && !o->bridge && !free_now)
			add(out, giving ? PCI_FORCE : PCI_NOTE,
			    "the IOMMU can not tell it from %s, behind the same bridge %s (used by %s); both must be assignable and go "
			    "to one domain", o->name, d->requester, user);
		if (share_page(d, o, &where) && !free_now)
			add(out, giving ? PCI_FORCE : PCI_NOTE,
			    "the guest would reach registers of %s, in the same page 0x%llx of memory (used by %s)", o->name,
			    (unsigned long long)where, user);
		if (d->irq && d->irq == o->irq && !d->msi && !o->msi && o->enabled && *o->driver && !pci_on_pciback(o))
			add(out, PCI_NOTE, "it shares interrupt %u with %s (used by %s)", d->irq, o->name, user);
		if (o->sbdf >> 3 == d->sbdf >> 3 && !free_now && !o->bridge)
			add(out, PCI_NOTE, "%s, a function of the same card, stays with %s", o->name, user);
	}
}

static void judge_common(const struct pci_dev *d, struct pci_reasons *out)
{
	if (d->bridge)
		add(out, PCI_NEVER, "it is a bridge (class %06x); only endpoints can be passed", d->class);
}

void pci_judge_take(const struct pci_host *pci, const struct pci_dev *d, struct pci_reasons *out)
{
	out->nr = 0;
	judge_common(d, out);
	if (!pci_on_pciback(d)) {
		judge_mounts(pci, d, out);
		judge_network(pci, d, out);
		judge_console(pci, d, out);
	}
	judge_shared(pci, d, false, -1, out);
}

void pci_judge_give(const struct pci_host *pci, const struct pci_dev *d, int64_t domid, struct pci_reasons *out)
{
	out->nr = 0;
	judge_common(d, out);
	if (!pci_on_pciback(d))
		add(out, PCI_NEVER, "%s has it, so it is not assignable; pvl pci-assignable-add %s first",
		    *d->driver ? d->driver : "no driver", d->name);
	if (d->owner >= 0 && d->owner == domid)
		add(out, PCI_NEVER, "domain %lld has it already", (long long)domid);
	else if (d->owner >= 0)
		add(out, PCI_NEVER, "domain %lld has it; pvl pci-detach it there first", (long long)d->owner);
	else if (d->taken)
		add(out, PCI_NEVER, "Xen says that a guest has it, but no record says which; see xl debug-keys Q, xl dmesg");
	if (!*d->reset)
		add(out, PCI_RESET, "the kernel can not reset it, so a guest could leave something in it; --no-reset takes that risk");
	judge_shared(pci, d, true, domid, out);
}

int pci_refuse(const struct pci_dev *d, const struct pci_reasons *why, bool force, bool no_reset, struct pvb_error *err)
{
	for (unsigned i = 0; i < why->nr; i++) {
		const struct pci_reason *r = &why->why[i];

		if (r->hard == PCI_NOTE || (r->hard == PCI_FORCE && force) || (r->hard == PCI_RESET && (no_reset || force)))
			continue;
		return pvb_err(err, -EBUSY, "PCI device %s: %s%s", d->name, r->text, r->hard == PCI_FORCE ? " (or --force)" : "");
	}
	return 0;
}
