/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device.c: making and freeing devices, and the way to and from connected: messages to the worker and its
 * answers.  Which state follows is device-step.c's. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "keep.h"
#include "log.h"
#include "supervisor.h"

#define FENCE_LOOK_MS 2
#define FENCE_SAY_MS 1000

const char *const device_phase_name[] = { "new", "attaching", "attached", "connecting", "connected", "disconnecting" };

const struct device_ops *device_ops_of(const char *kind)
{
	return strcmp(kind, vif_ops.class) == 0 ? &vif_ops : &vbd_ops;
}

const char *device_name(const struct device *d)
{
	static char buf[64]; /* one thread, one name a line */

	d->ops->name(d, buf, sizeof(buf));
	return buf;
}

struct device *device_find(struct supervisor *sup, const char *class, const struct pvb_device_id *id)
{
	struct device *d;

	for (d = sup->devices; d; d = d->next)
		if (!d->gone && d->id.front == id->front && d->id.devid == id->devid &&
		    (!class || strcmp(class, d->id.class) == 0) && (!id->kind || strcmp(id->kind, d->kind) == 0))
			return d;
	return NULL;
}

void device_log(const struct device *d, enum log_level level, const char *fmt, ...)
{
	char text[800];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_of(d->id.front, level, "%s: %s", device_name(d), text);
}

/* ---- its place in the store --------------------------------------------------------------------------- */

struct store_change {
	const struct device *d;
	enum pvb_state from, to;   /* PVB_UNKNOWN: stays */
	const struct pvb_key *key; /* NULL: none */
	const char *text;          /* NULL: takes it away */
};

static int change_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct store_change *c = arg;
	char path[200];
	int rc;

	if (c->to != PVB_UNKNOWN)
		rc = pvb_state_move_in(st, t, c->d->back, c->from, c->to);
	else
		rc = pvb_store_exists(st, t, c->d->back) ? 0 : -ENOENT;
	if (rc < 0 || !c->key)
		return rc;
	snprintf(path, sizeof(path), "%s/%s", c->d->back, c->key->name);
	return c->text ? pvb_store_write(st, t, path, c->text) : pvb_store_rm(st, t, path);
}

static bool move_state(struct device *d, const struct store_change *c, const char *why)
{
	int rc = pvb_store_txn(d->sup->store, change_txn, (void *)c);

	if (rc == 0) {
		d->state = c->to;
		device_log(d, LOG_LEVEL_INFO, "%s (%s)", pvb_state_name(c->to), why);
	} else if (rc != -ENOENT && rc != -ECANCELED) /* removed or moved meanwhile: that counts, and the watch says so too */
		device_log(d, LOG_LEVEL_ERR, "can not write state %u: %s", c->to, strerror(-rc));
	return rc == 0;
}

bool device_move_state(struct device *d, enum pvb_state to, const char *why)
{
	bool begins = to == PVB_INIT_WAIT; /* what was wrong is not any more */
	struct store_change c = { d, d->state, to, begins ? d->ops->error : NULL, NULL };

	if (!move_state(d, &c, why))
		return false;
	if (begins)
		d->error[0] = 0;
	return true;
}

void device_set_text(struct device *d, const struct pvb_key *key, const char *text)
{
	struct store_change c = { d, PVB_UNKNOWN, PVB_UNKNOWN, key, text };

	pvb_store_txn(d->sup->store, change_txn, &c);
}

/* NULL: not there. */
static char *read_back(const struct device *d, const struct pvb_key *key)
{
	char path[200], *value;

	snprintf(path, sizeof(path), "%s/%s", d->back, key->name);
	return pvb_store_read(d->sup->store, PVB_NO_TXN, path, &value) < 0 ? NULL : value;
}

bool device_has(struct device *d, const struct pvb_key *key, const char *want)
{
	char *value = read_back(d, key);
	bool yes = value && strcmp(value, want) == 0;

	free(value);
	return yes;
}

