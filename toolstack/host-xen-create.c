// SPDX-License-Identifier: GPL-2.0-or-later
/* Creating a Xen domain, and the monitor that stays with it: what `xl create` does around libxl.
 *
 * The lock is xl's own, so that xl and pvl never make room for two domains at once.  The monitor is this
 * program started again (libxl contexts do not survive a fork without exec); it keeps no configuration of
 * its own but asks libxl for it when it is needed, so that disks attached later are there after a reboot.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libxl_event.h>
#include <libxlutil.h>
#include "host-xen-usb.h"
#include "loop.h"
#include "output.h"

#define LOCK_FILE "/var/lock/xl"
#define LOG_DIR   "/var/log/xen"
#define DUMP_DIR  "/var/lib/xen/dump"
#define USB_LOOK_MS 1000 /* between looks at what was plugged in */

/* --- dry run ----------------------------------------------------------------------------------------- */

int xen_plan(struct pvl *p, struct cfg *cfg, struct json_object **out, struct pvb_error *err)
{
	libxl_domain_config dc;
	struct xl_conf conf;
	int rc;

	xl_conf_read(&conf, "/etc/xen/xl.conf");
	libxl_domain_config_init(&dc);
	rc = xen_config_fill(p, p->host, &conf, cfg, &dc, err);
	if (!rc)
		*out = xen_config_json(NULL, &dc, -1);
	libxl_domain_config_dispose(&dc);
	xl_conf_free(&conf);
	return rc;
}

/* --- room and lock ----------------------------------------------------------------------------------- */

static int take_lock(struct host *h, struct pvb_error *err)
{
	const char *file = h->conf.lockfile ? h->conf.lockfile : LOCK_FILE;
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return pvb_err(err, -errno, "lock %s: %s", file, strerror(errno));
	while (fcntl(fd, F_SETLKW, &fl) < 0)
		if (errno != EINTR) {
			int rc = pvb_err(err, -errno, "lock %s: %s", file, strerror(errno));

			close(fd);
			return rc;
		}
	return fd;
}

static bool may_balloon(struct host *h)
{
	const libxl_version_info *v = libxl_get_version_info(h->ctx);

	if (h->conf.autoballoon != BALLOON_AUTO)
		return h->conf.autoballoon == BALLOON_ON;
	/* a fixed dom0_mem= says that dom0 is not to give memory */
	return !(v && v->commandline && strstr(v->commandline, "dom0_mem="));
}

/* Have dom0 give up what the domain needs and Xen has not free. */
static int make_room(struct host *h, libxl_domain_config *dc, struct pvb_error *err)
{
	uint64_t need = 0, have = 0;
	int rc;

	if (!may_balloon(h))
		return 0;
	rc = libxl_domain_need_memory(h->ctx, dc, 0, &need);
	for (int tries = 0; !rc && tries < 3; tries++) {
		rc = libxl_get_free_memory(h->ctx, &have);
		if (rc || have >= need)
			break;
		rc = libxl_set_memory_target(h->ctx, 0, (int64_t)have - (int64_t)need, 1, 0);
		if (rc)
			break;
		if (libxl_wait_for_free_memory(h->ctx, 0, need, 10) == 0)
			return 0;
		libxl_wait_for_memory_target(h->ctx, 0, 1);
	}
	if (rc)
		return xen_err(h, err, rc, "making room in memory");
	if (have < need)
		return pvb_err(err, -ENOMEM, "the domain needs %llu MiB, Xen has %llu MiB free and dom0 gives no more",
			       (unsigned long long)need / 1024, (unsigned long long)have / 1024);
	return 0;
}

/* --- children ---------------------------------------------------------------------------------------- */

/* Start this program again with other arguments.  The child gets ready_fd (or -1) and, for log, its output. */
static pid_t start_self(struct host *h, char *const argv[], int ready_fd, const char *log)
{
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	if (ready_fd >= 0)
		fcntl(ready_fd, F_SETFD, 0);
	if (log) {
		setsid();
		fd = open("/dev/null", O_RDWR);
		dup2(fd, 0);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0640);
		if (fd < 0)
			fd = 0;
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
		if (chdir("/"))
			_exit(127);
	}
	execv("/proc/self/exe", argv);
	_exit(127);
}

