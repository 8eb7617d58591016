// SPDX-License-Identifier: GPL-2.0-or-later
/* pvguest(1): a domain that is a process.  Connects its disks, serves them by NBD, runs a command or a load
 * on them, and behaves in the store as a guest does. */
#include <config.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "offer.h"
#include "pvguest.h"

#define DRAIN_MS 3000  /* for what is in flight when we are asked to end */
#define CLOSE_MS 7000  /* for the back ends to let go */
#define CHILD_MS 5000  /* for the command after SIGTERM */

struct program;

struct disk {
	struct program *p;
	struct pvf_disk *disk;
	char name[16];
	enum pvf_phase said;      /* told on stderr last */
};

struct program {
	struct pvguest_options o;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvf_guest *guest;
	struct nbd_server *nbd;
	struct nbd_stats nbd_stats; /* its last ones, when it is gone */
	struct pvb_watch *watch_devices, *watch_shutdown;
	struct pvb_source *signals, *patience;
	int signal_fd;
	struct disk disks[PVGUEST_DISKS];
	unsigned nr;
	char home[64], tmp_dir[128], socket[160];
	pid_t child;
	bool stop, quiet, pid_written;
	int status;               /* of the command */
	enum pvb_local_reason reason;
};

static void complain(const struct pvb_error *err)
{
	fprintf(stderr, "pvguest: %s\n", err->text);
}

/* --- disks ------------------------------------------------------------------------------------------ */

static void tell(struct disk *d)
{
	const struct pvf_info *i = pvf_disk_info(d->disk);
	enum pvf_phase phase = pvf_disk_phase(d->disk);

	/* the steps in between are of no interest, and a resize is not a phase */
	if (phase == d->said || phase == PVF_WAITING || phase == PVF_OFFERED || phase == PVF_CLOSING || d->p->quiet)
		return;
	d->said = phase;
	if (phase == PVF_LIVE)
		fprintf(stderr, "pvguest: %s: live, %" PRIu64 " bytes%s, %u queues of %u slots, %u segments%s%s%s%s\n", d->name,
			i->size, i->readonly ? " read-only" : "", i->queues, i->ring_slots, i->max_segments,
			i->flush ? ", flush" : "", i->barrier ? ", barrier" : "", i->discard ? ", discard" : "",
			i->persistent ? ", persistent" : "");
	else
		fprintf(stderr, "pvguest: %s: %s%s%s\n", d->name, pvf_phase_name(phase),
			pvf_disk_error(d->disk)->code != 0 ? ", " : "", pvf_disk_error(d->disk)->text);
}

static void changed(void *arg, struct pvf_disk *disk)
{
	struct disk *d = arg;

	d->disk = disk;
	tell(d);
	if (d->p->nbd != NULL)
		nbd_server_changed(d->p->nbd, disk);
}

static bool known(const struct program *p, uint32_t devid)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_devid(p->disks[i].disk) == devid)
			return true;
	return false;
}

static void add_disk(struct program *p, uint32_t devid)
{
	struct disk *d = &p->disks[p->nr];
	struct pvf_options opt = p->o.disk;
	struct pvb_error err;
	int rc;

	if (p->nr == PVGUEST_DISKS || known(p, devid))
		return;
	memset(d, 0, sizeof(*d));
	d->p = p;
	pvb_vdev_name(devid, d->name, sizeof(d->name));
	opt.changed = changed;
	opt.arg = d;
	rc = pvf_disk_open(&d->disk, p->guest, devid, &opt, &err);
	if (rc < 0) {
		if (rc != -ENOENT)
			complain(&err);
		return;
	}
	p->nr++;
	if (p->nbd != NULL)
		nbd_server_export(p->nbd, d->name, d->disk);
}

static void add_named(struct program *p)
{
	uint32_t devid;

	for (unsigned i = 0; i < p->o.nr_disks; i++)
		if (pvb_vdev_parse(p->o.disks[i], &devid, NULL) == 0)
			add_disk(p, devid);
}

