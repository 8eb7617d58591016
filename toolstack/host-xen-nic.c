// SPDX-License-Identifier: GPL-2.0-or-later
/* NICs of Xen domains.  libxl makes and removes them, so that xl and virsh see the same; what libxl does not do is
 * done here: looking whether it worked, and undoing what did not.
 *
 * Back end paths come from libxl's own record (/libxl/DOMID), never from the guest's directory.
 */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-xen.h"
#include "loop.h"
#include "output.h"
#include "state.h"

#define CONNECT_MS 20000 /* for a driver to connect, when nobody says otherwise */

static int back_state(struct host *h, const char *back)
{
	char path[256];
	uint64_t v;

	snprintf(path, sizeof(path), "%s/state", back);
	return xen_store(h) && pvb_store_read_u64(h->store, PVB_NO_TXN, path, 0, 8, &v) == 0 ? (int)v : -1;
}

static int fill_nic(struct host *h, uint32_t domid, const libxl_device_nic *nic, struct nic_info *n)
{
	libxl_nicinfo i;
	char path[256];

	memset(n, 0, sizeof(*n));
	libxl_nicinfo_init(&i);
	if (libxl_device_nic_getinfo(h->ctx, domid, nic, &i)) {
		libxl_nicinfo_dispose(&i);
		return -EIO;
	}
	n->devid = (uint32_t)i.devid;
	n->domid = domid;
	n->backend_domid = i.backend_id;
	snprintf(n->mac, sizeof(n->mac), LIBXL_MAC_FMT, LIBXL_MAC_BYTES(nic->mac));
	n->front_state = i.state;
	n->event_channel = i.evtch;
	n->tx_ring_ref = i.rref_tx;
	n->rx_ring_ref = i.rref_rx;
	n->backend_path = strdup(i.backend ? i.backend : "");
	n->back_state = n->backend_path ? back_state(h, n->backend_path) : -1;
	n->port = nic->bridge ? strdup(nic->bridge) : NULL;
	snprintf(path, sizeof(path), "%s/pair", n->backend_path ? n->backend_path : "");
	if (!xen_store(h) || pvb_store_read(h->store, PVB_NO_TXN, path, &n->pair))
		n->pair = NULL;
	libxl_nicinfo_dispose(&i);
	return n->backend_path ? 0 : -ENOMEM;
}

int xen_nic_list(struct host *h, uint32_t domid, struct nic_info **out, unsigned *nr, struct pvb_error *err)
{
	libxl_device_nic *nics;
	struct nic_info *list;
	unsigned n = 0;
	int count = 0;

	h->log.cause[0] = '\0';
	nics = libxl_device_nic_list(h->ctx, domid, &count);
	if (!nics && *h->log.cause)
		return xen_err(h, err, ERROR_FAIL, "NICs of domain %u", domid);
	list = calloc((size_t)count + 1, sizeof(*list));
	for (int i = 0; list && i < count; i++)
		if (fill_nic(h, domid, &nics[i], &list[n]) == 0)
			n++;
	libxl_device_nic_list_free(nics, count);
	if (!list)
		return pvb_err(err, -ENOMEM, "NICs of domain %u: out of memory", domid);
	*out = list;
	*nr = n;
	return 0;
}

static void nic_clear(struct nic_info *n)
{
	free(n->backend_path);
	free(n->port);
	free(n->pair);
	memset(n, 0, sizeof(*n));
}

/* One NIC by number or address: 0, or -ENOENT and no text. */
static int find_nic(struct host *h, uint32_t domid, const char *which, struct nic_info *n, struct pvb_error *err)
{
	struct nic_info *list;
	unsigned nr, i;
	int rc = xen_nic_list(h, domid, &list, &nr, err);

	if (rc)
		return rc;
	i = nic_find(list, nr, which);
	if (i < nr) {
		*n = list[i];
		memset(&list[i], 0, sizeof(list[i]));
	}
	nic_list_free(list, nr);
	return i < nr ? 0 : -ENOENT;
}

int xen_nic_served(struct host *h, const libxl_device_nic *nic, struct pvb_error *err)
{
	struct pvb_error why = { 0 };
	int rc;

	if (h->p->force || !nic->script || !strstr(nic->script, "vif-pvbus") || nic->backend_domid || nic->backend_domname)
		return 0;
	rc = xen_ask_pvbackd(h, &why);
	if (rc)
		return pvb_err(err, rc, "NIC on port %s is for pvbackd, but: %.150s", nic->bridge ? nic->bridge : "?", why.text);
	return 0;
}

