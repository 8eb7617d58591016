/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Permissions of nodes.  An entry counts only for the very domain it was made for: it carries that domain's
 * generation, so a later domain of the same number inherits nothing, wherever a copy may still be. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store-int.h"

struct lst_perms *lst_perms_new(uint32_t nr)
{
	struct lst_perms *p = calloc(1, sizeof(*p) + nr * sizeof(p->p[0]));

	if (p) {
		p->refs = 1;
		p->nr = nr;
	}
	return p;
}

struct lst_perms *lst_perms_get(struct lst_perms *p)
{
	p->refs++;
	return p;
}

void lst_perms_put(struct lst_perms *p)
{
	if (p && --p->refs == 0)
		free(p);
}

size_t lst_perms_bytes(const struct lst_perms *p)
{
	return p->nr * sizeof(p->p[0]);
}

static bool is_for(const struct lst_perm *p, const struct lst_dom *dom)
{
	return p->domid == dom->domid && p->generation == dom->generation;
}

struct lst_dom *lst_perms_owner(const struct lst *st, const struct lst_perms *p)
{
	struct lst_dom *dom = lst_dom(st, p->p[0].domid);

	return dom && dom->domid != 0 && is_for(&p->p[0], dom) ? dom : NULL;
}

/* The domain this one acts for as well, as a device model does. */
static const struct lst_dom *target(const struct lst *st, const struct lst_dom *dom)
{
	const struct lst_dom *t = lst_dom(st, dom->target);

	return t && t->generation == dom->target_generation ? t : NULL;
}

unsigned lst_perms_for(const struct lst *st, const struct lst_dom *dom, const struct lst_perms *p)
{
	const struct lst_dom *other;
	uint32_t i;

	if (lst_privileged(dom))
		return LST_R | LST_W | LST_OWNER;
	other = target(st, dom);
	if (is_for(&p->p[0], dom) || (other && is_for(&p->p[0], other)))
		return LST_R | LST_W | LST_OWNER;
	for (i = 1; i < p->nr; i++)
		if (is_for(&p->p[i], dom) || (other && is_for(&p->p[i], other)))
			return p->p[i].mask;
	return p->p[0].mask;
}

static bool parse_one(const struct lst *st, const char *s, struct lst_perm *p)
{
	const struct lst_dom *dom;
	size_t len = strlen(s);

	if (len < 2 || len > 6 || strspn(s + 1, "0123456789") != len - 1)
		return false;
	switch (s[0]) {
	case 'n': p->mask = 0; break;
	case 'r': p->mask = LST_R; break;
	case 'w': p->mask = LST_W; break;
	case 'b': p->mask = LST_R | LST_W; break;
	default: return false;
	}
	p->domid = (uint32_t)strtoul(s + 1, NULL, 10);
	dom = lst_dom(st, p->domid);
	p->generation = dom ? dom->generation : 0;
	return true;
}

int lst_perms_parse(const struct lst *st, const char *text, uint32_t bytes, struct lst_perms **out)
{
	struct lst_perms *p;
	uint32_t i, off, nr = 0;

	for (off = 0; off < bytes; off++)
		nr += text[off] == '\0';
	if (nr == 0 || text[bytes - 1] != '\0')
		return EINVAL;
	p = lst_perms_new(nr);
	if (!p)
		return ENOMEM;
	for (i = off = 0; i < nr; off += (uint32_t)strlen(text + off) + 1, i++)
		if (!parse_one(st, text + off, &p->p[i])) {
			lst_perms_put(p);
			return EINVAL;
		}
	*out = p;
	return 0;
}

int lst_perms_print(const struct lst *st, const struct lst_perms *p, char *buf, uint32_t size)
{
	static const char letter[] = { 'n', 'r', 'w', 'b' };
	uint32_t i, domid, len = 0;
	int n;

	for (i = 0; i < p->nr; i++) {
		domid = p->p[i].domid;
		if (i == 0 && !lst_perms_owner(st, p))
			domid = 0; /* who owned it is no more, or never was */
		n = snprintf(buf + len, size - len, "%c%u", letter[p->p[i].mask & 3], domid);
		if (n < 0 || (uint32_t)n >= size - len)
			return -1;
		len += (uint32_t)n + 1;
	}
	return (int)len;
}
