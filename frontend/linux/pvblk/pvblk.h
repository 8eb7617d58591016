/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVBLK_H
#define PVBLK_H
/* pvblk: a front end for Xen's blkif protocol, for disks of any back end.
 *
 * Trust    The back end may write anything into the rings at any time.  A response is copied once and its id is
 *          only looked up among our own shadows; the first lie makes the disk dead: one line in the log, all I/O
 *          fails, nothing more is read.  Memory is taken back by revoking, and what can not be revoked is never freed:
 *          memory for which nobody could promise that is not granted, but copied.  With trusted=0 only pages of our
 *          own are ever granted, and data is copied through them.
 * Context  A device has two work items, so that nothing runs twice at a time and the xenwatch thread never waits for
 *          I/O.  One makes and unmakes connections; it never waits for I/O either, as it may be what I/O waits for,
 *          and it does not run while the guest is suspended.  The other adds the disk and removes it, which is I/O.
 * Locks    dev->lock, then ring->lock or disk_lock, which are taken in interrupts.  dev->lock guards making and
 *          unmaking a connection and the disk's pointer, and is never held while waiting for I/O; ring->lock guards
 *          all else of a ring.
 * Life     dev has a reference for xenbus and one for the disk, which outlives the device while it is open.
 */
#include <linux/blk-mq.h>
#include <linux/irqreturn.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>
#include <xen/interface/io/blkif.h>
#include "compat.h"
#include "front.h"
#include "ring.h"

#define PVBLK_MAX_ORDER     4u
#define PVBLK_RING_PAGES    (1u << PVBLK_MAX_ORDER)
#define PVBLK_MAX_SEGS      256u   /* of one request: a page holds 512 */
#define PVBLK_DIRECT_SEGS   BLKIF_MAX_SEGMENTS_PER_REQUEST
#define PVBLK_MAX_REFS      4096u  /* grants a ring may hold: 16 MiB under way */
#define PVBLK_IDLE_REFS     1024u  /* and keep when nothing is */
#define PVBLK_REF_BATCH     64u
#define PVBLK_INDIRECT      64u    /* indirect requests of a ring under way at a time */
#define PVBLK_BOUNCE_PAGES  512u   /* of a ring, when all data goes through them */
#define PVBLK_COPY_PAGES    16u    /* and when it is: for memory that can not be granted */

#define PVBLK_DISCARD_ZERO  2u     /* flag of a discard request, see pvbus-block(7) */
#define PVBLK_NEVER         (1u << 31) /* responses from now: an event that will not come */

struct dentry;
struct pvblk_dev;

/* What an indirect request needs beyond its slot. */
struct pvblk_indirect {
	struct pvb_page table;          /* segments, as the back end reads them */
	u32 refs[PVBLK_MAX_SEGS];
	struct pvblk_indirect *next;
};

/* A piece of memory within one page. */
struct pvblk_seg {
	struct page *page;
	u32 offset, len;
};

/* One slot's own record of what was asked; nothing of it is ever read back from the ring. */
struct pvblk_shadow {
	struct request *rq;             /* NULL: not in use */
	u64 id;                         /* slot number, and above 2^32 how often it was used */
	u32 bytes;                      /* of data */
	u16 nr_refs;
	u16 next_free;
	u8 op;                          /* what the response must say */
	bool bounced;                   /* refs are indices of ring->bounce */
	struct pvblk_indirect *indirect;
	u32 direct[PVBLK_DIRECT_SEGS];
};

struct pvblk_ring {
	struct pvblk_dev *dev;
	unsigned int nr;
	spinlock_t lock;
	bool live;                      /* may be used: connected and not dead */
	bool polled;                    /* answers are looked for, and no event is asked for */
	bool starved;                   /* a hardware queue waits for a slot or a page */
	struct pvb_ring ring;
	struct pvblk_shadow *shadow;
	u16 free_shadow;
	u32 in_flight;
	u32 *refs;                      /* stack of grant references that are not in use */
	u32 nr_refs, claimed;           /* on the stack; in all */
	struct pvblk_indirect *indirect;
	struct pvb_page *bounce;
	u16 *free_bounce;
	u32 nr_bounce, nr_free_bounce;
	struct pvblk_seg segs[PVBLK_MAX_SEGS];
	u64 notifies, events, spurious, responses, copied;

	/* of the connection; only under dev->lock */
	void *pages;
	unsigned int nr_pages;
	grant_ref_t page_refs[PVBLK_RING_PAGES];
	evtchn_port_t port;
	int irq;
};

/* Driver data of a request. */
struct pvblk_rq {
	struct pvblk_rq *next;          /* in a list of finished ones */
	u32 bytes;                      /* finished; the rest of the request is issued again */
	u32 slot;
	unsigned long since;            /* issued, in jiffies */
	blk_status_t status;
};

