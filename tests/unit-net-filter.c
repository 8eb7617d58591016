/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may a guest say it is? */
#include "tests/net-doubles.h"
#include "backend/net/filter.h"

#define ME 1
#define OTHER 7

static uint8_t buf[2000];
static const char *why;

/* MAC 02:..:01; 10.0.0.1 and fd00::1 (what build() gives host 1) and 192.0.2.0/25. */
static struct nif_config both(void)
{
	struct nif_config c = { .spoof_mac = true, .nr_ips = 3 };

	memcpy(c.mac, mac_of(ME).a, 6);
	c.ip[0] = (struct nif_ip){ 4, { 10, 0, 0, 1 }, 32 };
	c.ip[1] = (struct nif_ip){ 16, { 0xfd, [15] = 1 }, 128 };
	c.ip[2] = (struct nif_ip){ 4, { 192, 0, 2, 0 }, 25 };
	return c;
}

static bool passes(struct frame *f, const struct nif_config *c)
{
	why = NULL;
	if (packet_parse(f, &why))
		fail_msg("%s", why);
	if (filter_pass(f, c, &why))
		return true;
	assert_non_null(why);
	return false;
}

static void raw(struct frame *f, const uint8_t *bytes, uint32_t len)
{
	memset(f, 0, sizeof(*f));
	memcpy(buf, bytes, len);
	frame_local(f, buf, len);
}

static void off(void **state)
{
	struct nif_config c = { .domid = 1 };
	struct frame f;

	build(&f, buf, &(struct build){ .src = OTHER, .dst = 2 });
	assert_true(passes(&f, &c));
}

static void source_mac(void **state)
{
	struct nif_config c = { .spoof_mac = true };
	struct frame f;

	memcpy(c.mac, mac_of(ME).a, 6);
	build(&f, buf, &(struct build){ .src = ME, .dst = 2 });
	assert_true(passes(&f, &c));
	build(&f, buf, &(struct build){ .src = OTHER, .dst = 2, .tagged = true, .vlan = 3 });
	assert_false(passes(&f, &c));
	assert_string_equal(why, "another's MAC");
}

static void source_address(void **state)
{
	struct nif_config c = both();

	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned tagged = 0; tagged < 2; tagged++) {
			struct build b = { .src = ME, .dst = 2, .v6 = v6, .tagged = tagged, .vlan = 5, .payload = 9,
					   .extensions = v6 ? 8 : 0 };
			unsigned at = (tagged ? 18 : 14) + (v6 ? 8 + 15 : 12 + 3);
			struct frame f;

			build(&f, buf, &b);
			assert_true(passes(&f, &c));
			buf[at] = 2;
			assert_false(passes(&f, &c));
			assert_non_null(strstr(why, "another's address"));
		}
}

static void prefixes(void **state)
{
	struct nif_config c = both();
	struct frame f;

	build(&f, buf, &(struct build){ .src = ME, .dst = 2 });
	memcpy(buf + 26, "\xc0\x00\x02\x7f", 4);
	assert_true(passes(&f, &c));
	memcpy(buf + 26, "\xc0\x00\x02\x80", 4);
	assert_false(passes(&f, &c));
	c.ip[2].prefix = 0; /* any IPv4 */
	assert_true(passes(&f, &c));
	c.ip[2].prefix = 33; /* no sense: nothing */
	assert_false(passes(&f, &c));
}

static void dhcp(void **state)
{
	struct nif_config c = both();
	struct frame f;

	build(&f, buf, &(struct build){ .src = ME, .dst = 255, .udp = true, .payload = 300 });
	memset(buf + 26, 0, 4);
	assert_false(passes(&f, &c));
	memcpy(buf + 34, "\0\x44\0\x43", 4);
	assert_true(passes(&f, &c));
	buf[20] = 0x20; /* a fragment hides its ports */
	assert_false(passes(&f, &c));
	buf[20] = 0;
	memcpy(buf + 34, "\0\x43\0\x44", 4); /* a server's answer */
	assert_false(passes(&f, &c));
}

static void arp(void **state)
{
	static const uint8_t request[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, ME, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, ME, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9,
	};
	struct nif_config c = both();
	struct frame f;

	raw(&f, request, 42);
	assert_true(passes(&f, &c));
	buf[27] = OTHER;
	assert_false(passes(&f, &c));
	assert_string_equal(why, "ARP: another's MAC");
	raw(&f, request, 42);
	buf[31] = 9;
	assert_false(passes(&f, &c));
	assert_string_equal(why, "ARP: another's address");
	memset(buf + 28, 0, 4); /* a probe */
	assert_true(passes(&f, &c));
	raw(&f, request, 41);
	assert_false(passes(&f, &c));
	raw(&f, request, 42);
	buf[18] = 8; /* not Ethernet's length */
	assert_false(passes(&f, &c));
	raw(&f, request, 42);
	buf[12] = 0x80; /* RARP: what is sent after a migration */
	buf[13] = 0x35;
	assert_true(passes(&f, &c));
	c.nr_ips = 0;
	raw(&f, request, 42);
	buf[31] = 9;
	assert_true(passes(&f, &c));
}

