#include "mgmt/vmms/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "mgmt/vmms/process_usage.h"
#include "mgmt/vmms/run_file.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

#define FILE_MAX 4096

/* As the file has them. */
static const struct {
	const char *name;
	size_t offset;
} members[] = {
#define MEMBER(name_)                                                                              \
	{                                                                                          \
#name_, offsetof(struct measure, name_)                                            \
	}
	MEMBER(time_us),     MEMBER(cpu_us),	      MEMBER(memory_ms),  MEMBER(memory_mib_ms),
	MEMBER(reads),	     MEMBER(writes),	      MEMBER(bytes_read), MEMBER(bytes_written),
	MEMBER(frames_sent), MEMBER(frames_received), MEMBER(bytes_sent), MEMBER(bytes_received),
#undef MEMBER
};

static json_int_t *member(struct measure *measure, size_t index)
{
	return (json_int_t *)((char *)measure + members[index].offset);
}

/* Neither a worker nor a file is trusted: no count is below 0. */
static json_int_t count(const json_t *node, const char *key)
{
	return MAX(json_integer_value(json_object_get(node, key)), (json_int_t)0);
}

/* The same worker may make up any number of channels: a sum stands still at its largest. */
static void add(json_int_t *sum, const json_t *node, const char *key)
{
	if (__builtin_add_overflow(*sum, count(node, key), sum))
		*sum = INT64_MAX;
}

static bool begins(const char *key, const char *kind)
{
	size_t length = strlen(kind);

	return !strncmp(key, kind, length) && (key[length] == '@' || !key[length]);
}

static void take_counts(const json_t *node, struct measure *out)
{
	add(&out->reads, node, "reads");
	add(&out->writes, node, "writes");
	add(&out->bytes_read, node, "bytes-read");
	add(&out->bytes_written, node, "bytes-written");
}

static void take_disks(const json_t *controller, struct measure *out)
{
	const char *key;
	json_t *node;

	/* Channels count for disks that have left, too. */
	json_object_foreach((json_t *)controller, key, node)
	{
		if (begins(key, "channel"))
			take_counts(node, out);
	}
}

/* By the emulated controller, and by the guest's own driver. */
static void take_ide(const json_t *controller, struct measure *out)
{
	const char *key;
	json_t *unit;

	json_object_foreach((json_t *)controller, key, unit)
	{
		if (!begins(key, "lun"))
			continue;
		take_counts(unit, out);
		take_counts(json_object_get(json_object_get(unit, "offered"), "lun@0"), out);
	}
}

static void take_nic(const json_t *nic, struct measure *out)
{
	const char *key;
	json_t *node;

	json_object_foreach((json_t *)nic, key, node)
	{
		if (!begins(key, "channel"))
			continue;
		add(&out->frames_sent, node, "frames-sent");
		add(&out->frames_received, node, "frames-received");
		add(&out->bytes_sent, node, "bytes-sent");
		add(&out->bytes_received, node, "bytes-received");
	}
}

static void take_memory(const json_t *meter, struct measure *out)
{
	out->memory_ms = count(meter, "ms");
	out->memory_mib_ms = count(meter, "mib-ms");
	out->memory_least = count(meter, "least");
	out->memory_most = count(meter, "most");
	out->span_least = count(meter, "span-least");
	out->span_most = count(meter, "span-most");
}

void measure_take(const struct vm *vm, const json_t *tree, struct measure *out)
{
	struct process_usage usage = {0};
	const char *key;
	json_t *device;

	*out = (struct measure){.time_us = vmms_now_us()};
	if (vm->run && vm->run->worker)
		process_usage_read(vm->run->worker, &usage);
	out->cpu_us = (json_int_t)(usage.cpu_seconds * 1e6);
	json_object_foreach(json_object_get(tree, "devices"), key, device)
	{
		if (begins(key, "scsi"))
			take_disks(device, out);
		else if (begins(key, "ide"))
			take_ide(device, out);
		else if (begins(key, "netvsp"))
			take_nic(device, out);
		else if (begins(key, "memory"))
			take_memory(json_object_get(device, "meter"), out);
	}
}

/* Not below 0: a controller or NIC that left takes its counts along. */
static json_int_t between(json_int_t from, json_int_t to)
{
	return MAX(to - from, (json_int_t)0);
}

static json_int_t average_memory(const struct measure *from, const struct measure *to, bool span)
{
	json_int_t ms = between(from->memory_ms, to->memory_ms);

	if (!ms)
		return span ? to->span_most : to->memory_most;
	return (json_int_t)((double)between(from->memory_mib_ms, to->memory_mib_ms) / (double)ms *
			    1048576.0);
}

static double rate(double number, double seconds)
{
	return seconds > 0 ? number / seconds : 0;
}

json_t *measure_usage(const struct measure *from, const struct measure *to, bool span)
{
	double seconds = (double)between(from->time_us, to->time_us) / 1e6;
	double cpu = (double)between(from->cpu_us, to->cpu_us) / 1e6;
	json_int_t reads = between(from->reads, to->reads);
	json_int_t writes = between(from->writes, to->writes);

	return json_pack(
		"{s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I}",
		"seconds", seconds, "cpu_seconds", cpu, "cpu_percent",
		seconds > 0 ? 100 * cpu / seconds : 0.0, "memory_average",
		average_memory(from, to, span), "memory_minimum",
		span ? to->span_least : to->memory_least, "memory_maximum",
		span ? to->span_most : to->memory_most, "disk_reads", reads, "disk_writes", writes,
		"disk_bytes_read", between(from->bytes_read, to->bytes_read), "disk_bytes_written",
		between(from->bytes_written, to->bytes_written), "disk_iops",
		rate((double)reads + (double)writes, seconds), "net_frames_sent",
		between(from->frames_sent, to->frames_sent), "net_frames_received",
		between(from->frames_received, to->frames_received), "net_bytes_sent",
		between(from->bytes_sent, to->bytes_sent), "net_bytes_received",
		between(from->bytes_received, to->bytes_received));
}

/* NULL for want of memory. */
static json_t *written(const struct measure *measure)
{
	struct measure copy = *measure;
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
		if (json_object_set_new(object, members[i].name, json_integer(*member(&copy, i)))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

int measure_keep(const struct vm *vm, const struct measure *measure, struct error *err)
{
	json_t *object = written(measure);
	char path[VM_PATH_MAX];
	int r;

	vm_path_measure(vm, path);
	r = object ? run_file_write(path, object, err) : error_memory(err, "a measurement");
	json_decref(object);
	return r;
}

int measure_find(const struct vm *vm, struct measure *out)
{
	struct measure found = {0};
	char path[VM_PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	json_t *object;

	vm_path_measure(vm, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || lseek(fd, 0, SEEK_END) > FILE_MAX || lseek(fd, 0, SEEK_SET))
		return -ENOENT;
	object = json_loadfd(fd, 0, NULL);
	for (size_t i = 0; object && i < ARRAY_LENGTH(members); i++)
		*member(&found, i) = count(object, members[i].name);
	json_decref(object);
	if (!found.time_us)
		return -ENOENT;
	*out = found;
	return 0;
}
