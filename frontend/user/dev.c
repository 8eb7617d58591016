// SPDX-License-Identifier: GPL-2.0-or-later
/* See dev.h.  step() looks at both ends in the store and does what the phase asks for; it is the only place that
 * writes our state or changes the phase. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dev.h"
#include "offer.h"

#define CLOSE_ACK_MS  1000  /* after our 5 the back end has so long to say 5, too */
#define CLOSE_WAIT_MS 5000  /* and in all so long to let go of our pages; then they are leaked */
#define STABLE_MS     5000  /* a connection that lasted this long does not count as failed */
#define RETRY_MIN_MS    10
#define RETRY_MAX_MS  5000

const char *pvf_phase_name(enum pvf_phase phase)
{
	static const char *const names[] = { "waiting", "offered", "live", "closing", "down", "gone", "dead" };

	return names[phase];
}

void pvf_dev_dead(struct pvf_dev *dev, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (dev->dead)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev->dead = true;
	pvb_err(&dev->error, -EPROTO, "%s %u: %s", dev->ops->kind, dev->devid, text);
	pvf_dev_poke(dev);
}

/* --- what both ends say ----------------------------------------------------------------------------- */

struct view {
	bool there;              /* our directory names a back end */
	char *back;
	enum pvb_state own, peer;
};

/* False: the store can not be asked at the moment, so nothing can be concluded. */
static bool look(struct pvf_dev *dev, struct view *v)
{
	struct pvb_store *st = dev->guest->store;
	char path[PVB_STORE_VALUE_MAX + 16];
	int rc;

	memset(v, 0, sizeof(*v));
	snprintf(path, sizeof(path), "%s/%s", dev->dir, pvb_vbd_front[VBD_F_BACKEND].name);
	rc = pvb_store_read(st, PVB_NO_TXN, path, &v->back);
	if (rc < 0)
		return rc == -ENOENT;
	v->own = pvb_state_read(st, PVB_NO_TXN, dev->dir);
	v->there = v->own != PVB_UNKNOWN;
	v->peer = pvb_state_read(st, PVB_NO_TXN, v->back);
	if (v->peer == PVB_RECONFIGURING || v->peer == PVB_RECONFIGURED)
		v->peer = PVB_CONNECTED;
	return true;
}

/* Will the device be offered again? */
static bool online(const struct pvf_dev *dev, const struct view *v)
{
	char path[PVB_STORE_VALUE_MAX + 16];
	uint64_t value;

	snprintf(path, sizeof(path), "%s/%s", v->back, pvb_vbd_back[VBD_B_ONLINE].name);
	return pvb_store_read_u64(dev->guest->store, PVB_NO_TXN, path, 0, 1, &value) < 0 || value == 1;
}

/* Walk our own state to `to` by legal moves; a write fails only when the device is being removed. */
static void own_state(struct pvf_dev *dev, struct view *v, enum pvb_state to)
{
	enum pvb_state next;

	while (v->own != to) {
		next = pvb_state_legal_front(v->own, to) ? to :
		       v->own == PVB_CLOSED		 ? PVB_INITIALISING :
		       v->own == PVB_CLOSING		 ? PVB_CLOSED :
							   PVB_CLOSING;
		if (pvb_state_write(dev->guest->store, dev->dir, next) < 0)
			return;
		v->own = next;
	}
	dev->own = to;
}

/* Where a Linux front end reports, too; for people who look there.  Best effort. */
static void publish_error(struct pvf_dev *dev)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/error/device/%s/%u/error", dev->guest->home,
		 dev->ops->kind, dev->devid);
	if (dev->error.code != 0)
		pvb_store_printf(dev->guest->store, PVB_NO_TXN, path, "%d %s", -dev->error.code, dev->error.text);
	else
		pvb_store_rm(dev->guest->store, PVB_NO_TXN, path);
}

static void set_phase(struct pvf_dev *dev, enum pvf_phase phase)
{
	if (dev->phase == phase)
		return;
	dev->phase = phase;
	dev->since_ms = pvb_now_ms();
	dev->changed = true;
}

static void step_again(void *arg)
{
	pvf_dev_poke(arg);
}

static void step_in(struct pvf_dev *dev, uint64_t ms)
{
	pvb_source_free(&dev->timer);
	pvb_loop_timer(dev->guest->loop, ms, step_again, dev, &dev->timer);
}

/* --- phases ----------------------------------------------------------------------------------------- */

