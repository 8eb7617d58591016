// SPDX-License-Identifier: GPL-2.0-or-later
/* Domains as streams: save, restore, migrate.  xl's file format and xl's words between sender and receiver, so that either
 * tool reads what the other wrote.
 *
 * File     The header of savefile.h, then libxl's stream.
 * Promise  At any failure one guest runs, and never two.  The domain is suspended and not destroyed until the file is
 *          on disk or the receiver runs it.  Who works on a suspended domain says so in its directory; a monitor that
 *          finds this process dead takes its place (xen_stream_orphan()).
 * Words    sender <- banner, -> header and stream, <- ready, -> go, <- report and one byte: 0 it runs, else <- go (back
 *          to you).  Until "go" the domain is the sender's.  When the link breaks after "go" the sender, or the monitor of
 *          a sender that is dead, asks the other host again: migrate-receive --settle UUID.
 * Copies   A receiver says in the store, by UUID, that it is at work.  A copy whose receiver is dead is destroyed by the
 *          first who comes to know: the sender asks after a failure, and so does the next receiver of that UUID.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <libxl_event.h>
#include "host-xen.h"
#include "host-xen-pci.h"
#include "loop.h"
#include "output.h"
#include "pace.h"
#include "savefile.h"

#define ANSWER_MS 120000 /* from the end of the stream to the receiver's word */
#define GO_MS     60000  /* from ready to go: less, so that a receiver has decided when its sender asks */
#define CLEAR_MS  20000  /* for a receiver to say that nothing is left of a failed migration */
#define SETTLE_MS 10000  /* between two questions of a monitor */

static const char banner[] = "xl migration receiver ready, send binary domain data.\n";
static const char ready[] = "domain received, ready to unpause";
static const char go[] = "domain is yours, you are cleared to unpause";
static const char report[] = "my copy unpause results are as follows";
/* the banner goes without the NUL at its end, the others with it */
#define LEN_BANNER (sizeof(banner) - 1)


/* --- words between sender and receiver ---------------------------------------------------------------- */

/* One of the fixed texts, from the other side. */
static int hear(int fd, const char *text, size_t len, int timeout_ms, const char *what, struct pvb_error *err)
{
	char buf[80];
	int rc = savefile_get(fd, buf, len, timeout_ms, &xen_stop);

	if (rc)
		return pvb_err(err, rc, "%s: %s", what, rc == -EPIPE ? "the other side has ended" :
			       rc == -EINTR ? "stopped by a signal" : strerror(-rc));
	return memcmp(buf, text, len) ? pvb_err(err, -EPROTO, "%s: the other side says something else: %.40s", what, buf) : 0;
}

/* --- configuration ----------------------------------------------------------------------------------- */

static int put_config(int fd, const libxl_domain_config *dc, struct pvb_error *err)
{
	char *text = libxl_domain_config_to_json(NULL, (libxl_domain_config *)dc);
	int rc = text ? savefile_put_header(fd, text, err) : pvb_err(err, -ENOMEM, "the configuration: out of memory");

	free(text);
	return rc;
}

/* What the domain is to be: from cfg, or as it was. */
static int get_config(struct host *h, const struct savefile *f, struct cfg *cfg, libxl_domain_config *dc,
		      struct pvb_error *err)
{
	struct cfg *old = NULL;
	int rc;

	if (cfg)
		return xen_config_fill(h->p, h, &h->conf, cfg, dc, err);
	if (!f->config)
		return pvb_err(err, -EINVAL, "there is no configuration in it; give one");
	if (f->json)
		return libxl_domain_config_from_json(h->ctx, dc, f->config) ?
			       pvb_err(err, -EINVAL, "its configuration can not be read by this libxl") : 0;
	rc = cfg_from_text(&old, "saved configuration", f->config, strlen(f->config), err);
	if (!rc)
		rc = xen_config_fill(h->p, h, &h->conf, old, dc, err);
	cfg_free(old);
	return rc;
}

/* --- who works on a suspended domain ------------------------------------------------------------------ */

#define MARK_LEN 64

