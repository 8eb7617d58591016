/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.c: the worker process: set-up, sandbox, and the supervisor's messages.  What the guest says is
 * block/'s business. */
#include "config.h"
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "bus/ring.h"
#include "aio.h"
#include "block/blkif.h"
#ifdef HAVE_NBD
#include "block/nbd-lib.h"
#endif
#include "ipc.h"
#include "log.h"
#include "polling.h"
#include "sandbox.h"
#include "target.h"
#include "worker-net.h"
#include "worker.h"

#define LOOK_MS 5000 /* how often sizes of images are looked at; nobody tells us when one grows */

/* Buffers granted to our own domain (pvb_hv_arena()): enough for what a guest usually has in flight; dom0's grant
 * table has room for some dozens of guests, the others copy from ordinary memory. */
#define ARENA_BYTES (1u << 20)
#define NET_BYTES (1u << 20)    /* of frames in one pass: sixteen of the largest */
#define SWITCH_BYTES (4u << 20) /* the same for a switch, which serves many guests */

struct worker;

/* A disk of the guest. */
struct wdisk {
	struct worker *w;
	struct wdisk *next;
	uint32_t devid;
	struct blk_config cfg;
	struct target *target;
	struct disk *disk;            /* until blk owns it */
	struct blk_dev *blk;
	struct stats_device *stats;
	void *journal;
	size_t journal_bytes;
	bool detaching;
};

struct worker {
	const struct worker_options *o;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_events *events;
	struct worker_io io;
	struct blk_ctx *blk;          /* NULL: a switch's */
	struct wdisk *disks;
	struct wnet *net;
	struct poll poll;
	struct pvb_source *look;      /* at the sizes of disks that may grow, from time to time */
	struct pvb_source *src;
};

static void say(struct worker *w, struct ipc_msg *m)
{
	int rc = ipc_send(w->o->sock, m, NULL, 0);

	/* a supervisor that is behind will hear of the state; refusals and alarms may be lost, answers not */
	if (rc == -EAGAIN && m->type != IPC_REFUSED && m->type != IPC_STALLED) {
		log_err("worker: the supervisor does not read, message %u lost", m->type);
		pvb_loop_stop(w->loop, 1);
	}
}

static void say_of_nic(void *arg, struct ipc_msg *m)
{
	say(arg, m);
}

static void say_text(struct worker *w, enum ipc_type type, uint32_t devid, int rc, const char *text)
{
	struct ipc_msg m = { .type = type, .class = IPC_VBD, .domid = w->o->domid, .devid = devid, .rc = rc };

	snprintf(m.u.text, sizeof(m.u.text), "%s", text ? text : "");
	say(w, &m);
}

static struct ipc_msg about(const struct wdisk *d, enum ipc_type type)
{
	return (struct ipc_msg){ .type = type, .class = IPC_VBD, .domid = d->w->o->domid, .devid = d->devid };
}

static struct wdisk *find_disk(struct worker *w, uint32_t devid)
{
	struct wdisk *d = w->disks;

	while (d && d->devid != devid)
		d = d->next;
	return d;
}

static void drop_journal(struct wdisk *d)
{
	if (d->journal)
		munmap(d->journal, d->journal_bytes);
	d->journal = NULL;
}

