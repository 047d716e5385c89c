#pragma once

#include <jansson.h>
#include <stdio.h>

/* Prints nested JSON objects for people: a line a value, children indented, long bytes cut. */
void tree_print(const json_t *tree, FILE *stream);
