#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

/* Runs a fuzz target once on every file of a directory, where there is no libFuzzer. */

#define INPUT_MAX (1u << 20)

static int replay(const char *directory, const char *name, uint8_t *buffer)
{
	char path[4096];
	size_t size;
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return -1;
	file = fopen(path, "rb");
	if (!file)
		return -1;
	size = fread(buffer, 1, INPUT_MAX, file);
	fclose(file);
	LLVMFuzzerTestOneInput(buffer, size);
	return 0;
}

int main(int argc, char **argv)
{
	DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
	uint8_t *buffer = malloc(INPUT_MAX);
	unsigned int replayed = 0;
	struct dirent *entry;

	if (!directory || !buffer) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (replay(argv[1], entry->d_name, buffer) < 0) {
			perror(entry->d_name);
			return 1;
		}
		replayed++;
	}
	closedir(directory);
	free(buffer);
	printf("%u inputs\n", replayed);
	return replayed ? 0 : 1;
}
