/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vbd.c: the life of one synthetic disk.
 *
 *   1 Initialising   the toolstack made it        -> limits published, 2
 *   2 InitWait       until the hotplug script has finished and the front end has written its keys (3):
 *                    worker attaches the image, connects the rings; properties published, 4.
 *                    A back end that left 2 earlier would break xl, which waits to see exactly 2.
 *   4 Connected      until the front end (5, 6, gone), the toolstack (writes 5 here) or an error ends it
 *   5 Closing        until the front end is at 6 or gone and the worker has let go, then 6
 *   6 Closed         offline: the toolstack removes it; online: a front end that starts anew (1) leads to 2
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "log.h"
#include "supervisor.h"

#define PATIENCE_MS 8500 /* libxl gives a device 10 s to close; a front end cut off while it sets itself up is a BUG in Linux 6.1 */
#define CYCLES_MAX 100u
#define CYCLES_MS 10000u
#define CYCLE_PAUSE_MS 50
#define REFUSED_MS 2000  /* libxl reads hotplug-error right after its script's end */

const char *const vbd_phase_name[] = { "new", "attaching", "attached", "connecting", "connected", "disconnecting" };

const char *vbd_name(const struct vbd *v)
{
	static char buf[64]; /* one thread, one name a line */
	char dev[16];

	pvb_vdev_name(v->id.devid, dev, sizeof(dev));
	snprintf(buf, sizeof(buf), "%s %u/%u (%s)", v->kind, v->id.front, v->id.devid, dev);
	return buf;
}

struct vbd *vbd_find(struct supervisor *sup, const struct pvb_device_id *id)
{
	struct vbd *v;

	for (v = sup->vbds; v; v = v->next)
		if (!v->gone && v->id.front == id->front && v->id.devid == id->devid && (!id->kind || strcmp(id->kind, v->kind) == 0))
			return v;
	return NULL;
}

static void set_state(struct vbd *v, enum pvb_state s, const char *why)
{
	int rc = pvb_state_write(v->sup->store, v->back, s);

	if (rc == 0)
		log_info("%s: %s (%s)", vbd_name(v), pvb_state_name(s), why);
	else if (rc != -ENOENT) /* removed meanwhile: the watch says so too */
		log_err("%s: can not write state %u: %s", vbd_name(v), s, strerror(-rc));
}

static void set_text(struct vbd *v, enum pvb_vbd_back key, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", v->back, pvb_vbd_back[key].name);
	if (!pvb_store_exists(v->sup->store, PVB_NO_TXN, v->back))
		return;
	if (text)
		pvb_store_write(v->sup->store, PVB_NO_TXN, path, text);
	else
		pvb_store_rm(v->sup->store, PVB_NO_TXN, path);
}

static void on_front(void *arg, const char *path)
{
	vbd_step(arg);
}

void vbd_read_vm(struct vbd *v)
{
	char path[64], *vm;

	snprintf(path, sizeof(path), "/local/domain/%u/vm", v->id.front);
	if (pvb_store_read(v->sup->store, PVB_NO_TXN, path, &vm) < 0)
		return;
	snprintf(v->vm, sizeof(v->vm), "%s", vm);
	free(vm);
}

int vbd_new(struct supervisor *sup, const struct pvb_device_id *id, const char *kind)
{
	struct vbd *v = calloc(1, sizeof(*v));
	char path[200];
	int rc;

	if (!v)
		return -ENOMEM;
	v->sup = sup;
	snprintf(v->kind, sizeof(v->kind), "%s", kind);
	v->id = *id;
	v->id.kind = v->kind;
	v->id.class = "vbd";
	v->journal_fd = v->stats_fd = -1;
	pvb_device_back_path(&v->id, v->back, sizeof(v->back));
	pvb_device_front_path(&v->id, v->front, sizeof(v->front));
	vbd_read_vm(v);
	v->next = sup->vbds;
	sup->vbds = v;
	snprintf(path, sizeof(path), "%s/state", v->front);
	rc = pvb_store_watch(sup->store, path, on_front, v, &v->watch);
	if (rc < 0) {
		log_err("%s: watch on %s: %s", vbd_name(v), path, strerror(-rc));
		vbd_free(v);
	}
	return rc;
}

/* Give back what connecting took; the image stays attached to the worker. */
static void let_go(struct vbd *v)
{
	if (v->journal_fd >= 0)
		close(v->journal_fd);
	v->journal_fd = -1;
	v->alarm[0] = 0;
	vbd_unlock(v);
}

