// SPDX-License-Identifier: GPL-2.0-or-later
/* The load generator: keeps requests in flight and measures; knows nothing of rings. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "bench.h"
#include "ring.h"

#define MAX_BLOCKS (64u << 20) /* of a region that is verified: 4 bytes each */
#define GIVE_UP_MS 3000
#define BUSY 0x80000000u       /* a write of this block is in flight */
#define MAGIC 0x48434e4542565021ull /* "!PVBENCH" */

struct slot {
	struct run *run;
	struct pvf_req req;
	uint8_t *data;
	uint64_t block, start_ns;
	uint32_t version;         /* of the block when a read was issued */
	bool write, measured;
};

struct run {
	struct pvf_disk *disk;
	struct pvb_loop *loop;
	const struct bench_config *cfg;
	struct bench_result *res;
	struct pvf_buf buf;
	struct slot *slots;
	uint32_t *version;        /* of each block: 0 = not written by us */
	uint64_t blocks, next, issued, rng;
	uint64_t measure_ns, end_ns, give_up_ms;
	unsigned in_flight, rounds;
	uint64_t sum;             /* of all words read, with touch */
	bool over, read_back;
};

/* --- what a block looks like ------------------------------------------------------------------------ */

struct header {
	uint64_t magic, offset, seed;
	uint32_t version, crc;    /* crc: of everything after the header */
};

static uint32_t crc_table[8][256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1; /* CRC-32C */
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
}

/* Eight bytes a step; len is a multiple of 8. */
static uint32_t crc(const uint8_t *p, size_t len)
{
	uint32_t c = UINT32_MAX, hi;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&hi, p, 4);
		c ^= hi;
		memcpy(&hi, p + 4, 4);
		c = crc_table[7][c & 255] ^ crc_table[6][c >> 8 & 255] ^ crc_table[5][c >> 16 & 255] ^
		    crc_table[4][c >> 24] ^ crc_table[3][hi & 255] ^ crc_table[2][hi >> 8 & 255] ^
		    crc_table[1][hi >> 16 & 255] ^ crc_table[0][hi >> 24];
	}
	return ~c;
}

static uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t next_random(struct run *r)
{
	r->rng += 0x9e3779b97f4a7c15ull;
	return mix64(r->rng);
}

static uint64_t block_offset(const struct run *r, uint64_t block)
{
	return r->cfg->offset + block * r->cfg->bs;
}

static void fill(const struct run *r, struct slot *s, uint32_t version)
{
	struct header h = { MAGIC, block_offset(r, s->block), r->cfg->seed, version, 0 };
	uint64_t word, x = mix64(h.offset ^ (uint64_t)version << 40 ^ h.seed);

	for (size_t i = sizeof(h); i < r->cfg->bs; i += 8) {
		x += 0x9e3779b97f4a7c15ull;
		word = x ^ x >> 29;
		memcpy(s->data + i, &word, 8);
	}
	h.crc = crc(s->data + sizeof(h), r->cfg->bs - sizeof(h));
	memcpy(s->data, &h, sizeof(h));
}

static void check(struct run *r, const struct slot *s, uint32_t version)
{
	struct bench_result *res = r->res;
	struct header h;
	uint32_t c;

	memcpy(&h, s->data, sizeof(h));
	c = crc(s->data + sizeof(h), r->cfg->bs - sizeof(h));
	res->verified++;
	if (h.magic == MAGIC && h.offset == block_offset(r, s->block) && h.seed == r->cfg->seed &&
	    h.version == version && h.crc == c)
		return;
	if (res->bad++ == 0)
		snprintf(res->where, sizeof(res->where),
			 "offset %" PRIu64 ": found magic %#" PRIx64 " offset %" PRIu64
			 " version %u crc %#x, expected version %u crc %#x",
			 block_offset(r, s->block), h.magic, h.offset, h.version, h.crc, version, c);
}

/* --- latency ---------------------------------------------------------------------------------------- */

/* 32 buckets per power of two above 32. */
static unsigned bucket(uint64_t ns)
{
	unsigned log = ns < 32 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 5;
	unsigned b = log * 32 + (unsigned)(ns >> log);

	return b < BENCH_BUCKETS ? b : BENCH_BUCKETS - 1;
}

