/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console.c: see console.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bus/nodes.h"
#include "console.h"
#include "log.h"
#include "supervisor.h"

#define BACKEND "/local/domain/0/backend/console"
#define PAUSE_MS 50u
#define PAUSE_MAX_MS 30000u
#define LIVED_MS 10000u  /* a process that lived so long was no failure of ours to start it */
#define OVERDUE_MS 3000u /* for a process that was told to end */
#define DIAL_MS 100u     /* not more often, whatever the process asks */

static void step(struct console *c);

/* ---- its place in the store ------------------------------------------------------------------------------ */

struct change {
	const char *dir, *key, *text; /* text NULL: takes it away */
};

/* A directory that has just been taken away must not come back with one key in it. */
static int change_txn(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct change *c = arg;
	char path[160];

	if (!pvb_store_exists(st, t, c->dir))
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/%s", c->dir, c->key);
	return c->text ? pvb_store_write(st, t, path, c->text) : pvb_store_rm(st, t, path);
}

static int set_text(struct console *c, const char *dir, const char *key, const char *text)
{
	struct change ch = { dir, key, text };
	int rc = pvb_store_txn(c->sup->store, change_txn, &ch);

	if (rc < 0 && rc != -ENOENT)
		log_of(c->domid, LOG_LEVEL_ERR, "console %u: %s/%s can not be written: %s", c->domid, dir, key, strerror(-rc));
	return rc;
}

/* Said once; "" when it is over. */
static void set_error(struct console *c, const char *text)
{
	if (strcmp(c->error, text) == 0)
		return;
	snprintf(c->error, sizeof(c->error), "%s", text);
	if (*text)
		log_of(c->domid, LOG_LEVEL_WARN, "console %u: %s", c->domid, text);
	set_text(c, c->back, pvb_con_back[CON_B_ERROR].name, *text ? text : NULL);
}

/* Unless something that is asked for can not be had. */
static void all_well(struct console *c)
{
	if (c->up && !c->partly && !c->wrong[0])
		set_error(c, "");
}

/* ---- where it is served ----------------------------------------------------------------------------------- */

static const char *tty_of(const struct console *c)
{
	for (unsigned i = 0; i < c->spec.nr_ends; i++)
		if (c->open[i].slave >= 0)
			return c->open[i].tty;
	return "";
}

/* Not before the console is ours: until then the store names xenconsoled's terminal, if any. */
static void tell_tty(struct console *c)
{
	const char *tty = tty_of(c);

	if (strcmp(c->told, tty) != 0 && set_text(c, c->front, pvb_con_front[CON_F_TTY].name, tty) == 0)
		snprintf(c->told, sizeof(c->told), "%s", tty);
}

/* The same descriptor serves both: what differs is only what is done with it. */
static bool same_place(const struct con_end *a, const struct con_end *b)
{
	return a->kind == b->kind && a->dial == b->dial && strcmp(a->where, b->where) == 0;
}

static void close_ends(const struct con_spec *spec, struct con_open *open)
{
	for (unsigned i = 0; i < spec->nr_ends; i++)
		con_end_close(&spec->end[i], &open[i]);
}

static unsigned nr_open(const struct console *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->spec.nr_ends; i++)
		n += c->open[i].fd >= 0;
	return n;
}

/* What is open already and stays is moved from the old places to the new ones. */
static void keep_ends(struct console *c, const struct con_spec *spec, struct con_open *open)
{
	for (unsigned i = 0; i < spec->nr_ends; i++)
		for (unsigned k = 0; k < c->spec.nr_ends; k++)
			if (same_place(&spec->end[i], &c->spec.end[k]) && c->open[k].fd >= 0) {
				open[i] = c->open[k];
				c->open[k] = CON_OPEN_NONE;
			}
}

/* 0, or the first thing that went wrong: the others are open. */
static int open_ends(const struct con_spec *spec, struct con_open *open, struct pvb_error *err)
{
	struct pvb_error e;
	int rc = 0;

	for (unsigned i = 0; i < spec->nr_ends; i++)
		if (open[i].fd < 0 && con_end_open(&spec->end[i], &open[i], &e) < 0 && rc == 0)
			rc = pvb_err(err, e.code, "%s", e.text);
	return rc;
}