bool device_is_blank(struct device *d, const struct pvb_key *key)
{
	char *value = read_back(d, key);
	bool blank = !value || value[0] == '\0';

	free(value);
	return blank;
}

static bool named(const char *path, const char *ours)
{
	const char *base = strrchr(path, '/');

	return strncmp(base ? base + 1 : path, ours, strlen(ours)) == 0;
}

bool device_script_is(const char *script, const char *ours)
{
	char *file;
	bool yes;

	if (!script || named(script, ours))
		return script;
	file = *script == '/' ? realpath(script, NULL) : NULL;
	yes = file && named(file, ours);
	free(file);
	return yes;
}

int device_check_front(const struct device *d, const struct pvb_value *frontend, const struct pvb_value *id,
		       struct pvb_error *err)
{
	char home[64];

	pvb_store_home(d->id.front, home, sizeof(home));
	if (id->present && id->num != d->id.front)
		return pvb_err(err, -EINVAL, "frontend-id is %llu, the directory says %u", (unsigned long long)id->num,
			       d->id.front);
	if (frontend->present && (strncmp(frontend->str, home, strlen(home)) != 0 || frontend->str[strlen(home)] != '/'))
		return pvb_err(err, -EINVAL, "frontend is %.80s, not below %s", frontend->str, home);
	return 0;
}

static void on_front(void *arg, const char *path)
{
	device_step(arg);
}

static void read_vm(struct device *d)
{
	char path[64], *vm;

	snprintf(path, sizeof(path), "/local/domain/%u/vm", d->id.front);
	if (pvb_store_read(d->sup->store, PVB_NO_TXN, path, &vm) < 0)
		return;
	snprintf(d->vm, sizeof(d->vm), "%s", vm);
	free(vm);
}

void device_init(struct device *d, struct supervisor *sup, const struct device_ops *ops, const struct pvb_device_id *id,
		 const char *kind)
{
	d->sup = sup;
	d->ops = ops;
	snprintf(d->kind, sizeof(d->kind), "%s", kind);
	d->id = *id;
	d->id.kind = d->kind;
	d->id.class = ops->class;
	d->journal_fd = d->stats_fd = -1;
	pvb_device_back_path(&d->id, d->back, sizeof(d->back));
	pvb_device_front_path(&d->id, d->front, sizeof(d->front));
	read_vm(d);
}

int device_new(struct supervisor *sup, const struct pvb_device_id *id, const char *kind)
{
	const struct device_ops *ops = device_ops_of(kind);
	struct device *d = calloc(1, ops->bytes);
	char path[200];
	int rc;

	if (!d)
		return -ENOMEM;
	device_init(d, sup, ops, id, kind);
	d->next = sup->devices;
	sup->devices = d;
	snprintf(path, sizeof(path), "%s/state", d->front);
	rc = pvb_store_watch(sup->store, path, on_front, d, &d->watch);
	if (rc < 0) {
		device_log(d, LOG_LEVEL_ERR, "watch on %s: %s", path, strerror(-rc));
		device_free(d);
	}
	return rc;
}

/* ---- letting go ---------------------------------------------------------------------------------------- */

/* Give back what connecting took; the worker keeps the device. */
static void let_go(struct device *d)
{
	if (d->journal_fd >= 0) {
		close(d->journal_fd);
		if (!d->sup->stopping)
			keep_drop(d);
	}
	d->journal_fd = -1;
	d->ops->let_go(d);
}

void device_detach(struct device *d)
{
	struct ipc_msg m;

	let_go(d);
	if (d->guest) {
		device_ipc(d, &m, IPC_DETACH);
		if (d->phase != DEV_NEW)
			guest_send(d->guest, &m, NULL, 0);
		guest_put(d->guest);
	}
	d->guest = NULL;
	d->phase = DEV_NEW;
	d->resuming = d->adopted = d->parked = false;
	if (d->stats)
		munmap(d->stats, d->ops->stats_bytes);
	d->stats = NULL;
	if (d->stats_fd >= 0)
		close(d->stats_fd);
	d->stats_fd = -1;
	keep_stats_drop(d);
	d->ops->detach(d);
}

