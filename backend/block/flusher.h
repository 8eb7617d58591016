/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_FLUSHER_H
#define PVB_BACKEND_BLOCK_FLUSHER_H
/* Flushing a file, truthfully.
 *
 * One fdatasync() at a time; flushes that come meanwhile share the next one.
 *
 * Behind a page cache a failed fdatasync() is reported once: Linux then takes the pages for clean, and a
 * repeated call says 0 although nothing was written.  So the regions written since the last good flush are
 * known (a bit per MiB), and after a failure they are read back from the cache and written again, at once,
 * before memory pressure takes the pages; if that fails, again before the next flush.  While it goes on new
 * writes and discards are held back.  What is left open is a page that was evicted between the failure and
 * the reading back: nobody in user space can see that.
 */
#include "backend/block/block.h"
#include "backend/block/xfer.h"

#define FLUSH_REGION (1U << 20)

struct region_map {
	unsigned long *bits;
	uint64_t from, to;           /* regions that may be set; from >= to = none */
};

struct flusher {
	struct xfer_pool *pool;
	void (*resume)(struct flusher *fl, struct bio *bio); /* start a write or discard that was held back */
	bool cached;                 /* the kernel forgets what it failed to write */
	enum { FL_IDLE, FL_SYNCING, FL_DRAINING, FL_REWRITING } state;
	bool suspect;                /* a flush failed and not all has been written again */
	int failed;                  /* of that flush, until `current` is answered; 0 = rewriting comes first */
	uint64_t nr_regions;         /* the last one reaches to the end of the file, wherever that is */
	struct region_map dirty, flushing;
	unsigned writes;             /* in flight */
	struct bio *waiting, **last_waiting;
	struct bio *current;
	struct bio *held, **last_held;
	unsigned char *buf;          /* while rewriting */
	uint64_t pos, end;           /* file offsets: what the rewriting has reached, where the file ends */
};

int flusher_init(struct flusher *fl, struct xfer_pool *pool, bool cached, uint64_t size,
		 void (*resume)(struct flusher *fl, struct bio *bio));
void flusher_free(struct flusher *fl);
void flusher_flush(struct flusher *fl, struct bio *bio);
/* True: the write or discard was kept for later. */
bool flusher_holds(struct flusher *fl, struct bio *bio);
/* Round every write and discard that is in flight; end() with what was written (discard: 0, 0). */
void flusher_write_begin(struct flusher *fl);
void flusher_write_end(struct flusher *fl, uint64_t off, uint64_t len);
/* For a write that was done in one go. */
void flusher_wrote(struct flusher *fl, uint64_t off, uint64_t len);
#endif
