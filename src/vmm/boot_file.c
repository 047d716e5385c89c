#include "vmm/boot_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

int boot_file_init(struct boot_file *file, int fd, const char *name, const char *what,
		   const char *flag, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, errno,
				 "%s cannot be examined: %s; give another file of %s to %s", name,
				 strerror(errno), what, flag);
	if (S_ISDIR(st.st_mode))
		return error_set(err, EINVAL, "%s is a directory; give %s to %s", name, what, flag);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is not a regular file; give %s to %s", name, what,
				 flag);
	if (st.st_size == 0)
		return error_set(err, EINVAL, "%s is empty; give %s to %s", name, what, flag);
	*file = (struct boot_file){.fd = fd, .name = name, .size = (uint64_t)st.st_size};
	return 0;
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *data, size_t length,
		   struct error *err)
{
	uint8_t *to = data;

	if (!range_within(offset, length, file->size))
		return error_set(err, EINVAL, "%s is truncated; give the whole file", file->name);
	while (length > 0) {
		ssize_t n = pread(file->fd, to, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "%s cannot be read: %s; give another file",
					 file->name, strerror(errno));
		if (n == 0)
			return error_set(err, EINVAL,
					 "%s became shorter while it was read; start again",
					 file->name);
		to += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t length,
		   const struct gpa_space *gpa, uint64_t address, struct error *err)
{
	void *to;

	if (length == 0)
		return 0;
	to = gpa_pointer(gpa, address, length, GPA_WRITE);
	if (!to)
		return error_set(err, EFAULT,
				 "%s does not fit in the guest's memory; give more "
				 "with --memory",
				 file->name);
	return boot_file_read(file, offset, to, length, err);
}
