// SPDX-License-Identifier: GPL-2.0-or-later
/* See tap.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include "tap.h"

struct tap {
	char name[IFNAMSIZ];
	unsigned nr;
	int fd[PVF_NIC_MAX_QUEUES];
	int sock;                 /* in the interface's namespace: for what goes by name */
};

/* --- making it -------------------------------------------------------------------------------------- */

static int open_queue(struct tap *tap, const struct tap_config *cfg, struct pvb_error *err)
{
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (cfg->queues > 1 ? IFF_MULTI_QUEUE : 0);
	struct ifreq ifr = { .ifr_flags = flags };
	int hdr = sizeof(struct virtio_net_hdr), fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return pvb_err(err, -errno, "/dev/net/tun: %s", strerror(errno));
	tap->fd[tap->nr++] = fd;
	memcpy(ifr.ifr_name, tap->name, sizeof(ifr.ifr_name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return pvb_err(err, -errno, "interface %s can not be made: %s%s", tap->name, strerror(errno),
			       errno == EBUSY || errno == EINVAL ? " (there may be one of this name)" : "");
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr) < 0)
		return pvb_err(err, -errno, "interface %s: TUNSETVNETHDRSZ: %s", tap->name, strerror(errno));
	return 0;
}

static int by_name(const struct tap *tap, unsigned long request, struct ifreq *ifr)
{
	memcpy(ifr->ifr_name, tap->name, sizeof(ifr->ifr_name));
	return ioctl(tap->sock, request, ifr) < 0 ? -errno : 0;
}

static int make(struct tap *tap, const struct tap_config *cfg, struct pvb_error *err)
{
	struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	int rc = 0;

	tap->sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (tap->sock < 0)
		return pvb_err(err, -errno, "interface %s: no socket: %s", tap->name, strerror(errno));
	for (unsigned i = 0; rc == 0 && i < cfg->queues; i++)
		rc = open_queue(tap, cfg, err);
	if (rc < 0)
		return rc;
	memcpy(ifr.ifr_hwaddr.sa_data, cfg->mac, 6);
	rc = by_name(tap, SIOCSIFHWADDR, &ifr);
	if (rc < 0)
		return pvb_err(err, rc, "interface %s: address: %s", tap->name, strerror(-rc));
	rc = tap_mtu(tap, cfg->mtu);
	if (rc < 0)
		return pvb_err(err, rc, "interface %s: MTU %u: %s", tap->name, cfg->mtu, strerror(-rc));
	tap_carrier(tap, false);
	return 0;
}

/* libxenstore's thread stays where it is: a namespace is a thread's. */
static int make_in(struct tap *tap, const struct tap_config *cfg, struct pvb_error *err)
{
	char path[256];
	int own, other, rc;

	snprintf(path, sizeof(path), "%s%s", strchr(cfg->netns, '/') != NULL ? "" : "/run/netns/", cfg->netns);
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0 || other < 0) {
		rc = pvb_err(err, -errno, "network namespace %.150s: %s", cfg->netns, strerror(errno));
	} else if (setns(other, CLONE_NEWNET) < 0) {
		rc = pvb_err(err, -errno, "network namespace %.150s can not be entered: %s", cfg->netns,
			     strerror(errno));
	} else {
		rc = make(tap, cfg, err);
		if (setns(own, CLONE_NEWNET) < 0)
			rc = pvb_err(err, -errno, "no way back from network namespace %.150s: %s", cfg->netns,
				     strerror(errno));
	}
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
	return rc;
}

int tap_new(struct tap **out, const struct tap_config *cfg, struct pvb_error *err)
{
	struct tap *tap;
	int rc;

	if (strlen(cfg->ifname) >= sizeof(tap->name))
		return pvb_err(err, -EINVAL, "interface %.60s: the name has more than %zu bytes", cfg->ifname,
			       sizeof(tap->name) - 1);
	tap = calloc(1, sizeof(*tap));
	if (tap == NULL)
		return pvb_err(err, -ENOMEM, "out of memory");
	tap->sock = -1;
	strcpy(tap->name, cfg->ifname);
	rc = cfg->netns != NULL ? make_in(tap, cfg, err) : make(tap, cfg, err);
	if (rc < 0) {
		tap_free(tap);
		return rc;
	}
	*out = tap;
	return 0;
}