static int start_monitor(struct host *h, uint32_t domid, const char *name, struct pvb_error *err)
{
	char id[12], fdtext[12], log[256], c;
	char *argv[] = { "pvl", "--host", "xen", "monitor", "--ready-fd", fdtext, id, NULL };
	struct pollfd pfd;
	int fds[2], status, ready;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return pvb_err(err, -errno, "starting the monitor: %s", strerror(errno));
	snprintf(id, sizeof(id), "%u", domid);
	snprintf(fdtext, sizeof(fdtext), "%d", fds[1]);
	snprintf(log, sizeof(log), LOG_DIR "/pvl-%.200s.log", name);
	pid = start_self(h, argv, fds[1], log);
	close(fds[1]);
	pfd = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	do
		ready = pid > 0 ? poll(&pfd, 1, 15000) : -1;
	while (ready < 0 && pid > 0 && errno == EINTR);
	if (ready > 0 && read(fds[0], &c, 1) != 1)
		ready = 0; /* it ended */
	close(fds[0]);
	if (ready > 0)
		return 0;
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return pvb_err(err, -EIO, "the domain's monitor did not start; see %s", log);
}

static void console_there(libxl_ctx *ctx, libxl_event *ev, void *arg)
{
	pid_t *pid = arg;
	char id[12];
	char *argv[] = { "pvl", "--host", "xen", "console", id, NULL };

	snprintf(id, sizeof(id), "%u", ev->domid);
	*pid = start_self(NULL, argv, -1, NULL);
	libxl_event_free(ctx, ev);
}

/* --- create ------------------------------------------------------------------------------------------ */

/* from NULL: it boots; else it goes on as it was saved. */
static int start_build(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, uint32_t *domid,
		       const libxl_asyncop_how *how, const libxl_asyncprogress_how *console)
{
	libxl_domain_restore_params params;
	int rc;

	if (!from)
		return libxl_domain_create_new(h->ctx, dc, domid, how, console);
	libxl_domain_restore_params_init(&params);
	params.stream_version = from->version;
	rc = libxl_domain_create_restore(h->ctx, dc, domid, from->fd, -1, &params, how, console);
	libxl_domain_restore_params_dispose(&params);
	return rc;
}

static int build(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, bool console,
		 pid_t *console_pid, uint32_t *domid, struct pvb_error *err)
{
	libxl_asyncprogress_how there = { .callback = console_there, .for_callback = console_pid };
	libxl_asyncop_how how;
	uint32_t other;
	int lock, rc;

	/* of a configuration that was checked it is there; one for the next start may be without */
	for (int i = 0; i < dc->num_nics && !from; i++)
		if (xen_pair_lacks_mac(&dc->nics[i]) && (rc = xen_pair_check(h, &dc->nics[i], err)))
			return rc;
	lock = take_lock(h, err);
	if (lock < 0)
		return lock;
	if (libxl_name_to_domid(h->ctx, dc->c_info.name, &other) == 0)
		rc = pvb_err(err, -EEXIST, "there is a domain \"%s\" already: %u", dc->c_info.name, other);
	else
		rc = make_room(h, dc, err);
	if (!rc) {
		how = xen_op(h);
		rc = xen_wait(h, &how, start_build(h, dc, from, domid, &how, console ? &there : NULL), -1);
		if (rc)
			rc = xen_err(h, err, rc, "building domain \"%s\"", dc->c_info.name);
	}
	close(lock);
	for (int i = 0; i < dc->num_nics && !rc; i++) {
		rc = xen_pair_tell(h, *domid, &dc->nics[i], err);
		if (rc)
			xen_destroy(h, *domid, 10000, NULL);
	}
	return rc;
}

