// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving PCI devices to Xen domains and getting them back.  Everything is checked before anything is touched; libxl then
 * does it, and what it says is not taken for granted: both ends' states and Xen's own records are looked at afterwards. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxlutil.h>
#include "host-xen-pci.h"
#include "output.h"
#include "state.h"

#define CONNECT_MS 20000 /* for a guest's driver to take a device, when nobody says otherwise */
#define FORCE_MS   3000  /* for pciback, which waits for nobody */

static uint32_t sbdf_of(const libxl_device_pci *p)
{
	return (uint32_t)p->domain << 16 | (uint32_t)p->bus << 8 | (uint32_t)p->dev << 3 | p->func;
}

/* --- specifications ---------------------------------------------------------------------------------- */

int xen_pci_parse(const char *spec, libxl_device_pci *pci, struct pvb_error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *report = open_memstream(&text, &len);
	XLU_Config *x = report ? xlu_cfg_init(report, "pci") : NULL;
	int r = x ? xlu_pci_parse_spec_string(x, pci, spec) : -1;

	if (x)
		xlu_cfg_destroy(x);
	if (report)
		fclose(report);
	free(text); /* libxlutil says no more than that it does not understand */
	return r ? pvb_err(err, -EINVAL, "PCI device \"%s\": not [DDDD:]BB:SS.F[@VSLOT][,KEY=VALUE]... (or name=NAME); VSLOT is "
			   "hexadecimal, at most 1f", spec) : 0;
}

/* name= becomes the device it means; then sbdf is that of the first function. */
static int resolve(struct host *h, libxl_device_pci *pci, struct pvb_error *err)
{
	uint32_t sbdf;
	int rc;

	if (!pci->name)
		return 0;
	rc = xen_pci_by_label(h, pci->name, &sbdf, err);
	if (rc)
		return rc;
	pci->domain = (int)(sbdf >> 16);
	pci->bus = (uint8_t)(sbdf >> 8);
	pci->dev = sbdf >> 3 & 0x1f;
	pci->func = sbdf & 7;
	pci->vfunc_mask = 1u << pci->func;
	free(pci->name);
	pci->name = NULL;
	return 0;
}

/* The functions that a specification means: indices into the scan.  -ENODEV when one that is named is not there. */
static int functions(const struct pci_host *host, const libxl_device_pci *pci, struct pci_dev *found[8], unsigned *nr,
		     struct pvb_error *err)
{
	uint32_t slot = sbdf_of(pci) & ~7u;
	bool all = pci->vfunc_mask == LIBXL_PCI_FUNC_ALL;
	char name[PCI_NAME];

	*nr = 0;
	for (unsigned fn = 0; fn < 8; fn++) {
		struct pci_dev *d = all || fn == pci->func ? pci_find(host, slot | fn) : NULL;

		if (d)
			found[(*nr)++] = d;
	}
	pci_name(sbdf_of(pci), name);
	return *nr ? 0 : pvb_err(err, -ENODEV, "PCI device %s: there is none; pvl pci-assignable-list --candidates has all", name);
}

/* --- what speaks against it -------------------------------------------------------------------------- */

struct target {
	uint32_t domid;
	libxl_domain_type type;
	bool paused;
	long max;          /* devices at most */
	unsigned has;
};

static int memory_fits(const char *who, const libxl_domain_config *dc, struct pvb_error *err)
{
	const libxl_domain_build_info *b = &dc->b_info;

	if (dc->c_info.type != LIBXL_DOMAIN_TYPE_HVM || b->target_memkb == LIBXL_MEMKB_DEFAULT || b->target_memkb >= b->max_memkb)
		return 0;
	return pvb_err(err, -EINVAL, "%s has memory=%llu and maxmem=%llu MiB, and a device writes to memory that the guest has not got; "
		       "set both alike", who, (unsigned long long)b->target_memkb / 1024, (unsigned long long)b->max_memkb / 1024);
}

static int type_fits(const char *who, libxl_domain_type type, struct pvb_error *err)
{
	if (type == LIBXL_DOMAIN_TYPE_PV || type == LIBXL_DOMAIN_TYPE_HVM)
		return 0;
	return pvb_err(err, -EOPNOTSUPP, "%s is of type pvh, to which this Xen passes no PCI device; make it pv or hvm", who);
}

