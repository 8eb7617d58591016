// SPDX-License-Identifier: GPL-2.0-or-later
/* pvl: the table of commands, the parser that reads it, and the help made from it. */
#include "config.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

const struct opt pvl_global_opts[] = {
	{ "host", 0, "HOST", "where: xen, or local[:DIR] (default: xen where /dev/xen is, else local)" },
	{ "json", 0, NULL, "print data as JSON" },
	{ "json-lines", 0, NULL, "as JSON, a line each row, event and progress" },
	{ "dry-run", 'N', NULL, "say what would be done, change nothing" },
	{ "force", 'f', NULL, "go on where pvl would refuse" },
	{ "timeout", 0, "SECONDS", "how long to wait for others" },
	{ "verbose", 'v', NULL, "say more; twice for more still" },
	{ "quiet", 'q', NULL, "errors only" },
	{ "help", 'h', NULL, "this text" },
	{ "version", 'V', NULL, "print the version" },
	{ 0 }
};

static const struct opt create_opts[] = {
	{ "defconfig", 'f', "FILE", "the configuration file, as first argument would be" },
	{ "paused", 'p', NULL, "leave the domain paused" },
	{ "console", 'c', NULL, "connect to its console" },
	{ "foreground", 'F', NULL, "stay and carry out on_poweroff= and the like from here" },
	{ "no-monitor", 'e', NULL, "nobody carries out on_poweroff= and the like" },
	{ "dryrun", 'n', NULL, "same as --dry-run" },
	{ "dump", 'd', NULL, "print the configuration as JSON on stderr, then go on" },
	{ 0 }
};
static const struct opt list_opts[] = {
	{ "long", 'l', NULL, "whole configuration of each domain, as JSON" },
	{ "verbose", 'v', NULL, "also type, uptime and uuid" },
	{ "names", 0, NULL, "names only, one a line" },
	{ "cpupool", 'c', NULL, "also the pool of processors" },
	{ "numa", 'n', NULL, "also the affinity to nodes" },
	{ "context", 'Z', NULL, "also the security label" },
	{ 0 }
};
static const struct opt shutdown_opts[] = {
	{ "all", 'a', NULL, "every domain but dom0" },
	{ "wait", 'w', NULL, "until it has shut down; twice: until it is gone" },
	{ "fallback", 'F', NULL, "press the ACPI power button if it does not take the request" },
	{ 0 }
};
static const struct opt console_opts[] = {
	{ "type", 't', "TYPE", "pv, serial or vuart" },
	{ "num", 'n', "NUMBER", "which console of that type" },
	{ "reconnect", 'r', NULL, "when it ends wait for it, also for the domain's next life" },
	{ "serve", 's', "PLACES", "have pvbackd serve it there, pvbus-console(7); do not connect" },
	{ "show", 0, NULL, "where pvbackd serves it, and counters; do not connect" },
	{ 0 }
};
static const struct opt monitor_opts[] = {
	{ "ready-fd", 0, "FD", "write one byte there once watching" },
	{ 0 }
};
static const struct opt vcpu_set_opts[] = {
	{ "ignore-host", 'i', NULL, "also more processors than the host has" },
	{ 0 }
};
static const struct opt mem_set_opts[] = {
	{ "wait", 'w', NULL, "until the guest has given or taken it" },
	{ 0 }
};
static const struct opt dmesg_opts[] = {
	{ "clear", 'c', NULL, "empty the buffer after reading" },
	{ 0 }
};
static const struct opt config_update_opts[] = {
	{ "defconfig", 'f', "FILE", "the configuration file, as second argument would be" },
	{ "dump", 'd', NULL, "print the configuration as JSON on stderr" },
	{ 0 }
};
static const struct opt save_opts[] = {
	{ "checkpoint", 'c', NULL, "let the domain run on afterwards" },
	{ "pause", 'p', NULL, "leave the domain, paused" },
	{ "keep-domid", 'D', NULL, "restore it under the same id" },
	{ "detach-first", 0, NULL, "detach its PCI devices; attach them again if it runs on here" },
	{ "bandwidth", 0, "MIB", "write at most so many MiB a second" },
	{ 0 }
};
static const struct opt restore_opts[] = {
	{ "paused", 'p', NULL, "leave the domain paused" },
	{ "console", 'c', NULL, "connect to its console" },
	{ "foreground", 'F', NULL, "stay and carry out on_poweroff= and the like from here" },
	{ "no-monitor", 'e', NULL, "nobody carries out on_poweroff= and the like" },
	{ "dump", 'd', NULL, "print the configuration as JSON on stderr, then go on" },
	{ 0 }
};
static const struct opt migrate_opts[] = {
	{ "ssh", 's', "COMMAND", "what runs a command on HOST (ssh); '': HOST is a command line" },
	{ "receiver", 0, "TOOL", "what receives there: pvl, or xl" },
	{ "config", 'C', "FILE", "configuration to use instead of the domain's own" },
	{ "cold", 0, NULL, "stop the domain before its memory is sent" },
	{ "pause", 'p', NULL, "leave it paused there" },
	{ "no-monitor", 'e', NULL, "no monitor there" },
	{ "keep-domid", 'D', NULL, "the same id there" },
	{ "debug", 0, NULL, "compare all memory in the end" },
	{ "detach-first", 0, NULL, "detach its PCI devices; attach them again if it runs on here" },
	{ "bandwidth", 0, "MIB", "send at most so many MiB a second" },
	{ 0 }
};
static const struct opt receive_opts[] = {
	{ "paused", 'p', NULL, "leave the domain paused" },
	{ "no-monitor", 'e', NULL, "start no monitor" },
	{ "settle", 0, "UUID", "tell what became of a domain" },
	{ 0 }
};
static const struct opt info_opts[] = {
	{ "numa", 'n', NULL, "also the host's processors and nodes" },
	{ 0 }
};
static const struct opt uptime_opts[] = {
	{ "short", 's', NULL, "one line a domain, as uptime(1)" },
	{ 0 }
};
static const struct opt attach_opts[] = {
	{ "no-wait", 0, NULL, "do not wait for the guest's driver to connect" },
	{ 0 }
};
static const struct opt block_list_opts[] = {
	{ "names", 0, NULL, "device names only, one a line" },
	{ 0 }
};
static const struct opt network_list_opts[] = {
	{ "names", 0, NULL, "device numbers only, one a line" },
	{ 0 }
};
static const struct opt pci_assignable_list_opts[] = {
	{ "show-names", 'n', NULL, "with the names given by pci-assignable-add -n" },
	{ "candidates", 0, NULL, "all devices of this host: can it be passed, and if not, why" },
	{ 0 }
};
static const struct opt pci_assignable_add_opts[] = {
	{ "name", 'n', "NAME", "by which pci=[] and pci-attach may call it, as name=NAME" },
	{ 0 }
};
static const struct opt pci_assignable_remove_opts[] = {
	{ "rebind", 'r', NULL, "back to the driver that it came from" },
	{ 0 }
};
static const struct opt pci_attach_opts[] = {
	{ "no-reset", 0, NULL, "also a device that the kernel can not reset" },
	{ 0 }
};
static const struct opt pci_list_opts[] = {
	{ "names", 0, NULL, "devices only, one a line" },
	{ 0 }
};
static const struct opt stats_opts[] = {
	{ "prometheus", 0, NULL, "as Prometheus text" },
	{ "watch", 'w', "SECONDS", "again and again" },
	{ "count", 0, "NUMBER", "so many times" },
	{ "socket", 0, "PATH", "pvbackd's control socket" },
	{ 0 }
};
static const struct opt top_opts[] = {
	{ "delay", 'd', "SECONDS", "time between two looks (3)" },
	{ "iterations", 'i', "NUMBER", "so many looks" },
	{ "batch", 'b', NULL, "do not clear the screen" },
	{ 0 }
};
static const struct opt backend_opts[] = {
	{ "socket", 0, "PATH", "pvbackd's control socket" },
	{ 0 }
};
static const struct opt bench_opts[] = {
	{ "quick", 0, NULL, "run: fewer and shorter samples" },
	{ "only", 0, "PATTERN", "rows or cells named like this" },
	{ "list", 0, NULL, "run: print the names of all rows, measure nothing" },
	{ "realtime", 0, NULL, "run: nobody else gets these processors meanwhile" },
	{ "out", 0, "FILE", "run: write the results there (bench.json)" },
	{ "html", 0, "FILE", "report: write a page with plots" },
	{ "svg", 0, "FILE", "report: write a picture" },
	{ "against", 0, "FILE", "report: compare with this earlier run; exit status 1 if something has become worse" },
	{ "tolerance", 0, "PERCENT", "report: changes up to this do not count (5)" },
	{ 0 }
};
static const struct opt help_opts[] = {
	{ "list", 'l', NULL, "names of all commands, one a line" },
	{ "options", 'o', NULL, "options of the command, one a line" },
	{ "complete", 0, NULL, "what may be the last of the words after --" },
	{ 0 }
};

