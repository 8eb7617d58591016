/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bufpool.c: free lists by size, powers of two of pages; a buddy system for the lent area, whose pages are to serve
 * every size.  It knows nothing of requests. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "bus/hv.h"
#include "bufpool.h"

#define NR_CLASSES 9 /* 1, 2, 4 ... 256 pages */

struct chunk { struct chunk *next; };

/* A free block of the lent area; `at` is what points to it. */
struct block { struct block *next, **at; };

struct bufpool {
	size_t cap, used, held;         /* held: ordinary memory, handed out or in the free lists */
	struct chunk *free[NR_CLASSES];
	uint8_t *area;
	size_t area_pages;
	uint8_t *class_at;              /* of each of its pages: class + 1 of the free block that begins there, else 0 */
	struct block *blocks[NR_CLASSES];
};

static unsigned class_of(size_t len)
{
	size_t pages = (len + PVB_PAGE_SIZE - 1) / PVB_PAGE_SIZE;
	unsigned c = 0;

	while (((size_t)1 << c) < pages)
		c++;
	return c;
}

static size_t class_bytes(unsigned c)
{
	return ((size_t)1 << c) * PVB_PAGE_SIZE;
}

int bufpool_new(struct bufpool **out, size_t cap_bytes)
{
	struct bufpool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->cap = cap_bytes < class_bytes(NR_CLASSES - 1) ? class_bytes(NR_CLASSES - 1) : cap_bytes;
	*out = p;
	return 0;
}

/* ---- the lent area ------------------------------------------------------------------------------------ */

static void block_add(struct bufpool *p, size_t page, unsigned c)
{
	struct block *b = (struct block *)(p->area + page * PVB_PAGE_SIZE);

	b->next = p->blocks[c];
	b->at = &p->blocks[c];
	if (b->next)
		b->next->at = &b->next;
	p->blocks[c] = b;
	p->class_at[page] = (uint8_t)(c + 1);
}

static size_t block_del(struct bufpool *p, struct block *b)
{
	size_t page = (size_t)((uint8_t *)b - p->area) / PVB_PAGE_SIZE;

	*b->at = b->next;
	if (b->next)
		b->next->at = b->at;
	p->class_at[page] = 0;
	return page;
}

int bufpool_lend(struct bufpool *p, void *area, size_t bytes)
{
	size_t page = 0, pages = bytes / PVB_PAGE_SIZE;
	unsigned c;

	if (p->area || pages == 0)
		return -EINVAL;
	p->class_at = calloc(pages, 1);
	if (!p->class_at)
		return -ENOMEM;
	p->area = area;
	p->area_pages = pages;
	while (page < pages) {
		for (c = NR_CLASSES - 1; page % ((size_t)1 << c) || page + ((size_t)1 << c) > pages; c--)
			;
		block_add(p, page, c);
		page += (size_t)1 << c;
	}
	return 0;
}

static void *lent_get(struct bufpool *p, unsigned want)
{
	unsigned c = want;
	size_t page;

	while (c < NR_CLASSES && !p->blocks[c])
		c++;
	if (c == NR_CLASSES)
		return NULL;
	page = block_del(p, p->blocks[c]);
	while (c > want) { /* the upper halves go back */
		c--;
		block_add(p, page + ((size_t)1 << c), c);
	}
	return p->area + page * PVB_PAGE_SIZE;
}

static void lent_put(struct bufpool *p, void *buf, unsigned c)
{
	size_t page = (size_t)((uint8_t *)buf - p->area) / PVB_PAGE_SIZE, buddy;

	for (; c < NR_CLASSES - 1; c++) {
		buddy = page ^ ((size_t)1 << c);
		if (buddy >= p->area_pages || p->class_at[buddy] != c + 1)
			break;
		block_del(p, (struct block *)(p->area + buddy * PVB_PAGE_SIZE));
		page &= ~((size_t)1 << c);
	}
	block_add(p, page, c);
}

static bool is_lent(const struct bufpool *p, const void *buf)
{
	return (uintptr_t)buf - (uintptr_t)p->area < p->area_pages * PVB_PAGE_SIZE;
}

/* ---- ordinary memory ---------------------------------------------------------------------------------- */

/* Give free chunks of other sizes back to the system until `want` more bytes fit under the cap. */
static void trim(struct bufpool *p, size_t want)
{
	for (unsigned c = NR_CLASSES; c-- > 0;) {
		while (p->free[c] && p->held + want > p->cap) {
			struct chunk *k = p->free[c];

			p->free[c] = k->next;
			munmap(k, class_bytes(c));
			p->held -= class_bytes(c);
		}
	}
}

void bufpool_free(struct bufpool *p)
{
	if (!p)
		return;
	trim(p, p->cap + 1);
	free(p->class_at);
	free(p);
}

static void *chunk_get(struct bufpool *p, unsigned c)
{
	size_t bytes = class_bytes(c);
	void *mem = p->free[c];

	if (mem) {
		p->free[c] = p->free[c]->next;
		return mem;
	}
	if (p->held + bytes > p->cap)
		trim(p, bytes);
	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	p->held += bytes;
	return mem;
}

void *bufpool_get(struct bufpool *p, size_t len, size_t *got)
{
	unsigned c = class_of(len);
	void *mem;

	if (c >= NR_CLASSES || p->used + class_bytes(c) > p->cap)
		return NULL;
	mem = lent_get(p, c);
	if (!mem)
		mem = chunk_get(p, c);
	if (!mem)
		return NULL;
	p->used += class_bytes(c);
	*got = class_bytes(c);
	return mem;
}

void bufpool_put(struct bufpool *p, void *buf, size_t got)
{
	unsigned c = class_of(got);

	p->used -= got;
	if (is_lent(p, buf)) {
		lent_put(p, buf, c);
	} else {
		struct chunk *k = buf;

		k->next = p->free[c];
		p->free[c] = k;
	}
}

size_t bufpool_used(const struct bufpool *p)
{
	return p->used;
}
