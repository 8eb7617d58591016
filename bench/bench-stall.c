/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a guest's I/O stands still when the worker that serves it is killed.  A process guest keeps QD requests of 4 KiB
 * in flight, reads and writes in turn; from time to time pvbackd's worker gets SIGKILL, and the longest time without a
 * completion after that is the stall.  bench-stall HV DEVID PVBACKD-PID [KILLS [QD]]
 *
 * bench/stall starts what it needs.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bus/loop.h"
#include "frontend/user/pvfront.h"

#define IO 4096u
#define MAX_QD 64u
#define LIFE_MS 300u                 /* longer than what counts as dying in a row */
#define MAX_KILLS 10000u

static struct pvb_loop *loop;
static struct pvf_disk *disk;
static struct pvf_buf buf;
static struct pvf_req reqs[MAX_QD];
static unsigned long backd, nr_kills = 200, killed;
static uint64_t seed = 1, last, gap, done_ops, killed_at;
static uint64_t stalls[MAX_KILLS];

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bench-stall: %s\n", what);
	exit(1);
}

static uint64_t random_off(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % (pvf_disk_info(disk)->size / IO) * IO;
}

static void submit(struct pvf_req *r)
{
	r->op = r->op == PVF_READ ? PVF_WRITE : PVF_READ;
	r->offset = random_off();
	if (pvf_disk_submit(disk, 0, r) < 0)
		die("a request was not taken");
}

static void done(struct pvf_req *r, int rc)
{
	uint64_t now = pvb_now_ns();

	if (rc < 0)
		die("a request failed");
	if (now - last > gap)
		gap = now - last;
	last = now;
	done_ops++;
	submit(r);
}

/* pvbackd's first child. */
static void kill_worker(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%lu/task/%lu/children", backd, backd);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &pid) != 1 || kill(pid, SIGKILL) < 0)
		die("pvbackd has no worker");
	fclose(f);
}

static void next(void *arg)
{
	if (killed && last == killed_at) { /* nothing has come since */
		pvb_loop_timer(loop, 1, next, NULL, NULL);
		return;
	}
	if (killed)
		stalls[killed - 1] = gap;
	if (killed == nr_kills) {
		pvb_loop_stop(loop, 0);
		return;
	}
	gap = 0;
	last = killed_at = pvb_now_ns(); /* the time until its death is not part of it */
	kill_worker();
	killed++;
	pvb_loop_timer(loop, LIFE_MS, next, NULL, NULL);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double at_ms(unsigned percent)
{
	return (double)stalls[(nr_kills - 1) * percent / 100] / 1e6;
}

static void open_disk(const char *hv_spec, uint32_t devid)
{
	struct pvf_options opt = { .wait = true };
	struct pvb_store *store;
	struct pvf_guest *guest;
	struct pvb_error err;
	struct pvb_hv *hv;

	if (pvb_hv_open(&hv, hv_spec, PVB_HV_FRONT, &err) < 0 || pvb_store_open(&store, hv_spec, &err) < 0)
		die(err.text);
	if (pvb_loop_new(&loop) < 0)
		die("no loop");
	if (pvf_guest_new(&guest, hv, store, loop, &err) < 0 || pvf_disk_open(&disk, guest, devid, &opt, &err) < 0 ||
	    pvf_disk_wait(disk, 20000, &err) < 0)
		die(err.text);
	if (pvf_buf_alloc(disk, MAX_QD * IO, &buf) < 0)
		die("no memory");
}

int main(int argc, char **argv)
{
	unsigned qd = argc > 5 ? (unsigned)atoi(argv[5]) : 1;

	if (argc > 4)
		nr_kills = strtoul(argv[4], NULL, 10);
	if (argc < 4 || qd < 1 || qd > MAX_QD || nr_kills < 1 || nr_kills > MAX_KILLS) {
		fprintf(stderr, "usage: bench-stall HV DEVID PVBACKD-PID [KILLS [QD]]\n");
		return 2;
	}
	backd = strtoul(argv[3], NULL, 10);
	open_disk(argv[1], (uint32_t)strtoul(argv[2], NULL, 10));
	for (unsigned i = 0; i < qd; i++) {
		reqs[i] = (struct pvf_req){ .length = IO, .data = (uint8_t *)buf.addr + i * IO, .buf = &buf, .done = done,
					    .op = i % 2 ? PVF_READ : PVF_WRITE };
		submit(&reqs[i]);
	}
	pvf_disk_kick(disk);
	pvb_loop_timer(loop, LIFE_MS, next, NULL, NULL);
	if (pvb_loop_run(loop) < 0)
		die("the loop ended");
	qsort(stalls, nr_kills, sizeof(stalls[0]), ascending);
	printf("%lu workers killed, queue depth %u, %llu requests: ", nr_kills, qd, (unsigned long long)done_ops);
	printf("stalls of median %.1f ms, 90%% %.1f, 99%% %.1f, longest %.1f, shortest %.1f\n", at_ms(50), at_ms(90), at_ms(99),
	       at_ms(100), at_ms(0));
	return 0; /* the process ends with requests in flight, as a guest may */
}