static int domain_fits(struct host *h, uint32_t domid, struct target *t, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	struct pci_slot *slots = NULL;
	libxl_domain_config dc;
	libxl_dominfo i;
	char who[32];
	int rc;

	snprintf(who, sizeof(who), "domain %u", domid);
	rc = xen_look(h, domid, &i, err);
	t->domid = domid;
	t->paused = i.paused;
	if (!rc && (i.shutdown || i.dying))
		rc = pvb_err(err, -ESRCH, "%s has shut down", who);
	libxl_dominfo_dispose(&i);
	if (rc)
		return rc;
	libxl_domain_config_init(&dc);
	rc = xen_wait(h, &how, libxl_retrieve_domain_configuration(h->ctx, domid, &dc, &how), -1);
	if (rc)
		rc = xen_err(h, err, rc, "configuration of %s", who);
	t->type = dc.c_info.type;
	if (!rc)
		rc = type_fits(who, t->type, err);
	if (!rc && (dc.c_info.passthrough == LIBXL_PASSTHROUGH_DISABLED || dc.c_info.passthrough == LIBXL_PASSTHROUGH_DEFAULT))
		rc = pvb_err(err, -EINVAL, "%s was made without passthrough; set passthrough=\"enabled\"%s and create it again", who,
			     t->type == LIBXL_DOMAIN_TYPE_PV ? " and e820_host=1" : "");
	if (!rc)
		rc = memory_fits(who, &dc, err);
	if (!rc && t->type == LIBXL_DOMAIN_TYPE_PV && !libxl_defbool_is_default(dc.b_info.u.pv.e820_host) &&
	    !libxl_defbool_val(dc.b_info.u.pv.e820_host))
		pvl_note(h->p, "%s was made without e820_host=1: with much memory it may not find room for the device's registers", who);
	libxl_domain_config_dispose(&dc);
	if (!rc && t->paused && t->type == LIBXL_DOMAIN_TYPE_PV)
		rc = pvb_err(err, -EBUSY, "%s is paused and can not answer; unpause it first", who);
	if (!rc)
		rc = xen_pci_slots(h, domid, &slots, &t->has, err);
	free(slots);
	t->max = xen_kept_pci_max(h, domid);
	return rc;
}

static int count_fits(struct host *h, const char *who, unsigned has, unsigned more, long max, struct pvb_error *err)
{
	if (h->p->force || has + more <= (unsigned)max)
		return 0;
	return pvb_err(err, -ENOSPC, "%s would have %u PCI devices, at most %ld are allowed (pci_max=, or --force)", who, has + more, max);
}

/* One device for one domain (-1: being built).  A device still with dom0 is judged as pci-assignable-add would, if it may be
 * taken from there. */
static int device_fits(struct host *h, const struct pci_host *host, const struct pci_dev *d, bool seize, int64_t domid,
		       bool no_reset, struct pvb_error *err)
{
	struct pci_dev as_if = *d;
	struct pci_reasons why;
	int rc = 0;

	if (seize && !pci_on_pciback(d)) {
		pci_judge_take(host, d, &why);
		rc = pci_refuse(d, &why, h->p->force, no_reset, err);
		snprintf(as_if.driver, sizeof(as_if.driver), "pciback");
	}
	if (rc)
		return rc;
	pci_judge_give(host, &as_if, domid, &why);
	rc = pci_refuse(d, &why, h->p->force, no_reset, err);
	for (unsigned k = 0; k < why.nr && !rc; k++)
		if (why.why[k].hard == PCI_NOTE)
			pvl_note(h->p, "PCI device %s: %s", d->name, why.why[k].text);
	return rc;
}

/* Seize what may be seized, and drop records of guests that are no more, which libxl takes for owners. */
static int make_ready(struct host *h, struct pci_dev *const found[8], unsigned nr, bool seize, struct pvb_error *err)
{
	uint32_t take[8];
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!pci_on_pciback(found[i]) && seize)
			take[n++] = found[i]->sbdf;
		else if (xen_pci_forget_owner(h, found[i]->sbdf))
			pvl_note(h->p, "PCI device %s: dropped the record of an owner that has it no more", found[i]->name);
	}
	return n ? xen_pci_add(h, take, n, NULL, false, err) : 0;
}

/* --- list -------------------------------------------------------------------------------------------- */