static uint64_t bucket_top(unsigned b)
{
	unsigned log = b < 64 ? 0 : b / 32 - 1;

	return (((uint64_t)(b - log * 32) + 1) << log) - 1;
}

uint64_t bench_percentile(const struct bench_side *side, unsigned permille)
{
	uint64_t want = (side->ops * permille + 999) / 1000, seen = 0, top;

	for (unsigned b = 0; b < BENCH_BUCKETS; b++) {
		seen += side->hist[b];
		if (seen < want || seen == 0)
			continue;
		top = bucket_top(b);
		return top < side->max_ns ? top : side->max_ns;
	}
	return side->max_ns;
}

void bench_count(struct bench_side *side, uint32_t bytes, uint64_t ns)
{
	if (side->ops++ == 0 || ns < side->min_ns)
		side->min_ns = ns;
	if (ns > side->max_ns)
		side->max_ns = ns;
	side->sum_ns += ns;
	side->bytes += bytes;
	side->hist[bucket(ns)]++;
}

/* --- cost -------------------------------------------------------------------------------------------- */

static void look(uint64_t *cpu_ns, uint64_t *switches)
{
	struct timespec t = { 0 };
	struct rusage u = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	getrusage(RUSAGE_THREAD, &u);
	*cpu_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	*switches = (uint64_t)u.ru_nvcsw;
}

void bench_cost_begin(struct bench_cost *c)
{
	look(&c->cpu_ns, &c->switches);
}

void bench_cost_end(struct bench_cost *c)
{
	uint64_t cpu_ns, switches;

	look(&cpu_ns, &switches);
	c->cpu_ns = cpu_ns - c->cpu_ns;
	c->switches = switches - c->switches;
}

/* --- the run ---------------------------------------------------------------------------------------- */

static void done(struct pvf_req *req, int rc);

/* A line of the cache at least once, and as fast as this can be done: what any user of the data has to do. */
static uint64_t sum_of(const uint8_t *data, uint32_t len)
{
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const pair *p = (const pair *)(const void *)data; /* at a page's beginning */
	pair a = { 0 }, b = a, c = a, d = a;

	for (uint32_t i = 0; i < len / 16; i += 8) { /* len is a multiple of 512 */
		a += p[i];
		b += p[i + 1];
		c += p[i + 2];
		d += p[i + 3];
		a += p[i + 4];
		b += p[i + 5];
		c += p[i + 6];
		d += p[i + 7];
	}
	a += b + c + d;
	return a[0] + a[1];
}

/* Which block next; false: none can be had now (all candidates are being written). */
static bool choose(struct run *r, struct slot *s)
{
	for (int tries = 0; tries < 64; tries++) {
		/* the random number as a fraction: no division */
		s->block = r->cfg->random ? (uint64_t)((unsigned __int128)next_random(r) * r->blocks >> 64) :
					    r->next++ % r->blocks;
		if (r->version == NULL || !(r->version[s->block] & BUSY))
			return true;
	}
	return false;
}

static bool choose_written(struct run *r, struct slot *s)
{
	while (r->next < r->blocks && r->version[r->next] == 0)
		r->next++;
	s->block = r->next++;
	return s->block < r->blocks;
}

static void issue(struct run *r, struct slot *s, uint64_t now)
{
	const struct bench_config *cfg = r->cfg;
	int rc;

	if (r->over || (r->read_back ? !choose_written(r, s) : !choose(r, s)))
		return;
	s->write = !r->read_back && (cfg->mix == 0 || (cfg->mix < 100 && next_random(r) % 100 >= cfg->mix));
	if (s->write && r->version != NULL) {
		fill(r, s, r->version[s->block] + 1);
		r->version[s->block] |= BUSY;
	}
	s->version = r->version != NULL ? r->version[s->block] : 0;
	s->req.op = s->write ? PVF_WRITE : PVF_READ;
	s->req.offset = block_offset(r, s->block);
	s->req.length = cfg->bs;
	s->req.data = s->data;
	s->req.buf = cfg->copy ? NULL : &r->buf;
	s->req.done = done;
	s->req.arg = s;
	r->issued++;
	r->in_flight++;
	s->start_ns = now;
	s->measured = !r->read_back && s->start_ns >= r->measure_ns;
	rc = pvf_disk_submit(r->disk, (unsigned)(s - r->slots), &s->req);
	if (rc < 0)
		done(&s->req, rc);
}

