// SPDX-License-Identifier: GPL-2.0-or-later
/* pci-assignable-list, -add, -remove, pci-attach, pci-detach, pci-list. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "host.h"
#include "output.h"
#include "pci.h"

static const struct pci_ops *pci_ops(struct pvl *p)
{
	if (!pvl_host(p))
		return NULL;
	if (!p->ops->pci)
		pvl_failf(p, "host %s has no PCI devices to pass through; only host xen has", p->ops->name);
	return p->ops->pci;
}

static bool is_spec(struct pvl *p, const char *text, bool all)
{
	size_t len = strcspn(text, "@,");
	char bdf[PCI_NAME];
	uint32_t sbdf;
	bool star;

	if (strncmp(text, "name=", 5) == 0 && text[5])
		return true;
	snprintf(bdf, sizeof(bdf), "%.*s", (int)(len < sizeof(bdf) ? len : sizeof(bdf) - 1), text);
	if (len < sizeof(bdf) && pci_parse(bdf, &sbdf, all ? &star : NULL) == 0)
		return true;
	pvl_usage(p, "\"%s\" is no PCI device: [DDDD:]BB:SS.F wanted, as 00:1f.2", text);
	return false;
}

/* --- lists ------------------------------------------------------------------------------------------- */

static const char *override_word(enum pci_hard hard)
{
	static const char *const words[] = { [PCI_NOTE] = "note", [PCI_RESET] = "no-reset", [PCI_FORCE] = "force", [PCI_NEVER] = "never" };

	return words[hard];
}

static struct json_object *device_json(const struct pci_dev *d)
{
	struct json_object *o = out_obj();
	char text[16];

	out_str(o, "device", d->name);
	out_str(o, "name", *d->label ? d->label : NULL);
	snprintf(text, sizeof(text), "%04x:%04x", d->vendor, d->device);
	out_str(o, "id", text);
	snprintf(text, sizeof(text), "%06x", d->class);
	out_str(o, "class", text);
	out_str(o, "driver", *d->driver ? d->driver : NULL);
	out_str(o, "reset_method", *d->reset ? d->reset : NULL);
	out_str(o, "requester", *d->requester ? d->requester : d->name);
	if (d->owner >= 0)
		out_int(o, "domid", d->owner);
	else
		json_object_object_add(o, "domid", NULL);
	return o;
}

/* Adds reasons to the row; the hardest. */
static enum pci_hard add_reasons(struct json_object *row, const struct pci_reasons *why, char *text, size_t len)
{
	struct json_object *list = json_object_object_get(row, "reasons");
	enum pci_hard hardest = PCI_NOTE;

	for (unsigned i = 0; i < why->nr; i++) {
		struct json_object *o = out_obj();
		size_t used = strlen(text);

		out_str(o, "text", why->why[i].text);
		out_str(o, "override", override_word(why->why[i].hard));
		json_object_array_add(list, o);
		snprintf(text + used, len - used, "%s%s", used ? "; " : "", why->why[i].text);
		if (why->why[i].hard > hardest)
			hardest = why->why[i].hard;
	}
	return hardest;
}

static struct json_object *candidate(const struct pci_host *pci, const struct pci_dev *d, bool iommu)
{
	static const char *const passable[] = { "yes", "--no-reset", "--force", "no" };
	struct json_object *row = device_json(d);
	struct pci_dev as_if = *d; /* as it would be once assignable */
	enum pci_hard hard, more;
	struct pci_reasons why;
	char text[2048] = "";
	bool in_use;

	json_object_object_add(row, "reasons", out_arr());
	pci_judge_take(pci, d, &why);
	/* what is only a note now is said again, and in earnest, for the guest's side */
	for (unsigned i = 0; i < why.nr; i++)
		if (why.why[i].hard == PCI_NOTE)
			why.why[i--] = why.why[--why.nr];
	hard = add_reasons(row, &why, text, sizeof(text));
	snprintf(as_if.driver, sizeof(as_if.driver), "pciback");
	in_use = d->owner >= 0 || d->taken;
	if (hard != PCI_NEVER) {
		pci_judge_give(pci, &as_if, -1, &why);
		more = add_reasons(row, &why, text, sizeof(text));
		hard = more > hard ? more : hard;
	}
	out_str(row, "state", in_use ? "in use" : pci_on_pciback(d) ? "assignable" : d->bridge ? "bridge" : "dom0");
	out_bool(row, "passable", iommu && hard == PCI_NOTE);
	out_str(row, "verdict", iommu ? passable[hard] : "no");
	out_str(row, "why", text);
	return row;
}

/* The host's devices with what Xen knows of them, or, where no Xen is, what the kernel alone shows. */
static int scan(struct pvl *p, struct pci_host *pci, bool *iommu, struct pvb_error *err)
{
	const char *root = getenv("PVL_SYSROOT");

	*iommu = true;
	if (root || (access("/dev/xen/privcmd", F_OK) && access("/proc/xen/privcmd", F_OK))) {
		pvl_note(p, "not in dom0 of a Xen: its IOMMU and the devices' owners are not looked at");
		return pci_scan(pci, root, err);
	}
	if (!pci_ops(p))
		return PVL_FAIL;
	return p->ops->pci->scan(p->host, pci, iommu, err);
}

static int print_rows(struct pvl *p, struct json_object *rows, const struct out_col *cols, unsigned nr, bool title)
{
	int rc = p->json ? out_json(rows) : out_table(rows, cols, nr, title);

	json_object_put(rows);
	return rc ? PVL_FAIL : PVL_OK;
}

