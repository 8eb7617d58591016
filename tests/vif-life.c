/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of NICs under a real pvbackd on the local fabric: states, scripts, reconnects, ends.  Ports are null and
 * switch, which need no rights. */
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bus/local/fabric.h"
#include "bus/nodes.h"
#include "bus/offer.h"
#include "frontend/user/pvnic.h"
#include "tests/tree.h"

#define WAIT_MS 15000
#define NR_GUESTS 2u

static struct {
	char dir[64], log[96];
	struct pvb_fabric *fabric;
	struct pvb_store *tool;      /* domain 0's */
	struct pvb_loop *loop;
	pid_t backd;
	struct pvb_error err;
	struct guest {
		uint32_t domid;
		struct pvb_hv *hv;
		struct pvb_store *st;
		struct pvf_guest *guest;
		struct pvf_nic *nic;
		char back[96], front[96];
		unsigned received;
		uint8_t got[128];
		uint32_t got_len;
	} g[NR_GUESTS];
} e;

#define MUST(call) do { \
	int must_rc_ = (call); \
	if (must_rc_ < 0) \
		fail_msg("%s: %d %s", #call, must_rc_, e.err.text); \
} while (0)

/* Both ends' events, until cond. */
#define UNTIL(cond) DO_UNTIL(WAIT_MS, cond, pvb_loop_once(e.loop, 10))

static enum pvb_state back(unsigned i)
{
	return pvb_state_read(e.tool, PVB_NO_TXN, e.g[i].back);
}

static char *key_of(const char *dir, const char *key)
{
	static char text[256];
	char path[200], *v;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	text[0] = 0;
	if (pvb_store_read(e.tool, PVB_NO_TXN, path, &v) == 0) {
		snprintf(text, sizeof(text), "%s", v);
		free(v);
	}
	return text;
}

static void set_key(const char *dir, const char *key, const char *value)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	MUST(pvb_store_write(e.tool, PVB_NO_TXN, path, value));
}

static unsigned log_count(const char *part)
{
	char buf[16384];
	unsigned nr = 0;
	int fd = open(e.log, O_RDONLY);
	off_t end = lseek(fd, 0, SEEK_END);
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, end > (off_t)sizeof(buf) ? end - (off_t)sizeof(buf) + 1 : 0);

	close(fd);
	buf[n < 0 ? 0 : n] = 0;
	for (const char *at = buf; (at = strstr(at, part)); at++)
		nr++;
	return nr;
}

static bool log_has(const char *part)
{
	return log_count(part) > 0;
}

/* ---- up and down --------------------------------------------------------------------------------------- */

static void start_backd(void)
{
	char path[256], spec[80], fd[16], c;
	int ready[2], log = open(e.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	snprintf(path, sizeof(path), "%s/backend/pvbackd", getenv("abs_top_builddir") ? getenv("abs_top_builddir") : "..");
	snprintf(spec, sizeof(spec), "local:%s", e.dir);
	assert_int_equal(pipe(ready), 0);
	snprintf(fd, sizeof(fd), "%d", ready[1]);
	e.backd = fork();
	if (e.backd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(ready[0]);
		dup2(log, 2);
		execl(path, "pvbackd", "--hv", spec, "--ready-fd", fd, "--metrics", "", (char *)NULL);
		_exit(127);
	}
	close(log);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 0);
	close(ready[0]);
	assert_int_equal(waitpid(e.backd, NULL, WNOHANG), 0);
}

static void stop_backd(void)
{
	int status;

	kill(e.backd, SIGTERM);
	assert_int_equal(waitpid(e.backd, &status, 0), e.backd);
	assert_int_equal(status, 0);
}

/* What a guest finds of itself in the store. */
static void new_domain(struct guest *g, const char *name)
{
	char home[64], path[96];

	MUST(pvb_local_domain_create(e.dir, name, 16384, &g->domid, &e.err));
	pvb_store_home(g->domid, home, sizeof(home));
	snprintf(path, sizeof(path), "%s/domid", home);
	MUST(pvb_store_mkdir(e.tool, PVB_NO_TXN, home));
	MUST(pvb_store_perms(e.tool, PVB_NO_TXN, home, 0, g->domid));
	MUST(pvb_store_printf(e.tool, PVB_NO_TXN, path, "%u", g->domid));
	MUST(pvb_store_perms(e.tool, PVB_NO_TXN, path, 0, g->domid));
}

