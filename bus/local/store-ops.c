/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The requests: what each wants for arguments, whether the asker may, and what it is answered.  The table
 * at the end lists them all; those for toolstacks are in store-admin.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store-ops.h"

const char *lst_error_name(int e)
{
	unsigned i;

	for (i = 0; i < sizeof(xsd_errors) / sizeof(*xsd_errors); i++)
		if (xsd_errors[i].errnum == e)
			return xsd_errors[i].errstring;
	return "EINVAL";
}

/* ---- arguments -------------------------------------------------------------------------------------- */

int lst_op_ack(struct op *op)
{
	return lst_reply(op->c, op->c->hdr.type, "OK", 3);
}

bool lst_op_strings(const struct op *op, const char **s, unsigned nr)
{
	const char *p = op->in, *end = op->in + op->len, *nul;
	unsigned i;

	for (i = 0; i < nr; i++, p = nul + 1) {
		nul = p < end ? memchr(p, '\0', (size_t)(end - p)) : NULL;
		if (!nul)
			return false;
		s[i] = p;
	}
	return p == end;
}

bool lst_number(const char *s, uint32_t max, uint32_t *v)
{
	size_t len = strlen(s);
	unsigned long n;

	if (len == 0 || len > 9 || strspn(s, "0123456789") != len)
		return false;
	n = strtoul(s, NULL, 10);
	*v = (uint32_t)n;
	return n <= max;
}

static bool good_chars(const char *s)
{
	return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/_@")] == '\0';
}

/* Bytes of "/local/domain/N/" at the start of path; 0 = something else. */
static size_t home_len(const char *path)
{
	size_t digits;

	if (strncmp(path, "/local/domain/", 14) != 0)
		return 0;
	digits = strspn(path + 14, "0123456789");
	return digits > 0 && digits <= 5 && path[14 + digits] == '/' ? 14 + digits + 1 : 0;
}

bool lst_path_valid(const struct lst *st, const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/' || (len > 1 && path[len - 1] == '/') || strstr(path, "//"))
		return false;
	return len <= LST_PATH_MAX && len - home_len(path) <= st->quota.path_max && good_chars(path);
}

static int special(const char *path)
{
	return strcmp(path, "@introduceDomain") == 0 ? 0 : strcmp(path, "@releaseDomain") == 0 ? 1 : -1;
}

/* The whole path into op->path: relative ones begin in the asker's own directory. */
static int full_path(struct op *op, const char *path)
{
	int n;

	op->relative = path[0] != '/' && path[0] != '@';
	n = op->relative ? snprintf(op->path, sizeof(op->path), "/local/domain/%u/%s", op->dom->domid, path) :
			   snprintf(op->path, sizeof(op->path), "%s", path);
	return n < 0 || (size_t)n >= sizeof(op->path) ? EINVAL : 0;
}

/* What may the asker do with the nearest node above this one?  Who may not look there is not told either
 * whether something is there. */
static int error_from_above(struct op *op, int error, unsigned mask)
{
	char path[LST_PATH_MAX + 1];
	struct lst_seen seen;
	char *slash;
	int rc;

	memcpy(path, op->path, sizeof(path));
	do {
		slash = strrchr(path, '/');
		slash[slash == path] = '\0';
		rc = lst_see(op->st, op->t, path, &seen);
		if (rc)
			return rc;
	} while (!seen.is_there && path[1]);
	return seen.is_there && (lst_perms_for(op->st, op->dom, seen.perms) & mask) ? error : EACCES;
}

