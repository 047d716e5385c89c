#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define RUN_DISK_TIMEOUT_MAX 3600 /* seconds */

/* A disk as the command line has it,
 * PATH[,ro][,direct][,lun=N][,controller=ID][,format=F][,iops=N][,bandwidth=B]; or a DVD drive and
 * its medium. */
struct run_disk {
	const char *flag; /* "--disk" or the like, for sentences */
	char *path;	  /* owned; NULL for an empty drive */
	bool cdrom;
	bool floppy; /* the medium of a floppy drive */
	bool seed;   /* the path is that of a directory, and the medium to be made of it */
	bool read_only;
	bool direct;
	unsigned int controller; /* of the SCSI ones; 0: the first */
	int lun;		 /* -1: the first that is free */
	const char *format;	 /* raw, vhd or vhdx; or nbd, and the path is a URI */
	unsigned int timeout;	 /* seconds that an NBD server may be silent */
	/* How much it may do in a second; 0: no limit. */
	uint64_t iops;
	uint64_t bandwidth; /* bytes */
};

/* flag: "--disk" or the like, for sentences.  -EINVAL or -ENOMEM, with nothing to clear. */
int run_disk_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err);
/* The same for a DVD drive: PATH[,lun=N], or "none" in the path's place. */
int run_cdrom_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err);
/* And for a drive with a NoCloud seed: DIR[,lun=N]. */
int run_seed_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err);
/* And for a floppy drive's medium, PATH[,ro], whose image is raw. */
int run_floppy_parse(const char *flag, const char *value, struct run_disk *disk, struct error *err);
/* The format that a path's name stands for: a guest can write what looks like an image into a raw
 * disk, so what lies in a file does not say. */
const char *run_disk_format(const char *path);
/* The format of that name, or NULL. */
const char *run_disk_format_find(const char *name);

/* Whether it is the URI of a network block device. */
bool run_disk_is_remote(const char *path);

void run_disk_clear(struct run_disk *disk);
