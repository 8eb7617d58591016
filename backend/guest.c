/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest.c: worker processes.  It knows which guest or switch has one, what it may say, and how it died; what the
 * messages mean is device.c's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "log.h"
#include "supervisor.h"

#define SWITCH_SLOTS 16u /* uids from base + 0x7ff0: domain ids end below */

static void on_message(void *arg, uint32_t events);

/* "domain 3", "switch lan". */
static const char *who(const struct guest *g)
{
	static char buf[64]; /* one thread, one name a line */

	if (g->place[0])
		snprintf(buf, sizeof(buf), "switch %s", g->place);
	else
		snprintf(buf, sizeof(buf), "domain %u", g->domid);
	return buf;
}

/* In the child: only async-signal-safe calls, then the same program as a worker. */
static void exec_worker(const struct guest *g, int sock)
{
	const struct supervisor *sup = g->sup;
	char sockarg[16], domarg[16], uidarg[16], memarg[32], pollarg[32];
	sigset_t none;

	snprintf(sockarg, sizeof(sockarg), "%d", sock);
	snprintf(domarg, sizeof(domarg), "%u", g->domid);
	snprintf(uidarg, sizeof(uidarg), "%u", sup->o.uid_base ? sup->o.uid_base + g->domid + g->slot : 0);
	snprintf(memarg, sizeof(memarg), "%zu", sup->o.memory);
	snprintf(pollarg, sizeof(pollarg), "%llu", (unsigned long long)sup->o.poll_us);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fcntl(sock, F_SETFD, 0);
	/* What a worker hands to the kernel wakes others.  If each of them is let in at once there is a change of processes
	 * for each frame, which a PV domain 0 pays for with several hypercalls: 17 % of TCP's throughput.  Not allowed:
	 * then it is as it is. */
	setpriority(PRIO_PROCESS, 0, sup->o.nice);
	execl("/proc/self/exe", "pvbackd-worker", "--worker", sockarg, domarg, sup->hv, uidarg, memarg,
	      sup->o.sandbox ? "1" : "0", pollarg, g->place, g->nbd ? "1" : "0", (char *)NULL);
	_exit(127);
}

static int start_worker(struct guest *g, struct pvb_error *err)
{
	int pair[2], rc, size = 256 * 1024;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return pvb_err(err, -errno, "worker of %s: socket: %s", who(g), strerror(errno));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	g->pid = fork();
	if (g->pid == 0)
		exec_worker(g, pair[1]);
	close(pair[1]);
	if (g->pid < 0) {
		rc = -errno;
		g->pid = 0;
		close(pair[0]);
		return pvb_err(err, rc, "worker of %s: fork: %s", who(g), strerror(-rc));
	}
	g->sock = pair[0];
	g->ready = false;
	rc = pvb_loop_fd(g->sup->loop, g->sock, EPOLLIN, on_message, g, &g->src);
	if (rc < 0)
		return pvb_err(err, rc, "worker of %s: loop: %s", who(g), strerror(-rc));
	log_of(g->domid, LOG_LEVEL_INFO, "%s: worker %d", who(g), (int)g->pid);
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

static unsigned free_slot(const struct supervisor *sup)
{
	unsigned taken = 0, slot = 0;

	for (const struct guest *g = sup->guests; g; g = g->next)
		if (g->place[0])
			taken |= 1u << g->slot;
	while (slot < SWITCH_SLOTS - 1 && (taken & 1u << slot))
		slot++;
	return slot; /* more switches than that share the last */
}

static bool serves(const struct guest *g, uint32_t domid, const char *place, bool nbd)
{
	return strcmp(g->place, place) == 0 && (*place || g->domid == domid) && g->nbd == nbd;
}

static struct guest *new_guest(struct supervisor *sup, uint32_t domid, const char *place, bool nbd)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->sup = sup;
	g->domid = *place ? PVB_DOMID_SELF : domid;
	g->nbd = nbd;
	g->slot = *place ? free_slot(sup) : 0;
	snprintf(g->place, sizeof(g->place), "%s", place);
	g->sock = -1;
	g->next = sup->guests;
	sup->guests = g;
	return g;
}

int guest_get(struct supervisor *sup, uint32_t domid, const char *place, bool nbd, struct guest **out, struct pvb_error *err)
{
	struct guest *g;
	int rc = 0;

	for (g = sup->guests; g && !serves(g, domid, place, nbd); g = g->next)
		;
	if (!g)
		g = new_guest(sup, domid, place, nbd);
	if (!g)
		return pvb_err(err, -ENOMEM, "domain %u: out of memory", domid);
	if (g->pid && g->sock < 0)
		return pvb_err(err, -EAGAIN, "worker %d of %s is still ending", (int)g->pid, who(g));
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
	log_of(g->domid, LOG_LEVEL_ERR, "%s: worker %d %s: killed", who(g), (int)g->pid, why);
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
		struct pvb_device_id id = { .front = m.domid, .devid = m.devid };
		struct device *d;

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
		if (m.class >= IPC_NR_CLASSES) {
			guest_kill(g, "sent a message about no kind of device");
			return;
		}
		d = device_find(g->sup, m.class == IPC_VIF ? vif_ops.class : vbd_ops.class, &id);
		if (d && d->guest == g)
			device_message(d, &m);
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
	struct device *d;
	char how[128], place[sizeof(g->place)];
	uint32_t domid;

	for (g = sup->guests; g && g->pid != pid; g = g->next)
		;
	if (!g)
		return; /* a provider's helper */
	g->pid = 0;
	hang_up(g);
	describe(status, how, sizeof(how));
	if (g->devices == 0) {
		log_of(g->domid, LOG_LEVEL_INFO, "%s: worker %d %s", who(g), (int)pid, how);
	} else {
		g->deaths++;
		log_of(g->domid, LOG_LEVEL_ERR, "%s: worker %d %s with %u devices", who(g), (int)pid, how, g->devices);
	}
	g->devices++; /* keep it while its devices leave */
	domid = g->domid;
	memcpy(place, g->place, sizeof(place));
	for (d = sup->devices; d; d = d->next)
		if (d->guest == g)
			device_worker_died(d, how);
	guest_put(g);
	for (d = sup->devices; d; d = d->next) /* who waited for it to end */
		if (strcmp(d->place, place) == 0 && (*place || d->id.front == domid))
			device_step(d);
}
