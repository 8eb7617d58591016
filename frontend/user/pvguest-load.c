// SPDX-License-Identifier: GPL-2.0-or-later
/* --nic-bench: the domain's first NIC sends frames as fast as its ring takes them, or one at a time and waits until it comes
 * back (the back end's port must echo: "null?echo=on").
 *
 * A frame that the back end has answered counts as sent.  Frames of more than 1518 bytes are TCP segments that somebody
 * still has to cut, as a guest's own would be. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "pvguest.h"
#include "ring.h"

#define BATCH 32             /* frames before the back end is told of them */
#define LARGE 1518u
#define MSS 1448u
#define TRIP_MS 3000         /* for a frame to come back */

struct load {
	struct program *p;
	struct nic *nic;
	const struct nic_load *cfg;
	struct pvf_offload off;
	struct bench_side side;
	struct bench_cost cost;
	struct pvf_nic_stats stats;
	uint64_t elapsed_ns, back, touched;
	uint8_t frame[65536];
};

/* --- words in ---------------------------------------------------------------------------------------- */

int nic_load_parse(struct nic_load *cfg, const char *text, struct pvb_error *err)
{
	char copy[sizeof(cfg->text)], words[sizeof(cfg->text)], *at = copy, *p = words, *word;
	struct bench_config rest;
	uint64_t n;

	*cfg = (struct nic_load){ .bs = 64 };
	if (strlen(text) >= sizeof(cfg->text))
		return pvb_err(err, -EINVAL, "nic-bench: %zu characters, at most %zu", strlen(text), sizeof(cfg->text) - 1);
	memcpy(cfg->text, text, strlen(text) + 1);
	memcpy(copy, text, strlen(text) + 1);
	words[0] = '\0';
	while ((word = strsep(&at, " ,")) != NULL) {
		if (strcmp(word, "op=send") == 0 || strcmp(word, "op=trip") == 0) {
			cfg->trip = word[3] == 't';
		} else if (strncmp(word, "bs=", 3) == 0) {
			if (bench_size(word + 3, &n) < 0 || n < 14 || n > 65535)
				return pvb_err(err, -EINVAL, "nic-bench: bs can not be \"%s\", 14 to 65535", word + 3);
			cfg->bs = (uint32_t)n;
		} else if (strncmp(word, "time=", 5) == 0 || strncmp(word, "poll=", 5) == 0 ||
			   strncmp(word, "samples=", 8) == 0) {
			p += sprintf(p, "%s%s", p == words ? "" : " ", word); /* a disk's load knows these as well */
		} else if (*word != '\0') {
			return pvb_err(err, -EINVAL, "nic-bench: no setting \"%s\"", word);
		}
	}
	if (bench_parse(&rest, words, err) < 0)
		return pvb_err_prefix(err, -EINVAL, "nic-bench");
	cfg->time_ms = rest.time_ms;
	cfg->poll = rest.poll;
	cfg->samples = rest.samples;
	return 0;
}

/* --- frames ------------------------------------------------------------------------------------------ */

static void put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void make_frame(struct load *l)
{
	static const uint8_t ip[20] = { 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2 };
	const struct nic_load *cfg = l->cfg;
	uint8_t *f = l->frame;

	for (uint32_t i = 0; i < cfg->bs; i++)
		f[i] = (uint8_t)i;
	memcpy(f, "\x02\0\0\0\0\x01", 6);
	memcpy(f + 6, pvf_nic_info(l->nic->nic)->mac, 6);
	put16(f + 12, 0x88b5); /* set aside for experiments */
	if (cfg->bs <= LARGE)
		return;
	put16(f + 12, 0x0800);
	memcpy(f + 14, ip, sizeof(ip));
	put16(f + 16, cfg->bs - 14);
	f[46] = 5 << 4; /* TCP header of 20 bytes */
	l->off = (struct pvf_offload){ .csum_blank = true, .gso = PVF_GSO_TCP4, .gso_size = MSS, .csum_start = 34,
				       .csum_offset = 16 };
}

void load_received(struct load *l, const struct pvf_frame *frame)
{
	l->back++;
	for (unsigned i = 0; i < frame->nr; i++)
		for (size_t at = 0; at < frame->iov[i].iov_len; at += 64)
			l->touched += ((const uint8_t *)frame->iov[i].iov_base)[at];
}

/* --- the load ---------------------------------------------------------------------------------------- */

/* Look at the ring once; without polling, sleep until there is something. */
static int wait_a_bit(struct load *l)
{
	int rc;

	if (!l->cfg->poll)
		return pvb_loop_once(l->p->loop, 100);
	rc = pvf_nic_poll(l->nic->nic, 0);
	if (rc == 0)
		pvb_ring_relax();
	return rc < 0 ? rc : 0;
}

static int send_frames(struct load *l, uint64_t end)
{
	struct iovec iov = { l->frame, l->cfg->bs };
	struct pvf_nic *nic = l->nic->nic;
	unsigned rounds = 0;
	int rc = 0;

	while (pvb_now_ns() < end && !l->p->stop && (rc >= 0 || rc == -EAGAIN)) {
		rc = 0;
		for (unsigned i = 0; i < BATCH && rc == 0; i++)
			rc = pvf_nic_send(nic, 0, &iov, 1, &l->off);
		pvf_nic_kick(nic);
		if (rc == -EAGAIN)
			rc = wait_a_bit(l);
		if (l->cfg->poll && (++rounds & 1023) == 0)
			pvb_loop_once(l->p->loop, 0);
	}
	return rc < 0 ? rc : 0;
}

