/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_TRAP_H
#define PVB_TESTS_TRAP_H
/* Watch every instruction that touches a piece of memory.
 *
 * The memory is protected; an access faults, is let through for this one instruction (the CPU's trap
 * flag), and reported.  Thus a test can count the fetches the compiler really made, or look at memory
 * after each single store.  x86-64 Linux only and not under ThreadSanitizer, which makes accesses of
 * its own; elsewhere TRAP_WORKS is 0.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define TRAP_TSAN 1
#endif
#endif
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__) && !defined(TRAP_TSAN)
#define TRAP_WORKS 1
#define TRAP_FLAG 0x100

static struct trap {
	char *mem;
	size_t len;
	int prot;                /* while armed: PROT_NONE reports loads and stores, PROT_READ stores */
	void (*fn)(void *arg);   /* called after each access, memory accessible */
	void *arg;
	volatile unsigned count;
	volatile bool stray;     /* a fault that was not ours: the handler gave up */
} trap;

static void trap_segv(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	char *addr = si->si_addr;

	if (addr < trap.mem || addr >= trap.mem + trap.len) {
		trap.stray = true;
		signal(SIGSEGV, SIG_DFL);
		return;
	}
	mprotect(trap.mem, trap.len, PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void trap_step(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;

	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	trap.count++;
	if (trap.fn)
		trap.fn(trap.arg);
	mprotect(trap.mem, trap.len, trap.prot);
}

/* mem and len are whole pages.  Single-threaded. */
static void trap_arm(void *mem, size_t len, int prot, void (*fn)(void *arg), void *arg)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO };

	trap = (struct trap){ .mem = mem, .len = len, .prot = prot, .fn = fn, .arg = arg };
	sa.sa_sigaction = trap_segv;
	sigaction(SIGSEGV, &sa, NULL);
	sa.sa_sigaction = trap_step;
	sigaction(SIGTRAP, &sa, NULL);
	mprotect(mem, len, prot);
}

/* How many accesses there were. */
static unsigned trap_disarm(void)
{
	mprotect(trap.mem, trap.len, PROT_READ | PROT_WRITE);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
	return trap.count;
}
#else
#define TRAP_WORKS 0
#endif
#endif
