// SPDX-License-Identifier: GPL-2.0-or-later
/* See hostile-front.h.  Plain hands: the only thing done for the test is what it asks for. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hostile-front.h"
#include "loop.h"
#include "nodes.h"

/* --- making and connecting ------------------------------------------------------------------------- */

int hfront_offer(struct pvb_store *tool, const char *class, uint32_t back, uint32_t front, uint32_t devid,
		 const struct pvb_pair *pairs, unsigned nr, struct pvb_error *err)
{
	struct pvb_device_id id = { .kind = class, .class = class, .back = back, .front = front, .devid = devid };
	char num[16];
	struct pvb_pair disk[2] = { { "virtual-device", num }, { "device-type", "disk" } };
	struct pvb_pair nic[2] = { { "handle", num }, { "mac", "" } };
	bool is_nic = strcmp(class, "vif") == 0;

	snprintf(num, sizeof(num), "%u", devid);
	for (unsigned i = 0; i < nr; i++)
		if (strcmp(pairs[i].key, "mac") == 0)
			nic[1] = pairs[i];
	return pvb_offer(tool, &id, pairs, nr, is_nic ? nic : disk, 2, err);
}

int hfront_open(struct hfront *h, const char *spec, const char *class, uint32_t devid, struct pvb_error *err)
{
	char home[64], path[192];
	uint64_t back;
	int rc;

	memset(h, 0, sizeof(*h));
	h->devid = devid;
	rc = pvb_hv_open(&h->hv, spec, PVB_HV_FRONT, err);
	if (rc == 0)
		rc = pvb_store_open(&h->st, spec, err);
	if (rc == 0)
		rc = pvb_store_domid(h->st, &h->domid);
	if (rc < 0)
		goto fail;
	pvb_store_home(h->domid, home, sizeof(home));
	snprintf(h->dir, sizeof(h->dir), "%s/device/%s/%u", home, class, devid);
	snprintf(path, sizeof(path), "%s/backend", h->dir);
	rc = pvb_store_read(h->st, PVB_NO_TXN, path, &h->back);
	if (rc == 0) {
		snprintf(path, sizeof(path), "%s/backend-id", h->dir);
		rc = pvb_store_read_u64(h->st, PVB_NO_TXN, path, 0, 0x7fef, &back);
	}
	if (rc < 0) {
		pvb_err(err, rc, "%s can not be read", path);
		goto fail;
	}
	h->back_domid = (uint32_t)back;
	return 0;
fail:
	hfront_close(h);
	return rc;
}

static int make_ring(struct hfront *h, struct hfront_queue *q, unsigned order)
{
	int rc = pvb_hv_grant(h->hv, h->back_domid, 1u << order, true, &q->grant);

	if (rc < 0)
		return rc;
	q->sh = q->grant.addr;
	q->slots = (uint8_t *)q->grant.addr + sizeof(*q->sh);
	q->sh->req_event = q->sh->rsp_event = 1;
	q->prod = q->cons = 0;
	rc = pvb_hv_evt_alloc(h->hv, h->back_domid);
	q->port = rc < 0 ? UINT32_MAX : (uint32_t)rc;
	return rc < 0 ? rc : 0;
}

int hfront_rings(struct hfront *h, const struct hfront_options *opt, struct pvb_error *err)
{
	int rc = 0;

	h->wire = opt->abi32 ? &pvf_wire32 : pvf_wire_native;
	h->slot_size = h->wire->slot_size;
	h->nr_slots = pvb_ring_slots(PVB_PAGE_SIZE << opt->ring_order, h->slot_size);
	for (h->queues = 0; rc == 0 && h->queues < (opt->queues != 0 ? opt->queues : 1); h->queues++)
		rc = make_ring(h, &h->q[h->queues], opt->ring_order);
	if (rc == 0)
		rc = pvb_hv_grant(h->hv, h->back_domid, opt->pages != 0 ? opt->pages : 16, true, &h->data);
	return rc < 0 ? pvb_err(err, rc, "rings of order %u and %u data pages", opt->ring_order, opt->pages) : 0;
}

struct publishing {
	struct hfront *h;
	const struct hfront_options *opt;
};

