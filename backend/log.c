/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include "bus/loop.h"
#include "log.h"

static enum log_level most_shown = LOG_LEVEL_INFO;
static bool prefixed;

void log_init(enum log_level most)
{
	most_shown = most;
	prefixed = !isatty(STDERR_FILENO);
}

static void put(enum log_level level, const char *fmt, va_list ap)
{
	char text[1024];
	int n;

	n = prefixed ? snprintf(text, sizeof(text), "<%d>", (int)level) : 0;
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, ap);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		return; /* nowhere to complain */
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > most_shown)
		return;
	va_start(ap, fmt);
	put(level, fmt, ap);
	va_end(ap);
}

/* A domain's lines. */
struct budget {
	uint32_t domid;
	unsigned left, lost;
	uint64_t filled; /* ms, when `left` was last brought up to date; 0: nobody's */
};

static struct budget *budget_of(uint32_t domid, enum log_level level, uint64_t now)
{
	static struct budget tables[2][LOG_DOMAINS];
	struct budget *table = tables[level <= LOG_LEVEL_WARN], *b = &table[0];
	uint64_t more;

	for (unsigned i = 0; i < LOG_DOMAINS; i++) {
		if (table[i].filled && table[i].domid == domid) {
			b = &table[i];
			break;
		}
		if (table[i].filled < b->filled)
			b = &table[i];
	}
	if (!b->filled || b->domid != domid)
		*b = (struct budget){ .domid = domid, .left = LOG_BURST, .filled = now };
	more = (now - b->filled) / LOG_EACH_MS;
	b->filled += more * LOG_EACH_MS;
	b->left = more < LOG_BURST - b->left ? b->left + (unsigned)more : LOG_BURST;
	return b;
}

void log_of(uint32_t domid, enum log_level level, const char *fmt, ...)
{
	struct budget *b;
	va_list ap;

	if (level > most_shown)
		return;
	b = budget_of(domid, level, pvb_now_ms());
	if (b->left == 0) {
		b->lost++;
		return;
	}
	b->left--;
	if (b->lost)
		log_line(level, "domain %u: %u lines left out, it causes too many", domid, b->lost);
	b->lost = 0;
	va_start(ap, fmt);
	put(level, fmt, ap);
	va_end(ap);
}
