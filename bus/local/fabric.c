/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fabric's server: its directory, its start and its end.  What it serves is in ctl.c and store-*.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fabric-int.h"
#include "store.h"

void pvb_fabric_defaults(struct pvb_fabric_options *opt)
{
	*opt = (struct pvb_fabric_options){
		.quota = {
			.nodes = 1000, .watches = 128, .transactions = 10, .outstanding = 20, .txn_nodes = 1024,
			.perms = 5, .node_size = 2048, .path_max = 2048, .memory_soft = 2u << 20,
			.memory_hard = 5u << 19, .event_timeout_ms = 20000, .connections = 32,
			.backlog_max = 16u << 20,
		},
		.dom0_pages = 65536,
	};
}

/* ---- the directory ---------------------------------------------------------------------------------- */

static int make_dirs(const char *dir, struct pvb_error *err)
{
	char path[4096], *p;
	int n;

	n = snprintf(path, sizeof(path), "%s/dom", dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return pvb_err(err, -ENAMETOOLONG, "local fabric: directory name of %d bytes, at most %zu", n,
			       sizeof(path) - 5);
	for (p = path + 1; ; *p++ = '/') {
		p += strcspn(p, "/");
		if (*p == '\0')
			break;
		*p = '\0';
		if (mkdir(path, 0711) < 0 && errno != EEXIST)
			return pvb_err(err, -errno, "local fabric: can not make %s: %s", path, strerror(errno));
	}
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return pvb_err(err, -errno, "local fabric: can not make %s: %s", path, strerror(errno));
	return 0;
}

/* In a directory of somebody else's our sockets could be replaced by his. */
static int check_owner(const char *dir, struct pvb_error *err)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		return pvb_err(err, -errno, "local fabric: %s: %s", dir, strerror(errno));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return pvb_err(err, -EPERM, "local fabric: %s belongs to uid %u, not to %u", dir, st.st_uid, geteuid());
	if (st.st_mode & S_IWOTH)
		return pvb_err(err, -EPERM, "local fabric: everybody may write in %s (mode %o)", dir,
			       st.st_mode & 07777);
	return 0;
}

/* One server per directory.  The lock ends with the process, so what it left is safe to clear away. */
static int lock_dir(struct lf_fabric *f, struct pvb_error *err)
{
	char path[4096], pid[32] = "";
	ssize_t n;

	snprintf(path, sizeof(path), "%s/lock", f->dir);
	f->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (f->lock_fd < 0)
		return pvb_err(err, -errno, "local fabric: can not open %s: %s", path, strerror(errno));
	if (flock(f->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		n = pread(f->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? (size_t)n : 0] = '\0';
		pid[strspn(pid, "0123456789")] = '\0';
		close(f->lock_fd);
		f->lock_fd = -1;
		return pvb_err(err, -EBUSY, "local fabric %s is in use by process %s", f->dir, pid[0] ? pid : "?");
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(f->lock_fd, 0) < 0 || pwrite(f->lock_fd, pid, (size_t)n, 0) != n)
		return pvb_err(err, -EIO, "local fabric: can not write %s", path);
	return 0;
}

/* What a server that was killed left behind. */
static void clear_dir(const struct lf_fabric *f)
{
	static const char *const what[] = { "/ctl", "/store", "" };
	struct dirent *de;
	char path[8192];
	unsigned i;
	DIR *d;

	snprintf(path, sizeof(path), "%s/dom", f->dir);
	d = opendir(path);
	while (d && (de = readdir(d))) {
		if (de->d_name[strspn(de->d_name, "0123456789")] != '\0')
			continue;
		for (i = 0; i < 3; i++) {
			snprintf(path, sizeof(path), "%s/dom/%s%s", f->dir, de->d_name, what[i]);
			if (what[i][0])
				unlink(path);
			else
				rmdir(path);
		}
	}
	if (d)
		closedir(d);
}

static void leave_dir(const struct lf_fabric *f)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/dom", f->dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/lock", f->dir);
	unlink(path);
	rmdir(f->dir); /* only if nobody keeps anything else there */
}

/* ---- the server ------------------------------------------------------------------------------------- */

static bool exists(void *arg, uint32_t domid)
{
	const struct lf_fabric *f = arg;

	return lf_domain(f, domid) != NULL;
}

static void server_free(struct lf_fabric *f)
{
	uint32_t i;

	if (!f)
		return;
	for (i = LF_NR_DOMIDS; i-- > 0; )
		if (f->domains[i])
			lf_domain_free(f->domains[i]);
	lst_free(f->store);
	if (f->info)
		munmap(f->info, LF_INFO_BYTES);
	if (f->info_fd >= 0)
		close(f->info_fd);
	pvb_loop_free(f->loop);
	if (f->lock_fd >= 0) {
		leave_dir(f);
		close(f->lock_fd);
	}
	free(f->dir);
	free(f);
}

