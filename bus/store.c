/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing the store, and transactions.  Watches are in watch.c. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>
#include "hv.h"
#include "loop.h"
#include "store-impl.h"

#define TXN_TRIES 200
#define TXN_BACKOFF_MAX_US 20000u

/* ---- opening --------------------------------------------------------------------------------------- */

/* libxenstore takes the path from the environment only.  It is changed for the moment of the open, one
 * thread at a time. */
static pthread_mutex_t env_lock = PTHREAD_MUTEX_INITIALIZER;

static struct xs_handle *open_at(const char *path)
{
	struct xs_handle *xs;
	char *old;
	int e;

	if (!path)
		return xs_open(0);
	pthread_mutex_lock(&env_lock);
	old = getenv("XENSTORED_PATH");
	old = old ? strdup(old) : NULL;
	setenv("XENSTORED_PATH", path, 1);
	xs = xs_open(0);
	e = errno;
	if (old)
		setenv("XENSTORED_PATH", old, 1);
	else
		unsetenv("XENSTORED_PATH");
	free(old);
	pthread_mutex_unlock(&env_lock);
	errno = e;
	return xs;
}

int pvb_store_open(struct pvb_store **out, const char *spec, struct pvb_error *err)
{
	struct pvb_store *st;
	char *path;
	int rc;

	rc = pvb_hv_store_path(spec, &path, err);
	if (rc < 0)
		return rc;
	st = calloc(1, sizeof(*st));
	if (!st) {
		free(path);
		return pvb_err(err, -ENOMEM, "store: out of memory");
	}
	st->xs = open_at(path);
	if (!st->xs) {
		rc = pvb_err(err, errno ? -errno : -EIO, "store at %s: %s", path ? path : "its usual place",
			     strerror(errno));
		free(path);
		free(st);
		return rc;
	}
	st->path = path;
	st->seed = pvb_now_ns() ^ (uint64_t)getpid() << 32;
	*out = st;
	return 0;
}

void pvb_store_close(struct pvb_store *st)
{
	if (!st)
		return;
	pvb_store_detach(st);
	if (st->watcher)
		xs_close(st->watcher);
	xs_close(st->xs);
	free(st->path);
	free(st);
}

int pvb_store_open_watcher(struct pvb_store *st)
{
	if (!st->watcher)
		st->watcher = open_at(st->path);
	return st->watcher ? 0 : errno == 0 ? -EIO : errno == EAGAIN ? -EBUSY : -errno;
}

/* ---- small things ---------------------------------------------------------------------------------- */

int pvb_store_check_path(const char *path)
{
	unsigned depth = 0;
	size_t i;

	if (path[0] != '/')
		return -EINVAL;
	if (path[1] == '\0')
		return 0;
	for (i = 0; path[i]; i++) {
		if (i >= PVB_STORE_PATH_MAX)
			return -EINVAL;
		if (path[i] != '/')
			continue;
		if (path[i + 1] == '/' || path[i + 1] == '\0' || ++depth > PVB_STORE_DEPTH_MAX)
			return -EINVAL;
	}
	return 0;
}

/* A conflict is only ever reported by the end of a transaction, so EAGAIN from anything else would be
 * taken for one. */
static int failed(void)
{
	return errno == 0 ? -EIO : errno == EAGAIN ? -EBUSY : -errno;
}

static int checked(bool ok)
{
	return ok ? 0 : failed();
}

int pvb_store_domid(struct pvb_store *st, uint32_t *domid)
{
	uint64_t v = 0;
	unsigned len;
	char *text;
	int rc;

	text = xs_read(st->xs, XBT_NULL, "domid", &len); /* relative: below our own home */
	if (!text && errno != ENOENT)
		return failed();
	rc = text ? pvb_parse_u64(text, 0, PVB_DOMID_SELF - 1, &v) : 0;
	free(text);
	if (rc == 0)
		*domid = (uint32_t)v;
	return rc;
}

void pvb_store_home(uint32_t domid, char *buf, size_t len)
{
	snprintf(buf, len, "/local/domain/%u", domid);
}

/* ---- nodes ----------------------------------------------------------------------------------------- */

int pvb_store_read(struct pvb_store *st, pvb_txn t, const char *path, char **value)
{
	unsigned len;
	char *text;
	int rc = pvb_store_check_path(path);

	if (rc < 0)
		return rc;
	text = xs_read(st->xs, t, path, &len);
	if (!text)
		return failed();
	rc = len > PVB_STORE_VALUE_MAX ? -E2BIG : memchr(text, '\0', len) ? -EILSEQ : 0;
	if (rc < 0) {
		free(text);
		return rc;
	}
	*value = text;
	return 0;
}

