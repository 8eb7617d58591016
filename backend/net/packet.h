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

/* Find the headers in f->hdr and check what the sender claims against them: csum_blank needs a TCP or UDP header whose
 * checksum field is inside the private copy; GSO needs TCP over the matching IP, a size between 1 and len, and headers
 * complete in the private copy (a GSO frame without csum_blank gets it: old guests forget).
 * IP fragments and protocols unknown to us pass as long as nothing is claimed about them.
 * 0, or -EINVAL with *why. */
int packet_parse(struct frame *f, const char **why);
/* Flow hash over addresses and ports (not the guest-visible one). */
uint32_t packet_flow_hash(const struct frame *f);

/* One's complement sum; start with 0 and go on with what the last call returned; pieces of even length except the last. */
uint32_t packet_sum(const void *data, size_t len, uint32_t sum);
uint16_t packet_sum_fold(uint32_t sum); /* complemented, as it stands in a header; host memory order */
/* Finish the blank checksum of a frame whose bytes all lie in one private local piece; clears csum_blank. */
void packet_checksum(struct frame *f);

/* Cut a GSO frame, all in one private local piece, into packets of gso_size payload with whole checksums.  Each is
 * written to buf (FRAME_HDR + 65535 bytes at least hold one) and given to emit() as a frame without offload.  Returns
 * the number emitted, or -EINVAL. */
int packet_segment(const struct frame *f, uint8_t *buf, size_t size, void (*emit)(void *arg, struct frame *f), void *arg);

/* The TAP's header for a frame and back.  from_vnet() checks what the kernel says as little as it can: the kernel is
 * trusted. */
void packet_to_vnet(const struct frame *f, struct virtio_net_hdr_v1 *h);
void packet_from_vnet(struct frame *f, const struct virtio_net_hdr_v1 *h);

/* "aa:bb:cc:dd:ee:ff"; false: it is none, or (for a station) a group address. */
bool packet_mac_parse(const char *text, uint8_t mac[6]);
void packet_mac_text(const uint8_t mac[6], char buf[18]);
static inline bool packet_is_group(const uint8_t *mac) { return mac[0] & 1; }
#endif
