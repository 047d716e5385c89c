#include "mgmt/vm_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file_lock.h"
#include "mgmt/open_checked.h"
#include "mgmt/seed.h"

#define SECTOR_SIZE 512
#define PARENTS_MAX 32 /* of all disks: so many descriptors go to the worker with the rest */

int vm_files_open_kvm(struct error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set(err, ENODEV,
				 "/dev/kvm: not there; load the kvm_intel or kvm_amd module, and "
				 "enable virtualization in the firmware (or nested in the "
				 "hypervisor below)");
	case EACCES:
	case EPERM:
		return error_set(err, EACCES,
				 "/dev/kvm: you have no right to it; join its group (usually: "
				 "adduser USER kvm) and log in again");
	default:
		return error_set(
			err, errno, "/dev/kvm: %s; %s", strerror(errno),
			error_remedy(errno, "load the kvm modules anew (dmesg may tell why)"));
	}
}

static int open_failed(const char *flag, const char *path, int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
		return error_set(err, errnum, "%s %.200s: no such file; check the path", flag,
				 path);
	case EACCES:
	case EPERM:
		return error_set(err, errnum,
				 "%s %.200s: you may not open it; check its owner and mode", flag,
				 path);
	case EBUSY:
		return error_set(err, errnum,
				 "%s %.200s is mounted or in use by the host; unmount it or attach "
				 "it with ,ro",
				 flag, path);
	case EROFS:
		return error_set(err, errnum,
				 "%s %.200s: it is on a read-only file system; add ,ro to use it "
				 "so",
				 flag, path);
	case EINVAL:
		return error_set(err, errnum,
				 "%s %.200s: its file system cannot open it so; leave out ,direct",
				 flag, path);
	default:
		return error_set(err, errnum, "%s %.200s: %s; %s", flag, path, strerror(errnum),
				 error_remedy(errnum, "check the path"));
	}
}

/* A file that is not ours to write may be ours to read. */
static int open_refused(const char *flag, const char *path, int flags, int errnum,
			struct error *err)
{
	if ((errnum == EACCES || errnum == EPERM) && (flags & O_ACCMODE) == O_RDWR &&
	    !eaccess(path, R_OK))
		return error_set(err, errnum,
				 "%s %.200s: you may read it but not write to it; add ,ro to use "
				 "it so, or change its owner or mode",
				 flag, path);
	return open_failed(flag, path, errnum, err);
}

/* A descriptor, and what it is of: only to be looked at where that is no file and no disk. */
static int open_and_stat(const char *flag, const char *path, int flags, struct stat *status,
			 struct error *err)
{
	CLEANUP_CLOSE int fd = open_checked(path, flags, status);

	if (fd < 0)
		return open_refused(flag, path, flags, -fd, err);
	if (S_ISDIR(status->st_mode))
		return error_set(err, EISDIR, "%s %.200s: it is a directory; give a file", flag,
				 path);
	return TAKE_FD(fd);
}

static int open_image(const char *flag, const char *path, struct error *err)
{
	struct stat status;
	CLEANUP_CLOSE int fd = open_and_stat(flag, path, O_RDONLY, &status, err);

	if (fd < 0)
		return fd;
	if (!S_ISREG(status.st_mode))
		return error_set(err, EINVAL, "%s %.200s: it is not a regular file; give a file",
				 flag, path);
	if (status.st_size == 0)
		return error_set(err, EINVAL, "%s %.200s: it is empty; give a complete file", flag,
				 path);
	return TAKE_FD(fd);
}

/* The usual firmware is a package, which may not be there. */
static int open_firmware(const char *path, struct error *err)
{
	int fd = open_image("--firmware", path, err);

	if (fd == -ENOENT && !strcmp(path, RUN_FIRMWARE))
		return error_set(err, ENOENT,
				 "%s: no such file; install Debian's package seabios, or name "
				 "another firmware by --firmware FILE",
				 path);
	return fd;
}

