// SPDX-License-Identifier: GPL-2.0-or-later
/* What others can: each program in the directory of peers measures one, by the contract in pvbus-bench(7). */
#include "config.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bench.h"
#include "output.h"

#define MAX_SAMPLES 64
#define PEER_MS 5000         /* to end, after its last word */

/* "row <tab> CELL <tab> SUBJECT <tab> UNIT <tab> more|less <tab> MODE <tab> SAMPLE..." */
static void take_row(struct bench *b, const char *name, char *line)
{
	char *field[6], *end;
	double v[MAX_SAMPLES];
	unsigned nr = 0;

	for (unsigned i = 0; i < 6; i++)
		field[i] = strsep(&line, "\t");
	for (; field[5] && nr < MAX_SAMPLES; nr++) {
		v[nr] = strtod(field[5], &end);
		if (end == field[5] || !(v[nr] >= 0))
			break;
		field[5] = end;
	}
	if (nr == 0 || (strcmp(field[3], "more") != 0 && strcmp(field[3], "less") != 0)) {
		bench_missing(b, name, "a row of it can not be read");
		return;
	}
	if (bench_wanted(b, field[0], field[1], field[4]))
		bench_add(b, benchfile_row(field[0], field[1], "peer", field[2], field[3], field[4],
					   strstr(field[4], "1 CPU") ? b->pinning[0] : b->pinning[1], bench_array(v, nr)), NULL, 0);
}

static void take_line(struct bench *b, const char *name, char *line)
{
	char *word = strsep(&line, "\t"), *key;

	if (strcmp(word, "row") == 0 && line) {
		take_row(b, name, line);
	} else if (strcmp(word, "version") == 0 && line) {
		key = strsep(&line, "\t");
		out_str(b->versions, key, line ? line : "");
	} else if (line) {
		bench_missing(b, name, "%s: %s", word, line);
	}
}

static void run_peer(struct bench *b, const char *name, const char *path)
{
	char dir[128], log[160], line[4096], words[160];
	const char *const args[] = { "timeout", "300", "/bin/sh", "-c", "cd \"$0\" && exec \"$1\"", dir, path, NULL };
	struct pvb_error err = { 0 };
	struct proc p;
	int rc;

	snprintf(dir, sizeof(dir), "%s/peer-%.20s", b->dir, name);
	snprintf(log, sizeof(log), "%s.log", dir);
	mkdir(dir, 0700);
	if (proc_start(&p, args, -1, false, log, 1, &err) < 0) {
		bench_missing(b, name, "%s", err.text);
		return;
	}
	while (!proc_stopped() && fgets(line, sizeof(line), p.out)) {
		line[strcspn(line, "\n")] = '\0';
		take_line(b, name, line);
	}
	if (proc_stopped())
		proc_end(&p); /* it gives back what it has taken from the machine */
	rc = proc_wait(&p, PEER_MS);
	if (rc != 0 && !proc_stopped()) {
		proc_last_words(log, words, sizeof(words));
		bench_missing(b, name, "status %d: %s", rc, words);
	}
}

static int is_peer(const struct dirent *d)
{
	return d->d_name[0] != '.' && !strchr(d->d_name, '~');
}

/* Rows of a peer are known only when it has run: by its name, not theirs, --only says whether it does. */
void bench_peers(struct bench *b)
{
	const char *dir = getenv("PVBENCH_PEERS");
	char path[400], number[16];
	struct dirent **list;
	int nr;

	if (b->realtime) {
		/* two that poll at that priority leave nothing to the kernel and to what they need to start */
		if (!b->list)
			bench_missing(b, "peers", "not with --realtime, which would be for ours alone");
		return;
	}
	dir = dir ? dir : BENCH_PEER_DIR;
	nr = scandir(dir, &list, is_peer, alphasort);
	if (nr < 0) {
		bench_missing(b, "peers", "%s: %s", dir, strerror(errno));
		return;
	}
	snprintf(number, sizeof(number), "%d", b->cpu[0]);
	setenv("PVBENCH_CPU_BACK", number, 1);
	snprintf(number, sizeof(number), "%d", b->cpu[1]);
	setenv("PVBENCH_CPU_FRONT", number, 1);
	setenv("PVBENCH_QUICK", b->quick ? "1" : "0", 1);
	setenv("PVBENCH_FILE", b->file, 1);
	for (int i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		if (bench_wanted(b, "peer", list[i]->d_name, BENCH_ANY_MODE) && access(path, X_OK) == 0)
			run_peer(b, list[i]->d_name, path);
		free(list[i]);
	}
	free(list);
}
