// SPDX-License-Identifier: GPL-2.0-or-later
/* Fuzzes the block protocol: a front end does and says what the input wants, over a hypervisor and a disk made of
 * arrays.  A model says for each single request what must come of it: in range and granted it succeeds with the right
 * data, else it is refused and changes nothing.  Bursts, faults and failing storage must give one answer a request.
 *
 * Input   steps, one byte each, then what the step takes (missing bytes are 0):
 *           step & 7  0,1,2  a direct request: op, segments, id, sector, two bytes a segment
 *                     3      an indirect one: op, two bytes segments, id, sector, table, two seeds
 *                     4      discard: flag, id, sector, sectors
 *                     5      the last slot again, 1..40 times at once; bit 7: the disk answers late
 *                     6      reconnect: ABI, data mode, persistent, ring order, start index, read-only
 *                     7      the world: (next byte & 7) 0,1 a grant goes and comes, 2 storage fails, 3 the
 *                            hypervisor fails, 4 producer jump, 5 resize, 6 two bytes of the last slot change
 *
 * Built with --enable-fuzz (clang) it is a libFuzzer target: ./fuzz-blk -max_len=400 DIR tests/corpus/blk
 * Else fuzz-main.c runs it, which "make check" does with the corpus. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/block/blkif-impl.h"
#include "bus/hv-impl.h"
#include "fuzz-main.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define PAGES 48u             /* grants 0..47; from 40 on read-only */
#define READONLY_FROM 40u
#define RING_GREF 200u
#define RING_PAGES 4u
#define DISK_MAX 128u         /* sectors */
#define DOMID 3u

/* ---- a hypervisor of arrays ------------------------------------------------------------------------------ */

static uint8_t *memory;                 /* PAGES data pages, then the ring's */
static int memory_fd = -1, event_fd = -1;
static bool revoked[PAGES];
static bool connecting;                 /* the ring is no data: what a guest does to its own ring says nothing about us */
static struct pvb_hv hv;

static int page_of(uint32_t gref, bool writable)
{
	if (connecting && gref >= RING_GREF && gref < RING_GREF + RING_PAGES)
		return (int)(PAGES + gref - RING_GREF);
	if (gref >= PAGES || revoked[gref] || (writable && gref >= READONLY_FROM))
		return -1;
	return (int)gref;
}

static int fake_map(struct pvb_hv *h, uint32_t domid, const uint32_t *refs, uint32_t nr, bool writable, struct pvb_map *map)
{
	size_t bytes = ((size_t)nr + 2) * PVB_PAGE_SIZE;
	uint8_t *area;

	for (uint32_t i = 0; i < nr; i++)
		if (page_of(refs[i], writable) < 0)
			return -EINVAL;
	area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(area != MAP_FAILED);
	for (uint32_t i = 0; i < nr; i++)
		MUST(mmap(area + ((size_t)i + 1) * PVB_PAGE_SIZE, PVB_PAGE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0),
			  MAP_SHARED | MAP_FIXED, memory_fd, (off_t)page_of(refs[i], writable) * PVB_PAGE_SIZE) != MAP_FAILED);
	map->addr = area + PVB_PAGE_SIZE;
	return 0;
}

static void fake_unmap(struct pvb_hv *h, struct pvb_map *map)
{
	munmap((uint8_t *)map->addr - PVB_PAGE_SIZE, ((size_t)map->nr + 2) * PVB_PAGE_SIZE);
}

static uint8_t *end_of(const struct pvb_copy_end *e, bool writable)
{
	int page = e->local != NULL ? -1 : page_of(e->ref, writable);

	MUST(e->local != NULL || e->domid == DOMID);
	return e->local != NULL ? e->local : page < 0 ? NULL : memory + (size_t)page * PVB_PAGE_SIZE + e->offset;
}

static int fake_copy(struct pvb_hv *h, struct pvb_copy *ops, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		uint8_t *src = end_of(&ops[i].src, false), *dst = end_of(&ops[i].dst, true);

		ops[i].status = src != NULL && dst != NULL ? 0 : -3;
		if (ops[i].status == 0)
			memcpy(dst, src, ops[i].len);
	}
	return 0;
}

