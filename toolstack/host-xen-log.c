// SPDX-License-Identifier: GPL-2.0-or-later
/* libxl's logger, error words, and waiting for libxl's operations and events. */
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <libxl_event.h>
#include "host-xen.h"
#include "loop.h"

static void vmessage(xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
		     const char *fmt, va_list al)
{
	struct xlog *log = (struct xlog *)logger;
	char text[512];

	vsnprintf(text, sizeof(text), fmt, al);
	if (level >= XTL_ERROR && !*log->cause) {
		/* "file.c:line:function: " in front of what is meant helps nobody but libxl's authors */
		const char *t = text, *c = strstr(text, ".c:");

		if (c && (c = strstr(c + 3, ": ")))
			t = c + 2;
		snprintf(log->cause, sizeof(log->cause), "%.150s%s%.40s", t, errnoval >= 0 ? ": " : "",
			 errnoval >= 0 ? strerror(errnoval) : "");
	}
	if (level >= log->min)
		fprintf(stderr, "%s: %s: %s%s%s\n", context ? context : "libxl", xtl_level_to_string(level), text,
			errnoval >= 0 ? ": " : "", errnoval >= 0 ? strerror(errnoval) : "");
}

static void progress(xentoollog_logger *logger, const char *context, const char *what, int percent, unsigned long done,
		     unsigned long total)
{
	struct xlog *log = (struct xlog *)logger;

	if (log->show)
		pvl_progress(log->show_to, what, done, total);
}

static void destroy(xentoollog_logger *logger)
{
}

void xlog_init(struct xlog *log, struct pvl *p)
{
	int verbose = p->verbose;

	log->show_to = p;
	log->vtable = (xentoollog_logger){ vmessage, progress, destroy };
	log->min = verbose < 0 ? XTL_CRITICAL : verbose == 0 ? XTL_ERROR : verbose == 1 ? XTL_DETAIL : XTL_DEBUG;
	log->cause[0] = '\0';
}

static const struct {
	int rc, code;
	const char *word;
} rcs[] = {
	{ ERROR_NOMEM, -ENOMEM, "out of memory" },
	{ ERROR_INVAL, -EINVAL, "invalid" },
	{ ERROR_GUEST_TIMEDOUT, -ETIMEDOUT, "the guest did not answer in time" },
	{ ERROR_TIMEDOUT, -ETIMEDOUT, "timed out" },
	{ ERROR_NOPARAVIRT, -EOPNOTSUPP, "the guest has no Xen drivers for that" },
	{ ERROR_NOT_READY, -EAGAIN, "not ready" },
	{ ERROR_LOCK_FAIL, -EBUSY, "could not take the lock" },
	{ ERROR_DEVICE_EXISTS, -EEXIST, "there is such a device already" },
	{ ERROR_DOMAIN_NOTFOUND, -ESRCH, "no such domain" },
	{ ERROR_ABORTED, -ETIMEDOUT, "given up after the time set" },
	{ ERROR_NOTFOUND, -ENOENT, "not found" },
	{ ERROR_DOMAIN_DESTROYED, -ESRCH, "the domain is gone" },
	{ ERROR_NI, -EOPNOTSUPP, "not implemented by libxl" },
	{ ERROR_FAIL, -EIO, "libxl failed" },
};

const char *xen_rc_word(int rc)
{
	for (unsigned i = 0; i < sizeof(rcs) / sizeof(rcs[0]); i++)
		if (rcs[i].rc == rc)
			return rcs[i].word;
	return "libxl failed";
}

int xen_err(struct host *h, struct pvb_error *err, int rc, const char *fmt, ...)
{
	char what[160];
	int code = -EIO;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	for (unsigned i = 0; i < sizeof(rcs) / sizeof(rcs[0]); i++)
		if (rcs[i].rc == rc)
			code = rcs[i].code;
	return pvb_err(err, code, "%s: %s%s%s%s", what, xen_rc_word(rc), *h->log.cause ? " (" : "", h->log.cause,
		       *h->log.cause ? ")" : "");
}

libxl_asyncop_how xen_op(struct host *h)
{
	libxl_asyncop_how how = { .callback = NULL, .u.for_event = ++h->nr_ops };

	h->log.cause[0] = '\0';
	return how;
}

/* One turn of libxl's loop: wait at most ms for its descriptors and timers. */
static int turn(struct host *h, int ms)
{
	struct pollfd few[32], *fds = few, *many = NULL;
	struct timeval now;
	int nr = 32, rc;

	gettimeofday(&now, NULL);
	while ((rc = libxl_osevent_beforepoll(h->ctx, &nr, fds, &ms, now)) == ERROR_BUFFERFULL) {
		struct pollfd *more = reallocarray(many, (size_t)nr, sizeof(*more));

		if (!more) {
			free(many);
			return ERROR_NOMEM;
		}
		fds = many = more;
	}
	if (!rc && poll(fds, (nfds_t)nr, ms) < 0 && errno != EINTR)
		rc = ERROR_FAIL;
	if (!rc) {
		gettimeofday(&now, NULL);
		libxl_osevent_afterpoll(h->ctx, nr, fds, now);
	}
	free(many);
	return rc;
}

volatile sig_atomic_t xen_stop;

struct wanted {
	bool stoppable;
	uint64_t op;       /* OPERATION_COMPLETE of this one */
	uint32_t domid;    /* other events: of this domain */
};

static int is_wanted(const libxl_event *ev, void *user)
{
	const struct wanted *w = user;

	if (ev->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE)
		return ev->for_user == w->op;
	return ev->domid == w->domid;
}

static int wait_for(struct host *h, uint64_t types, struct wanted *w, libxl_event **ev, int timeout_ms)
{
	uint64_t end = pvb_now_ms() + (timeout_ms < 0 ? 0 : (uint64_t)timeout_ms);
	int rc;

	while ((rc = libxl_event_check(h->ctx, ev, types, is_wanted, w)) == ERROR_NOT_READY) {
		uint64_t now = pvb_now_ms();

		if ((timeout_ms >= 0 && now >= end) || (w->stoppable && xen_stop))
			return ERROR_TIMEDOUT;
		rc = turn(h, timeout_ms < 0 || end - now > 1000 ? 1000 : (int)(end - now));
		if (rc)
			return rc;
	}
	return rc;
}

int xen_wait(struct host *h, const libxl_asyncop_how *how, int rc, int timeout_ms)
{
	struct wanted w = { .op = how->u.for_event, .stoppable = true };
	libxl_event *ev;

	if (rc)
		return rc;
	rc = wait_for(h, 1u << LIBXL_EVENT_TYPE_OPERATION_COMPLETE, &w, &ev, timeout_ms);
	if (rc == ERROR_TIMEDOUT) {
		libxl_ao_abort(h->ctx, how);
		w.stoppable = false;
		rc = wait_for(h, 1u << LIBXL_EVENT_TYPE_OPERATION_COMPLETE, &w, &ev,
			      -1); /* soon, having been aborted */
	}
	if (rc)
		return rc;
	rc = ev->u.operation_complete.rc;
	libxl_event_free(h->ctx, ev);
	return rc;
}

int xen_event(struct host *h, uint64_t types, uint32_t domid, libxl_event **ev, int timeout_ms)
{
	struct wanted w = { .domid = domid };

	return wait_for(h, types, &w, ev, timeout_ms);
}
