/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_VIF_H
#define PVB_BACKEND_VIF_H
/* A synthetic NIC in the supervisor: a device (device.h) with a port (net/port.h).
 *
 *   vif.c        what a device does on its way
 *   vif-nodes.c  what is read from and published in the store for it
 *
 * Port     Which one is a text.  With our hotplug script (vif-pvbus...) it is the value of `bridge`; with any other script
 *          it is "tap", which is what they plug in somewhere; without a script it is the value of `port`, or "tap".
 * TAP      Made before state 2, because the toolstack runs the script right after; kept when the guest reconnects and when
 *          pvbackd ends, because bridges, addresses and rules hang on it; taken away when the back end's directory vanishes,
 *          also while no pvbackd ran (vif_sweep(): its alias says whose it is).  It is followed by its descriptor: scripts
 *          rename it.
 * Live     `rate`, `rx-rate` and the front end's request-multicast-control are looked at while connected.  So is what the
 *          host makes of the TAP (links.h): its MTU is the front end's `mtu`, whether it is up is `carrier`.
 */
#include "backend/net/port.h"
#include "device.h"
#include "target.h"

struct vif {
	struct device dev;           /* first: a struct device is all others know of */
	struct target *port;         /* NULL: none that makes sense; port_error says why */
	char port_error[240];
	bool our_script;             /* tells the toolstack what is wrong with the port */
	bool prepared;               /* fds are there */
	int fds[PORT_MAX_FDS];
	unsigned nr_fds;
	char vifname[16];            /* the script renames the interface to; "" */
	struct nif_config cfg;
	unsigned max_queues;         /* offered */
	struct pvb_watch *multicast; /* the front end's wish */
	struct nif_rate tx, rx;      /* what the worker knows */
	bool multicast_control;
	bool stalled;                /* the guest takes nothing */
	bool up;                     /* the interface, if the port has one */
};
/* NULL: it is no NIC. */
static inline struct vif *vif_of(struct device *d)
{
	return d->ops == &vif_ops ? (struct vif *)d : NULL;
}
/* Take away TAPs of ours whose NICs are gone.  To be called when all devices in the store are known. */
void vif_sweep(struct supervisor *sup);
/* The host has changed this interface, or any (0).  If it is this NIC's, the guest hears what is new: MTU, up or down. */
void vif_link_changed(struct vif *v, unsigned ifindex);
/* What the interface is called now, "" when the port has none. */
void vif_ifname(const struct vif *v, char buf[32]);

/* --- vif-nodes.c ------------------------------------------------------------------------------------ */
/* The toolstack's keys: all but the port must make sense; a port that does not is v->port_error. */
int vif_read_config(struct vif *v, struct pvb_error *err);
int vif_publish_features(struct vif *v);                             /* before state 2 */
int vif_publish_link(struct vif *v);                                 /* carrier and mtu, before state 4 and when they change */
int vif_read_front(struct device *d, struct pvb_store *st, pvb_txn t, union ipc_connect *c, struct pvb_error *err);
/* What may change while connected; a value that makes no sense leaves what is. */
void vif_read_live(struct vif *v, struct nif_rate *tx, struct nif_rate *rx, bool *multicast_control);
/* "BYTES,USECS". */
int vif_parse_rate(const char *text, struct nif_rate *rate, struct pvb_error *err);
/* "192.0.2.1 192.0.2.0/24 2001:db8::1", blanks or commas between. */
int vif_parse_ips(const char *text, struct nif_config *cfg, struct pvb_error *err);
#endif
