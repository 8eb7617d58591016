/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_LOG_H
#define PVB_BACKEND_LOG_H
/* pvbackd's log: one line a message on standard error, with the priority systemd understands in front when
 * standard error is not a terminal.  Callers rate-limit what a guest can provoke. */
enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };
void log_init(enum log_level most);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_err(...)   log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#endif
