/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes a console: its ring, against a model of two queues and a guest that sometimes lies, and telnet's framing, which
 * must mean the same however the wire is cut, and bring every byte to the other end.
 *
 * Input   steps, one byte each, then what the step takes (missing bytes are 0):
 *           step & 7  0    the guest puts out: how many (x 9), first byte
 *                     1    we take: how many (x 9), how many of those we are done with
 *                     2    we put in: how many (x 5), first byte
 *                     3    the guest takes: how many (x 5)
 *                     4    the guest writes an index: which, four bytes of value, or a small step if the first is 0
 *                     5    another process takes over
 *                     6    telnet from a client: length, bytes, where it is cut
 *                     7    telnet to a client: length, bytes; the client agrees to binary if length is odd
 *
 * Built with --enable-fuzz (clang) it is a libFuzzer target: ./fuzz-console -max_len=600 DIR tests/corpus/console
 * Else fuzz-main.c runs it, which "make check" does with the corpus. */
#include <errno.h>
#include <string.h>
#include "backend/console/ring.h"
#include "backend/console/telnet.h"
#include "fuzz-main.h"

#define BASE 0xfffffff0u
#define OUT 2048u
#define IN 1024u

static struct xencons_interface page;
static struct con_ring ring;
static uint8_t out_model[OUT], in_model[IN]; /* by index, what is on its way */
static uint32_t out_prod, out_cons, in_prod, in_cons; /* as both sides count honestly */
static const uint8_t *at, *end;

static uint8_t byte(void)
{
	return at < end ? *at++ : 0;
}

static void begin(void)
{
	memset(&page, 0x55, sizeof(page));
	page.in_cons = page.in_prod = page.out_cons = page.out_prod = BASE;
	out_prod = out_cons = in_prod = in_cons = BASE;
	MUST(con_ring_open(&ring, &page, NULL) == 0);
}

static bool out_lie(void)
{
	return page.out_prod - out_cons > OUT;
}

static bool in_lie(void)
{
	return in_prod - page.in_cons > IN;
}

static void guest_puts(void)
{
	uint32_t n = byte() * 9u, room = OUT - (out_prod - out_cons);
	uint8_t b = byte();

	for (uint32_t i = 0; i < n && i < room; i++, out_prod++)
		page.out[out_prod % OUT] = (char)(out_model[out_prod % OUT] = b++);
	page.out_prod = out_prod;
}

static void we_take(void)
{
	uint32_t n = byte() * 9u, done = byte() * 9u;
	char buf[OUT + 256];
	int rc = con_ring_out(&ring, buf, n, NULL);

	if (ring.dead || rc < 0) {
		MUST(rc == -EPROTO && ring.dead == -EPROTO);
		return;
	}
	MUST(!out_lie());
	MUST((uint32_t)rc == (out_prod - out_cons < n ? out_prod - out_cons : n));
	for (uint32_t i = 0; i < (uint32_t)rc; i++)
		MUST((uint8_t)buf[i] == out_model[(out_cons + i) % OUT]);
	if (done > (uint32_t)rc)
		done = (uint32_t)rc;
	con_ring_done(&ring, done);
	out_cons += done;
	MUST(page.out_cons == out_cons);
}

static void we_put(void)
{
	uint32_t n = byte() * 5u, room = IN - (in_prod - page.in_cons);
	uint8_t b = byte(), buf[5 * 256];
	int rc;

	for (uint32_t i = 0; i < n; i++)
		buf[i] = (uint8_t)(b + i);
	rc = con_ring_in(&ring, buf, n, NULL);
	if (ring.dead || rc < 0) {
		MUST(rc == -EPROTO && ring.dead == -EPROTO);
		return;
	}
	MUST((uint32_t)rc == (n < room ? n : room));
	for (int i = 0; i < rc; i++, in_prod++)
		in_model[in_prod % IN] = buf[i];
	MUST(page.in_prod == in_prod);
}

static void guest_takes(void)
{
	for (uint32_t n = byte() * 5u; n > 0 && in_cons != in_prod; n--, in_cons++)
		MUST((uint8_t)page.in[in_cons % IN] == in_model[in_cons % IN]);
	page.in_cons = in_cons;
}

