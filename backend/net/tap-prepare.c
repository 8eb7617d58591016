/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor's part of a TAP: make it, open its queues, remove it. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net/ports.h"
#include "backend/net/tap.h"

static int set_name(struct ifreq *ifr, const char *ifname, struct pvb_error *err)
{
	memset(ifr, 0, sizeof(*ifr));
	if (!ifname[0] || strlen(ifname) >= IFNAMSIZ || strpbrk(ifname, "/%: \t\n"))
		return pvb_err(err, -EINVAL, "TAP \"%s\" is no name of an interface", ifname);
	memcpy(ifr->ifr_name, ifname, strlen(ifname));
	return 0;
}

static int open_queue(const char *ifname, struct pvb_error *err)
{
	int size = sizeof(struct virtio_net_hdr_v1), little = 1, fd, rc;
	struct ifreq ifr;

	rc = set_name(&ifr, ifname, err);
	if (rc)
		return rc;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return pvb_err(err, -errno, "TAP %s: /dev/net/tun: %s", ifname, strerror(errno));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		rc = pvb_err(err, -errno, errno == EINVAL ? "TAP %s: there is an interface of this name that is no "
			     "multi-queue TAP" : "TAP %s: %s", ifname, strerror(errno));
	else if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
		rc = pvb_err(err, -errno, "TAP %s: virtio_net_hdr: %s", ifname, strerror(errno));
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static int set_mtu(const char *ifname, uint32_t mtu, struct pvb_error *err)
{
	struct ifreq ifr;
	int fd, rc = set_name(&ifr, ifname, err);

	if (rc)
		return rc;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ifr.ifr_mtu = (int)mtu;
	if (fd < 0 || ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		rc = pvb_err(err, -errno, "TAP %s: MTU %u: %s", ifname, mtu, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int dress(const char *ifname, int fd, uint32_t mtu, struct pvb_error *err)
{
	struct ifreq ifr = { .ifr_hwaddr = { .sa_family = ARPHRD_ETHER } };
	int rc;

	memcpy(ifr.ifr_hwaddr.sa_data, "\xfe\xff\xff\xff\xff\xff", 6);
	if (ioctl(fd, SIOCSIFHWADDR, &ifr) < 0)
		return pvb_err(err, -errno, "TAP %s: MAC: %s", ifname, strerror(errno));
	rc = tap_carrier(fd, false);
	if (rc)
		return pvb_err(err, rc, "TAP %s: carrier: %s", ifname, strerror(-rc));
	if (mtu) {
		rc = set_mtu(ifname, mtu, err);
		if (rc)
			return rc;
	}
	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		return pvb_err(err, -errno, "TAP %s: persistent: %s", ifname, strerror(errno));
	return 0;
}

int tap_prepare(const char *ifname, unsigned queues, uint32_t mtu, int *fds, struct pvb_error *err)
{
	bool was_there = if_nametoindex(ifname);
	unsigned nr;
	int rc = 0;

	for (nr = 0; nr < queues; nr++) {
		fds[nr] = open_queue(ifname, err);
		if (fds[nr] < 0) {
			rc = fds[nr];
			break;
		}
		if (!nr && !was_there && (rc = dress(ifname, fds[0], mtu, err))) {
			nr++;
			break;
		}
	}
	if (rc) {
		if (nr && !was_there)
			ioctl(fds[0], TUNSETPERSIST, 0);
		port_close_fds(fds, nr);
	}
	return rc;
}

int tap_remove(const char *ifname, struct pvb_error *err)
{
	int fd, rc = 0;

	if (!if_nametoindex(ifname))
		return 0;
	fd = open_queue(ifname, err);
	if (fd < 0)
		return fd;
	if (ioctl(fd, TUNSETPERSIST, 0) < 0)
		rc = pvb_err(err, -errno, "TAP %s: not persistent: %s", ifname, strerror(errno));
	close(fd);
	return rc;
}