void device_free(struct device *d)
{
	struct supervisor *sup = d->sup;
	struct device **at;

	device_detach(d);
	pvb_source_free(&d->patience);
	pvb_source_free(&d->cooling);
	pvb_source_free(&d->pause);
	pvb_source_free(&d->soon);
	pvb_store_unwatch(&d->watch);
	for (at = &sup->devices; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	d->ops->free(d);
	free(d);
	supervisor_check_stopped(sup);
}

void device_fail(struct device *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->error, sizeof(d->error), fmt, ap);
	va_end(ap);
	d->failed = true;
	device_log(d, LOG_LEVEL_ERR, "%s", d->error);
	move_state(d, &(struct store_change){ d, d->state, PVB_CLOSING, d->ops->error, d->error }, "error");
	d->step_again = true;
	device_step(d);
}

/* ---- towards connected ------------------------------------------------------------------------------ */

void device_ipc(const struct device *d, struct ipc_msg *m, enum ipc_type type)
{
	memset(m, 0, sizeof(*m));
	m->type = type;
	m->class = d->ops->ipc;
	m->domid = d->id.front;
	m->devid = d->id.devid;
}

static int make_stats(struct device *d, struct pvb_error *err)
{
	uint32_t *version;

	d->stats_fd = keep_stats(d, d->ops->stats_bytes, !d->adopted);
	if (d->stats_fd < 0)
		return pvb_err(err, d->stats_fd, "statistics: %s", strerror(-d->stats_fd));
	d->stats = ipc_map(d->stats_fd, d->ops->stats_bytes);
	if (!d->stats) {
		return pvb_err(err, -errno, "statistics: %s", strerror(errno));
	}
	version = d->stats; /* first in each kind's */
	if (*version != 0 && *version != d->ops->stats_version)
		memset(d->stats, 0, d->ops->stats_bytes); /* another pvbackd's, which counted otherwise */
	*version = d->ops->stats_version; /* 0: a new file, all of it zero, and no more of it in memory than is used */
	return 0;
}

/* A worker that is gone is no error here: its death comes next, device_worker_died(). */
static int tell_worker(struct device *d, const struct ipc_msg *m, const int *fds, unsigned nr_fds)
{
	int rc = guest_send(d->guest, m, fds, nr_fds);

	return rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN || rc == -EAGAIN ? 0 : rc;
}

static void pause_over(void *arg)
{
	device_step(arg);
}

/* device_step() comes again in ms. */
static void look_again(struct device *d, unsigned ms)
{
	if (!d->pause && pvb_loop_timer(d->sup->loop, ms, pause_over, d, &d->pause) < 0)
		device_log(d, LOG_LEVEL_ERR, "no memory for a timer");
}

/* What a dead worker has begun goes on without it: see lock.c. */
static void wait_for_fence(struct device *d)
{
	uint64_t now = pvb_now_ms();

	if (!d->unfenced)
		d->unfenced = now;
	else if (now - d->unfenced >= FENCE_SAY_MS && !d->fence_said) {
		d->fence_said = true;
		device_log(d, LOG_LEVEL_WARN, "waits for I/O that its dead worker has begun");
	}
	if (!d->resuming)
		device_detach(d);
	look_again(d, FENCE_LOOK_MS);
}

static int send_attach(struct device *d, struct ipc_msg *m, int *fds, unsigned nr_fds, struct pvb_error *err)
{
	int rc = d->stats ? 0 : make_stats(d, err);

	if (rc == 0)
		rc = guest_get(d->sup, d->id.front, d->place, d->nbd, &d->guest, err);
	if (rc < 0)
		return rc;
	m->nr_fds = nr_fds;
	fds[0] = d->stats_fd;
	d->phase = DEV_ATTACHING;
	rc = tell_worker(d, m, fds, 1 + nr_fds);
	return rc < 0 ? pvb_err(err, rc, "worker: %s", strerror(-rc)) : 0;
}