static int disk_size(int fd, const struct stat *status, uint64_t *bytes)
{
	if (S_ISREG(status->st_mode)) {
		*bytes = (uint64_t)status->st_size;
		return 0;
	}
	if (!S_ISBLK(status->st_mode))
		return -ENOTBLK;
	return ioctl(fd, BLKGETSIZE64, bytes) ? -errno : 0;
}

static int check_disk_size(const struct run_disk *disk, int fd, const struct stat *status,
			   struct error *err)
{
	uint64_t bytes;
	int r = disk_size(fd, status, &bytes);

	if (r == -ENOTBLK)
		return error_set(err, EINVAL,
				 "%s %.200s: it is neither a regular file nor a block device; give "
				 "one",
				 disk->flag, disk->path);
	if (r)
		return error_set(err, -r, "%s %.200s: cannot read its size: %s; give another disk",
				 disk->flag, disk->path, strerror(-r));
	if (!bytes)
		return error_set(err, EINVAL,
				 "%s %.200s: it is 0 bytes long; give it a size (truncate -s "
				 "10G FILE)",
				 disk->flag, disk->path);
	if (bytes % SECTOR_SIZE)
		return error_set(err, EINVAL,
				 "%s %.200s: its %llu bytes are not a multiple of 512; it may "
				 "be cut off (truncate -s %%512 FILE rounds it up)",
				 disk->flag, disk->path, (unsigned long long)bytes);
	return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A disk may be given twice only where nobody writes to it. */
static int check_unique(const struct run_options *options, const struct vm_files *files,
			const struct run_disk *disk, const struct stat *status, struct error *err)
{
	for (unsigned int i = 0; i < files->disk_count; i++) {
		struct stat other;

		if (files->disks[i] < 0 || fstat(files->disks[i], &other) ||
		    !same_file(&other, status) || (disk->read_only && options->disks[i].read_only))
			continue;
		return error_set(err, EINVAL,
				 "%s %.200s is given twice; leave one out, or give each as "
				 "PATH,ro",
				 disk->flag, disk->path);
	}
	return 0;
}

static int lock_disk(const struct run_disk *disk, int fd, struct error *err)
{
	char name[256];

	snprintf(name, sizeof(name), "%s %.200s", disk->flag, disk->path);
	return file_lock(fd, name, !disk->read_only, err);
}

/*
 * Opens a block device that will be written once more, exclusively: the kernel then refuses one
 * that is mounted, and mounting it while the VM runs.  For other files O_EXCL has no meaning.
 */
static int claim_device(const struct run_disk *disk, int flags, int *fd, struct error *err)
{
	char path[64];
	int claimed;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	claimed = open(path, flags | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (claimed < 0)
		return open_failed(disk->flag, disk->path, errno, err);
	close(*fd); /* and with it its lock */
	*fd = claimed;
	return lock_disk(disk, claimed, err);
}

static int open_disk(const struct run_options *options, const struct vm_files *files,
		     const struct run_disk *disk, struct disk_parents *parents, struct error *err)
{
	int flags = (disk->read_only ? O_RDONLY : O_RDWR) | (disk->direct ? O_DIRECT : 0);
	struct stat status;
	CLEANUP_CLOSE int fd = open_and_stat(disk->flag, disk->path, flags, &status, err);
	int r;

	if (fd < 0)
		return fd;
	r = check_disk_size(disk, fd, &status, err);
	if (!r)
		r = check_unique(options, files, disk, &status, err);
	if (!r)
		r = lock_disk(disk, fd, err);
	if (!r && !disk->read_only && S_ISBLK(status.st_mode))
		r = claim_device(disk, flags, &fd, err);
	if (!r)
		r = disk_parents_find(disk->path, disk->format ? disk->format : "raw", fd, parents,
				      err);
	if (r)
		return r;
	return TAKE_FD(fd);
}

int vm_files_open_disk(const struct run_disk *disk, struct disk_parents *parents, struct error *err)
{
	static const struct vm_files none = {.disk_count = 0};

	return open_disk(NULL, &none, disk, parents, err);
}

void vm_files_close(struct vm_files *files)
{
	const int fds[] = {files->kvm, files->firmware, files->vga_firmware, files->kernel,
			   files->initrd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	for (unsigned int i = 0; i < files->disk_count; i++) {
		if (files->disks[i] >= 0)
			close(files->disks[i]);
		disk_parents_close(&files->parents[i]);
	}
	*files = VM_FILES_NONE;
}

/* One of the VM's own files, -1 for none, against the one in question. */
static int refuse_one(int fd, const struct stat *status, const char *own, const char *flag,
		      const char *path, struct error *err)
{
	struct stat other;

	if (fd < 0 || fstat(fd, &other) || !same_file(&other, status))
		return 0;
	return error_set(err, EINVAL, "%s%.200s is the same file as %s; give another path", flag,
			 path, own);
}

int vm_files_refuse(const struct run_options *options, const struct vm_files *files,
		    const struct stat *status, const char *flag, const char *path,
		    struct error *err)
{
	int r = refuse_one(files->kernel, status, "--kernel", flag, path, err);

	if (!r)
		r = refuse_one(files->firmware, status, "--firmware", flag, path, err);
	if (!r)
		r = refuse_one(files->initrd, status, "--initrd", flag, path, err);
	for (unsigned int i = 0; i < files->disk_count && !r; i++) {
		char own[256];

		if (files->disks[i] < 0)
			continue;
		snprintf(own, sizeof(own), "%s %.200s", options->disks[i].flag,
			 options->disks[i].path);
		r = refuse_one(files->disks[i], status, own, flag, path, err);
	}
	return r;
}

/* -1 for an empty drive and for what a helper opens, which is no failure: that is told by path. */
static int open_medium(const struct run_options *options, const struct vm_files *files,
		       const struct run_disk *disk, struct disk_parents *parents, struct error *err)
{
	if (!disk->path || run_disk_is_remote(disk->path))
		return -1;
	return disk->seed ? seed_make(disk->path, err)
			  : open_disk(options, files, disk, parents, err);
}

/* What the VM starts with. */
static int open_start(const struct run_options *options, struct vm_files *files, struct error *err)
{
	if (options->generation1) {
		files->firmware = open_firmware(options->firmware, err);
		/* Without it the screen stays dark: a firmware of one's own may not want it. */
		files->vga_firmware = open(RUN_VGA_FIRMWARE, O_RDONLY | O_CLOEXEC);
		return MIN(files->firmware, 0);
	}
	files->kernel = open_image("--kernel", options->kernel, err);
	if (files->kernel < 0 || !options->initrd)
		return MIN(files->kernel, 0);
	files->initrd = open_image("--initrd", options->initrd, err);
	return MIN(files->initrd, 0);
}

static int open_each(const struct run_options *options, int kvm_fd, struct vm_files *files,
		     struct error *err)
{
	unsigned int parents = 0;
	int r = open_start(options, files, err);

	if (r)
		return r;
	for (unsigned int i = 0; i < options->disk_count; i++) {
		const struct run_disk *disk = &options->disks[i];
		int fd = open_medium(options, files, disk, &files->parents[i], err);

		if (fd < 0 && disk->path && !run_disk_is_remote(disk->path))
			return fd;
		files->disks[files->disk_count++] = fd;
		parents += files->parents[i].count;
		if (parents > PARENTS_MAX)
			return error_set(
				err, EINVAL,
				"--disk: the disks have more than %d parents in all; merge "
				"some by `bulkhead disk convert`",
				PARENTS_MAX);
	}
	files->kvm = kvm_fd < 0 ? vm_files_open_kvm(err) : kvm_fd;
	return files->kvm < 0 ? files->kvm : 0;
}

int vm_files_open(const struct run_options *options, int kvm_fd, struct vm_files *files,
		  struct error *err)
{
	int r;

	*files = VM_FILES_NONE;
	r = open_each(options, kvm_fd, files, err);
	if (r)
		vm_files_close(files);
	return r;
}
