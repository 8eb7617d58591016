// SPDX-License-Identifier: GPL-2.0-or-later
/* See blk-rig.h. */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "backend/target.h"
#include "blk-rig.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define GUEST_PAGES 4096

/* ---- what the protocol reports ---------------------------------------------------------------------- */

static void on_broken(void *arg, struct blk_dev *blk, const char *why)
{
	struct rdev *d = blk_dev_owner(blk);

	snprintf(d->broken, sizeof(d->broken), "%s", why);
	d->nr_broken++;
}

static void on_refused(void *arg, struct blk_dev *blk, const char *why, uint64_t more)
{
	struct rdev *d = blk_dev_owner(blk);

	snprintf(d->refused, sizeof(d->refused), "%s", why);
	d->nr_refused++;
}

static void on_alarm(void *arg, struct blk_dev *blk, const char *text)
{
	struct rdev *d = blk_dev_owner(blk);

	snprintf(d->alarm, sizeof(d->alarm), "%s", text != NULL ? text : "");
	d->nr_alarms++;
}

static void on_drained(void *arg, struct blk_dev *blk)
{
	((struct rdev *)blk_dev_owner(blk))->nr_drained++;
}

static void after_events(void *arg)
{
	blk_run(((struct rig *)arg)->ctx);
}

/* ---- making ------------------------------------------------------------------------------------------ */

#define LOW_PAGES 64

