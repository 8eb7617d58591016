/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Provider nbd against other people's servers, and the formats that qemu-nbd serves. Parts are skipped where a
 * server is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/oracle.h"

static char dir[40];

static bool installed(const char *program)
{
	if (sh(NULL, 0, "command -v %s >/dev/null 2>&1", program))
		return true;
	print_message("%s is not installed\n", program);
	return false;
}

static void new_dir(void)
{
	strcpy(dir, "/tmp/pvbus-unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	undo_later("rm -rf %s", dir);
}

/* nbdkit in the background on dir/sock, ready when this returns; its end is the teardown's. */
static void start_nbdkit(const char *args)
{
	new_dir();
	assert_true(sh(NULL, 0, "nbdkit -U %s/sock -P %s/pid %s >%s/log 2>&1", dir, dir, args, dir));
	undo_later("kill $(cat %s/pid) 2>/dev/null", dir);
}

static void with_nbdkit(const char *args, unsigned block, unsigned rounds)
{
	char text[100];
	struct world w;

	if (!installed("nbdkit"))
		skip();
	start_nbdkit(args);
	snprintf(text, sizeof(text), "nbd:unix:%s/sock", dir);
	world_new(&w);
	must_open(&w, text, false);
	assert_int_equal(w.disk->info.physical_block, block);
	assert_true(w.disk->info.flush);
	assert_memory_equal(w.identity, "nbd ", 4);
	run_oracle(&w, rounds, false);
	world_free(&w);
}

static void nbd_model(void **state)
{
	with_nbdkit("memory 4M", 512, 800);
}

static void nbd_large_blocks(void **state)
{
	if (!installed("nbdkit") || !sh(NULL, 0, "nbdkit --filter=blocksize-policy --dump-plugin null >/dev/null 2>&1"))
		skip();
	with_nbdkit("--filter=blocksize-policy memory 4M blocksize-minimum=4096 blocksize-preferred=4096 "
		    "blocksize-maximum=2M blocksize-error-policy=error", 4096, 800);
}

static void nbd_export_name_and_read_only(void **state)
{
	char text[120];
	unsigned char buf[512];
	struct world w;

	if (!installed("nbdkit"))
		skip();
	start_nbdkit("-r -e disk/1 pattern 1M");
	world_new(&w);
	snprintf(text, sizeof(text), "nbd:unix:%s/sock?export=disk/1", dir);
	assert_int_equal(open_disk(&w, text, false), -EINVAL);
	assert_non_null(strstr(w.why, "read-only"));
	must_open(&w, text, true);
	assert_int_equal(w.disk->info.size, 1 << 20);
	assert_int_equal(do_io(&w, BIO_READ, 4096, buf, 512), 0);
	assert_int_equal(buf[6] << 8 | buf[7], 4096);
	assert_int_equal(do_io(&w, BIO_READ, 1 << 20, buf, 512), -EIO);
	assert_int_equal(do_io(&w, BIO_READ, -512ULL, buf, 512), -EIO);
	world_free(&w);
}

static void nbd_over_tcp(void **state)
{
	char port[8], text[60];
	struct world w;

	if (!installed("nbdkit"))
		skip();
	new_dir();
	for (int i = 0; i < 20; i++) {
		snprintf(port, sizeof(port), "%d", 20000 + (int)((getpid() * 7 + i * 131) % 20000));
		if (sh(NULL, 0, "nbdkit -i 127.0.0.1 -p %s -P %s/pid memory 4M >%s/log 2>&1", port, dir, dir))
			break;
		assert_int_not_equal(i, 19);
	}
	undo_later("kill $(cat %s/pid)", dir);
	world_new(&w);
	snprintf(text, sizeof(text), "nbd:127.0.0.1:%s", port);
	must_open(&w, text, false);
	run_oracle(&w, 300, false);
	world_free(&w);
}

static void nbd_refusals(void **state)
{
	struct world w;

	world_new(&w);
	assert_int_equal(open_disk(&w, "nbd:unix:/nonexistent/sock", true), -ENOENT);
	assert_int_equal(open_disk(&w, "nbd:unix:relative", true), -EINVAL);
	assert_int_equal(open_disk(&w, "nbd:example.org:10809", true), -EINVAL);
	assert_non_null(strstr(w.why, "names are not looked up"));
	assert_int_equal(open_disk(&w, "nbd:127.0.0.1", true), -EINVAL);
	assert_int_equal(open_disk(&w, "nbd:127.0.0.1:1", true), -ECONNREFUSED);
	assert_int_equal(open_disk(&w, "nbd:unix:/x?exprot=a", true), -EINVAL);
	assert_non_null(strstr(w.why, "exprot"));
	world_free(&w);
}

/* Something listens and is no NBD server. */
static void nbd_garbage(void **state)
{
	char text[100];
	struct world w;

	if (!installed("python3"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "cd %s && { python3 -c 'import socket,os\n"
		       "s=socket.socket(socket.AF_UNIX); s.bind(\"sock\"); s.listen(1); open(\"pid\",\"w\").write(str(os.getpid()))\n"
		       "c=s.accept()[0]; c.sendall(b\"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\"*8); c.recv(9999)' >/dev/null 2>&1 & }\n"
		       "for i in $(seq 100); do [ -s %s/pid ] && exit 0; sleep 0.05; done; exit 1", dir, dir));
	world_new(&w);
	snprintf(text, sizeof(text), "nbd:unix:%s/sock", dir);
	assert_int_equal(open_disk(&w, text, false), -ENOTCONN);
	assert_true(strlen(w.why) > strlen(text));
	world_free(&w);
}

struct pending {
	struct bio bio;
	struct iovec iov;
	unsigned char buf[4096];
	unsigned *left;
};

static void ended(struct bio *bio)
{
	struct pending *p = bio->owner;

	assert_int_equal(bio->result, -ENOTCONN);
	for (unsigned i = 0; i < sizeof(p->buf); i++)
		assert_int_equal(p->buf[i], 0);
	--*p->left;
}

/* The server dies with requests in flight: each of them ends, with an error, and so do later ones. */
static void nbd_server_dies(void **state)
{
	static struct pending p[16];
	struct bio *list[16];
	unsigned left = 16;
	uint64_t end = pvb_now_ms() + WAIT_MS;
	char text[100], buf[512];
	struct world w;

	if (!installed("nbdkit"))
		skip();
	start_nbdkit("--filter=delay memory 4M rdelay=60");
	snprintf(text, sizeof(text), "nbd:unix:%s/sock", dir);
	world_new(&w);
	must_open(&w, text, false);
	for (int i = 0; i < 16; i++) {
		memset(p[i].buf, 0xaa, sizeof(p[i].buf));
		p[i].left = &left;
		p[i].iov = (struct iovec) { p[i].buf, 4096 };
		p[i].bio = (struct bio) { .op = BIO_READ, .off = 4096 * i, .len = 4096, .iov = &p[i].iov, .nr_iov = 1,
					  .done = ended, .owner = &p[i] };
		list[i] = &p[i].bio;
	}
	disk_submit(w.disk, list, 16);
	assert_int_equal(left, 16);
	assert_true(sh(NULL, 0, "kill -9 $(cat %s/pid)", dir));
	while (left) {
		assert_true(pvb_now_ms() < end);
		pvb_loop_once(w.loop, 100);
	}
	assert_int_equal(w.afters, 1);
	assert_int_equal(do_io(&w, BIO_READ, 0, buf, 512), -ENOTCONN);
	assert_int_equal(do_io(&w, BIO_FLUSH, 0, NULL, 0), -ENOTCONN);
	world_free(&w);
}

static void nbd_closed_before_ready(void **state)
{
	int fds[PROVIDER_MAX_FDS];
	struct pvb_error err;
	struct target *t;
	unsigned nr_fds;
	char text[100];
	struct world w;

	if (!installed("nbdkit"))
		skip();
	start_nbdkit("memory 4M");
	snprintf(text, sizeof(text), "nbd:unix:%s/sock?delay=read:1ms", dir);
	world_new(&w);
	assert_int_equal(target_parse(text, &t, &err), 0);
	assert_int_equal(disk_prepare(t, false, fds, &nr_fds, w.identity, &err), 0);
	assert_int_equal(disk_open(t, false, fds, nr_fds, &w.io, NULL, NULL, &w.disk, &err), 0);
	target_free(t);
	world_free(&w);
}

/* --- qemu-nbd --------------------------------------------------------------------------------------- */

/* Our own children that are still there; bounded wait for them to go. */
static bool children_end(void)
{
	uint64_t end = pvb_now_ms() + WAIT_MS;

	while (pvb_now_ms() < end) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			return true;
		if (!pid)
			usleep(10000);
	}
	return false;
}

