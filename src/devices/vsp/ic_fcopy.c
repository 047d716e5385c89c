#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "devices/vsp/ic_device.h"
#include "devices/vsp/ic_file.h"

/*
 * File copy from the host into the guest: START, WRITE for each fragment, COMPLETE; the guest's
 * daemon does it (Linux tools/hv/hv_fcopy_daemon.c up to 6.9, hv_fcopy_uio_daemon.c since).
 *
 * No part of a file is left under its name: a copy that fails is cancelled, and the daemon removes
 * what there is.  The newer daemon knows no CANCEL; the file is then begun anew and completed,
 * which leaves it empty.  A fragment that found no space is written again for a while, in case
 * somebody makes room.
 */

#define NS_A_SECOND  1000000000ull
#define ANSWER_NS    (40 * NS_A_SECOND)
#define READ_NS	     (20 * NS_A_SECOND) /* that a file system of the host may be silent */
#define WRITE_TRIES  5u
#define TRY_AGAIN_NS NS_A_SECOND
#define PATH_UNITS   (IC_FCOPY_PATH_SIZE / 2)

enum copy_phase {
	COPY_NONE,
	COPY_STARTING,
	COPY_READING,
	COPY_WRITING,
	COPY_WAITING, /* for space */
	COPY_COMPLETING,
	COPY_CANCELLING,
	COPY_EMPTYING, /* begun anew */
	COPY_EMPTIED,  /* and to be completed */
	COPY_PHASES,
};

static const char *const phase_names[COPY_PHASES] = {
	[COPY_NONE] = "none",
	[COPY_STARTING] = "starting",
	[COPY_READING] = "copying",
	[COPY_WRITING] = "copying",
	[COPY_WAITING] = "out of space",
	[COPY_COMPLETING] = "completing",
	[COPY_CANCELLING] = "cancelling",
	[COPY_EMPTYING] = "cancelling",
	[COPY_EMPTIED] = "cancelling",
};

/* A copy under way. */
struct copy {
	struct device_call *call;
	struct ic_file file;
	struct ic_fcopy_start start;
	struct ic_fcopy_write write;
	uint64_t size, offset;
	unsigned int tries;
	struct error failure; /* why it is being cancelled */
};

struct fcopy {
	struct ic ic;
	enum copy_phase phase;
	struct copy *copy; /* NULL: none */
	struct ic_timer again;
	uint64_t files, bytes, failures;
};

static const struct ic_version versions[] = {{1, 1}, {1, 0}};

static struct fcopy *from_ic(struct ic *ic)
{
	return container_of(ic, struct fcopy, ic);
}

static void free_copy(struct fcopy *fcopy)
{
	ic_file_close(&fcopy->copy->file);
	free(fcopy->copy);
	fcopy->copy = NULL;
	fcopy->phase = COPY_NONE;
	ic_timer_stop(&fcopy->again);
}

static void end_well(struct fcopy *fcopy)
{
	struct device_call *call = fcopy->copy->call;

	fcopy->files++;
	fcopy->bytes += fcopy->copy->size;
	call->reply(call, json_pack("{s:I}", "bytes", (json_int_t)fcopy->copy->size));
	free_copy(fcopy);
}

static void end_badly(struct fcopy *fcopy, const struct error *err)
{
	fcopy->failures++;
	integration_refuse(fcopy->copy->call, err);
	free_copy(fcopy);
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer);

static int send(struct fcopy *fcopy, enum copy_phase phase, const void *message, uint32_t size)
{
	int r = ic_request(&fcopy->ic, message, size, ANSWER_NS, on_answer);

	if (r == 0)
		fcopy->phase = phase;
	return r;
}

static int send_bare(struct fcopy *fcopy, enum copy_phase phase, enum ic_fcopy_operation operation)
{
	const struct ic_fcopy_header message = {.operation = operation};

	return send(fcopy, phase, &message, sizeof(message));
}

/* Has the guest remove what it has of the file; its call is refused when that is done. */
static void cancel(struct fcopy *fcopy, const struct error *err)
{
	fcopy->copy->failure = *err;
	if (send_bare(fcopy, COPY_CANCELLING, IC_FCOPY_CANCEL) < 0)
		end_badly(fcopy, err);
}

