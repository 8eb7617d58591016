// SPDX-License-Identifier: GPL-2.0-or-later
/* The text of --nic: which NIC, and how it is to be used. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pvguest.h"

static int wrong(const char *text, const char *want)
{
	fprintf(stderr, "pvguest: --nic: \"%s\", must be %s\n", text, want);
	return -EINVAL;
}

static int copy_text(char *to, size_t size, const char *word, const char *value)
{
	if (value[0] == '\0' || strlen(value) >= size)
		return wrong(word, "a name that is not empty nor too long");
	strcpy(to, value);
	return 0;
}

static int flag(bool *out, bool when_off, const char *word, const char *value)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return wrong(word, "on or off");
	*out = (strcmp(value, "off") == 0) == when_off;
	return 0;
}

static int one_word(struct nic_choice *c, const char *word)
{
	const char *value = strchr(word, '=');
	size_t len = value != NULL ? (size_t)(value - word) : 0;
	uint64_t n;

	if (len == 0)
		return wrong(word, "WORD=VALUE");
	value++;
#define IS(name) (len == sizeof(name) - 1 && strncmp(word, name, len) == 0)
	if (IS("ifname"))
		return copy_text(c->ifname, sizeof(c->ifname), word, value);
	if (IS("netns"))
		return copy_text(c->netns, sizeof(c->netns), word, value);
	if (IS("tap"))
		return flag(&c->no_tap, true, word, value);
	if (IS("gso"))
		return flag(&c->nic.no_gso, true, word, value);
	if (IS("csum"))
		return flag(&c->nic.no_csum, true, word, value);
	if (IS("sg"))
		return flag(&c->nic.no_sg, true, word, value);
	if (IS("staging"))
		return flag(&c->nic.staging, false, word, value);
	if (IS("queues")) {
		if (pvb_parse_u64(value, 1, PVF_NIC_MAX_QUEUES, &n) < 0)
			return wrong(word, "queues=1 to 8");
		c->nic.queues = (unsigned)n;
		return 0;
	}
#undef IS
	return wrong(word, "ifname, netns, tap, queues, gso, csum, sg or staging and its value");
}

static int whole(struct nic_choice *c, char *text)
{
	char *save = NULL, *word = strtok_r(text, ",", &save);
	uint64_t devid;
	int rc = 0;

	if (word == NULL)
		return wrong("", "DEVID, all or none");
	c->all = strcmp(word, "all") == 0;
	if (!c->all) {
		if (pvb_parse_u64(word, 0, INT32_MAX, &devid) < 0)
			return wrong(word, "DEVID, all or none");
		c->devid = (uint32_t)devid;
	}
	while (rc == 0 && (word = strtok_r(NULL, ",", &save)) != NULL)
		rc = one_word(c, word);
	if (rc == 0 && c->all && c->ifname[0] != '\0')
		return wrong("all,ifname=...", "a DEVID: names differ");
	return rc;
}

int nic_choice_parse(struct nic_choice *choice, const char *text)
{
	char *copy = strdup(text);
	int rc = copy != NULL ? whole(choice, copy) : -ENOMEM;

	free(copy);
	return rc;
}
