/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames through the descriptor of a TAP's queue. */
#include "config.h"
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/net/packet.h"
#include "backend/net/tap.h"

#define DRAIN_MAX 4096 /* frames: more than a queue holds */

int tap_offload(int fd, unsigned offload)
{
	unsigned flags = 0;

	if (offload & TAP_CSUM) {
		flags |= TUN_F_CSUM;
		flags |= offload & TAP_TSO4 ? TUN_F_TSO4 : 0;
		flags |= offload & TAP_TSO6 ? TUN_F_TSO6 : 0;
	}
	return ioctl(fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

int tap_carrier(int fd, bool up)
{
	int value = up;

	return ioctl(fd, TUNSETCARRIER, &value) < 0 ? -errno : 0;
}

int tap_attach(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	/* what it is already is no error */
	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 && errno != EINVAL ? -errno : 0;
}

int tap_read(int fd, uint8_t *buf, struct frame *f, const char **why)
{
	struct virtio_net_hdr_v1 h;
	struct iovec iov[2] = { { &h, sizeof(h) }, { buf, TAP_MAX_READ } };
	ssize_t n = readv(fd, iov, 2);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n < (ssize_t)(sizeof(h) + FRAME_MIN_LEN)) {
		*why = "shorter than an Ethernet header";
		return -EINVAL;
	}
	n -= (ssize_t)sizeof(h);
	if (n > (ssize_t)FRAME_MAX_LEN) {
		*why = "longer than the protocol's frames";
		return -EINVAL;
	}
	memset(f, 0, offsetof(struct frame, seg));
	frame_local(f, buf, (uint32_t)n);
	return packet_from_vnet(f, &h, why) ? -EINVAL : 1;
}

int tap_write(int fd, const struct frame *f)
{
	struct virtio_net_hdr_v1 h;
	struct iovec iov[3] = {
		{ &h, sizeof(h) }, { f->hdr, f->hdr_len },
		{ f->seg[0].local + f->hdr_len, f->len - f->hdr_len },
	};
	ssize_t n;

	packet_to_vnet(f, &h);
	do
		n = writev(fd, iov, f->len > f->hdr_len ? 3 : 2);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

void tap_drain(int fd)
{
	char buf[sizeof(struct virtio_net_hdr_v1) + FRAME_MIN_LEN]; /* the rest of a frame is cut off */

	for (unsigned i = 0; i < DRAIN_MAX && read(fd, buf, sizeof(buf)) >= 0; i++)
		;
}
