/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vbd-nodes.c: what a disk's directories in the store say, and what we say in them.  It decides nothing about
 * states. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "supervisor.h"
#include "vbd.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>
#include <xen/io/protocols.h>

#define OUR_SCRIPT "block-pvbus"

static bool is_ours(const char *script)
{
	return !script || !*script || device_script_is(script, OUR_SCRIPT);
}

/* The text to open: with our script the argument as it stands; with Xen's own `block` script the device that
 * the script has set up. */
static int target_text(struct pvb_value *k, char *buf, size_t len, struct pvb_error *err)
{
	unsigned major, minor;

	if (is_ours(k[VBD_B_SCRIPT].str)) {
		const char *params = k[VBD_B_PARAMS].str;

		if (!params || !*params)
			return pvb_err(err, -EINVAL, "no target: params is missing");
		/* type "tap" has the format in front */
		if (k[VBD_B_TYPE].str && strcmp(k[VBD_B_TYPE].str, "tap") == 0 && strncmp(params, "raw:", 4) == 0)
			params += 4;
		snprintf(buf, len, "%s", params);
	} else if (k[VBD_B_PHYSICAL_DEVICE_PATH].present) {
		snprintf(buf, len, "%s", k[VBD_B_PHYSICAL_DEVICE_PATH].str);
	} else if (k[VBD_B_PHYSICAL_DEVICE].present &&
		   sscanf(k[VBD_B_PHYSICAL_DEVICE].str, "%x:%x", &major, &minor) == 2) {
		snprintf(buf, len, "/dev/block/%u:%u", major, minor);
	} else {
		return pvb_err(err, -EINVAL, "the hotplug script %s left neither physical-device-path nor physical-device",
			       k[VBD_B_SCRIPT].str);
	}
	return 0;
}

static int on_off(const struct target *t, const char *key, bool def, bool *out, struct pvb_error *err)
{
	static const char *const words[] = { "off", "on", NULL };
	int i = target_choice(t, key, words, def, err);

	if (i < 0)
		return i;
	*out = i == 1;
	return 0;
}

/* The options that are the protocol's, not the provider's. */
static int read_options(struct vbd *v, bool direct_io_safe, struct pvb_error *err)
{
	static const char *const policy_key[BLK_ERR_NR] = { "on-enospc", "on-flush-error", "on-io-error" };
	static const enum blk_policy policy_def[BLK_ERR_NR] = { BLK_RETRY, BLK_RETRY, BLK_REPORT };
	const struct sup_options *o = &v->dev.sup->o;
	uint64_t queues, order, indirect;
	int rc, i;

	rc = target_number(v->target, "queues", 1, PVB_VBD_MAX_QUEUES, o->max_queues, &queues, err);
	if (rc == 0)
		rc = target_number(v->target, "ring-order", 0, PVB_VBD_MAX_RING_ORDER, o->max_ring_order, &order, err);
	if (rc == 0)
		rc = target_number(v->target, "indirect", 0, PVB_VBD_MAX_INDIRECT, o->max_indirect, &indirect, err);
	if (rc == 0)
		rc = on_off(v->target, "persistent", o->persistent, &v->offer_persistent, err);
	if (rc == 0)
		rc = on_off(v->target, "stable-writes", false, &v->cfg.stable_writes, err);
	if (rc < 0)
		return rc;
	v->max_queues = (unsigned)queues;
	v->max_ring_order = (unsigned)order;
	v->cfg.max_indirect = (unsigned)indirect;
	for (i = 0; i < BLK_ERR_NR; i++) {
		rc = target_choice(v->target, policy_key[i], blk_policy_name, (int)policy_def[i], err);
		if (rc < 0)
			return rc;
		v->cfg.policy[i] = (enum blk_policy)rc;
	}
	/* the guest's own pages go to the device only where the administrator said that is safe */
	rc = target_choice(v->target, "data", blk_data_name, direct_io_safe ? BLK_DATA_AUTO : BLK_DATA_COPY, err);
	if (rc < 0)
		return rc;
	v->cfg.data = (enum blk_data)rc;
	return 0;
}

#define TOLD_BY_TOOL (PVB_NODE(VBD_B_FRONTEND) | PVB_NODE(VBD_B_FRONTEND_ID) | PVB_NODE(VBD_B_PARAMS) | PVB_NODE(VBD_B_SCRIPT) | \
		      PVB_NODE(VBD_B_TYPE) | PVB_NODE(VBD_B_MODE) | PVB_NODE(VBD_B_DEVICE_TYPE) | \
		      PVB_NODE(VBD_B_DIRECT_IO_SAFE) | PVB_NODE(VBD_B_DISCARD_ENABLE) | \
		      PVB_NODE(VBD_B_PHYSICAL_DEVICE) | PVB_NODE(VBD_B_PHYSICAL_DEVICE_PATH))
