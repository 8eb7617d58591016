/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_FRAME_H
#define PVB_BACKEND_NET_FRAME_H
/* One Ethernet frame on its way through a worker: where its bytes are, and what is known about them.
 *
 * Where     The bytes lie in segments, in order; a segment is local memory or part of a page some domain
 *           granted to us.  The first hdr_len bytes (all of a shorter frame) have been copied to private memory
 *           as well, at hdr, and that copy is the truth: what was checked is what is sent on.  Whoever emits
 *           the frame takes [0, hdr_len) from hdr and the rest from the segments.
 * Trust     Local segments are private (a guest can not change them).  Granted ones change at any time, so
 *           nothing in them is ever looked at, only copied.
 * Lengths   14 to FRAME_MAX_LEN bytes, without FCS, without padding; VLAN tags are in the bytes.
 * Ownership A frame and what it points to belongs to who made it, until its verdict is no longer
 *           FRAME_HELD; nobody keeps pointers into it longer.
 * Source    xen/io/netif.h for checksum and GSO meanings; linux/virtio_net.h for the TAP's header.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MIN_LEN 14u
#define FRAME_MAX_LEN 65535u     /* the protocol's size field */
#define FRAME_HDR 192u           /* private header bytes: Ethernet, 2 tags, IPv6 with options, TCP with options */
#define FRAME_MAX_SEGS 19u       /* XEN_NETIF_NR_SLOTS_MIN, what every back end takes, and a header put in front */

enum frame_gso { FRAME_GSO_NONE, FRAME_GSO_TCP4, FRAME_GSO_TCP6 };

enum frame_verdict {
	FRAME_PENDING,   /* nobody has decided yet */
	FRAME_SENT,
	FRAME_DROPPED,   /* lost like any frame on an Ethernet; counted by who dropped it */
	FRAME_BAD,       /* its bytes could not be fetched: the sender is told */
	FRAME_HELD,      /* the receiver has no room now: offer it again when told, in order */
};

struct frame_seg {
	uint8_t *local;  /* NULL: granted */
	uint32_t ref;
	uint16_t domid;
	uint16_t offset; /* bytes into the granted page; 0 for local memory */
	uint32_t len;    /* granted: offset + len <= 4096 */
	const uint8_t *staged; /* granted, and the page is mapped for good: the first of these bytes; else NULL.  Copying
	                        * by reference works all the same. */
};

struct frame {
	uint32_t len;
	uint16_t hdr_len;
	uint16_t nr_segs;
	uint8_t *hdr;
	enum frame_verdict verdict;
	/* offload: what the sender said, made whole and checked by packet_parse() */
	bool csum_blank;           /* the L4 checksum field holds the pseudo header's sum only: somebody has to finish it */
	bool csum_valid;           /* the data is known to be good (it never left this host, or the sender says so) */
	uint8_t gso;               /* enum frame_gso; then csum_blank is true */
	uint16_t gso_size;         /* TCP payload bytes per packet */
	/* found by packet_parse(); 0 = not there.  Offsets from the first byte. */
	uint16_t vlan;             /* 0x8100 tag's TCI & 0xfff, only with `tagged` */
	bool tagged;
	uint16_t ethertype;        /* host order, after tags */
	uint16_t l3, l4;           /* network and transport header */
	bool fragment;             /* of an IP packet: nothing is looked for after the IP header */
	uint8_t l4_proto;          /* IPPROTO_*, also one unknown to us; 0: a fragment, or not in the private copy */
	uint16_t l4_csum;          /* of the checksum field of TCP or UDP, if it is in the private copy */
	uint16_t payload;          /* first byte after the TCP/UDP header, if that is all in the private copy */
	unsigned queue;            /* of the sender */
	void *owner;               /* the maker's */
	struct frame_seg seg[FRAME_MAX_SEGS];
};

/* Source of a frame that was received from outside or made here: one local piece. */
static inline void frame_local(struct frame *f, void *data, uint32_t len)
{
	f->len = len;
	f->hdr = data;
	f->hdr_len = (uint16_t)(len < FRAME_HDR ? len : FRAME_HDR);
	f->nr_segs = 1;
	f->seg[0].local = data;
	f->seg[0].offset = 0;
	f->seg[0].len = len;
	f->seg[0].staged = NULL;
}
#endif
