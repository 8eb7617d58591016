/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole pvbackd with consoles on a local fabric of this process's: two guests, one of which floods, lies or is silent;
 * clients that come, go, hang and send nonsense; processes that are killed. */
#include "tests/unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xen/io/console.h>
#include "bus/hv.h"
#include "bus/local/fabric.h"
#include "bus/store.h"

#define WAIT_MS 20000
#define BASE 0xfffffff0u
#define GUESTS 2

/* One that answers each byte with the same byte, if it is to; a capital letter with a line of its own. */
struct guest {
	uint32_t domid;
	struct pvb_hv *hv;
	struct pvb_grant grant;
	struct xencons_interface *page;
	uint32_t port;
	bool echo;
};

static char dir[64], spec[96];
static struct pvb_fabric *fabric;
static struct pvb_store *store;
static struct guest guests[GUESTS];
static pid_t backd;

/* ---- pvbackd ------------------------------------------------------------------------------------------------ */

static void start_pvbackd(void)
{
	const char *top = getenv("abs_top_builddir");
	char path[512], consoles[256], c;
	int pipes[2];

	snprintf(path, sizeof(path), "%s/backend/pvbackd", top ? top : "..");
	snprintf(consoles, sizeof(consoles), "unix=%s/%%n.sock log=%s/%%n.log,rotate=64K,keep=2 rate=256K", dir, dir);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	backd = fork();
	if (backd == 0) {
		char log[96];
		int fd;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		snprintf(log, sizeof(log), "%s/pvbackd.log", dir);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		dup2(pipes[1], 3);
		execl(path, path, "--hv", spec, "--consoles", consoles, "--ready-fd", "3", (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &c, 1), 0); /* closed when it serves */
	close(pipes[0]);
	assert_int_equal(waitpid(backd, NULL, WNOHANG), 0);
}

static void end_pvbackd(int sig)
{
	int status;

	kill(backd, sig);
	assert_int_equal(waitpid(backd, &status, 0), backd);
	assert_int_equal(status, sig == SIGKILL ? SIGKILL : 0);
}

/* What the control socket answers; to be given back. */
static struct json_object *ask(const char *request)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct json_object *o;
	char buf[16384] = "";
	size_t n = 0;
	ssize_t r;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/pvbackd.sock", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	assert_int_equal(write(fd, "\n", 1), 1);
	while (n < sizeof(buf) - 1 && !memchr(buf, '\n', n) && (r = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0)
		n += (size_t)r;
	close(fd);
	buf[n] = 0;
	o = json_tokener_parse(buf);
	assert_non_null(o);
	return o;
}

/* A member of a guest's console as text, in a buffer of ours; "" for none. */
static const char *member(const struct guest *g, const char *key)
{
	static char text[512];
	struct json_object *o, *list, *v = NULL, *con;
	char req[80];

	snprintf(req, sizeof(req), "{\"cmd\":\"consoles\",\"domid\":%u}", g->domid);
	o = ask(req);
	assert_true(json_object_object_get_ex(o, "consoles", &list));
	con = json_object_array_length(list) ? json_object_array_get_idx(list, 0) : NULL;
	if (con)
		json_object_object_get_ex(con, key, &v);
	snprintf(text, sizeof(text), "%s", v ? json_object_get_string(v) : "");
	json_object_put(o);
	return text;
}

static uint64_t count(const struct guest *g, const char *key)
{
	return strtoull(member(g, key), NULL, 10);
}

static bool is(const struct guest *g, const char *key, const char *value)
{
	return strcmp(member(g, key), value) == 0;
}

/* "" or why not */
static const char *serve(const struct guest *g, const char *places)
{
	static char why[256];
	struct json_object *o, *v;
	char req[512];

	snprintf(req, sizeof(req), "{\"cmd\":\"console\",\"domid\":%u,\"serve\":\"%s\"}", g->domid, places);
	o = ask(req);
	snprintf(why, sizeof(why), "%s", json_object_object_get_ex(o, "error", &v) ? json_object_get_string(v) : "");
	json_object_put(o);
	return why;
}

/* ---- guests ------------------------------------------------------------------------------------------------- */

static void publish(const struct guest *g, const char *fmt, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), fmt, g->domid, key);
	assert_int_equal(pvb_store_write(store, PVB_NO_TXN, path, value), 0);
}

