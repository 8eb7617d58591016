/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_WIRE_H
#define PVF_WIRE_H
/* blkif ring slots as bytes, in the two ABIs a guest on x86 may speak.
 *
 * The 64-bit ABI aligns 64-bit fields to 8, the 32-bit one to 4; that moves every field after the first
 * four bytes and makes slots 112 or 108 bytes long.  (Arm is like the 64-bit one.)  Slots are built in
 * private memory here and copied into the ring as a whole, so nothing is ever read back from it.
 * Errors   none: callers stay within the limits.  Never logs.
 * Source   xen/io/blkif.h; struct sizes are asserted against it in wire.c.
 */
#include <stdbool.h>
#include <stdint.h>

#define PVF_SLOT_MAX       112u
#define PVF_DIRECT_SEGS     11u /* in the slot itself */
#define PVF_PAGE_SEGS      512u /* in one page of an indirect request */

struct pvf_wire {
	const char *protocol;     /* the store key's text */
	uint8_t slot_size, id, sector, direct_segs, indirect_handle, indirect_grefs, discard_sectors, rsp_size;
};
extern const struct pvf_wire pvf_wire64, pvf_wire32;
extern const struct pvf_wire *const pvf_wire_native;

struct pvf_seg {
	uint32_t gref;
	uint8_t first, last;      /* sectors of 512 in the page, inclusive */
	uint16_t pad;
};

/* Each fills the whole slot (PVF_SLOT_MAX bytes); op is BLKIF_OP_*. */
void pvf_wire_direct(const struct pvf_wire *w, void *slot, uint8_t op, uint16_t handle, uint64_t id, uint64_t sector,
		     const struct pvf_seg *segs, unsigned nr);
void pvf_wire_indirect(const struct pvf_wire *w, void *slot, uint8_t op, uint16_t handle, uint64_t id, uint64_t sector,
		       uint32_t gref, unsigned nr);
void pvf_wire_discard(const struct pvf_wire *w, void *slot, bool secure, uint16_t handle, uint64_t id, uint64_t sector,
		      uint64_t nr_sectors);

struct pvf_rsp {
	uint64_t id;
	uint8_t op;
	int16_t status;
};
void pvf_wire_response(const void *raw, struct pvf_rsp *rsp); /* raw: a private copy; the same in both ABIs */
#endif
