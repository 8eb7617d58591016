/* SPDX-License-Identifier: MIT */
#ifndef PVB_PVNIC_H
#define PVB_PVNIC_H
/* libpvfront: network front ends in user space.  The NICs of a domain, beside its disks (pvfront.h).
 *
 * Trust    The back end is not trusted.  Each response is copied once; an id that is not outstanding, an offset or
 *          size outside the page, an unknown status, a malformed extra info or a producer that jumped makes the NIC
 *          dead (PVF_DEAD), with one sentence in pvf_nic_error().  Offload that does not fit the frame's headers
 *          costs that frame only.  Memory shared with the back end is whole zeroed pages that never held anything
 *          but frames of this NIC.
 * Frames   Ethernet without FCS, VLAN tags in the bytes, 14 to pvf_nic_info.max_frame bytes.
 * Copies   One in each direction: frames are copied into granted pages when sent; when received they are shown
 *          where they lie, except for the first PVF_NIC_HDR bytes, which are private.
 * Memory   Bounded: tx_pages and rx_pages of each queue and a few tables.  Nothing is queued in between.
 * Threads  A guest, its devices and its loop belong to one thread.
 * Calls    Everything is asynchronous; callbacks come from the loop (or from pvf_nic_poll()).  They may send and
 *          kick, but must not free the NIC or the guest.
 * Errors   0 or -errno, words in a struct pvb_error or pvf_nic_error().  Never logs.
 * Source   xen/io/netif.h; the keys are those of nodes.h.
 */
#include <sys/uio.h>
#include "pvfront.h"

#define PVF_NIC_MAX_QUEUES  8u
#define PVF_NIC_PAGES     256u   /* default of tx_pages and rx_pages, and the most: a ring has 256 slots */
#define PVF_NIC_HDR       192u   /* bytes of a received frame that are private */
#define PVF_NIC_MAX_SLOTS  18u   /* pieces of a frame */
#define PVF_NIC_MAX_MCAST  64u
#define PVF_NIC_MAX_HASH_MAP 128u

/* What the checksum and segmentation fields of a virtio_net_hdr say, in the words of netif.h. */
enum pvf_gso { PVF_GSO_NONE, PVF_GSO_TCP4, PVF_GSO_TCP6 };

struct pvf_offload {
	bool csum_blank;         /* the L4 checksum field holds the pseudo header's sum: somebody has to finish it */
	bool csum_valid;         /* the data is known to be good */
	uint8_t gso;             /* enum pvf_gso; then csum_blank is true */
	uint16_t gso_size;       /* TCP payload bytes of a segment */
	uint16_t csum_start;     /* with csum_blank: sum from here to the end ... */
	uint16_t csum_offset;    /* ... and put it so many bytes after csum_start */
	uint16_t hdr_len;        /* with gso, received: all headers */
	uint8_t hash_type;       /* received: XEN_NETIF_CTRL_HASH_TYPE_* bit, 0 = no hash */
	uint32_t hash;
};

struct pvf_frame {
	const struct iovec *iov; /* iov[0]: the first min(len, PVF_NIC_HDR) bytes, private.  The rest lies in memory
				  * that the back end can still write: read each byte once. */
	unsigned nr;
	uint32_t len;
	struct pvf_offload off;
};

/* Which received flows have a hash, and which queue they come on; NULL in the options: the back end's business. */
struct pvf_hash {
	uint32_t types;          /* XEN_NETIF_CTRL_HASH_TYPE_* bits wanted */
	uint8_t key[40];         /* of the Toeplitz function */
	unsigned nr_map;         /* queue = map[hash % nr_map]; 0: hash % queues */
	uint8_t map[PVF_NIC_MAX_HASH_MAP]; /* taken modulo the queues there are */
};

struct pvf_nic;

struct pvf_nic_options {
	unsigned queues;         /* wanted at most; 0 = 1 */
	unsigned tx_pages, rx_pages; /* per queue, at most PVF_NIC_PAGES; 0 = that.  Fewer when the domain has no more.
				      * With fewer than 20 of either a frame in that direction must fit one page. */
	bool no_split;           /* one event channel for both directions */
	bool no_sg;              /* frames of one page only; implies no_gso */
	bool no_csum;            /* all checksums whole in both directions; implies no_gso */
	bool no_gso;
	bool staging;            /* ask the back end to keep our pages mapped (control ring) */
	bool multicast;          /* receive only the groups of pvf_nic_multicast(), if the back end can */
	bool polled;             /* never ask for events: the owner calls pvf_nic_poll() */
	const struct pvf_hash *hash; /* copied */
	/* Any may be NULL. */
	void (*changed)(void *arg, struct pvf_nic *nic);  /* phase, carrier or MTU changed */
	void (*receive)(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *frame);
	void (*room)(void *arg, struct pvf_nic *nic, unsigned queue); /* after -EAGAIN: worth trying again */
	void *arg;
};

