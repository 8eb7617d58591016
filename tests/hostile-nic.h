/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_HOSTILE_NIC_H
#define PVB_TESTS_HOSTILE_NIC_H
/* A network front end that does what a test says and nothing else, as hostile-front.h is one for disks.  It connects
 * correctly by default; every text in the store, every index, slot and shared word can be replaced.
 *
 *	hfront_open(&n.dev, "local:DIR:3", "vif", 0, &err);
 *	hnic_connect(&n, &(struct hnic_options){ .start = 0xfffffff0u }, 5000, &err);
 *	hnic_put(&n, 0, 0, 0, 60, 0); hnic_push(&n, 0);           // data page 0, offset 0, 60 bytes
 *	hnic_sent(&n, 0, &id, 1000);                              // status of the next answer
 *	hnic_receive(&n, 0, &got, 1000);
 *
 * All waits are bounded and end with -ETIMEDOUT.  Calls return 0 or -errno.  One thread, except hnic_notify().
 */
#include "hostile-front.h"

#define HNIC_QUEUES 4u
#define HNIC_PAGES 64u         /* of data, and of RX buffers of each queue: gntalloc has 1024 for all */
#define HNIC_SLOTS 256u
#define HNIC_STATUS_NULL 1     /* NETIF_RSP_NULL: an extra info's answer */

struct hnic_options {
	unsigned queues;       /* 0 = 1 */
	uint32_t start;        /* where fresh rings begin */
	bool ctrl, shared_event, no_rx_notify;
	bool no_buffers;       /* nothing is posted */
	/* As in struct hfront_options. */
	const struct pvb_pair *keys;
	unsigned nr_keys;
};

struct hring {
	struct pvb_grant grant;
	struct pvb_ring_shared *sh;    /* raw */
	uint8_t *slots;                /* raw */
	unsigned slot_size, nr_slots;
	uint32_t port, prod, cons;
};

struct hnic {
	struct hfront dev;             /* first; directories and handles.  It has no block rings. */
	unsigned queues;
	struct hring tx[HNIC_QUEUES], rx[HNIC_QUEUES], ctrl;
	struct pvb_grant data;         /* HNIC_PAGES to send from, and whatever a test wants */
	struct pvb_grant buffers[HNIC_QUEUES]; /* RX slot i has buffer i mod HNIC_PAGES */
	uint16_t next_id;
	bool no_rx_notify;
};

/* A received frame. */
struct hgot {
	uint32_t len;
	unsigned slots, extras;
	unsigned flags;                /* NETRXF_* of the first slot */
	unsigned gso_type, gso_size;
	int status;                    /* 0, or the error of its slots */
	uint8_t data[65536 + 4096];
};

int hnic_rings(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err);
int hnic_publish(struct hnic *n, const struct hnic_options *opt, struct pvb_error *err);
/* Wait for 2, rings, publish, buffers, state 4, wait for 4. */
int hnic_connect(struct hnic *n, const struct hnic_options *opt, int timeout_ms, struct pvb_error *err);
void hnic_drop(struct hfront *dev);    /* dev is a struct hnic's */

uint8_t *hnic_page(struct hnic *n, unsigned page);
uint32_t hnic_gref(struct hnic *n, unsigned page);
void *hnic_slot(struct hring *r, uint32_t index); /* raw, index taken modulo */
int hnic_notify(struct hnic *n, const struct hring *r);
/* req_prod = any number, and notify */
void hnic_push_to(struct hnic *n, struct hring *r, uint32_t req_prod);

/* --- sending: put, then push.  Slots are 12 bytes. --- */
uint16_t hnic_put(struct hnic *n, unsigned q, unsigned page, unsigned offset, unsigned size, unsigned flags);
uint16_t hnic_put_ref(struct hnic *n, unsigned q, uint32_t ref, unsigned offset, unsigned size, unsigned flags);
void hnic_put_extra(struct hnic *n, unsigned q, unsigned type, bool more, const uint8_t payload[6]);
void hnic_put_gso(struct hnic *n, unsigned q, unsigned type, unsigned size, bool more);
void hnic_push(struct hnic *n, unsigned q);
uint32_t hnic_unread(struct hring *r);
/* Until there are so many responses. */
int hnic_await(struct hnic *n, struct hring *r, uint32_t nr, int timeout_ms);
/* The next answer into *status; -EBADMSG: there is more in its slot than that. */
int hnic_sent(struct hnic *n, unsigned q, uint16_t *id, int *status, int timeout_ms);

/* --- receiving --- */
void hnic_post_ref(struct hnic *n, unsigned q, uint32_t ref);  /* one; not shown yet */
void hnic_post(struct hnic *n, unsigned q, unsigned nr);       /* of our buffers; shown */
void hnic_show_posts(struct hnic *n, unsigned q);
int hnic_receive(struct hnic *n, unsigned q, struct hgot *got, int timeout_ms);

/* --- the control ring --- */
int hnic_ctrl(struct hnic *n, unsigned type, uint32_t a, uint32_t b, uint32_t c, uint32_t *status, uint32_t *data,
	      int timeout_ms);
#endif