static void with_format(const char *provider, const char *format)
{
	char text[100];
	struct world w;

	if (!installed("qemu-nbd") || !installed("qemu-img"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "qemu-img create -q -f %s %s/img 4M", format, dir));
	snprintf(text, sizeof(text), "%s:%s/img", provider, dir);
	world_new(&w);
	must_open(&w, text, false);
	assert_memory_equal(w.identity, "file ", 5);
	run_oracle(&w, 300, false);
	world_free(&w);
	assert_true(children_end());
	/* and it is the image that has the data */
	world_new(&w);
	must_open(&w, text, true);
	world_free(&w);
	assert_true(children_end());
}

static void qcow2(void **state)
{
	with_format("qcow2", "qcow2");
}

static void vmdk(void **state)
{
	with_format("vmdk", "vmdk");
}

static void vhd(void **state)
{
	with_format("vhd", "vpc");
}

static void vhdx(void **state)
{
	with_format("vhdx", "vhdx");
}

static void vdi(void **state)
{
	with_format("vdi", "vdi");
}

static void qemu_nbd_says_why(void **state)
{
	char text[100];
	struct world w;

	if (!installed("qemu-nbd"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "truncate -s 1M %s/img", dir));
	snprintf(text, sizeof(text), "qcow2:%s/img", dir);
	world_new(&w);
	assert_true(open_disk(&w, text, false) < 0);
	assert_non_null(strstr(w.why, "qcow2 format"));
	assert_true(children_end());
	assert_int_equal(open_disk(&w, "qcow2:relative", false), -EINVAL);
	assert_int_equal(open_disk(&w, "qcow2:/nonexistent", false), -ENOENT);
	world_free(&w);
}

