// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the checksum of a frame is: the ring only says that one is blank, a virtio_net_hdr wants to know the place.
 * Pure functions over private memory; every length in a header is somebody else's word. */
#include <string.h>
#include "nic-impl.h"

#define ETH_LEN      14u
#define TYPE_IP4     0x0800u
#define TYPE_IP6     0x86ddu
#define TYPE_VLAN    0x8100u
#define TYPE_QINQ    0x88a8u
#define PROTO_TCP    6u
#define PROTO_UDP    17u
#define MAX_TAGS     2u
#define MAX_OPTIONS  6u   /* IPv6 extension headers; a chain is short or nobody's business */

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static bool l4_at(struct pvf_l4 *l4, const uint8_t *hdr, size_t hdr_len, size_t len, size_t at, unsigned proto)
{
	unsigned need = proto == PROTO_TCP ? 20 : 8, words;

	if ((proto != PROTO_TCP && proto != PROTO_UDP) || at + need > hdr_len)
		return false;
	if (proto == PROTO_TCP) {
		words = hdr[at + 12] >> 4;
		need = words * 4;
		if (words < 5 || at + need > len)
			return false;
	}
	l4->tcp = proto == PROTO_TCP;
	l4->start = (uint16_t)at;
	l4->offset = l4->tcp ? 16 : 6;
	l4->payload = (uint16_t)(at + need);
	return true;
}

static bool find_ip4(struct pvf_l4 *l4, const uint8_t *hdr, size_t hdr_len, size_t len, size_t at)
{
	unsigned bytes;

	if (at + 20 > hdr_len || hdr[at] >> 4 != 4)
		return false;
	bytes = (hdr[at] & 15) * 4u;
	if (bytes < 20 || (get16(hdr + at + 6) & 0x3fff) != 0) /* a fragment has no checksum of its own */
		return false;
	return l4_at(l4, hdr, hdr_len, len, at + bytes, hdr[at + 9]);
}

static bool find_ip6(struct pvf_l4 *l4, const uint8_t *hdr, size_t hdr_len, size_t len, size_t at)
{
	unsigned next;

	if (at + 40 > hdr_len || hdr[at] >> 4 != 6)
		return false;
	next = hdr[at + 6];
	at += 40;
	/* hop-by-hop, routing, destination options */
	for (unsigned i = 0; i < MAX_OPTIONS && (next == 0 || next == 43 || next == 60); i++) {
		if (at + 8 > hdr_len)
			return false;
		next = hdr[at];
		at += (hdr[at + 1] + 1u) * 8;
	}
	return l4_at(l4, hdr, hdr_len, len, at, next);
}

struct pvf_l4 pvf_find_l4(const uint8_t *hdr, size_t hdr_len, size_t len)
{
	struct pvf_l4 l4 = { 0 }, none = { 0 };
	size_t at = ETH_LEN;
	unsigned type;

	if (hdr_len < ETH_LEN)
		return none;
	type = get16(hdr + 12);
	for (unsigned i = 0; i < MAX_TAGS && (type == TYPE_VLAN || type == TYPE_QINQ); i++) {
		if (at + 4 > hdr_len)
			return none;
		type = get16(hdr + at + 2);
		at += 4;
	}
	if (type == TYPE_IP4 && find_ip4(&l4, hdr, hdr_len, len, at))
		l4.version = 4;
	else if (type == TYPE_IP6 && find_ip6(&l4, hdr, hdr_len, len, at))
		l4.version = 6;
	else
		return none;
	return l4;
}

/* --- checksums -------------------------------------------------------------------------------------- */

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t sum_piece(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;
	uint32_t w;
	uint16_t h;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	if (n >= 2) {
		memcpy(&h, p, 2);
		sum += h;
		n -= 2;
		p += 2;
	}
	if (n != 0) {
		h = 0;
		memcpy(&h, p, 1);
		sum += h;
	}
	return fold(sum);
}

uint16_t pvf_sum_iov(const struct iovec *iov, unsigned nr, size_t start)
{
	uint64_t sum = 0;
	size_t done = 0; /* bytes summed: a piece that begins at an odd one counts with its bytes swapped */
	uint16_t part;

	for (unsigned i = 0; i < nr; i++) {
		size_t skip = start < iov[i].iov_len ? start : iov[i].iov_len, n = iov[i].iov_len - skip;

		start -= skip;
		part = sum_piece((const uint8_t *)iov[i].iov_base + skip, n);
		sum += done % 2 != 0 ? __builtin_bswap16(part) : part;
		done += n;
	}
	return (uint16_t)~fold(sum);
}
