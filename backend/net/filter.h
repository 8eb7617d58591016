/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_FILTER_H
#define PVB_BACKEND_NET_FILTER_H
/* Anti-spoof: may this guest send this frame?
 *
 * Input     A frame that packet_parse() found good, and what the NIC's configuration allows.  Only the private copy
 *           of the headers is looked at, and what does not show itself there does not pass.
 * spoof_mac The source address is the NIC's own, and so is any that ARP and neighbour discovery tell others to use.
 * nr_ips    Of IPv4, IPv6, ARP and RARP only, and from (or on behalf of) an address on the list.  What a host must
 *           be able to say before it has one, and what iptables rules for guests let pass too:
 *             IPv4  0.0.0.0 in ARP probes and in DHCP requests (UDP 68 to 67)
 *             IPv6  the link-local address made from the NIC's MAC (others must be on the list);
 *                   :: in neighbour and router solicitations and in multicast listener reports
 *           Router advertisements and redirects do not pass: a guest whose addresses are counted is no router.
 *           A list with addresses of one family only closes the other one.
 * Pure      No state, no memory.
 */
#include <stdbool.h>

struct frame;
struct nif_config;

/* false: *why, a constant sentence, says what is wrong. */
bool filter_pass(const struct frame *f, const struct nif_config *cfg, const char **why);
#endif
