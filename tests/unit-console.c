/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A console's ring with a guest that is honest, slow or lies; telnet's framing; who reads along; the text that says where. */
#include "tests/unit.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/console/client.h"
#include "backend/console/ring.h"
#include "backend/console/spec.h"

#define BASE 0xfffffff0u

/* ---- the ring --------------------------------------------------------------------------------------------- */

static struct xencons_interface page;

static void fresh(struct con_ring *r, uint32_t base)
{
	struct pvb_error err;

	memset(&page, 0xaa, sizeof(page));
	page.in_cons = page.in_prod = page.out_cons = page.out_prod = base;
	assert_int_equal(con_ring_open(r, &page, &err), 0);
}

static void guest_says(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		page.out[(page.out_prod + i) % sizeof(page.out)] = text[i];
	page.out_prod += (uint32_t)len;
}

static void bytes_come_and_go(void **state)
{
	struct con_ring r;
	char buf[4096], text[1500];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	fresh(&r, BASE);
	assert_int_equal(con_ring_out(&r, buf, sizeof(buf), NULL), 0);
	for (unsigned round = 0; round < 10; round++) {
		guest_says(text, sizeof(text));
		assert_int_equal(con_ring_out(&r, buf, 1000, NULL), 1000);
		assert_int_equal(con_ring_out(&r, buf, sizeof(buf), NULL), sizeof(text)); /* not done with: the same again */
		assert_memory_equal(buf, text, sizeof(text));
		con_ring_done(&r, 700);
		assert_int_equal(page.out_cons, BASE + round * 1500 + 700);
		assert_int_equal(con_ring_out(&r, buf, sizeof(buf), NULL), 800);
		assert_memory_equal(buf, text + 700, 800);
		con_ring_done(&r, 800);
	}
	guest_says(text, 1024);
	guest_says(text, 1024); /* as much as it holds is no lie */
	assert_int_equal(con_ring_out(&r, buf, sizeof(buf), NULL), 2048);
}

static void no_more_in_than_there_is_room(void **state)
{
	struct con_ring r;
	char text[2000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 11);
	fresh(&r, BASE);
	assert_int_equal(con_ring_room(&r, NULL), 1024);
	assert_int_equal(con_ring_in(&r, text, 1000, NULL), 1000);
	assert_int_equal(con_ring_in(&r, text + 1000, 1000, NULL), 24);
	assert_int_equal(con_ring_in(&r, text, 1, NULL), 0);
	assert_int_equal(page.in_prod, BASE + 1024);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(page.in[(BASE + i) % 1024], text[i]);
	page.in_cons += 10;
	assert_int_equal(con_ring_in(&r, text, 100, NULL), 10);
}

static void another_process_goes_on(void **state)
{
	struct con_ring a, b;
	char buf[100];

	fresh(&a, BASE);
	guest_says("hello, world", 12);
	assert_int_equal(con_ring_out(&a, buf, 5, NULL), 5);
	con_ring_done(&a, 5);
	assert_int_equal(con_ring_in(&a, "x", 1, NULL), 1);
	assert_int_equal(con_ring_open(&b, &page, NULL), 0);
	assert_int_equal(con_ring_out(&b, buf, sizeof(buf), NULL), 7);
	assert_memory_equal(buf, ", world", 7);
	assert_int_equal(con_ring_room(&b, NULL), 1023);
}

