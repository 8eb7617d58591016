/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bufpool.c: free lists by size, powers of two of pages.  It knows nothing of requests. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "bus/hv.h"
#include "bufpool.h"

#define NR_CLASSES 9 /* 1, 2, 4 ... 256 pages */

struct chunk { struct chunk *next; };

struct bufpool {
	size_t cap, used, held;         /* held: used plus what lies in the free lists */
	struct chunk *free[NR_CLASSES];
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
	free(p);
}

void *bufpool_get(struct bufpool *p, size_t len, size_t *got)
{
	unsigned c = class_of(len);
	size_t bytes;
	void *mem;

	if (c >= NR_CLASSES || p->used + class_bytes(c) > p->cap)
		return NULL;
	bytes = class_bytes(c);
	if (p->free[c]) {
		mem = p->free[c];
		p->free[c] = p->free[c]->next;
	} else {
		if (p->held + bytes > p->cap)
			trim(p, bytes);
		mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (mem == MAP_FAILED)
			return NULL;
		p->held += bytes;
	}
	p->used += bytes;
	*got = bytes;
	return mem;
}

void bufpool_put(struct bufpool *p, void *buf, size_t got)
{
	unsigned c = class_of(got);
	struct chunk *k = buf;

	k->next = p->free[c];
	p->free[c] = k;
	p->used -= got;
}

size_t bufpool_used(const struct bufpool *p)
{
	return p->used;
}
