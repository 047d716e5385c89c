#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/gpa.h"

/*
 * A kernel or initrd file.  It is read by pread and never mapped: somebody may truncate it while
 * we look, and a short read is then an error, not a SIGBUS.
 */
struct boot_file {
	int fd;
	const char *name; /* as the user wrote it, for sentences */
	uint64_t size;	  /* when boot_file_init looked */
};

/*
 * Checks that fd is a regular file that is not empty.  what ("a kernel") and flag ("--kernel")
 * go into the sentence.  -EINVAL, or the errno of fstat.
 */
int boot_file_init(struct boot_file *file, int fd, const char *name, const char *what,
		   const char *flag, struct error *err);

/* Reads exactly length bytes; -EINVAL where the file ends before. */
int boot_file_read(const struct boot_file *file, uint64_t offset, void *data, size_t length,
		   struct error *err);

/* Reads exactly length bytes into guest RAM, which must lie within one slot.  VPs not running. */
int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t length,
		   const struct gpa_space *gpa, uint64_t address, struct error *err);
