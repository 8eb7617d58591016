/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.c: see worker.h.  Set-up, sandbox and the supervisor's messages; what the guest says is serve.c's. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "backend/ipc.h"
#include "backend/log.h"
#include "backend/sandbox.h"
#include "serve.h"
#include "worker.h"

struct con_worker {
	const struct con_worker_options *o;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_events *events;
	struct pvb_source *src;
	struct con_stats *stats;
	struct serve *serve;
};

static void say(struct con_worker *w, enum ipc_type type, unsigned end, int rc, const char *text)
{
	struct ipc_msg m = { .type = type, .domid = w->o->domid, .devid = end, .rc = rc };

	snprintf(m.u.text, sizeof(m.u.text), "%s", text ? text : "");
	rc = ipc_send(w->o->sock, &m, NULL, 0);
	if (rc == -EAGAIN) {
		log_err("console of domain %u: the supervisor does not read", w->o->domid);
		pvb_loop_stop(w->loop, 1);
	}
}

static void on_broken(void *arg, const char *why)
{
	say(arg, IPC_CON_BROKEN, 0, -EPROTO, why);
}

static void on_dial(void *arg, unsigned end)
{
	say(arg, IPC_CON_DIAL, end, 0, NULL);
}

static void on_rotate(void *arg, unsigned end)
{
	say(arg, IPC_CON_ROTATE, end, 0, NULL);
}

static void on_log_failed(void *arg, unsigned end, const char *why)
{
	say(arg, IPC_CON_LOG, end, 0, why);
}

static void start(struct con_worker *w, const struct con_setup *setup, int *fds, unsigned nr_fds)
{
	static const struct serve_ops ops = { on_broken, on_dial, on_rotate, on_log_failed };
	int of_end[CON_MAX_ENDS];
	struct pvb_error err = { 0 };
	unsigned used = 1;
	int rc = 0;

	for (unsigned i = 0; i < setup->nr_ends && i < CON_MAX_ENDS; i++)
		of_end[i] = setup->end[i].fd && used < nr_fds ? fds[used++] : -1;
	w->stats = w->serve || nr_fds < 1 ? MAP_FAILED :
					    mmap(NULL, sizeof(*w->stats), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (w->stats == MAP_FAILED || used != nr_fds)
		rc = pvb_err(&err, -EINVAL, "malformed start message");
	else
		rc = serve_new(&w->serve, w->hv, w->events, w->loop, w->o->domid, setup, of_end, w->stats, &ops, w, &err);
	if (rc < 0)
		ipc_close_fds(fds, nr_fds);
	else
		close(fds[0]);
	say(w, IPC_CON_UP, 0, rc, err.text);
}

static void on_message(void *arg, uint32_t events)
{
	struct con_worker *w = arg;
	struct ipc_msg m;
	int fds[IPC_MAX_FDS];
	unsigned nr_fds;
	int rc;

	while ((rc = ipc_recv(w->o->sock, &m, fds, &nr_fds)) > 0) {
		if (m.type == IPC_CON_START)
			start(w, &m.u.con, fds, nr_fds);
		else if (m.type == IPC_CON_GIVE && w->serve)
			serve_give(w->serve, m.devid, nr_fds > 0 ? fds[0] : -1, m.num);
		else
			ipc_close_fds(fds, nr_fds);
	}
	if (rc < 0)
		pvb_loop_stop(w->loop, rc == -ECONNRESET ? 0 : 1);
}

static int set_up(struct con_worker *w, struct pvb_error *err)
{
	struct sandbox box = { w->o->uid, w->o->sandbox };
	int rc;

	signal(SIGPIPE, SIG_IGN); /* a client that is gone is told by write() */
	rc = pvb_hv_open(&w->hv, w->o->hv, PVB_HV_BACK, err);
	if (rc == 0)
		rc = pvb_hv_restrict(w->hv, w->o->domid);
	if (rc < 0)
		return pvb_err_prefix(err, rc, "hypervisor");
	rc = pvb_loop_new(&w->loop);
	if (rc == 0)
		rc = pvb_events_new(&w->events, w->hv, w->loop, NULL, NULL);
	if (rc == 0)
		rc = pvb_loop_fd(w->loop, w->o->sock, EPOLLIN, on_message, w, &w->src);
	if (rc < 0)
		return pvb_err(err, rc, "set-up: %s", strerror(-rc));
	return sandbox_enter(&box, err);
}

int con_worker_main(const struct con_worker_options *o)
{
	struct con_worker w = { .o = o };
	struct pvb_error err = { 0 };
	int rc;

	prctl(PR_SET_NAME, "pvbackd-console");
	rc = set_up(&w, &err);
	if (rc < 0)
		say(&w, IPC_CON_UP, 0, rc, err.text);
	else
		rc = pvb_loop_run(w.loop);
	serve_free(w.serve);
	pvb_events_free(w.events);
	pvb_loop_free(w.loop);
	pvb_hv_close(w.hv);
	return rc < 0 ? 1 : rc;
}