int xen_nic_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out,
		 struct pvb_error *err)
{
	struct xl_conf none = { 0 };
	libxl_device_nic nic;
	char *text;
	int rc;

	libxl_device_nic_init(&nic);
	rc = xen_nic_parse(p->host ? &p->host->conf : &none, specs, nr_specs, &nic, err);
	if (!rc) {
		text = libxl_device_nic_to_json(NULL, &nic);
		*out = out_obj();
		json_object_object_add(*out, "nic", text ? json_tokener_parse(text) : NULL);
		free(text);
	}
	libxl_device_nic_dispose(&nic);
	return rc;
}

/* --- attach ------------------------------------------------------------------------------------------ */

static bool is_connected(const char *value, void *arg)
{
	return !value || strcmp(value, "4") == 0;
}

static int remove_nic(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	libxl_device_nic nic;
	uint64_t devid;
	int rc;

	libxl_device_nic_init(&nic);
	rc = pvb_parse_u64(which, 0, INT32_MAX, &devid) == 0 ? libxl_devid_to_device_nic(h->ctx, domid, (int)devid, &nic) :
							      libxl_mac_to_device_nic(h->ctx, domid, which, &nic);
	if (rc == 0)
		rc = xen_wait(h, &how, force ? libxl_device_nic_destroy(h->ctx, domid, &nic, &how) :
					       libxl_device_nic_remove(h->ctx, domid, &nic, &how), timeout_ms);
	libxl_device_nic_dispose(&nic);
	return rc ? xen_err(h, err, rc, "removing NIC %s from domain %u", which, domid) : 0;
}

static int wait_connected(struct host *h, uint32_t domid, const struct nic_info *n, int timeout_ms, struct pvb_error *err)
{
	char path[256];
	int rc;

	snprintf(path, sizeof(path), "%s/state", n->backend_path);
	rc = xen_store(h) ? pvb_store_wait(h->store, path, is_connected, NULL, timeout_ms) : -EIO;
	if (rc == 0 && back_state(h, n->backend_path) == PVB_CONNECTED)
		return 0;
	snprintf(path, sizeof(path), "/local/domain/%u/device/vif/%u", domid, n->devid);
	return pvb_err(err, rc ? rc : -EIO, "NIC %u not connected after %d ms: front end %s, back end %s; taken away again",
		       n->devid, timeout_ms, pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, path)),
		       pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, n->backend_path)));
}

/* The first number that no NIC has. */
static int free_number(struct host *h, uint32_t domid, int *devid, struct pvb_error *err)
{
	struct nic_info *list;
	unsigned nr, i;
	int rc = xen_nic_list(h, domid, &list, &nr, err);

	if (rc)
		return rc;
	for (*devid = 0, i = 0; i < nr; i++)
		if (list[i].devid == (uint32_t)*devid) {
			++*devid;
			i = (unsigned)-1; /* from the start */
		}
	nic_list_free(list, nr);
	return 0;
}

static bool is_paused(struct host *h, uint32_t domid)
{
	libxl_dominfo i;
	bool paused;

	libxl_dominfo_init(&i);
	paused = libxl_domain_info(h->ctx, &i, domid) == 0 && i.paused;
	libxl_dominfo_dispose(&i);
	return paused;
}

/* The guest's driver looks once whether a NIC is one half of a pair, and libxl writes all its own keys at once: the guest stands
 * still until ours is there, too. */
static int hold(struct host *h, uint32_t domid, const libxl_device_nic *nic, bool *held, struct pvb_error *err)
{
	libxl_asyncop_how how;
	uint32_t sbdf;
	int rc;

	if (!xen_pair_of(nic, &sbdf) || is_paused(h, domid))
		return 0;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_domain_pause(h->ctx, domid, &how), -1);
	*held = rc == 0;
	return rc ? xen_err(h, err, rc, "pausing domain %u", domid) : 0;
}

