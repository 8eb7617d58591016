/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD client, over libnbd, driven by the worker's loop.
 *
 * libnbd calls back with its handle locked, and who hears that a request is done may send the next one: so
 * callbacks only collect, and finish() tells when the handle is free again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/aio.h"
#include "backend/block/e512.h"
#include "backend/block/nbd.h"
#include "backend/block/nbd-lib.h"
#include "backend/target.h"

#define OPEN_MS 30000                /* a server that has not answered by then is none */
#define TRIM_MAX (1ULL << 30)        /* the protocol's length has 32 bits */
#define DATA_MIN (1U << 20)          /* what a server must take in one request */

struct nbd {
	struct disk disk;
	struct nbd_handle *h;
	enum { CONNECTING, HANDSHAKE, READY, LOST } state;
	int sock;                    /* until libnbd has it */
	int log_fd;                  /* qemu-nbd's standard error; held open as long as it shall live */
	bool readonly;
	char *text;                  /* of the target */
	struct pvb_source *src, *timer;
	uint64_t max_data;
	bool odd;
	struct e512 e512;
	struct bio *finished, **last_finished;
};

/* --- telling ---------------------------------------------------------------------------------------- */

static bool finish(struct nbd *n)
{
	bool any = n->finished;
	struct bio *bio;

	while ((bio = n->finished)) {
		n->finished = bio->next;
		if (!n->finished)
			n->last_finished = &n->finished;
		if (bio->result)
			bio_fail(bio, bio->result);
		else
			bio_done(bio, 0);
	}
	return any;
}

/* What the helper had to say last, or "". */
static void last_words(struct nbd *n, char *text, size_t size)
{
	char buf[2048], *line;
	ssize_t r = n->log_fd >= 0 ? read(n->log_fd, buf, sizeof(buf) - 1) : -1;

	text[0] = 0;
	if (r <= 0)
		return;
	while (r > 0 && buf[r - 1] == '\n')
		r--;
	buf[r] = 0;
	line = strrchr(buf, '\n');
	snprintf(text, size, ": %.*s", 150, line ? line + 1 : buf);
}

static void drop_sources(struct nbd *n)
{
	pvb_source_free(&n->src);
	pvb_source_free(&n->timer);
}

/* The disk may be gone on return. */
static void open_failed(struct nbd *n, int rc, const char *why)
{
	struct pvb_error err;
	char helper[160];

	drop_sources(n);
	n->state = LOST;
	last_words(n, helper, sizeof(helper));
	pvb_err(&err, rc, "%s: %s%s", n->text, why, helper);
	disk_ready(&n->disk, rc, &err);
}

static void too_late(void *arg)
{
	open_failed(arg, -ETIMEDOUT, "the NBD server does not answer");
}

static void submit_aligned(struct disk *disk, struct bio **bios, unsigned nr);

/* --- opening ---------------------------------------------------------------------------------------- */

static uint32_t power_of_two(int64_t n, uint32_t min, uint32_t max)
{
	return n >= min && n <= max && !(n & (n - 1)) ? (uint32_t)n : 0;
}

/* The server's answers are a peer's: believed only as far as they make sense. */
static const char *read_info(struct nbd *n)
{
	struct disk_info *info = &n->disk.info;
	int64_t size = nbd_lib.get_size(n->h), block = nbd_lib.get_block_size(n->h, LIBNBD_SIZE_MINIMUM);
	int64_t preferred = nbd_lib.get_block_size(n->h, LIBNBD_SIZE_PREFERRED);
	int64_t max = nbd_lib.get_block_size(n->h, LIBNBD_SIZE_MAXIMUM);
	uint32_t unit;

	if (block < 512)
		block = 512;
	unit = power_of_two(block, 512, 65536);
	if (!unit)
		return "the server's smallest block is no power of two up to 65536";
	if (max > 0 && max < DATA_MIN)
		return "the server takes less than 1 MiB in one request";
	if (size < (int64_t)unit)
		return "the export is smaller than a block";
	if (!n->readonly && nbd_lib.is_read_only(n->h) > 0)
		return "the export is read-only and the guest is to write to it";
	n->max_data = max > 0 ? (uint64_t)max : 32 << 20;
	info->size = (uint64_t)size - (uint64_t)size % unit;
	info->physical_block = power_of_two(preferred, unit, 4096);
	if (!info->physical_block)
		info->physical_block = unit;
	info->flush = nbd_lib.can_flush(n->h) > 0;
	info->linear = true;
	if (nbd_lib.can_trim(n->h) > 0) {
		info->discard_granularity = info->physical_block;
		info->max_discard = TRIM_MAX;
	}
	n->odd = e512_needed(unit, 512);
	if (n->odd)
		e512_init(&n->e512, &n->disk, unit, 512, submit_aligned);
	return NULL;
}

