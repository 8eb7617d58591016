/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvbackd: command line. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "bus/store.h"
#include "console/worker.h"
#include "keep.h"
#include "log.h"
#include "polling.h"
#include "supervisor.h"
#include "target.h"
#include "worker.h"

enum { OPT_KIND = 256, OPT_CTL, OPT_METRICS, OPT_UID, OPT_NO_SANDBOX, OPT_MEMORY, OPT_QUEUES, OPT_ORDER, OPT_INDIRECT,
       OPT_PERSISTENT, OPT_NO_BARRIER, OPT_NIC_QUEUES, OPT_NICE, OPT_POLL, OPT_CONSOLES, OPT_READY_FD,
       OPT_CHECK };

static const struct option options[] = {
	{ "hv", required_argument, NULL, 'H' },
	{ "kind", required_argument, NULL, OPT_KIND },
	{ "ctl", required_argument, NULL, OPT_CTL },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "uid-base", required_argument, NULL, OPT_UID },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "max-queues", required_argument, NULL, OPT_QUEUES },
	{ "max-ring-order", required_argument, NULL, OPT_ORDER },
	{ "max-indirect", required_argument, NULL, OPT_INDIRECT },
	{ "persistent", no_argument, NULL, OPT_PERSISTENT },
	{ "no-barrier", no_argument, NULL, OPT_NO_BARRIER },
	{ "max-nic-queues", required_argument, NULL, OPT_NIC_QUEUES },
	{ "nice", required_argument, NULL, OPT_NICE },
	{ "poll", required_argument, NULL, OPT_POLL },
	{ "consoles", required_argument, NULL, OPT_CONSOLES },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "check-journal", required_argument, NULL, OPT_CHECK },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

static const char help[] =
	"Usage: pvbackd [OPTION]...\n"
	"Serve the synthetic disks and NICs of Xen guests, or of the local fabric's process guests.\n"
	"\n"
	"  -H, --hv SPEC           xen, or local:DIR (default: $PVBUS_HV, else xen where there is Xen,\n"
	"                          else local:/run/pvbus-local)\n"
	"      --kind KIND         serve backend/KIND; may be repeated (default: vbd, vbd3, and vif\n"
	"                          unless the kernel's xen-netback is there)\n"
	"      --ctl PATH          control socket (default: /run/pvbackd/ctl; local: DIR/pvbackd.sock)\n"
	"      --metrics PATH      Prometheus socket (default: /run/pvbackd/metrics.sock;\n"
	"                          local: DIR/pvbackd-metrics.sock); \"\" for none\n"
	"      --uid-base N        a worker runs as uid N + domain id (default: 1966080 as root;\n"
	"                          0: as pvbackd itself)\n"
	"      --no-sandbox        do not filter the workers' system calls (for debugging)\n"
	"      --memory SIZE       buffer memory per guest (default: 32M)\n"
	"      --max-queues N      queues offered per disk, 1..8 (default: 8)\n"
	"      --max-ring-order N  largest ring offered, 0..4 (default: 4: 16 pages)\n"
	"      --max-indirect N    segments per indirect request, 0..256 (default: 256)\n"
	"      --persistent        offer persistent grants (costs the guest a copy of all data)\n"
	"      --no-barrier        do not offer write barriers\n"
	"      --max-nic-queues N  queues offered per NIC, 1..8 (default: one a CPU, at most 8)\n"
	"      --nice N            workers' priority, -20..19 (default: -10, as far as we may)\n"
	"      --poll USECS        longest look at rings before a worker sleeps (default: 50,\n"
	"                          on a host with less than 4 CPUs 0: none)\n"
	"      --consoles PLACES   serve the guests' consoles, too: in place of xenconsoled; PLACES as\n"
	"                          'pty', 'unix=/run/pvbackd/%n' (pvbus-console(7))\n"
	"      --ready-fd FD       close FD when serving\n"
	"      --check-journal DIR only say whether this pvbackd could go on with what another has left\n"
	"                          in DIR\n"
	"  -v, --verbose           log more\n"
	"  -q, --quiet             log errors only\n"
	"  -h, --help              this text\n"
	"  -V, --version           version\n"
	"\n"
	"See pvbackd(8); targets of disks are in pvbus-providers(7), ports of NICs in pvbus-ports(7),\n"
	"consoles in pvbus-console(7).\n";

static uint64_t number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	uint64_t v;

	if (pvb_parse_u64(text, min, max, &v) < 0) {
		fprintf(stderr, "pvbackd: --%s is \"%s\", must be %llu..%llu\n", option, text, (unsigned long long)min,
			(unsigned long long)max);
		exit(2);
	}
	return v;
}

static int nice_value(const char *text)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (end == text || *end || v < -20 || v > 19) {
		fprintf(stderr, "pvbackd: --nice is \"%s\", must be -20..19\n", text);
		exit(2);
	}
	return (int)v;
}

/* pvbackd --worker SOCK DOMID HV UID MEMORY SANDBOX POLL SWITCH NBD: how the supervisor starts us; not for people. */
static int run_worker(char **a)
{
	struct worker_options o = {
		.sock = atoi(a[0]), .domid = (uint32_t)strtoul(a[1], NULL, 10), .hv = a[2],
		.uid = (uint32_t)strtoul(a[3], NULL, 10), .memory = strtoull(a[4], NULL, 10), .sandbox = a[5][0] == '1',
		.poll_us = strtoull(a[6], NULL, 10), .place = a[7], .nbd = a[8][0] == '1',
	};

	return worker_main(&o);
}

