// SPDX-License-Identifier: GPL-2.0-or-later
/* What may stand at the end of a command line, from the table of commands: the shells' completion asks for it
 * (help --complete).  The argument texts of the table say what goes where: DOMAIN a domain, DISK one of its disks,
 * a|b one of these words, and so on.
 */
#include "config.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "host.h"
#include "pci.h"
#include "usb.h"

#define FILES "<files>" /* the shell knows better than we what files there are */

static const struct opt *find_option(const struct cmd *cmd, const char *word)
{
	const struct opt *lists[] = { cmd ? cmd->opts : NULL, pvl_global_opts };

	for (unsigned l = 0; l < 2; l++)
		for (const struct opt *o = lists[l]; o && o->name; o++)
			if ((word[1] == '-' && strcmp(o->name, word + 2) == 0) ||
			    (word[1] != '-' && o->letter && o->letter == word[1] && !word[2]))
				return o;
	return NULL;
}

static void options(const struct cmd *cmd)
{
	const struct opt *lists[] = { cmd ? cmd->opts : NULL, pvl_global_opts };

	for (unsigned l = 0; l < 2; l++)
		for (const struct opt *o = lists[l]; o && o->name; o++)
			printf("--%s\n", o->name);
}

static void domains(struct pvl *p)
{
	struct dom_info *list;
	unsigned nr;

	if (!pvl_host(p) || p->ops->list(p->host, &list, &nr, NULL))
		return;
	for (unsigned i = 0; i < nr; i++)
		if (*list[i].name)
			puts(list[i].name);
	dom_list_free(list, nr);
}

static void devices(struct pvl *p, const char *domain, bool want_disks, const char *nic_prefix)
{
	struct block_info *disks;
	struct nic_info *nics;
	unsigned domid, nr;

	if (!domain || pvl_domain(p, domain, true, &domid))
		return;
	if (want_disks && p->ops->block_list(p->host, domid, &disks, &nr, NULL) == 0) {
		for (unsigned i = 0; i < nr; i++)
			puts(disks[i].vdev);
		block_list_free(disks, nr);
	}
	if (nic_prefix && p->ops->nic_list(p->host, domid, &nics, &nr, NULL) == 0) {
		for (unsigned i = 0; i < nr; i++) {
			printf("%s%u\n", nic_prefix, nics[i].devid);
			if (!*nic_prefix)
				puts(nics[i].mac);
		}
		nic_list_free(nics, nr);
	}
}

static void pci_devices(struct pvl *p)
{
	struct pci_host pci;
	bool iommu;

	if (!pvl_host(p) || !p->ops->pci || p->ops->pci->scan(p->host, &pci, &iommu, NULL))
		return;
	for (unsigned i = 0; i < pci.nr; i++)
		if (!pci.dev[i].bridge)
			puts(pci.dev[i].name);
	pci_free(&pci);
}

static void usb_devices(void)
{
	struct usb_host usb;

	if (usb_scan(&usb, getenv("PVL_SYSROOT"), NULL))
		return;
	for (unsigned i = 0; i < usb.nr; i++)
		if (!usb.dev[i].hub)
			puts(usb.dev[i].name);
	usb_free(&usb);
}

/* One alternative of an argument text: a kind in capitals, or a word as it is to be typed. */
static void alternative(struct pvl *p, const char *kind, const char *domain)
{
	static const char *const files[] = { "FILE", "CONFIG", "PROGRAM", "TARGET", "PATH" };

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (strcmp(kind, files[i]) == 0) {
			puts(FILES);
			return;
		}
	if (strcmp(kind, "DOMAIN") == 0 || strcmp(kind, "NAME") == 0)
		domains(p);
	else if (strcmp(kind, "DISK") == 0 || strcmp(kind, "DRIVE") == 0)
		devices(p, domain, true, NULL);
	else if (strcmp(kind, "DEVICE") == 0)
		devices(p, domain, true, "vif");
	else if (strcmp(kind, "MAC") == 0) /* stands beside NUMBER */
		devices(p, domain, false, "");
	else if (strcmp(kind, "BDF") == 0 || strcmp(kind, "PCISPEC") == 0)
		pci_devices(p);
	else if (strcmp(kind, "USBSPEC") == 0)
		usb_devices();
	else if (strcmp(kind, "COMMAND") == 0)
		for (const struct cmd *c = pvl_commands; c->name; c++)
			puts(c->name);
	else if (islower((unsigned char)*kind) || *kind == '-')
		puts(kind);
}

