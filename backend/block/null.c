/* SPDX-License-Identifier: GPL-2.0-or-later */
/* null:size=BYTES - reads give zeroes, writes vanish.  What is left is the cost of everything else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/block/block.h"
#include "backend/target.h"

#define NULL_MAX_SIZE (1ULL << 60)

static int null_prepare(const struct target *t, bool readonly, int *fds, unsigned *nr_fds, char identity[64],
			struct pvb_error *err)
{
	uint64_t size;

	return size_arg(t->arg, NULL_MAX_SIZE, &size, err);
}

static int null_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		     struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct disk *disk;
	uint64_t size;
	int rc;

	fds_close(fds, nr_fds);
	rc = size_arg(t->arg, NULL_MAX_SIZE, &size, err);
	if (rc)
		return rc;
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return pvb_err(err, -ENOMEM, "null: no memory");
	disk->prov = &null_provider;
	disk->io = io;
	disk->info = (struct disk_info) {
		.size = size, .physical_block = 512, .discard_granularity = 512, .max_discard = NULL_MAX_SIZE,
		.secure_discard = true,
	};
	*out = disk;
	return 0;
}

static void null_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (!bio_fits(bios[i], disk->info.size)) {
			bio_fail(bios[i], -EIO);
			continue;
		}
		if (bios[i]->op == BIO_READ)
			bio_zero(bios[i], 0, bios[i]->len);
		bio_done(bios[i], 0);
	}
}

static bool null_peek(struct disk *disk, uint64_t off, uint64_t len, const void **at)
{
	*at = NULL;
	return len <= disk->info.size && off <= disk->info.size - len;
}

static void null_close(struct disk *disk)
{
	free(disk);
}

const struct provider null_provider = {
	.name = "null",
	.help = "size=BYTES   reads give zeroes, writes vanish",
	.outlives = true, .reopens = true, .prepare = null_prepare, .open = null_open, .submit = null_submit, .peek = null_peek,
	.close = null_close,
};
