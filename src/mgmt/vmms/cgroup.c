#include "mgmt/vmms/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "mgmt/vmms/cgroup_place.h"

#define DIRECTORY      "bulkhead"
#define OWN_LEAF       "bulkhead-vmms"
#define CPU_PERIOD_US  100000u
#define CPU_PERCENT    100u
#define VALUE_SIZE     64
#define BFQ_WEIGHT_MAX 1000u

static const char *const controllers[] = {"cpu", "memory", "io"};

struct cgroup_tree {
	char path[PATH_MAX];
	int fd;
	char lacks[32];
};

static int write_file(int directory, const char *name, const char *text)
{
	CLEANUP_CLOSE int fd = openat(directory, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	size_t length = strlen(text);
	ssize_t written;

	if (fd < 0)
		return -errno;
	written = write(fd, text, length);
	return written == (ssize_t)length ? 0 : written < 0 ? -errno : -EIO;
}

/* Whether the words of a file in the directory have this one. */
static bool file_has_word(int directory, const char *name, const char *word)
{
	CLEANUP_CLOSE int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	char text[512];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	char *rest = NULL;

	if (length < 0)
		return false;
	text[length] = '\0';
	for (char *found = strtok_r(text, " \n", &rest); found;
	     found = strtok_r(NULL, " \n", &rest)) {
		if (!strcmp(found, word))
			return true;
	}
	return false;
}

/* A directory with controllers for its children has no processes of its own: we step aside. */
static int step_aside(int directory)
{
	CLEANUP_CLOSE int leaf = -1;

	if (mkdirat(directory, OWN_LEAF, 0755) && errno != EEXIST)
		return -errno;
	leaf = openat(directory, OWN_LEAF, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return leaf < 0 ? -errno : write_file(leaf, "cgroup.procs", "0");
}

/* Has the controllers that there are in the directory's children, too. */
static void enable_controllers(int directory)
{
	for (size_t i = 0; i < ARRAY_LENGTH(controllers); i++) {
		char word[16];

		if (!file_has_word(directory, "cgroup.controllers", controllers[i]) ||
		    file_has_word(directory, "cgroup.subtree_control", controllers[i]))
			continue;
		snprintf(word, sizeof(word), "+%s", controllers[i]);
		if (write_file(directory, "cgroup.subtree_control", word) == -EBUSY &&
		    !step_aside(directory))
			write_file(directory, "cgroup.subtree_control", word);
	}
}

static void list_lacks(struct cgroup_tree *tree)
{
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(controllers); i++) {
		if (!file_has_word(tree->fd, "cgroup.subtree_control", controllers[i]))
			length +=
				(size_t)snprintf(tree->lacks + length, sizeof(tree->lacks) - length,
						 "%s%s", length ? ", " : "", controllers[i]);
	}
}

/* Directories of VMs that ended while no daemon ran; those of others are not empty, and stay. */
static void sweep(struct cgroup_tree *tree)
{
	DIR *directory = opendir(tree->path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			unlinkat(tree->fd, entry->d_name, AT_REMOVEDIR);
	}
	if (directory)
		closedir(directory);
}

static int open_tree(struct cgroup_tree *tree, const char *top, struct error *why)
{
	CLEANUP_CLOSE int parent = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0)
		return error_host(why, errno, "cannot open the cgroup %.200s", top);
	if (mkdirat(parent, DIRECTORY, 0755) && errno != EEXIST)
		return error_set(why, errno,
				 "VMs have no cgroups, since none can be made in %.200s (%s); run "
				 "the daemon as root, or delegate that one to its user",
				 top, strerror(errno));
	tree->fd = openat(parent, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree->fd < 0)
		return error_host(why, errno, "cannot open the cgroup %.200s/" DIRECTORY, top);
	snprintf(tree->path, sizeof(tree->path), "%s/" DIRECTORY, top);
	enable_controllers(parent);
	enable_controllers(tree->fd);
	list_lacks(tree);
	return 0;
}

int cgroup_tree_open(const char *given, struct cgroup_tree **out, struct error *why)
{
	char top[PATH_MAX - sizeof(DIRECTORY)];
	struct cgroup_tree *tree;
	int r = 0;

	if (given)
		snprintf(top, sizeof(top), "%s", given);
	else
		r = cgroup_find_place(top, sizeof(top), why);
	if (r)
		return r;
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return error_memory(why, "the cgroups");
	tree->fd = -1;
	r = open_tree(tree, top, why);
	if (r) {
		cgroup_tree_close(tree);
		return r;
	}
	sweep(tree);
	*out = tree;
	return 0;
}

void cgroup_tree_close(struct cgroup_tree *tree)
{
	if (!tree)
		return;
	if (tree->fd >= 0)
		close(tree->fd);
	free(tree);
}

const char *cgroup_tree_path(const struct cgroup_tree *tree)
{
	return tree->path;
}

const char *cgroup_tree_lacks(const struct cgroup_tree *tree)
{
	return tree->lacks;
}