static void mark_path(uint32_t domid, char buf[MARK_LEN])
{
	snprintf(buf, MARK_LEN, "/libxl/%u/pvl-saver", domid);
}

static void incoming_path(const char *uuid, char buf[MARK_LEN])
{
	snprintf(buf, MARK_LEN, "/tool/pvl/incoming/%s", uuid);
}

/* A process by its id and start, as an id alone is given out again. */
static unsigned long long started(pid_t pid)
{
	unsigned long long when = 0;
	char path[32], text[512], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(text, sizeof(text), f) && (p = strrchr(text, ')')))
		sscanf(p + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &when);
	fclose(f);
	return when;
}

/* ask: the command that asks the other host for its copy, or ""; away: that may run, and only the answer tells. */
static int mark_at(struct host *h, const char *path, bool away, const char *ask, struct pvb_error *err)
{
	struct pvb_store *st = xen_store(h);
	int rc = st ? pvb_store_printf(st, PVB_NO_TXN, path, "%d %llu %s %s", (int)getpid(), started(getpid()),
				       away ? "away" : "here", ask) : -ENOTCONN;

	return rc ? pvb_err(err, rc, "xenstore %s: %s", path, strerror(-rc)) : 0;
}

static void unmark_at(struct host *h, const char *path)
{
	if (xen_store(h))
		pvb_store_rm(h->store, PVB_NO_TXN, path);
}

static int mark(struct host *h, uint32_t domid, bool away, const char *ask, struct pvb_error *err)
{
	char path[MARK_LEN];

	mark_path(domid, path);
	return mark_at(h, path, away, ask, err);
}

static void unmark(struct host *h, uint32_t domid)
{
	char path[MARK_LEN];

	mark_path(domid, path);
	unmark_at(h, path);
}

/* 1: marked, and who marked it lives; 0: not marked; -1: marked by one that is dead.  away and ask may be NULL; ask is malloc'ed. */
static int marked_at(struct host *h, const char *path, bool *away, char **ask)
{
	unsigned long long when;
	int pid, at = 0, rc = 0;
	char *text, word[8] = "";

	if (!xen_store(h) || pvb_store_read(h->store, PVB_NO_TXN, path, &text))
		return 0;
	if (sscanf(text, "%d %llu %7s %n", &pid, &when, word, &at) >= 2)
		rc = when && started(pid) == when ? 1 : -1;
	if (away)
		*away = strcmp(word, "away") == 0;
	if (ask)
		*ask = strdup(at ? text + at : "");
	free(text);
	return rc;
}

/* --- suspend and resume ------------------------------------------------------------------------------- */

static int is_suspended(struct host *h, uint32_t domid)
{
	libxl_dominfo i;
	int rc;

	libxl_dominfo_init(&i);
	rc = libxl_domain_info(h->ctx, &i, domid);
	rc = rc ? -ESRCH : i.shutdown && i.shutdown_reason == LIBXL_SHUTDOWN_REASON_SUSPEND;
	libxl_dominfo_dispose(&i);
	return rc;
}

int xen_resume(struct host *h, uint32_t domid, struct pvb_error *err)
{
	int rc = is_suspended(h, domid);
	libxl_asyncop_how how;

	if (rc <= 0)
		return pvb_err(err, rc ? rc : -EINVAL, rc ? "domain %u is gone" : "domain %u is not suspended", domid);
	if (h->p->dry_run)
		return 0;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_domain_resume(h->ctx, domid, 1, &how), -1);
	if (rc)
		return xen_err(h, err, rc, "resuming domain %u", domid);
	return is_suspended(h, domid) == 0 ? 0 : pvb_err(err, -EIO, "domain %u is still suspended", domid);
}

/* It is there and will answer when it is asked to suspend itself.  suspended: what is said of one that has done so. */
static int can_suspend(struct host *h, uint32_t domid, const char *suspended, struct pvb_error *err)
{
	libxl_dominfo i;
	int rc = xen_look(h, domid, &i, err);

	if (!rc && is_suspended(h, domid))
		rc = pvb_err(err, -EBUSY, "domain %u is suspended%s", domid, suspended);
	else if (!rc && i.paused)
		rc = pvb_err(err, -EBUSY, "domain %u is paused and can not answer; unpause it first", domid);
	libxl_dominfo_dispose(&i);
	return rc;
}

