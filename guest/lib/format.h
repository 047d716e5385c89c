#pragma once
#include <stdarg.h>
#include <stddef.h>

/* A small vsnprintf; always ends with a NUL if size is not 0. Returns the length stored. */
size_t format(char *buf, size_t size, const char *fmt, va_list ap);
