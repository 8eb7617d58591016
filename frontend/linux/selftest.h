/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_SELFTEST_H
#define PVB_SELFTEST_H
/* What a debug build (make PVBUS_DEBUG=y) checks when it is loaded, before there is a device: the ring, with this
 * kernel's compiler and barriers.  ring.h has its tests in user space; they can not see those. */
#include <linux/gfp.h>
#include <linux/printk.h>
#include "ring.h"

#define PVB_EXPECT(what) do { \
	if (!(what)) { \
		pr_err("self-test failed: %s\n", #what); \
		ok = false; \
	} \
} while (0)

/* One full ring of requests and answers across the wrap of the indices, and one answer too many. */
static inline bool pvb_selftest_ring(u32 slot_size, u32 rsp_size)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	struct pvb_ring front, back;
	u8 slot[128] = {};
	bool ok = true;
	u32 i;

	if (!page)
		return false;
	pvb_ring_front_init(&front, page, PAGE_SIZE, slot_size);
	pvb_ring_attach(&front, page, PAGE_SIZE, slot_size, 0xfffffff0, 0xfffffff0);
	pvb_ring_attach(&back, page, PAGE_SIZE, slot_size, 0xfffffff0, 0xfffffff0);
	front.sh->req_prod = front.sh->rsp_prod = 0xfffffff0;
	front.sh->req_event = front.sh->rsp_event = 0xfffffff1;
	for (i = 0; pvb_ring_front_free(&front) > 0; i++) {
		slot[0] = i;
		pvb_ring_front_put(&front, slot);
	}
	PVB_EXPECT(i == front.nr_slots);
	PVB_EXPECT(pvb_ring_front_push(&front));
	PVB_EXPECT(pvb_ring_front_avail(&front) == 0);
	PVB_EXPECT(pvb_ring_back_avail(&back) == i);
	for (i = 0; i < front.nr_slots; i++) {
		pvb_ring_back_take(&back, slot);
		PVB_EXPECT(slot[0] == (u8)i);
	}
	PVB_EXPECT(pvb_ring_back_rearm(&back) == 0);
	/* nobody is told who asked for none */
	pvb_ring_store(&front.sh->rsp_event, front.cons + (1u << 31));
	for (i = 0; i < front.nr_slots; i++)
		pvb_ring_back_put(&back, slot, rsp_size);
	PVB_EXPECT(!pvb_ring_back_push(&back));
	PVB_EXPECT(pvb_ring_front_avail(&front) == front.nr_slots);
	for (i = 0; i < front.nr_slots; i++)
		pvb_ring_front_take(&front, slot, rsp_size);
	PVB_EXPECT(pvb_ring_front_rearm(&front) == 0);
	pvb_ring_store(&front.sh->rsp_prod, front.cons + 1);
	PVB_EXPECT(pvb_ring_front_avail(&front) == PVB_RING_EPROTO);
	pvb_ring_store(&front.sh->rsp_prod, front.cons);
	PVB_EXPECT(pvb_ring_front_avail(&front) == PVB_RING_EPROTO);
	free_page((unsigned long)page);
	return ok;
}
#endif