int xen_suspend(struct host *h, uint32_t domid, int timeout_ms, struct pvb_error *err)
{
	int rc = can_suspend(h, domid, " already", err);
	libxl_asyncop_how how;

	if (rc || h->p->dry_run)
		return rc;
	how = xen_op(h);
	rc = xen_wait(h, &how, libxl_domain_suspend_only(h->ctx, domid, &how), timeout_ms);
	return rc ? xen_err(h, err, rc, "suspending domain %u", domid) : 0;
}

/* After a failure: let it go on if it has stopped.  err has the failure, and gets what became of the domain. */
static int go_on(struct host *h, uint32_t domid, struct pvb_error *err, int rc)
{
	struct pvb_error why = { 0 };
	char text[sizeof(err->text)];
	int suspended = is_suspended(h, domid);

	xen_stop = 0;
	snprintf(text, sizeof(text), "%s", err->text);
	if (suspended < 0)
		pvb_err(err, rc, "%.190s; domain %u is gone", text, domid);
	else if (suspended && xen_resume(h, domid, &why))
		pvb_err(err, rc, "%.130s; and domain %u stays suspended: %.60s", text, domid, why.text);
	else
		pvb_err(err, rc, "%.190s; domain %u runs on", text, domid);
	unmark(h, domid);
	return rc;
}

static void stop(int sig)
{
	xen_stop = 1;
}

/* From here on a signal makes the operation fail in an orderly way. */
static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = stop };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

/* What a stream can not carry. */
static int may_leave(struct host *h, uint32_t domid, libxl_domain_config *dc, bool keep_domid, bool pci_goes, struct cfg *cfg,
		     struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	int nr = 0, rc = can_suspend(h, domid, ": pvl resume lets it go on", err);
	libxl_device_usbdev *usb;
	libxl_device_pci *pci;
	char *had;

	if (rc)
		return rc;
	usb = libxl_device_usbdev_list(h->ctx, domid, &nr);
	if (usb)
		libxl_device_usbdev_list_free(usb, nr);
	if (usb && nr)
		return pvb_err(err, -EBUSY, "domain %u has %d USB device%s of this host; detach first", domid, nr,
			       nr == 1 ? "" : "s");
	nr = 0;
	pci = libxl_device_pci_list(h->ctx, domid, &nr);
	if (pci)
		libxl_device_pci_list_free(pci, nr);
	if (nr && !(pci_goes && h->p->dry_run))
		return pvb_err(err, -EBUSY, "domain %u has %d PCI device%s of this host; --detach-first", domid, nr,
			       nr == 1 ? "" : "s");
	rc = cfg ? xen_config_fill(h->p, h, &h->conf, cfg, dc, err) :
		   xen_wait(h, &how, libxl_retrieve_domain_configuration(h->ctx, domid, dc, &how), -1);
	if (rc)
		return cfg ? rc : xen_err(h, err, rc, "configuration of domain %u", domid);
	if (!libxl_defbool_is_default(dc->b_info.disable_migrate) && libxl_defbool_val(dc->b_info.disable_migrate))
		return pvb_err(err, -EPERM, "domain %u was created with nomigrate", domid);
	had = h->p->force ? NULL : xen_pci_had_intx(h, domid);
	if (had)
		rc = pvb_err(err, -EPERM, "domain %u is PV and had PCI device %s, which has an interrupt pin: Linux crashes when it goes on "
			     "elsewhere after that (PV guests in pvl(1), save); --force", domid, had);
	free(had);
	if (rc)
		return rc;
	dc->c_info.domid = keep_domid ? domid : INVALID_DOMID;
	return 0;
}

static int send_stream(struct host *h, uint32_t domid, int fd, int flags, uint64_t bandwidth, int timeout_ms,
		       struct pvb_error *err)
{
	libxl_asyncop_how how = xen_op(h);
	struct pvb_error why = { 0 };
	struct pace pace = { -1, -1 };
	int rc = bandwidth ? pace_begin(&pace, fd, bandwidth, err) : 0, paced;

