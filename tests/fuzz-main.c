// SPDX-License-Identifier: GPL-2.0-or-later
/* main() of a fuzz-*.c that is built without libFuzzer: it runs the inputs it is given (files or directories); else, as
 * "make check" does, those of the corpus and then some at random. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fuzz-main.h"

static unsigned long ran;

static void run_file(const char *path)
{
	static uint8_t buf[1 << 20];
	FILE *f = fopen(path, "rb");

	if (!f) {
		fprintf(stderr, "fuzz-%s: %s: %s\n", fuzz.name, path, strerror(errno));
		exit(1);
	}
	LLVMFuzzerTestOneInput(buf, fread(buf, 1, sizeof(buf), f));
	fclose(f);
	ran++;
}

static void run_path(const char *path)
{
	char sub[4096];
	struct dirent *de;
	DIR *d = opendir(path);

	if (!d) {
		run_file(path);
		return;
	}
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, de->d_name);
		run_file(sub);
	}
	closedir(d);
}

/* Not as good as a fuzzer, but something new in every run, and without clang. */
static void run_random(void)
{
	uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : (uint64_t)getpid() * 2654435761u ^ fuzz.seed;

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned n = 0; n < fuzz.nr_random; n++, ran++) {
		size_t len = fuzz.least + (fuzz.most > fuzz.least ? seed % (fuzz.most - fuzz.least) : 0);
		uint8_t *buf = malloc(len); /* of this length, so that a sanitizer sees who reads on */

		if (!buf)
			abort();
		for (size_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			buf[i] = fuzz.byte((uint8_t)(seed >> 40), (unsigned)(seed >> 60), i);
		}
		LLVMFuzzerTestOneInput(buf, len);
		free(buf);
	}
}

int main(int argc, char **argv)
{
	const char *src = getenv("abs_top_srcdir");
	char corpus[4096];

	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc == 1) {
		snprintf(corpus, sizeof(corpus), "%s/tests/corpus/%s", src ? src : "..", fuzz.name);
		run_path(corpus);
		run_random();
	}
	printf("%lu inputs\n", ran);
	return 0;
}