static int fake_fd(struct pvb_hv *h) { return event_fd; }
static int fake_bind(struct pvb_hv *h, uint32_t domid, uint32_t port) { return (int)port + 1; }
static int fake_unbind(struct pvb_hv *h, uint32_t port) { return 0; }
static int fake_notify(struct pvb_hv *h, uint32_t port) { return 0; }
static int fake_take(struct pvb_hv *h, uint32_t *ports, unsigned max) { return 0; }
static int fake_unmask(struct pvb_hv *h, const uint32_t *ports, unsigned nr) { return 0; }

static const struct pvb_hv_ops fake_ops = {
	.name = "fake", .map = fake_map, .unmap = fake_unmap, .copy = fake_copy, .evt_fd = fake_fd, .evt_bind = fake_bind,
	.evt_unbind = fake_unbind, .evt_notify = fake_notify, .evt_take = fake_take, .evt_unmask = fake_unmask,
};

/* ---- a disk of bytes --------------------------------------------------------------------------------------- */

static uint8_t content[DISK_MAX * 512];
static struct disk disk;
static bool read_only, late;
static int storage_fails;               /* -errno for the next bio */
static struct bio *waiting;

static void carry_out(struct bio *b)
{
	uint64_t at = b->off, sum = 0;

	MUST(b->off % 512 == 0 && b->len % 512 == 0);
	MUST(b->off <= disk.info.size && b->len <= disk.info.size - b->off);
	MUST(b->op == BIO_READ || b->op == BIO_FLUSH || !read_only);
	if (b->op == BIO_DISCARD || b->op == BIO_SECURE_DISCARD) {
		MUST(b->len > 0 && b->len <= disk.info.max_discard);
		memset(content + b->off, 0, b->len);
	}
	for (unsigned i = 0; i < b->nr_iov; i++, at += b->iov[i - 1].iov_len) {
		sum += b->iov[i].iov_len;
		MUST(sum <= b->len);
		if (b->op == BIO_READ)
			memcpy(b->iov[i].iov_base, content + at, b->iov[i].iov_len);
		else
			memcpy(content + at, b->iov[i].iov_base, b->iov[i].iov_len);
	}
	MUST(sum == (b->op == BIO_READ || b->op == BIO_WRITE ? b->len : 0));
}

static void disk_take(struct disk *d, struct bio **bios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		bios[i]->result = storage_fails;
		storage_fails = 0;
		if (bios[i]->result == 0)
			carry_out(bios[i]);
		if (late) {
			bios[i]->next = waiting;
			waiting = bios[i];
		} else {
			bio_done(bios[i], bios[i]->result);
		}
	}
}

static void disk_gone(struct disk *d) { }
static const struct provider arrays = { .name = "arrays", .submit = disk_take, .close = disk_gone };

/* ---- the device and its front end --------------------------------------------------------------------------- */

static struct pvb_loop *loop;
static struct worker_io io;
static struct pvb_events *events;
static struct blk_ctx *ctx;
static struct blk_dev *dev;
static struct stats_device stats;
static void *journal;
static struct blk_connect conn;
static struct pvb_ring_shared *sh;
static uint32_t prod, cons, nr_slots;
static unsigned nr_broken, nr_drained;
static bool loose;                      /* what comes of it is not predicted */

static void on_broken(void *arg, struct blk_dev *d, const char *why) { nr_broken++; }
static void on_refused(void *arg, struct blk_dev *d, const char *why, uint64_t more) { MUST(why[0] != '\0'); }
static void on_alarm(void *arg, struct blk_dev *d, const char *text) { }
static void on_drained(void *arg, struct blk_dev *d) { nr_drained++; }

static uint8_t *slot_at(uint32_t i)
{
	return (uint8_t *)(sh + 1) + (size_t)(i & (nr_slots - 1)) * blk_slot_size(conn.abi);
}