int pvb_store_read_u64(struct pvb_store *st, pvb_txn t, const char *path, uint64_t min, uint64_t max, uint64_t *value)
{
	char *text;
	int rc = pvb_store_read(st, t, path, &text);

	if (rc < 0)
		return rc;
	rc = pvb_parse_u64(text, min, max, value);
	free(text);
	return rc;
}

int pvb_store_write(struct pvb_store *st, pvb_txn t, const char *path, const char *value)
{
	size_t len = strlen(value);
	int rc = pvb_store_check_path(path);

	if (rc < 0)
		return rc;
	if (len > PVB_STORE_VALUE_MAX)
		return -E2BIG;
	return checked(xs_write(st->xs, t, path, value, (unsigned)len));
}

int pvb_store_printf(struct pvb_store *st, pvb_txn t, const char *path, const char *fmt, ...)
{
	va_list ap;
	char *value;
	int rc, n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	rc = pvb_store_write(st, t, path, value);
	free(value);
	return rc;
}

int pvb_store_mkdir(struct pvb_store *st, pvb_txn t, const char *path)
{
	int rc = pvb_store_check_path(path);

	return rc < 0 ? rc : checked(xs_mkdir(st->xs, t, path));
}

int pvb_store_rm(struct pvb_store *st, pvb_txn t, const char *path)
{
	int rc = pvb_store_check_path(path);

	if (rc == 0)
		rc = checked(xs_rm(st->xs, t, path));
	return rc == -ENOENT ? 0 : rc;
}

int pvb_store_list(struct pvb_store *st, pvb_txn t, const char *path, char ***names, unsigned *nr)
{
	unsigned n;
	char **list;
	int rc = pvb_store_check_path(path);

	if (rc < 0)
		return rc;
	list = xs_directory(st->xs, t, path, &n);
	if (!list)
		return failed();
	*names = list;
	*nr = n;
	return 0;
}

void pvb_store_list_free(char **names, unsigned nr)
{
	free(names); /* libxenstore puts the names behind the array, in the same piece */
}

bool pvb_store_exists(struct pvb_store *st, pvb_txn t, const char *path)
{
	char *value = NULL;
	int rc = pvb_store_read(st, t, path, &value);

	free(value);
	return rc == 0 || rc == -E2BIG || rc == -EILSEQ;
}

int pvb_store_perms(struct pvb_store *st, pvb_txn t, const char *path, uint32_t owner, uint32_t reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};
	int rc = pvb_store_check_path(path);

	return rc < 0 ? rc : checked(xs_set_permissions(st->xs, t, path, perms, reader == UINT32_MAX ? 1 : 2));
}

int pvb_store_owner(struct pvb_store *st, pvb_txn t, const char *path, uint32_t *owner)
{
	struct xs_permissions *perms;
	unsigned nr = 0;
	int rc = pvb_store_check_path(path);

	if (rc < 0)
		return rc;
	perms = xs_get_permissions(st->xs, t, path, &nr);
	if (!perms)
		return failed();
	if (nr > 0)
		*owner = perms[0].id;
	free(perms);
	return nr > 0 ? 0 : -EIO;
}

bool pvb_store_domain_alive(struct pvb_store *st, uint32_t domid)
{
	char home[64];

	errno = 0;
	if (xs_is_domain_introduced(st->xs, domid))
		return true;
	if (errno != EACCES)
		return false;
	/* a guest may not ask; the home directory goes with the domain */
	pvb_store_home(domid, home, sizeof(home));
	return pvb_store_exists(st, PVB_NO_TXN, home);
}

/* ---- transactions ---------------------------------------------------------------------------------- */

/* Random, so that two writers that met once do not meet again; none at first: most conflicts are with
 * somebody who is done already. */
static void back_off(struct pvb_store *st, unsigned try)
{
	uint64_t limit = try < 3 ? 0 : 250u << (try < 10 ? try - 3 : 7);
	struct timespec ts = { 0 };

	if (limit == 0)
		return;
	if (limit > TXN_BACKOFF_MAX_US)
		limit = TXN_BACKOFF_MAX_US;
	st->seed = st->seed * 6364136223846793005u + 1442695040888963407u;
	ts.tv_nsec = (long)((st->seed >> 33) % limit) * 1000;
	nanosleep(&ts, NULL);
}

int pvb_store_txn(struct pvb_store *st, int (*fn)(struct pvb_store *st, pvb_txn t, void *arg), void *arg)
{
	unsigned try;
	pvb_txn t;
	int rc;

	for (try = 0; try < TXN_TRIES; try++) {
		back_off(st, try);
		t = xs_transaction_start(st->xs);
		if (t == XBT_NULL)
			return failed();
		rc = fn(st, t, arg);
		if (rc < 0) {
			xs_transaction_end(st->xs, t, true);
			return rc;
		}
		if (xs_transaction_end(st->xs, t, false))
			return 0;
		if (errno != EAGAIN)
			return failed();
	}
	return -EBUSY;
}
