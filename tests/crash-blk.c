// SPDX-License-Identifier: GPL-2.0-or-later
/* The block back end dies at each point of its way, with each kind of request, and nobody notices: each request has one
 * response, the disk and the guest's pages have the right bytes.
 *
 *	crash-blk [--all | --stride=N[:K]] [--list]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/target.h"
#include "bus/loop.h"
#include "crash-rig.h"
#include "hostile-front.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define SLOTS 32u             /* requests of a batch at most: a ring of one page */
#define REGION 65536u         /* of the disk, for the n-th request of a batch */
#define PAGES 16u             /* of the guest's memory, for the same; the last one is the indirect table */
#define IMAGE (SLOTS * REGION)
#define NR_INDIRECT 14u
#define UNTOUCHED 0xee
#define STRIDE 101u           /* of so many cases `make check` runs one */

enum kind { READ, READ_MANY, WRITE, WRITE_MANY, FLUSH, FLUSH_DATA, BARRIER, BARRIER_DATA, DISCARD, INDIRECT_READ,
	    INDIRECT_WRITE, OUT_OF_RANGE, UNKNOWN, NR_KINDS,
	    /* after a write, in this order: to the same place */
	    BARRIER_OVER = NR_KINDS, WRITE_OVER };
static const char *const kind_name[] = { "read", "read of 11", "write", "write of 11", "flush", "flush with data",
	"barrier", "barrier with data", "discard", "indirect read", "indirect write", "read beyond the end", "unknown",
	"barrier over a write", "write over a barrier" };

struct conf {
	const char *name, *options;      /* of the target */
	enum blk_data data;
	bool persistent, abi32, uring;
	unsigned ring_order, queues;     /* 0 queues: 1 */
	bool twice;                      /* the successor dies, too */
};

struct batches { unsigned nr[2]; enum kind kind[2][SLOTS]; };

/* What a request moves: segments of its pages. */
struct shape { uint8_t op; unsigned nr_segs; bool whole, is_read, is_write; };

static struct crash_rig rig;
static struct hfront front;
static const struct conf *conf;
static char path[128];
static uint8_t model[IMAGE], disk[IMAGE];
static int image;

/* of the batch that is on its way */
static const enum kind *kinds;
static unsigned nr_kinds, batch, nr_answered;
static bool answered[SLOTS];

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static struct shape shape_of(enum kind kind)
{
	switch (kind) {
	case READ: return (struct shape){ BLKIF_OP_READ, 1, false, true, false };
	case READ_MANY: return (struct shape){ BLKIF_OP_READ, 11, true, true, false };
	case WRITE_OVER:
	case WRITE: return (struct shape){ BLKIF_OP_WRITE, 1, false, false, true };
	case WRITE_MANY: return (struct shape){ BLKIF_OP_WRITE, 11, true, false, true };
	case FLUSH_DATA: return (struct shape){ BLKIF_OP_FLUSH_DISKCACHE, 2, false, false, true };
	case BARRIER_OVER:
	case BARRIER_DATA: return (struct shape){ BLKIF_OP_WRITE_BARRIER, 2, false, false, true };
	case INDIRECT_READ: return (struct shape){ BLKIF_OP_READ, NR_INDIRECT, false, true, false };
	case INDIRECT_WRITE: return (struct shape){ BLKIF_OP_WRITE, NR_INDIRECT, false, false, true };
	default: return (struct shape){ 0 };
	}
}

/* That are looked at: its own, and one behind. */
static unsigned pages_of(const struct shape *s)
{
	return s->nr_segs + 1;
}

static unsigned region_of(unsigned at, enum kind kind)
{
	return kind == WRITE_OVER ? at - 2 : kind == BARRIER_OVER ? at - 1 : at;
}

/* Not whole: sectors 2 to 5 of the page, so that there is a before and a behind. */
static struct pvf_seg seg_of(unsigned at, unsigned i, bool whole)
{
	return (struct pvf_seg){ hfront_gref(&front, at * PAGES + i), whole ? 0 : 2, whole ? 7 : 5, 0 };
}

static uint8_t *bytes_of(unsigned at, unsigned i, bool whole, unsigned *len)
{
	*len = whole ? PVB_PAGE_SIZE : 4 * 512;
	return hfront_page(&front, at * PAGES + i) + (whole ? 0 : 2 * 512);
}

/* Never the same twice: what was written in an earlier batch or case must not look right. */
static void fill(uint8_t *p, unsigned len, unsigned at, unsigned i)
{
	static uint64_t stamp;

	for (unsigned k = 0; k < len; k += 8) {
		uint64_t word = ++stamp * 0x9e3779b97f4a7c15ull ^ at << 8 ^ i;

		memcpy(p + k, &word, 8);
	}
}

