/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_CMD_H
#define PVL_CMD_H
/* One command of pvl: how it is named, parsed, explained and called.
 *
 * The table in pvl.c is the only list of commands.  Parsing, --help, prefix matching, the bash
 * completion and the test that compares --help with pvl(1) all read it.
 *
 * Exit     0 what was asked for happened; 1 it did not (stderr says why); 2 wrong usage, nothing was tried.
 * Output   data on stdout; messages, progress and errors on stderr.
 * Threads  none.
 */
#include <stdbool.h>
#include <stddef.h>
#include "error.h"

struct cfg;
struct host;
struct host_ops;
struct json_object;

#define PVL_OK    0
#define PVL_FAIL  1
#define PVL_USAGE 2

struct opt {
	const char *name;  /* long name */
	char letter;       /* or 0 */
	const char *arg;   /* name of its argument, or NULL: a switch */
	const char *help;  /* one line */
};

#define PVL_MAX_OPTS 24
struct optval {
	unsigned count;
	const char *arg;   /* the last one given */
};

struct pvl;
struct cmd {
	const char *name;
	int (*fn)(struct pvl *p);  /* returns an exit status */
	unsigned min, max;         /* positional arguments */
	const char *args;          /* as shown after the name */
	const char *help;          /* one line */
	const char *more;          /* paragraph for --help, or NULL */
	const struct opt *opts;    /* ends with name == NULL; or NULL */
};
extern const struct cmd pvl_commands[]; /* ends with name == NULL */
extern const struct opt pvl_global_opts[];

struct pvl {
	const struct cmd *cmd;
	int argc;                  /* positional arguments left for the command */
	char **argv;
	struct optval val[PVL_MAX_OPTS]; /* parallel to cmd->opts */
	const char *host_spec;     /* --host, or NULL */
	bool json, lines, dry_run, force;
	unsigned percent;          /* of the progress last shown */
	int verbose;               /* -1 with --quiet */
	int timeout_ms;            /* --timeout; -1 when not given */
	const struct host_ops *ops;
	struct host *host;         /* open handle, see pvl_host() */
	bool answered;             /* the command has printed its JSON */
};

/* The command's own options. */
unsigned pvl_opt(const struct pvl *p, const char *name);        /* how often */
const char *pvl_opt_arg(const struct pvl *p, const char *name); /* or NULL */
int pvl_timeout(const struct pvl *p, int default_ms);

