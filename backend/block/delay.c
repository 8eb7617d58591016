/* SPDX-License-Identifier: GPL-2.0-or-later */
/* delay=OP:TIME - each request of kind OP waits before it goes to the disk below.  One timerfd wakes for the
 * earliest; requests of one kind keep their order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "backend/aio.h"
#include "backend/block/block.h"
#include "backend/target.h"

#define DELAY_MAX_NS (3600ULL * 1000 * 1000 * 1000)
#define U_DUE 0                      /* bio->u: when, CLOCK_MONOTONIC ns */
#define BATCH 64

struct queue {
	struct bio *first, **last;   /* by due time: all in one queue wait equally long */
};

struct delay {
	struct disk disk;
	int fd;
	struct pvb_source *src;
	uint64_t armed;              /* due time the timer is set to, 0 = off */
	uint64_t wait_ns[BIO_NR_OPS];
	struct queue queues[BIO_NR_OPS];
};

static int parse_time(const char *text, uint64_t *ns)
{
	static const struct { const char *name; uint64_t ns; } units[] = {
		{ "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 },
	};
	size_t digits = strspn(text, "0123456789");
	uint64_t n;

	if (!digits || digits > 9)
		return -EINVAL;
	n = strtoull(text, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(text + digits, units[i].name)) {
			*ns = n * units[i].ns;
			return *ns <= DELAY_MAX_NS ? 0 : -ERANGE;
		}
	return -EINVAL;
}

static int parse_delays(const struct target *t, uint64_t wait_ns[BIO_NR_OPS], struct pvb_error *err)
{
	for (unsigned i = 0; i < t->nr_options; i++) {
		const char *value = t->options[i].value, *time;
		uint64_t ns;
		unsigned ops;

		if (strcmp(t->options[i].key, "delay"))
			continue;
		time = parse_bio_ops(value, &ops);
		if (!time)
			return pvb_err(err, -EINVAL, "delay=%s: OP:TIME with OP read, write, flush, discard, "
				       "secure-discard or all", value);
		if (parse_time(time, &ns))
			return pvb_err(err, -EINVAL, "delay=%s: \"%s\" is not a time up to 3600s (250us, 10ms, 1s)",
				       value, time);
		for (int op = 0; op < BIO_NR_OPS; op++)
			if (ops & 1U << op)
				wait_ns[op] = ns;
	}
	return 0;
}

static int delay_prepare(const struct target *t, bool readonly, int *fds, unsigned *nr_fds, char identity[64],
			 struct pvb_error *err)
{
	uint64_t wait_ns[BIO_NR_OPS];

	return parse_delays(t, wait_ns, err);
}

static void arm(struct delay *d)
{
	struct itimerspec when = { { 0 } };
	uint64_t due = 0;

	for (int op = 0; op < BIO_NR_OPS; op++) {
		struct bio *bio = d->queues[op].first;

		if (bio && (!due || bio->u[U_DUE] < due))
			due = bio->u[U_DUE];
	}
	if (due == d->armed)
		return;
	d->armed = due;
	when.it_value.tv_sec = (time_t)(due / 1000000000);
	when.it_value.tv_nsec = (long)(due % 1000000000);
	timerfd_settime(d->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Up to BATCH bios that have waited long enough. */
static unsigned take_due(struct delay *d, uint64_t now, struct bio **bios)
{
	unsigned nr = 0;

	for (int op = 0; op < BIO_NR_OPS; op++) {
		struct queue *q = &d->queues[op];

		while (nr < BATCH && q->first && q->first->u[U_DUE] <= now) {
			bios[nr++] = q->first;
			q->first = q->first->next;
			if (!q->first)
				q->last = &q->first;
		}
	}
	return nr;
}

static void expired(void *arg, uint32_t events)
{
	struct delay *d = arg;
	struct aio *aio = d->disk.io->aio;
	struct bio *bios[BATCH];
	uint64_t times, now = pvb_now_ns();
	unsigned nr;

	if (read(d->fd, &times, sizeof(times)) < 0 && errno == EAGAIN)
		return;
	d->armed = 0;
	while ((nr = take_due(d, now, bios)))
		disk_submit(d->disk.next, bios, nr);
	arm(d);
	aio_after(aio);
}

static void delay_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct delay *d = (struct delay *)disk;
	struct disk *next = disk->next;
	uint64_t now = pvb_now_ns();
	unsigned start = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct bio *bio = bios[i];
		struct queue *q = &d->queues[bio->op];

		if (!d->wait_ns[bio->op])
			continue;
		if (i > start)
			disk_submit(next, bios + start, i - start);
		start = i + 1;
		bio->u[U_DUE] = now + d->wait_ns[bio->op];
		bio->next = NULL;
		*q->last = bio;
		q->last = &bio->next;
	}
	if (nr > start)
		disk_submit(next, bios + start, nr - start);
	arm(d);
}

static void delay_inherit(struct disk *disk)
{
	disk->info = disk->next->info;
}

static void delay_close(struct disk *disk)
{
	struct delay *d = (struct delay *)disk;

	pvb_source_free(&d->src);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static int delay_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		      struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct delay *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return pvb_err(err, -ENOMEM, "delay: no memory");
	d->disk.prov = &delay_provider;
	d->disk.io = io;
	for (int op = 0; op < BIO_NR_OPS; op++)
		d->queues[op].last = &d->queues[op].first;
	d->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	rc = d->fd < 0 ? pvb_err(err, -errno, "delay: timer: %s", strerror(errno)) : parse_delays(t, d->wait_ns, err);
	if (!rc && (rc = pvb_loop_fd(io->loop, d->fd, EPOLLIN, expired, d, &d->src)))
		pvb_err(err, rc, "delay: timer: %s", strerror(-rc));
	if (rc) {
		delay_close(&d->disk);
		return rc;
	}
	*out = &d->disk;
	return 0;
}

const struct provider delay_provider = {
	.name = "delay",
	.help = "OP:TIME   let each request wait",
	.wrapper = true,
	.prepare = delay_prepare, .open = delay_open, .inherit = delay_inherit, .submit = delay_submit,
	.close = delay_close,
};
