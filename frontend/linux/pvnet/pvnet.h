/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVNET_H
#define PVNET_H
/* pvnet: a front end for Xen's netif protocol, for NICs of any back end.
 *
 * Trust    The back end may write anything into the rings at any time.  A response is copied once and checked against
 *          our own slots; the first lie disables the device: one line in the log, nothing more is read.  Memory is
 *          taken back by revoking, and what can not be revoked is never freed or used again.
 * Pages    A slot is either granted or our own.  Granted: the page a frame lies in, or one that becomes part of a
 *          frame, lent for one request.  Own: a page that stays granted as long as the connection lives and holds
 *          nothing but frames, which are copied through it.  Own pages are used when the back end has mapped them for
 *          good (staging), when it is not trusted, and when it takes no frames of several slots.
 * Context  Everything that may wait is done by one work item per device; NAPI does the rest, one instance a queue for
 *          both directions.  The xenwatch thread never waits for traffic.
 * Locks    dev->lock, then rtnl, then a TX queue's lock of the kernel.  dev->lock guards making and unmaking a
 *          connection, so nothing that is called with rtnl held may take it.  The kernel's TX lock guards tx, NAPI
 *          guards rx.
 * Events   The end of an interrupt is told when NAPI has done its work, so a port is quiet while it is polled.
 */
#include <linux/bpf.h>
#include <linux/if_vlan.h>
#include <linux/irqreturn.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/workqueue.h>
#include <net/xdp.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>
#include <xen/interface/io/netif.h>
#include "compat.h"
#include "front.h"
#include "ring.h"

#define PVNET_SLOTS      256u   /* of a ring: one page, both directions */
#define PVNET_MAX_SLOTS  XEN_NETIF_NR_SLOTS_MIN /* of one frame, extra infos not counted */
#define PVNET_MAX_QUEUES 16u
#define PVNET_MAX_GROUPS 64u    /* netback's limit, and ours */
#define PVNET_RSS_KEY    40u
#define PVNET_RSS_MAP    128u
#define PVNET_HDR        256u   /* bytes of a received frame that are copied before anybody reads them */
#define PVNET_XDP_LEN    (SKB_WITH_OVERHEAD(PAGE_SIZE) - XDP_PACKET_HEADROOM) /* of a frame for a program */
#define PVNET_XDP_MTU    (PVNET_XDP_LEN - VLAN_ETH_HLEN)

enum pvnet_kind { PVNET_FREE, PVNET_GRANTED, PVNET_XDP, PVNET_OWN, PVNET_GROUP };

/* What was asked with an id; nothing of it is ever read back from the ring. */
struct pvnet_tx_slot {
	union {
		struct sk_buff *skb;    /* granted: the frame, freed with its last slot */
		struct xdp_frame *xdpf; /* of XDP, which has only this slot */
	};
	grant_ref_t ref;                /* always this slot's; 0 once it is lost */
	u8 kind;
	u8 uses;                        /* upper half of the id: an answer to its last user is not one to this */
	u16 next_free;
};

struct pvnet_tx {
	struct pvb_ring ring;
	struct pvnet_tx_slot *slot;     /* by the id's lower half */
	struct pvb_page *own;         /* by slot; NULL: none */
	u16 free;
	u16 extras;                     /* extra infos without an answer */
	u16 granted, groups;            /* slots, and multicast requests, without one */
	u32 due;                        /* the answer that an event was asked for */
	bool on;                        /* frames are taken */
	bool copy;                      /* through own pages */
};

struct pvnet_rx_slot {
	struct page *page;              /* granted: of the pool */
	grant_ref_t ref;
	u8 kind;
};

enum pvnet_next { PVNET_FIRST, PVNET_EXTRA, PVNET_MORE };

/* A frame whose slots come one after the other. */
struct pvnet_frame {
	struct sk_buff *skb;
	struct page *fill;              /* of the pool: where copied bytes go on */
	u32 used;                       /* of it */
	struct page *whole;             /* of the pool: the frame, for a program */
	u32 len;
	u8 next;                        /* enum pvnet_next: what the next slot must be */
	bool more, failed, blank, valid, hashed;
	bool xdp, large;                /* for a program; and not one that fits a page */
	u8 nr_data, nr_extras;
	u8 gso, hash_type;
	u16 gso_size;
	u32 hash;
};

struct pvnet_rx {
	struct pvb_ring ring;
	struct pvnet_rx_slot *slot;     /* by the ring's */
	struct pvb_page *own;
	struct page_pool *pool;
	struct pvnet_frame frame;
	struct timer_list retry;        /* when there was no memory for buffers */
	bool copy;
};

