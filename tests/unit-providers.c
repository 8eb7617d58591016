/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Providers file, mem and null and the wrappers, on each kind of disk there is room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/oracle.h"

/* --- files ------------------------------------------------------------------------------------------ */

static void test_file(const char *dir, const char *options)
{
	struct world w;
	char text[300];

	close(new_file(dir, MODEL_SIZE));
	snprintf(text, sizeof(text), "file:%s%s", path, options);
	world_new(&w);
	must_open(&w, text, false);
	run_oracle(&w, 1500, true);
	world_free(&w);
}

static void file_on_tmpfs(void **state)
{
	test_file("/dev/shm", "");
}

static void file_buffered(void **state)
{
	test_file(disk_dir(), "?cache=buffered");
}

static void file_auto(void **state)
{
	test_file(disk_dir(), "");
}

static void file_direct(void **state)
{
	struct world w;
	char text[300];

	close(new_file(disk_dir(), MODEL_SIZE));
	snprintf(text, sizeof(text), "file:%s?cache=direct", path);
	world_new(&w);
	if (open_disk(&w, text, false)) {
		print_message("no O_DIRECT here: %s\n", w.why);
		world_free(&w);
			skip();
	}
	assert_true(w.disk->info.direct);
	run_oracle(&w, 1500, true);
	world_free(&w);
}

/* --- blocks larger than a sector --------------------------------------------------------------------- */

static void check_aligned(struct disk *disk, struct bio **bios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal((bios[i]->off | bios[i]->len) & 4095, 0);
		for (unsigned v = 0; v < bios[i]->nr_iov; v++)
			assert_int_equal(((uintptr_t)bios[i]->iov[v].iov_base | bios[i]->iov[v].iov_len) & 4095, 0);
	}
	disk_submit(disk, bios, nr);
}

static void e512_model(void **state)
{
	struct e512 e = { 0 };
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M?delay=all:50us&delay=write:200us", false);
	e512_init(&e, w.disk, 4096, 4096, check_aligned);
	over = &e;
	run_oracle(&w, 500, false);
	over = NULL;
	e512_free(&e);
	world_free(&w);
}

struct counted {
	struct bio bio;
	struct iovec iov;
	unsigned *left;
};

static void count_down(struct bio *bio)
{
	assert_int_equal(bio->result, 0);
	--*((struct counted *)bio->owner)->left;
}

/* Overlapping writes in one go: the last one wins in each sector, as if there had been no other blocks. */
static void e512_keeps_order(void **state)
{
	static unsigned char data[64][8192], got[16384];
	struct counted c[64];
	struct bio *list[64];
	struct e512 e = { 0 };
	struct world w;
	unsigned left = 64, owner[32] = { 0 };
	uint64_t end = pvb_now_ms() + WAIT_MS;

	world_new(&w);
	must_open(&w, "mem:size=1M?delay=read:300us&delay=write:100us", false);
	e512_init(&e, w.disk, 4096, 512, disk_submit);
	for (unsigned i = 0; i < 64; i++) {
		unsigned sectors = 1 + i * 7 % 16, first = i * 5 % (32 - sectors);

		memset(data[i], (int)i + 1, sizeof(data[i]));
		for (unsigned s = first; s < first + sectors; s++)
			owner[s] = i + 1;
		c[i].iov = (struct iovec) { data[i], 512 * sectors };
		c[i].left = &left;
		c[i].bio = (struct bio) { .op = BIO_WRITE, .off = 512 * first, .len = 512 * sectors, .iov = &c[i].iov,
					  .nr_iov = 1, .done = count_down, .owner = &c[i] };
		list[i] = &c[i].bio;
	}
	e512_submit(&e, list, 64);
	while (left) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w.loop, 100);
	}
	assert_int_equal(do_io(&w, BIO_READ, 0, got, sizeof(got)), 0);
	for (unsigned s = 0; s < 32; s++)
		assert_int_equal(got[512 * s], owner[s]);
	e512_free(&e);
	world_free(&w);
}

static bool loop_device(char *dev, size_t len, unsigned block)
{
	if (geteuid() || !sh(dev, len, "losetup -f --show -b %u %s 2>/dev/null", block, path)) {
		print_message("loop devices need root and losetup\n");
		return false;
	}
	/* read-only stays with the number, not with the file */
	undo_later("blockdev --setrw %s; losetup -d %s", dev, dev);
	return sh(NULL, 0, "blockdev --setrw %s", dev);
}

