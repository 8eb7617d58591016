/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device-step.c: the states of a device, driven by whoever moves (toolstack, front end, worker).  It knows no
 * kind of device: what is done on the way is in ops. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "keep.h"
#include "log.h"
#include "supervisor.h"

#define PATIENCE_MS 8500 /* libxl gives a device 10 s to close; a front end cut off while it sets itself up is a BUG in Linux 6.1 */
#define CYCLES_MAX 100u
#define CYCLES_MS 10000u
#define CYCLE_PAUSE_MS 50
#define REFUSED_MS 2000  /* libxl reads hotplug-error right after its script's end */

static bool online(struct device *d)
{
	return device_has(d, d->ops->online, "1");
}

/* Xen's scripts say when they have finished; other keys they write are no sign (the block script writes
 * physical-device before physical-device-path). */
static bool hotplug_done(struct device *d)
{
	return device_is_blank(d, d->ops->script) || device_has(d, d->ops->hotplug_status, "connected");
}

static bool front_is_gone(struct device *d, enum pvb_state front)
{
	return front == PVB_UNKNOWN || !pvb_store_domain_alive(d->sup->store, d->id.front);
}

static void step_initialising(struct device *d)
{
	struct pvb_error err = { 0 };
	int rc = d->ops->probe(d, &err);

	if (rc < 0) {
		d->hopeless = rc != -ENOENT; /* before the front end did anything: offering it again would end like this */
		if (d->hopeless)
			device_fail(d, "%s", err.text);
		return;
	}
	d->failed = d->broken = false;
	if (device_move_state(d, PVB_INIT_WAIT, "offered"))
		d->probed = true;
}

static void out_of_patience(void *arg)
{
	struct device *d = arg;

	d->impatient = true;
	device_step(d);
}

/* Has this lasted for ms?  If not, device_step() comes again when it has. */
static bool lasted(struct device *d, uint64_t ms)
{
	return d->impatient ||
	       (!d->patience && pvb_loop_timer(d->sup->loop, ms, out_of_patience, d, &d->patience) < 0);
}

static void step_init_wait(struct device *d, enum pvb_state front)
{
	d->failed = d->broken = false;
	if (front_is_gone(d, front)) {
		if (d->probed && d->phase == DEV_NEW && !online(d))
			device_move_state(d, PVB_CLOSED, "the front end is gone");
		return;
	}
	if (device_has(d, d->ops->hotplug_status, "error")) {
		/* xl has told the user why and leaves all as it is; the next attach would fail because of that */
		if (!lasted(d, REFUSED_MS))
			return;
		d->refused = true;
		d->impatient = false;
		device_move_state(d, PVB_CLOSING, "its hotplug script failed");
		d->step_again = true;
		return;
	}
	if (d->ops->restarts && (front == PVB_CLOSING || front == PVB_CLOSED)) {
		device_move_state(d, PVB_CLOSING, "the front end closes");
		d->step_again = true;
		return;
	}
	if (device_step_resume(d) || !(d->ops->ready & 1u << front) || (d->phase != DEV_NEW && d->phase != DEV_ATTACHED) ||
	    !hotplug_done(d))
		return;
	if (d->phase == DEV_NEW && !d->pause)
		device_attach(d);
	else if (d->phase == DEV_ATTACHED)
		device_connect(d);
}

