// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of a disk.  step() looks at both ends in the store and does what the phase asks for; it is the
 * only place that writes our state or changes the phase, and it may run any number of times. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "disk-impl.h"
#include "offer.h"

#define CLOSE_ACK_MS  1000  /* after our 5 the back end has so long to say 5, too */
#define CLOSE_WAIT_MS 5000  /* and in all so long to let go of our pages; then they are leaked */
#define STABLE_MS     5000  /* a connection that lasted this long does not count as failed */
#define RETRY_MIN_MS    10
#define RETRY_MAX_MS  5000

void pvf_disk_dead(struct pvf_disk *disk, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (disk->dead)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	disk->dead = true;
	pvb_err(&disk->error, -EPROTO, "vbd %u: %s", disk->devid, text);
	pvf_disk_poke(disk);
}

/* --- what both ends say ----------------------------------------------------------------------------- */

struct view {
	bool there;              /* our directory names a back end */
	char *back;
	enum pvb_state own, peer;
	bool online;
};

/* False: the store can not be asked at the moment, so nothing can be concluded. */
static bool look(struct pvf_disk *disk, struct view *v)
{
	struct pvb_store *st = disk->guest->store;
	char path[PVB_STORE_VALUE_MAX + 16];
	uint64_t online;
	int rc;

	memset(v, 0, sizeof(*v));
	snprintf(path, sizeof(path), "%s/%s", disk->dir, pvb_vbd_front[VBD_F_BACKEND].name);
	rc = pvb_store_read(st, PVB_NO_TXN, path, &v->back);
	if (rc < 0)
		return rc == -ENOENT;
	v->own = pvb_state_read(st, PVB_NO_TXN, disk->dir);
	v->there = v->own != PVB_UNKNOWN;
	v->peer = pvb_state_read(st, PVB_NO_TXN, v->back);
	if (v->peer == PVB_RECONFIGURING || v->peer == PVB_RECONFIGURED)
		v->peer = PVB_CONNECTED;
	snprintf(path, sizeof(path), "%s/%s", v->back, pvb_vbd_back[VBD_B_ONLINE].name);
	v->online = pvb_store_read_u64(st, PVB_NO_TXN, path, 0, 1, &online) < 0 || online == 1;
	return true;
}

/* Walk our own state to `to` by legal moves; a write fails only when the device is being removed. */
static void own_state(struct pvf_disk *disk, struct view *v, enum pvb_state to)
{
	enum pvb_state next;

	while (v->own != to) {
		next = pvb_state_legal_front(v->own, to) ? to :
		       v->own == PVB_CLOSED		 ? PVB_INITIALISING :
		       v->own == PVB_CLOSING		 ? PVB_CLOSED :
							   PVB_CLOSING;
		if (pvb_state_write(disk->guest->store, disk->dir, next) < 0)
			return;
		v->own = next;
	}
	disk->own = to;
}

/* Where a Linux front end reports, too; for people who look there.  Best effort. */
static void publish_error(struct pvf_disk *disk)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/error/device/vbd/%u/error", disk->guest->home, disk->devid);
	if (disk->error.code != 0)
		pvb_store_printf(disk->guest->store, PVB_NO_TXN, path, "%d %s", -disk->error.code, disk->error.text);
	else
		pvb_store_rm(disk->guest->store, PVB_NO_TXN, path);
}

static void set_phase(struct pvf_disk *disk, enum pvf_phase phase)
{
	if (disk->phase == phase)
		return;
	disk->phase = phase;
	disk->since_ms = pvb_now_ms();
	disk->changed = true;
}

static void step_again(void *arg)
{
	pvf_disk_poke(arg);
}

static void step_in(struct pvf_disk *disk, uint64_t ms)
{
	pvb_source_free(&disk->timer);
	pvb_loop_timer(disk->guest->loop, ms, step_again, disk, &disk->timer);
}

/* --- requests that can not go on -------------------------------------------------------------------- */

