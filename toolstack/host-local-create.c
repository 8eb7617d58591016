// SPDX-License-Identifier: GPL-2.0-or-later
/* Creating and ending local domains, and the monitor: the parent of a guest's process, which sees how it
 * ended, tells the fabric and carries out on_poweroff=, on_reboot=, on_crash=.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "host-local.h"
#include "local/fabric.h"
#include "loop.h"
#include "output.h"
#include "state.h"

int local_plan(struct pvl *p, struct cfg *cfg, struct json_object **out, struct pvb_error *err)
{
	struct local_cfg lc;
	int rc = local_cfg_read(cfg, &lc, err);

	if (rc)
		return rc;
	*out = local_cfg_json(&lc, -1);
	local_cfg_free(&lc);
	return 0;
}

int local_name_taken(struct host *h, const char *name, uint32_t *domid)
{
	struct dom_info *list;
	unsigned nr, i;
	int rc = host_local.list(h, &list, &nr, NULL);

	if (rc)
		return rc;
	for (i = 0; i < nr && strcmp(list[i].name, name); i++)
		;
	if (i < nr)
		*domid = list[i].domid;
	dom_list_free(list, nr);
	return i < nr ? 1 : 0;
}

/* --- nodes ------------------------------------------------------------------------------------------- */

struct nodes {
	const struct local_cfg *lc;
	uint32_t domid;
};

static int mkdir_owned(struct pvb_store *st, pvb_txn t, const char *path, uint32_t owner, uint32_t reader)
{
	int rc = pvb_store_mkdir(st, t, path);

	return rc ? rc : pvb_store_perms(st, t, path, owner, reader);
}

/* The part of /local/domain/N that a guest may expect, and our record. */
static int write_nodes(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct nodes *n = arg;
	const struct local_cfg *lc = n->lc;
	static const char *const own[] = { "data", "device", "feature", "drivers" };
	char home[64], path[160];
	int rc;

	pvb_store_home(n->domid, home, sizeof(home));
	rc = mkdir_owned(st, t, home, 0, n->domid);
	for (unsigned i = 0; !rc && i < sizeof(own) / sizeof(own[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", home, own[i]);
		/* device stays ours: a guest must not make devices of its own */
		rc = mkdir_owned(st, t, path, strcmp(own[i], "device") ? n->domid : 0, n->domid);
	}
	const struct {
		const char *dir, *key, *text;
		long number;
	} keys[] = {
		{ home, "name", lc->name },
		{ home, "domid", NULL, n->domid },
		{ home, "vm", NULL, -1 },
		{ home, "memory/target", NULL, lc->memory_mib * 1024 },
		{ home, "memory/static-max", NULL, lc->memory_mib * 1024 },
		{ "/pvl", "name", lc->name },
		{ "/pvl", "uuid", lc->uuid },
		{ "/pvl", "guest", lc->guest },
		{ "/pvl", "memory", NULL, lc->memory_mib },
		{ "/pvl", "vcpus", NULL, lc->vcpus },
		{ "/pvl", "on_poweroff", local_action_word[lc->on_poweroff] },
		{ "/pvl", "on_reboot", local_action_word[lc->on_reboot] },
		{ "/pvl", "on_crash", local_action_word[lc->on_crash] },
	};
	for (unsigned i = 0; !rc && i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].dir == home)
			snprintf(path, sizeof(path), "%s/%s", home, keys[i].key);
		else
			snprintf(path, sizeof(path), "/pvl/%u/%s", n->domid, keys[i].key);
		if (keys[i].text)
			rc = pvb_store_write(st, t, path, keys[i].text);
		else if (keys[i].number < 0)
			rc = pvb_store_printf(st, t, path, "/vm/%s", lc->uuid);
		else
			rc = pvb_store_printf(st, t, path, "%ld", keys[i].number);
	}
	if (!rc) {
		snprintf(path, sizeof(path), "/vm/%s/name", lc->uuid);
		rc = pvb_store_write(st, t, path, lc->name);
	}
	if (!rc) {
		snprintf(path, sizeof(path), "/vm/%s/start_time", lc->uuid);
		rc = pvb_store_printf(st, t, path, "%lld", (long long)time(NULL));
	}
	return rc;
}

static void remove_nodes(struct host *h, uint32_t domid)
{
	char path[80], *uuid = local_recorded(h, domid, "uuid");

	if (uuid) {
		snprintf(path, sizeof(path), "/vm/%.36s", uuid);
		pvb_store_rm(h->store, PVB_NO_TXN, path);
	}
	free(uuid);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vif/%u", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	pvb_store_home(domid, path, sizeof(path));
	pvb_store_rm(h->store, PVB_NO_TXN, path);
	snprintf(path, sizeof(path), "/pvl/%u", domid);
	pvb_store_rm(h->store, PVB_NO_TXN, path);
}

