/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "backend/block/facts.h"

/* from linux/magic.h, and the file systems' own headers where that lacks them */
static const uint32_t memory_fs[] = { 0x01021994 /* tmpfs */, 0x858458f6 /* ramfs */ };
static const uint32_t network_fs[] = {
	0x6969 /* nfs */, 0x517b /* smb */, 0xff534d42 /* cifs */, 0xfe534d42 /* smb2 */, 0x00c36400 /* ceph */,
	0x65735546 /* fuse: gluster, sshfs */, 0x01021997 /* 9p */, 0x5346414f /* afs */,
};

static bool is_one_of(uint32_t type, const uint32_t *list, size_t nr)
{
	while (nr--)
		if (list[nr] == type)
			return true;
	return false;
}

int facts_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		*size = (uint64_t)st.st_size;
	else if (ioctl(fd, BLKGETSIZE64, size))
		return -errno;
	return 0;
}

static bool direct_read_works(int fd, uint32_t align)
{
	void *buf = aligned_alloc(4096, 4096);
	ssize_t r = buf ? pread(fd, buf, align, align) : -1;

	free(buf);
	return r >= 0;
}

/* Alignment of direct I/O: from statx where the kernel tells (6.1), else by trying reads. */
static void find_direct(int fd, const struct stat *st, struct facts *facts)
{
	int flags = fcntl(fd, F_GETFL), sector = 0;

	if (facts->in_memory || flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT))
		return;
	facts->mem_align = 512;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) && (stx.stx_mask & STATX_DIOALIGN)) {
		facts->direct_align = stx.stx_dio_offset_align;
		if (stx.stx_dio_mem_align > 512)
			facts->mem_align = stx.stx_dio_mem_align;
	}
	else
#endif
	if (S_ISBLK(st->st_mode) && !ioctl(fd, BLKSSZGET, &sector))
		facts->direct_align = (uint32_t)sector;
	else if (direct_read_works(fd, 512))
		facts->direct_align = 512;
	else if (direct_read_works(fd, 4096))
		facts->direct_align = facts->mem_align = 4096;
	if (facts->direct_align && facts->direct_align < 512)
		facts->direct_align = 512;
	fcntl(fd, F_SETFL, flags);
}

/* A number from /sys/dev/block/MAJ:MIN/queue; partitions have it one level up. */
static uint64_t queue_number(dev_t rdev, const char *name)
{
	static const char *const where[] = { "", "../" };
	unsigned long long n = 0;
	bool found = false;

	for (int i = 0; i < 2 && !found; i++) {
		char path[128];
		FILE *f;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(rdev), minor(rdev), where[i],
			 name);
		f = fopen(path, "re");
		if (!f)
			continue;
		found = fscanf(f, "%llu", &n) == 1;
		fclose(f);
	}
	return found ? n : 0;
}

static void find_block(int fd, const struct stat *st, struct facts *facts)
{
	unsigned physical = 0;
	int logical = 0;
	uint64_t granularity = queue_number(st->st_rdev, "discard_granularity");

	if (!ioctl(fd, BLKPBSZGET, &physical) && physical)
		facts->physical_block = physical;
	if (!ioctl(fd, BLKSSZGET, &logical) && logical > 1)
		facts->punch_align = (uint32_t)logical;
	/* punching a hole into a device is done by its write-zeroes command; without one it is refused */
	if (granularity <= UINT32_MAX && queue_number(st->st_rdev, "write_zeroes_max_bytes"))
		facts->discard_granularity = (uint32_t)granularity;
}

static void find_file(int fd, const struct stat *st, struct facts *facts)
{
	/* past the end nothing is there to be lost, and KEEP_SIZE leaves the end where it is */
	off_t past = (st->st_size | 0xfffff) + 1;

	facts->physical_block = st->st_blksize >= 4096 ? 4096 : 512;
	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, past, 4096))
		facts->discard_granularity = st->st_blksize >= 512 ? (uint32_t)st->st_blksize : 512;
}

int facts_find(int fd, struct facts *facts)
{
	struct statfs sfs;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*facts = (struct facts) { .is_block = S_ISBLK(st.st_mode), .physical_block = 512, .punch_align = 512 };
	if (!facts->is_block && !fstatfs(fd, &sfs)) {
		uint32_t type = (uint32_t)sfs.f_type;

		facts->in_memory = is_one_of(type, memory_fs, sizeof(memory_fs) / sizeof(*memory_fs));
		facts->network = is_one_of(type, network_fs, sizeof(network_fs) / sizeof(*network_fs));
	}
	if (facts->is_block)
		find_block(fd, &st, facts);
	else
		find_file(fd, &st, facts);
	find_direct(fd, &st, facts);
	return 0;
}

int facts_pack(const struct facts *facts)
{
	int fd = memfd_create("pvbus-facts", MFD_CLOEXEC);
	ssize_t r;

	if (fd < 0)
		return -errno;
	r = pwrite(fd, facts, sizeof(*facts), 0);
	if (r == sizeof(*facts))
		return fd;
	close(fd);
	return -EIO;
}

int facts_unpack(int fd, struct facts *facts)
{
	return pread(fd, facts, sizeof(*facts), 0) == sizeof(*facts) ? 0 : -EIO;
}