static void forget_back(struct pvf_dev *dev)
{
	pvb_store_unwatch(&dev->watch_back);
	pvb_store_unwatch(&dev->watch_carrier);
	free(dev->back);
	dev->back = NULL;
}

/* Our directory was removed, or made anew for another device: nothing of the old one may be written. */
static void abandon(struct pvf_dev *dev, enum pvf_phase phase)
{
	dev->ops->stop(dev);
	set_phase(dev, phase);
	dev->ops->fail(dev, -ENODEV);
	dev->ops->free(dev);
	forget_back(dev);
	dev->dead = false;
	dev->was_live = false;
	dev->retry_ms = 0;
	++*dev->generation;
	dev->own = PVB_INITIALISING;
	memset(&dev->error, 0, sizeof(dev->error));
	if (phase == PVF_GONE)
		pvb_err(&dev->error, -ENODEV, "%s %u: the device was removed", dev->ops->kind, dev->devid);
}

static void on_change(void *arg, const char *path)
{
	pvf_dev_poke(arg);
}

/* Of our own directory, where most that changes is what we write ourselves to connect. */
static void on_own_change(void *arg, const char *path)
{
	const char *const others[] = { /* somebody else writes, now or later */
		pvb_vbd_front[VBD_F_BACKEND].name, pvb_vbd_front[VBD_F_BACKEND_ID].name, pvb_vbd_front[VBD_F_STATE].name,
		pvb_vif_front[VIF_F_MTU].name,
	};
	struct pvf_dev *dev = arg;
	size_t len = strlen(dev->dir);
	bool look = strncmp(path, dev->dir, len) != 0 || path[len] != '/'; /* all of it, perhaps gone */

	for (size_t i = 0; !look && i < sizeof(others) / sizeof(others[0]); i++)
		look = strcmp(path + len + 1, others[i]) == 0;
	if (look)
		pvf_dev_poke(dev);
}

/* Keys of ours and of the back end that every kind of device has are looked up in the tables of vbd. */

static int watch_back(struct pvf_dev *dev, struct pvb_error *err)
{
	char path[PVB_STORE_VALUE_MAX + 16];
	int rc;

	snprintf(path, sizeof(path), "%s/state", dev->back);
	rc = pvb_store_watch(dev->guest->store, path, on_change, dev, &dev->watch_back);
	if (rc == 0 && dev->carrier) {
		snprintf(path, sizeof(path), "%s/%s", dev->back, pvb_vif_back[VIF_B_CARRIER].name);
		rc = pvb_store_watch(dev->guest->store, path, on_change, dev, &dev->watch_carrier);
	}
	if (rc < 0)
		pvb_err(err, rc, "%s %u: %.150s can not be watched", dev->ops->kind, dev->devid, path);
	return rc;
}

/* Learn who the back end is.  The path must name our domain and device, and the domain our key says. */
static int adopt(struct pvf_dev *dev, const char *back, struct pvb_error *err)
{
	const struct pvb_key *key = &pvb_vbd_front[VBD_F_BACKEND_ID];
	struct pvb_device_id id;
	char path[192], kind[16];
	uint64_t domid;
	int rc;

	rc = pvb_device_parse(back, &id, kind);
	if (rc < 0 || id.front != dev->guest->domid || id.devid != dev->devid)
		return pvb_err(err, -EPROTO,
			       "%s %u: backend is \"%.100s\", not a directory for device %u of domain %u",
			       dev->ops->kind, dev->devid, back, dev->devid, dev->guest->domid);
	snprintf(path, sizeof(path), "%s/%s", dev->dir, key->name);
	rc = pvb_store_read_u64(dev->guest->store, PVB_NO_TXN, path, key->min, key->max, &domid);
	if (rc < 0 || domid != id.back)
		return pvb_err(err, rc < 0 ? rc : -EPROTO, "%s %u: backend-id does not say %u as backend does",
			       dev->ops->kind, dev->devid, id.back);
	dev->back = strdup(back);
	if (dev->back == NULL)
		return pvb_err(err, -ENOMEM, "%s %u: out of memory", dev->ops->kind, dev->devid);
	dev->back_domid = id.back;
	rc = watch_back(dev, err);
	if (rc < 0)
		forget_back(dev);
	return rc;
}

