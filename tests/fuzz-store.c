/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes the store: several clients, of domain 0 and of guests, send bytes and read what they want when they
 * want; domains come and go, time passes.  After every step all accounts and the tree are added up again.
 *
 * Input   a program of steps, one byte each, then what the step takes:
 *           step & 7  0..4  a request from client (step >> 3) % 6: type byte, transaction byte, then text up to a
 *                           byte 0xff; in it 0x00 ends a string, 0x01 "data/", 0x02 "/local/domain/1/data/",
 *                           0x03 "/shared/", 0x04 "@releaseDomain", 0x05 16 times the byte before
 *                     5     raw bytes to that client: length byte, bytes
 *                     6     that client: next byte 0 reads, 1 stops reading, 2 is replaced, 3 reads 7 bytes
 *                     7     the world: 0 domain 3 ends or begins, 1 time passes, 2 domain 1 shuts down,
 *                           3 domain 2 ends and begins at once
 *
 * Built with --enable-fuzz (clang) it is a libFuzzer target: ./fuzz-store -max_len=2048 DIR tests/corpus/store
 * Else fuzz-main.c runs it, which "make check" does with the corpus. */
#include <string.h>
#include <sys/uio.h>
#include "bus/local/store-int.h"
#include "fuzz-main.h"

#define CLIENTS 6

static struct lst *S;
static bool there[8];

struct fuzz_client {
	struct lst_conn *c;
	bool deaf;
};
static struct fuzz_client cl[CLIENTS];
static const uint32_t domid_of[CLIENTS] = { 0, 0, 1, 1, 2, 3 };

static bool exists(void *arg, uint32_t domid)
{
	return domid < 8 && there[domid];
}

static void check(void)
{
	const char *wrong = lst_check(S);

	if (wrong) {
		fprintf(stderr, "%s\n", wrong);
		abort();
	}
}

static void take(struct fuzz_client *f, size_t most)
{
	struct iovec iov[4];
	unsigned i, n;
	size_t sum;

	while (f->c && most && (n = lst_conn_output(f->c, iov, 4)) > 0) {
		for (sum = 0, i = 0; i < n; i++)
			sum += iov[i].iov_len;
		if (sum > most)
			sum = most;
		lst_conn_sent(f->c, sum);
		most -= sum;
	}
}

static void ready(void *arg)
{
	struct fuzz_client *f = arg;

	if (!f->deaf)
		take(f, SIZE_MAX);
}

static void closed(void *arg)
{
	((struct fuzz_client *)arg)->c = NULL;
}

static const struct lst_io io = { ready, closed };

static void pump(void)
{
	unsigned n;

	for (n = 0; n < 100 && lst_has_work(S); n++)
		lst_run(S);
	lst_run(S);
	check();
}

static void feed(struct fuzz_client *f, const uint8_t *bytes, uint32_t len)
{
	uint32_t space;
	uint8_t *at;

	if (!f->c)
		return;
	at = lst_conn_space(f->c, &space);
	if (space < len)
		return; /* not served: it would wait in its socket */
	memcpy(at, bytes, len);
	lst_conn_input(f->c, len);
	pump();
}

static void reconnect(unsigned i)
{
	if (cl[i].c)
		lst_conn_kill(cl[i].c);
	cl[i].deaf = false;
	if (lst_conn_new(S, domid_of[i], &io, &cl[i], &cl[i].c) < 0)
		cl[i].c = NULL;
}

struct input {
	const uint8_t *p, *end;
};