static int pci_list(struct host *h, uint32_t domid, struct pci_guest_dev **out, unsigned *nr, struct pvb_error *err)
{
	struct pci_slot *slots;
	int rc = xen_pci_slots(h, domid, &slots, nr, err);

	if (rc)
		return rc;
	*out = calloc((size_t)*nr + 1, sizeof(**out));
	for (unsigned i = 0; *out && i < *nr; i++) {
		pci_name(slots[i].sbdf, (*out)[i].name);
		(*out)[i].sbdf = slots[i].sbdf;
		(*out)[i].vslot = slots[i].vdevfn;
		snprintf((*out)[i].opts, sizeof((*out)[i].opts), "%s", slots[i].opts);
	}
	free(slots);
	return *out ? 0 : pvb_err(err, -ENOMEM, "PCI devices of domain %u: out of memory", domid);
}

/* --- detach ------------------------------------------------------------------------------------------ */

static void look(struct host *h, uint32_t domid, bool *pv, bool *paused)
{
	libxl_dominfo i;

	libxl_dominfo_init(&i);
	*pv = *paused = false;
	if (libxl_domain_info(h->ctx, &i, domid) == 0) {
		*paused = i.paused;
		*pv = i.domain_type == LIBXL_DOMAIN_TYPE_PV;
	}
	libxl_dominfo_dispose(&i);
}

static int take_pv(struct host *h, uint32_t domid, const struct pci_dev *d, bool paused, bool force, int timeout_ms,
		   struct pvb_error *err)
{
	struct pci_slot s;
	int rc = xen_pci_slot(h, domid, d->sbdf, &s);

	if (rc)
		return pvb_err(err, rc, "domain %u has no PCI device %s", domid, d->name);
	if (!force && paused)
		return pvb_err(err, -EBUSY, "PCI device %s: domain %u is paused and can not let go of it; unpause it first, or --force",
			       d->name, domid);
	/* whoever can answer is asked, by force too: a driver that is spoken for while it speaks itself gets confused */
	rc = paused ? -EBUSY : xen_pcipv_ask(h, domid, &s, force ? FORCE_MS : timeout_ms, err);
	if (rc && !force)
		return rc;
	if (rc)
		xen_pcipv_drive(h, domid, &s, FORCE_MS);
	return xen_pci_take(h, domid, d, err);
}

static int take_hvm(struct host *h, uint32_t domid, libxl_device_pci *pci, bool force, int timeout_ms, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	char name[PCI_NAME];
	int rc = force ? libxl_device_pci_destroy(h->ctx, domid, pci, &how) : libxl_device_pci_remove(h->ctx, domid, pci, &how);

	rc = xen_wait(h, &how, rc, timeout_ms);
	pci_name(sbdf_of(pci), name);
	return rc ? xen_err(h, err, rc, "PCI device %s: domain %u did not let go of it and has it as before (--force takes it away)", name,
			    domid) : 0;
}

/* Is it gone, in the store and in Xen, and fit for the next guest? */
static int is_gone(struct host *h, uint32_t domid, const struct pci_dev *d, struct pvb_error *err)
{
	struct pci_slot s;
	int taken = xen_pci_taken(h, d->sbdf);
	bool listed = xen_pci_slot(h, domid, d->sbdf, &s) == 0;

	if (listed && taken == 1)
		return pvb_err(err, -EBUSY, "PCI device %s: domain %u still has it, in Xen and in its list; --force takes it away", d->name,
			       domid);
	if (listed)
		return pvb_err(err, -EIO, "PCI device %s: Xen has it back, domain %u still lists it; --force takes that away, too", d->name,
			       domid);
	return xen_pci_settle(h, domid, d->sbdf, err);
}

static int detach_one(struct host *h, uint32_t domid, libxl_device_pci *pci, const struct pci_dev *d, bool force, int timeout_ms,
		      struct pvb_error *err)
{
	struct pvb_error state = { 0 };
	bool pv, paused;
	int rc, now;