struct pvblk_dev {
	struct kref ref;
	struct xenbus_device *xdev;     /* not after remove */
	struct delayed_work work;       /* the connection */
	struct work_struct disk_work;   /* the disk */
	struct mutex lock;
	unsigned long flags;
#define PVBLK_DEAD       0              /* lied, or gone: all I/O fails */
#define PVBLK_CLOSING    1              /* the back end wants to go: no new opens */
#define PVBLK_QUIESCED   2              /* no connection: requests wait */
#define PVBLK_LYING      3              /* has lied; */
#define PVBLK_LIED       4              /* and lie says how: dead for good */
#define PVBLK_REMOVED    5              /* no work item any more; set under disk_lock */
#define PVBLK_ADD        6              /* asks the disk's work item to add it, */
#define PVBLK_CLOSE      7              /* or to remove it, if nobody uses it */
#define PVBLK_LEAVING    8              /* it is being removed: who does not answer now is not waited for */
#define PVBLK_LATE       9              /* an answer is overdue, and the log says so */
#define PVBLK_DRAINING   10             /* the work item wants to know when nothing is in flight */
#define PVBLK_PAUSED     11             /* closed, but the disk stays for the next connection */
#define PVBLK_AGAIN      12             /* the device is another one of this name; the driver takes it anew */
	struct xenbus_watch back_watch;
	char *otherend;                 /* the back end's directory; our copy, as xenbus changes its own in a resume */
	bool rebind;                    /* we, or another driver, were closed on this device before */
	bool stale;                     /* our directory has keys of an earlier connection */
	bool told_busy, told_lie;
	unsigned int tries;             /* connections in a row that did not last, */
	unsigned long tried;            /* and when the last of them was begun */
	unsigned long resized;

	char name[DISK_NAME_LEN];
	struct list_head names;
	struct blk_mq_tag_set tags;
	spinlock_t disk_lock;           /* for who looks at disk without being the work item */
	struct gendisk *disk;           /* until closed; changes under dev->lock and disk_lock */
	bool added;
	unsigned int nr_hw_queues;      /* of the disk: as the first connection had it, */
	unsigned int nr_poll;           /* and how many of them, the last ones, are polled */

	unsigned int nr_rings, max_rings, order, max_segs;
	u16 handle;                     /* of the disk, in each request */
	bool bounce;                    /* all data goes through pages of our own: not trusted, or persistent */
	bool persistent, readonly, cdrom, removable;
	bool zeroes;                    /* both sides write zeroes on request */
	u8 flush_op;                    /* 0: none */
	u64 sectors;
	struct pvblk_limits limits;
	struct pvblk_ring *rings;       /* max_rings of them */
	struct dentry *debug;
	char lie[128];                  /* what it was, when PVBLK_LIED */
};

static inline struct pvblk_rq *pvblk_rq_of(struct request *rq)
{
	return blk_mq_rq_to_pdu(rq);
}

static inline u32 *pvblk_refs_of(struct pvblk_shadow *sh)
{
	return sh->indirect ? sh->indirect->refs : sh->direct;
}

static inline bool pvblk_dead(const struct pvblk_dev *dev)
{
	return test_bit(PVBLK_DEAD, &dev->flags);
}

/* main.c */
extern unsigned int pvblk_poll_queues, pvblk_max_order, pvblk_max_segs;
extern unsigned int pvblk_ask_after, pvblk_fail_after;
extern bool pvblk_trusted, pvblk_persistent;
void pvblk_kick_work(struct pvblk_dev *dev);
void pvblk_kick_disk(struct pvblk_dev *dev);
void pvblk_dev_put(struct pvblk_dev *dev);

/* connect.c: call under dev->lock, may sleep.  0 or -errno; what was made before a failure is unmade by teardown. */
int pvblk_setup(struct pvblk_dev *dev);                 /* make rings, publish them */
int pvblk_properties(struct pvblk_dev *dev);            /* read what the connected back end offers */
int pvblk_start(struct pvblk_dev *dev);                 /* rings take requests from here on */
void pvblk_teardown(struct pvblk_dev *dev);             /* revoke everything; nothing may be in flight */
int pvblk_read_sectors(struct pvblk_dev *dev, u64 *sectors);

/* issue.c */
const char *pvblk_op_name(u8 op);
extern const struct blk_mq_ops pvblk_mq_ops;
void pvblk_complete(struct request *rq);

/* queue.c */
irqreturn_t pvblk_interrupt(int irq, void *arg);
int pvblk_poll(struct pvblk_ring *r);                   /* how many requests it has finished */
bool pvblk_poke(struct pvblk_ring *r);                  /* as if it had told us, and we it; false: no connection */
bool pvblk_overdue(struct pvblk_ring *r, struct request *rq); /* false: it is not outstanding */
void pvblk_refs_give(struct pvblk_ring *r, u32 keep);   /* back to the kernel, all but keep of the unused */
void pvblk_kill(struct pvblk_dev *dev);                 /* dead from here on; fails what is in flight.  Any context. */
void pvblk_hold(struct pvblk_dev *dev);                 /* requests wait from here on, if there is a disk, */
void pvblk_recall(struct pvblk_dev *dev);               /* also those in flight, */
void pvblk_go_on(struct pvblk_dev *dev);                /* and are issued again */

/* disk.c */
bool pvblk_selftest_names(void);                        /* debug builds */
int pvblk_disk_name(struct pvblk_dev *dev);
void pvblk_disk_unname(struct pvblk_dev *dev);
int pvblk_disk_make(struct pvblk_dev *dev);             /* before the rings are live; does no I/O */
int pvblk_disk_add(struct pvblk_dev *dev);              /* reads partitions */
void pvblk_disk_remove(struct pvblk_dev *dev);          /* what pvblk_disk_add() did; waits for what is in flight */
void pvblk_disk_free(struct pvblk_dev *dev);            /* call under dev->lock */
void pvblk_disk_relimit(struct pvblk_dev *dev, const struct pvblk_limits *had);
void pvblk_disk_resize(struct pvblk_dev *dev, u64 sectors);

/* debug.c */
void pvblk_debug_init(void);
void pvblk_debug_exit(void);
void pvblk_debug_add(struct pvblk_dev *dev);
void pvblk_debug_remove(struct pvblk_dev *dev);         /* waits for readers; not under dev->lock */
#endif
