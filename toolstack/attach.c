// SPDX-License-Identifier: GPL-2.0-or-later
/* attach.c: see attach.h. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "attach.h"

#define ESCAPE 0x1d /* Ctrl-] */

static struct termios before;
static volatile sig_atomic_t is_raw;

static void cooked(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	is_raw = 0;
}

static void on_signal(int sig)
{
	cooked();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void raw(void)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGQUIT };
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return; /* no terminal */
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], on_signal);
	t = before;
	cfmakeraw(&t);
	is_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* All of it; a console that is busy for long holds up its typist. */
static int put(int fd, const char *buf, ssize_t len)
{
	while (len > 0) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, buf, (size_t)len);

		if (n < 0 && errno == EAGAIN) {
			poll(&p, 1, -1);
			n = 0;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
		if (n > 0) {
			buf += n;
			len -= n;
		}
	}
	return 0;
}

/* -1: goes on, else an ATTACH_. */
static int typed(int fd, bool *more)
{
	char buf[512], *escape;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return -1;
	if (n <= 0) {
		*more = false;
		return -1;
	}
	escape = memchr(buf, ESCAPE, (size_t)n);
	if (put(fd, buf, escape ? escape - buf : n) < 0)
		return ATTACH_ENDED;
	return escape ? ATTACH_LEFT : -1;
}

static int shown(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return -1;
	if (n <= 0)
		return ATTACH_ENDED;
	return put(STDOUT_FILENO, buf, n) < 0 ? ATTACH_LEFT : -1; /* nobody looks any more */
}

static int join(int fd)
{
	bool more = true;
	int how = -1;

	while (how < 0) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = more ? STDIN_FILENO : -1, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents)
			how = shown(fd);
		if (how < 0 && p[1].revents)
			how = typed(fd, &more);
	}
	return how;
}

int attach_tty(const char *tty, struct pvb_error *err)
{
	int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), how;

	if (fd < 0)
		return pvb_err(err, -errno, "%s: %s", tty, strerror(errno));
	if (!isatty(fd)) {
		close(fd);
		return pvb_err(err, -ENOTTY, "%s: not a terminal", tty);
	}
	raw();
	how = join(fd);
	cooked();
	close(fd);
	return how;
}
