/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers in text that a peer may have written (declared in store.h). */
#include <errno.h>
#include "store.h"

int pvb_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;
	bool over = false;
	const char *p;

	if (*text == '\0')
		return -EINVAL;
	for (p = text; *p; p++) {
		unsigned digit = (unsigned char)*p - '0';

		if (digit > 9)
			return -EINVAL;
		over |= v > (UINT64_MAX - digit) / 10;
		v = v * 10 + digit;
	}
	if (over || v < min || v > max)
		return -ERANGE;
	*value = v;
	return 0;
}
