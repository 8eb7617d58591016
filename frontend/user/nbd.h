/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVF_NBD_H
#define PVF_NBD_H
/* An NBD server (fixed newstyle, simple replies) whose exports are disks of ours: what lets ordinary tools
 * read and write through a ring.
 *
 * Trust    A client is not trusted: every length, flag, option and offset is checked against the protocol and
 *          the disk before use; a client that breaks the framing is disconnected, one that only asks for the
 *          wrong thing gets an error reply.  What a client can occupy is bounded: connections, commands and
 *          buffer pages per connection; who reads no replies is not read from.
 * Data     Payloads are received into, and sent from, pages granted to the back end: no copy of ours, except
 *          what arrives in the same read() as the header before it.
 * Order    Replies in the order of completion.  A flush covers all writes answered before, on all connections.
 * Threads  The loop's.  Errors 0 or -errno and a pvb_error.  Never logs.
 * Source   the NBD project's doc/proto.md.
 */
#include "pvfront.h"

struct nbd_server;

struct nbd_limits {
	unsigned connections;    /* 0 = 16 */
	size_t buffer; /* bytes of buffer per connection; 0 = 4 MiB.  Longer reads and writes than half of it (up
			* to 32 MiB) are copied, one at a time */
};

/* Listen on a Unix socket, mode 0600.  A socket nobody listens on is replaced; anything else at path is -EEXIST. */
int nbd_server_new(struct nbd_server **out, struct pvb_loop *loop, const char *path, const struct nbd_limits *limits,
		   struct pvb_error *err);
/* The first export is also the default one (name ""). name is copied. */
int nbd_server_export(struct nbd_server *srv, const char *name, struct pvf_disk *disk);
/* To be called from the disk's `changed`: clients of a disk that is no longer the same one are disconnected. */
void nbd_server_changed(struct nbd_server *srv, struct pvf_disk *disk);
/* Accept nobody any more and take no further command. */
void nbd_server_stop(struct nbd_server *srv);
/* No command is being carried out and every reply was sent (or its client is gone). */
bool nbd_server_idle(const struct nbd_server *srv);
/* Disconnect everybody, remove the socket; commands must not be in flight (their disk is at rest).  NULL is fine. */
void nbd_server_free(struct nbd_server *srv);

struct nbd_stats {
	unsigned connections;    /* now */
	uint64_t accepted, refused, commands, errors, bytes_in, bytes_out, bytes_copied;
};
void nbd_server_stats(const struct nbd_server *srv, struct nbd_stats *stats);
#endif
