/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts, chains, null, and the wrappers. */
#include "tests/net-doubles.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/net/ports.h"

static uint8_t buf[70000];

static enum frame_verdict say(struct nif *from, struct build b)
{
	struct frame f;

	build(&f, buf, &b);
	return nic_send(from, &f);
}

#define SAY(nif, ...) say(nif, (struct build){ __VA_ARGS__ })

/* Rounds of the loop until `nr` frames have come, at most two seconds. */
static void wait_for(struct nif *nic, unsigned nr)
{
	uint64_t end = pvb_now_ms() + 2000;

	while (nic->flushed < nr && pvb_now_ms() < end)
		pvb_loop_once(nic->ctx->loop, 10);
	assert_int_equal(nic->flushed, nr);
}

/* --- texts and chains --------------------------------------------------------------------------------- */

static void texts(void **state)
{
	struct pvb_error err = { .text = "" };
	struct target *t;

	assert_int_equal(port_parse("tap", &t, &err), 0);
	assert_string_equal(t->provider, "tap");
	assert_string_equal(t->arg, "");
	assert_string_equal(port_switch_name(t), "");
	target_free(t);
	assert_int_equal(port_parse("switch:lan%3f?vlan=5&pcap=/tmp/a%26b", &t, &err), 0);
	assert_string_equal(port_switch_name(t), "lan?");
	assert_string_equal(target_get(t, "pcap"), "/tmp/a&b");
	target_free(t);
	assert_int_equal(port_parse("null?fault=drop:3&fault=rx:dup:2", &t, &err), 0);
	assert_int_equal(t->nr_options, 2);
	target_free(t);
}

static void refused(void **state)
{
	static const struct { const char *text, *why; } cases[] = {
		{ "", "no port \"\"" }, { "bridge", "no port \"bridge\"" }, { "/dev/tap", "no port" },
		{ "pcap", "no port \"pcap\"" }, { "fault:drop:2", "no port" }, { "file:/x", "no port" },
		{ "null?", "not key=value" }, { "null?echo", "not key=value" }, { "null?echo=perhaps", "echo=perhaps" },
		{ "null:x", "nothing but options" }, { "null?vlan=5", "port null has no key \"vlan\"" },
		{ "tap:x", "nothing but options" }, { "null?data=copy", "no key" }, { "null?echo=on&echo=on", "twice" },
		{ "null?snaplen=100", "snaplen without pcap" }, { "null?pcap=x&snaplen=13", "snaplen" },
		{ "null?pcap=relative", "absolute" }, { "null?pcap=/", "directory" },
		{ "null?pcap=/dev/null", "regular" },
		{ "null?fault=drop", "KIND" }, { "null?fault=drop:0", "KIND" }, { "null?fault=lose:1", "KIND" },
		{ "null?fault=up:drop:1", "KIND" }, { "null?fault=drop:1x", "KIND" },
		{ "null?fault=reorder:1", "KIND" },
		{ "null?fault=drop:9999999999", "KIND" }, { "null?delay=", "USECS" }, { "null?delay=5ms", "USECS" },
		{ "null?delay=1:", "USECS" }, { "null?delay=1:2:3", "USECS" }, { "null?delay=10000001", "USECS" },
	};
	struct nif_ctx *ctx = ctx_new();

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pvb_error err = { .text = "" };
		struct port *p;

		assert_int_not_equal(chain_open(ctx, 1, cases[i].text, &p, &err), 0);
		if (!strstr(err.text, cases[i].why))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.text, cases[i].why);
	}
	ctx_free(ctx);
}

static void order_of_wrappers(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?delay=1&pcap=/tmp/pvb-ports-order.pcap&fault=drop:2", NULL);
	static const char *const names[] = { "pcap", "delay", "fault", "null" };
	struct port *p = n->port, *above = NULL;

	unlink("/tmp/pvb-ports-order.pcap");
	for (unsigned i = 0; i < 4; i++, above = p, p = p->below) {
		assert_non_null(p);
		assert_string_equal(p->ops->name, names[i]);
		assert_ptr_equal(p->above, above);
		assert_ptr_equal(p->ctx, ctx);
		assert_int_equal(p->whole, i < 2);
	}
	assert_null(p);
	ctx_free(ctx);
}

/* --- null --------------------------------------------------------------------------------------------- */

static void null_swallows(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null", NULL);

	assert_false(n->port->whole);
	assert_int_equal(SAY(n, .src = 1, .dst = 2), FRAME_SENT);
	assert_int_equal(n->nr, 0);
	ctx_free(ctx);
}

