#include "mgmt/hvsock_line.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/parse.h"

/* A port that means any, in the guest. */
#define PORT_ANY UINT32_MAX

static const char word[] = "connect";
static const char blanks[] = " \t\r\n";

int hvsock_line_parse(const char *line, size_t length, uint32_t *port)
{
	char text[HVSOCK_LINE_MAX + 1];
	char *next = text;
	const char *first;
	uint64_t value;

	if (length == 0 || length > HVSOCK_LINE_MAX || line[length - 1] != '\n' ||
	    memchr(line, '\0', length))
		return -EINVAL;
	memcpy(text, line, length);
	text[length] = '\0';
	next += strspn(next, blanks);
	if (strncasecmp(next, word, strlen(word)) != 0)
		return -EINVAL;
	next += strlen(word);
	if (strspn(next, blanks) == 0)
		return -EINVAL;
	first = next += strspn(next, blanks);
	next += strcspn(next, blanks);
	if (next[strspn(next, blanks)] != '\0')
		return -EINVAL;
	*next = '\0';
	if (parse_u64(first, 0, PORT_ANY - 1, &value))
		return -EINVAL;
	*port = (uint32_t)value;
	return 0;
}
