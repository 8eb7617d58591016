/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A switch's uplink: a TAP, which the host puts into a bridge or routes to.  A member like the others, a trunk of all
 * VLANs, whose own is 1; it takes every offload, so what comes from it may need work for the receiver. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "backend/net/netif.h"
#include "backend/net/ports.h"
#include "backend/net/switch.h"
#include "backend/net/tap-pause.h"
#include "backend/net/tap.h"

#define BATCH 64u
#define ARENA (512u * 1024)

struct uplink {
	struct member member;
	int fd;
	char ifname[16];
	struct pvb_source *src;
	struct tap_pause pause;
	uint8_t *arena, *held_bytes;
	bool is_held;
	struct frame held;
};

int uplink_prepare(const char *ifname, int *fd, struct pvb_error *err)
{
	int rc = tap_prepare(ifname, 1, 0, fd, err);

	/* The switch may have its uplink already: then the kernel must not put frames into this queue. */
	if (!rc)
		tap_attach(*fd, false);
	return rc;
}

enum frame_verdict uplink_give(struct uplink *up, struct frame *f)
{
	return !frame_is_local(f) || tap_write(up->fd, f) ? FRAME_DROPPED : FRAME_SENT;
}

/* false: hold it.  Only for want of a receiver's room: when the switch itself has none, the host sends too much. */
static bool forward(struct uplink *up, struct frame *f)
{
	struct vswitch *sw = up->member.sw;

	return switch_forward(sw, &up->member, f) != FRAME_HELD || sw->starved;
}

static void readable(void *arg, uint32_t events)
{
	struct uplink *up = arg;
	struct vswitch *sw = up->member.sw;
	const char *why;
	struct frame f;
	size_t used = 0;
	unsigned i;
	int rc = 1;

	if (up->is_held) /* the timer had told already */
		return;
	switch_begin(sw);
	for (i = 0; i < BATCH && rc && ARENA - used >= TAP_MAX_READ; i++) {
		rc = tap_read(up->fd, up->arena + used, &f, &why);
		if (rc < 0 && rc != -EINVAL) {
			tap_pause_stop(&up->pause); /* the TAP is gone */
			break;
		}
		if (rc <= 0)
			continue;
		used += (f.len + 7) & ~7u;
		if (!forward(up, &f)) {
			frame_copy(&up->held, &f, up->held_bytes);
			up->is_held = true;
			tap_pause_stop(&up->pause);
			break;
		}
	}
	nif_ctx_flush(sw->ctx);
	sw->pass_over = true;
	if (!up->is_held && (rc >= 0 || rc == -EINVAL))
		tap_pause(&up->pause, i - !rc, used, rc != 0);
}

/* In a pass: the held frame's bytes stay until it is over. */
void uplink_retry(struct uplink *up)
{
	if (!up->is_held)
		return;
	switch_begin(up->member.sw);
	if (!forward(up, &up->held))
		return;
	up->is_held = false;
	pvb_source_events(up->src, EPOLLIN);
}

/* The supervisor has this descriptor as well, so closing it does not take the queue out. */
static void leave_queue(int fd)
{
	tap_attach(fd, false);
	port_close_fds(&fd, 1);
}

static void uplink_free(struct uplink *up)
{
	tap_pause_close(&up->pause);
	pvb_source_free(&up->src);
	leave_queue(up->fd);
	free(up->arena);
	free(up->held_bytes);
	free(up);
}

static void uplink_conf(struct uplink *up, const struct member_conf *conf)
{
	struct member_conf *c = &up->member.conf;

	memcpy(up->ifname, conf->uplink, sizeof(up->ifname));
	c->vlan = SWITCH_VLAN;
	c->trunk = true;
	memset(c->vlans, 0xff, sizeof(c->vlans));
	c->macs = 4096;
	up->member.connected = true;
	up->member.uplink = up;
}

static int start(struct uplink *up, struct vswitch *sw, struct pvb_error *err)
{
	int rc;

	up->arena = malloc(ARENA);
	up->held_bytes = malloc(FRAME_MAX_LEN);
	if (!up->arena || !up->held_bytes)
		return pvb_err(err, -ENOMEM, "switch %s: no memory", sw->name);
	rc = tap_attach(up->fd, true);
	if (!rc)
		rc = tap_offload(up->fd, TAP_CSUM | TAP_TSO4 | TAP_TSO6);
	if (!rc)
		rc = pvb_loop_fd(nif_ctx_loop(sw->ctx), up->fd, EPOLLIN, readable, up, &up->src);
	if (!rc)
		rc = tap_pause_open(&up->pause, nif_ctx_loop(sw->ctx), up->src, readable, up);
	if (rc)
		return pvb_err(err, rc, "switch %s: uplink %s: %s", sw->name, up->ifname, strerror(-rc));
	rc = switch_add(sw, &up->member, err);
	if (!rc)
		tap_carrier(up->fd, true);
	return rc;
}

int uplink_open(struct vswitch *sw, const struct member_conf *conf, int fd, struct pvb_error *err)
{
	struct uplink *up;
	int rc;

	if (sw->uplink) {
		leave_queue(fd);
		if (!strcmp(sw->uplink->uplink->ifname, conf->uplink))
			return 0;
		return pvb_err(err, -EBUSY, "switch %s: has uplink %s, not %s", sw->name, sw->uplink->uplink->ifname,
			       conf->uplink);
	}
	up = calloc(1, sizeof(*up));
	if (!up) {
		port_close_fds(&fd, 1);
		return pvb_err(err, -ENOMEM, "switch %s: no memory", sw->name);
	}
	up->fd = fd;
	up->pause.fd = -1;
	uplink_conf(up, conf);
	rc = start(up, sw, err);
	if (rc) {
		uplink_free(up);
		return rc;
	}
	sw->uplink = &up->member;
	return 0;
}

void uplink_close(struct vswitch *sw)
{
	struct uplink *up = sw->uplink->uplink;

	tap_carrier(up->fd, false);
	switch_remove(sw, &up->member);
	sw->uplink = NULL;
	uplink_free(up);
}