struct pvf_nic_info {
	uint8_t mac[6];
	bool carrier;
	uint32_t mtu;            /* of the key, less if the back end takes no large frames */
	uint32_t generation;     /* of the device: another number, another NIC */
	uint32_t queues, ring_slots, tx_pages, rx_pages;
	uint32_t max_frame;      /* that can be sent */
	bool split;
	bool sg, csum4, csum6, gso4, gso6; /* may be sent; a blank checksum is otherwise filled in here */
	bool rx_sg, rx_csum, rx_gso;       /* may be received */
	bool multicast;          /* the back end filters by our list */
	bool ctrl;               /* there is a control ring */
	uint32_t staged;         /* pages the back end keeps mapped, of all queues */
	uint32_t hash_types;     /* in force */
};

struct pvf_nic_stats {
	uint64_t tx_frames, tx_bytes, tx_slots, tx_gso, tx_csum_blank;
	uint64_t tx_csum_filled;             /* blank checksums finished here */
	uint64_t tx_full;                    /* times there was no room */
	uint64_t tx_errors, tx_dropped;      /* frames the back end answered so */
	uint64_t tx_lost;                    /* sent and not answered when the connection ended */
	uint64_t rx_frames, rx_bytes, rx_slots, rx_gso, rx_csum_blank, rx_hashed;
	uint64_t rx_errors;                  /* the back end reported an error in place of data */
	uint64_t rx_bad;                     /* too short, or offload that does not fit the headers: dropped */
	uint64_t mcast_refused;              /* groups the back end would not take */
	uint64_t pushes, notifies;           /* batches shown to the back end; of these with a notify */
	uint64_t events, spurious;           /* received; of these without a response */
	uint64_t connects;
};

/* Take the vif `devid` of our domain and start to connect it.  -ENOENT: no such device.  Phases as a disk's; a NIC that
 * was live once is connected again when its back end comes back.  Returns at once. */
int pvf_nic_open(struct pvf_nic **out, struct pvf_guest *guest, uint32_t devid, const struct pvf_nic_options *opt,
		 struct pvb_error *err);
/* Run the loop until the NIC is live.  -ETIMEDOUT, or why it will not be: -ENODEV, -EPROTO, ... */
int pvf_nic_wait(struct pvf_nic *nic, int timeout_ms, struct pvb_error *err);
/* Begin to close for good.  What was sent and not answered may be lost: see pvf_nic_in_flight(). */
void pvf_nic_stop(struct pvf_nic *nic);
/* stop, then run the loop until the NIC is at rest, at most timeout_ms; false: it is not. */
bool pvf_nic_down(struct pvf_nic *nic, int timeout_ms);
/* down, then free.  Pages the back end still maps are leaked.  NULL and *nic == NULL are fine. */
void pvf_nic_close(struct pvf_nic **nic, int timeout_ms);

enum pvf_phase pvf_nic_phase(const struct pvf_nic *nic);
uint32_t pvf_nic_devid(const struct pvf_nic *nic);
/* Valid while LIVE, afterwards the last values. */
const struct pvf_nic_info *pvf_nic_info(const struct pvf_nic *nic);
void pvf_nic_stats(const struct pvf_nic *nic, struct pvf_nic_stats *stats);
/* Why the NIC is not live: text is empty while there is nothing to say. */
const struct pvb_error *pvf_nic_error(const struct pvf_nic *nic);

/* Copy a frame into the ring of `queue` (taken modulo info.queues); the back end is not told before pvf_nic_kick() (or
 * the end of the callback we are in).  off may be NULL.  A checksum that the back end could not finish (its kind is not
 * offered, or the place is not that of the frame's own TCP or UDP header) is finished here.
 * -EAGAIN no room: room() will be called; -ENOTCONN; -EMSGSIZE; -EINVAL offload that does not fit the frame;
 * -EOPNOTSUPP GSO that is not offered. */
int pvf_nic_send(struct pvf_nic *nic, unsigned queue, const struct iovec *iov, unsigned nr,
		 const struct pvf_offload *off);
/* Show the back end what was sent: one push and at most one notify per ring. */
void pvf_nic_kick(struct pvf_nic *nic);
/* Take what the back end has put on this queue, without waiting; number of slots, or -EPROTO. */
int pvf_nic_poll(struct pvf_nic *nic, unsigned queue);
/* Frames sent and not answered. */
uint32_t pvf_nic_in_flight(const struct pvf_nic *nic);

/* The groups to receive, in place of the earlier ones; kept over reconnects.  -EINVAL: not group addresses; -E2BIG.
 * If the back end refuses one of them, and can be told so, it is asked for all multicast. */
int pvf_nic_multicast(struct pvf_nic *nic, const uint8_t (*groups)[6], unsigned nr);
#endif
