/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_NIF_STATS_H
#define PVB_BACKEND_NET_NIF_STATS_H
/* Counters of one NIC, in memory that the worker writes and the supervisor reads (a file of keep.h), as stats.h has them for
 * disks. One writer, plain 64-bit stores (stats_add()).  Directions are the guest's: tx is what it sends.
 * Every frame that did not arrive is in exactly one of the drop counters. */
#include <stdint.h>
#include "../stats.h"

#define NIF_STATS_VERSION 1u

struct nif_queue_stats {
	uint64_t tx_packets, tx_bytes, tx_slots, tx_gso, tx_csum_blank;
	uint64_t tx_bad;               /* refused: answered with an error */
	uint64_t tx_dropped_spoof, tx_dropped_port;
	uint64_t tx_held;              /* times a packet waited for its receiver */
	uint64_t tx_throttled;         /* times the rate, or refusals, stopped the queue */
	uint64_t rx_packets, rx_bytes, rx_slots, rx_gso, rx_csum_blank;
	uint64_t rx_no_room;           /* times there were too few slots */
	/* needs scatter-gather that the guest does not have, or more slots than a ring has */
	uint64_t rx_dropped_size;
	uint64_t rx_dropped_rate, rx_dropped_mcast, rx_dropped_stall;
	uint64_t rx_errors;            /* the guest's buffer could not be written */
	uint64_t copy_ops, copy_foreign;  /* of these from one guest's page straight to another's */
	uint64_t staged;               /* pieces moved by memcpy through the gref table */
	uint64_t notify_sent, notify_suppressed, event_received, event_spurious, event_delayed;
	uint64_t passes;
};
struct nif_stats {
	uint32_t version, nr_queues;
	uint64_t copy_calls;           /* of the worker, all NICs */
	uint64_t ctrl_requests, ctrl_errors, grefs_mapped, mcast_entries;
	uint64_t port[8];              /* struct port_stats of the chain, summed, in its order */
	struct nif_queue_stats queue[8];
};
#endif
