/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvlocald: the local fabric's server as a daemon.  See pvlocald(8). */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "../hv.h"
#include "../store.h"
#include "fabric.h"

static struct {
	const char *dir, *pidfile;
	bool foreground;
	int ready_fd;
	struct pvb_fabric_options fabric;
} conf = { .dir = "/run/pvbus-local", .ready_fd = -1 };

#define Q(name) offsetof(struct pvb_store_quota, name)
static const struct {
	const char *name;
	size_t at;
	uint32_t min, max;
	const char *help;
} quotas[] = {
	{ "quota-nodes", Q(nodes), 1, INT_MAX, "nodes a domain may own" },
	{ "quota-watches", Q(watches), 1, INT_MAX, "watches it may set" },
	{ "quota-transactions", Q(transactions), 1, INT_MAX, "transactions it may have open" },
	{ "quota-outstanding", Q(outstanding), 1, INT_MAX, "requests of it not yet delivered" },
	{ "quota-txn-nodes", Q(txn_nodes), 1, INT_MAX, "nodes one transaction may touch" },
	{ "quota-perms", Q(perms), 1, 1000, "permissions of a node" },
	{ "quota-node-size", Q(node_size), 64, 65536, "bytes of a node" },
	{ "quota-path-max", Q(path_max), 16, 3000, "bytes of a path below /local/domain/N/" },
	{ "quota-memory-soft", Q(memory_soft), 4096, INT_MAX, "bytes above which quota reports it" },
	{ "quota-memory-hard", Q(memory_hard), 4096, INT_MAX, "bytes kept for a domain in all" },
	{ "quota-connections", Q(connections), 1, 10000, "store connections of a domain" },
	{ "event-timeout-ms", Q(event_timeout_ms), 0, INT_MAX, "unread events close a connection; 0 = never" },
	{ "backlog-max", Q(backlog_max), 65536, INT_MAX, "unread bytes of a client of domain 0" },
};
#define NR_QUOTAS (sizeof(quotas) / sizeof(*quotas))

static uint32_t *quota(unsigned i)
{
	return (uint32_t *)((char *)&conf.fabric.quota + quotas[i].at);
}

static void usage(FILE *to)
{
	unsigned i;

	fprintf(to,
		"usage: pvlocald [OPTION]...\n"
		"Serve a local fabric: domains, grants, event channels and a xenstore without Xen.\n\n"
		"  -d, --dir=DIR                  where its sockets are (%s)\n"
		"  -f, --foreground               do not become a daemon\n"
		"  -p, --pidfile=FILE             write the daemon's process id there\n"
		"      --ready-fd=FD              write a newline to FD and close it when it listens\n"
		"      --dom0-pages=N             pages domain 0 can grant (%u)\n", conf.dir, conf.fabric.dom0_pages);
	for (i = 0; i < NR_QUOTAS; i++)
		fprintf(to, "      --%-18s=N     %s (%u)\n", quotas[i].name, quotas[i].help, *quota(i));
	fprintf(to,
		"  -h, --help                     show this\n"
		"  -V, --version                  show the version\n\n"
		"The quotas are those of each domain other than 0.\n");
}

static uint32_t number(const char *option, const char *text, uint32_t min, uint32_t max)
{
	uint64_t v;

	if (pvb_parse_u64(text, min, max, &v) < 0) {
		fprintf(stderr, "pvlocald: --%s=%s: a number from %u to %u\n", option, text, min, max);
		exit(2);
	}
	return (uint32_t)v;
}

enum { OPT_READY = 256, OPT_DOM0, OPT_QUOTA };

