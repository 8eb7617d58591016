// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking a device's two ends to let go.  Removes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "release.h"
#include "state.h"

struct release {
	const char *back, *front;
	enum pvb_state before;  /* of the back end */
	bool restored;
};

static int set(struct pvb_store *st, pvb_txn t, const char *dir, const char *key, const char *value)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	return pvb_store_write(st, t, path, value);
}

static int ask(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct release *r = arg;
	int rc;

	r->before = pvb_state_read(st, t, r->back);
	if (r->before == PVB_UNKNOWN || r->before == PVB_CLOSED)
		return 0; /* nobody there to ask */
	rc = set(st, t, r->back, "online", "0");
	return rc ? rc : set(st, t, r->back, "state", "5");
}

static int put_back(struct pvb_store *st, pvb_txn t, void *arg)
{
	struct release *r = arg;
	enum pvb_state front = pvb_state_read(st, t, r->front), back = pvb_state_read(st, t, r->back);
	char text[4];
	int rc;

	r->restored = false;
	if (front == PVB_CLOSING || front == PVB_CLOSED || back != PVB_CLOSING)
		return 0; /* it has begun after all */
	snprintf(text, sizeof(text), "%d", r->before);
	rc = set(st, t, r->back, "online", "1");
	if (!rc)
		rc = set(st, t, r->back, "state", text);
	r->restored = rc == 0;
	return rc;
}

static bool closed(const char *value, void *arg)
{
	return !value || strcmp(value, "6") == 0;
}

static int wait_closed(struct pvb_store *st, const char *dir, int timeout_ms)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/state", dir);
	return pvb_store_wait(st, path, closed, NULL, timeout_ms);
}

static int drive(struct pvb_store *st, const struct release *r)
{
	int rc = pvb_state_write(st, r->back, PVB_CLOSED);

	if (rc && rc != -ENOENT)
		return rc;
	wait_closed(st, r->front, 500); /* time to see it; not needed */
	return 0;
}

int release_device(struct pvb_store *st, const char *back, const char *front, bool force, int timeout_ms,
		   struct pvb_error *err)
{
	struct release r = { .back = back, .front = front };
	int rc = pvb_store_txn(st, ask, &r);

	if (rc)
		return pvb_err(err, rc, "%s: %s", back, strerror(-rc));
	rc = wait_closed(st, back, timeout_ms);
	if (rc == 0)
		return 0;
	if (rc != -ETIMEDOUT)
		return pvb_err(err, rc, "%s: %s", back, strerror(-rc));
	if (force) {
		rc = drive(st, &r);
		return rc ? pvb_err(err, rc, "%s: %s", back, strerror(-rc)) : 0;
	}
	rc = pvb_store_txn(st, put_back, &r);
	if (rc)
		return pvb_err(err, rc, "%s: %s", back, strerror(-rc));
	if (r.restored)
		return pvb_err(err, -EBUSY,
			       "the guest did not let go in %d ms (front end %s); the device is whole again, "
			       "--force takes it away",
			       timeout_ms, pvb_state_name(pvb_state_read(st, PVB_NO_TXN, front)));
	if (wait_closed(st, back, timeout_ms) == 0)
		return 0;
	return pvb_err(err, -EBUSY,
		       "the guest began to let go but did not finish in %d ms (front end %s, back end %s); "
		       "--force takes it away",
		       2 * timeout_ms, pvb_state_name(pvb_state_read(st, PVB_NO_TXN, front)),
		       pvb_state_name(pvb_state_read(st, PVB_NO_TXN, back)));
}