/* stderr, prefixed "pvl: ".  pvl_note() is dropped by --quiet, pvl_debug() needs -v. */
void pvl_error(const struct pvl *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pvl_note(const struct pvl *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pvl_debug(const struct pvl *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How far a long operation is: a line on stderr each time there is a percent more, overwritten on a terminal; nothing
 * with --quiet.  With --json-lines {"event":"progress",...} on stdout. */
void pvl_progress(struct pvl *p, const char *what, unsigned long done, unsigned long total);
/* With --json-lines: print one event as a line, {"event":name,"time":...,...fields}; takes fields, which may be NULL. */
void pvl_event(struct pvl *p, const char *name, struct json_object *fields);

/* Report err and return PVL_FAIL: on stderr, and with --json as {"ok":false,"error":...} on stdout. */
int pvl_fail(struct pvl *p, const struct pvb_error *err);
int pvl_failf(struct pvl *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Wrong usage: says why and how the command is called; PVL_USAGE. */
int pvl_usage(struct pvl *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Report that this host has no such operation; PVL_FAIL. */
int pvl_cannot(struct pvl *p);
/* Refuse keys of a configuration that nobody acts on, each by name; with --force go on.  0, or PVL_FAIL when reported. */
int pvl_check_keys(struct pvl *p, struct cfg *cfg, const struct host_ops *ops);
/* Success of a command that has no data: with --json {"ok":true, ...fields}; takes fields (or NULL). */
int pvl_done(struct pvl *p, struct json_object *fields);

/* The host's handle, opened at first use; NULL after reporting why not. */
struct host *pvl_host(struct pvl *p);
/* The one domain named by an argument: id or name, never dom0 unless zero_ok.  0, or PVL_FAIL when reported. */
int pvl_domain(struct pvl *p, const char *arg, bool zero_ok, unsigned *domid);

/* --- cmd-backend.c: pvbackd's control socket, that of --socket if the command has it, else $PVBACKD_SOCKET or the host's */
/* NULL when reported. */
const char *pvl_ctl(struct pvl *p, char *buf, size_t len);
/* Ask, and give request back.  0, or PVL_FAIL when reported. */
int pvl_ask(struct pvl *p, struct json_object *request, struct json_object **reply);
/* "domid", and with a device, a disk's name or vifNUMBER, "class" and "devid" for a request.  A bare domain id needs no
 * host: pvbackd outlives a broken toolstack.  0, or PVL_FAIL when reported. */
int pvl_device(struct pvl *p, const char *domain, const char *device, struct json_object *request);

/* A device of pvbackd's answer to "stats" as a row: queues added up.  *nic: which of the two kinds. */
struct json_object *stats_row(struct json_object *dev, bool *nic);
/* Print what may stand in place of the last argument, one a line, "<files>" for names of files. */
int pvl_complete(struct pvl *p);

/* The whole program; its exit status. */
int pvl_main(int argc, char **argv);

int cmd_create(struct pvl *p);
int cmd_list(struct pvl *p);
int cmd_vm_list(struct pvl *p);
int cmd_uptime(struct pvl *p);
int cmd_destroy(struct pvl *p);
int cmd_shutdown(struct pvl *p);
int cmd_reboot(struct pvl *p);
int cmd_pause(struct pvl *p);
int cmd_unpause(struct pvl *p);
int cmd_rename(struct pvl *p);
int cmd_sysrq(struct pvl *p);
int cmd_trigger(struct pvl *p);
int cmd_console(struct pvl *p);
int cmd_vcpu_list(struct pvl *p);
int cmd_vcpu_set(struct pvl *p);
int cmd_vcpu_pin(struct pvl *p);
int cmd_mem_set(struct pvl *p);
int cmd_mem_max(struct pvl *p);
int cmd_dmesg(struct pvl *p);
int cmd_debug_keys(struct pvl *p);
int cmd_dump_core(struct pvl *p);
int cmd_cd_insert(struct pvl *p);
int cmd_cd_eject(struct pvl *p);
int cmd_config_update(struct pvl *p);
int cmd_suspend(struct pvl *p);
int cmd_resume(struct pvl *p);
int cmd_save(struct pvl *p);
int cmd_restore(struct pvl *p);
int cmd_migrate(struct pvl *p);
int cmd_migrate_receive(struct pvl *p);
int cmd_monitor(struct pvl *p);
int cmd_domid(struct pvl *p);
int cmd_domname(struct pvl *p);
int cmd_info(struct pvl *p);
int cmd_block_attach(struct pvl *p);
int cmd_block_detach(struct pvl *p);
int cmd_block_list(struct pvl *p);
int cmd_network_attach(struct pvl *p);
int cmd_network_detach(struct pvl *p);
int cmd_network_list(struct pvl *p);
int cmd_pci_assignable_list(struct pvl *p);
int cmd_pci_assignable_add(struct pvl *p);
int cmd_pci_assignable_remove(struct pvl *p);
int cmd_pci_attach(struct pvl *p);
int cmd_pci_detach(struct pvl *p);
int cmd_pci_list(struct pvl *p);
int cmd_usbctrl_attach(struct pvl *p);
int cmd_usbctrl_detach(struct pvl *p);
int cmd_usbdev_attach(struct pvl *p);
int cmd_usbdev_detach(struct pvl *p);
int cmd_usb_list(struct pvl *p);
int cmd_stats(struct pvl *p);
int cmd_backend(struct pvl *p);
int cmd_bench(struct pvl *p);
int cmd_doctor(struct pvl *p);
int cmd_top(struct pvl *p);
int cmd_wait(struct pvl *p);
int cmd_device(struct pvl *p);
int cmd_help(struct pvl *p);

#endif
