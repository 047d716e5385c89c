#include "mgmt/trace_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file_lock.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_interface.h"

static int open_failed(const char *flag, const char *path, int errnum, struct error *err)
{
	const char *remedy = errnum == ENOENT ? "make its directory first"
					      : "choose another path, or check its mode";

	return error_set(err, errnum, "%s%.200s: %s; %s", flag, path, strerror(errnum), remedy);
}

/* Opens it, or makes it; what it has stays.  flag begins sentences. */
static int open_file(const char *flag, const char *path, struct stat *status, struct error *err)
{
	CLEANUP_CLOSE int fd =
		open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	char name[256];
	int r;

	if (fd < 0 || fstat(fd, status))
		return open_failed(flag, path, errno, err);
	if (!S_ISREG(status->st_mode))
		return error_set(err, EINVAL, "%s%.200s: it is not a regular file; give one", flag,
				 path);
	snprintf(name, sizeof(name), "%s%.200s", flag, path);
	r = file_lock(fd, name, true, err);
	return r ? r : TAKE_FD(fd);
}

static int empty_file(const char *flag, const char *path, int fd, struct error *err)
{
	return fd >= 0 && ftruncate(fd, 0) ? open_failed(flag, path, errno, err) : 0;
}

static int open_one(const struct run_options *options, const struct vm_files *files,
		    const char *flag, const char *path, int *fd, struct error *err)
{
	struct stat status;
	int r;

	if (!path)
		return 0;
	*fd = open_file(flag, path, &status, err);
	if (*fd < 0) {
		r = *fd;
		*fd = -1;
		return r;
	}
	return vm_files_refuse(options, files, &status, flag, path, err);
}

int trace_files_open(const struct run_options *options, const struct vm_files *files,
		     struct trace_files *traces, struct error *err)
{
	int r = open_one(options, files, "--trace vmbus=", options->trace_path, &traces->vmbus,
			 err);
	char flag[24];

	if (!r)
		r = open_one(options, files, "--firmware-log ", options->firmware_log,
			     &traces->firmware, err);

	for (unsigned int i = 0; !r && i < PROTOCOL_NICS_MAX; i++) {
		snprintf(flag, sizeof(flag), "--pcap nic%u=", i);
		r = open_one(options, files, flag, options->pcap_paths[i], &traces->pcaps[i], err);
	}
	if (!r)
		r = empty_file("--trace vmbus=", options->trace_path, traces->vmbus, err);
	if (!r)
		r = empty_file("--firmware-log ", options->firmware_log, traces->firmware, err);
	for (unsigned int i = 0; !r && i < PROTOCOL_NICS_MAX; i++)
		r = empty_file("--pcap ", options->pcap_paths[i], traces->pcaps[i], err);
	if (r)
		trace_files_close(traces);
	return r;
}

void trace_files_close(struct trace_files *traces)
{
	if (traces->vmbus >= 0)
		close(traces->vmbus);
	traces->vmbus = -1;
	if (traces->firmware >= 0)
		close(traces->firmware);
	traces->firmware = -1;
	for (unsigned int i = 0; i < PROTOCOL_NICS_MAX; i++) {
		if (traces->pcaps[i] >= 0)
			close(traces->pcaps[i]);
		traces->pcaps[i] = -1;
	}
}

void start_trace(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *path = json_string_value(json_object_get(parameters, "path"));
	CLEANUP_CLOSE int fd = -1;
	struct stat status;
	struct error err;

	if (!path || path[0] != '/') {
		varlink_fail_parameter(call, "path");
		return;
	}
	fd = open_file("", path, &status, &err);
	if (fd < 0 || empty_file("", path, fd, &err)) {
		vm_interface_answer(call, NULL, err.text);
		return;
	}
	supervisor_forward_files(context, call, "vmbus", "trace-start", json_pack("{s:i}", "fd", 0),
				 &fd, 1);
}