static bool enough(struct run *r, uint64_t now)
{
	if (r->read_back)
		return r->next >= r->blocks;
	return r->cfg->count != 0 ? r->issued >= r->cfg->count : now >= r->end_ns;
}

static void done(struct pvf_req *req, int rc)
{
	struct slot *s = req->arg;
	struct run *r = s->run;
	struct bench_side *side = s->write ? &r->res->write : &r->res->read;
	uint64_t now = pvb_now_ns();
	uint32_t *v = r->version != NULL ? &r->version[s->block] : NULL;

	r->in_flight--;
	if (v != NULL && s->write)
		*v = rc == 0 ? (*v & ~BUSY) + 1 : 0; /* after a failed write anything may be there */
	if (rc < 0) {
		side->errors++;
		if (r->res->first_error == 0)
			r->res->first_error = rc;
		r->over = true;
		return;
	}
	if (r->cfg->touch && !s->write)
		r->sum += sum_of(s->data, r->cfg->bs);
	if (s->measured)
		bench_count(side, r->cfg->bs, now - s->start_ns);
	/* a read that overlapped a write may have got either version: those are checked in the end */
	if (!s->write && v != NULL && *v != 0 && !(*v & BUSY) && *v == s->version)
		check(r, s, *v);
	if (enough(r, now))
		r->over = true;
	/* with others in flight a second look at the clock costs more than the few ns since the first are worth */
	issue(r, s, r->cfg->qd > 1 ? now : pvb_now_ns());
}

/* Asked to stop: what is in flight may finish, but a back end that does not answer must not keep us. */
static void end_early(struct run *r)
{
	r->over = true;
	if (r->give_up_ms == 0)
		r->give_up_ms = pvb_now_ms() + GIVE_UP_MS;
	else if (pvb_now_ms() >= r->give_up_ms)
		pvf_disk_stop(r->disk);
}

static int drive(struct run *r, const bool *stop)
{
	const struct pvf_info *info = pvf_disk_info(r->disk);
	int rc = 0;

	r->over = false;
	for (uint32_t i = 0; i < r->cfg->qd && !r->over; i++) {
		issue(r, &r->slots[i], pvb_now_ns());
		if (enough(r, pvb_now_ns()))
			r->over = true;
	}
	pvf_disk_kick(r->disk);
	while (r->in_flight > 0) {
		for (unsigned q = 0; r->cfg->poll && q < info->queues; q++)
			if (pvf_disk_poll(r->disk, q) == 0)
				pvb_ring_relax();
		if (!r->cfg->poll || (r->rounds++ & 63) == 0)
			rc = pvb_loop_once(r->loop, r->cfg->poll ? 0 : 1000);
		if (*stop || rc < 0)
			end_early(r);
	}
	return rc < 0 ? rc : 0;
}

static void stats_minus(struct pvf_stats *a, const struct pvf_stats *b)
{
	uint64_t *x = (uint64_t *)a;
	const uint64_t *y = (const uint64_t *)b;

	_Static_assert(sizeof(*a) % sizeof(*x) == 0, "only counters in there");
	for (size_t i = 0; i < sizeof(*a) / sizeof(*x); i++)
		x[i] -= y[i];
}

