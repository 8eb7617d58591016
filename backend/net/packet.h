/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_PACKET_H
#define PVB_BACKEND_NET_PACKET_H
/* What is in a frame: headers, checksums, segmentation.  Pure functions over private memory.
 *
 * Trust    Every length and offset in a header is the guest's word and checked against hdr_len and len.
 * Errors   packet_parse() says in *why, a constant sentence, what is wrong with a frame that must not go on.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "frame.h"

struct virtio_net_hdr_v1;

/* Linux' TCP never makes smaller ones; a guest that could ask for one byte a packet would make 65000 of one frame. */
#define PACKET_MIN_GSO 8u
#define PACKET_ALIGN 8u

/* Find the headers in f->hdr and check what the sender claims against them: csum_blank needs a TCP or UDP header whose
 * checksum field is inside the private copy; GSO needs TCP over the matching IP, a size between PACKET_MIN_GSO and
 * len, and headers complete in the private copy (a GSO frame without csum_blank gets it: old guests forget).
 * IP fragments and protocols unknown to us pass as long as nothing is claimed about them.
 * 0, or -EINVAL with *why. */
int packet_parse(struct frame *f, const char **why);
/* Flow hash over addresses and ports (not the guest-visible one). */
uint32_t packet_flow_hash(const struct frame *f);

/* One's complement sum; start with 0 and go on with what the last call returned; pieces of even length except the
 * last. */
uint32_t packet_sum(const void *data, size_t len, uint32_t sum);
uint16_t packet_sum_fold(uint32_t sum); /* complemented, as it stands in a header; host memory order */
/* Finish the blank checksum of a frame whose bytes all lie in one private local piece; clears csum_blank. */
void packet_checksum(struct frame *f);

/* Cut a GSO frame, all in one private local piece, into packets of gso_size payload with whole checksums.  They are
 * written one after the other into buf, and each is given to emit() as a frame without offload; the struct is gone
 * after emit(), the bytes stay.  Returns the number emitted, -EINVAL, or -ENOSPC: buf has less than
 * packet_segment_bytes(), which is 0 for what is no GSO frame. */
size_t packet_segment_bytes(const struct frame *f);
int packet_segment(const struct frame *f, uint8_t *buf, size_t size, void (*emit)(void *arg, struct frame *f),
		   void *arg);

/* The TAP's header (little-endian, TUNSETVNETLE) for a frame and back.  from_vnet() parses as well; the frame's
 * bytes lie in one private local piece, which is its hdr, too.  A blank checksum that is not the outermost TCP's or
 * UDP's (inside a tunnel) is finished at once.  0, or -EINVAL with *why. */
void packet_to_vnet(const struct frame *f, struct virtio_net_hdr_v1 *h);
int packet_from_vnet(struct frame *f, const struct virtio_net_hdr_v1 *h, const char **why);

/* "aa:bb:cc:dd:ee:ff"; false: it is none, or (for a station) a group address. */
bool packet_mac_parse(const char *text, uint8_t mac[6]);
void packet_mac_text(const uint8_t mac[6], char buf[18]);
static inline bool packet_is_group(const uint8_t *mac) { return mac[0] & 1; }
#endif
