#include "mgmt/words.h"

#include <stddef.h>

char *words_next(char **rest)
{
	char *word = *rest;
	char *from = word, *to = word;

	if (!word)
		return NULL;
	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return word;
}
