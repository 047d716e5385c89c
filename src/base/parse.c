#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"

/* Reads the digits at the start of text; *rest is what follows. */
static int parse_digits(const char *text, uint64_t *out, const char **rest)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (!checked_mul(value, 10, &value) ||
		    !checked_add(value, (uint64_t)(*text - '0'), &value))
			return -ERANGE;
	}
	*out = value;
	*rest = text;
	return 0;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *rest;
	uint64_t value;
	int r = parse_digits(text, &value, &rest);

	if (r)
		return r;
	if (*rest)
		return -EINVAL;
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

/* A number and perhaps a letter, each of which stands for base times the one before. */
static int parse_scaled(const char *text, uint64_t base, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *rest;
	const char *unit;
	uint64_t value;
	int r = parse_digits(text, &value, &rest);

	if (r)
		return r;
	if (*rest) {
		unit = strchr(units, toupper((unsigned char)*rest));
		if (!unit || rest[1])
			return -EINVAL;
		for (; unit >= units; unit--)
			if (!checked_mul(value, base, &value))
				return -ERANGE;
	}
	*out = value;
	return 0;
}

int parse_size(const char *text, uint64_t *out)
{
	return parse_scaled(text, 1024, out);
}

int parse_rate(const char *text, uint64_t *out)
{
	return parse_scaled(text, 1000, out);
}