/* All are told by ethtool -S, see netdev.c. */
struct pvnet_counts {
	u64 tx_packets, tx_bytes, tx_slots, tx_gso, tx_csum_blank, tx_copied, tx_linearized;
	u64 tx_full, tx_dropped, tx_errors, tx_lost;
	u64 rx_packets, rx_bytes, rx_slots, rx_gso, rx_csum_blank, rx_copied, rx_hashed;
	u64 rx_dropped, rx_errors, rx_bad, rx_no_memory;
	u64 xdp_pass, xdp_drop, xdp_tx, xdp_redirect, xdp_xmit, xdp_refused, xdp_errors;
	u64 notify_sent, notify_suppressed, events, spurious;
};

/* A pair with a NIC that is passed through. */
struct pvnet_pair {
	struct failover *failover;      /* NULL: no pair */
	void (*destroy)(struct failover *failover); /* held while there is one */
	struct net_device *master;      /* the interface that both are */
	struct list_head entry;         /* of all pairs; under rtnl */
};

struct pvnet_dev;

struct pvnet_queue {
	struct pvnet_dev *dev;
	unsigned int nr;
	struct napi_struct napi;
	bool live;                      /* may be used: made, and no lie heard */
	unsigned long eoi;              /* whose end of interrupt is to be told */
#define PVNET_EOI_TX 0
#define PVNET_EOI_RX 1                  /* of both directions, if they share a port */
	bool tx_worked, rx_worked;      /* since the last end */
	struct pvnet_tx tx;
	struct pvnet_rx rx;
	u32 staged;                     /* own pages that the back end has mapped for good */
	struct pvnet_counts n;
	struct xdp_rxq_info xdp_rxq;
	bool xdp_sent, xdp_redirected;  /* to be flushed when NAPI has done its work */

	/* of the connection; only under dev->lock */
	bool made;                      /* NAPI is enabled */
	void *tx_page, *rx_page;
	grant_ref_t tx_ring_ref, rx_ring_ref;
	evtchn_port_t tx_port, rx_port;
	int tx_irq, rx_irq;             /* the same if there is one port */
};

/* What the back end offers, as of the last connection. */
struct pvnet_offers {
	bool sg, gso4, gso6, csum6, split, ctrl, filter;
};

/* Multicast groups. */
struct pvnet_groups {
	u32 nr;
	u8 addr[PVNET_MAX_GROUPS][ETH_ALEN];
};

struct pvnet_ctrl {
	struct pvb_ring ring;
	void *page;
	grant_ref_t ring_ref;
	evtchn_port_t port;
	int irq;
	bool event;                     /* its end is not told yet */
	bool usable;                    /* connected, and all answers came so far */
	u16 id;
	struct pvb_page list;         /* what messages point to; never read */
	wait_queue_head_t wait;
};

/* What ethtool -X has asked for; under rtnl. */
struct pvnet_rss {
	u32 changes;                    /* 0: nothing */
	u8 key[PVNET_RSS_KEY];
	u32 map[PVNET_RSS_MAP];
};

struct pvnet_dev {
	struct xenbus_device *xdev;
	struct net_device *netdev;
	struct work_struct work;
	struct mutex lock;
	unsigned long flags;
#define PVNET_LIED     0                /* for good, see lie */
#define PVNET_REMOVED  1                /* no work item any more */
#define PVNET_GROUPS_REFUSED 2          /* the back end's list is full, or it has none */
#define PVNET_GROUPS_WAIT    3          /* for room in the ring */
#define PVNET_AGAIN          4          /* the device is another one of this name; the driver takes it anew */
#define PVNET_PATH           5          /* of a pair: others are to be told where it is */
	char *otherend;                 /* the back end's directory; our copy, as xenbus changes its own in a resume */
	struct xenbus_watch carrier_watch, mtu_watch, back_watch;
	bool again;                     /* what was closed may begin anew: it worked, or another driver had it */
	bool stale;                     /* our directory has keys of an earlier connection */
	bool started;                   /* both ends are connected */
	bool told_lie;
	bool untrusted;
	bool filtered;                  /* the back end sends only the groups it was told */
	bool all_groups;                /* or was asked for all */
	struct pvnet_groups groups;     /* those it was told */
	bool soon;                      /* after a resume, and not connected yet */
	bool leaving;                   /* nobody may wait for the back end any more */
	struct pvnet_ctrl ctrl;
	struct pvnet_rss rss;
	struct pvnet_pair pair;
	u32 rss_done;                   /* changes that the back end has been told */
	unsigned int told_mtu;          /* by the toolstack */
	struct bpf_prog __rcu *prog;    /* XDP; changes under rtnl */
	bool plain;                     /* this connection's back end was told to send what a program can take */
	struct pvnet_offers offers;
	unsigned int nr_queues, max_queues;
	struct pvnet_queue *queues;     /* max_queues of them */
	char lie[120];                  /* what it was, when PVNET_LIED */
};

