/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making and rescinding a device in the store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hv.h"
#include "offer.h"

#define DIR_MAX 128  /* a device directory: numbers and two short words */

static const char online_key[] = "online", state_key[] = "state";

/* ---- paths ----------------------------------------------------------------------------------------- */

void pvb_device_back_path(const struct pvb_device_id *id, char *buf, size_t len)
{
	snprintf(buf, len, "/local/domain/%u/backend/%s/%u/%u", id->back, id->kind, id->front, id->devid);
}

void pvb_device_front_path(const struct pvb_device_id *id, char *buf, size_t len)
{
	snprintf(buf, len, "/local/domain/%u/device/%s/%u", id->front, id->class, id->devid);
}

static const char *class_of(const char *kind)
{
	return strcmp(kind, "vbd3") == 0 || strcmp(kind, "qdisk") == 0 ? "vbd" : kind;
}

/* One component of a path into buf; what follows its "/", or NULL. */
static const char *component(const char *p, char *buf, size_t size)
{
	size_t len = strcspn(p, "/");

	if (len == 0 || len >= size)
		return NULL;
	memcpy(buf, p, len);
	buf[len] = '\0';
	return p[len] ? p + len + 1 : p + len;
}

static const char *number(const char *p, uint64_t max, uint32_t *out)
{
	char text[16];
	uint64_t v;

	p = component(p, text, sizeof(text));
	if (!p || pvb_parse_u64(text, 0, max, &v) < 0)
		return NULL;
	*out = (uint32_t)v;
	return p;
}

static const char *word(const char *p, const char *expect)
{
	size_t len = strlen(expect);

	return strncmp(p, expect, len) == 0 ? p + len : NULL;
}

int pvb_device_parse(const char *back_path, struct pvb_device_id *id, char kind[16])
{
	struct pvb_device_id d = { .kind = kind };
	const char *p = word(back_path, "/local/domain/");

	p = p ? number(p, PVB_DOMID_SELF - 1, &d.back) : NULL;
	p = p ? word(p, "backend/") : NULL;
	p = p ? component(p, kind, 16) : NULL;
	p = p ? number(p, PVB_DOMID_SELF - 1, &d.front) : NULL;
	p = p ? number(p, INT32_MAX, &d.devid) : NULL;
	if (!p)
		return -EINVAL;
	d.class = class_of(kind);
	*id = d;
	return 0;
}

/* ---- offering -------------------------------------------------------------------------------------- */

struct offer_arg {
	const struct pvb_device_id *id;
	const struct pvb_pair *back, *front;
	unsigned nr_back, nr_front;
	struct pvb_error *err;
};

static int put(struct pvb_store *st, pvb_txn t, const char *dir, const char *key, const char *value)
{
	char path[PVB_STORE_PATH_MAX + 1];

	if (snprintf(path, sizeof(path), "%s/%s", dir, key) >= (int)sizeof(path))
		return -EINVAL;
	return pvb_store_write(st, t, path, value);
}

static int put_u32(struct pvb_store *st, pvb_txn t, const char *dir, const char *key, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return put(st, t, dir, key, text);
}

static int make_dir(struct pvb_store *st, pvb_txn t, const char *dir, uint32_t owner, uint32_t reader)
{
	int rc = pvb_store_mkdir(st, t, dir);

	return rc < 0 ? rc : pvb_store_perms(st, t, dir, owner, reader);
}

static int put_all(struct pvb_store *st, pvb_txn t, const char *dir, const struct pvb_pair *pairs, unsigned nr)
{
	unsigned i;
	int rc = 0;

	for (i = 0; rc == 0 && i < nr; i++)
		rc = put(st, t, dir, pairs[i].key, pairs[i].value);
	return rc;
}

static int fill_back(struct pvb_store *st, pvb_txn t, const struct offer_arg *a, const char *back, const char *front)
{
	int rc = put(st, t, back, "frontend", front);

	rc = rc < 0 ? rc : put_u32(st, t, back, "frontend-id", a->id->front);
	rc = rc < 0 ? rc : put(st, t, back, online_key, "1");
	rc = rc < 0 ? rc : put_all(st, t, back, a->back, a->nr_back);
	return rc < 0 ? rc : put_u32(st, t, back, state_key, PVB_INITIALISING);
}

static int fill_front(struct pvb_store *st, pvb_txn t, const struct offer_arg *a, const char *back, const char *front)
{
	int rc = put(st, t, front, "backend", back);

	rc = rc < 0 ? rc : put_u32(st, t, front, "backend-id", a->id->back);
	rc = rc < 0 ? rc : put_all(st, t, front, a->front, a->nr_front);
	return rc < 0 ? rc : put_u32(st, t, front, state_key, PVB_INITIALISING);
}

static int offer(struct pvb_store *st, pvb_txn t, void *arg)
{
	const struct offer_arg *a = arg;
	char back[DIR_MAX], front[DIR_MAX];
	int rc;

	pvb_device_back_path(a->id, back, sizeof(back));
	pvb_device_front_path(a->id, front, sizeof(front));
	if (pvb_store_exists(st, t, back))
		return pvb_err(a->err, -EEXIST, "%s %u: there is one already (back end %s, front end %s)",
			       a->id->kind, a->id->devid, pvb_state_name(pvb_state_read(st, t, back)),
			       pvb_state_name(pvb_state_read(st, t, front)));
	rc = pvb_store_rm(st, t, front);
	rc = rc < 0 ? rc : make_dir(st, t, front, a->id->front, a->id->back);
	rc = rc < 0 ? rc : make_dir(st, t, back, a->id->back, a->id->front);
	rc = rc < 0 ? rc : fill_back(st, t, a, back, front);
	return rc < 0 ? rc : fill_front(st, t, a, back, front);
}

