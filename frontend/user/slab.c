// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs of whole pages out of one granted buffer: a bit per page, next fit.  Requests have pages of their own,
 * so two clients' data never share one. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "nbd-impl.h"

#define LEAST (128u << 10)

static int plain_memory(struct slab *slab)
{
	void *p = mmap(NULL, LEAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	slab->buf.addr = p;
	slab->buf.size = LEAST;
	return 0;
}

int slab_new(struct slab **out, struct pvf_disk *disk, size_t bytes)
{
	struct slab *slab = calloc(1, sizeof(*slab));
	int rc = -ENOSPC;

	if (slab == NULL)
		return -ENOMEM;
	slab->disk = disk;
	for (; bytes >= LEAST && rc == -ENOSPC; bytes /= 2)
		rc = pvf_buf_alloc(disk, bytes, &slab->buf);
	if (rc < 0)
		rc = plain_memory(slab);
	if (rc < 0)
		goto fail;
	slab->pages = (uint32_t)(slab->buf.size / PVB_PAGE_SIZE);
	slab->used = calloc((slab->pages + 63) / 64, sizeof(*slab->used));
	if (slab->used == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	*out = slab;
	return 0;
fail:
	slab_free(slab);
	return rc;
}

void slab_free(struct slab *slab)
{
	if (slab == NULL)
		return;
	if (slab->buf.grant.nr != 0)
		pvf_buf_free(slab->disk, &slab->buf);
	else if (slab->buf.addr != NULL)
		munmap(slab->buf.addr, slab->buf.size);
	free(slab->used);
	free(slab);
}

static bool is_used(const struct slab *slab, uint32_t page)
{
	return slab->used[page / 64] >> (page % 64) & 1;
}

/* The first run of nr free pages that begins in [from, to). */
static int64_t find(const struct slab *slab, uint32_t from, uint32_t to, uint32_t nr)
{
	uint32_t page = from, run = 0;

	while (page < slab->pages && page - run < to) {
		if (slab->used[page / 64] == UINT64_MAX) { /* busy: skip the whole word */
			page = (page / 64 + 1) * 64;
			run = 0;
			continue;
		}
		run = is_used(slab, page) ? 0 : run + 1;
		page++;
		if (run == nr)
			return page - nr;
	}
	return -1;
}

int64_t slab_take(struct slab *slab, uint32_t nr)
{
	int64_t first;

	if (nr == 0 || nr > slab->pages - slab->in_use)
		return -1;
	first = find(slab, slab->cursor, slab->pages, nr);
	if (first < 0)
		first = find(slab, 0, slab->cursor, nr);
	if (first < 0)
		return -1;
	for (uint32_t p = (uint32_t)first; p < (uint32_t)first + nr; p++)
		slab->used[p / 64] |= (uint64_t)1 << (p % 64);
	slab->cursor = ((uint32_t)first + nr) % slab->pages;
	slab->in_use += nr;
	return first;
}

void slab_give(struct slab *slab, uint32_t first, uint32_t nr)
{
	for (uint32_t p = first; p < first + nr; p++)
		slab->used[p / 64] &= ~((uint64_t)1 << (p % 64));
	slab->in_use -= nr;
}

void slab_reset(struct slab *slab)
{
	memset(slab->used, 0, (slab->pages + 63) / 64 * sizeof(*slab->used));
	slab->in_use = slab->cursor = 0;
}