static int prepare(struct run *r, struct pvb_error *err)
{
	const struct bench_config *cfg = r->cfg;
	const struct pvf_info *info = pvf_disk_info(r->disk);
	uint64_t size;
	size_t bytes = ((size_t)cfg->bs + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE * PVB_PAGE_SIZE;
	int rc;

	if (cfg->bs % info->sector_size != 0 || cfg->offset % info->sector_size != 0 || cfg->size % cfg->bs != 0)
		return pvb_err(err, -EINVAL,
			       "bench: bs %u, offset %" PRIu64 ", size %" PRIu64
			       " must be multiples of %u (size of bs)",
			       cfg->bs, cfg->offset, cfg->size, info->sector_size);
	if (cfg->offset > info->size || cfg->size > info->size - cfg->offset)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " bytes at %" PRIu64 ", the disk has %" PRIu64,
			       cfg->size, cfg->offset, info->size);
	size = cfg->size != 0 ? cfg->size : info->size - cfg->offset;
	r->blocks = size / cfg->bs;
	if (r->blocks < 2 * (uint64_t)cfg->qd)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " blocks of %u bytes, a depth of %u needs %u", r->blocks,
			       cfg->bs, cfg->qd, 2 * cfg->qd);
	if (cfg->mix < 100 && info->readonly)
		return pvb_err(err, -EROFS, "bench: the disk is read-only");
	if (cfg->verify && r->blocks > MAX_BLOCKS)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " blocks to verify, at most %u: give a size", r->blocks,
			       MAX_BLOCKS);
	r->slots = calloc(cfg->qd, sizeof(*r->slots));
	r->version = cfg->verify ? calloc(r->blocks, sizeof(*r->version)) : NULL;
	if (r->slots == NULL || (cfg->verify && r->version == NULL))
		return pvb_err(err, -ENOMEM, "bench: out of memory");
	if (cfg->copy) {
		r->buf.addr = aligned_alloc(PVB_PAGE_SIZE, bytes * cfg->qd);
		rc = r->buf.addr == NULL ? -ENOMEM : 0;
	} else {
		rc = pvf_buf_alloc(r->disk, bytes * cfg->qd, &r->buf);
	}
	if (rc < 0)
		return pvb_err(err, rc, "bench: no buffer of %zu bytes (fewer: bs, qd; without grants: copy=1)",
			       bytes * cfg->qd);
	r->rng = cfg->seed;
	for (uint32_t i = 0; i < cfg->qd; i++) {
		r->slots[i].run = r;
		r->slots[i].data = (uint8_t *)r->buf.addr + i * bytes;
		for (size_t n = 0; n < cfg->bs; n += 8) {
			uint64_t x = next_random(r);

			memcpy(r->slots[i].data + n, &x, 8);
		}
	}
	return 0;
}

static void clean_up(struct run *r)
{
	if (r->cfg->copy)
		free(r->buf.addr);
	else
		pvf_buf_free(r->disk, &r->buf);
	free(r->slots);
	free(r->version);
}

static int verdict(const struct bench_result *res, struct pvb_error *err)
{
	if (res->first_error != 0)
		return pvb_err(err, -EIO, "bench: %" PRIu64 " requests failed, the first with: %s",
			       res->read.errors + res->write.errors, strerror(-res->first_error));
	if (res->bad > 0)
		return pvb_err(err, -EIO, "bench: %" PRIu64 " of %" PRIu64 " blocks are wrong; %.120s", res->bad,
			       res->verified, res->where);
	return 0;
}

int bench_run(struct pvf_disk *disk, struct pvb_loop *loop, const struct bench_config *cfg, const bool *stop,
	      struct bench_result *res, struct pvb_error *err)
{
	struct run r = { .disk = disk, .loop = loop, .cfg = cfg, .res = res };
	struct pvf_stats before;
	int rc;

	memset(res, 0, sizeof(*res));
	crc_init();
	rc = prepare(&r, err);
	if (rc < 0)
		goto out;
	pvf_disk_stats(disk, &before);
	bench_cost_begin(&res->cost);
	r.measure_ns = pvb_now_ns() + cfg->ramp_ms * 1000000;
	r.end_ns = r.measure_ns + cfg->time_ms * 1000000;
	rc = drive(&r, stop);
	res->elapsed_ns = pvb_now_ns() - r.measure_ns;
	bench_cost_end(&res->cost);
	res->touched = r.sum; /* kept, or the compiler would not read either */
	pvf_disk_stats(disk, &res->stats);
	stats_minus(&res->stats, &before);
	if (rc == 0 && cfg->verify && cfg->mix < 100 && res->first_error == 0 && !*stop) {
		r.read_back = true;
		r.next = 0;
		rc = drive(&r, stop);
	}
	if (rc < 0)
		pvb_err(err, rc, "bench: the event loop failed");
	else
		rc = verdict(res, err);
out:
	clean_up(&r);
	return rc;
}
