/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include "backend/block/block.h"
#include "backend/target.h"

void bio_zero(const struct bio *bio, uint64_t from, uint64_t len)
{
	for (unsigned i = 0; i < bio->nr_iov && len; i++) {
		uint64_t have = bio->iov[i].iov_len, n;

		if (from >= have) {
			from -= have;
			continue;
		}
		n = have - from < len ? have - from : len;
		memset((char *)bio->iov[i].iov_base + from, 0, n);
		from = 0;
		len -= n;
	}
}

int size_arg(const char *arg, uint64_t max, uint64_t *size, struct pvb_error *err)
{
	uint64_t n;
	int rc;

	if (strncmp(arg, "size=", 5))
		return pvb_err(err, -EINVAL, "\"%s\": size=BYTES is what this provider wants", arg);
	rc = target_size("size", arg + 5, 512, max, &n, err);
	if (rc)
		return rc;
	if (n % 512)
		return pvb_err(err, -EINVAL, "%s is not a multiple of 512", arg);
	*size = n;
	return 0;
}

const char *parse_bio_ops(const char *text, unsigned *ops)
{
	size_t len = strcspn(text, ":");

	if (!text[len])
		return NULL;
	if (len == 3 && !memcmp(text, "all", 3)) {
		*ops = BIO_ALL_OPS;
		return text + len + 1;
	}
	for (int op = 0; op < BIO_NR_OPS; op++)
		if (strlen(bio_op_name[op]) == len && !memcmp(bio_op_name[op], text, len)) {
			*ops = 1U << op;
			return text + len + 1;
		}
	return NULL;
}