static void null_echoes(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on", NULL);

	assert_int_equal(SAY(n, .src = 1, .dst = 2, .payload = 300), FRAME_SENT);
	assert_int_equal(n->nr, 1);
	assert_memory_equal(n->got[0].bytes, mac_of(1).a, 6);
	assert_memory_equal(n->got[0].bytes + 6, mac_of(2).a, 6);
	n->room = 0;
	assert_int_equal(SAY(n, .src = 1, .dst = 2), FRAME_HELD);
	assert_memory_equal(buf, mac_of(2).a, 6); /* as it was, for the next time */
	nic_make_room(n, 1);
	assert_int_equal(ctx->retries, 1);
	port_connected(n->port, NULL);
	assert_int_equal(SAY(n, .src = 1, .dst = 2), FRAME_SENT);
	assert_int_equal(n->nr, 1);
	ctx_free(ctx);
}

/* --- pcap --------------------------------------------------------------------------------------------- */

struct capture { uint8_t bytes[1000000]; size_t len; };
static struct capture capture;
static char path[100], text[200];

static void new_path(void)
{
	snprintf(path, sizeof(path), "/tmp/pvb-ports-%d.pcap", (int)getpid());
	unlink(path);
}

static void read_capture(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, capture.bytes, sizeof(capture.bytes));
	assert_true(n >= 24);
	capture.len = (size_t)n;
	close(fd);
}

/* The next record at *at: its bytes; false at the end. */
static bool next_record(size_t *at, const uint8_t **bytes, uint32_t *caplen, uint32_t *len)
{
	uint32_t r[4];

	if (*at == capture.len)
		return false;
	assert_true(*at + 16 <= capture.len);
	memcpy(r, capture.bytes + *at, 16);
	assert_true(r[1] < 1000000000 && r[0] > 1000000000);
	assert_true(*at + 16 + r[2] <= capture.len && r[2] <= r[3]);
	*bytes = capture.bytes + *at + 16;
	*caplen = r[2];
	*len = r[3];
	*at += 16 + r[2];
	return true;
}

static unsigned records(void)
{
	const uint8_t *bytes;
	uint32_t caplen, len;
	size_t at = 24;
	unsigned n = 0;

	read_capture();
	while (next_record(&at, &bytes, &caplen, &len))
		n++;
	return n;
}

static void pcap_both_ways(void **state)
{
	static const uint32_t head[6] = { 0xa1b23c4d, 4u << 16 | 2, 0, 0, 65535, 1 };
	struct nif_ctx *ctx = ctx_new();
	const uint8_t *bytes;
	uint32_t caplen, len;
	size_t at = 24;
	struct nif *n;

	new_path();
	snprintf(text, sizeof(text), "null?echo=on&pcap=%s", path);
	n = nic_new(ctx, 1, text, NULL);
	assert_true(n->port->whole);
	SAY(n, .src = 1, .dst = 2, .payload = 1000);
	n->room = 0;
	assert_int_equal(SAY(n, .src = 1, .dst = 2, .payload = 1), FRAME_HELD); /* not written down */
	assert_int_equal(SAY(n, .src = 1, .dst = 2, .payload = 1), FRAME_HELD);
	nic_free(n);
	read_capture();
	assert_memory_equal(capture.bytes, head, 24);
	build(&(struct frame){ 0 }, buf, &(struct build){ .src = 1, .dst = 2, .payload = 1000 });
	assert_true(next_record(&at, &bytes, &caplen, &len));
	assert_int_equal(caplen, 1054);
	assert_int_equal(len, 1054);
	assert_memory_equal(bytes, buf, 1054);
	assert_true(next_record(&at, &bytes, &caplen, &len));
	assert_memory_equal(bytes, mac_of(1).a, 6);
	assert_memory_equal(bytes + 12, buf + 12, 1042);
	assert_false(next_record(&at, &bytes, &caplen, &len));
	/* continued, not begun anew */
	n = nic_new(ctx, 1, text, NULL);
	SAY(n, .src = 1, .dst = 2);
	nic_free(n);
	assert_int_equal(records(), 4);
	if (!system("command -v tcpdump >/dev/null")) {
		snprintf(text, sizeof(text), "test \"$(tcpdump -nr %s 2>/dev/null | wc -l)\" = 4", path);
		assert_int_equal(system(text), 0);
	}
	unlink(path);
	ctx_free(ctx);
}