static int is_up(struct host *h, uint32_t domid, struct pvb_error *err)
{
	libxl_dominfo i;
	int rc;

	libxl_dominfo_init(&i);
	rc = libxl_domain_info(h->ctx, &i, domid);
	if (rc)
		rc = xen_err(h, err, rc, "domain %u was built but is not there", domid);
	else if (i.shutdown && i.shutdown_reason == LIBXL_SHUTDOWN_REASON_CRASH)
		rc = pvb_err(err, -EIO, "domain %u crashed at its start", domid);
	libxl_dominfo_dispose(&i);
	return rc;
}

/* From paused to what was asked for.  On failure the caller destroys the domain. */
int xen_let_go(struct host *h, uint32_t domid, const char *name, const struct create_opts *o, struct pvb_error *err)
{
	libxl_asyncop_how how;
	int rc = 0;

	if (!o->no_monitor && !o->foreground)
		rc = start_monitor(h, domid, name, err);
	if (rc || o->paused)
		return rc;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_domain_unpause(h->ctx, domid, &how), -1);
	return rc ? xen_err(h, err, rc, "unpausing domain %u", domid) : is_up(h, domid, err);
}

static int check_served(struct host *h, libxl_domain_config *dc, struct pvb_error *err)
{
	int rc = 0;

	for (int i = 0; i < dc->num_disks && !rc; i++)
		rc = xen_disk_served(h, &dc->disks[i], err);
	for (int i = 0; i < dc->num_nics && !rc; i++)
		rc = xen_nic_served(h, &dc->nics[i], err);
	return rc;
}

int xen_build_from(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, uint32_t *domid,
		   struct pvb_error *err)
{
	int rc = check_served(h, dc, err);

	return rc ? rc : build(h, dc, from, false, NULL, domid, err);
}

int xen_bring_up(struct host *h, libxl_domain_config *dc, const struct xen_stream *from, const struct xen_kept *kept,
		 const struct create_opts *o, uint32_t *domid, struct pvb_error *err)
{
	pid_t console = 0;
	int rc = check_served(h, dc, err);

	if (!rc)
		rc = build(h, dc, from, o->console, &console, domid, err);
	if (!rc) {
		rc = xen_pci_check_created(h, *domid, dc, err);
		if (!rc)
			rc = xen_usb_created(h, *domid, dc, err);
		if (!rc)
			rc = xen_kept_begin(h, *domid, kept, err);
		if (!rc)
			rc = xen_let_go(h, *domid, dc->c_info.name, o, err);
		if (rc)
			xen_destroy(h, *domid, 10000, NULL);
	}
	if (rc && console > 0)
		kill(console, SIGTERM);
	if (!rc && o->foreground)
		rc = xen_monitor(h, *domid, -1, err);
	while (console > 0 && waitpid(console, NULL, 0) < 0 && errno == EINTR)
		;
	return rc;
}

int xen_create(struct host *h, struct cfg *cfg, const struct create_opts *o, uint32_t *domid, struct pvb_error *err)
{
	struct xen_kept kept = { 0 };
	libxl_domain_config dc;
	int rc;

	libxl_domain_config_init(&dc);
	rc = xen_config_fill(h->p, h, &h->conf, cfg, &dc, err);
	if (!rc)
		rc = xen_kept_read(cfg, &kept, err);
	for (int i = 0; i < dc.num_nics && !rc; i++)
		rc = xen_pair_check(h, &dc.nics[i], err);
	if (!rc)
		rc = xen_usb_check_create(h, &dc, err);
	if (!rc)
		rc = xen_pci_check_create(h, cfg_name(cfg), kept.pci_max, &dc, err);
	if (!rc)
		rc = xen_bring_up(h, &dc, NULL, &kept, o, domid, err);
	libxl_domain_config_dispose(&dc);
	return rc;
}

/* --- monitor ----------------------------------------------------------------------------------------- */

struct monitor {
	struct host *h;
	uint32_t domid;
	libxl_evgen_domain_death *death;
	libxl_evgen_disk_eject **ejects;
	int nr_ejects;
	uint64_t since_ms;
	struct xen_kept kept;
	struct usb_back *usb;           /* NULL: nothing comes back */
};