static void put(unsigned at, enum kind kind)
{
	uint64_t id = 0x1122334400000000ull + batch * 256 + at, sector = (uint64_t)region_of(at, kind) * (REGION / 512);
	struct shape s = shape_of(kind);
	struct pvf_seg segs[NR_INDIRECT];
	uint8_t slot[PVF_SLOT_MAX];
	unsigned len;

	memset(hfront_page(&front, at * PAGES), UNTOUCHED, pages_of(&s) * PVB_PAGE_SIZE);
	for (unsigned i = 0; i < s.nr_segs; i++) {
		segs[i] = seg_of(at, i, s.whole);
		if (s.is_write) {
			uint8_t *p = bytes_of(at, i, s.whole, &len);

			fill(p, len, at, i);
		}
	}
	switch (kind) {
	case FLUSH:
		hfront_segs(&front, slot, BLKIF_OP_FLUSH_DISKCACHE, id, 0, segs, 0);
		break;
	case BARRIER:
		hfront_segs(&front, slot, BLKIF_OP_WRITE_BARRIER, id, 0, segs, 0);
		break;
	case DISCARD:
		hfront_discard(&front, slot, id, sector, REGION / 512, 0);
		break;
	case OUT_OF_RANGE:
		segs[0] = seg_of(at, 0, true);
		hfront_segs(&front, slot, BLKIF_OP_READ, id, IMAGE / 512 - 1, segs, 1);
		break;
	case UNKNOWN:
		segs[0] = seg_of(at, 0, true);
		hfront_segs(&front, slot, 77, id, sector, segs, 1);
		break;
	case INDIRECT_READ:
	case INDIRECT_WRITE:
		memcpy(hfront_page(&front, at * PAGES + PAGES - 1), segs, s.nr_segs * sizeof(segs[0]));
		pvf_wire_indirect(front.wire, slot, s.op, 0, id, sector, hfront_gref(&front, at * PAGES + PAGES - 1),
				  s.nr_segs);
		break;
	default:
		hfront_segs(&front, slot, s.op, id, sector, segs, s.nr_segs);
	}
	hfront_put(&front, at % front.queues, slot); /* in turn */
}

