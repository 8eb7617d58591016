/* SPDX-License-Identifier: GPL-2.0-or-later */
/* supervisor.c: which devices exist, and the daemon's start and end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "console.h"
#include "keep.h"
#include "links.h"
#include "log.h"
#include "server.h"
#include "supervisor.h"
#include "vif.h"

/* Paths below `backend` that wait to be looked at one by one: some of each of a thousand devices'.  A toolstack makes a
 * guest with some hundreds at once, and for each guest a look at all devices of all others would be made. */
#define MANY_PATHS 4096
#define STOP_MS 10000 /* how long requests in flight may take when the daemon stops */

/* ---- devices ----------------------------------------------------------------------------------------- */

static void look_at(struct supervisor *sup, const struct pvb_device_id *id, const char *kind)
{
	struct device *d = device_find(sup, NULL, id);

	if (!d) {
		char dir[160];

		pvb_device_back_path(id, dir, sizeof(dir));
		if (sup->stopping || !pvb_store_exists(sup->store, PVB_NO_TXN, dir))
			return;
		if (device_new(sup, id, kind) < 0)
			return;
		d = device_find(sup, NULL, id);
	}
	d->scan = sup->scan;
	device_step(d);
}

static void sweep(void *arg)
{
	struct supervisor *sup = arg;
	struct device *d, *next;

	for (d = sup->devices; d; d = next) {
		struct pvb_device_id id = d->id;
		char kind[sizeof(d->kind)];

		next = d->next;
		if (!d->gone)
			continue;
		memcpy(kind, d->kind, sizeof(kind));
		id.kind = kind;
		device_free(d);
		look_at(sup, &id, kind); /* another may have taken its place */
	}
}

void supervisor_sweep(struct supervisor *sup)
{
	if (!sup->sweep)
		pvb_loop_timer(sup->loop, 0, sweep, sup, &sup->sweep);
}

/* The whole of a kind's directory: at the start, and when something above a device changed. */
static void scan_guest(struct supervisor *sup, const char *kind, const char *dir, uint32_t domid)
{
	char path[128], **names;
	unsigned nr;

	snprintf(path, sizeof(path), "%s/%u", dir, domid);
	if (pvb_store_list(sup->store, PVB_NO_TXN, path, &names, &nr) < 0)
		return;
	for (unsigned i = 0; i < nr; i++) {
		struct pvb_device_id id = { .kind = kind, .class = device_ops_of(kind)->class, .back = sup->domid, .front = domid };
		uint64_t devid;

		if (pvb_parse_u64(names[i], 0, UINT32_MAX, &devid) == 0) {
			id.devid = (uint32_t)devid;
			look_at(sup, &id, kind);
		}
	}
	pvb_store_list_free(names, nr);
}

static void scan_kind(struct supervisor *sup, const char *kind)
{
	char dir[96], **names = NULL;
	unsigned nr;

	sup->scan++;
	snprintf(dir, sizeof(dir), "/local/domain/%u/backend/%s", sup->domid, kind);
	if (pvb_store_list(sup->store, PVB_NO_TXN, dir, &names, &nr) < 0)
		nr = 0;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t domid;

		if (pvb_parse_u64(names[i], 0, 0x7fef, &domid) == 0)
			scan_guest(sup, kind, dir, (uint32_t)domid);
	}
	pvb_store_list_free(names, nr); /* an empty list is one, too */
	for (struct device *d = sup->devices; d; d = d->next) /* what is no longer there */
		if (d->scan != sup->scan && strcmp(d->kind, kind) == 0)
			device_step(d);
	if (!sup->swept && strcmp(kind, vif_ops.class) == 0) {
		sup->swept = true;
		vif_sweep(sup);
	}
}

static void on_backend(void *arg, const char *path)
{
	struct supervisor *sup = arg;
	struct pvb_device_id id;
	struct device *d;
	char kind[16];

	if (pvb_device_parse(path, &id, kind) == 0) {
		id.kind = kind;
		id.class = device_ops_of(kind)->class;
		d = device_find(sup, NULL, &id);
		if (d && strcmp(path, d->back) == 0)
			d->hopeless = false; /* the directory itself: taken away, or made anew with other keys */
		if (d)
			device_step_soon(d);
		else
			look_at(sup, &id, kind);
		return;
	}
	for (unsigned i = 0; sup->o.kinds[i]; i++)
		scan_kind(sup, sup->o.kinds[i]);
	if (!sup->kept)
		keep_sweep(sup);
	sup->kept = true;
}

static void on_release(void *arg, const char *path)
{
	struct supervisor *sup = arg;

	for (struct device *d = sup->devices; d; d = d->next)
		device_step(d);
}

