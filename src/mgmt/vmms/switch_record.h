#pragma once

#include <net/if.h>
#include <stdint.h>

#include "base/error.h"
#include "mgmt/vmms/switch_dhcp.h"

/*
 * What the next daemon must know of a switch that this one leaves behind, if it is killed: in a
 * file in the runtime directory.  Its blocks are there from the start, so that writing it needs no
 * room on a full file system.
 */

#define SWITCH_GUARDED_MAX 48u

struct switch_record {
	char bridge[IFNAMSIZ]; /* "": there is no switch */
	uint32_t subnet;
	struct switch_dhcp_process dhcp;
	/* Interfaces that forwarded nothing before us. */
	char guarded[SWITCH_GUARDED_MAX][IFNAMSIZ];
	unsigned int guarded_count;
};

/* Reads it, from below directory (AT_FDCWD, as in openat(2)); one that is not there, is no regular
 * file, is broken or is of another boot of the host gives an empty record. */
void switch_record_read(int directory, const char *path, struct switch_record *record);

/* Writes it, and makes the file where it is not there.  -errno with err. */
int switch_record_write(const char *path, const struct switch_record *record, struct error *err);

/*
 * The subnet that the switch had last, kept in the state directory: 0 where none is known; written
 * by a temporary file and a rename.  -errno.
 */
uint32_t switch_subnet_read(const char *path);
int switch_subnet_write(const char *path, uint32_t subnet);