/* Open what it stands for and give it to the worker. */
void device_attach(struct device *d)
{
	int fds[IPC_MAX_FDS];
	struct pvb_error err = { 0 };
	struct ipc_msg m;
	unsigned nr_fds = 0;
	int rc;

	device_ipc(d, &m, IPC_ATTACH);
	rc = keep_fenced(d) ? d->ops->attach(d, &m, fds + 1, &nr_fds, &err) : -EAGAIN;
	if (rc == -EAGAIN) {
		wait_for_fence(d);
		return;
	}
	d->unfenced = 0;
	d->fence_said = false;
	if (rc == 0) {
		rc = send_attach(d, &m, fds, nr_fds, &err);
		ipc_close_fds(fds + 1, nr_fds); /* the worker's are the last: see lock.c */
	}
	if (rc == -EAGAIN && !d->resuming)
		device_detach(d); /* the last worker is ending: its death makes us look again */
	if (rc < 0 && rc != -EAGAIN)
		device_fail(d, "%s", err.text);
}

void device_send_connect(struct device *d)
{
	struct pvb_error err = { 0 };
	struct ipc_msg m;
	int rc, fd;

	rc = d->resuming ? 0 : keep_new(d, d->ops->journal_bytes(&d->connect), &err);
	if (rc < 0) {
		device_fail(d, "%s", err.text);
		return;
	}
	fd = keep_fd_for_worker(d);
	if (fd < 0) {
		device_fail(d, "journal: %s", strerror(-fd));
		return;
	}
	device_ipc(d, &m, IPC_CONNECT);
	m.u.connect = d->connect;
	d->phase = DEV_CONNECTING;
	rc = tell_worker(d, &m, &fd, 1);
	close(fd);
	if (rc < 0)
		device_fail(d, "worker: %s", strerror(-rc));
}

struct front_read {
	struct device *d;
	union ipc_connect *c;
	struct pvb_error *err;
};

/* The front end may have moved on since we were told of its state, and then what is missing is no lie: state and keys are
 * one look. */
static int front_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct front_read *f = arg;
	enum pvb_state s = pvb_state_read(st, t, f->d->front);

	if (s != PVB_INITIALISED && s != PVB_CONNECTED)
		return -EAGAIN;
	memset(f->c, 0, sizeof(*f->c)); /* its padding, too: it is compared as a whole */
	return f->d->ops->read_front(f->d, st, t, f->c, f->err);
}

/* -EAGAIN: the front end is in no state in which its keys count. */
static int read_front(struct device *d, union ipc_connect *c, struct pvb_error *err)
{
	struct front_read f = { d, c, err };

	pvb_err(err, -EIO, "the front end's keys can not be read");
	return pvb_store_txn(d->sup->store, front_txn, &f);
}

void device_connect(struct device *d)
{
	struct pvb_error err;
	int rc = read_front(d, &d->connect, &err);

	if (rc == 0)
		rc = d->ops->before_connect(d, &err);
	if (rc == -EAGAIN)
		return;
	if (rc < 0)
		device_fail(d, "%s", err.text);
	else
		device_send_connect(d);
}

void device_quiesce(struct device *d)
{
	struct ipc_msg m;

	if (d->phase != DEV_CONNECTED && d->phase != DEV_CONNECTING)
		return;
	d->phase = DEV_DISCONNECTING;
	device_ipc(d, &m, IPC_DISCONNECT);
	guest_send(d->guest, &m, NULL, 0);
}

/* ---- the worker's answers ---------------------------------------------------------------------------- */

/* While the worker was connecting, the front end may have closed and begun anew without our seeing it: its
 * rings of before would be served, and the new ones never. */
static bool still_meant(struct device *d)
{
	union ipc_connect now;
	struct pvb_error err;

	switch (pvb_state_read(d->sup->store, PVB_NO_TXN, d->front)) {
	case PVB_INITIALISING:
	case PVB_INIT_WAIT:
		return false;
	case PVB_INITIALISED:
	case PVB_CONNECTED:
		return read_front(d, &now, &err) == 0 && memcmp(&now, &d->connect, sizeof(now)) == 0;
	default:
		return true; /* on its way out: the ordinary one */
	}
}