/* Let the other end notice, then give the rings up.  The back end may map our pages until it says 6. */
static void closing(struct pvf_dev *dev, struct view *v)
{
	uint64_t now = pvb_now_ms();

	if (v->own != PVB_CLOSED && (v->peer != PVB_CONNECTED || now >= dev->since_ms + CLOSE_ACK_MS))
		own_state(dev, v, PVB_CLOSED);
	if (v->own == PVB_CLOSED &&
	    ((v->peer != PVB_CONNECTED && v->peer != PVB_CLOSING) || now >= dev->since_ms + CLOSE_WAIT_MS)) {
		dev->ops->free(dev);
		publish_error(dev);
		set_phase(dev, dev->dead ? PVF_DEAD : PVF_DOWN);
		pvf_dev_poke(dev);
		return;
	}
	step_in(dev, now < dev->since_ms + CLOSE_ACK_MS ? dev->since_ms + CLOSE_ACK_MS - now :
							    dev->since_ms + CLOSE_WAIT_MS - now);
}

/* The same when there is no store any more to meet in. */
static void closing_alone(struct pvf_dev *dev)
{
	dev->ops->stop(dev);
	set_phase(dev, PVF_DOWN);
	dev->ops->fail(dev, -EIO);
	dev->ops->free(dev);
}

static void begin_close(struct pvf_dev *dev, struct view *v)
{
	/* a back end that comes and goes is asked ever more seldom */
	if (dev->phase == PVF_LIVE && pvb_now_ms() - dev->since_ms >= STABLE_MS)
		dev->retry_ms = 0;
	else
		dev->retry_ms = dev->retry_ms == 0 ? RETRY_MIN_MS :
				 dev->retry_ms * 2 < RETRY_MAX_MS ? dev->retry_ms * 2 : RETRY_MAX_MS;
	dev->ops->stop(dev);
	set_phase(dev, PVF_CLOSING);
	own_state(dev, v, PVB_CLOSING);
	dev->ops->left(dev);
	closing(dev, v);
}

/* A connection can not be made: whose fault decides whether to try again. */
static void refuse(struct pvf_dev *dev, struct view *v, const struct pvb_error *err)
{
	dev->error = *err;
	dev->dead = err->code == -EPROTO || err->code == -EINVAL || err->code == -ERANGE || err->code == -E2BIG;
	begin_close(dev, v);
}

static void peer_left(struct pvf_dev *dev, struct view *v)
{
	char path[PVB_STORE_VALUE_MAX + 16], *text = NULL;

	if (dev->stopping || dev->dead)
		return;
	snprintf(path, sizeof(path), "%s/%s", dev->back, pvb_vbd_back[VBD_B_ERROR].name);
	if (pvb_store_read(dev->guest->store, PVB_NO_TXN, path, &text) < 0 || text[0] == '\0')
		pvb_err(&dev->error, -EIO, "%s %u: the back end went to state %u (%s)", dev->ops->kind,
			dev->devid, v->peer, pvb_state_name(v->peer));
	else
		pvb_err(&dev->error, -EIO, "%s %u: the back end went to state %u: %.150s", dev->ops->kind,
			dev->devid, v->peer, text);
	free(text);
}

static void waiting(struct pvf_dev *dev, struct view *v)
{
	struct pvb_error err = { 0 };
	uint64_t now = pvb_now_ms();

	if (dev->stopping) {
		own_state(dev, v, PVB_CLOSED);
		set_phase(dev, PVF_DOWN);
		return;
	}
	switch (v->peer) {
	case PVB_INIT_WAIT:
	case PVB_INITIALISED:
		if (now < dev->since_ms + dev->retry_ms) {
			step_in(dev, dev->since_ms + dev->retry_ms - now);
			return;
		}
		own_state(dev, v, PVB_INITIALISING);
		if (dev->ops->offer(dev, &err) < 0) {
			refuse(dev, v, &err);
			return;
		}
		v->own = dev->own = dev->ops->offered;
		set_phase(dev, PVF_OFFERED);
		return;
	case PVB_CONNECTED: /* to somebody who used this domain before us */
		own_state(dev, v, PVB_CLOSING);
		return;
	case PVB_CLOSING:
		own_state(dev, v, PVB_CLOSED);
		return;
	case PVB_CLOSED:
		if (online(dev, v))
			own_state(dev, v, PVB_INITIALISING); /* asks it to go to 2 */
		return;
	default:
		return; /* it is still starting */
	}
}

