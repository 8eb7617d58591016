/* SPDX-License-Identifier: GPL-2.0-or-later */
/* switch:NAME - the guests of one worker among each other: who gets which frame, and who is there. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "backend/net/netif.h"
#include "backend/net/nif-fetch.h"
#include "backend/net/packet.h"
#include "backend/net/ports.h"
#include "backend/net/switch.h"
#include "backend/target.h"

#define FETCH_MAX 64u

/* A worker has one context and few switches; tests have several, in threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vswitch *switches;

/* --- forwarding --------------------------------------------------------------------------------------- */

void switch_begin(struct vswitch *sw)
{
	sw->now_ns = pvb_now_ns();
	sw->now_ms = sw->now_ns / 1000000;
	if (sw->pass_over) {
		sw->used = 0;
		sw->pass_over = sw->starved = false;
	}
}

static enum frame_verdict refuse(struct member *from)
{
	from->port.stats.tx_dropped_filter++;
	return FRAME_DROPPED;
}

/* The VLAN a frame from this member is in; SWITCH_NO_VLAN: in none that it may use. */
static uint16_t ingress(const struct member *from, const struct frame *f)
{
	if (!f->tagged || !f->vlan)
		return from->conf.vlan;
	if (!from->conf.trunk || f->vlan >= SWITCH_NO_VLAN || !member_has_vlan(from, f->vlan))
		return SWITCH_NO_VLAN;
	return f->vlan;
}

/* 01:80:c2:00:00:0X is between a bridge and its neighbour: no guest talks spanning tree to the host's bridges. */
static bool is_reserved(const uint8_t *mac)
{
	static const uint8_t prefix[5] = { 0x01, 0x80, 0xc2, 0, 0 };

	return !memcmp(mac, prefix, 5) && mac[5] < 0x10;
}

static enum frame_verdict give(struct vswitch *sw, struct member *to, struct frame *f, uint16_t vlan)
{
	struct frame made, *out = switch_retag(sw, to, f, vlan, &made);

	if (out)
		return switch_give(sw, to, out);
	if (sw->starved)
		return FRAME_HELD;
	to->port.stats.rx_dropped_filter++;
	return FRAME_SENT;
}

/* Nobody waits for a receiver of what goes to many. */
static void give_or_drop(struct vswitch *sw, struct member *to, struct frame *f, uint16_t vlan)
{
	if (give(sw, to, f, vlan) == FRAME_HELD)
		to->port.stats.rx_dropped_full++;
}

/* A blank checksum is finished before anybody has been promised that it is blank. */
static void finish_for_all(const struct vswitch *sw, struct frame *f)
{
	if (sw->poor && f->csum_blank && !f->gso && frame_is_local(f))
		packet_checksum(f);
}

/* To the mirrors, but not to one that has it anyway.  No `to`: all members of the VLAN have. */
static void mirror(struct vswitch *sw, const struct member *from, const struct member *to, struct frame *f,
		   uint16_t vlan)
{
	for (unsigned i = 0; i < sw->nr; i++) {
		struct member *m = sw->member[i];

		if (!m->conf.mirror || !m->connected || m == from || (to ? m == to : member_has_vlan(m, vlan)))
			continue;
		give_or_drop(sw, m, f, vlan);
	}
}

static enum frame_verdict flood(struct vswitch *sw, struct member *from, struct frame *f, uint16_t vlan)
{
	if (from->conf.storm && !rate_take(&from->storm, 1, sw->now_ns))
		return refuse(from);
	from->port.stats.flooded++;
	finish_for_all(sw, f);
	for (unsigned i = 0; i < sw->nr; i++) {
		struct member *m = sw->member[i];

		if (m != from && m->connected && member_has_vlan(m, vlan))
			give_or_drop(sw, m, f, vlan);
	}
	if (sw->mirrors)
		mirror(sw, from, NULL, f, vlan);
	return FRAME_SENT;
}