void rig_new(struct rig *r)
{
	static const struct blk_callbacks cb = { on_broken, on_refused, on_alarm, on_drained };
	struct pvb_error err = { 0 };
	char spec[80];

	memset(r, 0, sizeof(*r));
	r->seed = 1;
	snprintf(r->dir, sizeof(r->dir), "/tmp/pvb-hostile.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	if (pvb_fabric_start(&r->fabric, r->dir, &err) < 0)
		fail_msg("%s", err.text);
	if (pvb_local_domain_create(r->dir, "liar", GUEST_PAGES, &r->domid, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(spec, sizeof(spec), "local:%s", r->dir);
	if (pvb_hv_open(&r->hv, spec, PVB_HV_BACK | PVB_HV_GUARD, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pvb_hv_restrict(r->hv, r->domid), 0);
	assert_int_equal(pvb_loop_new(&r->loop), 0);
	assert_int_equal(aio_new(&r->io.aio, r->loop, 64), 0);
	r->io.loop = r->loop;
	assert_int_equal(pvb_events_new(&r->events, r->hv, r->loop, after_events, r), 0);
	assert_int_equal(blk_ctx_new(&r->ctx, r->hv, r->events, &r->io, r->domid, 8 << 20, &cb, r), 0);
	snprintf(spec, sizeof(spec), "local:%s:%u", r->dir, r->domid);
	if (pvb_hv_open(&r->low_hv, spec, PVB_HV_FRONT, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pvb_hv_grant(r->low_hv, 0, LOW_PAGES, true, &r->low), 0);
	rdev_new(r, &r->good, "mem:size=1M", NULL);
	rdev_connect(&r->good, &(struct hfront_options){ .pages = 4 });
}

void rig_free(struct rig *r)
{
	const struct pvb_hv_live *live = pvb_hv_live(r->hv);
	struct pvb_local_stats st;
	struct pvb_error err;

	honest(r);
	rdev_disconnect(&r->good);
	rdev_free(&r->good);
	assert_int_equal(live->maps, 0);
	assert_int_equal(live->map_pages, 0);
	assert_int_equal(live->ports, 0);
	assert_int_equal(bufpool_used(r->ctx->pool), 0);
	blk_ctx_free(r->ctx);
	pvb_events_free(r->events);
	aio_free(r->io.aio);
	pvb_loop_free(r->loop);
	pvb_hv_close(r->hv);
	pvb_hv_ungrant(r->low_hv, &r->low);
	pvb_hv_close(r->low_hv);
	assert_int_equal(pvb_local_domain_destroy(r->dir, r->domid, &err), 0);
	assert_int_equal(pvb_local_stats(r->dir, &st, &err), 0);
	assert_int_equal(st.stuck, 0);
	pvb_fabric_stop(r->fabric);
	rmdir(r->dir);
}

static void is_ready(struct disk *disk, int rc, const struct pvb_error *err, void *arg)
{
	if (rc < 0)
		fail_msg("%s", err->text);
}

void rdev_new(struct rig *r, struct rdev *d, const char *text, const struct blk_config *cfg)
{
	static const struct blk_config everything = { .discard = true, .barrier = true, .max_indirect = PVB_VBD_MAX_INDIRECT };
	int fds[PROVIDER_MAX_FDS];
	struct pvb_error err = { 0 };
	struct disk *disk = NULL;
	char identity[64], spec[80];
	unsigned nr_fds = 0;

	memset(d, 0, sizeof(*d));
	d->rig = r;
	d->start = 0xfffffff0u;
	if (cfg == NULL)
		cfg = &everything;
	if (target_parse(text, &d->target, &err) < 0 ||
	    disk_prepare(d->target, cfg->readonly, fds, &nr_fds, identity, &err) < 0 ||
	    disk_open(d->target, cfg->readonly, fds, nr_fds, &r->io, is_ready, NULL, &disk, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(blk_dev_new(&d->blk, r->ctx, cfg, disk, &d->stats, d), 0);
	snprintf(spec, sizeof(spec), "local:%s:%u", r->dir, r->domid);
	if (pvb_hv_open(&d->front.hv, spec, PVB_HV_FRONT, &err) < 0)
		fail_msg("%s", err.text);
}

void rdev_free(struct rdev *d)
{
	blk_dev_free(d->blk);
	target_free(d->target);
	hfront_close(&d->front);
	for (unsigned i = 0; i < PVB_VBD_MAX_QUEUES; i++)
		free(d->journals[i]);
}

/* ---- connecting -------------------------------------------------------------------------------------- */

void rdev_rings(struct rdev *d, const struct hfront_options *opt)
{
	struct pvb_error err;

	d->opt = *opt;
	if (hfront_rings(&d->front, opt, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < d->front.queues; i++) {
		struct hfront_queue *q = &d->front.q[i];

		memset(q->slots, 0xa5, (size_t)d->front.nr_slots * d->front.slot_size);
		q->prod = q->cons = q->sh->req_prod = q->sh->rsp_prod = d->start;
		q->sh->req_event = q->sh->rsp_event = d->start + 1;
	}
	memset(d->front.data.addr, 0xa5, (size_t)d->front.data.nr * PVB_PAGE_SIZE);
}

void rdev_describe(struct rdev *d, struct blk_connect *c)
{
	*c = (struct blk_connect){ .nr_queues = d->front.queues, .ring_pages = 1u << d->opt.ring_order,
				   .abi = d->opt.abi32 ? BLK_ABI_32 : BLK_ABI_64, .persistent = d->opt.persistent };
	for (unsigned i = 0; i < c->nr_queues; i++) {
		c->queue[i].event_channel = d->front.q[i].port;
		memcpy(c->queue[i].refs, d->front.q[i].grant.refs, c->ring_pages * sizeof(uint32_t));
	}
}

int rdev_attach(struct rdev *d, const struct blk_connect *c, struct pvb_error *err)
{
	d->nr_broken = d->nr_refused = d->nr_alarms = d->nr_drained = 0;
	d->broken[0] = d->refused[0] = d->alarm[0] = '\0';
	for (unsigned i = 0; i < c->nr_queues; i++) {
		free(d->journals[i]);
		d->journals[i] = aligned_alloc(PVB_PAGE_SIZE, blk_journal_bytes(c));
		assert_non_null(d->journals[i]);
		memset(d->journals[i], 0, blk_journal_bytes(c));
	}
	return blk_connect(d->blk, c, d->journals, err);
}

void rdev_connect(struct rdev *d, const struct hfront_options *opt)
{
	struct pvb_error err = { 0 };
	struct blk_connect c;

	rdev_rings(d, opt);
	rdev_describe(d, &c);
	if (rdev_attach(d, &c, &err) < 0)
		fail_msg("%s", err.text);
}

void rdev_disconnect(struct rdev *d)
{
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;

	d->nr_drained = 0;
	blk_disconnect(d->blk);
	while (d->nr_drained == 0) {
		if (pvb_now_ms() > until)
			fail_msg("not drained, %u in flight", d->blk->in_flight);
		rig_pump(d->rig, 1);
	}
	assert_int_equal(d->nr_drained, 1);
	hfront_drop(&d->front);
}

/* ---- I/O --------------------------------------------------------------------------------------------- */

void rig_pump(struct rig *r, int timeout_ms)
{
	assert_true(pvb_loop_once(r->loop, timeout_ms) >= 0);
}

void rdev_await(struct rdev *d, unsigned n)
{
	uint64_t until = pvb_now_ms() + RIG_WAIT_MS;

	while (hfront_unread(&d->front, 0) < n) {
		d->blk->last_refusal = 0; /* tests want to hear of each */
		if (pvb_now_ms() > until)
			fail_msg("%u responses of %u (broken: %s)", hfront_unread(&d->front, 0), n, d->broken);
		rig_pump(d->rig, 10);
	}
}

static int roundtrip(struct rdev *d, const void *slot, uint64_t id)
{
	struct pvf_rsp rsp;

	hfront_put(&d->front, 0, slot);
	hfront_push(&d->front, 0);
	rdev_await(d, 1);
	assert_int_equal(hfront_response(&d->front, 0, &rsp, 0), 0);
	assert_true(rsp.id == id);
	return rsp.status;
}

int rdev_do(struct rdev *d, const void *slot, uint64_t id)
{
	int status = roundtrip(d, slot, id);

	honest(d->rig);
	assert_int_equal(hfront_unread(&d->front, 0), 0); /* one request, one response */
	return status;
}

void honest(struct rig *r)
{
	struct rdev *d = &r->good;
	uint8_t slot[PVF_SLOT_MAX];
	uint64_t sector = rnd(&r->seed) % 256 * 8;
	uint8_t *out = hfront_page(&d->front, 0), *in = hfront_page(&d->front, 2);

	for (unsigned i = 0; i < PVB_PAGE_SIZE; i += 64) {
		uint32_t word = (uint32_t)rnd(&r->seed);

		memcpy(out + i, &word, sizeof(word));
	}
	hfront_rw(&d->front, slot, BLKIF_OP_WRITE, 11, sector, 0, 1);
	assert_int_equal(roundtrip(d, slot, 11), BLKIF_RSP_OKAY);
	memset(in, 0x11, PVB_PAGE_SIZE);
	hfront_rw(&d->front, slot, BLKIF_OP_READ, 12, sector, 2, 1);
	assert_int_equal(roundtrip(d, slot, 12), BLKIF_RSP_OKAY);
	assert_memory_equal(in, out, PVB_PAGE_SIZE);
	assert_int_equal(hfront_unread(&d->front, 0), 0);
	assert_int_equal(d->nr_broken + d->nr_refused + d->nr_alarms, 0);
	r->done_honestly++;
}

void rdev_quiet(struct rdev *d, unsigned n)
{
	for (unsigned i = 0; i < 20; i++) {
		honest(d->rig);
		rig_pump(d->rig, 1);
	}
	assert_int_equal(hfront_unread(&d->front, 0), n);
}
