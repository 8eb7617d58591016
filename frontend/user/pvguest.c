// SPDX-License-Identifier: GPL-2.0-or-later
/* pvguest(1): a domain that is a process.  Connects its disks and NICs, serves the disks by NBD and the NICs as network
 * interfaces, runs a command or a load on them, and behaves in the store as a guest does. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "offer.h"
#include "pvguest.h"

#define DRAIN_MS 3000  /* for what is in flight when we are asked to end */
#define CLOSE_MS 7000  /* for the back ends to let go */

void complain(const struct pvb_error *err)
{
	fprintf(stderr, "pvguest: %s\n", err->text);
}

/* --- NBD -------------------------------------------------------------------------------------------- */

static int serve(struct program *p)
{
	const char *tmp = getenv("TMPDIR");
	struct pvb_error err;
	int rc;

	if (p->o.nbd != NULL) {
		snprintf(p->socket, sizeof(p->socket), "%s", p->o.nbd);
	} else if (p->o.exec != NULL) {
		snprintf(p->tmp_dir, sizeof(p->tmp_dir), "%s/pvguest-XXXXXX", tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(p->tmp_dir) == NULL) {
			fprintf(stderr, "pvguest: %s: %s\n", p->tmp_dir, strerror(errno));
			p->tmp_dir[0] = '\0';
			return -EIO;
		}
		snprintf(p->socket, sizeof(p->socket), "%s/nbd", p->tmp_dir);
	} else {
		return 0;
	}
	rc = nbd_server_new(&p->nbd, p->loop, p->socket, &p->o.limits, &err);
	if (rc < 0) {
		complain(&err);
		return rc;
	}
	for (unsigned i = 0; i < p->nr; i++)
		nbd_server_export(p->nbd, p->disks[i].name, p->disks[i].disk);
	return 0;
}

static int say_ready(struct program *p)
{
	FILE *f;

	if (p->o.pidfile != NULL) {
		f = fopen(p->o.pidfile, "we");
		if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
			fprintf(stderr, "pvguest: %s: %s\n", p->o.pidfile, strerror(errno));
			return -EIO;
		}
		p->pid_written = true;
	}
	if (p->o.ready_fd >= 0) {
		if (write(p->o.ready_fd, "READY\n", 6) != 6) {
			fprintf(stderr, "pvguest: --ready-fd %d: %s\n", p->o.ready_fd, strerror(errno));
			return -EIO;
		}
		close(p->o.ready_fd);
	}
	return 0;
}

/* --- beginning, work, end --------------------------------------------------------------------------- */

static int open_bus(struct program *p)
{
	struct pvb_error err = { .text = "out of memory" };
	char dir[96];
	int rc;

	rc = pvb_loop_new(&p->loop);
	if (rc == 0)
		rc = take_signals(p);
	if (rc == 0)
		rc = pvb_hv_open(&p->hv, p->o.hv, PVB_HV_FRONT, &err);
	if (rc == 0)
		rc = pvb_store_open(&p->st, pvb_hv_spec(p->hv), &err);
	if (rc == 0)
		rc = pvf_guest_new(&p->guest, p->hv, p->st, p->loop, &err);
	if (rc < 0) {
		complain(&err);
		return rc;
	}
	if (p->o.record != NULL && pcap_create(&p->record, p->o.record, &err) < 0) {
		complain(&err);
		return err.code;
	}
	pvb_store_home(pvf_guest_domid(p->guest), p->home, sizeof(p->home));
	announce(p);
	snprintf(dir, sizeof(dir), "%s/device/vbd", p->home);
	scan_disks(p, NULL);
	rc = pvb_store_watch(p->st, dir, scan_disks, p, &p->watch_devices);
	if (rc < 0 || p->o.no_nics)
		return rc;
	snprintf(dir, sizeof(dir), "%s/device/vif", p->home);
	scan_nics(p, NULL);
	return pvb_store_watch(p->st, dir, scan_nics, p, &p->watch_nics);
}

static int run_bench(struct program *p)
{
	struct bench_result *res = malloc(sizeof(*res));
	struct pvb_error err;
	int rc = 0;

	if (res == NULL)
		return -ENOMEM;
	if (p->nr == 0)
		fprintf(stderr, "pvguest: there is no disk to measure\n");
	for (unsigned i = 0; i < p->nr && rc == 0 && !p->stop; i++) {
		for (unsigned s = 0; s < p->o.bench.samples && rc == 0 && !p->stop; s++) {
			rc = bench_run(p->disks[i].disk, p->loop, &p->o.bench, &p->stop, res, &err);
			bench_print(stdout, p->disks[i].name, &p->o.bench, res, p->o.json);
			if (rc < 0)
				complain(&err);
			fflush(stdout); /* somebody may wait for the line */
		}
	}
	free(res);
	return p->nr == 0 ? -ENOENT : rc;
}

