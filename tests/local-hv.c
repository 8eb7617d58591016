/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only the local fabric has: processes that die, memory a hostile guest writes, numbers that come back.
 * (What hv.h promises on both buses is in hv-suite.c.) */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "unit.h"
#include "bus/local/fabric.h"
#include "bus/local/proto.h"
#include "bus/local/hv-local.h"
#include "bus/hv.h"
#include "bus/loop.h"

static struct pvb_fabric *fabric;
static char dir[64];
static uint32_t guest;
static struct pvb_hv *back, *front;

static struct pvb_hv *open_as(uint32_t domid, unsigned flags)
{
	struct pvb_error err = { 0 };
	struct pvb_hv *hv = NULL;
	char spec[128];

	snprintf(spec, sizeof(spec), "local:%s:%u", dir, domid);
	if (pvb_hv_open(&hv, spec, flags, &err) < 0)
		fail_msg("%s", err.text);
	return hv;
}

static struct pvb_local_stats stats(void)
{
	struct pvb_error err = { 0 };
	struct pvb_local_stats st;

	if (pvb_local_stats(dir, &st, &err) < 0)
		fail_msg("%s", err.text);
	return st;
}

static int up(void **state)
{
	struct pvb_error err = { 0 };

	snprintf(dir, sizeof(dir), "/tmp/pvbus-hv-XXXXXX");
	assert_non_null(mkdtemp(dir));
	if (pvb_fabric_start(&fabric, dir, &err) < 0 || pvb_local_domain_create(dir, "guest", 1024, &guest, &err) < 0)
		fail_msg("%s", err.text);
	back = open_as(0, PVB_HV_BACK);
	front = open_as(guest, PVB_HV_FRONT);
	return 0;
}

static int down(void **state)
{
	struct pvb_local_stats st;

	pvb_hv_close(back);
	pvb_hv_close(front);
	st = stats();
	assert_int_equal(st.handles, 0);
	assert_int_equal(st.ports, 0);
	assert_int_equal(st.pages, 0);
	pvb_fabric_stop(fabric);
	assert_int_equal(access(dir, F_OK), -1);
	return 0;
}

/* Until the server has noticed that a process is gone. */
static void wait_handles(uint32_t n)
{
	uint64_t end = pvb_now_ms() + 10000;

	while (stats().handles != n) {
		assert_true(pvb_now_ms() < end);
		usleep(1000);
	}
}