static int check_id(const struct pvb_device_id *id, struct pvb_error *err)
{
	if (strlen(id->kind) > 15 || strlen(id->class) > 15)
		return pvb_err(err, -EINVAL, "device kind \"%.60s\" is longer than 15 bytes", id->kind);
	return 0;
}

int pvb_offer(struct pvb_store *st, const struct pvb_device_id *id, const struct pvb_pair *back, unsigned nr_back,
	      const struct pvb_pair *front, unsigned nr_front, struct pvb_error *err)
{
	struct offer_arg a = { id, back, front, nr_back, nr_front, err };
	int rc = check_id(id, err);

	if (rc < 0)
		return rc;
	rc = pvb_store_txn(st, offer, &a);
	if (rc < 0 && rc != -EEXIST)
		pvb_err(err, rc, "%s %u: %s", id->kind, id->devid, strerror(-rc));
	return rc;
}

/* ---- rescinding ------------------------------------------------------------------------------------ */

struct rescind_arg {
	char back[DIR_MAX], front[DIR_MAX], back_parent[DIR_MAX];
	enum pvb_state old;   /* back end's state before we asked */
};

static int ask(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct rescind_arg *a = arg;
	int rc;

	if (!pvb_store_exists(st, t, a->back))
		return -ENOENT;
	a->old = pvb_state_read(st, t, a->back);
	rc = put(st, t, a->back, online_key, "0");
	if (rc == 0 && a->old != PVB_CLOSED)
		rc = put_u32(st, t, a->back, state_key, PVB_CLOSING);
	return rc;
}

/* -EALREADY: it closed or went away after all. */
static int take_back(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct rescind_arg *a = arg;
	int rc;

	if (!pvb_store_exists(st, t, a->back) || pvb_state_read(st, t, a->back) == PVB_CLOSED)
		return -EALREADY;
	rc = put(st, t, a->back, online_key, "1");
	return rc < 0 ? rc : put_u32(st, t, a->back, state_key, a->old);
}

/* Both directories, and the back end's directory for this domain with its last device. */
static int remove_both(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct rescind_arg *a = arg;
	char **names;
	unsigned nr;
	int rc;

	rc = pvb_store_rm(st, t, a->back);
	rc = rc < 0 ? rc : pvb_store_rm(st, t, a->front);
	if (rc < 0 || pvb_store_list(st, t, a->back_parent, &names, &nr) < 0)
		return rc;
	pvb_store_list_free(names, nr);
	return nr == 0 ? pvb_store_rm(st, t, a->back_parent) : 0;
}

static bool closed(const char *value, void *arg)
{
	uint64_t state;

	return !value || (pvb_parse_u64(value, 0, PVB_NR_STATES, &state) == 0 && state == PVB_CLOSED);
}

static int wait_closed(struct pvb_store *st, const struct rescind_arg *a, int timeout_ms)
{
	char path[DIR_MAX + 8];

	snprintf(path, sizeof(path), "%s/%s", a->back, state_key);
	return pvb_store_wait(st, path, closed, NULL, timeout_ms);
}

static int failed(const struct pvb_device_id *id, int rc, struct pvb_error *err)
{
	return pvb_err(err, rc, "%s %u of domain %u: %s", id->kind, id->devid, id->front,
		       rc == -ENOENT ? "no such device" : strerror(-rc));
}

static int rescind_init(struct rescind_arg *a, const struct pvb_device_id *id, struct pvb_error *err)
{
	int rc = check_id(id, err);

	if (rc < 0)
		return rc;
	pvb_device_back_path(id, a->back, sizeof(a->back));
	pvb_device_front_path(id, a->front, sizeof(a->front));
	snprintf(a->back_parent, sizeof(a->back_parent), "/local/domain/%u/backend/%s/%u", id->back, id->kind,
		 id->front);
	return 0;
}

int pvb_rescind(struct pvb_store *st, const struct pvb_device_id *id, int timeout_ms, struct pvb_error *err)
{
	struct rescind_arg a;
	enum pvb_state front;
	int rc;

	rc = rescind_init(&a, id, err);
	if (rc < 0)
		return rc;
	rc = pvb_store_txn(st, ask, &a);
	rc = rc < 0 ? rc : wait_closed(st, &a, timeout_ms);
	if (rc == -ETIMEDOUT) {
		front = pvb_state_read(st, PVB_NO_TXN, a.front);
		rc = pvb_store_txn(st, take_back, &a);
		if (rc == 0)
			return pvb_err(err, -EBUSY, "%s %u of domain %u: not released within %d ms (front end %s)",
				       id->kind, id->devid, id->front, timeout_ms, pvb_state_name(front));
		rc = rc == -EALREADY ? 0 : rc;
	}
	rc = rc < 0 ? rc : pvb_store_txn(st, remove_both, &a);
	return rc < 0 ? failed(id, rc, err) : 0;
}

int pvb_rescind_force(struct pvb_store *st, const struct pvb_device_id *id, int timeout_ms, struct pvb_error *err)
{
	struct rescind_arg a;
	int rc;

	rc = rescind_init(&a, id, err);
	if (rc < 0)
		return rc;
	rc = pvb_store_txn(st, ask, &a);
	/* a front end's directory alone is removed as well */
	if (rc == -ENOENT && !pvb_store_exists(st, PVB_NO_TXN, a.front))
		return failed(id, rc, err);
	if (rc == 0)
		wait_closed(st, &a, timeout_ms);
	rc = pvb_store_txn(st, remove_both, &a);
	return rc < 0 ? failed(id, rc, err) : 0;
}