static int server_new(struct lf_fabric **out, const char *dir, const struct pvb_fabric_options *opt,
		      struct pvb_error *err)
{
	struct pvb_local_new dom0 = { .name = "Domain-0" };
	struct lf_fabric *f = calloc(1, sizeof(*f));
	uint32_t domid;
	int rc;

	if (!f)
		return pvb_err(err, -ENOMEM, "local fabric %s: out of memory", dir);
	f->lock_fd = f->info_fd = -1;
	f->next_domid = f->next_page_id = 1;
	if (opt)
		f->opt = *opt;
	else
		pvb_fabric_defaults(&f->opt);
	f->dir = strdup(dir);
	rc = f->dir ? make_dirs(dir, err) : pvb_err(err, -ENOMEM, "local fabric %s: out of memory", dir);
	if (rc == 0)
		rc = check_owner(dir, err);
	if (rc == 0)
		rc = lock_dir(f, err);
	if (rc < 0)
		goto fail;
	clear_dir(f);
	rc = pvb_loop_new(&f->loop);
	if (rc == 0)
		rc = f->info_fd = lf_memfd("pvbus-info", LF_INFO_BYTES, LF_INFO_BYTES, &f->info, F_SEAL_FUTURE_WRITE);
	if (rc >= 0)
		rc = lst_new(&f->store, f->loop, &f->opt.quota, exists, f);
	if (rc < 0) {
		pvb_err(err, rc, "local fabric %s: %s", dir, strerror(-rc));
		goto fail;
	}
	dom0.pages = f->opt.dom0_pages;
	rc = lf_domain_new(f, &dom0, &domid, err);
	if (rc < 0)
		goto fail;
	*out = f;
	return 0;
fail:
	server_free(f);
	return rc;
}

static void stop(void *arg, uint32_t events)
{
	struct lf_fabric *f = arg;

	pvb_loop_stop(f->loop, 0);
}

int pvb_fabric_run(const char *dir, const struct pvb_fabric_options *opt, int stop_fd, void (*ready)(void *arg),
		   void *arg, struct pvb_error *err)
{
	struct pvb_source *src;
	struct lf_fabric *f;
	int rc;

	rc = server_new(&f, dir, opt, err);
	if (rc < 0)
		return rc;
	rc = pvb_loop_fd(f->loop, stop_fd, EPOLLIN, stop, f, &src);
	if (rc == 0) {
		if (ready)
			ready(arg);
		rc = pvb_loop_run(f->loop);
	}
	if (rc < 0)
		pvb_err(err, rc, "local fabric %s: %s", dir, strerror(-rc));
	server_free(f);
	return rc;
}

/* ---- on a thread of its own ------------------------------------------------------------------------- */

struct pvb_fabric {
	struct lf_fabric *server;
	struct pvb_source *src;
	pthread_t thread;
	int stop_fd;
};

static void *serve(void *arg)
{
	struct pvb_fabric *fabric = arg;

	pvb_loop_run(fabric->server->loop);
	return NULL;
}

int pvb_fabric_start_with(struct pvb_fabric **out, const char *dir, const struct pvb_fabric_options *opt,
			  struct pvb_error *err)
{
	struct pvb_fabric *fabric = calloc(1, sizeof(*fabric));
	int rc;

	if (!fabric)
		return pvb_err(err, -ENOMEM, "local fabric %s: out of memory", dir);
	rc = server_new(&fabric->server, dir, opt, err);
	if (rc < 0) {
		free(fabric);
		return rc;
	}
	fabric->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = fabric->stop_fd < 0 ? -errno : pvb_loop_fd(fabric->server->loop, fabric->stop_fd, EPOLLIN, stop,
							fabric->server, &fabric->src);
	if (rc == 0)
		rc = -pthread_create(&fabric->thread, NULL, serve, fabric);
	if (rc < 0) {
		pvb_err(err, rc, "local fabric %s: can not start its thread: %s", dir, strerror(-rc));
		if (fabric->stop_fd >= 0)
			close(fabric->stop_fd);
		server_free(fabric->server);
		free(fabric);
		return rc;
	}
	*out = fabric;
	return 0;
}

int pvb_fabric_start(struct pvb_fabric **out, const char *dir, struct pvb_error *err)
{
	return pvb_fabric_start_with(out, dir, NULL, err);
}

void pvb_fabric_stop(struct pvb_fabric *fabric)
{
	uint64_t one = 1;

	if (!fabric)
		return;
	if (write(fabric->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(fabric->thread, NULL);
	server_free(fabric->server);
	close(fabric->stop_fd);
	free(fabric);
}
