/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_NIC_IMPL_H
#define PVF_NIC_IMPL_H
/* What the files of libpvfront's network part share; programs include pvnic.h only.
 *
 *   nic.c          the public calls, and what a NIC does at the turns of its life (dev.h)
 *   nic-connect.c  one connection: keys read and published, rings, pools and ports made and revoked
 *   nic-queue.c    one queue's events, pushes and polls
 *   nic-tx.c       frames into slots, their responses looked up
 *   nic-rx.c       responses into frames, buffers posted again
 *   nic-ctrl.c     the control ring: hash and staging, one message after the other
 *   nic-mcast.c    the multicast list, by dummy transmit requests
 *   nic-headers.c  where a frame's checksum is
 *
 * Pages    A queue has tx_pages and rx_pages, granted once per connection.  A transmit request's id is its page's
 *          number and, above, a count of that page's uses; a receive request's id is its slot, as all front ends
 *          have it, and a table says which page lies there.
 */
#include <stdint.h>
#include <xen/xen.h>
#include <xen/io/netif.h>
#include "dev.h"
#include "pvnic.h"
#include "ring.h"

#define NIC_SLOTS     256u  /* of either ring */
#define NIC_SG_PAGES   20u  /* fewer in a pool: no SG in that direction */
#define NIC_MIN_PAGES   4u
#define NIC_CTRL_SLOTS 128u

struct pvf_nic;

/* --- nic-tx.c --------------------------------------------------------------------------------------- */

enum pvf_tx_kind { PVF_TX_FREE, PVF_TX_FIRST, PVF_TX_MORE, PVF_TX_MCAST };

struct pvf_tx_slot {
	uint8_t kind, uses;
	uint8_t group;            /* PVF_TX_MCAST: which */
};

/* --- nic-rx.c --------------------------------------------------------------------------------------- */

enum pvf_rx_next { PVF_RX_FIRST, PVF_RX_EXTRA, PVF_RX_MORE };

/* The frame that is being taken from the ring; a back end may show it piece by piece. */
struct pvf_rx_packet {
	enum pvf_rx_next next;
	bool more;                /* of the last data slot: another follows */
	bool failed;              /* an error response was among them */
	bool blank, valid;
	unsigned nr, extras;
	uint32_t len;
	struct { uint16_t page, offset, len; } piece[PVF_NIC_MAX_SLOTS];
	uint8_t gso, hash_type;
	uint16_t gso_size;
	uint32_t hash;
};

struct pvf_nicq {
	struct pvf_nic *nic;
	unsigned nr;
	struct pvb_ring tx, rx;
	struct pvb_grant rings;   /* TX page, RX page */
	struct pvb_grant tx_pool, rx_pool;
	struct pvb_event *tx_event, *rx_event; /* the same one unless split */
	struct pvb_source *again; /* a round was cut short: go on after the others had theirs */
	unsigned since_event;     /* responses taken since an event was heard */
	bool want_room;           /* a send was refused */
	uint16_t nr_free_tx, nr_free_rx;
	uint16_t free_tx[NIC_SLOTS], free_rx[NIC_SLOTS]; /* page numbers, LIFO */
	struct pvf_tx_slot slot[NIC_SLOTS];              /* of each TX page */
	uint32_t tx_extras;       /* extra infos whose NETIF_RSP_NULL is to come */
	uint32_t tx_frames;       /* not answered */
	uint16_t rx_page[NIC_SLOTS]; /* which page lies in this ring slot */
	struct pvf_rx_packet packet;
	uint8_t hdr[PVF_NIC_HDR];
};

int pvf_nic_tx_poll(struct pvf_nicq *q);   /* responses; number, or -EPROTO */
int pvf_nic_tx_rearm(struct pvf_nicq *q);  /* ask for an event, look again; responses there, or -EPROTO */
int pvf_nic_tx_reclaim(struct pvf_nicq *q); /* both, until there is nothing */
/* Room for a frame of so many data slots and extra infos? */
bool pvf_nic_tx_room(const struct pvf_nicq *q, unsigned slots, unsigned extras);
uint16_t pvf_nic_tx_take(struct pvf_nicq *q, enum pvf_tx_kind kind, uint16_t *id); /* page and request id */
void pvf_nic_rx_post(struct pvf_nicq *q);  /* all free pages; not pushed */
int pvf_nic_rx_poll(struct pvf_nicq *q, unsigned budget);
int pvf_nic_rx_rearm(struct pvf_nicq *q);

/* --- nic-queue.c ------------------------------------------------------------------------------------ */

