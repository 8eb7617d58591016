/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_NET_FRAMES_H
#define PVB_TESTS_NET_FRAMES_H
/* Frames made for tests: Ethernet, IPv4 or IPv6, TCP or UDP, with a payload that can be checked. */
#include <netinet/in.h>
#include "tests/unit.h"
#include "backend/net/packet.h"

struct mac { uint8_t a[6]; };
struct mac mac_of(uint8_t id);       /* 02:00:00:00:00:id; 255: broadcast */

struct build {
	uint8_t dst, src;
	bool v6, udp, tagged, blank, padded;
	uint16_t vlan, gso_size;
	uint32_t payload;
	unsigned options;            /* bytes of TCP options, a multiple of 4 */
	unsigned extensions;         /* bytes of IPv6 destination options, a multiple of 8 */
	uint8_t tcp_flags;
};
/* Into buf; parsed, one local piece. */
void build(struct frame *f, uint8_t *buf, const struct build *b);
/* The checksums of a frame's bytes are what they should be. */
bool checksums_are_good(const uint8_t *p, uint32_t len);
#endif
