/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening an image in the supervisor: what may be a disk, and what it is known by. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "backend/block/facts.h"
#include "backend/block/file.h"
#include "backend/target.h"

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "a directory";
	case S_IFCHR: return "a character device";
	case S_IFIFO: return "a FIFO";
	case S_IFSOCK: return "a socket";
	default: return "neither a file nor a block device";
	}
}

static bool is_disk(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

void file_identity(const struct stat *st, char identity[64])
{
	if (S_ISBLK(st->st_mode))
		snprintf(identity, 64, "block %u:%u", major(st->st_rdev), minor(st->st_rdev));
	else
		snprintf(identity, 64, "file %u:%u %ju", major(st->st_dev), minor(st->st_dev), (uintmax_t)st->st_ino);
}

/* A device that is mounted or has a mounted partition, or is part of a volume group, can not be claimed: then
 * no guest may write to it.  The claim is given up at once: a guest that is migrated to this host has the
 * disk opened twice for a while. */
static int check_claim(const struct target *t, struct pvb_error *err)
{
	const char *shared = target_get(t, "shared");
	int fd;

	if (shared && !strcmp(shared, "on"))
		return 0;
	fd = open(t->arg, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	else if (errno == EBUSY)
		return pvb_err(err, -EBUSY, "%s is in use: mounted, or part of another device", t->arg);
	return 0;
}

int file_open_path(const struct target *t, bool readonly, struct stat *st, struct pvb_error *err)
{
	int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	const char *path = t->arg;
	int fd;

	/* look first: opening a tape or a FIFO does something to it */
	if (stat(path, st))
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	if (!is_disk(st))
		return pvb_err(err, -ENOTBLK, "%s is %s: a disk is a file or a block device", path, kind(st->st_mode));
	if (S_ISBLK(st->st_mode) && !readonly && check_claim(t, err))
		return -EBUSY;
	fd = open(path, flags);
	if (fd < 0)
		return pvb_err(err, -errno, "%s: can not be opened for %s: %s", path, readonly ? "reading" : "writing",
			       strerror(errno));
	if (fstat(fd, st) || !is_disk(st)) {
		close(fd);
		return pvb_err(err, -ENOTBLK, "%s was replaced while it was opened", path);
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

int file_cache(const struct target *t, bool *direct_io_safe, struct pvb_error *err)
{
	static const char *const caches[] = { "auto", "direct", "buffered", NULL };
	static const char *const off_on[] = { "off", "on", NULL };
	int safe = target_choice(t, "direct-io-safe", off_on, 0, err);

	if (safe < 0)
		return safe;
	*direct_io_safe = safe;
	return target_choice(t, "cache", caches, CACHE_AUTO, err);
}

static int check(const struct target *t, int fd, bool readonly, const struct stat *st, struct pvb_error *err)
{
	int ro = 0, rc;
	uint64_t size;

	if (S_ISBLK(st->st_mode) && !readonly && !ioctl(fd, BLKROGET, &ro) && ro)
		return pvb_err(err, -EROFS, "%s is a read-only device and the guest is to write to it", t->arg);
	rc = facts_size(fd, &size);
	if (rc)
		return pvb_err(err, rc, "%s: size: %s", t->arg, strerror(-rc));
	if (size < 512)
		return pvb_err(err, -EINVAL, "%s: %" PRIu64 " bytes are no disk, at least 512", t->arg, size);
	return 0;
}

int file_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err)
{
	struct facts facts;
	struct stat st;
	bool safe;
	int rc, fd;

	rc = file_cache(t, &safe, err);
	if (rc < 0)
		return rc;
	fd = file_open_path(t, readonly, &st, err);
	if (fd < 0)
		return fd;
	rc = check(t, fd, readonly, &st, err);
	if (rc)
		goto fail;
	rc = facts_find(fd, &facts);
	if (!rc)
		rc = facts_pack(&facts);
	if (rc < 0) {
		pvb_err(err, rc, "%s: %s", t->arg, strerror(-rc));
		goto fail;
	}
	fds[0] = fd;
	fds[1] = rc;
	*nr_fds = 2;
	file_identity(&st, identity);
	return 0;
fail:
	close(fd);
	return rc;
}
