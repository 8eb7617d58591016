/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_SWITCH_TABLE_H
#define PVB_BACKEND_NET_SWITCH_TABLE_H
/* Which port of a switch a MAC is behind, per VLAN.
 *
 * Trust     Source addresses are the guests' word.  Each port has a fixed number of entries of its own and only ever
 *           replaces those, so no guest can push out another's.  The hash has a secret seed, or chains could be made
 *           long on purpose.
 * Pinned    A NIC's own address is pinned to its port: others can not take it, it does not age and is not replaced.
 *           Otherwise an address moves to the port it was seen at last.
 * Ageing    An entry not seen for MAC_AGE_MS is as good as none.  Time is the caller's.
 * Memory    Taken when a port joins; nothing is allocated later.
 */
#include <stdbool.h>
#include <stdint.h>

#define MAC_AGE_MS 300000u
#define MAC_TABLE_BUCKETS 1024u

struct mac_owner;

struct mac_slot {
	struct mac_slot *next;       /* of the same bucket, or of the free ones */
	struct mac_owner *owner;
	uint64_t seen_ms;
	uint16_t vlan;
	uint8_t mac[6];
	bool used, pinned;
};

/* A port's entries. */
struct mac_owner {
	struct mac_slot *slots;
	unsigned nr, hand;           /* the next one to be replaced, when none is free */
	struct mac_slot *free;
	struct mac_slot *last;       /* the one learned last: mostly the next frame's, too */
};

struct mac_table {
	uint32_t seed;
	struct mac_slot *bucket[MAC_TABLE_BUCKETS];
};

enum mac_learned { MAC_KNOWN, MAC_NEW, MAC_MOVED, MAC_REFUSED /* pinned elsewhere */ };

int mac_owner_init(struct mac_owner *o, unsigned nr);           /* 0 or -ENOMEM */
/* Forget all that is behind a port; its pins, too. */
void mac_owner_clear(struct mac_table *t, struct mac_owner *o);
void mac_owner_free(struct mac_table *t, struct mac_owner *o);

enum mac_learned mac_learn(struct mac_table *t, struct mac_owner *o, const uint8_t mac[6], uint16_t vlan,
			   uint64_t now_ms);
/* Takes the address away from whoever has it, pinned or not. */
void mac_pin(struct mac_table *t, struct mac_owner *o, const uint8_t mac[6], uint16_t vlan);
/* NULL: unknown, or too old. */
struct mac_owner *mac_find(const struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint64_t now_ms);
unsigned mac_owner_count(const struct mac_owner *o);            /* entries in use */
#endif