/* The node named by path, if the asker has all rights in mask. */
static int get_node(struct op *op, const char *path, unsigned mask, struct lst_seen *seen)
{
	int rc = full_path(op, path);

	if (rc == 0 && !lst_path_valid(op->st, op->path))
		rc = EINVAL;
	if (rc == 0)
		rc = lst_see(op->st, op->t, op->path, seen);
	if (rc)
		return rc;
	if (!seen->is_there)
		return error_from_above(op, ENOENT, mask);
	if ((lst_perms_for(op->st, op->dom, seen->perms) & mask) == mask)
		return 0;
	return error_from_above(op, EACCES, mask);
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

static int op_read(struct op *op)
{
	struct lst_seen seen;
	const char *path;
	int rc;

	if (!lst_op_strings(op, &path, 1))
		return EINVAL;
	rc = get_node(op, path, LST_R, &seen);
	return rc ? rc : lst_reply(op->c, XS_READ, seen.value ? seen.value->bytes : "", lst_value_len(seen.value));
}

static int op_directory(struct op *op)
{
	struct lst_seen seen;
	const char *path;
	char *names;
	uint32_t len;
	int rc;

	if (!lst_op_strings(op, &path, 1))
		return EINVAL;
	rc = get_node(op, path, LST_R, &seen);
	if (rc == 0)
		rc = lst_list(op->st, op->t, op->path, &seen, &names, &len);
	if (rc)
		return rc;
	rc = lst_reply(op->c, XS_DIRECTORY, names, len);
	free(names);
	return rc;
}

/* Generation, then as many whole names from an offset on as fit; an empty one behind the last. */
static int op_directory_part(struct op *op)
{
	char buf[XENSTORE_PAYLOAD_MAX], *names;
	uint32_t off, len, at, n;
	struct lst_seen seen;
	const char *arg[2];
	int rc;

	if (!lst_op_strings(op, arg, 2) || !lst_number(arg[1], UINT32_MAX, &off))
		return EINVAL;
	rc = get_node(op, arg[0], LST_R, &seen);
	if (rc == 0)
		rc = lst_list(op->st, op->t, op->path, &seen, &names, &len);
	if (rc)
		return rc;
	at = (uint32_t)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)seen.children_generation) + 1;
	for (; off < len; off += n, at += n) {
		n = (uint32_t)strlen(names + off) + 1;
		if (at + n + 1 > sizeof(buf))
			break;
		memcpy(buf + at, names + off, n);
	}
	if (off >= len)
		buf[at++] = '\0';
	free(names);
	return lst_reply(op->c, XS_DIRECTORY_PART, buf, at);
}

static int op_write(struct op *op)
{
	const char *nul = memchr(op->in, '\0', op->len), *value;
	struct lst_seen seen;
	uint32_t len;
	int rc;

	if (!nul)
		return EINVAL;
	value = nul + 1;
	len = op->len - (uint32_t)(value - op->in);
	rc = get_node(op, op->in, LST_W, &seen);
	if (rc == 0)
		rc = lst_write(op->c, op->t, op->path, &seen, value, len);
	else if (rc == ENOENT)
		rc = lst_create(op->c, op->t, op->path, value, len);
	return rc ? rc : lst_op_ack(op);
}

static int op_mkdir(struct op *op)
{
	struct lst_seen seen;
	const char *path;
	int rc;

	if (!lst_op_strings(op, &path, 1))
		return EINVAL;
	rc = get_node(op, path, LST_W, &seen);
	if (rc == ENOENT)
		rc = lst_create(op->c, op->t, op->path, NULL, 0);
	return rc ? rc : lst_op_ack(op);
}

static int op_rm(struct op *op)
{
	struct lst_seen seen, above;
	const char *path;
	char *slash;
	int rc;

	if (!lst_op_strings(op, &path, 1))
		return EINVAL;
	rc = get_node(op, path, LST_W, &seen);
	if (rc == 0 && op->path[1] == '\0')
		return EINVAL; /* the root stays */
	if (rc == 0)
		rc = lst_remove(op->c, op->t, op->path, &seen);
	if (rc == ENOENT) {
		/* it is not there: fine, as long as the directory is */
		slash = strrchr(op->path, '/');
		slash[slash == op->path] = '\0';
		rc = lst_see(op->st, op->t, op->path, &above);
		if (rc == 0)
			rc = above.is_there ? 0 : ENOENT;
	}
	return rc ? rc : lst_op_ack(op);
}