static void attached(struct device *d, const struct ipc_msg *m, const char *text)
{
	if (m->rc) {
		d->phase = DEV_NEW; /* the worker has forgotten it */
		device_fail(d, "%s", text);
		return;
	}
	d->phase = DEV_ATTACHED;
	device_step(d);
}

/* The front end, or the toolstack for it.  Its ports may be gone before its state has been looked at here. */
static bool is_closing(struct device *d)
{
	enum pvb_state front = pvb_state_read(d->sup->store, PVB_NO_TXN, d->front);

	return front == PVB_CLOSING || front == PVB_CLOSED || front == PVB_UNKNOWN ||
	       pvb_state_read(d->sup->store, PVB_NO_TXN, d->back) == PVB_CLOSING;
}

static void connected(struct device *d, const struct ipc_msg *m, const char *text)
{
	if (m->rc) {
		d->phase = DEV_ATTACHED;
		let_go(d);
		if (d->resuming && is_closing(d)) { /* meanwhile, and nothing is there to go on with */
			d->resuming = d->adopted = false;
			device_step(d);
			return;
		}
		device_fail(d, "%s", text);
		return;
	}
	d->phase = DEV_CONNECTED;
	d->connected = pvb_now_ms();
	if (d->resuming)
		device_log(d, d->adopted ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "goes on, after %llu ms", (unsigned long long)(pvb_now_ms() - d->died));
	d->resuming = d->adopted = false;
	d->state = pvb_state_read(d->sup->store, PVB_NO_TXN, d->back);
	if (d->state == PVB_INIT_WAIT) {
		if (still_meant(d))
			device_move_state(d, PVB_CONNECTED, "rings are mapped");
		else
			device_quiesce(d); /* and connect to what it has now */
	}
	device_step(d);
}

void device_message(struct device *d, struct ipc_msg *m)
{
	bool has_text = m->type != IPC_RESIZED && !(m->type == IPC_ATTACHED && m->rc == 0);
	struct pvb_error clean = { 0 };
	const char *lie;

	if (has_text) {
		m->u.text[sizeof(m->u.text) - 1] = 0;
		pvb_err(&clean, 0, "%s", m->u.text);
	}
	if ((m->type == IPC_ATTACHED && d->phase != DEV_ATTACHING) || (m->type == IPC_CONNECTED && d->phase != DEV_CONNECTING) ||
	    (m->type == IPC_DISCONNECTED && d->phase != DEV_DISCONNECTING))
		return;
	lie = has_text ? NULL : d->ops->info(d, m);
	if (lie) {
		guest_kill(d->guest, lie);
		return;
	}
	switch (m->type) {
	case IPC_ATTACHED:
		attached(d, m, clean.text);
		break;
	case IPC_CONNECTED:
		connected(d, m, clean.text);
		break;
	case IPC_DISCONNECTED:
		d->phase = DEV_ATTACHED;
		d->resuming = d->adopted = false; /* it was told to stop before it had gone on */
		let_go(d);
		supervisor_check_stopped(d->sup);
		device_step(d);
		break;
	case IPC_BROKEN:
		d->broken = true;
		device_fail(d, "%s", clean.text);
		break;
	case IPC_REFUSED:
		device_log(d, LOG_LEVEL_WARN, "refused: %s%s", clean.text, m->num ? " (and more of the kind)" : "");
		break;
	default:
		d->ops->message(d, m, clean.text);
	}
}

/* --- another worker goes on ---------------------------------------------------------------------------- */

#define DEATHS_AT_ONCE 3u    /* of so many in a row it is replaced at once, */
#define DEATHS_MAX 10u       /* of so many no more: it dies of something */
#define ROW_MS 200u          /* who lived longer has not died of what the one before died of */