int hfront_write_txn(struct hfront *h, pvb_txn t, const char *key, const char *value)
{
	char path[PVB_STORE_VALUE_MAX];

	snprintf(path, sizeof(path), "%s/%s", h->dir, key);
	return value != NULL ? pvb_store_write(h->st, t, path, value) : pvb_store_rm(h->st, t, path);
}

int hfront_write_num(struct hfront *h, pvb_txn t, const char *key, uint32_t value)
{
	char num[16];

	snprintf(num, sizeof(num), "%u", value);
	return hfront_write_txn(h, t, key, num);
}

static int write_num(struct hfront *h, pvb_txn t, const char *sub, const char *key, uint32_t v)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", sub, key);
	return hfront_write_num(h, t, name, v);
}

static int publish(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct publishing *p = arg;
	struct hfront *h = p->h;
	char sub[24] = "", key[32];
	int rc = hfront_write_txn(h, t, "protocol", h->wire->protocol);

	if (rc == 0 && h->queues > 1)
		rc = write_num(h, t, "", "multi-queue-num-queues", h->queues);
	if (rc == 0 && p->opt->ring_order > 0)
		rc = write_num(h, t, "", "ring-page-order", p->opt->ring_order);
	if (rc == 0 && p->opt->persistent)
		rc = write_num(h, t, "", "feature-persistent", 1);
	for (unsigned i = 0; rc == 0 && i < h->queues; i++) {
		if (h->queues > 1)
			snprintf(sub, sizeof(sub), "queue-%u/", i);
		rc = write_num(h, t, sub, "event-channel", h->q[i].port);
		if (rc == 0 && h->q[i].grant.nr == 1)
			rc = write_num(h, t, sub, "ring-ref", h->q[i].grant.refs[0]);
		for (uint32_t n = 0; rc == 0 && h->q[i].grant.nr > 1 && n < h->q[i].grant.nr; n++) {
			snprintf(key, sizeof(key), "ring-ref%u", n);
			rc = write_num(h, t, sub, key, h->q[i].grant.refs[n]);
		}
	}
	for (unsigned i = 0; rc == 0 && i < p->opt->nr_keys; i++)
		rc = hfront_write_txn(h, t, p->opt->keys[i].key, p->opt->keys[i].value);
	return rc;
}

int hfront_publish(struct hfront *h, const struct hfront_options *opt, struct pvb_error *err)
{
	struct publishing p = { h, opt };
	int rc = pvb_store_txn(h->st, publish, &p);

	return rc < 0 ? pvb_err(err, rc, "keys below %s", h->dir) : 0;
}

int hfront_offered(struct hfront *h, int timeout_ms, struct pvb_error *err)
{
	int rc = hfront_wait_back(h, 1u << PVB_INIT_WAIT, timeout_ms);

	return rc < 0 ? pvb_err(err, rc, "the back end did not reach 2, it is in %u",
				pvb_state_read(h->st, PVB_NO_TXN, h->back)) : 0;
}

int hfront_connected(struct hfront *h, int timeout_ms, struct pvb_error *err)
{
	char text[256];
	int rc = hfront_wait_back(h, 1u << PVB_CONNECTED | 1u << PVB_CLOSING | 1u << PVB_CLOSED, timeout_ms);

	if (rc == PVB_CONNECTED)
		return 0;
	hfront_error(h, text, sizeof(text));
	return pvb_err(err, rc < 0 ? rc : -EPROTO, "the back end did not reach 4, it is in %u: %.180s",
		       pvb_state_read(h->st, PVB_NO_TXN, h->back), text);
}

int hfront_connect(struct hfront *h, const struct hfront_options *opt, int timeout_ms, struct pvb_error *err)
{
	int rc = hfront_offered(h, timeout_ms, err);

	if (rc == 0)
		rc = hfront_rings(h, opt, err);
	if (rc == 0)
		rc = hfront_publish(h, opt, err);
	if (rc == 0)
		rc = hfront_state(h, PVB_INITIALISED);
	if (rc == 0)
		rc = hfront_connected(h, timeout_ms, err);
	return rc < 0 ? rc : hfront_state(h, PVB_CONNECTED);
}

