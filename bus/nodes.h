/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_NODES_H
#define PVB_BUS_NODES_H
/* One typed table of store keys per protocol.  Readers, writers, tests, the fuzzer and the man page
 * (pvbus-nodes(7), made from it) all use these tables and nothing else.
 *
 * A reader gives a table and gets an array of values indexed by the table's enum; each value says
 * whether it was there.  A key that is there but not what its type and range say is an error that names
 * path, value and range.
 * Source   xen/include/public/io/blkif.h for vbd, netif.h for vif, console.h for the console; libxl for what the toolstack
 *          writes.
 */
#include <stddef.h>
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of the protocol as we speak it; what a back end offers may be less. */
#define PVB_VBD_MAX_QUEUES 8
#define PVB_VBD_MAX_RING_ORDER 4
#define PVB_VBD_MAX_INDIRECT 256
#define PVB_VIF_MAX_QUEUES 8
#define PVB_VIF_MAX_POOL 512     /* entries of a list page */

enum pvb_key_type {
	PVB_KEY_U32, PVB_KEY_U64, /* decimal */
	PVB_KEY_BOOL,             /* "0" or "1" */
	PVB_KEY_STR,              /* printable text, at most max bytes */
};
enum pvb_key_writer { PVB_BY_TOOL, PVB_BY_BACK, PVB_BY_FRONT };

struct pvb_key {
	const char *name;
	enum pvb_key_type type;
	enum pvb_key_writer writer;
	uint64_t min, max;        /* numbers: range; text: max bytes */
	uint64_t def;             /* numbers: what absence means */
	const char *unit;         /* or NULL */
	const char *help;         /* one line for the man page */
	bool extension;           /* ours, not Xen's: harmless to a stock peer */
};

struct pvb_value {
	bool present;
	uint64_t num;             /* the number, or the default when absent */
	char *str;                /* text keys: malloc'ed; NULL when absent */
};

/* vbd: the back end's directory ... */
enum pvb_vbd_back {
	VBD_B_FRONTEND, VBD_B_FRONTEND_ID, VBD_B_PARAMS, VBD_B_SCRIPT, VBD_B_ONLINE, VBD_B_MODE, VBD_B_DEV,
	VBD_B_TYPE, VBD_B_DEVICE_TYPE, VBD_B_REMOVABLE, VBD_B_BOOTABLE, VBD_B_DIRECT_IO_SAFE,
	VBD_B_DISCARD_ENABLE, VBD_B_PHYSICAL_DEVICE, VBD_B_PHYSICAL_DEVICE_PATH, VBD_B_HOTPLUG_STATUS,
	VBD_B_HOTPLUG_ERROR, VBD_B_STATE, VBD_B_MAX_INDIRECT, VBD_B_MAX_QUEUES, VBD_B_MAX_RING_ORDER,
	VBD_B_FLUSH, VBD_B_BARRIER, VBD_B_DISCARD, VBD_B_DISCARD_GRANULARITY, VBD_B_DISCARD_ALIGNMENT,
	VBD_B_DISCARD_SECURE, VBD_B_PERSISTENT, VBD_B_SECTORS, VBD_B_INFO, VBD_B_SECTOR_SIZE,
	VBD_B_PHYSICAL_SECTOR_SIZE, VBD_B_WRITE_ZEROES, VBD_B_ERROR, VBD_B_ALARM, VBD_B_UUID,
	VBD_B_NR,
};
extern const struct pvb_key pvb_vbd_back[VBD_B_NR];
/* ... the front end's directory (once per device) ... */
enum pvb_vbd_front {
	VBD_F_BACKEND, VBD_F_BACKEND_ID, VBD_F_VIRTUAL_DEVICE, VBD_F_DEVICE_TYPE, VBD_F_TRUSTED, VBD_F_STATE,
	VBD_F_PROTOCOL, VBD_F_NUM_QUEUES, VBD_F_RING_ORDER, VBD_F_PERSISTENT, VBD_F_WRITE_ZEROES, VBD_F_NR,
};
extern const struct pvb_key pvb_vbd_front[VBD_F_NR];
/* ... and per queue, in it or in its queue-<n>: event-channel, ring-ref or ring-ref0..15. */
enum pvb_vbd_queue {
	VBD_Q_EVENT_CHANNEL, VBD_Q_RING_REF, VBD_Q_RING_REF0, VBD_Q_RING_REF15 = VBD_Q_RING_REF0 + 15, VBD_Q_NR,
};
extern const struct pvb_key pvb_vbd_queue[VBD_Q_NR];

