// SPDX-License-Identifier: GPL-2.0-or-later
/* NICs of local domains: the nodes libxl would write, made and removed with bus/offer.h.  Served by pvbackd. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host-local.h"
#include "loop.h"
#include "output.h"
#include "state.h"

static struct pvb_device_id id_of(uint32_t domid, uint32_t devid)
{
	return (struct pvb_device_id){ .kind = "vif", .class = "vif", .back = 0, .front = domid, .devid = devid };
}

static int record_nic(struct host *h, uint32_t domid, const struct nicspec *n)
{
	char key[32], *spec = nicspec_text(n);
	int rc;

	if (!spec)
		return -ENOMEM;
	snprintf(key, sizeof(key), "nic/%d", n->devid);
	rc = local_record(h, domid, key, spec);
	free(spec);
	return rc;
}

static void unrecord_nic(struct host *h, uint32_t domid, uint32_t devid)
{
	char path[64];

	snprintf(path, sizeof(path), "/pvl/%u/nic/%u", domid, devid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
}

int local_nic_offer(struct host *h, uint32_t domid, const struct nicspec *n, struct pvb_error *err)
{
	struct pvb_device_id id = id_of(domid, (uint32_t)n->devid);
	char handle[16], mac[18], mtu[16], rate[48], key[32], *there;
	struct pvb_pair back[8] = {
		{ "mac", mac }, { "handle", handle }, { "type", "vif" }, { "mtu", mtu },
	}, front[] = {
		{ "handle", handle }, { "mac", mac }, { "mtu", mtu }, { "trusted", n->untrusted ? "0" : "1" },
	};
	unsigned nr = 4;
	int rc;

	snprintf(handle, sizeof(handle), "%d", n->devid);
	snprintf(mtu, sizeof(mtu), "%u", n->mtu);
	nicspec_mac_text(n->mac, mac);
	snprintf(rate, sizeof(rate), "%llu,%llu", (unsigned long long)n->rate_bytes, (unsigned long long)n->rate_usecs);
	if (n->port)
		back[nr++] = (struct pvb_pair){ "port", n->port };
	if (n->ip)
		back[nr++] = (struct pvb_pair){ "ip", n->ip };
	if (n->rate_bytes)
		back[nr++] = (struct pvb_pair){ "rate", rate };
	snprintf(key, sizeof(key), "nic/%d", n->devid);
	there = local_recorded(h, domid, key);
	if (there) {
		rc = pvb_err(err, -EEXIST, "domain %u has a NIC %d already (%.120s)", domid, n->devid, there);
		free(there);
		return rc;
	}
	rc = record_nic(h, domid, n);
	if (rc)
		return pvb_err(err, rc, "recording NIC %d: %s", n->devid, strerror(-rc));
	rc = pvb_offer(h->store, &id, back, nr, front, 4, err);
	if (rc)
		unrecord_nic(h, domid, (uint32_t)n->devid);
	return rc;
}

/* --- list -------------------------------------------------------------------------------------------- */

static void fill_nic(struct host *h, uint32_t domid, const struct nicspec *n, struct nic_info *i)
{
	struct pvb_device_id id = id_of(domid, (uint32_t)n->devid);
	char path[160];

	pvb_device_front_path(&id, path, sizeof(path));
	i->domid = domid;
	i->devid = (uint32_t)n->devid;
	nicspec_mac_text(n->mac, i->mac);
	i->front_state = host_number_or(h->store, path, "state", -1);
	i->event_channel = host_number_or(h->store, path, "event-channel", -1);
	i->tx_ring_ref = host_number_or(h->store, path, "tx-ring-ref", -1);
	i->rx_ring_ref = host_number_or(h->store, path, "rx-ring-ref", -1);
	pvb_device_back_path(&id, path, sizeof(path));
	i->back_state = host_number_or(h->store, path, "state", -1);
	i->backend_path = strdup(path);
	i->port = strdup(n->port ? n->port : "tap");
}

