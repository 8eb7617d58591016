/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many lines a domain can put into the log. */
#include <stdio.h>
#include <unistd.h>
#include "tests/unit.h"
#include "bus/loop.h"
#include "backend/log.h"

static int said; /* what stands for standard error */

/* What was logged since the last call: lines, and the last one. */
static unsigned lines(char last[200])
{
	static char text[1 << 20];
	ssize_t n = pread(said, text, sizeof(text) - 1, 0);
	unsigned nr = 0;

	assert_true(n >= 0);
	text[n] = 0;
	last[0] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), nr++)
		snprintf(last, 200, "%s", line);
	assert_int_equal(ftruncate(said, 0), 0);
	assert_int_equal(lseek(said, 0, SEEK_SET), 0);
	return nr;
}

static void bounded(void **state)
{
	char last[200], want[100];
	unsigned more = 0;

	(void)state;
	for (unsigned i = 0; i < 3 * LOG_BURST; i++)
		log_of(1, LOG_LEVEL_INFO, "line %u", i);
	more = lines(last);
	assert_in_range(more, LOG_BURST, 2 * LOG_BURST); /* it refills meanwhile */
	/* that does not hide what goes wrong */
	log_of(1, LOG_LEVEL_ERR, "wrong");
	assert_int_equal(lines(last), 1);
	/* nobody else pays for that */
	for (uint32_t domid = 2; domid < LOG_DOMAINS; domid++) {
		log_of(domid, LOG_LEVEL_INFO, "of %u", domid);
		assert_int_equal(lines(last), 1);
		snprintf(want, sizeof(want), "of %u", domid);
		assert_non_null(strstr(last, want));
	}
	/* and later it is heard again, with what was left out */
	for (unsigned i = 0; i < 3 * LOG_BURST; i++)
		log_of(1, LOG_LEVEL_INFO, "line %u", i);
	lines(last);
	for (more = 0; !more; more = lines(last))
		log_of(1, LOG_LEVEL_INFO, "again");
	assert_int_equal(more, 2);
	assert_non_null(strstr(last, "again"));
}

static void not_shown_not_counted(void **state)
{
	char last[200];

	(void)state;
	for (unsigned i = 0; i < 3 * LOG_BURST; i++)
		log_of(1000, LOG_LEVEL_DEBUG, "line %u", i);
	assert_int_equal(lines(last), 0);
	log_of(1000, LOG_LEVEL_INFO, "heard");
	assert_int_equal(lines(last), 1);
}

/* More domains than are remembered: the quietest makes room. */
static void many_domains(void **state)
{
	char last[200];

	(void)state;
	for (uint32_t domid = 2000; domid < 2000 + 3 * LOG_DOMAINS; domid++)
		log_of(domid, LOG_LEVEL_INFO, "of %u", domid);
	assert_int_equal(lines(last), 3 * LOG_DOMAINS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounded),
		cmocka_unit_test(not_shown_not_counted),
		cmocka_unit_test(many_domains),
	};
	char name[] = "/tmp/pvbus-log.XXXXXX";
	int was = dup(STDERR_FILENO), rc;

	said = mkstemp(name);
	if (said < 0 || was < 0 || dup2(said, STDERR_FILENO) < 0)
		return 99;
	unlink(name);
	log_init(LOG_LEVEL_INFO);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	dup2(was, STDERR_FILENO);
	return rc;
}
