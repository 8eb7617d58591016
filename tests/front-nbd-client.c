// SPDX-License-Identifier: GPL-2.0-or-later
/* pvguest's NBD server against clients that are correct, clumsy and hostile.  Server, disk and client share one
 * thread: whoever waits runs the loop. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "front-env.h"
#include "frontend/user/nbd-impl.h"

struct srv {
	struct env *e;
	struct fback *fb;
	struct pvf_disk *disk;
	struct nbd_server *nbd;
	char path[96];
};

static void on_change(void *arg, struct pvf_disk *disk)
{
	struct srv *s = arg;

	if (s->nbd != NULL)
		nbd_server_changed(s->nbd, disk);
}

static void start(struct srv *s, struct env *e, const struct fback_options *bo, const struct nbd_limits *limits)
{
	static const struct nbd_limits usual = { .buffer = 512 << 10 };

	memset(s, 0, sizeof(*s));
	s->e = e;
	MUST(e, fback_start(&s->fb, e->dir, e->domid, DEVID, bo, &e->err));
	MUST(e, pvf_disk_open(&s->disk, e->guest, DEVID,
			      &(struct pvf_options){ .queues = 2, .indirect = 64, .changed = on_change, .arg = s },
			      &e->err));
	MUST(e, pvf_disk_wait(s->disk, WAIT_MS, &e->err));
	snprintf(s->path, sizeof(s->path), "%s/nbd", e->dir);
	MUST(e, nbd_server_new(&s->nbd, e->loop, s->path, limits != NULL ? limits : &usual, &e->err));
	MUST(e, nbd_server_export(s->nbd, "xvda", s->disk));
}

static void stop(struct srv *s)
{
	nbd_server_stop(s->nbd);
	pvf_disk_down(s->disk, WAIT_MS);
	nbd_server_free(s->nbd);
	s->nbd = NULL;
	pvf_disk_close(&s->disk, WAIT_MS);
	fback_remove(s->fb, true);
}

/* --- a client ---------------------------------------------------------------------------------------- */

static int dial(struct srv *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", s->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* false: the server closed. */
static bool say(struct srv *s, int fd, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t until = pvb_now_ms() + WAIT_MS;
	ssize_t n;

	while (len > 0) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (pvb_now_ms() > until) {
			fail_msg("the server does not read");
		}
		pvb_loop_once(s->e->loop, 0);
	}
	return true;
}

