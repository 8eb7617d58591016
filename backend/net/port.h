/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_PORT_H
#define PVB_BACKEND_NET_PORT_H
/* Ports: where a synthetic NIC's frames go to and come from.
 *
 * A port is one const struct of callbacks, listed in ports.c.  Wrappers (pcap, fault, delay) have the same
 * shape and stand between the NIC and the port, in both directions, so tests need no code in the data path.
 *
 * Two processes   prepare() runs in the supervisor, which may create TAPs and files; it leaves descriptors.  Everything
 *                 else runs in a worker, in a sandbox that can open nothing: open() gets those descriptors.
 * Text            "PORT[:ARG][?key=value[&key=value]...]", the rest as for disks (target.h); read by port_parse():
 *                 "tap", "switch:lan?vlan=5", "null"; wrappers are asked for by their keys (pcap=FILE, fault=...,
 *                 delay=...).
 * Flow            guest -> port: xmit(), which gives each frame a verdict.  port -> guest: port_deliver(), which does.
 * Threads         One worker thread; a port never blocks.
 * Errors          0 or -errno and a pvb_error; ports never print.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/error.h"
#include "bus/loop.h"
#include "frame.h"

struct target;
struct port;
struct nif;        /* the NIC's protocol side, netif.h */
struct nif_ctx;

#define PORT_MAX_QUEUES 8u
#define PORT_MAX_FDS (PORT_MAX_QUEUES + 2u)

/* What the NIC's other end has agreed on; from connect until disconnect. */
struct port_offers {
	unsigned queues;
	bool csum4, csum6;     /* the guest takes blank checksums */
	bool gso4, gso6;
	bool sg;               /* frames of more than a page */
	bool again;            /* the guest of before, which knows nothing of another worker: what waits for it is still wanted */
};

/* What the supervisor knows about the NIC when it prepares its port. */
struct port_nic {
	uint32_t domid, devid;
	const char *ifname;    /* "vif3.0" */
	uint8_t mac[6];
	uint32_t mtu;
	unsigned queues;       /* at most */
};

struct port_stats {
	uint64_t rx_dropped_full;    /* for the guest, but it had no room for too long */
	uint64_t rx_dropped_filter;  /* its offload is not this guest's, and could not be done here */
	uint64_t tx_errors;          /* the port could not take it */
	uint64_t flooded;            /* unknown or group destination */
	uint64_t injected;           /* by the fault wrapper */
	uint64_t tx_dropped_filter;  /* the switch did not take it: VLAN, storm control, a MAC that is another's */
};

struct port_ops {
	const char *name;
	const char *help;            /* "ARG   what it is" */
	const char *const *keys;     /* options it takes, NULL-terminated; each is in the man page */
	bool wrapper;                /* then its first key is its name, and every port takes its keys */
	bool whole;                  /* xmit() wants every byte in private local memory, one piece: what port->needs
	                              * starts as */
	unsigned nr_fds;             /* wrappers: descriptors prepare() leaves, always */

	/* Supervisor: check the text; create what it names; leave descriptors (close-on-exec).  May be NULL. */
	int (*prepare)(const struct target *t, const struct port_nic *nic, int fds[PORT_MAX_FDS], unsigned *nr_fds,
		       struct pvb_error *err);
	/* Worker: make a port; takes over the fds (also on failure).  `below` for wrappers. */
	int (*open)(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		    struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err);
	/* nr frames from one queue of the guest, parsed and filtered, in order.  On return each has a verdict.
	 * After the first FRAME_HELD of a call the rest is FRAME_HELD as well: order is kept.  What stopped them calls
	 * nif_ctx_retry() when it is worth trying again. */
	void (*xmit)(struct port *p, struct frame **frames, unsigned nr);

	/* The rest may be NULL.  Each port of a chain is called; none hands on.
	 * The guest connected (offers) or disconnected (NULL).  Not connected, nothing may be delivered. */
	void (*connected)(struct port *p, const struct port_offers *offers);
	/* Wrappers: a frame for the guest, from below; ends in port_deliver(p, ...).  NULL: passes. */
	enum frame_verdict (*deliver)(struct port *p, unsigned queue, struct frame *f);
	/* The guest has room on this queue again (called after port_deliver() said FRAME_HELD). */
	void (*room)(struct port *p, unsigned queue);
	/* All calls of one pass are made, for all NICs: send what was gathered. */
	void (*flush)(struct port *p);
	/* The guest takes nothing for a long time (false), or takes again: shown to whoever looks at the link. */
	void (*carrier)(struct port *p, bool up);
	void (*close)(struct port *p); /* disconnected; not the port below */
};

struct port {
	const struct port_ops *ops;
	struct port *below;          /* wrappers */
	struct port *above;          /* the wrapper round this one; NULL at the top */
	struct nif *nif;             /* set on all of a chain by the owner of the topmost */
	struct nif_ctx *ctx;
	bool needs;                  /* this port itself: every byte, local */
	bool whole;                  /* this one or one below it: what counts is the topmost's.  May change between two
	                              * calls of xmit() */
	struct port_stats stats;
};

extern const struct port_ops *const ports[]; /* NULL-terminated: the one list */
const struct port_ops *port_find(const char *name);

int port_parse(const char *text, struct target **out, struct pvb_error *err); /* target_free() it */

/* --- the chain of a text: base port and the wrappers its options ask for ------------------------------ */
int port_prepare(const struct target *t, const struct port_nic *nic, int fds[PORT_MAX_FDS], unsigned *nr_fds,
		 struct pvb_error *err);
int port_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds, struct nif_ctx *ctx,
	      struct port **out, struct pvb_error *err);
void port_close(struct port *p);     /* the whole chain; NULL is fine */
/* Down the chain, as ops say. */
void port_connected(struct port *p, const struct port_offers *offers);
void port_xmit(struct port *p, struct frame **frames, unsigned nr);
void port_room(struct port *p, unsigned queue);
void port_flush(struct port *p);
void port_carrier(struct port *p, bool up);
void port_stats_sum(const struct port *p, struct port_stats *sum); /* of the chain from p down */
/* Which switch, "" if none: NICs of one switch share a worker. */
const char *port_switch_name(const struct target *t);

/* Up the chain: a frame for the guest, on the queue the port prefers (modulo what is connected).  The verdict tells:
 * SENT: its bytes are read at the next nif_ctx_flush(), keep them until then.  HELD: no room; room() will come.
 * DROPPED: never for this guest (too big without SG, filtered ...), counted there. */
enum frame_verdict port_deliver(struct port *p, unsigned queue, struct frame *f);
/* For ports: this one's needs have changed (between two calls of xmit()): tell those above. */
void port_set_needs(struct port *p, bool needs);
#endif
