/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_UNIT_H
#define PVB_TESTS_UNIT_H
/* What every cmocka test includes, in the order cmocka wants. */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Deterministic numbers: a failing run can be repeated. */
static inline uint32_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}
#endif