static bool hear(struct srv *s, int fd, void *data, size_t len)
{
	uint8_t *p = data;
	uint64_t until = pvb_now_ms() + WAIT_MS;
	ssize_t n;

	while (len > 0) {
		n = recv(fd, p, len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (pvb_now_ms() > until)
			fail_msg("the server does not answer");
		pvb_loop_once(s->e->loop, 1);
	}
	return true;
}

static bool closed(struct srv *s, int fd)
{
	uint8_t c;

	while (hear(s, fd, &c, 1))
		;
	close(fd);
	return true;
}

static int greet(struct srv *s, uint32_t flags)
{
	uint8_t hello[18], f[4];
	int fd = dial(s);

	assert_true(hear(s, fd, hello, 18));
	assert_true(get64(hello) == NBD_MAGIC && get64(hello + 8) == NBD_OPTS_MAGIC && get16(hello + 16) == 3);
	put32(f, flags);
	assert_true(say(s, fd, f, 4));
	return fd;
}

static size_t option(uint8_t *to, uint32_t opt, const void *data, uint32_t len)
{
	put64(to, NBD_OPTS_MAGIC);
	put32(to + 8, opt);
	put32(to + 12, len);
	memcpy(to + 16, data, len);
	return 16 + len;
}

static void send_option(struct srv *s, int fd, uint32_t opt, const void *data, uint32_t len)
{
	uint8_t buf[512];

	assert_true(say(s, fd, buf, option(buf, opt, data, len)));
}

/* Next option reply: its type; data of at most 512 bytes. */
static uint32_t reply(struct srv *s, int fd, uint32_t opt, uint8_t *data, uint32_t *len)
{
	uint8_t head[20], junk[512];

	assert_true(hear(s, fd, head, 20));
	assert_true(get64(head) == NBD_REPLY_MAGIC);
	assert_int_equal(get32(head + 8), opt);
	assert_true(get32(head + 16) <= sizeof(junk));
	assert_true(hear(s, fd, data != NULL ? data : junk, get32(head + 16)));
	if (len != NULL)
		*len = get32(head + 16);
	return get32(head + 12);
}

static const uint8_t go_default[] = { 0, 0, 0, 0, 0, 1, 0, 3 }; /* name "", one wish: block sizes */

static int go(struct srv *s)
{
	int fd = greet(s, 3);

	send_option(s, fd, NBD_OPT_GO, go_default, sizeof(go_default));
	while (reply(s, fd, NBD_OPT_GO, NULL, NULL) == NBD_REP_INFO)
		;
	return fd;
}

static void command(uint8_t *p, uint16_t type, uint16_t flags, uint64_t cookie, uint64_t offset, uint32_t len)
{
	put32(p, NBD_CMD_MAGIC);
	put16(p + 4, flags);
	put16(p + 6, type);
	put64(p + 8, cookie);
	put64(p + 16, offset);
	put32(p + 24, len);
}

/* One command and its answer; data is sent with a write, filled by a read. */
static uint32_t ask(struct srv *s, int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t len, void *data)
{
	static uint64_t cookie = 1000;
	uint8_t req[28], rep[16];

	command(req, type, flags, ++cookie, offset, len);
	assert_true(say(s, fd, req, 28));
	if (type == NBD_CMD_WRITE)
		assert_true(say(s, fd, data, len));
	assert_true(hear(s, fd, rep, 16));
	assert_int_equal(get32(rep), NBD_SIMPLE_MAGIC);
	assert_true(get64(rep + 8) == cookie);
	if (type == NBD_CMD_READ && get32(rep + 4) == 0)
		assert_true(hear(s, fd, data, len));
	return get32(rep + 4);
}

/* --- handshake --------------------------------------------------------------------------------------- */

static void test_options(void **state)
{
	struct fback_options bo = { .flush = true, .discard = true };
	uint8_t data[512], info[8 + 4] = { 0, 0, 0, 4, 'x', 'v', 'd', 'a', 0, 1, 0, 1 };
	uint32_t len;
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = greet(&s, 3);
	send_option(&s, fd, NBD_OPT_LIST, "", 0);
	assert_int_equal(reply(&s, fd, NBD_OPT_LIST, data, &len), NBD_REP_SERVER);
	assert_true(len == 8 && get32(data) == 4 && memcmp(data + 4, "xvda", 4) == 0);
	assert_int_equal(reply(&s, fd, NBD_OPT_LIST, NULL, NULL), NBD_REP_ACK);
	send_option(&s, fd, NBD_OPT_LIST, "x", 1);
	assert_int_equal(reply(&s, fd, NBD_OPT_LIST, NULL, NULL), NBD_REP_ERR_INVALID);
	for (uint32_t opt = 4; opt < 300; opt += opt < 12 ? 1 : 97) {
		if (opt == NBD_OPT_INFO || opt == NBD_OPT_GO)
			continue;
		send_option(&s, fd, opt, "abc", 3);
		assert_int_equal(reply(&s, fd, opt, NULL, NULL), NBD_REP_ERR_UNSUP);
	}
	/* INFO does not end the negotiation */
	send_option(&s, fd, NBD_OPT_INFO, info, sizeof(info));
	assert_int_equal(reply(&s, fd, NBD_OPT_INFO, data, &len), NBD_REP_INFO);
	assert_true(len == 12 && get16(data) == NBD_INFO_EXPORT && get64(data + 2) == 32768 * 512);
	assert_int_equal(get16(data + 10), NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
						   NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
						   NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_FAST_ZERO);
	assert_int_equal(reply(&s, fd, NBD_OPT_INFO, data, &len), NBD_REP_INFO);
	assert_true(get16(data) == NBD_INFO_NAME && len == 6);
	assert_int_equal(reply(&s, fd, NBD_OPT_INFO, NULL, NULL), NBD_REP_ACK);
	/* things that do not fit, one byte off each */
	send_option(&s, fd, NBD_OPT_GO, info, 5);
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_INVALID);
	send_option(&s, fd, NBD_OPT_GO, info, sizeof(info) - 1);
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_INVALID);
	put32(info, 7);
	send_option(&s, fd, NBD_OPT_GO, info, sizeof(info));
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_INVALID);
	put32(info, UINT32_MAX);
	send_option(&s, fd, NBD_OPT_GO, info, sizeof(info));
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_INVALID);
	memcpy(info, (uint8_t[]){ 0, 0, 0, 4, 'x', 'v', 'd', 'b' }, 8);
	send_option(&s, fd, NBD_OPT_GO, info, sizeof(info));
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_UNKNOWN);
	send_option(&s, fd, NBD_OPT_GO, go_default, sizeof(go_default));
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, data, &len), NBD_REP_INFO);
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, data, &len), NBD_REP_INFO);
	assert_true(len == 14 && get16(data) == NBD_INFO_BLOCK_SIZE && get32(data + 2) == 512 &&
		    get32(data + 6) == 4096 && get32(data + 10) == 256 << 10);
	assert_int_equal(reply(&s, fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, data), 0);
	close(fd);
	fd = greet(&s, 3);
	send_option(&s, fd, NBD_OPT_ABORT, "", 0);
	assert_int_equal(reply(&s, fd, NBD_OPT_ABORT, NULL, NULL), NBD_REP_ACK);
	assert_true(closed(&s, fd));
	stop(&s);
}

