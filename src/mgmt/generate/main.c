#include <stdio.h>
#include <string.h>

#include "mgmt/generate/generate.h"

/* Prints completion for a shell, or the source of the manual page. */
int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	int r = 0;

	if (!strcmp(what, "bash"))
		generate_bash(stdout);
	else if (!strcmp(what, "zsh"))
		generate_zsh(stdout);
	else if (!strcmp(what, "fish"))
		generate_fish(stdout);
	else if (!strcmp(what, "manual"))
		r = generate_manual(stdout);
	else
		r = -1;
	if (r || fflush(stdout)) {
		fprintf(stderr, "usage: bulkhead-generate bash|zsh|fish|manual\n");
		return 1;
	}
	return 0;
}