void pvf_disk_fail_all(struct pvf_disk *disk, int rc)
{
	struct pvf_list list;
	struct pvf_req *req;

	for (unsigned i = 0; i < PVF_MAX_QUEUES; i++) {
		list = disk->lists[i]; /* done() may submit: what it adds is not failed here */
		memset(&disk->lists[i], 0, sizeof(disk->lists[i]));
		while ((req = list.head) != NULL) {
			pvf_list_del(&list, req);
			disk->stats.errors++;
			req->done(req, rc);
		}
	}
}

static bool keeps(const struct pvf_disk *disk)
{
	return disk->opt.wait && !disk->stopping && !disk->dead;
}

static void park_or_fail(struct pvf_disk *disk, int rc)
{
	if (!keeps(disk)) {
		pvf_disk_fail_all(disk, rc);
		return;
	}
	for (unsigned i = 0; i < PVF_MAX_QUEUES; i++)
		pvf_list_restart(&disk->lists[i]);
}

/* --- phases ----------------------------------------------------------------------------------------- */

/* Our directory was removed, or made anew for another device: nothing of the old one may be written. */
static void abandon(struct pvf_disk *disk, enum pvf_phase phase)
{
	pvf_connect_stop(disk);
	set_phase(disk, phase);
	pvf_disk_fail_all(disk, -ENODEV);
	pvf_connect_free(disk);
	pvb_store_unwatch(&disk->watch_back);
	free(disk->back);
	disk->back = NULL;
	disk->dead = false;
	disk->was_live = false;
	disk->retry_ms = 0;
	disk->info.generation++;
	disk->own = PVB_INITIALISING;
	memset(&disk->error, 0, sizeof(disk->error));
	if (phase == PVF_GONE)
		pvb_err(&disk->error, -ENODEV, "vbd %u: the device was removed", disk->devid);
}

void pvf_disk_changed(void *arg, const char *path)
{
	pvf_disk_poke(arg);
}

/* Learn who the back end is.  The path must name our domain and device, and the domain our key says. */
static int adopt(struct pvf_disk *disk, const char *back, struct pvb_error *err)
{
	const struct pvb_key *key = &pvb_vbd_front[VBD_F_BACKEND_ID];
	struct pvb_device_id id;
	char path[PVB_STORE_VALUE_MAX + 16], kind[16];
	uint64_t domid;
	int rc;

	rc = pvb_device_parse(back, &id, kind);
	if (rc < 0 || id.front != disk->guest->domid || id.devid != disk->devid)
		return pvb_err(err, -EPROTO,
			       "vbd %u: backend is \"%.100s\", not a directory for device %u of domain %u", disk->devid,
			       back, disk->devid, disk->guest->domid);
	snprintf(path, sizeof(path), "%s/%s", disk->dir, key->name);
	rc = pvb_store_read_u64(disk->guest->store, PVB_NO_TXN, path, key->min, key->max, &domid);
	if (rc < 0 || domid != id.back)
		return pvb_err(err, rc < 0 ? rc : -EPROTO, "vbd %u: backend-id does not say %u as backend does",
			       disk->devid, id.back);
	disk->back = strdup(back);
	if (disk->back == NULL)
		return pvb_err(err, -ENOMEM, "vbd %u: out of memory", disk->devid);
	disk->back_domid = id.back;
	snprintf(path, sizeof(path), "%s/state", disk->back);
	rc = pvb_store_watch(disk->guest->store, path, pvf_disk_changed, disk, &disk->watch_back);
	if (rc == 0)
		return 0;
	free(disk->back);
	disk->back = NULL;
	return pvb_err(err, rc, "vbd %u: %s can not be watched", disk->devid, path);
}

/* Let the other end notice, then give the rings up.  The back end may map our pages until it says 6. */
static void closing(struct pvf_disk *disk, struct view *v)
{
	uint64_t now = pvb_now_ms();

	if (v->own != PVB_CLOSED && (v->peer != PVB_CONNECTED || now >= disk->since_ms + CLOSE_ACK_MS))
		own_state(disk, v, PVB_CLOSED);
	if (v->own == PVB_CLOSED &&
	    ((v->peer != PVB_CONNECTED && v->peer != PVB_CLOSING) || now >= disk->since_ms + CLOSE_WAIT_MS)) {
		pvf_connect_free(disk);
		publish_error(disk);
		set_phase(disk, disk->dead ? PVF_DEAD : PVF_DOWN);
		pvf_disk_poke(disk);
		return;
	}
	step_in(disk, now < disk->since_ms + CLOSE_ACK_MS ? disk->since_ms + CLOSE_ACK_MS - now :
							    disk->since_ms + CLOSE_WAIT_MS - now);
}