static void test_export_name(void **state)
{
	struct fback_options bo = { .readonly = true };
	uint8_t data[512];
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	for (unsigned no_zeroes = 0; no_zeroes < 2; no_zeroes++) {
		fd = greet(&s, 1 + 2 * no_zeroes);
		send_option(&s, fd, NBD_OPT_EXPORT_NAME, "xvda", 4);
		assert_true(hear(&s, fd, data, no_zeroes ? 10 : 134));
		assert_true(get64(data) == 32768 * 512);
		assert_int_equal(get16(data + 8), NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN);
		assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, data), 0);
		assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 0, 512, data), NBD_EPERM);
		assert_int_equal(ask(&s, fd, NBD_CMD_TRIM, 0, 0, 512, NULL), NBD_EPERM);
		assert_int_equal(ask(&s, fd, NBD_CMD_WRITE_ZEROES, 0, 0, 512, NULL), NBD_EPERM);
		assert_int_equal(ask(&s, fd, NBD_CMD_FLUSH, 0, 0, 0, NULL), NBD_EINVAL);
		close(fd);
	}
	fd = greet(&s, 3);
	send_option(&s, fd, NBD_OPT_EXPORT_NAME, "nope", 4);
	assert_true(closed(&s, fd));
	stop(&s);
}

