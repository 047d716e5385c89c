#pragma once

#include <stddef.h>

#include <jansson.h>

/* Text that others wrote: a user's path may be any bytes, and a cut may fall anywhere. */

/* The bytes of the UTF-8 character (RFC 3629) that the NUL-terminated text begins with, 0 if it
 * begins with none. */
size_t text_character(const char *text);

/* Takes off the end of a text that was cut what a cut left of a character. */
void text_trim(char *text);

/* The text as a JSON string, each byte that is no UTF-8 replaced by '?', so that no message is lost
 * by what it quotes.  NULL: no memory. */
json_t *text_json(const char *text);
