/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_AIO_H
#define PVB_BACKEND_AIO_H
/* The worker's one io_uring, for I/O that would block: made before the sandbox closes (io_uring_setup is
 * not allowed afterwards), submitted once per batch, completions from the loop.
 *
 * aio_queue() only writes a submission entry; aio_flush() makes the one system call.  When the queue is
 * full, queueing flushes by itself.  fn() runs from the loop, never from aio_queue(); what it queues is
 * sent when the round of completions is over.  While a bio is here, its next, u[2] and u[3] are in use.
 * The ring is restricted to the five operations below (a sandboxed process could open files through an
 * unrestricted one) and belongs to the thread that made it.
 * Where the kernel has no io_uring, aio_flush() does the I/O in the calling thread and fn() runs from it
 * (aio_is_async() says so, the daemon logs it once).
 */
#include <stdbool.h>
#include "provider.h"

struct aio;
int aio_new(struct aio **out, struct pvb_loop *loop, unsigned entries);
void aio_free(struct aio *aio);
bool aio_is_async(const struct aio *aio);
/* Read, write, flush (fdatasync) or discard (fallocate punch hole) of bio->off/len/iov on fd.  fn(bio, res)
 * gets the system call's result (bytes or -errno). */
void aio_queue(struct aio *aio, int fd, struct bio *bio, void (*fn)(struct bio *bio, int res));
void aio_flush(struct aio *aio);
/* Called once after each round of completions: the protocol answers what came in.  A provider that
 * completes bios from a loop callback of its own (a timer, a socket) ends its round with aio_after(). */
void aio_set_after(struct aio *aio, void (*after)(void *arg), void *arg);
void aio_after(struct aio *aio);
unsigned aio_in_flight(const struct aio *aio);
#endif