	if (rc)
		return rc;
	h->log.show = true;
	rc = xen_wait(h, &how, libxl_domain_suspend(h->ctx, domid, pace.fd >= 0 ? pace.fd : fd, flags, &how), timeout_ms);
	h->log.show = false;
	paced = pace_end(&pace, !rc, &xen_stop, &why);
	if (rc && xen_stop)
		return pvb_err(err, -EINTR, "stopped by a signal");
	if (!rc && paced)
		return pvb_err(err, paced, "saving domain %u: %s", domid, why.text);
	return rc ? xen_err(h, err, rc, "saving domain %u", domid) : 0;
}

/* --- save -------------------------------------------------------------------------------------------- */

/* A file gets its name when it is whole, so that a failure neither leaves half a file nor spoils the one before.
 * Anything else (a pipe) is written to as it is. */
static int open_out(const char *file, char *part, size_t len, struct pvb_error *err)
{
	struct stat st;
	bool other = stat(file, &st) == 0 && !S_ISREG(st.st_mode);
	int fd;

	snprintf(part, len, "%s%s", file, other ? "" : ".part");
	fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC | (other ? 0 : O_TRUNC), 0600);
	if (fd < 0)
		return pvb_err(err, -errno, "%s: %s", part, strerror(errno));
	if (other)
		*part = '\0';
	return fd;
}

static int finish(int fd, const char *part, const char *file, struct pvb_error *err)
{
	if (*part && (fsync(fd) || rename(part, file)))
		return pvb_err(err, -errno, "%s: %s", file, strerror(errno));
	return 0;
}

int xen_save(struct host *h, uint32_t domid, const struct save_opts *o, struct pvb_error *err)
{
	libxl_domain_config dc;
	char part[4096];
	int fd = -1, rc;

	libxl_domain_config_init(&dc);
	rc = may_leave(h, domid, &dc, o->keep_domid, o->pci_goes, o->cfg, err);
	if (!rc && !h->p->dry_run) {
		fd = open_out(o->file, part, sizeof(part), err);
		rc = fd < 0 ? fd : put_config(fd, &dc, err);
	}
	libxl_domain_config_dispose(&dc);
	if (rc || fd < 0)
		goto out;
	catch_signals();
	rc = mark(h, domid, false, "", err);
	if (!rc)
		rc = send_stream(h, domid, fd, 0, o->bandwidth, h->p->timeout_ms, err);
	if (!rc)
		rc = finish(fd, part, o->file, err);
	if (rc) {
		rc = go_on(h, domid, err, rc);
		goto out;
	}
	signal(SIGINT, SIG_IGN); /* it is saved: now to the end */
	signal(SIGTERM, SIG_IGN);
	if (o->paused || o->running) {
		libxl_asyncop_how how = xen_op(h);

		if (o->paused)
			xen_wait(h, &how, libxl_domain_pause(h->ctx, domid, &how), -1);
		rc = xen_resume(h, domid, err);
		unmark(h, domid);
	} else {
		unmark(h, domid);
		rc = xen_destroy(h, domid, 60000, err);
	}
	if (rc)
		pvb_err_prefix(err, rc, "%s is whole, but", o->file);
	close(fd);
	return rc;
out:
	if (fd >= 0) {
		close(fd);
		if (*part)
			unlink(part);
	}
	return rc;
}

/* --- restore ----------------------------------------------------------------------------------------- */

int xen_restore(struct host *h, const char *file, struct cfg *cfg, const struct create_opts *o, uint32_t *domid,
		struct json_object **plan, struct pvb_error *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), rc;
	struct xen_stream from = { .fd = fd };
	struct xen_kept kept;
	libxl_domain_config dc;
	struct savefile f = { 0 };

	if (fd < 0)
		return pvb_err(err, -errno, "%s: %s", file, strerror(errno));
	libxl_domain_config_init(&dc);
	rc = savefile_get_header(fd, &f, err);
	if (!rc)
		rc = get_config(h, &f, cfg, &dc, err);
	if (!rc)
		rc = xen_kept_read(cfg, &kept, err);
	if (rc) {
		rc = pvb_err_prefix(err, rc, "%s", file);
	} else {
		*plan = xen_config_json(h, &dc, -1);
	}
	from.version = f.stream_version;
	if (!rc && !h->p->dry_run) {
		h->log.show = true;
		rc = xen_bring_up(h, &dc, &from, &kept, o, domid, err);
		h->log.show = false;
	}
	libxl_domain_config_dispose(&dc);
	free(f.config);
	close(fd);
	return rc;
}

