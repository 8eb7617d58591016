// SPDX-License-Identifier: GPL-2.0-or-later
/* PCI devices of PV guests: the conversation between pciback and pcifront in xenstore.
 *
 * libxl takes the device away in Xen first, asks the guest afterwards, and says nothing if it does not answer.  Here the
 * guest is asked first, and keeps the device, whole, if it does not let go.
 */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen-pci.h"
#include "loop.h"
#include "state.h"

static void back_path(char *buf, size_t len, uint32_t domid, const char *key)
{
	snprintf(buf, len, PCI_BACK "/%u/0/%s", domid, key);
}

static void front_path(char *buf, size_t len, uint32_t domid, const char *key)
{
	snprintf(buf, len, "/local/domain/%u/device/pci/0/%s", domid, key);
}

int xen_pcipv_state(struct host *h, uint32_t domid, bool front)
{
	char path[96];
	uint64_t v;

	(front ? front_path : back_path)(path, sizeof(path), domid, "state");
	return xen_store(h) && pvb_store_read_u64(h->store, PVB_NO_TXN, path, 0, 8, &v) == 0 ? (int)v : -1;
}

static const char *name_of(int state)
{
	return state < 0 ? "gone" : pvb_state_name((enum pvb_state)state);
}

static bool is_taken_in(const char *value, void *arg)
{
	return !value || strcmp(value, "3") == 0 || strcmp(value, "4") == 0;
}

static bool is_connected(const char *value, void *arg)
{
	return !value || strcmp(value, "4") == 0;
}

int xen_pcipv_connected(struct host *h, uint32_t domid, uint32_t sbdf, int timeout_ms, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + (uint64_t)timeout_ms;
	struct pci_slot s = { 0 };
	char path[96], key[24], name[PCI_NAME];
	int rc;

	/* pciback takes the device in; then the guest's driver connects, and pciback follows it */
	rc = xen_pci_slot(h, domid, sbdf, &s);
	for (int i = 0; i < 3 && !rc; i++) {
		uint64_t now = pvb_now_ms();

		snprintf(key, sizeof(key), "state-%u", s.index);
		(i == 1 ? front_path : back_path)(path, sizeof(path), domid, i == 0 ? key : "state");
		rc = pvb_store_wait(h->store, path, i == 0 ? is_taken_in : is_connected, NULL, now < end ? (int)(end - now) : 0);
	}
	xen_pci_slot(h, domid, sbdf, &s);
	if (!rc && (s.state == PVB_INITIALISED || s.state == PVB_CONNECTED) &&
	    xen_pcipv_state(h, domid, true) == PVB_CONNECTED && xen_pcipv_state(h, domid, false) == PVB_CONNECTED)
		return 0;
	pci_name(sbdf, name);
	return pvb_err(err, rc ? rc : -EIO,
		       "PCI device %s: domain %u has not taken it in %d ms (its driver: %s, pciback: %s, the device: %s); is "
		       "xen-pcifront loaded there, with iommu=soft?",
		       name, domid, timeout_ms, name_of(xen_pcipv_state(h, domid, true)),
		       name_of(xen_pcipv_state(h, domid, false)), s.state ? name_of((int)s.state) : "unknown");
}

/* --- asking ------------------------------------------------------------------------------------------ */

struct move {
	uint32_t domid;
	unsigned index;
	unsigned from, to, back_from, back_to; /* states of the device and of the back end */
};

static int move(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct move *m = arg;
	char dev[96], back[96], key[24];
	uint64_t v;
	int rc;

	snprintf(key, sizeof(key), "state-%u", m->index);
	back_path(dev, sizeof(dev), m->domid, key);
	back_path(back, sizeof(back), m->domid, "state");
	rc = pvb_store_read_u64(st, t, dev, 0, 8, &v);
	if (!rc && v != m->from)
		rc = -EBUSY;
	if (!rc)
		rc = pvb_store_read_u64(st, t, back, 0, 8, &v);
	if (!rc && v != m->back_from)
		rc = -EBUSY;
	if (!rc)
		rc = pvb_store_printf(st, t, dev, "%u", m->to);
	if (!rc)
		rc = pvb_store_printf(st, t, back, "%u", m->back_to);
	return rc;
}

void xen_pcipv_kick(struct host *h, uint32_t domid, uint32_t sbdf)
{
	struct pci_slot s;
	struct move m;

	if (xen_pci_slot(h, domid, sbdf, &s))
		return;
	m = (struct move){ domid, s.index, PVB_INITIALISING, PVB_INITIALISING, PVB_CONNECTED, PVB_RECONFIGURING };
	pvb_store_txn(h->store, move, &m); /* any other state needs none */
}

