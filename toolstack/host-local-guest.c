// SPDX-License-Identifier: GPL-2.0-or-later
/* The process of a process guest: starting it, looking at it, sending it signals.
 *
 * A pid alone may be somebody else's by now; it is recorded with the process's start time and believed only
 * while both agree.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "host-local.h"

/* --- command line ------------------------------------------------------------------------------------ */

void local_argv_free(char **argv)
{
	for (char **a = argv; a && *a; a++)
		free(*a);
	free(argv);
}

/* One word from *text into buf.  false at the end; *bad when a quote is open. */
static bool next_word(const char **text, char *buf, bool *bad)
{
	const char *p = *text + strspn(*text, " \t");
	char quote = 0;

	if (!*p)
		return false;
	for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
		if (*p == '\\' && quote != '\'' && p[1])
			*buf++ = *++p;
		else if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = quote ? 0 : *p;
		else
			*buf++ = *p;
	}
	*buf = '\0';
	*bad = quote != 0;
	*text = p;
	return true;
}

int local_argv_split(const char *text, char ***argv, struct pvb_error *err)
{
	size_t room = strlen(text) / 2 + 2, nr = 0;
	char **a = calloc(room, sizeof(*a)), *buf = malloc(strlen(text) + 1);
	const char *at = text;
	bool bad = false;
	int rc = a && buf ? 0 : -ENOMEM;

	while (!rc && next_word(&at, buf, &bad)) {
		a[nr] = strdup(buf);
		rc = bad ? -EINVAL : a[nr] ? 0 : -ENOMEM;
		nr++;
	}
	free(buf);
	if (!rc && !nr)
		rc = -EINVAL;
	if (rc) {
		local_argv_free(a);
		return rc == -ENOMEM ? pvb_err(err, rc, "guest: out of memory") :
				       pvb_err(err, rc, "guest: \"%s\" is not a command", text);
	}
	*argv = a;
	return 0;
}

/* --- looking ----------------------------------------------------------------------------------------- */

/* Fields 3 (state), 14+15 (cpu time) and 22 (start time) of /proc/PID/stat, after the name in brackets. */
static int read_stat(pid_t pid, char *state, double *cpu, unsigned long long *start)
{
	unsigned long ut, st;
	char path[32], text[512], *p;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu",
			 state, &ut, &st, start) != 4)
		return -ESRCH;
	*cpu = (double)(ut + st) / (double)sysconf(_SC_CLK_TCK);
	return 0;
}

void local_proc_look(struct host *h, uint32_t domid, struct local_proc *p)
{
	char *text = local_recorded(h, domid, "pid");
	unsigned long long start, now_start;
	int pid;

	memset(p, 0, sizeof(*p));
	if (text && sscanf(text, "%d %llu", &pid, &start) == 2 && pid > 1 &&
	    read_stat(pid, &p->state, &p->cpu_seconds, &now_start) == 0 && start == now_start && p->state != 'Z')
		p->pid = pid;
	free(text);
}

int local_proc_signal(struct host *h, uint32_t domid, int sig)
{
	struct local_proc p;

	local_proc_look(h, domid, &p);
	if (!p.pid)
		return -ESRCH;
	return kill(p.pid, sig) ? -errno : 0;
}

/* --- starting ---------------------------------------------------------------------------------------- */

static void output_to_log(const struct host *h, const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/log", h->dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/log/%s.log", h->dir, name);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, 0);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0)
		fd = open("/dev/null", O_WRONLY);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
}

static void __attribute__((noreturn)) become_guest(struct host *h, uint32_t domid, const struct local_cfg *lc,
						   char **argv, int own_fd, bool paused, bool terminal)
{
	char text[256];

	signal(SIGPIPE, SIG_DFL);
	if (!terminal) {
		setsid();
		output_to_log(h, lc->name);
	}
	if (own_fd >= 0)
		fcntl(own_fd, F_SETFD, 0);
	snprintf(text, sizeof(text), "%s:%u", h->spec, domid);
	setenv("PVBUS_HV", text, 1);
	snprintf(text, sizeof(text), "%s/dom/%u/store", h->dir, domid);
	setenv("XENSTORED_PATH", text, 1);
	if (paused)
		raise(SIGSTOP);
	execvp(argv[0], argv);
	dprintf(2, "pvl: guest: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int local_proc_start(struct host *h, uint32_t domid, const struct local_cfg *lc, int own_fd, bool paused, bool terminal,
		     pid_t *out, struct pvb_error *err)
{
	unsigned long long start;
	char text[48], state, **argv;
	double cpu;
	pid_t pid;
	int rc = local_argv_split(lc->guest, &argv, err);

	if (rc)
		return rc;
	pid = fork();
	if (pid == 0)
		become_guest(h, domid, lc, argv, own_fd, paused, terminal);
	local_argv_free(argv);
	if (pid < 0)
		return pvb_err(err, -errno, "starting the guest: %s", strerror(errno));
	if (paused)
		waitpid(pid, NULL, WUNTRACED); /* until it has stopped itself */
	rc = read_stat(pid, &state, &cpu, &start);
	if (!rc) {
		snprintf(text, sizeof(text), "%d %llu", (int)pid, start);
		rc = local_record(h, domid, "pid", text);
	}
	if (rc) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return pvb_err(err, rc, "starting the guest: %s", strerror(-rc));
	}
	*out = pid;
	return 0;
}
