/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_WIRE_H
#define PVB_BACKEND_BLOCK_WIRE_H
/* What a front end's slot says, in our words: decoding for the three ABIs, and the one check at the edge.
 *
 * Trust    Input is a private copy of a slot (or of an indirect page); nothing here sees shared memory.
 *          Whatever passes blk_wire_check() is in range in every respect except whether a grant
 *          reference is really granted: only the hypervisor can tell that.
 * Units    Sectors are 512 bytes whatever sector size is published.
 * Errors   A refused request has a status for its response and one sentence with the numbers.
 * Source   xen/include/public/io/blkif.h.  The 32-bit x86 ABI packs 64-bit fields to 4 bytes, so what
 *          follows the first 4 bytes of a slot stands 4 bytes earlier and slots are 108 bytes, not 112.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/error.h"
#include "bus/journal.h"
#include "bus/nodes.h"

enum blk_abi { BLK_ABI_64, BLK_ABI_32 }; /* native on x86_64 is BLK_ABI_64 */

#define BLK_SLOT_MAX 112u
#define BLK_MAX_INDIRECT_PAGES 8u
static inline uint32_t blk_slot_size(enum blk_abi abi) { return abi == BLK_ABI_32 ? 108 : 112; }
static inline uint32_t blk_rsp_size(enum blk_abi abi) { return abi == BLK_ABI_32 ? 12 : 16; }

/* Ours: with this flag a discard request writes zeroes instead (feature-write-zeroes of both sides). */
#define BLK_DISCARD_ZERO 2u

struct blk_seg {
	uint32_t gref;
	uint8_t first, last;       /* sectors of the page, inclusive */
	uint16_t zero;
};

/* A request in flight: one entry of the queue's journal (bus/journal.h), private to us. */
struct blk_entry {
	struct pvb_journal_entry j;
	uint64_t id;
	uint64_t sector;           /* first sector on the disk */
	uint64_t nr_sectors;       /* of data or to discard; set by blk_wire_check() */
	uint8_t wire_op;           /* as in the slot */
	uint8_t op;                /* BLKIF_OP_*: for indirect requests the inner one */
	uint8_t flag;              /* discard: BLKIF_DISCARD_SECURE, BLK_DISCARD_ZERO */
	uint8_t have_segs;         /* segs[] is complete (an indirect request starts without) */
	uint16_t nr_segs;
	uint16_t nr_indirect;      /* indirect pages */
	uint32_t indirect[BLK_MAX_INDIRECT_PAGES];
	struct blk_seg segs[PVB_VBD_MAX_INDIRECT];
};

struct blk_limits {
	uint64_t nr_sectors;       /* of the disk */
	bool readonly, discard, secure_discard, write_zeroes, barrier;
	unsigned max_indirect;     /* segments; 0 = indirect requests were not offered */
};

/* Fill e (not e->j) from a slot.  Indirect requests leave with nr_indirect pages to fetch. Never fails:
 * what makes no sense is kept as it is for the check to name. */
void blk_wire_decode(enum blk_abi abi, const void *slot, struct blk_entry *e);
/* Take n segments from the private copy of an indirect page. `at` is the index of its first segment. */
void blk_wire_segments(struct blk_entry *e, unsigned at, const void *page, unsigned n);
/* How many indirect pages must be fetched before the check; 0 also when the header alone is illegal. */
unsigned blk_wire_indirect_pages(const struct blk_entry *e, const struct blk_limits *lim);
/* 0, or the BLKIF_RSP_* status to answer with (and err says why). */
int blk_wire_check(struct blk_entry *e, const struct blk_limits *lim, struct pvb_error *err);
/* Write the response for e into rsp (blk_rsp_size() bytes, padding zeroed). */
void blk_wire_response(enum blk_abi abi, const struct blk_entry *e, int16_t status, void *rsp);
#endif