	look(h, domid, &pv, &paused);
	if (pv)
		xen_pci_note_intx(h, domid, d); /* xl may have given it */
	rc = pv ? take_pv(h, domid, d, paused, force, timeout_ms, err) : take_hvm(h, domid, pci, force, timeout_ms, err);
	if (pv && rc)
		return rc;
	/* by force whatever is left goes, too */
	if (force && !pv && (rc = xen_pci_take(h, domid, d, err)))
		return rc;
	now = is_gone(h, domid, d, &state);
	if (!now)
		return 0; /* whatever libxl said */
	/* what libxl said is the better text as long as the guest has it whole */
	return rc && now == -EBUSY ? rc : pvb_err(err, now, "%s", state.text);
}

static int pci_detach(struct host *h, uint32_t domid, const char *spec, bool force, bool dry_run, int timeout_ms,
		      struct pvb_error *err)
{
	struct pci_dev *found[8];
	struct pci_host host;
	libxl_device_pci pci;
	unsigned nr = 0, had = 0;
	struct pci_slot s;
	bool iommu;
	int rc;

	libxl_device_pci_init(&pci);
	rc = xen_pci_parse(spec, &pci, err);
	if (!rc)
		rc = resolve(h, &pci, err);
	if (!rc)
		rc = xen_pci_scan(h, &host, &iommu, err);
	if (rc)
		goto out;
	rc = functions(&host, &pci, found, &nr, err);
	for (unsigned i = 0; i < nr && !rc; i++) {
		libxl_device_pci one = pci;

		if (xen_pci_slot(h, domid, found[i]->sbdf, &s)) /* one that is not there is no reason to keep the others */
			continue;
		had++;
		one.func = found[i]->sbdf & 7;
		one.vfunc_mask = 1u << one.func;
		one.vdevfn = s.vdevfn;
		if (dry_run)
			pvl_note(h->p, "would %sdetach PCI device %s from domain %u", force ? "by force " : "", found[i]->name, domid);
		else
			rc = detach_one(h, domid, &one, found[i], force, timeout_ms < 0 ? CONNECT_MS : timeout_ms, err);
	}
	if (!rc && !had)
		rc = pvb_err(err, -ENOENT, "domain %u has no PCI device %s", domid, found[0]->name);
	pci_free(&host);
out:
	libxl_device_pci_dispose(&pci);
	return rc;
}

/* --- attach ------------------------------------------------------------------------------------------ */

static int is_there(struct host *h, const struct target *t, const struct pci_dev *d, int timeout_ms, struct pvb_error *err)
{
	struct pci_slot s;
	int rc = 0;

	if (t->type == LIBXL_DOMAIN_TYPE_PV) {
		xen_pci_note_intx(h, t->domid, d);
		rc = xen_pcipv_connected(h, t->domid, d->sbdf, timeout_ms, err);
	}
	if (rc)
		return rc;
	if (xen_pci_slot(h, t->domid, d->sbdf, &s))
		return pvb_err(err, -EIO, "PCI device %s was attached to domain %u but is not in its list", d->name, t->domid);
	if (xen_pci_taken(h, d->sbdf) != 1)
		return pvb_err(err, -EIO, "PCI device %s was attached to domain %u but Xen has not given it away", d->name, t->domid);
	return 0;
}

/* Take back from a PV guest what it may not have taken. */
static void undo_pv(struct host *h, const struct target *t, const struct pci_dev *d)
{
	struct pci_slot s;

	if (t->has == 0 && xen_pcipv_state(h, t->domid, true) != PVB_CONNECTED)
		xen_pcipv_drop_all(h, t->domid); /* a bus that never came to life */
	else if (xen_pci_slot(h, t->domid, d->sbdf, &s) == 0 && xen_pcipv_ask(h, t->domid, &s, FORCE_MS, NULL))
		xen_pcipv_drive(h, t->domid, &s, FORCE_MS);
}

/* Take back what an attach that failed has left, device by device. */
static void undo(struct host *h, const struct target *t, libxl_device_pci *pci, struct pci_dev *const found[8], unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct pvb_error err = { 0 };
		libxl_device_pci one = *pci;
		struct pci_slot s;

		one.func = found[i]->sbdf & 7;
		one.vfunc_mask = 1u << one.func;
		if (xen_pci_slot(h, t->domid, found[i]->sbdf, &s) == 0 || xen_pci_taken(h, found[i]->sbdf) == 1) {
			if (t->type == LIBXL_DOMAIN_TYPE_PV)
				undo_pv(h, t, found[i]);
			else
				take_hvm(h, t->domid, &one, true, CONNECT_MS, NULL);
			xen_pci_take(h, t->domid, found[i], NULL);
		}
		if (xen_pci_settle(h, t->domid, found[i]->sbdf, &err))
			pvl_error(h->p, "%s", err.text);
	}
}