static void note(struct monitor *m, const char *what)
{
	char when[32] = "";
	time_t now = time(NULL);
	struct json_object *fields;
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	pvl_note(m->h->p, "%s domain %u: %s", when, m->domid, what);
	fields = out_obj();
	out_int(fields, "domid", m->domid);
	out_str(fields, "what", what);
	pvl_event(m->h->p, "monitor", fields);
}

static int watch(struct monitor *m, struct pvb_error *err)
{
	libxl_device_disk *disks;
	int nr = 0, rc = libxl_evenable_domain_death(m->h->ctx, m->domid, 0, &m->death);

	if (rc)
		return xen_err(m->h, err, rc, "watching domain %u", m->domid);
	m->since_ms = pvb_now_ms();
	disks = libxl_device_disk_list(m->h->ctx, m->domid, &nr);
	m->ejects = disks ? calloc((size_t)nr + 1, sizeof(*m->ejects)) : NULL;
	for (int i = 0; m->ejects && i < nr; i++)
		if (disks[i].removable &&
		    libxl_evenable_disk_eject(m->h->ctx, m->domid, disks[i].vdev, 0, &m->ejects[m->nr_ejects]) == 0)
			m->nr_ejects++;
	libxl_device_disk_list_free(disks, nr);
	return 0;
}

static void unwatch(struct monitor *m)
{
	for (int i = 0; i < m->nr_ejects; i++)
		libxl_evdisable_disk_eject(m->h->ctx, m->ejects[i]);
	free(m->ejects);
	if (m->death)
		libxl_evdisable_domain_death(m->h->ctx, m->death);
	m->death = NULL;
	m->ejects = NULL;
	m->nr_ejects = 0;
}

static libxl_action_on_shutdown action_for(const libxl_domain_config *dc, int reason)
{
	switch (reason) {
	case LIBXL_SHUTDOWN_REASON_POWEROFF: return dc->on_poweroff;
	case LIBXL_SHUTDOWN_REASON_REBOOT: return dc->on_reboot;
	case LIBXL_SHUTDOWN_REASON_CRASH: return dc->on_crash;
	case LIBXL_SHUTDOWN_REASON_WATCHDOG: return dc->on_watchdog;
	case LIBXL_SHUTDOWN_REASON_SOFT_RESET: return dc->on_soft_reset;
	default: return LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
	}
}

