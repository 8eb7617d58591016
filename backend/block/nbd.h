/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_NBD_H
#define PVB_BACKEND_BLOCK_NBD_H
/* Disks behind an NBD server: a socket made in the supervisor (nbd-prepare.c), or a qemu-nbd started there for
 * images that are not raw (qemu.c), and the client in the worker (nbd.c).
 *
 * Descriptors  fds[0] the socket, maybe still connecting; fds[1], qemu-nbd only: its standard error.
 * Loss         When the server goes, requests in flight and all later ones fail with -ENOTCONN: a sandboxed
 *              worker can make no new socket.  The disk comes back when it is opened anew.
 */
#include "backend/provider.h"

int nbd_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		struct pvb_error *err);
int qemu_check(const struct target *t, bool readonly, struct pvb_error *err);
int qemu_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err);
#endif