/* Open what is there and not open yet: at the start, and whenever a device is plugged in. */
static void scan(void *arg, const char *path)
{
	struct program *p = arg;
	char dir[96], **names;
	unsigned nr;
	uint64_t devid;

	if (p->o.nr_disks > 0) {
		add_named(p);
		return;
	}
	snprintf(dir, sizeof(dir), "%s/device/vbd", p->home);
	if (pvb_store_list(p->st, PVB_NO_TXN, dir, &names, &nr) < 0)
		return;
	for (unsigned i = 0; i < nr; i++)
		if (pvb_parse_u64(names[i], 0, INT32_MAX, &devid) == 0)
			add_disk(p, (uint32_t)devid);
	pvb_store_list_free(names, nr);
}

static bool all_live(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_phase(p->disks[i].disk) != PVF_LIVE)
			return false;
	return p->nr >= p->o.nr_disks;
}

/* Is there a disk that will not come up however long we wait? */
static bool hopeless(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++) {
		enum pvf_phase phase = pvf_disk_phase(p->disks[i].disk);

		if (phase == PVF_DEAD || (phase == PVF_DOWN && !p->o.disk.wait && pvf_disk_error(p->disks[i].disk)->code != 0))
			return true;
	}
	return false;
}

static int connect_disks(struct program *p)
{
	uint64_t until = pvb_now_ms() + p->o.timeout_ms, now;
	struct pvb_error err;

	while (!all_live(p) && !p->stop) {
		if (hopeless(p))
			return -EIO; /* tell() said why */
		now = pvb_now_ms();
		if (now >= until) {
			for (unsigned i = 0; i < p->nr; i++)
				if (pvf_disk_wait(p->disks[i].disk, 0, &err) < 0)
					complain(&err);
			if (p->nr < p->o.nr_disks)
				fprintf(stderr, "pvguest: %u of the %u disks asked for are there\n", p->nr, p->o.nr_disks);
			return -ETIMEDOUT;
		}
		pvb_loop_once(p->loop, (int)(until - now));
	}
	return 0;
}

/* --- the store as a guest uses it -------------------------------------------------------------------- */

static int take_request(struct pvb_store *st, pvb_txn t, void *arg)
{
	char *path = arg, *value;
	int rc = pvb_store_read(st, t, path, &value);

	free(value);
	return rc < 0 ? rc : pvb_store_write(st, t, path, "");
}

static void on_shutdown(void *arg, const char *unused)
{
	static const struct { const char *word; enum pvb_local_reason reason; } words[] = {
		{ "poweroff", PVB_LOCAL_POWEROFF }, { "halt", PVB_LOCAL_POWEROFF }, { "reboot", PVB_LOCAL_REBOOT },
	};
	struct program *p = arg;
	char path[96], *value;

	snprintf(path, sizeof(path), "%s/control/shutdown", p->home);
	if (pvb_store_read(p->st, PVB_NO_TXN, path, &value) < 0)
		return;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i].word) != 0)
			continue;
		pvb_store_txn(p->st, take_request, path); /* writing "" acknowledges */
		fprintf(stderr, "pvguest: %s was asked for\n", words[i].word);
		p->reason = words[i].reason;
		p->o.shutdown = true;
		p->stop = true;
	}
	free(value);
}

static void announce(struct program *p)
{
	static const char *const features[] = { "feature-poweroff", "feature-reboot" };
	char path[96];

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		snprintf(path, sizeof(path), "%s/control/%s", p->home, features[i]);
		pvb_store_write(p->st, PVB_NO_TXN, path, "1"); /* a toolstack that keeps us out of control/ need not care */
	}
	snprintf(path, sizeof(path), "%s/control/shutdown", p->home);
	pvb_store_watch(p->st, path, on_shutdown, p, &p->watch_shutdown);
}

/* What a kernel tells the hypervisor when it is done; only the local fabric's domains end with a process. */
static void report_shutdown(const struct program *p)
{
	const char *spec = pvb_hv_spec(p->hv), *dir = spec + 6, *colon = strrchr(spec, ':');
	struct pvb_error err;
	char *copy;

	if (!p->o.shutdown || strncmp(spec, "local:", 6) != 0 || colon < dir || pvf_guest_domid(p->guest) == 0)
		return;
	copy = strndup(dir, (size_t)(colon - dir));
	if (copy != NULL && pvb_local_domain_shutdown(copy, pvf_guest_domid(p->guest), pvf_guest_domid(p->guest), p->reason,
						      &err) < 0)
		complain(&err);
	free(copy);
}

