#include "mgmt/copy_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/text.h"
#include "mgmt/file_feed.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_interface.h"

#define TELL_NS 500000000ull /* how often the caller hears how far it is */

/* A call that waits for its file, and then for the guest. */
struct copy {
	struct supervisor *supervisor;
	struct varlink_call *call;
	char *source;
	json_t *parameters; /* of the verb */
	uint64_t size;
	struct event_source *timer; /* for who takes more than one reply; else NULL */
	bool asking;		    /* how far it is: the worker has yet to say */
	bool over;		    /* and the call is answered */
};

static json_t *verb_parameters(const json_t *parameters)
{
	return json_pack("{s:O, s:b, s:b, s:i}", "path", json_object_get(parameters, "path"),
			 "overwrite", json_is_true(json_object_get(parameters, "overwrite")),
			 "create_path", json_is_true(json_object_get(parameters, "create_path")),
			 "fd", 0);
}

static void free_copy(struct copy *copy)
{
	free(copy->source);
	json_decref(copy->parameters);
	free(copy);
}

static void refuse(struct copy *copy, int errnum)
{
	const char *source = copy->source;
	struct error err;

	if (errnum == ENOTSUP)
		error_set(&err, errnum, "%.300s: what is copied must be a regular file", source);
	else if (errnum == ESTALE)
		error_set(&err, errnum,
			  "%.300s: another file came to its place meanwhile; try again", source);
	else if (errnum == EAGAIN)
		error_set(&err, errnum,
			  "%.300s: %d files are being copied, or wait for file systems that do not "
			  "answer; try again later",
			  source, FILE_FEEDS_MAX);
	else if (errnum == ETIMEDOUT)
		error_set(&err, errnum,
			  "%.300s: its file system does not answer; copy the file elsewhere first",
			  source);
	else
		error_set(&err, errnum, "%.300s: %s; %s", source, strerror(errnum),
			  error_remedy(errnum, "check the path"));
	vm_interface_answer(copy->call, NULL, err.text);
	free_copy(copy);
}

/* Of the service's report: how much the guest has. */
static void tell(struct copy *copy, const json_t *service)
{
	const json_t *copied = json_object_get(service, "copied");
	json_int_t size = json_integer_value(json_object_get(service, "size"));

	if (copied && size == (json_int_t)copy->size)
		varlink_reply_continues(
			copy->call,
			json_pack("{s:I, s:I}", "bytes", json_integer_value(copied), "size", size));
}

static void on_services(void *context, const json_t *reply, const char *error)
{
	struct copy *copy = context;
	size_t index;
	json_t *service;

	copy->asking = false;
	if (copy->over) {
		free_copy(copy);
		return;
	}
	json_array_foreach(json_object_get(reply, "services"), index, service) tell(copy, service);
}

static void on_timer(void *context, uint32_t events)
{
	struct copy *copy = context;

	if (!copy->asking)
		copy->asking = !supervisor_call_device(copy->supervisor, "integration", "service",
						       json_object(), NULL, 0, on_services, copy);
}

static void on_copied(void *context, const json_t *reply, const char *error)
{
	struct copy *copy = context;

	event_source_remove(copy->timer);
	copy->over = true;
	vm_interface_answer(copy->call, reply, error);
	if (!copy->asking)
		free_copy(copy);
}

/* Without a timer the last reply is the only one. */
static void begin_telling(struct copy *copy)
{
	struct event_loop *loop = supervisor_loop(copy->supervisor);

	if (varlink_call_wants_more(copy->call) &&
	    !event_loop_timer(loop, on_timer, copy, &copy->timer))
		event_timer_arm(copy->timer, TELL_NS, TELL_NS);
}

static void opened(void *context, int fd, uint64_t size)
{
	struct copy *copy = context;
	int r;

	if (fd < 0) {
		refuse(copy, -fd);
		return;
	}
	copy->size = size;
	json_object_set_new(copy->parameters, "size", json_integer((json_int_t)size));
	begin_telling(copy);
	r = supervisor_call_device(copy->supervisor, "integration", "copy-file",
				   json_incref(copy->parameters), &fd, 1, on_copied, copy);
	close(fd);
	if (r)
		on_copied(copy, NULL,
			  r == -EBUSY ? "the VM is busy with another such call; try again"
				      : "the VM is ending");
}

/* As the daemon writes it: the numbers of device and inode. */
static int read_wanted(const json_t *parameters, struct file_feed_id *wanted)
{
	const char *text = json_string_value(json_object_get(parameters, "expect"));
	unsigned long long device, inode;
	int length = 0;

	if (!text || sscanf(text, "%llu:%llu%n", &device, &inode, &length) != 2 || text[length])
		return -EINVAL;
	*wanted = (struct file_feed_id){(dev_t)device, (ino_t)inode};
	return 0;
}

void copy_file(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *source = json_string_value(json_object_get(parameters, "source"));
	bool any = json_is_null(json_object_get(parameters, "expect")) ||
		   !json_object_get(parameters, "expect");
	struct file_feed_id wanted;
	struct copy *copy;
	int r;

	if (!source || source[0] != '/') {
		varlink_fail_parameter(call, "source");
		return;
	}
	if (!json_is_string(json_object_get(parameters, "path"))) {
		varlink_fail_parameter(call, "path");
		return;
	}
	if (!any && read_wanted(parameters, &wanted)) {
		varlink_fail_parameter(call, "expect");
		return;
	}
	copy = calloc(1, sizeof(*copy));
	if (copy)
		copy->source = strdup(source);
	if (!copy || !copy->source) {
		free(copy);
		vm_interface_answer(call, NULL, "out of memory; free some on the host");
		return;
	}
	copy->supervisor = context;
	copy->call = call;
	copy->parameters = verb_parameters(parameters);
	r = file_feed_open(supervisor_feeds(context), source, any ? NULL : &wanted, opened, copy);
	if (r < 0)
		refuse(copy, -r);
}
