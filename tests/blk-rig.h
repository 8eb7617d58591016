/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_BLK_RIG_H
#define PVB_TESTS_BLK_RIG_H
/* The block protocol of a worker and raw front ends, in one process and one thread: what a test does happens in the
 * order it says, and faults can be aimed at a single call.
 *
 * The guest has one honest disk beside the one under attack; honest() is verified I/O on it, and every wait of
 * the rig does some.  Mappings of the back end have guard pages.  Everything asserts with cmocka; waits are bounded.
 */
#include <stdbool.h>
#include "backend/block/blkif-impl.h"
#include "bus/local/fabric.h"
#include "tests/hostile-front.h"

#define RIG_WAIT_MS 20000

struct rig;

/* A disk, its connection and what was said about it. */
struct rdev {
	struct rig *rig;
	struct blk_dev *blk;
	struct stats_device stats;
	struct hfront front;
	struct hfront_options opt;
	uint32_t start;                /* index a fresh ring begins at */
	void *journals[PVB_VBD_MAX_QUEUES];
	struct target *target;
	char broken[240], refused[240], alarm[240];
	unsigned nr_broken, nr_refused, nr_alarms, nr_drained;
};

struct rig {
	char dir[64];
	struct pvb_fabric *fabric;
	uint32_t domid;
	struct pvb_hv *hv;             /* the back end's */
	struct pvb_loop *loop;
	struct pvb_events *events;
	struct worker_io io;
	struct blk_ctx *ctx;
	struct pvb_hv *low_hv;         /* holds the lowest grant references: a torn slot names them by accident, */
	struct pvb_grant low;          /* and what a guest reads into its own ring is no back end's fault */
	struct rdev good;
	uint64_t seed;
	unsigned done_honestly;        /* rounds of honest() */
};

void rig_new(struct rig *r);
/* Frees everything and asserts that nothing is left mapped or bound. */
void rig_free(struct rig *r);

/* A disk as the target says; cfg NULL: everything offered, policy retry. */
void rdev_new(struct rig *r, struct rdev *d, const char *target, const struct blk_config *cfg);
void rdev_free(struct rdev *d);
/* Rings and a connection: the front end's part, then the back end's; the latter's result and err. */
void rdev_rings(struct rdev *d, const struct hfront_options *opt);
void rdev_describe(struct rdev *d, struct blk_connect *c);
int rdev_attach(struct rdev *d, const struct blk_connect *c, struct pvb_error *err);
void rdev_connect(struct rdev *d, const struct hfront_options *opt);
void rdev_disconnect(struct rdev *d);  /* waits for drained(), frees the rings */

void rig_pump(struct rig *r, int timeout_ms);
void honest(struct rig *r);
/* Wait for n responses that can be read; RIG_WAIT_MS. */
void rdev_await(struct rdev *d, unsigned n);
/* Put, push, wait for the one response, whose id must be right: its status. */
int rdev_do(struct rdev *d, const void *slot, uint64_t id);
/* Nothing more comes: some rounds of the loop and honest I/O later there are still n unread responses. */
void rdev_quiet(struct rdev *d, unsigned n);
#endif
