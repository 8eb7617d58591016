/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_WORKER_NET_H
#define PVB_BACKEND_WORKER_NET_H
/* The NICs of a worker: the supervisor's messages about them, turned into calls of net/netif.h, and what the protocol
 * reports, turned into messages. */
#include "bus/event.h"
#include "bus/hv.h"
#include "bus/loop.h"
#include "ipc.h"

struct wnet;
/* say(arg, m) sends a message to the supervisor. */
int wnet_new(struct wnet **out, struct pvb_hv *hv, struct pvb_events *events, struct pvb_loop *loop, size_t memory,
	     void (*say)(void *arg, struct ipc_msg *m), void *arg);
void wnet_free(struct wnet *w);        /* disconnects all */
/* A message about a NIC; takes over the descriptors. */
void wnet_handle(struct wnet *w, struct ipc_msg *m, int *fds, unsigned nr_fds);
void wnet_run(struct wnet *w);         /* after a round of events */
struct poll;
void wnet_poll(struct wnet *w, struct poll *poll); /* polling.h */
#endif
