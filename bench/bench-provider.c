/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a provider costs without rings: random 4 KiB reads through submit(), in batches, beside a plain pread()
 * loop on the same file.  bench-provider TARGET [FILE]  (FILE: the file the plain loop reads, default none)
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend/aio.h"
#include "backend/provider.h"
#include "backend/target.h"

#define IO 4096
#define MAX_BATCH 256
#define RUN_MS 100                   /* short and taking turns: other load hits both alike */
#define RUNS 21

static struct worker_io io;
static struct disk *disk;
static unsigned in_flight;
static uint64_t seed = 1;

static uint64_t random_off(uint64_t size)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % (size / IO) * IO;
}

static void count(struct bio *bio)
{
	if (bio->result) {
		fprintf(stderr, "read: %s\n", strerror(-bio->result));
		exit(1);
	}
	in_flight--;
}

static void ready(struct disk *d, int rc, const struct pvb_error *err, void *arg)
{
	if (rc) {
		fprintf(stderr, "%s\n", err->text);
		exit(1);
	}
}

static double provider_run(unsigned batch, unsigned char *buf)
{
	static struct bio bios[MAX_BATCH];
	static struct iovec iov[MAX_BATCH];
	struct bio *list[MAX_BATCH];
	uint64_t start = pvb_now_ns(), now, n = 0;

	do {
		for (unsigned i = 0; i < batch; i++) {
			iov[i] = (struct iovec) { buf + i * IO, IO };
			bios[i] = (struct bio) { .op = BIO_READ, .off = random_off(disk->info.size), .len = IO, .iov = &iov[i],
						 .nr_iov = 1, .done = count };
			list[i] = &bios[i];
		}
		in_flight = batch;
		disk_submit(disk, list, batch);
		while (in_flight)
			pvb_loop_once(io.loop, -1);
		n += batch;
		now = pvb_now_ns();
	} while (now - start < RUN_MS * 1000000ULL);
	return n * 1e9 / (now - start);
}

static double plain_run(int fd, uint64_t size, unsigned batch, unsigned char *buf)
{
	uint64_t start = pvb_now_ns(), now, n = 0;

	do {
		for (unsigned i = 0; i < batch; i++)
			if (pread(fd, buf + i * IO, IO, (off_t)random_off(size)) != IO) {
				perror("pread");
				exit(1);
			}
		n += batch;
		now = pvb_now_ns();
	} while (now - start < RUN_MS * 1000000ULL);
	return n * 1e9 / (now - start);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static const unsigned batches[] = { 1, 32 };
	unsigned char *buf = aligned_alloc(4096, MAX_BATCH * IO);
	int fds[PROVIDER_MAX_FDS], fd = argc > 2 ? open(argv[2], O_RDONLY) : -1, rc;
	struct pvb_error err = { 0 };
	char identity[64];
	struct target *t;
	unsigned nr_fds;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: bench-provider TARGET [FILE]\n");
		return 1;
	}
	memset(buf, 0, MAX_BATCH * IO);
	rc = pvb_loop_new(&io.loop);
	if (!rc)
		rc = aio_new(&io.aio, io.loop, 256);
	if (!rc)
		rc = target_parse(argv[1], &t, &err);
	if (!rc)
		rc = disk_prepare(t, true, fds, &nr_fds, identity, &err);
	if (!rc)
		rc = disk_open(t, true, fds, nr_fds, &io, ready, NULL, &disk, &err);
	if (rc) {
		fprintf(stderr, "%s\n", err.text[0] ? err.text : strerror(-rc));
		return 1;
	}
	while (!disk->info.size)
		pvb_loop_once(io.loop, -1);
	for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
		double with[RUNS], plain[RUNS] = { 0 };

		for (int r = 0; r < RUNS; r++) {
			with[r] = provider_run(batches[b], buf);
			if (fd >= 0)
				plain[r] = plain_run(fd, disk->info.size, batches[b], buf);
		}
		qsort(with, RUNS, sizeof(double), compare);
		qsort(plain, RUNS, sizeof(double), compare);
		printf("batch %2u  provider %9.0f IOPS (%.0f-%.0f)", batches[b], with[RUNS / 2], with[0], with[RUNS - 1]);
		if (fd >= 0)
			printf("  pread %9.0f (%.0f-%.0f)  ratio %.3f", plain[RUNS / 2], plain[0], plain[RUNS - 1],
			       with[RUNS / 2] / plain[RUNS / 2]);
		printf("\n");
	}
	disk_close(disk);
	target_free(t);
	aio_free(io.aio);
	pvb_loop_free(io.loop);
	free(buf);
	return 0;
}