static void connect_as(unsigned how, uint32_t start)
{
	struct pvb_error err;

	conn = (struct blk_connect){ .nr_queues = 1, .ring_pages = 1u << (how >> 4 & 1), .abi = how & 1 ? BLK_ABI_32 : BLK_ABI_64,
				     .persistent = how & 8 };
	for (uint32_t i = 0; i < RING_PAGES; i++)
		conn.queue[0].refs[i] = RING_GREF + i;
	dev->cfg.data = how & 2 ? BLK_DATA_MAP : BLK_DATA_COPY;
	dev->cfg.stable_writes = how & 4;
	dev->cfg.readonly = read_only = how & 32;
	free(journal);
	MUST(journal = aligned_alloc(PVB_PAGE_SIZE, blk_journal_bytes(&conn)));
	memset(journal, 0, blk_journal_bytes(&conn));
	memset(sh, 0xa5, RING_PAGES * PVB_PAGE_SIZE);
	sh->req_prod = sh->rsp_prod = prod = cons = start;
	sh->req_event = sh->rsp_event = start + 1;
	nr_slots = pvb_ring_slots(conn.ring_pages * PVB_PAGE_SIZE, blk_slot_size(conn.abi));
	nr_broken = 0;
	pvb_hv_fault(&hv, PVB_FAULT_MAP, 0, 0, 0);
	connecting = true;
	MUST(blk_connect(dev, &conn, &journal, &err) == 0);
	connecting = false;
}

static void complete_late(void)
{
	struct bio *b;

	while ((b = waiting)) {
		waiting = b->next;
		bio_done(b, b->result);
	}
}

static void disconnect(void)
{
	nr_drained = 0;
	blk_disconnect(dev);
	complete_late();
	for (unsigned i = 0; i < 10 && nr_drained == 0; i++)
		blk_run(ctx);
	MUST(nr_drained == 1);
	MUST(hv.live.maps == 0 && hv.live.ports == 0);
	MUST(bufpool_used(ctx->pool) == 0);
}

/* Until all that was asked is answered, whatever the storage says the first time. */
static void run(void)
{
	for (unsigned i = 0; i < 100 && !nr_broken; i++) {
		dev->queues[0].ready = true;
		blk_run(ctx);
		if (sh->rsp_prod == prod)
			return;
		late = late && i < 2;
		complete_late();
		blk_resume(dev);
	}
	MUST(nr_broken);
}

/* ---- the model ------------------------------------------------------------------------------------------------ */

static uint8_t model_disk[sizeof(content)], model_mem[PAGES * PVB_PAGE_SIZE];

struct ask {
	uint8_t wire, op;
	unsigned nr;
	uint64_t id, sector, count;
	const uint8_t *segs;            /* 8 bytes each */
};

static void parse(const uint8_t *slot, struct ask *a)
{
	const uint8_t *body = slot + (conn.abi == BLK_ABI_32 ? 4 : 8);
	uint32_t table;
	uint16_t nr;

	memset(a, 0, sizeof(*a));
	a->wire = a->op = slot[0];
	a->nr = slot[1];
	memcpy(&a->id, body, 8);
	memcpy(&a->sector, body + 8, 8);
	a->segs = body + 16;
	if (a->op == BLKIF_OP_DISCARD)
		memcpy(&a->count, body + 16, 8);
	if (a->op == BLKIF_OP_INDIRECT) {
		memcpy(&nr, slot + 2, 2);
		memcpy(&table, body + 20, 4);
		a->op = slot[1];
		a->nr = nr;
		a->segs = page_of(table, false) < 0 ? NULL : memory + (size_t)page_of(table, false) * PVB_PAGE_SIZE;
	}
}

static uint32_t seg_gref(const struct ask *a, unsigned i)
{
	uint32_t g;

	memcpy(&g, a->segs + 8 * i, 4);
	return g;
}

