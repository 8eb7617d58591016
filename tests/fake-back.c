// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake-back.h. */
#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "event.h"
#include "fake-back.h"
#include "frontend/user/wire.h"
#include "hv.h"
#include "loop.h"
#include "nodes.h"
#include "offer.h"
#include "spy.h"
#include "state.h"
#include "store.h"

#define QUEUES 8
enum { READ, WRITE, BARRIER, FLUSH, RESERVED, DISCARD, INDIRECT };

struct held {
	uint64_t id;
	uint8_t op;
	int16_t status;
};

struct bqueue {
	struct fback *fb;
	struct pvb_ring ring;
	struct pvb_map map;
	struct pvb_event *event;
	struct held held[1024];
	unsigned nr_held;
	bool jumped;             /* rsp_prod is a lie: do not put it right again */
};

struct fback {
	struct fback_options opt;
	struct pvb_device_id id;
	char dir[128], front[128], fabric[96];
	uint32_t front_domid;
	pthread_t thread;
	sem_t ready, called;
	int pipe[2];
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvb_events *events;
	struct pvb_watch *watch;
	struct pvb_source *src;
	struct pvb_error err;
	int rc;
	const struct pvf_wire *wire;
	struct bqueue q[QUEUES];
	unsigned nr_queues;
	unsigned state;          /* as we wrote it */
	bool closing;
	struct spy *spy;         /* opt.spy */
	struct pvb_map kept[4];  /* opt.keep: of the first requests, never unmapped while we live */
	unsigned nr_kept;
	uint64_t disk_bytes;
	uint8_t *disk;
	struct fback_counts counts;
};

static void complain(struct fback *fb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fb->counts.complaint, sizeof(fb->counts.complaint), fmt, ap);
	va_end(ap);
	fb->counts.complaints++;
}

/* What a page holds beside len bytes at offset, which are for us. */
static void look(struct fback *fb, uint32_t ref, const struct pvb_map *map, uint32_t offset, uint32_t len)
{
	uint32_t at;

	if (fb->spy != NULL && !spy_look(fb->spy, ref, map->addr, offset, len, &at))
		complain(fb, "grant %u: byte %u is not for us, but %u at %u are", ref, at, len, offset);
}

static void set_state(struct fback *fb, unsigned s)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/state", fb->dir);
	if (pvb_store_exists(fb->st, PVB_NO_TXN, path))
		pvb_store_printf(fb->st, PVB_NO_TXN, path, "%u", s);
	fb->state = s;
}

static void put(struct fback *fb, enum pvb_vbd_back key, uint64_t v)
{
	pvb_nodes_write_u64(fb->st, PVB_NO_TXN, fb->dir, &pvb_vbd_back[key], v);
}

static void publish(struct fback *fb)
{
	const struct fback_options *o = &fb->opt;

	if (o->max_queues)
		put(fb, VBD_B_MAX_QUEUES, o->max_queues);
	if (o->max_order)
		put(fb, VBD_B_MAX_RING_ORDER, o->max_order);
	if (o->indirect)
		put(fb, VBD_B_MAX_INDIRECT, o->indirect);
	put(fb, VBD_B_FLUSH, o->flush);
	put(fb, VBD_B_BARRIER, o->barrier);
	put(fb, VBD_B_DISCARD, o->discard);
	put(fb, VBD_B_DISCARD_SECURE, o->secure);
	put(fb, VBD_B_PERSISTENT, o->persistent);
	put(fb, VBD_B_SECTORS, o->sectors);
	put(fb, VBD_B_INFO, o->readonly ? 4 : 0);
	if (o->sector_size)
		put(fb, VBD_B_SECTOR_SIZE, o->sector_size);
}

/* --- requests --------------------------------------------------------------------------------------- */

struct parsed {
	uint8_t op;
	uint64_t id, sector, nr_sectors;
	unsigned nr;
	struct pvf_seg segs[256];
};