static int status_of(enum kind kind)
{
	return kind == OUT_OF_RANGE ? BLKIF_RSP_ERROR : kind == UNKNOWN ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_OKAY;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void take_from(unsigned queue)
{
	struct pvf_rsp rsp;

	while (hfront_response(&front, queue, &rsp, 0) == 0) {
		unsigned at = (unsigned)(rsp.id & 0xff);

		CRASH_CHECK(&rig, rsp.id >> 32 == 0x11223344 && (rsp.id >> 8 & 0xff) == batch && at < nr_kinds &&
			    at % front.queues == queue, "queue %u: a response to request %#llx, which is not there", queue,
			    (unsigned long long)rsp.id);
		CRASH_CHECK(&rig, !answered[at], "a second response to request %u, %s", at, kind_name[kinds[at]]);
		CRASH_CHECK(&rig, rsp.status == status_of(kinds[at]), "request %u, %s: status %d", at,
			    kind_name[kinds[at]], rsp.status);
		answered[at] = true;
		nr_answered++;
	}
}

static bool take_answers(void *arg)
{
	for (unsigned q = 0; q < front.queues; q++)
		if (crash_rang(&rig, front.q[q].port))
			take_from(q);
	return nr_answered == nr_kinds;
}

/* The n-th request's pages are as they must be, and the model's disk is what it made of it. */
static void settle(unsigned at, enum kind kind)
{
	struct shape s = shape_of(kind);
	uint8_t *region = model + (size_t)region_of(at, kind) * REGION;
	static uint8_t expected[PVB_PAGE_SIZE];
	unsigned len;

	if (kind == DISCARD)
		memset(region, 0, REGION);
	for (unsigned i = 0; i < pages_of(&s); i++) {
		uint8_t *page = hfront_page(&front, at * PAGES + i), *p;

		memset(expected, UNTOUCHED, sizeof(expected));
		if (i < s.nr_segs) {
			p = bytes_of(at, i, s.whole, &len);
			if (s.is_write)
				memcpy(region, p, len);
			memcpy(expected + (p - page), region, len);
			region += len;
		}
		CRASH_CHECK(&rig, memcmp(page, expected, sizeof(expected)) == 0, "request %u, %s: page %u is wrong", at,
			    kind_name[kind], i);
	}
}

/* ---- a case ------------------------------------------------------------------------------------------------------ */

static void fresh(void)
{
	for (unsigned i = 0; i < front.queues; i++) {
		struct hfront_queue *q = &front.q[i];

		memset(q->slots, 0xa5, (size_t)front.nr_slots * front.slot_size);
		q->prod = q->cons = q->sh->req_prod = q->sh->rsp_prod = rig.start;
		q->sh->req_event = q->sh->rsp_event = rig.start + 1;
	}
	crash_journals(&rig);
}

static void push(const enum kind *k, unsigned nr)
{
	memset(answered, 0, sizeof(answered));
	nr_answered = 0;
	kinds = k;
	nr_kinds = nr;
	for (unsigned i = 0; i < nr; i++)
		put(i, k[i]);
	for (unsigned q = 0; q < front.queues; q++)
		hfront_push(&front, q);
}

/* All queues together. */
static uint32_t responses(void)
{
	uint32_t nr = 0;

	for (unsigned q = 0; q < front.queues; q++)
		nr += pvb_ring_load(&front.q[q].sh->rsp_prod) - rig.start;
	return nr;
}

static void run(struct crash_rig *r, const struct crash_scenario *s)
{
	const struct batches *b = s->arg;
	uint32_t total = 0;
	size_t len;

	fresh();
	for (batch = 0; batch < 2; batch++) {
		push(b->kind[batch], b->nr[batch]);
		if (batch == 0)
			crash_start(r);
		crash_wait(r, take_answers, NULL, "responses");
		crash_idle(r);
		for (unsigned i = 0; i < nr_kinds; i++)
			settle(i, kinds[i]);
		total += nr_kinds;
		CRASH_CHECK(r, responses() == total, "%u responses to %u requests", responses(), total);
	}
	crash_stop(r);
	len = (b->nr[0] > b->nr[1] ? b->nr[0] : b->nr[1]) * REGION;
	CRASH_CHECK(r, pread(image, disk, len, 0) == (ssize_t)len && memcmp(disk, model, len) == 0,
		    "the disk has wrong bytes");
}

/* The storage fails, the request is held, and the guest goes. */
static void run_held(struct crash_rig *r, const struct crash_scenario *s)
{
	static const enum kind held[] = { WRITE, DISCARD, WRITE };

	batch = 0;
	fresh();
	push(held, 3);
	crash_start(r);
	crash_idle(r);
	crash_disconnect(r);
	CRASH_CHECK(r, responses() == 0, "%u responses to requests that were held", responses());
	crash_stop(r);
}

/* ---- which cases ------------------------------------------------------------------------------------------------- */

static void open_disk(struct crash_rig *r)
{
	struct crash_device *d = &r->dev[0];
	struct blk_config *cfg = &d->attach.u.attach.cfg;
	struct target *t;
	struct pvb_error err;
	char identity[64];

	memset(d, 0, sizeof(*d));
	d->attach = (struct ipc_msg){ .type = IPC_ATTACH, .class = IPC_VBD, .domid = r->domid };
	*cfg = (struct blk_config){ .discard = true, .barrier = true, .max_indirect = 256, .data = conf->data };
	snprintf(d->attach.u.attach.target, sizeof(d->attach.u.attach.target), "file:%s%s", path, conf->options);
	CRASH_CHECK(r, target_parse(d->attach.u.attach.target, &t, &err) == 0 &&
		       disk_prepare(t, false, d->fds, &d->nr_fds, identity, &err) == 0, "%s", err.text);
	target_free(t);
	d->attach.nr_fds = d->nr_fds;
	d->stats_fd = memfd_create("stats", MFD_CLOEXEC);
	CRASH_CHECK(r, ftruncate(d->stats_fd, sizeof(struct stats_device)) == 0, "%s", strerror(errno));
	r->nr_devs = 1;
}

static void connect_disk(struct crash_rig *r)
{
	struct hfront_options opt = { .queues = conf->queues, .ring_order = conf->ring_order, .pages = SLOTS * PAGES,
				      .abi32 = conf->abi32, .persistent = conf->persistent };
	struct ipc_msg *m = &r->dev[0].connect;
	struct blk_connect *c = &m->u.connect.blk;
	struct pvb_error err;

	front = (struct hfront){ .hv = r->hv };
	CRASH_CHECK(r, hfront_rings(&front, &opt, &err) == 0, "%s", err.text);
	*m = (struct ipc_msg){ .type = IPC_CONNECT, .class = IPC_VBD, .domid = r->domid };
	*c = (struct blk_connect){ .nr_queues = front.queues, .ring_pages = 1u << conf->ring_order,
				   .abi = conf->abi32 ? BLK_ABI_32 : BLK_ABI_64, .persistent = conf->persistent };
	for (unsigned q = 0; q < front.queues; q++) {
		c->queue[q].event_channel = front.q[q].port;
		memcpy(c->queue[q].refs, front.q[q].grant.refs, c->ring_pages * sizeof(uint32_t));
	}
}

static void begin(const struct conf *c)
{
	conf = c;
	crash_rig_new(&rig, 1024);
	rig.no_uring = !c->uring;
	snprintf(path, sizeof(path), "%s/image", rig.dir);
	image = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CRASH_CHECK(&rig, image >= 0, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < IMAGE; i += PVB_PAGE_SIZE)
		fill(model + i, PVB_PAGE_SIZE, i / REGION, i);
	CRASH_CHECK(&rig, pwrite(image, model, IMAGE, 0) == IMAGE, "%s: %s", path, strerror(errno));
	open_disk(&rig);
	connect_disk(&rig);
}

static void end(void)
{
	hfront_drop(&front);
	close(image);
	unlink(path);
	crash_rig_free(&rig);
}

/* Index and ring wrap at once; the ring alone; the index alone in a longer ring; neither. */
static const uint32_t starts[] = { 0xfffffffe, 0x0000001d, 0xfffffff0, 5 };
#define NR_STARTS (sizeof(starts) / sizeof(starts[0]))

static const struct conf confs[] = {
	{ "copied", "", BLK_DATA_COPY, .twice = true },
	/* others overtake: responses go over slots whose requests still run */
	{ "copied, writes late", "?delay=write:1ms", BLK_DATA_COPY, .twice = true },
	{ "mapped", "", BLK_DATA_MAP },
	/* a barrier in one of them is one for all */
	{ "copied, two queues", "?delay=write:1ms", BLK_DATA_COPY, .queues = 2 },
	{ "persistent grants, 32 bit", "", BLK_DATA_AUTO, .persistent = true, .abi32 = true },
	{ "copied, io_uring, four pages", "", BLK_DATA_COPY, .uring = true, .ring_order = 2 },
};
#define NR_CONFS (sizeof(confs) / sizeof(confs[0]))

/* All kinds together, then in another order. */
static void mixed(struct batches *b)
{
	b->nr[0] = b->nr[1] = NR_KINDS;
	for (unsigned i = 0; i < NR_KINDS; i++) {
		b->kind[0][i] = (enum kind)i;
		b->kind[1][i] = (enum kind)((i + 5) % NR_KINDS);
	}
}

static void full_ring(struct batches *b)
{
	b->nr[0] = b->nr[1] = SLOTS;
	for (unsigned i = 0; i < SLOTS; i++) {
		b->kind[0][i] = i % 3 ? WRITE : READ;
		b->kind[1][i] = i % 3 ? READ : WRITE;
	}
}

static void in_order(struct batches *b)
{
	*b = (struct batches){ { 6, 4 }, { { READ, WRITE, BARRIER_OVER, WRITE_OVER, FLUSH, WRITE },
					   { WRITE, BARRIER_OVER, WRITE_OVER, READ } } };
}

static void one_kind(struct batches *b, enum kind kind)
{
	*b = (struct batches){ { 3, 1 }, { { WRITE, kind, READ }, { kind } } };
}

static void check(const char *what, const struct batches *b, uint32_t start, unsigned stride, bool twice)
{
	char name[128];
	struct crash_scenario s = { name, run, b };

	snprintf(name, sizeof(name), "%s, %s", conf->name, what);
	crash_all(&rig, &s, start, stride, twice);
}

static void check_conf(const struct conf *c, unsigned stride)
{
	struct batches b;

	begin(c);
	for (unsigned i = 0; i < NR_STARTS; i++) {
		mixed(&b);
		check("all kinds", &b, starts[i], stride, false);
	}
	full_ring(&b);
	check("a full ring", &b, starts[0], stride, false);
	if (c->queues < 2) {
		in_order(&b);
		check("a barrier between", &b, starts[0], stride, false);
	}
	for (unsigned k = 0; k < NR_KINDS; k++) {
		one_kind(&b, (enum kind)k);
		check(kind_name[k], &b, starts[0], stride, false);
	}
	one_kind(&b, INDIRECT_WRITE);
	if (c->twice)
		check("twice", &b, starts[0], stride, true);
	end();
}

static void check_held(unsigned stride)
{
	static const struct conf failing = { "held", "?fault=all:EIO", BLK_DATA_COPY };
	struct crash_scenario s = { "held, and the guest goes", run_held };

	begin(&failing);
	crash_all(&rig, &s, starts[0], stride, false);
	end();
}

int main(int argc, char **argv)
{
	unsigned stride = STRIDE;

	for (int i = 1; i < argc; i++) {
		if (crash_stride(argv[i], &stride))
			continue;
		if (strcmp(argv[i], "--list") == 0)
			return crash_list(), 0;
		else
			return fprintf(stderr, "usage: crash-blk [--all | --stride=N[:K]] [--list]\n"), 2;
	}
	for (unsigned i = 0; i < NR_CONFS; i++) {
		uint64_t t = pvb_now_ms();

		check_conf(&confs[i], stride);
		printf("%s: %llu ms\n", confs[i].name, (unsigned long long)(pvb_now_ms() - t));
	}
	check_held(stride);
	return crash_report("crash-blk") ? 0 : 1;
}
