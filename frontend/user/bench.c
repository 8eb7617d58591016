// SPDX-License-Identifier: GPL-2.0-or-later
/* The load generator: keeps requests in flight and measures; knows nothing of rings. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

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
		c = crc_table[7][c & 255] ^ crc_table[6][c >> 8 & 255] ^ crc_table[5][c >> 16 & 255] ^ crc_table[4][c >> 24] ^
		    crc_table[3][hi & 255] ^ crc_table[2][hi >> 8 & 255] ^ crc_table[1][hi >> 16 & 255] ^ crc_table[0][hi >> 24];
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
	if (h.magic == MAGIC && h.offset == block_offset(r, s->block) && h.seed == r->cfg->seed && h.version == version &&
	    h.crc == c)
		return;
	if (res->bad++ == 0)
		snprintf(res->where, sizeof(res->where), "offset %" PRIu64 ": found magic %#" PRIx64 " offset %" PRIu64
			 " version %u crc %#x, expected version %u crc %#x", block_offset(r, s->block), h.magic, h.offset,
			 h.version, h.crc, version, c);
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

/* --- the run ---------------------------------------------------------------------------------------- */

static void done(struct pvf_req *req, int rc);

/* Which block next; false: none can be had now (all candidates are being written). */
static bool choose(struct run *r, struct slot *s)
{
	for (int tries = 0; tries < 64; tries++) {
		s->block = r->cfg->random ? next_random(r) % r->blocks : r->next++ % r->blocks;
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

static void issue(struct run *r, struct slot *s)
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
	s->start_ns = pvb_now_ns();
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
	if (s->measured)
		bench_count(side, r->cfg->bs, now - s->start_ns);
	/* a read that overlapped a write may have got either version: those are checked in the end */
	if (!s->write && v != NULL && *v != 0 && !(*v & BUSY) && *v == s->version)
		check(r, s, *v);
	if (enough(r, now))
		r->over = true;
	issue(r, s);
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
		issue(r, &r->slots[i]);
		if (enough(r, pvb_now_ns()))
			r->over = true;
	}
	pvf_disk_kick(r->disk);
	while (r->in_flight > 0) {
		for (unsigned q = 0; r->cfg->poll && q < info->queues; q++)
			pvf_disk_poll(r->disk, q);
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
		return pvb_err(err, -EINVAL, "bench: bs %u, offset %" PRIu64 ", size %" PRIu64 " must be multiples of %u (size of bs)",
			       cfg->bs, cfg->offset, cfg->size, info->sector_size);
	if (cfg->offset > info->size || cfg->size > info->size - cfg->offset)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " bytes at %" PRIu64 ", the disk has %" PRIu64, cfg->size,
			       cfg->offset, info->size);
	size = cfg->size != 0 ? cfg->size : info->size - cfg->offset;
	r->blocks = size / cfg->bs;
	if (r->blocks < 2 * (uint64_t)cfg->qd)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " blocks of %u bytes, a depth of %u needs %u", r->blocks, cfg->bs,
			       cfg->qd, 2 * cfg->qd);
	if (cfg->mix < 100 && info->readonly)
		return pvb_err(err, -EROFS, "bench: the disk is read-only");
	if (cfg->verify && r->blocks > MAX_BLOCKS)
		return pvb_err(err, -ERANGE, "bench: %" PRIu64 " blocks to verify, at most %u: give a size", r->blocks, MAX_BLOCKS);
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
		return pvb_err(err, rc, "bench: no buffer of %zu bytes (fewer: bs, qd; without grants: copy=1)", bytes * cfg->qd);
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
		return pvb_err(err, -EIO, "bench: %" PRIu64 " of %" PRIu64 " blocks are wrong; %.120s", res->bad, res->verified,
			       res->where);
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
	r.measure_ns = pvb_now_ns() + cfg->ramp_ms * 1000000;
	r.end_ns = r.measure_ns + cfg->time_ms * 1000000;
	rc = drive(&r, stop);
	res->elapsed_ns = pvb_now_ns() - r.measure_ns;
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

/* --- words in ---------------------------------------------------------------------------------------- */