/* Would the places that are new be to be had?  They are closed again. */
static int try_ends(const struct console *c, const struct con_spec *spec, struct pvb_error *err)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < spec->nr_ends; i++) {
		struct con_open o = CON_OPEN_NONE;
		bool there = false;

		for (unsigned k = 0; k < c->spec.nr_ends; k++)
			there |= same_place(&spec->end[i], &c->spec.end[k]) && c->open[k].fd >= 0;
		if (!there)
			rc = con_end_open(&spec->end[i], &o, err);
		con_end_close(&spec->end[i], &o);
	}
	return rc;
}

/* ---- its process ------------------------------------------------------------------------------------------ */

static void kill_process(const struct console *c)
{
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

static void overdue(void *arg)
{
	kill_process(arg);
}

/* Closing the socket is how it learns that it is to end. */
static void hang_up(struct console *c)
{
	pvb_source_free(&c->src);
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
	c->up = false;
	if (c->pid && !c->overdue)
		pvb_loop_timer(c->sup->loop, OVERDUE_MS, overdue, c, &c->overdue);
}

static void on_retry(void *arg)
{
	struct console *c = arg;

	c->hold = false;
	step(c);
}

static void retry_in(struct console *c, unsigned ms)
{
	if (!c->retry)
		pvb_loop_timer(c->sup->loop, ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS, on_retry, c, &c->retry);
}

static void try_again(struct console *c)
{
	c->pause_ms = c->pause_ms ? c->pause_ms * 2 : PAUSE_MS;
	if (c->pause_ms > PAUSE_MAX_MS)
		c->pause_ms = PAUSE_MAX_MS;
	retry_in(c, c->pause_ms);
}

static void park(struct console *c, const char *why)
{
	char text[sizeof(c->error)];

	snprintf(text, sizeof(text), "the guest broke the protocol: %.180s; not served any more", why);
	c->parked = true;
	hang_up(c);
	set_error(c, text);
}

static void give(struct console *c, unsigned end, int fd, uint64_t size)
{
	struct ipc_msg m = { .type = IPC_CON_GIVE, .domid = c->domid, .devid = end, .num = size };

	if (ipc_send(c->sock, &m, &fd, fd >= 0) < 0)
		hang_up(c); /* and another one follows */
}

static void dial(struct console *c, unsigned end)
{
	struct pvb_error err = { 0 };
	uint64_t now = pvb_now_ms();
	int fd = -1;

	if (now - c->dialled >= DIAL_MS) {
		fd = con_end_dial(&c->spec.end[end], &err);
		log_of(c->domid, LOG_LEVEL_DEBUG, "console %u: dials %s%s%s", c->domid, c->spec.end[end].text, fd < 0 ? ": " : "",
		       fd < 0 ? err.text : "");
	}
	c->dialled = now;
	give(c, end, fd, 0);
	if (fd >= 0)
		close(fd);
}

static void rotate(struct console *c, unsigned end)
{
	struct con_open *o = &c->open[end];
	struct pvb_error err;
	struct stat st;

	if (fstat(o->fd, &st) < 0 || (uint64_t)st.st_size < c->spec.end[end].rotate) {
		log_of(c->domid, LOG_LEVEL_ERR, "console %u: its process wants to rotate a log that is not full: killed", c->domid);
		kill_process(c);
	} else if (con_end_rotate(&c->spec.end[end], o, &err) == 0) {
		give(c, end, o->fd, o->size);
	} else {
		set_error(c, err.text); /* it would grow without end: no log from now on */
		give(c, end, -1, 0);
	}
}

static void came_up(struct console *c, const struct ipc_msg *m)
{
	if (m->rc == -EPROTO) {
		park(c, m->u.text);
	} else if (m->rc < 0) {
		set_error(c, m->u.text);
		hang_up(c);
		c->hold = true;
		try_again(c);
	} else {
		c->up = true;
		tell_tty(c);
		if (!c->partly) {
			c->pause_ms = 0;
			all_well(c);
		}
		log_of(c->domid, LOG_LEVEL_INFO, "console %u: served on %s (%s) by process %d", c->domid, tty_of(c), c->text, (int)c->pid);
	}
}

static void take(struct console *c, const struct ipc_msg *m)
{
	unsigned end = m->devid;
	bool known = end < c->spec.nr_ends;

	if (m->type == IPC_CON_UP && !c->up)
		came_up(c, m);
	else if (m->type == IPC_CON_BROKEN) /* before it is up, too */
		park(c, m->u.text);
	else if (m->type == IPC_CON_DIAL && known && c->spec.end[end].dial)
		dial(c, end);
	else if (m->type == IPC_CON_ROTATE && known && c->spec.end[end].kind == CON_LOG && c->open[end].fd >= 0)
		rotate(c, end);
	else if (m->type == IPC_CON_LOG && known)
		log_of(c->domid, LOG_LEVEL_ERR, "console %u: %s: %s", c->domid, c->spec.end[end].text, m->u.text);
	else
		kill_process(c); /* no word of ours */
}

static void on_message(void *arg, uint32_t events)
{
	struct console *c = arg;
	int fds[IPC_MAX_FDS], rc = 0;
	unsigned nr_fds;
	struct ipc_msg m;

	for (unsigned n = 0; n < 16 && c->sock >= 0 && (rc = ipc_recv(c->sock, &m, fds, &nr_fds)) > 0; n++) {
		ipc_close_fds(fds, nr_fds);
		m.u.text[sizeof(m.u.text) - 1] = 0;
		for (char *p = m.u.text; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
		take(c, &m);
	}
	if (rc < 0 && c->sock >= 0)
		hang_up(c); /* its death follows */
}

/* In the child, as guest.c's. */
static void exec_process(const struct console *c, int sock)
{
	const struct sup_options *o = &c->sup->o;
	char sockarg[16], domarg[16], uidarg[16];
	sigset_t none;

	snprintf(sockarg, sizeof(sockarg), "%d", sock);
	snprintf(domarg, sizeof(domarg), "%u", c->domid);
	snprintf(uidarg, sizeof(uidarg), "%u", o->uid_base ? o->uid_base + c->domid : 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fcntl(sock, F_SETFD, 0);
	execl("/proc/self/exe", "pvbackd-console", "--console-worker", sockarg, domarg, c->sup->hv, uidarg, o->sandbox ? "1" : "0",
	      (char *)NULL);
	_exit(127);
}

static int send_start(struct console *c)
{
	struct ipc_msg m = { .type = IPC_CON_START, .domid = c->domid };
	int fds[IPC_MAX_FDS] = { c->stats_fd };
	unsigned nr_fds = 1;
	struct stat st;

	m.u.con.port = (uint32_t)c->port;
	m.u.con.rate = c->spec.rate;
	m.u.con.nr_ends = c->spec.nr_ends;
	for (unsigned i = 0; i < c->spec.nr_ends; i++) {
		const struct con_end *e = &c->spec.end[i];

		m.u.con.end[i].kind = e->kind;
		m.u.con.end[i].dial = e->dial;
		m.u.con.end[i].telnet = e->telnet;
		m.u.con.end[i].rotate = e->rotate;
		m.u.con.end[i].fd = c->open[i].fd >= 0;
		if (c->open[i].fd < 0)
			continue;
		fds[nr_fds++] = c->open[i].fd;
		if (e->kind == CON_LOG && fstat(c->open[i].fd, &st) == 0)
			m.u.con.end[i].size = (uint64_t)st.st_size;
	}
	return ipc_send(c->sock, &m, fds, nr_fds);
}

static int start_process(struct console *c, struct pvb_error *err)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return pvb_err(err, -errno, "its process: socket: %s", strerror(errno));
	c->sock = pair[0];
	c->pid = fork();
	if (c->pid == 0)
		exec_process(c, pair[1]);
	close(pair[1]);
	if (c->pid < 0) {
		rc = -errno;
		c->pid = 0;
		return pvb_err(err, rc, "its process: fork: %s", strerror(-rc));
	}
	c->started = pvb_now_ms();
	rc = pvb_loop_fd(c->sup->loop, c->sock, EPOLLIN, on_message, c, &c->src);
	if (rc == 0)
		rc = send_start(c);
	return rc < 0 ? pvb_err(err, rc, "its process: %s", strerror(-rc)) : 0;
}

static void start(struct console *c)
{
	struct pvb_error err;

	if (start_process(c, &err) == 0)
		return;
	hang_up(c);
	set_error(c, err.text);
	c->hold = true;
	try_again(c);
}

/* ---- its life --------------------------------------------------------------------------------------------- */

static void free_console(struct console *c)
{
	struct console **at;

	for (at = &c->sup->consoles; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	hang_up(c);
	pvb_source_free(&c->overdue);
	pvb_source_free(&c->retry);
	pvb_store_unwatch(&c->watch);
	close_ends(&c->spec, c->open);
	if (c->stats)
		munmap(c->stats, sizeof(*c->stats));
	if (c->stats_fd >= 0)
		close(c->stats_fd);
	free(c);
}

/* The directories are gone.  Its process has the guest's last words to write down before it ends. */
static void leave(struct console *c)
{
	log_of(c->domid, LOG_LEVEL_INFO, "console %u: gone", c->domid);
	c->gone = true;
	pvb_store_unwatch(&c->watch);
	pvb_source_free(&c->retry);
	hang_up(c);
	if (!c->pid)
		free_console(c);
}

/* What its place is to be, by the store or by default: false if that can not be said, and err says why. */
static int wanted(const struct console *c, const char *serve, char text[CON_TEXT_MAX], struct con_spec *spec, struct pvb_error *err)
{
	char path[64], *name = NULL;
	int rc = 0;

	if (serve) {
		snprintf(text, CON_TEXT_MAX, "%s", serve);
	} else {
		snprintf(path, sizeof(path), "/local/domain/%u/name", c->domid);
		pvb_store_read(c->sup->store, PVB_NO_TXN, path, &name);
		rc = con_spec_expand(c->sup->o.consoles, name ? name : "", c->domid, text, err);
		free(name);
	}
	if (rc == 0)
		rc = con_spec_parse(text, spec, err);
	return rc < 0 ? pvb_err_prefix(err, rc, "serve") : 0;
}

/* From what was to what is to be.  What can not be opened now is tried again. */
static void change_ends(struct console *c, const char *text, const struct con_spec *spec)
{
	bool same = strcmp(text, c->text) == 0;
	unsigned before = nr_open(c);
	struct con_open open[CON_MAX_ENDS];
	struct pvb_error err;

	for (unsigned i = 0; i < CON_MAX_ENDS; i++)
		open[i] = CON_OPEN_NONE;
	keep_ends(c, spec, open);
	close_ends(&c->spec, c->open); /* before: another place may have their addresses */
	c->partly = open_ends(spec, open, &err) < 0;
	c->spec = *spec;
	memcpy(c->open, open, sizeof(open));
	snprintf(c->text, sizeof(c->text), "%s", text);
	if (c->partly) {
		set_error(c, err.text);
		try_again(c);
	}
	if (same && nr_open(c) == before)
		return;
	c->parked = false;
	hang_up(c); /* the next one gets them */
}

static void look_at_ends(struct console *c, const char *serve)
{
	char text[CON_TEXT_MAX];
	struct pvb_error err;
	struct con_spec spec;

	if (c->wrong[0] && serve && strcmp(serve, c->wrong) == 0)
		return;
	c->wrong[0] = 0;
	if (wanted(c, serve, text, &spec, &err) < 0) {
		snprintf(c->wrong, sizeof(c->wrong), "%s", serve ? serve : text);
		set_error(c, err.text);
		if (c->text[0])
			return; /* as it was */
		strcpy(text, "pty");
		con_spec_parse(text, &spec, NULL);
	}
	if (strcmp(text, c->text) != 0 || (c->partly && !c->retry))
		change_ends(c, text, &spec);
	else
		all_well(c);
}

/* What can be done now.  The guest's port is 0 as long as libxl has not made it. */
static void step(struct console *c)
{
	struct pvb_value f[CON_F_NR], b[CON_B_NR];
	struct pvb_store *st = c->sup->store;
	struct pvb_error err;

	if (c->gone || c->sup->stopping)
		return;
	if (!pvb_store_exists(st, PVB_NO_TXN, c->back) || !pvb_store_exists(st, PVB_NO_TXN, c->front)) {
		leave(c);
		return;
	}
	if (pvb_nodes_read(st, PVB_NO_TXN, c->front, pvb_con_front, CON_F_NR, f, &err) < 0) {
		set_error(c, err.text);
		return;
	}
	if (pvb_nodes_read(st, PVB_NO_TXN, c->back, pvb_con_back, CON_B_NR, b, &err) < 0) {
		pvb_nodes_free(f, CON_F_NR);
		set_error(c, err.text);
		return;
	}
	if (f[CON_F_PORT].present && f[CON_F_TYPE].str && strcmp(f[CON_F_TYPE].str, "xenconsoled") == 0) {
		look_at_ends(c, b[CON_B_SERVE].str);
		if (f[CON_F_PORT].num != c->port || f[CON_F_RING_REF].num != c->ring_ref) {
			c->port = f[CON_F_PORT].num;
			c->ring_ref = f[CON_F_RING_REF].num;
			c->parked = false;
			hang_up(c);
		}
		if (!c->pid && !c->parked && !c->hold)
			start(c);
	}
	pvb_nodes_free(f, CON_F_NR);
	pvb_nodes_free(b, CON_B_NR);
}

static void on_front(void *arg, const char *path)
{
	step(arg);
}

static struct console *find(struct supervisor *sup, uint32_t domid)
{
	struct console *c = sup->consoles;

	while (c && (c->domid != domid || c->gone))
		c = c->next;
	return c;
}

static void make_stats(struct console *c)
{
	c->stats_fd = memfd_create("console-stats", MFD_CLOEXEC);
	if (c->stats_fd < 0 || ftruncate(c->stats_fd, sizeof(*c->stats)) < 0)
		return;
	c->stats = mmap(NULL, sizeof(*c->stats), PROT_READ, MAP_SHARED, c->stats_fd, 0);
	if (c->stats == MAP_FAILED)
		c->stats = NULL;
}

static struct console *new_console(struct supervisor *sup, uint32_t domid)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->sup = sup;
	c->domid = domid;
	c->sock = c->stats_fd = -1;
	for (unsigned i = 0; i < CON_MAX_ENDS; i++)
		c->open[i] = CON_OPEN_NONE;
	snprintf(c->back, sizeof(c->back), BACKEND "/%u/0", domid);
	snprintf(c->front, sizeof(c->front), "/local/domain/%u/console", domid);
	make_stats(c);
	if (!c->stats || pvb_store_watch(sup->store, c->front, on_front, c, &c->watch) < 0) {
		log_of(domid, LOG_LEVEL_ERR, "console %u: no memory for it", domid);
		c->next = sup->consoles;
		sup->consoles = c;
		free_console(c);
		return NULL;
	}
	c->next = sup->consoles;
	sup->consoles = c;
	return c;
}

static struct console *look(struct supervisor *sup, uint32_t domid)
{
	struct console *c = find(sup, domid);
	char back[96];

	snprintf(back, sizeof(back), BACKEND "/%u/0", domid);
	if (!c && pvb_store_exists(sup->store, PVB_NO_TXN, back))
		c = new_console(sup, domid);
	if (c)
		step(c);
	return find(sup, domid);
}

static void on_backend(void *arg, const char *path)
{
	struct supervisor *sup = arg;
	char **names;
	uint64_t id;
	unsigned nr, domid;

	if (sscanf(path, BACKEND "/%u", &domid) == 1) {
		look(sup, domid);
		return;
	}
	if (pvb_store_list(sup->store, PVB_NO_TXN, BACKEND, &names, &nr) < 0)
		nr = 0;
	for (unsigned i = 0; i < nr; i++)
		if (pvb_parse_u64(names[i], 0, 0x7fef, &id) == 0)
			look(sup, (uint32_t)id);
	if (nr)
		pvb_store_list_free(names, nr);
	for (struct console *c = sup->consoles, *next; c; c = next) { /* what is no longer there */
		next = c->next;
		step(c);
	}
}

bool console_reaped(struct supervisor *sup, pid_t pid, int status)
{
	struct console *c = sup->consoles;
	bool meant;

	while (c && c->pid != pid)
		c = c->next;
	if (!c)
		return false;
	meant = c->sock < 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	c->pid = 0;
	hang_up(c);
	pvb_source_free(&c->overdue);
	if (!meant) {
		c->deaths++;
		log_of(c->domid, LOG_LEVEL_ERR, "console %u: its process %d %s %d", c->domid, (int)pid,
		       WIFSIGNALED(status) ? "died by signal" : "ended with status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	if (c->gone) {
		free_console(c);
		return true;
	}
	c->soon = meant || pvb_now_ms() - c->started >= LIVED_MS ? 0 : c->soon + 1;
	if (c->soon > 1) {
		c->hold = true;
		retry_in(c, PAUSE_MS << (c->soon < 10 ? c->soon : 10));
	}
	step(c);
	return true;
}

int console_serve(struct supervisor *sup, uint32_t domid, const char *text, struct pvb_error *err)
{
	struct console *c = sup->o.consoles ? look(sup, domid) : NULL;
	struct con_spec spec;
	int rc;

	if (!sup->o.consoles)
		return pvb_err(err, -EOPNOTSUPP, "this pvbackd serves no consoles (pvbackd --consoles)");
	if (!c)
		return pvb_err(err, -ENOENT, "domain %u has no console", domid);
	rc = con_spec_parse(text, &spec, err);
	if (rc == 0)
		rc = try_ends(c, &spec, err);
	if (rc == 0) {
		c->parked = false;
		rc = set_text(c, c->back, pvb_con_back[CON_B_SERVE].name, text);
		if (rc < 0)
			pvb_err(err, rc, "%s can not be written: %s", c->back, strerror(-rc));
	}
	if (rc == 0) {
		c->pause_ms = 0;
		c->hold = false;
		pvb_source_free(&c->retry);
		step(c);
		if (c->partly)
			rc = pvb_err(err, -EIO, "%s", c->error);
	}
	return rc;
}

int consoles_open(struct supervisor *sup, struct pvb_error *err)
{
	struct con_spec spec;
	char text[CON_TEXT_MAX];
	int rc;

	if (!sup->o.consoles)
		return 0;
	rc = con_spec_expand(sup->o.consoles, "name", 0, text, err);
	if (rc == 0)
		rc = con_spec_parse(text, &spec, err);
	if (rc < 0)
		return pvb_err_prefix(err, rc, "--consoles");
	if (sup->domid != 0)
		return pvb_err(err, -EINVAL, "--consoles: they are domain 0's to serve, this is domain %u", sup->domid);
	rc = pvb_store_watch(sup->store, BACKEND, on_backend, sup, &sup->console_watch);
	return rc < 0 ? pvb_err(err, rc, "watch on " BACKEND ": %s", strerror(-rc)) : 0;
}

void consoles_close(struct supervisor *sup)
{
	pvb_store_unwatch(&sup->console_watch);
	while (sup->consoles) {
		/* another program's terminal may have that name next */
		if (sup->consoles->told[0])
			set_text(sup->consoles, sup->consoles->front, pvb_con_front[CON_F_TTY].name, "");
		free_console(sup->consoles);
	}
}