static void pcap_of_headers(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	uint8_t hdr[FRAME_HDR];
	const uint8_t *bytes;
	uint32_t caplen, len;
	size_t at = 24;
	struct frame f;
	struct nif *n;

	new_path();
	snprintf(text, sizeof(text), "null?pcap=%s&snaplen=192", path);
	n = nic_new(ctx, 1, text, NULL);
	assert_false(n->port->whole);
	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 1000 });
	memcpy(hdr, buf, sizeof(hdr));
	f.hdr = hdr;
	f.seg[0] = (struct frame_seg){ .ref = 1, .domid = 1, .len = f.len };
	assert_int_equal(nic_send(n, &f), FRAME_SENT);
	nic_free(n);
	read_capture();
	assert_true(next_record(&at, &bytes, &caplen, &len));
	assert_int_equal(caplen, FRAME_HDR);
	assert_int_equal(len, 1054);
	assert_memory_equal(bytes, buf, FRAME_HDR);
	unlink(path);
	ctx_free(ctx);
}

/* Each second, and when its buffer is full. */
static void pcap_is_written_in_time(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	uint64_t end;
	struct stat st;
	struct nif *n;

	new_path();
	snprintf(text, sizeof(text), "null?pcap=%s", path);
	n = nic_new(ctx, 1, text, NULL);
	SAY(n, .src = 1, .dst = 2, .payload = 100);
	for (end = pvb_now_ms() + 3000; pvb_now_ms() < end;) {
		pvb_loop_once(ctx->loop, 50);
		assert_int_equal(stat(path, &st), 0);
		if (st.st_size > 24)
			break;
	}
	assert_int_equal(records(), 1);
	for (unsigned i = 0; i < 10; i++)
		SAY(n, .src = 1, .dst = 2, .payload = 60000);
	assert_true(records() > 4);
	nic_free(n);
	read_capture();
	unlink(path);
	ctx_free(ctx);
}

static void pcap_spares_other_files(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct pvb_error err = { .text = "" };
	struct stat st;
	struct port *p;
	FILE *f;

	new_path();
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("something of great value, longer than a header", f);
	fclose(f);
	snprintf(text, sizeof(text), "null?pcap=%s", path);
	assert_int_equal(chain_open(ctx, 1, text, &p, &err), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 46);
	unlink(path);
	ctx_free(ctx);
}

/* --- fault -------------------------------------------------------------------------------------------- */

static unsigned mark(const struct got *g)
{
	return g->bytes[g->len - 1];
}

/* Frames are told apart by their number in the last byte. */
static enum frame_verdict say_number(struct nif *n, uint8_t number, bool finish)
{
	static uint8_t bytes[8][200];
	uint8_t *b = bytes[number % 8];
	struct frame f;

	build(&f, b, &(struct build){ .src = 1, .dst = 2, .udp = true, .payload = 20, .blank = true });
	b[f.len - 1] = number;
	if (finish)
		packet_checksum(&f);
	return nic_send(n, &f);
}

static void drops_doubles(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&fault=tx:drop:3&fault=rx:dup:2", NULL);
	static const uint8_t want[] = { 1, 2, 2, 4, 5, 5, 7, 8, 8 };

	assert_false(n->port->whole);
	for (uint8_t i = 1; i < 10; i++)
		assert_int_equal(say_number(n, i, false), i % 3 ? FRAME_SENT : FRAME_DROPPED);
	assert_int_equal(n->nr, sizeof(want));
	for (unsigned i = 0; i < sizeof(want); i++)
		assert_int_equal(mark(&n->got[i]), want[i]);
	assert_int_equal(n->port->stats.injected, 3 + 3);
	ctx_free(ctx);
}

/* A frame that is held and offered again is one frame. */
static void held_frames_count_once(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&fault=tx:drop:2", NULL);

	n->room = 0;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(say_number(n, 1, false), FRAME_HELD);
	n->room = 9;
	assert_int_equal(say_number(n, 1, false), FRAME_SENT);
	assert_int_equal(say_number(n, 2, false), FRAME_DROPPED);
	assert_int_equal(say_number(n, 3, false), FRAME_SENT);
	ctx_free(ctx);
}

static void corrupts(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&fault=rx:corrupt:2", NULL);
	struct frame f;

	assert_true(n->port->whole);
	assert_int_equal(say_number(n, 1, true), FRAME_SENT);
	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 5000, .gso_size = 1000 });
	assert_int_equal(nic_send(n, &f), FRAME_SENT); /* would have been its turn */
	assert_int_equal(say_number(n, 3, false), FRAME_SENT);
	assert_true(checksums_are_good(n->got[0].bytes, n->got[0].len));
	assert_memory_equal(n->got[1].bytes + 12, buf + 12, n->got[1].len - 12);
	assert_false(checksums_are_good(n->got[2].bytes, n->got[2].len));
	assert_false(n->got[2].csum_blank || n->got[2].csum_valid);
	ctx_free(ctx);
}