/* --- sending ----------------------------------------------------------------------------------------- */

struct link {
	int to, from;
	pid_t pid;
};

static int start_link(const char *command, struct link *l, struct pvb_error *err)
{
	int to[2], from[2];

	*l = (struct link){ -1, -1, -1 };
	if (pipe2(to, O_CLOEXEC))
		return pvb_err(err, -errno, "%s", strerror(errno));
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]);
		close(to[1]);
		return pvb_err(err, -errno, "%s", strerror(errno));
	}
	l->pid = fork();
	if (l->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	l->to = to[1];
	l->from = from[0];
	return l->pid < 0 ? pvb_err(err, -errno, "%s", strerror(errno)) : 0;
}

static void end_link(struct link *l)
{
	struct pollfd pfd = { .events = POLLIN };

	if (l->to >= 0)
		close(l->to);
	if (l->from >= 0)
		close(l->from);
	pfd.fd = l->pid > 0 ? pidfd_open(l->pid, 0) : -1;
	if (pfd.fd >= 0) { /* a receiver ends with its link, but anything may stand in its place */
		if (poll(&pfd, 1, 10000) == 0)
			kill(l->pid, SIGTERM);
		close(pfd.fd);
	}
	while (l->pid > 0 && waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*l = (struct link){ -1, -1, -1 };
}

/* "HOST CMD": what runs the receiver. */
static char *receiver(const struct migrate_opts *o, const char *more)
{
	char *text;

	if (!*o->ssh)
		return asprintf(&text, "%s%s", o->host, more) < 0 ? NULL : text;
	return asprintf(&text, "exec %s %s %s migrate-receive%s%s%s", o->ssh, o->host, o->tool, o->no_monitor ? " -e" : "",
			o->paused ? " -p" : "", more) < 0 ? NULL : text;
}

/* What asks the other host for what became of its copy. */
static char *question(const struct migrate_opts *o, const char *uuid)
{
	char more[64];

	snprintf(more, sizeof(more), " --settle %s", uuid);
	return receiver(o, more);
}

/* 1: the other side runs it, 0: it has nothing left of it; -errno: nobody knows. */
static int settle(struct host *h, const char *ask, int timeout_ms, struct pvb_error *err)
{
	struct link l;
	char word = '?';
	int rc;

	rc = start_link(ask, &l, err);
	if (!rc) {
		rc = savefile_get(l.from, &word, 1, timeout_ms, &xen_stop);
		end_link(&l);
	}
	if (rc || (word != 'r' && word != 'n'))
		return pvb_err(err, -EREMOTEIO, "the receiver does not tell what became of it");
	return word == 'r';
}

static int rename_to(struct host *h, uint32_t domid, const char *name, struct pvb_error *err)
{
	int rc;

	h->log.cause[0] = '\0';
	rc = libxl_domain_rename(h->ctx, domid, NULL, name);
	return rc ? xen_err(h, err, rc, "renaming domain %u to %s", domid, name) : 0;
}

/* From "NAME--migratedaway" to NAME. */
static void name_back(struct host *h, uint32_t domid)
{
	char *name = libxl_domid_to_name(h->ctx, domid);
	struct pvb_error why = { 0 };

	if (name && dom_name_ends(name, DOM_AWAY)) {
		name[strlen(name) - strlen(DOM_AWAY)] = '\0';
		if (rename_to(h, domid, name, &why))
			pvl_note(h->p, "%s", why.text);
	}
	free(name);
}

static void phase(struct host *h, uint32_t domid, const char *what)
{
	struct json_object *fields = out_obj();

	pvl_debug(h->p, "%s", what);
	out_int(fields, "domid", domid);
	out_str(fields, "what", what);
	pvl_event(h->p, "phase", fields);
}

/* Everything up to "go": at a failure the domain is ours and goes on here. */
static int hand_over(struct host *h, uint32_t domid, const struct migrate_opts *o, libxl_domain_config *dc, struct link *l,
		     bool *heard, struct pvb_error *err)
{
	int rc = hear(l->from, banner, LEN_BANNER, h->p->timeout_ms, "starting the receiver", err);
	char away[160];

	*heard = !rc;
	if (!rc) {
		phase(h, domid, "receiver started");
		rc = put_config(l->to, dc, err);
	}
	if (!rc)
		rc = send_stream(h, domid, l->to, (o->cold ? 0 : LIBXL_SUSPEND_LIVE) | (o->debug ? LIBXL_SUSPEND_DEBUG : 0),
				 o->bandwidth, -1, err);
	if (!rc)
		rc = hear(l->from, ready, sizeof(ready), pvl_timeout(h->p, ANSWER_MS), "waiting for the receiver", err);
	if (!rc)
		phase(h, domid, "all sent and received");
	snprintf(away, sizeof(away), "%.127s%s", dc->c_info.name, DOM_AWAY);
	if (!rc)
		rc = rename_to(h, domid, away, err);
	return rc;
}

/* "go" has been said.  1: it runs there; 0: it does not, and never will; -errno: nobody knows. */
static int outcome(struct host *h, const char *ask, struct link *l, struct pvb_error *err)
{
	struct pvb_error why = { 0 };
	char status = 1;
	int rc = hear(l->from, report, sizeof(report), pvl_timeout(h->p, ANSWER_MS), "waiting for the report", &why);

	if (!rc)
		rc = savefile_get(l->from, &status, 1, pvl_timeout(h->p, ANSWER_MS), &xen_stop);
	if (!rc && status)
		rc = hear(l->from, go, sizeof(go), pvl_timeout(h->p, ANSWER_MS), "taking it back", &why);
	if (!rc) {
		if (status)
			pvb_err(err, -EREMOTEIO, "the receiver could not start it (%d)", status);
		return !status;
	}
	end_link(l);
	pvl_note(h->p, "migrate: the link broke at the last step (%s): asking again", why.text);
	rc = settle(h, ask, pvl_timeout(h->p, ANSWER_MS), err);
	if (rc == 0)
		pvb_err(err, -EREMOTEIO, "the receiver ended before it started the domain");
	return rc;
}

/* It failed before "go", and the domain goes on here: the other host is to keep nothing of it. */
static void clear_copy(struct host *h, const char *ask)
{
	struct pvb_error why = { 0 };

	xen_stop = 0;
	if (settle(h, ask, CLEAR_MS, &why) < 0)
		pvl_note(h->p, "migrate: %s: a domain NAME" DOM_INCOMING " may be left there until it is sent again", why.text);
}

/* "go" has been said: what comes of it, and of the domain here. */
static int away(struct host *h, uint32_t domid, const char *name, const char *ask, struct link *l, struct pvb_error *err)
{
	int rc = outcome(h, ask, l, err);

	if (rc < 0) /* the mark stays: a monitor asks on when this process has ended */
		return pvb_err(err, rc, "the link broke at the last step and the other host does not answer: domain %u stays "
			       "suspended until it does; if it does not run there, pvl rename %u %s and pvl resume %u", domid,
			       domid, name, domid);
	if (rc == 0) {
		name_back(h, domid);
		return go_on(h, domid, err, err->code);
	}
	rc = xen_destroy(h, domid, 60000, err);
	return rc ? pvb_err_prefix(err, rc, "it runs on the other host, but here") : 0;
}

int xen_migrate(struct host *h, uint32_t domid, const struct migrate_opts *o, struct pvb_error *err)
{
	char uuid[37], *command = NULL, *ask = NULL;
	struct link l = { -1, -1, -1 };
	libxl_domain_config dc;
	bool heard = false;
	int rc;

	libxl_domain_config_init(&dc);
	rc = may_leave(h, domid, &dc, o->keep_domid, o->pci_goes, o->cfg, err);
	if (rc || h->p->dry_run)
		goto out;
	snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(dc.c_info.uuid));
	command = receiver(o, "");
	ask = question(o, uuid);
	rc = command && ask ? start_link(command, &l, err) : pvb_err(err, -ENOMEM, "out of memory");
	if (rc)
		goto out;
	catch_signals();
	rc = mark(h, domid, false, ask, err);
	if (!rc)
		rc = hand_over(h, domid, o, &dc, &l, &heard, err);
	/* from here on it must not go on without the other host being asked */
	if (!rc)
		rc = mark(h, domid, true, ask, err);
	if (rc) {
		name_back(h, domid);
		close(l.to); /* the receiver takes this for "no" */
		l.to = -1;
		rc = go_on(h, domid, err, rc);
		end_link(&l);
		if (heard)
			clear_copy(h, ask);
		goto out;
	}
	xen_stop = 0;
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	savefile_put(l.to, go, sizeof(go)); /* should that fail, outcome() will know */
	phase(h, domid, "handed over");
	rc = away(h, domid, dc.c_info.name, ask, &l, err);
out:
	end_link(&l);
	free(command);
	free(ask);
	libxl_domain_config_dispose(&dc);
	return rc;
}

