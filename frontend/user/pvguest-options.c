// SPDX-License-Identifier: GPL-2.0-or-later
/* pvguest's command line. */
#include <config.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "pvguest.h"

enum {
	OPT_HV = 256,
	OPT_DISK,
	OPT_NIC,
	OPT_RECORD,
	OPT_REPLAY,
	OPT_NBD,
	OPT_EXEC,
	OPT_BENCH,
	OPT_NIC_BENCH,
	OPT_QUEUES,
	OPT_ORDER,
	OPT_INDIRECT,
	OPT_PERSISTENT,
	OPT_ABI,
	OPT_WAIT,
	OPT_POOL,
	OPT_BUFFER,
	OPT_CONNECTIONS,
	OPT_READY,
	OPT_PIDFILE,
	OPT_TIMEOUT,
	OPT_STATS,
	OPT_JSON,
	OPT_SHUTDOWN,
};

/* One table for parsing and --help; the manual page lists the same (a test compares). */
static const struct { const char *name, *arg, *help; int code; } table[] = {
	{ "hv", "SPEC", "xen, or local:DIR:DOMID (default: $PVBUS_HV)", OPT_HV },
	{ "disk", "VDEV", "use this disk (xvda, 51712; repeat; default: all)", OPT_DISK },
	{ "nic", "DEVID[,WORD]...", "use this NIC (0, all, none; repeat; default: all)", OPT_NIC },
	{ "pcap-record", "FILE", "write all frames of all NICs to a capture file", OPT_RECORD },
	{ "pcap-replay", "FILE", "send a capture file's frames, count what comes", OPT_REPLAY },
	{ "nbd", "unix:PATH", "export the disks by NBD on this socket", OPT_NBD },
	{ "exec", "COMMAND", "run it with $NBD_URI set, exit as it does", OPT_EXEC },
	{ "bench", "SETTINGS", "measure: 'op=randread bs=4k qd=32 time=5'", OPT_BENCH },
	{ "nic-bench", "SETTINGS", "the same with the first NIC: 'op=send bs=64 time=5'", OPT_NIC_BENCH },
	{ "queues", "N", "queues wanted, 1 to 8 (default: processors, at most 4)", OPT_QUEUES },
	{ "ring-order", "N", "ring of 2^N pages, 0 to 4 (default 2)", OPT_ORDER },
	{ "indirect", "N|off", "segments of indirect requests, at most 256 (default 256)", OPT_INDIRECT },
	{ "persistent", NULL, "let the back end keep pages mapped", OPT_PERSISTENT },
	{ "abi", "64|32", "layout of ring slots (default: this machine's)", OPT_ABI },
	{ "wait", NULL, "hold requests while the back end is away", OPT_WAIT },
	{ "pool", "PAGES", "bounce pages per queue (default 128)", OPT_POOL },
	{ "buffer", "BYTES", "buffer per NBD connection (default 4M)", OPT_BUFFER },
	{ "connections", "N", "NBD connections at most (default 16)", OPT_CONNECTIONS },
	{ "ready-fd", "FD", "write a line here once the devices are connected", OPT_READY },
	{ "pidfile", "FILE", "write our process id here then", OPT_PIDFILE },
	{ "timeout", "SECONDS", "for the devices to connect (default 30)", OPT_TIMEOUT },
	{ "stats", NULL, "print counters at the end", OPT_STATS },
	{ "json", NULL, "print results and counters as JSON", OPT_JSON },
	{ "shutdown", NULL, "report the domain as shut down at the end", OPT_SHUTDOWN },
	{ "help", NULL, "print this", 'h' },
	{ "version", NULL, "print the version", 'V' },
};
#define NR_OPTIONS (sizeof(table) / sizeof(table[0]))

