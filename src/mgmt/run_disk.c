#include "mgmt/run_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "mgmt/controller.h"
#include "mgmt/rate_options.h"
#include "mgmt/words.h"
#include "worker/protocol.h"

#define REMOTE_SECONDS 30

static const char *const formats[] = {"raw", "vhd", "vhdx"};

const char *run_disk_format_find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i], name))
			return formats[i];
	return NULL;
}

const char *run_disk_format(const char *path)
{
	const char *end = strrchr(path, '.');

	if (end && !strcasecmp(end, ".vhdx"))
		return "vhdx";
	return end && !strcasecmp(end, ".vhd") ? "vhd" : "raw";
}

/* Reads one word after the path's comma. */
static int set_word(struct run_disk *disk, const char *what, const char *word, struct error *err)
{
	uint64_t lun, seconds;

	if (!strncmp(word, "iops=", 5))
		return limit_parse_iops(what, word + 5, &disk->iops, err);
	if (!strncmp(word, "bandwidth=", 10))
		return limit_parse_bytes(what, word + 10, &disk->bandwidth, err);
	if (!strcmp(word, "ro"))
		disk->read_only = true;
	else if (!strcmp(word, "direct"))
		disk->direct = true;
	else if (!strncmp(word, "lun=", 4) && !parse_u64(word + 4, 0, PROTOCOL_DISKS_MAX - 1, &lun))
		disk->lun = (int)lun;
	else if (!strncmp(word, "controller=", 11) && controller_number(word + 11) >= 0)
		disk->controller = (unsigned int)controller_number(word + 11);
	else if (!strncmp(word, "timeout=", 8) &&
		 !parse_u64(word + 8, 1, RUN_DISK_TIMEOUT_MAX, &seconds))
		disk->timeout = (unsigned int)seconds;
	else if (!strncmp(word, "format=", 7) && run_disk_format_find(word + 7))
		disk->format = run_disk_format_find(word + 7);
	else
		return error_set(
			err, EINVAL,
			"%.200s: \"%.80s\" is not ro, direct, lun=0 to lun=%d, controller=scsi to "
			"controller=scsi%d, format=raw, vhd or vhdx, iops=N, bandwidth=SIZE or "
			"timeout=1 to 3600; a comma in a path is written twice",
			what, word, PROTOCOL_DISKS_MAX - 1, CONTROLLERS_MAX - 1);
	return 0;
}

static int parse_words(const char *flag, const char *value, struct run_disk *disk,
		       struct error *err)
{
	char *rest = disk->path;
	const char *word;
	char what[240];
	int r = 0;

	snprintf(what, sizeof(what), "%s %.200s", flag, value);
	words_next(&rest);
	while (!r && (word = words_next(&rest)))
		r = set_word(disk, what, word, err);
	return r;
}

bool run_disk_is_remote(const char *path)
{
	return !strncmp(path, "nbd://", 6) || !strncmp(path, "nbd+unix://", 11);
}

/* A server has a format's place, and says itself what it can. */
static int choose_format(struct run_disk *disk, const char *flag, const char *value,
			 struct error *err)
{
	bool remote = run_disk_is_remote(disk->path);

	if (remote && (disk->format || disk->direct))
		return error_set(
			err, EINVAL,
			"%s %.200s: a network block device has neither format= nor direct; "
			"leave them out",
			flag, value);
	if (!remote && disk->timeout)
		return error_set(
			err, EINVAL,
			"%s %.200s: only a network block device (nbd://) has timeout=; leave "
			"it out",
			flag, value);
	if (remote && !disk->timeout)
		disk->timeout = REMOTE_SECONDS;
	if (!disk->format)
		disk->format = remote ? "nbd" : run_disk_format(disk->path);
	return 0;
}

int run_disk_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err)
{
	struct run_disk parsed = {.flag = flag, .lun = -1};
	int r;

	if (!*value || *value == ',')
		return error_set(err, EINVAL, "%s needs the path of a file or block device", flag);
	parsed.path = strdup(value);
	if (!parsed.path)
		return error_memory(err, "the options");
	r = parse_words(flag, value, &parsed, err);
	if (!r)
		r = choose_format(&parsed, flag, value, err);
	if (r)
		run_disk_clear(&parsed);
	else
		*disk = parsed;
	return r;
}

int run_cdrom_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err)
{
	int r = run_disk_parse(flag, value, disk, err);

	if (r)
		return r;
	disk->cdrom = true;
	disk->read_only = true;
	if (!strcmp(disk->path, "none"))
		run_disk_clear(disk);
	return 0;
}

int run_seed_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err)
{
	int r = run_disk_parse(flag, value, disk, err);

	if (r)
		return r;
	disk->cdrom = disk->read_only = disk->seed = true;
	disk->format = run_disk_format_find("raw");
	return 0;
}

int run_floppy_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err)
{
	int r = run_disk_parse(flag, value, disk, err);

	if (r)
		return r;
	if (run_disk_is_remote(disk->path) || disk->lun >= 0 || disk->controller || disk->iops ||
	    disk->bandwidth || disk->direct || disk->format != run_disk_format_find("raw")) {
		run_disk_clear(disk);
		return error_set(
			err, EINVAL,
			"%s %.200s: give the raw image of a floppy, and ,ro if it is not to be "
			"written to",
			flag, value);
	}
	disk->floppy = true;
	disk->format = run_disk_format_find("raw");
	return 0;
}

void run_disk_clear(struct run_disk *disk)
{
	free(disk->path);
	disk->path = NULL;
}
