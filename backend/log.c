/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>
#include "log.h"

static enum log_level most_shown = LOG_LEVEL_INFO;
static bool prefixed;

void log_init(enum log_level most)
{
	most_shown = most;
	prefixed = !isatty(STDERR_FILENO);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	if (level > most_shown)
		return;
	n = prefixed ? snprintf(text, sizeof(text), "<%d>", (int)level) : 0;
	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		return; /* nowhere to complain */
}