static bool is_reconfigured(const char *value, void *arg)
{
	return !value || strcmp(value, "8") == 0;
}

int xen_pcipv_ask(struct host *h, uint32_t domid, const struct pci_slot *s, int timeout_ms, struct pvb_error *err)
{
	struct move m = { domid, s->index, s->state, PVB_CLOSING, PVB_CONNECTED, PVB_RECONFIGURING };
	int front = xen_pcipv_state(h, domid, true), back = xen_pcipv_state(h, domid, false), rc;
	char path[96], name[PCI_NAME];

	pci_name(s->sbdf, name);
	if (front != PVB_CONNECTED || back != PVB_CONNECTED)
		return pvb_err(err, -EBUSY,
			       "PCI device %s: domain %u can not let go of it: its driver is %s, pciback %s; --force takes it away",
			       name, domid, name_of(front), name_of(back));
	rc = pvb_store_txn(h->store, move, &m);
	if (rc)
		return pvb_err(err, rc, "PCI device %s: asking domain %u for it: %s", name, domid, strerror(-rc));
	/* pciback is Connected again when the guest has let go and it has, too; of the device itself it says nothing */
	back_path(path, sizeof(path), domid, "state");
	rc = pvb_store_wait(h->store, path, is_connected, NULL, timeout_ms);
	if (!rc)
		return 0;
	front = xen_pcipv_state(h, domid, true);
	/* a driver that has not even begun will never know that it was asked */
	m = (struct move){ domid, s->index, PVB_CLOSING, s->state, PVB_RECONFIGURING, PVB_CONNECTED };
	if (front == PVB_CONNECTED && pvb_store_txn(h->store, move, &m) == 0)
		return pvb_err(err, rc, "PCI device %s: domain %u did not let go of it within %d ms; it has it as before (--force "
			       "takes it away)", name, domid, timeout_ms);
	return pvb_err(err, rc, "PCI device %s: domain %u began to let go of it and did not end within %d ms (its driver: %s, "
		       "pciback: %s); --force ends it", name, domid, timeout_ms, name_of(front),
		       name_of(xen_pcipv_state(h, domid, false)));
}

static int let_go_by_force(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct move *m = arg;
	char path[96], key[24];
	int rc;

	snprintf(key, sizeof(key), "state-%u", m->index);
	back_path(path, sizeof(path), m->domid, key);
	rc = pvb_store_printf(st, t, path, "%u", PVB_CLOSING);
	back_path(path, sizeof(path), m->domid, "state");
	if (!rc)
		rc = pvb_store_printf(st, t, path, "%u", PVB_RECONFIGURING);
	front_path(path, sizeof(path), m->domid, "state");
	return rc ? rc : pvb_store_printf(st, t, path, "%u", PVB_RECONFIGURING);
}

void xen_pcipv_drive(struct host *h, uint32_t domid, const struct pci_slot *s, int timeout_ms)
{
	struct move m = { .domid = domid, .index = s->index };
	char path[96];
	int front;

	if (!xen_store(h))
		return;
	front = xen_pcipv_state(h, domid, true);
	if (front == PVB_RECONFIGURING)
		front = PVB_CONNECTED; /* it stopped half way */
	if (front < 0 || pvb_store_txn(h->store, let_go_by_force, &m))
		return;
	back_path(path, sizeof(path), domid, "state");
	pvb_store_wait(h->store, path, is_reconfigured, NULL, timeout_ms);
	front_path(path, sizeof(path), domid, "state");
	pvb_store_printf(h->store, PVB_NO_TXN, path, "%d", front);
	back_path(path, sizeof(path), domid, "state");
	if (front == PVB_CONNECTED)
		pvb_store_wait(h->store, path, is_connected, NULL, timeout_ms);
}

/* --- taking ------------------------------------------------------------------------------------------ */

/* What libxl allowed the guest when it gave it the device. */
static void withdraw(struct host *h, xc_interface *xch, uint32_t domid, const struct pci_dev *d)
{
	for (int i = 0; i < 6; i++) {
		const struct pci_bar *b = &d->bar[i];
		uint64_t size = b->end - b->start + 1;

		if (!b->end)
			continue;
		if (b->memory ? xc_domain_iomem_permission(xch, domid, b->start >> XC_PAGE_SHIFT,
							   (size + XC_PAGE_SIZE - 1) >> XC_PAGE_SHIFT, 0) :
				xc_domain_ioport_permission(xch, domid, (uint32_t)b->start, (uint32_t)size, 0))
			pvl_debug(h->p, "PCI device %s: range %d of domain %u: %s", d->name, i, domid, strerror(errno));
	}
	if (d->irq && xc_physdev_unmap_pirq(xch, (int)domid, (int)d->irq))
		pvl_debug(h->p, "PCI device %s: interrupt %u of domain %u: %s", d->name, d->irq, domid, strerror(errno));
	if (d->irq && xc_domain_irq_permission(xch, domid, d->irq, 0))
		pvl_debug(h->p, "PCI device %s: right to interrupt %u of domain %u: %s", d->name, d->irq, domid, strerror(errno));
}