static void detach(struct vbd *v)
{
	struct ipc_msg m = { .type = IPC_DETACH, .devid = v->id.devid };

	let_go(v);
	if (v->guest) {
		if (v->phase != VBD_NEW)
			guest_send(v->guest, &m, NULL, 0);
		guest_put(v->guest);
	}
	v->guest = NULL;
	v->phase = VBD_NEW;
	ipc_close_fds(v->fds, v->nr_fds);
	v->nr_fds = 0;
	v->identity[0] = 0;
	if (v->stats)
		munmap(v->stats, sizeof(*v->stats));
	v->stats = NULL;
	if (v->stats_fd >= 0)
		close(v->stats_fd);
	v->stats_fd = -1;
	target_free(v->target);
	v->target = NULL;
}

void vbd_free(struct vbd *v)
{
	struct vbd **at;

	detach(v);
	pvb_source_free(&v->patience);
	pvb_source_free(&v->cooling);
	pvb_store_unwatch(&v->watch);
	for (at = &v->sup->vbds; *at != v; at = &(*at)->next)
		;
	*at = v->next;
	supervisor_check_stopped(v->sup);
	free(v);
}

void vbd_fail(struct vbd *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->error, sizeof(v->error), fmt, ap);
	va_end(ap);
	v->failed = true;
	log_err("%s: %s", vbd_name(v), v->error);
	set_text(v, VBD_B_ERROR, v->error);
	set_state(v, PVB_CLOSING, "error");
	v->step_again = true;
	vbd_step(v);
}

/* ---- towards connected ------------------------------------------------------------------------------ */

