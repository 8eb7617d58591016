/* SPDX-License-Identifier: MIT */
#ifndef PVB_PVFRONT_H
#define PVB_PVFRONT_H
/* libpvfront: block front ends in user space.  A program that is a domain of its own (a process guest
 * of the local fabric), or that runs in a real Xen guest with gntalloc and evtchn, uses its synthetic
 * disks through this.
 *
 * Trust    The back end is not trusted with anything but the disk's content.  Its keys are parsed
 *          strictly, and each response is copied once and looked up in a table of our own: an id that is
 *          not outstanding, another operation, an unknown status or a producer that jumped makes the
 *          disk dead (PVF_DEAD), with one sentence in pvf_disk_error().  Memory shared with the back end
 *          is whole zeroed pages that never held anything but data of this disk.
 * Units    Offsets and lengths are bytes, multiples of pvf_info.sector_size (itself a multiple of 512).
 * Threads  A guest, its disks and its loop belong to one thread.
 * Calls    Everything is asynchronous; callbacks come from the loop (or from pvf_disk_poll()).  They may
 *          submit and kick, but must not free the disk or the guest.
 * Errors   0 or -errno, words in a struct pvb_error or pvf_disk_error().  Never logs.
 * Source   xen/io/blkif.h; the keys are those of nodes.h.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"
#include "hv.h"
#include "loop.h"
#include "store.h"

#define PVF_MAX_QUEUES       8u
#define PVF_MAX_RING_ORDER   4u
#define PVF_MAX_SEGMENTS   256u /* of an indirect request: 1 MiB */
#define PVF_POOL_PAGES     128u /* default of pvf_options.pool_pages */

/* --- the domain ------------------------------------------------------------------------------------ */

struct pvf_guest; /* our own domain: what its devices have in common */

/* hv was opened with PVB_HV_FRONT, store is attached to the loop here; all three outlive the guest. */
int pvf_guest_new(struct pvf_guest **out, struct pvb_hv *hv, struct pvb_store *store, struct pvb_loop *loop,
		  struct pvb_error *err);
void pvf_guest_free(struct pvf_guest *guest); /* after its disks; NULL is fine */
uint32_t pvf_guest_domid(const struct pvf_guest *guest);

/* --- a disk ---------------------------------------------------------------------------------------- */

/*   WAITING --ring keys, state 3--> OFFERED --both 4--> LIVE
 *      ^                               |                  |  back end leaves 4, or pvf_disk_stop()
 *      +--- back end in 2 again --- DOWN <-- CLOSING <----+
 * DEAD instead of DOWN after a lie.  GONE from anywhere when our directory is removed; a device made
 * anew in its place (also after DEAD) is another disk: WAITING again, with generation + 1. */
enum pvf_phase { PVF_WAITING, PVF_OFFERED, PVF_LIVE, PVF_CLOSING, PVF_DOWN, PVF_GONE, PVF_DEAD };
const char *pvf_phase_name(enum pvf_phase phase);

struct pvf_disk;

struct pvf_options {
	unsigned queues;        /* wanted at most; 0 = 1 */
	unsigned ring_order;    /* wanted at most: 2^n pages, 0 to 4 */
	unsigned indirect;      /* segments wanted at most; 0 = no indirect requests */
	bool persistent;        /* allow the back end to keep our pages mapped */
	bool abi32;             /* "x86_32-abi" slots rather than the native ones */
	bool wait;              /* while not live keep requests and issue them (again) on reconnect, rather than fail */
	bool polled;            /* never ask for completion events: the owner calls pvf_disk_poll() */
	unsigned pool_pages;    /* bounce pages per queue; 0 = PVF_POOL_PAGES.  Fewer when the domain has no more */
	void (*changed)(void *arg, struct pvf_disk *disk); /* phase or size changed; may be NULL */
	void *arg;
};

struct pvf_info {
	uint64_t size;                       /* bytes */
	uint32_t generation;                 /* of the device: another number, another disk */
	uint32_t sector_size, physical_sector_size;
	uint32_t queues, ring_slots, ring_order;
	uint32_t max_segments;               /* of one ring request, pages; what is copied may have fewer */
	uint32_t discard_granularity, discard_alignment;
	bool readonly, cdrom, removable;
	bool flush, barrier, discard, secure_discard, persistent, indirect;
};

struct pvf_stats {
	uint64_t requests, slots;            /* taken from the caller; put into rings */
	uint64_t bytes_read, bytes_written, bytes_copied;
	uint64_t errors;                     /* requests that ended with one */
	uint64_t pushes, notifies;           /* batches shown to the back end; of these with a notify */
	uint64_t events, spurious;           /* received; of these without a response */
	uint64_t ring_full, pool_empty;      /* times a request had to wait for a slot, for bounce pages */
	uint64_t connects;
};