static void guest_writes(void)
{
	uint32_t *const which[4] = { &page.out_prod, &page.in_cons, &page.out_cons, &page.in_prod };
	uint8_t w = byte(), b = byte();
	uint32_t *i = which[w % 4], v = b ? (uint32_t)b << 24 | (uint32_t)byte() << 16 | (uint32_t)byte() << 8 | byte() : *i + (byte() % 17 - 8u);
	struct pvb_error err = { 0 };

	if (w % 4 > 1) { /* ours, and not read back; put right, or a successor would take it over */
		uint32_t was = *i;

		*i = v;
		con_ring_room(&ring, &err);
		*i = was;
		return;
	}
	*i = v;
	MUST(!(w % 4 == 0 && out_lie()) || con_ring_out(&ring, &b, 1, &err) == -EPROTO);
	MUST(!(w % 4 == 1 && in_lie()) || con_ring_room(&ring, &err) == -EPROTO);
	if (ring.dead)
		begin();
	else if (w % 4 == 1)
		in_cons = page.in_cons;
	else
		out_prod = page.out_prod;
	/* a lie within bounds only fools who told it: what is there is what counts */
	for (uint32_t k = in_cons; k != in_prod; k++)
		in_model[k % IN] = (uint8_t)page.in[k % IN];
	for (uint32_t k = out_cons; k != out_prod; k++)
		out_model[k % OUT] = (uint8_t)page.out[k % OUT];
}

static void telnet_from(void)
{
	uint8_t wire[256], whole[256], cut[256];
	size_t len = byte(), a, b, k = 0;
	struct telnet one, two;

	for (size_t i = 0; i < len; i++)
		wire[i] = whole[i] = byte();
	telnet_start(&one);
	telnet_start(&two);
	a = telnet_decode(&one, whole, len);
	MUST(a <= len && one.nr_reply <= TELNET_REPLY);
	for (size_t i = 0; i < len;) {
		size_t n = 1 + byte() % 7;
		uint8_t piece[8];

		n = n < len - i ? n : len - i;
		memcpy(piece, wire + i, n);
		b = telnet_decode(&two, piece, n);
		memcpy(cut + k, piece, b);
		k += b;
		i += n;
	}
	MUST(k == a && memcmp(cut, whole, a) == 0);
	MUST(one.nr_reply == two.nr_reply && memcmp(one.reply, two.reply, one.nr_reply) == 0);
}

/* The client's half is ours turned round: what is encoded here must be decoded there. */
static void telnet_to(void)
{
	uint8_t text[256], wire[3 * 256 + 8];
	size_t len = byte(), done = 0, n = 0;
	struct telnet t, client;
	bool binary = len & 1;

	for (size_t i = 0; i < len; i++)
		text[i] = byte();
	telnet_start(&t);
	telnet_start(&client);
	t.binary_out = client.binary_in = binary;
	while (done < len) {
		size_t some = len - done, size = 3 + byte() % 9u;

		n += telnet_encode(&t, text + done, &some, wire + n, size);
		MUST(some > 0);
		done += some;
	}
	n = telnet_decode(&client, wire, n);
	if (binary) {
		MUST(n == len && memcmp(wire, text, len) == 0);
		return;
	}
	/* CR LF is the one end of a line that is shortened on the way */
	for (size_t i = 0, k = 0; i < len; i++)
		if (i == 0 || text[i - 1] != '\r' || text[i] != '\n')
			MUST(k < n && wire[k++] == text[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	at = data;
	end = data + size;
	begin();
	while (at < end) {
		switch (byte() & 7) {
		case 0:
			guest_puts();
			break;
		case 1:
			we_take();
			break;
		case 2:
			we_put();
			break;
		case 3:
			guest_takes();
			break;
		case 4:
			guest_writes();
			break;
		case 5:
			MUST(con_ring_open(&ring, &page, NULL) == 0);
			break;
		case 6:
			telnet_from();
			break;
		case 7:
			telnet_to();
			break;
		}
	}
	return 0;
}

static uint8_t telling(uint8_t b, unsigned odds, size_t i)
{
	return odds < 5 ? (uint8_t[]){ 0, 1, 2, 3, 6, 7, '\r', '\n', 250, 240, 251, 253, 255, 255, 4, 5 }[b % 16] : b;
}

const struct fuzz_target fuzz = { .name = "console", .nr_random = 3000, .least = 400, .most = 400, .byte = telling, .seed = 20261122 };