static int16_t move(struct fback *fb, const struct parsed *p)
{
	uint64_t at = p->sector * 512;
	struct pvb_map map;
	uint32_t off, len;
	int16_t status = 0;

	for (unsigned i = 0; i < p->nr && status == 0; i++) {
		if (p->segs[i].last > 7 || p->segs[i].first > p->segs[i].last || p->segs[i].pad != 0) {
			complain(fb, "segment %u: sectors %u to %u", i, p->segs[i].first, p->segs[i].last);
			return -1;
		}
		off = p->segs[i].first * 512u;
		len = (p->segs[i].last - p->segs[i].first + 1u) * 512u;
		if (at + len > fb->disk_bytes) {
			complain(fb, "%u bytes at %llu, beyond the end", len, (unsigned long long)at);
			return -1;
		}
		if (pvb_hv_map(fb->hv, fb->front_domid, &p->segs[i].gref, 1, p->op == READ, &map) < 0) {
			complain(fb, "grant %u can not be mapped", p->segs[i].gref);
			return -1;
		}
		look(fb, p->segs[i].gref, &map, off, p->op == READ ? 0 : len);
		if (p->op == READ)
			memcpy((uint8_t *)map.addr + off, fb->disk + at, len);
		else
			memcpy(fb->disk + at, (uint8_t *)map.addr + off, len);
		if (fb->spy != NULL)
			spy_leave(fb->spy, p->segs[i].gref, map.addr);
		if (fb->opt.error_status != 0 && fb->opt.error_sector * 512 >= at &&
		    fb->opt.error_sector * 512 < at + len)
			status = fb->opt.error_status;
		if (fb->opt.keep && fb->nr_kept < 4)
			fb->kept[fb->nr_kept++] = map;
		else
			pvb_hv_unmap(fb->hv, &map);
		at += len;
	}
	return status;
}

static int16_t execute(struct fback *fb, struct parsed *p)
{
	switch (p->op) {
	case READ:
		fb->counts.reads++;
		break;
	case WRITE:
	case BARRIER:
		fb->counts.writes += p->op == WRITE;
		fb->counts.barriers += p->op == BARRIER;
		if (fb->opt.readonly)
			complain(fb, "a write to a read-only disk");
		if (p->op == BARRIER && !fb->opt.barrier)
			complain(fb, "a barrier was not offered");
		break;
	case FLUSH:
		fb->counts.flushes++;
		if (!fb->opt.flush)
			complain(fb, "flush was not offered");
		return fb->opt.flush_status;
	case DISCARD:
		fb->counts.discards++;
		if ((p->sector + p->nr_sectors) * 512 > fb->disk_bytes)
			complain(fb, "discard beyond the end");
		else if (fb->opt.discard_status == 0)
			memset(fb->disk + p->sector * 512, 0, p->nr_sectors * 512);
		return fb->opt.discard_status;
	default:
		complain(fb, "operation %u", p->op);
		return -2;
	}
	if (p->nr == 0 && p->op != BARRIER)
		complain(fb, "no segments");
	if (p->nr > fb->counts.max_segs)
		fb->counts.max_segs = p->nr;
	return move(fb, p);
}

static bool read_table(struct fback *fb, uint32_t gref, struct parsed *p)
{
	struct pvb_map map;

	fb->counts.indirect++;
	if (p->nr > fb->opt.indirect || p->nr == 0 || p->nr > 256) {
		complain(fb, "%u indirect segments, %u offered", p->nr, fb->opt.indirect);
		return false;
	}
	if (pvb_hv_map(fb->hv, fb->front_domid, &gref, 1, false, &map) < 0) {
		complain(fb, "indirect grant %u can not be mapped", gref);
		return false;
	}
	look(fb, gref, &map, 0, p->nr * sizeof(p->segs[0]));
	memcpy(p->segs, map.addr, p->nr * sizeof(p->segs[0]));
	pvb_hv_unmap(fb->hv, &map);
	return true;
}