/* The same when there is no store any more to meet in. */
static void closing_alone(struct pvf_disk *disk)
{
	pvf_connect_stop(disk);
	set_phase(disk, PVF_DOWN);
	pvf_disk_fail_all(disk, -EIO);
	pvf_connect_free(disk);
}

static void begin_close(struct pvf_disk *disk, struct view *v)
{
	/* a back end that comes and goes is asked ever more seldom */
	if (disk->phase == PVF_LIVE && pvb_now_ms() - disk->since_ms >= STABLE_MS)
		disk->retry_ms = 0;
	else
		disk->retry_ms = disk->retry_ms == 0 ? RETRY_MIN_MS :
				 disk->retry_ms * 2 < RETRY_MAX_MS ? disk->retry_ms * 2 : RETRY_MAX_MS;
	pvf_connect_stop(disk);
	set_phase(disk, PVF_CLOSING);
	own_state(disk, v, PVB_CLOSING);
	park_or_fail(disk, -EIO);
	closing(disk, v);
}

/* A connection can not be made: whose fault decides whether to try again. */
static void refuse(struct pvf_disk *disk, struct view *v, const struct pvb_error *err)
{
	disk->error = *err;
	disk->dead = err->code == -EPROTO || err->code == -EINVAL || err->code == -ERANGE || err->code == -E2BIG;
	begin_close(disk, v);
}

static void peer_left(struct pvf_disk *disk, struct view *v)
{
	char path[PVB_STORE_VALUE_MAX + 16], *text = NULL;

	if (disk->stopping || disk->dead)
		return;
	snprintf(path, sizeof(path), "%s/%s", disk->back, pvb_vbd_back[VBD_B_ERROR].name);
	if (pvb_store_read(disk->guest->store, PVB_NO_TXN, path, &text) < 0 || text[0] == '\0')
		pvb_err(&disk->error, -EIO, "vbd %u: the back end went to state %u (%s)", disk->devid, v->peer,
			pvb_state_name(v->peer));
	else
		pvb_err(&disk->error, -EIO, "vbd %u: the back end went to state %u: %.150s", disk->devid, v->peer,
			text);
	free(text);
}

static void waiting(struct pvf_disk *disk, struct view *v)
{
	struct pvb_error err = { 0 };
	uint64_t now = pvb_now_ms();

	if (disk->stopping) {
		own_state(disk, v, PVB_CLOSED);
		set_phase(disk, PVF_DOWN);
		return;
	}
	switch (v->peer) {
	case PVB_INIT_WAIT:
	case PVB_INITIALISED:
		if (now < disk->since_ms + disk->retry_ms) {
			step_in(disk, disk->since_ms + disk->retry_ms - now);
			return;
		}
		own_state(disk, v, PVB_INITIALISING);
		if (pvf_connect_offer(disk, &err) < 0) {
			refuse(disk, v, &err);
			return;
		}
		own_state(disk, v, PVB_INITIALISED);
		set_phase(disk, PVF_OFFERED);
		return;
	case PVB_CONNECTED: /* to somebody who used this domain before us */
		own_state(disk, v, PVB_CLOSING);
		return;
	case PVB_CLOSING:
		own_state(disk, v, PVB_CLOSED);
		return;
	case PVB_CLOSED:
		if (v->online)
			own_state(disk, v, PVB_INITIALISING); /* asks it to go to 2 */
		return;
	default:
		return; /* it is still starting */
	}
}

/* Requests that were kept may not fit the disk as it is now. */
static void issue_all(struct pvf_disk *disk)
{
	struct pvf_req *req, *next;
	unsigned i;
	int rc;

	for (i = disk->nr_queues; i < PVF_MAX_QUEUES; i++) {
		while ((req = disk->lists[i].head) != NULL) {
			pvf_list_del(&disk->lists[i], req);
			pvf_list_add(&disk->lists[i % disk->nr_queues], req);
		}
	}
	for (i = 0; i < disk->nr_queues; i++) {
		for (req = disk->lists[i].head; req != NULL; req = next) {
			next = req->next;
			rc = pvf_disk_check(disk, req);
			if (rc == 0)
				continue;
			pvf_list_del(&disk->lists[i], req);
			disk->stats.errors++;
			req->done(req, rc);
		}
		pvf_queue_issue(&disk->queues[i]);
	}
	pvf_disk_kick(disk);
}