void hfront_drop(struct hfront *h)
{
	for (unsigned i = 0; i < HFRONT_QUEUES; i++) {
		if (h->q[i].grant.nr == 0)
			continue;
		if (h->q[i].port != UINT32_MAX)
			pvb_hv_evt_unbind(h->hv, h->q[i].port);
		pvb_hv_ungrant(h->hv, &h->q[i].grant);
	}
	if (h->data.nr != 0)
		pvb_hv_ungrant(h->hv, &h->data);
	memset(h->q, 0, sizeof(h->q));
	memset(&h->data, 0, sizeof(h->data));
	h->queues = 0;
}

void hfront_close(struct hfront *h)
{
	if (h->hv != NULL)
		hfront_drop(h);
	pvb_store_close(h->st);
	pvb_hv_close(h->hv);
	free(h->back);
	memset(h, 0, sizeof(*h));
}

/* --- the store -------------------------------------------------------------------------------------- */

int hfront_write(struct hfront *h, const char *key, const char *value)
{
	return hfront_write_txn(h, PVB_NO_TXN, key, value);
}

int hfront_state(struct hfront *h, unsigned state)
{
	return hfront_write_num(h, PVB_NO_TXN, "state", state);
}

static bool state_is(const char *value, void *arg)
{
	unsigned *states = arg;
	uint64_t s;

	if (value == NULL || pvb_parse_u64(value, 0, 31, &s) < 0)
		s = 0;
	if ((*states & 1u << s) == 0)
		return false;
	*states = (unsigned)s;
	return true;
}

int hfront_wait_back(struct hfront *h, unsigned states, int timeout_ms)
{
	char path[PVB_STORE_VALUE_MAX];
	int rc;

	snprintf(path, sizeof(path), "%s/state", h->back);
	rc = pvb_store_wait(h->st, path, state_is, &states, timeout_ms);
	return rc < 0 ? rc : (int)states;
}

void hfront_error(struct hfront *h, char *buf, size_t len)
{
	static const enum pvb_vbd_back where[] = { VBD_B_ERROR, VBD_B_HOTPLUG_ERROR };
	char path[PVB_STORE_VALUE_MAX], *text;

	snprintf(buf, len, "%s", "");
	for (unsigned i = 0; i < 2 && buf[0] == '\0'; i++) {
		snprintf(path, sizeof(path), "%s/%s", h->back, pvb_vbd_back[where[i]].name);
		if (pvb_store_read(h->st, PVB_NO_TXN, path, &text) < 0)
			continue;
		snprintf(buf, len, "%s", text);
		free(text);
	}
}

/* --- the ring --------------------------------------------------------------------------------------- */

uint8_t *hfront_slot(struct hfront *h, unsigned q, uint32_t index)
{
	return h->q[q].slots + (size_t)(index & (h->nr_slots - 1)) * h->slot_size;
}

void hfront_put(struct hfront *h, unsigned q, const void *slot)
{
	pvb_ring_copy_out(hfront_slot(h, q, h->q[q].prod), slot, h->slot_size);
	h->q[q].prod++;
}

int hfront_notify(struct hfront *h, unsigned q)
{
	return pvb_hv_evt_notify(h->hv, h->q[q].port);
}

void hfront_push_to(struct hfront *h, unsigned q, uint32_t req_prod)
{
	pvb_ring_wmb();
	pvb_ring_store(&h->q[q].sh->req_prod, req_prod);
	pvb_ring_mb();
	hfront_notify(h, q);
}

void hfront_push(struct hfront *h, unsigned q)
{
	hfront_push_to(h, q, h->q[q].prod);
}

uint32_t hfront_unread(struct hfront *h, unsigned q)
{
	uint32_t n = pvb_ring_load(&h->q[q].sh->rsp_prod) - h->q[q].cons;

	pvb_ring_rmb();
	return n;
}

static void wait_event(struct hfront *h, int timeout_ms)
{
	struct pollfd p = { .fd = pvb_hv_evt_fd(h->hv), .events = POLLIN };
	uint32_t ports[16];
	int n;

	poll(&p, 1, timeout_ms);
	n = pvb_hv_evt_take(h->hv, ports, 16);
	if (n > 0)
		pvb_hv_evt_unmask(h->hv, ports, (unsigned)n);
}

