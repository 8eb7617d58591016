// SPDX-License-Identifier: GPL-2.0-or-later
/* The head of a saved domain: what xl writes is read, what pvl writes is what xl reads, and a file that lies is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "loop.h"
#include "pace.h"
#include "savefile.h"

/* As Debian's xl 4.17 wrote it (save -c of a PV guest), with a shorter configuration. */
static const char head[48] = "Xen saved domain, xl format\n \0 \r" "\4\3\2\1" "\3\0\0\0" "\0\0\0\0" "\7\0\0\0";
static const char body[7] = "\3\0\0\0{}";

static int read_back(const char *data, size_t len, struct savefile *f, struct pvb_error *err)
{
	int fds[2], rc;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], data, len), len);
	close(fds[1]);
	*f = (struct savefile){ 0 };
	rc = savefile_get_header(fds[0], f, err);
	close(fds[0]);
	return rc;
}

static void xl_writes(void **state)
{
	char data[sizeof(head) + sizeof(body)];
	struct savefile f;

	memcpy(data, head, sizeof(head));
	memcpy(data + sizeof(head), body, sizeof(body));
	assert_int_equal(read_back(data, sizeof(data), &f, NULL), 0);
	assert_true(f.json);
	assert_int_equal(f.stream_version, 2);
	assert_string_equal(f.config, "{}");
	free(f.config);
}

static void pvl_writes(void **state)
{
	char data[64];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(savefile_put_header(fds[1], "{}", NULL), 0);
	assert_int_equal(read(fds[0], data, sizeof(data)), sizeof(head) + sizeof(body));
	assert_memory_equal(data, head, sizeof(head));
	assert_memory_equal(data + sizeof(head), body, sizeof(body));
	close(fds[0]);
	close(fds[1]);
}

/* Each of them: offset, new byte, how many bytes there are, and a word of the message. */
static void lies(void **state)
{
	static const struct {
		unsigned off;
		unsigned char byte;
		size_t len;
		const char *word;
	} lie[] = {
		{ 0, 'x', 55, "not a saved domain" }, { 31, 'x', 55, "not a saved domain" },
		{ 0, 'X', 0, "not a saved domain" },  { 0, 'X', 47, "not a saved domain" },
		{ 32, 1, 55, "byte order" },	      { 36, 7, 55, "flags 0x7" },
		{ 44, 3, 55, "3 bytes can not be" },  { 47, 0xff, 55, "can not be" },
		{ 0, 'X', 54, "ends in it" },	      { 48, 4, 55, "4 bytes in 7" },
		{ 51, 0xff, 55, "can not be" },
	};

	for (size_t i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		char data[sizeof(head) + sizeof(body)];
		struct pvb_error err = { 0 };
		struct savefile f;

		memcpy(data, head, sizeof(head));
		memcpy(data + sizeof(head), body, sizeof(body));
		data[lie[i].off] = (char)lie[i].byte;
		assert_true(read_back(data, lie[i].len, &f, &err) < 0);
		if (!strstr(err.text, lie[i].word))
			fail_msg("lie %zu: \"%s\" does not say \"%s\"", i, err.text, lie[i].word);
		assert_null(f.config);
	}
}

static void no_configuration(void **state)
{
	char data[sizeof(head)];
	struct savefile f;

	memcpy(data, head, sizeof(head));
	data[44] = 0; /* nothing follows */
	data[36] = 0; /* an old stream, and the configuration would be text */
	assert_int_equal(read_back(data, sizeof(data), &f, NULL), 0);
	assert_null(f.config);
	assert_false(f.json);
	assert_int_equal(f.stream_version, 1);
}

static void waiting(void **state)
{
	volatile sig_atomic_t stop = 1;
	char c[4];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(savefile_get(fds[0], c, 4, 10, NULL), -ETIMEDOUT);
	assert_int_equal(write(fds[1], "ab", 2), 2);
	assert_int_equal(savefile_get(fds[0], c, 2, -1, NULL), 0);
	assert_int_equal(write(fds[1], "ab", 2), 2);
	assert_int_equal(savefile_get(fds[0], c, 2, -1, &stop), -EINTR);
	close(fds[1]);
	assert_int_equal(savefile_get(fds[0], c, 4, -1, NULL), -EPIPE);
	close(fds[0]);
}

/* What is written comes out, all of it, and not sooner than it may. */
static void paced(void **state)
{
	static char data[3000000], back[sizeof(data) + 1];
	char name[] = "/tmp/pvl-pace-XXXXXX";
	struct pvb_error err = { 0 };
	uint64_t start = pvb_now_ms();
	int fd = mkstemp(name), fds[2];
	struct pace p;

	assert_true(fd >= 0);
	unlink(name);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 2654435761u >> 13);
	assert_int_equal(pace_begin(&p, fd, 10, &err), 0);
	assert_int_equal(savefile_put(p.fd, data, sizeof(data)), 0);
	assert_int_equal(pace_end(&p, true, NULL, &err), 0);
	assert_true(pvb_now_ms() - start >= 270);
	assert_int_equal(pread(fd, back, sizeof(back), 0), sizeof(data));
	assert_memory_equal(back, data, sizeof(data));
	close(fd);

	/* nobody takes it: its end says so, and so does writing to it */
	assert_int_equal(pipe(fds), 0);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pace_begin(&p, fds[1], 1000, &err), 0);
	close(fds[0]);
	assert_int_equal(savefile_put(p.fd, data, sizeof(data)), -EPIPE);
	assert_int_equal(pace_end(&p, true, NULL, &err), -EPIPE);
	assert_non_null(strstr(err.text, "Broken pipe"));
	close(fds[1]);

	/* somebody who never takes it does not hold us when it need not arrive */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pace_begin(&p, fds[1], 1000, &err), 0);
	assert_int_equal(savefile_put(p.fd, data, 100000), 0);
	assert_int_equal(pace_end(&p, false, NULL, &err), 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xl_writes), cmocka_unit_test(pvl_writes), cmocka_unit_test(lies),
		cmocka_unit_test(no_configuration), cmocka_unit_test(waiting), cmocka_unit_test(paced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