/* Called again and again while the domain is suspended.  1: it has gone on here, or is gone (what says which). */
int xen_stream_orphan(struct host *h, uint32_t domid, uint64_t *next_ms, const char **what, struct pvb_error *err)
{
	char path[MARK_LEN], *ask = NULL;
	bool away = false;
	int rc;

	mark_path(domid, path);
	rc = marked_at(h, path, &away, &ask);
	if (rc >= 0 || !ask || (away && pvb_now_ms() < *next_ms)) {
		free(ask);
		return 0;
	}
	rc = away ? settle(h, ask, ANSWER_MS, err) : 0;
	*next_ms = pvb_now_ms() + SETTLE_MS;
	if (rc >= 0 && away && is_suspended(h, domid) <= 0) { /* somebody has decided meanwhile */
		free(ask);
		return 0;
	}
	if (rc == 1) {
		*what = "who sent it is dead: it runs on the other host";
		rc = xen_destroy(h, domid, 60000, err);
	} else if (rc == 0) {
		*what = "who saved it is dead: it goes on here";
		name_back(h, domid);
		rc = xen_resume(h, domid, err);
		if (!rc) {
			unmark(h, domid);
			if (*ask && !away)
				clear_copy(h, ask);
		}
	}
	free(ask);
	return rc ? rc : 1;
}