/* --- end --------------------------------------------------------------------------------------------- */

/* A process that is killed is soon gone; a stopped one too. */
static int kill_guest(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + (timeout_ms < 0 ? 10000 : (uint64_t)timeout_ms);
	struct local_proc p;

	while (local_proc_look(h, domid, &p), p.pid) {
		if (kill(p.pid, SIGKILL) && errno != ESRCH)
			return pvb_err(err, -errno, "domain %u: process %d: %s", domid, (int)p.pid, strerror(errno));
		if (pvb_now_ms() > end)
			return pvb_err(err, -EBUSY, "domain %u: process %d does not end", domid, (int)p.pid);
		waitpid(p.pid, NULL, WNOHANG); /* in case it is our own child */
		poll(NULL, 0, 5);
	}
	return 0;
}

int local_destroy(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	int rc, devices, nics;

	if (domid == 0)
		return pvb_err(err, -EPERM, "domain 0 is the fabric itself; stop pvlocald instead");
	local_record(h, domid, "ending", "1"); /* so that its monitor leaves it alone */
	rc = kill_guest(h, domid, timeout_ms, err);
	if (rc)
		return rc;
	if (timeout_ms < 0 || timeout_ms > 2000)
		timeout_ms = 2000;
	devices = local_disks_drop(h, domid, timeout_ms, err);
	nics = local_nics_drop(h, domid, timeout_ms, devices ? NULL : err);
	rc = pvb_local_domain_destroy(h->dir, domid, err);
	if (rc && rc != -ESRCH)
		return rc;
	remove_nodes(h, domid);
	return devices ? devices : nics;
}

/* --- build ------------------------------------------------------------------------------------------- */

static bool is_taken(const char *value, void *arg)
{
	return !value || strcmp(value, "1") != 0;
}

/* pvbackd has seen the disk and can open its target, or says why not. */
static int wait_back(struct host *h, uint32_t domid, const struct diskspec *d, struct pvb_error *err)
{
	char path[160], *said;
	enum pvb_state s;
	int rc;

	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u/state", domid, d->devid);
	rc = pvb_store_wait(h->store, path, is_taken, NULL, pvl_timeout(h->p, 10000));
	*strrchr(path, '/') = '\0';
	s = pvb_state_read(h->store, PVB_NO_TXN, path);
	if (!rc && s == PVB_INIT_WAIT)
		return 0;
	strcat(path, "/error");
	if (pvb_store_read(h->store, PVB_NO_TXN, path, &said) == 0) {
		rc = pvb_err(err, rc ? rc : -EIO, "disk %s: %s", d->vdev, said);
		free(said);
		return rc;
	}
	return pvb_err(err, rc ? rc : -EIO, "disk %s: the back end is %s%s", d->vdev, pvb_state_name(s),
		       s == PVB_INITIALISING ? ": is pvbackd running for this fabric?" : "");
}

static int build(struct host *h, const struct local_cfg *lc, uint32_t *domid, struct pvb_error *err)
{
	struct pvb_local_new spec = { .name = lc->name, .pages = (uint32_t)lc->memory_mib * 256, .uid = geteuid(),
				      .gid = getegid() };
	struct nodes n = { .lc = lc };
	uint32_t id, other;
	int rc = local_name_taken(h, lc->name, &other);

	if (rc > 0)
		return pvb_err(err, -EEXIST, "there is a domain \"%s\" already: %u", lc->name, other);
	rc = pvb_local_domain_create_with(h->dir, &spec, &id, err);
	if (rc)
		return rc;
	n.domid = id;
	rc = pvb_store_txn(h->store, write_nodes, &n);
	if (rc)
		pvb_err(err, rc, "domain %u: writing its nodes: %s", id, strerror(-rc));
	for (unsigned i = 0; i < lc->nr_disks && !rc; i++)
		rc = local_disk_offer(h, id, &lc->disks[i], err);
	for (unsigned i = 0; i < lc->nr_disks && !rc; i++)
		rc = wait_back(h, id, &lc->disks[i], err);
	for (unsigned i = 0; i < lc->nr_nics && !rc; i++)
		rc = local_nic_offer(h, id, &lc->nics[i], err);
	for (unsigned i = 0; i < lc->nr_nics && !rc; i++)
		rc = local_nic_wait_back(h, id, &lc->nics[i], pvl_timeout(h->p, 10000), err);
	if (rc)
		local_destroy(h, id, 5000, NULL);
	else
		*domid = id;
	return rc;
}

/* --- monitor ----------------------------------------------------------------------------------------- */

struct monitor {
	struct host *h;
	uint32_t domid;
	pid_t pid;
	int pidfd, own_fd;
	bool child, terminal;
	uint64_t since_ms;
};