/* Take the vbd `devid` of our domain and start to connect it.  -ENOENT: no such device.  A device left in the
 * middle by an earlier user of this domain is closed first.  Returns at once; wait with pvf_disk_wait(). */
int pvf_disk_open(struct pvf_disk **out, struct pvf_guest *guest, uint32_t devid, const struct pvf_options *opt,
		  struct pvb_error *err);
/* Run the loop until the disk is live.  -ETIMEDOUT, or why it will not be: -ENODEV, -EPROTO, ... */
int pvf_disk_wait(struct pvf_disk *disk, int timeout_ms, struct pvb_error *err);
/* Begin to close for good: what is outstanding fails, state 5 and 6, grants revoked once the back end let go of
 * them.  `changed` tells when the disk is down. */
void pvf_disk_stop(struct pvf_disk *disk);
/* stop, then run the loop until the disk is at rest, at most timeout_ms; false: it is not.  The time to free
 * buffers: the back end has let go of them. */
bool pvf_disk_down(struct pvf_disk *disk, int timeout_ms);
/* down, then free.  Pages the back end still maps are leaked.  NULL and *disk == NULL are fine. */
void pvf_disk_close(struct pvf_disk **disk, int timeout_ms);

enum pvf_phase pvf_disk_phase(const struct pvf_disk *disk);
uint32_t pvf_disk_devid(const struct pvf_disk *disk);
/* Valid while LIVE, afterwards the last values. */
const struct pvf_info *pvf_disk_info(const struct pvf_disk *disk);
void pvf_disk_stats(const struct pvf_disk *disk, struct pvf_stats *stats);
/* Why the disk is not live: text is empty while there is nothing to say. */
const struct pvb_error *pvf_disk_error(const struct pvf_disk *disk);

/* --- requests -------------------------------------------------------------------------------------- */

enum pvf_op {
	PVF_READ, PVF_WRITE,
	PVF_ZERO,            /* write zeroes (an ordinary write on the ring) */
	PVF_FLUSH,           /* everything completed so far, on any queue, is durable; needs info.flush or .barrier */
	PVF_BARRIER,         /* a write (or nothing, length 0) which no other write passes; needs info.barrier */
	PVF_DISCARD, PVF_SECURE_DISCARD,
};

struct pvf_buf {
	void *addr;          /* page aligned */
	size_t size;         /* bytes, page multiple */
	struct pvb_grant grant;
};

/* The caller's from done() on, ours from submit to done().  No call of ours allocates for a request. */
struct pvf_req {
	enum pvf_op op;
	uint64_t offset, length;
	void *data;               /* READ, WRITE, BARRIER */
	const struct pvf_buf *buf; /* data lies in this: the back end works on it directly (data 512-aligned);
				    * NULL: copied through bounce pages */
	void (*done)(struct pvf_req *req, int rc); /* 0 or -errno; once for each accepted request */
	void *arg;

	/* private */
	struct pvf_req *prev, *next;
	uint64_t cursor;
	uint32_t pending;
	int rc;
};

/* Accept a request on queue (any number: taken modulo info.queues).  It is put into the ring at once if there is
 * room, but the back end is not told before pvf_disk_kick() (or the end of the callback we are in).  A request
 * larger than the ring's limits becomes several neighbouring slots; the first error is what done() gets.
 * -EINVAL misaligned, outside the disk, or a buffer that does not hold it; -EROFS; -EOPNOTSUPP the back end does
 * not offer it; -ENOTCONN not live (and not opt.wait).  With an error done() is not called. */
int pvf_disk_submit(struct pvf_disk *disk, unsigned queue, struct pvf_req *req);
/* Show the back end what was submitted: one push and at most one notify per queue. */
void pvf_disk_kick(struct pvf_disk *disk);
/* Complete what the back end has answered on this queue, without waiting; number of slots, or -EPROTO. */
int pvf_disk_poll(struct pvf_disk *disk, unsigned queue);
/* Requests accepted and not done. */
uint32_t pvf_disk_in_flight(const struct pvf_disk *disk);

/* Zeroed pages granted to the disk's back end.  May be kept over reconnects; while they are granted to a domain
 * that is no longer the back end they still work, by copy.  -ENOTCONN: the back end's domain is not known yet. */
int pvf_buf_alloc(struct pvf_disk *disk, size_t size, struct pvf_buf *buf);
/* No request may use it any more.  addr == NULL is fine. */
void pvf_buf_free(struct pvf_disk *disk, struct pvf_buf *buf);

/* --- for tools that do one thing at a time: submit, kick, run the loop until done ------------------- */
int pvf_disk_do(struct pvf_disk *disk, enum pvf_op op, uint64_t offset, uint64_t length, void *data);
int pvf_disk_read(struct pvf_disk *disk, uint64_t offset, void *data, size_t length);
int pvf_disk_write(struct pvf_disk *disk, uint64_t offset, const void *data, size_t length);
int pvf_disk_flush(struct pvf_disk *disk);
#endif
