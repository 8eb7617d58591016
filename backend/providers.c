/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of providers, and the chain a target asks for: its provider with wrappers on top. */
#include "config.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "backend/provider.h"
#include "backend/target.h"
#include "backend/block/block.h"

const char *const bio_op_name[BIO_NR_OPS] = { "read", "write", "flush", "discard", "secure-discard" };

const struct provider *const providers[] = {
	&file_provider,
	&null_provider,
	&mem_provider,
#ifdef HAVE_NBD
	&nbd_provider,
	&qcow2_provider,
	&vmdk_provider,
	&vhd_provider,
	&vhdx_provider,
	&vdi_provider,
#endif
	&fault_provider,
	&delay_provider,
	NULL
};

const struct provider *provider_find(const char *name)
{
	for (const struct provider *const *p = providers; *p; p++)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

/* A wrapper is on when the target has an option of its name.  The order of the list is from below:
 * delay is outside, so a request that fails by order also waits. */
static const struct provider *next_wrapper(const struct target *t, const struct provider *const **pos)
{
	while (**pos) {
		const struct provider *p = *(*pos)++;

		if (p->wrapper && target_get(t, p->name))
			return p;
	}
	return NULL;
}

/* Wrappers open nothing, so theirs is cheap to check first. */
static int prepare_wrappers(const struct target *t, bool readonly, struct pvb_error *err)
{
	const struct provider *const *pos = providers;
	const struct provider *p;
	unsigned none;
	int rc = 0;

	while (!rc && (p = next_wrapper(t, &pos)))
		rc = p->prepare(t, readonly, NULL, &none, NULL, err);
	return rc;
}

int disk_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err)
{
	const struct provider *base = provider_find(t->provider);
	int rc = prepare_wrappers(t, readonly, err);

	*nr_fds = 0;
	identity[0] = 0;
	if (!rc && base->prepare)
		rc = base->prepare(t, readonly, fds, nr_fds, identity, err);
	return rc;
}

int disk_check(const struct target *t, bool readonly, struct pvb_error *err)
{
	const struct provider *base = provider_find(t->provider);
	int fds[PROVIDER_MAX_FDS], rc;
	char identity[64];
	unsigned nr_fds;

	if (base->check) {
		rc = prepare_wrappers(t, readonly, err);
		return rc ? rc : base->check(t, readonly, err);
	}
	rc = disk_prepare(t, readonly, fds, &nr_fds, identity, err);
	if (!rc)
		fds_close(fds, nr_fds);
	return rc;
}

static struct disk *bottom(struct disk *disk)
{
	while (disk->next)
		disk = disk->next;
	return disk;
}

static struct disk *inherit_up(struct disk *disk)
{
	for (; disk->above; disk = disk->above)
		disk->above->prov->inherit(disk->above);
	return disk;
}

void disk_ready(struct disk *disk, int rc, const struct pvb_error *err)
{
	if (rc)
		while (disk->above)
			disk = disk->above;
	else
		disk = inherit_up(disk);
	disk->ready(disk, rc, err, disk->ready_arg);
}

void disk_resized(struct disk *disk, uint64_t size)
{
	if (disk->info.size == size)
		return;
	disk->info.size = size;
	disk = inherit_up(disk);
	if (disk->resized)
		disk->resized(disk, disk->resized_arg);
}

int disk_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
	      void (*ready)(struct disk *disk, int rc, const struct pvb_error *err, void *arg), void *arg,
	      struct disk **out, struct pvb_error *err)
{
	const struct provider *base = provider_find(t->provider), *p;
	const struct provider *const *pos = providers;
	struct disk *disk = NULL, *top;
	int later, rc;

	later = base->open(t, readonly, fds, nr_fds, io, NULL, &disk, err);
	if (later < 0)
		return later;
	while ((p = next_wrapper(t, &pos))) {
		rc = p->open(t, readonly, NULL, 0, io, disk, &top, err);
		if (rc) {
			disk_close(disk);
			return rc;
		}
		top->next = disk;
		disk->above = top;
		disk = top;
	}
	disk->ready = ready;
	disk->ready_arg = arg;
	*out = disk;
	if (!later)
		disk_ready(bottom(disk), 0, NULL);
	return 0;
}

bool disk_may_grow(struct disk *disk)
{
	return bottom(disk)->prov->refresh;
}

void disk_refresh(struct disk *disk)
{
	disk = bottom(disk);
	if (disk->prov->refresh)
		disk->prov->refresh(disk);
}

void disk_close(struct disk *disk)
{
	while (disk) {
		struct disk *next = disk->next;

		disk->prov->close(disk);
		disk = next;
	}
}

void fds_close(const int *fds, unsigned nr_fds)
{
	for (unsigned i = 0; i < nr_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
