/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_BLKIF_H
#define PVB_BACKEND_BLOCK_BLKIF_H
/* The block protocol in a guest's worker: rings in, responses out.
 *
 * How one pass goes, for all queues of all disks of the guest together:
 *   take what the rings hold into the journals -> fetch indirect pages (one copy call) -> check -> fetch
 *   what is to be written (one copy call) -> hand all to the providers -> answer what is finished: what
 *   was read goes out (one copy call), one push and at most one notify per ring -> re-arm, look again.
 * What is still running comes back through the loop and is answered by the same last steps.
 *
 * Trust     The front end is hostile.  A request that makes no sense is answered with an error; a ring that
 *           lies stops its device (broken() is called once), the guest's other devices go on.
 * Order     A write barrier holds the device: nothing of any of its queues is taken until all before it
 *           is done, the cache is flushed, its data is written and the cache is flushed again.
 * Errors    of the storage follow the device's policy: retry (hold the request, try again each second,
 *           raise an alarm), stop (hold until told), report, ignore.
 * Threads   One: the worker's.  No call here touches the store or opens anything.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/event.h"
#include "bus/hv.h"
#include "bus/ring.h"
#include "../bufpool.h"
#include "../provider.h"
#include "../stats.h"
#include "wire.h"

enum blk_policy { BLK_RETRY, BLK_REPORT, BLK_STOP, BLK_IGNORE };
enum blk_error_class { BLK_ERR_ENOSPC, BLK_ERR_FLUSH, BLK_ERR_IO, BLK_ERR_NR };
enum blk_data { BLK_DATA_AUTO, BLK_DATA_COPY, BLK_DATA_MAP };
extern const char *const blk_policy_name[];  /* NULL-terminated, index = enum */
extern const char *const blk_data_name[];
extern const char *const blk_error_class_name[BLK_ERR_NR];

struct blk_ctx; /* one per worker */
struct blk_dev; /* one disk */

/* How the front end connected; numbers were read and checked by the supervisor, in one transaction. */
struct blk_connect {
	uint32_t nr_queues, ring_pages;      /* 1..8, 1..16 */
	enum blk_abi abi;
	bool persistent, write_zeroes;       /* negotiated: both sides said so */
	struct {
		uint32_t event_channel;
		uint32_t refs[1u << PVB_VBD_MAX_RING_ORDER];
	} queue[PVB_VBD_MAX_QUEUES];
};

struct blk_config {
	uint32_t devid;
	bool readonly, discard;              /* discard: allowed by the toolstack */
	bool barrier;                        /* write barriers are offered */
	unsigned max_indirect;
	enum blk_data data;
	bool stable_writes;
	enum blk_policy policy[BLK_ERR_NR];
};

struct blk_callbacks {
	/* The front end broke the protocol; the device has stopped taking and answering. Once. */
	void (*broken)(void *arg, struct blk_dev *dev, const char *why);
	/* A request was refused (rate limited to one line a second and device; `more` = how many were not told). */
	void (*refused)(void *arg, struct blk_dev *dev, const char *why, uint64_t more);
	/* Requests are held by the policy (text) or no longer (NULL). */
	void (*alarm)(void *arg, struct blk_dev *dev, const char *text);
	/* blk_disconnect() is complete. */
	void (*drained)(void *arg, struct blk_dev *dev);
};

int blk_ctx_new(struct blk_ctx **out, struct pvb_hv *hv, struct pvb_events *events, struct worker_io *io, uint32_t domid,
		size_t memory, const struct blk_callbacks *cb, void *arg);
/* Memory that copies best for its buffers, see bufpool_lend(): zeroed, and more than a page. */
int blk_ctx_lend(struct blk_ctx *ctx, void *area, size_t bytes);
/* Poll rings as polling.h says; it outlives ctx.  Whoever owns the loop calls blk_run() while it is on and when it is over. */
struct poll;
void blk_ctx_poll(struct blk_ctx *ctx, struct poll *poll);
void blk_ctx_free(struct blk_ctx *ctx);
void blk_run(struct blk_ctx *ctx);    /* one or a few passes; events and completions call it */
uint64_t blk_ctx_copy_calls(const struct blk_ctx *ctx);

/* Takes over the disk.  stats stays the caller's and must outlive the device. */
int blk_dev_new(struct blk_dev **out, struct blk_ctx *ctx, const struct blk_config *cfg, struct disk *disk,
		struct stats_device *stats, void *owner);
void *blk_dev_owner(const struct blk_dev *dev);
struct disk *blk_dev_disk(const struct blk_dev *dev);
void blk_dev_free(struct blk_dev *dev); /* not connected; closes the disk; NULL is fine */
/* Bytes of one queue's journal. */
size_t blk_journal_bytes(const struct blk_connect *c);
/* Map the rings, bind the ports, start.  journals: nr_queues mappings, blk_journal_bytes() each, which
 * stay the caller's.  Zeroed: the rings begin, or go on where they were drained.  Left by a process that died: what it had
 * done is answered, what it had not is carried out again, in order, and the front end is told by an event; -EPROTO if a
 * journal and its ring contradict each other.  On failure nothing is left behind but what the journals say. */
int blk_connect(struct blk_dev *dev, const struct blk_connect *c, void *const *journals, struct pvb_error *err);
bool blk_connected(const struct blk_dev *dev);
/* Stop taking, let what runs finish (requests held by the policy are dropped), unmap, unbind; then
 * drained() is called, perhaps from here.  Idempotent. */
void blk_disconnect(struct blk_dev *dev);
/* Try held requests again now (also after `stop`). */
void blk_resume(struct blk_dev *dev);
void blk_set_policy(struct blk_dev *dev, enum blk_error_class cls, enum blk_policy p);
#endif
