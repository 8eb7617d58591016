/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keep.c: see keep.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "bus/journal.h"
#include "fence.h"
#include "keep.h"
#include "log.h"
#include "supervisor.h"

#define RECORD_MAGIC 0x3150454b42565021ull /* "!PVBKEP1" */
#define NAME_MAX_LEN 64
#define JOURNAL ".journal"
#define STATS ".stats"

struct record {
	uint64_t magic;
	uint32_t journal_version, bytes;  /* bytes: of this struct */
	uint64_t journal_bytes;
	char vm[64];
	union ipc_connect connect;
};

static void name_of(const struct device *d, const char *suffix, char buf[NAME_MAX_LEN])
{
	snprintf(buf, NAME_MAX_LEN, "%s-%u-%u%s", d->kind, d->id.front, d->id.devid, suffix);
}

void keep_open(struct supervisor *sup, const char *dir)
{
	if (mkdir(dir, 0700) == 0 || errno == EEXIST)
		sup->keep_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (sup->keep_fd < 0)
		log_warn("%s: %s: guests' devices will not outlive this process", dir, strerror(errno));
}

void keep_close(struct supervisor *sup)
{
	if (sup->keep_fd >= 0)
		close(sup->keep_fd);
	sup->keep_fd = -1;
}

static void drop_file(const struct device *d, const char *suffix)
{
	char name[NAME_MAX_LEN];

	name_of(d, suffix, name);
	unlinkat(d->sup->keep_fd, name, 0);
}