/* --- counters --------------------------------------------------------------------------------------- */

static void print_stats(const struct program *p)
{
	const struct pvb_hv_live *l = pvb_hv_live(p->hv);
	struct nbd_stats n = p->nbd_stats;
	struct pvf_stats s;
	bool json = p->o.json;

	for (unsigned i = 0; i < p->nr; i++) {
		pvf_disk_stats(p->disks[i].disk, &s);
		fprintf(stderr, json ? "{\"disk\": \"%s\", \"requests\": %" PRIu64 ", \"slots\": %" PRIu64 ", \"bytes_read\": %" PRIu64
			", \"bytes_written\": %" PRIu64 ", \"bytes_copied\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"pushes\": %" PRIu64
			", \"notifies\": %" PRIu64 ", \"events\": %" PRIu64 ", \"spurious\": %" PRIu64 ", \"ring_full\": %" PRIu64
			", \"pool_empty\": %" PRIu64 ", \"connects\": %" PRIu64 "}\n" :
			"%s: %" PRIu64 " requests in %" PRIu64 " slots, %" PRIu64 " bytes read, %" PRIu64 " written, %" PRIu64
			" copied, %" PRIu64 " errors\n  %" PRIu64 " pushes, %" PRIu64 " notifies, %" PRIu64 " events, %" PRIu64
			" spurious, ring full %" PRIu64 ", pool empty %" PRIu64 ", connects %" PRIu64 "\n", p->disks[i].name,
			s.requests, s.slots, s.bytes_read, s.bytes_written, s.bytes_copied, s.errors, s.pushes, s.notifies, s.events,
			s.spurious, s.ring_full, s.pool_empty, s.connects);
	}
	if (p->nbd != NULL)
		nbd_server_stats(p->nbd, &n);
	fprintf(stderr, json ? "{\"nbd_connections\": %" PRIu64 ", \"nbd_refused\": %" PRIu64 ", \"nbd_commands\": %" PRIu64
		", \"nbd_errors\": %" PRIu64 ", \"nbd_bytes_in\": %" PRIu64 ", \"nbd_bytes_out\": %" PRIu64 ", \"nbd_bytes_copied\": %"
		PRIu64 ", \"grants\": %u, \"ports\": %u, \"stuck\": %u}\n" :
		"nbd: %" PRIu64 " connections, %" PRIu64 " refused, %" PRIu64 " commands, %" PRIu64 " errors, %" PRIu64 " bytes in, %"
		PRIu64 " out, %" PRIu64 " copied\nhv: %u pages granted, %u ports, %u pages stuck\n", n.accepted, n.refused, n.commands,
		n.errors, n.bytes_in, n.bytes_out, n.bytes_copied, l->grants, l->ports, l->stuck);
}

/* --- signals and the command ------------------------------------------------------------------------- */

static void child_is_late(void *arg)
{
	struct program *p = arg;

	kill(p->child, SIGKILL);
}

static void on_signal(void *arg, uint32_t events)
{
	struct program *p = arg;
	struct signalfd_siginfo si;
	int status;

	if (read(p->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGUSR1) {
		print_stats(p);
	} else if (si.ssi_signo != SIGCHLD && p->child > 0) {
		kill(p->child, SIGTERM);
		if (p->patience == NULL)
			pvb_loop_timer(p->loop, CHILD_MS, child_is_late, p, &p->patience);
	} else if (si.ssi_signo != SIGCHLD) {
		p->stop = true;
	} else if (p->child > 0 && waitpid(p->child, &status, WNOHANG) == p->child) {
		p->child = 0;
		p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		p->stop = true;
	}
}

/* Blocked before libxenstore starts its thread, which must not get them either. */
static int take_signals(struct program *p)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signal_fd < 0)
		return -errno;
	return pvb_loop_fd(p->loop, p->signal_fd, EPOLLIN, on_signal, p, &p->signals);
}