/* slot is a private copy. */
static bool parse(struct fback *fb, const uint8_t *slot, struct parsed *p)
{
	const struct pvf_wire *w = fb->wire;
	uint16_t nr16, handle;
	uint32_t gref;

	p->op = slot[0];
	p->nr = slot[1];
	memcpy(&p->id, slot + w->id, 8);
	memcpy(&p->sector, slot + w->sector, 8);
	memcpy(&handle, slot + 2, 2);
	if (p->op == INDIRECT) {
		p->op = slot[1];
		memcpy(&nr16, slot + 2, 2);
		memcpy(&handle, slot + w->indirect_handle, 2);
		memcpy(&gref, slot + w->indirect_grefs, 4);
		p->nr = nr16;
		if (!read_table(fb, gref, p))
			return false;
	} else if (p->op == DISCARD) {
		memcpy(&p->nr_sectors, slot + w->discard_sectors, 8);
		fb->counts.secure_discards += slot[1] & 1;
		p->nr = 0;
	} else {
		if (p->nr > PVF_DIRECT_SEGS) {
			complain(fb, "%u segments in a slot", p->nr);
			return false;
		}
		memcpy(p->segs, slot + w->direct_segs, p->nr * sizeof(p->segs[0]));
	}
	if (handle != (uint16_t)fb->id.devid)
		complain(fb, "handle %u for device %u", handle, fb->id.devid);
	return true;
}

/* --- answers, true and false ------------------------------------------------------------------------ */

static void respond(struct bqueue *q, uint64_t id, uint8_t op, int16_t status)
{
	uint8_t rsp[16] = { 0 };

	memcpy(rsp, &id, 8);
	rsp[8] = op;
	memcpy(rsp + 10, &status, 2);
	pvb_ring_back_put(&q->ring, rsp, q->fb->wire->rsp_size);
}

static void jump(struct bqueue *q, uint32_t to)
{
	q->jumped = true;
	pvb_ring_store(&q->ring.sh->rsp_prod, to);
	pvb_ring_mb();
	pvb_event_notify(q->event);
}

static void answer_one(struct bqueue *q, const struct held *h, bool was_indirect)
{
	struct fback *fb = q->fb;

	if (fb->opt.lie != FBACK_HONEST && fb->opt.honest > 0) {
		fb->opt.honest--;
	} else {
		switch (fb->opt.lie) {
		case FBACK_WRONG_ID:
			respond(q, h->id + 4711, h->op, h->status);
			return;
		case FBACK_HUGE_ID:
			respond(q, UINT64_MAX, h->op, h->status);
			return;
		case FBACK_STALE_ID:
			respond(q, h->id - ((uint64_t)1 << 32), h->op, h->status);
			return;
		case FBACK_DUPLICATE:
			respond(q, h->id, h->op, h->status);
			respond(q, h->id, h->op, h->status);
			fb->opt.lie = FBACK_SILENT; /* one answer too many in all would be a producer that jumped */
			return;
		case FBACK_WRONG_OP:
			respond(q, h->id, h->op ^ 1, h->status);
			return;
		case FBACK_OUTER_OP:
			respond(q, h->id, was_indirect ? INDIRECT : h->op, h->status);
			return;
		case FBACK_WRONG_STATUS:
			respond(q, h->id, h->op, 7);
			return;
		case FBACK_PROD_JUMP:
			jump(q, q->ring.prod + 100000);
			return;
		case FBACK_PROD_ONE:
			jump(q, q->ring.cons + 1);
			return;
		case FBACK_PROD_BACK:
			jump(q, q->ring.pushed - 1);
			return;
		case FBACK_SILENT:
			return;
		default:
			break;
		}
	}
	respond(q, h->id, h->op, h->status);
}

static void answer_all(struct bqueue *q)
{
	struct fback *fb = q->fb;

	for (unsigned i = 0; i < q->nr_held; i++)
		answer_one(q, &q->held[fb->opt.reverse ? q->nr_held - 1 - i : i], fb->counts.indirect > 0);
	q->nr_held = 0;
	if (!q->jumped && pvb_ring_back_push(&q->ring))
		pvb_event_notify(q->event);
}

static bool on_event(void *arg)
{
	struct bqueue *q = arg;
	struct fback *fb = q->fb;
	struct parsed p;
	uint8_t slot[PVF_SLOT_MAX];
	bool work = false;
	int n;

	while ((n = pvb_ring_back_avail(&q->ring)) > 0 || (n = pvb_ring_back_rearm(&q->ring)) > 0) {
		work = true;
		for (; n > 0; n--) {
			pvb_ring_back_take(&q->ring, slot);
			fb->counts.requests++;
			if (!parse(fb, slot, &p)) {
				q->held[q->nr_held++] = (struct held){ p.id, p.op, -1 };
				continue;
			}
			q->held[q->nr_held++] = (struct held){ p.id, p.op, execute(fb, &p) };
		}
		if (!fb->opt.hold)
			answer_all(q);
	}
	if (n < 0)
		complain(fb, "queue: the front end's producer jumped");
	return work;
}

