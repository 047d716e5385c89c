#pragma once

#include <stddef.h>

#include <jansson.h>

/* Tables for people: as wide as what is in them, or, on a terminal, no wider than that. */

/* Columns of standard output if it is a terminal, else 0: nothing is cut in a pipe or file. */
size_t columns_terminal(void);

/*
 * Prints rows, an array of arrays of strings, below their titles.  What a guest or a user wrote
 * cannot move the cursor: control characters become '?'.  On a terminal that is too narrow the
 * widest columns give way, and what still does not fit is cut.
 */
void columns_print(const char *const *titles, size_t count, const json_t *rows);

/* Prints a text with its control characters as '?', cut to so many columns (0: not at all), and
 * returns how many it takes. */
size_t columns_text(const char *text, size_t limit);