/* Start the guest, or find the one that runs. */
static int take(struct monitor *m, const struct local_cfg *lc, bool paused, struct pvb_error *err)
{
	struct local_proc p;
	int rc;

	local_proc_look(m->h, m->domid, &p);
	m->child = !p.pid;
	m->pid = p.pid;
	if (m->child) {
		rc = pvb_local_domain_own(m->h->dir, m->domid, false, &m->own_fd, err);
		if (rc)
			return rc;
		rc = local_proc_start(m->h, m->domid, lc, m->own_fd, paused, m->terminal, &m->pid, err);
		if (rc)
			return rc;
	}
	m->since_ms = pvb_now_ms();
	m->pidfd = (int)syscall(SYS_pidfd_open, m->pid, 0);
	return m->pidfd < 0 ? pvb_err(err, -errno, "watching process %d: %s", (int)m->pid, strerror(errno)) : 0;
}

static void drop(struct monitor *m)
{
	if (m->pidfd >= 0)
		close(m->pidfd);
	if (m->own_fd >= 0)
		close(m->own_fd);
	m->pidfd = m->own_fd = -1;
}

/* The fabric is gone, and the domain with it: a guest without one is of no use. */
static void end_guest(struct monitor *m)
{
	struct pollfd pfd = { .fd = m->pidfd, .events = POLLIN };

	pvl_note(m->h->p, "domain %u: the fabric is gone", m->domid);
	kill(m->pid, SIGTERM);
	kill(m->pid, SIGCONT);
	if (poll(&pfd, 1, 2000) == 0)
		kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
}

/* Wait for the process's end and say why the domain ended; -ESRCH: somebody destroys it, or the fabric ended. */
static int wait_guest(struct monitor *m, enum pvb_local_reason *reason, struct pvb_error *err)
{
	struct pollfd pfd[2] = { { .fd = m->pidfd, .events = POLLIN }, { .fd = m->own_fd, .events = POLLIN } };
	struct pvb_local_domain info;
	char *asked, *ending;
	int status = 0;

	while (poll(pfd, 2, -1) < 0 && errno == EINTR)
		;
	if (!pfd[0].revents) {
		end_guest(m);
		return -ESRCH;
	}
	if (m->child)
		waitpid(m->pid, &status, 0);
	ending = local_recorded(m->h, m->domid, "ending");
	free(ending);
	if (ending || pvb_local_domain_info(m->h->dir, m->domid, &info, NULL))
		return -ESRCH;
	asked = local_recorded(m->h, m->domid, "asked");
	if (info.state == PVB_LOCAL_SHUTDOWN && (!asked || info.reason != PVB_LOCAL_CRASH))
		*reason = info.reason; /* it has told */
	else if (asked)
		*reason = strcmp(asked, "reboot") ? PVB_LOCAL_POWEROFF : PVB_LOCAL_REBOOT;
	else
		*reason = m->child && WIFEXITED(status) && !WEXITSTATUS(status) ? PVB_LOCAL_POWEROFF : PVB_LOCAL_CRASH;
	free(asked);
	if (info.state == PVB_LOCAL_RUNNING)
		pvb_local_domain_shutdown(m->h->dir, 0, m->domid, *reason, NULL);
	return 0;
}

static enum local_action action_for(const struct local_cfg *lc, enum pvb_local_reason reason)
{
	return reason == PVB_LOCAL_REBOOT ? lc->on_reboot : reason == PVB_LOCAL_CRASH ? lc->on_crash : lc->on_poweroff;
}

static int start_again(struct monitor *m, const struct local_cfg *lc, struct pvb_error *err)
{
	int rc = local_destroy(m->h, m->domid, 10000, err);

	if (rc)
		return rc;
	if (pvb_now_ms() - m->since_ms < 1000)
		poll(NULL, 0, 1000); /* a guest that fails at once must not keep the host busy */
	rc = build(m->h, lc, &m->domid, err);
	return rc ? rc : take(m, lc, false, err);
}

/* One life of the guest: 1 = it lives again, 0 = over. */
static int one_life(struct monitor *m, struct pvb_error *err)
{
	static const char *const why[] = { "poweroff", "reboot", "suspend", "crash" };
	enum pvb_local_reason reason;
	enum local_action action;
	struct json_object *fields;
	struct local_cfg lc;
	int rc = wait_guest(m, &reason, err);

	drop(m);
	if (rc == -ESRCH)
		return 0;
	rc = local_cfg_recorded(m->h, m->domid, &lc, err);
	if (rc)
		return rc;
	action = action_for(&lc, reason);
	pvl_note(m->h->p, "domain %u: %s: %s", m->domid, why[reason & 3], local_action_word[action]);
	fields = out_obj();
	out_int(fields, "domid", m->domid);
	out_str(fields, "reason", why[reason & 3]);
	out_str(fields, "what", local_action_word[action]);
	pvl_event(m->h->p, "monitor", fields);
	if (action == LOCAL_RESTART)
		rc = start_again(m, &lc, err);
	else if (action == LOCAL_DESTROY)
		rc = local_destroy(m->h, m->domid, 10000, err);
	local_cfg_free(&lc);
	return rc ? rc : action == LOCAL_RESTART;
}