/* --- connecting ------------------------------------------------------------------------------------- */

static void disconnect(struct fback *fb)
{
	for (unsigned i = 0; i < fb->nr_queues; i++) {
		pvb_event_free(&fb->q[i].event);
		pvb_hv_unmap(fb->hv, &fb->q[i].map);
		memset(&fb->q[i], 0, sizeof(fb->q[i]));
	}
	fb->nr_queues = 0;
	if (fb->spy != NULL)
		spy_forget(fb->spy);
}

static int connect_queue(struct fback *fb, unsigned i, const char *dir, unsigned order, bool refs)
{
	struct bqueue *q = &fb->q[i];
	struct pvb_value v[VBD_Q_NR];
	uint32_t grefs[16];
	int rc = pvb_nodes_read(fb->st, PVB_NO_TXN, dir, pvb_vbd_queue, VBD_Q_NR, v, &fb->err);

	if (rc < 0)
		return rc;
	if (v[VBD_Q_RING_REF].present == refs || !v[VBD_Q_EVENT_CHANNEL].present)
		complain(fb, "%s: ring-ref and ring-ref0 do not fit order %u", dir, order);
	for (unsigned n = 0; n < 1u << order; n++)
		grefs[n] = (uint32_t)v[refs ? VBD_Q_RING_REF0 + n : VBD_Q_RING_REF].num;
	rc = pvb_hv_map(fb->hv, fb->front_domid, grefs, 1u << order, true, &q->map);
	if (rc < 0)
		complain(fb, "%s: ring can not be mapped: %d", dir, rc);
	q->fb = fb;
	fb->nr_queues = i + 1;
	if (rc == 0) {
		pvb_ring_attach(&q->ring, q->map.addr, PVB_PAGE_SIZE << order, fb->wire->slot_size, 0, 0);
		fb->counts.nr_slots = q->ring.nr_slots;
		rc = pvb_event_bind(fb->events, fb->front_domid, (uint32_t)v[VBD_Q_EVENT_CHANNEL].num, on_event, q,
				    &q->event);
		if (rc < 0)
			complain(fb, "%s: port can not be bound: %d", dir, rc);
	}
	pvb_nodes_free(v, VBD_Q_NR);
	return rc;
}

static void connect_front(struct fback *fb)
{
	struct pvb_value v[VBD_F_NR];
	char dir[160];
	unsigned nr;
	int rc = pvb_nodes_read(fb->st, PVB_NO_TXN, fb->front, pvb_vbd_front, VBD_F_NR, v, &fb->err);

	if (rc < 0) {
		complain(fb, "%s", fb->err.text);
		return;
	}
	nr = v[VBD_F_NUM_QUEUES].present ? (unsigned)v[VBD_F_NUM_QUEUES].num : 1;
	fb->counts.queues = nr;
	fb->counts.order = (uint32_t)v[VBD_F_RING_ORDER].num;
	fb->counts.persistent = v[VBD_F_PERSISTENT].num;
	fb->counts.abi32 = v[VBD_F_PROTOCOL].present && strcmp(v[VBD_F_PROTOCOL].str, "x86_32-abi") == 0;
	fb->wire = fb->counts.abi32 ? &pvf_wire32 : &pvf_wire64;
	if (v[VBD_F_NUM_QUEUES].present && nr < 2)
		complain(fb, "multi-queue-num-queues %u", nr);
	if (nr > (fb->opt.max_queues ? fb->opt.max_queues : 1) || fb->counts.order > fb->opt.max_order)
		complain(fb, "%u queues of order %u", nr, fb->counts.order);
	for (unsigned i = 0; i < nr && rc == 0; i++) {
		snprintf(dir, sizeof(dir), nr > 1 ? "%s/queue-%u" : "%s", fb->front, i);
		rc = connect_queue(fb, i, dir, fb->counts.order, v[VBD_F_RING_ORDER].present);
	}
	pvb_nodes_free(v, VBD_F_NR);
	if (rc < 0) {
		disconnect(fb);
		set_state(fb, 5);
		return;
	}
	fb->counts.connects++;
	set_state(fb, 4);
}