static void test_block_device(unsigned block, const char *options)
{
	char dev[64], text[120];
	struct world w;

	close(new_file(disk_dir(), MODEL_SIZE));
	if (!loop_device(dev, sizeof(dev), block)) {
			skip();
	}
	snprintf(text, sizeof(text), "file:%s%s", dev, options);
	world_new(&w);
	must_open(&w, text, false);
	assert_int_equal(w.disk->info.physical_block, block);
	assert_memory_equal(w.identity, "block 7:", 8);
	run_oracle(&w, 800, false);
	world_free(&w);
	assert_true(sh(NULL, 0, "blockdev --setro %s", dev));
	world_new(&w);
	assert_int_equal(open_disk(&w, text, false), -EROFS);
	must_open(&w, text, true);
	world_free(&w);
}

static void block_4096_direct(void **state)
{
	test_block_device(4096, "?cache=direct");
}

static void block_4096_buffered(void **state)
{
	test_block_device(4096, "?cache=buffered");
}

static void block_512_auto(void **state)
{
	test_block_device(512, "");
}

/* --- a flush that failed ---------------------------------------------------------------------------- */

/* A loop device on a file system that is too small: writes succeed into the cache, writing back fails. Once
 * there is room, the next flush may say "done" only when all is really there. */
static void retried_flush_tells_the_truth(void **state)
{
	char dir[] = "/tmp/pvbus-unit-dir-XXXXXX", dev[64], text[120];
	unsigned char *data = malloc(4 << 20), *got = malloc(4 << 20);
	struct world w;
	int fd;

	assert_non_null(mkdtemp(dir));
	if (geteuid() || !sh(NULL, 0, "mount -t tmpfs -o size=1M none %s 2>/dev/null", dir)) {
		print_message("mounting needs root\n");
		rmdir(dir);
		skip();
	}
	undo_later("umount -l %s; rmdir %s", dir, dir);
	fd = new_file(dir, 8 << 20);
	assert_true(loop_device(dev, sizeof(dev), 512));
	for (unsigned i = 0; i < 4 << 20; i++)
		data[i] = (unsigned char)(i * 7 + i / 511);
	snprintf(text, sizeof(text), "file:%s?cache=buffered", dev);
	world_new(&w);
	must_open(&w, text, false);
	assert_int_equal(do_io(&w, BIO_WRITE, 3 << 20, data, 4 << 20), 0);
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_true(sh(NULL, 0, "mount -o remount,size=32M %s", dir));
	/* the background may have failed once more before there was room */
	if (do_io(&w, BIO_FLUSH, 0, NULL, 0))
		assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(pread(fd, got, 4 << 20, 3 << 20), 4 << 20);
	assert_memory_equal(got, data, 4 << 20);
	world_free(&w);
	close(fd);
	free(data);
	free(got);
}

static void file_plain_path_is_literal(void **state)
{
	char dir[] = "/tmp/pvbus-unit-dir-XXXXXX", name[100];
	struct world w;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/qcow2:x?cache=direct&%%41", dir);
	fd = open(name, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4); /* raw, whatever it says it is */
	close(fd);
	world_new(&w);
	must_open(&w, name, true);
	assert_int_equal(w.disk->info.size, 1 << 20);
	world_free(&w);
	unlink(name);
	rmdir(dir);
}

static void file_truncated_under_us(void **state)
{
	static const char *const modes[] = { "buffered", "direct" };
	unsigned char *buf = aligned_alloc(4096, 65536);

	for (int i = 0; i < 4; i++) {
		struct world w;
		char text[300];
		int fd = new_file(i < 2 ? disk_dir() : "/dev/shm", 65536);

		snprintf(text, sizeof(text), "file:%s?cache=%s", path, modes[i % 2]);
		world_new(&w);
		if (open_disk(&w, text, false)) {
			close(fd);
			world_free(&w);
					continue;
		}
		assert_int_equal(ftruncate(fd, 16384), 0);
		memset(buf, 0xaa, 65536);
		assert_int_equal(do_io(&w, BIO_READ, 8192, buf, 16384), -EIO);
		for (int n = 0; n < 16384; n++)
			assert_int_equal(buf[n], 0);
		assert_int_equal(do_io(&w, BIO_READ, 8192, buf, 8192), 0);
		disk_refresh(w.disk);
		assert_int_equal(w.disk->info.size, 16384);
		memset(buf, 0xaa, 65536);
		assert_int_equal(do_io(&w, BIO_READ, 16384, buf, 512), -EIO);
		assert_int_equal(buf[0], 0);
		close(fd);
		world_free(&w);
		}
	free(buf);
}

struct one {
	struct bio bio;
	struct iovec iov;
	unsigned char buf[4096];
	unsigned *left;
};

static void one_done(struct bio *bio)
{
	--*((struct one *)bio->owner)->left;
}