static void watch(struct nbd *n)
{
	unsigned dir = nbd_lib.aio_get_direction(n->h);

	if (n->src)
		pvb_source_events(n->src, (dir & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0) |
				  (dir & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0));
}

static bool is_lost(struct nbd *n)
{
	return nbd_lib.aio_is_dead(n->h) || nbd_lib.aio_is_closed(n->h);
}

/* After the handle has moved: has its state, too?  The disk may be gone on return. */
static void moved(struct nbd *n)
{
	const char *why;

	if (n->state == HANDSHAKE && nbd_lib.aio_is_ready(n->h)) {
		why = read_info(n);
		if (why) {
			open_failed(n, -EINVAL, why);
			return;
		}
		n->state = READY;
		pvb_source_free(&n->timer);
		watch(n);
		disk_ready(&n->disk, 0, NULL);
		return;
	}
	if (n->state == HANDSHAKE && is_lost(n)) {
		why = nbd_lib.get_error();
		open_failed(n, -ENOTCONN, why ? why : "the NBD server has hung up");
		return;
	}
	if (n->state == READY && is_lost(n)) {
		n->state = LOST;
		drop_sources(n);
	}
	watch(n);
}

/* libnbd has the socket from here on, also when it fails. */
static int start_handshake(struct nbd *n)
{
	int sock = n->sock;

	n->sock = -1;
	n->state = HANDSHAKE;
	return nbd_lib.aio_connect_socket(n->h, sock);
}

static void connected(struct nbd *n)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(n->sock, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
		open_failed(n, -(error ? error : EIO), strerror(error ? error : EIO));
		return;
	}
	if (start_handshake(n) && !is_lost(n))
		open_failed(n, -nbd_lib.get_errno(), nbd_lib.get_error());
	else
		moved(n);
}

static void on_event(void *arg, uint32_t events)
{
	struct nbd *n = arg;
	struct aio *aio = n->disk.io->aio;
	unsigned dir;
	bool ready;

	if (n->state == CONNECTING) {
		connected(n);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR)) /* let libnbd find out what it is */
		events |= EPOLLIN | EPOLLOUT;
	dir = nbd_lib.aio_get_direction(n->h);
	if (events & EPOLLIN && dir & LIBNBD_AIO_DIRECTION_READ)
		nbd_lib.aio_notify_read(n->h);
	dir = nbd_lib.aio_get_direction(n->h);
	if (events & EPOLLOUT && dir & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_lib.aio_notify_write(n->h);
	ready = n->state == READY;
	moved(n);
	if (ready && finish(n)) /* else the disk may be gone */
		aio_after(aio);
}

/* --- requests --------------------------------------------------------------------------------------- */

static int completed(void *user_data, int *error)
{
	struct bio *bio = user_data;
	struct nbd *n = (struct nbd *)bio->disk;

	bio->result = -*error;
	bio->next = NULL;
	*n->last_finished = bio;
	n->last_finished = &bio->next;
	return 1; /* libnbd may forget it */
}

static int64_t send_bio(struct nbd *n, struct bio *bio)
{
	nbd_completion_callback cb = { .callback = completed, .user_data = bio };

	switch (bio->op) {
	case BIO_READ:
		return nbd_lib.aio_pread(n->h, bio->iov->iov_base, bio->len, bio->off, cb, 0);
	case BIO_WRITE:
		return nbd_lib.aio_pwrite(n->h, bio->iov->iov_base, bio->len, bio->off, cb, 0);
	case BIO_FLUSH:
		return nbd_lib.aio_flush(n->h, cb, 0);
	default:
		return nbd_lib.aio_trim(n->h, bio->len, bio->off, cb, 0);
	}
}

/* 1 = to be sent; else its result */
static int check_bio(struct nbd *n, const struct bio *bio)
{
	const struct disk_info *info = &n->disk.info;
	bool data = bio->op == BIO_READ || bio->op == BIO_WRITE;

	if (n->state != READY)
		return -ENOTCONN;
	if (!bio_fits(bio, info->size))
		return -EIO;
	if (bio->op == BIO_FLUSH)
		return info->flush ? 1 : 0; /* a server without flush has nothing to flush */
	if (data)
		return bio->len <= n->max_data ? 1 : -EINVAL;
	return bio->op == BIO_DISCARD && info->discard_granularity ? 1 : -EOPNOTSUPP;
}