/* --- receiving --------------------------------------------------------------------------------------- */

/* Its own name, and let it run: what the sender has cleared us for. */
static int take(struct host *h, uint32_t domid, const char *name, const struct create_opts *o, struct pvb_error *err)
{
	int rc = rename_to(h, domid, name, err);

	return rc ? rc : xen_let_go(h, domid, name, o, err);
}

/* The copy of a domain that the sender lost sight of, or 0. */
static uint32_t find_copy(struct host *h, const char *uuid, bool *incoming)
{
	struct dom_info *list;
	uint32_t found = 0;
	unsigned nr;

	if (host_xen.list(h, &list, &nr, NULL))
		return 0;
	for (unsigned i = 0; i < nr; i++) {
		if (strcmp(list[i].uuid, uuid) || list[i].dying)
			continue;
		if (dom_name_ends(list[i].name, DOM_AWAY))
			continue; /* the sender's, on this same host */
		found = list[i].domid;
		*incoming = dom_name_ends(list[i].name, DOM_INCOMING);
	}
	dom_list_free(list, nr);
	return found;
}

/* An earlier receiver of this domain was killed: what it has left goes.  A living one is in the way. */
static int clear_earlier(struct host *h, const char *uuid, const char *path, struct pvb_error *err)
{
	bool incoming = false;
	uint32_t domid;
	int who = marked_at(h, path, NULL, NULL);

	if (who > 0)
		return pvb_err(err, -EBUSY, "another receiver is at work on domain %s", uuid);
	domid = who < 0 ? find_copy(h, uuid, &incoming) : 0;
	return domid && incoming ? xen_destroy(h, domid, 30000, err) : 0;
}