static void reorders(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&fault=tx:reorder:3", NULL);
	static const uint8_t want[] = { 1, 2, 4, 3, 5, 7, 6, 8 };

	for (uint8_t i = 1; i < 10; i++)
		assert_int_equal(say_number(n, i, false), FRAME_SENT);
	assert_int_equal(n->nr, 8);
	wait_for(n, 9); /* no other comes: after 10 ms */
	for (unsigned i = 0; i < sizeof(want); i++)
		assert_int_equal(mark(&n->got[i]), want[i]);
	assert_int_equal(mark(&n->got[8]), 9);
	ctx_free(ctx);
}

/* --- delay -------------------------------------------------------------------------------------------- */

static void delays_in_order(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&delay=3000:2000", NULL);
	uint64_t start = pvb_now_ns();

	for (uint8_t i = 0; i < 100; i++)
		assert_int_equal(say_number(n, i, false), FRAME_SENT);
	assert_int_equal(n->nr, 0);
	wait_for(n, 100); /* there and back */
	assert_true(pvb_now_ns() - start >= 6000000);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(mark(&n->got[i]), i);
	ctx_free(ctx);
}

static void delay_waits_for_room(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?echo=on&delay=0", NULL);

	n->room = 1;
	for (uint8_t i = 0; i < 5; i++)
		say_number(n, i, false);
	wait_for(n, 1);
	for (unsigned i = 0; i < 5; i++)
		pvb_loop_once(ctx->loop, 2);
	assert_int_equal(n->nr, 1);
	n->room = 9;
	wait_for(n, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(mark(&n->got[i]), i);
	ctx_free(ctx);
}

/* Round and round the ring of bytes, until it is full. */
static void delay_is_bounded(void **state)
{
	struct nif_ctx *ctx = ctx_new();
	struct nif *n = nic_new(ctx, 1, "null?delay=1000", NULL);
	unsigned sent = 0, dropped = 0;
	uint64_t seed = 1;

	for (unsigned i = 0; i < 3000; i++) {
		if (SAY(n, .src = 1, .dst = 2, .payload = rnd(&seed) % 60000) == FRAME_SENT)
			sent++;
		else
			dropped++;
		if (rnd(&seed) % 300 == 0)
			pvb_loop_once(ctx->loop, 5);
	}
	assert_true(sent > 500 && dropped > 100);
	assert_int_equal(n->port->stats.tx_errors, dropped);
	nic_free(n); /* with what waits */
	ctx_free(ctx);
}

/* --- the man page ------------------------------------------------------------------------------------- */

static char *read_page(void)
{
	const char *dir = getenv("abs_top_srcdir");
	char name[400], *page;
	FILE *f;

	snprintf(name, sizeof(name), "%s/man/pvbus-ports.7.md", dir ? dir : "..");
	f = fopen(name, "re");
	if (!f) {
		print_message("%s is not there\n", name);
		skip();
	}
	page = calloc(1, 1 << 17);
	assert_true(fread(page, 1, (1 << 17) - 1, f) > 0);
	fclose(f);
	return page;
}

/* A section for each port and wrapper, in the order of the list, and in it a term for each of its keys. */
static void man_page(void **state)
{
	char *page = read_page(), *pos = page;

	for (const struct port_ops *const *p = ports; *p; p++) {
		char head[40], term[40], *next;
		size_t n = (size_t)snprintf(head, sizeof(head), "\n# %s\n", (*p)->name);

		for (size_t i = 0; i < n; i++)
			if (head[i] >= 'a' && head[i] <= 'z')
				head[i] -= 'a' - 'A';
		pos = strstr(pos, head);
		if (!pos)
			fail_msg("no section %s, or not in the order of the list", (*p)->name);
		pos++;
		next = strstr(pos, "\n# ");
		assert_non_null(next);
		*next = 0;
		for (const char *const *key = (*p)->keys; key && *key; key++) {
			snprintf(term, sizeof(term), "\n%s=", *key);
			if (!strstr(pos, term))
				fail_msg("section %s does not tell of key %s", (*p)->name, *key);
		}
		*next = '\n';
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts), cmocka_unit_test(refused), cmocka_unit_test(order_of_wrappers),
		cmocka_unit_test(null_swallows), cmocka_unit_test(null_echoes), cmocka_unit_test(pcap_both_ways),
		cmocka_unit_test(pcap_of_headers), cmocka_unit_test(pcap_is_written_in_time),
		cmocka_unit_test(pcap_spares_other_files), cmocka_unit_test(drops_doubles),
		cmocka_unit_test(held_frames_count_once), cmocka_unit_test(corrupts), cmocka_unit_test(reorders),
		cmocka_unit_test(delays_in_order), cmocka_unit_test(delay_waits_for_room),
		cmocka_unit_test(delay_is_bounded),
		cmocka_unit_test(man_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
