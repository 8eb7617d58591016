// SPDX-License-Identifier: GPL-2.0-or-later
/* Processes that a benchmark starts: where they run and at which priority, what they have cost, and that none is left. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"
#include "loop.h"

#define RT_PRIORITY 2        /* above everything else that is not of the kernel */
#define RT_SECONDS 10        /* without a sleep: then it is stuck, and nobody else would get this processor ever again */
#define END_MS 5000

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

void proc_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool proc_stopped(void)
{
	return stopped != 0;
}

void proc_place(pid_t pid, int cpu, bool realtime)
{
	struct sched_param rt = { .sched_priority = RT_PRIORITY }, none = { 0 };
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == cpu)
			CPU_SET(i, &set);
	/* what can not be had is seen in the results: by the settings, and by what is disturbed */
	(void)sched_setaffinity(pid, sizeof(set), &set);
	(void)sched_setscheduler(pid, realtime ? SCHED_FIFO : SCHED_OTHER, realtime ? &rt : &none);
}

void proc_attend(void)
{
	struct sched_param rt = { .sched_priority = RT_PRIORITY + 1 };

	(void)sched_setscheduler(0, SCHED_FIFO, &rt);
}

static void become(const char *const *args, int cpu, bool realtime, const char *log, int out, int to)
{
	const char *path = getenv("PATH");
	char more[4096];
	sigset_t none;
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), in = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0); /* the terminal's SIGINT is for us alone */
	if (fd < 0 || in < 0 || dup2(in, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
	    (to && dup2(out, to) < 0))
		_exit(126);
	snprintf(more, sizeof(more), "%s:/usr/local/sbin:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	setenv("PATH", more, 1);
	if (realtime) {
		struct rlimit bound = { RT_SECONDS * 1000000u, RT_SECONDS * 1000000u };

		setrlimit(RLIMIT_RTTIME, &bound);
	}
	proc_place(0, cpu, realtime);
	execvp(args[0], (char *const *)args);
	fprintf(stderr, "%s: %s\n", args[0], strerror(errno));
	_exit(127);
}

int proc_start(struct proc *p, const char *const *args, int cpu, bool realtime, const char *log, int fd,
	       struct pvb_error *err)
{
	int fds[2] = { -1, -1 };

	*p = (struct proc){ 0 };
	if (fd && pipe2(fds, O_CLOEXEC) < 0)
		return pvb_err(err, -errno, "%s: no pipe", args[0]);
	p->pid = fork();
	if (p->pid == 0)
		become(args, cpu, realtime, log, fds[1], fd);
	if (fd)
		close(fds[1]);
	if (p->pid < 0) {
		p->pid = 0;
		if (fd)
			close(fds[0]);
		return pvb_err(err, -EAGAIN, "%s: can not be started: %s", args[0], strerror(errno));
	}
	p->out = fd ? fdopen(fds[0], "r") : NULL;
	return 0;
}

int proc_ready(struct proc *p, const char *name, const char *log, struct pvb_error *err)
{
	char words[160];
	siginfo_t end = { 0 };

	while (fgetc(p->out) != EOF)
		;
	fclose(p->out);
	p->out = NULL;
	if (waitid(P_PID, (id_t)p->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == 0)
		return 0;
	proc_last_words(log, words, sizeof(words));
	return pvb_err(err, -EIO, "%s: %s", name, words);
}

int proc_wait(struct proc *p, int timeout_ms)
{
	uint64_t until = pvb_now_ms() + (uint64_t)timeout_ms;
	struct timespec nap = { .tv_nsec = 2000000 };
	int status = 0, rc = -ETIMEDOUT;
	pid_t got = 0;

	while (p->pid && (got = waitpid(p->pid, &status, WNOHANG)) == 0 && pvb_now_ms() < until)
		nanosleep(&nap, NULL); /* there is no wait with a limit */
	if (p->pid && got == 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, &status, 0);
	} else if (p->pid && got > 0) {
		rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	if (p->out)
		fclose(p->out);
	*p = (struct proc){ 0 };
	return rc;
}

void proc_end(struct proc *p)
{
	if (!p->pid)
		return;
	kill(p->pid, SIGTERM);
	proc_wait(p, END_MS);
}

int proc_run(const char *const *args, const char *log, int timeout_ms, struct pvb_error *err)
{
	char words[160];
	struct proc p;
	int rc = proc_start(&p, args, -1, false, log, 0, err);

	if (rc == 0)
		rc = proc_wait(&p, timeout_ms);
	if (rc == 0)
		return 0;
	proc_last_words(log, words, sizeof(words));
	return rc == -ETIMEDOUT ? pvb_err(err, rc, "%s: not done after %d s", args[0], timeout_ms / 1000) :
				  pvb_err(err, -EIO, "%s: status %d: %s", args[0], rc, words);
}

/* --- what they have cost ------------------------------------------------------------------------------ */

uint64_t proc_cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t switches_of(const char *path)
{
	unsigned long long n = 0;
	char line[128];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

uint64_t proc_switches(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return switches_of(path);
}

uint64_t proc_all_switches(pid_t pid)
{
	uint64_t sum = 0;
	char path[64];
	glob_t found;

	snprintf(path, sizeof(path), "/proc/%d/task/*/status", (int)pid);
	if (glob(path, 0, NULL, &found))
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++)
		sum += switches_of(found.gl_pathv[i]);
	globfree(&found);
	return sum;
}

void proc_last_words(const char *log, char *buf, size_t len)
{
	FILE *f = fopen(log, "re");
	char line[512];

	snprintf(buf, len, "(no word)");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			snprintf(buf, len, "%.*s", (int)len - 1, line);
	}
	if (f)
		fclose(f);
}