const struct cmd pvl_commands[] = {
	{ "create", cmd_create, 0, 64, "[FILE] [KEY=VALUE]...", "create a domain from an xl.cfg file",
	  "KEY=VALUE settings come after the file's and win; FILE /dev/null means settings only.  A key that neither "
	  "xl nor pvl knows, or that pvl does not act on, is refused with its line and the nearest known key; "
	  "--force creates the domain without it.",
	  create_opts },
	{ "list", cmd_list, 0, 64, "[DOMAIN]...", "list domains", NULL, list_opts },
	{ "destroy", cmd_destroy, 1, 64, "DOMAIN...", "end a domain at once", "dom0 needs --force.", NULL },
	{ "shutdown", cmd_shutdown, 0, 64, "DOMAIN...", "ask a guest to shut down",
	  "Succeeds when the guest has taken the request, with -w when it has done so.", shutdown_opts },
	{ "reboot", cmd_reboot, 0, 64, "DOMAIN...", "ask a guest to reboot",
	  "Succeeds when the guest has taken the request, with -w when it has gone down.", shutdown_opts },
	{ "pause", cmd_pause, 1, 64, "DOMAIN...", "stop a domain's processors", NULL, NULL },
	{ "unpause", cmd_unpause, 1, 64, "DOMAIN...", "let a paused domain run", NULL, NULL },
	{ "console", cmd_console, 1, 1, "DOMAIN", "connect to a domain's console (leave with Ctrl-])", NULL,
	  console_opts },
	{ "domid", cmd_domid, 1, 1, "NAME", "print the id of a domain", NULL, NULL },
	{ "domname", cmd_domname, 1, 1, "ID", "print the name of a domain", NULL, NULL },
	{ "rename", cmd_rename, 2, 2, "DOMAIN NEWNAME", "give a domain another name", NULL, NULL },
	{ "sysrq", cmd_sysrq, 2, 2, "DOMAIN LETTER", "send a magic sysrq key", NULL, NULL },
	{ "trigger", cmd_trigger, 2, 3, "DOMAIN nmi|reset|init|power|sleep|s3resume [VCPU]", "send a trigger", NULL,
	  NULL },
	{ "vcpu-list", cmd_vcpu_list, 0, 64, "[DOMAIN]...", "list domains' processors and where they may run", NULL,
	  NULL },
	{ "vcpu-set", cmd_vcpu_set, 2, 2, "DOMAIN NUMBER", "change how many processors a domain has on line", NULL,
	  vcpu_set_opts },
	{ "vcpu-pin", cmd_vcpu_pin, 3, 4, "DOMAIN VCPU|all HARD|-|all [SOFT|-|all]", "say where a domain's processors run",
	  "HARD is where they may run, SOFT where they should: 0-3,^2 or node:1; - leaves it as it is.", NULL },
	{ "mem-set", cmd_mem_set, 2, 2, "DOMAIN SIZE", "change how much memory a domain has",
	  "SIZE is in MiB, or has a unit: b k m g t.", mem_set_opts },
	{ "mem-max", cmd_mem_max, 2, 2, "DOMAIN SIZE", "change how much memory a domain may have",
	  "SIZE is in MiB, or has a unit: b k m g t.", NULL },
	{ "config-update", cmd_config_update, 1, 64, "DOMAIN [FILE] [KEY=VALUE]...",
	  "give a domain another configuration for its next start",
	  "Its monitor builds the domain of it the next time it reboots; nothing changes before that.",
	  config_update_opts },
	{ "save", cmd_save, 2, 3, "DOMAIN FILE [CONFIG]", "save a domain to a file",
	  "The domain is gone afterwards.  If something fails it runs on, and FILE is what it was.  xl restores it too.",
	  save_opts },
	{ "restore", cmd_restore, 1, 2, "[CONFIG] FILE", "let a domain go on that was saved", "Also one that xl has saved.",
	  restore_opts },
	{ "migrate", cmd_migrate, 2, 2, "DOMAIN HOST", "move a domain to another host",
	  "At whatever step it fails, the domain runs on one of the two hosts.", migrate_opts },
	{ "migrate-receive", cmd_migrate_receive, 0, 0, "", "what migrate runs on the other host",
	  "It speaks with its sender on standard input and output.", receive_opts },
	{ "suspend", cmd_suspend, 1, 1, "DOMAIN", "stop a domain as for saving, in memory", NULL, NULL },
	{ "resume", cmd_resume, 1, 1, "DOMAIN", "let a suspended domain go on", NULL, NULL },
	{ "dump-core", cmd_dump_core, 2, 2, "DOMAIN FILE", "write a domain's memory to a file", NULL, NULL },
	{ "cd-insert", cmd_cd_insert, 3, 3, "DOMAIN DRIVE TARGET", "put a medium into a guest's CD drive", NULL, NULL },
	{ "cd-eject", cmd_cd_eject, 2, 2, "DOMAIN DRIVE", "take the medium out of a guest's CD drive", NULL, NULL },
	{ "dmesg", cmd_dmesg, 0, 0, "", "print Xen's message buffer", NULL, dmesg_opts },
	{ "debug-keys", cmd_debug_keys, 1, 1, "KEYS", "send keys to Xen's console", "What they say is in dmesg.", NULL },
	{ "monitor", cmd_monitor, 1, 1, "DOMAIN", "watch a domain and carry out its on_poweroff= and the like",
	  "What create starts in the background; for a domain whose monitor is gone.  Returns when the domain is.",
	  monitor_opts },
	{ "vm-list", cmd_vm_list, 0, 0, "", "list domains with their uuids", NULL, NULL },
	{ "uptime", cmd_uptime, 0, 64, "[DOMAIN]...", "how long domains have been running", NULL, uptime_opts },
	{ "info", cmd_info, 0, 1, "[FIELD]", "describe the host", "With FIELD its bare value.", info_opts },
	{ "block-attach", cmd_block_attach, 2, 32, "DOMAIN DISKSPEC...", "add a disk",
	  "Succeeds when both ends are connected; otherwise the device is taken away again.", attach_opts },
	{ "block-detach", cmd_block_detach, 2, 2, "DOMAIN DISK", "remove a disk",
	  "A guest that does not let go in time keeps it, whole; --force takes it away.", NULL },
	{ "block-list", cmd_block_list, 1, 64, "DOMAIN...", "list disks", NULL, block_list_opts },
	{ "network-attach", cmd_network_attach, 1, 32, "DOMAIN [KEY=VALUE]...", "add a NIC",
	  "Succeeds when both ends are connected; otherwise the device is taken away again.", attach_opts },
	{ "network-detach", cmd_network_detach, 2, 2, "DOMAIN NUMBER|MAC", "remove a NIC", NULL, NULL },
	{ "network-list", cmd_network_list, 1, 64, "DOMAIN...", "list NICs", NULL, network_list_opts },
	{ "pci-assignable-list", cmd_pci_assignable_list, 0, 0, "", "list PCI devices that can be given to a domain",
	  "With --candidates every device of the host, with what speaks against passing it through.", pci_assignable_list_opts },
	{ "pci-assignable-add", cmd_pci_assignable_add, 1, 32, "BDF...", "take PCI devices from dom0's drivers, for domains",
	  "All of them or none.  Refused for what dom0 uses: a mounted disk, a route, a console; --force takes it all the same.",
	  pci_assignable_add_opts },
	{ "pci-assignable-remove", cmd_pci_assignable_remove, 1, 1, "BDF|NAME", "end a PCI device's being assignable", NULL,
	  pci_assignable_remove_opts },
	{ "pci-attach", cmd_pci_attach, 2, 2, "DOMAIN PCISPEC", "give a PCI device to a domain",
	  "Succeeds when the guest's driver and Xen have it; otherwise it is taken back.", pci_attach_opts },
	{ "pci-detach", cmd_pci_detach, 2, 2, "DOMAIN PCISPEC", "take a PCI device from a domain",
	  "A guest that does not let go in time keeps it, whole; --force takes it away.", NULL },
	{ "pci-list", cmd_pci_list, 1, 1, "DOMAIN", "list a domain's PCI devices", NULL, pci_list_opts },
	{ "usbctrl-attach", cmd_usbctrl_attach, 1, 4, "DOMAIN [KEY=VALUE]...", "add a USB controller",
	  "Keys: type=auto|pv|qusb|devicemodel, version=1|2|3, ports=N.", NULL },
	{ "usbctrl-detach", cmd_usbctrl_detach, 2, 2, "DOMAIN NUMBER", "remove a USB controller and what is on it", NULL, NULL },
	{ "usbdev-attach", cmd_usbdev_attach, 2, 6, "DOMAIN USBSPEC...", "give a USB device to a domain",
	  "USBSPEC: VENDOR:PRODUCT[:SERIAL], a port (1-1.2), or hostbus=N hostaddr=N; then controller=N port=N in the guest.  "
	  "Refused for a hub, for what another domain has and for what dom0 uses; --force overrides the last.", NULL },
	{ "usbdev-detach", cmd_usbdev_detach, 2, 5, "DOMAIN USBSPEC...", "take a USB device from a domain",
	  "USBSPEC as for usbdev-attach, or controller and port in the guest as two numbers.", NULL },
	{ "usb-list", cmd_usb_list, 1, 1, "DOMAIN", "list a domain's USB controllers and devices", NULL, NULL },
	{ "stats", cmd_stats, 0, 2, "[DOMAIN [DEVICE]]", "counters of the disks and NICs that pvbackd serves",
	  "DEVICE is a disk (xvda, 51712), or vifNUMBER for a NIC.",
	  stats_opts },
	{ "top", cmd_top, 0, 0, "", "show again and again what domains use", NULL, top_opts },
	{ "wait", cmd_wait, 2, 2, "DOMAIN created|connected|shutdown|gone", "wait until something is so with a domain",
	  "connected: all its disks and NICs are, at both ends.  --timeout limits it.", NULL },
	{ "device", cmd_device, 3, 3, "show DOMAIN DEVICE", "show both ends of a device and its counters",
	  "DEVICE is a disk (xvda, 51712), or vifNUMBER for a NIC.", NULL },
	{ "backend", cmd_backend, 1, 5, "info|upgrade [PROGRAM]|resume DOMAIN DEVICE|refresh DOMAIN DISK|policy DOMAIN DISK CLASS POLICY",
	  "talk to pvbackd",
	  "upgrade lets PROGRAM, or what is installed now, take over from the running pvbackd; guests see a pause.  "
	  "It is refused before anything stops if PROGRAM could not go on with a device; --force does not ask about devices "
	  "that end with pvbackd in any case.  resume lets a device go on that waits after errors, refresh looks at an image's "
	  "size, policy says what a CLASS of errors (enospc, flush-error, io-error) does: retry, report, stop or ignore.",
	  backend_opts },
	{ "bench", cmd_bench, 1, 65, "run|report [FILE]...", "measure, and show what was measured",
	  "run measures disks and NICs on a local fabric of its own, what the machine itself can, and peers that are "
	  "installed.  report prints medians, spreads and ratios of results that bench wrote; see pvbus-bench(7).", bench_opts },
	{ "doctor", cmd_doctor, 0, 0, "", "look for what is wrong with this host's devices",
	  "Changes nothing.  Exit status 0: all well; 1: there are findings.", NULL },
	{ "help", cmd_help, 0, 64, "[COMMAND]", "list commands, or explain one", NULL, help_opts },
	{ 0 }
};