static enum frame_verdict unicast(struct vswitch *sw, struct member *from, struct member *to, struct frame *f,
				  uint16_t vlan)
{
	enum frame_verdict v;

	if (sw->mirrors)
		finish_for_all(sw, f);
	v = give(sw, to, f, vlan);
	if (v == FRAME_HELD)
		return v;
	if (v == FRAME_DROPPED) /* by the uplink, which has no counters that anybody sees */
		from->port.stats.tx_errors++;
	if (sw->mirrors)
		mirror(sw, from, to, f, vlan);
	return v;
}

enum frame_verdict switch_forward(struct vswitch *sw, struct member *from, struct frame *f)
{
	const uint8_t *dst = f->hdr, *src = f->hdr + 6;
	uint16_t vlan = ingress(from, f);
	struct mac_owner *owner;
	struct member *to;

	if (vlan == SWITCH_NO_VLAN || packet_is_group(src) || is_reserved(dst))
		return refuse(from);
	if (mac_learn(&sw->table, &from->macs, src, vlan, sw->now_ms) == MAC_REFUSED)
		return refuse(from);
	if (packet_is_group(dst))
		return flood(sw, from, f, vlan);
	owner = mac_find(&sw->table, dst, vlan, sw->now_ms);
	if (!owner)
		return flood(sw, from, f, vlan);
	to = (struct member *)((char *)owner - offsetof(struct member, macs));
	if (to == from || !to->connected)
		return refuse(from);
	return unicast(sw, from, to, f, vlan);
}

/* --- bytes -------------------------------------------------------------------------------------------- */

static bool wants_bytes(const struct member *m, const struct frame *f)
{
	const struct port_offers *o = &m->offers;
	bool is4 = f->ethertype == 0x0800;

	if (m->sees)
		return true;
	if (f->gso)
		return !(f->gso == FRAME_GSO_TCP4 ? o->gso4 : o->gso6);
	return f->csum_blank && !(is4 ? o->csum4 : o->csum6);
}

/* Will somebody want this frame's bytes?  As switch_forward() is going to decide. */
static bool is_wanted(struct vswitch *sw, struct member *from, const struct frame *f)
{
	uint16_t vlan = ingress(from, f);
	struct mac_owner *owner = NULL;

	if (vlan == SWITCH_NO_VLAN)
		return false;
	if (!packet_is_group(f->hdr))
		owner = mac_find(&sw->table, f->hdr, vlan, sw->now_ms);
	if (owner && wants_bytes((struct member *)((char *)owner - offsetof(struct member, macs)), f))
		return true;
	if (!owner && from->conf.storm && rate_wait(&from->storm, sw->now_ns))
		return false;
	for (unsigned i = 0; i < sw->nr && (!owner || sw->mirrors); i++) {
		const struct member *m = sw->member[i];

		if (m != from && m->connected && (m->conf.mirror || (!owner && member_has_vlan(m, vlan))) &&
		    wants_bytes(m, f))
			return true;
	}
	return false;
}

static void fetch_wanted(struct vswitch *sw, struct member *from, struct frame **frames, unsigned nr)
{
	struct frame *wanted[FETCH_MAX];
	unsigned nr_wanted = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (frame_is_local(frames[i]) || !is_wanted(sw, from, frames[i]))
			continue;
		wanted[nr_wanted++] = frames[i];
		if (nr_wanted == FETCH_MAX) {
			nif_fetch(sw->ctx, wanted, nr_wanted);
			nr_wanted = 0;
		}
	}
	if (nr_wanted)
		nif_fetch(sw->ctx, wanted, nr_wanted);
}

static void switch_xmit(struct port *p, struct frame **frames, unsigned nr)
{
	struct member *m = (struct member *)p;
	unsigned i;

	switch_begin(m->sw);
	for (i = 0; i < nr; i++)
		frames[i]->verdict = FRAME_PENDING;
	fetch_wanted(m->sw, m, frames, nr);
	for (i = 0; i < nr; i++) {
		if (frames[i]->verdict == FRAME_PENDING)
			frames[i]->verdict = switch_forward(m->sw, m, frames[i]);
		if (frames[i]->verdict == FRAME_HELD)
			break;
	}
	for (; i < nr; i++)
		frames[i]->verdict = FRAME_HELD;
}

