/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_FACTS_H
#define PVB_BACKEND_BLOCK_FACTS_H
/* What there is to know about an opened file or block device before a worker uses it.  Found out in the
 * supervisor, which may look into sysfs; handed on in a memfd next to the file, so that a restarted worker
 * reads the same. Nothing here writes to the file or changes its contents. */
#include <stdint.h>
#include <stdbool.h>

struct facts {
	uint8_t is_block;
	uint8_t in_memory;           /* tmpfs, ramfs: I/O does not block */
	uint8_t network;             /* the data may still be on its way when the kernel says it is done */
	uint8_t pad;
	uint32_t direct_align;       /* O_DIRECT: bytes, offset and length; 0 = no O_DIRECT here */
	uint32_t mem_align;          /* O_DIRECT: bytes, address and length of each buffer */
	uint32_t physical_block;
	uint32_t punch_align;        /* holes: bytes, offset and length */
	uint32_t discard_granularity;/* 0 = holes can not be punched */
};

int facts_find(int fd, struct facts *facts);
/* The memfd, or -errno. */
int facts_pack(const struct facts *facts);
int facts_unpack(int fd, struct facts *facts);
/* Bytes, as they are now: of a file or a block device. */
int facts_size(int fd, uint64_t *size);
#endif