static void offered(struct pvf_disk *disk, struct view *v)
{
	struct pvb_error err = { 0 };

	if (disk->stopping) {
		begin_close(disk, v);
		return;
	}
	switch (v->peer) {
	case PVB_INIT_WAIT:
	case PVB_INITIALISED:
		return;
	case PVB_CONNECTED:
		if (pvf_connect_live(disk, &err) < 0) {
			refuse(disk, v, &err);
			return;
		}
		own_state(disk, v, PVB_CONNECTED);
		memset(&disk->error, 0, sizeof(disk->error));
		publish_error(disk);
		disk->stats.connects++;
		disk->was_live = true;
		set_phase(disk, PVF_LIVE);
		issue_all(disk);
		return;
	default:
		peer_left(disk, v);
		begin_close(disk, v);
	}
}

static void live(struct pvf_disk *disk, struct view *v)
{
	struct pvb_error err = { 0 };
	int rc;

	if (disk->stopping || disk->dead) {
		begin_close(disk, v);
		return;
	}
	if (v->peer != PVB_CONNECTED) {
		peer_left(disk, v);
		begin_close(disk, v);
		return;
	}
	rc = pvf_connect_resize(disk, &err);
	if (rc < 0)
		refuse(disk, v, &err);
	else if (rc > 0)
		disk->changed = true;
}

static void down(struct pvf_disk *disk, struct view *v)
{
	if (disk->stopping || !v->online)
		return;
	/* in 6 it waits for our 1; one that never served us may have its reasons and must come to 2 itself */
	if (v->peer == PVB_INIT_WAIT || (v->peer == PVB_CLOSED && (disk->opt.wait || disk->was_live))) {
		set_phase(disk, PVF_WAITING);
		pvf_disk_poke(disk);
	}
}

/* Somebody else set our state back to the beginning: the device was removed and made again between two looks. */
static bool remade(const struct pvf_disk *disk, const struct view *v)
{
	return disk->back != NULL &&
	       (strcmp(v->back, disk->back) != 0 || (v->own == PVB_INITIALISING && disk->own != PVB_INITIALISING));
}

static void act(struct pvf_disk *disk, struct view *v)
{
	struct pvb_error err = { 0 };

	if (!v->there) {
		if (disk->phase != PVF_GONE)
			abandon(disk, PVF_GONE);
		return;
	}
	if (remade(disk, v))
		abandon(disk, PVF_WAITING);
	else if (disk->phase == PVF_GONE)
		set_phase(disk, PVF_WAITING);
	if (disk->back == NULL && disk->phase == PVF_WAITING && !disk->stopping) {
		if (adopt(disk, v->back, &err) < 0) {
			disk->error = err;
			set_phase(disk, PVF_DEAD);
			return;
		}
	}
	switch (disk->phase) {
	case PVF_WAITING:
		waiting(disk, v);
		break;
	case PVF_OFFERED:
		offered(disk, v);
		break;
	case PVF_LIVE:
		live(disk, v);
		break;
	case PVF_CLOSING:
		closing(disk, v);
		break;
	case PVF_DOWN:
		down(disk, v);
		break;
	default:
		break;
	}
}

static void step(void *arg)
{
	struct pvf_disk *disk = arg;
	struct view v;

	if (look(disk, &v))
		act(disk, &v);
	else if (disk->phase == PVF_CLOSING || disk->stopping)
		closing_alone(disk);
	free(v.back);
	if (!disk->changed)
		return;
	disk->changed = false;
	if (disk->opt.changed != NULL)
		disk->opt.changed(disk->opt.arg, disk);
}

void pvf_disk_poke(struct pvf_disk *disk)
{
	if (disk->step == NULL)
		pvb_loop_timer(disk->guest->loop, 0, step, disk, &disk->step);
}