static void switch_room(struct port *p, unsigned queue)
{
	struct vswitch *sw = ((struct member *)p)->sw;

	if (sw->uplink)
		uplink_retry(sw->uplink->uplink);
	nif_ctx_retry(sw->ctx);
}

/* Called for each member; the pass is over after the last, and nothing comes in between. */
static void switch_flush(struct port *p)
{
	struct vswitch *sw = ((struct member *)p)->sw;

	if (sw->starved && !sw->pass_over)
		nif_ctx_retry(sw->ctx);
	sw->pass_over = true;
}

/* --- who is there ------------------------------------------------------------------------------------- */

static bool sees_bytes(const struct member *m)
{
	for (const struct port *a = m->port.above; a; a = a->above)
		if (a->needs)
			return true;
	return m->uplink;
}

void switch_update(struct vswitch *sw)
{
	sw->mirrors = 0;
	sw->poor = false;
	for (unsigned i = 0; i < sw->nr; i++) {
		struct member *m = sw->member[i];

		m->sees = sees_bytes(m);
		sw->mirrors += m->conf.mirror && m->connected;
		sw->poor |= m->connected && !m->uplink && !(m->offers.csum4 && m->offers.csum6);
	}
}

static void pin(struct vswitch *sw, struct member *m)
{
	if (m->connected && m->conf.vlan != SWITCH_NO_VLAN && !m->uplink)
		mac_pin(&sw->table, &m->macs, m->mac, m->conf.vlan);
}

/* The one that connected last has the address: while a guest moves within the host there are two. */
static void switch_connected(struct port *p, const struct port_offers *offers)
{
	struct member *m = (struct member *)p;
	struct vswitch *sw = m->sw;

	m->connected = offers;
	mac_owner_clear(&sw->table, &m->macs);
	if (offers) {
		m->offers = *offers;
		pin(sw, m);
	} else {
		for (unsigned i = 0; i < sw->nr; i++)
			if (!memcmp(sw->member[i]->mac, m->mac, 6))
				pin(sw, sw->member[i]);
	}
	switch_update(sw);
	nif_ctx_retry(sw->ctx); /* what waited for one that is gone does not wait for ever */
	if (sw->uplink)
		uplink_retry(sw->uplink->uplink);
}

static void switch_free(struct vswitch *sw)
{
	struct vswitch **at = &switches;

	while (*at != sw)
		at = &(*at)->next;
	*at = sw->next;
	free(sw->scratch);
	free(sw);
}

static uint32_t secret(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	uint32_t seed = 0x7f4a7c15;

	if (random)
		memcpy(&seed, random, sizeof(seed));
	return seed ^ (uint32_t)pvb_now_ns();
}

static struct vswitch *switch_get(struct nif_ctx *ctx, const char *name)
{
	struct vswitch *sw;

	for (sw = switches; sw; sw = sw->next)
		if (sw->ctx == ctx && !strcmp(sw->name, name))
			return sw;
	sw = calloc(1, sizeof(*sw));
	if (!sw)
		return NULL;
	sw->scratch = malloc(SWITCH_SCRATCH);
	if (!sw->scratch) {
		free(sw);
		return NULL;
	}
	sw->ctx = ctx;
	strncpy(sw->name, name, sizeof(sw->name) - 1);
	sw->table.seed = secret();
	sw->next = switches;
	switches = sw;
	return sw;
}