static int up(void **state)
{
	char spec[96];

	memset(&e, 0, sizeof(e));
	snprintf(e.dir, sizeof(e.dir), "/tmp/pvvif-XXXXXX");
	if (!mkdtemp(e.dir))
		return -1;
	snprintf(e.log, sizeof(e.log), "%s/pvbackd.log", e.dir);
	MUST(pvb_fabric_start(&e.fabric, e.dir, &e.err));
	snprintf(spec, sizeof(spec), "local:%s", e.dir);
	MUST(pvb_store_open(&e.tool, spec, &e.err));
	MUST(pvb_loop_new(&e.loop));
	for (unsigned i = 0; i < NR_GUESTS; i++) {
		struct guest *g = &e.g[i];

		snprintf(spec, sizeof(spec), "guest%u", i);
		new_domain(g, spec);
		snprintf(spec, sizeof(spec), "local:%s:%u", e.dir, g->domid);
		MUST(pvb_hv_open(&g->hv, spec, PVB_HV_FRONT, &e.err));
		MUST(pvb_store_open(&g->st, spec, &e.err));
		MUST(pvf_guest_new(&g->guest, g->hv, g->st, e.loop, &e.err));
		snprintf(g->back, sizeof(g->back), "/local/domain/0/backend/vif/%u/0", g->domid);
		snprintf(g->front, sizeof(g->front), "/local/domain/%u/device/vif/0", g->domid);
	}
	start_backd();
	return 0;
}

/* What pvbackd said goes with what the test says. */
static void show_log(void)
{
	char line[512];
	FILE *f = fopen(e.log, "r");

	while (f && fgets(line, sizeof(line), f))
		print_message("pvbackd: %s", line);
	if (f)
		fclose(f);
}

static int down(void **state)
{
	for (unsigned i = 0; i < NR_GUESTS; i++) {
		struct guest *g = &e.g[i];

		pvf_nic_close(&g->nic, 5000);
		pvf_guest_free(g->guest);
		pvb_store_close(g->st);
		pvb_hv_close(g->hv);
	}
	if (e.backd)
		stop_backd();
	show_log();
	if (log_has("AddressSanitizer") || log_has("runtime error"))
		return -1;
	pvb_loop_free(e.loop);
	pvb_store_close(e.tool);
	pvb_fabric_stop(e.fabric);
	return remove_tree(e.dir);
}

static struct pvb_device_id id_of(unsigned i)
{
	return (struct pvb_device_id){ .kind = "vif", .class = "vif", .front = e.g[i].domid };
}

static void offer(unsigned i, const struct pvb_pair *more, unsigned nr)
{
	struct pvb_device_id id = id_of(i);
	char mac[18];
	struct pvb_pair keys[8] = { { "mac", mac }, { "handle", "0" } };
	struct pvb_pair front[] = { { "handle", "0" }, { "mac", mac }, { "mtu", "1500" } };

	snprintf(mac, sizeof(mac), "00:16:3e:00:00:%02x", i + 1);
	memcpy(keys + 2, more, nr * sizeof(*more));
	MUST(pvb_offer(e.tool, &id, keys, 2 + nr, front, 3, &e.err));
}

static void on_receive(void *arg, struct pvf_nic *nic, unsigned queue, const struct pvf_frame *f)
{
	struct guest *g = arg;

	g->received++;
	g->got_len = 0;
	for (unsigned i = 0; i < f->nr && g->got_len + f->iov[i].iov_len <= sizeof(g->got); i++) {
		memcpy(g->got + g->got_len, f->iov[i].iov_base, f->iov[i].iov_len);
		g->got_len += (uint32_t)f->iov[i].iov_len;
	}
}

static void open_nic(unsigned i)
{
	struct pvf_nic_options o = { .queues = 2, .receive = on_receive, .arg = &e.g[i] };

	MUST(pvf_nic_open(&e.g[i].nic, e.g[i].guest, 0, &o, &e.err));
}

static bool live(unsigned i)
{
	return back(i) == PVB_CONNECTED && pvf_nic_phase(e.g[i].nic) == PVF_LIVE;
}

/* As libxl does, while the guest's side runs. */
static void take_away(unsigned i)
{
	char state[128];

	set_key(e.g[i].back, "online", "0");
	set_key(e.g[i].back, "state", "5");
	UNTIL(back(i) == PVB_CLOSED);
	snprintf(state, sizeof(state), "%s", e.g[i].back);
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[i].back));
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[i].front));
	snprintf(state, sizeof(state), "vif %u/0: removed", e.g[i].domid);
	UNTIL(log_has(state));
}

static const struct pvb_pair null_port[] = { { "port", "null" } };

/* ---- tests --------------------------------------------------------------------------------------------- */

static void connects_and_goes(void **state)
{
	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	assert_string_equal(key_of(e.g[0].back, "feature-rx-copy"), "1");
	assert_string_equal(key_of(e.g[0].back, "feature-rx-flip"), "0");
	assert_string_equal(key_of(e.g[0].back, "feature-split-event-channels"), "1");
	assert_string_equal(key_of(e.g[0].back, "feature-dynamic-multicast-control"), "1");
	assert_string_equal(key_of(e.g[0].back, "carrier"), "0");
	open_nic(0);
	UNTIL(live(0));
	assert_string_equal(key_of(e.g[0].back, "carrier"), "1");
	take_away(0);
}