static int new_file(const struct device *d, const char *suffix)
{
	char name[NAME_MAX_LEN];

	drop_file(d, suffix); /* never the same file again: an earlier worker may still have it */
	name_of(d, suffix, name);
	return openat(d->sup->keep_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Memory for a worker, all zero: a new file, or where there is no directory something that nobody finds again.  Or -errno. */
static int new_memory(const struct device *d, const char *suffix, size_t bytes)
{
	int fd = d->sup->keep_fd < 0 ? memfd_create(suffix, MFD_CLOEXEC) : new_file(d, suffix);

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd < 0 ? -errno : fd;
}

int keep_stats(struct device *d, size_t bytes, bool fresh)
{
	char name[NAME_MAX_LEN];
	struct stat st;
	int fd = -1;

	name_of(d, STATS, name);
	if (d->sup->keep_fd >= 0 && !fresh)
		fd = openat(d->sup->keep_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size == bytes)
		return fd;
	if (fd >= 0)
		close(fd);
	return new_memory(d, STATS, bytes);
}

void keep_stats_drop(const struct device *d)
{
	if (d->sup->keep_fd >= 0)
		drop_file(d, STATS);
}

static int write_record(const struct device *d, size_t bytes)
{
	struct record r;
	int fd = new_file(d, ""), rc = 0;

	if (fd < 0)
		return -errno;
	memset(&r, 0, sizeof(r));
	r.magic = RECORD_MAGIC;
	r.journal_version = d->ops->journal_version;
	r.bytes = sizeof(r);
	r.journal_bytes = bytes;
	memcpy(r.vm, d->vm, sizeof(r.vm));
	r.connect = d->connect;
	if (write(fd, &r, sizeof(r)) != sizeof(r))
		rc = -EIO;
	close(fd);
	return rc;
}

/* The file has no blocks before its worker uses them, and finding then that there are none would kill the worker. */
static int check_room(const struct device *d, size_t bytes)
{
	struct statvfs st;

	if (d->sup->keep_fd < 0 || fstatvfs(d->sup->keep_fd, &st) < 0)
		return 0;
	/* none at all: a file system without a limit */
	return st.f_blocks != 0 && st.f_bavail < bytes / st.f_frsize + 1 ? -ENOSPC : 0;
}

int keep_new(struct device *d, size_t bytes, struct pvb_error *err)
{
	int rc = check_room(d, bytes);

	rc = rc < 0 ? rc : new_memory(d, JOURNAL, bytes);
	if (rc >= 0) {
		d->journal_fd = rc;
		rc = d->sup->keep_fd >= 0 ? write_record(d, bytes) : 0;
	}
	return rc < 0 ? pvb_err(err, rc, "journal of %zu bytes: %s", bytes, strerror(-rc)) : 0;
}

void keep_drop(const struct device *d)
{
	if (d->sup->keep_fd < 0)
		return;
	drop_file(d, "");
	drop_file(d, JOURNAL);
}

static int read_record(int dir, const char *name, const struct device_ops *ops, struct record *r, struct pvb_error *err)
{
	int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -ENOENT;
	n = read(fd, r, sizeof(*r));
	close(fd);
	if (n != sizeof(*r) || r->magic != RECORD_MAGIC || r->bytes != sizeof(*r) || r->journal_version != ops->journal_version)
		return pvb_err(err, -EPROTO, "the record of its connection is of another pvbackd: %zd bytes, journal version %u, not %zu bytes and %u",
			       n, n >= (ssize_t)offsetof(struct record, bytes) ? r->journal_version : 0, sizeof(*r),
			       ops->journal_version);
	return 0;
}

int keep_find(struct device *d, const void *now, struct pvb_error *err)
{
	char name[NAME_MAX_LEN];
	struct record r;
	struct stat st;
	int rc, fd;

	name_of(d, "", name);
	rc = read_record(d->sup->keep_fd, name, d->ops, &r, err);
	if (rc < 0)
		return rc;
	if (memcmp(&r.connect, now, sizeof(r.connect)) != 0 || memcmp(r.vm, d->vm, sizeof(r.vm)) != 0)
		return pvb_err(err, -ESTALE, "the record of its connection is another connection's");
	name_of(d, JOURNAL, name);
	fd = openat(d->sup->keep_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return pvb_err(err, -errno, "its journal: %s", strerror(errno));
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != r.journal_bytes ||
	    r.journal_bytes != d->ops->journal_bytes((const union ipc_connect *)now)) {
		close(fd);
		return pvb_err(err, -EPROTO, "its journal has %lld bytes, not %zu", (long long)st.st_size,
			       d->ops->journal_bytes((const union ipc_connect *)now));
	}
	d->connect = r.connect;
	d->journal_fd = fd;
	return 0;
}

/* Names in the directory are ours, all begin like this. */
static bool device_of(const char *name, struct pvb_device_id *id, char kind[16], char rest[16])
{
	int n = 0;

	rest[0] = 0;
	if (sscanf(name, "%15[^-]-%u-%u%n%15s", kind, &id->front, &id->devid, &n, rest) < 3)
		return false;
	id->kind = kind;
	return true;
}

int keep_check(const char *path, struct pvb_error *err)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int rc = 0;

	if (!dir)
		return pvb_err(err, -errno, "%s: %s", path, strerror(errno));
	while (rc == 0 && (e = readdir(dir))) {
		struct pvb_device_id id = { 0 };
		char kind[16], rest[16];
		struct pvb_error why;
		struct record r;

		if (device_of(e->d_name, &id, kind, rest) && !*rest && read_record(dirfd(dir), e->d_name, device_ops_of(kind), &r, &why) == -EPROTO)
			rc = pvb_err(err, -EPROTO, "%s/%s: %s", path, e->d_name, why.text);
	}
	closedir(dir);
	return rc;
}

/* Another pvbackd may serve other kinds. */
static bool is_ours(const struct supervisor *sup, const char *kind)
{
	for (unsigned i = 0; sup->o.kinds[i]; i++)
		if (strcmp(sup->o.kinds[i], kind) == 0)
			return true;
	return false;
}

void keep_sweep(struct supervisor *sup)
{
	int fd = sup->keep_fd < 0 ? -1 : openat(sup->keep_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		struct pvb_device_id id = { 0 };
		char kind[16], rest[16];

		if (device_of(e->d_name, &id, kind, rest) && is_ours(sup, kind) && !device_find(sup, NULL, &id))
			unlinkat(sup->keep_fd, e->d_name, 0);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

/* ---- the fence ---------------------------------------------------------------------------------------- */

int keep_fd_for_worker(const struct device *d)
{
	return fence_fd(d->journal_fd, 0);
}

bool keep_fenced(const struct device *d)
{
	return d->journal_fd < 0 || fence_open(d->journal_fd, 0);
}
