// SPDX-License-Identifier: GPL-2.0-or-later
/* Signals, and the command that --exec runs. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pvguest.h"

#define CHILD_MS 5000  /* for the command after SIGTERM */

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
int take_signals(struct program *p)
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

int start_command(struct program *p)
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