int bench_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmgt";
	char num[24];
	const char *unit;
	size_t len = strlen(text);
	uint64_t v;
	unsigned shift = 0;

	if (len == 0 || len >= sizeof(num))
		return -EINVAL;
	memcpy(num, text, len + 1);
	unit = strchr(units, num[len - 1] | 0x20);
	if (unit != NULL && *unit != '\0') {
		shift = 10 * (unsigned)(unit - units + 1);
		num[len - 1] = '\0';
	}
	if (pvb_parse_u64(num, 0, UINT64_MAX >> shift, &v) < 0)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

static int parse_op(struct bench_config *cfg, const char *v)
{
	static const struct { const char *name; bool random; unsigned mix; } ops[] = {
		{ "read", false, 100 }, { "write", false, 0 }, { "rw", false, 50 },
		{ "randread", true, 100 }, { "randwrite", true, 0 }, { "randrw", true, 50 },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(v, ops[i].name) != 0)
			continue;
		cfg->random = ops[i].random;
		cfg->mix = ops[i].mix;
		return 0;
	}
	return -EINVAL;
}

/* Seconds with at most three decimals. */
static int parse_ms(const char *v, uint64_t *ms)
{
	char *end;
	double d = strtod(v, &end);

	if (end == v || *end != '\0' || !(d >= 0 && d <= 1e6))
		return -EINVAL;
	*ms = (uint64_t)(d * 1000 + 0.5);
	return 0;
}