static void step_connected(struct device *d, enum pvb_state front)
{
	if (!d->probed && d->phase == DEV_NEW && !d->foreign && !d->resuming) {
		/* its journal went with the daemon that served it; moving the state would kill the guest's device */
		d->foreign = true;
		device_log(d, LOG_LEVEL_ERR, "was connected by an earlier pvbackd; detach it and attach it again");
		device_set_text(d, d->ops->error, "was connected by an earlier pvbackd; detach it and attach it again");
	}
	if (front_is_gone(d, front))
		device_move_state(d, PVB_CLOSING, "the front end is gone");
	else if (front == PVB_CLOSING || front == PVB_CLOSED)
		device_move_state(d, PVB_CLOSING, "the front end closes");
	else if (front == PVB_INITIALISING && d->ops->restarts)
		device_move_state(d, PVB_CLOSING, "the front end begins anew");
	else if (device_step_resume(d))
		return;
	else if (d->yielded && d->phase == DEV_ATTACHED && !d->sup->stopping && front == PVB_CONNECTED) {
		/* handed over to a migration that did not come about, and the guest runs again */
		struct pvb_error err;

		if (d->ops->before_connect(d, &err) == 0) {
			d->yielded = false;
			device_send_connect(d);
		}
		return;
	} else {
		if (d->phase == DEV_CONNECTED && d->ops->look)
			d->ops->look(d);
		return;
	}
	d->step_again = true;
}

static void step_closing(struct device *d, enum pvb_state front)
{
	/* Who broke the protocol is not waited for.  A front end in use in its guest (old stock blkfronts while a
	 * file system is mounted) closes when it can. */
	bool open = d->phase == DEV_CONNECTED || d->resuming || d->foreign || d->yielded;
	bool begins = front == PVB_INITIALISING && d->ops->restarts && !d->failed;

	if (!d->broken && !front_is_gone(d, front)) {
		if (open && d->ops->mounted &&
		    (front == PVB_INITIALISED || front == PVB_CONNECTED || front == PVB_CLOSING))
			return;
		/* Without rings there is nothing to close, but a stock blkfront that is just setting itself up and
		 * finds its directory gone meets the next device of that name with a BUG.  There may also be nobody
		 * (no driver, guest paused), so the wait has an end. */
		if (!(open && d->ops->mounted) && front != PVB_CLOSED && !begins && !lasted(d, PATIENCE_MS))
			return;
	}
	pvb_source_free(&d->patience);
	if (!d->failed && !d->broken && !d->parked && !front_is_gone(d, front) && device_step_resume(d))
		return; /* it closes when what it has in flight is answered */
	if (d->phase == DEV_CONNECTED || d->phase == DEV_CONNECTING) {
		d->impatient = true; /* the rings are what there was to wait for */
		device_quiesce(d);
		return;
	}
	if (d->phase == DEV_DISCONNECTING || d->phase == DEV_ATTACHING)
		return; /* the worker's answer comes back here */
	device_detach(d);
	keep_drop(d); /* of an earlier pvbackd, if nobody could go on with it */
	d->impatient = false;
	device_move_state(d, PVB_CLOSED, "all is let go");
	d->step_again = true;
}

static void cooled(void *arg)
{
	struct device *d = arg;

	d->cycles = CYCLES_MAX - 1; /* one more, then the next pause */
	d->cycles_since = pvb_now_ms();
	device_step(d);
}

/* A guest may close and begin anew as often as it likes, but each round costs a worker process and log
 * lines: after CYCLES_MAX rounds in CYCLES_MS there is a pause before each. */
static bool too_often(struct device *d)
{
	uint64_t now = pvb_now_ms();

	if (d->cooling)
		return true;
	if (now - d->cycles_since > CYCLES_MS) {
		d->cycles_since = now;
		d->cycles = 0;
	}
	if (d->cycles++ < CYCLES_MAX)
		return false;
	if (!d->cooled)
		device_log(d, LOG_LEVEL_WARN, "reconnected %u times in %u s, slowed down", CYCLES_MAX, CYCLES_MS / 1000);
	d->cooled = true;
	return pvb_loop_timer(d->sup->loop, CYCLE_PAUSE_MS, cooled, d, &d->cooling) == 0;
}