/* xl's scripts: nothing connects before hotplug-status says so, and that stays over a reconnect. */
static void waits_for_the_script(void **state)
{
	static const struct pvb_pair keys[] = {
		{ "script", "/etc/xen/scripts/vif-pvbus" }, { "bridge", "null" }, { "hotplug-status", "" },
	};

	offer(0, keys, 3);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(strcmp(key_of(e.g[0].front, "state"), "4") == 0);
	for (unsigned i = 0; i < 20; i++)
		pvb_loop_once(e.loop, 10);
	assert_int_equal(back(0), PVB_INIT_WAIT);
	set_key(e.g[0].back, "hotplug-status", "connected");
	UNTIL(live(0));
	/* the driver goes, another comes */
	pvf_nic_close(&e.g[0].nic, 5000);
	assert_null(e.g[0].nic);
	UNTIL(back(0) == PVB_CLOSED);
	assert_string_equal(key_of(e.g[0].back, "hotplug-status"), "connected");
	open_nic(0);
	UNTIL(live(0));
	take_away(0);
}

static void the_script_fails(void **state)
{
	static const struct pvb_pair keys[] = {
		{ "script", "/etc/xen/scripts/vif-pvbus" }, { "bridge", "no-such-port:x" }, { "hotplug-status", "" },
	};

	offer(0, keys, 3);
	UNTIL(back(0) == PVB_INIT_WAIT); /* the script is where the toolstack looks */
	set_key(e.g[0].back, "hotplug-status", "error");
	UNTIL(!pvb_store_exists(e.tool, PVB_NO_TXN, e.g[0].back));
}

static void keys_that_make_no_sense(void **state)
{
	static const struct { struct pvb_pair key; const char *says; } bad[] = {
		{ { "mac", "01:00:5e:00:00:01" }, "mac" }, { { "rate", "fast" }, "rate" }, { { "ip", "10.0.0.300" }, "10.0.0.300" },
		{ { "mtu", "20" }, "68..65535" }, { { "port", "no-such-port" }, "no-such-port" },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pvb_device_id id = id_of(0);
		struct pvb_pair keys[] = { { "mac", "00:16:3e:00:00:01" }, { "port", "null" } };

		if (strcmp(bad[i].key.key, "mac") == 0)
			keys[0] = bad[i].key;
		else if (strcmp(bad[i].key.key, "port") == 0)
			keys[1] = bad[i].key;
		const struct pvb_pair all[] = { keys[0], keys[1], bad[i].key };

		MUST(pvb_offer(e.tool, &id, all, strcmp(bad[i].key.key, "mac") && strcmp(bad[i].key.key, "port") ? 3 : 2, NULL, 0,
			       &e.err));
		UNTIL(*key_of(e.g[0].back, "error"));
		if (!strstr(key_of(e.g[0].back, "error"), bad[i].says))
			fail_msg("%s=%s: error says: %s", bad[i].key.key, bad[i].key.value, key_of(e.g[0].back, "error"));
		MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].back));
		MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].front));
		UNTIL(log_has("removed"));
	}
}

static void send_to(unsigned from, unsigned to)
{
	uint8_t frame[60] = { 0, 0x16, 0x3e, 0, 0, (uint8_t)(to + 1), 0, 0x16, 0x3e, 0, 0, (uint8_t)(from + 1), 0x88, 0xb5 };
	struct iovec iov = { frame, sizeof(frame) };

	snprintf((char *)frame + 14, 40, "hello %u from %u", to, from);
	MUST(pvf_nic_send(e.g[from].nic, 0, &iov, 1, NULL));
	pvf_nic_kick(e.g[from].nic);
	UNTIL(e.g[to].received > 0);
	assert_int_equal(e.g[to].got_len, sizeof(frame));
	assert_memory_equal(e.g[to].got, frame, sizeof(frame));
	e.g[to].received = 0;
}

static void two_on_a_switch(void **state)
{
	static const struct pvb_pair keys[] = { { "port", "switch:lan" } };

	for (unsigned i = 0; i < 2; i++) {
		offer(i, keys, 1);
		UNTIL(back(i) == PVB_INIT_WAIT);
		open_nic(i);
		UNTIL(live(i));
	}
	assert_true(log_has("switch lan: worker"));
	send_to(0, 1);
	send_to(1, 0);
	take_away(0);
	take_away(1);
}