int pvf_nicq_start(struct pvf_nicq *q, struct pvb_error *err); /* pools; buffers posted */
void pvf_nicq_stop(struct pvf_nicq *q);
void pvf_nicq_free(struct pvf_nicq *q);
void pvf_nicq_push(struct pvf_nicq *q);
bool pvf_nicq_event(void *arg);            /* pvb_event handler */
uint32_t pvf_nicq_drain(struct pvf_nicq *q); /* all there is, then ask for events */
/* Ask for an event when `ahead` more responses are there (at least 1), then look. */
int pvf_nic_rearm(struct pvb_ring *r, uint32_t ahead);

/* --- nic-connect.c ---------------------------------------------------------------------------------- */

int pvf_nic_offer(struct pvf_dev *dev, struct pvb_error *err);
int pvf_nic_connect(struct pvf_dev *dev, struct pvb_error *err);
int pvf_nic_look(struct pvf_dev *dev, struct pvb_error *err);
void pvf_nic_disconnect(struct pvf_dev *dev);   /* stop */
void pvf_nic_release(struct pvf_dev *dev);      /* stop and revoke */

/* --- nic-ctrl.c ------------------------------------------------------------------------------------- */

struct pvf_ctrl {
	struct pvb_grant pages;   /* the ring, a page for lists and keys */
	struct pvb_ring ring;
	struct pvb_event *event;
	bool busy;                /* a message is not answered */
	uint16_t id, type;        /* of it */
	unsigned step;            /* which, see nic-ctrl.c */
	unsigned queue;           /* step is about this one */
	uint32_t listed;          /* entries in the page now */
	uint32_t types, nr_map;   /* of the hash, as the back end takes them */
};

int pvf_ctrl_start(struct pvf_nic *nic, struct pvb_error *err);
void pvf_ctrl_begin(struct pvf_nic *nic);       /* live: the first message */
void pvf_ctrl_stop(struct pvf_nic *nic);
void pvf_ctrl_free(struct pvf_nic *nic);

/* --- nic-mcast.c ------------------------------------------------------------------------------------ */

enum pvf_group_state { PVF_GROUP_WANTED, PVF_GROUP_ADDING, PVF_GROUP_ADDED, PVF_GROUP_REFUSED, PVF_GROUP_LEAVING };

struct pvf_group {
	uint8_t addr[6];
	bool used, left;          /* left: to be taken off the list again */
	enum pvf_group_state state;
};

void pvf_mcast_push(struct pvf_nic *nic);       /* send what can be sent of the list; not pushed */
void pvf_mcast_answer(struct pvf_nic *nic, unsigned group, int16_t status);
void pvf_mcast_restart(struct pvf_nic *nic);    /* a new connection knows none */

/* --- nic-headers.c ---------------------------------------------------------------------------------- */

struct pvf_l4 {
	uint8_t version;          /* 4, 6; 0: no IP packet with a TCP or UDP header */
	bool tcp;
	uint16_t start;           /* of the TCP or UDP header */
	uint16_t offset;          /* of the checksum in it */
	uint16_t payload;         /* first byte behind it */
};

/* hdr: the first hdr_len bytes, private, of a frame of len bytes. */
struct pvf_l4 pvf_find_l4(const uint8_t *hdr, size_t hdr_len, size_t len);
/* One's complement sum of the bytes from `start` on, complemented; as it stands in a header. */
uint16_t pvf_sum_iov(const struct iovec *iov, unsigned nr, size_t start);

/* --- nic.c ------------------------------------------------------------------------------------------ */

struct pvf_nic {
	struct pvf_dev dev;       /* first: see nic_of() */
	struct pvf_nic_options opt;
	struct pvf_hash hash;
	struct pvf_nic_info info;
	struct pvf_nic_stats stats;
	struct pvf_nicq queues[PVF_NIC_MAX_QUEUES];
	unsigned nr_queues;       /* of this connection; 0 = none */
	unsigned in_callback;     /* pushes are put off to its end */
	uint32_t first_index;     /* of the rings; tests begin near the wrap */
	bool dynamic_mcast;       /* request-multicast-control may change while connected */
	bool mcast_all;           /* the list did not fit: ask for everything */
	struct pvf_group groups[2 * PVF_NIC_MAX_MCAST]; /* with those that are on their way out */
	struct pvf_ctrl ctrl;
};

static inline struct pvf_nic *pvf_nic_of(struct pvf_dev *dev)
{
	return (struct pvf_nic *)dev;
}
extern const struct pvf_dev_ops pvf_nic_ops;
#endif