static void test_broken_framing(void **state)
{
	struct fback_options bo = { 0 };
	uint8_t buf[64] = { 0 };
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = greet(&s, 0x10); /* flags nobody knows */
	assert_true(closed(&s, fd));
	fd = greet(&s, 3);
	say(&s, fd, buf, sizeof(buf)); /* no option magic */
	assert_true(closed(&s, fd));
	fd = greet(&s, 3);
	put64(buf, NBD_OPTS_MAGIC);
	put32(buf + 8, NBD_OPT_GO);
	put32(buf + 12, NBD_OPT_MAX + 1); /* too long to be true */
	say(&s, fd, buf, 16);
	assert_true(closed(&s, fd));
	fd = go(&s);
	memset(buf, 0, sizeof(buf));
	say(&s, fd, buf, 28); /* no command magic */
	assert_true(closed(&s, fd));
	fd = go(&s);
	command(buf, NBD_CMD_WRITE, 0, 1, 0, UINT32_MAX); /* a payload not worth reading */
	say(&s, fd, buf, 28);
	assert_true(closed(&s, fd));
	fd = go(&s);
	command(buf, NBD_CMD_WRITE, 0, 1, 0, 65536); /* leaves in the middle of a payload */
	say(&s, fd, buf, 40);
	close(fd);
	fd = go(&s);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, (uint8_t[512]){ 0 }), 0);
	close(fd);
	stop(&s);
}

/* Everything arrives one byte at a time. */
static void test_trickle(void **state)
{
	struct fback_options bo = { .flush = true };
	uint8_t out[2048], rep[16 + 10], data[512];
	size_t len;
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = dial(&s);
	assert_true(hear(&s, fd, data, 18));
	put32(out, 3);
	len = 4 + option(out + 4, NBD_OPT_EXPORT_NAME, "xvda", 4);
	command(out + len, NBD_CMD_WRITE, 0, 77, 1024, 512);
	memset(out + len + 28, 0x3c, 512);
	len += 28 + 512;
	for (size_t i = 0; i < len; i++)
		assert_true(say(&s, fd, out + i, 1));
	assert_true(hear(&s, fd, rep, 26));
	assert_true(get32(rep + 10) == NBD_SIMPLE_MAGIC && get32(rep + 14) == 0 && get64(rep + 18) == 77);
	assert_memory_equal(fback_data(s.fb) + 1024, out + len - 512, 512);
	close(fd);
	stop(&s);
}

/* --- commands ---------------------------------------------------------------------------------------- */

static void test_commands(void **state)
{
	struct fback_options bo = { .flush = true, .discard = true };
	uint32_t size = 32768 * 512;
	uint8_t *data = malloc(2 << 20), *back = malloc(2 << 20), zero[4096] = { 0 };
	struct fback_counts c;
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	for (size_t i = 0; i < 2 << 20; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
	for (uint32_t len = 512; len <= 256 << 10; len *= 2) {
		assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 3 * 512, len, data), 0);
		assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 3 * 512, len, back), 0);
		assert_memory_equal(data, back, len);
		assert_memory_equal(fback_data(s.fb) + 3 * 512, data, len);
	}
	/* more than half the buffer is copied */
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 512, 2 << 20, data), 0);
	memset(back, 0, 2 << 20);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 512, 2 << 20, back), 0);
	assert_memory_equal(data, back, 2 << 20);
	/* FUA is a flush behind the write */
	fback_counts(s.fb, &c);
	assert_int_equal(c.flushes, 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 4096, data), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 4096, 4096, NULL), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, NBD_CMD_FLAG_FUA, 0, 512, back), 0);
	fback_counts(s.fb, &c);
	assert_int_equal(c.flushes, 3);
	assert_memory_equal(fback_data(s.fb) + 4096, zero, 4096);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 0, 8 << 20, NULL), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 4096, NULL), NBD_ENOTSUP);
	assert_int_equal(ask(&s, fd, NBD_CMD_TRIM, 0, 0, size, NULL), 0);
	fback_counts(s.fb, &c);
	assert_int_equal(c.discards, 1);
	/* nothing to do is done */
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 0, back), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, size, 0, data), 0);
	/* wrong ones */
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 1, 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 511, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, size, 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, UINT64_MAX - 511, 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, (32 << 20) + 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, size - 512, 1024, data), NBD_ENOSPC);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 511, 2 << 20, data), NBD_EINVAL); /* read and thrown away */
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE_ZEROES, 0, size - 512, 1024, NULL), NBD_ENOSPC);
	assert_int_equal(ask(&s, fd, NBD_CMD_TRIM, 0, size - 512, 1024, NULL), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0x8000, 0, 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 512, back), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_FLUSH, 0, 512, 0, NULL), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, 5, 0, 0, 512, NULL), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, 0xffff, 0xffff, UINT64_MAX, UINT32_MAX, NULL), NBD_EINVAL);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, back), 0);
	fback_counts(s.fb, &c);
	assert_int_equal(c.complaints, 0);
	close(fd);
	stop(&s);
	free(data);
	free(back);
}