/* The status it must get, before anything is touched. */
static int verdict(const struct ask *a)
{
	bool indirect = a->wire == BLKIF_OP_INDIRECT, rw = a->op == BLKIF_OP_READ || a->op == BLKIF_OP_WRITE;
	unsigned __int128 end = a->sector;

	if (indirect && !rw)
		return BLKIF_RSP_ERROR;
	if (a->op == BLKIF_OP_DISCARD) {
		if (read_only)
			return BLKIF_RSP_ERROR;
		return a->count == 0 || end + a->count > disk.info.size / 512 ? BLKIF_RSP_ERROR : 0;
	}
	if (!rw && a->op != BLKIF_OP_FLUSH_DISKCACHE && a->op != BLKIF_OP_WRITE_BARRIER)
		return BLKIF_RSP_EOPNOTSUPP;
	if (a->nr > (indirect ? 256 : 11) || (a->nr == 0 && rw) || (read_only && a->op != BLKIF_OP_READ) || !a->segs)
		return BLKIF_RSP_ERROR;
	for (unsigned i = 0; i < a->nr; i++) {
		unsigned first = a->segs[8 * i + 4], last = a->segs[8 * i + 5];

		if (last > 7 || first > last)
			return BLKIF_RSP_ERROR;
		end += last - first + 1;
	}
	if (a->nr > 0 && end > disk.info.size / 512)
		return BLKIF_RSP_ERROR;
	for (unsigned i = 0; i < a->nr; i++) {
		if (page_of(seg_gref(a, i), a->op == BLKIF_OP_READ) < 0)
			return BLKIF_RSP_ERROR;
	}
	return 0;
}

/* Do it to the model. */
static void imagine(const struct ask *a)
{
	uint64_t at = a->sector * 512;

	if (a->op == BLKIF_OP_DISCARD)
		memset(model_disk + at, 0, a->count * 512);
	for (unsigned i = 0; a->op != BLKIF_OP_DISCARD && i < a->nr; i++) {
		unsigned first = a->segs[8 * i + 4], len = (a->segs[8 * i + 5] - first + 1u) * 512;
		uint8_t *mem = model_mem + (size_t)seg_gref(a, i) * PVB_PAGE_SIZE + first * 512;

		if (a->op == BLKIF_OP_READ)
			memcpy(mem, model_disk + at, len);
		else
			memcpy(model_disk + at, mem, len);
		at += len;
	}
}

/* What the model does not know: mappings kept after a revocation. */
static bool beyond_the_model(const struct ask *a)
{
	if (loose)
		return true;
	for (unsigned i = 0; a->segs && a->op != BLKIF_OP_DISCARD && i < a->nr && i < 256 && (i < 11 || a->wire == BLKIF_OP_INDIRECT); i++) {
		uint32_t g = seg_gref(a, i);

		if (conn.persistent && g < PAGES && revoked[g])
			return true;
	}
	return false;
}

static void check_responses(uint32_t n, uint64_t id, int status)
{
	uint32_t size = blk_rsp_size(conn.abi), slot = blk_slot_size(conn.abi);

	if (nr_broken)
		return;
	MUST(sh->rsp_prod == prod && prod - cons == n);
	for (; cons != prod; cons++) {
		const uint8_t *p = slot_at(cons);
		int16_t got;

		memcpy(&got, p + 10, 2);
		MUST(memcmp(p, &id, 8) == 0);
		MUST(got == 0 || got == BLKIF_RSP_ERROR || got == BLKIF_RSP_EOPNOTSUPP);
		MUST(status == INT16_MAX || got == status);
		MUST(p[9] == 0);
		for (uint32_t b = 12; b < slot; b++)
			MUST(p[b] == 0);
	}
	MUST(size <= slot);
}

static void resync(void)
{
	memcpy(model_disk, content, sizeof(content));
	memcpy(model_mem, memory, sizeof(model_mem));
}

static void recover_if_broken(void)
{
	if (!nr_broken)
		return;
	disconnect();
	connect_as(0, 0xfffffff0u);
	resync();
}

static uint8_t last_slot[BLK_SLOT_MAX];

static void one_request(void)
{
	struct ask a;
	int want;
	bool free_will;

	parse(last_slot, &a);
	want = verdict(&a);
	free_will = beyond_the_model(&a);
	memcpy(model_mem, memory, sizeof(model_mem));
	if (want == 0 && !free_will)
		imagine(&a);
	pvb_ring_copy_out(slot_at(prod), last_slot, blk_slot_size(conn.abi));
	sh->req_prod = ++prod;
	run();
	if (free_will) {
		check_responses(1, a.id, INT16_MAX);
		resync();
	} else {
		check_responses(1, a.id, want);
		MUST(memcmp(model_disk, content, sizeof(content)) == 0);
		if (want == 0) /* of a read that failed, what was granted may have arrived */
			MUST(memcmp(model_mem, memory, sizeof(model_mem)) == 0);
	}
	for (unsigned op = 0; op < PVB_FAULT_NR; op++)
		pvb_hv_fault(&hv, (enum pvb_fault_op)op, 0, 0, 0);
	loose = false;
	storage_fails = 0;
	recover_if_broken();
}

