/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images in QEMU's formats: a qemu-nbd of their own, started with a listening socket that already has its one
 * connection waiting.
 *
 * Format    always the one the target names; qemu-nbd never guesses.
 * Life      qemu-nbd ends when its client hangs up, but not when there never was one, and not on a SIGTERM
 *           that comes while it starts.  So a small process watches over it: when nobody reads the pipe with
 *           its messages any more (the worker and the supervisor do), it is told to end until it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backend/block/block.h"
#include "backend/block/file.h"
#include "backend/block/nbd.h"
#include "backend/target.h"

#define QEMU_NBD "qemu-nbd"
#define START_TRY_MS 200
#define START_TRIES 15
#define NO_PROGRAM 127               /* exit status when exec() failed */
#define END_TRY_MS 500
#define END_TRIES 20                 /* before it is killed */
#define LISTEN_FD 3                  /* where the systemd protocol has it */

struct sockets { int listen, client; };

static int bind_in(const char *dir, struct sockets *s)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int rc = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nbd", dir);
	s->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	s->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen < 0 || s->client < 0 || bind(s->listen, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(s->listen, 1) || connect(s->client, (struct sockaddr *)&addr, sizeof(addr)))
		rc = -errno;
	unlink(addr.sun_path);
	return rc;
}

/* A listening socket nobody else can reach, and its first connection. */
static int make_sockets(struct sockets *s)
{
	char dir[] = "/tmp/pvbackd-XXXXXX";
	int rc;

	s->listen = s->client = -1;
	if (!mkdtemp(dir))
		return -errno;
	rc = bind_in(dir, s);
	rmdir(dir);
	if (rc)
		fds_close((int[]) { s->listen, s->client }, 2);
	return rc;
}

/* --- the child -------------------------------------------------------------------------------------- */

static void move_fd(int from, int to)
{
	if (from == to)
		fcntl(to, F_SETFD, 0);
	else
		dup2(from, to);
}

static void fail_child(int status_fd)
{
	int error = errno;

	_exit(write(status_fd, &error, sizeof(error)) < 0 ? 1 : NO_PROGRAM);
}

static void become_qemu_nbd(char *const argv[], int listen_fd, int log_fd, int status_fd)
{
	char pid[24];

	prctl(PR_SET_PDEATHSIG, SIGTERM); /* the watcher's */
	move_fd(open("/dev/null", O_RDWR), 0);
	dup2(0, 1);
	dup2(log_fd, 2);
	if (status_fd == LISTEN_FD)
		status_fd = fcntl(status_fd, F_DUPFD_CLOEXEC, LISTEN_FD + 1);
	move_fd(listen_fd, LISTEN_FD);
	close_range(LISTEN_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC); /* whatever else the supervisor holds */
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	unsetenv("LISTEN_FDNAMES");
	execvp(argv[0], argv);
	fail_child(status_fd);
}

