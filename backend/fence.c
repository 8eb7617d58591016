/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fence.c: see fence.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "fence.h"

static struct flock lock_of(off_t byte, short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
}

int fence_fd(int fd, off_t byte)
{
	struct flock fl = lock_of(byte, F_RDLCK);
	int flags = fcntl(fd, F_GETFL), own;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, (flags & (O_ACCMODE | O_DIRECT | O_DSYNC)) | O_CLOEXEC | O_NONBLOCK);
	if (own < 0 && errno == ENXIO) /* a socket */
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	else if (own >= 0 && fcntl(own, F_OFD_SETLK, &fl) < 0 && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOLCK) {
		int rc = -errno;

		close(own);
		return rc;
	}
	return own < 0 ? -errno : own;
}

bool fence_open(int fd, off_t byte)
{
	struct flock fl = lock_of(byte, F_WRLCK);

	return fcntl(fd, F_OFD_GETLK, &fl) < 0 || fl.l_type == F_UNLCK;
}