#define PROMISED (PVB_NODE(VBD_B_MAX_QUEUES) | PVB_NODE(VBD_B_MAX_RING_ORDER) | PVB_NODE(VBD_B_MAX_INDIRECT) | \
		  PVB_NODE(VBD_B_PERSISTENT) | PVB_NODE(VBD_B_WRITE_ZEROES) | PVB_NODE(VBD_B_BARRIER))

int vbd_read_config(struct vbd *v, struct pvb_error *err)
{
	struct pvb_value k[VBD_B_NR];
	char text[IPC_TARGET_MAX];
	int rc;

	rc = pvb_nodes_read_some(v->dev.sup->store, PVB_NO_TXN, v->dev.back, pvb_vbd_back, VBD_B_NR,
				 TOLD_BY_TOOL | (v->found ? PROMISED : 0), k, err);
	if (rc < 0)
		return rc;
	rc = device_check_front(&v->dev, &k[VBD_B_FRONTEND], &k[VBD_B_FRONTEND_ID], err);
	if (rc == 0)
		rc = target_text(k, text, sizeof(text), err);
	if (rc == 0) {
		target_free(v->target);
		v->target = NULL;
		rc = target_parse(text, &v->target, err);
	}
	v->direct_io_safe = k[VBD_B_DIRECT_IO_SAFE].num != 0;
	if (rc == 0 && v->direct_io_safe)
		rc = target_default(v->target, "direct-io-safe", "on", err);
	if (rc == 0) {
		memset(&v->cfg, 0, sizeof(v->cfg));
		v->readonly = !k[VBD_B_MODE].present || strchr(k[VBD_B_MODE].str, 'w') == NULL;
		v->cdrom = k[VBD_B_DEVICE_TYPE].present && strcmp(k[VBD_B_DEVICE_TYPE].str, "cdrom") == 0;
		v->cfg.devid = v->dev.id.devid;
		v->cfg.readonly = v->readonly;
		v->cfg.discard = k[VBD_B_DISCARD_ENABLE].num && !v->readonly;
		v->offer_write_zeroes = !v->readonly;
		v->cfg.barrier = v->dev.sup->o.barrier;
		rc = read_options(v, v->direct_io_safe, err);
	}
	if (rc == 0 && v->found) { /* what its front end was promised, not what we would promise */
		if (k[VBD_B_MAX_QUEUES].present)
			v->max_queues = (unsigned)k[VBD_B_MAX_QUEUES].num;
		if (k[VBD_B_MAX_RING_ORDER].present)
			v->max_ring_order = (unsigned)k[VBD_B_MAX_RING_ORDER].num;
		v->cfg.max_indirect = (unsigned)k[VBD_B_MAX_INDIRECT].num;
		v->offer_persistent = k[VBD_B_PERSISTENT].num;
		v->offer_write_zeroes = k[VBD_B_WRITE_ZEROES].num;
		v->cfg.barrier = k[VBD_B_BARRIER].num;
	}
	pvb_nodes_free(k, VBD_B_NR);
	return rc;
}

int vbd_check(struct supervisor *sup, const char *back, struct pvb_error *err)
{
	struct vbd v = { 0 };
	struct pvb_device_id id;
	char kind[16];
	int rc;

	if (pvb_device_parse(back, &id, kind) < 0)
		return pvb_err(err, -EINVAL, "%.100s is not a back end's directory", back);
	device_init(&v.dev, sup, &vbd_ops, &id, kind);
	rc = vbd_read_config(&v, err);
	if (rc == 0)
		rc = disk_prepare(v.target, v.readonly, v.fds, &v.nr_fds, v.identity, err);
	if (rc == 0) {
		rc = vbd_lock_check(&v, err);
		ipc_close_fds(v.fds, v.nr_fds);
	}
	target_free(v.target);
	return rc;
}

/* ---- publishing -------------------------------------------------------------------------------------- */

static int put(struct vbd *v, struct pvb_store *st, pvb_txn t, enum pvb_vbd_back key, uint64_t value)
{
	return pvb_nodes_write_u64(st, t, v->dev.back, &pvb_vbd_back[key], value);
}