static void burst(unsigned n)
{
	struct ask a;

	parse(last_slot, &a);
	if (n > nr_slots)
		n = nr_slots;
	for (unsigned i = 0; i < n; i++)
		pvb_ring_copy_out(slot_at(prod++), last_slot, blk_slot_size(conn.abi));
	sh->req_prod = prod;
	run();
	check_responses(n, a.id, INT16_MAX);
	resync();
	late = false;
	recover_if_broken();
}

/* ---- programs --------------------------------------------------------------------------------------------------- */

static const uint8_t *in, *in_end;

static uint8_t next(void)
{
	return in < in_end ? *in++ : 0;
}

static uint64_t next_sector(void)
{
	uint8_t b = next();

	return b < 0xc0 ? b : b < 0xe0 ? (uint64_t)0 - (b - 0xc0u) : (uint64_t)1 << (b - 0xe0u + 32);
}

static void put_seg(uint8_t *p, uint8_t gref, uint8_t sectors)
{
	uint32_t g = gref < 64 ? gref : gref < 250 ? gref % PAGES : gref == 250 ? UINT32_MAX : RING_GREF;

	memcpy(p, &g, 4);
	/* mostly legal; 0x80 says that these are the bytes themselves */
	p[4] = sectors & 0x80 ? sectors >> 3 & 15 : (sectors & 7) < (sectors >> 3 & 7) ? sectors & 7 : sectors >> 3 & 7;
	p[5] = sectors & 0x80 ? sectors & 7 : (sectors & 7) < (sectors >> 3 & 7) ? sectors >> 3 & 7 : sectors & 7;
	if (sectors == 0xff)
		p[5] = 0xff;
}

static void build(unsigned step)
{
	uint8_t *body = last_slot + (conn.abi == BLK_ABI_32 ? 4 : 8);
	uint64_t id, sector;
	uint16_t nr;
	uint8_t b;

	memset(last_slot, 0, sizeof(last_slot));
	b = next();
	switch (step & 7) {
	case 3:
		last_slot[0] = BLKIF_OP_INDIRECT;
		last_slot[1] = b & 0x80 ? b : b & 1;
		nr = next();
		nr = (uint16_t)(nr | (next() & 1) << 8);
		memcpy(last_slot + 2, &nr, 2);
		break;
	case 4:
		last_slot[0] = BLKIF_OP_DISCARD;
		last_slot[1] = b;
		break;
	default:
		last_slot[0] = b & 0x80 ? b : (b & 3);
		last_slot[1] = next();
		if (last_slot[1] < 0xf0)
			last_slot[1] %= 13;
	}
	id = next() * 0x0101010101010101ull;
	sector = next_sector();
	memcpy(body, &id, 8);
	memcpy(body + 8, &sector, 8);
	if ((step & 7) == 4) {
		sector = next_sector();
		memcpy(body + 16, &sector, 8);
	} else if ((step & 7) == 3) {
		uint32_t table = next() % 64;
		uint8_t seed = next(), stride = next();

		memcpy(body + 20, &table, 4);
		for (unsigned i = 0; table < READONLY_FROM && i < 512; i++)
			put_seg(memory + (size_t)table * PVB_PAGE_SIZE + 8 * i, (uint8_t)(seed + i * stride) % 40, stride & 8 ? 0 : 7);
	} else {
		for (unsigned i = 0; i < last_slot[1] && i < 11; i++) {
			b = next();
			put_seg(body + 16 + 8 * i, b, next());
		}
	}
}

static void jump(void)
{
	uint32_t by = nr_slots + 1 + next() * 0x01000193u;

	if (by <= nr_slots)
		by = 1u << 31;
	sh->req_prod = prod + by;
	dev->queues[0].ready = true;
	blk_run(ctx);
	MUST(nr_broken == 1 && sh->rsp_prod == cons);
	recover_if_broken();
}

