/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poll.c: see polling.h. */
#include <stddef.h>
#include <sys/resource.h>
#include "polling.h"

static void learn(struct poll *p, uint64_t idle)
{
	if (idle > p->max_ns)
		p->ns = p->ns / 2 < POLL_FIRST_NS ? 0 : p->ns / 2;
	else if (idle > p->ns) /* a longer look would have seen it */
		p->ns = 2 * p->ns < POLL_FIRST_NS ? POLL_FIRST_NS : 2 * p->ns;
	if (p->ns > p->max_ns)
		p->ns = p->max_ns;
}

bool poll_stay(struct poll *p, uint64_t now, bool work)
{
	if (!p || !p->max_ns)
		return false;
	if (work) {
		if (!p->on && p->worked)
			learn(p, now - p->worked);
		p->on = p->ns > 0 && now >= p->not_before;
		p->until = now + p->ns;
		p->worked = now;
	}
	return p->on;
}

long poll_preempted(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) < 0 ? 0 : u.ru_nivcsw;
}

void poll_over(struct poll *p, uint64_t now, long preempted)
{
	if (preempted != p->preempted)
		p->not_before = now + POLL_CROWDED_NS;
	p->preempted = preempted;
	p->on = false;
}
