// SPDX-License-Identifier: GPL-2.0-or-later
/* hash.c: the Toeplitz hash a guest asked for, by which it wants its packets spread over its queues.  The bitwise
 * definition is in netif.h; here the key is turned into a table, looked up for each half byte of addresses and
 * ports. */
#include <netinet/in.h>
#include <string.h>
#include "nif-impl.h"

#define ETHERTYPE_4 0x0800u
#define ETHERTYPE_6 0x86ddu

/* The 32 bits of the key that begin at this bit. */
static uint32_t window(const uint8_t *key, unsigned bit)
{
	uint64_t w = 0;

	for (unsigned i = 0; i < 8; i++)
		w = w << 8 | (bit / 8 + i < NIFJ_KEY ? key[bit / 8 + i] : 0);
	return (uint32_t)(w >> (32 - bit % 8));
}

void hash_setup(struct nif *nif)
{
	const struct nifj_state *s = nif_state(nif);

	nif->hash.on = s->hash_algorithm == XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ && s->hash_flags != 0;
	if (!nif->hash.on)
		return;
	for (unsigned n = 0; n < 72; n++) {
		for (unsigned v = 0; v < 16; v++) {
			uint32_t h = 0;

			for (unsigned b = 0; b < 4; b++)
				if (v & 8u >> b)
					h ^= window(s->key, n * 4 + b);
			nif->hash.nibble[n][v] = h;
		}
	}
}

static uint32_t toeplitz(const struct nif_hash *h, const uint8_t *in, unsigned len, unsigned at, uint32_t value)
{
	for (unsigned i = 0; i < len; i++) {
		value ^= h->nibble[2 * (at + i)][in[i] >> 4];
		value ^= h->nibble[2 * (at + i) + 1][in[i] & 15];
	}
	return value;
}

bool hash_frame(const struct nif *nif, const struct frame *f, uint32_t *value, uint8_t *type)
{
	uint32_t flags = nif_state(nif)->hash_flags;
	bool v4 = f->ethertype == ETHERTYPE_4, v6 = f->ethertype == ETHERTYPE_6;
	unsigned addr = f->l3 + (v4 ? 12u : 8u), len = v4 ? 8 : 32;
	bool tcp = f->l4_proto == IPPROTO_TCP && f->l4 != 0 && f->l4 + 4u <= f->hdr_len && !f->fragment;
	unsigned plain = v4 ? _XEN_NETIF_CTRL_HASH_TYPE_IPV4 : _XEN_NETIF_CTRL_HASH_TYPE_IPV6;
	unsigned with_ports = v4 ? _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP : _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP;

	if (!nif->hash.on || (!v4 && !v6) || f->l3 == 0 || addr + len > f->hdr_len)
		return false;
	tcp = tcp && (flags & 1u << with_ports);
	if (!tcp && !(flags & 1u << plain))
		return false;
	*value = toeplitz(&nif->hash, f->hdr + addr, len, 0, 0);
	if (tcp)
		*value = toeplitz(&nif->hash, f->hdr + f->l4, 4, len, *value);
	*type = (uint8_t)(tcp ? with_ports : plain);
	return true;
}