static void world(void)
{
	static const int errors[] = { -EIO, -ENOSPC, -EOPNOTSUPP, -ENOMEM };
	uint8_t what = next(), arg = next();

	switch (what & 7) {
	case 0:
	case 1:
		revoked[arg % PAGES] ^= true;
		break;
	case 2:
		storage_fails = errors[arg & 3];
		loose = true;
		break;
	case 3:
		pvb_hv_fault(&hv, (enum pvb_fault_op)(arg % 3), arg >> 4, 1 + (arg >> 2 & 3), arg % 3 == 2 ? (int8_t)next() | 1 : -ENOMEM);
		loose = true;
		break;
	case 4:
		jump();
		break;
	case 5:
		disk.info.size = (arg % (DISK_MAX + 1)) * 512u;
		break;
	default:
		last_slot[arg % BLK_SLOT_MAX] = next();
		one_request();
	}
}

static void set_up(void)
{
	static const struct blk_callbacks cb = { on_broken, on_refused, on_alarm, on_drained };
	static const struct blk_config cfg = {
		.discard = true, .barrier = true, .max_indirect = PVB_VBD_MAX_INDIRECT,
		.policy = { BLK_RETRY, BLK_RETRY, BLK_REPORT },
	};

	if (memory_fd < 0) {
		memory_fd = memfd_create("fuzz-blk", MFD_CLOEXEC);
		event_fd = eventfd(0, EFD_CLOEXEC);
		MUST(ftruncate(memory_fd, (PAGES + RING_PAGES) * PVB_PAGE_SIZE) == 0);
		memory = mmap(NULL, (PAGES + RING_PAGES) * PVB_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
		MUST(memory != MAP_FAILED);
		sh = (struct pvb_ring_shared *)(memory + PAGES * PVB_PAGE_SIZE);
		MUST(pvb_loop_new(&loop) == 0 && aio_new(&io.aio, loop, 8) == 0);
		io.loop = loop;
	}
	hv = (struct pvb_hv){ .ops = &fake_ops, .only = UINT32_MAX, .flags = PVB_HV_BACK };
	disk = (struct disk){ .prov = &arrays, .io = &io,
			      .info = { .size = sizeof(content), .physical_block = 512, .discard_granularity = 512, .max_discard = 8192,
					.flush = true, .secure_discard = true } };
	for (unsigned i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 + i / 512);
	for (unsigned i = 0; i < PAGES * PVB_PAGE_SIZE; i++)
		memory[i] = (uint8_t)(i * 13 + i / 4096);
	memset(revoked, 0, sizeof(revoked));
	memset(&stats, 0, sizeof(stats));
	memset(last_slot, 0, sizeof(last_slot));
	late = loose = false;
	storage_fails = 0;
	waiting = NULL;
	MUST(pvb_events_new(&events, &hv, loop, NULL, NULL) == 0);
	MUST(blk_ctx_new(&ctx, &hv, events, &io, DOMID, 4 << 20, &cb, NULL) == 0);
	MUST(blk_dev_new(&dev, ctx, &cfg, &disk, &stats, NULL) == 0);
	connect_as(0, 0xfffffff0u);
	resync();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned step, how;

	set_up();
	in = data;
	in_end = data + size;
	while (in < in_end) {
		step = next();
		switch (step & 7) {
		case 5:
			how = next();
			late = how & 0x80;
			burst(1 + how % 40);
			break;
		case 6:
			how = next();
			disconnect();
			connect_as(how, next() * 0x01010101u);
			resync();
			break;
		case 7:
			world();
			break;
		default:
			build(step);
			one_request();
		}
	}
	disconnect();
	blk_dev_free(dev);
	blk_ctx_free(ctx);
	pvb_events_free(events);
	free(journal);
	journal = NULL;
	return 0;
}

static uint8_t small(uint8_t b, unsigned odds, size_t i)
{
	return odds < 8 ? b : b & 15;
}

const struct fuzz_target fuzz = { .name = "blk", .nr_random = 300, .least = 300, .most = 300, .byte = small, .seed = 20261121 };