static void qemu_nbd_missing(void **state)
{
	char *path_was = strdup(getenv("PATH")), text[100];
	struct world w;

	new_dir();
	assert_true(sh(NULL, 0, "truncate -s 1M %s/img", dir));
	snprintf(text, sizeof(text), "qcow2:%s/img", dir);
	setenv("PATH", "/nonexistent", 1);
	world_new(&w);
	assert_int_equal(open_disk(&w, text, false), -ENOENT);
	setenv("PATH", path_was, 1);
	assert_non_null(strstr(w.why, "installed"));
	world_free(&w);
	assert_true(children_end());
	free(path_was);
}

/* Opened again while the one before still has the image: the new one waits for it. */
static void qemu_nbd_waits_for_the_last(void **state)
{
	struct world a, b;
	char text[100], hold[160];

	if (!installed("qemu-nbd") || !installed("qemu-img") || !installed("qemu-io"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "qemu-img create -q -f qcow2 %s/img 4M", dir));
	snprintf(text, sizeof(text), "qcow2:%s/img", dir);
	snprintf(hold, sizeof(hold), "qemu-io -f qcow2 -c 'sleep 1000' %s/img >/dev/null 2>&1 &", dir);
	world_new(&a);
	must_open(&a, text, false);
	world_free(&a);
	assert_true(children_end());
	assert_true(sh(NULL, 0, "%s sleep 0.3", hold));
	world_new(&b);
	must_open(&b, text, false);
	world_free(&b);
	assert_true(children_end());
}

static void qemu_nbd_checked_only(void **state)
{
	struct pvb_error err = { 0 };
	char text[100];
	struct target *t;

	if (!installed("qemu-nbd") || !installed("qemu-img"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "qemu-img create -q -f qcow2 %s/img 4M", dir));
	snprintf(text, sizeof(text), "qcow2:%s/img?delay=all:1ms", dir);
	assert_int_equal(target_parse(text, &t, &err), 0);
	assert_int_equal(disk_check(t, false, &err), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(unlink(strcat(strcpy(text, dir), "/img")), 0);
	assert_int_equal(disk_check(t, false, &err), -ENOENT);
	target_free(t);
}

/* Started, and never connected to: it must not stay. */
static void qemu_nbd_unused_ends(void **state)
{
	int fds[PROVIDER_MAX_FDS];
	struct pvb_error err;
	char text[100], identity[64];
	struct target *t;
	unsigned nr_fds;

	if (!installed("qemu-nbd") || !installed("qemu-img"))
		skip();
	new_dir();
	assert_true(sh(NULL, 0, "qemu-img create -q -f qcow2 %s/img 4M", dir));
	snprintf(text, sizeof(text), "qcow2:%s/img", dir);
	assert_int_equal(target_parse(text, &t, &err), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(disk_prepare(t, false, fds, &nr_fds, identity, &err), 0);
		usleep(i * 50000); /* before and after it has started up */
		for (unsigned n = 0; n < nr_fds; n++)
			close(fds[n]);
		assert_true(children_end());
	}
	target_free(t);
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, undo_all)
	const struct CMUnitTest tests[] = {
		T(nbd_model), T(nbd_large_blocks), T(nbd_export_name_and_read_only), T(nbd_over_tcp), T(nbd_refusals),
		T(nbd_garbage), T(nbd_server_dies), T(nbd_closed_before_ready), T(qcow2), T(vmdk), T(vhd), T(vhdx), T(vdi),
		T(qemu_nbd_says_why), T(qemu_nbd_missing), T(qemu_nbd_waits_for_the_last),
		T(qemu_nbd_checked_only), T(qemu_nbd_unused_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