int hfront_response(struct hfront *h, unsigned q, struct pvf_rsp *rsp, int timeout_ms)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;
	uint8_t raw[16];

	for (;;) {
		pvb_ring_store(&h->q[q].sh->rsp_event, h->q[q].cons + 1);
		pvb_ring_mb();
		if (hfront_unread(h, q) != 0)
			break;
		now = pvb_now_ms();
		if (now >= until)
			return -ETIMEDOUT;
		wait_event(h, (int)(until - now));
	}
	pvb_ring_copy_in(raw, hfront_slot(h, q, h->q[q].cons), h->wire->rsp_size);
	pvf_wire_response(raw, rsp);
	h->q[q].cons++;
	return 0;
}

int hfront_roundtrip(struct hfront *h, unsigned q, const void *slot, uint64_t id, int timeout_ms)
{
	struct pvf_rsp rsp;
	int rc;

	hfront_put(h, q, slot);
	hfront_push(h, q);
	rc = hfront_response(h, q, &rsp, timeout_ms);
	if (rc < 0)
		return rc;
	return rsp.id == id ? rsp.status : -EBADMSG;
}

/* --- slots ------------------------------------------------------------------------------------------ */

uint8_t *hfront_page(struct hfront *h, unsigned page)
{
	return (uint8_t *)h->data.addr + (size_t)page * PVB_PAGE_SIZE;
}

uint32_t hfront_gref(struct hfront *h, unsigned page)
{
	return h->data.refs[page];
}

void hfront_segs(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, const struct pvf_seg *segs,
		 unsigned nr)
{
	pvf_wire_direct(h->wire, slot, op, (uint16_t)h->devid, id, sector, segs,
			nr < PVF_DIRECT_SEGS ? nr : PVF_DIRECT_SEGS);
	((uint8_t *)slot)[1] = (uint8_t)nr;
}

void hfront_rw(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, unsigned page, unsigned nr)
{
	struct pvf_seg segs[PVF_DIRECT_SEGS];

	for (unsigned i = 0; i < nr && i < PVF_DIRECT_SEGS; i++)
		segs[i] = (struct pvf_seg){ hfront_gref(h, page + i), 0, 7, 0 };
	hfront_segs(h, slot, op, id, sector, segs, nr);
}

void hfront_indirect(struct hfront *h, void *slot, uint8_t op, uint64_t id, uint64_t sector, unsigned table,
		     unsigned page, unsigned nr)
{
	struct pvf_seg *segs = (struct pvf_seg *)hfront_page(h, table);

	for (unsigned i = 0; i < nr && i < PVF_PAGE_SEGS; i++)
		segs[i] = (struct pvf_seg){ hfront_gref(h, page + i), 0, 7, 0 };
	pvf_wire_indirect(h->wire, slot, op, (uint16_t)h->devid, id, sector, hfront_gref(h, table), nr);
}

void hfront_discard(struct hfront *h, void *slot, uint64_t id, uint64_t sector, uint64_t nr_sectors, uint8_t flag)
{
	pvf_wire_discard(h->wire, slot, false, (uint16_t)h->devid, id, sector, nr_sectors);
	((uint8_t *)slot)[1] = flag;
}

/* --- flipper ---------------------------------------------------------------------------------------- */

static void *flip(void *arg)
{
	struct hflip *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		__atomic_store_n(f->word, f->a, __ATOMIC_RELAXED);
		__atomic_store_n(f->word, f->b, __ATOMIC_RELAXED);
		__atomic_store_n(&f->flips, f->flips + 2, __ATOMIC_RELAXED);
	}
	return NULL;
}

int hflip_start(struct hflip *f, void *word, uint32_t a, uint32_t b)
{
	int rc;

	*f = (struct hflip){ .word = word, .a = a, .b = b };
	rc = -pthread_create(&f->thread, NULL, flip, f);
	/* on a busy machine all that it is to disturb could be over before it has had a processor */
	while (rc == 0 && __atomic_load_n(&f->flips, __ATOMIC_RELAXED) == 0)
		sched_yield();
	return rc;
}

void hflip_stop(struct hflip *f)
{
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
}