static void fail_host(struct fcopy *fcopy, int errnum, const char *what)
{
	struct error err;

	error_host(&err, errnum, "%s", what);
	cancel(fcopy, &err);
}

/* Goes on where the file is: its next fragment, or its end. */
static void go_on(struct fcopy *fcopy)
{
	struct copy *copy = fcopy->copy;
	int r;

	copy->tries = 0;
	if (copy->offset == copy->size) {
		r = send_bare(fcopy, COPY_COMPLETING, IC_FCOPY_COMPLETE);
		if (r < 0)
			fail_host(fcopy, -r, "the copy cannot be completed");
		return;
	}
	fcopy->phase = COPY_READING;
	r = ic_file_read(&copy->file,
			 (uint32_t)MIN(copy->size - copy->offset, (uint64_t)IC_FCOPY_FRAGMENT),
			 copy->offset);
	if (r < 0)
		fail_host(fcopy, -r, "the next part cannot be read");
	else
		ic_timer_start(&fcopy->again, READ_NS);
}

static void send_fragment(struct fcopy *fcopy)
{
	int r = send(fcopy, COPY_WRITING, &fcopy->copy->write, sizeof(fcopy->copy->write));

	if (r < 0)
		fail_host(fcopy, -r, "the next part cannot be sent");
}

static void fcopy_woken(struct ic *ic)
{
	struct fcopy *fcopy = from_ic(ic);
	struct copy *copy = fcopy->copy;
	int32_t result;

	if (fcopy->phase != COPY_READING || !ic_file_take(&copy->file, copy->write.data, &result))
		return;
	ic_timer_stop(&fcopy->again);
	if (result <= 0) {
		fail_host(fcopy, result < 0 ? -result : EIO,
			  result < 0 ? "the file cannot be read"
				     : "the file became shorter, or cannot be read any more");
		return;
	}
	memset(copy->write.data + result, 0, IC_FCOPY_FRAGMENT - (uint32_t)result);
	copy->write.header.operation = IC_FCOPY_WRITE;
	copy->write.offset = copy->offset;
	copy->write.size = (uint32_t)result;
	send_fragment(fcopy);
}

static void on_again(void *context)
{
	struct fcopy *fcopy = context;

	if (fcopy->phase == COPY_WAITING)
		send_fragment(fcopy);
	else if (fcopy->phase == COPY_READING)
		fail_host(fcopy, ETIMEDOUT, "the host's file cannot be read");
}

static void handle_write(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct copy *copy = fcopy->copy;
	struct error err;

	if (ic_failure(result, answer, "the copy", &err) == 0) {
		copy->offset += copy->write.size;
		go_on(fcopy);
	} else if (result == 0 && answer->status == IC_E_DISK_FULL && ++copy->tries < WRITE_TRIES) {
		fcopy->phase = COPY_WAITING;
		ic_timer_start(&fcopy->again, TRY_AGAIN_NS);
	} else {
		cancel(fcopy, &err);
	}
}

static void handle_start(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct error err;

	if (ic_failure(result, answer, "the copy", &err) == 0)
		go_on(fcopy);
	else if (result == -ETIMEDOUT) /* it may begin yet */
		cancel(fcopy, &err);
	else
		end_badly(fcopy, &err);
}

static void handle_complete(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct error err;

	if (ic_failure(result, answer, "the copy", &err))
		cancel(fcopy, &err);
	else
		end_well(fcopy);
}

/* A daemon that cannot cancel can at least empty the file. */
static void handle_cancel(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct copy *copy = fcopy->copy;

	if (result == 0 && answer->status == IC_S_OK) {
		end_badly(fcopy, &copy->failure);
		return;
	}
	copy->start.flags |= IC_FCOPY_OVERWRITE;
	copy->start.file_size = 0;
	if (send(fcopy, COPY_EMPTYING, &copy->start, sizeof(copy->start)) < 0)
		end_badly(fcopy, &copy->failure);
}

