/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest.c: worker processes.  It knows which guest has one, what it may say, and how it died; what the
 * messages mean is vbd.c's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "log.h"
#include "supervisor.h"

static void on_message(void *arg, uint32_t events);

/* In the child: only async-signal-safe calls, then the same program as a worker. */
static void exec_worker(const struct supervisor *sup, uint32_t domid, int sock)
{
	char sockarg[16], domarg[16], uidarg[16], memarg[32];
	sigset_t none;

	snprintf(sockarg, sizeof(sockarg), "%d", sock);
	snprintf(domarg, sizeof(domarg), "%u", domid);
	snprintf(uidarg, sizeof(uidarg), "%u", sup->o.uid_base ? sup->o.uid_base + domid : 0);
	snprintf(memarg, sizeof(memarg), "%zu", sup->o.memory);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fcntl(sock, F_SETFD, 0);
	execl("/proc/self/exe", "pvbackd-worker", "--worker", sockarg, domarg, sup->hv, uidarg, memarg,
	      sup->o.sandbox ? "1" : "0", (char *)NULL);
	_exit(127);
}

static int start_worker(struct guest *g, struct pvb_error *err)
{
	int pair[2], rc, size = 256 * 1024;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return pvb_err(err, -errno, "worker of domain %u: socket: %s", g->domid, strerror(errno));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	g->pid = fork();
	if (g->pid == 0)
		exec_worker(g->sup, g->domid, pair[1]);
	close(pair[1]);
	if (g->pid < 0) {
		rc = -errno;
		g->pid = 0;
		close(pair[0]);
		return pvb_err(err, rc, "worker of domain %u: fork: %s", g->domid, strerror(-rc));
	}
	g->sock = pair[0];
	g->ready = false;
	rc = pvb_loop_fd(g->sup->loop, g->sock, EPOLLIN, on_message, g, &g->src);
	if (rc < 0)
		return pvb_err(err, rc, "worker of domain %u: loop: %s", g->domid, strerror(-rc));
	log_info("domain %u: worker %d", g->domid, (int)g->pid);
	return 0;
}

static void forget(struct guest *g)
{
	struct guest **at;

	for (at = &g->sup->guests; *at != g; at = &(*at)->next)
		;
	*at = g->next;
	free(g);
}

/* Closing the socket is how a worker learns that it is no longer needed. */
static void hang_up(struct guest *g)
{
	pvb_source_free(&g->src);
	if (g->sock >= 0)
		close(g->sock);
	g->sock = -1;
	g->ready = false;
}

int guest_get(struct supervisor *sup, uint32_t domid, struct guest **out, struct pvb_error *err)
{
	struct guest *g;
	int rc = 0;

	for (g = sup->guests; g && g->domid != domid; g = g->next)
		;
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return pvb_err(err, -ENOMEM, "domain %u: out of memory", domid);
		g->sup = sup;
		g->domid = domid;
		g->sock = -1;
		g->next = sup->guests;
		sup->guests = g;
	}
	if (g->pid && g->sock < 0)
		return pvb_err(err, -EAGAIN, "worker %d of domain %u is still ending", (int)g->pid, domid);
	if (!g->pid)
		rc = start_worker(g, err);
	if (rc < 0) {
		hang_up(g);
		if (g->devices == 0 && !g->pid)
			forget(g);
		return rc;
	}
	g->devices++;
	*out = g;
	return 0;
}

void guest_put(struct guest *g)
{
	if (--g->devices > 0)
		return;
	hang_up(g);
	if (!g->pid)
		forget(g);
}

void guests_free(struct supervisor *sup)
{
	while (sup->guests) {
		hang_up(sup->guests);
		forget(sup->guests);
	}
}

int guest_send(struct guest *g, const struct ipc_msg *m, const int *fds, unsigned nr_fds)
{
	int rc = g->sock < 0 ? -ENOTCONN : ipc_send(g->sock, m, fds, nr_fds);

	if (rc == -EAGAIN)
		guest_kill(g, "does not read its messages");
	return rc;
}

void guest_kill(struct guest *g, const char *why)
{
	log_err("domain %u: worker %d %s: killed", g->domid, (int)g->pid, why);
	if (g->pid)
		kill(g->pid, SIGKILL); /* guest_reaped() tells the devices */
	hang_up(g);
}

static void on_message(void *arg, uint32_t events)
{
	struct guest *g = arg;
	int fds[IPC_MAX_FDS];
	unsigned nr_fds, n;
	struct ipc_msg m;
	int rc = 0;

	/* bounded: a worker that talks without end must not hold up the others */
	for (n = 0; n < 64 && g->sock >= 0 && (rc = ipc_recv(g->sock, &m, fds, &nr_fds)) > 0; n++) {
		struct pvb_device_id id = { .kind = NULL, .class = "vbd", .front = g->domid, .devid = m.devid };
		struct vbd *v;

		ipc_close_fds(fds, nr_fds); /* a worker has none to give */
		if (m.type == IPC_HELLO) {
			g->ready = m.rc == 0;
			m.u.text[sizeof(m.u.text) - 1] = 0;
			if (m.rc)
				guest_kill(g, m.u.text);
			continue;
		}
		if (m.type < IPC_ATTACHED || m.type >= IPC_NR) {
			guest_kill(g, "sent an unknown message");
			return;
		}
		v = vbd_find(g->sup, &id);
		if (v && v->guest == g)
			vbd_message(v, &m);
	}
	if (rc < 0 && g->sock >= 0)
		hang_up(g); /* its death follows */
}

static void describe(int status, char *buf, size_t len)
{
	if (WIFSIGNALED(status))
		snprintf(buf, len, "died by signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
			 WTERMSIG(status) == SIGSYS ? ": a system call its sandbox forbids" : "");
	else
		snprintf(buf, len, "ended with status %d", WEXITSTATUS(status));
}

void guest_reaped(struct supervisor *sup, pid_t pid, int status)
{
	struct guest *g;
	struct vbd *v;
	char how[128];
	uint32_t domid;

	for (g = sup->guests; g && g->pid != pid; g = g->next)
		;
	if (!g)
		return; /* a provider's helper */
	g->pid = 0;
	hang_up(g);
	describe(status, how, sizeof(how));
	if (g->devices == 0) {
		log_info("domain %u: worker %d %s", g->domid, (int)pid, how);
	} else {
		g->deaths++;
		log_err("domain %u: worker %d %s with %u devices", g->domid, (int)pid, how, g->devices);
	}
	g->devices++; /* keep it while its devices leave */
	domid = g->domid;
	for (v = sup->vbds; v; v = v->next)
		if (v->guest == g)
			vbd_worker_died(v, how);
	guest_put(g);
	for (v = sup->vbds; v; v = v->next) /* who waited for it to end */
		if (v->id.front == domid)
			vbd_step(v);
}