/* Take away the whole device, as libxl does after a detach. */
static int remove_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct device *d = arg;
	char path[200], **names;
	unsigned nr;
	int rc;

	snprintf(path, sizeof(path), "/libxl/%u/device/%s/%u", d->id.front, d->id.class, d->id.devid);
	rc = pvb_store_rm(st, t, path);
	if (rc == 0)
		rc = pvb_store_rm(st, t, d->front);
	if (rc == 0)
		rc = pvb_store_rm(st, t, d->back);
	snprintf(path, sizeof(path), "%s", d->back);
	*strrchr(path, '/') = 0; /* the guest's last device of the kind takes the directory with it */
	if (rc < 0 || pvb_store_list(st, t, path, &names, &nr) < 0)
		return rc;
	pvb_store_list_free(names, nr);
	return nr == 0 ? pvb_store_rm(st, t, path) : 0;
}

static void step_closed(struct device *d, enum pvb_state front)
{
	if (d->phase == DEV_CONNECTED)
		device_quiesce(d); /* somebody wrote 6 over our head */
	else if (d->phase == DEV_ATTACHED)
		device_detach(d);
	if (d->phase == DEV_NEW && d->refused) {
		int rc = pvb_store_txn(d->sup->store, remove_txn, d);

		if (rc < 0)
			device_log(d, LOG_LEVEL_ERR, "can not be removed: %s", strerror(-rc));
		d->refused = false;
		return; /* the watch on the directory sees it gone */
	}
	if (d->phase != DEV_NEW || !online(d) || d->sup->stopping)
		return;
	if (front == PVB_INITIALISING && !d->hopeless && !front_is_gone(d, front) && !too_often(d)) {
		d->yielded = d->foreign = false;
		step_initialising(d); /* error stays until it is offered: whoever finds it closed asks why */
	}
}

static void step_once(struct device *d)
{
	enum pvb_state back = pvb_state_read(d->sup->store, PVB_NO_TXN, d->back);
	enum pvb_state front = pvb_state_read(d->sup->store, PVB_NO_TXN, d->front);

	d->state = back;
	if (front != PVB_INITIALISING)
		d->hopeless = false;
	if (!d->seen && back > PVB_INITIALISING) {
		d->ops->found(d);
		if (back == PVB_CONNECTED || back == PVB_CLOSING)
			device_adopt(d);
	}
	d->seen = true;
	if (back == PVB_INITIALISING && d->probed)
		back = PVB_UNKNOWN; /* another device, made in the place of this one before we looked */
	switch (back) {
	case PVB_INITIALISING:
		step_initialising(d);
		break;
	case PVB_INIT_WAIT:
		step_init_wait(d, front);
		break;
	case PVB_INITIALISED:
	case PVB_CONNECTED:
	case PVB_RECONFIGURING:
	case PVB_RECONFIGURED:
		step_connected(d, front);
		break;
	case PVB_CLOSING:
		step_closing(d, front);
		break;
	case PVB_CLOSED:
		step_closed(d, front);
		break;
	default: /* the directory is gone: nobody is left to tell */
		if (d->phase == DEV_CONNECTED || d->phase == DEV_CONNECTING)
			device_quiesce(d);
		else if (d->phase != DEV_DISCONNECTING && d->phase != DEV_ATTACHING)
			d->gone = true;
	}
}

static void step_due(void *arg)
{
	device_step(arg);
}

void device_step_soon(struct device *d)
{
	if (!d->soon && pvb_loop_timer(d->sup->loop, 0, step_due, d, &d->soon) < 0)
		device_step(d);
}

void device_step(struct device *d)
{
	unsigned n;

	if (d->gone)
		return;
	if (d->stepping) {
		d->step_again = true;
		return;
	}
	d->stepping = true;
	for (n = 0; n < 16; n++) { /* a bound: a toolstack that flips states in a loop gets its turn again */
		d->step_again = false;
		step_once(d);
		if (!d->step_again || d->gone)
			break;
	}
	d->stepping = false;
	if (d->gone) {
		device_log(d, LOG_LEVEL_INFO, "removed");
		device_detach(d);
		keep_drop(d);
		d->ops->gone(d);
		supervisor_sweep(d->sup); /* later: whoever called may be walking the list */
	}
}