static int candidates(struct pvl *p)
{
	static const struct out_col cols[] = {
		{ "device", "Device", -12 }, { "id", "Id", -9 }, { "class", "Class", -6 }, { "driver", "Driver", -12 },
		{ "state", "State", -10 }, { "verdict", "Pass", -10 }, { "why", "Why", 0 },
	};
	struct pvb_error err = { 0 };
	struct json_object *rows;
	struct pci_host pci;
	bool iommu;
	int rc = scan(p, &pci, &iommu, &err);

	if (rc)
		return *err.text ? pvl_fail(p, &err) : PVL_FAIL;
	if (!iommu)
		pvl_error(p, "no device can be passed: the IOMMU is off (VT-d or AMD-Vi in the firmware, iommu= on Xen's command line)");
	if (!pci.pciback)
		pvl_note(p, "dom0 has no driver pciback; modprobe xen-pciback before the first is made assignable");
	rows = out_arr();
	for (unsigned i = 0; i < pci.nr; i++)
		json_object_array_add(rows, candidate(&pci, &pci.dev[i], iommu));
	pci_free(&pci);
	return print_rows(p, rows, cols, sizeof(cols) / sizeof(cols[0]), true);
}

int cmd_pci_assignable_list(struct pvl *p)
{
	static const struct out_col plain[] = { { "device", NULL, 0 } }, named[] = { { "device", NULL, 0 }, { "name", NULL, 0 } };
	struct pvb_error err = { 0 };
	struct json_object *rows;
	struct pci_host pci;
	bool iommu, names = pvl_opt(p, "show-names");

	if (pvl_opt(p, "candidates"))
		return candidates(p);
	if (!pci_ops(p))
		return PVL_FAIL;
	if (p->ops->pci->scan(p->host, &pci, &iommu, &err))
		return pvl_fail(p, &err);
	if (!pci.pciback) {
		pci_free(&pci);
		return pvl_failf(p, "dom0 has no driver pciback, so nothing is assignable; modprobe xen-pciback");
	}
	rows = out_arr();
	for (unsigned i = 0; i < pci.nr; i++)
		if (pci_on_pciback(&pci.dev[i]) && pci.dev[i].owner < 0 && !pci.dev[i].taken)
			json_object_array_add(rows, device_json(&pci.dev[i]));
	pci_free(&pci);
	return names ? print_rows(p, rows, named, 2, false) : print_rows(p, rows, plain, 1, false);
}

int cmd_pci_list(struct pvl *p)
{
	static const struct out_col cols[] = { { "vdev", "Vdev", -4 }, { "device", "Device", 0 } }, name[] = { { "device", NULL, 0 } };
	struct pvb_error err = { 0 };
	struct pci_guest_dev *list;
	struct json_object *rows;
	unsigned domid, nr;
	char vdev[16];

	if (!pci_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->pci->list(p->host, domid, &list, &nr, &err))
		return pvl_fail(p, &err);
	rows = out_arr();
	for (unsigned i = 0; i < nr; i++) {
		struct json_object *o = out_obj();

		snprintf(vdev, sizeof(vdev), "%02x.%x", list[i].vslot >> 3 & 0x1f, list[i].vslot & 7);
		out_str(o, "vdev", vdev);
		out_str(o, "device", list[i].name);
		json_object_array_add(rows, o);
	}
	free(list);
	if (pvl_opt(p, "names"))
		return print_rows(p, rows, name, 1, false);
	return print_rows(p, rows, cols, 2, nr > 0);
}

/* --- changes ----------------------------------------------------------------------------------------- */

int cmd_pci_assignable_add(struct pvl *p)
{
	const char *label = pvl_opt_arg(p, "name");
	struct pvb_error err = { 0 };
	uint32_t sbdf[32];

	if (label && p->argc != 1)
		return pvl_usage(p, "--name is for one device, %d are given", p->argc);
	if (label && (!*label || strlen(label) > 63 || strpbrk(label, " \t\n/,=")))
		return pvl_usage(p, "\"%s\" is no name for a device", label);
	for (int i = 0; i < p->argc; i++) {
		if (pci_parse(p->argv[i], &sbdf[i], NULL))
			return pvl_usage(p, "\"%s\" is no PCI device: [DDDD:]BB:SS.F wanted, as 00:1f.2", p->argv[i]);
		for (int k = 0; k < i; k++)
			if (sbdf[k] == sbdf[i])
				return pvl_usage(p, "%s is given twice", p->argv[i]);
	}
	if (!pci_ops(p))
		return PVL_FAIL;
	if (p->ops->pci->add(p->host, sbdf, (unsigned)p->argc, label, p->dry_run, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

int cmd_pci_assignable_remove(struct pvl *p)
{
	struct pvb_error err = { 0 };
	uint32_t sbdf;

	if (!pci_ops(p))
		return PVL_FAIL;
	if (pci_parse(p->argv[0], &sbdf, NULL) && p->ops->pci->by_label(p->host, p->argv[0], &sbdf, &err))
		return pvl_fail(p, &err);
	if (p->ops->pci->remove(p->host, sbdf, pvl_opt(p, "rebind"), p->dry_run, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}

int cmd_pci_attach(struct pvl *p)
{
	struct pci_attach_opts o = { .no_reset = pvl_opt(p, "no-reset"), .dry_run = p->dry_run, .timeout_ms = p->timeout_ms };
	struct pvb_error err = { 0 };
	struct json_object *obj;
	unsigned domid;

	if (!is_spec(p, p->argv[1], true))
		return PVL_USAGE;
	if (!pci_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->pci->attach(p->host, domid, p->argv[1], &o, &obj, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, obj);
}

int cmd_pci_detach(struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned domid;

	if (!is_spec(p, p->argv[1], true))
		return PVL_USAGE;
	if (!pci_ops(p) || pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	if (p->ops->pci->detach(p->host, domid, p->argv[1], p->force, p->dry_run, p->timeout_ms, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}