static int monitor(struct host *h, uint32_t domid, int ready_fd, bool terminal, bool paused, struct pvb_error *err)
{
	struct monitor m = { .h = h, .domid = domid, .pidfd = -1, .own_fd = -1, .terminal = terminal };
	struct local_cfg lc;
	int rc = local_cfg_recorded(h, domid, &lc, err);

	if (rc)
		return rc;
	rc = take(&m, &lc, paused, err);
	local_cfg_free(&lc);
	if (!rc && ready_fd >= 0) {
		if (write(ready_fd, "+", 1) != 1)
			rc = pvb_err(err, -EIO, "nobody waits for the monitor");
		close(ready_fd);
	}
	while (!rc) {
		rc = one_life(&m, err);
		if (rc == 0)
			break;
		rc = rc > 0 ? 0 : rc;
	}
	drop(&m);
	return rc;
}

int local_monitor(struct host *h, uint32_t domid, int ready_fd, struct pvb_error *err)
{
	char *paused = local_recorded(h, domid, "paused");

	free(paused);
	return monitor(h, domid, ready_fd, false, paused != NULL, err);
}

/* --- create ------------------------------------------------------------------------------------------ */

static void __attribute__((noreturn)) become_monitor(struct host *h, const char *name, char *const argv[], int ready_fd)
{
	char log[512];
	int fd;

	fcntl(ready_fd, F_SETFD, 0);
	setsid();
	fd = open("/dev/null", O_RDWR);
	dup2(fd, 0);
	snprintf(log, sizeof(log), "%s/log", h->dir);
	mkdir(log, 0700);
	snprintf(log, sizeof(log), "%s/log/%s-monitor.log", h->dir, name);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd < 0 ? 0 : fd, 1);
	dup2(fd < 0 ? 0 : fd, 2);
	if (fd > 2)
		close(fd);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static int start_monitor(struct host *h, uint32_t domid, const char *name, struct pvb_error *err)
{
	char id[12], fdtext[12], c;
	char *argv[] = { "pvl", "--host", h->spec, "monitor", "--ready-fd", fdtext, id, NULL };
	struct pollfd pfd;
	int fds[2], ready;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return pvb_err(err, -errno, "starting the monitor: %s", strerror(errno));
	snprintf(id, sizeof(id), "%u", domid);
	snprintf(fdtext, sizeof(fdtext), "%d", fds[1]);
	pid = fork();
	if (pid == 0)
		become_monitor(h, name, argv, fds[1]);
	close(fds[1]);
	pfd = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	do
		ready = pid > 0 ? poll(&pfd, 1, 15000) : -1;
	while (ready < 0 && pid > 0 && errno == EINTR);
	if (ready > 0 && read(fds[0], &c, 1) != 1)
		ready = 0;
	close(fds[0]);
	if (ready > 0)
		return 0;
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return pvb_err(err, -EIO, "the guest did not start; see %s/log/%s-monitor.log", h->dir, name);
}

static int start_alone(struct host *h, uint32_t domid, const struct local_cfg *lc, bool paused, struct pvb_error *err)
{
	pid_t pid;
	int fd, rc = pvb_local_domain_own(h->dir, domid, false, &fd, err);

	if (rc)
		return rc;
	rc = local_proc_start(h, domid, lc, fd, paused, false, &pid, err);
	close(fd);
	return rc;
}

int local_create(struct host *h, struct cfg *cfg, const struct create_opts *o, uint32_t *domid, struct pvb_error *err)
{
	bool here = o->foreground || o->console;
	struct local_cfg lc;
	int rc = local_cfg_read(cfg, &lc, err);

	if (rc)
		return rc;
	rc = build(h, &lc, domid, err);
	if (!rc && o->paused)
		rc = local_record(h, *domid, "paused", "1");
	if (!rc && !here) {
		rc = o->no_monitor ? start_alone(h, *domid, &lc, o->paused, err)
				   : start_monitor(h, *domid, lc.name, err);
		if (rc)
			local_destroy(h, *domid, 5000, NULL);
	}
	local_cfg_free(&lc);
	if (!rc && here)
		rc = monitor(h, *domid, -1, o->console, o->paused, err);
	return rc;
}
