/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pool against a model: buffers never overlap, the cap holds, the lent area is used first, and becomes whole again
 * whatever the order of putting back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "backend/bufpool.h"

#define PAGE 4096u
#define AREA_PAGES 515u /* no power of two: 256 + 256 + 2 + 1 */

struct held { uint8_t *buf; size_t len, got; uint8_t mark; };

static uint8_t *area;

static bool inside(const void *p)
{
	return (uintptr_t)p - (uintptr_t)area < AREA_PAGES * PAGE;
}

static void fill(struct held *h, uint8_t mark)
{
	h->mark = mark;
	memset(h->buf, mark, h->got);
}

static void check_put(struct bufpool *p, struct held *h)
{
	for (size_t i = 0; i < h->got; i++)
		if (h->got <= 64 * PAGE || i == 0 || i == h->got - 1)
			assert_int_equal(h->buf[i], h->mark);
	bufpool_put(p, h->buf, h->got);
	h->buf = NULL;
}

/* All of the area in blocks of `pages`: how many there are. */
static unsigned area_holds(struct bufpool *p, size_t pages)
{
	static struct held h[AREA_PAGES + 1];
	unsigned n = 0, i;

	for (;; n++) {
		h[n].buf = bufpool_get(p, pages * PAGE, &h[n].got);
		assert_non_null(h[n].buf);
		if (!inside(h[n].buf))
			break;
	}
	for (i = 0; i <= n; i++)
		bufpool_put(p, h[i].buf, h[i].got);
	return n;
}

static void test_lent(void **state)
{
	struct held h[200] = { 0 };
	struct bufpool *p;
	unsigned seed = 1;

	area = aligned_alloc(PAGE, AREA_PAGES * PAGE);
	assert_non_null(area);
	assert_int_equal(bufpool_new(&p, 64u << 20), 0);
	assert_int_equal(bufpool_lend(p, area, 0), -EINVAL);
	assert_int_equal(bufpool_lend(p, area, AREA_PAGES * PAGE), 0);
	assert_int_equal(bufpool_lend(p, area, AREA_PAGES * PAGE), -EINVAL);
	assert_int_equal(area_holds(p, 1), AREA_PAGES);
	assert_int_equal(area_holds(p, 256), 2);
	for (unsigned i = 0; i < 20000; i++) {
		struct held *at = &h[rand_r(&seed) % 200];

		if (at->buf) {
			check_put(p, at);
			continue;
		}
		at->len = 1 + rand_r(&seed) % (i % 3 == 0 ? 256 * PAGE : 8 * PAGE);
		at->buf = bufpool_get(p, at->len, &at->got);
		if (!at->buf)
			continue;
		assert_true(at->got >= at->len);
		assert_int_equal((uintptr_t)at->buf % PAGE, 0);
		if (at->got <= 64 * PAGE)
			fill(at, (uint8_t)i);
		else
			at->mark = at->buf[0] = at->buf[at->got - 1] = (uint8_t)i;
	}
	for (unsigned i = 0; i < 200; i++)
		if (h[i].buf)
			bufpool_put(p, h[i].buf, h[i].got);
	assert_int_equal(bufpool_used(p), 0);
	assert_int_equal(area_holds(p, 1), AREA_PAGES);
	assert_int_equal(area_holds(p, 256), 2); /* nothing stayed in pieces */
	bufpool_free(p);
	free(area);
}

static void test_cap(void **state)
{
	struct held h[64];
	struct bufpool *p;
	unsigned n = 0;

	area = NULL;
	assert_int_equal(bufpool_new(&p, 4u << 20), 0);
	while ((h[n].buf = bufpool_get(p, 64 * PAGE, &h[n].got)))
		n++;
	assert_int_equal(n, 16);
	assert_int_equal(bufpool_used(p), 4u << 20);
	assert_null(bufpool_get(p, 1, &h[n].got));
	n--;
	bufpool_put(p, h[n].buf, h[n].got);
	h[n].buf = bufpool_get(p, 1, &h[n].got); /* another size: what lies free makes room */
	assert_non_null(h[n].buf);
	n++;
	assert_null(bufpool_get(p, 257 * PAGE, &h[n].got));
	while (n > 0) {
		n--;
		bufpool_put(p, h[n].buf, h[n].got);
	}
	bufpool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lent),
		cmocka_unit_test(test_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