static const char *const slot_keys[] = { "state", "key", "dev", "vdev", "opts", "vdevfn" };

struct drop {
	uint32_t domid, sbdf;
};

static int copy_slot(struct pvb_store *st, pvb_txn t, uint32_t domid, unsigned from, unsigned to)
{
	int rc = 0;

	for (unsigned k = 0; k < sizeof(slot_keys) / sizeof(slot_keys[0]) && !rc; k++) {
		char key[32], path[96], *value = NULL;

		snprintf(key, sizeof(key), "%s-%u", slot_keys[k], from);
		back_path(path, sizeof(path), domid, key);
		if (pvb_store_read(st, t, path, &value))
			value = NULL;
		snprintf(key, sizeof(key), "%s-%u", slot_keys[k], to);
		back_path(path, sizeof(path), domid, key);
		rc = value ? pvb_store_write(st, t, path, value) : pvb_store_rm(st, t, path);
		free(value);
	}
	return rc;
}

/* Take the device's keys out; those behind it move up, because libxl counts without gaps. */
static int drop(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct drop *w = arg;
	char path[96], key[32], *text;
	uint64_t nr, i;
	uint32_t sbdf = 0;
	int rc;

	back_path(path, sizeof(path), w->domid, "num_devs");
	rc = pvb_store_read_u64(st, t, path, 0, 256, &nr);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (i = 0; i < nr; i++) {
		snprintf(key, sizeof(key), "dev-%u", (unsigned)i);
		back_path(path, sizeof(path), w->domid, key);
		if (pvb_store_read(st, t, path, &text))
			continue;
		rc = pci_parse(text, &sbdf, NULL);
		free(text);
		if (!rc && sbdf == w->sbdf)
			break;
	}
	if (i == nr)
		return 0;
	rc = 0;
	for (; i + 1 < nr && !rc; i++)
		rc = copy_slot(st, t, w->domid, (unsigned)i + 1, (unsigned)i);
	for (unsigned k = 0; k < sizeof(slot_keys) / sizeof(slot_keys[0]) && !rc; k++) {
		snprintf(key, sizeof(key), "%s-%u", slot_keys[k], (unsigned)nr - 1);
		back_path(path, sizeof(path), w->domid, key);
		rc = pvb_store_rm(st, t, path);
	}
	back_path(path, sizeof(path), w->domid, "num_devs");
	if (!rc)
		rc = pvb_store_printf(st, t, path, "%u", (unsigned)nr - 1);
	return rc;
}

int xen_pcipv_forget(struct host *h, uint32_t domid, uint32_t sbdf)
{
	struct drop w = { domid, sbdf };

	return xen_store(h) ? pvb_store_txn(h->store, drop, &w) : -EIO;
}

int xen_pci_take(struct host *h, uint32_t domid, const struct pci_dev *d, struct pvb_error *err)
{
	xc_interface *xch;
	int rc = 0;

	xch = xc_interface_open(&h->log.vtable, NULL, 0);
	if (!xch)
		return pvb_err(err, -EIO, "PCI device %s: no way to Xen: %s", d->name, strerror(errno));
	withdraw(h, xch, domid, d);
	if (xc_deassign_device(xch, domid, d->sbdf) && errno != ENODEV)
		rc = pvb_err(err, -errno, "PCI device %s: Xen does not take it away from domain %u: %s", d->name, domid,
			     strerror(errno));
	xc_interface_close(xch);
	if (rc)
		return rc;
	rc = xen_pcipv_forget(h, domid, d->sbdf);
	return rc ? pvb_err(err, rc, "PCI device %s: Xen has it back, but its nodes of domain %u are left: %s", d->name, domid,
			    strerror(-rc)) : 0;
}

void xen_pcipv_drop_all(struct host *h, uint32_t domid)
{
	char path[96];

	if (!xen_store(h))
		return;
	/* the devices themselves, too: kernels see a device go, not the directory that it is in */
	snprintf(path, sizeof(path), "/local/domain/%u/device/pci/0", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	snprintf(path, sizeof(path), PCI_BACK "/%u/0", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	snprintf(path, sizeof(path), PCI_BACK "/%u", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	snprintf(path, sizeof(path), "/libxl/%u/device/pci/0", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
}