static void free_disk(struct wdisk *d)
{
	struct wdisk **at;

	for (at = &d->w->disks; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	if (d->blk)
		blk_dev_free(d->blk);
	else
		disk_close(d->disk);
	drop_journal(d);
	if (d->stats)
		munmap(d->stats, sizeof(*d->stats));
	target_free(d->target);
	free(d);
}

/* ---- what the protocol reports ---------------------------------------------------------------------- */

static void on_broken(void *arg, struct blk_dev *dev, const char *why)
{
	say_text(arg, IPC_BROKEN, ((struct wdisk *)blk_dev_owner(dev))->devid, -EPROTO, why);
}

static void on_refused(void *arg, struct blk_dev *dev, const char *why, uint64_t more)
{
	struct wdisk *d = blk_dev_owner(dev);
	struct ipc_msg m = about(d, IPC_REFUSED);

	m.num = more;
	snprintf(m.u.text, sizeof(m.u.text), "%s", why);
	say(arg, &m);
}

static void on_alarm(void *arg, struct blk_dev *dev, const char *text)
{
	say_text(arg, IPC_ALARM, ((struct wdisk *)blk_dev_owner(dev))->devid, 0, text);
}

static void on_drained(void *arg, struct blk_dev *dev)
{
	struct wdisk *d = blk_dev_owner(dev);

	drop_journal(d);
	if (d->detaching)
		return; /* the caller frees it */
	say_text(arg, IPC_DISCONNECTED, d->devid, 0, NULL);
}

static void on_resized(struct disk *disk, void *arg)
{
	struct wdisk *d = arg;
	struct ipc_msg m = about(d, IPC_RESIZED);

	m.u.info = disk->info;
	say(d->w, &m);
}

/* ---- what the supervisor asks ----------------------------------------------------------------------- */

static void on_ready(struct disk *disk, int rc, const struct pvb_error *err, void *arg)
{
	struct wdisk *d = arg;
	struct ipc_msg m = about(d, IPC_ATTACHED);
	struct worker *w = d->w;

	if (rc == 0)
		rc = blk_dev_new(&d->blk, w->blk, &d->cfg, disk, d->stats, d);
	m.rc = rc;
	if (rc < 0) {
		snprintf(m.u.text, sizeof(m.u.text), "%s", err && err->code ? err->text : strerror(-rc));
		say(w, &m);
		free_disk(d);
		return;
	}
	disk->resized = on_resized;
	disk->resized_arg = d;
	m.u.info = disk->info;
	say(w, &m);
}

static void attach(struct worker *w, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	struct pvb_error err = { 0 };
	struct wdisk *d;
	int rc;

	if (!w->blk || nr_fds < 1 || m->nr_fds != nr_fds - 1 || find_disk(w, m->devid)) {
		ipc_close_fds(fds, nr_fds);
		say_text(w, IPC_ATTACHED, m->devid, -EINVAL, "malformed attach message");
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		ipc_close_fds(fds, nr_fds);
		say_text(w, IPC_ATTACHED, m->devid, -ENOMEM, "out of memory");
		return;
	}
	d->w = w;
	d->devid = m->devid;
	d->cfg = m->u.attach.cfg;
	d->next = w->disks;
	w->disks = d;
	d->stats = ipc_map(fds[0], sizeof(*d->stats));
	close(fds[0]);
	m->u.attach.target[IPC_TARGET_MAX - 1] = 0;
	if (!d->stats) {
		rc = pvb_err(&err, -errno, "statistics: %s", strerror(errno));
		ipc_close_fds(fds + 1, nr_fds - 1);
	} else {
		rc = target_parse(m->u.attach.target, &d->target, &err);
		if (rc == 0 && m->u.attach.direct_io_safe)
			rc = target_default(d->target, "direct-io-safe", "on", &err);
		if (rc < 0)
			ipc_close_fds(fds + 1, nr_fds - 1);
		else
			rc = disk_open(d->target, d->cfg.readonly, fds + 1, nr_fds - 1, &w->io, on_ready, d, &d->disk, &err);
	}
	if (rc < 0) {
		say_text(w, IPC_ATTACHED, m->devid, rc, err.text);
		free_disk(d);
	}
}

static void connect_rings(struct worker *w, struct wdisk *d, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	void *journals[PVB_VBD_MAX_QUEUES];
	struct pvb_error err = { 0 };
	size_t each = blk_journal_bytes(&m->u.connect.blk);
	int rc = 0;

	if (nr_fds != 1 || !d->blk || blk_connected(d->blk)) {
		say_text(w, IPC_CONNECTED, m->devid, -EINVAL, "malformed connect message");
		return;
	}
	d->journal_bytes = each * m->u.connect.blk.nr_queues;
	d->journal = ipc_map(fds[0], d->journal_bytes);
	if (!d->journal) {
		rc = pvb_err(&err, -errno, "journal of %zu bytes: %s", d->journal_bytes, strerror(errno));
	} else {
		for (unsigned i = 0; i < m->u.connect.blk.nr_queues; i++)
			journals[i] = (uint8_t *)d->journal + i * each;
		rc = blk_connect(d->blk, &m->u.connect.blk, journals, &err);
	}
	if (rc < 0)
		drop_journal(d);
	say_text(w, IPC_CONNECTED, m->devid, rc, err.text);
}

/* As long as there is one to look at: a guest whose disks can not grow wakes nobody up. */
static void look_at_sizes(void *arg)
{
	struct worker *w = arg;
	bool any = false;
	struct wdisk *d;

	for (d = w->disks; d; d = d->next) {
		if (!d->blk || !disk_may_grow(blk_dev_disk(d->blk)))
			continue;
		any = true;
		if (blk_connected(d->blk))
			disk_refresh(blk_dev_disk(d->blk));
	}
	if (any)
		pvb_loop_timer(w->loop, LOOK_MS, look_at_sizes, w, &w->look);
}

static void look_from_now_on(struct worker *w, const struct wdisk *d)
{
	if (!w->look && d->blk && disk_may_grow(blk_dev_disk(d->blk)))
		pvb_loop_timer(w->loop, LOOK_MS, look_at_sizes, w, &w->look);
}

static void handle(struct worker *w, struct ipc_msg *m, int *fds, unsigned nr_fds)
{
	struct wdisk *d;

	if (m->class == IPC_VIF) {
		wnet_handle(w->net, m, fds, nr_fds);
		return;
	}
	if (m->type == IPC_ATTACH) {
		attach(w, m, fds, nr_fds);
		return; /* the fds are taken over */
	}
	d = find_disk(w, m->devid);
	if (d) {
		switch (m->type) {
		case IPC_CONNECT:
			connect_rings(w, d, m, fds, nr_fds);
			look_from_now_on(w, d);
			break;
		case IPC_DISCONNECT:
			if (d->blk)
				blk_disconnect(d->blk);
			break;
		case IPC_DETACH: /* only ever sent when disconnected */
			d->detaching = true;
			free_disk(d);
			break;
		case IPC_RESUME:
			if (d->blk)
				blk_resume(d->blk);
			break;
		case IPC_POLICY:
			if (d->blk && m->u.policy.cls < BLK_ERR_NR)
				blk_set_policy(d->blk, m->u.policy.cls, m->u.policy.policy);
			break;
		case IPC_REFRESH:
			if (d->blk)
				disk_refresh(blk_dev_disk(d->blk));
			break;
		}
	} else if (m->type == IPC_CONNECT) {
		say_text(w, IPC_CONNECTED, m->devid, -ENODEV, "no such disk");
	} else if (m->type == IPC_DISCONNECT) {
		say_text(w, IPC_DISCONNECTED, m->devid, 0, NULL);
	}
	ipc_close_fds(fds, nr_fds);
}

static void on_message(void *arg, uint32_t events)
{
	struct worker *w = arg;
	struct ipc_msg m;
	int fds[IPC_MAX_FDS];
	unsigned nr_fds;
	int rc;

	while ((rc = ipc_recv(w->o->sock, &m, fds, &nr_fds)) > 0)
		handle(w, &m, fds, nr_fds);
	if (rc < 0)
		pvb_loop_stop(w->loop, rc == -ECONNRESET ? 0 : 1);
}

static void run_rings(struct worker *w)
{
	if (w->blk)
		blk_run(w->blk);
	wnet_run(w->net);
}

/* Instead of a sleep.  Some looks at the rings for one at the descriptors, which costs as much as all of them. */
static bool poll_rings(void *arg)
{
	struct worker *w = arg;
	struct poll *p = &w->poll;
	uint64_t now;

	for (unsigned i = 0; p->on && i < 16; i++) {
		uint64_t until = p->until;

		run_rings(w);
		if (p->until != until)
			return p->on; /* there was something: perhaps for the descriptors, too */
		pvb_ring_relax();
	}
	if (!p->on)
		return false;
	now = pvb_now_ns();
	if (now < p->until)
		return true;
	poll_over(p, now, poll_preempted());
	run_rings(w); /* they ask for events, and may find that there is more */
	return p->on;
}

static void after_events(void *arg)
{
	struct worker *w = arg;
	struct wdisk *d;

	run_rings(w);
	for (d = w->disks; d; d = d->next)
		if (d->stats)
			__atomic_store_n(&d->stats->copy_calls, blk_ctx_copy_calls(w->blk), __ATOMIC_RELAXED);
}

static void lend_arena(struct worker *w)
{
	void *area;
	int rc = pvb_hv_arena(w->hv, ARENA_BYTES, &area);

	if (rc == 0)
		rc = blk_ctx_lend(w->blk, area, ARENA_BYTES);
	if (rc < 0)
		log_info("worker of domain %u: no %u KiB granted to ourselves (%s): copies take the longer way", w->o->domid,
			 ARENA_BYTES >> 10, strerror(-rc));
}

static int load_libraries(const struct worker_options *o, struct pvb_error *err)
{
#ifdef HAVE_NBD
	if (o->nbd)
		return nbd_lib_load(err);
#endif
	return 0;
}

static int set_up(struct worker *w, struct pvb_error *err)
{
	static const struct blk_callbacks cb = { on_broken, on_refused, on_alarm, on_drained };
	struct sandbox box = { w->o->uid, w->o->sandbox };
	int rc;

	rc = load_libraries(w->o, err);
	if (rc == 0)
		rc = pvb_hv_open(&w->hv, w->o->hv, PVB_HV_BACK, err);
	if (rc == 0)
		rc = *w->o->place ? 0 : pvb_hv_restrict(w->hv, w->o->domid); /* a switch copies from guest to guest */
	if (rc < 0)
		return pvb_err_prefix(err, rc, "hypervisor");
	rc = pvb_loop_new(&w->loop);
	if (rc == 0)
		rc = aio_new(&w->io.aio, w->loop, 256);
	w->io.loop = w->loop;
	if (rc == 0)
		rc = pvb_events_new(&w->events, w->hv, w->loop, after_events, w);
	if (rc == 0 && !*w->o->place)
		rc = blk_ctx_new(&w->blk, w->hv, w->events, &w->io, w->o->domid, w->o->memory, &cb, w);
	if (rc == 0)
		rc = wnet_new(&w->net, w->hv, w->events, w->loop, *w->o->place ? SWITCH_BYTES : NET_BYTES, say_of_nic,
			      w);
	if (rc == 0) {
		w->poll.max_ns = w->o->poll_us * 1000u;
		if (w->blk)
			blk_ctx_poll(w->blk, &w->poll);
		wnet_poll(w->net, &w->poll);
		pvb_loop_busy(w->loop, poll_rings, w);
		rc = pvb_loop_fd(w->loop, w->o->sock, EPOLLIN, on_message, w, &w->src);
	}
	if (rc < 0)
		return pvb_err(err, rc, "set-up: %s", strerror(-rc));
	if (w->blk)
		lend_arena(w);
	if (!aio_is_async(w->io.aio))
		log_warn("worker of domain %u: this kernel has no io_uring, I/O will be synchronous", w->o->domid);
	rc = sandbox_enter(&box, err);
	malloc_trim(0); /* the filter was long while it was made; workers are many */
	return rc;
}

int worker_main(const struct worker_options *o)
{
	struct worker w = { .o = o };
	struct pvb_error err = { 0 };
	struct wdisk *d;
	int rc;

	prctl(PR_SET_NAME, "pvbackd-worker");
	rc = set_up(&w, &err);
	say_text(&w, IPC_HELLO, 0, rc, err.text);
	if (rc == 0)
		rc = pvb_loop_run(w.loop);
	while ((d = w.disks)) {
		d->detaching = true;
		/* the supervisor is gone with us in the middle: nothing may be answered any more, and what is in flight
		 * ends with the process */
		if (d->blk && blk_connected(d->blk))
			_exit(rc < 0 ? 1 : rc);
		free_disk(d);
	}
	wnet_free(w.net);
	blk_ctx_free(w.blk);
	pvb_events_free(w.events);
	aio_free(w.io.aio);
	pvb_loop_free(w.loop);
	pvb_hv_close(w.hv);
	return rc < 0 ? 1 : rc;
}