static unsigned pause_ms(unsigned deaths)
{
	unsigned n = deaths <= DEATHS_AT_ONCE ? 0 : deaths - DEATHS_AT_ONCE;

	return n == 0 ? 0 : n < 10 ? 10u << n : 5000;
}

bool device_step_resume(struct device *d)
{
	struct pvb_error err = { 0 };
	int rc = 0;

	if (!d->resuming)
		return false;
	if (d->parked || d->pause || d->sup->stopping)
		return true;
	if (d->phase == DEV_NEW) {
		device_attach(d);
	} else if (d->phase == DEV_ATTACHED) {
		if (d->adopted) /* what this daemon has not taken yet */
			rc = d->ops->before_connect(d, &err);
		if (rc == 0)
			device_send_connect(d);
		else if (rc != -EAGAIN)
			device_fail(d, "%s", err.text);
	}
	return true;
}

void device_adopt(struct device *d)
{
	struct pvb_error err = { 0 };
	union ipc_connect now;
	int rc;

	if (pvb_state_read(d->sup->store, PVB_NO_TXN, d->front) != PVB_CONNECTED || !d->ops->outlives(d))
		return;
	rc = read_front(d, &now, &err);
	if (rc == 0)
		rc = keep_find(d, &now, &err);
	if (rc == 0) {
		d->probed = d->resuming = d->adopted = true;
		d->died = pvb_now_ms();
		device_set_text(d, d->ops->error, NULL); /* it may have been parked */
	} else if (rc != -ENOENT && rc != -EAGAIN) {
		device_log(d, LOG_LEVEL_ERR, "can not be taken over from an earlier pvbackd: %s", err.text);
	}
}

void device_unpark(struct device *d)
{
	if (!d->parked)
		return;
	d->parked = false;
	d->deaths = 0;
	d->error[0] = 0;
	device_set_text(d, d->ops->error, NULL);
	device_step(d);
}

static void park(struct device *d, const char *how)
{
	d->parked = true;
	snprintf(d->error, sizeof(d->error), "%u worker processes in a row %.100s: it waits until told to resume", d->deaths, how);
	device_log(d, LOG_LEVEL_ERR, "%s", d->error);
	device_set_text(d, d->ops->error, d->error);
}

/* The guest's rings, and the journal of what is in flight, are where they were.  What the dead process had begun may still
 * be going on: device_attach() waits for that. */
static void resume(struct device *d, const char *how)
{
	uint64_t now = pvb_now_ms();

	d->deaths = d->phase == DEV_CONNECTED && now - d->connected > ROW_MS ? 1 : d->deaths + 1;
	d->died = now;
	d->phase = DEV_NEW;
	d->resuming = true;
	guest_put(d->guest);
	d->guest = NULL;
	if (d->deaths >= DEATHS_MAX)
		park(d, how);
	else
		look_again(d, pause_ms(d->deaths));
}

void device_worker_died(struct device *d, const char *how)
{
	bool served = d->phase == DEV_CONNECTED || d->phase == DEV_CONNECTING || d->resuming;

	if (served && d->ops->resumes && d->ops->resumes(d) && d->journal_fd >= 0 && !d->failed && !d->broken && !d->sup->stopping) {
		resume(d, how);
		return;
	}
	if (d->phase == DEV_DISCONNECTING && d->ops->resumes) { /* nobody waits for what it had in flight */
		d->phase = DEV_NEW;
		device_detach(d);
		device_step(d);
		return;
	}
	if (d->state == PVB_INIT_WAIT && !d->failed && !d->broken && !d->sup->stopping && d->deaths < DEATHS_MAX) {
		d->deaths++; /* before it served anything: once more from the start */
		d->phase = DEV_NEW;
		device_detach(d);
		look_again(d, pause_ms(d->deaths));
		return;
	}
	d->deaths = 0;
	d->phase = DEV_NEW; /* the kernel has unmapped and unbound for it */
	device_detach(d);
	d->broken = true; /* nothing will be answered: do not wait for the front end to finish */
	device_fail(d, "the worker process %s", how);
}
