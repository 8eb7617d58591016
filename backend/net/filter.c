/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include <netinet/in.h>
#include <string.h>
#include "backend/net/filter.h"
#include "backend/net/frame.h"
#include "backend/net/netif.h"
#include "backend/net/packet.h"

#define ARP_LEN 28u

/* Neighbour discovery and multicast listeners, RFC 4861, 2710, 3810. */
enum { MLD_REPORT = 131, MLD_DONE = 132, ND_RS = 133, ND_RA = 134, ND_NS = 135, ND_NA = 136, ND_REDIRECT = 137,
       MLD2_REPORT = 143 };
enum { ND_OPT_SOURCE = 1, ND_OPT_TARGET = 2 };

static const uint8_t zero[16];

static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || !((a[bytes] ^ b[bytes]) & (uint8_t)(0xff << (8 - rest)));
}

static bool on_list(const struct nif_config *cfg, const uint8_t *addr, unsigned len)
{
	for (uint32_t i = 0; i < cfg->nr_ips && i < NIF_MAX_IPS; i++) {
		const struct nif_ip *ip = &cfg->ip[i];

		if (ip->len == len && ip->prefix <= len * 8 && prefix_equal(addr, ip->addr, ip->prefix))
			return true;
	}
	return false;
}

/* fe80::/64 with the interface identifier made from the MAC (modified EUI-64). */
static bool own_link_local(const struct nif_config *cfg, const uint8_t *addr)
{
	const uint8_t *m = cfg->mac;
	const uint8_t own[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5] };

	return !memcmp(own, addr, 16);
}

static bool may_use6(const struct nif_config *cfg, const uint8_t *addr)
{
	return on_list(cfg, addr, 16) || own_link_local(cfg, addr);
}

static const char *check_arp(const struct frame *f, const struct nif_config *cfg)
{
	const uint8_t *p = f->hdr + f->l3, *sender_mac = p + 8, *sender_ip = p + 14;

	if (!f->l3 || f->hdr_len - f->l3 < (int)ARP_LEN)
		return "ARP: cut short";
	if (p[0] || p[1] != 1 || p[2] != 8 || p[3] || p[4] != 6 || p[5] != 4)
		return "ARP: not of Ethernet and IPv4";
	if (cfg->spoof_mac && memcmp(sender_mac, cfg->mac, 6))
		return "ARP: another's MAC";
	if (cfg->nr_ips && memcmp(sender_ip, zero, 4) && !on_list(cfg, sender_ip, 4))
		return "ARP: another's address";
	return NULL;
}

static bool is_dhcp_request(const struct frame *f)
{
	const uint8_t *udp = f->hdr + f->l4;

	return f->l4_proto == IPPROTO_UDP && f->l4 && f->hdr_len - f->l4 >= 4 && !udp[0] && udp[1] == 68 && !udp[2] &&
	       udp[3] == 67;
}

static const char *check_ip4(const struct frame *f, const struct nif_config *cfg)
{
	const uint8_t *source = f->hdr + f->l3 + 12;

	if (!f->l3)
		return "IPv4: no whole header";
	if (on_list(cfg, source, 4) || (!memcmp(source, zero, 4) && is_dhcp_request(f)))
		return NULL;
	return "IPv4: another's address";
}

/* Each link-layer address option names a MAC that others are to use. */
static const char *check_nd_options(const uint8_t *p, const uint8_t *end, const struct nif_config *cfg)
{
	while (p < end) {
		size_t len;

		if (end - p < 8)
			return "neighbour discovery: an option is cut short";
		len = p[1] * 8u;
		if (!len || len > (size_t)(end - p))
			return "neighbour discovery: an option's length is wrong";
		if (cfg->spoof_mac && (p[0] == ND_OPT_SOURCE || p[0] == ND_OPT_TARGET) &&
		    (len != 8 || memcmp(p + 2, cfg->mac, 6)))
			return "neighbour discovery: another's MAC";
		p += len;
	}
	return NULL;
}

/* ICMPv6 from its header to the packet's end, all of which must be in the private copy. */
static const char *check_nd(const struct frame *f, const struct nif_config *cfg, uint8_t type)
{
	const uint8_t *ip = f->hdr + f->l3, *icmp = f->hdr + f->l4;
	size_t end = f->l3 + 40u + (ip[4] << 8 | ip[5]), fixed = type == ND_RS ? 8 : 24;

	if (type == ND_RA || type == ND_REDIRECT)
		return cfg->nr_ips ? "neighbour discovery: not a router" : NULL;
	if (end > f->hdr_len)
		return "neighbour discovery: too long to be looked at";
	if (f->l4 + fixed > end)
		return "neighbour discovery: cut short";
	if (type == ND_NA && cfg->nr_ips && !may_use6(cfg, icmp + 8))
		return "neighbour discovery: another's address";
	return check_nd_options(icmp + fixed, f->hdr + end, cfg);
}

static bool may_be_unspecified(int type)
{
	return type == ND_NS || type == ND_RS || type == MLD_REPORT || type == MLD_DONE || type == MLD2_REPORT;
}

static const char *check_ip6(const struct frame *f, const struct nif_config *cfg)
{
	const uint8_t *source = f->hdr + f->l3 + 8;
	int type = -1;

	if (!f->l3)
		return "IPv6: no whole header";
	if (!f->l4_proto && !f->fragment)
		return "IPv6: more headers than are looked at";
	if (f->l4_proto == IPPROTO_ICMPV6) {
		if (!f->l4 || f->l4 >= f->hdr_len)
			return "ICMPv6: cut short";
		type = f->hdr[f->l4];
	}
	if (cfg->nr_ips && !may_use6(cfg, source) && !(!memcmp(source, zero, 16) && may_be_unspecified(type)))
		return "IPv6: another's address";
	return type >= ND_RS && type <= ND_REDIRECT ? check_nd(f, cfg, (uint8_t)type) : NULL;
}

static const char *check(const struct frame *f, const struct nif_config *cfg)
{
	if (cfg->spoof_mac && memcmp(f->hdr + 6, cfg->mac, 6))
		return "another's MAC";
	switch (f->ethertype) {
	case 0x0806:
	case 0x8035:
		return check_arp(f, cfg);
	case 0x0800:
		return cfg->nr_ips ? check_ip4(f, cfg) : NULL;
	case 0x86dd:
		return check_ip6(f, cfg);
	}
	return cfg->nr_ips ? "neither IP nor ARP" : NULL;
}

bool filter_pass(const struct frame *f, const struct nif_config *cfg, const char **why)
{
	const char *bad;

	if (!cfg->spoof_mac && !cfg->nr_ips)
		return true;
	bad = check(f, cfg);
	if (bad)
		*why = bad;
	return !bad;
}