static uint8_t next(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static void request(struct input *in, struct fuzz_client *f)
{
	static const char *const word[] = { "", "data/", "/local/domain/1/data/", "/shared/", "@releaseDomain" };
	uint8_t msg[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX], b;
	struct xsd_sockmsg h = { .type = next(in) % 24, .tx_id = next(in) % 8 };
	uint32_t len = sizeof(h), add;

	while (in->p < in->end && (b = next(in)) != 0xff) {
		add = b >= 1 && b <= 4 ? (uint32_t)strlen(word[b]) : b == 5 ? 16 : 1;
		if (len + add > sizeof(msg))
			break;
		if (b == 5)
			memset(msg + len, len > sizeof(h) ? msg[len - 1] : 'x', add);
		else if (b >= 1 && b <= 4)
			memcpy(msg + len, word[b], add);
		else
			msg[len] = b;
		len += add;
	}
	h.len = len - (uint32_t)sizeof(h);
	memcpy(msg, &h, sizeof(h));
	feed(f, msg, len);
}

static void end_domain(uint32_t domid)
{
	there[domid] = false;
	lst_domain_gone(S, domid);
	check();
}

static void world(uint8_t what)
{
	switch (what % 4) {
	case 0:
		if (there[3]) {
			end_domain(3);
		} else {
			there[3] = true;
			lst_domain_introduce(S, 3);
			reconnect(5);
		}
		break;
	case 1:
		S->now_ms += 5000;
		lst_tick(S);
		break;
	case 2:
		lst_domain_shutdown(S, 1);
		break;
	case 3:
		end_domain(2);
		there[2] = true;
		lst_domain_introduce(S, 2);
		reconnect(4);
	}
	pump();
}

static void say(struct fuzz_client *f, uint32_t type, const char *body, uint32_t len)
{
	uint8_t msg[256];
	struct xsd_sockmsg h = { type, 0, 0, len };

	memcpy(msg, &h, sizeof(h));
	memcpy(msg + sizeof(h), body, len);
	feed(f, msg, (uint32_t)sizeof(h) + len);
}

/* Small quotas, so that their limits are reached. */
static void begin(void)
{
	static const struct pvb_store_quota quota = {
		.nodes = 12, .watches = 4, .transactions = 3, .outstanding = 5, .txn_nodes = 24, .perms = 3,
		.node_size = 256, .path_max = 128, .memory_soft = 8192, .memory_hard = 16384, .event_timeout_ms = 10000, .connections = 3,
		.backlog_max = 8192,
	};
	unsigned i;

	memset(there, 0, sizeof(there));
	if (lst_core_new(&S, &quota, exists, NULL) < 0)
		abort();
	for (i = 1; i <= 2; i++) {
		there[i] = true;
		lst_domain_introduce(S, i);
	}
	for (i = 0; i < CLIENTS; i++) {
		cl[i].c = NULL;
		reconnect(i);
	}
#define SAY(type, body) say(&cl[0], type, body, sizeof(body) - 1)
	SAY(XS_WRITE, "/local/domain/1/data\0");
	SAY(XS_SET_PERMS, "/local/domain/1/data\0n1\0");
	SAY(XS_WRITE, "/local/domain/2/data\0");
	SAY(XS_SET_PERMS, "/local/domain/2/data\0n2\0");
	SAY(XS_WRITE, "/shared\0");
	SAY(XS_SET_PERMS, "/shared\0b0\0");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	unsigned i;

	begin();
	while (in.p < in.end) {
		uint8_t step = next(&in);
		struct fuzz_client *f = &cl[(step >> 3) % CLIENTS];
		uint32_t len;

		switch (step & 7) {
		default:
			request(&in, f);
			break;
		case 5:
			len = next(&in);
			if (len > (size_t)(in.end - in.p))
				len = (uint32_t)(in.end - in.p);
			feed(f, in.p, len);
			in.p += len;
			break;
		case 6:
			switch (next(&in) % 4) {
			case 0: f->deaf = false; take(f, SIZE_MAX); break;
			case 1: f->deaf = true; break;
			case 2: reconnect((unsigned)(f - cl)); break;
			case 3: take(f, 7); break;
			}
			pump();
			break;
		case 7:
			world(next(&in));
		}
	}
	/* all go: nothing is charged to anybody any more */
	for (i = 0; i < CLIENTS; i++)
		if (cl[i].c)
			lst_conn_kill(cl[i].c);
	check();
	lst_core_free(S);
	return 0;
}

static uint8_t telling(uint8_t b, unsigned odds, size_t i)
{
	return i % 3 && odds < 9 ? (uint8_t[]){ 0, 1, 2, 3, 4, 5, 0xff, 'x', '/', 'n', '1', 'T' }[b % 12] : b;
}

const struct fuzz_target fuzz = { .name = "store", .nr_random = 500, .least = 64, .most = 512, .byte = telling, .seed = 20261121 };