static int dump_core(struct monitor *m, const char *name, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(m->h);
	char file[256], when[24] = "";
	time_t now = time(NULL);
	struct tm tm;
	int rc;

	if (gmtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(file, sizeof(file), DUMP_DIR "/%.120s-%s", name, when);
	mkdir(DUMP_DIR, 0700);
	rc = xen_wait(m->h, &how, libxl_domain_core_dump(m->h->ctx, m->domid, file, &how), -1);
	return rc ? xen_err(m->h, err, rc, "core dump to %s", file) : 0;
}

/* Keep the dead domain under another name and uuid; the new one takes its place. */
static int set_aside(struct monitor *m, libxl_domain_config *dc, struct pvb_error *err)
{
	char suffix[24] = "-old";
	time_t now = time(NULL);
	libxl_uuid uuid;
	struct tm tm;
	int rc;

	if (gmtime_r(&now, &tm))
		strftime(suffix, sizeof(suffix), "-%Y%m%dT%H%MZ", &tm);
	libxl_uuid_generate(&uuid);
	rc = libxl_domain_preserve(m->h->ctx, m->domid, &dc->c_info, suffix, uuid);
	return rc ? xen_err(m->h, err, rc, "keeping domain %u", m->domid) : 0;
}

/* What config-update, of either tool, left for this moment; it holds once, as then the domain is built of it. */
static void take_update(struct monitor *m, libxl_domain_config *dc, struct pvb_error *err)
{
	uint8_t *text = NULL;
	libxl_domain_config updated;
	struct xen_kept kept;
	struct cfg *cfg = NULL;
	int len = 0, rc;

	if (libxl_userdata_retrieve(m->h->ctx, m->domid, "xl", &text, &len) || !text || !len) {
		free(text);
		return;
	}
	libxl_domain_config_init(&updated);
	rc = cfg_from_text(&cfg, "updated configuration", (char *)text, (size_t)len, err);
	if (!rc)
		rc = xen_config_fill(m->h->p, m->h, &m->h->conf, cfg, &updated, err);
	if (rc) {
		note(m, err->text); /* the domain is built as it was */
		libxl_domain_config_dispose(&updated);
	} else {
		note(m, "built from the updated configuration");
		if (!cfg_is_set(cfg, "uuid"))
			updated.c_info.uuid = dc->c_info.uuid;
		libxl_domain_config_dispose(dc);
		*dc = updated;
		if (xen_kept_read(cfg, &kept, err))
			note(m, err->text);
		else
			m->kept = kept;
	}
	cfg_free(cfg);
	free(text);
}

static int build_again(struct monitor *m, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_asyncop_how how;
	uint32_t domid;
	int rc;

	/* a guest that fails at once must not keep the host busy */
	if (pvb_now_ms() - m->since_ms < 2000)
		poll(NULL, 0, 2000);
	rc = build(m->h, dc, NULL, false, NULL, &domid, err);
	if (rc)
		return rc;
	m->domid = domid;
	if (m->usb)
		usb_back_enter(m->usb, m->h, domid);
	/* better a guest whose console is elsewhere, or that lacks a device, than none */
	if (xen_kept_begin(m->h, domid, &m->kept, err))
		note(m, err->text);
	if (xen_pci_check_created(m->h, domid, dc, err))
		note(m, err->text);
	rc = watch(m, err);
	how = xen_op(m->h);
	if (!rc) {
		rc = xen_wait(m->h, &how, libxl_domain_unpause(m->h->ctx, domid, &how), -1);
		rc = rc ? xen_err(m->h, err, rc, "unpausing domain %u", domid) : 0;
	}
	if (rc)
		xen_destroy(m->h, domid, 10000, NULL);
	else
		note(m, "started again");
	return rc;
}

static int soft_reset(struct monitor *m, libxl_domain_config *dc, struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(m->h);
	int rc = xen_wait(m->h, &how, libxl_domain_soft_reset(m->h->ctx, dc, m->domid, &how, NULL), -1);

	if (rc)
		return xen_err(m->h, err, rc, "soft reset of domain %u", m->domid);
	rc = watch(m, err);
	how = xen_op(m->h);
	if (!rc && (rc = xen_wait(m->h, &how, libxl_domain_unpause(m->h->ctx, m->domid, &how), -1)))
		rc = xen_err(m->h, err, rc, "unpausing domain %u", m->domid);
	return rc;
}

/* The domain has shut down: carry out its action.  1: watch on (m->domid may be a new one), 0: done. */
static int ended(struct monitor *m, int reason, struct pvb_error *err)
{
	libxl_action_on_shutdown action;
	libxl_domain_config dc;
	libxl_asyncop_how how = xen_op(m->h);
	int rc;

	unwatch(m);
	libxl_domain_config_init(&dc);
	rc = xen_wait(m->h, &how, libxl_retrieve_domain_configuration(m->h->ctx, m->domid, &dc, &how), -1);
	if (rc) {
		/* without it nothing can be built again; a dead domain should not stay for that */
		rc = xen_err(m->h, err, rc, "configuration of domain %u", m->domid);
		xen_destroy(m->h, m->domid, 30000, NULL);
		libxl_domain_config_dispose(&dc);
		return rc;
	}
	action = action_for(&dc, reason);
	note(m, libxl_action_on_shutdown_to_string(action));
	if (action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY ||
	    action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART) {
		if (dump_core(m, dc.c_info.name, err))
			note(m, err->text); /* goes on as without a dump */
		action = action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY ? LIBXL_ACTION_ON_SHUTDOWN_DESTROY :
									      LIBXL_ACTION_ON_SHUTDOWN_RESTART;
	}
	if (action == LIBXL_ACTION_ON_SHUTDOWN_RESTART || action == LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME) {
		if (m->usb)
			usb_back_leave(m->usb, m->h, m->domid, &dc);
		take_update(m, &dc, err);
	}
	switch (action) {
	case LIBXL_ACTION_ON_SHUTDOWN_PRESERVE:
		break;
	case LIBXL_ACTION_ON_SHUTDOWN_SOFT_RESET:
		rc = soft_reset(m, &dc, err);
		rc = rc ? rc : 1;
		break;
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME:
		rc = set_aside(m, &dc, err);
		if (!rc)
			rc = build_again(m, &dc, err);
		rc = rc ? rc : 1;
		break;
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART:
		rc = xen_destroy(m->h, m->domid, 60000, err);
		if (!rc)
			rc = build_again(m, &dc, err);
		rc = rc ? rc : 1;
		break;
	default:
		rc = xen_destroy(m->h, m->domid, 60000, err);
	}
	libxl_domain_config_dispose(&dc);
	return rc;
}

static void ejected(struct monitor *m, libxl_event *ev)
{
	libxl_device_disk *disk = &ev->u.disk_eject.disk;

	if (disk->removable && libxl_cdrom_insert(m->h->ctx, ev->domid, disk, NULL))
		note(m, "an ejected medium could not be taken out");
}

/* It is being saved, and who does that decides what comes next: the domain goes away, or goes on.  Neither Xen nor
 * libxl tells when a domain goes on, and libxl reports no second shutdown to a watch that has reported one. */
static int suspended(struct monitor *m, struct pvb_error *err)
{
	uint64_t next_ms = 0;
	const char *what;

	unwatch(m);
	for (;;) {
		libxl_dominfo i;
		bool over;
		int rc;

		libxl_dominfo_init(&i);
		rc = libxl_domain_info(m->h->ctx, &i, m->domid);
		over = rc || !i.shutdown || i.shutdown_reason != LIBXL_SHUTDOWN_REASON_SUSPEND;
		libxl_dominfo_dispose(&i);
		if (over)
			return watch(m, err);
		rc = xen_stream_orphan(m->h, m->domid, &next_ms, &what, err);
		if (rc < 0)
			note(m, err->text);
		if (rc > 0) {
			note(m, what);
			return watch(m, err);
		}
		poll(NULL, 0, 500);
	}
}

static void usb_note(void *arg, const char *text)
{
	note(arg, text);
}

int xen_monitor(struct host *h, uint32_t domid, int ready_fd, struct pvb_error *err)
{
	struct monitor m = { .h = h, .domid = domid, .usb = usb_back_new() };
	int rc = watch(&m, err);

	xen_kept_get(h, domid, &m.kept);
	if (!rc && ready_fd >= 0) {
		if (write(ready_fd, "+", 1) != 1)
			rc = pvb_err(err, -EIO, "nobody waits for the monitor");
		close(ready_fd);
	}
	while (!rc) {
		libxl_event *ev;

		rc = xen_event(h, LIBXL_EVENTMASK_ALL, m.domid, &ev, m.usb ? USB_LOOK_MS : -1);
		if (rc == ERROR_TIMEDOUT) {
			if (usb_back_due(m.usb))
				usb_back_look(m.usb, h, m.domid, usb_note, &m);
			rc = 0;
			continue;
		}
		if (rc) {
			rc = xen_err(h, err, rc, "watching domain %u", m.domid);
			break;
		}
		if (ev->type == LIBXL_EVENT_TYPE_DOMAIN_DEATH) {
			note(&m, "is gone");
			libxl_event_free(h->ctx, ev);
			break;
		}
		if (ev->type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN) {
			int reason = ev->u.domain_shutdown.shutdown_reason;

			libxl_event_free(h->ctx, ev);
			if (reason == LIBXL_SHUTDOWN_REASON_SUSPEND) {
				rc = suspended(&m, err);
				continue;
			}
			rc = ended(&m, reason, err);
			if (rc == 0)
				break;
			rc = rc > 0 ? 0 : rc;
			continue;
		}
		if (ev->type == LIBXL_EVENT_TYPE_DISK_EJECT)
			ejected(&m, ev);
		libxl_event_free(h->ctx, ev);
	}
	unwatch(&m);
	usb_back_free(m.usb);
	return rc;
}