static void handle_emptying(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct error failure = fcopy->copy->failure, err;

	if (result == 0 && answer->status == IC_S_OK &&
	    send_bare(fcopy, COPY_EMPTIED, IC_FCOPY_COMPLETE) == 0)
		return;
	error_set(&err, EIO, "%.300s; and it keeps the part that it has: remove it there",
		  failure.text);
	end_badly(fcopy, &err);
}

static void handle_emptied(struct fcopy *fcopy, int result, const struct ic_answer *answer)
{
	struct error failure = fcopy->copy->failure, err;

	error_set(&err, EIO, "%.300s; an empty file is left there", failure.text);
	end_badly(fcopy, &err);
}

static void (*const handlers[COPY_PHASES])(struct fcopy *, int, const struct ic_answer *) = {
	[COPY_STARTING] = handle_start,	     [COPY_WRITING] = handle_write,
	[COPY_COMPLETING] = handle_complete, [COPY_CANCELLING] = handle_cancel,
	[COPY_EMPTYING] = handle_emptying,   [COPY_EMPTIED] = handle_emptied,
};

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct fcopy *fcopy = from_ic(ic);
	struct error err;

	if (!fcopy->copy) /* the cancellation of what another worker began */
		return;
	if (result == -ECONNRESET) {
		ic_failure(result, NULL, "the copy", &err);
		end_badly(fcopy, &err);
		return;
	}
	handlers[fcopy->phase](fcopy, result, answer);
}

/* Splits the guest's path: the directory with its '/', and the name. */
static int read_path(struct ic_fcopy_start *start, const json_t *parameters, struct error *err)
{
	const char *path = json_string_value(json_object_get(parameters, "path"));
	const char *slash = path ? strrchr(path, '/') : NULL;
	char directory[IC_FCOPY_PATH_SIZE];

	if (!path || path[0] != '/' || !slash[1])
		return error_set(err, EINVAL,
				 "the path in the guest must be absolute and name a "
				 "file");
	if ((size_t)(slash + 1 - path) >= PATH_UNITS || strlen(slash + 1) >= PATH_UNITS)
		return error_set(err, ENAMETOOLONG,
				 "the path in the guest is too long: at most %u bytes for the "
				 "directory, and as many for the name",
				 PATH_UNITS - 1);
	memcpy(directory, path, (size_t)(slash + 1 - path));
	directory[slash + 1 - path] = '\0';
	if (utf16_encode(directory, start->path_name, IC_FCOPY_PATH_SIZE) < 0 ||
	    utf16_encode(slash + 1, start->file_name, IC_FCOPY_PATH_SIZE) < 0)
		return error_set(err, EINVAL, "the path in the guest is not UTF-8");
	return 0;
}

static int fill(struct copy *copy, const json_t *parameters, struct error *err)
{
	const json_t *size = json_object_get(parameters, "size");
	int r = read_path(&copy->start, parameters, err);

	if (r < 0)
		return r;
	/* The file is not asked: that may take for ever. */
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return error_set(err, EINVAL, "the file's size is missing: give it in bytes");
	copy->size = (uint64_t)json_integer_value(size);
	copy->start.header.operation = IC_FCOPY_START;
	copy->start.file_size = copy->size;
	if (json_is_true(json_object_get(parameters, "overwrite")))
		copy->start.flags |= IC_FCOPY_OVERWRITE;
	if (json_is_true(json_object_get(parameters, "create_path")))
		copy->start.flags |= IC_FCOPY_CREATE_PATH;
	return 0;
}

