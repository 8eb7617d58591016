// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames between a NIC and its TAP.
 *
 * The TAP is made when the NIC is live for the first time: only then MAC, MTU and queues are known.  While the NIC is
 * not live it stays, without carrier, so that the guest's addresses and routes survive a reconnect. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "pvguest.h"

#define BUDGET 64 /* frames of a queue, then the others have their turn */

/* --- recording -------------------------------------------------------------------------------------- */

void frames_record(struct nic *n, const struct iovec *iov, unsigned nr)
{
	int rc = n->p->record != NULL ? pcap_write(n->p->record, iov, nr) : 0;

	if (rc < 0 && n->n.not_recorded++ == 0)
		fprintf(stderr, "pvguest: %s: %s: a frame was not recorded: %s\n", n->name, n->p->o.record,
			strerror(-rc));
}

/* --- TAP to ring ------------------------------------------------------------------------------------ */

/* False: there is no room, the frame waits. */
static bool send_held(struct uplink *u)
{
	struct nic *n = u->nic;
	struct iovec iov = { u->frame, u->held };
	int rc = pvf_nic_send(n->nic, u->queue, &iov, 1, &u->off);

	if (rc == -EAGAIN) {
		pvb_source_events(u->src, 0);
		return false;
	}
	if (rc == 0)
		frames_record(n, &iov, 1);
	else if (rc == -EMSGSIZE)
		n->n.too_large++;
	else
		n->n.not_sent++;
	u->held = 0;
	return true;
}

static void on_tap(void *arg, uint32_t events)
{
	struct uplink *u = arg;
	struct nic *n = u->nic;

	if (u->held != 0 && !send_held(u))
		return;
	for (unsigned i = 0; i < BUDGET; i++) {
		int rc = tap_read(n->tap, u->queue, u->frame, sizeof(u->frame), &u->off);

		if (rc == -EMSGSIZE || rc == -EINVAL) {
			n->n.too_large++;
			continue;
		}
		if (rc <= 0) {
			if (rc != -EAGAIN) /* the interface was taken away: wait for our own end */
				pvb_source_events(u->src, 0);
			break;
		}
		n->n.from_tap++;
		u->held = (uint32_t)rc;
		if (!send_held(u))
			break;
	}
	pvf_nic_kick(n->nic);
}

void frames_room(void *arg, struct pvf_nic *nic, unsigned queue)
{
	struct nic *n = arg;

	if (n->p->replay != NULL)
		replay_room(n->p->replay, nic);
	for (unsigned i = 0; n->tap != NULL && i < tap_queues(n->tap); i++) {
		struct uplink *u = &n->uplinks[i];

		if (u->held != 0 && i % pvf_nic_info(nic)->queues == queue && send_held(u))
			pvb_source_events(u->src, EPOLLIN);
	}
}

/* --- ring to TAP ------------------------------------------------------------------------------------ */

void frames_received(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *frame)
{
	struct nic *n = arg;

	frames_record(n, frame->iov, frame->nr);
	if (n->p->replay != NULL)
		replay_received(n->p->replay, frame->len);
	if (n->p->load != NULL)
		load_received(n->p->load, frame);
	if (n->tap == NULL)
		return;
	if (tap_write(n->tap, queue % tap_queues(n->tap), frame) == 0)
		n->n.to_tap++;
	else
		n->n.tap_refused++; /* it is down, or its stack is full: an Ethernet loses frames */
}

/* --- the TAP ---------------------------------------------------------------------------------------- */

void frames_end(struct nic *n)
{
	for (unsigned i = 0; n->tap != NULL && i < tap_queues(n->tap); i++)
		pvb_source_free(&n->uplinks[i].src);
	tap_free(n->tap);
	free(n->uplinks);
	n->tap = NULL;
	n->uplinks = NULL;
}

static int make_tap(struct nic *n, struct pvb_error *err)
{
	const struct pvf_nic_info *info = pvf_nic_info(n->nic);
	struct tap_config cfg = { .queues = info->queues, .mtu = info->mtu };
	char name[32];
	int rc;

	/* several guests may share a namespace; what is too long the kernel refuses */
	snprintf(name, sizeof(name), "pv%u.%u", pvf_guest_domid(n->p->guest), pvf_nic_devid(n->nic));
	cfg.ifname = n->choice->ifname[0] != '\0' ? n->choice->ifname : name;
	cfg.netns = n->choice->netns[0] != '\0' ? n->choice->netns : NULL;
	memcpy(cfg.mac, info->mac, sizeof(cfg.mac));
	rc = tap_new(&n->tap, &cfg, err);
	if (rc < 0)
		return rc;
	n->generation = info->generation;
	n->uplinks = calloc(cfg.queues, sizeof(*n->uplinks));
	if (n->uplinks == NULL)
		return pvb_err(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < cfg.queues; i++) {
		struct uplink *u = &n->uplinks[i];

		u->nic = n;
		u->queue = i;
		rc = pvb_loop_fd(n->p->loop, tap_fd(n->tap, i), EPOLLIN, on_tap, u, &u->src);
		if (rc < 0)
			return pvb_err(err, rc, "interface %s can not be watched", cfg.ifname);
	}
	return 0;
}

/* Not live, nothing can be sent: what the kernel has for us waits there, as far as its queue reaches. */
static void pause_tap(struct nic *n, bool paused)
{
	for (unsigned i = 0; i < tap_queues(n->tap); i++) {
		n->uplinks[i].held = 0;
		pvb_source_events(n->uplinks[i].src, paused ? 0 : EPOLLIN);
	}
}

static void adjust(struct nic *n, bool live)
{
	const struct pvf_nic_info *info = pvf_nic_info(n->nic);
	int rc;

	tap_carrier(n->tap, live && info->carrier);
	if (!live)
		return;
	rc = tap_offload(n->tap, info->csum4, info->gso4, info->gso6);
	if (rc == 0)
		rc = tap_mtu(n->tap, info->mtu);
	if (rc < 0)
		fprintf(stderr, "pvguest: %s: interface %s: offload or MTU %u: %s\n", n->name, tap_name(n->tap),
			info->mtu, strerror(-rc));
}

void frames_changed(struct nic *n)
{
	bool live = pvf_nic_phase(n->nic) == PVF_LIVE, gone = pvf_nic_phase(n->nic) == PVF_GONE;
	struct pvb_error err;

	if (n->p->quiet || n->choice->no_tap || n->p->o.replay != NULL)
		return;
	if (gone || (n->tap != NULL && n->generation != pvf_nic_info(n->nic)->generation))
		frames_end(n);
	if (live && n->tap == NULL && make_tap(n, &err) < 0) {
		fprintf(stderr, "pvguest: %s: %s\n", n->name, err.text);
		frames_end(n);
		n->failed = true;
	}
	if (n->tap == NULL)
		return;
	n->failed = false;
	adjust(n, live);
	pause_tap(n, !live);
}
