// SPDX-License-Identifier: GPL-2.0-or-later
/* fake-netback as a back end in domain 0 of a real Xen, for a front end in a guest's kernel (tests/lab/pvnet.sh):
 *   lying-vif DOMID DEVID LIE [plain]
 * makes the NIC, serves it until standard input ends, and takes it away again.  "plain": without staging. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake-netback.h"

static const struct {
	const char *name;
	enum nback_lie lie;
} lies[] = {
	{ "honest", NBACK_HONEST },
	{ "keep", NBACK_HONEST },
	{ "spy", NBACK_HONEST },
	{ "spy-trusted", NBACK_HONEST },
	{ "states", NBACK_HONEST },
	{ "remake", NBACK_HONEST },
	{ "tx-id", NBACK_TX_ID },
	{ "tx-stale", NBACK_TX_STALE },
	{ "tx-duplicate", NBACK_TX_DUPLICATE },
	{ "tx-status", NBACK_TX_STATUS },
	{ "tx-null", NBACK_TX_NULL },
	{ "tx-jump", NBACK_TX_JUMP },
	{ "tx-one", NBACK_TX_ONE },
	{ "tx-backwards", NBACK_TX_BACKWARDS },
	{ "rx-id", NBACK_RX_ID },
	{ "rx-size", NBACK_RX_SIZE },
	{ "rx-offset", NBACK_RX_OFFSET },
	{ "rx-status", NBACK_RX_STATUS },
	{ "rx-jump", NBACK_RX_JUMP },
	{ "rx-backwards", NBACK_RX_BACKWARDS },
	{ "rx-prefix", NBACK_RX_PREFIX },
	{ "rx-extra-type", NBACK_RX_EXTRA_TYPE },
	{ "rx-extra-none", NBACK_RX_EXTRA_NONE },
	{ "rx-extra-endless", NBACK_RX_EXTRA_ENDLESS },
	{ "rx-gso-type", NBACK_RX_GSO_TYPE },
	{ "rx-gso-size", NBACK_RX_GSO_SIZE },
	{ "rx-gso-twice", NBACK_RX_GSO_TWICE },
	{ "rx-slots", NBACK_RX_SLOTS },
	{ "ctrl-id", NBACK_CTRL_ID },
	{ "ctrl-type", NBACK_CTRL_TYPE },
	{ "ctrl-status", NBACK_CTRL_STATUS },
	{ "ctrl-jump", NBACK_CTRL_JUMP },
	{ "rx-short", NBACK_RX_SHORT },
	{ "rx-short-first", NBACK_RX_SHORT_FIRST },
	{ "rx-many", NBACK_RX_MANY },
	{ "rx-empty", NBACK_RX_EMPTY },
	{ "rx-error", NBACK_RX_ERROR },
	{ "rx-blank", NBACK_RX_BLANK },
	{ "rx-gso-udp", NBACK_RX_GSO_UDP },
	{ "chaos", NBACK_CHAOS },
	{ "storm", NBACK_HONEST },
};

static const unsigned nr_lies = sizeof(lies) / sizeof(lies[0]);

#define STORM 100000u /* events for each queue */
#define REMADE 4u      /* times a device is taken away and made again in one breath */

/* States that mean something, in no order that does, as fast as the store takes them.  How long to let a connection be
 * made and used in between, ms. */
static int any_state(struct nback *nb, unsigned n)
{
	static const unsigned states[] = { 5, 4, 6, 2, 4, 7, 4, 1, 99, 8, 3, 4, 5, 6, 0, 2 };
	unsigned i = n % (sizeof(states) / sizeof(states[0]));

	nback_state(nb, states[i]);
	return i + 1 == sizeof(states) / sizeof(states[0]) ? 1500 : 0;
}

/* End of input is the one way to go. */
static void serve(struct nback *nb, const char *lie)
{
	bool storm = strcmp(lie, "storm") == 0, states = strcmp(lie, "states") == 0, remake = strcmp(lie, "remake") == 0;
	struct pollfd end = { .fd = 0, .events = POLLIN };
	static struct nback_counts c;
	int ms = states || remake ? 1500 : 50;
	unsigned n = 0;
	char byte;

	puts("serving");
	fflush(stdout);
	while (poll(&end, 1, ms) == 0 || read(0, &byte, 1) > 0) {
		nback_counts(nb, &c);
		if (states)
			ms = any_state(nb, n++);
		if (remake && n++ < REMADE)
			nback_remake(nb);
		if (storm && c.tx_frames > 0) {
			nback_storm(nb, STORM);
			storm = false;
		}
	}
	if (states)
		printf("%u states, ", n);
}

int main(int argc, char **argv)
{
	struct nback_options opt = {
		.max_queues = 2, .split = true, .sg = true, .gso = true, .csum6 = true, .ctrl = true, .greft = 512,
		.honest = 3,
	};
	struct pvb_error err = { 0 };
	static struct nback_counts c;
	struct nback *nb;
	unsigned i;

	if (argc < 4) {
		fprintf(stderr, "for the lab: lying-vif DOMID DEVID LIE [plain]\n");
		return 77;
	}
	for (i = 0; i < nr_lies && strcmp(lies[i].name, argv[3]) != 0; i++)
		;
	if (i == nr_lies) {
		fprintf(stderr, "%s: no such lie\n", argv[3]);
		return 2;
	}
	opt.lie = lies[i].lie;
	opt.keep = strcmp(argv[3], "keep") == 0;
	opt.spy = strncmp(argv[3], "spy", 3) == 0;
	opt.untrusted = strcmp(argv[3], "spy") == 0;
	opt.seed = 4711;
	if (strncmp(argv[3], "ctrl", 4) == 0)
		opt.honest = 0; /* there are few of these messages */
	if (opt.keep || (argc > 4 && strcmp(argv[4], "plain") == 0))
		opt.greft = 0;
	if (nback_start(&nb, "xen", (uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), &opt, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	serve(nb, argv[3]);
	nback_counts(nb, &c);
	printf("frames %llu, received %llu, staged %u, hits %u, complaints %u %s\n", (unsigned long long)c.tx_frames,
	       (unsigned long long)c.rx_frames, c.staged, c.staged_hits, c.complaints, c.complaint);
	nback_remove(nb, strcmp(argv[3], "states") != 0); /* who knows what was said last? */
	return 0;
}
