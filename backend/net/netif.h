/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_NETIF_H
#define PVB_BACKEND_NET_NETIF_H
/* The network protocol in a worker: TX, RX and control rings in, frames to and from a port.
 *
 * One pass, for all NICs of the worker together:
 *   take whole packets from the TX rings into the journals -> fetch their bytes (one copy call; headers only, unless
 *   the port wants all) -> parse, filter (anti-spoof, rate) -> port xmit() -> flush: what was delivered to guests goes
 *   out (one copy call for all receivers, ops sorted by domain pair, then by grant) -> responses of RX, then of TX, in
 *   ring order and by whole packets -> one push and at most one notify per ring -> re-arm, look again.
 *
 * Trust     The front end is hostile.  A packet that makes no sense is answered with errors, one for each slot, and
 *           counted; a ring that lies, or an extra info out of its place, stops its device (broken() is called once)
 *           and no other. A pass takes at most NIF_BUDGET packets of a queue, then the others have their turn; a NIC of which
 *           more than NIF_REFUSALS packets are refused in a second gets its turns at that rate: no driver does that.
 * Room      Nothing is queued without bound: a frame waits where it came from (the sender's ring, the TAP's queue).  A
 *           receiver without room for NIF_STALL_MS is stalled: what comes for it is dropped at once until it posts
 *           buffers again; after NIF_CARRIER_MS its carrier is down (told by the stalled() callback).
 * Restart   Responses are in ring order and published by whole packets, and the journal (nif-journal.h) holds the
 *           requests a crash would lose, so a successor can go on at rsp_prod.
 * Answers   A packet the port took or dropped: OKAY; refused or not to be fetched: ERROR; kept from spoofing: DROPPED.
 *           A buffer that can not be written: ERROR in all slots of its frame.
 * Threads   One: the worker's.  No call here touches the store or opens anything.
 * Source    xen/io/netif.h; limits and traps as in stock netback and netfront.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/event.h"
#include "bus/hv.h"
#include "bus/nodes.h"
#include "frame.h"
#include "nif-stats.h"
#include "port.h"

#define NIF_MAX_QUEUES 8u
#define NIF_MAX_SLOTS 18u        /* of one packet, extra infos not counted */
#define NIF_BUDGET 64u
#define NIF_REFUSALS 1000u
#define NIF_STALL_MS 50u         /* a sender waits so long for a receiver at most, once per stall */
#define NIF_CARRIER_MS 60000u
#define NIF_MAX_MCAST 64u
#define NIF_MAX_IPS 16u
#define NIF_MAX_GREFS 512u       /* of the gref table of one queue */

/* How the front end connected; read and checked by the supervisor, in one transaction. */
struct nif_connect {
	uint32_t nr_queues;
	bool rx_notify;              /* no: the front end never asks for RX events; poll for slots */
	bool sg, gso4, gso6, csum4, csum6;
	bool multicast_control;      /* it will send the multicast list */
	bool ctrl;
	uint32_t ctrl_ref, ctrl_port;
	struct {
		uint32_t tx_ref, rx_ref;
		uint32_t tx_port, rx_port;   /* equal: one channel for both */
		/* Oracle's pools: list page and number of entries; size 0: none */
		uint32_t tx_pool_ref, tx_pool_size, rx_pool_ref, rx_pool_size;
	} queue[NIF_MAX_QUEUES];
};

struct nif_ip { uint8_t len; uint8_t addr[16]; uint8_t prefix; }; /* len 4 or 16 */

struct nif_rate { uint64_t bytes, usecs; };  /* bytes in each interval; bytes 0: unlimited */

struct nif_config {
	uint32_t domid, devid;
	uint8_t mac[6];
	uint32_t mtu;
	bool spoof_mac;              /* frames with another source address are dropped */
	uint32_t nr_ips;             /* not 0: so are packets (IP, ARP, ND) with another source */
	struct nif_ip ip[NIF_MAX_IPS];
	struct nif_rate tx, rx;      /* seen from the guest; one bucket for all queues */
	bool gref_tables;            /* offer staging grants on the control ring */
};

/* They are called in the middle of a pass: note it, and return; no call back into this header. */
struct nif_callbacks {
	/* The front end broke the protocol; the device has stopped. Once. */
	void (*broken)(void *arg, struct nif *nif, const char *why);
	/* A packet was refused (one line a second and NIC; `more` = not told since). */
	void (*refused)(void *arg, struct nif *nif, const char *why, uint64_t more);
	/* The guest has taken nothing for NIF_CARRIER_MS though there is something for it; or takes again.  The port
	 * has been told (carrier()). */
	void (*stalled)(void *arg, struct nif *nif, bool stalled);
};

/* domid: not looked at, each NIC has its own.  hv and events are the worker's. */
int nif_ctx_new(struct nif_ctx **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop,
		size_t memory, const struct nif_callbacks *cb, void *arg);
void nif_ctx_free(struct nif_ctx *ctx);
struct pvb_loop *nif_ctx_loop(struct nif_ctx *ctx);
/* For ports: page-aligned memory that copies best (pvb_hv_arena()), one area for all ports of the worker.  A port may use
 * it within one callback: what it delivers from there it flushes before it returns. */
uint8_t *nif_ctx_area(struct nif_ctx *ctx, size_t *bytes);
void nif_run(struct nif_ctx *ctx);          /* one or a few passes; events and ports call it */
/* Something for a guest was delivered outside a pass (from a descriptor's callback): as the end of one. */
void nif_ctx_flush(struct nif_ctx *ctx);

/* Takes over the port (topmost of its chain).  stats stays the caller's and must outlive the NIC. */
int nif_new(struct nif **out, struct nif_ctx *ctx, const struct nif_config *cfg, struct port *port,
	    struct nif_stats *stats, void *owner);
void *nif_owner(const struct nif *nif);
const struct nif_config *nif_config(const struct nif *nif);
void nif_free(struct nif *nif);             /* disconnects; closes the port; NULL is fine */
size_t nif_journal_bytes(void);             /* of one queue */
/* Map the rings, bind the ports, start.  journals: nr_queues mappings, which stay the caller's.  Zeroed: the rings begin, or
 * go on where they were drained.  Left by a process that died: what it had answered and perhaps not shown is shown, what it
 * had taken is taken again, and the front end hears an event; hash, multicast list and standing maps are as they were;
 * -EPROTO if a journal and its rings contradict each other.  On failure nothing is left but what the journals say. */
int nif_connect(struct nif *nif, const struct nif_connect *c, void *const *journals, struct pvb_error *err);
bool nif_connected(const struct nif *nif);
/* At once: nothing is in flight between two passes. Held frames are dropped. Idempotent. */
void nif_disconnect(struct nif *nif);
void nif_set_rate(struct nif *nif, const struct nif_rate *tx, const struct nif_rate *rx);
/* The front end changed request-multicast-control while connected. */
void nif_set_multicast_control(struct nif *nif, bool on);

/* --- for ports: a frame for this NIC's guest; see port_deliver() ------------------------------------- */
enum frame_verdict nif_deliver(struct nif *nif, unsigned queue, struct frame *f);
/* Poll rings as polling.h says; it outlives ctx.  Whoever owns the loop calls nif_run() while it is on and when it is over. */
struct poll;
void nif_ctx_poll(struct nif_ctx *ctx, struct poll *poll);
/* Frames held for want of a receiver's room are offered again in the next pass: a receiver's port calls this. */
void nif_ctx_retry(struct nif_ctx *ctx);
#endif