int xen_receive(struct host *h, int in, int out, const struct create_opts *o, uint32_t *domid, struct pvb_error *err)
{
	struct xen_stream from = { .fd = in };
	char *name = NULL, status, path[MARK_LEN] = "", uuid[37];
	struct pvb_error why = { 0 };
	libxl_domain_config dc;
	struct savefile f = { 0 };
	int rc;

	libxl_domain_config_init(&dc);
	rc = savefile_put(out, banner, LEN_BANNER);
	rc = rc ? pvb_err(err, rc, "writing to the sender: %s", strerror(-rc)) : savefile_get_header(in, &f, err);
	if (!rc)
		rc = get_config(h, &f, NULL, &dc, err);
	free(f.config);
	if (rc)
		goto out;
	snprintf(uuid, sizeof(uuid), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(dc.c_info.uuid));
	incoming_path(uuid, path);
	rc = clear_earlier(h, uuid, path, err);
	if (!rc)
		rc = mark_at(h, path, false, "", err);
	if (rc) {
		*path = '\0'; /* not ours to remove */
		goto out;
	}
	name = dc.c_info.name;
	from.version = f.stream_version;
	if (asprintf(&dc.c_info.name, "%.127s%s", name, DOM_INCOMING) < 0) {
		dc.c_info.name = NULL;
		rc = pvb_err(err, -ENOMEM, "out of memory");
		goto out;
	}
	rc = xen_build_from(h, &dc, &from, domid, err);
	if (rc)
		goto out;
	rc = savefile_put(out, ready, sizeof(ready));
	rc = rc ? pvb_err(err, rc, "the sender has ended") :
		  hear(in, go, sizeof(go), pvl_timeout(h->p, GO_MS), "waiting for the sender's word", err);
	if (rc) { /* still the sender's */
		xen_destroy(h, *domid, 30000, &why);
		goto out;
	}
	rc = take(h, *domid, name, o, err);
	if (rc)
		xen_destroy(h, *domid, 30000, &why);
	status = rc ? 1 : 0;
	if (savefile_put(out, report, sizeof(report)) == 0 && savefile_put(out, &status, 1) == 0 && rc)
		savefile_put(out, go, sizeof(go));
out:
	if (*path)
		unmark_at(h, path);
	free(name);
	libxl_domain_config_dispose(&dc);
	return rc;
}

static bool is_paused(struct host *h, uint32_t domid)
{
	libxl_dominfo i;
	bool paused;

	libxl_dominfo_init(&i);
	paused = libxl_domain_info(h->ctx, &i, domid) == 0 && i.paused;
	libxl_dominfo_dispose(&i);
	return paused;
}

/* Its receiver lives and will decide, or it is dead: then what did not start never will. */
int xen_settle(struct host *h, const char *uuid, int timeout_ms, bool *runs, struct pvb_error *err)
{
	uint64_t end = pvb_now_ms() + (uint64_t)timeout_ms;
	bool incoming = false;
	char path[MARK_LEN];
	uint32_t domid;
	int who, rc = 0;

	incoming_path(uuid, path);
	while ((who = marked_at(h, path, NULL, NULL)) > 0) {
		if (pvb_now_ms() >= end)
			return pvb_err(err, -ETIMEDOUT, "domain %s: its receiver is still at work", uuid);
		poll(NULL, 0, 100); /* the end of a process that is not ours has no event here */
	}
	domid = find_copy(h, uuid, &incoming);
	*runs = domid && !incoming;
	if (domid && incoming) {
		if (who == 0)
			return pvb_err(err, -EBUSY, "domain %u is incoming, and it is not known whose", domid);
		rc = xen_destroy(h, domid, 30000, err);
	} else if (domid && who < 0 && is_paused(h, domid)) { /* it has its name: all that was left is to let it run */
		const struct create_opts o = { .no_monitor = false };
		char *name = libxl_domid_to_name(h->ctx, domid);

		rc = xen_let_go(h, domid, name ? name : uuid, &o, err);
		free(name);
	}
	if (who < 0)
		unmark_at(h, path);
	return rc;
}