static void help(void)
{
	char left[40];

	printf("usage: pvguest [--hv SPEC] [--disk VDEV]... [--nic DEVID]... [--nbd unix:PATH]\n"
	       "               [--exec COMMAND | --bench SETTINGS | --nic-bench SETTINGS | --pcap-replay FILE]\n"
	       "               [OPTION]...\n"
	       "A process guest: connects the synthetic disks and NICs of its domain and uses them.\n\n");
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].arg != NULL ? " " : "",
			 table[i].arg != NULL ? table[i].arg : "");
		printf("  %-22s %s\n", left, table[i].help);
	}
	printf("\nWORD: ifname=NAME netns=NAME|PATH tap=off queues=N gso=off csum=off sg=off staging=on\n"
	       "\nExit status: 0 done; 1 failed; 2 wrong usage; with --exec that of COMMAND.\n");
}

static int wrong(const char *name, const char *value, const char *want)
{
	fprintf(stderr, "pvguest: --%s: \"%s\", must be %s\n", name, value, want);
	return -EINVAL;
}

static int number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *out)
{
	char want[64];

	if (bench_size(value, out) == 0 && *out >= min && *out <= max)
		return 0;
	snprintf(want, sizeof(want), "a number from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
	return wrong(name, value, want);
}

static int small(const char *name, const char *value, unsigned min, unsigned max, unsigned *out)
{
	uint64_t n;
	int rc = number(name, value, min, max, &n);

	if (rc == 0)
		*out = (unsigned)n;
	return rc;
}

static int nbd_path(struct pvguest_options *o, const char *value)
{
	o->nbd = strncmp(value, "unix:", 5) == 0 ? value + 5 : value;
	return o->nbd[0] != '\0' ? 0 : wrong("nbd", value, "unix:PATH");
}

static int abi(struct pvguest_options *o, const char *value)
{
	o->disk.abi32 = strcmp(value, "32") == 0;
	return o->disk.abi32 || strcmp(value, "64") == 0 ? 0 : wrong("abi", value, "64 or 32");
}

static int bench(struct pvguest_options *o, const char *value)
{
	struct pvb_error err;
	int rc = bench_parse(&o->bench, value, &err);

	if (rc < 0)
		fprintf(stderr, "pvguest: %s\n", err.text);
	o->bench_wanted = true;
	o->disk.polled = o->bench.poll;
	return rc < 0 ? -EINVAL : 0;
}

static int nic_bench(struct pvguest_options *o, const char *value)
{
	struct pvb_error err;
	int rc = nic_load_parse(&o->nic_bench, value, &err);

	if (rc < 0)
		fprintf(stderr, "pvguest: %s\n", err.text);
	o->nic_bench_wanted = true;
	return rc < 0 ? -EINVAL : 0;
}

static int add_disk(struct pvguest_options *o, const char *value)
{
	if (o->nr_disks == PVGUEST_DISKS)
		return wrong("disk", value, "one of at most 16");
	o->disks[o->nr_disks++] = value;
	return 0;
}

static int add_nic(struct pvguest_options *o, const char *value)
{
	if (strcmp(value, "none") == 0) {
		o->no_nics = true;
		return 0;
	}
	if (o->nr_nics == PVGUEST_NICS)
		return wrong("nic", value, "one of at most 16");
	return nic_choice_parse(&o->nics[o->nr_nics++], value);
}

static int text_option(struct pvguest_options *o, int code, const char *v)
{
	switch (code) {
	case OPT_HV:
		o->hv = v;
		return 0;
	case OPT_DISK:
		return add_disk(o, v);
	case OPT_NIC:
		return add_nic(o, v);
	case OPT_RECORD:
		o->record = v;
		return 0;
	case OPT_REPLAY:
		o->replay = v;
		return 0;
	case OPT_NBD:
		return nbd_path(o, v);
	case OPT_EXEC:
		o->exec = v;
		return 0;
	case OPT_BENCH:
		return bench(o, v);
	case OPT_NIC_BENCH:
		return nic_bench(o, v);
	case OPT_ABI:
		return abi(o, v);
	case OPT_PIDFILE:
		o->pidfile = v;
		return 0;
	default:
		return -ENOENT;
	}
}

static int number_option(struct pvguest_options *o, int code, const char *v)
{
	uint64_t n = 0;
	unsigned fd = 0;
	int rc;

	switch (code) {
	case OPT_QUEUES:
		return small("queues", v, 1, PVF_MAX_QUEUES, &o->disk.queues);
	case OPT_ORDER:
		return small("ring-order", v, 0, PVF_MAX_RING_ORDER, &o->disk.ring_order);
	case OPT_INDIRECT:
		o->disk.indirect = 0;
		return strcmp(v, "off") == 0 ? 0 : small("indirect", v, 0, PVF_MAX_SEGMENTS, &o->disk.indirect);
	case OPT_POOL:
		return small("pool", v, 12, 65535, &o->disk.pool_pages);
	case OPT_CONNECTIONS:
		return small("connections", v, 1, 1024, &o->limits.connections);
	case OPT_BUFFER:
		rc = number("buffer", v, 128u << 10, 256u << 20, &n);
		o->limits.buffer = (size_t)n;
		return rc;
	case OPT_READY:
		rc = small("ready-fd", v, 0, 1u << 20, &fd);
		o->ready_fd = (int)fd;
		return rc;
	case OPT_TIMEOUT:
		rc = number("timeout", v, 1, 86400, &n);
		o->timeout_ms = n * 1000;
		return rc;
	default:
		return -ENOENT;
	}
}

static int option(struct pvguest_options *o, int code, const char *v)
{
	int rc;

	switch (code) {
	case OPT_PERSISTENT:
		o->disk.persistent = true;
		return 0;
	case OPT_WAIT:
		o->disk.wait = true;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_SHUTDOWN:
		o->shutdown = true;
		return 0;
	case 'h':
		help();
		return 1;
	case 'V':
		printf("pvguest %s\n", PACKAGE_VERSION);
		return 1;
	case '?':
		return -EINVAL; /* getopt said why */
	}
	rc = text_option(o, code, v);
	return rc == -ENOENT ? number_option(o, code, v) : rc;
}

static int consistent(struct pvguest_options *o)
{
	if ((o->exec != NULL) + o->bench_wanted + o->nic_bench_wanted + (o->replay != NULL) > 1) {
		fprintf(stderr, "pvguest: --exec, --bench, --nic-bench and --pcap-replay exclude each other\n");
		return -EINVAL;
	}
	if (o->no_nics && (o->nr_nics > 0 || o->replay != NULL || o->nic_bench_wanted)) {
		fprintf(stderr, "pvguest: --nic none excludes other --nic, --nic-bench and --pcap-replay\n");
		return -EINVAL;
	}
	for (unsigned i = 0; i < o->nr_nics; i++)
		for (unsigned j = 0; j < i; j++)
			if (o->nics[i].all == o->nics[j].all && o->nics[i].devid == o->nics[j].devid) {
				fprintf(stderr, "pvguest: --nic says twice what to do with the same NIC\n");
				return -EINVAL;
			}
	if (o->nic_bench_wanted && o->nr_nics == 0)
		o->nics[o->nr_nics++].all = true;
	for (unsigned i = 0; o->nic_bench_wanted && i < o->nr_nics; i++) {
		o->nics[i].no_tap = true; /* the frames are ours */
		o->nics[i].nic.polled = o->nic_bench.poll;
	}
	return 0;
}

int pvguest_options(struct pvguest_options *o, int argc, char **argv)
{
	struct option longs[NR_OPTIONS + 1] = { 0 };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int c, rc;

	memset(o, 0, sizeof(*o));
	o->ready_fd = -1;
	o->timeout_ms = 30000;
	o->disk.queues = cpus < 1 ? 1 : cpus > 4 ? 4 : (unsigned)cpus;
	o->disk.ring_order = 2;
	o->disk.indirect = PVF_MAX_SEGMENTS;
	for (size_t i = 0; i < NR_OPTIONS; i++)
		longs[i] = (struct option){ table[i].name, table[i].arg != NULL, NULL, table[i].code };
	while ((c = getopt_long(argc, argv, "hV", longs, NULL)) != -1) {
		rc = option(o, c, optarg);
		if (rc != 0)
			return rc;
	}
	if (optind < argc) {
		fprintf(stderr, "pvguest: \"%s\": not an option\n", argv[optind]);
		return -EINVAL;
	}
	return consistent(o);
}
