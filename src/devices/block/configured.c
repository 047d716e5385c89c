#include "devices/block/configured.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int block_open_configured(const json_t *config, struct block_disk **out, struct error *err)
{
	const char *given = json_string_value(json_object_get(config, "backend"));
	const char *name = given ? given : "raw";
	const json_t *number = json_object_get(config, "fd");
	const struct block_backend *backend = block_backend_find(name);
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (!backend)
		return error_set(err, EINVAL, "there is no disk backend \"%s\"", name);
	if (number) {
		fd = fcntl((int)json_integer_value(number), F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return error_host(err, errno, "a disk's descriptor is not usable");
	}
	r = backend->open(fd, config, out, err);
	if (r == 0)
		(void)TAKE_FD(fd);
	return r;
}

void block_close_given(const json_t *config)
{
	const json_t *fd = json_object_get(config, "fd");
	const json_t *parent, *lane;
	size_t index;

	if (fd)
		close((int)json_integer_value(fd));
	json_array_foreach(json_object_get(config, "fds"), index, lane)
		close((int)json_integer_value(lane));
	json_array_foreach(json_object_get(config, "parents"), index, parent)
		close((int)json_integer_value(json_object_get(parent, "fd")));
}

static int read_limit(const json_t *config, const char *key, uint64_t *limit, struct error *err)
{
	const json_t *number = json_object_get(config, key);

	if (!number)
		return 0;
	if (!json_is_null(number) && (!json_is_integer(number) || json_integer_value(number) < 0))
		return error_set(err, EINVAL, "a disk's %s must be a number, or 0 for no limit",
				 key);
	*limit = (uint64_t)json_integer_value(number);
	return 0;
}

int block_read_limits(const json_t *config, struct block_limits *limits, struct error *err)
{
	struct block_limits read = *limits;
	int r = read_limit(config, "iops", &read.iops, err);

	if (r == 0)
		r = read_limit(config, "bandwidth", &read.bandwidth, err);
	if (r == 0)
		*limits = read;
	return r;
}

int block_read_on_full(const json_t *config, bool *pause, struct error *err)
{
	const char *word = json_string_value(json_object_get(config, "on_full"));

	if (word && strcmp(word, "pause") && strcmp(word, "report"))
		return error_set(err, EINVAL, "on_full is neither pause nor report");
	*pause = word && !strcmp(word, "pause");
	return 0;
}