static void on_link(void *arg, unsigned ifindex)
{
	struct supervisor *sup = arg;

	for (struct device *d = sup->devices; d; d = d->next)
		if (vif_of(d))
			vif_link_changed(vif_of(d), ifindex);
}

/* ---- the end ----------------------------------------------------------------------------------------- */

void supervisor_check_stopped(struct supervisor *sup)
{
	if (!sup->stopping)
		return;
	for (struct device *d = sup->devices; d; d = d->next)
		if (d->phase == DEV_CONNECTED || d->phase == DEV_CONNECTING || d->phase == DEV_DISCONNECTING)
			return;
	pvb_loop_stop(sup->loop, 0);
}

static void give_up_waiting(void *arg)
{
	struct supervisor *sup = arg;

	log_err("requests still in flight after %d s, ending all the same", STOP_MS / 1000);
	pvb_loop_stop(sup->loop, 1);
}

/* Let go of the rings after what is in flight, but leave the states alone: a guest that keeps its disk
 * connected waits for the next pvbackd rather than lose it. */
static void stop(struct supervisor *sup)
{
	if (sup->stopping)
		return;
	sup->stopping = true;
	log_info("stopping");
	for (struct device *d = sup->devices; d; d = d->next)
		device_quiesce(d);
	pvb_loop_timer(sup->loop, STOP_MS, give_up_waiting, sup, NULL);
	supervisor_check_stopped(sup);
}

int supervisor_hand_over(struct supervisor *sup, const char *path, bool force, struct pvb_error *err)
{
	if (sup->stopping)
		return pvb_err(err, -EBUSY, "it is stopping");
	if (path[0] != '/' || access(path, X_OK) < 0)
		return pvb_err(err, -ENOEXEC, "%s: %s", path, path[0] == '/' ? strerror(errno) : "not an absolute path");
	for (struct device *d = sup->devices; d && !force; d = d->next)
		if ((d->phase == DEV_CONNECTED || d->resuming) && (sup->keep_fd < 0 || !d->ops->outlives(d)))
			return pvb_err(err, -EBUSY, "%s would not outlive this process", device_name(d));
	sup->successor = strdup(path);
	if (!sup->successor)
		return pvb_err(err, -ENOMEM, "out of memory");
	log_info("hands over to %s", path);
	stop(sup);
	return 0;
}

/* Without a fork: whoever started us, systemd for one, knows this process. */
static void become(char *path, char **argv)
{
	execv(path, argv);
	log_err("%s: %s: goes on itself", path, strerror(errno));
	free(path);
	execv("/proc/self/exe", argv);
	log_err("/proc/self/exe: %s", strerror(errno));
}

static void on_signal(void *arg, uint32_t events)
{
	struct supervisor *sup = arg;
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(sup->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGCHLD) {
			stop(sup);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (!console_reaped(sup, pid, status))
				guest_reaped(sup, pid, status);
	}
}

/* ---- the beginning ------------------------------------------------------------------------------------ */

static int watch_signals(struct supervisor *sup)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sup->signal_fd < 0)
		return -errno;
	return pvb_loop_fd(sup->loop, sup->signal_fd, EPOLLIN, on_signal, sup, &sup->signals);
}

void supervisor_path(const struct supervisor *sup, const char *xen, const char *local, char *buf, size_t len)
{
	const char *dir = strncmp(sup->hv, "local:", 6) == 0 ? sup->hv + 6 : NULL;

	if (dir)
		snprintf(buf, len, "%.*s/%s", (int)strcspn(dir, ":"), dir, local);
	else
		snprintf(buf, len, "/run/pvbackd/%s", xen);
}

static int open_sockets(struct supervisor *sup, struct pvb_error *err)
{
	char path[256];
	int rc = 0;

	if (strncmp(sup->hv, "local:", 6) != 0)
		mkdir("/run/pvbackd", 0755);
	if (!sup->o.ctl || *sup->o.ctl) {
		supervisor_path(sup, "ctl", "pvbackd.sock", path, sizeof(path));
		rc = ctl_open(&sup->ctl, sup, sup->o.ctl ? sup->o.ctl : path, err);
	}
	if (rc == 0 && (!sup->o.metrics || *sup->o.metrics)) {
		supervisor_path(sup, "metrics.sock", "pvbackd-metrics.sock", path, sizeof(path));
		rc = metrics_open(&sup->metrics, sup, sup->o.metrics ? sup->o.metrics : path, err);
	}
	supervisor_path(sup, "journal", "pvbackd-journal", path, sizeof(path));
	if (rc == 0) /* the control socket is ours: no other pvbackd is at work here */
		keep_open(sup, path);
	return rc;
}

