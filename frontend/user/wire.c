// SPDX-License-Identifier: GPL-2.0-or-later
/* The byte layout of blkif slots, and nothing about what they mean. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/blkif.h>
#include <xen/io/protocols.h>
#include "wire.h"

const struct pvf_wire pvf_wire64 = {
	.protocol = XEN_IO_PROTO_ABI_X86_64, .slot_size = 112, .id = 8, .sector = 16, .direct_segs = 24,
	.indirect_handle = 24, .indirect_grefs = 28, .discard_sectors = 24, .rsp_size = 16,
};
const struct pvf_wire pvf_wire32 = {
	.protocol = XEN_IO_PROTO_ABI_X86_32, .slot_size = 108, .id = 4, .sector = 12, .direct_segs = 20,
	.indirect_handle = 20, .indirect_grefs = 24, .discard_sectors = 20, .rsp_size = 12,
};
#if defined(__x86_64__)
const struct pvf_wire *const pvf_wire_native = &pvf_wire64;
#elif defined(__i386__)
const struct pvf_wire *const pvf_wire_native = &pvf_wire32;
#elif defined(__aarch64__)
static const struct pvf_wire wire_arm = {
	.protocol = XEN_IO_PROTO_ABI_ARM, .slot_size = 112, .id = 8, .sector = 16, .direct_segs = 24,
	.indirect_handle = 24, .indirect_grefs = 28, .discard_sectors = 24, .rsp_size = 16,
};
const struct pvf_wire *const pvf_wire_native = &wire_arm;
#endif

#if defined(__x86_64__) || defined(__aarch64__)
_Static_assert(sizeof(union blkif_sring_entry) == 112, "slot");
_Static_assert(sizeof(struct blkif_response) == 16, "response");
_Static_assert(offsetof(struct blkif_request, id) == 8, "id");
_Static_assert(offsetof(struct blkif_request, sector_number) == 16, "sector");
_Static_assert(offsetof(struct blkif_request, seg) == 24, "segments");
_Static_assert(offsetof(struct blkif_request_indirect, handle) == 24, "indirect handle");
_Static_assert(offsetof(struct blkif_request_indirect, indirect_grefs) == 28, "indirect grants");
_Static_assert(offsetof(struct blkif_request_discard, nr_sectors) == 24, "discard");
_Static_assert(offsetof(struct blkif_response, operation) == 8, "response operation");
_Static_assert(offsetof(struct blkif_response, status) == 10, "response status");
#endif
_Static_assert(sizeof(struct pvf_seg) == sizeof(struct blkif_request_segment), "segment");

static uint8_t *begin(const struct pvf_wire *w, void *slot, uint8_t op, uint8_t second, uint16_t third, uint64_t id,
		      uint64_t sector)
{
	uint8_t *s = slot;

	memset(s, 0, PVF_SLOT_MAX);
	s[0] = op;
	s[1] = second;
	memcpy(s + 2, &third, 2);
	memcpy(s + w->id, &id, 8);
	memcpy(s + w->sector, &sector, 8);
	return s;
}

void pvf_wire_direct(const struct pvf_wire *w, void *slot, uint8_t op, uint16_t handle, uint64_t id, uint64_t sector,
		     const struct pvf_seg *segs, unsigned nr)
{
	uint8_t *s = begin(w, slot, op, (uint8_t)nr, handle, id, sector);

	if (nr != 0)
		memcpy(s + w->direct_segs, segs, nr * sizeof(*segs));
}

void pvf_wire_indirect(const struct pvf_wire *w, void *slot, uint8_t op, uint16_t handle, uint64_t id, uint64_t sector,
		       uint32_t gref, unsigned nr)
{
	uint8_t *s = begin(w, slot, BLKIF_OP_INDIRECT, op, (uint16_t)nr, id, sector);

	memcpy(s + w->indirect_handle, &handle, 2);
	memcpy(s + w->indirect_grefs, &gref, 4);
}

void pvf_wire_discard(const struct pvf_wire *w, void *slot, bool secure, uint16_t handle, uint64_t id, uint64_t sector,
		      uint64_t nr_sectors)
{
	uint8_t *s = begin(w, slot, BLKIF_OP_DISCARD, secure ? BLKIF_DISCARD_SECURE : 0, handle, id, sector);

	memcpy(s + w->discard_sectors, &nr_sectors, 8);
}

void pvf_wire_response(const void *raw, struct pvf_rsp *rsp)
{
	const uint8_t *s = raw;

	memcpy(&rsp->id, s, 8);
	rsp->op = s[8];
	memcpy(&rsp->status, s + 10, 2);
}