static void offered(struct pvf_dev *dev, struct view *v)
{
	struct pvb_error err = { 0 };

	if (dev->stopping) {
		begin_close(dev, v);
		return;
	}
	switch (v->peer) {
	case PVB_INIT_WAIT:
	case PVB_INITIALISED:
		return;
	case PVB_CONNECTED:
		if (dev->ops->connect(dev, &err) < 0) {
			refuse(dev, v, &err);
			return;
		}
		own_state(dev, v, PVB_CONNECTED);
		memset(&dev->error, 0, sizeof(dev->error));
		publish_error(dev);
				dev->was_live = true;
		set_phase(dev, PVF_LIVE);
		dev->ops->begin(dev);
		return;
	default:
		peer_left(dev, v);
		begin_close(dev, v);
	}
}

static void live(struct pvf_dev *dev, struct view *v)
{
	struct pvb_error err = { 0 };
	int rc;

	if (dev->stopping || dev->dead) {
		begin_close(dev, v);
		return;
	}
	if (v->peer != PVB_CONNECTED) {
		peer_left(dev, v);
		begin_close(dev, v);
		return;
	}
	rc = dev->ops->look(dev, &err);
	if (rc < 0)
		refuse(dev, v, &err);
	else if (rc > 0)
		dev->changed = true;
}

static void down(struct pvf_dev *dev, struct view *v)
{
	if (dev->stopping || !online(dev, v))
		return;
	/* in 6 it waits for our 1; one that never served us may have its reasons and must come to 2 itself */
	if (v->peer == PVB_INIT_WAIT || (v->peer == PVB_CLOSED && (dev->wait || dev->was_live))) {
		set_phase(dev, PVF_WAITING);
		pvf_dev_poke(dev);
	}
}

/* Somebody else set our state back to the beginning: the device was removed and made again between two looks. */
static bool remade(const struct pvf_dev *dev, const struct view *v)
{
	return dev->back != NULL &&
	       (strcmp(v->back, dev->back) != 0 || (v->own == PVB_INITIALISING && dev->own != PVB_INITIALISING));
}

static void act(struct pvf_dev *dev, struct view *v)
{
	struct pvb_error err = { 0 };

	if (!v->there) {
		if (dev->phase != PVF_GONE)
			abandon(dev, PVF_GONE);
		return;
	}
	if (remade(dev, v))
		abandon(dev, PVF_WAITING);
	else if (dev->phase == PVF_GONE)
		set_phase(dev, PVF_WAITING);
	if (dev->back == NULL && dev->phase == PVF_WAITING && !dev->stopping) {
		if (adopt(dev, v->back, &err) < 0) {
			dev->error = err;
			set_phase(dev, PVF_DEAD);
			return;
		}
	}
	switch (dev->phase) {
	case PVF_WAITING:
		waiting(dev, v);
		break;
	case PVF_OFFERED:
		offered(dev, v);
		break;
	case PVF_LIVE:
		live(dev, v);
		break;
	case PVF_CLOSING:
		closing(dev, v);
		break;
	case PVF_DOWN:
		down(dev, v);
		break;
	default:
		break;
	}
}

static void step(void *arg)
{
	struct pvf_dev *dev = arg;
	struct view v;

	if (look(dev, &v))
		act(dev, &v);
	else if (dev->phase == PVF_CLOSING || dev->stopping)
		closing_alone(dev);
	free(v.back);
	if (!dev->changed)
		return;
	dev->changed = false;
	dev->ops->tell(dev);
}

void pvf_dev_poke(struct pvf_dev *dev)
{
	if (dev->step == NULL)
		pvb_loop_timer(dev->guest->loop, 0, step, dev, &dev->step);
}

/* --- the calls ------------------------------------------------------------------------------------- */

int pvf_dev_open(struct pvf_dev *dev, const struct pvf_dev_ops *ops, struct pvf_guest *guest, uint32_t devid,
		 struct pvb_error *err)
{
	int rc;

	dev->ops = ops;
	dev->guest = guest;
	dev->devid = devid;
	snprintf(dev->dir, sizeof(dev->dir), "%s/device/%s/%u", guest->home, ops->kind, devid);
	if (!pvb_store_exists(guest->store, PVB_NO_TXN, dev->dir))
		return pvb_err(err, -ENOENT, "%s %u: no such device in domain %u", ops->kind, devid, guest->domid);
	dev->phase = PVF_WAITING;
	dev->own = PVB_INITIALISING;
	dev->since_ms = pvb_now_ms();
	rc = pvb_store_watch(guest->store, dev->dir, on_own_change, dev, &dev->watch_dir);
	if (rc < 0)
		return pvb_err(err, rc, "%s %u: %s can not be watched", ops->kind, devid, dev->dir);
	pvf_dev_poke(dev);
	return 0;
}

