#pragma once

#include <stdbool.h>

#include <jansson.h>

/* The synthetic storage controllers of a VM, by number: the first is there always, the others may
 * come and go. */

#define CONTROLLERS_MAX	   8 /* with the first */
#define CONTROLLER_ID_SIZE 16

/* What devices and calls name it: "scsi" for the first, then "scsi1" and so on. */
void controller_id(unsigned int number, char id[CONTROLLER_ID_SIZE]);

/* The number of what id names; -1 where it names none. */
int controller_number(const char *id);

/*
 * The worker's configuration of one, for whoever attaches it or starts the VM; takes over disks.
 * pause_when_full: what becomes of a write for which the host has no room.  NULL: no memory, or a
 * name of a VM that is not UTF-8.
 */
json_t *controller_config(const char *vm_name, unsigned int number, bool pause_when_full,
			  json_t *disks);