/* Neighbour discovery: type, source fe80::<EUI-64 of ME>, one option. */
static void nd(struct frame *f, uint8_t type, uint8_t option, unsigned fixed)
{
	static const uint8_t head[54] = {
		0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, ME, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 0, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, ME,
		0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	};
	uint8_t p[200] = { 0 };
	uint32_t len = 54 + fixed + (option ? 8 : 0);

	memcpy(p, head, 54);
	p[19] = (uint8_t)(len - 54);
	p[54] = type;
	if (fixed == 24)
		memcpy(p + 62, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	if (option) {
		p[54 + fixed] = option;
		p[55 + fixed] = 1;
		memcpy(p + 56 + fixed, mac_of(ME).a, 6);
	}
	raw(f, p, len);
}

static void neighbours(void **state)
{
	struct nif_config c = both();
	struct frame f;

	nd(&f, 135, 1, 24);
	assert_true(passes(&f, &c));
	buf[54 + 24 + 7] = OTHER; /* somebody else's MAC as source */
	assert_false(passes(&f, &c));
	assert_string_equal(why, "neighbour discovery: another's MAC");
	nd(&f, 136, 2, 24);
	assert_true(passes(&f, &c));
	buf[62 + 15] = 9; /* advertises an address that is not its own */
	assert_false(passes(&f, &c));
	assert_string_equal(why, "neighbour discovery: another's address");
	nd(&f, 133, 1, 8);
	assert_true(passes(&f, &c));
	nd(&f, 134, 1, 24);
	assert_false(passes(&f, &c));
	nd(&f, 137, 2, 24);
	assert_false(passes(&f, &c));
	nd(&f, 135, 1, 24);
	buf[55 + 24] = 0; /* an option of length 0 */
	assert_false(passes(&f, &c));
	nd(&f, 135, 1, 24);
	buf[55 + 24] = 2;
	assert_false(passes(&f, &c));
	nd(&f, 135, 1, 24);
	frame_local(&f, buf, 70); /* shorter than it says */
	assert_false(passes(&f, &c));
}

static void link_local(void **state)
{
	struct nif_config c = both();
	struct frame f;

	build(&f, buf, &(struct build){ .src = ME, .dst = 2, .v6 = true, .udp = true });
	memcpy(buf + 22, "\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\1", 16);
	assert_true(passes(&f, &c));
	buf[37] = OTHER;
	assert_false(passes(&f, &c));
	memset(buf + 22, 0, 16);
	assert_false(passes(&f, &c));
	nd(&f, 135, 0, 24); /* duplicate address detection */
	memset(buf + 22, 0, 16);
	assert_true(passes(&f, &c));
	nd(&f, 143, 0, 8);
	memset(buf + 22, 0, 16);
	assert_true(passes(&f, &c));
	nd(&f, 128, 0, 8); /* an echo request */
	memset(buf + 22, 0, 16);
	assert_false(passes(&f, &c));
}

/* What hides its headers does not pass: too many of them, a wrong version, a cut. */
static void hidden(void **state)
{
	struct nif_config c = both();
	struct frame f;

	build(&f, buf, &(struct build){ .src = ME, .dst = 2, .v6 = true, .udp = true, .extensions = 160 });
	assert_false(passes(&f, &c));
	assert_string_equal(why, "IPv6: more headers than are looked at");
	build(&f, buf, &(struct build){ .src = ME, .dst = 2 });
	buf[14] = 0x65;
	assert_false(passes(&f, &c));
	frame_local(&f, buf, 20);
	buf[14] = 0x45;
	assert_false(passes(&f, &c));
	build(&f, buf, &(struct build){ .src = ME, .dst = 2, .tagged = true });
	buf[16] = 0x81; /* a third level of tags */
	buf[17] = 0x00;
	buf[20] = 0x81;
	buf[21] = 0x00;
	assert_false(passes(&f, &c));
	buf[12] = 0x88;
	buf[13] = 0xcc; /* LLDP */
	assert_false(passes(&f, &c));
	c.nr_ips = 0;
	assert_true(passes(&f, &c));
}

static void one_family_closes_the_other(void **state)
{
	struct nif_config c = both();
	struct frame f;

	c.nr_ips = 1;
	build(&f, buf, &(struct build){ .src = ME, .dst = 2, .v6 = true });
	assert_false(passes(&f, &c));
}

/* Noise of all lengths: ASan looks on. */
static void noise(void **state)
{
	struct nif_config c = both();
	uint64_t seed = 9;
	unsigned passed = 0;

	for (unsigned i = 0; i < 100000; i++) {
		uint32_t len = 14 + rnd(&seed) % 150;
		uint8_t *p = malloc(len);
		struct frame f = { 0 };

		assert_non_null(p);
		for (unsigned k = 0; k < len; k++)
			p[k] = (uint8_t)rnd(&seed);
		memcpy(p + 6, c.mac, 6);
		memcpy(p + 12, i & 1 ? "\x86\xdd\x60\0\0\0\0" : "\x08\x06\0\1\x08\0\x06", len < 19 ? 2 : 7);
		if (i & 1 && len > 54) {
			p[19] = (uint8_t)(rnd(&seed) % 110);
			p[20] = (uint8_t)"\x3a\x00\x2c\x3c"[rnd(&seed) % 4];
			memcpy(p + 22, c.ip[1].addr, 16);
			p[54] = (uint8_t)(rnd(&seed) % 2 ? 133 + rnd(&seed) % 5 : 58);
		}
		frame_local(&f, p, len);
		passed += !packet_parse(&f, &why) && filter_pass(&f, &c, &why);
		free(p);
	}
	assert_in_range(passed, 1, 99999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off), cmocka_unit_test(source_mac), cmocka_unit_test(source_address),
		cmocka_unit_test(prefixes), cmocka_unit_test(dhcp), cmocka_unit_test(arp), cmocka_unit_test(neighbours),
		cmocka_unit_test(link_local), cmocka_unit_test(hidden), cmocka_unit_test(one_family_closes_the_other),
		cmocka_unit_test(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
