/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/switch-table.h"

static unsigned bucket_of(const struct mac_table *t, const uint8_t *mac, uint16_t vlan)
{
	uint32_t high, hash;
	uint16_t low;

	memcpy(&high, mac, 4);
	memcpy(&low, mac + 4, 2);
	hash = (high ^ t->seed) * 0x9e3779b1u;
	hash ^= hash >> 15;
	hash = (hash ^ ((uint32_t)low << 16 | vlan)) * 0x85ebca6bu;
	hash ^= hash >> 13;
	hash = (hash ^ t->seed) * 0xc2b2ae35u;
	return (hash >> 16) % MAC_TABLE_BUCKETS;
}

static bool is(const struct mac_slot *s, const uint8_t *mac, uint16_t vlan)
{
	return s->used && s->vlan == vlan && !memcmp(s->mac, mac, 6);
}

static struct mac_slot *find(const struct mac_table *t, const uint8_t *mac, uint16_t vlan)
{
	for (struct mac_slot *s = t->bucket[bucket_of(t, mac, vlan)]; s; s = s->next)
		if (is(s, mac, vlan))
			return s;
	return NULL;
}

static void take_out(struct mac_table *t, struct mac_slot *s)
{
	struct mac_slot **at = &t->bucket[bucket_of(t, s->mac, s->vlan)];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->used = s->pinned = false;
	s->owner->last = NULL;
	s->next = s->owner->free;
	s->owner->free = s;
}

/* A slot of the owner's: a free one, or the one whose turn it is.  NULL: all are pinned. */
static struct mac_slot *get_slot(struct mac_table *t, struct mac_owner *o)
{
	struct mac_slot *s;

	for (unsigned i = 0; i < o->nr && !o->free; i++) {
		s = &o->slots[o->hand];
		o->hand = (o->hand + 1) % o->nr;
		if (!s->pinned)
			take_out(t, s);
	}
	s = o->free;
	if (s)
		o->free = s->next;
	return s;
}

static struct mac_slot *put_in(struct mac_table *t, struct mac_owner *o, const uint8_t *mac, uint16_t vlan)
{
	struct mac_slot **bucket = &t->bucket[bucket_of(t, mac, vlan)], *s = get_slot(t, o);

	if (!s)
		return NULL;
	memcpy(s->mac, mac, 6);
	s->vlan = vlan;
	s->used = true;
	s->next = *bucket;
	*bucket = s;
	return s;
}

int mac_owner_init(struct mac_owner *o, unsigned nr)
{
	struct mac_slot *slots = calloc(nr, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	*o = (struct mac_owner){ .slots = slots, .nr = nr };
	for (unsigned i = nr; i-- > 0; o->free = &slots[i]) {
		slots[i].owner = o;
		slots[i].next = o->free;
	}
	return 0;
}

void mac_owner_clear(struct mac_table *t, struct mac_owner *o)
{
	for (unsigned i = 0; i < o->nr; i++)
		if (o->slots[i].used)
			take_out(t, &o->slots[i]);
}

void mac_owner_free(struct mac_table *t, struct mac_owner *o)
{
	mac_owner_clear(t, o);
	free(o->slots);
	*o = (struct mac_owner){ 0 };
}

enum mac_learned mac_learn(struct mac_table *t, struct mac_owner *o, const uint8_t mac[6], uint16_t vlan,
			   uint64_t now_ms)
{
	enum mac_learned what = MAC_NEW;
	struct mac_slot *s = o->last;

	if (!s || !is(s, mac, vlan))
		s = find(t, mac, vlan);
	if (s && s->owner == o) {
		s->seen_ms = now_ms;
		o->last = s;
		return MAC_KNOWN;
	}
	if (s && s->pinned)
		return MAC_REFUSED;
	if (s) {
		take_out(t, s);
		what = MAC_MOVED;
	}
	s = put_in(t, o, mac, vlan);
	if (s)
		s->seen_ms = now_ms;
	o->last = s;
	return what;
}

void mac_pin(struct mac_table *t, struct mac_owner *o, const uint8_t mac[6], uint16_t vlan)
{
	struct mac_slot *s = find(t, mac, vlan);

	if (s)
		take_out(t, s);
	s = put_in(t, o, mac, vlan);
	if (s)
		s->pinned = true;
}

struct mac_owner *mac_find(const struct mac_table *t, const uint8_t mac[6], uint16_t vlan, uint64_t now_ms)
{
	const struct mac_slot *s = find(t, mac, vlan);

	if (!s || (!s->pinned && now_ms > s->seen_ms && now_ms - s->seen_ms > MAC_AGE_MS))
		return NULL;
	return s->owner;
}

unsigned mac_owner_count(const struct mac_owner *o)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < o->nr; i++)
		nr += o->slots[i].used;
	return nr;
}
