/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_TAP_H
#define PVB_BACKEND_NET_TAP_H
/* TAP devices: making them (supervisor), and frames through their descriptors (worker).
 *
 * A TAP is persistent and multi-queue, with virtio_net_hdr_v1, little-endian, in front of each frame.  It outlives the
 * processes that use it: bridges, rules and names stay when a worker begins anew.
 * Trust     The kernel is trusted; what is in its frames is not.
 * Errors    0 or -errno; those with a pvb_error say what and which TAP.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bus/error.h"
#include "frame.h"

/* --- supervisor: needs CAP_NET_ADMIN ---------------------------------------------------------------------- */
/* Make the TAP in this network namespace if it is not there: MAC fe:ff:ff:ff:ff:ff (which never becomes a bridge's),
 * carrier off, mtu (0: as it comes).  One that is there must be a multi-queue TAP and is taken as it is.  Then open
 * `queues` of its queues, non-blocking and close-on-exec.  On failure no descriptor is left, and no TAP that was not
 * there. */
int tap_prepare(const char *ifname, unsigned queues, uint32_t mtu, int *fds, struct pvb_error *err);
/* Remove it; that it is not there is no error. */
int tap_remove(const char *ifname, struct pvb_error *err);
/* A word on it, which stays when it is renamed: the interface's alias (`ip link` shows it).  Less than TAP_MARK_LEN bytes;
 * the longer one is -ENAMETOOLONG, another error the kernel's.  -ENOENT: there is none. */
#define TAP_MARK_LEN 200u
int tap_mark(const char *ifname, const char *text);
int tap_read_mark(const char *ifname, char text[TAP_MARK_LEN]);

/* --- worker ----------------------------------------------------------------------------------------------- */
enum { TAP_CSUM = 1, TAP_TSO4 = 2, TAP_TSO6 = 4 };
int tap_offload(int fd, unsigned offload);   /* what frames read may need of whoever gets them */
int tap_carrier(int fd, bool up);
int tap_attach(int fd, bool on);             /* does the kernel put frames into this queue? */

/* Linux cuts what is longer than FRAME_MAX_LEN before it comes to us, unless somebody raised the TAP's gso_max_size: then
 * the one byte more tells. */
#define TAP_MAX_READ (FRAME_MAX_LEN + 1u)
/* Read one frame into buf (TAP_MAX_READ bytes) and parse it.  1; 0: there is none; -EINVAL: dropped one, *why;
 * another -errno: the TAP is gone or down. */
int tap_read(int fd, uint8_t *buf, struct frame *f, const char **why);
/* The frame is whole and local. */
int tap_write(int fd, const struct frame *f);
void tap_drain(int fd);                      /* forget what waits to be read, within reason */
#endif
