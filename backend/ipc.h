/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_IPC_H
#define PVB_BACKEND_IPC_H
/* Between the supervisor and a worker: a SOCK_SEQPACKET pair, one struct a message, descriptors
 * beside it.
 *
 * Trust    The worker talks to a hostile guest and may have been taken over: the supervisor checks what it
 *          says like any peer's words (texts are terminated and cleaned, numbers are shown and published
 *          only in range, an unexpected message ends the worker).  The worker trusts the supervisor.
 * Blocking Neither side waits for the other.  A worker that lets its socket fill up is killed.
 */
#include <stdint.h>
#include "block/blkif.h"
#include "console/setup.h"
#include "net/netif.h"

#define IPC_MAX_FDS (2 + PORT_MAX_FDS)
#define IPC_TARGET_MAX 3072

enum ipc_type {
	/* supervisor to worker */
	IPC_ATTACH = 1,     /* open a disk or port.  fds: statistics memfd, then the provider's or port's */
	IPC_CONNECT,        /* connect its rings.  fds: the journals, one memfd, a queue after the other */
	IPC_DISCONNECT,     /* let go of the rings; answered by IPC_DISCONNECTED */
	IPC_DETACH,         /* close the device (disconnected) */
	IPC_RESUME,         /* try held requests now */
	IPC_POLICY,         /* change one error policy */
	IPC_REFRESH,        /* look at the size */
	IPC_NIC,            /* nic: what has changed while connected */
	/* worker to supervisor */
	IPC_HELLO,          /* in the sandbox, ready */
	IPC_ATTACHED,       /* rc; info or text */
	IPC_CONNECTED,      /* rc; text */
	IPC_DISCONNECTED,
	IPC_BROKEN,         /* text: the front end broke the protocol */
	IPC_REFUSED,        /* text, num: more that were not told */
	IPC_ALARM,          /* text; empty: over */
	IPC_RESIZED,        /* info */
	IPC_STALLED,        /* num: 1 the guest takes nothing, 0 again something */
	IPC_NR,
	/* supervisor to the process that serves a console (console/worker.h) */
	IPC_CON_START,      /* con.  fds: statistics memfd, then each end's that has one */
	IPC_CON_GIVE,       /* devid: end, num: size, fd: what it asked for, or none */
	/* and back */
	IPC_CON_UP,         /* rc; text */
	IPC_CON_BROKEN,     /* text: the guest broke the protocol */
	IPC_CON_DIAL,       /* devid: end */
	IPC_CON_ROTATE,     /* devid: end */
	IPC_CON_LOG,        /* devid: end; text: it can not be written */
};
enum ipc_class { IPC_VBD, IPC_VIF, IPC_NR_CLASSES };

union ipc_connect {
	struct blk_connect blk;
	struct nif_connect nif;
};

struct ipc_msg {
	uint32_t type;
	uint32_t class;              /* the device: kind, domain, number */
	uint32_t domid, devid;
	int32_t rc;
	uint32_t nr_fds;             /* of IPC_ATTACH: without the first */
	uint64_t num;
	union {
		struct {
			struct blk_config cfg;
			bool direct_io_safe; /* the toolstack's key; the target does not say it */
			char target[IPC_TARGET_MAX];
		} attach;
		struct {
			struct nif_config cfg;
			uint32_t queues;     /* at most */
			char ifname[32];
			char target[IPC_TARGET_MAX];
		} attach_nic;
		struct { struct nif_rate tx, rx; uint32_t multicast; } nic;
		union ipc_connect connect;
		struct disk_info info;
		struct { uint32_t cls, policy; } policy;
		struct con_setup con;
		char text[240];
	} u;
};

/* 0, -EAGAIN (full), or -errno.  fds may be NULL; they stay the caller's. */
int ipc_send(int sock, const struct ipc_msg *m, const int *fds, unsigned nr_fds);
/* 1 = one message, 0 = nothing there, -ECONNRESET at the end, or -errno.  fds (close-on-exec) are the
 * caller's to close. */
int ipc_recv(int sock, struct ipc_msg *m, int fds[IPC_MAX_FDS], unsigned *nr_fds);
void ipc_close_fds(int *fds, unsigned nr);
/* The file that both sides share behind a descriptor; no more of it is in memory than is used.  NULL: errno says why. */
void *ipc_map(int fd, size_t bytes);
#endif
