#include "mgmt/rate_options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/parse.h"

static bool is_none(const char *text, uint64_t *limit)
{
	bool none = !strcmp(text, "none") || !strcmp(text, "0");

	if (none)
		*limit = 0;
	return none;
}

static bool is_within(int result, uint64_t value, uint64_t min)
{
	return !result && value >= min && value <= LIMIT_MAX;
}

int limit_parse_iops(const char *what, const char *text, uint64_t *iops, struct error *err)
{
	uint64_t value = 0;
	int r;

	if (is_none(text, iops))
		return 0;
	r = parse_u64(text, 1, LIMIT_MAX, &value);
	if (!is_within(r, value, 1))
		return error_set(err, EINVAL,
				 "%.200s: \"%.40s\" is no number of operations a second; give one "
				 "like 500, or none",
				 what, text);
	*iops = value;
	return 0;
}

int limit_parse_bytes(const char *what, const char *text, uint64_t *bytes, struct error *err)
{
	uint64_t value = 0;
	int r;

	if (is_none(text, bytes))
		return 0;
	r = parse_size(text, &value);
	if (!is_within(r, value, LIMIT_BYTES_MIN))
		return error_set(err, EINVAL,
				 "%.200s: \"%.40s\" cannot be a disk's bytes a second; give them "
				 "like 50M (1K at least), or none",
				 what, text);
	*bytes = value;
	return 0;
}

int limit_parse_bits(const char *what, const char *text, uint64_t *bits, struct error *err)
{
	uint64_t value = 0;
	int r;

	if (is_none(text, bits))
		return 0;
	r = parse_rate(text, &value);
	if (!is_within(r, value, LIMIT_BITS_MIN))
		return error_set(
			err, EINVAL,
			"%.200s: \"%.40s\" cannot be a NIC's bits a second; give them like "
			"100M (1K at least), or none",
			what, text);
	*bits = value;
	return 0;
}