static int connect_all(struct program *p)
{
	uint64_t until = pvb_now_ms() + p->o.timeout_ms, now;

	while ((!disks_live(p) || !nics_live(p)) && !p->stop) {
		if (disks_hopeless(p) || nics_hopeless(p))
			return -EIO; /* it was told why */
		now = pvb_now_ms();
		if (now >= until) {
			disks_late(p);
			nics_late(p);
			return -ETIMEDOUT;
		}
		pvb_loop_once(p->loop, (int)(until - now));
	}
	return 0;
}

static int work(struct program *p)
{
	int rc = connect_all(p);

	if (rc == 0)
		rc = serve(p);
	if (rc == 0)
		rc = say_ready(p);
	if (rc == 0 && p->o.exec != NULL)
		rc = start_command(p);
	if (rc == 0 && p->o.bench_wanted)
		return run_bench(p);
	if (rc == 0 && p->o.nic_bench_wanted)
		return run_nic_bench(p);
	if (rc == 0 && p->o.replay != NULL)
		return run_replay(p);
	while (rc >= 0 && !p->stop)
		rc = pvb_loop_once(p->loop, -1);
	return rc < 0 ? rc : 0;
}

static bool busy(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (pvf_disk_phase(p->disks[i].disk) == PVF_LIVE && pvf_disk_in_flight(p->disks[i].disk) > 0)
			return true;
	for (unsigned i = 0; i < p->nr_nics; i++)
		if (pvf_nic_phase(p->nics[i].nic) == PVF_LIVE && pvf_nic_in_flight(p->nics[i].nic) > 0)
			return true;
	return p->nbd != NULL && !nbd_server_idle(p->nbd);
}

static bool at_rest(const struct program *p)
{
	for (unsigned i = 0; i < p->nr; i++)
		if (!pvf_disk_down(p->disks[i].disk, 0))
			return false;
	for (unsigned i = 0; i < p->nr_nics; i++)
		if (!pvf_nic_down(p->nics[i].nic, 0))
			return false;
	return true;
}

static void end(struct program *p)
{
	uint64_t until = pvb_now_ms() + DRAIN_MS, now;

	p->quiet = true;
	if (p->child > 0) /* only after an error of ours */
		kill(p->child, SIGTERM);
	pvb_store_unwatch(&p->watch_devices);
	pvb_store_unwatch(&p->watch_nics);
	pvb_store_unwatch(&p->watch_shutdown);
	if (p->nbd != NULL)
		nbd_server_stop(p->nbd);
	for (unsigned i = 0; i < p->nr_nics; i++)
		frames_end(&p->nics[i]); /* nothing more is sent */
	while (busy(p) && (now = pvb_now_ms()) < until)
		pvb_loop_once(p->loop, (int)(until - now));
	for (unsigned i = 0; i < p->nr; i++)
		pvf_disk_stop(p->disks[i].disk);
	for (unsigned i = 0; i < p->nr_nics; i++)
		pvf_nic_stop(p->nics[i].nic);
	until = pvb_now_ms() + CLOSE_MS;
	while (!at_rest(p) && (now = pvb_now_ms()) < until)
		pvb_loop_once(p->loop, (int)(until - now));
	if (p->nbd != NULL)
		nbd_server_stats(p->nbd, &p->nbd_stats);
	nbd_server_free(p->nbd); /* its buffers go back once no back end has them mapped */
	p->nbd = NULL;
	if (p->o.stats)
		print_stats(p);
	for (unsigned i = 0; i < p->nr; i++)
		pvf_disk_close(&p->disks[i].disk, 0);
	for (unsigned i = 0; i < p->nr_nics; i++)
		pvf_nic_close(&p->nics[i].nic, 0);
	pcap_finish(p->record);
	if (p->guest != NULL && p->deaf == 0)
		report_shutdown(p);
	pvf_guest_free(p->guest);
	pvb_store_close(p->st);
	pvb_hv_close(p->hv);
	pvb_source_free(&p->signals);
	pvb_source_free(&p->patience);
	pvb_source_free(&p->pulse);
	pvb_loop_free(p->loop);
	if (p->signal_fd >= 0)
		close(p->signal_fd);
	if (p->tmp_dir[0] != '\0')
		rmdir(p->tmp_dir);
	if (p->pid_written)
		unlink(p->o.pidfile);
}

int main(int argc, char **argv)
{
	static struct program p;
	struct pvb_error err;
	uint32_t devid;
	int rc = pvguest_options(&p.o, argc, argv);

	if (rc != 0)
		return rc > 0 ? 0 : 2;
	for (unsigned i = 0; i < p.o.nr_disks; i++) {
		if (pvb_vdev_parse(p.o.disks[i], &devid, &err) < 0) {
			complain(&err);
			return 2;
		}
	}
	p.signal_fd = -1;
	rc = open_bus(&p);
	if (rc == 0)
		rc = work(&p);
	end(&p);
	return rc < 0 ? 1 : p.status;
}
