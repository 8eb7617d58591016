/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mem:size=BYTES - a disk in memory, gone with its last user.  The memory is a memfd made by the supervisor,
 * so it outlives a worker that is restarted.
 *
 * The worker has it mapped, and copies; what is more than a copy is the file provider's: discards, and writes to pages that
 * are not there yet.  Which are there is kept in bits, of a chunk at a time when it is first touched: a page that
 * nobody wrote must not come to be by being read. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

/* ---- which pages there are ------------------------------------------------------------------------------ */

#define PAGE 4096u
#define CHUNK_PAGES 512u             /* looked at together */
#define CHUNK_BYTES ((uint64_t)CHUNK_PAGES * PAGE)

enum { U_DONE, U_OWNER };            /* bio->u: whose request it is, while the file has it */

struct mem {
	struct disk disk;
	struct disk *file;           /* carries out what is more than a copy */
	int fd;                      /* the file's */
	uint8_t *bytes;              /* the whole disk; NULL: there is no room for it in our address space */
	uint64_t *there;             /* a bit for each page: it has memory */
	uint64_t *seen;              /* a bit for each chunk: its pages' bits are right */
	size_t there_bytes;
};

static struct mem *to_mem(struct disk *disk)
{
	return (struct mem *)disk; /* its first member */
}

static bool test_bit(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *map, uint64_t i)
{
	map[i / 64] |= 1ull << (i % 64);
}

static void mark(struct mem *m, uint64_t off, uint64_t end)
{
	for (uint64_t page = off / PAGE; page < (end + PAGE - 1) / PAGE; page++)
		set_bit(m->there, page);
}

/* What the bits of this range say may be wrong by now. */
static void forget(struct mem *m, uint64_t off, uint64_t len)
{
	for (uint64_t c = off / CHUNK_BYTES; c <= (off + len - 1) / CHUNK_BYTES; c++)
		m->seen[c / 64] &= ~(1ull << (c % 64));
}

/* false: the file can not tell. */
static bool see(struct mem *m, uint64_t chunk)
{
	uint64_t at = chunk * CHUNK_BYTES, end = at + CHUNK_BYTES;
	off_t data, hole;

	if (test_bit(m->seen, chunk))
		return true;
	if (end > m->disk.info.size)
		end = m->disk.info.size;
	memset(m->there + chunk * (CHUNK_PAGES / 64), 0, CHUNK_PAGES / 8);
	for (; at < end; at = (uint64_t)hole) {
		data = lseek(m->fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return false;
		if (data < 0 || (uint64_t)data >= end)
			break;
		hole = lseek(m->fd, data, SEEK_HOLE);
		if (hole <= data)
			return false;
		mark(m, (uint64_t)data, (uint64_t)hole < end ? (uint64_t)hole : end);
	}
	set_bit(m->seen, chunk);
	return true;
}

enum what { HOLE, THERE, MIXED };

static enum what look(struct mem *m, uint64_t off, uint64_t len)
{
	uint64_t page = off / PAGE, last = (off + len - 1) / PAGE;
	bool there;

	if (!m->bytes)
		return MIXED;
	for (uint64_t c = page / CHUNK_PAGES; c <= last / CHUNK_PAGES; c++)
		if (!see(m, c))
			return MIXED;
	there = test_bit(m->there, page);
	while (page++ < last)
		if (test_bit(m->there, page) != there)
			return MIXED;
	return there ? THERE : HOLE;
}

/* ---- requests ------------------------------------------------------------------------------------------- */

static void copy(const struct bio *bio, uint8_t *at)
{
	for (unsigned i = 0; i < bio->nr_iov; at += bio->iov[i++].iov_len) {
		if (bio->op == BIO_READ)
			memcpy(bio->iov[i].iov_base, at, bio->iov[i].iov_len);
		else
			memcpy(at, bio->iov[i].iov_base, bio->iov[i].iov_len);
	}
}

/* Pages that are there are copied to and from.  A write to others is the file's, which knows when there is no memory, where a
 * store would end us; and a read of them must not make them. */
static bool in_memory(struct mem *m, struct bio *bio)
{
	enum what what;

	if ((bio->op != BIO_READ && bio->op != BIO_WRITE) || bio->len == 0 || !bio_fits(bio, m->disk.info.size))
		return false;
	what = look(m, bio->off, bio->len);
	if (what == THERE)
		copy(bio, m->bytes + bio->off);
	else if (what == HOLE && bio->op == BIO_READ)
		bio_zero(bio, 0, bio->len);
	else
		return false;
	bio_done(bio, 0);
	return true;
}

/* Of a write and a discard of the same place at one time either may have been last.  If a page is called there and is not, a
 * read makes it, which costs its memory and nothing else. */
static void file_done(struct bio *bio)
{
	struct mem *m = to_mem(bio->disk);

	bio->done = (void (*)(struct bio *))(uintptr_t)bio->u[U_DONE];
	bio->owner = (void *)(uintptr_t)bio->u[U_OWNER];
	if (bio->op == BIO_WRITE && bio->result == 0)
		mark(m, bio->off, bio->off + bio->len);
	else
		forget(m, bio->off, bio->len);
	bio->done(bio);
}

static void to_file(struct mem *m, struct bio **bios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct bio *bio = bios[i];

		if (!m->bytes || bio->op == BIO_READ || bio->len == 0 || !bio_fits(bio, m->disk.info.size))
			continue;
		if (bio->op != BIO_WRITE)
			forget(m, bio->off, bio->len);
		bio->disk = &m->disk;
		bio->u[U_DONE] = (uintptr_t)bio->done;
		bio->u[U_OWNER] = (uintptr_t)bio->owner;
		bio->done = file_done;
	}
	if (nr)
		file_provider.submit(m->file, bios, nr);
}