/* A guest that is dead or stopped: libxl waits 10 s, not longer. */
static void closes_without_the_guest(void **state)
{
	uint64_t began;

	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	set_key(e.g[0].back, "online", "0");
	set_key(e.g[0].back, "state", "5");
	began = pvb_now_ms();
	while (back(0) != PVB_CLOSED && pvb_now_ms() < began + 10000)
		usleep(20000); /* its loop does not run */
	assert_int_equal(back(0), PVB_CLOSED);
	assert_int_equal(pvb_state_read(e.tool, PVB_NO_TXN, e.g[0].front), PVB_CONNECTED);
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].back));
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].front));
	UNTIL(log_has("removed"));
}

/* kexec, or a crash kernel: nobody has closed. */
static void begins_anew(void **state)
{
	char state_path[128];

	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	snprintf(state_path, sizeof(state_path), "%s/state", e.g[0].front);
	MUST(pvb_store_write(e.g[0].st, PVB_NO_TXN, state_path, "1"));
	/* the driver does not run: it would take this for a device made again, and close, which might be seen first */
	for (uint64_t until = pvb_now_ms() + WAIT_MS; !log_has("begins anew") && pvb_now_ms() < until;)
		usleep(10000);
	assert_true(log_has("begins anew"));
	UNTIL(back(0) == PVB_INIT_WAIT || log_count("Connected (rings are mapped)") == 2);
}

/* A toolstack that is quicker than pvbackd: no look between the end of one device and the beginning of the next. */
static void is_made_again_unseen(void **state)
{
	static const struct pvb_pair lan[] = { { "port", "switch:lan" } };
	int status;

	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	kill(e.backd, SIGSTOP);
	assert_int_equal(waitpid(e.backd, &status, WUNTRACED), e.backd);
	assert_true(WIFSTOPPED(status));
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].back));
	MUST(pvb_store_rm(e.tool, PVB_NO_TXN, e.g[0].front));
	pvf_nic_close(&e.g[0].nic, 0);
	offer(0, lan, 1);
	assert_int_equal(back(0), PVB_INITIALISING);
	kill(e.backd, SIGCONT);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	UNTIL(log_has("switch lan: worker"));
	take_away(0);
}

static void the_rate_changes(void **state)
{
	static const struct pvb_pair keys[] = { { "port", "null" }, { "rate", "1000000,50000" } };

	offer(0, keys, 2);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	set_key(e.g[0].back, "rate", "not a rate");
	set_key(e.g[0].back, "rate", "2000000,10000");
	UNTIL(log_has("rate is now 2000000 bytes in 10000 us out"));
	assert_int_equal(back(0), PVB_CONNECTED);
	take_away(0);
}

static void the_worker_dies(void **state)
{
	char cmd[160], line[256];
	int status;
	FILE *f;

	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	snprintf(cmd, sizeof(cmd), "/proc/%d/task/%d/children", (int)e.backd, (int)e.backd);
	f = fopen(cmd, "r");
	if (!f || !fgets(line, sizeof(line), f))
		skip(); /* no such file in this kernel */
	fclose(f);
	status = kill(atoi(line), SIGKILL);
	assert_int_equal(status, 0);
	UNTIL(log_has("died by signal 9"));
	UNTIL(log_has("goes on, after"));
	assert_true(live(0));
	assert_string_equal(key_of(e.g[0].back, "error"), "");
	take_away(0);
}

/* Another pvbackd takes the place of the first, and goes on; the driver can close and open it as ever. */
static void pvbackd_starts_again(void **state)
{
	offer(0, null_port, 1);
	UNTIL(back(0) == PVB_INIT_WAIT);
	open_nic(0);
	UNTIL(live(0));
	stop_backd();
	start_backd();
	UNTIL(log_has("goes on, after"));
	assert_int_equal(back(0), PVB_CONNECTED);
	pvf_nic_close(&e.g[0].nic, 5000);
	UNTIL(back(0) == PVB_CLOSED);
	open_nic(0);
	UNTIL(live(0));
	take_away(0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(connects_and_goes, up, down),
		cmocka_unit_test_setup_teardown(waits_for_the_script, up, down),
		cmocka_unit_test_setup_teardown(the_script_fails, up, down),
		cmocka_unit_test_setup_teardown(keys_that_make_no_sense, up, down),
		cmocka_unit_test_setup_teardown(two_on_a_switch, up, down),
		cmocka_unit_test_setup_teardown(closes_without_the_guest, up, down),
		cmocka_unit_test_setup_teardown(begins_anew, up, down),
		cmocka_unit_test_setup_teardown(is_made_again_unseen, up, down),
		cmocka_unit_test_setup_teardown(the_rate_changes, up, down),
		cmocka_unit_test_setup_teardown(the_worker_dies, up, down),
		cmocka_unit_test_setup_teardown(pvbackd_starts_again, up, down),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