/* "a|b|C": each of them, brackets and "..." left out. */
static void alternatives(struct pvl *p, const char *text, size_t len, const char *domain)
{
	char word[64];
	size_t n = 0;

	for (size_t i = 0; i <= len; i++) {
		char c = i < len ? text[i] : '|';

		if (c == '|') {
			word[n] = '\0';
			if (n)
				alternative(p, word, domain);
			n = 0;
		} else if (!strchr("[].", c) && n < sizeof(word) - 1) {
			word[n++] = c;
		}
	}
}

/* The nr-th (0...) of the texts between blanks; the last one for all that follow it if it ends with "...". */
static const char *nth(const char *args, unsigned nr, size_t *len)
{
	for (;;) {
		*len = strcspn(args, " ");
		if (nr == 0)
			return args;
		if (!args[*len])
			return *len > 3 && strncmp(args + *len - 3, "...", 3) == 0 ? args : NULL;
		args += *len + 1;
		nr--;
	}
}

/* Arguments that begin with a word to be typed are a list of forms, "info|upgrade [PROGRAM]|...": the one that
 * begins with word, or NULL. */
static const char *form_of(const char *args, const char *word, size_t *len)
{
	for (;;) {
		*len = strcspn(args, "|");
		if (strncmp(args, word, strlen(word)) == 0 && strchr(" |", args[strlen(word)]))
			return args;
		if (!args[*len])
			return NULL;
		args += *len + 1;
	}
}

static void argument(struct pvl *p, const struct cmd *cmd, char *const *given, unsigned nr)
{
	const char *args = cmd->args, *domain = NULL, *text;
	char form[128];
	size_t len;

	if (islower((unsigned char)*args) && nr == 0) {
		for (; *args; args += len + !!args[len]) {
			len = strcspn(args, "|");
			printf("%.*s\n", (int)strcspn(args, " |"), args);
		}
		return;
	}
	if (islower((unsigned char)*args)) {
		text = form_of(args, given[0], &len);
		if (!text)
			return;
		snprintf(form, sizeof(form), "%.*s", (int)len, text);
		args = form;
	}
	for (unsigned i = 0; i < nr; i++) {
		text = nth(args, i, &len);
		if (text && (strncmp(text, "DOMAIN", 6) == 0 || strncmp(text, "[DOMAIN", 7) == 0))
			domain = given[i];
	}
	text = nth(args, nr, &len);
	if (text)
		alternatives(p, text, len, domain);
}

int pvl_complete(struct pvl *p)
{
	const struct cmd *cmd = NULL;
	const struct opt *pending = NULL;
	char *given[64];
	unsigned nr = 0;
	const char *last = p->argc ? p->argv[p->argc - 1] : "";

	for (int i = 0; i < p->argc - 1; i++) {
		char *word = p->argv[i];

		if (pending) {
			if (strcmp(pending->name, "host") == 0)
				p->host_spec = word;
			pending = NULL;
		} else if (word[0] == '-' && word[1]) {
			pending = find_option(cmd, word);
			if (pending && !pending->arg)
				pending = NULL;
		} else if (!cmd) {
			for (cmd = pvl_commands; cmd->name && strcmp(cmd->name, word) != 0; cmd++)
				;
			if (!cmd->name)
				return PVL_OK;
		} else if (nr < 64) {
			given[nr++] = word;
		}
	}
	if (pending && strcmp(pending->name, "host") == 0)
		puts("xen\nlocal");
	else if (pending && strcmp(pending->arg, "COMMAND") != 0) /* a shell's, not one of ours */
		alternative(p, pending->arg, NULL);
	else if (pending)
		;
	else if (*last == '-')
		options(cmd);
	else if (!cmd)
		alternative(p, "COMMAND", NULL);
	else
		argument(p, cmd, given, nr);
	return fflush(stdout) ? PVL_FAIL : PVL_OK;
}