static void lies_are_latched(void **state)
{
	static const struct { size_t offset; uint32_t value; bool in; const char *says; } lies[] = {
		{ offsetof(struct xencons_interface, out_prod), BASE + 2049, false, "2049 bytes ahead" },
		{ offsetof(struct xencons_interface, out_prod), BASE - 1, false, "4294967295 bytes ahead" },
		{ offsetof(struct xencons_interface, out_prod), BASE + 0x80000000u, false, "2147483648 bytes ahead" },
		{ offsetof(struct xencons_interface, in_cons), BASE + 1, true, "4294967295 bytes behind" },
		{ offsetof(struct xencons_interface, in_cons), BASE - 1025, true, "1025 bytes behind" },
	};

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint32_t *at = (uint32_t *)((char *)&page + lies[i].offset);
		struct pvb_error err = { 0 };
		struct con_ring r;
		char buf[8];

		fresh(&r, BASE);
		*at = lies[i].value;
		assert_int_equal(lies[i].in ? con_ring_in(&r, "a", 1, &err) : con_ring_out(&r, buf, sizeof(buf), &err), -EPROTO);
		if (!strstr(err.text, lies[i].says))
			fail_msg("\"%s\" does not say \"%s\"", err.text, lies[i].says);
		*at = BASE; /* too late */
		assert_int_equal(con_ring_out(&r, buf, sizeof(buf), &err), -EPROTO);
		assert_int_equal(con_ring_in(&r, "a", 1, &err), -EPROTO);
		assert_int_equal(con_ring_room(&r, &err), -EPROTO);
		assert_int_equal(page.in_prod, BASE);
		*at = lies[i].value;
		assert_int_equal(con_ring_open(&r, &page, &err), -EPROTO);
	}
}

/* Ours are in the page only for who comes after us. */
static void our_indices_are_not_read_back(void **state)
{
	struct con_ring r;
	char buf[64];

	fresh(&r, BASE);
	guest_says("0123456789", 10);
	page.out_cons = BASE + 5;
	page.in_prod = BASE + 77;
	assert_int_equal(con_ring_out(&r, buf, sizeof(buf), NULL), 10);
	con_ring_done(&r, 10);
	assert_int_equal(page.out_cons, BASE + 10);
	assert_int_equal(con_ring_in(&r, "abc", 3, NULL), 3);
	assert_int_equal(page.in_prod, BASE + 3);
}

/* ---- telnet ------------------------------------------------------------------------------------------------ */

static size_t decode(struct telnet *t, const char *wire, size_t len, size_t piece, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i += piece) {
		uint8_t buf[64];
		size_t k = len - i < piece ? len - i : piece;

		memcpy(buf, wire + i, k);
		k = telnet_decode(t, buf, k);
		memcpy(out + n, buf, k);
		n += k;
	}
	return n;
}

#define WIRE(s) s, sizeof(s) - 1

static void telnet_in(void **state)
{
	static const struct { const char *wire; size_t len; const char *means; size_t means_len; } cases[] = {
		{ WIRE("ls\r\n"), WIRE("ls\r") },
		{ WIRE("ls\r\0x"), WIRE("ls\rx") },
		{ WIRE("ls\n"), WIRE("ls\n") },
		{ WIRE("\r\r\n\n"), WIRE("\r\r\n") },
		{ WIRE("a\xff\xff" "b"), WIRE("a\xff" "b") },
		{ WIRE("a\xff\xf1" "b"), WIRE("ab") },                               /* NOP */
		{ WIRE("a\xff\xfa\x1f\x00\x50\xff\xff\x00\x18\xff\xf0" "b"), WIRE("ab") }, /* NAWS, with a doubled 255 */
		{ WIRE("a\xff\xfa\xff\xfd\x01zz\xff\xf0" "b"), WIRE("ab") },         /* a command in one is no end */
		{ WIRE("a\xff\xfd\x05" "b"), WIRE("ab") },
		{ WIRE("\xff\xfb\x00x\r\ny\r\0z"), WIRE("x\r\ny\r\0z") },               /* binary */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t piece = 1; piece <= cases[i].len; piece++) {
			struct telnet t;
			uint8_t out[64];

			telnet_start(&t);
			assert_int_equal(decode(&t, cases[i].wire, cases[i].len, piece, out), cases[i].means_len);
			assert_memory_equal(out, cases[i].means, cases[i].means_len);
		}
}

static void answers(struct telnet *t, const char *wire, size_t len, const char *want, size_t want_len)
{
	uint8_t out[64];

	decode(t, wire, len, len, out);
	assert_int_equal(t->nr_reply, want_len);
	assert_memory_equal(t->reply, want, want_len);
	t->nr_reply = 0;
}