static void mem_submit(struct disk *disk, struct bio **bios, unsigned nr)
{
	struct mem *m = to_mem(disk);
	struct bio *rest[64];
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (in_memory(m, bios[i]))
			continue;
		rest[n++] = bios[i];
		if (n == 64) {
			to_file(m, rest, n);
			n = 0;
		}
	}
	to_file(m, rest, n);
}

static bool mem_peek(struct disk *disk, uint64_t off, uint64_t len, const void **at)
{
	struct mem *m = to_mem(disk);
	enum what what;

	if (len == 0 || len > disk->info.size || off > disk->info.size - len)
		return false;
	what = look(m, off, len);
	*at = what == THERE ? m->bytes + off : NULL;
	return what != MIXED;
}

/* ---- coming and going ----------------------------------------------------------------------------------- */

static void unmap(void *at, size_t bytes)
{
	if (at)
		munmap(at, bytes);
}

static void mem_close(struct disk *disk)
{
	struct mem *m = to_mem(disk);

	unmap(m->bytes, disk->info.size);
	unmap(m->there, m->there_bytes);
	free(m->seen);
	if (m->file)
		file_provider.close(m->file);
	free(m);
}

/* Without it all is done through the file, as slowly as with any other. */
static void map(struct mem *m)
{
	uint64_t size = m->disk.info.size, chunks = (size + CHUNK_BYTES - 1) / CHUNK_BYTES;
	void *there, *bytes;

	m->there_bytes = chunks * CHUNK_PAGES / 8;
	m->seen = calloc((chunks + 63) / 64, sizeof(*m->seen));
	there = mmap(NULL, m->there_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m->there = there == MAP_FAILED ? NULL : there;
	if (!m->seen || !m->there)
		return;
	bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	m->bytes = bytes == MAP_FAILED ? NULL : bytes;
}

static int mem_open(const struct target *t, bool readonly, const int *fds, unsigned nr_fds, struct worker_io *io,
		    struct disk *below, struct disk **out, struct pvb_error *err)
{
	struct mem *m = calloc(1, sizeof(*m));
	int rc;

	if (!m) {
		fds_close(fds, nr_fds);
		return pvb_err(err, -ENOMEM, "%s: no memory", t->arg);
	}
	rc = file_provider.open(t, readonly, fds, nr_fds, io, below, &m->file, err);
	if (rc) {
		free(m);
		return rc;
	}
	m->fd = fds[0]; /* taken over by the file, which lives as long as we do */
	m->file->info.flush = false;
	m->file->info.secure_discard = true; /* a punched page goes back and is zeroed before anyone has it */
	m->disk.prov = &mem_provider;
	m->disk.io = io;
	m->disk.info = m->file->info;
	map(m);
	*out = &m->disk;
	return 0;
}

const struct provider mem_provider = {
	.name = "mem",
	.help = "size=BYTES   memory, lost when the disk goes",
	.reopens = true, .prepare = mem_prepare, .open = mem_open, .submit = mem_submit, .peek = mem_peek,
	.close = mem_close,
};
