// SPDX-License-Identifier: GPL-2.0-or-later
/* See spy.h. */
#include <stdlib.h>
#include <string.h>
#include "bus/hv.h"
#include "spy.h"

#define REFS (1u << 20) /* more than a grant table of 2000 frames has */

struct spy {
	uint8_t *seen[REFS];
};

struct spy *spy_new(void)
{
	struct spy *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	return s;
}

void spy_forget(struct spy *s)
{
	for (uint32_t i = 0; i < REFS; i++) {
		free(s->seen[i]);
		s->seen[i] = NULL;
	}
}

void spy_free(struct spy *s)
{
	if (s == NULL)
		return;
	spy_forget(s);
	free(s);
}

static uint8_t *seen(struct spy *s, uint32_t ref)
{
	if (ref >= REFS)
		abort();
	if (s->seen[ref] == NULL)
		s->seen[ref] = calloc(1, PVB_PAGE_SIZE);
	if (s->seen[ref] == NULL)
		abort();
	return s->seen[ref];
}

void spy_leave(struct spy *s, uint32_t ref, const uint8_t *page)
{
	memcpy(seen(s, ref), page, PVB_PAGE_SIZE);
}

bool spy_look(struct spy *s, uint32_t ref, const uint8_t *page, uint32_t offset, uint32_t len, uint32_t *at)
{
	const uint8_t *was = seen(s, ref);
	bool ok = true;

	for (uint32_t i = 0; i < PVB_PAGE_SIZE && ok; i++) {
		ok = page[i] == was[i] || (i >= offset && i - offset < len);
		*at = i;
	}
	spy_leave(s, ref, page);
	return ok;
}