/* Reads that follow each other are one system call; when it fails, each has its own result. */
static void merged_failure_hits_its_owner_only(void **state)
{
	static struct one r[8];
	struct bio *list[8];
	unsigned left = 8;
	uint64_t end = pvb_now_ms() + WAIT_MS;
	char text[300];
	struct world w;
	int fd = new_file(disk_dir(), 65536);

	snprintf(text, sizeof(text), "file:%s?cache=buffered", path);
	world_new(&w);
	must_open(&w, text, false);
	memset(r[0].buf, 7, 4096);
	for (int i = 0; i < 16; i++)
		assert_int_equal(pwrite(fd, r[0].buf, 4096, 4096 * i), 4096);
	assert_int_equal(ftruncate(fd, 3 * 4096 + 512), 0);
	for (int i = 0; i < 8; i++) {
		memset(r[i].buf, 0xaa, 4096);
		r[i].left = &left;
		r[i].iov = (struct iovec) { r[i].buf, 4096 };
		r[i].bio = (struct bio) { .op = BIO_READ, .off = 4096 * i, .len = 4096, .iov = &r[i].iov, .nr_iov = 1,
					  .done = one_done, .owner = &r[i] };
		list[i] = &r[i].bio;
	}
	disk_submit(w.disk, list, 8);
	while (left) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w.loop, 100);
	}
	for (int i = 0; i < 8; i++) {
		assert_int_equal(r[i].bio.result, i < 3 ? 0 : -EIO);
		for (int n = 0; n < 4096; n++)
			assert_int_equal(r[i].buf[n], i < 3 ? 7 : 0);
	}
	close(fd);
	world_free(&w);
}

static void file_refusals(void **state)
{
	struct world w;
	int fd;

	world_new(&w);
	assert_int_equal(open_disk(&w, "file:/dev/null", false), -ENOTBLK);
	assert_non_null(strstr(w.why, "character device"));
	assert_int_equal(open_disk(&w, "/tmp", false), -ENOTBLK);
	assert_int_equal(open_disk(&w, "/nonexistent/x", true), -ENOENT);
	fd = new_file("/tmp", 511);
	assert_int_equal(open_disk(&w, path, true), -EINVAL);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(open_disk(&w, path, true), -EINVAL);
	assert_int_equal(ftruncate(fd, 1500), 0);
	must_open(&w, path, true);
	assert_int_equal(w.disk->info.size, 1024);
	close(fd);
	world_free(&w);
}

/* --- out of range ----------------------------------------------------------------------------------- */

static void check_range(const char *text)
{
	static const struct { uint64_t off, len; int rc; } cases[] = {
		{ 0, 512, 0 }, { MODEL_SIZE - 512, 512, 0 }, { MODEL_SIZE, 512, -EIO }, { MODEL_SIZE - 512, 1024, -EIO },
		{ -512ULL, 512, -EIO }, { -512ULL, 1024, -EIO }, { 512, -512ULL, -EIO }, { 1ULL << 63, 512, -EIO },
		{ 1ULL << 63, 1ULL << 63, -EIO },
	};
	struct world w;

	world_new(&w);
	must_open(&w, text, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(do_io(&w, BIO_DISCARD, cases[i].off, NULL, cases[i].len), cases[i].rc);
		if (cases[i].len <= 1024) {
			unsigned char *buf = aligned_alloc(512, 1024);

			assert_int_equal(do_io(&w, BIO_WRITE, cases[i].off, buf, cases[i].len), cases[i].rc);
			assert_int_equal(do_io(&w, BIO_READ, cases[i].off, buf, cases[i].len), cases[i].rc);
			free(buf);
		}
	}
	world_free(&w);
}

static void out_of_range(void **state)
{
	check_range("null:size=4M");
	check_range("mem:size=4M");
	close(new_file(disk_dir(), MODEL_SIZE));
	check_range(path);
}

/* --- null, mem, wrappers ---------------------------------------------------------------------------- */

static void mem_model(void **state)
{
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M", false);
	run_oracle(&w, 3000, true);
	world_free(&w);
}

/* The memory that a mem disk has taken, in bytes. */
static uint64_t mem_taken(void)
{
	struct stat st;
	char link[64];
	ssize_t n;

	for (int fd = 3; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = 0;
		if (strncmp(link, "/memfd:pvbus-mem", 16) == 0 && fstat(fd, &st) == 0)
			return (uint64_t)st.st_blocks * 512;
	}
	fail_msg("there is no mem disk");
	return 0;
}

