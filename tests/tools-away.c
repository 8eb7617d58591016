// SPDX-License-Identifier: GPL-2.0-or-later
/* save and migrate with --detach-first on a made-up host: what is done in which order, and what is undone. */
#include "config.h"
#include "unit.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>
#include "away.h"
#include "host.h"

static char did[400];        /* one word for each call */
static const char *fails;    /* the word that fails */
static bool lost, is_away;   /* a migration that fails leaves nobody who knows where the domain is; it has */
static int raise_at;         /* with the so manieth device detached comes a SIGTERM */

static int say(const char *word, struct pvb_error *err)
{
	size_t n = strlen(did);

	snprintf(did + n, sizeof(did) - n, "%s%s", n ? " " : "", word);
	return fails && strcmp(fails, word) == 0 ? pvb_err(err, -EIO, "%s fails", word) : 0;
}

static int list_domains(struct host *h, struct dom_info **out, unsigned *nr, struct pvb_error *err)
{
	*out = calloc(1, sizeof(**out));
	assert_non_null(*out);
	(*out)->domid = 7;
	(*out)->name = strdup(is_away ? "g" DOM_AWAY : "g");
	*nr = 1;
	return 0;
}

static struct pvl *the_pvl;

static int save(struct host *h, uint32_t domid, const struct save_opts *o, struct pvb_error *err)
{
	assert_int_equal(domid, 7);
	return say(the_pvl->dry_run ? "save?" : "save", err);
}

static int migrate(struct host *h, uint32_t domid, const struct migrate_opts *o, struct pvb_error *err)
{
	is_away = lost && !the_pvl->dry_run;
	return say(the_pvl->dry_run ? "migrate?" : "migrate", err);
}

static int list(struct host *h, uint32_t domid, struct pci_guest_dev **out, unsigned *nr, struct pvb_error *err)
{
	static const struct pci_guest_dev devs[] = {
		{ .name = "0000:00:10.0" },
		{ .name = "0000:00:11.0", .vslot = 5 << 3, .opts = ",permissive=1" },
		{ .name = "0000:00:12.1", .vslot = 0x1f << 3 },
	};

	*out = malloc(sizeof(devs));
	assert_non_null(*out);
	memcpy(*out, devs, sizeof(devs));
	*nr = 3;
	return 0;
}

static int detach(struct host *h, uint32_t domid, const char *spec, bool force, bool dry_run, int timeout_ms, struct pvb_error *err)
{
	static int nr;
	char word[80];

	assert_false(force);
	snprintf(word, sizeof(word), "-%s%s", spec, dry_run ? "?" : "");
	nr = *did && strchr(did, '-') ? nr + 1 : 1;
	if (raise_at == nr)
		raise(SIGTERM);
	return say(word, err);
}

static int attach(struct host *h, uint32_t domid, const char *spec, const struct pci_attach_opts *o, struct json_object **out,
		  struct pvb_error *err)
{
	char word[80];

	assert_true(o->no_reset && !o->dry_run);
	snprintf(word, sizeof(word), "+%s", spec);
	*out = json_object_new_object();
	return say(word, err);
}

static const struct pci_ops pci = { .list = list, .detach = detach, .attach = attach };
static const struct host_ops host = { .name = "made-up", .list = list_domains, .save = save, .migrate = migrate, .pci = &pci };

/* One command line, by name and options; its status. */
static int run(const char *name, const char *opts, const char *failing, bool dry_run)
{
	char *argv[] = { "g", "to", NULL };
	struct pvl p = { .argc = 2, .argv = argv, .ops = &host, .host = (struct host *)argv, .verbose = -1, .timeout_ms = -1, .dry_run = dry_run };

	for (p.cmd = pvl_commands; strcmp(p.cmd->name, name); p.cmd++)
		;
	for (unsigned i = 0; p.cmd->opts[i].name; i++)
		p.val[i].count = strstr(opts, p.cmd->opts[i].name) != NULL;
	the_pvl = &p;
	did[0] = '\0';
	fails = failing;
	is_away = false;
	return p.cmd->fn(&p);
}

#define DETACHED "-0000:00:10.0 -0000:00:11.0 -0000:00:12.1"
#define ATTACHED "+0000:00:10.0 +0000:00:11.0@5,permissive=1 +0000:00:12.1@1f"

static void orders(void **state)
{
	static const struct {
		const char *cmd, *opts, *fails;
		bool dry_run;
		int status;
		const char *want;
	} rows[] = {
		{ "save", "", NULL, false, PVL_OK, "save" },
		{ "save", "detach-first", NULL, false, PVL_OK, "save? " DETACHED " save" },
		{ "save", "detach-first checkpoint", NULL, false, PVL_OK, "save? " DETACHED " save " ATTACHED },
		{ "save", "detach-first pause", NULL, false, PVL_OK, "save? " DETACHED " save" },
		{ "save", "detach-first", NULL, true, PVL_OK, "save? -0000:00:10.0? -0000:00:11.0? -0000:00:12.1?" },
		/* nothing is touched when it would fail anyway */
		{ "save", "detach-first", "save?", false, PVL_FAIL, "save?" },
		/* all or none */
		{ "save", "detach-first", "-0000:00:10.0", false, PVL_FAIL, "save? -0000:00:10.0" },
		{ "save", "detach-first", "-0000:00:12.1", false, PVL_FAIL, "save? " DETACHED " +0000:00:10.0 +0000:00:11.0@5,permissive=1" },
		/* one that does not come back keeps no other from it */
		{ "save", "detach-first", "save", false, PVL_FAIL, "save? " DETACHED " save " ATTACHED },
		{ "save", "detach-first checkpoint", "+0000:00:10.0", false, PVL_FAIL, "save? " DETACHED " save " ATTACHED },
		{ "migrate", "", NULL, false, PVL_OK, "migrate" },
		{ "migrate", "detach-first", NULL, false, PVL_OK, "migrate? " DETACHED " migrate" },
		{ "migrate", "detach-first", "migrate", false, PVL_FAIL, "migrate? " DETACHED " migrate " ATTACHED },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = run(rows[i].cmd, rows[i].opts, rows[i].fails, rows[i].dry_run);

		if (status != rows[i].status || strcmp(did, rows[i].want))
			fail_msg("%s %s, %s fails: status %d, \"%s\", wanted \"%s\"", rows[i].cmd, rows[i].opts,
				 rows[i].fails ? rows[i].fails : "nothing", status, did, rows[i].want);
	}
}

static void caught(int sig)
{
	say("signal", NULL);
}

/* What may run elsewhere by now is given nothing. */
static void away(void **state)
{
	lost = true;
	assert_int_equal(run("migrate", "detach-first", "migrate", false), PVL_FAIL);
	lost = false;
	assert_string_equal(did, "migrate? " DETACHED " migrate");
}

/* A signal between two devices: what is detached is attached again, and then it is delivered. */
static void signals(void **state)
{
	signal(SIGTERM, caught);
	raise_at = 2;
	assert_int_equal(run("save", "detach-first", NULL, false), PVL_FAIL);
	raise_at = 0;
	signal(SIGTERM, SIG_DFL);
	assert_string_equal(did, "save? -0000:00:10.0 -0000:00:11.0 +0000:00:10.0 +0000:00:11.0@5,permissive=1 signal");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(orders), cmocka_unit_test(away), cmocka_unit_test(signals) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
