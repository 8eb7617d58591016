/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/net-frames.h"

struct mac mac_of(uint8_t id)
{
	struct mac m = { { 2, 0, 0, 0, 0, id } };

	if (id == 255)
		memset(&m, 0xff, sizeof(m));
	return m;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The plain way, byte by byte: another one than that under test. */
static uint32_t sum_slow(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_slow(const uint8_t *ip, bool v6, unsigned proto, uint32_t l4_len)
{
	uint32_t sum = sum_slow(ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);

	sum += proto + l4_len;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint8_t *put_ip(uint8_t *p, const struct build *b, uint32_t l4_len)
{
	uint8_t proto = b->udp ? IPPROTO_UDP : IPPROTO_TCP;

	if (b->v6) {
		p[0] = 0x60;
		put16(p + 4, b->extensions + l4_len);
		p[6] = b->extensions ? IPPROTO_DSTOPTS : proto;
		p[7] = 64;
		p[8] = p[24] = 0xfd;
		p[23] = b->src;
		p[39] = b->dst;
		p += 40;
		if (b->extensions) {
			p[0] = proto;
			p[1] = (uint8_t)(b->extensions / 8 - 1);
			p[2] = 1;
			p[3] = (uint8_t)(b->extensions - 4); /* PadN */
			p += b->extensions;
		}
		return p;
	}
	p[0] = 0x45;
	put16(p + 2, 20 + l4_len);
	put16(p + 4, 0xfffe);
	p[6] = 0x40;
	p[8] = 64;
	p[9] = proto;
	p[12] = p[16] = 10;
	p[15] = b->src;
	p[19] = b->dst;
	put16(p + 10, ~sum_slow(p, 20, 0) & 0xffff);
	return p + 20;
}

void build(struct frame *f, uint8_t *buf, const struct build *b)
{
	unsigned l4_hdr = b->udp ? 8 : 20 + b->options, at = b->tagged ? 18 : 14;
	uint32_t l4_len = l4_hdr + b->payload, len, sum;
	struct mac dst = mac_of(b->dst), src = mac_of(b->src);
	uint8_t *l4, *field;
	const char *why;

	len = at + (b->v6 ? 40 + b->extensions : 20) + l4_len;
	memset(buf, 0, len < 60 ? 60 : len);
	memcpy(buf, dst.a, 6);
	memcpy(buf + 6, src.a, 6);
	if (b->tagged) {
		put16(buf + 12, 0x8100);
		put16(buf + 14, b->vlan);
	}
	put16(buf + at - 2, b->v6 ? 0x86dd : 0x0800);
	l4 = put_ip(buf + at, b, l4_len);
	put16(l4, 1000);
	put16(l4 + 2, 2000);
	if (b->udp) {
		put16(l4 + 4, l4_len);
	} else {
		put16(l4 + 6, 0xfff0);
		l4[4] = l4[5] = 0xff;
		l4[12] = (uint8_t)(l4_hdr / 4 << 4);
		l4[13] = b->tcp_flags ? b->tcp_flags : 0x10;
		memset(l4 + 20, 1, b->options);
	}
	for (uint32_t i = 0; i < b->payload; i++)
		l4[l4_hdr + i] = (uint8_t)(i * 7 + (i >> 8));
	field = l4 + (b->udp ? 6 : 16);
	sum = pseudo_slow(buf + at, b->v6, b->udp ? IPPROTO_UDP : IPPROTO_TCP, l4_len);
	put16(field, b->blank || b->gso_size ? sum : ~sum_slow(l4, l4_len, sum) & 0xffff);
	if (b->padded && len < 60) {
		memset(buf + len, 0xa5, 60 - len);
		len = 60;
	}
	memset(f, 0, sizeof(*f));
	frame_local(f, buf, len);
	f->csum_blank = b->blank;
	f->gso = !b->gso_size ? FRAME_GSO_NONE : b->v6 ? FRAME_GSO_TCP6 : FRAME_GSO_TCP4;
	f->gso_size = b->gso_size;
	if (packet_parse(f, &why))
		fail_msg("%s", why);
}

bool checksums_are_good(const uint8_t *p, uint32_t len)
{
	unsigned at = 14, type = (unsigned)p[12] << 8 | p[13], proto;
	uint32_t l4, l4_len;

	if (type == 0x8100) {
		at = 18;
		type = (unsigned)p[16] << 8 | p[17];
	}
	if (type == 0x0800) {
		l4 = at + (p[at] & 15) * 4u;
		l4_len = ((uint32_t)p[at + 2] << 8 | p[at + 3]) - (l4 - at);
		proto = p[at + 9];
		if (sum_slow(p + at, l4 - at, 0) != 0xffff)
			return false;
	} else {
		proto = p[at + 6];
		l4 = at + 40;
		l4_len = (uint32_t)p[at + 4] << 8 | p[at + 5];
		if (proto == IPPROTO_DSTOPTS) {
			proto = p[l4];
			l4_len -= (p[l4 + 1] + 1u) * 8;
			l4 += (p[l4 + 1] + 1u) * 8;
		}
	}
	if (l4 + l4_len > len)
		return false;
	return sum_slow(p + l4, l4_len, pseudo_slow(p + at, type != 0x0800, proto, l4_len)) == 0xffff;
}