static int watch_store(struct supervisor *sup, struct pvb_error *err)
{
	char path[96];
	int rc = 0;

	for (unsigned i = 0; rc == 0 && sup->o.kinds[i]; i++) {
		snprintf(path, sizeof(path), "/local/domain/%u/backend/%s", sup->domid, sup->o.kinds[i]);
		rc = pvb_store_watch(sup->store, path, on_backend, sup, &sup->kinds[i]);
		if (rc == 0)
			pvb_watch_room(sup->kinds[i], MANY_PATHS);
	}
	if (rc == 0)
		rc = pvb_store_watch(sup->store, "@releaseDomain", on_release, sup, &sup->release);
	if (rc == 0)
		rc = pvb_store_attach(sup->store, sup->loop);
	return rc < 0 ? pvb_err(err, rc, "store: watch: %s", strerror(-rc)) : 0;
}

/* The hypervisor is opened here only to know its resolved name: guests' memory is the workers' business. */
static int resolve_hv(struct supervisor *sup, struct pvb_error *err)
{
	struct pvb_hv *hv;
	int rc = pvb_hv_open(&hv, sup->o.hv, PVB_HV_BACK, err);

	if (rc < 0)
		return rc;
	sup->hv = strdup(pvb_hv_spec(hv));
	pvb_hv_close(hv);
	return sup->hv ? 0 : pvb_err(err, -ENOMEM, "out of memory");
}

/* Workers have no store to ask for the domain they are in. */
static int name_own_domain(struct supervisor *sup)
{
	char *spec;

	if (strcmp(sup->hv, "xen") != 0)
		return 0;
	if (asprintf(&spec, "xen:%u", sup->domid) < 0)
		return -ENOMEM;
	free(sup->hv);
	sup->hv = spec;
	return 0;
}

static void tell_ready(struct supervisor *sup)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (sup->o.ready_fd >= 0)
		close(sup->o.ready_fd);
	if (!path || strlen(path) >= sizeof(sa.sun_path))
		return;
	strcpy(sa.sun_path, path);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&sa,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		log_warn("systemd was not told: %s", strerror(errno));
	close(fd);
}

static int start(struct supervisor *sup, struct pvb_error *err)
{
	int rc = resolve_hv(sup, err);

	if (rc == 0)
		rc = pvb_store_open(&sup->store, sup->hv, err);
	if (rc == 0) {
		rc = pvb_store_domid(sup->store, &sup->domid);
		if (rc == 0)
			rc = name_own_domain(sup);
		if (rc < 0)
			pvb_err(err, rc, "store: own domain: %s", strerror(-rc));
	}
	if (rc == 0) {
		rc = pvb_loop_new(&sup->loop);
		if (rc == 0)
			rc = watch_signals(sup);
		if (rc < 0)
			pvb_err(err, rc, "loop: %s", strerror(-rc));
	}
	if (rc == 0 && links_open(&sup->links, sup->loop, on_link, sup, err) < 0)
		log_warn("NICs will not follow their interfaces: %s", err->text);
	if (rc == 0)
		rc = open_sockets(sup, err);
	if (rc == 0)
		rc = consoles_open(sup, err);
	if (rc == 0)
		rc = watch_store(sup, err);
	return rc;
}

static void say_serving(const struct supervisor *sup)
{
	char kinds[SUP_MAX_KINDS * 18] = "";
	size_t len = 0;

	for (unsigned i = 0; sup->o.kinds[i]; i++)
		len += (size_t)snprintf(kinds + len, sizeof(kinds) - len, "%s%s", i ? ", " : "", sup->o.kinds[i]);
	log_info("serving %s of domain %u on %s", kinds, sup->domid, sup->hv);
}

int supervisor_main(const struct sup_options *o)
{
	struct supervisor sup = { .o = *o, .signal_fd = -1, .keep_fd = -1, .started = pvb_now_ns() };
	struct pvb_error err = { 0 };
	int rc = start(&sup, &err);

	if (rc == 0) {
		say_serving(&sup);
		tell_ready(&sup);
		rc = pvb_loop_run(sup.loop);
	} else {
		log_err("%s", err.text);
	}
	keep_close(&sup);     /* what is kept stays */
	sup.stopping = false; /* nothing left to wait for */
	consoles_close(&sup);
	while (sup.devices)
		device_free(sup.devices);
	guests_free(&sup);
	server_close(sup.ctl);
	server_close(sup.metrics);
	links_close(&sup.links);
	for (unsigned i = 0; i < SUP_MAX_KINDS; i++)
		pvb_store_unwatch(&sup.kinds[i]);
	pvb_store_unwatch(&sup.release);
	pvb_store_close(sup.store);
	pvb_loop_free(sup.loop);
	free(sup.hv);
	if (sup.successor)
		become(sup.successor, o->argv);
	return rc == 0 ? 0 : 1;
}
