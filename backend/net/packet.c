/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the headers of a frame, and the flow it belongs to. */
#include "config.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "backend/net/packet.h"

#define MAX_TAGS 2
#define MAX_EXTENSIONS 8

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void forget(struct frame *f)
{
	f->vlan = 0;
	f->tagged = false;
	f->ethertype = 0;
	f->l3 = f->l4 = f->l4_csum = f->payload = 0;
	f->fragment = false;
	f->l4_proto = 0;
}

/* Past the tags; where the network header would begin. */
static unsigned parse_ethernet(struct frame *f)
{
	unsigned at = 12, tags = 0;

	f->ethertype = get16(f->hdr + at);
	while ((f->ethertype == 0x8100 || f->ethertype == 0x88a8) && tags < MAX_TAGS && at + 6 <= f->hdr_len) {
		if (!tags && f->ethertype == 0x8100) {
			f->tagged = true;
			f->vlan = get16(f->hdr + at + 2) & 0xfff;
		}
		at += 4;
		tags++;
		f->ethertype = get16(f->hdr + at);
	}
	return at + 2;
}

static void parse_ip4(struct frame *f, unsigned at)
{
	const uint8_t *ip = f->hdr + at;
	unsigned len;

	if (at + 20 > f->hdr_len || ip[0] >> 4 != 4)
		return;
	len = (ip[0] & 15) * 4u;
	if (len < 20 || at + len > f->hdr_len)
		return;
	f->l3 = (uint16_t)at;
	f->fragment = get16(ip + 6) & 0x3fff;
	if (f->fragment)
		return;
	f->l4_proto = ip[9];
	f->l4 = (uint16_t)(at + len);
}

/* One header after the fixed one: its length, 0 when it is the last, -1 when it is not all in the private copy. */
static int extension(struct frame *f, uint8_t type, unsigned at)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
		if (at + 8 > f->hdr_len)
			return -1;
		return type == IPPROTO_AH ? (f->hdr[at + 1] + 2) * 4 : (f->hdr[at + 1] + 1) * 8;
	case IPPROTO_FRAGMENT:
		if (at + 8 > f->hdr_len)
			return -1;
		f->fragment = get16(f->hdr + at + 2) & 0xfff9;
		return 8;
	}
	return 0;
}

static void parse_ip6(struct frame *f, unsigned at)
{
	const uint8_t *ip = f->hdr + at;
	unsigned end = at + 40;
	uint8_t type;
	int len;

	if (end > f->hdr_len || ip[0] >> 4 != 6)
		return;
	f->l3 = (uint16_t)at;
	type = ip[6];
	for (unsigned i = 0; i <= MAX_EXTENSIONS; i++) {
		len = extension(f, type, end);
		if (len < 0 || f->fragment)
			return;
		if (!len) {
			f->l4_proto = type;
			f->l4 = (uint16_t)end;
			return;
		}
		type = f->hdr[end];
		end += (unsigned)len;
		if (end > f->hdr_len)
			return;
	}
}

static void parse_l4(struct frame *f)
{
	unsigned left = f->hdr_len - f->l4;
	const uint8_t *h = f->hdr + f->l4;

	if (f->l4_proto == IPPROTO_TCP) {
		if (left >= 18)
			f->l4_csum = f->l4 + 16;
		if (left >= 20 && h[12] >> 4 >= 5 && (h[12] >> 4) * 4u <= left)
			f->payload = (uint16_t)(f->l4 + (h[12] >> 4) * 4u);
	} else if (f->l4_proto == IPPROTO_UDP) {
		if (left >= 8) {
			f->l4_csum = f->l4 + 6;
			f->payload = f->l4 + 8;
		}
	}
}

static const char *check_claims(struct frame *f)
{
	uint16_t want = f->gso == FRAME_GSO_TCP4 ? 0x0800 : 0x86dd;

	if (!f->gso) {
		f->gso_size = 0;
		return f->csum_blank && !f->l4_csum ? "blank checksum, but no TCP or UDP header" : NULL;
	}
	if (f->gso != FRAME_GSO_TCP4 && f->gso != FRAME_GSO_TCP6)
		return "GSO of an unknown type";
	if (f->ethertype != want || f->l4_proto != IPPROTO_TCP || !f->payload)
		return "GSO, but no whole TCP header over its IP";
	if (f->gso_size < PACKET_MIN_GSO || f->gso_size > f->len)
		return "GSO size out of range";
	if (f->payload >= f->len)
		return "GSO without payload";
	f->csum_blank = true;
	return NULL;
}

int packet_parse(struct frame *f, const char **why)
{
	const char *bad;
	unsigned at;

	forget(f);
	if (f->len < FRAME_MIN_LEN || f->hdr_len < FRAME_MIN_LEN || f->hdr_len > f->len) {
		*why = "shorter than an Ethernet header";
		return -EINVAL;
	}
	at = parse_ethernet(f);
	if (f->ethertype == 0x0800)
		parse_ip4(f, at);
	else if (f->ethertype == 0x86dd)
		parse_ip6(f, at);
	else if ((f->ethertype == 0x0806 || f->ethertype == 0x8035) && at < f->hdr_len)
		f->l3 = (uint16_t)at;
	if (f->l4)
		parse_l4(f);
	bad = check_claims(f);
	if (bad) {
		*why = bad;
		return -EINVAL;
	}
	return 0;
}

static uint32_t mix(uint32_t hash, const uint8_t *p, size_t len)
{
	for (; len >= 4; p += 4, len -= 4) {
		uint32_t word;

		memcpy(&word, p, 4);
		hash = (hash ^ word) * 0x9e3779b1u;
		hash ^= hash >> 15;
	}
	return hash;
}

uint32_t packet_flow_hash(const struct frame *f)
{
	uint32_t hash = 0x2545f491u ^ f->l4_proto;

	if (f->l3 && f->ethertype == 0x0800)
		hash = mix(hash, f->hdr + f->l3 + 12, 8);
	else if (f->l3 && f->ethertype == 0x86dd)
		hash = mix(hash, f->hdr + f->l3 + 8, 32);
	else
		hash = mix(hash, f->hdr, 12);
	if (f->l4_csum)
		hash = mix(hash, f->hdr + f->l4, 4);
	hash ^= hash >> 16;
	hash *= 0x85ebca6bu;
	hash ^= hash >> 13;
	return hash ? hash : 1;
}

bool packet_mac_parse(const char *text, uint8_t mac[6])
{
	uint8_t out[6];

	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return false;
	for (int i = 0; i < 6; i++) {
		unsigned byte;

		if (text[3 * i] == ':' || text[3 * i + 1] == ':' || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		if (sscanf(text + 3 * i, "%2x", &byte) != 1)
			return false;
		out[i] = (uint8_t)byte;
	}
	if (packet_is_group(out))
		return false;
	memcpy(mac, out, 6);
	return true;
}

void packet_mac_text(const uint8_t mac[6], char buf[18])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}