/* --- messages --------------------------------------------------------------------------------------- */

static void say(const char *fmt, va_list ap)
{
	fflush(stdout);
	fputs("pvl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void pvl_error(const struct pvl *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void pvl_note(const struct pvl *p, const char *fmt, ...)
{
	va_list ap;

	if (p->verbose < 0)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void pvl_debug(const struct pvl *p, const char *fmt, ...)
{
	va_list ap;

	if (p->verbose < 1)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void pvl_event(struct pvl *p, const char *name, struct json_object *fields)
{
	struct json_object *obj;
	struct timespec now;

	if (p->lines) {
		clock_gettime(CLOCK_REALTIME, &now);
		obj = out_obj();
		out_str(obj, "event", name);
		out_str(obj, "command", p->cmd->name);
		out_real(obj, "time", (double)now.tv_sec + (double)now.tv_nsec / 1e9);
		if (fields)
			out_merge(obj, fields);
		out_json(obj);
		json_object_put(obj);
	}
	json_object_put(fields);
}

void pvl_progress(struct pvl *p, const char *what, unsigned long done, unsigned long total)
{
	unsigned percent = total ? (unsigned)(done * 100.0 / (double)total) : 0;
	struct json_object *fields;
	bool tty = isatty(2);

	if (p->lines) {
		fields = out_obj();
		out_str(fields, "what", what);
		out_int(fields, "done", (long long)done);
		out_int(fields, "total", (long long)total);
		out_int(fields, "percent", percent);
		pvl_event(p, "progress", fields);
	} else if (p->verbose >= 0 && (percent > p->percent || !done)) {
		fprintf(stderr, "%spvl: %s: %s: %lu/%lu %3u%%%s", tty ? "\r" : "", p->cmd->name, what, done, total, percent,
			tty && done < total ? "" : "\n");
	}
	p->percent = percent;
}

int pvl_fail(struct pvl *p, const struct pvb_error *err)
{
	pvl_error(p, "%s: %s", p->cmd->name, err->text);
	if (p->json && !p->answered) {
		struct json_object *obj = out_obj();

		out_bool(obj, "ok", false);
		out_str(obj, "error", err->text);
		out_json(obj);
		json_object_put(obj);
		p->answered = true;
	}
	return PVL_FAIL;
}

int pvl_failf(struct pvl *p, const char *fmt, ...)
{
	struct pvb_error err = { .code = -EINVAL };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	return pvl_fail(p, &err);
}

int pvl_cannot(struct pvl *p)
{
	return pvl_failf(p, "host %s has no such operation", p->ops->name);
}

int pvl_usage(struct pvl *p, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "pvl: %s: ", p->cmd->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nUsage: pvl %s [OPTION]... %s\n", p->cmd->name, p->cmd->args);
	return PVL_USAGE;
}

int pvl_done(struct pvl *p, struct json_object *fields)
{
	int rc = 0;

	if (p->json && !p->answered) {
		struct json_object *obj = out_obj();

		out_bool(obj, "ok", true);
		if (p->dry_run)
			out_bool(obj, "dry_run", true);
		if (fields)
			out_merge(obj, fields);
		rc = out_json(obj);
		json_object_put(obj);
	}
	json_object_put(fields);
	return rc ? PVL_FAIL : PVL_OK;
}

/* --- options ---------------------------------------------------------------------------------------- */

static int opt_index(const struct pvl *p, const char *name)
{
	for (int i = 0; p->cmd->opts && p->cmd->opts[i].name; i++)
		if (strcmp(p->cmd->opts[i].name, name) == 0)
			return i;
	return -1;
}

unsigned pvl_opt(const struct pvl *p, const char *name)
{
	int i = opt_index(p, name);

	return i < 0 ? 0 : p->val[i].count;
}

const char *pvl_opt_arg(const struct pvl *p, const char *name)
{
	int i = opt_index(p, name);

	return i < 0 ? NULL : p->val[i].arg;
}

int pvl_timeout(const struct pvl *p, int default_ms)
{
	return p->timeout_ms >= 0 ? p->timeout_ms : default_ms;
}

static void help_option(const struct opt *o, char letter)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
		 letter ? ", " : "  ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	printf("  %-26s %s\n", left, o->help);
}

static void help_wrapped(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column && column + 1 + n > 78) {
			putchar('\n');
			column = 0;
		}
		column += printf("%s%.*s", column ? " " : "", (int)n, text);
		text += n + strspn(text + n, " ");
	}
	putchar('\n');
}

/* Has the command an option of this name or letter itself? It then goes before the global one. */
static bool own_option(const struct cmd *cmd, const char *name, char letter)
{
	for (const struct opt *o = cmd->opts; o && o->name; o++)
		if ((name && strcmp(o->name, name) == 0) || (letter && o->letter == letter))
			return true;
	return false;
}

static int help_command(const struct cmd *cmd)
{
	printf("Usage: pvl %s [OPTION]... %s\n%s\n", cmd->name, cmd->args, cmd->help);
	if (cmd->more) {
		putchar('\n');
		help_wrapped(cmd->more);
	}
	if (cmd->opts) {
		puts("\nOptions:");
		for (const struct opt *o = cmd->opts; o->name; o++)
			help_option(o, o->letter);
	}
	puts("\nOptions of all commands:");
	for (const struct opt *o = pvl_global_opts; o->name; o++)
		if (!own_option(cmd, o->name, 0))
			help_option(o, own_option(cmd, NULL, o->letter) ? 0 : o->letter);
	return out_flush() ? PVL_FAIL : PVL_OK;
}

static int help_all(FILE *to)
{
	fputs("Usage: pvl [OPTION]... COMMAND [OPTION]... [ARGUMENT]...\n"
	      "Create Xen (or local) domains and wire their devices.\n\nCommands:\n", to);
	for (const struct cmd *c = pvl_commands; c->name; c++)
		fprintf(to, "  %-14s %s\n", c->name, c->help);
	fputs("\nAn unambiguous beginning of a command's name will do.  'pvl COMMAND --help' explains it.\n", to);
	return to == stdout && out_flush() ? PVL_FAIL : PVL_OK;
}

/* Exact name or unambiguous prefix.  NULL after saying what is wrong. */
static const struct cmd *find_command(const char *name)
{
	const struct cmd *found = NULL;
	unsigned nr = 0;

	for (const struct cmd *c = pvl_commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
		if (strncmp(c->name, name, strlen(name)) == 0) {
			found = c;
			nr++;
		}
	}
	if (nr == 1)
		return found;
	if (!nr) {
		fprintf(stderr, "pvl: no command \"%s\"; 'pvl help' lists them\n", name);
		return NULL;
	}
	fprintf(stderr, "pvl: \"%s\" could be", name);
	for (const struct cmd *c = pvl_commands; c->name; c++)
		if (strncmp(c->name, name, strlen(name)) == 0)
			fprintf(stderr, " %s", c->name);
	fputc('\n', stderr);
	return NULL;
}

static void help_row(struct json_object *rows, const struct cmd *c)
{
	struct json_object *row = out_obj(), *options = out_arr();

	out_str(row, "name", c->name);
	out_str(row, "arguments", c->args);
	out_str(row, "help", c->help);
	out_str(row, "more", c->more);
	for (const struct opt *o = c->opts; o && o->name; o++) {
		struct json_object *option = out_obj();
		char letter[2] = { o->letter, '\0' };

		out_str(option, "name", o->name);
		out_str(option, "letter", *letter ? letter : NULL);
		out_str(option, "argument", o->arg);
		out_str(option, "help", o->help);
		json_object_array_add(options, option);
	}
	json_object_object_add(row, "options", options);
	json_object_array_add(rows, row);
}

static int help_json(const struct cmd *cmd)
{
	struct json_object *rows = out_arr();
	int rc;

	for (const struct cmd *c = pvl_commands; c->name; c++)
		if (!cmd || c == cmd)
			help_row(rows, c);
	rc = out_json(rows);
	json_object_put(rows);
	return rc ? PVL_FAIL : PVL_OK;
}

int cmd_help(struct pvl *p)
{
	const struct cmd *cmd = NULL;

	if (pvl_opt(p, "complete"))
		return pvl_complete(p);
	if (p->argc > 1)
		return pvl_usage(p, "one command at a time");
	if (p->argc && !(cmd = find_command(p->argv[0])))
		return PVL_FAIL;
	if (pvl_opt(p, "list")) {
		for (const struct cmd *c = pvl_commands; c->name; c++)
			puts(c->name);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	if (pvl_opt(p, "options")) {
		const struct opt *lists[] = { cmd ? cmd->opts : NULL, pvl_global_opts };

		for (unsigned i = 0; i < 2; i++)
			for (const struct opt *o = lists[i]; o && o->name; o++)
				printf("--%s\n", o->name);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	if (p->json)
		return help_json(cmd);
	return cmd ? help_command(cmd) : help_all(stdout);
}

static int parse_timeout(struct pvl *p, const char *text)
{
	uint64_t s;

	if (pvb_parse_u64(text, 0, 86400, &s)) {
		fprintf(stderr, "pvl: --timeout \"%s\": not a number of seconds from 0 to 86400\n", text);
		return PVL_USAGE;
	}
	p->timeout_ms = (int)s * 1000;
	return 0;
}

/* What getopt_long() returns for entry i of the command's (G: the global) options. */
#define VAL_CMD(i)    (0x1000 + (i))
#define VAL_GLOBAL(i) (0x2000 + (i))

struct parser {
	struct option lng[2 * PVL_MAX_OPTS];
	char sht[4 * PVL_MAX_OPTS];
	int letter[128]; /* value of a short option; 0 = none */
};

static void parser_add(struct parser *ps, const struct opt *opts, int base)
{
	size_t l = 0, s = strlen(ps->sht);

	while (ps->lng[l].name)
		l++;
	for (int i = 0; opts && opts[i].name; i++) {
		ps->lng[l++] =
			(struct option){ opts[i].name, opts[i].arg ? required_argument : no_argument, NULL, base + i };
		if (!opts[i].letter || ps->letter[(int)opts[i].letter])
			continue; /* the command's own letter hides the global one, as in xl create -f FILE */
		ps->letter[(int)opts[i].letter] = base + i;
		ps->sht[s++] = opts[i].letter;
		if (opts[i].arg)
			ps->sht[s++] = ':';
	}
}

enum { PARSED, HELP, VERSION_ASKED, WRONG };

static int take_global(struct pvl *p, const char *name, const char *arg)
{
	if (strcmp(name, "host") == 0)
		p->host_spec = arg;
	else if (strcmp(name, "json") == 0)
		p->json = true;
	else if (strcmp(name, "json-lines") == 0)
		p->json = p->lines = true;
	else if (strcmp(name, "dry-run") == 0)
		p->dry_run = true;
	else if (strcmp(name, "force") == 0)
		p->force = true;
	else if (strcmp(name, "timeout") == 0)
		return parse_timeout(p, arg) ? WRONG : PARSED;
	else if (strcmp(name, "verbose") == 0)
		p->verbose++;
	else if (strcmp(name, "quiet") == 0)
		p->verbose = -1;
	else if (strcmp(name, "help") == 0)
		return HELP;
	else
		return VERSION_ASKED;
	return PARSED;
}

/* Read options into p.  Before the command's name (cmd NULL) stop at the first argument; after it options
 * and arguments may be mixed, and the arguments are left in argv[optind...]. */
static int parse(struct pvl *p, int argc, char **argv)
{
	struct parser ps = { 0 };
	int c, what = PARSED;

	strcpy(ps.sht, p->cmd ? "" : "+");
	parser_add(&ps, p->cmd ? p->cmd->opts : NULL, VAL_CMD(0));
	parser_add(&ps, pvl_global_opts, VAL_GLOBAL(0));
	optind = 0;
	while (what == PARSED && (c = getopt_long(argc, argv, ps.sht, ps.lng, NULL)) != -1) {
		if (c == '?')
			return WRONG;
		if (c < 128)
			c = ps.letter[c];
		if (c >= VAL_GLOBAL(0)) {
			what = take_global(p, pvl_global_opts[c - VAL_GLOBAL(0)].name, optarg);
		} else {
			p->val[c - VAL_CMD(0)].count++;
			p->val[c - VAL_CMD(0)].arg = optarg;
		}
	}
	return what;
}

/* --- running ---------------------------------------------------------------------------------------- */

struct host *pvl_host(struct pvl *p)
{
	struct pvb_error err = { 0 };
	const char *rest;

	if (p->host)
		return p->host;
	p->ops = host_choose(p->host_spec, &rest, &err);
	if (!p->ops || p->ops->open(p, rest, &p->host, &err)) {
		pvl_fail(p, &err);
		return NULL;
	}
	return p->host;
}

int pvl_domain(struct pvl *p, const char *arg, bool zero_ok, unsigned *domid)
{
	struct pvb_error err = { 0 };
	struct dom_info *list;
	uint64_t id = UINT64_MAX;
	unsigned nr, i;

	if (!pvl_host(p))
		return PVL_FAIL;
	if (p->ops->list(p->host, &list, &nr, &err))
		return pvl_fail(p, &err);
	pvb_parse_u64(arg, 0, UINT32_MAX - 1, &id);
	for (i = 0; i < nr; i++)
		if (list[i].domid == id || (id == UINT64_MAX && strcmp(list[i].name, arg) == 0))
			break;
	if (i < nr)
		*domid = list[i].domid;
	dom_list_free(list, nr);
	if (i == nr)
		return pvl_failf(p, "no domain \"%s\"", arg);
	if (*domid == 0 && !zero_ok)
		return pvl_failf(p, "domain 0 is this host itself");
	return 0;
}

int pvl_main(int argc, char **argv)
{
	struct pvl p = { .timeout_ms = -1 };
	int what, rc;

	signal(SIGPIPE, SIG_IGN);
	what = parse(&p, argc, argv);
	if (what == WRONG)
		return PVL_USAGE;
	if (what == VERSION_ASKED) {
		puts("pvl (pvbus) " VERSION);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	if (what == HELP)
		return help_all(stdout);
	if (optind >= argc) {
		help_all(stderr);
		return PVL_USAGE;
	}
	argc -= optind;
	argv += optind;
	p.cmd = find_command(argv[0]);
	if (!p.cmd)
		return PVL_USAGE;
	what = parse(&p, argc, argv);
	if (p.lines)
		out_lines();
	if (what == HELP)
		return help_command(p.cmd);
	if (what == WRONG) {
		fprintf(stderr, "Usage: pvl %s [OPTION]... %s\n", p.cmd->name, p.cmd->args);
		return PVL_USAGE;
	}
	if (what == VERSION_ASKED) {
		puts("pvl (pvbus) " VERSION);
		return out_flush() ? PVL_FAIL : PVL_OK;
	}
	p.argc = argc - optind;
	p.argv = argv + optind;
	if ((unsigned)p.argc < p.cmd->min)
		return pvl_usage(&p, "%d argument%s, at least %u needed", p.argc, p.argc == 1 ? "" : "s", p.cmd->min);
	if ((unsigned)p.argc > p.cmd->max)
		return pvl_usage(&p, "%d arguments, at most %u taken", p.argc, p.cmd->max);
	rc = p.cmd->fn(&p);
	if (p.host)
		p.ops->close(p.host);
	return rc;
}