/* Everything but two descriptors, so that nothing of the supervisor's lives on in the watcher. */
static void close_all_but(unsigned a, unsigned b)
{
	unsigned low = a < b ? a : b, high = a < b ? b : a;

	if (low > 0)
		close_range(0, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

static bool has(int fd, short events, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, wait_ms) == 1 && p.revents & (events | POLLERR);
}

/* Until it has ended, by itself or because nobody reads the log any more; its exit status. */
static int wait_for(pid_t pid, int log_fd)
{
	struct pollfd p[2] = {
		{ .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
		{ .fd = log_fd }, /* POLLERR: no reader is left */
	};
	int tries = 0, status = 0;

	if (p[0].fd < 0)
		_exit(1); /* and PR_SET_PDEATHSIG does the rest */
	for (;;) {
		if (poll(p, 2, tries ? END_TRY_MS : -1) < 0)
			continue;
		if (p[0].revents & POLLIN)
			break;
		p[1].fd = -1;
		kill(pid, tries++ < END_TRIES ? SIGTERM : SIGKILL);
	}
	close(p[0].fd);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* The process that watches over qemu-nbd.  One that could not start is started again for a while: the image
 * may still be locked by the one before, which has yet to write its last tables. */
static void watch_over(char *const argv[], int listen_fd, int log_fd, int status_fd)
{
	for (int tries = 0; tries < START_TRIES; tries++) {
		pid_t pid = fork();
		int status;

		if (pid < 0)
			fail_child(status_fd);
		if (!pid)
			become_qemu_nbd(argv, listen_fd, log_fd, status_fd);
		close_all_but((unsigned)listen_fd, (unsigned)log_fd);
		status_fd = -1;
		status = wait_for(pid, log_fd);
		/* it has served; or it does not exist; or nobody waits for it any more */
		if (!status || status == NO_PROGRAM || !has(listen_fd, POLLIN, 0) || has(log_fd, 0, START_TRY_MS))
			break;
	}
	_exit(0);
}

static void child(char *const argv[], int listen_fd, int log_fd, int status_fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	fcntl(log_fd, F_SETFL, O_NONBLOCK); /* a full pipe loses messages and stops nobody */
	prctl(PR_SET_NAME, "pvbackd-qemu");
	watch_over(argv, listen_fd, log_fd, status_fd);
}

/* Start it and wait until it runs or does not: as long as exec() takes. */
static int spawn(char *const argv[], int listen_fd, int log_fd)
{
	int status[2], error = 0;
	ssize_t r;
	pid_t pid;

	if (pipe2(status, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		error = errno;
		fds_close(status, 2);
		return -error;
	}
	if (!pid)
		child(argv, listen_fd, log_fd, status[1]);
	close(status[1]);
	do
		r = read(status[0], &error, sizeof(error));
	while (r < 0 && errno == EINTR);
	close(status[0]);
	return r == sizeof(error) ? -error : 0; /* the watcher ends by itself */
}

/* --- the image -------------------------------------------------------------------------------------- */

static const char *format_of(const struct target *t)
{
	return strcmp(t->provider, "vhd") ? t->provider : "vpc";
}

static int start_server(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], struct pvb_error *err)
{
	bool safe;
	int cache = file_cache(t, &safe, err), log[2], rc;
	const char *argv[] = {
		QEMU_NBD, "-f", format_of(t), "--shared=1", "--discard=unmap",
		cache == CACHE_DIRECT ? "--cache=none" : "--cache=writeback",
		readonly ? "--read-only" : "--", t->arg, NULL,
	};
	struct sockets s;

	if (cache < 0)
		return cache;
	rc = make_sockets(&s);
	if (rc)
		return pvb_err(err, rc, "%s: socket for qemu-nbd: %s", t->text, strerror(-rc));
	if (pipe2(log, O_CLOEXEC)) {
		rc = pvb_err(err, -errno, "%s: pipe for qemu-nbd: %s", t->text, strerror(errno));
		fds_close((int[]) { s.listen, s.client }, 2);
		return rc;
	}
	fcntl(log[0], F_SETFL, O_NONBLOCK);
	rc = spawn((char *const *)argv, s.listen, log[1]);
	fds_close((int[]) { s.listen, log[1] }, 2);
	if (rc) {
		fds_close((int[]) { s.client, log[0] }, 2);
		return pvb_err(err, rc, "%s: %s images need " QEMU_NBD ", which does not start: %s%s", t->arg,
			       t->provider, strerror(-rc), rc == -ENOENT ? " (is it installed?)" : "");
	}
	fds[0] = s.client;
	fds[1] = log[0];
	return 0;
}

static int check_image(const struct target *t, bool readonly, struct stat *st, struct pvb_error *err)
{
	int fd;

	if (t->arg[0] != '/') /* QEMU would take what is in front of a colon for a protocol */
		return pvb_err(err, -EINVAL, "%s: \"%s\" is not an absolute path", t->text, t->arg);
	fd = file_open_path(t, readonly, st, err);
	if (fd < 0)
		return fd;
	close(fd); /* qemu-nbd opens it again; that it can be opened is what we wanted to know */
	return 0;
}

static bool in_path(const char *program)
{
	char name[512];
	const char *dir = getenv("PATH");
	size_t len;

	for (dir = dir ? dir : "/usr/bin:/bin"; *dir; dir += len + (dir[len] == ':')) {
		len = strcspn(dir, ":");
		snprintf(name, sizeof(name), "%.*s/%s", (int)len, dir, program);
		if (!access(name, X_OK))
			return true;
	}
	return false;
}

/* Without starting a server: the next one would find the image locked. */
int qemu_check(const struct target *t, bool readonly, struct pvb_error *err)
{
	struct stat st;
	bool safe;
	int rc = file_cache(t, &safe, err);

	if (rc >= 0)
		rc = check_image(t, readonly, &st, err);
	if (!rc && !in_path(QEMU_NBD))
		rc = pvb_err(err, -ENOENT, "%s: %s images need " QEMU_NBD ", which is not installed", t->arg,
			     t->provider);
	return rc;
}

int qemu_prepare(const struct target *t, bool readonly, int fds[PROVIDER_MAX_FDS], unsigned *nr_fds, char identity[64],
		 struct pvb_error *err)
{
	struct stat st;
	int rc = check_image(t, readonly, &st, err);

	if (rc)
		return rc;
	rc = start_server(t, readonly, fds, err);
	if (rc)
		return rc;
	*nr_fds = 2;
	file_identity(&st, identity);
	return 0;
}
