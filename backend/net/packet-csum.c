/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums, segmentation, and the TAP's header: what a receiver lacks is done here. */
#include "config.h"
#include <endian.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>
#include "backend/net/packet.h"

enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* In memory order, eight bytes at a time: the sum does not mind the order of bytes, as long as it is one. */
uint32_t packet_sum(const void *data, size_t len, uint32_t start)
{
	const uint8_t *p = data;
	uint64_t sum = start, word;
	uint8_t tail[2] = { 0, 0 };
	uint16_t half;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		sum += word & 0xffffffff;
		sum += word >> 32;
	}
	for (; len >= 2; p += 2, len -= 2) {
		memcpy(&half, p, 2);
		sum += half;
	}
	if (len) {
		tail[0] = *p;
		memcpy(&half, tail, 2);
		sum += half;
	}
	return fold(sum);
}

uint16_t packet_sum_fold(uint32_t sum)
{
	return (uint16_t)~fold(sum);
}

/* Bytes [from, to) of a frame in one local piece: headers as they are in the private copy. */
static uint32_t sum_bytes(const struct frame *f, uint32_t from, uint32_t to)
{
	uint32_t mid = f->hdr_len, sum = 0;

	if (mid < from)
		mid = from;
	if (mid > to)
		mid = to;
	if (f->hdr == f->seg[0].local)
		return packet_sum(f->hdr + from, to - from, 0);
	sum = packet_sum(f->hdr + from, mid - from, 0);
	if ((mid - from) & 1) { /* what follows stands one byte off */
		uint16_t rest = fold(packet_sum(f->seg[0].local + mid, to - mid, 0));

		return sum + (uint16_t)(rest << 8 | rest >> 8);
	}
	return packet_sum(f->seg[0].local + mid, to - mid, sum);
}

/* Where the IP packet ends: the frame may be padded. */
static uint32_t ip_end(const struct frame *f)
{
	const uint8_t *ip = f->hdr + f->l3;
	uint32_t end = f->ethertype == 0x0800 ? f->l3 + get16(ip + 2) : f->l3 + 40u + get16(ip + 4);

	return end > f->l4_csum + 1u && end < f->len ? end : f->len;
}

static void finish(struct frame *f, uint32_t start, uint32_t field, uint32_t end)
{
	uint16_t sum = packet_sum_fold(sum_bytes(f, start, end));

	if (!sum)
		sum = 0xffff; /* the same number; 0 is UDP's word for none */
	memcpy(f->hdr + field, &sum, 2);
	f->csum_blank = false;
}

void packet_checksum(struct frame *f)
{
	if (!f->csum_blank || !f->l4_csum)
		return;
	finish(f, f->l4, f->l4_csum, ip_end(f));
	f->csum_valid = true;
}

static void copy_bytes(const struct frame *f, uint32_t from, uint32_t len, uint8_t *to)
{
	uint32_t part = 0;

	if (from < f->hdr_len) {
		part = f->hdr_len - from;
		if (part > len)
			part = len;
		memcpy(to, f->hdr + from, part);
	}
	memcpy(to + part, f->seg[0].local + from + part, len - part);
}

/* The headers of one segment, `done` payload bytes after the first, `len` of its own. */
static void fix_headers(const struct frame *f, uint8_t *buf, uint32_t done, uint32_t len, unsigned nr, bool last)
{
	uint8_t *ip = buf + f->l3, *tcp = buf + f->l4;
	uint32_t l4_len = f->payload - f->l4 + len, pseudo;
	uint16_t proto = htobe16(IPPROTO_TCP), be_len = htobe16((uint16_t)l4_len), sum;

	if (f->gso == FRAME_GSO_TCP4) {
		put16(ip + 2, (uint16_t)(f->l4 - f->l3 + l4_len));
		put16(ip + 4, (uint16_t)(get16(ip + 4) + nr));
		put16(ip + 10, 0);
		sum = packet_sum_fold(packet_sum(ip, f->l4 - f->l3, 0));
		memcpy(ip + 10, &sum, 2);
		pseudo = packet_sum(ip + 12, 8, 0);
	} else {
		put16(ip + 4, (uint16_t)(f->l4 - f->l3 - 40 + l4_len));
		pseudo = packet_sum(ip + 8, 32, 0);
	}
	put32(tcp + 4, get32(tcp + 4) + done);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (nr)
		tcp[13] &= (uint8_t)~TCP_CWR;
	put16(tcp + 16, 0);
	pseudo = packet_sum(&proto, 2, packet_sum(&be_len, 2, pseudo));
	sum = packet_sum_fold(packet_sum(tcp, l4_len, pseudo));
	memcpy(tcp + 16, &sum, 2);
}