/* What is read, or shown, and was never written takes no memory; what was written is shown where it is. */
static void mem_keeps_holes(void **state)
{
	unsigned char *buf = calloc(1, 1 << 20);
	const void *at = buf;
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=8M", false);
	for (uint64_t off = 0; off < 8 << 20; off += 1 << 20)
		assert_int_equal(do_io(&w, BIO_READ, off, buf, 1 << 20), 0);
	assert_true(disk_peek(w.disk, 0, 8 << 20, &at));
	assert_null(at);
	assert_int_equal(mem_taken(), 0);
	memset(buf, 0xaa, 8192);
	assert_int_equal(do_io(&w, BIO_WRITE, (2 << 20) - 4096, buf, 8192), 0);
	assert_int_equal(mem_taken(), 8192);
	assert_true(disk_peek(w.disk, (2 << 20) - 4096, 8192, &at));
	assert_memory_equal(at, buf, 8192);
	assert_false(disk_peek(w.disk, (2 << 20) - 8192, 8192, &at)); /* half of it */
	assert_false(disk_peek(w.disk, 8 << 20, 512, &at));
	assert_int_equal(do_io(&w, BIO_READ, (2 << 20) - 8192, buf, 16384), 0);
	for (unsigned i = 0; i < 16384; i++)
		assert_int_equal(buf[i], i / 4096 == 1 || i / 4096 == 2 ? 0xaa : 0);
	assert_int_equal(mem_taken(), 8192);
	assert_int_equal(do_io(&w, BIO_DISCARD, 2 << 20, NULL, 6 << 20), 0); /* more than is freed at once */
	assert_int_equal(mem_taken(), 4096);
	assert_true(disk_peek(w.disk, 2 << 20, 4096, &at));
	assert_null(at);
	assert_true(disk_peek(w.disk, (2 << 20) - 4096, 4096, &at));
	assert_non_null(at);
	free(buf);
	world_free(&w);
}

static void null_reads_zeroes(void **state)
{
	unsigned char buf[4096];
	struct world w;

	world_new(&w);
	must_open(&w, "null:size=1G", false);
	assert_int_equal(w.disk->info.size, 1 << 30);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(do_io(&w, BIO_WRITE, 4096, buf, sizeof(buf)), 0);
	assert_int_equal(do_io(&w, BIO_READ, 4096, buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	world_free(&w);
}

static void faults_in_turn(void **state)
{
	unsigned char buf[512];
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=1M?fault=write:ENOSPC@2+1&fault=flush:EIO&fault=read:EIO@1+2", false);
	assert_true(w.disk->info.flush);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), -ENOSPC);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	world_free(&w);
}

static void delays(void **state)
{
	unsigned char buf[512];
	uint64_t start;
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=1M?delay=read:20ms&delay=write:500us&fault=read:EIO@1", false);
	start = pvb_now_ns();
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(do_io(&w, BIO_WRITE, 0, buf, 512), 0);
	assert_true(pvb_now_ns() - start >= 500000);
	assert_true(w.afters > 0);
	start = pvb_now_ns();
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), 0);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -EIO);
	assert_true(pvb_now_ns() - start >= 40000000);
	world_free(&w);
}

static void delayed_model(void **state)
{
	struct world w;

	world_new(&w);
	must_open(&w, "mem:size=4M?delay=all:100us&delay=write:300us", false);
	run_oracle(&w, 300, true);
	world_free(&w);
}

/* Last of all: the filter stays for the rest of the process. */
static void without_io_uring(void **state)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };
	struct world w;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) {
		print_message("no seccomp here\n");
		skip();
	}
	world_new(&w);
	assert_false(aio_is_async(w.aio));
	world_free(&w);
	test_file(disk_dir(), "?cache=buffered");
	test_file(disk_dir(), "");
	test_file(disk_dir(), "?delay=write:100us");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(mem_model, undo_all),
		cmocka_unit_test_teardown(mem_keeps_holes, undo_all),
		cmocka_unit_test_teardown(null_reads_zeroes, undo_all),
		cmocka_unit_test_teardown(file_on_tmpfs, undo_all),
		cmocka_unit_test_teardown(file_buffered, undo_all),
		cmocka_unit_test_teardown(file_auto, undo_all),
		cmocka_unit_test_teardown(file_direct, undo_all),
		cmocka_unit_test_teardown(e512_model, undo_all),
		cmocka_unit_test_teardown(e512_keeps_order, undo_all),
		cmocka_unit_test_teardown(block_4096_direct, undo_all),
		cmocka_unit_test_teardown(block_4096_buffered, undo_all),
		cmocka_unit_test_teardown(block_512_auto, undo_all),
		cmocka_unit_test_teardown(retried_flush_tells_the_truth, undo_all),
		cmocka_unit_test_teardown(file_plain_path_is_literal, undo_all),
		cmocka_unit_test_teardown(file_truncated_under_us, undo_all),
		cmocka_unit_test_teardown(merged_failure_hits_its_owner_only, undo_all),
		cmocka_unit_test_teardown(file_refusals, undo_all),
		cmocka_unit_test_teardown(out_of_range, undo_all),
		cmocka_unit_test_teardown(faults_in_turn, undo_all),
		cmocka_unit_test_teardown(delays, undo_all),
		cmocka_unit_test_teardown(delayed_model, undo_all),
		cmocka_unit_test_teardown(without_io_uring, undo_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
