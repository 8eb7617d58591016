/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mem:size=BYTES - a disk in memory, gone with its last user.  The memory is a memfd made by the supervisor,
 * so it outlives a worker that is restarted; everything after that is the file provider. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/block/block.h"
#include "backend/block/facts.h"
#include "backend/target.h"

#define MEM_MAX_SIZE (1ULL << 44)

static int mem_prepare(const struct target *t, bool readonly, int *fds, unsigned *nr_fds, char identity[64],
		       struct pvb_error *err)
{
	struct facts facts;
	uint64_t size;
	int fd, rc = size_arg(t->arg, MEM_MAX_SIZE, &size, err);

	if (rc)
		return rc;
	fd = memfd_create("pvbus-mem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return pvb_err(err, -errno, "%s: no memory file: %s", t->text, strerror(errno));
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		rc = pvb_err(err, -errno, "%s: %s", t->text, strerror(errno));
		close(fd);
		return rc;
	}
	rc = facts_find(fd, &facts);
	if (!rc)
		rc = facts_pack(&facts);
	if (rc < 0) {
		close(fd);
		return pvb_err(err, rc, "%s: %s", t->text, strerror(-rc));
	}
	fds[0] = fd;
	fds[1] = rc;
	*nr_fds = 2;
	return 0;
}

static int mem_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		    struct disk *below, struct disk **out, struct pvb_error *err)
{
	int rc = file_provider.open(t, readonly, fds, nr_fds, io, below, out, err);

	if (!rc) {
		(*out)->info.flush = false;
		(*out)->info.secure_discard = true; /* a punched page goes back and is zeroed before anyone has it */
	}
	return rc;
}

static void mem_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	file_provider.submit(disk, bios, nr);
}

static void mem_close(struct disk *disk)
{
	file_provider.close(disk);
}

const struct provider mem_provider = {
	.name = "mem",
	.help = "size=BYTES   memory, lost when the disk goes",
	.reopens = true, .prepare = mem_prepare, .open = mem_open, .submit = mem_submit, .close = mem_close,
};