static void on_front(void *arg, const char *path)
{
	struct fback *fb = arg;
	unsigned front = pvb_state_read(fb->st, PVB_NO_TXN, fb->front);

	switch (front) {
	case 1:
		if (fb->state == 6 && !fb->closing)
			set_state(fb, 2);
		break;
	case 3:
		if (fb->state == 2)
			connect_front(fb);
		break;
	case 5:
		if (fb->state < 5)
			set_state(fb, 5);
		break;
	case 6:
		disconnect(fb);
		if (fb->state >= 2 && fb->state < 6) /* 2: its 5 and 6 may come as one event */
			set_state(fb, 6);
		break;
	}
}

/* --- the thread ------------------------------------------------------------------------------------- */

struct call {
	void (*fn)(struct fback *fb, void *arg);
	void *arg;
};

static void on_call(void *arg, uint32_t events)
{
	struct fback *fb = arg;
	struct call c;

	if (read(fb->pipe[0], &c, sizeof(c)) != sizeof(c))
		return;
	c.fn(fb, c.arg);
	sem_post(&fb->called);
}

static void call(struct fback *fb, void (*fn)(struct fback *fb, void *arg), void *arg)
{
	struct call c = { fn, arg };

	if (write(fb->pipe[1], &c, sizeof(c)) != sizeof(c))
		abort();
	while (sem_wait(&fb->called) < 0)
		;
}

static void bus_of(const struct fback *fb, char *spec, size_t size)
{
	if (strcmp(fb->fabric, "xen") == 0)
		snprintf(spec, size, "xen");
	else
		snprintf(spec, size, "local:%s:0", fb->fabric);
}

static int make_device(struct fback *fb)
{
	char number[16];
	struct pvb_pair back[] = { { "params", "memory" },
				   { "mode", fb->opt.readonly ? "r" : "w" },
				   { "dev", "xvda" } };
	struct pvb_pair front[] = { { "device-type", "disk" }, { "virtual-device", number }, { "trusted", "0" } };

	snprintf(number, sizeof(number), "%u", fb->id.devid);
	return pvb_offer(fb->st, &fb->id, back, 3, front, fb->opt.untrusted ? 3 : 2, &fb->err);
}

static void start_states(struct fback *fb)
{
	publish(fb);
	if (!fb->opt.wait)
		set_state(fb, 2);
	else
		fb->state = 1;
}

static int open_all(struct fback *fb)
{
	char spec[128], path[160];
	int rc;

	bus_of(fb, spec, sizeof(spec));
	rc = pvb_loop_new(&fb->loop);
	if (rc == 0)
		rc = pvb_hv_open(&fb->hv, spec, PVB_HV_BACK | PVB_HV_GUARD, &fb->err);
	if (rc == 0)
		rc = pvb_store_open(&fb->st, spec, &fb->err);
	if (rc == 0)
		rc = pvb_store_attach(fb->st, fb->loop);
	if (rc == 0)
		rc = pvb_events_new(&fb->events, fb->hv, fb->loop, NULL, NULL);
	if (rc == 0)
		rc = pvb_loop_fd(fb->loop, fb->pipe[0], EPOLLIN, on_call, fb, &fb->src);
	if (rc == 0)
		rc = make_device(fb);
	if (rc < 0)
		return rc;
	start_states(fb);
	snprintf(path, sizeof(path), "%s/state", fb->front);
	return pvb_store_watch(fb->st, path, on_front, fb, &fb->watch);
}

static void *serve(void *arg)
{
	struct fback *fb = arg;

	fb->rc = open_all(fb);
	sem_post(&fb->ready);
	if (fb->rc == 0)
		pvb_loop_run(fb->loop);
	pvb_store_unwatch(&fb->watch);
	disconnect(fb);
	while (fb->nr_kept > 0)
		pvb_hv_unmap(fb->hv, &fb->kept[--fb->nr_kept]);
	pvb_source_free(&fb->src);
	pvb_events_free(fb->events);
	pvb_store_close(fb->st);
	pvb_hv_close(fb->hv);
	pvb_loop_free(fb->loop);
	return NULL;
}

int fback_start(struct fback **out, const char *dir, uint32_t front, uint32_t devid, const struct fback_options *opt,
		struct pvb_error *err)
{
	struct fback *fb = calloc(1, sizeof(*fb));
	int rc;