/* Takes over fd. */
static int begin(struct fcopy *fcopy, const json_t *parameters, int fd, struct error *err)
{
	struct copy *copy = calloc(1, sizeof(*copy));
	int r = copy ? fill(copy, parameters, err) : error_memory(err, "a copy");

	if (r == 0) {
		r = ic_file_open(&copy->file, fcopy->ic.env->io_threads[0], fd, fcopy->ic.wakeup);
		fd = -1;
		if (r < 0)
			error_host(err, -r, "the file cannot be read");
	}
	if (r < 0)
		goto fail;
	fcopy->copy = copy;
	r = send(fcopy, COPY_STARTING, &copy->start, sizeof(copy->start));
	if (r == 0)
		return 0;
	ic_failure(r, NULL, "the copy", err);
	free_copy(fcopy);
	return r;

fail:
	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

static int admit(const struct fcopy *fcopy, int fd, struct error *err)
{
	if (fcopy->ic.state != IC_READY || fcopy->copy || fcopy->ic.done)
		return ic_not_ready(&fcopy->ic, err);
	return fd < 0 ? error_set(err, EINVAL, "the file to copy is missing") : 0;
}

void ic_fcopy_verb(void *device, const json_t *parameters, struct device_call *call)
{
	const json_t *number = json_object_get(parameters, "fd");
	int fd = number ? (int)json_integer_value(number) : -1;
	struct error err;
	struct ic *ic = integration_find(device, &ic_fcopy, &err);

	if (!ic || admit(from_ic(ic), fd, &err) < 0) {
		if (fd >= 0)
			close(fd);
		integration_refuse(call, &err);
	} else if (begin(from_ic(ic), parameters, fd, &err) < 0) {
		integration_refuse(call, &err);
	} else {
		from_ic(ic)->copy->call = call;
	}
}

static int fcopy_init(struct ic *ic)
{
	return ic_timer_init(&from_ic(ic)->again, ic->env->loop, on_again, from_ic(ic));
}

static void fcopy_cleanup(struct ic *ic)
{
	ic_timer_cleanup(&from_ic(ic)->again);
}

/* Between two transactions, there was none that could fail. */
static void fcopy_closed(struct ic *ic)
{
	struct fcopy *fcopy = from_ic(ic);
	struct error err;

	if (!fcopy->copy)
		return;
	ic_failure(-ECONNRESET, NULL, "the copy", &err);
	end_badly(fcopy, &err);
}

static void fcopy_hold(struct ic *ic, bool held)
{
	ic_timer_hold(&from_ic(ic)->again, held);
}

static void fcopy_save(struct ic *ic, struct state_writer *writer)
{
	state_put_u32(writer, "copying", from_ic(ic)->copy != NULL);
}

/* The file is not here: the guest shall drop its part. */
static int fcopy_restore(struct ic *ic, const struct state_node *node)
{
	const struct ic_fcopy_header message = {.operation = IC_FCOPY_CANCEL};
	uint32_t copying;
	int r = state_get_u32(node, "copying", &copying);

	if (r == 0 && copying && ic->state == IC_READY)
		ic_request(ic, &message, sizeof(message), ANSWER_NS, on_answer);
	return r;
}

static void fcopy_report(struct ic *ic, json_t *report)
{
	const struct fcopy *fcopy = from_ic(ic);

	json_object_set_new(report, "copy", json_string(phase_names[fcopy->phase]));
	if (fcopy->copy) {
		json_object_set_new(report, "copied",
				    json_integer((json_int_t)fcopy->copy->offset));
		json_object_set_new(report, "size", json_integer((json_int_t)fcopy->copy->size));
	}
	json_object_set_new(report, "files", json_integer((json_int_t)fcopy->files));
	json_object_set_new(report, "bytes", json_integer((json_int_t)fcopy->bytes));
	json_object_set_new(report, "failures", json_integer((json_int_t)fcopy->failures));
}

const struct ic_ops ic_fcopy = {
	.name = "file-copy",
	.class_id = GUID_INIT(0x34d14be3, 0xdee4, 0x41c8, 0x9a, 0xe7, 0x6b, 0x17, 0x49, 0x77, 0xc1,
			      0x92),
	.instance_id = GUID_INIT(0xeb765408, 0x105f, 0x49b6, 0xb4, 0xaa, 0xc1, 0x23, 0xb6, 0x4d,
				 0x17, 0xd4),
	.message_type = IC_FCOPY,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.interrupt_always = true,
	.size = sizeof(struct fcopy),
	.init = fcopy_init,
	.cleanup = fcopy_cleanup,
	.woken = fcopy_woken,
	.closed = fcopy_closed,
	.hold = fcopy_hold,
	.save = fcopy_save,
	.restore = fcopy_restore,
	.report = fcopy_report,
};
