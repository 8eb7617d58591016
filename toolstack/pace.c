// SPDX-License-Identifier: GPL-2.0-or-later
/* pace.c: see pace.h.
 *
 * Each portion is a hundredth of a second's. The clock of a portion starts when the one before was due, or has gone out if
 * that was later: what the other side did not take at its time is not made up for. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "loop.h"
#include "pace.h"
#include "savefile.h"

#define TICK_NS 10000000u
#define CHUNK 65536u

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* In the process between: standard input to standard output. 0, or what went wrong. */
static int pass_on(uint64_t portion)
{
	static char buf[CHUNK];
	uint64_t left = portion, due = pvb_now_ns() + TICK_NS;

	for (;;) {
		ssize_t n = read(0, buf, left < CHUNK ? left : CHUNK);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? errno : 0;
		rc = savefile_put(1, buf, (size_t)n);
		if (rc)
			return -rc;
		left -= (uint64_t)n;
		if (left)
			continue;
		left = portion;
		sleep_until(due);
		due = (pvb_now_ns() > due + TICK_NS ? pvb_now_ns() : due) + TICK_NS;
	}
}

int pace_begin(struct pace *p, int to, uint64_t mib, struct pvb_error *err)
{
	int fds[2];

	*p = (struct pace){ -1, -1 };
	if (pipe2(fds, O_CLOEXEC))
		return pvb_err(err, -errno, "%s", strerror(errno));
	p->pid = fork();
	if (p->pid == 0) {
		dup2(fds[0], 0);
		dup2(to, 1);
		close_range(3, ~0U, 0);
		/* the writer hears of signals, and ends us by closing */
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		signal(SIGPIPE, SIG_IGN);
		_exit(pass_on(mib * 1048576u / (1000000000u / TICK_NS)));
	}
	close(fds[0]);
	if (p->pid < 0) {
		close(fds[1]);
		return pvb_err(err, -errno, "%s", strerror(errno));
	}
	p->fd = fds[1];
	return 0;
}

int pace_end(struct pace *p, bool whole, const volatile sig_atomic_t *stop, struct pvb_error *err)
{
	int status = 0, rc = 0;

	if (p->fd >= 0)
		close(p->fd);
	if (p->pid > 0 && (!whole || (stop && *stop)))
		kill(p->pid, SIGKILL);
	while (p->pid > 0 && waitpid(p->pid, &status, 0) < 0) {
		if (errno != EINTR) {
			rc = -errno;
			break;
		}
		if (stop && *stop)
			kill(p->pid, SIGKILL);
	}
	*p = (struct pace){ -1, -1 };
	if (!whole)
		return 0;
	if (stop && *stop)
		return pvb_err(err, -EINTR, "stopped by a signal");
	if (rc)
		return pvb_err(err, rc, "what holds the bandwidth down is not to be found: %s", strerror(-rc));
	if (WIFSIGNALED(status))
		return pvb_err(err, -EIO, "what holds the bandwidth down died by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status) ? pvb_err(err, -WEXITSTATUS(status), "%s", strerror(WEXITSTATUS(status))) : 0;
}