static void telnet_negotiation(void **state)
{
	struct telnet t;

	telnet_start(&t);
	answers(&t, WIRE(""), WIRE("\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfb\x00\xff\xfd\x00"));
	answers(&t, WIRE("\xff\xfd\x01\xff\xfd\x03\xff\xfb\x03"), WIRE(""));     /* what we asked for: nothing to say */
	assert_false(t.binary_in || t.binary_out);
	answers(&t, WIRE("\xff\xfd\x00\xff\xfb\x00"), WIRE(""));
	assert_true(t.binary_in && t.binary_out);
	answers(&t, WIRE("\xff\xfd\x00\xff\xfb\x00\xff\xfd\x01"), WIRE(""));     /* so it is already */
	answers(&t, WIRE("\xff\xfb\x1f\xff\xfd\x18"), WIRE("\xff\xfe\x1f\xff\xfc\x18")); /* refused */
	answers(&t, WIRE("\xff\xfc\x1f\xff\xfe\x18"), WIRE(""));
	answers(&t, WIRE("\xff\xfe\x00\xff\xfc\x00"), WIRE("\xff\xfc\x00\xff\xfe\x00")); /* no more, as you wish */
	assert_false(t.binary_in || t.binary_out);
	answers(&t, WIRE("\xff\xfb\x01"), WIRE("\xff\xfe\x01"));                  /* it is not to echo */
	for (unsigned i = 0; i < 1000; i++)
		decode(&t, WIRE("\xff\xfb\x22\xff\xfd\x22"), 6, (uint8_t[64]){ 0 });
	assert_true(t.nr_reply <= TELNET_REPLY);
}

static void telnet_out(void **state)
{
	struct telnet t;
	uint8_t out[64];
	size_t len;

	telnet_start(&t);
	len = 6;
	assert_int_equal(telnet_encode(&t, (const uint8_t *)"a\xff\r\n\rb", &len, out, sizeof(out)), 8);
	assert_int_equal(len, 6);
	assert_memory_equal(out, "a\xff\xff\r\n\r\0b", 8);
	len = 1;
	assert_int_equal(telnet_encode(&t, (const uint8_t *)"\r", &len, out, sizeof(out)), 1);
	len = 1; /* what follows comes with the next call */
	assert_int_equal(telnet_encode(&t, (const uint8_t *)"x", &len, out, sizeof(out)), 2);
	len = 6;
	assert_int_equal(telnet_encode(&t, (const uint8_t *)"\xff\xff\xff\xff\xff\xff", &len, out, 7), 6);
	assert_int_equal(len, 3);
	t.binary_out = true;
	len = 3;
	assert_int_equal(telnet_encode(&t, (const uint8_t *)"\rb\xff", &len, out, sizeof(out)), 4);
	assert_memory_equal(out, "\rb\xff\xff", 4);
}

/* ---- who reads along --------------------------------------------------------------------------------------- */

static void slow_client_misses_some(void **state)
{
	static char bytes[HISTORY_SIZE], chunk[4096], got[8192];
	struct history h = { .head = HISTORY_SIZE - 100, .bytes = bytes };
	struct client c = { .pos = HISTORY_SIZE - 100 };
	size_t total = 0, fill = 0, put = 0;
	uint64_t lost = 0;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	c.fd = fds[0];
	while (lost == 0 && put < 64u << 20) {
		memset(chunk, 'a' + (int)(put / sizeof(chunk) % 26), sizeof(chunk));
		history_put(&h, chunk, sizeof(chunk));
		put += sizeof(chunk);
		assert_int_equal(client_send(&c, &h, &lost), 0); /* never waits */
		if (put == 4u << 20) /* reads again: some, and then no more */
			while (fill < 100000) {
				ssize_t n = read(fds[1], got, sizeof(got));

				assert_true(n > 0);
				fill += (size_t)n;
			}
	}
	assert_true(lost > 0);
	total = fill;
	for (;;) {
		ssize_t n = read(fds[1], got, sizeof(got));

		if (n <= 0) {
			assert_int_equal(client_send(&c, &h, &lost), 0);
			n = read(fds[1], got, sizeof(got));
			if (n <= 0)
				break;
		}
		total += (size_t)n;
	}
	assert_int_equal(c.pos, h.head);
	assert_in_range(total + lost, put + 20, put + 200); /* all of it, and lines that say how much is missing */
	close(fds[1]);
	history_put(&h, "x", 1);
	assert_int_equal(client_send(&c, &h, &lost), -EPIPE);
	close(fds[0]);
}

