/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_PROVIDER_H
#define PVB_BACKEND_PROVIDER_H
/* Providers: where a synthetic disk's data is.
 *
 * A provider is one const struct of callbacks, listed in providers.c.  Wrappers (fault, delay) have the
 * same shape and hand on to `next`, so tests need no code in the data path.
 *
 * Two processes   prepare() runs in the supervisor, which may open files and start helpers; it leaves
 *                 descriptors.  Everything else runs in the guest's worker, in a sandbox that can open
 *                 nothing: open() gets those descriptors.
 * Trust           The protocol has checked every bio: in range of the size it last saw, 512-byte units,
 *                 writes only when not read-only.  A provider checks the range again only against a
 *                 size that can change under it (resize).
 * Threads         One worker thread; a provider never blocks in it for longer than memory takes.
 * Errors          0 or -errno and a pvb_error; providers never print.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "bus/error.h"
#include "bus/loop.h"

enum bio_op { BIO_READ, BIO_WRITE, BIO_FLUSH, BIO_DISCARD, BIO_SECURE_DISCARD, BIO_NR_OPS };
extern const char *const bio_op_name[BIO_NR_OPS];

struct disk;

/* One piece of I/O.  The owner fills the upper part and keeps it alive until done() ran. */
struct bio {
	enum bio_op op;
	uint64_t off, len;        /* bytes, multiples of 512; flush: 0, 0 */
	struct iovec *iov;        /* data: sums up to len; NULL for flush and discard */
	unsigned nr_iov;          /* > 1 only if the provider is not `linear` */
	void (*done)(struct bio *bio); /* exactly once, from submit() itself or later from the loop; it may
					* submit() more, but not close the disk: that is for aio_after() or later */
	void *owner;

	int result;               /* 0 or -errno, valid in done() */

	/* the provider's while it holds the bio */
	struct disk *disk;
	struct bio *next;
	uint64_t u[4];
};

static inline void bio_done(struct bio *bio, int result)
{
	bio->result = result;
	bio->done(bio);
}

struct disk_info {
	uint64_t size;               /* bytes, a multiple of 512 (a ragged end is not shown) */
	uint32_t physical_block;     /* bytes: 512, 4096 ... */
	uint32_t discard_granularity;/* bytes; 0 = no discard */
	uint64_t max_discard;        /* bytes one BIO_DISCARD may have */
	bool flush;                  /* has something to flush (a cache) */
	bool secure_discard;
	bool linear;                 /* wants nr_iov <= 1 */
	bool direct;                 /* buffers go to the device as they are: mapping guest pages pays */
};

/* A parsed target, "[PROVIDER:]ARG[?key=value[&key=value]...]"; see target.h. */
struct target;

#define PROVIDER_MAX_FDS 2

struct worker_io;                    /* what a worker lends to providers, below */

struct disk {
	const struct provider *prov;
	struct disk_info info;
	struct disk *next;           /* wrappers: the disk below */
	struct disk *above;          /* the wrapper round this one, NULL at the top */
	struct worker_io *io;
	/* The owner's, on the topmost disk.  ready: see disk_open(). */
	void (*ready)(struct disk *disk, int rc, const struct pvb_error *err, void *arg);
	void *ready_arg;
	/* The size has changed (the provider noticed, or was told to look): info.size is the new one. */
	void (*resized)(struct disk *disk, void *arg);
	void *resized_arg;
};

struct provider {
	const char *name;
	const char *help;            /* "ARG   what it is" */
	const char *const *keys;     /* options it takes, NULL-terminated; each is in the man page */
	bool wrapper;
	bool outlives;               /* what it stands for is still there when pvbackd is not */
	bool libnbd;                 /* made of it: served by a worker that has loaded it */
	bool reopens;                /* another worker can open() what prepare() left, when one has died */

	/* Supervisor: could the target be opened?  Leaves nothing behind.  NULL: prepare() and close. */
	int (*check)(const struct target *t, bool readonly, struct pvb_error *err);
	/* Supervisor: check and open what the target names.  Fills fds (close-on-exec), *nr_fds, and says
	 * in *identity what must not be written twice ("dev:ino", an export's URI ...), or "" when sharing
	 * is harmless.  Must not block for longer than opening a file takes. May be NULL (nothing to open).*/
	int (*prepare)(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds,
		       char identity[64], struct pvb_error *err);
	/* Worker: make a disk; takes over the fds (also on failure).  Returns 0 = made and ready (info is
	 * valid), 1 = made, disk_ready() will be called once, from the loop; or -errno.
	 * Wrappers get `below`, which may not be ready yet, and return 0; their info comes from inherit(). */
	int (*open)(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		    struct disk *below, struct disk **out, struct pvb_error *err);
	/* Wrappers: make info from next->info, which is valid now or has just changed. */
	void (*inherit)(struct disk *disk);
	/* Take nr bios, in order.  Each is completed exactly once.  Several bios may be merged or reordered
	 * among each other: the protocol orders what must be ordered by waiting. */
	void (*submit)(struct disk *disk, struct bio **bios, unsigned nr);
	/* A read whose data is in this process' memory already need not be submitted: whoever asked copies it from
	 * where it lies.  True: *at is where [off, off + len) is, to be read from until the disk is closed, or NULL if
	 * that is nothing but zeroes.  What is submitted before the copy is made may be seen in it or not, as with any
	 * two requests at one time.  False: submit it, for whatever reason.  May be NULL. */
	bool (*peek)(struct disk *disk, uint64_t off, uint64_t len, const void **at);
	/* Look whether the size changed (asked by the operator, or from time to time); calls disk_resized().
	 * May be NULL. */
	void (*refresh)(struct disk *disk);
	/* All bios are done, or disk_ready() did not come or brought an error.  Frees the disk, not the one
	 * below it. */
	void (*close)(struct disk *disk);
};

extern const struct provider *const providers[]; /* NULL-terminated: the one list */
const struct provider *provider_find(const char *name);

/* What a worker lends: its loop and its one io_uring. */
struct aio;
struct worker_io {
	struct pvb_loop *loop;
	struct aio *aio;
};

/* --- the chain of a target: the base provider and the wrappers its options ask for ------------------ */
int disk_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err);
/* Could it be opened?  What is worth asking before a guest is there; leaves nothing behind. */
int disk_check(const struct target *t, bool readonly, struct pvb_error *err);
/* Open the chain; takes over the fds (also on failure).  After a return of 0, *out is the topmost disk and
 * ready(disk, rc, err, arg) runs exactly once: before disk_open() returns (*out is already set), or later
 * from the loop.  With rc 0 disk->info is valid and I/O allowed; otherwise err says why and only disk_close()
 * is left.  disk_close() before ready() cancels it, and ready() itself may call disk_close(). */
int disk_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
	      void (*ready)(struct disk *disk, int rc, const struct pvb_error *err, void *arg), void *arg,
	      struct disk **out, struct pvb_error *err);
void disk_close(struct disk *disk); /* the whole chain; NULL is fine */
bool disk_may_grow(struct disk *disk);      /* there is something to refresh */
void disk_refresh(struct disk *disk);
static inline bool disk_peek(struct disk *disk, uint64_t off, uint64_t len, const void **at)
{
	return disk->prov->peek && disk->prov->peek(disk, off, len, at);
}
static inline void disk_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	disk->prov->submit(disk, bios, nr);
}

/* For providers: tell the owner, through the wrappers. The disk may be gone on return. */
void disk_ready(struct disk *disk, int rc, const struct pvb_error *err);
void disk_resized(struct disk *disk, uint64_t size);
#endif
