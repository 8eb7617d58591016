/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox.c: the list of what a worker may still do. */
#include <errno.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include "sandbox.h"

/* What each is for stands beside it: a line without a reason does not belong here. */
static const int calls[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev),          /* event devices, eventfds, log, TAPs */
	SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),  /* images */
	SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(fallocate),
	SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(fstatfs), SCMP_SYS(statx), SCMP_SYS(fcntl),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),                       /* the ring exists already */
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mprotect), SCMP_SYS(brk), /* memory */
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(eventfd2),     /* waiting */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
	SCMP_SYS(getrusage),                                                         /* are we in the way (polling.h)? */
	SCMP_SYS(futex), SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield),           /* C library */
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(tgkill),                                                            /* abort() */
	SCMP_SYS(getrandom), SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom),  /* supervisor, fabric, NBD server */
	SCMP_SYS(accept4),                                                           /* clients of a console */
	SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
};

/* ioctl is many calls: these, on descriptors the worker holds. */
static const unsigned long ioctls[] = {
	IOCTL_GNTDEV_MAP_GRANT_REF, IOCTL_GNTDEV_UNMAP_GRANT_REF, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, IOCTL_GNTDEV_GRANT_COPY,
	IOCTL_GNTDEV_SET_UNMAP_NOTIFY, IOCTL_EVTCHN_BIND_INTERDOMAIN, IOCTL_EVTCHN_UNBIND, IOCTL_EVTCHN_NOTIFY,
	BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKDISCARD, BLKSECDISCARD, BLKROGET,
	TUNSETOFFLOAD, TUNSETCARRIER, TUNSETQUEUE,           /* of the TAPs it was given */
};

static int install_filter(struct pvb_error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	unsigned i;
	int rc = ctx ? 0 : -ENOMEM;

	/* A data path of a handful of calls per request feels a long list: calls that are always allowed are
	 * answered from the kernel's bitmap, so only ioctl, which is not, walks the filter: put it first. */
	if (rc == 0)
		rc = seccomp_syscall_priority(ctx, SCMP_SYS(ioctl), 255);
	for (i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	for (i = 0; rc == 0 && i < sizeof(ioctls) / sizeof(ioctls[0]); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				      SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffull, ioctls[i]));
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc < 0 ? pvb_err(err, rc, "system call filter: %s", strerror(-rc)) : 0;
}

static int drop_uid(uint32_t uid, struct pvb_error *err)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return pvb_err(err, -errno, "worker can not become uid %u: %s", uid, strerror(errno));
	return 0;
}

int sandbox_enter(const struct sandbox *s, struct pvb_error *err)
{
	static const struct rlimit none = { 0, 0 };
	int rc = 0;

	setrlimit(RLIMIT_CORE, &none);
	if (s->uid)
		rc = drop_uid(s->uid, err);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = pvb_err(err, -errno, "no_new_privs: %s", strerror(errno));
	if (rc == 0 && s->seccomp)
		rc = install_filter(err);
	return rc;
}
