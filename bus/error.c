/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error records: the one place where text that a peer may have chosen is made safe for a log line. */
#include <stdio.h>
#include <string.h>
#include "error.h"

/* Only printable ASCII leaves: an escape sequence or a newline in a store value must not reach a
 * terminal or start a log line of its own. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			*text = '?';
}

int pvb_err(struct pvb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	clean(err->text);
	err->code = code;
	return code;
}

int pvb_err_prefix(struct pvb_error *err, int code, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	size_t size = sizeof(old), at, len;
	va_list ap;

	if (!err)
		return code;
	memcpy(old, err->text, size);
	va_start(ap, fmt);
	vsnprintf(err->text, size, fmt, ap);
	va_end(ap);
	/* what does not fit is cut off the old text, never off the prefix: that names the thing */
	at = strlen(err->text);
	if (at + 2 < size) {
		memcpy(err->text + at, ": ", 2);
		at += 2;
		len = strnlen(old, size - 1 - at);
		memcpy(err->text + at, old, len);
		err->text[at + len] = '\0';
	}
	clean(err->text);
	if (err->code == 0)
		err->code = code;
	return err->code;
}
