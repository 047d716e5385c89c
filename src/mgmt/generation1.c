#include "mgmt/generation1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

/* As Hyper-V's Generation 1 VMs have it. */
#define DEFAULT_ORDER "cd,disk,network,floppy"

enum boot_kind { BOOT_DISK, BOOT_CD, BOOT_FLOPPY, BOOT_NETWORK, BOOT_KINDS };

static const char *const boot_words[BOOT_KINDS] = {
	[BOOT_DISK] = "disk",
	[BOOT_CD] = "cd",
	[BOOT_FLOPPY] = "floppy",
	[BOOT_NETWORK] = "network",
};

/* The kind of a word of that length, or BOOT_KINDS. */
static enum boot_kind kind_of(const char *word, size_t length)
{
	enum boot_kind kind = 0;

	while (kind < BOOT_KINDS &&
	       (strlen(boot_words[kind]) != length || strncmp(boot_words[kind], word, length) != 0))
		kind++;
	return kind;
}

/* The next word of a list, of *length; NULL at its end. */
static const char *next_word(const char **list, size_t *length)
{
	const char *word = *list;

	if (!word)
		return NULL;
	*length = strcspn(word, ",");
	*list = word[*length] ? word + *length + 1 : NULL;
	return word;
}

int generation1_check_order(const char *value, struct error *err)
{
	const char *rest = value, *word;
	unsigned int seen = 0;
	size_t length;

	while ((word = next_word(&rest, &length))) {
		enum boot_kind kind = kind_of(word, length);

		if (kind == BOOT_KINDS || seen & 1u << kind)
			return error_set(err, EINVAL,
					 "--boot-order %.80s: give disk, cd, floppy and network in "
					 "the order they are to be tried, each once at most, like "
					 "cd,disk",
					 value);
		seen |= 1u << kind;
	}
	return 0;
}

int generation1_floppy(const struct run_options *options)
{
	for (unsigned int i = 0; i < options->disk_count; i++) {
		if (options->disks[i].floppy)
			return (int)i;
	}
	return -1;
}

static int check_generation2(const struct run_options *options, struct error *err)
{
	const struct {
		const char *option;
		bool given;
	} ours[] = {
		{"--firmware", options->firmware != NULL},
		{"--firmware-log", options->firmware_log != NULL},
		{"--boot-order", options->boot_order != NULL},
		{"--boot-menu", options->boot_menu > 0},
		{"--floppy", generation1_floppy(options) >= 0},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(ours); i++) {
		if (ours[i].given)
			return error_set(err, EINVAL,
					 "%s is for a Generation 1 VM; add --generation 1",
					 ours[i].option);
	}
	for (unsigned int i = 0; i < options->nic_count; i++) {
		if (options->nics[i].legacy)
			return error_set(err, EINVAL,
					 "--nic %.200s: only a Generation 1 VM has a legacy "
					 "adapter; leave out ,legacy or add --generation 1",
					 options->nics[i].text);
	}
	if (!options->kernel)
		return error_set(err, EINVAL,
				 "--kernel is missing: give the kernel to boot, --kernel FILE, or "
				 "--generation 1 to boot from a disk");
	return 0;
}

int generation1_check(struct run_options *options, struct error *err)
{
	unsigned int legacy = 0, floppies = 0;

	if (!options->generation1)
		return check_generation2(options, err);
	if (options->kernel || options->initrd || options->append[0] || options->device_tree)
		return error_set(err, EINVAL,
				 "--generation 1: its firmware boots from a disk; leave out "
				 "--kernel, --initrd, --append and --dtb");
	for (unsigned int i = 0; i < options->nic_count; i++)
		legacy += options->nics[i].legacy;
	for (unsigned int i = 0; i < options->disk_count; i++)
		floppies += options->disks[i].floppy;
	if (floppies > 1)
		return error_set(err, EINVAL,
				 "--floppy: a VM has one floppy drive; give one medium");
	if (legacy > LEGACY_NICS_MAX)
		return error_set(
			err, EINVAL,
			"--nic: a VM has room for %d legacy adapters; leave out ,legacy of "
			"the others",
			LEGACY_NICS_MAX);
	if (!options->firmware)
		options->firmware = RUN_FIRMWARE;
	/* A PC has a screen and a keyboard. */
	display_options_want(&options->display);
	if (!options->boot_order)
		options->boot_order = DEFAULT_ORDER;
	return 0;
}

static bool wants_ide(const struct run_disk *disk)
{
	return disk->lun < 0 && !disk->controller && !disk->floppy;
}

int generation1_ide_place(const struct run_options *options, unsigned int disk)
{
	int place = 0;

	if (!options->generation1 || !wants_ide(&options->disks[disk]))
		return -1;
	for (unsigned int i = 0; i < disk; i++)
		place += wants_ide(&options->disks[i]);
	return place < IDE_PLACES ? place : -1;
}

static void add_units(json_t *order, const struct run_options *options, bool cdrom)
{
	for (unsigned int i = 0; i < options->disk_count; i++) {
		int place = generation1_ide_place(options, i);
		char unit[16];

		if (place < 0 || options->disks[i].cdrom != cdrom)
			continue;
		snprintf(unit, sizeof(unit), "ide%d:%d", place / 2, place % 2);
		json_array_append_new(order, json_string(unit));
	}
}

json_t *generation1_boot_order(const struct run_options *options)
{
	const char *rest = options->boot_order, *word;
	json_t *order = json_array();
	size_t length;

	while ((word = next_word(&rest, &length))) {
		enum boot_kind kind = kind_of(word, length);

		if (kind == BOOT_DISK || kind == BOOT_CD)
			add_units(order, options, kind == BOOT_CD);
		else
			json_array_append_new(order, json_string(boot_words[kind]));
	}
	return order;
}