static void test_disk_errors(void **state)
{
	struct fback_options bo = { .flush = true, .flush_status = -1, .error_status = -1, .error_sector = 100 };
	uint8_t data[65536] = { 0 };
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 65536, data), NBD_EIO);
	assert_int_equal(ask(&s, fd, NBD_CMD_FLUSH, 0, 0, 0, NULL), NBD_EIO);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1 << 20, 512, data),
			 NBD_EIO); /* its flush failed */
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 1 << 20, 512, data), 0);
	close(fd);
	stop(&s);
}

/* A client that asks for far more than its buffer holds and reads nothing meanwhile: it is held back, then served
 * in full, each cookie once. */
static void test_greedy(void **state)
{
	struct fback_options bo = { .reverse = true };
	enum { NR = 3000, LEN = 16384, BIG = 300000 / 512 * 512 };
	uint8_t *out = malloc(NR * 28), *seen = calloc(NR, 1), rep[16], *data = malloc(BIG);
	size_t sent = 0;
	unsigned got = 0;
	struct srv s;
	ssize_t n;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	for (unsigned i = 0; i < NR; i++)
		command(out + i * 28, NBD_CMD_READ, 0, i, (uint64_t)i * 512, i % 100 == 7 ? BIG : LEN);
	for (unsigned idle = 0; idle < 200;) {
		n = send(fd, out + sent, NR * 28 - sent, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
		pvb_loop_once(s.e->loop, 1);
	}
	while (got < NR) {
		if (sent < NR * 28) {
			n = send(fd, out + sent, NR * 28 - sent, MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
		}
		assert_true(hear(&s, fd, rep, 16));
		assert_true(get32(rep) == NBD_SIMPLE_MAGIC && get32(rep + 4) == 0 && get64(rep + 8) < NR);
		assert_int_equal(seen[get64(rep + 8)]++, 0);
		assert_true(hear(&s, fd, data, get64(rep + 8) % 100 == 7 ? BIG : LEN));
		got++;
	}
	close(fd);
	stop(&s);
	free(out);
	free(seen);
	free(data);
}

/* Big writes in a row, in pieces of every size: payloads land behind whatever was read ahead. */
static void test_stream_of_writes(void **state)
{
	struct fback_options bo = { .flush = true };
	enum { NR = 60 };
	static const uint32_t lens[] = { 512, 131072, 4096, 262144, 1024, 65536 };
	uint8_t *out = malloc(NR * (28 + 262144)), *want = calloc(1, 16 << 20), rep[16];
	size_t len = 0, at = 0, n;
	uint64_t off = 0;
	unsigned seed = 1;
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	for (unsigned i = 0; i < NR; i++) {
		uint32_t l = lens[i % 6];

		if (off + l > 16 << 20)
			off = 0;
		command(out + len, NBD_CMD_WRITE, 0, i, off, l);
		for (uint32_t k = 0; k < l; k++)
			out[len + 28 + k] = (uint8_t)(k * 13 + i);
		memcpy(want + off, out + len + 28, l);
		len += 28 + l;
		off += l;
	}
	while (at < len) {
		seed = seed * 1103515245 + 12345;
		n = (seed >> 16) % 50000 + 1;
		if (n > len - at)
			n = len - at;
		assert_true(say(&s, fd, out + at, n));
		at += n;
	}
	for (unsigned i = 0; i < NR; i++) {
		assert_true(hear(&s, fd, rep, 16));
		assert_int_equal(get32(rep + 4), 0);
	}
	assert_memory_equal(fback_data(s.fb), want, 16 << 20);
	close(fd);
	stop(&s);
	free(out);
	free(want);
}

/* DISC: what was asked before is still answered. */
static void test_disc(void **state)
{
	struct fback_options bo = { .hold = true };
	uint8_t out[28 * 11], rep[16], data[4096];
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	for (unsigned i = 0; i < 10; i++)
		command(out + 28 * i, NBD_CMD_READ, 0, i, 4096 * i, 4096);
	command(out + 280, NBD_CMD_DISC, 0, 0, 0, 0);
	assert_true(say(&s, fd, out, sizeof(out)));
	for (unsigned i = 0; i < 20; i++)
		pvb_loop_once(s.e->loop, 5);
	fback_release(s.fb);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(hear(&s, fd, rep, 16));
		assert_true(hear(&s, fd, data, 4096));
	}
	assert_true(closed(&s, fd));
	stop(&s);
}

/* Clients that go away with commands in flight leave nothing behind. */
static void test_disconnect(void **state)
{
	struct fback_options bo = { .hold = true };
	uint8_t out[28 * 100];
	struct nbd_stats st;
	struct srv s;
	int fd[3];

	start(&s, *state, &bo, NULL);
	for (unsigned c = 0; c < 3; c++) {
		fd[c] = go(&s);
		for (unsigned i = 0; i < 100; i++)
			command(out + 28 * i, NBD_CMD_READ, 0, i, 4096 * i, 4096);
		assert_true(say(&s, fd[c], out, sizeof(out)));
	}
	for (unsigned i = 0; i < 20; i++)
		pvb_loop_once(s.e->loop, 2);
	close(fd[0]);
	close(fd[1]);
	for (unsigned i = 0; i < 20; i++)
		pvb_loop_once(s.e->loop, 2);
	nbd_server_stats(s.nbd, &st);
	assert_int_equal(st.connections, 3); /* their commands are still with the disk */
	fback_release(s.fb);
	LOOP_UNTIL(s.e, (nbd_server_stats(s.nbd, &st), st.connections == 1));
	close(fd[2]);
	LOOP_UNTIL(s.e, (nbd_server_stats(s.nbd, &st), st.connections == 0));
	stop(&s);
}

static void test_limits(void **state)
{
	struct fback_options bo = { 0 };
	struct nbd_limits limits = { .connections = 2, .buffer = 256 << 10 };
	struct nbd_stats st;
	uint8_t data[512];
	struct srv s;
	int a, b, c;

	start(&s, *state, &bo, &limits);
	a = go(&s);
	b = go(&s);
	c = dial(&s);
	assert_true(closed(&s, c));
	close(a);
	LOOP_UNTIL(s.e, (nbd_server_stats(s.nbd, &st), st.connections == 1));
	c = go(&s);
	assert_int_equal(ask(&s, c, NBD_CMD_READ, 0, 0, 512, data), 0);
	nbd_server_stats(s.nbd, &st);
	assert_int_equal(st.refused, 1);
	close(b);
	close(c);
	stop(&s);
}

/* The disk vanishes under its clients; one made anew is not theirs. */
static void test_disk_gone(void **state)
{
	struct fback_options bo = { .hold = true };
	uint8_t out[28], data[512];
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	fd = go(&s);
	command(out, NBD_CMD_READ, 0, 1, 0, 4096);
	assert_true(say(&s, fd, out, 28));
	fback_remake(s.fb);
	assert_true(closed(&s, fd));
	fback_release(s.fb);
	LOOP_UNTIL(s.e, pvf_disk_phase(s.disk) == PVF_LIVE);
	fd = go(&s);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, data), 0);
	/* growing is told to new clients, shrinking ends old ones */
	fback_resize(s.fb, 65536);
	LOOP_UNTIL(s.e, pvf_disk_info(s.disk)->size == 65536 * 512);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, data), 0);
	fback_resize(s.fb, 100);
	assert_true(closed(&s, fd));
	stop(&s);
}

