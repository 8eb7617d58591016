// SPDX-License-Identifier: GPL-2.0-or-later
/* PCI devices that are away for a while: detached before a domain is saved or sent, attached again if it stays. */
#include "config.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "away.h"
#include "host.h"
#include "output.h"

static int give_back(struct pvl *p, uint32_t domid, const struct pci_guest_dev *dev, struct pvb_error *err)
{
	/* the guest had it: what spoke against it then is no news */
	const struct pci_attach_opts o = { .no_reset = true, .timeout_ms = p->timeout_ms };
	struct json_object *obj = NULL;
	char spec[sizeof(dev->name) + sizeof(dev->opts) + 8];
	int rc;

	snprintf(spec, sizeof(spec), "%s", dev->name);
	if (dev->vslot)
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "@%x", dev->vslot >> 3);
	snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "%s", dev->opts);
	rc = p->ops->pci->attach(p->host, domid, spec, &o, &obj, err);
	json_object_put(obj);
	return rc;
}

/* The first of them first, as they were attached. */
unsigned away_back(const struct away *a, struct pvl *p)
{
	struct pvb_error err = { 0 };
	unsigned left = 0;

	for (unsigned i = 0; i < a->nr; i++)
		if (give_back(p, a->domid, &a->dev[i], &err)) {
			left++;
			pvl_error(p, "not attached again: %s", err.text);
		} else {
			pvl_note(p, "attached PCI device %s to domain %u again", a->dev[i].name, a->domid);
		}
	return left;
}

static void hold_signals(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, before);
}

static bool signal_waits(void)
{
	sigset_t set;

	return sigpending(&set) == 0 &&
	       (sigismember(&set, SIGINT) == 1 || sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGHUP) == 1);
}

int away_detach(struct away *a, struct pvl *p, uint32_t domid, struct pvb_error *err)
{
	const struct pci_ops *ops = p->ops->pci;
	sigset_t before;
	unsigned nr = 0;
	int rc;

	*a = (struct away){ .domid = domid };
	rc = ops ? ops->list(p->host, domid, &a->dev, &nr, err) : 0;
	if (rc)
		return rc;
	hold_signals(&before);
	for (unsigned i = 0; i < nr && !rc; i++) {
		rc = ops->detach(p->host, domid, a->dev[i].name, false, p->dry_run, p->timeout_ms, err);
		if (!rc && !p->dry_run) {
			pvl_note(p, "detached PCI device %s from domain %u", a->dev[i].name, domid);
			a->nr++;
		}
		if (!rc && signal_waits())
			rc = pvb_err(err, -EINTR, "stopped by a signal");
	}
	if (rc) {
		away_back(a, p);
		away_free(a);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

void away_free(struct away *a)
{
	free(a->dev);
	*a = (struct away){ 0 };
}