size_t packet_segment_bytes(const struct frame *f)
{
	size_t payload, nr;

	if (!f->gso || !f->gso_size || !f->payload || f->payload >= f->len)
		return 0;
	payload = f->len - f->payload;
	nr = (payload + f->gso_size - 1) / f->gso_size;
	return payload + nr * (f->payload + PACKET_ALIGN - 1);
}

int packet_segment(const struct frame *f, uint8_t *buf, size_t size, void (*emit)(void *arg, struct frame *f),
		   void *arg)
{
	uint32_t payload = f->len - f->payload, done = 0;
	size_t need = packet_segment_bytes(f);
	unsigned nr = 0;

	if (!need || f->payload > f->hdr_len)
		return -EINVAL;
	if (need > size)
		return -ENOSPC;
	while (done < payload) {
		uint32_t len = payload - done < f->gso_size ? payload - done : f->gso_size, total = f->payload + len;
		struct frame s = *f;

		copy_bytes(f, 0, f->payload, buf);
		copy_bytes(f, f->payload + done, len, buf + f->payload);
		fix_headers(f, buf, done, len, nr++, done + len == payload);
		frame_local(&s, buf, total);
		s.gso = FRAME_GSO_NONE;
		s.gso_size = 0;
		s.csum_blank = false;
		s.csum_valid = true;
		s.verdict = FRAME_PENDING;
		emit(arg, &s);
		done += len;
		buf += (total + PACKET_ALIGN - 1) & ~(PACKET_ALIGN - 1);
	}
	return (int)nr;
}

void packet_to_vnet(const struct frame *f, struct virtio_net_hdr_v1 *h)
{
	memset(h, 0, sizeof(*h));
	if (f->csum_blank) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = htole16(f->l4);
		h->csum_offset = htole16((uint16_t)(f->l4_csum - f->l4));
	} else if (f->csum_valid) {
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (f->gso) {
		h->gso_type = f->gso == FRAME_GSO_TCP4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		h->gso_size = htole16(f->gso_size);
		h->hdr_len = htole16(f->payload);
	}
}

/* A checksum that is not the outermost TCP's or UDP's (a tunnel's inner one): nobody after us could be told. */
static int finish_foreign(struct frame *f, uint32_t start, uint32_t offset, const char **why)
{
	if (start >= f->len || start + offset + 2 > f->len) {
		*why = "blank checksum outside the frame";
		return -EINVAL;
	}
	if (f->hdr != f->seg[0].local) {
		*why = "blank checksum of a frame in pieces";
		return -EINVAL;
	}
	finish(f, start, start + offset, f->len);
	return 0;
}

int packet_from_vnet(struct frame *f, const struct virtio_net_hdr_v1 *h, const char **why)
{
	unsigned type = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	uint32_t start = le16toh(h->csum_start), offset = le16toh(h->csum_offset);
	bool blank = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	int rc;

	f->csum_valid = blank || h->flags & VIRTIO_NET_HDR_F_DATA_VALID;
	f->csum_blank = false;
	f->gso = FRAME_GSO_NONE;
	f->gso_size = 0;
	switch (type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		f->gso = type == VIRTIO_NET_HDR_GSO_TCPV4 ? FRAME_GSO_TCP4 : FRAME_GSO_TCP6;
		f->gso_size = le16toh(h->gso_size);
		break;
	default:
		*why = "GSO of a type that was not asked for";
		return -EINVAL;
	}
	rc = packet_parse(f, why);
	if (rc || f->gso || !blank)
		return rc;
	if (start == f->l4 && f->l4_csum && start + offset == f->l4_csum) {
		f->csum_blank = true;
		return 0;
	}
	return finish_foreign(f, start, offset, why);
}
