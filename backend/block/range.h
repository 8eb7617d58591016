/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_RANGE_H
#define PVB_BACKEND_BLOCK_RANGE_H
/* Exclusive ranges of a disk, first come first served: who overlaps somebody earlier waits for him, also when
 * the earlier one is waiting himself.  One list, walked from end to end: there are as many ranges as requests
 * in flight.  Nothing is allocated; the owner keeps a range alive from range_lock() to range_unlock().
 */
#include <stdbool.h>
#include <stdint.h>

struct range {
	uint64_t start, end;         /* bytes, end exclusive */
	void (*granted)(struct range *r);
	unsigned blocked;            /* earlier ranges that overlap */
	struct range *next, *wake;
};

struct range_lock {
	struct range *first, **last;
};

void range_lock_init(struct range_lock *lock);
/* True = it is yours now; false = granted() will be called, from a range_unlock(). */
bool range_lock(struct range_lock *lock, struct range *r);
void range_unlock(struct range_lock *lock, struct range *r);
#endif
