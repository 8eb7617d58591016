/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nif-fields.c: the names of a NIC's counters. */
#include "net/port.h"
#include "nif-fields.h"

#define Q(f, h) { #f, h, offsetof(struct nif_queue_stats, f), false }
const struct nif_field nif_queue_field[NR_NIF_QUEUE_FIELDS] = {
	Q(tx_packets, "Packets the guest sent"),
	Q(tx_bytes, "Bytes the guest sent"),
	Q(tx_slots, "Ring slots of packets the guest sent"),
	Q(tx_gso, "Large TCP packets the guest sent"),
	Q(tx_csum_blank, "Packets the guest sent without checksum"),
	Q(tx_bad, "Packets of the guest refused as illegal"),
	Q(tx_dropped_spoof, "Packets of the guest dropped for their source address"),
	Q(tx_dropped_port, "Packets of the guest that the port dropped"),
	Q(tx_held, "Times a packet of the guest waited for its receiver"),
	Q(tx_throttled, "Times the rate, or too many refused packets, stopped the guest"),
	Q(rx_packets, "Packets given to the guest"),
	Q(rx_bytes, "Bytes given to the guest"),
	Q(rx_slots, "Ring slots of packets given to the guest"),
	Q(rx_gso, "Large TCP packets given to the guest"),
	Q(rx_csum_blank, "Packets given to the guest without checksum"),
	Q(rx_no_room, "Times the guest had too few receive buffers"),
	Q(rx_dropped_size, "Packets dropped as too large for the guest"),
	Q(rx_dropped_rate, "Packets dropped for the receive rate"),
	Q(rx_dropped_mcast, "Packets of multicast groups the guest did not ask for"),
	Q(rx_dropped_stall, "Packets dropped because the guest took none"),
	Q(rx_errors, "Packets dropped because a buffer of the guest could not be written"),
	Q(copy_ops, "Grant copy operations"),
	Q(copy_foreign, "Grant copy operations from one guest's page to another's"),
	Q(staged, "Pieces moved through pages that are mapped for good"),
	Q(notify_sent, "Events sent to the front end"),
	Q(notify_suppressed, "Pushes for which the front end wanted no event"),
	Q(event_received, "Events from the front end"),
	Q(event_spurious, "Events that brought nothing"),
	Q(event_delayed, "Events looked at later because too many brought nothing"),
	Q(passes, "Looks at the rings that found work"),
};

#define S(f, h, gauge) { #f, h, offsetof(struct nif_stats, f), gauge }
#define P(n, f, h) { "port_" n, h, offsetof(struct nif_stats, port) + offsetof(struct port_stats, f), false }
const struct nif_field nif_stats_field[NR_NIF_FIELDS] = {
	S(copy_calls, "Calls that carried out grant copies, of the whole worker", false),
	S(ctrl_requests, "Requests on the control ring", false),
	S(ctrl_errors, "Requests on the control ring that were refused", false),
	S(grefs_mapped, "Pages of the guest that are mapped for good", true),
	S(mcast_entries, "Multicast groups the guest asked for", true),
	P("rx_dropped_full", rx_dropped_full, "Packets the port dropped because the guest had no room"),
	P("rx_dropped_filter", rx_dropped_filter, "Packets the port dropped because the guest can not take their offload"),
	P("tx_errors", tx_errors, "Packets the port could not take"),
	P("flooded", flooded, "Packets of the guest that went to all ports of the switch"),
	P("tx_dropped_filter", tx_dropped_filter, "Packets the switch did not take"),
	P("injected", injected, "Faults injected"),
};