static void let_go(struct host *h, uint32_t domid)
{
	libxl_asyncop_how how = xen_op(h);

	if (xen_wait(h, &how, libxl_domain_unpause(h->ctx, domid, &how), -1))
		pvl_error(h->p, "domain %u can not be unpaused", domid);
}

static int attach(struct host *h, uint32_t domid, libxl_device_nic *nic, bool wait, int timeout_ms, struct nic_info *n,
		  struct pvb_error *err)
{
	uint64_t start = pvb_now_ms();
	bool held = false;
	libxl_asyncop_how how;
	char which[16], path[160];
	int rc, told, left;

	rc = xen_nic_served(h, nic, err);
	if (!rc && nic->devid < 0)
		rc = free_number(h, domid, &nic->devid, err);
	if (rc)
		return rc;
	snprintf(which, sizeof(which), "%d", nic->devid);
	rc = find_nic(h, domid, which, n, err);
	if (rc != -ENOENT)
		return rc ? rc : pvb_err(err, -EEXIST, "domain %u has a NIC %s already", domid, which);
	rc = xen_pair_check(h, nic, err);
	if (!rc)
		rc = hold(h, domid, nic, &held, err);
	if (rc)
		return rc;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_device_nic_add(h->ctx, domid, nic, &how), timeout_ms);
	told = rc ? 0 : xen_pair_tell(h, domid, nic, err);
	if (held)
		let_go(h, domid);
	if (told) {
		remove_nic(h, domid, which, true, 20000, NULL);
		return told;
	}
	if (rc) {
		rc = xen_err(h, err, rc, "attaching NIC %s to domain %u", which, domid);
		snprintf(path, sizeof(path), "/local/domain/%u/backend/vif/%u/%s", nic->backend_domid, domid, which);
		xen_add_reason(h, path, err, rc);
		remove_nic(h, domid, which, true, 20000, NULL);
		return rc;
	}
	rc = find_nic(h, domid, which, n, err);
	if (rc == -ENOENT)
		return pvb_err(err, -EIO, "NIC %s was attached to domain %u but is not there", which, domid);
	if (rc || !wait)
		return rc;
	if (is_paused(h, domid)) {
		pvl_note(h->p, "domain %u is paused: NIC %s will connect once it runs", domid, which);
		return 0;
	}
	left = timeout_ms < 0 ? CONNECT_MS : timeout_ms - (int)(pvb_now_ms() - start);
	rc = wait_connected(h, domid, n, left < 0 ? 0 : left, err);
	if (rc) {
		xen_add_reason(h, n->backend_path, err, rc);
		remove_nic(h, domid, which, true, 20000, NULL);
		return rc;
	}
	nic_clear(n);
	return find_nic(h, domid, which, n, err);
}

int xen_nic_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		   struct json_object **out, struct pvb_error *err)
{
	struct nic_info n = { 0 };
	libxl_device_nic nic;
	int rc;

	libxl_device_nic_init(&nic);
	rc = xen_nic_parse(&h->conf, specs, nr_specs, &nic, err);
	if (!rc)
		rc = attach(h, domid, &nic, wait, timeout_ms, &n, err);
	if (!rc)
		*out = nic_json(&n);
	nic_clear(&n);
	libxl_device_nic_dispose(&nic);
	return rc;
}

/* --- detach ------------------------------------------------------------------------------------------ */

int xen_nic_detach(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms,
		   struct pvb_error *err)
{
	struct nic_info n = { 0 }, still = { 0 };
	char number[16];
	int rc = find_nic(h, domid, which, &n, err);

	if (rc)
		return rc == -ENOENT ? pvb_err(err, rc, "domain %u has no NIC \"%s\"", domid, which) : rc;
	snprintf(number, sizeof(number), "%u", n.devid);
	rc = remove_nic(h, domid, number, force, timeout_ms < 20000 ? 20000 : timeout_ms, err);
	if (!rc && find_nic(h, domid, number, &still, NULL) == 0)
		rc = pvb_err(err, -EIO, "NIC %s of domain %u is still listed after its removal", number, domid);
	if (!rc && xen_store(h) && pvb_store_exists(h->store, PVB_NO_TXN, n.backend_path))
		rc = pvb_err(err, -EIO, "NIC %s of domain %u: %.120s is still there after its removal", number, domid,
			     n.backend_path);
	nic_clear(&still);
	nic_clear(&n);
	return rc;
}
