/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's io_uring.  Never looks at what it moves; short transfers are its callers' business. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "backend/aio.h"

/* where a bio keeps what belongs to its stay here */
#define U_FD 2
#define U_FN 3

typedef void aio_fn(struct bio *bio, int res);

struct aio {
	struct pvb_loop *loop;
	bool uring;
	struct io_uring ring;
	int event_fd;                /* the ring says that there is something to collect */
	struct pvb_source *src;
	struct pvb_source *retry;    /* the kernel refused a submission for want of memory */
	struct bio *first, **last;   /* not in the submission queue yet */
	unsigned in_flight;          /* from aio_queue() to fn() */
	bool running;                /* aio_flush() is at work further up the stack */
	void (*after)(void *arg);
	void *after_arg;
};

static void backlog_add(struct aio *aio, struct bio *bio)
{
	bio->next = NULL;
	*aio->last = bio;
	aio->last = &bio->next;
}

static struct bio *backlog_take(struct aio *aio)
{
	struct bio *bio = aio->first;

	if (bio) {
		aio->first = bio->next;
		if (!aio->first)
			aio->last = &aio->first;
	}
	return bio;
}

static void finish(struct aio *aio, struct bio *bio, int res)
{
	aio_fn *fn = (aio_fn *)(uintptr_t)bio->u[U_FN];

	aio->in_flight--;
	fn(bio, res);
}

static bool prepare(struct aio *aio, struct bio *bio)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&aio->ring);
	int fd = (int)bio->u[U_FD];

	if (!sqe)
		return false;
	switch (bio->op) {
	case BIO_READ:
		io_uring_prep_readv(sqe, fd, bio->iov, bio->nr_iov, bio->off);
		break;
	case BIO_WRITE:
		io_uring_prep_writev(sqe, fd, bio->iov, bio->nr_iov, bio->off);
		break;
	case BIO_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	default:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, bio->off, bio->len);
	}
	io_uring_sqe_set_data(sqe, bio);
	return true;
}

static void retry(void *arg)
{
	struct aio *aio = arg;

	aio->retry = NULL;
	aio_flush(aio);
}

/* Submit and refill until there is nothing left or the kernel takes no more. True: nothing left. */
static bool submit_all(struct aio *aio)
{
	int rc;

	do {
		do
			rc = io_uring_submit(&aio->ring);
		while (rc == -EINTR);
		while (aio->first && prepare(aio, aio->first))
			backlog_take(aio);
	} while (rc > 0 && io_uring_sq_ready(&aio->ring));
	return !io_uring_sq_ready(&aio->ring);
}

static void flush_uring(struct aio *aio)
{
	struct bio *bio;

	if (!io_uring_sq_ready(&aio->ring) || submit_all(aio))
		return;
	/* Refused: out of memory, or completions first.  Nothing may come in that would wake us. */
	if (aio->retry || !pvb_loop_timer(aio->loop, 1, retry, aio, &aio->retry))
		return;
	while ((bio = backlog_take(aio)))
		finish(aio, bio, -EAGAIN);
}

static int do_now(struct bio *bio)
{
	int fd = (int)bio->u[U_FD];
	ssize_t r;

	do {
		switch (bio->op) {
		case BIO_READ:
			r = preadv(fd, bio->iov, (int)bio->nr_iov, (off_t)bio->off);
			break;
		case BIO_WRITE:
			r = pwritev(fd, bio->iov, (int)bio->nr_iov, (off_t)bio->off);
			break;
		case BIO_FLUSH:
			r = fdatasync(fd);
			break;
		default:
			r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)bio->off, (off_t)bio->len);
		}
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

void aio_flush(struct aio *aio)
{
	struct bio *bio;

	if (aio->uring) {
		flush_uring(aio);
		return;
	}
	/* fn() may queue and flush again: a loop here, not a stack of calls */
	if (aio->running)
		return;
	aio->running = true;
	while ((bio = backlog_take(aio)))
		finish(aio, bio, do_now(bio));
	aio->running = false;
}

