/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a member of a switch gets of a frame: its tag put in or taken out, the offloads it lacks done. */
#include "config.h"
#include <string.h>
#include "backend/net/packet.h"
#include "backend/net/ports.h"
#include "backend/net/switch.h"

#define TAG 4u

void *switch_scratch(struct vswitch *sw, size_t len)
{
	void *p = sw->scratch + sw->used;

	len = (len + 7) & ~(size_t)7;
	if (len > SWITCH_SCRATCH - sw->used) {
		sw->starved = true;
		return NULL;
	}
	sw->used += len;
	return p;
}

/* Without the first n bytes of the segments, behind one with the new header. */
static void put_header(struct frame *f, const struct frame *old, uint8_t *hdr, unsigned len)
{
	unsigned skip = old->hdr_len;

	f->hdr = hdr;
	f->hdr_len = (uint16_t)len;
	f->seg[0] = (struct frame_seg){ .local = hdr, .len = len };
	f->nr_segs = 1;
	for (unsigned i = 0; i < old->nr_segs; i++) {
		struct frame_seg s = old->seg[i];

		if (s.len <= skip) {
			skip -= s.len;
			continue;
		}
		if (s.local)
			s.local += skip;
		else
			s.offset = (uint16_t)(s.offset + skip);
		if (s.staged)
			s.staged += skip;
		s.len -= skip;
		skip = 0;
		f->seg[f->nr_segs++] = s;
	}
}

static void move_offsets(struct frame *f, int by)
{
	f->l3 = f->l3 ? (uint16_t)(f->l3 + by) : 0;
	f->l4 = f->l4 ? (uint16_t)(f->l4 + by) : 0;
	f->l4_csum = f->l4_csum ? (uint16_t)(f->l4_csum + by) : 0;
	f->payload = f->payload ? (uint16_t)(f->payload + by) : 0;
	f->len += (uint32_t)by;
}

/* hdr: 4 bytes more than the old one.  A local frame stays one piece. */
static void push_tag(struct frame *made, const struct frame *f, uint8_t *hdr, uint16_t vlan)
{
	memcpy(hdr, f->hdr, 12);
	hdr[12] = 0x81;
	hdr[13] = 0x00;
	hdr[14] = (uint8_t)(vlan >> 8);
	hdr[15] = (uint8_t)vlan;
	memcpy(hdr + 16, f->hdr + 12, f->hdr_len - 12u);
	put_header(made, f, hdr, f->hdr_len + TAG);
	move_offsets(made, TAG);
	made->tagged = true;
	made->vlan = vlan;
}

static void pop_tag(struct frame *made, const struct frame *f, uint8_t *hdr)
{
	memcpy(hdr, f->hdr, 12);
	memcpy(hdr + 12, f->hdr + 16, f->hdr_len - 16u);
	put_header(made, f, hdr, f->hdr_len - TAG);
	move_offsets(made, -(int)TAG);
	made->tagged = false;
	made->vlan = 0;
}

static void set_tag(struct frame *made, const struct frame *f, uint8_t *hdr, uint16_t vlan)
{
	memcpy(hdr, f->hdr, f->hdr_len);
	hdr[14] = (uint8_t)((hdr[14] & 0xe0) | vlan >> 8); /* the priority stays */
	hdr[15] = (uint8_t)vlan;
	put_header(made, f, hdr, f->hdr_len);
	made->vlan = vlan;
}

/* One piece again: whoever finishes checksums and cuts segments wants that. */
static bool join(struct vswitch *sw, struct frame *f)
{
	uint8_t *all = switch_scratch(sw, f->len);
	size_t at = 0;

	if (!all)
		return false;
	for (unsigned i = 0; i < f->nr_segs; i++) {
		if (!f->seg[i].local)
			return true; /* granted: stays in pieces */
		memcpy(all + at, f->seg[i].local, f->seg[i].len);
		at += f->seg[i].len;
	}
	f->hdr = all;
	f->nr_segs = 1;
	f->seg[0] = (struct frame_seg){ .local = all, .len = f->len };
	return true;
}

struct frame *switch_retag(struct vswitch *sw, const struct member *m, struct frame *f, uint16_t vlan,
			   struct frame *made)
{
	bool tag = vlan != m->conf.vlan;
	uint8_t *hdr;

	if (tag ? f->tagged && f->vlan == vlan : !f->tagged || !f->vlan)
		return f;
	if (tag && !f->tagged && f->len + TAG > FRAME_MAX_LEN)
		return NULL;
	hdr = switch_scratch(sw, f->hdr_len + TAG);
	if (!hdr)
		return NULL;
	*made = *f;
	if (!tag)
		pop_tag(made, f, hdr);
	else if (f->tagged)
		set_tag(made, f, hdr, vlan);
	else
		push_tag(made, f, hdr, vlan);
	if (frame_is_local(f) && !join(sw, made))
		return NULL;
	return made;
}

/* A flow stays on one of the receiver's queues. */
static unsigned queue_for(const struct member *m, const struct frame *f)
{
	return m->offers.queues > 1 ? packet_flow_hash(f) : 0;
}

struct segments { struct member *m; bool first_held; unsigned nr; };

static void give_segment(void *arg, struct frame *f)
{
	struct segments *s = arg;
	enum frame_verdict v;

	if (s->first_held)
		return;
	v = s->m->uplink ? uplink_give(s->m->uplink, f) : port_deliver(&s->m->port, queue_for(s->m, f), f);
	if (v == FRAME_HELD && !s->nr)
		s->first_held = true;
	else if (v == FRAME_HELD)
		s->m->port.stats.rx_dropped_full++;
	s->nr++;
}

static enum frame_verdict give_cut(struct vswitch *sw, struct member *m, struct frame *f)
{
	size_t bytes = packet_segment_bytes(f);
	struct segments s = { m };
	uint8_t *buf;

	if (!bytes || !frame_is_local(f) || bytes > SWITCH_SCRATCH / 4) {
		m->port.stats.rx_dropped_filter++;
		return FRAME_SENT;
	}
	buf = switch_scratch(sw, bytes);
	if (!buf)
		return FRAME_HELD;
	packet_segment(f, buf, bytes, give_segment, &s);
	return s.first_held ? FRAME_HELD : FRAME_SENT;
}

enum frame_verdict switch_give(struct vswitch *sw, struct member *m, struct frame *f)
{
	bool is4 = f->ethertype == 0x0800;
	enum frame_verdict v;

	if (m->uplink)
		return uplink_give(m->uplink, f);
	if (f->gso && !(f->gso == FRAME_GSO_TCP4 ? m->offers.gso4 : m->offers.gso6))
		return give_cut(sw, m, f);
	if (!f->gso && f->csum_blank && !(is4 ? m->offers.csum4 : m->offers.csum6)) {
		if (!frame_is_local(f)) {
			m->port.stats.rx_dropped_filter++;
			return FRAME_SENT;
		}
		packet_checksum(f); /* good for everybody */
	}
	v = port_deliver(&m->port, queue_for(m, f), f);
	return v == FRAME_HELD ? FRAME_HELD : FRAME_SENT;
}