static int one_trip(struct load *l)
{
	struct iovec iov = { l->frame, l->cfg->bs };
	uint64_t start = pvb_now_ns(), back = l->back, give_up = start + TRIP_MS * 1000000ull, now = start;
	unsigned rounds = 0;
	int rc = pvf_nic_send(l->nic->nic, 0, &iov, 1, &l->off);

	pvf_nic_kick(l->nic->nic);
	while (rc >= 0 && l->back == back && now < give_up && !l->p->stop) {
		rc = wait_a_bit(l);
		if (++rounds % 256 == 0 || !l->cfg->poll)
			now = pvb_now_ns();
	}
	if (rc >= 0 && l->back == back)
		return -ETIMEDOUT;
	if (rc >= 0)
		bench_count(&l->side, l->cfg->bs, pvb_now_ns() - start);
	return rc < 0 ? rc : 0;
}

static int make_trips(struct load *l, uint64_t end)
{
	unsigned rounds = 0;
	int rc = 0;

	while (rc == 0 && pvb_now_ns() < end && !l->p->stop) {
		rc = one_trip(l);
		if (l->cfg->poll && (++rounds & 1023) == 0)
			pvb_loop_once(l->p->loop, 0);
	}
	return rc;
}

static void print(const struct load *l, uint64_t frames, const struct pvf_nic_stats *before)
{
	double s = (double)l->elapsed_ns / 1e9, per_s = (double)frames / s;
	const struct counter c[] = {
		{ "frames", frames },
		{ "pushes", l->stats.pushes - before->pushes }, { "notifies", l->stats.notifies - before->notifies },
		{ "events", l->stats.events - before->events }, { "spurious", l->stats.spurious - before->spurious },
		{ "tx_errors", l->stats.tx_errors - before->tx_errors },
		{ "cpu_ns", l->cost.cpu_ns }, { "switches", l->cost.switches },
	};
	const size_t nr = sizeof(c) / sizeof(c[0]);

	if (!l->p->o.json) {
		printf("%s: %s: %.2f s\n  %.0f frames/s  %.1f Mbit/s", l->nic->name, l->cfg->text, s, per_s,
		       per_s * l->cfg->bs * 8 / 1e6);
		if (l->cfg->trip)
			printf("  round trip us: min %.2f p50 %.2f p99 %.2f", (double)l->side.min_ns / 1e3,
			       (double)bench_percentile(&l->side, 500) / 1e3, (double)bench_percentile(&l->side, 990) / 1e3);
		printf("\n  ");
		counters_print(stdout, c, nr, false);
		printf("\n");
		return;
	}
	printf("{\"nic\": \"%s\", \"bench\": \"%s\", \"seconds\": %.3f, \"frames_per_s\": %.1f, \"bytes_per_s\": %.0f, ",
	       l->nic->name + 4, l->cfg->text, s, per_s, per_s * l->cfg->bs);
	if (l->cfg->trip)
		printf("\"latency_ns\": {\"min\": %" PRIu64 ", \"mean\": %.0f, \"p50\": %" PRIu64 ", \"p99\": %" PRIu64 "}, ",
		       l->side.min_ns, (double)l->side.sum_ns / (double)(l->side.ops ? l->side.ops : 1),
		       bench_percentile(&l->side, 500), bench_percentile(&l->side, 990));
	counters_print(stdout, c, nr, true);
	printf("}\n");
}

static int one_sample(struct load *l)
{
	struct pvf_nic *nic = l->nic->nic;
	struct pvf_nic_stats before;
	uint64_t start, waiting = pvf_nic_in_flight(nic), end;
	int rc;

	memset(&l->side, 0, sizeof(l->side));
	pvf_nic_stats(nic, &before);
	bench_cost_begin(&l->cost);
	start = pvb_now_ns();
	end = start + l->cfg->time_ms * 1000000;
	rc = l->cfg->trip ? make_trips(l, end) : send_frames(l, end);
	l->elapsed_ns = pvb_now_ns() - start;
	bench_cost_end(&l->cost);
	pvf_nic_stats(nic, &l->stats);
	if (rc == 0)
		print(l, l->cfg->trip ? l->side.ops : l->stats.tx_frames - before.tx_frames + waiting - pvf_nic_in_flight(nic),
		      &before);
	fflush(stdout);
	return rc;
}

/* Later on nobody looks at a ring that is polled. */
static void drain(struct load *l)
{
	uint64_t give_up = pvb_now_ns() + TRIP_MS * 1000000ull;

	while (l->cfg->poll && pvf_nic_in_flight(l->nic->nic) > 0 && pvb_now_ns() < give_up)
		if (wait_a_bit(l) < 0)
			break;
}

int run_nic_bench(struct program *p)
{
	struct load *l = calloc(1, sizeof(*l));
	int rc = 0;

	if (l == NULL)
		return -ENOMEM;
	if (p->nr_nics == 0) {
		fprintf(stderr, "pvguest: there is no NIC to measure\n");
		free(l);
		return -ENOENT;
	}
	*l = (struct load){ .p = p, .nic = &p->nics[0], .cfg = &p->o.nic_bench };
	make_frame(l);
	p->load = l;
	for (unsigned s = 0; s < l->cfg->samples && rc == 0 && !p->stop; s++)
		rc = one_sample(l);
	drain(l);
	p->load = NULL;
	if (rc < 0)
		fprintf(stderr, "pvguest: nic-bench: %s\n", rc == -ETIMEDOUT ? "a frame did not come back within 3 s" :
									     strerror(-rc));
	free(l);
	return rc;
}