	if (fb == NULL || pipe(fb->pipe) < 0)
		abort();
	fb->opt = *opt;
	if (fb->opt.sectors == 0)
		fb->opt.sectors = 32768;
	fb->disk_bytes = fb->opt.sectors * 512;
	fb->disk = calloc(1, fb->disk_bytes);
	if (opt->spy)
		fb->spy = spy_new();
	fb->front_domid = front;
	fb->id = (struct pvb_device_id){ .kind = "vbd", .class = "vbd", .back = 0, .front = front, .devid = devid };
	snprintf(fb->fabric, sizeof(fb->fabric), "%s", dir);
	pvb_device_back_path(&fb->id, fb->dir, sizeof(fb->dir));
	pvb_device_front_path(&fb->id, fb->front, sizeof(fb->front));
	sem_init(&fb->ready, 0, 0);
	sem_init(&fb->called, 0, 0);
	if (pthread_create(&fb->thread, NULL, serve, fb) != 0)
		abort();
	while (sem_wait(&fb->ready) < 0)
		;
	rc = fb->rc;
	if (rc < 0) {
		if (err != NULL)
			*err = fb->err;
		pthread_join(fb->thread, NULL);
		free(fb->disk);
		spy_free(fb->spy);
		free(fb);
		return rc;
	}
	*out = fb;
	return 0;
}

static void do_stop(struct fback *fb, void *arg)
{
	pvb_loop_stop(fb->loop, 0);
}

void fback_kill(struct fback *fb)
{
	if (fb == NULL)
		return;
	call(fb, do_stop, NULL);
	pthread_join(fb->thread, NULL);
	close(fb->pipe[0]);
	close(fb->pipe[1]);
	sem_destroy(&fb->ready);
	sem_destroy(&fb->called);
	free(fb->disk);
	spy_free(fb->spy);
	free(fb);
}

static void do_remove(struct fback *fb, void *arg)
{
	pvb_store_rm(fb->st, PVB_NO_TXN, fb->dir);
	pvb_store_rm(fb->st, PVB_NO_TXN, fb->front);
}

void fback_remove(struct fback *fb, bool graceful)
{
	char spec[128];
	struct pvb_store *tool;

	bus_of(fb, spec, sizeof(spec));
	if (graceful && pvb_store_open(&tool, spec, NULL) == 0) {
		/* the front end follows our 5 and our loop answers its 6: this thread only waits */
		pvb_rescind(tool, &fb->id, 30000, NULL);
		pvb_store_close(tool);
	} else {
		call(fb, do_remove, NULL);
	}
	fback_kill(fb);
}

static void do_remake(struct fback *fb, void *arg)
{
	do_remove(fb, NULL);
	disconnect(fb);
	fb->closing = false;
	if (make_device(fb) < 0)
		complain(fb, "%s", fb->err.text);
	start_states(fb);
}

void fback_remake(struct fback *fb)
{
	call(fb, do_remake, NULL);
}

static void do_go(struct fback *fb, void *arg)
{
	fb->opt.wait = false;
	set_state(fb, 2);
	on_front(fb, NULL);
}

void fback_go(struct fback *fb)
{
	call(fb, do_go, NULL);
}

static void do_release(struct fback *fb, void *arg)
{
	fb->opt.hold = false;
	for (unsigned i = 0; i < fb->nr_queues; i++)
		answer_all(&fb->q[i]);
}

void fback_release(struct fback *fb)
{
	call(fb, do_release, NULL);
}

static void do_state(struct fback *fb, void *arg)
{
	set_state(fb, *(unsigned *)arg);
}

void fback_state(struct fback *fb, unsigned state)
{
	call(fb, do_state, &state);
}

static void do_close(struct fback *fb, void *arg)
{
	fb->closing = true;
	set_state(fb, 5);
}

void fback_close(struct fback *fb)
{
	call(fb, do_close, NULL);
}

static void do_reopen(struct fback *fb, void *arg)
{
	fb->closing = false;
	disconnect(fb);
	set_state(fb, 2);
	on_front(fb, NULL);
}

void fback_reopen(struct fback *fb)
{
	call(fb, do_reopen, NULL);
}

