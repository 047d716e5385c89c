#pragma once

#include <stdint.h>

#include "base/error.h"

/*
 * How fast disks and NICs may be, as users write it: "none" or 0 for no limit.  what: for the
 * sentence, "--disk PATH" or the like.  -EINVAL with err.
 */

/* Less is a slip: a disk or NIC could not be used. */
#define LIMIT_BYTES_MIN 1024u
#define LIMIT_BITS_MIN	1000u
#define LIMIT_MAX	(1ull << 50)

/* Operations a second, of up to 8 KiB each. */
int limit_parse_iops(const char *what, const char *text, uint64_t *iops, struct error *err);
/* A disk's bytes a second: K, M, G are powers of 1024. */
int limit_parse_bytes(const char *what, const char *text, uint64_t *bytes, struct error *err);
/* A NIC's bits a second: K, M, G are powers of 1000. */
int limit_parse_bits(const char *what, const char *text, uint64_t *bits, struct error *err);