static int parse_number(const char *v, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;

	if (bench_size(v, &n) < 0 || n < min || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}

static int parse_pair(struct bench_config *cfg, const char *k, const char *v)
{
	uint64_t n = 0;
	int rc = -ENOENT;

	if (strcmp(k, "op") == 0)
		return parse_op(cfg, v);
	if (strcmp(k, "time") == 0)
		return parse_ms(v, &cfg->time_ms);
	if (strcmp(k, "ramp") == 0)
		return parse_ms(v, &cfg->ramp_ms);
	if (strcmp(k, "count") == 0)
		return parse_number(v, 1, UINT64_MAX, &cfg->count);
	if (strcmp(k, "offset") == 0)
		return parse_number(v, 0, INT64_MAX, &cfg->offset);
	if (strcmp(k, "size") == 0)
		return parse_number(v, 512, INT64_MAX, &cfg->size);
	if (strcmp(k, "seed") == 0)
		return parse_number(v, 0, UINT64_MAX, &cfg->seed);
	if (strcmp(k, "bs") == 0 && (rc = parse_number(v, 512, 16u << 20, &n)) == 0)
		cfg->bs = (uint32_t)n;
	else if (strcmp(k, "qd") == 0 && (rc = parse_number(v, 1, 4096, &n)) == 0)
		cfg->qd = (uint32_t)n;
	else if (strcmp(k, "mix") == 0 && (rc = parse_number(v, 0, 100, &n)) == 0)
		cfg->mix = (unsigned)n;
	else if (strcmp(k, "verify") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->verify = n;
	else if (strcmp(k, "copy") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->copy = n;
	else if (strcmp(k, "poll") == 0 && (rc = parse_number(v, 0, 1, &n)) == 0)
		cfg->poll = n;
	return rc;
}

int bench_parse(struct bench_config *cfg, const char *text, struct pvb_error *err)
{
	char buf[sizeof(cfg->text)], *p = buf, *word, *eq;
	int rc;

	*cfg = (struct bench_config){ .random = true, .mix = 100, .bs = 4096, .qd = 32, .time_ms = 5000, .seed = 1 };
	if (strlen(text) >= sizeof(cfg->text))
		return pvb_err(err, -EINVAL, "bench: %zu characters, at most %zu", strlen(text), sizeof(cfg->text) - 1);
	memcpy(cfg->text, text, strlen(text) + 1);
	memcpy(buf, text, strlen(text) + 1);
	while ((word = strsep(&p, " ,")) != NULL) {
		if (*word == '\0')
			continue;
		eq = strchr(word, '=');
		if (eq == NULL)
			return pvb_err(err, -EINVAL, "bench: \"%s\": key=value expected", word);
		*eq = '\0';
		rc = parse_pair(cfg, word, eq + 1);
		if (rc == -ENOENT)
			return pvb_err(err, rc, "bench: no setting \"%s\"", word);
		if (rc < 0)
			return pvb_err(err, rc, "bench: %s can not be \"%s\"", word, eq + 1);
	}
	if (cfg->bs % 512 != 0)
		return pvb_err(err, -EINVAL, "bench: bs %u, must be a multiple of 512", cfg->bs);
	return 0;
}

/* --- figures out ------------------------------------------------------------------------------------- */

static double per_second(uint64_t n, const struct bench_result *res)
{
	return res->elapsed_ns > 0 ? (double)n * 1e9 / (double)res->elapsed_ns : 0;
}

static void side_text(FILE *f, const char *name, const struct bench_side *s, const struct bench_result *res)
{
	if (s->ops == 0 && s->errors == 0)
		return;
	fprintf(f, "  %-5s %9.0f IOPS  %8.1f MB/s  latency us: min %.1f mean %.1f p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f max %.1f"
		"  errors %" PRIu64 "\n", name, per_second(s->ops, res), per_second(s->bytes, res) / 1e6,
		(double)s->min_ns / 1e3, s->ops > 0 ? (double)s->sum_ns / (double)s->ops / 1e3 : 0,
		(double)bench_percentile(s, 500) / 1e3, (double)bench_percentile(s, 900) / 1e3,
		(double)bench_percentile(s, 990) / 1e3, (double)bench_percentile(s, 999) / 1e3, (double)s->max_ns / 1e3, s->errors);
}

static void side_json(FILE *f, const char *name, const struct bench_side *s, const struct bench_result *res)
{
	fprintf(f, "\"%s\": {\"ops\": %" PRIu64 ", \"iops\": %.1f, \"bytes_per_s\": %.0f, \"errors\": %" PRIu64
		", \"latency_ns\": {\"min\": %" PRIu64 ", \"mean\": %.0f, \"p50\": %" PRIu64 ", \"p90\": %" PRIu64 ", \"p99\": %" PRIu64
		", \"p99.9\": %" PRIu64 ", \"max\": %" PRIu64 "}}", name, s->ops, per_second(s->ops, res),
		per_second(s->bytes, res), s->errors, s->min_ns, s->ops > 0 ? (double)s->sum_ns / (double)s->ops : 0,
		bench_percentile(s, 500), bench_percentile(s, 900), bench_percentile(s, 990), bench_percentile(s, 999), s->max_ns);
}

void bench_print(FILE *f, const char *disk, const struct bench_config *cfg, const struct bench_result *res, bool json)
{
	const struct pvf_stats *st = &res->stats;

	if (json) {
		/* cfg->text has only what bench_parse() let through, nothing to escape */
		fprintf(f, "{\"disk\": \"%s\", \"bench\": \"%s\", \"seconds\": %.3f, ", disk, cfg->text, (double)res->elapsed_ns / 1e9);
		side_json(f, "read", &res->read, res);
		fprintf(f, ", ");
		side_json(f, "write", &res->write, res);
		fprintf(f, ", \"verified\": %" PRIu64 ", \"bad\": %" PRIu64 ", \"slots\": %" PRIu64 ", \"pushes\": %" PRIu64
			", \"notifies\": %" PRIu64 ", \"events\": %" PRIu64 ", \"spurious\": %" PRIu64 ", \"bytes_copied\": %" PRIu64 "}\n",
			res->verified, res->bad, st->slots, st->pushes, st->notifies, st->events, st->spurious, st->bytes_copied);
		return;
	}
	fprintf(f, "%s: %s: %.2f s\n", disk, cfg->text, (double)res->elapsed_ns / 1e9);
	side_text(f, "read", &res->read, res);
	side_text(f, "write", &res->write, res);
	fprintf(f, "  ring: %" PRIu64 " slots, %" PRIu64 " pushes, %" PRIu64 " notifies sent, %" PRIu64 " events (%" PRIu64
		" spurious), %" PRIu64 " bytes copied\n", st->slots, st->pushes, st->notifies, st->events, st->spurious, st->bytes_copied);
	if (cfg->verify)
		fprintf(f, "  verify: %" PRIu64 " blocks, %" PRIu64 " wrong\n", res->verified, res->bad);
	if (res->bad > 0)
		fprintf(f, "  first wrong: %s\n", res->where);
}