/* No grants for buffers: plain memory and bounce pages do it, too. */
static void test_without_grants(void **state)
{
	struct fback_options bo = { 0 };
	uint8_t data[8192] = { 1, 2, 3 }, back[8192];
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	pvb_hv_fault(s.e->hv, PVB_FAULT_GRANT, 0, UINT64_MAX, -ENOSPC);
	fd = go(&s);
	assert_int_equal(ask(&s, fd, NBD_CMD_WRITE, 0, 4096, 8192, data), 0);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 4096, 8192, back), 0);
	assert_memory_equal(data, back, 8192);
	pvb_hv_fault(s.e->hv, PVB_FAULT_GRANT, 0, 0, 0);
	close(fd);
	stop(&s);
}

static void test_socket_path(void **state)
{
	struct fback_options bo = { 0 };
	struct nbd_limits limits = { 0 };
	struct nbd_server *second = NULL;
	struct pvb_error err;
	char path[96];
	struct srv s;
	FILE *f;

	start(&s, *state, &bo, NULL);
	assert_int_equal(nbd_server_new(&second, s.e->loop, s.path, &limits, &err), -EADDRINUSE);
	snprintf(path, sizeof(path), "%s/file", s.e->dir);
	f = fopen(path, "w");
	fclose(f);
	assert_int_equal(nbd_server_new(&second, s.e->loop, path, &limits, &err), -EEXIST);
	unlink(path);
	assert_null(second);
	stop(&s);
}

