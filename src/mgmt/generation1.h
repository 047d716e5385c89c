#pragma once

#include <jansson.h>

#include "base/error.h"
#include "mgmt/run_options.h"

/* What is different about a Generation 1 VM, for whoever gives it its devices. */

#define IDE_PLACES	4
#define LEGACY_NICS_MAX 4 /* places on PCI for adapters */

/* Whether all options go with the generation; fills in what a Generation 1 VM has by default.
 * -EINVAL with err naming the option. */
int generation1_check(struct run_options *options, struct error *err);

/* Where a disk or drive is on the IDE controller, 0 (primary master) to 3: the first ones are there
 * that no LUN is given for.  -1: it is on the SCSI controller. */
int generation1_ide_place(const struct run_options *options, unsigned int disk);

/* Which of the disks is in the floppy drive, or -1. */
int generation1_floppy(const struct run_options *options);

/* --boot-order: disk, cd, floppy and network, separated by commas, each at most once. */
int generation1_check_order(const char *value, struct error *err);
/* The same in the words of worker/protocol.h, for the units that there are. */
json_t *generation1_boot_order(const struct run_options *options);