static void parse(int argc, char **argv)
{
	static struct option opts[8 + NR_QUOTAS] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "pidfile", required_argument, NULL, 'p' },
		{ "ready-fd", required_argument, NULL, OPT_READY },
		{ "dom0-pages", required_argument, NULL, OPT_DOM0 },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
	};
	unsigned i;
	int o;

	for (i = 0; i < NR_QUOTAS; i++)
		opts[7 + i] = (struct option){ quotas[i].name, required_argument, NULL, OPT_QUOTA + (int)i };
	while ((o = getopt_long(argc, argv, "d:fp:hV", opts, NULL)) != -1)
		switch (o) {
		case 'd': conf.dir = optarg; break;
		case 'f': conf.foreground = true; break;
		case 'p': conf.pidfile = optarg; break;
		case OPT_READY: conf.ready_fd = (int)number("ready-fd", optarg, 0, INT_MAX); break;
		case OPT_DOM0: conf.fabric.dom0_pages = number("dom0-pages", optarg, 1, PVB_LOCAL_PAGES_MAX); break;
		case 'h': usage(stdout); exit(0);
		case 'V': printf("pvlocald %s\n", PACKAGE_VERSION); exit(0);
		case '?': fprintf(stderr, "try pvlocald --help\n"); exit(2);
		default:
			i = (unsigned)(o - OPT_QUOTA);
			*quota(i) = number(quotas[i].name, optarg, quotas[i].min, quotas[i].max);
		}
	if (optind < argc) {
		fprintf(stderr, "pvlocald: what is \"%s\"? try pvlocald --help\n", argv[optind]);
		exit(2);
	}
	if (conf.dir[0] != '/') {
		fprintf(stderr, "pvlocald: --dir=%s: the name of the directory must begin with /\n", conf.dir);
		exit(2);
	}
}

/* ---- becoming a daemon ------------------------------------------------------------------------------ */

/* The parent waits until the child listens or says why not, so that a script can go on at once. */
static int daemonize(void)
{
	char c;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0) {
		perror("pvlocald: pipe");
		exit(1);
	}
	switch (fork()) {
	case -1:
		perror("pvlocald: fork");
		exit(1);
	case 0:
		close(p[0]);
		setsid();
		return p[1];
	}
	close(p[1]);
	_exit(read(p[0], &c, 1) == 1 ? 0 : 1);
}

static void write_pidfile(void)
{
	FILE *f;

	if (!conf.pidfile)
		return;
	f = fopen(conf.pidfile, "we");
	if (!f || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
		fprintf(stderr, "pvlocald: can not write %s: %s\n", conf.pidfile, strerror(errno));
		exit(1);
	}
}

static void ready(void *arg)
{
	int *parent = arg, null;

	write_pidfile();
	if (conf.foreground) {
		printf("pvlocald: ready, %s\n", conf.dir);
		fflush(stdout);
	}
	if (conf.ready_fd >= 0) {
		if (write(conf.ready_fd, "\n", 1) != 1)
			fprintf(stderr, "pvlocald: --ready-fd=%d: %s\n", conf.ready_fd, strerror(errno));
		close(conf.ready_fd);
	}
	if (conf.foreground)
		return;
	if (chdir("/") < 0)
		perror("pvlocald: chdir /");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		close(null);
	}
	if (write(*parent, "", 1) != 1)
		_exit(1); /* nobody waits any more */
	close(*parent);
}

int main(int argc, char **argv)
{
	struct pvb_error err = { 0 };
	int parent = -1, stop, rc;
	struct rlimit lim;
	sigset_t set;

	pvb_fabric_defaults(&conf.fabric);
	parse(argc, argv);
	/* a domain costs three descriptors, a handle four */
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	if (!conf.foreground)
		parent = daemonize();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	stop = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (stop < 0) {
		perror("pvlocald: signalfd");
		return 1;
	}
	rc = pvb_fabric_run(conf.dir, &conf.fabric, stop, ready, &parent, &err);
	if (rc < 0) {
		fprintf(stderr, "pvlocald: %s\n", err.text);
		return 1;
	}
	if (conf.pidfile)
		unlink(conf.pidfile);
	return 0;
}