static int limits_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct vbd *v = arg;
	int rc;

	if (!pvb_store_exists(st, t, v->dev.back))
		return -ENOENT;
	rc = put(v, st, t, VBD_B_MAX_QUEUES, v->max_queues);
	if (rc == 0)
		rc = put(v, st, t, VBD_B_MAX_RING_ORDER, v->max_ring_order);
	if (rc == 0 && v->cfg.max_indirect)
		rc = put(v, st, t, VBD_B_MAX_INDIRECT, v->cfg.max_indirect);
	/* among the limits, as a front end says with its rings whether it is going to */
	if (rc == 0)
		rc = put(v, st, t, VBD_B_WRITE_ZEROES, v->offer_write_zeroes);
	return rc;
}

int vbd_publish_limits(struct device *d, struct pvb_error *err)
{
	struct vbd *v = vbd_of(d);
	const struct sup_options *o = &d->sup->o;
	int rc;

	v->found = false;
	/* a target that makes no sense is told by the hotplug script or at connect; the defaults do until then */
	if (vbd_read_config(v, err) < 0) {
		v->max_queues = o->max_queues;
		v->max_ring_order = o->max_ring_order;
		v->cfg.max_indirect = o->max_indirect;
	}
	rc = pvb_store_txn(d->sup->store, limits_txn, v);
	return rc < 0 ? pvb_err(err, rc, "limits can not be published: %s", strerror(-rc)) : 0;
}

static int disk_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct vbd *v = arg;
	const struct disk_info *d = &v->info;
	bool discard = v->cfg.discard && d->discard_granularity;
	unsigned info = (v->cdrom ? VDISK_CDROM : 0) | (v->readonly ? VDISK_READONLY : 0);
	struct { enum pvb_vbd_back key; uint64_t value; } keys[] = {
		{ VBD_B_FLUSH, d->flush && !v->readonly },
		{ VBD_B_BARRIER, v->cfg.barrier && !v->readonly },
		{ VBD_B_DISCARD_GRANULARITY, discard ? d->discard_granularity : 0 },
		{ VBD_B_DISCARD_ALIGNMENT, 0 },
		{ VBD_B_DISCARD_SECURE, discard && d->secure_discard },
		{ VBD_B_DISCARD, discard },
		{ VBD_B_PERSISTENT, v->offer_persistent },
		{ VBD_B_SECTORS, d->size / 512 },
		{ VBD_B_INFO, info },
		{ VBD_B_SECTOR_SIZE, 512 }, /* always: peers disagree about the units of anything else */
		{ VBD_B_PHYSICAL_SECTOR_SIZE, d->physical_block },
	};
	int rc = 0;

	if (!pvb_store_exists(st, t, v->dev.back))
		return -ENOENT;
	for (unsigned i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
		rc = put(v, st, t, keys[i].key, keys[i].value);
	return rc;
}

int vbd_publish_disk(struct vbd *v)
{
	return pvb_store_txn(v->dev.sup->store, disk_txn, v);
}

static int size_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct vbd *v = arg;

	if (pvb_state_read(st, t, v->dev.back) != PVB_CONNECTED)
		return -ENOENT;
	if (put(v, st, t, VBD_B_SECTORS, v->info.size / 512) < 0)
		return -EIO;
	return put(v, st, t, VBD_B_STATE, PVB_CONNECTED); /* the same value again is the signal */
}

