/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_NBD_LIB_H
#define PVB_BACKEND_BLOCK_NBD_LIB_H
/* libnbd, loaded when it is wanted.  With it come twenty other libraries (TLS, XML and what those need): 600 KiB that a
 * process can not share, and most of the time that it takes to start.  Workers without such a disk do without.
 *
 * The sandbox opens no files, so a worker that is to serve such a disk loads it before (worker.h, `nbd`). */
#include <libnbd.h>
#include "bus/error.h"

#define NBD_LIB_CALLS(X) \
	X(create) X(close) X(set_export_name) X(get_size) X(get_block_size) X(is_read_only) \
	X(can_flush) X(can_trim) X(get_error) X(get_errno) X(aio_connect_socket) X(aio_disconnect) \
	X(aio_get_direction) X(aio_notify_read) X(aio_notify_write) X(aio_is_ready) X(aio_is_dead) X(aio_is_closed) \
	X(aio_pread) X(aio_pwrite) X(aio_flush) X(aio_trim)

#define NBD_LIB_MEMBER(name) __typeof__(nbd_##name) *name;
struct nbd_lib { NBD_LIB_CALLS(NBD_LIB_MEMBER) };
#undef NBD_LIB_MEMBER
extern struct nbd_lib nbd_lib;       /* nbd_lib.create() is nbd_create() */

/* 0 also when it is there already; -ENOENT with the linker's words. */
int nbd_lib_load(struct pvb_error *err);
#endif
