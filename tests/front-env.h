/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_FRONT_ENV_H
#define PVB_TESTS_FRONT_ENV_H
/* What every test of the user-space front end stands on: a fabric in this process, a domain, and a guest of
 * libpvfront in it; with the checks each test ends with (nothing granted, no port open). */
#include "unit.h"
#include <stdio.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "fake-back.h"
#include "frontend/user/pvfront.h"

#define DEVID 51712u
#define WAIT_MS 10000

struct env {
	char dir[64];
	struct pvb_fabric *fabric;
	uint32_t domid;
	struct pvb_loop *loop;
	struct pvb_hv *hv;
	struct pvb_store *st;
	struct pvf_guest *guest;
	struct pvb_error err;
};

#define MUST(env, call) do { \
	int must_rc_ = (call); \
	if (must_rc_ < 0) \
		fail_msg("%s: %d %s", #call, must_rc_, (env)->err.text); \
} while (0)

static inline int env_setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	char spec[96];

	snprintf(e->dir, sizeof(e->dir), "/tmp/pvfront-XXXXXX");
	if (mkdtemp(e->dir) == NULL)
		return -1;
	*state = e;
	MUST(e, pvb_fabric_start(&e->fabric, e->dir, &e->err));
	MUST(e, fback_domain(e->dir, 16384, &e->domid, &e->err));
	snprintf(spec, sizeof(spec), "local:%s:%u", e->dir, e->domid);
	MUST(e, pvb_loop_new(&e->loop));
	MUST(e, pvb_hv_open(&e->hv, spec, PVB_HV_FRONT, &e->err));
	MUST(e, pvb_store_open(&e->st, spec, &e->err));
	MUST(e, pvf_guest_new(&e->guest, e->hv, e->st, e->loop, &e->err));
	return 0;
}

static inline int env_teardown(void **state)
{
	struct env *e = *state;
	const struct pvb_hv_live *l = pvb_hv_live(e->hv);
	int bad = l->grants != 0 || l->ports != 0;

	if (bad)
		print_message("left: %u grants, %u ports\n", l->grants, l->ports);
	pvf_guest_free(e->guest);
	pvb_store_close(e->st);
	pvb_hv_close(e->hv);
	pvb_loop_free(e->loop);
	pvb_fabric_stop(e->fabric);
	rmdir(e->dir);
	free(e);
	return bad ? -1 : 0;
}

/* Run the loop until cond, at most WAIT_MS. */
#define LOOP_UNTIL(env, cond) DO_UNTIL(WAIT_MS, cond, pvb_loop_once((env)->loop, 50))

/* Requests that count themselves. */
struct io {
	struct pvf_req req;
	unsigned *pending;
	int rc, calls;
};

static inline void io_done(struct pvf_req *req, int rc)
{
	struct io *io = req->arg;

	io->rc = rc;
	io->calls++;
	(*io->pending)--;
}

static inline int io_submit(struct pvf_disk *d, unsigned q, struct io *io, unsigned *pending, enum pvf_op op,
			    uint64_t offset, uint64_t length, void *data, const struct pvf_buf *buf)
{
	int rc;

	*io = (struct io){ .pending = pending, .rc = 1 };
	io->req = (struct pvf_req){
		.op = op, .offset = offset, .length = length, .data = data, .buf = buf, .done = io_done, .arg = io
	};
	++*pending;
	rc = pvf_disk_submit(d, q, &io->req);
	if (rc < 0)
		--*pending;
	return rc;
}
#endif