static int attach(struct host *h, const struct target *t, libxl_device_pci *pci, struct pci_dev *const found[8], unsigned nr,
		  int timeout_ms, struct pvb_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < nr && !rc; i++) {
		libxl_asyncop_how how = xen_op(h);
		libxl_device_pci one = *pci;

		one.func = found[i]->sbdf & 7;
		one.vfunc_mask = 1u << one.func;
		rc = xen_wait(h, &how, libxl_device_pci_add(h->ctx, t->domid, &one, &how), timeout_ms);
		if (!rc && t->type == LIBXL_DOMAIN_TYPE_PV)
			xen_pcipv_kick(h, t->domid, found[i]->sbdf);
		rc = rc ? xen_err(h, err, rc, "attaching PCI device %s to domain %u", found[i]->name, t->domid) :
			  is_there(h, t, found[i], timeout_ms, err);
	}
	if (rc)
		undo(h, t, pci, found, nr);
	return rc;
}

static struct json_object *attached_json(struct host *h, const struct target *t, struct pci_dev *const found[8], unsigned nr)
{
	struct json_object *obj = out_obj(), *list = out_arr();

	out_int(obj, "domid", t->domid);
	for (unsigned i = 0; i < nr; i++) {
		struct json_object *o = out_obj();
		struct pci_slot s;

		out_str(o, "device", found[i]->name);
		if (t->type == LIBXL_DOMAIN_TYPE_HVM && xen_pci_slot(h, t->domid, found[i]->sbdf, &s) == 0)
			out_int(o, "vslot", s.vdevfn >> 3);
		json_object_array_add(list, o);
	}
	json_object_object_add(obj, "devices", list);
	return obj;
}

static int pci_attach(struct host *h, uint32_t domid, const char *spec, const struct pci_attach_opts *o, struct json_object **out,
		      struct pvb_error *err)
{
	int timeout_ms = o->timeout_ms < 0 ? CONNECT_MS : o->timeout_ms, rc;
	struct target t = { 0 };
	struct pci_dev *found[8];
	struct pci_host host;
	libxl_device_pci pci;
	unsigned nr = 0;
	char who[32];

	libxl_device_pci_init(&pci);
	rc = xen_pci_parse(spec, &pci, err);
	if (!rc)
		rc = resolve(h, &pci, err);
	if (!rc)
		rc = xen_pci_scan(h, &host, NULL, err);
	if (rc)
		goto out;
	rc = functions(&host, &pci, found, &nr, err);
	for (unsigned i = 0; i < nr && !rc; i++)
		rc = device_fits(h, &host, found[i], pci.seize, domid, o->no_reset, err);
	if (!rc)
		rc = domain_fits(h, domid, &t, err);
	/* libxl 4.17 attaches none, after 10 s, and says that it did */
	if (!rc && pci.vfunc_mask == LIBXL_PCI_FUNC_ALL && t.type == LIBXL_DOMAIN_TYPE_HVM)
		rc = pvb_err(err, -EOPNOTSUPP, "PCI device %s: an HVM guest gets the functions of a card one by one", found[0]->name);
	snprintf(who, sizeof(who), "domain %u", domid);
	if (!rc)
		rc = count_fits(h, who, t.has, nr, t.max, err);
	if (!rc && !o->dry_run)
		rc = make_ready(h, found, nr, pci.seize, err);
	if (!rc && !o->dry_run)
		rc = attach(h, &t, &pci, found, nr, timeout_ms, err);
	if (!rc)
		*out = attached_json(h, &t, found, nr);
	for (unsigned i = 0; i < nr && !rc && o->dry_run; i++)
		pvl_note(h->p, "would attach PCI device %s to domain %u", found[i]->name, domid);
	pci_free(&host);
out:
	libxl_device_pci_dispose(&pci);
	return rc;
}

/* --- create and destroy ------------------------------------------------------------------------------ */

static bool twice(const libxl_domain_config *dc, int i)
{
	for (int k = 0; k < i; k++)
		if (sbdf_of(&dc->pcidevs[k]) == sbdf_of(&dc->pcidevs[i]))
			return true;
	return false;
}