static int open_vm(const struct cgroup_tree *tree, const char *name)
{
	int fd = openat(tree->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cgroup_make(struct cgroup_tree *tree, const char *name, struct error *err)
{
	CLEANUP_CLOSE int fd = -1;

	if (mkdirat(tree->fd, name, 0755) && errno != EEXIST)
		return error_host(err, errno, "cannot make the cgroup %.200s/%s", tree->path, name);
	fd = open_vm(tree, name);
	if (fd >= 0) /* what has no memory for one of the VM's processes ends them all */
		write_file(fd, "memory.oom.group", "1");
	return 0;
}

/* A file that is not there belongs to a controller that is not: well where nothing is wanted of it.
 */
static int write_limit(int directory, const char *name, const char *text, bool wanted,
		       struct error *err)
{
	int r = write_file(directory, name, text);

	if (!r || (r == -ENOENT && !wanted))
		return 0;
	if (r == -ENOENT)
		return error_set(err, ENOTSUP,
				 "the VM's cgroup has no %s, so that limit is not in force; "
				 "delegate its controller to the daemon",
				 name);
	return error_host(err, -r, "cannot set %s of the VM's cgroup to %s", name, text);
}

static int limit_cpu(int directory, const struct resource_limits *limits, unsigned int weight,
		     struct error *err)
{
	char text[VALUE_SIZE];
	int r;
	int cap;

	snprintf(text, sizeof(text), "%u", weight);
	r = write_limit(directory, "cpu.weight", text, limits->cpu_weight || limits->cpu_reserve,
			err);
	if (limits->cpu_cap)
		snprintf(text, sizeof(text), "%" PRIu64 " %u",
			 (uint64_t)limits->cpu_cap * CPU_PERIOD_US / CPU_PERCENT, CPU_PERIOD_US);
	else
		snprintf(text, sizeof(text), "max %u", CPU_PERIOD_US);
	cap = write_limit(directory, "cpu.max", text, limits->cpu_cap, r ? NULL : err);
	return r ? r : cap;
}

static int limit_memory(int directory, const struct resource_limits *limits, struct error *err)
{
	char text[VALUE_SIZE] = "max";

	if (limits->memory_max)
		snprintf(text, sizeof(text), "%" PRIu64, limits->memory_max);
	return write_limit(directory, "memory.max", text, limits->memory_max, err);
}

/* Weights of BFQ end at a tenth of those of cgroup v2, and have the same default. */
static unsigned int bfq_weight(unsigned int weight)
{
	if (weight <= RESOURCE_WEIGHT_DEFAULT)
		return weight;
	return RESOURCE_WEIGHT_DEFAULT + (weight - RESOURCE_WEIGHT_DEFAULT) *
						 (BFQ_WEIGHT_MAX - RESOURCE_WEIGHT_DEFAULT) /
						 (RESOURCE_WEIGHT_MAX - RESOURCE_WEIGHT_DEFAULT);
}

/* By the cost model of the block layer, or by the I/O scheduler BFQ, whichever the host has. */
static int limit_io(int directory, const struct resource_limits *limits, struct error *err)
{
	unsigned int weight = limits->io_weight ? limits->io_weight : RESOURCE_WEIGHT_DEFAULT;
	char text[VALUE_SIZE];
	int bfq;

	snprintf(text, sizeof(text), "default %u", bfq_weight(weight));
	bfq = write_file(directory, "io.bfq.weight", text);
	snprintf(text, sizeof(text), "default %u", weight);
	return write_limit(directory, "io.weight", text, limits->io_weight && bfq, err);
}

int cgroup_limit(struct cgroup_tree *tree, const char *name, const struct resource_limits *limits,
		 unsigned int weight, struct error *err)
{
	CLEANUP_CLOSE int fd = open_vm(tree, name);
	int cpu, memory, io;

	if (fd < 0)
		return error_host(err, -fd, "cannot open the cgroup %.200s/%s", tree->path, name);
	cpu = limit_cpu(fd, limits, weight, err);
	memory = limit_memory(fd, limits, cpu ? NULL : err);
	io = limit_io(fd, limits, cpu || memory ? NULL : err);
	return cpu ? cpu : memory ? memory : io;
}

pid_t cgroup_fork(struct cgroup_tree *tree, const char *name)
{
	CLEANUP_CLOSE int fd = open_vm(tree, name);
	struct clone_args arguments = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)fd,
	};
	long pid;

	if (fd < 0)
		return fd;
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	return pid < 0 ? -errno : (pid_t)pid;
}

int cgroup_put(struct cgroup_tree *tree, const char *name, pid_t pid, struct error *err)
{
	CLEANUP_CLOSE int fd = open_vm(tree, name);
	char text[VALUE_SIZE];
	int r;

	snprintf(text, sizeof(text), "%d", (int)pid);
	r = fd < 0 ? fd : write_file(fd, "cgroup.procs", text);
	return r ? error_host(err, -r, "cannot put the VM into its cgroup") : 0;
}

bool cgroup_holds(const struct cgroup_tree *tree, const char *name, pid_t pid)
{
	char suffix[NAME_MAX + sizeof(DIRECTORY) + 2];
	char path[PATH_MAX];
	size_t length;

	if (cgroup_of_process(pid, path, sizeof(path)))
		return false;
	length = strlen(path);
	snprintf(suffix, sizeof(suffix), "/" DIRECTORY "/%s", name);
	return length >= strlen(suffix) && !strcmp(path + length - strlen(suffix), suffix);
}

int cgroup_remove(struct cgroup_tree *tree, const char *name, int *events)
{
	char path[NAME_MAX + 16];
	char text[VALUE_SIZE];

	*events = -1;
	if (!unlinkat(tree->fd, name, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	if (errno != EBUSY)
		return -errno;
	snprintf(path, sizeof(path), "%s/cgroup.events", name);
	*events = openat(tree->fd, path, O_RDONLY | O_CLOEXEC);
	/* From the read on a change is told; it may have come before. */
	if (*events < 0 || read(*events, text, sizeof(text)) < 0)
		return -EBUSY;
	return unlinkat(tree->fd, name, AT_REMOVEDIR) ? -EBUSY : 0;
}