void aio_queue(struct aio *aio, int fd, struct bio *bio, aio_fn *fn)
{
	bio->u[U_FD] = (uint64_t)fd;
	bio->u[U_FN] = (uintptr_t)fn;
	aio->in_flight++;
	if (!aio->uring || aio->first || !prepare(aio, bio)) {
		backlog_add(aio, bio);
		if (aio->uring)
			submit_all(aio);
	}
}

static void reap(void *arg, uint32_t events)
{
	struct aio *aio = arg;
	struct io_uring_cqe *cqe;
	unsigned n = 0;

	io_uring_get_events(&aio->ring);
	while (!io_uring_peek_cqe(&aio->ring, &cqe)) {
		struct bio *bio = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&aio->ring, cqe); /* before fn(), which may look for room */
		finish(aio, bio, res);
		n++;
	}
	if (n)
		aio_after(aio);
	aio_flush(aio);
}

void aio_set_after(struct aio *aio, void (*after)(void *arg), void *arg)
{
	aio->after = after;
	aio->after_arg = arg;
}

void aio_after(struct aio *aio)
{
	if (aio->after)
		aio->after(aio->after_arg);
}

unsigned aio_in_flight(const struct aio *aio)
{
	return aio->in_flight;
}

bool aio_is_async(const struct aio *aio)
{
	return aio->uring;
}

/* liburing declares calls for these two, but up to 2.3 its library lacks them. */
static int ring_register(struct io_uring *ring, unsigned what, void *arg, unsigned nr)
{
	return syscall(__NR_io_uring_register, ring->ring_fd, what, arg, nr) < 0 ? -errno : 0;
}

/* io_uring opens files and sockets past any seccomp filter unless it is told what it may do. */
static int restrict_ring(struct io_uring *ring)
{
	static const unsigned char ops[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction res[sizeof(ops)] = { 0 };

	for (size_t i = 0; i < sizeof(ops); i++) {
		res[i].opcode = IORING_RESTRICTION_SQE_OP;
		res[i].sqe_op = ops[i];
	}
	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, res, sizeof(ops));
}

static int ring_new(struct io_uring *ring, unsigned entries)
{
	/* Completions run at our next system call, not by interrupting.  IORING_SETUP_DEFER_TASKRUN, which waits until they
	 * are asked for, would do as well for us alive; but the ring of a process that was killed collects such ones only
	 * every 50 ms (seen with Linux 6.18), holds the image's file until then, and so our successor waits at the fence. */
	static const unsigned flags[] = { IORING_SETUP_COOP_TASKRUN, 0 };
	int rc = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && rc == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = 4 * entries,
		};

		rc = io_uring_queue_init_params(entries, ring, &params);
	}
	return rc;
}

/* The ring's own descriptor in epoll would do, but it misses completions that are left to run later (Linux
 * 6.18).  After the restriction nothing more can be registered. */
static int ring_start(struct io_uring *ring, int event_fd)
{
	int rc = io_uring_register_eventfd(ring, event_fd);

	if (!rc)
		rc = restrict_ring(ring);
	if (!rc)
		rc = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return rc;
}

static int uring_new(struct aio *aio, unsigned entries)
{
	int rc = ring_new(&aio->ring, entries);

	if (rc) /* none in this kernel, or forbidden: then without, unless it is about resources */
		return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE ? rc : 0;
	aio->uring = true;
	aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aio->event_fd < 0)
		return -errno;
	rc = ring_start(&aio->ring, aio->event_fd);
	/* edge-triggered: nobody has to read the event */
	return rc ? rc : pvb_loop_fd(aio->loop, aio->event_fd, EPOLLIN | EPOLLET, reap, aio, &aio->src);
}

int aio_new(struct aio **out, struct pvb_loop *loop, unsigned entries)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	int rc;

	if (!aio)
		return -ENOMEM;
	aio->loop = loop;
	aio->last = &aio->first;
	aio->event_fd = -1;
	rc = uring_new(aio, entries);
	if (rc) {
		aio_free(aio);
		return rc;
	}
	*out = aio;
	return 0;
}

void aio_free(struct aio *aio)
{
	if (!aio)
		return;
	pvb_source_free(&aio->src);
	pvb_source_free(&aio->retry);
	if (aio->uring)
		io_uring_queue_exit(&aio->ring);
	if (aio->event_fd >= 0)
		close(aio->event_fd);
	free(aio);
}
