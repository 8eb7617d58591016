/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_NIC_FRAMES_H
#define PVB_TESTS_NIC_FRAMES_H
/* Frames for tests of NICs: Ethernet, perhaps a VLAN tag, IPv4 or IPv6, TCP or UDP, with a whole or a blank checksum;
 * and the slow, obvious way to tell whether a checksum is right. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "frontend/user/pvnic.h"

struct shape {
	unsigned version;        /* 4 or 6; 0: ethertype 0x88b5, bytes */
	bool tcp, tagged, blank;
	unsigned options;        /* IPv4: words of options; IPv6: destination option headers of 8 bytes */
	unsigned tcp_options;    /* words */
	uint32_t len;            /* of the whole frame; what headers need at least */
	uint8_t seed;
};

struct made {
	uint32_t len;
	uint16_t l3, l4, field;  /* offsets; field: of the checksum */
	struct pvf_offload off;  /* as the shape says; GSO not set */
};

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t slow_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline uint32_t pseudo_sum(const uint8_t *f, const struct made *m, unsigned version, unsigned proto)
{
	uint32_t sum = version == 4 ? slow_sum(f + m->l3 + 12, 8, 0) : slow_sum(f + m->l3 + 8, 32, 0);

	sum += proto + (m->len - m->l4);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Is the TCP or UDP checksum of a made frame whole? */
static inline bool sum_is_whole(const uint8_t *f, const struct made *m, const struct shape *s)
{
	return slow_sum(f + m->l4, m->len - m->l4, pseudo_sum(f, m, s->version, s->tcp ? 6 : 17)) == 0xffff;
}

static inline struct made make_frame(uint8_t *f, const struct shape *s)
{
	static const uint8_t macs[12] = { 0x00, 0x16, 0x3e, 1, 2, 3, 0x00, 0x16, 0x3e, 0x12, 0x34, 0x56 };
	unsigned proto = s->tcp ? 6 : 17, l4_len = s->tcp ? 20 + 4 * s->tcp_options : 8, sum;
	struct made m = { 0 };
	uint32_t at = 12, need;

	memcpy(f, macs, 12);
	if (s->tagged) {
		put16(f + at, 0x8100);
		put16(f + at + 2, 5);
		at += 4;
	}
	put16(f + at, s->version == 4 ? 0x0800 : s->version == 6 ? 0x86dd : 0x88b5);
	at += 2;
	m.l3 = (uint16_t)at;
	if (s->version == 4)
		at += 20 + 4 * s->options;
	else if (s->version == 6)
		at += 40 + 8 * s->options;
	m.l4 = (uint16_t)at;
	need = s->version != 0 ? at + l4_len : at + 1;
	m.len = s->len > need ? s->len : need;
	for (uint32_t i = m.l3; i < m.len; i++)
		f[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + s->seed);
	if (s->version == 0)
		return m;
	if (s->version == 4) {
		memset(f + m.l3, 0, 20);
		f[m.l3] = (uint8_t)(0x45 + s->options);
		put16(f + m.l3 + 2, m.len - m.l3);
		f[m.l3 + 8] = 64;
		f[m.l3 + 9] = (uint8_t)proto;
		memcpy(f + m.l3 + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
	} else {
		memset(f + m.l3, 0, 8);
		f[m.l3] = 0x60;
		put16(f + m.l3 + 4, m.len - m.l3 - 40);
		f[m.l3 + 6] = (uint8_t)(s->options > 0 ? 60 : proto);
		for (unsigned i = 0; i < s->options; i++) {
			memset(f + m.l3 + 40 + 8 * i, 0, 8);
			f[m.l3 + 40 + 8 * i] = (uint8_t)(i + 1 < s->options ? 60 : proto);
		}
	}
	m.field = (uint16_t)(m.l4 + (s->tcp ? 16 : 6));
	if (s->tcp)
		f[m.l4 + 12] = (uint8_t)((5 + s->tcp_options) << 4);
	else
		put16(f + m.l4 + 4, m.len - m.l4);
	put16(f + m.field, 0);
	sum = pseudo_sum(f, &m, s->version, proto);
	if (!s->blank) {
		sum = ~slow_sum(f + m.l4, m.len - m.l4, sum) & 0xffff;
		if (sum == 0 && !s->tcp)
			sum = 0xffff;
	}
	put16(f + m.field, sum);
	m.off.csum_blank = s->blank;
	m.off.csum_start = s->blank ? m.l4 : 0;
	m.off.csum_offset = s->blank ? (s->tcp ? 16 : 6) : 0;
	return m;
}
#endif
