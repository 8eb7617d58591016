// SPDX-License-Identifier: GPL-2.0-or-later
/* console and monitor: commands that stay with one domain. */
#include "config.h"
#include <limits.h>
#include <sys/prctl.h>
#include "cmd.h"
#include "host.h"
#include "output.h"

int cmd_console(struct pvl *p)
{
	struct pvb_error err = { .text = "this host has no consoles" };
	const char *num = pvl_opt_arg(p, "num");
	uint64_t n = 0;
	unsigned domid;

	if (num && pvb_parse_u64(num, 0, 255, &n))
		return pvl_usage(p, "--num \"%s\" is not a console number", num);
	if (pvl_domain(p, p->argv[0], true, &domid))
		return PVL_FAIL;
	if (p->dry_run) {
		pvl_note(p, "would connect to the console of domain %u", domid);
		return pvl_done(p, NULL);
	}
	if (p->ops->console)
		p->ops->console(p->host, domid, pvl_opt_arg(p, "type"), num ? (int)n : -1, &err);
	return pvl_fail(p, &err); /* it returns on failure only */
}

int cmd_monitor(struct pvl *p)
{
	struct pvb_error err = { .text = "this host needs no monitor" };
	const char *fd = pvl_opt_arg(p, "ready-fd");
	uint64_t n = 0;
	unsigned domid;

	if (fd && pvb_parse_u64(fd, 0, INT_MAX, &n))
		return pvl_usage(p, "--ready-fd \"%s\" is not a descriptor", fd);
	if (pvl_domain(p, p->argv[0], false, &domid))
		return PVL_FAIL;
	prctl(PR_SET_NAME, "pvl-monitor"); /* started as /proc/self/exe it would show as "exe" */
	if (p->dry_run)
		pvl_note(p, "would watch domain %u", domid);
	else if (!p->ops->monitor || p->ops->monitor(p->host, domid, fd ? (int)n : -1, &err))
		return pvl_fail(p, &err);
	return pvl_done(p, NULL);
}