static int op_get_perms(struct op *op)
{
	char buf[XENSTORE_PAYLOAD_MAX];
	const struct lst_perms *perms;
	struct lst_seen seen;
	const char *path;
	int rc, n;

	if (!lst_op_strings(op, &path, 1))
		return EINVAL;
	n = special(path);
	if (n >= 0) {
		perms = op->st->special[n];
		if (!(lst_perms_for(op->st, op->dom, perms) & LST_R))
			return EACCES;
	} else {
		rc = get_node(op, path, LST_R, &seen);
		if (rc)
			return rc;
		perms = seen.perms;
	}
	n = lst_perms_print(op->st, perms, buf, sizeof(buf));
	return n < 0 ? E2BIG : lst_reply(op->c, XS_GET_PERMS, buf, (uint32_t)n);
}

static int set_special(struct op *op, int which, struct lst_perms *perms)
{
	if (!lst_privileged(op->dom)) {
		lst_perms_put(perms);
		return EACCES;
	}
	lst_perms_put(op->st->special[which]);
	op->st->special[which] = perms;
	return lst_op_ack(op);
}

static int op_set_perms(struct op *op)
{
	const char *nul = memchr(op->in, '\0', op->len);
	struct lst_perms *perms;
	struct lst_seen seen;
	int rc, which;

	if (!nul)
		return EINVAL;
	rc = lst_perms_parse(op->st, nul + 1, op->len - (uint32_t)(nul + 1 - op->in), &perms);
	if (rc)
		return rc;
	which = special(op->in);
	if (which >= 0)
		return set_special(op, which, perms);
	rc = get_node(op, op->in, LST_W | LST_OWNER, &seen);
	if (rc == 0 && !lst_privileged(op->dom) && perms->nr > op->st->quota.perms)
		rc = ENOSPC;
	/* only domain 0 gives nodes away: the new owner would pay */
	if (rc == 0 && !lst_privileged(op->dom) &&
	    (perms->p[0].domid != seen.perms->p[0].domid || perms->p[0].generation != seen.perms->p[0].generation))
		rc = EPERM;
	if (rc) {
		lst_perms_put(perms);
		return rc;
	}
	rc = lst_set_perms(op->c, op->t, op->path, &seen, perms);
	return rc ? rc : lst_op_ack(op);
}

/* ---- watches ---------------------------------------------------------------------------------------- */

static int watch_path(struct op *op, const char *path)
{
	int rc = full_path(op, path);

	if (rc)
		return rc;
	if (op->path[0] == '@')
		return strlen(op->path) <= op->st->quota.path_max && good_chars(op->path) ? 0 : EINVAL;
	return lst_path_valid(op->st, op->path) ? 0 : EINVAL;
}

static int op_watch(struct op *op)
{
	const char *arg[2];
	int rc;

	if (!lst_op_strings(op, arg, 2))
		return EINVAL;
	rc = watch_path(op, arg[0]);
	if (rc == 0)
		rc = lst_watch_add(op->c, op->path, op->relative, arg[1]);
	if (rc == 0)
		rc = lst_op_ack(op);
	if (rc == 0) /* once up front, as the path was given; nobody is charged for it */
		lst_event(op->c, NULL, arg[0], arg[1]);
	return rc;
}

static int op_unwatch(struct op *op)
{
	const char *arg[2];
	int rc;

	if (!lst_op_strings(op, arg, 2))
		return EINVAL;
	rc = full_path(op, arg[0]);
	if (rc == 0)
		rc = lst_watch_del(op->c, op->path, arg[1]);
	return rc ? rc : lst_op_ack(op);
}

static int op_reset_watches(struct op *op)
{
	lst_watch_drop_all(op->c);
	while (op->c->txns)
		lst_txn_free(op->c->txns);
	return lst_op_ack(op);
}

/* ---- transactions ----------------------------------------------------------------------------------- */

