/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_TAP_H
#define PVF_TAP_H
/* A network interface of the host's kernel (TAP) that shows it a NIC of ours: what the kernel sends comes out of a
 * descriptor, what is written there the kernel receives.
 *
 * Life     The interface exists as long as the tap does.  It is made without carrier and down: addresses and "up" are
 *          its administrator's.
 * Network  Made in the caller's network namespace or in a named one; the calling thread returns to its own.
 * Offload  Each frame goes with a virtio_net_hdr (10 bytes), given here as struct pvf_offload.
 * Threads  One.
 * Errors   0 or -errno and a pvb_error.  Never logs.
 * Source   linux/if_tun.h, linux/virtio_net.h
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"
#include "pvnic.h"

#define TAP_FRAME_MAX 65550u /* a kernel's largest packet and its Ethernet header */

struct tap;
struct tap_config {
	const char *ifname;
	const char *netns;       /* name of ip-netns(8), or a path (with a slash); NULL: ours */
	unsigned queues;         /* 1 to PVF_NIC_MAX_QUEUES */
	uint8_t mac[6];
	uint32_t mtu;
};

int tap_new(struct tap **out, const struct tap_config *cfg, struct pvb_error *err);
void tap_free(struct tap *tap);              /* NULL is fine */
const char *tap_name(const struct tap *tap);
unsigned tap_queues(const struct tap *tap);
int tap_fd(const struct tap *tap, unsigned queue); /* non-blocking */
int tap_carrier(struct tap *tap, bool up);   /* -errno: a kernel before 5.0 */
int tap_mtu(struct tap *tap, uint32_t mtu);
/* What the kernel may leave to us in the frames it sends. */
int tap_offload(struct tap *tap, bool csum, bool gso4, bool gso6);

/* One frame the kernel sends: its length; -EAGAIN none; -EMSGSIZE larger than size, -EINVAL offload that a ring can not
 * express (both are dropped); another -errno. */
int tap_read(struct tap *tap, unsigned queue, void *frame, size_t size, struct pvf_offload *off);
/* One frame for the kernel to receive.  -EIO: the interface is down; -ENOBUFS, -EINVAL ...: it did not take it. */
int tap_write(struct tap *tap, unsigned queue, const struct pvf_frame *frame);
#endif
