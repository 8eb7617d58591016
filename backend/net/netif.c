// SPDX-License-Identifier: GPL-2.0-or-later
/* netif.c: the passes over the rings of all NICs of a worker, and what is said about front ends that misbehave. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backend/polling.h"
#include "nif-impl.h"

#define MAX_ROUNDS 8          /* passes in a row before the loop gets a turn */
#define TELL_NS 1000000000ull /* a NIC's refusals: one line a second */

/* ---- saying so ------------------------------------------------------------------------------------------------- */

void nif_broken(struct nif *nif, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (nif->broken)
		return;
	nif->broken = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	nif->ctx->cb.broken(nif->ctx->arg, nif, text);
}

void nif_refused(struct nif *nif, const char *fmt, ...)
{
	uint64_t now = nif->ctx->now, more;
	char text[200];
	va_list ap;

	if (nif->last_refusal && now - nif->last_refusal < TELL_NS) {
		nif->untold++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	more = nif->untold;
	nif->last_refusal = now;
	nif->untold = 0;
	nif->ctx->cb.refused(nif->ctx->arg, nif, text, more);
}

/* ---- timers ---------------------------------------------------------------------------------------------------- */

static void run_soon(void *arg)
{
	nif_run(arg);
}

void nif_again(struct nif_ctx *ctx)
{
	if (!ctx->again)
		pvb_loop_timer(ctx->loop, 0, run_soon, ctx, &ctx->again);
}

void nif_tick(struct nif_ctx *ctx, unsigned ms)
{
	if (ctx->tick && ctx->tick_ms <= ms)
		return;
	pvb_source_free(&ctx->tick);
	ctx->tick_ms = ms;
	pvb_loop_timer(ctx->loop, ms, run_soon, ctx, &ctx->tick);
}

static void unthrottle(void *arg)
{
	struct nif *nif = arg;

	for (unsigned i = 0; i < nif->nr_queues; i++)
		nif->queues[i].tx.throttled = false;
	nif_run(nif->ctx);
}

static void arm_throttle(struct nif_queue *q)
{
	struct nif *nif = q->nif;
	uint64_t ns, refused;

	if (!q->tx.throttled || nif->throttle)
		return;
	ns = rate_wait(&nif->tx_rate, nif->ctx->now);
	refused = rate_wait(&nif->refusals, nif->ctx->now);
	if (ns < refused)
		ns = refused;
	if (pvb_loop_timer(nif->ctx->loop, (ns + 999999) / 1000000, unthrottle, nif, &nif->throttle) < 0)
		q->tx.throttled = false; /* no memory for a timer: ask again at once */
}

/* ---- one pass -------------------------------------------------------------------------------------------------- */

static struct nif_queue *in_turn(const struct nif_ctx *ctx, unsigned i)
{
	return ctx->queues[(ctx->turn + i) % ctx->nr_queues];
}

static void hear(struct nif_ctx *ctx)
{
	unsigned ms;

	for (struct nif *nif = ctx->nifs; nif; nif = nif->next)
		if (nif->ctrl.ready)
			ctrl_run(nif);
	for (unsigned i = 0; i < ctx->nr_queues; i++) {
		struct nif_queue *q = in_turn(ctx, i);

		if (q->rx.ready) {
			q->rx.ready = false;
			rx_room(q);
		}
	}
	ms = rx_stalls(ctx);
	if (ms)
		nif_tick(ctx, ms);
	if (!ctx->retry)
		return;
	ctx->retry = false;
	for (unsigned i = 0; i < ctx->nr_queues; i++)
		ctx->queues[i]->tx.held = false;
}

static void take_and_fetch(struct nif_ctx *ctx, unsigned round)
{
	ctx->arena_used = 0;
	for (unsigned i = 0; i < ctx->nr_queues; i++) {
		struct nif_queue *q = in_turn(ctx, i);

		if (round > 0)
			tx_notice(q);
		tx_take(q);
		tx_fetch(q);
		arm_throttle(q);
	}
	copy_fetch(ctx);
}

static void send(struct nif_ctx *ctx)
{
	struct frame *frames[NIF_BUDGET];

	for (unsigned i = 0; i < ctx->nr_queues; i++) {
		struct nif_queue *q = in_turn(ctx, i);
		unsigned nr = q->tx.nr_fetched ? tx_frames(q, frames) : 0;

		if (nr == 0)
			continue;
		port_xmit(q->nif->port, frames, nr);
		PVB_CRASH_POINT(nif_sent);
		q->nif->xmitted = true;
	}
	for (struct nif *nif = ctx->nifs; nif; nif = nif->next) {
		if (nif->xmitted)
			port_flush(nif->port);
		nif->xmitted = false;
	}
}

/* Before sleeping: ask each ring for an event, then look again.  True: there is more to do. */
static bool rearm(struct nif_ctx *ctx)
{
	bool more = ctx->retry;

	for (unsigned i = 0; i < ctx->nr_queues; i++)
		more |= tx_rearm(ctx->queues[i]);
	for (struct nif *nif = ctx->nifs; nif; nif = nif->next)
		more |= nif->ctrl.ready && !nif->broken;
	return more;
}

static void publish_stats(struct nif_ctx *ctx)
{
	_Static_assert(sizeof(struct port_stats) <= sizeof(((struct nif_stats *)0)->port),
		       "room for the port's numbers");

	for (struct nif *nif = ctx->nifs; nif; nif = nif->next) {
		uint64_t n[sizeof(struct port_stats) / sizeof(uint64_t)];
		struct port_stats sum;

		port_stats_sum(nif->port, &sum);
		memcpy(n, &sum, sizeof(n));
		for (unsigned i = 0; i < sizeof(n) / sizeof(n[0]); i++)
			__atomic_store_n(&nif->stats->port[i], n[i], __ATOMIC_RELAXED);
		__atomic_store_n(&nif->stats->copy_calls, ctx->copy_calls, __ATOMIC_RELAXED);
	}
}

void nif_ctx_flush(struct nif_ctx *ctx)
{
	copy_deliver(ctx);
	rx_push(ctx);
	if (!ctx->running)
		publish_stats(ctx);
}

void nif_run(struct nif_ctx *ctx)
{
	bool more = true;

	if (ctx->running)
		return; /* a port called from inside: the outer run goes on */
	ctx->running = true;
	for (unsigned round = 0; more && round < MAX_ROUNDS && ctx->nr_queues; round++) {
		ctx->now = pvb_now_ns();
		ctx->took = false;
		hear(ctx);
		take_and_fetch(ctx, round);
		send(ctx);
		nif_ctx_flush(ctx);
		for (unsigned i = 0; i < ctx->nr_queues; i++)
			tx_answer(in_turn(ctx, i));
		ctx->turn = (ctx->turn + 1) % ctx->nr_queues;
		more = poll_stay(ctx->poll, ctx->now, ctx->took) ? ctx->retry : rearm(ctx);
	}
	publish_stats(ctx);
	ctx->running = false;
	if (more && ctx->nr_queues)
		nif_again(ctx);
}

void nif_ctx_retry(struct nif_ctx *ctx)
{
	ctx->retry = true;
	if (!ctx->running)
		nif_again(ctx);
}