static int new_memfd(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int make_stats(struct vbd *v, struct pvb_error *err)
{
	v->stats_fd = new_memfd("pvbackd-stats", sizeof(*v->stats));
	if (v->stats_fd < 0)
		return pvb_err(err, -errno, "statistics: %s", strerror(errno));
	v->stats = mmap(NULL, sizeof(*v->stats), PROT_READ | PROT_WRITE, MAP_SHARED, v->stats_fd, 0);
	if (v->stats == MAP_FAILED) {
		v->stats = NULL;
		return pvb_err(err, -errno, "statistics: %s", strerror(errno));
	}
	return 0;
}

/* Open the image and give it to the guest's worker. */
static void attach(struct vbd *v)
{
	struct ipc_msg m = { .type = IPC_ATTACH, .devid = v->id.devid };
	int fds[1 + PROVIDER_MAX_FDS];
	struct pvb_error err;
	int rc;

	rc = vbd_read_config(v, &err);
	if (rc == 0)
		rc = disk_prepare(v->target, v->readonly, v->fds, &v->nr_fds, v->identity, &err);
	if (rc == 0)
		rc = make_stats(v, &err);
	if (rc == 0) {
		rc = guest_get(v->sup, v->id.front, &v->guest, &err);
		if (rc == -EAGAIN) { /* the last worker is ending: its death makes us look again */
			detach(v);
			return;
		}
	}
	if (rc == 0) {
		m.u.attach.cfg = v->cfg;
		m.u.attach.direct_io_safe = v->direct_io_safe;
		m.nr_fds = v->nr_fds;
		snprintf(m.u.attach.target, sizeof(m.u.attach.target), "%s", v->target->text);
		fds[0] = v->stats_fd;
		memcpy(fds + 1, v->fds, v->nr_fds * sizeof(int));
		v->phase = VBD_ATTACHING;
		rc = guest_send(v->guest, &m, fds, 1 + v->nr_fds);
		if (rc < 0)
			pvb_err(&err, rc, "worker: %s", strerror(-rc));
	}
	if (rc < 0)
		vbd_fail(v, "%s", err.text);
}

static void send_connect(struct vbd *v)
{
	struct ipc_msg m = { .type = IPC_CONNECT, .devid = v->id.devid };
	int rc;

	v->journal_fd = new_memfd("pvbackd-journal", blk_journal_bytes(&v->connect) * v->connect.nr_queues);
	if (v->journal_fd < 0) {
		vbd_fail(v, "journal: %s", strerror(errno));
		return;
	}
	m.u.connect = v->connect;
	v->phase = VBD_CONNECTING;
	rc = guest_send(v->guest, &m, &v->journal_fd, 1);
	if (rc < 0)
		vbd_fail(v, "worker: %s", strerror(-rc));
}

static void connect_front(struct vbd *v)
{
	struct pvb_error err;
	int rc;

	rc = vbd_read_front(v, &v->connect, &err);
	if (rc == 0)
		rc = vbd_lock(v, &err);
	if (rc == -EAGAIN)
		return; /* the old domain lets go first */
	if (rc == 0) {
		rc = vbd_publish_disk(v);
		if (rc < 0)
			pvb_err(&err, rc, "properties can not be published: %s", strerror(-rc));
	}
	if (rc < 0)
		vbd_fail(v, "%s", err.text);
	else
		send_connect(v);
}

void vbd_quiesce(struct vbd *v)
{
	struct ipc_msg m = { .type = IPC_DISCONNECT, .devid = v->id.devid };

	if (v->phase != VBD_CONNECTED && v->phase != VBD_CONNECTING)
		return;
	v->phase = VBD_DISCONNECTING;
	guest_send(v->guest, &m, NULL, 0);
}

/* ---- states ------------------------------------------------------------------------------------------ */

static bool front_is_gone(struct vbd *v, enum pvb_state front)
{
	return front == PVB_UNKNOWN || !pvb_store_domain_alive(v->sup->store, v->id.front);
}

static void step_initialising(struct vbd *v)
{
	int rc = vbd_publish_limits(v);

	if (rc < 0) {
		if (rc != -ENOENT)
			vbd_fail(v, "limits can not be published: %s", strerror(-rc));
		return;
	}
	v->probed = true;
	v->failed = v->broken = false;
	set_state(v, PVB_INIT_WAIT, "offered");
}

static void out_of_patience(void *arg)
{
	struct vbd *v = arg;

	v->impatient = true;
	vbd_step(v);
}

/* Has this lasted for ms?  If not, vbd_step() comes again when it has. */
static bool lasted(struct vbd *v, uint64_t ms)
{
	return v->impatient ||
	       (!v->patience && pvb_loop_timer(v->sup->loop, ms, out_of_patience, v, &v->patience) < 0);
}

static void step_init_wait(struct vbd *v, enum pvb_state front)
{
	v->failed = v->broken = false;
	if (front_is_gone(v, front)) {
		if (v->probed && v->phase == VBD_NEW && !vbd_online(v))
			set_state(v, PVB_CLOSED, "the front end is gone");
		return;
	}
	if (vbd_hotplug_failed(v)) {
		/* xl has told the user why and leaves all as it is; the next attach would fail because of that */
		if (!lasted(v, REFUSED_MS))
			return;
		v->refused = true;
		v->impatient = false;
		set_state(v, PVB_CLOSING, "its hotplug script failed");
		v->step_again = true;
		return;
	}
	/* a front end may have started with the defaults before it saw us: 3, or even 4 */
	if ((front != PVB_INITIALISED && front != PVB_CONNECTED) || !vbd_hotplug_done(v))
		return;
	if (v->phase == VBD_NEW)
		attach(v);
	else if (v->phase == VBD_ATTACHED)
		connect_front(v);
}

static void step_connected(struct vbd *v, enum pvb_state front)
{
	if (!v->probed && v->phase == VBD_NEW && !v->foreign) {
		/* its journal went with the daemon that served it; moving the state would kill the guest's disk */
		v->foreign = true;
		log_err("%s: was connected by an earlier pvbackd; detach it and attach it again", vbd_name(v));
		set_text(v, VBD_B_ERROR, "was connected by an earlier pvbackd; detach it and attach it again");
	}
	if (front_is_gone(v, front))
		set_state(v, PVB_CLOSING, "the front end is gone");
	else if (front == PVB_CLOSING || front == PVB_CLOSED)
		set_state(v, PVB_CLOSING, "the front end closes");
	else if (v->yielded && v->phase == VBD_ATTACHED && !v->sup->stopping && front == PVB_CONNECTED) {
		/* handed over to a migration that did not come about, and the guest runs again */
		struct pvb_error err;

		if (vbd_lock(v, &err) == 0) {
			v->yielded = false;
			send_connect(v);
		}
		return;
	} else
		return;
	v->step_again = true;
}

static void step_closing(struct vbd *v, enum pvb_state front)
{
	/* Who broke the protocol is not waited for.  A front end in use in its guest (old stock blkfronts while a
	 * file system is mounted) closes when it can. */
	bool open = v->phase == VBD_CONNECTED || v->foreign || v->yielded;

	if (!v->broken && !front_is_gone(v, front)) {
		if (open && (front == PVB_INITIALISED || front == PVB_CONNECTED || front == PVB_CLOSING))
			return;
		/* Without rings there is nothing to close, but a stock blkfront that is just setting itself up and
		 * finds its directory gone meets the next device of that name with a BUG.  There may also be nobody
		 * (no driver, guest paused), so the wait has an end. */
		if (!open && front != PVB_CLOSED && !lasted(v, PATIENCE_MS))
			return;
	}
	pvb_source_free(&v->patience);
	if (v->phase == VBD_CONNECTED || v->phase == VBD_CONNECTING) {
		v->impatient = true; /* the rings are what there was to wait for */
		vbd_quiesce(v);
		return;
	}
	if (v->phase == VBD_DISCONNECTING || v->phase == VBD_ATTACHING)
		return; /* the worker's answer comes back here */
	detach(v);
	v->impatient = false;
	set_state(v, PVB_CLOSED, "all is let go");
	v->step_again = true;
}

static void cooled(void *arg)
{
	struct vbd *v = arg;

	v->cycles = CYCLES_MAX - 1; /* one more, then the next pause */
	v->cycles_since = pvb_now_ms();
	vbd_step(v);
}

/* A guest may close and begin anew as often as it likes, but each round costs a worker process and log
 * lines: after CYCLES_MAX rounds in CYCLES_MS there is a pause before each. */
static bool too_often(struct vbd *v)
{
	uint64_t now = pvb_now_ms();

	if (v->cooling)
		return true;
	if (now - v->cycles_since > CYCLES_MS) {
		v->cycles_since = now;
		v->cycles = 0;
	}
	if (v->cycles++ < CYCLES_MAX)
		return false;
	if (!v->cooled)
		log_warn("%s: reconnected %u times in %u s, slowed down", vbd_name(v), CYCLES_MAX, CYCLES_MS / 1000);
	v->cooled = true;
	return pvb_loop_timer(v->sup->loop, CYCLE_PAUSE_MS, cooled, v, &v->cooling) == 0;
}

static void step_closed(struct vbd *v, enum pvb_state front)
{
	if (v->phase == VBD_CONNECTED)
		vbd_quiesce(v); /* somebody wrote 6 over our head */
	else if (v->phase == VBD_ATTACHED)
		detach(v);
	if (v->phase == VBD_NEW && v->refused) {
		int rc = vbd_remove_nodes(v);

		if (rc < 0)
			log_err("%s: can not be removed: %s", vbd_name(v), strerror(-rc));
		v->refused = false;
		return; /* the watch on the directory sees it gone */
	}
	if (v->phase != VBD_NEW || !vbd_online(v) || v->sup->stopping)
		return;
	if (front == PVB_INITIALISING && !front_is_gone(v, front) && !too_often(v)) {
		set_text(v, VBD_B_ERROR, NULL);
		v->error[0] = 0;
		v->yielded = v->foreign = false;
		step_initialising(v);
	}
}

static void step_once(struct vbd *v)
{
	enum pvb_state back = pvb_state_read(v->sup->store, PVB_NO_TXN, v->back);
	enum pvb_state front = pvb_state_read(v->sup->store, PVB_NO_TXN, v->front);

	switch (back) {
	case PVB_INITIALISING:
		step_initialising(v);
		break;
	case PVB_INIT_WAIT:
		step_init_wait(v, front);
		break;
	case PVB_INITIALISED:
	case PVB_CONNECTED:
	case PVB_RECONFIGURING:
	case PVB_RECONFIGURED:
		step_connected(v, front);
		break;
	case PVB_CLOSING:
		step_closing(v, front);
		break;
	case PVB_CLOSED:
		step_closed(v, front);
		break;
	default: /* the directory is gone: nobody is left to tell */
		if (v->phase == VBD_CONNECTED || v->phase == VBD_CONNECTING)
			vbd_quiesce(v);
		else if (v->phase != VBD_DISCONNECTING && v->phase != VBD_ATTACHING)
			v->gone = true;
	}
}

void vbd_step(struct vbd *v)
{
	unsigned n;

	if (v->gone)
		return;
	if (v->stepping) {
		v->step_again = true;
		return;
	}
	v->stepping = true;
	for (n = 0; n < 16; n++) { /* a bound: a toolstack that flips states in a loop gets its turn again */
		v->step_again = false;
		step_once(v);
		if (!v->step_again || v->gone)
			break;
	}
	v->stepping = false;
	if (v->gone) {
		log_info("%s: removed", vbd_name(v));
		detach(v);
		supervisor_sweep(v->sup); /* later: whoever called may be walking the list */
	}
}

/* ---- the worker's answers ---------------------------------------------------------------------------- */

static bool plausible(const struct disk_info *info)
{
	return info->size >= 512 && info->size <= INT64_MAX && info->size % 512 == 0 && info->physical_block >= 512 &&
	       info->physical_block <= 1u << 20 && (info->discard_granularity == 0 || info->max_discard >= 512);
}

/* While the worker was connecting, the front end may have closed and begun anew without our seeing it: its
 * rings of before would be served, and the new ones never. */
static bool still_meant(struct vbd *v)
{
	struct blk_connect now;
	struct pvb_error err;

	switch (pvb_state_read(v->sup->store, PVB_NO_TXN, v->front)) {
	case PVB_INITIALISING:
	case PVB_INIT_WAIT:
		return false;
	case PVB_INITIALISED:
	case PVB_CONNECTED:
		return vbd_read_front(v, &now, &err) == 0 && memcmp(&now, &v->connect, sizeof(now)) == 0;
	default:
		return true; /* on its way out: the ordinary one */
	}
}

void vbd_message(struct vbd *v, struct ipc_msg *m)
{
	struct pvb_error clean;

	if (m->type != IPC_RESIZED && !(m->type == IPC_ATTACHED && m->rc == 0)) {
		m->u.text[sizeof(m->u.text) - 1] = 0;
		pvb_err(&clean, 0, "%s", m->u.text);
	} else if (!plausible(&m->u.info)) {
		guest_kill(v->guest, "told an impossible disk size");
		return;
	}
	switch (m->type) {
	case IPC_ATTACHED:
		if (v->phase != VBD_ATTACHING)
			return;
		if (m->rc) {
			v->phase = VBD_NEW; /* the worker has forgotten it */
			vbd_fail(v, "%s", clean.text);
			return;
		}
		v->info = m->u.info;
		v->phase = VBD_ATTACHED;
		break;
	case IPC_CONNECTED:
		if (v->phase != VBD_CONNECTING)
			return;
		if (m->rc) {
			v->phase = VBD_ATTACHED;
			let_go(v);
			vbd_fail(v, "%s", clean.text);
			return;
		}
		v->phase = VBD_CONNECTED;
		if (pvb_state_read(v->sup->store, PVB_NO_TXN, v->back) != PVB_INIT_WAIT)
			break;
		if (still_meant(v))
			set_state(v, PVB_CONNECTED, "rings are mapped");
		else
			vbd_quiesce(v); /* and connect to what it has now */
		break;
	case IPC_DISCONNECTED:
		if (v->phase != VBD_DISCONNECTING)
			return;
		v->phase = VBD_ATTACHED;
		let_go(v);
		supervisor_check_stopped(v->sup);
		break;
	case IPC_BROKEN:
		v->broken = true;
		vbd_fail(v, "%s", clean.text);
		return;
	case IPC_REFUSED:
		log_warn("%s: refused: %s%s", vbd_name(v), clean.text, m->num ? " (and more of the kind)" : "");
		return;
	case IPC_ALARM:
		snprintf(v->alarm, sizeof(v->alarm), "%s", clean.text);
		set_text(v, VBD_B_ALARM, v->alarm[0] ? v->alarm : NULL);
		log_warn("%s: %s", vbd_name(v), v->alarm[0] ? v->alarm : "all held requests are done");
		return;
	case IPC_RESIZED:
		log_info("%s: size is now %llu bytes, was %llu", vbd_name(v), (unsigned long long)m->u.info.size,
			 (unsigned long long)v->info.size);
		v->info = m->u.info;
		if (v->phase == VBD_CONNECTED)
			vbd_publish_size(v);
		return;
	}
	vbd_step(v);
}

void vbd_worker_died(struct vbd *v, const char *how)
{
	v->phase = VBD_NEW; /* the kernel has unmapped and unbound for it */
	detach(v);
	v->broken = true; /* nothing will be answered: do not wait for the front end to finish */
	vbd_fail(v, "the worker process %s", how);
}