void tap_free(struct tap *tap)
{
	if (tap == NULL)
		return;
	while (tap->nr > 0)
		close(tap->fd[--tap->nr]);
	if (tap->sock >= 0)
		close(tap->sock);
	free(tap);
}

/* --- its properties --------------------------------------------------------------------------------- */

const char *tap_name(const struct tap *tap)
{
	return tap->name;
}

unsigned tap_queues(const struct tap *tap)
{
	return tap->nr;
}

int tap_fd(const struct tap *tap, unsigned queue)
{
	return tap->fd[queue];
}

int tap_carrier(struct tap *tap, bool up)
{
	int on = up;

	return ioctl(tap->fd[0], TUNSETCARRIER, &on) < 0 ? -errno : 0;
}

int tap_mtu(struct tap *tap, uint32_t mtu)
{
	struct ifreq ifr = { .ifr_mtu = (int)mtu };

	return by_name(tap, SIOCSIFMTU, &ifr);
}

int tap_offload(struct tap *tap, bool csum, bool gso4, bool gso6)
{
	unsigned long flags = 0;

	if (csum)
		flags = TUN_F_CSUM | (gso4 ? TUN_F_TSO4 : 0) | (gso6 ? TUN_F_TSO6 : 0);
	return ioctl(tap->fd[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

/* --- frames ----------------------------------------------------------------------------------------- */

static int from_vnet(const struct virtio_net_hdr *h, struct pvf_offload *off)
{
	*off = (struct pvf_offload){ .csum_blank = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
				     .csum_valid = h->flags & VIRTIO_NET_HDR_F_DATA_VALID };
	if (off->csum_blank) {
		off->csum_start = h->csum_start;
		off->csum_offset = h->csum_offset;
	}
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return 0;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		off->gso = PVF_GSO_TCP4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		off->gso = PVF_GSO_TCP6;
		break;
	default:
		return -EINVAL; /* not asked for by tap_offload() */
	}
	off->gso_size = h->gso_size;
	return 0;
}

static void to_vnet(const struct pvf_offload *off, struct virtio_net_hdr *h)
{
	*h = (struct virtio_net_hdr){ .gso_type = VIRTIO_NET_HDR_GSO_NONE };
	if (off->csum_blank) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = off->csum_start;
		h->csum_offset = off->csum_offset;
	} else if (off->csum_valid) {
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (off->gso == PVF_GSO_NONE)
		return;
	h->gso_type = off->gso == PVF_GSO_TCP4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	h->gso_size = off->gso_size;
	h->hdr_len = off->hdr_len;
}

int tap_read(struct tap *tap, unsigned queue, void *frame, size_t size, struct pvf_offload *off)
{
	struct virtio_net_hdr h;
	struct iovec iov[2] = { { &h, sizeof(h) }, { frame, size } };
	ssize_t n = readv(tap->fd[queue], iov, 2);
	int rc;

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(h) || (size_t)n == sizeof(h) + size) /* what does not fit is cut, and not told */
		return -EMSGSIZE;
	rc = from_vnet(&h, off);
	return rc < 0 ? rc : (int)((size_t)n - sizeof(h));
}

int tap_write(struct tap *tap, unsigned queue, const struct pvf_frame *f)
{
	struct iovec iov[PVF_NIC_MAX_SLOTS + 2];
	struct virtio_net_hdr h;

	to_vnet(&f->off, &h);
	iov[0] = (struct iovec){ &h, sizeof(h) };
	memcpy(&iov[1], f->iov, f->nr * sizeof(*iov));
	return writev(tap->fd[queue], iov, (int)f->nr + 1) < 0 ? -errno : 0;
}