void pvf_dev_stop(struct pvf_dev *dev)
{
	dev->stopping = true;
	pvf_dev_poke(dev);
}

static bool at_rest(const struct pvf_dev *dev)
{
	return dev->phase == PVF_DOWN || dev->phase == PVF_GONE || dev->phase == PVF_DEAD;
}

bool pvf_dev_down(struct pvf_dev *dev, int timeout_ms)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;

	pvf_dev_stop(dev);
	while ((dev->step != NULL || !at_rest(dev)) && (now = pvb_now_ms()) < until)
		if (pvb_loop_once(dev->guest->loop, (int)(until - now)) < 0)
			break;
	return at_rest(dev);
}

void pvf_dev_close(struct pvf_dev *dev, int timeout_ms)
{
	pvf_dev_down(dev, timeout_ms);
	pvb_store_unwatch(&dev->watch_dir);
	pvb_source_free(&dev->step);
	pvb_source_free(&dev->timer);
	dev->ops->stop(dev);
	dev->ops->fail(dev, -EIO);
	dev->ops->free(dev);
	forget_back(dev);
}

static int late(struct pvf_dev *dev, struct pvb_error *err)
{
	unsigned long long ms = pvb_now_ms() - dev->since_ms;
	struct pvb_store *st = dev->guest->store;

	if (dev->error.code != 0)
		return pvb_err(err, -ETIMEDOUT, "%s %u: still %s after %llu ms: %s", dev->ops->kind, dev->devid,
			       pvf_phase_name(dev->phase), ms, dev->error.text);
	return pvb_err(err, -ETIMEDOUT, "%s %u: still %s after %llu ms: we are %s, the back end is %s",
		       dev->ops->kind, dev->devid, pvf_phase_name(dev->phase), ms,
		       pvb_state_name(pvb_state_read(st, PVB_NO_TXN, dev->dir)),
		       pvb_state_name(dev->back != NULL ? pvb_state_read(st, PVB_NO_TXN, dev->back) : PVB_UNKNOWN));
}

int pvf_dev_wait(struct pvf_dev *dev, int timeout_ms, struct pvb_error *err)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms, now;
	int rc;

	while (dev->phase != PVF_LIVE) {
		if (at_rest(dev) && dev->step == NULL && dev->error.code != 0 &&
		    (dev->phase != PVF_DOWN || !dev->wait))
			return pvb_err(err, dev->error.code, "%s", dev->error.text);
		now = pvb_now_ms();
		if (now >= until)
			return late(dev, err);
		rc = pvb_loop_once(dev->guest->loop, (int)(until - now));
		if (rc < 0)
			return pvb_err(err, rc, "%s %u: the event loop failed", dev->ops->kind, dev->devid);
	}
	return 0;
}


/* --- for connect code -------------------------------------------------------------------------------- */

int pvf_dev_check_pair(const struct pvf_dev *dev, const struct pvb_value *frontend, const struct pvb_value *frontend_id,
		       struct pvb_error *err)
{
	/* its owner may have been told about another device */
	if (frontend->present && strcmp(frontend->str, dev->dir) != 0)
		return pvb_err(err, -EPROTO, "%s %u: the back end serves %.100s, not us", dev->ops->kind, dev->devid,
			       frontend->str);
	if (frontend_id->present && frontend_id->num != dev->guest->domid)
		return pvb_err(err, -EPROTO, "%s %u: the back end serves domain %" PRIu64 ", we are %u",
			       dev->ops->kind, dev->devid, frontend_id->num, dev->guest->domid);
	return 0;
}

bool pvf_dev_is_queue(const char *name, unsigned max)
{
	uint64_t nr;

	return strncmp(name, "queue-", 6) == 0 && pvb_parse_u64(name + 6, 0, max - 1, &nr) == 0;
}

int pvf_dev_announce(struct pvb_store *st, pvb_txn t, const struct pvf_dev *dev)
{
	return pvb_state_move_in(st, t, dev->dir, PVB_UNKNOWN, dev->ops->offered);
}

int pvf_dev_remove_old(struct pvb_store *st, pvb_txn t, const char *dir, bool (*is_old)(const char *name))
{
	char path[192], **names;
	unsigned nr;
	int rc = pvb_store_list(st, t, dir, &names, &nr);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < nr; i++) {
		if (!is_old(names[i]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		rc = pvb_store_rm(st, t, path);
	}
	pvb_store_list_free(names, nr);
	return rc;
}
