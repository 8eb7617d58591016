/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fault=OP:ERRNO[@N[+M]] - fail requests by order: let N of kind OP pass, then fail M (default: all).
 * Each such option is a rule of its own; the first one whose turn it is decides. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/block/block.h"
#include "backend/target.h"

struct rule {
	unsigned ops;                /* bit per bio_op */
	int error;                   /* -errno */
	uint64_t pass, fail;         /* requests left */
};

struct fault {
	struct disk disk;
	unsigned nr_rules;
	struct rule rules[];
};

static const struct { const char *name; int code; } errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT }, { "EROFS", EROFS }, { "EAGAIN", EAGAIN },
	{ "EBUSY", EBUSY }, { "ENOMEM", ENOMEM }, { "ENXIO", ENXIO }, { "ENODEV", ENODEV }, { "EINVAL", EINVAL },
	{ "EPERM", EPERM }, { "EACCES", EACCES }, { "EOPNOTSUPP", EOPNOTSUPP }, { "ETIMEDOUT", ETIMEDOUT },
	{ "ENOTCONN", ENOTCONN }, { "ECONNRESET", ECONNRESET }, { "ESTALE", ESTALE }, { "EILSEQ", EILSEQ },
	{ "ENODATA", ENODATA },
};

static int parse_error(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strlen(errors[i].name) == len && !memcmp(errors[i].name, name, len))
			return -errors[i].code;
	return 0;
}

/* "N" or "N+M" */
static bool parse_counts(const char *text, struct rule *rule)
{
	char plus, more;
	unsigned long long n, m;

	if (strspn(text, "0123456789+") != strlen(text) || text[0] == '+' || strlen(text) > 30)
		return false;
	switch (sscanf(text, "%llu%c%llu%c", &n, &plus, &m, &more)) {
	case 1:
		rule->pass = n;
		return true;
	case 3:
		rule->pass = n;
		rule->fail = m;
		return true;
	}
	return false;
}

static int parse_rule(const char *text, struct rule *rule, struct pvb_error *err)
{
	const char *error, *counts;
	size_t len;

	rule->pass = 0;
	rule->fail = UINT64_MAX;
	error = parse_bio_ops(text, &rule->ops);
	if (!error)
		return pvb_err(err, -EINVAL, "fault=%s: OP:ERRNO[@N[+M]] with OP read, write, flush, discard, "
			       "secure-discard or all", text);
	len = strcspn(error, "@");
	rule->error = parse_error(error, len);
	if (!rule->error)
		return pvb_err(err, -EINVAL, "fault=%s: no error is called \"%.*s\"", text, (int)len, error);
	counts = error + len;
	if (*counts && !parse_counts(counts + 1, rule))
		return pvb_err(err, -EINVAL, "fault=%s: \"%s\" is not @N or @N+M", text, counts);
	return 0;
}

static int fault_prepare(const struct target *t, bool readonly, int *fds, unsigned *nr_fds, char identity[64],
			 struct pvb_error *err)
{
	struct rule rule;
	int rc = 0;

	for (unsigned i = 0; i < t->nr_options && !rc; i++)
		if (!strcmp(t->options[i].key, "fault"))
			rc = parse_rule(t->options[i].value, &rule, err);
	return rc;
}

static int fault_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		      struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct fault *f = calloc(1, sizeof(*f) + t->nr_options * sizeof(f->rules[0]));
	int rc = 0;

	if (!f)
		return pvb_err(err, -ENOMEM, "fault: no memory");
	for (unsigned i = 0; i < t->nr_options && !rc; i++)
		if (!strcmp(t->options[i].key, "fault"))
			rc = parse_rule(t->options[i].value, &f->rules[f->nr_rules++], err);
	if (rc) {
		free(f);
		return rc;
	}
	f->disk.prov = &fault_provider;
	f->disk.io = io;
	*out = &f->disk;
	return 0;
}

/* What is to fail must be offered, or the guest never asks for it. */
static void fault_inherit(struct disk *disk)
{
	struct fault *f = (struct fault *)disk;
	struct disk_info *info = &disk->info;

	*info = disk->next->info;
	for (unsigned i = 0; i < f->nr_rules; i++) {
		unsigned ops = f->rules[i].ops;

		if (ops == BIO_ALL_OPS)
			continue;
		if (ops & (1U << BIO_FLUSH))
			info->flush = true;
		if ((ops & (1U << BIO_DISCARD | 1U << BIO_SECURE_DISCARD)) && !info->discard_granularity) {
			info->discard_granularity = info->physical_block;
			info->max_discard = 1ULL << 30;
		}
		if (ops & (1U << BIO_SECURE_DISCARD))
			info->secure_discard = true;
	}
}

static int verdict(struct fault *f, enum bio_op op)
{
	for (unsigned i = 0; i < f->nr_rules; i++) {
		struct rule *rule = &f->rules[i];

		if (!(rule->ops & 1U << op) || !rule->fail)
			continue;
		if (rule->pass) {
			rule->pass--;
			continue;
		}
		if (rule->fail != UINT64_MAX)
			rule->fail--;
		return rule->error;
	}
	return 0;
}

/* Pass on whole stretches, so that a disk with a fault in wait still sees its batches. */
static void fault_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct fault *f = (struct fault *)disk;
	struct disk *next = disk->next;
	unsigned start = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct bio *bio = bios[i];
		int rc = verdict(f, bio->op);

		if (!rc)
			continue;
		if (i > start)
			disk_submit(next, bios + start, i - start);
		start = i + 1;
		bio_fail(bio, rc);
	}
	if (nr > start)
		disk_submit(next, bios + start, nr - start);
}

static void fault_close(struct disk *disk)
{
	free(disk);
}

const struct provider fault_provider = {
	.name = "fault",
	.help = "OP:ERRNO[@N[+M]]   let N requests pass, then fail M",
	.wrapper = true,
	.prepare = fault_prepare, .open = fault_open, .inherit = fault_inherit, .submit = fault_submit,
	.close = fault_close,
};
