/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_FAKE_NETBACK_H
#define PVB_TESTS_FAKE_NETBACK_H
/* A network back end on a thread of the test: sends every frame back to where it came from (or keeps it), offers what
 * it is told to offer, and lies on demand.  Small and simple-minded on purpose; pvbackd is the real one.  It checks
 * what a front end must keep to and counts what it did not like in `complaints`.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

enum nback_lie {
	NBACK_HONEST,
	/* transmit responses */
	NBACK_TX_ID,          /* an id nobody gave out */
	NBACK_TX_ID_BEYOND,   /* ... beyond the pages there are */
	NBACK_TX_STALE,       /* the right page, of an earlier use */
	NBACK_TX_DUPLICATE,
	NBACK_TX_STATUS,
	NBACK_TX_NULL,        /* "extra info" where there was none */
	NBACK_TX_JUMP, NBACK_TX_ONE, NBACK_TX_BACKWARDS,
	NBACK_TX_SILENT,      /* takes requests and never answers */
	/* receive responses, in place of the frame that is due */
	NBACK_RX_ID,
	NBACK_RX_SIZE,        /* 4097 bytes */
	NBACK_RX_OFFSET,      /* within a page, but not with the size */
	NBACK_RX_STATUS,      /* -3 */
	NBACK_RX_JUMP, NBACK_RX_BACKWARDS,
	NBACK_RX_PREFIX,      /* the old GSO prefix */
	NBACK_RX_EXTRA_TYPE, NBACK_RX_EXTRA_NONE, NBACK_RX_EXTRA_ENDLESS,
	NBACK_RX_GSO_TYPE, NBACK_RX_GSO_SIZE, NBACK_RX_GSO_TWICE,
	NBACK_RX_SLOTS,       /* a frame of 19 slots */
	NBACK_RX_UNASKED_SG, NBACK_RX_UNASKED_GSO,
	/* control responses */
	NBACK_CTRL_ID, NBACK_CTRL_TYPE, NBACK_CTRL_STATUS, NBACK_CTRL_JUMP, NBACK_CTRL_UNASKED,
	/* not lies that kill, but frames that are no good */
	NBACK_RX_SHORT,       /* 1 to 13 bytes */
	NBACK_RX_SHORT_FIRST, /* a good frame whose first slot has 1 byte */
	NBACK_RX_MANY,        /* a good frame in 18 slots, as many as there may be */
	NBACK_RX_EMPTY,       /* 0 bytes */
	NBACK_RX_ERROR,       /* NETIF_RSP_ERROR, also in the middle of a frame */
	NBACK_RX_BLANK,       /* blank checksum of something that has none */
	NBACK_RX_GSO_UDP,     /* GSO of something that is not TCP */
	NBACK_CHAOS,          /* random bytes for responses */
};

struct nback_options {
	uint32_t max_queues;     /* 0: key not written */
	bool split, sg, gso, csum6, multicast, dynamic, ctrl;
	bool no_copy;            /* feature-rx-copy 0 */
	bool sink;               /* count frames and keep the last one */
	bool wait;               /* stay in state 1 until nback_go() */
	bool hold;               /* leave transmit requests alone until nback_release() */
	bool slot_by_slot;       /* publish each response on its own */
	bool keep;               /* do not unmap the first data pages, ever */
	bool spy;                /* complain of bytes that are not meant for us (spy.h) */
	bool untrusted;          /* the front end's directory says so: trusted 0 */
	uint32_t piece;          /* received frames in slots of at most so many bytes; 0 = a page */
	uint32_t offset;         /* where in its page received data begins */
	int16_t tx_status;       /* of every second frame */
	uint32_t greft;          /* entries of the gref table of a queue; 0: not supported */
	uint32_t hash_types;     /* supported; 0: no hash */
	uint32_t hash_map;       /* entries of the mapping, at most */
	unsigned mcast_max;      /* groups; 0 = 64 */
	bool send_hash;          /* a hash extra info with each received frame */
	enum nback_lie lie;
	unsigned honest;         /* answers before the lie */
	uint32_t seed;           /* of NBACK_CHAOS */
	uint32_t mtu;            /* in the front end's directory; 0: key not written */
};

struct nback_counts {
	uint64_t tx_frames, tx_bytes, tx_slots, tx_gso, tx_blank, tx_valid, rx_frames, rx_slots;
	uint32_t most_slots;                 /* of a frame */
	uint32_t tx_bytes_of_gso_size;       /* gso_size of the last GSO frame */
	uint32_t connects, complaints, queues, events, notifies, rx_posted;
	uint32_t staged, staged_hits, staged_misses;
	uint32_t groups;                     /* on the list now */
	uint32_t adds, dels, hash_types, hash_key_sum, hash_map[128], nr_hash_map;
	bool split, sg, gso, csum6, no_csum4, multicast, ctrl;
	char complaint[160];
	uint32_t last_len;
	uint8_t last[70000];                 /* opt.sink: the last frame */
};

struct nback;

/* Make the device (as domain 0 of the fabric at dir, or of Xen if that is "xen") and serve it. */
int nback_start(struct nback **out, const char *dir, uint32_t front, uint32_t devid, const struct nback_options *opt,
		struct pvb_error *err);
void nback_kill(struct nback *nb);             /* as if killed; the store stays as it is.  NULL is fine */
void nback_remove(struct nback *nb, bool graceful);
void nback_remake(struct nback *nb);
void nback_go(struct nback *nb);
void nback_release(struct nback *nb);
void nback_state(struct nback *nb, unsigned state);
void nback_close(struct nback *nb);            /* 5, then 6 with the front end; online stays 1 */
void nback_reopen(struct nback *nb, const struct nback_options *opt); /* 2 again, with other options if not NULL */
void nback_key(struct nback *nb, const char *key, const char *value);       /* the back end's directory */
void nback_front_key(struct nback *nb, const char *key, const char *value); /* the front end's */
void nback_lie(struct nback *nb, enum nback_lie lie);
void nback_storm(struct nback *nb, unsigned events);
/* A frame for the guest on a queue; blank/gso as in netif.h (gso 0, 1 or 2). */
void nback_inject(struct nback *nb, unsigned queue, const void *frame, size_t len, bool blank, unsigned gso,
		  uint16_t gso_size);
void nback_counts(struct nback *nb, struct nback_counts *c);
#endif
