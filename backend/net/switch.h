/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_NET_SWITCH_H
#define PVB_BACKEND_NET_SWITCH_H
/* A learning switch inside one worker: what switch*.c share.
 *
 * Members   The NICs whose port is "switch:NAME", and at most one uplink, a TAP.  The switch is there as long as it has
 *           members; which of them are connected decides who gets frames.
 * Flow      A frame for one member is handed to its NIC as it is: its bytes go from the sender's page to the
 *           receiver's by one grant copy, the header from the private copy.  Without room there it is FRAME_HELD and
 *           waits in the sender's ring.  Frames for many (group addresses, unknown ones) are not waited for, and
 *           storm control bounds how many a member can send.
 * Bytes     Members ask for headers only.  What is for somebody who lacks an offload or wants to see bytes (pcap, the
 *           uplink) is fetched when that is known, with one call for all of an xmit().
 * VLANs     Each frame is in one: a tagged one in its tag's, an untagged one in its port's.  A port gets frames of
 *           its own VLAN untagged and, as a trunk, those of the others tagged.  Tag 0 counts as untagged.
 * Memory    Headers with a tag put in or taken out, and segments, are made in `scratch`; they live until the pass is
 *           over.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "backend/net/port.h"
#include "backend/net/rate.h"
#include "backend/net/switch-table.h"

#define SWITCH_MAX_MEMBERS 128u
#define SWITCH_SCRATCH (1024u * 1024)
#define SWITCH_MACS 64u              /* of one member, if nothing else is said */
#define SWITCH_STORM 20000u          /* flooded frames a second */
#define SWITCH_VLAN 1u               /* the one of those who do not say which */
#define SWITCH_NO_VLAN 4095u

struct member_conf {
	uint16_t vlan;               /* untagged frames; SWITCH_NO_VLAN: there are none */
	bool trunk;                  /* takes tagged frames, too: those of `vlans` */
	uint64_t vlans[64];          /* bit per VLAN */
	uint32_t storm;              /* 0: no limit */
	uint32_t macs;
	bool mirror;
	char uplink[16];             /* "" none */
};

struct vswitch;

struct member {
	struct port port;
	struct vswitch *sw;
	struct member_conf conf;
	uint8_t mac[6];
	bool connected;
	bool sees;                   /* a wrapper round it wants all bytes of what it gets, or it is the uplink */
	struct port_offers offers;
	struct mac_owner macs;
	struct rate storm;
	struct uplink *uplink;       /* this member is the uplink: not a NIC's port */
};

struct vswitch {
	struct vswitch *next;
	struct nif_ctx *ctx;
	char name[64];
	struct mac_table table;
	struct member *member[SWITCH_MAX_MEMBERS];
	unsigned nr;
	struct member *uplink;       /* also in member[] */
	unsigned mirrors;            /* connected ones */
	bool poor;                   /* one is connected that does not take all checksums */
	uint64_t now_ns, now_ms;     /* of this call */
	uint8_t *scratch;
	size_t used;
	bool pass_over;              /* what scratch holds has been read */
	bool starved;                /* scratch was too small in this pass: frames are held for another one */
};

/* switch-conf.c */
int switch_conf(const struct target *t, struct member_conf *conf, struct pvb_error *err);
static inline bool member_has_vlan(const struct member *m, uint16_t vlan)
{
	return vlan == m->conf.vlan || (m->conf.trunk && m->conf.vlans[vlan / 64] >> vlan % 64 & 1);
}

/* switch-frame.c: what a receiver gets. */
void *switch_scratch(struct vswitch *sw, size_t len);  /* NULL: none left in this pass */
/* The frame as this member gets it, tagged or not: f itself, or *made.  NULL: too long with a tag, or starved. */
struct frame *switch_retag(struct vswitch *sw, const struct member *m, struct frame *f, uint16_t vlan,
			   struct frame *made);
/* Deliver, after doing what the member's offloads lack.  SENT also for what was dropped and counted on its side;
 * DROPPED: by the uplink. */
enum frame_verdict switch_give(struct vswitch *sw, struct member *m, struct frame *f);

/* switch.c */
/* One frame from a member: where it goes, and its verdict. */
enum frame_verdict switch_forward(struct vswitch *sw, struct member *from, struct frame *f);
void switch_begin(struct vswitch *sw);       /* before frames come in: what time it is, is scratch free */
int switch_add(struct vswitch *sw, struct member *m, struct pvb_error *err);
void switch_remove(struct vswitch *sw, struct member *m);
void switch_update(struct vswitch *sw);      /* what depends on who is connected */

/* switch-uplink.c */
int uplink_prepare(const char *ifname, int *fd, struct pvb_error *err);
/* Takes over fd, also on failure. */
int uplink_open(struct vswitch *sw, const struct member_conf *conf, int fd, struct pvb_error *err);
void uplink_close(struct vswitch *sw);
enum frame_verdict uplink_give(struct uplink *up, struct frame *f);
void uplink_retry(struct uplink *up);        /* somebody has room again */
#endif
