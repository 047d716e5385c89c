#pragma once

#include <sys/stat.h>

#include "base/error.h"
#include "mgmt/disk_tool.h"
#include "mgmt/run_options.h"

/* Every file that a VM needs, opened with the caller's rights and handed to the worker. */
struct vm_files {
	int kvm;
	int firmware;					 /* of Generation 1, else -1 */
	int vga_firmware;				 /* the same */
	int kernel;					 /* of Generation 2, else -1 */
	int initrd;					 /* -1 for none */
	int disks[PROTOCOL_DISKS_MAX];			 /* -1 for an empty drive */
	struct disk_parents parents[PROTOCOL_DISKS_MAX]; /* of each */
	unsigned int disk_count;
};

#define VM_FILES_NONE                                                                              \
	(struct vm_files)                                                                          \
	{                                                                                          \
		.kvm = -1, .firmware = -1, .vga_firmware = -1, .kernel = -1, .initrd = -1          \
	}

/*
 * Opens them all, disks locked against other users; nothing is created or changed.  kvm_fd: of
 * /dev/kvm, which files then have, where we were given one, else -1.  -errno with a sentence that
 * names the flag and file; nothing then stays open.
 */
int vm_files_open(const struct run_options *options, int kvm_fd, struct vm_files *files,
		  struct error *err);
void vm_files_close(struct vm_files *files);

/* One more disk, for a VM that runs: its descriptor, locked, or a negative errno.  Parents are
 * closed by disk_parents_close. */
int vm_files_open_disk(const struct run_disk *disk, struct disk_parents *parents,
		       struct error *err);

/*
 * Refuses a file, by its status, that is also one of the VM's own: -EINVAL, with a sentence that
 * begins with flag and path and names the other's flag.
 */
int vm_files_refuse(const struct run_options *options, const struct vm_files *files,
		    const struct stat *status, const char *flag, const char *path,
		    struct error *err);

/* /dev/kvm, or a negative errno and what to do about it. */
int vm_files_open_kvm(struct error *err);
