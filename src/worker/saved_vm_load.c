#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sparse_copy.h"
#include "worker/saved_vm.h"

#define STATE_MAX (256u << 20) /* as much as a tree is written of */

struct loading {
	struct vm *vm;
	int memory_fd;
};

static int load_memory(void *context, struct error *err)
{
	const struct loading *loading = context;
	struct vm_memory_file files[VM_MEMORY_FILES_MAX];
	unsigned int count = vm_memory_files(loading->vm, files);
	struct stat status;
	uint64_t offset = 0;
	int r = fstat(loading->memory_fd, &status) ? -errno : 0;

	for (unsigned int i = 0; i < count; i++)
		offset += files[i].size;
	if (!r && (uint64_t)status.st_size != offset)
		return error_set(err, EINVAL, "its file of memory has %lld bytes, and the VM %llu",
				 (long long)status.st_size, (unsigned long long)offset);
	while (!r && count--) {
		struct sparse_copy copy = {.from = loading->memory_fd,
					   .to = files[count].fd,
					   .left = files[count].size};

		offset -= files[count].size;
		copy.from_offset = offset;
		r = sparse_copy_run(&copy);
	}
	return r ? error_set(err, -r, "its memory cannot be read (%s)", strerror(-r)) : 0;
}

/* NULL with a sentence. */
static void *read_tree(int fd, size_t *size, struct error *err)
{
	CLEANUP_FREE uint8_t *tree = NULL;
	struct stat status;
	size_t done = 0;

	if (fstat(fd, &status) || status.st_size < 1 || status.st_size > (off_t)STATE_MAX) {
		error_set(err, EINVAL, "its file of state is empty, or none");
		return NULL;
	}
	*size = (size_t)status.st_size;
	tree = malloc(*size);
	while (tree && done < *size) {
		ssize_t got = pread(fd, tree + done, *size - done, (off_t)done);

		if (got <= 0 && !(got < 0 && errno == EINTR)) {
			error_set(err, EIO, "its file of state cannot be read (%s)",
				  strerror(got < 0 ? errno : EIO));
			return NULL;
		}
		done += got > 0 ? (size_t)got : 0;
	}
	if (!tree)
		error_memory(err, "the state");
	return TAKE_POINTER(tree);
}

static int load(struct vm *vm, const struct saved_files *files, struct error *err)
{
	struct loading loading = {.vm = vm, .memory_fd = files->memory_fd};
	struct state_node root;
	size_t size;
	CLEANUP_FREE void *tree = read_tree(files->state_fd, &size, err);

	if (!tree)
		return -EIO;
	if (state_open(tree, size, &root))
		return error_set(err, EINVAL, "its file of state is damaged");
	return vm_restore(vm, &root, load_memory, &loading, err);
}

int saved_vm_load(struct vm *vm, const struct saved_files *files, struct error *err)
{
	struct error why;
	int r = load(vm, files, &why);

	return r ? error_set(err, -r,
			     "the saved state cannot be taken up: %s; start the VM with what it "
			     "had, or discard the saved state",
			     why.text)
		 : 0;
}
