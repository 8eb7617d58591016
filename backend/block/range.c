/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>
#include "backend/block/range.h"

static bool overlap(const struct range *a, const struct range *b)
{
	return a->start < b->end && b->start < a->end;
}

void range_lock_init(struct range_lock *lock)
{
	lock->first = NULL;
	lock->last = &lock->first;
}

bool range_lock(struct range_lock *lock, struct range *r)
{
	r->blocked = 0;
	r->next = NULL;
	for (struct range *other = lock->first; other; other = other->next)
		r->blocked += overlap(other, r);
	*lock->last = r;
	lock->last = &r->next;
	return !r->blocked;
}

void range_unlock(struct range_lock *lock, struct range *r)
{
	struct range **pos = &lock->first, *wake = NULL, **last = &wake;

	while (*pos != r)
		pos = &(*pos)->next;
	*pos = r->next;
	if (!*pos)
		lock->last = pos;
	/* only later ones can have waited for r */
	for (struct range *other = *pos; other; other = other->next)
		if (overlap(other, r) && !--other->blocked) {
			*last = other;
			last = &other->wake;
			*last = NULL;
		}
	while (wake) {
		struct range *next = wake->wake;

		wake->granted(wake); /* may unlock and lock */
		wake = next;
	}
}