/* What libxl writes, in its order. */
static void make_console(struct guest *g)
{
	char port[16];

	snprintf(port, sizeof(port), "%u", g->port);
	publish(g, "/local/domain/%u/console/%s", "type", "xenconsoled");
	publish(g, "/local/domain/%u/console/%s", "tty", "");
	publish(g, "/local/domain/%u/console/%s", "ring-ref", "4711");
	publish(g, "/local/domain/%u/console/%s", "port", port);
	publish(g, "/local/domain/0/backend/console/%u/0/%s", "state", "1");
}

static void take_console(const struct guest *g)
{
	char path[96];

	snprintf(path, sizeof(path), "/local/domain/0/backend/console/%u", g->domid);
	assert_int_equal(pvb_store_rm(store, PVB_NO_TXN, path), 0);
	snprintf(path, sizeof(path), "/local/domain/%u/console", g->domid);
	assert_int_equal(pvb_store_rm(store, PVB_NO_TXN, path), 0);
}

static void make_guest(struct guest *g, const char *name)
{
	struct pvb_error err = { 0 };
	char own[96];
	int rc = pvb_local_domain_create(dir, name, 256, &g->domid, &err);

	if (rc < 0)
		fail_msg("%s", err.text);
	publish(g, "/local/domain/%u/%s", "name", name);
	snprintf(own, sizeof(own), "local:%s:%u", dir, g->domid);
	assert_int_equal(pvb_hv_open(&g->hv, own, PVB_HV_FRONT, &err), 0);
	assert_int_equal(pvb_hv_grant(g->hv, 0, 1, true, &g->grant), 0);
	assert_int_equal(g->grant.refs[0], 0); /* the console's on Xen, too */
	g->page = g->grant.addr;
	g->page->in_cons = g->page->in_prod = g->page->out_cons = g->page->out_prod = BASE;
	rc = pvb_hv_evt_alloc(g->hv, 0);
	assert_true(rc >= 0);
	g->port = (uint32_t)rc;
	g->echo = true;
}

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* As much as there is room for. */
static size_t say(struct guest *g, const char *text, size_t len)
{
	uint32_t prod = g->page->out_prod, room = (uint32_t)sizeof(g->page->out) - (prod - load(&g->page->out_cons));
	size_t n = len < room ? len : room;

	for (size_t i = 0; i < n; i++)
		g->page->out[(prod + i) % sizeof(g->page->out)] = text[i];
	__atomic_store_n(&g->page->out_prod, prod + (uint32_t)n, __ATOMIC_RELEASE);
	if (n)
		pvb_hv_evt_notify(g->hv, g->port);
	return n;
}

static void say_all(struct guest *g, const char *text)
{
	size_t n = 0, len = strlen(text);

	DO_UNTIL(WAIT_MS, (n += say(g, text + n, len - n)) == len, usleep(1000));
}

/* The guests' turn: ports taken, input answered. */
static void live(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		struct guest *g = &guests[i];
		uint32_t ports[4];
		int n = pvb_hv_evt_take(g->hv, ports, 4);

		if (n > 0)
			pvb_hv_evt_unmask(g->hv, ports, (unsigned)n);
		while (g->echo && g->page->in_cons != load(&g->page->in_prod)) {
			char c = g->page->in[g->page->in_cons % sizeof(g->page->in)];
			char line[] = "line ?\r\n";

			line[5] = c;
			if (c >= 'A' && c <= 'Z' ? say(g, line, 8) != 8 : say(g, &c, 1) != 1)
				break;
			__atomic_store_n(&g->page->in_cons, g->page->in_cons + 1, __ATOMIC_RELEASE);
			pvb_hv_evt_notify(g->hv, g->port);
		}
	}
}