int vbd_publish_size(struct vbd *v)
{
	return pvb_store_txn(v->dev.sup->store, size_txn, v);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

struct front_read {
	struct vbd *v;
	struct blk_connect *c;
	struct pvb_error *err;
};

/* A ring of one page that is not counted has one name for it, most of the time: what else could be there is not looked for. */
static int read_queue_keys(struct pvb_store *st, pvb_txn t, struct front_read *f, const char *dir, bool ordered, struct pvb_value *k)
{
	int rc;

	if (!ordered) {
		rc = pvb_nodes_read_some(st, t, dir, pvb_vbd_queue, VBD_Q_NR, PVB_NODE(VBD_Q_EVENT_CHANNEL) | PVB_NODE(VBD_Q_RING_REF),
					 k, f->err);
		if (rc < 0 || k[VBD_Q_RING_REF].present)
			return rc;
		pvb_nodes_free(k, VBD_Q_NR);
	}
	return pvb_nodes_read(st, t, dir, pvb_vbd_queue, VBD_Q_NR, k, f->err);
}

static int read_queue(struct pvb_store *st, pvb_txn t, struct front_read *f, unsigned i, bool multi, bool ordered)
{
	struct pvb_value k[VBD_Q_NR];
	char dir[200];
	unsigned n;
	int rc;

	snprintf(dir, sizeof(dir), multi ? "%s/queue-%u" : "%s", f->v->dev.front, i);
	rc = read_queue_keys(st, t, f, dir, ordered, k);
	if (rc < 0)
		return rc;
	if (!k[VBD_Q_EVENT_CHANNEL].present)
		rc = pvb_err(f->err, -ENOENT, "queue %u: event-channel is missing", i);
	f->c->queue[i].event_channel = (uint32_t)k[VBD_Q_EVENT_CHANNEL].num;
	if (f->c->ring_pages == 1 && k[VBD_Q_RING_REF].present && !(ordered && k[VBD_Q_RING_REF0].present)) {
		f->c->queue[i].refs[0] = (uint32_t)k[VBD_Q_RING_REF].num; /* either spelling when order is 0 */
	} else {
		for (n = 0; rc == 0 && n < f->c->ring_pages; n++) {
			if (!k[VBD_Q_RING_REF0 + n].present)
				rc = pvb_err(f->err, -ENOENT, "queue %u: ring-ref%u is missing, the ring has %u pages", i, n,
					     f->c->ring_pages);
			f->c->queue[i].refs[n] = (uint32_t)k[VBD_Q_RING_REF0 + n].num;
		}
	}
	pvb_nodes_free(k, VBD_Q_NR);
	return rc;
}

static int read_abi(const char *text, enum blk_abi *abi, struct pvb_error *err)
{
	/* blkback takes a silent front end for a 32-bit one; today's all say what they are */
	if (!text || strcmp(text, XEN_IO_PROTO_ABI_X86_32) == 0)
		*abi = BLK_ABI_32;
	else if (strcmp(text, XEN_IO_PROTO_ABI_X86_64) == 0)
		*abi = BLK_ABI_64;
	else
		return pvb_err(err, -EPROTONOSUPPORT, "protocol is \"%.32s\", served are x86_32-abi and x86_64-abi", text);
	return 0;
}

int vbd_read_front(struct device *d, struct pvb_store *st, pvb_txn t, union ipc_connect *connect, struct pvb_error *err)
{
	struct blk_connect *c = &connect->blk;
	struct vbd *v = vbd_of(d);
	struct front_read f = { .v = v, .c = c, .err = err };
	struct pvb_value k[VBD_F_NR];
	int rc;

	rc = pvb_nodes_read_some(st, t, d->front, pvb_vbd_front, VBD_F_NR,
				 PVB_NODE(VBD_F_BACKEND) | PVB_NODE(VBD_F_PROTOCOL) | PVB_NODE(VBD_F_NUM_QUEUES) |
					 PVB_NODE(VBD_F_RING_ORDER) | PVB_NODE(VBD_F_PERSISTENT) | PVB_NODE(VBD_F_WRITE_ZEROES),
				 k, err);
	if (rc < 0)
		return rc;
	c->nr_queues = (uint32_t)k[VBD_F_NUM_QUEUES].num;
	c->ring_pages = 1u << k[VBD_F_RING_ORDER].num;
	c->persistent = k[VBD_F_PERSISTENT].num && v->offer_persistent;
	c->write_zeroes = k[VBD_F_WRITE_ZEROES].num && v->offer_write_zeroes;
	if (c->nr_queues > v->max_queues)
		rc = pvb_err(err, -ERANGE, "multi-queue-num-queues is %u, offered are %u", c->nr_queues, v->max_queues);
	else if (k[VBD_F_RING_ORDER].num > v->max_ring_order)
		rc = pvb_err(err, -ERANGE, "ring-page-order is %llu, offered is %u",
			     (unsigned long long)k[VBD_F_RING_ORDER].num, v->max_ring_order);
	else if (k[VBD_F_BACKEND].present && strcmp(k[VBD_F_BACKEND].str, d->back) != 0)
		rc = pvb_err(err, -EINVAL, "the front end's backend key says %.80s", k[VBD_F_BACKEND].str);
	else
		rc = read_abi(k[VBD_F_PROTOCOL].str, &c->abi, err);
	for (unsigned i = 0; rc == 0 && i < c->nr_queues; i++)
		rc = read_queue(st, t, &f, i, c->nr_queues > 1, k[VBD_F_RING_ORDER].present);
	pvb_nodes_free(k, VBD_F_NR);
	return rc;
}
