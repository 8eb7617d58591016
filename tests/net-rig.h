/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_NET_RIG_H
#define PVB_TESTS_NET_RIG_H
/* The network protocol of a worker, raw front ends and ports that do as they are told, in one process and one thread:
 * what a test does happens in the order it says, and faults can be aimed at a single call.
 *
 * Each NIC has a domain of its own.  One honest NIC is beside those of the test; its port sends everything back, so
 * honest() is a verified round trip through TX, a copy from guest page to guest page, and RX.
 * Mappings of the back end have guard pages.  Rings begin at 0xfffffff0.  Everything asserts with cmocka; waits are
 * bounded.
 */
#include <stdbool.h>
#include "backend/net/nif-impl.h"
#include "bus/local/fabric.h"

#define RIG_WAIT_MS 20000u
#define RIG_START 0xfffffff0u

struct rig;
struct rnic;

/* A frame as a port or a guest got it. */
struct rgot {
	uint32_t len;                  /* guest: sum of its slots */
	unsigned slots, extras;
	bool csum_blank, csum_valid;
	uint8_t gso;                   /* enum frame_gso */
	uint16_t gso_size;
	bool hashed;
	uint32_t hash;
	uint8_t hash_type;
	int status;                    /* guest: 0, or the error of its slots */
	bool granted;                  /* port: some of it was left in the guest */
	uint8_t data[65536];
};

enum rport_does { RPORT_KEEPS, RPORT_REFLECTS, RPORT_FORWARDS, RPORT_HOLDS, RPORT_DROPS };

struct rport {
	struct port port;
	struct rnic *nic;
	struct rnic *to;               /* RPORT_FORWARDS */
	enum rport_does does;
	unsigned nr_xmit, nr_frames;   /* calls, frames seen */
	unsigned nr_room, nr_flush, nr_carrier;
	bool connected;
	struct port_offers offers;
	struct rgot *kept;             /* RPORT_KEEPS: the last one */
	unsigned nr_kept;
	unsigned hold_after;           /* RPORT_HOLDS: so many pass, then hold */
};

struct rnic_options {
	unsigned queues;               /* 0 = 1 */
	bool shared_event, no_sg, no_gso, no_csum, no_rx_notify, ctrl, multicast;
	bool whole;                    /* the port wants all bytes */
	unsigned tx_pages;             /* 0 = 64 */
	unsigned pool;                 /* Oracle's pools, of so many pages each way */
	const struct nif_config *cfg;  /* domid and devid are filled in; NULL: no filter, no rate */
};

struct rring {
	struct pvb_grant grant;
	struct pvb_ring_shared *sh;    /* raw */
	uint8_t *slots;
	uint32_t port, prod, cons;
};

struct rqueue {
	struct rring tx, rx;
	struct pvb_grant buffers;      /* RX: 256 pages, buffer i for slots i mod 256 */
	struct pvb_grant pool;         /* list pages: tx, rx */
};

struct rnic {
	struct rig *rig;
	uint32_t domid;
	struct pvb_hv *hv;             /* the guest's */
	struct nif *nif;
	struct nif_stats stats;
	struct rport port;
	struct rnic_options opt;
	unsigned nr_queues;
	struct rqueue q[NIF_MAX_QUEUES];
	struct rring ctrl;
	struct pvb_grant data;         /* TX pages, and whatever a test wants */
	uint16_t next_id;
	uint32_t start;                /* index fresh rings begin at */
	void *journals[NIF_MAX_QUEUES];
	char broken[240], refused[240];
	unsigned nr_broken, nr_refused, nr_stalled;
	uint64_t nr_untold;
	bool stalled;
	bool hear_all;                 /* of refusals; else one a second, as in life */
};

struct rig {
	char dir[64];
	struct pvb_fabric *fabric;
	struct pvb_hv *hv;             /* the back end's */
	struct pvb_loop *loop;
	struct pvb_events *events;
	struct nif_ctx *ctx;
	struct rnic good;
	uint64_t seed;
	unsigned done_honestly;
};

void rig_new(struct rig *r);
void rig_new_with(struct rig *r, size_t memory);
/* Frees everything and asserts that nothing is left mapped, bound or stuck. */
void rig_free(struct rig *r);
void rig_pump(struct rig *r, int timeout_ms);
void honest(struct rig *r);
/* A few rounds of the loop and honest traffic. */
void rig_settle(struct rig *r);

void rnic_new(struct rig *r, struct rnic *n, const struct rnic_options *opt);
void rnic_free(struct rnic *n);            /* disconnects */
/* The front end's part, the back end's. */
void rnic_rings(struct rnic *n);
void rnic_describe(struct rnic *n, struct nif_connect *c);
int rnic_attach(struct rnic *n, const struct nif_connect *c, struct pvb_error *err);
/* new, rings, attach; all RX buffers are posted */
void rnic_connect(struct rig *r, struct rnic *n, const struct rnic_options *opt);
void rnic_disconnect(struct rnic *n);      /* nif_disconnect(), and the guest's part is given up */

/* --- TX --- */
uint8_t *rnic_page(struct rnic *n, unsigned page);
uint32_t rnic_gref(struct rnic *n, unsigned page);
/* its id */
uint16_t rnic_put(struct rnic *n, unsigned q, unsigned page, unsigned offset, unsigned size, unsigned flags);
void rnic_put_raw(struct rnic *n, unsigned q, const void *slot); /* 12 bytes */
void rnic_put_gso(struct rnic *n, unsigned q, unsigned type, unsigned size, bool more);
void rnic_put_mcast(struct rnic *n, unsigned q, const uint8_t *mac, bool add);
void rnic_push(struct rnic *n, unsigned q);
unsigned rnic_tx_unread(struct rnic *n, unsigned q);
void rnic_tx_await(struct rnic *n, unsigned q, unsigned nr);
int rnic_tx_status(struct rnic *n, unsigned q, uint16_t *id); /* the next answer */
/* Put data from page on, in pieces of the given sizes (0-terminated; NULL: pages), push, wait: the status all data
 * slots must have.  flags, gso: of the first slot. */
int rnic_send(struct rnic *n, unsigned q, const void *data, unsigned len, const unsigned *pieces, unsigned flags,
	      unsigned gso_type, unsigned gso_size);

/* --- RX --- */
void rnic_post(struct rnic *n, unsigned q, unsigned nr);      /* buffers, and tells */
unsigned rnic_rx_unread(struct rnic *n, unsigned q);
bool rnic_receive(struct rnic *n, unsigned q, struct rgot *g); /* one frame that has arrived; false: none */
void rnic_await(struct rnic *n, unsigned q, struct rgot *g);

/* --- control ring --- */
struct xen_netif_ctrl_response rnic_ctrl(struct rnic *n, unsigned type, uint32_t a, uint32_t b, uint32_t c);

/* A frame to the port, as if from outside: flushes. */
enum frame_verdict rport_deliver(struct rnic *n, unsigned queue, struct frame *f);

/* --- frames --- */
/* Ethernet, IPv4, and UDP or TCP round a payload that depends on the seed; len of all.  Checksums are right, or
 * blank. */
void rig_udp4(uint8_t *buf, unsigned len, uint64_t *seed);
void rig_tcp4(uint8_t *buf, unsigned len, uint64_t *seed, uint32_t saddr, uint32_t daddr, uint16_t sport,
	      uint16_t dport, bool blank);
#endif