/* pvbackd --console-worker SOCK DOMID HV UID SANDBOX: the same. */
static int run_console(char **a)
{
	struct con_worker_options o = {
		.sock = atoi(a[0]), .domid = (uint32_t)strtoul(a[1], NULL, 10), .hv = a[2],
		.uid = (uint32_t)strtoul(a[3], NULL, 10), .sandbox = a[4][0] == '1',
	};

	return con_worker_main(&o);
}

static void add_kind(struct sup_options *o, unsigned *nr, const char *kind)
{
	if (*nr == SUP_MAX_KINDS) {
		fprintf(stderr, "pvbackd: --kind %s: at most %d kinds\n", kind, SUP_MAX_KINDS);
		exit(2);
	}
	if (!*kind || strlen(kind) > 15 || strchr(kind, '/')) {
		fprintf(stderr, "pvbackd: --kind \"%s\" is not a name of 1 to 15 bytes without /\n", kind);
		exit(2);
	}
	o->kinds[(*nr)++] = kind;
}

/* Two back ends on one NIC are none: where the kernel has one for vifs, they are left to it unless asked for. */
static void default_kinds(struct sup_options *o)
{
	unsigned nr = 0;

	add_kind(o, &nr, "vbd");
	add_kind(o, &nr, "vbd3");
	if (access("/sys/bus/xen-backend/drivers/vif", F_OK) == 0)
		log_warn("the kernel's xen-netback is there: NICs are left to it (modprobe -r xen-netback, or --kind vif)");
	else
		add_kind(o, &nr, "vif");
}

static unsigned default_nic_queues(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 1 ? 1 : cpus > PVB_VIF_MAX_QUEUES ? PVB_VIF_MAX_QUEUES : (unsigned)cpus;
}

/* Whoever looks takes a processor from others: not if there are few. */
static unsigned default_poll(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) >= 4 ? 50 : 0;
}

int main(int argc, char **argv)
{
	struct sup_options o = {
		.uid_base = geteuid() == 0 ? 1966080 : 0,
#ifndef PVB_SANITIZED
		.sandbox = true,
#endif
		.memory = 32u << 20, .max_queues = PVB_VBD_MAX_QUEUES, .max_ring_order = PVB_VBD_MAX_RING_ORDER,
		.max_indirect = PVB_VBD_MAX_INDIRECT, .barrier = true, .max_nic_queues = default_nic_queues(), .nice = -10,
		.poll_us = default_poll(), .ready_fd = -1,
	};
	enum log_level level = LOG_LEVEL_INFO;
	struct pvb_error err;
	unsigned nr_kinds = 0;
	uint64_t bytes;
	int c;

	if (argc == 11 && strcmp(argv[1], "--worker") == 0) {
		log_init(level);
		return run_worker(argv + 2);
	}
	if (argc == 7 && strcmp(argv[1], "--console-worker") == 0) {
		log_init(level);
		return run_console(argv + 2);
	}
	while ((c = getopt_long(argc, argv, "H:vqhV", options, NULL)) != -1) {
		switch (c) {
		case 'H':
			o.hv = optarg;
			break;
		case OPT_KIND:
			add_kind(&o, &nr_kinds, optarg);
			break;
		case OPT_CTL:
			o.ctl = optarg;
			break;
		case OPT_METRICS:
			o.metrics = optarg;
			break;
		case OPT_UID:
			o.uid_base = (uint32_t)number("uid-base", optarg, 0, UINT32_MAX - 32768);
			break;
		case OPT_NO_SANDBOX:
			o.sandbox = false;
			break;
		case OPT_MEMORY:
			if (target_size("--memory", optarg, 1u << 20, 1ull << 40, &bytes, &err) < 0) {
				fprintf(stderr, "pvbackd: %s\n", err.text);
				return 2;
			}
			o.memory = bytes;
			break;
		case OPT_QUEUES:
			o.max_queues = (unsigned)number("max-queues", optarg, 1, PVB_VBD_MAX_QUEUES);
			break;
		case OPT_ORDER:
			o.max_ring_order = (unsigned)number("max-ring-order", optarg, 0, PVB_VBD_MAX_RING_ORDER);
			break;
		case OPT_INDIRECT:
			o.max_indirect = (unsigned)number("max-indirect", optarg, 0, PVB_VBD_MAX_INDIRECT);
			break;
		case OPT_PERSISTENT:
			o.persistent = true;
			break;
		case OPT_NO_BARRIER:
			o.barrier = false;
			break;
		case OPT_NIC_QUEUES:
			o.max_nic_queues = (unsigned)number("max-nic-queues", optarg, 1, PVB_VIF_MAX_QUEUES);
			break;
		case OPT_NICE:
			o.nice = nice_value(optarg);
			break;
		case OPT_POLL:
			o.poll_us = number("poll", optarg, 0, POLL_MAX_US);
			break;
		case OPT_READY_FD:
			o.ready_fd = (int)number("ready-fd", optarg, 0, 1 << 20);
			break;
		case OPT_CONSOLES:
			o.consoles = optarg;
			break;
		case OPT_CHECK:
			if (keep_check(optarg, &err) == 0)
				return 0;
			fprintf(stderr, "pvbackd: %s\n", err.text);
			return 1;
		case 'v':
			level = LOG_LEVEL_DEBUG;
			break;
		case 'q':
			level = LOG_LEVEL_ERR;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'V':
			puts("pvbackd " PACKAGE_VERSION);
			return 0;
		default:
			fputs("Try 'pvbackd --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "pvbackd: unexpected argument \"%s\"\n", argv[optind]);
		return 2;
	}
	log_init(level);
	if (o.ready_fd >= 0 && fcntl(o.ready_fd, F_GETFD) < 0)
		o.ready_fd = -1; /* told by who was this process before */
	o.argv = argv;
	if (nr_kinds == 0)
		default_kinds(&o);
	return supervisor_main(&o);
}