static int create_one(struct host *h, const struct pci_host *host, libxl_domain_config *dc, int i, bool act, unsigned *total,
		      struct pvb_error *err)
{
	libxl_device_pci *pci = &dc->pcidevs[i];
	struct pci_dev *found[8];
	unsigned nr = 0;
	int rc = functions(host, pci, found, &nr, err);

	if (!rc && pci->vfunc_mask == LIBXL_PCI_FUNC_ALL)
		rc = pvb_err(err, -EINVAL, "PCI device %s: pci=[] wants each function of a card by itself", found[0]->name);
	if (!rc && twice(dc, i))
		rc = pvb_err(err, -EINVAL, "PCI device %s is in pci=[] twice", found[0]->name);
	for (unsigned k = 0; k < nr && !rc && !act; k++)
		rc = device_fits(h, host, found[k], pci->seize, -1, false, err);
	if (!rc && act)
		rc = make_ready(h, found, nr, pci->seize, err);
	*total += nr;
	return rc;
}

int xen_pci_check_create(struct host *h, const char *who, long max, libxl_domain_config *dc, struct pvb_error *err)
{
	struct pci_host host;
	unsigned total = 0;
	int rc;

	if (!dc->num_pcidevs)
		return 0;
	if (dc->c_info.passthrough == LIBXL_PASSTHROUGH_DISABLED)
		return pvb_err(err, -EINVAL, "%s: pci=[] contradicts passthrough=\"disabled\"", who);
	rc = type_fits(who, dc->c_info.type, err);
	if (!rc)
		rc = memory_fits(who, dc, err);
	for (int i = 0; i < dc->num_pcidevs && !rc; i++)
		rc = resolve(h, &dc->pcidevs[i], err);
	if (rc)
		return rc;
	rc = xen_pci_scan(h, &host, NULL, err);
	if (rc)
		return rc;
	for (int act = 0; act < 2 && !rc; act++) {
		for (int i = 0; i < dc->num_pcidevs && !rc; i++)
			rc = create_one(h, &host, dc, i, act, &total, err);
		if (!rc && !act)
			rc = count_fits(h, who, 0, total, max, err);
	}
	pci_free(&host);
	return rc;
}

int xen_pci_check_created(struct host *h, uint32_t domid, const libxl_domain_config *dc, struct pvb_error *err)
{
	struct pci_host host;
	struct pci_slot s;
	char name[PCI_NAME];
	int rc = dc->num_pcidevs ? pci_scan(&host, NULL, err) : 0;

	if (rc || !dc->num_pcidevs)
		return rc;
	for (int i = 0; i < dc->num_pcidevs && !rc; i++) {
		uint32_t sbdf = sbdf_of(&dc->pcidevs[i]);
		const struct pci_dev *d = pci_find(&host, sbdf);

		pci_name(sbdf, name);
		if (xen_pci_slot(h, domid, sbdf, &s) || xen_pci_taken(h, sbdf) != 1)
			rc = pvb_err(err, -EIO, "domain %u was built but has not got PCI device %s", domid, name);
		else if (d && dc->c_info.type == LIBXL_DOMAIN_TYPE_PV)
			xen_pci_note_intx(h, domid, d);
	}
	pci_free(&host);
	return rc;
}

int xen_pci_released(struct host *h, uint32_t domid, const struct pci_slot *slots, unsigned nr, struct pvb_error *err)
{
	char path[64];
	int rc = 0;

	/* pciback's nodes stay when a guest ended in the middle of something, or with a bus without a device */
	snprintf(path, sizeof(path), PCI_BACK "/%u", domid);
	if (xen_store(h) && pvb_store_exists(h->store, PVB_NO_TXN, path))
		xen_pcipv_drop_all(h, domid);
	for (unsigned i = 0; i < nr; i++) {
		int r = xen_pci_settle(h, domid, slots[i].sbdf, rc ? NULL : err);

		rc = rc ? rc : r;
	}
	return rc;
}

const struct pci_ops xen_pci_ops = {
	.scan = xen_pci_scan,
	.add = xen_pci_add,
	.remove = xen_pci_remove,
	.attach = pci_attach,
	.detach = pci_detach,
	.list = pci_list,
	.by_label = xen_pci_by_label,
};