static int op_transaction_start(struct op *op)
{
	struct lst_txn *t;
	char id[16];
	int rc;

	if (op->t)
		return EBUSY; /* they do not nest */
	rc = lst_txn_new(op->c, &t);
	if (rc)
		return rc;
	snprintf(id, sizeof(id), "%u", t->id);
	rc = lst_reply(op->c, XS_TRANSACTION_START, id, (uint32_t)strlen(id) + 1);
	if (rc)
		lst_txn_free(t);
	return rc;
}

static int op_transaction_end(struct op *op)
{
	const char *arg;
	int rc = 0;

	if (!lst_op_strings(op, &arg, 1) || (strcmp(arg, "T") != 0 && strcmp(arg, "F") != 0))
		return EINVAL;
	if (!op->t)
		return ENOENT;
	if (arg[0] == 'T')
		rc = lst_txn_commit(op->t);
	lst_txn_free(op->t);
	if (rc == EAGAIN)
		lst_commit_failed(op->c);
	else if (arg[0] == 'T')
		lst_commit_done(op->c);
	return rc ? rc : lst_op_ack(op);
}

/* ---- the table -------------------------------------------------------------------------------------- */

#define NO_TXN  1u  /* the transaction id is not looked at */
#define PRIV    2u  /* domain 0 only */
#define CHANGES 4u  /* outside a transaction, changes the tree */

static const struct {
	int (*fn)(struct op *op);
	unsigned flags;
} table[XS_TYPE_COUNT] = {
	[XS_CONTROL] = { lst_op_control, PRIV | NO_TXN },
	[XS_DIRECTORY] = { op_directory, 0 },
	[XS_READ] = { op_read, 0 },
	[XS_GET_PERMS] = { op_get_perms, 0 },
	[XS_WATCH] = { op_watch, NO_TXN },
	[XS_UNWATCH] = { op_unwatch, NO_TXN },
	[XS_TRANSACTION_START] = { op_transaction_start, 0 },
	[XS_TRANSACTION_END] = { op_transaction_end, CHANGES },
	[XS_INTRODUCE] = { lst_op_introduce, PRIV | NO_TXN },
	[XS_RELEASE] = { lst_op_release, PRIV | NO_TXN },
	[XS_GET_DOMAIN_PATH] = { lst_op_get_domain_path, NO_TXN },
	[XS_WRITE] = { op_write, CHANGES },
	[XS_MKDIR] = { op_mkdir, CHANGES },
	[XS_RM] = { op_rm, CHANGES },
	[XS_SET_PERMS] = { op_set_perms, CHANGES },
	[XS_IS_DOMAIN_INTRODUCED] = { lst_op_is_domain_introduced, PRIV | NO_TXN },
	[XS_RESUME] = { lst_op_resume, PRIV | NO_TXN },
	[XS_SET_TARGET] = { lst_op_set_target, PRIV | NO_TXN },
	[XS_RESET_WATCHES] = { op_reset_watches, NO_TXN },
	[XS_DIRECTORY_PART] = { op_directory_part, 0 },
};

bool lst_op_changes(uint32_t type, uint32_t tx_id)
{
	if (type >= XS_TYPE_COUNT || !(table[type].flags & CHANGES))
		return false;
	return tx_id == 0 || type == XS_TRANSACTION_END;
}

int lst_op(struct lst_conn *c, const char *in, uint32_t len)
{
	struct op op = { .st = c->store, .c = c, .dom = c->dom, .in = in, .len = len };
	uint32_t type = c->hdr.type;

	if (type >= XS_TYPE_COUNT || !table[type].fn)
		return ENOSYS;
	if ((table[type].flags & PRIV) && !lst_privileged(c->dom))
		return EACCES;
	if (!(table[type].flags & NO_TXN) && c->hdr.tx_id) {
		op.t = lst_txn_find(c, c->hdr.tx_id);
		if (!op.t)
			return ENOENT;
	}
	return table[type].fn(&op);
}