/* vif: the same three.  Keys that only other operating systems' scripts read are not listed. */
enum pvb_vif_back {
	VIF_B_FRONTEND, VIF_B_FRONTEND_ID, VIF_B_ONLINE, VIF_B_SCRIPT, VIF_B_MAC, VIF_B_IP, VIF_B_BRIDGE,
	VIF_B_VIFNAME, VIF_B_GATEWAYDEV, VIF_B_RATE, VIF_B_RX_RATE, VIF_B_MTU, VIF_B_VLAN, VIF_B_HANDLE, VIF_B_TYPE,
	VIF_B_PORT,
	VIF_B_HOTPLUG_STATUS, VIF_B_HOTPLUG_ERROR, VIF_B_STATE, VIF_B_SG, VIF_B_GSO4, VIF_B_GSO6,
	VIF_B_CSUM6, VIF_B_RX_COPY, VIF_B_RX_FLIP, VIF_B_MULTICAST, VIF_B_DYNAMIC_MULTICAST,
	VIF_B_SPLIT_EVENTS, VIF_B_MAX_QUEUES, VIF_B_CTRL_RING, VIF_B_CARRIER, VIF_B_PAIR, VIF_B_ERROR, VIF_B_NR,
};
extern const struct pvb_key pvb_vif_back[VIF_B_NR];
enum pvb_vif_front {
	VIF_F_BACKEND, VIF_F_BACKEND_ID, VIF_F_HANDLE, VIF_F_MAC, VIF_F_MTU, VIF_F_TRUSTED, VIF_F_PAIR, VIF_F_STATE,
	VIF_F_NUM_QUEUES, VIF_F_RX_COPY, VIF_F_RX_NOTIFY, VIF_F_SG, VIF_F_GSO4, VIF_F_GSO6, VIF_F_NO_CSUM4,
	VIF_F_CSUM6, VIF_F_REQUEST_MULTICAST, VIF_F_CTRL_RING_REF, VIF_F_EVENT_CHANNEL_CTRL, VIF_F_NR,
};
extern const struct pvb_key pvb_vif_front[VIF_F_NR];
/* Either both of event-channel-tx and -rx, or event-channel for both directions. */
enum pvb_vif_queue {
	VIF_Q_TX_RING_REF, VIF_Q_RX_RING_REF, VIF_Q_EVENT_CHANNEL, VIF_Q_EVENT_CHANNEL_TX, VIF_Q_EVENT_CHANNEL_RX,
	VIF_Q_TX_POOL_REF, VIF_Q_TX_POOL_SIZE, VIF_Q_RX_POOL_REF, VIF_Q_RX_POOL_SIZE, VIF_Q_NR,
};
extern const struct pvb_key pvb_vif_queue[VIF_Q_NR];

/* console: the primary one, which has no states; both directories are the toolstack's. */
enum pvb_con_back {
	CON_B_FRONTEND, CON_B_FRONTEND_ID, CON_B_ONLINE, CON_B_STATE, CON_B_PROTOCOL, CON_B_SERVE, CON_B_ERROR, CON_B_NR,
};
extern const struct pvb_key pvb_con_back[CON_B_NR];
enum pvb_con_front {
	CON_F_BACKEND, CON_F_LIMIT, CON_F_TYPE, CON_F_OUTPUT, CON_F_TTY, CON_F_PORT, CON_F_RING_REF, CON_F_NR,
};
extern const struct pvb_key pvb_con_front[CON_F_NR];

/* Read all keys of a table below dir.  Missing keys are not an error here.  values[nr] is filled
 * completely on success and empty on failure; free with pvb_nodes_free(). */
int pvb_nodes_read(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *table, unsigned nr,
		   struct pvb_value *values, struct pvb_error *err);
/* The same, as if none were there but those in `which`, a sum of PVB_NODE(index): who is not going to look at a key saves a
 * round trip.  Keys from the 65th on are always read. */
#define PVB_NODE(i) (UINT64_C(1) << (i))
int pvb_nodes_read_some(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *table, unsigned nr,
			uint64_t which, struct pvb_value *values, struct pvb_error *err);
void pvb_nodes_free(struct pvb_value *values, unsigned nr);
/* Check one text against a key (what read does): fills *value. */
int pvb_nodes_parse(const struct pvb_key *key, const char *text, struct pvb_value *value, struct pvb_error *err);
/* Write one key below dir; -ERANGE or -EINVAL when the value is not what the table says. */
int pvb_nodes_write_u64(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *key, uint64_t v);
int pvb_nodes_write_str(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_key *key, const char *v);
/* One row of the man page: name, type with range, unit, default, who writes it, help; cut to len. */
void pvb_nodes_row(const struct pvb_key *key, char *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