#define UNTIL(cond) DO_UNTIL(WAIT_MS, (live(), cond), usleep(1000))

/* ---- clients ------------------------------------------------------------------------------------------------ */

static int to_unix(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", dir, name);
	UNTIL(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	return fd;
}

static uint16_t free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sa);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static int to_tcp(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	UNTIL(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static char got[1 << 16];
static size_t nr_got;

static void listen_again(void)
{
	nr_got = 0;
	got[0] = 0;
}

/* Has it said this since listen_again()?  Bytes, as telnet has zeros. */
static bool heard(int fd, const char *what, size_t len)
{
	ssize_t n;

	while ((n = read(fd, got + nr_got, sizeof(got) - 1 - nr_got)) > 0) {
		nr_got += (size_t)n;
		if (nr_got == sizeof(got) - 1) { /* the end is what is waited for */
			memmove(got, got + sizeof(got) / 2, nr_got - sizeof(got) / 2);
			nr_got -= sizeof(got) / 2;
		}
	}
	got[nr_got] = 0;
	return memmem(got, nr_got, what, len);
}
#define HEAR(fd, what) UNTIL(heard(fd, what, sizeof(what) - 1))

static void type(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void talk(int fd)
{
	static char letter = 'A';
	char c[2] = { letter }, want[] = "line ?\r\n";

	want[5] = letter;
	letter = letter == 'Z' ? 'A' : (char)(letter + 1);
	listen_again();
	type(fd, c);
	UNTIL(heard(fd, want, 8));
}

static void talk_once(int fd)
{
	talk(fd);
	close(fd);
}

/* ---- setting up --------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct pvb_error err = { 0 };

	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "/tmp/pvbus-console.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(spec, sizeof(spec), "local:%s", dir);
	if (pvb_fabric_start(&fabric, dir, &err) < 0 || pvb_store_open(&store, spec, &err) < 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	start_pvbackd();
	make_guest(&guests[0], "liar");
	make_guest(&guests[1], "good");
	for (unsigned i = 0; i < GUESTS; i++) {
		make_console(&guests[i]);
		UNTIL(is(&guests[i], "phase", "serving"));
	}
	return 0;
}

static int teardown(void **state)
{
	char cmd[160];

	end_pvbackd(SIGTERM);
	/* pvbackd's sanitizers and those of its processes write there */
	snprintf(cmd, sizeof(cmd), "! grep -E -A 20 'runtime error|Sanitizer|SIGSYS|signal (6|11|31)' %s/pvbackd.log", dir);
	if (system(cmd) != 0)
		return -1;
	for (unsigned i = 0; i < GUESTS; i++) {
		pvb_hv_evt_unbind(guests[i].hv, guests[i].port);
		if (pvb_hv_ungrant(guests[i].hv, &guests[i].grant) != 0)
			return -1; /* somebody has it mapped still */
		pvb_hv_close(guests[i].hv);
	}
	pvb_store_close(store);
	pvb_fabric_stop(fabric);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* Before each: both work, nothing else is there. */
static int fresh(void **state)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		guests[i].echo = true;
		UNTIL(is(&guests[i], "phase", "serving"));
	}
	talk_once(to_unix("liar.sock"));
	talk_once(to_unix("good.sock"));
	return 0;
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

static char *path_of(const struct guest *g, const char *key)
{
	char path[96], *value = NULL;

	snprintf(path, sizeof(path), "/local/domain/%u/console/%s", g->domid, key);
	pvb_store_read(store, PVB_NO_TXN, path, &value);
	return value;
}

static int open_tty(const struct guest *g)
{
	char *tty = path_of(g, "tty");
	int fd;

	assert_non_null(tty);
	fd = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	free(tty);
	assert_true(fd >= 0);
	return fd;
}

static void the_pty_outlives_its_process(void **state)
{
	int fd = open_tty(&guests[1]);
	uint64_t deaths = count(&guests[1], "deaths");
	char *before = path_of(&guests[1], "tty"), *after;

	talk(fd);
	kill((pid_t)count(&guests[1], "worker"), SIGKILL);
	UNTIL(count(&guests[1], "deaths") == deaths + 1 && is(&guests[1], "phase", "serving"));
	talk(fd);
	after = path_of(&guests[1], "tty");
	assert_string_equal(before, after);
	free(before);
	free(after);
	close(fd);
}

static void several_clients(void **state)
{
	int a = to_unix("good.sock"), b = to_unix("good.sock"), more[8];

	talk(a);
	HEAR(b, "line ");
	talk(b);
	for (unsigned i = 0; i < 8; i++)
		more[i] = to_unix("good.sock");
	listen_again();
	HEAR(more[7], "too many connections");
	for (unsigned i = 0; i < 8; i++)
		close(more[i]);
	talk(a);
	close(a);
	close(b);
	UNTIL(count(&guests[1], "clients") == 0);
	/* what was said meanwhile is for the next one */
	say_all(&guests[1], "while you were away\r\n");
	a = to_unix("good.sock");
	listen_again();
	HEAR(a, "while you were away\r\n");
	close(a);
}

static void tcp_and_telnet(void **state)
{
	uint16_t port = free_port(), framed = free_port();
	char places[256];
	int fd;

	snprintf(places, sizeof(places), "tcp=127.0.0.1:%u tcp=127.0.0.1:%u,telnet unix=%s/good.sock", port, framed, dir);
	assert_string_equal(serve(&guests[1], places), "");
	fd = to_tcp(port);
	talk(fd);
	close(fd);
	fd = to_tcp(framed);
	listen_again();
	HEAR(fd, "\xff\xfb\x01");
	assert_int_equal(write(fd, "\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0", 15), 15);
	HEAR(fd, "\xff\xfe\x1f");                 /* no window sizes */
	listen_again();
	assert_int_equal(write(fd, "x\xff\xff" "y", 4), 4);
	HEAR(fd, "x\xff\xff" "y");                  /* one 255 in, one 255 back */
	listen_again();
	assert_int_equal(write(fd, "u\r\nv", 4), 4);
	HEAR(fd, "u\r");
	HEAR(fd, "v");
	assert_null(memchr(got, '\n', nr_got));
	/* requests without end, and nothing read: it is that client's trouble */
	for (unsigned i = 0; i < 20000; i++)
		if (write(fd, "\xff\xfd\x22\xff\xfb\x23\xff\xfa\x01", 9) < 0 && errno != EAGAIN)
			break;
	talk_once(to_tcp(port));
	talk_once(to_unix("good.sock"));
	close(fd);
	/* the address is somebody's: nothing changes */
	snprintf(places, sizeof(places), "tcp=127.0.0.1:%u", port);
	assert_non_null(strstr(serve(&guests[0], places), "Address already in use"));
	assert_non_null(strstr(serve(&guests[1], "tcp=nowhere.example:1"), "addresses are numbers"));
	assert_non_null(strstr(serve(&guests[1], "modem"), "modem: not pty"));
	talk_once(to_tcp(port));
	talk_once(to_unix("liar.sock"));
	snprintf(places, sizeof(places), "unix=%s/good.sock log=%s/good.log", dir, dir);
	assert_string_equal(serve(&guests[1], places), "");
}

/* What pvbackd serves, with xenconsoled in its place: the terminal in the store stays that one's, until it ends. */
static void waits_for_who_has_it(void **state)
{
	struct guest *g = &guests[1];
	struct pvb_error err = { 0 };
	struct pvb_hv *other;
	char *tty;
	int port;

	end_pvbackd(SIGTERM);
	tty = path_of(g, "tty");
	assert_string_equal(tty, ""); /* it may be somebody else's next */
	free(tty);
	assert_int_equal(pvb_hv_open(&other, spec, PVB_HV_BACK, &err), 0);
	UNTIL((port = pvb_hv_evt_bind(other, g->domid, g->port)) >= 0);
	publish(g, "/local/domain/%u/console/%s", "tty", "/dev/pts/999");
	start_pvbackd();
	UNTIL(strstr(member(g, "error"), "does xenconsoled serve this console?"));
	assert_true(is(g, "phase", "waiting"));
	tty = path_of(g, "tty");
	assert_string_equal(tty, "/dev/pts/999");
	free(tty);
	talk_once(to_unix("liar.sock"));
	pvb_hv_close(other);
	UNTIL(is(g, "phase", "serving"));
	assert_true(is(g, "error", ""));
	talk_once(open_tty(g));
}

/* A key that makes no sense changes nothing, and says so until it is gone. */
static void a_bad_key_is_named(void **state)
{
	struct guest *g = &guests[1];
	char path[96];
	int fd = to_unix("good.sock");

	publish(g, "/local/domain/0/backend/console/%u/0/%s", "serve", "carrier-pigeon");
	UNTIL(strstr(member(g, "error"), "carrier-pigeon: not pty"));
	talk(fd);
	kill((pid_t)count(g, "worker"), SIGKILL);
	close(fd);
	UNTIL(is(g, "phase", "serving"));
	talk_once(to_unix("good.sock"));
	assert_non_null(strstr(member(g, "error"), "carrier-pigeon: not pty"));
	snprintf(path, sizeof(path), "/local/domain/0/backend/console/%u/0/serve", g->domid);
	assert_int_equal(pvb_store_rm(store, PVB_NO_TXN, path), 0);
	UNTIL(is(g, "error", ""));
}

static void dials_until_it_is_answered(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fd, on = 1;
	uint16_t port = free_port();
	char places[256];

	sa.sin_port = htons(port);
	snprintf(places, sizeof(places), "tcp=127.0.0.1:%u,connect unix=%s/good.sock", port, dir);
	assert_string_equal(serve(&guests[1], places), "");
	talk_once(to_unix("good.sock")); /* nobody there yet */
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(l, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(l, 1), 0);
	for (unsigned i = 0; i < 2; i++) { /* and again when that one hangs up */
		UNTIL((fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
		talk(fd);
		close(fd);
	}
	close(l);
	snprintf(places, sizeof(places), "unix=%s/good.sock log=%s/good.log", dir, dir);
	assert_string_equal(serve(&guests[1], places), "");
}

/* The rate, the log and its rotation, a client that never reads, and another guest meanwhile. */
static void a_flood_is_its_own_trouble(void **state)
{
	static const char line[] = "all work and no play makes Jack a dull boy, all work and no play makes it worse\r\n";
	int deaf = to_unix("liar.sock"), fd = to_unix("good.sock");
	uint64_t before = count(&guests[0], "out_bytes"), start = pvb_now_ms(), took, bytes;
	char path[128];
	struct stat st;
	unsigned talks = 0;

	while (talks < 8 || ((count(&guests[0], "rotations") < 3 || !count(&guests[0], "throttled")) && pvb_now_ms() - start < WAIT_MS)) {
		for (uint64_t turn = pvb_now_ms(); pvb_now_ms() - turn < 200;)
			say(&guests[0], line, sizeof(line) - 1);
		talk(fd);
		talks++;
	}
	took = pvb_now_ms() - start;
	bytes = count(&guests[0], "out_bytes") - before;
	print_message("%llu bytes in %llu ms, %llu rotations, %llu lost to clients, %u talks with the other\n",
		      (unsigned long long)bytes, (unsigned long long)took, (unsigned long long)count(&guests[0], "rotations"),
		      (unsigned long long)count(&guests[0], "lost_bytes"), talks);
	assert_in_range(bytes, 3 * (64 << 10), (256u << 10) * (took + 1000) / 1000);
	assert_true(count(&guests[0], "throttled") > 0);
	assert_int_equal(count(&guests[0], "log_lost_bytes"), 0);
	for (unsigned n = 0; n < 4; n++) { /* the log, two older ones, no more, and none much too large */
		snprintf(path, sizeof(path), n ? "%s/liar.log.%u" : "%s/liar.log", dir, n);
		if (n < 3) {
			assert_int_equal(stat(path, &st), 0);
			assert_true(st.st_size <= (64 << 10) + (256 << 10));
		} else {
			assert_int_equal(stat(path, &st), -1);
		}
	}
	close(deaf);
	talk_once(to_unix("liar.sock"));
	close(fd);
}

/* More typed than the guest takes: it waits outside, and none of it is lost. */
static void typing_waits_for_the_guest(void **state)
{
	int fd = to_unix("good.sock"), other = to_unix("liar.sock");
	uint64_t stuck = 0;
	size_t sent = 0;

	guests[1].echo = false;
	for (uint64_t start = pvb_now_ms(); stuck < 100 && pvb_now_ms() < start + WAIT_MS;) {
		char c = (char)('a' + sent % 26);

		if (write(fd, &c, 1) == 1) {
			sent++;
			continue;
		}
		usleep(1000);
		stuck = load(&guests[1].page->in_prod) - guests[1].page->in_cons == 1024 ? stuck + 1 : 0;
	}
	assert_int_equal(stuck, 100);
	assert_true(sent > 1024);
	talk(other);
	assert_int_equal(load(&guests[1].page->in_prod) - guests[1].page->in_cons, 1024);
	guests[1].echo = true;
	listen_again();
	for (size_t seen = 0; seen < sent;) {
		listen_again();
		UNTIL(heard(fd, "", 0) && nr_got > 0);
		for (size_t i = 0; i < nr_got; i++, seen++)
			assert_int_equal(got[i], 'a' + seen % 26);
	}
	close(fd);
	close(other);
}

static void a_lie_parks_its_console_alone(void **state)
{
	static const struct { bool in; uint32_t jump; const char *says; } lies[] = {
		{ false, 2049, "ahead of out_cons" }, { false, 0x80000000u, "ahead of out_cons" }, { true, 1, "behind in_prod" },
		{ true, 0x7fffffffu, "behind in_prod" },
	};
	struct guest *g = &guests[0];

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char path[96], places[256], *why = NULL;
		uint32_t *at = lies[i].in ? &g->page->in_cons : &g->page->out_prod, true_one = *at;
		int fd = to_unix("good.sock");

		__atomic_store_n(at, true_one + lies[i].jump, __ATOMIC_RELEASE);
		pvb_hv_evt_notify(g->hv, g->port);
		UNTIL(is(g, "phase", "parked"));
		assert_non_null(strstr(member(g, "error"), lies[i].says));
		snprintf(path, sizeof(path), "/local/domain/0/backend/console/%u/0/error", g->domid);
		assert_int_equal(pvb_store_read(store, PVB_NO_TXN, path, &why), 0);
		assert_non_null(strstr(why, lies[i].says));
		free(why);
		talk(fd);
		close(fd);
		__atomic_store_n(at, true_one, __ATOMIC_RELEASE); /* no use */
		pvb_hv_evt_notify(g->hv, g->port);
		UNTIL(count(g, "worker") == 0);
		assert_true(is(g, "phase", "parked"));
		/* only who is asked goes on */
		snprintf(places, sizeof(places), "unix=%s/liar.sock log=%s/liar.log,rotate=64K,keep=2%s", dir, dir, i % 2 ? " rate=1M" : "");
		assert_string_equal(serve(g, places), "");
		UNTIL(is(g, "phase", "serving"));
		talk_once(to_unix("liar.sock"));
		assert_int_equal(pvb_store_exists(store, PVB_NO_TXN, path), 0);
	}
}

/* pvl console stays with the console when another pvbackd serves it, and leaves by Ctrl-]. */
static void pvl_console_follows(void **state)
{
	const char *top = getenv("abs_top_builddir");
	char path[512], host[96], domid[16];
	int in[2], out[2], status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/toolstack/pvl", top ? top : "..");
	snprintf(host, sizeof(host), "local:%s", dir);
	snprintf(domid, sizeof(domid), "%u", guests[1].domid);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(path, path, "--host", host, "--quiet", "console", domid, (char *)NULL);
		_exit(127);
	}
	listen_again();
	type(in[1], "P");
	HEAR(out[0], "line P\r\n");
	end_pvbackd(SIGKILL);
	start_pvbackd();
	UNTIL(is(&guests[1], "phase", "serving"));
	listen_again();
	for (unsigned i = 0; i < 20 && !heard(out[0], "line Q\r\n", 8); i++) {
		type(in[1], "Q"); /* the one before may have gone to the old terminal's last moment */
		for (unsigned k = 0; k < 1000 && !heard(out[0], "line Q\r\n", 8); k++) {
			live();
			usleep(1000);
		}
	}
	HEAR(out[0], "line Q\r\n");
	type(in[1], "\x1d");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(out[1]);
}

static void log_has(const char *name, const char *what)
{
	char path[128];
	struct stat st;
	char *text;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	text = calloc(1, (size_t)st.st_size + 1);
	assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
	if (!strstr(text, what))
		fail_msg("%s has no \"%s\"", path, what);
	free(text);
	close(fd);
}

static void another_pvbackd_goes_on(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		end_pvbackd(i ? SIGTERM : SIGKILL);
		say_all(&guests[1], i ? "nobody listens, gently\r\n" : "nobody listens\r\n");
		start_pvbackd();
		UNTIL(is(&guests[1], "phase", "serving") && is(&guests[0], "phase", "serving"));
		talk_once(to_unix("good.sock"));
		talk_once(open_tty(&guests[1]));
		talk_once(to_unix("liar.sock"));
		log_has("good.log", i ? "nobody listens, gently\r\n" : "nobody listens\r\n");
	}
}

/* The domain ends: its last words are in the log, its process lets go of the page. */
static void the_end(void **state)
{
	struct guest *g = &guests[1];
	char name[96];

	/* no event for this one: nobody has looked when the directories go */
	memcpy(&g->page->out[g->page->out_prod % sizeof(g->page->out)], "x", 1);
	__atomic_store_n(&g->page->out_prod, g->page->out_prod + 1, __ATOMIC_RELEASE);
	say_all(g, "last words\r\n");
	take_console(g);
	UNTIL(is(g, "phase", ""));
	snprintf(name, sizeof(name), "%s/good.sock", dir);
	UNTIL(access(name, F_OK) < 0);
	log_has("good.log", "xlast words\r\n");
	UNTIL(pvb_hv_ungrant(g->hv, &g->grant) == 0);
	assert_int_equal(pvb_hv_grant(g->hv, 0, 1, true, &g->grant), 0);
	g->page = g->grant.addr;
	g->page->in_cons = g->page->in_prod = g->page->out_cons = g->page->out_prod = BASE;
	make_console(g);
	UNTIL(is(g, "phase", "serving"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_pty_outlives_its_process, fresh), cmocka_unit_test_setup(several_clients, fresh),
		cmocka_unit_test_setup(a_bad_key_is_named, fresh), cmocka_unit_test_setup(waits_for_who_has_it, fresh),
		cmocka_unit_test_setup(tcp_and_telnet, fresh), cmocka_unit_test_setup(dials_until_it_is_answered, fresh),
		cmocka_unit_test_setup(a_flood_is_its_own_trouble, fresh), cmocka_unit_test_setup(typing_waits_for_the_guest, fresh),
		cmocka_unit_test_setup(a_lie_parks_its_console_alone, fresh), cmocka_unit_test_setup(another_pvbackd_goes_on, fresh),
		cmocka_unit_test_setup(pvl_console_follows, fresh),
		cmocka_unit_test_setup(the_end, fresh),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