static void submit_aligned(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct nbd *n = (struct nbd *)disk;

	for (unsigned i = 0; i < nr; i++) {
		struct bio *bio = bios[i];
		int rc = check_bio(n, bio);

		bio->disk = disk;
		if (rc == 1 && send_bio(n, bio) < 0) /* not taken: completed() will not be called */
			rc = nbd_lib.get_errno() ? -nbd_lib.get_errno() : -ENOTCONN;
		if (rc == 0)
			bio_done(bio, 0);
		else if (rc < 0)
			bio_fail(bio, rc);
	}
	if (n->state == READY)
		moved(n);
	finish(n);
}

static void nbd_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct nbd *n = (struct nbd *)disk;

	if (n->odd)
		e512_submit(&n->e512, bios, nr);
	else
		submit_aligned(disk, bios, nr);
}

/* --- life ------------------------------------------------------------------------------------------- */

static void nbd_disk_close(struct disk *disk)
{
	struct nbd *n = (struct nbd *)disk;

	drop_sources(n);
	if (n->h && n->state == READY)
		nbd_lib.aio_disconnect(n->h, 0); /* a server may tell a good end from a lost client */
	if (n->h)
		nbd_lib.close(n->h);
	if (n->sock >= 0)
		close(n->sock);
	if (n->log_fd >= 0)
		close(n->log_fd);
	e512_free(&n->e512);
	free(n->text);
	free(n);
}

static int start(struct nbd *n, const struct target *t, struct pvb_error *err)
{
	const char *export = target_get(t, "export");
	int rc = nbd_lib_load(err);

	if (rc)
		return rc;
	n->text = strdup(t->text);
	n->h = nbd_lib.create();
	if (!n->text || !n->h || nbd_lib.set_export_name(n->h, export ? export : ""))
		return pvb_err(err, -ENOMEM, "%s: %s", t->text, n->text ? nbd_lib.get_error() : "no memory");
	/* writable is what a socket becomes when its connection stands; a Unix one is already */
	rc = pvb_loop_fd(n->disk.io->loop, n->sock, EPOLLOUT, on_event, n, &n->src);
	if (!rc)
		rc = pvb_loop_timer(n->disk.io->loop, OPEN_MS, too_late, n, &n->timer);
	return rc ? pvb_err(err, rc, "%s: %s", t->text, strerror(-rc)) : 0;
}

static int nbd_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		    struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct nbd *n = nr_fds ? calloc(1, sizeof(*n)) : NULL;
	int rc;

	if (!n) {
		fds_close(fds, nr_fds);
		return pvb_err(err, nr_fds ? -ENOMEM : -EINVAL, "%s: %s", t->text,
			       nr_fds ? "no memory" : "descriptors are missing");
	}
	n->disk.prov = provider_find(t->provider);
	n->disk.io = io;
	n->sock = fds[0];
	n->log_fd = nr_fds > 1 ? fds[1] : -1;
	n->readonly = readonly;
	n->last_finished = &n->finished;
	rc = start(n, t, err);
	if (rc) {
		nbd_disk_close(&n->disk);
		return rc;
	}
	*out = &n->disk;
	return 1; /* ready when the server has told the size */
}

static const char *const nbd_keys[] = { "export", NULL };

const struct provider nbd_provider = {
	.name = "nbd",
	.help = "unix:PATH or ADDRESS:PORT   an NBD server's export",
	.keys = nbd_keys, .libnbd = true,
	.prepare = nbd_prepare, .open = nbd_open, .submit = nbd_submit, .close = nbd_disk_close,
};

/* Images that are not raw: the same client, another way to get at a server. */
static const char *const qemu_keys[] = { "cache", NULL };

#define QEMU_PROVIDER(NAME, HELP) \
const struct provider NAME##_provider = { \
	.name = #NAME, .help = "PATH   " HELP ", served by qemu-nbd", .keys = qemu_keys, .libnbd = true, \
	.check = qemu_check, .prepare = qemu_prepare, .open = nbd_open, .submit = nbd_submit, .close = nbd_disk_close, \
}

QEMU_PROVIDER(qcow2, "a QEMU image");
QEMU_PROVIDER(vmdk, "a VMware image");
QEMU_PROVIDER(vhd, "a Virtual PC image");
QEMU_PROVIDER(vhdx, "a Hyper-V image");
QEMU_PROVIDER(vdi, "a VirtualBox image");
