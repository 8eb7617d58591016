// SPDX-License-Identifier: GPL-2.0-or-later
/* fake-back as a back end in domain 0 of a real Xen, for a front end in a guest's kernel (tests/lab/pvblk.sh):
 *   lying-vbd DOMID DEVID LIE
 * makes the disk, serves it until standard input ends, and takes it away again. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake-back.h"

static const struct {
	const char *name;
	enum fback_lie lie;
} lies[] = {
	{ "honest", FBACK_HONEST },
	{ "reverse", FBACK_HONEST },
	{ "storm", FBACK_HONEST },
	{ "keep", FBACK_HONEST },
	{ "spy", FBACK_HONEST },
	{ "spy-trusted", FBACK_HONEST },
	{ "states", FBACK_HONEST },
	{ "remake", FBACK_HONEST },
	{ "id", FBACK_WRONG_ID },
	{ "huge", FBACK_HUGE_ID },
	{ "stale", FBACK_STALE_ID },
	{ "duplicate", FBACK_DUPLICATE },
	{ "op", FBACK_WRONG_OP },
	{ "status", FBACK_WRONG_STATUS },
	{ "jump", FBACK_PROD_JUMP },
	{ "one", FBACK_PROD_ONE },
	{ "backwards", FBACK_PROD_BACK },
};

static const unsigned nr_lies = sizeof(lies) / sizeof(lies[0]);

#define STORM 100000u /* events for each queue */
#define REMADE 4u      /* times a device is taken away and made again in one breath */

/* States that mean something, in no order that does, as fast as the store takes them.  How long to let a connection be
 * made and used in between, ms. */
static int any_state(struct fback *fb, unsigned n)
{
	static const unsigned states[] = { 5, 4, 6, 2, 4, 7, 4, 1, 99, 8, 3, 4, 5, 6, 0, 2 };
	unsigned i = n % (sizeof(states) / sizeof(states[0]));

	fback_state(fb, states[i]);
	return i + 1 == sizeof(states) / sizeof(states[0]) ? 1500 : 0;
}

/* End of input is the one way to go. */
static void serve(struct fback *fb, const char *lie)
{
	bool storm = strcmp(lie, "storm") == 0, states = strcmp(lie, "states") == 0, remake = strcmp(lie, "remake") == 0;
	struct pollfd end = { .fd = 0, .events = POLLIN };
	struct fback_counts c;
	int ms = states || remake ? 1500 : 50;
	unsigned n = 0;
	char byte;

	puts("serving");
	fflush(stdout);
	while (poll(&end, 1, ms) == 0 || read(0, &byte, 1) > 0) {
		fback_counts(fb, &c);
		if (states)
			ms = any_state(fb, n++);
		if (remake && n++ < REMADE)
			fback_remake(fb);
		if (storm && c.requests > 0) {
			fback_storm(fb, STORM);
			storm = false;
		}
	}
	if (states)
		printf("%u states, ", n);
}

int main(int argc, char **argv)
{
	struct fback_options opt = { .max_queues = 2, .max_order = 2, .indirect = 64, .flush = true, .honest = 6 };
	struct pvb_error err = { 0 };
	struct fback_counts c;
	struct fback *fb;
	unsigned i;

	if (argc < 4) {
		fprintf(stderr, "for the lab: lying-vbd DOMID DEVID LIE\n");
		return 77;
	}
	for (i = 0; i < nr_lies && strcmp(lies[i].name, argv[3]) != 0; i++)
		;
	if (i == nr_lies) {
		fprintf(stderr, "%s: no such lie\n", argv[3]);
		return 2;
	}
	opt.lie = lies[i].lie;
	opt.reverse = strcmp(argv[3], "reverse") == 0;
	opt.keep = strcmp(argv[3], "keep") == 0;
	opt.spy = strncmp(argv[3], "spy", 3) == 0;
	opt.untrusted = strcmp(argv[3], "spy") == 0;
	if (fback_start(&fb, "xen", (uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), &opt, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	serve(fb, argv[3]);
	fback_counts(fb, &c);
	printf("requests %u, indirect %u, complaints %u %s\n", c.requests, c.indirect, c.complaints, c.complaint);
	fback_remove(fb, strcmp(argv[3], "states") != 0); /* who knows what was said last? */
	return 0;
}
