/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_BLOCK_BLOCK_H
#define PVB_BACKEND_BLOCK_BLOCK_H
/* What the providers share and only they and providers.c need. */
#include <stdbool.h>
#include "backend/provider.h"

extern const struct provider file_provider, null_provider, mem_provider, nbd_provider;
extern const struct provider qcow2_provider, vmdk_provider, vhd_provider, vhdx_provider, vdi_provider;
extern const struct provider fault_provider, delay_provider;

/* Close what prepare() left; -1 is skipped. */
void fds_close(const int *fds, unsigned nr_fds);

/* Fill `len` bytes of bio's buffers from byte `from` on with zeroes. */
void bio_zero(const struct bio *bio, uint64_t from, uint64_t len);

/* Is the bio within a disk of `size` bytes?  Sums never wrap. */
static inline bool bio_fits(const struct bio *bio, uint64_t size)
{
	return bio->len <= size && bio->off <= size - bio->len;
}

/* A read that fails must not leave in the buffer what an earlier request had there. */
static inline void bio_fail(struct bio *bio, int rc)
{
	if (bio->op == BIO_READ)
		bio_zero(bio, 0, bio->len);
	bio_done(bio, rc);
}

#define BIO_ALL_OPS ((1U << BIO_NR_OPS) - 1)
/* "OP:" in front of a wrapper's value, "all" for each: a bit per operation.  The rest of the text, or NULL. */
const char *parse_bio_ops(const char *text, unsigned *ops);

/* The only key a provider has: size=BYTES as ARG ("null:size=1G"). */
int size_arg(const char *arg, uint64_t max, uint64_t *size, struct pvb_error *err);
#endif