int local_nic_list(struct host *h, uint32_t domid, struct nic_info **out, unsigned *nr, struct pvb_error *err)
{
	struct local_cfg lc;
	struct nic_info *list;
	int rc;

	if (domid == 0) {
		*out = NULL;
		*nr = 0;
		return 0;
	}
	rc = local_cfg_recorded(h, domid, &lc, err);
	if (rc)
		return rc;
	list = calloc(lc.nr_nics + 1, sizeof(*list));
	for (unsigned i = 0; list && i < lc.nr_nics; i++)
		fill_nic(h, domid, &lc.nics[i], &list[i]);
	if (list) {
		*out = list;
		*nr = lc.nr_nics;
	}
	local_cfg_free(&lc);
	return list ? 0 : pvb_err(err, -ENOMEM, "NICs of domain %u: out of memory", domid);
}

/* --- attach ------------------------------------------------------------------------------------------ */

static bool is_taken(const char *value, void *arg)
{
	return !value || strcmp(value, "1") != 0;
}

static bool is_connected(const char *value, void *arg)
{
	return !value || strcmp(value, "4") == 0;
}

int local_nic_wait_back(struct host *h, uint32_t domid, const struct nicspec *n, int timeout_ms, struct pvb_error *err)
{
	struct pvb_device_id id = id_of(domid, (uint32_t)n->devid);
	char back[160], path[200], *said;
	enum pvb_state s;
	int rc;

	pvb_device_back_path(&id, back, sizeof(back));
	snprintf(path, sizeof(path), "%s/state", back);
	rc = pvb_store_wait(h->store, path, is_taken, NULL, timeout_ms);
	s = pvb_state_read(h->store, PVB_NO_TXN, back);
	if (!rc && (s == PVB_INIT_WAIT || s == PVB_CONNECTED))
		return 0;
	snprintf(path, sizeof(path), "%s/error", back);
	if (pvb_store_read(h->store, PVB_NO_TXN, path, &said) == 0) {
		rc = pvb_err(err, rc ? rc : -EIO, "NIC %d: %s", n->devid, said);
		free(said);
		return rc;
	}
	return pvb_err(err, rc ? rc : -EIO, "NIC %d: the back end is %s%s", n->devid, pvb_state_name(s),
		       s == PVB_INITIALISING ? ": is pvbackd running for this fabric, and serving NICs?" : "");
}

static int wait_front(struct host *h, uint32_t domid, const struct nicspec *n, int timeout_ms, struct pvb_error *err)
{
	struct pvb_device_id id = id_of(domid, (uint32_t)n->devid);
	char front[160], back[160], path[200];
	struct local_proc proc;
	int rc;

	local_proc_look(h, domid, &proc);
	if (proc.state == 'T') {
		pvl_note(h->p, "domain %u is paused: NIC %d will connect once it runs", domid, n->devid);
		return 0;
	}
	pvb_device_front_path(&id, front, sizeof(front));
	pvb_device_back_path(&id, back, sizeof(back));
	snprintf(path, sizeof(path), "%s/state", back);
	rc = pvb_store_wait(h->store, path, is_connected, NULL, timeout_ms);
	if (!rc && pvb_state_read(h->store, PVB_NO_TXN, back) == PVB_CONNECTED)
		return 0;
	return pvb_err(err, rc ? rc : -EIO, "NIC %d not connected after %d ms: front end %s, back end %s; taken away again",
		       n->devid, timeout_ms, pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, front)),
		       pvb_state_name(pvb_state_read(h->store, PVB_NO_TXN, back)));
}

int local_nic_number(struct nicspec *n, const struct nicspec *others, unsigned nr)
{
	int devid = n->devid < 0 ? 0 : n->devid;

	for (unsigned i = 0; i < nr; i++) {
		if (others[i].devid != devid)
			continue;
		if (n->devid >= 0)
			return -EEXIST;
		devid++;
		i = (unsigned)-1; /* from the start */
	}
	n->devid = devid;
	return 0;
}