/* ---- the text ---------------------------------------------------------------------------------------------- */

static void places(void **state)
{
	struct con_spec s;

	assert_int_equal(con_spec_parse("pty  tcp=127.0.0.1:4001,telnet unix=/run/x,connect\tlog=/var/log/x,rotate=1M,keep=0 rate=64K", &s, NULL), 0);
	assert_int_equal(s.nr_ends, 4);
	assert_int_equal(s.rate, 65536);
	assert_int_equal(s.end[1].kind, CON_TCP);
	assert_true(s.end[1].telnet && !s.end[1].dial);
	assert_string_equal(s.end[1].where, "127.0.0.1:4001");
	assert_true(s.end[2].dial && !s.end[2].telnet);
	assert_int_equal(s.end[3].rotate, 1u << 20);
	assert_int_equal(s.end[3].keep, 0);
	assert_int_equal(con_spec_parse("", &s, NULL), 0);
	assert_int_equal(s.nr_ends, 1);
	assert_int_equal(s.end[0].kind, CON_PTY);
	assert_int_equal(s.rate, CON_RATE);
}

static void wrong_places(void **state)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "tty", "tty: not pty" }, { "pty=/dev/x", "pty=/dev/x: pty takes" }, { "pty,telnet", "telnet: no such option" },
		{ "tcp=4001", "tcp=4001: not ADDRESS:PORT" }, { "unix=x", "not an absolute path" }, { "log=x", "not an absolute path" },
		{ "log=/x,telnet", "telnet: no such option" }, { "tcp=1.2.3.4:5,rotate=1M", "rotate=1M: no such option" },
		{ "log=/x,rotate=1", "rotate" }, { "log=/x,keep=100", "keep=100: must be 0..99" }, { "rate=1", "rate" },
		{ "pty pty", "pty: there already" }, { "log=/x log=/x,keep=1", "there already" },
		{ "unix=/1 unix=/2 unix=/3 unix=/4 unix=/5 unix=/6 unix=/7", "at most 6" },
		{ "unix=/1 unix=/2 unix=/3 unix=/4 unix=/5 unix=/6", "at most 6" }, /* and the pty */
	};
	char text[CON_TEXT_MAX + 1];
	struct con_spec s;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pvb_error err = { 0 };

		assert_true(con_spec_parse(cases[i].text, &s, &err) < 0);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.text, cases[i].says);
	}
	memset(text, 'x', sizeof(text) - 1);
	text[0] = '/';
	text[sizeof(text) - 1] = 0;
	assert_int_equal(con_spec_parse(text, &s, NULL), -E2BIG);
	memset(text, ' ', 200);
	memcpy(text, "unix=/", 6);
	memset(text + 6, 'y', 200); /* longer than a socket's path */
	text[206] = 0;
	assert_int_equal(con_spec_parse(text, &s, NULL), -EINVAL);
}

static void for_each_domain(void **state)
{
	char out[CON_TEXT_MAX], name[200];
	struct pvb_error err;

	assert_int_equal(con_spec_expand("pty log=/l/%n.log unix=/r/%d", "web-1.x", 17, out, &err), 0);
	assert_string_equal(out, "pty log=/l/web-1.x.log unix=/r/17");
	assert_int_equal(con_spec_expand("log=/l/%n", "../x y,z%", 1, out, &err), 0);
	assert_string_equal(out, "log=/l/_._x_y_z_");
	assert_int_equal(con_spec_expand("%x", "a", 1, out, &err), -EINVAL);
	assert_int_equal(con_spec_expand("%", "a", 1, out, &err), -EINVAL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(con_spec_expand("%n%n%n%n%n%n%n%n%n", name, 1, out, &err), -E2BIG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_and_go), cmocka_unit_test(no_more_in_than_there_is_room),
		cmocka_unit_test(another_process_goes_on), cmocka_unit_test(lies_are_latched),
		cmocka_unit_test(our_indices_are_not_read_back), cmocka_unit_test(telnet_in),
		cmocka_unit_test(telnet_negotiation), cmocka_unit_test(telnet_out), cmocka_unit_test(slow_client_misses_some),
		cmocka_unit_test(places), cmocka_unit_test(wrong_places), cmocka_unit_test(for_each_domain),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
