#pragma once

#include <stdint.h>

/* Numbers as users write them, read whole or not at all. */

/* Decimal digits only, within [min, max]; -EINVAL for other text, -ERANGE outside. */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* A count of bytes: decimal digits and one of K, M, G, T (powers of 1024; k, m, g, t are the same)
 * or nothing; -ERANGE when it does not fit. */
int parse_size(const char *text, uint64_t *out);

/* The same with powers of 1000, as bits a second have them. */
int parse_rate(const char *text, uint64_t *out);
