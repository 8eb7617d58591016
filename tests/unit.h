/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_UNIT_H
#define PVB_TESTS_UNIT_H
/* What every cmocka test includes, in the order cmocka wants. */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bus/loop.h"

/* Deterministic numbers: a failing run can be repeated. */
static inline uint32_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

/* Do round until cond, for at most ms.  cond is looked at once a round: it may be something that does not stay. */
#define DO_UNTIL(ms, cond, round) do { \
	uint64_t until_ = pvb_now_ms() + (ms); \
	bool so_; \
	while (!(so_ = (cond)) && pvb_now_ms() < until_) \
		round; \
	if (!so_) \
		fail_msg("waited %d ms for: %s", (ms), #cond); \
} while (0)
#endif