int local_nic_plan(struct pvl *p, const char *const *specs, int nr_specs, struct json_object **out, struct pvb_error *err)
{
	struct nicspec n;
	int rc = nicspec_parse(&n, specs, nr_specs, err);

	if (rc)
		return rc;
	*out = out_obj();
	json_object_object_add(*out, "nic", local_nic_json(&n));
	nicspec_free(&n);
	return 0;
}

static int attach(struct host *h, uint32_t domid, struct nicspec *n, bool wait, int timeout_ms, struct pvb_error *err)
{
	struct pvb_device_id id;
	struct local_cfg lc;
	int rc = local_cfg_recorded(h, domid, &lc, err);

	if (rc)
		return rc;
	rc = local_nic_number(n, lc.nics, lc.nr_nics);
	local_cfg_free(&lc);
	if (rc)
		return pvb_err(err, rc, "domain %u has a NIC %d already", domid, n->devid);
	rc = local_nic_offer(h, domid, n, err);
	if (rc)
		return rc;
	rc = local_nic_wait_back(h, domid, n, timeout_ms, err);
	if (!rc && wait)
		rc = wait_front(h, domid, n, timeout_ms, err);
	id = id_of(domid, (uint32_t)n->devid);
	if (rc && (pvb_rescind_force(h->store, &id, 2000, NULL) || true))
		unrecord_nic(h, domid, (uint32_t)n->devid);
	return rc;
}

int local_nic_attach(struct host *h, uint32_t domid, const char *const *specs, int nr_specs, bool wait, int timeout_ms,
		     struct json_object **out, struct pvb_error *err)
{
	struct nic_info i = { 0 };
	struct nicspec n;
	int rc = nicspec_parse(&n, specs, nr_specs, err);

	if (rc)
		return rc;
	rc = attach(h, domid, &n, wait, timeout_ms < 0 ? 20000 : timeout_ms, err);
	if (!rc) {
		fill_nic(h, domid, &n, &i);
		*out = nic_json(&i);
		free(i.backend_path);
		free(i.port);
	}
	nicspec_free(&n);
	return rc;
}

/* --- detach ------------------------------------------------------------------------------------------ */

int local_nic_detach(struct host *h, uint32_t domid, const char *which, bool force, int timeout_ms, struct pvb_error *err)
{
	struct pvb_device_id id;
	struct nic_info *list;
	char path[160];
	unsigned nr, i;
	int rc = local_nic_list(h, domid, &list, &nr, err);

	if (rc)
		return rc;
	i = nic_find(list, nr, which);
	id = id_of(domid, i < nr ? list[i].devid : 0);
	nic_list_free(list, nr);
	if (i == nr)
		return pvb_err(err, -ENOENT, "domain %u has no NIC \"%s\"", domid, which);
	rc = force ? pvb_rescind_force(h->store, &id, timeout_ms, err) : pvb_rescind(h->store, &id, timeout_ms, err);
	pvb_device_back_path(&id, path, sizeof(path));
	if (!rc && pvb_store_exists(h->store, PVB_NO_TXN, path))
		rc = pvb_err(err, -EIO, "%s is still there after its removal", path);
	if (!rc)
		unrecord_nic(h, domid, id.devid);
	return rc;
}

int local_nics_drop(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	struct nic_info *list;
	unsigned nr;
	int rc = local_nic_list(h, domid, &list, &nr, NULL);

	if (rc)
		return rc == -ENOENT ? 0 : pvb_err(err, rc, "NICs of domain %u: %s", domid, strerror(-rc));
	for (unsigned i = 0; i < nr; i++) {
		struct pvb_device_id id = id_of(domid, list[i].devid);
		char front[160];
		int r;

		pvb_device_front_path(&id, front, sizeof(front));
		pvb_state_write(h->store, front, PVB_CLOSED); /* its driver is dead: nobody else will say so */
		r = pvb_rescind_force(h->store, &id, timeout_ms, err);
		rc = rc ? rc : r;
	}
	nic_list_free(list, nr);
	return rc;
}