/* Bytes at random, before and after the handshake, framed or not: the server lives, the disk too. */
static void test_noise(void **state)
{
	struct fback_options bo = { .flush = true, .discard = true };
	uint8_t buf[4096];
	unsigned seed = 4711;
	struct srv s;
	int fd;

	start(&s, *state, &bo, NULL);
	for (unsigned round = 0; round < 300; round++) {
		fd = round % 3 == 0 ? greet(&s, 3) : go(&s);
		for (size_t i = 0; i < sizeof(buf); i++) {
			seed = seed * 1103515245 + 12345;
			buf[i] = (uint8_t)(seed >> 16);
		}
		for (size_t i = 0; round % 3 != 1 && i + 128 < sizeof(buf); i += 28 + buf[i + 27] % 64) {
			if (round % 3 == 0) {
				put64(buf + i, NBD_OPTS_MAGIC);
				put32(buf + i + 8, buf[i + 8] % 12);
				put32(buf + i + 12, buf[i + 12] % 40);
			} else {
				put32(buf + i, NBD_CMD_MAGIC);
				put16(buf + i + 4, buf[i + 4] % 32);
				put16(buf + i + 6, buf[i + 6] % 8);
				put64(buf + i + 16, (uint64_t)(buf[i + 16] % 4) * 512);
				put32(buf + i + 24, buf[i + 24] % 3 * 512u);
			}
		}
		say(&s, fd, buf, sizeof(buf));
		close(fd);
		pvb_loop_once(s.e->loop, 0);
	}
	fd = go(&s);
	assert_int_equal(ask(&s, fd, NBD_CMD_READ, 0, 0, 512, buf), 0);
	close(fd);
	stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, env_setup, env_teardown)
		T(test_options),	T(test_export_name), T(test_broken_framing), T(test_trickle),
		T(test_commands),	T(test_disk_errors), T(test_greedy),	     T(test_stream_of_writes),
		T(test_disc),		T(test_disconnect),  T(test_limits),	     T(test_disk_gone),
		T(test_without_grants), T(test_socket_path), T(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