int switch_add(struct vswitch *sw, struct member *m, struct pvb_error *err)
{
	uint32_t pps = m->conf.storm;

	if (sw->nr == SWITCH_MAX_MEMBERS)
		return pvb_err(err, -ENOSPC, "switch %s: has %u members, at most %u", sw->name, sw->nr,
			       SWITCH_MAX_MEMBERS);
	if (mac_owner_init(&m->macs, m->conf.macs + 1)) /* and its own */
		return pvb_err(err, -ENOMEM, "switch %s: no memory", sw->name);
	m->sw = sw;
	if (pps)
		rate_set(&m->storm, pps >= 10 ? pps / 10 : pps, pps >= 10 ? 100000 : 1000000, pvb_now_ns());
	sw->member[sw->nr++] = m;
	return 0;
}

void switch_remove(struct vswitch *sw, struct member *m)
{
	unsigned i = 0;

	while (sw->member[i] != m)
		i++;
	sw->member[i] = sw->member[--sw->nr];
	mac_owner_free(&sw->table, &m->macs);
}

/* --- the port ----------------------------------------------------------------------------------------- */

static const char *const switch_keys[] = { "vlan", "trunk", "storm", "macs", "mirror", "uplink", NULL };

static int switch_prepare(const struct target *t, const struct port_nic *nic, int *fds, unsigned *nr_fds,
			  struct pvb_error *err)
{
	struct member_conf conf;
	int rc = switch_conf(t, &conf, err);

	*nr_fds = 0;
	if (rc || !conf.uplink[0])
		return rc;
	rc = uplink_prepare(conf.uplink, fds, err);
	if (!rc)
		*nr_fds = 1;
	return rc;
}

static int join(struct member *m, const char *name, int uplink_fd, struct pvb_error *err)
{
	struct vswitch *sw;
	int rc;

	pthread_mutex_lock(&lock);
	sw = switch_get(m->port.ctx, name);
	rc = sw ? switch_add(sw, m, err) : pvb_err(err, -ENOMEM, "switch %s: no memory", name);
	if (!rc && m->conf.uplink[0]) {
		rc = uplink_open(sw, &m->conf, uplink_fd, err);
		uplink_fd = -1;
		if (rc)
			switch_remove(sw, m);
	}
	if (sw && !sw->nr)
		switch_free(sw);
	else if (!rc)
		switch_update(sw);
	pthread_mutex_unlock(&lock);
	port_close_fds(&uplink_fd, 1);
	return rc;
}

static int switch_open(const struct target *t, const struct port_nic *nic, const int *fds, unsigned nr_fds,
		       struct nif_ctx *ctx, struct port *below, struct port **out, struct pvb_error *err)
{
	struct member *m = calloc(1, sizeof(*m));
	int rc = m ? switch_conf(t, &m->conf, err) : pvb_err(err, -ENOMEM, "switch %s: no memory", t->arg);

	if (!rc && nr_fds != (m->conf.uplink[0] ? 1u : 0u))
		rc = pvb_err(err, -EINVAL, "switch %s: %u descriptors", t->arg, nr_fds);
	if (rc) {
		port_close_fds(fds, nr_fds);
		free(m);
		return rc;
	}
	m->port.ctx = ctx;
	memcpy(m->mac, nic->mac, 6);
	rc = join(m, t->arg, nr_fds ? fds[0] : -1, err);
	if (rc) {
		free(m);
		return rc;
	}
	*out = &m->port;
	return 0;
}

/* The uplink stays until the last NIC has gone. */
static void switch_close(struct port *p)
{
	struct member *m = (struct member *)p;
	struct vswitch *sw = m->sw;

	pthread_mutex_lock(&lock);
	switch_remove(sw, m);
	if (sw->nr == 1 && sw->uplink)
		uplink_close(sw);
	if (sw->nr)
		switch_update(sw);
	else
		switch_free(sw);
	pthread_mutex_unlock(&lock);
	free(m);
}

const struct port_ops switch_port = {
	.name = "switch",
	.help = "NAME   the guests of the switch of that name",
	.keys = switch_keys,
	.prepare = switch_prepare, .open = switch_open, .connected = switch_connected, .xmit = switch_xmit,
	.room = switch_room, .flush = switch_flush, .close = switch_close,
};