/* Percent-encoding, for a path in a URI's query. */
static void encode(char *to, size_t len, const char *from)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
	size_t n = 0;

	for (; *from != '\0' && n + 4 < len; from++) {
		if (strchr(plain, *from) != NULL)
			to[n++] = *from;
		else
			n += (size_t)snprintf(to + n, len - n, "%%%02X", (unsigned char)*from);
	}
	to[n] = '\0';
}

static void be_command(const struct program *p)
{
	char path[3 * sizeof(p->socket)], uri[sizeof(path) + 64];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	encode(path, sizeof(path), p->socket);
	snprintf(uri, sizeof(uri), "nbd+unix:///%s?socket=%s", p->nr > 0 ? p->disks[0].name : "", path);
	setenv("NBD_URI", uri, 1);
	setenv("NBD_SOCKET", p->socket, 1);
	execl("/bin/sh", "sh", "-c", p->o.exec, (char *)NULL);
	_exit(127);
}

static int start_command(struct program *p)
{
	fflush(NULL);
	p->child = fork();
	if (p->child < 0) {
		fprintf(stderr, "pvguest: fork: %s\n", strerror(errno));
		p->child = 0;
		return -EAGAIN;
	}
	if (p->child == 0)
		be_command(p);
	return 0;
}

/* --- NBD -------------------------------------------------------------------------------------------- */

static int serve(struct program *p)
{
	const char *tmp = getenv("TMPDIR");
	struct pvb_error err;
	int rc;

	if (p->o.nbd != NULL) {
		snprintf(p->socket, sizeof(p->socket), "%s", p->o.nbd);
	} else if (p->o.exec != NULL) {
		snprintf(p->tmp_dir, sizeof(p->tmp_dir), "%s/pvguest-XXXXXX", tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(p->tmp_dir) == NULL) {
			fprintf(stderr, "pvguest: %s: %s\n", p->tmp_dir, strerror(errno));
			p->tmp_dir[0] = '\0';
			return -EIO;
		}
		snprintf(p->socket, sizeof(p->socket), "%s/nbd", p->tmp_dir);
	} else {
		return 0;
	}
	rc = nbd_server_new(&p->nbd, p->loop, p->socket, &p->o.limits, &err);
	if (rc < 0) {
		complain(&err);
		return rc;
	}
	for (unsigned i = 0; i < p->nr; i++)
		nbd_server_export(p->nbd, p->disks[i].name, p->disks[i].disk);
	return 0;
}

static int say_ready(struct program *p)
{
	FILE *f;

	if (p->o.pidfile != NULL) {
		f = fopen(p->o.pidfile, "we");
		if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
			fprintf(stderr, "pvguest: %s: %s\n", p->o.pidfile, strerror(errno));
			return -EIO;
		}
		p->pid_written = true;
	}
	if (p->o.ready_fd >= 0) {
		if (write(p->o.ready_fd, "READY\n", 6) != 6) {
			fprintf(stderr, "pvguest: --ready-fd %d: %s\n", p->o.ready_fd, strerror(errno));
			return -EIO;
		}
		close(p->o.ready_fd);
	}
	return 0;
}

/* --- beginning, work, end --------------------------------------------------------------------------- */

static int open_bus(struct program *p)
{
	struct pvb_error err = { .text = "out of memory" };
	char dir[96];
	int rc;

	rc = pvb_loop_new(&p->loop);
	if (rc == 0)
		rc = take_signals(p);
	if (rc == 0)
		rc = pvb_hv_open(&p->hv, p->o.hv, PVB_HV_FRONT, &err);
	if (rc == 0)
		rc = pvb_store_open(&p->st, pvb_hv_spec(p->hv), &err);
	if (rc == 0)
		rc = pvf_guest_new(&p->guest, p->hv, p->st, p->loop, &err);
	if (rc < 0) {
		complain(&err);
		return rc;
	}
	pvb_store_home(pvf_guest_domid(p->guest), p->home, sizeof(p->home));
	announce(p);
	snprintf(dir, sizeof(dir), "%s/device/vbd", p->home);
	scan(p, NULL);
	return pvb_store_watch(p->st, dir, scan, p, &p->watch_devices);
}

