/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_E512_H
#define PVB_BACKEND_BLOCK_E512_H
/* 512-byte sectors on a disk that wants larger blocks or better aligned memory ("512e").
 *
 * What is aligned goes through as it is; the rest goes through a buffer, writes as read-modify-write.  Where
 * blocks are larger than 512 every write and discard holds its blocks exclusively, so that a
 * read-modify-write never undoes a neighbour's write; overlapping ones keep their order.
 */
#include "backend/block/block.h"
#include "backend/block/range.h"

struct e512_job;
struct e512 {
	struct disk *disk;
	uint32_t block;              /* bytes, a power of two: offsets and lengths */
	uint32_t mem;                /* bytes, a power of two: addresses and lengths of buffers */
	void (*submit)(struct disk *disk, struct bio **bios, unsigned nr); /* to the disk, aligned */
	struct range_lock lock;
	struct e512_job *free;
};

void e512_init(struct e512 *e, struct disk *disk, uint32_t block, uint32_t mem,
	       void (*submit)(struct disk *disk, struct bio **bios, unsigned nr));
void e512_submit(struct e512 *e, struct bio **bios, unsigned nr);
void e512_free(struct e512 *e);
/* Bios are 512-aligned in every way: is there anything to do? */
static inline bool e512_needed(uint32_t block, uint32_t mem)
{
	return block > 512 || mem > 512;
}
#endif
