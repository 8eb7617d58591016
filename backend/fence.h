/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_FENCE_H
#define PVB_BACKEND_FENCE_H
/* The fence between a worker that died and the next: what the dead one has handed to an io_uring, or has mapped, goes on after its
 * death, and waiting for the process does not wait for that.  But each such request holds the open file description that
 * it came from, and a description's locks go when the last holder has.  So each worker gets descriptions of its own, with
 * a lock on a byte that stands for its device; while that is there, writes may still land.
 *
 * Locks    are OFD locks (fcntl(2)), read locks, as the file may be open for reading only.
 * Errors   A file system without locks fences nothing, and is no error. */
#include <stdbool.h>
#include <sys/types.h>

/* The same file once more, for a worker, with its lock; a socket is shared, as who is at its other end must see to it.  Or -errno. */
int fence_fd(int fd, off_t byte);
/* Is nobody left who came by the file by fence_fd() with this byte? */
bool fence_open(int fd, off_t byte);
#endif