static void do_resize(struct fback *fb, void *arg)
{
	uint64_t sectors = *(uint64_t *)arg;
	uint8_t *disk = calloc(1, sectors * 512);

	memcpy(disk, fb->disk, fb->disk_bytes < sectors * 512 ? fb->disk_bytes : sectors * 512);
	free(fb->disk);
	fb->disk = disk;
	fb->disk_bytes = sectors * 512;
	fb->opt.sectors = sectors;
	put(fb, VBD_B_SECTORS, sectors);
	set_state(fb, 4);
}

void fback_resize(struct fback *fb, uint64_t sectors)
{
	call(fb, do_resize, &sectors);
}

static void do_key(struct fback *fb, void *arg)
{
	const char *const *kv = arg;
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", fb->dir, kv[0]);
	if (kv[1] != NULL)
		pvb_store_write(fb->st, PVB_NO_TXN, path, kv[1]);
	else
		pvb_store_rm(fb->st, PVB_NO_TXN, path);
}

void fback_key(struct fback *fb, const char *key, const char *value)
{
	const char *kv[] = { key, value };

	call(fb, do_key, kv);
}

static void do_lie(struct fback *fb, void *arg)
{
	fb->opt.lie = *(enum fback_lie *)arg;
}

void fback_lie(struct fback *fb, enum fback_lie lie)
{
	call(fb, do_lie, &lie);
}

static void do_storm(struct fback *fb, void *arg)
{
	for (unsigned n = *(unsigned *)arg; n > 0; n--)
		for (unsigned i = 0; i < fb->nr_queues; i++)
			pvb_event_notify(fb->q[i].event);
}

void fback_storm(struct fback *fb, unsigned events)
{
	call(fb, do_storm, &events);
}

static void do_counts(struct fback *fb, void *arg)
{
	*(struct fback_counts *)arg = fb->counts;
}

void fback_counts(struct fback *fb, struct fback_counts *c)
{
	memset(c, 0, sizeof(*c));
	call(fb, do_counts, c);
}

uint8_t *fback_data(struct fback *fb)
{
	return fb->disk;
}

struct shift {
	unsigned q;
	uint32_t start;
	struct pvb_ring *front;
};

static void do_shift(struct fback *fb, void *arg)
{
	const struct shift *s = arg;
	struct pvb_ring *back = &fb->q[s->q].ring, *front = s->front;

	back->cons = back->prod = back->pushed = s->start;
	front->cons = front->prod = front->pushed = s->start;
	back->sh->req_prod = back->sh->rsp_prod = s->start;
	back->sh->req_event = back->sh->rsp_event = s->start + 1;
}

void fback_shift(struct fback *fb, unsigned q, uint32_t start, struct pvb_ring *front)
{
	struct shift s = { q, start, front };

	call(fb, do_shift, &s);
}

int fback_domain(const char *dir, uint32_t pages, uint32_t *domid, struct pvb_error *err)
{
	static const struct { const char *name; bool writable; } dirs[] = {
		{ "", false }, { "/domid", false }, { "/device", true }, { "/control", false },
		{ "/control/shutdown", true }, { "/error", true }, { "/data", true },
	};
	struct pvb_store *st;
	char spec[128], home[64], path[128];
	int rc = pvb_local_domain_create(dir, "test", pages, domid, err);

	if (rc < 0)
		return rc;
	snprintf(spec, sizeof(spec), "local:%s:0", dir);
	rc = pvb_store_open(&st, spec, err);
	if (rc < 0)
		return rc;
	pvb_store_home(*domid, home, sizeof(home));
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && rc == 0; i++) {
		snprintf(path, sizeof(path), "%s%s", home, dirs[i].name);
		rc = pvb_store_write(st, PVB_NO_TXN, path, "");
		if (rc == 0)
			rc = pvb_store_perms(st, PVB_NO_TXN, path, dirs[i].writable ? *domid : 0,
					     dirs[i].writable ? 0 : *domid);
	}
	snprintf(path, sizeof(path), "%s/domid", home);
	if (rc == 0)
		rc = pvb_store_printf(st, PVB_NO_TXN, path, "%u", *domid);
	pvb_store_close(st);
	return rc < 0 ? pvb_err(err, rc, "store directories of domain %u", *domid) : 0;
}
