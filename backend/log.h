/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_LOG_H
#define PVB_BACKEND_LOG_H
#include <stdint.h>
/* pvbackd's log: one line a message on standard error, with the priority systemd understands in front when
 * standard error is not a terminal. */
enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };
void log_init(enum log_level most);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* For what a domain can provoke, however often: each has LOG_BURST lines, and another one each LOG_EACH_MS; what goes
 * wrong (LOG_LEVEL_WARN and worse) has as many of its own.  What is over that is counted, and the count told in front of
 * the next line.  The process remembers LOG_DOMAINS of them; one that was quiet for the longest time makes room.  One
 * thread. */
#define LOG_BURST 1000u
#define LOG_EACH_MS 1000u
#define LOG_DOMAINS 64u
void log_of(uint32_t domid, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_err(...)   log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#endif