static bool readable(struct pvb_hv *hv, int ms)
{
	struct pollfd p = { .fd = pvb_hv_evt_fd(hv), .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* A process that opens a handle of its own, does something, says so and waits to be killed. */
static pid_t child(uint32_t domid, unsigned flags, void (*fn)(struct pvb_hv *hv, void *arg), void *arg)
{
	char c;
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pvb_error err = { 0 };
		struct pvb_hv *hv;
		char spec[128];

		snprintf(spec, sizeof(spec), "local:%s:%u", dir, domid);
		if (pvb_hv_open(&hv, spec, flags, &err) < 0)
			_exit(1);
		fn(hv, arg);
		if (write(p[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	return pid;
}

static void kill_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- processes that die ----------------------------------------------------------------------------- */

static void map_it(struct pvb_hv *hv, void *arg)
{
	struct pvb_grant *g = arg;
	struct pvb_map m;
	unsigned i;

	for (i = 0; i < 3; i++)
		if (pvb_hv_map(hv, guest, g->refs, g->nr, true, &m) < 0)
			_exit(2);
	strcpy(m.addr, "seen");
}

/* A back end is killed with pages mapped: the guest can revoke them afterwards. */
static void mapper_dies(void **state)
{
	struct pvb_grant g;
	pid_t pid;

	assert_int_equal(pvb_hv_grant(front, 0, 5, true, &g), 0);
	pid = child(0, PVB_HV_BACK, map_it, &g);
	assert_string_equal(g.addr, "seen");
	kill_child(pid);
	wait_handles(2);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	/* and while it lives it can not; the page is lost until it dies */
	assert_int_equal(pvb_hv_grant(front, 0, 5, true, &g), 0);
	pid = child(0, PVB_HV_BACK, map_it, &g);
	assert_int_equal(pvb_hv_ungrant(front, &g), -EBUSY);
	assert_int_equal(pvb_hv_live(front)->stuck, 5);
	kill_child(pid);
	wait_handles(2);
	pvb_hv_close(front);
	assert_int_equal(stats().pages, 0);
	front = open_as(guest, PVB_HV_FRONT);
}

static void grant_it(struct pvb_hv *hv, void *arg)
{
	struct pvb_grant g;

	if (pvb_hv_grant(hv, 0, 3, true, &g) < 0 || pvb_hv_evt_alloc(hv, 0) < 0)
		_exit(2);
	strcpy(g.addr, "granted");
	memcpy(arg, g.refs, 3 * sizeof(uint32_t));
}

/* A front end is killed: its grants are revoked, its ports closed; what is mapped stays till unmapped. */
static void granter_dies(void **state)
{
	uint32_t *refs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pvb_map m, m2;
	pid_t pid;

	pid = child(guest, PVB_HV_FRONT, grant_it, refs);
	assert_int_equal(pvb_hv_map(back, guest, refs, 1, true, &m), 0);
	assert_string_equal(m.addr, "granted");
	kill_child(pid);
	wait_handles(2);
	assert_int_equal(pvb_hv_map(back, guest, refs + 1, 1, true, &m2), -EINVAL);
	assert_int_equal(pvb_hv_map(back, guest, refs, 1, true, &m2), -EINVAL);
	assert_string_equal(m.addr, "granted");
	assert_int_equal(stats().stuck, 1);
	pvb_hv_unmap(back, &m);
	assert_int_equal(stats().pages, 0);
	munmap(refs, 4096);
}

static void bind_it(struct pvb_hv *hv, void *arg)
{
	uint32_t ports[4];
	int p = pvb_hv_evt_bind(hv, guest, *(uint32_t *)arg);

	/* pending at once; left masked and unserved */
	if (p < 0 || pvb_hv_evt_take(hv, ports, 4) != 1 || ports[0] != (uint32_t)p)
		_exit(2);
}

/* A back end is killed and another one takes its place: kicks in between are not lost, and dropped silently. */
static void rebind_is_pending(void **state)
{
	uint32_t port = (uint32_t)pvb_hv_evt_alloc(front, 0), ports[4];
	int mine, round;

	assert_true((int)port > 0);
	for (round = 0; round < 20; round++) {
		pid_t pid = child(0, PVB_HV_BACK, bind_it, &port);

		assert_int_equal(pvb_hv_evt_bind(back, guest, port), -EINVAL); /* it has a peer */
		assert_int_equal(pvb_hv_evt_notify(front, port), 0);
		kill_child(pid);
		assert_int_equal(pvb_hv_evt_notify(front, port), 0);
		wait_handles(2);
		assert_int_equal(pvb_hv_evt_notify(front, port), 0);
		mine = pvb_hv_evt_bind(back, guest, port);
		assert_true(mine > 0);
		assert_true(readable(back, 0));
		assert_int_equal(pvb_hv_evt_take(back, ports, 4), 1);
		assert_int_equal(ports[0], mine);
		assert_false(readable(back, 0));
		assert_int_equal(pvb_hv_evt_unmask(back, ports, 1), 0);
		/* both ways, with the new one */
		assert_int_equal(pvb_hv_evt_notify(front, port), 0);
		assert_true(readable(back, 0));
		assert_int_equal(pvb_hv_evt_take(back, ports, 4), 1);
		assert_int_equal(pvb_hv_evt_notify(back, (uint32_t)mine), 0);
		assert_true(readable(front, 1000));
		while (pvb_hv_evt_take(front, ports, 4) != 1)
			;
		assert_int_equal(ports[0], port);
		assert_int_equal(pvb_hv_evt_unmask(front, ports, 1), 0);
		assert_int_equal(pvb_hv_evt_unbind(back, (uint32_t)mine), 0);
	}
}

/* A back end killed at any instruction, many times: no page stays pinned, no wake-up is lost. */
static void killed_anywhere(void **state)
{
	uint32_t a[9], ports[4];
	struct pvb_grant g;
	unsigned round, i;

	a[0] = (uint32_t)pvb_hv_evt_alloc(front, 0);
	for (round = 0; round < 40; round++) {
		int p[2], mine;
		pid_t pid;

		assert_int_equal(pvb_hv_grant(front, 0, 8, true, &g), 0);
		memcpy(a + 1, g.refs, 8 * sizeof(uint32_t));
		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			struct pvb_hv *hv = NULL;
			struct pvb_copy ops[8];
			char spec[128], buf[8][64];
			int port;

			snprintf(spec, sizeof(spec), "local:%s", dir);
			if (pvb_hv_open(&hv, spec, PVB_HV_BACK, NULL) < 0)
				_exit(1);
			port = pvb_hv_evt_bind(hv, guest, a[0]);
			if (port < 0 || write(p[1], "x", 1) != 1)
				_exit(1);
			for (;;) {
				for (i = 0; i < 8; i++)
					ops[i] = (struct pvb_copy){ .src = { .ref = a[1 + i],
									     .domid = (uint16_t)guest },
								    .dst = { .local = buf[i] }, .len = 64 };
				pvb_hv_copy(hv, ops, 8);
				pvb_hv_evt_notify(hv, (uint32_t)port);
				pvb_hv_evt_take(hv, ports, 4);
				pvb_hv_evt_unmask(hv, ports, 1);
			}
		}
		close(p[1]);
		assert_int_equal(read(p[0], ports, 1), 1);
		close(p[0]);
		/* be a guest that sleeps and is woken, for a while that differs each time */
		for (i = 0; i < round % 7 + 1; i++) {
			assert_true(readable(front, 5000));
			if (pvb_hv_evt_take(front, ports, 4) > 0)
				pvb_hv_evt_unmask(front, ports, 1);
		}
		kill_child(pid);
		wait_handles(2);
		assert_int_equal(pvb_hv_ungrant(front, &g), 0);
		/* whatever state it left the channel in: the next one gets through */
		mine = pvb_hv_evt_bind(back, guest, a[0]);
		assert_true(mine > 0);
		while (pvb_hv_evt_take(front, ports, 4) > 0)
			pvb_hv_evt_unmask(front, ports, 1);
		assert_int_equal(pvb_hv_evt_notify(back, (uint32_t)mine), 0);
		assert_true(readable(front, 5000));
		assert_int_equal(pvb_hv_evt_unbind(back, (uint32_t)mine), 0);
		for (i = 0; i < 100 && readable(front, 0); i++)
			if (pvb_hv_evt_take(front, ports, 4) > 0)
				pvb_hv_evt_unmask(front, ports, 1);
	}
}

/* ---- a hostile guest -------------------------------------------------------------------------------- */

static lf_entry *table(void)
{
	return ((struct lhv *)front->priv)->own->table;
}

/* Any contents of any entry: refused, or inside the guest's own memory. */
static void hostile_table(void **state)
{
	struct lhv_mem *own = ((struct lhv *)front->priv)->own;
	const uint8_t *lo = NULL;
	uint64_t seed = 42, i;
	unsigned mapped = 0;
	struct pvb_map m;
	char buf[64];

	for (i = 0; i < 200000; i++) {
		uint32_t ref = rnd(&seed) % 1024, r = rnd(&seed), frame = rnd(&seed);
		struct pvb_copy op = { .src = { .ref = ref, .domid = (uint16_t)guest, .offset = 4000 },
				       .dst = { .local = buf }, .len = 64 };
		bool writable = r & 1;
		int rc;

		if (r & 2)
			frame = frame % 2 ? frame % 1030 : frame; /* often just inside or outside */
		table()[ref] = lf_entry_make((uint16_t)(r >> 8), r & 4 ? 0 : (uint16_t)(r >> 16), frame);
		rc = pvb_hv_map(back, guest, &ref, 1, writable, &m);
		assert_true(rc == 0 || rc == -EINVAL);
		if (rc == 0) {
			lo = ((struct lhv *)back->priv)->mems->rw;
			if (!writable)
				lo = ((struct lhv *)back->priv)->mems->ro;
			assert_true((uint8_t *)m.addr >= lo + own->layout.data);
			assert_true((uint8_t *)m.addr + 4096 <= lo + own->layout.total);
			assert_true(frame < 1024 && (r >> 8 & 3) == 1 && !(writable && (r >> 8 & 4)));
			pvb_hv_unmap(back, &m);
			mapped++;
		}
		assert_int_equal(pvb_hv_copy(back, &op, 1), 0);
		assert_true((op.status == 0) == (frame < 1024 && (r >> 8 & 3) == 1 &&
						 lf_entry_domid(table()[ref]) == 0));
	}
	assert_true(mapped > 100);
	memset(table(), 0, 1024 * sizeof(lf_entry));
	/* references beyond the table */
	uint32_t ref = 1024;
	assert_int_equal(pvb_hv_map(back, guest, &ref, 1, false, &m), -EINVAL);
	ref = 0xfffffff0;
	assert_int_equal(pvb_hv_map(back, guest, &ref, 1, false, &m), -EINVAL);
}

/* Pins at their limits, changed by the guest under our feet: no mapping goes astray. */
static void hostile_pins(void **state)
{
	struct lhv_mem *own = ((struct lhv *)front->priv)->own;
	struct pvb_grant g;
	struct pvb_map m;

	assert_int_equal(pvb_hv_grant(front, 0, 1, true, &g), 0);
	assert_int_equal(pvb_hv_map(back, guest, g.refs, 1, true, &m), 0);
	memset(own->pins[g.refs[0]], 0, sizeof(lf_pins));
	pvb_hv_unmap(back, &m);
	assert_int_equal(own->pins[g.refs[0]][0], 0);
	memset(own->pins[g.refs[0]], 0xff, sizeof(lf_pins));
	assert_int_equal(pvb_hv_map(back, guest, g.refs, 1, true, &m), -ENOSPC);
	memset(own->pins[g.refs[0]], 0, sizeof(lf_pins));
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

/* The memory can not be made smaller under a mapping, and punching holes in it gives zeroes. */
static void memory_is_sealed(void **state)
{
	struct lhv_mem *own = ((struct lhv *)front->priv)->own;
	struct pvb_grant g;
	struct pvb_map m;

	assert_int_equal(ftruncate(own->fd, 4096), -1);
	assert_int_equal(ftruncate(own->fd, (off_t)own->layout.total + 4096), -1);
	assert_int_equal(pvb_hv_grant(front, 0, 1, true, &g), 0);
	assert_int_equal(pvb_hv_map(back, guest, g.refs, 1, true, &m), 0);
	strcpy(g.addr, "x");
	assert_int_equal(fallocate(own->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)own->layout.total),
			 0);
	assert_int_equal(*(char *)m.addr, 0);
	pvb_hv_unmap(back, &m);
	pvb_hv_ungrant(front, &g);
}

/* Event pages: every word written with rubbish; ports of other domains and our own mask stay right. */
static void hostile_event_page(void **state)
{
	struct pvb_error err = { 0 };
	uint32_t ports[16], other, i, round;
	struct lhv_page *pg;
	struct pvb_hv *good;
	uint64_t seed = 7;
	int bad_port, good_port, n;

	assert_int_equal(pvb_local_domain_create(dir, "good", 64, &other, &err), 0);
	good = open_as(other, PVB_HV_FRONT);
	bad_port = pvb_hv_evt_bind(back, guest, (uint32_t)pvb_hv_evt_alloc(front, 0));
	i = (uint32_t)pvb_hv_evt_alloc(good, 0);
	good_port = pvb_hv_evt_bind(back, other, i);
	assert_true(bad_port > 0 && good_port > 0);
	assert_int_equal(pvb_hv_evt_notify(front, 1), 0); /* finds the page it sends through */
	pg = ((struct lhv *)front->priv)->send;
	assert_non_null(pg);
	for (round = 0; round < 2000; round++) {
		bool got_good = false;

		for (i = 0; i < sizeof(*pg->mem) / 4; i++)
			((volatile uint32_t *)pg->mem)[i] = rnd(&seed) & rnd(&seed);
		if (round % 3 == 0)
			memset(pg->mem, round % 2 ? 0xff : 0, sizeof(*pg->mem));
		if (round % 7 == 0)
			assert_int_equal(write(pg->efd, "\1\0\0\0\0\0\0", 8), 8);
		assert_int_equal(pvb_hv_evt_notify(good, 1), 0);
		assert_true(readable(back, 0));
		do {
			n = pvb_hv_evt_take(back, ports, 16);
			for (i = 0; i < (uint32_t)n; i++) {
				assert_true(ports[i] == (uint32_t)bad_port || ports[i] == (uint32_t)good_port);
				got_good |= ports[i] == (uint32_t)good_port;
			}
		} while (n > 0);
		assert_true(got_good);
		ports[0] = (uint32_t)good_port;
		ports[1] = (uint32_t)bad_port;
		pvb_hv_evt_unmask(back, ports, 2);
	}
	/* written for no reason and with no flag: readable, but not for ever */
	memset(pg->mem, 0, sizeof(*pg->mem));
	assert_int_equal(write(pg->efd, "\1\0\0\0\0\0\0", 8), 8);
	for (i = 0; readable(back, 0); i++) {
		assert_true(i < 1000);
		if (pvb_hv_evt_take(back, ports, 16) > 0)
			pvb_hv_evt_unmask(back, ports, 1);
	}
	pvb_hv_close(good);
	assert_int_equal(pvb_local_domain_destroy(dir, other, &err), 0);
}

/* With PVB_HV_GUARD a byte beside the page is a fault, and a page that was unmapped too. */
static void guard_pages(void **state)
{
	struct pvb_hv *hv = open_as(0, PVB_HV_BACK | PVB_HV_GUARD);
	uint32_t mixed[3];
	struct pvb_grant g;
	struct pvb_map m;
	unsigned char vec;

	assert_int_equal(pvb_hv_grant(front, 0, 3, true, &g), 0);
	mixed[0] = g.refs[2];
	mixed[1] = g.refs[0];
	mixed[2] = g.refs[2];
	memset((char *)g.addr + 8192, 'c', 4096);
	assert_int_equal(pvb_hv_map(hv, guest, mixed, 3, true, &m), 0);
	assert_int_equal(((char *)m.addr)[0], 'c');
	assert_int_equal(((char *)m.addr)[4096], 0);
	assert_int_equal(((char *)m.addr)[8192], 'c');
	assert_int_equal(mincore((char *)m.addr - 4096, 4096, &vec), 0); /* there, but nothing may touch it */
	int p[2];
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], (char *)m.addr - 1, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(write(p[1], (char *)m.addr + 3 * 4096, 1), -1);
	assert_int_equal(write(p[1], m.addr, 1), 1);
	char *was = m.addr;
	pvb_hv_unmap(hv, &m);
	assert_int_equal(write(p[1], was, 1), -1);
	close(p[0]);
	close(p[1]);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
	pvb_hv_close(hv);
}

/* ---- domains that come back ------------------------------------------------------------------------- */

static void domid_reuse(void **state)
{
	struct pvb_local_new spec = { .name = "again", .pages = 16, .domid = 99 };
	struct pvb_error err = { 0 };
	struct pvb_hv *f1, *f2;
	struct pvb_grant g;
	struct pvb_map m, m2;
	uint32_t domid;
	int port, mine;

	assert_int_equal(pvb_local_domain_create_with(dir, &spec, &domid, &err), 0);
	assert_int_equal(domid, 99);
	assert_int_equal(pvb_local_domain_create_with(dir, &spec, &domid, &err), -EEXIST);
	f1 = open_as(99, PVB_HV_FRONT);
	assert_int_equal(pvb_hv_grant(f1, 0, 1, true, &g), 0);
	strcpy(g.addr, "first");
	assert_int_equal(pvb_hv_map(back, 99, g.refs, 1, true, &m), 0);
	port = pvb_hv_evt_alloc(f1, 0);
	mine = pvb_hv_evt_bind(back, 99, (uint32_t)port);
	assert_int_equal(pvb_local_domain_destroy(dir, 99, &err), 0);
	assert_int_equal(pvb_hv_map(back, 99, g.refs, 1, true, &m2), -ESRCH);
	assert_int_equal(pvb_hv_evt_notify(back, (uint32_t)mine), 0);
	assert_int_equal(pvb_hv_evt_bind(back, 99, 1), -ESRCH);
	/* what its handle still tries fails, and hurts nobody */
	assert_true(pvb_hv_evt_alloc(f1, 0) < 0);
	assert_int_equal(pvb_local_domain_create_with(dir, &spec, &domid, &err), 0);
	f2 = open_as(99, PVB_HV_FRONT);
	assert_int_equal(pvb_hv_map(back, 99, g.refs, 1, true, &m2), -EINVAL);
	struct pvb_grant g2;
	assert_int_equal(pvb_hv_grant(f2, 0, 1, true, &g2), 0);
	strcpy(g2.addr, "second");
	assert_int_equal(pvb_hv_map(back, 99, g2.refs, 1, true, &m2), 0);
	assert_string_equal(m2.addr, "second");
	assert_string_equal(m.addr, "first");
	/* nor can the new one take what waited for the old one */
	port = pvb_hv_evt_alloc(back, 99);
	assert_int_equal(pvb_local_domain_destroy(dir, 99, &err), 0);
	assert_int_equal(pvb_local_domain_create_with(dir, &spec, &domid, &err), 0);
	pvb_hv_unmap(back, &m);
	pvb_hv_unmap(back, &m2);
	pvb_hv_ungrant(f1, &g);
	pvb_hv_ungrant(f2, &g2);
	pvb_hv_close(f1);
	pvb_hv_close(f2);
	f2 = open_as(99, PVB_HV_FRONT);
	assert_int_equal(pvb_hv_evt_bind(f2, 0, (uint32_t)port), -EINVAL);
	pvb_hv_close(f2);
	assert_int_equal(pvb_local_domain_destroy(dir, 99, &err), 0);
}

/* A guest is a guest: no other memory, no toolstack. */
static void unprivileged(void **state)
{
	struct lf_request req = { .op = LF_DOM_CREATE, .a = 1, .name = "x" };
	struct pvb_hv *hv = open_as(guest, PVB_HV_BACK | PVB_HV_FRONT);
	static const uint32_t tool[] = { LF_DOM_CREATE, LF_DOM_DESTROY, LF_DOM_LIST, LF_DOM_WAIT, LF_DOM_OWN,
					 LF_STATS };
	struct pvb_error err = { 0 };
	struct pvb_grant g;
	struct lf_reply rep;
	struct pvb_map m;
	uint32_t ref = 0;
	unsigned i;
	int sock;

	assert_int_equal(pvb_hv_map(hv, 0, &ref, 1, false, &m), -EACCES);
	assert_int_equal(pvb_hv_grant(hv, guest, 1, true, &g), 0);
	assert_int_equal(pvb_hv_map(hv, PVB_DOMID_SELF, g.refs, 1, true, &m), 0);
	pvb_hv_unmap(hv, &m);
	pvb_hv_ungrant(hv, &g);
	sock = lf_connect(dir, guest, &err);
	assert_true(sock >= 0);
	for (i = 0; i < sizeof(tool) / sizeof(*tool); i++) {
		req.op = tool[i];
		assert_int_equal(lf_call(sock, &req, &rep, NULL, 0, 1000), -EPERM);
	}
	req.op = 77;
	assert_int_equal(lf_call(sock, &req, &rep, NULL, 0, 1000), -ENOSYS);
	req.op = LF_RESERVE;
	assert_int_equal(lf_call(sock, &req, &rep, NULL, 0, 1000), -EINVAL); /* no handle yet */
	/* a message of another size is the end of the connection, of no other */
	assert_int_equal(send(sock, &req, 5, MSG_NOSIGNAL), 5);
	assert_int_equal(recv(sock, &rep, sizeof(rep), 0), 0);
	close(sock);
	/* reserving: zero, too many, returning what is not ours */
	struct lhv *l = hv->priv;
	req = (struct lf_request){ .op = LF_RESERVE, .a = 0 };
	assert_int_equal(lhv_call(l, &req, &rep, NULL, 0), -EINVAL);
	req.a = 0xffffffff;
	assert_int_equal(lhv_call(l, &req, &rep, NULL, 0), -ENOSPC);
	req = (struct lf_request){ .op = LF_RETURN, .a = 0, .b = 1 };
	assert_int_equal(lhv_call(l, &req, &rep, NULL, 0), -EINVAL);
	pvb_hv_close(hv);
}

/* As many handles as there are columns may map one domain's pages; then no more until one is closed. */
static void columns(void **state)
{
	struct pvb_hv *hv[LF_NR_COLUMNS + 1];
	struct pvb_grant g;
	struct pvb_map m;
	unsigned i;

	assert_int_equal(pvb_hv_grant(front, 0, 1, true, &g), 0);
	for (i = 0; i <= LF_NR_COLUMNS; i++)
		hv[i] = open_as(0, PVB_HV_BACK);
	for (i = 0; i <= LF_NR_COLUMNS; i++) {
		int rc = pvb_hv_map(hv[i], guest, g.refs, 1, true, &m);

		assert_int_equal(rc, i < LF_NR_COLUMNS ? 0 : -ENOSPC);
	}
	assert_int_equal(pvb_hv_ungrant(front, &g), -EBUSY);
	pvb_hv_close(hv[3]);
	assert_int_equal(pvb_hv_grant(front, 0, 1, true, &g), 0);
	assert_int_equal(pvb_hv_map(hv[LF_NR_COLUMNS], guest, g.refs, 1, true, &m), 0);
	for (i = 0; i <= LF_NR_COLUMNS; i++)
		if (i != 3)
			pvb_hv_close(hv[i]);
	assert_int_equal(pvb_hv_ungrant(front, &g), 0);
}

/* Many processes grant for domain 0 at the same time: nobody gets another one's pages. */
static void shared_domain_zero(void **state)
{
	struct pvb_hv *hv[4];
	struct pvb_grant g[4][20];
	unsigned i, k;

	for (i = 0; i < 4; i++)
		hv[i] = open_as(0, PVB_HV_FRONT | PVB_HV_BACK);
	for (k = 0; k < 20; k++)
		for (i = 0; i < 4; i++) {
			assert_int_equal(pvb_hv_grant(hv[i], 0, k % 5 + 1, true, &g[i][k]), 0);
			memset(g[i][k].addr, (int)(i * 20 + k + 1), (k % 5 + 1) * 4096);
		}
	for (k = 0; k < 20; k++)
		for (i = 0; i < 4; i++) {
			struct pvb_map m;

			assert_int_equal(((uint8_t *)g[i][k].addr)[4095], i * 20 + k + 1);
			assert_int_equal(pvb_hv_map(hv[(i + 1) % 4], 0, g[i][k].refs, k % 5 + 1, false, &m), 0);
			assert_int_equal(((uint8_t *)m.addr)[(k % 5 + 1) * 4096 - 1], i * 20 + k + 1);
			pvb_hv_unmap(hv[(i + 1) % 4], &m);
		}
	for (i = 0; i < 4; i++) {
		for (k = 0; k < 20; k++)
			assert_int_equal(pvb_hv_ungrant(hv[i], &g[i][k]), 0);
		pvb_hv_close(hv[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mapper_dies, up, down),
		cmocka_unit_test_setup_teardown(granter_dies, up, down),
		cmocka_unit_test_setup_teardown(rebind_is_pending, up, down),
		cmocka_unit_test_setup_teardown(killed_anywhere, up, down),
		cmocka_unit_test_setup_teardown(hostile_table, up, down),
		cmocka_unit_test_setup_teardown(hostile_pins, up, down),
		cmocka_unit_test_setup_teardown(memory_is_sealed, up, down),
		cmocka_unit_test_setup_teardown(hostile_event_page, up, down),
		cmocka_unit_test_setup_teardown(guard_pages, up, down),
		cmocka_unit_test_setup_teardown(domid_reuse, up, down),
		cmocka_unit_test_setup_teardown(unprivileged, up, down),
		cmocka_unit_test_setup_teardown(columns, up, down),
		cmocka_unit_test_setup_teardown(shared_domain_zero, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