static inline bool pvnet_dead(const struct pvnet_dev *dev)
{
	return test_bit(PVNET_LIED, &dev->flags);
}

static inline bool pvnet_has_prog(const struct pvnet_dev *dev)
{
	return rcu_access_pointer(dev->prog) != NULL;
}

/* main.c */
extern bool pvnet_trusted, pvnet_staging, pvnet_multicast;
void pvnet_kick_work(struct pvnet_dev *dev);

/* connect.c: call under dev->lock, may sleep.  0 or -errno; what was made before a failure is unmade by teardown. */
int pvnet_setup(struct pvnet_dev *dev);                 /* make queues, publish them */
void pvnet_start(struct pvnet_dev *dev);                /* the back end is connected: frames may go */
unsigned int pvnet_max_mtu(const struct pvnet_dev *dev); /* under rtnl */
void pvnet_look(struct pvnet_dev *dev);                 /* carrier and MTU, whenever they may have changed */
void pvnet_stop(struct pvnet_dev *dev);                 /* no frames any more; what is lent stays lent */
u32 pvnet_staged(const struct pvnet_dev *dev);          /* pages, without the lock */
void pvnet_teardown(struct pvnet_dev *dev);             /* revoke everything */

/* queue.c: one queue's memory, interrupts and NAPI */
int pvnet_queue_make(struct pvnet_queue *q);
void pvnet_queue_drop(struct pvnet_queue *q);
int pvnet_pages_make(struct pvnet_dev *dev, struct pvb_page **pages, bool readonly); /* one for each slot, or none */
void pvnet_pages_drop(struct pvb_page **pages);
int pvnet_poll(struct napi_struct *napi, int budget);
__printf(2, 3)
void pvnet_lie(struct pvnet_queue *q, const char *fmt, ...);

/* ctrl.c: as connect.c */
int pvnet_ctrl_make(struct pvnet_dev *dev);
void pvnet_ctrl_start(struct pvnet_dev *dev);           /* both ends are connected */
void pvnet_ctrl_hash(struct pvnet_dev *dev);            /* tell the back end, if it does not know */
void pvnet_ctrl_drop(struct pvnet_dev *dev);

/* tx.c */
netdev_tx_t pvnet_xmit(struct sk_buff *skb, struct net_device *netdev);
void pvnet_tx_start(struct pvnet_queue *q);             /* before there are frames: all slots free */
void pvnet_tx_clean(struct pvnet_queue *q, int budget); /* by NAPI */
void pvnet_tx_drop(struct pvnet_queue *q);              /* NAPI and TX are off */

bool pvnet_tx_group(struct pvnet_queue *q, const u8 *addr, bool add); /* false: no room */
int pvnet_xdp_xmit(struct net_device *netdev, int n, struct xdp_frame **frames, u32 flags);
bool pvnet_tx_xdp(struct pvnet_queue *q, struct xdp_frame *xdpf); /* by NAPI; false: it is still the caller's */
void pvnet_tx_push(struct pvnet_queue *q);              /* by NAPI: what pvnet_tx_xdp() has put */

/* xdp.c */
bool pvnet_xdp_run(struct pvnet_queue *q, struct pvnet_frame *f); /* true: f->skb is for the stack */
void pvnet_xdp_flush(struct pvnet_queue *q);
int pvnet_xdp_setup(struct net_device *netdev, struct netdev_bpf *x);

/* mcast.c: as connect.c */
void pvnet_groups_begin(struct pvnet_dev *dev);         /* a connection begins with none */
void pvnet_groups_look(struct pvnet_dev *dev);          /* tell the back end, if it does not know */

/* pair.c: without rtnl, unless it says otherwise */
int pvnet_pair_init(void);
void pvnet_pair_exit(void);
void pvnet_pair_make(struct pvnet_dev *dev);            /* before the interface is registered, if the toolstack says so */
void pvnet_pair_drop(struct pvnet_dev *dev);            /* no work item any more */
struct net_device *pvnet_face(struct pvnet_dev *dev);   /* the interface that a user sees */
void pvnet_pair_fit(struct pvnet_dev *dev);             /* under rtnl: our limits have changed */
void pvnet_pair_announce(struct pvnet_dev *dev);        /* if frames take another way now, under dev->lock */

/* rx.c */
int pvnet_rx_run(struct pvnet_queue *q, int budget);
void pvnet_rx_refill(struct pvnet_queue *q);
void pvnet_rx_drop(struct pvnet_queue *q);              /* NAPI is off */
void pvnet_rx_retry(struct timer_list *t);

/* netdev.c */
struct net_device *pvnet_netdev_new(unsigned int max_queues);
void pvnet_rss_init(struct pvnet_dev *dev);
#endif
