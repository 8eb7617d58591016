// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks on the stage of hostile-stage.h: what the liar gets, and an honest guest that writes and reads back. */
#include "unit.h"
#include <stdio.h>
#include "tests/hostile-disks.h"
#include "tests/hostile-stage.h"
#include <xen/xen.h>
#include <xen/io/blkif.h>

static const struct pvb_pair writable[] = {
	{ "params", "mem:size=1M" }, { "mode", "w" }, { "online", "1" }, { "discard-enable", "1" },
};
static const struct pvb_pair readonly[] = {
	{ "params", "mem:size=1M" }, { "mode", "r" }, { "online", "1" }, { "discard-enable", "1" },
};

static struct hfront good;
static uint64_t seed = 3;

static bool up(const char *spec, char *why)
{
	struct pvb_error err = { 0 };

	if (hfront_open(&good, spec, "vbd", DISKS_DEVID, &err) == 0 &&
	    hfront_connect(&good, &(struct hfront_options){ .pages = 4 }, STAGE_WAIT_MS, &err) == 0)
		return true;
	snprintf(why, STAGE_WHY, "%s", err.text);
	return false;
}

static bool do_round(char *why)
{
	uint8_t slot[PVF_SLOT_MAX], *out = hfront_page(&good, 0), *in = hfront_page(&good, 2);
	uint64_t sector = rnd(&seed) % 256 * 8;
	int rc;

	for (unsigned i = 0; i < PVB_PAGE_SIZE; i++)
		out[i] = (uint8_t)rnd(&seed);
	hfront_rw(&good, slot, BLKIF_OP_WRITE, 1, sector, 0, 1);
	rc = hfront_roundtrip(&good, 0, slot, 1, STAGE_WAIT_MS);
	hfront_rw(&good, slot, BLKIF_OP_READ, 2, sector, 2, 1);
	if (rc == 0)
		rc = hfront_roundtrip(&good, 0, slot, 2, STAGE_WAIT_MS);
	if (rc == 0 && memcmp(out, in, PVB_PAGE_SIZE) == 0)
		return true;
	snprintf(why, STAGE_WHY, "sector %llu: %s %d", (unsigned long long)sector, rc == 0 ? "other data" : "status",
		 rc);
	return false;
}

static void down(void)
{
	hfront_close(&good);
}

const struct stage_kind stage_disks = {
	.class = "vbd",
	.liar = { { DISKS_DEVID, writable, 4 }, { DISKS_RO_DEVID, readonly, 4 } },
	.good = { { DISKS_DEVID, writable, 4 } },
	.works = "count",
	/* one that never connected need not close */
	.closed = 1u << PVB_CLOSED | 1u << PVB_INIT_WAIT,
	.drop = hfront_drop,
	.good_up = up,
	.good_round = do_round,
	.good_down = down,
};
