#include "mgmt/disk_options.h"

#include <errno.h>
#include <stdio.h>

#include "base/parse.h"
#include "mgmt/command.h"
#include "mgmt/run_disk.h"

static int set_word(void *target, const char *word, struct error *err)
{
	struct disk_command *command = target;

	if (command->word_count == 2)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"", word);
	if (!*word)
		return error_set(err, EINVAL, "a path is empty; give the path of an image");
	command->words[command->word_count++] = word;
	return 0;
}

int disk_options_bytes(uint64_t *bytes, const char *flag, const char *value, struct error *err)
{
	if (parse_size(value, bytes) || *bytes == 0 || *bytes > INT64_MAX)
		return error_set(err, EINVAL, "%s %.80s: give a size like 512M or 40G", flag,
				 value);
	return 0;
}

static int set_size(void *target, const char *value, struct error *err)
{
	return disk_options_bytes(&((struct disk_command *)target)->size, "--size", value, err);
}

static int set_block_size(void *target, const char *value, struct error *err)
{
	return disk_options_bytes(&((struct disk_command *)target)->block_bytes, "--block-size",
				  value, err);
}

static int set_sector(uint64_t *bytes, const char *flag, const char *value, struct error *err)
{
	if (parse_u64(value, 512, 4096, bytes) || (*bytes != 512 && *bytes != 4096))
		return error_set(err, EINVAL, "%s %.80s: give 512 or 4096", flag, value);
	return 0;
}

static int set_logical(void *target, const char *value, struct error *err)
{
	return set_sector(&((struct disk_command *)target)->logical, "--sector-size", value, err);
}

static int set_physical(void *target, const char *value, struct error *err)
{
	return set_sector(&((struct disk_command *)target)->physical, "--physical-sector-size",
			  value, err);
}

static int find_format(const char **format, const char *flag, const char *value, struct error *err)
{
	*format = run_disk_format_find(value);
	return *format ? 0 : error_set(err, EINVAL, "%s %.80s: give raw, vhd or vhdx", flag, value);
}

static int set_format(void *target, const char *value, struct error *err)
{
	return find_format(&((struct disk_command *)target)->format, "--format", value, err);
}

static int set_source_format(void *target, const char *value, struct error *err)
{
	return find_format(&((struct disk_command *)target)->source_format, "--source-format",
			   value, err);
}

static int set_parent(void *target, const char *value, struct error *err)
{
	((struct disk_command *)target)->parent = value;
	return *value ? 0 : error_set(err, EINVAL, "--parent needs the path of an image");
}

static int set_fixed(void *target, const char *value, struct error *err)
{
	((struct disk_command *)target)->fixed = true;
	return 0;
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct disk_command *)target)->json = true;
	return 0;
}

static const struct option plain[] = {
	{"--format", "raw|vhd|vhdx", "of the image, or the new one; else its name says it",
	 set_format},
	{"--json", NULL, "print one JSON object", set_json},
};
static const struct option shape[] = {
	{"--fixed", NULL, "all its space at once", set_fixed},
	{"--block-size", "SIZE", "what is allocated at a time", set_block_size},
	{"--sector-size", "512|4096", "logical sectors (VHDX)", set_logical},
	{"--physical-sector-size", "512|4096", "sectors as told to the guest (VHDX)", set_physical},
};
static const struct option create[] = {
	{"--size", "SIZE", "of the disk, like 40G; with --parent, the parent's", set_size},
	{"--parent", "PATH", "a differencing disk on that image", set_parent},
};
static const struct option convert[] = {
	{"--source-format", "raw|vhd|vhdx", "of the source; else its name says it",
	 set_source_format},
};

const struct option_set command_disk_options = OPTION_SET(plain);
static const struct option_set shape_set = OPTION_SET_AND(shape, &command_disk_options);
const struct option_set command_disk_create_options = OPTION_SET_AND(create, &shape_set);
const struct option_set command_disk_convert_options = OPTION_SET_AND(convert, &shape_set);

void command_disk_text(FILE *stream)
{
	fprintf(stream, "No file is written over. An image that is in use is left alone.\n"
			"Exit code: 0 done, 1 failed or (check) damaged, 2 wrong usage.\n");
}

int disk_options_parse(int argc, char **argv, const struct option_set *options, unsigned int words,
		       const char *usage, struct disk_command *command, struct error *err)
{
	int r = options_parse_set(options, argc, argv, set_word, command, err);

	if (!r && command->word_count != words)
		return error_set(err, EINVAL, "give %s", usage);
	if (!r && options == &command_disk_create_options && !command->size && !command->parent)
		return error_set(err, EINVAL,
				 "--size is missing: give the disk's, like --size 40G");
	return r;
}