static int run_bench(struct program *p)
{
	struct bench_result *res = malloc(sizeof(*res));
	struct pvb_error err;
	int rc = 0;

	if (res == NULL)
		return -ENOMEM;
	if (p->nr == 0)
		fprintf(stderr, "pvguest: there is no disk to measure\n");
	for (unsigned i = 0; i < p->nr && rc == 0 && !p->stop; i++) {
		rc = bench_run(p->disks[i].disk, p->loop, &p->o.bench, &p->stop, res, &err);
		bench_print(stdout, p->disks[i].name, &p->o.bench, res, p->o.json);
		if (rc < 0)
			complain(&err);
	}
	fflush(stdout);
	free(res);
	return p->nr == 0 ? -ENOENT : rc;
}

static int work(struct program *p)
{
	int rc = connect_disks(p);

	if (rc == 0)
		rc = serve(p);
	if (rc == 0)
		rc = say_ready(p);
	if (rc == 0 && p->o.exec != NULL)
		rc = start_command(p);
	if (rc == 0 && p->o.bench_wanted)
		return run_bench(p);
	while (rc >= 0 && !p->stop)
		rc = pvb_loop_once(p->loop, -1);
	return rc < 0 ? rc : 0;
}

static bool busy(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_phase(p->disks[i].disk) == PVF_LIVE && pvf_disk_in_flight(p->disks[i].disk) > 0)
			return true;
	return p->nbd != NULL && !nbd_server_idle(p->nbd);
}

static bool at_rest(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (!pvf_disk_down(p->disks[i].disk, 0))
			return false;
	return true;
}

static void end(struct program *p)
{
	uint64_t until = pvb_now_ms() + DRAIN_MS, now;

	p->quiet = true;
	if (p->child > 0) /* only after an error of ours */
		kill(p->child, SIGTERM);
	pvb_store_unwatch(&p->watch_devices);
	pvb_store_unwatch(&p->watch_shutdown);
	if (p->nbd != NULL)
		nbd_server_stop(p->nbd);
	while (busy(p) && (now = pvb_now_ms()) < until)
		pvb_loop_once(p->loop, (int)(until - now));
	for (unsigned i = 0; i < p->nr; i++)
		pvf_disk_stop(p->disks[i].disk);
	until = pvb_now_ms() + CLOSE_MS;
	while (!at_rest(p) && (now = pvb_now_ms()) < until)
		pvb_loop_once(p->loop, (int)(until - now));
	if (p->nbd != NULL)
		nbd_server_stats(p->nbd, &p->nbd_stats);
	nbd_server_free(p->nbd); /* its buffers go back once no back end has them mapped */
	p->nbd = NULL;
	if (p->o.stats)
		print_stats(p);
	for (unsigned i = 0; i < p->nr; i++)
		pvf_disk_close(&p->disks[i].disk, 0);
	if (p->guest != NULL)
		report_shutdown(p);
	pvf_guest_free(p->guest);
	pvb_store_close(p->st);
	pvb_hv_close(p->hv);
	pvb_source_free(&p->signals);
	pvb_source_free(&p->patience);
	pvb_loop_free(p->loop);
	if (p->signal_fd >= 0)
		close(p->signal_fd);
	if (p->tmp_dir[0] != '\0')
		rmdir(p->tmp_dir);
	if (p->pid_written)
		unlink(p->o.pidfile);
}

int main(int argc, char **argv)
{
	static struct program p;
	struct pvb_error err;
	uint32_t devid;
	int rc = pvguest_options(&p.o, argc, argv);

	if (rc != 0)
		return rc > 0 ? 0 : 2;
	for (unsigned i = 0; i < p.o.nr_disks; i++) {
		if (pvb_vdev_parse(p.o.disks[i], &devid, &err) < 0) {
			complain(&err);
			return 2;
		}
	}
	p.signal_fd = -1;
	rc = open_bus(&p);
	if (rc == 0)
		rc = work(&p);
	end(&p);
	return rc < 0 ? 1 : p.status;
}
